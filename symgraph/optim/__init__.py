"""Optimisers: rules that move a tree of parameters by a tree of gradients, written in the language.

An optimiser is a set of numbers without a state of its own; what it remembers is a tree that comes and goes. So the
same rule runs on arrays, on Variables, and on symbols, where it becomes part of the compiled step.

>>> import numpy as np, symgraph as sg
>>> opt = sg.optim.SGD(lr=0.1, momentum=0.9)
>>> params = {"w": np.array([1.0, 2.0])}
>>> state = opt.init(params)
>>> w, s = sg.tree.placeholders("w", params), sg.tree.placeholders("s", state)
>>> loss = np.sum(w["w"] ** 2)
>>> step = sg.compile((loss, *opt.update(w, sg.grad(loss, w), s)))
>>> for _ in range(100):
...     value, params, state = step(**sg.tree.arguments(w, params), **sg.tree.arguments(s, state))
>>> bool(value < 1e-3)
True

Where parameters keep their values themselves, :func:`updates` makes a step of one line:

>>> net = sg.tree.parameters("net", {"w": np.array([1.0, 2.0])})
>>> loss = np.sum(net["w"] ** 2)
>>> step = sg.compile(loss, updates=sg.optim.updates(opt, net, sg.grad(loss, net)))
>>> bool(step(steps=100) < 1e-3)
True

On Variables, update under ``sg.no_grad()``, or on their ``.data``: else every step records the steps before it.
"""

from symgraph.optim.clip import (
    clip_by_global_norm as clip_by_global_norm,
    clip_by_value as clip_by_value,
    global_norm as global_norm,
)
from symgraph.optim.lbfgs import LBFGS as LBFGS
from symgraph.optim.rules import (
    SGD as SGD,
    AdaGrad as AdaGrad,
    Adam as Adam,
    AdamW as AdamW,
    Lion as Lion,
    Optimiser as Optimiser,
    RMSprop as RMSprop,
)
from symgraph.optim.schedules import (
    Schedule as Schedule,
    cosine_decay as cosine_decay,
    exponential_decay as exponential_decay,
    piecewise as piecewise,
    warmup as warmup,
)
from symgraph.optim.updates import updates as updates

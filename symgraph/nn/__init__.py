"""Networks: layers, what they are made of, and losses, for arrays, Variables and symbols alike.

Parameters are plain dataclasses, grouped as one likes, in dicts, tuples, or dataclasses of one's own; together they are
a tree (:mod:`symgraph.tree`), which optimisers (:mod:`symgraph.optim`) move.

>>> import numpy as np, symgraph as sg
>>> k1, k2 = sg.random.split(sg.random.key(0))
>>> net = {"first": sg.nn.Linear.init(k1, 2, 16), "second": sg.nn.Linear.init(k2, 16, 2)}
>>> def scores(net, x):
...     return net["second"](np.tanh(net["first"](x)))
>>> x = sg.placeholder("x", shape=("n", 2), dtype="float64")
>>> t = sg.placeholder("t", shape=("n",), dtype="int64")
>>> opt = sg.optim.Adam(lr=0.05)
>>> state = opt.init(net)
>>> w, s = sg.tree.placeholders("w", net), sg.tree.placeholders("s", state)
>>> loss = sg.nn.cross_entropy(scores(w, x), t)
>>> step = sg.compile((loss, *opt.update(w, sg.grad(loss, w), s)))
>>> points = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
>>> for _ in range(200):
...     held = {**sg.tree.arguments(w, net), **sg.tree.arguments(s, state)}
...     value, net, state = step(x=points, t=np.array([0, 1, 1, 0]), **held)
>>> np.argmax(scores(net, points), axis=1)
array([0, 1, 1, 0])
"""

from symgraph.nn.activations import (
    elu as elu,
    gelu as gelu,
    leaky_relu as leaky_relu,
    relu as relu,
    silu as silu,
)
from symgraph.nn.functional import (
    attention as attention,
    dropout as dropout,
    layer_norm as layer_norm,
)
from symgraph.nn.images import avg_pool as avg_pool, conv as conv, max_pool as max_pool
from symgraph.nn.initialisers import (
    Initialiser as Initialiser,
    glorot as glorot,
    he as he,
    lecun as lecun,
    normal as normal,
    ones as ones,
    uniform as uniform,
    zeros as zeros,
)
from symgraph.nn.layers import (
    Attention as Attention,
    BatchNorm as BatchNorm,
    Conv2d as Conv2d,
    Dropout as Dropout,
    Embedding as Embedding,
    LayerNorm as LayerNorm,
    Linear as Linear,
)
from symgraph.nn.losses import (
    binary_cross_entropy as binary_cross_entropy,
    cross_entropy as cross_entropy,
    huber as huber,
    mae as mae,
    mse as mse,
)
from symgraph.nn.recurrent import (
    GRU as GRU,
    LSTM as LSTM,
    RNN as RNN,
)

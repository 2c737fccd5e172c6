"""From an optimiser to what `updates=` of :func:`symgraph.compile` takes."""

from __future__ import annotations

from typing import Any

from symgraph import tree
from symgraph.errors import ArgumentError
from symgraph.optim.rules import Optimiser
from symgraph.state import Parameter


def updates(opt: Optimiser, params: Any, grads: Any, *, name: str | None = None) -> dict[Parameter, Any]:
    """What a step of an optimiser makes of parameters, by parameter; what it remembers becomes parameters as well.

    Args:
        opt: the optimiser.
        params: a tree of parameters, as of :func:`symgraph.tree.parameters`.
        grads: a tree of the same structure, as of :func:`symgraph.grad`.
        name: what the names of the optimiser's parameters begin with: its class in small letters by default. Two
            optimisers of one function need two names.

    Returns:
        The next values by parameter: those of `params` first, in order.

    Raises:
        ArgumentError: the tree holds something else than parameters.
        ShapeError: the trees have different structures.

    >>> import symgraph as sg
    >>> w = sg.parameter("w", 1.0)
    >>> sg.optim.updates(sg.optim.SGD(lr=0.5, momentum=0.9), w, w - 3)
    {<parameter w: float64()>: ..., <parameter sgd_step: int64()>: ..., <parameter sgd_velocity: float64()>: ...}
    """
    held, _ = tree.flatten(params)
    for p in held:
        if not isinstance(p, Parameter):
            raise ArgumentError(
                f"optim.updates: params must be a tree of parameters, got {p!r:.80}; sg.tree.parameters(name, values) "
                f"makes one"
            )
    memory = tree.parameters(name or type(opt).__name__.lower(), opt.init(tree.values(params)))
    moved = opt.update(params, grads, memory)
    return dict(zip([*held, *tree.flatten(memory)[0]], tree.flatten(moved)[0], strict=True))

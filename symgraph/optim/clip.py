"""Gradients made smaller."""

from __future__ import annotations

from typing import Any

from symgraph import functions as fn, tree
from symgraph.ops import elementwise as ew
from symgraph.optim.rules import in_dtype, inner


def global_norm(grads: Any) -> Any:
    """The Euclidean norm of all values of a tree together.

    >>> import numpy as np, symgraph as sg
    >>> float(sg.optim.global_norm([np.array([3.0]), np.array([[4.0]])]))
    5.0
    """
    values, _ = tree.flatten(grads)
    return ew.sqrt(inner(values, values))


def clip_by_global_norm(grads: Any, limit: float) -> Any:
    """The tree times min(1, limit / its norm).

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (ICML 2013).

    >>> import numpy as np, symgraph as sg
    >>> sg.optim.clip_by_global_norm({"w": np.array([3.0, 4.0])}, 1.0)
    {'w': array([0.6, 0.8])}
    """
    norm = global_norm(grads)
    factor = ew.where(ew.greater(norm, limit), limit / ew.where(ew.greater(norm, limit), norm, 1.0), 1.0)
    return tree.map(lambda g: g * in_dtype(factor, g), grads)


def clip_by_value(grads: Any, limit: float) -> Any:
    """Every element limited to [-limit, limit].

    >>> import numpy as np, symgraph as sg
    >>> sg.optim.clip_by_value([np.array([-3.0, 0.5])], 1.0)
    [array([-1. ,  0.5])]
    """
    return tree.map(lambda g: fn.clip(g, -limit, limit), grads)

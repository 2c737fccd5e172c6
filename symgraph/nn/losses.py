"""Losses: means over all elements or rows, as one number."""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph import functions as fn
from symgraph.errors import DTypeError, SymbolError
from symgraph.ops import array as ar, elementwise as ew
from symgraph.types import Opaque


def positions(x: Any, axis: int) -> Any:
    """0, 1, 2, ... along an axis of x."""
    shape = ar.type_of(x).shape
    if isinstance(shape, Opaque):
        raise SymbolError(f"declare the shape of {x!r}")
    size = shape[axis]
    return np.arange(size) if isinstance(size, int) else ar.iota(ar.broadcast_to(ar.lift(0), shape=(size,)))


def mse(y: Any, t: Any) -> Any:
    """The mean of squared differences.

    >>> import numpy as np, symgraph as sg
    >>> float(sg.nn.mse(np.array([1.0, 3.0]), np.array([1.0, 1.0])))
    2.0
    """
    return fn.mean(ew.square(y - t))


def mae(y: Any, t: Any) -> Any:
    """The mean of absolute differences.

    >>> import numpy as np, symgraph as sg
    >>> float(sg.nn.mae(np.array([1.0, 3.0]), np.array([1.0, 1.0])))
    1.0
    """
    return fn.mean(ew.abs(y - t))


def huber(y: Any, t: Any, delta: float = 1.0) -> Any:
    """The mean of half the squared differences, which beyond `delta` grow linearly.

    Source: Huber, "Robust estimation of a location parameter" (1964).

    >>> import numpy as np, symgraph as sg
    >>> float(sg.nn.huber(np.array([1.5, 4.0]), np.array([1.0, 1.0])))
    1.3125
    """
    distance = ew.abs(y - t)
    near = ew.minimum(distance, delta)
    return fn.mean(near * (distance - 0.5 * near))


def cross_entropy(logits: Any, labels: Any) -> Any:
    """The mean over rows of -log softmax(logits)[label], along the last axis.

    Args:
        logits: (..., classes).
        labels: integers of shape (...), or probabilities in the shape of `logits`. A label that is no class counts 0.

    Raises:
        DTypeError: labels without the axis of classes are not integers.

    >>> import numpy as np, symgraph as sg
    >>> float(sg.nn.cross_entropy(np.zeros((2, 4)), np.array([0, 3])))
    1.3862943611198906
    """
    logits = logits if hasattr(logits, "_mode") else np.asarray(logits)
    labels = labels if hasattr(labels, "_mode") else np.asarray(labels)
    log_p = fn.log_softmax(logits, axis=-1)
    if ar.rank(labels) == ar.rank(logits):
        return -fn.mean(fn.sum(labels * log_p, axis=-1))
    found = ar.type_of(labels).dtype
    if found is not None and found.kind not in "iu":
        raise DTypeError(f"cross_entropy: labels must be integers, or probabilities like the logits, got {found}")
    chosen = ew.equal(ar.expand_dims(labels, axis=(-1,)), positions(logits, -1))
    return -fn.mean(fn.sum(ew.where(chosen, log_p, 0.0), axis=-1))


def binary_cross_entropy(logits: Any, labels: Any) -> Any:
    """The mean of -log of the probability of labels in [0, 1], where sigmoid(logits) is that of 1.

    >>> import numpy as np, symgraph as sg
    >>> float(sg.nn.binary_cross_entropy(np.array([0.0, 1000.0]), np.array([1.0, 1.0])))
    0.34657359027997264
    """
    return fn.mean(ew.softplus(logits) - labels * logits)

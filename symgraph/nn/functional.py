"""What layers do that is neither a product nor a filter: normalising, dropping, attending."""

from __future__ import annotations

import math
from typing import Any

from symgraph import functions as fn, random
from symgraph.errors import ShapeError, SymbolError
from symgraph.nn.losses import positions
from symgraph.ops import array as ar, elementwise as ew
from symgraph.types import Opaque


def dropout(key: Any, x: Any, rate: float) -> Any:
    """Each element set to 0 with probability `rate`, the others divided by 1 - rate.

    Source: Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, "Dropout" (JMLR 15, 2014).

    Raises:
        ValueError: the rate is not in [0, 1).

    >>> import numpy as np, symgraph as sg
    >>> sg.nn.dropout(sg.random.key(0), np.ones(6), 0.5)
    array([0., 0., 0., 2., 0., 2.])
    """
    if not 0 <= rate < 1:
        raise ValueError(f"dropout: the rate lies in [0, 1), got {rate}")
    if rate == 0:
        return x
    return ew.where(random.bernoulli(key, 1 - rate, like=x), x / (1 - rate), 0.0)


def layer_norm(x: Any, scale: Any = None, shift: Any = None, axes: Any = -1, eps: float = 1e-5) -> Any:
    """x less its mean, divided by its standard deviation, over axes; then scaled and shifted.

    Source: Ba, Kiros and Hinton, "Layer normalization" (2016).

    >>> import numpy as np, symgraph as sg
    >>> sg.nn.layer_norm(np.array([1.0, 3.0]), eps=0.0)
    array([-1.,  1.])
    """
    centred = x - fn.mean(x, axes, keepdims=True)
    out = centred / ew.sqrt(fn.mean(centred * centred, axes, keepdims=True) + eps)
    out = out if scale is None else out * scale
    return out if shift is None else out + shift


def attention(q: Any, k: Any, v: Any, mask: Any = None, causal: bool = False) -> Any:
    """softmax(q @ k.T / sqrt(d)) @ v, over the last two axes.

    Args:
        q: (..., n, d).
        k: (..., m, d).
        v: (..., m, e).
        mask: None, or truth values that broadcast to (..., n, m): where a query may look; each needs some key.
        causal: whether query i may look at keys up to i alone.

    Raises:
        SymbolError: the shapes of symbols are not declared.

    Source: Vaswani et al., "Attention is all you need" (NeurIPS 2017).

    >>> import numpy as np, symgraph as sg
    >>> sg.nn.attention(np.zeros((2, 1)), np.zeros((2, 1)), np.array([[1.0], [3.0]]), causal=True)
    array([[1.], [2.]])
    """
    width = ar.type_of(q).shape
    if isinstance(width, Opaque) or not isinstance(width[-1], int):
        raise SymbolError("attention: declare the shapes of the symbols, with the last size as an int")
    scores = ar.matmul(q, ar.swapaxes(k, axes=(-1, -2))) * (1.0 / math.sqrt(width[-1]))
    if causal:
        rows = ar.expand_dims(positions(q, -2), axis=(1,))
        seen = ew.less_equal(positions(k, -2), rows)
        mask = seen if mask is None else ew.logical_and(mask, seen)
    if mask is not None:
        scores = ew.where(mask, scores, -math.inf)
    return ar.matmul(fn.softmax(scores, axis=-1), v)


def heads_apart(x: Any, heads: int) -> Any:
    """(..., n, heads * d) as (..., heads, n, d)."""
    shape = ar.type_of(x).shape
    if isinstance(shape, Opaque) or not isinstance(shape[-1], int):
        raise SymbolError("attention: declare the shapes of the symbols, with the last size as an int")
    if shape[-1] % heads:
        raise ShapeError(f"attention: {shape[-1]} features do not make {heads} heads")
    x = ar.reshape(x, shape=(*shape[:-1], heads, shape[-1] // heads))
    return ar.swapaxes(x, axes=(-2, -3))


def heads_together(x: Any) -> Any:
    """(..., heads, n, d) as (..., n, heads * d)."""
    x = ar.swapaxes(x, axes=(-2, -3))
    shape = ar.type_of(x).shape
    assert not isinstance(shape, Opaque)
    return ar.reshape(x, shape=(*shape[:-2], shape[-2] * shape[-1]))

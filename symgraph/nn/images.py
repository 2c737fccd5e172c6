"""Filters and pooling over values (batch, channels, ...), with any number of axes behind the channels."""

from __future__ import annotations

import math
import operator
from typing import Any

from symgraph.dims import Size
from symgraph.errors import ShapeError, SymbolError
from symgraph.ops import array as ar, elementwise as ew, filters as ft, reduction as rd, windows as wn
from symgraph.types import Opaque, Shape, format_shape

Pairs = tuple[tuple[int, int], ...]


def _shape(x: Any, what: str) -> Shape:
    found = ar.type_of(x).shape
    if isinstance(found, Opaque):
        raise SymbolError(f"{what}: declare the shape of {x!r}")
    if len(found) < 3:
        raise ShapeError(f"{what}: values are (batch, channels, ...), got {format_shape(found)}")
    return found


def _each(value: Any, n: int, what: str, least: int = 1) -> tuple[int, ...]:
    """A number for each of n axes."""
    given = tuple(value) if isinstance(value, tuple | list) else (value,) * n
    found = tuple(operator.index(v) for v in given)
    if len(found) != n or any(v < least for v in found):
        raise ValueError(f"{what} is an integer of at least {least}, or one for each of {n} axes, got {value!r}")
    return found


def _margins(padding: Any, n: int, spans: tuple[Size, ...]) -> Pairs:
    """How much is added before and behind each axis."""
    if padding == "valid":
        return ((0, 0),) * n
    if padding == "same":
        if not all(isinstance(span, int) for span in spans):
            raise SymbolError("padding='same' needs windows of declared size")
        return tuple(((span - 1) // 2, span // 2) for span in spans)  # type: ignore[operator]
    if isinstance(padding, str):
        raise ValueError(f"padding is 'valid', 'same', an integer, or one or two for each axis, got {padding!r}")
    if isinstance(padding, tuple | list) and any(isinstance(p, tuple | list) for p in padding):
        return tuple((low, high) for low, high in (_each(p, 2, "padding", 0) for p in padding))
    return tuple((p, p) for p in _each(padding, n, "padding", 0))


def _padded(x: Any, shape: Shape, margins: Pairs, fill: float = 0.0) -> Any:
    """x with margins of a number around its last axes."""
    if not any(low or high for low, high in margins):
        return x
    lead = len(shape) - len(margins)
    room, index = list(shape), [ar.ALL] * lead
    for k, (low, high) in enumerate(margins, lead):
        room[k] = shape[k] + low + high
        index.append(ar.Slice(low, low + shape[k], 1))
    whole = ar.filled(0.0, tuple(room), x)
    found = ar.embed(x, whole, index=tuple(index))
    if fill == 0.0:
        return found
    return ew.where(ar.embed(ar.full_like(x, fill=1, dtype=bool), whole, index=tuple(index)), found, fill)


def conv(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Filters over values: at each place, the sum over channels and window of products.

    Compiled, it is loops over the values as they lie; no windows are copied.

    Args:
        x: (batch, channels, ...).
        weight: (filters, channels / groups, ...), the sizes of the windows last.
        bias: None, or one number per filter.
        stride: from one place to the next, as one integer or one per axis.
        padding: zeros around x: "valid" (none), "same" (as many as keep the size at stride 1), an integer, one per
            axis, or (before, behind) per axis.
        dilation: from one element of a window to the next.
        groups: each part of the channels is seen by the filters of its group alone.

    Returns:
        (batch, filters, ...); along an axis ``(size + padding - dilation * (window - 1) - 1) // stride + 1`` places.

    Raises:
        ShapeError: shapes do not go together.
        SymbolError: the shape of a symbol is not declared (sizes may be names).

    >>> import numpy as np, symgraph as sg
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> sg.nn.conv(x, np.ones((1, 1, 2, 2)), stride=2)
    array([[[[10., 18.], [42., 50.]]]])
    """
    shape, filters = _shape(x, "conv"), _shape(weight, "conv")
    n = len(shape) - 2
    if len(filters) != n + 2:
        raise ShapeError(f"conv: values {format_shape(shape)} and filters {format_shape(filters)} differ in rank")
    strides, dilations = _each(stride, n, "stride"), _each(dilation, n, "dilation")
    if isinstance(shape[1], int) and isinstance(filters[1], int) and shape[1] != filters[1] * groups:
        raise ShapeError(
            f"conv: {shape[1]} channels in {groups} group{'s' * (groups != 1)} meet filters for {filters[1]} each"
        )
    if isinstance(filters[0], int) and filters[0] % groups:
        raise ShapeError(f"conv: {filters[0]} filters do not make {groups} groups")
    spans = tuple((size - 1) * d + 1 for size, d in zip(filters[2:], dilations, strict=True))
    if groups == 1:
        parts: Shape = (shape[0], 1, *shape[1:])
        x, weight = ar.expand_dims(x, axis=(1,)), ar.expand_dims(weight, axis=(0,))
    else:
        parts = (shape[0], groups, filters[1], *shape[2:])
        x, weight = ar.reshape(x, shape=parts), ar.reshape(weight, shape=(groups, -1, *filters[1:]))
    x = _padded(x, parts, _margins(padding, n, spans))  # next to the filter, which need not compute their gradient
    out = ft.correlate(x, weight, strides=strides, dilations=dilations)
    places = ar.type_of(out).shape
    assert not isinstance(places, Opaque)
    out = ar.squeeze(out, axis=(1,)) if groups == 1 else ar.reshape(out, shape=(places[0], filters[0], *places[3:]))
    return out if bias is None else out + ar.expand_dims(bias, axis=tuple(range(1, n + 1)))


def _windows_of(x: Any, size: Any, stride: Any, padding: Any, fill: float, what: str) -> tuple[Any, int, int]:
    shape = _shape(x, what)
    n = len(shape) - 2
    sizes = _each(size, n, "size")
    strides = sizes if stride is None else _each(stride, n, "stride")
    x = _padded(x, shape, _margins(padding, n, sizes), fill)
    axes = tuple(range(2, n + 2))
    return wn.windows(x, axes=axes, sizes=sizes, strides=strides, dilations=(1,) * n), n, math.prod(sizes)


def max_pool(x: Any, size: Any, stride: Any = None, padding: Any = 0) -> Any:
    """The largest element of each window; equal ones share the gradient.

    Args:
        x: (batch, channels, ...), floating point.
        size: of the windows, as one integer or one per axis.
        stride: from one window to the next; by default they lie side by side.
        padding: as in :func:`conv`, but with -inf.

    >>> import numpy as np, symgraph as sg
    >>> sg.nn.max_pool(np.arange(16.0).reshape(1, 1, 4, 4), 2)
    array([[[[ 5.,  7.], [13., 15.]]]])
    """
    view, n, _ = _windows_of(x, size, stride, padding, -math.inf, "max_pool")
    return rd.max(view, axis=tuple(range(-n, 0)), keepdims=False)


def avg_pool(x: Any, size: Any, stride: Any = None, padding: Any = 0) -> Any:
    """The mean of each window, zeros of the margins included; arguments as in :func:`max_pool`.

    >>> import numpy as np, symgraph as sg
    >>> sg.nn.avg_pool(np.arange(16.0).reshape(1, 1, 4, 4), 2)
    array([[[[ 2.5,  4.5], [10.5, 12.5]]]])
    """
    view, n, count = _windows_of(x, size, stride, padding, 0.0, "avg_pool")
    return rd.sum(view, axis=tuple(range(-n, 0)), keepdims=False) / count

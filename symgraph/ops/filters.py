"""Filters: at every place of values, the sum of products with a window of them.

A filter is one operation, whose gradients are filters again. In a kernel it is a reduction over a view of windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph import dims
from symgraph.errors import DTypeError, ShapeError, SymbolError
from symgraph.op import Op, loop_dtypes, register
from symgraph.ops import array as ar, elementwise as ew, reduction as rd
from symgraph.ops.windows import Sizes, places, windows
from symgraph.types import ArrayType, Opaque, Shape, format_shape


def _infer_correlate(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
    x, w = types
    dtype = None
    if x.dtype is not None and w.dtype is not None:
        dtype = loop_dtypes(np.multiply, ((x.dtype, False), (w.dtype, False)))[-1]
        if dtype.kind != "f":
            raise DTypeError(f"correlate: floating-point values are filtered, got {x.dtype} and {w.dtype}")
    if isinstance(x.shape, Opaque) or isinstance(w.shape, Opaque):
        raise SymbolError("correlate: declare the shapes of the placeholders")
    spatial = len(params["strides"])
    if len(x.shape) != spatial + 3 or len(w.shape) != spatial + 3:
        raise ShapeError(
            f"correlate: needs values (batch, groups, channels, ...) and filters (groups, filters, channels, ...) with "
            f"{spatial} more axes, got {format_shape(x.shape)} and {format_shape(w.shape)}"
        )
    for what, a, b in (("groups", x.shape[1], w.shape[0]), ("channels", x.shape[2], w.shape[2])):
        if a != b and isinstance(a, int) and isinstance(b, int):
            raise ShapeError(f"correlate: {a} {what} of values meet filters for {b}")
    out = [x.shape[0], x.shape[1], w.shape[1]]
    for k in range(spatial):
        length, span = x.shape[3 + k], (w.shape[3 + k] - 1) * params["dilations"][k] + 1
        if isinstance(length, int) and isinstance(span, int) and length < span:
            raise ShapeError(
                f"correlate: filters of span {span} do not fit into axis {3 + k} of {format_shape(x.shape)}"
            )
        out.append(places(length, span, params["strides"][k]))
    return ArrayType(dtype, tuple(out))


def _correlate(x: Any, w: Any, *, strides: Sizes, dilations: Sizes) -> Any:
    x, w = np.asarray(x), np.asarray(w)
    _infer_correlate([ArrayType(v.dtype, v.shape) for v in (x, w)], {"strides": strides, "dilations": dilations})
    n = len(strides)
    view = windows.impl(x, axes=tuple(range(3, 3 + n)), sizes=w.shape[3:], strides=strides, dilations=dilations)
    batch, groups, channels, *out = view.shape[: 3 + n]
    inner = channels * math.prod(w.shape[3:])
    # (groups, batch and places, channels and window) @ (groups, channels and window, filters)
    order = (1, 0, *range(3, 3 + n), 2, *range(3 + n, 3 + 2 * n))
    rows = view.transpose(order).reshape(groups, batch * math.prod(out), inner)
    product = rows @ w.reshape(groups, w.shape[1], inner).swapaxes(1, 2)
    found = product.reshape(groups, batch, *out, w.shape[1])
    return np.ascontiguousarray(found.transpose(1, 0, 2 + n, *range(2, 2 + n)))


SIDE_BY_SIDE = 4
"""Filters, or places, that are computed together: what is loaded once, each of them uses."""

LANES, FEW = 16, 8
"""Vectors run along filters where those fill some, and a row of so many places at most does not."""


def _lower_correlate(x: Any, w: Any, *, strides: Sizes, dilations: Sizes) -> Any:
    """Sums over channels and windows of products; a matrix product where windows are single elements."""
    shape = ar.type_of(w).shape
    assert not isinstance(shape, Opaque)
    lengths = ar.type_of(x).shape
    assert not isinstance(lengths, Opaque)
    if all(size == 1 for size in shape[3:]):
        return _product_over_channels(_every(x, strides), w)
    if lengths[3:] == shape[3:] and set(dilations) == {1}:
        return _product_over_all(x, w)
    if strides[-1] > 1 and isinstance(shape[-1], int):
        return _by_phases(x, w, shape[-1], strides, dilations)
    filters = shape[1]
    count = places(lengths[-1], (shape[-1] - 1) * dilations[-1] + 1, strides[-1])
    if isinstance(filters, int) and filters % LANES == 0 and isinstance(count, int) and count <= FEW:
        return _along_filters(x, w, count, strides, dilations)
    if isinstance(filters, int) and filters % SIDE_BY_SIDE == 0:
        parts = [
            ar.expand_dims(
                _sum_of_products(x, w[:, k::SIDE_BY_SIDE], strides, dilations),
                axis=(3,),
            )
            for k in range(SIDE_BY_SIDE)
        ]
        together = ar.concatenate(*parts, axis=3)
        found = ar.type_of(together).shape
        return ar.reshape(together, shape=(*found[:2], filters, *found[4:]))  # type: ignore[index]
    return _sum_of_products(x, w, strides, dilations)


def _sum_of_products(x: Any, w: Any, strides: Sizes, dilations: Sizes) -> Any:
    """One reduction; places are next to what is summed, for vectors to run along."""
    n = len(strides)
    sizes = ar.type_of(w).shape[3:]  # type: ignore[index]
    view = windows(x, axes=tuple(range(3, 3 + n)), sizes=sizes, strides=strides, dilations=dilations)
    # batch, groups, filters, places, channels, window
    view = ar.transpose(view, axes=(0, 1, *range(3, 3 + n), 2, *range(3 + n, 3 + 2 * n)))
    filters = ar.expand_dims(w, axis=(0, *range(3, 3 + n)))
    product = ew.mul(ar.expand_dims(view, axis=(2,)), filters)
    return rd.sum(product, axis=tuple(range(3 + n, 4 + 2 * n)), keepdims=False)


def _along_filters(x: Any, w: Any, count: int, strides: Sizes, dilations: Sizes) -> Any:
    """Sums over channels and windows of products for vectors to run along filters, with some of the `count` places of a
    row side by side."""
    n = len(strides)
    shape = ar.type_of(w).shape
    assert not isinstance(shape, Opaque)
    last = ar.contiguous(ar.transpose(w, axes=(0, *range(2, 3 + n), 1)))  # groups, channels, window, filters
    filters = ar.expand_dims(ar.transpose(last, axes=(0, 2 + n, *range(1, 2 + n))), axis=(0, *range(2, 2 + n)))
    side = next(k for k in range(SIDE_BY_SIDE, 0, -1) if count % k == 0)
    parts = []
    for k in range(side):
        first = ar.getitem(x, index=(Ellipsis, ar.Slice(k * strides[-1], None, 1)))
        apart = (*strides[:-1], strides[-1] * side)
        view = windows(first, axes=tuple(range(3, 3 + n)), sizes=shape[3:], strides=apart, dilations=dilations)
        # batch, groups, places, filters, channels, window
        view = ar.transpose(view, axes=(0, 1, *range(3, 3 + n), 2, *range(3 + n, 3 + 2 * n)))
        product = ew.mul(ar.expand_dims(view, axis=(2 + n,)), filters)
        part = rd.sum(product, axis=tuple(range(3 + n, 4 + 2 * n)), keepdims=False)
        parts.append(ar.expand_dims(part, axis=(2 + n,)))
    together = ar.concatenate(*parts, axis=2 + n)
    found = ar.type_of(together).shape
    whole = ar.reshape(together, shape=(*found[: 1 + n], count, shape[1]))  # type: ignore[index]
    return ar.transpose(whole, axes=(0, 1, 2 + n, *range(2, 2 + n)))


def _every(x: Any, strides: Sizes) -> Any:
    """Each stride-th element along the axes of places."""
    if set(strides) == {1}:
        return x
    return ar.getitem(x, index=(*[ar.ALL] * 3, *(ar.Slice(None, None, s) for s in strides)))


def _product_over_channels(x: Any, w: Any) -> Any:
    """Filters of one element: (groups, filters, channels) @ (batch, groups, channels, places)."""
    shape = ar.type_of(x).shape
    assert not isinstance(shape, Opaque)
    columns = ar.reshape(x, shape=(*shape[:3], dims.product(shape[3:])))
    product = ar.matmul(ar.reshape(w, shape=ar.type_of(w).shape[:3]), columns)  # type: ignore[index]
    return ar.reshape(product, shape=(*shape[:2], ar.type_of(w).shape[1], *shape[3:]))  # type: ignore[index]


def _product_over_all(x: Any, w: Any) -> Any:
    """Filters as large as the values: (groups, batch, channels and window) @ (groups, channels and window, filters)."""
    n = (ar.rank(x) or 0) - 3
    left = _rows(ar.transpose(x, axes=(1, 0, *range(2, 3 + n))))
    right = _rows(w)
    product = ar.transpose(ar.matmul(left, ar.swapaxes(right, axes=(1, 2))), axes=(1, 0, 2))
    return ar.expand_dims(product, axis=tuple(range(3, 3 + n)))


def _rows(value: Any) -> Any:
    """The axes behind the first two as one."""
    shape = ar.type_of(value).shape
    assert not isinstance(shape, Opaque)
    return ar.reshape(value, shape=(*shape[:2], dims.product(shape[2:])))


def _by_phases(x: Any, w: Any, size: int, strides: Sizes, dilations: Sizes) -> Any:
    """The sum over the remainders of places by the last stride: neighbours in the result then are neighbours in x."""
    stride, dilation = strides[-1], dilations[-1]
    period = math.lcm(stride, dilation) // dilation  # so many filter elements on is the same phase
    out = _infer_correlate([ar.type_of(x), ar.type_of(w)], {"strides": strides, "dilations": dilations}).shape
    assert not isinstance(out, Opaque)
    total: Any = None
    for first in range(min(period, size)):
        start, part = first * dilation, w[..., first::period]
        taps = ar.type_of(part).shape[-1]  # type: ignore[index]
        apart = period * dilation // stride
        every = ar.contiguous(ar.getitem(x, index=(Ellipsis, ar.Slice(start, None, stride))))
        every = ar.getitem(every, index=(Ellipsis, ar.Slice(0, out[-1] + (taps - 1) * apart, 1)))
        term = _lower_correlate(every, part, strides=(*strides[:-1], 1), dilations=(*dilations[:-1], apart))
        total = term if total is None else ew.add(total, term)
    return total


def _swapped(value: Any) -> Any:
    """Groups first and the two axes behind them exchanged, or back."""
    n = (ar.rank(value) or 0) - 3
    return ar.transpose(value, axes=(2, 1, 0, *range(3, 3 + n)))


def _grad_values(g: Any, out: Any, x: Any, w: Any, *, strides: Sizes, dilations: Sizes) -> Any:
    """The cotangent of x: each of its elements meets the filter from the other side, in g with gaps and margins."""
    n = len(strides)
    lengths, sizes, found = ar.type_of(x).shape, ar.type_of(w).shape, ar.type_of(g).shape
    assert not isinstance(lengths, Opaque) and not isinstance(sizes, Opaque) and not isinstance(found, Opaque)
    room, index = list(found), [ar.ALL] * 3
    if sizes[3:] == (1,) * n and strides == (1,) * n:
        return correlate(g, ar.transpose(w, axes=(0, 2, 1, *range(3, 3 + n))), strides=strides, dilations=dilations)
    for k in range(n):
        margin = (sizes[3 + k] - 1) * dilations[k]
        room[3 + k] = lengths[3 + k] + margin
        index.append(ar.Slice(margin, margin + (found[3 + k] - 1) * strides[k] + 1, strides[k]))
    spread = ar.embed(g, _zeros(g, tuple(room)), index=tuple(index))
    turned = ar.flip(ar.transpose(w, axes=(0, 2, 1, *range(3, 3 + n))), axis=tuple(range(3, 3 + n)))
    return correlate(spread, turned, strides=(1,) * n, dilations=dilations)


def _grad_filters(g: Any, out: Any, x: Any, w: Any, *, strides: Sizes, dilations: Sizes) -> Any:
    """The cotangent of w: x filtered by g, with strides and dilations exchanged."""
    n = len(strides)
    sizes = ar.type_of(w).shape
    assert not isinstance(sizes, Opaque)
    filters = ar.transpose(g, axes=(1, 2, 0, *range(3, 3 + n)))
    found = correlate(_swapped(x), filters, strides=dilations, dilations=strides)  # (channels, groups, filters, ...)
    found = ar.transpose(found, axes=(1, 2, 0, *range(3, 3 + n)))
    if ar.type_of(found).shape != sizes:  # elements of x behind the last window make windows of their own
        found = ar.getitem(found, index=(*[ar.ALL] * 3, *(ar.Slice(0, size, 1) for size in sizes[3:])))
    return found


def _zeros(like: Any, shape: Shape) -> Any:
    """Of which only the shape is used."""
    return ar.filled(0.0, shape, like)


correlate: Op = register(
    Op(
        name="correlate",
        kind="contraction",
        impl=_correlate,
        grad=(_grad_values, _grad_filters),
        infer=_infer_correlate,
        lower=_lower_correlate,
        onnx="Conv",
        domain=ar.ANY * 2,
    )
)
"""Filters (groups, filters, channels, ...) over values (batch, groups, channels, ...), wherever they fit."""

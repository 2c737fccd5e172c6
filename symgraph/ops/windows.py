"""Windows that slide over axes: as a view, as what they add up to, and as the sums of products that filters are.

A filter is one operation, whose gradients are filters again. Nothing is copied: in a kernel it is a reduction over a
view in which an axis of the argument is read at ``stride * i + dilation * k``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph import dims
from symgraph.dims import Size
from symgraph.errors import DTypeError, ShapeError, SymbolError
from symgraph.op import Op, loop_dtypes, register
from symgraph.ops import array as ar, elementwise as ew, reduction as rd
from symgraph.types import ArrayType, Opaque, Shape, format_shape

Sizes = tuple[int, ...]


def reach(sizes: Sizes, dilations: Sizes) -> Sizes:
    """How many elements a window spans along each axis."""
    return tuple((k - 1) * d + 1 for k, d in zip(sizes, dilations, strict=True))


def places(length: Size, span: Size, stride: int) -> Size:
    """How many windows of a span fit into a length."""
    rest = length - span
    if isinstance(rest, int):
        return rest // stride + 1 if rest >= 0 else 0
    return dims.floordiv(rest, stride) + 1


# -- the view ----------------------------------------------------------------------------------------------------------


def _windows_shape(shape: Shape, params: dict[str, Any]) -> Shape:
    axes = params["axes"] = tuple(ar.normalize_axis(a, len(shape), "windows") for a in params["axes"])
    if len(set(axes)) != len(axes):
        raise ShapeError(f"windows: axis given twice in {axes}")
    spans = reach(params["sizes"], params["dilations"])
    result = list(shape)
    for axis, span, stride in zip(axes, spans, params["strides"], strict=True):
        length = shape[axis]
        if isinstance(length, int) and length < span:
            raise ShapeError(f"windows: a window of {span} does not fit into axis {axis} of {format_shape(shape)}")
        result[axis] = places(length, span, stride)
    return (*result, *params["sizes"])


def _windows_map(x: ArrayType, out: ArrayType, params: dict[str, Any]) -> ar.IndexMap:
    ndim = x.ndim or 0
    maps = [ar.AxisMap(axis, 1, 0) for axis in range(ndim)]
    for k, axis in enumerate(params["axes"]):
        maps[axis] = ar.AxisMap(axis, params["strides"][k], 0, (ndim + k, params["dilations"][k]))
    return tuple(maps)


def _windows(x: Any, *, axes: Sizes, sizes: Sizes, strides: Sizes, dilations: Sizes) -> Any:
    x = np.asarray(x)
    shape = _windows_shape(x.shape, {"axes": axes, "sizes": sizes, "strides": strides, "dilations": dilations})
    steps = list(x.strides)
    inner = []
    for axis, stride, dilation in zip(axes, strides, dilations, strict=True):
        inner.append(x.strides[axis] * dilation)
        steps[axis] *= stride
    return np.lib.stride_tricks.as_strided(x, shape, (*steps, *inner), writeable=False)  # type: ignore[arg-type]


windows: Op = ar.view(
    "windows",
    _windows,
    grad=(lambda g, out, x, **params: add_windows(g, x, **params),),
    shape=_windows_shape,
    index_map=_windows_map,
    onnx="",
)
"""x with axes of windows behind it: window i along an axis begins at element i * stride, and takes each dilation-th."""


# -- its adjoint -------------------------------------------------------------------------------------------------------


def _slices(shape: Shape, ndim: int, position: Sizes, params: dict[str, Any]) -> ar.Index:
    """Where the elements at a position in all windows come from; `shape` is that of the windows."""
    entries: list[Any] = [ar.ALL] * ndim
    for k, axis in enumerate(params["axes"]):
        start, stride = position[k] * params["dilations"][k], params["strides"][k]
        entries[axis] = ar.Slice(start, start + (shape[axis] - 1) * stride + 1, stride)
    return tuple(entries)


def _add_windows(g: Any, x: Any, **params: Any) -> Any:
    g = np.asarray(g)
    out = np.zeros(np.shape(x), g.dtype)
    axes = tuple(ar.normalize_axis(a, out.ndim, "windows") for a in params["axes"])
    for position in np.ndindex(*params["sizes"]):
        index = _slices(g.shape, out.ndim, position, {**params, "axes": axes})
        out[ar.to_numpy_index(index)] += g[(..., *position)]
    return out


def _expand_add(g: Any, x: Any, **params: Any) -> Any:
    tg, tx = ar.type_of(g), ar.type_of(x)
    if not tg.known or not tx.known:
        return None
    shape, whole = tg.shape, tx.shape
    assert not isinstance(shape, Opaque) and not isinstance(whole, Opaque)
    ndim = len(whole)
    params = {**params, "axes": tuple(ar.normalize_axis(a, ndim, "windows") for a in params["axes"])}
    if params["strides"] == params["sizes"] and set(params["dilations"]) == {1}:
        return _side_by_side(g, x, shape, ndim, params)
    total: Any = None
    for position in np.ndindex(*params["sizes"]):
        part = ar.getitem(g, index=(Ellipsis, *position))
        part = ar.embed(part, x, index=_slices(shape, ndim, position, params))
        total = part if total is None else ew.add(total, part)
    return total


def _side_by_side(g: Any, x: Any, shape: Shape, ndim: int, params: dict[str, Any]) -> Any:
    """Windows that do not overlap lie side by side: each axis of windows is merged with that of what is inside."""
    order: list[int] = []
    covered: list[Size] = []
    for axis in range(ndim):
        order.append(axis)
        covered.append(shape[axis])
        if axis in params["axes"]:
            k = params["axes"].index(axis)
            order.append(ndim + k)
            covered[-1] = shape[axis] * params["sizes"][k]
    together = ar.reshape(ar.transpose(g, axes=tuple(order)), shape=tuple(covered))
    whole = ar.type_of(x).shape
    if tuple(covered) == whole:
        return together
    return ar.embed(together, x, index=tuple(ar.Slice(0, size, 1) for size in covered))


add_windows: Op = register(
    Op(
        name="add_windows",
        kind="scatter",
        impl=_add_windows,
        onnx="",
        domain=ar.ANY * 2,
        shape_only=(1,),
        grad=(lambda g, out, v, x, **params: windows(g, **params), None),
        infer=lambda types, params: ArrayType(types[0].dtype, types[1].shape),
        lower="add_windows",
        expand=_expand_add,
    )
)
"""Zeros in the shape of x, to which each window is added where it came from: the gradient of windows."""


# -- filters -----------------------------------------------------------------------------------------------------------


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
    view = _windows(x, axes=tuple(range(3, 3 + n)), sizes=w.shape[3:], strides=strides, dilations=dilations)
    batch, groups, channels, *out = view.shape[: 3 + n]
    inner = channels * math.prod(w.shape[3:])
    # (groups, batch and places, channels and window) @ (groups, channels and window, filters)
    order = (1, 0, *range(3, 3 + n), 2, *range(3 + n, 3 + 2 * n))
    rows = view.transpose(order).reshape(groups, batch * math.prod(out), inner)
    product = rows @ w.reshape(groups, w.shape[1], inner).swapaxes(1, 2)
    found = product.reshape(groups, batch, *out, w.shape[1])
    return np.ascontiguousarray(found.transpose(1, 0, 2 + n, *range(2, 2 + n)))


SIDE_BY_SIDE = 4
"""Filters that are computed together: what is loaded once, each of them uses."""


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
    symbolic = getattr(like, "type", None) is not None
    return ar.broadcast_to(ar.lift(0.0) if symbolic else 0.0, shape=shape)


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

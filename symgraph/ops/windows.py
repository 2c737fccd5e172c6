"""Windows that slide over axes, as a view, and what they add up to.

Nothing is copied: an axis of the argument is read at ``stride * i + dilation * k``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph import dims
from symgraph.dims import Size
from symgraph.errors import ShapeError
from symgraph.op import Op, register
from symgraph.ops import array as ar, elementwise as ew
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

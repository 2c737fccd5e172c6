"""Operations on whole arrays: sources, views (index maps), gathering and scattering, and the matrix product.

Rules of gradients need shapes that may not be known yet. Operations named ``*_like`` take such a shape from another
value; they turn themselves into plain ones as soon as types are known (`expand`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from symgraph import dims
from symgraph.dims import Size
from symgraph.errors import DTypeError, OutOfBoundsError, ShapeError, SymbolError
from symgraph.op import NONE, Op, fresh_opaque, loop_dtypes, register
from symgraph.ops import elementwise as ew
from symgraph.types import ArrayType, Opaque, Shape, broadcast_shapes, format_shape, weak_scalar

ANY = ((-2.0, 2.0),)


def type_of(value: Any) -> ArrayType:
    """The type of a symbol, or of data."""
    found = getattr(value, "type", None)
    if isinstance(found, ArrayType):
        return found
    data = getattr(value, "data", value) if getattr(value, "_mode", None) is not None else value
    array = np.asarray(data)
    return ArrayType(array.dtype, array.shape, isinstance(value, int | float | complex))


def rank(value: Any) -> int | None:
    """The number of axes, or None where it is not known yet."""
    return type_of(value).ndim


def normalize_axis(axis: int, ndim: int, what: str) -> int:
    """An axis counted from the front."""
    if not -ndim <= axis < ndim:
        raise ShapeError(f"{what}: axis {axis} is out of range for {ndim} dimension{'s' * (ndim != 1)}")
    return axis % ndim


# -- index maps --------------------------------------------------------------------------------------------------------


class AxisMap(NamedTuple):
    """Where a view reads one axis of its argument: ``offset + step * index[axis]`` (axis None: at `offset`), and in
    windows ``+ step * index[axis]`` for `also`, another pair of axis and step."""

    axis: int | None
    step: int
    offset: Size
    also: tuple[int, int] | None = None


IndexMap = tuple[AxisMap, ...]
IndexMapRule = Callable[[ArrayType, ArrayType, dict[str, Any]], "IndexMap | None"]


def view(
    name: str,
    impl: Callable[..., Any],
    *,
    grad: tuple[Callable[..., Any], ...],
    shape: Callable[[Shape, dict[str, Any]], Shape],
    index_map: IndexMapRule,
    onnx: str,
    opaque: Callable[[Opaque, dict[str, Any]], Shape | Opaque] | None = None,
    expand: Callable[..., Any] | None = None,
) -> Op:
    """A row for an operation that only looks at its argument in another order.

    `shape` gives the shape of the result and may put parameters into canonical form; `index_map` says where each axis
    of the argument is read.
    """

    def infer(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
        (x,) = types
        if isinstance(x.shape, Opaque):
            if opaque is not None:
                return ArrayType(x.dtype, opaque(x.shape, params))
            return ArrayType(x.dtype, fresh_opaque(name, x.shape, tuple(sorted(params.items(), key=str))))
        return ArrayType(x.dtype, shape(x.shape, params))

    return register(
        Op(
            name=name,
            kind="view",
            impl=impl,
            grad=grad,
            infer=infer,
            lower=index_map,
            onnx=onnx,
            domain=ANY,
            expand=expand,
        )
    )


def _same_axes(shape: Shape) -> list[AxisMap]:
    return [AxisMap(axis, 1, 0) for axis in range(len(shape))]


# transpose


def _transposed(shape: Shape, params: dict[str, Any]) -> Shape:
    axes = params["axes"]
    if axes is None:
        axes = tuple(reversed(range(len(shape))))
    if len(axes) != len(shape):
        raise ShapeError(f"transpose: axes {axes} do not match an array of {len(shape)} dimensions")
    axes = tuple(normalize_axis(a, len(shape), "transpose") for a in axes)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"transpose: axis given twice in {axes}")
    params["axes"] = axes
    return tuple(shape[a] for a in axes)


def _transpose_map(x: ArrayType, out: ArrayType, params: dict[str, Any]) -> IndexMap:
    result = _same_axes(out.shape)  # type: ignore[arg-type]
    for position, axis in enumerate(params["axes"]):
        result[axis] = AxisMap(position, 1, 0)
    return tuple(result)


def _transpose_grad(g: Any, out: Any, x: Any, *, axes: tuple[int, ...] | None) -> Any:
    return transpose(g, axes=None if axes is None else tuple(int(k) for k in np.argsort([a % len(axes) for a in axes])))


transpose: Op = view(
    "transpose",
    lambda x, *, axes: np.transpose(x, axes),
    grad=(_transpose_grad,),
    shape=_transposed,
    index_map=_transpose_map,
    onnx="Transpose",
)


def _swapped(shape: Shape, params: dict[str, Any]) -> Shape:
    a, b = (normalize_axis(axis, len(shape), "swapaxes") for axis in params["axes"])
    order = list(range(len(shape)))
    order[a], order[b] = b, a
    return tuple(shape[k] for k in order)


def _swap_expand(x: Any, *, axes: tuple[int, int]) -> Any:
    ndim = rank(x)
    if ndim is None:
        return None
    order = list(range(ndim))
    a, b = (normalize_axis(axis, ndim, "swapaxes") for axis in axes)
    order[a], order[b] = b, a
    return transpose(x, axes=tuple(order))


swapaxes: Op = view(
    "swapaxes",
    lambda x, *, axes: np.swapaxes(x, *axes),
    grad=(lambda g, out, x, *, axes: swapaxes(g, axes=axes),),
    shape=_swapped,
    index_map=lambda x, out, params: None,
    onnx="Transpose",
    expand=_swap_expand,
)


def _moved(ndim: int, source: tuple[int, ...], destination: tuple[int, ...]) -> tuple[int, ...]:
    source = tuple(normalize_axis(a, ndim, "moveaxis") for a in source)
    destination = tuple(normalize_axis(a, ndim, "moveaxis") for a in destination)
    order = [a for a in range(ndim) if a not in source]
    for where_, axis in sorted(zip(destination, source, strict=True)):
        order.insert(where_, axis)
    return tuple(order)


moveaxis: Op = view(
    "moveaxis",
    lambda x, *, source, destination: np.moveaxis(x, source, destination),
    grad=(lambda g, out, x, *, source, destination: moveaxis(g, source=destination, destination=source),),
    shape=lambda shape, p: tuple(shape[a] for a in _moved(len(shape), p["source"], p["destination"])),
    index_map=lambda x, out, params: None,
    onnx="Transpose",
    expand=lambda x, *, source, destination: (
        None if rank(x) is None else transpose(x, axes=_moved(rank(x), source, destination))  # type: ignore[arg-type]
    ),
)

# reshape: free where it only adds or removes axes of size 1; otherwise its argument must lie in memory


def _reshaped(shape: Shape, params: dict[str, Any]) -> Shape:
    wanted = list(params["shape"])
    total = dims.product(shape)
    if wanted.count(-1) > 1:
        raise ShapeError(f"reshape: only one size may be -1, got {tuple(wanted)}")
    if -1 in wanted:
        rest = dims.product([s for s in wanted if s != -1])
        size = dims.floordiv(total, rest)
        if isinstance(total, int) and isinstance(rest, int) and (rest == 0 or total % rest):
            raise ShapeError(f"reshape: {format_shape(shape)} does not fill {tuple(wanted)}")
        wanted[wanted.index(-1)] = size
    elif isinstance(total, int) and isinstance(dims.product(wanted), int) and total != dims.product(wanted):
        raise ShapeError(
            f"reshape: {format_shape(shape)} has {total} elements, {tuple(wanted)} has {dims.product(wanted)}"
        )
    params["shape"] = tuple(wanted)
    return tuple(wanted)


def _reshape_map(x: ArrayType, out: ArrayType, params: dict[str, Any]) -> IndexMap | None:
    assert not isinstance(x.shape, Opaque) and not isinstance(out.shape, Opaque)
    long = [axis for axis, size in enumerate(out.shape) if size != 1]
    if [s for s in x.shape if s != 1] != [out.shape[a] for a in long]:
        return None
    axes = iter(long)
    return tuple(AxisMap(None, 0, 0) if size == 1 else AxisMap(next(axes), 1, 0) for size in x.shape)


reshape: Op = view(
    "reshape",
    lambda x, *, shape: np.reshape(x, shape),
    grad=(lambda g, out, x, *, shape: reshape_like(g, x),),
    shape=_reshaped,
    index_map=_reshape_map,
    onnx="Reshape",
    opaque=lambda shape, params: (
        fresh_opaque("reshape", shape, params["shape"]) if -1 in params["shape"] else params["shape"]
    ),
)


def _expanded(shape: Shape, params: dict[str, Any]) -> Shape:
    ndim = len(shape) + len(params["axis"])
    axes = tuple(sorted(normalize_axis(a, ndim, "expand_dims") for a in params["axis"]))
    if len(set(axes)) != len(axes):
        raise ShapeError(f"expand_dims: axis given twice in {params['axis']}")
    params["axis"] = axes
    rest = iter(shape)
    return tuple(1 if axis in axes else next(rest) for axis in range(ndim))


expand_dims: Op = view(
    "expand_dims",
    lambda x, *, axis: np.expand_dims(x, axis),
    grad=(lambda g, out, x, *, axis: reshape_like(g, x),),
    shape=_expanded,
    onnx="Unsqueeze",
    index_map=lambda x, out, p: tuple(AxisMap(a, 1, 0) for a in range(out.ndim or 0) if a not in p["axis"]),
)


def _squeezed(shape: Shape, params: dict[str, Any]) -> Shape:
    axes = params["axis"]
    if axes is None:
        axes = tuple(a for a, size in enumerate(shape) if size == 1)
    axes = tuple(sorted(normalize_axis(a, len(shape), "squeeze") for a in axes))
    for axis in axes:
        if shape[axis] != 1 and (isinstance(shape[axis], int) or dims.settled(shape[axis])):
            raise ShapeError(f"squeeze: axis {axis} of {format_shape(shape)} is not of size 1")
    params["axis"] = axes
    return tuple(size for a, size in enumerate(shape) if a not in axes)


def _squeeze_map(x: ArrayType, out: ArrayType, params: dict[str, Any]) -> IndexMap:
    kept = iter(range(out.ndim or 0))
    return tuple(AxisMap(None, 0, 0) if a in params["axis"] else AxisMap(next(kept), 1, 0) for a in range(x.ndim or 0))


squeeze: Op = view(
    "squeeze",
    lambda x, *, axis: np.squeeze(x, axis),
    grad=(lambda g, out, x, *, axis: reshape_like(g, x),),
    shape=_squeezed,
    index_map=_squeeze_map,
    onnx="Squeeze",
)


def _flipped(shape: Shape, params: dict[str, Any]) -> Shape:
    axes = params["axis"]
    axes = tuple(range(len(shape))) if axes is None else axes
    params["axis"] = tuple(sorted(normalize_axis(a, len(shape), "flip") for a in axes))
    return shape


def _flip_map(x: ArrayType, out: ArrayType, params: dict[str, Any]) -> IndexMap:
    return tuple(
        AxisMap(a, -1, size - 1) if a in params["axis"] else AxisMap(a, 1, 0)
        for a, size in enumerate(x.shape)  # type: ignore[arg-type]
    )


flip: Op = view(
    "flip",
    lambda x, *, axis: np.flip(x, axis),
    grad=(lambda g, out, x, *, axis: flip(g, axis=axis),),
    shape=_flipped,
    index_map=_flip_map,
    onnx="",
    opaque=lambda shape, params: shape,
)


def _broadcast_shape(shape: Shape, params: dict[str, Any]) -> Shape:
    wanted = params["shape"]
    ok = len(wanted) >= len(shape) and all(
        s in (1, w) or not (isinstance(s, int) and isinstance(w, int))
        for s, w in zip(shape, wanted[len(wanted) - len(shape) :], strict=True)
    )
    if not ok:
        raise ShapeError(f"broadcast_to: {format_shape(shape)} does not broadcast to {format_shape(wanted)}")
    return tuple(wanted)


def _broadcast_map(x: ArrayType, out: ArrayType, params: dict[str, Any]) -> IndexMap:
    assert not isinstance(x.shape, Opaque) and not isinstance(out.shape, Opaque)
    shift = len(out.shape) - len(x.shape)
    return tuple(
        AxisMap(None, 0, 0) if size == 1 and out.shape[a + shift] != 1 else AxisMap(a + shift, 1, 0)
        for a, size in enumerate(x.shape)
    )


def _broadcast_to_expand(x: Any, *, shape: Shape) -> Any:
    return x if type_of(x).shape == tuple(shape) else None


broadcast_to: Op = view(
    "broadcast_to",
    lambda x, *, shape: np.broadcast_to(x, shape),
    grad=(lambda g, out, x, *, shape: unbroadcast(g, x),),
    shape=_broadcast_shape,
    index_map=_broadcast_map,
    onnx="Expand",
    opaque=lambda shape, params: tuple(params["shape"]),
    expand=_broadcast_to_expand,
)

# -- indexing ----------------------------------------------------------------------------------------------------------


class Slice(NamedTuple):
    """A slice that can be hashed."""

    start: Any
    stop: Any
    step: Any

    def __str__(self) -> str:
        start, stop = ("" if v is None else str(v) for v in (self.start, self.stop))
        return f"{start}:{stop}" + ("" if self.step in (None, 1) else f":{self.step}")

    @property
    def slice(self) -> slice:
        """The same as Python's own."""
        return slice(*self)


ALL = Slice(None, None, None)
Index = tuple[Any, ...]  # of int, Slice, None, Ellipsis


def to_numpy_index(index: Index) -> Any:
    """The index in the form that arrays take."""
    return tuple(i.slice if isinstance(i, Slice) else i for i in index)


def full_index(index: Index, ndim: int) -> Index:
    """The index with the Ellipsis written out: an int or Slice per axis of the argument, and Nones."""
    used = sum(i is not None and i is not Ellipsis for i in index)
    if used > ndim:
        raise OutOfBoundsError(f"getitem: {used} indices for {ndim} dimension{'s' * (ndim != 1)}")
    fill = (ALL,) * (ndim - used)
    at = next((k for k, i in enumerate(index) if i is Ellipsis), len(index))
    return (*index[:at], *fill, *index[at + 1 :])


def _indexed(shape: Shape, params: dict[str, Any]) -> Shape:
    params["index"] = full_index(params["index"], len(shape))
    result: list[Size] = []
    axis = 0
    for entry in params["index"]:
        if entry is None:
            result.append(1)
            continue
        size = shape[axis]
        if isinstance(entry, Slice):
            result.append(dims.slice_bounds(entry.slice, size)[1])
        elif isinstance(size, int) and not -size <= entry < size:
            raise OutOfBoundsError(f"getitem: index {entry} is out of bounds for axis {axis} with size {size}")
        axis += 1
    return tuple(result)


def _index_map(x: ArrayType, out: ArrayType, params: dict[str, Any]) -> IndexMap:
    result: list[AxisMap] = []
    position = 0
    for entry in params["index"]:
        if entry is None:
            position += 1
            continue
        size = x.shape[len(result)]  # type: ignore[index]
        if isinstance(entry, Slice):
            start, _ = dims.slice_bounds(entry.slice, size)
            result.append(AxisMap(position, 1 if entry.step is None else entry.step, start))
            position += 1
        else:
            result.append(AxisMap(None, 0, entry if entry >= 0 else size + entry))
    return tuple(result)


getitem: Op = view(
    "getitem",
    lambda x, *, index: x[to_numpy_index(index)],
    grad=(lambda g, out, x, *, index: embed(g, x, index=index),),
    shape=_indexed,
    index_map=_index_map,
    onnx="Slice",
)


def _embed(g: Any, x: Any, *, index: Index) -> Any:
    out = np.zeros(np.shape(x), np.result_type(g))
    out[to_numpy_index(index)] = g
    return out


def _infer_like(g: ArrayType, x: ArrayType) -> ArrayType:
    return ArrayType(g.dtype, x.shape)


embed: Op = register(
    Op(
        name="embed",
        kind="scatter",
        impl=_embed,
        onnx="",
        domain=ANY * 2,
        shape_only=(1,),
        grad=(lambda g, out, v, x, *, index: getitem(g, index=index), None),
        infer=lambda types, params: _infer_like(*types),
        lower="embed",
    )
)
"""Zeros in the shape of x, with g written at a constant index: the gradient of getitem."""


def _infer_take(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
    x, i = types
    if i.dtype is not None and i.dtype.kind not in "iu":
        raise DTypeError(f"take: indices must be integers, got {i.dtype}")
    if isinstance(x.shape, Opaque) or isinstance(i.shape, Opaque):
        return ArrayType(x.dtype, fresh_opaque("take", x.shape, i.shape, params["axis"]))
    axis = params["axis"] = normalize_axis(params["axis"], len(x.shape), "take")
    return ArrayType(x.dtype, (*x.shape[:axis], *i.shape, *x.shape[axis + 1 :]))


def _scatter_add(g: Any, i: Any, x: Any, *, axis: int) -> Any:
    out = np.zeros(np.shape(x), np.result_type(g))
    axis = axis % out.ndim
    np.add.at(out, (slice(None),) * axis + (i,), g)
    return out


def _infer_scatter_add(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
    g, _, x = types
    if not isinstance(x.shape, Opaque):
        params["axis"] = normalize_axis(params["axis"], len(x.shape), "scatter_add")
    return _infer_like(g, x)


take: Op = register(
    Op(
        name="take",
        kind="gather",
        impl=lambda x, i, *, axis: np.take(x, i, axis),
        onnx="Gather",
        domain=ANY * 2,
        grad=(lambda g, out, x, i, *, axis: scatter_add(g, i, x, axis=axis), None),
        infer=_infer_take,
        lower="take",
    )
)
scatter_add: Op = register(
    Op(
        name="scatter_add",
        kind="scatter",
        impl=_scatter_add,
        onnx="",
        domain=ANY * 3,
        shape_only=(2,),
        grad=(lambda g, out, v, i, x, *, axis: take(g, i, axis=axis), None, None),
        infer=_infer_scatter_add,
        lower="scatter_add",
    )
)
"""Zeros in the shape of x, with g added at the indices i along an axis: the gradient of take."""


def _put(x: Any, i: Any, v: Any, *, axis: int, combine: str) -> Any:
    out = np.array(x)
    place = (slice(None),) * (axis % out.ndim) + (i,)
    if combine == "add":
        np.add.at(out, place, v)
    else:
        out[place] = v
    return out


def _infer_put(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
    x, i, v = types
    part = _infer_take((x, i), params)
    if v.dtype is not None and x.dtype is not None and v.dtype != x.dtype:
        raise DTypeError(f"put: an array of {x.dtype} takes no elements of {v.dtype}")
    if part.known and v.known and not _may_agree(v.shape, part.shape):
        raise ShapeError(f"put: shape {format_shape(v.shape)} does not fill a part of shape {format_shape(part.shape)}")
    if params["combine"] == "set" and i.known and i.shape != ():
        raise ShapeError("put: one index at a time can be written; which of equal ones counts would not be known")
    return ArrayType(x.dtype, x.shape)


def _may_agree(a: Any, b: Any) -> bool:
    """Whether two known shapes are equal, or the call may show that they are."""
    return len(a) == len(b) and all(dims.agreed(x, y) is not None for x, y in zip(a, b, strict=True))


def _grad_put(k: int, g: Any, out: Any, x: Any, i: Any, v: Any, *, axis: int, combine: str) -> Any:
    if k == 0:
        return g if combine == "add" else put(g, i, full_like(v, fill=0), axis=axis, combine="set")
    return None if k == 1 else take(g, i, axis=axis)


put: Op = register(
    Op(
        name="put",
        kind="scatter",
        impl=_put,
        onnx="ScatterElements",
        domain=ANY * 3,
        grad=_grad_put,
        infer=_infer_put,
        lower="put",
    )
)
"""x with v written, or added, at the indices i along an axis. In memory it is x that changes, or a copy of it."""


def _infer_concatenate(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
    dtype = None
    if all(t.dtype is not None for t in types):
        dtype = np.result_type(*(t.dtype for t in types))
    if any(isinstance(t.shape, Opaque) for t in types):
        return ArrayType(dtype, fresh_opaque("concatenate", params["axis"], *(t.shape for t in types)))
    shapes: list[Shape] = [t.shape for t in types]  # type: ignore[misc]
    if not shapes[0]:
        raise ShapeError("concatenate: arrays of 0 dimensions cannot be joined; use stack")
    axis = params["axis"] = normalize_axis(params["axis"], len(shapes[0]), "concatenate")
    result = list(shapes[0])
    for shape in shapes[1:]:
        agree = len(shape) == len(result) and all(
            a == b or k == axis or not (isinstance(a, int) and isinstance(b, int))
            for k, (a, b) in enumerate(zip(result, shape, strict=True))
        )
        if not agree:
            listed = ", ".join(map(format_shape, shapes))
            raise ShapeError(f"concatenate: shapes {listed} do not match but for axis {axis}")
        result = [
            b if isinstance(b, int) and k != axis else a for k, (a, b) in enumerate(zip(result, shape, strict=True))
        ]
    result[axis] = 0
    for shape in shapes:
        result[axis] = result[axis] + shape[axis]
    return ArrayType(dtype, tuple(result))


def _concatenate_grad(i: int, g: Any, out: Any, *xs: Any, axis: int) -> Any:
    return split_part(g, *xs, part=i, axis=axis)


concatenate: Op = register(
    Op(
        name="concatenate",
        kind="scatter",
        impl=lambda *xs, axis: np.concatenate(xs, axis),
        onnx="Concat",
        domain=ANY,
        grad=_concatenate_grad,
        infer=_infer_concatenate,
        lower="concatenate",
    )
)


def _split_part(g: Any, *xs: Any, part: int, axis: int) -> Any:
    bounds = np.cumsum([0, *(np.shape(x)[axis] for x in xs)])
    return np.asarray(g)[(slice(None),) * (axis % np.ndim(g)) + (slice(bounds[part], bounds[part + 1]),)]


def _expand_split(g: Any, *xs: Any, part: int, axis: int) -> Any:
    types = [type_of(x) for x in xs]
    if any(_fixed(x) is None for x in xs):
        return None
    axis = normalize_axis(axis, types[0].ndim or 0, "concatenate")
    start: Size = 0
    for t in types[:part]:
        start = start + t.shape[axis]  # type: ignore[index]
    stop = start + types[part].shape[axis]  # type: ignore[index]
    return getitem(g, index=(ALL,) * axis + (Slice(start, stop, 1),))


split_part: Op = register(
    Op(
        name="split_part",
        kind="gather",
        impl=_split_part,
        onnx="",
        domain=ANY,
        grad=lambda i, g, out, v, *xs, **params: _split_grad(i, g, v, *xs, **params),
        infer=lambda types, params: ArrayType(types[0].dtype, types[1 + params["part"]].shape),
        lower="split_part",
        expand=_expand_split,
    )
)
"""The part of g that belongs to the i-th of the arrays that were joined: the gradient of concatenate."""


def _split_grad(arg: int, g: Any, v: Any, *xs: Any, part: int, axis: int) -> Any:
    if arg:
        return None
    parts = [full_like(x, fill=0) if k != part else g for k, x in enumerate(xs)]
    return concatenate(*parts, axis=axis)


# -- shapes taken from another value -----------------------------------------------------------------------------------


def _infer_reference(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
    return ArrayType(types[0].dtype, types[1].shape)


def _like(name: str, impl: Callable[..., Any], grad: Callable[..., Any], expand: Callable[..., Any]) -> Op:
    """A row for an operation that gives its first argument the shape of its second."""
    return register(
        Op(
            name=name,
            kind="gather",
            impl=impl,
            grad=(grad, None),
            infer=_infer_reference,
            lower=name,
            onnx="",
            domain=ANY * 2,
            expand=expand,
            shape_only=(1,),
        )
    )


def _fixed(value: Any) -> Shape | None:
    """The shape where it is made of ints, or of sizes that a call has shown; else a formula would forget where a size
    comes from."""
    shape = _known(value)
    return shape if shape is not None and all(map(dims.settled, shape)) else None


def _known(value: Any) -> Shape | None:
    shape = type_of(value).shape
    return None if isinstance(shape, Opaque) else shape


reshape_like: Op = _like(
    "reshape_like",
    lambda g, x: np.reshape(g, np.shape(x)),
    lambda g, out, v, x: reshape_like(g, v),
    lambda g, x: (
        g if type_of(g).shape == type_of(x).shape else None if _fixed(x) is None else reshape(g, shape=_fixed(x))
    ),
)


def _unbroadcast(g: Any, x: Any) -> Any:
    """NumPy: sum g down to the shape of x, in the dtype of x where that is floating."""
    shape, dtype = np.shape(x), _gradient_dtype(np.asarray(g).dtype, np.asarray(x).dtype)
    if g.shape != shape:
        lead = g.ndim - len(shape)
        axes = tuple(range(lead)) + tuple(lead + a for a, s in enumerate(shape) if s == 1 and g.shape[lead + a] != 1)
        g = np.sum(g, axes, keepdims=True).reshape(shape)
    return g if g.dtype == dtype else np.asarray(g).astype(dtype)


def _gradient_dtype(g: np.dtype[Any], x: np.dtype[Any]) -> np.dtype[Any]:
    return x if x.kind in "fc" else g


def _expand_unbroadcast(g: Any, x: Any) -> Any:
    tg, tx = type_of(g), type_of(x)
    if (tg.dtype is None) != (tx.dtype is None):
        return None
    same_dtype = tg.dtype is None or tx.dtype is None or _gradient_dtype(tg.dtype, tx.dtype) == tg.dtype
    if tg.shape == tx.shape:
        return g if same_dtype else ew.cast(g, dtype=tx.dtype)
    if isinstance(tg.shape, Opaque) or isinstance(tx.shape, Opaque):
        return None
    lead = len(tg.shape) - len(tx.shape)
    axes = list(range(lead))
    for axis, size in enumerate(tx.shape):
        if size == 1 and tg.shape[lead + axis] != 1:
            axes.append(lead + axis)
        elif size != tg.shape[lead + axis] and not dims.settled(size):
            return None
    if axes:
        from symgraph.ops.reduction import sum as sum_  # the two modules describe each other's gradients

        g = sum_(g, axis=tuple(axes), keepdims=True)
    g = squeeze(g, axis=tuple(range(lead))) if lead else g
    return g if same_dtype else ew.cast(g, dtype=tx.dtype)


def _infer_unbroadcast(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
    g, x = types
    dtype = None if g.dtype is None or x.dtype is None else _gradient_dtype(g.dtype, x.dtype)
    return ArrayType(dtype, x.shape)


unbroadcast: Op = register(
    Op(
        name="unbroadcast",
        kind="gather",
        impl=_unbroadcast,
        onnx="",
        domain=ANY * 2,
        shape_only=(1,),
        label="SumTo",
        grad=(lambda g, out, v, x: broadcast_like(g, v, axis=(), keepdims=True), None),
        infer=_infer_unbroadcast,
        lower="unbroadcast",
        expand=_expand_unbroadcast,
    )
)
"""The adjoint of broadcasting: g summed to the shape of x. Applied once, in the backward walk."""


def _restore_axes(shape: Shape, ndim: int, axis: tuple[int, ...] | None, keepdims: bool) -> Shape:
    """The shape of a reduction's result with the reduced axes put back as 1."""
    if keepdims:
        return shape
    gone = set(range(ndim)) if axis is None else {normalize_axis(a, ndim, "axis") for a in axis}
    rest = iter(shape)
    return tuple(1 if a in gone else next(rest) for a in range(ndim))


def _broadcast_like(g: Any, x: Any, *, axis: tuple[int, ...] | None, keepdims: bool) -> Any:
    g = np.reshape(g, _restore_axes(np.shape(g), np.ndim(x), axis, keepdims))
    return np.broadcast_to(g, np.shape(x))


def _expand_broadcast_like(g: Any, x: Any, *, axis: tuple[int, ...] | None, keepdims: bool) -> Any:
    tg, tx = type_of(g), type_of(x)
    if isinstance(tg.shape, Opaque) or isinstance(tx.shape, Opaque):
        return g if tg.shape == tx.shape and keepdims else None
    restored = _restore_axes(tg.shape, len(tx.shape), axis, keepdims)
    if restored != tx.shape and _fixed(x) is None:
        return None
    g = g if restored == tg.shape else reshape(g, shape=restored)
    return broadcast_to(g, shape=tx.shape)


broadcast_like: Op = register(
    Op(
        name="broadcast_like",
        kind="gather",
        impl=_broadcast_like,
        onnx="",
        domain=ANY * 2,
        shape_only=(1,),
        grad=(
            lambda g, out, v, x, *, axis, keepdims: (
                unbroadcast(g, v) if axis == () else reshape_like(_sum(g, axis, keepdims), v)
            ),
            None,
        ),
        infer=lambda types, params: _infer_reference(types, params),
        lower="broadcast_like",
        expand=_expand_broadcast_like,
    )
)
"""The adjoint of a sum: g spread over the axes of x that were summed."""


def _sum(g: Any, axis: tuple[int, ...] | None, keepdims: bool) -> Any:
    from symgraph.ops.reduction import sum as sum_  # the two modules describe each other's gradients

    return sum_(g, axis=axis, keepdims=keepdims)


def _infer_full(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
    dtype = params["dtype"]
    return ArrayType(types[0].dtype if dtype is None else np.dtype(dtype), types[0].shape)


def _expand_full(x: Any, *, fill: float, dtype: str | None) -> Any:
    found = type_of(x)
    if not found.known or _fixed(x) is None:
        return None
    value = lift(np.asarray(fill, found.dtype if dtype is None else dtype)[()])
    return broadcast_to(value, shape=found.shape)


full: Op = register(
    Op(
        name="full_like",
        kind="gather",
        impl=lambda x, *, fill, dtype: np.full_like(x, fill, dtype=dtype),
        grad=NONE,
        infer=_infer_full,
        lower="full",
        onnx="",
        domain=ANY,
        expand=_expand_full,
        shape_only=(0,),
    )
)


def full_like(x: Any, *, fill: float, dtype: Any = None) -> Any:
    """A constant in the shape of x, and in its dtype unless another is given."""
    return full(x, fill=fill, dtype=None if dtype is None else np.dtype(dtype).str)


_lift: list[Callable[[Any], Any]] = []


def lift(value: Any) -> Any:
    """A constant symbol; `symgraph.expr` says how."""
    return _lift[0](value)


def in_mode_of(like: Any, value: Any) -> Any:
    """A value, or data as a constant symbol where `like` is a symbol."""
    plain = getattr(value, "_mode", None) is None
    return lift(value) if plain and getattr(like, "type", None) is not None else value


def filled(value: Any, shape: Shape, like: Any) -> Any:
    """A number in all places of a shape, in the mode of `like`."""
    return broadcast_to(in_mode_of(like, value), shape=shape)


size: Op = register(
    Op(
        name="size",
        kind="source",
        impl=lambda x, *, axis: int(np.shape(x)[axis] if axis is not None else np.size(x)),
        grad=NONE,
        infer=lambda types, params: weak_scalar(np.int64),
        lower="size",
        onnx="",
        domain=ANY,
        shape_only=(0,),
        expand=lambda x, *, axis: _expand_size(x, axis),
    )
)
"""The length of an axis, or (axis None) the number of elements; an integer as weak as Python's own."""


def _expand_size(x: Any, axis: int | None) -> Any:
    shape = _known(x)
    if shape is None:
        return None
    length = dims.product(shape) if axis is None else shape[normalize_axis(axis, len(shape), "size")]
    return lift(length) if isinstance(length, int) else None


iota: Op = register(
    Op(
        name="iota",
        kind="source",
        impl=lambda x: np.arange(np.size(x)).reshape(np.shape(x)),
        grad=NONE,
        infer=lambda types, params: ArrayType(np.dtype(np.int64), types[0].shape),
        lower="iota",
        onnx="",
        domain=ANY,
        shape_only=(0,),
    )
)
"""The number of each element of x, in C order: where the loops are, so nothing is stored."""


def as_size(value: Any) -> Size:
    """A size given as an int, or as an expression over sizes of symbols.

    Raises:
        SymbolError: the expression depends on data.
    """
    op = getattr(value, "op", None)
    if op is None:
        if isinstance(value, dims.Dim):
            return value
        return operator.index(value)
    if op is size and _known(value.args[0]) is not None:
        shape = _known(value.args[0]) or ()
        axis = value.params["axis"]
        return dims.product(shape) if axis is None else shape[axis]
    if op.name == "constant":
        return operator.index(value.value)
    rules: dict[str, Callable[..., Size]] = {
        "add": lambda a, b: a + b,
        "sub": lambda a, b: a - b,
        "mul": lambda a, b: a * b,
        "floordiv": dims.floordiv,
    }
    if op.name in rules:
        return rules[op.name](*(as_size(a) for a in value.args))
    raise SymbolError("a size must be an integer, or computed by + - * // from sizes such as x.shape[0]")


# -- sources -----------------------------------------------------------------------------------------------------------


def _no_impl(**params: Any) -> Any:
    raise SymbolError("a placeholder has no value before the compiled function is called")


placeholder: Op = register(
    Op(
        name="placeholder",
        kind="source",
        impl=_no_impl,
        grad=NONE,
        infer=lambda types, params: params["type"],
        lower="placeholder",
        onnx="",
        domain=(),
    )
)
bound: Op = register(
    Op(
        name="bound",
        kind="source",
        impl=_no_impl,
        grad=NONE,
        infer=lambda types, params: params["type"],
        lower="bound",
        onnx="",
        domain=(),
    )
)
"""A parameter of a graph inside a node: what the body of a loop is given."""
NAMED = (placeholder, bound)
constant: Op = register(
    Op(
        name="constant",
        kind="source",
        impl=lambda *, value: value.value,
        grad=NONE,
        infer=lambda types, params: params["value"].type,
        lower="constant",
        onnx="Constant",
        domain=(),
    )
)
contiguous: Op = register(
    Op(
        name="contiguous",
        kind="elementwise",
        impl=lambda x: np.ascontiguousarray(x).reshape(np.shape(x)),
        grad=(lambda g, out, x: g,),
        infer=lambda types, params: types[0],
        lower=lambda m, x: x,
        onnx="Identity",
        domain=ANY,
        label="Copy",
    )
)
"""The same values, laid out in memory."""
duplicate: Op = register(
    Op(
        name="duplicate",
        kind="elementwise",
        impl=lambda x, *, number: np.array(x)[()],
        grad=(lambda g, out, x, *, number: g,),
        infer=lambda types, params: types[0],
        lower=lambda m, x, *, number: x,
        onnx="Identity",
        domain=ANY,
    )
)
"""The same values in memory of their own, which is told apart from others of them by a number."""

# -- the matrix product ------------------------------------------------------------------------------------------------


def _infer_matmul(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
    a, b = types
    dtype = None
    if a.dtype is not None and b.dtype is not None:
        try:
            dtype = loop_dtypes(np.matmul, ((a.dtype, False), (b.dtype, False)))[-1]
        except TypeError:
            raise DTypeError(f"matmul is not defined for {a.dtype}, {b.dtype}") from None
    if isinstance(a.shape, Opaque) or isinstance(b.shape, Opaque):
        return ArrayType(dtype, fresh_opaque("matmul", a.shape, b.shape))
    if not a.shape or not b.shape:
        raise ShapeError(
            f"matmul: {format_shape(a.shape)} @ {format_shape(b.shape)}: an operand has no dimensions; use *"
        )
    inner_a, inner_b = a.shape[-1], b.shape[-2] if len(b.shape) > 1 else b.shape[0]
    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    differ = inner_a != inner_b and isinstance(inner_a, int) and isinstance(inner_b, int)
    if differ or batch is None:
        raise ShapeError(
            f"matmul: {format_shape(a.shape)} @ {format_shape(b.shape)}: "
            + (f"inner sizes {inner_a} and {inner_b} differ" if differ else "leading dimensions do not broadcast")
        )
    rows = a.shape[-2:-1]
    columns = b.shape[-1:] if len(b.shape) > 1 else ()
    return ArrayType(dtype, (*batch, *rows, *columns))  # type: ignore[misc]


def _matrix_view(name: str, axis: int) -> Op:
    """A vector as a matrix of one row (axis 0) or one column (axis 1); matrices stay as they are."""

    def impl(x: Any) -> Any:
        return np.expand_dims(x, axis) if np.ndim(x) == 1 else x

    def infer(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
        return ArrayType(types[0].dtype, fresh_opaque(name, types[0].shape))

    def expand(x: Any) -> Any:
        ndim = rank(x)
        return None if ndim is None else expand_dims(x, axis=(axis,)) if ndim == 1 else x

    return register(
        Op(
            name=name,
            kind="gather",
            impl=impl,
            grad=(lambda g, out, x: reshape_like(g, x),),
            infer=infer,
            lower=name,
            onnx="",
            domain=ANY,
            expand=expand,
        )
    )


row_matrix: Op = _matrix_view("row_matrix", 0)
col_matrix: Op = _matrix_view("col_matrix", 1)


def _matmul_grad_a(g: Any, out: Any, a: Any, b: Any) -> Any:
    left, right = row_matrix(a), col_matrix(b)
    g = reshape_like(g, _matmul_shape(left, right))
    return reshape_like(unbroadcast(matmul(g, swapaxes(right, axes=(-1, -2))), left), a)


def _matmul_grad_b(g: Any, out: Any, a: Any, b: Any) -> Any:
    left, right = row_matrix(a), col_matrix(b)
    g = reshape_like(g, _matmul_shape(left, right))
    return reshape_like(unbroadcast(matmul(swapaxes(left, axes=(-1, -2)), g), right), b)


def _matmul_shape(left: Any, right: Any) -> Any:
    """A value with the shape of ``left @ right``: the product itself for symbols, where nothing is computed."""
    if getattr(left, "type", None) is not None or getattr(right, "type", None) is not None:
        return matmul(left, right)
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    return np.broadcast_to(0.0, (*batch, left.shape[-2], right.shape[-1]))


matmul: Op = register(
    Op(
        name="matmul",
        kind="contraction",
        impl=np.matmul,
        grad=(_matmul_grad_a, _matmul_grad_b),
        infer=_infer_matmul,
        lower="matmul",
        onnx="MatMul",
        domain=((-2.0, 2.0), (-2.0, 2.0)),
        symbol="{} @ {}",
        ufunc=np.matmul,
    )
)

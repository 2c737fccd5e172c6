"""Functions that move elements about: shapes, joining, splitting, margins, diagonals."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from symgraph.errors import ShapeError, SymbolError
from symgraph.functions.arrays import along_axis, as_array, copy, fixed_shape, ranked
from symgraph.functions.registry import axes_of, numpy_function, refuse
from symgraph.ops import array as ar, elementwise as ew
from symgraph.ops.array import Slice, as_size, rank, type_of
from symgraph.types import Opaque, broadcast_shapes


@numpy_function(np.reshape)
def reshape(a: Any, shape: Any = None, order: str = "C", **rest: Any) -> Any:
    """The same elements in another shape; one size may be -1."""
    if order != "C":
        raise SymbolError("reshape: only order='C' exists on symbols; transpose first")
    shape = rest.pop("newshape", shape)
    refuse("reshape", **rest)
    sizes = shape if isinstance(shape, tuple | list) else (shape,)
    return ar.reshape(a, shape=tuple(as_size(s) for s in sizes))


@numpy_function(np.ravel)
def ravel(a: Any, order: str = "C") -> Any:
    """One dimension, in C order."""
    return reshape(a, (-1,), order)


@numpy_function(np.transpose, np.permute_dims)
def transpose(a: Any, axes: Any = None) -> Any:
    """Axes in another order; reversed by default."""
    return ar.transpose(a, axes=None if axes is None else tuple(int(x) for x in axes))


@numpy_function(np.matrix_transpose)
def matrix_transpose(x: Any) -> Any:
    """The last two axes swapped."""
    return ar.swapaxes(x, axes=(-1, -2))


@numpy_function(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged."""
    return ar.swapaxes(a, axes=(int(axis1), int(axis2)))


@numpy_function(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """Axes moved to other positions."""
    return ar.moveaxis(a, source=axes_of(source), destination=axes_of(destination))


@numpy_function(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Any:
    """New axes of size 1."""
    return ar.expand_dims(a, axis=axes_of(axis))


@numpy_function(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Any:
    """Axes of size 1 removed."""
    if axis is None and (rank(a) is None or builtins.any(not isinstance(s, int) for s in type_of(a).shape)):  # type: ignore[union-attr]
        raise SymbolError("squeeze: name the axis; which sizes are 1 is not known before the call")
    return ar.squeeze(a, axis=axes_of(axis))


@numpy_function(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    """The array spread over a larger shape."""
    sizes = shape if isinstance(shape, tuple | list) else (shape,)
    return ar.broadcast_to(array, shape=tuple(as_size(s) for s in sizes))


@numpy_function(np.concatenate, np.concat)
def concatenate(arrays: Any, axis: Any = 0, out: Any = None, **rest: Any) -> Any:
    """Arrays joined along an axis; axis None joins them flattened."""
    refuse("concatenate", out=out, **rest)
    parts = [as_array(a) for a in arrays]
    if axis is None:
        parts, axis = [ravel(a) for a in parts], 0
    return ar.concatenate(*parts, axis=int(axis))


@numpy_function(np.atleast_1d)
def atleast_1d(*arrays: Any) -> Any:
    """Scalars as arrays of one element."""
    results = tuple(ar.expand_dims(a, axis=(0,)) if ranked(a, "atleast_1d") == 0 else a for a in map(as_array, arrays))
    return results[0] if len(results) == 1 else results


@numpy_function(np.atleast_2d)
def atleast_2d(*arrays: Any) -> Any:
    """Vectors as rows."""
    results = tuple(
        ar.expand_dims(a, axis=tuple(range(2 - ranked(a, "atleast_2d")))) if ranked(a, "atleast_2d") < 2 else a
        for a in map(as_array, arrays)
    )
    return results[0] if len(results) == 1 else results


@numpy_function(np.hstack)
def hstack(tup: Any, **rest: Any) -> Any:
    """Joined along the second axis, or the first for vectors."""
    refuse("hstack", **rest)
    parts = [atleast_1d(a) for a in tup]
    return concatenate(parts, 0 if rank(parts[0]) == 1 else 1)


@numpy_function(np.vstack)
def vstack(tup: Any, **rest: Any) -> Any:
    """Joined along the first axis; vectors are rows."""
    refuse("vstack", **rest)
    return concatenate([atleast_2d(a) for a in tup], 0)


@numpy_function(np.column_stack)
def column_stack(tup: Any) -> Any:
    """Joined along the second axis; vectors are columns."""
    parts = [ar.expand_dims(a, axis=(1,)) if ranked(a, "column_stack") == 1 else a for a in map(as_array, tup)]
    return concatenate(parts, 1)


@numpy_function(np.flip)
def flip(m: Any, axis: Any = None) -> Any:
    """Elements in reverse order along axes."""
    return ar.flip(m, axis=axes_of(axis))


@numpy_function(np.flipud)
def flipud(m: Any) -> Any:
    """Rows in reverse order."""
    return flip(m, 0)


@numpy_function(np.fliplr)
def fliplr(m: Any) -> Any:
    """Columns in reverse order."""
    return flip(m, 1)


@numpy_function(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """Elements moved round along axes."""
    if axis is None:
        return ar.reshape_like(roll(ravel(a), shift, 0), a)
    shifts = shift if isinstance(shift, tuple | list) else (shift,)
    for by, along in zip(shifts, axes_of(axis) or (), strict=len(shifts) != 1):
        length = ar.size(a, axis=along)
        by = operator.index(by)
        if isinstance(length, int) or getattr(length, "op", None) is ar.constant:
            fixed = as_size(length)
            by = by % fixed if fixed else 0  # type: ignore[operator]
        if by:
            head = ar.getitem(a, index=along_axis(along, Slice(-by, None, 1)))
            tail = ar.getitem(a, index=along_axis(along, Slice(None, -by, 1)))
            a = ar.concatenate(head, tail, axis=along)
    return a


@numpy_function(np.split, np.array_split)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """A list of parts; equal sections need a length that is declared."""
    if isinstance(indices_or_sections, int):
        length = as_size(ar.size(ary, axis=axis))
        if not isinstance(length, int):
            raise SymbolError("split: the length of this axis is not known; declare it as an int, or give indices")
        if length % indices_or_sections:
            raise ShapeError(f"split: an axis of size {length} has no {indices_or_sections} equal parts")
        step = length // indices_or_sections
        bounds = [step * k for k in range(1, indices_or_sections)]
    else:
        bounds = [int(i) for i in indices_or_sections]
    edges = [None, *bounds, None]
    return [ar.getitem(ary, index=along_axis(axis, Slice(a, b, 1))) for a, b in pairwise(edges)]


@numpy_function(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, **rest: Any) -> Any:
    """Differences of neighbours, n times."""
    refuse("diff", **rest)
    for _ in range(n):
        later = ar.getitem(a, index=along_axis(axis, Slice(1, None, 1)))
        a = later - ar.getitem(a, index=along_axis(axis, Slice(None, -1, 1)))
    return a


@numpy_function(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """Differences of neighbours of the flattened array."""
    refuse("ediff1d", to_end=to_end, to_begin=to_begin)
    return diff(ravel(as_array(ary)))


@numpy_function(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Slopes by central differences, one-sided at the ends, for evenly spaced samples; per axis.

    Source: the formulas of :func:`numpy.gradient`.
    """
    f = as_array(f)
    ndim_ = ranked(f, "gradient")
    axes = tuple(range(ndim_)) if axis is None else tuple(a % ndim_ for a in axes_of(axis) or ())
    steps = varargs * len(axes) if len(varargs) == 1 else varargs or (1.0,) * len(axes)
    if len(steps) != len(axes) or builtins.any(rank(step) != 0 for step in steps) or edge_order not in (1, 2):
        raise SymbolError("gradient: give one number as spacing, or one per axis, and edge_order 1 or 2")
    slopes = tuple(_slope(f, step, along, edge_order) for step, along in zip(steps, axes, strict=True))
    return slopes[0] if len(slopes) == 1 else slopes


def _slope(f: Any, step: Any, axis: int, edge_order: int) -> Any:
    def at(position: Any) -> Any:
        return ar.getitem(f, index=along_axis(axis, position))

    if edge_order == 1:
        first, last = (at(1) - at(0)) / step, (at(-1) - at(-2)) / step
    else:
        a, b, c = -1.5 / step, 2.0 / step, -0.5 / step
        first, last = a * at(0) + b * at(1) + c * at(2), -c * at(-3) - b * at(-2) - a * at(-1)
    inner = (at(Slice(2, None, 1)) - at(Slice(None, -2, 1))) / (2.0 * step)
    ends = (ar.expand_dims(end, axis=(axis,)) for end in (first, last))
    return ar.concatenate(next(ends), inner, next(ends), axis=axis)


@numpy_function(np.take)
def take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    """Elements at integer positions along an axis (of the flattened array when axis is None)."""
    refuse("take", out=out, mode=None if mode == "raise" else mode)
    a = as_array(a)
    indices = indices if getattr(indices, "_mode", None) is not None else np.asarray(indices)
    if indices is not None and getattr(indices, "size", 1) == 0 and isinstance(indices, np.ndarray):
        indices = indices.astype(np.int64)
    return ar.take(ravel(a), indices, axis=0) if axis is None else ar.take(a, indices, axis=int(axis))


@numpy_function(np.repeat)
def repeat(a: Any, repeats: int, axis: Any = None) -> Any:
    """Each element `repeats` times (a fixed number)."""
    if axis is None:
        a, axis = ravel(a), 0
    if repeats == 1:
        return copy(a)
    return _merged(ar.expand_dims(a, axis=(axis + 1 if axis >= 0 else axis,)), int(repeats), axis, inner=True)


def _merged(a: Any, count: int, axis: int, inner: bool) -> Any:
    copies = ar.concatenate(*[a] * count, axis=axis + 1 if axis >= 0 and inner else axis) if count != 1 else a
    ndim = rank(copies)
    if ndim is None:
        raise SymbolError("repeat: declare the shape of the placeholder")
    first = (axis % (ndim - 1)) if inner else axis
    sizes = list(type_of(copies).shape)  # type: ignore[arg-type]
    sizes[first : first + 2] = [sizes[first] * sizes[first + 1]]
    return ar.reshape(copies, shape=tuple(sizes))


@numpy_function(np.tile)
def tile(A: Any, reps: Any) -> Any:  # noqa: N803
    """The array repeated as a whole along axes."""
    counts = tuple(reps) if isinstance(reps, tuple | list) else (reps,)
    ndim = rank(A)
    if ndim is None:
        raise SymbolError("tile: declare the shape of the placeholder")
    counts = (1,) * (ndim - len(counts)) + counts
    a = ar.expand_dims(A, axis=tuple(range(len(counts) - ndim))) if len(counts) > ndim else A
    for axis, count in enumerate(counts):
        a = ar.concatenate(*[a] * int(count), axis=axis) if count != 1 else a
    return a


@numpy_function(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Any:
    """Values added at the end of an axis, or of the flattened array."""
    return concatenate([arr, values], axis)


@numpy_function(np.dstack)
def dstack(tup: Any) -> Any:
    """Joined along the third axis."""
    parts = []
    for a in map(as_array, tup):
        row = atleast_2d(a)
        parts.append(ar.expand_dims(row, axis=(2,)) if ranked(row, "dstack") == 2 else row)
    return ar.concatenate(*parts, axis=2)


@numpy_function(np.block)
def block(arrays: Any) -> Any:
    """An array put together from nested lists of blocks: the innermost lists along the last axis."""
    depth, leaves, part = 0, [arrays], arrays
    while isinstance(part, list):
        depth, part = depth + 1, part[0]
        leaves = [leaf for inner in leaves for leaf in inner]
    ndim_ = builtins.max(depth, *(ranked(leaf, "block") for leaf in leaves))

    def joined(part: Any, level: int) -> Any:
        if level:
            return ar.concatenate(*(joined(inner, level - 1) for inner in part), axis=-level)
        missing = ndim_ - ranked(part, "block")
        return ar.expand_dims(part, axis=tuple(range(missing))) if missing else part

    return joined(arrays, depth)


@numpy_function(np.rot90)
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    """Turned by k quarters in the plane of two axes."""
    first, second = axes
    turned = k % 4
    if turned == 2:
        return flip(m, (first, second))
    if turned == 1:
        return swapaxes(flip(m, second), first, second)
    return flip(swapaxes(m, first, second), second) if turned else copy(m)


@numpy_function(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Any, ...]:
    """All arrays spread over their common shape, which must be declared."""
    like = next((a for a in args if getattr(a, "_mode", None) is not None), None)
    parts = [ar.in_mode_of(like, as_array(a)) for a in args]
    common = broadcast_shapes(*(type_of(a).shape for a in parts))
    if common is None:
        raise ShapeError("broadcast_arrays: the shapes do not broadcast together")
    if isinstance(common, Opaque):
        raise SymbolError("broadcast_arrays: declare the shapes of the placeholders")
    return tuple(ar.broadcast_to(a, shape=common) for a in parts)


@numpy_function(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Any, ...]:
    """The coordinates of a grid, from those along its axes."""
    if indexing not in ("xy", "ij"):
        raise ValueError("meshgrid: indexing must be 'xy' or 'ij'")
    order = list(range(len(xi)))
    if indexing == "xy" and len(xi) > 1:
        order[:2] = 1, 0
    lines = [
        ar.reshape(as_array(x), shape=tuple(-1 if a == along else 1 for a in range(len(xi))))
        for x, along in zip(xi, order, strict=True)
    ]
    return tuple(lines) if sparse else broadcast_arrays(*lines)


@numpy_function(np.diagonal, np.linalg.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal over two axes, as last axis; their sizes must be declared."""
    ndim_ = ranked(a, "diagonal")
    a = ar.moveaxis(a, source=(axis1 % ndim_, axis2 % ndim_), destination=(ndim_ - 2, ndim_ - 1))
    sizes = type_of(a).shape
    assert not isinstance(sizes, Opaque)
    rows, columns = sizes[-2:]
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise SymbolError("diagonal: the sizes of the two axes are not known before the call; declare them as ints")
    length = builtins.max(0, builtins.min(rows + builtins.min(offset, 0), columns - builtins.max(offset, 0)))
    start = offset if offset >= 0 else -offset * columns
    flat = ar.reshape(a, shape=(*sizes[:-2], rows * columns))
    stop = start + (length - 1) * (columns + 1) + 1 if length else start
    return ar.getitem(flat, index=(Ellipsis, Slice(start, stop, columns + 1)))


@numpy_function(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    """The diagonal of a matrix, or the matrix with a vector as diagonal."""
    v = as_array(v)
    if ranked(v, "diag") == 2:
        return diagonal(v, k)
    (length,) = fixed_shape(v, "diag")
    size_ = length + builtins.abs(k)
    row = np.clip(np.arange(size_) + builtins.min(k, 0), 0, builtins.max(length - 1, 0))
    return ew.where(np.eye(size_, k=k, dtype=np.bool_), ar.expand_dims(ar.take(v, row, axis=0), axis=(1,)), 0)


@numpy_function(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    """The matrix with the flattened array as diagonal."""
    return diag(ravel(as_array(v)), k)


def _triangle(m: Any, mask: Callable[[int, int], Any], what: str) -> Any:
    m = as_array(m)
    rows, columns = fixed_shape(m, what)[-2:]
    return ew.where(mask(rows, columns), m, False if type_of(m).dtype == np.bool_ else 0)


@numpy_function(np.tril)
def tril(m: Any, k: int = 0) -> Any:
    """Zeros above the k-th diagonal."""
    return _triangle(m, lambda rows, columns: np.tri(rows, columns, k, dtype=np.bool_), "tril")


@numpy_function(np.triu)
def triu(m: Any, k: int = 0) -> Any:
    """Zeros below the k-th diagonal."""
    return _triangle(m, lambda rows, columns: ~np.tri(rows, columns, k - 1, dtype=np.bool_), "triu")


@numpy_function(np.pad)
def pad(array: Any, pad_width: Any, mode: str = "constant", **kwargs: Any) -> Any:
    """The array with margins: a constant, or its edges, or its elements mirrored or wrapped round.

    >>> import symgraph as sg
    >>> x = sg.placeholder("x", shape=(3,), dtype="float64")
    >>> sg.compile(sg.pad(x, 1, mode="wrap"))(x=[1.0, 2.0, 3.0])
    array([3., 1., 2., 3., 1.])
    """
    a = as_array(array)
    ndim_ = ranked(a, "pad")
    values = np.broadcast_to(kwargs.pop("constant_values", 0), (ndim_, 2)).tolist()
    if kwargs or mode not in ("constant", *_MARGINS):
        raise SymbolError(f"pad: on symbols, mode is constant, {', '.join(_MARGINS)}; got {mode!r} {', '.join(kwargs)}")
    for axis, (before, after) in enumerate(np.broadcast_to(pad_width, (ndim_, 2)).tolist()):
        if mode == "constant":
            low, high = values[axis]
            margins = [_constant_margin(a, axis, before, low), _constant_margin(a, axis, after, high)]
        else:
            length = type_of(a).shape[axis]  # type: ignore[index]
            # An undeclared axis has no elements, or at least one.
            reach = length - (mode == "reflect") if isinstance(length, int) else int(mode != "reflect")
            if mode != "edge" and builtins.max(before, after) > reach:
                raise SymbolError(f"pad: {mode!r} needs an axis of declared size that is longer than the margin")
            margins = [
                [ar.getitem(a, index=along_axis(axis, s)) for s in slices] for slices in _MARGINS[mode](before, after)
            ]
        a = ar.concatenate(*margins[0], a, *margins[1], axis=axis) if before or after else a
    return a


def _constant_margin(a: Any, axis: int, count: int, value: Any) -> list[Any]:
    found = type_of(a)
    if found.dtype is None:
        raise SymbolError("pad: declare the dtype of the placeholder")
    sizes = list(found.shape)  # type: ignore[arg-type]
    sizes[axis] = count
    return [ar.filled(np.asarray(value).astype(found.dtype)[()], tuple(sizes), a)] if count else []


def _slices(before: Slice, after: Slice) -> Callable[[int, int], tuple[list[Slice], list[Slice]]]:
    return lambda b, a: ([before] if b else [], [after] if a else [])


_MARGINS: dict[str, Callable[[int, int], tuple[list[Slice], list[Slice]]]] = {
    "edge": lambda b, a: ([Slice(None, 1, 1)] * b, [Slice(-1, None, 1)] * a),
    "wrap": lambda b, a: _slices(Slice(-b, None, 1), Slice(None, a, 1))(b, a),
    "symmetric": lambda b, a: _slices(Slice(b - 1, None, -1), Slice(-1, -a - 1, -1))(b, a),
    "reflect": lambda b, a: _slices(Slice(b, 0, -1), Slice(-2, -a - 2, -1))(b, a),
}

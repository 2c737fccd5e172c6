"""NumPy's functions, and SciPy's where NumPy lacks them, for symbols, Variables and arrays alike.

Each accepts what NumPy accepts, brings it into the form the rows take, and is registered under NumPy's own function,
so that ``np.sum(a)`` and ``sg.sum(a)`` are the same.
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from symgraph.errors import ShapeError, SymbolError
from symgraph.op import BY_NUMPY, Op
from symgraph.ops import array as ar, elementwise as ew, guard as gd, reduction as rd
from symgraph.ops.array import ALL, Slice, as_size, rank, type_of
from symgraph.types import Opaque, broadcast_shapes

F = TypeVar("F", bound=Callable[..., Any])


def numpy_function(*functions: Any) -> Callable[[F], F]:
    """Register what NumPy's `functions` mean on symbols and Variables."""

    def decorate(meaning: F) -> F:
        for function in functions:
            BY_NUMPY[function] = meaning
        return meaning

    return decorate


def _axes(axis: Any) -> tuple[int, ...] | None:
    if axis is None:
        return None
    if isinstance(axis, tuple | list):
        return tuple(operator.index(a) for a in axis)
    return (operator.index(axis),)


def _refuse(function: str, **given: Any) -> None:
    for name, value in given.items():
        if value is not None and value is not np._NoValue:
            raise SymbolError(f"{function}: {name}= has no meaning on symbols; leave it out")


# -- reductions --------------------------------------------------------------------------------------------------------


@numpy_function(np.sum)
def sum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, **rest: Any) -> Any:  # noqa: A001
    """Sum over axes.

    >>> import symgraph as sg
    >>> sg.compile(sg.sum(sg.placeholder("a"), axis=0))(a=[[1.0, 2.0], [3.0, 4.0]])
    array([4., 6.])
    """
    _refuse("sum", out=out, **rest)
    return rd.sum(a if dtype is None else astype(a, dtype), axis=_axes(axis), keepdims=bool(keepdims))


@numpy_function(np.prod)
def prod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, **rest: Any) -> Any:
    """Product over axes."""
    _refuse("prod", out=out, **rest)
    return rd.prod(a if dtype is None else astype(a, dtype), axis=_axes(axis), keepdims=bool(keepdims))


def _plain_reduction(row: Op, *functions: Any) -> Callable[..., Any]:
    def meaning(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, **rest: Any) -> Any:
        _refuse(row.name, out=out, **rest)
        return row(a, axis=_axes(axis), keepdims=bool(keepdims))

    meaning.__name__ = meaning.__qualname__ = row.name
    meaning.__doc__ = f"NumPy's ``{row.name}`` over axes; raises ShapeError for an axis that does not exist."
    return numpy_function(*functions)(meaning)


max = _plain_reduction(rd.max, np.max, np.amax)  # noqa: A001
min = _plain_reduction(rd.min, np.min, np.amin)  # noqa: A001
any = _plain_reduction(rd.any, np.any)  # noqa: A001
all = _plain_reduction(rd.all, np.all)  # noqa: A001
amax, amin = max, min


def _position(row: Op, *functions: Any) -> Callable[..., Any]:
    def meaning(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
        _refuse(row.name, out=out)
        return row(a, axis=_axes(axis), keepdims=bool(keepdims))

    meaning.__name__ = meaning.__qualname__ = row.name
    meaning.__doc__ = f"NumPy's ``{row.name}``: where the first extremum stands."
    return numpy_function(*functions)(meaning)


argmax = _position(rd.argmax, np.argmax)
argmin = _position(rd.argmin, np.argmin)


def _count(a: Any, axis: Any) -> Any:
    """How many elements a reduction over `axis` takes in."""
    axes = _axes(axis)
    if axes is None:
        return ar.size(a, axis=None)
    total = 1
    for one in axes:
        total = total * ar.size(a, axis=one)
    return total


@numpy_function(np.mean)
def mean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, **rest: Any) -> Any:
    """Arithmetic mean over axes, in at least float64 for integers."""
    _refuse("mean", out=out, **rest)
    return sum(a, axis, dtype, keepdims=keepdims) / _count(a, axis)


@numpy_function(np.var)
def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: Any = False,
    **rest: Any,
) -> Any:
    """Variance over axes, divided by N - ddof."""
    _refuse("var", out=out, **rest)
    centred = a - mean(a, axis, dtype, keepdims=True)
    count = _count(a, axis)
    return sum(centred * centred, axis, dtype, keepdims=keepdims) / (count - ddof if ddof else count)


@numpy_function(np.std)
def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: Any = False,
    **rest: Any,
) -> Any:
    """Standard deviation over axes."""
    _refuse("std", out=out, **rest)
    return ew.sqrt(var(a, axis, dtype, ddof=ddof, keepdims=keepdims))


@numpy_function(np.ptp)
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    """Largest minus smallest."""
    _refuse("ptp", out=out)
    return max(a, axis, keepdims=keepdims) - min(a, axis, keepdims=keepdims)


@numpy_function(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False) -> Any:
    """Weighted mean; the weights have the shape of `a`, or of its one `axis`."""
    _refuse("average", returned=returned or None)
    if weights is None:
        return mean(a, axis, keepdims=keepdims)
    if axis is not None and rank(weights) == 1 and rank(a) != 1:
        weights = moveaxis(broadcast_to(weights, (*(1,) * ((rank(a) or 1) - 1), -1)), -1, axis)
    return sum(a * weights, axis, keepdims=keepdims) / sum(weights + 0 * a, axis, keepdims=keepdims)


@numpy_function(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = False) -> Any:
    """How many elements are not zero, over axes."""
    return sum(ew.not_equal(_array(a), 0), axis, keepdims=keepdims)


@numpy_function(np.nansum)
def nansum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, **rest: Any) -> Any:
    """Sum over axes in which nan counts as zero."""
    _refuse("nansum", out=out, **rest)
    a = _array(a)
    return sum(ew.where(ew.isnan(a), 0, a), axis, dtype, keepdims=keepdims)


@numpy_function(np.nanmean)
def nanmean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, **rest: Any) -> Any:
    """Mean over axes of the elements that are not nan."""
    _refuse("nanmean", out=out, **rest)
    a = _array(a)
    return nansum(a, axis, dtype, keepdims=keepdims) / sum(ew.logical_not(ew.isnan(a)), axis, keepdims=keepdims)


@numpy_function(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The integral of samples by the trapezoid rule; `x` holds their places, else they are `dx` apart.

    >>> import symgraph as sg
    >>> float(sg.trapezoid([1.0, 2.0, 3.0]))
    4.0
    """
    y = _array(y)
    if x is not None:
        x = _array(x)
        if rank(x) == 1 and rank(y) != 1:
            behind = axis if axis < 0 else axis - _ranked(y, "trapezoid")
            dx = ar.getitem(diff(x), index=(ALL, *(None,) * (-behind - 1)))
        else:
            dx = diff(x, axis=axis)
    later, former = (ar.getitem(y, index=_along(axis, s)) for s in (Slice(1, None, 1), Slice(None, -1, 1)))
    return sum(dx * (later + former) / 2.0, axis)


def _finite_max(a: Any, axis: Any) -> Any:
    """The maximum as a constant to shift by, 0 where it is not finite."""
    top = ew.stop_gradient(max(a, axis, keepdims=True))
    return ew.where(ew.isfinite(top), top, 0.0)


def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False) -> Any:
    """log(sum(b * exp(a))) without overflow, as scipy.special.logsumexp.

    >>> import symgraph as sg
    >>> float(sg.logsumexp([1000.0, 1000.0]))
    1000.6931471805599
    """
    a = _array(a)
    top = _finite_max(a, axis)
    terms = ew.exp(a - top)
    total = ew.log(sum(terms if b is None else b * terms, axis, keepdims=True)) + top
    return total if keepdims else squeeze(total, _all_axes(a) if axis is None else axis)


def _all_axes(a: Any) -> tuple[int, ...] | None:
    ndim = rank(a)
    return None if ndim is None else tuple(range(ndim))


def softmax(x: Any, axis: Any = None) -> Any:
    """exp(x) / sum(exp(x)) without overflow, as scipy.special.softmax."""
    x = _array(x)
    terms = ew.exp(x - ew.stop_gradient(max(x, axis, keepdims=True)))
    return terms / sum(terms, axis, keepdims=True)


def log_softmax(x: Any, axis: Any = None) -> Any:
    """log(softmax(x)) without overflow, as scipy.special.log_softmax."""
    x = _array(x)
    shifted = x - _finite_max(x, axis)
    return shifted - ew.log(sum(ew.exp(shifted), axis, keepdims=True))


def xlogy(x: Any, y: Any) -> Any:
    """x * log(y), and 0 where x is 0 (unless y is nan), as scipy.special.xlogy."""
    zero = ew.logical_and(ew.equal(x, 0), ew.logical_not(ew.isnan(y)))
    return ew.where(zero, 0.0, x * ew.log(ew.where(zero, 1.0, y)))


# -- shapes ------------------------------------------------------------------------------------------------------------


def _array(value: Any) -> Any:
    """Lists as arrays; symbols and Variables as they are."""
    return (
        np.asarray(value)
        if isinstance(value, list | tuple) and not _holds_symbols(value)
        else (stack(value) if isinstance(value, list | tuple) else value)
    )


def _holds_symbols(values: Any) -> bool:
    pending = list(values)
    while pending:
        value = pending.pop()
        if getattr(value, "_mode", None) is not None:
            return True
        if isinstance(value, list | tuple):
            pending.extend(value)
    return False


def _ranked(a: Any, what: str) -> int:
    found = rank(a)
    if found is None:
        raise SymbolError(f"{what}: how many axes {a!r} has is not known before the call; declare its shape")
    return found


def fixed_shape(a: Any, what: str) -> tuple[int, ...]:
    """The shape, where every size is declared as an int."""
    found = type_of(a).shape
    if isinstance(found, Opaque) or not builtins.all(isinstance(size, int) for size in found):
        raise SymbolError(f"{what}: the sizes of {a!r} are not known before the call; declare them as ints")
    return found  # type: ignore[return-value]


@numpy_function(np.reshape)
def reshape(a: Any, shape: Any = None, order: str = "C", **rest: Any) -> Any:
    """The same elements in another shape; one size may be -1."""
    if order != "C":
        raise SymbolError("reshape: only order='C' exists on symbols; transpose first")
    shape = rest.pop("newshape", shape)
    _refuse("reshape", **rest)
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
    return ar.moveaxis(a, source=_axes(source), destination=_axes(destination))


@numpy_function(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Any:
    """New axes of size 1."""
    return ar.expand_dims(a, axis=_axes(axis))


@numpy_function(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Any:
    """Axes of size 1 removed."""
    if axis is None and (rank(a) is None or builtins.any(not isinstance(s, int) for s in type_of(a).shape)):  # type: ignore[union-attr]
        raise SymbolError("squeeze: name the axis; which sizes are 1 is not known before the call")
    return ar.squeeze(a, axis=_axes(axis))


@numpy_function(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    """The array spread over a larger shape."""
    sizes = shape if isinstance(shape, tuple | list) else (shape,)
    return ar.broadcast_to(array, shape=tuple(as_size(s) for s in sizes))


@numpy_function(np.concatenate, np.concat)
def concatenate(arrays: Any, axis: Any = 0, out: Any = None, **rest: Any) -> Any:
    """Arrays joined along an axis; axis None joins them flattened."""
    _refuse("concatenate", out=out, **rest)
    parts = [_array(a) for a in arrays]
    if axis is None:
        parts, axis = [ravel(a) for a in parts], 0
    return ar.concatenate(*parts, axis=int(axis))


@numpy_function(np.stack)
def stack(arrays: Any, axis: int = 0, out: Any = None, **rest: Any) -> Any:
    """Arrays joined along a new axis."""
    _refuse("stack", out=out, **rest)
    return ar.concatenate(*(ar.expand_dims(_array(a), axis=(int(axis),)) for a in arrays), axis=int(axis))


@numpy_function(np.atleast_1d)
def atleast_1d(*arrays: Any) -> Any:
    """Scalars as arrays of one element."""
    results = tuple(ar.expand_dims(a, axis=(0,)) if _ranked(a, "atleast_1d") == 0 else a for a in map(_array, arrays))
    return results[0] if len(results) == 1 else results


@numpy_function(np.atleast_2d)
def atleast_2d(*arrays: Any) -> Any:
    """Vectors as rows."""
    results = tuple(
        ar.expand_dims(a, axis=tuple(range(2 - _ranked(a, "atleast_2d")))) if _ranked(a, "atleast_2d") < 2 else a
        for a in map(_array, arrays)
    )
    return results[0] if len(results) == 1 else results


@numpy_function(np.hstack)
def hstack(tup: Any, **rest: Any) -> Any:
    """Joined along the second axis, or the first for vectors."""
    _refuse("hstack", **rest)
    parts = [atleast_1d(a) for a in tup]
    return concatenate(parts, 0 if rank(parts[0]) == 1 else 1)


@numpy_function(np.vstack)
def vstack(tup: Any, **rest: Any) -> Any:
    """Joined along the first axis; vectors are rows."""
    _refuse("vstack", **rest)
    return concatenate([atleast_2d(a) for a in tup], 0)


@numpy_function(np.column_stack)
def column_stack(tup: Any) -> Any:
    """Joined along the second axis; vectors are columns."""
    parts = [ar.expand_dims(a, axis=(1,)) if _ranked(a, "column_stack") == 1 else a for a in map(_array, tup)]
    return concatenate(parts, 1)


@numpy_function(np.flip)
def flip(m: Any, axis: Any = None) -> Any:
    """Elements in reverse order along axes."""
    return ar.flip(m, axis=_axes(axis))


@numpy_function(np.flipud)
def flipud(m: Any) -> Any:
    """Rows in reverse order."""
    return flip(m, 0)


@numpy_function(np.fliplr)
def fliplr(m: Any) -> Any:
    """Columns in reverse order."""
    return flip(m, 1)


def _along(axis: int, entry: Slice | int) -> tuple[Any, ...]:
    """An index that takes `entry` along an axis and all of the others."""
    return (ALL,) * axis + (entry,) if axis >= 0 else (Ellipsis, entry, *(ALL,) * (-axis - 1))


@numpy_function(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """Elements moved round along axes."""
    if axis is None:
        return ar.reshape_like(roll(ravel(a), shift, 0), a)
    shifts = shift if isinstance(shift, tuple | list) else (shift,)
    for by, along in zip(shifts, _axes(axis) or (), strict=len(shifts) != 1):
        length = ar.size(a, axis=along)
        by = operator.index(by)
        if isinstance(length, int) or getattr(length, "op", None) is ar.constant:
            fixed = as_size(length)
            by = by % fixed if fixed else 0  # type: ignore[operator]
        if by:
            head = ar.getitem(a, index=_along(along, Slice(-by, None, 1)))
            tail = ar.getitem(a, index=_along(along, Slice(None, -by, 1)))
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
    return [ar.getitem(ary, index=_along(axis, Slice(a, b, 1))) for a, b in pairwise(edges)]


@numpy_function(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, **rest: Any) -> Any:
    """Differences of neighbours, n times."""
    _refuse("diff", **rest)
    for _ in range(n):
        later = ar.getitem(a, index=_along(axis, Slice(1, None, 1)))
        a = later - ar.getitem(a, index=_along(axis, Slice(None, -1, 1)))
    return a


@numpy_function(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """Differences of neighbours of the flattened array."""
    _refuse("ediff1d", to_end=to_end, to_begin=to_begin)
    return diff(ravel(_array(ary)))


@numpy_function(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Slopes by central differences, one-sided at the ends, for evenly spaced samples; per axis.

    Source: the formulas of :func:`numpy.gradient`.
    """
    f = _array(f)
    ndim_ = _ranked(f, "gradient")
    axes = tuple(range(ndim_)) if axis is None else tuple(a % ndim_ for a in _axes(axis) or ())
    steps = varargs * len(axes) if len(varargs) == 1 else varargs or (1.0,) * len(axes)
    if len(steps) != len(axes) or builtins.any(rank(step) != 0 for step in steps) or edge_order not in (1, 2):
        raise SymbolError("gradient: give one number as spacing, or one per axis, and edge_order 1 or 2")
    slopes = tuple(_slope(f, step, along, edge_order) for step, along in zip(steps, axes, strict=True))
    return slopes[0] if len(slopes) == 1 else slopes


def _slope(f: Any, step: Any, axis: int, edge_order: int) -> Any:
    def at(position: Any) -> Any:
        return ar.getitem(f, index=_along(axis, position))

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
    _refuse("take", out=out, mode=None if mode == "raise" else mode)
    a = _array(a)
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
    for a in map(_array, tup):
        row = atleast_2d(a)
        parts.append(ar.expand_dims(row, axis=(2,)) if _ranked(row, "dstack") == 2 else row)
    return ar.concatenate(*parts, axis=2)


@numpy_function(np.block)
def block(arrays: Any) -> Any:
    """An array put together from nested lists of blocks: the innermost lists along the last axis."""
    depth, leaves, part = 0, [arrays], arrays
    while isinstance(part, list):
        depth, part = depth + 1, part[0]
        leaves = [leaf for inner in leaves for leaf in inner]
    ndim_ = builtins.max(depth, *(_ranked(leaf, "block") for leaf in leaves))

    def joined(part: Any, level: int) -> Any:
        if level:
            return ar.concatenate(*(joined(inner, level - 1) for inner in part), axis=-level)
        missing = ndim_ - _ranked(part, "block")
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
    parts = [ar.in_mode_of(like, _array(a)) for a in args]
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
        ar.reshape(_array(x), shape=tuple(-1 if a == along else 1 for a in range(len(xi))))
        for x, along in zip(xi, order, strict=True)
    ]
    return tuple(lines) if sparse else broadcast_arrays(*lines)


@numpy_function(np.diagonal, np.linalg.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal over two axes, as last axis; their sizes must be declared."""
    ndim_ = _ranked(a, "diagonal")
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


@numpy_function(np.trace)
def trace(
    a: Any,
    offset: int = 0,
    axis1: int = 0,
    axis2: int = 1,
    dtype: Any = None,
    out: Any = None,
) -> Any:
    """The sum of the diagonal."""
    _refuse("trace", out=out)
    return sum(diagonal(a, offset, axis1, axis2), -1, dtype)


@numpy_function(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    """The diagonal of a matrix, or the matrix with a vector as diagonal."""
    v = _array(v)
    if _ranked(v, "diag") == 2:
        return diagonal(v, k)
    (length,) = fixed_shape(v, "diag")
    size_ = length + builtins.abs(k)
    row = np.clip(np.arange(size_) + builtins.min(k, 0), 0, builtins.max(length - 1, 0))
    return ew.where(np.eye(size_, k=k, dtype=np.bool_), ar.expand_dims(ar.take(v, row, axis=0), axis=(1,)), 0)


@numpy_function(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    """The matrix with the flattened array as diagonal."""
    return diag(ravel(_array(v)), k)


def _triangle(m: Any, mask: Callable[[int, int], Any], what: str) -> Any:
    m = _array(m)
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
    a = _array(array)
    ndim_ = _ranked(a, "pad")
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
                [ar.getitem(a, index=_along(axis, s)) for s in slices] for slices in _MARGINS[mode](before, after)
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


# -- constants in the shape of another value ---------------------------------------------------------------------------


@numpy_function(np.zeros_like, np.empty_like)
def zeros_like(a: Any, dtype: Any = None, **rest: Any) -> Any:
    """Zeros in the shape of `a`."""
    return ar.full_like(a, fill=0, dtype=dtype)


@numpy_function(np.ones_like)
def ones_like(a: Any, dtype: Any = None, **rest: Any) -> Any:
    """Ones in the shape of `a`."""
    return ar.full_like(a, fill=1, dtype=dtype)


@numpy_function(np.full_like)
def full_like(a: Any, fill_value: Any, dtype: Any = None, **rest: Any) -> Any:
    """A number in the shape of `a`."""
    if getattr(fill_value, "_mode", None) is not None:
        return fill_value + zeros_like(a, dtype)
    return ar.full_like(a, fill=np.asarray(fill_value).item(), dtype=dtype)


# With like=x, NumPy hands over the making of arrays, and a traced function may write into what it gets.
BY_NUMPY.update({f: f for f in (np.zeros, np.ones, np.eye, np.identity, np.arange)})
BY_NUMPY[np.empty] = np.zeros


@numpy_function(np.full)
def _full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", **rest: Any) -> Any:
    sizes = tuple(as_size(s) for s in (shape if isinstance(shape, tuple | list) else (shape,)))
    if getattr(fill_value, "_mode", None) is None:
        if builtins.all(isinstance(s, int) for s in sizes):
            return np.full(sizes, fill_value, dtype)
        fill_value = ar.lift(np.asarray(fill_value))
    return ar.broadcast_to(fill_value if dtype is None else astype(fill_value, dtype), shape=sizes)


@numpy_function(np.array, np.asarray, np.asanyarray, np.ascontiguousarray)
def _converted(a: Any, dtype: Any = None, **rest: Any) -> Any:
    a = _array(a)
    return a if dtype is None else astype(a, dtype)


@numpy_function(np.linspace)
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """`num` evenly spaced numbers from start to stop, which may be symbols of declared shape."""
    count = num - 1 if endpoint else num
    ndim_ = builtins.max(_ranked(start, "linspace"), _ranked(stop, "linspace"))
    step = (stop - start) / count if count > 0 else np.nan * (stop - start)
    ramp = np.arange(builtins.max(count, 0), dtype=np.float64).reshape(-1, *(1,) * ndim_)
    y = ramp * step + start
    if endpoint and num > 0:  # the last is stop itself
        last = broadcast_arrays(stop if num > 1 else start, step)[0]
        y = ar.concatenate(y, ar.expand_dims(last, axis=(0,)), axis=0)
    y = moveaxis(y, 0, axis) if axis else y
    y = y if dtype is None else astype(y, dtype)
    return (y, step) if retstep else y


@numpy_function(np.vander)
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:  # noqa: N803
    """The powers of a vector as columns."""
    x = _array(x)
    count = N if N is not None else fixed_shape(x, "vander")[0]
    powers = [ones_like(x)]
    for _ in range(count - 1):
        powers.append(powers[-1] * x)
    columns = stack(powers if increasing else powers[::-1], axis=1)
    return columns if count else ar.getitem(columns, index=(ALL, Slice(0, 0, 1)))


@numpy_function(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    """The value itself: symbols never change."""
    return a if type_of(a).dtype == np.bool_ else ew.pos(a)


@numpy_function(np.astype)
def astype(x: Any, dtype: Any, *, copy: bool = True, **rest: Any) -> Any:
    """Elements converted to another dtype."""
    wanted = np.dtype(dtype)
    found = type_of(x)
    same = found.dtype is not None and found.dtype == wanted and not found.weak  # to NumPy None is float64
    return x if same else ew.cast(x, dtype=wanted.str)


@numpy_function(np.shape)
def shape(a: Any) -> Any:
    """The shape; sizes that are not known before the call are symbols."""
    return a.shape


@numpy_function(np.ndim)
def ndim(a: Any) -> Any:
    """The number of axes."""
    return a.ndim


@numpy_function(np.size)
def size(a: Any, axis: Any = None) -> Any:
    """The number of elements, or the length of an axis."""
    return a.size if axis is None else a.shape[axis]


# -- elementwise, beyond the rows --------------------------------------------------------------------------------------


@numpy_function(np.where)
def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """x where the condition holds, else y, element by element.

    >>> import numpy as np, symgraph as sg
    >>> x = sg.placeholder("x")
    >>> sg.compile(sg.where(x > 0, x, 0.0))(x=np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    if x is None or y is None:
        raise SymbolError("where: give all three arguments; the number of true elements is not known before the call")
    return ew.where(condition, x, y)


@numpy_function(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, **rest: Any) -> Any:
    """Limited to [a_min, a_max]; None leaves a side open."""
    low, high = rest.pop("min", a_min), rest.pop("max", a_max)
    _refuse("clip", out=out, **rest)
    a = a if low is None else ew.maximum(a, low)
    return a if high is None else ew.minimum(a, high)


@numpy_function(np.round, np.around)
def round(a: Any, decimals: int = 0, out: Any = None) -> Any:  # noqa: A001
    """Rounded to even, to a number of decimals."""
    _refuse("round", out=out)
    if decimals == 0:
        return ew.rint(a)
    scale = 10.0 ** builtins.abs(decimals)
    return ew.rint(a * scale) / scale if decimals > 0 else ew.rint(a / scale) * scale


@numpy_function(np.divmod)
def divmod(x: Any, y: Any) -> tuple[Any, Any]:  # noqa: A001
    """Quotient rounded down, and remainder."""
    return ew.floordiv(x, y), ew.mod(x, y)


@numpy_function(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """nan and infinities replaced by numbers."""
    limits = np.finfo(type_of(x).dtype or np.float64)
    x = ew.where(ew.isnan(x), nan, x)
    x = ew.where(ew.equal(x, np.inf), float(limits.max) if posinf is None else posinf, x)
    return ew.where(ew.equal(x, -np.inf), float(limits.min) if neginf is None else neginf, x)


@numpy_function(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """The choice of the first condition that holds, element by element."""
    if len(condlist) != len(choicelist):
        raise ValueError("select: there must be as many conditions as choices")
    result = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        result = ew.where(condition, choice, result)
    return result


@numpy_function(np.isclose)
def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Whether elements agree up to ``atol + rtol * abs(b)``."""
    near = ew.logical_and(ew.less_equal(ew.abs(a - b), atol + rtol * ew.abs(b)), ew.isfinite(b))
    near = ew.logical_or(near, ew.equal(a, b))
    return ew.logical_or(near, ew.logical_and(ew.isnan(a), ew.isnan(b))) if equal_nan else near


@numpy_function(np.sinc)
def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), and 1 at 0."""
    y = np.pi * ew.where(ew.equal(x, 0), 1.0e-20, x)
    return ew.sin(y) / y


@numpy_function(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    """The polynomial with coefficients `p`, the highest power first, by Horner's rule."""
    y = zeros_like(x)
    for coefficient in p:
        y = y * x + coefficient
    return y


@numpy_function(np.real, np.conjugate)
def real(val: Any) -> Any:
    """The value itself: it is real."""
    return val


@numpy_function(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    """False: symbols and Variables are real."""
    return False


@numpy_function(np.isrealobj)
def isrealobj(x: Any) -> bool:
    """True: symbols and Variables are real."""
    return True


@numpy_function(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> Any:
    """The dtype that promotion gives; SymbolError where one is not declared."""
    return np.result_type(*(a.dtype if getattr(a, "_mode", None) is not None else a for a in arrays_and_dtypes))


@numpy_function(np.pow)
def pow(x1: Any, x2: Any) -> Any:  # noqa: A001
    """x1 ** x2; a number as exponent is part of the operation."""
    if isinstance(x2, int | float) and not isinstance(x2, bool):
        return ew.pow(x1, exponent=x2)
    return ew.power(x1, x2)


BY_NUMPY[np.power] = pow
BY_NUMPY[np.radians] = ew.deg2rad
BY_NUMPY[np.degrees] = ew.rad2deg


# -- products ----------------------------------------------------------------------------------------------------------


@numpy_function(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    """Inner product over the last axis of `a` and the last but one of `b`, as NumPy's."""
    _refuse("dot", out=out)
    a, b = _array(a), _array(b)
    ra, rb = rank(a), rank(b)
    if ra == 0 or rb == 0:
        return a * b
    if ra is not None and rb is not None and rb > 2:
        return tensordot(a, b, ((ra - 1,), (rb - 2,)))
    # Up to two dimensions of b, dot is the matrix product.
    return ar.matmul(a, b if rb is not None and rb <= 2 else gd.of_rank(b, low=1, high=2, what="dot"))


@numpy_function(np.vdot)
def vdot(a: Any, b: Any) -> Any:
    """Inner product of the flattened arrays."""
    return ar.matmul(ravel(a), ravel(b))


@numpy_function(np.inner)
def inner(a: Any, b: Any) -> Any:
    """Sum of products over the last axes."""
    if rank(a) == 0 or rank(b) == 0:
        return a * b
    return tensordot(a, b, ((-1,), (-1,)))


@numpy_function(np.outer, np.linalg.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    """All products of two vectors."""
    _refuse("outer", out=out)
    return ar.reshape(a, shape=(-1, 1)) * ar.reshape(b, shape=(1, -1))


@numpy_function(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Sum of products over the given axes of `a` and `b`."""
    ra, rb = rank(a), rank(b)
    if ra is None or rb is None:
        raise SymbolError("tensordot: declare the shapes of the placeholders")
    if isinstance(axes, int):
        left, right = tuple(range(ra - axes, ra)), tuple(range(axes))
    else:
        left, right = (tuple(x % r for x in (_axes(ax) or ())) for ax, r in zip(axes, (ra, rb), strict=True))
    free_a = [k for k in range(ra) if k not in left]
    free_b = [k for k in range(rb) if k not in right]
    sizes_a, sizes_b = type_of(a).shape, type_of(b).shape
    inner_size: Any = 1
    for k in right:
        inner_size = inner_size * sizes_b[k]  # type: ignore[index]
    rows: Any = 1
    for k in free_a:
        rows = rows * sizes_a[k]  # type: ignore[index]
    columns: Any = 1
    for k in free_b:
        columns = columns * sizes_b[k]  # type: ignore[index]
    matrix_a = ar.reshape(ar.transpose(a, axes=(*free_a, *left)), shape=(rows, inner_size))
    matrix_b = ar.reshape(ar.transpose(b, axes=(*right, *free_b)), shape=(inner_size, columns))
    shape_ = (*(sizes_a[k] for k in free_a), *(sizes_b[k] for k in free_b))  # type: ignore[index]
    return ar.reshape(ar.matmul(matrix_a, matrix_b), shape=shape_)


@numpy_function(np.einsum)
def einsum(subscripts: Any, *operands: Any, out: Any = None, optimize: Any = False, **rest: Any) -> Any:
    """Sums of products by Einstein's notation, as letters; contracted pairwise from the left, by matrix products.

    >>> import symgraph as sg
    >>> a, b = sg.placeholder("a"), sg.placeholder("b")
    >>> sg.einsum("ij,jk->ik", a, b)
    a @ b
    """
    _refuse("einsum", out=out, **rest)
    if not isinstance(subscripts, str) or "..." in subscripts:
        raise SymbolError("einsum: on symbols, write the subscripts as one string of letters, without '...'")
    left, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    letters = "".join(terms)
    if not arrow:
        result = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    if (
        len(terms) != len(operands)
        or not (letters + result).isalpha()
        or len(set(result)) != len(result)
        or not (set(result) <= set(letters))
    ):
        raise ValueError(f"einsum: {subscripts!r} does not fit {len(operands)} operands")
    pending = [_labelled(_array(a), term) for a, term in zip(operands, terms, strict=True)]
    a, mine = pending.pop(0)
    while True:
        wanted = set(result).union(*(term for _, term in pending))
        a, mine = _summed(a, mine, wanted)
        if not pending:
            return a if mine == result else ar.transpose(a, axes=tuple(mine.index(c) for c in result))
        b, other = pending.pop(0)
        b, other = _summed(b, other, set(result).union(mine, *(term for _, term in pending)))
        a, mine = _contracted(a, mine, b, other, set(result).union(*(term for _, term in pending)))


def _labelled(a: Any, term: str) -> tuple[Any, str]:
    """The operand with one axis per letter: a letter that stands twice means a diagonal."""
    found = rank(a)
    if found is not None and found != len(term):
        raise ShapeError(f"einsum: {term!r} has {len(term)} letters, and its operand has {found} dimensions")
    while len(set(term)) != len(term):
        letter = next(c for c in term if term.count(c) > 1)
        first = term.index(letter)
        second = term.index(letter, first + 1)
        a = diagonal(a, 0, first, second)
        term = term[:first] + term[first + 1 : second] + term[second + 1 :] + letter
    return a, term


def _summed(a: Any, mine: str, wanted: set[str]) -> tuple[Any, str]:
    gone = tuple(k for k, c in enumerate(mine) if c not in wanted)
    return (sum(a, gone), "".join(c for c in mine if c in wanted)) if gone else (a, mine)


def _contracted(a: Any, mine: str, b: Any, other: str, wanted: set[str]) -> tuple[Any, str]:
    """The product of two operands, summed over the letters of both that are not wanted any more."""
    batch = [c for c in mine if c in other and c in wanted]
    inner_ = [c for c in mine if c in other and c not in wanted]
    rows, columns = [c for c in mine if c not in other], [c for c in other if c not in mine]
    a = _permuted(a, mine, [*batch, *rows, *inner_])
    b = _permuted(b, other, [*batch, *inner_, *columns])
    found = "".join([*batch, *rows, *columns])
    lead = len(batch)
    if not inner_:
        at = lead + len(rows)
        a = ar.expand_dims(a, axis=tuple(range(at, at + len(columns)))) if columns else a
        return a * (ar.expand_dims(b, axis=tuple(range(lead, at))) if rows else b), found
    height, width = _sizes(a, lead, len(rows)), _sizes(b, lead + len(inner_), len(columns))
    a = _one_axis(_one_axis(a, lead + len(rows), len(inner_)), lead, len(rows))
    b = _one_axis(_one_axis(b, lead + len(inner_), len(columns)), lead, len(inner_))
    product_ = _several_axes(ar.matmul(a, b), lead + 1, width, len(columns))
    return _several_axes(product_, lead, height, len(rows)), found


def _permuted(a: Any, mine: str, order: list[str]) -> Any:
    return a if list(mine) == order else ar.transpose(a, axes=tuple(mine.index(c) for c in order))


def _sizes(a: Any, start: int, count: int) -> tuple[Any, ...]:
    if count < 2:
        return ()
    _ranked(a, "einsum")
    return type_of(a).shape[start : start + count]  # type: ignore[index]


def _one_axis(a: Any, start: int, count: int) -> Any:
    """`count` axes merged into one."""
    if count == 1:
        return a
    if count == 0:
        return ar.expand_dims(a, axis=(start,))
    _ranked(a, "einsum")
    sizes = type_of(a).shape
    merged: Any = 1
    for size_ in sizes[start : start + count]:  # type: ignore[index]
        merged = merged * size_
    return ar.reshape(a, shape=(*sizes[:start], merged, *sizes[start + count :]))  # type: ignore[index]


def _several_axes(a: Any, start: int, sizes: tuple[Any, ...], count: int) -> Any:
    """The inverse of `_one_axis`."""
    if count == 1:
        return a
    if count == 0:
        return ar.squeeze(a, axis=(start,))
    found = type_of(a).shape
    return ar.reshape(a, shape=(*found[:start], *sizes, *found[start + 1 :]))  # type: ignore[index]


@numpy_function(np.kron)
def kron(a: Any, b: Any) -> Any:
    """Kronecker's product."""
    a, b = _array(a), _array(b)
    ndim_ = builtins.max(_ranked(a, "kron"), _ranked(b, "kron"))
    a, b = (ar.expand_dims(x, axis=tuple(range(ndim_ - (rank(x) or 0)))) if rank(x) != ndim_ else x for x in (a, b))
    sizes = tuple(m * n for m, n in zip(type_of(a).shape, type_of(b).shape, strict=True))  # type: ignore[arg-type]
    rows, columns = tuple(range(1, 2 * ndim_, 2)), tuple(range(0, 2 * ndim_, 2))
    return ar.reshape(ar.expand_dims(a, axis=rows) * ar.expand_dims(b, axis=columns), shape=sizes)


@numpy_function(np.cross, np.linalg.cross)
def cross(
    a: Any,
    b: Any,
    axisa: int = -1,
    axisb: int = -1,
    axisc: int = -1,
    axis: int | None = None,
) -> Any:
    """The vector product of vectors of three components."""
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis, axis, axis)
    (a0, a1, a2), (b0, b1, b2) = (_components(_array(x), along) for x, along in ((a, axisa), (b, axisb)))
    return stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis=axisc)


def _components(x: Any, axis: int) -> list[Any]:
    _ranked(x, "cross")
    if type_of(x).shape[axis] != 3:  # type: ignore[index]
        raise ShapeError(f"cross: axis {axis} must be declared to have size 3, got {type_of(x)}")
    return [ar.getitem(x, index=_along(axis, k)) for k in range(3)]


@numpy_function(np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Any:
    """A square matrix multiplied with itself; n is a fixed number that is not negative."""
    if n < 0:
        raise SymbolError("matrix_power: negative powers need an inverse, which is not available on symbols")
    if n == 0:
        return np.eye(fixed_shape(a, "matrix_power")[-1], dtype=type_of(a).dtype) + zeros_like(a)
    result, square = None, a
    while n:
        if n & 1:
            result = square if result is None else ar.matmul(result, square)
        n >>= 1
        square = ar.matmul(square, square) if n else square
    return result


@numpy_function(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """The convolution of two vectors of declared lengths."""
    a, v = atleast_1d(_array(a), _array(v))
    (n,), (m,) = fixed_shape(a, "convolve"), fixed_shape(v, "convolve")
    if n < m:
        a, v, n, m = v, a, m, n
    if m == 0:
        raise ValueError("convolve: a vector is empty")
    bounds = {"full": (0, n + m - 1), "same": ((m - 1) // 2, (m - 1) // 2 + n), "valid": (m - 1, n)}
    if mode not in bounds:
        raise ValueError(f"convolve: mode must be full, same or valid, got {mode!r}")
    windows = np.arange(*bounds[mode])[:, None] + np.arange(m)
    a = ar.in_mode_of(v, a)
    return ar.matmul(ar.take(pad(a, m - 1), windows, axis=0), ar.flip(v, axis=(0,)))


@numpy_function(np.vecdot, np.linalg.vecdot)
def vecdot(x1: Any, x2: Any, axis: int = -1) -> Any:
    """The sum of products along an axis."""
    return sum(_array(x1) * _array(x2), axis)


@numpy_function(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A002
    """Euclidean norm of a vector, or over `axis`; Frobenius norm of a matrix. Its gradient at 0 is 0."""
    x = _array(x)
    if ord not in (None, 2, "fro", 1, np.inf) or (ord in (1, 2, np.inf) and axis is None and rank(x) != 1):
        raise SymbolError(f"norm: ord={ord!r} is not available on symbols")
    if ord == 1:
        return sum(ew.abs(x), axis, keepdims=keepdims)
    if ord == np.inf:
        return max(ew.abs(x), axis, keepdims=keepdims)
    squared = sum(x * x, axis, keepdims=keepdims)
    return ew.where(ew.equal(squared, 0), 0.0, ew.sqrt(squared))

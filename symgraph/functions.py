"""NumPy's functions, and SciPy's where NumPy lacks them, for symbols, Variables and arrays alike.

Each accepts what NumPy accepts, brings it into the form the rows take, and is registered under NumPy's own function,
so that ``np.sum(a)`` and ``sg.sum(a)`` are the same.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from symgraph.errors import SymbolError
from symgraph.op import BY_NUMPY
from symgraph.ops import array as ar
from symgraph.ops import elementwise as ew
from symgraph.ops import reduction as rd
from symgraph.ops.array import ALL, Slice, as_size, rank, type_of
from symgraph.types import Opaque

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
        return tuple(int(a.__index__()) for a in axis)
    return (int(axis.__index__()),)


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


def _plain_reduction(row: ar.Op, *functions: Any) -> Callable[..., Any]:
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


def _position(row: ar.Op, *functions: Any) -> Callable[..., Any]:
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
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: Any = False, **rest: Any,
) -> Any:
    """Variance over axes, divided by N - ddof."""
    _refuse("var", out=out, **rest)
    centred = a - mean(a, axis, dtype, keepdims=True)
    count = _count(a, axis)
    return sum(centred * centred, axis, dtype, keepdims=keepdims) / (count - ddof if ddof else count)


@numpy_function(np.std)
def std(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: Any = False, **rest: Any,
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
    return np.asarray(value) if isinstance(value, list | tuple) and not _holds_symbols(value) else (
        stack(value) if isinstance(value, list | tuple) else value
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
    results = tuple(ar.expand_dims(a, axis=(0,)) if rank(a) == 0 else a for a in map(_array, arrays))
    return results[0] if len(results) == 1 else results


@numpy_function(np.atleast_2d)
def atleast_2d(*arrays: Any) -> Any:
    """Vectors as rows."""
    results = tuple(
        ar.expand_dims(a, axis=tuple(range(2 - (rank(a) or 0)))) if (rank(a) or 0) < 2 else a
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
    return concatenate([ar.expand_dims(a, axis=(1,)) if rank(a) == 1 else a for a in map(_array, tup)], 1)


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


def _along(axis: int, entry: Slice) -> tuple[Any, ...]:
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
        by = int(by.__index__())
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
            raise SymbolError("split: the length of this axis is not known before the call; declare it, or give indices")
        if length % indices_or_sections:
            raise ValueError("array split does not result in an equal division")
        step = length // indices_or_sections
        bounds = [step * k for k in range(1, indices_or_sections)]
    else:
        bounds = [int(i) for i in indices_or_sections]
    edges = [None, *bounds, None]
    return [ar.getitem(ary, index=_along(axis, Slice(a, b, 1))) for a, b in zip(edges, edges[1:], strict=False)]


@numpy_function(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, **rest: Any) -> Any:
    """Differences of neighbours, n times."""
    _refuse("diff", **rest)
    for _ in range(n):
        later = ar.getitem(a, index=_along(axis, Slice(1, None, 1)))
        a = later - ar.getitem(a, index=_along(axis, Slice(None, -1, 1)))
    return a


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
    return _merged(ar.expand_dims(a, axis=(axis + 1 if axis >= 0 else axis,)), int(repeats), axis, inner=True)


def _merged(a: Any, count: int, axis: int, inner: bool) -> Any:
    copies = ar.concatenate(*[a] * count, axis=axis + 1 if axis >= 0 and inner else axis) if count != 1 else a
    ndim = rank(copies)
    if ndim is None:
        raise SymbolError("repeat: declare the shape of the placeholder")
    first = (axis % (ndim - 1)) if inner else axis
    sizes = list(type_of(copies).shape)  # type: ignore[arg-type]
    sizes[first:first + 2] = [sizes[first] * sizes[first + 1]]
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


# -- constants in the shape of another value -----------------------------------------------------------------------------


@numpy_function(np.zeros_like)
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


@numpy_function(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    """The value itself: symbols never change."""
    return ew.pos(a) if not (isinstance(t := type_of(a), object) and t.dtype == np.bool_) else a


@numpy_function(np.astype)
def astype(x: Any, dtype: Any, *, copy: bool = True, **rest: Any) -> Any:
    """Elements converted to another dtype."""
    wanted = np.dtype(dtype)
    found = type_of(x)
    return x if found.dtype == wanted and not found.weak else ew.cast(x, dtype=wanted.str)


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


# -- elementwise, beyond the rows ------------------------------------------------------------------------------------------


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


@numpy_function(np.pow)
def pow(x1: Any, x2: Any) -> Any:  # noqa: A001
    """x1 ** x2; a number as exponent is part of the operation."""
    if isinstance(x2, int | float) and not isinstance(x2, bool):
        return ew.pow(x1, exponent=x2)
    return ew.power(x1, x2)


BY_NUMPY[np.power] = pow


# -- products --------------------------------------------------------------------------------------------------------------


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
    return ar.matmul(a, b)


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


@numpy_function(np.outer)
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


@numpy_function(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A002
    """Euclidean norm of a vector, or over `axis`; Frobenius norm of a matrix."""
    if ord not in (None, 2, "fro", 1, np.inf) or (ord in (1, 2, np.inf) and axis is None and rank(x) != 1):
        raise SymbolError(f"norm: ord={ord!r} is not available on symbols")
    if ord == 1:
        return sum(ew.abs(x), axis, keepdims=keepdims)
    if ord == np.inf:
        return max(ew.abs(x), axis, keepdims=keepdims)
    return ew.sqrt(sum(x * x, axis, keepdims=keepdims))



"""Values: what symbols and Variables have in common, ndarray's operators, methods and protocols."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from symgraph import functions as fn
from symgraph.errors import OutOfBoundsError, SymbolError
from symgraph.op import BY_NUMPY, Mode, Op
from symgraph.ops import array as ar, elementwise as ew
from symgraph.ops.array import Slice
from symgraph.types import Opaque

_REDUCTIONS: dict[Any, Callable[..., Any]] = {
    np.add: fn.sum,
    np.multiply: fn.prod,
    np.maximum: fn.max,
    np.minimum: fn.min,
    np.logical_or: fn.any,
    np.logical_and: fn.all,
    np.logaddexp: fn.logsumexp,
}


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(exponent, int | float) and not isinstance(exponent, bool):
        return ew.pow(base, exponent=exponent)
    return ew.power(base, exponent)


class Value:
    """An operand of the language. Abstract: a symbol (Expr), a traced array, or a Variable."""

    __slots__ = ()
    _mode: ClassVar[Mode]
    __hash__ = object.__hash__

    # operators

    def __add__(self, other: Any) -> Any:
        return ew.add(self, other)

    def __radd__(self, other: Any) -> Any:
        return ew.add(other, self)

    def __sub__(self, other: Any) -> Any:
        return ew.sub(self, other)

    def __rsub__(self, other: Any) -> Any:
        return ew.sub(other, self)

    def __mul__(self, other: Any) -> Any:
        return ew.mul(self, other)

    def __rmul__(self, other: Any) -> Any:
        return ew.mul(other, self)

    def __truediv__(self, other: Any) -> Any:
        return ew.div(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return ew.div(other, self)

    def __floordiv__(self, other: Any) -> Any:
        return ew.floordiv(self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return ew.floordiv(other, self)

    def __mod__(self, other: Any) -> Any:
        return ew.mod(self, other)

    def __rmod__(self, other: Any) -> Any:
        return ew.mod(other, self)

    def __divmod__(self, other: Any) -> Any:
        return fn.divmod(self, other)

    def __rdivmod__(self, other: Any) -> Any:
        return fn.divmod(other, self)

    def __pow__(self, other: Any) -> Any:
        return _power(self, other)

    def __rpow__(self, other: Any) -> Any:
        return _power(other, self)

    def __matmul__(self, other: Any) -> Any:
        return ar.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return ar.matmul(other, self)

    def __neg__(self) -> Any:
        return ew.neg(self)

    def __pos__(self) -> Any:
        return ew.pos(self)

    def __abs__(self) -> Any:
        return ew.abs(self)

    def __invert__(self) -> Any:
        return ew.invert(self)

    def __and__(self, other: Any) -> Any:
        return ew.bitwise_and(self, other)

    def __rand__(self, other: Any) -> Any:
        return ew.bitwise_and(other, self)

    def __or__(self, other: Any) -> Any:
        return ew.bitwise_or(self, other)

    def __ror__(self, other: Any) -> Any:
        return ew.bitwise_or(other, self)

    def __xor__(self, other: Any) -> Any:
        return ew.bitwise_xor(self, other)

    def __rxor__(self, other: Any) -> Any:
        return ew.bitwise_xor(other, self)

    def __lshift__(self, other: Any) -> Any:
        return ew.left_shift(self, other)

    def __rlshift__(self, other: Any) -> Any:
        return ew.left_shift(other, self)

    def __rshift__(self, other: Any) -> Any:
        return ew.right_shift(self, other)

    def __rrshift__(self, other: Any) -> Any:
        return ew.right_shift(other, self)

    def __lt__(self, other: Any) -> Any:
        return ew.less(self, other)

    def __le__(self, other: Any) -> Any:
        return ew.less_equal(self, other)

    def __gt__(self, other: Any) -> Any:
        return ew.greater(self, other)

    def __ge__(self, other: Any) -> Any:
        return ew.greater_equal(self, other)

    def __round__(self, decimals: int = 0) -> Any:
        return fn.round(self, decimals)

    def __getitem__(self, key: Any) -> Any:
        return index(self, key)

    # ndarray's methods

    @property
    def T(self) -> Any:  # noqa: N802
        """The transpose."""
        return fn.transpose(self)

    @property
    def mT(self) -> Any:  # noqa: N802
        """The last two axes swapped."""
        return fn.matrix_transpose(self)

    def transpose(self, *axes: Any) -> Any:
        """Axes in another order."""
        whole = len(axes) == 1 and (axes[0] is None or isinstance(axes[0], tuple | list))
        return fn.transpose(self, (axes[0] if whole else axes) or None)

    def reshape(self, *shape: Any, order: str = "C") -> Any:
        """The same elements in another shape."""
        return fn.reshape(self, shape[0] if len(shape) == 1 else shape, order)

    def sum(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Sum over axes."""
        return fn.sum(self, axis, dtype, out, keepdims)

    def prod(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Product over axes."""
        return fn.prod(self, axis, dtype, out, keepdims)

    def mean(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Mean over axes."""
        return fn.mean(self, axis, dtype, out, keepdims)

    def var(self, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: bool = False) -> Any:
        """Variance over axes."""
        return fn.var(self, axis, dtype, out, ddof, keepdims)

    def std(self, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: bool = False) -> Any:
        """Standard deviation over axes."""
        return fn.std(self, axis, dtype, out, ddof, keepdims)

    def max(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Largest element over axes."""
        return fn.max(self, axis, out, keepdims)

    def min(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Smallest element over axes."""
        return fn.min(self, axis, out, keepdims)

    def any(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Whether any element is true."""
        return fn.any(self, axis, out, keepdims)

    def all(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Whether all elements are true."""
        return fn.all(self, axis, out, keepdims)

    def argmax(self, axis: Any = None, out: Any = None, *, keepdims: bool = False) -> Any:
        """Where the first largest element stands."""
        return fn.argmax(self, axis, out, keepdims=keepdims)

    def argmin(self, axis: Any = None, out: Any = None, *, keepdims: bool = False) -> Any:
        """Where the first smallest element stands."""
        return fn.argmin(self, axis, out, keepdims=keepdims)

    def ptp(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Largest minus smallest element."""
        return fn.ptp(self, axis, out, keepdims)

    def dot(self, other: Any) -> Any:
        """NumPy's dot."""
        return fn.dot(self, other)

    def ravel(self, order: str = "C") -> Any:
        """One dimension."""
        return fn.ravel(self, order)

    flatten = ravel

    def squeeze(self, axis: Any = None) -> Any:
        """Axes of size 1 removed."""
        return fn.squeeze(self, axis)

    def swapaxes(self, axis1: int, axis2: int) -> Any:
        """Two axes exchanged."""
        return fn.swapaxes(self, axis1, axis2)

    def clip(self, min: Any = None, max: Any = None, out: Any = None) -> Any:  # noqa: A002
        """Limited to an interval."""
        return fn.clip(self, min, max, out)

    def round(self, decimals: int = 0, out: Any = None) -> Any:
        """Rounded to even."""
        return fn.round(self, decimals, out)

    def take(self, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
        """Elements at positions."""
        return fn.take(self, indices, axis, out, mode)

    def repeat(self, repeats: int, axis: Any = None) -> Any:
        """Each element several times."""
        return fn.repeat(self, repeats, axis)

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """Elements converted to another dtype."""
        return fn.astype(self, dtype)

    def copy(self, order: str = "C") -> Any:
        """The value itself."""
        return fn.copy(self)

    def named(self, name: str) -> Any:
        """The value itself, under a name; see :func:`symgraph.named`."""
        from symgraph.observe import named  # which knows both kinds of values

        return named(self, name)

    def conj(self) -> Any:
        """The value itself: it is real."""
        return self

    conjugate = conj

    @property
    def real(self) -> Any:
        """The value itself: it is real."""
        return self

    # NumPy's functions

    __array_priority__ = 200.0

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        """An ndarray of objects, one symbol per element, so that ``np.array([a, b])`` holds scalar symbols.

        Raises:
            SymbolError: the shape is not declared, the elements are not floating point, there are too many of them,
                or numbers are wanted.
        """
        found = ar.type_of(self)
        declared: Any = () if isinstance(found.shape, Opaque) or found.dtype is None else found.shape
        shape = tuple(size for size in declared if isinstance(size, int))
        floating = found.known and found.dtype is not None and found.dtype.kind == "f"
        if dtype not in (None, object) or not floating or shape != declared or math.prod(shape) > _MOST_OBJECTS:
            raise SymbolError(
                f"{self!r} cannot become an ndarray: it has no value before the call. Instead of np.array([x, y]) "
                f"write np.stack([x, y]); leave np.asarray out, or write np.asarray(x, like=x); write into "
                f"np.zeros_like(x) or np.zeros(3, like=x) instead of np.zeros(3); index sg.constant(table)[i] instead "
                f"of table[i]"
            )
        held: Any = np.empty(shape, np.object_)
        for position in np.ndindex(*shape):
            held[position] = self[position] if position else self
        return held

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if method == "__call__" and not options and ufunc in BY_NUMPY:
            return BY_NUMPY[ufunc](*inputs)
        if options.get("out") is not None:
            raise SymbolError(
                f"np.{ufunc.__name__}: the result of a symbol cannot be written into an array (out=, or += on an "
                f"ndarray); write a = a + x instead of a += x"
            )
        name = f"np.{ufunc.__name__}"
        if method == "reduce" and ufunc in _REDUCTIONS:
            options.setdefault("axis", 0)
            return _REDUCTIONS[ufunc](*inputs, **options)
        if method == "outer" and len(inputs) == 2:
            left, right = inputs
            behind = ar.rank(right)
            if behind is None:
                raise SymbolError(f"{name}.outer: declare the shape of {right!r}")
            return self.__array_ufunc__(ufunc, "__call__", index(left, (Ellipsis, *(None,) * behind)), right)
        if method != "__call__":
            raise SymbolError(f"{name}.{method} has no meaning on symbols")
        meaning = BY_NUMPY.get(ufunc) or BY_NAME.get(ufunc.__name__)
        if meaning is None:
            raise SymbolError(f"{name} is not an operation of symgraph; the operations are listed in sg.operations()")
        dtype = options.pop("dtype", None)
        for option, value in options.items():
            if value is not None and not (option == "where" and value is True):
                raise SymbolError(f"{name}: {option}= has no meaning on symbols; use np.where")
        result = meaning(*inputs)
        return result if dtype is None else fn.astype(result, dtype)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        meaning = BY_NUMPY.get(function)
        if meaning is None:
            module = getattr(function, "__module__", "numpy")
            raise SymbolError(
                f"{module}.{function.__name__} is not available on symbols; sg.operations() lists what is"
            )
        return meaning(*args, **kwargs)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from symgraph.notebook import bundle  # which draws, and is rarely needed

        return bundle(self)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and hasattr(np.ndarray, name):
            raise AttributeError(f".{name} is not available on symbols; sg.operations() lists what is")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


_MOST_OBJECTS = 1000
"""Element by element is no way to compute with more than this."""


def _object_loop(row: Op) -> None:
    """NumPy's loops over objects call a method of the ufunc's name on each element."""
    assert row.ufunc is not None

    def method(self: Value, *others: Any) -> Any:
        return row(self, *others)

    setattr(Value, row.ufunc.__name__, method)


for _row in (
    ew.sqrt,
    ew.cbrt,
    ew.exp,
    ew.exp2,
    ew.expm1,
    ew.log,
    ew.log2,
    ew.log10,
    ew.log1p,
    ew.sin,
    ew.cos,
    ew.tan,
    ew.arcsin,
    ew.arccos,
    ew.arctan,
    ew.arctan2,
    ew.sinh,
    ew.cosh,
    ew.tanh,
    ew.arcsinh,
    ew.arccosh,
    ew.arctanh,
    ew.deg2rad,
    ew.rad2deg,
    ew.hypot,
    ew.fabs,
    ew.rint,
):
    _object_loop(_row)

# Functions of SciPy that are ufuncs arrive by their name.
BY_NAME: dict[str, Any] = {
    "expit": ew.expit,
    "erf": ew.erf,
    "erfc": ew.erfc,
    "xlogy": fn.xlogy,
    "logaddexp": ew.logaddexp,
}


def parse_key(key: Any) -> tuple[ar.Index, dict[int, Any]]:
    """A key of ``x[key]`` as a basic index, and the index arrays in it by their position in that index.

    Raises:
        SymbolError, OutOfBoundsError: for what is not an index, or has no fixed shape.
    """
    entries: list[Any] = []
    arrays: dict[int, Any] = {}
    for entry in list(key) if isinstance(key, tuple) else [key]:
        if entry is None or entry is Ellipsis:
            entries.append(entry)
        elif isinstance(entry, slice):
            entries.append(Slice(*(None if v is None else _bound(v) for v in (entry.start, entry.stop, entry.step))))
        elif isinstance(entry, int | np.integer) and not isinstance(entry, bool):
            entries.append(int(entry))
        else:
            arrays[len(entries)] = _indices(entry)
            entries.append(ar.ALL)
    if sum(e is Ellipsis for e in entries) > 1:
        raise OutOfBoundsError("getitem: an index can only have a single ellipsis ('...')")
    return tuple(entries), arrays


def index(x: Any, key: Any) -> Any:
    """``x[key]``: ints, slices, None, Ellipsis; lists, ranges, integer arrays, integer symbols, constant masks.

    Raises:
        SymbolError: for a key whose result has no fixed shape.
        OutOfBoundsError: for an int outside a fixed axis.
    """
    entries, arrays = parse_key(key)
    plain = all(e in (ar.ALL, Ellipsis) for e in entries)
    part = x if plain else ar.getitem(x, index=entries)
    if not arrays:
        return part
    picks = merged_axes(part, entries, arrays)
    return ar.take(picks.part, picks.indices, axis=picks.axis)


class Picks(NamedTuple):
    """One index array for one axis, made from several: `part` with the axes moved together and merged into `axis`."""

    part: Any
    indices: Any
    axis: int
    apart: Any  # part before its axes were merged
    source: tuple[int, ...]  # where the axes were
    target: tuple[int, ...]  # and where they are in `apart`


def merged_axes(part: Any, entries: ar.Index, arrays: Mapping[int, Any]) -> Picks:
    """What to pick along one axis of ``x[entries]``, for index arrays at positions in `entries`.

    As in NumPy, the picked axes stand where the index arrays stand, or first where slices stand between those.
    """
    axes = [_axis_at(entries, position) for position in arrays]
    among = [k for k, e in enumerate(entries) if k in arrays or isinstance(e, int)]
    together = among[-1] - among[0] + 1 == len(among)
    if len(axes) == 1 and (together or axes[0] == 0):
        (indices,) = arrays.values()
        return Picks(part, indices, axes[0], part, (), ())
    shape = ar.type_of(part).shape
    if isinstance(shape, Opaque):
        raise SymbolError("getitem: several index arrays need the shape; declare it, or index one axis at a time")
    source = tuple(axis % len(shape) for axis in axes)
    first = source[0] if together else 0
    target = tuple(range(first, first + len(axes)))
    apart = part if source == target else ar.moveaxis(part, source=source, destination=target)
    if len(axes) == 1:
        return Picks(apart, next(iter(arrays.values())), 0, apart, source, target)
    sizes = ar.type_of(apart).shape
    assert not isinstance(sizes, Opaque)
    merged = ar.reshape(apart, shape=(*sizes[:first], math.prod(sizes[a] for a in target), *sizes[first + len(axes) :]))
    flat: Any = 0
    inside: Any = True
    for axis, indices in zip(target, arrays.values(), strict=True):
        fixed = sizes[axis]
        size: Any = fixed if isinstance(fixed, int) else ar.size(apart, axis=axis)
        inside = ew.logical_and(inside, ew.logical_and(ew.less(indices, size), ew.greater_equal(indices, -size)))
        flat = flat * size + ew.where(ew.less(indices, 0), indices + size, indices)
    if isinstance(inside, np.ndarray) and not inside.all():
        raise OutOfBoundsError(
            f"getitem: an index is out of bounds for axes of shape {sizes[first : first + len(axes)]}"
        )
    # A pair with one index outside must not reach another element.
    flat = flat if isinstance(inside, np.ndarray) else ew.where(inside, flat, ar.size(merged, axis=first))
    return Picks(merged, flat, first, apart, source, target)


def _axis_at(entries: ar.Index, position: int) -> int:
    """The axis of ``x[entries]`` that the slice at `position` gives."""
    if Ellipsis in entries[:position]:
        return -sum(e is None or isinstance(e, Slice) for e in entries[position:])
    return sum(e is None or isinstance(e, Slice) for e in entries[:position])


def _bound(value: Any) -> int:
    if getattr(value, "_mode", None) is not None:
        size = ar.as_size(value)
        if not isinstance(size, int):
            raise SymbolError("getitem: a slice needs fixed bounds; its length would not be known before the call")
        return size
    return operator.index(value)


def _indices(entry: Any) -> Any:
    if getattr(entry, "_mode", None) is not None:
        if ar.type_of(entry).dtype == np.bool_:
            raise SymbolError(
                "getitem: a mask that is a symbol gives a shape not known before the call; use np.where(mask, x, 0)"
            )
        return entry
    array = np.asarray(entry)
    if array.dtype == np.bool_:
        if array.ndim != 1:
            raise SymbolError("getitem: a constant mask of several dimensions picks pairs; write x[np.nonzero(mask)]")
        return np.nonzero(array)[0]
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise OutOfBoundsError(f"getitem: an index must be an int, slice, None, Ellipsis, list or range, not {entry!r}")
    return array

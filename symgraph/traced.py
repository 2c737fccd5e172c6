"""Arrays that a traced function may write into.

A traced function runs once on :class:`Traced` arrays. A Traced array is a place that holds a symbol; a write replaces
the symbol it holds. A view (a slice, a transpose) remembers the array it looks into: it is read through that array,
and a write goes through to it. So ``x[1:] -= x[:-1]``, ``x += 1`` and views behave as NumPy's, with two exceptions:

- the arrays of the caller never change; return what was written;
- where NumPy's behaviour depends on what is not known before the call (whether ``reshape`` copies, whether an
  undeclared value is a number or an array when ``+=`` meets it), the name on the left gets the new value, and using
  what another name may or may not see of it raises SymbolError.

A value of no dimensions behaves as a number: ``s += 1`` gives the name `s` a new value.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np

from symgraph.errors import OutOfBoundsError, ShapeError, SymbolError
from symgraph.expr import Expr, as_expr
from symgraph.functions.arrays import fixed_shape
from symgraph.op import Mode, Op
from symgraph.ops import array as ar, elementwise as ew
from symgraph.ops.update import Casting, index_update as _index_update
from symgraph.types import ArrayType, Opaque, Shape
from symgraph.value import Picks, Value, _power, merged_axes, parse_key

_WHOLE = (Ellipsis,)


# -- writes ------------------------------------------------------------------------------------------------------------


def index_update(x: Any, key: Any, v: Any) -> Any:
    """The array after ``x[key] = v``; x itself does not change.

    Args:
        x: a symbol.
        key: ints, slices, None, Ellipsis, lists, ranges and arrays of ints, all constant; single integers, which may
            be symbols; or a mask of bools, which may be a symbol.
        v: what NumPy would accept: it is spread over the part, and converted to the dtype of x. Under a mask that is
            a symbol, or has several dimensions, it may not depend on which elements the mask picks.

    Raises:
        SymbolError: the key is an array of indices that is a symbol, or a size it needs is not declared.
        ShapeError, OutOfBoundsError: NumPy would refuse as well.

    >>> import numpy as np, symgraph as sg
    >>> x = sg.placeholder("x", shape=(3,), dtype="float64")
    >>> index_update(x, slice(1, None), 0.0)
    where(embed(broadcast_to(True, shape=(2,)), x, index=(...)), embed(broadcast_to(0.0, shape=(2,)), x, ...), x)
    """
    x = as_expr(x)
    mask = _mask(key)
    if mask is not None:
        return _masked(x, mask, v)
    entries, arrays = parse_key(key)
    if arrays:
        part = x if all(e in (ar.ALL, Ellipsis) for e in entries) else ar.getitem(x, index=entries)
        v = _picked(merged_axes(part, entries, arrays), v)
    return _index_update(x, _fitted(v, x, entries), index=entries, casting="unsafe")


def _fitted(v: Any, x: Expr, entries: ar.Index) -> Any:
    """v without the leading axes of size 1 that NumPy ignores in a write."""
    v = as_expr(v)
    rank = ar.getitem.infer((x.type,), {"index": entries}).ndim
    if rank is None or isinstance(v.type.shape, Opaque):
        return v
    extra = len(v.type.shape) - rank
    fits = extra > 0 and all(size == 1 for size in v.type.shape[:extra])
    return ar.getitem(v, index=(0,) * extra) if fits else v


def _mask(key: Any) -> Any | None:
    """The key where it is a mask that chooses element by element: a symbol, or of several dimensions."""
    if isinstance(key, Value):
        return key if ar.type_of(key).dtype == np.bool_ else None
    return key if isinstance(key, np.ndarray) and key.dtype == np.bool_ and key.ndim != 1 else None


def _masked(x: Expr, mask: Any, v: Any) -> Any:
    mask, v = as_expr(mask), as_expr(v)
    if mask.type.shape != x.type.shape:
        shape, inner = _declared(x, "a write under a mask"), _declared(mask, "a write under a mask")
        if len(inner) > len(shape) or any(
            a != b and isinstance(a, int) and isinstance(b, int) for a, b in zip(inner, shape, strict=False)
        ):
            raise ShapeError(f"a mask of shape {inner} does not fit an array of shape {shape}")
        mask = ar.getitem(mask, index=(Ellipsis, *(None,) * (len(shape) - len(inner))))
        rest = len(shape) - len(inner)
    else:
        rest = 0
    if v.type.ndim is None or v.type.ndim > rest:
        raise SymbolError(
            f"x[mask] = v: which elements of v = {v!r} belong to which of x is not known before the call; "
            f"write x = np.where(mask, v, x) with a v in the shape of x"
        )
    if x.type.dtype is not None and (v.type.dtype is None or v.type.dtype != x.type.dtype):
        v = ew.cast(v, dtype=x.type.dtype.str)
    return _index_update(x, ew.where(mask, v, x), index=_WHOLE, casting="unsafe")


def _picked(picks: Picks, v: Any) -> Any:
    """The part of x that an index with index arrays looks at, after v was written."""
    part, axis = picks.part, picks.axis
    shape = list(_declared(part, "a write at a list of indices"))
    axis = axis % len(shape)
    size = shape[axis]
    if isinstance(picks.indices, Value):
        return _unpicked(picks, _put(part, picks.indices, v, axis, "set"))
    if not isinstance(size, int):
        raise SymbolError(
            f"a write at a list of indices needs the length of axis {axis}: declare it as an int, or write one index "
            f"at a time: x[0] = ...; x[-1] = ..."
        )
    indices = np.asarray(picks.indices)
    outside = indices[(indices < -size) | (indices >= size)]
    if outside.size:
        raise OutOfBoundsError(f"index {outside.flat[0]} is out of bounds for axis {axis} with size {size}")
    v = as_expr(v)
    dtype = ar.type_of(part).dtype
    if dtype is not None and (v.type.dtype is None or v.type.dtype != dtype):
        v = ew.cast(v, dtype=dtype.str)
    spread = ar.broadcast_to(v, shape=(*shape[:axis], *indices.shape, *shape[axis + 1 :]))
    spread = ar.reshape(spread, shape=(*shape[:axis], indices.size, *shape[axis + 1 :]))
    if indices.size:
        source, written = np.zeros(size, np.int64), np.zeros(size, np.bool_)
        source[indices.ravel()], written[indices.ravel()] = np.arange(indices.size), True  # the last of equals wins
        mask = written.reshape(-1, *(1,) * (len(shape) - axis - 1))
        part = ew.where(mask, ar.take(spread, source, axis=axis), part)
    return _unpicked(picks, part)


def _unpicked(picks: Picks, part: Any) -> Any:
    """The array again, from the part with its axes moved together."""
    if not picks.source:
        return part
    return ar.moveaxis(ar.reshape_like(part, picks.apart), source=picks.target, destination=picks.source)


def _put(part: Any, i: Any, v: Any, axis: int, combine: str) -> Any:
    """v written, or added, at indices that are not known before the call."""
    if combine == "set" and ar.rank(i) != 0:
        raise SymbolError(
            "x[i] = v needs a single index, or constant ones: which of equal indices counts is not known before the "
            "call"
        )
    v = as_expr(v)
    shape, inner = _declared(part, "a write at an index"), _declared(i, "a write at an index")
    dtype = ar.type_of(part).dtype
    if dtype is not None and (v.type.dtype is None or v.type.dtype != dtype or v.type.weak):
        v = ew.cast(v, dtype=dtype.str)
    v = ar.broadcast_to(v, shape=(*shape[:axis], *inner, *shape[axis + 1 :]))
    return ar.put(part, i, v, axis=axis, combine=combine)


def _declared(x: Any, what: str) -> Shape:
    shape = ar.type_of(x).shape
    if isinstance(shape, Opaque):
        raise SymbolError(f"{what} needs the shape of {x!r}; declare it: shape=('n', 3), dtype='float64'")
    return shape


# -- arrays of a traced function ---------------------------------------------------------------------------------------


class _Storage:
    """What arrays that are views of one another share; `writes` outlives it."""

    __slots__ = ("__weakref__", "writes")

    def __init__(self) -> None:
        self.writes = [0]


class _Doubt(NamedTuple):
    """An array that may or may not be a view into a storage, as it was after `seen` writes."""

    storage: weakref.ref[_Storage]
    writes: list[int]
    seen: int


class Traced(Value):
    """An array inside a traced function: a place that holds a symbol, `expr`, and may be written into.

    ``==`` and ``!=`` compare elements, as ndarray's do. Everything else is as for symbols.
    """

    __slots__ = ("__weakref__", "_base", "_doubts", "_expr", "_fault", "_op", "_params", "_seen", "_storage", "_when")
    _mode: ClassVar[Mode]
    _latest: ClassVar[object] = object()  # another one after every write: what was read since need not be read again
    __hash__ = object.__hash__

    _base: Traced | None  # what a view looks into, by _op and _params
    _op: Callable[..., Any] | None
    _params: dict[str, Any]
    _seen: Expr | None  # what the base held when _expr was read from it
    _storage: _Storage
    _doubts: tuple[_Doubt, ...]
    _fault: str | None
    _when: object  # _latest when _expr was read

    def __init__(self, held: Expr) -> None:
        self._expr = held
        self._base = self._op = self._seen = self._fault = self._when = None
        self._params = {}
        self._storage = _Storage()
        self._doubts = ()

    # places and views

    def _look(self, base: Traced, op: Op, params: dict[str, Any]) -> None:
        """Become the view that ``op(base)`` is in NumPy, or may be."""
        rank, held = self._expr.type.ndim, base.expr
        certain = True
        if op is ar.getitem:
            if rank == 0 and Ellipsis not in params["index"]:
                return  # an element is a number of its own
            certain = rank is not None or any(e is None or isinstance(e, ar.Slice) for e in params["index"])
        elif op is ar.reshape:
            known = held.type.known and self._expr.type.known and self._expr.op is ar.reshape
            certain = known and op.lower(held.type, self._expr.type, self._expr.params) is not None
        self._look_into(base, op, params, certain)

    def _look_into(self, base: Traced, op: Callable[..., Any], params: dict[str, Any], certain: bool) -> None:
        if certain:
            self._base, self._op, self._params, self._seen = base, op, params, base.expr
            self._storage = base._storage
        else:
            storage = base._storage
            owner = base._chain()[-1]
            self._doubts = (*owner._doubts, _Doubt(weakref.ref(storage), storage.writes, storage.writes[0]))

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        entries = _frozen(key)
        # An index that is a single integer gives a view, as a Python integer does; one that is an array gives a copy.
        at_symbol = any(isinstance(e, Value) for e in entries)
        if at_symbol and part._expr.type.ndim != 0 and all(_may_be_integer(e) for e in entries):
            part._look_into(self, _at, {"key": entries}, part._expr.type.ndim is not None)
        return part

    def _chain(self) -> list[Traced]:
        """The array, what it is a view of, and so on to an array that is no view."""
        chain = [self]
        while (base := chain[-1]._base) is not None:
            chain.append(base)
        return chain

    @property
    def expr(self) -> Expr:
        """The symbol that the array holds now."""
        latest = Traced._latest
        if self._when is latest:
            return self._expr
        chain = self._chain()
        held = chain[-1]._expr
        for place in reversed(chain):
            if place._fault is not None:
                raise SymbolError(place._fault)
            if any(doubt.writes[0] != doubt.seen for doubt in place._doubts):
                raise SymbolError(
                    f"the array that {place._expr!r} was taken from was written into after that, and whether this is "
                    f"a view or a copy is not known before the call; use .copy(), or declare the shape"
                )
            if place._op is not None:
                if place._seen is not held:
                    place._expr, place._seen = place._op(held, **place._params), held
                held = place._expr
            place._when = latest
        return held

    def _hold(self, new: Expr) -> None:
        """Replace the symbol; in a view, that part of its base."""
        chain = self._chain()
        if any(doubt.storage() is not None for doubt in chain[-1]._doubts):
            raise SymbolError(
                f"whether a write into {chain[-1]._expr!r} also writes into the array it was taken from is not known "
                f"before the call: it may be a view or a copy; write into the array itself, or use .copy()"
            )
        for place, base in pairwise(chain):
            held, op = base.expr, place._op
            assert op is not None
            if op is ar.broadcast_to:
                raise SymbolError("the result of np.broadcast_to is read-only; use .copy()")
            if op is ar.getitem:
                whole = _index_update(held, new, index=place._params["index"], casting="unsafe")
            elif op is _at:
                whole = index_update(held, place._params["key"], new)
            else:
                # An index map that reaches every element once is undone by its adjoint.
                assert isinstance(op, Op)
                whole = as_expr(op.vjp(0, new, place._expr, (held,), place._params))
            place._expr, place._seen = new, whole
            new = whole
        chain[-1]._expr = new
        self._written()

    def _written(self) -> None:
        self._storage.writes[0] += 1
        Traced._latest = object()

    def _assign(self, value: Any, casting: Casting) -> None:
        self._hold(_index_update(self.expr, as_expr(value), index=_WHOLE, casting=casting))

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, Traced) and _mask(key) is None and value._is_part(self, key):
            return  # x[key] += y has written through the view x[key] already
        self._hold(index_update(self.expr, key, value))

    def _is_part(self, base: Traced, key: Any) -> bool:
        if self._op is _at:
            return self._base is base and self._params["key"] == _frozen(key)
        entries, arrays = parse_key(key)
        if arrays:
            return False
        if self is base:
            return all(e in (ar.ALL, Ellipsis) for e in entries)
        return self._base is base and self._op is ar.getitem and self._params["index"] == entries

    def _in_place(self, result: Any) -> Any:
        """``self op= y``, given ``self op y``."""
        rank = self._expr.type.ndim
        if rank == 0 and self._op is not ar.getitem:
            return result
        if rank is not None or self._op is ar.getitem:
            self._assign(result, "same_kind")
            return self
        shown = repr(self._expr)
        if self._base is not None or any(doubt.storage() is not None for doubt in self._doubts):
            raise SymbolError(
                f"whether {shown} is a number or a view into an array is not known before the call, so neither is "
                f"whether += changes that array; write y = y + z, or declare the shape"
            )
        self._fault = (
            f"{shown} was changed by an assignment such as +=, and has another name; whether that name sees the "
            f"change is not known before the call: an array changes, a number does not. Write y = y + z, or declare "
            f"the shape"
        )
        self._written()
        return result

    def __iadd__(self, other: Any) -> Any:
        return self._in_place(ew.add(self, other))

    def __isub__(self, other: Any) -> Any:
        return self._in_place(ew.sub(self, other))

    def __imul__(self, other: Any) -> Any:
        return self._in_place(ew.mul(self, other))

    def __itruediv__(self, other: Any) -> Any:
        return self._in_place(ew.div(self, other))

    def __ifloordiv__(self, other: Any) -> Any:
        return self._in_place(ew.floordiv(self, other))

    def __imod__(self, other: Any) -> Any:
        return self._in_place(ew.mod(self, other))

    def __ipow__(self, other: Any) -> Any:
        return self._in_place(_power(self, other))

    def __imatmul__(self, other: Any) -> Any:
        return self._in_place(ar.matmul(self, other))

    def __iand__(self, other: Any) -> Any:
        return self._in_place(ew.bitwise_and(self, other))

    def __ior__(self, other: Any) -> Any:
        return self._in_place(ew.bitwise_or(self, other))

    def __ixor__(self, other: Any) -> Any:
        return self._in_place(ew.bitwise_xor(self, other))

    def __ilshift__(self, other: Any) -> Any:
        return self._in_place(ew.left_shift(self, other))

    def __irshift__(self, other: Any) -> Any:
        return self._in_place(ew.right_shift(self, other))

    def __eq__(self, other: object) -> Any:
        return ew.equal(self, other)

    def __ne__(self, other: object) -> Any:
        return ew.not_equal(self, other)

    # copies

    def copy(self, order: str = "C") -> Traced:
        """An array of its own with the same elements."""
        return Traced(self.expr)

    def __copy__(self) -> Traced:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Traced:
        return self.copy()

    def flatten(self, order: str = "C") -> Any:
        """A copy of one dimension."""
        return self.copy().ravel(order)

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """Elements converted to another dtype."""
        converted = super().astype(dtype)
        return self.copy() if converted is self and copy else converted

    def fill(self, value: Any) -> None:
        """Write a number into every element."""
        self[...] = value

    # what a symbol answers

    @property
    def type(self) -> ArrayType:
        """What is known of dtype and shape."""
        return self._expr.type

    @property
    def shape(self) -> tuple[Any, ...]:
        """The declared shape; sizes that are not known before the call are symbols."""
        return self._expr.shape

    @property
    def ndim(self) -> int:
        """The number of axes; SymbolError where it is not declared."""
        return self._expr.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype; SymbolError where it is not declared."""
        return self._expr.dtype

    @property
    def size(self) -> Any:
        """The number of elements; a symbol where it is not known before the call."""
        return self._expr.size

    def __len__(self) -> int:
        return len(self._expr)

    def __iter__(self) -> Iterator[Any]:
        iter(self._expr)  # raises where the length is not known
        return (self[k] for k in range(len(self)))

    def __contains__(self, item: Any) -> bool:
        return item in self._expr

    def __bool__(self) -> bool:
        return bool(self.expr)

    def __float__(self) -> float:
        return float(self.expr)

    def __int__(self) -> int:
        return int(self.expr)

    def __complex__(self) -> complex:
        return complex(self.expr)

    def __index__(self) -> int:
        return self.expr.__index__()

    def item(self) -> Any:
        """Always raises: a symbol has no value."""
        return self.expr.item()

    def tolist(self) -> Any:
        """Always raises: a symbol has no value."""
        return self.expr.tolist()

    def __repr__(self) -> str:
        return repr(self._expr if self._fault else self.expr)

    # NumPy's functions

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        out = options.get("out")
        if out is None or not all(isinstance(place, Traced) for place in out):
            return super().__array_ufunc__(ufunc, method, *inputs, **options)
        results = super().__array_ufunc__(ufunc, method, *inputs, **{k: v for k, v in options.items() if k != "out"})
        for place, result in zip(out, results if isinstance(results, tuple) else (results,), strict=True):
            place._assign(result, "same_kind")
        return out if isinstance(results, tuple) else out[0]

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in _WRITERS:
            return _WRITERS[function](*args, **kwargs)
        result = super().__array_function__(function, types, args, kwargs)
        if isinstance(result, np.ndarray) or (isinstance(result, Expr) and result.type.shape != ()):
            return Traced(as_expr(result))  # np.zeros(3, like=x)
        given = (*args, *kwargs.values())
        if isinstance(result, Traced) and function not in _ITSELF and any(result is a for a in given):
            return result.copy()
        return result


def _at(held: Expr, *, key: tuple[Any, ...]) -> Any:
    return held[key]


def _frozen(key: Any) -> tuple[Any, ...]:
    """The entries of a key, as they are now."""
    return tuple([e.expr if type(e) is Traced else e for e in (key if isinstance(key, tuple) else (key,))])


def _may_be_integer(entry: Any) -> bool:
    """Whether an entry of a key is no index array or mask for sure."""
    if isinstance(entry, Value):
        kind = ar.type_of(entry)
        return kind.ndim in (0, None) and kind.dtype != np.bool_
    return not isinstance(entry, list | range) and np.ndim(entry) == 0


def _apply(op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
    held = op(*[a.expr if type(a) is Traced else a for a in args], **params)
    if op.kind == "source":
        return held  # a size is a number
    place = Traced(held)
    if op.kind == "view":
        place._look(args[0], op, params)
    return place


Traced._mode = Mode("traced array", rank=2, apply=_apply, mixes_with=frozenset({"symbol"}))


def _copyto(dst: Any, src: Any, casting: Casting = "same_kind", where: Any = True) -> None:
    if not isinstance(dst, Traced):
        raise SymbolError("np.copyto: a symbol cannot be written into an ndarray; write into np.zeros(3, like=x)")
    dst._assign(src if where is True else ew.where(where, src, dst), casting)


def _fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    shape = fixed_shape(a, "np.fill_diagonal")
    if not isinstance(a, Traced) or len(shape) != 2 or wrap:
        raise SymbolError("np.fill_diagonal: only a matrix of the traced function can be filled, without wrap")
    a[np.eye(*shape, dtype=np.bool_)] = val


_WRITERS: dict[Any, Callable[..., None]] = {np.copyto: _copyto, np.fill_diagonal: _fill_diagonal}
_ITSELF = {
    np.asarray,
    np.asanyarray,
    np.ascontiguousarray,
    np.atleast_1d,
    np.atleast_2d,
    np.atleast_3d,
    np.real,
    np.broadcast_arrays,
}
"""NumPy's functions that may give back the very array they got."""

"""What is known of a value before the call, and lists of values as arrays."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from symgraph.errors import SymbolError
from symgraph.functions.registry import numpy_function, refuse
from symgraph.ops import array as ar, elementwise as ew
from symgraph.ops.array import ALL, Slice, rank, type_of
from symgraph.types import Opaque


def as_array(value: Any) -> Any:
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


def ranked(a: Any, what: str) -> int:
    """The number of axes.

    Raises:
        SymbolError: it is not known before the call.
    """
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


@numpy_function(np.stack)
def stack(arrays: Any, axis: int = 0, out: Any = None, **rest: Any) -> Any:
    """Arrays joined along a new axis."""
    refuse("stack", out=out, **rest)
    return ar.concatenate(*(ar.expand_dims(as_array(a), axis=(int(axis),)) for a in arrays), axis=int(axis))


def along_axis(axis: int, entry: Slice | int) -> tuple[Any, ...]:
    """An index that takes `entry` along an axis and all of the others."""
    return (ALL,) * axis + (entry,) if axis >= 0 else (Ellipsis, entry, *(ALL,) * (-axis - 1))


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

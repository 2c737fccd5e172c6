"""What is known about a value before any data: its dtype and its shape."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from symgraph import dims
from symgraph.dims import Size
from symgraph.interning import Table


class Opaque:
    """A shape that is not known: the broadcast of the shapes named by `parts`.

    Equal parts mean equal shapes, so x**2 is known to have the shape of x though neither is known. Interned: equal
    ones are one object.
    """

    __slots__ = ("__weakref__", "parts")
    parts: frozenset[Hashable]

    def __new__(cls, parts: frozenset[Hashable]) -> Opaque:
        """The one shape with these parts."""
        found = _shapes.get(parts)
        if found is None:
            found = object.__new__(cls)
            found.parts = parts
            found = _shapes.add(parts, found)
        return found

    def __reduce__(self) -> tuple[type[Opaque], tuple[frozenset[Hashable]]]:
        return Opaque, (self.parts,)

    def __repr__(self) -> str:
        return f"Opaque(parts={self.parts!r})"


Shape = tuple[Size, ...]


class ArrayType:
    """dtype (None: not known), shape, and whether the value is a Python number.

    Python numbers are "weak": float32 * 2.0 stays float32 (NumPy's NEP 50). Interned: equal types are one object.
    """

    __slots__ = ("__weakref__", "dtype", "shape", "weak")
    dtype: np.dtype[Any] | None
    shape: Shape | Opaque
    weak: bool

    def __new__(cls, dtype: np.dtype[Any] | None, shape: Shape | Opaque, weak: bool = False) -> ArrayType:
        """The one type with these parts."""
        key = (dtype, shape, weak)
        found = _types.get(key)
        if found is None:
            found = object.__new__(cls)
            found.dtype, found.shape, found.weak = dtype, shape, weak
            found = _types.add(key, found)
        return found

    def __reduce__(self) -> tuple[type[ArrayType], tuple[Any, ...]]:
        return ArrayType, (self.dtype, self.shape, self.weak)

    def __repr__(self) -> str:
        return f"ArrayType(dtype={self.dtype!r}, shape={self.shape!r}, weak={self.weak!r})"

    @property
    def known(self) -> bool:
        """True where both dtype and shape are known."""
        return self.dtype is not None and not isinstance(self.shape, Opaque)

    @property
    def ndim(self) -> int | None:
        """The number of axes, or None."""
        return None if isinstance(self.shape, Opaque) else len(self.shape)

    def __str__(self) -> str:
        dtype = "?" if self.dtype is None else self.dtype.name
        return f"{dtype}{format_shape(self.shape)}"


class TupleType(ArrayType):
    """What is known about a node of several values: the type of each."""

    __slots__ = ("parts",)
    parts: tuple[ArrayType, ...]

    def __new__(cls, parts: tuple[ArrayType, ...]) -> TupleType:
        """The one type with these parts."""
        found: Any = _types.get(parts)
        if found is None:
            found = object.__new__(cls)
            found.dtype, found.shape, found.weak, found.parts = None, (), False, parts
            found = _types.add(parts, found)
        return found  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[type[ArrayType], tuple[Any, ...]]:
        return TupleType, (self.parts,)

    def __repr__(self) -> str:
        return f"TupleType({self.parts!r})"

    @property
    def known(self) -> bool:
        """True where all parts are known."""
        return all(part.known for part in self.parts)

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.parts))})"


def format_shape(shape: Shape | Opaque) -> str:
    """A shape as NumPy prints it, with names for sizes that are not known, and ? where nothing is."""
    if isinstance(shape, Opaque):
        return "(?)"
    return "(" + ", ".join(map(str, shape)) + (",)" if len(shape) == 1 else ")")


_shapes: Table[Opaque] = Table()
_types: Table[ArrayType] = Table()


def weak_scalar(dtype: Any) -> ArrayType:
    """The type of a Python number."""
    return ArrayType(np.dtype(dtype), (), weak=True)


def broadcast_shapes(*shapes: Shape | Opaque) -> Shape | Opaque | None:
    """The common shape by NumPy's rule, or None where there is none."""
    first = shapes[0]
    if all(s == first for s in shapes):
        return first
    if any(isinstance(s, Opaque) for s in shapes):
        parts: frozenset[Hashable] = frozenset()
        for shape in shapes:
            if isinstance(shape, Opaque):
                parts |= shape.parts
            elif shape:
                parts |= {shape}
        return Opaque(parts)
    rank = max(len(s) for s in shapes)  # type: ignore[arg-type]
    result: list[Size] = []
    for axis in range(rank):
        size: Size = 1
        for shape in shapes:
            assert not isinstance(shape, Opaque)
            position = axis - rank + len(shape)
            if position >= 0:
                size = dims.broadcast(size, shape[position])
                if size == -1:
                    return None
        result.append(size)
    return tuple(result)

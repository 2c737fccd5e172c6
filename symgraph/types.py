"""What is known about a value before any data: its dtype and its shape."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgraph import dims
from symgraph.dims import Size


@dataclass(frozen=True, slots=True)
class Opaque:
    """A shape that is not known: the broadcast of the shapes named by `parts`.

    Equal parts mean equal shapes, so x**2 is known to have the shape of x though neither is known.
    """

    parts: frozenset[Hashable]


Shape = tuple[Size, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ArrayType:
    """dtype (None: not known), shape, and whether the value is a Python number.

    Python numbers are "weak": float32 * 2.0 stays float32 (NumPy's NEP 50).
    """

    dtype: np.dtype[Any] | None
    shape: Shape | Opaque
    weak: bool = False

    def __eq__(self, other: object) -> bool:
        # NumPy says None == dtype("float64"), so an unknown dtype is compared by identity
        return self is other or (
            isinstance(other, ArrayType)
            and (self.dtype is None) == (other.dtype is None)
            and self.dtype == other.dtype
            and self.shape == other.shape
            and self.weak == other.weak
        )

    def __hash__(self) -> int:
        return hash((self.dtype, self.shape, self.weak))

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


def format_shape(shape: Shape | Opaque) -> str:
    """A shape as NumPy prints it, with names for sizes that are not known, and ? where nothing is."""
    if isinstance(shape, Opaque):
        return "(?)"
    return "(" + ", ".join(map(str, shape)) + (",)" if len(shape) == 1 else ")")


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

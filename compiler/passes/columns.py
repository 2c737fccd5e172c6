"""Values that one place of a formula takes, repetition by repetition, as one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from symgraph.expr import Expr, as_expr
from symgraph.op import Op
from symgraph.ops import array as ar
from symgraph.types import Opaque

PIECES = 8
"""Arrays that are joined at most."""

PENDING = object()
"""Stands in an index for the entry that differs."""


class Line(NamedTuple):
    """Reads from an array, or writes into zeros, at indices that differ in one entry, which changes in equal steps."""

    op: Op
    base: Expr
    index: tuple[Any, ...]
    at: int
    start: int
    step: int

    @property
    def axis(self) -> int:
        """Where the axis along which they differ comes to lie, if they are read or written at once."""
        return sum(isinstance(e, ar.Slice) for e in self.index[: self.at])

    def index_of(self, entry: Any) -> tuple[Any, ...]:
        """The index with an entry in place."""
        return (*self.index[: self.at], entry, *self.index[self.at + 1 :])

    def holds(self, node: Expr, k: int) -> bool:
        """Whether a node is the k-th of them."""
        if node.op is not self.op or node.args[-1] is not self.base:
            return False
        index = self.index_of(self.start + k * self.step)
        return node.parts[0][1] == index or _entries(node) == index

    def slice(self, count: int) -> ar.Slice:
        """The entries of the first `count` of them."""
        stop: int | None = self.start + self.step * (count - 1) + (1 if self.step > 0 else -1)
        return ar.Slice(self.start, None if stop == -1 else stop, self.step)


def line(first: Expr, second: Expr) -> Line | None:
    """The line that begins with two nodes."""
    if first.op not in (ar.getitem, ar.embed) or first.op is not second.op or first.args[-1] is not second.args[-1]:
        return None
    a, b = _entries(first), _entries(second)
    if a is None or b is None or len(a) != len(b):
        return None
    differ = [k for k, pair in enumerate(zip(a, b, strict=True)) if pair[0] != pair[1]]
    if len(differ) != 1:
        return None
    (at,) = differ
    if not isinstance(a[at], int) or not isinstance(b[at], int):
        return None
    return Line(first.op, first.args[-1], (*a[:at], PENDING, *a[at + 1 :]), at, a[at], b[at] - a[at])


def _entries(node: Expr) -> tuple[Any, ...] | None:
    """The index with entries counted from the start; None where that is not known, or axes are added."""
    shape, index = node.args[-1].type.shape, node.params["index"]
    assert not isinstance(shape, Opaque)
    index = ar.full_index(index, len(shape))
    if None in index:
        return None
    found = []
    for size, entry in zip(shape, index, strict=True):
        if isinstance(entry, int) and entry < 0:
            if not isinstance(size, int):
                return None
            entry += size
        found.append(entry)
    return tuple(found)


def stacked(nodes: Sequence[Expr]) -> Expr | None:
    """The values along a first axis, read from few arrays; None where they come from too many places."""
    pieces: list[Expr] = []
    k = 0
    while k < len(nodes):
        if len(pieces) == PIECES:
            return None
        piece, count = _piece(nodes, k)
        pieces.append(piece)
        k += count
    return pieces[0] if len(pieces) == 1 else as_expr(ar.concatenate(*pieces, axis=0))


def _piece(nodes: Sequence[Expr], start: int) -> tuple[Expr, int]:
    """As many values as come from one array, from `start` on."""
    first, stop = nodes[start], start + 1
    if first.op is ar.constant and not first.type.shape:
        while stop < len(nodes) and nodes[stop].op is ar.constant:
            stop += 1
        values: Any = np.array([n.value for n in nodes[start:stop]], first.type.dtype)
        return as_expr(values), stop - start
    found = line(first, nodes[stop]) if stop < len(nodes) else None
    if found is None or found.op is not ar.getitem:
        return as_expr(ar.expand_dims(first, axis=(0,))), 1
    while stop < len(nodes) and found.holds(nodes[stop], stop - start):
        stop += 1
    return part_of(found, stop - start), stop - start


def part_of(found: Line, count: int) -> Expr:
    """The first values of a line as one array, along its first axis."""
    shape = found.base.type.shape
    assert not isinstance(shape, Opaque)
    part, entries = found.base, found.slice(count)
    rest = (*found.index[: found.at], *found.index[found.at + 1 :])
    if any(e != ar.ALL for e in rest) or entries != (0, shape[found.at], 1):
        part = as_expr(ar.getitem(part, index=found.index_of(entries)))
    if not found.axis:
        return part
    others = (a for a in range(part.type.ndim or 0) if a != found.axis)
    return as_expr(ar.transpose(part, axes=(found.axis, *others)))

"""Values that one place of a formula takes, repetition by repetition, as one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from symgraph.expr import Expr, as_expr
from symgraph.op import Op
from symgraph.ops import array as ar
from symgraph.types import Opaque, Shape

PIECES = 8
"""Arrays that are joined at most."""

PENDING = object()
"""Stands in an index for the entry that differs."""


def shape_of(node: Expr) -> Shape:
    """The shape of a typed node."""
    assert not isinstance(node.type.shape, Opaque)
    return node.type.shape


class Line(NamedTuple):
    """Reads from an array, or writes into zeros, at indices that differ in one entry, which changes in equal steps."""

    op: Op
    base: Expr
    entries: tuple[Any, ...]
    at: int
    start: int
    step: int

    @property
    def axis(self) -> int:
        """Where the axis along which they differ comes to lie, if they are read or written at once."""
        return sum(isinstance(e, ar.Slice) for e in self.entries[: self.at])

    def index_of(self, entry: Any) -> tuple[Any, ...]:
        """The index with an entry in place."""
        return (*self.entries[: self.at], entry, *self.entries[self.at + 1 :])

    def holds(self, node: Expr, k: int) -> bool:
        """Whether a node is the k-th of them."""
        return _access(node) == (self.op, self.base, self.index_of(self.start + k * self.step))

    def slice(self, count: int) -> ar.Slice:
        """The entries of the first `count` of them."""
        stop: int | None = self.start + self.step * (count - 1) + (1 if self.step > 0 else -1)
        return ar.Slice(self.start, None if stop == -1 else stop, self.step)

    def turned(self, count: int) -> Line:
        """The first `count` of them in the opposite order."""
        return self._replace(start=self.start + self.step * (count - 1), step=-self.step)


def line(first: Expr, second: Expr) -> Line | None:
    """The line that begins with two nodes."""
    a, b = _access(first), _access(second)
    if a is None or b is None or a[:2] != b[:2] or len(a[2]) != len(b[2]):
        return None
    op, base, index = a
    differ = [k for k, pair in enumerate(zip(index, b[2], strict=True)) if pair[0] != pair[1]]
    if len(differ) != 1:
        return None
    (at,) = differ
    start, following = index[at], b[2][at]
    if not isinstance(start, int) or not isinstance(following, int):
        return None
    return Line(op, base, (*index[:at], PENDING, *index[at + 1 :]), at, start, following - start)


def _access(node: Expr) -> tuple[Op, Expr, tuple[Any, ...]] | None:
    """What a node reads or writes, and the index with entries counted from the start; None where that is not known, or
    axes are added."""
    inner = node
    if node.op is ar.reshape and node.args[0].op is ar.getitem:  # x[k:k+1] without its axis
        (inner,) = node.args
    if inner.op is not ar.getitem and inner.op is not ar.embed:
        return None
    shape = shape_of(inner.args[-1])
    index = ar.full_index(inner.params["index"], len(shape))
    if None in index:
        return None
    found = [e + size if isinstance(e, int) and e < 0 else e for e, size in zip(index, shape, strict=True)]
    if inner is not node:
        single = {k: e.start for k, e in enumerate(found) if isinstance(e, ar.Slice) and _is_single(e)}
        if len(single) != 1 or len(shape_of(inner)) != len(shape_of(node)) + 1:
            return None
        found = [single.get(k, e) for k, e in enumerate(found)]
    return inner.op, inner.args[-1], tuple(found)


def index_of(node: Expr) -> tuple[Any, ...]:
    """The index at which a node reads or writes, counted from the start where that is known."""
    found = _access(node)
    return tuple(node.params["index"]) if found is None else found[2]


def _is_single(entry: ar.Slice) -> bool:
    return isinstance(entry.start, int) and isinstance(entry.stop, int) and 0 <= entry.start == entry.stop - 1


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
    shape = shape_of(found.base)
    part, entries = found.base, found.slice(count)
    rest = (*found.entries[: found.at], *found.entries[found.at + 1 :])
    if any(e != ar.ALL for e in rest) or entries != (0, shape[found.at], 1):
        part = as_expr(ar.getitem(part, index=found.index_of(entries)))
    if not found.axis:
        return part
    others = (a for a in range(part.type.ndim or 0) if a != found.axis)
    return as_expr(ar.transpose(part, axes=(found.axis, *others)))

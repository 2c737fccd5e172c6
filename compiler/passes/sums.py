"""Sums over rows that loops add up, as gradients of what all rows share are.

A sum over all rows in every round would let every round wait for all rows of the one before. Each row adds up its own
instead, and the rows are summed after the last round: then no row needs another while the loop runs.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compiler.passes.inside import fresh, name_of
from symgraph.expr import Expr, as_expr, rebuild, toposort
from symgraph.ops import array as ar, elementwise as ew, reduction as rd

if TYPE_CHECKING:
    from compiler.passes.loops import Loop

FEW = 64
"""Rows below which nothing is gained."""


@dataclass
class RowSums:
    """A state that adds up sums over rows, as a state of a sum for each row: first + the sum over its rows."""

    first: Expr
    rows: list[Expr]
    sum_: Expr  # what was added in a round: views of a sum
    inner: Expr

    def value(self, items: Sequence[Expr]) -> Expr:
        """What the state is in the end."""
        (own,) = items
        total = rd.sum(own, **self.inner.params)
        (added,) = rebuild([self.sum_], {self.inner: as_expr(total)})
        return as_expr(ew.add(self.first, added))


def row_sums(loop: Loop, wanted: Container[object]) -> dict[Expr | int | None, RowSums]:
    """The states that add up sums over rows, and are used for nothing else; the loop has states of sums of each row
    beside them."""
    found: dict[Expr | int | None, RowSums] = {}
    uses: dict[Expr, int] = {}
    for node in toposort(loop.outputs):
        for arg in node.args:
            uses[arg] = uses.get(arg, 0) + 1
    taken = {name_of(p) for p in loop.parameters}
    lengths = {length for p in loop.states for length in _rows(p)}
    for p, after in list(loop.after.items()):
        if p not in wanted or after.op is not ew.add or uses.get(p) != 1 or p not in after.args:
            continue
        (added,) = [a for a in after.args if a is not p] or [p]
        inner = _under_views(added)
        dtype = p.type.dtype
        if inner.op is not rd.sum or dtype is None or dtype.kind != "f":
            continue
        (summed,), axes = inner.args, inner.params["axis"]
        if 0 not in axes or not lengths & {*_rows(summed)} or summed.type.dtype != dtype:
            continue
        rest = tuple(a for a in axes if a != 0)
        row = as_expr(rd.sum(summed, axis=rest, keepdims=True)) if rest else summed
        own = fresh(row.type, "s", taken)
        zero = as_expr(dtype.type(0))
        loop.states[own] = as_expr(ar.broadcast_to(zero, shape=row.type.shape))
        loop.after[own] = as_expr(ew.add(own, row))
        found[p] = RowSums(loop.states[p], [own], added, inner)
    return found


def _rows(x: Expr) -> Iterator[object]:
    """How many rows an array has, if it may have many."""
    shape = x.type.shape
    if isinstance(shape, tuple) and shape and not (isinstance(shape[0], int) and shape[0] < FEW):
        yield shape[0]


def _under_views(node: Expr) -> Expr:
    while node.op.kind == "view":
        node = node.args[0]
    return node

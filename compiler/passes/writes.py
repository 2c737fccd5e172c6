"""Arrays written part by part, each part added to zeros, are written at once where the parts are rows of an array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compiler.graph import Graph
from compiler.passes.columns import Line, line, part_of
from compiler.passes.rewrite import with_args
from symgraph import origin
from symgraph.expr import Expr, as_expr
from symgraph.ops import array as ar, elementwise as ew

LEAST = 4
"""Parts that are joined."""


def join_writes(graph: Graph) -> list[Expr]:
    """embed(x[0], 0) + embed(x[1], 1) + ... -> embed(x, 0:n)"""
    uses: dict[Expr, int] = dict.fromkeys(graph.outputs, 2)  # a result stays
    for node in graph.order:
        for arg in node.args:
            uses[arg] = uses.get(arg, 0) + 1
    sums: dict[Expr, tuple[Expr | None, list[Expr]]] = {}
    taken: set[Expr] = set()
    for node in reversed(graph.order):
        if node.op is ew.add and node not in taken:
            first, parts, inner = _terms(node, uses)
            if len(parts) >= LEAST:
                sums[node] = first, parts
                taken.update(inner)
    if not sums:
        return list(graph.outputs)
    made: dict[Expr, Expr] = {}
    with origin.derived_from() as derived:
        for node in graph.order:
            if node in taken:
                continue
            derived.follow(node.marks)
            if node in sums:
                first, parts = sums[node]
                made[node] = _joined(None if first is None else made[first], parts, made)
            else:
                made[node] = with_args(node, tuple([made[a] for a in node.args]))
    return [made[o] for o in graph.outputs]


def _terms(top: Expr, uses: Mapping[Expr, int]) -> tuple[Expr | None, list[Expr], list[Expr]]:
    """A sum of parts as what it starts from, its parts in order, and the sums within."""
    parts: list[Expr] = []
    inner: list[Expr] = []
    node: Expr | None = top
    while node is not None and node.op is ew.add and (node is top or uses[node] == 1):
        left, right = node.args
        if _is_part(right, node):
            part, rest = right, left
        elif _is_part(left, node):
            part, rest = left, right
        else:
            break
        if node is not top:
            inner.append(node)
        parts.append(part)
        node = rest
    if node is not None and _is_part(node, top) and uses[node] == 1:
        parts.append(node)
        node = None
    return node, parts[::-1], inner


def _is_part(node: Expr, total: Expr) -> bool:
    return node.op is ar.embed and node.type is total.type and node.args[0].op is ar.getitem


def _joined(first: Expr | None, parts: Sequence[Expr], made: Mapping[Expr, Expr]) -> Expr:
    """The sum with parts that follow each other as one."""
    total, k = first, 0

    def add(term: Expr) -> None:
        nonlocal total
        total = term if total is None else as_expr(ew.add(total, term))

    while k < len(parts):
        count, whole = _together(parts, k)
        if count < LEAST or whole is None:
            with_new = with_args(parts[k], tuple(made[a] for a in parts[k].args))
            add(with_new)
            k += 1
            continue
        add(whole)
        # Where the parts were added up one by one, 0.0 was added to each element, which makes 0.0 of -0.0.
        add(as_expr(total.type.dtype.type(0)))  # type: ignore[union-attr]
        k += count
    assert total is not None
    return total


def _together(parts: Sequence[Expr], start: int) -> tuple[int, Expr | None]:
    """How many parts from here on are rows of one array, written into rows that follow each other; and all of them."""
    if start + 1 >= len(parts):
        return 1, None
    first = parts[start]
    into, out_of = line(first, parts[start + 1]), line(first.args[0], parts[start + 1].args[0])
    if into is None or out_of is None:
        return 1, None
    stop = start + 2
    while stop < len(parts):
        part = parts[stop]
        if not (into.holds(part, stop - start) and out_of.holds(part.args[0], stop - start)):
            break
        stop += 1
    count = stop - start
    if into.step < 0:
        into, out_of = _turned(into, count), _turned(out_of, count)
    values, axis = part_of(out_of, count), into.axis
    if axis:
        ndim = values.type.ndim or 0
        values = as_expr(ar.transpose(values, axes=(*range(1, axis + 1), 0, *range(axis + 1, ndim))))
    return count, as_expr(ar.embed(values, first.args[1], index=into.index_of(into.slice(count))))


def _turned(found: Line, count: int) -> Line:
    return found._replace(start=found.start + found.step * (count - 1), step=-found.step)

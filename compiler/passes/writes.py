"""Arrays written or joined part by part become one where the parts are elements of a few arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from compiler.graph import Graph
from compiler.passes.columns import Line, index_of, line, part_of, stacked
from compiler.passes.rewrite import Rewrite
from symgraph import origin
from symgraph.expr import Expr, as_expr, rebuild
from symgraph.ops import array as ar, elementwise as ew

LEAST = 4
"""Parts that are joined."""

Gather = Callable[[Sequence[Expr]], Sequence[Expr]]
"""Values as elements of an array, where they are computed alike."""


class Sum(NamedTuple):
    """Parts written into zeros and added up, in order, to what is there first."""

    first: Expr | None
    parts: list[Expr]


def join_parts(graph: Graph, gather: Gather, record: Callable[[Rewrite], None]) -> list[Expr]:
    """embed(x[0], 0) + embed(x[1], 1) + ... -> embed(x, 0:n); stack(x[0], x[1], ...) -> x"""
    if ar.embed not in graph.operations and ar.concatenate not in graph.operations:
        return list(graph.outputs)
    joins = {node for node in graph.order if _is_stack(node)}
    sums = _sums(graph)
    replace: dict[Expr, Expr] = {}
    for node in graph.order:
        if node not in sums and node not in joins:
            continue
        with origin.derived_from(node.marks):
            found = _written(sums[node], gather) if node in sums else stacked(gather([a.args[0] for a in node.args]))
        if found is not None and found.type is node.type:
            replace[node] = found
            record(Rewrite("parts of an array -> the array", node, found))
    return rebuild(graph.outputs, replace) if replace else list(graph.outputs)


def _is_stack(node: Expr) -> bool:
    if node.op is not ar.concatenate or node.params["axis"] != 0 or len(node.args) < LEAST:
        return False
    return all(a.op is ar.expand_dims and a.params["axis"] == (0,) for a in node.args)


def _sums(graph: Graph) -> dict[Expr, Sum]:
    """The sums of many parts, by the node that is the whole of them."""
    uses: dict[Expr, int] = dict.fromkeys(graph.outputs, 2)  # a result stays
    for node in graph.order:
        for arg in node.args:
            uses[arg] = uses.get(arg, 0) + 1
    found: dict[Expr, Sum] = {}
    within: set[Expr] = set()
    for node in reversed(graph.order):
        if node.op is ew.add and node not in within:
            terms = _terms(node, uses, within)
            if len(terms.parts) >= LEAST:
                found[node] = terms
    return found


def _terms(top: Expr, uses: Mapping[Expr, int], within: set[Expr]) -> Sum:
    parts: list[Expr] = []
    node: Expr | None = top
    while node is not None and node.op is ew.add and (node is top or uses[node] == 1):
        left, right = node.args
        if _is_part(right, node):
            part, rest = right, left
        elif _is_part(left, node):
            part, rest = left, right
        else:
            break
        within.add(node)
        parts.append(part)
        node = rest
    if node is not None and _is_part(node, top) and parts:
        parts.append(node)
        node = None
    return Sum(node, parts[::-1])


def _is_part(node: Expr, total: Expr) -> bool:
    return node.op is ar.embed and node.type is total.type


def _written(terms: Sum, gather: Gather) -> Expr | None:
    """The sum with parts that follow each other as one; None where there are none."""
    values = gather([part.args[0] for part in terms.parts])
    lines = _lines(terms.parts, values)
    if len(lines) > len(terms.parts) // LEAST:
        return None
    order = _order(lines, terms.first is None)
    if order is None:
        return None
    total = terms.first
    for written, read, _ in order:
        term = _at_once(written, read)
        total = term if total is None else as_expr(ew.add(total, term))
    assert total is not None
    # Where the parts were added up one by one, 0.0 was added to each element, which makes 0.0 of -0.0.
    return as_expr(ew.add(total, total.type.dtype.type(0)))  # type: ignore[union-attr]


class _Run(NamedTuple):
    """Parts that follow each other: where they are written, what they are, and their places in the sum."""

    written: list[Expr]
    read: list[Expr]
    places: list[int]


def _lines(parts: Sequence[Expr], values: Sequence[Expr]) -> list[_Run]:
    """The parts by what they are read from, each in as few runs as there are."""
    runs: list[_Run] = []
    latest: dict[Expr | None, tuple[_Run, Line | None, Line | None]] = {}
    for place, (part, value) in enumerate(zip(parts, values, strict=True)):
        source = value.args[0] if value.op is ar.getitem else None
        run, into, out_of = latest.get(source, (None, None, None))
        if run is not None and source is not None:
            count = len(run.places)
            if count == 1:
                into, out_of = line(run.written[0], part), line(run.read[0], value)
            if into is not None and out_of is not None and into.holds(part, count) and out_of.holds(value, count):
                run.written.append(part)
                run.read.append(value)
                run.places.append(place)
                latest[source] = run, into, out_of
                continue
        fresh = _Run([part], [value], [place])
        runs.append(fresh)
        latest[source] = fresh, None, None
    return runs


def _order(runs: Sequence[_Run], swap: bool) -> list[_Run] | None:
    """The runs in an order in which each element is added up as before; where the sum starts with them, the first two
    terms of an element may change places. None where there is no such order.
    """
    terms: dict[tuple[Any, ...], list[tuple[int, int]]] = {}
    for number, run in enumerate(runs):
        for part, place in zip(run.written, run.places, strict=True):
            terms.setdefault(index_of(part), []).append((place, number))
    after: dict[int, set[int]] = {number: set() for number in range(len(runs))}
    if len({tuple(e == ar.ALL or type(e) for e in index) for index in terms}) > 1 or any(
        isinstance(e, ar.Slice) and e != ar.ALL for index in terms for e in index
    ):
        for number in range(1, len(runs)):  # parts may overlap in any way: nothing changes places
            if runs[number - 1].places[-1] > runs[number].places[0]:
                return None
            after[number].add(number - 1)
    for some in terms.values():
        numbers = [number for _, number in sorted(some)]
        for k in range(1, len(numbers)):
            if not (swap and k == 1):
                after[numbers[k]].update(numbers[:k])
    try:
        return [runs[number] for number in TopologicalSorter(after).static_order()]
    except CycleError:
        return None


def _at_once(written: Sequence[Expr], read: Sequence[Expr]) -> Expr:
    """Parts of a run as one write."""
    count = len(written)
    first = written[0]
    if count == 1:
        return as_expr(ar.embed(read[0], first.args[1], **first.params))
    into, out_of = line(*written[:2]), line(*read[:2])
    assert into is not None and out_of is not None
    if into.step < 0:
        into, out_of = into.turned(count), out_of.turned(count)
    values = part_of(out_of, count)
    if into.axis:
        ndim = values.type.ndim or 0
        values = as_expr(ar.transpose(values, axes=(*range(1, into.axis + 1), 0, *range(into.axis + 1, ndim))))
    return as_expr(ar.embed(values, first.args[1], index=into.index_of(into.slice(count))))

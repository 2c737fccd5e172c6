"""Equal steps become a loop: what Python's own `for` has unrolled is found again, and rolled back.

A long path of values that depend on each other is followed through the graph, and the places are found where it repeats
itself: its anchors, one for each step. A value belongs to the step of the last anchor that it depends on, so what
steps pass on to each other, add up, or compute beside the path is found with them. Steps of equal structure are one
body; what they take from outside is the same for all, or an array of which each takes an element; what is used of them
elsewhere is gathered. The gradient of such a formula is a path of the same kind, which takes what the first loop has
gathered.

Numbers are rolled wherever that is long. Arrays are rolled where a step ends in memory in any case, as a product or a
reduction does. Elementwise steps on arrays could stay in one loop nest, in which nothing is stored between them: they
are rolled where they compute much for each array that a loop stores.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from compiler.costs import own_cost
from compiler.graph import Graph
from compiler.passes.columns import line, shape_of, stacked
from compiler.passes.periods import Stretch, stretches
from compiler.passes.rewrite import Rewrite
from compiler.passes.steps import KINDS, Each, Earlier, Fixed, Member, Steps, Tokens, find_map, find_steps, is_number
from compiler.passes.writes import join_parts
from symgraph import origin
from symgraph.expr import Body, Expr, as_expr, bound, build, intern
from symgraph.op import Op, loop_dtypes
from symgraph.ops import array as ar, control as ct, elementwise as ew
from symgraph.types import ArrayType

LEAST_STEPS, LEAST_NODES = 32, 1000
"""How many steps, and how many operations on numbers in all of them, are worth a loop: fewer compile quickly as they
are. Where there is one, others that take what it gathers may be shorter."""

LEAST_PERIODS = LEAST_STEPS + 2
"""How often a path must repeat itself for that: its first step and its last stay as they are."""

BEFORE_GRADIENTS = 100
"""How many operations are worth a loop that is to be differentiated: its gradient would be two or three times as
many."""

LEAST_GRAPH = 64
"""Nodes of a graph that is looked through."""

IN_MEMORY = ("contraction", "reduction", "gather", "scatter", "control")
"""What a step on arrays must hold to be rolled: kinds whose results, or operands, lie in memory."""

PLAIN = ("elementwise", "source")
"""Kinds of which loops must have many nodes to be worth it."""

LEAST_WORK = 250
"""How many additions for an element, in all steps, are worth a loop over arrays: the code of fewer is short."""

HANDED, KEPT = 4, 16
"""Additions that take as long as handing an element on from round to round, and as keeping it in memory for later."""

MOST_AT_ONCE = 8
"""How many elementwise steps on arrays one round may hold, to compute enough for what it stores."""

ATTEMPTS = 4
"""Paths that are tried where nothing on the longest can be rolled."""

MULTIPLES = (1, 2, 3)
"""How many periods are taken for one step."""

EFFORT = 24
"""How often nodes are looked at, on average: more loops than this leaves time for stay as they are."""

State = tuple[Member, int]
"""A value that is handed on: what a member was so many steps ago."""


def roll_before_gradients(graph: Graph, record: Callable[[Rewrite], None]) -> list[Expr]:
    """x1 = f(x0), x2 = f(x1), ... -> a loop, where gradients of it are wanted"""
    return roll(graph, record, BEFORE_GRADIENTS, taped=True)


def roll(
    graph: Graph, record: Callable[[Rewrite], None], worth: int = LEAST_NODES, *, taped: bool = False
) -> list[Expr]:
    """x1 = f(x0), x2 = f(x1), ... -> a loop; `worth` is how many operations on numbers are worth one, and `taped`
    whether its gradient will keep its states"""
    if ct.switch in graph.operations:
        return list(graph.outputs)  # what only one branch needs must stay in it: branches come first
    if len(graph.order) < worth and all(op.kind in PLAIN and not kind.shape for op, kind in graph.values):
        return list(graph.outputs)  # no loop that it may hold is long enough
    tokens, before = Tokens(), graph
    budget = EFFORT * len(graph.order)
    for arrays in (False, True):  # elementwise steps on arrays come last: they may be part of others
        failed: set[Expr] = set()
        attempts = 1 if arrays else ATTEMPTS
        while len(graph.order) >= LEAST_GRAPH and budget > 0 and attempts > 0:
            path = _longest_path(graph, failed, arrays)
            if not path:
                break
            rolling = _Rolling(graph, worth if graph is before else 0, taped, record)
            budget -= len(graph.order)
            for stretch in stretches([tokens.of_edge(*edge) for edge in path], LEAST_PERIODS):
                for times in MULTIPLES:  # two steps may look alike from the path, and differ beside it
                    several = stretch.joined(times)
                    if budget > 0 and several.times >= LEAST_PERIODS:
                        budget -= len(graph.order)
                        if rolling.along([node for node, _ in path], several, tokens):
                            break
            if rolling.gone:
                graph = Graph(rolling.made(graph.outputs))
            else:
                failed.update(node for node, _ in path)
                attempts -= 1
    if len(before.order) < LEAST_GRAPH:
        return list(graph.outputs)
    least = worth if graph is before else LEAST_STEPS

    def gather(column: Sequence[Expr]) -> list[Expr]:
        return _gathered(graph, column, tokens, least, record)

    after = join_parts(graph, gather, record)
    # Where most nodes are as they were, what loops gather would be read one by one.
    return after if 2 * len(Graph(after).order) <= len(before.order) else list(before.outputs)


def _longest_path(graph: Graph, failed: Collection[Expr], arrays: bool) -> list[tuple[Expr, int]]:
    """The longest path through nodes that are no arrays, or are stored, or else `arrays` too; each with the argument
    that it goes by."""
    counts = {(op, kind) for op, kind in graph.values if _counts(op, kind, arrays)}
    if not counts:
        return []
    depth: dict[Expr, int] = {}
    by: dict[Expr, int] = {}
    last, most = graph.order[0], -1
    for node in graph.order:
        if not node.args:
            depth[node] = -1
            continue
        deepest = at = -1
        for number, arg in enumerate(node.args):
            if depth[arg] > deepest:
                deepest, at = depth[arg], number
        by[node] = at
        if (node.op, node.type) in counts:
            deepest += node not in failed
        depth[node] = deepest
        if deepest > most:
            last, most = node, deepest
    path = []
    while last.args:
        path.append((last, by[last]))
        last = last.args[by[last]]
    return path[::-1]


def _counts(op: Op, kind: ArrayType, arrays: bool) -> bool:
    """Whether a step may be made of what an operation gives."""
    if op.kind in IN_MEMORY:
        return op is not ar.embed
    return (kind.shape == () and op.kind in ("elementwise", "part")) or (arrays and op.kind == "elementwise")


class _Rolling:
    """Loops along one path, in place of its steps; `worth` is how many operations on numbers the first must have."""

    def __init__(self, graph: Graph, worth: int, taped: bool, record: Callable[[Rewrite], None]) -> None:
        self.graph, self.worth, self.taped, self.record = graph, worth, taped, record
        self.now: dict[Expr, Expr] = {}
        self.gone: set[Expr] = set()

    def along(self, path: Sequence[Expr], stretch: Stretch, tokens: Tokens) -> bool:
        """Roll the steps along a stretch of the path, if they are worth a loop; returns whether there are any."""
        one = path[stretch.start : stretch.start + stretch.period]
        numbers = all(map(is_number, one))
        steps = self._steps(path, stretch, tokens, numbers)
        if steps is None:
            return False
        if numbers:
            if not self.gone and steps.rounds * len(steps.members) < self.worth:
                return False
        elif not any(node.op.kind in IN_MEMORY for node in one):
            times = _steps_at_once(steps, self.taped)
            if times is None:
                return True
            if times > 1:
                steps = self._steps(path, stretch.joined(times), tokens, numbers)
        if steps is not None:
            self._replace(steps)
        return True

    def _steps(self, path: Sequence[Expr], stretch: Stretch, tokens: Tokens, numbers: bool) -> Steps | None:
        start, period, count = stretch
        anchors = path[start : start + period * count : period]
        steps = find_steps(self.graph, anchors, tokens, numbers, self.now, self.gone)
        return None if steps is None or steps.rounds < LEAST_STEPS else steps

    def made(self, nodes: Sequence[Expr]) -> list[Expr]:
        """Nodes as they are with loops in place."""
        now, stack = self.now, list(nodes)
        with origin.derived_from() as derived:
            while stack:
                node = stack[-1]
                if node in now:
                    stack.pop()
                    continue
                missing = [a for a in node.args if a not in now]
                if missing:
                    stack.extend(missing)
                    continue
                derived.follow(node.marks)
                now[node] = applied(node, [now[a] for a in node.args])
                stack.pop()
        return [now[node] for node in nodes]

    def _replace(self, steps: Steps) -> None:
        lag, count = steps.lag, steps.count
        sample = steps.members[0].nodes[lag]
        self.gone.update(node for member in steps.members if member.own for node in member.nodes[lag:])
        with origin.derived_from(sample.marks):
            whole, states, rows, reverse = _loop(steps, self.made, self.record)
        place = {state: k for k, state in enumerate(states)}
        for member, used in steps.used.items():
            nodes, row = member.nodes, None
            for step in used:
                with origin.derived_from(nodes[step].marks):
                    held = place.get((member, count - step))
                    if held is not None:
                        self.now[nodes[step]] = as_expr(ct.item(whole, index=held))
                        continue
                    if row is None:
                        row = as_expr(ct.item(whole, index=len(states) + rows.index(member)))
                        rest = (ar.ALL,) * len(shape_of(nodes[step]))
                    at = count - 1 - step if reverse else step - lag
                    kind = ct.part_of(row.type)
                    self.now[nodes[step]] = intern(ar.getitem, (row,), (("index", (at, *rest)),), kind)
        self.record(Rewrite(f"x{steps.rounds} steps -> one loop", sample, whole))


def _steps_at_once(steps: Steps, taped: bool) -> int | None:
    """How many elementwise steps on arrays a round must hold, to compute enough for what it stores; None where that are
    too many, or all together are not worth a loop."""
    states = _states(steps)
    handed = {member for member, _ in states}
    kept = _arrays(_rows(steps, states))
    costs = [own_cost(m.nodes[-1]) for m in steps.members if m.nodes[-1].op.kind == "elementwise"]
    work = sum(cost for cost in costs if math.isfinite(cost))
    if work * steps.rounds < LEAST_WORK:
        return None
    # What is kept of every step is kept as often as there are steps, states once a round.
    stored = (HANDED + KEPT * taped) * _arrays(handed)
    free = work - KEPT * kept
    if free * MOST_AT_ONCE < stored:
        return None
    return max(1, math.ceil(stored / free))


def _arrays(members: Collection[Member]) -> int:
    return sum(not is_number(member.nodes[-1]) for member in members)


def _gathered(
    graph: Graph, column: Sequence[Expr], tokens: Tokens, least: int, record: Callable[[Rewrite], None]
) -> list[Expr]:
    """Values, of which as many as follow each other and are computed alike are elements of what a loop gathers."""
    kinds = [tokens[node] for node in column]
    edges = [0, *(k for k in range(1, len(kinds)) if kinds[k] != kinds[k - 1]), len(kinds)]
    low, high = max(itertools.pairwise(edges), key=lambda pair: pair[1] - pair[0])
    some = column[low:high]
    if len(some) < LEAST_STEPS or len(set(some)) < len(some) or not some[0].args or some[0].op.kind not in KINDS:
        return list(column)
    if some[0].op.kind in ("view", "part"):
        return list(column)
    steps = find_map(graph, some, tokens)
    if steps is None or steps.rounds < LEAST_STEPS or steps.rounds * len(steps.members) < least:
        return list(column)
    with origin.derived_from(some[0].marks):
        whole, _, (root,), reverse = _loop(steps, list, record)
        row = as_expr(ct.item(whole, index=0))
        elements = [as_expr(ar.getitem(row, index=(k,))) for k in range(steps.rounds)]
    record(Rewrite(f"x{steps.rounds} values -> one loop", some[0], whole))
    now = dict(zip(root.nodes, elements[::-1] if reverse else elements, strict=True))
    return [now.get(node, node) for node in column]


# -- the loop ----------------------------------------------------------------------------------------------------------


def _loop(
    steps: Steps, made: Callable[[Sequence[Expr]], list[Expr]], record: Callable[[Rewrite], None]
) -> tuple[Expr, list[State], list[Member], bool]:
    """The loop; which states it has, what it gathers, and whether it runs backwards."""
    lag = steps.lag
    states = list(_states(steps))
    rows = _rows(steps, states)
    sources = [source for member in steps.members for source in member.sources]
    over = list(dict.fromkeys(source.nodes[lag:] for source in sources if isinstance(source, Each)))
    outside = list(dict.fromkeys(s.node for s in sources if isinstance(s, Fixed) and not _is_literal(s.node)))
    fixed = dict(zip(outside, made(outside), strict=True))
    columns = [made(column) for column in over]
    lines = [line(*column[:2]) for column in columns]
    reverse = 2 * sum(at is not None and at.step < 0 for at in lines) > len(lines)
    xs = [stacked(column[::-1] if reverse else column) for column in columns]
    kinds = [member.nodes[lag].type for member, _ in states]
    while True:
        at = bound("i", ct.INDEX)
        firsts = {state: bound(f"s{k}", kind) for k, (state, kind) in enumerate(zip(states, kinds, strict=True))}
        parts = {c: bound(f"x{k}", ct.part_of(as_expr(x).type)) for k, (c, x) in enumerate(zip(over, xs, strict=True))}
        given = {
            node: bound(f"c{k}", now.type) for k, (node, now) in enumerate(zip(outside, made(outside), strict=True))
        }
        values = _round(steps, firsts, parts, given)
        after = [values[m] if back == 1 else firsts[m, back - 1] for m, back in states]
        grown = [value.type for value in after]
        if grown == kinds:
            break
        kinds = grown  # what was a Python number is an element of an array in a loop
    outputs = roll(Graph([*after, *(values[m] for m in rows)]), record)
    whole = ct.loop(
        *made([m.nodes[lag - back] for m, back in states]),
        *xs,
        *fixed.values(),
        trips=ct.SIZED,
        length=steps.rounds,
        states=len(states),
        xs=len(xs),
        body=Body([at, *firsts.values(), *parts.values(), *given.values()], outputs),
        cond=None,
        reverse=reverse,
        limit=None,
        checkpoint="all",
    )
    return whole, states, rows, reverse


def _states(steps: Steps) -> dict[State, None]:
    """What a step takes from earlier ones, and what is used of the last step alone."""
    states: dict[State, None] = {}
    for member in steps.members:
        for source in member.sources:
            if isinstance(source, Earlier):
                states.update(dict.fromkeys((source.member, back + 1) for back in range(source.lag)))
    for member, used in steps.used.items():
        if used == {steps.count - 1}:
            states[member, 1] = None
    return states


def _rows(steps: Steps, states: Collection[State]) -> list[Member]:
    """What is gathered: what is used of steps, and is no state in the end."""
    held = set(states)
    return [m for m, used in steps.used.items() if any((m, steps.count - step) not in held for step in used)]


def _round(
    steps: Steps,
    firsts: Mapping[State, Expr],
    parts: Mapping[tuple[Expr, ...], Expr],
    given: Mapping[Expr, Expr],
) -> dict[Member, Expr]:
    """The values of a step, from the parameters of the body."""
    values: dict[Member, Expr] = {}
    with origin.derived_from() as derived:
        for member in steps.members:
            node, args = member.nodes[steps.lag], []
            for source in member.sources:
                if isinstance(source, Earlier):
                    args.append(firsts[source.member, source.lag] if source.lag else values[source.member])
                elif isinstance(source, Each):
                    args.append(parts[source.nodes[steps.lag :]])
                else:
                    args.append(given.get(source.node, source.node))
            derived.follow(node.marks)
            values[member] = applied(node, args)
    return values


def _is_literal(node: Expr) -> bool:
    return node.op is ar.constant and not node.type.shape


def applied(node: Expr, args: Sequence[Expr]) -> Expr:
    """The node's operation on other arguments, which may be strong where they were weak; what it gives is not changed
    by that."""
    if tuple(args) == node.args:
        return node
    fitted = list(args)
    if node.op.kind == "elementwise" and not node.type.weak:
        for number, (now, before) in enumerate(zip(args, node.args, strict=True)):
            if before.type.weak and not now.type.weak:
                fitted[number] = _cast(now, _dtype_within(node, number))
    return build(node.op, fitted, node.params)


def _dtype_within(node: Expr, number: int) -> Any:
    """The dtype in which an operation takes an argument."""
    types: list[ArrayType] = [a.type for a in node.args]
    if node.op.ufunc is None:
        return node.type.dtype
    return loop_dtypes(node.op.ufunc, tuple((t.dtype, t.weak) for t in types))[number]


def _cast(x: Expr, dtype: Any) -> Expr:
    return x if x.type.dtype == dtype else as_expr(ew.cast(x, dtype=dtype.str))

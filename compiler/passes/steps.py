"""Steps of equal structure along a path: which values belong to them, and what they take from where."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from compiler.graph import Graph
from compiler.passes.columns import stacked
from symgraph.expr import Expr
from symgraph.op import exact
from symgraph.ops import control as ct, elementwise as ew
from symgraph.types import TupleType

KINDS = ("elementwise", "view", "reduction", "contraction", "gather", "scatter", "control", "part")
"""What a step may be made of: whatever is computed from arguments."""

LAGS = 4
"""How many steps back a step may look."""

PRODUCTS = frozenset({"mul", "square", "pow", "div", "neg"})
TAKERS = frozenset({"add", "sub", "neg"})
"""What becomes a fused multiply-add with an addition that nothing else shares it with: the two stay together."""

RETRIES = 4
"""How often better anchors are tried."""

NEARLY = 0.9
"""The share of the steps that have a value, if it is to belong to all of them."""


class Earlier(NamedTuple):
    """What a member was some steps ago, or is in this one."""

    member: Member
    lag: int


class Fixed(NamedTuple):
    """The same value for all steps."""

    node: Expr


class Each(NamedTuple):
    """An element of an array for each step; the columns of equal values are one object."""

    nodes: tuple[Expr, ...]


Source = Earlier | Fixed | Each


@dataclass(eq=False)
class Member:
    """A value of every step: its nodes, step by step, and where each argument comes from.

    What does not depend on earlier steps is computed in the loop for the loop alone (`own` is False): who uses it
    elsewhere may come before the loop.
    """

    nodes: list[Expr]
    own: bool
    sources: list[Source] = field(default_factory=list)


@dataclass(eq=False)
class Steps:
    """Equal steps. The first `lag` of them stay as they are: they hold the values that the loop starts from.

    Attributes:
        members: what a step computes, arguments before users.
        count: how many steps there are.
        lag: how many steps back a step looks, at most.
        used: for each member the steps whose value is used outside of the loop.
    """

    members: list[Member]
    count: int
    lag: int
    used: dict[Member, set[int]]

    @property
    def rounds(self) -> int:
        """How many of them the loop runs."""
        return self.count - self.lag


class Again(Exception):  # noqa: N818  (no error: the search goes on from here)
    """These are better anchors: what was taken for a side value goes on from step to step itself, or some steps at the
    ends are not like the others."""

    def __init__(self, anchors: list[Expr]) -> None:
        self.anchors = anchors


class Tokens(dict[Expr, int]):
    """Numbers for what makes two nodes the same operation, whatever it is applied to."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers: dict[Any, int] = {}

    def __missing__(self, node: Expr) -> int:
        parts = node.parts
        token = self[node] = self.number((node.op, node.type, parts, exact(parts)) if parts else (node.op, node.type))
        return token

    def of_edge(self, node: Expr, argument: int) -> int:
        """The number of a node's operation, reached by one of its arguments, and of what the others are."""
        args = node.args
        if len(args) == 1:
            return self[node]
        if len(args) == 2 and argument >= 0:
            other = args[1 - argument]
            return self.number((self[node], argument, other.op, other.type, other.name))
        others = [(a.op, a.type, a.name) for k, a in enumerate(args) if k != argument]
        return self.number((self[node], argument, *others))

    def number(self, thing: Any) -> int:
        """The number of anything."""
        return self._numbers.setdefault(thing, len(self._numbers))


def is_number(node: Expr) -> bool:
    """Whether a node is a single value, computed from such."""
    return node.type.shape == () and node.op.kind in ("elementwise", "control", "part")


def find_steps(
    graph: Graph,
    anchors: Sequence[Expr],
    tokens: Tokens,
    numbers: bool,
    now: Mapping[Expr, Expr],
    gone: Collection[Expr],
) -> Steps | None:
    """The steps that begin at each of the anchors, or as many of them as are equal; None where there are none.

    Args:
        graph: the graph.
        anchors: nodes that each depend on the one before.
        tokens: of the nodes.
        numbers: take no arrays into the steps.
        now: what nodes have become that other loops compute.
        gone: nodes that are in other loops.
    """
    return _searched(anchors, lambda some: _Search(graph, some, tokens, numbers, now, gone).run())


def find_map(graph: Graph, column: Sequence[Expr], tokens: Tokens) -> Steps | None:
    """Values that are computed alike, each for itself, as steps that look at no other; None where they are not that."""
    numbers = is_number(column[0])
    return _searched(column, lambda some: _Search(graph, some, tokens, numbers, {}, ()).run_apart())


def _searched(anchors: Sequence[Expr], search: Callable[[Sequence[Expr]], Steps | None]) -> Steps | None:
    for _ in range(RETRIES):
        try:
            return search(anchors)
        except Again as better:
            anchors = better.anchors
    return None


class _Search:
    def __init__(
        self,
        graph: Graph,
        anchors: Sequence[Expr],
        tokens: Tokens,
        numbers: bool,
        now: Mapping[Expr, Expr],
        gone: Collection[Expr],
    ) -> None:
        self.graph, self.anchors, self.tokens, self.numbers = graph, anchors, tokens, numbers
        self.now, self.gone = now, gone
        self.step_of = _numbered(graph.order, anchors)
        self.where: dict[Expr, tuple[Member, int]] = {}
        self.members: dict[Member, None] = {}
        self.low, self.high = 0, 0
        self.first = 1  # the first step that is looked at: one at least stays as it is

    def run(self) -> Steps | None:
        """The steps."""
        columns = self._columns()
        self.low, self.high = _common(columns, len(self.anchors) - 1)
        if self.high - self.low < 2:
            return None
        for column in columns:
            by_step = dict(column)  # the graph's order may go through the steps backwards
            self._enter(Member([by_step[step] for step in range(self.low, self.high)], own=True))
        anchor = self.where.get(self.anchors[self.low])
        self._classify()
        if anchor is None or anchor[0] not in self.members:
            return None
        self._keep_together()
        lag = max((s.lag for m in self.members for s in m.sources if isinstance(s, Earlier)), default=0)
        lag = max(lag, 1)
        used = self._used(lag)
        members = self._live(used)
        if anchor[0] not in members or any(isinstance(m.nodes[0].type, TupleType) for m in used):
            return None
        members = self._sorted(members, lag)
        return Steps(members, self.high - self.low, lag, used)

    def run_apart(self) -> Steps | None:
        """The steps that the anchors are the values of."""
        self.low, self.high, self.first = 0, len(self.anchors), 0
        whole = Member(list(self.anchors), own=True)
        self._enter(whole)
        self._classify()
        if whole not in self.members or any(isinstance(s, Earlier) and s.lag for m in self.members for s in m.sources):
            return None
        used = {whole: set(range(self.high))}
        return Steps(self._sorted(self._live(used), 0), self.high, 0, used)

    def _sorted(self, members: Sequence[Member], lag: int) -> list[Member]:
        samples = {m.nodes[lag]: m for m in members}
        return [samples[node] for node in self.graph.order if node in samples]

    def _enter(self, member: Member) -> None:
        self.members[member] = None
        for k, node in enumerate(member.nodes):
            self.where[node] = member, k

    # values of equal structure

    def _columns(self) -> list[list[tuple[int, Expr]]]:
        """The values that nearly all steps have, with their steps."""
        last, step_of = len(self.anchors) - 1, self.step_of
        tokens = self.tokens
        fits: dict[int, bool] = {}
        form_of: dict[Expr, int] = {}
        counts: dict[tuple[int, int], int] = {}
        columns: dict[tuple[int, int], list[tuple[int, Expr]]] = {}
        for node in self.graph.order:
            step = step_of.get(node)
            if step is None or step >= last:
                continue
            token = tokens[node]
            if token not in fits:
                fits[token] = self._fits(node)
            if not fits[token]:
                continue
            parts: list[Any] = [token]
            for arg in node.args:
                at = step_of.get(arg)
                if at is None:
                    parts.append(arg.type)
                elif at == step and arg in form_of:
                    parts.append(form_of[arg])
                elif 0 < step - at <= LAGS:
                    parts.append((step - at, tokens[arg]))
                else:
                    break
            else:
                form = form_of[node] = tokens.number(tuple(parts))
                number = counts[step, form] = counts.get((step, form), -1) + 1
                columns.setdefault((form, number), []).append((step, node))
        return [column for column in columns.values() if len(column) >= NEARLY * last]

    def _fits(self, node: Expr) -> bool:
        if self.numbers:
            return is_number(node)
        return node.op.kind in KINDS and bool(node.args) and not _of_unknown_length(node)

    # where arguments come from

    def _classify(self) -> None:
        users: dict[Member, list[Member]] = {}
        bad: list[Member] = []
        waiting = list(self.members)
        while waiting:
            member = waiting.pop()
            for number in range(len(member.nodes[0].args)):
                source = self._source([node.args[number] for node in member.nodes], waiting)
                if source is None:
                    bad.append(member)
                    break
                member.sources.append(source)
                if isinstance(source, Earlier):
                    if source.lag and not (member.own or source.member.own):
                        raise Again(source.member.nodes)
                    users.setdefault(source.member, []).append(member)
        while bad:
            member = bad.pop()
            if member in self.members:
                del self.members[member]
                bad.extend(users.get(member, ()))

    def _source(self, column: list[Expr], waiting: list[Member]) -> Source | None:
        last = len(column) - 1
        found = self.where.get(column[last])
        if found is not None:
            member, at = found
            lag = last - at
            if 0 <= lag <= LAGS and column[lag:] == member.nodes[: len(column) - lag]:
                return Earlier(member, lag)
            return None
        for node in column[self.first :]:
            if self.low <= self.step_of.get(node, -1) < self.high:
                return None
        first = column[self.first]
        if all(node is first for node in column[self.first + 1 :]):
            return Fixed(first)
        if any(node.type is not first.type for node in column[self.first + 1 :]):
            return None
        each = Each(tuple(column))
        if stacked([self.now.get(node, node) for node in column[self.first :]]) is not None:
            return each
        first = column[len(column) // 2]
        kind = self.tokens[first]
        if not first.args or not self._fits(first):
            return None
        differ = [k for k, node in enumerate(column) if self.tokens[node] != kind]
        if differ:
            edges = [-1, *differ, len(column)]
            low, high = max(itertools.pairwise(edges), key=lambda pair: pair[1] - pair[0])
            start, stop = self.low + low + 1, self.low + high + self.first
            if 2 * (stop - start) < len(column):
                return None
            raise Again(list(self.anchors[start:stop]))
        if len(set(column)) < len(column) or any(node in self.where or node in self.gone for node in column):
            return None
        member = Member(column, own=False)
        self._enter(member)
        waiting.append(member)
        return Earlier(member, 0)

    # what becomes one with its only use

    def _keep_together(self) -> None:
        """Products that are only added to something: in the step where they are added, or not here if that is not."""
        changed = True
        while changed:
            changed = False
            samples = {m.nodes[-2]: m for m in self.members if m.own and _is_product(m.nodes[-2])}
            if not samples:
                return
            takers = self._users(samples)
            users: dict[Member, list[tuple[Member, int]]] = {}
            for user in self.members:
                for number, source in enumerate(user.sources):
                    if isinstance(source, Earlier):
                        users.setdefault(source.member, []).append((user, number))
            for node, member in samples.items():
                if len(takers[node]) != 1 or takers[node][0].op.name not in TAKERS:
                    continue
                inner = users.get(member, [])
                if not inner:
                    del self.members[member]
                    changed = True
                elif len(inner) == 1:
                    user, number = inner[0]
                    source = user.sources[number]
                    assert isinstance(source, Earlier)
                    if source.lag:
                        self._delay(member, source.lag)
                        user.sources[number] = Earlier(member, 0)
                        changed = True

    def _delay(self, member: Member, lag: int) -> None:
        """Compute a member that many steps later, from what is older then."""
        count = len(member.nodes)
        member.nodes = [member.nodes[0]] * lag + member.nodes[: count - lag]
        for number, source in enumerate(member.sources):
            if isinstance(source, Earlier):
                member.sources[number] = Earlier(source.member, source.lag + lag)
            elif isinstance(source, Each):
                column = source.nodes
                member.sources[number] = Each((column[0],) * lag + column[: count - lag])
        for k, node in enumerate(member.nodes[lag:], lag):
            self.where[node] = member, k

    def _users(self, nodes: Iterable[Expr]) -> dict[Expr, list[Expr]]:
        """For each of some nodes those that it is an argument of, as often as it is; results are used twice."""
        users: dict[Expr, list[Expr]] = {node: [] for node in nodes}
        for output in self.graph.outputs:
            if output in users:
                users[output] += (output, output)
        for node in self.graph.order:
            for arg in node.args:
                if arg in users:
                    users[arg].append(node)
        return users

    # what is needed

    def _used(self, lag: int) -> dict[Member, set[int]]:
        inside = {node for member in self.members if member.own for node in member.nodes[lag:]}
        used: dict[Member, set[int]] = {}

        def use(node: Expr) -> None:
            if node in inside:
                member, step = self.where[node]
                used.setdefault(member, set()).add(step)

        for node in self.graph.order:
            if node not in inside:
                for arg in node.args:
                    use(arg)
        for output in self.graph.outputs:
            use(output)
        return used

    def _live(self, used: Iterable[Member]) -> list[Member]:
        live, waiting = dict.fromkeys(used), list(used)
        while waiting:
            for source in waiting.pop().sources:
                if isinstance(source, Earlier) and source.member not in live:
                    live[source.member] = None
                    waiting.append(source.member)
        return list(live)


def _numbered(order: Sequence[Expr], anchors: Sequence[Expr]) -> dict[Expr, int]:
    """The last anchor that each node depends on, by its number."""
    step_of: dict[Expr, int] = {}
    numbers = {node: k for k, node in enumerate(anchors)}
    for node in order:
        step = numbers.get(node, -1)
        for arg in node.args:
            at = step_of.get(arg, -1)
            if at > step:
                step = at
        if step >= 0:
            step_of[node] = step
    return step_of


def _common(columns: Sequence[Sequence[tuple[int, Expr]]], count: int) -> tuple[int, int]:
    """The longest range of steps that have a value in every column."""
    missing: set[int] = set()
    for column in columns:
        if len(column) < count:
            missing.update(set(range(count)).difference(step for step, _ in column))
    edges = [-1, *sorted(missing), count]
    low, high = max(itertools.pairwise(edges), key=lambda pair: pair[1] - pair[0])
    return low + 1, high


def _is_product(node: Expr) -> bool:
    twice = node.op is ew.add and node.args[0] is node.args[1]  # 2 * x
    return twice or node.op.name in PRODUCTS


def _of_unknown_length(node: Expr) -> bool:
    shape: Any = node.type.shape
    return any(size == ct.RUN for size in shape)

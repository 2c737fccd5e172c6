"""What is repeated is drawn once: runs of equal blocks, as unrolled loops leave them, found and folded.

Operations are taken in their order as a sequence. A run of period p is a stretch in which each operation is like the
one p places before: of the same name and types, with arguments from the same place in its block or in the block before,
or from outside of the run. What the first block takes from outside where the others take it from the block
before is where the loop starts. Blocks that hold runs are found once those are folded.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from symgraph.view import Edge, Group, Node, Output, View

WORTH = 6
"""How many nodes a fold must save; a node that stands for several counts as three."""

PERIODS = 8
"""How many periods are tried at a place: the distances to the next operations of the same form."""

LONGEST = 2000
"""The longest period that is looked for."""

ROTATIONS = 64
"""How many starts of a run are tried for the one with the fewest values carried from block to block."""


class Run(NamedTuple):
    """Equal blocks of operations: `times` of them, of `period` each, from place `start` of the sequence on.

    `carried` is how many values go from a block to the next, `weight` how much of a picture a block takes.
    """

    start: int
    period: int
    times: int
    carried: int
    weight: int

    @property
    def worth_it(self) -> bool:
        """Whether enough is saved."""
        return self.times > 1 and (self.times - 1) * self.weight >= WORTH


def folded(view: View) -> View:
    """The view with every repetition drawn once, in a frame that says how often."""
    while True:
        sequence = _Sequence(view)
        runs = sequence.runs()
        if not runs:
            return _without_empty_frames(view)
        view = sequence.folded(runs)


class _Sequence:
    """The operations of a view in their order."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.order = [node.id for node in view.nodes if not node.leaf]
        self.place = {node: k for k, node in enumerate(self.order)}
        self.arguments = view.arguments()
        numbers: dict[Hashable, int] = {}
        self.forms = [
            numbers.setdefault(_form(view.nodes[node], len(self.arguments[node])), len(numbers)) for node in self.order
        ]

    # -- finding

    def runs(self) -> list[Run]:
        """Runs that do not overlap, the first first."""
        following: dict[int, int] = {}
        after = [0] * len(self.forms)  # the next place of the same form
        for k in range(len(self.forms) - 1, -1, -1):
            after[k] = following.get(self.forms[k], len(self.forms))
            following[self.forms[k]] = k
        found: list[Run] = []
        start = 0
        while start < len(self.forms):
            run = self._best(start, after, LONGEST)
            if run is None:
                start += 1
                continue
            # What is repeated inside of a block is folded before the blocks are.
            inner = (self._best(k, after, run.period // 2) for k in range(start + 1, start + run.period))
            run = next((other for other in inner if other is not None), run)
            found.append(run)
            start = run.start + run.period * run.times
        return found

    def _may_start(self, k: int) -> bool:
        """Not in the middle of what is folded already."""
        group = self.view.nodes[self.order[k]].group
        inside = group is not None and self.view.groups[group].kind == "repeat"
        return k == 0 or not inside or self.view.nodes[self.order[k - 1]].group != group

    def _best(self, start: int, after: Sequence[int], longest: int) -> Run | None:
        """The run with the shortest period that starts here, or a little later."""
        if not self._may_start(start):
            return None
        other = start
        for _ in range(PERIODS):
            other = after[other]
            if other == len(self.forms) or other - start > longest:
                return None
            best = self._run(start, other - start)
            if best.worth_it:
                break
        else:
            return None
        # The same blocks may be cut at other places.
        length = self._length(start, best.period)
        spare = min(length - best.period * best.times, ROTATIONS)
        turned = [self._run(k, best.period) for k in range(start, start + spare + 1) if self._may_start(k)]
        return min((run for run in turned if run.times >= best.times), key=lambda run: (run.carried, run.start))

    def _length(self, start: int, period: int) -> int:
        k = start + period
        while k < len(self.order) and self._alike(k - period, k, start, period):
            k += 1
        return k - start

    def _run(self, start: int, period: int) -> Run:
        times = self._length(start, period) // period
        if times < 2:
            return Run(start, period, times, 0, 0)
        carried = {
            (edge.tail, edge.port)
            for node in self.order[start + period : start + 2 * period]
            for edge in self.arguments[node]
            if start <= self.place.get(edge.tail, -1) < start + period
        }
        weight = sum(3 if self.view.nodes[k].count > 1 else 1 for k in self.order[start : start + period])
        return Run(start, period, times, len(carried), weight)

    def _alike(self, i: int, j: int, start: int, period: int) -> bool:
        """Whether operation j is operation i, one block later."""
        if self.forms[i] != self.forms[j]:
            return False
        nodes = self.view.nodes
        for one, other in zip(self.arguments[self.order[i]], self.arguments[self.order[j]], strict=True):
            if one.port != other.port or one.position != other.position:
                return False
            a, b = self.place.get(one.tail, -1), self.place.get(other.tail, -1)
            if a >= start and i - a == j - b:
                continue
            if a >= start:
                return False
            if b < start:  # both from outside
                if _type(nodes[one.tail], one) != _type(nodes[other.tail], other):
                    return False
            elif j >= start + 2 * period or b >= start + period:  # not what the second block takes from the first
                return False
        return True

    # -- folding

    def folded(self, runs: Sequence[Run]) -> View:
        """The view in which each run is one block."""
        view = self.view
        groups = list(view.groups)
        frame: list[int] = []  # of each run
        block: dict[int, tuple[int, int, int]] = {}  # run, place in the block, number of the block
        for number, run in enumerate(runs):
            every = self.order[run.start : run.start + run.period * run.times]
            inside = dict.fromkeys(view.nodes[k].group for k in every)
            frame.append(len(groups))
            groups.append(Group(f"×{run.times}", "repeat", _around(groups, inside)))
            for k in inside:
                if k is not None and groups[k].kind == "repeat":
                    outer = _outermost(groups, k)
                    groups[outer] = replace(groups[outer], parent=frame[number])
            for k in range(run.period * run.times):
                block[self.order[run.start + k]] = number, k % run.period, k // run.period
        classes: list[Hashable] = [block[k][:2] if k in block else ("alone", k) for k in range(len(view.nodes))]
        self._leaves(classes, block)
        members: dict[Hashable, list[int]] = {}
        for node in view.nodes:
            members.setdefault(classes[node.id], []).append(node.id)
        place = {key: k for k, key in enumerate(members)}
        nodes: list[Node] = []
        for key, ids in members.items():
            made = _one_of([view.nodes[k] for k in ids], len(nodes))
            run_of = _run_of(key)
            if len(ids) > 1 and (made.group is None or groups[made.group].kind != "repeat"):
                inside = dict.fromkeys(view.nodes[k].group for k in ids)
                made.group = _around(groups, inside) if run_of is None else frame[run_of]
            nodes.append(made)
        edges: dict[tuple[int, int, int, int, bool], Edge] = {}
        for edge in view.edges:
            tail, head = place[classes[edge.tail]], place[classes[edge.head]]
            of_tail, of_head = block.get(edge.tail), block.get(edge.head)
            between = of_tail and of_head and of_tail[0] == of_head[0] and of_tail[2] < of_head[2]
            carried = edge.carried or bool(between)
            known = edges.get((tail, head, edge.position, edge.port, carried))
            if known is None:
                made_edge = replace(edge, tail=tail, head=head, carried=carried)
                edges[tail, head, edge.position, edge.port, carried] = made_edge
            else:
                known.count += edge.count
        given: dict[tuple[int, int], list[str]] = {}
        for output in view.outputs:
            given.setdefault((place[classes[output.node]], output.port), []).append(output.label)
        outputs = [Output(_span(texts), *where) for where, texts in given.items()]
        return replace(view, nodes=nodes, edges=list(edges.values()), groups=groups, outputs=outputs)

    def _leaves(self, classes: list[Hashable], block: dict[int, tuple[int, int, int]]) -> None:
        """Values from outside that different blocks take at the same place belong together."""
        uses: dict[int, set[tuple[int, int, int]]] = {}
        free: set[int] = {output.node for output in self.view.outputs}
        for edge in self.view.edges:
            if self.view.nodes[edge.tail].leaf:
                if edge.head in block:
                    uses.setdefault(edge.tail, set()).add((*block[edge.head][:2], edge.position))
                else:
                    free.add(edge.tail)
        for leaf, places in uses.items():
            if leaf not in free:
                node = self.view.nodes[leaf]
                classes[leaf] = "leaves", frozenset(places), node.role, node.results[0].type


def _without_empty_frames(view: View) -> View:
    """The view without the frames of blocks that were folded into others."""
    used: set[int] = set()
    for node in view.nodes:
        number = node.group
        while number is not None and number not in used:
            used.add(number)
            number = view.groups[number].parent
    at: dict[int | None, int | None] = {None: None, **{old: new for new, old in enumerate(sorted(used))}}
    return replace(
        view,
        nodes=[replace(node, group=at[node.group]) for node in view.nodes],
        groups=[replace(view.groups[k], parent=at[view.groups[k].parent]) for k in sorted(used)],
    )


def _form(node: Node, arguments: int) -> Hashable:
    """What equal operations have in common."""
    label = re.sub(r"\d+", "#", node.label) if node.kind in ("scope", "line", "kernel") else node.label
    types = tuple(result.type for result in node.results)
    return label, node.kind, node.role, tuple(node.params), types, node.repeated, arguments


def _type(node: Node, edge: Edge) -> str:
    return node.results[edge.port].type


def _run_of(key: Any) -> int | None:
    """The run whose frame holds what has this class."""
    match key:
        case ("leaves", places, _, _):
            found = {run for run, _, _ in places}
            return found.pop() if len(found) == 1 else None
        case (int(run), _):
            return run
    return None


def _outermost(groups: Sequence[Group], number: int) -> int:
    """The last frame of repetitions around this one."""
    while (parent := groups[number].parent) is not None and groups[parent].kind == "repeat":
        number = parent
    return number


def _around(groups: Sequence[Group], inside: Iterable[int | None]) -> int | None:
    """The innermost frame, other than of repetitions, in which all of these lie."""
    common: list[int] | None = None
    for number in inside:
        chain: list[int] = []
        while number is not None:
            if groups[number].kind != "repeat":
                chain.insert(0, number)
            number = groups[number].parent
        same = chain if common is None else [a for a, b in zip(common, chain, strict=False) if a == b]
        common = same
    return common[-1] if common else None


def _one_of(nodes: Sequence[Node], number: int) -> Node:
    """One node for these."""
    first = nodes[0]
    if len(nodes) == 1:
        return replace(first, id=number, members=first.members or (first.id,))
    return replace(
        first,
        id=number,
        label=_span([n.label for n in nodes]),
        results=tuple(
            replace(result, name=_span([n.results[k].name for n in nodes])) for k, result in enumerate(first.results)
        ),
        params={key: _span([n.params[key] for n in nodes]) for key in first.params},
        origins=tuple(dict.fromkeys(o for n in nodes for o in n.origins)),
        scopes=tuple(dict.fromkeys(s for n in nodes for s in n.scopes)),
        kernel=first.kernel if all(n.kernel == first.kernel for n in nodes) else None,
        count=sum(n.count for n in nodes),
        repeated=first.repeated * len(nodes),
        members=tuple(m for n in nodes for m in (n.members or (n.id,))),
    )


def _span(texts: Sequence[str]) -> str:
    """A text for texts that may differ: the first and the last of them."""
    return texts[0] if len(set(texts)) == 1 else f"{texts[0]} … {texts[-1]}"

"""Which steps run for some rows at a time, all of them before the next rows: loops and regions in which no row looks at
another.

What such steps hand on to each other, as the states that a loop gathers for the loop that runs backwards, is held for
the rows that run at a time, in a cache, and never lies in memory.

An array that these steps change lies in one of two ways: it is cut into as many neighbouring pieces as there are rows,
or it has one such array for each round of the loops that gather it or run over it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set as AbstractSet
from dataclasses import dataclass, replace

from compiler.emit_packed import ROWS
from compiler.program import (
    Address,
    Block,
    Buffer,
    Choose,
    Finish,
    Fold,
    Load,
    Loop,
    Product,
    Program,
    Region,
    Repeat,
    Step,
    Store,
    grows,
    reads_of,
    walk,
    writes_of,
)
from compiler.rows import in_row
from symgraph import dims
from symgraph.dims import Size

Part = Region | Repeat
"""What can run for some rows at a time."""

NEAREST, NEAR = 1 << 14, 1 << 19
"""What the rows that run at a time may fill, in bytes: with what a round touches, so that it stays in the nearest cache
from round to round, and with all that is held for them."""

ROUNDS = 100
"""How many rounds are expected, where nothing tells, when rows share that room."""

LEAST = 16
"""Rows that run at a time, at least: their elements fill a line of a cache."""

KEPT = 64
"""Bytes that a chunk may accumulate: there are many chunks."""

AHEAD = 64
"""How many steps may lie between those that run together."""


def form_blocks(program: Program) -> None:
    """Join the steps of a program, and of those inside, that run for some rows at a time."""
    if any(isinstance(step, Repeat) for step in program.steps):
        _Former(program).run()
    for step in program.steps:
        if isinstance(step, Repeat | Choose):
            for inside in step.inner:
                form_blocks(inside)


# -- which steps go together -------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Group:
    steps: list[Part]
    rows: Size


class _Former:
    """Joins the steps of a program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.known: dict[Step, tuple[AbstractSet[Buffer], AbstractSet[Buffer]]] = {}

    def run(self) -> None:
        """Let the program have blocks among its steps."""
        steps, start = self.program.steps, 0
        while (grown := self._grown(steps, start)) is not None:
            before, group, after = grown
            steps = [*before, self._block(group, [*before, *after]), *after]
            start = len(before) + 1
        self.program.steps = steps

    def _touched(self, step: Step) -> tuple[AbstractSet[Buffer], AbstractSet[Buffer]]:
        """What a step reads, and what it writes."""
        found = self.known.get(step)
        if found is None:
            found = self.known[step] = {*reads_of(step)}, {*writes_of(step)}
        return found

    def _grown(self, steps: Sequence[Step], start: int) -> tuple[list[Step], _Group, list[Step]] | None:
        """The first loop by rows from a step on, with all that joins it; what runs before, and what after."""
        for number, first in enumerate(steps[start:], start):
            rows = _rows_of([first], []) if isinstance(first, Repeat) else None
            if rows is not None:
                assert isinstance(first, Repeat)
                group = _Group([first], rows)
                before, group, after = self._with_later(list(steps[:number]), group, steps[number + 1 :])
                return *self._with_earlier(before, group), after
        return None

    def _with_later(
        self, before: list[Step], group: _Group, steps: Sequence[Step]
    ) -> tuple[list[Step], _Group, list[Step]]:
        """A group with what comes after it and reads what it has made; steps between go before it or after it."""
        after: list[Step] = []
        for number, step in enumerate(steps):
            if len(after) == AHEAD:
                after += steps[number:]
                break
            wider, ahead = None, list[Step]()
            if isinstance(step, Part) and any(self._touched(s)[1] & self._touched(step)[0] for s in group.steps):
                ahead = self._in_the_way(step, after)
                if not any(self._in_the_way(s, group.steps) for s in ahead):
                    wider = _joined([*group.steps, _counted(step, group)], group)
            if wider is None:
                after.append(step)
            else:
                group = wider
                before = [*before, *ahead]
                after = [s for s in after if s not in ahead]
        return before, group, after

    def _with_earlier(self, steps: Sequence[Step], group: _Group) -> tuple[list[Step], _Group]:
        """A group with the regions before that make what it reads."""
        kept: list[Step] = []
        for step in reversed(steps[-AHEAD:]):
            wider = None
            wanted = any(self._touched(s)[0] & self._touched(step)[1] for s in group.steps)
            if isinstance(step, Region) and wanted and not any(self._depends(step, s) for s in kept):
                wider = _joined([step, *group.steps], group)
            if wider is None:
                kept.insert(0, step)
            else:
                group = wider
        return [*steps[:-AHEAD], *kept], group

    def _in_the_way(self, step: Step, others: Sequence[Step]) -> list[Step]:
        """Of steps before one, those that it must not overtake, or that one of these must not."""
        found = [step]
        for other in reversed(others):
            if any(self._depends(other, s) for s in found):
                found.append(other)
        return found[:0:-1]

    def _depends(self, one: Step, other: Step) -> bool:
        """Whether it matters which of two steps comes first."""
        (read, written), (also_read, also_written) = self._touched(one), self._touched(other)
        return not (
            written.isdisjoint(also_read) and written.isdisjoint(also_written) and read.isdisjoint(also_written)
        )

    def _block(self, group: _Group, others: Sequence[Step]) -> Block:
        """The step that a group becomes; what nobody else wants of it is held for some rows at a time."""
        program = self.program
        elsewhere = {*program.outputs}.union(*(both for step in others for both in self._touched(step)))
        steps: list[Step] = [
            replace(s, count=None) if isinstance(s, Repeat) and s.count not in elsewhere else s for s in group.steps
        ]
        late = _late(group.steps)
        written = dict.fromkeys(b for step in steps for b in writes_of(step))
        read = dict.fromkeys(b for step in steps for b in reads_of(step) if b not in written)
        held = [b for b in written if b.role in ("temporary", "tape") and not (b in elsewhere or b in late)]
        given = [b for b in (*read, *written) if not (b in held or b in late or b.role == "slot")]
        program.temporaries = [b for b in program.temporaries if b not in held]
        body = Program(steps, given, [], [], held, program.errors)
        _hold(body)
        chunk = _chunk(body, group.rows)
        chunks = dims.call("ceildiv", group.rows, chunk)
        return Block(body, group.rows, chunk, chunks, [*read], [b for b in written if b not in held])


def _joined(steps: Sequence[Part], group: _Group) -> _Group | None:
    """The group of these steps, which are its own and another, if no row looks at another."""
    rows = _rows_of(steps, [group.rows])
    return None if rows is None else _Group(list(steps), rows)


def _counted(step: Part, group: _Group) -> Part:
    """A loop of as many rounds as one of the group has run: of as many as that will."""
    if isinstance(step, Repeat):
        for one in group.steps:
            if isinstance(one, Repeat) and isinstance(step.trips, Buffer) and step.trips is one.count:
                return replace(step, trips=one.trips)
    return step


def _late(steps: Iterable[Step]) -> set[Buffer]:
    """What is there when all rows are done: sums over them, and how many rounds were run."""
    found: set[Buffer] = set()
    for step in steps:
        if isinstance(step, Region):
            found.update(p.buffer for p in step.partials)
        elif isinstance(step, Repeat) and step.count is not None:
            found.add(step.count)
    return found


# -- whether no row looks at another -----------------------------------------------------------------------------------


def _rows_of(steps: Sequence[Part], expected: Sequence[Size]) -> Size | None:
    """How many rows steps have of which no row looks at another."""
    late = _late(steps)
    read = {b for step in steps for b in reads_of(step)}
    if late & read or any(_kept(step) > KEPT for step in steps if isinstance(step, Region)):
        return None
    changing = {b for step in steps for b in writes_of(step)} - late
    for rows in dict.fromkeys([*expected, *_sizes(steps)]):
        if _Apart(rows, changing, read - changing).steps(steps):
            return rows
    return None


def _kept(region: Region) -> int:
    """How many bytes a chunk accumulates; more than may be where that is not fixed."""
    sizes = [p.partial.elements * p.partial.dtype.itemsize for p in region.partials]
    return sum(size if isinstance(size, int) else KEPT + 1 for size in sizes)


def _sizes(steps: Iterable[Step]) -> Iterator[Size]:
    """What the number of rows may be."""
    for step in steps:
        if isinstance(step, Product):
            yield step.rows
        elif isinstance(step, Region):
            if step.size is not None:
                yield step.size
        else:
            for program in step.inner:
                products = [s for s in program.steps if isinstance(s, Product)]
                yield from _sizes([*products, *program.steps])


class _Apart:
    """Whether no row of some steps looks at another.

    Args:
        rows: how many there are.
        changing: the buffers that differ from row to row.
        fixed: those that are the same for all rows, and in all rounds.
        inside: the program of a round that the steps are, in which only temporaries may have an array for each round.
    """

    def __init__(
        self, rows: Size, changing: AbstractSet[Buffer], fixed: AbstractSet[Buffer], inside: Program | None = None
    ) -> None:
        self.rows, self.changing, self.fixed, self.inside = rows, changing, fixed, inside
        self.pieces: set[Buffer] = set()  # what is cut into a piece for each row
        self.rounds: dict[Buffer, Size] = {}  # what has an array for each round, of so many elements

    def steps(self, steps: Sequence[Step]) -> bool:
        """Whether that holds for these, which are all that change something."""
        return all(map(self._step, steps)) and self._lie_apart()

    def _lie_apart(self) -> bool:
        if self.inside is not None and not self.rounds.keys() <= {*self.inside.temporaries}:
            return False
        sizes = [*(b.elements for b in self.pieces), *self.rounds.values()]
        return not self.pieces & self.rounds.keys() and all(
            dims.floordiv(size, self.rows) * self.rows == size for size in sizes
        )

    def _step(self, step: Step) -> bool:
        if isinstance(step, Region):
            return self._region(step)
        if isinstance(step, Product):
            return self._product(step)
        return isinstance(step, Repeat) and self._repeat(step)

    def _region(self, region: Region) -> bool:
        touched = {s.buffer for s in walk(region.items) if isinstance(s, Load | Store | Finish | Fold)} & self.changing
        self.pieces |= touched
        if region.size is None:
            return self.inside is not None and not touched
        return (
            part_of_row(region, self.rows) * self.rows == region.size
            and not (region.in_order or region.fills or (region.partials and self.inside is not None))
            and touched <= region.by_rows
        )

    def _product(self, p: Product) -> bool:
        """Whether each row is multiplied for itself, by a matrix that is the same in all rounds."""
        buffer, start, row, inner = p.a
        own = row * self.rows == buffer.elements
        own = own and in_row(Address(start.constant, ((1, inner),)), row, (self.rows, p.inner))
        self.pieces |= {buffer, p.c[0]} & self.changing
        return (
            self.inside is not None
            and p.c[0].dtype.kind == "f"
            and not p.batch
            and p.rows == self.rows
            and (own or buffer not in self.changing)
            and p.b[0] in self.fixed
        )

    def _repeat(self, step: Repeat) -> bool:
        body, states = step.body, len(step.firsts)
        if step.holds is not None or step.limit is not None or step.trips is None or not states or any(step.in_place):
            return False
        if self.inside is not None and (step.count is not None or any(map(grows, filter(None, step.gathered)))):
            return False
        if step.trips in self.changing:
            return False
        changing = {*body.inputs[1 : 1 + states], *body.outputs}
        changing |= {b for b in body.temporaries if b.role == "temporary"}
        changing |= {row for array, row in step.rounds if array in self.changing}
        changing |= {b for b, value in step.taken.items() if value in self.changing}
        if any(b.role == "scalar" or b.elements == 1 for b in changing):
            return False
        for array, row in step.rounds:
            if array in self.changing and self.rounds.setdefault(array, row.elements) != row.elements:
                return False
        self.pieces |= {*step.firsts, *filter(None, step.lasts), *step.outside} & self.changing
        fixed = {b for b, value in step.taken.items() if value in self.fixed}
        return _Apart(self.rows, changing, fixed, body).steps(body.steps)


def part_of_row(region: Region, rows: Size) -> Size:
    """How many rows of a region, which may go through several axes at once, make one row of a block."""
    assert region.size is not None
    return dims.floordiv(region.size, rows)


# -- how they run ------------------------------------------------------------------------------------------------------


def _hold(program: Program) -> None:
    """Hold what lies between the steps for some rows at a time."""
    for buffer in program.temporaries:
        buffer.role = "block" if buffer.role in ("temporary", "tape") else buffer.role
    for step in program.steps:
        if isinstance(step, Repeat):
            _hold(step.body)


def held(program: Program, rows: Size) -> dict[Buffer, Size]:
    """What a program holds for some rows at a time, with the elements of one row, or of one row in a round."""
    found = {b: dims.floordiv(b.elements, rows) for b in program.temporaries if b.role == "block"}
    for step in program.steps:
        if isinstance(step, Repeat):
            states = len(step.firsts)
            elements = step.body.inputs[1 + states : 1 + states + len(step.xs)]
            arrays = [
                *zip(step.xs, elements, strict=True),
                *zip(step.gathered, step.body.outputs[states:], strict=True),
            ]
            found |= {b: dims.floordiv(row.elements, rows) for b, row in arrays if b in found}
    return found


def held_bytes(program: Program, rows: Size) -> Size:
    """How many bytes are held for a row."""
    total: Size = 0
    for buffer, row in held(program, rows).items():
        rounds = ROUNDS if grows(buffer) else dims.floordiv(dims.floordiv(buffer.elements, rows), row)
        total = total + rounds * row * buffer.dtype.itemsize
    for step in program.steps:
        if isinstance(step, Repeat):
            for buffer in rooms(step):
                total = total + dims.floordiv(buffer.elements, rows) * buffer.dtype.itemsize
            total = total + held_bytes(step.body, rows)
    return total


def rooms(step: Repeat) -> list[Buffer]:
    """What a loop by rows needs room like: its states, twice, and the rows that it gathers for nobody."""
    states = step.body.outputs[: len(step.firsts)]
    made = step.body.outputs[len(step.firsts) :]
    return [*states, *states, *(row for b, row in zip(step.gathered, made, strict=True) if b is None)]


def _chunk(body: Program, rows: Size) -> Size:
    """How many rows run at a time: as many as caches hold, of those that fill vectors."""
    least = max([LEAST, *(_least(step, rows) for step in body.all_steps())])
    loops = [step.body for step in body.all_steps() if isinstance(step, Repeat)]
    touched: Size = 0
    for program in loops:
        moved: Size = 0
        for step in program.steps:
            if isinstance(step, Region) and step.size is not None:
                moved = moved + step.moved * part_of_row(step, rows)
        touched = dims.maximum(touched, moved)
    if any(isinstance(step, Product) for step in body.all_steps()):
        least = ROWS
    return dims.call("tile", rows, dims.maximum(touched * (NEAR // NEAREST), held_bytes(body, rows)), NEAR, least)


def _least(step: Step, rows: Size) -> int:
    """Rows that fill a vector."""
    if not isinstance(step, Region) or step.size is None:
        return 1
    lanes = max((s.lanes for s in walk(step.items) if isinstance(s, Loop) and s.tiled), default=1)
    part = part_of_row(step, rows)
    return max(lanes // part, 1) if isinstance(part, int) and part else 1

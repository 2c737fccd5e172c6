"""What a program costs: bytes moved, operations, and the memory that a call needs, as formulas of its sizes.

The bytes of a step are those of the arrays that it touches, each once: what is read again is in cache by then, which is
what regions are for. Work that is done once per tile or per chunk is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from compiler.blocks import held_bytes
from compiler.costs import weight
from compiler.program import (
    Accumulate,
    Address,
    Block,
    Buffer,
    Choose,
    Control,
    Fill,
    Finish,
    Item,
    Load,
    Loop,
    Primitive,
    Product,
    Program,
    Ref,
    Region,
    Repeat,
    Step,
    Store,
    Tiles,
    walk,
)
from symgraph import dims
from symgraph.dims import Size

ARRAYS = frozenset({"input", "constant", "output", "temporary"})
"""Roles of buffers that lie in memory; all others are expected in cache, on the stack or in registers."""


def bytes_of(buffer: Buffer) -> Size:
    """How much room a buffer takes."""
    return buffer.elements * buffer.dtype.itemsize


@dataclass(eq=False)
class Cost:
    """What one step costs.

    Attributes:
        read: bytes of each array that is read.
        written: bytes of each array that is written.
        flops: operations by their weights; a fused multiply-add counts as two.
        live: temporaries that are held while it runs.
        partials: bytes that its chunks accumulate into, all of them together.
        tiles: bytes of its tiles' buffers, for each thread.
        chunks: how many threads can work on it at most.
    """

    read: dict[Buffer, Size] = field(default_factory=dict)
    written: dict[Buffer, Size] = field(default_factory=dict)
    flops: Size = 0
    live: list[Buffer] = field(default_factory=list)
    partials: Size = 0
    tiles: Size = 0
    chunks: Size = 1

    @property
    def moved(self) -> Size:
        """All bytes that are read or written."""
        return total([*self.read.values(), *self.written.values()])

    def scratch(self, sizes: Mapping[str, int], threads: int) -> int:
        """The bytes held beside inputs and outputs."""
        at_once = min(threads, dims.evaluate(self.chunks, sizes))
        held = total(map(bytes_of, self.live)) + self.partials + self.tiles * at_once
        return dims.evaluate(held, sizes)


@dataclass(eq=False)
class Account:
    """What a program costs, step by step; `ends` are the bytes of inputs and outputs, `outputs` those of the latter."""

    steps: list[Cost]
    ends: Size
    outputs: Size

    @property
    def moved(self) -> Size:
        """All bytes that are read or written."""
        return total(c.moved for c in self.steps)

    @property
    def flops(self) -> Size:
        """All operations."""
        return total(c.flops for c in self.steps)

    def peak(self, sizes: Mapping[str, int], threads: int) -> int:
        """The most bytes that a call holds beside its inputs: outputs, and the scratch memory of the largest step."""
        scratch = max((c.scratch(sizes, threads) for c in self.steps), default=0)
        return dims.evaluate(self.outputs, sizes) + scratch


def total(sizes: Iterable[Size]) -> Size:
    """The sum of sizes."""
    found: Size = 0
    for size in sizes:
        found = found + size
    return found


def account(program: Program, copied: Size = 0) -> Account:
    """What a program costs, if results of `copied` bytes are copies of others."""
    costs = [_cost(s) for s in program.steps]
    used = [_temporaries(s) for s in program.steps]
    first: dict[Buffer, int] = {}
    last: dict[Buffer, int] = {}
    for number, buffers in enumerate(used):
        for buffer in buffers:
            first.setdefault(buffer, number)
            last[buffer] = number
    held: dict[Buffer, None] = {}  # as in emit_llvm: memory is taken at the first use and given back after the last
    for number, cost in enumerate(costs):
        held.update({b: None for b in used[number] if first[b] == number})
        cost.live = list(held)
        for buffer in used[number]:
            if last[buffer] == number:
                del held[buffer]
    outputs = total(bytes_of(b) for b in dict.fromkeys(program.outputs)) + copied
    given = total(bytes_of(b) for b in [*program.inputs, *(b for b, _ in program.constants)])
    return Account(costs, given + outputs, outputs)


def _cost(step: Step) -> Cost:
    if isinstance(step, Product):
        return _product(step)
    if isinstance(step, Block):
        return _block(step)
    return _region(step) if isinstance(step, Region) else _control(step)


def _block(block: Block) -> Cost:
    """Arrays count once; what is held for the rows that run at a time is in a cache."""
    return Cost(
        read={b: bytes_of(b) for b in block.reads if b.role in ARRAYS},
        written={b: bytes_of(b) for b in block.writes if b.role in ARRAYS},
        flops=total(_cost(s).flops for s in block.body.steps),
        partials=total(bytes_of(p.partial) for p in block.partials) * block.chunks,
        tiles=held_bytes(block.body, block.rows) * dims.minimum(block.chunk, block.rows),
        chunks=block.chunks,
    )


def _control(step: Repeat | Choose) -> Cost:
    """Arrays count once, whatever the rounds do with them; where nobody knows how many rounds are run, it is one. Of
    branches all are counted."""
    rounds: Size = 1
    if isinstance(step, Repeat) and isinstance(step.trips, int | dims.Dim):
        rounds = step.trips
    inside = [_cost(s) for program in step.inner for s in program.steps]
    return Cost(
        read={b: bytes_of(b) for b in step.reads if b.role in ARRAYS},
        written={b: bytes_of(b) for b in step.writes if b.role in ARRAYS},
        flops=total(c.flops for c in inside) * rounds,
    )


def loops(items: Sequence[Item], around: tuple[Loop, ...] = ()) -> Iterator[tuple[Item, tuple[Loop, ...]]]:
    """Every statement with the loops around it."""
    stack = [(item, around) for item in reversed(items)]
    while stack:
        item, around = stack.pop()
        if isinstance(item, Loop):
            stack.extend((s, (*around, item)) for s in reversed(item.body))
        elif isinstance(item, Tiles):
            stack.extend((s, around) for s in reversed(item.body))
        else:
            yield item, around


def times(around: Iterable[Loop]) -> Size:
    """How often a statement inside these loops runs, in all tiles together."""
    return dims.product([loop.size * loop.factor for loop in around])


def _region(region: Region) -> Cost:
    reads: dict[Buffer, dict[object, Size]] = {}
    writes: dict[Buffer, dict[object, Size]] = {}
    cost = Cost(chunks=region.chunks)
    for s, around in loops(region.items):
        if not isinstance(s, Load | Store | Finish):
            if isinstance(s, Fill) and s.buffer.role in ARRAYS:
                writes.setdefault(s.buffer, {})["all"] = s.buffer.elements
        elif s.buffer.role in ARRAYS:
            shape, count = _reach(s.address, around)
            if not isinstance(s, Load):
                writes.setdefault(s.buffer, {})[shape] = count
            if isinstance(s, Load) or (isinstance(s, Store) and s.combine != "set"):
                reads.setdefault(s.buffer, {})[shape] = count
        if around or region.size is None:
            cost.flops = cost.flops + times(around) * _operations(s)
    for f in region.fills:
        writes.setdefault(f.buffer, {})["all"] = f.buffer.elements
    for p in region.partials:
        writes.setdefault(p.buffer, {})["all"] = p.buffer.elements
        cost.partials = cost.partials + bytes_of(p.partial) * region.chunks
    cost.read = {b: _touched(b, counts) for b, counts in reads.items()}
    cost.written = {b: _touched(b, counts) for b, counts in writes.items() if b.role in ARRAYS}
    cost.tiles = total(map(bytes_of, region.tiles))
    return cost


def _product(p: Product) -> Cost:
    rounds = dims.product(p.batch)
    cost = Cost(flops=rounds * p.rows * p.columns * p.inner * 2)
    for buffer, address, count in (
        (p.a[0], p.a[1], p.rows * p.inner),
        (p.b[0], p.b[1], p.inner * p.columns),
    ):
        repeated = dims.product([p.batch[v] for v, _ in address.terms if isinstance(v, int)])
        reach = _touched(buffer, {address: count * repeated})
        cost.read[buffer] = cost.read.get(buffer, reach)
    cost.written[p.c[0]] = bytes_of(p.c[0])
    cost.read = {b: size for b, size in cost.read.items() if b.role in ARRAYS}
    cost.written = {b: size for b, size in cost.written.items() if b.role in ARRAYS}
    return cost


def _operations(s: Item) -> int:
    if isinstance(s, Primitive):
        return 2 if s.name == "fma" else int(weight(s))
    return int(isinstance(s, Accumulate) or (isinstance(s, Store) and s.combine != "set"))


def _reach(address: Address, around: Sequence[Loop]) -> tuple[object, Size]:
    """What tells an access from others that reach other elements, and how many elements it reaches at most."""
    if any(isinstance(v, Ref) for v, _ in address.terms):
        return address, times(around)
    steps = dict(address.terms)
    moving = [loop for loop in around if loop.variable in steps]
    shape = tuple((loop.size * loop.factor, steps[loop.variable]) for loop in moving)
    return (address.constant, shape), times(moving)


def _touched(buffer: Buffer, counts: Mapping[object, Size]) -> Size:
    """The bytes of an array that accesses reach; all of it unless they plainly reach less."""
    count, whole = total(counts.values()), buffer.elements
    if whole in counts.values():
        count = whole
    elif isinstance(count, int) and isinstance(whole, int):
        count = min(count, whole)
    elif count != whole and not _at_most(count, whole):
        count = whole if _at_most(whole, count) else dims.minimum(whole, count)
    return count * buffer.dtype.itemsize


def _at_most(a: Size, b: Size) -> bool:
    """Whether a <= b, where that is plain to see."""
    if isinstance(a, dims.Dim) and any(a == dims.call("min", *args) and b in args for args in _arguments(a)):
        return True
    least = dims.lower_bound(b - a)
    return least is not None and least >= 0


def _arguments(size: dims.Dim) -> list[tuple[Size, ...]]:
    return [f.args for monomial, _ in size.terms for f in monomial if isinstance(f, dims.Call)]


def _temporaries(step: Step) -> list[Buffer]:
    """The temporaries that a step needs, in the order of their first use."""
    if isinstance(step, Product):
        found = [step.a[0], step.b[0], step.c[0]]
    elif isinstance(step, Control):
        found = [*step.reads, *step.writes]
    else:
        found = [s.buffer for s in walk(step.items) if isinstance(s, Load | Store | Finish | Fill)]
        found += [p.buffer for p in step.partials] + [f.buffer for f in step.fills]
    return [b for b in dict.fromkeys(found) if b.role == "temporary"]

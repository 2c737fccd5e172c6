"""What the compiler did, in words: its passes, and the schedule it came to."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from compiler import kernel
from compiler.account import Account, Cost, account, bytes_of, total
from compiler.emit_product import BLAS_FROM
from compiler.emit_shared import rounds_in_any_order
from compiler.graph import Graph
from compiler.layout import shape_of
from compiler.overview import costs, kept, stations
from compiler.passes.rewrite import Rewrite
from compiler.program import (
    Block,
    Buffer,
    Choose,
    Control,
    Finish,
    Item,
    Loop,
    Note,
    Partial,
    Product,
    Program,
    Region,
    Repeat,
    Step,
    Store,
    Tiles,
    walk,
)
from compiler.threads import get_num_threads
from compiler.words import count, in_bytes, in_time, line_of
from symgraph import dims
from symgraph.dims import Size
from symgraph.expr import Expr, format_expr, toposort
from symgraph.ops import array as ar

if TYPE_CHECKING:
    from compiler.function import Function
    from compiler.variant import Variant

WIDTH = 90
"""Characters of a formula, about."""

PLACES = {
    "tile": "tile",
    "partial": "per chunk",
    "temporary": "memory",
    "output": "output",
    "slot": "stack",
    "tape": "memory that grows",
    "block": "some rows of it",
    "input": "from outside",
    "scalar": "registers",
}
"""Where a value is kept, by the role of its buffer."""


def explain(function: Function, topic: str | None) -> str:
    """The text of a topic, or of all; see :meth:`compiler.function.Function.explain`.

    Raises:
        ValueError: there is no topic of that name.
    """
    if topic is not None and topic not in TOPICS:
        raise ValueError(f"there is no topic {topic!r:.80}; the topics are {', '.join(TOPICS)}")
    writers = list(TOPICS.values()) if topic is None else [TOPICS[topic]]
    lines: list[str] = []
    for what, variant in function.variants():
        lines.append(_head(what, variant))
        lines += [line for write in writers for line in write(variant)]
    return "\n".join(lines)


def _head(what: str, variant: Variant) -> str:
    return f"{what} for ({', '.join(f'{n.name}: {n.type}' for n in variant.typed.inputs)})"


SHOWN = 5
"""Rewrites of one rule that are told one by one."""


def _passes(variant: Variant) -> list[str]:
    lines: list[str] = []
    for step in variant.steps:
        lines.append(f"  {step.name}: {count(len(Graph(step.outputs)), 'node')}")
        by_rule: dict[str, list[Rewrite]] = {}
        for rewrite in step.rewrites:
            by_rule.setdefault(rewrite.rule, []).append(rewrite)
        for rewrites in by_rule.values():
            law, condition = rewrites[0].law, rewrites[0].condition
            times = "" if len(rewrites) == 1 else f"   {len(rewrites):,} times"
            lines.append(f"    {law}{times}" + (f"   where {condition}" if condition else ""))
            lines += [f"      {rewrite.change}" for rewrite in rewrites[:SHOWN]]
            if len(rewrites) > SHOWN:
                lines.append(f"      ... and {len(rewrites) - SHOWN:,} more")
    steps, spent = variant.program.steps, account(variant.program, variant.copied)
    regions = [s for s in steps if isinstance(s, Region)]
    kept = sum(b.role == "temporary" for b in variant.program.temporaries)
    lines.append(
        f"  schedule: {count(len(steps), 'step')}, {count(sum(r.size is not None for r in regions), 'region')} of "
        f"rows, {count(sum(isinstance(s, Product) for s in steps), 'matrix product')}, "
        f"{count(kept, 'temporary array')}"
    )
    lines.append(f"    moves {spent.moved} bytes, inputs and outputs are {spent.ends}; {spent.flops} flops")
    return lines


# -- the schedule ------------------------------------------------------------------------------------------------------


def _schedule(variant: Variant) -> list[str]:
    return _Schedule(variant).lines()


class _Schedule:
    """Writes the schedule of one kernel; numbers stand beside formulas where sizes are known."""

    def __init__(self, variant: Variant) -> None:
        self.variant, self.program = variant, variant.program
        self.sizes = variant.known_sizes
        self.depth = 0  # of the loops and branches around
        self.block: Block | None = None  # which runs what is told for some rows at a time
        self.unit = "tile"  # what the rows of a loop are rows of
        self.short: dict[str, str] = {}  # what long sizes are called
        self.names: dict[Expr, str] = {}  # what stored values, and sizes, are called
        self.out: list[str] = []
        for node in toposort(variant.steps[-1].outputs):
            if node.op is ar.size:
                axis, shape = node.params["axis"], shape_of(node.args[0])
                size = str(dims.product(shape) if axis is None else shape[axis])
                self.names[node] = size if size.isalnum() else f"({size})"
        for step in self.program.all_steps():
            for b in _results(step):
                if b.node is not None and not b.name.startswith("t_"):
                    self.names[b.node] = b.name.removeprefix("p_")

    def lines(self) -> list[str]:
        spent = account(self.program, self.variant.copied)
        if self.sizes:
            self.put(1, "sizes: " + ", ".join(f"{name} = {size}" for name, size in sorted(self.sizes.items())))
        self._steps(self.program, spent, "")
        self._sum(spent)
        return self.out

    def _steps(self, program: Program, spent: Account, prefix: str) -> None:
        for number, (step, cost) in enumerate(zip(program.steps, spent.steps, strict=True), 1):
            self.short = {}
            name = f"{prefix}{number}"
            if isinstance(step, Product):
                self._product(step, name)
            elif isinstance(step, Block):
                self._block(step, name, cost)
            elif isinstance(step, Repeat | Choose):
                self._control(step, name)
            elif step.size is None:
                self.put(1, f"step {name}: without loops")
                self._items(step.items, 2, _stores(step))
            else:
                self._region(step, name, cost)
            self._cost(cost)

    def _block(self, block: Block, name: str, cost: Cost) -> None:
        self.put(1, f"step {name}: for some rows at a time; threads share the rows{line_of(block.node)}")
        self.put(2, f"rows: {self.exact(block.rows)}")
        self.put(2, f"rows at a time: {self.named(f'rows{name}', block.chunk)}")
        if block.body.temporaries:
            parts = ", ".join(f"{b.name} {self.size(bytes_of(b))}" for b in block.body.temporaries)
            self.put(2, f"of this, some rows are held: {parts}")
        self.put(2, f"held: {self.bytes(cost.tiles)} for each thread")
        if block.partials:
            self._partials(block.partials, cost)
        self.depth, self.block = self.depth + 1, block
        self._steps(block.body, account(block.body), f"{name}.")
        self.depth, self.block = self.depth - 1, None

    def put(self, level: int, text: str) -> None:
        self.out.append("  " * (level + self.depth) + text)

    def _control(self, step: Repeat | Choose, name: str) -> None:
        if isinstance(step, Choose):
            self.put(1, f"step {name}: one of {len(step.bodies)} branches{line_of(step.node)}")
            titles = [f"branch {k}" for k in range(len(step.bodies))]
        else:
            self.put(1, f"step {name}: loop {self._rounds(step)}{line_of(step.node)}")
            titles = ["each round"] if step.holds is None else ["whether another round is run", "each round"]
            places = [
                "registers" if b.role == "scalar" else "memory" for b in step.body.inputs[1 : 1 + len(step.firsts)]
            ]
            if places:
                self.put(2, "state: " + ", ".join(f"s{k} in {place}" for k, place in enumerate(places)))
            rows = [b for b in step.gathered if b is not None]
            if rows:
                self.put(2, "gathers: " + ", ".join(f"{b.name} in {PLACES[b.role]}" for b in rows))
        for title, program in zip(titles, step.inner, strict=True):
            self.put(2, f"{title}:")
            self.depth += 2
            self._steps(program, account(program), f"{name}.")
            self.depth -= 2

    def _rounds(self, step: Repeat) -> str:
        backwards = " from the last to the first" if step.reverse else ""
        if step.trips is None:
            most = "" if step.limit is None else f", at most {step.limit:,} times"
            return f"while a condition holds{most}"
        if isinstance(step.trips, Buffer):
            rounds = f"of as many rounds as {step.trips.name} says{backwards}"
        else:
            rounds = f"of {self.exact(step.trips)} rounds{backwards}"
        return f"{rounds}; threads share them" if rounds_in_any_order(step) else rounds

    # sizes

    def size(self, size: Size) -> str:
        """A size as a formula; long parts by the names that they have been given."""
        text = str(size)
        for long, name in self.short.items():
            text = text.replace(long, name)
        return text

    def value(self, size: Size) -> int | None:
        """A size as a number, if it is known."""
        if isinstance(size, int):
            return size
        return None if self.sizes is None else dims.evaluate(size, self.sizes)

    def exact(self, size: Size) -> str:
        """A formula, and its number."""
        value = self.value(size)
        if value is None:
            return self.size(size)
        return f"{value:,}" if isinstance(size, int) else f"{self.size(size)} = {value:,}"

    def bytes(self, size: Size) -> str:
        """The same for bytes."""
        value = self.value(size)
        if isinstance(size, int):
            return in_bytes(size)
        return f"{self.size(size)} bytes" + ("" if value is None else f" = {in_bytes(value)}")

    def named(self, name: str, size: Size) -> str:
        """The same for a size that has a name from here on."""
        if isinstance(size, int):
            return f"{size:,}"
        text = f"{name} = {self.exact(size)}"
        self.short = {str(size): name, **self.short}
        return text

    # steps

    def _product(self, p: Product, number: str) -> None:
        self.put(1, f"step {number}: matrix product of {', '.join(map(self.size, (p.rows, p.inner, p.columns)))}")
        if p.batch:
            self.put(2, f"for each of {self.exact(dims.product(p.batch))}")
        work = self.value(p.rows * p.columns * p.inner)
        library = p.c[0].dtype.kind == "f" and bool(kernel.blas())
        if self.block is not None:
            by = "loops over rows; the matrix is packed once, before the first round"
        elif not library:
            by = "loops"
        elif work is None:
            by = f"BLAS from {BLAS_FROM:,} multiplications on, else loops"
        else:
            by = "BLAS" if work >= BLAS_FROM else "loops"
        self.put(2, f"by: {by}")
        self.put(2, f"{p.c[0].name} = {self._formula(p.node)}   [{PLACES[p.c[0].role]}]{line_of(p.node)}")

    def _region(self, region: Region, number: str, cost: Cost) -> None:
        assert region.size is not None
        self.put(1, f"step {number}: region of {self.exact(region.size)} rows")
        if self.block is not None:
            pass  # it runs for the rows that the block says
        elif region.chunks == 1:
            self.put(2, "chunks: one")
        else:
            self.put(2, f"rows in a chunk: {self.named(f'chunk{number}', region.chunk)}")
            self.put(2, f"chunks: {self.named(f'chunks{number}', region.chunks)}; {self._threads(region)}")
        widths = [s.width for s in region.items if isinstance(s, Tiles) and s.width is not None]
        self.unit = "tile" if widths else "chunk" if self.block is None else "block"
        for width in widths:
            across = ", neighbours in its buffers" if region.across and region.tiles else ""
            self.put(2, f"rows in a tile: {self.named(f'tile{number}', width)}{across}")
        self._items(region.items, 2, _stores(region))
        if region.tiles:
            parts = ", ".join(f"{b.name} {self.size(bytes_of(b))}" for b in region.tiles)
            self.put(2, f"tile buffers: {parts}; {self.bytes(cost.tiles)} for each thread")
        if region.partials and self.block is None:
            self._partials(region.partials, cost)

    def _partials(self, partials: Sequence[Partial], cost: Cost) -> None:
        parts = ", ".join(
            f"{p.buffer.name} {self.size(bytes_of(p.partial))}" + (f" in {p.lanes} lanes" if p.lanes > 1 else "")
            for p in partials
        )
        self.put(2, f"per chunk: {parts}; {self.bytes(cost.partials)}, combined in order")

    def _threads(self, region: Region) -> str:
        """From which size on threads share the chunks."""
        kept = self.value(total(bytes_of(p.partial) for p in region.partials))
        cost, moved = self.value(region.cost), self.value(region.moved)
        if kept is None or cost is None or moved is None:
            enough = in_time(_least_rows(1, 0, 0) or 0)
            return f"shared by threads where the rows, of {self.size(region.cost)} ps each, take more than {enough}"
        least = _least_rows(cost, moved, kept)
        if least is None:
            return f"not shared by threads: a chunk would keep {in_bytes(kept)}"
        return f"shared by threads from {least:,} rows on, of {in_time(cost)} each"

    def _items(self, items: Sequence[Item], level: int, kept: Mapping[Expr, Buffer]) -> None:
        deeper = {s.node for loop in items if isinstance(loop, Loop) for s in walk(loop.body) if isinstance(s, Note)}
        for s in items:
            if isinstance(s, Note) and s.node not in deeper:
                buffer = kept.get(s.node)
                name = "" if buffer is None else f"{buffer.name.removeprefix('p_')} = "
                place = "registers" if buffer is None else PLACES[buffer.role]
                self.put(level, f"{name}{self._formula(s.node)}   [{place}]{line_of(s.node)}")
            elif isinstance(s, Tiles):
                self._items(s.body, level, kept)
            elif isinstance(s, Loop):
                times = "" if s.factor == 1 else f" * {self.size(s.factor)}"
                count = f"rows of the {self.unit}{times}" if s.tiled else self.exact(s.size)
                self.put(level, f"loop i{s.variable} over {count}" + (f", {s.lanes} lanes" if s.lanes > 1 else ""))
                self._items(s.body, level + 1, kept)

    def _formula(self, node: Expr) -> str:
        return format_expr(node, WIDTH, self.names)

    # costs

    def _cost(self, cost: Cost) -> None:
        if cost.read or cost.written:
            moves = [
                f"{verb} {', '.join(f'{self._name(b)} {self.size(size)}' for b, size in found.items())}"
                for verb, found in (("reads", cost.read), ("writes", cost.written))
                if found
            ]
            self.put(2, f"{'; '.join(moves)}; {self.bytes(cost.moved)}")
        if cost.live:
            held = ", ".join(f"{b.name} {self.size(bytes_of(b))}" for b in cost.live)
            self.put(2, f"memory held: {held}; {self.bytes(total(map(bytes_of, cost.live)))}")
        self.put(2, f"flops: {self.exact(cost.flops)}")

    def _name(self, buffer: Buffer) -> str:
        if buffer.role == "input" and buffer.node is not None:
            return buffer.node.name or buffer.name
        return buffer.name

    def _sum(self, spent: Account) -> None:
        self.short = {}
        self.put(1, "in all")
        self.put(2, f"moves {self.bytes(spent.moved)}; inputs and outputs are {self.bytes(spent.ends)}")
        self.put(2, f"flops: {self.exact(spent.flops)}")
        if self.sizes is None:
            self.put(2, f"peak memory: outputs {self.bytes(spent.outputs)}, and of the largest step what it holds")
            return
        moved = dims.evaluate(spent.moved, self.sizes)
        if moved:
            self.put(2, f"intensity: {dims.evaluate(spent.flops, self.sizes) / moved:.3g} flops a byte")
        threads = get_num_threads()
        scratch = [c.scratch(self.sizes, threads) for c in spent.steps]
        most = max(scratch, default=0)
        where = f", in step {scratch.index(most) + 1}" if most else ""
        peak = spent.peak(self.sizes, threads)
        self.put(
            2,
            f"peak memory: outputs {self.bytes(spent.outputs)} + scratch {in_bytes(most)}{where}, with "
            f"{count(threads, 'thread')} = {in_bytes(peak)}",
        )


def _results(step: Step) -> list[Buffer]:
    if isinstance(step, Product):
        return [step.c[0]]
    if isinstance(step, Control):
        return step.writes
    return [s.buffer for s in walk(step.items) if isinstance(s, Store | Finish)]


def _stores(region: Region) -> dict[Expr, Buffer]:
    """Where a region puts the values that it stores."""
    return {b.node: b for b in _results(region) if b.node is not None}


def _least_rows(cost: int, moved: int, kept: int) -> int | None:
    """From how many rows of so many picoseconds on there is more than one chunk, if each keeps so many bytes."""
    parts = dims.FUNCTIONS["parts"]
    most = 1 << 40
    found = bisect_left(range(most), True, key=lambda rows: parts(rows, cost, moved, kept) > 1)
    return None if found == most else max(found, 2)


TOPICS: dict[str, Callable[[Variant], list[str]]] = {
    "stations": stations,
    "passes": _passes,
    "schedule": _schedule,
    "cost": costs,
    "cache": kept,
}

"""What the compiler did, in words: its passes, and the schedule it came to."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from compiler import kernel
from compiler.account import Account, Cost, account, bytes_of, total
from compiler.emit_product import BLAS_FROM
from compiler.graph import Graph
from compiler.layout import shape_of
from compiler.program import Buffer, Finish, Item, Loop, Note, Product, Region, Step, Store, Tiles, walk
from compiler.threads import get_num_threads
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
}
"""Where a value is kept, by the role of its buffer."""


def explain(function: Function, topic: str) -> str:
    """The text of a topic; see :meth:`compiler.function.Function.explain`.

    Raises:
        ValueError: there is no topic of that name.
    """
    write = TOPICS.get(topic)
    if write is None:
        raise ValueError(f"there is no topic {topic!r:.80}; the topics are {', '.join(TOPICS)}")
    return "\n".join(line for what, variant in function.variants() for line in write(what, variant))


def _head(what: str, variant: Variant) -> str:
    return f"{what} for ({', '.join(f'{n.name}: {n.type}' for n in variant.typed.inputs)})"


def _passes(what: str, variant: Variant) -> list[str]:
    lines = [_head(what, variant)]
    for step in variant.steps:
        lines.append(f"  {step.name}: {len(Graph(step.outputs))} nodes")
        lines += [f"    {rewrite}" for rewrite in step.rewrites]
    steps, spent = variant.program.steps, account(variant.program, variant.copied)
    regions = [s for s in steps if isinstance(s, Region)]
    kept = sum(b.role == "temporary" for b in variant.program.temporaries)
    lines.append(
        f"  schedule: {_count(len(steps), 'step')}, {_count(sum(r.size is not None for r in regions), 'region')} of "
        f"rows, {_count(len(steps) - len(regions), 'matrix product')}, {_count(kept, 'temporary array')}"
    )
    lines.append(f"    moves {spent.moved} bytes, inputs and outputs are {spent.ends}; {spent.flops} flops")
    return lines


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


# -- the schedule ------------------------------------------------------------------------------------------------------


def _schedule(what: str, variant: Variant) -> list[str]:
    return _Schedule(variant).lines(_head(what, variant))


class _Schedule:
    """Writes the schedule of one kernel; numbers stand beside formulas where sizes are known."""

    def __init__(self, variant: Variant) -> None:
        self.variant, self.program = variant, variant.program
        self.sizes = {} if _fixed(variant) else variant.latest
        self.unit = "tile"  # what the rows of a loop are rows of
        self.short: dict[str, str] = {}  # what long sizes are called
        self.names: dict[Expr, str] = {}  # what stored values, and sizes, are called
        self.out: list[str] = []
        for node in toposort(variant.steps[-1].outputs):
            if node.op is ar.size:
                axis, shape = node.params["axis"], shape_of(node.args[0])
                size = str(dims.product(shape) if axis is None else shape[axis])
                self.names[node] = size if size.isalnum() else f"({size})"
        for step in self.program.steps:
            for b in _results(step):
                if b.node is not None and not b.name.startswith("t_"):
                    self.names[b.node] = b.name.removeprefix("p_")

    def lines(self, head: str) -> list[str]:
        spent = account(self.program, self.variant.copied)
        self.put(0, head)
        if self.sizes:
            self.put(1, "sizes: " + ", ".join(f"{name} = {size}" for name, size in sorted(self.sizes.items())))
        for number, (step, cost) in enumerate(zip(self.program.steps, spent.steps, strict=True), 1):
            self.short = {}
            if isinstance(step, Product):
                self._product(step, number)
            elif step.size is None:
                self.put(1, f"step {number}: without loops")
                self._items(step.items, 2, _stores(step))
            else:
                self._region(step, number, cost)
            self._cost(cost)
        self._sum(spent)
        return self.out

    def put(self, level: int, text: str) -> None:
        self.out.append("  " * level + text)

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
            return _bytes(size)
        return f"{self.size(size)} bytes" + ("" if value is None else f" = {_bytes(value)}")

    def named(self, name: str, size: Size) -> str:
        """The same for a size that has a name from here on."""
        if isinstance(size, int):
            return f"{size:,}"
        text = f"{name} = {self.exact(size)}"
        self.short = {str(size): name, **self.short}
        return text

    # steps

    def _product(self, p: Product, number: int) -> None:
        self.put(1, f"step {number}: matrix product of {', '.join(map(self.size, (p.rows, p.inner, p.columns)))}")
        if p.batch:
            self.put(2, f"for each of {self.exact(dims.product(p.batch))}")
        work = self.value(p.rows * p.columns * p.inner)
        library = p.c[0].dtype.kind == "f" and bool(kernel.blas())
        if not library:
            by = "loops"
        elif work is None:
            by = f"BLAS from {BLAS_FROM:,} multiplications on, else loops"
        else:
            by = "BLAS" if work >= BLAS_FROM else "loops"
        self.put(2, f"by: {by}")
        self.put(2, f"{p.c[0].name} = {self._formula(p.node)}   [{PLACES[p.c[0].role]}]{_line(p.node)}")

    def _region(self, region: Region, number: int, cost: Cost) -> None:
        assert region.size is not None
        self.put(1, f"step {number}: region of {self.exact(region.size)} rows")
        if region.chunks == 1:
            self.put(2, "chunks: one")
        else:
            self.put(2, f"rows in a chunk: {self.named(f'chunk{number}', region.chunk)}")
            self.put(2, f"chunks: {self.named(f'chunks{number}', region.chunks)}; {self._threads(region)}")
        widths = [s.width for s in region.items if isinstance(s, Tiles) and s.width is not None]
        self.unit = "tile" if widths else "chunk"
        for width in widths:
            across = ", neighbours in its buffers" if region.across and region.tiles else ""
            self.put(2, f"rows in a tile: {self.named(f'tile{number}', width)}{across}")
        self._items(region.items, 2, _stores(region))
        if region.tiles:
            parts = ", ".join(f"{b.name} {self.size(bytes_of(b))}" for b in region.tiles)
            self.put(2, f"tile buffers: {parts}; {self.bytes(cost.tiles)} for each thread")
        if region.partials:
            parts = ", ".join(
                f"{p.buffer.name} {self.size(bytes_of(p.partial))}" + (f" in {p.lanes} lanes" if p.lanes > 1 else "")
                for p in region.partials
            )
            self.put(2, f"per chunk: {parts}; {self.bytes(cost.partials)}, combined in order")

    def _threads(self, region: Region) -> str:
        """From which size on threads share the chunks."""
        kept = self.value(total(bytes_of(p.partial) for p in region.partials))
        cost, moved = self.value(region.cost), self.value(region.moved)
        if kept is None or cost is None or moved is None:
            enough = _time(_least_rows(1, 0, 0) or 0)
            return f"shared by threads where the rows, of {self.size(region.cost)} ps each, take more than {enough}"
        least = _least_rows(cost, moved, kept)
        if least is None:
            return f"not shared by threads: a chunk would keep {_bytes(kept)}"
        return f"shared by threads from {least:,} rows on, of {_time(cost)} each"

    def _items(self, items: Sequence[Item], level: int, kept: Mapping[Expr, Buffer]) -> None:
        deeper = {s.node for loop in items if isinstance(loop, Loop) for s in walk(loop.body) if isinstance(s, Note)}
        for s in items:
            if isinstance(s, Note) and s.node not in deeper:
                buffer = kept.get(s.node)
                name = "" if buffer is None else f"{buffer.name.removeprefix('p_')} = "
                place = "registers" if buffer is None else PLACES[buffer.role]
                self.put(level, f"{name}{self._formula(s.node)}   [{place}]{_line(s.node)}")
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
            f"peak memory: outputs {self.bytes(spent.outputs)} + scratch {_bytes(most)}{where}, with "
            f"{_count(threads, 'thread')} = {_bytes(peak)}",
        )


def _fixed(variant: Variant) -> bool:
    """Whether no call can change the sizes."""
    return all(isinstance(size, int) for n in variant.typed.inputs for size in shape_of(n))


def _results(step: Step) -> list[Buffer]:
    if isinstance(step, Product):
        return [step.c[0]]
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


def _line(node: Expr) -> str:
    place = node.origin
    return "" if place is None else f"   {os.path.basename(place.file)}:{place.line}"


def _scaled(value: int, units: Sequence[str]) -> str:
    number, k = float(value), 0
    while number >= 999.5 and k + 1 < len(units):
        number, k = number / 1000, k + 1
    return f"{number:.3g} {units[k]}"


def _bytes(value: int) -> str:
    return _scaled(value, ("B", "kB", "MB", "GB", "TB"))


def _time(picoseconds: int) -> str:
    return _scaled(picoseconds, ("ps", "ns", "µs", "ms", "s"))


TOPICS: dict[str, Callable[[str, Variant], list[str]]] = {"passes": _passes, "schedule": _schedule}

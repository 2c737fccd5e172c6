"""Blocks of rows that threads share, as LLVM IR text: all that a block does for some rows before the next.

Programs inside run for the rows from `%first` to `%last`. What is held for these rows alone lies in a piece of memory
of the thread; the pointers to it stand as far before it as these rows stand behind the first, so that programs find
each row at the number that it has in an array of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from compiler.blocks import held, part_of_row, rooms
from compiler.emit_control import Caller, rounds_at
from compiler.emit_packed import pack, packed_elements
from compiler.emit_scalar import Body, memory_type
from compiler.emit_shared import chunk_function, chunk_range
from compiler.program import Block, Buffer, Product, Region, Repeat, grows, picoseconds
from symgraph import dims
from symgraph.dims import Size

if TYPE_CHECKING:
    from compiler.emit_llvm import ProgramWriter

ENOUGH = 20_000_000
"""Picoseconds of work from which threads share it."""


class BlockWriter(Caller):
    """Writes a block."""

    def __init__(self, owner: ProgramWriter, step: Block, number: int, inner: Sequence[ProgramWriter]) -> None:
        super().__init__(owner, number, inner)
        self.step, (self.body,) = step, inner
        chunks = step.chunks
        self.shared = {  # what products multiply by, and what all chunks accumulate
            b: self.room(b, b.name, b.elements * (chunks if b.role == "partial" else 1))
            for b, row in self.body.rooms.items()
            if row is None
        }
        self.held = {b: row for b, row in self.body.rooms.items() if row is not None}
        self.fails |= bool(self.held)
        given = [b for b in step.body.inputs if b.role != "scalar"]
        self.buffers = list(dict.fromkeys([*given, *step.reads, *step.writes, *self.work]))
        self.tapes = {
            b: (loop, row) for loop in step.repeats for b, row in loop.rounds if grows(b) and b in loop.gathered
        }

    def write(self) -> None:
        """The block, where the program comes to it."""
        main, step, owner = self.main, self.step, self.owner

        def trips(loop: Repeat) -> str:
            return self._trips(main, loop, owner.pointer)

        for product, matrix, packed in self.body.packed:
            pack(main, owner.module, product, owner.pointer(matrix), owner.pointer(self.shared[packed]))
        for number, (tape, (loop, row)) in enumerate(self.tapes.items()):
            if tape not in self.held:
                count = main.let(f"mul i64 {trips(loop)}, {main.size(row.elements)}")
                self.take(tape, count, f"open{number}")
                main.do(f"%{tape.name} = load ptr, ptr %{tape.name}.place")
        name, closure = chunk_function(self, [*step.body.inputs, *self.shared.values()], self._chunk)
        work = main.size(regions_work(step))
        for loop in step.repeats:
            rounds = main.let(f"mul i64 {trips(loop)}, {main.size(loop.body.work)}")
            work = main.let(f"add i64 {work}, {rounds}")
        run = main.let(f"select i1 {main.let(f'icmp sgt i64 {work}, {ENOUGH}')}, ptr %parallel, ptr @in_turn")
        main.do(f"call void {run}(ptr @{name}, ptr {closure}, i64 {main.size(step.chunks)})")
        for p in step.partials:
            owner.combine(p, step.chunks, owner.pointer(self.shared[p.partial]))
        for loop in step.repeats:
            if loop.count is not None:
                main.do(f"store i64 {trips(loop)}, ptr {owner.pointer(loop.count)}")

    def _chunk(self, body: Body, pointers: dict[Buffer, str]) -> None:
        """What is done for the rows of a chunk."""
        step, module = self.step, self.owner.module
        low, high = chunk_range(body, step.chunk, step.rows)
        found: dict[Buffer, str] = {}
        for inside, around in self.shared.items():
            found[inside] = pointers[around]
            if inside.role == "partial":  # each chunk its own
                at = body.let(f"mul nsw i64 %chunk, {body.size(inside.elements)}")
                kind = memory_type(inside.dtype)
                found[inside] = body.let(f"getelementptr inbounds {kind}, ptr {pointers[around]}, i64 {at}")
        memory = self._memory(body, low, high, pointers, found) if self.held else None
        rooms = [f"ptr {found[b]}" for b in self.body.rooms]
        slots = ["ptr %slots"] if self.owner.has_slots else []
        given = [pointers[b] for b in step.body.inputs]
        self.call(body, self.body, given, [], "@in_turn", [*rooms, f"i64 {low}", f"i64 {high}", *slots])
        if memory is not None:
            module.declare("void @pool_free(ptr, ptr, i64)", pure=False)
            body.do(f"call void @pool_free(ptr null, ptr {memory}, i64 0)")

    def _memory(self, body: Body, low: str, high: str, pointers: Mapping[Buffer, str], found: dict[Buffer, str]) -> str:
        """Memory for what is held, and the pointers to it; returns the register of its start."""

        def pointer(buffer: Buffer) -> str:
            return pointers[buffer] if buffer in pointers else self.owner.slot(body, buffer)

        places: dict[Buffer, str] = {}
        rows = body.let(f"sub i64 {high}, {low}")
        room = "64"
        for buffer, row in self.held.items():
            if buffer in self.tapes:
                count = body.let(f"mul i64 {self._trips(body, self.tapes[buffer][0], pointer)}, {body.size(row)}")
            else:
                count = body.size(dims.floordiv(buffer.elements, self.step.rows))
            count = body.let(f"mul i64 {count}, {rows}")
            count = body.let(f"add i64 {body.let(f'mul i64 {count}, {buffer.dtype.itemsize}')}, 127")
            places[buffer] = room  # neighbours keep out of each other's lines
            room = body.let(f"add i64 {room}, {body.let(f'and i64 {count}, -64')}")
        self.owner.module.declare("ptr @pool_malloc(ptr, i64)", pure=False)
        memory = body.let(f"call ptr @pool_malloc(ptr null, i64 {room})")
        body.do(f"br i1 {body.let(f'icmp eq ptr {memory}, null')}, label %nowhere, label %somewhere")
        body.label("nowhere")
        body.let("atomicrmw umin ptr %status, i64 0 monotonic")
        body.do("ret void")
        body.label("somewhere")
        start = body.let(f"and i64 {body.let(f'ptrtoint ptr {memory} to i64')}, -64")
        for buffer, row in self.held.items():
            before = body.let(f"mul i64 {low}, {body.size(row)}")
            before = body.let(f"mul i64 {before}, {buffer.dtype.itemsize}")
            at = body.let(f"sub i64 {body.let(f'add i64 {start}, {places[buffer]}')}, {before}")
            found[buffer] = body.let(f"inttoptr i64 {at} to ptr")
        return memory

    def _trips(self, body: Body, loop: Repeat, pointer: Callable[[Buffer], str]) -> str:
        """How many rounds a loop runs."""
        if isinstance(loop.trips, Buffer):
            return rounds_at(body, pointer(loop.trips), loop.trips)
        assert loop.trips is not None
        return body.size(loop.trips)


def regions_work(block: Block) -> Size:
    """About how many picoseconds its regions take, on one thread."""
    total: Size = 0
    for region in block.regions:
        total = total + picoseconds(region)
    return total


def block_sizes(block: Block) -> Iterator[Size]:
    """The sizes that a block needs beside those of the programs inside."""
    yield from (block.rows, block.chunk, block.chunks, regions_work(block))
    for p in block.partials:
        yield from (p.partial.elements, p.partial.elements * block.chunks)
    for program in (block.body, *(step.body for step in block.body.all_steps() if isinstance(step, Repeat))):
        for buffer, row in held(program, block.rows).items():
            yield row
            if not grows(buffer):
                yield dims.floordiv(buffer.elements, block.rows)
        for step in program.steps:
            if isinstance(step, Region) and step.size is not None:
                yield part_of_row(step, block.rows)
            elif isinstance(step, Product):
                yield packed_elements(step)
            elif isinstance(step, Repeat):
                yield step.body.work
                rows = [row for _, row in step.rounds]
                for buffer in (*rooms(step), *rows):
                    yield from (buffer.elements, dims.floordiv(buffer.elements, block.rows))

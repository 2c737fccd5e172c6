"""A Program as LLVM IR text: a function for each region, and one that calls them in order.

A region that is cut into chunks is called for all of them through `%parallel`.

The kernel's signature: pointers to inputs (numbers by value), constants and outputs, then the sizes of the call as an
array of int64 and the function that runs chunks. It returns 0, or the number of the first failed check, or -1 where
memory ran out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from compiler.blocks import held, part_of_row
from compiler.combine import combining
from compiler.emit_block import BlockWriter, block_sizes
from compiler.emit_control import NO_ERROR, ChooseWriter
from compiler.emit_loop import RepeatWriter, control_sizes
from compiler.emit_packed import call_packed, packed_elements
from compiler.emit_product import call_product
from compiler.emit_region import RegionWriter, fill
from compiler.emit_scalar import Body, Module, memory_type, register_type
from compiler.program import (
    Accumulate,
    Address,
    Block,
    Buffer,
    Control,
    Fill,
    Finish,
    Fold,
    Load,
    Loop,
    Partial,
    Primitive,
    Product,
    Program,
    Region,
    Repeat,
    SizeOf,
    Step,
    Tiles,
    grows,
    has_address,
    walk,
)
from symgraph import dims
from symgraph.dims import Size

ON_STACK = 32
"""Elements up to which what chunks accumulate lies on the stack."""

STACK_BYTES = 1 << 14
"""What temporaries of fixed size may take of the stack, outside of loops and branches; others lie in the pool."""

PADDING = 64
"""Bytes behind a temporary that vectors may read."""

MOST_CHUNKS = 64

TICK = "symgraph_tick"
"""The function that a kernel with ticks calls between its steps."""


class ProgramWriter:
    """Writes the function that runs a program: it calls the regions and products in order.

    A program inside a loop or a branch is a function of its own (`inner`): it takes `%status` instead of returning it;
    and inside a `block` the first and the last row that it runs for, and `rooms`: what is held for these rows, with the
    elements of one; what products multiply by, packed (`packed` tells which matrix); and what chunks accumulate. The
    program of the block itself knows the slots `around`. With `ticks` it tells when steps end.
    """

    def __init__(
        self,
        program: Program,
        name: str,
        module: Module,
        blas: bool,
        inner: bool = False,
        block: Block | None = None,
        around: bool = False,
        register: int = 0,
        ticks: bool = False,
    ) -> None:
        self.program, self.name, self.module, self.blas, self.inner = program, name, module, blas, inner
        self.block, self.around, self.register, self.ticks = block, around, register, ticks
        self.slots = [b for b in program.temporaries if b.role == "slot"]
        self.module.places.update({b: k for k, b in enumerate(self.slots)})
        self.has_slots = bool(self.slots) or around
        self.packed: list[tuple[Product, Buffer, Buffer]] = []
        self.rooms: dict[Buffer, Size | None] = {} if block is None else dict(held(program, block.rows))
        for number, step in enumerate(program.steps):
            if block is not None and isinstance(step, Product):
                packed = Buffer(f"packed{number}", step.b[0].dtype, packed_elements(step), "temporary")
                self.packed.append((step, step.b[0], packed))
                self.rooms[packed] = None
        self.main = Body(self.module)
        self._chunks: dict[Buffer, Size] = {}
        self.straight = inner and not any(_repeats(step) for step in program.steps)
        """Whether the function is taken into the loop that calls it."""
        self.fails = False
        """Whether it may leave something in `%status`."""

    def write(self) -> list[str]:
        """Adds the function to the module; returns its parameters."""
        program, module, main = self.program, self.module, self.main
        if self.slots:
            main.do(f"%slots = alloca [{8 * len(self.slots)} x i8], align 8")
        if not self.inner:
            main.do("%status = alloca i64")
            main.do(f"store i64 {NO_ERROR}, ptr %status")
        last_use: dict[Buffer, int] = {}
        used_by_products: set[Buffer] = set()
        pieces: list[tuple[list[Buffer], Callable[[], None]]] = []
        for number, step in enumerate(program.steps):
            if isinstance(step, Region):
                buffers, run = self._region(step, number)
                pieces.append((buffers, run))
            elif isinstance(step, Control):
                buffers, run = self._control(step, number)
                pieces.append((buffers, run))
            else:
                buffers = list(dict.fromkeys((step.a[0], step.b[0], step.c[0])))  # a square's operand is freed once
                used_by_products.update(buffers)
                pieces.append((buffers, partial(self._product, step, number)))
            for buffer in buffers:
                last_use[buffer] = number
        for place, buffer in enumerate(self.slots):
            if buffer in used_by_products:
                main.do(f"%{buffer.name} = getelementptr inbounds i8, ptr %slots, i64 {8 * place}")
        self._run(pieces, last_use)
        parameters = [argument(b) for b in program.inputs]
        parameters += [f"ptr %{b.name}" for b, _ in program.constants]
        parameters += [f"ptr %{b.name}" for b in dict.fromkeys(program.outputs) if b not in program.inputs]
        parameters += ["ptr %sizes", "ptr %parallel", *(["ptr %status"] if self.inner else [])]
        if self.block is not None:
            parameters += [*(f"ptr %{b.name}" for b in self.rooms), "i64 %first", "i64 %last"]
            parameters += ["ptr %slots"] if self.around else []
        kind = "void" if self.inner else "i64"
        attribute = "#9" if self.straight else "#2" if self.inner else "#5"
        if self.block is not None and program is not self.block.body:  # many rounds are short
            attribute = "#9"
        head = f"\ndefine internal {kind} @{self.name}({', '.join(parameters)}) {attribute} {{"
        module.functions.append("\n".join([head, "entry:", *main.size_loads(), *main.lines, "}"]))
        return parameters

    def _run(self, pieces: Sequence[tuple[list[Buffer], Callable[[], None]]], last_use: dict[Buffer, int]) -> None:
        """All pieces in order, with memory for temporaries from their first use to their last."""
        main = self.main
        live: set[Buffer] = set()
        kept = dict.fromkeys(
            b for buffers, _ in pieces for b in buffers if b.role in ("temporary", "tape") or _on_heap(b)
        )
        for buffer in (*self.rooms, *self.program.inputs):
            kept.pop(buffer, None)
        left = 0 if self.inner else STACK_BYTES
        for buffer in list(kept):
            room = _fixed_room(buffer)
            if room is not None and room <= left:
                left -= room
                del kept[buffer]
                main.lines.insert(0, f"  %{buffer.name} = alloca [{room} x i8], align 64")
        table = {b: k for k, b in enumerate(kept)}
        self.fails |= bool(table)
        if table:
            self.module.declare("void @llvm.memset.p0.i64(ptr, i8, i64, i1)", pure=False)
            main.do(f"%table = alloca [{len(table)} x ptr]")
            main.do(f"call void @llvm.memset.p0.i64(ptr %table, i8 0, i64 {8 * len(table)}, i1 false)")
        for _ in range(2 * self.ticks):
            self._tick()
        for number, (buffers, call) in enumerate(pieces):
            for buffer in buffers:
                if buffer in table and buffer not in live:
                    live.add(buffer)
                    if buffer.role == "tape":  # who writes it makes room, and says where
                        main.do(f"%{buffer.name}.place = getelementptr inbounds ptr, ptr %table, i64 {table[buffer]}")
                    else:
                        _allocate(main, buffer, table[buffer], self._chunks.get(buffer, 1))
            call()
            for buffer in buffers:
                if buffer in table and last_use[buffer] == number:
                    main.do(f"call void @pool_free(ptr null, ptr %{buffer.name}, i64 0)")
                    main.do(f"store ptr null, ptr %{buffer.name}.place")
            if self.ticks:
                self._tick()
        if self.inner:
            main.do("ret void")
            if table:
                _give_back(main, self.module, len(table), inner=True)
            return
        status = main.let("load i64, ptr %status")
        none = main.let(f"icmp eq i64 {status}, {NO_ERROR}")
        lost = main.let(f"icmp eq i64 {status}, 0")
        failed = main.let(f"select i1 {lost}, i64 -1, i64 {status}")
        main.do(f"ret i64 {main.let(f'select i1 {none}, i64 0, i64 {failed}')}")
        if table:
            _give_back(main, self.module, len(table))

    def _control(self, step: Control, number: int) -> tuple[list[Buffer], Callable[[], None]]:
        """Writes the functions of the programs inside a loop or a branch; returns the buffers that it uses, and what
        runs it."""
        inner = []
        for k, program in enumerate(step.inner):
            name = f"{self.name}_inner{number}_{k}"
            block, around = (step, self.has_slots) if isinstance(step, Block) else (self.block, False)
            writer = ProgramWriter(program, name, self.module, self.blas, True, block, around)
            writer.write()
            inner.append(writer)
        caller: RepeatWriter | ChooseWriter | BlockWriter
        if isinstance(step, Block):
            caller = BlockWriter(self, step, number, inner)
        elif isinstance(step, Repeat):
            caller = RepeatWriter(self, step, number, inner)
            self._hold(step, caller)
        else:
            caller = ChooseWriter(self, step, number, inner)
        self.fails |= caller.fails
        return caller.buffers, caller.write

    def _hold(self, step: Repeat, loop: RepeatWriter) -> None:
        """In a block, what a loop needs is held where the block says."""
        if self.block is not None:
            inside = {room: loop.body.rooms[b] for b, room in loop.rooms.items()}
            rows = self.block.rows
            self.rooms |= {b: inside.get(b, dims.floordiv(b.elements, rows)) for b in loop.work}
            self.packed += [(p, step.taken[matrix], loop.rooms[packed]) for p, matrix, packed in loop.body.packed]

    def _tick(self) -> None:
        self.module.declare(f"void @{TICK}()", pure=False)
        self.main.do(f"call void @{TICK}()")

    def _product(self, p: Product, number: int) -> None:
        if self.block is None:
            call_product(self.main, self.module, p, number, self.blas)
            return
        call_packed(self.main, self.module, p, next(packed for product, _, packed in self.packed if product is p))

    def _region(self, region: Region, number: int) -> tuple[list[Buffer], Callable[[], None]]:
        """Writes a region's function; returns the buffers it uses, and what calls it."""
        module, main = self.module, self.main
        name = f"{self.name}_region{number}"
        writer = RegionWriter(module, region, name, self.inner, self.register)
        text, buffers = writer.write()
        self.fails |= writer.checks
        module.functions.append(text)
        given = [b for b in buffers if b.role not in ("slot", "partial")]
        operands = {b: argument(b) for b in given}
        rest = ["ptr %slots"] if any(b.role == "slot" for b in buffers) else []
        rest += ["ptr %sizes", *(["ptr %status"] if writer.checks else [])]
        for p in region.partials:
            self._chunks[p.partial] = region.chunks
            if self.block is not None:
                self.rooms[p.partial] = None
        used = list(dict.fromkeys([*buffers, *(p.buffer for p in region.partials), *(f.buffer for f in region.fills)]))

        def values(body: Body, chunk: str | None) -> str:
            """The operands of a call, for a chunk of the region."""
            found = []
            for b in buffers:
                if b.role == "slot":
                    continue
                if b.role == "partial" and chunk is not None:
                    step = body.let(f"mul nsw i64 {chunk}, {body.size(b.elements)}")
                    at = body.let(f"getelementptr inbounds {memory_type(b.dtype)}, ptr %{b.name}, i64 {step}")
                    found.append(f"ptr {at}")
                else:
                    found.append(operands.get(b, f"ptr %{b.name}"))
            return ", ".join([*found, *rest])

        def run() -> None:
            for f in region.fills:
                fill(main, self.pointer(f.buffer), f)
            for p in region.partials if self.block is None else ():
                if not _on_heap(p.partial):
                    room = (1 if region.chunks == 1 else MOST_CHUNKS) * p.partial.elements * p.partial.dtype.itemsize
                    main.lines.insert(0, f"  %{p.partial.name} = alloca [{room} x i8], align 64")
            if region.size is None:
                main.do(f"call void @{name}({values(main, None)})")
            elif self.block is not None:
                parts = main.size(part_of_row(region, self.block.rows))
                low, high = (main.let(f"mul nsw i64 {end}, {parts}") for end in ("%first", "%last"))
                main.do(f"call void @{name}({values(main, None)}, i64 {low}, i64 {high})")
            elif region.chunks == 1:
                main.do(f"call void @{name}({values(main, None)}, i64 0, i64 {main.size(region.size)})")
            else:
                self._parallel(region, name, [b for b in buffers if b.role != "slot"], rest, values)
            for p in region.partials if self.block is None else ():
                self.combine(p, region.chunks, f"%{p.partial.name}")

        return used, run

    def _parallel(
        self,
        region: Region,
        name: str,
        buffers: Sequence[Buffer],
        rest: Sequence[str],
        values: Callable[[Body, str | None], str],
    ) -> None:
        """Calls a region's function for every chunk, by way of a function that takes all it needs from one place."""
        main, module = self.main, self.module
        parts = [*(argument(b) if b.role == "scalar" else f"ptr %{b.name}" for b in buffers), *rest]
        kinds = [p[: p.rindex(" ")] for p in parts]
        closure = f"%closure{name.rpartition('_')[2]}"
        main.lines.insert(0, f"  {closure} = alloca [{8 * len(parts)} x i8], align 8")
        for k, part in enumerate(parts):
            at = main.let(f"getelementptr inbounds i8, ptr {closure}, i64 {8 * k}")
            main.do(f"store {part}, ptr {at}")
        chunks = main.size(region.chunks)
        body = Body(module)
        for k, (part, kind) in enumerate(zip(parts, kinds, strict=True)):
            at = body.let(f"getelementptr inbounds i8, ptr %closure, i64 {8 * k}")
            body.do(f"{part[part.rindex(' ') + 1 :]} = load {kind}, ptr {at}")
        start = len(body.lines)
        chunk, size = body.size(region.chunk), body.size(size_of(region))
        first = body.let(f"mul nsw i64 %chunk, {chunk}")
        module.declare("i64 @llvm.smin.i64(i64, i64)")
        last = body.let(f"call i64 @llvm.smin.i64(i64 {body.let(f'add nsw i64 {first}, {chunk}')}, i64 {size})")
        body.do(f"call void @{name}({values(body, '%chunk')}, i64 {first}, i64 {last})")
        body.do("ret void")
        lines = [*body.lines[:start], *body.size_loads(), *body.lines[start:]]
        module.functions.append(
            "\n".join([f"\ndefine internal void @{name}_chunk(ptr %closure, i64 %chunk) #2 {{", "entry:", *lines, "}"])
        )
        main.do(f"call void %parallel(ptr @{name}_chunk, ptr {closure}, i64 {chunks})")

    def pointer(self, buffer: Buffer) -> str:
        """A register that points to a buffer."""
        return self.slot(self.main, buffer) if buffer.role == "slot" else f"%{buffer.name}"

    def slot(self, body: Body, buffer: Buffer) -> str:
        """A register that points to a slot."""
        return body.let(f"getelementptr inbounds i8, ptr %slots, i64 {8 * self.module.places[buffer]}")

    def combine(self, p: Partial, chunks: Size, partials: str) -> None:
        """buffer = the partials of all chunks combined, in their order."""
        name, main = f"{self.name}_combine_{p.partial.name}", self.main
        text, buffers = RegionWriter(self.module, combining(p, chunks), name).write()
        self.module.functions.append(text)
        given = [f"ptr {partials if b is p.partial else f'%{b.name}'}" for b in buffers if b.role != "slot"]
        given += ["ptr %slots"] if p.buffer.role == "slot" else []
        main.do(f"call void @{name}({', '.join([*given, 'ptr %sizes'])})")


def emit(
    program: Program,
    name: str,
    sizes: Sequence[Size],
    blas: bool,
    register: int = 0,
    ticks: bool = False,
    far: bool = False,
    masks: bool = False,
) -> str:
    """The module's text.

    Args:
        program: what is to be run.
        name: the function's.
        sizes: the values of the sizes array, in order.
        blas: whether there is a library for products.
        register: that of `RegionWriter`.
        ticks: tell when steps end, by calls of `TICK`.
        far: that of `Module`.
        masks: that of `Module`.
    """
    module = Module(name, sizes, far, masks)
    ProgramWriter(program, name, module, blas, register=register, ticks=ticks).write()
    return module.text()


def size_of(region: Region) -> Size:
    """How many rows a region has."""
    assert region.size is not None
    return region.size


def argument(buffer: Buffer) -> str:
    """A buffer as the kernel's functions hand it on."""
    if buffer.role == "scalar":
        return f"{register_type(buffer.dtype)} %{buffer.name}"
    return f"ptr %{buffer.name}"


def _on_heap(buffer: Buffer) -> bool:
    """Whether what chunks accumulate needs memory of its own."""
    return buffer.role == "partial" and not (isinstance(buffer.elements, int) and buffer.elements <= ON_STACK)


def _fixed_room(buffer: Buffer) -> int | None:
    """The bytes of a temporary, with those that vectors may read beyond its end; None where calls decide."""
    if buffer.role != "temporary" or not isinstance(buffer.elements, int):
        return None
    return buffer.elements * buffer.dtype.itemsize + PADDING


def _allocate(main: Body, buffer: Buffer, place: int, chunks: Size) -> None:
    """Memory for a temporary, noted in the table of what is held."""
    count = main.let(f"mul i64 {main.size(buffer.elements)}, {buffer.dtype.itemsize}")
    if chunks != 1:
        count = main.let(f"mul i64 {count}, {main.size(chunks)}")
    padded = main.let(f"add i64 {count}, {PADDING}")
    main.do(f"%{buffer.name} = call ptr @pool_malloc(ptr null, i64 {padded})")
    main.do(f"%{buffer.name}.place = getelementptr inbounds ptr, ptr %table, i64 {place}")
    main.do(f"store ptr %{buffer.name}, ptr %{buffer.name}.place")
    failed = main.let(f"icmp eq ptr %{buffer.name}, null")
    main.do(f"br i1 {failed}, label %failed, label %{buffer.name}.held")
    main.label(f"{buffer.name}.held")


def _repeats(step: Step) -> bool:
    """Whether a step is more than some straight statements."""
    if isinstance(step, Region):
        return step.size is not None
    return isinstance(step, Product) or any(_repeats(s) for program in step.inner for s in program.steps)


def _give_back(main: Body, module: Module, held: int, inner: bool = False) -> None:
    """Where memory ran out: free what the table holds, and return -1, or leave a 0 in the status."""
    module.declare("void @pool_free(ptr, ptr, i64)", pure=False)
    module.declare("ptr @pool_malloc(ptr, i64)", pure=False)
    main.label("failed")

    def free() -> None:
        at = main.let("getelementptr inbounds ptr, ptr %table, i64 %held")
        main.do(f"call void @pool_free(ptr null, ptr {main.let(f'load ptr, ptr {at}')}, i64 0)")

    main.counted("held", "0", str(held), "1", free)
    if inner:
        main.let("atomicrmw umin ptr %status, i64 0 monotonic")
    main.do("ret void" if inner else "ret i64 -1")


def needed_sizes(program: Program) -> list[Size]:
    """The sizes a kernel is given, in order: every size in a loop, an address or a length that is not fixed."""
    found: dict[Size, None] = {}

    def need(*sizes: Size | None) -> None:
        for size in sizes:
            if size is not None and not isinstance(size, int):
                found.setdefault(size)

    def need_program(program: Program) -> None:
        for step in program.steps:
            need_step(step)
        for buffer in program.temporaries:
            if not grows(buffer):
                need(buffer.elements)

    def need_address(address: Address) -> None:
        for size in (address.constant, *[step for _, step in address.terms]):
            if type(size) is not int:
                need(size)

    def need_step(step: Step) -> None:
        if isinstance(step, Control):
            need(*(block_sizes(step) if isinstance(step, Block) else control_sizes(step)))
            for inner in step.inner:
                need_program(inner)
        elif isinstance(step, Region):
            if step.size is not None:
                need(step.size, step.chunk, step.chunks)
            for f in step.fills:
                need(f.buffer.elements)
            for p in step.partials:
                need(p.partial.elements)
            for s in walk([*step.items, *(s for p in step.partials for s in combining(p, step.chunks).items)]):
                if isinstance(s, Primitive):
                    continue
                if isinstance(s, Loop):
                    need(s.size, s.factor)
                elif isinstance(s, Tiles):
                    need(s.width)
                elif isinstance(s, Fill):
                    need(s.buffer.elements, s.row)
                elif has_address(s) or isinstance(s, Finish | Fold):
                    need_address(s.address)
                    if isinstance(s, Load) and s.mask is not None:
                        need(s.buffer.elements)
                elif isinstance(s, Accumulate) and s.position is not None:
                    need_address(s.position)
                elif isinstance(s, SizeOf):
                    need(s.size)
            need(*(b.elements for b in step.tiles))
        else:
            need(*step.batch, step.rows, step.columns, step.inner, *step.a[2:], *step.b[2:])
            need_address(step.a[1])
            need_address(step.b[1])
            need_address(step.c[1])

    need_program(program)
    return list(found)

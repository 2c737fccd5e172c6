"""Loops that threads share, as LLVM IR text.

Rounds without a state may run in any order, each thread some of them. A loop over a state whose rows do not look at
each other is run chunk by chunk of the rows, all rounds of a chunk while its rows are in cache; products of rows by a
matrix from outside included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set as AbstractSet
from typing import TYPE_CHECKING

from compiler.emit_control import NO_ERROR
from compiler.emit_packed import ROWS, pack, packed_elements
from compiler.emit_scalar import Body
from compiler.program import OVERHEAD, Address, Buffer, Finish, Fold, Load, Product, Region, Repeat, Store, walk
from compiler.rows import in_row
from symgraph import dims
from symgraph.dims import Size

if TYPE_CHECKING:
    from compiler.emit_loop import RepeatWriter

ROOM = 1 << 14
"""What the rows of a chunk may fill, in bytes: they stay in the nearest cache from round to round."""

ENOUGH = 20_000_000
"""Picoseconds of work from which threads share it."""


# -- which loops -------------------------------------------------------------------------------------------------------


def rounds_in_any_order(step: Repeat) -> bool:
    """Whether no round needs another."""
    return not (
        step.firsts
        or step.holds is not None
        or step.limit is not None
        or isinstance(step.trips, Buffer)
        or step.trips in (0, 1)
        or any(b is not None and b.role == "tape" for b in step.gathered)
    )


def rows_apart(step: Repeat) -> Size | None:
    """How many rows the state has, if no row looks at another and nothing but rows is computed."""
    body = step.body
    if step.holds is not None or step.limit is not None or step.trips is None or not step.firsts:
        return None
    if any(step.in_place) or any(not isinstance(s, Region | Product) for s in body.steps):
        return None
    products = [s for s in body.steps if isinstance(s, Product)]
    regions = [s for s in body.steps if isinstance(s, Region)]
    sizes = [p.rows for p in products] or [r.size for r in regions if r.size is not None]
    temporaries = [b for b in body.temporaries if b.role == "temporary"]
    changing = {*body.inputs[1 : 1 + len(step.firsts)], *body.outputs, *temporaries}
    if not sizes or any(b.role == "scalar" or b.elements == 1 for b in changing):
        return None
    outside = set(body.inputs[1 + len(step.firsts) + len(step.xs) :])
    apart = all(_region_apart(r, sizes[0], changing) for r in regions)
    return sizes[0] if apart and all(_product_apart(p, sizes[0], changing, outside) for p in products) else None


def _region_apart(region: Region, rows: Size, changing: AbstractSet[Buffer]) -> bool:
    touched = {s.buffer for s in walk(region.items) if isinstance(s, Load | Store | Finish | Fold)} & changing
    if region.size is None:
        return not touched
    return (
        part_of_row(region, rows) * rows == region.size
        and not (region.in_order or region.partials or region.fills)
        and touched <= region.by_rows
    )


def _product_apart(p: Product, rows: Size, changing: AbstractSet[Buffer], outside: AbstractSet[Buffer]) -> bool:
    """Whether each row is multiplied for itself, by a matrix that is the same in all rounds."""
    buffer, start, row, inner = p.a
    own = row * rows == buffer.elements and in_row(Address(start.constant, ((1, inner),)), row, (rows, p.inner))
    return (
        p.c[0].dtype.kind == "f"
        and not p.batch
        and p.rows == rows
        and (own or buffer not in changing)
        and p.b[0] in outside
    )


def part_of_row(region: Region, rows: Size) -> Size:
    """How many rows of a region, which may go through several axes at once, make one row of the loop's state."""
    assert region.size is not None
    return dims.floordiv(region.size, rows)


def shared_sizes(step: Repeat) -> tuple[Size, ...]:
    """The sizes that sharing needs."""
    if rounds_in_any_order(step):
        return _round_chunks(step)
    rows = rows_apart(step)
    if rows is None:
        return ()
    packed = [packed_elements(s) for s in step.body.steps if isinstance(s, Product)]
    parts = [part_of_row(s, rows) for s in step.body.steps if isinstance(s, Region) and s.size is not None]
    return (*_row_chunks(step, rows), *packed, *parts)


def _round_chunks(step: Repeat) -> tuple[Size, Size]:
    """How many rounds make a chunk, and how many chunks there are."""
    assert step.trips is not None and not isinstance(step.trips, Buffer)
    parts = dims.call("parts", step.trips, step.body.work + OVERHEAD, 0, 0)
    chunk = dims.call("chunk", step.trips, parts)
    return chunk, dims.call("ceildiv", step.trips, chunk)


def _row_chunks(step: Repeat, rows: Size) -> tuple[Size, Size, Size, Size]:
    """How many rows there are, how many make a chunk, how many chunks there are, and the work of a round."""
    moved: Size = 0
    for s in step.body.steps:
        if isinstance(s, Region) and s.size is not None:
            moved = moved + s.moved * part_of_row(s, rows)
    least = ROWS if any(isinstance(s, Product) for s in step.body.steps) else 64
    chunk = dims.call("tile", rows, moved, ROOM, least)
    return rows, chunk, dims.call("ceildiv", rows, chunk), step.body.work


# -- writing them ------------------------------------------------------------------------------------------------------


def _function(
    loop: RepeatWriter,
    used: Sequence[Buffer],
    values: Mapping[str, str],
    write: Callable[[Body, dict[Buffer, str]], None],
) -> tuple[str, str]:
    """A function of a chunk, and what it takes from where the loop stands: `used` buffers and other registers, by name
    and type. Returns its name and the register of what it takes."""
    main, owner = loop.main, loop.owner
    name = f"{owner.name}_{loop.tag}_chunk"
    parts = [("ptr", owner.pointer(b)) for b in used]
    parts += [("ptr", "%sizes"), ("ptr", "%status"), *((kind, register) for register, kind in values.items())]
    closure = loop.alloca("closure", f"[{8 * len(parts)} x i8]")
    body = Body(owner.module)
    pointers: dict[Buffer, str] = {}
    for k, (kind, part) in enumerate(parts):
        main.do(f"store {kind} {part}, ptr {main.let(f'getelementptr inbounds i8, ptr {closure}, i64 {8 * k}')}")
        place = body.let(f"getelementptr inbounds i8, ptr %closure, i64 {8 * k}")
        if k < len(used):
            pointers[used[k]] = body.let(f"load ptr, ptr {place}")
        else:
            body.do(f"{part} = load {kind}, ptr {place}")
    start = len(body.lines)
    write(body, pointers)
    body.do("ret void")
    lines = [*body.lines[:start], *body.size_loads(), *body.lines[start:]]
    head = f"\ndefine internal void @{name}(ptr %closure, i64 %chunk) #2 {{"
    owner.module.functions.append("\n".join([head, "entry:", *lines, "}"]))
    return name, closure


def _range(body: Body, chunk: Size, size: Size) -> tuple[str, str]:
    """Where a chunk starts and ends."""
    body.module.declare("i64 @llvm.smin.i64(i64, i64)")
    low = body.let(f"mul nsw i64 %chunk, {body.size(chunk)}")
    end = body.let(f"add nsw i64 {low}, {body.size(chunk)}")
    return low, body.let(f"call i64 @llvm.smin.i64(i64 {end}, i64 {body.size(size)})")


def _unless_failed(body: Body, name: str, write: Callable[[], None]) -> Callable[[], None]:
    """What a round does, as long as nothing has failed."""

    def checked() -> None:
        fine = body.let(f"icmp eq i64 {body.let('load atomic i64, ptr %status monotonic, align 8')}, {NO_ERROR}")
        body.do(f"br i1 {fine}, label %{name}.go, label %{name}.exit")
        body.label(f"{name}.go")
        write()

    return checked


def write_by_rounds(loop: RepeatWriter) -> None:
    """A loop whose rounds threads share."""
    main, step = loop.main, loop.step
    chunk, chunks = _round_chunks(step)
    trips = step.trips
    assert trips is not None and not isinstance(trips, Buffer)

    def write(body: Body, pointers: dict[Buffer, str]) -> None:
        low, high = _range(body, chunk, trips)

        def one() -> None:
            inputs = loop.inputs(body, step.body, "%round", pointers, [])
            loop.call(body, loop.body, inputs, loop.rows(body, "%round", pointers), "@in_turn")

        body.counted("round", low, high, "1", _unless_failed(body, "round", one) if loop.body.fails else one)

    used = list(dict.fromkeys([*step.xs, *step.outside, *loop.gathered]))
    name, closure = _function(loop, used, {}, write)
    main.do(f"call void %parallel(ptr @{name}, ptr {closure}, i64 {main.size(chunks)})")
    if step.count is not None:
        main.do(f"store i64 {main.size(trips)}, ptr {loop.owner.pointer(step.count)}")


def write_by_rows(loop: RepeatWriter, trips: str) -> list[str]:
    """A loop over chunks of rows; returns, for each state, the register that points to its last value."""
    main, step, tag = loop.main, loop.step, loop.tag
    number = rows_apart(step)
    assert number is not None
    rows, chunk, chunks, work = _row_chunks(step, number)
    firsts = list(step.firsts)
    inside = dict(zip(step.body.inputs[1 + len(firsts) + len(step.xs) :], step.outside, strict=True))
    rooms = dict(zip(loop.body.rooms, loop.rooms, strict=True))
    for product, packed in loop.body.packed.items():
        matrix = loop.owner.pointer(inside[product.b[0]])
        pack(main, loop.owner.module, product, matrix, loop.owner.pointer(rooms[packed]))
    halves = [h for h in loop.halves if h is not None]

    def write(body: Body, pointers: dict[Buffer, str]) -> None:
        low, high = _range(body, chunk, rows)
        now: list[str] = []
        then: list[str] = []
        for k, (first, half) in enumerate(zip(firsts, halves, strict=True)):
            for name, value, places in (("now", pointers[first], now), ("then", pointers[half[0]], then)):
                body.do(f"%{name}{k} = alloca ptr")
                body.do(f"store ptr {value}, ptr %{name}{k}")
                places.append(f"%{name}{k}")

        def one() -> None:
            at = "%round"
            if step.reverse:
                at = body.let(f"sub nsw i64 {body.let(f'sub nsw i64 %trips{tag}, 1')}, %round")
            states = [body.let(f"load ptr, ptr {p}") for p in now]
            made = [body.let(f"load ptr, ptr {p}") for p in then]
            inputs = loop.inputs(body, step.body, at, pointers, states)
            given = [*(f"ptr {pointers[b]}" for b in loop.rooms), f"i64 {low}", f"i64 {high}"]
            loop.call(body, loop.body, inputs, [*made, *loop.rows(body, at, pointers)], "@in_turn", given)
            for k, half in enumerate(halves):
                body.do(f"store ptr {made[k]}, ptr {now[k]}")
                is_first = body.let(f"icmp eq ptr {states[k]}, {pointers[firsts[k]]}")
                free = body.let(f"select i1 {is_first}, ptr {pointers[half[1]]}, ptr {states[k]}")
                body.do(f"store ptr {free}, ptr {then[k]}")
            loop.poll(body, "%round", "%clock", "round.exit")

        body.do("%clock = alloca i64")
        loop.start_clock(body, "%clock")
        body.counted("round", "0", f"%trips{tag}", "1", _unless_failed(body, "round", one))

    main.do(f"%trips{tag} = add i64 {trips}, 0")
    memory = [b for pair in halves for b in pair]
    used = list(dict.fromkeys([*step.xs, *step.outside, *firsts, *memory, *loop.rooms, *loop.gathered]))
    name, closure = _function(loop, used, {f"%trips{tag}": "i64"}, write)
    total = main.let(f"mul i64 {main.size(work)}, {trips}")
    many = main.let(f"icmp sgt i64 {total}, {ENOUGH}")
    run = main.let(f"select i1 {many}, ptr %parallel, ptr @in_turn")
    main.do(f"call void {run}(ptr @{name}, ptr {closure}, i64 {main.size(chunks)})")
    none = main.let(f"icmp eq i64 {trips}, 0")
    odd = main.let(f"icmp ne i64 {main.let(f'and i64 {trips}, 1')}, 0")
    lasts = []
    for first, half in zip(firsts, halves, strict=True):
        first_half, other = (loop.owner.pointer(b) for b in half)
        made_last = main.let(f"select i1 {odd}, ptr {first_half}, ptr {other}")
        lasts.append(main.let(f"select i1 {none}, ptr {loop.owner.pointer(first)}, ptr {made_last}"))
    return lasts

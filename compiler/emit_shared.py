"""Loops that threads share, as LLVM IR text.

Rounds without a state may run in any order, each thread some of them. A loop over a state whose rows do not look at
each other is run chunk by chunk of the rows, all rounds of a chunk while its rows are in cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from compiler.emit_control import NO_ERROR
from compiler.emit_scalar import Body
from compiler.program import OVERHEAD, Buffer, Finish, Fold, Load, Region, Repeat, Store, walk
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


def rows_apart(step: Repeat) -> Region | None:
    """A region over the rows of the state, if no row looks at another and nothing but rows is computed."""
    body = step.body
    if step.holds is not None or step.limit is not None or step.trips is None or not step.firsts:
        return None
    if any(step.in_place) or any(not isinstance(s, Region) for s in body.steps):
        return None
    if any(b.role == "temporary" for b in body.temporaries):
        return None
    regions = [s for s in body.steps if isinstance(s, Region)]
    rows = [r for r in regions if r.size is not None]
    changing = {*body.inputs[1 : 1 + len(step.firsts)], *body.outputs}
    if not rows or any(b.role == "scalar" or b.elements == 1 for b in changing):
        return None
    for region in regions:
        touched = {s.buffer for s in walk(region.items) if isinstance(s, Load | Store | Finish | Fold)} & changing
        if region.size is None and touched:
            return None
        if region.size is not None and (
            region.size != rows[0].size
            or region.chunks == 1
            or region.partials
            or region.fills
            or not touched <= region.by_rows
        ):
            return None
    return rows[0]


def shared_sizes(step: Repeat) -> tuple[Size, ...]:
    """The sizes that sharing needs."""
    if rounds_in_any_order(step):
        return _round_chunks(step)
    region = rows_apart(step)
    return () if region is None else _row_chunks(step, region)


def _round_chunks(step: Repeat) -> tuple[Size, Size]:
    """How many rounds make a chunk, and how many chunks there are."""
    assert step.trips is not None and not isinstance(step.trips, Buffer)
    parts = dims.call("parts", step.trips, step.body.work + OVERHEAD, 0, 0)
    chunk = dims.call("chunk", step.trips, parts)
    return chunk, dims.call("ceildiv", step.trips, chunk)


def _row_chunks(step: Repeat, region: Region) -> tuple[Size, Size, Size, Size]:
    """How many rows there are, how many make a chunk, how many chunks there are, and the work of a round."""
    assert region.size is not None
    moved: Size = 0
    for s in step.body.steps:
        if isinstance(s, Region):
            moved = moved + s.moved
    chunk = dims.call("tile", region.size, moved, ROOM, 64)
    return region.size, chunk, dims.call("ceildiv", region.size, chunk), step.body.work


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
        body.do(f"br i1 {fine}, label %{name}.go, label %{name}.latch")
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
    region = rows_apart(step)
    assert region is not None
    rows, chunk, chunks, work = _row_chunks(step, region)
    firsts = list(step.firsts)
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
            loop.call(body, loop.body, inputs, [*made, *loop.rows(body, at, pointers)], "@in_turn", (low, high))
            for k, half in enumerate(halves):
                body.do(f"store ptr {made[k]}, ptr {now[k]}")
                is_first = body.let(f"icmp eq ptr {states[k]}, {pointers[firsts[k]]}")
                free = body.let(f"select i1 {is_first}, ptr {pointers[half[1]]}, ptr {states[k]}")
                body.do(f"store ptr {free}, ptr {then[k]}")

        body.counted("round", "0", f"%trips{tag}", "1", _unless_failed(body, "round", one) if loop.body.fails else one)

    main.do(f"%trips{tag} = add i64 {trips}, 0")
    used = list(dict.fromkeys([*step.xs, *step.outside, *firsts, *(b for h in halves for b in h), *loop.gathered]))
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

"""Loops whose rounds threads share, as LLVM IR text, and functions of a chunk of what threads share.

Rounds without a state may run in any order, each thread some of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from compiler.emit_control import NO_ERROR, Caller
from compiler.emit_scalar import Body, register_type
from compiler.program import OVERHEAD, Buffer, Repeat
from symgraph import dims
from symgraph.dims import Size

if TYPE_CHECKING:
    from compiler.emit_loop import RepeatWriter


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


def shared_sizes(step: Repeat) -> tuple[Size, ...]:
    """The sizes that sharing needs."""
    return _round_chunks(step) if rounds_in_any_order(step) else ()


def _round_chunks(step: Repeat) -> tuple[Size, Size]:
    """How many rounds make a chunk, and how many chunks there are."""
    assert step.trips is not None and not isinstance(step.trips, Buffer)
    parts = dims.call("parts", step.trips, step.body.work + OVERHEAD, 0, 0)
    chunk = dims.call("chunk", step.trips, parts)
    return chunk, dims.call("ceildiv", step.trips, chunk)


def chunk_function(
    caller: Caller, used: Sequence[Buffer], write: Callable[[Body, dict[Buffer, str]], None]
) -> tuple[str, str]:
    """A function of a chunk, and what it takes from where the step stands: the values of `used` buffers, or pointers
    to them. Returns its name and the register of what it takes."""
    main, owner = caller.main, caller.owner
    name = f"{owner.name}_{caller.tag}_chunk"
    parts = [(register_type(b.dtype) if b.role == "scalar" else "ptr", owner.pointer(b)) for b in used]
    parts += [("ptr", register) for register in ("%sizes", "%status", *(["%slots"] if owner.has_slots else []))]
    closure = caller.alloca("closure", f"[{8 * len(parts)} x i8]")
    body = Body(owner.module)
    values: dict[Buffer, str] = {}
    for k, (kind, part) in enumerate(parts):
        main.do(f"store {kind} {part}, ptr {main.let(f'getelementptr inbounds i8, ptr {closure}, i64 {8 * k}')}")
        place = body.let(f"getelementptr inbounds i8, ptr %closure, i64 {8 * k}")
        if k < len(used):
            values[used[k]] = body.let(f"load {kind}, ptr {place}")
        else:
            body.do(f"{part} = load {kind}, ptr {place}")
    start = len(body.lines)
    write(body, values)
    body.do("ret void")
    lines = [*body.lines[:start], *body.size_loads(), *body.lines[start:]]
    head = f"\ndefine internal void @{name}(ptr %closure, i64 %chunk) #2 {{"
    owner.module.functions.append("\n".join([head, "entry:", *lines, "}"]))
    return name, closure


def chunk_range(body: Body, chunk: Size, size: Size) -> tuple[str, str]:
    """Where a chunk starts and ends."""
    body.module.declare("i64 @llvm.smin.i64(i64, i64)")
    low = body.let(f"mul nsw i64 %chunk, {body.size(chunk)}")
    end = body.let(f"add nsw i64 {low}, {body.size(chunk)}")
    return low, body.let(f"call i64 @llvm.smin.i64(i64 {end}, i64 {body.size(size)})")


def write_by_rounds(loop: RepeatWriter) -> None:
    """A loop whose rounds threads share."""
    main, step = loop.main, loop.step
    chunk, chunks = _round_chunks(step)
    trips = step.trips
    assert trips is not None and not isinstance(trips, Buffer)

    def write(body: Body, pointers: dict[Buffer, str]) -> None:
        low, high = chunk_range(body, chunk, trips)

        def one() -> None:
            if loop.body.fails:
                status = body.let("load atomic i64, ptr %status monotonic, align 8")
                fine = body.let(f"icmp eq i64 {status}, {NO_ERROR}")
                body.do(f"br i1 {fine}, label %round.go, label %round.exit")
                body.label("round.go")
            inputs = loop.inputs(body, step.body, "%round", pointers, [])
            loop.call(body, loop.body, inputs, loop.rows(body, "%round", pointers), "@in_turn")

        body.counted("round", low, high, "1", one)

    used = list(dict.fromkeys([*step.xs, *step.outside, *loop.gathered]))
    name, closure = chunk_function(loop, used, write)
    main.do(f"call void %parallel(ptr @{name}, ptr {closure}, i64 {main.size(chunks)})")
    if step.count is not None:
        main.do(f"store i64 {main.size(trips)}, ptr {loop.owner.pointer(step.count)}")

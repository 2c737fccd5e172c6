"""Loops around programs, as LLVM IR text.

The state lives in registers where the program inside is straight. States that are arrays change between two pieces of
memory, or where they lie; what a loop gathers is written where it stays. A loop that finds out how often it runs makes
more room as it goes. Long loops ask now and then whether Ctrl-C was pressed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from compiler.emit_control import NO_ERROR, Caller, number_at, rounds_at
from compiler.emit_scalar import Body, memory_type
from compiler.emit_shared import rounds_in_any_order, shared_sizes, write_by_rounds
from compiler.program import Buffer, Choose, Program, Repeat
from compiler.runtime.interrupt import INTERRUPTED
from symgraph import dims
from symgraph.dims import Size

if TYPE_CHECKING:
    from compiler.emit_llvm import ProgramWriter

SELDOM, OFTEN = 4096, 16
"""After how many rounds a loop looks at the clock: one with straight statements in it, and another."""

PATIENCE = 1 << 24
"""Ticks of the clock, some milliseconds, after which a loop lets signal handlers run."""

BRIEF = 4096
"""Rounds up to which a loop of straight statements does not look at the clock at all."""

ROOM = 64
"""Rounds that a loop makes room for at first, if it does not know how many it will run."""


def control_sizes(step: Repeat | Choose) -> Iterator[Size]:
    """The sizes that a loop or a branch needs beside those of the programs inside."""
    if isinstance(step, Choose):
        for buffer in step.bodies[0].outputs:
            yield buffer.elements
        return
    if not isinstance(step.trips, Buffer) and step.trips is not None:
        yield step.trips
    yield from shared_sizes(step)
    for buffer in (*step.body.inputs, *step.body.outputs):
        yield buffer.elements


class RepeatWriter(Caller):
    """Writes a loop."""

    def __init__(self, owner: ProgramWriter, step: Repeat, number: int, inner: Sequence[ProgramWriter]) -> None:
        super().__init__(owner, number, inner)
        self.step = step
        self.holds = inner[0] if step.holds is not None else None
        self.body = inner[-1]
        states = len(step.firsts)
        self.in_registers = [b.role == "scalar" for b in step.body.inputs[1 : 1 + states]]
        self.halves = [
            None if alone or inside else (self.room(b, f"a{k}"), self.room(b, f"b{k}"))
            for k, (alone, inside, b) in enumerate(
                zip(self.in_registers, step.in_place, step.body.outputs, strict=False)
            )
        ]
        self.places = [  # where states lie that are changed where they lie
            None if not inside else last or self.room(b, f"a{k}")
            for k, (inside, last, b) in enumerate(zip(step.in_place, step.lasts, step.body.outputs, strict=False))
        ]
        rows = step.body.outputs[states:]
        self.gathered = [
            b if b is not None else self.room(row, f"r{k}")
            for k, (b, row) in enumerate(zip(step.gathered, rows, strict=True))
        ]
        self.kept = [b is not None for b in step.gathered]
        self.rooms = {b: self.room(b, f"w{k}") for k, b in enumerate(self.body.rooms)}
        self.block = owner.block
        self.tapes = [b for b in self.gathered if b.role == "tape" and self.block is None]
        self.fails |= bool(self.tapes) or step.limit is not None
        self.shared = rounds_in_any_order(step)
        brief = isinstance(step.trips, int) and step.trips <= BRIEF and self.body.straight
        self.polls = not (brief or self.shared)
        self.fails |= self.polls
        self.buffers = list(dict.fromkeys([*step.reads, *step.writes, *self.work]))

    # one round

    def inputs(
        self, body: Body, program: Program, at: str, pointers: dict[Buffer, str], states: Sequence[str]
    ) -> list[str]:
        """The values of a program's inputs in the round `at`."""
        step = self.step
        found = [at, *states]
        xs = program.inputs[1 + len(states) : 1 + len(states) + len(step.xs)]
        for x, element in zip(step.xs, xs, strict=True):
            place = self._row(body, pointers[x], x, element.elements, at)
            found.append(number_at(body, place, x) if element.role == "scalar" else place)
        for value, inside in zip(step.outside, program.inputs[1 + len(states) + len(step.xs) :], strict=True):
            pointer = pointers[value]
            found.append(number_at(body, pointer, value) if inside.role == "scalar" else pointer)
        return found

    def _row(self, body: Body, pointer: str, buffer: Buffer, row: Size, at: str) -> str:
        if self.block is not None and buffer.role == "block":
            at = body.let(f"mul nsw i64 {at}, {body.let('sub nsw i64 %last, %first')}")
            row = dims.floordiv(row, self.block.rows)
        step = at if row == 1 else body.let(f"mul nsw i64 {at}, {body.size(row)}")
        return body.let(f"getelementptr inbounds {memory_type(buffer.dtype)}, ptr {pointer}, i64 {step}")

    def rows(self, body: Body, at: str, pointers: dict[Buffer, str]) -> list[str]:
        """Where a round writes what is gathered."""
        rows = self.step.body.outputs[len(self.step.firsts) :]
        return [
            self._row(body, pointers[b], b, row.elements, at) if kept else pointers[b]
            for b, row, kept in zip(self.gathered, rows, self.kept, strict=True)
        ]

    # the loop

    def write(self) -> None:
        """The loop, where the program comes to it."""
        if self.shared:
            write_by_rounds(self)
            return
        main, step, tag = self.main, self.step, self.tag
        pointers = {b: self.owner.pointer(b) for b in self.buffers if b.role != "tape" or self.block is not None}
        rounds = self.alloca("round", "i64")
        main.do(f"store i64 0, ptr {rounds}")
        now: list[str] = []
        then: list[str] = []
        for k, (first, alone, halves) in enumerate(zip(step.firsts, self.in_registers, self.halves, strict=True)):
            kind = memory_type(first.dtype) if alone else "ptr"
            now.append(self.alloca(f"s{k}", kind))
            then.append(self.alloca(f"t{k}", kind))
            if alone:
                main.do(f"store {kind} {main.let(f'load {kind}, ptr {pointers[first]}')}, ptr {now[k]}")
            elif halves is None:
                place = self.places[k]
                assert place is not None
                self._copy(pointers[place], pointers[first], place)
                main.do(f"store ptr {pointers[place]}, ptr {now[k]}")
                main.do(f"store ptr {pointers[place]}, ptr {then[k]}")
            else:
                main.do(f"store ptr {pointers[first]}, ptr {now[k]}")
                main.do(f"store ptr {pointers[halves[0]]}, ptr {then[k]}")
        trips = self._trips(pointers)
        tapes = self._open_tapes(trips)
        if self.polls:
            clock = self.alloca("clock", "i64")
            self.start_clock(main, clock)
        main.do(f"br label %{tag}.head")
        main.label(f"{tag}.head")
        at = main.let(f"load i64, ptr {rounds}")
        if trips is not None:
            main.do(f"br i1 {main.let(f'icmp slt i64 {at}, {trips}')}, label %{tag}.test, label %{tag}.exit")
            main.label(f"{tag}.test")
        states = self._states(now)
        if self.holds is not None:
            flag = self.alloca("holds", "i8")
            inputs = self.inputs(main, self.holds.program, at, pointers, states)
            self.call(main, self.holds, inputs, [flag], "%parallel")
            kind = memory_type(self.holds.program.outputs[0].dtype)
            more = main.let(f"icmp ne {kind} {main.let(f'load {kind}, ptr {flag}')}, 0")
            main.do(f"br i1 {more}, label %{tag}.more, label %{tag}.exit")
            main.label(f"{tag}.more")
        if step.limit is not None:
            main.do(f"br i1 {main.let(f'icmp sge i64 {at}, {step.limit}')}, label %{tag}.stop, label %{tag}.go")
            main.label(f"{tag}.stop")
            main.let(f"atomicrmw umin ptr %status, i64 {step.error} monotonic")
            main.do(f"br label %{tag}.exit")
            main.label(f"{tag}.go")
        if tapes and trips is None:
            self._widen(at, tapes)
        number = at
        if step.reverse:
            number = main.let(f"sub nsw i64 {main.let(f'sub nsw i64 {trips}, 1')}, {at}")
        here = dict(pointers)
        for tape, held in tapes.items():
            here[tape] = main.let(f"load ptr, ptr {held}")
        results = [
            p if alone else main.let(f"load ptr, ptr {p}") for p, alone in zip(then, self.in_registers, strict=True)
        ]
        inputs = self.inputs(main, step.body, number, {**here, **self._read_tapes()}, states)
        rows = [*(f"ptr {pointers[b]}" for b in self.rooms.values()), "i64 %first", "i64 %last"] if self.block else []
        self.call(main, self.body, inputs, [*results, *self.rows(main, number, here)], "%parallel", rows)
        self._advance(now, then, states, pointers)
        main.do(f"store i64 {main.let(f'add nsw i64 {at}, 1')}, ptr {rounds}")
        if self.polls:
            self.poll(main, at, clock, f"{tag}.exit")
        if self.body.fails or (self.holds is not None and self.holds.fails):
            kind = "load atomic i64, ptr %status monotonic, align 8" if self.block else "load i64, ptr %status"
            fine = main.let(f"icmp eq i64 {main.let(kind)}, {NO_ERROR}")
            main.do(f"br i1 {fine}, label %{tag}.head, label %{tag}.exit")
        else:
            main.do(f"br label %{tag}.head")
        main.label(f"{tag}.exit")
        self._close(now, rounds, tapes)

    def start_clock(self, body: Body, clock: str) -> None:
        """Note when rounds begin."""
        self.owner.module.declare("i64 @llvm.readcyclecounter()", pure=False)
        self.owner.module.declare("i64 @poll()", pure=False)
        body.do(f"store i64 {body.let('call i64 @llvm.readcyclecounter()')}, ptr {clock}")

    def poll(self, body: Body, at: str, clock: str, end: str) -> None:
        """Every now and then: ask whether the call is to end; the label to go to then is `end`."""
        tag = self.tag
        rest = body.let(f"and i64 {at}, {(SELDOM if self.body.straight else OFTEN) - 1}")
        body.do(f"br i1 {body.let(f'icmp eq i64 {rest}, 0')}, label %{tag}.look, label %{tag}.on, !prof !0")
        body.label(f"{tag}.look")
        now = body.let("call i64 @llvm.readcyclecounter()")
        passed = body.let(f"sub i64 {now}, {body.let(f'load i64, ptr {clock}')}")
        body.do(f"br i1 {body.let(f'icmp ugt i64 {passed}, {PATIENCE}')}, label %{tag}.ask, label %{tag}.on")
        body.label(f"{tag}.ask")
        body.do(f"store i64 {now}, ptr {clock}")
        alone = body.let(f"icmp eq i64 {body.let('load atomic i64, ptr %status monotonic, align 8')}, {NO_ERROR}")
        body.do(f"br i1 {alone}, label %{tag}.signal, label %{end}")  # another thread may have been told
        body.label(f"{tag}.signal")
        stop = body.let(f"icmp ne i64 {body.let('call i64 @poll()')}, 0")
        body.do(f"br i1 {stop}, label %{tag}.end, label %{tag}.on")
        body.label(f"{tag}.end")
        body.let(f"atomicrmw umin ptr %status, i64 {INTERRUPTED} monotonic")
        body.do(f"br label %{end}")
        body.label(f"{tag}.on")

    def _states(self, now: Sequence[str]) -> list[str]:
        found = []
        for place, alone, b in zip(now, self.in_registers, self.step.firsts, strict=True):
            found.append(number_at(self.main, place, b) if alone else self.main.let(f"load ptr, ptr {place}"))
        return found

    def _trips(self, pointers: dict[Buffer, str]) -> str | None:
        main, trips = self.main, self.step.trips
        if trips is None:
            return None
        return rounds_at(main, pointers[trips], trips) if isinstance(trips, Buffer) else main.size(trips)

    def _advance(
        self, now: Sequence[str], then: Sequence[str], states: Sequence[str], pointers: dict[Buffer, str]
    ) -> None:
        """What a round computed becomes the state; the old state's memory is free then, but for the first value's."""
        main = self.main
        for place, made, alone, b, halves, inside, old in zip(
            now, then, self.in_registers, self.step.firsts, self.halves, self.step.in_place, states, strict=True
        ):
            if inside:
                continue
            kind = memory_type(b.dtype) if alone else "ptr"
            main.do(f"store {kind} {main.let(f'load {kind}, ptr {made}')}, ptr {place}")
            if halves is not None:
                first = main.let(f"icmp eq ptr {old}, {pointers[b]}")
                free = main.let(f"select i1 {first}, ptr {pointers[halves[1]]}, ptr {old}")
                main.do(f"store ptr {free}, ptr {made}")

    def _close(self, now: Sequence[str], rounds: str, tapes: dict[Buffer, str]) -> None:
        main, step = self.main, self.step
        for place, last, alone, inside in zip(now, step.lasts, self.in_registers, step.in_place, strict=True):
            if last is None or inside:
                continue
            target = self.owner.pointer(last)
            if alone:
                kind = memory_type(last.dtype)
                main.do(f"store {kind} {main.let(f'load {kind}, ptr {place}')}, ptr {target}")
            else:
                self._copy(target, main.let(f"load ptr, ptr {place}"), last)
        if step.count is not None:
            main.do(f"store i64 {main.let(f'load i64, ptr {rounds}')}, ptr {self.owner.pointer(step.count)}")
        for tape in tapes:
            main.do(f"%{tape.name} = load ptr, ptr %{tape.name}.place")

    def _copy(self, target: str, source: str, buffer: Buffer) -> None:
        """Copy a value, or the rows of it that are run."""
        main, count = self.main, self.main.size(buffer.elements)
        self.owner.module.declare("void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)", pure=False)
        if self.block is not None:
            row = main.size(dims.floordiv(buffer.elements, self.block.rows))
            kind, start = memory_type(buffer.dtype), main.let(f"mul i64 %first, {row}")
            target, source = (main.let(f"getelementptr {kind}, ptr {p}, i64 {start}") for p in (target, source))
            count = main.let(f"mul i64 {main.let('sub i64 %last, %first')}, {row}")
        count = main.let(f"mul i64 {count}, {buffer.dtype.itemsize}")
        main.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {count}, i1 false)")

    # what is gathered in a number of rounds that is found out

    def _read_tapes(self) -> dict[Buffer, str]:
        return {b: f"%{b.name}" for b in self.step.xs if b.role == "tape"}

    def _elements(self, tape: Buffer, rounds: str) -> str:
        rows = self.step.body.outputs[len(self.step.firsts) :]
        row = next(r for b, r in zip(self.gathered, rows, strict=True) if b is tape)
        return self.main.let(f"mul i64 {rounds}, {self.main.size(row.elements)}")

    def _open_tapes(self, trips: str | None) -> dict[Buffer, str]:
        main, held = self.main, {}
        if self.tapes and trips is None:
            room = self.alloca("room", "i64")
            main.do(f"store i64 {ROOM}, ptr {room}")
        for k, tape in enumerate(self.tapes):
            held[tape] = self.alloca(f"tape{k}", "ptr")
            fresh = self.take(tape, self._elements(tape, str(ROOM) if trips is None else trips), f"open{k}")
            main.do(f"store ptr {fresh}, ptr {held[tape]}")
        return held

    def _widen(self, at: str, tapes: dict[Buffer, str]) -> None:
        """Twice the room, where it is full."""
        main, tag, room = self.main, self.tag, f"%{self.tag}.room"
        self.owner.module.declare("void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)", pure=False)
        full = main.let(f"icmp eq i64 {at}, {main.let(f'load i64, ptr {room}')}")
        main.do(f"br i1 {full}, label %{tag}.widen, label %{tag}.wide")
        main.label(f"{tag}.widen")
        twice = main.let(f"mul i64 {at}, 2")
        for k, (tape, held) in enumerate(tapes.items()):
            old = main.let(f"load ptr, ptr {held}")
            count = main.let(f"mul i64 {self._elements(tape, at)}, {tape.dtype.itemsize}")
            fresh = self.take(tape, self._elements(tape, twice), f"more{k}")
            main.do(f"store ptr {fresh}, ptr {held}")
            main.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {fresh}, ptr {old}, i64 {count}, i1 false)")
            main.do(f"call void @pool_free(ptr null, ptr {old}, i64 0)")
        main.do(f"store i64 {twice}, ptr {room}")
        main.do(f"br label %{tag}.wide")
        main.label(f"{tag}.wide")

"""Branches around programs, as LLVM IR text, and what loops have in common with them.

A program inside is a function of its own, which is taken in where it is straight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compiler.emit_scalar import Body, memory_type, register_type
from compiler.program import Buffer, Choose
from symgraph.dims import Size

if TYPE_CHECKING:
    from compiler.emit_llvm import ProgramWriter

NO_ERROR = (1 << 63) - 1
"""The status while no check has failed: the least number of a failed check is kept, whichever thread finds it."""


class Caller:
    """What loops, branches and blocks have in common: the buffers they use, and how programs inside are called."""

    def __init__(self, owner: ProgramWriter, number: int, inner: Sequence[ProgramWriter]) -> None:
        self.owner, self.inner, self.tag = owner, inner, f"at{number}"
        self.main = owner.main
        self.work: list[Buffer] = []
        self.fails = any(writer.fails for writer in inner)

    def room(self, like: Buffer, name: str, elements: Size | None = None) -> Buffer:
        """Memory for a value, or for so many elements, for as long as the loop, branch or block runs."""
        count = like.elements if elements is None else elements
        self.work.append(Buffer(f"{self.tag}_{name}", like.dtype, count, "temporary"))
        return self.work[-1]

    def alloca(self, name: str, kind: str) -> str:
        """A place on the stack."""
        self.main.lines.insert(0, f"  %{self.tag}.{name} = alloca {kind}, align 8")
        return f"%{self.tag}.{name}"

    def take(self, tape: Buffer, count: str, name: str) -> str:
        """Memory for so many elements of a tape, noted where it is held; the register that points to it."""
        main, label = self.main, f"{self.tag}.{name}"
        room = main.let(f"add i64 {main.let(f'mul i64 {count}, {tape.dtype.itemsize}')}, 64")
        fresh = main.let(f"call ptr @pool_malloc(ptr null, i64 {room})")
        main.do(f"br i1 {main.let(f'icmp eq ptr {fresh}, null')}, label %failed, label %{label}")
        main.label(label)
        main.do(f"store ptr {fresh}, ptr %{tape.name}.place")
        return fresh

    def call(
        self,
        body: Body,
        writer: ProgramWriter,
        inputs: Sequence[str],
        outputs: Sequence[str],
        parallel: str,
        rows: Sequence[str] = (),
    ) -> None:
        """Call the function of a program; in a block, `rows` are its rooms, the first and the last row."""
        program = writer.program
        given = [
            f"{register_type(b.dtype) if b.role == 'scalar' else 'ptr'} {value}"
            for b, value in zip(program.inputs, inputs, strict=True)
        ]
        results = {b: p for b, p in zip(program.outputs, outputs, strict=True) if b not in program.inputs}
        parts = [*given, *(f"ptr {p}" for p in results.values()), "ptr %sizes", f"ptr {parallel}", "ptr %status"]
        parts += rows
        body.do(f"call void @{writer.name}({', '.join(parts)})")


def rounds_at(body: Body, pointer: str, buffer: Buffer) -> str:
    """How many rounds a loop runs that is told by an integer in memory."""
    body.module.declare("i64 @llvm.smax.i64(i64, i64)")
    return body.let(f"call i64 @llvm.smax.i64(i64 {integer_at(body, pointer, buffer)}, i64 0)")


def number_at(body: Body, pointer: str, buffer: Buffer) -> str:
    """The number in memory, as registers hold it."""
    value = body.let(f"load {memory_type(buffer.dtype)}, ptr {pointer}")
    return body.let(f"icmp ne i8 {value}, 0") if buffer.dtype.kind == "b" else value


def integer_at(body: Body, pointer: str, buffer: Buffer) -> str:
    """An integer in memory, in 64 bits."""
    value, kind = body.let(f"load {memory_type(buffer.dtype)}, ptr {pointer}"), memory_type(buffer.dtype)
    if kind == "i64":
        return value
    return body.let(f"{'sext' if buffer.dtype.kind == 'i' else 'zext'} {kind} {value} to i64")


class ChooseWriter(Caller):
    """Writes a branch."""

    def __init__(self, owner: ProgramWriter, step: Choose, number: int, inner: Sequence[ProgramWriter]) -> None:
        super().__init__(owner, number, inner)
        self.step = step
        self.results = [
            b if b is not None else self.room(like, f"r{k}")
            for k, (b, like) in enumerate(zip(step.results, step.bodies[0].outputs, strict=True))
        ]
        self.fails |= step.index.dtype.kind != "b" or len(step.bodies) != 2
        self.buffers = list(dict.fromkeys([*step.reads, *step.writes, *self.work]))

    def write(self) -> None:
        """The branch, where the program comes to it."""
        main, step, tag = self.main, self.step, self.tag
        pointers = {b: self.owner.pointer(b) for b in self.buffers}
        number = integer_at(main, pointers[step.index], step.index)
        cases = " ".join(f"i64 {k}, label %{tag}.case{k}" for k in range(len(step.bodies)))
        main.do(f"switch i64 {number}, label %{tag}.none [{cases}]")
        for k, writer in enumerate(self.inner):
            main.label(f"{tag}.case{k}")
            inputs = [
                number_at(main, pointers[b], b) if inside.role == "scalar" else pointers[b]
                for b, inside in zip(step.values, writer.program.inputs, strict=True)
            ]
            self.call(main, writer, inputs, [pointers[b] for b in self.results], "%parallel")
            main.do(f"br label %{tag}.exit")
        main.label(f"{tag}.none")
        main.let(f"atomicrmw umin ptr %status, i64 {step.error} monotonic")
        main.do(f"br label %{tag}.exit")
        main.label(f"{tag}.exit")

"""A small language for LLVM IR, in which the runtime's native functions are written.

Python runs the text of a function once and writes down what it does: values have operators, ``with`` blocks are
branches and loops. Variables are stack slots, which LLVM turns into registers.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class Value:
    """A value of a native function; pointers have addresses in bytes."""

    def __init__(self, function: Function, kind: str, text: str) -> None:
        self.function, self.kind, self.text = function, kind, text

    def _binary(self, operation: str, other: Value | int) -> Value:
        return self.function.let(self.kind, f"{operation} {self.kind} {self.text}, {spell(other)}")

    def _compare(self, condition: str, other: Value | int) -> Value:
        return self.function.let("i1", f"icmp {condition} {self.kind} {self.text}, {spell(other, self.kind)}")

    def __add__(self, other: Value | int) -> Value:
        return self._binary("add", other)

    def __sub__(self, other: Value | int) -> Value:
        return self._binary("sub", other)

    def __mul__(self, other: Value | int) -> Value:
        return self._binary("mul", other)

    def __and__(self, other: Value | int) -> Value:
        return self._binary("and", other)

    def __or__(self, other: Value | int) -> Value:
        return self._binary("or", other)

    def __rshift__(self, other: Value | int) -> Value:
        return self._binary("lshr", other)

    def __lshift__(self, other: Value | int) -> Value:
        return self._binary("shl", other)

    def __lt__(self, other: Value | int) -> Value:
        return self._compare("slt", other)

    def __gt__(self, other: Value | int) -> Value:
        return self._compare("sgt", other)

    def __ge__(self, other: Value | int) -> Value:
        return self._compare("sge", other)

    def is_(self, other: Value | int) -> Value:
        """Whether they are equal (0 of a pointer is null)."""
        return self._compare("eq", other)

    def is_not(self, other: Value | int) -> Value:
        """Whether they differ."""
        return self._compare("ne", other)

    def at(self, offset: Value | int) -> Value:
        """The address so many bytes further."""
        return self.function.let("ptr", f"getelementptr i8, ptr {self.text}, i64 {spell(offset)}")

    def load(self, kind: str = "i64", offset: Value | int = 0) -> Value:
        """What stands at this address."""
        return self.function.let(kind, f"load {kind}, ptr {self.at(offset).text}")

    def store(self, value: Value, offset: Value | int = 0) -> None:
        """Write a value to this address."""
        self.function.do(f"store {value.kind} {value.text}, ptr {self.at(offset).text}")

    def item(self, index: Value | int, kind: str = "i64") -> Value:
        """An element of an array of eight-byte items."""
        place = self.function.let("ptr", f"getelementptr i64, ptr {self.text}, i64 {spell(index)}")
        return self.function.let(kind, f"load {kind}, ptr {place.text}")

    def set_item(self, index: Value | int, value: Value) -> None:
        """Write an element of an array of eight-byte items."""
        place = self.function.let("ptr", f"getelementptr i64, ptr {self.text}, i64 {spell(index)}")
        self.function.do(f"store {value.kind} {value.text}, ptr {place.text}")

    def to(self, kind: str, how: str) -> Value:
        """A conversion: `how` is LLVM's name for it, such as "sitofp"."""
        return self.function.let(kind, f"{how} {self.kind} {self.text} to {kind}")

    # memory that threads share

    def atomic(self, operation: str, value: Value | int, kind: str = "i64") -> Value:
        """Change what stands at this address in one step; the value before."""
        return self.function.let(kind, f"atomicrmw {operation} ptr {self.text}, {kind} {spell(value)} seq_cst")

    def look(self, kind: str = "i64", order: str = "seq_cst") -> Value:
        """What stands at this address now, for all threads."""
        return self.function.let(kind, f"load atomic {kind}, ptr {self.text} {order}, align 8")

    def publish(self, value: Value | int, kind: str = "i64", order: str = "seq_cst") -> None:
        """Write for all threads."""
        self.function.do(f"store atomic {kind} {spell(value, kind)}, ptr {self.text} {order}, align 8")

    def swap_if(self, old: Value | int, new: Value | int, kind: str = "i64") -> Value:
        """Write `new` if `old` stands there; whether it did."""
        pair = self.function.let(
            f"{{ {kind}, i1 }}",
            f"cmpxchg ptr {self.text}, {kind} {spell(old)}, {kind} {spell(new)} seq_cst seq_cst",
        )
        return self.function.let("i1", f"extractvalue {pair.kind} {pair.text}, 1")


def spell(value: Value | int, kind: str = "i64") -> str:
    """An operand as text; as a pointer, 0 is null."""
    if isinstance(value, Value):
        return value.text
    return "null" if kind == "ptr" else str(value)


class Variable:
    """A stack slot."""

    def __init__(self, function: Function, kind: str) -> None:
        self.place = function.reserve(kind)
        self.kind = kind

    def get(self) -> Value:
        """Its value now."""
        return self.place.function.let(self.kind, f"load {self.kind}, ptr {self.place.text}")

    def set(self, value: Value | int) -> None:
        """Give it a value."""
        self.place.function.do(f"store {self.kind} {spell(value, self.kind)}, ptr {self.place.text}")


class Function:
    """One native function, while it is written."""

    def __init__(self, result: str, name: str, parameters: Sequence[tuple[str, str]], attributes: str) -> None:
        given = ", ".join(f"{kind} %{name}" for kind, name in parameters)
        self._head = f"define {result} @{name}({given}) {attributes} {{"
        self._slots: list[str] = []
        self._lines: list[str] = []
        self._count = 0
        self._ends: list[str] = []
        self.result = result
        self.parameters = [Value(self, kind, f"%{name}") for kind, name in parameters]
        self.null = Value(self, "ptr", "null")

    def do(self, text: str) -> None:
        """Write a statement."""
        self._lines.append(f"  {text}")

    def _fresh(self) -> str:
        self._count += 1
        return f"v{self._count}"

    def let(self, kind: str, text: str) -> Value:
        """Write a statement that has a result."""
        name = f"%{self._fresh()}"
        self.do(f"{name} = {text}")
        return Value(self, kind, name)

    def number(self, value: int, kind: str = "i64") -> Value:
        """A literal."""
        return Value(self, kind, str(value))

    def symbol(self, name: str) -> Value:
        """The address of a function or a global variable."""
        return Value(self, "ptr", f"@{name}")

    def reserve(self, kind: str, align: int = 8) -> Value:
        """A place on the stack, for as long as the function runs."""
        name = f"%{self._fresh()}"
        self._slots.append(f"  {name} = alloca {kind}, align {align}")
        return Value(self, "ptr", name)

    def room(self, count: Value) -> Value:
        """An array of eight-byte items on the stack."""
        return self.let("ptr", f"alloca i64, i64 {count.text}, align 8")

    def variable(self, kind: str, value: Value | int) -> Variable:
        """A variable with its first value."""
        slot = Variable(self, kind)
        slot.set(value)
        return slot

    def call(self, kind: str, target: str | Value, *arguments: Value | int) -> Value:
        """Call a function; integers among the arguments are i64."""
        given = ", ".join(f"{a.kind} {a.text}" if isinstance(a, Value) else f"i64 {a}" for a in arguments)
        callee = target.text if isinstance(target, Value) else f"@{target}"
        if kind == "void":
            self.do(f"call void {callee}({given})")
            return self.null
        return self.let(kind, f"call {kind} {callee}({given})")

    # control

    def _label(self, name: str) -> None:
        self._lines.append(f"{name}:")

    def _jump(self, text: str) -> None:
        """A statement that ends a block; what is written after it is reached by a label only."""
        self.do(text)
        self._label(self._fresh())

    def give(self, value: Value | int | None = None) -> None:
        """Return."""
        self._jump("ret void" if value is None else f"ret {self.result} {spell(value, self.result)}")

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """What is done if the condition holds."""
        yes, end = self._fresh(), self._fresh()
        self.do(f"br i1 {condition.text}, label %{yes}, label %{end}")
        self._label(yes)
        yield
        self.do(f"br label %{end}")
        self._label(end)

    @contextmanager
    def forever(self) -> Iterator[None]:
        """What is done again and again, until `leave`."""
        top, end = self._fresh(), self._fresh()
        self._ends.append(end)
        self.do(f"br label %{top}")
        self._label(top)
        yield
        self.do(f"br label %{top}")
        self._label(end)
        self._ends.pop()

    def leave(self, condition: Value) -> None:
        """Leave the innermost loop if the condition holds."""
        stay = self._fresh()
        self.do(f"br i1 {condition.text}, label %{self._ends[-1]}, label %{stay}")
        self._label(stay)

    @contextmanager
    def count(self, end: Value, start: Value | int = 0) -> Iterator[Value]:
        """What is done for each integer from `start` up to `end`."""
        index = self.variable("i64", start)
        with self.forever():
            now = index.get()
            self.leave(now >= end)
            yield now
            index.set(now + 1)

    def text(self) -> str:
        """The function, written."""
        return "\n".join([self._head, *self._slots, *self._lines, "  unreachable", "}"])


class Module:
    """Functions, global variables, and what they need from outside."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def declare(self, result: str, name: str, *parameters: str) -> None:
        """A function from outside."""
        self._parts.append(f"declare {result} @{name}({', '.join(parameters)})")

    def external(self, name: str) -> None:
        """A variable from outside."""
        self._parts.append(f"@{name} = external global i8")

    def variable(self, name: str, kind: str, align: int = 64) -> None:
        """A global variable, zero at first."""
        self._parts.append(f"@{name} = global {kind} zeroinitializer, align {align}")

    @contextmanager
    def function(
        self, result: str, name: str, *parameters: tuple[str, str], attributes: str = ""
    ) -> Iterator[Function]:
        """Write a function."""
        function = Function(result, name, parameters, attributes)
        yield function
        self._parts.append(function.text())

    def text(self) -> str:
        """The module, written."""
        return "\n".join(self._parts) + "\n"


def write_pause(m: Module) -> None:
    """The function ``pause``, for loops that wait for another thread."""
    hint = {"x86_64": "llvm.x86.sse2.pause", "amd64": "llvm.x86.sse2.pause"}.get(platform.machine().lower())
    if hint:
        m.declare("void", hint)
    with m.function("void", "pause", attributes="alwaysinline") as f:
        if hint:
            f.call("void", hint)
        f.give()

"""A Program as LLVM IR text: one function per nest, and one that calls them in order.

The kernel's signature: pointers to inputs (numbers by value), constants and outputs, then the sizes of the call as an
array of int64. It returns 0, or the number of the first failed check, or -1 where memory ran out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from compiler import vector_math
from compiler.program import (
    LOW, Accumulate, Address, Buffer, Check, Const, Fill, Finish, Item, Load, Loop, Note, Primitive, Product, Program, Ref,
    Region, SizeOf, Start, Store, Tiles, identity, walk,
)
from symgraph.dims import Size
from symgraph.errors import CompileError

_MEMORY = {"b1": "i8", "i1": "i8", "i2": "i16", "i4": "i32", "i8": "i64", "u1": "i8", "u2": "i16", "u4": "i32",
           "u8": "i64", "f4": "float", "f8": "double"}

_LIBM = {"asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "tan", "cbrt", "expm1", "log1p",
         "erf", "erfc", "exp", "exp2", "log", "log2", "log10", "sin", "cos", "pow", "atan2", "hypot", "fmod"}
_INTRINSICS = {"sqrt", "floor", "ceil", "trunc", "rint", "fabs", "copysign", "fma"}
_INFIX_FLOAT = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_INFIX_INT = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor", "shl": "shl"}
_ORDER_FLOAT = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}
_ORDER_INT = {"eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge"}

BIG_NEST = 64
"""Statements from which a nest stays a function of its own, so that no function grows without bound."""

QUICK_FROM = 8192
"""Statements without loops from which LLVM does not optimise them: they are single assignments already, with common
ones shared, so its passes find little."""


def code(dtype: np.dtype[Any]) -> str:
    """kind and bytes, as "f8"; "b1" for bools."""
    return f"{dtype.kind}{dtype.itemsize}"


def memory_type(dtype: np.dtype[Any]) -> str:
    """The LLVM type in memory.

    Raises:
        CompileError: for a dtype without arithmetic here (float16, longdouble, complex).
    """
    try:
        return _MEMORY[code(dtype)]
    except KeyError:
        raise CompileError(f"kernels have no arithmetic for {dtype}; use float32 or float64") from None


def register_type(dtype: np.dtype[Any]) -> str:
    """The LLVM type in registers: bools are single bits."""
    return "i1" if dtype.kind == "b" else memory_type(dtype)


def literal(value: object, dtype: np.dtype[Any]) -> str:
    """A constant in LLVM's notation; floats by their bits."""
    if dtype.kind == "f":
        return f"0x{struct.unpack('<Q', struct.pack('<d', float(value)))[0]:016X}"  # type: ignore[arg-type]
    if dtype.kind == "b":
        return "true" if value else "false"
    return str(int(value))  # type: ignore[call-overload]


class Module:
    """The text of a module, and what it declares."""

    def __init__(self, name: str, sizes: Sequence[Size]) -> None:
        self.name = name
        self.slots = {size: k for k, size in enumerate(sizes)}
        self.places: dict[Buffer, int] = {}
        self.quick = False
        """Whether straight code is written without LLVM's optimisation."""
        self.declarations: dict[str, str] = {}
        self.functions: list[str] = []
        self.helpers: set[str] = set()

    def declare(self, signature: str, pure: bool = True) -> None:
        """Declare an outside function; `pure` ones may be moved and merged."""
        self.declarations[signature] = f"declare {signature}{' #0' if pure else ''}"

    def text(self) -> str:
        """The module."""
        return "\n".join([
            *self.declarations.values(), *self.functions,
            "attributes #0 = { nounwind willreturn memory(none) }",
            "attributes #1 = { nounwind noinline }",
            "attributes #2 = { nounwind }",
            "attributes #3 = { nounwind willreturn memory(none) alwaysinline }",
            "attributes #5 = { nounwind noinline optnone }",
            "attributes #4 = { nounwind willreturn memory(none) noinline }",
            "",
        ])


class Body:
    """The lines of one function; hands out names of registers and labels."""

    def __init__(self, module: Module, inline: bool = False, repeatable: bool = False) -> None:
        self.module = module
        self.inline = inline
        """Whether elementary functions become part of the function, as loops need to vectorise."""
        self.repeatable = repeatable
        """Whether all may run again, where an argument was found to be far out."""
        self.watched: set[str] = set()
        """The types of the arguments that are looked at for that."""
        self.far: dict[str, list[str]] = {}
        """By type, whether arguments met since the start of this level of loops were far."""
        self.lines: list[str] = []
        self.count = 0

    def new(self) -> str:
        """A fresh register."""
        self.count += 1
        return f"%t{self.count}"

    def let(self, text: str) -> str:
        """A register holding the value of an instruction."""
        name = self.new()
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        """An instruction without a value."""
        self.lines.append(f"  {text}")

    def label(self, name: str) -> None:
        """Start a block."""
        self.lines.append(f"{name}:")

    def math(self, name: str, type_: str, args: Sequence[str]) -> str:
        """A call of an elementary function."""
        if name in vector_math.FUNCTIONS:
            inline = self.inline
            if inline and vector_math.FUNCTIONS[name].far is not None:
                inline = self.repeatable
                if inline:
                    self.watch(name, type_, args[0])
            function = elementary(self.module, name, type_, len(args), inline)
            return self.let(f"call {type_} @{function}({', '.join(f'{type_} {a}' for a in args)})")
        if name in _INTRINSICS:
            suffix = "f64" if type_ == "double" else "f32"
            function = f"llvm.{name}.{suffix}"
        else:
            function = name if type_ == "double" else f"{name}f"
        self.module.declare(f"{type_} @{function}({', '.join([type_] * len(args))})")
        return self.let(f"call {type_} @{function}({', '.join(f'{type_} {a}' for a in args)})")

    def is_far(self, name: str, type_: str, x: str) -> str:
        """Whether an argument is beyond the limit of a function; nan is not."""
        bits = 64 if type_ == "double" else 32
        limit = literal(vector_math.FUNCTIONS[name].limit[bits], np.dtype(f"f{bits // 8}"))
        return self.let(f"fcmp ogt {type_} {self.math('fabs', type_, [x])}, {limit}")

    def watch(self, name: str, type_: str, x: str) -> None:
        """Remember whether an argument was far."""
        self.watched.add(type_)
        self.far.setdefault(type_, []).append(self.is_far(name, type_, x))

    def end_watch(self) -> None:
        """Note what was remembered, in an integer as wide as the numbers so that this vectorises, at the end of a level."""
        for type_, flags in self.far.items():
            while len(flags) > 1:  # in pairs: long chains take the vectoriser quadratic time
                pairs = [self.let(f"or i1 {a}, {b}") for a, b in zip(flags[::2], flags[1::2], strict=False)]
                flags = pairs + flags[len(flags) & ~1:]
            integer = "i64" if type_ == "double" else "i32"
            known = self.let(f"load {integer}, ptr %far.{type_}")
            new = self.let(f"or {integer} {known}, {self.let(f'sext i1 {flags[0]} to {integer}')}")
            self.do(f"store {integer} {new}, ptr %far.{type_}")
        self.far = {}

    def counted(self, name: str, low: str, high: str, step: str, write: Callable[[], None]) -> None:
        """A counting loop; the counter is %name."""
        self.do(f"br label %{name}.pre")
        self.label(f"{name}.pre")
        self.do(f"br label %{name}.head")
        self.label(f"{name}.head")
        self.do(f"%{name} = phi i64 [{low}, %{name}.pre], [%{name}.next, %{name}.latch]")
        test = self.let(f"icmp slt i64 %{name}, {high}")
        self.do(f"br i1 {test}, label %{name}.body, label %{name}.exit")
        self.label(f"{name}.body")
        write()
        self.do(f"br label %{name}.latch")
        self.label(f"{name}.latch")
        self.do(f"%{name}.next = add nsw i64 %{name}, {step}")
        self.do(f"br label %{name}.head")
        self.label(f"{name}.exit")

    def size(self, size: Size) -> str:
        """A size as an i64 operand."""
        return str(size) if isinstance(size, int) else f"%n{self.module.slots[size]}"


def arithmetic(body: Body, s: Primitive, args: list[str], dtypes: list[np.dtype[Any]]) -> str:
    """The instructions of a primitive."""
    name, dtype = s.name, dtypes[-1] if s.name == "select" else dtypes[0]
    type_ = register_type(dtype)
    if name in _ORDER_INT:
        if dtype.kind == "f":
            return body.let(f"fcmp {_ORDER_FLOAT[name]} {type_} {args[0]}, {args[1]}")
        order = _ORDER_INT[name]
        if name not in ("eq", "ne"):
            order = ("s" if dtype.kind == "i" else "u") + order
        return body.let(f"icmp {order} {type_} {args[0]}, {args[1]}")
    if name == "select":
        return body.let(f"select i1 {args[0]}, {type_} {args[1]}, {type_} {args[2]}")
    if name == "cast":
        return _cast(body, args[0], dtype, s.dtype)
    if name == "bitcast":
        return body.let(f"bitcast {type_} {args[0]} to {register_type(s.dtype)}")
    if name == "neg":
        return body.let(f"fneg {type_} {args[0]}" if dtype.kind == "f" else f"sub {type_} 0, {args[0]}")
    if name == "not":
        return body.let(f"xor {type_} {args[0]}, {'true' if dtype.kind == 'b' else '-1'}")
    if dtype.kind == "f" and name in _INFIX_FLOAT:
        return body.let(f"{_INFIX_FLOAT[name]} {type_} {args[0]}, {args[1]}")
    if dtype.kind != "f" and name in _INFIX_INT:
        return body.let(f"{_INFIX_INT[name]} {type_} {args[0]}, {args[1]}")
    if name == "shr":
        return body.let(f"{'ashr' if dtype.kind == 'i' else 'lshr'} {type_} {args[0]}, {args[1]}")
    if name in ("idiv", "irem"):
        return _integer_division(body, name, type_, dtype, args)
    if name == "ipow":
        return _integer_power(body, type_, dtype, args)
    if name in _LIBM or name in _INTRINSICS:
        return body.math(name, type_, args)
    raise CompileError(f"LLVM has no {name} for {dtype}")


def elementary(module: Module, name: str, type_: str, arguments: int, inline: bool) -> str:
    """The function that computes an elementary function, from its rule; returns its name.

    Loops take it in and vectorise; elsewhere it is called, so that formulas with thousands of calls stay small. The
    arithmetic, so every bit of the results, is the same. What is taken in holds up to the function's limit.
    """
    function = f"{module.name}_{name}_{type_}"
    wanted = f"{function}_inline" if inline else function
    if wanted in module.helpers:
        return wanted
    parameters = ", ".join(f"{type_} %x{k}" for k in range(arguments))
    start = f"\ndefine internal {type_} @{{}}({parameters}) {{}} {{{{\nentry:"

    def define(symbol: str, attribute: str, lines: list[str]) -> str:
        if symbol not in module.helpers:
            module.helpers.add(symbol)
            module.functions.append("\n".join([start.format(symbol, attribute), *lines, "}"]))
        return symbol

    def recorded(far: bool) -> list[str]:
        dtype = np.dtype(np.float64 if type_ == "double" else np.float32)
        rule = vector_math.record(name, dtype, arguments, far)
        body = Body(module, inline)
        values = {number: f"%x{k}" for k, number in enumerate(rule.arguments)}
        dtypes = dict.fromkeys(rule.arguments, dtype)
        for s in rule.body:
            assert isinstance(s, Const | Primitive)
            dtypes[s.result] = s.dtype
            values[s.result] = literal(s.value, s.dtype) if isinstance(s, Const) else arithmetic(
                body, s, [values[a] for a in s.args], [dtypes[a] for a in s.args]
            )
        return [*body.lines, f"  ret {type_} {values[rule.result]}"]

    if inline:
        return define(wanted, "#3", recorded(False))
    if vector_math.FUNCTIONS[name].far is None:
        return define(function, "#4", recorded(False))
    near, far = define(f"{function}_near", "#4", recorded(False)), define(f"{function}_far", "#4", recorded(True))
    body = Body(module)
    body.do(f"br i1 {body.is_far(name, type_, '%x0')}, label %far, label %near")
    for case in (near, far):
        body.label(case.rpartition("_")[2])
        body.do(f"ret {type_} {body.let(f'call {type_} @{case}({parameters})')}")
    return define(function, "#4", body.lines)


INLINE = 1500
"""Statements of elementary functions up to which a region takes them in: each costs 0.2 ms of compile time."""


def inlines(items: Sequence[Item]) -> bool:
    """Whether a region takes in the elementary functions it calls."""
    return sum(
        len(vector_math.record(s.name, s.dtype, len(s.args)).body)
        for s in walk(items) if isinstance(s, Primitive) and s.name in vector_math.FUNCTIONS
    ) <= INLINE


def repeatable(items: Sequence[Item]) -> bool:
    """Whether statements give the same when they run a second time, whatever they computed at the first."""
    read: set[Buffer] = set()
    written: set[Buffer] = set()
    for s in walk(items):
        if isinstance(s, Check):
            return False
        if isinstance(s, Load | Store | Finish) and any(isinstance(v, Ref) for v, _ in s.address.terms):
            return False
        if isinstance(s, Load) and s.buffer not in written:
            read.add(s.buffer)
        if isinstance(s, Store | Finish | Fill):
            if s.buffer in read or (isinstance(s, Store) and s.combine != "set" and s.buffer not in written):
                return False
            written.add(s.buffer)
    return True


def _cast(body: Body, x: str, source: np.dtype[Any], target: np.dtype[Any]) -> str:
    a, b = register_type(source), register_type(target)
    if a == b:
        return x
    if source.kind == "f" and target.kind == "f":
        return body.let(f"{'fptrunc' if source.itemsize > target.itemsize else 'fpext'} {a} {x} to {b}")
    if source.kind == "f":
        # saturating: LLVM's plain conversion leaves values out of range undefined
        sign = "s" if target.kind == "i" else "u"
        function = f"llvm.fpto{sign}i.sat.{b}.{'f64' if source.itemsize == 8 else 'f32'}"
        body.module.declare(f"{b} @{function}({a})")
        return body.let(f"call {b} @{function}({a} {x})")
    if target.kind == "f":
        return body.let(f"{'si' if source.kind == 'i' else 'ui'}tofp {a} {x} to {b}")
    if source.itemsize > target.itemsize:
        return body.let(f"trunc {a} {x} to {b}")
    return body.let(f"{'sext' if source.kind == 'i' else 'zext'} {a} {x} to {b}")


def _integer_division(body: Body, name: str, type_: str, dtype: np.dtype[Any], args: list[str]) -> str:
    """Quotient or remainder rounded to zero; 0 for division by 0; the smallest integer divided by -1 wraps."""
    if dtype.kind == "b":
        raise CompileError(f"{name} is not defined for bools")
    x, y = args
    zero = body.let(f"icmp eq {type_} {y}, 0")
    unsafe = zero
    if dtype.kind == "i":
        minus = body.let(f"icmp eq {type_} {y}, -1")
        unsafe = body.let(f"or i1 {zero}, {minus}")
    safe = body.let(f"select i1 {unsafe}, {type_} 1, {type_} {y}")
    operation = ("s" if dtype.kind == "i" else "u") + ("div" if name == "idiv" else "rem")
    result = body.let(f"{operation} {type_} {x}, {safe}")
    if dtype.kind == "i":
        wrapped = body.let(f"sub {type_} 0, {x}") if name == "idiv" else "0"
        result = body.let(f"select i1 {minus}, {type_} {wrapped}, {type_} {result}")
    return body.let(f"select i1 {zero}, {type_} 0, {type_} {result}")


def _integer_power(body: Body, type_: str, dtype: np.dtype[Any], args: list[str]) -> str:
    """x to an integer power, wrapping, by repeated squaring; the exponent is not negative."""
    name = f"symgraph_ipow_{type_}"
    if name not in body.module.helpers:
        body.module.helpers.add(name)
        body.module.functions.append(f"""
define linkonce_odr {type_} @{name}({type_} %x, {type_} %n) #0 {{
entry:
  br label %loop
loop:
  %base = phi {type_} [%x, %entry], [%squared, %loop]
  %rest = phi {type_} [%n, %entry], [%half, %loop]
  %result = phi {type_} [1, %entry], [%next, %loop]
  %bit = and {type_} %rest, 1
  %odd = icmp ne {type_} %bit, 0
  %product = mul {type_} %result, %base
  %next = select i1 %odd, {type_} %product, {type_} %result
  %squared = mul {type_} %base, %base
  %half = lshr {type_} %rest, 1
  %more = icmp ne {type_} %half, 0
  br i1 %more, label %loop, label %done
done:
  ret {type_} %next
}}""")
    return body.let(f"call {type_} @{name}({type_} {args[0]}, {type_} {args[1]})")


# -- regions -----------------------------------------------------------------------------------------------------------


def has_loops(region: Region) -> bool:
    """Whether a region repeats anything."""
    return any(isinstance(s, Loop) for s in walk(region.items))


class RegionWriter:
    """Writes one region as a function."""

    def __init__(self, module: Module, region: Region, name: str, inline: bool = True) -> None:
        self.module, self.region, self.name = module, region, name
        self.loops = has_loops(region)
        self.body = Body(module, inline and self.loops and inlines(region.items), repeatable(region.items))
        self.values: dict[int, str] = {}
        self.dtypes: dict[int, np.dtype[Any]] = {}
        self.parameters: dict[Buffer, str] = {}
        self.checks = any(isinstance(s, Check) for s in walk(region.items))

    def pointer(self, buffer: Buffer) -> str:
        """The parameter for a buffer; single elements lie side by side behind one parameter."""
        name = self.parameters.setdefault(buffer, f"%{buffer.name}")
        if buffer.role == "slot":
            return self.body.let(f"getelementptr inbounds i8, ptr %slots, i64 {8 * self.module.places[buffer]}")
        return name

    def write(self) -> tuple[str, list[Buffer]]:
        """The function's text, and the buffers it takes."""
        body = self.body
        statements = 0
        for s in walk(self.region.items):
            statements += 1
            if isinstance(s, Start):
                body.do(f"%acc{s.accumulator} = alloca {register_type(s.dtype)}")
                if s.position:
                    body.do(f"%pos{s.accumulator} = alloca i64")
        body.do("br label %start")
        body.label("start")
        self._items(self.region.items)
        parameters = [
            f"{register_type(b.dtype)} {p}" if b.role == "scalar" else f"ptr noalias {p}"
            for b, p in self.parameters.items() if b.role != "slot"
        ]
        if any(b.role == "slot" for b in self.parameters):
            parameters.append("ptr noalias %slots")
        parameters += [f"i64 %n{k}" for k in self.module.slots.values()]
        if self.checks:
            parameters.append("ptr noalias %status")
        attribute = "#1" if statements > BIG_NEST else "#2"
        if self.module.quick and not self.loops:
            attribute = "#5"
        given = ", ".join(parameters)
        if not body.watched:
            return self._function("void", self.name, given, attribute, [*body.lines, "  ret void"]), list(self.parameters)
        # functions taken in hold up to their limits: where an argument was beyond, all runs again with calls
        again, _ = RegionWriter(self.module, self.region, f"{self.name}_far", inline=False).write()
        flags = Body(self.module)
        for type_ in sorted(body.watched):
            integer = "i64" if type_ == "double" else "i32"
            flags.do(f"%far.{type_} = alloca {integer}")
            flags.do(f"store {integer} 0, ptr %far.{type_}")
        tests = []
        for type_ in sorted(body.watched):
            integer = "i64" if type_ == "double" else "i32"
            tests.append(body.let(f"icmp ne {integer} {body.let(f'load {integer}, ptr %far.{type_}')}, 0"))
        result = tests[0] if len(tests) == 1 else body.let(f"or i1 {tests[0]}, {tests[1]}")
        near = self._function("i1", f"{self.name}_near", given, attribute, [
            *flags.lines, *body.lines, f"  ret i1 {result}",
        ])
        main = self._function("void", self.name, given, "#2", [
            f"  %far = call i1 @{self.name}_near({given})", "  br i1 %far, label %again, label %done", "again:",
            f"  call void @{self.name}_far({given})", "  br label %done", "done:", "  ret void",
        ])
        return "\n".join([near, again, main]), list(self.parameters)

    @staticmethod
    def _function(result: str, name: str, parameters: str, attribute: str, lines: list[str]) -> str:
        return "\n".join([f"\ndefine internal {result} @{name}({parameters}) {attribute} {{", "entry:", *lines, "}"])

    def _items(self, items: Sequence[Item]) -> None:
        outer, self.body.far = self.body.far, {}
        for item in items:
            if isinstance(item, Loop):
                self._loop(item)
            elif isinstance(item, Tiles):
                self._tiles(item)
            else:
                self._statement(item)
        self.body.end_watch()
        self.body.far = outer

    def _loop(self, loop: Loop) -> None:
        body = self.body
        low, high = "0", body.size(loop.size)
        if loop.tiled:
            low, high = "%low", "%high"
            if loop.factor != 1:
                low, high = (body.let(f"mul nsw i64 {end}, {body.size(loop.factor)}") for end in (low, high))
        name = f"i{loop.variable}"
        self.body.counted(name, low, high, "1", lambda: self._items(loop.body))

    def _tiles(self, tiles: Tiles) -> None:
        body = self.body
        size, width = body.size(tiles.size), body.size(tiles.width)
        self.module.declare("i64 @llvm.smin.i64(i64, i64)")

        def inside() -> None:
            end = body.let(f"add nsw i64 %low, {width}")
            body.do(f"%high = call i64 @llvm.smin.i64(i64 {end}, i64 {size})")
            self._items(tiles.body)

        self.body.counted("low", "0", size, width, inside)

    def _fill(self, buffer: Buffer, value: object) -> None:
        body, type_ = self.body, memory_type(buffer.dtype)
        pointer, size = self.pointer(buffer), body.size(buffer.elements)
        if value == 0:
            self.module.declare("void @llvm.memset.p0.i64(ptr, i8, i64, i1)", pure=False)
            count = body.let(f"mul i64 {size}, {buffer.dtype.itemsize}")
            body.do(f"call void @llvm.memset.p0.i64(ptr {pointer}, i8 0, i64 {count}, i1 false)")
            return
        constant = "1" if buffer.dtype.kind == "b" else literal(value, buffer.dtype)
        tag = body.new()[1:]

        def inside() -> None:
            at = body.let(f"getelementptr inbounds {type_}, ptr {pointer}, i64 %{tag}")
            body.do(f"store {type_} {constant}, ptr {at}")

        self.body.counted(tag, "0", size, "1", inside)

    def address(self, buffer: Buffer, address: Address) -> str:
        """A pointer to an element."""
        offset = self.offset(address)
        if offset == "0":
            return self.pointer(buffer)
        return self.body.let(
            f"getelementptr inbounds {memory_type(buffer.dtype)}, ptr {self.pointer(buffer)}, i64 {offset}"
        )

    def offset(self, address: Address) -> str:
        """constant + sum(step * variable), as an i64 operand."""
        body = self.body
        parts: list[str] = []
        for v, step in address.terms:
            name = self.values[v.number] if isinstance(v, Ref) else "%low" if v == LOW else f"%i{v}"
            parts.append(name if step == 1 else body.let(f"mul nsw i64 {name}, {body.size(step)}"))
        if address.constant != 0 or not parts:
            parts.append(body.size(address.constant))
        result = parts[0]
        for part in parts[1:]:
            result = body.let(f"add nsw i64 {result}, {part}")
        return result

    def load(self, buffer: Buffer, pointer: str) -> str:
        """The value of an element, in its register type."""
        value = self.body.let(f"load {memory_type(buffer.dtype)}, ptr {pointer}")
        return self.body.let(f"icmp ne i8 {value}, 0") if buffer.dtype.kind == "b" else value

    def store(self, buffer: Buffer, pointer: str, value: str) -> None:
        """Write an element."""
        if buffer.dtype.kind == "b":
            value = self.body.let(f"zext i1 {value} to i8")
        self.body.do(f"store {memory_type(buffer.dtype)} {value}, ptr {pointer}")

    def combine(self, name: str, x: str, y: str, dtype: np.dtype[Any]) -> str:
        """One step of a reduction."""
        body, type_ = self.body, register_type(dtype)
        if name in ("maximum", "minimum"):
            if dtype.kind == "f":
                function = f"llvm.{name}.{'f64' if type_ == 'double' else 'f32'}"
            elif dtype.kind == "b":
                return body.let(f"{'or' if name == 'maximum' else 'and'} i1 {x}, {y}")
            else:
                function = f"llvm.{'s' if dtype.kind == 'i' else 'u'}{name[:3]}.{type_}"
            body.module.declare(f"{type_} @{function}({type_}, {type_})")
            return body.let(f"call {type_} @{function}({type_} {x}, {type_} {y})")
        if dtype.kind == "f":
            # reassociation is allowed in sums and products alone, so that they run over vector lanes
            return body.let(f"f{name} reassoc {type_} {x}, {y}")
        if dtype.kind == "b":
            name = {"add": "or", "mul": "and"}.get(name, name)
        return body.let(f"{name} {type_} {x}, {y}")

    def _statement(self, s: Item) -> None:
        body, values, dtypes = self.body, self.values, self.dtypes
        if isinstance(s, Note):
            return
        if isinstance(s, Load | Const | SizeOf | Primitive):
            dtypes[s.result] = s.dtype
        if isinstance(s, Load):
            if s.buffer.role == "scalar":
                values[s.result] = self.pointer(s.buffer)
            else:
                values[s.result] = self.load(s.buffer, self.address(s.buffer, s.address))
        elif isinstance(s, Const):
            values[s.result] = literal(s.value, s.dtype)
        elif isinstance(s, SizeOf):
            values[s.result] = body.size(s.size)
        elif isinstance(s, Primitive):
            values[s.result] = arithmetic(body, s, [values[a] for a in s.args], [dtypes[a] for a in s.args])
        elif isinstance(s, Store):
            pointer = self.address(s.buffer, s.address)
            value = values[s.value]
            if s.combine != "set":
                value = self.combine(s.combine, self.load(s.buffer, pointer), value, s.buffer.dtype)
            self.store(s.buffer, pointer, value)
        elif isinstance(s, Fill):
            self._fill(s.buffer, s.value)
        elif isinstance(s, Start):
            start = literal(identity(s.combine, s.dtype), s.dtype)
            body.do(f"store {register_type(s.dtype)} {start}, ptr %acc{s.accumulator}")
            if s.position:
                body.do(f"store i64 0, ptr %pos{s.accumulator}")
        elif isinstance(s, Accumulate):
            self._accumulate(s)
        elif isinstance(s, Finish):
            if s.position:
                value = body.let(f"load i64, ptr %pos{s.accumulator}")
            else:
                value = body.let(f"load {register_type(s.dtype)}, ptr %acc{s.accumulator}")
                value = _cast(body, value, s.dtype, s.buffer.dtype)
            self.store(s.buffer, self.address(s.buffer, s.address), value)
        elif isinstance(s, Check):
            known = body.let("load i64, ptr %status")
            clean = body.let(f"icmp eq i64 {known}, 0")
            failed = body.let(f"xor i1 {values[s.condition]}, true")
            first = body.let(f"and i1 {clean}, {failed}")
            body.do(f"store i64 {body.let(f'select i1 {first}, i64 {s.error}, i64 {known}')}, ptr %status")

    def _accumulate(self, s: Accumulate) -> None:
        body, type_, k = self.body, register_type(s.dtype), s.accumulator
        value = self.values[s.value]
        known = body.let(f"load {type_}, ptr %acc{k}")
        if s.position is None:
            body.do(f"store {type_} {self.combine(s.combine, known, value, s.dtype)}, ptr %acc{k}")
            return
        if s.dtype.kind == "f":
            better = body.let(f"fcmp {'ogt' if s.combine == 'maximum' else 'olt'} {type_} {value}, {known}")
            is_nan = body.let(f"fcmp uno {type_} {value}, {value}")
            known_good = body.let(f"fcmp ord {type_} {known}, {known}")
            better = body.let(f"or i1 {better}, {body.let(f'and i1 {is_nan}, {known_good}')}")
        else:
            sign = "s" if s.dtype.kind == "i" else "u"
            better = body.let(f"icmp {sign}{'gt' if s.combine == 'maximum' else 'lt'} {type_} {value}, {known}")
        body.do(f"store {type_} {body.let(f'select i1 {better}, {type_} {value}, {type_} {known}')}, ptr %acc{k}")
        at = body.let(f"load i64, ptr %pos{k}")
        number = self.offset(s.position)
        body.do(f"store i64 {body.let(f'select i1 {better}, i64 {number}, i64 {at}')}, ptr %pos{k}")


# -- products ----------------------------------------------------------------------------------------------------------

BLAS_FROM = 8192
"""Multiplications from which a product goes to the library."""


def product_helper(module: Module, dtype: np.dtype[Any], blas: bool) -> str:
    """The function that multiplies two matrices, given steps of rows and columns; returns its name."""
    type_ = register_type(dtype)
    name = f"{module.name}_product_{code(dtype)}"
    if name in module.helpers:
        return name
    module.helpers.add(name)
    add, mul = ("fadd", "fmul") if dtype.kind == "f" else ("add", "mul")
    zero = literal(0, dtype)
    library = ""
    if blas:
        function = f"symgraph_{'d' if dtype.itemsize == 8 else 's'}gemm"
        module.declare(f"void @{function}(ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr)", pure=False)
        one = literal(1.0, dtype)
        library = f"""
  %mn = mul i64 %m, %n
  %work = mul i64 %mn, %k
  %large = icmp sge i64 %work, {BLAS_FROM}
  br i1 %large, label %library, label %loops
library:
  ; column-major BLAS computes c' = b' a'; a step of 1 says which way a matrix lies
  %b.side = icmp eq i64 %b.j, 1
  %b.one = icmp eq i64 %n, 1
  %b.apart = icmp ne i64 %b.k, 1
  %b.only = and i1 %b.one, %b.apart
  %b.rows = or i1 %b.side, %b.only
  %a.side = icmp eq i64 %a.k, 1
  %a.one = icmp eq i64 %k, 1
  %a.apart = icmp ne i64 %a.i, 1
  %a.only = and i1 %a.one, %a.apart
  %a.rows = or i1 %a.side, %a.only
  %tb = select i1 %b.rows, i8 78, i8 84
  %ta = select i1 %a.rows, i8 78, i8 84
  %ldb.raw = select i1 %b.rows, i64 %b.k, i64 %b.j
  %lda.raw = select i1 %a.rows, i64 %a.i, i64 %a.k
  %b.least = select i1 %b.rows, i64 %n, i64 %k
  %a.least = select i1 %a.rows, i64 %k, i64 %m
  %ldb64 = call i64 @llvm.smax.i64(i64 %ldb.raw, i64 %b.least)
  %lda64 = call i64 @llvm.smax.i64(i64 %lda.raw, i64 %a.least)
  store i8 %tb, ptr %p.tb
  store i8 %ta, ptr %p.ta
  %m32 = trunc i64 %m to i32
  %n32 = trunc i64 %n to i32
  %k32 = trunc i64 %k to i32
  %lda = trunc i64 %lda64 to i32
  %ldb = trunc i64 %ldb64 to i32
  store i32 %m32, ptr %p.m
  store i32 %n32, ptr %p.n
  store i32 %k32, ptr %p.k
  store i32 %lda, ptr %p.lda
  store i32 %ldb, ptr %p.ldb
  store {type_} {one}, ptr %p.alpha
  store {type_} {zero}, ptr %p.beta
  call void @{function}(ptr %p.tb, ptr %p.ta, ptr %p.n, ptr %p.m, ptr %p.k, ptr %p.alpha, ptr %b, ptr %p.ldb, ptr %a, ptr %p.lda, ptr %p.beta, ptr %c, ptr %p.n)
  ret void"""
        module.declare("i64 @llvm.smax.i64(i64, i64)")
    allocas = "".join(
        f"\n  %p.{v} = alloca {t}"
        for v, t in (("tb", "i8"), ("ta", "i8"), ("m", "i32"), ("n", "i32"), ("k", "i32"), ("lda", "i32"),
                     ("ldb", "i32"), ("alpha", type_), ("beta", type_))
    ) if blas else ""
    start = library or "\n  br label %loops"
    multiply = (
        f"%sum = call {type_} @llvm.fma.{'f64' if dtype.itemsize == 8 else 'f32'}({type_} %x, {type_} %y, {type_} %old)"
        if dtype.kind == "f" else f"%prod = {mul} {type_} %x, %y\n  %sum = {add} {type_} %old, %prod"
    )
    if dtype.kind == "f":
        module.declare(f"{type_} @llvm.fma.{'f64' if dtype.itemsize == 8 else 'f32'}({type_}, {type_}, {type_})")
    module.declare("void @llvm.memset.p0.i64(ptr, i8, i64, i1)", pure=False)
    module.functions.append(f"""
define internal void @{name}(i64 %m, i64 %n, i64 %k, ptr noalias %a, i64 %a.i, i64 %a.k, ptr noalias %b, i64 %b.k, i64 %b.j, ptr noalias %c) #1 {{
entry:{allocas}{start}
loops:
  %count = mul i64 %m, %n
  %bytes = mul i64 %count, {dtype.itemsize}
  call void @llvm.memset.p0.i64(ptr %c, i8 0, i64 %bytes, i1 false)
  %vector = icmp eq i64 %n, 1
  br label %i.head
i.head:
  %i = phi i64 [0, %loops], [%i.next, %i.latch]
  %i.more = icmp slt i64 %i, %m
  br i1 %i.more, label %i.body, label %exit
i.body:
  %row.a = mul i64 %i, %a.i
  %row.c = mul i64 %i, %n
  br i1 %vector, label %d.pre, label %k.head
d.pre:
  %at.dot = getelementptr inbounds {type_}, ptr %c, i64 %row.c
  br label %d.head
d.head:
  %dk = phi i64 [0, %d.pre], [%dk.next, %d.body]
  %dsum = phi {type_} [{zero}, %d.pre], [%dnew, %d.body]
  %d.more = icmp slt i64 %dk, %k
  br i1 %d.more, label %d.body, label %d.done
d.body:
  %dka = mul i64 %dk, %a.k
  %dia = add i64 %row.a, %dka
  %dpa = getelementptr inbounds {type_}, ptr %a, i64 %dia
  %dx = load {type_}, ptr %dpa
  %dkb = mul i64 %dk, %b.k
  %dpb = getelementptr inbounds {type_}, ptr %b, i64 %dkb
  %dy = load {type_}, ptr %dpb
  %dprod = {mul} {'contract ' if dtype.kind == 'f' else ''}{type_} %dx, %dy
  %dnew = {add} {'reassoc contract ' if dtype.kind == 'f' else ''}{type_} %dsum, %dprod
  %dk.next = add nuw nsw i64 %dk, 1
  br label %d.head
d.done:
  store {type_} %dsum, ptr %at.dot
  br label %i.latch
k.head:
  %l = phi i64 [0, %i.body], [%l.next, %k.latch]
  %k.more = icmp slt i64 %l, %k
  br i1 %k.more, label %k.body, label %i.latch
k.body:
  %ka = mul i64 %l, %a.k
  %ia = add i64 %row.a, %ka
  %pa = getelementptr inbounds {type_}, ptr %a, i64 %ia
  %x = load {type_}, ptr %pa
  %row.b = mul i64 %l, %b.k
  %unit = icmp eq i64 %b.j, 1
  br i1 %unit, label %j.head, label %s.head
j.head:
  %j = phi i64 [0, %k.body], [%j.next, %j.body]
  %j.more = icmp slt i64 %j, %n
  br i1 %j.more, label %j.body, label %k.latch
j.body:
  %ib = add i64 %row.b, %j
  %pb = getelementptr inbounds {type_}, ptr %b, i64 %ib
  %y = load {type_}, ptr %pb
  %ic = add i64 %row.c, %j
  %pc = getelementptr inbounds {type_}, ptr %c, i64 %ic
  %old = load {type_}, ptr %pc
  {multiply}
  store {type_} %sum, ptr %pc
  %j.next = add nuw nsw i64 %j, 1
  br label %j.head
s.head:
  %sj = phi i64 [0, %k.body], [%sj.next, %s.body]
  %s.more = icmp slt i64 %sj, %n
  br i1 %s.more, label %s.body, label %k.latch
s.body:
  %sjb = mul i64 %sj, %b.j
  %sib = add i64 %row.b, %sjb
  %spb = getelementptr inbounds {type_}, ptr %b, i64 %sib
  %sy = load {type_}, ptr %spb
  %sic = add i64 %row.c, %sj
  %spc = getelementptr inbounds {type_}, ptr %c, i64 %sic
  %sold = load {type_}, ptr %spc
  {multiply.replace("%x", "%x").replace("%y", "%sy").replace("%old", "%sold").replace("%sum", "%ssum").replace("%prod", "%sprod")}
  store {type_} %ssum, ptr %spc
  %sj.next = add nuw nsw i64 %sj, 1
  br label %s.head
k.latch:
  %l.next = add nuw nsw i64 %l, 1
  br label %k.head
i.latch:
  %i.next = add nuw nsw i64 %i, 1
  br label %i.head
exit:
  ret void
}}""")
    return name


# -- the kernel --------------------------------------------------------------------------------------------------------


def emit(program: Program, name: str, sizes: Sequence[Size], blas: bool) -> str:
    """The module's text; `sizes` are the values of the sizes array, in order."""
    module = Module(name, sizes)
    module.places = {b: k for k, b in enumerate(b for b in program.temporaries if b.role == "slot")}
    straight = [s for s in program.steps if isinstance(s, Region) and not has_loops(s)]
    module.quick = sum(len(s.items) for s in straight) > QUICK_FROM
    main = Body(module)
    if module.places:
        main.do(f"%slots = alloca [{8 * len(module.places)} x i8], align 8")
    for k in module.slots.values():
        at = main.let(f"getelementptr inbounds i64, ptr %sizes, i64 {k}")
        main.do(f"%n{k} = load i64, ptr {at}")
    main.do("%status = alloca i64")
    main.do("store i64 0, ptr %status")
    size_arguments = [f"i64 %n{k}" for k in module.slots.values()]
    last_use: dict[Buffer, int] = {}
    used_by_products: set[Buffer] = set()
    pieces: list[tuple[list[Buffer], Callable[[], None]]] = []
    for number, step in enumerate(program.steps):
        if isinstance(step, Region):
            writer = RegionWriter(module, step, f"{name}_region{number}")
            text, buffers = writer.write()
            module.functions.append(text)
            arguments = [_argument(b) for b in buffers if b.role != "slot"]
            arguments += ["ptr %slots"] if len(arguments) < len(buffers) else []
            arguments += size_arguments + (["ptr %status"] if writer.checks else [])
            line = f"call void @{name}_region{number}({', '.join(arguments)})"
            pieces.append((buffers, lambda line=line: main.do(line)))  # type: ignore[misc]
        else:
            buffers = list(dict.fromkeys((step.a[0], step.b[0], step.c[0])))  # a square has one operand, freed once
            used_by_products.update(buffers)
            pieces.append((buffers, lambda step=step, n=number: _call_product(main, module, step, n, blas)))  # type: ignore[misc]
        for buffer in buffers:
            last_use[buffer] = number
    for buffer, place in module.places.items():
        if buffer in used_by_products:
            main.do(f"%{buffer.name} = getelementptr inbounds i8, ptr %slots, i64 {8 * place}")
    live: set[Buffer] = set()
    table = {b: k for k, b in enumerate(b for b in program.temporaries if b.role == "temporary" and b in last_use)}
    if table:
        module.declare("void @llvm.memset.p0.i64(ptr, i8, i64, i1)", pure=False)
        main.do(f"%table = alloca [{len(table)} x ptr]")
        main.do(f"call void @llvm.memset.p0.i64(ptr %table, i8 0, i64 {8 * len(table)}, i1 false)")
    for number, (buffers, call) in enumerate(pieces):
        for buffer in buffers:
            if buffer.role == "temporary" and buffer not in live:
                live.add(buffer)
                _allocate(main, buffer, table[buffer])
        call()
        for buffer in buffers:
            if buffer.role == "temporary" and last_use[buffer] == number:
                main.do(f"call void @free(ptr %{buffer.name})")
                main.do(f"store ptr null, ptr %{buffer.name}.place")
    main.do(f"ret i64 {main.let('load i64, ptr %status')}")
    if table:
        _give_back(main, module, len(table))
    parameters = [_argument(b) for b in program.inputs]
    parameters += [f"ptr %{b.name}" for b, _ in program.constants]
    parameters += [f"ptr %{b.name}" for b in dict.fromkeys(program.outputs)]
    module.functions.append("\n".join([
        f"\ndefine i64 @{name}({', '.join([*parameters, 'ptr %sizes'])}) #2 {{", "entry:", *main.lines, "}",
    ]))
    return module.text()


def _argument(buffer: Buffer) -> str:
    if buffer.role == "scalar":
        return f"{register_type(buffer.dtype)} %{buffer.name}"
    return f"ptr %{buffer.name}"


def _allocate(main: Body, buffer: Buffer, place: int) -> None:
    """Memory for a temporary, noted in the table of what is held."""
    count = main.let(f"mul i64 {main.size(buffer.elements)}, {buffer.dtype.itemsize}")
    padded = main.let(f"add i64 {count}, 64")
    main.do(f"%{buffer.name} = call ptr @malloc(i64 {padded})")
    main.do(f"%{buffer.name}.place = getelementptr inbounds ptr, ptr %table, i64 {place}")
    main.do(f"store ptr %{buffer.name}, ptr %{buffer.name}.place")
    failed = main.let(f"icmp eq ptr %{buffer.name}, null")
    main.do(f"br i1 {failed}, label %failed, label %{buffer.name}.held")
    main.label(f"{buffer.name}.held")


def _give_back(main: Body, module: Module, held: int) -> None:
    """Where memory ran out: free what the table holds, and return -1."""
    module.declare("void @free(ptr)", pure=False)
    module.declare("ptr @malloc(i64)", pure=False)
    main.label("failed")

    def free() -> None:
        at = main.let("getelementptr inbounds ptr, ptr %table, i64 %held")
        main.do(f"call void @free(ptr {main.let(f'load ptr, ptr {at}')})")

    main.counted("held", "0", str(held), "1", free)
    main.do("ret i64 -1")


def _call_product(main: Body, module: Module, p: Product, number: int, blas: bool) -> None:
    dtype = p.c[0].dtype
    helper = product_helper(module, dtype, blas and dtype.kind == "f")
    loops = [f"p{number}_{k}" for k in range(len(p.batch))]
    previous = f"p{number}_start"
    main.do(f"br label %{previous}")
    main.label(previous)
    for tag, size in zip(loops, p.batch, strict=True):
        main.do(f"br label %{tag}.head")
        main.label(f"{tag}.head")
        main.do(f"%{tag} = phi i64 [0, %{previous}], [%{tag}.next, %{tag}.latch]")
        test = main.let(f"icmp slt i64 %{tag}, {main.size(size)}")
        main.do(f"br i1 {test}, label %{tag}.body, label %{tag}.exit")
        main.label(f"{tag}.body")
        previous = f"{tag}.body"

    def pointer(buffer: Buffer, address: Address) -> str:
        offset = main.size(address.constant)
        for v, step in address.terms:
            assert not isinstance(v, Ref)
            offset = main.let(f"add i64 {offset}, {main.let(f'mul i64 %{loops[v]}, {main.size(step)}')}")
        return main.let(f"getelementptr inbounds {memory_type(buffer.dtype)}, ptr %{buffer.name}, i64 {offset}")

    a, b, c = pointer(p.a[0], p.a[1]), pointer(p.b[0], p.b[1]), pointer(*p.c)
    numbers = [main.size(s) for s in (p.rows, p.columns, p.inner, p.a[2], p.a[3], p.b[2], p.b[3])]
    m, n, k, ai, ak, bk, bj = numbers
    main.do(
        f"call void @{helper}(i64 {m}, i64 {n}, i64 {k}, ptr {a}, i64 {ai}, i64 {ak}, ptr {b}, i64 {bk}, i64 {bj}, ptr {c})"
    )
    for tag in reversed(loops):
        main.do(f"br label %{tag}.latch")
        main.label(f"{tag}.latch")
        main.do(f"%{tag}.next = add nuw nsw i64 %{tag}, 1")
        main.do(f"br label %{tag}.head")
        main.label(f"{tag}.exit")


def needed_sizes(program: Program) -> list[Size]:
    """The sizes a kernel is given, in order: every size in a loop, an address or a length that is not fixed."""
    found: dict[Size, None] = {}

    def need(*sizes: Size) -> None:
        for size in sizes:
            if not isinstance(size, int):
                found.setdefault(size)

    def need_address(address: Address) -> None:
        need(address.constant, *(step for _, step in address.terms))

    for step in program.steps:
        if isinstance(step, Region):
            for s in walk(step.items):
                if isinstance(s, Loop):
                    need(s.size, s.factor)
                elif isinstance(s, Tiles):
                    need(s.size, s.width)
                elif isinstance(s, Fill):
                    need(s.buffer.elements)
                elif isinstance(s, Load | Store | Finish):
                    need_address(s.address)
                elif isinstance(s, Accumulate) and s.position is not None:
                    need_address(s.position)
                elif isinstance(s, SizeOf):
                    need(s.size)
        else:
            need(*step.batch, step.rows, step.columns, step.inner, *step.a[2:], *step.b[2:])
            need_address(step.a[1])
            need_address(step.b[1])
            need_address(step.c[1])
    for buffer in program.temporaries:
        need(buffer.elements)
    return list(found)

"""LLVM IR text of scalars: dtypes, literals, primitives, and elementary functions by their rules."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from compiler import vector_math
from compiler.program import Buffer, Const, Primitive
from symgraph.dims import Size
from symgraph.errors import CompileError

_MEMORY = {
    "b1": "i8",
    "i1": "i8",
    "i2": "i16",
    "i4": "i32",
    "i8": "i64",
    "u1": "i8",
    "u2": "i16",
    "u4": "i32",
    "u8": "i64",
    "f4": "float",
    "f8": "double",
}

_LIBM = {
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "tan",
    "cbrt",
    "expm1",
    "log1p",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "log",
    "log2",
    "log10",
    "sin",
    "cos",
    "pow",
    "atan2",
    "hypot",
    "fmod",
}
_INTRINSICS = {"sqrt", "floor", "ceil", "trunc", "rint", "fabs", "copysign", "fma"}
_INFIX_FLOAT = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_INFIX_INT = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor", "shl": "shl"}
_ORDER_FLOAT = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}
_ORDER_INT = {"eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge"}


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
        return "\n".join(
            [
                *self.declarations.values(),
                *self.functions,
                "attributes #0 = { nounwind willreturn memory(none) }",
                "attributes #1 = { nounwind noinline }",
                "attributes #2 = { nounwind }",
                "attributes #3 = { nounwind willreturn memory(none) alwaysinline }",
                "attributes #5 = { nounwind noinline optnone }",
                "attributes #4 = { nounwind willreturn memory(none) noinline }",
                # long chains of arithmetic gain up to a third from the widest vectors, which LLVM avoids unless told
                'attributes #6 = { nounwind noinline "prefer-vector-width"="512" }',
                "",
            ]
        )


class Body:
    """The lines of one function; hands out names of registers and labels."""

    def __init__(self, module: Module, inline: bool = False, repeatable: bool = False) -> None:
        self.module = module
        self.inline = inline
        """Whether elementary functions become part of the function, as loops need to vectorise."""
        self.took_in = False
        """Whether an elementary function became part of this one."""
        self.repeatable = repeatable
        """Whether all may run again, where an argument was found to be far out."""
        self.watched: set[str] = set()
        """The types of the arguments that are looked at for that."""
        self.far: dict[str, list[str]] = {}
        """By type, a number for each argument met since the start of this level of loops; negative where it was far."""
        self.sizes: dict[int, None] = {}
        """Which of the call's sizes are used."""
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
            self.took_in |= inline
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
        limits = vector_math.FUNCTIONS[name].limit
        assert limits is not None
        limit = literal(limits[bits], np.dtype(f"f{bits // 8}"))
        return self.let(f"fcmp ogt {type_} {self.math('fabs', type_, [x])}, {limit}")

    def watch(self, name: str, type_: str, x: str) -> None:
        """Remember whether an argument was far: a negative number if so, also for nan."""
        self.watched.add(type_)
        bits = 64 if type_ == "double" else 32
        limits = vector_math.FUNCTIONS[name].limit
        assert limits is not None
        # Magnitudes are ordered as their bits are, so the sign of a difference of integers tells. A truth value would
        # do the same, but LLVM does not recognise several of them joined as a reduction, and the loop stays scalar.
        limit = int(np.array(limits[bits], f"f{bits // 8}").view(f"i{bits // 8}"))
        magnitude = self.let(f"bitcast {type_} {self.math('fabs', type_, [x])} to i{bits}")
        self.far.setdefault(type_, []).append(self.let(f"sub i{bits} {limit}, {magnitude}"))

    def end_watch(self) -> None:
        """Note what was remembered, at the end of a level of loops."""
        for type_, flags in self.far.items():
            integer = "i64" if type_ == "double" else "i32"
            while len(flags) > 1:  # in pairs: long chains take the vectoriser quadratic time
                pairs = [self.let(f"or {integer} {a}, {b}") for a, b in zip(flags[::2], flags[1::2], strict=False)]
                flags = pairs + flags[len(flags) & ~1 :]
            known = self.let(f"load {integer}, ptr %far.{type_}")
            new = self.let(f"or {integer} {known}, {flags[0]}")
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
        if isinstance(size, int):
            return str(size)
        slot = self.module.slots[size]
        self.sizes.setdefault(slot)
        return f"%n{slot}"

    def size_loads(self) -> list[str]:
        """The lines that read the sizes this function uses, for its start."""
        lines = []
        for slot in self.sizes:
            lines.append(f"  %n{slot}.at = getelementptr inbounds i64, ptr %sizes, i64 {slot}")
            lines.append(f"  %n{slot} = load i64, ptr %n{slot}.at")
        return lines


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
        return convert(body, args[0], dtype, s.dtype)
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
            values[s.result] = (
                literal(s.value, s.dtype)
                if isinstance(s, Const)
                else arithmetic(body, s, [values[a] for a in s.args], [dtypes[a] for a in s.args])
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


def convert(body: Body, x: str, source: np.dtype[Any], target: np.dtype[Any]) -> str:
    """A number in another dtype."""
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

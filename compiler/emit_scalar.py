"""LLVM IR text of scalars: dtypes, literals, primitives, and elementary functions by their rules."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import cache
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


@cache
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


def wide(type_: str, lanes: int) -> str:
    """The type of a number in each of `lanes` lanes; 1: the number itself."""
    return type_ if lanes == 1 else f"<{lanes} x {type_}>"


_SUFFIX = {"double": "f64", "float": "f32"}


def suffix(type_: str, lanes: int) -> str:
    """A type as the names of LLVM's intrinsics spell it."""
    short = _SUFFIX.get(type_, type_)
    return short if lanes == 1 else f"v{lanes}{short}"


def splat(text: str, type_: str, lanes: int) -> str:
    """A constant in every lane."""
    return text if lanes == 1 else f"splat ({type_} {text})"


def literal(value: object, dtype: np.dtype[Any]) -> str:
    """A constant in LLVM's notation; floats by their bits."""
    if dtype.kind == "f":
        return f"0x{struct.unpack('<Q', struct.pack('<d', float(value)))[0]:016X}"  # type: ignore[arg-type]
    if dtype.kind == "b":
        return "true" if value else "false"
    return str(int(value))  # type: ignore[call-overload]


WIDTH = '"prefer-vector-width"="512" "min-legal-vector-width"="512"'


class Module:
    """The text of a module, and what it declares. Where some elementary functions have another rule for far arguments,
    it has them computed by functions from outside (`far`), or only notes that there are some, in `MISSED`. `masks`: the
    processor reads and writes under a mask as quickly as without."""

    def __init__(self, name: str, sizes: Sequence[Size], far: bool = False, masks: bool = False) -> None:
        self.name, self.far, self.masks = name, far, masks
        self.slots = {size: k for k, size in enumerate(sizes)}
        self.places: dict[Buffer, int] = {}
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
                f"attributes #3 = {{ nounwind willreturn memory(none) alwaysinline {WIDTH} }}",
                "attributes #4 = { nounwind willreturn memory(none) noinline }",
                "attributes #5 = { nounwind alwaysinline }",
                # vectors are written out; without the width LLVM would cut those of 512 bits in two
                f"attributes #6 = {{ nounwind noinline {WIDTH} }}",
                f"attributes #7 = {{ nounwind noinline {WIDTH} }}",
                # what hardly ever runs is not worth LLVM's time
                f"attributes #8 = {{ nounwind noinline optnone cold {WIDTH} }}",
                f"attributes #9 = {{ nounwind alwaysinline {WIDTH} }}",
                '!0 = !{!"branch_weights", i32 1, i32 100000}',
                '!1 = !{!"branch_weights", i32 100000, i32 1}',
                "",
            ]
        )


class Body:
    """The lines of one function; hands out names of registers and labels."""

    def __init__(self, module: Module, inline: bool = False) -> None:
        self.module = module
        self.inline = inline
        """Whether elementary functions become part of the function, as is quicker in loops."""
        self.sizes: dict[int, None] = {}
        """Which of the call's sizes are used."""
        self.lines: list[str] = []
        self.known: dict[object, str] = {}
        """What has been computed since the last label, for those who remember it here."""
        self.known_offsets: dict[object, tuple[str, Size, bool]] = {}
        """The same of addresses."""
        self.count = 0
        self.active: str | None = None
        """Of the vector that is written now: which lanes count; None: all."""
        self._far: dict[tuple[int, str | None], str] = {}
        self._notes_far = False

    def new(self) -> str:
        """A fresh register."""
        self.count += 1
        return f"%t{self.count}"

    def let(self, text: str) -> str:
        """A register holding the value of an instruction."""
        self.count += 1
        name = f"%t{self.count}"
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        """An instruction without a value."""
        if self._notes_far and text.startswith(("br ", "ret ")):
            self._end_block(text)
        self.lines.append(f"  {text}")

    def note_far(self, far: str, lanes: int) -> None:
        """Note which arguments are far. It is said at the function's end, so that nothing waits for it before."""
        key = lanes, self.active if lanes > 1 else None
        known = self._far.get(key)
        self._far[key] = far if known is None else self.let(f"or {wide('i1', lanes)} {known}, {far}")
        if not self._notes_far:
            self._notes_far = True
            self.lines[:0] = ["  %far = alloca i8", "  store i8 0, ptr %far"]
            self.module.declarations[MISSED] = f"@{MISSED} = internal global i8 0"

    def _end_block(self, text: str) -> None:
        """Before a block ends, keep what was noted in it; before the function ends, say so."""
        for (lanes, active), far in self._far.items():
            if active is not None:
                far = self.let(f"and <{lanes} x i1> {far}, {active}")
            some = far if lanes == 1 else self.any(far, lanes)
            known, new = self.let("load i8, ptr %far"), self.let(f"zext i1 {some} to i8")
            self.lines.append(f"  store i8 {self.let(f'or i8 {known}, {new}')}, ptr %far")
        self._far.clear()
        if text.startswith("ret "):
            none, end = self.let(f"icmp eq i8 {self.let('load i8, ptr %far')}, 0"), self.new()[1:]
            self.lines.append(f"  br i1 {none}, label %{end}, label %{end}.far, !prof !1")
            self.label(f"{end}.far")
            self.lines.append(f"  store atomic i8 1, ptr @{MISSED} monotonic, align 1")
            self.lines.append(f"  br label %{end}")
            self.label(end)

    def label(self, name: str) -> None:
        """Start a block."""
        self.known.clear()
        self.known_offsets.clear()
        self.lines.append(f"{name}:")

    def math(self, name: str, type_: str, lanes: int, args: Sequence[str]) -> str:
        """A call of an elementary function."""
        vector = wide(type_, lanes)
        operands = ", ".join(f"{vector} {a}" for a in args)
        kinds = ", ".join([vector] * len(args))
        if name in vector_math.FUNCTIONS:
            return elementary(self, name, type_, lanes, args)
        if name in _INTRINSICS:
            function = f"llvm.{name}.{suffix(type_, lanes)}"
        elif lanes > 1:
            return self.one_by_one(args, type_, type_, lanes, lambda given: self.math(name, type_, 1, given))
        else:
            function = name if type_ == "double" else f"{name}f"
        self.module.declare(f"{vector} @{function}({kinds})")
        return self.let(f"call {vector} @{function}({operands})")

    def one_by_one(
        self, args: Sequence[str], type_: str, result: str, lanes: int, one: Callable[[list[str]], str]
    ) -> str:
        """What exists for single numbers only, for each lane."""
        vector, made = wide(type_, lanes), "poison"
        for k in range(lanes):
            value = one([self.let(f"extractelement {vector} {a}, i32 {k}") for a in args])
            made = self.let(f"insertelement {wide(result, lanes)} {made}, {result} {value}, i32 {k}")
        return made

    def any(self, truth: str, lanes: int) -> str:
        """Whether a vector of truths has a true one."""
        self.module.declare(f"i1 @llvm.vector.reduce.or.v{lanes}i1(<{lanes} x i1>)")
        return self.let(f"call i1 @llvm.vector.reduce.or.v{lanes}i1(<{lanes} x i1> {truth})")

    def splat(self, value: str, type_: str, lanes: int) -> str:
        """A register in every lane."""
        one = self.let(f"insertelement {wide(type_, lanes)} poison, {type_} {value}, i32 0")
        kind = wide(type_, lanes)
        return self.let(f"shufflevector {kind} {one}, {kind} poison, <{lanes} x i32> zeroinitializer")

    def joined(self, parts: Sequence[str], type_: str, lanes: int) -> str:
        """Vectors as one: neighbours, again and again."""
        while len(parts) > 1:
            places = ", ".join(f"i32 {k}" for k in range(2 * lanes))
            kind, mask = wide(type_, lanes), f"<{2 * lanes} x i32> <{places}>"
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts, lanes = [self.let(f"shufflevector {kind} {a}, {kind} {b}, {mask}") for a, b in pairs], 2 * lanes
        return parts[0]

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


def arithmetic(body: Body, s: Primitive, args: list[str], dtypes: list[np.dtype[Any]], lanes: int = 1) -> str:
    """The instructions of a primitive, on numbers or on vectors of `lanes` of them."""
    name, dtype = s.name, dtypes[-1] if s.name == "select" else dtypes[0]
    single = register_type(dtype)
    type_ = wide(single, lanes)
    if name in _ORDER_INT:
        if dtype.kind == "f":
            return body.let(f"fcmp {_ORDER_FLOAT[name]} {type_} {args[0]}, {args[1]}")
        order = _ORDER_INT[name]
        if name not in ("eq", "ne"):
            order = ("s" if dtype.kind == "i" else "u") + order
        return body.let(f"icmp {order} {type_} {args[0]}, {args[1]}")
    if name == "select":
        return body.let(f"select {wide('i1', lanes)} {args[0]}, {type_} {args[1]}, {type_} {args[2]}")
    if name == "cast":
        return convert(body, args[0], dtype, s.dtype, lanes)
    if name == "bitcast":
        return body.let(f"bitcast {type_} {args[0]} to {wide(register_type(s.dtype), lanes)}")
    if name == "neg":
        zero = splat("0", single, lanes)
        return body.let(f"fneg {type_} {args[0]}" if dtype.kind == "f" else f"sub {type_} {zero}, {args[0]}")
    if name == "not":
        return body.let(f"xor {type_} {args[0]}, {splat('true' if dtype.kind == 'b' else '-1', single, lanes)}")
    if dtype.kind == "f" and name in _INFIX_FLOAT:
        return body.let(f"{_INFIX_FLOAT[name]} {type_} {args[0]}, {args[1]}")
    if dtype.kind != "f" and name in _INFIX_INT:
        return body.let(f"{_INFIX_INT[name]} {type_} {args[0]}, {args[1]}")
    if name == "shr":
        return body.let(f"{'ashr' if dtype.kind == 'i' else 'lshr'} {type_} {args[0]}, {args[1]}")
    if name in ("idiv", "irem"):
        return (
            body.one_by_one(
                args, single, single, lanes, lambda given: _integer_division(body, name, single, dtype, given)
            )
            if lanes > 1
            else _integer_division(body, name, single, dtype, args)
        )
    if name == "ipow":
        return (
            body.one_by_one(args, single, single, lanes, lambda given: _integer_power(body, single, dtype, given))
            if lanes > 1
            else _integer_power(body, single, dtype, args)
        )
    if name in _LIBM or name in _INTRINSICS:
        return body.math(name, single, lanes, args)
    raise CompileError(f"LLVM has no {name} for {dtype}")


def elementary(body: Body, name: str, type_: str, lanes: int, args: Sequence[str]) -> str:
    """A call of the function that computes an elementary function, written from its rule.

    Loops take it in; elsewhere it is called, so that formulas with thousands of calls stay small. The arithmetic, so
    every bit of the results, is the same, in each lane and for single numbers. Where a function has another rule for
    far arguments, those few are computed anew, by functions from outside (compiler/far.py); or it is noted that there
    are some.
    """
    module, function = body.module, vector_math.FUNCTIONS[name]
    vector = wide(type_, lanes)
    operands = ", ".join(f"{vector} {a}" for a in args)
    if function.far is None:
        return body.let(f"call {vector} @{define_rule(module, name, type_, lanes, len(args), body.inline)}({operands})")
    if not body.inline:
        return body.let(f"call {vector} @{_defined_whole(module, name, type_, lanes)}({operands})")
    near = body.let(f"call {vector} @{define_rule(module, name, type_, lanes, 1, body.inline)}({operands})")
    far = is_far(body, name, type_, lanes, args[0])
    if not module.far:
        body.note_far(far, lanes)
        return near
    some = far if lanes == 1 else body.any(far, lanes)
    tag = body.new()[1:]
    body.do(f"br label %{tag}.near")  # a block with a name of its own, for the phi below
    body.label(f"{tag}.near")
    body.do(f"br i1 {some}, label %{tag}.far, label %{tag}.done, !prof !0")
    body.label(f"{tag}.far")
    again = _call_far(body, name, type_, lanes, args[0], near)
    body.do(f"br label %{tag}.done")
    body.label(f"{tag}.done")
    return body.let(f"phi {vector} [{near}, %{tag}.near], [{again}, %{tag}.far]")


def elementary_of_parts(body: Body, name: str, type_: str, lanes: int, given: Sequence[Sequence[str]]) -> Sequence[str]:
    """A call for several vectors at once: the arguments of each. Around a call everything goes to memory and back."""
    module, count, parts = body.module, len(given[0]), len(given)
    symbol, part, whole = (
        f"{module.name}_{name}_{parts}x{suffix(type_, lanes)}",
        wide(type_, lanes),
        wide(type_, parts * lanes),
    )
    both = f"{{ {', '.join([part] * parts)} }}"
    if symbol not in module.helpers:
        module.helpers.add(symbol)
        inner = Body(module, inline=True)
        operands = [
            inner.joined([f"%x{k}" for k in range(first, count * parts, count)], type_, lanes) for first in range(count)
        ]
        result, made = elementary(inner, name, type_, parts * lanes, operands), "poison"
        for k in range(parts):
            places = ", ".join(f"i32 {k * lanes + lane}" for lane in range(lanes))
            one = inner.let(f"shufflevector {whole} {result}, {whole} poison, <{lanes} x i32> <{places}>")
            made = inner.let(f"insertvalue {both} {made}, {part} {one}, {k}")
        inner.do(f"ret {both} {made}")
        parameters = ", ".join(f"{part} %x{k}" for k in range(count * parts))
        module.functions.append(
            "\n".join([f"\ndefine internal {both} @{symbol}({parameters}) #7 {{\nentry:", *inner.lines, "}"])
        )
    made = body.let(f"call {both} @{symbol}({', '.join(f'{part} {x}' for one in given for x in one)})")
    return [body.let(f"extractvalue {both} {made}, {k}") for k in range(parts)]


FAR = "symgraph_far_"
"""What the names of functions of far arguments begin with."""

MISSED = "missed"
"""A variable of the module: whether there were far arguments that it does not compute."""


def _call_far(body: Body, name: str, type_: str, lanes: int, x: str, near: str) -> str:
    """The values of a function by the rule for far arguments where they are, else `near`."""
    module, vector, symbol = body.module, wide(type_, lanes), f"{body.module.name}_{name}_{suffix(type_, lanes)}_each"
    if symbol not in module.helpers:
        module.helpers.add(symbol)
        function = f"{FAR}{name}_{suffix(type_, 1)}"
        module.declare(f"void @{function}(ptr, ptr, i64)", pure=False)
        module.functions.append(f"""
define internal {vector} @{symbol}({vector} %x, {vector} %near) #8 {{
  %given = alloca {vector}
  %made = alloca {vector}
  store {vector} %x, ptr %given
  store {vector} %near, ptr %made
  call void @{function}(ptr %given, ptr %made, i64 {lanes})
  %result = load {vector}, ptr %made
  ret {vector} %result
}}""")
    return body.let(f"call {vector} @{symbol}({vector} {x}, {vector} {near})")


def is_far(body: Body, name: str, type_: str, lanes: int, x: str) -> str:
    """Whether an argument is beyond the limit of a function; nan is not."""
    bits = 64 if type_ == "double" else 32
    limits = vector_math.FUNCTIONS[name].limit
    assert limits is not None
    limit = splat(literal(limits[bits], np.dtype(f"f{bits // 8}")), type_, lanes)
    return body.let(f"fcmp ogt {wide(type_, lanes)} {body.math('fabs', type_, lanes, [x])}, {limit}")


def _define(module: Module, symbol: str, type_: str, parameters: int, attribute: str, lines: Sequence[str]) -> str:
    given = ", ".join(f"{type_} %x{k}" for k in range(parameters))
    start = f"\ndefine internal {type_} @{symbol}({given}) {attribute} {{\nentry:"
    module.functions.append("\n".join([start, *lines, "}"]))
    return symbol


def define_rule(module: Module, name: str, type_: str, lanes: int, arguments: int, inline: bool) -> str:
    """The function of a rule; returns its name."""
    symbol = f"{module.name}_{name}_{suffix(type_, lanes)}{'_inline' if inline else ''}"
    if symbol in module.helpers:
        return symbol
    module.helpers.add(symbol)
    dtype = np.dtype(np.float64 if type_ == "double" else np.float32)
    body = Body(module, inline)
    rule = vector_math.record(name, dtype, arguments)
    (result,) = write_rule(body, rule, dtype, [f"%x{k}" for k in range(arguments)], lanes)
    vector = wide(type_, lanes)
    lines = [*body.lines, f"  ret {vector} {result}"]
    return _define(module, symbol, vector, arguments, "#3" if inline else "#4" if lanes == 1 else "#7", lines)


def write_rule(
    body: Body, rule: vector_math.Recorded, dtype: np.dtype[Any], given: Sequence[str], lanes: int = 1
) -> list[str]:
    """The statements of a rule, on arguments of a dtype; returns its results."""
    values = dict(zip(rule.arguments, given, strict=True))
    dtypes = dict.fromkeys(rule.arguments, dtype)
    for s in rule.body:
        dtypes[s.result] = s.dtype
        if isinstance(s, Const):
            values[s.result] = splat(literal(s.value, s.dtype), register_type(s.dtype), lanes)
        else:
            values[s.result] = arithmetic(body, s, [values[a] for a in s.args], [dtypes[a] for a in s.args], lanes)
    return [values[r] for r in rule.results]


def _defined_whole(module: Module, name: str, type_: str, lanes: int) -> str:
    """The function that chooses the rule by how far its argument is."""
    symbol = f"{module.name}_{name}_{suffix(type_, lanes)}_whole"
    if symbol in module.helpers:
        return symbol
    module.helpers.add(symbol)
    body = Body(module, inline=lanes > 1)
    if lanes > 1:
        vector = wide(type_, lanes)
        body.do(f"ret {vector} {elementary(body, name, type_, lanes, ['%x0'])}")
        return _define(module, symbol, vector, 1, "#7", body.lines)
    far = is_far(body, name, type_, 1, "%x0")
    if module.far:
        body.do(f"br i1 {far}, label %far, label %near")
        body.label("far")
        body.do(f"ret {type_} {_call_far(body, name, type_, 1, '%x0', '%x0')}")
        body.label("near")
    else:
        body.note_far(far, 1)
    dtype = np.dtype(np.float64 if type_ == "double" else np.float32)
    (near,) = write_rule(body, vector_math.record(name, dtype, 1), dtype, ["%x0"])
    body.do(f"ret {type_} {near}")
    return _define(module, symbol, type_, 1, "#1", body.lines)


def convert(body: Body, x: str, source: np.dtype[Any], target: np.dtype[Any], lanes: int = 1) -> str:
    """A number in another dtype."""
    one, other = register_type(source), register_type(target)
    if one == other:
        return x
    a, b = wide(one, lanes), wide(other, lanes)
    if source.kind == "f" and target.kind == "f":
        return body.let(f"{'fptrunc' if source.itemsize > target.itemsize else 'fpext'} {a} {x} to {b}")
    if source.kind == "f":
        # saturating: LLVM's plain conversion leaves values out of range undefined
        sign = "s" if target.kind == "i" else "u"
        function = f"llvm.fpto{sign}i.sat.{suffix(other, lanes)}.{suffix(one, lanes)}"
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

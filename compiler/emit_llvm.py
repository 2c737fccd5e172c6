"""A Program as LLVM IR text: one function per region, and one that calls them in order.

The kernel's signature: pointers to inputs (numbers by value), constants and outputs, then the sizes of the call as an
array of int64. It returns 0, or the number of the first failed check, or -1 where memory ran out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from compiler import vector_math
from compiler.emit_product import call_product
from compiler.emit_scalar import Body, Module, arithmetic, convert, literal, memory_type, register_type
from compiler.program import (
    LOW,
    Accumulate,
    Address,
    Buffer,
    Check,
    Const,
    Fill,
    Finish,
    Item,
    Load,
    Loop,
    Note,
    Primitive,
    Program,
    Ref,
    Region,
    SizeOf,
    Start,
    Store,
    Tiles,
    identity,
    walk,
)
from symgraph.dims import Size

BIG_NEST = 64
"""Statements from which a region stays a function of its own, so that no function grows without bound."""

QUICK_FROM = 8192
"""Statements without loops from which LLVM does not optimise them: they are single assignments already, with common
ones shared, so its passes find little."""


INLINE = 1500
"""Statements of elementary functions up to which a region takes them in: each costs 0.2 ms of compile time."""


def inlines(items: Sequence[Item]) -> bool:
    """Whether a region takes in the elementary functions it calls."""
    return (
        sum(
            len(vector_math.record(s.name, s.dtype, len(s.args)).body)
            for s in walk(items)
            if isinstance(s, Primitive) and s.name in vector_math.FUNCTIONS
        )
        <= INLINE
    )


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
            for b, p in self.parameters.items()
            if b.role != "slot"
        ]
        if any(b.role == "slot" for b in self.parameters):
            parameters.append("ptr noalias %slots")
        parameters.append("ptr noalias %sizes")
        if self.checks:
            parameters.append("ptr noalias %status")
        attribute = "#1" if statements > BIG_NEST else "#2"
        if body.took_in:
            attribute = "#6"
        if self.module.quick and not self.loops:
            attribute = "#5"
        given = ", ".join(parameters)
        if not body.watched:
            return self._function(
                "void", self.name, given, attribute, [*body.size_loads(), *body.lines, "  ret void"]
            ), list(self.parameters)
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
            tests.append(body.let(f"icmp slt {integer} {body.let(f'load {integer}, ptr %far.{type_}')}, 0"))
        result = tests[0] if len(tests) == 1 else body.let(f"or i1 {tests[0]}, {tests[1]}")
        near = self._function(
            "i1",
            f"{self.name}_near",
            given,
            attribute,
            [
                *flags.lines,
                *body.size_loads(),
                *body.lines,
                f"  ret i1 {result}",
            ],
        )
        main = self._function(
            "void",
            self.name,
            given,
            "#2",
            [
                f"  %far = call i1 @{self.name}_near({given})",
                "  br i1 %far, label %again, label %done",
                "again:",
                f"  call void @{self.name}_far({given})",
                "  br label %done",
                "done:",
                "  ret void",
            ],
        )
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
                value = convert(body, value, s.dtype, s.buffer.dtype)
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
    main.do("%status = alloca i64")
    main.do("store i64 0, ptr %status")
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
            arguments += ["ptr %sizes", *(["ptr %status"] if writer.checks else [])]
            line = f"call void @{name}_region{number}({', '.join(arguments)})"
            pieces.append((buffers, lambda line=line: main.do(line)))  # type: ignore[misc]
        else:
            buffers = list(dict.fromkeys((step.a[0], step.b[0], step.c[0])))  # a square has one operand, freed once
            used_by_products.update(buffers)
            pieces.append((buffers, lambda step=step, n=number: call_product(main, module, step, n, blas)))  # type: ignore[misc]
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
    module.functions.append(
        "\n".join(
            [
                f"\ndefine internal i64 @{name}({', '.join([*parameters, 'ptr %sizes'])}) #2 {{",
                "entry:",
                *main.size_loads(),
                *main.lines,
                "}",
            ]
        )
    )
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

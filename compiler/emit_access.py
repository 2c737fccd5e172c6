"""Values in registers, addresses, loads and stores of a region: of single numbers, and of vectors.

A value is one number, or one in each lane of the loop over vectors. An address that grows by one from lane to lane is a
place in memory; any other is gathered or scattered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.emit_scalar import Body, memory_type, register_type, splat, suffix, wide
from compiler.program import LOW, Address, Buffer, Load, Ref
from symgraph.dims import Size

LINE = 64
"""How many bytes of memory come at once."""


class Vector:
    """The loop whose steps are taken several at once: its variable, how many, and which of them count."""

    def __init__(self, variable: int, lanes: int, mask: str | None) -> None:
        self.variable, self.lanes, self.mask = variable, lanes, mask


class Access:
    """What a region's function has computed so far, and how it reaches memory.

    Args:
        body: the lines of the function.
        across: in a tile's buffers rows are neighbours, so they have room beyond the last row.
    """

    def __init__(self, body: Body, across: bool) -> None:
        self.body, self.across = body, across
        self.values: dict[int, str] = {}
        self.dtypes: dict[int, np.dtype[Any]] = {}
        self.lanes: dict[int, int] = {}  # of a value: 1, or those of the vector loop
        self.spread: dict[int, str] = {}  # values of all lanes, in vectors
        self.index: dict[int, str] = {}  # registers of loop variables
        self.vector: Vector | None = None
        self.places: dict[Buffer, str] = {}  # where in a tile's memory a buffer begins
        self.parameters: dict[Buffer, str] = {}

    def pointer(self, buffer: Buffer) -> str:
        """The parameter for a buffer; single elements lie side by side behind one parameter."""
        if buffer.role == "tile":
            return self.body.let(f"getelementptr inbounds i8, ptr %tiles, i64 {self.places[buffer]}")
        name = self.parameters.setdefault(buffer, f"%{buffer.name}")
        if buffer.role == "slot":
            return self.body.let(f"getelementptr inbounds i8, ptr %slots, i64 {8 * self.body.module.places[buffer]}")
        return name

    # values

    def _spread(self, number: int, lanes: int) -> str:
        found = self.spread.get(number)
        if found is None:
            value, kind = self.values[number], register_type(self.dtypes[number])
            literal_ = not value.startswith("%")
            found = splat(value, kind, lanes) if literal_ else self.body.splat(value, kind, lanes)
            self.spread[number] = found
        return found

    def _in_lanes(self, number: int, lanes: int) -> str:
        """A value in so many lanes."""
        if lanes == 1 or self.lanes.get(number, 1) == lanes:
            return self.values[number]
        return self._spread(number, lanes)

    def _set(self, number: int, value: str, lanes: int) -> None:
        self.values[number] = value
        self.lanes[number] = lanes
        self.spread.pop(number, None)

    def _offset(self, address: Address) -> tuple[str, Size, bool]:
        """constant + sum(step * variable) of the first lane, the vector variable's step, and whether the address holds
        numbers that differ between lanes in another way; those are left out."""
        # between two labels no loop variable changes but the vector's own, where its parts take turns
        key = address, self.index[self.vector.variable] if self.vector is not None else ""
        found: tuple[str, Size, bool] | None = self.body.known_offsets.get(key)
        if found is None:
            found = self._offset_of(address)
            if not any(isinstance(v, Ref) for v, _ in address.terms):
                self.body.known_offsets[key] = found
        return found

    def _offset_of(self, address: Address) -> tuple[str, Size, bool]:
        terms: list[tuple[str, Size]] = []
        vector_step: Size = 0
        irregular = False
        for v, step in address.terms:
            if isinstance(v, Ref):
                if self.lanes.get(v.number, 1) > 1:
                    irregular = True
                    continue
                terms.append((self.values[v.number], step))
            elif v == LOW:
                terms.append(("%low", step))
            else:
                terms.append((self.index[v], step))
                if self.vector is not None and v == self.vector.variable:
                    vector_step = step
        key = (address.constant, tuple(terms))
        found = self.body.known.get(key)
        if found is None:
            found = self.body.known[key] = self._sum(terms, address.constant)
        return found, vector_step, irregular

    def _sum(self, terms: Sequence[tuple[str, Size]], constant: Size) -> str:
        body = self.body
        result = "0" if constant == 0 and terms else body.size(constant)
        for name, step in terms:
            if step == -1 and result != "0":
                result = body.let(f"sub nsw i64 {result}, {name}")
                continue
            part = name if step == 1 else body.let(f"mul nsw i64 {name}, {body.size(step)}")
            result = part if result == "0" else body.let(f"add nsw i64 {result}, {part}")
        return result

    def _offsets(self, address: Address, first: str, step: Size) -> str:
        """The same for every lane."""
        body, vector = self.body, self.vector
        assert vector is not None
        lanes = vector.lanes
        result = body.splat(first, "i64", lanes) if first.startswith("%") else splat(first, "i64", lanes)
        if step != 0:
            steps = counting(lanes, "i64")
            if step != 1:
                factor = body.size(step)
                factor = body.splat(factor, "i64", lanes) if factor.startswith("%") else splat(factor, "i64", lanes)
                steps = body.let(f"mul <{lanes} x i64> {steps}, {factor}")
            result = body.let(f"add <{lanes} x i64> {result}, {steps}")
        for v, k in address.terms:
            if isinstance(v, Ref) and self.lanes.get(v.number, 1) > 1:
                number = self.values[v.number]
                if k != 1:
                    size = body.size(k)
                    size = body.splat(size, "i64", lanes) if size.startswith("%") else splat(size, "i64", lanes)
                    number = body.let(f"mul <{lanes} x i64> {number}, {size}")
                result = body.let(f"add <{lanes} x i64> {result}, {number}")
        return result

    def _at(self, buffer: Buffer, offset: str) -> str:
        if offset == "0":
            return self.pointer(buffer)
        kind = memory_type(buffer.dtype)
        if buffer.role != "tile":
            return self.body.let(f"getelementptr inbounds {kind}, ptr {self.pointer(buffer)}, i64 {offset}")
        key = kind, offset  # most buffers of a tile are used at the same few offsets
        base = self.body.known.get(key)
        if base is None:
            base = self.body.known[key] = self.body.let(f"getelementptr inbounds {kind}, ptr %tiles, i64 {offset}")
        return self.body.let(f"getelementptr inbounds i8, ptr {base}, i64 {self.places[buffer]}")

    def _mask_of(self, mask: int | None) -> str | None:
        """The lanes that count, and of them those where a statement is true."""
        vector = self.vector
        assert vector is not None
        if mask is None or self.values[mask] == "true":
            return vector.mask
        given = self._in_lanes(mask, vector.lanes)
        if vector.mask is None:
            return given
        return self.body.let(f"and <{vector.lanes} x i1> {given}, {vector.mask}")

    def _load(self, s: Load) -> None:
        body, buffer = self.body, s.buffer
        self.dtypes[s.result] = s.dtype
        if buffer.role == "scalar":
            self._set(s.result, self.pointer(buffer), 1)
            return
        kind = memory_type(buffer.dtype)
        offset, step, irregular = self._offset(s.address)
        vector = self.vector
        masked_lanes = vector is not None and s.mask is not None and self.lanes.get(s.mask, 1) > 1
        if vector is None or (step == 0 and not irregular and not masked_lanes):
            self._load_number(s, kind, offset)
            return
        lanes = vector.lanes
        whole = wide(kind, lanes)
        # a tile's buffer has room beyond the last row, and what stands there is used for nothing
        mask = None if s.mask is None and buffer.role == "tile" and self.across else self._mask_of(s.mask)
        if step == 1 and not irregular:
            value = self._load_lanes(s, offset, mask)
        else:
            name = f"llvm.masked.gather.{suffix(kind, lanes)}.v{lanes}p0"
            self.body.module.declare(f"{whole} @{name}(<{lanes} x ptr>, i32, <{lanes} x i1>, {whole})", pure=False)
            offsets = self._offsets(s.address, offset, step)
            pointers = body.let(f"getelementptr {kind}, ptr {self.pointer(buffer)}, <{lanes} x i64> {offsets}")
            value = body.let(
                f"call {whole} @{name}(<{lanes} x ptr> {pointers}, i32 {buffer.dtype.itemsize}, "
                f"<{lanes} x i1> {self._mask_of(s.mask) or splat('true', 'i1', lanes)}, {whole} zeroinitializer)"
            )
        if buffer.dtype.kind == "b":
            value = body.let(f"icmp ne {whole} {value}, zeroinitializer")
        self._set(s.result, value, lanes)

    def _load_lanes(self, s: Load, offset: str, mask: str | None) -> str:
        """Neighbours, in lanes that count."""
        assert self.vector is not None
        body, size, lanes, kind = self.body, s.buffer.dtype.itemsize, self.vector.lanes, memory_type(s.buffer.dtype)
        if s.mask is not None and mask is not None and self.values[s.mask] != "true":
            offset = self._inside(s.buffer, offset, lanes)
        whole, pointer = wide(kind, lanes), self._at(s.buffer, offset)
        if s.ahead:
            self._ask(pointer, s.ahead, lanes * size, 0)
        if mask is None:
            return body.let(f"load {whole}, ptr {pointer}, align {size}")
        name = f"llvm.masked.load.{suffix(kind, lanes)}.p0"
        self.body.module.declare(f"{whole} @{name}(ptr, i32, <{lanes} x i1>, {whole})", pure=False)
        given = f"ptr {pointer}, i32 {size}, <{lanes} x i1> {mask}, {whole} zeroinitializer"
        return body.let(f"call {whole} @{name}({given})")

    def _ask(self, pointer: str, ahead: int, count: int, written: int) -> None:
        """Ask for memory that is read, or written, some steps later."""
        body = self.body
        body.module.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)", pure=False)
        for start in range(ahead, ahead + count, LINE):
            place = body.let(f"getelementptr i8, ptr {pointer}, i64 {start}")
            body.do(f"call void @llvm.prefetch.p0(ptr {place}, i32 {written}, i32 3, i32 1)")

    def _inside(self, buffer: Buffer, offset: str, lanes: int) -> str:
        """An offset whose lanes touch the buffer, or 0: processors take thousands of cycles to find out that nothing is
        wanted of a page that is not there."""
        body = self.body
        reached = body.let(f"add nsw i64 {offset}, {lanes - 1}")
        end = body.let(f"add nsw i64 {body.size(buffer.elements)}, {lanes - 1}")
        touches = body.let(f"icmp ult i64 {reached}, {end}")
        return body.let(f"select i1 {touches}, i64 {offset}, i64 0")

    def _load_number(self, s: Load, kind: str, offset: str) -> None:
        body = self.body
        if s.mask is None:
            value = body.let(f"load {kind}, ptr {self._at(s.buffer, offset)}")
        else:  # nothing is read where the mask is false
            tag = body.new()[1:]
            body.do(f"br label %{tag}.test")
            body.label(f"{tag}.test")
            body.do(f"br i1 {self.values[s.mask]}, label %{tag}.read, label %{tag}.done")
            body.label(f"{tag}.read")
            read = body.let(f"load {kind}, ptr {self._at(s.buffer, offset)}")
            body.do(f"br label %{tag}.done")
            body.label(f"{tag}.done")
            zero = "zeroinitializer" if kind in ("double", "float") else "0"
            value = body.let(f"phi {kind} [{read}, %{tag}.read], [{zero}, %{tag}.test]")
        if s.buffer.dtype.kind == "b":
            value = body.let(f"icmp ne i8 {value}, 0")
        self._set(s.result, value, 1)

    def _store(
        self, buffer: Buffer, address: Address, value: str, lanes: int, mask: str | None, ahead: int = 0
    ) -> None:
        """Write an element, or one from each lane."""
        body, kind = self.body, memory_type(buffer.dtype)
        if buffer.dtype.kind == "b":
            value = body.let(f"zext {wide('i1', lanes)} {value} to {wide('i8', lanes)}")
        offset, step, irregular = self._offset(address)
        if lanes == 1:
            body.do(f"store {kind} {value}, ptr {self._at(buffer, offset)}")
            return
        whole = wide(kind, lanes)
        if step == 1 and not irregular:
            pointer = self._at(buffer, offset)
            if ahead:
                self._ask(pointer, ahead, lanes * buffer.dtype.itemsize, 1)
            if mask is None or (buffer.role == "tile" and self.across):  # there is room beyond the last row
                body.do(f"store {whole} {value}, ptr {pointer}, align {buffer.dtype.itemsize}")
                return
            name = f"llvm.masked.store.{suffix(kind, lanes)}.p0"
            self.body.module.declare(f"void @{name}({whole}, ptr, i32, <{lanes} x i1>)", pure=False)
            body.do(
                f"call void @{name}({whole} {value}, ptr {pointer}, i32 {buffer.dtype.itemsize}, <{lanes} x i1> {mask})"
            )
            return
        name = f"llvm.masked.scatter.{suffix(kind, lanes)}.v{lanes}p0"
        self.body.module.declare(f"void @{name}({whole}, <{lanes} x ptr>, i32, <{lanes} x i1>)", pure=False)
        offsets = self._offsets(address, offset, step)
        pointers = body.let(f"getelementptr {kind}, ptr {self.pointer(buffer)}, <{lanes} x i64> {offsets}")
        body.do(
            f"call void @{name}({whole} {value}, <{lanes} x ptr> {pointers}, i32 {buffer.dtype.itemsize}, "
            f"<{lanes} x i1> {mask or splat('true', 'i1', lanes)})"
        )

    def _read(self, buffer: Buffer, pointer: str, lanes: int) -> str:
        """Neighbouring elements."""
        whole = wide(memory_type(buffer.dtype), lanes)
        value = self.body.let(f"load {whole}, ptr {pointer}, align {buffer.dtype.itemsize}")
        if buffer.dtype.kind == "b":
            value = self.body.let(f"icmp ne {whole} {value}, {splat('0', 'i8', lanes)}")
        return value


def counting(lanes: int, kind: str) -> str:
    """0, 1, 2, ..."""
    return f"<{', '.join(f'{kind} {k}' for k in range(lanes))}>"

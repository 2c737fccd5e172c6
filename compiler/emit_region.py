"""A region as an LLVM function of a chunk's rows.

Loops over vectors are written out as such, so what is computed, and in which order sums are added, does not depend on
what LLVM finds in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from compiler import vector_math
from compiler.emit_access import Vector, counting
from compiler.emit_guards import Guarded, guards_of
from compiler.emit_scalar import (
    Body,
    Module,
    arithmetic,
    convert,
    elementary_of_parts,
    literal,
    memory_type,
    register_type,
    splat,
    suffix,
    wide,
)
from compiler.program import (
    RUN,
    Accumulate,
    Buffer,
    Check,
    Const,
    Fill,
    Finish,
    Fold,
    Item,
    Load,
    Loop,
    Note,
    Position,
    Primitive,
    Region,
    SizeOf,
    Start,
    Store,
    Tiles,
    identity,
    makes_value,
    runs,
    walk,
)
from symgraph.errors import CompileError

BIG_NEST = 64
"""Statements from which a region stays a function of its own, so that no function grows without bound."""

INLINE = 1500
"""Statements of elementary functions up to which a region takes them in: each costs compile time."""

TWICE = 150
"""Statements up to which a loop over vectors is written twice, whole and under a mask; longer ones are only masked, and
so are those that call elementary functions where masks cost nothing: LLVM takes its time for both."""

STACK_BYTES = 1 << 16
"""What the values of a tile may take of the stack; beyond, they lie on the heap."""


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


def has_loops(region: Region) -> bool:
    """Whether a region repeats anything."""
    return any(isinstance(s, Loop) for s in walk(region.items))


class RegionWriter(Guarded):
    """Writes one region as a function.

    Args:
        module: what it belongs to.
        region: the region.
        name: of the function.
        repeated: whether it stands in a loop around programs.
        register: for code that is translated quickly, the bytes of the widest vector that the processor has; wider ones
            are written as several, for LLVM cuts them slowly. 0: as they are.
    """

    def __init__(self, module: Module, region: Region, name: str, repeated: bool = False, register: int = 0) -> None:
        self.loops, self.repeated = has_loops(region), repeated
        super().__init__(Body(module, (self.loops or repeated) and inlines(region.items)), region.across)
        self.module, self.region, self.name, self.register = module, region, name, register
        self.accumulators: dict[int, Start] = {}
        self.running: dict[int, Accumulate] = {}  # what the loop over vectors adds up in runs
        self.wide = {**{p.partial: p.lanes for p in region.partials}, **region.wide}
        self.checks = any(type(s) is Check for s in walk(region.items))
        self._writers: dict[type, Callable[[Any], None]] = {
            Loop: self._loop,
            Tiles: self._tiles,
            Primitive: self._primitive,
            Load: self._load,
            Const: self._constant,
            Store: self._store_value,
            Accumulate: self._accumulate,
            Start: self._start,
            Finish: self._finish,
            Position: self._position,
            SizeOf: self._size,
            Fill: self._fill,
            Check: self._check,
            Fold: self._fold,
        }

    def write(self) -> tuple[str, list[Buffer]]:
        """The function's text, and the buffers it takes."""
        body, region = self.body, self.region
        statements = 0
        for s in walk(region.items):
            statements += 1
            if isinstance(s, Start):
                self.accumulators[s.accumulator] = s
                body.do(f"%acc{s.accumulator} = alloca {wide(register_type(s.dtype), s.lanes)}")
                if s.position:
                    body.do(f"%pos{s.accumulator} = alloca i64")
                if s.run is not None:
                    body.do(f"%run{s.accumulator} = alloca {wide(register_type(s.run), s.lanes)}")
        held = self._tile_buffers()
        body.do("br label %start")
        body.label("start")
        self._items(region.items)
        if held:
            body.do(f"call void @pool_free(ptr null, ptr {held}, i64 0)")
        body.do("ret void")
        parameters = [
            f"{register_type(b.dtype)} {p}" if b.role == "scalar" else f"ptr noalias {p}"
            for b, p in self.parameters.items()
            if b.role != "slot"
        ]
        if any(b.role == "slot" for b in self.parameters):
            parameters.append("ptr noalias %slots")
        parameters.append("ptr noalias %sizes")
        if self.checks or held:
            self.checks = True
            parameters.append("ptr %status")
        if region.size is not None:
            parameters += ["i64 %first", "i64 %last"]
        inside = self.repeated and region.size is None  # straight statements in a loop keep to its registers
        attribute = "#9" if inside else "#6" if self.loops else "#1" if statements > BIG_NEST else "#5"
        head = f"\ndefine internal void @{self.name}({', '.join(parameters)}) {attribute} {{"
        return "\n".join([head, "entry:", *body.size_loads(), *body.lines, "}"]), list(self.parameters)

    def _tile_buffers(self) -> str | None:
        """Room for the values of a tile, in one piece; returns its register if it is to be freed."""
        tiles, body = self.region.tiles, self.body
        if not tiles:
            return None
        sizes = [b.elements * b.dtype.itemsize for b in tiles]
        if all(isinstance(size, int) for size in sizes):
            total = 0
            for b, size in zip(tiles, sizes, strict=True):
                assert isinstance(size, int)
                self.places[b] = str(total)
                total += (size + 127) // 64 * 64  # neighbours keep out of each other's cache sets
            if total <= STACK_BYTES:
                body.do(f"%tiles = alloca [{total} x i8], align 64")
                return None
            room = str(total + 64)
        else:
            room = "64"
            for b in tiles:
                self.places[b] = f"%{b.name}.at"
                count = body.let(f"mul i64 {body.size(b.elements)}, {b.dtype.itemsize}")
                padded = body.let(f"and i64 {body.let(f'add i64 {count}, 127')}, -64")
                body.do(f"%{b.name}.at = add i64 {room}, 0")
                room = body.let(f"add i64 {room}, {padded}")
        self.module.declare("void @pool_free(ptr, ptr, i64)", pure=False)
        self.module.declare("ptr @pool_malloc(ptr, i64)", pure=False)
        held = body.let(f"call ptr @pool_malloc(ptr null, i64 {room})")
        body.do(f"br i1 {body.let(f'icmp eq ptr {held}, null')}, label %nowhere, label %somewhere")
        body.label("nowhere")
        body.do("%failed = atomicrmw umin ptr %status, i64 0 monotonic")
        body.do("ret void")
        body.label("somewhere")
        number = body.let(f"ptrtoint ptr {held} to i64")
        gap = body.let(f"and i64 {body.let(f'sub i64 0, {number}')}, 63")
        body.do(f"%tiles = getelementptr inbounds i8, ptr {held}, i64 {gap}")
        return held

    def _items(self, items: Sequence[Item]) -> None:
        for item in items:
            write = self._writers.get(type(item))
            if write is not None:
                write(item)

    # loops

    def _tiles(self, tiles: Tiles) -> None:
        body = self.body
        if tiles.width is None:
            body.do("%low = add i64 %first, 0")
            body.do("%high = add i64 %last, 0")
            self._items(tiles.body)
            return
        width = body.size(tiles.width)

        def inside() -> None:
            end = body.let(f"add nsw i64 %low, {width}")
            body.do(f"%high = {self._smaller(end, '%last')}")
            self._items(tiles.body)

        body.counted("low", "%first", "%last", width, inside)

    def _loop(self, loop: Loop) -> None:
        body = self.body
        low, high = "0", body.size(loop.size)
        if loop.tiled:
            low = "%low"
            high = "%high" if loop.size == self.region.size else body.let(self._smaller("%high", high))
            if loop.factor != 1:
                low, high = (body.let(f"mul nsw i64 {end}, {body.size(loop.factor)}") for end in (low, high))
        if loop.lanes > 1:
            self._vector_loop(loop, low, high)
            return
        name = body.new()[1:]
        self.index[loop.variable] = f"%{name}"
        body.counted(name, low, high, "1", lambda: self._items(loop.body))

    def _vector_loop(self, loop: Loop, low: str, high: str) -> None:
        body, lanes = self.body, loop.lanes
        count, calls = 0, False
        for s in walk(loop.body):
            count += 1
            if isinstance(s, Primitive) and s.name in vector_math.FUNCTIONS:
                calls = True
                if body.inline:
                    count += len(vector_math.record(s.name, s.dtype, len(s.args)).body)
        parts = self._parts(loop)
        self._spread_outside(loop, lanes // parts)
        outer, kept, guards, running, first = self.vector, dict(self.spread), self.guards, self.running, low

        def part(start: str, end: str, masked: bool, inside: bool = False) -> None:
            """The steps from one place to another; `inside` of all ranges."""
            name = body.new()[1:]
            self.index[loop.variable] = f"%{name}"
            self.inside, self.spread = inside, dict(kept)

            def steps() -> None:
                mask = self._mask(f"%{name}", end, lanes) if masked else None
                self.vector = Vector(loop.variable, lanes, mask)
                self._items(loop.body)
                if self.running:
                    self._end_run(body.let(f"sub nsw i64 %{name}, {first}"), lanes)

            body.counted(name, start, end, str(lanes), steps)

        self.running = {s.accumulator: s for s in runs(loop)}
        for s in self.running.values():
            self._start_run(s)

        self.guards = {} if parts > 1 else guards_of(loop)
        if parts > 1:
            name = body.new()[1:]
            self.index[loop.variable] = f"%{name}"
            body.counted(name, low, high, str(lanes), lambda: self._side_by_side(loop, name, high, parts))
        elif count > TWICE or (calls and self.module.masks):
            part(low, high, True)
        else:
            whole = self._whole(low, high, lanes)
            if self.guards:
                start, end = self._inner(loop, low, whole)
                part(low, start, False)
                part(start, end, False, True)
                low = end
            part(low, whole, False)
            part(whole, high, True)
        for s in self.running.values():
            self._add_run(s)
        self.guards, self.running = guards, running
        self.vector, self.spread = outer, kept

    def _parts(self, loop: Loop) -> int:
        """How many vectors of the processor make one of the loop; 1 where lanes have to do with each other."""
        if not self.register or self.body.inline or not all(_stays_in_lane(s) for s in loop.body):
            return 1
        widest = max((s.dtype.itemsize for s in loop.body if makes_value(s)), default=1)
        return max(loop.lanes * widest // self.register, 1)

    def _side_by_side(self, loop: Loop, name: str, high: str, parts: int) -> None:
        """A step of a loop over vectors, each in so many parts; a statement's parts are neighbours, and run at once."""
        lanes = loop.lanes // parts
        states = []
        for part in range(parts):
            at = self.body.let(f"add nsw i64 %{name}, {part * lanes}")
            vector = Vector(loop.variable, lanes, self._mask(at, high, lanes))
            states.append((at, vector, dict(self.values), dict(self.lanes), dict(self.spread)))
        for item in loop.body:
            write = self._writers.get(type(item))
            call = item if isinstance(item, Primitive) and item.name in vector_math.FUNCTIONS else None
            given = []
            for at, vector, values, lanes_of, spread in states if write is not None else ():
                self.index[loop.variable], self.vector = at, vector
                self.values, self.lanes, self.spread = values, lanes_of, spread
                if call is not None:
                    given.append([self._in_lanes(a, lanes) for a in call.args])
                elif write is not None:
                    write(item)
            if call is not None:
                self.dtypes[call.result] = call.dtype
                results = elementary_of_parts(self.body, call.name, register_type(call.dtype), lanes, given)
                for (_, _, values, lanes_of, _), result in zip(states, results, strict=True):
                    values[call.result], lanes_of[call.result] = result, lanes

    def _mask(self, at: str, high: str, lanes: int) -> str:
        """Which lanes from here on are below the end."""
        body = self.body
        left = body.let(self._smaller(body.let(f"sub nsw i64 {high}, {at}"), str(lanes)))
        bound = body.splat(body.let(f"trunc i64 {left} to i32"), "i32", lanes)
        return body.let(f"icmp slt <{lanes} x i32> {counting(lanes, 'i32')}, {bound}")

    def _spread_outside(self, loop: Loop, lanes: int) -> None:
        """Before a loop over vectors: values from outside that it uses, in every lane."""
        made: set[int] = set()
        used: dict[int, None] = {}
        for s in walk(loop.body):
            if makes_value(s):
                made.add(s.result)
                if isinstance(s, Primitive):
                    used.update(dict.fromkeys(s.args))
            elif isinstance(s, Store) or isinstance(s, Accumulate):  # noqa: SIM101  (a union is slow to ask)
                used.setdefault(s.value)
        for number in used:
            if number not in made and number in self.values and self.lanes.get(number, 1) == 1:
                self._spread(number, lanes)

    # reductions

    def combine(self, name: str, x: str, y: str, dtype: np.dtype[Any], lanes: int) -> str:
        """One step of a reduction."""
        body, kind = self.body, register_type(dtype)
        type_ = wide(kind, lanes)
        if name in ("maximum", "minimum"):
            if dtype.kind == "b":
                return body.let(f"{'or' if name == 'maximum' else 'and'} {type_} {x}, {y}")
            if dtype.kind == "f":
                return self._further(name, x, y, type_, lanes)
            function = f"llvm.{'s' if dtype.kind == 'i' else 'u'}{name[:3]}.{suffix(kind, lanes)}"
            self.module.declare(f"{type_} @{function}({type_}, {type_})")
            return body.let(f"call {type_} @{function}({type_} {x}, {type_} {y})")
        if dtype.kind == "f":
            return body.let(f"f{name} {type_} {x}, {y}")
        if dtype.kind == "b":
            name = {"add": "or", "mul": "and"}.get(name, name)
        return body.let(f"{name} {type_} {x}, {y}")

    def _further(self, name: str, known: str, value: str, type_: str, lanes: int) -> str:
        """The larger or smaller one of two floats, or a nan; of equals the one known.

        Processors have an instruction for the choice, which keeps a nan that is known; whether the value is one waits
        for nothing. An intrinsic that tells -0.0 from 0.0 takes twice as many.
        """
        body, truths = self.body, wide("i1", lanes)
        beyond = body.let(f"fcmp {'ogt' if name == 'maximum' else 'olt'} {type_} {value}, {known}")
        chosen = body.let(f"select {truths} {beyond}, {type_} {value}, {type_} {known}")
        is_nan = body.let(f"fcmp uno {type_} {value}, {value}")
        return body.let(f"select {truths} {is_nan}, {type_} {value}, {type_} {chosen}")

    def _folded(self, value: str, combine: str, dtype: np.dtype[Any], lanes: int) -> str:
        """The lanes combined: the upper half with the lower, until one is left."""
        body, kind = self.body, register_type(dtype)
        while lanes > 1:
            half = lanes // 2
            whole = wide(kind, lanes)
            parts = []
            for start in (0, half):
                places = ", ".join(f"i32 {start + k}" for k in range(half))
                parts.append(body.let(f"shufflevector {whole} {value}, {whole} poison, <{half} x i32> <{places}>"))
            if half == 1:
                parts = [body.let(f"extractelement <1 x {kind}> {p}, i32 0") for p in parts]
            value = self.combine(combine, parts[0], parts[1], dtype, half)
            lanes = half
        return value

    def _combine_store(self, s: Store) -> None:
        """buffer[address] = combine(buffer[address], value)"""
        body, buffer, dtype = self.body, s.buffer, s.buffer.dtype
        vector = self.vector
        kind = register_type(dtype)
        spread = self.wide.get(buffer, 1)
        if vector is None:
            offset, _, _ = self._offset(s.address)
            known = self._read(buffer, self._at(buffer, offset), 1)
            self._store(buffer, s.address, self.combine(s.combine, known, self.values[s.value], dtype, 1), 1, None)
            return
        lanes = vector.lanes
        value = self._in_lanes(s.value, lanes)
        if spread > 1:  # lanes keep their own sums until all chunks are done
            value = self._neutral(value, s.combine, dtype, lanes)
            offset, _, _ = self._offset(s.address)
            pointer = self._at(buffer, body.let(f"mul nsw i64 {offset}, {lanes}"))
            result = self.combine(s.combine, self._read(buffer, pointer, lanes), value, dtype, lanes)
            if dtype.kind == "b":
                result = body.let(f"zext <{lanes} x i1> {result} to <{lanes} x i8>")
            body.do(f"store {wide(memory_type(dtype), lanes)} {result}, ptr {pointer}, align {dtype.itemsize}")
            return
        offset, step, irregular = self._offset(s.address)
        if irregular:
            raise CompileError("adding into computed places takes one step at a time")
        if step == 0:
            value = self._folded(self._neutral(value, s.combine, dtype, lanes), s.combine, dtype, lanes)
            known = self._read(buffer, self._at(buffer, offset), 1)
            self._store(buffer, s.address, self.combine(s.combine, known, value, dtype, 1), 1, None)
            return
        number = -1
        self.dtypes[number] = dtype
        self._load(Load(number, dtype, buffer, s.address))
        result = self.combine(s.combine, self.values[number], value, dtype, lanes)
        self._store(buffer, s.address, result, lanes, vector.mask)
        del kind

    def _neutral(self, value: str, combine: str, dtype: np.dtype[Any], lanes: int) -> str:
        """A value that changes nothing in lanes that do not count."""
        assert self.vector is not None
        if self.vector.mask is None:
            return value
        kind = register_type(dtype)
        none = splat(literal(identity(combine, dtype), dtype), kind, lanes)
        return self.body.let(
            f"select <{lanes} x i1> {self.vector.mask}, {wide(kind, lanes)} {value}, {wide(kind, lanes)} {none}"
        )

    def _accumulate(self, s: Accumulate) -> None:
        body, k = self.body, s.accumulator
        lanes = self.accumulators[k].lanes
        type_ = wide(register_type(s.dtype), lanes)
        if s.position is not None:
            self._accumulate_position(s)
            return
        value, dtype, place = self._in_lanes(s.value, lanes), s.run or s.dtype, f"%acc{k}"
        if self.vector is not None and self.vector.mask is not None:
            value = self._neutral(value, s.combine, dtype, lanes)
        if k in self.running:
            type_, place = wide(register_type(dtype), lanes), f"%run{k}"
        elif dtype != s.dtype:
            value, dtype = convert(body, value, dtype, s.dtype, lanes), s.dtype
        known = body.let(f"load {type_}, ptr {place}")
        body.do(f"store {type_} {self.combine(s.combine, known, value, dtype, lanes)}, ptr {place}")

    def _start_run(self, s: Accumulate) -> None:
        assert s.run is not None
        kind, lanes = register_type(s.run), self.accumulators[s.accumulator].lanes
        none = splat(literal(identity(s.combine, s.run), s.run), kind, lanes)
        self.body.do(f"store {wide(kind, lanes)} {none}, ptr %run{s.accumulator}")

    def _add_run(self, s: Accumulate) -> None:
        """accumulator = combine(accumulator, what its run has added up)"""
        assert s.run is not None
        body, k, lanes = self.body, s.accumulator, self.accumulators[s.accumulator].lanes
        value = body.let(f"load {wide(register_type(s.run), lanes)}, ptr %run{k}")
        value = convert(body, value, s.run, s.dtype, lanes)
        type_ = wide(register_type(s.dtype), lanes)
        known = body.let(f"load {type_}, ptr %acc{k}")
        body.do(f"store {type_} {self.combine(s.combine, known, value, s.dtype, lanes)}, ptr %acc{k}")

    def _end_run(self, ahead: str, lanes: int) -> None:
        """After the last step of a run, by how far it is ahead of the first step."""
        body = self.body
        step = body.let(f"and i64 {ahead}, {(RUN - 1) * lanes}")
        tag = body.new()[1:]
        last = body.let(f"icmp eq i64 {step}, {(RUN - 1) * lanes}")
        body.do(f"br i1 {last}, label %{tag}.last, label %{tag}.next, !prof !0")
        body.label(f"{tag}.last")
        for s in self.running.values():
            self._add_run(s)
            self._start_run(s)
        body.do(f"br label %{tag}.next")
        body.label(f"{tag}.next")

    def _accumulate_position(self, s: Accumulate) -> None:
        body, type_, k = self.body, register_type(s.dtype), s.accumulator
        assert s.position is not None
        value = self.values[s.value]
        known = body.let(f"load {type_}, ptr %acc{k}")
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
        number = self._offset(s.position)[0]
        body.do(f"store i64 {body.let(f'select i1 {better}, i64 {number}, i64 {at}')}, ptr %pos{k}")

    def _finish(self, s: Finish) -> None:
        body, k = self.body, s.accumulator
        if s.position:
            value = convert(body, body.let(f"load i64, ptr %pos{k}"), np.dtype(np.int64), s.buffer.dtype)
            self._store(s.buffer, s.address, value, 1, None)
            return
        lanes = self.accumulators[k].lanes
        value = body.let(f"load {wide(register_type(s.dtype), lanes)}, ptr %acc{k}")
        mask = None
        if self.vector is None:
            value, lanes = self._folded(value, s.combine, s.dtype, lanes), 1
        else:
            mask = self.vector.mask
        self._store(s.buffer, s.address, convert(body, value, s.dtype, s.buffer.dtype, lanes), lanes, mask)

    # statements

    def _primitive(self, s: Primitive) -> None:
        if s.result in self.guards:
            self.dtypes[s.result] = s.dtype
            self._within(s.result)
            return
        lanes, args = 1, s.args
        for a in args:
            if self.lanes[a] > lanes:
                lanes = self.lanes[a]
        given = [self._in_lanes(a, lanes) for a in args]
        self.dtypes[s.result] = s.dtype
        self.body.active = None if self.vector is None else self.vector.mask
        self._set(s.result, arithmetic(self.body, s, given, [self.dtypes[a] for a in args], lanes), lanes)

    def _constant(self, s: Const) -> None:
        self.dtypes[s.result] = s.dtype
        self._set(s.result, literal(s.value, s.dtype), 1)

    def _size(self, s: SizeOf) -> None:
        self.dtypes[s.result] = s.dtype
        self._set(s.result, self.body.size(s.size), 1)

    def _position(self, s: Position) -> None:
        self.dtypes[s.result] = s.dtype
        offset, step, irregular = self._offset(s.address)
        assert not irregular
        if step == 0:
            self._set(s.result, offset, 1)
        else:
            assert self.vector is not None
            self._set(s.result, self._offsets(s.address, offset, step), self.vector.lanes)

    def _store_value(self, s: Store) -> None:
        if s.combine != "set":
            self._combine_store(s)
        elif self.vector is None:
            self._store(s.buffer, s.address, self.values[s.value], 1, None)
        else:
            lanes = self.vector.lanes
            self._store(s.buffer, s.address, self._in_lanes(s.value, lanes), lanes, self.vector.mask, s.ahead)

    def _start(self, s: Start) -> None:
        body, kind = self.body, register_type(s.dtype)
        if s.first is None:
            first = splat(literal(identity(s.combine, s.dtype), s.dtype), kind, s.lanes)
        else:
            first = self._in_lanes(s.first, s.lanes)
        body.do(f"store {wide(kind, s.lanes)} {first}, ptr %acc{s.accumulator}")
        if s.position:
            body.do(f"store i64 0, ptr %pos{s.accumulator}")

    def _fold(self, s: Fold) -> None:
        self.dtypes[s.result] = s.dtype
        offset = self.body.let(f"mul nsw i64 {self._offset(s.address)[0]}, {s.lanes}")
        value = self._read(s.buffer, self._at(s.buffer, offset), s.lanes)
        self._set(s.result, self._folded(value, s.combine, s.dtype, s.lanes), 1)

    def _fill(self, s: Fill) -> None:
        fill(self.body, self.pointer(s.buffer), s, "%low", "%high")

    def _check(self, s: Check) -> None:
        body = self.body
        lanes = self.lanes.get(s.condition, 1)
        condition = self.values[s.condition]
        kind = wide("i1", lanes)
        failed = body.let(f"xor {kind} {condition}, {splat('true', 'i1', lanes)}")
        if lanes > 1:
            assert self.vector is not None
            if self.vector.mask is not None:
                failed = body.let(f"and {kind} {failed}, {self.vector.mask}")
            failed = body.any(failed, lanes)
        tag = body.new()[1:]
        body.do(f"br i1 {failed}, label %{tag}.failed, label %{tag}.fine, !prof !0")
        body.label(f"{tag}.failed")
        body.let(f"atomicrmw umin ptr %status, i64 {s.error} monotonic")
        body.do(f"br label %{tag}.fine")
        body.label(f"{tag}.fine")


def _stays_in_lane(s: Item) -> bool:
    """Whether a statement in a loop over vectors does the same to each lane."""
    return makes_value(s) or type(s) in (Check, Note) or (isinstance(s, Store) and s.combine == "set")


def fill(body: Body, pointer: str, s: Fill, low: str = "0", high: str = "0") -> None:
    """Set the elements of a buffer, or those of rows from `low` to `high`."""
    buffer, module = s.buffer, body.module
    type_ = memory_type(buffer.dtype)
    size = body.size(buffer.elements)
    if s.row is not None:
        row = body.size(s.row)
        start = body.let(f"mul nsw i64 {low}, {row}")
        module.declare("i64 @llvm.smin.i64(i64, i64)")
        end = body.let(f"call i64 @llvm.smin.i64(i64 {body.let(f'mul nsw i64 {high}, {row}')}, i64 {size})")
        module.declare("i64 @llvm.smax.i64(i64, i64)")
        size = body.let(f"call i64 @llvm.smax.i64(i64 {body.let(f'sub nsw i64 {end}, {start}')}, i64 0)")
        pointer = body.let(f"getelementptr inbounds {type_}, ptr {pointer}, i64 {start}")
    if s.value == 0:
        module.declare("void @llvm.memset.p0.i64(ptr, i8, i64, i1)", pure=False)
        count = body.let(f"mul i64 {size}, {buffer.dtype.itemsize}")
        body.do(f"call void @llvm.memset.p0.i64(ptr {pointer}, i8 0, i64 {count}, i1 false)")
        return
    constant = "1" if buffer.dtype.kind == "b" else literal(s.value, buffer.dtype)
    tag = body.new()[1:]

    def inside() -> None:
        at = body.let(f"getelementptr inbounds {type_}, ptr {pointer}, i64 %{tag}")
        body.do(f"store {type_} {constant}, ptr {at}")

    body.counted(tag, "0", size, "1", inside)

"""A region's nests as loops: chunks, tiles, vectors, where statements stand, and where what is accumulated goes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeGuard

from compiler.costs import weight
from compiler.program import (
    LOW,
    Accumulate,
    Address,
    Buffer,
    Check,
    Const,
    Fill,
    Finish,
    Fold,
    Item,
    Load,
    Loop,
    Nest,
    Note,
    Partial,
    Position,
    Primitive,
    Reduce,
    Ref,
    Region,
    SizeOf,
    Start,
    Store,
    Tiles,
    has_address,
    identity,
    loads_or_stores,
    makes_value,
    writes,
)
from compiler.rows import row_of, users_of
from compiler.vectors import blocks_of, is_computed, step_of, transposed, vector_of
from symgraph import dims
from symgraph.dims import Size

TILE_BYTES = 1 << 15
"""What the rows of a tile may fill: about the nearest cache of a core."""

WIDEST = 1024
"""Rows of a tile at most, where a row is short: beyond, longer loops gain nothing."""

SHORT = 32
"""Inner loops up to this length run one step at a time, and vectors run across rows."""

FEW = 8
"""Innermost loops below this leave most of a vector empty."""

BUSY = 5_000
"""Picoseconds that a step takes from which processors do not look far enough ahead for what it reads and writes."""

AHEAD = 4096
"""How many bytes ahead memory is asked for, where it is read or written from one end to the other."""

OPERATION, ACCESS = 60, 150
"""About how long an addition and an access to memory take, per element, in picoseconds."""


def lower(nests: Sequence[Nest], outer: Size | None, private: dict[Buffer, Size]) -> Region:
    """One region of nests over an outermost loop of `outer` rows; `private` buffers need room for a tile alone."""
    if outer is None:
        return Region([item for nest in nests for item in (*(Fill(b, v) for b, v in nest.fills), *nest.body)])
    return _Lowering(nests, outer, private).region()


class _Lowering:
    def __init__(self, nests: Sequence[Nest], outer: Size, private: dict[Buffer, Size]) -> None:
        self.nests, self.outer, self.private = list(nests), outer, dict(private)
        self.partials: dict[Buffer, Partial] = {}
        self.before: list[Item] = []
        self.inside: list[Item] = []
        self.after: list[Item] = []
        self.fills: list[Fill] = []
        self.copies: dict[tuple[Buffer, Size], Buffer] = {}
        self.blocks: dict[Buffer, Size] = {}  # of what is accumulated: how many neighbours lie apart
        self.wide: dict[Buffer, int] = {}
        self.variables = 1
        self.accumulators = 0

    def region(self) -> Region:
        self._flatten()
        rows_mode = all(_rows_are_short(n, self.outer) for n in self.nests)
        for nest in self.nests:
            nest.rows = nest.sizes[0]
            if not rows_mode:
                collapse(nest, tiled=len(self.nests) > 1)
            nest.vector = 0 if rows_mode else _vector_loop(nest)
            nest.rows_last = not rows_mode and _adds_rows(nest)
            nest.lanes = lanes_of(nest)
        if rows_mode:
            self._stage()
        else:
            for nest in self.nests:
                self._choose(nest)
        across = max((n.lanes for n in self.nests), default=1) if rows_mode else 1
        tiled = len(self.nests) > 1 or self.nests[0].rows_last
        width = self._width(across) if tiled else None
        for buffer, row in self.private.items():
            assert width is not None
            buffer.role, buffer.elements = "tile", width * row
        self.rows_mode, self.width = rows_mode, width
        serial = any(_needs_order(n) for n in self.nests)
        cost: Size = 0
        for nest in self.nests:
            cost = cost + dims.product(nest.sizes[1:]) * nest.factor * _cost(nest)
        moved = self._streamed()
        self._ask_ahead()
        for nest in self.nests:
            self._nest(nest)
        kept: Size = 0
        for p in self.partials.values():
            kept = kept + p.partial.elements * p.partial.dtype.itemsize
        parts = dims.call("parts", self.outer, cost, moved, kept)
        chunk: Size = self.outer if serial else dims.call("chunk", self.outer, parts)
        chunks: Size = 1 if serial else dims.call("ceildiv", self.outer, chunk)
        return Region(
            [*self.before, Tiles(width, self.inside), *self.after],
            self.outer,
            chunk,
            chunks,
            cost,
            moved,
            self.fills,
            list(self.partials.values()),
            [*self.private, *self.copies.values(), *self.wide],
            rows_mode,
            self.wide,
            in_order=serial,
        )

    def _flatten(self) -> None:
        """Join the two outermost loops of all nests where that changes nothing."""
        nests = self.nests
        while all(
            len(n.sizes) > 1 and n.sizes[0] == self.outer and n.sizes[1] == nests[0].sizes[1] and _joinable(n, 0)
            for n in nests
        ):
            inner = nests[0].sizes[1]
            for nest in nests:
                _join_at(nest, 0)
            self.outer = self.outer * inner
            self.private = {b: dims.floordiv(row, inner) for b, row in self.private.items()}

    def _stage(self) -> None:
        """Rows that are read again and again are first brought into a tile's buffer, element by element side by side:
        vectors across rows would collect them from everywhere each time."""
        reads: dict[Buffer, int] = {}
        for nest in self.nests:
            times = 1
            for size in nest.sizes[1:]:
                times *= _about(size)
            for s in nest.body:
                if isinstance(s, Load) and s.mask is None and s.buffer not in self.private:
                    reads[s.buffer] = reads.get(s.buffer, 0) + times
        users = users_of(self.nests)
        for buffer, times in reads.items():
            row = row_of(buffer, users[buffer])
            written = any(writes(s) for n in users[buffer] for s in n.accesses[buffer])
            if row is None or row == 1 or not dims.is_short(row, SHORT**2) or times < 2 * _about(row) or written:
                continue
            copy = Buffer(f"t_{buffer.name}", buffer.dtype, buffer.elements, "tile", buffer.node)
            number = 1
            value = Load(number, buffer.dtype, buffer, Address(0, ((0, row), (1, 1))))
            notes = [Note(buffer.node)] if buffer.node is not None else []
            store = Store(copy, Address(0, ((0, row), (1, 1))), number, "set")
            fresh = Nest([self.outer, row], [*notes, value, store], lanes=64 // buffer.dtype.itemsize)
            fresh.rows = self.outer
            for nest in self.nests:
                nest.rewrite([_moved(s, buffer, copy) for s in nest.body])
            self.nests.insert(0, fresh)
            self.private[copy] = row

    def _choose(self, nest: Nest) -> None:
        """Let vectors run along a long loop around short ones, with what they touch side by side."""
        if nest.lanes == 1 or nest.vector != len(nest.sizes) - 1:
            return
        vector = vector_of(nest, self.nests, SHORT)
        if vector == nest.vector:
            return
        blocks = blocks_of(nest, vector, self.nests)
        assert blocks is not None
        nest.vector, nest.rows_last = vector, False
        nest.lanes = lanes_of(nest)

        def moved(s: Item) -> Item:
            if not isinstance(s, Load | Store) or s.buffer not in blocks or not _has(s.address, vector):
                return s
            block = blocks[s.buffer]
            address = transposed(s.address, block, s.buffer, nest.sizes)
            assert address is not None
            if isinstance(s, Load):
                return s._replace(buffer=self._copy(s.buffer, block), address=address)
            self.blocks[s.buffer] = block
            return s._replace(address=address)

        nest.rewrite([moved(s) for s in nest.body])

    def _copy(self, buffer: Buffer, block: Size) -> Buffer:
        """A chunk's copy of an array in which elements a block apart are neighbours."""
        copy = self.copies.get((buffer, block))
        if copy is not None:
            return copy
        number = f"{len(self.copies)}_" if self.copies else ""
        copy = Buffer(f"t_{number}{buffer.name}", buffer.dtype, buffer.elements, "tile", buffer.node)
        self.copies[buffer, block] = copy
        outer, inner, across = self.variables, self.variables + 1, dims.floordiv(buffer.elements, block)
        self.variables += 2
        notes = [Note(buffer.node)] if buffer.node is not None else []
        value = Load(1, buffer.dtype, buffer, Address(0, ((outer, block), (inner, 1))))
        store = Store(copy, Address(0, ((outer, 1), (inner, across))), 1, "set")
        self.before.append(Loop(outer, across, [Loop(inner, block, [*notes, value, store])]))
        return copy

    def _width(self, across: int) -> Size:
        row_bytes: Size = 0
        for b, row in self.private.items():
            row_bytes = row_bytes + row * b.dtype.itemsize
        row_bytes = row_bytes + self._streamed()
        if isinstance(row_bytes, int):  # a width that is known makes every place in a tile a fixed one
            width = max(TILE_BYTES // max(row_bytes, 1) // across, 1) * across
            return min(width, WIDEST) if WIDEST % across == 0 else width
        return dims.call("tile", self.outer, row_bytes, TILE_BYTES, across)

    def _streamed(self) -> Size:
        """The bytes of memory that a row reads and writes."""
        steps: dict[Buffer, Size] = {}
        for nest in self.nests:
            for s in nest.body:
                if not loads_or_stores(s) or s.buffer in self.private:
                    continue
                if s.buffer.role not in ("scalar", "tile"):
                    steps[s.buffer] = next((abs_step(k) for v, k in s.address.terms if v == 0), 0)
        total: Size = 0
        for b, step in steps.items():
            total = total + step * b.dtype.itemsize
        return total

    def _ask_ahead(self) -> None:
        """Let loops that are the first to touch memory ask for it ahead, where processors do not: they look no further
        than to the end of a page, and not at all while much is computed."""
        touched: set[Buffer] = set()
        for nest in self.nests:
            if nest.lanes > 1 and (nest.vector > 0 or _cost(nest) > BUSY):
                ahead = TILE_BYTES if nest.rows_last else AHEAD
                body = [
                    s._replace(ahead=ahead * (s.buffer not in touched)) if _streams(s, nest) else s for s in nest.body
                ]
                nest.rewrite(body)
            touched |= nest.loaded | nest.written

    # one nest

    def _nest(self, nest: Nest) -> None:
        names = {k: self.variables + k for k in range(len(nest.sizes))}
        self.variables += len(nest.sizes)
        reduces: dict[int, tuple[int, Reduce]] = {}
        targets: dict[Buffer, Buffer] = {}
        sums: dict[int, _Sums] = {}
        held: dict[int, int] = {}  # accumulators of what is added to by one row after the other
        for k, s in enumerate(nest.body):
            if not writes(s):
                continue
            if isinstance(s, Reduce):
                reduces[k] = self.accumulators, s
                self.accumulators += 1
                if s.depth == 0 and s.position is None:
                    targets[s.buffer] = self._partial(s.buffer, s.dtype, s.combine, 1)
            elif isinstance(s, Store) and s.combine != "set" and not is_computed(s.address):
                if not _has(s.address, 0):
                    lanes = 1 if _has(s.address, nest.vector) else nest.lanes
                    targets[s.buffer] = self._partial(s.buffer, s.buffer.dtype, s.combine, lanes)
                    if nest.rows_last:
                        held[k] = self.accumulators
                        self.accumulators += 1
                elif nest.lanes > 1 and not _has(s.address, nest.vector):
                    sums[k] = self._sums(s, nest, names, _fresh(nest) + k)
        for buffer, value in nest.fills:
            if buffer in targets:
                continue
            row = self.private.get(buffer)
            if row is not None:
                self.inside.append(Fill(buffer, value))
                continue
            step = _row_step(nest, buffer)
            if step is None:
                self.fills.append(Fill(buffer, value))
            else:
                self.inside.append(Fill(buffer, value, step))

        order = [*range(len(nest.sizes))]
        if nest.rows_last:
            order = [*order[1:], 0]
        fresh = _fresh(nest)

        def starts(depth: int) -> list[Item]:
            found: list[Item] = []
            if depth == len(order) - 1:
                for k, a in held.items():
                    at = stores[k]
                    found.append(Load(fresh + k, at.buffer.dtype, at.buffer, at.address))
                    found.append(Start(a, at.buffer.dtype, at.combine, False, nest.lanes, None, fresh + k))
            for a, s in reduces.values():
                if s.depth == depth:
                    found.append(Start(a, s.dtype, s.combine, s.position is not None, nest.lanes, s.run))
            return found

        def ends(depth: int) -> list[Item]:
            found: list[Item] = []
            if depth == len(order) - 1:
                for k, a in held.items():
                    at = stores[k]
                    found.append(Finish(a, at.buffer.dtype, at.buffer, at.address, at.combine, False))
            for a, s in reduces.values():
                if s.depth == depth:
                    buffer = targets.get(s.buffer, s.buffer)
                    address = self._address(s.address, buffer, nest, names)
                    found.append(Finish(a, s.dtype, buffer, address, s.combine, s.position is not None))
            return found

        places: dict[tuple[Address, Size | None], Address] = {}  # most accesses of a nest mean the same element

        def place(address: Address, buffer: Buffer) -> Address:
            key = address, self.private.get(buffer)
            found = places.get(key)
            if found is None:
                found = places[key] = self._address(address, buffer, nest, names)
            return found

        stores: dict[int, Store] = {}
        inside = [order.index(v) + 1 for v in range(len(order))]
        levels: list[list[Item]] = [[] for _ in range(len(nest.sizes) + 1)]
        noted: list[Note | None] = [None] * len(levels)
        depth_of: dict[int, int] = {}
        note: Note | None = None
        for k, s in enumerate(nest.body):
            if isinstance(s, Note):
                note = s
                continue
            depth = _depth(s, depth_of, inside)
            if noted[depth] is not note and note is not None:
                noted[depth] = note
                levels[depth].append(note)
            if isinstance(s, Primitive):
                levels[depth].append(s)
            elif isinstance(s, Reduce):
                position = None if s.position is None else _renamed(s.position, names)
                levels[depth].append(Accumulate(reduces[k][0], s.dtype, s.value, s.combine, position, s.run))
            elif isinstance(s, Load):
                levels[depth].append(s._replace(address=place(s.address, s.buffer)))
            elif isinstance(s, Store) and k in sums:
                levels[depth].append(s._replace(buffer=sums[k].buffer, address=sums[k].address))
                continue
            elif isinstance(s, Store):
                buffer = targets.get(s.buffer, s.buffer)
                store = s._replace(buffer=buffer, address=place(s.address, buffer))
                if k in held:
                    stores[k] = store
                    levels[depth].append(Accumulate(held[k], s.buffer.dtype, s.value, s.combine, None))
                else:
                    levels[depth].append(store)
            elif isinstance(s, Position):
                levels[depth].append(s._replace(address=_renamed(s.address, names)))
            else:
                levels[depth].append(s)
        body = levels[-1]
        for depth, k in reversed([*enumerate(order)]):
            size = nest.rows if k == 0 else nest.sizes[k]
            assert size is not None
            lanes = nest.lanes if k == nest.vector else 1
            factor = nest.factor if k == 0 else 1
            loop = Loop(names[k], size, [*starts(depth + 1), *body, *ends(depth + 1)], k == 0, factor, lanes)
            body = [*levels[depth], loop]
            if k == nest.vector:
                start, end = (s.start for s in sums.values()), (i for s in sums.values() for i in s.end)
                body = [*levels[depth], *start, loop, *end]
        self.before += starts(0)
        self.inside += body
        self.after += ends(0)

    def _partial(self, buffer: Buffer, dtype: Any, combine: str, lanes: int) -> Buffer:
        partial = Buffer(f"p_{buffer.name}", dtype, buffer.elements * lanes, "partial", buffer.node)
        self.partials[buffer] = Partial(buffer, partial, combine, lanes, self.blocks.get(buffer, 1))
        self.before.append(Fill(partial, identity(combine, dtype)))
        return partial

    def _sums(self, s: Store, nest: Nest, names: dict[int, int], result: int) -> _Sums:
        """What the loop over vectors adds to a row, an element for each lane and step of the short loops inside."""
        inner = [v for v in range(nest.vector + 1, len(nest.sizes)) if _has(s.address, v)]
        elements: Size = 1
        terms: list[tuple[int | Ref, Size]] = []
        for v in reversed(inner):
            terms.append((names[v], elements))
            elements = elements * nest.sizes[v]
        buffer = Buffer(f"w{len(self.wide)}_{s.buffer.name}", s.buffer.dtype, elements * nest.lanes, "tile", None)
        self.wide[buffer] = nest.lanes
        address = Address(0, tuple(terms))
        # the loops inside are run again, with numbers of their own
        again = {**names, **{v: self.variables + k for k, v in enumerate(inner)}}
        self.variables += len(inner)
        renamed = {names[v]: again[v] for v in inner}
        at = Address(0, tuple((renamed[v], step) for v, step in terms))  # type: ignore[index]
        end: Item = Store(s.buffer, self._address(s.address, s.buffer, nest, again), result, s.combine)
        body = [Fold(result, s.buffer.dtype, buffer, at, s.combine, nest.lanes), end]
        for v in reversed(inner):
            body = [Loop(again[v], nest.sizes[v], body)]
        return _Sums(buffer, address, Fill(buffer, identity(s.combine, s.buffer.dtype)), body)

    def _address(self, address: Address, buffer: Buffer, nest: Nest, names: dict[int, int]) -> Address:
        """An address with the region's names for loops; in a tile's buffer, counted from the tile's first row."""
        row = self.private.get(buffer)
        renamed = _renamed(address, names)
        if row is None:
            return renamed
        if not self.rows_mode:
            return Address(renamed.constant, (*renamed.terms, (LOW, row * -1)))
        # rows are neighbours in memory, so that vectors run across them
        width = self.width
        assert width is not None
        rest = [(v, step * width) for v, step in renamed.terms if v != names[0]]
        return Address(renamed.constant * width, ((names[0], 1), *rest, (LOW, -1)))


class _Sums(NamedTuple):
    """Where a loop over vectors adds to a row: lanes in a buffer of their own, its start, and what ends it."""

    buffer: Buffer
    address: Address
    start: Fill
    end: list[Item]


def _rows_are_short(nest: Nest, outer: Size) -> bool:
    """Whether the loops inside a row are short, one by one and, where they are fixed, all together: then a row has no
    more elements than there are rows."""
    inner = nest.sizes[1:]
    elements = math.prod([s for s in inner if isinstance(s, int)])
    most = min(outer, SHORT**2) if isinstance(outer, int) else SHORT**2
    return all(dims.is_short(s, SHORT) for s in inner) and elements <= most


def _vector_loop(nest: Nest) -> int:
    """The loop of which vectors are: the innermost one; or, where a sum along it is short or collects from everywhere,
    the last one along which nothing is summed, so that each lane has a sum of its own."""
    last = len(nest.sizes) - 1
    depths = {s.depth if isinstance(s, Reduce) else 0 for s in nest.body if isinstance(s, Reduce | Store)}
    if len(depths) != 1 or any(isinstance(s, Reduce) and s.position is not None for s in nest.body):
        return last
    kept = depths.pop() - 1
    if kept < 1 or kept == last or _is_below(nest.sizes[kept], FEW):
        return last
    if _is_below(nest.sizes[last], FEW) and _overlaps(nest, kept, nest.sizes[last]):
        return kept
    return kept if _strides(nest, kept) < _strides(nest, last) else last


def _overlaps(nest: Nest, loop: int, reach: Size) -> bool:
    """Whether neighbouring steps of a loop read neighbours, or windows of so many elements that have some in common."""
    steps = [step for s in nest.body if isinstance(s, Load) for v, step in s.address.terms if v == loop]
    return all(step == 1 or (isinstance(step, int) and isinstance(reach, int) and 0 < step < reach) for step in steps)


def _strides(nest: Nest, loop: int) -> int:
    """How many loads go along a loop in steps other than 0 and 1."""
    return sum(isinstance(s, Load) and any(v == loop and step != 1 for v, step in s.address.terms) for s in nest.body)


def _is_below(size: Size, limit: int) -> bool:
    return isinstance(size, int) and size < limit


def _moved(s: Item, buffer: Buffer, copy: Buffer) -> Item:
    return s._replace(buffer=copy) if isinstance(s, Load) and s.buffer is buffer else s


def _about(size: Size) -> int:
    """A length, or a guess at a short one."""
    return size if isinstance(size, int) else 8


def abs_step(step: Size) -> Size:
    """How far a step goes, whichever way."""
    return abs(step) if isinstance(step, int) else step


def _fresh(nest: Nest) -> int:
    """A number that no statement has."""
    made = (s.result for s in nest.body if isinstance(s, Load | Const | SizeOf | Position | Primitive))
    return 1 + max(made, default=0)


def _has(address: Address, variable: int) -> bool:
    return any(v == variable for v, _ in address.terms)


def _needs_order(nest: Nest) -> bool:
    """Whether rows must run one after the other: they add into computed places, or the first of equals is wanted."""
    return any(
        (isinstance(s, Store) and s.combine != "set" and is_computed(s.address))
        or (isinstance(s, Reduce) and s.position is not None and s.depth == 0)
        for s in nest.body
    )


def _streams(s: Item, nest: Nest) -> TypeGuard[Load | Store]:
    """Whether a statement reads or writes memory, vector after vector and row after row."""
    if not loads_or_stores(s) or s.buffer.role in ("tile", "scalar", "partial"):
        return False
    plain = s.mask is None if isinstance(s, Load) else s.combine == "set"
    return plain and _has(s.address, 0) and step_of(s.address, nest.vector) == 1


def _row_step(nest: Nest, buffer: Buffer) -> Size | None:
    """How many elements of an accumulated buffer make a row, if every step of the first loop has a row of its own."""
    step: Size | None = None
    for s in nest.body:
        if isinstance(s, Store) and s.buffer is buffer:
            if s.combine == "set" or is_computed(s.address) or s.address.constant != 0:
                return None
            step = next((k for v, k in s.address.terms if v == 0), None)
            if step is None or dims.floordiv(buffer.elements, nest.sizes[0]) != step or nest.factor != 1:
                return None
    return step


def _depth(s: Item, depth_of: dict[int, int], inside: Sequence[int]) -> int:
    """How many loops a statement needs around it; `inside` of how many loops the steps of each are known."""
    if isinstance(s, Primitive):
        depth = max([depth_of[a] for a in s.args], default=0)
    elif writes(s) or isinstance(s, Check):
        return len(inside)
    elif has_address(s):
        depth = 0
        for v, _ in s.address.terms:
            depth = max(depth, depth_of[v.number] if isinstance(v, Ref) else inside[v])
        if isinstance(s, Load) and s.mask is not None:
            depth = max(depth, depth_of[s.mask])
    else:
        depth = 0
    depth_of[s.result] = depth  # type: ignore[union-attr]
    return depth


def _renamed(address: Address, names: dict[int, int]) -> Address:
    return Address(address.constant, tuple((v if isinstance(v, Ref) else names[v], k) for v, k in address.terms))


def _adds_rows(nest: Nest) -> bool:
    """Whether a nest does nothing but add row to row, element by element: the rows of a tile are best added up while a
    vector's sums stay in registers. What is the same for all of a row must be cheap, for each vector has it computed.
    """
    last = len(nest.sizes) - 1
    if nest.factor != 1 or last == 0 or nest.vector != last or nest.loaded & nest.written:
        return False
    if len(nest.written) < sum(map(writes, nest.body)):
        return False  # two sums of one buffer
    depths: dict[int, int] = {}
    inside = range(1, last + 2)

    def fits(s: Item) -> bool:
        if isinstance(s, Store):
            adds = s.combine != "set" and not is_computed(s.address)
            return adds and not _has(s.address, 0) and step_of(s.address, last) == 1
        if makes_value(s):
            by_row = _depth(s, depths, inside) == 1
            return not (by_row and weight(s) > 1) and not (isinstance(s, Load) and s.mask is not None)
        return isinstance(s, Note)

    return all(map(fits, nest.body))


def lanes_of(nest: Nest) -> int:
    """How many steps of the vector loop are taken at once: more where little is done in each, so that waiting for one
    sum fills no time. It depends on the statements alone, for it decides in which order sums are added."""
    widest = 1
    places: set[int] = set()  # what tells where the loops are, and is known for most steps together
    work = 0.0
    for s in nest.body:
        if isinstance(s, Reduce) and s.position is not None:
            return 1
        if isinstance(s, Store) and s.combine != "set" and is_computed(s.address):
            return 1
        if isinstance(s, Position | SizeOf) or (isinstance(s, Const | Primitive) and _of_places(s, places)):
            places.add(s.result)
            continue
        work += weight(s)
        if isinstance(s, Reduce):
            widest = max(widest, (s.run or s.dtype).itemsize)
        elif isinstance(s, Load | Primitive):
            widest = max(widest, s.dtype.itemsize)
        elif isinstance(s, Store):
            widest = max(widest, s.buffer.dtype.itemsize)
    more = 4 if work <= 12 else 2 if work <= 80 else 1
    if nest.vector > 0 and any(_keeps_lanes(s, nest.vector) for s in nest.body):  # what lies in memory is waited for
        more = min(2 * more, 4)
    elif len(nest.sizes) > 1 and not nest.rows_last:
        # rows may be short, and what is left over of one costs as much as a whole step
        more = max(more // 2, 1)
    lanes = 64 // widest * more
    lanes = min(lanes, 64)
    for s in nest.body:  # sums that every lane keeps for itself should stay in the nearest cache
        if _keeps_lanes(s, nest.vector) and not _has(s.address, 0):
            while lanes > 64 // widest and _exceeds(
                s.buffer.elements * (lanes * s.buffer.dtype.itemsize), TILE_BYTES // 2
            ):
                lanes //= 2
    length = nest.sizes[nest.vector]
    if isinstance(length, int):
        while lanes > 2 and lanes // 2 >= length:
            lanes //= 2
    return lanes


def _keeps_lanes(s: Item, vector: int) -> TypeGuard[Store]:
    """Whether every lane of a loop over vectors adds to a number of its own in memory."""
    return isinstance(s, Store) and s.combine != "set" and not _has(s.address, vector)


def _of_places(s: Const | Primitive, places: set[int]) -> bool:
    """Whether a statement computes an integer or a truth from others that do."""
    return s.dtype.kind in "iub" and (isinstance(s, Const) or all(a in places for a in s.args))


def _exceeds(size: Size, limit: int) -> bool:
    return not isinstance(size, int) or size > limit


def _cost(nest: Nest) -> int:
    """Picoseconds per element, about."""
    accesses = sum(loads_or_stores(s) for s in nest.body)
    work = sum(weight(s) for s in nest.body) - accesses
    return int(work * OPERATION + accesses * ACCESS)


# -- joining loops -----------------------------------------------------------------------------------------------------


def collapse(nest: Nest, tiled: bool = False) -> Nest:
    """Join neighbouring loops where every address runs through both as through one.

    In a tile the first loop runs over the tile's rows; joined with others it runs over all of their elements
    (`factor` per row).
    """
    k = len(nest.sizes) - 2
    while k >= (0 if tiled else 1):
        if _joinable(nest, k):
            if k == 0:
                nest.factor = nest.factor * nest.sizes[1]
            _join_at(nest, k)
        k -= 1
    return nest


def _joinable(nest: Nest, k: int) -> bool:
    size = nest.sizes[k + 1]
    return all(not isinstance(s, Reduce) or s.depth != k + 1 for s in nest.body) and all(
        _joins(a, k, size) for a in _addresses(nest.body)
    )


def _join_at(nest: Nest, k: int) -> None:
    nest.rewrite([_joined(s, k) for s in nest.body])
    nest.sizes[k : k + 2] = [nest.sizes[k] * nest.sizes[k + 1]]


def _addresses(body: Iterable[Item]) -> Iterable[Address]:
    for s in body:
        if has_address(s):
            yield s.address
        if isinstance(s, Reduce) and s.position is not None:
            yield s.position


def _joins(address: Address, k: int, size: Size) -> bool:
    outer: Size = 0
    inner: Size = 0
    for v, step in address.terms:
        if v == k:
            outer = step
        elif v == k + 1:
            inner = step
    return outer == inner * size


def _joined(statement: Item, k: int) -> Item:
    if not has_address(statement):
        return statement

    def joined(address: Address) -> Address:
        terms = tuple((v if isinstance(v, Ref) or v <= k else v - 1, s) for v, s in address.terms if v != k)
        return Address(address.constant, terms)

    changed = statement._replace(address=joined(statement.address))
    if isinstance(changed, Reduce):
        changed = changed._replace(
            depth=changed.depth - 1 if changed.depth > k else changed.depth,
            position=None if changed.position is None else joined(changed.position),
        )
    return changed

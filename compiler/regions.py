"""Nests over the same outermost axis become one region: what a tile of rows needs is done while it is in cache.

A region cuts its outermost axis into tiles. Inside a tile its nests run one after the other, so a value that one nest
writes and another reads row by row needs room for one tile only, and arrays that several nests read come from memory
once. A nest joins a region if everything it reads was finished before the region, or is read in the row in which the
region wrote it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from compiler.program import (
    LOW,
    Accumulate,
    Address,
    Buffer,
    Fill,
    Finish,
    Item,
    Load,
    Loop,
    Nest,
    Product,
    Reduce,
    Ref,
    Region,
    Start,
    Statement,
    Step,
    Store,
    Tiles,
)
from symgraph import dims
from symgraph.dims import Size

TILE_BYTES = 1 << 16
"""What the rows of a tile may fill: about the nearer caches of a core."""


def form_regions(steps: Sequence[Nest | Product], temporaries: Iterable[Buffer]) -> list[Step]:
    """The steps, with nests joined into regions and lowered to loops."""
    groups = _join(steps)
    private = _private_buffers(groups, temporaries)
    return [g.steps[0] if isinstance(g.steps[0], Product) else _lower(g, private.get(g, {})) for g in groups]


# -- which nests go together -------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Group:
    """Steps that run as one; `before` are all groups that must run earlier, as a set of bits."""

    number: int
    outer: Size | None
    steps: list[Nest | Product] = field(default_factory=list)
    before: int = 0


def _join(steps: Sequence[Nest | Product]) -> list[Group]:
    """Put each step into the last group of its outer size that it may join, else into one of its own."""
    groups: list[Group] = []
    writer: dict[Buffer, set[Group]] = {}
    by_outer: dict[Size, Group] = {}
    written: dict[Buffer, list[Nest]] = {}
    for step in steps:
        needs = {g for b in _reads(step) for g in writer.get(b, ())}
        outer = step.sizes[0] if isinstance(step, Nest) and step.sizes else None
        group = by_outer.get(outer) if outer is not None else None
        if group is not None:
            assert isinstance(step, Nest)
            waits = [g for g in needs if g is not group and g.before >> group.number & 1]
            if waits or not all(_row_by_row(b, step, written.get(b, ()), group) for b in _reads(step)):
                group = None
        if group is None:
            group = Group(len(groups), outer)
            groups.append(group)
            if outer is not None:
                by_outer[outer] = group
        group.steps.append(step)
        fresh = group.before
        for g in needs:
            if g is not group:
                fresh |= g.before | 1 << g.number
        if fresh != group.before:
            group.before = fresh
            for later in groups:  # whoever waits for this group now waits for these too
                if later.before >> group.number & 1:
                    later.before |= fresh
        for b in _writes(step):
            writer.setdefault(b, set()).add(group)
            if isinstance(step, Nest):
                written.setdefault(b, []).append(step)
    return sorted(groups, key=lambda g: (g.before.bit_count(), g.number))


def _reads(step: Nest | Product) -> set[Buffer]:
    if isinstance(step, Product):
        return {step.a[0], step.b[0]}
    return {s.buffer for s in step.body if isinstance(s, Load) and s.buffer.role in ("temporary", "slot", "output")}


def _writes(step: Nest | Product) -> set[Buffer]:
    return {step.c[0]} if isinstance(step, Product) else {s.buffer for s in step.body if isinstance(s, Store | Reduce)}


def _row_by_row(buffer: Buffer, reader: Nest, writers: Iterable[Nest], group: Group) -> bool:
    """Whether what the reader wants of a buffer was not written in this group, or in the row where it is wanted."""
    inside = [w for w in writers if w in group.steps]
    return not inside or all(_stays_in_row(buffer, nest) for nest in (*inside, reader))


def _stays_in_row(buffer: Buffer, nest: Nest) -> bool:
    """Whether every access of a nest to a buffer lies in the row of the outermost loop's index."""
    outer = nest.sizes[0]
    row = dims.floordiv(buffer.elements, outer)
    if row * outer != buffer.elements:
        return False
    return all(
        _in_row(s.address, row, nest.sizes)
        for s in nest.body
        if isinstance(s, Load | Store | Reduce) and s.buffer is buffer
    )


def _in_row(address: Address, row: Size, sizes: Sequence[Size]) -> bool:
    terms = dict(address.terms)
    if terms.pop(0, 0) != row:
        return False
    least: Size = address.constant
    most: Size = address.constant
    for v, step in terms.items():
        if isinstance(v, Ref):
            return False
        if isinstance(step, int) and step < 0:
            least = least + (sizes[v] - 1) * step
        else:
            most = most + (sizes[v] - 1) * step
    room = dims.lower_bound(row - 1 - most)
    start = dims.lower_bound(least)
    return room is not None and room >= 0 and start is not None and start >= 0


# -- buffers that need room for one tile -------------------------------------------------------------------------------


def _private_buffers(groups: Sequence[Group], temporaries: Iterable[Buffer]) -> dict[Group, dict[Buffer, Size]]:
    """Per group, the temporaries that nobody else touches and that are used row by row, with the size of a row."""
    users: dict[Buffer, set[Group]] = {}
    for group in groups:
        for step in group.steps:
            for b in _reads(step) | _writes(step):
                users.setdefault(b, set()).add(group)
    private: dict[Group, dict[Buffer, Size]] = {}
    for buffer in temporaries:
        found = users.get(buffer, set())
        if len(found) != 1 or buffer.role != "temporary":
            continue
        (group,) = found
        nests = [s for s in group.steps if isinstance(s, Nest)]
        if len(group.steps) < 2 or len(nests) != len(group.steps) or group.outer is None:
            continue
        touching = [n for n in nests if buffer in _reads(n) | _writes(n)]
        if all(_stays_in_row(buffer, n) for n in touching):
            private.setdefault(group, {})[buffer] = dims.floordiv(buffer.elements, group.outer)
    return private


# -- lowering ----------------------------------------------------------------------------------------------------------


def _lower(group: Group, private: dict[Buffer, Size]) -> Region:
    nests = [s for s in group.steps if isinstance(s, Nest)]
    if len(nests) == 1:
        return _single(collapse(nests[0]))
    assert group.outer is not None
    row_bytes: Size = 0
    for b, row in private.items():
        row_bytes = row_bytes + row * b.dtype.itemsize
    streamed = {
        s.buffer: dict(s.address.terms).get(0, 0) * s.buffer.dtype.itemsize
        for n in nests
        for s in n.body
        if isinstance(s, Load | Store) and s.buffer not in private
    }
    for step in streamed.values():
        row_bytes = row_bytes + step
    width = dims.call("tile", group.outer, row_bytes, TILE_BYTES)
    for b, row in private.items():
        b.elements = width * row
    before: list[Item] = []
    inside: list[Item] = []
    after: list[Item] = []
    accumulator = 0
    variable = 1
    for nest in nests:
        nest = collapse(_with_rows(nest, private), tiled=True)
        names = {k: variable + k for k in range(len(nest.sizes))}
        for buffer, value in nest.fills:
            if buffer in private:
                inside.append(Fill(buffer, value))
            else:
                before.append(Fill(buffer, value))
        starts, items, ends, accumulator = _loops(nest, names, accumulator, tiled=True)
        before += starts
        inside += items
        after += ends
        variable += len(nest.sizes)
    return Region([*before, Tiles(group.outer, width, inside), *after])


def _with_rows(nest: Nest, private: dict[Buffer, Size]) -> Nest:
    """The nest with private buffers addressed from the first row of the tile."""

    def moved(s: Statement) -> Statement:
        if isinstance(s, Load | Store | Reduce) and s.buffer in private:
            row = private[s.buffer]
            address = Address(s.address.constant, (*s.address.terms, (LOW, row * -1)))
            return s._replace(address=address)
        return s

    return Nest(list(nest.sizes), [moved(s) for s in nest.body], nest.fills)  # type: ignore[arg-type]


def _single(nest: Nest) -> Region:
    names = {k: k + 1 for k in range(len(nest.sizes))}
    starts, items, ends, _ = _loops(nest, names, 0, tiled=False)
    return Region([*(Fill(b, v) for b, v in nest.fills), *starts, *items, *ends])


def _loops(
    nest: Nest,
    names: dict[int, int],
    accumulator: int,
    tiled: bool,
) -> tuple[list[Item], list[Item], list[Item], int]:
    """What goes before, in and after the loops of a nest; `names` are the loop variables it gets."""
    reduces: dict[Reduce, int] = {}
    for s in nest.body:
        if isinstance(s, Reduce):
            reduces[s] = accumulator
            accumulator += 1

    def renamed(address: Address) -> Address:
        return Address(
            address.constant,
            tuple((v if isinstance(v, Ref) or v == LOW else names[v], step) for v, step in address.terms),
        )

    def starts(depth: int) -> list[Item]:
        return [Start(k, s.dtype, s.combine, s.position is not None) for s, k in reduces.items() if s.depth == depth]

    def ends(depth: int) -> list[Item]:
        return [
            Finish(k, s.dtype, s.buffer, renamed(s.address), s.position is not None)
            for s, k in reduces.items()
            if s.depth == depth
        ]

    body: list[Item] = []
    for s in nest.body:
        if isinstance(s, Reduce):
            position = None if s.position is None else renamed(s.position)
            body.append(Accumulate(reduces[s], s.dtype, s.value, s.combine, position))
        elif isinstance(s, Load | Store):
            body.append(s._replace(address=renamed(s.address)))
        else:
            body.append(s)
    for k in reversed(range(len(nest.sizes))):
        loop: Item = Loop(names[k], nest.sizes[k], [*starts(k + 1), *body, *ends(k + 1)], tiled and k == 0, nest.factor)
        body = [loop]
    return starts(0), body, ends(0), accumulator


def collapse(nest: Nest, tiled: bool = False) -> Nest:
    """Join neighbouring loops where every address runs through both as through one.

    In a tile the first loop runs over the tile's rows; joined with others it runs over all of their elements
    (`factor` per row).
    """
    borders = {s.depth for s in nest.body if isinstance(s, Reduce)}
    k = len(nest.sizes) - 2
    while k >= 0:
        if k + 1 not in borders and all(_joins(a, k, nest.sizes[k + 1]) for a in _addresses(nest)):
            nest.body = [_joined(s, k) for s in nest.body]
            if tiled and k == 0:
                nest.factor = nest.factor * nest.sizes[1]
            nest.sizes[k : k + 2] = [nest.sizes[k] * nest.sizes[k + 1]]
            borders = {b - 1 if b > k else b for b in borders}
        k -= 1
    return nest


def _addresses(nest: Nest) -> list[Address]:
    found: list[Address] = []
    for s in nest.body:
        if isinstance(s, Load | Store | Reduce):
            found.append(s.address)
        if isinstance(s, Reduce) and s.position is not None:
            found.append(s.position)
    return found


def _joins(address: Address, k: int, size: Size) -> bool:
    terms = dict(address.terms)
    outer, inner = terms.get(k, 0), terms.get(k + 1, 0)
    return outer == inner * size


def _joined(statement: Item, k: int) -> Item:
    if not isinstance(statement, Load | Store | Reduce):
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

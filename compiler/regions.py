"""Nests over the same outermost axis become one region: what a tile of rows needs is done while it is in cache.

A region cuts its outermost axis into chunks, which threads may run in any order, and each chunk into tiles. Inside a
tile its nests run one after the other, so a value that one nest writes and another reads row by row needs room for one
tile only, and arrays that several nests read come from memory once. A nest joins a region if everything it reads was
finished before the region, or is read in the row in which the region wrote it.

How many chunks there are depends on sizes alone, and what chunks accumulate is combined in their order: results have
the same bits for any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from compiler.lower import lower
from compiler.program import Buffer, Choose, Nest, Product, Repeat, Step
from compiler.rows import row_of, users_of
from symgraph.dims import Call, Dim, Size

Given = Nest | Product | Repeat | Choose


def form_regions(steps: Sequence[Given], temporaries: Iterable[Buffer]) -> list[Step]:
    """The steps, with nests joined into regions and lowered to loops."""
    groups = _join(steps)
    private = _private_buffers(groups, temporaries)
    found: list[Any] = []
    for group in groups:
        first = group.steps[0]
        if not isinstance(first, Nest):
            found.append(first)
        else:
            nests = [s for s in group.steps if isinstance(s, Nest)]
            rows = _by_rows(nests, group.outer)
            found.append(lower(nests, group.outer, private.get(group, {})))
            found[-1].by_rows = rows
    return found


def _by_rows(nests: Sequence[Nest], outer: Size | None) -> frozenset[Buffer]:
    """The buffers of which each row of the region touches a row of its own alone."""
    if outer is None:
        return frozenset()
    found = []
    for buffer, users in users_of(nests).items():
        row = row_of(buffer, users)
        if row is not None and row * outer == buffer.elements:
            found.append(buffer)
    return frozenset(found)


# -- which nests go together -------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Group:
    """Steps that run as one; `before` are all groups that must run earlier, as a set of bits."""

    number: int
    outer: Size | None
    steps: list[Given] = field(default_factory=list)
    before: int = 0


NEAR = 8
"""How much longer one of two outermost axes may be for both to run through the same tiles."""


def _class(size: Size) -> object:
    """What sizes that differ by a few have in common."""
    if isinstance(size, int):
        return "fixed", size // 64 if size >= 64 else size
    size = _above_zero(size)
    return size - _constant(size)


def _above_zero(size: Dim) -> Dim:
    """x of max(x, 0)."""
    if len(size.terms) == 1:
        monomial, coefficient = size.terms[0]
        if coefficient == 1 and len(monomial) == 1 and isinstance(monomial[0], Call):
            function, args = monomial[0].function, monomial[0].args
            if function == "max" and args[1] == 0 and isinstance(args[0], Dim):
                return args[0]
    return size


def _constant(size: Size) -> int:
    if isinstance(size, int):
        return size
    return next((c for m, c in _above_zero(size).terms if not m), 0)


def _join(steps: Sequence[Given]) -> list[Group]:
    """Put each step into the last group of its outer size that it may join, else into one of its own."""
    groups: list[Group] = []
    writer: dict[Buffer, set[Group]] = {}
    by_outer: dict[object, Group] = {}
    written: dict[Buffer, list[Nest]] = {}
    reader: dict[Buffer, set[Group]] = {}
    for step in steps:
        needs = {g for b in _reads(step) for g in writer.get(b, ())}
        outer = step.sizes[0] if isinstance(step, Nest) and step.sizes else None
        if isinstance(step, Nest) and step.changes is not None:  # after all that knew it as it was, and on its own
            needs |= {*writer.get(step.changes, ()), *reader.get(step.changes, ())}
            outer = None
        group = by_outer.get(_class(outer)) if outer is not None else None
        if group is not None:
            assert isinstance(step, Nest) and outer is not None and group.outer is not None
            waits = [g for g in needs if g is not group and g.before >> group.number & 1]
            if (
                abs(_constant(outer) - _constant(group.outer)) > NEAR
                or waits
                or not all(_row_by_row(b, step, written.get(b, ()), group) for b in _reads(step))
            ):
                group = None
        if group is None:
            group = Group(len(groups), step.sizes[0] if isinstance(step, Nest) and step.sizes else None)
            groups.append(group)
            if outer is not None:
                by_outer[_class(outer)] = group
        elif outer is not None and group.outer is not None and _constant(outer) > _constant(group.outer):
            group.outer = outer
        group.steps.append(step)
        if isinstance(step, Nest):
            step.group = group
        fresh = group.before
        for g in needs:
            if g is not group:
                fresh |= g.before | 1 << g.number
        if fresh != group.before:
            group.before = fresh
            for later in groups:  # whoever waits for this group now waits for these too
                if later.before >> group.number & 1:
                    later.before |= fresh
        for b in _touches(step):
            reader.setdefault(b, set()).add(group)
        for b in _writes(step):
            writer.setdefault(b, set()).add(group)
            if isinstance(step, Nest):
                written.setdefault(b, []).append(step)
    return sorted(groups, key=lambda g: (g.before.bit_count(), g.number))


def _reads(step: Given) -> set[Buffer]:
    if isinstance(step, Product):
        return {step.a[0], step.b[0]}
    if not isinstance(step, Nest):
        return set(step.reads)
    return {b for b in step.loaded if b.role in ("temporary", "slot", "output")}


def _touches(step: Given) -> set[Buffer]:
    """All buffers that a step reads, inputs among them."""
    if isinstance(step, Nest):
        return step.loaded
    return _reads(step)


def _writes(step: Given) -> set[Buffer]:
    if isinstance(step, Product):
        return {step.c[0]}
    if not isinstance(step, Nest):
        return set(step.writes)
    return step.written


def _row_by_row(buffer: Buffer, reader: Nest, writers: Iterable[Nest], group: Group) -> bool:
    """Whether what the reader wants of a buffer was not written in this group, or in the row where it is wanted."""
    inside = [w for w in writers if w.group is group]
    return not inside or row_of(buffer, [*inside, reader]) is not None


# -- buffers that need room for one tile -------------------------------------------------------------------------------


def _private_buffers(groups: Sequence[Group], temporaries: Iterable[Buffer]) -> dict[Group, dict[Buffer, Size]]:
    """Per group, the temporaries that nobody else touches and that are used row by row, with the size of a row."""
    users: dict[Buffer, set[Group]] = {}
    touching: dict[Buffer, list[Nest]] = {}
    for group in groups:
        for step in group.steps:
            for b in _reads(step) | _writes(step):
                users.setdefault(b, set()).add(group)
                if isinstance(step, Nest):
                    touching.setdefault(b, []).append(step)
    private: dict[Group, dict[Buffer, Size]] = {}
    for buffer in temporaries:
        found = users.get(buffer, set())
        if len(found) != 1 or buffer.role != "temporary":
            continue
        (group,) = found
        if len(group.steps) < 2 or group.outer is None:
            continue
        row = row_of(buffer, touching[buffer])
        if row is not None:
            private.setdefault(group, {})[buffer] = row
    return private

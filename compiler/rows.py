"""Whether loops use a buffer row by row: every step of the outermost loop a row of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compiler.program import Address, Buffer, Nest, Ref
from symgraph import dims
from symgraph.dims import Size


def users_of(nests: Iterable[Nest]) -> dict[Buffer, list[Nest]]:
    """The nests that read or write each buffer: a few of many, where a long formula is cut."""
    users: dict[Buffer, list[Nest]] = {}
    for nest in nests:
        for buffer in nest.accesses:
            users.setdefault(buffer, []).append(nest)
    return users


def row_of(buffer: Buffer, nests: Iterable[Nest]) -> Size | None:
    """How many elements of a buffer make a row of the nests' outermost loop, if every access lies in its row."""
    row: Size | None = None
    for nest in nests:
        known: Address | None = None
        for s in nest.accesses.get(buffer, ()):
            if s.address is known:  # as most are that loop over the elements of an array
                continue
            known = s.address
            step = next((step for v, step in s.address.terms if v == 0), None)
            if step is None or (row is not None and step != row) or not in_row(s.address, step, nest.sizes):
                return None
            row = step
    return row


def in_row(address: Address, row: Size, sizes: Sequence[Size]) -> bool:
    """Whether an address, without its outermost loop, is plainly from 0 to below the length of a row."""
    least: Size = address.constant
    most: Size = address.constant
    for v, step in address.terms:
        if isinstance(v, Ref):
            return False
        if v == 0:
            continue
        if isinstance(step, int) and step < 0:
            least = least + (sizes[v] - 1) * step
        else:
            most = most + (sizes[v] - 1) * step
    room = dims.lower_bound(row - 1 - most)
    start = dims.lower_bound(least)
    return room is not None and room >= 0 and start is not None and start >= 0

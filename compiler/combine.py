"""What the chunks of a region accumulated becomes one value: a region of its own, without chunks."""

from __future__ import annotations

from compiler.program import Accumulate, Address, Finish, Item, Load, Loop, Partial, Ref, Region, Start
from symgraph.dims import Size

BYTES = 128
"""What is combined at a time, where elements are neighbours: so much that no addition waits for the one before."""


def combining(p: Partial, chunks: Size) -> Region:
    """For each element the parts of all chunks in their order, then its lanes."""
    outer, inner, chunk, lane = range(4)
    dtype, lanes = p.partial.dtype, 1
    terms: list[tuple[int | Ref, Size]] = [
        (outer, p.lanes),
        (inner, p.across * p.lanes),
        (chunk, p.partial.elements),
        (lane, 1),
    ]
    part = Load(1, dtype, p.partial, Address(0, tuple(terms if p.lanes > 1 else terms[:-1])))
    body: list[Item] = [part, Accumulate(0, dtype, 1, p.combine, None)]
    if p.lanes > 1:
        body = [Loop(lane, p.lanes, body, lanes=p.lanes)]
    else:
        lanes = BYTES // dtype.itemsize
        while isinstance(p.across, int) and lanes > 1 and lanes // 2 >= p.across:
            lanes //= 2
    start = Start(0, dtype, p.combine, False, max(p.lanes, lanes))
    end = Finish(0, dtype, p.buffer, Address(0, ((outer, p.block), (inner, 1))), p.combine, False)
    element: list[Item] = [start, Loop(chunk, chunks, body), end]
    return Region([Loop(inner, p.block, [Loop(outer, p.across, element, lanes=lanes)])])

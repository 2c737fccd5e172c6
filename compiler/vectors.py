"""Which loop vectors run along, and what lies side by side for it.

Vectors run along the innermost loop that is not short. Where loops inside of it are short, as over the coordinates of
points, what it reads and adds to may lie in memory with the short axes innermost. Such an array is transposed: inputs
that do not change from row to row are copied by each chunk, and what chunks accumulate is theirs to lay out.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.program import Address, Buffer, Load, Nest, Reduce, Ref, Store
from compiler.rows import in_row
from symgraph import dims
from symgraph.dims import Size


def vector_of(nest: Nest, nests: Sequence[Nest], short: int) -> int:
    """The loop that vectors run along in a nest, one of several that run row by row: the innermost one that is longer
    than `short`, or the innermost one if what the other reads and writes cannot lie side by side."""
    last = found = len(nest.sizes) - 1
    while found > 0 and dims.is_short(nest.sizes[found], short):
        found -= 1
    return last if found in (0, last) or blocks_of(nest, found, nests) is None else found


def blocks_of(nest: Nest, vector: int, nests: Sequence[Nest]) -> dict[Buffer, Size] | None:
    """Which buffers must be transposed for vectors along a loop, with how many neighbours change places with it; None
    where that does not do."""
    blocks: dict[Buffer, Size] = {}
    for s in nest.body:
        if not isinstance(s, Load | Store | Reduce):
            continue
        step = step_of(s.address, vector)
        if is_computed(s.address) or (step == 0 and isinstance(s, Store) and s.combine == "set"):
            return None
        if step in (0, 1):
            continue
        if not _movable(s, nests) or blocks.setdefault(s.buffer, step) != step:
            return None
        least = dims.lower_bound(step)
        if least is None or least < 0 or transposed(s.address, step, s.buffer, nest.sizes) is None:
            return None
    return blocks


def _movable(s: Load | Store | Reduce, nests: Sequence[Nest]) -> bool:
    """Whether what a statement reads or adds to may lie elsewhere, in an order of its own."""
    if step_of(s.address, 0) != 0 or isinstance(s, Reduce):
        return False
    others = [o for n in nests for o in n.accesses.get(s.buffer, ()) if o is not s]
    if isinstance(s, Store):
        return s.combine != "set" and not others
    return s.mask is None and all(isinstance(o, Load) for o in others)


def transposed(address: Address, block: Size, buffer: Buffer, sizes: Sequence[Size]) -> Address | None:
    """Where an element lies if elements a block apart become neighbours; None where blocks cannot be told apart."""
    across = dims.floordiv(buffer.elements, block)
    terms: list[tuple[int | Ref, Size]] = []
    rest: list[tuple[int | Ref, Size]] = []
    for v, step in address.terms:
        quotient = dims.floordiv(step, block)
        if quotient * block == step:
            terms.append((v, quotient))
        else:
            rest.append((v, step))
    start = dims.floordiv(address.constant, block)
    left = address.constant - start * block
    if not in_row(Address(left, tuple(rest)), block, sizes):
        return None
    return Address(start + left * across, (*terms, *((v, step * across) for v, step in rest)))


def step_of(address: Address, variable: int) -> Size:
    """How far a step of a loop goes."""
    return next((step for v, step in address.terms if v == variable), 0)


def is_computed(address: Address) -> bool:
    """Whether an address depends on computed indices."""
    return any(isinstance(v, Ref) for v, _ in address.terms)

"""Sizes of axes: an int, or a polynomial over sizes that are known only when a function is called.

Equal sizes have equal normal forms, so "may these two axes share a loop" is ``==``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Union

Size = Union[int, "Dim"]
"""An axis length: an int where it is fixed, a Dim where it is known at the call."""


@dataclass(frozen=True, slots=True)
class Atom:
    """A named unknown size. `not_one` says that a call has shown it not to be 1 (it may be 0), `short` that it is small
    beside others."""

    name: str
    not_one: bool = False
    short: bool = False

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Call:
    """A function of sizes that has no polynomial form: max, min, floor division, broadcasting."""

    function: str
    args: tuple[Size, ...]

    def __str__(self) -> str:
        if self.function == "floordiv":
            return f"({self.args[0]})//{self.args[1]}"
        return f"{self.function}({', '.join(map(str, self.args))})"


FUNCTIONS: dict[str, Callable[..., int]] = {
    "max": max,
    "min": min,
    "floordiv": lambda a, b: a // b if b else 0,
    "broadcast": lambda a, b: b if a == 1 else a,
    "ceildiv": lambda a, b: -(-a // b) if b else 0,
    # how many of `rows` rows of so many bytes fit into a room, in multiples; at least one multiple
    "tile": lambda rows, row_bytes, room, multiple: (
        max(1, min(-(-rows // multiple), room // max(row_bytes, 1) // multiple)) * multiple
    ),
    # into how many parts rows are cut, given the picoseconds of a row, the bytes that are read and written with it, and
    # those that are kept for each part: what is over in 20 µs is not cut; else into 16 to 64, and what all keep is an
    # eighth of what is read and written, or little
    "parts": lambda rows, cost, moved, kept: (
        max(1, min(64, max(16, rows * cost // 8_000_000), max(262_144, rows * moved // 8) // max(kept, 1)))
        if rows * cost > 20_000_000
        else 1
    ),
    # how many rows a part has; many in steps of 64, so that parts do not share cache lines
    "chunk": lambda rows, parts: (
        max(1, -(-rows // parts)) if rows < 64 * parts or parts == 1 else -(-rows // (64 * parts)) * 64
    ),
}

Monomial = tuple[Atom | Call, ...]


class Dim:
    """A polynomial with integer coefficients over atoms; immutable, compared by its normal form."""

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms = terms
        self._hash = hash(terms)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Dim) and self.terms == other.terms)

    def __add__(self, other: Size) -> Size:
        return _combine(self, other, 1)

    __radd__ = __add__

    def __sub__(self, other: Size) -> Size:
        return _combine(self, other, -1)

    def __rsub__(self, other: Size) -> Size:
        return _combine(-1 * self, other, 1)

    def __mul__(self, other: Size) -> Size:
        if isinstance(other, int):  # as most factors are
            if other == 1:
                return self
            return Dim(tuple([(m, c * other) for m, c in self.terms])) if other else 0
        return _multiply(self, other)

    __rmul__ = __mul__

    def __str__(self) -> str:
        parts = []
        for monomial, coefficient in self.terms:
            factors = "*".join(map(str, monomial))
            if not monomial:
                parts.append(str(coefficient))
            elif coefficient == 1:
                parts.append(factors)
            elif coefficient == -1:
                parts.append(f"-{factors}")
            else:
                parts.append(f"{coefficient}*{factors}")
        return " + ".join(parts).replace("+ -", "- ")

    __repr__ = __str__

    def __reduce__(self) -> tuple[type[Dim], tuple[tuple[tuple[Monomial, int], ...]]]:
        return Dim, (self.terms,)

    def __bool__(self) -> bool:
        raise TypeError("the truth of a size is not known before the call")

    @property
    def not_one(self) -> bool:
        """True where a call has shown the size not to be 1."""
        if len(self.terms) == 1:
            monomial, coefficient = self.terms[0]
            if coefficient == 1 and len(monomial) == 1 and isinstance(monomial[0], Atom):
                return monomial[0].not_one
        return False


def atom(name: str, not_one: bool = False, short: bool = False) -> Dim:
    """A size known only at the call, called `name` in messages."""
    return Dim((((Atom(name, not_one, short),), 1),))


def _terms(size: Size) -> tuple[tuple[Monomial, int], ...]:
    return size.terms if isinstance(size, Dim) else (((), size),)


def _normal(terms: dict[Monomial, int]) -> Size:
    kept = sorted(((m, c) for m, c in terms.items() if c), key=lambda t: (-len(t[0]), str(t[0])))
    if not kept:
        return 0
    if len(kept) == 1 and kept[0][0] == ():
        return kept[0][1]
    return Dim(tuple(kept))


# A formula has few sizes, and computes with them again and again.


@lru_cache(maxsize=1024)
def _multiply(left: Dim, right: Size) -> Size:
    product: dict[Monomial, int] = {}
    for first, a in left.terms:
        for second, b in _terms(right):
            key = tuple(sorted(first + second, key=str))
            product[key] = product.get(key, 0) + a * b
    return _normal(product)


@lru_cache(maxsize=1024)
def _combine(left: Size, right: Size, sign: int) -> Size:
    total = dict(_terms(left))
    for monomial, coefficient in _terms(right):
        total[monomial] = total.get(monomial, 0) + sign * coefficient
    return _normal(total)


def call(function: str, *args: Size) -> Size:
    """A size function applied; folded where the arguments are ints."""
    if all(isinstance(a, int) for a in args):
        return FUNCTIONS[function](*args)
    return Dim((((Call(function, args),), 1),))


def is_short(size: Size, limit: int) -> bool:
    """Whether a size is small beside others: at most `limit` where it is fixed, else known to be short at the call."""
    if isinstance(size, int):
        return size <= limit
    return all(
        len(monomial) <= 1 and all(isinstance(f, Atom) and f.short for f in monomial) for monomial, _ in size.terms
    )


def lower_bound(size: Size) -> int | None:
    """The smallest value the size can take, where that is plain to see."""
    if isinstance(size, int):
        return size
    low = 0
    for monomial, coefficient in size.terms:
        least = [_factor_bound(factor) for factor in monomial]
        if any(bound is None for bound in least) or (monomial and coefficient < 0):
            return None
        if len(least) > 1 and any(bound < 0 for bound in least):  # type: ignore[operator]
            return None
        low += coefficient * math.prod(least)  # type: ignore[arg-type]
    return low


def _factor_bound(factor: Atom | Call) -> int | None:
    if isinstance(factor, Atom):
        return 0
    known = [low for low in map(lower_bound, factor.args) if low is not None]
    if factor.function == "max":
        return max(known, default=None)
    if len(known) < len(factor.args):
        return None
    if factor.function == "floordiv":
        return known[0] // known[1] if isinstance(factor.args[1], int) and known[1] > 0 else None
    return min(known)


def maximum(a: Size, b: Size) -> Size:
    """max(a, b), folded where one is plainly larger."""
    if a == b:
        return a
    if isinstance(b, int):
        low = lower_bound(a)
        if low is not None and low >= b:
            return a
    return call("max", a, b)


def minimum(a: Size, b: Size) -> Size:
    """min(a, b), folded where they are equal or fixed."""
    return a if a == b else call("min", a, b)


def floordiv(a: Size, b: Size) -> Size:
    """a // b; exact division of polynomials where b is a common factor."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b if b else 0
    if b == 1:
        return a
    if a == 0 or b == 0:
        return 0
    if a == b:
        return 1
    if len(_terms(b)) == 1:
        factors, divisor = _terms(b)[0]
        quotient: dict[Monomial, int] = {}
        for monomial, coefficient in _terms(a):
            rest = list(monomial)
            try:
                for factor in factors:
                    rest.remove(factor)
            except ValueError:
                break
            if coefficient % divisor:
                break
            quotient[tuple(rest)] = coefficient // divisor
        else:
            return _normal(quotient)
    return call("floordiv", a, b)


def product(sizes: tuple[Size, ...] | list[Size]) -> Size:
    """The number of elements of a shape."""
    total: Size = 1
    for size in sizes:
        total = total * size
    return total


def evaluate(size: Size, sizes: Mapping[str, int]) -> int:
    """The value of a size, given the value of every atom by name."""
    if isinstance(size, int):
        return size
    total = 0
    for monomial, coefficient in size.terms:
        value = coefficient
        for factor in monomial:
            if isinstance(factor, Atom):
                value *= sizes[factor.name]
            else:
                value *= FUNCTIONS[factor.function](*(evaluate(a, sizes) for a in factor.args))
        total += value
    return total


def substitute(size: Size, sizes: Mapping[str, Size]) -> Size:
    """The size with atoms replaced by name."""
    if isinstance(size, int):
        return size
    total: Size = 0
    for monomial, coefficient in size.terms:
        value: Size = coefficient
        for factor in monomial:
            if isinstance(factor, Atom):
                value = value * sizes.get(factor.name, Dim((((factor,), 1),)))
            else:
                args = [substitute(a, sizes) for a in factor.args]
                value = value * {
                    "max": maximum,
                    "min": minimum,
                    "floordiv": floordiv,
                    "broadcast": broadcast,
                }[factor.function](*args)
        total = total + value
    return total


def atoms(size: Size) -> set[Atom]:
    """Every atom in the size."""
    found: set[Atom] = set()
    for monomial, _ in _terms(size):
        for factor in monomial:
            if isinstance(factor, Atom):
                found.add(factor)
            else:
                for arg in factor.args:
                    found |= atoms(arg)
    return found


def settled(size: Size) -> bool:
    """True where a call has shown every size in it not to be 1, or where it is fixed."""
    return isinstance(size, int) or all(a.not_one for a in atoms(size))


def broadcast(a: Size, b: Size) -> Size:
    """The size two axes have together, or -1 where they cannot go together.

    Two settled sizes must be equal; the call checks that, so the simpler form stands for both.
    """
    if a == b or b == 1:
        return a
    if a == 1:
        return b
    if isinstance(a, int) and isinstance(b, int):
        return -1
    if isinstance(a, int):
        return a
    if isinstance(b, int):
        return b
    low, high = sorted((a, b), key=_length)
    return low if settled(a) and settled(b) else call("broadcast", low, high)


def agreed(a: Size, b: Size) -> Size | None:
    """The size two axes have that must be equal, or None where they cannot be; the call checks that they are."""
    if a == b:
        return a
    if isinstance(a, int) and isinstance(b, int):
        return None
    for one, other in ((a, b), (b, a)):
        if isinstance(one, int):
            return None if one == 1 and isinstance(other, Dim) and other.not_one else one
    return min((a, b), key=_length)  # type: ignore[arg-type]


def _length(size: Dim) -> tuple[int, int, str]:
    """The order of sizes in which the simpler comes first."""
    return len(size.terms), len(str(size)), str(size)


def slice_bounds(index: slice, size: Size) -> tuple[Size, Size]:
    """Where a slice starts, and its length, for an axis of a size that may not be known yet."""
    step = 1 if index.step is None else index.step
    if step == 0:
        raise ValueError("slice step cannot be zero")
    if isinstance(index.start, Dim) or isinstance(index.stop, Dim):  # made by the library, known to lie inside
        length = index.stop - index.start
        return index.start, length if step == 1 else floordiv(length + (step - 1), step)
    if isinstance(size, int):
        start, stop, step = slice(index.start, index.stop, step).indices(size)
        return start, len(range(start, stop, step))
    begin, end = index.start, index.stop
    if step > 0:
        start_: Size = 0 if begin is None else begin if begin >= 0 else maximum(size + begin, 0)
        if end is None:
            stop_: Size = size
        else:
            stop_ = minimum(size, end) if end >= 0 else size + end
        length = stop_ - start_
    else:
        last = size - 1
        start_ = last if begin is None else minimum(last, begin) if begin >= 0 else size + begin
        stop_ = -1 if end is None else end if end >= 0 else maximum(size + end, -1)
        length = start_ - stop_
    if abs(step) != 1:
        length = floordiv(length + (abs(step) - 1), abs(step))
    return start_, maximum(length, 0)

"""Numbers and places as the explanations write them."""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.expr import Expr
from symgraph.origin import described


def count(number: int, noun: str) -> str:
    """A number of things.

    >>> count(1, "step"), count(2, "step")
    ('1 step', '2 steps')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def line_of(node: Expr) -> str:
    """The user's lines, as the end of a line."""
    return f"   {described(node.origins)}" if node.marks else ""


def _scaled(value: float, units: Sequence[str]) -> str:
    number, k = float(value), 0
    while number >= 999.5 and k + 1 < len(units):
        number, k = number / 1000, k + 1
    return f"{number:.3g} {units[k]}"


def in_bytes(value: float) -> str:
    """A number of bytes.

    >>> in_bytes(33_554_432)
    '33.6 MB'
    """
    return _scaled(value, ("B", "kB", "MB", "GB", "TB"))


def in_time(picoseconds: float) -> str:
    """A time.

    >>> in_time(20_000_000)
    '20 µs'
    """
    return _scaled(picoseconds, ("ps", "ns", "µs", "ms", "s"))

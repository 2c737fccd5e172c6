"""What the elementary functions share: number formats, polynomials, powers of two, sums kept in two parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from compiler.program import Recorder, S

FLOAT64, FLOAT32 = np.dtype(np.float64), np.dtype(np.float32)


class Format(NamedTuple):
    """A binary floating-point format: the unsigned integer of its width, bits of the fraction, bias of the exponent.

    ``rounder`` is 1.5 · 2**fraction: adding it leaves a number rounded to an integer in the low bits.
    """

    dtype: np.dtype[Any]
    integer: np.dtype[Any]
    fraction: int
    bias: int
    rounder: float
    sign: int


DOUBLE = Format(FLOAT64, np.dtype(np.uint64), 52, 1023, 1.5 * 2.0**52, 1 << 63)
SINGLE = Format(FLOAT32, np.dtype(np.uint32), 23, 127, 1.5 * 2.0**23, 1 << 31)


def format_of(x: S) -> Format:
    """The format of a scalar."""
    return DOUBLE if x.bits == 64 else SINGLE


LONG = 10
"""Coefficients from which a polynomial is summed as an even and an odd one: half the latency for one operation more."""


def polynomial(m: Recorder, x: S, coefficients: Sequence[float]) -> S:
    """The sum of ``coefficients[k] * x**k``, by Horner's rule with fused steps; the first one is added last."""
    if len(coefficients) >= LONG:
        square = x * x
        first, *rest = coefficients
        even, odd = (horner(m, square, rest[k::2]) for k in (0, 1))
        return m.fma(m.fma(odd, x, even), x, m.const(first, x))
    return horner(m, x, coefficients)


def horner(m: Recorder, x: S, coefficients: Sequence[float]) -> S:
    """The same without splitting it, which is better where even and odd terms cancel."""
    value = m.const(coefficients[-1], x)
    for c in reversed(coefficients[:-1]):
        value = m.fma(value, x, m.const(c, x))
    return value


def clamp(m: Recorder, x: S, low: float, high: float) -> S:
    """x kept within [low, high]; nan stays nan."""
    x = m.select(x < low, m.const(low, x), x)
    return m.select(x > high, m.const(high, x), x)


def bits(m: Recorder, x: S) -> S:
    """The bits of a number."""
    return m.bitcast(x, format_of(x).integer)


def two_sum(a: S, b: S) -> tuple[S, S]:
    """a + b, and what it loses to rounding (Knuth)."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)

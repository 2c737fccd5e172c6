"""exp, exp2, expm1.

x = n ln 2 + r with an integer n and |r| <= ln(2) / 2, exp(x) = 2**n exp(r) (Cody & Waite, "Software Manual for the
Elementary Functions", 1980, chapter 6; Tang, "Table-driven implementation of the exponential function", 1989). ln 2
comes in two parts, subtracted by fused steps, of which the first is exact.
"""

from __future__ import annotations

from compiler.program import Recorder, S
from compiler.vector_math import tables as t
from compiler.vector_math.common import bits, clamp, format_of, polynomial

LOG2E = 1.4426950408889634
EXP_RANGE = {64: (-746.0, 710.0), 32: (-104.0, 89.0)}
"""Outside, exp is 0 or infinite."""
EXP2_RANGE = {64: (-1076.0, 1025.0), 32: (-151.0, 129.0)}


def power_of_two(m: Recorder, n: S, value: S) -> S:
    """value * 2**N, rounded once also where the result is subnormal; `n` is N + rounder + 2 * bias, not yet rounded.

    The factor is split in halves that cannot overflow; the first product is exact.
    """
    f = format_of(value)
    word = bits(m, n)
    half = m.shr(word, 1)
    first = m.bitcast(m.shl(half, f.fraction), f.dtype)
    second = m.bitcast(m.shl(word - half, f.fraction), f.dtype)
    return value * first * second


def exp(m: Recorder, x: S) -> S:
    """e**x, below 1 ulp."""
    f = format_of(x)
    wide = x.bits == 64
    x = clamp(m, x, *EXP_RANGE[x.bits])
    rounder = f.rounder + 2 * f.bias
    shifted = m.fma(x, m.const(LOG2E, x), m.const(rounder, x))
    n = shifted - rounder
    high, low = t.LN2 if wide else t.LN2_32
    r = m.fma(n, m.const(-low, x), m.fma(n, m.const(-high, x), x))
    # the sum ends with its largest terms, so that little but the last rounding counts
    p = m.fma(r * r, polynomial(m, r, (0.5, *(t.EXP if wide else t.EXP_32))), r) + 1.0
    return power_of_two(m, shifted, p)


def exp2(m: Recorder, x: S) -> S:
    """2**x, below 1 ulp."""
    f = format_of(x)
    x = clamp(m, x, *EXP2_RANGE[x.bits])
    rounder = f.rounder + 2 * f.bias
    shifted = x + rounder
    r = x - (shifted - rounder)
    p = m.fma(r, polynomial(m, r, t.EXP2 if x.bits == 64 else t.EXP2_32), m.const(1, x))
    return power_of_two(m, shifted, p)

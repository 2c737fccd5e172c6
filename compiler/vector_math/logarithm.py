"""log, log2, log10, log1p.

x = 2**k (1 + f) with 1 + f between the roots of 1/2 and 2; with s = f / (2 + f), log(1 + f) = 2 atanh(s), whose series
in s**2 is short. It is summed as f - f**2 / 2 + s (f**2 / 2 + R), which is exact where f is small (Tang, "Table-driven
implementation of the logarithm function", 1990; Muller, "Elementary Functions", 11.4).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from compiler.program import Recorder, S
from compiler.vector_math import tables as t
from compiler.vector_math.common import Format, bits, format_of, polynomial

HALF_ROOT = {64: 0x3FE6A09E667F3BCD, 32: 0x3F3504F3}
"""The bits of sqrt(1/2)."""
SMALLEST = {64: 2.0**-1022, 32: 2.0**-126}


class Reduced(NamedTuple):
    """x = 2**k (1 + f); `word` holds the biased exponent k + bias in front of the fraction."""

    k: S
    f: S
    word: S


def reduce(m: Recorder, x: S, subnormal: bool = True) -> Reduced:
    """Exponent and fraction of a positive number; `subnormal` where x can be."""
    f = format_of(x)
    one = int(f.bias) << f.fraction
    bias = m.const(2.0**f.fraction + f.bias, x)
    if subnormal:
        small = x < SMALLEST[x.bits]
        up = f.fraction + 2
        x = m.select(small, x * 2.0**up, x)
        bias = m.select(small, m.const(2.0**f.fraction + f.bias + up, x), bias)
    word = bits(m, x) + (one - HALF_ROOT[x.bits])
    exponent = m.shr(word, f.fraction)
    # an integer below 2**fraction, put into the fraction of 2**fraction, is a floating-point number
    k = m.bitcast(exponent | ((f.bias + f.fraction) << f.fraction), f.dtype) - bias
    fraction = (word & ((1 << f.fraction) - 1)) + HALF_ROOT[x.bits]
    return Reduced(k, m.bitcast(fraction, f.dtype) - 1.0, word)


def tail(m: Recorder, f: S, square: S) -> S:
    """log(1 + f) - f + square, where square = f**2 / 2."""
    s = f / (f + 2.0)
    z = s * s
    return s * m.fma(z, polynomial(m, z, t.LOG if f.bits == 64 else t.LOG_32), square)


def special(m: Recorder, x: S, y: S) -> S:
    """y, the logarithm of x, or what it is for x = 0, x < 0, x = inf, nan."""
    outside = m.select(x.eq(0.0), m.const(-math.inf, x), m.const(math.nan, x))
    return m.select(x < math.inf, m.select(x > 0.0, y, outside), x)


def log(m: Recorder, x: S) -> S:
    """The natural logarithm, below 1 ulp."""
    k, f, _ = reduce(m, x)
    high, low = t.LN2 if x.bits == 64 else t.LN2_32
    square = f * f * 0.5
    small = square - m.fma(k, m.const(low, x), tail(m, f, square))
    return special(m, x, m.fma(k, m.const(high, x), f - small))


def log1p(m: Recorder, x: S) -> S:
    """log(1 + x), below 1 ulp: what u = 1 + x loses to rounding comes back as a first-order term."""
    form, one = format_of(x), m.const(1, x)
    u = x + 1.0
    lost = x - (u - 1.0)  # exact, but for x so large that it does not matter
    k, f, word = reduce(m, u, subnormal=False)
    # 2**(1 - k), which is 0 for the largest exponent, where nothing is lost that matters
    down = m.bitcast(m.const((2 * form.bias + 1) << form.fraction, word) - (word & _exponent(form)), form.dtype)
    lost = lost * down * 0.5 * (one - f)
    high, low = t.LN2 if x.bits == 64 else t.LN2_32
    square = f * f * 0.5
    small = square - (m.fma(k, m.const(low, x), tail(m, f, square)) + lost)
    y = special(m, u, m.fma(k, m.const(high, x), f - small))
    return m.select(x.eq(0.0), x, y)


def _exponent(form: Format) -> int:
    return ((form.sign >> form.fraction) * 2 - 1) << form.fraction


def _scaled(m: Recorder, x: S, scale: tuple[float, float]) -> tuple[S, S, S]:
    """(k, f, the rest), where scale * log(1 + f) is the rest and the first part of the scale times f."""
    k, f, _ = reduce(m, x)
    square = f * f * 0.5
    small = (square - tail(m, f, square)) * -scale[0]
    return k, f, m.fma(f, m.const(scale[1], x), small)


def log2(m: Recorder, x: S) -> S:
    """The logarithm to base 2, below 2 ulp; exact for powers of two."""
    scale = t.LOG2E if x.bits == 64 else t.LOG2E_32
    k, f, rest = _scaled(m, x, scale)
    return special(m, x, m.fma(f, m.const(scale[0], x), k + rest))


def log10(m: Recorder, x: S) -> S:
    """The logarithm to base 10, below 1 ulp, so that powers of ten have whole ones."""
    wide = x.bits == 64
    scale, (unit, low) = (t.LOG10E, t.LOG10_2) if wide else (t.LOG10E_32, t.LOG10_2_32)
    k, f, rest = _scaled(m, x, scale)
    whole = k * unit  # exact
    total = m.fma(f, m.const(scale[0], x), whole)
    lost = m.fma(f, m.const(scale[0], x), whole - total)
    return special(m, x, total + (lost + m.fma(k, m.const(low, x), rest)))

"""pow, cbrt.

pow(x, y) = exp(y log(x)), the logarithm in two parts so that y log(x) has no error that counts (Muller, "Elementary
Functions", 11.5; Tang 1990). cbrt starts from a polynomial for the inverse cube root and ends with one of Newton's
steps on the exact residual (Kahan & Bindel, "Computing a real cube root", 1991, on why one suffices).
"""

from __future__ import annotations

import math

from compiler.program import Recorder, S
from compiler.vector_math import logarithm, tables as t
from compiler.vector_math.common import DOUBLE, FLOAT32, FLOAT64, bits, clamp, double_rule, polynomial
from compiler.vector_math.exponential import LOG2E, power_of_two

LARGE = 760.0
"""exp of this overflows, exp of its negative is 0."""


def _log(m: Recorder, x: S) -> tuple[S, S]:
    """log(x) in two parts, about 65 bits, of a positive float64."""
    k, f, _ = logarithm.reduce(m, x)
    d = f + 2.0
    inverse = m.const(1, x) / d
    s = f * inverse
    s_low = (m.fma(-s, d, f) - s * (f - (d - 2.0))) * inverse
    z = s * s
    z_low = m.fma(s + s, s_low, m.fma(s, s, -z))
    # log(1 + f) = 2 s + s (2/3 z + z**2 q(z)): the first two terms in two parts
    third, third_low = t.TWO_THIRDS
    w = z * third
    w_low = m.fma(z, m.const(third, x), -w) + m.fma(z, m.const(third_low, x), z_low * third)
    q = z * z * polynomial(m, z, t.POW)
    a = w + q
    a_low = ((w - a) + q) + w_low
    p = s * a
    p_low = m.fma(s, a, -p) + m.fma(s, a_low, s_low * (a + 2.0))
    twice = s + s
    high = twice + p
    low = ((twice - high) + p) + p_low
    ln2, ln2_low = t.LN2_SHORT
    whole = k * ln2
    total = whole + high
    rest = ((whole - total) + high) + m.fma(k, m.const(ln2_low, x), low)
    result = total + rest
    return result, (total - result) + rest


def _exp(m: Recorder, x: S, low: S) -> S:
    """exp(x + low) of float64, rounded nearly once."""
    # what is beyond either end has no low part that counts, and may have none that is a number
    low = m.select(m.fabs(x) < LARGE, low, m.const(0, x))
    x = clamp(m, x, -LARGE, LARGE)
    rounder = DOUBLE.rounder + 2 * DOUBLE.bias
    shifted = m.fma(x, m.const(LOG2E, x), m.const(rounder, x))
    n = shifted - rounder
    ln2, ln2_low = t.LN2
    first, rest = m.fma(n, m.const(-ln2, x), x), m.fma(n, m.const(-ln2_low, x), low)
    r = first + rest
    small = m.fma(r * r, polynomial(m, r, (0.5, *t.EXP)), (first - r) + rest)
    one = m.const(1, x)
    large = one + r
    return power_of_two(m, shifted, large + (((one - large) + r) + small))


def _pow(m: Recorder, x: S, y: S, precise: bool) -> S:
    size = m.fabs(x)
    if precise:
        high, low = _log(m, size)
        high = logarithm.special(m, size, high)
        exponent = y * high
        result = _exp(m, exponent, m.fma(y, high, -exponent) + y * low)
    else:
        result = _exp(m, y * logarithm.log(m, size), m.const(0, x))
    integer = m.rint(y).eq(y)
    half = y * 0.5
    odd = integer & m.rint(half).ne(half)
    sign = m.select(odd, bits(m, x) & DOUBLE.sign, m.const(0, DOUBLE.integer))
    result = m.bitcast(bits(m, result) ^ sign, FLOAT64)
    finite_negative = (x < 0.0) & (x > -math.inf)
    result = m.select(finite_negative & ~integer, m.const(math.nan, x), result)
    one = y.eq(0.0) | x.eq(1.0) | (size.eq(1.0) & m.fabs(y).eq(math.inf))
    return m.select(one, m.const(1, x), result)


def pow(m: Recorder, x: S, y: S) -> S:  # noqa: A001
    """x**y, below 1 ulp."""
    if x.bits == 64:
        return _pow(m, x, y, precise=True)
    return m.cast(_pow(m, m.cast(x, FLOAT64), m.cast(y, FLOAT64), precise=False), FLOAT32)


def _cbrt(m: Recorder, x: S) -> S:
    size = m.fabs(x)
    small = size < 2.0**-1022
    word = bits(m, m.select(small, size * 2.0**54, size))
    # |x| = 2**(3 third - 1023) v with 1 <= v < 8, and 1023 = 3 * 341; the biased exponent e is divided as a float:
    # (e - 1) / 3 rounded to nearest is e / 3 rounded down
    e = m.bitcast(m.shr(word, 52) | (0x433 << 52), FLOAT64) - 2.0**52
    offset = DOUBLE.rounder + (1023 - 341)
    shifted = m.fma(e, m.const(1 / 3, x), m.const(-1 / 3, x)) + offset
    third = shifted - offset
    rest = m.fma(third, m.const(-3, x), e) + (DOUBLE.rounder + 1023)
    v = m.bitcast((word & ((1 << 52) - 1)) | m.shl(bits(m, rest), 52), FLOAT64)
    r = polynomial(m, v, t.CBRT)
    e = m.fma(-(v * r), r * r, m.const(1, x))
    # (1 - e)**(-1/3)
    r = m.fma(r * e, polynomial(m, e, (1 / 3, 2 / 9, 14 / 81)), r)
    square = r * r
    y = v * square
    y_square = y * y
    residual = m.fma(-y_square, y, v) - m.fma(y, y, -y_square) * y
    y = m.fma(residual, square * (1 / 3), y)
    scale = m.bitcast(m.shl(bits(m, shifted), 52), FLOAT64)
    y = m.copysign(y * scale * m.select(small, m.const(2.0**-18, x), m.const(1, x)), x)
    return m.select((size > 0.0) & (size < math.inf), y, x)


def cbrt(m: Recorder, x: S) -> S:
    """The cube root, below 1 ulp."""
    result: S = double_rule(_cbrt)(m, x)
    return result

"""pow, cbrt.

pow(x, y) = exp(y log(x)), the logarithm in two parts so that y log(x) has no error that counts (Muller, "Elementary
Functions", 11.5; Tang 1990). cbrt starts from a polynomial for the inverse cube root and ends with one of Newton's
steps on the exact residual (Kahan & Bindel, "Computing a real cube root", 1991, on why one suffices).
"""

from __future__ import annotations

import math

from compiler.program import Recorder, S
from compiler.vector_math import logarithm, tables as t
from compiler.vector_math.common import DOUBLE, FLOAT32, FLOAT64, bits, clamp, format_of, polynomial
from compiler.vector_math.exponential import LOG2E, power_of_two

LARGE = 760.0
"""exp of this overflows, exp of its negative is 0."""


def _log(m: Recorder, x: S) -> tuple[S, S]:
    """log(x) in two parts, about 65 bits, of a positive float64."""
    k, f, _ = logarithm.reduce(m, x)
    d = f + 2.0
    inverse = m.const(1, x) / d
    s = f * inverse
    s_low = m.fma(-s, f - (d - 2.0), m.fma(-s, d, f)) * inverse
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


def _narrow_pow(m: Recorder, size: S, y: S) -> S:
    """size**y of float32, by 2**(y log2(size)) in float64, where no float32 is subnormal and short polynomials do."""
    k, f, _ = logarithm.reduce(m, m.cast(size, FLOAT64), subnormal=False)
    exponent = m.fma(f, polynomial(m, f, t.POW_LOG2), k) * m.cast(y, FLOAT64)
    exponent = clamp(m, exponent, -200.0, 200.0)
    shifted = exponent + (DOUBLE.rounder + DOUBLE.bias)
    r = exponent - (shifted - (DOUBLE.rounder + DOUBLE.bias))
    scale = m.bitcast(m.shl(bits(m, shifted), DOUBLE.fraction), FLOAT64)
    result = m.cast(polynomial(m, r, t.POW_EXP2) * scale, FLOAT32)
    # 0 and infinity, whose logarithms are none of the numbers above
    infinite, zero = m.const(math.inf, y), m.const(0, y)
    falls = y < 0.0
    result = m.select(size.eq(math.inf), m.select(falls, zero, infinite), result)
    result = m.select(size.eq(0.0), m.select(falls, infinite, zero), result)
    return m.select(size.ne(size) | y.ne(y), size + y, result)


def _wide_pow(m: Recorder, size: S, y: S) -> S:
    """size**y of float64."""
    high, low = _log(m, size)
    high = logarithm.special(m, size, high)
    exponent = y * high
    return _exp(m, exponent, m.fma(y, high, -exponent) + y * low)


def pow(m: Recorder, x: S, y: S) -> S:  # noqa: A001
    """x**y, below 1 ulp."""
    f, size = format_of(x), m.fabs(x)
    result = _wide_pow(m, size, y) if x.bits == 64 else _narrow_pow(m, size, y)
    integer = m.rint(y).eq(y)
    half = y * 0.5
    odd = integer & m.rint(half).ne(half)
    sign = m.select(odd, bits(m, x) & f.sign, m.const(0, f.integer))
    result = m.bitcast(bits(m, result) ^ sign, f.dtype)
    finite_negative = (x < 0.0) & (x > -math.inf)
    result = m.select(finite_negative & ~integer, m.const(math.nan, x), result)
    one = y.eq(0.0) | x.eq(1.0) | (size.eq(1.0) & m.fabs(y).eq(math.inf))
    return m.select(one, m.const(1, x), result)


def cbrt(m: Recorder, x: S) -> S:
    """The cube root, below 1 ulp."""
    form, size = format_of(x), m.fabs(x)
    wide = x.bits == 64
    # a multiple of 3 by which subnormal numbers become normal
    up = 54 if wide else 24
    small = size < 2.0 ** (1 - form.bias)
    word = bits(m, m.select(small, size * 2.0**up, size))
    # |x| = 2**(3 third - bias - more) v with 1 <= v < 8, and 3 divides bias + more; the biased exponent e is divided
    # as a float: (e + more - 1) / 3 rounded to nearest is (e + more) / 3 rounded down
    more = -form.bias % 3
    e = m.bitcast(m.shr(word, form.fraction) | ((form.bias + form.fraction) << form.fraction), form.dtype)
    e = e - 2.0**form.fraction
    offset = form.rounder + (form.bias - (form.bias + more) // 3)
    shifted = m.fma(e, m.const(1 / 3, x), m.const((more - 1) / 3, x)) + offset
    third = shifted - offset
    rest = m.fma(third, m.const(-3, x), e) + (form.rounder + form.bias + more)
    v = m.bitcast((word & ((1 << form.fraction) - 1)) | m.shl(bits(m, rest), form.fraction), form.dtype)
    r = polynomial(m, v, t.CBRT)
    e = m.fma(-(v * r), r * r, m.const(1, x))
    # (1 - e)**(-1/3)
    r = m.fma(r * e, polynomial(m, e, (1 / 3, 2 / 9, 14 / 81)[: 3 if wide else 2]), r)
    square = r * r
    y = v * square
    y = m.fma(m.fma(-(y * y), y, v), square * (1 / 3), y)
    scale = m.bitcast(m.shl(bits(m, shifted), form.fraction), form.dtype)
    y = m.copysign(y * scale * m.select(small, m.const(2.0 ** (-up // 3), x), m.const(1, x)), x)
    return m.select((size > 0.0) & (size < math.inf), y, x)

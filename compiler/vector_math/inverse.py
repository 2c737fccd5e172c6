"""asin, acos, atan, atan2, asinh, acosh, atanh.

asin and acos: a polynomial up to 1/2, and asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2)) above; atan: a polynomial up to
1 and atan(x) = pi/2 - atan(1/x) above (Muller, "Elementary Functions", 11.1; Abramowitz & Stegun 4.4); the hyperbolic
ones from log1p, by the formulas of Kahan, "Branch cuts for complex elementary functions" (1987).
"""

from __future__ import annotations

import math

from compiler.program import Recorder, S
from compiler.vector_math import logarithm, tables as t
from compiler.vector_math.common import horner, polynomial

HALF_PI = {64: (t.PI[0] / 2, t.PI[1] / 2), 32: (t.PI_32[0] / 2, t.PI_32[1] / 2)}


def _arc(m: Recorder, x: S) -> tuple[S, S, S]:
    """(|x| > 1/2, v, asin(v) - v), where v is |x|, or sqrt((1 - |x|) / 2) above 1/2."""
    size = m.fabs(x)
    large = size > 0.5
    z = m.select(large, m.fma(size, m.const(-0.5, x), m.const(0.5, x)), size * size)
    v = m.select(large, m.sqrt(z), size)
    return large, v, v * z * polynomial(m, z, t.ASIN if x.bits == 64 else t.ASIN_32)


def asin(m: Recorder, x: S) -> S:
    """The angle of a sine, below 2 ulp."""
    half_pi, half_pi_low = HALF_PI[x.bits]
    large, v, rest = _arc(m, x)
    y = m.select(large, m.const(half_pi, x) - (v * 2.0 - (m.const(half_pi_low, x) - rest * 2.0)), v + rest)
    return m.copysign(y, x)


def acos(m: Recorder, x: S) -> S:
    """The angle of a cosine, below 2 ulp."""
    half_pi, half_pi_low = HALF_PI[x.bits]
    large, v, rest = _arc(m, x)
    zero = m.const(0, x)
    near_one = large & (x > 0.0)
    base = m.select(near_one, zero, m.select(large, m.const(2 * half_pi, x), m.const(half_pi, x)))
    base_low = m.select(near_one, zero, m.select(large, m.const(2 * half_pi_low, x), m.const(half_pi_low, x)))
    # near 1: 2 asin(v); near -1: pi - 2 asin(v); between: pi/2 - asin(x)
    factor = m.copysign(m.select(large, m.const(2, x), m.const(1, x)), x)
    factor = m.select(large, factor, -factor)
    return base + (v * factor + m.fma(rest, factor, base_low))


def _arctangent(m: Recorder, r: S, base: S, base_low: S, sign: S) -> S:
    """base + sign * atan(r), 0 <= r <= 1, sign 1 or -1."""
    z = r * r
    rest = r * z * horner(m, z, t.ATAN if r.bits == 64 else t.ATAN_32)
    term = r * sign
    total = base + term
    # base is 0 or larger than the term
    return total + (((base - total) + term) + m.fma(rest, sign, base_low))


def atan(m: Recorder, x: S) -> S:
    """The angle of a tangent, below 2 ulp."""
    half_pi, half_pi_low = HALF_PI[x.bits]
    size, one, zero = m.fabs(x), m.const(1, x), m.const(0, x)
    steep = size > 1.0
    r = m.select(steep, one / size, size)
    base, low = m.select(steep, m.const(half_pi, x), zero), m.select(steep, m.const(half_pi_low, x), zero)
    return m.copysign(_arctangent(m, r, base, low, m.select(steep, -one, one)), x)


def atan2(m: Recorder, y: S, x: S) -> S:
    """The angle of (x, y), below 2 ulp: base + sign * atan(smaller / larger)."""
    half_pi, half_pi_low = HALF_PI[x.bits]
    down, across = m.fabs(y), m.fabs(x)
    one, zero = m.const(1, x), m.const(0, x)
    steep = down > across
    left = m.copysign(one, x) < 0.0
    small, large = m.select(steep, across, down), m.select(steep, down, across)
    r = small / large
    r = m.select(large.eq(0.0), zero, m.select(small.eq(math.inf), one, r))
    r = m.select((x.ne(x)) | (y.ne(y)), x + y, r)
    turns = m.select(steep, one, m.select(left, m.const(2, x), zero))
    sign = m.select(steep, m.select(left, one, -one), m.select(left, -one, one))
    angle = _arctangent(m, r, turns * half_pi, turns * half_pi_low, sign)
    return m.copysign(angle, y)


LARGE = {64: 2.0**60, 32: 2.0**30}
"""From here sqrt(1 + x**2) is x, and log1p(x) is log(x)."""


def asinh(m: Recorder, x: S) -> S:
    """The number of a hyperbolic sine, below 4 ulp."""
    size = m.fabs(x)
    square = size * size
    t_ = size + square / (m.sqrt(square + 1.0) + 1.0)
    return m.copysign(_log_twice(m, size, t_), x)


def acosh(m: Recorder, x: S) -> S:
    """The number of a hyperbolic cosine, below 4 ulp."""
    above = x - 1.0
    y = _log_twice(m, x, above + m.sqrt(m.fma(above, above, above + above)))
    return m.select(x < 1.0, m.const(math.nan, x), y)


def _log_twice(m: Recorder, x: S, small: S) -> S:
    """log1p(small), or log(2 x) where x is large."""
    far = x > LARGE[x.bits]
    y = logarithm.log1p(m, m.select(far, x, small))
    return y + m.select(far, m.const((t.LN2 if x.bits == 64 else t.LN2_32)[0], x), m.const(0, x))


def atanh(m: Recorder, x: S) -> S:
    """The number of a hyperbolic tangent, below 4 ulp."""
    size = m.fabs(x)
    return m.copysign(logarithm.log1p(m, (size + size) / (m.const(1, x) - size)) * 0.5, x)

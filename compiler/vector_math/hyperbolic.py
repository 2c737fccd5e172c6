"""expm1, sinh, cosh, tanh.

x = n ln 2 + r as for exp, but r in two parts, and the large terms apart from the small ones, so that what cancels is
exact: expm1(x) = (2**n - 1) + 2**n r + 2**n (exp(r) - 1 - r), and
sinh(x) = (2**n - 2**-n) / 2 cosh(r) + (2**n + 2**-n) / 2 sinh(r), cosh with the signs exchanged
(Muller, "Elementary Functions", 11.2, on additive range reduction; Abramowitz & Stegun 4.5.24-25).
"""

from __future__ import annotations

from typing import NamedTuple

from compiler.program import Recorder, S
from compiler.vector_math import tables as t
from compiler.vector_math.common import bits, clamp, format_of, polynomial
from compiler.vector_math.exponential import LOG2E


class Reduced(NamedTuple):
    """n ln 2 + r + low; `shifted` is n + rounder + offset."""

    n: S
    shifted: S
    r: S
    low: S


def reduce(m: Recorder, x: S, offset: int) -> Reduced:
    """x modulo ln 2."""
    rounder = format_of(x).rounder + offset
    shifted = m.fma(x, m.const(LOG2E, x), m.const(rounder, x))
    n = shifted - rounder
    high, low = t.LN2 if x.bits == 64 else t.LN2_32
    first = m.fma(n, m.const(-high, x), x)
    r = m.fma(n, m.const(-low, x), first)
    return Reduced(n, shifted, r, m.fma(n, m.const(-low, x), first - r))


def power(m: Recorder, shifted: S) -> S:
    """2**n where the low bits of `shifted` are n + bias."""
    f = format_of(shifted)
    return m.bitcast(m.shl(bits(m, shifted), f.fraction), f.dtype)


def scaled_expm1(m: Recorder, x: S, halvings: int, exact: bool = False, low: S | None = None) -> S:
    """expm1(x + low) / 2**halvings; if `exact`, rounded nearly once."""
    p = reduce(m, x, format_of(x).bias - halvings)
    scale = power(m, p.shifted)
    quadratic = polynomial(m, p.r, (0.5, *(t.EXP if x.bits == 64 else t.EXP_32)))
    small = m.fma(p.r * p.r, quadratic, p.low if low is None else p.low + low)
    whole = scale - 0.5**halvings
    large = m.fma(scale, p.r, whole)
    if exact:
        return large + m.fma(scale, small, m.fma(scale, p.r, whole - large))
    return m.fma(scale, small, large)


def unless_tiny(m: Recorder, x: S, y: S) -> S:
    """y, or x itself where it is so small that both are the same to the last bit; keeps subnormals and -0.0."""
    return m.select(m.fabs(x) < 2.0 ** -(format_of(x).fraction + 4), x, y)


def expm1(m: Recorder, x: S) -> S:
    """exp(x) - 1, below 1.5 ulp."""
    low, high = (-40.0, 710.0) if x.bits == 64 else (-20.0, 89.0)
    return unless_tiny(m, x, scaled_expm1(m, clamp(m, x, low, high), 1) * 2.0)


def tanh(m: Recorder, x: S) -> S:
    """E / (E + 2) with E = expm1(2 x), below 2 ulp.

    The quotient q is put right by what the division leaves and, where it counts, for small E, by what E + 2 loses;
    1 / (E + 2) is (1 - q) / 2.
    """
    size = m.fabs(x)
    top = 22.0 if x.bits == 64 else 10.0
    e = scaled_expm1(m, m.select(size > top, m.const(2 * top, x), size * 2.0), 0, exact=x.bits == 64)
    d = e + 2.0
    q = e / d
    rest = m.const(1, x) - q
    left = m.fma(-(q * rest), e - (d - 2.0), m.fma(-q, d, e))
    return m.copysign(m.fma(rest * 0.5, left, q), x)


def _sums(m: Recorder, x: S, swap: bool) -> S:
    """sinh(size) or, swapped, cosh(size) of size = |x|."""
    form = format_of(x)
    wide = x.bits == 64
    size = m.fabs(x)
    top = 711.0 if wide else 90.0
    size = m.select(size > top, m.const(top, x), size)
    p = reduce(m, size, form.bias - 3)
    up = power(m, p.shifted)
    # 2**(-n - 3); where n is so large that this has no bits, it does not matter
    down = power(m, m.const(form.rounder + form.bias - 3, x) - p.n)
    down = m.select(size < (40.0 if wide else 20.0), down, m.const(0, x))
    z = p.r * p.r
    even = z * polynomial(m, z, (0.5, *(t.COSH if wide else t.COSH_32)))
    odd = m.fma(p.r * z, polynomial(m, z, t.SINH if wide else t.SINH_32), p.low)
    first, second = (up + down, up - down) if swap else (up - down, up + down)
    lost = (up - first) + down if swap else (up - first) - down
    return (m.fma(second, p.r, first) + (m.fma(first, even, second * odd) + lost)) * 4.0


def sinh(m: Recorder, x: S) -> S:
    """The hyperbolic sine, below 2 ulp."""
    return unless_tiny(m, x, m.copysign(_sums(m, x, swap=False), x))


def cosh(m: Recorder, x: S) -> S:
    """The hyperbolic cosine, below 2 ulp."""
    return _sums(m, x, swap=True)

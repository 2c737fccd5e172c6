"""erf, erfc.

erf(x) = -expm1(-x g(x)) with g(x) = -log(erfc(x)) / x, which is smooth and never 0, so one polynomial serves all of
[0, 6]. erfc(x) = exp(-x**2) p(t) / (1 + 2 x) with t = (x - K) / (x + K) (Shepherd & Laframboise, "Chebyshev
approximation of (1 + 2x) exp(x**2) erfc x in 0 <= x < infinity", 1981).
"""

from __future__ import annotations

from compiler.program import Recorder, S
from compiler.vector_math import tables as t
from compiler.vector_math.common import format_of, polynomial
from compiler.vector_math.exponential import LOG2E, power_of_two
from compiler.vector_math.hyperbolic import scaled_expm1

ERF_TOP = {64: 6.0, 32: 4.0}
ERFC_TOP = {64: 27.5, 32: 10.1}
SHIFT = 4.0


def erf(m: Recorder, x: S) -> S:
    """The error function, below 2 ulp."""
    wide = x.bits == 64
    size = m.fabs(x)
    top = m.const(ERF_TOP[x.bits], x)
    size = m.select(size > top, top, size)
    g = polynomial(m, size, t.ERF if wide else t.ERF_32)
    y = size * -g
    start = (t.ERF_START if wide else t.ERF_START_32)[1]
    low = m.fma(size, m.const(-start, x), m.fma(size, -g, -y))
    return m.copysign(scaled_expm1(m, y, 0, low=low), x)


def erfc(m: Recorder, x: S) -> S:
    """1 - erf(x), below 4 ulp also where it is tiny."""
    wide = x.bits == 64
    size, top = m.fabs(x), ERFC_TOP[x.bits]
    size = m.select(size > top, m.const(top, x), size)
    above, below, one, zero = size + SHIFT, size - SHIFT, m.const(1, x), m.const(0, x)
    ratio = below / above
    # what the sum and the difference lose to rounding shifts the argument; this counts where p still grows, below 1,
    # with a logarithmic derivative of about 0.87 (1 - x)**3
    shift = (size - (below + SHIFT)) - ratio * (size - (above - SHIFT))
    near = m.select(size < 1.0, one - size, zero)
    shift = shift * (near * near * near * 0.435)
    twice = m.fma(size, m.const(2, x), one)
    p = polynomial(m, ratio, t.ERFC if wide else t.ERFC_32) / twice
    # and so does what 1 + 2 x gains, whose inverse is about 0.87 of the quotient
    shift = m.fma((twice - 1.0) - size * 2.0, p * 0.87, shift)
    square = size * size
    lost = m.fma(size, size, -square)
    form = format_of(x)
    rounder = form.rounder + 2 * form.bias
    shifted = m.fma(square, m.const(-LOG2E, x), m.const(rounder, x))
    n = shifted - rounder
    high, low = t.LN2 if wide else t.LN2_32
    r = m.fma(n, m.const(-high, x), -square) + m.fma(n, m.const(-low, x), shift - lost)
    y = power_of_two(m, shifted, p * (m.fma(r * r, polynomial(m, r, (0.5, *(t.EXP if wide else t.EXP_32))), r) + 1.0))
    return m.select(x < 0.0, m.const(2, x) - y, y)

"""sin, cos, tan.

Up to LIMIT the nearest multiple of pi (of pi/2 for tan) is subtracted in three parts by fused steps, of which the
first is exact (Cody & Waite 1980, chapter 8; Muller, "Elementary Functions", 11.2; with fused steps: Boldo, Daumas &
Li, "Formally verified argument reduction with a fused multiply-add", 2009). Larger arguments are multiplied by as
many bits of 2/pi as matter (Payne & Hanek, "Radian reduction for trigonometric functions", 1983).
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.program import Recorder, S
from compiler.vector_math import tables as t
from compiler.vector_math.common import FLOAT64, bits, format_of, polynomial, two_sum

LIMIT = {64: 2.0**30, 32: 2.0**16}
ONE_OVER_PI = 0.3183098861837907


def _subtract(m: Recorder, x: S, n: S, parts: Sequence[float]) -> S:
    """x - n * (the sum of the three parts)."""
    for part in parts:
        x = m.fma(n, m.const(-part, x), x)
    return x


def _sine(m: Recorder, r: S, n: S, flip: S | None) -> S:
    """sin(r), its sign changed where n, an integer plus `rounder`, is odd, and by the sign bit of `flip`."""
    f = format_of(r)
    z = r * r
    third, *rest = t.SIN if r.bits == 64 else t.SIN_32
    # the term in z**2 is small where r is large, so the sum in z is rounded nearly once
    y = m.fma(r, m.fma(z, m.const(third, r), z * z * polynomial(m, z, rest)), r)
    sign = m.shl(bits(m, n), f.fraction + (11 if r.bits == 64 else 8))
    if flip is not None:
        sign = sign ^ (bits(m, flip) & f.sign)
    return m.bitcast(bits(m, y) ^ sign, f.dtype)


def sin(m: Recorder, x: S) -> S:
    """The sine up to LIMIT, below 2 ulp."""
    rounder = format_of(x).rounder
    size = m.fabs(x)
    shifted = m.fma(size, m.const(ONE_OVER_PI, x), m.const(rounder, x))
    parts = t.PI if x.bits == 64 else t.PI_32
    r = _subtract(m, size, shifted - rounder, parts)
    return _sine(m, r, shifted, x)


def cos(m: Recorder, x: S) -> S:
    """The cosine up to LIMIT, below 2 ulp: the sine of the distance to the nearest odd multiple of pi/2."""
    rounder = format_of(x).rounder
    size = m.fabs(x)
    shifted = m.fma(size, m.const(ONE_OVER_PI, x), m.const(-0.5, x)) + rounder
    half = (shifted - rounder) + 0.5
    parts = t.PI if x.bits == 64 else t.PI_32
    r = _subtract(m, size, half, parts)
    return _sine(m, -r, shifted, None)


def tan(m: Recorder, x: S) -> S:
    """The tangent up to LIMIT, below 2 ulp."""
    rounder = format_of(x).rounder
    size = m.fabs(x)
    shifted = m.fma(size, m.const(2 * ONE_OVER_PI, x), m.const(rounder, x))
    n = shifted - rounder
    a, b, c = (-p / 2 for p in (t.PI if x.bits == 64 else t.PI_32))
    first = m.fma(n, m.const(a, x), size)
    product = n * b
    second, lost = two_sum(first, product)
    rest = m.fma(n, m.const(c, x), lost + m.fma(n, m.const(b, x), -product))
    r = second + rest
    low = (second - r) + rest
    return _tangent(m, r, low, shifted, x)


def _tangent(m: Recorder, r: S, low: S, n: S, flip: S) -> S:
    """tan(r + low), or -1 / tan(r + low) where n, an integer plus `rounder`, is odd; with the sign bit of `flip`."""
    f, one = format_of(r), m.const(1, r)
    z = r * r
    small = m.fma(r * z, polynomial(m, z, t.TAN if r.bits == 64 else t.TAN_32), low)
    y = r + small
    inverse = m.const(-1, r) / y
    if r.bits == 64:  # one step of Newton's iteration, with what y lost
        inverse = m.fma(m.fma((r - y) + small, inverse, m.fma(y, inverse, one)), inverse, inverse)
    y = m.select((bits(m, n) & 1).eq(0), y, inverse)
    return m.bitcast(bits(m, y) ^ (bits(m, flip) & f.sign), f.dtype)


# -- arguments of any size --------------------------------------------------------------------------------------------

WINDOW = 5
"""How many pieces of 53 bits of 2/pi matter."""


def _pieces(m: Recorder, index: S, x: S) -> list[S]:
    """WINDOW neighbours out of the pieces of 2/pi, from `index` on: a shifter made of selects, in place of a table."""
    pieces = [m.const(p, x) for p in t.TWO_OVER_PI]
    for level in (16, 8, 4, 2, 1):
        moved = (index & level).ne(0)
        count = WINDOW + level - 1
        zero = m.const(0, x)
        padded = pieces + [zero] * (count + level - len(pieces))
        pieces = [m.select(moved, padded[k + level], padded[k]) for k in range(count)]
    return pieces


def _distil(terms: list[S]) -> list[S]:
    """Terms of the same sum, its leading part first (Rump, Ogita & Oishi's VecSum)."""
    terms = list(terms)
    for k in reversed(range(len(terms) - 1)):
        terms[k], terms[k + 1] = two_sum(terms[k], terms[k + 1])
    return terms


def _modulo(m: Recorder, x: S, n: float) -> S:
    """x minus the nearest multiple of n, a power of two; exact."""
    return x - m.rint(x * (1 / n)) * n


def _quarter_turns(m: Recorder, x: S) -> list[S]:
    """|x| 2/pi modulo 4, as a sum of terms, for a float64 from 2**2 on."""
    word = bits(m, x)
    # x = 2**(53 index) y with y from 2**2 on and below 2**55: pieces before `index` - 1 contribute multiples of 8
    index = m.shr((m.shr(word, 52) - (1023 + 2)) * 1237, 16)
    y = m.bitcast(word - m.shl(index * 53, 52), FLOAT64)
    terms: list[S] = []
    for k, piece in enumerate(_pieces(m, index, x)):
        scaled = y * 2.0 ** (53 - 53 * k)
        high = scaled * piece
        terms += [high, m.fma(scaled, piece, -high)]
    # from the fourth on they are below 4, and the last has no bit that counts
    terms = [_modulo(m, term, 4.0) for term in terms[:3]] + terms[3:-1]
    first, *rest = _distil(terms)
    return [_modulo(m, first, 4.0), *rest]


def reduce(m: Recorder, x: S, inverse: S, step: S, offset: S) -> tuple[S, S, S]:
    """r, its low part, and n + rounder, where |x| = (offset + step n) pi/2 + r modulo 2 pi; `inverse` is 1 / step."""
    rounder = format_of(x).rounder
    turns = _quarter_turns(m, m.fabs(x))
    shifted = (turns[0] - offset) * inverse + rounder
    nearest = (shifted - rounder) * step + offset
    high, low, least, *_ = _distil(_distil([turns[0] - nearest, *turns[1:]]))
    low = low + least
    a, b = (p / 2 for p in t.PI[:2])
    r = high * a
    rest = m.fma(low, m.const(a, x), m.fma(high, m.const(b, x), m.fma(high, m.const(a, x), -r)))
    y = r + rest
    # infinity becomes nan
    return y + (x - x), (r - y) + rest, shifted


def far_sin(m: Recorder, x: S, r: S, low: S, n: S) -> S:
    """The sine of a float64 above LIMIT that was reduced by steps of 2 quarter turns."""
    return _sine(m, r, n, x)


def far_cos(m: Recorder, x: S, r: S, low: S, n: S) -> S:
    """The cosine of a float64 above LIMIT that was reduced by steps of 2 quarter turns, from 1 on."""
    return _sine(m, -r, n, None)


def far_tan(m: Recorder, x: S, r: S, low: S, n: S) -> S:
    """The tangent of a float64 above LIMIT that was reduced by quarter turns."""
    return _tangent(m, r, low, n, x)

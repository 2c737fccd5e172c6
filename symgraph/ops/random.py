"""Random bits as functions of a key and a counter, and the quantiles that turn them into numbers.

Nothing here has a state. Each row is one scalar rule, which kernels record and which NumPy runs on whole arrays; it is
made of exact steps alone (integers, + - * / and square roots, each rounded once), so both modes give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from symgraph.errors import DTypeError, ShapeError
from symgraph.op import AS_GIVEN, NONE, GradRule, Infer, Op, infer_like, register
from symgraph.ops import elementwise as ew
from symgraph.types import ArrayType, broadcast_shapes, format_shape

UINT32, UINT64 = np.dtype(np.uint32), np.dtype(np.uint64)


class OnArrays:
    """The primitives that rules below are written in, on NumPy arrays."""

    @staticmethod
    def const(value: Any, like: Any) -> Any:
        """A literal in the dtype of `like`."""
        return (like if isinstance(like, np.dtype) else like.dtype).type(value)

    @staticmethod
    def cast(x: Any, dtype: np.dtype[Any]) -> Any:
        """x converted."""
        return x.astype(dtype)

    @staticmethod
    def bitcast(x: Any, dtype: np.dtype[Any]) -> Any:
        """The same bits."""
        return x.view(dtype)

    shl, shr, select, sqrt = np.left_shift, np.right_shift, np.where, np.sqrt


class _Format(NamedTuple):
    """How a floating-point number lies in its bits."""

    integer: np.dtype[Any]
    fraction: int
    one: int  # the bits of 1
    root: int  # the bits of sqrt(1/2)
    tiny: float


FORMATS = {
    np.dtype(np.float64): _Format(np.dtype(np.int64), 52, 0x3FF0000000000000, 0x3FE6A09E667F3BCD, 2.0**-1022),
    np.dtype(np.float32): _Format(np.dtype(np.int32), 23, 0x3F800000, 0x3F3504F3, 2.0**-126),
}


def _by_rule(name: str, rule: Callable[..., Any], infer: Infer, **fields: Any) -> Op:
    """A row whose meaning is its scalar rule; operands are converted to the dtype of the result, or come as given."""
    as_given = AS_GIVEN in fields.get("traits", ())

    def impl(*args: Any, **params: Any) -> Any:
        given = [np.asarray(a) for a in args]
        out = infer([ArrayType(a.dtype, a.shape) for a in given], params)
        with np.errstate(all="ignore"):
            return np.asarray(rule(OnArrays, *(a if as_given else a.astype(out.dtype) for a in given), **params))[()]

    return register(Op(name=name, kind="elementwise", impl=impl, lower=rule, infer=infer, onnx="", **fields))


# -- bits --------------------------------------------------------------------------------------------------------------

ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
PARITY = 0x1BD11BDA


def _cipher(m: Any, key: Any, counter: Any) -> Any:
    """Threefry-2x32 with 20 rounds: the counter's two words enciphered under the key's.

    Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
    """
    k0, k1 = _words(m, key)
    x, y = _words(m, counter)
    schedule = k0, k1, k0 ^ k1 ^ m.const(PARITY, k0)
    x, y = x + k0, y + k1
    for group in range(5):
        for by in ROTATIONS[group % 2]:
            x = x + y
            y = (m.shl(y, m.const(by, y)) | m.shr(y, m.const(32 - by, y))) ^ x
        x = x + schedule[(group + 1) % 3]
        y = y + (schedule[(group + 2) % 3] + m.const(group + 1, y))
    return m.cast(x, UINT64) | m.shl(m.cast(y, UINT64), m.const(32, key))


def _words(m: Any, x: Any) -> tuple[Any, Any]:
    """The lower and the upper half of 64 bits."""
    return m.cast(x, UINT32), m.cast(m.shr(x, m.const(32, x)), UINT32)


def _swap(m: Any, x: Any, n: Any, turn: Any, factor: Any, offset: Any) -> Any:
    """One round of the swap-or-not shuffle of 0 ... n - 1: x changes places with (turn - x) mod n, or does not.

    Which it is, a hash of the larger of the two says, so that both decide alike; and a round is its own inverse.

    Source: Hoang, Morris and Rogaway, "An enciphering scheme based on a card shuffle" (CRYPTO 2012).
    """
    partner = m.select(x <= turn, turn - x, turn + n - x)
    larger = m.select(x < partner, partner, x)
    mixed = larger * (factor | m.const(1, factor)) + offset
    mixed = (mixed ^ m.shr(mixed, m.const(32, mixed))) * m.const(0x9E3779B97F4A7C15, mixed)
    return m.select(m.shr(mixed, m.const(63, mixed)) < m.const(1, mixed), x, partner)


def _infer_bits(name: str) -> Infer:
    def infer(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
        key, *others = types
        if key.dtype is not None and (key.dtype != UINT64 or key.weak):
            raise DTypeError(f"{name}: keys are uint64 and come from random.key(seed), got {key.dtype}")
        if any(t.dtype is not None and t.dtype.kind not in "iu" for t in others):
            raise DTypeError(f"{name}: counters are integers, got {', '.join(str(t.dtype) for t in others)}")
        shape = broadcast_shapes(*(t.shape for t in types))
        if shape is None:
            raise ShapeError(f"{name}: shapes {' and '.join(format_shape(t.shape) for t in types)} do not broadcast")
        return ArrayType(UINT64, shape)

    return infer


def _unit(m: Any, bits: Any, *, dtype: str) -> Any:
    """The upper bits as the fraction of a number in [1, 2), less 1."""
    kind = np.dtype(dtype)
    f = FORMATS[kind]
    word = m.cast(m.shr(bits, m.const(64 - f.fraction, bits)), f.integer)
    return m.bitcast(word | m.const(f.one, word), kind) - m.const(1, kind)


WHOLE = (0.0, 1000.0)
threefry: Op = _by_rule("threefry", _cipher, _infer_bits("threefry"), grad=NONE, domain=(WHOLE, WHOLE))
"""64 random bits: a function of a key and a counter, one to one in the counter."""
swap_or_not: Op = _by_rule("swap_or_not", _swap, _infer_bits("swap_or_not"), grad=NONE, domain=(WHOLE,) * 5)
"""One round of a shuffle: (position, count, turn, factor, offset) -> position."""


def _infer_unit(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
    if types[0].dtype not in (None, UINT64):
        raise DTypeError(f"unit: random bits are uint64, got {types[0].dtype}")
    return ArrayType(np.dtype(params["dtype"]), types[0].shape)


unit: Op = _by_rule("unit", _unit, _infer_unit, grad=NONE, domain=(WHOLE,), traits=frozenset({AS_GIVEN}))
"""A number in [0, 1) from the upper bits: 52 of them for float64, 23 for float32."""

# -- quantiles ---------------------------------------------------------------------------------------------------------


SERIES = tuple(2.0 / k for k in range(21, 1, -2))


def _log(m: Any, x: Any) -> Any:
    """The natural logarithm of x in (0, inf): x = 2**k (1 + f), and log(1 + f) = 2 artanh(f / (2 + f)).

    Not the logarithm of the rest of the language, which may be NumPy's here and the kernel's there.
    """
    f = FORMATS[x.dtype]
    small = x < f.tiny
    word = m.bitcast(m.select(small, x * m.const(2.0 ** (f.fraction + 1), x), x), f.integer)
    exponent = m.shr(word - m.const(f.root, word), m.const(f.fraction, word))
    rest = m.bitcast(word - m.shl(exponent, m.const(f.fraction, word)), x.dtype) - m.const(1, x)
    k = m.cast(exponent, x.dtype) - m.select(small, m.const(f.fraction + 1, x), m.const(0, x))
    s = rest / (rest + m.const(2, x))
    z = s * s
    series = m.const(SERIES[0], x)
    for c in SERIES[1:]:
        series = series * z + m.const(c, x)
    half = rest * rest * m.const(0.5, x)
    # 2 artanh(s) = f - f**2/2 + s (f**2/2 + series z), in which what is small is added first
    tail = s * (half + series * z)
    high = 355.0 / 512.0  # of few bits, so that k times it is exact
    return k * m.const(high, x) + (rest - (half - (tail + k * m.const(math.log(2) - high, x))))


CENTRE = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
)  # fmt: skip
MIDDLE = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
     0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0),
)  # fmt: skip
FAR = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
     0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
     0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0),
)  # fmt: skip


def _normal_quantile(m: Any, p: Any) -> Any:
    """Where the standard normal distribution function is p.

    Each element takes the coefficients of its range, so that there is one quotient of polynomials and not three.

    Source: Wichura, "Algorithm AS 241: the percentage points of the normal distribution" (Applied Statistics 37, 1988).
    """
    q = p - m.const(0.5, p)
    left = q < 0.0
    distance = m.select(left, -q, q)
    outer = distance > 0.425  # nan is not, and comes through
    tail = m.select(left, p, m.const(1, p) - p)
    inside = tail > 0.0
    root = m.sqrt(-_log(m, m.select(inside, tail, m.const(0.5, p))))
    far = root > 5.0
    r = m.select(outer, root - m.select(far, m.const(5, p), m.const(1.6, p)), m.const(0.180625, p) - q * q)
    sums = [m.const(0, p), m.const(0, p)]
    for k in range(len(CENTRE[0])):
        for side in (0, 1):
            centre, middle, end = (m.const(table[side][k], p) for table in (CENTRE, MIDDLE, FAR))
            sums[side] = sums[side] * r + m.select(outer, m.select(far, end, middle), centre)
    ratio = sums[0] / sums[1]
    limit = m.select(tail < 0.0, m.const(math.nan, p), m.const(math.inf, p))
    size = m.select(inside, ratio, limit)
    return m.select(outer, m.select(left, -size, size), q * ratio)


def _gumbel_quantile(m: Any, p: Any) -> Any:
    """-log(-log(p)), for p in (0, 1)."""
    return -_log(m, -_log(m, p))


def _exponential_quantile(m: Any, p: Any) -> Any:
    """-log(p), for p in (0, 1]; of 1 - p it is the quantile."""
    return -_log(m, p)


def _quantile(name: str, rule: Callable[..., Any], grad: GradRule, domain: tuple[float, float]) -> Op:
    infer = infer_like(np.exp, name=name)

    def floats(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
        found = infer(types, params)
        if found.dtype is not None and found.dtype not in FORMATS:
            raise DTypeError(f"{name} is not defined for {types[0].dtype}")
        return found

    return _by_rule(name, rule, floats, grad=(grad,), domain=(domain,))


ndtri: Op = _quantile(
    "ndtri",
    _normal_quantile,
    lambda g, out, p: g * (math.sqrt(2 * math.pi) * ew.exp(0.5 * out * out)),
    (0.1, 0.9),
)
"""The inverse of the standard normal distribution function, under SciPy's name."""
gumbel: Op = _quantile("gumbel", _gumbel_quantile, lambda g, out, p: g * ew.exp(out) / p, (0.05, 0.95))
exponential: Op = _quantile("exponential", _exponential_quantile, lambda g, out, p: -g / p, (0.05, 0.95))

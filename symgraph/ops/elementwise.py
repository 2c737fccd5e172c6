"""Elementwise operations: arithmetic, mathematics, comparisons, logic. One row each, ordered by kinship."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from symgraph.errors import DTypeError, InputError
from symgraph.op import (
    AS_GIVEN,
    ASSOCIATIVE,
    CHEAP,
    COMMUTATIVE,
    IDEMPOTENT,
    NONE,
    GradRule,
    Infer,
    Op,
    infer_like,
    loop_dtypes,
    register,
)
from symgraph.types import ArrayType

REAL = (-2.0, 2.0)
POSITIVE = (0.2, 3.0)
UNIT = (-0.9, 0.9)
ABOVE_ONE = (1.1, 4.0)


def elementwise(
    name: str,
    ufunc: np.ufunc,
    *,
    grad: tuple[GradRule | None, ...] | Literal["flat"],
    scalar: Callable[..., Any],
    onnx: str,
    domain: tuple[tuple[float, float], ...],
    symbol: str = "",
    traits: Sequence[str] = (),
    impl: Callable[..., Any] | None = None,
    infer: Infer | None = None,
    keeps_weak: bool = False,
    label: str = "",
) -> Op:
    """A row for an operation on single elements; its types are those of `ufunc`."""
    return register(
        Op(
            name=name,
            kind="elementwise",
            impl=impl or ufunc,
            grad=grad,
            lower=scalar,
            onnx=onnx,
            domain=domain,
            infer=infer or infer_like(ufunc, keeps_weak=keeps_weak, name=name),
            symbol=symbol,
            traits=frozenset(traits),
            ufunc=ufunc,
            label=label,
        )
    )


# -- arithmetic --------------------------------------------------------------------------------------------------------

add: Op = elementwise(
    "add",
    np.add,
    grad=(lambda g, out, x, y: g, lambda g, out, x, y: g),
    scalar=lambda m, x, y: x | y if x.kind == "b" else x + y,
    onnx="Add",
    domain=(REAL, REAL),
    symbol="{} + {}",
    traits=(COMMUTATIVE, ASSOCIATIVE, CHEAP),
    keeps_weak=True,
)
sub: Op = elementwise(
    "sub",
    np.subtract,
    grad=(lambda g, out, x, y: g, lambda g, out, x, y: -g),
    scalar=lambda m, x, y: x - y,
    onnx="Sub",
    domain=(REAL, REAL),
    symbol="{} - {}",
    traits=(CHEAP,),
    keeps_weak=True,
)
mul: Op = elementwise(
    "mul",
    np.multiply,
    grad=(lambda g, out, x, y: g * y, lambda g, out, x, y: g * x),
    scalar=lambda m, x, y: x & y if x.kind == "b" else x * y,
    onnx="Mul",
    domain=(REAL, REAL),
    symbol="{} * {}",
    traits=(COMMUTATIVE, ASSOCIATIVE, CHEAP),
    keeps_weak=True,
)
div: Op = elementwise(
    "div",
    np.true_divide,
    grad=(lambda g, out, x, y: g / y, lambda g, out, x, y: -(g / y) * out),  # both share a division
    scalar=lambda m, x, y: x / y,
    onnx="Div",
    domain=(REAL, POSITIVE),
    symbol="{} / {}",
    keeps_weak=True,
)
neg: Op = elementwise(
    "neg",
    np.negative,
    grad=(lambda g, out, x: -g,),
    scalar=lambda m, x: -x,
    onnx="Neg",
    domain=(REAL,),
    symbol="-{}",
    traits=(CHEAP,),
    keeps_weak=True,
)
pos: Op = elementwise(
    "pos",
    np.positive,
    grad=(lambda g, out, x: g,),
    scalar=lambda m, x: x,
    onnx="Identity",
    domain=(REAL,),
    symbol="+{}",
    traits=(CHEAP,),
    keeps_weak=True,
)
fma: Op = register(
    Op(
        name="fma",
        kind="elementwise",
        label="MulAdd",
        onnx="",
        impl=lambda a, b, c: _fused(a, b, c),
        grad=(lambda g, out, a, b, c: g * b, lambda g, out, a, b, c: g * a, lambda g, out, a, b, c: g),
        infer=lambda types, params: _infer_fma(types, params),
        lower=lambda m, a, b, c: m.fma(a, b, c),
        domain=(REAL, REAL, REAL),
        symbol="{} * {} + {}",
        traits=frozenset({CHEAP}),
    )
)


def _infer_fma(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
    return add.infer((mul.infer(types[:2], params), types[2]), params)


def _two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _fused(a: Any, b: Any, c: Any) -> Any:
    """a*b + c rounded once (Boldo and Melquiond 2008, "Emulation of FMA and correctly rounded sums")."""
    naive = np.add(np.multiply(a, b), c)
    if naive.dtype == np.float32:
        wide = np.multiply(a, b, dtype=np.float64)
        s, e = _two_sum(wide, np.asarray(c, np.float64))
        return _to_odd(s, e).astype(np.float32)[()]
    if naive.dtype != np.float64:
        return naive
    with np.errstate(all="ignore"):
        a, b, c = (np.asarray(v, np.float64) for v in (a, b, c))
        p = a * b
        split = 134217729.0
        ah, bh = split * a, split * b
        ah, bh = ah - (ah - a), bh - (bh - b)
        al, bl = a - ah, b - bh
        e = al * bl - (((p - ah * bh) - al * bh) - ah * bl)
        th, tl = _two_sum(c, e)
        vh, vl = _two_sum(p, th)
        exact = vh + _to_odd(*_two_sum(tl, vl))
        safe = np.isfinite(exact) & (np.abs(p) > 1e-250) & (exact != 0)
    return np.where(safe, exact, naive)[()]


def _to_odd(s: Any, e: Any) -> Any:
    """s + e rounded to odd: where inexact, the neighbour of s whose last bit is 1."""
    s, e = np.asarray(s, np.float64), np.asarray(e, np.float64)
    even = (s.view(np.int64) & 1) == 0
    toward = np.nextafter(s, np.where(e > 0, np.inf, -np.inf))
    return np.where((e != 0) & even & np.isfinite(s), toward, s)


def _floordiv(m: Any, x: Any, y: Any) -> Any:
    """NumPy's npy_divmod: the quotient rounded down, also where x/y itself rounds up to an integer."""
    if x.kind in "iub":
        q, r = m.idiv(x, y), m.irem(x, y)
        if x.kind == "u":
            return q
        return m.select(r.ne(0) & ((r < 0) ^ (y < 0)), q - 1, q)
    r = m.fmod(x, y)
    q = (x - r) / y
    q = m.select(r.ne(0) & ((y < 0) ^ (r < 0)), q - 1, q)
    down = m.floor(q)
    down = m.select(q - down > 0.5, down + 1, down)
    return m.select(y.eq(0), x / y, m.select(q.ne(0) | q.ne(q), down, m.copysign(m.const(0.0, x), x / y)))


def _mod(m: Any, x: Any, y: Any) -> Any:
    if x.kind in "iub":
        r = m.irem(x, y)
        return r if x.kind == "u" else m.select(r.ne(0) & ((r < 0) ^ (y < 0)), r + y, r)
    r = m.fmod(x, y)
    wrapped = m.select((y < 0) ^ (r < 0), r + y, r)
    return m.select(y.eq(0), r, m.select(r.ne(0), wrapped, m.copysign(r, y)))


floordiv: Op = elementwise(
    "floordiv",
    np.floor_divide,
    grad=NONE,
    scalar=_floordiv,
    onnx="",
    domain=(REAL, POSITIVE),
    symbol="{} // {}",
    keeps_weak=True,
)
mod: Op = elementwise(
    "mod",
    np.remainder,
    grad=(lambda g, out, x, y: g, lambda g, out, x, y: -g * floordiv(x, y)),
    scalar=_mod,
    onnx="",
    domain=(REAL, POSITIVE),
    symbol="{} % {}",
    keeps_weak=True,
)
fmod: Op = elementwise(
    "fmod",
    np.fmod,
    grad=(lambda g, out, x, y: g, lambda g, out, x, y: -g * trunc(x / y)),
    scalar=lambda m, x, y: m.irem(x, y) if x.kind in "iub" else m.fmod(x, y),
    onnx="",
    domain=(REAL, POSITIVE),
)

# -- powers and roots --------------------------------------------------------------------------------------------------


def _infer_pow(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
    exponent = params["exponent"]
    (x,) = types
    if x.dtype is None:
        return x
    if x.dtype.kind in "iub" and isinstance(exponent, int) and exponent < 0:
        raise DTypeError(
            f"pow: integers to negative integer powers are not allowed (exponent {exponent}); write float({exponent})"
        )
    weak = ArrayType(np.dtype(type(exponent)), (), weak=True)
    return infer_like(np.power, keeps_weak=True, name="pow")((x, weak), {})


def _pow_grad(g: Any, out: Any, x: Any, *, exponent: float) -> Any:
    if exponent == 2:
        return g * (2 * x)
    if exponent == 1:
        return g
    if exponent == 0.5:
        return g * (0.5 / out)
    return g * (exponent * x ** (exponent - 1)) if exponent else None


def _power_grads(row: Callable[[], Op]) -> tuple[GradRule, GradRule]:
    """x**y in x: y x**(y-1), and 0 at 0**0; in y: x**y log(x), and 0 where x is not positive."""

    def in_base(g: Any, out: Any, x: Any, y: Any) -> Any:
        flat = logical_and(equal(x, 0), equal(y, 0))
        return g * (y * row()(x, where(flat, 1, y - 1)))

    def in_exponent(g: Any, out: Any, x: Any, y: Any) -> Any:
        return g * where(equal(out, 0), 0.0, out * log(where(greater(x, 0), x, 1.0)))

    return in_base, in_exponent


def _scalar_pow(m: Any, x: Any, y: Any) -> Any:
    if x.kind == "f":
        return m.pow(x, y)
    if y.kind == "i":
        m.require(y >= 0, InputError, "power: integers to negative integer powers are not allowed")
    return m.ipow(x, y)


def _scalar_fixed_pow(m: Any, x: Any, *, exponent: float) -> Any:
    """NumPy's ** takes the root for 0.5, which differs from the power at -0.0 and -inf."""
    if x.kind == "f":
        return m.sqrt(x) if exponent == 0.5 else m.pow(x, m.const(exponent, x))
    return m.ipow(x, m.const(exponent, x))


pow: Op = register(  # noqa: A001  (the language's name for x ** 2)
    Op(
        name="pow",
        kind="elementwise",
        onnx="Pow",
        domain=(POSITIVE,),
        symbol="{} ** {exponent}",
        impl=lambda x, *, exponent: np.power(x, exponent),
        grad=(_pow_grad,),
        infer=_infer_pow,
        lower=_scalar_fixed_pow,
    )
)
power: Op = elementwise(
    "power",
    np.power,
    grad=_power_grads(lambda: power),
    scalar=_scalar_pow,
    onnx="Pow",
    domain=(POSITIVE, REAL),
    symbol="{} ** {}",
    keeps_weak=True,
    label="Pow",
)
float_power: Op = elementwise(
    "float_power",
    np.float_power,
    grad=_power_grads(lambda: float_power),
    scalar=_scalar_pow,
    onnx="",
    domain=(POSITIVE, REAL),
)
square: Op = elementwise(
    "square",
    np.square,
    grad=(lambda g, out, x: g * (2 * x),),
    scalar=lambda m, x: x & x if x.kind == "b" else x * x,
    onnx="",
    domain=(REAL,),
    traits=(CHEAP,),
)
sqrt: Op = elementwise(
    "sqrt",
    np.sqrt,
    grad=(lambda g, out, x: g * 0.5 / out,),
    scalar=lambda m, x: m.sqrt(x),
    onnx="Sqrt",
    domain=(POSITIVE,),
)
cbrt: Op = elementwise(
    "cbrt",
    np.cbrt,
    grad=(lambda g, out, x: g / (3 * (out * out)),),
    scalar=lambda m, x: m.cbrt(x),
    onnx="",
    domain=(POSITIVE,),
)


def _scalar_reciprocal(m: Any, x: Any) -> Any:
    return m.const(1, x) / x if x.kind == "f" else m.idiv(m.const(1, x), x)


reciprocal: Op = elementwise(
    "reciprocal",
    np.reciprocal,
    grad=(lambda g, out, x: -g * (out * out),),
    scalar=_scalar_reciprocal,
    onnx="Reciprocal",
    domain=(POSITIVE,),
)


def _not_zero(x: Any) -> Any:
    return where(equal(x, 0), 1.0, x)


hypot: Op = elementwise(
    "hypot",
    np.hypot,
    grad=(lambda g, out, x, y: g * (x / _not_zero(out)), lambda g, out, x, y: g * (y / _not_zero(out))),
    scalar=lambda m, x, y: m.hypot(x, y),
    onnx="",
    domain=(POSITIVE, POSITIVE),
)

# -- exponentials and logarithms ---------------------------------------------------------------------------------------

LN2 = math.log(2.0)
LN2_LOW, LN2_LOW_32 = 2.3190468138462996e-17, -1.9046542121259336e-09
"""What log(2) loses when it is rounded to float64, and to float32."""
LOG2E = math.log2(math.e)

exp: Op = elementwise(
    "exp",
    np.exp,
    grad=(lambda g, out, x: g * out,),
    scalar=lambda m, x: m.exp(x),
    onnx="Exp",
    domain=(REAL,),
)
exp2: Op = elementwise(
    "exp2",
    np.exp2,
    grad=(lambda g, out, x: g * out * LN2,),
    scalar=lambda m, x: m.exp2(x),
    onnx="",
    domain=(REAL,),
)
expm1: Op = elementwise(
    "expm1",
    np.expm1,
    grad=(lambda g, out, x: g * (out + 1),),
    scalar=lambda m, x: m.expm1(x),
    onnx="",
    domain=(REAL,),
)
log: Op = elementwise(
    "log",
    np.log,
    grad=(lambda g, out, x: g / x,),
    scalar=lambda m, x: m.log(x),
    onnx="Log",
    domain=(POSITIVE,),
)
log2: Op = elementwise(
    "log2",
    np.log2,
    grad=(lambda g, out, x: g / (x * LN2),),
    scalar=lambda m, x: m.log2(x),
    onnx="",
    domain=(POSITIVE,),
)
log10: Op = elementwise(
    "log10",
    np.log10,
    grad=(lambda g, out, x: g / (x * math.log(10.0)),),
    scalar=lambda m, x: m.log10(x),
    onnx="",
    domain=(POSITIVE,),
)
log1p: Op = elementwise(
    "log1p",
    np.log1p,
    grad=(lambda g, out, x: g / (1 + x),),
    scalar=lambda m, x: m.log1p(x),
    onnx="",
    domain=(UNIT,),
)


def _log_of_sum(m: Any, x: Any, y: Any, power: Callable[[Any], Any], ln: float, equal: Any) -> Any:
    """log(b**x + b**y) to the base b: the larger, and the logarithm of 1 + b**-|x - y|; ``power(x)`` is b**x."""
    d, lost = _two_sum(x, -y)
    size = m.fabs(d)
    small = power(-size)
    # what the distance lost to rounding comes back to first order
    lost = m.select(size < math.inf, m.select(d > 0, -lost, lost), m.const(0, x))
    large = m.fma(small, lost, m.select(d > 0, x, y))
    return m.select(x.eq(y), equal, large + m.log1p(small) * (1 / ln))


def _logaddexp(m: Any, x: Any, y: Any) -> Any:
    # log(2) in two parts: where x is near -log(2), the second is what remains
    low = LN2_LOW if x.bits == 64 else LN2_LOW_32
    return _log_of_sum(m, x, y, m.exp, 1.0, (x + LN2) + low)


def _logaddexp2(m: Any, x: Any, y: Any) -> Any:
    return _log_of_sum(m, x, y, m.exp2, LN2, x + 1)


logaddexp: Op = elementwise(
    "logaddexp",
    np.logaddexp,
    grad=(lambda g, out, x, y: g * expit(x - y), lambda g, out, x, y: g * expit(y - x)),
    scalar=_logaddexp,
    onnx="",
    domain=(REAL, REAL),
    traits=(COMMUTATIVE,),
)
logaddexp2: Op = elementwise(
    "logaddexp2",
    np.logaddexp2,
    grad=(lambda g, out, x, y: g * expit((x - y) * LN2), lambda g, out, x, y: g * expit((y - x) * LN2)),
    scalar=_logaddexp2,
    onnx="",
    domain=(REAL, REAL),
    traits=(COMMUTATIVE,),
)


def _np_expit(x: Any) -> Any:
    e = np.exp(-np.fabs(x))
    return np.where(np.greater_equal(x, 0), 1, e)[()] / (1 + e)


def _np_softplus(x: Any) -> Any:
    return np.logaddexp(x, np.zeros((), np.result_type(x)))


def _expit(m: Any, x: Any) -> Any:
    e = m.exp(-m.fabs(x))
    d = e + 1
    quotient = m.select(x >= 0, m.const(1, x), e) / d
    # what the sum gained by rounding is taken back, by 1 / d to two digits
    return m.fma(quotient * ((d - 1) - e), m.fma(d, m.const(-0.5, x), m.const(1.46, x)), quotient)


expit: Op = register(
    Op(
        name="expit",
        kind="elementwise",
        label="Sigmoid",
        onnx="Sigmoid",
        domain=(REAL,),
        impl=_np_expit,
        grad=(lambda g, out, x: g * out * (1 - out),),
        infer=infer_like(np.exp, name="expit"),
        lower=_expit,
    )
)
softplus: Op = register(
    Op(
        name="softplus",
        kind="elementwise",
        onnx="Softplus",
        domain=(REAL,),
        impl=_np_softplus,
        grad=(lambda g, out, x: g * expit(x),),
        infer=infer_like(np.exp, name="softplus"),
        lower=lambda m, x: m.select(x > 0, x, m.const(0, x)) + m.log1p(m.exp(-m.fabs(x))),
    )
)


def _vectorised(scalar: Callable[[float], float], scipy_name: str) -> Callable[[Any], Any]:
    """SciPy's function where SciPy is installed, else the standard library's, element by element."""
    found: list[Callable[[Any], Any]] = []

    def impl(x: Any) -> Any:
        if not found:
            try:
                import scipy.special as special  # only here: SciPy is not needed otherwise

                found.append(getattr(special, scipy_name))
            except ImportError:
                ufunc = np.frompyfunc(scalar, 1, 1)
                found.append(ufunc)
        x = np.asarray(x)
        dtype = loop_dtypes(np.exp, ((x.dtype, False),))[-1]
        return np.asarray(found[0](x.astype(dtype))).astype(dtype)[()]

    return impl


TWO_OVER_ROOT_PI = 2.0 / math.sqrt(math.pi)
erf: Op = register(
    Op(
        name="erf",
        kind="elementwise",
        onnx="Erf",
        domain=(REAL,),
        impl=_vectorised(math.erf, "erf"),
        grad=(lambda g, out, x: g * (TWO_OVER_ROOT_PI * exp(-(x * x))),),
        infer=infer_like(np.exp, name="erf"),
        lower=lambda m, x: m.erf(x),
    )
)
erfc: Op = register(
    Op(
        name="erfc",
        kind="elementwise",
        onnx="",
        domain=(REAL,),
        impl=_vectorised(math.erfc, "erfc"),
        grad=(lambda g, out, x: g * (-TWO_OVER_ROOT_PI * exp(-(x * x))),),
        infer=infer_like(np.exp, name="erfc"),
        lower=lambda m, x: m.erfc(x),
    )
)

# -- trigonometric and hyperbolic functions ----------------------------------------------------------------------------

sin: Op = elementwise(
    "sin",
    np.sin,
    grad=(lambda g, out, x: g * cos(x),),
    scalar=lambda m, x: m.sin(x),
    onnx="Sin",
    domain=(REAL,),
)
cos: Op = elementwise(
    "cos",
    np.cos,
    grad=(lambda g, out, x: -g * sin(x),),
    scalar=lambda m, x: m.cos(x),
    onnx="Cos",
    domain=(REAL,),
)
tan: Op = elementwise(
    "tan",
    np.tan,
    grad=(lambda g, out, x: g * (1 + out * out),),
    scalar=lambda m, x: m.tan(x),
    onnx="Tan",
    domain=((-1.2, 1.2),),
)
arcsin: Op = elementwise(
    "arcsin",
    np.arcsin,
    grad=(lambda g, out, x: g / sqrt((1 - x) * (1 + x)),),
    scalar=lambda m, x: m.asin(x),
    onnx="Asin",
    domain=(UNIT,),
)
arccos: Op = elementwise(
    "arccos",
    np.arccos,
    grad=(lambda g, out, x: -g / sqrt((1 - x) * (1 + x)),),
    scalar=lambda m, x: m.acos(x),
    onnx="Acos",
    domain=(UNIT,),
)
arctan: Op = elementwise(
    "arctan",
    np.arctan,
    grad=(lambda g, out, x: g / (1 + x * x),),
    scalar=lambda m, x: m.atan(x),
    onnx="Atan",
    domain=(REAL,),
)
arctan2: Op = elementwise(
    "arctan2",
    np.arctan2,
    grad=(lambda g, out, y, x: g * x / (x * x + y * y), lambda g, out, y, x: -g * y / (x * x + y * y)),
    scalar=lambda m, y, x: m.atan2(y, x),
    onnx="",
    domain=(POSITIVE, REAL),
)
sinh: Op = elementwise(
    "sinh",
    np.sinh,
    grad=(lambda g, out, x: g * cosh(x),),
    scalar=lambda m, x: m.sinh(x),
    onnx="Sinh",
    domain=(REAL,),
)
cosh: Op = elementwise(
    "cosh",
    np.cosh,
    grad=(lambda g, out, x: g * sinh(x),),
    scalar=lambda m, x: m.cosh(x),
    onnx="Cosh",
    domain=(REAL,),
)
tanh: Op = elementwise(
    "tanh",
    np.tanh,
    grad=(lambda g, out, x: g * (1 - out * out),),
    scalar=lambda m, x: m.tanh(x),
    onnx="Tanh",
    domain=(REAL,),
)
arcsinh: Op = elementwise(
    "arcsinh",
    np.arcsinh,
    grad=(lambda g, out, x: g / sqrt(x * x + 1),),
    scalar=lambda m, x: m.asinh(x),
    onnx="Asinh",
    domain=(REAL,),
)
arccosh: Op = elementwise(
    "arccosh",
    np.arccosh,
    grad=(lambda g, out, x: g / sqrt((x - 1) * (x + 1)),),
    scalar=lambda m, x: m.acosh(x),
    onnx="Acosh",
    domain=(ABOVE_ONE,),
)
arctanh: Op = elementwise(
    "arctanh",
    np.arctanh,
    grad=(lambda g, out, x: g / ((1 - x) * (1 + x)),),
    scalar=lambda m, x: m.atanh(x),
    onnx="Atanh",
    domain=(UNIT,),
)
deg2rad: Op = elementwise(
    "deg2rad",
    np.deg2rad,
    grad=(lambda g, out, x: g * (math.pi / 180.0),),
    scalar=lambda m, x: x * (m.const(math.pi, x) / 180.0),
    onnx="",
    domain=(REAL,),
)
rad2deg: Op = elementwise(
    "rad2deg",
    np.rad2deg,
    grad=(lambda g, out, x: g * (180.0 / math.pi),),
    scalar=lambda m, x: x * (m.const(180.0, x) / math.pi),
    onnx="",
    domain=(REAL,),
)

# -- rounding and sign: flat almost everywhere -------------------------------------------------------------------------


def _rounding(primitive: str) -> Callable[..., Any]:
    return lambda m, x: getattr(m, primitive)(x) if x.kind == "f" else x


floor: Op = elementwise("floor", np.floor, grad=NONE, scalar=_rounding("floor"), onnx="Floor", domain=(REAL,))
ceil: Op = elementwise("ceil", np.ceil, grad=NONE, scalar=_rounding("ceil"), onnx="Ceil", domain=(REAL,))
trunc: Op = elementwise("trunc", np.trunc, grad=NONE, scalar=_rounding("trunc"), onnx="", domain=(REAL,))
rint: Op = elementwise("rint", np.rint, grad=NONE, scalar=_rounding("rint"), onnx="Round", domain=(REAL,))


def _sign(m: Any, x: Any) -> Any:
    one, zero = m.const(1, x), m.const(0, x)
    if x.kind == "u":
        return m.select(x > 0, one, zero)
    flat = m.select(x < 0, -one, m.select(x.eq(0), zero, x) if x.kind == "f" else zero)
    return m.select(x > 0, one, flat)


def _abs(m: Any, x: Any) -> Any:
    if x.kind == "f":
        return m.fabs(x)
    return x if x.kind in "ub" else m.select(x < 0, -x, x)


sign: Op = elementwise("sign", np.sign, grad=NONE, scalar=_sign, onnx="Sign", domain=(REAL,))
abs: Op = elementwise(  # noqa: A001  (the language's name)
    "abs",
    np.absolute,
    grad=(lambda g, out, x: g * sign(x),),
    scalar=_abs,
    onnx="Abs",
    domain=(REAL,),
    traits=(IDEMPOTENT,),
    keeps_weak=True,
)
fabs: Op = elementwise(
    "fabs",
    np.fabs,
    grad=(lambda g, out, x: g * sign(x),),
    scalar=lambda m, x: m.fabs(x),
    onnx="Abs",
    domain=(REAL,),
    traits=(IDEMPOTENT,),
)
copysign: Op = elementwise(
    "copysign",
    np.copysign,
    grad=(lambda g, out, x, y: g * copysign(sign(x), x * y), None),
    scalar=lambda m, x, y: m.copysign(x, y),
    onnx="",
    domain=(POSITIVE, POSITIVE),
)
signbit: Op = elementwise(
    "signbit",
    np.signbit,
    grad=NONE,
    scalar=lambda m, x: m.copysign(m.const(1, x), x) < 0,
    onnx="",
    domain=(REAL,),
)
heaviside: Op = elementwise(
    "heaviside",
    np.heaviside,
    grad=(None, lambda g, out, x, y: where(equal(x, 0), g, 0.0)),
    scalar=lambda m, x, y: m.select(x.eq(0), y, m.select(x < 0, m.const(0, x), m.select(x > 0, m.const(1, x), x))),
    onnx="",
    domain=(REAL, REAL),
)

# -- extrema: where two are equal, each gets half of the gradient ------------------------------------------------------


def _share(g: Any, out: Any, x: Any, y: Any) -> Any:
    """g where x won over y, half of it where they tie."""
    return where(equal(x, out), where(equal(x, y), 0.5 * g, g), 0.0)


def _extremum(name: str, ufunc: np.ufunc, sign_: int, skips_nan: bool, onnx: str) -> Op:
    def scalar(m: Any, x: Any, y: Any) -> Any:
        if x.kind == "b":
            return x | y if sign_ > 0 else x & y
        wins = x >= y if sign_ > 0 else x <= y
        if x.kind == "f":
            wins = wins | (y.ne(y) if skips_nan else x.ne(x))
        return m.select(wins, x, y)

    return elementwise(
        name,
        ufunc,
        grad=(_share, lambda g, out, x, y: _share(g, out, y, x)),
        scalar=scalar,
        onnx=onnx,
        domain=(REAL, REAL),
        traits=(COMMUTATIVE, ASSOCIATIVE, IDEMPOTENT),
    )


maximum: Op = _extremum("maximum", np.maximum, +1, skips_nan=False, onnx="Max")
minimum: Op = _extremum("minimum", np.minimum, -1, skips_nan=False, onnx="Min")
fmax: Op = _extremum("fmax", np.fmax, +1, skips_nan=True, onnx="")
fmin: Op = _extremum("fmin", np.fmin, -1, skips_nan=True, onnx="")

# -- comparisons, predicates, logic, bits: flat ------------------------------------------------------------------------


def _flat(
    name: str,
    ufunc: np.ufunc,
    scalar: Callable[..., Any],
    symbol: str = "",
    onnx: str = "",
    traits: Sequence[str] = (),
) -> Op:
    return elementwise(
        name,
        ufunc,
        grad=NONE,
        scalar=scalar,
        onnx=onnx,
        domain=(REAL,) * ufunc.nin,
        symbol=symbol,
        traits=traits,
    )


def _comparison(name: str, ufunc: np.ufunc, compare: Callable[[Any, Any], Any], symbol: str, onnx: str) -> Op:
    def scalar(m: Any, x: Any, y: Any) -> Any:
        if x.kind == y.kind:
            return compare(x, y)
        # int64 with uint64: by value, so a negative number comes before every number without a sign
        unsigned = compare(*(m.cast(v, np.dtype(np.uint64)) for v in (x, y)))
        if x.kind == "i":
            return m.select(x < 0, m.const(ufunc(-1, 0), unsigned), unsigned)
        return m.select(y < 0, m.const(ufunc(0, -1), unsigned), unsigned)

    return elementwise(
        name,
        ufunc,
        grad=NONE,
        scalar=scalar,
        onnx=onnx,
        domain=(REAL, REAL),
        symbol=symbol,
        infer=infer_like(ufunc, out=np.bool_, name=name),
    )


equal: Op = _comparison("equal", np.equal, lambda x, y: x.eq(y), "{} == {}", "Equal")
not_equal: Op = _comparison("not_equal", np.not_equal, lambda x, y: x.ne(y), "{} != {}", "")
less: Op = _comparison("less", np.less, lambda x, y: x < y, "{} < {}", "Less")
less_equal: Op = _comparison("less_equal", np.less_equal, lambda x, y: x <= y, "{} <= {}", "LessOrEqual")
greater: Op = _comparison("greater", np.greater, lambda x, y: x > y, "{} > {}", "Greater")
greater_equal: Op = _comparison("greater_equal", np.greater_equal, lambda x, y: x >= y, "{} >= {}", "GreaterOrEqual")
COMPARISONS = (equal, not_equal, less, less_equal, greater, greater_equal)

isnan: Op = _flat("isnan", np.isnan, lambda m, x: x.ne(x), onnx="IsNaN")
isinf: Op = _flat(
    "isinf", np.isinf, lambda m, x: _magnitude(m, x).eq(math.inf) if x.kind == "f" else x.ne(x), onnx="IsInf"
)
isfinite: Op = _flat("isfinite", np.isfinite, lambda m, x: _magnitude(m, x) < math.inf if x.kind == "f" else x.eq(x))


def _magnitude(m: Any, x: Any) -> Any:
    return m.fabs(x)


logical_and: Op = _flat(
    "logical_and", np.logical_and, lambda m, x, y: x.ne(0) & y.ne(0), onnx="And", traits=(COMMUTATIVE,)
)
logical_or: Op = _flat("logical_or", np.logical_or, lambda m, x, y: x.ne(0) | y.ne(0), onnx="Or", traits=(COMMUTATIVE,))
logical_xor: Op = _flat(
    "logical_xor", np.logical_xor, lambda m, x, y: x.ne(0) ^ y.ne(0), onnx="Xor", traits=(COMMUTATIVE,)
)
logical_not: Op = _flat("logical_not", np.logical_not, lambda m, x: x.eq(0), onnx="Not")
bitwise_and: Op = _flat("bitwise_and", np.bitwise_and, lambda m, x, y: x & y, "{} & {}", "BitwiseAnd", (COMMUTATIVE,))
bitwise_or: Op = _flat("bitwise_or", np.bitwise_or, lambda m, x, y: x | y, "{} | {}", "BitwiseOr", (COMMUTATIVE,))
bitwise_xor: Op = _flat("bitwise_xor", np.bitwise_xor, lambda m, x, y: x ^ y, "{} ^ {}", "BitwiseXor", (COMMUTATIVE,))
invert: Op = _flat("invert", np.invert, lambda m, x: ~x, "~{}", "BitwiseNot")


def _shift(primitive: str) -> Callable[..., Any]:
    """NumPy's shifts: by the width or more (or by a negative count) gives 0, or the sign for a right shift."""

    def scalar(m: Any, x: Any, n: Any) -> Any:
        zero = m.const(0, x)
        fill = m.select(x < 0, zero - 1, zero) if primitive == "shr" and x.kind == "i" else zero
        inside = (n >= 0) & (n < x.bits) if n.kind == "i" else n < x.bits
        return m.select(inside, getattr(m, primitive)(x, m.select(inside, n, zero)), fill)

    return scalar


left_shift: Op = _flat("left_shift", np.left_shift, _shift("shl"), "{} << {}")
right_shift: Op = _flat("right_shift", np.right_shift, _shift("shr"), "{} >> {}")

# -- choice and conversion ---------------------------------------------------------------------------------------------


def _infer_where(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
    chosen = infer_like(np.add, keeps_weak=True, name="where")(types[1:], {})
    if all(t.dtype is not None for t in types[1:]) and {t.dtype.kind for t in types[1:]} == {"b"}:  # type: ignore[union-attr]
        chosen = ArrayType(np.dtype(bool), chosen.shape)
    shape = infer_like(np.add, out=np.bool_, name="where")(types, {}).shape
    return ArrayType(chosen.dtype, shape)


where: Op = register(
    Op(
        name="where",
        kind="elementwise",
        onnx="Where",
        domain=(REAL, REAL, REAL),
        impl=np.where,
        grad=(None, lambda g, out, c, x, y: where(c, g, 0.0), lambda g, out, c, x, y: where(c, 0.0, g)),
        infer=_infer_where,
        lower=lambda m, c, x, y: m.select(c.ne(0), x, y),
    )
)


def _infer_cast(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
    return ArrayType(np.dtype(params["dtype"]), types[0].shape)


cast: Op = register(
    Op(
        name="cast",
        kind="elementwise",
        onnx="Cast",
        domain=(REAL,),
        impl=lambda x, *, dtype: np.asarray(x).astype(dtype)[()],
        grad=(lambda g, out, x, *, dtype: g if np.dtype(dtype).kind == "f" else None,),
        infer=_infer_cast,
        lower=lambda m, x, *, dtype: m.cast(x, np.dtype(dtype)),
        traits=frozenset({AS_GIVEN}),
    )
)
stop_gradient: Op = register(
    Op(
        name="stop_gradient",
        kind="elementwise",
        onnx="Identity",
        domain=(REAL,),
        impl=lambda x: x,
        grad=NONE,
        infer=lambda types, params: types[0],
        lower=lambda m, x: x,
    )
)


def operand_dtypes(op: Op, types: Sequence[ArrayType], out: ArrayType, params: Any) -> tuple[np.dtype[Any], ...]:
    """The dtype each operand is converted to before the scalar rule runs."""
    given: tuple[np.dtype[Any], ...] = tuple(t.dtype for t in types)  # type: ignore[misc]
    if op.ufunc is None:
        if AS_GIVEN in op.traits:
            return given
        return (given[0], out.dtype, out.dtype) if op is where else (out.dtype,) * len(types)  # type: ignore[return-value]
    if op in COMPARISONS and any(t.weak for t in types) and all(d.kind in "iu" for d in given):
        # a Python integer is compared by its value, also where the other dtype cannot hold it
        return tuple(np.dtype(np.int64 if d.kind == "i" else np.uint64) for d in given)
    wanted = loop_dtypes(op.ufunc, tuple((t.dtype, t.weak) for t in types))[: len(types)]
    # NumPy asks for the signs of small integers in float16, which kernels have not; float32 holds them as well
    return tuple(np.dtype(np.float32) if d == np.float16 and out.dtype != d else d for d in wanted)

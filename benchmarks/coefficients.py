"""The numbers of compiler/vector_math: polynomials, and constants split into parts.

``python -m benchmarks.coefficients`` prints compiler/vector_math/tables.py; ``... NAME`` prints one entry, with the
error of the fit in units of the last place.

A polynomial is fitted by weighted least squares in Chebyshev's nodes, whose largest error is within a small factor of
the smallest possible (Muller, "Elementary Functions", chapter 3), the weight making it the error of the whole
function in units of the last place. Its first coefficients are then rounded one after the other, and the rest is
fitted again after each, so that rounding costs next to nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from mpmath import asin, atan, cbrt, erfc, exp, linspace, log, lu_solve, matrix, mp, mpf, pi, sqrt

mp.dps = 100
Function = Callable[[Any], Any]


class Fit(NamedTuple):
    """A polynomial p of `degree` with ``weight(x) * |p(x) - function(x)|`` small on [low, high]."""

    function: Function
    weight: Function
    low: Any
    high: Any
    degree: int
    dtype: str = "float64"
    fixed: tuple[Any, ...] = ()  # leading coefficients that are given


class Parts(NamedTuple):
    """A constant as a sum of numbers, each the rounded rest of those before."""

    value: Function
    count: int
    dtype: str = "float64"
    bits: int = 0  # of all parts but the last, where they are shorter than the format


class Bits(NamedTuple):
    """The bits of a constant below 1, in `count` pieces of `width` bits, each as a fraction, after a 0."""

    value: Function
    width: int
    count: int


def pieces(table: Bits) -> list[Any]:
    """The pieces."""
    with mp.workprec(table.width * table.count + 64):
        rest, found = table.value(None), [mpf(0)]
        for _ in range(table.count):
            rest *= mpf(2) ** table.width
            whole = mp.floor(rest)
            found.append(whole / mpf(2) ** table.width)
            rest -= whole
    return found


def rounded(value: Any, dtype: str) -> Any:
    """The nearest number of a dtype."""
    return mpf(float(value)) if dtype == "float64" else mpf(float(np.float32(str(value))))


def best(fit: Fit, known: list[Any]) -> list[Any]:
    """The coefficients after those that are known: weighted least squares in Chebyshev's nodes."""
    order, n = len(known), fit.degree + 1 - len(known)
    nodes = 4 * n + 1
    rows, values = matrix(nodes, n), matrix(nodes, 1)
    for i in range(nodes):
        angle = pi * (2 * i + 1) / (2 * nodes)
        x = (mpf(fit.low) + mpf(fit.high)) / 2 - (mpf(fit.high) - mpf(fit.low)) / 2 * mp.cos(angle)
        weight = fit.weight(x)
        for j in range(n):
            rows[i, j] = weight * x ** (j + order)
        values[i] = weight * (fit.function(x) - horner(known, x))
    return list(lu_solve(rows.T * rows, rows.T * values))


def horner(coefficients: list[Any], x: Any) -> Any:
    """The value of a polynomial."""
    value = mpf(0)
    for c in reversed(coefficients):
        value = value * x + c
    return value


def solve(fit: Fit, exact: int = 4) -> tuple[list[Any], Any]:
    """Rounded coefficients, and the largest weighted error with them; the first `exact` ones are rounded in turn."""
    known = [rounded(c, fit.dtype) for c in fit.fixed]
    for _ in range(exact):
        if len(known) > fit.degree:
            break
        known.append(rounded(best(fit, known)[0], fit.dtype))
    if len(known) <= fit.degree:
        known += [rounded(c, fit.dtype) for c in best(fit, known)]
    worst = max(abs((horner(known, x) - fit.function(x)) * fit.weight(x)) for x in linspace(fit.low, fit.high, 501))
    return known, worst


def split(parts: Parts) -> list[Any]:
    """The numbers whose sum is the constant."""
    rest, found = parts.value(None), []
    for k in range(parts.count):
        part = rest
        if parts.bits and k < parts.count - 1:
            with mp.workprec(parts.bits):
                part = +rest
        found.append(rounded(part, parts.dtype))
        rest -= found[-1]
    return found


def series(function: Function, *known: Any) -> Function:
    """(function(x) - known[0] - known[1] x - ...) / x**len(known), from the power series where x is small."""
    order = len(known)

    def quotient(x: Any) -> Any:
        with mp.workdps(mp.dps * 3):
            x = mpf(x) if abs(x) > mpf(10) ** -25 else mpf(10) ** -25
            return (function(x) - sum(mpf(k) * x**j for j, k in enumerate(known))) / x**order

    return quotient


def even(function: Function, *known: Any) -> Function:
    """`series` in z = x**2."""
    quotient = series(function, *known)
    return lambda z: quotient(sqrt(abs(z)))


def minus_log_erfc(dtype: str) -> Function:
    """-log(erfc(x)) / x, less what its value at 0, 2 / sqrt(pi), loses to rounding."""
    start = 2 / sqrt(pi)
    return lambda x: -log(erfc(x)) / x - (start - rounded(start, dtype))


def scaled_erfc(t: Any) -> Any:
    """(1 + 2 x) exp(x**2) erfc(x) at t = (x - 4) / (x + 4)."""
    x = 4 * (1 + mpf(t)) / (1 - mpf(t))
    return (1 + 2 * x) * exp(x**2) * erfc(x)


HALF_LN2 = log(2) / 2 * mpf("1.0005")
LARGEST_S = (sqrt(mpf(2)) - 1) / (sqrt(mpf(2)) + 1) * mpf("1.0005")

ROOTS = sqrt(mpf(1) / 2) - mpf("1.0001"), sqrt(mpf(2)) - mpf("0.9999")


TABLES: dict[str, Fit | Parts | Bits] = {
    "LN2": Parts(lambda _: log(2), 2),
    "LN2_32": Parts(lambda _: log(2), 2, "float32"),
    # exp(r) = 1 + r + r**2 / 2 + r**3 p(r)
    "EXP": Fit(series(exp, 1, 1, 0.5), lambda r: r**3, -HALF_LN2, HALF_LN2, 8),
    "EXP_32": Fit(series(exp, 1, 1, 0.5), lambda r: r**3, -HALF_LN2, HALF_LN2, 3, "float32"),
    # 2**r = 1 + r p(r)
    "EXP2": Fit(series(lambda r: mpf(2) ** r, 1), lambda r: r, -0.5001, 0.5001, 10),
    "EXP2_32": Fit(series(lambda r: mpf(2) ** r, 1), lambda r: r, -0.5001, 0.5001, 5, "float32"),
    # cosh(r) = 1 + z / 2 + z**2 p(z), sinh(r) = r + r z p(z), z = r**2
    "COSH": Fit(even(mp.cosh, 1, 0, 0.5, 0), lambda z: z**2, 0, HALF_LN2**2, 3),
    "COSH_32": Fit(even(mp.cosh, 1, 0, 0.5, 0), lambda z: z**2, 0, HALF_LN2**2, 1, "float32"),
    "SINH": Fit(even(mp.sinh, 0, 1, 0), lambda z: z, 0, HALF_LN2**2, 4),
    "SINH_32": Fit(even(mp.sinh, 0, 1, 0), lambda z: z, 0, HALF_LN2**2, 2, "float32"),
    # log(1 + f) = 2 s + s z p(z) with s = f / (2 + f), z = s**2
    "LOG": Fit(even(lambda s: 2 * mp.atanh(s), 0, 2, 0), lambda z: z / 2, 0, LARGEST_S**2, 6),
    "LOG_32": Fit(even(lambda s: 2 * mp.atanh(s), 0, 2, 0), lambda z: z / 2, 0, LARGEST_S**2, 2, "float32"),
    "LOG2E": Parts(lambda _: 1 / log(2), 2),
    "LOG2E_32": Parts(lambda _: 1 / log(2), 2, "float32"),
    "LOG10E": Parts(lambda _: 1 / log(10), 2),
    "LOG10E_32": Parts(lambda _: 1 / log(10), 2, "float32"),
    # the first part times an exponent is exact
    "LOG10_2": Parts(lambda _: log(2) / log(10), 2, "float64", 40),
    "LOG10_2_32": Parts(lambda _: log(2) / log(10), 2, "float32", 15),
    "PI": Parts(lambda _: +pi, 3),
    "PI_32": Parts(lambda _: +pi, 3, "float32"),
    # sin(r) = r + r z p(z), tan(r) = r + r z p(z), z = r**2
    "SIN": Fit(even(mp.sin, 0, 1, 0), lambda z: z / mp.sinc(sqrt(abs(z))), 0, (pi / 2 + mpf("1e-6")) ** 2, 7),
    "SIN_32": Fit(
        even(mp.sin, 0, 1, 0), lambda z: z / mp.sinc(sqrt(abs(z))), 0, (pi / 2 + mpf("1e-2")) ** 2, 3, "float32"
    ),
    "TAN": Fit(even(mp.tan, 0, 1, 0), lambda z: z, 0, (pi / 4 + mpf("1e-6")) ** 2, 14),
    "TAN_32": Fit(even(mp.tan, 0, 1, 0), lambda z: z, 0, (pi / 4 + mpf("1e-2")) ** 2, 6, "float32"),
    # erf(x) = -expm1(-x p(x)); erfc(x) = exp(-x**2) p(t) / (1 + 2 x), t = (x - 4) / (x + 4)
    # the first coefficient is 2 / sqrt(pi) in two parts, of which p has the first
    "ERF_START": Parts(lambda _: 2 / sqrt(pi), 2),
    "ERF_START_32": Parts(lambda _: 2 / sqrt(pi), 2, "float32"),
    "ERF": Fit(minus_log_erfc("float64"), lambda x: x * erfc(x) / mp.erf(x), mpf("1e-20"), 6, 25),
    "ERF_32": Fit(minus_log_erfc("float32"), lambda x: x * erfc(x) / mp.erf(x), mpf("1e-20"), 4, 12, "float32"),
    "ERFC": Fit(scaled_erfc, lambda t: 1 / scaled_erfc(t), -1, mpf("23.6") / mpf("31.4"), 24),
    # log(1 + f) = 2 s + s (2/3 z + z**2 p(z))
    "ERFC_32": Fit(scaled_erfc, lambda t: 1 / scaled_erfc(t), -1, mpf("6.2") / mpf("14.2"), 11, "float32"),
    "TWO_THIRDS": Parts(lambda _: mpf(2) / 3, 2),
    "LN2_SHORT": Parts(lambda _: log(2), 2, "float64", 42),
    "POW": Fit(even(lambda s: 2 * mp.atanh(s), 0, 2, 0, mpf(2) / 3, 0), lambda z: z**2 / 2, 0, LARGEST_S**2, 6),
    # log2(1 + f) = f p(f) and 2**r = p(r), float64 numbers for a float32 power
    "POW_LOG2": Fit(series(lambda f: log(1 + f) / log(2), 0), lambda _: mpf(1), *ROOTS, 11),
    "POW_EXP2": Fit(lambda r: mpf(2) ** r, lambda _: mpf(1), -0.5001, 0.5001, 6),
    # v**(-1/3), to 9 bits
    "CBRT": Fit(lambda v: 1 / cbrt(v), cbrt, 1, 8, 6),
    # asin(x) = x + x z p(z), atan(x) = x + x z p(z), z = x**2
    "ASIN": Fit(even(asin, 0, 1, 0), lambda z: z, 0, 0.25, 12),
    "ASIN_32": Fit(even(asin, 0, 1, 0), lambda z: z, 0, 0.25, 4, "float32"),
    "ATAN": Fit(even(atan, 0, 1, 0), lambda z: z / (1 - z / 3 + z**2 / 8), 0, 1, 20),
    "ATAN_32": Fit(even(atan, 0, 1, 0), lambda z: z / (1 - z / 3 + z**2 / 8), 0, 1, 8, "float32"),
    # 2/pi = sum of piece[k] 2**(-53 (k - 1)), 53 bits each; the first is 0, for small exponents
    "TWO_OVER_PI": Bits(lambda _: 2 / pi, 53, 23),
}


def entry(name: str) -> tuple[list[Any], float]:
    """The numbers of a table, and the error of the fit in units of 2**-53 (2**-24 for float32)."""
    table = TABLES[name]
    if isinstance(table, Parts):
        return split(table), 0.0
    if isinstance(table, Bits):
        return pieces(table), 0.0
    numbers, worst = solve(table)
    return numbers, float(worst * mpf(2) ** (53 if table.dtype == "float64" else 24))


def text(name: str, numbers: list[Any]) -> str:
    """A table as Python."""
    lines, line = [], "   "
    for number in numbers:
        item = f" {float(number)!r},"
        if len(line) + len(item) > 118:
            lines.append(line)
            line = "   "
        line += item
    return "\n".join([f"{name} = (", *lines, line, ")"])


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        found, error = entry(wanted)
        print(text(wanted, found), f"# error {error:.3g}", sep="\n")
    if not sys.argv[1:]:
        print('"""Coefficients and constants; made by ``python -m benchmarks.coefficients``."""\n')
        for wanted in TABLES:
            print(text(wanted, entry(wanted)[0]))

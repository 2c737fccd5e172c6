"""Elementary functions: the largest error found, and the time of one element, beside libm, NumPy and JAX.

``python -m benchmarks.accuracy`` writes docs/accuracy.md. libm stands for the same kernel with a call for each element.
Errors are against mpmath, in units in the last place of the exact result: over all exponents, where the functions bend,
and near their zeros, poles and ends. Times are the best of many turns, in one process, on one thread.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import mpmath
import numpy as np
from mpmath import mp, mpf

import symgraph as sg
from benchmarks.report import significant, table
from compiler import vector_math
from symgraph.op import REGISTRY

Array = np.ndarray[Any, Any]
Exact = Callable[..., Any]


class Case(NamedTuple):
    """A function: its row's name, its exact value, the error allowed, where it is timed and where it is dense."""

    row: str
    exact: Exact
    ulp: float = 2.0
    timed: tuple[float, float] = (-5.0, 5.0)
    dense: tuple[tuple[float, float], ...] = ((-1.0, 1.0), (-12.0, 12.0))
    domain: tuple[float, float] = (-np.inf, np.inf)
    near: tuple[float, ...] = (0.0,)  # numbers approached from both sides
    part: Exact | None = None  # a summand: errors are in units of the last place of the largest of both and their sum


def _tail(exact: Exact, far: float, limit: Exact) -> Exact:
    """`exact` where |x| is below `far`; beyond, its limit to any precision."""
    return lambda x: exact(x) if abs(x) < far else limit(x)


def _logistic(x: Any) -> Any:
    """1 / (1 + exp(-x)), with all digits also where it is small."""
    return 1 / (1 + mpmath.exp(-x)) if abs(x) < FAR else mpf(int(x > 0))


def _log_of_sum(x: Any, y: Any, base: Any = mpmath.e) -> Any:
    """The logarithm of base**x + base**y."""
    size, ln = max(x, y), mpmath.log(base)
    less = size - min(x, y)
    return size + mpmath.log1p(mpmath.exp(-less * ln)) / ln if less < FAR else size


FAR = 10_000
"""Beyond, exp(-x) is 0 in every format."""
POSITIVE = (0.0, np.inf)
UNIT = (-1.0, 1.0)
EXPONENTIAL = ((-1.0, 1.0), (-12.0, 12.0), (-760.0, 720.0), (-110.0, 90.0))
ANGLES = ((-1.0, 1.0), (-12.0, 12.0), (-300.0, 300.0), (-1e5, 1e5), (-4e9, 4e9))
MULTIPLES = tuple(float(k * mpmath.pi / 2) for k in (1, 2, 3, 4, 5, 11, 51, 355, 1001, 100_001, 12_345_678, 1e15))

CASES: dict[str, Case] = {
    "sqrt": Case("sqrt", mpmath.sqrt, 0.5, timed=(1, 9), domain=POSITIVE),
    "exp": Case("exp", mpmath.exp, dense=EXPONENTIAL),
    "exp2": Case("exp2", lambda x: mpf(2) ** x, dense=((-1.0, 1.0), (-1080.0, 1030.0), (-155.0, 130.0))),
    "expm1": Case("expm1", mpmath.expm1, dense=EXPONENTIAL),
    "log": Case("log", mpmath.log, timed=(1, 9), dense=((0.4, 3.0),), domain=POSITIVE, near=(0.0, 1.0)),
    "log2": Case(
        "log2",
        lambda x: mpmath.log(x) / mpmath.log(2),
        timed=(1, 9),
        dense=((0.4, 3.0),),
        domain=POSITIVE,
        near=(0.0, 1.0),
    ),
    "log10": Case("log10", mpmath.log10, timed=(1, 9), dense=((0.4, 3.0),), domain=POSITIVE, near=(0.0, 1.0)),
    "log1p": Case("log1p", mpmath.log1p, timed=(1, 9), dense=((-1.0, 3.0),), domain=(-1.0, np.inf), near=(0.0, -1.0)),
    "sin": Case("sin", mpmath.sin, dense=ANGLES, near=(0.0, *MULTIPLES)),
    "cos": Case("cos", mpmath.cos, dense=ANGLES, near=(0.0, *MULTIPLES)),
    "tan": Case("tan", mpmath.tan, dense=ANGLES, near=(0.0, *MULTIPLES)),
    "sinh": Case("sinh", mpmath.sinh, dense=EXPONENTIAL),
    "cosh": Case("cosh", mpmath.cosh, dense=EXPONENTIAL),
    "tanh": Case("tanh", _tail(mpmath.tanh, 1000, mpmath.sign), dense=((-1.0, 1.0), (-25.0, 25.0))),
    "erf": Case("erf", _tail(mpmath.erf, 1000, mpmath.sign), dense=((-1.0, 1.0), (-7.0, 7.0))),
    "erfc": Case(
        "erfc",
        _tail(mpmath.erfc, 1000, lambda x: mpf(1 - mpmath.sign(x))),
        4.0,
        dense=((-1.0, 1.0), (-7.0, 7.0), (-6.0, 28.0)),
    ),
    "pow": Case("power", mpmath.power, 4.0, timed=(0.1, 9), domain=POSITIVE),
    "cbrt": Case("cbrt", lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x))),
    "asin": Case("arcsin", mpmath.asin, timed=(-0.9, 0.9), dense=(UNIT,), domain=UNIT, near=(0.0, -1.0, 1.0)),
    "acos": Case("arccos", mpmath.acos, timed=(-0.9, 0.9), dense=(UNIT,), domain=UNIT, near=(0.0, -1.0, 1.0)),
    "atan": Case("arctan", mpmath.atan),
    "atan2": Case("arctan2", mpmath.atan2),
    "asinh": Case("arcsinh", mpmath.asinh, 4.0),
    "acosh": Case("arccosh", mpmath.acosh, 4.0, timed=(1, 9), dense=((1.0, 12.0),), domain=(1.0, np.inf), near=(1.0,)),
    "atanh": Case("arctanh", mpmath.atanh, 4.0, timed=(-0.9, 0.9), dense=(UNIT,), domain=UNIT, near=(0.0, -1.0, 1.0)),
    "sigmoid": Case("expit", _logistic, dense=EXPONENTIAL),
    "softplus": Case("softplus", lambda x: _log_of_sum(x, mpf(0)), dense=EXPONENTIAL),
    # the sum is 1 on a curve, near which the logarithm is a small difference of large numbers
    "logaddexp": Case("logaddexp", _log_of_sum, part=max),
    "logaddexp2": Case("logaddexp2", lambda x, y: _log_of_sum(x, y, mpf(2)), 3.0, part=max),
}
BINARY = ("pow", "atan2", "logaddexp", "logaddexp2")


# -- errors -----------------------------------------------------------------------------------------------------------


def every_exponent(rng: np.random.Generator, dtype: Any, count: int) -> Array:
    """Finite numbers whose bits are random: all signs, exponents and fractions alike."""
    integer = np.dtype(f"i{np.dtype(dtype).itemsize}")
    largest = np.array(np.finfo(dtype).max).view(integer).item()
    numbers = rng.integers(0, largest, count, integer, endpoint=True).view(dtype)
    return np.copysign(numbers, rng.normal(size=count)).astype(dtype)


def samples(name: str, dtype: Any, count: int, seed: int = 0) -> list[Array]:
    """The arguments of a function: `count` numbers for each of its regions.

    >>> [a.dtype.name for a in samples("pow", "float32", 10)]
    ['float32', 'float32']
    """
    rng, case = np.random.default_rng(seed), CASES[name]
    if name in BINARY:
        spread = np.exp2(rng.uniform(-20, 20, count)), rng.uniform(-30, 30, count)
        near = 1 + rng.normal(size=count) * np.exp2(-rng.uniform(3, 50, count)), np.exp2(rng.uniform(0, 55, count))
        wide = every_exponent(rng, dtype, count), rng.uniform(-1.2, 1.2, count)
        whole = rng.integers(1, 50, count), rng.integers(-5, 20, count)
        plain = rng.normal(size=count), rng.normal(size=count)
        anything = every_exponent(rng, dtype, count), every_exponent(rng, dtype, count)
        close = plain[0] * 30, plain[0] * 30 + plain[1] * np.exp2(rng.uniform(-50, 5, count))
        apart = plain[0] * np.exp2(-rng.uniform(0, 60, count)), -rng.uniform(0, 60, count)
        pairs = (plain, anything, spread[::-1], close, apart)
        pairs = {"pow": (spread, near, wide, whole), "atan2": pairs[:3]}.get(name, pairs)
        first, second = (np.concatenate([np.asarray(p[k], dtype) for p in pairs]) for k in (0, 1))
        return [abs(first), second] if name == "pow" else [first, second]
    parts = [every_exponent(rng, dtype, count)]
    parts += [rng.uniform(low, high, count) for low, high in case.dense]
    digits = np.finfo(dtype).nmant + 8
    for point in case.near:
        each = max(8, count // len(case.near))
        steps = np.exp2(-rng.uniform(0, digits, each)) * rng.choice([-1.0, 1.0], each)
        parts += [
            point + max(abs(point), 1.0) * steps,
            np.array([point, -point]) if name in ("sin", "cos", "tan") else steps,
        ]
    with np.errstate(over="ignore"):
        numbers = np.concatenate(parts).astype(dtype)
    low, high = case.domain
    numbers = np.where((numbers < low) & (low == 0), abs(numbers), numbers)
    inside = np.isfinite(numbers) & (numbers >= low) & (numbers <= high)
    # poles are exact and have tests of their own
    inside &= ~((numbers == low) & (name in ("log", "log2", "log10", "log1p", "atanh"))) & ~(
        (numbers == 1) & (name == "atanh")
    )
    return [numbers[inside]]


def exact_values(name: str, arguments: Sequence[Array]) -> list[Any]:
    """The values to 60 digits and more."""
    with mp.workdps(60):
        exact = CASES[name].exact
        return [mpmath.re(exact(*(mpf(float(x)) for x in point))) for point in zip(*arguments, strict=True)]


def sizes(name: str, arguments: Sequence[Array], exact: Sequence[Any]) -> list[Any]:
    """The numbers in units of whose last place errors are counted: the exact values, or larger ones that cancel."""
    part = CASES[name].part
    if part is None:
        return list(exact)
    points = zip(*(a.tolist() for a in arguments), strict=True)
    parts = [mpf(part(*point)) for point in points]
    return [max(abs(e), abs(p), abs(e - p)) for e, p in zip(exact, parts, strict=True)]


def errors(found: Array, exact: Sequence[Any], like: Sequence[Any] | None = None) -> Array:
    """How far results are from exact values, in units in the last place of these, or of the numbers `like`; inf for a
    wrong nan or infinity."""
    info = np.finfo(found.dtype)
    result = np.empty(len(exact))
    with mp.workdps(60):
        overflow = mpf(float(info.max)) * (1 + mpf(2) ** (-info.nmant - 2))
        for k, (value, right, size) in enumerate(zip(found.tolist(), exact, like or exact, strict=True)):
            if not np.isfinite(value):
                result[k] = 0.0 if abs(right) > overflow and (value > 0) == (right > 0) else np.inf
                continue
            exponent = max(int(mpmath.frexp(size)[1]) - 1, int(info.minexp)) if size else int(info.minexp)
            result[k] = float(abs(mpf(value) - right) / mpf(2) ** (exponent - int(info.nmant)))
    return result


# -- competitors ------------------------------------------------------------------------------------------------------


@contextmanager
def calling_libm() -> Iterator[None]:
    """Kernels compiled inside call the C library for every element."""
    kept = dict(vector_math.FUNCTIONS)
    vector_math.FUNCTIONS.clear()
    try:
        yield
    finally:
        vector_math.FUNCTIONS.update(kept)


def compiled(name: str, dtype: Any) -> Callable[..., Array]:
    """The function as a kernel over arrays."""
    symbols = [sg.placeholder(n, shape=("n",), dtype=dtype) for n in ("x", "y")[: 2 if name in BINARY else 1]]
    function = sg.compile(REGISTRY[CASES[name].row](*symbols))
    run = (lambda x, y: function(x=x, y=y)) if name in BINARY else (lambda x: function(x=x))
    run(*(np.ones(8, dtype) for _ in symbols))
    return run


def competitors(name: str, dtype: Any) -> dict[str, Callable[..., Any]]:
    """Everyone who has the function."""
    found: dict[str, Callable[..., Any]] = {"symgraph": compiled(name, dtype)}
    with calling_libm():
        found["libm"] = compiled(name, dtype)
    row = CASES[name].row
    if hasattr(np, row):
        found["NumPy"] = getattr(np, row)
    elif row == "softplus":
        found["NumPy"] = lambda x: np.logaddexp(x, np.zeros((), x.dtype))
    elif importlib.util.find_spec("scipy"):
        found["NumPy"] = getattr(importlib.import_module("scipy.special"), row)
    if importlib.util.find_spec("jax"):
        jax = importlib.import_module("jax")
        jax.config.update("jax_enable_x64", True)
        home = next(h for h in (jax.numpy, jax.scipy.special, jax.nn) if hasattr(h, row))
        function = jax.jit(getattr(home, row))
        found["JAX"] = lambda *xs: function(*xs).block_until_ready()
    return found


def nanoseconds(
    functions: dict[str, Callable[..., Any]],
    arguments: Sequence[Array],
    turns: int,
) -> dict[str, float]:
    """The time of one element, without that of the call: long arrays less short ones, in turns, the best of each."""
    short = [np.ascontiguousarray(a[:16]) for a in arguments]
    best = {name: [np.inf, np.inf] for name in functions}
    for _ in range(turns):
        for name, function in functions.items():
            for k, given in enumerate((arguments, short)):
                start = time.perf_counter()
                function(*given)
                best[name][k] = min(best[name][k], time.perf_counter() - start)
    return {name: (b[0] - b[1]) / (len(arguments[0]) - 16) * 1e9 for name, b in best.items()}


# -- the table --------------------------------------------------------------------------------------------------------


def measure(
    name: str, dtype: Any, count: int = 2000, turns: int = 400, size: int = 4000
) -> dict[str, tuple[float, float]]:
    """(largest error in ulp, ns per element) of every competitor."""
    arguments = samples(name, dtype, count)
    exact = exact_values(name, arguments)
    like = sizes(name, arguments, exact)
    functions = competitors(name, dtype)
    rng = np.random.default_rng(1)
    timed = [rng.uniform(*CASES[name].timed, size).astype(dtype) for _ in arguments]
    with np.errstate(all="ignore"):
        worst = {who: float(errors(np.asarray(f(*arguments)), exact, like).max()) for who, f in functions.items()}
        speed = nanoseconds(functions, timed, turns)
    return {who: (worst[who], speed[who]) for who in functions}


def processor() -> str:
    """The processor's name, where the system tells."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    vectors = ", AVX-512" if "avx512f" in flags else ", AVX2" if "avx2" in flags else ""
    return (names[0] if names else platform.processor() or platform.machine()) + vectors


def _ulp(error: float) -> str:
    return significant(error) if error < 1e6 else "lost"


INTRODUCTION = """\
# Elementary functions: errors and times

`python -m benchmarks.accuracy` measures what follows and writes this page. *libm* is the same kernel with a call of the
C library for each element; *NumPy* is SciPy for erf, erfc and sigmoid. Each cell: the largest error found, in units in
the last place of the exact result (mpmath), over all exponents, where the function bends, and near its zeros, poles and
ends · nanoseconds per element, of 4,000, one thread, the best of many turns taken in turns. *lost*: no digit is right
somewhere; XLA sets subnormal numbers to 0, SciPy the tail of erfc. Where both parts of a logaddexp cancel, the unit is
that of the larger part.

{machine}

The functions are written once, in `compiler/vector_math`, without branches and without tables, and every rounding in
them is spelled out: results have the same bits whatever the machine, the length of the array, and whether the kernel is
a loop or a formula over numbers. sin, cos and tan hold up to 2³⁰ (float32: 2¹⁶) that way; a vector with a larger
argument computes those again with exact reduction, which takes about 60 ns each. Powers of float32 are computed in
float64, with short polynomials.
"""


def report(names: Sequence[str]) -> str:
    """The tables as Markdown."""
    versions = [f"NumPy {np.__version__}"]
    versions += [
        f"{title} {importlib.import_module(module).__version__}"
        for title, module in (("SciPy", "scipy"), ("numba", "numba"), ("JAX", "jax"))
        if importlib.util.find_spec(module)
    ]
    sg.set_num_threads(1)
    load = f"; {os.getloadavg()[0]:.1f} other processes at work" if hasattr(os, "getloadavg") else ""
    machine = f"{processor()}; Python {platform.python_version()}, {', '.join(versions)}{load}."
    lines = [INTRODUCTION.format(machine=machine)]
    for dtype in ("float64", "float32"):
        rows, columns = [], ("symgraph", "libm", "NumPy", "JAX")
        for name in names:
            print(name, dtype, file=sys.stderr)
            found = measure(name, dtype)
            cells = [f"{_ulp(found[c][0])} · {significant(found[c][1])}" if c in found else "" for c in columns]
            rows.append([f"{name} (≤ {CASES[name].ulp:g})", *cells])
        lines += [f"## {dtype}", "", table(["ulp · ns", *columns], rows), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    page = report(sys.argv[1:] or list(CASES))
    if sys.argv[1:]:
        print(page)
    else:
        (Path(__file__).parent.parent / "docs" / "accuracy.md").write_text(page, "utf-8")

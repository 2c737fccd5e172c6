"""Elementary functions of kernels: errors against mpmath, special values (C99), the same bits, vector code."""

from __future__ import annotations

import functools
import itertools
import re
from typing import Any

import numpy as np
import pytest
from support import without_loops

import symgraph as sg
from benchmarks import coefficients
from benchmarks.accuracy import BINARY, CASES, calling_libm, compiled, errors, exact_values, samples, sizes
from compiler import vector_math
from compiler.program import Const, Primitive
from compiler.vector_math import tables
from symgraph.op import REGISTRY

DTYPES = ("float64", "float32")
run = functools.cache(compiled)
UNARY = [name for name in CASES if name not in BINARY]
inf, nan = np.inf, np.nan


def test_every_function_is_measured() -> None:
    assert set(CASES) == {*vector_math.FUNCTIONS, "sqrt", "sigmoid", "softplus", "logaddexp", "logaddexp2"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_error(name: str, dtype: str) -> None:
    arguments = samples(name, dtype, 150, seed=7)
    with np.errstate(all="ignore"):
        exact = exact_values(name, arguments)
        found = errors(run(name, dtype)(*arguments), exact, sizes(name, arguments, exact))
    worst = int(np.argmax(found))
    assert found[worst] <= CASES[name].ulp, f"{found[worst]} ulp at {[a[worst] for a in arguments]}"


@pytest.mark.parametrize("name", [name for name in UNARY if hasattr(np, CASES[name].row) and name != "sqrt"])
def test_error_of_many(name: str) -> None:
    """float32 against NumPy's float64: numbers of all sizes, and many where functions bend."""
    rng = np.random.default_rng(3)
    pattern = np.arange(0, 0x7F800000, 2**13 + 1, dtype=np.int64).astype(np.uint32)
    x = np.concatenate([pattern, pattern | np.uint32(1 << 31)]).view(np.float32)
    x = np.concatenate([x, *(rng.uniform(-top, top, 200_000).astype(np.float32) for top in (1.2, 12.0))])
    if name in ("sin", "cos", "tan"):
        x = x[abs(x) < 1e5]
    with np.errstate(all="ignore"):
        exact = getattr(np, CASES[name].row)(x.astype(np.float64))
        found, near = run(name, "float32")(x), exact.astype(np.float32)
    assert np.array_equal(np.isnan(found), np.isnan(near)) and np.array_equal(np.isinf(found), np.isinf(near))
    finite = np.isfinite(near)
    unit = np.exp2(np.maximum(np.frexp(exact[finite])[1] - 1, -126) - 23.0)
    error = abs(found[finite].astype(np.float64) - exact[finite]) / unit
    assert error.max() <= CASES[name].ulp, f"{error.max()} ulp at {x[finite][error.argmax()]!r}"


def test_errors_are_counted_in_units_of_the_last_place() -> None:
    exact = exact_values("exp", [np.array([0.0, -1e300, 1e300, 1e300])])
    with np.errstate(all="ignore"):
        found = errors(np.array([1 + 3 * 2.0**-52, 5e-324, inf, 1.0]), exact)
    assert found[:3].tolist() == [3.0, 1.0, 0.0]
    assert found[3] > 2.0


# -- special values (C99, annex F) ------------------------------------------------------------------------------------

ODD = ("sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "expm1", "log1p", "erf", "cbrt")
SPECIAL: dict[str, list[tuple[float, float]]] = {
    "sqrt": [(0.0, 0.0), (-0.0, -0.0), (4, 2), (inf, inf), (-1, nan), (-inf, nan)],
    "sigmoid": [(0.0, 0.5), (-0.0, 0.5), (inf, 1), (-inf, 0), (1000, 1), (-1000, 0)],
    "softplus": [(inf, inf), (-inf, 0), (1000, 1000), (-1000, 0), (1e30, 1e30)],
    "exp": [(0.0, 1), (-0.0, 1), (inf, inf), (-inf, 0), (1000, inf), (-1000, 0)],
    "exp2": [(0.0, 1), (-0.0, 1), (inf, inf), (-inf, 0), (10, 1024), (-3, 0.125), (2000, inf), (-2000, 0)],
    "expm1": [(inf, inf), (-inf, -1), (1000, inf), (-1000, -1)],
    "log": [(1, 0), (0.0, -inf), (-0.0, -inf), (-1, nan), (inf, inf), (-inf, nan)],
    "log2": [(1, 0), (8, 3), (0.125, -3), (0.0, -inf), (-0.0, -inf), (-1, nan), (inf, inf), (-inf, nan)],
    "log10": [(1, 0), (10, 1), (1000, 3), (1e10, 10), (0.0, -inf), (-0.0, -inf), (-1, nan), (inf, inf), (-inf, nan)],
    "log1p": [(-1, -inf), (-2, nan), (inf, inf), (-inf, nan)],
    "sin": [(inf, nan), (-inf, nan)],
    "cos": [(0.0, 1), (-0.0, 1), (inf, nan), (-inf, nan)],
    "tan": [(inf, nan), (-inf, nan)],
    "sinh": [(inf, inf), (-inf, -inf), (1000, inf), (-1000, -inf)],
    "cosh": [(0.0, 1), (-0.0, 1), (inf, inf), (-inf, inf), (1000, inf), (-1000, inf)],
    "tanh": [(inf, 1), (-inf, -1), (1000, 1), (-1000, -1)],
    "erf": [(inf, 1), (-inf, -1), (30, 1), (-30, -1)],
    "erfc": [(0.0, 1), (-0.0, 1), (inf, 0), (-inf, 2), (30, 0), (-30, 2)],
    "cbrt": [(inf, inf), (-inf, -inf), (27, 3), (-8, -2), (1, 1)],
    "asin": [(2, nan), (-2, nan), (inf, nan)],
    "acos": [(1, 0), (2, nan), (-2, nan), (inf, nan)],
    "atan": [],
    "asinh": [(inf, inf), (-inf, -inf)],
    "acosh": [(1, 0), (0.5, nan), (-1, nan), (inf, inf), (-inf, nan)],
    "atanh": [(1, inf), (-1, -inf), (2, nan), (-2, nan), (inf, nan)],
}


def same(found: Any, wanted: Any) -> bool:
    """Equal in value and sign, or both nan."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    return bool(
        np.all(((found == wanted) & (np.signbit(found) == np.signbit(wanted))) | (np.isnan(found) & np.isnan(wanted)))
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_special_values(name: str, dtype: str) -> None:
    smallest = float(np.finfo(dtype).smallest_subnormal)
    kept = (0.0, -0.0, smallest, -smallest, 3 * smallest)[: 2 if name == "cbrt" else None] if name in ODD else ()
    table = np.array([*SPECIAL[name], (nan, nan), *((x, x) for x in kept)], dtype)
    arguments, wanted = np.ascontiguousarray(table[:, 0]), table[:, 1]
    found = run(name, dtype)(arguments)
    wrong = [(x, y, w) for x, y, w in zip(arguments, found, wanted, strict=True) if not same(y, w)]
    assert not wrong


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "name", ["sin", "cos", "tan", "asin", "acos", "atan", "exp", "log", "cbrt", "sqrt", "softplus"]
)
def test_subnormal_numbers(name: str, dtype: str) -> None:
    steps = np.array([1, 2, 3, 5, 1000, 2**20 + 1], np.int64) * float(np.finfo(dtype).smallest_subnormal)
    arguments = steps.astype(dtype)
    assert errors(run(name, dtype)(arguments), exact_values(name, [arguments])).max() <= 2.0


@pytest.mark.parametrize(("dtype", "low", "high"), [("float64", -745.2, -707.0), ("float32", -104.0, -86.0)])
@pytest.mark.parametrize("name", ["exp", "sigmoid", "softplus"])
def test_exponentials_underflow_gradually(name: str, dtype: str, low: float, high: float) -> None:
    arguments = np.linspace(low, high, 400).astype(dtype)
    found = run(name, dtype)(arguments)
    assert errors(found, exact_values(name, [arguments])).max() <= 2.0
    assert 0 < np.count_nonzero((found > 0) & (found < np.finfo(dtype).tiny)) < 400


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BINARY)
def test_special_pairs(name: str, dtype: str) -> None:
    """As the C library has them."""
    smallest, largest = float(np.finfo(dtype).smallest_subnormal), float(np.finfo(dtype).max)
    numbers = [0.0, smallest, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 2.0**24 + 2, 2.0**53, largest, inf]
    grid = np.array(list(itertools.product([*numbers, *(-n for n in numbers), nan], repeat=2)), dtype)
    x, y = np.ascontiguousarray(grid[:, 0]), np.ascontiguousarray(grid[:, 1])
    found = run(name, dtype)(x, y)
    with calling_libm():
        wanted = compiled(name, dtype)(x, y)
    kinds = [(np.isnan(v), np.isinf(v), v == 0, np.signbit(v) & ~np.isnan(v)) for v in (found, wanted)]
    for ours, theirs in zip(*kinds, strict=True):
        assert not np.any(ours != theirs), [(a, b) for a, b, bad in zip(x, y, ours != theirs, strict=True) if bad]
    finite = np.isfinite(wanted)
    largest_part = abs(wanted[finite])
    if CASES[name].part is not None:
        larger = np.maximum(x, y)[finite]
        largest_part = np.maximum(largest_part, np.maximum(abs(larger), abs(wanted[finite] - larger)))
    steps = abs(np.nextafter(largest_part, np.zeros(1, dtype)) - largest_part)
    assert np.all(abs(found[finite] - wanted[finite]) <= CASES[name].ulp * steps)


@pytest.mark.parametrize(("dtype", "low"), [("float64", 2.3190468138462996e-17), ("float32", -1.9046542e-09)])
def test_the_logarithm_of_two_halves_keeps_its_digits(dtype: str, low: float) -> None:
    half = np.full(3, -np.log(np.longdouble(2)), dtype)
    np.testing.assert_allclose(run("logaddexp", dtype)(half, half), np.full(3, low), rtol=1e-6)


def test_whole_powers_are_exact() -> None:
    bases, exponents = (a.ravel().astype(float) for a in np.meshgrid(np.arange(1, 16), np.arange(0, 13)))
    assert run("pow", "float64")(bases, exponents).tolist() == [
        int(b) ** int(e) for b, e in zip(bases, exponents, strict=True)
    ]


# -- large angles -----------------------------------------------------------------------------------------------------

ANGLES = np.array(
    [1e22, 2.0**1023, 1.7976931348623157e308, 6381956970095103.0 * 2.0**797, -5.0e9, 2.0**30, 2.0**30 + 1]
)
"""The fourth is the float64 nearest to a multiple of pi/2 (Muller, "Elementary Functions", 11.3)."""


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_large_angles(name: str) -> None:
    assert errors(run(name, "float64")(ANGLES), exact_values(name, [ANGLES])).max() <= 2.0


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_one_large_angle_changes_no_other_bit(name: str) -> None:
    x = np.random.default_rng(0).uniform(-1e6, 1e6, 1001)
    near = run(name, "float64")(x)
    x[500] = 1e300
    far = run(name, "float64")(x)
    assert np.delete(near, 500).tobytes() == np.delete(far, 500).tobytes()
    assert far[500] != near[500]


def test_loops_that_cannot_run_again_take_large_angles() -> None:
    """A sum that goes on from what is there, and a check that must not fail for what a loop computes at first."""
    x = sg.placeholder("x", shape=("n",), dtype="float64")
    angles = np.array([1e22, 0.5, 1e300])
    sines = np.sin(angles)
    total = sg.compile(np.sum(np.sin(x)))
    assert abs(total(x=angles) - sines.sum()) < 1e-15
    table = sg.placeholder("table", shape=("m",), dtype="float64")
    index = sg.placeholder("index", shape=("n",), dtype="int64")
    taken = sg.compile(np.sin(x) * table[index])
    assert np.allclose(taken(x=angles, table=np.ones(4), index=np.array([0, 1, 3])), sines, rtol=1e-15)
    with pytest.raises(IndexError):
        taken(x=angles, table=np.ones(4), index=np.array([0, 1, 4]))


# -- the same bits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_a_formula_over_numbers_gives_the_bits_of_a_loop(name: str, dtype: str) -> None:
    """Vectorised, in the rest of the loop, and called."""
    arguments = [a[:: max(1, len(a) // 40)][:37] for a in samples(name, dtype, 40, seed=3)]
    arguments = [np.ascontiguousarray(a) for a in arguments]
    many = run(name, dtype)(*arguments)
    names = ("x", "y")[: len(arguments)]
    one = sg.compile(REGISTRY[CASES[name].row](*(sg.placeholder(n, shape=(), dtype=dtype) for n in names)))
    with np.errstate(all="ignore"):
        single = np.array(
            [one(**dict(zip(names, point, strict=True))) for point in zip(*arguments, strict=True)], dtype
        )
    assert many.tobytes() == single.tobytes()


def test_no_operation_is_left_to_the_machine() -> None:
    """Rules use arithmetic that is rounded once by definition, and call nothing."""
    exact = {
        "add",
        "sub",
        "mul",
        "div",
        "neg",
        "fma",
        "sqrt",
        "rint",
        "fabs",
        "copysign",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "and",
        "or",
        "xor",
        "not",
        "shl",
        "shr",
        "select",
        "cast",
        "bitcast",
    }
    rules = [vector_math.record_reduction()]
    for name, function in vector_math.FUNCTIONS.items():
        rules += [vector_math.record(name, np.dtype(dtype), 2 if name in BINARY else 1) for dtype in DTYPES]
        rules += [vector_math.record_far(name)] if function.far is not None else []
    for rule in rules:
        assert all(isinstance(s, Const) or (isinstance(s, Primitive) and s.name in exact) for s in rule.body)


def test_no_flag_lets_the_compiler_change_arithmetic() -> None:
    x = sg.placeholder("x", shape=("n",), dtype="float64")
    function = sg.compile(np.tanh(x) + np.sin(x))
    function(x=np.ones(3))
    assert not re.search(r"\bf(add|sub|mul|div|neg)\s+(fast|contract|reassoc|arcp|afn|nnan|ninf|nsz)", function.llvm)


# -- vector code ------------------------------------------------------------------------------------------------------


def packed(text: str, letter: str) -> int:
    """How many instructions of an assembly text compute on several numbers at once."""
    x86 = re.findall(rf"\bv?(?:fmadd|fnmadd|mul|add|sub)\w*p{letter}\b", text)
    arm = re.findall(rf"\b(?:fmla|fmls|fmul|fadd|fsub)\s+v\d+\.(?:{'2d' if letter == 'd' else '4s'})", text)
    return len(x86) + len(arm)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in CASES if name != "sqrt"])
def test_loops_compute_several_elements_at_once(name: str, dtype: str) -> None:
    symbols = [sg.placeholder(n, shape=("n",), dtype=dtype) for n in ("x", "y")[: 2 if name in BINARY else 1]]
    function = sg.compile(REGISTRY[CASES[name].row](*symbols))
    function(**{s.name: np.ones(3, dtype) for s in symbols})
    assert packed(function.asm, "d") + packed(function.asm, "s") >= 10


@pytest.mark.parametrize("dtype", DTYPES)
def test_several_functions_with_far_arguments_in_one_loop(dtype: str) -> None:
    """Each vector with a far argument is computed again, one element after the other; the loop stays one of vectors."""
    x = sg.placeholder("x", shape=("n",), dtype=dtype)
    function = sg.compile(np.sin(np.cos(x) * 3.0) + np.sin(x))
    near = np.linspace(-3, 3, 101).astype(dtype)
    tolerance = 1e-14 if dtype == "float64" else 1e-5
    for values in (near, np.append(near, np.array([1e30, np.inf, np.nan], dtype))):
        with np.errstate(invalid="ignore"):
            wanted = np.sin(np.cos(values) * 3.0) + np.sin(values)
        np.testing.assert_allclose(function(x=values), wanted, rtol=tolerance, atol=tolerance)
    assert packed(function.asm, "d") + packed(function.asm, "s") >= 30


def test_long_bodies_call() -> None:
    """A region does not take in more than it can compile in reasonable time, and gives the same."""
    x = sg.placeholder("x", shape=("n",), dtype="float64")
    y = x
    for k in range(60):
        y = np.exp(y * 0.01 * (k + 1) - 1.0)
    function = sg.compile(y)
    with without_loops():  # which would make the body short
        found = function(x=np.array([0.25, 0.5, 0.75]))
    assert "_inline" not in function.llvm and "exp_v8f64" in function.llvm
    value = np.array([0.25, 0.5, 0.75])
    for k in range(60):
        value = np.exp(value * 0.01 * (k + 1) - 1.0)
    assert np.allclose(found, value, rtol=1e-14)


# -- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["LN2", "LN2_SHORT", "PI_32", "EXP_32", "LOG", "TWO_OVER_PI"])
def test_tables_are_what_the_generator_makes(name: str) -> None:
    numbers, error = coefficients.entry(name)
    assert tuple(float(n) for n in numbers) == getattr(tables, name)
    assert error < 0.25


def test_the_generator_knows_every_table() -> None:
    assert set(coefficients.TABLES) == {name for name in vars(tables) if name.isupper()}

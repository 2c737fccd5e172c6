"""Fixed powers: how exact products of x are, and that they have NumPy's values where numbers end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
from compiler.graph import Graph
from compiler.passes import optimise
from compiler.specialise import ArgumentType, specialise
from symgraph.expr import Expr, toposort
from symgraph.ops import elementwise as ew

EXPONENTS = (2, 3, 4, 5, 6, 7, 8, 9, 15, 20, 33, 64)
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 5e-324, -5e-324, 1e-20, 1e20, -1e20, 1e300, -1e-300, 1.7e308]


def powers(dtype: str) -> Any:
    x = sg.placeholder("x", shape=("n",), dtype=dtype)
    return sg.compile([x**n for n in EXPONENTS])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_powers_are_exact_to_their_last_digits(dtype: str) -> None:
    mpmath = pytest.importorskip("mpmath")
    x = np.random.default_rng(0).uniform(0.5, 2, 300).astype(dtype)
    x[::3] *= -1
    with mpmath.workprec(4000):
        for n, result in zip(EXPONENTS, powers(dtype)(x=x), strict=True):
            worst = 0.0
            for value, got in zip(x, result, strict=True):
                exact = mpmath.mpf(float(value)) ** n
                unit = float(np.spacing(np.abs(np.dtype(dtype).type(exact))))
                worst = max(worst, float(abs(mpmath.mpf(float(got)) - exact)) / unit)
            assert worst <= (1 if n >= 8 else 0.5 * n), n


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_powers_where_numbers_end(dtype: str) -> None:
    with np.errstate(all="ignore"):
        x = np.array(SPECIAL, dtype)
        for n, result in zip(EXPONENTS, powers(dtype)(x=x), strict=True):
            expected = np.power(x, n)
            np.testing.assert_allclose(result, expected, rtol=1e-5 if dtype == "float32" else 1e-14, atol=0)
            assert np.array_equal(np.signbit(result), np.signbit(expected)) or np.isnan(expected).any()


def test_powers_between_the_largest_number_and_infinity() -> None:
    f = sg.compile(sg.placeholder("x") ** 16)
    edge = np.finfo(float).max ** (1 / 16)
    for x in (edge * (1 - 1e-15), edge * (1 + 1e-13), -edge * (1 + 1e-13)):
        with np.errstate(over="ignore"):
            assert f(x=x) == pytest.approx(np.power(x, 16), rel=1e-14)


def test_powers_of_a_polynomial_are_shared() -> None:
    x: Expr = sg.placeholder("x")
    outputs = [sum((k + 0.5) * x**k for k in range(21))]
    typed = specialise(outputs, [x], {"x": ArgumentType(np.dtype("f8"), False, (None,))})  # type: ignore[arg-type]
    order = toposort(optimise(typed.graph).outputs)
    assert not any(node.op is ew.pow for node in order)
    assert len(order) < 21 * 10
    assert len(Graph(outputs)) > 60


def test_the_slope_of_a_root_needs_no_power() -> None:
    x = sg.placeholder("x")
    (slope,) = sg.grad(x**0.5, [x])
    assert sum(node.op is ew.pow for node in toposort([slope])) == 1  # the root itself
    assert sg.compile(slope)(x=4.0) == 0.25
    assert sg.compile(slope)(x=0.0) == np.inf

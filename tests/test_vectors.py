"""Which loop vectors run along, what lies side by side for it, and loops whose loads may miss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from formulas import FORMULAS
from support import run_text

import symgraph as sg
from compiler import interpret
from compiler.account import loops
from compiler.program import Loop, Primitive, Region
from symgraph.expr import toposort


def regions(function: Any) -> list[Region]:
    return [s for s in function.variants()[0][1].program.steps if isinstance(s, Region)]


def around(function: Any, primitive: str) -> list[tuple[Loop, ...]]:
    """The loops around each statement of a primitive."""
    found = [loops(r.items) for r in regions(function)]
    return [inside for part in found for s, inside in part if isinstance(s, Primitive) and s.name == primitive]


def distances(shape: tuple[Any, ...] | None, points: Any) -> Any:
    x = sg.placeholder("x", shape=shape, dtype="float64")
    d = x[:, None, :] - x[None, :, :]
    function = sg.compile(np.sum(np.sqrt(np.sum(d * d, axis=2) + 0.5)))
    function.value_and_grad(x=points)
    return function


@pytest.mark.parametrize("shape", [("n", 3), ("n", "d")])
def test_vectors_run_along_the_long_axis(shape: tuple[Any, ...]) -> None:
    points = np.random.default_rng(0).normal(size=(300, 3))
    function = distances(shape, points)
    lanes = [[loop.lanes for loop in inside] for inside in around(function, "sub")]
    assert lanes and all(outer == 1 and middle > 1 and inner == 1 for outer, middle, inner in lanes)
    (text,) = [part for part in function.llvm.split("\n\n") if "_region0(" in part.partition("\n")[0]]
    assert "masked.gather" not in text and "masked.scatter" not in text
    value, slopes = function.value_and_grad(x=points)
    d = points[:, None] - points[None]
    r = np.sqrt(np.sum(d * d, axis=2) + 0.5)
    np.testing.assert_allclose(value, np.sum(r), rtol=1e-13)
    np.testing.assert_allclose(slopes["x"], 2 * np.sum(d / r[:, :, None], axis=1), rtol=1e-11, atol=1e-11)


def test_vectors_stay_along_a_short_axis_where_nothing_can_be_moved() -> None:
    """Each element of x is read once, so it would have to be collected."""
    x, w = (sg.placeholder(n, shape=s, dtype="float64") for n, s in (("x", ("n", "m", 3)), ("w", ("m", 3))))
    function = sg.compile(np.sum(x * w, axis=2))
    function(x=np.ones((300, 300, 3)), w=np.ones((300, 3)))
    assert [inside[-1].lanes > 1 for inside in around(function, "mul")] == [True]


def test_there_are_more_lanes_where_their_sums_lie_in_memory() -> None:
    points = np.random.default_rng(0).normal(size=(300, 3))
    function = distances(("n", "d"), points)
    assert [inside[-2].lanes for inside in around(function, "sub")] == [16, 32]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["pulls", "every_other", "distances"])
def test_values_for_every_length(name: str, dtype: str) -> None:
    formula = FORMULAS[name]
    outputs = formula.build(dtype)
    function = sg.compile(outputs)
    tolerance = 1e-11 if dtype == "float64" else 2e-4
    for n, m in ((0, 3), (1, 1), (2, 1), (5, 7), (8, 16), (33, 65), (70, 31)):
        data = formula.data({"n": n, "m": m, "k": 3}, dtype)
        for got, wanted in zip(function(**data), interpret(outputs, data), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance, err_msg=f"{n}, {m}")


def test_what_belongs_to_columns_is_computed_once_for_all_rows() -> None:
    x, w = sg.placeholder("x", shape=("n", "m"), dtype="float64"), sg.placeholder("w", shape=("m",), dtype="float64")
    for formula in (x * np.exp(w), x - np.exp(w).reshape(1, -1), np.sum(np.exp(w) * x, axis=1)):
        function = sg.compile(formula)
        function(x=np.ones((40, 30)), w=np.ones(30))
        assert [len(inside) for inside in around(function, "exp")] == [1]


def test_what_belongs_to_rows_is_computed_where_it_is_wanted() -> None:
    x, w = sg.placeholder("x", shape=("n", "m"), dtype="float64"), sg.placeholder("w", shape=("n",), dtype="float64")
    function = sg.compile(x * np.exp(w)[:, None])
    function(x=np.ones((40, 30)), w=np.ones(40))
    (region,) = regions(function)
    assert not region.tiles


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_neighbours_of_arrays_of_every_length(dtype: str) -> None:
    x, w = (sg.placeholder(n, shape=("n",), dtype=dtype) for n in "xw")
    y = np.sum(w[1:-1] * (x[2:] - x[1:-1]) - w[:-2] * x[:-2] + (x[5:] * w[5:])[:1].sum())
    slopes = sg.grad(y, [x, w])
    function = sg.compile(slopes, fma=False)
    rng = np.random.default_rng(1)
    for n in (*range(2, 70), 127, 128, 129, 1000):
        data = {name: rng.normal(size=n).astype(dtype) for name in "xw"}
        for got, wanted in zip(function(**data), interpret(slopes, data), strict=True):
            np.testing.assert_array_equal(got, wanted, err_msg=str(n))


@pytest.mark.parametrize("shape", [(3, 1, 2), (3, 3, 3), (4, 3, 17), (3, 9, 64), (5, 4, 70), (3, 3, 257)])
def test_neighbours_along_three_axes(shape: tuple[int, ...]) -> None:
    formula = FORMULAS["stencil"]
    outputs = formula.build("float64")
    data = {"x": np.random.default_rng(2).normal(size=shape)}
    for got, wanted in zip(sg.compile(outputs)(**data), interpret(outputs, data), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-13)


def test_steps_between_the_ends_ask_for_no_neighbours() -> None:
    x = sg.placeholder("x", shape=("n",), dtype="float64")
    function = sg.compile(sg.grad(np.sum(x[1:] * x[:-1] ** 2), [x]))
    function(x=np.ones(100))
    inner = [part for part in function.llvm.split("\n\n") if "masked.load" in part]
    assert inner and any("call i64 @llvm.smax" in part for part in inner)


def test_long_sums_of_float32_add_as_the_source_says() -> None:
    x = sg.placeholder("x", shape=("n", "m"), dtype="float32")
    function = sg.compile([np.sum(x), np.sum(x * x)], fma=False)
    for shape in ((3, 5001), (4500, 1), (40, 130)):
        data = {"x": np.random.default_rng(3).normal(size=shape).astype(np.float32)}
        chosen = sg.compile([np.sum(x), np.sum(x * x)], fma=False)
        for got, wanted in zip(chosen(**data), run_text(chosen, data), strict=True):
            np.testing.assert_array_equal(got, wanted)
        assert [np.asarray(r).tobytes() for r in function(**data)] == [np.asarray(r).tobytes() for r in chosen(**data)]


@pytest.mark.parametrize("size", [10**6, 3 * 10**6 + 1])
def test_long_sums_of_float32_are_accurate(size: int) -> None:
    x = sg.placeholder("x", shape=("n",), dtype="float32")
    function = sg.compile(np.sum(x))
    rng = np.random.default_rng(4)
    # equal numbers are rounded to the same side in every step of a run
    for values, bound in (
        (rng.random(size), 2.0**-24),
        (rng.normal(size=size), 2.0**-24),
        (np.full(size, 0.1), 2.0**-22),
    ):
        given = values.astype(np.float32)
        exact, magnitude = np.sum(given, dtype=np.float64), np.sum(np.abs(given), dtype=np.float64)
        assert abs(float(function(x=given)) - exact) <= bound * magnitude


def test_slopes_of_extrema_are_in_the_dtype_of_the_values() -> None:
    x = sg.placeholder("x")
    function = sg.compile(np.sum(np.max(x, axis=1) ** 2))
    _, slopes = function.value_and_grad(x=np.asarray([[1, 2, 2], [3, 1, 0]], np.float32))
    np.testing.assert_array_equal(slopes["x"], np.asarray([[0, 2, 2], [6, 0, 0]], np.float32), strict=True)
    wide = [v.steps[-1].outputs for _, v in function.variants()]
    arrays = [n for outputs in wide for n in toposort(outputs) if n.type.shape and n.type.dtype is not None]
    assert arrays and not [n for n in arrays if n.type.dtype == np.float64]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_extrema_of_rows_and_columns_know_every_nan(dtype: str) -> None:
    x = sg.placeholder("x", shape=("n", "m"), dtype=dtype)
    function = sg.compile([f(x, axis=axis) for f in (np.max, np.min) for axis in (0, 1, None)])
    given = np.random.default_rng(5).normal(size=(5, 83)).astype(dtype)
    given[3:] = [[-np.inf], [np.inf]]
    for place in (*range(83), None):
        data = given.copy()
        if place is not None:
            data[place % 5, place] = np.nan
        wanted = [f(data, axis=axis) for f in (np.max, np.min) for axis in (0, 1, None)]
        for got, expected in zip(function(x=data), wanted, strict=True):
            np.testing.assert_array_equal(got, expected, strict=True)
    assert "llvm.maximum" not in function.llvm  # it takes twice as many instructions, each waiting for the one before

"""Kernels called from functions that Numba compiles."""

from __future__ import annotations

import gc
import warnings
from typing import Any

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

import symgraph as sg

rng = np.random.default_rng(0)
a, b, x, w = (sg.placeholder(name) for name in "abxw")

successor: Any = None

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "numbers": (a * b + np.sin(a), {"a": 2.0, "b": 3.0}),
    "weak and typed numbers": ([a * b, a < b], {"a": np.float32(2.0), "b": 3}),
    "bools": (np.where(a, b, -b), {"a": True, "b": 2.5}),
    "an array": (np.exp(x) * 2, {"x": rng.normal(size=7)}),
    "several": ([np.sum(x, axis=0), x.T, x * 2, np.max(x)], {"x": rng.normal(size=(4, 5))}),
    "the same twice": ([x + 1, x + 1, (x + 1).reshape(-1)], {"x": rng.normal(size=(4, 5))}),
    "broadcast": (x * w + a, {"x": rng.normal(size=(4, 1)), "w": rng.normal(size=5), "a": 1.5}),
    "a product": (x @ w, {"x": rng.normal(size=(40, 50)), "w": rng.normal(size=(50, 30))}),
    "constants": (x + np.arange(5.0), {"x": rng.normal(size=5)}),
    "filled": (np.ones_like(x) * a, {"x": rng.normal(size=(2, 3)), "a": 4.0}),
    "gather": (sg.take(x, a), {"x": rng.normal(size=6), "a": 3}),
    "float32": (sg.softmax(x), {"x": rng.normal(size=(3, 4)).astype(np.float32)}),
    "without arguments": (sg.constant(2.0) * 3, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_values_are_those_of_the_function(case: str) -> None:
    formula, values = CASES[case]
    function = sg.compile(formula)
    order = [values[name] for name in function.signature.names]
    wanted = function(**values)
    got = function.njit(*order)(*order)
    if not isinstance(wanted, list):
        wanted, got = [wanted], [got]
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(one, other)
        assert not other.ndim or one.dtype == other.dtype  # Numba hands numbers out as Python's
    arrays = [one for one in got if isinstance(one, np.ndarray)]
    assert not any(np.shares_memory(p, q) for k, p in enumerate(arrays) for q in arrays[:k])


def test_gradients() -> None:
    function = sg.compile(np.sum(x**2 * a), inputs=[x, a])
    value = rng.normal(size=5)
    known, grads = function.value_and_grad(value, 2.0)
    both = function.njit(value, 2.0, what="value_and_grad")(value, 2.0)
    alone = function.njit(value, 2.0, what="grad")(value, 2.0)
    assert (both[0], both[2], alone[1]) == (known, grads["a"], grads["a"])
    np.testing.assert_array_equal(both[1], grads["x"])
    np.testing.assert_array_equal(alone[0], grads["x"])


def test_one_kernel_serves_all_sizes_strides_and_numbers_that_convert() -> None:
    formula = sg.compile(np.sum(x * a), inputs=[x, a]).njit(np.ones(3), 2.0)
    for array in (np.arange(9.0), np.arange(20.0)[::2], np.empty(0), np.arange(4.0)[::-1]):
        assert formula(array, 3) == formula(array, np.float32(3)) == np.sum(array * 3)


def test_a_loop_keeps_its_kernel_when_all_else_is_dropped() -> None:
    def loop() -> Any:
        formula = sg.compile(a * a + b, inputs=[a, b]).njit(1.0, 1.0)

        @numba.njit
        def run(count: int) -> float:
            total = 0.0
            for k in range(count):
                total += formula(float(k), 1.0)
            return total

        run(1)
        return run

    run = loop()
    gc.collect()
    assert run(1000) == sum(k * k + 1 for k in range(1000))


def test_sizes_that_do_not_fit_raise() -> None:
    n = sg.placeholder("n", shape=("k", 3))
    formula = sg.compile(x + n, inputs=[x, n]).njit(np.ones((2, 3)), np.ones((2, 3)))
    np.testing.assert_array_equal(formula(np.ones((4, 3)), np.ones((4, 3))), np.full((4, 3), 2.0))
    for left, right in (((4, 3), (5, 3)), ((1, 3), (4, 3)), ((4, 2), (4, 3)), ((4, 3), (4, 2))):
        with pytest.raises(ValueError, match=r"axis|shapes"):
            formula(np.ones(left), np.ones(right))


def test_an_index_out_of_bounds_raises() -> None:
    formula = sg.compile(sg.take(x, a), inputs=[x, a]).njit(np.ones(3), 1)
    assert formula(np.arange(5.0), 4) == 4
    with pytest.raises(IndexError, match="bounds"):
        formula(np.ones(3), 3)


@pytest.mark.parametrize("wrong", [(1.5, 2.0), (np.ones(2), 2), (np.ones((2, 2)), 2.0), (np.ones(2, np.float32), 2.0)])
def test_types_that_do_not_fit_are_refused(wrong: tuple[Any, ...]) -> None:
    formula = sg.compile(x * b, inputs=[x, b]).njit(np.ones(2), True)
    with pytest.raises(TypingError, match=r"argument '[xb]' is .*expected"):
        formula(*wrong)


def test_wrong_examples_raise() -> None:
    function = sg.compile(x * b)
    with pytest.raises(sg.ArgumentError, match="x, b"):
        function.njit(1.0)
    with pytest.raises(sg.ArgumentError, match="'values'"):
        function.njit(1.0, 2.0, what="values")
    with pytest.raises(sg.InputError, match="'x'"):
        function.njit("text", 2.0)


def test_numba_keeps_no_address_on_disk(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setitem(globals(), "successor", sg.compile(a + 1).njit(1.0))

    @numba.njit(cache=True)
    def twice(value: float) -> float:
        return successor(successor(value))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert twice(1.0) == 3
    assert any("dynamic globals" in str(one.message) for one in caught)
    assert not list(tmp_path.rglob("*.nbc"))

"""Loops as they run: long ones, on several threads, in several threads of Python, pickled."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np
import pytest
from control_cases import mandelbrot

import symgraph as sg
from symgraph.errors import OutOfBoundsError


def test_ten_million_rounds() -> None:
    """The logistic map, to the bit where it is computed without a fused multiply-add."""
    r, n = sg.placeholder("r"), sg.placeholder("n")
    f = sg.compile(sg.fori_loop(0, n, lambda i, s: r * s * (1 - s), 0.5), fma=False)
    s = 0.5
    for _ in range(1000):
        s = 3.7 * s * (1 - s)
    assert f(r=3.7, n=1000) == s
    assert 0 < f(r=3.7, n=10_000_000) < 1
    assert f(r=2.0, n=10_000_000) == 0.5


def test_a_million_rounds_and_their_gradient() -> None:
    x, n = sg.placeholder("x"), sg.placeholder("n")
    f = sg.compile(sg.while_loop(lambda s: s[1] < n, lambda s: (s[0] + x / n, s[1] + 1), (0.0, 0))[0], wrt=[x])
    value, grads = f.value_and_grad(x=3.0, n=1_000_000)
    np.testing.assert_allclose([value, grads["x"]], [3.0, 1.0], rtol=1e-9)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_rounds_in_any_order_give_the_same_bits(threads: int) -> None:
    """Values, and gradients, which are summed over the rounds."""
    c, w = sg.placeholder("c"), sg.placeholder("w")
    counts = sg.map(lambda c: mandelbrot(c[0], c[1]), c)
    rows = sg.map(lambda c: np.sin(c * w).sum() * np.exp(w[0]), c)
    f = sg.compile([counts, rows, *sg.grad(np.sum(rows), [c, w])])
    rng = np.random.default_rng(0)
    values = {"c": rng.uniform(-2, 1, (20_000, 2)), "w": rng.uniform(0.5, 1.5, 2)}
    before = sg.get_num_threads()
    try:
        sg.set_num_threads(1)
        wanted = f(**values)
        sg.set_num_threads(threads)
        for _ in range(3):
            for a, b in zip(f(**values), wanted, strict=True):
                assert a.tobytes() == b.tobytes()
    finally:
        sg.set_num_threads(before)


def test_several_threads_call_at_once() -> None:
    """Functions with loops, branches and errors, each thread with its own arguments."""
    x, n, k = sg.placeholder("x"), sg.placeholder("n"), sg.placeholder("k")
    y = sg.fori_loop(0, n, lambda i, s: sg.cond(s.sum() > 100, lambda: s / 4, lambda: s * x), x)
    f = sg.compile(y + x[k], [x, n, k], wrt=[x])
    wrong: list[Any] = []

    def work(seed: int) -> None:
        values = np.random.default_rng(seed).uniform(1, 2, 50 + seed)
        first = [f(x=values, n=seed, k=seed), f.grad(x=values, n=seed, k=seed)["x"]]
        for _ in range(50):
            again = [f(x=values, n=seed, k=seed), f.grad(x=values, n=seed, k=seed)["x"]]
            if any(a.tobytes() != b.tobytes() for a, b in zip(first, again, strict=True)):
                wrong.append(seed)
            try:
                f(x=values, n=seed, k=1000)
                wrong.append(f"{seed}: no error")
            except OutOfBoundsError:
                pass

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_pickled() -> None:
    """Formulas and functions with loops in loops, in branches, with constants."""
    x, p = sg.placeholder("x"), sg.placeholder("p")
    table = sg.constant(np.arange(4.0))
    y = sg.cond(
        p,
        lambda: sg.scan(lambda s, v: (sg.fori_loop(0, 2, lambda i, t: t * v + table[i], s), s), 1.0, x),
        lambda: (x[0], x),
    )
    formula = sg.grad(y[0], [x])[0]
    assert pickle.loads(pickle.dumps(formula)) is formula
    f = sg.compile([*y, formula])
    g = pickle.loads(pickle.dumps(f))
    for flag in (True, False):
        values = {"x": np.array([1.5, 0.5, 2.0]), "p": flag}
        for a, b in zip(f(**values), g(**values), strict=True):
            assert a.tobytes() == b.tobytes()


def test_results_are_new_arrays() -> None:
    """A state that is an input, or is another, is handed out as an array of its own; inputs stay as they were."""
    x, n = sg.placeholder("x"), sg.placeholder("n")
    a, b, c = sg.fori_loop(0, n, lambda i, s: (s[1], s[0], s[2]), (x, x, x))
    f = sg.compile([a, b, c, x])
    given = np.arange(4.0)
    for rounds in (0, 1, 2):
        results = f(x=given, n=rounds)
        for k, result in enumerate(results):
            np.testing.assert_array_equal(result, given)
            assert result.flags.writeable
            assert not any(np.shares_memory(result, other) for other in (given, *results[:k]))
    np.testing.assert_array_equal(given, np.arange(4.0))


def test_any_size() -> None:
    """One function for all lengths and all numbers of rounds."""
    x, n = sg.placeholder("x", shape=("m",), dtype="float64"), sg.placeholder("n")
    sums, rows = sg.scan(lambda s, v: (s + v, s * v), 0.0, x)
    y = sg.fori_loop(0, n, lambda i, s: s * 0.5 + x, x)
    f = sg.compile([sums, rows, y], fma=False)
    for size in (0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 1001):
        for rounds in (0, 1, 5):
            values = np.random.default_rng(size).uniform(size=size)
            total, state = 0.0, values
            wanted = []
            for v in values:
                wanted.append(total * v)
                total += v
            for _ in range(rounds):
                state = state * 0.5 + values
            got = f(x=values, n=rounds)
            for a, b in zip(got, (total, np.array(wanted), state), strict=True):
                np.testing.assert_array_equal(a, b)


def test_whatever_lies_in_memory() -> None:
    """Arrays in Fortran's order, reversed, and with gaps."""
    x = sg.placeholder("x")
    f = sg.compile(sg.scan(lambda s, row: (s + row[::-1], s * row), np.zeros(3), x))
    data = np.arange(12.0).reshape(4, 3)
    wanted = f(x=data)
    for other in (np.asfortranarray(data), data[::-1].copy()[::-1], np.repeat(data, 2, axis=1)[:, ::2]):
        for a, b in zip(f(x=other), wanted, strict=True):
            np.testing.assert_array_equal(a, b)


def test_traced_functions_and_loops() -> None:
    """The same text as a plain function, a traced one and in the define-by-run mode."""

    def newton(a: Any) -> Any:
        return sg.while_loop(lambda s: abs(s * s - a) > 1e-12, lambda s: (s + a / s) / 2, a)

    np.testing.assert_allclose(newton(2.0), np.sqrt(2), rtol=1e-12)
    f = sg.trace(newton)
    np.testing.assert_allclose(f(2.0), np.sqrt(2), rtol=1e-12)
    box = sg.Variable(np.array(2.0))
    newton(box).backward()
    np.testing.assert_allclose(box.grad.data, 0.5 / np.sqrt(2), rtol=1e-9)

"""Gradients for one symbol, taken forwards: through loops too, which then keep nothing of their rounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from compiler.program import Repeat
from symgraph.expr import Expr, toposort
from symgraph.forward import slope
from symgraph.ops import control as ct

NUMBER = sg.placeholder("u", shape=(), dtype="float64")
ARRAY = sg.placeholder("u", shape=("n",), dtype="float64")


def counted(x: Any) -> Any:
    return sg.fori_loop(0, 50, lambda i, y: x * y * (1 - y) + i * 0.01, 0.3)


def from_itself(x: Any) -> Any:
    return sg.fori_loop(0, 20, lambda i, y: np.sin(y) * 0.9 + 0.1, x)


def as_long_as(x: Any) -> Any:
    return sg.while_loop(lambda y: y <= 100, lambda y: y + x * x, x)


def over_numbers(x: Any) -> Any:
    return sg.scan(lambda y, c: (np.tanh(y * c) + x, None), x * 0.5, np.linspace(0, 1, 30))[0]


def of_several(x: Any) -> Any:
    """One state does not depend on the symbol, one begins so, and one forgets."""
    body = lambda i, s: (s[0] * 0.9 + 0.1, s[1] * x + s[0], np.where(s[2] > 0.5, 0.1, s[2] * x + 0.2))  # noqa: E731
    a, b, c = sg.fori_loop(0, 30, body, (0.5, 1.0, x))
    return a + b * c


def nested(x: Any) -> Any:
    inner = lambda i, y: y * x * 0.5 + np.cos(y)  # noqa: E731
    return sg.fori_loop(0, 5, lambda i, y: sg.fori_loop(0, 4, inner, y) + x, x) * x


def constant_in_the_end(x: Any) -> Any:
    return sg.fori_loop(0, 9, lambda i, y: np.floor(y + x) * 0.3, x) + x


LOOPS: list[Callable[[Any], Any]] = [
    counted,
    from_itself,
    as_long_as,
    over_numbers,
    of_several,
    nested,
    constant_in_the_end,
]


def backwards(y: Expr, x: Expr) -> Any:
    """The gradient as `sg.grad` gives it, which walks backwards."""
    return sg.compile(sg.grad(y, [x])[0], inputs=[x], verify=True)


@pytest.mark.parametrize("formula", LOOPS, ids=lambda f: f.__name__)
def test_as_the_backward_walk(formula: Callable[[Any], Any]) -> None:
    for x, value in ((NUMBER, 0.7), (NUMBER, 1.9), (sg.placeholder("u"), 0.7), (sg.placeholder("u"), np.float32(0.7))):
        y = formula(x)
        f = sg.compile(y, verify=True)
        found, slopes = f.value_and_grad(u=value)
        rough = np.asarray(value).dtype == np.float32
        assert found.tobytes() == sg.compile(y)(u=value).tobytes()
        assert slopes["u"].dtype == np.asarray(value).dtype
        np.testing.assert_allclose(slopes["u"], backwards(y, x)(u=value), rtol=1e-3 if rough else 1e-10)


@pytest.mark.parametrize("formula", [from_itself, nested, constant_in_the_end], ids=lambda f: f.__name__)
def test_element_by_element(formula: Callable[[Any], Any]) -> None:
    y = formula(ARRAY)
    values = np.linspace(0.1, 0.9, 17)
    found, slopes = sg.compile(y, verify=True).value_and_grad(u=values)
    np.testing.assert_array_equal(found, sg.compile(y)(u=values))
    np.testing.assert_allclose(slopes["u"], backwards(y, ARRAY)(u=values), rtol=1e-10)


@pytest.mark.parametrize("formula", LOOPS, ids=lambda f: f.__name__)
def test_value_and_tangent_are_one_loop_that_keeps_nothing(formula: Callable[[Any], Any]) -> None:
    f = sg.compile(formula(NUMBER))
    f.value_and_grad(u=0.7)
    ((_, variant),) = f.variants()
    repeats = [step for step in variant.program.steps if isinstance(step, Repeat)]
    assert len(repeats) == 1
    (loop,) = {n for n in toposort(variant.steps[-1].outputs) if n.op is ct.loop}
    assert len(loop.params["body"].outputs) == loop.params["states"]


def test_what_is_not_elementwise_is_left_to_the_backward_walk() -> None:
    other = sg.placeholder("other", shape=(), dtype="float64")
    for x, y in (
        (NUMBER, sg.scan(lambda y, _: (np.sin(y), y), NUMBER, length=5)[1]),  # gathered, an array
        (ARRAY, sg.scan(lambda y, e: (y + np.sin(e), None), 0.0, ARRAY)[0]),  # over its elements
        (ARRAY, sg.fori_loop(0, 3, lambda i, y: y * np.sum(y), ARRAY)),
        (ARRAY, sg.fori_loop(0, 3, lambda i, y: y * ARRAY[0], 1.0)),
        (NUMBER, sg.fori_loop(0, 3, lambda i, y: y * other, NUMBER)),
        (NUMBER, sg.fori_loop(0, 3, lambda i, y: sg.cond(y > 0, lambda: y * 2, lambda: -y), NUMBER)),
    ):
        assert slope([y], x) is None
        f = sg.compile(y, wrt=[x], verify=True)
        f.check_grad(**{n.name: 0.3 if n.type.shape == () else np.array([0.3, 0.5]) for n in f.inputs})


def test_second_derivatives() -> None:
    for formula in (counted, from_itself, over_numbers, of_several, nested):
        assert sg.compile(formula(NUMBER)).check_grad(u=0.7)


def test_where_a_branch_divides_by_zero() -> None:
    """What is not taken does not count, as in the backward walk."""
    y = sg.fori_loop(0, 3, lambda i, y: np.where(y > 0, np.sqrt(y), 0.0) + 0 * NUMBER, NUMBER)
    assert sg.compile(y).grad(u=0.0)["u"] == backwards(y, NUMBER)(u=0.0) == 0

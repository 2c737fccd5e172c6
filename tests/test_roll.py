"""Unrolled repetitions become loops again: which do and which do not, with the same bits as without loops."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from support import without_loops

import symgraph as sg
from compiler.graph import Graph
from compiler.interpret import interpret
from compiler.passes.columns import stacked
from compiler.passes.periods import Stretch, stretches
from compiler.passes.roll import LEAST_NODES, LEAST_STEPS, roll
from symgraph.expr import Expr, toposort
from symgraph.ops import control as ct

Formula = Callable[[], tuple[Expr, list[Expr], dict[str, Any]]]


def number(name: str, dtype: str = "float64") -> Expr:
    return sg.placeholder(name, shape=(), dtype=dtype)


X, W, H = number("x"), number("w"), number("h")
XS = sg.placeholder("xs")
N = 400


def rolled(outputs: Sequence[Expr]) -> tuple[list[Expr], list[str]]:
    """The typed outputs after the pass, and the rules that it has applied."""
    rules: list[str] = []
    return roll(Graph(outputs), lambda rewrite: rules.append(rewrite.rule)), rules


def loops(outputs: Sequence[Expr]) -> list[int]:
    """How many rounds each loop has."""
    return [node.params["length"] for node in toposort(outputs) if node.op is ct.loop]


# -- formulas whose repetitions become loops ---------------------------------------------------------------------------


def recurrence() -> Any:
    y = H
    for k in range(N):
        y = np.sin(y) * 0.5 + XS[k] * W
    return y, [H, W, XS], {"h": 0.1, "w": 0.2, "xs": np.linspace(0, 1, N + 3)}


def taylor_by_recurrence() -> Any:
    term = total = X
    for k in range(1, 300):
        term = -term * X * X / (2 * k * (2 * k + 1))
        total = total + term
    return total, [X], {"x": 0.7}


def newton() -> Any:
    x = X
    for _ in range(N):
        x = x - (x**4 - 2 * x**2 + 0.3) / (4 * x**3 - 4 * x + 7)
    return x, [X], {"x": 2.0}


def horner() -> Any:
    p = X * 0.0
    for k in range(600):
        p = p * X + (0.5 + (k % 7) * 0.25)
    return p, [X], {"x": 0.7}


def euler_of_lorenz() -> Any:
    x, y, z = X, W, H
    for _ in range(N):
        x, y, z = x + 0.002 * (10 * (y - x)), y + 0.002 * (x * (28 - z) - y), z + 0.002 * (x * y - 8 / 3 * z)
    return x + y * z, [X, W, H], {"x": 1.0, "w": 1.1, "h": 0.9}


def runge_kutta() -> Any:
    def slope(x: Any, v: Any) -> Any:
        return v, -np.sin(x) - 0.1 * v

    x, v, h = X, W, 0.01
    for _ in range(100):
        a, b = slope(x, v)
        c, d = slope(x + h / 2 * a, v + h / 2 * b)
        e, f = slope(x + h / 2 * c, v + h / 2 * d)
        g, i = slope(x + h * e, v + h * f)
        x, v = x + h / 6 * (a + 2 * c + 2 * e + g), v + h / 6 * (b + 2 * d + 2 * f + i)
    return x * v, [X, W], {"x": 1.0, "w": 0.3}


def two_steps_back() -> Any:
    a, b, total = X, W, X
    for _ in range(400):
        a, b = b, 0.3 * b + 0.6 * a
        total = total + b * b
    return total, [X, W], {"x": 1.0, "w": 0.5}


def adam() -> Any:
    m, v, p = X * 0, X * 0, X
    for k in range(1, N):
        g = 2 * p + np.cos(p)
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        p = p - 0.01 * (m / (1 - 0.9**k)) / (np.sqrt(v / (1 - 0.99**k)) + 1e-8)
    return p, [X], {"x": 1.3}


def both_sides() -> Any:
    y = X
    for _ in range(N):
        y = np.where(y > 1, y * 0.5, y * 1.3) + np.maximum(y, 0.2) * 0.1
    return y, [X], {"x": 0.3}


def backwards_and_strided() -> Any:
    y = X
    for k in range(N):
        y = np.sin(y) * W + XS[N - k] * XS[2 * k + N + 1]
    return y, [X, XS], {"x": 0.3, "w": 0.8, "xs": np.linspace(0, 1, 3 * N + 3)}


def window() -> Any:
    y = X
    for k in range(N):
        y = np.sin(y) * W + XS[k] * XS[k + 1] - XS[k + 2]
    return y, [X, XS], {"x": 0.3, "w": 0.8, "xs": np.linspace(0, 1, N + 3)}


def trajectory() -> Any:
    y, ys = X, []
    for _ in range(N):
        y = np.sin(y) * W + 0.1
        ys.append(y)
    return np.stack(ys), [X, W], {"x": 0.3, "w": 0.8}


def sum_over_elements() -> Any:
    xs = sg.placeholder("xs", shape=(400,), dtype="float64")
    total: Any = 0.0
    for k in range(400):
        total = total + np.sin(xs[k] * W) * (k + 2)
    return total, [xs, W], {"xs": np.linspace(0, 1, 400), "w": 0.3}


def single_precision() -> Any:
    y = x = number("x", "float32")
    for k in range(400):
        y = np.sin(y) * (0.5 + k * 1e-4) + 0.1
    return y, [x], {"x": np.float32(0.3)}


def python_numbers() -> Any:
    """Numbers of Python are weaker than arrays: a loop's elements are not, and float32 stays float32."""
    y = x = sg.placeholder("x")
    z = sg.placeholder("z", shape=(5,), dtype="float32")
    for k in range(600):
        y = y * (0.5 + k * 1e-4) + 0.1 * x
    return (z * y).sum(), [x, z], {"x": 0.3, "z": np.linspace(0, 1, 5, dtype=np.float32)}


NUMBERS: list[Formula] = [
    recurrence,
    taylor_by_recurrence,
    newton,
    horner,
    euler_of_lorenz,
    runge_kutta,
    two_steps_back,
    adam,
    both_sides,
    backwards_and_strided,
    window,
    trajectory,
    sum_over_elements,
    single_precision,
    python_numbers,
]


def with_gradients(formula: Formula, order: int = 1) -> tuple[list[Expr], dict[str, Any]]:
    y, wrt, values = formula()
    outputs = [y, *sg.grad(y, wrt)]
    if order == 2:
        outputs += sg.grad(outputs[1] if outputs[1].type.shape == () else outputs[1].sum(), wrt)
    return outputs, values


@pytest.mark.parametrize("fma", [False, True])
@pytest.mark.parametrize("formula", NUMBERS, ids=lambda f: f.__name__)
def test_the_same_bits_as_unrolled(formula: Formula, fma: bool) -> None:
    outputs, values = with_gradients(formula)
    function = sg.compile(outputs, fma=fma)
    found = function(**values)
    ((_, variant),) = function.variants()
    assert loops(variant.steps[-1].outputs)
    assert len(toposort(variant.steps[-1].outputs)) < len(toposort(variant.steps[0].outputs)) / 4
    with without_loops():
        expected = sg.compile(outputs, fma=fma)(**values)
    for a, b in zip(found, expected, strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize("formula", NUMBERS, ids=lambda f: f.__name__)
def test_second_derivatives(formula: Formula) -> None:
    """By the interpreter, which gives the graph of loops a meaning of its own."""
    outputs, values = with_gradients(formula, order=2)
    function = sg.compile(outputs, fma=False)
    found = function(**values)
    ((_, variant),) = function.variants()
    typed, after = variant.steps[0].outputs, rolled(variant.steps[0].outputs)[0]
    assert loops(after)
    for a, b, c in zip(interpret(after, values), interpret(typed, values), found, strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
        np.testing.assert_allclose(a, c, rtol=1e-9 if np.asarray(a).dtype == np.float64 else 1e-3, atol=1e-30)


def test_values_and_gradient_are_one_loop_each() -> None:
    outputs, values = with_gradients(recurrence)
    function = sg.compile(outputs)
    function(**values)
    ((_, variant),) = function.variants()
    assert len(loops(variant.steps[-1].outputs)) == 2
    assert "steps -> one loop" in function.explain()


# -- gradients that calls ask for --------------------------------------------------------------------------------------


def called(formula: Formula, **options: Any) -> tuple[Any, dict[str, Any], Any]:
    """Value and gradients of a call, and the kernel."""
    y, wrt, values = formula()
    function = sg.compile(y, wrt=wrt, **options)
    value, slopes = function.value_and_grad(**values)
    ((_, variant),) = function.variants()
    return value, slopes, variant


@pytest.mark.parametrize("fma", [False, True])
@pytest.mark.parametrize("formula", NUMBERS, ids=lambda f: f.__name__)
def test_loops_are_differentiated(formula: Formula, fma: bool) -> None:
    """The gradient of a loop is a loop of as many rounds, in which nothing is left of the steps."""
    value, slopes, variant = called(formula, fma=fma, verify=True)
    steps = {step.name: step.outputs for step in variant.steps}
    typed, rolled = len(toposort(steps["typed"])), len(toposort(steps["roll values"]))
    assert rolled < typed / 4
    assert len(toposort(variant.before)) < 2 * rolled + 100
    assert len(set(loops(variant.steps[-1].outputs))) == 1
    with without_loops():
        wanted, steep, unrolled = called(formula, fma=fma)
    assert not loops(unrolled.steps[-1].outputs)
    assert value.dtype == wanted.dtype and value.tobytes() == wanted.tobytes()
    for name, slope in slopes.items():
        assert slope.dtype == steep[name].dtype
        rough = slope.dtype == np.float32
        np.testing.assert_allclose(slope, steep[name], rtol=1e-3 if rough else 1e-9, atol=1e-30)


def test_gradients_of_steps_make_no_nodes_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [0]
    make = sg.expr._made

    def counted(*args: Any) -> Expr:
        made[0] += 1
        return make(*args)

    monkeypatch.setattr(sg.expr, "_made", counted)
    counts = []
    for steps in (1_000, 4_000):
        y = X
        for _ in range(steps):
            y = np.sin(y * W) + H
        function = sg.compile(y)
        before = made[0]
        function.value_and_grad(x=0.3, w=0.8, h=0.1)
        counts.append(made[0] - before)
    assert abs(counts[0] - counts[1]) < 20  # numbers, which may be there already
    assert counts[0] < 500


def test_few_steps_are_worth_a_loop_where_their_gradient_is_wanted() -> None:
    y = X
    for _ in range(150):
        y = np.sin(y * W) + H
    function = sg.compile(y)
    function(x=0.3, w=0.8, h=0.1)
    function.grad(x=0.3, w=0.8, h=0.1)
    found = {what: loops(variant.steps[-1].outputs) for what, variant in function.variants()}
    assert not found["value"] and len(found["grad"]) == 2


def test_steps_with_flat_parts_are_checked_and_replayed() -> None:
    y = X
    for _ in range(400):
        y = np.floor(y * W) * 0.5 + 0.1 * y
    function = sg.compile(y, wrt=[W])
    assert function.check_grad(x=0.3, w=0.8)
    function.debug(x=0.3, w=0.8, what="value_and_grad")


def test_weights_of_a_result_of_steps() -> None:
    """cotangent= goes into a loop's gradient as into that of the steps."""
    y, ys = X, []
    for _ in range(N):
        y = np.sin(y) * W + 0.1
        ys.append(y)
    f = sg.compile(np.stack(ys), wrt=[X, W])
    weights = np.linspace(-1, 1, N)
    found = f.value_and_grad(x=0.3, w=0.8, cotangent=weights)
    with without_loops():
        wanted = sg.compile(np.stack(ys), wrt=[X, W]).value_and_grad(x=0.3, w=0.8, cotangent=weights)
    for name in "xw":
        np.testing.assert_allclose(found[1][name], wanted[1][name], rtol=1e-12)
    with pytest.raises(sg.SymgraphError, match="cotangent"):
        f.grad(x=0.3, w=0.8, cotangent=np.ones(3))


def test_a_step_that_changes_the_result_is_found_in_loops() -> None:
    y, _, values = newton()
    assert sg.compile(y, fma=False).bisect(what="value_and_grad", tolerance=1e-9, **values) is None
    culprit = sg.compile(y).bisect(what="value_and_grad", **values)
    assert culprit is not None and culprit.stage == "fuse multiply-add"


# -- arrays ------------------------------------------------------------------------------------------------------------


def recurrent_net() -> Any:
    w = sg.placeholder("w", shape=(4, 4), dtype="float64")
    h = h0 = sg.placeholder("h", shape=(3, 4), dtype="float64")
    xs = sg.placeholder("xs", shape=(64, 3, 4), dtype="float64")
    for x in xs:
        h = np.tanh(h @ w + x)
    rng = np.random.default_rng(0)
    return (h * h).sum(), [w, h0, xs], {"w": np.eye(4) / 2, "h": np.ones((3, 4)), "xs": rng.normal(size=(64, 3, 4))}


def gates_over_columns() -> Any:
    a, b = (sg.placeholder(name, shape=(4, 4), dtype="float64") for name in "ab")
    h = h0 = sg.placeholder("h", shape=(3, 4), dtype="float64")
    xs = sg.placeholder("xs", shape=(3, 64, 4), dtype="float64")
    c = h
    for t in range(64):
        u = xs[:, t] @ a + h @ b
        c = c * np.tanh(u) + 0.1 * u
        h = np.tanh(c)
    rng = np.random.default_rng(0)
    given = {"a": np.eye(4) / 2, "b": np.eye(4) / 3, "h": np.ones((3, 4)), "xs": rng.normal(size=(3, 64, 4))}
    return (h * h).sum(), [a, b, h0, xs], given


def power_iteration() -> Any:
    q = v = sg.placeholder("q", shape=("n",), dtype="float64")
    a = sg.placeholder("a", shape=("n", "n"), dtype="float64")
    for _ in range(64):
        v = a @ v
        v = v / np.sqrt((v * v).sum())
    return (v * v * v).sum(), [q, a], {"q": np.ones(6), "a": np.random.default_rng(1).normal(size=(6, 6))}


@pytest.mark.parametrize("formula", [recurrent_net, gates_over_columns, power_iteration], ids=lambda f: f.__name__)
def test_steps_with_products_of_arrays(formula: Formula) -> None:
    outputs, values = with_gradients(formula)
    function = sg.compile(outputs, fma=False)
    found = function(**values)
    ((_, variant),) = function.variants()
    assert len(loops(variant.steps[-1].outputs)) == 2
    with without_loops():
        expected = sg.compile(outputs, fma=False)(**values)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13)


V, U = (sg.placeholder(name, shape=("n",), dtype="float64") for name in "vu")


def waves() -> Any:
    y = V
    for _ in range(N):
        y = np.sin(y * U) + V
    return y, [V, U]


def from_a_number() -> Any:
    """The state is a number before the first step, and an array from then on."""
    y = X
    for _ in range(200):
        y = np.tanh(y * V) - 0.3 * y
    return y, [V, X]


def from_a_literal() -> Any:
    y: Any = 0.25
    for k in range(200):
        y = np.cos(y) * V + 0.001 * k
    return y, [V]


def from_a_row() -> Any:
    rows = sg.placeholder("rows", shape=(3, "n"), dtype="float64")
    y = V
    for k in range(150):
        y = y - 0.05 * (y * y - rows * W) / (1 + y * y) + XS[k]
    return y, [V, rows, W, XS]


def from_single_precision() -> Any:
    """float32 becomes float64 in the first step."""
    y = single = sg.placeholder("single", shape=("n",), dtype="float32")
    for _ in range(150):
        y = y * 0.5 + V / (1.5 + y * y)
    return y, [V, single]


def in_single_precision() -> Any:
    y = single = sg.placeholder("single", shape=("n",), dtype="float32")
    for k in range(150):
        y = y * 0.5 + (0.1 + k * 1e-3) / (1.5 + y * y)
    return y, [single]


def from_integers() -> Any:
    y = whole = sg.placeholder("whole", shape=("n",), dtype="int64")
    for _ in range(150):
        y = np.sin(y) * V / (2.0 + y * y) + whole
    return y, [V]


def leapfrog() -> Any:
    """Two states, and what is added up beside them."""
    x, v, energy = V, U, X
    for _ in range(150):
        v = v - 0.01 * np.sin(x)
        x = x + 0.01 * v
        energy = energy + v * v
    return x * energy + v, [V, U, X]


def beside_numbers() -> Any:
    y, z = X, V
    for _ in range(200):
        y = np.sin(y) * W + 0.1
        z = np.where(z > y, z * 0.5, np.maximum(z, U) + y) / (1.25 + y)
    return z, [V, U, X, W]


ARRAYS: list[Any] = [
    waves,
    from_a_number,
    from_a_literal,
    from_a_row,
    from_single_precision,
    in_single_precision,
    from_integers,
    leapfrog,
    beside_numbers,
]


def arguments(inputs: Sequence[Expr], size: int) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    known = {"x": 0.3, "w": 0.8, "h": 0.1, "xs": np.linspace(0, 0.1, N)}
    given = {}
    for node in inputs:
        shape = (3, size) if node.name == "rows" else (size,)
        array = rng.integers(-2, 3, shape) if node.name == "whole" else rng.uniform(0.1, 0.9, shape)
        given[node.name or ""] = known.get(node.name or "", array.astype(node.type.dtype))
    return given


@pytest.mark.parametrize("fma", [False, True])
@pytest.mark.parametrize("formula", ARRAYS, ids=lambda f: f.__name__)
def test_elementwise_steps_on_arrays(formula: Callable[[], tuple[Expr, list[Expr]]], fma: bool) -> None:
    y, wrt = formula()
    function, unrolled = (sg.compile(y, wrt=wrt, fma=fma, verify=True) for _ in range(2))
    accuracy = 1e-4 if "single" in formula.__name__ else 1e-10
    for size in (7, 3000):
        values = arguments(function.inputs, size)
        found, (again, slopes) = function(**values), function.value_and_grad(**values)
        with without_loops():
            wanted, steep = unrolled.value_and_grad(**values)
        assert found.dtype == wanted.dtype
        assert found.tobytes() == again.tobytes() == wanted.tobytes()
        for name, slope in slopes.items():
            assert slope.dtype == steep[name].dtype and slope.shape == steep[name].shape
            scale = np.abs(steep[name]).max() or 1.0
            np.testing.assert_allclose(slope / scale, steep[name] / scale, atol=accuracy)
    for _, variant in function.variants():
        assert loops(variant.steps[-1].outputs)
        assert len(toposort(variant.steps[-1].outputs)) < len(toposort(variant.steps[0].outputs)) / 2


@pytest.mark.parametrize("formula", [from_a_row, from_single_precision, in_single_precision])
def test_steps_on_arrays_give_numpys_bits(formula: Callable[[], tuple[Expr, list[Expr]]]) -> None:
    y, _ = formula()
    function = sg.compile(y, fma=False)
    values = arguments(function.inputs, 33)
    found, wanted = function(**values), interpret([y], values)[0]
    assert found.dtype == wanted.dtype and found.tobytes() == wanted.tobytes()


def test_a_round_holds_more_steps_where_they_do_little() -> None:
    """What a round hands on, and what is kept of it for the gradient, costs as much as some additions."""
    heavy, light = V, V
    for _ in range(400):
        heavy, light = np.sin(heavy * U) + V, light + 0.01 * (V - U * light * light)
    for y, what, rounds in ((heavy, "value", 397), (light, "value", 397), (heavy, "grad", 397), (light, "grad", 98)):
        function = sg.compile(y)
        getattr(function, {"value": "__call__"}.get(what, what))(v=np.ones(3), u=np.ones(3))
        ((_, variant),) = function.variants()
        assert all(abs(length - rounds) <= 2 for length in loops(variant.steps[-1].outputs)), what


def test_steps_on_arrays_that_do_too_little() -> None:
    """Their gradient keeps nothing in one nest, and more than it computes in a loop."""
    y = V
    for _ in range(400):
        y = y * U + V
    function = sg.compile(y)
    values = {"v": np.linspace(0, 1, 5), "u": np.linspace(0, 1, 5)}
    function(**values)
    function.grad(**values)
    found = {what: loops(variant.steps[-1].outputs) for what, variant in function.variants()}
    assert found["value"] and not found["grad"]


# -- what stays as it is -----------------------------------------------------------------------------------------------


def unrolled_shapes() -> dict[str, Expr]:
    x = sg.placeholder("v", shape=("n",), dtype="float64")
    y = x
    for _ in range(100):
        y = y * 0.5 + 0.1
    short = X
    for _ in range(LEAST_STEPS - 2):
        short = short * W + np.sin(short * H) * np.cos(short)
    powers = X
    factorial = 1.0
    for k in range(1, 47):
        factorial *= 2 * k * (2 * k + 1)
        powers = powers + (-1) ** k / factorial * X ** (2 * k + 1)
    few = X
    for _ in range(100):
        few = few * W
    a, b = X, W
    goldstein = (1 + (a + b + 1) ** 2 * (19 - 14 * a + 3 * a**2 - 14 * b + 6 * a * b + 3 * b**2)) * (
        30 + (2 * a - 3 * b) ** 2 * (18 - 32 * a + 12 * a**2 + 48 * b - 36 * a * b + 27 * b**2)
    )
    return {
        "little done to arrays": y,
        "too few steps": short,
        "powers that differ": powers,
        "too few operations": few,
        "no steps": goldstein,
    }


@pytest.mark.parametrize("name", list(unrolled_shapes()))
def test_stays_as_it_is(name: str) -> None:
    y = unrolled_shapes()[name]
    outputs = [y, *sg.grad(y, sg.expr.placeholders([y]))]
    found, rules = rolled(outputs)
    assert (found, rules) == (outputs, [])


def test_arrays_beside_steps_on_numbers_are_not_stored() -> None:
    """What is added to an array in every step is kept of no step."""
    v = sg.placeholder("v", shape=("n",), dtype="float64")
    y, total = X, v
    for _ in range(600):
        y = np.sin(y) * W + np.cos(y) * H
        total = total + y * v
    found, _ = rolled([total])
    for node in toposort(found):
        if node.op is ct.loop:
            assert all(o.type.shape == () for o in node.params["body"].outputs[node.params["states"] :])


def test_a_loop_that_is_read_here_and_there() -> None:
    y, out = X, X
    for k in range(600):
        y = np.sin(y) * W + 0.1
        if k in (200, 300, 599):
            out = out + y * y
    found, _ = rolled([out, *sg.grad(out, [X, W])])
    assert loops(found)
    values = {"x": 0.3, "w": 0.8}
    assert interpret(found, values) == interpret([out, *sg.grad(out, [X, W])], values)


def test_loops_in_loops() -> None:
    """The longest repetition counts: short loops in it are part of its body."""
    y = X
    for _ in range(40):
        for _ in range(20):
            y = np.sin(y) + W * 0.1
        y = y * H
    found, _ = rolled([y])
    assert len(loops(found)) == 1
    values = {"x": 0.3, "w": 0.8, "h": 0.9}
    assert interpret(found, values) == interpret([y], values)


def test_the_same_graph_gives_the_same_loops() -> None:
    outputs, _ = with_gradients(newton)
    first, second = rolled(outputs)[0], rolled(outputs)[0]
    assert first == second  # interned: the very same nodes


def test_work_grows_with_the_graph() -> None:
    """Nodes after the pass do not depend on the number of steps."""
    counts = []
    for steps in (1_000, 4_000):
        y = X
        for _ in range(steps):
            y = np.sin(y * W) + H
        counts.append(len(toposort(rolled([y, *sg.grad(y, [X, W, H])])[0])))
    assert counts[0] == counts[1] < 100


# -- parts -------------------------------------------------------------------------------------------------------------


def test_short_formulas_are_not_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("compiler.passes.roll")
    search, searched = module._longest_path, list[int]()

    def counted(order: Sequence[Expr], *others: Any) -> Any:
        searched.append(len(order))
        return search(order, *others)

    monkeypatch.setattr(module, "_longest_path", counted)

    def chain(steps: int) -> list[Expr]:
        y: Any = X
        for _ in range(steps):
            y = np.sin(y) * W
        return [y, *sg.grad(y, [X, W])]

    short, long = chain(100), chain(600)
    assert 256 < len(Graph(short).order) < LEAST_NODES < len(Graph(long).order)
    assert (rolled(short)[0], searched) == (short, [])
    assert loops(rolled(long)[0])
    assert searched


def test_a_loop_is_looked_for_where_it_may_have_enough_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("compiler.passes.roll")
    find, searched = module.find_steps, []

    def counted(*args: Any) -> Any:
        searched.append(args)
        return find(*args)

    monkeypatch.setattr(module, "find_steps", counted)

    def chain(steps: int) -> Graph:
        y = X
        for _ in range(steps):
            y = np.sin(y) * W
        return Graph([y])

    # The first step takes something else than the others do, so it stays as it is, and the last one may be none.
    for steps, rounds in ((LEAST_STEPS + 1, []), (LEAST_STEPS + 3, [LEAST_STEPS])):
        searched.clear()
        assert loops(roll(chain(steps), lambda rewrite: None, 1)) == rounds
        assert bool(searched) == bool(rounds)


def test_stretches() -> None:
    assert stretches([1, 2, 3, 4], 2) == []
    assert stretches([5, 1, 1, 1, 1, 6, 2, 3, 2, 3, 2, 3, 2, 3], 3) == [Stretch(1, 1, 4), Stretch(6, 2, 4)]
    inner = [1, 1, 1, 1, 2] * 50
    assert stretches(inner, 32) == [Stretch(0, 5, 50)]
    assert stretches([], 2) == []


def test_columns_are_read_from_few_arrays() -> None:
    xs = sg.placeholder("xs", shape=(10, 3), dtype="float64")
    values = {"xs": np.arange(30.0).reshape(10, 3), "x": 7.0}
    for nodes in (
        [xs[k] for k in range(10)],
        [xs[9 - 2 * k] for k in range(5)],
        [xs[:, k] for k in (2, 1, 0)],
        [xs[k, 1] for k in range(2, 9)],
        [xs[-1 - k, 0] for k in range(4)],
        [X, xs[0, 0], xs[1, 0], xs[2, 0], xs[0, 1]],
    ):
        whole = stacked(nodes)
        assert whole is not None
        np.testing.assert_array_equal(interpret([whole], values)[0], np.stack(interpret(nodes, values)))
    assert stacked([number(f"p{k}") for k in range(20)]) is None


def test_some_dozens_of_steps_become_a_loop_before_their_gradient_is_taken() -> None:
    def program(steps: int, gradient: bool) -> Sequence[Expr]:
        a, b = sg.placeholder("a", (), "float64"), sg.placeholder("b", (), "float64")
        y = a
        for _ in range(steps):
            y = np.sin(y * b) + a
        f = sg.compile(y)
        (f.grad if gradient else f)(a=0.5, b=1.1)
        ((_, variant),) = f.variants()
        return variant.steps[-1].outputs

    assert len(loops(program(60, True))) == 2
    assert not loops(program(60, False))
    assert not loops(program(20, True))

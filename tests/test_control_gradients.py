"""Gradients of loops and branches: compiled, interpreted and eager, against differences and each other, to order 2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from control_cases import BRANCHES, DECLARED, LOOPS, Flow, plain, symbols

import symgraph as sg
from compiler import interpret
from symgraph.tree import flatten

FLOWS = {
    name: flow
    for name, flow in (BRANCHES | LOOPS).items()
    if any(np.asarray(x).dtype == np.float64 for x in flow.values.values())
    and name not in ("escape counts", "large arrays")  # what counts is flat; differences of so many take long
}
STEP = 1e-5


def weights(x: Any, seed: int) -> Any:
    return np.random.default_rng((seed, *np.shape(x))).uniform(0.5, 1.5, np.shape(x))


def loss(flow: Flow, values: dict[str, Any]) -> Any:
    """A number that depends on all floating-point results."""
    total: Any = 0.0
    reference = plain(flow.meaning(**flow.values))
    for k, (result, known) in enumerate(zip(flatten(flow.program(**values))[0], reference, strict=True)):
        if np.asarray(known).dtype.kind == "f":
            total = total + sg.sum(result * weights(known, k))
    return total


def along(gradients: dict[str, Any], wrt: list[str], values: dict[str, Any]) -> Any:
    """The derivative in a fixed direction."""
    return sum((sg.sum(gradients[n] * weights(values[n], 7)) for n in wrt), start=sg.sum(gradients[wrt[0]]) * 0.0)


def differences(f: Any, values: dict[str, Any], name: str) -> Any:
    x = np.asarray(values[name])
    found = np.zeros(x.shape)
    for position in np.ndindex(x.shape):
        ends = []
        for step in (STEP, -STEP):
            moved = x.copy()
            moved[position] += step
            ends.append(f({**values, name: moved[()]}))
        found[position] = (ends[0] - ends[1]) / (2 * STEP)
    return found


def recorded(flow: Flow, values: dict[str, Any], wrt: list[str]) -> tuple[list[Any], list[Any]]:
    """Gradients of both orders by Variables."""
    boxes = {n: sg.Variable(np.asarray(x)) if n in wrt else x for n, x in values.items()}
    lossy = loss(flow, boxes)
    first: list[Any] = [np.zeros(np.shape(values[n])) for n in wrt]
    second = [np.zeros(np.shape(values[n])) for n in wrt]
    if not isinstance(lossy, sg.Variable):
        return first, second
    lossy.backward(create_graph=True)
    gradients = {n: boxes[n].grad for n in wrt if boxes[n].grad is not None}
    first = [gradients[n].data if n in gradients else np.zeros(np.shape(values[n])) for n in wrt]
    for box in boxes.values():
        if isinstance(box, sg.Variable):
            box.cleargrad()
    total: Any = 0.0
    for n, g in gradients.items():
        total = total + sg.sum(g * weights(values[n], 7))
    if isinstance(total, sg.Variable):
        total.backward()
        second = [np.zeros(np.shape(values[n])) if boxes[n].grad is None else boxes[n].grad.data for n in wrt]
    return first, second


@pytest.mark.parametrize("declare", DECLARED)
@pytest.mark.parametrize("name", FLOWS)
def test_gradients_of_programs(name: str, declare: str) -> None:
    """Both orders, against differences of plain Python's values and of the first gradient, and against Variables."""
    flow = FLOWS[name]
    values = dict(flow.values)
    wrt = [n for n, x in values.items() if np.asarray(x).dtype == np.float64]
    given = symbols(values, declare=declare)
    y = loss(flow, given)
    if not isinstance(y, sg.Expr):
        pytest.fail("the program does not depend on its inputs")
    gradients = dict(zip(wrt, sg.grad(y, [given[n] for n in wrt]), strict=True))
    slope = along(gradients, wrt, values)
    second = sg.grad(slope, [given[n] for n in wrt])
    outputs = [y, *gradients.values(), slope, *second]
    function = sg.compile(outputs, list(given.values()), verify=True)
    found = function(**values)
    count = len(wrt)
    wrong = []

    def compare(what: str, got: Any, wanted: Any, tolerance: float) -> None:
        if np.shape(got) != np.shape(wanted) or not np.allclose(got, wanted, rtol=tolerance, atol=tolerance):
            wrong.append(f"{what}: {got!r}, expected {wanted!r}")

    for k, (got, wanted) in enumerate(zip(found, interpret(outputs, values), strict=True)):
        compare(f"interpreter, output {k}", got, wanted, 1e-9)
    eager = recorded(flow, values, wrt)
    for k, n in enumerate(wrt):
        first, other = found[1 + k], found[2 + count + k]
        compare(f"gradient for {n}, by differences", first, differences(lambda v: loss(flow, v), values, n), 1e-6)
        compare(f"gradient for {n}, eager", first, eager[0][k], 1e-9)
        compare(
            f"second gradient for {n}, by differences",
            other,
            differences(lambda v: function(**v)[1 + count], values, n),
            1e-6,
        )
        compare(f"second gradient for {n}, eager", other, eager[1][k], 1e-9)
    assert not wrong, "\n".join(wrong)


# -- what is not taken -------------------------------------------------------------------------------------------------

CHOSEN: dict[str, tuple[Any, Any, Any]] = {
    "sqrt": (lambda x: np.where(x > 0, np.sqrt(x), 0.0), [0.0, 4.0, -0.0, 1.0], [0, 0.25, 0, 0.5]),
    "log": (lambda x: np.where(x > 0, np.log(x), x), [0.0, 4.0, -0.0, 1.0], [1, 0.25, 1, 1]),
    "quotient": (lambda x: np.where(x > 1, 1 / (x - 1), -x), [1.0, 3.0, 0.0, 2.0], [-1, -0.25, -1, -1]),
    "the other side": (lambda x: np.where(x <= 0, 1.0, np.sqrt(x)), [0.0, 4.0, 0.0, 1.0], [0, 0.25, 0, 0.5]),
    "root of a square": (lambda x: np.where(x * x > 0, np.sqrt(x * x), 0.0), [0.0, 4.0, -2.0, 0.0], [0, 1, -1, 0]),
    "norm": (lambda x: np.where(np.sum(x * x) > 0, np.sqrt(np.sum(x * x)), 0.0), [0.0, 0.0], [0, 0]),
    "written outside": (
        lambda x: (lambda y: np.where(x > 0, y * 2, y * y))(np.sqrt(np.abs(x))),
        [4.0, -4.0],
        [0.5, -1],
    ),
    "used by both sides": (lambda x: np.where(x > 2, x * x * 2, x * x), [3.0, 1.0], [12, 2]),
    "nested": (
        lambda x: np.where(x > 0, np.where(x > 1, np.log(x - 1), np.sqrt(x)), x**2),
        [0.0, 4.0, -1.0, 1.0],
        [0, 1 / 3, -2, 0.5],
    ),
    "two by one condition": (
        lambda x: (lambda p: np.where(p, np.sqrt(x), 0.0) * np.where(p, np.log(x), 0.0))(x > 0),
        [0.0, 1.0, -1.0],
        [0, 1, 0],
    ),
    "cond of a scalar": (lambda x: sg.cond(x[0] > 0, lambda: np.sqrt(x[0]), lambda: x[0]), [0.0, 2.0], [1, 0]),
    "where in a loop": (
        lambda x: sg.fori_loop(0, 2, lambda i, s: np.where(s > 1, np.sqrt(s - 1), s), x),
        [1.0, 0.5, 5.0],
        [1, 1, 0.5 / np.sqrt(4) * 0.5 / np.sqrt(1)],
    ),
    "norm of zeros": (np.linalg.norm, [0.0, 0.0, 0.0], [0, 0, 0]),
    "norms of rows": (lambda x: np.linalg.norm(np.stack([x, x]), axis=0), [0.0, 3.0], [0, np.sqrt(2)]),
}


@pytest.mark.parametrize("declare", DECLARED)
@pytest.mark.parametrize("name", CHOSEN)
@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value) encountered in (divide|log|sqrt):RuntimeWarning")
def test_what_is_not_taken_has_no_part(name: str, declare: str) -> None:
    """Whatever it is: infinite, nan. In both modes, and at order 2."""
    program, data, wanted = CHOSEN[name]
    values = {"x": np.array(data)}
    (x,) = symbols(values, declare=declare).values()
    (gradient,) = sg.grad(np.sum(program(x)), [x])
    (second,) = sg.grad(np.sum(gradient), [x])
    first, other = sg.compile([gradient, second], verify=True)(**values)
    np.testing.assert_allclose(first, wanted, rtol=1e-14)
    np.testing.assert_array_equal(interpret([gradient], values)[0], first)
    box = sg.Variable(values["x"])
    np.sum(program(box)).backward(create_graph=True)
    found = box.grad
    np.testing.assert_allclose(found.data, wanted, rtol=1e-14)
    box.cleargrad()
    np.sum(found).backward()
    if name == "where in a loop" and declare == "nothing":
        return  # that two unknown shapes are equal is not known of the second loop
    assert np.all(np.isfinite(other))
    np.testing.assert_allclose(np.zeros(len(data)) if box.grad is None else box.grad.data, other, rtol=1e-12, atol=0)
    again = sg.Variable(values["x"])
    np.sum(program(again)).backward()
    np.testing.assert_array_equal(again.grad.data, found.data)


def test_what_is_taken_counts() -> None:
    """An infinite gradient on the side that is taken stays."""
    x = sg.placeholder("x")
    y = np.sum(np.where(x >= 0, np.sqrt(x), x))
    assert sg.compile(y, wrt=[x]).grad(x=np.array([0.0, -1.0]))["x"].tolist() == [np.inf, 1.0]
    box = sg.Variable(np.array([0.0]))
    np.sum(np.where(np.array([True]), np.sqrt(box), box)).backward()
    assert box.grad.data == np.inf


# -- against the unrolled loop -----------------------------------------------------------------------------------------


def step(x: Any, y: Any, s: Any) -> Any:
    return np.tanh(s * x) + y / (1 + s * s)


@pytest.mark.parametrize("rounds", [0, 4])
def test_a_loop_and_the_loop_unrolled(rounds: int) -> None:
    """Values and gradients of both orders, for inputs, an inner node, and states."""
    x, y, n = sg.placeholder("x"), sg.placeholder("y"), sg.placeholder("n")
    inner = x * y

    def unrolled() -> Any:
        s = x
        for _ in range(rounds):
            s = step(inner, y, s)
        return s

    written = {
        "fori": sg.fori_loop(0, rounds, lambda i, s: step(inner, y, s), x),
        "fori at run time": sg.fori_loop(0, n, lambda i, s: step(inner, y, s), x),
        "while": sg.while_loop(lambda s: s[1] < n, lambda s: (step(inner, y, s[0]), s[1] + 1), (x, 0))[0],
        "scan": sg.scan(lambda s, _: (step(inner, y, s), s), x, length=rounds)[0],
        "unrolled": unrolled(),
    }
    formulas = {}
    for name, z in written.items():
        z = np.sum(z * z)
        first = sg.grad(z, [x, y, inner])
        along = np.sum(first[0] * 2.0) + np.sum(first[1] * 3.0) + np.sum(first[2])
        formulas[name] = [z, *first, *sg.grad(along, [x, y])]
    for shape in ((), (3,)):
        values = {"x": 0.5 + np.arange(3.0)[: shape[0] if shape else 1].reshape(shape), "y": np.full(shape, 0.75)}
        used = {**values, "n": rounds}
        found = sg.compile(formulas, [x, y, n], verify=True)(**used)
        for name, results in found.items():
            for got, wanted in zip(results, found["unrolled"], strict=True):
                np.testing.assert_allclose(got, wanted, rtol=1e-12, err_msg=name)


def test_gradients_reach_what_a_body_and_a_branch_are_made_of() -> None:
    """A node from outside, used in a loop in a branch and beside it."""
    x, p = sg.placeholder("x"), sg.placeholder("p")
    z = np.sin(x)
    y = sg.cond(p, lambda: sg.fori_loop(0, 3, lambda i, s: s * z, 1.0), lambda: x) + z
    gz, gx = sg.grad(y, [z, x])
    f = sg.compile([gz, gx])
    sin, cos = np.sin(0.7), np.cos(0.7)
    np.testing.assert_allclose(f(p=True, x=0.7), [3 * sin**2 + 1, (3 * sin**2 + 1) * cos], rtol=1e-14)
    np.testing.assert_allclose(f(p=False, x=0.7), [1.0, 1 + cos], rtol=1e-14)


def test_what_a_branch_of_a_body_computes_is_not_computed_for_the_gradient_elsewhere() -> None:
    """There are three elements, and five rounds of which the last two must not look for one."""
    x = sg.placeholder("x")
    y = sg.fori_loop(0, 5, lambda i, s: s + sg.cond(i < 3, lambda: x[i] ** 3, lambda: s * 0.0), 0.0)
    np.testing.assert_array_equal(sg.compile(y, wrt=[x]).grad(x=np.array([1.0, 2.0, 3.0]))["x"], [3.0, 12.0, 27.0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_keep_their_dtype(dtype: str) -> None:
    x, n = sg.placeholder("x"), sg.placeholder("n")
    f = sg.compile(sg.fori_loop(0, n, lambda i, s: s * x + i, 1.0), wrt=[x])
    value, grads = f.value_and_grad(x=np.dtype(dtype).type(1.5), n=3)
    assert value.dtype == grads["x"].dtype == dtype
    np.testing.assert_allclose([value, grads["x"]], [6.875, 7.75])


def test_states_without_gradient() -> None:
    """Integers, bools and counters among the states, and elements that are integers."""
    x, k = sg.placeholder("x"), sg.placeholder("k")
    y, _ = sg.scan(lambda s, v: ((s[0] * x + v * s[1], s[1] + 1, np.logical_not(s[2])), s[2]), (x, 0, False), k)
    f = sg.compile(y[0], wrt=[x])
    value, grads = f.value_and_grad(x=2.0, k=np.array([1, 2, 3]))
    assert value == 26.0  # ((x² + 0) x + 2) x + 6
    assert grads["x"] == 34.0

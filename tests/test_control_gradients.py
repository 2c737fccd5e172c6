"""Gradients of loops and branches: compiled, interpreted and eager, against differences and each other, to order 2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from control_cases import BRANCHES, LOOPS, Flow
from test_control import plain, symbols

import symgraph as sg
from compiler import interpret

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
    for k, (result, known) in enumerate(zip(plain(flow.program(**values)), reference, strict=True)):
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
    lossy = loss_of_variables(flow, boxes)
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


def loss_of_variables(flow: Flow, boxes: dict[str, Any]) -> Any:
    total: Any = 0.0
    reference = plain(flow.meaning(**flow.values))
    from symgraph.tree import flatten

    for k, (result, known) in enumerate(zip(flatten(flow.program(**boxes))[0], reference, strict=True)):
        if np.asarray(known).dtype.kind == "f":
            total = total + sg.sum(result * weights(known, k))
    return total


@pytest.mark.parametrize("declare", [False, True], ids=["open", "declared"])
@pytest.mark.parametrize("name", FLOWS)
def test_gradients_of_programs(name: str, declare: bool) -> None:
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

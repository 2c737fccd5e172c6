"""Optimisers against trajectories by the published formulas, written here in plain NumPy; and in every mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph import optim, tree
from symgraph.errors import ArgumentError, ShapeError, SymbolError

STEPS = 12
START = {"w": np.array([[1.0, -2.0], [0.5, 3.0]]), "b": np.array(-0.7)}


def loss(params: Any) -> Any:
    """A quartic of which the parameters depend on each other."""
    w, b = params["w"], params["b"]
    return sg.sum((w * w - 1.0) ** 2) + sg.sum(w) * b + b**4


def slopes(w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return 4 * w * (w * w - 1) + b, np.sum(w) + 4 * b**3


Move = Callable[[np.ndarray, np.ndarray, dict[str, Any], int], np.ndarray]


def trajectory(move: Move) -> Iterator[dict[str, np.ndarray]]:
    """Parameters after each step; `move` gives the new value of one, with a memory of its own."""
    held: dict[str, dict[str, Any]] = {"w": {}, "b": {}}
    now = dict(START)
    for t in range(1, STEPS + 1):
        g = dict(zip("wb", slopes(now["w"], now["b"]), strict=True))
        now = {k: move(now[k], g[k], held[k], t) for k in now}
        yield now


def sgd(mu: float, nesterov: bool, lr: float, decay: float) -> Move:
    def move(p: Any, g: Any, m: dict[str, Any], t: int) -> Any:
        g = g + decay * p
        m["v"] = mu * m.get("v", 0) + g
        return p - lr * (g + mu * m["v"] if nesterov else m["v"])

    return move


def adagrad(p: Any, g: Any, m: dict[str, Any], t: int) -> Any:
    m["a"] = m.get("a", 0) + g**2
    return p - 0.05 * g / (np.sqrt(m["a"]) + 1e-10)


def rmsprop(momentum: float) -> Move:
    def move(p: Any, g: Any, m: dict[str, Any], t: int) -> Any:
        m["a"] = 0.9 * m.get("a", 0) + 0.1 * g**2
        m["v"] = momentum * m.get("v", 0) + g / (np.sqrt(m["a"]) + 1e-8)
        return p - 0.01 * m["v"]

    return move


def adam(decay: float, lr: Callable[[int], float] = lambda t: 0.05) -> Move:
    def move(p: Any, g: Any, m: dict[str, Any], t: int) -> Any:
        m["m"] = 0.8 * m.get("m", 0) + 0.2 * g
        m["v"] = 0.95 * m.get("v", 0) + 0.05 * g**2
        mean, second = m["m"] / (1 - 0.8**t), m["v"] / (1 - 0.95**t)
        return p - lr(t) * (mean / (np.sqrt(second) + 1e-8) + decay * p)

    return move


def lion(p: Any, g: Any, m: dict[str, Any], t: int) -> Any:
    old = m.get("m", np.zeros_like(p))
    m["m"] = 0.99 * old + 0.01 * g
    return p - 0.02 * (np.sign(0.9 * old + 0.1 * g) + 0.1 * p)


CASES: dict[str, tuple[optim.Optimiser, Move]] = {
    "SGD": (optim.SGD(0.01), sgd(0, False, 0.01, 0)),
    "SGD, momentum and decay": (optim.SGD(0.01, 0.9, weight_decay=0.1), sgd(0.9, False, 0.01, 0.1)),
    "SGD, Nesterov": (optim.SGD(0.01, 0.9, nesterov=True), sgd(0.9, True, 0.01, 0)),
    "AdaGrad": (optim.AdaGrad(0.05), adagrad),
    "RMSprop": (optim.RMSprop(0.01), rmsprop(0)),
    "RMSprop, momentum": (optim.RMSprop(0.01, momentum=0.5), rmsprop(0.5)),
    "Adam": (optim.Adam(0.05, 0.8, 0.95), adam(0)),
    "AdamW": (optim.AdamW(0.05, 0.8, 0.95, weight_decay=0.1), adam(0.1)),
    "Lion": (optim.Lion(0.02, weight_decay=0.1), lion),
    "Adam, schedule": (
        optim.Adam(optim.exponential_decay(0.05, 0.5, 4), 0.8, 0.95),
        adam(0, lambda t: 0.05 * 0.5 ** ((t - 1) / 4)),
    ),
}


def compiled(opt: optim.Optimiser, start: Any = START) -> Iterator[Any]:
    state = opt.init(start)
    w, s = tree.placeholders("w", start), tree.placeholders("s", state)
    step = sg.compile(opt.update(w, sg.grad(loss(w), w), s))
    params = start
    for _ in range(STEPS):
        params, state = step(**tree.arguments(w, params), **tree.arguments(s, state))
        yield params


def by_run(opt: optim.Optimiser, start: Any = START) -> Iterator[Any]:
    params = tree.map(lambda p: sg.Variable(np.asarray(p)), start)
    state = opt.init(start)
    for _ in range(STEPS):
        tree.map(lambda p: p.cleargrad(), params)
        loss(params).backward()
        with sg.no_grad():
            params, state = opt.update(params, tree.map(lambda p: p.grad, params), state)
        yield tree.map(lambda p: p.data, params)


def on_arrays(opt: optim.Optimiser) -> Iterator[Any]:
    params: Any = START
    state = opt.init(params)
    for _ in range(STEPS):
        grads = dict(zip("wb", slopes(params["w"], params["b"]), strict=True))
        params, state = opt.update(params, grads, state)
        yield params


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("mode", [compiled, by_run, on_arrays])
def test_trajectories(name: str, mode: Callable[..., Iterator[Any]]) -> None:
    opt, move = CASES[name]
    for got, wanted in zip(mode(opt), trajectory(move), strict=True):
        for k in START:
            np.testing.assert_allclose(got[k], wanted[k], rtol=1e-10, err_msg=k)


@pytest.mark.parametrize("name", [*CASES, "LBFGS"])
def test_parameters_keep_their_dtype(name: str) -> None:
    opt = optim.LBFGS(0.1) if name == "LBFGS" else CASES[name][0]
    start = tree.map(lambda p: np.asarray(p, np.float32), START)
    for mode in (compiled, by_run):
        for params in mode(opt, start):
            assert {str(v.dtype) for v in params.values()} == {"float32"}
    state = opt.init(start)
    assert {str(v.dtype) for v in tree.flatten(state)[0]} <= {"float32", "int64"}


# -- L-BFGS ------------------------------------------------------------------------------------------------------------


def dense(history: int, lr: float) -> Iterator[np.ndarray]:
    """The same steps by the inverse Hessian as a matrix, updated pair by pair (Nocedal and Wright, 7.16 and 6.17)."""

    def gradient(x: np.ndarray) -> np.ndarray:
        gw, gb = slopes(x[:4].reshape(2, 2), x[4])
        return np.array([*gw.ravel(), gb])

    x = np.array([*START["w"].ravel(), START["b"]])
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    before = None
    for _ in range(STEPS):
        g = gradient(x)
        if before is not None:
            s, y = x - before[0], g - before[1]
            if s @ y > 1e-10 * (y @ y):
                pairs = [*pairs, (s, y)][-history:]
        inverse = np.eye(5)
        if pairs:
            s, y = pairs[-1]
            inverse *= (s @ y) / (y @ y)
        for s, y in pairs:
            left = np.eye(5) - np.outer(s, y) / (s @ y)
            inverse = left @ inverse @ left.T + np.outer(s, s) / (s @ y)
        scale = lr / max(1.0, np.abs(g).sum()) if before is None else lr
        before = x, g
        x = x - scale * (inverse @ g)
        yield x


@pytest.mark.parametrize("mode", [compiled, by_run, on_arrays])
def test_lbfgs_takes_the_steps_of_the_dense_matrix(mode: Callable[..., Iterator[Any]]) -> None:
    for got, wanted in zip(mode(optim.LBFGS(0.5, history=3)), dense(3, 0.5), strict=True):
        np.testing.assert_allclose([*np.ravel(got["w"]), got["b"]], wanted, rtol=1e-7)


def test_lbfgs_finds_the_least_squares_at_once() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(40, 6)), rng.normal(size=40)
    x = {"x": sg.placeholder("x", shape=(6,), dtype="float64")}
    opt = optim.LBFGS()
    params: Any = {"x": np.zeros(6)}
    state = opt.init(params)
    s = tree.placeholders("s", state)
    step = sg.compile(opt.update(x, sg.grad(np.mean((a @ x["x"] - b) ** 2), x), s))
    for _ in range(30):
        params, state = step(**tree.arguments(x, params), **tree.arguments(s, state))
    np.testing.assert_allclose(params["x"], np.linalg.lstsq(a, b)[0], rtol=1e-8)


# -- gradients made smaller, schedules ---------------------------------------------------------------------------------


def test_clipping() -> None:
    g = {"a": np.array([3.0, 0.0]), "b": np.float32([[4.0]])}
    small = optim.clip_by_global_norm(g, 2.5)
    assert small["a"].tolist() == [1.5, 0] and small["b"].tolist() == [[2]] and small["b"].dtype == np.float32
    assert optim.clip_by_global_norm(g, 6.0)["a"].tolist() == [3, 0]
    zero = optim.clip_by_global_norm([np.zeros(2)], 1.0)
    assert zero[0].tolist() == [0, 0]
    symbols = tree.placeholders("g", g)
    clipped = sg.compile(optim.clip_by_global_norm(symbols, 2.5))(**tree.arguments(symbols, g))
    np.testing.assert_array_equal(clipped["a"], small["a"])
    assert optim.clip_by_value(g, 1.0)["a"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        (optim.exponential_decay(0.3, 0.9, 5), lambda t: 0.3 * 0.9 ** (t / 5)),
        (optim.exponential_decay(0.3, 0.9, 5, staircase=True), lambda t: 0.3 * 0.9 ** (t // 5)),
        (optim.cosine_decay(0.3, 8, 0.1), lambda t: 0.1 + 0.2 * (1 + np.cos(np.pi * min(t / 8, 1))) / 2),
        (optim.piecewise([3.0, 2.0, 1.0], [2, 6]), lambda t: 3.0 if t < 2 else 2.0 if t < 6 else 1.0),
        (optim.warmup(4, 0.8), lambda t: min((t + 1) / 4, 1) * 0.8),
        (optim.warmup(4, optim.piecewise([1.0, 0.5], [3])), lambda t: (t + 1) / 4 if t < 4 else 1.0 if t < 7 else 0.5),
    ],
)
def test_schedules(schedule: optim.Schedule, wanted: Callable[[int], float]) -> None:
    t = sg.placeholder("t", shape=(), dtype="int64")
    f = sg.compile(schedule(t) * 1.0)
    for k in range(12):
        assert float(schedule(k)) == pytest.approx(wanted(k), rel=1e-12)
        assert f(t=k) == pytest.approx(wanted(k), rel=1e-12)


def test_errors() -> None:
    opt = optim.Adam()
    state = opt.init(START)
    with pytest.raises(ShapeError, match="structures differ"):
        opt.update(START, {"w": START["w"]}, state)
    with pytest.raises(SymbolError, match="declare the dtype"):
        opt.update(sg.placeholder("a"), sg.placeholder("g"), opt.init(np.zeros(1)))
    with pytest.raises(ValueError, match="needs a momentum"):
        optim.SGD(nesterov=True)
    with pytest.raises(ValueError, match="history is at least 1"):
        optim.LBFGS(history=0)
    with pytest.raises(ValueError, match="one value more"):
        optim.piecewise([1.0], [2])


# -- as updates --------------------------------------------------------------------------------------------------------


def stepper(opt: optim.Optimiser) -> tuple[Any, Any]:
    params = tree.parameters("net", START)
    return params, sg.compile(loss(params), updates=optim.updates(opt, params, sg.grad(loss(params), params)))


@pytest.mark.parametrize("name", CASES)
def test_updates_are_the_steps_of_the_optimiser(name: str) -> None:
    opt = CASES[name][0]
    params, step = stepper(opt)
    for wanted in compiled(opt):
        step()
        for k in START:
            np.testing.assert_allclose(params[k].value, wanted[k], rtol=1e-12, err_msg=k)


def test_lbfgs_as_updates() -> None:
    opt = optim.LBFGS(history=3)
    params, step = stepper(opt)
    for wanted in compiled(opt):
        step()
        np.testing.assert_allclose(params["w"].value, wanted["w"], rtol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_steps_in_the_kernel_are_the_steps_of_as_many_calls(name: str) -> None:
    (one, step), (many, steps) = stepper(CASES[name][0]), stepper(CASES[name][0])
    values = [step() for _ in range(STEPS)]
    assert steps(steps=STEPS) == pytest.approx(values[-1], rel=1e-12)
    for k in START:
        np.testing.assert_allclose(many[k].value, one[k].value, rtol=1e-12)
    for p, q in zip(step.parameters, steps.parameters, strict=True):
        assert p.name == q.name
        np.testing.assert_allclose(q.value, p.value, rtol=1e-12, err_msg=p.name)


def test_two_optimisers_in_one_function() -> None:
    w, b = sg.parameter("w", 1.0), sg.parameter("b", 1.0)
    error = (w + b - 3) ** 2
    slope_w, slope_b = sg.grad(error, [w, b])
    fast = optim.updates(optim.Adam(0.1), w, slope_w, name="fast")
    step = sg.compile(error, updates={**fast, **optim.updates(optim.Adam(0.001), b, slope_b)})
    assert step(steps=100) < 1e-2
    assert {p.name for p in step.parameters} >= {"fast_step", "adam_step", "fast_mean", "adam_mean"}
    assert abs(w.value - 1) > 5 * abs(b.value - 1)


def test_updates_of_what_is_no_parameter() -> None:
    with pytest.raises(ArgumentError, match=r"params must be a tree of parameters, got array.*tree.parameters"):
        optim.updates(optim.SGD(), {"w": np.ones(2)}, {"w": np.ones(2)})
    with pytest.raises(ShapeError, match="structures differ"):
        optim.updates(optim.SGD(), {"w": sg.parameter("w", 1.0)}, [1.0])

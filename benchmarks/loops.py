"""Loops inside compiled functions: time per round, compile time, and memory against the number of rounds.

A loop is written once, over a module in NumPy's style and the loop functions of a library; Numba's rows are written by
hand. Each row is measured in one process, the libraries in turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.memory import held_by
from benchmarks.processes import Say, ask
from benchmarks.setting import chosen, install_hint, say, setting, write

# -- the loops ---------------------------------------------------------------------------------------------------------

STEP = 1e-4


def lorenz(xp: Any, loops: Any, s: Any, r: Any, b: Any, *, steps: int) -> Any:
    """Lorenz's system by Runge and Kutta's method of order 4; the sum of the last state."""

    def slope(x: Any, y: Any, z: Any) -> Any:
        return s * (y - x), x * (r - z) - y, x * y - b * z

    def ahead(state: Any, slopes: Any, h: float) -> Any:
        return tuple(v + h * k for v, k in zip(state, slopes, strict=True))

    def step(i: Any, state: Any) -> Any:
        one = slope(*state)
        two = slope(*ahead(state, one, STEP / 2))
        three = slope(*ahead(state, two, STEP / 2))
        four = slope(*ahead(state, three, STEP))
        return tuple(
            v + STEP / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            for v, k1, k2, k3, k4 in zip(state, one, two, three, four, strict=True)
        )

    x, y, z = loops.fori_loop(0, steps, step, (1.0, 1.0, 1.0))
    return x + y + z


def logistic(xp: Any, loops: Any, r: Any, *, steps: int) -> Any:
    """The logistic map."""
    return loops.fori_loop(0, steps, lambda i, x: r * x * (1 - x), 0.3)


def tridiagonal(xp: Any, loops: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Thomas's algorithm."""

    def down(state: Any, row: Any) -> Any:
        u, v = state
        a, b, c, d = row
        m = b - a * u
        u, v = c / m, (d - a * v) / m
        return (u, v), (u, v)

    _, (upper, right) = loops.scan(down, (0.0, 0.0), (a, b, c, d))

    def up(following: Any, row: Any) -> Any:
        u, v = row
        x = v - u * following
        return x, x

    return loops.scan(up, 0.0, (upper, right), reverse=True)[1]


def kalman(xp: Any, loops: Any, q: Any, r: Any, *, z: Any) -> Any:
    """A constant-velocity filter: the likelihood of positions z, but for factors."""

    def step(state: Any, z: Any) -> Any:
        p, v, a, b, c, total = state
        p, a, b, c = p + v, a + 2 * b + c + q / 4, b + c + q / 2, c + q
        s = a + r
        e = z - p
        g, h = a / s, b / s
        total = total + xp.log(s) + e * e / s
        return (p + g * e, v + h * e, (1 - g) * a, (1 - g) * b, c - h * b, total), None

    return loops.scan(step, (0.0, 0.0, 1.0, 0.0, 1.0, 0.0), z)[0][5]


def lstm(xp: Any, loops: Any, x: Any, w: Any, u: Any, b: Any) -> Any:
    """A long short-term memory; the sum of squares of all it gives."""
    units = u.shape[0]

    def cell(state: Any, z: Any) -> Any:
        h, c = state
        z = z + h @ u
        i, f, g, o = (z[:, k * units : (k + 1) * units] for k in range(4))
        c = loops.sigmoid(f) * c + loops.sigmoid(i) * xp.tanh(g)
        h = loops.sigmoid(o) * xp.tanh(c)
        return (h, c), h

    start = xp.zeros_like(x[0] @ w[:, :units])
    return xp.sum(loops.scan(cell, (start, start), x @ w + b)[1] ** 2)


def mandelbrot(xp: Any, loops: Any, x: Any, y: Any, *, limit: int) -> Any:
    """Rounds until points escape."""

    def point(c: Any) -> Any:
        x, y = c

        def more(state: Any) -> Any:
            u, v, k = state
            return (k < limit) & (u * u + v * v <= 4)

        def round_(state: Any) -> Any:
            u, v, k = state
            return u * u - v * v + x, 2 * u * v + y, k + 1

        return loops.while_loop(more, round_, (0.0 * x, 0.0 * x, 0))[2]

    return loops.map(point, (x, y))


@dataclass(frozen=True)
class Task:
    """A loop, its arguments, and what is asked for; `rounds` are all rounds, for the time of one."""

    name: str
    formula: Callable[..., Any]
    arguments: Callable[[], dict[str, Any]]
    fixed: dict[str, Any]
    wrt: tuple[str, ...]
    rounds: int
    by_hand: str = ""
    peers: tuple[str, ...] = ("JAX", "Numba by hand")


def _rows(n: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    a, b, c, d = rng.normal(size=(4, n))
    return {"a": a, "b": b + np.sign(b) * 5, "c": c, "d": d}


def _recurrent() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shapes = {"x": (256, 32, 128), "w": (128, 512), "u": (128, 512), "b": (512,)}
    return {name: (0.1 * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}


def _plane() -> dict[str, Any]:
    x, y = np.meshgrid(np.linspace(-2, 0.5, 512), np.linspace(-1.2, 1.2, 512))
    return {"x": x.ravel(), "y": y.ravel()}


def _positions() -> np.ndarray:
    return np.cumsum(np.random.default_rng(0).normal(size=100_000))


CHAOS = {"s": 10.0, "r": 28.0, "b": 8 / 3}
TASKS: tuple[Task, ...] = (
    Task("Lorenz, 10,000 steps", lorenz, lambda: CHAOS, {"steps": 10_000}, (), 10_000, "lorenz"),
    Task("Lorenz, 10,000 steps, value and gradient", lorenz, lambda: CHAOS, {"steps": 10_000}, ("s", "r", "b"), 10_000,
         peers=("JAX", "torch")),
    Task("logistic map, 10,000,000 steps", logistic, lambda: {"r": 3.7}, {"steps": 10_000_000}, (), 10_000_000,
         "logistic"),
    Task("logistic map, 10,000,000 steps, value and gradient", logistic, lambda: {"r": 2.7}, {"steps": 10_000_000},
         ("r",), 10_000_000, "logistic_with_gradient"),
    Task("tridiagonal system of 100,000", tridiagonal, lambda: _rows(100_000), {}, (), 100_000, "tridiagonal"),
    Task("tridiagonal system of 100,000, value and gradient", tridiagonal, lambda: _rows(100_000), {},
         ("a", "b", "c", "d"), 100_000, peers=("JAX",)),
    Task("Kalman filter, 100,000 steps", kalman, lambda: {"q": 0.1, "r": 1.0}, {"z": _positions()}, (), 100_000,
         "kalman"),
    Task("Kalman filter, 100,000 steps, value and gradient", kalman, lambda: {"q": 0.1, "r": 1.0},
         {"z": _positions()}, ("q", "r"), 100_000, peers=("JAX",)),
    Task("LSTM of 128 units, 256 steps, batch 32, float32, value and gradient", lstm, _recurrent, {},
         ("w", "u", "b"), 256, peers=("JAX", "torch")),
    Task("Mandelbrot, 512 × 512, at most 200 rounds", mandelbrot, _plane, {"limit": 200}, (), 512 * 512,
         "mandelbrot"),
)  # fmt: skip


# -- the libraries -----------------------------------------------------------------------------------------------------


def by_symgraph(task: Task, arguments: dict[str, Any]) -> Callable[[], Sequence[Any]]:
    import symgraph as sg

    symbols = [sg.placeholder(name, np.shape(v), np.asarray(v).dtype) for name, v in arguments.items()]
    f = sg.compile(task.formula(np, sg, *symbols, **task.fixed), inputs=symbols, wrt=list(task.wrt) or None)
    if not task.wrt:
        return lambda: (f(**arguments),)

    def both() -> Sequence[Any]:
        value, grads = f.value_and_grad(**arguments)
        return value, *grads.values()

    return both


def by_jax(task: Task, arguments: dict[str, Any]) -> Callable[[], Sequence[Any]]:
    import jax

    jax.config.update("jax_enable_x64", True)
    loops = SimpleNamespace(
        fori_loop=jax.lax.fori_loop,
        scan=lambda body, init, xs, reverse=False: jax.lax.scan(body, init, xs, reverse=reverse),
        while_loop=jax.lax.while_loop,
        map=lambda body, xs: jax.vmap(body)(xs),
        sigmoid=jax.nn.sigmoid,
    )
    names = list(arguments)

    def value(*given: Any) -> Any:
        result = task.formula(jax.numpy, loops, *given, **task.fixed)
        return jax.numpy.sum(result) if task.wrt else result

    given = [jax.device_put(v) for v in arguments.values()]
    f = jax.jit(jax.value_and_grad(value, tuple(map(names.index, task.wrt))) if task.wrt else value)
    if not task.wrt:
        return lambda: (np.asarray(f(*given)),)

    def both() -> Sequence[Any]:
        result, grads = f(*given)
        return [np.asarray(result), *map(np.asarray, grads)]

    return both


def by_torch(task: Task, arguments: dict[str, Any]) -> Callable[[], Sequence[Any]]:
    import torch

    given = {name: torch.tensor(v, requires_grad=name in task.wrt) for name, v in arguments.items()}

    def fori_loop(low: int, high: int, body: Any, state: Any) -> Any:
        for i in range(low, high):
            state = body(i, state)
        return state

    layer: Any = None
    if task.formula is lstm:  # its own layer; its gates stand in the same order
        layer = torch.nn.LSTM(128, 128)
        with torch.no_grad():
            layer.weight_ih_l0.copy_(given["w"].T)
            layer.weight_hh_l0.copy_(given["u"].T)
            layer.bias_ih_l0.copy_(given["b"])
            layer.bias_hh_l0.zero_()

    def both() -> Sequence[Any]:
        if layer is not None:
            layer.zero_grad()
            value = (layer(given["x"])[0] ** 2).sum()
            value.backward()
            grads = [layer.weight_ih_l0.grad.T, layer.weight_hh_l0.grad.T, layer.bias_ih_l0.grad]
        else:
            for name in task.wrt:
                given[name].grad = None
            value = task.formula(torch, SimpleNamespace(fori_loop=fori_loop), *given.values(), **task.fixed)
            value.backward()
            grads = [given[name].grad for name in task.wrt]
        return [value.detach().numpy(), *(g.detach().numpy() for g in grads)]

    return both


def by_numba(task: Task, arguments: dict[str, Any]) -> Callable[[], Sequence[Any]]:
    from benchmarks import loops_by_numba

    f, fixed = getattr(loops_by_numba, task.by_hand), list(task.fixed.values())
    given = list(arguments.values())
    if task.formula is lorenz:
        fixed.append(STEP)
    if task.formula is kalman:
        given, fixed = fixed, given

    def call() -> Sequence[Any]:
        found = f(*given, *fixed)
        return found if isinstance(found, tuple) else (found,)

    return call


PREPARE: dict[str, Callable[[Task, dict[str, Any]], Callable[[], Sequence[Any]]]] = {
    "symgraph": by_symgraph,
    "JAX": by_jax,
    "torch": by_torch,
    "Numba by hand": by_numba,
}
KEYS = {"jax": "JAX", "torch.compile": "torch", "numba": "Numba by hand"}


# -- measuring ---------------------------------------------------------------------------------------------------------


def one_task(say: Say, title: str, names: list[str], seconds: float) -> dict[str, Any]:
    """The libraries on one loop, in turns: seconds per call, seconds to compile, and how far results differ."""
    task = next(t for t in TASKS if t.name == title)
    arguments = task.arguments()
    calls: dict[str, Callable[[], Sequence[Any]]] = {}
    found: dict[str, Any] = {}
    reference: Sequence[Any] = ()
    for name in names:
        say(name)
        _wake(name)
        start = time.perf_counter()
        calls[name] = PREPARE[name](task, arguments)
        results = calls[name]()
        first = time.perf_counter() - start
        reference = reference or results
        found[name] = {"first": first, "seconds": first, "difference": _difference(results, reference)}
    deadline = dict.fromkeys(names, seconds)
    while any(left > 0 for left in deadline.values()):
        for name in names:
            if deadline[name] > 0:
                say(name)
                start = time.perf_counter()
                calls[name]()
                passed = time.perf_counter() - start
                found[name]["seconds"] = min(found[name]["seconds"], passed)
                deadline[name] -= passed
    for entry in found.values():
        entry["compile"] = max(entry.pop("first") - entry["seconds"], 0.0)
    return found


def _wake(name: str) -> None:
    """What a library does once is no part of compiling a loop."""
    small = Task("", logistic, lambda: {"r": 0.5}, {"steps": 3}, ("r",), 3, "logistic")
    PREPARE[name](small, small.arguments())()


def _difference(results: Sequence[Any], reference: Sequence[Any]) -> float:
    worst = 0.0
    for a, b in zip(results, reference, strict=True):
        # a result with many elements is summed by those that differentiate it
        x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
        x, y = (np.sum(x), np.sum(y)) if x.shape != y.shape else (x, y)
        worst = max(worst, float(np.max(np.abs(x - y)) / (np.max(np.abs(y)) or 1)))
    return worst


STEPS = (100_000, 1_000_000, 10_000_000)


def grown(say: Say, name: str, checkpoint: Any, steps: int) -> int:
    """The bytes that value and gradient of the logistic map hold at most."""
    say(name)
    if name == "symgraph":
        import symgraph as sg

        r = sg.placeholder("r", (), "float64")
        f = sg.compile(sg.fori_loop(0, steps, lambda i, x: r * x * (1 - x), 0.3, checkpoint=checkpoint))
        return held_by(lambda: f.value_and_grad(r=2.7))
    task = Task("", logistic, lambda: {"r": 2.7}, {"steps": steps}, ("r",), steps)
    return held_by(PREPARE[name](task, task.arguments()))


def run(args: argparse.Namespace, argv: Sequence[str]) -> int:
    """The tables; 1 where results disagree."""
    competitors, missing = chosen(args.peers)
    install_hint(missing)
    peers = {KEYS[c.key] for c in competitors if c.key in KEYS} | {"symgraph"}
    data: dict[str, Any] = {"rows": {}, "memory": []}
    wrong = 0
    for task in TASKS:
        names = ["symgraph", *(p for p in task.peers if p in peers)]
        failures: dict[str, str] = {}
        while True:
            answer = ask(
                one_task, (task.name, names, args.seconds), args.limit, lambda n, t=task: say(f"{t.name}: {n}")
            )
            if answer.result is not None or answer.at not in names:
                break
            failures[answer.at] = answer.reason
            names.remove(answer.at)
        data["rows"][task.name] = {"results": answer.result or {}, "failures": failures, "rounds": task.rounds}
        limit = 1e-3 if "float32" in task.name else 1e-6
        wrong += any(not r["difference"] <= limit for r in (answer.result or {}).values()) or "symgraph" in failures
    for name, checkpoint in (("symgraph", "all"), ("symgraph", "sqrt"), ("JAX", None)):
        if name in peers:
            held = [ask(grown, (name, checkpoint, steps), args.limit, say).result for steps in STEPS]
            data["memory"].append({"name": name, "checkpoint": checkpoint, "bytes": held})
    whole = {**setting(competitors, argv, 0.0), **data}
    write(args, "loops", whole, markdown(whole))
    print(markdown(whole))
    return int(bool(wrong))


def markdown(data: dict[str, Any]) -> str:
    """The tables as text."""
    columns = list(PREPARE)
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for name, row in data["rows"].items():
        cells = []
        for column in columns:
            entry = row["results"].get(column)
            if entry is None:
                cells.append(row["failures"].get(column, ""))
            else:
                each = entry["seconds"] / row["rounds"] * 1e9
                cells.append(f"{_scaled(entry['seconds'])}; {each:.3g} ns; {entry['compile']:.2g} s")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| bytes held, logistic map, value and gradient | " + " | ".join(f"{s:,} steps" for s in STEPS) + " |",
    ]
    lines.append("|---|" + "---:|" * len(STEPS))
    for row in data["memory"]:
        title = row["name"] + (f", checkpoint={row['checkpoint']!r}" if row["checkpoint"] else "")
        lines.append(
            f"| {title} | " + " | ".join("" if b is None else f"{b / 1e6:,.1f} MB" for b in row["bytes"]) + " |"
        )
    return "\n".join(lines) + "\n"


def _scaled(seconds: float) -> str:
    for unit, factor in (("µs", 1e6), ("ms", 1e3)):
        if seconds * factor < 1000:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"

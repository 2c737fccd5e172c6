"""Programs with loops and branches, and the same in plain Python and NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

import symgraph as sg
from symgraph.tree import flatten


class Flow(NamedTuple):
    """A program of loops and branches, its meaning in Python's own, and what both are given by keyword."""

    program: Callable[..., Any]
    meaning: Callable[..., Any]
    values: Mapping[str, Any]


class Pair(NamedTuple):
    """A state with names."""

    low: Any
    high: Any


def real(*shape: int, seed: int = 0, dtype: Any = np.float64) -> Any:
    """Moderate numbers."""
    return np.asarray(np.random.default_rng((seed, *shape)).uniform(0.5, 1.5, shape)).astype(dtype)


DECLARED = ("nothing", "axes", "sizes")
"""What placeholders declare; small arrays of declared sizes become numbers in the bodies of loops."""


def symbols(values: Mapping[str, Any], *, declare: str) -> dict[str, Any]:
    """A placeholder for each value."""
    if declare == "nothing":
        return {name: sg.placeholder(name) for name in values}
    return {
        name: sg.placeholder(
            name, shape=np.shape(x) if declare == "sizes" else (None,) * np.ndim(x), dtype=np.asarray(x).dtype
        )
        for name, x in values.items()
    }


def plain(tree: Any) -> list[Any]:
    """The arrays of a result."""
    return [v.data if isinstance(v, sg.Variable) else v for v in flatten(tree)[0]]


def nested(depth: int, x: Any, y: Any) -> Any:
    """Conditions in conditions: as many as y is large are taken."""
    if depth == 0:
        return x
    return sg.cond(y > depth, lambda: nested(depth - 1, x * 1.25 - y, y), lambda: x + depth)


def nested_meaning(depth: int, x: Any, y: Any) -> Any:
    while depth and y > depth:
        x, depth = x * 1.25 - y, depth - 1
    return x + depth if depth else x


def tower(depth: int, x: Any, s: Any) -> Any:
    """Loops in loops, one round each."""
    if depth == 0:
        return s * 0.5 + x
    return sg.fori_loop(0, 1, lambda i, s: tower(depth - 1, x, s), s)


def looped(rounds: Any, body: Callable[[int, Any], Any], state: Any) -> Any:
    for i in range(int(rounds)):
        state = body(i, state)
    return state


def scanned(body: Callable[[Any, Any], Any], state: Any, xs: Any, reverse: bool = False) -> Any:
    rows = []
    for x in xs[::-1] if reverse else xs:
        state, y = body(state, x)
        rows.append(y)
    return state, np.array(rows[::-1] if reverse else rows, np.asarray(xs).dtype)


def collatz(n: int) -> tuple[int, int]:
    rounds = 0
    while n != 1:
        n, rounds = (n // 2 if n % 2 == 0 else 3 * n + 1), rounds + 1
    return n, rounds


def escape(cr: float, ci: float) -> int:
    zr = zi = 0.0
    k = 0
    while k < 30 and zr * zr + zi * zi <= 4.0:
        zr, zi, k = zr * zr - zi * zi + cr, 2 * zr * zi + ci, k + 1
    return k


def mandelbrot(cr: Any, ci: Any) -> Any:
    return sg.while_loop(
        lambda s: np.logical_and(s[2] < 30, s[0] * s[0] + s[1] * s[1] <= 4.0),
        lambda s: (s[0] * s[0] - s[1] * s[1] + cr, 2 * s[0] * s[1] + ci, s[2] + 1),
        (0.0 * cr, 0.0 * cr, 0),
    )[2]


def halves_and_more(n: Any) -> Any:
    return sg.while_loop(
        lambda s: s[0] > 1,
        lambda s: (sg.cond(np.equal(s[0] % 2, 0), lambda: s[0] // 2, lambda: 3 * s[0] + 1), s[1] + 1),
        (n, 0),
    )


def thomas(a: Any, b: Any, c: Any, d: Any) -> Any:
    """A tridiagonal system: forward elimination, then substitution backwards."""

    def forward(state: Any, row: Any) -> Any:
        cp, dp = state
        a, b, c, d = row
        m = b - a * cp
        return (c / m, (d - a * dp) / m), (c / m, (d - a * dp) / m)

    _, (cs, ds) = sg.scan(forward, (0.0, 0.0), (a, b, c, d))

    def back(x: Any, row: Any) -> Any:
        x = row[1] - row[0] * x
        return x, x

    return sg.scan(back, 0.0, (cs, ds), reverse=True)[1]


def thomas_meaning(a: Any, b: Any, c: Any, d: Any) -> Any:
    n = len(b)
    cs, ds, xs = np.zeros(n), np.zeros(n), np.zeros(n)
    cp = dp = x = 0.0
    for k in range(n):
        m = b[k] - a[k] * cp
        cp, dp = c[k] / m, (d[k] - a[k] * dp) / m
        cs[k], ds[k] = cp, dp
    for k in reversed(range(n)):
        x = xs[k] = ds[k] - cs[k] * x
    return xs


A, B = real(4, seed=1), real(4, seed=2)
M = real(3, 4, seed=3)
SQUARE = real(3, 3, seed=4) / 4

BRANCHES: dict[str, Flow] = {
    "cond": Flow(
        lambda p, x, y: sg.cond(p, lambda: x + y, lambda: x * y),
        lambda p, x, y: x + y if p else x * y,
        {"p": np.True_, "x": 2.0, "y": 3.0},
    ),
    "cond, the other way": Flow(
        lambda p, x, y: sg.cond(p, lambda: x + y, lambda: x * y),
        lambda p, x, y: x + y if p else x * y,
        {"p": np.False_, "x": 2.0, "y": 3.0},
    ),
    "cond on a comparison": Flow(
        lambda x, y: sg.cond(x < y, lambda a, b: a - b, lambda a, b: b / a, x, y),
        lambda x, y: x - y if x < y else y / x,
        {"x": 2.0, "y": 3.0},
    ),
    "cond on a number": Flow(
        lambda n, x: sg.cond(n, lambda: x, lambda: -x), lambda n, x: x if n else -x, {"n": np.int64(7), "x": A}
    ),
    "cond of arrays": Flow(
        lambda p, x, y: sg.cond(p > 0, lambda: x * y + 1, lambda: x[::-1] - y),
        lambda p, x, y: x * y + 1 if p > 0 else x[::-1] - y,
        {"p": -1.0, "x": A, "y": B},
    ),
    "cond of trees": Flow(
        lambda p, x, y: sg.cond(
            p > 0, lambda: {"a": (x, y), "b": Pair(x * y, x)}, lambda: {"a": (y, x), "b": Pair(x - y, y)}
        ),
        lambda p, x, y: (x, y, x * y, x) if p > 0 else (y, x, x - y, y),
        {"p": 1.0, "x": A, "y": B},
    ),
    "cond whose branches are inputs": Flow(
        lambda p, x, y: (sg.cond(p, lambda: x, lambda: y), x),
        lambda p, x, y: ((x if p else y), x),
        {"p": np.False_, "x": A, "y": B},
    ),
    "cond of constants": Flow(
        lambda p: sg.cond(p, lambda: 2.5, lambda: -1.5), lambda p: np.float64(2.5 if p else -1.5), {"p": np.True_}
    ),
    "cond of constant arrays": Flow(
        lambda p: sg.cond(p, lambda: np.array([1.0, 2.0]), lambda: np.array([3.0, 4.0])),
        lambda p: np.array([1.0, 2.0] if p else [3.0, 4.0]),
        {"p": np.False_},
    ),
    "cond with both branches equal": Flow(
        lambda p, x: sg.cond(p, lambda: x * 2, lambda: x * 2), lambda p, x: x * 2, {"p": np.True_, "x": A}
    ),
    "two conds by one condition": Flow(
        lambda p, x, y: sg.cond(p > 0, lambda: x - y, lambda: x * y) + sg.cond(p > 0, lambda: x, lambda: y),
        lambda p, x, y: ((x - y) if p > 0 else x * y) + (x if p > 0 else y),
        {"p": 1.0, "x": A, "y": B},
    ),
    "cond that waits for a cond": Flow(
        lambda x, y: sg.cond(
            sg.cond(x < y, lambda: x * 2, lambda: y) > 3, lambda: x + 1, lambda: sg.cond(y > 2, lambda: x, lambda: -x)
        ),
        lambda x, y: x + 1 if (x * 2 if x < y else y) > 3 else x if y > 2 else -x,
        {"x": 2.0, "y": 3.0},
    ),
    "switch": Flow(
        lambda k, x: sg.switch(k, [lambda: x + 1, lambda: x * x, lambda: -x]),
        lambda k, x: [x + 1, x * x, -x][k],
        {"k": np.int64(1), "x": A},
    ),
    "switch of one": Flow(lambda k, x: sg.switch(k, [lambda: x + 1]), lambda k, x: x + 1, {"k": np.int64(0), "x": A}),
    "switch by a small integer": Flow(
        lambda k, x: sg.switch(k, [lambda x: x + 1, lambda x: x * x, lambda x: -x], x),
        lambda k, x: [x + 1, x * x, -x][k],
        {"k": np.uint8(2), "x": 1.5},
    ),
    "switch in cond": Flow(
        lambda k, x: sg.cond(k > 1, lambda: sg.switch(k - 2, [lambda: x, lambda: x * 3]), lambda: -x),
        lambda k, x: [x, x * 3][k - 2] if k > 1 else -x,
        {"k": np.int64(3), "x": A},
    ),
    "deep conds": Flow(lambda x, y: nested(25, x, y), lambda x, y: nested_meaning(25, x, y), {"x": 1.0, "y": 13.5}),
    "matrix products in branches": Flow(
        lambda p, m: sg.cond(p, lambda: m @ m, lambda: m.T @ m),
        lambda p, m: m @ m if p else m.T @ m,
        {"p": np.True_, "m": np.arange(9.0).reshape(3, 3)},
    ),
    "sums in branches": Flow(
        lambda p, m: sg.cond(p, lambda: m.max(axis=0), lambda: m.min(axis=0)),
        lambda p, m: m.max(axis=0) if p else m.min(axis=0),
        {"p": np.False_, "m": M},
    ),
}

LOOPS: dict[str, Flow] = {
    "while": Flow(
        lambda x: sg.while_loop(lambda s: s[0] <= 100, lambda s: (s[0] + x, s[1] + 1), (0.0 * x, 0)),
        lambda x: (np.float64(102.0), 34),
        {"x": 3.0},
    ),
    "while that never runs": Flow(
        lambda x: sg.while_loop(lambda s: s < 0, lambda s: s * 2, x), lambda x: x, {"x": 3.0}
    ),
    "while over an array": Flow(
        lambda x: sg.while_loop(lambda s: s.max() < 100, lambda s: s * 2, x), lambda x: x * 2.0**7, {"x": A}
    ),
    "while of integers": Flow(halves_and_more, lambda n: collatz(int(n)), {"n": np.int64(27)}),
    "while with a flag": Flow(
        lambda x: sg.while_loop(
            lambda s: np.logical_not(s["done"]),
            lambda s: {"x": s["x"] / 2, "done": s["x"] < 4},
            {"x": x, "done": False},
        ),
        lambda x: (x / 2**5, np.True_),
        {"x": 57.0},
    ),
    "while bounded": Flow(
        lambda x: sg.while_loop(lambda s: s < 50, lambda s: s + x, x, max_iterations=20), lambda x: x * 17, {"x": 3.0}
    ),
    "map to rows that are all the same": Flow(
        lambda x, v, w: sg.map(lambda one: x * v, w),
        lambda x, v, w: np.stack([x * v] * len(w)),
        {"x": 1.5, "v": real(5), "w": real(2)},
    ),
    "one element of a state": Flow(
        lambda x: sg.fori_loop(0, 3, lambda i, s: s[0] * 0.5 + x, x),
        lambda x: looped(3, lambda i, s: s[0] * 0.5 + x, x),
        {"x": A},
    ),
    "escape counts": Flow(
        lambda c: sg.map(lambda c: mandelbrot(c[0], c[1]), c),
        lambda c: np.array([escape(*row) for row in c.tolist()]),
        {"c": np.random.default_rng(1).uniform(-2, 1, (40, 2))},
    ),
    "fori": Flow(
        lambda x: sg.fori_loop(0, 5, lambda i, s: s * x + i, 1.0),
        lambda x: looped(5, lambda i, s: s * x + i, 1.0),
        {"x": 1.5},
    ),
    "fori, rounds found at run time": Flow(
        lambda x, n: sg.fori_loop(0, n, lambda i, s: s * x + i, 1.0),
        lambda x, n: looped(n, lambda i, s: s * x + i, 1.0),
        {"x": 1.5, "n": np.int64(6)},
    ),
    "fori from one symbol to another": Flow(
        lambda x, a, b: sg.fori_loop(a, b, lambda i, s: s + x * i, 0.0 * x),
        lambda x, a, b: x * (3 + 4 + 5 + 6),
        {"x": 1.5, "a": np.int64(3), "b": np.int64(7)},
    ),
    "fori of no rounds": Flow(lambda x: sg.fori_loop(0, 0, lambda i, s: s * x, x), lambda x: x, {"x": 1.5}),
    "fori of fewer than no rounds": Flow(
        lambda x, n: sg.fori_loop(0, n, lambda i, s: s * x, x), lambda x, n: x, {"x": A, "n": np.int64(-4)}
    ),
    "fori over an array": Flow(
        lambda x, y: sg.fori_loop(0, 4, lambda i, s: s * y - x, x),
        lambda x, y: looped(4, lambda i, s: s * y - x, x),
        {"x": A, "y": B},
    ),
    "fori over a matrix and a vector": Flow(
        lambda m, x: sg.fori_loop(0, 3, lambda i, s: (s[0].T, s[1] + s[0].max(axis=1)), (m, x)),
        lambda m, x: looped(3, lambda i, s: (s[0].T, s[1] + s[0].max(axis=1)), (m, x)),
        {"m": SQUARE, "x": real(3)},
    ),
    "fori that swaps": Flow(
        lambda x, y, n: sg.fori_loop(0, n, lambda i, s: (s[1], s[0]), (x, y)),
        lambda x, y, n: (y, x),
        {"x": A, "y": B, "n": np.int64(3)},
    ),
    "fori that swaps numbers": Flow(
        lambda x, y, n: sg.fori_loop(0, n, lambda i, s: (s[1], s[0] + 1), (x, y)),
        lambda x, y, n: (y + 1, x + 2),
        {"x": 1.5, "y": 7.0, "n": np.int64(3)},
    ),
    "fori that rotates three": Flow(
        lambda x, y, n: sg.fori_loop(0, n, lambda i, s: (s[1], s[2], s[0]), (x, y, x * y)),
        lambda x, y, n: (x * y, x, y),
        {"x": A, "y": B, "n": np.int64(5)},
    ),
    "fori that leaves a state": Flow(
        lambda x, y: sg.fori_loop(0, 3, lambda i, s: (s[0], s[1] - s[0]), (x, y)),
        lambda x, y: (x, looped(3, lambda i, s: s - x, y)),
        {"x": A, "y": B},
    ),
    "fori of equal states": Flow(
        lambda x: sg.fori_loop(0, 3, lambda i, s: (s[0] * 2, s[0] * 2), (x, x)),
        lambda x: (x * 8, x * 8),
        {"x": A},
    ),
    "fori that forgets": Flow(lambda x, y: sg.fori_loop(0, 3, lambda i, s: y, x), lambda x, y: y, {"x": A, "y": B}),
    "fori that ends at a constant": Flow(
        lambda x: sg.fori_loop(0, 3, lambda i, s: 2.5, x), lambda x: np.float64(2.5), {"x": 1.0}
    ),
    "fori that looks at its rounds": Flow(
        lambda x: sg.fori_loop(0, 4, lambda i, s: s + x[i] * i, 0.0),
        lambda x: looped(4, lambda i, s: s + x[i] * i, 0.0),
        {"x": A},
    ),
    "trees": Flow(
        lambda x, y: sg.fori_loop(
            0,
            3,
            lambda i, s: {"p": Pair(s["p"].high, s["p"].low * y), "q": [s["q"][0] + 1, (s["q"][1][0] - x,)]},
            {"p": Pair(x, y), "q": [0, (x,)]},
        ),
        lambda x, y: (y * y, x * y * y, 3, x - x - x - x),
        {"x": A, "y": B},
    ),
    "float32": Flow(
        lambda x: sg.fori_loop(0, 3, lambda i, s: s * x + 0.5, 1.0),
        lambda x: looped(3, lambda i, s: s * x + np.float32(0.5), np.float32(1.0)),
        {"x": np.float32(1.1)},
    ),
    "promotion": Flow(
        lambda x: sg.fori_loop(0, 3, lambda i, s: (s[0] + 1, s[1] * x, s[0] > 0), (0, 1, False)),
        lambda x: (3, x * x * x, np.True_),
        {"x": 1.25},
    ),
    "promotion from state to state": Flow(
        lambda x: sg.fori_loop(0, 4, lambda i, s: (s[1] + 1, s[2] + 1, s[0] * x), (0, 0, 0)),
        lambda x: looped(4, lambda i, s: (s[1] + 1, s[2] + 1, s[0] * x), (0.0, 0.0, 0.0)),
        {"x": 1.25},
    ),
    "small integers": Flow(
        lambda n: sg.fori_loop(0, 6, lambda i, s: s * n + n, n),
        lambda n: looped(6, lambda i, s: s * n + n, n),
        {"n": np.array([7], np.int8)},
    ),
    "scan": Flow(
        lambda x: sg.scan(lambda s, v: (s + v, s * v), 0.5, x),
        lambda x: scanned(lambda s, v: (s + v, s * v), 0.5, x),
        {"x": A},
    ),
    "scan backwards": Flow(
        lambda x: sg.scan(lambda s, v: (s - v, s * v), 0.5, x, reverse=True),
        lambda x: scanned(lambda s, v: (s - v, s * v), 0.5, x, reverse=True),
        {"x": A},
    ),
    "scan over several": Flow(
        lambda x, k, b: sg.scan(
            lambda s, v: (s + v["x"] * v["k"], {"s": s, "b": np.logical_not(v["b"])}), 0.0, {"x": x, "k": k, "b": b}
        ),
        lambda x, k, b: (
            looped(4, lambda i, s: s + x[i] * k[i], 0.0),
            np.array([looped(j, lambda i, s: s + x[i] * k[i], 0.0) for j in range(4)]),
            np.logical_not(b),
        ),
        {"x": A, "k": np.arange(4), "b": np.array([True, False, True, True])},
    ),
    "scan of rows": Flow(
        lambda m, y: sg.scan(lambda s, row: (s * row, (s - row, row[1])), y, m),
        lambda m, y: (
            y * m[0] * m[1] * m[2],
            np.array([y - m[0], y * m[0] - m[1], y * m[0] * m[1] - m[2]]),
            m[:, 1],
        ),
        {"m": M, "y": B},
    ),
    "scan over a view": Flow(
        lambda m: sg.scan(lambda s, row: (s + row, s * 2), np.zeros(3), m.T[::-1]),
        lambda m: scanned(lambda s, row: (s + row, s * 2), np.zeros(3), m.T[::-1]),
        {"m": M},
    ),
    "scan without state": Flow(
        lambda x, y: sg.scan(lambda _, v: (None, v * y), None, x)[1], lambda x, y: x * y, {"x": A, "y": 2.5}
    ),
    "scan without rows": Flow(
        lambda x: sg.scan(lambda s, _: (s * x, s), 1.0, length=4),
        lambda x: (x * x * x * x, np.array([1.0, x, x * x, x * x * x])),
        {"x": 1.5},
    ),
    "scan over nothing": Flow(
        lambda x: sg.scan(lambda s, v: (s + v, s > v), 0.5, x),
        lambda x: (np.float64(0.5), np.zeros(0, bool)),
        {"x": np.zeros(0)},
    ),
    "map": Flow(lambda m: sg.map(lambda row: row * row[0], m), lambda m: m * m[:, :1], {"m": M}),
    "map of pairs": Flow(
        lambda m, x: sg.map(lambda v: {"a": v[0] * v[1], "b": v[1] > 1}, (m, x)),
        lambda m, x: (m * x[:, None], x > 1),
        {"m": M, "x": real(3)},
    ),
    "map in map": Flow(
        lambda m, y: sg.map(lambda row: sg.map(lambda v: v * y + row[0], row), m),
        lambda m, y: m * y + m[:, :1],
        {"m": M, "y": 1.5},
    ),
    "loop in loop": Flow(
        lambda x: sg.fori_loop(0, 3, lambda i, s: sg.fori_loop(0, i + 1, lambda j, t: t * x + j, s), 1.0),
        lambda x: looped(3, lambda i, s: looped(i + 1, lambda j, t: t * x + j, s), 1.0),
        {"x": 1.5},
    ),
    "loop in loop over arrays": Flow(
        lambda x, y: sg.fori_loop(0, 3, lambda i, s: sg.fori_loop(0, i, lambda j, t: t * y - s, x), x * y),
        lambda x, y: looped(3, lambda i, s: looped(i, lambda j, t: t * y - s, x), x * y),
        {"x": A, "y": B},
    ),
    "scan in scan": Flow(
        lambda m: sg.scan(lambda s, row: sg.scan(lambda t, v: (t - v, t * v), s, row), 0.25, m),
        lambda m: (
            looped(12, lambda k, s: s - m.flat[k], 0.25),
            np.array([looped(k, lambda j, s: s - m.flat[j], 0.25) * m.flat[k] for k in range(12)]).reshape(3, 4),
        ),
        {"m": M},
    ),
    "cond in loop": Flow(
        lambda x: sg.fori_loop(0, 6, lambda i, s: sg.cond(s > 2, lambda: s / 4, lambda: s * x), 1.0),
        lambda x: looped(6, lambda i, s: s / 4 if s > 2 else s * x, 1.0),
        {"x": 1.5},
    ),
    "cond of arrays in loop": Flow(
        lambda x, y: sg.fori_loop(0, 6, lambda i, s: sg.cond(np.equal(i % 2, 0), lambda: s - y, lambda: s * y), x),
        lambda x, y: looped(6, lambda i, s: s - y if i % 2 == 0 else s * y, x),
        {"x": A, "y": B},
    ),
    "loop in cond": Flow(
        lambda p, x: sg.cond(p > 0, lambda: sg.fori_loop(0, 3, lambda i, s: s * p - x, x), lambda: x),
        lambda p, x: looped(3, lambda i, s: s * p - x, x),
        {"p": 1.5, "x": A},
    ),
    "loop in a cond that is not taken": Flow(
        lambda p, x: sg.cond(p > 0, lambda: sg.while_loop(lambda s: s > p, lambda s: s, x), lambda: x * 2),
        lambda p, x: x * 2,
        {"p": -1.5, "x": 1.0},
    ),
    "deep loops": Flow(lambda x: tower(25, x, x), lambda x: x * 0.5 + x, {"x": 1.5}),
    "values from outside": Flow(
        lambda x, y: (lambda z: sg.fori_loop(0, 3, lambda i, s: s * z + y, z) + z)(x * y - 1),
        lambda x, y: looped(3, lambda i, s: s * (x * y - 1) + y, x * y - 1) + (x * y - 1),
        {"x": A, "y": B},
    ),
    "a number beside an array": Flow(
        lambda x, y: sg.fori_loop(0, 3, lambda i, s: (s[0] * y, s[1] + s[0] * y), (1.0, x)),
        lambda x, y: looped(3, lambda i, s: (s[0] * y, s[1] + s[0] * y), (1.0, x)),
        {"x": A, "y": 1.5},
    ),
    "two loops over the same": Flow(
        lambda x: (sg.scan(lambda s, v: (s + v, s), 0.0, x), sg.scan(lambda s, v: (s * v, v), 1.0, x)),
        lambda x: (*scanned(lambda s, v: (s + v, s), 0.0, x), *scanned(lambda s, v: (s * v, v), 1.0, x)),
        {"x": A},
    ),
    "loop after loop": Flow(
        lambda x: sg.scan(lambda s, v: (s - v, s * v), 1.0, sg.scan(lambda s, v: (s + v, s * v), 0.5, x)[1]),
        lambda x: scanned(lambda s, v: (s - v, s * v), 1.0, scanned(lambda s, v: (s + v, s * v), 0.5, x)[1]),
        {"x": A},
    ),
    "tridiagonal": Flow(
        thomas,
        thomas_meaning,
        {"a": real(6, seed=5), "b": real(6, seed=6) + 3, "c": real(6, seed=7), "d": real(6, seed=8)},
    ),
    "matrix power": Flow(
        lambda m, n: sg.fori_loop(0, n, lambda i, s: s @ m, m),
        lambda m, n: looped(n, lambda i, s: s @ m, m),
        {"m": np.arange(9.0).reshape(3, 3) - 4, "n": np.int64(3)},
    ),
    "a loop of whole-array operations": Flow(
        lambda m: sg.fori_loop(
            0, 3, lambda i, s: (np.concatenate([s[:, 1:], s[:, :1]], axis=1) - s.max(axis=0)) / 2, m
        ),
        lambda m: looped(3, lambda i, s: (np.concatenate([s[:, 1:], s[:, :1]], axis=1) - s.max(axis=0)) / 2, m),
        {"m": M},
    ),
    "large arrays": Flow(
        lambda x: sg.fori_loop(0, 3, lambda i, s: s * x[::-1] - s.max(), x),
        lambda x: looped(3, lambda i, s: s * x[::-1] - s.max(), x),
        {"x": real(70_001)},
    ),
}

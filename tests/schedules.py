"""Schedules of typical graphs, as texts: ``python -m tests.schedules`` writes them anew into tests/schedules/.

Read what has changed before it is committed: a schedule that became worse shows in its totals.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import symgraph as sg

FOLDER = Path(__file__).resolve().parent / "schedules"


class Example(NamedTuple):
    """A function, how it is called, and the arguments of the call."""

    function: sg.Function
    what: str
    arguments: dict[str, Any]


def _matrix(name: str, *shape: Any, dtype: str = "float64") -> Any:
    return sg.placeholder(name, shape=shape, dtype=dtype)


def softmax() -> Example:
    x = _matrix("x", "n", "m")
    return Example(sg.compile(sg.softmax(x, axis=1)), "value", {"x": np.ones((400, 512))})


def layer_norm() -> Example:
    x, g, b = _matrix("x", "n", "m"), _matrix("g", "m"), _matrix("b", "m")
    d = x - x.mean(axis=1, keepdims=True)
    y = d / np.sqrt((d * d).mean(axis=1, keepdims=True) + 1e-5) * g + b
    arguments = {"x": np.ones((400, 512)), "g": np.ones(512), "b": np.ones(512)}
    return Example(sg.compile(np.sum(y * y)), "value_and_grad", arguments)


def logistic_regression() -> Example:
    x, w, y = _matrix("x", "n", "m"), _matrix("w", "m"), _matrix("y", "n")
    z = x @ w
    loss = np.mean(np.logaddexp(0, z) - y * z)
    arguments = {"x": np.ones((5000, 100)), "w": np.ones(100), "y": np.ones(5000)}
    return Example(sg.compile(loss, wrt=[w]), "value_and_grad", arguments)


def rosenbrock() -> Example:
    x = _matrix("x", "n")
    y = np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    return Example(sg.compile(y), "value_and_grad", {"x": np.ones(100_000)})


def soft_assignment() -> Example:
    points, centres = _matrix("points", "n", 10), _matrix("centres", 25, 10)
    squares = np.sum((points[:, None, :] - centres[None, :, :]) ** 2, axis=2)
    loss = -np.sum(sg.logsumexp(-squares, axis=1))
    arguments = {"points": np.ones((5000, 10)), "centres": np.ones((25, 10))}
    return Example(sg.compile(loss, wrt=[centres]), "value_and_grad", arguments)


def pairwise_distances() -> Example:
    x = _matrix("x", "n", 3)
    d = x[:, None, :] - x[None, :, :]
    loss = np.mean(np.sqrt(np.sum(d * d, axis=2) + 1e-6))
    return Example(sg.compile(loss), "value_and_grad", {"x": np.ones((1000, 3))})


def variance_of_columns() -> Example:
    x = _matrix("x", "n", "m", dtype="float32")
    d = x - x.mean(axis=0)
    return Example(sg.compile(np.mean(d * d, axis=0)), "value", {"x": np.ones((4096, 512), np.float32)})


def two_layer_network() -> Example:
    def matrix(name: str, *shape: Any) -> Any:
        return _matrix(name, *shape, dtype="float32")

    x, t = matrix("x", "n", 784), matrix("t", "n", 10)
    w1, b1, w2, b2 = matrix("w1", 784, 256), matrix("b1", 256), matrix("w2", 256, 10), matrix("b2", 10)
    scores = np.tanh(x @ w1 + b1) @ w2 + b2
    loss = -np.mean(np.sum(t * sg.log_softmax(scores, axis=1), axis=1))
    shapes = {"x": (128, 784), "t": (128, 10), "w1": (784, 256), "b1": (256,), "w2": (256, 10), "b2": (10,)}
    arguments = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    return Example(sg.compile(loss, wrt=[w1, b1, w2, b2]), "value_and_grad", arguments)


def filters_of_small_images() -> Example:
    x, w = _matrix("x", 32, 16, 4, 4, dtype="float32"), _matrix("w", 32, 16, 3, 3, dtype="float32")
    y = sg.nn.max_pool(sg.nn.relu(sg.nn.conv(x, w, padding="same")), 2)
    arguments = {"x": np.ones((32, 16, 4, 4), np.float32), "w": np.ones((32, 16, 3, 3), np.float32)}
    return Example(sg.compile(np.sum(y * y)), "value_and_grad", arguments)


def loop_over_rows() -> Example:
    a, b = _matrix("a", "n"), _matrix("b", "n")
    y = sg.fori_loop(0, 333, lambda i, y: np.sin(y * b) + a, a)
    return Example(sg.compile(y), "value_and_grad", {"a": np.ones(100_000), "b": np.ones(100_000)})


def ensemble_with_shared_parameters() -> Example:
    x, v, p = _matrix("x", "n"), _matrix("v", "n"), _matrix("p", 2)

    def step(i: Any, state: Any) -> Any:
        x, v = state
        return x + 0.01 * v, v - 0.01 * (p[0] * np.sin(x) + p[1] * v)

    x_last, v_last = sg.fori_loop(0, 100, step, (x, v))
    arguments = {"x": np.ones(5000), "v": np.ones(5000), "p": np.ones(2)}
    return Example(sg.compile(np.sum(x_last**2 + v_last**2), wrt=[p]), "value_and_grad", arguments)


EXAMPLES: dict[str, Callable[[], Example]] = {
    make.__name__: make
    for make in (
        softmax,
        layer_norm,
        logistic_regression,
        rosenbrock,
        soft_assignment,
        pairwise_distances,
        variance_of_columns,
        two_layer_network,
        filters_of_small_images,
        loop_over_rows,
        ensemble_with_shared_parameters,
    )
}


def text_of(name: str) -> str:
    """The schedule of an example after a call, for two threads and without lines of this file."""
    before = sg.get_num_threads()
    sg.set_num_threads(2)
    try:
        function, what, arguments = EXAMPLES[name]()
        (function if what == "value" else function.value_and_grad)(**arguments)
        return without_lines(function.explain("schedule")) + "\n"
    finally:
        sg.set_num_threads(before)


def without_lines(text: str) -> str:
    """The text without the user's files and lines."""
    return re.sub(r"   ((second )?gradient of )?\S+\.py:\d+(, .*)?$", "", text, flags=re.MULTILINE)


def main() -> None:
    """Write all texts."""
    FOLDER.mkdir(exist_ok=True)
    for name in EXAMPLES:
        (FOLDER / f"{name}.txt").write_text(text_of(name), encoding="utf-8")


if __name__ == "__main__":
    main()

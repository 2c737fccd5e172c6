"""What is trained: networks and two small models, each written once, over the layers that a library gives."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import symgraph as sg
from symgraph.demo import load_digits

Batch = dict[str, np.ndarray]


@cache
def example(name: str) -> dict[str, Any]:
    """What a file in the folder of examples defines."""
    return runpy.run_path(str(Path(__file__).resolve().parent.parent / "examples" / f"{name}.py"))


# -- the digits: by two layers, and by filters -------------------------------------------------------------------------


def perceptron(layers: Any, net: Any, x: Any, t: Any) -> Any:
    hidden = layers.tanh(layers.apply(net["hidden"], x))
    return layers.cross_entropy(layers.apply(net["out"], hidden), t)


def perceptron_start(quick: bool) -> Any:
    one, two = sg.random.split(sg.random.key(0))
    units = 4 if quick else 64
    return {
        "hidden": sg.nn.Linear.init(one, 64, units, dtype="float32"),
        "out": sg.nn.Linear.init(two, units, 10, dtype="float32"),
    }


def scores(layers: Any, net: Any, x: Any) -> Any:
    for name in ("first", "second"):
        x = layers.pool(layers.relu(layers.apply(net[name], x)))
    return layers.apply(net["out"], x.reshape(x.shape[0], -1))


def convolutional(layers: Any, net: Any, x: Any, t: Any) -> Any:
    return layers.cross_entropy(scores(layers, net, x), t)


def convolutional_start(quick: bool) -> Any:
    one, two, three = sg.random.split(sg.random.key(0), 3)
    few, many = (2, 4) if quick else (16, 32)
    return {
        "first": sg.nn.Conv2d.init(one, 1, few, 3, padding="same", dtype="float32"),
        "second": sg.nn.Conv2d.init(two, few, many, 3, padding="same", dtype="float32"),
        "out": sg.nn.Linear.init(three, many * 4, 10, dtype="float32"),
    }


def digits(size: int, quick: bool, epoch: int = 0, shape: tuple[int, ...] = (64,)) -> list[Batch]:
    """The batches of an epoch; in a trial run, three small ones."""
    data = load_digits()
    images = data.images.astype("float32").reshape(-1, *shape)
    parts = sg.Batches({"x": images, "t": data.labels}, 8 if quick else size, sg.random.key(0))
    return list(parts(epoch, len(parts) - 3 if quick else 0))


IMAGE = (1, 8, 8)


def images(quick: bool, epoch: int = 0) -> list[Batch]:
    return digits(32, quick, epoch, IMAGE)


def test_images(quick: bool) -> tuple[np.ndarray, np.ndarray]:
    """Those held back, and what they show."""
    data = load_digits()
    some = slice(8 if quick else None)
    return data.test_images[some].astype("float32").reshape(-1, *IMAGE), data.test_labels[some]


# -- characters --------------------------------------------------------------------------------------------------------

LETTERS = 41
"""That the sonnet of the example is made of."""


def recurrent(layers: Any, net: Any, x: Any, t: Any) -> Any:
    outputs = layers.unroll(net["memory"], layers.apply(net["letters"], x))
    found = layers.apply(net["out"], outputs)
    return layers.cross_entropy(found.reshape(-1, LETTERS), t.reshape(-1))


def recurrent_start(quick: bool) -> Any:
    one, two, three = sg.random.split(sg.random.key(0), 3)
    units = 4 if quick else 64
    return {
        "letters": sg.nn.Embedding.init(one, LETTERS, 16, dtype="float32"),
        "memory": sg.nn.LSTM.init(two, 16, units, dtype="float32"),
        "out": sg.nn.Linear.init(three, units, LETTERS, dtype="float32"),
    }


def characters(quick: bool) -> list[Batch]:
    whole = example("characters")["data"]()
    return [{name: part[:3, :5] for name, part in whole.items()} if quick else whole]


# -- a few numbers -----------------------------------------------------------------------------------------------------


def valley(layers: Any, net: Any) -> Any:
    return 100 * (net["x1"] - net["x0"] ** 2) ** 2 + (net["x0"] - 1) ** 2


def valley_start(quick: bool) -> Any:
    return {"x0": np.array(0.0), "x1": np.array(2.0)}


def line(layers: Any, net: Any, x: Any, y: Any) -> Any:
    return ((x @ net["W"] + net["b"] - y) ** 2).mean()


def line_start(quick: bool) -> Any:
    return {"W": np.zeros((1, 1)), "b": np.zeros(1)}


def of_line(quick: bool) -> list[Batch]:
    return [dict(zip("xy", example("linear_regression")["data"](), strict=True))]


@dataclass(frozen=True)
class Task:
    """Something to train.

    Attributes:
        title: of rows.
        loss: of the layers of a library, a tree of parameters, and a batch as keywords.
        start: the first parameters, as arrays in layers of symgraph; small ones for a trial run.
        batches: those of an epoch, small ones for a trial run.
        rule: the optimiser.
        examples: the axis of a batch along which examples lie.
        restart: after how many steps training begins anew: gradients that vanish would leave numbers that processors
            compute slowly. 0 for never.
        peers: who takes part beside symgraph.
    """

    title: str
    loss: Callable[..., Any]
    start: Callable[[bool], Any]
    batches: Callable[[bool], list[Batch]]
    rule: sg.optim.Optimiser
    examples: int = 0
    restart: int = 200
    peers: tuple[str, ...] = ("JAX", "JAX eager", "torch", "torch.compile")

    @property
    def tolerance(self) -> float:
        """How far losses may differ: the bits of the dtype, and the steps that they went through."""
        return 1e-3 if any(p.dtype == np.float32 for p in sg.tree.flatten(self.start(True))[0]) else 1e-9


PERCEPTRON = Task(
    "digits, 64 → 64 → 10, batch 128, SGD with momentum", perceptron, perceptron_start,
    lambda quick: digits(128, quick), sg.optim.SGD(0.1, momentum=0.9),
)  # fmt: skip
CONVOLUTIONAL = Task(
    "digits, filters 3 × 3 × 16 and 32, batch 32, Adam", convolutional, convolutional_start, images, sg.optim.Adam(1e-3)
)
RECURRENT = Task(
    "characters, LSTM of 64 units, 32 times, batch 19, Adam", recurrent, recurrent_start, characters,
    sg.optim.Adam(1e-2), examples=1, peers=("JAX", "torch", "torch.compile"),
)  # fmt: skip
NETWORKS = (PERCEPTRON, CONVOLUTIONAL, RECURRENT)
ROSENBROCK = Task(
    "Rosenbrock, gradient descent", valley, valley_start, lambda quick: [{}], sg.optim.SGD(1e-3), restart=0
)
LINE = Task("linear regression, 100 points, gradient descent", line, line_start, of_line, sg.optim.SGD(0.1), restart=0)

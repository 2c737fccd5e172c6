"""Handwritten digits, learned in both modes from one function.

A softmax classifier with one hidden layer is fitted to the digits that come with scikit-learn (1,797 images of 8 × 8
pixels). `loss` is written once. On symbols it is a formula, compiled together with its gradients; on Variables it
computes and records, and ``backward()`` walks the record. Both networks start alike and see the same batches.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

import symgraph as sg

Array = NDArray[np.float64]
Gradient = Callable[..., tuple[float, dict[str, Array]]]
"""``(x=, y=, w1=, ...) -> (loss, {parameter: gradient})``."""

PIXELS, HIDDEN, DIGITS = 64, 64, 10
SHAPES = {"w1": (PIXELS, HIDDEN), "b1": (HIDDEN,), "w2": (HIDDEN, DIGITS), "b2": (DIGITS,)}
BATCH, RATE, MOMENTUM = 128, 0.1, 0.9
SEED = 0
HELD_BACK = 360


# -- the model: one text for symbols, Variables and arrays -------------------------------------------------------------


def scores(x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    """One hidden layer: a row of ten scores for each row of `x`, shape (n, 64)."""
    return np.tanh(x @ w1 + b1) @ w2 + b2


def loss(x: Any, y: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    """Mean cross-entropy; a row of `y` is 1 at the digit that the image shows, else 0.

    >>> import numpy as np
    >>> rows = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    >>> float(np.exp(loss(np.ones((5, 64)), np.eye(10)[:5], **rows)).round(12))  # ten digits, equally likely
    10.0
    """
    return -np.mean(np.sum(y * sg.log_softmax(scores(x, w1, b1, w2, b2), axis=1), axis=1))


def define_and_run() -> tuple[Any, Gradient]:
    """The compiled function, and the loss and gradients that one call of it gives."""
    x = sg.placeholder("x", shape=("n", PIXELS), dtype="float64")
    y = sg.placeholder("y", shape=("n", DIGITS), dtype="float64")
    parameters = {name: sg.placeholder(name, shape=shape, dtype="float64") for name, shape in SHAPES.items()}
    compiled = sg.compile(loss(x, y, **parameters), wrt=list(parameters.values()))
    return compiled, compiled.value_and_grad


def define_by_run(x: Array, y: Array, **parameters: Array) -> tuple[float, dict[str, Array]]:
    """The same loss and gradients, recorded while they are computed."""
    variables = {name: sg.Variable(value) for name, value in parameters.items()}
    result = loss(x, y, **variables)
    result.backward()
    return float(result.data), {name: variable.grad.data for name, variable in variables.items()}


# -- data and training -------------------------------------------------------------------------------------------------


class Digits(NamedTuple):
    """Images as rows of 64 numbers in [0, 1], and what they show."""

    images: Array
    labels: NDArray[np.int64]
    test_images: Array
    test_labels: NDArray[np.int64]


def load_digits() -> Digits:
    """scikit-learn's digits, split the same way every time.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError:
        raise ImportError(
            "the demo reads the digits that come with scikit-learn; install it: python -m pip install scikit-learn"
        ) from None
    images, labels = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(labels))
    images, labels = images[order] / 16, labels[order]
    return Digits(images[HELD_BACK:], labels[HELD_BACK:], images[:HELD_BACK], labels[:HELD_BACK])


def batches(data: Digits) -> Iterator[tuple[Array, Array]]:
    """Images and their one-hot labels, for ever: all of them in a new order, then again. The last of a round is short."""
    rng = np.random.default_rng(SEED)
    one_hot = np.eye(DIGITS)
    while True:
        order = rng.permutation(len(data.labels))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            yield data.images[chosen], one_hot[data.labels[chosen]]


@dataclass
class Training:
    """One network on its way: gradient descent with momentum, its losses and the seconds each step took."""

    gradient: Gradient
    parameters: dict[str, Array]
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.velocity = {name: np.zeros_like(value) for name, value in self.parameters.items()}

    def step(self, x: Array, y: Array) -> None:
        """Move every parameter once."""
        start = time.perf_counter()
        value, gradients = self.gradient(x=x, y=y, **self.parameters)
        for name, slope in gradients.items():
            self.velocity[name] = MOMENTUM * self.velocity[name] - RATE * slope
            self.parameters[name] = self.parameters[name] + self.velocity[name]
        self.seconds.append(time.perf_counter() - start)
        self.losses.append(float(value))

    @property
    def step_seconds(self) -> float:
        """The median step."""
        return statistics.median(self.seconds)

    def accuracy(self, data: Digits) -> float:
        """The share of test images whose highest score is the right digit's. `scores` on arrays is plain NumPy."""
        found = np.argmax(scores(data.test_images, **self.parameters), axis=1)
        return float(np.mean(found == data.test_labels))


def first_parameters() -> dict[str, Array]:
    """Weights drawn so that a layer keeps the size of what passes through it (Glorot and Bengio 2010); no bias."""
    rng = np.random.default_rng(SEED)
    return {
        name: rng.normal(0.0, (2 / sum(shape)) ** 0.5, shape) if len(shape) == 2 else np.zeros(shape)
        for name, shape in SHAPES.items()
    }


def progress(done: int, steps: int, value: float, stream: TextIO) -> None:
    """One line that is written over itself; nothing where `stream` is not a terminal."""
    if stream.isatty():
        bar = "#" * (30 * done // steps)
        end = "\n" if done == steps else ""
        stream.write(f"\r[{bar:<30}] step {done}/{steps}  loss {value:.4f}{end}")
        stream.flush()

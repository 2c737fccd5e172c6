"""Handwritten digits, learned in both modes from one function.

A softmax classifier with one hidden layer is fitted to the digits that come with scikit-learn (1,797 images of 8 × 8
pixels). `loss` is written once. On symbols it is a formula, compiled together with its gradients; on Variables it
computes and records, and ``backward()`` walks the record. Both networks start alike and see the same batches.
"""

from __future__ import annotations

import itertools
import math
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
from symgraph.errors import RendererError

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
    gradients = {name: variable.grad for name, variable in variables.items()}
    return float(result.data), {name: g.data for name, g in gradients.items() if g is not None}


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
    """Images and their one-hot labels, for ever: all in a new order, then again. The last batch of a round is short."""
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
        """The median step, without the first, which may compile."""
        return statistics.median(self.seconds[1:] or self.seconds)

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


# -- the comparison ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What `run` found; modes are named "compiled" and "define-by-run"."""

    steps: int
    trainings: dict[str, Training]
    accuracy: dict[str, float]
    compile_seconds: float
    nodes: tuple[int, int]
    files: tuple[Path, ...]
    missing: str

    @property
    def difference(self) -> float:
        """The largest relative difference between the two modes' losses, over all steps."""
        one, other = (np.array(t.losses) for t in self.trainings.values())
        return float(np.max(np.abs(one - other) / np.abs(other)))

    @property
    def paid_after(self) -> int | None:
        """How many steps it takes until compiling has saved the time it cost; None where it never does."""
        compiled, by_run = (t.step_seconds for t in self.trainings.values())
        return math.ceil(self.compile_seconds / (by_run - compiled)) if by_run > compiled else None


def nodes(compiled: Any) -> tuple[int, int]:
    """How many nodes the graph of loss and gradients has before and after optimisation."""
    from compiler import Graph
    from compiler.pictures import optimised

    variant = compiled.variant_with_grad()
    return len(Graph(variant.typed.outputs)), len(Graph(optimised(variant)))


def draw(compiled: Any, out: Path) -> tuple[tuple[Path, ...], str]:
    """Write the formula, and formula and gradients side by side, as DOT and SVG; the files, and what is missing."""
    out.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    missing = ""
    for name, stage in (("loss", "before"), ("loss-and-gradients", "joint")):
        path = out / f"{name}.dot"
        path.write_text(compiled.to_dot(stage=stage) + "\n", encoding="utf-8")
        files.append(path)
        try:
            compiled.plot(path.with_suffix(".svg"), stage=stage)
            files.append(path.with_suffix(".svg"))
        except RendererError as error:
            missing = str(error)
    return tuple(files), missing


def run(steps: int, out: Path, stream: TextIO = sys.stderr) -> Outcome:
    """Train both networks side by side, and write the graph into the directory `out`.

    Raises:
        ImportError: scikit-learn is not installed.
        OSError: the pictures cannot be written.
    """
    data = load_digits()
    start = time.perf_counter()
    compiled, gradient = define_and_run()
    building = time.perf_counter() - start
    trainings = {
        "compiled": Training(gradient, first_parameters()),
        "define-by-run": Training(define_by_run, first_parameters()),
    }
    for k, (x, y) in enumerate(itertools.islice(batches(data), steps), 1):
        for training in trainings.values():
            training.step(x, y)
        progress(k, steps, training.losses[-1], stream)
    first = trainings["compiled"].seconds[0]  # the call that compiled
    files, missing = draw(compiled, out)
    return Outcome(
        steps=steps,
        trainings=trainings,
        accuracy={mode: training.accuracy(data) for mode, training in trainings.items()},
        compile_seconds=building + max(0.0, first - trainings["compiled"].step_seconds),
        nodes=nodes(compiled),
        files=files,
        missing=missing,
    )


def report(outcome: Outcome) -> str:
    """What a reader wants to know, as text."""
    compiled, by_run = outcome.trainings.values()
    rows = [
        ("", *outcome.trainings),
        ("loss of the last batch", *(f"{t.losses[-1]:.6f}" for t in (compiled, by_run))),
        ("test accuracy", *(f"{share:.1%}" for share in outcome.accuracy.values())),
        ("time per step", *(f"{t.step_seconds * 1e6:,.0f} µs" for t in (compiled, by_run))),
    ]
    lines = [f"{label:24}{one:>15}{other:>15}" for label, one, other in rows]
    before, after = outcome.nodes
    paid = "never: a compiled step is no faster here"
    if outcome.paid_after is not None:
        paid = f"after {outcome.paid_after:,} steps"
        paid += "" if outcome.paid_after <= outcome.steps else f"; this run made {outcome.steps:,}"
    facts = [
        ("largest difference", f"{outcome.difference:.1e} of the loss, over {outcome.steps:,} steps in both modes"),
        ("graph with gradients", f"{before} nodes before optimisation, {after} after"),
        ("compile time", f"{outcome.compile_seconds:.2f} s, with the start of the compiler"),
        ("compiling has paid", paid),
        ("written", ", ".join(map(str, outcome.files))),
    ]
    return "\n".join([*lines, "", *(f"{label:24}{text}" for label, text in facts), outcome.missing]).rstrip()


def main(steps: int, out: Path) -> None:
    """Run, and print the report."""
    weights = sum(math.prod(shape) for shape in SHAPES.values())
    layers = f"{PIXELS}-{HIDDEN}-{DIGITS}"
    print(f"handwritten digits: a {layers} network, {weights:,} weights, {steps:,} steps of up to {BATCH} images")
    print(report(run(steps, out)))

"""Training loops: batches, history, an early end, and checkpoints from which a killed run goes on."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from symgraph import random
from symgraph.errors import ArgumentError, FileError, ShapeError
from symgraph.state import Parameter, clear_drafts, load_parameters, save_parameters
from symgraph.tree import flatten


@dataclasses.dataclass
class History:
    """What a run has seen.

    Attributes:
        steps: how many steps were done.
        loss: the mean of the losses of each epoch's steps.
        score: what `evaluate` gave after each epoch.
    """

    steps: int = 0
    loss: list[float] = dataclasses.field(default_factory=list)
    score: list[float] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, eq=False)
class Batches:
    """Rows of arrays in small parts: ``batches(epoch)`` gives dicts of those rows.

    The order is a function of the key and the epoch alone, so it is the same for a run that was interrupted.

    Attributes:
        data: arrays by name, with equal first axes.
        size: the number of rows of a batch; rows that do not make a whole one are left out of that epoch.
        key: a key of :mod:`symgraph.random` to shuffle by; None keeps the order.
        draws: the name under which each batch carries a key of its own, for dropout, say; None for no key.

    Raises:
        ShapeError: the first axes differ, or hold less than a batch.
        ArgumentError: there are no data, or keys are wanted without a key to make them from.

    >>> import numpy as np, symgraph as sg
    >>> parts = sg.Batches({"x": np.arange(6)}, size=2, key=sg.random.key(0))
    >>> [batch["x"].tolist() for batch in parts(0)], len(parts)
    ([[5, 3], [1, 2], [4, 0]], 3)
    """

    data: Mapping[str, Any]
    size: int
    key: Any = None
    draws: str | None = None

    def __post_init__(self) -> None:
        counts = {name: len(values) for name, values in self.data.items()}
        if not counts:
            raise ArgumentError("Batches: give arrays by name")
        if len(set(counts.values())) > 1:
            raise ShapeError(f"Batches: the first axes differ: {counts}")
        if not 1 <= self.size <= self.rows:
            raise ShapeError(f"Batches: {self.rows} rows do not make a batch of {self.size}")
        if self.draws is not None and self.key is None:
            raise ArgumentError("Batches: draws= needs key=, from which the keys are made")

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.data.values())))

    def __len__(self) -> int:
        return self.rows // self.size

    def __call__(self, epoch: int, start: int = 0) -> Iterator[dict[str, Any]]:
        """The batches of an epoch, from one of them on."""
        order: Any = np.arange(self.rows)
        if self.key is not None:
            shuffle, draw = random.split(random.fold_in(self.key, epoch))
            order = random.permutation(shuffle, self.rows)
        for k in range(start, len(self)):
            rows = order[k * self.size : (k + 1) * self.size]
            batch = {name: np.asarray(values)[rows] for name, values in self.data.items()}
            yield batch if self.draws is None else {**batch, self.draws: random.fold_in(draw, k)}


def fit(
    step: Callable[..., Any],
    batches: Batches | Sequence[Any] | Callable[[int], Iterable[Any]],
    epochs: int = 1,
    *,
    evaluate: Callable[[], Any] | None = None,
    patience: int | None = None,
    checkpoint: Any = None,
    every: int | None = None,
    parameters: Mapping[str, Parameter] | None = None,
    progress: bool = True,
) -> History:
    """Runs steps over batches, epoch by epoch.

    With `checkpoint`, a file holds the parameters and where the run stands; a call that finds it goes on from there. So
    whatever kills a run, the same call again ends with the bits of a run that nothing disturbed, if steps depend on
    parameters and batches alone.

    Args:
        step: called with each batch, as keywords if that is a dict, as arguments if it is a tuple, otherwise as the one
            argument; its result, or the first value in it, is the loss. A function compiled with ``updates=``, say.
        batches: :class:`Batches`, a list of batches, or a function from the number of an epoch, counted from 0, to what
            gives its batches. It gives the same ones whenever it is asked.
        epochs: how many there are, with those of the checkpoint.
        evaluate: called after each epoch, for a score of which less is better.
        patience: ends the run when for that many epochs the score, or without `evaluate` the loss, was not below its
            least value before.
        checkpoint: the path of a file. It is written after each epoch, in one step, so that it is never half a file.
        every: write it after that many steps as well.
        parameters: what the file holds, by name: those of the compiled step by default.
        progress: whether tqdm, where it is installed, shows a bar if there is a terminal.

    Returns:
        The losses and scores of all epochs, those before an interruption included.

    Raises:
        ArgumentError: a checkpoint is wanted of a step whose parameters are not known.
        FileError: the checkpoint is damaged, or that of something else; nothing is run then.
        ShapeError, DTypeError: the checkpoint is that of other parameters; nothing is run then.

    >>> import numpy as np, symgraph as sg
    >>> w = sg.parameter("w", 0.0)
    >>> x, y = (sg.placeholder(name, shape=(4,), dtype="float64") for name in "xy")
    >>> loss = np.mean((w * x - y) ** 2)
    >>> step = sg.compile(loss, updates=sg.optim.updates(sg.optim.SGD(0.1), [w], sg.grad(loss, [w])))
    >>> points = np.linspace(-1.0, 1.0, 16)
    >>> history = sg.fit(step, sg.Batches({"x": points, "y": 3 * points}, 4, sg.random.key(0)), epochs=30)
    >>> history.steps, float(w.value.round(3))
    (120, 3.0)
    """
    if parameters is None:
        parameters = {p.name: p for p in getattr(step, "parameters", ())}
    if checkpoint is not None and not parameters:
        raise ArgumentError("fit: what a checkpoint is to hold is not known; give parameters={name: parameter, ...}")
    for name, count in (("every", every), ("patience", patience)):
        if count is not None and count < 1:
            raise ArgumentError(f"fit: {name} is at least 1, got {count}")
    run = _Run(History(), parameters, None if checkpoint is None else Path(os.fspath(checkpoint)))
    run.resume()
    with _Bar(batches, epochs, run.history.steps, progress) as advance:
        while run.epoch < epochs and not run.over(patience):
            for batch in _of_epoch(batches, run.epoch, run.done):
                loss = float(flatten(_call(step, batch))[0][0])
                run.count(loss)
                advance(loss)
                if every is not None and run.history.steps % every == 0:
                    run.save()
            run.close(evaluate)
    return run.history


_COUNTERS, _LOSSES, _SCORES = "fit.counters", "fit.loss", "fit.score"
"""Their entries in the file: with a dot, so that no parameter has such a name."""


@dataclasses.dataclass
class _Run:
    """Where a run stands: all that goes into its checkpoint."""

    history: History
    parameters: Mapping[str, Parameter]
    path: Path | None
    epoch: int = 0
    done: int = 0
    total: float = 0.0

    def count(self, loss: float) -> None:
        self.history.steps += 1
        self.done += 1
        self.total += loss

    def close(self, evaluate: Callable[[], Any] | None) -> None:
        """Ends an epoch."""
        if not self.done:
            raise ArgumentError(f"fit: there are no batches in epoch {self.epoch}")
        self.history.loss.append(self.total / self.done)
        if evaluate is not None:
            self.history.score.append(float(evaluate()))
        self.epoch, self.done, self.total = self.epoch + 1, 0, 0.0
        self.save()

    def over(self, patience: int | None) -> bool:
        """Whether the last epochs were no better than one before."""
        seen = np.array(self.history.score or self.history.loss)
        if patience is None or len(seen) <= patience:
            return False
        seen[np.isnan(seen)] = np.inf
        return not np.min(seen[-patience:]) < np.min(seen[:-patience])

    def save(self) -> None:
        if self.path is not None:
            place = np.array([self.epoch, self.done, self.history.steps, self.total], np.float64)
            held = {_COUNTERS: place, _LOSSES: self.history.loss, _SCORES: self.history.score}
            save_parameters(self.path, {**self.parameters, **{k: np.asarray(v, np.float64) for k, v in held.items()}})

    def resume(self) -> None:
        if self.path is None:
            return
        clear_drafts(self.path)
        if not self.path.exists():
            return
        if _COUNTERS not in load_parameters(self.path):
            raise FileError(f"{self.path}: this is a file of parameters, and no checkpoint of sg.fit")
        found = load_parameters(self.path, self.parameters)
        epoch, done, steps, self.total = found[_COUNTERS].tolist()
        self.epoch, self.done = int(epoch), int(done)
        self.history = History(int(steps), found[_LOSSES].tolist(), found[_SCORES].tolist())


def _of_epoch(batches: Any, epoch: int, start: int) -> Iterator[Any]:
    """The batches of an epoch, but for those that were done before."""
    if isinstance(batches, Batches):
        yield from batches(epoch, start)
    else:
        for k, batch in enumerate(batches(epoch) if callable(batches) else batches):
            if k >= start:
                yield batch


def _call(step: Callable[..., Any], batch: Any) -> Any:
    if isinstance(batch, Mapping):
        return step(**batch)
    return step(*batch) if isinstance(batch, tuple) else step(batch)


class _Bar:
    """A bar of steps, where tqdm is installed: a context that gives what moves it."""

    def __init__(self, batches: Any, epochs: int, done: int, wanted: bool) -> None:
        self.bar: Any = None
        if not wanted:
            return
        try:
            from tqdm import tqdm
        except ImportError:
            return
        total = len(batches) * epochs if isinstance(batches, Batches | Sequence) else None
        self.bar = tqdm(total=total, initial=done, unit="step", disable=None)

    def __enter__(self) -> Callable[[float], None]:
        return self.advance

    def advance(self, loss: float) -> None:
        if self.bar is not None:
            self.bar.update()
            self.bar.set_postfix(loss=f"{loss:.4g}", refresh=False)

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()

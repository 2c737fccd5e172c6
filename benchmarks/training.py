"""Training: a step of a network, many steps in one call, the time to a given accuracy, and the memory of a step.

A network is written once, over the layers of a library (:mod:`benchmarks.trained`); each library brings its own arrays
and optimisers (:mod:`benchmarks.trainers`). All begin with the same parameters and see the same batches, and before
anything is timed their losses must agree. Each row is measured in a process of its own, competitors in turns; accuracy
and memory in one for each competitor.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from benchmarks import report
from benchmarks.measure import PAUSE, best_times, difference
from benchmarks.memory import held_by
from benchmarks.processes import Say, ask
from benchmarks.setting import chosen, install_hint, say, setting, write
from benchmarks.trained import CONVOLUTIONAL, LINE, NETWORKS, PERCEPTRON, ROSENBROCK, Batch, Task, images, test_images
from benchmarks.trainers import KEYS, TRAINERS

CHECKED = 20
"""Steps whose losses must agree."""

INSIDE = 100
"""Steps of a call."""

WIDER = 16
"""How many batches make the one that memory is measured with: libraries' pools are larger than what small ones take."""

TARGET, EPOCHS = 0.98, 40
"""The share of test images to tell right, and after how many epochs to give up."""

RUNS = 3
"""Trainings of which the fastest counts."""


class Way(NamedTuple):
    """A column: who trains, and whether many steps are one call."""

    name: str
    inside: bool = False

    @property
    def title(self) -> str:
        """Of the column."""
        return f"{self.name}, one call" if self.inside else self.name


class Row(NamedTuple):
    """What is timed."""

    title: str
    task: Task
    steps: int
    ways: tuple[Way, ...]


OWN = ("symgraph", "symgraph eager")
EAGER = ("symgraph eager", "JAX eager", "torch")
"""Who compiles nothing, or nothing larger than an operation."""

ALONE = tuple(map(Way, TRAINERS))
TOGETHER = (Way("symgraph", True), Way("symgraph"), Way("JAX", True), Way("JAX"), Way("torch"), Way("torch.compile"))
ROWS = (
    *(Row(f"{task.title}: a step", task, 1, ALONE) for task in NETWORKS),
    *(Row(f"{task.title}: {INSIDE} steps", task, INSIDE, TOGETHER) for task in (ROSENBROCK, LINE, PERCEPTRON)),
)
TABLES = {1: "a step, µs", INSIDE: f"{INSIDE} steps on one batch, µs"}


# -- in a process of its own -------------------------------------------------------------------------------------------


def wake(name: str) -> None:
    """What a library does once is no part of compiling a step."""
    trainer = TRAINERS[name](ROSENBROCK, ROSENBROCK.start(True), {})
    trainer.step(trainer.bring({}))


def runner(row: Row, way: Way, first: Any, batches: Sequence[Batch]) -> tuple[Any, Callable[[], float]]:
    """The trainer, and what takes its next steps, for ever, and gives the loss before the last of them."""
    task, numbers = row.task, count()
    trainer = TRAINERS[way.name](task, first, batches[0])
    held = [trainer.bring(batch) for batch in batches]

    def call() -> float:
        done = next(numbers) * row.steps
        if task.restart and done and done % task.restart == 0:
            trainer.restart()
        if way.inside:
            return float(trainer.inside(held[0], row.steps))
        batch = held[0 if row.steps > 1 else done % len(held)]
        for _ in range(row.steps):
            loss = trainer.step(batch)
        return float(loss)

    return trainer, call


def timed(say: Say, title: str, names: list[str], quick: bool, least: float) -> dict[str, Any]:
    """The competitors on one row, in turns: seconds per call, seconds to compile, and how far losses differ."""
    row = next(row for row in ROWS if row.title == title)
    parameters, batches = row.task.start(quick), row.task.batches(quick)
    found: dict[str, Any] = {}
    calls: dict[str, Callable[[], float]] = {}
    reference: list[Any] = []
    for way in row.ways:
        if way.title not in names:
            continue
        say(way.title)
        wake(way.name)
        start = time.perf_counter()
        trainer, calls[way.title] = runner(row, way, parameters, batches)
        losses = [calls[way.title]()]
        first = time.perf_counter() - start
        losses += [calls[way.title]() for _ in range(CHECKED - 1 if row.steps == 1 else 0)]
        trainer.restart()
        reference = reference or [np.array(losses)]
        found[way.title] = {"first": first, "difference": difference([losses], reference), "losses": losses}
    minimum, rounds = (0.0, 2) if quick else (least, 8)
    for name, seconds in best_times(say, calls, minimum, rounds, 0.0 if quick else PAUSE).items():
        first = found[name].pop("first")
        found[name] |= {"seconds": seconds} | ({} if name in EAGER else {"compile": max(0.0, first - seconds)})
    return found


def to_accuracy(say: Say, name: str, quick: bool) -> dict[str, Any]:
    """Seconds of all steps until test images are told right, with compilation and without, and the epochs it took."""
    target, last = (0.0, 1) if quick else (TARGET, EPOCHS)
    epochs, (x, labels) = [images(quick, epoch) for epoch in range(last)], test_images(quick)
    parameters = CONVOLUTIONAL.start(quick)
    say(name)
    wake(name)
    start = time.perf_counter()
    trainer = TRAINERS[name](CONVOLUTIONAL, parameters, epochs[0][0])
    building = time.perf_counter() - start

    def train() -> tuple[float, int, float]:
        spent, accuracy, taken = 0.0, 0.0, 0
        for epoch in epochs:
            start = time.perf_counter()
            for batch in epoch:
                trainer.step(trainer.bring(batch))
            spent, taken = spent + time.perf_counter() - start, taken + 1
            accuracy = float(np.mean(np.argmax(trainer.scores(x), axis=1) == labels))
            if accuracy >= target:
                break
        return spent, taken, accuracy

    cold, taken, accuracy = train()
    if accuracy < target:
        return {"failure": f"{accuracy:.1%} after {taken} epochs"}
    warm = cold
    for _ in range(RUNS):
        say(name)
        trainer.restart()
        warm = min(warm, train()[0])
    return {"seconds": warm, "cold": building + cold, "epochs": taken, "accuracy": accuracy}


def held(say: Say, title: str, name: str, quick: bool) -> int:
    """The bytes of a network, what its optimiser remembers, a batch, and all that a step needs, at the peak."""
    task = next(task for task in NETWORKS if task.title == title)
    say(name)
    wake(name)
    ready: list[Callable[[], float]] = []

    def call() -> float:
        if not ready:
            batch = task.batches(quick)[0]
            batch = {k: np.concatenate([v] * (1 if quick else WIDER), task.examples) for k, v in batch.items()}
            trainer = TRAINERS[name](task, task.start(quick), batch)
            brought = trainer.bring(batch)
            ready.append(lambda: trainer.step(brought))
        return ready[0]()

    return held_by(call)


# -- all of it ---------------------------------------------------------------------------------------------------------


def measured(row: Row, names: list[str], args: argparse.Namespace) -> dict[str, Any]:
    """A row, as often as it takes to get past competitors that hang or crash."""
    failures: dict[str, str] = {}
    while True:
        answer = ask(
            timed, (row.title, names, args.quick, args.seconds), args.limit, lambda name: say(f"{row.title}: {name}")
        )
        if answer.result is not None or answer.at not in names:
            break
        failures[answer.at] = answer.reason
        names = [name for name in names if name != answer.at]
    if answer.result is None:
        failures |= dict.fromkeys(names, f"{answer.reason}, at {answer.at}")
    return {"title": row.title, "steps": row.steps, "results": answer.result or {}, "failures": failures}


def accuracy(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """What a competitor took to the accuracy, or what happened to it."""
    answer = ask(to_accuracy, (name, args.quick), args.limit, lambda n: say(f"until {TARGET:.0%}: {n}"))
    return answer.result or {"failure": answer.reason}


def memory(title: str, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """A competitor's bytes in a row, less those of a tiny network on a tiny batch: the library's own code and state."""
    tried = [ask(held, (title, name, quick), args.limit, lambda n: say(f"memory: {n}")) for quick in (args.quick, True)]
    if reason := next((answer.reason for answer in tried if answer.result is None), ""):
        return {"failure": reason}
    whole, tiny = (answer.result for answer in tried)
    return {"bytes": max(0, whole - tiny)}


def run(args: argparse.Namespace, argv: Sequence[str]) -> int:
    """The tables; 1 where losses disagree."""
    found, missing = chosen(args.peers)
    competitors = [c for c in found if c.key in KEYS]
    install_hint([c for c in missing if c.key in KEYS])
    present = {*OWN, *(name for c in competitors for name in KEYS.get(c.key, ()))}
    load = os.getloadavg()[0]
    data: dict[str, Any] = {"quick": args.quick, "rows": [], "accuracy": {}, "memory": {}}

    def wanted(title: str) -> bool:
        return re.search(args.rows, title, re.IGNORECASE) is not None

    def taking_part(task: Task) -> list[str]:
        return [name for name in TRAINERS if name in present and name in (*OWN, *task.peers)]

    def told() -> str:
        whole = {**setting(competitors, argv, load), **data}
        whole["versions"] = {**whole["versions"], "scikit-learn": metadata.version("scikit-learn")}
        text = markdown(whole)
        write(args, "training", whole, text)
        return text

    for row in ROWS:
        if wanted(row.title):
            names = [way.title for way in row.ways if way.name in taking_part(row.task)]
            data["rows"].append(measured(row, names, args))
            told()
    if wanted(f"{CONVOLUTIONAL.title}: accuracy"):
        for name in taking_part(CONVOLUTIONAL):
            data["accuracy"][name] = accuracy(name, args)
            told()
    for task in NETWORKS:
        if wanted(f"{task.title}: memory"):
            data["memory"][task.title] = {name: memory(task.title, name, args) for name in taking_part(task)}
    say("")
    print(told())
    return int(any(wrong(row) for row in data["rows"]))


def wrong(row: dict[str, Any]) -> bool:
    """Whether losses disagree, or ours failed; a peer's failures are its own."""
    tolerance = next(r.task.tolerance for r in ROWS if r.title == row["title"])
    ours = any(name.split(",")[0] in OWN for name in row["failures"])
    return ours or any(not result["difference"] <= tolerance for result in row["results"].values())


def markdown(data: dict[str, Any]) -> str:
    """The tables as text."""
    parts = ["A trial run on tiny sizes: these times mean nothing.\n"] if data["quick"] else []
    for steps, title in TABLES.items():
        rows = [row for row in data["rows"] if row["steps"] == steps]
        names = [way.title for way in (ALONE if steps == 1 else TOGETHER)]
        if rows:
            parts += [report.table([title, *names, "best peer / symgraph"], map(_times, rows, [names] * len(rows))), ""]
            cells = [[row["title"], *_cells(row["results"], names, "compile", report.significant)] for row in rows]
            parts += [report.table(["compile time, s", *names], cells), ""]
    failures = [f"- {row['title']}: {name}: {why}" for row in data["rows"] for name, why in row["failures"].items()]
    parts += [*failures, ""] if failures else []
    if data["accuracy"]:
        names, found = list(data["accuracy"]), data["accuracy"]
        lines = (("without compiling, s", "seconds"), ("with compiling, s", "cold"), ("epochs", "epochs"))
        cells = [[title, *_cells(found, names, field, lambda x: f"{x:.3g}")] for title, field in lines]
        parts += [report.table([f"{CONVOLUTIONAL.title}: until {TARGET:.0%}", *names], cells), ""]
    if data["memory"]:
        names = [name for name in TRAINERS if any(name in found for found in data["memory"].values())]
        cells = [
            [title, *_cells(found, names, "bytes", lambda b: f"{b / 1e6:.1f}")]
            for title, found in data["memory"].items()
        ]
        parts += [report.table([f"MB at the peak of a step, batches {WIDER} times as large", *names], cells), ""]
    return "\n".join([*parts, report.machine(data), ""])


def _cells(results: dict[str, Any], names: Iterable[str], field: str, write: Callable[[float], str]) -> Iterable[str]:
    for name in names:
        found = results.get(name, {})
        yield write(found[field]) if field in found else found.get("failure", "")


def _times(row: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Microseconds of a call, the fastest standing out, and how much slower the best peer is than our best."""
    seconds = {name: row["results"][name]["seconds"] for name in names if name in row["results"]}
    fastest = min(seconds.values(), default=0.0)
    cells = []
    for name in names:
        text = report.significant(seconds[name] * 1e6) if name in seconds else ""
        cells.append(f"**{text}**" if text and seconds[name] == fastest else text)
    ours = min((s for name, s in seconds.items() if name.split(",")[0] in OWN), default=0.0)
    peers = [(s, name) for name, s in seconds.items() if name.split(",")[0] not in OWN]
    return [
        row["title"],
        *cells,
        f"{report.significant(min(peers)[0] / ours)} ({min(peers)[1]})" if peers and ours else "",
    ]

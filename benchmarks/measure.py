"""One row in one process: every competitor prepared, compared with the reference, and timed in turns."""

from __future__ import annotations

import gc
import importlib
import math
import resource
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmarks.competitors import Competitor, UnsupportedError, find
from benchmarks.elementwise import Arguments, tanh
from benchmarks.processes import Say
from benchmarks.workloads import WORKLOADS, Workload, chain_of

BATCH = 0.002
"""Seconds that a timed batch of calls takes, about: a busy machine leaves a process alone for that long."""

TURN = 0.02
"""Seconds of batches before the next competitor's turn."""

PAUSE = 0.04
"""Seconds between two competitors: threads that wait for more work give their cores back."""

PATIENCE = 3.0
"""Seconds of batches after which a competitor with slow calls is done, however few rounds that are."""


@dataclass
class Result:
    """What was found about one competitor on one workload; None where it does not apply.

    Attributes:
        seconds: per call, the best of many batches.
        compile_seconds: to prepare and call once, less `seconds`.
        difference: from the reference; see `difference`.
        note: why there is nothing: the library cannot state it.
        failure: what went wrong.
    """

    seconds: float | None = None
    compile_seconds: float | None = None
    difference: float | None = None
    note: str = ""
    failure: str = ""


def difference(found: Iterable[Any], reference: list[Any]) -> float:
    """The largest difference of an element, relative to the largest element of its array; the worst array counts.

    >>> difference([np.array([1.0, 4.0])], [np.array([2.0, 4.0])])
    0.25
    """
    arrays = [np.asarray(x, np.float64).ravel() for x in found]
    if [x.size for x in arrays] != [r.size for r in reference]:
        return math.inf
    worst = 0.0
    for x, r in zip(arrays, reference, strict=True):
        error = float(np.max(np.abs(x - r.ravel()), initial=0.0))
        scale = float(np.max(np.abs(r), initial=0.0))
        worst = max(worst, math.inf if math.isnan(error) else error / scale if scale else error)
    return worst


def wake(competitor: Competitor) -> None:
    """What a library does once, at its first compilation, is not part of a row's compile time."""
    arrays = Workload("", tanh, lambda rng: {"x": np.ones(3)}, wrt=("x",), elementwise=True)
    with suppress(UnsupportedError):
        list(competitor.prepare(arrays, arrays.inputs(False, "float64"))())


def first_call(
    competitor: Competitor, workload: Workload, arguments: Arguments
) -> tuple[Callable[[], Any], Any, float]:
    """The function to time, its first results, and the seconds until they were there."""
    start = time.perf_counter()
    call = competitor.prepare(workload, arguments)
    results = call()
    return call, results, time.perf_counter() - start


@dataclass
class Row:
    """What was found on a workload.

    Attributes:
        results: by the competitor's name.
        read: bytes of the inputs.
        written: bytes of the results.
    """

    results: dict[str, Result]
    read: int
    written: int


def size_of(values: Iterable[Any]) -> int:
    """Bytes of all arrays among the values; any library's."""
    return sum(int(getattr(v, "nbytes", 0)) for v in values)


def row(say: Say, title: str, names: list[str], quick: bool, dtype: str, least: float) -> Row:
    """Prepare and time competitors on a workload, each for at least that many seconds."""
    workload = next(w for w in WORKLOADS if w.title == title)
    competitors = [find(name) for name in names]
    arguments = workload.inputs(quick, dtype)
    reference = workload.reference(arguments)
    results: dict[str, Result] = {}
    calls: dict[str, Callable[[], Any]] = {}
    firsts: dict[str, float] = {}
    for competitor in competitors:
        say(competitor.name)
        result = results[competitor.name] = Result()
        try:
            wake(competitor)
            call, found, firsts[competitor.name] = first_call(competitor, workload, arguments)
            result.difference = difference(found, reference)
            calls[competitor.name] = call
        except UnsupportedError as reason:
            result.note = str(reason)
        except Exception as error:  # any library may fail in any way; the row says so
            result.failure = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"[:200]
    minimum, rounds = (0.0, 2) if quick else (least, 8)
    for name, seconds in best_times(say, calls, minimum, rounds, 0.0 if quick else PAUSE).items():
        results[name].seconds = seconds
        if next(c for c in competitors if c.name == name).eager:
            results[name].compile_seconds = max(0.0, firsts[name] - seconds)
    written = sum(r.size for r in reference) * np.dtype(dtype).itemsize
    return Row(results, size_of(arguments.values()), written)


def best_times(
    say: Say, calls: dict[str, Callable[[], Any]], minimum: float, rounds: int, pause: float
) -> dict[str, float]:
    """Seconds per call of each function, the best of many batches.

    They take turns. Each is timed for at least `minimum` seconds and `rounds` turns (fewer, if they are long), without
    garbage collection.
    """
    repeats = {name: _repeats(call) for name, call in calls.items()}
    best = dict.fromkeys(calls, math.inf)
    spent = dict.fromkeys(calls, 0.0)
    done = 0
    gc.collect()
    gc.freeze()  # what is there by now need not be looked through in every round
    gc.disable()
    try:
        while waiting := [n for n, t in spent.items() if t < minimum or (done < rounds and t < PATIENCE)]:
            for name in waiting:
                say(name)
                time.sleep(pause)
                call, count = calls[name], repeats[name]
                call()
                turn = 0.0
                while turn < TURN:
                    start = time.perf_counter()
                    for _ in range(count):
                        call()
                    taken = time.perf_counter() - start
                    best[name] = min(best[name], taken / count)
                    turn += taken
                spent[name] += turn
            done += 1
            gc.collect()
    finally:
        gc.enable()
        gc.unfreeze()
    return best


def _repeats(call: Callable[[], Any]) -> int:
    """How many calls make a batch."""
    count = 1
    while True:
        start = time.perf_counter()
        for _ in range(count):
            call()
        taken = time.perf_counter() - start
        if taken >= BATCH / 2:
            return max(1, round(count * BATCH / taken))
        count *= 2 if taken else 10


class Cold(NamedTuple):
    """A first result, from nothing but the import.

    Attributes:
        seconds: to build, differentiate, compile and call.
        peak: the most memory that the process held, in MB.
        grown: the part of it that was not there before.
        difference: from the reference.
    """

    seconds: float
    peak: float
    grown: float
    difference: float


def cold(say: Say, operations: int, elements: int, name: str) -> Cold:
    """Compile a chain of operations and its gradient, and call it once."""
    competitor, workload = find(name), chain_of(operations, elements)
    importlib.import_module(competitor.module or "compiler")
    arguments = workload.inputs(False, "float64")
    before = _peak()
    say(name)
    _, found, seconds = first_call(competitor, workload, arguments)
    peak = _peak()
    return Cold(seconds, peak, peak - before, difference(found, workload.reference(arguments)))


def _peak() -> float:
    unit = 1e6 if sys.platform == "darwin" else 1e3  # getrusage counts bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit

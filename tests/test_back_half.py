"""The way from laid-out graphs to LLVM IR: its cost, counted in calls instead of seconds."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from support import without_loops

import symgraph as sg
from compiler import schedule
from compiler.emit_llvm import emit, needed_sizes
from compiler.layout import lay_out
from compiler.passes import optimise
from compiler.schedule import Scheduler
from compiler.specialise import ArgumentType, specialise
from symgraph.interning import collection_paused

VECTOR = ArgumentType(np.dtype(np.float64), False, (None,))
MATRIX = ArgumentType(np.dtype(np.float64), False, (None, None))


def calls(function: Any, *args: Any) -> tuple[Any, int]:
    """What a function gives, and how many functions were called for it, those of Python itself included."""
    count = 0

    def see(frame: Any, event: str, what: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    with collection_paused():  # what is freed meanwhile calls too
        sys.setprofile(see)
        try:
            return function(*args), count
        finally:
            sys.setprofile(before)


def work(length: int, kind: ArgumentType) -> tuple[int, int]:
    """Calls of the scheduler, and of the writer of LLVM IR, for a chain with its gradient."""
    x = sg.placeholder("x")
    y: Any = x
    for k in range(length):
        y = np.sin(y) * x + k
    typed = specialise([y, *sg.grad(y, [x])], [x], {"x": kind})
    with without_loops():  # in which long chains cost less
        scheduler = Scheduler(typed.inputs, lay_out(optimise(typed.graph)))
    program, scheduled = calls(scheduler.run)
    _, written = calls(emit, program, "core", needed_sizes(program), False, 32)
    return scheduled, written


@pytest.mark.parametrize("kind", [VECTOR, MATRIX], ids=["vector", "matrix"])
def test_work_grows_with_the_formula(kind: ArgumentType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "NEST_LIMIT", 32)  # many nests
    for made in zip(*(work(length, kind) for length in (200, 400, 800)), strict=True):
        # linear: the second half of a chain costs what the first did, but for a few calls that formulas before have
        # saved by filling caches; something quadratic would double the left side
        assert made[2] - made[1] == pytest.approx(2 * (made[1] - made[0]), rel=0.2)


def test_a_second_axis_costs_little() -> None:
    assert work(200, MATRIX)[0] < 1.5 * work(200, VECTOR)[0]

"""The most memory that value and gradients hold, beside what their inputs and outputs take.

Each number is from a process of its own. There, the inputs are made, the library compiles and computes once, all that
it gives back is dropped, and it computes again: the peak of that second call counts, from where the process stood
before the inputs were made. A program that does the same on tiny inputs says how much of it is the library's own code
and state; that is taken off. What is left is inputs, outputs, scratch memory, and pools that the library keeps.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import re
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import report
from benchmarks.competitors import Competitor, UnsupportedError, find
from benchmarks.measure import size_of, wake
from benchmarks.processes import Say, ask
from benchmarks.setting import chosen, install_hint, say, setting, write
from benchmarks.workloads import WORKLOADS

TASKS = (
    "logistic regression, value and gradient",
    "two-layer network, value and gradient",
    "softmax",
    "layer norm, value and gradient",
)


class Held(NamedTuple):
    """Bytes: at the peak of a call, beyond what there was before; and of its inputs and outputs.

    Attributes:
        peak: at most; None where the library cannot state the workload.
        ends: of inputs and outputs.
    """

    peak: int | None
    ends: int


def held(say: Say, title: str, name: str, quick: bool, dtype: str) -> Held:
    """Measure a competitor, in this process."""
    workload, competitor = next(w for w in WORKLOADS if w.title == title), find(name)
    say(name)
    wake(competitor)
    _give_back()
    before = _status("VmRSS")
    arguments = workload.inputs(quick, dtype)
    read = size_of(arguments.values())
    try:
        call = competitor.prepare(workload, arguments)
    except UnsupportedError:
        return Held(None, 0)
    del arguments  # some keep copies of their own
    written = size_of(call())
    _give_back()
    _forget_peak()
    call()
    return Held(_status("VmHWM") - before, read + written)


def held_by(call: Callable[[], Any]) -> int:
    """The bytes that a second call of something holds at its peak, beyond what there was before the first."""
    _give_back()
    before = _status("VmRSS")
    call()
    _give_back()
    _forget_peak()
    call()
    return max(_status("VmHWM") - before, 0)


def run(args: argparse.Namespace, argv: Sequence[str]) -> int:
    """The table."""
    competitors, missing = chosen(args.peers)
    install_hint(missing)
    load = os.getloadavg()[0]
    data: dict[str, Any] = {"columns": [c.name for c in competitors], "rows": []}
    for workload in WORKLOADS:
        if workload.task not in TASKS or not re.search(args.rows, workload.title, re.IGNORECASE):
            continue
        row: dict[str, Any] = {"title": workload.title, "ends": 0, "results": {}}
        data["rows"].append(row)
        for competitor in competitors:
            say(f"{workload.title}: {competitor.name}")
            row["results"][competitor.name] = cell = one(workload.title, competitor, workload.main, args)
            row["ends"] = max(row["ends"], cell["ends"])
            whole = {**setting(competitors, argv, load), **data}
            write(args, "memory", whole, report.memory_markdown(whole))
    say("")
    print(report.memory_markdown({**setting(competitors, argv, load), **data}))
    return 0


def one(title: str, competitor: Competitor, dtype: str, args: argparse.Namespace) -> dict[str, Any]:
    """A competitor's bytes in a row, less those of tiny inputs."""
    answers = [ask(held, (title, competitor.name, q, dtype), args.limit, lambda n: None) for q in (args.quick, True)]
    if reason := next((a.reason for a in answers if a.result is None), ""):
        return {"peak": None, "ends": 0, "failure": reason}
    whole, tiny = (Held(*a.result) for a in answers)
    if whole.peak is None or tiny.peak is None:
        return {"peak": None, "ends": 0, "failure": ""}
    return {"peak": max(0, whole.peak - tiny.peak), "ends": whole.ends, "failure": ""}


# -- what the system tells ---------------------------------------------------------------------------------------------


def _status(field: str) -> int:
    """Bytes of a field of /proc/self/status; elsewhere, the process's peak since it began."""
    file = Path("/proc/self/status")
    if not file.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    found = re.search(rf"^{field}:\s*(\d+) kB", file.read_text(), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def _forget_peak() -> None:
    file = Path("/proc/self/clear_refs")
    if file.exists():
        file.write_text("5")


def _give_back() -> None:
    """Return what is free to the system, so that using it again is seen."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

"""Work that no call waits for: a thread of its own does it, piece after piece, and ends when there is none left."""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count

_ready = threading.Condition(threading.Lock())
_jobs: list[tuple[float, int, Callable[[], object]]] = []
"""A heap: when each may begin, its number, and what it is. No process that is forked meanwhile has it half changed."""
_numbers = count()
_worker: threading.Thread | None = None


def later(job: Callable[[], object], pause: float = 0.0) -> None:
    """Have something done that can be done at any time, or not at all; what it raises is dropped.

    A process that ends waits for it. Where there can be no thread, it is not done.

    Args:
        job: what to call.
        pause: the seconds after which it may begin, so that an answer which is nearly there gets out before.

    >>> done = threading.Event()
    >>> later(done.set)
    >>> done.wait(10)
    True
    """
    global _worker
    with _ready:
        entry = time.monotonic() + pause, next(_numbers), job
        heapq.heappush(_jobs, entry)
        if _worker is not None:
            _ready.notify()
            return
        _worker = threading.Thread(target=_work, name="symgraph")
        try:
            _worker.start()
        except RuntimeError:  # the process ends, or may have no more threads
            _jobs.remove(entry)
            heapq.heapify(_jobs)
            _worker = None


def waiting() -> int:
    """How many jobs are not done yet."""
    return len(_jobs)


def _work() -> None:
    global _worker
    while True:
        with _ready:
            if not _jobs:
                _worker = None
                return
            entry = _jobs[0]
            left = entry[0] - time.monotonic()
            if left > 0 and threading.main_thread().is_alive():
                _ready.wait(left)
                continue
        with suppress(Exception):  # whoever needs it does it again, and sees what is wrong
            entry[2]()
        with _ready:  # not before it is done: a process that is forked meanwhile has it still to do
            _jobs.remove(entry)
            heapq.heapify(_jobs)


def _forked() -> None:
    """In a new process there is no thread until the next job, which then does those that were left as well."""
    global _ready, _worker
    _ready, _worker = threading.Condition(threading.Lock()), None


if hasattr(os, "register_at_fork"):
    # the lock is not taken before: whoever has it may be freeing a kernel, for which it waits for the compiler's
    os.register_at_fork(after_in_child=_forked)

"""Measurements in processes of their own, so that a library that hangs or crashes costs its own numbers only."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

SETTINGS_TAKEN_OUT = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Settings of the environment that would keep NumPy's matrix products from using the processor."""

Say = Callable[[str], None]
"""What a measurement calls with the name of what it begins."""


class Answer(NamedTuple):
    """What a process left: its result, or what it was at, and what happened."""

    result: Any
    at: str = ""
    reason: str = ""


@contextmanager
def fresh_settings(**more: str) -> Iterator[None]:
    """The environment for processes: caches of compiled code begin empty, so that compile times are cold ones; and what
    else is to be set in it."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        for name in SETTINGS_TAKEN_OUT:
            os.environ.pop(name, None)
        os.environ["PYTENSOR_FLAGS"] = f"base_compiledir={Path(folder) / 'pytensor'}"
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(folder) / "torch")
        os.environ["SYMGRAPH_CACHE_SIZE"] = "0"
        os.environ.update(more)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def ask(task: Callable[..., Any], arguments: tuple[Any, ...], limit: float, say: Say) -> Answer:
    """``task(say, *arguments)`` in a new process, with at most `limit` seconds for each thing that it begins.

    Where the time is up, or the process died, `at` is what it had begun last.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    with ours:
        process = context.Process(target=_work, args=(theirs, task, arguments))
        process.start()
        theirs.close()
        try:
            return _listen(ours, limit, say)
        finally:
            process.kill()
            process.join()


def _work(theirs: Connection, task: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    result = task(lambda name: theirs.send(("begins", name)), *arguments)
    theirs.send(("result", result))


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _listen(ours: Connection, limit: float, say: Say) -> Answer:
    at = "the start"
    while ours.poll(limit):
        try:
            kind, content = ours.recv()
        except EOFError:
            return Answer(None, at, "the process died")
        if kind == "result":
            return Answer(content)
        say(at := content)
    return Answer(None, at, f"more than {limit:g} s")

"""Ctrl-C inside a running kernel: long loops ask now and then whether a signal handler wants them to end.

What a handler raises is kept until the call has come to its end, and raised there. Python runs handlers in the main
thread alone, so one place is enough.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from compiler.runtime import capi
from compiler.runtime.builder import Module

IMPORTS = {
    "PyGILState_Ensure": ("i32",),
    "PyGILState_Release": ("void", "i32"),
    "PyErr_CheckSignals": ("i32",),
    "PyErr_Fetch": ("void", "ptr", "ptr", "ptr"),
}
"""Python's functions that are called, each with its result and parameters."""

FUNCTIONS = ("poll", "take_raised")

INTERRUPTED = 1 << 62
"""What a kernel returns after a handler has raised an exception."""

_WORD = 8


def write(m: Module) -> None:
    """The function ``poll``: 1 if a signal handler has raised an exception, else 0."""
    for name, (kind, *kinds) in IMPORTS.items():
        m.declare(kind, name, *kinds)
    m.variable("raised", f"[{3 * _WORD} x i8]")
    with m.function("i64", "poll") as f:
        held = f.call("i32", "PyGILState_Ensure")
        failed = f.call("i32", "PyErr_CheckSignals").is_not(0)
        with f.when(failed):
            raised = f.symbol("raised")
            f.call("void", "PyErr_Fetch", raised, raised.at(_WORD), raised.at(2 * _WORD))
        f.call("void", "PyGILState_Release", held)
        f.give(f.let("i64", f"zext i1 {failed.text} to i64"))
    with m.function("i64", "take_raised", ("i64", "place")) as f:
        # what was raised is moved to a place of three words
        (place,) = f.parameters
        target, raised = place.to("ptr", "inttoptr"), f.symbol("raised")
        for k in range(3):
            target.store(raised.load("ptr", k * _WORD), k * _WORD)
            raised.store(f.null, k * _WORD)
        f.give(0)


def reraise(take: Callable[[int], object]) -> None:
    """Raise what ended a kernel; `take` is the native function ``take_raised``.

    Raises:
        BaseException: what the signal handler raised.
    """
    held = (ctypes.c_void_p * 3)()
    take(ctypes.addressof(held))
    parts = list(held)
    if parts[0]:
        # ctypes raises what is set after the call
        capi.function("PyErr_Restore", None, *[ctypes.c_void_p] * 3)(*parts)
    raise KeyboardInterrupt

"""The runtime: native code that is the same for all compiled functions. It answers calls, and keeps a pool of threads
and one of memory. It is loaded once per process; first calls do not wait for it, but are answered by Python.

Reading order: builder (the language it is written in), library, layout, call, results, threads, memory, interrupt,
services (what kernels themselves call), plan, fallback.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from compiler import behind, machine
from compiler.runtime import call, capi, fallback, interrupt, layout, memory, results, services, threads
from compiler.runtime.builder import write_pause
from compiler.runtime.fallback import PythonCaller
from compiler.runtime.library import Library, python_functions
from compiler.runtime.plan import Bound, Call, Plan, Result, argument, plan

Caller = Callable[..., Any]

_WRITERS = (write_pause, call.write, results.write, threads.write)

_EXPORTS = (
    "call",
    "once",
    "probe",
    "parallel",
    "threads_reset",
    "threads_set",
    "threads_bind",
    "pool_use",
)


class _MethodDef(ctypes.Structure):
    """Python's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_MISFIT = object()
"""What a single attempt at a plan gives where the arguments are not the plan's."""

_FASTCALL_KEYWORDS = 0x0080 | 0x0002


class Runtime:
    """The loaded runtime.

    Attributes:
        addresses: where its functions and variables are.
        native: whether calls are answered by native code; else by Python.
        threads: how many work on one job.
    """

    def __init__(self) -> None:
        self.native = False
        self._library = Library(_WRITERS, _EXPORTS, _symbols())
        self.addresses = self._library.addresses
        self._run = self._library.run
        self._run("threads_reset")
        self.set_threads(threads.default_count())
        if layout.expected() and layout.verified():
            self._definitions: dict[tuple[str, str], int] = {}
            pointer, thing = ctypes.c_void_p, ctypes.py_object
            self._new = capi.function("PyCFunction_NewEx", thing, pointer, thing, pointer)
            self._once = self._new(self._define("once", "once", ""), _MISFIT, None)
            try:
                self.native = self._works()
            except Exception:  # whatever a layout that differs may bring about
                self.native = False
        if self.native:
            handler = memory.handler(services.load().addresses)
            self._run("pool_use", id(handler))
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: self._run("threads_reset"))

    def caller(self, state: list[Any], name: str = "call", doc: str = "") -> Caller:
        """A callable that tries the plans of a list in turn.

        Args:
            state: what to call where no plan fits, then plans; the list may be changed later.
            name, doc: what it is called, and its docstring.
        """
        return self._native_caller(state, name, doc) if self.native else PythonCaller(state)

    def _native_caller(self, state: list[Any], name: str = "call", doc: str = "") -> Caller:
        definition = self._definitions.get((name, doc))
        if definition is None:
            text = f"{name}($self, /, *args, **kwargs)\n--\n\n{doc}"
            definition = self._definitions[name, doc] = self._define("call", name, text)
        caller: Caller = self._new(definition, state, None)
        return caller

    def _define(self, function: str, name: str, doc: str) -> int:
        """A native function as Python takes it. What is made of it may outlive everything."""
        made = _MethodDef(name.encode(), self.addresses[function], _FASTCALL_KEYWORDS, doc.encode())
        return ctypes.addressof(capi.keep(made))

    def plan(self, description: Call) -> Plan:
        """A plan for both callers."""
        made = plan(description)
        made[0][layout.PARALLEL] = self.addresses["parallel"]
        return made

    def run(self, plan: Plan, values: Sequence[Any], convert: Callable[[], list[Any]]) -> Any:
        """Answer one call by a plan.

        Args:
            plan: for the types and shapes of the values.
            values: the arguments, in the order of the plan.
            convert: gives them as kernels take them, or raises what is wrong with them. It is asked where the plan
                does not fit after all, as for an integer too large for its dtype.
        """
        plan[0][layout.PARALLEL] = self.addresses["parallel"]  # which was not there yet if the plan is an early one
        if self.native and plan[1].native:
            result = self._once(plan, *values)
            if result is not _MISFIT:
                return result
        return fallback.run(plan, fallback.arrays(plan[1], convert()))

    def set_threads(self, count: int) -> None:
        """How many threads work on one job."""
        self.threads = count
        for index, processor in enumerate(threads.processors()):
            self._run("threads_bind", index, processor, int(count == threads.cores()))
        self._run("threads_set", count, threads.SPIN if count <= threads.cores() else 0)

    def pooled(self) -> int:
        """The bytes that the pool of memory holds for later."""
        return services.load().run("pool_held")

    def raise_interrupt(self) -> None:
        """Raise what a signal handler raised while a kernel ran."""
        interrupt.reraise(lambda place: services.load().run("take_raised", place))

    def drain(self) -> None:
        """Give the pool's memory back to the system."""
        services.load().run("pool_drain")

    def _works(self) -> bool:
        """Whether the native call takes and makes objects as Python does: one call with an argument of each kind."""
        array = np.array([3.5])
        given = {"x": 1.5, "n": -7, "y": np.float64(2.5), "k": np.int64(9), "a": array, "t": True, "s": 0.5}
        wanted = dict.fromkeys(given, None) | {"s": np.dtype("f4"), "t": np.dtype("?")}
        arguments = [argument(name, value, wanted[name]) for name, value in given.items()]
        double, whole = np.dtype("f8"), np.dtype("i8")
        numbers = [double, whole, double, whole, np.dtype("?"), np.dtype("f4")]
        # the kernel's outputs follow its arguments, so the array comes first
        arguments.insert(0, arguments.pop(4))
        codes = [layout.SINGLETON if d.kind == "b" else layout.NUMBER for d in numbers]
        results = [Result(layout.NEW, double, (1,), 0)]
        results += [Result(code, d, (), k) for k, (code, d) in enumerate(zip(codes, numbers, strict=True), 1)]

        def fail(status: int) -> NoReturn:
            raise ArithmeticError(status)

        names = tuple(a.name for a in arguments)
        answers = []
        for status in (0, 3):
            sizes = np.array([len(arguments), status], np.int64)
            bound = Bound(self.addresses["probe"], sizes, [], 1, numbers, results[1:] + results[:1], fail, True)
            made = self.plan(Call(bound, arguments, len(names), len(names) - 1, tuple, names[:1]))
            call = self._native_caller([lambda **_: "misfit", made])
            try:
                answers += [call(**given), call(**given | {"n": 2**70}), call(**given | {"a": np.array([1, 2])})]
            except ArithmeticError as error:
                answers.append(error.args)
        (values, gradients), *rest = answers
        expected = (np.float64(1.5), np.int64(-7), np.float64(2.5), np.int64(9), np.True_, np.float32(0.5))
        return (
            rest == ["misfit", "misfit", (3,)]
            and values == expected
            and [type(v) for v in values] == [type(v) for v in expected]
            and list(gradients) == ["a"]
            and gradients["a"].tolist() == [3.5]
            and gradients["a"] is not array
            and gradients["a"].flags.owndata
        )


def _symbols() -> dict[str, int]:
    """The addresses of what the runtime calls in Python and in NumPy."""
    found = python_functions(call.IMPORTS)
    get = capi.function("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
    table = importlib.import_module("numpy._core._multiarray_umath")._ARRAY_API
    functions = ctypes.cast(get(table, None), ctypes.POINTER(ctypes.c_void_p))
    for name, place in (
        ("PyArray_Type", 2),
        ("PyArray_NewFromDescr", layout.NEW_FROM_DESCR),
        ("PyArray_Scalar", layout.SCALAR),
        ("PyDataMem_SetHandler", layout.SET_HANDLER),
    ):
        found[name] = functions[place] or 0
    return found


_loaded: Runtime | None = None

_asked = False
"""Whether the runtime is on its way."""

_PAUSE = 0.002
"""Seconds until it is loaded while calls are answered without it: a first answer is out by then."""


def load() -> Runtime:
    """The runtime of this process."""
    global _loaded
    if _loaded is None:
        with machine.lock:  # a process is not forked meanwhile
            if _loaded is None:
                _loaded = Runtime()
    return _loaded


def at_hand() -> bool:
    """Whether the runtime is loaded."""
    return _loaded is not None


def answer(plan: Plan, values: Sequence[Any], convert: Callable[[], list[Any]]) -> Any:
    """Answer one call by a plan, as `Runtime.run` does; in Python until the runtime is there, if that is not slower."""
    if _loaded is not None or plan[1].bound.heavy:
        return load().run(plan, values, convert)
    try:
        return fallback.run(plan, fallback.arrays(plan[1], convert()))
    finally:
        _load_later()


def _load_later() -> None:
    global _asked
    if not _asked:
        _asked = True
        behind.later(_load_behind, _PAUSE)


def _load_behind() -> None:
    if threading.main_thread().is_alive():
        load()


def _forget() -> None:
    global _asked
    _asked = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

__all__ = [
    "Bound",
    "Call",
    "Caller",
    "Plan",
    "Result",
    "Runtime",
    "answer",
    "argument",
    "at_hand",
    "load",
    "plan",
]

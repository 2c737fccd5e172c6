"""The functions of far arguments, which kernels call by way of a table: compiled when a first one is wanted.

Hardly any call wants one. A kernel that does while they are missing notes so in the table, goes on with any other
value, and returns `AGAIN`; whoever called it provides them and calls it anew. So nothing is compiled inside a kernel,
whose threads may not wait for Python.

They hold for float64; a float32 is widened for them, and the result rounded.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from compiler import vector_math
from compiler.emit_scalar import (
    FAR,
    FAR_LENGTH,
    FAR_PLACES,
    FAR_TYPES,
    MISSED,
    READY,
    Body,
    Module,
    convert,
    is_far,
    literal,
    write_rule,
)
from compiler.machine import load, lock
from compiler.runtime.capi import keep

_FLOAT64 = FAR_TYPES["double"]


def text() -> str:
    """The module of all of them, which share the reduction of their argument. Each goes over some numbers, and replaces
    the values of those that are far.

    >>> "void @symgraph_far_sin_float(ptr %given, ptr %made, i64 %count)" in text()
    True
    """
    module = Module("far", ())
    body = Body(module)
    reduced = write_rule(body, vector_math.record_reduction(), _FLOAT64, ["%x", "%inverse", "%step", "%offset"])
    for k, value in enumerate(reduced):
        body.do(f"store double {value}, ptr {body.let(f'getelementptr inbounds double, ptr %out, i64 {k}')}")
    body.do("ret void")
    head = "\ndefine internal void @reduce(double %x, double %inverse, double %step, double %offset, ptr %out) #1 {"
    module.functions.append("\n".join([head, *body.lines, "}"]))
    for name in dict.fromkeys(name for name, _ in FAR_PLACES):
        body = Body(module)
        step, offset = vector_math.FUNCTIONS[name].steps
        given = ", ".join(f"double {literal(number, _FLOAT64)}" for number in (1 / step, step, offset))
        body.do("%out = alloca [3 x double]")
        body.do(f"call void @reduce(double %x, {given}, ptr %out)")
        places = [body.let(f"getelementptr inbounds double, ptr %out, i64 {k}") for k in range(3)]
        arguments = ["%x", *[body.let(f"load double, ptr {place}") for place in places]]
        (result,) = write_rule(body, vector_math.record_far(name), _FLOAT64, arguments)
        body.do(f"ret double {result}")
        module.functions.append("\n".join([f"\ndefine internal double @{name}(double %x) #1 {{", *body.lines, "}"]))
        for type_, dtype in FAR_TYPES.items():
            _write_loop(module, name, type_, dtype)
    return module.text()


def _write_loop(module: Module, name: str, type_: str, dtype: np.dtype[Any]) -> None:
    body = Body(module)

    def one() -> None:
        x = body.let(f"load {type_}, ptr {body.let(f'getelementptr inbounds {type_}, ptr %given, i64 %k')}")
        body.do(f"br i1 {is_far(body, name, type_, 1, x)}, label %far, label %near")
        body.label("far")
        value = body.let(f"call double @{name}(double {convert(body, x, dtype, _FLOAT64)})")
        at = body.let(f"getelementptr inbounds {type_}, ptr %made, i64 %k")
        body.do(f"store {type_} {convert(body, value, _FLOAT64, dtype)}, ptr {at}")
        body.do("br label %near")
        body.label("near")

    body.counted("k", "0", "%count", "1", one)
    body.do("ret void")
    head = f"\ndefine void @{FAR}_{name}_{type_}(ptr %given, ptr %made, i64 %count) #2 {{\nentry:"
    module.functions.append("\n".join([head, *body.lines, "}"]))


class Table:
    """Where kernels look for them.

    Attributes:
        address: where it is.
    """

    def __init__(self) -> None:
        # a thread that Python has forgotten may still run a kernel when the interpreter ends
        self._words = keep((ctypes.c_int64 * FAR_LENGTH)())
        self.address = ctypes.addressof(self._words)

    @property
    def missed(self) -> bool:
        """Whether a kernel wanted one that was not there."""
        return bool(self._words[MISSED])

    @property
    def ready(self) -> bool:
        """Whether they are there."""
        return bool(self._words[READY])

    def fill(self) -> None:
        """Compile them, or find them on disk, unless they are there."""
        with lock:  # a process is not forked meanwhile
            if not self.ready:
                code = keep(load(text(), quick=True))
                for (name, type_), place in FAR_PLACES.items():
                    self._words[place] = code.address(f"{FAR}_{name}_{type_}")
                self._words[READY] = 1  # last, for who sees this relies on the others


table = Table()
"""That of this process."""

"""The functions of far arguments, which kernels call by address: compiled once for all, and not for each kernel anew.

Hardly any call wants one, so a kernel is first made for near arguments alone. When it meets another, it says so
(`emit_entry.AGAIN`), and the same program is compiled with these functions.

They hold for float64; a float32 is widened for them, and the result rounded.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from compiler import machine, vector_math
from compiler.emit_scalar import FAR, Body, Module, convert, is_far, literal, suffix, write_rule

NAMES = tuple(name for name, function in vector_math.FUNCTIONS.items() if function.far is not None)

_FLOAT64 = np.dtype(np.float64)
_TYPES: dict[str, np.dtype[Any]] = {"double": _FLOAT64, "float": np.dtype(np.float32)}


def text() -> str:
    """The module of all of them, which share the reduction of their argument. Each goes over some numbers, and replaces
    the values of those that are far.

    >>> "void @symgraph_far_sin_f32(ptr %given, ptr %made, i64 %count)" in text()
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
    for name in NAMES:
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
        for type_, dtype in _TYPES.items():
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
    head = f"\ndefine void @{FAR}{name}_{suffix(type_, 1)}(ptr %given, ptr %made, i64 %count) #2 {{"
    module.functions.append("\n".join([head, *body.lines, "}"]))


@cache
def _code() -> machine.Code:
    return machine.load(text(), quick=True)


def symbols(kernel: str) -> dict[str, int]:
    """The addresses of those that the text of a kernel declares, by their names there; kept as long as the process."""
    names = [f"{FAR}{name}_{suffix(type_, 1)}" for name in NAMES for type_ in _TYPES]
    return {name: _code().address(name) for name in names if f"@{name}(" in kernel}

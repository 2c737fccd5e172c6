"""The functions of far arguments, which kernels call by address: compiled once for all, and not for each kernel anew.

They hold for float64; a float32 is widened for them, and the result rounded. Kernels declare what they use, and the
linker is told where it is.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from compiler import machine, vector_math
from compiler.emit_scalar import FAR, Body, Module, literal, write_rule

NAMES = tuple(name for name, function in vector_math.FUNCTIONS.items() if function.far is not None)

_FLOAT64 = np.dtype(np.float64)


def text() -> str:
    """The module of all of them, which share the reduction of their argument.

    >>> "double @symgraph_far_sin(double %x)" in text()
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
        module.functions.append("\n".join([f"\ndefine double @{FAR}{name}(double %x) #2 {{", *body.lines, "}"]))
    return module.text()


@cache
def _code() -> machine.Code:
    return machine.load(text(), quick=True)


def symbols(kernel: str) -> dict[str, int]:
    """The addresses of those that the text of a kernel declares, by their names there; kept as long as the process."""
    used = [FAR + name for name in NAMES if f"@{FAR}{name}(" in kernel]
    return {name: _code().address(name) for name in used}

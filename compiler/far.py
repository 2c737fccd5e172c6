"""The functions of far arguments, which kernels call by address: compiled once for all, and not for each kernel anew.

They hold for float64; a float32 is widened for them, and the result rounded. Kernels declare what they use, and the
linker is told where it is.
"""

from __future__ import annotations

from functools import cache

from compiler import machine, vector_math
from compiler.emit_scalar import FAR, Body, Module, define_rule

NAMES = tuple(name for name, function in vector_math.FUNCTIONS.items() if function.far is not None)


def text() -> str:
    """The module of all of them.

    >>> "double @symgraph_far_sin(double %x)" in text()
    True
    """
    module = Module("far", ())
    for name in NAMES:
        inner = define_rule(module, name, "double", 1, 1, inline=False, far=True)
        body = Body(module)
        body.do(f"ret double {body.let(f'call double @{inner}(double %x)')}")
        head = f"\ndefine double @{FAR}{name}(double %x) #2 {{\nentry:"
        module.functions.append("\n".join([head, *body.lines, "}"]))
    return module.text()


@cache
def _code() -> machine.Code:
    return machine.load(text())


def symbols(kernel: str) -> dict[str, int]:
    """The addresses of those that the text of a kernel declares, by their names there; kept as long as the process."""
    used = [FAR + name for name in NAMES if f"@{FAR}{name}(" in kernel]
    return {name: _code().address(name) for name in used}

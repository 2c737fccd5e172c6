"""Elementary functions in the language of scalar rules: branch-free, so that loops over them vectorise.

Every operation is rounded once and every fused one is written as such, so results have the same bits on every machine.
Accuracy is measured in docs/accuracy.md; sources are named with the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from compiler.program import Const, Primitive, Recorder, S
from compiler.vector_math import error, exponential, hyperbolic, inverse, logarithm, power, trigonometric


class Function(NamedTuple):
    """An elementary function: `rule(m, x, ...)` for one element.

    Where arguments above `limit` (by dtype) would cost all others time, `far` computes them, in float64; `rule` holds
    up to `limit`.
    """

    rule: Callable[..., S]
    far: Callable[..., S] | None = None
    limit: dict[int, float] | None = None


FUNCTIONS: dict[str, Function] = {
    "exp": Function(exponential.exp),
    "exp2": Function(exponential.exp2),
    "log": Function(logarithm.log),
    "log2": Function(logarithm.log2),
    "log10": Function(logarithm.log10),
    "log1p": Function(logarithm.log1p),
    "expm1": Function(hyperbolic.expm1),
    "sinh": Function(hyperbolic.sinh),
    "cosh": Function(hyperbolic.cosh),
    "tanh": Function(hyperbolic.tanh),
    "erf": Function(error.erf),
    "erfc": Function(error.erfc),
    "pow": Function(power.pow),
    "cbrt": Function(power.cbrt),
    "asin": Function(inverse.asin),
    "acos": Function(inverse.acos),
    "atan": Function(inverse.atan),
    "atan2": Function(inverse.atan2),
    "asinh": Function(inverse.asinh),
    "acosh": Function(inverse.acosh),
    "atanh": Function(inverse.atanh),
    "sin": Function(trigonometric.sin, trigonometric.far_sin, trigonometric.LIMIT),
    "cos": Function(trigonometric.cos, trigonometric.far_cos, trigonometric.LIMIT),
    "tan": Function(trigonometric.tan, trigonometric.far_tan, trigonometric.LIMIT),
}


class Recorded(NamedTuple):
    """A function as statements; the first ones made are its arguments."""

    arguments: tuple[int, ...]
    body: tuple[Const | Primitive, ...]
    result: int


@cache
def record(name: str, dtype: np.dtype[Any], arguments: int, far: bool = False) -> Recorded:
    """The statements of a function for a dtype."""
    m = Recorder([])
    given: Sequence[S] = [S(m, m.new(), dtype) for _ in range(arguments)]
    function = FUNCTIONS[name]
    rule = function.far if far else function.rule
    assert rule is not None
    result = rule(m, *given)
    return Recorded(
        tuple(a.number for a in given), tuple(s for s in m.body if isinstance(s, Const | Primitive)), result.number
    )

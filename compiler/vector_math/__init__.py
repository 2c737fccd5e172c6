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

    Where arguments above `limit` (by dtype) would cost all others time, `far(m, x, *reduced)` computes them, in
    float64, from what `trigonometric.reduce` makes of them with `steps`: the step and the offset. `rule` holds up to
    `limit`.
    """

    rule: Callable[..., S]
    far: Callable[..., S] | None = None
    steps: tuple[int, int] = (1, 0)
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
    "sin": Function(trigonometric.sin, trigonometric.far_sin, (2, 0), trigonometric.LIMIT),
    "cos": Function(trigonometric.cos, trigonometric.far_cos, (2, 1), trigonometric.LIMIT),
    "tan": Function(trigonometric.tan, trigonometric.far_tan, (1, 0), trigonometric.LIMIT),
}


class Recorded(NamedTuple):
    """A function as statements; the first ones made are its arguments."""

    arguments: tuple[int, ...]
    body: tuple[Const | Primitive, ...]
    results: tuple[int, ...]


@cache
def record(name: str, dtype: np.dtype[Any], arguments: int) -> Recorded:
    """The statements of a function for a dtype."""
    return _recorded(FUNCTIONS[name].rule, dtype, arguments)


def record_far(name: str) -> Recorded:
    """The statements of a function of a far float64 and of the three numbers that it is reduced to."""
    rule = FUNCTIONS[name].far
    assert rule is not None
    return _recorded(rule, np.dtype(np.float64), 4)


def record_reduction() -> Recorded:
    """The statements that reduce a far float64; the other arguments are 1 / step, the step, and the offset."""
    return _recorded(trigonometric.reduce, np.dtype(np.float64), 4)


def _recorded(rule: Callable[..., Any], dtype: np.dtype[Any], arguments: int) -> Recorded:
    m = Recorder([])
    given: Sequence[S] = [S(m, m.new(), dtype) for _ in range(arguments)]
    made = rule(m, *given)
    results = (made,) if isinstance(made, S) else made
    return Recorded(
        tuple(a.number for a in given),
        tuple(s for s in m.body if isinstance(s, Const | Primitive)),
        tuple(r.number for r in results),
    )

"""Schedules: step sizes as functions of the number of steps done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgraph import functions as fn
from symgraph.ops import elementwise as ew

Schedule = Callable[[Any], Any]


def _number(step: Any) -> Any:
    return fn.astype(step if hasattr(step, "_mode") else np.asarray(step), np.float64)


def exponential_decay(lr: float, rate: float, steps: int, staircase: bool = False) -> Schedule:
    """lr * rate ** (step / steps); as a staircase, with the quotient rounded down.

    >>> import symgraph as sg
    >>> float(sg.optim.exponential_decay(0.1, 0.5, 10)(20))
    0.025
    """

    def schedule(step: Any) -> Any:
        passed = _number(step) / steps
        return lr * ew.power(np.float64(rate), ew.floor(passed) if staircase else passed)

    return schedule


def cosine_decay(lr: float, steps: int, end: float = 0.0) -> Schedule:
    """From lr to `end` along half a cosine, and `end` from then on.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (ICLR 2017).

    >>> import symgraph as sg
    >>> [round(float(sg.optim.cosine_decay(1.0, 10)(k)), 12) for k in (0, 5, 10, 20)]
    [1.0, 0.5, 0.0, 0.0]
    """

    def schedule(step: Any) -> Any:
        passed = ew.minimum(_number(step) / steps, 1.0)
        return end + (lr - end) * (0.5 * (1.0 + ew.cos(np.pi * passed)))

    return schedule


def piecewise(values: Sequence[float], bounds: Sequence[int]) -> Schedule:
    """values[0] before the step bounds[0], values[1] before bounds[1], and so on.

    Raises:
        ValueError: there is not one value more than bounds.

    >>> import symgraph as sg
    >>> [float(sg.optim.piecewise([1.0, 0.1], [5])(k)) for k in (4, 5)]
    [1.0, 0.1]
    """
    if len(values) != len(bounds) + 1:
        raise ValueError(f"piecewise: needs one value more than bounds, got {len(values)} and {len(bounds)}")

    def schedule(step: Any) -> Any:
        found: Any = np.float64(values[-1])
        for value, bound in zip(reversed(values[:-1]), reversed(bounds), strict=True):
            found = ew.where(ew.less(step, bound), value, found)
        return found

    return schedule


def warmup(steps: int, then: Any) -> Schedule:
    """From (almost) zero up to the first value of `then` in equal steps; afterwards `then`, a number or a schedule.

    >>> import symgraph as sg
    >>> [float(sg.optim.warmup(4, 1.0)(k)) for k in (0, 1, 3, 9)]
    [0.25, 0.5, 1.0, 1.0]
    """

    def schedule(step: Any) -> Any:
        step = _number(step)
        start = then(0 * step) if callable(then) else then
        after = then(ew.maximum(step - steps, 0.0)) if callable(then) else then
        return ew.where(ew.less(step, steps), start * ((step + 1.0) / steps), after)

    return schedule

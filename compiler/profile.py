"""How long each step of a kernel takes: `Function.profile`."""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler import kernel
from compiler.account import account
from compiler.debug import options, prepared
from compiler.dispatch import VALUE, Kernels
from compiler.overview import estimate, title
from compiler.threads import get_num_threads
from compiler.variant import Variant
from compiler.words import count, in_bytes, in_time
from symgraph import dims
from symgraph.errors import ArgumentError

if TYPE_CHECKING:
    from compiler.function import Function


@dataclass(frozen=True, eq=False)
class Profile:
    """What :meth:`compiler.function.Function.profile` measured.

    Attributes:
        what: "value", "grad" or "value_and_grad".
        titles: what the steps are.
        seconds: the median time of each.
        estimates: about how many seconds the scheduler expected.
        moved, flops: the bytes and the operations of each.
        repeat: how often it ran.
    """

    what: str
    titles: list[str]
    seconds: list[float]
    estimates: list[float]
    moved: list[int]
    flops: list[int]
    repeat: int

    @property
    def total(self) -> float:
        """Seconds of all steps."""
        return sum(self.seconds)

    def __str__(self) -> str:
        calls, steps = count(self.repeat, "call"), count(len(self.seconds), "step")
        lines = [f"{self.what}, {calls}: {in_time(self.total * 1e12)} in {steps}"]
        rows = zip(self.titles, self.seconds, self.estimates, self.moved, self.flops, strict=True)
        for number, (text, seconds, expected, moved, flops) in enumerate(rows, 1):
            share = seconds / self.total if self.total else 0.0
            rate = f", {in_bytes(moved / seconds)}/s, {flops / seconds / 1e9:.3g} Gflop/s" if seconds else ""
            about = f", estimated {in_time(expected * 1e12)}" if expected else ""
            lines.append(f"  {share:4.0%}  {in_time(seconds * 1e12)}{about}{rate}   step {number}, {text}")
        return "\n".join(lines)

    __repr__ = __str__


def profile(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Profile:
    """See :meth:`compiler.function.Function.profile`."""
    chosen = options(function, kwargs, what=VALUE, repeat=20)
    repeat = chosen["repeat"]
    if not isinstance(repeat, int) or repeat < 1:
        raise ArgumentError(f"profile: repeat must be a number of calls, got {repeat!r:.80}")
    kernels, values = prepared(function, chosen["what"], args, kwargs)
    variant, sizes = kernels.find(values)
    variant.bind(sizes)  # the sizes that explanations are for
    seconds = _measured(kernels, variant, values, sizes, repeat)
    variant.measured = seconds, dict(sizes) if variant.known_sizes else {}
    steps, spent, threads = variant.program.steps, account(variant.program, variant.copied).steps, get_num_threads()
    return Profile(
        chosen["what"],
        [title(step) for step in steps],
        seconds,
        [estimate(step, sizes, threads) * 1e-12 for step in steps],
        [dims.evaluate(cost.moved, sizes) for cost in spent],
        [dims.evaluate(cost.flops, sizes) for cost in spent],
        repeat,
    )


def _measured(kernels: Kernels, variant: Variant, values: list[Any], sizes: dict[str, int], repeat: int) -> list[float]:
    """The median seconds of each step; what asking the clock takes is taken off."""
    times: list[int] = []
    clock = time.perf_counter_ns
    tick = ctypes.CFUNCTYPE(None)(lambda: times.append(clock()))
    address = ctypes.cast(tick, ctypes.c_void_p).value or 0
    singles = variant.program.outputs[variant.arrays :]
    built = kernel.build(variant.program, singles, address, far=True)
    ticking = Variant(variant.typed, variant.steps, variant.program, built, variant.laid_out)
    runs = []
    for _ in range(repeat + 1):
        times.clear()
        kernels.run(values, ticking.bind(sizes))
        runs.append(np.diff(times))
    asking, *steps = np.median(np.array(runs[1:], np.float64), axis=0)  # the first call fills caches
    return [max(float(step - asking), 0.0) * 1e-9 for step in steps]

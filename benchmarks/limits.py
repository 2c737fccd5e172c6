"""How fast a row could be: what this machine's memory and arithmetic allow, measured in the same run.

The limit of a row is the larger of two times: that of reading its inputs and writing its results once, and that of its
operations at the speed of fused multiply-adds (two operations each). A row's operations are a formula of its sizes, in
which an elementary function counts as in `COSTS`: about what it takes as a polynomial, in the dtype's precision.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from benchmarks.processes import Say

SIZES = tuple(2**k for k in (15, 17, 19, 21, 22, 23, 24, 25, 26, 27, 28))
"""Bytes that bandwidth is measured at."""

BATCH = 0.0005
"""Seconds of a batch, at least: a busy machine leaves a thread alone for that long."""

READING = 0.1
"""The share of results in a row's bytes below which it only reads."""


class Costs(NamedTuple):
    """Operations that an elementary function, a division and a square root stand for."""

    exp: float
    log: float
    sine: float
    tanh: float
    erf: float
    divide: float
    root: float


COSTS = {
    "float64": Costs(exp=20, log=24, sine=24, tanh=26, erf=40, divide=8, root=8),
    "float32": Costs(exp=12, log=14, sine=14, tanh=16, erf=20, divide=4, root=4),
}


class Speeds(NamedTuple):
    """What was measured.

    Attributes:
        sizes: bytes that were gone through.
        reading: bytes per second of each size, when all of it is read.
        triad: the same where two thirds are read and one third is written: ``a = b + s·c``.
        peak: operations per second, by dtype.
    """

    sizes: Sequence[int]
    reading: Sequence[float]
    triad: Sequence[float]
    peak: dict[str, float]


def limit(speeds: Speeds, flops: float, dtype: str, read: int, written: int) -> tuple[float, str]:
    """Seconds that a row needs at least, and what bounds it.

    >>> speeds = Speeds([100, 10_000], [10.0, 10.0], [5.0, 5.0], {"float64": 8.0})
    >>> limit(speeds, 16.0, "float64", 50, 50), limit(speeds, 400.0, "float64", 100, 0)
    ((20.0, 'memory'), (50.0, 'flops'))
    """
    total = read + written
    curve = speeds.reading if written < READING * total else speeds.triad
    memory = total / float(np.interp(np.log(total), np.log(speeds.sizes), curve))
    arithmetic = flops / speeds.peak[dtype]
    return max((memory, "memory"), (arithmetic, "flops"))


def vector_bits() -> int:
    """The width of the processor's vectors."""
    has = binding.get_host_cpu_features()
    return 512 if has.get("avx512f") else 256 if has.get("avx") else 128


def processor() -> str:
    """The processor's name where the system tells it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "a processor")


def measure(say: Say, quick: bool) -> Speeds:
    """This machine's speeds, with as many threads as it has cores."""
    sizes = SIZES[:2] if quick else SIZES
    seconds = 0.01 if quick else 1.0
    say("bandwidth")
    reading, triad = (
        # A smaller array is never slower: where it seems so, the cores were not ours.
        np.maximum.accumulate([_bandwidth(kernel, n, seconds) for n in reversed(sizes)])[::-1].tolist()
        for kernel in (_read_all, _triad)
    )
    say("arithmetic")
    peak = {name: _peak(number, seconds) for name, number in (("float64", types.float64), ("float32", types.float32))}
    return Speeds(sizes, reading, triad, peak)


def _together(calls: Sequence[Callable[[int], Any]], seconds: float, shared: bool) -> float:
    """Repetitions per second of calls that run at once, one on each core, at the best moment.

    They do not wait for each other: on a busy machine a core is away most of the time, and the others would be too. At
    every moment each of them is in a batch, whose speed is its share; a batch in which its core was away is a slow one.

    Args:
        calls: each is told how many repetitions it shall do, and does not hold the interpreter's lock.
        seconds: for how long.
        shared: whether they take from each other; if not, each one's best moment counts.
    """
    repeats = 1
    while min(_timed(calls[0], repeats) for _ in range(5)) < BATCH:
        repeats *= 2
    marks: list[list[float]] = [[] for _ in calls]
    gate = threading.Barrier(len(calls))

    def go_on(call: Callable[[int], Any], own: list[float]) -> None:
        gate.wait()
        end = time.perf_counter() + seconds
        while len(own) < 3 or own[-1] < end:
            own.append(time.perf_counter())
            call(repeats)

    threads = [threading.Thread(target=go_on, args=pair) for pair in zip(calls, marks, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, last = max(own[0] for own in marks), min(own[-1] for own in marks)
    if not shared or last <= first:  # or never at once
        return sum(repeats / float(np.min(np.diff(own))) for own in marks)
    moments = np.array([t for own in marks for t in own if first <= t < last])
    total = np.zeros(len(moments))
    for own in marks:
        k = np.searchsorted(own, moments, side="right")
        total += repeats / np.diff(own)[k - 1]
    return float(np.max(total))


def _timed(call: Callable[[int], Any], repeats: int) -> float:
    start = time.perf_counter()
    call(repeats)
    return time.perf_counter() - start


# -- memory ------------------------------------------------------------------------------------------------------------


def _bandwidth(kernel: Callable[..., Any], size: int, seconds: float) -> float:
    cores = numba.get_num_threads()
    own = [[np.full(max(64, size // (24 * cores)), value) for value in (0.0, 1.0, 2.0)] for _ in range(cores)]
    return 3 * own[0][0].nbytes * _together([partial(kernel, *arrays) for arrays in own], seconds, True)


@numba.njit(nogil=True)
def _triad(a: Any, b: Any, c: Any, repeats: int) -> None:
    for r in range(repeats):
        for i in range(len(a)):
            a[i] = b[i] + r * c[i]


@numba.njit(nogil=True, fastmath=True)
def _read_all(a: Any, b: Any, c: Any, repeats: int) -> float:
    total = 0.0
    for r in range(repeats):
        for i in range(len(a)):
            total += a[i] + b[i] * (c[i] + r)
    return total


# -- arithmetic --------------------------------------------------------------------------------------------------------

CHAINS = 12
"""Multiply-adds under way at once: enough to hide how long one takes, few enough for the registers."""


@intrinsic  # type: ignore[untyped-decorator]
def _multiply_adds(context: Any, start: Any, count: Any) -> Any:
    """``x = x·s + s`` in vectors of the full width, `count` times in each of `CHAINS` chains; a number from the end."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scalar = context.get_value_type(start)
        lanes = vector_bits() // (64 if start == types.float64 else 32)
        vector = ir.VectorType(scalar, lanes)
        lane = ir.IntType(32)
        first = ir.Constant(vector, ir.Undefined)
        for k in range(lanes):
            first = builder.insert_element(first, args[0], lane(k))
        starts = [builder.fmul(first, ir.Constant(vector, [k + 1.0] * lanes)) for k in range(CHAINS)]
        before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        index = builder.phi(ir.IntType(64))
        chains = [builder.phi(vector) for _ in range(CHAINS)]
        name = f"llvm.fma.v{lanes}f{start.bitwidth}"
        fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
        index.add_incoming(index.type(0), before)
        following = builder.add(index, index.type(1))
        index.add_incoming(following, loop)
        for chain, begin in zip(chains, starts, strict=True):  # else equal chains would become one
            chain.add_incoming(begin, before)
        results = [builder.call(fma, [chain, first, first]) for chain in chains]
        for chain, result in zip(chains, results, strict=True):
            chain.add_incoming(result, loop)
        builder.cbranch(builder.icmp_signed("<", following, args[1]), loop, after)
        builder.position_at_end(after)
        total = results[0]
        for result in results[1:]:
            total = builder.fadd(total, result)
        return builder.extract_element(total, lane(0))

    return start(start, types.int64), codegen


@numba.njit(nogil=True)
def _compute(start: Any, count: int) -> Any:
    return _multiply_adds(start, count)


def _peak(number: Any, seconds: float) -> float:
    start, steps, lanes = np.dtype(str(number)).type(0.25), 1000, vector_bits() // number.bitwidth

    def call(repeats: int) -> None:
        _compute(start, repeats * steps)

    return 2 * lanes * CHAINS * steps * _together([call] * numba.get_num_threads(), seconds, False)

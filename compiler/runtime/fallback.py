"""The caller in Python: what the native call does, for interpreters that it was not written for, and for tests."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.runtime import layout as at
from compiler.runtime.plan import Argument, Array, Call, Plan, fail

_KERNEL = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class PythonCaller:
    """Tries plans in turn, and hands the call over where none fits.

    Args:
        state: what to call where no plan fits, then plans.
    """

    def __init__(self, state: list[Any]) -> None:
        self.state = state

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        for plan in self.state[1:]:
            found = _read(plan[1], args, kwargs)
            if found is not None:
                return run(plan, found)
        return self.state[0](*args, **kwargs)


def _read(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Array] | None:
    """The arguments as arrays, if they are the plan's."""
    if len(args) + len(kwargs) != len(call.arguments) or len(args) > call.positional:
        return None
    found = []
    for k, wanted in enumerate(call.arguments):
        if k < len(args):
            value = args[k]
        elif wanted.name in kwargs:
            value = kwargs[wanted.name]
        else:
            return None
        array = _as_array(wanted, value)
        if array is None:
            return None
        found.append(array)
    return found


def _as_array(wanted: Argument, value: Any) -> Array | None:
    kind: Any = type(value)  # mypy would narrow the value by it
    if kind is not wanted.type:
        return None
    if wanted.type is np.ndarray:
        flags = value.flags
        fits = value.dtype is wanted.given and value.shape == wanted.shape and flags.c_contiguous and flags.aligned
        return value if fits else None
    if wanted.given is None and wanted.type is not float:
        if not -(2**63) <= value < 2**63:
            return None
        if wanted.dtype.kind == "f":
            value = float(value)
        elif np.array(value).astype(wanted.dtype) != value:
            return None
    with np.errstate(over="ignore"):
        return np.array(value, wanted.dtype)


def arrays(call: Call, values: Sequence[Any]) -> list[Array]:
    """Converted arguments as arrays of the dtypes that the kernel reads."""
    with np.errstate(over="ignore"):
        return [np.asarray(v, a.dtype) for v, a in zip(values, call.arguments, strict=True)]


def run(plan: Plan, given: list[Array]) -> Any:
    """Run a plan on arguments as arrays, and pack the results."""
    table, call = plan
    bound = call.bound
    made = {r.source: np.empty(r.shape, r.dtype) for r in bound.results if r.code == at.NEW}
    outputs = [made[k] for k in range(bound.arrays)] + [np.zeros(1, dtype) for dtype in bound.numbers]
    # a single element has eight bytes of room
    slots = np.zeros(len(bound.numbers), np.int64)
    for k, dtype in enumerate(bound.numbers):
        outputs[bound.arrays + k] = slots[k : k + 1].view(np.uint8)[: dtype.itemsize].view(dtype)
    pointers = np.array([a.ctypes.data for a in (*given, *bound.constants, *outputs)], np.int64)
    while status := _KERNEL(int(table[at.KERNEL]))(
        pointers.ctypes.data, bound.sizes.ctypes.data, int(table[at.PARALLEL])
    ):
        fail(plan, status)
    return packed(call, [_handed_out(r, outputs[r.source]) for r in bound.results])


def _handed_out(result: Any, output: Array) -> Any:
    if result.code == at.NEW:
        return output
    if result.code == at.COPY:
        return output.reshape(result.shape).copy()
    return output[0]


def packed(call: Call, results: list[Any]) -> Any:
    """Results in the form in which they are returned."""
    values = results[: call.values]
    value = values[0] if call.pack is None and values else call.pack(values) if call.pack is not None else None
    if call.names is None:
        return value
    gradients = dict(zip(call.names, results[call.values :], strict=True))
    return (value, gradients) if call.values else gradients

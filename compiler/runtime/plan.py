"""Plans: what a call does for arguments of certain types and shapes, as data.

`Bound` is a kernel with everything that sizes decide. `plan` makes of it, and of the arguments that a call came with,
a tuple that both callers take: the table that the native one reads, and the description that the one in Python reads.
"""

from __future__ import annotations

import ctypes
import math
import sys
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from compiler.runtime import capi, layout as at

Array = np.ndarray[Any, Any]


class Result(NamedTuple):
    """What is handed out of one output of a kernel.

    `code` is one of NEW, COPY, NUMBER, SINGLETON; `source` is the number of the output, arrays before single elements.
    """

    code: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    source: int

    @property
    def bytes(self) -> int:
        """The size of its data; of what no memory holds, some large number."""
        return min(self.dtype.itemsize * math.prod(self.shape), 2**62)


@dataclass(eq=False)
class Bound:
    """A kernel for arguments of certain sizes.

    Attributes:
        address: the kernel's machine code.
        sizes: the sizes that it takes.
        constants: the arrays that it takes after the arguments.
        arrays: how many of its outputs are arrays.
        numbers: the dtypes of its outputs that are single elements.
        results: what is handed out.
        fail: raises the error of a status, or gives another kernel to be run instead.
        long: whether other threads of Python run meanwhile.
        heavy: whether it is worth waiting for the runtime's threads.
        kept: what must live as long as the machine code is used.
    """

    address: int
    sizes: Array
    constants: list[Array]
    arrays: int
    numbers: list[np.dtype[Any]]
    results: list[Result]
    fail: Callable[[int], Bound]
    long: bool
    heavy: bool = False
    kept: Any = None


class Argument(NamedTuple):
    """An argument as it is given: its exact type, of an array dtype and shape; and the dtype that the kernel reads."""

    name: str
    type: type
    given: np.dtype[Any] | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def readable(value: Any, wanted: np.dtype[Any] | None) -> bool:
    """Whether the callers take a value as it is, for a placeholder that wants a dtype (None: any).

    The values of Python's integers are checked by each call.
    """
    kind = type(value)
    if kind is float:
        return wanted is None or wanted.kind == "f"
    if kind is int or kind is bool:
        return wanted is None or wanted.kind in ("iuf" if kind is int else "biuf")
    if kind is np.ndarray:
        flags = value.flags
        if not (flags.c_contiguous and flags.aligned):
            return False
    elif not isinstance(value, np.generic):
        return False
    dtype = value.dtype
    if kind is not np.ndarray and kind is not dtype.type:
        return False
    return dtype.char in "?bhilqBHILQfd" and dtype.isnative and (wanted is None or dtype == wanted)


_NUMBERS: dict[type, np.dtype[Any]] = {float: np.dtype("f8"), int: np.dtype("i8"), bool: np.dtype("?")}


def argument(name: str, value: Any, wanted: np.dtype[Any] | None) -> Argument:
    """What a plan says of a readable value."""
    if type(name) is str:
        name = sys.intern(name)  # as the names of keywords are, so that they are compared by identity
    kind = type(value)
    if kind in _NUMBERS:
        return Argument(name, kind, None, (), wanted or _NUMBERS[kind])
    return Argument(name, kind, value.dtype, value.shape if kind is np.ndarray else (), value.dtype)


@dataclass(eq=False)
class Call:
    """What a plan says, for the caller in Python; and what keeps alive what the table points to.

    Attributes:
        bound: the kernel.
        arguments: in the order in which it takes them.
        positional: how many of them may be given by position.
        values: how many results belong to the value.
        pack: makes the value of a list of results; None where the only result is the value.
        names: of the gradients, which are the other results; None where they are not asked for.
    """

    bound: Bound
    arguments: list[Argument]
    positional: int
    values: int
    pack: Callable[[list[Any]], Any] | None
    names: tuple[str, ...] | None
    kept: list[Any] = field(default_factory=list)

    @property
    def native(self) -> bool:
        """Whether the native call may take it: what it needs room for lies on the stack."""
        return len(self.arguments) + len(self.bound.constants) + len(self.bound.results) <= MOST


MOST = 2000
"""Arguments, constants and results of a native call."""

Plan = tuple[Array, Call]


def plan(call: Call) -> Plan:
    """The table for the native caller, beside the description."""
    bound, kept = call.bound, call.kept
    names = call.names or ()
    words = [0] * at.HEAD

    def address(thing: Any) -> int:
        kept.append(thing)
        return id(thing)

    def shape(sizes: Sequence[int]) -> int:
        array = np.array(sizes, np.int64)
        kept.append(array)
        return array.ctypes.data

    words[at.KERNEL], words[at.SIZES] = bound.address, bound.sizes.ctypes.data
    words[at.LONG] = int(bound.long)
    words[at.ARGUMENTS], words[at.POSITIONAL] = len(call.arguments), call.positional
    words[at.CONSTANTS] = len(bound.constants)
    words[at.ARRAYS], words[at.NUMBERS] = bound.arrays, len(bound.numbers)
    words[at.VALUES], words[at.GRADIENTS] = call.values, len(names)
    words[at.PACK] = 0 if call.pack is None else address(call.pack)
    words[at.DIFFERENTIATED] = int(call.names is not None)
    words[at.ARGUMENTS_AT] = len(words)
    for a in call.arguments:
        low, high = _range(a.dtype)
        dtype = 0 if a.given is None else address(a.given)
        words += [address(a.name), _code(a), address(a.type), dtype, len(a.shape), shape(a.shape), low, high]
    words[at.CONSTANTS_AT] = len(words)
    words += [c.ctypes.data for c in bound.constants]
    words[at.RESULTS_AT] = len(words)
    for r in bound.results:
        kind = r.dtype.type
        allocate = _allocator(kind) if r.code == at.NUMBER else 0
        words += [r.code, address(r.dtype), len(r.shape), shape(r.shape), r.bytes, r.source, address(kind), allocate]
    words[at.NAMES_AT] = len(words)
    words += [address(name) for name in names]
    table = np.array(words, np.int64)
    table[at.FAIL] = address(partial(_failed, table, weakref.ref(call)))
    return table, call


def fail(made: Plan, status: int) -> None:
    """Raise the error of a status, or have the plan run another kernel from here on."""
    table, call = made
    instead = call.bound.fail(status)
    call.kept.append(call.bound)  # other threads may run it
    call.bound = instead
    table[at.KERNEL] = call.bound.address


def _failed(table: Array, call: weakref.ref[Call], status: int) -> None:
    held = call()
    assert held is not None  # by the plan, which is in use
    fail((table, held), status)


def _range(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The integers of 64 bits that a dtype takes."""
    if dtype.kind in "iu":
        return max(np.iinfo(dtype).min, -(2**63)), min(int(np.iinfo(dtype).max), 2**63 - 1)
    return (0, 1) if dtype.kind == "b" else (-(2**63), 2**63 - 1)


def _code(a: Argument) -> int:
    if a.type is np.ndarray:
        return at.ARRAY
    if a.type is float:
        return at.TO_FLOAT32 if a.dtype.itemsize == 4 else at.IN_PLACE
    if a.type is int or a.type is bool:
        if a.dtype.kind == "f":
            return at.INTEGER_TO_FLOAT32 if a.dtype.itemsize == 4 else at.INTEGER_TO_FLOAT64
        return at.INTEGER
    return at.IN_PLACE


_allocators: dict[type, int] = {}


def _allocator(kind: type) -> int:
    """The function by which a type makes its objects."""
    found = _allocators.get(kind)
    if found is None:
        get = capi.function("PyType_GetSlot", ctypes.c_void_p, ctypes.py_object, ctypes.c_int)
        found = _allocators[kind] = get(kind, 47)  # Py_tp_alloc, of the stable ABI
    return found

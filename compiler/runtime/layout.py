"""Where CPython and NumPy keep what the native call reads: offsets in bytes, and the table of a plan.

The offsets follow from the documented structs on 64-bit machines. A self-test at start compares what they give with
what Python says, so that an interpreter that differs is served by the caller in Python instead.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy as np

WORD = 8

TYPE = 8  # PyObject.ob_type
VALUE = object.__basicsize__  # the number in a float and in NumPy's numbers; the length of a tuple or list
LENGTH = VALUE
TUPLE_ITEMS = VALUE + WORD
LIST_ITEMS = VALUE + WORD  # a pointer to them

ARRAY_DATA = VALUE
ARRAY_RANK = VALUE + WORD
ARRAY_SHAPE = VALUE + 2 * WORD
ARRAY_DTYPE = VALUE + 5 * WORD
ARRAY_FLAGS = VALUE + 6 * WORD
CONTIGUOUS_AND_ALIGNED = 0x0101

NEW_FROM_DESCR, SCALAR, SET_HANDLER = 94, 60, 304
"""Places in NumPy's table of functions; they are part of its ABI."""


def expected() -> bool:
    """Whether this interpreter is one that the native call was written for."""
    return (
        sys.implementation.name == "cpython"
        and sys.byteorder == "little"
        and sys.maxsize == 2**63 - 1
        and object.__basicsize__ == 16  # it is larger where there is no lock of the interpreter, or with its debugging
        and float.__basicsize__ == np.float64.__basicsize__ == 24
    )


def verified() -> bool:
    """Whether the offsets above hold: what they give of some objects is compared with what Python says of them."""

    def word(thing: Any, offset: int, kind: Any = ctypes.c_int64) -> Any:
        return kind.from_address(id(thing) + offset).value

    numbers = [ctypes.c_double.from_address(id(v) + VALUE).value for v in (2.5, np.float64(2.5))]
    numbers += [ctypes.c_float.from_address(id(v) + VALUE).value for v in (np.float32(2.5),)]
    pair, items = ("a", "b"), ["a", "b", "c"]
    array = np.arange(12.0).reshape(3, 4)
    shape = ctypes.POINTER(ctypes.c_int64).from_address(id(array) + ARRAY_SHAPE)
    flags = CONTIGUOUS_AND_ALIGNED
    return (
        numbers == [2.5, 2.5, 2.5]
        and (word(pair, TYPE), word(pair, LENGTH), word(pair, TUPLE_ITEMS)) == (id(tuple), 2, id(pair[0]))
        and (word(items, LENGTH), ctypes.c_int64.from_address(word(items, LIST_ITEMS) + 16).value) == (3, id(items[2]))
        and word(array, ARRAY_DATA) == array.ctypes.data
        and (word(array, ARRAY_RANK, ctypes.c_int32), shape[0], shape[1]) == (2, 3, 4)
        and word(array, ARRAY_DTYPE) == id(array.dtype)
        and word(array, ARRAY_FLAGS, ctypes.c_int32) & flags == flags
        and word(array.T, ARRAY_FLAGS, ctypes.c_int32) & flags != flags
    )


# -- the table of a plan: eight-byte words, of which these are the first ----------------------------------------------

(
    KERNEL,
    SIZES,
    PARALLEL,
    LONG,  # not 0: the work is long, so the interpreter is let go
    ARGUMENTS,  # how many there are
    POSITIONAL,  # how many of them may be given by position
    CONSTANTS,
    ARRAYS,  # how many outputs are arrays
    NUMBERS,  # how many are single elements
    VALUES,  # how many results belong to the value
    GRADIENTS,
    PACK,  # a callable that makes the value of a list of results; 0: there is one result, and it is the value
    DIFFERENTIATED,  # not 0: the gradients are given, too, as a dict
    FAIL,  # a callable for a status that is not 0
    ARGUMENTS_AT,  # from here on, where in the table the records stand
    CONSTANTS_AT,
    RESULTS_AT,
    NAMES_AT,
    HEAD,
) = range(19)

(A_NAME, A_CODE, A_TYPE, A_DTYPE, A_RANK, A_SHAPE, A_LOW, A_HIGH, ARGUMENT) = range(9)
"""The record of an argument, and its length."""

IN_PLACE, ARRAY, TO_FLOAT32, INTEGER, INTEGER_TO_FLOAT64, INTEGER_TO_FLOAT32 = range(6)
"""How an argument is read: where it stands, for floats and NumPy's numbers; or with a conversion."""

(R_CODE, R_DTYPE, R_RANK, R_SHAPE, R_BYTES, R_SOURCE, R_TYPE, R_ALLOCATE, RESULT) = range(9)
"""The record of a result, and its length. Its source is the number of a kernel's output."""

NEW, COPY, NUMBER, SINGLETON = range(4)
"""What a result is: the array that the kernel writes; an array of its own with the same elements; a NumPy number;
a NumPy number of which there is one object per value."""

LARGE = 256 * 1024
"""Bytes from which results come from the pool of memory."""

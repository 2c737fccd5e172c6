"""A Program as machine code in this process, and how Python calls it."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from compiler import machine
from compiler.emit_entry import ENTRY, entry
from compiler.emit_llvm import emit, needed_sizes
from compiler.program import Buffer, Product, Program
from symgraph.dims import Size

compilations = 0
"""How many kernels this process has made, be it from object code on disk."""

_PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


@dataclass(eq=False)
class Kernel:
    """Machine code and how to call it.

    `entry` takes the inputs, the constants, the arrays of the outputs that are not single elements, and the sizes; it
    returns a status (0: done) followed by the outputs that are single elements.
    """

    entry: Callable[..., Any]
    sizes: list[Size]
    llvm_ir: str
    code: machine.Code | None = field(repr=False)

    @property
    def address(self) -> int:
        """Where the function starts that `compiler.emit_entry` describes."""
        assert self.code is not None
        return self.code.address(ENTRY)


@cache
def blas() -> dict[str, int]:
    """The addresses of SciPy's matrix products, by the names that kernels use; none without SciPy."""
    try:
        capsules = importlib.import_module("scipy.linalg.cython_blas").__pyx_capi__
        name_of = ctypes.pythonapi.PyCapsule_GetName
        name_of.argtypes, name_of.restype = [ctypes.py_object], ctypes.c_char_p
        pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
        pointer_of.argtypes, pointer_of.restype = [ctypes.py_object, ctypes.c_char_p], ctypes.c_void_p
        found = {f"symgraph_{x}gemm": capsules[f"{x}gemm"] for x in "ds"}
        return {name: pointer_of(capsule, name_of(capsule)) for name, capsule in found.items()}
    except (ImportError, AttributeError, KeyError, ValueError):
        return {}


def build(program: Program, ranks: dict[Buffer, int], singles: Sequence[Buffer]) -> Kernel:
    """Compile a program.

    Args:
        program: what to compile; its outputs that are returned as numbers come after those given as arrays.
        ranks: the number of axes of the arrays passed for buffers.
        singles: the output buffers that are returned as numbers.
    """
    global compilations
    sizes = needed_sizes(program)
    arrays = [b for b in dict.fromkeys(program.outputs) if b not in singles]
    program.outputs = [*arrays, *singles]
    products = any(isinstance(s, Product) and s.c[0].dtype.kind == "f" for s in program.steps)
    symbols = blas() if products else {}
    with machine.lock:
        text = emit(program, "core", sizes, bool(symbols)) + entry(program, "core")
        code = machine.load(text, symbols)
        compilations += 1
    return Kernel(_caller(code, program, singles), sizes, text, code)


def _caller(code: machine.Code, program: Program, singles: Sequence[Buffer]) -> Callable[..., Any]:
    """The function that passes Python's arguments on."""
    function = _PROTOTYPE(code.address(ENTRY))
    dtypes = [b.dtype if b.role == "scalar" else None for b in program.inputs]
    dtypes += [None] * (len(program.constants) + len(program.outputs) - len(singles))
    kinds = [b.dtype for b in singles]

    def call(*arguments: Any) -> tuple[Any, ...]:
        *given, sizes = arguments
        arrays = [a if d is None else np.array(a, d) for a, d in zip(given, dtypes, strict=True)]
        numbers = [np.zeros(8, np.uint8).view(d) for d in kinds]
        pointers = np.array([a.ctypes.data for a in (*arrays, *numbers)], np.uintp)
        status = function(pointers.ctypes.data, sizes.ctypes.data, None)
        return status, *(number[0] for number in numbers)

    call.code = code  # type: ignore[attr-defined]  # which lives as long as it can be called
    return call


def assembly(kernel: Kernel) -> str:
    """The kernel's machine code as text."""
    return machine.assembly(kernel.llvm_ir)

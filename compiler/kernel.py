"""A Program as machine code in this process."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from compiler import machine
from compiler.emit_entry import ENTRY, entry
from compiler.emit_llvm import TICK, emit, needed_sizes
from compiler.emit_scalar import MISSED
from compiler.far import symbols as far_functions
from compiler.program import Buffer, Product, Program, Repeat
from compiler.runtime import services
from symgraph.dims import Size

QUICK_FROM = 2000
"""Statements from which LLVM translates them without looking for the best registers and order: its time for that grows
faster than the function, and long chains of operations gain little by it."""

compilations = 0
"""How many kernels this process has made, be it from object code on disk."""


@dataclass(eq=False)
class Kernel:
    """Machine code, the sizes that it takes, what it was made of, whether LLVM took its time for it, and whether it is
    for near arguments of functions alone."""

    sizes: list[Size]
    llvm_ir: str = field(repr=False)
    quick: bool
    near: bool
    code: machine.Code = field(repr=False)

    @property
    def address(self) -> int:
        """Where the function starts that `compiler.emit_entry` describes."""
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


def build(program: Program, singles: Sequence[Buffer], tick: int | None = None, far: bool = False) -> Kernel:
    """Compile a program.

    Args:
        program: what to compile; its outputs that are returned as numbers come after those given as arrays.
        singles: the output buffers that are returned as numbers.
        tick: the address of a function without arguments to be called twice before the first step, and after each.
        far: compute far arguments too. So does every kernel with a loop that might never end without them.
    """
    global compilations
    sizes = needed_sizes(program)
    arrays = [b for b in dict.fromkeys(program.outputs) if b not in singles]
    program.outputs = [*arrays, *singles]
    products = any(isinstance(s, Product) and s.c[0].dtype.kind == "f" for s in program.all_steps())
    library = blas() if products else {}
    with machine.lock:
        quick = program.statements > QUICK_FROM
        far = far or any(isinstance(s, Repeat) and isinstance(s.trips, Buffer | None) for s in program.all_steps())
        widest = machine.vector_bytes()
        register = widest if quick else 0
        core = emit(program, "core", sizes, bool(library), register, tick is not None, far, masks=widest == 64)
        near = f"@{MISSED} =" in core
        text = core + entry(program, "core", chunks="%parallel(" in core or "@in_turn" in core, near=near)
        used = [name for name in ("pool_malloc", "pool_free", "poll") if f"@{name}(" in text]
        symbols = {**library, **{name: services.load().addresses[name] for name in used}}
        if tick is not None:
            symbols[TICK] = tick
        code = machine.load(text, {**symbols, **far_functions(text)}, quick=quick)
        compilations += 1
    return Kernel(sizes, text, quick, near, code)


def assembly(kernel: Kernel) -> str:
    """The kernel's machine code as text."""
    return machine.assembly(kernel.llvm_ir, quick=kernel.quick)

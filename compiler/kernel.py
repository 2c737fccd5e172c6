"""A Program as machine code in this process."""

from __future__ import annotations

import ctypes
import importlib
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial

from compiler import behind, machine
from compiler.emit_entry import ENTRY, FIRST, FORWARDING, INSTEAD, entry
from compiler.emit_llvm import TICK, emit, needed_sizes
from compiler.emit_scalar import MISSED
from compiler.far import symbols as far_functions
from compiler.program import Buffer, Product, Program, Repeat
from compiler.runtime import services
from compiler.runtime.threads import cores
from symgraph.dims import Size

QUICK_FROM = 2000
"""Statements from which LLVM translates them without looking for the best registers and order: its time for that grows
faster than the function, and long chains of operations gain little by it."""

compilations = 0
"""How many kernels this process has made, be it from object code on disk."""

BACKLOG = 32
"""How many kernels may wait to be made again; while there are more, new ones are made well at once."""

_PAUSE = 0.02
"""Seconds after the last kernel until one is made again: its answer is out by then, often the runtime is there, and who
compiles many functions one after the other is not held up."""

_last = 0.0
"""When the last kernel was made."""


@dataclass(eq=False)
class Kernel:
    """Machine code.

    Attributes:
        sizes: the sizes that it takes.
        llvm_ir: what it was made of.
        symbols: the addresses of functions from outside that it calls.
        quick: whether LLVM translated it without taking its time.
        near: whether it is for near arguments of functions alone.
        hasty: whether it was made quickly for the sake of a first answer, and is to be made again.
        code: the machine code.
    """

    sizes: list[Size]
    llvm_ir: str = field(repr=False)
    symbols: Mapping[str, int] = field(repr=False)
    quick: bool
    near: bool
    hasty: bool
    code: machine.Code = field(repr=False)
    _better: Kernel | None = field(default=None, repr=False)

    @property
    def address(self) -> int:
        """Where the function starts that `compiler.emit_entry` describes."""
        return self.code.address(FIRST if self.hasty else ENTRY)

    @property
    def latest(self) -> Kernel:
        """The kernel that calls of this one go on to."""
        return self._better or self

    def better(self) -> Kernel:
        """The kernel as LLVM makes it if it takes its time; calls of this one go on to that from then on."""
        if not self.hasty:
            return self
        with machine.lock:
            if self._better is None:
                code = machine.load(self.llvm_ir, self.symbols)
                made = replace(self, quick=False, hasty=False, code=code)
                ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.code.address(INSTEAD))(made.address)
                self._better = made
            return self._better


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


def unbounded(program: Program) -> bool:
    """Whether it has loops of which no size tells how often they go round."""
    return any(isinstance(s, Repeat) and isinstance(s.trips, Buffer | None) for s in program.all_steps())


def _spare() -> bool:
    """Whether a processor is free for making kernels again."""
    return behind.waiting() < BACKLOG and cores() > 1 and os.environ.get("SYMGRAPH_QUICK_FIRST") != "0"


def build(
    program: Program, singles: Sequence[Buffer], tick: int | None = None, far: bool = False, hasty: bool = False
) -> Kernel:
    """Compile a program.

    Args:
        program: what to compile; its outputs that are returned as numbers come after those given as arrays.
        singles: the output buffers that are returned as numbers.
        tick: the address of a function without arguments to be called twice before the first step, and after each.
        far: compute far arguments too. So does every kernel with a loop that might never end without them.
        hasty: if it is not on disk, make it quickly, and again behind, so that there is an answer soon.
    """
    global compilations, _last
    sizes = needed_sizes(program)
    arrays = [b for b in dict.fromkeys(program.outputs) if b not in singles]
    program.outputs = [*arrays, *singles]
    products = any(isinstance(s, Product) and s.c[0].dtype.kind == "f" for s in program.all_steps())
    library = blas() if products else {}
    with machine.lock:
        quick = program.statements > QUICK_FROM
        far = far or unbounded(program)
        widest = machine.vector_bytes()
        register = widest if quick else 0
        core = emit(program, "core", sizes, bool(library), register, tick is not None, far, masks=widest == 64)
        near = f"@{MISSED} =" in core
        text = core + entry(program, "core", chunks="%parallel(" in core or "@in_turn" in core, near=near)
        used = [name for name in ("pool_malloc", "pool_free", "poll") if f"@{name}(" in text]
        symbols = {**library, **{name: services.load().addresses[name] for name in used}, **far_functions(text)}
        if tick is not None:
            symbols[TICK] = tick
        code = machine.found(text, symbols, quick=quick)
        hasty = hasty and code is None and not quick and _spare()
        if hasty:
            code = machine.made(text + FORWARDING, symbols, quick=True, keep=False)
        elif code is None:
            code = machine.made(text, symbols, quick=quick)
        compilations += 1
    built = Kernel(sizes, text, symbols, quick or hasty, near, hasty, code)
    _last = time.monotonic()
    if hasty:
        behind.later(partial(_again, built), _PAUSE)
    return built


def _again(built: Kernel) -> None:
    """Make a kernel again once no others are made; in a process that ends at once."""
    left = _last + _PAUSE - time.monotonic()
    if left > 0 and threading.main_thread().is_alive():
        behind.later(partial(_again, built), left)
    else:
        built.better()


def assembly(kernel: Kernel) -> str:
    """The kernel's machine code as text."""
    return machine.assembly(kernel.llvm_ir, quick=kernel.quick)

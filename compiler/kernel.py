"""A Program as machine code: LLVM IR handed to Numba by one intrinsic inside a jitted function.

Numba sees a function of one line, whatever the size of the graph, so its front end costs the same for every kernel.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import llvmlite.binding as llvm
import llvmlite.ir as ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic
from numba.np.numpy_support import from_dtype

from compiler.emit_llvm import emit, needed_sizes
from compiler.program import Buffer, Product, Program
from symgraph.dims import Size

_lock = threading.RLock()


def _new_lock() -> None:
    """A child process gets a lock of its own: the thread that held this one does not exist there."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)

compilations = 0
"""How many kernels this process has compiled."""


@dataclass(eq=False)
class Kernel:
    """Machine code and how to call it.

    `entry` takes the inputs, the constants, the arrays of the outputs that are not single elements, and the sizes; it
    returns a status (0: done) followed by the outputs that are single elements.
    """

    entry: Callable[..., Any]
    sizes: list[Size]
    llvm_ir: str
    dispatcher: Any = field(repr=False)


_blas: bool | None = None


def blas_available() -> bool:
    """Whether SciPy's BLAS was found; its matrix products are then linked into kernels."""
    global _blas
    if _blas is None:
        try:
            for letter in "ds":
                address = get_cython_function_address("scipy.linalg.cython_blas", f"{letter}gemm")
                llvm.add_symbol(f"symgraph_{letter}gemm", address)
            _blas = True
        except (ImportError, ValueError):
            _blas = False
    return _blas


def _intrinsic(name: str, text: str, scalars: Sequence[Any]) -> Any:
    """The function that numba calls: it links the module and passes pointers."""

    @intrinsic  # type: ignore[untyped-decorator]
    def core(typing_context: Any, arguments: Any) -> Any:
        result = types.Tuple([types.int64, *scalars])

        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            module = llvm.parse_assembly(text)
            context.active_code_library.add_llvm_module(module)
            operands = []
            for k, kind in enumerate(arguments):
                value = builder.extract_value(values[0], k)
                if isinstance(kind, types.Array):
                    value = context.make_array(kind)(context, builder, value).data
                    value = builder.bitcast(value, ir.IntType(8).as_pointer())
                operands.append(value)
            slots = [cgutils.alloca_once(builder, context.get_data_type(s)) for s in scalars]
            sizes = operands.pop()
            operands += [builder.bitcast(s, ir.IntType(8).as_pointer()) for s in slots] + [sizes]
            kind = ir.FunctionType(ir.IntType(64), [o.type for o in operands])
            function = cgutils.get_or_insert_function(builder.module, kind, name)
            status = builder.call(function, operands)
            results = [
                context.data_model_manager[s].from_data(builder, builder.load(slot))
                for s, slot in zip(scalars, slots, strict=True)
            ]
            return context.make_tuple(builder, signature.return_type, [status, *results])

        return result(arguments), codegen

    return core


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
    with _lock:
        blas = any(isinstance(s, Product) and s.c[0].dtype.kind == "f" for s in program.steps) and blas_available()
        draft = emit(program, "symgraph_kernel", sizes, blas)
        digest = hashlib.sha256(draft.encode()).hexdigest()[:16]
        name = f"symgraph_{digest}_{compilations}"
        text = draft.replace("symgraph_kernel", name)
        kinds: list[Any] = []
        for b in program.inputs:
            dtype = from_dtype(b.dtype)
            kinds.append(dtype if b.role == "scalar" else types.Array(dtype, ranks[b], "C", readonly=True))
        kinds += [types.Array(from_dtype(b.dtype), a.ndim, "C", readonly=True) for b, a in program.constants]
        kinds += [types.Array(from_dtype(b.dtype), ranks[b], "C") for b in arrays]
        kinds.append(types.Array(types.int64, 1, "C"))
        scalars = [from_dtype(b.dtype) for b in singles]
        names = [f"x{k}" for k in range(len(kinds))]
        namespace: dict[str, Any] = {"core": _intrinsic(name, text, scalars)}
        joined = ", ".join(names)
        exec(f"def {name}({joined}): return core(({joined},))", namespace)  # names are ours alone
        dispatcher = njit([tuple(kinds)], nogil=True, error_model="numpy", no_cfunc_wrapper=True)(namespace[name])
        entry = next(iter(dispatcher.overloads.values())).entry_point
        compilations += 1
    return Kernel(entry, sizes, text, dispatcher)


def assembly(kernel: Kernel) -> str:
    """The kernel's machine code as text."""
    return "\n".join(kernel.dispatcher.inspect_asm().values())

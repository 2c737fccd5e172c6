"""The compiler: from expressions to kernels. Reading order: graph, interpret, specialise, passes, layout, schedule,
program, emit_llvm, emit_entry, emit_python, machine, cache, kernel, runtime, variant, arguments, dispatch, function,
numba_door."""

from compiler import machine  # noqa: F401  # first, for LLVM comes up beside what follows
from compiler.function import Function, compile
from compiler.graph import Graph
from compiler.interpret import interpret
from compiler.state import Stateful
from compiler.threads import get_num_threads, set_num_threads

__all__ = ["Function", "Graph", "Stateful", "compile", "get_num_threads", "interpret", "set_num_threads"]

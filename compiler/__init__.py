"""The compiler: from expressions to kernels. Reading order: graph, interpret, specialise, passes, layout, schedule,
program, emit_llvm, emit_entry, emit_python, machine, cache, kernel, variant, arguments, function, numba_door."""

from compiler.function import Function, compile
from compiler.graph import Graph
from compiler.interpret import interpret

__all__ = ["Function", "Graph", "compile", "interpret"]

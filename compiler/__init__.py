"""The compiler: from expressions to kernels. Reading order: graph, interpret, specialise, passes, layout, schedule,
program, emit_llvm, emit_python, kernel, runtime, variant, arguments, dispatch, function."""

from compiler.function import Function, compile
from compiler.graph import Graph
from compiler.interpret import interpret
from compiler.threads import get_num_threads, set_num_threads

__all__ = ["Function", "Graph", "compile", "get_num_threads", "interpret", "set_num_threads"]

"""Native libraries of the runtime: code that is loaded once per process, and stays."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence

from compiler import machine
from compiler.runtime import capi
from compiler.runtime.builder import Module


class Library:
    """What some writers write, as machine code.

    Arrays with memory of the pool, and threads, outlive every module of Python: the code is never unloaded.

    Attributes:
        addresses: where its functions are.
    """

    def __init__(
        self, writers: Iterable[Callable[[Module], None]], exports: Sequence[str], symbols: Mapping[str, int]
    ) -> None:
        code = capi.keep(machine.load(text(writers), symbols, quick=True))
        self.addresses = {name: code.address(name) for name in exports}

    def run(self, name: str, *arguments: int) -> int:
        """Call one of its functions that take and give integers."""
        function = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * len(arguments))
        return int(function(self.addresses[name])(*arguments))


def text(writers: Iterable[Callable[[Module], None]]) -> str:
    """What some writers write, as LLVM IR; the same in every process of one system."""
    module = Module()
    for write in writers:
        write(module)
    return module.text()


def python_functions(names: Iterable[str]) -> dict[str, int]:
    """The addresses of functions of Python's C API."""
    return {name: ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0 for name in names}

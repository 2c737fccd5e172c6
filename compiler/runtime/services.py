"""What kernels themselves call of the runtime: the pool of memory, and the look for signals.

It is a library of its own, a fourth of the whole: a first kernel with values in memory waits for no more than that.
"""

from __future__ import annotations

import os

from compiler import machine
from compiler.runtime import interrupt, memory
from compiler.runtime.builder import write_pause
from compiler.runtime.library import Library, python_functions

_WRITERS = (write_pause, interrupt.write, memory.write)

_loaded: Library | None = None


def load() -> Library:
    """The services of this process: there is one pool."""
    global _loaded
    if _loaded is None:
        with machine.lock:  # a process is not forked meanwhile
            if _loaded is None:
                exports = (*interrupt.FUNCTIONS, *memory.FUNCTIONS, "pool_held", "pool_drain", "pool_reset")
                made = Library(_WRITERS, exports, python_functions(interrupt.IMPORTS))
                if hasattr(os, "register_at_fork"):
                    os.register_at_fork(after_in_child=lambda: made.run("pool_reset"))
                _loaded = made
    return _loaded

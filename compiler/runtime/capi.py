"""Functions of Python's C API, by ctypes."""

from __future__ import annotations

import ctypes
from typing import Any


def function(name: str, result: Any, *parameters: Any) -> Any:
    """A function of the C API with types of our own; others who use ctypes see none of them."""
    return ctypes.PYFUNCTYPE(result, *parameters)((name, ctypes.pythonapi))


def keep(thing: Any) -> Any:
    """An object that is never freed, not even when the interpreter ends."""
    function("Py_IncRef", None, ctypes.py_object)(thing)
    return thing

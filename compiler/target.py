"""From what a command line names to a compiled function: ``module:function``, or ``file.py:function``."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from compiler.function import Function, compile as compile_
from symgraph.errors import ArgumentError
from symgraph.expr import Expr
from symgraph.trace import Spec, trace
from symgraph.tree import flatten

_DECLARATION = re.compile(r"(?P<name>[^\W\d]\w*)=(?P<dtype>\w+)(?:\[(?P<sizes>[\w, ]*)\])?\Z")


def function_of(text: str, declared: Iterable[str] = ()) -> Function:
    """The compiled function that `text` names; the module is imported, from the current folder as well.

    What is named may be a compiled function, a formula or several, a function without parameters that returns such, or
    a plain function over NumPy names, which is traced.

    Args:
        text: ``package.module:name``, or ``path/file.py:name``; the name may have dots.
        declared: what is known of a traced function's parameters: ``x=float64[n,3]``, ``rate=float64[]``.

    Raises:
        ArgumentError: the text is no such name, the name is not there, or what it names cannot be compiled.
        ImportError: there is no such module.
    """
    place, colon, name = text.partition(":")
    if not colon or not name:
        raise ArgumentError(f"expected module:function or file.py:function, got {text!r:.80}")
    found: Any = _module(place)
    for part in name.split("."):
        if not hasattr(found, part):
            raise ArgumentError(f"there is no {part!r} in {place!r}")
        found = getattr(found, part)
    specs = dict(map(_spec, declared))
    if specs and not _is_plain(found):
        raise ArgumentError(f"{text} has placeholders of its own; declare shapes and dtypes where they are made")
    if _is_plain(found):
        found = trace(found, **specs) if specs or _takes_arguments(found) else found()
    if isinstance(found, Function):
        return found
    outputs = flatten(found)[0]
    if not outputs or not all(isinstance(output, Expr) for output in outputs):
        raise ArgumentError(f"{text} gives {found!r:.80}; expected a compiled function or formulas")
    compiled: Function = compile_(found)
    return compiled


def _module(place: str) -> ModuleType:
    path = Path(place)
    if path.suffix != ".py":
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        return importlib.import_module(place)
    if not path.is_file():
        raise ArgumentError(f"there is no file {place!r}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # as pickle and dataclasses expect
    spec.loader.exec_module(module)
    return module


def _is_plain(found: Any) -> bool:
    return callable(found) and not isinstance(found, Function | Expr)


def _takes_arguments(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    return code is None or code.co_argcount + code.co_kwonlyargcount > 0


def _spec(text: str) -> tuple[str, Spec]:
    """``x=float64[n,3]`` as a name and what is declared of it."""
    found = _DECLARATION.match(text)
    if found is None:
        raise ArgumentError(f"expected a declaration such as x=float64[n,3] or rate=float64[], got {text!r:.80}")
    sizes = found["sizes"]
    shape = None
    if sizes is not None:
        parts = [part.strip() for part in sizes.split(",") if part.strip()]
        shape = tuple(int(part) if part.isdigit() else part for part in parts)
    try:
        return found["name"], Spec(shape, np.dtype(found["dtype"]))
    except TypeError:
        raise ArgumentError(f"in {text!r:.80}: there is no dtype {found['dtype']!r:.40}") from None

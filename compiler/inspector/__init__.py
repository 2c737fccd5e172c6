"""The inspector: a compiled function as one HTML page that needs no network, for looking at its graphs and kernels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.inspector.data import inspected
from compiler.inspector.page import page

if TYPE_CHECKING:
    from compiler.function import Function


def write(function: Function, path: str | os.PathLike[str]) -> Path:
    """Write the page of a function; see :meth:`compiler.function.Function.inspect`."""
    file = Path(path)
    file.write_text(page(inspected(function)), encoding="utf-8")
    return file

"""From DOT text to a picture: Graphviz, the system's or one that pip installed, in a process of its own."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from symgraph.errors import RendererError

TIMEOUT = 120.0
"""Seconds that a renderer may take."""

# In a process of its own: Graphviz holds the interpreter's lock while it works, and could not be interrupted.
_PYGRAPHVIZ = """
import sys, pygraphviz
text = sys.stdin.buffer.read().decode("utf-8")
sys.stdout.buffer.write(pygraphviz.AGraph(string=text).draw(format=sys.argv[1], prog="dot"))
"""


def renderer(form: str) -> list[str] | None:
    """A command that reads DOT and writes a picture in this format; None where nothing of the kind is installed."""
    dot = shutil.which("dot")
    if dot is not None:
        return [dot, f"-T{form}"]
    if importlib.util.find_spec("pygraphviz") is not None:
        return [sys.executable, "-c", _PYGRAPHVIZ, form]
    scripts = os.pathsep.join((os.environ.get("PATH", ""), os.path.dirname(sys.executable)))
    pure = shutil.which("graphviz-pure", path=scripts)
    return None if pure is None else [pure, f"-T{form}"]


def picture(text: str, form: str, what: str = "the picture") -> bytes:
    """DOT text as a picture: "svg", "png", "pdf", or what else the renderer knows.

    Args:
        text: what is drawn.
        form: the format.
        what: how messages call the result.

    Raises:
        RendererError: no program to draw it was found, or it failed or took longer than `TIMEOUT` seconds.
    """
    command = renderer(form)
    if command is None:
        raise RendererError(
            f"no program that draws DOT was found, so {what} was not written; install one with\n"
            f"  pip install pygraphviz\n"
            f"or write a .dot file, which needs none"
        )
    try:
        done = subprocess.run(command, input=text.encode("utf-8"), capture_output=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise RendererError(
            f"laying out the graph took longer than {TIMEOUT:g} s, so {what} was not written; draw less of it "
            f"with collapse='repeat', 'scope' or 'line', or write a .dot file, which needs no layout"
        ) from None
    if done.returncode or not done.stdout:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise RendererError(f"{os.path.basename(command[0])} could not draw {what} as {form}: {said[-500:]}")
    return done.stdout


def render(text: str, to_file: str | os.PathLike[str]) -> Any:
    """Write DOT text as a picture in the format that the file's extension names.

    Returns:
        In a notebook, the picture for display; else the file's path.

    Raises:
        ValueError: the file has no extension.
        RendererError: see :func:`picture`.
    """
    path = Path(to_file)
    form = path.suffix[1:].lower()
    if not re.fullmatch("[a-z0-9]+", form):
        raise ValueError(f"to_file={str(path)!r}: the extension picks the format; write .png, .svg, .pdf or .dot")
    if form in ("dot", "gv"):
        path.write_text(text + "\n", encoding="utf-8")
        return path
    path.write_bytes(picture(text, form, str(path)))
    return _shown(path, form)


def _shown(path: Path, form: str) -> Any:
    """The picture for display where IPython runs, else the path."""
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None or form not in ("svg", "png", "jpg", "jpeg", "gif"):
        return path
    display = importlib.import_module("IPython.display")
    return (display.SVG if form == "svg" else display.Image)(filename=str(path))

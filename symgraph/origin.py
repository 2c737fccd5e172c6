"""Where a node was written: the user's file, line and name scope, remembered cheaply and resolved when asked."""

from __future__ import annotations

import linecache
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import CodeType
from typing import NamedTuple

_PACKAGES = tuple(
    os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), package) + os.sep
    for package in ("symgraph", "compiler")
)
_internal: dict[str, bool] = {}


class Origin(NamedTuple):
    """A place in the user's source: ``file``, ``line``, and the name scope that was open there, or ""."""

    file: str
    line: int
    scope: str = ""

    @property
    def text(self) -> str:
        """The source line itself, stripped, or an empty string where the file cannot be read."""
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        where = f"{os.path.basename(self.file)}:{self.line}"
        return f"{where}: {self.text}" if self.text else where


# What a node stores: a code object, an instruction offset (resolved late, because line tables are slow to read) and
# the scope; or an Origin that came out of a file or another process.
Mark = tuple[CodeType, int, str] | Origin
Marks = tuple[Mark, ...]


class _Context(threading.local):
    """The marks that nodes being built inherit, and the name scope that is open; each thread has its own."""

    def __init__(self) -> None:
        self.marks: list[Marks] = []
        self.scope = ""


context = _Context()
scoped = False
"""Whether there has been a scope: Variables, which compute at once, do not look for one before."""


@contextmanager
def scope(name: str) -> Iterator[str]:
    """Nodes written inside carry this name, by which pictures can frame them or draw them as one box.

    A scope inside another is called "outer/inner". Equal formulas are one node, which carries the scopes of all places
    that write it; gradients carry those of what they belong to.

    Args:
        name: a part of a path, or several parts with "/" between them.

    Returns:
        The whole path.

    Raises:
        ValueError: the name is no text, or a part of it is empty.

    >>> import symgraph as sg
    >>> x = sg.placeholder("x")
    >>> with sg.scope("encoder"), sg.scope("layer1") as path:
    ...     y = sg.tanh(x)
    >>> path, y.scopes
    ('encoder/layer1', ('encoder/layer1',))
    """
    if not isinstance(name, str) or not all(part.strip() for part in name.split("/")):
        raise ValueError(f"scope: the name must be text such as 'encoder' or 'encoder/layer1', got {name!r:.80}")
    global scoped
    scoped = True
    outer = context.scope
    context.scope = f"{outer}/{name}" if outer else name
    try:
        yield context.scope
    finally:
        context.scope = outer


def _is_internal(filename: str) -> bool:
    if filename.startswith(_PACKAGES) and os.path.basename(filename) == "demo.py":
        return False  # it is a program like a user's
    inside = filename.startswith(_PACKAGES) or f"{os.sep}numpy{os.sep}" in filename
    _internal[filename] = inside
    return inside


def marks() -> Marks:
    """The innermost frame outside symgraph and NumPy, or what :class:`derived_from` has set: one mark, or none."""
    inherited = context.marks
    if inherited:
        return inherited[-1]
    # Asked by depth: going from frame to frame would make an object of every frame on the way.
    depth = 3
    while True:
        try:
            frame = sys._getframe(depth)
        except ValueError:
            return ()
        code = frame.f_code
        inside = _internal.get(code.co_filename)
        if inside is None:
            inside = _is_internal(code.co_filename)
        if not inside:
            return ((code, frame.f_lasti, context.scope),)
        depth += 1


def resolve(place: Mark) -> Origin:
    """Turn what a node stores into a file and a line."""
    return place if isinstance(place, Origin) else _line_of(*place)


@lru_cache(maxsize=4096)
def _line_of(code: CodeType, offset: int, scope: str) -> Origin:
    line = code.co_firstlineno
    for start, stop, at in code.co_lines():
        if start <= offset < stop and at is not None:
            line = at
            break
    return Origin(code.co_filename, line, scope=scope)


class derived_from:  # noqa: N801  (reads as a verb where it is used: with derived_from(node.marks): ...)
    """Nodes built inside belong to the first of `marks`: gradients and rewrites keep the line of what they come from.

    A walk over many nodes enters once and says at each node which one it :meth:`follow`s.
    """

    __slots__ = ("_inherited", "_marks")

    def __init__(self, marks: Marks = ()) -> None:
        self._marks = marks[:1]

    def __enter__(self) -> derived_from:
        self._inherited = context.marks
        self._inherited.append(self._marks)
        return self

    def follow(self, marks: Marks) -> None:
        """From here on nodes belong to the first of these marks."""
        self._inherited[-1] = marks[:1]

    def __exit__(self, *error: object) -> None:
        self._inherited.pop()

"""Where a node was written: the file, line, expression and name scope; remembered cheaply, resolved when asked."""

from __future__ import annotations

import ast
import linecache
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from types import CodeType
from typing import Any, NamedTuple

_PACKAGES = tuple(
    os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), package) + os.sep
    for package in ("symgraph", "compiler")
)
_internal: set[str] = set()
_users: set[str] = set()


class Origin(NamedTuple):
    """A place in the user's source.

    Attributes:
        file, line: where it is.
        expression: the text of the expression, "" where the source cannot be read.
        order: 0 for what was written there, 1 for what belongs to its gradient, 2 for that of its gradient.
        fused: whether what was written there became part of something else, whose own places stand before it.
        scope: the name scope that was open there, or "".
    """

    file: str
    line: int
    expression: str = ""
    order: int = 0
    fused: bool = False
    scope: str = ""

    @property
    def text(self) -> str:
        """The source line itself, stripped, or an empty string where the file cannot be read."""
        return linecache.getline(self.file, self.line).strip()

    @property
    def where(self) -> str:
        """The file's name and the line."""
        return f"{os.path.basename(self.file)}:{self.line}"

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.text else self.where


class Derived(NamedTuple):
    """The mark of a node that was not written at a place, but made of what was."""

    mark: Mark
    order: int
    fused: bool


# What a node stores: a code object, an instruction offset (resolved late, because line tables are slow to read) and the
# scope; what is derived from such a place; or an Origin that came out of a file or another process.
Mark = tuple[CodeType, int, str] | Derived | Origin
Marks = tuple[Mark, ...]

MOST = 8
"""Places that a node remembers."""


class _Context(threading.local):
    """The marks that nodes being built inherit, and the name scope that is open; each thread has its own."""

    def __init__(self) -> None:
        self.marks: list[Marks] = []
        self.scope = ""


context = _Context()
scoped = False
"""Whether there has been a scope: Variables, which compute at once, do not look for one before."""
_deriving: list[None] = []
"""As many items as there are threads' overrides: asking whether there are any is quicker than asking a thread's own."""
_getframe = sys._getframe


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
    """Whether a file is part of symgraph, but for the demo, which is a program like a user's; or of NumPy."""
    ours = filename.startswith(_PACKAGES) and os.path.basename(filename) != "demo.py"
    inside = ours or f"{os.sep}numpy{os.sep}" in filename
    (_internal if inside else _users).add(filename)
    return inside


def marks(depth: int = 4) -> Marks:
    """The innermost frame outside symgraph and NumPy, or what :class:`derived_from` has set: one mark, or none.

    `depth` is where the user's frame stands at the earliest. Asking for a frame makes an object of it, so frames that
    are sure to be our own are not asked for.
    """
    if _deriving and context.marks:
        return context.marks[-1]
    try:
        frame = _getframe(depth)
        while (file := frame.f_code.co_filename) not in _users and (file in _internal or _is_internal(file)):
            depth += 1
            frame = _getframe(depth)
    except ValueError:
        return ()
    return ((frame.f_code, frame.f_lasti, context.scope),)


def resolve(place: Mark) -> Origin:
    """Turn what a node stores into a place in the source."""
    if isinstance(place, Origin):
        return place
    if isinstance(place, Derived):
        return resolve(place.mark)._replace(order=place.order, fused=place.fused)
    code, offset, scope = place
    return _place_of(code, offset, code.co_filename, scope)


@lru_cache(maxsize=4096)
def _place_of(code: CodeType, offset: int, file: str, scope: str) -> Origin:
    """The place of an instruction; the file is asked for as code objects of different files may be equal."""
    positions = next(islice(code.co_positions(), offset // 2, None), (None,) * 4)
    line = positions[0] or code.co_firstlineno
    return Origin(file, line, _expression(file, line, *positions[1:]), scope=scope)


def _expression(file: str, line: int, last: int | None, start: int | None, stop: int | None) -> str:
    """The text between two places, in one line; the whole line where Python does not know the columns."""
    if last is None or start is None or stop is None:
        return linecache.getline(file, line).strip()
    lines = [linecache.getline(file, number).encode() for number in range(line, last + 1)]
    lines[-1] = lines[-1][:stop]  # columns count bytes
    lines[0] = lines[0][start:]
    text = b"".join(lines).decode(errors="replace")
    if last == line:
        return text
    try:
        return ast.unparse(ast.parse(f"({text})", mode="eval"))  # without comments, in one line
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # what Python's parser may raise
        return " ".join(text.split())


def order_of(found: Marks) -> int:
    """How often what these marks belong to was differentiated."""
    return max((mark.order for mark in found if isinstance(mark, Derived | Origin)), default=0)


def _key(mark: Mark) -> Any:
    """What tells a mark from others; code objects by identity, because those of different files may be equal."""
    if type(mark) is Derived:
        return _key(mark.mark), mark.order, mark.fused
    return mark if type(mark) is Origin else (id(mark[0]), *mark[1:])


def _same_place(a: Mark, b: Mark) -> bool:
    """Whether two marks are one place of a source, which is soon asked."""
    return type(a) is tuple is type(b) and a[0] is b[0] and a[1] == b[1] and a[2] == b[2]


def fused(found: Marks, others: Marks) -> Marks:
    """The marks of a node that took another one in."""
    made = list(found)
    known = {_key(mark.mark if isinstance(mark, Derived) else mark) for mark in found}
    for mark in others:
        base, order = (mark.mark, mark.order) if isinstance(mark, Derived) else (mark, order_of((mark,)))
        if _key(base) not in known:
            made.append(Derived(base, order, True))
    return tuple(made[:MOST])


def joined(found: Marks, here: Marks) -> Marks:
    """The marks of a node that is written again, here first: of equal formulas the one that is worked on is the last.

    Being used by a gradient does not make a node one.
    """
    if not here:
        return found
    if found and _same_place(found[0], here[0]) and len(here) == 1:
        return found
    if type(here[0]) is Derived and found and type(found[0]) is not Derived:
        return found
    new = [_key(mark) for mark in here]
    if new == [_key(mark) for mark in found[: len(new)]]:
        return found
    return (*here, *[mark for mark in found if _key(mark) not in new])[:MOST]


_ORDERS = ("", "gradient of ", "second gradient of ")


def described(origins: Sequence[Origin]) -> str:
    """The places of a node in a few words: "gradient of model.py:12, fused with :14, also :20".

    >>> first = Origin("model.py", 12, order=1)
    >>> described([first, Origin("model.py", 14, order=1, fused=True), Origin("other.py", 3, order=1)])
    'gradient of model.py:12, fused with :14, also other.py:3'
    """
    parts: list[str] = []
    seen: set[tuple[str, int]] = set()
    for o in origins:
        if (o.file, o.line) in seen:
            continue
        if len(seen) == 4:
            parts.append("...")
            break
        seen.add((o.file, o.line))
        prefix = _ORDERS[o.order] if o.order < len(_ORDERS) else f"gradient of order {o.order} of "
        if not parts:
            parts.append(f"{prefix}{o.where}")
            continue
        place = f":{o.line}" if o.file == origins[0].file else o.where
        parts.append(f"{'fused with' if o.fused else 'also'} {'' if o.order == origins[0].order else prefix}{place}")
    return ", ".join(parts)


class derived_from:  # noqa: N801  (reads as a verb where it is used: with derived_from(node.marks): ...)
    """Nodes built inside belong to the places of `marks`: gradients and rewrites keep those of what they come from.

    A walk over many nodes enters once and says at each node which one it :meth:`follow`s. With an `order`, what is
    built belongs to gradients of that order.
    """

    __slots__ = ("_inherited", "_marks", "_order")

    def __init__(self, marks: Marks = (), *, order: int = 0) -> None:
        self._marks, self._order = marks, order

    def __enter__(self) -> derived_from:
        self._inherited = context.marks
        self._inherited.append(self._marks)
        _deriving.append(None)
        return self

    def follow(self, marks: Marks) -> None:
        """From here on nodes belong to these marks, or to gradients of what was written there."""
        if self._order:
            marks = tuple([Derived(m.mark if type(m) is Derived else m, self._order, False) for m in marks])
        self._inherited[-1] = marks

    def __exit__(self, *error: object) -> None:
        self._inherited.pop()
        _deriving.pop()

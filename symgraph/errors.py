"""The exceptions symgraph raises; each is also a ValueError, TypeError or the like, as NumPy's users would catch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from symgraph.origin import Origin, described

E = TypeVar("E", bound=Exception)


class SymgraphError(Exception):
    """Base of every error that symgraph raises on purpose.

    Attributes:
        place: the place in the user's source that it belongs to, where there is one.
    """

    place: Origin | None = None


class ShapeError(SymgraphError, ValueError):
    """Shapes that do not go together, an axis out of range, or a size that does not fit."""


class DTypeError(SymgraphError, TypeError):
    """An operation that does not exist for the dtypes it was given."""


class InputError(SymgraphError, ValueError):
    """A call whose arguments do not match the placeholders: wrong dtype, rank, size or value."""


class ArgumentError(SymgraphError, TypeError):
    """A call with missing, extra or misspelt names."""


class SymbolError(SymgraphError, TypeError):
    """Python asked a symbol for a value that exists only when the compiled function is called."""


class GradientError(SymgraphError, TypeError):
    """A gradient that was asked for does not exist."""


class OutOfBoundsError(SymgraphError, IndexError):
    """An index outside the axis it points into."""


class LoopError(SymgraphError, RuntimeError):
    """A loop that did not end within the rounds it was allowed."""


class FileError(SymgraphError, ValueError):
    """A file that is damaged, or holds something else than what was to be read."""


class RendererError(SymgraphError, RuntimeError):
    """A picture was asked for and no program to draw it was found."""


class CompileError(SymgraphError, RuntimeError):
    """The compiler failed on a graph that should compile; `table` holds the graph, for ``symgraph.expr.from_table``."""

    table: Any = None


class CheckError(SymgraphError, AssertionError):
    """Two values that should agree do not: a gradient and finite differences, a kernel and what it was made from."""


class NumericError(SymgraphError, FloatingPointError):
    """An operation gave nan or inf of finite numbers, where ``config.check_nan`` asks for that."""


def message(text: str, places: Iterable[Origin], operands: Iterable[tuple[str, str]] = ()) -> str:
    """What went wrong and where, in the first line; then the user's lines, the expression, and the operands.

    Args:
        text: what went wrong; its further lines come last.
        places: where the operation was written.
        operands: for each, its formula and what it is.
    """
    origins = list(dict.fromkeys(places))
    first, *rest = text.split("\n")
    lines = [f"{first} ({described(origins)})" if origins else first]
    shown: set[tuple[str, int]] = set()
    for o in origins[:4]:
        if (o.file, o.line) not in shown:
            shown.add((o.file, o.line))
            lines.append(f"  at {o.file}:{o.line}" + (f": {o.text:.200}" if o.text else ""))
    if origins and origins[0].expression not in ("", origins[0].text):
        lines.append(f"  in {origins[0].expression:.200}")
    lines += [f"  {formula} is {what}" for formula, what in operands]
    return "\n".join([*lines, *rest])


def located(error: E, places: Iterable[Origin], operands: Iterable[tuple[str, str]] = ()) -> E:
    """An error of the same class with the user's line in it; see :func:`message`."""
    origins = list(places)
    made = type(error)(message(str(error), origins, operands))
    if isinstance(made, SymgraphError) and origins:
        made.place = origins[0]
    return made

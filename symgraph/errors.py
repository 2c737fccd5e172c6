"""The exceptions symgraph raises; each is also a ValueError, TypeError or the like, as NumPy's users would catch."""

from __future__ import annotations

from typing import Any


class SymgraphError(Exception):
    """Base of every error that symgraph raises on purpose."""


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

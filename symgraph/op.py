"""An operation is one row: its meaning in NumPy, its gradient, its types, and how code writers spell it.

Every mode and backend reads the rows in `symgraph.ops`; nothing else knows an operation by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from symgraph.errors import DTypeError, ShapeError
from symgraph.interning import Table
from symgraph.types import ArrayType, Opaque, broadcast_shapes, format_shape

Kind = Literal["elementwise", "reduction", "view", "contraction", "gather", "scatter", "source", "control", "part"]
Params = Mapping[str, Any]
# A rule for one argument: (g, out, *args, **params) -> the cotangent of that argument.
GradRule = Callable[..., Any]
Parts = tuple[tuple[str, Any], ...]
"""Parameters as pairs of name and value."""
Infer = Callable[[Sequence[ArrayType], dict[str, Any]], ArrayType]

NONE: Literal["flat"] = "flat"
"""The gradient of an operation that is piecewise constant, or whose argument is not a number: zero everywhere."""

COMMUTATIVE = "commutative"
ASSOCIATIVE = "associative"
IDEMPOTENT = "idempotent"
CHEAP = "cheap"
AS_GIVEN = "as given"
"""Operands enter the scalar rule in their own dtypes, not in that of the result."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Op:
    """One row. Values are positional arguments, metadata keyword-only parameters.

    Attributes:
        name: the name in graphs, messages and pictures.
        kind: which mechanism of the compiler lowers it.
        impl: the meaning, on NumPy arrays; what the eager mode, the interpreter and constant folding run.
        grad: a rule per argument (None: flat in that argument), or one callable ``rule(i, g, out, *args, **params)``
            for operations with any number of arguments, or NONE.
        infer: the type of the result from the argument types; may put parameters into canonical form in place.
        lower: what the kind's mechanism needs: the scalar rule, the reducer, the index map.
        onnx: the name of the ONNX operator that means the same, or "" where it is decomposed.
        domain: per argument, the interval on which tests sample it.
        symbol: how formulas print it, with {} for arguments; empty: ``name(...)``.
        expand: for operations that exist only until types are known, the expression that then replaces them.
        shape_only: arguments of which only the shape matters.
        nodes: the nodes of this operation, by their parts.
    """

    name: str
    kind: Kind
    impl: Callable[..., Any]
    grad: tuple[GradRule | None, ...] | GradRule | Literal["flat"]
    infer: Infer
    lower: Any
    onnx: str
    domain: tuple[tuple[float, float], ...]
    symbol: str = ""
    traits: frozenset[str] = frozenset()
    expand: Callable[..., Any] | None = None
    shape_only: tuple[int, ...] = ()
    ufunc: np.ufunc | None = None
    label: str = field(default="")
    nodes: Table[Any] = field(default_factory=Table, init=False, repr=False)
    _results: dict[Any, tuple[ArrayType, Parts]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", "".join(w.capitalize() for w in self.name.split("_")))

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __reduce__(self) -> tuple[Callable[[str], Op], tuple[str]]:
        return lookup, (self.name,)

    def __call__(self, *args: Any, **params: Any) -> Any:
        """Apply to arrays (computes), to symbols (builds a node) or to Variables (computes and records)."""
        chosen = None
        for arg in args:
            mode = getattr(arg, "_mode", None)
            if mode is not None and mode is not chosen:
                chosen = mode if chosen is None else chosen.joined(mode, self)
        if chosen is None:
            return self.impl(*args, **params)
        return chosen.apply(self, args, params)

    def result(self, types: tuple[ArrayType, ...], params: Params) -> tuple[ArrayType, Parts]:
        """The type of the result, and the parameters in canonical form; remembered, because graphs repeat themselves.

        Raises:
            SymgraphError: the row does not take arguments of these types.
        """
        key: Any = types
        if params:
            parts = tuple(params.items())
            key = types, parts, exact(parts)
        found = self._results.get(key)
        if found is None:
            values = dict(params)
            kind = self.infer(types, values)
            if len(self._results) >= _REMEMBERED:
                self._results.clear()
            found = self._results[key] = kind, tuple(values.items())
        return found

    def vjp(self, i: int, g: Any, out: Any, args: Sequence[Any], params: Params) -> Any | None:
        """The cotangent of argument `i`, or None where the operation is flat in it."""
        if self.grad == NONE or i in self.shape_only:
            return None
        if isinstance(self.grad, tuple):
            rule = self.grad[i]
            return None if rule is None else rule(g, out, *args, **params)
        return self.grad(i, g, out, *args, **params)


@dataclass(frozen=True, eq=False)
class Mode:
    """How one kind of value takes part in operations; `rank` decides where two kinds meet."""

    name: str
    rank: int
    apply: Callable[[Op, tuple[Any, ...], dict[str, Any]], Any]
    mixes_with: frozenset[str] = frozenset()

    def joined(self, other: Mode, op: Op) -> Mode:
        """The mode of an operation in which both take part."""
        if other.name in self.mixes_with or self.name in other.mixes_with:
            return max(self, other, key=lambda m: m.rank)
        raise TypeError(
            f"{op.name}: cannot mix a {self.name} with a {other.name}; "
            f"use one mode throughout, or pass the Variable's .data when the compiled function is called"
        )


_REMEMBERED = 1024
"""Types of results that an operation remembers."""


def exact(parts: Parts) -> tuple[Any, ...]:
    """What tells parameters apart that Python calls equal: 2 and 2.0, 0.0 and -0.0."""
    return tuple([repr(v) if type(v) is float else type(v) for _, v in parts])


REGISTRY: dict[str, Op] = {}
BY_NUMPY: dict[Any, Callable[..., Any]] = {}
"""NumPy's own function -> what it means on symbols and Variables."""


def lookup(name: str) -> Op:
    """The row of that name."""
    return REGISTRY[name]


def operations() -> list[str]:
    """The names of all operations, and of NumPy's functions that are made of them, sorted.

    >>> import symgraph as sg
    >>> {"tanh", "mean", "einsum"} <= set(sg.operations())
    True
    """
    return sorted({*REGISTRY, *(function.__name__ for function in BY_NUMPY)})


def register(op: Op) -> Op:
    """Add a row to the table."""
    if op.name in REGISTRY:
        raise ValueError(f"there are two rows named {op.name!r}")
    REGISTRY[op.name] = op
    if op.ufunc is not None:
        BY_NUMPY.setdefault(op.ufunc, op)
    return op


# -- types of elementwise operations -----------------------------------------------------------------------------------

_WEAK = {"i": int, "f": float, "c": complex}


@lru_cache(maxsize=4096)
def loop_dtypes(ufunc: np.ufunc, args: tuple[tuple[np.dtype[Any], bool], ...]) -> tuple[np.dtype[Any], ...]:
    """The dtypes NumPy's loop takes and gives, for arguments (dtype, weak): NEP 50 by asking NumPy itself.

    Raises:
        TypeError: NumPy has no loop for these dtypes.
    """
    if all(weak for _, weak in args):
        specs: list[Any] = [dtype for dtype, _ in args]
    else:
        specs = [_WEAK.get(dtype.kind, dtype) if weak else dtype for dtype, weak in args]
    found: tuple[np.dtype[Any], ...] = ufunc.resolve_dtypes((*specs, *[None] * ufunc.nout))
    return found


def infer_like(ufunc: np.ufunc, *, keeps_weak: bool = False, out: Any = None, name: str | None = None) -> Infer:
    """The types of an elementwise operation that promotes as `ufunc` does."""

    def infer(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
        shape = broadcast_shapes(*(t.shape for t in types))
        label = name or ufunc.__name__
        if shape is None:
            shapes = " and ".join(format_shape(t.shape) for t in types)
            raise ShapeError(f"{label}: shapes {shapes} do not broadcast together")
        weak = keeps_weak and all(t.weak for t in types)
        if out is not None:
            return ArrayType(np.dtype(out), shape)
        if any(t.dtype is None for t in types):
            return ArrayType(None, shape)
        try:
            dtype = loop_dtypes(ufunc, tuple((t.dtype, t.weak) for t in types))[-1]
        except TypeError:
            got = ", ".join(str(t.dtype) for t in types)
            raise DTypeError(f"{label} is not defined for {got}") from None
        return ArrayType(dtype, shape, weak)

    return infer


def fresh_opaque(*parts: Any) -> Opaque:
    """A shape of its own: nothing is known about it but that equal parts give equal shapes."""
    return Opaque(frozenset({parts}))

"""The language of scalar rules: what one element of an elementwise operation computes.

A rule is ``rule(m, x, y, ...)``: `x`, `y` are scalars with Python's operators, `m` offers the primitives named in
PRIMITIVES, ``m.const(value, like)`` for a number in the dtype of another, and ``m.require(condition, error, text)``, by
which a call fails. Rules are run once per kernel with recording scalars; every code writer spells the primitives, and
only them, so the meaning of an operation is written once.
"""

from __future__ import annotations

from typing import Any, Protocol

UNARY_MATH = (
    "sqrt",
    "cbrt",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "erf",
    "erfc",
    "floor",
    "ceil",
    "trunc",
    "rint",
    "fabs",
)
BINARY_MATH = ("pow", "atan2", "hypot", "fmod", "copysign")
PRIMITIVES = (
    "add",
    "sub",
    "mul",
    "div",
    "neg",
    "fma",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "and",
    "or",
    "xor",
    "not",
    "shl",
    "shr",
    "idiv",
    "irem",
    "ipow",
    "select",
    "cast",
    "bitcast",
    *UNARY_MATH,
    *BINARY_MATH,
)


class Scalar(Protocol):
    """One element inside a scalar rule; arithmetic needs equal dtypes, Python numbers adapt."""

    kind: str  # "f", "i", "u" or "b", as NumPy's dtype.kind
    bits: int

    def __add__(self, other: Any) -> Scalar: ...
    def __sub__(self, other: Any) -> Scalar: ...
    def __mul__(self, other: Any) -> Scalar: ...
    def __truediv__(self, other: Any) -> Scalar: ...
    def __neg__(self) -> Scalar: ...
    def __and__(self, other: Any) -> Scalar: ...
    def __or__(self, other: Any) -> Scalar: ...
    def __xor__(self, other: Any) -> Scalar: ...
    def __invert__(self) -> Scalar: ...
    def __lt__(self, other: Any) -> Scalar: ...
    def __le__(self, other: Any) -> Scalar: ...
    def __gt__(self, other: Any) -> Scalar: ...
    def __ge__(self, other: Any) -> Scalar: ...
    def eq(self, other: Any) -> Scalar: ...
    def ne(self, other: Any) -> Scalar: ...

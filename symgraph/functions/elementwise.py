"""Elementwise functions beyond the rows."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from symgraph.errors import SymbolError
from symgraph.functions.constants import zeros_like
from symgraph.functions.registry import numpy_function, refuse
from symgraph.op import BY_NUMPY
from symgraph.ops import elementwise as ew
from symgraph.ops.array import type_of


@numpy_function(np.where)
def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """x where the condition holds, else y, element by element.

    >>> import numpy as np, symgraph as sg
    >>> x = sg.placeholder("x")
    >>> sg.compile(sg.where(x > 0, x, 0.0))(x=np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    if x is None or y is None:
        raise SymbolError("where: give all three arguments; the number of true elements is not known before the call")
    return ew.where(condition, x, y)


@numpy_function(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, **rest: Any) -> Any:
    """Limited to [a_min, a_max]; None leaves a side open."""
    low, high = rest.pop("min", a_min), rest.pop("max", a_max)
    refuse("clip", out=out, **rest)
    a = a if low is None else ew.maximum(a, low)
    return a if high is None else ew.minimum(a, high)


@numpy_function(np.round, np.around)
def round(a: Any, decimals: int = 0, out: Any = None) -> Any:  # noqa: A001
    """Rounded to even, to a number of decimals."""
    refuse("round", out=out)
    if decimals == 0:
        return ew.rint(a)
    scale = 10.0 ** builtins.abs(decimals)
    return ew.rint(a * scale) / scale if decimals > 0 else ew.rint(a / scale) * scale


@numpy_function(np.divmod)
def divmod(x: Any, y: Any) -> tuple[Any, Any]:  # noqa: A001
    """Quotient rounded down, and remainder."""
    return ew.floordiv(x, y), ew.mod(x, y)


@numpy_function(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """nan and infinities replaced by numbers."""
    limits = np.finfo(type_of(x).dtype or np.float64)
    x = ew.where(ew.isnan(x), nan, x)
    x = ew.where(ew.equal(x, np.inf), float(limits.max) if posinf is None else posinf, x)
    return ew.where(ew.equal(x, -np.inf), float(limits.min) if neginf is None else neginf, x)


@numpy_function(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """The choice of the first condition that holds, element by element."""
    if len(condlist) != len(choicelist):
        raise ValueError("select: there must be as many conditions as choices")
    result = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        result = ew.where(condition, choice, result)
    return result


@numpy_function(np.isclose)
def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Whether elements agree up to ``atol + rtol * abs(b)``."""
    near = ew.logical_and(ew.less_equal(ew.abs(a - b), atol + rtol * ew.abs(b)), ew.isfinite(b))
    near = ew.logical_or(near, ew.equal(a, b))
    return ew.logical_or(near, ew.logical_and(ew.isnan(a), ew.isnan(b))) if equal_nan else near


@numpy_function(np.sinc)
def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), and 1 at 0."""
    y = np.pi * ew.where(ew.equal(x, 0), 1.0e-20, x)
    return ew.sin(y) / y


@numpy_function(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    """The polynomial with coefficients `p`, the highest power first, by Horner's rule."""
    y = zeros_like(x)
    for coefficient in p:
        y = y * x + coefficient
    return y


@numpy_function(np.real, np.conjugate)
def real(val: Any) -> Any:
    """The value itself: it is real."""
    return val


@numpy_function(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    """False: symbols and Variables are real."""
    return False


@numpy_function(np.isrealobj)
def isrealobj(x: Any) -> bool:
    """True: symbols and Variables are real."""
    return True


@numpy_function(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> Any:
    """The dtype that promotion gives; SymbolError where one is not declared."""
    return np.result_type(*(a.dtype if getattr(a, "_mode", None) is not None else a for a in arrays_and_dtypes))


@numpy_function(np.pow)
def pow(x1: Any, x2: Any) -> Any:  # noqa: A001
    """x1 ** x2; a number as exponent is part of the operation."""
    if isinstance(x2, int | float) and not isinstance(x2, bool):
        return ew.pow(x1, exponent=x2)
    return ew.power(x1, x2)


BY_NUMPY[np.power] = pow
BY_NUMPY[np.radians] = ew.deg2rad
BY_NUMPY[np.degrees] = ew.rad2deg

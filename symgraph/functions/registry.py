"""How a function of NumPy gets its meaning on symbols and Variables, and how its arguments are read."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from symgraph.errors import SymbolError
from symgraph.op import BY_NUMPY

F = TypeVar("F", bound=Callable[..., Any])


def numpy_function(*functions: Any) -> Callable[[F], F]:
    """Register what NumPy's `functions` mean on symbols and Variables."""

    def decorate(meaning: F) -> F:
        for function in functions:
            BY_NUMPY[function] = meaning
        return meaning

    return decorate


def axes_of(axis: Any) -> tuple[int, ...] | None:
    """The axes as a tuple; None for all."""
    if axis is None:
        return None
    if isinstance(axis, tuple | list):
        return tuple(operator.index(a) for a in axis)
    return (operator.index(axis),)


def refuse(function: str, **given: Any) -> None:
    """Raise SymbolError for arguments of NumPy's function that were given, and that nothing here reads."""
    for name, value in given.items():
        if value is not None and value is not np._NoValue:
            raise SymbolError(f"{function}: {name}= has no meaning on symbols; leave it out")

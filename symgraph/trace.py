"""Plain Python functions over NumPy names turned into formulas."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgraph.errors import ArgumentError, SymbolError
from symgraph.expr import Expr, as_expr, placeholder
from symgraph.traced import Traced
from symgraph.value import Value


@dataclass(frozen=True)
class Spec:
    """What is declared of an argument: its shape and its dtype, None where it is taken from the call."""

    shape: Any = None
    dtype: Any = None


def spec(shape: Any = None, dtype: Any = None) -> Spec:
    """A declaration for :func:`trace`: `shape` and `dtype` as for :func:`symgraph.placeholder`.

    >>> import symgraph as sg
    >>> sg.spec(shape=("n", 3), dtype="float32")
    Spec(shape=('n', 3), dtype='float32')
    """
    return Spec(shape, dtype)


def _as_spec(name: str, given: Any) -> Spec:
    if isinstance(given, Spec):
        return given
    if isinstance(given, tuple):
        if len(given) == 2 and (given[0] is None or isinstance(given[0], tuple | list)):
            return Spec(*given)
        return Spec(shape=given)
    try:
        return Spec(dtype=np.dtype(given))
    except TypeError:
        raise ArgumentError(
            f"the declaration of {name!r} must be sg.spec(shape, dtype), a dtype, a tuple of sizes, or a pair "
            f"(shape, dtype), got {given!r}"
        ) from None


def symbolic(fn: Callable[..., Any], /, **specs: Any) -> tuple[Any, list[Expr]]:
    """What a plain function over NumPy names computes, as symbols; and the placeholders named as its parameters.

    Args:
        fn: called once. Parameters with a default keep it, as a constant, unless they are declared.
        specs: by parameter, a :func:`spec`, a dtype, a tuple of sizes, or a pair (shape, dtype).

    Returns:
        The result of `fn` (an array, or nested tuples, lists and dicts of them) with every array a symbol, and the
        placeholders in the order of the parameters.

    Raises:
        ArgumentError: `fn` takes ``*args`` or ``**kwargs``, or a declaration names no parameter.
        SymbolError: `fn` asks a traced array for what exists only at the call, or returns something else than arrays.

    >>> import numpy as np, symgraph as sg
    >>> sg.symbolic(lambda x, y: {"r": np.hypot(x, y)}, x="float64")
    ({'r': hypot(x, y)}, [x, y])
    """
    called = getattr(fn, "__name__", type(fn).__name__)
    parameters = _parameters(fn, called)
    for name in specs:
        if name not in parameters:
            close = difflib.get_close_matches(name, parameters, 1)
            raise ArgumentError(
                f"{called} has no parameter {name!r}; it has {', '.join(parameters) or 'none'}"
                + (f". Did you mean {close[0]!r}?" if close else "")
            )
    inputs: list[Expr] = []
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    loose: list[str] = []
    for name, parameter in parameters.items():
        value = parameter.default
        if name in specs or value is parameter.empty:
            declared = _as_spec(name, specs.get(name, Spec()))
            inputs.append(placeholder(name, declared.shape, declared.dtype))
            if declared.shape is None or declared.dtype is None:
                loose.append(name)
            value = Traced(inputs[-1])
        if parameter.kind is parameter.KEYWORD_ONLY:
            keywords[name] = value
        else:
            positional.append(value)
    try:
        return _released(fn(*positional, **keywords), called), inputs
    except (SymbolError, ValueError, TypeError) as error:
        found = _refusal(error)
        if found is None:
            raise
        if loose and "declare" in str(found):
            found.add_note(
                f"{called} was traced without a shape or dtype for {', '.join(loose)}; declare them: "
                f"sg.trace({called}, {loose[0]}=sg.spec(shape=(3,), dtype='float64'))"
            )
        if found is error:
            raise
        raise found from None


_OF_OBJECTS = ("dtype('O')", "safely coerced", "loop of ufunc does not support", "Traced")
"""What NumPy's errors say of ndarrays of objects."""


def _refusal(error: Exception) -> SymbolError | None:
    """What a symbol refused, where that is what the error comes from."""
    if isinstance(error, SymbolError):
        return error
    if isinstance(error.__cause__, SymbolError):  # an ndarray asked for a number, and NumPy hid the answer
        return error.__cause__
    if isinstance(error, TypeError) and any(sign in str(error) for sign in _OF_OBJECTS):
        return SymbolError(
            f"a function that needs numbers got an ndarray of symbols ({error}); make the array with np.stack([x, y]) "
            f"instead of np.array([x, y]); sg.operations() lists what is available on symbols"
        )
    if isinstance(error, TypeError) and "expected a sequence of integers" in str(error):
        return SymbolError(f"a shape must be made of ints; declare the size, not known before the call ({error})")
    return None


def _parameters(fn: Callable[..., Any], called: str) -> dict[str, inspect.Parameter]:
    try:
        parameters = dict(inspect.signature(fn).parameters)
    except (TypeError, ValueError):
        raise ArgumentError(f"{called} shows no parameters; wrap it: lambda x: {called}(x)") from None
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            star = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
            raise ArgumentError(
                f"{called} takes {star}{name}, and each input of a formula needs a name; wrap it: "
                f"lambda x, y: {called}(x, y)"
            )
    return parameters


def _released(result: Any, called: str) -> Any:
    """The result with symbols in place of traced arrays."""
    if isinstance(result, dict):
        return {key: _released(value, called) for key, value in result.items()}
    if isinstance(result, list | tuple):
        values = [_released(value, called) for value in result]
        if isinstance(result, list):
            return values
        return type(result)(*values) if hasattr(result, "_fields") else tuple(values)
    if isinstance(result, Value | np.ndarray | np.generic | int | float):
        return as_expr(result)
    hint = "; return the array that was written into" if result is None else ""
    raise SymbolError(f"{called} returned {result!r}; a formula gives arrays, or tuples, lists and dicts of them{hint}")


def trace(fn: Callable[..., Any] | None = None, /, **specs: Any) -> Any:
    """Compile a plain Python function over NumPy names; also a decorator, with or without declarations.

    The function runs once, on symbols; Python's loops are unrolled, and what it computes is compiled.

    Args:
        fn: the function; see :func:`symbolic`.
        specs: declarations by parameter, which a function needs that asks for shapes, loops over an array, or
            unpacks it.

    Returns:
        The compiled function, called with the parameters by name or by position; it gives the result in the form
        that `fn` gives it.

    Raises:
        ArgumentError, SymbolError: see :func:`symbolic`.

    >>> import numpy as np, symgraph as sg
    >>> @sg.trace(x=sg.spec(shape=(3,), dtype="float64"))
    ... def energy(x):
    ...     a, b, c = x
    ...     return a * b + np.sin(c)
    >>> energy(np.array([2.0, 3.0, 0.0]))
    np.float64(6.0)
    """
    if fn is None:
        return lambda function: trace(function, **specs)
    from compiler import compile as compile_  # a lazy door: the language does not need the compiler

    outputs, inputs = symbolic(fn, **specs)
    return compile_(outputs, inputs=inputs)

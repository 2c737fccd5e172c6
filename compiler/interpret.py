"""The reference interpreter: a graph run node by node in NumPy. What it gives is what a graph means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from compiler.arguments import convert, size_values
from symgraph import dims
from symgraph.dims import Size
from symgraph.errors import ArgumentError, SymgraphError, located
from symgraph.evaluate import evaluate
from symgraph.expr import Body, Expr, format_expr, map_dims, toposort
from symgraph.ops import array as ar, control as ct
from symgraph.types import weak_scalar


def interpret(
    outputs: Sequence[Expr],
    inputs: Mapping[str, Any],
    tap: Callable[[Expr, Any, Sequence[Any]], None] | None = None,
    others: Iterable[Expr] = (),
) -> list[Any]:
    """The values of `outputs`, given arrays or numbers by placeholder name.

    Args:
        outputs: expressions, typed or not.
        inputs: a value for every placeholder, by name; it is converted as a compiled function would.
        tap: called with every node that is computed, its value and those of its arguments; with nodes inside loops in
            each round.
        others: placeholders that the outputs do not depend on, but for their sizes.

    Raises:
        ArgumentError, InputError: a value is missing, or does not fit its placeholder.
        SymgraphError, ValueError, TypeError, IndexError: what NumPy raises, with the node's line added.

    >>> import symgraph as sg
    >>> a = sg.placeholder("a")
    >>> interpret([a * a + 1], {"a": 3.0})
    [10.0]
    """
    order = toposort(outputs)
    given = {n: _argument(n, inputs) for n in (*order, *others) if n.op is ar.placeholder}
    sizes = size_values(given, {n.name or "": value for n, value in given.items()})

    def shape(symbolic: Sequence[Size]) -> tuple[int, ...]:
        return tuple(dims.evaluate(size, sizes) for size in symbolic)

    def run(body: Body, values: Sequence[Any]) -> list[Any]:
        return evaluate(body.outputs, dict(zip(body.parameters, values, strict=True)), compute)

    def compute(node: Expr, args: Sequence[Any]) -> Any:
        if node.op is ct.loop or node.op is ct.branch:
            params = node.params
        else:
            params = {k: map_dims(v, lambda size: dims.evaluate(size, sizes)) for k, v in node.params.items()}
        try:
            with np.errstate(all="ignore"):
                if node.op is ct.loop:
                    value = ct.run_loop(run, shape, args, params)
                elif node.op is ct.branch:
                    value = ct.run_branch(run, args, params)
                else:
                    value = node.op.impl(*args, **params)
        except (SymgraphError, ValueError, TypeError, IndexError, OverflowError) as error:
            raise _located(error, node, args) from None
        if isinstance(value, np.generic) and _stays_weak(node, args, params):
            value = value.item()
        if tap is not None:
            tap(node, value, args)
        return value

    if tap is not None:
        for node, value in given.items():
            tap(node, value, ())
    return evaluate(outputs, dict(given), compute)


def _argument(node: Expr, inputs: Mapping[str, Any]) -> Any:
    """The value of a placeholder, as kernels take it."""
    name = node.name or ""
    if name not in inputs:
        raise ArgumentError(f"missing argument {name!r}")
    value = inputs[name]
    return value if node.type.weak else convert(node, value)


def _stays_weak(node: Expr, args: Sequence[Any], params: dict[str, Any]) -> bool:
    """Whether the result of Python numbers is as weak as they are."""
    if node.op.kind in ("control", "part") or not all(type(arg) in (int, float) for arg in args):
        return False
    return node.op.infer([weak_scalar(type(arg)) for arg in args], dict(params)).weak


def _located(error: Exception, node: Expr, args: Sequence[Any]) -> Exception:
    if "\n  at " in str(error):  # inside a loop or a branch
        return error
    kinds = [f"{np.asarray(value).dtype}{np.shape(value)}" for value in args]
    return located(error, node.origins, zip((format_expr(a, 60) for a in node.args), kinds, strict=True))

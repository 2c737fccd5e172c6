"""Reverse-mode differentiation: one backward walk over the rows' rules, giving more of the same language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph import origin
from symgraph.errors import GradientError
from symgraph.expr import Expr, as_expr, check_same_shape, toposort
from symgraph.interning import collection_paused
from symgraph.op import NONE
from symgraph.ops import array as ar, elementwise as ew
from symgraph.tree import LEAF, flatten, unflatten
from symgraph.types import ArrayType, Opaque, Shape
from symgraph.value import Value


def grad(y: Expr, wrt: Any, cotangent: Any = None) -> Any:
    """The gradients of `y` with respect to each of `wrt`, as expressions of their shapes.

    Args:
        y: what is differentiated; where it is not a scalar, the gradient of the sum of its elements weighted by
            `cotangent` is taken.
        wrt: a symbol or a sequence of symbols, placeholders or inner nodes, for which a list of gradients is returned;
            or a tree of them (:mod:`symgraph.tree`), for which a tree of gradients is.
        cotangent: weights in the shape of `y`; ones by default.

    Raises:
        GradientError: a symbol of `wrt` or `y` is declared to hold integers or bools.

    >>> import symgraph as sg
    >>> x = sg.placeholder("x", shape=(), dtype="float64")
    >>> sg.compile(sg.grad(x**3, [x])[0])(x=2.0)
    np.float64(12.0)

    Source: Griewank and Walther, "Evaluating Derivatives", 2nd ed., chapter 3 (reverse mode).
    """
    symbols, structure = flatten([wrt] if isinstance(wrt, Value) else wrt)
    if structure is LEAF:  # some other sequence
        symbols, structure = flatten(list(wrt))
    targets = [getattr(w, "expr", w) for w in symbols]
    for target in targets:
        if not isinstance(target, Expr):
            raise GradientError(f"grad: wrt must be symbols, got {type(target).__name__}")
        check_differentiable(target)
    y = as_expr(y)
    if y.type.dtype is not None and y.type.dtype.kind not in "f":
        raise GradientError(f"grad: {y!r} is {y.type.dtype}; only floating-point values have gradients")
    seed = ar.full_like(y, fill=1) if cotangent is None else as_expr(cotangent)
    check_same_shape("grad: cotangent", seed.type, y.type)
    found = pullback([y], [seed], targets)
    listed = isinstance(structure, list | tuple) and all(part is LEAF for part in structure)
    return found if listed else unflatten(structure, iter(found))


def check_differentiable(target: Expr) -> None:
    """Raise GradientError for a symbol that is declared to hold integers or bools."""
    dtype = target.type.dtype
    if dtype is not None and dtype.kind not in "f":
        raise GradientError(
            f"grad: {target!r} is {dtype}, and integers and bools have no gradient; "
            f"declare it as floating point, or convert with .astype('float64') before differentiating"
        )


@collection_paused()
def pullback(outputs: Sequence[Expr], cotangents: Sequence[Expr], wrt: Sequence[Expr]) -> list[Expr]:
    """Carry cotangents of the outputs back to `wrt`; zeros where an output does not depend on one."""
    order = toposort(outputs)
    leads: set[Expr] = set(wrt)  # nodes from which a target can be reached
    for node in order:
        if not leads.isdisjoint(node.args) and node.op.grad != NONE:
            leads.add(node)
    # Contributions wait in their own shapes: those of one shape are added before they are summed to their argument's.
    waiting: dict[Expr, list[Expr]] = {}
    for output, cotangent in zip(outputs, cotangents, strict=True):
        if output in leads:
            waiting.setdefault(output, []).append(cotangent)
    bars: dict[Expr, Expr] = {}
    targets = set(wrt)
    with origin.derived_from() as derived:
        for node in reversed(order):
            contributions = waiting.pop(node, None)
            if contributions is None:
                continue
            derived.follow(node.marks)
            bar = _collected(contributions, node)
            if node in targets:
                bars[node] = bar
            params = node.params
            for i, arg in enumerate(node.args):
                if arg in leads:
                    contribution = node.op.vjp(i, bar, node, node.args, params)
                    if contribution is not None:
                        waiting.setdefault(arg, []).append(_without_ones(contribution))
    return [bars[t] if t in bars else _zeros(t) for t in wrt]


@collection_paused()
def slope(outputs: Sequence[Expr], x: Expr) -> Expr | None:
    """The derivative of the sum of elementwise functions of one symbol, by one forward walk.

    An elementwise rule gives the cotangent of an argument as the partial derivative times the cotangent of the result;
    element by element the same product carries a tangent forward. A value and its tangent are then used close to each
    other, where the backward walk would come back to all values at the end.

    Returns:
        Expr | None: None where an output depends on something else, or on more than the same element of `x`.

    Source: Griewank and Walther, "Evaluating Derivatives", 2nd ed., chapter 3 (forward mode).
    """
    tangents: dict[Expr, Expr] = {x: as_expr(ar.full_like(x, fill=1))}
    with origin.derived_from() as derived:
        for node in toposort(outputs):
            if node is x or (node.op is ar.constant and not node.type.shape):
                continue
            if node.op.kind != "elementwise" or node.op is ew.cast:
                return None
            derived.follow(node.marks)
            params, total = node.params, None
            for i, arg in enumerate(node.args):
                if arg in tangents:
                    part = node.op.vjp(i, tangents[arg], node, node.args, params)
                    if part is not None:
                        part = _without_ones(part)
                        total = part if total is None else ew.add(total, part)
            if total is not None:
                tangents[node] = as_expr(total)
    found = [tangents[o] for o in outputs if o in tangents]
    if not found:
        return None
    total = found[0]
    for part in found[1:]:
        total = as_expr(ew.add(total, part))
    return _fitted(total, x)


def _collected(contributions: Sequence[Expr], node: Expr) -> Expr:
    """The sum of cotangents in the shape of `node`: broadcasting is undone here, once, and nowhere else."""
    if len(contributions) == 1:
        return _fitted(contributions[0], node)
    by_shape: dict[Shape | Opaque, Expr] = {}
    for contribution in contributions:
        shape = contribution.type.shape
        by_shape[shape] = ew.add(by_shape[shape], contribution) if shape in by_shape else contribution
    total: Expr | None = None
    for part in by_shape.values():
        fitted = _fitted(part, node)
        total = fitted if total is None else ew.add(total, fitted)
    assert total is not None
    return total


def _fitted(part: Expr, node: Expr) -> Expr:
    """A cotangent in the shape and the dtype of `node`, which most have already."""
    return part if part.type is node.type else as_expr(ar.unbroadcast(part, node))


def _without_ones(product: Expr) -> Expr:
    """1 * x -> x, so that the seed of ones does not stay in the formula."""
    if product.op is ew.mul:
        for one, x in (product.args, product.args[::-1]):
            if _is_one(one) and ArrayType(x.type.dtype, x.type.shape, product.type.weak) is product.type:
                return x
    return product


def _is_one(x: Expr) -> bool:
    while x.op in (ar.broadcast_to, ar.reshape):
        (x,) = x.args
    if x.op is ar.constant:
        return not x.type.shape and bool(x.value == 1)
    return x.op is ar.full and x.params["fill"] == 1


def _zeros(target: Expr) -> Expr:
    if target.type.dtype is not None:
        return as_expr(ar.full_like(target, fill=0))
    # Its dtype will be that of the target where that is floating; integers have gradients of float64.
    return as_expr(ar.unbroadcast(ar.full_like(target, fill=0, dtype=np.float64), target))

"""Identities exact in IEEE arithmetic, views of views, constants. One rule each, its law as docstring."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from compiler.graph import Graph
from compiler.passes.crops import crop_filters
from compiler.passes.fills import lift_fills, sum_of_fill
from compiler.passes.fold import fold
from compiler.passes.powers import pow_large, pow_small
from compiler.passes.rewrite import Rewrite, Rule, like, rewrite
from symgraph.expr import Expr, as_expr
from symgraph.ops import array as ar, elementwise as ew
from symgraph.types import Opaque


def constant_value(node: Expr) -> Any:
    """The number that fills a node, looking through views; None where it is not filled with one constant."""
    while node.op is not ar.constant:
        if node.op.kind != "view":
            return None
        node = node.args[0]
    return None if node.type.shape else node.value


def is_number(node: Expr, number: float) -> bool:
    """Whether a node is filled with this number; 0 and -0.0 differ."""
    value = constant_value(node)
    if value is None or value != number or isinstance(value, bool | np.bool_):
        return False
    return math.copysign(1, value) == math.copysign(1, number)


def mul_one(node: Expr) -> Expr | None:
    """x * 1 -> x"""
    a, b = node.args
    return like(a, node) if is_number(b, 1) else like(b, node) if is_number(a, 1) else None


def mul_minus_one(node: Expr) -> Expr | None:
    """x * -1 -> -x"""
    a, b = node.args
    x = a if is_number(b, -1) else b if is_number(a, -1) else None
    x = None if x is None else like(x, node)
    return None if x is None or x.type.dtype.kind != "f" else -x  # type: ignore[union-attr]


def mul_negatives(node: Expr) -> Expr | None:
    """(-x) * (-y) -> x * y"""
    a, b = node.args
    return a.args[0] * b.args[0] if a.op is ew.neg and b.op is ew.neg else None


def add_zero(node: Expr) -> Expr | None:
    """x + 0 -> x   (integers; for floats only -0.0, since -0.0 + 0.0 is 0.0)"""
    a, b = node.args
    zero = -0.0 if node.type.dtype.kind == "f" else 0  # type: ignore[union-attr]
    return like(a, node) if is_number(b, zero) else like(b, node) if is_number(a, zero) else None


def add_negative(node: Expr) -> Expr | None:
    """x + (-y) -> x - y"""
    a, b = node.args
    if node.type.dtype.kind != "f":  # type: ignore[union-attr]
        return None
    return a - b.args[0] if b.op is ew.neg else b - a.args[0] if a.op is ew.neg else None


def add_equal(node: Expr) -> Expr | None:
    """x + x -> 2 * x"""
    a, b = node.args
    return 2 * a if a is b and a.type.dtype.kind in "iuf" else None  # type: ignore[union-attr]


def add_to_double(node: Expr) -> Expr | None:
    """2 * x + x -> 3 * x   (2 * x is exact, so both round once)"""
    for twice, x in (node.args, node.args[::-1]):
        if twice.op is ew.mul and twice.type.dtype.kind == "f":  # type: ignore[union-attr]
            for number, same in (twice.args, twice.args[::-1]):
                if same is x and is_number(number, 2):
                    return 3 * x  # type: ignore[no-any-return]
    return None


def sub_zero(node: Expr) -> Expr | None:
    """x - 0 -> x"""
    a, b = node.args
    return like(a, node) if is_number(b, 0) else None


def sub_negative(node: Expr) -> Expr | None:
    """x - (-y) -> x + y"""
    a, b = node.args
    return a + b.args[0] if b.op is ew.neg and node.type.dtype.kind == "f" else None  # type: ignore


def sub_self(node: Expr) -> Expr | None:
    """x - x -> 0   (integers: for floats it is nan where x is inf or nan)"""
    a, b = node.args
    if a is not b or node.type.dtype.kind not in "iu":  # type: ignore[union-attr]
        return None
    return like(as_expr(np.zeros((), node.type.dtype)[()]), node)


def div_one(node: Expr) -> Expr | None:
    """x / 1 -> x"""
    a, b = node.args
    return like(a, node) if is_number(b, 1) else None


def div_power_of_two(node: Expr) -> Expr | None:
    """x / c -> x * (1 / c)   (c a power of two: exact)"""
    a, b = node.args
    value = constant_value(b)
    if value is None or isinstance(value, np.integer | int) or a.type.dtype != node.type.dtype:
        return None
    if not math.isfinite(value) or not 1e-30 < abs(value) < 1e30 or abs(math.frexp(value)[0]) != 0.5:
        return None
    return a * as_expr(1 / value if b.type.weak else np.asarray(1 / value, b.type.dtype)[()])  # type: ignore


def neg_neg(node: Expr) -> Expr | None:
    """-(-x) -> x"""
    (a,) = node.args
    return a.args[0] if a.op is ew.neg else None


def neg_product(node: Expr) -> Expr | None:
    """-((-x) * y) -> x * y"""
    (a,) = node.args
    if a.op is not ew.mul or node.type.dtype.kind != "f":  # type: ignore[union-attr]
        return None
    x, y = a.args
    return x.args[0] * y if x.op is ew.neg else x * y.args[0] if y.op is ew.neg else None


def pos_any(node: Expr) -> Expr | None:
    """+x -> x"""
    return like(node.args[0], node)


def square_product(node: Expr) -> Expr | None:
    """square(x) -> x * x"""
    (x,) = node.args
    return x * x if x.type.dtype == node.type.dtype and node.type.dtype.kind in "iuf" else None  # type: ignore


def cast_same(node: Expr) -> Expr | None:
    """cast(x, dtype of x) -> x"""
    return like(node.args[0], node)


def idempotent(node: Expr) -> Expr | None:
    """f(x, x) -> x, f(f(x)) -> f(x)   (maximum, minimum, abs)"""
    if len(node.args) == 2:
        a, b = node.args
        return like(a, node) if a is b else None
    (a,) = node.args
    return a if a.op is node.op else None


def abs_neg(node: Expr) -> Expr | None:
    """abs(-x) -> abs(x)"""
    (a,) = node.args
    return as_expr(node.op(a.args[0])) if a.op is ew.neg and a.type.dtype.kind == "f" else None  # type: ignore


def where_same(node: Expr) -> Expr | None:
    """where(c, x, x) -> x"""
    _, x, y = node.args
    return like(x, node) if x is y else None


def where_constant(node: Expr) -> Expr | None:
    """where(True, x, y) -> x"""
    c, x, y = node.args
    value = constant_value(c)
    return None if value is None else like(x if value else y, node)


def not_not(node: Expr) -> Expr | None:
    """not(not(x)) -> x   (x a bool)"""
    (a,) = node.args
    return a.args[0] if a.op is node.op and a.args[0].type.dtype == np.bool_ else None


def no_mark(node: Expr) -> Expr | None:
    """stop_gradient(x), named(x), printed(x) -> x"""
    return node.args[0]


def transpose_transpose(node: Expr) -> Expr | None:
    """transpose(transpose(x)) -> transpose(x); transpose by no change -> x"""
    (a,) = node.args
    axes = node.params["axes"]
    if axes == tuple(range(len(axes))):
        return a
    if a.op is ar.transpose:
        return as_expr(ar.transpose(a.args[0], axes=tuple(a.params["axes"][k] for k in axes)))
    return None


def reshape_reshape(node: Expr) -> Expr | None:
    """reshape(reshape(x)) -> reshape(x); to the same shape -> x"""
    (a,) = node.args
    if a.type.shape == node.type.shape:
        return a
    if a.op in (ar.reshape, ar.expand_dims, ar.squeeze):
        return as_expr(ar.reshape(a.args[0], shape=node.type.shape))
    return None


def broadcast_broadcast(node: Expr) -> Expr | None:
    """broadcast_to(broadcast_to(x)) -> broadcast_to(x)"""
    (a,) = node.args
    return as_expr(ar.broadcast_to(a.args[0], shape=node.type.shape)) if a.op is ar.broadcast_to else None


def number_reshape(node: Expr) -> Expr | None:
    """view(c) -> broadcast_to(c)   (c a number)"""
    value = constant_value(node)
    if value is None or (node.op is ar.broadcast_to and not node.args[0].type.shape):
        return None
    base = node
    while base.op.kind == "view":
        base = base.args[0]
    shape = node.type.shape
    return base if shape == () and base.type.dtype == node.type.dtype else as_expr(ar.broadcast_to(base, shape=shape))


def reduce_nothing(node: Expr) -> Expr | None:
    """sum(x, axes of size 1) -> reshape(x)   (a sum of floats starts at 0.0, which makes 0.0 of -0.0: x + 0.0)"""
    (x,) = node.args
    shape, dtype = x.type.shape, node.type.dtype
    assert not isinstance(shape, Opaque) and dtype is not None
    if x.type.dtype != dtype or any(shape[a] != 1 for a in node.params["axis"]):
        return None
    same = x if shape == node.type.shape else as_expr(ar.reshape(x, shape=node.type.shape))
    return as_expr(same + dtype.type(0)) if node.op.name == "sum" and dtype.kind == "f" else same


def sum_of_products(node: Expr) -> Expr | None:
    """sum(X_i^T @ Y_i over i) -> X^T @ Y   (X, Y: all rows of X_i, Y_i)"""
    (product,) = node.args
    dtype = node.type.dtype
    if product.op is not ar.matmul or node.params["axis"] != (0,) or product.type.ndim != 3 or dtype.kind != "f":  # type: ignore[union-attr]
        return None
    left, right = product.args
    if left.op is not ar.transpose or left.params["axes"] != (0, 2, 1) or right.type.ndim != 3:
        return None
    rows = left.args[0]
    if rows.type.dtype != dtype or right.type.dtype != dtype or rows.type.shape[0] != right.type.shape[0]:  # type: ignore[index]
        return None
    whole = as_expr(ar.matmul(ar.transpose(all_rows(rows), axes=(1, 0)), all_rows(right)))
    return whole if whole.type is node.type else as_expr(ar.reshape(whole, shape=node.type.shape))


def all_rows(x: Expr) -> Expr:
    """Matrices one below the other."""
    count, rows, columns = x.type.shape  # type: ignore[misc]
    return as_expr(ar.reshape(x, shape=(count * rows, columns)))


def shape_only(node: Expr) -> Expr | None:
    """f(x, y) -> f(x, 0 in the shape of y)   (of y only the shape matters)"""
    args = list(node.args)
    for k in node.op.shape_only:
        y = args[k]
        if y.op is ar.bound and y.type.shape:
            args[k] = as_expr(ar.broadcast_to(as_expr(np.zeros((), y.type.dtype)[()]), shape=y.type.shape))
    return None if tuple(args) == node.args else as_expr(node.op(*args, **node.params))


RULES: dict[str, Sequence[Rule]] = {
    "mul": (mul_one, mul_minus_one, mul_negatives),
    "add": (add_zero, add_negative, add_equal, add_to_double),
    "sub": (sub_zero, sub_negative, sub_self),
    "div": (div_one, div_power_of_two),
    "neg": (neg_neg, neg_product),
    "pos": (pos_any,),
    "pow": (pow_small, pow_large),
    "square": (square_product,),
    "cast": (cast_same,),
    "maximum": (idempotent,),
    "minimum": (idempotent,),
    "abs": (idempotent, abs_neg),
    "fabs": (idempotent, abs_neg),
    "where": (where_same, where_constant),
    "logical_not": (not_not,),
    "stop_gradient": (no_mark,),
    "named": (no_mark,),
    "printed": (no_mark,),
    "stopped_at": (no_mark,),
    "transpose": (number_reshape, transpose_transpose),
    "reshape": (number_reshape, reshape_reshape),
    "expand_dims": (number_reshape,),
    "squeeze": (number_reshape,),
    "getitem": (number_reshape,),
    "flip": (number_reshape,),
    "broadcast_to": (number_reshape, broadcast_broadcast),
    "embed": (shape_only,),
    "scatter_add": (shape_only,),
    "sum": (reduce_nothing, sum_of_fill, sum_of_products),
    "prod": (reduce_nothing,),
    "max": (reduce_nothing,),
    "min": (reduce_nothing,),
    "*": (fold, lift_fills),
}


def simplify(graph: Graph, record: Callable[[Rewrite], None]) -> list[Expr]:
    """Apply the identities until none fires."""
    outputs = crop_filters(graph, record)
    graph = graph if tuple(outputs) == graph.outputs else Graph(outputs)
    with np.errstate(all="ignore"):  # constants are computed as silently as kernels compute
        return rewrite(graph, RULES, record)

"""Values that are one number everywhere are computed once, as a number."""

from __future__ import annotations

import math

import numpy as np

from compiler.passes.rewrite import like
from symgraph import dims
from symgraph.expr import Expr, as_expr
from symgraph.ops import array as ar, elementwise as ew
from symgraph.types import Opaque


def lift_fills(node: Expr) -> Expr | None:
    """f(broadcast_to(a), broadcast_to(b)) -> broadcast_to(f(a, b))   (a and b numbers)"""
    if node.op.kind != "elementwise" or not node.type.shape:
        return None
    numbers = []
    for arg in node.args:
        if not arg.type.shape:
            numbers.append(arg)
        elif arg.op is ar.broadcast_to and not arg.args[0].type.shape:
            numbers.append(arg.args[0])
        else:
            return None
    single = as_expr(node.op(*numbers, **node.params))
    return like(single, node)


def sum_of_fill(node: Expr) -> Expr | None:
    """sum(broadcast_to(c)) -> c * count   (c a power of two, or 0: exact)"""
    (x,) = node.args
    shape, dtype = x.type.shape, node.type.dtype
    assert not isinstance(shape, Opaque) and dtype is not None
    if x.op is not ar.broadcast_to or x.args[0].op is not ar.constant or x.args[0].type.shape or dtype.kind != "f":
        return None
    value = float(x.args[0].value)
    if not math.isfinite(value) or (value != 0 and abs(math.frexp(value)[0]) != 0.5) or math.copysign(1, value) < 0:
        return None
    counted = [shape[a] for a in node.params["axis"]]
    if len(counted) == len(shape):
        count = ar.size(x, axis=None)
    elif len(counted) == 1:
        count = ar.size(x, axis=node.params["axis"][0])
    else:
        length = dims.product(counted)
        if not isinstance(length, int):
            return None
        count = as_expr(length)
    total = as_expr(ew.cast(count, dtype="<f8")) * np.float64(value)
    total = total if dtype == np.float64 else as_expr(ew.cast(total, dtype=dtype.str))
    return like(as_expr(total), node)

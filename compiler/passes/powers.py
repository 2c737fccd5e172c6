"""Fixed powers as products of x."""

from __future__ import annotations

import numpy as np

from compiler.passes.rewrite import like
from symgraph.expr import Expr, as_expr
from symgraph.ops import elementwise as ew


def pow_small(node: Expr) -> Expr | None:
    """x ** n -> products of x   (n from 0 to 7, and -1; at most 3.3 ulp)"""
    exponent = node.params["exponent"]
    x = like(node.args[0], node)
    if x is None:
        (x,) = node.args
        if exponent not in range(2, 8) or node.type.dtype.kind != "f":  # type: ignore[union-attr]
            return None
        x = as_expr(ew.cast(x, dtype=node.type.dtype.str))  # type: ignore[union-attr]
    if exponent == 0:
        return like(as_expr(np.ones((), node.type.dtype)[()]), node)
    if exponent == 1:
        return x
    if exponent in range(2, 5) or (exponent in range(5, 8) and node.type.dtype.kind == "f"):  # type: ignore[union-attr]
        return _product(x, int(exponent))
    if exponent == -1 and node.type.dtype.kind == "f":  # type: ignore[union-attr]
        return 1 / x  # type: ignore[no-any-return]
    return None


def _product(x: Expr, n: int) -> Expr:
    """x multiplied n times, by halves: x**3 = (x * x) * x, which is shared with x**5 and x**6."""
    return x if n == 1 else _product(x, n - n // 2) * _product(x, n // 2)


def pow_large(node: Expr) -> Expr | None:
    """x ** n -> products of x and their rounding errors   (n from 8 to 64; within 1 ulp)"""
    # Products alone would be n/2 ulp off. Each power is kept as a pair, itself and its error, which a fused
    # multiply-add gives exactly (Ogita, Rump and Oishi 2005, "Accurate sum and dot product"). All powers of x are made
    # of the same pairs, so that those of a polynomial are shared.
    exponent = node.params["exponent"]
    (x,) = node.args
    if exponent not in range(8, 65) or x.type is not node.type or node.type.dtype.kind != "f":  # type: ignore[union-attr]
        return None
    product, error = _product_and_error(x, int(exponent), {1: (x, None)})
    # of inf and of what overflows, the error is no number
    return as_expr(ew.where(ew.isfinite(error), product + error, product))


def _product_and_error(x: Expr, n: int, made: dict[int, tuple[Expr, Expr | None]]) -> tuple[Expr, Expr | None]:
    if n not in made:
        a, a_error = _product_and_error(x, n - n // 2, made)
        b, b_error = _product_and_error(x, n // 2, made)
        product = a * b
        error = ew.fma(a, b, -product)
        error = error if a_error is None else ew.fma(a_error, b, error)
        error = error if b_error is None else ew.fma(a, b_error, error)
        made[n] = product, error
    return made[n]

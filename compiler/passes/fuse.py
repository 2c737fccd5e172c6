"""Multiplication and addition become one node, computed with one rounding (IEEE 754 fusedMultiplyAdd)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from compiler.passes.rewrite import Rewrite, with_args
from symgraph import origin
from symgraph.expr import Expr, as_expr, toposort
from symgraph.ops import elementwise as ew


def fuse_multiply_add(outputs: Sequence[Expr], record: Callable[[Rewrite], None]) -> list[Expr]:
    """a * b + c -> fma(a, b, c), also with minus, where the product is used nowhere else."""
    order = toposort(outputs)
    uses = Counter(arg for node in order for arg in node.args)
    uses.update(outputs)
    made: dict[Expr, Expr] = {}
    for node in order:
        fused = None
        if node.op in (ew.add, ew.sub) and node.type.dtype is not None and node.type.dtype.kind == "f":
            with origin.derived_from(node.marks[0] if node.marks else None):
                fused = _fuse(node, uses, made)
        made[node] = with_args(node, [made[a] for a in node.args]) if fused is None else fused
        if fused is not None:
            record(Rewrite("a * b + c -> fma(a, b, c)", node, fused))
    return [made[o] for o in outputs]


def _is_product(x: Expr, node: Expr, uses: Counter[Expr]) -> bool:
    return x.op is ew.mul and uses[x] == 1 and x.type.dtype == node.type.dtype and x.type.shape == node.type.shape


def _fuse(node: Expr, uses: Counter[Expr], made: dict[Expr, Expr]) -> Expr | None:
    left, right = node.args
    if _is_product(left, node, uses):
        x, y = (made[a] for a in left.args)
        rest = made[right]
        return as_expr(ew.fma(x, y, -rest if node.op is ew.sub else rest))
    if _is_product(right, node, uses):
        x, y = (made[a] for a in right.args)
        return as_expr(ew.fma(-x if node.op is ew.sub else x, y, made[left]))
    return None

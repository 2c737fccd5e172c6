"""Multiplication and addition become one node, computed with one rounding (IEEE 754 fusedMultiplyAdd)."""

from __future__ import annotations

from collections.abc import Callable

from compiler.graph import Graph
from compiler.passes.rewrite import Rewrite, with_args
from symgraph import origin
from symgraph.expr import Expr, as_expr
from symgraph.ops import elementwise as ew


def fuse_multiply_add(graph: Graph, record: Callable[[Rewrite], None]) -> list[Expr]:
    """a * b + c -> fma(a, b, c), also with minus, where the product is used nowhere else."""
    uses: dict[Expr, int] = {}
    for output in graph.outputs:
        uses[output] = uses.get(output, 0) + 1
    for node in graph.order:
        for arg in node.args:
            uses[arg] = uses.get(arg, 0) + 1
    made: dict[Expr, Expr] = {}
    with origin.derived_from() as derived:
        for node in graph.order:
            derived.follow(node.marks)
            fused = None
            if (node.op is ew.add or node.op is ew.sub) and node.type.dtype is not None and node.type.dtype.kind == "f":
                fused = _fuse(node, uses, made, derived)
            if fused is None:
                made[node] = with_args(node, tuple([made[a] for a in node.args]))
            else:
                made[node] = fused
                record(Rewrite("a * b + c -> fma(a, b, c)", node, fused))
    return [made[o] for o in graph.outputs]


def _is_product(x: Expr, node: Expr, uses: dict[Expr, int]) -> bool:
    return x.op is ew.mul and uses[x] == 1 and x.type.dtype == node.type.dtype and x.type.shape == node.type.shape


def _fuse(node: Expr, uses: dict[Expr, int], made: dict[Expr, Expr], derived: origin.derived_from) -> Expr | None:
    left, right = node.args
    for product, other in ((left, right), (right, left)):
        if not _is_product(product, node, uses):
            continue
        derived.follow(origin.fused(node.marks, product.marks))
        x, y = (made[a] for a in product.args)
        rest = made[other]
        if node.op is ew.sub:
            x, rest = (x, -rest) if product is left else (-x, rest)
        return as_expr(ew.fma(x, y, rest))
    return None

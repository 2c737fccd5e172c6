"""What statements and operations cost, in additions."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from compiler.program import Check, Primitive, Recorder, S, loads_or_stores
from symgraph.expr import Expr
from symgraph.ops import array as ar
from symgraph.ops.elementwise import operand_dtypes
from symgraph.scalar import BINARY_MATH, UNARY_MATH

QUICK_MATH = frozenset({"floor", "ceil", "trunc", "rint", "fabs", "copysign"})
WEIGHTS = {"div": 4.0, "idiv": 8.0, "irem": 8.0, "ipow": 20.0, "sqrt": 6.0} | {
    name: 20.0 for name in (*UNARY_MATH, *BINARY_MATH) if name not in QUICK_MATH and name != "sqrt"
}
"""What primitives cost, in additions; 1 where they are not listed."""


def weight(statement: Any) -> float:
    """What a statement costs, in additions."""
    if type(statement) is Primitive:
        return WEIGHTS.get(statement.name, 1.0)
    return 1.0 if loads_or_stores(statement) else 0.0


def own_cost(node: Expr) -> float:
    """What an operation costs per element; infinite where it can fail, for then it must run exactly once."""
    if node.op is ar.embed:
        return 3.0
    if node.op.kind != "elementwise":
        return math.inf
    return _rule_cost(node.op, tuple([a.type for a in node.args]), node.type, node.parts)


@lru_cache(maxsize=4096)
def _rule_cost(op: Any, types: Any, out: Any, parts: Any) -> float:
    dtypes = operand_dtypes(op, types, out, dict(parts))
    if any(a.weak and d.kind in "iu" for a, d in zip(types, dtypes, strict=True)):
        return math.inf
    m = Recorder([])
    op.lower(m, *(S(m, m.new(), d) for d in dtypes), **dict(parts))
    if any(isinstance(s, Check) for s in m.body):
        return math.inf
    return sum(weight(s) for s in m.body)

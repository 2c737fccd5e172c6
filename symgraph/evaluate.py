"""A graph run node by node, as its rows' meanings say: only what is needed, so of a choice only the branch taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from symgraph.expr import Expr
from symgraph.ops import control as ct

Compute = Callable[[Expr, Sequence[Any]], Any]
"""The value of a node from those of its arguments."""


def _by_row(node: Expr, args: Sequence[Any]) -> Any:
    return node.op.impl(*args, **node.params)


def evaluate(outputs: Sequence[Expr], values: dict[Expr, Any], compute: Compute = _by_row) -> list[Any]:
    """The values of `outputs`.

    Args:
        outputs: expressions.
        values: the value of every placeholder and parameter that they need; what is computed is added.
        compute: computes a node.
    """
    for output in outputs:
        stack = [output]
        while stack:
            node = stack[-1]
            if node in values:
                stack.pop()
                continue
            if node.op is ct.switch:
                index, *branches = node.args
                if index not in values:
                    stack.append(index)
                    continue
                taken = branches[ct.checked_choice(values[index], len(branches))]
                if taken in values:
                    values[node] = compute(node, [values[index], *(values.get(b) for b in branches)])
                else:
                    stack.append(taken)
                continue
            missing = [a for a in node.args if a not in values]
            if missing:
                stack.extend(reversed(missing))
                continue
            values[node] = compute(node, [values[a] for a in node.args])
    return [values[o] for o in outputs]

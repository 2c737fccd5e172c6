"""Constant folding: nodes whose arguments are constants are computed once, by their own `impl`."""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph import dims
from symgraph.expr import Expr, constant
from symgraph.ops import array as ar
from symgraph.types import Opaque

LARGEST = 1 << 16
"""Elements beyond which a constant is computed in the kernel rather than carried along."""


def fold(node: Expr) -> Expr | None:
    """f(constants) -> constant

    Unless that would make a small constant large.
    """
    for arg in node.args:
        if arg.op is not ar.constant:
            return None
    if not node.args or node.op.kind == "control":
        return None
    shape = node.type.shape
    assert not isinstance(shape, Opaque)
    size = dims.product(shape)
    if not isinstance(size, int) or size > LARGEST or (node.op.kind == "view" and shape):
        return None
    if size > 64 and size > max(np.size(a.value) for a in node.args):
        return None
    try:
        value: Any = node.op.impl(*[a.value for a in node.args], **node.params)
    except (ValueError, TypeError, ArithmeticError, IndexError):
        return None  # the error belongs to the call, where it is raised with its line
    if node.type.weak:
        return constant(np.asarray(value).item())
    return constant(np.asarray(value, node.type.dtype)[()])

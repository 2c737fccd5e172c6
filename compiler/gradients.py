"""What is differentiated when a compiled function is asked for gradients, and how.

Gradients are made twice over at most: of the typed graph of each kernel, in which equal steps have become loops, and of
the formula as it was written where somebody looks at it node by node.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from symgraph import origin
from symgraph.errors import GradientError
from symgraph.expr import Expr, as_expr, placeholder
from symgraph.forward import slope
from symgraph.grad import check_differentiable, pullback
from symgraph.ops import array as ar

COTANGENT = placeholder("cotangent")
"""The weights of an output's elements, where a caller gives them."""


class Gradients(NamedTuple):
    """Gradients that are asked for, before or after types are known.

    Attributes:
        outputs: what is differentiated.
        cotangents: for each output the weights of its elements.
        targets: the placeholders that gradients are taken for.
        weighed: whether the weights are a caller's.
    """

    outputs: tuple[Expr, ...]
    cotangents: tuple[Expr, ...]
    targets: tuple[Expr, ...]
    weighed: bool

    def expressions(self) -> list[Expr]:
        """The gradients, in the order of the targets."""
        if len(self.targets) == 1 and not self.weighed:
            found = slope(self.outputs, self.targets[0])
            if found is not None:
                return [found]
        return pullback(self.outputs, self.cotangents, self.targets)


def gradients_of(outputs: Sequence[Expr], targets: Sequence[Expr], weighed: bool) -> Gradients:
    """The gradients of the floating-point outputs.

    Raises:
        GradientError: a target or all outputs are declared to hold integers or bools; or there are several outputs, and
            one cotangent.
    """
    for target in targets:
        check_differentiable(target)
    floating = [o for o in outputs if o.type.dtype is None or o.type.dtype.kind == "f"]
    if not floating:
        kind = outputs[0].type.dtype
        raise GradientError(f"the output is {kind}; only floating-point values have gradients")
    seeds = [as_expr(ar.full_like(o, fill=1)) for o in floating]
    if weighed:
        if len(floating) != 1:
            raise GradientError(f"cotangent= needs a single output, this function has {len(floating)}")
        with origin.derived_from():  # the caller's line is to blame where it does not fit
            weights = ar.broadcast_like(COTANGENT * seeds[0], floating[0], axis=(), keepdims=True)
        seeds = [as_expr(weights)]
    return Gradients(tuple(floating), tuple(seeds), tuple(targets), weighed)

"""A compiled function as DOT text: before and after optimisation, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from symgraph.dot import Dot, draw
from symgraph.expr import Expr

if TYPE_CHECKING:
    from compiler.function import Function
    from compiler.variant import Variant

STAGES = ("before", "after", "sides", "backward", "joint")


def optimised(variant: Variant) -> tuple[Expr, ...]:
    """The outputs after the last rewriting pass, before copies are laid out."""
    return variant.steps[-2].outputs


def to_dot(function: Function, stage: str, verbose: bool) -> str:
    """DOT text of one stage; see :meth:`compiler.function.Function.to_dot`.

    Raises:
        ValueError: there is no stage of that name.
    """
    dot = Dot()
    if stage == "before":
        draw(dot, function.outputs, verbose)
    elif stage == "after":
        draw(dot, optimised(function.variants()[0][1]), verbose)
    elif stage == "sides":
        _framed(dot, function.outputs, "before optimisation", verbose)
        _framed(dot, optimised(function.variants()[0][1]), "after optimisation", verbose)
    elif stage in ("backward", "joint"):
        outputs = optimised(function.variant_with_grad())
        count = len(function.outputs)
        if stage == "backward":
            draw(dot, outputs[count:], verbose)
        else:
            forward = draw(dot, outputs[:count], verbose, dot.cluster("forward"))
            draw(dot, outputs[count:], verbose, dot.cluster("backward"), forward)
    else:
        raise ValueError(f"there is no stage {stage!r}; the stages are {', '.join(STAGES)}")
    return str(dot)


def _framed(dot: Dot, outputs: Sequence[Expr], title: str, verbose: bool) -> None:
    draw(dot, outputs, verbose, dot.cluster(title))

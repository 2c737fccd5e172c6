"""Which pass or rewrite changes a result: `Function.bisect`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compiler.debug import apart, options, prepared
from compiler.dispatch import VALUE
from compiler.interpret import interpret
from compiler.passes.rewrite import Rewrite
from compiler.variant import GRADIENTS
from symgraph.expr import toposort
from symgraph.ops import array as ar

if TYPE_CHECKING:
    from compiler.function import Function


@dataclass(frozen=True)
class Culprit:
    """Where a result changes.

    Attributes:
        stage: the pass, or "kernel" for what comes after the passes.
        rewrite: the rewrite that changes a value; None where the pass as a whole does, or the kernel.
        difference: how the results differ.
    """

    stage: str
    rewrite: Rewrite | None
    difference: str

    def __str__(self) -> str:
        return f"{self.stage}: {self.difference}" + (f"\n  {self.rewrite}" if self.rewrite else "")


def bisect(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Culprit | None:
    """See :meth:`compiler.function.Function.bisect`."""
    chosen = options(function, kwargs, what=VALUE, tolerance=0.0)
    kernels, values = prepared(function, chosen["what"], args, kwargs)
    variant, _ = kernels.find(values)
    given = {n.name or "": value for n, value in zip(kernels.inputs, values, strict=True)}
    tolerance = chosen["tolerance"]

    def results(outputs: Sequence[Any]) -> list[Any]:
        return interpret(outputs, given, others=variant.typed.inputs)

    steps = variant.steps
    wanted = results(steps[0].outputs)
    # Values may come and go, so what is sought is the first of the steps, not any between equal and unequal ends.
    for step in steps[1:]:
        found = results(step.outputs)
        if step.name == GRADIENTS:  # from here on what is compared are gradients too
            wanted = found
        difference = _first(found, wanted, tolerance)
        if difference is not None:
            return _within(step.name, step.rewrites, results, difference, tolerance)
    difference = _first(kernels.run(values), wanted, tolerance)
    return None if difference is None else Culprit("kernel", None, difference)


def _first(found: Sequence[Any], wanted: Sequence[Any], tolerance: float) -> str | None:
    texts = (apart(got, want, tolerance) for got, want in zip(found, wanted, strict=True))
    return next((text for text in texts if text is not None), None)


def _within(stage: str, rewrites: Sequence[Rewrite], results: Any, difference: str, tolerance: float) -> Culprit:
    """The first rewrite of a pass whose two sides differ; where each is within the tolerance, or it is inside a loop,
    whose rounds have no values of their own here, the pass itself."""
    rewrites = [r for r in rewrites if not any(node.op is ar.bound for node in toposort((r.before, r.after)))]
    sides = results([side for rewrite in rewrites for side in (rewrite.before, rewrite.after)])
    for k, rewrite in enumerate(rewrites):
        found = apart(sides[2 * k + 1], sides[2 * k], tolerance)
        if found is not None:
            return Culprit(stage, rewrite, found)
    return Culprit(stage, None, difference)

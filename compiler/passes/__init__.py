"""The optimiser: a literal list of passes, each a pure function from a graph to new outputs.

A rule keeps type and value: what is exact only over the reals is not done (x - x, x / x, x + 0.0 keep IEEE's values).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from compiler.graph import Graph
from compiler.passes.branches import form_branches
from compiler.passes.fuse import fuse_multiply_add
from compiler.passes.inside import Pass, inside_first
from compiler.passes.loops import tidy_loops
from compiler.passes.rewrite import Rewrite
from compiler.passes.roll import roll, roll_before_gradients
from compiler.passes.simplify import simplify
from symgraph.expr import Expr

BEFORE_GRADIENTS: tuple[tuple[str, Pass], ...] = (("roll values", inside_first(roll_before_gradients)),)
"""A loop is differentiated as one, and soon; the gradient of steps would be found to repeat itself step by step."""

PIPELINE: tuple[tuple[str, Pass], ...] = (
    ("roll", inside_first(roll)),
    ("simplify", inside_first(simplify)),
    ("tidy loops", inside_first(tidy_loops)),
    ("form branches", inside_first(form_branches)),
    ("fuse multiply-add", inside_first(fuse_multiply_add)),
)


class Step(NamedTuple):
    """What one pass did: the outputs after it, and every rewrite."""

    name: str
    outputs: tuple[Expr, ...]
    rewrites: tuple[Rewrite, ...]


def optimise(
    graph: Graph,
    *,
    fma: bool = True,
    after: Callable[[Step], None] | None = None,
) -> Graph:
    """Run the pipeline; `after` is called with every step."""
    return _run(PIPELINE if fma else [p for p in PIPELINE if p[0] != "fuse multiply-add"], graph, after)


def roll_values(graph: Graph, after: Callable[[Step], None] | None = None) -> Graph:
    """What is done before gradients are taken; `after` is called with every step."""
    return _run(BEFORE_GRADIENTS, graph, after)


def _run(pipeline: Iterable[tuple[str, Pass]], graph: Graph, after: Callable[[Step], None] | None) -> Graph:
    for name, run in pipeline:
        rewrites: list[Rewrite] = []
        outputs = tuple(run(graph, rewrites.append))
        if outputs != graph.outputs:  # else its order need not be found again
            graph = Graph(outputs)
        if after is not None:
            after(Step(name, graph.outputs, tuple(rewrites)))
    return graph

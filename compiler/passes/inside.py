"""Graphs inside nodes: a pass goes into the bodies of loops and branches first, then over the graph that holds them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from compiler.graph import Graph
from compiler.passes.rewrite import Rewrite
from symgraph import origin
from symgraph.expr import Body, Expr, bodies_of, bound, build
from symgraph.ops import array as ar
from symgraph.types import ArrayType

Record = Callable[[Rewrite], None]
Pass = Callable[[Graph, Record], list[Expr]]


def with_bodies(node: Expr, change: Callable[[Body], Body]) -> dict[str, object]:
    """The parameters of a node with its graphs changed."""
    params: dict[str, object] = {}
    for name, value in node.parts:
        if isinstance(value, Body):
            value = change(value)
        elif isinstance(value, tuple):
            value = tuple(change(v) if isinstance(v, Body) else v for v in value)
        params[name] = value
    return params


def inside_first(run: Pass) -> Pass:
    """The pass, which then goes into bodies as well."""

    def whole(graph: Graph, record: Record) -> list[Expr]:
        if graph.has("control"):
            graph = Graph(_entered(graph, lambda body: Body(body.parameters, whole(Graph(body.outputs), record))))
        return run(graph, record)

    return whole


def _entered(graph: Graph, change: Callable[[Body], Body]) -> list[Expr]:
    made: dict[Expr, Expr] = {}
    with origin.derived_from() as derived:
        for node in graph.order:
            args = tuple([made[a] for a in node.args])
            derived.follow(node.marks)
            if any(True for _ in bodies_of(node)):
                made[node] = build(node.op, args, with_bodies(node, change))
            else:
                made[node] = node if args == node.args else build(node.op, args, node.params)
    return [made[o] for o in graph.outputs]


def levels(order: Iterable[Expr]) -> Mapping[Expr, int]:
    """How many choices and loops stand one after the other before each node is there; those of one level do not
    depend on each other."""
    found: dict[Expr, int] = {}
    for node in order:
        level = max((found[a] for a in node.args), default=0)
        found[node] = level + 1 if node.op.kind == "control" else level
    return found


def fresh(kind: ArrayType, letter: str, taken: set[str]) -> Expr:
    """A parameter with a name of its own, which becomes one of those taken."""
    number = 0
    while f"{letter}{number}" in taken:
        number += 1
    taken.add(f"{letter}{number}")
    return bound(f"{letter}{number}", kind)


def fresh_for(node: Expr, taken: set[str]) -> Expr:
    """A parameter for a value from outside, which messages call by the name that it has there."""
    name = name_of(node) if node.op in ar.NAMED else ""
    if not name or name in taken:
        return fresh(node.type, "c", taken)
    taken.add(name)
    return bound(name, node.type)


def name_of(parameter: Expr) -> str:
    """The name of a body's parameter."""
    return str(parameter.parts[0][1])

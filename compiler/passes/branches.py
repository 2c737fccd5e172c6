"""Choices become branches: what only one side needs moves into it, and choices by one condition are made together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from compiler.graph import Graph
from compiler.passes.inside import fresh_for, levels
from compiler.passes.rewrite import Rewrite, with_args
from symgraph import origin
from symgraph.contexts import Branch, branches_of
from symgraph.expr import Body, Expr, as_expr, rebuild
from symgraph.ops import array as ar, control as ct


def form_branches(graph: Graph, record: Callable[[Rewrite], None]) -> list[Expr]:
    """switch(index, x, y) -> one of several bodies, that hold what only they need"""
    if ct.switch not in graph.operations:
        return list(graph.outputs)
    given = [node for node in graph.order if node.op in ar.NAMED]  # it is there, whoever wants it
    owners = branches_of(graph.order, [*graph.outputs, *given], elementwise=False)
    level = levels(graph.order)
    groups: dict[tuple[Expr, int, int], list[Expr]] = {}
    outer = [node for node in graph.order if owners.get(node) is None]
    for node in outer:
        if node.op is ct.switch:
            groups.setdefault((node.args[0], level[node], len(node.args)), []).append(node)
    made: dict[Expr, Expr] = {}
    with origin.derived_from() as derived:
        for node in sorted(outer, key=lambda n: level[n]):  # what a group takes in is of a lower level than the group
            if node in made:
                continue
            derived.follow(node.marks)
            if node.op is not ct.switch:
                made[node] = with_args(node, tuple([made[a] for a in node.args]))
                continue
            group = groups[node.args[0], level[node], len(node.args)]
            whole = _branch(group, owners, made, record)
            for number, member in enumerate(group):
                made[member] = as_expr(ct.item(whole, index=number))
                record(Rewrite("switch(i, x, y) -> branch", member, made[member]))
    return [made[o] for o in graph.outputs]


def _branch(
    group: Sequence[Expr],
    owners: Mapping[Expr, Branch | None],
    made: Mapping[Expr, Expr],
    record: Callable[[Rewrite], None],
) -> Expr:
    """One branch node for choices by one condition."""
    index = group[0].args[0]
    wanted = [[member.args[k] for member in group] for k in range(1, len(group[0].args))]
    outside: dict[Expr, None] = {}
    for number, outputs in enumerate(wanted, 1):
        stack, seen = list(reversed(outputs)), set(outputs)
        while stack:
            node = stack.pop()
            if node.op is ar.constant and not node.type.shape:
                continue
            if not _inside(node, owners, index, number, len(group[0].args)):
                outside.setdefault(node)
                continue
            fresh_args = [a for a in dict.fromkeys(node.args) if a not in seen]
            seen.update(fresh_args)
            stack.extend(reversed(fresh_args))
    taken: set[str] = set()
    replace = {node: fresh_for(node, taken) for node in outside}
    bodies = []
    for outputs in wanted:
        inner = rebuild(outputs, replace)
        bodies.append(Body(replace.values(), form_branches(Graph(inner), record)))
    return ct.branch(made[index], *(made[node] for node in outside), bodies=tuple(bodies))  # type: ignore[no-any-return]


def _inside(node: Expr, owners: Mapping[Expr, Branch | None], index: Expr, number: int, count: int) -> bool:
    """Whether a node belongs to one side of the choices by a condition, or to a branch in it."""
    branch = owners.get(node)
    while branch is not None and branch.parent is not None:
        branch = branch.parent
    if branch is None or branch.number != number:
        return False
    return branch.condition is index and branch.sides == count - 1

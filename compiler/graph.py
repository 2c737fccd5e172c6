"""Graph: the outputs of a formula and an index over the nodes they need.

The expressions own all facts; the networkx DAG is an index of them for looking, walking and drawing. Its edges carry
the argument positions, because ``x*x`` is one edge with two positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from symgraph.errors import CompileError
from symgraph.expr import Expr, bodies_of, format_expr, toposort
from symgraph.op import Op
from symgraph.ops import array as ar
from symgraph.types import ArrayType

if TYPE_CHECKING:
    import networkx as nx


class Graph:
    """The nodes that `outputs` need, arguments before users.

    >>> import symgraph as sg
    >>> a = sg.placeholder("a")
    >>> Graph([a * a + 1]).dag.number_of_edges()
    3
    """

    def __init__(self, outputs: Sequence[Expr]) -> None:
        self.outputs = tuple(outputs)

    @cached_property
    def order(self) -> list[Expr]:
        """Every node, arguments before users; the same order in every process."""
        return toposort(self.outputs)

    @cached_property
    def values(self) -> set[tuple[Op, ArrayType]]:
        """Which operations there are, with the types of what they give: few, however long the graph."""
        return {(node.op, node.type) for node in self.order}

    @cached_property
    def operations(self) -> set[Op]:
        """Which operations there are: most passes need not look at the nodes of most graphs."""
        return {op for op, _ in self.values}

    def has(self, kind: str) -> bool:
        """Whether there are operations of a kind."""
        return any(op.kind == kind for op in self.operations)

    @cached_property
    def users(self) -> dict[Expr, list[Expr]]:
        """For each node, the nodes it is an argument of."""
        users: dict[Expr, list[Expr]] = {node: [] for node in self.order}
        for node in self.order:
            for arg in dict.fromkeys(node.args):
                users[arg].append(node)
        return users

    @cached_property
    def dag(self) -> nx.DiGraph:
        """The networkx DAG: nodes are the expressions, with `label`, `kind` and `type`; edges have `positions`."""
        import networkx as nx  # here, as kernels do without it

        dag = nx.DiGraph()
        for node in self.order:
            label = node.name or (repr(node.params["value"]) if node.op is ar.constant else node.op.label)
            dag.add_node(node, label=label, kind=node.op.kind, type=str(node.type))
            for position, arg in enumerate(node.args):
                if dag.has_edge(arg, node):
                    dag.edges[arg, node]["positions"] += (position,)
                else:
                    dag.add_edge(arg, node, positions=(position,))
        return dag

    def __len__(self) -> int:
        return len(self.order)

    def verify(self) -> Graph:
        """Check that every argument stands before its user, has a known type, and that the types agree with the rows;
        in the bodies of loops and branches too, which know nothing but their parameters.

        Raises:
            CompileError: naming the node, its line and its neighbours.
        """
        seen: set[Expr] = set()
        for node in self.order:
            if any(arg not in seen for arg in node.args):
                raise self._fault(node, "is used before its argument")
            if not node.type.known:
                raise self._fault(node, f"has the unknown type {node.type}")
            if node.args:
                params = node.params
                found = node.op.infer([a.type for a in node.args], params)
                if found != node.type:
                    raise self._fault(node, f"is {node.type}, but its row says {found}")
            for body in bodies_of(node):
                for parameter in Graph(body.outputs).verify().order:
                    if parameter.op in ar.NAMED and parameter not in body.parameters:
                        raise self._fault(node, f"has a body that uses {parameter!r}, which is not its parameter")
            seen.add(node)
        return self

    def _fault(self, node: Expr, what: str) -> CompileError:
        lines = [f"checking graph: {format_expr(node, 80)} ({node.op.name}) {what}"]
        lines += [f"  argument {k}: {format_expr(a, 60)} is {a.type}" for k, a in enumerate(node.args)]
        if node.origin is not None:
            lines.append(f"  at {node.origin}")
        return CompileError("\n".join(lines))

"""The rewriting engine: rules applied bottom-up until none fires, every rewrite recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from compiler.graph import Graph
from symgraph import origin
from symgraph.errors import CompileError
from symgraph.expr import Expr, as_expr, build, format_expr, intern
from symgraph.op import REGISTRY
from symgraph.ops import array as ar
from symgraph.types import Opaque

Rule = Callable[[Expr], Expr | None]


class Rewrite(NamedTuple):
    """One application of a rule."""

    rule: str
    before: Expr
    after: Expr

    @property
    def law(self) -> str:
        """The rule without its condition."""
        return self.rule.split("   (")[0]

    @property
    def condition(self) -> str:
        """Where the rule holds, "" for everywhere."""
        return self.rule.partition("   (")[2].removesuffix(")")

    @property
    def change(self) -> str:
        """What became what, and where that was written."""
        where = f"   {origin.described(self.after.origins)}" if self.after.marks else ""
        return f"{format_expr(self.before, 80)}  ->  {format_expr(self.after, 80)}{where}"

    def __str__(self) -> str:
        return f"{self.rule}: {self.change}"


def like(x: Expr, node: Expr) -> Expr | None:
    """x in the shape of `node`, or None where the dtype would differ."""
    if x.type is node.type:
        return x
    if x.type.dtype != node.type.dtype:
        return None
    if x.type.shape == node.type.shape:
        return x
    shape = node.type.shape
    return None if isinstance(shape, Opaque) else as_expr(ar.broadcast_to(x, shape=shape))


def with_args(node: Expr, args: tuple[Expr, ...]) -> Expr:
    """The node with other arguments; where their types are the same, its type needs no inference."""
    before = node.args
    if args == before:
        return node
    for a, b in zip(args, before, strict=True):
        if a.type is not b.type:
            return build(node.op, args, node.params)
    return intern(node.op, args, node.parts, node.type)


def rewrite(
    graph: Graph,
    rules: Mapping[str, Iterable[Rule]],
    record: Callable[[Rewrite], None],
    limit: int = 100,
) -> list[Expr]:
    """The outputs with `rules` (by operation name; "*" for all) applied until none fires.

    Raises:
        CompileError: a rule changed a type, or the rules go round in circles.
    """
    titled = {name: tuple([(_title(rule), rule) for rule in some]) for name, some in rules.items()}
    anywhere = titled.pop("*", ())
    by_op = {REGISTRY[name]: (*some, *anywhere) for name, some in titled.items()}

    def rewritten(node: Expr) -> Expr:
        """Apply rules at this node, then at what it became; its arguments are rewritten already."""
        for _ in range(limit):
            for title, rule in by_op.get(node.op, anywhere):
                after = rule(node)
                if after is None or after is node or after.type.weak != node.type.weak:
                    continue  # a Python number is weaker than an array of one: dtypes would differ downstream
                if after.type is not node.type:
                    raise CompileError(
                        f"rule {rule.__name__} changed {node.type} to {after.type}: {node!r} -> {after!r}"
                    )
                record(Rewrite(title, node, after))
                node = after
                derived.follow(node.marks)
                break
            else:
                return node
        raise CompileError(f"simplification of {format_expr(node)} does not come to an end")

    made: dict[Expr, Expr] = {}
    with origin.derived_from() as derived:
        for node in graph.order:
            if node.args:
                derived.follow(node.marks)
                made[node] = rewritten(with_args(node, tuple([made[a] for a in node.args])))
            else:
                made[node] = node
    return [made[o] for o in graph.outputs]


def _title(rule: Rule) -> str:
    return (rule.__doc__ or rule.__name__).split("\n")[0]

"""The rewriting engine: rules applied bottom-up until none fires, every rewrite recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from symgraph import origin
from symgraph.errors import CompileError
from symgraph.expr import Expr, build, format_expr, intern, toposort

Rule = Callable[[Expr], Expr | None]


class Rewrite(NamedTuple):
    """One application of a rule."""

    rule: str
    before: Expr
    after: Expr

    def __str__(self) -> str:
        where = f"   ({self.before.origin})" if self.before.origin else ""
        return f"{self.rule}: {format_expr(self.before, 80)}  ->  {format_expr(self.after, 80)}{where}"


def with_args(node: Expr, args: Sequence[Expr]) -> Expr:
    """The node with other arguments; where their types are the same, its type needs no inference."""
    if all(a is b for a, b in zip(args, node.args, strict=True)):
        return node
    with origin.derived_from(node.marks[0] if node.marks else None):
        if all(a.type is b.type or a.type == b.type for a, b in zip(args, node.args, strict=True)):
            return intern(node.op, tuple(args), node.parts, node.type)
        return build(node.op, args, node.params)


def rewrite(
    outputs: Sequence[Expr],
    rules: Mapping[str, Iterable[Rule]],
    record: Callable[[Rewrite], None],
    limit: int = 100,
) -> list[Expr]:
    """The outputs with `rules` (by operation name; "*" for all) applied until none fires.

    Raises:
        CompileError: a rule changed a type, or the rules go round in circles.
    """
    anywhere = tuple(rules.get("*", ()))
    by_name = {name: (*some, *anywhere) for name, some in rules.items()}
    made: dict[Expr, Expr] = {}

    def rewritten(node: Expr) -> Expr:
        """Apply rules at this node, then at what it became; its arguments are rewritten already."""
        for _ in range(limit):
            for rule in by_name.get(node.op.name, anywhere):
                with origin.derived_from(node.marks[0] if node.marks else None):
                    after = rule(node)
                if after is None or after is node or after.type.weak != node.type.weak:
                    continue  # a Python number is weaker than an array of one: dtypes would differ downstream
                if after.type.shape != node.type.shape or after.type.dtype != node.type.dtype:
                    raise CompileError(
                        f"rule {rule.__name__} changed {node.type} to {after.type}: {node!r} -> {after!r}"
                    )
                record(Rewrite((rule.__doc__ or rule.__name__).split("\n")[0], node, after))
                node = after
                break
            else:
                return node
        raise CompileError(f"simplification of {format_expr(node)} does not come to an end")

    for node in toposort(outputs):
        if node in made:
            continue
        made[node] = rewritten(with_args(node, [made[a] for a in node.args]))
    return [made[o] for o in outputs]

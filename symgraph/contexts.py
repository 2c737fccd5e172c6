"""Which nodes are needed in one branch of a choice only.

A choice is a `switch`, one branch for all, or a `where`, element by element. A node belongs to the innermost branch
that holds all of its uses. What belongs to a branch of a `switch` need not be computed where another branch is taken;
and a gradient that leaves a branch counts only where the branch is taken, whatever it is (0 times infinity is nan).

The branch of a `where` holds elementwise operations in the shape of its result alone: of those each element belongs to
one side. Choices by the same condition have their branches in common.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from symgraph.op import Op
from symgraph.ops import array as ar, control as ct, elementwise as ew

if TYPE_CHECKING:
    from symgraph.expr import Expr


def can_fail(node: Expr) -> bool:
    """Whether computing a node may raise an error, or never end: what writes and reads at an index, integer powers,
    loops, and choices by a number."""
    return node.op.kind in ("gather", "scatter", "control", "part") or node.op is ew.power


Parts = tuple[Op | None, Sequence[Any], Any]
"""What a value was computed by, from what, and its shape."""


def _parts(node: Expr) -> Parts:
    return node.op, node.args, node.type.shape


class Branch:
    """One side of choices by one condition; None stands for what is outside of all choices.

    Attributes:
        parent: the branch that these choices are in.
        choice: one of them.
        number: which side, as the position among the choice's arguments.
        elementwise: whether elements are chosen one by one.
        condition: what the choice is made by.
    """

    __slots__ = ("choice", "condition", "depth", "elementwise", "number", "parent", "shape", "sides")

    def __init__(self, parent: Branch | None, choice: Any, number: int, parts: Callable[[Any], Parts] = _parts) -> None:
        op, args, self.shape = parts(choice)
        self.parent, self.choice, self.number = parent, choice, number
        self.elementwise, self.condition, self.sides = op is ew.where, args[0], len(args) - 1
        self.depth: int = 1 if parent is None else parent.depth + 1

    def holds(self, op: Op | None, shape: Any) -> bool:
        """Whether a value with no other uses belongs to the branch."""
        return not self.elementwise or (op is not None and op.kind == "elementwise" and shape == self.shape)

    def masked(self, value: Any, like: Any) -> Any:
        """The value where the branch is taken, else 0; it has the shape of `like`, which is there in any case."""
        if self.elementwise:
            return ew.where(self.condition, *((value, 0.0) if self.number == 1 else (0.0, value)))
        none = ar.full_like(like, fill=0)
        return ct.switch(self.condition, *(value if k == self.number else none for k in range(1, self.sides + 1)))


def _common(a: Branch | None, b: Branch | None) -> Branch | None:
    """The innermost branch around both."""
    while a is not b:
        if b is None or (a is not None and a.depth >= b.depth):
            assert a is not None
            a = a.parent
        else:
            b = b.parent
    return a


def branches_of(
    order: Sequence[Any],
    outside: Iterable[Any],
    *,
    elementwise: bool = True,
    parts: Callable[[Any], Parts] = _parts,
) -> Mapping[Any, Branch | None]:
    """The branch that each node belongs to; nodes that are not there belong to none.

    Args:
        order: nodes, arguments before users.
        outside: nodes that are needed whatever is chosen.
        elementwise: look into `where` as well.
        parts: what a node was computed by.
    """
    choices = (ct.switch, ew.where) if elementwise else (ct.switch,)
    if not any(parts(node)[0] in choices for node in order):
        return {}
    found: dict[Any, Branch | None] = dict.fromkeys(outside)
    fixed = set(found)
    made: dict[Any, Branch] = {}

    def use(node: Any, where: Branch | None) -> None:
        if node in fixed:
            return
        found[node] = _common(found[node], where) if node in found else where

    for node in reversed(order):
        if node not in found:
            continue
        op, args, shape = parts(node)
        own = found[node]
        while own is not None and not own.holds(op, shape):
            own = own.parent
        found[node] = own
        if op not in choices:
            for arg in args:
                use(arg, own)
            continue
        use(args[0], own)
        for number, arg in enumerate(args[1:], 1):
            key = (own, args[0], number, len(args), shape if op is ew.where else None)
            if key not in made:
                made[key] = Branch(own, node, number, parts)
            use(arg, made[key])
    for node in order:
        op, args, _ = parts(node)
        if op is ct.item and node in found:  # it is part of a node, and lies where that does
            found[node] = found[args[0]]
    return found


def leaving(value: Any, at: Branch | None, arg: Any, inner: Branch | None, fit: Callable[[Any, Any], Any]) -> Any:
    """A cotangent on its way out of a branch to an argument: 0 where one of the branches that it leaves is not taken.

    Args:
        value: the cotangent.
        at: the branch that it comes from.
        arg: what it goes to.
        inner: the branch that this belongs to.
        fit: brings a cotangent into the shape of a value.
    """
    depth = 0 if inner is None else inner.depth
    while at is not None and at.depth > depth:
        if not at.elementwise:  # the zeros must not be made from what only this branch computes
            value = fit(value, arg)
        value = at.masked(value, arg)
        at = at.parent
    return value

"""Which nodes are needed in one branch of a choice only.

A choice is a `switch`, one branch for all, or a `where`, element by element. A node belongs to the innermost branch
that holds all of its uses. What belongs to a branch of a `switch` need not be computed where another branch is taken;
and a gradient that leaves a branch counts only where the branch is taken, whatever it is (0 times infinity is nan).

The branch of a `where` holds elementwise operations in the shape of its result alone: of those each element belongs to
one side. Choices by the same condition have their branches in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from symgraph.expr import Expr
from symgraph.ops import array as ar, control as ct, elementwise as ew


def can_fail(node: Expr) -> bool:
    """Whether computing a node may raise an error, or never end: what writes and reads at an index, integer powers,
    loops, and choices by a number."""
    return node.op.kind in ("gather", "scatter", "control", "part") or node.op is ew.power


class Branch:
    """One side of choices by one condition; None stands for what is outside of all choices.

    Attributes:
        parent: the branch that these choices are in.
        choice: one of them.
        number: which side, as the position among the choice's arguments.
    """

    __slots__ = ("choice", "depth", "number", "parent")

    def __init__(self, parent: Branch | None, choice: Expr, number: int) -> None:
        self.parent, self.choice, self.number = parent, choice, number
        self.depth: int = 1 if parent is None else parent.depth + 1

    @property
    def elementwise(self) -> bool:
        """Whether elements are chosen one by one."""
        return self.choice.op is ew.where

    def holds(self, node: Expr) -> bool:
        """Whether a node with no other uses belongs to the branch."""
        if not self.elementwise:
            return True
        return node.op.kind == "elementwise" and node.type.shape == self.choice.type.shape

    def masked(self, value: Any, like: Expr) -> Any:
        """The value where the branch is taken, else 0; it has the shape of `like`, which is there in any case."""
        condition = self.choice.args[0]
        if self.elementwise:
            return ew.where(condition, value, 0.0) if self.number == 1 else ew.where(condition, 0.0, value)
        none = ar.full_like(like, fill=0)
        count = len(self.choice.args)
        return ct.switch(condition, *(value if k == self.number else none for k in range(1, count)))


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
    order: Sequence[Expr], outside: Iterable[Expr], *, elementwise: bool = True
) -> Mapping[Expr, Branch | None]:
    """The branch that each node belongs to; nodes that are not there belong to none.

    Args:
        order: nodes, arguments before users.
        outside: nodes that are needed whatever is chosen.
        elementwise: look into `where` as well.
    """
    choices = (ct.switch, ew.where) if elementwise else (ct.switch,)
    if not any(node.op in choices for node in order):
        return {}
    found: dict[Expr, Branch | None] = dict.fromkeys(outside)
    fixed = set(found)
    made: dict[Any, Branch] = {}

    def use(node: Expr, where: Branch | None) -> None:
        if node in fixed:
            return
        found[node] = _common(found[node], where) if node in found else where

    for node in reversed(order):
        if node not in found:
            continue
        own = found[node]
        while own is not None and not own.holds(node):
            own = own.parent
        found[node] = own
        if node.op not in choices:
            for arg in node.args:
                use(arg, own)
            continue
        condition = node.args[0]
        use(condition, own)
        for number, arg in enumerate(node.args[1:], 1):
            shape = node.type.shape if node.op is ew.where else None
            key = (own, condition, number, len(node.args), shape)
            if key not in made:
                made[key] = Branch(own, node, number)
            use(arg, made[key])
    for node in order:
        if node.op is ct.item and node in found:  # it is part of a node, and lies where that does
            found[node] = found[node.args[0]]
    return found

"""L-BFGS: steps by an inverse Hessian that is known by its action alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph import functions as fn, tree
from symgraph.ops import array as ar, elementwise as ew, reduction as rd
from symgraph.optim.rules import Optimiser, in_dtype, inner, total


@dataclasses.dataclass(frozen=True)
class LBFGS(Optimiser):
    """Steps by an inverse Hessian that the last `history` pairs of moves and changes of gradients describe.

    For full batches: the gradients must be those of one function. The first step is lr * g / max(1, sum(abs(g))). Pairs
    of a move along which the gradient does not grow are left out. There is no line search.

    Source: Nocedal and Wright, "Numerical optimization", 2nd ed. (2006), algorithm 7.4.

    >>> import numpy as np, symgraph as sg
    >>> opt, p = sg.optim.LBFGS(), np.array([3.0, -2.0])
    >>> state = opt.init(p)
    >>> for _ in range(20):
    ...     p, state = opt.update(p, np.array([2.0, 20.0]) * (p - 1), state)  # of (p0 - 1)**2 + 10 (p1 - 1)**2
    >>> bool(np.allclose(p, 1))
    True
    """

    lr: Any = 1.0
    history: int = 10

    def __post_init__(self) -> None:
        if self.history < 1:
            raise ValueError(f"LBFGS: history is at least 1, got {self.history}")

    def init(self, params: Any) -> Any:
        def several(p: Any) -> Any:
            return fn.stack([ar.full_like(p, fill=0)] * self.history)

        def zeros() -> Any:
            return tree.map(lambda p: ar.full_like(p, fill=0), params)

        return {
            "step": np.zeros((), np.int64),
            "params": zeros(),
            "grads": zeros(),
            "moves": tree.map(several, params),
            "changes": tree.map(several, params),
        }

    def update(self, params: Any, grads: Any, state: Any) -> tuple[Any, Any]:
        count = state["step"]
        first = ew.equal(count, 0)
        grads = tree.map(self._decayed, params, grads)
        p, structure = tree.flatten(params)
        g, before, slopes, moves, changes = (
            tree.flatten(t)[0] for t in (grads, state["params"], state["grads"], state["moves"], state["changes"])
        )
        # At the first step nothing is known of a step before: its pair stays zero, which changes nothing.
        s = [ew.where(first, 0.0, a - b) for a, b in zip(p, before, strict=True)]
        y = [ew.where(first, 0.0, a - b) for a, b in zip(g, slopes, strict=True)]
        grown = ew.greater(inner(s, y), 1e-10 * inner(y, y))
        moves = [_pushed(old, new, grown) for old, new in zip(moves, s, strict=True)]
        changes = [_pushed(old, new, grown) for old, new in zip(changes, y, strict=True)]
        direction = self._direction(g, moves, changes)
        size = total(rd.sum(ew.abs(a), axis=None, keepdims=False) for a in g)
        lr = self.lr(count) if callable(self.lr) else self.lr
        scale = lr * ew.where(first, 1.0 / ew.maximum(size, 1.0), 1.0)
        moved = [a - in_dtype(scale, a) * d for a, d in zip(p, direction, strict=True)]

        def together(values: Sequence[Any]) -> Any:
            return tree.unflatten(structure, iter(values))

        held = {"params": params, "grads": grads, "moves": together(moves), "changes": together(changes)}
        return together(moved), {"step": count + 1, **held}

    def _direction(self, g: list[Any], moves: list[Any], changes: list[Any]) -> list[Any]:
        """The inverse Hessian times the gradient, by the two loops."""
        pairs = [([a[k] for a in moves], [a[k] for a in changes]) for k in range(self.history)]
        products = [inner(s, y) for s, y in pairs]
        rho = [_quotient(1.0, sy) for sy in products]
        q, alphas = g, []
        for (s, y), r in zip(reversed(pairs), reversed(rho), strict=True):
            alpha = r * inner(s, q)
            alphas.append(alpha)
            q = [a - in_dtype(alpha, a) * b for a, b in zip(q, y, strict=True)]
        last = products[-1]
        gamma = ew.where(ew.greater(last, 0), _quotient(last, inner(pairs[-1][1], pairs[-1][1])), 1.0)
        q = [in_dtype(gamma, a) * a for a in q]
        for (s, y), r, alpha in zip(pairs, rho, reversed(alphas), strict=True):
            by = alpha - r * inner(y, q)
            q = [a + in_dtype(by, a) * b for a, b in zip(q, s, strict=True)]
        return q


def _quotient(a: Any, b: Any) -> Any:
    """a / b, and 0 where b is 0: a pair of zeros has no part in anything."""
    empty = ew.equal(b, 0)
    return ew.where(empty, 0.0, a / ew.where(empty, 1.0, b))


def _pushed(held: Any, new: Any, wanted: Any) -> Any:
    """The last values with a new one behind, if it is wanted."""
    kept = ar.getitem(held, index=(ar.Slice(1, None, 1),))
    return ew.where(wanted, ar.concatenate(kept, ar.expand_dims(new, axis=(0,)), axis=0), held)

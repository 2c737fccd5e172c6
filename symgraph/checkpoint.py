"""Gradients of long loops with little memory: of the states only some are kept, the others are computed again.

The rounds are cut into segments. An outer loop runs the segments and keeps the states in which they start; its gradient
runs each segment again, keeping all states of that one alone. With segments of lengths 1, 2, 3, ... about the square
root of twice as many states are kept as there are rounds, whatever their number turns out to be.

Source: Griewank and Walther, "Evaluating Derivatives", 2nd ed., chapter 12 (checkpointing).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from symgraph import control as cl
from symgraph.expr import Body, Expr, as_expr, bound, intern, rebuild, toposort
from symgraph.ops import array as ar, control as ct, elementwise as ew, reduction as rd


def checkpointed(node: Expr, bars: Mapping[int, Expr], leads: Collection[Expr]) -> list[Expr | None]:
    """The cotangents of a loop's arguments, from those of its items."""
    from symgraph.grad import pullback

    # Symbols stand for what goes into the loop while it is differentiated, for that may depend on one another.
    names = (f"v{k}{_beyond(node)}" for k in itertools.count())
    stand = {a: bound(next(names), a.type) for a in dict.fromkeys([*node.args, *bars.values()])}
    apart = intern(node.op, tuple(stand[a] for a in node.args), node.parts, node.type)
    cotangents = {k: stand[bar] for k, bar in bars.items()}
    states, weighed = in_segments(apart, cotangents)
    outputs = [(states[k], bar) for k, bar in cotangents.items() if k < len(states)]
    if weighed is not None:
        outputs.append((weighed, as_expr(ar.full_like(weighed, fill=1))))
    targets = [a for a in dict.fromkeys(node.args) if a in leads]
    found = pullback([o for o, _ in outputs], [b for _, b in outputs], [stand[a] for a in targets])
    back = rebuild(found, {symbol: a for a, symbol in stand.items()})
    by_target = dict(zip(targets, back, strict=True))
    return [by_target.pop(a, None) for a in node.args]  # an argument given twice has one cotangent


def in_segments(node: Expr, bars: Mapping[int, Expr]) -> tuple[list[Expr], Expr | None]:
    """The last state of a loop by a loop over segments; and what it gathers, weighed by its cotangents and summed."""
    params = node.params
    body: Body = params["body"]
    given = ct.split(node.args, params)
    count = params["states"]
    weights = {k - count: bar for k, bar in bars.items() if k >= count}
    trips = _trips(node)
    length = params["checkpoint"]
    start: list[Any] = [*given.states]
    if weights:
        start.append(0.0)

    def parameters(at: Any, state: Sequence[Any]) -> list[Any]:
        place = at if not params["reverse"] else trips - 1 - at
        return [place, *state[:count], *(ar.take(x, place, axis=0) for x in given.xs), *given.outside]

    def one(at: Any, state: Sequence[Any]) -> list[Any]:
        inner = parameters(at, state)
        outputs = body.of(*map(as_expr, inner))
        after: list[Any] = outputs[:count]
        if weights:
            total = state[count]
            for k, bar in weights.items():
                total = total + rd.sum(outputs[count + k] * ar.take(bar, inner[0], axis=0), axis=None, keepdims=False)
            after.append(total)
        return after

    def more(at: Any, state: Sequence[Any]) -> Any:
        if params["cond"] is None:
            return ew.less(at, trips)
        return params["cond"].of(*map(as_expr, parameters(at, state)))[0]

    def segment(number: Any, state: Sequence[Any]) -> list[Any]:
        done, *rest = state
        rounds = number + 1 if length == "sqrt" else length
        fixed = params["cond"] is None
        items = cl.loop(
            trips=ct.GIVEN if fixed else ct.WHILE,
            count=ew.minimum(rounds, trips - done) if fixed else None,
            cond=None if fixed else lambda s: ew.logical_and(ew.less(s[0], rounds), more(done + s[0], s[1:])),
            body=lambda at, s, _: ([s[0] + 1, *one(done + s[0], s[1:])], []),
            init=[0, *rest],
            xs=(),
        )
        return [done + items[0], *items[1:-1]]

    with cl.deeper(_free(node)):
        items = cl.loop(
            trips=ct.WHILE,
            count=None,
            cond=lambda s: more(s[0], s[1:]),
            body=lambda number, s, _: (segment(number, s), []),
            init=[0, *start],
            xs=(),
        )
    found = items[1:-1]
    return found[:count], found[count] if weights else None


def _trips(node: Expr) -> Any:
    """How often a loop runs, as a value; None where only its condition tells."""
    params = node.params
    if params["trips"] == ct.GIVEN:
        return node.args[0]
    if params["trips"] == ct.WHILE:
        return None
    if params["length"] is None:
        return ar.size(ct.split(node.args, params).xs[0], axis=0)
    if isinstance(params["length"], int):
        return params["length"]
    return ar.size(ar.broadcast_to(as_expr(0.0), shape=(params["length"],)), axis=0)


def _free(node: Expr) -> set[str]:
    """The names of parameters of bodies around the loop."""
    return {n.parts[0][1] for n in toposort(node.args) if n.op is ar.bound}


def _beyond(node: Expr) -> str:
    """What makes a name differ from those."""
    return cl.PRIME * (1 + max((name.count(cl.PRIME) for name in _free(node)), default=0))

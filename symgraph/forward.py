"""Forward-mode differentiation, where a formula is elementwise in one symbol: one walk along the rows' rules."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence

from symgraph import origin
from symgraph.expr import Body, Expr, as_expr, bound, toposort
from symgraph.grad import differentiable, fitted, leading, without_ones
from symgraph.interning import collection_paused
from symgraph.ops import array as ar, control as ct, elementwise as ew


@collection_paused()
def slope(outputs: Sequence[Expr], x: Expr) -> Expr | None:
    """The derivative of the sum of elementwise functions of one symbol.

    An elementwise rule gives the cotangent of an argument as the partial derivative times the cotangent of the result;
    element by element the same product carries a tangent forward. A value and its tangent are then used close to each
    other, where the backward walk would come back to all values at the end; and a loop keeps none of its states.

    Returns:
        Expr | None: None where an output depends on something else, or on more than the same element of `x`.

    Source: Griewank and Walther, "Evaluating Derivatives", 2nd ed., chapter 3 (forward mode).
    """
    with origin.derived_from(order=1 + max((origin.order_of(o.marks) for o in outputs), default=0)) as derived:
        tangents = _carried(outputs, {x: as_expr(ar.full_like(x, fill=1))}, x, (), derived)
        found = [] if tangents is None else [tangents[o] for o in outputs if o in tangents]
        if not found:
            return None
        total = found[0]
        for part in found[1:]:
            total = as_expr(ew.add(total, part))
        return fitted(total, x)


def _carried(
    outputs: Sequence[Expr],
    given: Mapping[Expr, Expr],
    x: Expr,
    leaves: Collection[Expr],
    derived: origin.derived_from,
) -> dict[Expr, Expr] | None:
    """The tangents of all nodes that have one, from those that are given; `leaves` are what a body takes."""
    tangents = dict(given)
    loops: dict[Expr, dict[int, Expr]] = {}
    for node in toposort(outputs):
        if node in tangents or node in leaves or node.op is ar.constant:
            continue
        derived.follow(node.marks)
        if node.op is ct.loop:
            found = _along_loop(node, tangents, x, derived)
            if found is None:
                return None
            loops[node] = found
            continue
        if node.op is ct.item and node.args[0] in loops:
            (loop,), index = node.args, node.params["index"]
            if loops[loop] and index >= loop.params["states"]:
                return None  # what is gathered, or counted
            total = loops[loop].get(index)
        elif node.op.kind == "elementwise" and all(a.op is not ar.constant or not a.type.shape for a in node.args):
            moving = [i for i, arg in enumerate(node.args) if arg in tangents]
            if moving and node.op is ew.cast:
                return None
            params, total = node.params, None
            for i in moving:
                part = node.op.vjp(i, tangents[node.args[i]], node, node.args, params)
                if part is not None:
                    part = without_ones(part)
                    total = part if total is None else ew.add(total, part)
        else:
            return None
        if total is not None:
            if node.type.shape != x.type.shape:
                return None
            tangents[node] = as_expr(total)
    return tangents


def _along_loop(
    node: Expr, tangents: Mapping[Expr, Expr], x: Expr, derived: origin.derived_from
) -> dict[int, Expr] | None:
    """The tangents of a loop's last states, by their numbers: those of a loop whose state holds tangents as well.

    What the two loops have in common becomes one when loops are joined.
    """
    params = node.params
    body: Body = params["body"]
    count = params["states"]
    given = ct.split(node.args, params)
    at, *rest = body.parameters
    states, parts, outside = rest[:count], rest[count : count + params["xs"]], rest[count + params["xs"] :]
    if any(a in tangents for a in given.xs) or (given.trips is not None and given.trips in tangents):
        return None
    outer = dict(zip(rest, (*given.states, *given.xs, *given.outside), strict=True))
    after = body.outputs[:count]
    order = toposort(after)
    active = {p for p in rest if outer[p] in tangents}
    while True:
        reached = leading(order, list(active))
        more = {s for s, a in zip(states, after, strict=True) if a in reached and differentiable(s)} - active
        if not more:
            break
        active |= more
    carried = [k for k, s in enumerate(states) if s in active]
    if any(p.type.shape != x.type.shape for p in active):
        return None
    if not carried:
        return {}
    names = _names(body)
    inner = {p: bound(next(names), p.type) for p in rest if p in active}
    inner |= {p: as_expr(ar.full_like(p, fill=1)) for p in outside if outer[p] is x}
    found = _carried(after, inner, x, body.parameters, derived)
    if found is None:
        return None
    derived.follow(node.marks)
    moved = [found.get(after[k]) for k in carried]
    ends = [as_expr(ar.full_like(after[k], fill=0)) if t is None else t for k, t in zip(carried, moved, strict=True)]
    firsts = [tangents[given.states[k]] if given.states[k] in tangents else _zero(given.states[k]) for k in carried]
    through = [p for p in outside if p in active and outer[p] is not x]
    parameters = [
        at,
        *states,
        *(inner[states[k]] for k in carried),
        *parts,
        *outside,
        *(inner[p] for p in through),
    ]
    cond: Body | None = params["cond"]
    params |= {
        "states": count + len(carried),
        "body": Body(parameters, [*after, *ends]),
        "cond": None if cond is None else Body(parameters, cond.of(*body.parameters)),
    }
    whole = ct.loop(
        *([] if given.trips is None else [given.trips]),
        *given.states,
        *firsts,
        *given.xs,
        *given.outside,
        *(tangents[outer[p]] for p in through),
        **params,
    )
    return {k: as_expr(ct.item(whole, index=count + place)) for place, k in enumerate(carried)}


def _zero(x: Expr) -> Expr:
    return as_expr(ar.full_like(x, fill=0))


def _names(body: Body) -> Iterator[str]:
    taken = {p.parts[0][1] for p in body.parameters}
    return (name for name in map("t{}".format, itertools.count()) if name not in taken)

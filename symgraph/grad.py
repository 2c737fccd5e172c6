"""Reverse-mode differentiation: one backward walk over the rows' rules, giving more of the same language."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from symgraph import origin
from symgraph.contexts import Branch, branches_of, leaving
from symgraph.errors import GradientError
from symgraph.expr import Body, Expr, as_expr, bound, build, check_same_shape, rebuild, toposort, typed_placeholder
from symgraph.interning import collection_paused
from symgraph.op import NONE, Op, Params
from symgraph.ops import array as ar, control as ct, elementwise as ew
from symgraph.tree import LEAF, flatten, unflatten
from symgraph.types import ArrayType, Opaque, Shape
from symgraph.value import Value

SHORT = 4
"""Rows and columns of a product of matrices up to which a loop computes it again for its gradient."""


def grad(y: Expr, wrt: Any, cotangent: Any = None) -> Any:
    """The gradients of `y` with respect to each of `wrt`, as expressions of their shapes.

    Args:
        y: what is differentiated; where it is not a scalar, the gradient of the sum of its elements weighted by
            `cotangent` is taken.
        wrt: a symbol or a sequence of symbols, placeholders or inner nodes, for which a list of gradients is returned;
            or a tree of them (:mod:`symgraph.tree`), for which a tree of gradients is.
        cotangent: weights in the shape of `y`; ones by default.

    Raises:
        GradientError: a symbol of `wrt` or `y` is declared to hold integers or bools.

    >>> import symgraph as sg
    >>> x = sg.placeholder("x", shape=(), dtype="float64")
    >>> sg.compile(sg.grad(x**3, [x])[0])(x=2.0)
    np.float64(12.0)

    Source: Griewank and Walther, "Evaluating Derivatives", 2nd ed., chapter 3 (reverse mode).
    """
    symbols, structure = flatten([wrt] if isinstance(wrt, Value) else wrt)
    if structure is LEAF:  # some other sequence
        symbols, structure = flatten(list(wrt))
    targets = [getattr(w, "expr", w) for w in symbols]
    for target in targets:
        if not isinstance(target, Expr):
            raise GradientError(f"grad: wrt must be symbols, got {type(target).__name__}")
        check_differentiable(target)
    y = as_expr(y)
    if y.type.dtype is not None and y.type.dtype.kind not in "f":
        raise GradientError(f"grad: {y!r} is {y.type.dtype}; only floating-point values have gradients")
    seed = ar.full_like(y, fill=1) if cotangent is None else as_expr(cotangent)
    check_same_shape("grad: cotangent", seed.type, y.type)
    found = pullback([y], [seed], targets)
    listed = isinstance(structure, list | tuple) and all(part is LEAF for part in structure)
    return found if listed else unflatten(structure, iter(found))


def check_differentiable(target: Expr) -> None:
    """Raise GradientError for a symbol that is declared to hold integers or bools."""
    dtype = target.type.dtype
    if dtype is not None and dtype.kind not in "f":
        raise GradientError(
            f"grad: {target!r} is {dtype}, and integers and bools have no gradient; "
            f"declare it as floating point, or convert with .astype('float64') before differentiating"
        )


@collection_paused()
def pullback(outputs: Sequence[Expr], cotangents: Sequence[Expr], wrt: Sequence[Expr]) -> list[Expr]:
    """Carry cotangents of the outputs back to `wrt`; zeros where an output does not depend on one."""
    order = toposort(outputs)
    leads = leading(order, wrt)
    # Contributions wait in their own shapes: those of one shape are added before they are summed to their argument's.
    waiting: dict[Expr, list[Expr]] = {}
    items: dict[Expr, dict[int, Expr]] = {}  # cotangents of nodes with several values, by the number of the value
    for output, cotangent in zip(outputs, cotangents, strict=True):
        if output in leads:
            waiting.setdefault(output, []).append(cotangent)
    bars: dict[Expr, Expr] = {}
    targets = set(wrt)
    branches = branches_of(order, [*outputs, *wrt])
    with origin.derived_from(order=1 + max((origin.order_of(o.marks) for o in outputs), default=0)) as derived:
        for node in reversed(order):
            derived.follow(node.marks)
            if node in items:
                contributions: Sequence[Any] = loop_pullback(node, items.pop(node), leads)
            else:
                waited = waiting.pop(node, None)
                if waited is None:
                    continue
                bar = _collected(waited, node)
                if node in targets:
                    bars[node] = bar
                if node.op is ct.item:
                    items.setdefault(node.args[0], {})[node.params["index"]] = bar
                    continue
                if branches and node.op in (ew.where, ct.switch):  # what leaves the branch is masked, see below
                    contributions = [None, *(bar if a in leads else None for a in node.args[1:])]
                else:
                    params = node.params
                    contributions = [
                        node.op.vjp(i, bar, node, node.args, params) if arg in leads else None
                        for i, arg in enumerate(node.args)
                    ]
            for number, (arg, contribution) in enumerate(zip(node.args, contributions, strict=True)):
                if contribution is not None:
                    if branches:
                        at = branches.get(node)
                        if node.op in (ew.where, ct.switch):
                            at = Branch(at, node, number)  # what belongs to this very side does not leave it
                        contribution = leaving(as_expr(contribution), at, arg, branches.get(arg), fitted)
                    waiting.setdefault(arg, []).append(without_ones(as_expr(contribution)))
    return [bars[t] if t in bars else _zeros(t) for t in wrt]


def leading(order: Sequence[Expr], wrt: Sequence[Expr]) -> set[Expr]:
    """The nodes from which one of `wrt` can be reached by way of arguments that they are not flat in."""
    leads: set[Expr] = set(wrt)
    for node in order:
        if not leads.isdisjoint(node.args) and (node.op.grad != NONE or node.op is ct.item):
            leads.add(node)
    return leads


# -- loops -------------------------------------------------------------------------------------------------------------


def loop_pullback(node: Expr, bars: Mapping[int, Expr], leads: Collection[Expr]) -> list[Expr | None]:
    """The cotangents of a loop's arguments, from those of its items: a loop that runs the other way.

    The loop is run with its states gathered before each round; a round of the other loop computes again what it needs
    from them. What comes from outside is used in every round, so its cotangent is added up in the state.

    Source: Griewank and Walther, "Evaluating Derivatives", 2nd ed., chapter 4.
    """
    params = node.params
    if params["checkpoint"] != "all":
        from symgraph.checkpoint import checkpointed  # which differentiates loops without

        return checkpointed(node, bars, leads)
    body: Body = params["body"]
    count = params["states"]
    given = ct.split(node.args, params)
    at, *rest = body.parameters
    states, parts = rest[:count], rest[count : count + params["xs"]]
    outside = rest[count + params["xs"] :]
    after, gathered = body.outputs[:count], body.outputs[count:]
    outer = dict(zip(rest, (*given.states, *given.xs, *given.outside), strict=True))
    # Which parameters matter: those that lead to a target, and from which an item with a cotangent is computed.
    active = {p for p in rest if outer[p] in leads and differentiable(p)}
    wanted = {k for k in range(len(body.outputs)) if k in bars}
    while True:
        order = toposort(body.outputs)
        reached = leading(order, list(active))
        needed = set(toposort([body.outputs[k] for k in wanted]))
        more = {s for s, a in zip(states, after, strict=True) if a in reached and differentiable(s)} - active
        wider = {k for k, s in enumerate(states) if s in needed} - wanted
        if not more and not wider:
            break
        active |= more
        wanted |= wider
    carried = [k for k, s in enumerate(states) if s in active and k in wanted]
    flowing = [k for k in range(len(gathered)) if count + k in bars and gathered[k] in reached]
    if not carried and not flowing:
        return [None] * len(node.args)
    taken = {p._params[0][1] for p in body.parameters}
    fresh = (name for name in map("g{}".format, itertools.count()) if name not in taken)
    state_bars = [bound(next(fresh), states[k].type) for k in carried]
    row_bars = [bound(next(fresh), gathered[k].type) for k in flowing]
    sinks = [p for p in outside if p in active]
    sums = [bound(next(fresh), p.type) for p in sinks]
    sources = [p for p in parts if p in active]
    found = pullback(
        [*(after[k] for k in carried), *(gathered[k] for k in flowing)],
        [*state_bars, *row_bars],
        [*(states[k] for k in carried), *sinks, *sources],
    )
    state_outs, rest_outs = found[: len(carried)], found[len(carried) :]
    sum_outs = [as_expr(ew.add(s, g)) for s, g in zip(sums, rest_outs[: len(sinks)], strict=True)]
    x_outs = rest_outs[len(sinks) :]
    outputs = [*state_outs, *sum_outs, *x_outs]
    owners = branches_of(order, body.outputs, elementwise=False)  # what only a branch computes is not there otherwise
    products = _products(outputs, {n for n in order if owners.get(n) is None} - set(body.parameters))
    read = [bound(next(fresh), p.type) for p in products]
    outputs = rebuild(outputs, dict(zip(products, read, strict=True)))
    used = set(toposort(outputs))
    kept = [s for s in states if s in used]
    whole = taped(node, [*kept, *products])
    tape = [as_expr(ct.item(whole, index=len(body.outputs) + k)) for k in range(len(kept) + len(products))]
    xs = [p for p in parts if p in used]
    backward = Body(
        [at, *state_bars, *sums, *kept, *read, *xs, *row_bars, *(p for p in outside if p in used)],
        outputs,
    )
    run = params["trips"]
    length = params["length"]
    trips = [] if run == ct.SIZED else [ct.item(whole, index=len(body.outputs) + len(tape))]
    if run == ct.SIZED and length is None:
        length = ct.length_of([a.type for a in node.args], params)
    result = ct.loop(
        *trips,
        *(bars[k] if k in bars else _zeros(as_expr(ct.item(node, index=k))) for k in carried),
        *(_zeros(outer[p]) for p in sinks),
        *tape,
        *(outer[p] for p in xs),
        *(bars[count + k] for k in flowing),
        *(outer[p] for p in outside if p in used),
        trips=ct.SIZED if run == ct.SIZED else ct.GIVEN,
        length=length if not (tape or xs or flowing) else None,
        states=len(carried) + len(sums),
        xs=len(tape) + len(xs) + len(flowing),
        body=backward,
        cond=None,
        reverse=not params["reverse"],
        limit=None,
        checkpoint="all",
    )
    position = {p: k for k, p in enumerate([*(states[k] for k in carried), *sinks, *sources])}
    contributions: list[Expr | None] = [] if given.trips is None else [None]
    for p in rest:
        k = position.get(p)
        contributions.append(None if k is None or outer[p] not in leads else as_expr(ct.item(result, index=k)))
    return contributions


def differentiable(node: Expr) -> bool:
    """Whether a value may hold floating-point numbers."""
    return node.type.dtype is None or node.type.dtype.kind == "f"


def _products(outputs: Sequence[Expr], inside: Collection[Expr]) -> list[Expr]:
    """What a round of the other loop needs and would take long to compute again, or large arrays to compute from:
    products of matrices, elements taken by an index."""
    found: dict[Expr, None] = {}
    seen: set[Expr] = set(outputs)
    stack = list(outputs)[::-1]
    while stack:
        node = stack.pop()
        if node in inside and ((node.op.kind == "contraction" and not _is_short(node)) or node.op is ar.take):
            found[node] = None
            continue
        more = [a for a in dict.fromkeys(node.args) if a not in seen]
        seen.update(more)
        stack.extend(reversed(more))
    return list(found)


def _is_short(product: Expr) -> bool:
    """Whether a product has so few elements that it is soon computed again."""
    shape = product.type.shape
    return not isinstance(shape, Opaque) and all(isinstance(s, int) and s <= SHORT for s in shape)


def taped(node: Expr, values: Sequence[Expr]) -> Expr:
    """The loop, which gathers these values of its body as well, after what it gathers already."""
    params = node.params
    body: Body = params["body"]
    params["body"] = Body(body.parameters, [*body.outputs, *values])
    return build(ct.loop, node.args, params)


def _collected(contributions: Sequence[Expr], node: Expr) -> Expr:
    """The sum of cotangents in the shape of `node`: broadcasting is undone here, once, and nowhere else."""
    if len(contributions) == 1:
        return fitted(contributions[0], node)
    by_shape: dict[Shape | Opaque, Expr] = {}
    for contribution in contributions:
        shape = contribution.type.shape
        by_shape[shape] = ew.add(by_shape[shape], contribution) if shape in by_shape else contribution
    total: Expr | None = None
    for part in by_shape.values():
        own = fitted(part, node)
        total = own if total is None else ew.add(total, own)
    assert total is not None
    return total


def fitted(part: Expr, node: Expr) -> Expr:
    """A cotangent in the shape and the dtype of `node`, which most have already."""
    return part if part.type is node.type else as_expr(ar.unbroadcast(part, node))


def without_ones(product: Expr) -> Expr:
    """1 * x -> x, so that the seed of ones does not stay in the formula."""
    if product.op is ew.mul:
        for one, x in (product.args, product.args[::-1]):
            if _is_one(one) and ArrayType(x.type.dtype, x.type.shape, product.type.weak) is product.type:
                return x
    return product


def _is_one(x: Expr) -> bool:
    while x.op in (ar.broadcast_to, ar.reshape):
        (x,) = x.args
    if x.op is ar.constant:
        return not x.type.shape and bool(x.value == 1)
    return x.op is ar.full and x.params["fill"] == 1


def _zeros(target: Expr) -> Expr:
    if target.type.dtype is not None:
        return as_expr(ar.full_like(target, fill=0))
    # Its dtype will be that of the target where that is floating; integers have gradients of float64.
    return as_expr(ar.unbroadcast(ar.full_like(target, fill=0, dtype=np.float64), target))


def needed(op: Op, kinds: Sequence[ArrayType], result: ArrayType, params: Params) -> tuple[int, ...]:
    """Which arguments of an operation its gradient needs the values of, by position; -1: its result.

    >>> from symgraph.op import lookup
    >>> from symgraph.types import weak_scalar
    >>> number = weak_scalar("float64")
    >>> needed(lookup("mul"), [number, number], number, {}), needed(lookup("tanh"), [number], number, {})
    ((0, 1), (-1,))
    """
    args = [typed_placeholder(f"x{i}", kind) for i, kind in enumerate(kinds)]
    g, out = typed_placeholder("g", result), typed_placeholder("out", result)
    found: set[Expr] = set()
    for i, kind in enumerate(kinds):
        if kind.dtype is None or kind.dtype.kind == "f":
            gradient = op.vjp(i, g, out, args, params)
            found.update(_valued([] if gradient is None else [as_expr(gradient)]))
    return (*(i for i, arg in enumerate(args) if arg in found), *((-1,) if out in found else ()))


def _valued(outputs: Sequence[Expr]) -> set[Expr]:
    """The nodes whose values, not only their shapes, these depend on."""
    found: set[Expr] = set(outputs)
    for node in reversed(toposort(outputs)):
        if node in found:
            found.update(arg for i, arg in enumerate(node.args) if i not in node.op.shape_only)
    return found

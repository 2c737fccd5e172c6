"""Control: choices of which one is computed, and loops.

A choice (`switch`) is written as a node over the values of all its branches. What only one branch needs is not computed
where another is taken: which nodes these are follows from the graph (symgraph/contexts.py), so nothing has to be known
of them here, and gradients reach whatever a branch is made of. Compilers turn choices into `branch` nodes, whose
branches are bodies.

A loop is one node whose body is a graph of its own, over the state, the elements of what it runs over, and values from
outside. Its gradient is a loop that runs the other way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from symgraph import dims
from symgraph.dims import Size
from symgraph.errors import DTypeError, LoopError, OutOfBoundsError, ShapeError
from symgraph.op import NONE, Op, register
from symgraph.ops import array as ar, elementwise as ew
from symgraph.types import ArrayType, Opaque, Shape, TupleType, format_shape, weak_scalar

if TYPE_CHECKING:
    from symgraph.expr import Body, Expr

RUN = dims.atom("#trips", not_one=True)
"""The length of what a loop gathers whose number of rounds is known only when it has run."""

GIVEN, WHILE, SIZED = "given", "while", "sized"
"""How often a loop runs: as its first argument says, while a condition holds, or once per element of an axis."""

INDEX = weak_scalar(np.int64)
COUNT = ArrayType(np.dtype(np.int64), ())


Run = Callable[["Body", Sequence[Any]], Sequence[Any]]
"""What computes a body's outputs from arguments."""


# -- one of several values ---------------------------------------------------------------------------------------------

item: Op = register(
    Op(
        name="item",
        kind="part",
        impl=lambda values, *, index: values[index],
        grad=NONE,  # symgraph/grad.py gathers the cotangents of a node's items
        infer=lambda types, params: types[0].parts[params["index"]],  # type: ignore[attr-defined]
        lower="item",
        onnx="",
        domain=(),
    )
)
"""One of the values of a node that has several."""


# -- choices -----------------------------------------------------------------------------------------------------------


def common_type(types: Sequence[ArrayType]) -> ArrayType | None:
    """The type that all of these fit into: the promoted dtype, and the shape that is not (); None where there is none.

    Python numbers stay as weak as they are only where all types are the same. Of what is not known the dtype is not,
    nor the shape, if only single values are known beside it.
    """
    first = types[0]
    if all(t is first for t in types):
        return first
    shape: Shape = ()
    for other in dict.fromkeys(t.shape for t in types):
        if isinstance(other, Opaque) or other == ():
            continue
        together = _agreed(shape, other) if shape else other
        if together is None:
            return None
        shape = together
    unknown = [t.shape for t in types if isinstance(t.shape, Opaque)]
    shapes = [t.shape for t in types]
    found: Shape | Opaque = shape
    if unknown and not shape:
        found = shapes[0] if all(s == shapes[0] for s in shapes) else Opaque(frozenset({("common", *shapes)}))
    if any(t.dtype is None for t in types):
        return ArrayType(None, found)
    specs: list[Any] = [_WEAK.get(t.dtype.kind, t.dtype) if t.weak else t.dtype for t in types]  # type: ignore[union-attr]
    try:
        dtype = np.result_type(*(spec() if isinstance(spec, type) else spec for spec in specs))
    except TypeError:
        return None
    return ArrayType(dtype, found)


def _agreed(a: Shape, b: Shape) -> Shape | None:
    """The shape of values whose shapes must be equal, or None where they cannot be."""
    sizes = [dims.agreed(x, y) for x, y in zip(a, b, strict=True)] if len(a) == len(b) else [None]
    return None if None in sizes else tuple(sizes)  # type: ignore[arg-type]


_WEAK: dict[str, Any] = {"i": int, "f": float}


def fit(x: Any, kind: ArrayType) -> Any:
    """A value in a type that it fits into; sizes that are to be equal wait for the call, which shows what they are."""
    given = ar.type_of(x)
    if given is kind or not kind.known:
        return x
    if given.dtype != kind.dtype or given.weak:
        x = ew.cast(x, dtype=kind.dtype.str)  # type: ignore[union-attr]
    return x if given.shape == kind.shape or _waits(given, kind) else ar.broadcast_to(x, shape=kind.shape)


def _waits(given: ArrayType, kind: ArrayType) -> bool:
    """Whether sizes differ that the call may show to be equal."""
    if isinstance(given.shape, Opaque) or isinstance(kind.shape, Opaque):
        return True
    return given.shape != () and not all(map(dims.settled, (*given.shape, *kind.shape)))


def _fits(given: ArrayType, kind: ArrayType) -> bool:
    """Whether a value has a type, as far as is known."""
    same = (given.dtype, given.weak) == (kind.dtype, kind.weak)
    return not given.known or not kind.known or (same and (given.shape == kind.shape or _waits(given, kind)))


def _check_index(kind: ArrayType) -> None:
    if not isinstance(kind.shape, Opaque) and kind.shape != ():
        raise ShapeError(
            f"a condition decides once: it must be a single value, got shape {format_shape(kind.shape)}; "
            f"choose element by element with np.where(condition, x, y)"
        )
    if kind.dtype is not None and kind.dtype.kind not in "biu":
        raise DTypeError(f"which branch is taken is told by a bool or an integer, got {kind.dtype}")


def _infer_switch(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
    index, *branches = types
    _check_index(index)
    found = common_type(branches)
    if found is None:
        given = ", ".join(map(str, branches))
        wrong = ShapeError if len({t.shape for t in branches}) > 1 else DTypeError
        raise wrong(f"the branches of a condition give values of one type, got {given}")
    return found


def _expand_switch(index: Any, *branches: Any) -> Any:
    kinds = [ar.type_of(b) for b in branches]
    found = common_type(kinds)
    if found is None or not found.known:
        return None
    fitted = [fit(b, found) for b in branches]
    return None if all(a is b for a, b in zip(fitted, branches, strict=True)) else switch(index, *fitted)


def _run_switch(index: Any, *branches: Any) -> Any:
    return branches[checked_choice(index, len(branches))]


def checked_choice(index: Any, count: int) -> int:
    """The number of the branch to take.

    Raises:
        OutOfBoundsError: there is no such branch.
    """
    number = int(index)
    if not 0 <= number < count:
        raise OutOfBoundsError(f"switch: {number} is not the number of a branch: they are 0 to {count - 1}")
    return number


def _grad_switch(i: int, g: Any, out: Any, index: Any, *branches: Any) -> Any:
    if i == 0:
        return None
    none = ar.full_like(g, fill=0)
    return switch(index, *(g if k == i - 1 else none for k in range(len(branches))))


switch: Op = register(
    Op(
        name="switch",
        kind="control",
        impl=_run_switch,
        grad=_grad_switch,
        infer=_infer_switch,
        lower="switch",
        onnx="If",
        domain=(),
        expand=_expand_switch,
    )
)
"""The value of the branch that the first argument numbers (a bool: 0 or 1); the others are not computed for it."""


def _infer_branch(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
    _check_index(types[0])
    params["bodies"] = tuple(body.typed(types[1:]) for body in params["bodies"])
    return TupleType(tuple(o.type for o in params["bodies"][0].outputs))


def run_branch(run: Run, args: Sequence[Any], params: dict[str, Any]) -> tuple[Any, ...]:
    """What the branch that the first argument numbers gives for the others."""
    index, *values = args
    return tuple(run(params["bodies"][checked_choice(index, len(params["bodies"]))], values))


def _by_rows(body: Body, values: Sequence[Any]) -> Sequence[Any]:
    from symgraph.evaluate import evaluate

    return evaluate(body.outputs, dict(zip(body.parameters, values, strict=True)))


branch: Op = register(
    Op(
        name="branch",
        kind="control",
        impl=lambda *args, **params: run_branch(_by_rows, args, params),
        grad=NONE,  # made of switches after differentiation
        infer=_infer_branch,
        lower="branch",
        onnx="If",
        domain=(),
    )
)
"""What one of several bodies gives for the arguments after the first; the first numbers it."""


# -- loops -------------------------------------------------------------------------------------------------------------


class Split(NamedTuple):
    """The arguments of a loop, or their types, by what they are for."""

    trips: Any
    states: tuple[Any, ...]
    xs: tuple[Any, ...]
    outside: tuple[Any, ...]


def split(args: Sequence[Any], params: dict[str, Any]) -> Split:
    """The arguments of a loop by what they are for: how often it runs (None where no argument says it), the first
    state, what it runs over, and what its body takes from outside."""
    start = int(params["trips"] == GIVEN)
    middle = start + params["states"]
    end = middle + params["xs"]
    return Split(args[0] if start else None, tuple(args[start:middle]), tuple(args[middle:end]), tuple(args[end:]))


def part_of(kind: ArrayType) -> ArrayType:
    """The type of an element along the first axis."""
    if isinstance(kind.shape, Opaque):
        return ArrayType(kind.dtype, Opaque(frozenset({("element", kind.shape)})))
    if not kind.shape:
        raise ShapeError("scan: what a loop runs over needs an axis, got a single value")
    return ArrayType(kind.dtype, kind.shape[1:])


def stack_of(length: Size | None, kind: ArrayType) -> ArrayType:
    """The type of `length` such values along a first axis."""
    if isinstance(kind.shape, Opaque) or length is None:
        return ArrayType(kind.dtype, Opaque(frozenset({("stack", kind.shape, length)})))
    return ArrayType(kind.dtype, (length, *kind.shape))


def parameter_types(types: Sequence[ArrayType], params: dict[str, Any]) -> list[ArrayType]:
    """The types of a body's parameters: the round, the state, the elements, and what comes from outside.

    A state has the type that fits its first value and its value after any round.
    """
    given, body, count = split(types, params), params["body"], params["states"]
    found = [INDEX, *given.states, *map(part_of, given.xs), *given.outside]
    if not all(t.known for t in types):
        found[1 : 1 + count] = map(_still_open, given.states, body.parameters[1:])
    while True:
        states = found[1 : 1 + count]
        after = [o.type for o in body.typed(found).outputs[:count]]
        grown = [_grown(k, *pair, body) for k, pair in enumerate(zip(states, after, strict=True))]
        if grown == states:
            return found
        found[1 : 1 + count] = grown


def _still_open(given: ArrayType, parameter: Expr) -> ArrayType:
    """The type of a first value, with what was not known of the state."""
    before = parameter.type
    shape = before.shape if _is_open(before.shape) else given.shape
    if before.dtype is None or shape is not given.shape:
        return ArrayType(None if before.dtype is None else given.dtype, shape)
    return given


def _grown(k: int, state: ArrayType, after: ArrayType, body: Body) -> ArrayType:
    """The type of the state numbered k that its value after a round has as well."""
    found = common_type((state, after))
    if found is None:
        return state  # the types tell what is wrong
    if not isinstance(found.shape, Opaque) or found.shape == state.shape:
        return found
    # Which shape it grows into depends on the whole body: no other value is known to have it.
    shape = state.shape if _is_open(state.shape) else Opaque(frozenset({(_STATE, k, body)}))
    return ArrayType(found.dtype, shape)


_STATE = "state"


def _is_open(shape: Shape | Opaque) -> bool:
    return isinstance(shape, Opaque) and any(isinstance(p, tuple) and p[0] == _STATE for p in shape.parts)


def length_of(types: Sequence[ArrayType], params: dict[str, Any]) -> Size | None:
    """The length of what a loop gathers; None where it is not known yet."""
    if params["trips"] != SIZED:
        return RUN
    if params["length"] is not None:
        found: Size = params["length"]
        return found
    xs: tuple[ArrayType, ...] = split(types, params).xs
    for kind in xs:
        if not isinstance(kind.shape, Opaque) and kind.shape:
            return kind.shape[0]
    return None


def _infer_loop(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
    given, inner = split(types, params), parameter_types(types, params)
    body = params["body"] = params["body"].typed(inner)
    if params["cond"] is not None:
        cond = params["cond"] = params["cond"].typed(inner)
        (holds,) = cond.outputs
        _check_index(holds.type)
    if given.trips is not None:
        _check_trips(given.trips)
    states, after = inner[1 : 1 + params["states"]], [o.type for o in body.outputs]
    for before, state, then, parameter in zip(given.states, states, after, body.parameters[1:], strict=False):
        if not (_fits(before, state) and _fits(then, state)):
            raise (ShapeError if before.shape != then.shape else DTypeError)(
                f"the state of a loop keeps its type, but {parameter!r} is {before} before a round and {then} after it"
            )
    length = length_of(types, params)
    for kind in given.xs:
        if length is None or isinstance(kind.shape, Opaque):
            continue
        if dims.agreed(kind.shape[0], length) is None:
            raise ShapeError(f"scan: a loop of {length} rounds runs over an axis of {kind.shape[0]}")
    gathered = [stack_of(length, kind) for kind in after[params["states"] :]]
    return TupleType((*states, *gathered, COUNT))


def _check_trips(kind: ArrayType) -> None:
    if not isinstance(kind.shape, Opaque) and kind.shape != ():
        raise ShapeError(f"how often a loop runs is a single integer, got shape {format_shape(kind.shape)}")
    if kind.dtype is not None and kind.dtype.kind not in "iu":
        raise DTypeError(f"how often a loop runs is an integer, got {kind.dtype}")


def _expand_loop(*args: Any, **params: Any) -> Any:
    """States in the types that they have after any number of rounds."""
    from symgraph.expr import Body, build

    types = [ar.type_of(a) for a in args]
    body, count = params["body"], params["states"]
    given = split(args, params)
    inner = parameter_types(types, params)
    states, typed = inner[1 : 1 + count], body.typed(inner)
    if any(common_type(pair) is None for pair in zip(states, (o.type for o in typed.outputs), strict=False)):
        return None  # the types tell what is wrong
    fitted = [fit(o, kind) for o, kind in zip(typed.outputs, states, strict=False)]
    firsts = [fit(s, kind) for s, kind in zip(given.states, states, strict=True)]
    if all(a is b for a, b in zip(fitted, typed.outputs, strict=False)) and all(
        a is b for a, b in zip(firsts, given.states, strict=True)
    ):
        return None
    params["body"] = Body(typed.parameters, [*fitted, *typed.outputs[count:]])
    lead = [] if given.trips is None else [given.trips]
    return build(loop, [*lead, *firsts, *given.xs, *given.outside], params)


def run_loop(run: Run, shape: Callable[[Shape], tuple[int, ...]], args: Sequence[Any], params: dict[str, Any]) -> Any:
    """What a loop gives: its last state, what it gathered, and how often it ran.

    Args:
        run: computes a body.
        shape: sizes as numbers.
        args: its arguments.
        params: its parameters.
    """
    given, body, cond, count = split(args, params), params["body"], params["cond"], params["states"]
    state, rows = list(given.states), []
    rounds = 0
    for i in _rounds(given, params, shape):
        parameters = [i, *state, *(x[i] for x in given.xs), *given.outside]
        if cond is not None and not run(cond, parameters)[0]:
            break
        if params["limit"] is not None and rounds >= params["limit"]:
            raise LoopError(f"a loop did not end within max_iterations={params['limit']} rounds")
        results = list(run(body, parameters))
        state = results[:count]
        rows.append(results[count:])
        rounds += 1
    if params["reverse"]:
        rows.reverse()
    if rows:
        gathered = [np.stack(column) for column in zip(*rows, strict=True)]
    elif all(out.type.known for out in body.outputs[count:]):
        gathered = [np.zeros((0, *shape(out.type.shape)), out.type.dtype) for out in body.outputs[count:]]
    else:  # a round over zeros tells what would be gathered
        zeros = [np.zeros(x.shape[1:], x.dtype)[()] for x in given.xs]
        flat = run(body, [0, *given.states, *zeros, *given.outside])[count:]
        gathered = [np.zeros((0, *np.shape(y)), np.asarray(y).dtype) for y in flat]
    return (*state, *gathered, np.int64(rounds))


def _rounds(given: Split, params: dict[str, Any], shape: Callable[[Shape], tuple[int, ...]]) -> Iterator[int]:
    if params["trips"] == WHILE:
        k = 0
        while True:
            yield k
            k += 1
    if params["trips"] == GIVEN:
        count = max(int(given.trips), 0)
    elif params["length"] is not None:
        (count,) = shape((params["length"],))
    else:
        count = len(given.xs[0])
    for x in given.xs:
        if len(x) != count:
            raise ShapeError(f"scan: a loop of {count} rounds runs over an axis of {len(x)}")
    yield from (reversed(range(count)) if params["reverse"] else range(count))


def _run(*args: Any, **params: Any) -> Any:
    return run_loop(_by_rows, lambda sizes: tuple(map(int, sizes)), args, params)  # type: ignore[arg-type]


loop: Op = register(
    Op(
        name="loop",
        kind="control",
        impl=_run,
        grad=lambda i, g, out, *args, **params: None,  # symgraph/grad.py differentiates all arguments at once
        infer=_infer_loop,
        lower="loop",
        onnx="Loop",
        domain=(),
        expand=_expand_loop,
    )
)
"""A loop: arguments are how often it runs (where an argument says it), the first state, arrays whose elements it runs
over, and values from outside.

Parameters:
    trips: "given", "while" or "sized".
    length: the size that says how often it runs, where it is sized and none of `xs` says it.
    states, xs: how many of the arguments are of the state, and how many arrays it runs over.
    body: from the round, the state, the elements and the values from outside to the next state and what is gathered.
    cond: from the same to whether another round is run; None where `trips` is not "while".
    reverse: run from the last element to the first; what is gathered stands where its elements stand.
    limit: how many rounds may be run, or None.
    checkpoint: which states its gradient keeps.

Its items are the last state, what was gathered along a first axis, and how many rounds were run.
"""

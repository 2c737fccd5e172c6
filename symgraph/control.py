"""Conditions and loops: `cond`, `switch`, `while_loop`, `fori_loop`, `scan`, `map`.

Over symbols they are nodes of the graph, run inside the kernel; over Variables, arrays and numbers they are Python's
own `if` and loops, which compute at once. The same text serves both.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from symgraph import dims, functions as fn, origin
from symgraph.config import no_grad
from symgraph.contexts import branches_of, can_fail
from symgraph.dims import Size
from symgraph.errors import ArgumentError, DTypeError, LoopError, ShapeError, SymbolError
from symgraph.expr import Body, Expr, as_expr, bound, build, rebuild, toposort
from symgraph.ops import array as ar, control as ct, elementwise as ew
from symgraph.tree import flatten, unflatten
from symgraph.types import ArrayType, format_shape
from symgraph.value import Value

Checkpoint = Literal["all", "sqrt"] | int


def _is_symbol(value: Any) -> bool:
    return isinstance(value, Expr) or isinstance(getattr(value, "_expr", None), Expr)


def _any_symbol(*trees: Any) -> bool:
    return any(_is_symbol(leaf) for tree in trees for leaf in flatten(tree)[0])


def _no_nones(flat: Sequence[Any], what: str) -> None:
    if any(leaf is None for leaf in flat):
        raise ArgumentError(f"{what} holds None; a function passed to it must return values, or () for nothing")


# -- conditions --------------------------------------------------------------------------------------------------------


def cond(pred: Any, on_true: Callable[..., Any], on_false: Callable[..., Any], *operands: Any) -> Any:
    """What one of two functions gives: `on_true` where `pred` holds, else `on_false`; the other one is not computed.

    Args:
        pred: a single truth value.
        on_true, on_false: functions of `operands` that give values of one structure, of the same shapes; dtypes are
            promoted. They may use symbols from outside.
        operands: what the functions are called with.

    Returns:
        A value, or nested tuples, lists and dicts of values as the functions return them.

    Raises:
        ShapeError, DTypeError: `pred` is not a single truth value, or the functions give values of different types.
        ArgumentError: they give different structures.

    >>> import symgraph as sg
    >>> flag, x0, x1 = sg.placeholder("flag"), sg.placeholder("x0"), sg.placeholder("x1")
    >>> f = sg.compile(sg.cond(flag, lambda: x0 + x1, lambda: x0 * x1), wrt=[x0, x1])
    >>> f(flag=True, x0=2.0, x1=3.0)
    np.float64(5.0)
    >>> f.value_and_grad(flag=False, x0=2.0, x1=3.0)
    (np.float64(6.0), {'x0': np.float64(3.0), 'x1': np.float64(2.0)})
    """
    if not _is_symbol(pred):
        return on_true(*operands) if _truth(pred) else on_false(*operands)
    condition = as_expr(pred)
    if condition.type.dtype is None or condition.type.dtype.kind != "b":
        condition = as_expr(ew.not_equal(condition, 0))
    return _choice("cond", condition, [on_false, on_true], operands)


def _truth(value: Any) -> bool:
    if np.shape(getattr(value, "data", value)) != () and np.size(getattr(value, "data", value)) != 1:
        raise ShapeError(
            f"a condition decides once: it must be a single value, got shape "
            f"{format_shape(np.shape(getattr(value, 'data', value)))}; choose element by element with "
            f"np.where(condition, x, y)"
        )
    return bool(value)


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """What one of several functions gives: the one numbered `index`; the others are not computed.

    Args:
        index: a single integer.
        branches: functions of `operands` that give values of one structure, of the same shapes; dtypes are promoted.
        operands: what the functions are called with.

    Raises:
        OutOfBoundsError: there is no branch of that number; when the compiled function is called.
        ShapeError, DTypeError, ArgumentError: as for :func:`cond`.

    >>> import numpy as np, symgraph as sg
    >>> k, x = sg.placeholder("k"), sg.placeholder("x")
    >>> f = sg.compile(sg.switch(k, [np.sin, np.cos, lambda x: x * x], x))
    >>> f(k=2, x=3.0)
    np.float64(9.0)
    """
    if not branches:
        raise ArgumentError("switch: there are no branches")
    if not _is_symbol(index):
        return branches[ct.checked_choice(index, len(branches))](*operands)
    return _choice("switch", as_expr(index), branches, operands)


def _choice(what: str, index: Expr, branches: Sequence[Callable[..., Any]], operands: Sequence[Any]) -> Any:
    results = [flatten(branch(*operands)) for branch in branches]
    structure = results[0][1]
    for flat, other in results:
        _no_nones(flat, what)
        if other != structure:
            raise ArgumentError(
                f"{what}: the branches give different structures: {structure!r} and {other!r} (* is a value)"
            )
    chosen = [ct.switch(index, *values) for values in zip(*(flat for flat, _ in results), strict=True)]
    return unflatten(structure, iter(chosen))


# -- bodies ------------------------------------------------------------------------------------------------------------


class _Depth(threading.local):
    value = 0


_depth = _Depth()
"""How many bodies are being written around what is built now: their parameters are told apart by it."""


PRIME = "ˈ"


def _primes() -> str:
    return PRIME * _depth.value


@contextmanager
def deeper(taken: Collection[str]) -> Iterator[None]:
    """Parameters of bodies that are written inside have other names than those taken."""
    before = _depth.value
    _depth.value = max([before, *(name.count(PRIME) + 1 for name in taken)])
    try:
        yield
    finally:
        _depth.value = before


def closed(parameters: Sequence[Expr], outputs: Sequence[Expr]) -> tuple[Body, list[Expr]]:
    """A body with these outputs, and what it takes from outside: whatever does not depend on its parameters, but for
    what may fail, or never end, and only a branch in the body needs.

    The parameters for what comes from outside are added to the body's, after its own.
    """
    inside = set(parameters)
    order = toposort(outputs)
    owners = branches_of(order, outputs, elementwise=False)
    fixed: set[Expr] = set()  # made of constants alone
    for node in order:
        if node in inside:
            continue
        if any(a in inside for a in node.args) or (owners.get(node) is not None and can_fail(node)):
            inside.add(node)
        elif all(a in fixed for a in node.args) and node.op not in ar.NAMED:
            fixed.add(node)
    outside: dict[Expr, None] = {}
    for node in order:
        if node in inside:
            outside.update(dict.fromkeys(a for a in node.args if a not in inside and a not in fixed))
    outside.update(dict.fromkeys(o for o in outputs if o not in inside and o not in fixed))
    taken = {p._params[0][1] for p in parameters}
    names = (f"{letter}{_primes()}" for letter in _names("c"))
    replace: dict[Expr, Expr] = {}
    for node in outside:
        name = node.parts[0][1] if node.op in ar.NAMED else ""  # that messages call by the name they have outside
        if not name or name in taken:
            name = next(n for n in names if n not in taken)
        taken.add(name)
        with origin.derived_from(node.marks):
            replace[node] = bound(name, node.type)
    body = Body([*parameters, *replace.values()], rebuild(outputs, replace, order=order))
    return body, list(outside)


def _names(letter: str) -> Any:
    k = 0
    while True:
        yield f"{letter}{k}"
        k += 1


def _joint(parameters: Sequence[Expr], *parts: Sequence[Expr]) -> tuple[list[Body], list[Expr]]:
    """Bodies over the same parameters, and what they take from outside."""
    whole, outside = closed(parameters, [o for part in parts for o in part])
    bodies, start = [], 0
    for part in parts:
        bodies.append(Body(whole.parameters, whole.outputs[start : start + len(part)]))
        start += len(part)
    return bodies, outside


def _parameter(name: str, kind: ArrayType) -> Expr:
    return bound(name + _primes(), kind)


# -- loops -------------------------------------------------------------------------------------------------------------


def _state(result: Any, structure: Any, what: str) -> list[Expr]:
    flat, found = flatten(result)
    _no_nones(flat, what)
    if found != structure:
        raise ArgumentError(
            f"{what}: the body must return the state in the structure it was given, {structure!r} (* is a value), but "
            f"returned {found!r}"
        )
    return [as_expr(v) for v in flat]


def loop(
    *,
    trips: str,
    count: Any,
    cond: Callable[[list[Expr]], Any] | None,
    body: Callable[[Expr, list[Expr], list[Expr]], tuple[list[Expr], list[Expr]]],
    init: Sequence[Any],
    xs: Sequence[Any],
    length: Any = None,
    reverse: bool = False,
    limit: int | None = None,
    checkpoint: Checkpoint = "all",
) -> list[Any]:
    """The items of a loop node: the last state, what was gathered, and the number of rounds."""
    firsts, over = [as_expr(s) for s in init], [as_expr(x) for x in xs]
    at = _parameter("i", ct.INDEX)
    states = [_parameter(f"s{k}", s.type) for k, s in enumerate(firsts)]
    parts = [_parameter(f"x{k}", ct.part_of(x.type)) for k, x in enumerate(over)]
    parameters = [at, *states, *parts]
    _depth.value += 1
    try:
        after, gathered = body(at, _as_given(states, init), _as_given(parts, xs))
        test = [] if cond is None else [as_expr(cond(_as_given(states, init)))]
    finally:
        _depth.value -= 1
    (whole, holds), outside = _joint(parameters, [*after, *gathered], test)
    lead = [as_expr(count)] if trips == ct.GIVEN else []
    node = build(
        ct.loop,
        [*lead, *firsts, *over, *outside],
        {
            "trips": trips,
            "length": length,
            "states": len(firsts),
            "xs": len(over),
            "body": whole,
            "cond": holds if test else None,
            "reverse": bool(reverse),
            "limit": limit,
            "checkpoint": checkpoint,
        },
    )
    return [ct.item(node, index=k) for k in range(len(after) + len(gathered) + 1)]


def _as_given(parameters: Sequence[Expr], given: Sequence[Any]) -> list[Any]:
    """Parameters for what was given: inside a traced function, arrays that may be written into."""
    return [
        type(v)(p) if _is_symbol(v) and not isinstance(v, Expr) else p for p, v in zip(parameters, given, strict=True)
    ]


def _limit(value: Any, what: str) -> int | None:
    if value is None:
        return None
    number = int(value)
    if number < 0:
        raise ArgumentError(f"{what}: max_iterations cannot be negative, got {number}")
    return number


def _checkpoint(value: Any, what: str) -> Checkpoint:
    if value in ("all", "sqrt") or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value  # type: ignore[no-any-return]
    raise ArgumentError(f"{what}: checkpoint must be 'all', 'sqrt' or a number of rounds, got {value!r}")


def while_loop(
    cond: Callable[[Any], Any],
    body: Callable[[Any], Any],
    init: Any,
    *,
    max_iterations: int | None = None,
    checkpoint: Checkpoint = "all",
) -> Any:
    """Repeats `body` as long as `cond` holds: state = init; while cond(state): state = body(state).

    Args:
        cond: from the state to a single truth value.
        body: from the state to the next one, of the same structure and shapes.
        init: the first state: a value, or nested tuples, lists and dicts of values. dtypes are promoted to what the
            body makes of them.
        max_iterations: how many rounds may be run; None: any number (a running loop stops at Ctrl-C).
        checkpoint: which states a gradient keeps: "all", every n-th, or about the square root of their number
            ("sqrt"); the others are computed again.

    Returns:
        The last state.

    Raises:
        LoopError: it did not end within `max_iterations`.
        ArgumentError, ShapeError, DTypeError: the body returns another structure, or other types.

    >>> import symgraph as sg
    >>> x = sg.placeholder("x")
    >>> y, rounds = sg.while_loop(lambda s: s[0] <= 100, lambda s: (s[0] + x, s[1] + 1), (0.0 * x, 0))
    >>> sg.compile([y, rounds])(x=3.0)
    [np.float64(102.0), np.int64(34)]
    """
    limit, checkpoint = _limit(max_iterations, "while_loop"), _checkpoint(checkpoint, "while_loop")
    flat, structure = flatten(init)
    _no_nones(flat, "while_loop: the first state")

    def tree(values: Sequence[Any]) -> Any:
        return unflatten(structure, iter(values))

    if not _any_symbol(init):
        state, rounds = init, 0
        while True:
            holds = cond(state)
            if _is_symbol(holds):
                break
            if not _truth(holds):
                return state
            if limit is not None and rounds >= limit:
                raise LoopError(f"a loop did not end within max_iterations={limit} rounds")
            following = body(state)
            if _any_symbol(following):
                break
            if flatten(following)[1] != structure:
                _state(following, structure, "while_loop")
            state, rounds = following, rounds + 1
    items = loop(
        trips=ct.WHILE,
        count=None,
        cond=lambda states: _test(cond(tree(states))),
        body=lambda i, states, parts: (_state(body(tree(states)), structure, "while_loop"), []),
        init=flat,
        xs=(),
        limit=limit,
        checkpoint=checkpoint,
    )
    return tree(items[: len(flat)])


def _test(holds: Any) -> Any:
    if isinstance(holds, bool):
        raise ArgumentError(
            f"while_loop: the condition is {holds} whatever the state is: == and != ask whether two symbols are the "
            f"same; write np.equal(a, b) or np.not_equal(a, b)"
        )
    return holds


def fori_loop(lo: Any, hi: Any, body: Callable[[Any, Any], Any], init: Any, *, checkpoint: Checkpoint = "all") -> Any:
    """Repeats `body` for i = lo, ..., hi - 1: state = init; for i in range(lo, hi): state = body(i, state).

    Args:
        lo, hi: single integers; they may be symbols.
        body: from the round and the state to the next state, of the same structure and shapes.
        init: the first state, as for :func:`while_loop`.
        checkpoint: which states a gradient keeps, as for :func:`while_loop`.

    Returns:
        The last state.

    Raises:
        ArgumentError, ShapeError, DTypeError: the body returns another structure, or other types.

    >>> import symgraph as sg
    >>> x, n = sg.placeholder("x"), sg.placeholder("n")
    >>> f = sg.compile(sg.fori_loop(0, n, lambda i, p: p * x, 1.0), wrt=[x])
    >>> f.value_and_grad(x=3.0, n=4)
    (np.float64(81.0), {'x': np.float64(108.0)})
    """
    checkpoint = _checkpoint(checkpoint, "fori_loop")
    flat, structure = flatten(init)
    _no_nones(flat, "fori_loop: the first state")

    def tree(values: Sequence[Any]) -> Any:
        return unflatten(structure, iter(values))

    if not _any_symbol(init, lo, hi):
        state = init
        for i in range(_bound(lo), _bound(hi)):
            following = body(i, state)
            if _any_symbol(following):
                break
            if flatten(following)[1] != structure:
                _state(following, structure, "fori_loop")
            state = following
        else:
            return state
    lo, hi = (v if _is_symbol(v) else _bound(v) for v in (lo, hi))
    from_zero = not _is_symbol(lo) and lo == 0
    count = hi if from_zero else hi - lo
    length = _known_length(count)
    items = loop(
        trips=ct.GIVEN if length is None else ct.SIZED,
        count=count,
        length=length,
        cond=None,
        body=lambda i, states, parts: (
            _state(body(i if from_zero else i + lo, tree(states)), structure, "fori_loop"),
            [],
        ),
        init=flat,
        xs=(),
        checkpoint=checkpoint,
    )
    return tree(items[: len(flat)])


def _bound(value: Any) -> int:
    """A bound of a loop that is known."""
    try:
        return operator.index(getattr(value, "data", value) if isinstance(value, Value) else value)
    except TypeError:
        raise DTypeError(f"fori_loop: how often a loop runs is an integer, got {value!r}") from None


def _known_length(count: Any) -> Size | None:
    """How often a loop runs, where it is a size; None where it depends on data."""
    try:
        return dims.maximum(ar.as_size(getattr(count, "expr", count)), 0)
    except SymbolError:
        return None


def scan(
    body: Callable[[Any, Any], Any],
    init: Any,
    xs: Any = None,
    length: Any = None,
    *,
    reverse: bool = False,
    checkpoint: Checkpoint = "all",
) -> Any:
    """Runs a state over arrays and gathers what each round gives: state, y[i] = body(state, x[i]).

    Args:
        body: from the state and the elements x[i] (None without `xs`) to the next state and what is gathered.
        init: the first state, as for :func:`while_loop`; None for no state.
        xs: arrays, or nested tuples, lists and dicts of them; their first axes are run over.
        length: how often to run, where there are no `xs`: an int, or a size such as ``x.shape[0]``.
        reverse: run from the last element to the first; what is gathered stands where its elements stand.
        checkpoint: which states a gradient keeps, as for :func:`while_loop`.

    Returns:
        The last state, and what was gathered, along a first axis.

    Raises:
        ShapeError: the first axes differ, or have another size than `length`.
        ArgumentError, DTypeError: the body returns another structure, or other types.

    >>> import numpy as np, symgraph as sg
    >>> x = sg.placeholder("x", shape=("n",), dtype="float64")
    >>> total, sums = sg.scan(lambda s, x: (s + x, s + x), 0.0, x)
    >>> sg.compile([total, sums])(x=np.array([1.0, 2.0, 3.0]))
    [np.float64(6.0), array([1., 3., 6.])]
    """
    checkpoint = _checkpoint(checkpoint, "scan")
    flat, structure = flatten(() if init is None else init)
    over, shape_of_xs = flatten(() if xs is None else xs)
    if not over and length is None:
        raise ArgumentError("scan: give xs, or length=")
    made: list[Any] = []

    def tree(values: Sequence[Any]) -> Any:
        return None if init is None else unflatten(structure, iter(values))

    def elements(values: Sequence[Any]) -> Any:
        return None if xs is None else unflatten(shape_of_xs, iter(values))

    def one(state: Any, x: Any) -> tuple[Any, Any]:
        result = body(state, x)
        if not isinstance(result, tuple) or len(result) != 2:
            raise ArgumentError(f"scan: the body must return a pair (state, y), got {type(result).__name__}")
        return result[0], () if result[1] is None else result[1]

    if not _any_symbol(init, xs, length):
        found = _scan_now(one, init, over, elements, structure, length, reverse)
        if found is not None:
            return found

    def inside(i: Expr, states: list[Expr], parts: list[Expr]) -> tuple[list[Expr], list[Expr]]:
        after, gathered = one(tree(states), elements(parts))
        values, form = flatten(gathered)
        _no_nones(values, "scan: what is gathered")
        made.append(form)
        return _state(() if init is None else after, structure, "scan"), [as_expr(v) for v in values]

    items = loop(
        trips=ct.SIZED,
        count=None,
        length=None if length is None else _length(length),
        cond=None,
        body=inside,
        init=flat,
        xs=over,
        reverse=reverse,
        checkpoint=checkpoint,
    )
    (form,) = made
    return tree(items[: len(flat)]), unflatten(form, iter(items[len(flat) : -1]))


def _length(value: Any) -> Any:
    try:
        size = ar.as_size(value)
    except SymbolError:
        raise SymbolError(
            "scan: length must be an integer or a size such as x.shape[0], so that the size of what is gathered is "
            "known before the call; use fori_loop where nothing is gathered"
        ) from None
    if isinstance(size, int) and size < 0:
        raise ShapeError(f"scan: length cannot be negative, got {size}")
    return size


def _scan_now(
    one: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    over: Sequence[Any],
    elements: Callable[[Sequence[Any]], Any],
    structure: Any,
    length: Any,
    reverse: bool,
) -> Any:
    """The loop in Python; None where the body gives symbols."""
    lengths = {len(x) for x in over} | ({int(length)} if length is not None else set())
    if len(lengths) > 1:
        raise ShapeError(f"scan: the axes that it runs over have different sizes: {sorted(lengths)}")
    (count,) = lengths
    state, rows = init, []
    form: Any = None
    for i in reversed(range(count)) if reverse else range(count):
        state, y = one(state, elements([x[i] for x in over]))
        if _any_symbol(state, y):
            return None
        if init is not None and flatten(state)[1] != structure:
            _state(state, structure, "scan")
        flat, form = flatten(y)
        rows.append(flat)
    if reverse:
        rows.reverse()
    if rows:
        return state, unflatten(form, iter([fn.stack(list(column)) for column in zip(*rows, strict=True)]))
    with no_grad(), np.errstate(all="ignore"):  # a round over zeros tells what would be gathered
        after, y = one(init, elements([np.zeros(x.shape[1:], x.dtype)[()] for x in over]))
        if _any_symbol(after, y):
            return None
        flat, form = flatten(y)
        return init, unflatten(form, iter([fn.stack([v])[:0] for v in flat]))


def map(body: Callable[..., Any], xs: Any) -> Any:  # noqa: A001  (the name of the loop, as Python's own)
    """What `body` gives for each element along the first axes of `xs`, along a first axis; in any order, on all cores.

    Args:
        body: from the elements to values.
        xs: an array, or nested tuples, lists and dicts of arrays with equal first axes.

    Raises:
        ShapeError: the first axes differ.

    >>> import numpy as np, symgraph as sg
    >>> x = sg.placeholder("x", shape=("n", 2), dtype="float64")
    >>> sg.compile(sg.map(lambda row: row[0] * row[1], x))(x=np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([ 2., 12.])
    """
    return scan(lambda state, x: (None, body(x)), None, xs)[1]

"""Faults in and around loops and branches: what is not taken does no harm, and what is names the user's line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from compiler import interpret
from symgraph.errors import (
    ArgumentError,
    DTypeError,
    LoopError,
    OutOfBoundsError,
    ShapeError,
    SymbolError,
)

HERE = Path(__file__).name


def open_symbols(names: str) -> list[sg.Expr]:
    return [sg.placeholder(name) for name in names.split()]


def line_of(function: Callable[..., Any]) -> int:
    return function.__code__.co_firstlineno


def at_line(error: pytest.ExceptionInfo[Exception], function: Callable[..., Any]) -> bool:
    """Whether a message names a line on which a function is written."""
    lines = {line for *_, line in function.__code__.co_lines() if line is not None}
    inner = [c for c in function.__code__.co_consts if hasattr(c, "co_lines")]
    lines |= {line for code in inner for *_, line in code.co_lines() if line is not None}
    return any(f"{HERE}:{line}:" in str(error.value) for line in lines)


# -- what is not taken -------------------------------------------------------------------------------------------------

A = np.arange(1.0, 5.0)


def indexed(p: Any, x: Any, k: Any) -> Any:
    return sg.cond(p, lambda: x[k] * x[k], lambda: x[0] * 2)


def endless(p: Any, x: Any, k: Any) -> Any:
    return sg.cond(p, lambda: sg.while_loop(lambda s: s > 0, lambda s: s, x[0]), lambda: x[0] * 2)


def bounded(p: Any, x: Any, k: Any) -> Any:
    return sg.cond(
        p, lambda: sg.while_loop(lambda s: s > 0, lambda s: s * 1.5, x[0], max_iterations=3), lambda: x[0] * 2
    )


def outer(p: Any, x: Any, k: Any) -> Any:
    """What only the branch uses stands outside of it."""
    y = x[k] * x[k]
    return sg.cond(p, lambda: y, lambda: x[0] * 2)


def inner(p: Any, x: Any, k: Any) -> Any:
    """Around a loop, and in one."""
    return sg.fori_loop(0, 2, lambda i, s: sg.cond(p, lambda: s * x[k], lambda: s * 2), x[0]) / 2


def chosen(p: Any, x: Any, k: Any) -> Any:
    return sg.switch(p.astype("int64"), [lambda: x[0] * 2, lambda: x[k], lambda: x[k - 1]])


@pytest.mark.parametrize("program", [indexed, endless, bounded, outer, inner, chosen], ids=lambda f: f.__name__)
def test_the_branch_not_taken_does_no_harm(program: Callable[..., Any]) -> None:
    """Its faults and its endless loops: in values, in gradients of both orders, in every form."""
    p, x, k = open_symbols("p x k")
    y = program(p, x, k)
    (gx,) = sg.grad(y, [x])
    (ggx,) = sg.grad(sg.sum(gx * gx), [x])
    values = {"p": np.False_, "x": A, "k": 99}
    wanted = [2.0, np.array([2.0, 0, 0, 0]), np.zeros(4)]
    for got in (sg.compile([y, gx, ggx], [p, x, k], verify=True)(**values), interpret([y, gx, ggx], values)):
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(a, b)
    if program is outer:
        return  # Python computes what stands outside
    assert program(**values) == 2.0
    box = sg.Variable(A)
    program(np.False_, box, 99).backward()
    np.testing.assert_array_equal(box.grad.data, wanted[1])


@pytest.mark.parametrize("program", [indexed, outer, inner, chosen], ids=lambda f: f.__name__)
def test_the_branch_taken_raises(program: Callable[..., Any]) -> None:
    p, x, k = open_symbols("p x k")
    y = program(p, x, k)
    values = {"p": np.True_, "x": A, "k": 99}
    function = sg.compile(y, [p, x, k], wrt=[x])
    for run in (function, function.value_and_grad, lambda **given: interpret([y], given), program):
        with pytest.raises(IndexError, match="out of bounds"):
            run(**values)
    with pytest.raises(OutOfBoundsError, match=f"an index of k is out of bounds.*\n.*{HERE}:"):
        function(**values)
    assert function(p=np.False_, x=A, k=99) == 2.0


def test_a_condition_is_asked_once_a_round() -> None:
    """In Python, by counting; an error in the condition comes to the caller."""
    asked: list[float] = []
    sg.while_loop(lambda s: asked.append(s) or s < 3, lambda s: s + 1, 0)
    assert asked == [0, 1, 2, 3]
    (x,) = open_symbols("x")
    f = sg.compile(sg.while_loop(lambda s: x[s[1]] > 0, lambda s: (s[0] + x[s[1]], s[1] + 1), (0.0, 0)))
    assert f(x=np.array([1.0, 2.0, -1.0])) == (3.0, 2)
    with pytest.raises(OutOfBoundsError, match=HERE):
        f(x=np.array([1.0, 2.0]))


# -- faults in rounds --------------------------------------------------------------------------------------------------


def test_an_index_out_of_range_in_a_body() -> None:
    x, n = open_symbols("elements n")
    body = lambda i, s: s + x[i]  # noqa: E731
    f = sg.compile(sg.fori_loop(0, n, body, 0.0), wrt=[x])
    for run in (f, f.grad, f.value_and_grad):
        with pytest.raises(OutOfBoundsError, match=f"an index of i is out of bounds.*\n.*{HERE}"):
            run(elements=A, n=5)
    with pytest.raises(OutOfBoundsError) as error:
        f(elements=A, n=5)
    assert at_line(error, body)
    assert f(elements=A, n=4) == 10.0  # a call that raised leaves nothing behind


def test_faults_deep_inside() -> None:
    x, n = open_symbols("x n")
    fault = lambda j, t: t + x[j]  # noqa: E731
    y = sg.scan(
        lambda s, v: (sg.cond(v > 2, lambda: sg.fori_loop(0, n, fault, s), lambda: s), s), 0.0, x, reverse=True
    )[1]
    f = sg.compile(y)
    with pytest.raises(OutOfBoundsError) as error:
        f(x=A, n=7)
    assert at_line(error, fault)
    np.testing.assert_array_equal(f(x=A, n=2), [6.0, 6.0, 3.0, 0.0])
    assert f(x=np.zeros(3), n=7).tolist() == [0.0] * 3


def test_faults_of_threads() -> None:
    """Rounds that may run in any order: the call raises, whichever of them fail."""
    x, k = open_symbols("x k")
    fault = lambda i: x[i] * 2  # noqa: E731
    f = sg.compile(sg.map(fault, k))
    k_good = np.arange(100_000) % 1000
    k_bad = k_good.copy()
    k_bad[::7] = 5000
    with pytest.raises(OutOfBoundsError) as error:
        f(x=np.ones(1000), k=k_bad)
    assert at_line(error, fault)
    np.testing.assert_array_equal(f(x=np.ones(1000), k=k_good), np.full(100_000, 2.0))


@pytest.mark.parametrize("start", [1.0, -1.0])
def test_rounds_are_bounded(start: float) -> None:
    x = sg.placeholder("x")
    loop = lambda x: sg.while_loop(lambda s: s < 10, lambda s: s + 1, x, max_iterations=9)  # noqa: E731
    f = sg.compile(loop(x), wrt=[x])
    assert f.grad(x=1.0) == {"x": 1.0}
    for run in (f, loop, lambda x: interpret([loop(sg.placeholder("x"))], {"x": x})[0], f.grad):
        if start == 1.0:
            assert run is f.grad or run(x=start) == 10.0
        else:
            with pytest.raises(LoopError, match="did not end within max_iterations=9 rounds"):
                run(x=start)
    if start < 0:
        with pytest.raises(LoopError, match=f"{HERE}:{line_of(loop)}"):
            f(x=start)


@pytest.mark.parametrize("bound", [5, 6])
def test_a_bound_is_the_number_of_rounds_allowed(bound: int) -> None:
    """A loop of six rounds."""
    x = sg.placeholder("x")
    loop = lambda x: sg.while_loop(lambda s: s < 6, lambda s: s + 1, x, max_iterations=bound)  # noqa: E731
    for run in (sg.compile(loop(x)), loop, lambda x: interpret([loop(sg.placeholder("x"))], {"x": x})[0]):
        if bound == 6:
            assert run(x=0.0) == 6.0
        else:
            with pytest.raises(LoopError, match="max_iterations=5"):
                run(x=0.0)


def test_a_bound_of_no_rounds() -> None:
    x = sg.placeholder("x")
    f = sg.compile(sg.while_loop(lambda s: s < 10, lambda s: s + 1, x, max_iterations=0))
    assert f(x=20.0) == 20.0
    with pytest.raises(LoopError):
        f(x=1.0)


@pytest.mark.parametrize("number", [2, -1, 2**40])
def test_no_branch_of_that_number(number: int) -> None:
    k, x = open_symbols("k x")
    choice = lambda k, x: sg.switch(k, [lambda: x, lambda: -x])  # noqa: E731
    f = sg.compile(choice(k, x), wrt=[x])
    for run in (f, f.grad):
        with pytest.raises(OutOfBoundsError, match="k is not the number of a branch: they are 0 to 1") as error:
            run(k=number, x=A)
        assert at_line(error, choice)
    for run in (choice, lambda k, x: interpret([choice(*open_symbols("k x"))], {"k": k, "x": x})):
        with pytest.raises(OutOfBoundsError, match=f"{number} is not the number of a branch"):
            run(number, A)
    in_loop = sg.compile(sg.fori_loop(0, 3, lambda i, s: s + sg.switch(k + i, [lambda: 1.0, lambda: 2.0]), 0.0))
    with pytest.raises(OutOfBoundsError):
        in_loop(k=number)


def test_nan_goes_through() -> None:
    x = sg.placeholder("x")
    f = sg.compile(sg.fori_loop(0, 3, lambda i, s: np.sqrt(s) - 2, x))
    assert np.isnan(f(x=1.0))
    g = sg.compile(sg.while_loop(lambda s: s > 0, lambda s: s / 0.0 - s / 0.0, x))
    assert np.isnan(g(x=1.0))  # nan > 0 does not hold
    assert sg.compile(sg.cond(x, lambda: 1.0, lambda: 2.0))(x=np.nan) == 1.0  # as Python's if


# -- what is written wrong ---------------------------------------------------------------------------------------------

V3, V4 = (sg.placeholder(f"v{n}", shape=(n,), dtype="float64") for n in (3, 4))
X, N, P = open_symbols("x n p")

WRONG: list[tuple[str, type[Exception], str, Callable[[], Any]]] = [
    (
        "state loses a part",
        ArgumentError,
        r"structure.*\(\*, \*\).*returned \(\*,\)",
        lambda: sg.fori_loop(0, 3, lambda i, s: (s[0],), (X, X)),
    ),
    (
        "state becomes a list",
        ArgumentError,
        r"returned \[\*, \*\]",
        lambda: sg.while_loop(lambda s: s[0] > 0, lambda s: [*s], (X, X)),
    ),
    ("state is None", ArgumentError, "must return values", lambda: sg.fori_loop(0, 3, lambda i, s: None, X)),
    ("first state is None", ArgumentError, "holds None", lambda: sg.fori_loop(0, 3, lambda i, s: s, (X, None))),
    (
        "branches differ",
        ArgumentError,
        r"different structures: \* and \(\*, \*\)",
        lambda: sg.cond(P, lambda: (X, X), lambda: X),
    ),
    ("a branch gives None", ArgumentError, "must return values", lambda: sg.cond(P, lambda: None, lambda: X)),
    ("branches of two shapes", ShapeError, r"float64\(4,\), float64\(3,\)", lambda: sg.cond(P, lambda: V3, lambda: V4)),
    (
        "a state shrinks",
        ShapeError,
        r"s0 is float64\(3,\) before a round and float64\(2,\) after it",
        lambda: sg.fori_loop(0, 3, lambda i, s: s[1:], V3),
    ),
    ("a state grows", ShapeError, "keeps its type", lambda: sg.fori_loop(0, 3, lambda i, s: s[None], V3)),
    (
        "axes differ",
        ShapeError,
        "a loop of 3 rounds runs over an axis of 4",
        lambda: sg.scan(lambda s, v: (s, v), 0.0, (V3, V4)),
    ),
    (
        "length differs",
        ShapeError,
        "a loop of 5 rounds runs over an axis of 3",
        lambda: sg.scan(lambda s, v: (s, v), 0.0, V3, length=5),
    ),
    ("no pair", ArgumentError, r"pair \(state, y\), got Expr", lambda: sg.scan(lambda s, v: s, 0.0, V3)),
    ("no length", ArgumentError, "give xs, or length=", lambda: sg.scan(lambda s, v: (s, s), X)),
    ("a length that is data", SymbolError, "fori_loop", lambda: sg.scan(lambda s, v: (s, s), X, length=N * 2)),
    ("a negative length", ShapeError, "cannot be negative", lambda: sg.scan(lambda s, v: (s, s), X, length=-1)),
    (
        "no axis",
        ShapeError,
        "needs an axis",
        lambda: sg.scan(lambda s, v: (s, v), 0.0, sg.placeholder("x0", (), "float64")),
    ),
    ("no branches", ArgumentError, "no branches", lambda: sg.switch(N, [])),
    ("many conditions", ShapeError, r"np\.where\(condition", lambda: sg.cond(V3 > 0, lambda: X, lambda: -X)),
    (
        "many conditions of a loop",
        ShapeError,
        r"np\.where\(condition",
        lambda: sg.while_loop(lambda s: s > 0, lambda s: s, V3),
    ),
    (
        "a float for a number",
        DTypeError,
        "how often a loop runs is an integer",
        lambda: sg.fori_loop(0, 2.5, lambda i, s: s, X),
    ),
    (
        "a float for a symbol",
        DTypeError,
        "how often a loop runs is an integer",
        lambda: sg.fori_loop(0, sg.placeholder("x0", (), "float64"), lambda i, s: s, X),
    ),
    (
        "a float for a branch",
        DTypeError,
        "bool or an integer, got float64",
        lambda: sg.switch(sg.placeholder("x0", (), "float64"), [lambda: X, lambda: X]),
    ),
    (
        "a negative bound",
        ArgumentError,
        "cannot be negative",
        lambda: sg.while_loop(lambda s: s > 0, lambda s: s, X, max_iterations=-1),
    ),
    (
        "no such checkpoint",
        ArgumentError,
        "'all', 'sqrt' or a number",
        lambda: sg.fori_loop(0, 3, lambda i, s: s, X, checkpoint="none"),
    ),
    (
        "checkpoint of none",
        ArgumentError,
        "'all', 'sqrt' or a number",
        lambda: sg.fori_loop(0, 3, lambda i, s: s, X, checkpoint=0),
    ),
    (
        "a condition that never changes",
        ArgumentError,
        r"np\.not_equal\(a, b\)",
        lambda: sg.while_loop(lambda s: s != 1, lambda s: s - 1, N),
    ),
    ("if", SymbolError, r"sg\.cond\(condition, on_true, on_false\)", lambda: 1 if X > 0 else 2),
    ("while", SymbolError, r"sg\.while_loop\(cond, body, init\)", lambda: bool(X > 0)),
    ("for", SymbolError, r"sg\.scan\(body, init, x\) or sg\.map\(body, x\)", lambda: [*X]),
    ("range", SymbolError, r"sg\.fori_loop\(0, n, body, init\)", lambda: range(N)),
]


@pytest.mark.parametrize(("kind", "text", "write"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_what_is_written_wrong(kind: type[Exception], text: str, write: Callable[[], Any]) -> None:
    """When it is written, in words that say what to write."""
    with pytest.raises(kind, match=text) as error:
        write()
    if kind in (ShapeError, DTypeError) and "negative" not in text:
        lines = {str(w[3].__code__.co_firstlineno) for w in WRONG}
        named = re.search(rf"{HERE}:(\d+)", str(error.value))
        assert named is None or named[1] in lines


CALLS: list[tuple[str, type[Exception], str, Callable[..., Any], dict[str, Any]]] = [
    (
        "conditions",
        ShapeError,
        r"must be a single value",
        lambda X, N, P: sg.cond(P, lambda: X, lambda: -X),
        {"p": np.array([True, False]), "x": 1.0},
    ),
    (
        "rounds",
        DTypeError,
        "how often a loop runs is an integer, got float64",
        lambda X, N, P: sg.fori_loop(0, N, lambda i, s: s + 1, X),
        {"n": 2.5, "x": 1},
    ),
    (
        "many rounds",
        ShapeError,
        "a single integer",
        lambda X, N, P: sg.fori_loop(0, N, lambda i, s: s + 1, X),
        {"n": np.array([1, 2]), "x": 1},
    ),
    (
        "axes",
        ShapeError,
        "do not go together|runs over an axis",
        lambda X, N, P: sg.scan(lambda s, v: (s, v[0] * v[1]), 0.0, (X, N))[1],
        {"x": np.ones(3), "n": np.ones(4)},
    ),
    (
        "a short axis",
        ShapeError,
        "do not go together|runs over an axis",
        lambda X, N, P: sg.scan(lambda s, v: (s, v[0] - v[1]), 0.0, (X, N))[1],
        {"x": np.ones(3), "n": np.ones(1)},
    ),
    (
        "shapes of branches",
        ShapeError,
        "do not go together|of one type",
        lambda X, N, P: sg.cond(P, lambda: X, lambda: N),
        {"p": True, "x": np.ones(3), "n": np.ones(4)},
    ),
    (
        "ranks of branches",
        ShapeError,
        "of one type",
        lambda X, N, P: sg.cond(P, lambda: N, lambda: X),
        {"p": True, "x": np.ones(3), "n": np.ones((3, 3))},
    ),
    (
        "shapes of states",
        ShapeError,
        "keeps its type|do not go together",
        lambda X, N, P: sg.fori_loop(0, 3, lambda i, s: (s[1], s[0]), (X, N)),
        {"x": np.ones(3), "n": np.ones(4)},
    ),
    (
        "a state that grows",
        ShapeError,
        "keeps its type",
        lambda X, N, P: sg.fori_loop(0, 3, lambda i, s: s * N, X),
        {"x": np.ones(1), "n": np.ones(4)},
    ),
    (
        "operands in a body",
        ShapeError,
        "do not go together",
        lambda X, N, P: sg.fori_loop(0, 3, lambda i, s: N * s, X),
        {"x": np.ones(3), "n": np.ones(4)},
    ),
    (
        "an axis of a number",
        ShapeError,
        "needs an axis",
        lambda X, N, P: sg.scan(lambda s, v: (s + v, s), 0.0, X)[0],
        {"x": 1.0},
    ),
    (
        "a branch by a float",
        DTypeError,
        "bool or an integer",
        lambda X, N, P: sg.switch(N, [lambda: X, lambda: -X]),
        {"n": 1.0, "x": 1.0},
    ),
]


@pytest.mark.parametrize("case", CALLS, ids=[c[0] for c in CALLS])
def test_what_a_call_shows_to_be_wrong(case: Any) -> None:
    """Of undeclared placeholders, at the user's line."""
    name, kind, text, write, values = case
    own = {n: f"{n}{[c[0] for c in CALLS].index(name)}" for n in "xnp"}  # what two lines write alike names the first
    function = sg.compile(write(*(sg.placeholder(own[n]) for n in "xnp")))
    with pytest.raises(kind, match=text) as error:
        function(**{own[n]: value for n, value in values.items()})
    assert at_line(error, write)


def test_what_belongs_to_a_body_stays_there() -> None:
    held: list[sg.Expr] = []

    def body(i: Any, s: Any) -> Any:
        held.append(i)
        return s + i

    sg.fori_loop(0, 3, body, X)
    with pytest.raises(SymbolError, match="i stands for a value inside the body of a loop"):
        sg.compile(held[0] + X)

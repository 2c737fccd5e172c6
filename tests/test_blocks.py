"""Loops and regions that run for some rows at a time: against the same steps one after the other, for all rows.

``python tests/test_blocks.py 500 --first 1000`` runs many random programs; a failure prints the program.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from campaigns import run_many
from support import run_text
from test_promises import script

import compiler.schedule
import symgraph as sg
from compiler.account import account
from compiler.program import Block, Program

ROWS = (0, 1, 2, 15, 16, 17, 33, 200, 1003)


def programs(function: Any) -> list[Program]:
    return [variant.program for _, variant in function.variants()]


def blocks_of(function: Any) -> list[Block]:
    return [s for p in programs(function) for s in p.all_steps() if isinstance(s, Block)]


def apart(compute: Callable[[], Any]) -> Any:
    """What is computed if nothing runs for some rows at a time."""
    form = compiler.schedule.form_blocks
    compiler.schedule.form_blocks = lambda program: None
    try:
        return compute()
    finally:
        compiler.schedule.form_blocks = form


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    number = sg.get_num_threads()
    yield
    sg.set_num_threads(number)


# -- random programs ---------------------------------------------------------------------------------------------------

ONE = ("np.sin({p}) * 0.9", "{p} * c + 0.1", "np.tanh({p})", "{p} * {p} * 0.3", "np.where({p} > 0.2, {p}, 0.5 * c)")
TWO = ("{p} * {q}", "{p} + {q} * 0.5", "np.maximum({p}, {q}) * 0.8", "np.where({q} > 0, {p}, {q} * 0.4)")
TABLES = (  # of a table to a table
    "{t} @ w",
    "np.tanh({t} @ w) + {t}[:, ::-1]",
    "{t} - np.sum({t}, axis=1, keepdims=True) * 0.2",
    "np.exp({t} * 0.1) * v",
    "np.stack([{t}[:, 0], {t}[:, 1] * {t}[:, 2], {t}[:, 2]], axis=1)",
)
OTHERS = (  # what looks at other rows
    "{p}[::-1] * 0.5",
    "{p} * np.sum({p}) * 0.01",
    "np.concatenate([{p}[1:], {p}[:1]])",
)


def make(seed: int) -> tuple[str, dict[str, Any]]:
    """A function of arrays whose rows may or may not look at each other, as text, and what sets it up."""
    draw = random.Random(seed)
    kind = draw.choice(["fori", "fori", "scan", "scan", "scan"])
    tables = [draw.random() < 0.35 for _ in range(draw.choice([1, 1, 2, 3]))]
    names = {f"s{k}": table for k, table in enumerate(tables)} | {"a": False, "m": True}
    if kind == "scan":
        names["x"] = False
    lines = []

    def formula(known: dict[str, bool]) -> tuple[str, bool]:
        p = draw.choice(list(known))
        same = [name for name in known if known[name] == known[p]]
        form = draw.choice(ONE + TWO + (TABLES if known[p] else ()) + (OTHERS if draw.random() < 0.04 else ()))
        return form.format(p=p, q=draw.choice(same), t=p), known[p]

    for k in range(draw.randint(1, 4)):
        text, table = formula(names)
        if draw.random() < 0.2:
            rounds, p = draw.choice([1, 3]), draw.choice([n for n in names if names[n] == table])
            text = f"sg.fori_loop(0, {rounds}, lambda j, z: np.sin(z + {text}) * 0.5, {p})"
        lines.append(f"        t{k} = {text}\n")
        names[f"t{k}"] = table
    last = list(names)[-5:]
    after = [draw.choice([n for n in last if names[n] == t] or [f"s{k}"]) for k, t in enumerate(tables)]
    states = ", ".join(f"s{k}" for k in range(len(tables)))
    firsts = ", ".join("m * 1.0" if t else draw.choice(["a", "a * 0.5"]) for t in tables)
    results = ", ".join(f"{name} * 0.7" for name in after)
    rounds = draw.choice(["0", "1", "2", "5", "8", "k"])
    way = draw.choice(["'all'", "'all'", "'all'", "'sqrt'", "2"])
    if kind == "fori":
        head, back = f"i, s):\n        ({states},) = s", f"({results},)"
        call = f"sg.fori_loop(0, {rounds}, body, ({firsts},), checkpoint={way})"
    else:
        gathered = ", ".join(draw.sample(last, draw.choice([0, 1, 2])))
        head, back = f"s, x):\n        ({states},) = s", f"(({results},), ({gathered}{',' if gathered else ''}))"
        call = f"sg.scan(body, ({firsts},), xs, reverse={draw.random() < 0.4}, checkpoint={way})"
    text = f"def program(a, m, v, w, c, xs, k):\n    def body({head}\n{''.join(lines)}        return {back}\n"
    text += f"    found = {call}\n    y = [z * 1.0 for z in {'found' if kind == 'fori' else 'found[0]'}]\n"
    if kind == "scan" and draw.random() < 0.6:
        text += "    y += [*found[1]]\n"
    if draw.random() < 0.3:
        text += "    y = [sg.fori_loop(0, 3, lambda i, z: np.sin(z) * 0.9, z) for z in y]\n"
    if draw.random() < 0.2:
        text += "    y = y + [np.sum(y[0])]\n"
    text += "    return y\n"
    return text, {"dtype": draw.choice(["float64", "float64", "float32"]), "rows": draw.choice(ROWS)}


def check(seed: int) -> int:
    """How many blocks there were."""
    text, given = make(seed)
    rng, n, dtype = np.random.default_rng(seed), given["rows"], given["dtype"]
    shapes = {"a": ("n",), "m": ("n", 3), "v": (3,), "w": (3, 3), "c": (), "xs": (4, "n")}
    sizes = {name: tuple(n if s == "n" else s for s in shape) for name, shape in shapes.items()}
    data = {name: (rng.normal(size=shape) * 0.5).astype(dtype) for name, shape in sizes.items()}
    if n > 2 and seed % 3 == 0:  # every other row of a larger array
        data["a"] = np.repeat(data["a"], 2)[::2]
    data["k"] = np.int64(rng.integers(0, 5))
    symbols = {name: sg.placeholder(name, shape, dtype) for name, shape in shapes.items()}
    symbols["k"] = sg.placeholder("k", (), "int64")
    names: dict[str, Any] = {"np": np, "sg": sg}
    exec(text, names)
    outputs = names["program"](**symbols)
    loss = sum((np.sum(np.sin(o) * (1 + 0.1 * j)) for j, o in enumerate(outputs)), start=sg.constant(0.0))
    wrt = [symbols[name] for name in "amvwc"] + [symbols["xs"]]
    everything = [*outputs, loss, *sg.grad(loss, wrt)]
    function, plain = (sg.compile(everything, list(symbols.values())) for _ in range(2))
    wanted = apart(lambda: plain(**data))
    found = None
    for number in (1, 2, 3):
        sg.set_num_threads(number)
        got = function(**data)
        if found is None:
            found = got
            tolerance = 1e-9 if dtype == "float64" else 2e-3
            for j, (one, other) in enumerate(zip(got, wanted, strict=True)):
                scale = max(float(np.max(np.abs(other), initial=0)), 1.0)
                np.testing.assert_allclose(
                    one, other, rtol=tolerance, atol=tolerance * scale, err_msg=f"seed {seed}, value {j} of\n{text}"
                )
        for one, other in zip(got, found, strict=True):
            assert one.tobytes() == other.tobytes(), f"{number} threads, seed {seed}\n{text}"
    assert not blocks_of(plain)
    return len(blocks_of(function))


@pytest.mark.parametrize("seed", range(30))
def test_a_random_program(seed: int) -> None:
    check(seed)


# -- what joins, and what does not -------------------------------------------------------------------------------------


def placeholders(*names: str, shape: tuple[Any, ...] = ("n",)) -> list[Any]:
    return [sg.placeholder(name, shape, "float64") for name in names]


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape) * 0.5


def compared(formulas: Any, given: dict[str, Any]) -> sg.Function:
    """The function of formulas, called, after its results have been compared with those of steps one by one."""
    function, plain = sg.compile(formulas, verify=True), sg.compile(formulas)
    for one, other in zip(function(**given), apart(lambda: plain(**given)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    return function


def held(function: sg.Function) -> int:
    """How many arrays blocks hold."""
    return sum(len(b.body.temporaries) for b in blocks_of(function))


def test_a_loop_and_its_gradient_are_one_block() -> None:
    """The tape, what the loops begin with and what they hand on are held for some rows; nothing else is in memory."""
    a, b = placeholders("a", "b")
    f = sg.compile(sg.fori_loop(0, 50, lambda i, y: np.sin(y * b) + a, a))
    f.value_and_grad(a=values(999), b=values(999, seed=1))
    (program,) = programs(f)
    (block,) = program.steps
    assert isinstance(block, Block) and [type(s).__name__ for s in block.body.steps].count("Repeat") == 2
    assert not [t for t in program.temporaries if t.role == "temporary"]
    assert "in all\n    moves 40*n bytes" in f.explain("schedule")
    g, few = sg.compile(f.outputs[0]), {"a": values(5), "b": values(5)}
    found = g(**few)
    np.testing.assert_allclose(run_text(g, few), found, rtol=1e-12)


def test_memory_does_not_grow_with_the_rounds_of_all_rows() -> None:
    a, b = placeholders("a", "b")
    f = sg.compile(sg.fori_loop(0, 400, lambda i, y: np.sin(y * b) + a, a))
    f.value_and_grad(a=values(100_000), b=values(100_000))
    (program,) = programs(f)
    spent = account(program)
    assert spent.peak({"n": 100_000}, threads=2) < 5e6  # the tape alone: 320 MB
    code = """
        from pathlib import Path
        import numpy as np, symgraph as sg
        a = sg.placeholder("a", ("n",), "float64")
        f = sg.compile(sg.fori_loop(0, 400, lambda i, y: np.sin(y) + a, a))
        peak = lambda: int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
        f.value_and_grad(a=np.ones(10))
        before = peak()
        f.value_and_grad(a=np.ones(50_000))
        assert peak() - before < 40e6, peak() - before  # the tape alone: 160 MB
    """
    script(code)


def test_rounds_that_are_known_at_the_call() -> None:
    x, r = placeholders("x", "r")
    k = sg.placeholder("k", (), "int64")
    f = sg.compile(sg.fori_loop(0, k, lambda i, s: np.sin(r * s) + s * i, x), wrt=[x, r])
    wanted = sg.compile(sg.fori_loop(0, k, lambda i, s: np.sin(r * s) + s * i, x), wrt=[x, r])
    for n in (0, 1, 17, 999):
        for count in (0, 1, 7):
            given = {"x": values(n), "r": values(n, seed=1), "k": count}
            found, plain = f.value_and_grad(**given), apart(lambda given=given: wanted.value_and_grad(**given))
            assert found[0].tobytes() == plain[0].tobytes()
            for name in "xr":
                assert found[1][name].tobytes() == plain[1][name].tobytes()
    assert [len(b.repeats) for b in blocks_of(f)] == [2] and held(f)  # a single row is a number


@pytest.mark.parametrize("rows", [3, 63, 64, 65, 5003])
def test_parameters_that_all_rows_share(rows: int) -> None:
    """Their gradients are sums over rows: each row adds up its own, and chunks are combined in their order."""
    x, p = sg.placeholder("x", ("n", 3), "float64"), sg.placeholder("p", (2,), "float64")

    def step(i: Any, x: Any) -> Any:
        return np.tanh(x * p[0] + x[:, ::-1] * p[1])

    f = sg.compile(np.sum(sg.fori_loop(0, 6, step, x) ** 2))
    given = {"x": values(rows, 3), "p": np.array([0.7, -0.4])}
    found = []
    for number in (1, 2, 3):
        sg.set_num_threads(number)
        value, grads = f.value_and_grad(**given)
        found.append([value.tobytes(), grads["x"].tobytes(), grads["p"].tobytes()])
    assert found == found[:1] * 3
    f.check_grad(**given)
    if rows > 3:  # rows that are known to be few need none of this
        assert len(blocks_of(f)) == 1 and len(blocks_of(f)[0].repeats) == 2


def test_sums_that_are_read_while_the_loop_runs_stay_sums() -> None:
    (x,) = placeholders("x")
    body = lambda i, s: (s[0] * 0.5 + s[1] * 0.01, s[1] + np.sum(s[0]))  # noqa: E731
    f = compared(list(sg.fori_loop(0, 5, body, (x, sg.constant(0.5)))), {"x": values(200)})
    assert not blocks_of(f)


def test_rows_that_look_at_each_other_between_the_loops_end_a_block() -> None:
    """What the second loop begins with is a row of what the first has made of another, or of all of them."""
    x, r = placeholders("x", "r")
    for between in (
        lambda y: y[::-1] * 1.5,
        lambda y: y * np.sum(y),
        lambda y: np.concatenate([y[1:], y[:1]]) + y,
        lambda y: y - np.mean(y),
    ):
        first = sg.fori_loop(0, 3, lambda i, s: np.sin(s * r), x)
        second = sg.fori_loop(0, 4, lambda i, s: np.cos(s) + r, between(first))
        f = compared([second], {"x": values(200), "r": values(200, seed=1)})
        assert [len(b.repeats) for b in blocks_of(f)] == [1, 1]


def test_what_is_used_elsewhere_lies_in_memory() -> None:
    """Outputs are written where they stay, and so is what steps after the block read."""
    x, r = placeholders("x", "r")
    first = sg.fori_loop(0, 3, lambda i, s: np.sin(s * r), x)
    second = sg.fori_loop(0, 4, lambda i, s: np.cos(s) + r, first * 2)
    f = compared([first, second, np.sum(first[:7])], {"x": values(200), "r": values(200, seed=1)})
    (block,) = blocks_of(f)
    assert len(block.repeats) == 2
    assert sorted(b.role for b in block.writes) == ["output", "output"]


def test_what_lies_between_loops_and_needs_neither_changes_places() -> None:
    """A step that does not belong to the block, and that one of its loops waits for, runs before the block."""
    x, r, z = placeholders("x", "r", "z")
    first = sg.fori_loop(0, 3, lambda i, s: np.sin(s * r), x)
    second = sg.fori_loop(0, 4, lambda i, s: np.cos(s) + s * np.sum(z) + z[::-1], first)
    f = compared([second], {name: values(200, seed=k) for k, name in enumerate("xrz")})
    assert [len(b.repeats) for b in blocks_of(f)] == [2]


def test_arrays_of_rounds_are_not_cut_into_rows() -> None:
    """A table of rounds and rows, of equally many numbers in another order, is no array with rows."""
    x, a = sg.placeholder("x", (16,), "float64"), sg.placeholder("a", (16, 16), "float64")
    _, made = sg.scan(lambda s, v: (np.sin(s + v), s * v), x, a)
    second = sg.fori_loop(0, 3, lambda i, t: np.cos(t), made)
    given = {"x": values(16), "a": values(16, 16, seed=1)}
    compared([second], given)
    _, again = sg.scan(lambda s, v: (s * 0.5 + v, s - v), np.concatenate([x, x]), np.reshape(made * 1.0, (8, 32)))
    compared([again], given)
    _, third = sg.scan(lambda s, v: (s * 0.5 + v, s - v), np.concatenate([x, x]), np.reshape(made, (8, 32)))
    compared([third], given)
    other = sg.fori_loop(0, 3, lambda i, t: t + np.sin(made[i]) + made[:, i], x)
    compared([other], given)


def test_columns_times_a_matrix_look_at_all_rows() -> None:
    x, u = sg.placeholder("x", (64, 64), "float64"), sg.placeholder("u", (64, 64), "float64")
    loop = sg.fori_loop(0, 3, lambda i, s: np.tanh(np.transpose(s) @ u), x)
    assert not blocks_of(compared([loop], {"x": values(64, 64), "u": values(64, 64, seed=1)}))


def test_loops_in_loops_are_one_block() -> None:
    x, r = placeholders("x", "r")
    inner = lambda i, s: sg.fori_loop(0, 5, lambda j, t: np.sin(t * r), s) + x  # noqa: E731
    f = sg.compile(sg.fori_loop(0, 10, inner, x))
    given = {"x": values(333), "r": values(333, seed=1)}
    f.value_and_grad(**given)
    assert [len(b.repeats) for b in blocks_of(f)] == [2]
    f.check_grad(**given)


if __name__ == "__main__":
    sys.exit(run_many(check, text=lambda seed: "\n".join(map(str, make(seed)))))

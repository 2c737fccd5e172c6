"""What loops keep: checkpoints, arrays that change where they lie, rows that stay apart; and that they end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from support import difference, run_text
from test_promises import script

import symgraph as sg
from compiler import machine
from compiler.program import Block, Program, Repeat
from symgraph.traced import index_update


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Tests may set how many threads there are."""
    before = sg.get_num_threads()
    yield
    sg.set_num_threads(before)


def programs(function: Any) -> list[Program]:
    return [variant.program for _, variant in function.variants()]


def repeats(function: Any) -> list[Repeat]:
    return [s for p in programs(function) for s in p.all_steps() if isinstance(s, Repeat)]


def blocks(function: Any) -> list[Block]:
    return [s for p in programs(function) for s in p.all_steps() if isinstance(s, Block)]


# -- checkpoints -------------------------------------------------------------------------------------------------------

WAYS: list[Any] = ["all", "sqrt", 1, 3, 100]


def rounds(way: Any) -> tuple[Any, dict[str, Any]]:
    x, n = sg.placeholder("x"), sg.placeholder("n")
    return sg.fori_loop(2, n, lambda i, p: np.sin(p * x) + 0.1 * i, 1.0, checkpoint=way), {"x": 1.3, "n": 25}


def condition(way: Any) -> tuple[Any, dict[str, Any]]:
    x = sg.placeholder("x")
    y, _ = sg.while_loop(lambda s: s[1] < 30, lambda s: (s[0] * x + 1, s[1] + 1), (x, 0), checkpoint=way)
    return y, {"x": 0.9}


def gathers(way: Any, reverse: bool = False) -> tuple[Any, dict[str, Any]]:
    x, a = sg.placeholder("x"), sg.placeholder("a", shape=("n",), dtype="float64")
    last, ys = sg.scan(lambda s, v: (np.sin(s * v) + x, s * s * v), 0.5, a, reverse=reverse, checkpoint=way)
    return last + sg.sum(ys * ys), {"x": 0.3, "a": np.linspace(0, 2, 11)}


def vectors(way: Any) -> tuple[Any, dict[str, Any]]:
    m, v = sg.placeholder("m", shape=("k", "k"), dtype="float64"), sg.placeholder("v", shape=("k",), dtype="float64")
    y = sg.fori_loop(0, 9, lambda i, s: np.tanh(m @ s) + v, v, checkpoint=way)
    rng = np.random.default_rng(0)
    return sg.sum(y * y), {"m": rng.normal(size=(5, 5)), "v": rng.normal(size=5)}


KEPT = {"rounds": rounds, "condition": condition, "gathers": gathers, "backwards": lambda w: gathers(w, True),
        "vectors": vectors}  # fmt: skip


@pytest.mark.parametrize("way", WAYS[1:])
@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept_does_not_matter(name: str, way: Any) -> None:
    """Gradients, and theirs, with few states kept and with all."""
    found = []
    for one in ("all", way):
        y, values = KEPT[name](one)
        x = next(n for n in sg.expr.placeholders([y]) if n.name in ("x", "v"))
        first = sg.grad(y, x)[0]
        second = sg.grad(sg.sum(first * first), x)[0]
        found.append(sg.compile([y, first, second], verify=True)(**values))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_checkpoints_keep_few_states() -> None:
    """Bytes that the system gives, for thirty million rounds: a state is eight."""
    code = """
        from pathlib import Path
        import symgraph as sg
        def peak(way):
            r, x = sg.placeholder("r", (), "float64"), sg.placeholder("x", (), "float64")
            f = sg.compile(sg.fori_loop(0, 30_000_000, lambda i, x: r * x * (1 - x), x, checkpoint=way))
            f.value_and_grad(r=2.7, x=0.3)
            status = Path("/proc/self/status").read_text()  # what getrusage says begins with the parent's peak
            return int(status.split("VmHWM:")[1].split()[0]) * 1024
        few = [peak("sqrt"), peak(1000)][-1]
        assert peak("all") - few > 150e6, (few, peak("all"))
    """
    script(code)


# -- arrays that change where they lie ---------------------------------------------------------------------------------


def test_an_element_written_in_every_round_moves_no_array() -> None:
    x = sg.placeholder("x", shape=("n",), dtype="float64")
    y = sg.fori_loop(0, x.shape[0] - 1, lambda i, s: index_update(s, i + 1, s[i] * 0.5 + s[i + 1]), x)
    f = sg.compile(y, verify=True)
    data = np.random.default_rng(0).normal(size=50)
    kept, wanted = data.copy(), data.copy()
    for i in range(49):
        wanted[i + 1] = wanted[i] * 0.5 + wanted[i + 1]
    np.testing.assert_allclose(f(x=data), wanted, rtol=1e-14)
    assert (data == kept).all()
    assert not difference(run_text(f, {"x": data[:7]}), f(x=data[:7]))
    assert [r.in_place for r in repeats(f)] == [[True]]
    g = sg.compile(sg.sum(y * y), verify=True)
    slope = g.grad(x=data)["x"]
    for k in (0, 7, 49):
        e = np.eye(50)[k] * 1e-6
        near = (g(x=data + e) - g(x=data - e)) / 2e-6
        np.testing.assert_allclose(slope[k], near, rtol=1e-6)
    assert all(r.in_place[0] for r in repeats(g))


def test_who_reads_the_whole_array_reads_it_as_it_was() -> None:
    x = sg.placeholder("x", shape=("n",), dtype="float64")
    body = lambda i, s: (index_update(s[0], i, s[1]), s[1] + sg.sum(s[0]))  # noqa: E731
    f = sg.compile(sg.fori_loop(0, 3, body, (x, 1.0)), verify=True)
    data, total = np.arange(4.0), 1.0
    for i in range(3):
        before = data.copy()
        data[i] = total
        total += before.sum()
    array, number = f(x=np.arange(4.0))
    assert array.tolist() == data.tolist() and number == total
    assert repeats(f)[0].in_place[0] is False


# -- rows that stay apart ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2, 63, 64, 65, 129, 5003])
def test_rows_that_stay_apart(n: int) -> None:
    """All rounds for some rows at a time, whatever threads there are, as round after round for all of them."""
    x, r = (sg.placeholder(name, shape=("n",), dtype="float64") for name in "xr")
    k = sg.placeholder("k", shape=(), dtype="int64")
    f = sg.compile(sg.fori_loop(0, k, lambda i, s: r * s * (1 - s), x), fma=False, verify=True)
    data = np.random.default_rng(n).random(n)
    values = {"x": data, "r": 3 + data / 2}
    for count in (0, 1, 2, 41):
        wanted = data
        for _ in range(count):
            wanted = values["r"] * wanted * (1 - wanted)
        for number in (1, 2, 3):
            sg.set_num_threads(number)
            assert not difference(f(**values, k=count), wanted)


def test_a_scan_over_rows_that_stay_apart() -> None:
    x, a = sg.placeholder("x", shape=("n",), dtype="float64"), sg.placeholder("a", shape=("t", "n"), dtype="float64")
    last, ys = sg.scan(lambda s, v: (np.tanh(s + v), s * v), x, a, reverse=True)
    f = sg.compile([last, ys], verify=True)
    rng = np.random.default_rng(0)
    values = {"x": rng.normal(size=201), "a": rng.normal(size=(7, 201))}
    state, rows = values["x"], []
    for row in values["a"][::-1]:
        rows.append(state * row)
        state = np.tanh(state + row)
    got = f(**values)
    np.testing.assert_allclose(got[0], state, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(got[1], rows[::-1], rtol=1e-13, atol=1e-15)
    assert "threads share the rows" in f.explain("schedule")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch,units", [(1, 3), (5, 8), (8, 16), (9, 33), (40, 20)])
def test_products_of_rows_that_stay_apart(batch: int, units: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows times a matrix from outside, forward and back: the same bits for all threads and widths of vectors."""
    rng = np.random.default_rng(units)
    x = sg.placeholder("x", shape=("t", "m", units), dtype=dtype)
    u = sg.placeholder("u", shape=(units, 2 * units), dtype=dtype)

    def round_(state: Any, row: Any) -> Any:
        z = state @ u
        state = np.tanh(z[:, :units] * row + z[:, units:])
        return state, state

    def formula(x: Any, u: Any) -> Any:
        return sg.sum(sg.scan(round_, x[0], x)[1] ** 2)

    given = {"x": rng.normal(size=(7, batch, units)), "u": rng.normal(size=(units, 2 * units)) / np.sqrt(units)}
    given = {name: v.astype(dtype) for name, v in given.items()}
    state, total, u_ = given["x"][0], 0.0, given["u"]
    for row in given["x"]:
        z = state @ u_
        state = np.tanh(z[:, :units] * row + z[:, units:])
        total += float(np.sum(state.astype("float64") ** 2))
    found = []
    for register in (16, 32, 64):
        monkeypatch.setattr(machine, "vector_bytes", lambda register=register: register)
        f = sg.compile(formula(x, u), verify=True)
        for number in (1, 2, 3):
            sg.set_num_threads(number)
            value, grads = f.value_and_grad(**given)
            found.append([v.tobytes() for v in (value, *grads.values())])
    np.testing.assert_allclose(value, total, rtol=1e-5 if dtype == "float32" else 1e-12)
    if dtype == "float64":
        f.check_grad(**given)
    if batch > 1:  # a single row is no matrix
        assert f.explain("schedule").count("packed once") == 2
        assert {r for b in blocks(f) for r in b.repeats} == {*repeats(f)}
        assert found == found[:1] * 9


def test_products_that_look_at_other_rows() -> None:
    """What multiplies from the left, or changes from round to round, needs all rows of a round."""
    x = sg.placeholder("x", shape=(8, 8), dtype="float64")
    w = sg.placeholder("w", shape=(3, 8, 8), dtype="float64")
    rng = np.random.default_rng(0)
    given = {"x": rng.normal(size=(8, 8)), "w": rng.normal(size=(3, 8, 8))}
    for body in (
        lambda s, v: (np.tanh(v @ s), None),
        lambda s, v: (np.tanh(s @ v), None),
        lambda s, v: (np.tanh(v @ s.T), None),
        lambda s, v: (np.tanh(s @ (v + s)), None),
    ):
        f = sg.compile(sg.scan(body, x, w)[0], verify=True)
        wanted = given["x"]
        for v in given["w"]:
            wanted, _ = body(wanted, v)
        np.testing.assert_allclose(f(**given), wanted, rtol=1e-12)
        assert not blocks(f)


# -- endings -----------------------------------------------------------------------------------------------------------

ENDLESS = {
    "numbers": "f, given = sg.compile(sg.while_loop(lambda y: y > 0, lambda y: y * x, x)), {'x': 1.0}",
    "arrays": (
        "f = sg.compile(sg.while_loop(lambda y: sg.sum(y) > 0, lambda y: y * x + a, a))\n"
        "given = {'x': 1.0, 'a': np.ones(100)}"
    ),
    "points": (
        "f = sg.compile(sg.map(lambda v: sg.while_loop(lambda y: y > 0, lambda y: y * x, v), a))\n"
        "given = {'x': 1.0, 'a': np.ones(5000)}"
    ),
    "rows": (
        "f = sg.compile(sg.fori_loop(0, 10**12, lambda i, y: y * x + a, a))\ngiven = {'x': 1.0, 'a': np.ones(5000)}"
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_ctrl_c_ends_an_endless_loop(name: str) -> None:
    code = f"""
import os, signal, threading
import numpy as np, symgraph as sg
x, a = sg.placeholder("x"), sg.placeholder("a", shape=("n",), dtype="float64")
{ENDLESS[name]}
def alarm(*_): raise TimeoutError("the alarm")
signal.signal(signal.SIGALRM, alarm)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
for send, error in ((signal.SIGINT, KeyboardInterrupt), (signal.SIGALRM, TimeoutError)):
    threading.Timer(0.3, lambda: os.kill(os.getpid(), send)).start()
    try:
        f(**given)
    except error:
        continue
    raise AssertionError("it ended by itself")
assert f(**given | {{'x': 0.0}}) is not None if {name!r} == "numbers" else True
"""
    run = subprocess.run([sys.executable, "-c", code], timeout=120, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr

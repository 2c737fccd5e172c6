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

import compiler.schedule
import symgraph as sg
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


if __name__ == "__main__":
    sys.exit(run_many(check, text=lambda seed: "\n".join(map(str, make(seed)))))

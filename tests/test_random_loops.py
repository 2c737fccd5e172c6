"""Loops of random bodies: compiled against Python's own loops, and their gradients against differences.

``python tests/test_random_loops.py 500 --first 1000`` runs many; a failure prints the program.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from campaigns import run_many

import symgraph as sg
from symgraph.traced import index_update
from symgraph.tree import flatten

PROGRAMS = 40

VECTOR_IF_EITHER = (
    "{p} * 0.5 + {q}",
    "np.sin({p}) - {q} * 0.1",
    "np.tanh({p} * {q})",
    "np.where({p} > 0.1, {p}, {q} * 0.3)",
    "np.maximum({p}, {q}) * 0.7",
    "cond(np.sum({p}) > 0.2, lambda: {p} * 0.5 + 0 * {q}, lambda: np.cos({q}) + 0 * {p})",
    "three_times({p} + 0 * {q}, {q})",
)
VECTOR_IF_FIRST = ("{p} * 0.9", "np.exp(-{p} * {p}) + a", "(v @ v) * {p} * 0.1", "np.sum(v * {q}) * 0.1 + 0 * {p}")
VECTOR_IF_SECOND = ("np.sum({p}) * 0.2 + {q}", "{vector}[{index}] * 0.5 + {q} * 0")
VECTOR = ("put({vector}, {index}, 0.3)", "put({vector}, {index}, {vector}[0] * 0.5 + a)")


@dataclass
class Program:
    """A function of a (a number), v (a vector) and xs (a row for each round), as text."""

    text: str
    size: int
    rounds: int
    rows: bool  # whether the elements of xs are vectors


def make(seed: int) -> Program:
    """A loop with random states, body, and values that it gathers; not all of them are used."""
    draw = random.Random(seed)
    size, rounds = draw.choice([1, 2, 3, 5]), draw.choice([0, 1, 2, 3, 4, 7])
    kind = draw.choice(["fori", "while", "scan", "scan", "map"])
    states = {f"s{k}": draw.random() < 0.5 for k in range(0 if kind == "map" else draw.choice([1, 2, 3]))}
    vectors = {**states, "a": False, "v": True}
    if kind != "while":
        vectors["i"] = False
    rows = draw.random() < 0.5
    if kind in ("scan", "map"):
        vectors["x"] = rows
    lines = []
    for k in range(draw.randint(2, 7)):
        p, q = draw.choice(list(vectors)), draw.choice(list(vectors))
        vector = draw.choice([name for name in vectors if vectors[name]])
        index = draw.choice(["0", "-1", f"i % {size}" if kind != "while" else "0"])
        form = draw.choice(VECTOR_IF_EITHER + VECTOR_IF_FIRST + VECTOR_IF_SECOND + VECTOR)
        lines.append(f"        t{k} = {form.format(p=p, q=q, vector=vector, index=index)}\n")
        if form in VECTOR_IF_EITHER:
            vectors[f"t{k}"] = vectors[p] or vectors[q]
        elif form in VECTOR:
            vectors[f"t{k}"] = True
        else:
            vectors[f"t{k}"] = vectors[p if form in VECTOR_IF_FIRST else q]

    def chosen(vector: bool) -> str:
        known = [name for name in vectors if vectors[name] == vector and name != "i"][-4:]
        return f"{draw.choice(known)} * 1.0"

    given = "".join(f"{s}, " for s in states)
    first = "".join("v * 1.0, " if vector else "a * 1.0, " for vector in states.values())
    after = "".join(f"{chosen(vector)}, " for vector in states.values())
    gathered = "".join(f"{chosen(draw.random() < 0.5)}, " for _ in range(draw.choice([0, 1, 2, 3])))
    checkpoint = draw.choice(["'all'", "'sqrt'", "2"])
    body = "".join(lines)
    if kind == "fori":
        head, unpack, back = "i, s", f"({given}) = s", f"({after})"
        call = f"fori({rounds}, body, ({first}), checkpoint={checkpoint})"
    elif kind == "while":
        head, unpack, back = "s", f"count, ({given}) = s", f"count + 1, ({after})"
        call = f"while_(lambda s: s[0] < {rounds}, body, (0, ({first})), checkpoint={checkpoint})"
    elif kind == "scan":
        head, unpack, back = "s, ix", f"({given}), (i, x) = s, ix", f"({after}), ({gathered})"
        call = f"scan(body, ({first}), xs, reverse={draw.random() < 0.5}, checkpoint={checkpoint})"
    else:
        head, unpack, back = "ix", "i, x = ix", f"({gathered or 'a * v, '})"
        call = "map_(body, xs)"
    inner = f"    def body({head}):\n        {unpack}\n{body}        return {back}\n"
    return Program(f"def program(a, v, xs):\n{inner}    return {call}\n", size, rounds, rows)


def by_python() -> dict[str, Any]:
    """What the names in a program mean to Python."""

    def put(a: Any, i: int, value: Any) -> Any:
        a = np.array(a)
        a[i] = value
        return a

    def three_times(p: Any, q: Any) -> Any:
        for _ in range(3):
            p = np.tanh(p * 0.5) + q * 0.1
        return p

    def fori(count: int, body: Callable[..., Any], s: Any, checkpoint: Any) -> Any:
        for i in range(count):
            s = body(i, s)
        return s

    def while_(cond: Callable[..., Any], body: Callable[..., Any], s: Any, checkpoint: Any) -> Any:
        while cond(s):
            s = body(s)
        return s

    def scan(body: Callable[..., Any], s: Any, xs: Any, reverse: bool, checkpoint: Any) -> Any:
        gathered = {}
        for i in reversed(range(len(xs))) if reverse else range(len(xs)):
            s, gathered[i] = body(s, (i, xs[i]))
        return s, tuple(map(np.stack, zip(*(gathered[i] for i in range(len(xs))), strict=True)))

    def map_(body: Callable[..., Any], xs: Any) -> Any:
        return tuple(map(np.stack, zip(*(body((i, x)) for i, x in enumerate(xs)), strict=True)))

    def cond(holds: Any, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
        return yes() if holds else no()

    functions = put, three_times, fori, while_, scan, map_, cond
    return {"np": np, **{function.__name__: function for function in functions}}


def by_symgraph(rounds: int) -> dict[str, Any]:
    """What the names in a program mean to symgraph."""
    numbers = np.arange(rounds)
    return {
        "np": np,
        "put": index_update,
        "three_times": lambda p, q: sg.fori_loop(0, 3, lambda _, z: np.tanh(z * 0.5) + q * 0.1, p),
        "fori": lambda count, body, s, checkpoint: sg.fori_loop(0, count, body, s, checkpoint=checkpoint),
        "while_": sg.while_loop,
        "scan": lambda body, s, xs, **options: sg.scan(body, s, (numbers, xs), **options),
        "map_": lambda body, xs: sg.map(body, (numbers, xs)),
        "cond": sg.cond,
    }


def meaning(program: Program, names: dict[str, Any]) -> Callable[..., Any]:
    exec(program.text, names)
    found: Callable[..., Any] = names["program"]
    return found


def check(seed: int) -> None:
    program = make(seed)
    rng = np.random.default_rng(seed)
    shape = (program.rounds, program.size) if program.rows else (program.rounds,)
    data = {"a": np.float64(rng.normal()), "v": rng.normal(size=program.size), "xs": rng.normal(size=shape)}
    symbols = {name: sg.placeholder(name, np.shape(x), "float64") for name, x in data.items()}
    formulas = flatten(meaning(program, by_symgraph(program.rounds))(**symbols))[0]
    found = sg.compile(formulas, list(symbols.values()), fma=False)(**data)
    if program.rounds:  # else nothing shows the shapes of what is gathered
        wanted = flatten(meaning(program, by_python())(**data))[0]
        for k, (one, other) in enumerate(zip(found, wanted, strict=True)):
            np.testing.assert_allclose(
                one, other, rtol=1e-9, atol=1e-11, err_msg=f"seed {seed}, value {k} of\n{program.text}"
            )
    floats = [o for o in formulas if isinstance(o, sg.Expr) and o.type.dtype == np.float64]
    loss = sum((np.sum(np.sin(o) * (1 + 0.1 * k)) for k, o in enumerate(floats)), start=sg.constant(0.0))
    function = sg.compile(loss, list(symbols.values()), wrt=list(symbols.values()))
    gradients = function.grad(**data)
    for name, value in data.items():
        direction = rng.normal(size=np.shape(value))
        high, low = (function(**{**data, name: value + step * direction}) for step in (1e-6, -1e-6))
        np.testing.assert_allclose(
            np.sum(gradients[name] * direction),
            (high - low) / 2e-6,
            rtol=1e-4,
            atol=1e-5,
            err_msg=f"seed {seed}, gradient for {name} of\n{program.text}",
        )


@pytest.mark.parametrize("seed", range(PROGRAMS))
def test_a_loop_of_a_random_body(seed: int) -> None:
    check(seed)


if __name__ == "__main__":
    sys.exit(run_many(check, text=lambda seed: make(seed).text))

"""Random steps that Python unrolls: compiled with loops in their place against compiled as they are.

``python tests/test_random_steps.py 500 --first 1000`` runs many; a failure prints the program.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from campaigns import run_many
from support import without_loops
from test_roll import loops

import symgraph as sg

PROGRAMS = 16

BINARY = (
    "{p} * 0.5 + {q}",
    "np.sin({p}) * w - {q} * 0.1",
    "np.tanh({p} * {q}) + 0.3",
    "np.where({p} > 0.1, {p} * 0.7, {q} * 0.3)",
    "np.maximum({p}, {q}) * 0.7 + 0.1",
    "{p} * w + {q} * h",
    "np.cos({q}) - {p} * {q} * 0.25",
    "{p} - 0.01 * ({q} * {p} + w)",
)
BY_STEP = ("xs[k]", "xs[k + 1]", "(0.5 + k * 1e-4)", "(1 + k % 3) * 0.1", "xs[count - k]")


def make(seed: int) -> str:
    """A function of the numbers w and h and of the elements xs, as text."""
    draw = random.Random(seed)
    names = [f"s{k}" for k in range(draw.choice([1, 1, 2, 3]))]
    count = draw.choice([60, 130, 350])
    known, lines = [*names, "w"], list[str]()
    for k in range(draw.choice([2, 4, 6])):
        p, q = draw.choice(known[-4:]), draw.choice([*known, draw.choice(BY_STEP)])
        lines.append(f"v{k} = {draw.choice(BINARY).format(p=p, q=q)}")
        known.append(f"v{k}")
    after = [draw.choice([n for n in known if n.startswith("v")]) for _ in names]
    after[0] = known[-1]  # what is computed last is used
    lines.append(f"{', '.join(names)} = {', '.join(f'{a} * 0.9' for a in after)}")
    if draw.random() < 0.4:
        lines.append(f"total = total + {draw.choice(known)} * {draw.choice(known)}")
    if draw.random() < 0.3:
        lines.append(f"if k % {draw.choice([1, 1, 50])} == 0: seen.append({draw.choice(names)})")
    starts = ", ".join(draw.choice(["w", "h", "xs[0]", "0.1"]) for _ in names)
    text = ["def program(w, h, xs):", f"    count, seen, total = {count}, [], h", f"    {', '.join(names)} = {starts}"]
    text += ["    for k in range(count):", *(f"        {line}" for line in lines)]
    text.append(f"    return {' + '.join(names)} + total + sum(seen)")
    return "\n".join(text)


def program(seed: int) -> Callable[..., Any]:
    """The function."""
    scope: dict[str, Any] = {"np": np}
    exec(make(seed), scope)
    made: Callable[..., Any] = scope["program"]
    return made


def check(seed: int) -> int:
    """Compare values, bit by bit, and gradients; returns how many loops there are."""
    draw = random.Random(f"types {seed}")
    dtype = draw.choice(["float64", "float64", "float32"])
    declared = draw.random() < 0.5
    shapes = {n: ("n",) if draw.random() < 0.3 else () for n in "wh"}
    w, h = (sg.placeholder(n, shape=shapes[n], dtype=dtype) if declared else sg.placeholder(n) for n in "wh")
    xs = sg.placeholder("xs", shape=(360,), dtype=dtype)
    many = np.linspace(0.3, 0.8, draw.choice([1, 5, 40]), dtype=dtype)
    given = {n: many if shapes[n] else many[0] for n in "wh"}
    given["xs"] = np.linspace(0.1, 0.9, 360, dtype=dtype)
    y = program(seed)(w, h, xs)
    wrt = draw.choice([[w, h, xs], [w], [h, w]])
    wrt = [n for n in wrt if n in sg.expr.placeholders([y])]
    if not wrt:
        return 0
    fma = draw.random() < 0.5
    found, expected = [sg.compile(y, wrt=wrt, fma=fma, verify=True) for _ in range(2)]
    given = {n.name: given[n.name] for n in found.inputs}
    value, slopes = found.value_and_grad(**given)
    with without_loops():
        wanted, steep = expected.value_and_grad(**given)
        alone = expected(**given)
    assert value.dtype == wanted.dtype
    assert found(**given).tobytes() == value.tobytes() == alone.tobytes() == wanted.tobytes()
    for name, slope in slopes.items():
        assert slope.dtype == dtype and slope.shape == steep[name].shape
        scale = np.abs(steep[name]).max() or 1.0
        np.testing.assert_allclose(slope / scale, steep[name] / scale, atol=1e-11 if dtype == "float64" else 1e-3)
    return sum(len(loops(variant.steps[-1].outputs)) for _, variant in found.variants())


@pytest.mark.parametrize("seed", range(PROGRAMS))
def test_random_steps(seed: int) -> None:
    check(seed)


def test_most_of_them_are_rolled() -> None:
    assert sum(check(seed) > 0 for seed in range(6)) >= 4


if __name__ == "__main__":
    sys.exit(run_many(check, text=make))

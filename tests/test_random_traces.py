"""Functions that write into arrays and into views of them, at random: traced, against NumPy.

``python tests/test_random_traces.py 500 --first 1000`` runs many; a failure prints the function.
"""

from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np
from campaigns import run_many

import symgraph as sg

PROGRAMS = 60
ONE_AXIS = (":", "1:", ":-1", "::2", "::-1", "0", "-1", "1:2", "k", "-k - 1")


def make(seed: int) -> str:
    """A function of a vector x, a matrix m, a number a, and an index k."""
    draw = random.Random(seed)
    axes = {"y": 1, "z": 2}
    lines = ["def f(x, m, a, k):", "    y, z = x.copy(), m * 1.0"]

    def new(expression: str, ndim: int) -> None:
        lines.append(f"    n{len(axes)} = {expression}")
        axes[f"n{len(axes)}"] = ndim

    for _ in range(draw.randint(3, 9)):
        one = draw.choice(list(axes))
        at, value = draw.choice(ONE_AXIS), draw.choice(["a", "0.5", "2"])
        statements = [
            f"{one}[{at}] = {value}",
            f"{one}[{at}] += a",
            f"{one} *= {value}",
            f"{one}[{one} > {value}] = 0.25",
            f"{one}[...] = np.sin({one}) * a",
            f"for i in range(2): {one}[i % {one}.shape[0]] -= 0.5 * i",
        ]
        if axes[one] == 2:
            statements += [f"{one}[{at}, {draw.choice(ONE_AXIS)}] = a * 0.5"] * 2
        kind = draw.randrange(12)
        if kind < 6:
            lines.append(f"    {draw.choice(statements)}")
        elif kind < 8:
            new(f"{one}[{draw.choice(['1:', '::-1', ':-1', '::2', ':'])}]", axes[one])
        elif kind == 8:
            new(f"{one}.copy()", axes[one])
        elif kind == 9:
            new(f"{one} * a + 1", axes[one])
        elif axes[one] == 2:
            new(*draw.choice([(f"{one}.T", 2), (f"{one}[k]", 1), (f"{one}[:, k]", 1), (f"np.take({one}, k, 0)", 1)]))
    return "\n".join([*lines, f"    return [{', '.join(axes)}]"])


def check(seed: int) -> bool:
    """Whether the function is one: NumPy may refuse it."""
    text, rng = make(seed), np.random.default_rng(seed)
    names: dict[str, Any] = {"np": np}
    exec(text, names)
    rows, columns = rng.integers(1, 5, 2)
    data = {"x": rng.normal(size=rows), "m": rng.normal(size=(rows, columns)), "a": np.float64(rng.normal())}
    data["k"] = rng.integers(0, min(rows, columns))
    try:
        wanted = names["f"](**{name: np.copy(value)[()] for name, value in data.items()})
    except (IndexError, ZeroDivisionError):
        return False
    formulas, inputs = sg.symbolic(
        names["f"], **{n: sg.spec(np.shape(v), np.asarray(v).dtype) for n, v in data.items()}
    )
    before = {name: np.copy(value) for name, value in data.items()}
    for k, (one, other) in enumerate(zip(sg.compile(formulas, inputs)(**data), wanted, strict=True)):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13, err_msg=f"seed {seed}, value {k} of\n{text}")
    for name, value in before.items():
        np.testing.assert_array_equal(data[name], value, f"seed {seed}: {name} was changed by\n{text}")
    return True


def test_writes_are_those_of_numpy() -> None:
    assert sum(check(seed) for seed in range(PROGRAMS)) > PROGRAMS * 0.9


if __name__ == "__main__":
    sys.exit(run_many(check, text=make))

"""What is computed: one entry of `WORKLOADS` each.

A formula is written once, as a function of a module in NumPy's style and the arguments. Where gradients are asked for,
`by_hand` computes value and gradients as one would write them in NumPy; it is the reference that all are compared with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Workload:
    """A formula, its arguments, and what is asked for.

    Attributes:
        name: of the row; the size is added to it.
        formula: ``formula(xp, *arguments)``, where xp is NumPy or a module with its names.
        arguments: ``arguments(rng, *size)``: name to value in the order of the formula; Python floats, float64 arrays.
        size: what `arguments` is given.
        quick_size: the same, for a trial run.
        wrt: the arguments that gradients are taken for; empty where the value alone is asked for. The gradient of a
            result with many elements is that of their sum.
        by_hand: ``by_hand(*arguments)``: value, then gradients, in NumPy; needed where wrt is not empty.
        elementwise: every element of the result depends on the same element of the arguments alone.
    """

    name: str
    formula: Callable[..., Any]
    arguments: Callable[..., Arguments]
    size: tuple[int, ...] = ()
    quick_size: tuple[int, ...] = ()
    wrt: tuple[str, ...] = ()
    by_hand: Callable[..., Sequence[Any]] | None = None
    elementwise: bool = False

    @property
    def title(self) -> str:
        """The name, with what is computed and how much of it: unique."""
        what = ", value and gradient" if self.wrt else ""
        return f"{self.name}{what}{', ' + ' × '.join(f'{n:,}' for n in self.size) if self.size else ''}"

    def inputs(self, quick: bool, dtype: str) -> Arguments:
        """The arguments: the same numbers every time, arrays in the dtype wanted."""
        made = self.arguments(np.random.default_rng(0), *(self.quick_size if quick else self.size))
        return {name: value.astype(dtype) if isinstance(value, np.ndarray) else value for name, value in made.items()}

    def reference(self, arguments: Arguments) -> list[Any]:
        """Value, then gradients, computed in float64."""
        wide = [np.asarray(v, np.float64) for v in arguments.values()]
        found = self.by_hand(*wide) if self.by_hand else [self.formula(np, *wide)]
        return [np.asarray(v) for v in found]


# -- functions of numbers ----------------------------------------------------------------------------------------------


def two_floats(rng: np.random.Generator) -> Arguments:
    return {"x": 0.7, "y": -1.3}


def multiply_add(xp: Any, a: Any, b: Any) -> Any:
    return a * b + 1


def sphere(xp: Any, x: Any, y: Any) -> Any:
    return x**2 + y**2


def sphere_by_hand(x: Any, y: Any) -> Sequence[Any]:
    return x**2 + y**2, 2 * x, 2 * y


def matyas(xp: Any, x: Any, y: Any) -> Any:
    return 0.26 * (x**2 + y**2) - 0.48 * x * y


def matyas_by_hand(x: Any, y: Any) -> Sequence[Any]:
    return matyas(np, x, y), 0.52 * x - 0.48 * y, 0.52 * y - 0.48 * x


def goldstein_price(xp: Any, x: Any, y: Any) -> Any:
    return (1 + (x + y + 1) ** 2 * (19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2)) * (
        30 + (2 * x - 3 * y) ** 2 * (18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2)
    )


def goldstein_price_by_hand(x: Any, y: Any) -> Sequence[Any]:
    s, t = x + y + 1, 2 * x - 3 * y
    p = 19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2
    q = 18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2
    u, v = 1 + s**2 * p, 30 + t**2 * q
    u_x = u_y = 2 * s * p + s**2 * (6 * x + 6 * y - 14)
    v_x = 4 * t * q + t**2 * (24 * x - 36 * y - 32)
    v_y = -6 * t * q + t**2 * (54 * y - 36 * x + 48)
    return u * v, u_x * v + u * v_x, u_y * v + u * v_y


def rosenbrock(xp: Any, x: Any, y: Any) -> Any:
    return 100 * (y - x**2) ** 2 + (x - 1) ** 2


def rosenbrock_by_hand(x: Any, y: Any) -> Sequence[Any]:
    d = y - x**2
    return 100 * d**2 + (x - 1) ** 2, 2 * (x - 1) - 400 * x * d, 200 * d


def taylor_sine(xp: Any, x: Any) -> Any:
    total = 0.0
    for k in range(20):
        total = total + (-1) ** k / math.factorial(2 * k + 1) * x ** (2 * k + 1)
    return total


def taylor_sine_by_hand(x: Any) -> Sequence[Any]:
    return taylor_sine(np, x), sum((-1) ** k / math.factorial(2 * k) * x ** (2 * k) for k in range(20))


def tanh(xp: Any, x: Any) -> Any:
    return xp.tanh(x)


def tanh_by_hand(x: Any) -> Sequence[Any]:
    y = np.tanh(x)
    return y, 1 - y * y


def squared_exponential(xp: Any, x: Any) -> Any:
    return xp.exp(x**2) ** 2


def squared_exponential_by_hand(x: Any) -> Sequence[Any]:
    y = np.exp(x**2) ** 2
    return y, 4 * x * y


# -- element by element ------------------------------------------------------------------------------------------------


def two_rows(rng: np.random.Generator, n: int) -> Arguments:
    return {"a": rng.uniform(0.2, 1.0, n), "b": rng.uniform(0.2, 1.1, n)}


def wave(xp: Any, a: Any, b: Any) -> Any:
    return xp.exp(a) * xp.sin(b) + xp.tanh(a)


def wave_by_hand(a: Any, b: Any) -> Sequence[Any]:
    e, s, t = np.exp(a), np.sin(b), np.tanh(a)
    es = e * s
    return es + t, es + (1 - t * t), e * np.cos(b)


def chain(operations: int) -> Callable[..., Any]:
    """A formula in which each operation works on the result of the one before."""

    def formula(xp: Any, a: Any, b: Any) -> Any:
        y = a
        for k in range(operations):
            y = y * b if k % 3 == 0 else xp.sin(y) if k % 3 == 1 else y + a
        return y

    return formula


def chain_by_hand(operations: int) -> Callable[..., Sequence[Any]]:
    """The chain's value and gradients, by going back through what was kept."""

    def compute(a: Any, b: Any) -> Sequence[Any]:
        kept = [a]
        for k in range(operations):
            y = kept[-1]
            kept.append(y * b if k % 3 == 0 else np.sin(y) if k % 3 == 1 else y + a)
        bar, a_bar, b_bar = np.ones_like(a), np.zeros_like(a), np.zeros_like(b)
        for k in reversed(range(operations)):
            if k % 3 == 0:
                b_bar = b_bar + bar * kept[k]
                bar = bar * b
            elif k % 3 == 1:
                bar = bar * np.cos(kept[k])
            else:
                a_bar = a_bar + bar
        return kept[-1], a_bar + bar, b_bar

    return compute


def chain_of(operations: int, elements: int = 0) -> Workload:
    """A chain of operations with its gradient, on numbers or on arrays."""
    return Workload(
        f"chain of {operations:,} operations",
        chain(operations),
        two_rows if elements else lambda rng: {"a": 0.5, "b": 1.1},
        (elements,) if elements else (),
        (16,) if elements else (),
        ("a", "b"),
        chain_by_hand(operations),
        True,
    )


# -- models ------------------------------------------------------------------------------------------------------------


def logistic_regression(xp: Any, w: Any, c: Any, X: Any, t: Any) -> Any:
    z = X @ w + c
    return xp.mean(xp.maximum(z, 0.0) + xp.log1p(xp.exp(-xp.abs(z))) - t * z)


def logistic_regression_by_hand(w: Any, c: Any, X: Any, t: Any) -> Sequence[Any]:
    z = X @ w + c
    e = np.exp(-np.abs(z))
    r = (np.where(z >= 0, 1.0, e) / (1 + e) - t) / len(z)
    return np.mean(np.maximum(z, 0.0) + np.log1p(e) - t * z), X.T @ r, np.sum(r)


def regression_data(rng: np.random.Generator, n: int, m: int) -> Arguments:
    X, w = rng.normal(size=(n, m)), rng.normal(size=m) / m**0.5
    return {"w": w + 0.1, "c": 0.05, "X": X, "t": (X @ w > 0).astype(np.float64)}


def network(xp: Any, x: Any, y: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    """The network of `symgraph.demo`: one hidden layer, mean cross-entropy."""
    z = xp.tanh(x @ w1 + b1) @ w2 + b2
    z = z - xp.max(z, axis=1, keepdims=True)
    return -xp.mean(xp.sum(y * (z - xp.log(xp.sum(xp.exp(z), axis=1, keepdims=True))), axis=1))


def network_by_hand(x: Any, y: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Sequence[Any]:
    h = np.tanh(x @ w1 + b1)
    z = h @ w2 + b2
    z = z - np.max(z, axis=1, keepdims=True)
    e = np.exp(z)
    s = np.sum(e, axis=1, keepdims=True)
    value = -np.mean(np.sum(y * (z - np.log(s)), axis=1))
    z_bar = (e / s - y) / len(x)
    u_bar = (z_bar @ w2.T) * (1 - h * h)
    return value, x.T @ u_bar, np.sum(u_bar, axis=0), h.T @ z_bar, np.sum(z_bar, axis=0)


def network_data(rng: np.random.Generator, batch: int, pixels: int, hidden: int, digits: int) -> Arguments:
    return {
        "x": rng.uniform(size=(batch, pixels)),
        "y": np.eye(digits)[rng.integers(0, digits, batch)],
        "w1": rng.normal(size=(pixels, hidden)) * (2 / (pixels + hidden)) ** 0.5,
        "b1": np.zeros(hidden),
        "w2": rng.normal(size=(hidden, digits)) * (2 / (hidden + digits)) ** 0.5,
        "b2": np.zeros(digits),
    }


def softmax(xp: Any, x: Any) -> Any:
    e = xp.exp(x - xp.max(x, axis=1, keepdims=True))
    return e / xp.sum(e, axis=1, keepdims=True)


def layer_norm(xp: Any, x: Any, g: Any, c: Any) -> Any:
    """The mean square of a normalised, scaled and shifted array."""
    d = x - xp.mean(x, axis=1, keepdims=True)
    y = d / xp.sqrt(xp.mean(d * d, axis=1, keepdims=True) + 1e-5) * g + c
    return xp.mean(y * y)


def layer_norm_by_hand(x: Any, g: Any, c: Any) -> Sequence[Any]:
    d = x - np.mean(x, axis=1, keepdims=True)
    r = 1 / np.sqrt(np.mean(d * d, axis=1, keepdims=True) + 1e-5)
    n = d * r
    y = n * g + c
    y_bar = y * (2 / y.size)
    n_bar = y_bar * g
    x_bar = r * (n_bar - np.mean(n_bar, axis=1, keepdims=True) - n * np.mean(n_bar * n, axis=1, keepdims=True))
    return np.mean(y * y), x_bar, np.sum(y_bar * n, axis=0), np.sum(y_bar, axis=0)


# -- the rows ----------------------------------------------------------------------------------------------------------

XY = ("x", "y")
WORKLOADS: list[Workload] = [
    Workload("a·b+1 of two floats", multiply_add, lambda rng: {"a": 0.7, "b": -1.3}, elementwise=True),
    Workload("sphere of two floats", sphere, two_floats, (), (), XY, sphere_by_hand, True),
    Workload("Matyas of two floats", matyas, two_floats, (), (), XY, matyas_by_hand, True),
    Workload("Goldstein-Price of two floats", goldstein_price, two_floats, (), (), XY, goldstein_price_by_hand, True),
    Workload("Rosenbrock of two floats", rosenbrock, two_floats, (), (), XY, rosenbrock_by_hand, True),
    Workload("sine by 20 Taylor terms", taylor_sine, lambda rng: {"x": 0.8}, (), (), ("x",), taylor_sine_by_hand, True),
    Workload("tanh of a float", tanh, lambda rng: {"x": 0.8}, (), (), ("x",), tanh_by_hand, True),
    Workload(
        "(exp(x²))² of a float",
        squared_exponential,
        lambda rng: {"x": 0.5},
        (),
        (),
        ("x",),
        squared_exponential_by_hand,
        True,
    ),
    *(Workload("a·b+1", multiply_add, two_rows, (n,), (17,), elementwise=True) for n in (1_000, 1_000_000)),
    *(Workload("exp·sin+tanh", wave, two_rows, (n,), (17,), elementwise=True) for n in (1_000, 1_000_000)),
    *(
        Workload("exp·sin+tanh", wave, two_rows, (n,), (17,), ("a", "b"), wave_by_hand, True)
        for n in (1_000, 1_000_000)
    ),
    Workload("Rosenbrock", rosenbrock, two_rows, (1_000_000,), (17,), ("a", "b"), rosenbrock_by_hand, True),
    *(chain_of(n, 1_000) for n in (10, 100, 1_000)),
    Workload(
        "logistic regression",
        logistic_regression,
        regression_data,
        (100_000, 100),
        (40, 5),
        ("w", "c"),
        logistic_regression_by_hand,
    ),
    Workload(
        "digits network",
        network,
        network_data,
        (128, 64, 64, 10),
        (8, 6, 5, 3),
        ("w1", "b1", "w2", "b2"),
        network_by_hand,
    ),
    Workload("softmax", softmax, lambda rng, n, m: {"x": rng.normal(size=(n, m))}, (4096, 512), (9, 17)),
    Workload(
        "layer norm",
        layer_norm,
        lambda rng, n, m: {"x": rng.normal(size=(n, m)), "g": rng.uniform(0.5, 1.5, m), "c": rng.normal(size=m)},
        (4096, 512),
        (9, 17),
        ("x", "g", "c"),
        layer_norm_by_hand,
    ),
]

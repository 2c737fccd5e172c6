"""Formulas of numbers, and of arrays element by element, with their gradients as one would write them in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Arguments = dict[str, Any]
"""Name to value, in the order of the formula."""


# -- functions of numbers ----------------------------------------------------------------------------------------------


def erf(x: Any) -> Any:
    """SciPy's error function, which NumPy lacks, in the form that SciPy has it in."""
    from scipy.special import erf as function

    return function(x)


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


def one_row(rng: np.random.Generator, n: int) -> Arguments:
    return {"x": rng.uniform(-1.0, 1.0, n)}


def wave(xp: Any, x: Any) -> Any:
    return xp.exp(x) * xp.sin(x) + xp.tanh(x)


def wave_by_hand(x: Any) -> Sequence[Any]:
    e, s, t = np.exp(x), np.sin(x), np.tanh(x)
    return e * s + t, e * (s + np.cos(x)) + (1 - t * t)


def polynomial(xp: Any, x: Any) -> Any:
    """Degree 20, by Horner's rule: the exponential's series."""
    y = 1 / math.factorial(20)
    for k in reversed(range(20)):
        y = y * x + 1 / math.factorial(k)
    return y


def polynomial_by_hand(x: Any) -> Sequence[Any]:
    y, slope = np.full_like(x, 1 / math.factorial(20)), np.zeros_like(x)
    for k in reversed(range(20)):
        slope = slope * x + y
        y = y * x + 1 / math.factorial(k)
    return y, slope


def options(rng: np.random.Generator, n: int) -> Arguments:
    """Spot and strike prices, years, interest rates, volatilities."""
    ranges = {"S": (50, 150), "K": (50, 150), "T": (0.1, 2.0), "r": (0.0, 0.1), "v": (0.1, 0.5)}
    return {name: rng.uniform(low, high, n) for name, (low, high) in ranges.items()}


def black_scholes(xp: Any, S: Any, K: Any, T: Any, r: Any, v: Any) -> Any:
    """The price of a call option."""
    spread = v * xp.sqrt(T)
    d1 = (xp.log(S / K) + (r + v * v / 2) * T) / spread
    d2 = d1 - spread
    half = 2**-0.5
    return S * (0.5 + 0.5 * xp.erf(d1 * half)) - K * xp.exp(-r * T) * (0.5 + 0.5 * xp.erf(d2 * half))


def black_scholes_by_hand(S: Any, K: Any, T: Any, r: Any, v: Any) -> Sequence[Any]:
    root = np.sqrt(T)
    spread = v * root
    d1 = (np.log(S / K) + (r + v * v / 2) * T) / spread
    n1, n2 = 0.5 + 0.5 * erf(d1 * 2**-0.5), 0.5 + 0.5 * erf((d1 - spread) * 2**-0.5)
    discount = np.exp(-r * T)
    present = K * discount
    density = S * np.exp(-d1 * d1 / 2) / (2 * np.pi) ** 0.5
    return (
        S * n1 - present * n2,
        n1,
        -discount * n2,
        density * v / (2 * root) + r * present * n2,
        T * present * n2,
        density * root,
    )


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

"""Formulas over arrays with axes, each with its gradients as one would write them in NumPy, and its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.elementwise import Arguments, erf

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


def table(rng: np.random.Generator, *size: int) -> Arguments:
    return {"x": rng.normal(size=size)}


def softmax(xp: Any, x: Any) -> Any:
    e = xp.exp(x - xp.max(x, axis=1, keepdims=True))
    return e / xp.sum(e, axis=1, keepdims=True)


def layer_norm(xp: Any, x: Any, g: Any, b: Any) -> Any:
    """The mean square of a normalised, scaled and shifted array."""
    d = x - xp.mean(x, axis=1, keepdims=True)
    y = d / xp.sqrt(xp.mean(d * d, axis=1, keepdims=True) + 1e-5) * g + b
    return xp.mean(y * y)


def layer_norm_by_hand(x: Any, g: Any, b: Any) -> Sequence[Any]:
    d = x - np.mean(x, axis=1, keepdims=True)
    r = 1 / np.sqrt(np.mean(d * d, axis=1, keepdims=True) + 1e-5)
    n = d * r
    y = n * g + b
    y_bar = y * (2 / y.size)
    n_bar = y_bar * g
    x_bar = r * (n_bar - np.mean(n_bar, axis=1, keepdims=True) - n * np.mean(n_bar * n, axis=1, keepdims=True))
    return np.mean(y * y), x_bar, np.sum(y_bar * n, axis=0), np.sum(y_bar, axis=0)


def layer_norm_data(rng: np.random.Generator, n: int, m: int) -> Arguments:
    return {"x": rng.normal(size=(n, m)), "g": rng.uniform(0.5, 1.5, m), "b": rng.normal(size=m)}


def variance(axis: int) -> Callable[..., Any]:
    """The variance over an axis, in two passes, as it is defined."""

    def formula(xp: Any, x: Any) -> Any:
        d = x - xp.mean(x, axis=axis, keepdims=True)
        return xp.mean(d * d, axis=axis)

    return formula


def gelu_network(xp: Any, x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    """Two layers with the Gaussian error linear unit between, as in a transformer; the mean square of the result."""
    z = x @ w1 + b1
    y = (z * (0.5 + 0.5 * xp.erf(z * 2**-0.5))) @ w2 + b2
    return xp.mean(y * y)


def gelu_network_by_hand(x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Sequence[Any]:
    z = x @ w1 + b1
    share = 0.5 + 0.5 * erf(z * 2**-0.5)
    h = z * share
    y = h @ w2 + b2
    y_bar = y * (2 / y.size)
    z_bar = (y_bar @ w2.T) * (share + z * np.exp(-z * z / 2) / (2 * np.pi) ** 0.5)
    return np.mean(y * y), x.T @ z_bar, np.sum(z_bar, axis=0), h.T @ y_bar, np.sum(y_bar, axis=0)


def gelu_network_data(rng: np.random.Generator, batch: int, width: int, hidden: int) -> Arguments:
    return {
        "x": rng.normal(size=(batch, width)),
        "w1": rng.normal(size=(width, hidden)) / width**0.5,
        "b1": rng.normal(size=hidden),
        "w2": rng.normal(size=(hidden, width)) / hidden**0.5,
        "b2": rng.normal(size=width),
    }


def attention(xp: Any, q: Any, k: Any, v: Any) -> Any:
    """One head of width 64; the mean square of the result."""
    y = softmax(xp, (q @ k.T) * 0.125) @ v
    return xp.mean(y * y)


def attention_by_hand(q: Any, k: Any, v: Any) -> Sequence[Any]:
    p = softmax(np, (q @ k.T) * 0.125)
    y = p @ v
    y_bar = y * (2 / y.size)
    p_bar = y_bar @ v.T
    s_bar = p * (p_bar - np.sum(p_bar * p, axis=1, keepdims=True)) * 0.125
    return np.mean(y * y), s_bar @ k, s_bar.T @ q, p.T @ y_bar


def attention_data(rng: np.random.Generator, n: int, m: int) -> Arguments:
    return {name: rng.normal(size=(n, m)) for name in "qkv"}


def distances(xp: Any, x: Any) -> Any:
    """The mean distance of any two points; a little is added under the root, which has no slope at zero."""
    d = x[:, None, :] - x[None, :, :]
    return xp.mean(xp.sqrt(xp.sum(d * d, axis=2) + 1e-6))


def distances_by_hand(x: Any) -> Sequence[Any]:
    d = x[:, None, :] - x[None, :, :]
    r = np.sqrt(np.sum(d * d, axis=2) + 1e-6)
    return np.mean(r), np.sum(d / r[:, :, None], axis=1) * (2 / r.size)


def stencil(xp: Any, x: Any) -> Any:
    """The mean square of Laplace's operator on the inner points of a grid."""
    inner = slice(1, -1)
    c = x[inner, inner, inner]
    d = (
        (x[2:, inner, inner] + x[:-2, inner, inner])
        + (x[inner, 2:, inner] + x[inner, :-2, inner])
        + (x[inner, inner, 2:] + x[inner, inner, :-2])
        - 6.0 * c
    )
    return xp.mean(d * d)


def stencil_by_hand(x: Any) -> Sequence[Any]:
    inner = slice(1, -1)
    d = -6.0 * x[inner, inner, inner]
    ends = (slice(2, None), slice(-2))
    sides = [tuple(end if a == axis else inner for a in range(3)) for axis in range(3) for end in ends]
    for side in sides:
        d += x[side]
    d_bar = d * (2 / d.size)
    x_bar = np.zeros_like(x)
    x_bar[inner, inner, inner] = -6.0 * d_bar
    for side in sides:
        x_bar[side] += d_bar
    return np.mean(d * d), x_bar


def assignment(xp: Any, c: Any, x: Any) -> Any:
    """The loss of soft k-means: how unlikely points are under equal Gaussians around the centres."""
    d = x[:, None, :] - c[None, :, :]
    s = xp.sum(d * d, axis=2) * -0.5
    top = xp.max(s, axis=1, keepdims=True)
    return -xp.mean(xp.log(xp.sum(xp.exp(s - top), axis=1)) + top[:, 0])


def assignment_by_hand(c: Any, x: Any) -> Sequence[Any]:
    s = -0.5 * (np.sum(x * x, axis=1)[:, None] - 2 * x @ c.T + np.sum(c * c, axis=1))
    top = np.max(s, axis=1, keepdims=True)
    e = np.exp(s - top)
    total = np.sum(e, axis=1, keepdims=True)
    p = e / total
    return -np.mean(np.log(total) + top), (np.sum(p, axis=0)[:, None] * c - p.T @ x) / len(x)


def assignment_data(rng: np.random.Generator, points: int, centres: int, coordinates: int) -> Arguments:
    c = rng.normal(size=(centres, coordinates))
    return {"c": c, "x": c[rng.integers(0, centres, points)] + rng.normal(size=(points, coordinates))}


def valley(xp: Any, x: Any) -> Any:
    """Rosenbrock's function of one long vector."""
    return xp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def valley_by_hand(x: Any) -> Sequence[Any]:
    a = x[:-1]
    d = x[1:] - a**2
    x_bar = np.zeros_like(x)
    x_bar[:-1] = -400 * a * d - 2 * (1 - a)
    x_bar[1:] += 200 * d
    return np.sum(100 * d**2 + (1 - a) ** 2), x_bar

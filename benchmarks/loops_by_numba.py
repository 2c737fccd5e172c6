"""Loops written by hand for Numba: what loops inside kernels compete with."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

fast = numba.njit(fastmath={"contract"}, error_model="numpy")


@fast
def _slope(x: float, y: float, z: float, s: float, r: float, b: float) -> Any:
    return s * (y - x), x * (r - z) - y, x * y - b * z


@fast
def lorenz(s: float, r: float, b: float, steps: int, h: float) -> Any:
    x = y = z = 1.0
    for _ in range(steps):
        a0, a1, a2 = _slope(x, y, z, s, r, b)
        b0, b1, b2 = _slope(x + h / 2 * a0, y + h / 2 * a1, z + h / 2 * a2, s, r, b)
        c0, c1, c2 = _slope(x + h / 2 * b0, y + h / 2 * b1, z + h / 2 * b2, s, r, b)
        d0, d1, d2 = _slope(x + h * c0, y + h * c1, z + h * c2, s, r, b)
        x = x + h / 6 * (a0 + 2 * b0 + 2 * c0 + d0)
        y = y + h / 6 * (a1 + 2 * b1 + 2 * c1 + d1)
        z = z + h / 6 * (a2 + 2 * b2 + 2 * c2 + d2)
    return x + y + z


@fast
def logistic(r: float, steps: int) -> float:
    x = 0.3
    for _ in range(steps):
        x = r * x * (1 - x)
    return x


@fast
def logistic_with_gradient(r: float, steps: int) -> Any:
    states = np.empty(steps)
    x = 0.3
    for i in range(steps):
        states[i] = x
        x = r * x * (1 - x)
    bar, total = 1.0, 0.0
    for i in range(steps - 1, -1, -1):
        before = states[i]
        total += bar * before * (1 - before)
        bar = bar * r * (1 - 2 * before)
    return x, total


@fast
def tridiagonal(a: Any, b: Any, c: Any, d: Any) -> Any:
    n = d.size
    upper, right, x = np.empty(n), np.empty(n), np.empty(n)
    u = v = 0.0
    for i in range(n):
        m = b[i] - a[i] * u
        u = c[i] / m
        v = (d[i] - a[i] * v) / m
        upper[i], right[i] = u, v
    following = 0.0
    for i in range(n - 1, -1, -1):
        following = right[i] - upper[i] * following
        x[i] = following
    return x


@fast
def kalman(z: Any, q: float, r: float) -> float:
    p, v, a, b, c, total = 0.0, 0.0, 1.0, 0.0, 1.0, 0.0
    for k in range(z.size):
        p, a, b, c = p + v, a + 2 * b + c + q / 4, b + c + q / 2, c + q
        s = a + r
        e = z[k] - p
        total += np.log(s) + e * e / s
        g, h = a / s, b / s
        p, v = p + g * e, v + h * e
        a, b, c = (1 - g) * a, (1 - g) * b, c - h * b
    return total


@numba.njit(fastmath={"contract"}, error_model="numpy", parallel=True)
def mandelbrot(x: Any, y: Any, limit: int) -> Any:
    counts = np.empty(x.size, np.int64)
    for i in numba.prange(x.size):
        u = v = 0.0
        k = 0
        while k < limit and u * u + v * v <= 4:
            u, v = u * u - v * v + x[i], 2 * u * v + y[i]
            k += 1
        counts[i] = k
    return counts

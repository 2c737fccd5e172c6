"""Rows written by hand for Numba, as a skilled user would: what the compiler competes with, beside other compilers.

Forward and backward part are one loop over the rows, which all cores share; sums are reassociated, and threads keep
sums of their own. One function per row: value, then gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np

fast = numba.njit(parallel=True, fastmath={"contract", "reassoc", "nsz", "arcp"}, error_model="numpy")


@fast
def wave(x: Any) -> Any:
    y, slope = np.empty_like(x), np.empty_like(x)
    for i in numba.prange(x.size):
        e, s, c, t = np.exp(x[i]), np.sin(x[i]), np.cos(x[i]), np.tanh(x[i])
        y[i] = e * s + t
        slope[i] = e * (s + c) + (1 - t * t)
    return y, slope


@fast
def logistic_regression(w: Any, c: float, X: Any, t: Any) -> Any:
    n, m = X.shape
    parts = numba.get_num_threads()
    total, c_bar, w_bar = np.zeros(parts), np.zeros(parts), np.zeros((parts, m), X.dtype)
    for p in numba.prange(parts):
        own = np.zeros(m, X.dtype)
        value = residuals = 0.0
        for i in range(p * n // parts, (p + 1) * n // parts):
            z = X.dtype.type(c)
            for j in range(m):
                z += X[i, j] * w[j]
            e = np.exp(-abs(z))
            value += max(z, 0) + np.log1p(e) - t[i] * z
            r = (1 if z >= 0 else e) / (1 + e) - t[i]
            residuals += r
            r = X.dtype.type(r)
            for j in range(m):
                own[j] += r * X[i, j]
        total[p], c_bar[p], w_bar[p] = value, residuals, own
    return total.sum() / n, w_bar.sum(axis=0) / n, c_bar.sum() / n


@fast
def softmax(x: Any) -> Any:
    y = np.empty_like(x)
    for i in numba.prange(x.shape[0]):
        row, out = x[i], y[i]
        top = row[0]
        for j in range(row.size):
            top = row[j] if row[j] > top else top
        total = x.dtype.type(0)
        for j in range(row.size):
            out[j] = np.exp(row[j] - top)
            total += out[j]
        scale = 1 / total
        for j in range(row.size):
            out[j] *= scale
    return (y,)


@fast
def layer_norm(x: Any, g: Any, b: Any) -> Any:
    n, m = x.shape
    zero = x.dtype.type(0)
    share = x.dtype.type(1 / m)
    parts = numba.get_num_threads()
    total = np.zeros(parts)
    x_bar, g_bar, b_bar = np.empty_like(x), np.zeros((parts, m), x.dtype), np.zeros((parts, m), x.dtype)
    for p in numba.prange(parts):
        own_g, own_b = np.zeros(m, x.dtype), np.zeros(m, x.dtype)
        value = 0.0
        for i in range(p * n // parts, (p + 1) * n // parts):
            row, out = x[i], x_bar[i]
            mean = square = zero
            for j in range(m):
                mean += row[j]
            mean *= share
            for j in range(m):
                square += (row[j] - mean) * (row[j] - mean)
            r = x.dtype.type(1 / np.sqrt(square * share + 1e-5))
            sum_y = sum_n = sum_nn = zero
            for j in range(m):
                normal = (row[j] - mean) * r
                y = normal * g[j] + b[j]
                sum_y += y * y
                bar = y * g[j]
                sum_n += bar
                sum_nn += bar * normal
                own_g[j] += y * normal
                own_b[j] += y
                out[j] = bar
            value += sum_y
            sum_n, sum_nn = sum_n * share, sum_nn * share
            scale = x.dtype.type(2 * r / (n * m))
            for j in range(m):
                out[j] = scale * (out[j] - sum_n - (row[j] - mean) * r * sum_nn)
        total[p], g_bar[p], b_bar[p] = value, own_g, own_b
    scale = x.dtype.type(2 / (n * m))
    return total.sum() / (n * m), x_bar, g_bar.sum(axis=0) * scale, b_bar.sum(axis=0) * scale


FUNCTIONS: dict[str, Callable[..., Sequence[Any]]] = {
    "exp·sin+tanh, value and gradient": wave,
    "logistic regression, value and gradient": logistic_regression,
    "softmax": softmax,
    "layer norm, value and gradient": layer_norm,
}
"""By the task that a row names."""

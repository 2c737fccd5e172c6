"""First values of parameters, from explicit keys."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from symgraph import random

Initialiser = Callable[..., Any]
"""``init(key, shape, dtype="float64")``."""


def zeros(key: Any, shape: tuple[int, ...], dtype: Any = "float64") -> Any:
    """Zeros, whatever the key.

    >>> zeros(None, (2,))
    array([0., 0.])
    """
    return np.zeros(shape, dtype)


def ones(key: Any, shape: tuple[int, ...], dtype: Any = "float64") -> Any:
    """Ones, whatever the key.

    >>> ones(None, (2,))
    array([1., 1.])
    """
    return np.ones(shape, dtype)


def normal(scale: float = 1e-2) -> Initialiser:
    """Normal numbers with this standard deviation.

    >>> normal(0.1)(random.key(0), (2,)).round(3)
    array([0.025, 0.069])
    """
    return lambda key, shape, dtype="float64": random.normal(key, shape, 0.0, scale, dtype)


def uniform(scale: float = 1e-2) -> Initialiser:
    """Even numbers from [-scale, scale).

    >>> uniform(0.1)(random.key(0), (2,)).round(3)
    array([0.02 , 0.051])
    """
    return lambda key, shape, dtype="float64": random.uniform(key, shape, -scale, scale, dtype)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many values each result of a layer is made of, and how many results each value goes into.

    Matrices are (in, out), as in ``x @ w``; filters are (out, in, ...).

    >>> fans((3, 5)), fans((8, 4, 3, 3))
    ((3, 5), (36, 72))
    """
    if len(shape) == 2:
        return shape[0], shape[1]
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def _scaled(gain: float, mean: Callable[[int, int], float], distribution: str) -> Initialiser:
    def init(key: Any, shape: tuple[int, ...], dtype: Any = "float64") -> Any:
        scale = math.sqrt(gain / max(mean(*fans(shape)), 1))
        if distribution == "normal":
            return random.normal(key, shape, 0.0, scale, dtype)
        width = scale * math.sqrt(3.0)
        return random.uniform(key, shape, -width, width, dtype)

    return init


def glorot(distribution: str = "uniform") -> Initialiser:
    """Variance 2 / (in + out): keeps the size of values and of gradients about the same.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010).

    >>> import symgraph as sg
    >>> sg.nn.glorot()(sg.random.key(0), (300, 200)).shape
    (300, 200)
    """
    return _scaled(2.0, lambda fan_in, fan_out: fan_in + fan_out, _known(distribution))


def he(distribution: str = "normal") -> Initialiser:
    """Variance 2 / in, for layers that relu follows.

    Source: He, Zhang, Ren and Sun, "Delving deep into rectifiers" (ICCV 2015).

    >>> he()(random.key(0), (8, 1, 3, 3), "float32").dtype
    dtype('float32')
    """
    return _scaled(2.0, lambda fan_in, fan_out: fan_in, _known(distribution))


def lecun(distribution: str = "normal") -> Initialiser:
    """Variance 1 / in.

    Source: LeCun, Bottou, Orr and Müller, "Efficient backprop" (1998).

    >>> bool(abs(lecun("uniform")(random.key(0), (100, 10))).max() <= (3 / 100) ** 0.5)
    True
    """
    return _scaled(1.0, lambda fan_in, fan_out: fan_in, _known(distribution))


def _known(distribution: str) -> str:
    if distribution not in ("normal", "uniform"):
        raise ValueError(f"an initialiser's distribution is 'normal' or 'uniform', got {distribution!r}")
    return distribution

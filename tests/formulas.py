"""Formulas whose loops the scheduler fuses, with data for any sizes: one list that the tests of schedules share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import symgraph as sg


@dataclass(frozen=True)
class Input:
    """Axes (a size's name, or a number), a dtype (None: that of the test), and for indices the size above them."""

    axes: tuple[str | int, ...]
    dtype: str | None = None
    below: str | None = None


@dataclass(frozen=True)
class Formula:
    """What is computed of which inputs; gradients are taken for the floating-point ones where `slopes`."""

    name: str
    outputs: Callable[..., Any]
    inputs: Mapping[str, Input]
    slopes: bool

    @property
    def axes(self) -> list[str]:
        """The names of the sizes, the outermost first."""
        return list(dict.fromkeys(a for i in self.inputs.values() for a in i.axes if isinstance(a, str)))

    def build(self, dtype: str) -> list[sg.Expr]:
        """The outputs, and the gradients of the sum of their squares."""
        symbols = {k: sg.placeholder(k, shape=i.axes, dtype=i.dtype or dtype) for k, i in self.inputs.items()}
        found = self.outputs(**symbols)
        outputs = list(found) if isinstance(found, list | tuple) else [found]
        if self.slopes:
            loss: Any = 0.0
            for o in outputs:
                if o.type.dtype is not None and o.type.dtype.kind == "f":
                    loss = loss + np.sum(o * o)
            wrt = [s for k, s in symbols.items() if np.dtype(self.inputs[k].dtype or dtype).kind == "f"]
            outputs += sg.grad(loss, wrt)
        return outputs

    def data(self, sizes: Mapping[str, int], dtype: str, seed: int = 0) -> dict[str, Any]:
        """Arrays for the inputs: floats of moderate magnitude, away from zero."""
        rng = np.random.default_rng(seed)
        made: dict[str, Any] = {}
        for k, i in self.inputs.items():
            shape = tuple(sizes[a] if isinstance(a, str) else a for a in i.axes)
            kind = np.dtype(i.dtype or dtype)
            if kind.kind == "b":
                made[k] = rng.random(shape) < 0.5
            elif kind.kind in "iu":
                most = sizes[i.below] if i.below else 50
                made[k] = rng.integers(0, max(most, 1), shape if most else (0,) * len(shape)).astype(kind)
            else:
                made[k] = (rng.uniform(0.25, 1.5, shape) * rng.choice([-1, 1], shape)).astype(kind)
        return made


FORMULAS: dict[str, Formula] = {}


def formula(slopes: bool = True, **inputs: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as a formula; inputs are axes, or an `Input`."""

    def register(outputs: Callable[..., Any]) -> Callable[..., Any]:
        given = {k: i if isinstance(i, Input) else Input(i) for k, i in inputs.items()}
        FORMULAS[outputs.__name__] = Formula(outputs.__name__, outputs, given, slopes)
        return outputs

    return register


# -- the worked examples -----------------------------------------------------------------------------------------------


@formula(x=("n",))
def elements(x: Any) -> Any:
    return np.exp(x) * np.sin(x) + np.tanh(x)


@formula(x=("n", "m"))
def softmax(x: Any) -> Any:
    return sg.softmax(x, axis=1)


@formula(x=("n", "m"))
def softmax_of_columns(x: Any) -> Any:
    return sg.softmax(x, axis=0)


@formula(x=("n", "m"))
def log_sum_exp(x: Any) -> Any:
    return sg.logsumexp(x, axis=1), sg.logsumexp(x)


@formula(x=("n", "m"), g=("m",), b=("m",))
def layer_norm(x: Any, g: Any, b: Any) -> Any:
    d = x - np.mean(x, axis=1, keepdims=True)
    return d / np.sqrt(np.mean(d * d, axis=1, keepdims=True) + 1e-2) * g + b


@formula(X=("n", "m"), w=("m",), c=(), t=("n",))
def logistic_regression(X: Any, w: Any, c: Any, t: Any) -> Any:
    z = X @ w + c
    return np.mean(np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z))) - t * z)


def _assignment(x: Any, c: Any) -> Any:
    d = x[:, None, :] - c[None, :, :]
    s = -0.5 * np.sum(d * d, axis=2)
    top = np.max(s, axis=1, keepdims=True)
    return np.mean(np.log(np.sum(np.exp(s - top), axis=1)) + top[:, 0])


@formula(x=("n", 3), c=(5, 3))
def soft_assignment(x: Any, c: Any) -> Any:
    return _assignment(x, c)


@formula(x=("n", "m"), c=("k", "m"))
def soft_assignment_of_any_size(x: Any, c: Any) -> Any:
    return _assignment(x, c)


@formula(x=("n", "m"), w1=("m", "k"), b1=("k",), w2=("k", 4), b2=(4,))
def network(x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    return sg.log_softmax(np.tanh(x @ w1 + b1) @ w2 + b2, axis=1)


@formula(x=("n",))
def rosenbrock(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2) * 1e-3


# -- more models -------------------------------------------------------------------------------------------------------


@formula(q=("n", "m"), k=("n", "m"), v=("n", "m"))
def attention(q: Any, k: Any, v: Any) -> Any:
    return sg.softmax((q @ k.T) * 0.125, axis=1) @ v


@formula(x=("n", "m"), w=("m", "k"), b=("k",), u=("k",))
def gelu_network(x: Any, w: Any, b: Any, u: Any) -> Any:
    z = x @ w + b
    return (z * (0.5 + 0.5 * sg.erf(z * 2**-0.5))) @ u


@formula(x=("n", 3))
def distances(x: Any) -> Any:
    d = x[:, None, :] - x[None, :, :]
    return np.mean(np.sqrt(np.sum(d * d, axis=2) + 1e-2))


@formula(x=("n", 3), c=("m", 3), w=("m",))
def pulls(x: Any, c: Any, w: Any) -> Any:
    d = x[:, None, :] - c[None, :, ::-1]
    r = np.sqrt(np.sum(d * d, axis=2) + 0.25)
    pull = d / r[:, :, None] * w[None, :, None]
    return (
        np.sum(pull, axis=1),
        np.sum(pull, axis=0),
        np.max(pull, axis=1),
        np.sum(d, axis=(0, 2)),
        np.any(d > 1, axis=1),
    )


@formula(x=("n", "m"))
def variance(x: Any) -> Any:
    d, e = x - np.mean(x, axis=1, keepdims=True), x - np.mean(x, axis=0)
    return np.mean(d * d, axis=1), np.mean(e * e, axis=0), np.var(x)


@formula(x=("n", "m"))
def normalised_columns(x: Any) -> Any:
    return (x - np.mean(x, axis=0)) / np.sqrt(np.var(x, axis=0) + 0.25)


@formula(x=("n", "m", "k"))
def stencil(x: Any) -> Any:
    inner = slice(1, -1)
    return (
        (x[2:, inner, inner] + x[:-2, inner, inner])
        + (x[inner, 2:, inner] + x[inner, :-2, inner])
        + (x[inner, inner, 2:] + x[inner, inner, :-2])
        - 6.0 * x[inner, inner, inner]
    )


@formula(u=("n",))
def steps(u: Any) -> Any:
    for _ in range(4):
        u = np.concatenate([u[:1], u[1:-1] + 0.1 * (u[2:] - 2 * u[1:-1] + u[:-2]) * u[1:-1], u[-1:]])
    return u


@formula(x=("n", "m"), c=("k", "m"))
def k_means(x: Any, c: Any) -> Any:
    d = x[:, None, :] - c[None, :, :]
    s = np.sum(d * d, axis=2)
    return np.mean(np.min(s, axis=1))


# -- forms of loops ----------------------------------------------------------------------------------------------------


@formula(x=("n", "m"), y=("n", "m"), z=("k", "m"))
def concatenations(x: Any, y: Any, z: Any) -> Any:
    along = np.concatenate([x * y, np.exp(-x), np.sum(y, axis=1, keepdims=True)], axis=1)
    return np.concatenate([x * 2, z, y[::-1]], axis=0), np.sum(along * along, axis=1), np.stack([x, y], axis=1)


@formula(x=("m", "k"), i=Input(("n",), "int64", "m"), w=("n", "k"))
def gather(x: Any, i: Any, w: Any) -> Any:
    return np.sum(np.exp(x)[i] * w, axis=1), np.tanh(x)[i], np.take(x, [0, 0], axis=1)


@formula(x=("n", "m"), i=Input(("n",), "int64", "m"))
def picked(x: Any, i: Any) -> Any:
    return np.sum(sg.log_softmax(x, axis=1) * (np.arange(4) == i[:, None] % 4).sum(axis=1, keepdims=True)), x[:, i]


@formula(x=("n", "m"), slopes=False)
def positions(x: Any) -> Any:
    y = x * x
    return [np.argmax(x, axis=0), np.argmin(y, axis=1), np.argmax(y), np.argmin(x), np.argmax(x.T, axis=0)]


@formula(x=("n", "m"))
def slices(x: Any) -> Any:
    y = x[:, 1:] + x[:, :-1]
    z = y[1:] * y[:-1]
    return np.sum(z[:, ::2]), x[::-2] * 2, np.sum(np.exp(x[2:, 1:]) * x[:-2, :-1], axis=0), z[..., :1]


@formula(x=("n", "m"))
def running(x: Any) -> Any:
    total = x[:, :1]
    parts = [total]
    for k in range(1, 3):
        total = total + np.exp(x[:, k : k + 1]) * x[:, :1]
        parts.append(total)
    return np.concatenate(parts, axis=1), x[1:] - np.exp(x[:-1])


@formula(x=("n", "m"), y=("m", "n"))
def turned(x: Any, y: Any) -> Any:
    z = x.T * y + np.flip(np.exp(x)).T
    return z, np.sum(z, axis=1), np.sum(x * y.T[::-1], axis=0), np.max(z[:, ::-1] * x.T, axis=0)


@formula(x=("n",), y=("m",), a=("n", "m"))
def outer(x: Any, y: Any, a: Any) -> Any:
    p = np.exp(x)[:, None] * np.tanh(y)[None, :]
    return np.sum(p * a, axis=0), np.sum(p + a, axis=1), x[:, None] * y


@formula(x=("n", "k", "m"))
def middle(x: Any) -> Any:
    d = x - np.mean(x, axis=1, keepdims=True)
    return np.sum(np.exp(d), axis=1), np.max(x, axis=1), np.sum(d * x, axis=(0, 2)), sg.softmax(x, axis=1)


@formula(x=("n", 2, "k", "m"))
def every_other(x: Any) -> Any:
    return (
        np.sum(x * x, axis=(1, 3)),
        np.sum(np.exp(x), axis=(0, 2)),
        np.min(x, axis=(1, 3)),
        np.all(x < 1, axis=(1, 3)),
    )


@formula(x=("n", 4, 3))
def short_axes(x: Any) -> Any:
    return np.sum(np.exp(x), axis=1), np.max(x, axis=(1, 2)), np.sum(x, axis=2) / np.sum(x * x, axis=(1, 2))[:, None]


@formula(
    x=Input(("n", "m"), "float64"), y=Input(("n", "m"), "float32"), k=Input(("n",), "int64"), b=Input(("m",), "bool")
)
def mixed(x: Any, y: Any, k: Any, b: Any) -> Any:
    z = np.where(b, x * y, y) + k[:, None]
    small = y * np.float32(0.5)
    return (
        z,
        np.sum(small, axis=1),
        np.sum(z, axis=0),
        np.sum(k),
        np.sum(k[:, None] * b, axis=1),
        np.any(b),
        np.max(k * k),
    )


@formula(x=("n", "m"))
def other_reductions(x: Any) -> Any:
    y = x * 0.5 + 1
    return (
        np.max(x, axis=0),
        np.min(x, axis=1),
        np.prod(np.tanh(y) + 0.5, axis=1),
        np.all(x > -2, axis=0),
        np.any(x > 1, axis=1),
        np.max(x) - np.min(x),
    )


@formula(x=("n", "m"))
def finished_sums(x: Any) -> Any:
    y = np.exp(x / np.sqrt(np.sum(x * x) + 1))
    z = y / np.sum(y, axis=0)
    return z / np.sqrt(np.sum(z * z) + 1), np.sum(z, axis=1)

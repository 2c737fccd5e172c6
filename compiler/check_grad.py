"""Gradients against finite differences: `Function.check_grad`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.debug import options
from compiler.dispatch import BOTH, Kernels, Way
from symgraph.errors import ArgumentError, CheckError
from symgraph.expr import Expr, as_expr
from symgraph.grad import pullback
from symgraph.observe import silenced
from symgraph.ops import array as ar, reduction as rd
from symgraph.state import plain_name

if TYPE_CHECKING:
    from compiler.function import Function

TOLERANCE = {"float64": 1e-6, "float32": 2e-2}
"""Relative differences up to which a derivative and its finite differences agree."""


@dataclass(frozen=True)
class Slope:
    """A derivative along a random direction, and what finite differences give for it.

    Attributes:
        order: 1 for the gradient, 2 for the gradient of the gradient.
        name: the argument that is moved.
        exact, differences: the two values.
        error: their difference, relative to the size of the derivative.
    """

    order: int
    name: str
    exact: float
    differences: float
    error: float

    def __str__(self) -> str:
        return (
            f"order {self.order}, along {self.name}: {self.exact:.9g}, by differences {self.differences:.9g} "
            f"(relative error {self.error:.1e})"
        )


def check_grad(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Slope]:
    """See :meth:`compiler.function.Function.check_grad`."""
    chosen = options(function, kwargs, order=2, tolerance=None, seed=0)
    if chosen["order"] not in (1, 2):
        raise ArgumentError(f"check_grad: order must be 1 or 2, got {chosen['order']!r:.80}")
    values = function.signature.converted(args, kwargs)
    kernels = function.dispatch.expressions(Way(BOTH, False), values)
    rng = np.random.default_rng(chosen["seed"])
    inputs, targets = list(kernels.inputs), list(kernels.targets)
    outputs = silenced(kernels.outputs)  # which are computed many times
    count = len(outputs) - len(targets)
    floating = [o for o in outputs[:count] if o.type.dtype is None or o.type.dtype.kind == "f"]
    total = _sum([as_expr(rd.sum(o, axis=None, keepdims=False)) for o in floating])
    found = _along_directions(
        type(function)(total, inputs, **function.options), kernels, values, kernels.run(values)[count:], rng, 1
    )
    if chosen["order"] == 2:
        # The gradients in a random direction, whose own gradients are then those of second order.
        given = dict(zip(function.signature.names, values, strict=True))
        weights = [rng.standard_normal(np.shape(given[t.name or ""])) for t in targets]
        parts = [g * w for g, w in zip(outputs[count:], weights, strict=True)]
        total = _sum([as_expr(rd.sum(part, axis=None, keepdims=False)) for part in parts])
        slopes = pullback([total], [as_expr(ar.full_like(total, fill=1))], targets)
        exact = type(function)(slopes, inputs, **function.options)(*values)
        found += _along_directions(type(function)(total, inputs, **function.options), kernels, values, exact, rng, 2)
    worst = max(found, key=lambda slope: slope.error)
    dtypes = {np.asarray(value).dtype.name for value in values}
    limit = TOLERANCE["float32" if "float32" in dtypes else "float64"]
    limit = limit if chosen["tolerance"] is None else chosen["tolerance"]
    if not worst.error <= limit:
        raise CheckError(
            f"check_grad: the gradient for {worst.name!r} and finite differences disagree\n  {worst}; "
            f"up to {limit:g} is allowed\n  at a kink, or where the formula is not smooth, they may"
        )
    return found


def _sum(parts: Sequence[Expr]) -> Expr:
    total = parts[0]
    for part in parts[1:]:
        total = as_expr(total + part)
    return total


def _along_directions(
    scalar: Function, kernels: Kernels, values: Sequence[Any], gradients: Sequence[Any], rng: Any, order: int
) -> list[Slope]:
    """For each target the derivative along a random direction, and central differences for it."""
    found = []
    names = [node.name for node in kernels.inputs]
    for target, gradient in zip(kernels.targets, gradients, strict=True):
        place = names.index(target.name)
        given = np.asarray(values[place])
        direction = rng.standard_normal(given.shape)
        direction = direction / (np.linalg.norm(direction) or 1.0)
        exact = float(np.sum(np.asarray(gradient, np.float64) * direction))
        differences = _differences(scalar, values, place, given, direction)
        size = max(abs(exact), float(np.linalg.norm(gradient)), 1.0)
        error = abs(exact - differences) / size
        found.append(Slope(order, plain_name(target), exact, differences, error if np.isfinite(error) else np.inf))
    return found


def _differences(scalar: Function, values: Sequence[Any], place: int, given: Any, direction: Any) -> float:
    """Central differences at two steps, from which the error of second order cancels (Richardson)."""
    dtype = given.dtype if given.dtype.kind == "f" else np.dtype(np.float64)
    step = float(np.finfo(dtype).eps) ** 0.2 * max(1.0, float(np.max(np.abs(given), initial=0.0))) * 0.3
    results = []
    for h in (step, step / 2):
        moved = [[*values], [*values]]
        for sign, arguments in zip((1, -1), moved, strict=True):
            arguments[place] = (given + sign * h * direction).astype(dtype)[()]
        high, low = (float(scalar(*arguments)) for arguments in moved)
        results.append((high - low) / (2 * h))
    return float((4 * results[1] - results[0]) / 3)

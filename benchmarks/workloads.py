"""What is computed: one entry of `WORKLOADS` each.

A formula is written once, as a function of a module in NumPy's style and the arguments. Where gradients are asked for,
`by_hand` computes value and gradients as one would write them in NumPy; it is the reference that all are compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks import elementwise as e, models as m
from benchmarks.elementwise import Arguments
from benchmarks.limits import Costs


def names_of(module: Any, **more: Any) -> SimpleNamespace:
    """A module's names, and those that it has elsewhere or otherwise."""
    return SimpleNamespace(**{**vars(module), **more})


@dataclass(frozen=True)
class Workload:
    """A formula, its arguments, and what is asked for.

    Attributes:
        name: of the row; the size is added to it.
        formula: ``formula(xp, *arguments)``, where xp is NumPy or a module with its names, and `erf`.
        arguments: ``arguments(rng, *size)``: name to value in the order of the formula; Python floats, float64 arrays.
        size: what `arguments` is given.
        quick_size: the same, for a trial run.
        wrt: the arguments that gradients are taken for; empty where the value alone is asked for. The gradient of a
            result with many elements is that of their sum.
        by_hand: ``by_hand(*arguments)``: value, then gradients, in NumPy; needed where wrt is not empty.
        elementwise: every element of the result depends on the same element of the arguments alone.
        flops: ``flops(costs, *size)``: how many operations the value and the gradients need, where each intermediate
            value is computed once; None where the call in Python is all of the time.
        main: the dtype in which it is a row of the README's table; "" where it is none.
    """

    name: str
    formula: Callable[..., Any]
    arguments: Callable[..., Arguments]
    size: tuple[int, ...] = ()
    quick_size: tuple[int, ...] = ()
    wrt: tuple[str, ...] = ()
    by_hand: Callable[..., Sequence[Any]] | None = None
    elementwise: bool = False
    flops: Callable[..., float] | None = None
    main: str = ""

    @property
    def title(self) -> str:
        """The name, with what is computed and how much of it: unique."""
        return f"{self.task}{', ' + ' × '.join(f'{n:,}' for n in self.size) if self.size else ''}"

    @property
    def task(self) -> str:
        """The name, with what is computed."""
        return f"{self.name}, value and gradient" if self.wrt else self.name

    def inputs(self, quick: bool, dtype: str) -> Arguments:
        """The arguments: the same numbers every time, arrays in the dtype wanted."""
        made = self.arguments(np.random.default_rng(0), *(self.quick_size if quick else self.size))
        return {name: value.astype(dtype) if isinstance(value, np.ndarray) else value for name, value in made.items()}

    def reference(self, arguments: Arguments) -> list[Any]:
        """Value, then gradients, computed in float64."""
        wide = [np.asarray(v, np.float64) for v in arguments.values()]
        found = self.by_hand(*wide) if self.by_hand else [self.formula(names_of(np, erf=e.erf), *wide)]
        return [np.asarray(v) for v in found]


def chain_of(operations: int, elements: int = 0) -> Workload:
    """A chain of operations with its gradient, on numbers or on arrays."""
    return Workload(
        f"chain of {operations:,} operations",
        e.chain(operations),
        e.two_rows if elements else lambda rng: {"a": 0.5, "b": 1.1},
        (elements,) if elements else (),
        (16,) if elements else (),
        ("a", "b"),
        e.chain_by_hand(operations),
        True,
        # A third each: product (and two, and a sum), sine (and cosine, product), sum (and sum).
        (lambda c, n: n * operations * (7 + 2 * c.sine) / 3) if elements else None,
    )


def of_numbers(name: str, formula: Any, arguments: Any, by_hand: Any = None, main: str = "") -> Workload:
    """A row on Python floats, with the gradient for each of them where there is one by hand."""
    wrt = tuple(arguments(None)) if by_hand else ()
    return Workload(name, formula, arguments, wrt=wrt, by_hand=by_hand, elementwise=True, main=main)


def on_arrays(
    name: str,
    formula: Any,
    arguments: Any,
    size: tuple[int, ...],
    quick_size: tuple[int, ...],
    flops: Any,
    wrt: str = "",
    by_hand: Any = None,
    **more: Any,
) -> Workload:
    """A row of the README's table; `wrt` are names with spaces between."""
    more = {"main": "float64", **more}
    return Workload(name, formula, arguments, size, quick_size, tuple(wrt.split()), by_hand, flops=flops, **more)


def _network_flops(c: Costs, batch: int, pixels: int, hidden: int, digits: int) -> float:
    """Two products forward and three backward, of which one is as large as the first; tanh and its slope; softmax."""
    products = 2 * batch * hidden * (2 * pixels + 3 * digits)
    return products + batch * hidden * (c.tanh + 5) + batch * digits * (c.exp + 8)


WORKLOADS: list[Workload] = [
    of_numbers("a·b+1 of two floats", e.multiply_add, lambda rng: {"a": 0.7, "b": -1.3}),
    of_numbers("sphere of two floats", e.sphere, e.two_floats, e.sphere_by_hand),
    of_numbers("Matyas of two floats", e.matyas, e.two_floats, e.matyas_by_hand),
    of_numbers(
        "Goldstein-Price of two floats", e.goldstein_price, e.two_floats, e.goldstein_price_by_hand, "float64"
    ),
    of_numbers("Rosenbrock of two floats", e.rosenbrock, e.two_floats, e.rosenbrock_by_hand),
    of_numbers("sine by 20 Taylor terms", e.taylor_sine, lambda rng: {"x": 0.8}, e.taylor_sine_by_hand),
    of_numbers("tanh of a float", e.tanh, lambda rng: {"x": 0.8}, e.tanh_by_hand),
    of_numbers(
        "(exp(x²))² of a float", e.squared_exponential, lambda rng: {"x": 0.5}, e.squared_exponential_by_hand
    ),
    on_arrays(
        "a·b+1", e.multiply_add, e.two_rows, (1_000,), (17,), lambda c, n: 2 * n, elementwise=True, main=""
    ),
    on_arrays("a·b+1", e.multiply_add, e.two_rows, (1_000_000,), (17,), lambda c, n: 2 * n, elementwise=True),
    *(
        on_arrays(
            "exp·sin+tanh", e.wave, e.one_row, (n,), (17,), lambda c, n: n * (c.exp + c.sine + c.tanh + 2),
            elementwise=True,
        )
        for n in (1_000, 1_000_000)
    ),
    *(
        on_arrays(
            "exp·sin+tanh", e.wave, e.one_row, (n,), (17,), lambda c, n: n * (c.exp + 2 * c.sine + c.tanh + 6), "x",
            e.wave_by_hand, elementwise=True,
        )
        for n in (1_000, 1_000_000)
    ),
    on_arrays(
        "Black-Scholes", e.black_scholes, e.options, (1_000_000,), (17,),
        lambda c, n: n * (c.log + 2 * c.exp + 2 * c.erf + c.root + 3 * c.divide + 35), "S K T r v",
        e.black_scholes_by_hand, elementwise=True,
    ),
    on_arrays(
        "polynomial of degree 20", e.polynomial, e.one_row, (1_000_000,), (17,), lambda c, n: 80 * n, "x",
        e.polynomial_by_hand, elementwise=True,
    ),
    *(chain_of(n, 1_000) for n in (10, 100, 1_000)),
    on_arrays(
        "Rosenbrock", m.valley, e.one_row, (1_000_000,), (17,), lambda c, n: 14 * n, "x", m.valley_by_hand
    ),
    on_arrays(
        "logistic regression", m.logistic_regression, m.regression_data, (100_000, 100), (40, 5),
        lambda c, n, k: 4 * n * k + n * (c.exp + c.log + c.divide + 10), "w c", m.logistic_regression_by_hand,
    ),
    on_arrays(
        "digits network", m.network, m.network_data, (128, 64, 64, 10), (8, 6, 5, 3), _network_flops, "w1 b1 w2 b2",
        m.network_by_hand, main="",
    ),
    on_arrays(
        "two-layer network", m.network, m.network_data, (128, 784, 256, 10), (8, 6, 5, 3), _network_flops,
        "w1 b1 w2 b2", m.network_by_hand, main="float32",
    ),
    on_arrays("softmax", m.softmax, m.table, (4096, 512), (9, 17), lambda c, n, k: n * k * (c.exp + 4)),
    on_arrays(
        "layer norm", m.layer_norm, m.layer_norm_data, (4096, 512), (9, 17), lambda c, n, k: 24 * n * k, "x g b",
        m.layer_norm_by_hand,
    ),
    on_arrays(
        "GELU network", m.gelu_network, m.gelu_network_data, (1024, 64, 256), (8, 3, 5),
        lambda c, n, k, h: 10 * n * k * h + n * h * (c.erf + c.exp + 10), "w1 b1 w2 b2", m.gelu_network_by_hand,
    ),
    on_arrays(
        "attention", m.attention, m.attention_data, (512, 64), (7, 5),
        lambda c, n, k: 12 * n * n * k + n * n * (c.exp + 9), "q k v", m.attention_by_hand,
    ),
    # Each pair once: d(i, j) = d(j, i).
    on_arrays(
        "pairwise distances", m.distances, m.table, (1_000, 3), (9, 3),
        lambda c, n, k: n * n / 2 * (6 * k + c.root + c.divide), "x", m.distances_by_hand,
    ),
    on_arrays("variance of each row", m.variance(1), m.table, (4096, 512), (9, 17), lambda c, n, k: 4 * n * k),
    on_arrays("variance of each column", m.variance(0), m.table, (4096, 512), (9, 17), lambda c, n, k: 4 * n * k),
    on_arrays(
        "3-d stencil", m.stencil, m.table, (128, 128, 128), (5, 6, 7), lambda c, *n: 18 * n[0] * n[1] * n[2], "x",
        m.stencil_by_hand,
    ),
    on_arrays(
        "soft k-means", m.assignment, m.assignment_data, (20_000, 25, 10), (40, 3, 2),
        lambda c, n, k, d: n * k * (5 * d + c.exp + 6), "c", m.assignment_by_hand,
    ),
]  # fmt: skip

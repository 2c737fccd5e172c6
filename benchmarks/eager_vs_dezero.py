"""Define-by-run against DeZero, the book's own framework, on the book's own functions.

    pip install dezero
    python -m benchmarks.eager_vs_dezero

The two take turns, so that a busy machine slows both; the best of many rounds counts.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from symgraph import eager

ROUNDS = 40
CALLS = 25


def load_dezero() -> Any:
    """DeZero, imported under today's NumPy: it reads ``np.int``, an alias that NumPy 1.24 removed.

    Raises:
        SystemExit: it is not installed; says how to install it.
    """
    missing = "int" not in vars(np)
    if missing:
        np.int = int  # type: ignore[attr-defined]
    try:
        import dezero
    except ImportError as error:
        raise SystemExit(
            f"this benchmark compares with DeZero, which is not installed ({error}): pip install dezero"
        ) from None
    finally:
        if missing:
            del np.int  # type: ignore[attr-defined]
    return dezero


def goldstein_price(x: Any, y: Any) -> Any:
    """Goldstein and Price's function, as the book's step 24 writes it."""
    return (1 + (x + y + 1) ** 2 * (19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2)) * (
        30 + (2 * x - 3 * y) ** 2 * (18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2)
    )


def rosenbrock(x: Any, y: Any) -> Any:
    """Rosenbrock's function, as the book's step 28 writes it."""
    return 100 * (y - x**2) ** 2 + (x - 1) ** 2


def taylor_sine(x: Any, y: Any) -> Any:
    """The sine by its Taylor series, in a Python loop that looks at the data, as the book's step 27 writes it."""
    total = 0 * y
    for k in range(100000):
        term = (-1) ** k / math.factorial(2 * k + 1) * x ** (2 * k + 1)
        total = total + term
        if abs(term.data) < 1e-10:
            break
    return total


def forward(variable: Any, f: Callable[..., Any], x: Any, y: Any) -> Any:
    """The value alone."""
    return f(variable(x), variable(y)).data


def forward_backward(variable: Any, f: Callable[..., Any], x: Any, y: Any) -> Any:
    """The two gradients."""
    a, b = variable(x), variable(y)
    f(a, b).backward()
    return a.grad.data, b.grad.data


def double_backward(variable: Any, f: Callable[..., Any], x: Any, y: Any) -> Any:
    """The second derivatives by x, through a recorded gradient."""
    a, b = variable(x), variable(y)
    f(a, b).backward(create_graph=True)
    first = a.grad
    a.cleargrad()
    first.backward()
    return a.grad.data


ONE = np.array(1.0)
ROW = np.linspace(-1.0, 1.0, 1000)
CASES: list[tuple[str, Callable[..., Any], Callable[..., Any], Any, Any]] = [
    ("Goldstein-Price, forward", forward, goldstein_price, ONE, ONE),
    ("Goldstein-Price, forward + backward", forward_backward, goldstein_price, ONE, ONE),
    ("Goldstein-Price, backward twice", double_backward, goldstein_price, ONE, ONE),
    ("Goldstein-Price on 1,000 points, f + b", forward_backward, goldstein_price, ROW, ROW),
    ("Rosenbrock, forward + backward", forward_backward, rosenbrock, np.array(0.0), np.array(2.0)),
    ("Taylor sine, forward + backward", forward_backward, taylor_sine, ONE, ONE),
]


def best_of(jobs: Sequence[Callable[[], Any]], rounds: int = ROUNDS, calls: int = CALLS) -> list[float]:
    """Seconds per call of each job, the best of many rounds in which they take turns."""
    best = [math.inf] * len(jobs)
    for _ in range(rounds):
        for k, job in enumerate(jobs):
            start = time.perf_counter()
            for _ in range(calls):
                job()
            best[k] = min(best[k], (time.perf_counter() - start) / calls)
    return best


def main() -> int:
    """Print the table; 1 where the two disagree."""
    dezero = load_dezero()
    print(f"{'microseconds per call':<40} {'DeZero':>10} {'symgraph':>10} {'ratio':>7} {'difference':>12}")
    worst = 0.0
    for title, task, f, x, y in CASES:
        jobs = [partial(task, variable, f, x, y) for variable in (dezero.Variable, eager.Variable)]
        theirs, ours = (np.asarray(job()) for job in jobs)
        difference = float(np.max(np.abs(theirs - ours) / np.maximum(1.0, np.abs(theirs))))
        worst = max(worst, difference)
        slow, fast = best_of(jobs)
        print(f"{title:<40} {slow * 1e6:10.1f} {fast * 1e6:10.1f} {fast / slow:7.2f} {difference:12.1e}")
    return int(worst > 1e-12)


if __name__ == "__main__":
    sys.exit(main())

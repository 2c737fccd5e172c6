"""What symgraph finds on this machine, and whether it works there: ``python -m symgraph doctor``."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import symgraph
from compiler import cache, kernel, machine, runtime
from compiler.function import compile as compile_
from compiler.threads import get_num_threads
from symgraph.dot_text import Dot
from symgraph.expr import placeholder
from symgraph.render import picture, renderer

PACKAGES = {
    "numpy": "", "networkx": "", "numba": "", "llvmlite": "",
    "scipy": "large matrix products are plain loops without it: pip install 'symgraph-compiler[blas]'",
}  # fmt: skip
"""Packages that are used where they are installed, and what is missing without."""


def report() -> tuple[str, bool]:
    """The report, and whether all that was tried works."""
    lines, fine = [], True
    for name, value in _facts():
        lines.append(f"{name:<12} {value}")
    lines.append("")
    for name, check in CHECKS.items():
        try:
            check()
            lines.append(f"{name:<32} ok")
        except Exception as error:  # a report tells of every failure
            fine = False
            lines.append(f"{name:<32} FAILED: {type(error).__name__}: {error}")
    return "\n".join(lines), fine


def _facts() -> Iterator[tuple[str, str]]:
    yield "symgraph", f"{symgraph.__version__} in {os.path.dirname(os.path.dirname(symgraph.__file__))}"
    yield "python", f"{platform.python_version()} ({platform.python_implementation()})"
    for package, without in PACKAGES.items():
        try:
            yield package, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            yield package, f"not installed; {without}"
    yield "system", f"{platform.system()} {platform.release()}, {platform.machine()}"
    yield "processors", f"{os.cpu_count()} × {machine.processor()}"
    yield "threads", f"{get_num_threads()}: sg.set_num_threads(n) or NUMBA_NUM_THREADS sets them"
    native = runtime.load().native
    yield "calls", "native" if native else "by Python, which is slower: this Python's objects are laid out differently"
    yield "products", "BLAS of SciPy" if kernel.blas() else "plain loops"
    yield "cache", _cache()
    command = renderer("svg")
    none = "none; pip install 'symgraph-compiler[pictures]'. DOT text and f.inspect need none"
    yield "pictures", none if command is None else _called(command)


def _called(command: list[str]) -> str:
    return "pygraphviz" if "-c" in command else command[0]


def _cache() -> str:
    info = cache.info()
    if info.folder is None:
        return "off: SYMGRAPH_CACHE_SIZE is 0, or there is no home folder"
    state = f"{info.folder}, {info.kernels} kernels, {info.size / 1e6:.1f} of {info.limit / 1e6:g} MB"
    return state if info.used else f"{state}; not used: it is no folder, of another user, or others may write there"


# -- what is tried -----------------------------------------------------------------------------------------------------


def _numbers() -> None:
    a, b = placeholder("a"), placeholder("b")
    value, grads = compile_(a * b + 1).value_and_grad(a=2.0, b=3.0)
    _expect((value, grads["a"], grads["b"]), (7.0, 3.0, 2.0))


def _arrays() -> None:
    x = placeholder("x")
    data = np.linspace(-3, 3, 100_003)
    f = compile_(symgraph.exp(x) * symgraph.sin(x) + symgraph.tanh(x))
    _expect(f(x=data), np.exp(data) * np.sin(data) + np.tanh(data))


def _products() -> None:
    x, w = placeholder("x"), placeholder("w")
    a, b = np.arange(6400.0).reshape(80, 80), np.ones((80, 80))
    _expect(compile_(x @ w)(x=a, w=b), a @ b)


def _modes() -> None:
    v = symgraph.Variable(np.array(2.0))
    y = symgraph.exp(v) * v
    y.backward()
    x = placeholder("x")
    _expect(compile_(symgraph.exp(x) * x).grad(x=2.0)["x"], getattr(v.grad, "data", None))


def _pictures() -> None:
    if renderer("svg") is not None:
        dot = Dot()
        dot.edge(dot.node("x"), dot.node("y"))
        if b"<svg" not in picture(str(dot), "svg"):
            raise ValueError("the renderer gave no SVG")


def _expect(found: Any, wanted: Any) -> None:
    if not np.allclose(found, wanted, rtol=1e-13, atol=1e-13):
        raise ArithmeticError(f"expected {wanted!s:.80}, got {found!s:.80}")


CHECKS: dict[str, Callable[[], None]] = {
    "numbers, value and gradient": _numbers,
    "100,003 elements": _arrays,
    "a matrix product": _products,
    "define-by-run agrees": _modes,
    "a picture": _pictures,
}

"""The same bits from every processor and every number of threads: kernels compiled for others that this one can run."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Iterator
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from support import without_loops

import symgraph as sg
from benchmarks.accuracy import BINARY, CASES, samples
from compiler import far, kernel, machine
from symgraph.op import REGISTRY

if platform.machine().lower() not in ("x86_64", "amd64"):
    pytest.skip("levels of x86-64 only", allow_module_level=True)

LEVELS = {
    "x86-64-v2": ("sse4.2",),  # a fused multiply-add is a call of the C library there
    "x86-64-v3": ("avx2", "fma", "bmi2"),
    "x86-64-v4": ("avx512f", "avx512bw", "avx512dq", "avx512vl"),
    "skylake-avx512": ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd", "clwb"),
}
HERE = llvm.get_host_cpu_features()
OTHERS = [level for level, needed in LEVELS.items() if all(HERE.get(feature) for feature in needed)]
DTYPES = ("float64", "float32")
Results = dict[str, bytes]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Tests leave the number of threads as it was."""
    before = sg.get_num_threads()
    yield
    sg.set_num_threads(before)


def bits(result: Any) -> bytes:
    """The bits of a result; nan is nan, whatever its sign."""
    arrays = result if isinstance(result, list | tuple) else [result]
    return b"".join(np.where(np.isnan(a), np.asarray(np.nan, a.dtype), a).tobytes() for a in map(np.asarray, arrays))


def elementary(dtype: str) -> dict[str, Callable[[], Any]]:
    """Every function on an array, with far arguments, and on a number."""
    found: dict[str, Callable[[], Any]] = {}
    for name, case in CASES.items():
        arguments = [np.ascontiguousarray(a[:: max(1, len(a) // 300)][:301]) for a in samples(name, dtype, 300)]
        names = ("x", "y")[: 1 + (name in BINARY)]
        for shape in (("n",), ()):
            symbols = [sg.placeholder(n, shape=shape, dtype=dtype) for n in names]
            function = sg.compile(REGISTRY[case.row](*symbols))
            given = dict(zip(names, arguments if shape else [a[17] for a in arguments], strict=True))
            found[f"{name} {len(shape)}"] = functools.partial(function, **given)
    return found


def programs(dtype: str) -> dict[str, Callable[[], Any]]:
    """Sums, rows and products, large enough for chunks."""
    rng = np.random.default_rng(5)
    v, m = rng.normal(size=100_003).astype(dtype), rng.normal(size=(411, 257)).astype(dtype)
    x = sg.placeholder("x", shape=("n",), dtype=dtype)
    a = sg.placeholder("a", shape=("n", "m"), dtype=dtype)
    shifted = np.exp(a - np.max(a, axis=1, keepdims=True))
    softmax = shifted / np.sum(shifted, axis=1, keepdims=True)
    centred = a - np.mean(a, axis=1, keepdims=True)
    norm = centred / np.sqrt(np.mean(centred * centred, axis=1, keepdims=True) + 1e-5)
    loss = np.sum(np.tanh(norm) * a)
    images, filters = rng.normal(size=(24, 3, 6, 6)).astype(dtype), rng.normal(size=(32, 3, 3, 3)).astype(dtype)
    i = sg.placeholder("i", shape=images.shape, dtype=dtype)
    f = sg.placeholder("f", shape=filters.shape, dtype=dtype)
    pooled = np.sum(sg.nn.max_pool(sg.nn.relu(sg.nn.conv(i, f, padding="same")), 2) ** 2)
    formulas: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "sum": ([np.sum(x), np.sum(np.sin(x) * x), np.mean(x * x), np.max(x)], {"x": v}),
        "softmax": ([softmax, np.sum(softmax, axis=0)], {"a": m}),
        "layer norm": ([loss, *sg.grad(loss, [a])], {"a": m}),
        "contraction": ([x * 3.1 + np.exp(x) * x - x / 7], {"x": v}),
        "filters": ([pooled, *sg.grad(pooled, [i, f])], {"i": images, "f": filters}),
        "columns": ([np.sum(a * a, axis=0), np.log1p(np.sum(a, axis=0) ** 2)], {"a": m}),
    }
    return {name: functools.partial(sg.compile(f), **given) for name, (f, given) in formulas.items()}


def run(dtype: str) -> Results:
    """The bits of everything, from kernels made now."""
    with np.errstate(all="ignore"):
        return {name: bits(call()) for name, call in {**elementary(dtype), **programs(dtype)}.items()}


native = functools.cache(run)


@pytest.fixture
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Kernels made inside are for another processor; what they are held against is made before."""
    for dtype in DTYPES:
        native(dtype)
    target, *_ = machine._host()
    monkeypatch.setattr(machine, "_host", lambda: (target, request.param, ""))
    monkeypatch.setattr(machine._Linker, "current", None)
    for made in (machine._target, far._code):
        made.cache_clear()
    yield request.param
    for made in (machine._target, far._code):
        made.cache_clear()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("level", OTHERS, indirect=True)
def test_processors(level: str, dtype: str) -> None:
    wanted, found = native(dtype), run(dtype)
    assert [name for name in wanted if wanted[name] != found[name]] == []


def test_levels_are_different_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the test above compares what it says."""
    target, *_ = machine._host()
    text = (
        "define double @f(double %x) { %y = call double @llvm.fma.f64(double %x, double %x, double %x) ret double %y }"
    )
    text += "\ndeclare double @llvm.fma.f64(double, double, double)"
    codes = {}
    for name in ("x86-64-v2", "x86-64-v3"):
        monkeypatch.setattr(machine, "_host", lambda name=name: (target, name, ""))
        machine._target.cache_clear()
        codes[name] = machine.assembly(text.replace("{ ", "{\n").replace(") ret", ")\n ret").replace(" }", "\n}"))
    monkeypatch.undo()
    machine._target.cache_clear()
    assert "vfmadd" in codes["x86-64-v3"] and "vfmadd" not in codes["x86-64-v2"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads(dtype: str) -> None:
    wanted = native(dtype)
    calls = programs(dtype)
    for count in (1, 2, 3):
        sg.set_num_threads(count)
        for name, call in calls.items():
            assert bits(call()) == wanted[name], (name, count)


@pytest.mark.parametrize("dtype", DTYPES)
def test_vectors_in_parts(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that is translated quickly has vectors of the processor's width; how many make one of a loop is all one."""
    n = sg.placeholder("x", shape=("n",), dtype=dtype), sg.placeholder("y", shape=("n",), dtype=dtype)
    formula, (x, y) = n[0], n
    for k in range(150):
        formula = [np.sin(formula) * y, np.where(formula > y, formula, x), np.hypot(formula, x) + 1][k % 3]
    rng = np.random.default_rng(0)
    given = {name: rng.uniform(-3, 3, 203).astype(dtype) for name in ("x", "y")}
    given["y"][150] = 1e30
    found = []
    for register in (0, 16, 32, 64):
        monkeypatch.setattr(machine, "vector_bytes", lambda register=register: register)
        monkeypatch.setattr(kernel, "QUICK_FROM", 0 if register else 10**6)
        function = sg.compile(formula)
        with without_loops():  # which would make the code short
            value, grads = function.value_and_grad(**given)
        found.append(bits([value, *grads.values()]))
        width = register // np.dtype(dtype).itemsize
        kind = "double" if dtype == "float64" else "float"
        assert not register or f"fmul <{width} x {kind}>" in function.llvm
    assert found == found[:1] * 4

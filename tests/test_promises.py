"""What symgraph promises of threads, processes, memory, deep graphs, names and floating point, each with a number."""

from __future__ import annotations

import builtins
import copy
import keyword
import math
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compiler.dispatch
import symgraph as sg
from compiler import interpret

ROOT = Path(__file__).resolve().parent.parent

a, b, x = sg.placeholder("a"), sg.placeholder("b"), sg.placeholder("x")


def script(code: str, timeout: float = 300, **environment: str) -> str:
    """Run code in a new process; what it printed. One that hangs fails."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- threads -----------------------------------------------------------------------------------------------------------


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What threads return that all start at once."""
    barrier = threading.Barrier(count)

    def started(number: int) -> Any:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(started, range(count)))


def test_eight_threads_call_one_function_400_times_each() -> None:
    f = sg.compile({"y": np.exp(-(a * b)) @ b, "s": (a * a).sum(axis=0)}, inputs=[a, b])

    def expected(left: Any, right: Any) -> tuple[Any, ...]:
        value, grads = f.value_and_grad(left, right)
        return value["y"], value["s"], grads["a"], grads["b"]

    sizes = [(2, 3), (5, 4), (17, 2), (0, 3), (40, 30)]
    rng = np.random.default_rng(0)
    cases = [(rng.normal(size=(n, m)), rng.normal(size=m)) for n, m in sizes for _ in range(10)]
    alone = [expected(*case) for case in cases]
    y, s = np.exp(-(cases[0][0] * cases[0][1])) @ cases[0][1], (cases[0][0] ** 2).sum(axis=0)
    np.testing.assert_allclose(alone[0][0], y, rtol=1e-13)
    np.testing.assert_allclose(alone[0][1], s, rtol=1e-13)

    def work(number: int) -> int:
        wrong = 0
        for k in range(400):
            at = (k * 7 + number * 11) % len(cases)
            got = expected(*cases[at])
            wrong += any(p.tobytes() != q.tobytes() for p, q in zip(got, alone[at], strict=True))
        return wrong

    assert together(8, work) == [0] * 8


def test_six_threads_build_three_functions_each() -> None:
    def work(number: int) -> int:
        wrong = 0
        for k in range(3):
            p, q = sg.placeholder("p"), sg.placeholder("q")
            # the first is the same in all threads, the others are not
            f = sg.compile(np.tanh(p * q) + (k and number + 10 * k))
            value, grads = f.value_and_grad(p=0.5, q=2.0)
            wrong += abs(value - (math.tanh(1.0) + (k and number + 10 * k))) > 1e-14
            wrong += abs(grads["p"] - 2.0 * (1 - math.tanh(1.0) ** 2)) > 1e-14
        return wrong

    assert together(6, work) == [0] * 6


def test_the_first_call_of_one_function_from_many_threads() -> None:
    f = sg.compile(np.cos(a) * b)
    results = together(8, lambda number: (f(a=0.0, b=float(number)), f.grad(a=0.0, b=float(number))["b"]))
    assert results == [(float(number), 1.0) for number in range(8)]
    assert len(f.variants()) == 2


def test_calls_do_not_wait_while_another_function_is_compiled() -> None:
    f = sg.compile(x * 3)
    f(x=np.ones(2))
    f.grad(x=np.ones(2))
    held, done = threading.Event(), threading.Event()

    def compiling() -> None:
        with compiler.dispatch._lock:
            held.set()
            done.wait(60)

    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(compiling)
        assert held.wait(60)
        try:
            assert pool.submit(f, x=np.ones(7)).result(timeout=30).tolist() == [3.0] * 7  # a shape not seen before
            assert pool.submit(f.grad, x=np.ones(7)).result(timeout=30)["x"].tolist() == [3.0] * 7
        finally:
            done.set()
        other.result()


def test_a_kernel_lets_other_threads_run() -> None:
    f = sg.compile(np.sin(np.cos(np.sin(np.cos(x)))).sum())
    f(x=np.zeros(2))
    size = 100_000
    while True:
        data = np.linspace(0, 1, size)
        ticks: list[float] = []
        span: list[float] = []

        def work(data: Any = data, span: list[float] = span) -> None:
            span.append(time.perf_counter())
            f(x=data)
            span.append(time.perf_counter())

        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive():
            ticks.append(time.perf_counter())
            time.sleep(0.001)
        thread.join()
        start, stop = span
        if stop - start > 0.2:
            break
        size *= 4
    # were the lock held, this thread would not have run between the two ends
    inside = [t for t in ticks if start + (stop - start) * 0.2 < t < start + (stop - start) * 0.8]
    assert len(inside) >= 5


# -- processes ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_children_forked_after_use_call_and_build() -> None:
    output = script("""
        import os, sys, threading, warnings
        import numpy as np, symgraph as sg
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, of forking with threads

        a = sg.placeholder("a")
        f = sg.compile(np.exp(a) * 2)
        assert f(a=0.0) == 2.0
        stop = threading.Event()

        def compiling():  # a thread that holds the compiler's lock nearly always
            k = 0
            while not stop.is_set():
                k += 1
                sg.compile(a * k + 1)(a=1.0)

        thread = threading.Thread(target=compiling)
        thread.start()
        for child in range(3):
            process = os.fork()
            if process == 0:
                status = 1
                try:
                    import signal
                    signal.alarm(60)  # a child that hangs is killed, and fails
                    assert f(a=0.0) == 2.0
                    assert f(a=np.zeros(3)).tolist() == [2.0] * 3
                    assert f.grad(a=0.0) == {"a": 2.0}
                    assert sg.compile(np.sin(a) + 100 + child)(a=0.0) == 100.0 + child
                    status = 0
                finally:
                    os._exit(status)
            print(os.waitpid(process, 0)[1])
        stop.set()
        thread.join()
    """)
    assert output.split() == ["0", "0", "0"]


def test_functions_work_in_spawned_processes() -> None:
    f = sg.compile(np.exp(a) * b, inputs=[a, b])
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        values = [pool.submit(f, 0.0, float(k)) for k in range(4)]
        grads = pool.submit(f.value_and_grad, np.zeros(2), np.ones(2))
        assert [v.result(timeout=120) for v in values] == [0.0, 1.0, 2.0, 3.0]
        value, grad = grads.result(timeout=120)
    assert value.tolist() == [1.0, 1.0]
    assert {k: g.tolist() for k, g in grad.items()} == {"a": [1.0, 1.0], "b": [1.0, 1.0]}


def test_every_process_gives_the_same_bits_and_texts() -> None:
    code = """
        import hashlib, numpy as np, symgraph as sg
        n, w, c = sg.placeholder("n", shape=("k", 3), dtype="float64"), sg.placeholder("w"), sg.placeholder("c")
        scores = n @ w + c
        loss = (sg.logsumexp(scores, axis=1) - np.sin(scores)[:, 0]).sum() / 7 + (w * w).sum() * (c * 0.1).mean()
        f = sg.compile({"loss": loss, "max": scores.max(axis=0), "parts": [n[::-1], n.T]})
        rng = np.random.default_rng(0)
        data = {"n": rng.normal(size=(50, 3)), "w": rng.normal(size=(3, 4)), "c": rng.normal(size=4)}
        value, grads = f.value_and_grad(**data)
        results = [value["loss"], value["max"], *value["parts"], *grads.values(), f(**data)["loss"]]
        print([np.asarray(r).tobytes().hex() for r in results])
        topics = ("stations", "passes", "schedule", "cost")  # whether a kernel was found on disk may differ
        print(f.source, *map(f.explain, topics), f.to_dot("sides"), f.to_dot("joint", verbose=True), list(grads), f)
    """
    with ThreadPoolExecutor() as pool:
        first, *others = pool.map(lambda seed: script(code, PYTHONHASHSEED=seed), ("0", "1", "12345"))
    assert "digraph" in first and "def kernel" in first
    assert others == [first, first]


def test_300_calls_give_one_result_and_20_builds_one_text() -> None:
    def build() -> Any:
        p, q = sg.placeholder("p"), sg.placeholder("q")
        return sg.compile((np.exp(p) * q).sum() + (p @ q) / 3, inputs=[p, q])

    rng = np.random.default_rng(0)
    left, right = rng.normal(size=1000), rng.normal(size=1000)
    f = build()
    assert len({f(left, right).tobytes() for _ in range(300)}) == 1
    texts = set()
    for k in range(20):
        again = build()
        if k < 3:
            assert again(left, right).tobytes() == f(left, right).tobytes()
            texts.add(again.source)
        texts.add(repr(again) + again.to_dot())
    assert len(texts) == 2


# -- memory ------------------------------------------------------------------------------------------------------------


def test_half_a_million_calls_leave_less_than_a_byte_each() -> None:
    output = script(
        """
        import gc, resource, numpy as np, symgraph as sg

        def held():
            gc.collect()
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * resource.getpagesize()

        a, b = sg.placeholder("a"), sg.placeholder("b")
        f = sg.compile([a * b, (a + b).sum()], inputs=[a, b])
        array, strided, wrong = np.ones((3, 4)), np.ones((3, 8))[:, ::2], np.ones(5)

        def some(count):
            for _ in range(count // 8):
                f(2.0, 3.0), f(2.0, 3.0), f(2.0, b=3.0), f(b=2.0, a=3.0)
                f(array, 2), f(strided, [1, 2, 3, 4])
                f.grad(2.0, 3.0), f.value_and_grad(array, 2.0)

        def refused(count):
            for _ in range(count):
                try:
                    f(array, wrong)
                except ValueError:
                    pass

        some(50_000), refused(200)
        before = held()
        some(500_000), refused(500)
        print(held() - before)
    """
    )
    assert int(output) <= 500_000


def test_a_dropped_graph_is_freed() -> None:
    import gc

    from symgraph.op import REGISTRY

    def nodes() -> int:
        return sum(len(op.nodes) for op in REGISTRY.values())

    def build() -> None:
        y = x
        for k in range(1000):
            y = np.sin(y) + k
        sg.grad(y, [x])

    build()
    gc.collect()
    before = nodes()
    for _ in range(3):
        build()
    gc.collect()
    assert nodes() <= before + 10


# -- deep and shared graphs --------------------------------------------------------------------------------------------


def test_a_chain_of_100_000_nodes_needs_no_recursion() -> None:
    output = script("""
        import copy, pickle, sys, numpy as np, symgraph as sg
        from pathlib import Path
        from compiler import Graph, interpret

        assert sys.getrecursionlimit() <= 1000
        x = sg.placeholder("x", shape=(), dtype="float64")
        y = x
        for k in range(50_000):
            y = np.sin(y) + 0.1
        grad, = sg.grad(y, [x])
        assert len(repr(y)) < 2000 and len(repr(grad)) < 2000
        f = sg.compile(y)
        assert pickle.loads(pickle.dumps(f)).outputs[0] is y
        assert copy.deepcopy(y) is y
        graph = Graph([y]).verify()
        assert len(graph) == 100_002  # with x and the constant
        assert f.graph.number_of_nodes() == 100_002
        assert len(f.to_dot()) > 1_000_000
        value, = interpret([y], {"x": 0.5})
        expected = 0.5
        for k in range(50_000):
            expected = np.sin(expected) + 0.1
        assert value == expected
        del f, graph, grad
        del y
        # what getrusage says begins with the parent's peak
        print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024)
    """)
    assert int(output) < 2e9


def test_a_chain_of_20_000_nodes_compiles() -> None:
    y: Any = x
    expected = 0.5
    for k in range(10_000):
        y = (y - 0.25) * (0.5 + k % 2)
        expected = (expected - 0.25) * (0.5 + k % 2)
    f = sg.compile(y, fma=False)
    assert f.graph.number_of_nodes() > 20_000
    assert f(x=0.5) == expected


def test_forty_diamonds_are_forty_steps() -> None:
    y = x
    for _ in range(40):
        y = np.sin(y) * y + y  # paths from end to end: 3 to the 40th
    (grad,) = sg.grad(y, [x])
    (second,) = sg.grad(grad, [x])
    f = sg.compile([y, grad])
    assert f.graph.number_of_nodes() < 1000
    assert len(repr(second)) < 2000
    assert pickle.loads(pickle.dumps(second)) is copy.deepcopy(second) is second
    value, slope = f(x=0.01)
    assert [value, slope] == pytest.approx(interpret([y, grad], {"x": 0.01}), rel=1e-13)
    assert f.grad(x=0.01)["x"] > 0
    assert len(f.to_dot("sides")) < 200_000
    assert isinstance(sg.compile(second)(x=0.01), np.float64)


# -- names are data ----------------------------------------------------------------------------------------------------

HOSTILE = [  # hostile to Python, NumPy, Numba, C, DOT and to our own generated code
    *keyword.kwlist,
    *keyword.softkwlist,
    "self",
    "args",
    "kwargs",
    "cotangent",
    "np",
    "sg",
    "core",
    "entry",
    "run",
    "x0",
    "o0",
    "c0",
    "r",
    "n0",
    "sizes",
    "shapes",
    "arguments",
    "empty",
    "fail",
    "errors",
    "kernel",
    "symgraph_kernel",
    "int64",
    "float64",
    "print",
    "exec",
    "__import__",
    "__builtins__",
    "__class__",
    "__init__",
    "__name__",
    "_",
    "__",
    "names",
    "values",
    "way",
    "digraph",
    "node",
    "edge",
    "graph",
    "label",
    "é",
    "α",
    "变量",
    "ﬁ",
    "µ",
    "main",
    "malloc",
    "exp",
    "sin",
    "free",
]
HOSTILE = list(dict.fromkeys(HOSTILE))


def test_any_identifier_may_name_a_placeholder() -> None:
    placeholders = [sg.placeholder(name) for name in HOSTILE]
    assert len(set(placeholders)) == len(HOSTILE)
    total = sum(p * (k + 1) for k, p in enumerate(placeholders))
    f = sg.compile(total, inputs=placeholders)
    data = {name: float(k) for k, name in enumerate(HOSTILE)}
    expected = sum(k * (k + 1) for k in range(len(HOSTILE)))
    assert f(**data) == f(*data.values()) == pickle.loads(pickle.dumps(f))(**data) == expected
    assert f.grad(**data) == {name: k + 1 for k, name in enumerate(HOSTILE)}
    value, grads = f.value_and_grad(**data)
    assert value == expected and len(grads) == len(HOSTILE)
    for text in (f.source, f.to_dot(), f.to_dot("sides"), f.explain(), repr(f)):
        assert "变量" in text
    compile(f.source, "source", "exec")
    assert builtins.print is print


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_alone(name: str) -> None:
    p = sg.placeholder(name, shape=(name, 2))  # and as the name of a size
    f = sg.compile(p * 2)
    assert f.signature.bind((), {name: 1}) == [1]
    assert name in repr(p * 2)
    assert f'label="{name}"' in f.to_dot()
    assert interpret([p * 2], {name: np.ones((3, 2))})[0].tolist() == [[2.0, 2.0]] * 3


def test_names_of_sizes_are_data_too() -> None:
    p = sg.placeholder("p", shape=("class", "import"), dtype="float64")
    q = sg.placeholder("q", shape=("import", "n0"), dtype="float64")
    f = sg.compile(p @ q, inputs=[p, q])
    assert f(np.ones((2, 3)), np.ones((3, 4))).tolist() == [[3.0] * 4] * 2
    compile(f.source, "source", "exec")


# -- IEEE 754 ----------------------------------------------------------------------------------------------------------

SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.1, 3.0, 5e-324, -5e-324, 2.2e-308, 1.7e308, -1.7e308, 1e16, np.inf, -np.inf, np.nan]
)

FORMULAS: dict[str, Callable[..., Any]] = {
    "x - x": lambda x: x - x,
    "x * 0": lambda x: x * 0,
    "0 * x": lambda x: 0.0 * x,
    "x / x": lambda x: x / x,
    "0 / x": lambda x: 0 / x,
    "1 / (1 / x)": lambda x: 1 / (1 / x),
    "x + 0.0": lambda x: x + 0.0,
    "x - 0.0": lambda x: x - 0.0,
    "0.0 - x": lambda x: 0.0 - x,
    "x + -0.0": lambda x: x + (-0.0),
    "x + 0": lambda x: x + 0,
    "x * 1": lambda x: x * 1,
    "x * -1": lambda x: x * -1,
    "-(-x)": lambda x: np.negative(-x),
    "-(x - x)": lambda x: -(x - x),
    "x + x": lambda x: x + x,
    "x + x + x": lambda x: x + x + x,
    "x + x - x": lambda x: (x + x) - x,
    "x / 3 * 3": lambda x: x / 3 * 3,
    "x * 3 / 3": lambda x: x * 3 / 3,
    "x / 4": lambda x: x / 4,
    "x / 1e300 / 1e300": lambda x: x / 1e300 / 1e300,
    "x * 1e300 * 1e300": lambda x: x * 1e300 * 1e300,
    "x * 1e-300 * 1e300": lambda x: (x * 1e-300) * 1e300,
    "x ** 2": lambda x: x**2,
    "x ** 0": lambda x: x**0,
    "x ** 1": lambda x: x**1,
    "x ** -1": lambda x: x**-1.0,
    "x ** 2 / x": lambda x: x**2 / x,
    "sqrt(x * x)": lambda x: np.sqrt(x * x),
    "sqrt(x) * sqrt(x)": lambda x: np.sqrt(x) * np.sqrt(x),
    "x == x": lambda x: np.equal(x, x),
    "x != x": lambda x: np.not_equal(x, x),
    "not (x < 1)": lambda x: np.logical_not(x < 1),
    "x >= 1": lambda x: x >= 1,
    "abs(-x)": lambda x: abs(-x),
    "maximum(x, x)": lambda x: np.maximum(x, x),
    "fmax(x, nan)": lambda x: np.fmax(x, np.nan),
    "where(x == x, x, 0)": lambda x: np.where(np.equal(x, x), x, 0.0),
    "where(x > 0, x, -x)": lambda x: np.where(x > 0, x, -x),
    "sum of one": lambda x: np.sum(x[:, None] * np.ones((1, 1)), axis=1),
    "float32 and back": lambda x: x.astype("float32").astype("float64"),
    "reciprocal of reciprocal": lambda x: np.reciprocal(np.reciprocal(x)),
}


def bits(value: Any) -> Any:
    """The bits of floats, all nan alike; other values as they are."""
    value = np.asarray(value)
    return np.where(np.isnan(value), np.nan, value).view(np.int64) if value.dtype == np.float64 else value


@pytest.fixture(scope="module")
def one_argument() -> dict[str, Any]:
    """All formulas in one kernel with fused multiply-adds and in one without, on the special values."""
    results = {}
    for fma in (True, False):
        results[fma] = sg.compile({k: formula(x) for k, formula in FORMULAS.items()}, fma=fma, verify=True)(x=SPECIAL)
    return results


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_rewrite_is_exact_over_the_reals_alone(one_argument: dict[Any, Any], formula: str) -> None:
    with np.errstate(all="ignore"):
        expected = FORMULAS[formula](SPECIAL)
    for fma in (True, False):
        got = one_argument[fma][formula]
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(bits(got), bits(expected))


PAIRS: dict[str, Callable[..., Any]] = {
    "(a + b) - b": lambda a, b: (a + b) - b,
    "(a - b) + b": lambda a, b: (a - b) + b,
    "a - (a - b)": lambda a, b: a - (a - b),
    "a * b / b": lambda a, b: a * b / b,
    "a / b * b": lambda a, b: a / b * b,
    "a / b": lambda a, b: a / b,
    "-(a - b)": lambda a, b: -(a - b),
    "a + (-b)": lambda a, b: a + (-b),
    "a - (-b)": lambda a, b: a - (-b),
    "(-a) * (-b)": lambda a, b: (-a) * (-b),
    "(-a) / b": lambda a, b: (-a) / b,
    "a * (1 / b)": lambda a, b: a * (1 / b),
    "(a + b) + 1": lambda a, b: (a + b) + 1,
    "a + (b + 1)": lambda a, b: a + (b + 1),
    "(a * b) * 3": lambda a, b: (a * b) * 3,
    "where(a < b, a, b)": lambda a, b: np.where(a < b, a, b),
    "not (a < b)": lambda a, b: np.logical_not(a < b),
}


def test_no_rewrite_of_two_values_is_exact_over_the_reals_alone() -> None:
    left, right = (m.ravel().copy() for m in np.meshgrid(SPECIAL, SPECIAL))
    with np.errstate(all="ignore"):
        expected = {k: formula(left, right) for k, formula in PAIRS.items()}
    for fma in (True, False):
        got = sg.compile({k: formula(a, b) for k, formula in PAIRS.items()}, fma=fma, verify=True)(a=left, b=right)
        for name, value in expected.items():
            np.testing.assert_array_equal(bits(got[name]), bits(value), err_msg=f"{name}, fma={fma}")


def test_a_fused_multiply_add_rounds_once_and_only_where_it_is_allowed() -> None:
    left, right, third = 1 + 2.0**-30, 1 - 2.0**-30, -1.0
    c = sg.placeholder("c")
    exact = -(2.0**-60)  # a * b = 1 - 2**-60
    assert sg.compile(a * b + c)(a=left, b=right, c=third) == exact
    assert sg.compile(a * b + c, fma=False)(a=left, b=right, c=third) == left * right + third == 0.0


def test_integers_wrap_and_sums_of_integers_are_exact() -> None:
    big = np.array([2**62, 2**62, 2**53 + 1, -1])
    with np.errstate(over="ignore"):
        assert sg.compile(x.sum())(x=big) == big.sum()
        assert sg.compile(x * 3 + x)(x=big).tolist() == (big * 3 + big).tolist()
        small = np.array([200, 100], np.uint8)
        assert sg.compile(x + x)(x=small).tolist() == (small + small).tolist() == [144, 200]
        assert sg.compile(x.sum())(x=np.array([2**53, 1])) == 2**53 + 1


def test_gradients_at_kinks_are_subgradients() -> None:
    kinks = np.array([0.0, -0.0])
    formulas = {
        "abs": (abs(x), (-1, 1)),
        "maximum": (np.maximum(x, 0), (0, 1)),
        "minimum": (np.minimum(x, 0), (0, 1)),
        "clip": (np.clip(x, 0, 1), (0, 1)),
        "where": (np.where(x > 0, x, 0), (0, 1)),
        "sign": (np.sign(x), (0, 0)),
    }
    for name, (formula, (low, high)) in formulas.items():
        grad = sg.compile(formula).grad(x=kinks)["x"]
        assert np.all((low <= grad) & (grad <= high)), name
    ties = np.array([1.0, 3.0, 3.0, 2.0])
    assert sg.compile(x.max()).grad(x=ties)["x"].sum() == 1.0
    both = sg.compile(np.maximum(a, b)).grad(a=ties, b=ties)
    assert (both["a"] + both["b"]).tolist() == [1.0] * 4

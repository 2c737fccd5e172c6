"""Far arguments of functions: kernels are made for near ones alone until a first one comes, and no call is wrong for
that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

import symgraph as sg
from compiler import kernel, runtime, variant

ROOT = Path(__file__).parent.parent
FAR = np.array([1e22, -3e15, 0.5, 1.7e308, np.inf, np.nan, 2.0**31, -0.0])
KNOWN = {1e22: -0.8522008497671888, 2.0**31: -0.9713101757929392}
"""Sines of two of them, by mpmath."""


def sine(**options: Any) -> sg.Function:
    """A new function, with kernels of its own."""
    x = sg.placeholder("x", **options)
    return sg.compile([np.sin(x), np.cos(x) + 1, np.tan(x) * 2], inputs=[x])


def near(f: sg.Function) -> list[bool]:
    """Of the kernels of a function: whether they are for near arguments alone."""
    return [v.kernel.near for _, v in f.variants()]


COMPLETE = sine()


def known(x: Any) -> list[bytes]:
    """The bits of its results, from a kernel that was made for all arguments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variant, "build", partial(kernel.build, far=True))
        return bits(COMPLETE(x))


def bits(results: list[Any]) -> list[bytes]:
    return [np.asarray(r).tobytes() for r in results]


def test_near_arguments_need_no_more_than_that() -> None:
    f = sine()
    for x in (0.5, -0.0, np.nan, 2.0**30):
        f(x)
    assert near(f) == [True] and "symgraph_far" not in f.llvm
    f(1e22)
    assert near(f) == [False] and "symgraph_far" in f.llvm


@pytest.mark.parametrize("answered", ["first", "natively"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_first_one(dtype: str, answered: str) -> None:
    far_values = np.clip(FAR, -3e38, 3e38).astype(dtype) if dtype == "float32" else FAR
    for value in [*far_values, *[np.tile(far_values, 3)[:n] for n in (1, 7, 8, 23)]]:
        wanted = known(value)
        f = sine()
        if answered == "natively":
            runtime.load()
            f(np.full_like(value, 0.25)[()])
            assert near(f) == [True]
        for _ in range(3):
            assert bits(f(value)) == wanted
        assert near(f) == [not (np.abs(value) > 2.0**30).any()]


def test_values_are_right() -> None:
    f = sine()
    for x, wanted in KNOWN.items():
        assert f(x)[0] == pytest.approx(wanted, rel=3e-16)


def test_lanes_that_do_not_count_are_near() -> None:
    """Beyond the end of an array stands nothing, and 1 over that is infinite."""
    x = sg.placeholder("x", shape=("n",), dtype="float64")
    f = sg.compile([np.sin(1 / x), np.sum(np.cos(1 / x))])
    for n in (1, 7, 9, 1001):
        f(x=np.ones(n))
    assert near(f) == [True] * len(near(f))


def test_each_kernel_is_completed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    f = sine(shape=("n",))
    f(np.ones(5)), f(np.ones(9))
    count = kernel.compilations
    for n in (5, 9, 13, 5, 9):
        assert bits(f(np.full(n, 1e22))) == known(np.full(n, 1e22))
    assert kernel.compilations - count in (1, 2)  # and that of `known`, if it was new


@pytest.mark.parametrize("native", [False, True])
def test_errors_are_told_and_the_next_call_tries_again(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise MemoryError("nothing left")

    if native:
        runtime.load()
    f = sine()
    before = bits(f(0.5))
    with monkeypatch.context() as patch:
        patch.setattr(variant, "build", broken)
        for x in (1e22, 1e22, 0.5):  # no call can tell whether it was the one that missed them
            with pytest.raises(MemoryError, match="nothing left"):
                f(x)
    assert bits(f(0.5)) == before
    assert bits(f(1e22)) == known(1e22)


def test_from_many_threads_at_once() -> None:
    functions = [sine(), sine(shape=("n",)), sine()]
    for f in functions:
        f(np.full(3, 0.5) if f is functions[1] else 0.5)
    values = [float(v) for v in FAR[:4]]
    wanted = {v: known(v) for v in values}
    row = known(FAR)
    barrier = threading.Barrier(12)
    wrong: list[Any] = []

    def call(k: int) -> None:
        barrier.wait()
        for turn in range(20):
            value = values[(k + turn) % 4]
            if bits(functions[2 * (k % 2)](value)) != wanted[value] or bits(functions[1](FAR)) != row:
                wrong.append(value)

    threads = [threading.Thread(target=call, args=(k,)) for k in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong and not any(near(f) == [True] for f in functions)


def test_inside_the_threads_of_the_pool() -> None:
    """Where the caller waits for them, and holds Python's lock or not."""
    before = sg.get_num_threads()
    x = np.random.default_rng(0).uniform(-1, 1, 200_003)
    x[3::1000] = FAR[[0, 1, 3, 6]][np.arange(len(x[3::1000])) % 4]
    wanted = known(x)
    try:
        for count in (1, 2, 3):
            for warm in (False, True):
                sg.set_num_threads(count)
                f = sine(shape=("n",))
                if warm:
                    f(np.full(len(x), 0.5))
                    assert near(f) == [True]
                assert bits(f(x)) == wanted
    finally:
        sg.set_num_threads(before)


def test_loops_whose_end_depends_on_them() -> None:
    """A loop that went on with another value might never end."""
    x = sg.placeholder("x")
    first = sg.compile(sg.while_loop(lambda y: np.sin(y) < 0.99, lambda y: y * 1.5, x))
    wanted = 1e12
    while np.sin(wanted) < 0.99:
        wanted *= 1.5
    assert first(x=1.5) == 1.5
    assert near(first) == [False]
    assert first(x=1e12) == wanted


def test_loops_of_known_length_wait_for_nothing() -> None:
    x = sg.placeholder("x")
    f = sg.compile(sg.fori_loop(0, 100, lambda i, y: np.sin(y) * 1e15, x))
    f(x=0.0)
    assert near(f) == [True]
    y = 0.5
    for _ in range(100):
        y = float(sine()(y)[0]) * 1e15
    assert f(x=0.5) == y


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers")
def test_what_a_signal_handler_raises_is_raised() -> None:
    """Though results are void by then."""
    x = sg.placeholder("x")
    f = sg.compile(sg.fori_loop(0, 10**10, lambda i, y: np.sin(y) * 1e15, x))

    def end(*_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, end)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3, 5.0)
        with pytest.raises(TimeoutError):
            f(x=0.5)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_index_that_depends_on_one() -> None:
    """No check fails for what is void."""
    x, v = sg.placeholder("x"), sg.placeholder("v", shape=(3,), dtype="float64")
    f = sg.compile(v[(np.sin(x) * 1.4 + 1.5).astype("int64")], inputs=[x, v])
    assert f(1e22, [1.0, 2.0, 3.0]) == 1.0
    assert near(f) == [False]


def test_updates_are_done_once() -> None:
    w = sg.parameter("w", 1e22)
    step = sg.compile(w * 1, updates={w: w + np.sin(w) * 0 + 2.0**22})
    step()
    assert w.value == 1e22 + 2.0**22


def test_gradients() -> None:
    x = sg.placeholder("x", shape=("n",), dtype="float64")
    f = sg.compile(np.sum(np.sin(x)))
    value, gradients = f.value_and_grad(x=FAR[:3])
    assert gradients["x"].tobytes() == (sg.compile(np.cos(x))(x=FAR[:3])).tobytes()
    assert near(f) == [False] and np.isfinite(value)


def test_inside_functions_of_numba() -> None:
    x = sg.placeholder("x")
    f = sg.compile(np.sin(x) * np.cos(x), inputs=[x])
    inner = f.njit(0.5)

    @numba.njit(parallel=True)
    def many(values: Any) -> Any:
        out = np.empty_like(values)
        for k in numba.prange(len(values)):
            out[k] = inner(values[k])
        return out

    values = np.tile(FAR, 50)
    assert many(values).tobytes() == np.array([f(float(v)) for v in values]).tobytes()


def test_of_steps_that_are_measured() -> None:
    f = sine(shape=("n",))
    assert len(f.profile(FAR, repeat=2).seconds) >= 1


def script(text: str, **environment: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_kernels_from_disk_work_in_new_processes(tmp_path: Path) -> None:
    text = """
        import numpy as np, symgraph as sg
        from compiler import machine
        x = sg.placeholder("x")
        f = sg.compile([np.sin(x), np.sin(x * np.ones(9))], inputs=[x])
        print([np.asarray(r).tobytes().hex() for r in f(1e22)], machine.compilations > 0)
    """
    first, second = (script(text, SYMGRAPH_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert first.split("]")[0] == second.split("]")[0]
    assert "True" in first and "True" not in second


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_in_forked_processes() -> None:
    """Of a process that wanted none, of one that does so meanwhile, and of one that had them."""
    output = script(
        """
        import os, signal, threading, warnings
        import numpy as np, symgraph as sg
        from compiler import runtime
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, of forking with threads

        x = sg.placeholder("x")
        f, g = sg.compile(np.sin(x)), sg.compile(np.cos(x))
        f(x=0.5), g(x=0.5), runtime.load()

        def child():
            process = os.fork()
            if process == 0:
                signal.alarm(60)  # a child that hangs is killed, and fails
                good = abs(f(x=1e22) + 0.8522008497671888) < 1e-15
                good &= abs(g(x=1e22) - 0.523214785395139) < 1e-15
                os._exit(0 if good else 1)
            print(os.waitpid(process, 0)[1])

        child()
        thread = threading.Thread(target=f, kwargs={"x": 1e22})
        thread.start()
        for _ in range(3):
            child()
        thread.join()
        child()
        """
    )
    assert output.split() == ["0"] * 5


def test_the_process_ends_while_a_thread_wants_them() -> None:
    for _ in range(3):
        script(
            """
            import threading
            import numpy as np, symgraph as sg
            x = sg.placeholder("x", shape=("n",), dtype="float64")
            f = sg.compile(np.sin(x))
            f(x=np.full(10**5, 0.5))
            threading.Thread(target=lambda: [f(x=np.full(10**5, 1e22)) for _ in range(10**6)], daemon=True).start()
            """
        )

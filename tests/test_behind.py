"""What a thread does behind, and kernels that are made quickly for a first answer and made well by it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from compiler import behind, kernel, machine, runtime, variant
from symgraph.tree import flatten

ROOT = Path(__file__).parent.parent

a, x, y = sg.placeholder("a"), sg.placeholder("x"), sg.placeholder("y")
i = sg.placeholder("i", dtype="int64")


def until(condition: Callable[[], Any]) -> None:
    """Wait for something that a thread does."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def script(code: str, **environment: str) -> str:
    """Run code in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- the thread --------------------------------------------------------------------------------------------------------


@pytest.fixture
def idle() -> None:
    until(lambda: not behind.waiting())


def test_jobs_are_done_in_the_order_of_their_times(idle: None) -> None:
    done: list[str] = []
    ended = threading.Event()
    behind.later(ended.set, 0.4)
    for name, pause in (("third", 0.3), ("first", 0.1), ("second", 0.2)):
        behind.later(lambda name=name: done.append(name), pause)
    assert behind.waiting() == 4
    assert ended.wait(60)
    assert done == ["first", "second", "third"]


def test_jobs_that_fail_keep_no_other_from_being_done(idle: None) -> None:
    ended = threading.Event()

    def fail() -> None:
        raise ArithmeticError("of nobody's interest")

    behind.later(fail)
    behind.later(ended.set, 0.001)
    assert ended.wait(60)
    until(lambda: not behind.waiting())


def test_the_thread_ends_and_another_begins(idle: None) -> None:
    names = []
    for _ in range(3):
        behind.later(lambda: names.append(threading.current_thread()))
        until(lambda: not behind.waiting() and behind._worker is None)
    assert len(set(names)) == 3
    assert not any(thread is threading.current_thread() for thread in names)


def test_where_no_thread_can_be_had(idle: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        behind.later(lambda: None)
        assert not behind.waiting()
    ended = threading.Event()
    behind.later(ended.set)
    assert ended.wait(60)


def test_a_process_that_ends_does_what_is_left() -> None:
    printed = script(
        """
        from compiler import behind
        behind.later(lambda: print("done"), 600)
        """
    )
    assert printed.split() == ["done"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked on Unix")
def test_a_forked_process_does_what_was_left_with_its_next_job() -> None:
    printed = script(
        """
        import os, threading
        from compiler import behind
        told, done = threading.Event(), []
        behind.later(lambda: done.append(os.getpid()), 1)
        if not os.fork():
            behind.later(told.set, 2)
            told.wait(60)
            print(done == [os.getpid()], flush=True)
            os._exit(0)
        os.wait()
        behind.later(told.set, 1)
        told.wait(60)
        print(done == [os.getpid()])
        """
    )
    assert printed.split() == ["True", "True"]


# -- kernels -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def held(idle: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Callable[[], Any]]]:
    """Kernels are made quickly first; what would be done behind is put into a list."""
    monkeypatch.setenv("SYMGRAPH_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("SYMGRAPH_QUICK_FIRST", "1")
    monkeypatch.setattr(kernel, "cores", lambda: 2)
    monkeypatch.setattr(kernel, "_PAUSE", 0.0)
    runtime.load()
    jobs: list[Callable[[], Any]] = []
    with monkeypatch.context() as patch:
        patch.setattr(behind, "later", lambda job, pause=0.0: jobs.append(job))
        patch.setattr(behind, "waiting", lambda: len(jobs))
        yield jobs


def variants_of(f: sg.Function) -> list[variant.Variant]:
    return [v for kernels in f.dispatch.kernels.values() for v in kernels.variants.values()]


def behind_of(f: sg.Function) -> list[kernel.Kernel]:
    """The kernels of a function as they are now."""
    return [v._kernel for v in variants_of(f)]


def bits(results: Any) -> list[bytes]:
    """The bits of all arrays in it."""
    return [np.asarray(r).tobytes() for r in flatten(results)[0]]


FORMULAS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "numbers": (lambda: a * x + np.sin(a) / x, {"a": 2.0, "x": 3.0}),
    "vectors": (lambda: np.exp(x) * np.sin(x) + np.tanh(a * x), {"a": 0.3, "x": np.linspace(-9, 9, 1003)}),
    "float32": (lambda: np.arctan2(x, y) + np.log1p(x * x), {"x": np.ones(37, "f4"), "y": np.float32(-0.5)}),
    "sums": (lambda: np.sum(x * y) / np.max(x) + np.mean(x), {"x": np.arange(1.0, 700), "y": np.ones(699)}),
    "rows": (
        lambda: [np.exp(x) / np.sum(np.exp(x), axis=1, keepdims=True), np.argmax(x, axis=1)],
        {"x": np.sin(np.arange(60.0)).reshape(4, 15)},
    ),
    "integers": (lambda: [i // 3 + i % 7, i * i - 2**40], {"i": np.arange(-50, 50)}),
    "products": (lambda: np.sum(np.tanh(x @ y)), {"x": np.eye(33) + 0.5, "y": np.ones((33, 5))}),
    "a loop": (
        lambda: sg.fori_loop(0, 20, lambda k, s: (s[1], np.cos(s[0] + a)), (x, a)),
        {"a": 0.5, "x": np.linspace(0, 1, 9)},
    ),
    "steps": (lambda: steps(x, a, 200), {"a": 0.4, "x": np.linspace(0, 1, 9)}),
    "a choice": (lambda: sg.cond(a > 1, lambda: a * x, lambda: np.sin(a) - x), {"a": 0.5, "x": np.ones(3)}),
    "special values": (
        lambda: [np.maximum(x, a), np.sqrt(x), np.sign(x) * 2, x / a],
        {"a": -0.0, "x": np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, -1.0, 1e300])},
    ),
}


def steps(state: Any, other: Any, count: int) -> Any:
    for _ in range(count):
        state = np.sin(state * other) + state
    return state


@pytest.mark.parametrize("name", FORMULAS)
def test_both_kernels_give_the_same_bits(name: str, held: list[Any]) -> None:
    formula, given = FORMULAS[name]
    f = sg.compile(formula())
    ways: list[Callable[..., Any]] = [f]
    if not isinstance(formula(), list | tuple):
        ways.append(lambda **given: f.value_and_grad(**given))
    first = [bits(way(**given)) for way in ways]
    assert [k.hasty for k in behind_of(f)] == [True] * len(ways) == [True] * len(held)
    for job in held:
        job()
    assert [k.latest.hasty or k.latest.quick for k in behind_of(f)] == [False] * len(ways)
    assert [v.bind(v.latest or {}).address == v._kernel.latest.address for v in variants_of(f)] == [True] * len(ways)
    assert [bits(way(**given)) for way in ways] == first


def swapped(text: str) -> str:
    """A kernel's text that multiplies by 3 where it was by 2."""
    assert "0x4000000000000000" in text
    return text.replace("0x4000000000000000", "0x4008000000000000")


@pytest.mark.parametrize("native", [True, False])
def test_calls_go_on_to_the_kernel_that_was_made_well(
    native: bool, held: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = machine.load
    monkeypatch.setattr(machine, "load", lambda text, symbols: made(swapped(text), symbols))
    if not native:
        monkeypatch.setattr(runtime, "_loaded", None)
        monkeypatch.setattr(runtime, "_load_later", lambda: None)
    f, row = sg.compile(x * 2.0), np.ones(5)
    early = [f(x=row) for _ in range(3)]
    (job,) = held
    job()
    later = [f(x=row) for _ in range(3)]
    assert runtime.at_hand() == native
    assert [float(r[0]) for r in early + later] == [2.0] * 3 + [3.0] * 3
    assert float(f(x=np.ones(7))[0]) == 3.0  # a plan that is new


def test_what_shows_the_machine_code_waits_for_it(held: list[Any]) -> None:
    f = sg.compile(np.sin(x) + 1)
    f(x=np.ones(3))
    (first,) = behind_of(f)
    assert first.hasty and kernel.FIRST not in f.asm and kernel.FIRST not in f.llvm
    (after,) = behind_of(f)
    assert after is first.latest and not after.hasty
    count = machine.compilations
    held[0]()
    assert behind_of(f) == [after] and first.latest is after and machine.compilations == count


def test_calls_that_take_long_wait_for_it(held: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variant, "PATIENT", 10**7)
    f, g = sg.compile(np.sin(x) + 1), sg.compile(np.cos(x) + 1)
    f(x=np.ones(10))
    assert behind_of(f)[0].hasty
    f(x=np.ones(10000))
    assert not behind_of(f)[0].hasty
    count = machine.compilations
    g(x=np.ones(10000))
    assert not behind_of(g)[0].hasty and machine.compilations == count + 1


def test_who_compiles_many_functions_is_not_held_up(held: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_PAUSE", 0.2)
    f, g = sg.compile(x * 2.0), sg.compile(x * 4.0)
    f(x=1.0)
    held.pop()()  # too early: it is put off
    assert behind_of(f)[0].latest.hasty and len(held) == 1
    time.sleep(0.3)
    g(x=1.0)
    held.pop(0)()
    assert behind_of(f)[0].latest.hasty and len(held) == 2
    time.sleep(0.3)
    for job in held:
        job()
    assert not behind_of(f)[0].latest.hasty and not behind_of(g)[0].latest.hasty and len(held) == 2


def test_loops_that_may_take_long_wait_for_it(held: list[Any]) -> None:
    f = sg.compile(sg.while_loop(lambda s: s < 100, lambda s: s * a, x))
    assert f(a=2.0, x=1.0) == 128
    assert not behind_of(f)[0].hasty


def test_where_it_would_not_help(held: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def hasty(formula: Any) -> bool:
        f = sg.compile(formula)
        f(x=1.5)
        return behind_of(f)[0].hasty

    assert hasty(x * x - 1)
    assert len(held) == 1 and not list(tmp_path.glob("*.kernel"))
    held[0]()
    assert len(list(tmp_path.glob("*.kernel"))) == 1
    assert not hasty(x * x - 1)  # which is on disk now
    monkeypatch.setattr(kernel, "cores", lambda: 1)
    assert not hasty(x * x - 2)
    monkeypatch.setattr(kernel, "cores", lambda: 2)
    monkeypatch.setenv("SYMGRAPH_QUICK_FIRST", "0")
    assert not hasty(x * x - 3)
    monkeypatch.delenv("SYMGRAPH_QUICK_FIRST")
    assert hasty(x * x - 4)
    held.extend([lambda: None] * kernel.BACKLOG)
    assert not hasty(x * x - 5)


def test_far_arguments_of_a_kernel_made_quickly(held: list[Any]) -> None:
    f, known = sg.compile(np.sin(x)), -0.8522008497671888
    for _ in range(2):
        assert f(x=0.0) == 0
        assert f(x=1e22) == pytest.approx(known, rel=3e-16)
        for job in held:
            job()
    (last,) = behind_of(f)
    assert not last.near and not last.hasty


def test_both_kernels_are_freed_with_the_function(held: list[Any]) -> None:
    f = sg.compile(np.sin(x) + 7)
    f(x=np.ones(3))
    (first,) = behind_of(f)
    held.pop()()
    codes = [weakref.ref(first.code), weakref.ref(first.latest.code)]
    assert codes[0]() is not codes[1]()
    del first, f
    gc.collect()
    assert [code() for code in codes] == [None, None]


def test_calls_from_many_threads_while_the_kernel_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYMGRAPH_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("SYMGRAPH_QUICK_FIRST", "1")
    monkeypatch.setattr(kernel, "cores", lambda: 2)
    f, given = sg.compile(np.sum(np.exp(x) * a)), {"a": 0.5, "x": np.linspace(0, 1, 100)}
    wanted = bits(f.value_and_grad(**given))
    (first,) = behind_of(f)
    assert first.hasty
    wrong: list[Any] = []
    over = threading.Event()

    def call() -> None:
        while not over.is_set():
            found = bits(f.value_and_grad(**given))
            if found != wanted:
                wrong.append(found)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: first.latest is not first)
    time.sleep(0.05)
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_short_programs_leave_well_made_kernels_on_disk(tmp_path: Path) -> None:
    code = """
    import numpy as np, symgraph as sg
    from compiler import kernel, machine
    kernel.cores = lambda: 2
    def main():
        x = sg.placeholder("x")
        f = sg.compile(np.sin(x) * x)
        f(x=np.ones(9))
        print([v._kernel.hasty for k in f.dispatch.kernels.values() for v in k.variants.values()][0])
    main()
    """
    environment = {"SYMGRAPH_CACHE_DIR": str(tmp_path), "SYMGRAPH_QUICK_FIRST": "1"}
    assert [script(code, **environment).strip() for _ in range(2)] == ["True", "False"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked on Unix")
def test_forked_before_the_kernel_is_made_well(tmp_path: Path) -> None:
    printed = script(
        """
        import os
        import numpy as np, symgraph as sg
        from compiler import behind, kernel
        kernel.cores, kernel._PAUSE = (lambda: 2), 0.5
        x = sg.placeholder("x")
        f = sg.compile(np.sin(x) * x)
        f(x=np.ones(9))
        child = os.fork()
        ok = f(x=np.ones(9))[0] == np.sin(1.0)
        ok &= "symgraph_kernel" in f.asm and f(x=np.ones(9))[0] == np.sin(1.0)
        print(ok, flush=True)
        os._exit(0) if not child else os.wait()
        """,
        SYMGRAPH_CACHE_DIR=str(tmp_path),
        SYMGRAPH_QUICK_FIRST="1",
    )
    assert printed.split() == ["True", "True"]

"""The runtime: the native call and its stand-in in Python, the pool of threads, the pool of memory."""

from __future__ import annotations

import ctypes
import gc
import inspect
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy._core.multiarray import get_handler_name

import symgraph as sg
from compiler import machine, runtime, variant
from compiler.runtime import layout
from compiler.runtime.layout import LARGE

ROOT = Path(__file__).resolve().parent.parent

a, b, x = sg.placeholder("a"), sg.placeholder("b"), sg.placeholder("x")


@pytest.fixture(autouse=True)
def loaded() -> None:
    """Tests begin with the runtime there, where they do not say otherwise."""
    runtime.load()


@pytest.fixture(params=["native", "python"])
def caller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Functions compiled in a test are called by each of the two callers."""
    loaded = runtime.load()
    assert loaded.native
    monkeypatch.setattr(loaded, "native", request.param == "native")
    return str(request.param)


def same(got: Any, expected: Any) -> None:
    """Equal in kind, dtype, shape and bits."""
    assert type(got) is type(expected), (got, expected)
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    assert got.tobytes() == expected.tobytes()


def script(code: str) -> str:
    """Run code in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def plans_of(function: Any, what: str = "__call__") -> list[Any]:
    """What a function that was called before tries: first Python, then plans."""
    caller = getattr(function, what)
    return caller.__self__ if runtime.load().native else caller.state


def asked(function: Any, what: str = "__call__") -> list[tuple[Any, ...]]:
    """Records the calls that are handed over to Python from here on."""
    calls: list[tuple[Any, ...]] = []
    state = plans_of(function, what)
    original = state[0]

    def watched(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        return original(*args, **kwargs)

    state[0] = watched
    return calls


# -- what plans take ---------------------------------------------------------------------------------------------------


def test_arguments_of_one_kind_are_answered_without_python(caller: str) -> None:
    f = sg.compile(a * 2 + b, inputs=[a, b])
    for one, two in (
        (2.0, 3.0),
        (2, 3),
        (True, 3.0),
        (np.float32(2), 3),
        (np.float64(2), np.int8(3)),
        (np.bool_(True), np.uint16(3)),
        (np.ones(3), np.ones((2, 1), np.float32)),
        (np.array(2.0), np.zeros((0, 3))),
    ):
        expected = f(one, two)
        calls = asked(f)
        for got in (f(one, two), f(one, b=two), f(a=one, b=two), f(b=two, a=one)):
            same(got, expected)
        assert calls == []


def test_declared_dtypes_take_numbers_natively(caller: str) -> None:
    for dtype, value in (("float32", 3), ("float32", 0.1), ("float64", 2**53 + 1), ("int8", -128), ("uint64", 7)):
        f = sg.compile(sg.placeholder("d", dtype=dtype) * 1)
        expected = np.dtype(dtype).type(value)
        same(f(d=value), expected)
        calls = asked(f)
        same(f(d=value), expected)
        assert calls == []
    f = sg.compile(sg.placeholder("d", dtype="int8") + 0)
    for _ in range(2):
        f(d=1)
        with pytest.raises(ValueError, match="300 does not fit into int8"):
            f(d=300)
    g = sg.compile(sg.placeholder("d", dtype="uint64") + 0)
    for _ in range(2):
        same(g(d=5), np.uint64(5))
        same(g(d=2**64 - 1), np.uint64(2**64 - 1))
        with pytest.raises(ValueError, match="does not fit"):
            g(d=-1)
    h = sg.compile(a + 0)
    h(a=1)
    for value in (2**63, -(2**63) - 1, 10**30):
        with pytest.raises(ValueError, match="64 bits"):
            h(a=value)
    same(h(a=-(2**63)), np.int64(-(2**63)))


class Plain(np.ndarray):
    pass


def unusual() -> dict[str, Any]:
    """Arrays of three ones that kernels do not take as they are, or should not change."""
    locked = np.ones(3)
    locked.flags.writeable = False
    bytes_ = np.zeros(25, np.uint8)
    unaligned = bytes_[1:].view(np.float64)
    unaligned[:] = 1
    return {
        "subclass": np.ones(3).view(Plain),
        "readonly": locked,
        "strided": np.ones(6)[::2],
        "reversed": np.ones(3)[::-1],
        "swapped": np.ones(3).astype(">f8"),
        "unaligned": unaligned,
        "broadcast": np.broadcast_to(1.0, 3),
        "list": [1.0, 1.0, 1.0],
        "memory": memoryview(np.ones(3)),
    }


@pytest.mark.parametrize("kind", unusual())
def test_unusual_arrays_after_plain_ones(caller: str, kind: str) -> None:
    f = sg.compile(x + 1)
    f(x=np.ones(3))
    for _ in range(2):
        same(f(x=unusual()[kind]), np.full(3, 2.0))
    same(f(x=np.ones(3)), np.full(3, 2.0))


def test_other_shapes_dtypes_and_types_find_their_own_plan(caller: str) -> None:
    f = sg.compile(x * 2)
    values = [np.ones(n, d) for n in range(6) for d in ("f4", "f8", "i4")] + [1.0, 2, True, np.float32(1), np.ones(())]
    for _ in range(3):
        for value in values:
            same(f(x=value), np.asarray(np.multiply(value, 2))[()])
    assert len(plans_of(f)) == 17


def test_keywords_wrong_missing_twice(caller: str) -> None:
    f = sg.compile(a - b, inputs=[a, b])
    f(a=1.0, b=2.0)
    for args, kwargs, text in (
        ((), {"a": 1.0}, "missing"),
        ((), {"a": 1.0, "c": 2.0}, "no placeholder 'c'"),
        ((1.0,), {"a": 2.0}, "twice"),
        ((1.0, 2.0, 3.0), {}, "positional"),
        ((), {"a": 1.0, "b": 2.0, "c": 3.0}, "no placeholder 'c'"),
        ((), {}, "missing"),
    ):
        with pytest.raises(TypeError, match=text):
            f(*args, **kwargs)
    keywords = sg.compile(a - b)
    keywords(a=1.0, b=2.0)
    with pytest.raises(TypeError, match="keywords"):
        keywords(1.0, 2.0)
    assert f(**{"".join("a"): 1.0, "".join(["b"]): 2.0}) == -1.0  # names that are not interned
    p, q = (sg.placeholder("-".join(parts).replace("-", "")) for parts in ("ab", "cd"))
    joined = sg.compile(p - q)
    joined(ab=1.0, cd=2.0)
    calls = asked(joined)
    assert joined(ab=1.0, cd=2.0) == -1.0
    assert calls == []
    many = sg.compile(sum(sg.placeholder(f"p{k}") for k in range(50)))
    values = {f"p{k}": float(k) for k in range(50)}
    for _ in range(3):
        assert many(**dict(reversed(values.items()))) == sum(range(50))


def test_cotangents_are_keywords(caller: str) -> None:
    f = sg.compile(x * x, inputs=[x])
    value = np.arange(3.0)
    for _ in range(3):
        same(f.grad(value, cotangent=value)["x"], 2 * value * value)
        same(f.grad(value)["x"], 2 * value)
    with pytest.raises(TypeError, match="positional"):
        f.grad(value, value)


def test_a_derived_class_keeps_its_own_methods(caller: str) -> None:
    from compiler.function import Function

    class Loud(Function):
        def grad(self, /, *args: Any, **kwargs: Any) -> dict[str, Any]:
            return {k: -v for k, v in super().grad(*args, **kwargs).items()}

        def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
            return -super().__call__(*args, **kwargs)

    f = Loud(x * x)
    for _ in range(3):
        assert f(x=3.0) == -9.0
        assert f.grad(x=3.0) == {"x": -6.0}
        assert f.value_and_grad(x=3.0) == (9.0, {"x": 6.0})


def test_methods_keep_their_documentation() -> None:
    f = sg.compile(x * x)
    f(x=1.0), f.grad(x=1.0), f.value_and_grad(x=1.0)
    for name in ("__call__", "grad", "value_and_grad"):
        found, method = getattr(f, name), getattr(type(f), name)
        assert found.__name__ == name
        assert inspect.cleandoc(found.__doc__) == inspect.cleandoc(method.__doc__)
        assert str(inspect.signature(found)) == "(*args, **kwargs)"


def test_methods_outlive_their_function(caller: str) -> None:
    f = sg.compile(x * x)
    call, grad, first = f.__call__, f.grad, sg.compile(x + 1).__call__
    f(x=1.0)
    again = f.__call__
    del f
    gc.collect()
    for _ in range(2):
        assert (call(x=3.0), grad(x=3.0), again(x=4.0), first(x=1.0)) == (9.0, {"x": 6.0}, 16.0, 2.0)


# -- results and errors ------------------------------------------------------------------------------------------------


def test_results_of_every_dtype_and_form(caller: str) -> None:
    for dtype in "?bhilBHILfd":
        value = np.array([1, 0, 1], dtype)
        f = sg.compile([x, x[0], x[1:2], x[::-1], x, x[0].reshape(1, 1)])
        for _ in range(2):
            got = f(x=value)
            for one, wanted in zip(
                got, [value, value[0], value[1:2], value[::-1], value, value[:1].reshape(1, 1)], strict=True
            ):
                same(one, np.ascontiguousarray(wanted) if isinstance(wanted, np.ndarray) else wanted)
            arrays = [r for r in got if isinstance(r, np.ndarray)]
            for k, one in enumerate(arrays):
                assert one.flags.owndata and one.flags.writeable
                assert not any(np.shares_memory(one, other) for other in [value, *arrays[:k]])


def test_errors_inside_kernels(caller: str) -> None:
    i = sg.placeholder("i")
    f = sg.compile([x[i], x + 1], inputs=[x, i])
    value, index = np.arange(4.0), np.array([0, 3])
    good = f(value, index)
    before = sys.getrefcount(value.dtype)
    for _ in range(1000):
        index[1] = 9
        with pytest.raises(IndexError, match="out of bounds"):
            f(value, index)
        index[1] = 3
        same(f(value, index)[0], good[0])
    assert abs(sys.getrefcount(value.dtype) - before) < 200


def test_results_too_large_for_memory(caller: str) -> None:
    f = sg.compile([a * b, a + b], inputs=[a, b])
    row = np.ones(10**7)
    for _ in range(3):
        with pytest.raises(MemoryError):
            f(row[:, None], row)
    assert get_handler_name() == "default_allocator"
    same(f(2.0, 3.0)[0], np.float64(6.0))


def test_an_error_of_a_structure_is_the_callers(caller: str) -> None:
    from collections import namedtuple

    pair = namedtuple("pair", "x y")
    f = sg.compile(pair(x, x + 1))
    f(x=1.0), f.value_and_grad(x=1.0)
    refused = RuntimeError("no more pairs")

    def refuse(*_: Any) -> Any:
        raise refused

    pair.__new__ = refuse  # type: ignore[method-assign, assignment]
    for call in (f, f.value_and_grad):
        with pytest.raises(RuntimeError) as info:
            call(x=1.0)
        assert info.value is refused


def test_references_are_stable_over_100_000_calls() -> None:
    f = sg.compile({"p": a * b, "s": [a + b]})
    one, two = np.ones(3), np.ones((2, 1))
    results = f.value_and_grad(a=one, b=two)
    number = f.value_and_grad(a=1.5, b=2.5)
    watched = [one, two, one.dtype, one.dtype.type, float, np.ndarray, "a", results[1]["a"], number[0]["p"]]
    watched += [f, f.value_and_grad, f.dispatch, None, True]
    value = 1.5
    for _ in range(2):
        before = [sys.getrefcount(w) for w in watched]
        for _ in range(50_000):
            f.value_and_grad(a=one, b=two)
            f.value_and_grad(b=value, a=value)
        after = [sys.getrefcount(w) for w in watched]
        assert all(abs(n - m) < 10 for n, m in zip(after, before, strict=True)), (before, after)
    del watched
    assert [sys.getrefcount(results[1]["a"]), sys.getrefcount(number[0]["p"])] == [2, 2]  # the dict's, and this call's


def test_200_000_calls_leave_nothing() -> None:
    output = script(
        """
        import resource, numpy as np, symgraph as sg
        a, b = sg.placeholder("a"), sg.placeholder("b")
        f = sg.compile({"p": a * b, "s": (a + b, a - b), "t": (a * b).reshape(-1)})
        array, large = np.ones(3), np.ones(100_000)

        def held():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * resource.getpagesize()

        def some(count):
            for _ in range(count // 4):
                f(a=2.0, b=3.0), f.value_and_grad(a=2.0, b=3.0), f.grad(b=array, a=array), f(a=array, b=2)
            for _ in range(count // 1000):
                f(a=large, b=large)

        some(20_000)
        before = held()
        some(200_000)
        print(held() - before)
        """
    )
    assert int(output) <= 400_000


def test_eight_threads_call_400_times_each(caller: str) -> None:
    f = sg.compile(np.exp(a) * b, inputs=[a, b])
    g = np.random.default_rng(0)
    inputs = [(g.normal(size=n), g.normal(size=n)) for n in range(3, 28)]  # more shapes than are at hand
    expected = [f.value_and_grad(*pair) for pair in inputs]

    def work(seed: int) -> int:
        wrong = 0
        for k in np.random.default_rng(seed).integers(0, len(inputs), 400):
            value, grads = f.value_and_grad(*inputs[k])
            wrong += value.tobytes() != expected[k][0].tobytes()
            wrong += any(grads[n].tobytes() != expected[k][1][n].tobytes() for n in "ab")
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [0] * 8


def test_first_calls_from_many_threads_all_lead_to_the_native_call() -> None:
    for _ in range(30):
        f = sg.compile(a * b, inputs=[a, b])
        barrier = threading.Barrier(4)

        def call(barrier: threading.Barrier = barrier, f: Any = f) -> None:
            barrier.wait()
            f(2.0, 3.0)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _, call=call: call(), range(4)))
        f(2.0, 3.0)
        calls = asked(f)
        f(2.0, 3.0)
        assert calls == []


def test_plans_of_a_dropped_function_are_freed() -> None:
    import weakref

    f = sg.compile(a * b + 41)
    f(a=1.0, b=2.0), f.value_and_grad(a=1.0, b=2.0)
    parts = [weakref.ref(f), weakref.ref(f.dispatch), weakref.ref(f.variants()[0][1])]
    gc.disable()
    try:
        del f
        assert [part() for part in parts] == [None] * 3  # at once, without the collector
    finally:
        gc.enable()


# -- memory ------------------------------------------------------------------------------------------------------------


def test_large_results_come_from_the_pool() -> None:
    f = sg.compile(x + 1)
    value = np.ones(LARGE // 8)
    loaded = runtime.load()
    loaded.drain()
    assert loaded.pooled() == 0
    first = f(x=value)
    assert get_handler_name(first) == "symgraph_pool"
    assert first.flags.owndata and first.ctypes.data % 64 == 0
    assert get_handler_name() == get_handler_name(np.ones(1)) == "default_allocator"
    assert get_handler_name(f(x=np.ones(8))) == "default_allocator"
    address = first.ctypes.data
    del first
    assert loaded.pooled() >= LARGE
    again = f(x=value)
    assert again.ctypes.data == address
    assert loaded.pooled() == 0
    kept = f(x=value)
    assert not np.shares_memory(kept, again)
    again.resize(LARGE // 4, refcheck=False)  # larger
    same(again[: LARGE // 8], np.full(LARGE // 8, 2.0))
    again.resize(10, refcheck=False)
    same(again, np.full(10, 2.0))
    np.testing.assert_array_equal(kept, 2.0)


def test_the_pool_is_bounded_and_forgets() -> None:
    f = sg.compile(x + 1)
    loaded = runtime.load()
    loaded.drain()
    results = [f(x=np.ones(LARGE // 8 + 5000 * k)) for k in range(100)]
    del results
    assert 0 < loaded.pooled() <= 512 * 1024 * 1024
    value = np.ones(LARGE)
    for _ in range(600):  # of another size: the old blocks go back to the system
        f(x=value)
    assert loaded.pooled() <= 20 * LARGE
    huge = np.ones(80 * 1024 * 1024 // 8)
    for _ in range(2):
        several = [f(x=huge) for _ in range(8)]
        del several
        assert loaded.pooled() <= 512 * 1024 * 1024
    loaded.drain()


def test_threads_share_the_pool() -> None:
    f = sg.compile(x + 1)

    def work(seed: int) -> bool:
        kept = []
        for k in range(200):
            value = np.full(LARGE // 8 * (1 + k % 3), float(seed))
            kept.append(f(x=value))
            if len(kept) > 4:
                if not all((r == seed + 1).all() for r in kept):
                    return False
                kept.clear()
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


# -- threads -----------------------------------------------------------------------------------------------------------

BODIES = """
define void @mark(ptr %counts, i64 %chunk) {
  %place = getelementptr i64, ptr %counts, i64 %chunk
  %before = load i64, ptr %place
  %after = add i64 %before, 1
  store i64 %after, ptr %place
  ret void
}

define void @nested(ptr %closure, i64 %chunk) {
  %parallel = load ptr, ptr %closure
  %at = getelementptr ptr, ptr %closure, i64 1
  %counts = load ptr, ptr %at
  %offset = mul i64 %chunk, 10
  %mine = getelementptr i64, ptr %counts, i64 %offset
  call void %parallel(ptr @mark, ptr %mine, i64 10)
  ret void
}

define void @many(ptr %parallel, ptr %body, ptr %closure, i64 %chunks, i64 %times) {
  br label %loop
loop:
  %k = phi i64 [0, %0], [%next, %loop]
  %next = add i64 %k, 1
  call void %parallel(ptr %body, ptr %closure, i64 %chunks)
  %more = icmp slt i64 %next, %times
  br i1 %more, label %loop, label %end
end:
  ret void
}
"""


class Jobs:
    """Runs native bodies on the pool of threads."""

    def __init__(self) -> None:
        self.code = machine.load(BODIES)
        self.parallel = runtime.load().addresses["parallel"]
        self._many = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 5)(self.code.address("many"))

    def run(self, body: str, closure: np.ndarray[Any, Any], chunks: int, times: int) -> None:
        self._many(self.parallel, self.code.address(body), closure.ctypes.data, chunks, times)

    def marks(self, chunks: int, times: int) -> bool:
        """Whether each chunk is done once per job."""
        counts = np.zeros(max(chunks, 1), np.int64)
        self.run("mark", counts, chunks, times)
        return bool((counts[:chunks] == times).all())


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    before = sg.get_num_threads()
    yield Jobs()
    sg.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_chunk_is_done_once(jobs: Jobs, threads: int) -> None:
    sg.set_num_threads(threads)
    for chunks, times in ((0, 3), (1, 100), (2, 20_000), (7, 20_000), (1000, 200)):
        assert jobs.marks(chunks, times)


def test_jobs_inside_jobs_and_from_four_threads_at_once(jobs: Jobs) -> None:
    sg.set_num_threads(3)
    counts = np.zeros(200, np.int64)
    jobs.run("nested", np.array([jobs.parallel, counts.ctypes.data], np.int64), 20, 100)
    assert (counts == 100).all()
    stop = threading.Event()

    def change() -> None:
        while not stop.wait(0.001):
            for n in (1, 2, 4, 3):
                sg.set_num_threads(n)

    changing = threading.Thread(target=change)
    changing.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(lambda k: jobs.marks(5 + k, 3000), range(12)))
    finally:
        stop.set()
        changing.join()


def test_threads_are_counted() -> None:
    before = sg.get_num_threads()
    for wrong in (0, -1, 10**9):
        with pytest.raises(ValueError, match="set_num_threads"):
            sg.set_num_threads(wrong)
    with pytest.raises(TypeError, match="integer"):
        sg.set_num_threads(1.5)  # type: ignore[arg-type]
    assert sg.get_num_threads() == before
    code = """
        import os, sys
        os.environ["NUMBA_NUM_THREADS"] = sys.argv[0] and {wanted!r}
        if {one}:
            os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
        import symgraph as sg
        print(sg.get_num_threads())
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert int(script(code.format(wanted="1", one=False))) == 1
    assert int(script(code.format(wanted="1000", one=False))) == cores
    assert int(script(code.format(wanted="nonsense", one=False))) == cores
    if hasattr(os, "sched_setaffinity"):
        assert int(script(code.format(wanted="", one=True))) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_pools_work_in_forked_processes() -> None:
    output = script(
        """
        import os, sys, signal, threading, warnings
        sys.path.insert(0, "tests")
        import numpy as np, symgraph as sg
        from compiler.runtime import services
        from test_runtime import Jobs
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, of forking with threads

        jobs = Jobs()
        sg.set_num_threads(3)
        f = sg.compile(sg.placeholder("x") + 1)
        large = np.ones(10**6)
        assert jobs.marks(7, 1000) and (f(x=large) == 2).all()
        stop = False

        def busy():  # a job and an allocation are under way nearly always
            while not stop:
                jobs.marks(7, 100), f(x=large)

        thread = threading.Thread(target=busy)
        thread.start()
        for child in range(10):
            process = os.fork()
            if process == 0:
                signal.alarm(60)  # a child that hangs is killed, and fails
                forgotten = services.load().run("pool_held") == 0  # the list may have been half changed
                good = jobs.marks(7, 1000) and (f(x=large) == 2).all()
                os._exit(0 if good and forgotten else 1)
            print(os.waitpid(process, 0)[1])
        stop = True
        thread.join()
        """
    )
    assert output.split() == ["0"] * 10


def test_the_process_ends_while_threads_work() -> None:
    for _ in range(3):
        script(
            """
            import sys, threading
            sys.path.insert(0, "tests")
            import symgraph as sg
            from test_runtime import Jobs
            jobs = Jobs()
            sg.set_num_threads(3)
            jobs.marks(7, 1000)
            threading.Thread(target=lambda: [jobs.marks(7, 1000) for _ in range(10**6)], daemon=True).start()
            """
        )


def test_the_process_ends_while_a_kernel_runs() -> None:
    for _ in range(3):
        script(
            """
            import threading, time
            import numpy as np, symgraph as sg
            x = sg.placeholder("x")
            f, value = sg.compile(np.exp(np.sin(x)).sum()), np.ones(10**7)
            f(x=value)
            threading.Thread(target=lambda: [f(x=value) for _ in range(10**6)], daemon=True).start()
            time.sleep(0.05)
            """
        )


# -- before the runtime is there ---------------------------------------------------------------------------------------


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As in a new process: there is no runtime yet, and it does not come before `load` is called."""
    begun: list[str] = []
    monkeypatch.setattr(runtime, "_loaded", None)
    monkeypatch.setattr(runtime, "_load_later", lambda: begun.append("begun"))
    return begun


def test_first_calls_do_not_wait_for_the_runtime(early: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    f = sg.compile(a * b + np.sin(x), inputs=[a, b, x])
    arguments = {"a": 2.0, "b": 3, "x": np.linspace(0, 9, 100)}
    value, (both, grads) = f(**arguments), f.value_and_grad(**arguments, cotangent=np.ones(100))
    assert not runtime.at_hand()
    assert len(early) == 2
    same(f(*arguments.values()), value)
    monkeypatch.undo()
    assert runtime.load().native
    same(f(**arguments), value)
    same(f.value_and_grad(**arguments, cotangent=np.ones(100))[0], both)
    for name, grad in f.grad(**arguments, cotangent=np.ones(100)).items():
        same(grad, grads[name])
    assert asked(f) == []
    f(**arguments)
    assert plans_of(f)[1][0][layout.PARALLEL] == runtime.load().addresses["parallel"]


def test_kernels_with_memory_of_their_own_do_not_wait_for_the_runtime(early: list[str]) -> None:
    w = sg.placeholder("w", shape=("n", "n"), dtype="float64")
    f = sg.compile(np.sum(np.tanh(w @ w)))
    assert f(w=np.eye(3)) == 3 * np.tanh(1.0)
    assert "@pool_malloc(" in f.variants()[0][1].kernel.llvm_ir
    assert not runtime.at_hand()


@pytest.mark.parametrize(("n", "pooled"), [(7, False), (44, False), (46, True), (300, True)])
def test_small_values_of_fixed_size_need_no_pool(n: int, pooled: bool) -> None:
    w = sg.placeholder("w", shape=(n, n), dtype="float64")
    f = sg.compile(np.sum(np.tanh(w @ w)))
    given = np.random.default_rng(0).normal(size=(n, n)) / n
    assert np.isclose(f(w=given), np.sum(np.tanh(given @ given)), rtol=1e-12, atol=1e-12)
    assert ("@pool_malloc(" in f.variants()[0][1].kernel.llvm_ir) == pooled


def test_first_calls_import_nothing() -> None:
    printed = script(
        """
        import sys
        import numpy as np, symgraph as sg, compiler
        before = set(sys.modules)
        x = sg.placeholder("x")
        f = sg.compile(np.sin(x) * x)
        f.value_and_grad(x=np.ones(3)), f(x=2.0)
        print(*sorted(set(sys.modules) - before))
        """
    )
    assert printed.split() == []


def test_errors_before_the_runtime_is_there(early: list[str]) -> None:
    table, i = sg.placeholder("table", shape=("n",)), sg.placeholder("i", dtype="int64")
    f = sg.compile(table[i] * 2)
    with pytest.raises(sg.OutOfBoundsError):
        f(table=np.ones(3), i=3)
    with pytest.raises(sg.ArgumentError):
        f(table=np.ones(3))
    assert f(table=np.ones(3), i=2) == 2
    assert not runtime.at_hand()


def test_long_work_has_the_runtime_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    early, there = list[str](), runtime.load()
    monkeypatch.setattr(runtime, "_loaded", None)
    monkeypatch.setattr(runtime, "load", lambda: early.append("loaded") or there)
    monkeypatch.setattr(runtime, "_load_later", lambda: early.append("later"))
    f = sg.compile(np.sin(x) + np.cos(x))
    monkeypatch.setattr(variant, "HEAVY", 10**6)
    f(x=np.ones(10))
    f(x=np.ones(1000))
    assert early == ["later", "loaded"]


def test_the_runtime_comes_after_the_first_call() -> None:
    printed = script(
        """
        import time, symgraph as sg
        from compiler import runtime
        a = sg.placeholder("a")
        f = sg.compile(a * a)
        while not runtime.at_hand():
            assert f(a=3.0) == 9
            time.sleep(0.001)
        f(a=3.0)
        print(type(f.__call__).__name__, f(a=3.0))
        """
    )
    assert printed.split() == ["builtin_function_or_method", "9.0"]

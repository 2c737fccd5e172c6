"""Large calls, cut into chunks for threads: the same bits however they are run, in little memory, from many threads and
processes at once."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from formulas import FORMULAS
from support import run_text
from test_promises import script

import symgraph as sg
from compiler.program import Primitive, Product, Region, walk
from symgraph import dims
from symgraph.scalar import BINARY_MATH, UNARY_MATH

EXACT_MATH = {"sqrt", "floor", "ceil", "trunc", "rint", "fabs", "copysign"}
ELEMENTARY = {*UNARY_MATH, *BINARY_MATH} - EXACT_MATH

LARGE = {
    "elements": {"n": 60_001},
    "softmax_of_columns": {"n": 4001, "m": 33},
    "log_sum_exp": {"n": 3001, "m": 40},
    "layer_norm": {"n": 3001, "m": 67},
    "logistic_regression": {"n": 9001, "m": 31},
    "soft_assignment": {"n": 5003},
    "rosenbrock": {"n": 100_003},
    "distances": {"n": 301},
    "variance": {"n": 3001, "m": 67},
    "finished_sums": {"n": 3001, "m": 67},
    "gather": {"n": 5001, "m": 300, "k": 90},
}


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Tests may set how many threads there are."""
    before = sg.get_num_threads()
    yield
    sg.set_num_threads(before)


def large(name: str) -> tuple[Any, dict[str, Any]]:
    """The function of a formula, and data for which it is cut into chunks."""
    formula = FORMULAS[name]
    return sg.compile(formula.build("float64")), formula.data(LARGE[name], "float64")


def bits(results: Any) -> tuple[bytes, ...]:
    return tuple(np.asarray(r).tobytes() for r in results)


def chunks(function: Any, sizes: Mapping[str, int]) -> int:
    """How many chunks the most divided loop has."""
    steps = function.variants()[0][1].program.steps
    return max(dims.evaluate(s.chunks, sizes) for s in steps if isinstance(s, Region))


# -- the same bits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LARGE)
def test_every_number_of_threads_gives_the_same_bits_in_300_calls(name: str) -> None:
    function, data = large(name)
    found = set()
    for count in (1, 2, 3):
        sg.set_num_threads(count)
        found.update(bits(function(**data)) for _ in range(100))
    assert len(found) == 1
    assert chunks(function, LARGE[name]) > 1


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FORMULAS)
def test_the_printed_source_sums_as_the_kernel_does(name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dims.FUNCTIONS, "parts", lambda rows, cost, moved, kept: 3)
    formula = FORMULAS[name]
    function = sg.compile(formula.build(dtype))
    data = formula.data({"n": 41, "m": 19, "k": 5}, dtype)
    got = function(**data)
    steps = function.variants()[0][1].program.steps
    primitives = {p.name for s in steps if isinstance(s, Region) for p in walk(s.items) if isinstance(p, Primitive)}
    exact = primitives.isdisjoint(ELEMENTARY) and not any(isinstance(s, Product) for s in steps)
    for k, (a, b) in enumerate(zip(run_text(function, data), got, strict=True)):
        if exact:
            np.testing.assert_array_equal(a, b, err_msg=f"output {k}", strict=True)
        else:
            tolerance = 1e-11 if dtype == "float64" and name != "mixed" else 1e-4
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=f"output {k}")


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="this system does not tell the peak of memory"
)
@pytest.mark.parametrize("name", ["softmax", "layer_norm", "logistic_regression"])
def test_a_call_holds_little_beyond_its_inputs_and_outputs(name: str) -> None:
    output = script(f"""
        import re, sys
        import numpy as np
        sys.path.insert(0, "tests")
        import symgraph as sg
        from formulas import FORMULAS

        def peak():
            with open("/proc/self/status") as file:
                return int(re.search(r"VmHWM:\\s*(\\d+)", file.read()).group(1)) * 1024

        formula = FORMULAS["{name}"]
        symbols = {{k: sg.placeholder(k, shape=i.axes, dtype="float64") for k, i in formula.inputs.items()}}
        y = formula.outputs(**symbols)
        f = sg.compile(y if "{name}" != "layer_norm" else np.mean(y * y))
        call = f if "{name}" == "softmax" else f.value_and_grad
        call(**formula.data({{"n": 300, "m": 1024}}, "float64"))
        data = formula.data({{"n": 8192, "m": 1024}}, "float64")
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        before = peak()
        result = call(**data)
        grown = peak() - before
        results = [result] if call is f else [result[0], *result[1].values()]
        print(grown, sum(v.nbytes for v in map(np.asarray, data.values())), sum(np.asarray(r).nbytes for r in results))
    """)
    grown, given, made = map(int, output.split())
    assert given >= 1 << 26
    assert grown + given <= 1.2 * (given + made), (grown, given, made)


# -- many at once ------------------------------------------------------------------------------------------------------


def test_large_calls_from_four_threads_while_the_number_of_threads_changes() -> None:
    cases = [(*large(name), name) for name in LARGE]
    sg.set_num_threads(1)
    alone = {name: bits(f(**data)) for f, data, name in cases}
    stop, failures = threading.Event(), []

    def calling(number: int) -> None:
        try:
            for k in range(60):
                f, data, name = cases[(k + 3 * number) % len(cases)]
                if bits(f(**data)) != alone[name]:
                    failures.append(name)
        except BaseException as error:
            failures.append(error)

    def changing() -> None:
        k = 0
        while not stop.wait(0.001):
            k += 1
            sg.set_num_threads(1 + k % 4)

    callers = [threading.Thread(target=calling, args=(k,)) for k in range(4)]
    changer = threading.Thread(target=changing)
    for t in (*callers, changer):
        t.start()
    for t in callers:
        t.join()
    stop.set()
    changer.join()
    assert failures == []


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="this system cannot fork safely")
def test_children_forked_amid_large_calls_of_four_threads() -> None:
    output = script("""
        import os, signal, sys, threading, warnings
        import numpy as np
        sys.path.insert(0, "tests")
        import symgraph as sg
        from formulas import FORMULAS
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, of forking with threads

        sizes = {"n": 6001, "m": 31}
        cases = []
        for name in ("layer_norm", "logistic_regression", "variance"):
            formula = FORMULAS[name]
            cases.append((sg.compile(formula.build("float64")), formula.data(sizes, "float64")))

        def bits(case):
            return [np.asarray(r).tobytes() for r in case[0](**case[1])]

        sg.set_num_threads(1)
        alone = [bits(case) for case in cases]
        sg.set_num_threads(3)
        stop, wrong = threading.Event(), []

        def calling(number):
            k = number
            while not stop.is_set():
                k += 1
                if bits(cases[k % 3]) != alone[k % 3]:
                    wrong.append(k)

        callers = [threading.Thread(target=calling, args=(k,)) for k in range(4)]
        for t in callers:
            t.start()
        for child in range(8):
            process = os.fork()
            if process == 0:
                status = 1
                try:
                    signal.alarm(60)  # a child that hangs is killed, and fails
                    for _ in range(5):
                        assert [bits(case) for case in cases] == alone
                    sg.set_num_threads(2)
                    assert [bits(case) for case in cases] == alone
                    status = 0
                finally:
                    os._exit(status)
            print(os.waitpid(process, 0)[1])
        stop.set()
        for t in callers:
            t.join()
        assert not wrong
        assert [bits(case) for case in cases] == alone
    """)
    assert output.split() == ["0"] * 8

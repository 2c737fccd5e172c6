"""What `explain` tells: schedules as golden texts, and what they cost."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from schedules import EXAMPLES, FOLDER, text_of

import symgraph as sg
from compiler import kernel
from compiler.account import account
from symgraph import dims

ROOT = Path(__file__).resolve().parent.parent


def placeholder(name: str, *shape: Any, dtype: str = "float64") -> Any:
    return sg.placeholder(name, shape=shape, dtype=dtype)


def spent(function: Any) -> Any:
    return account(function.variants()[0][1].program)


# -- texts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_schedules_are_those_on_file(name: str) -> None:
    if name == "two_layer_network" and not kernel.blas():
        pytest.skip("the text tells of BLAS")
    golden = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    assert text_of(name) == golden, "if the change is wanted: python -m tests.schedules"


def test_every_text_on_file_belongs_to_an_example() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(EXAMPLES)


def test_the_text_is_the_same_in_every_process() -> None:
    code = "from tests.schedules import text_of; print(text_of('layer_norm'))"
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
        ).stdout
        for seed in ("0", "77")
    }
    assert len(texts) == 1


def test_nodes_stand_with_the_users_line() -> None:
    here = placeholder("here", "n")  # equal nodes are one, so no other test may have written this
    text = sg.compile(np.exp(here) * 2).explain("schedule")
    assert re.search(r"exp\(here\)   \[registers\]   test_explain\.py:\d+$", text, re.MULTILINE)


def test_formulas_alone_before_the_first_call_and_numbers_after_it() -> None:
    x = placeholder("x", "n", "m")
    function = sg.compile(np.sum(np.exp(x), axis=1))
    before = function.explain("schedule")
    assert "sizes:" not in before and "intensity" not in before and "8*m*n + 8*n bytes" in before
    assert "take more than 20 µs" in before
    function(x=np.ones((3, 4)))
    assert "8*m*n + 8*n bytes = 120 B" in function.explain("schedule")
    function(x=np.ones((5, 4)))
    assert "sizes: m = 4, n = 5" in function.explain("schedule")


def test_sizes_that_no_call_can_change_are_numbers_at_once() -> None:
    text = sg.compile(placeholder("x", 1000) * 2).explain("schedule")
    assert "region of 1,000 rows" in text and "peak memory: outputs 8 kB" in text


def test_threads_share_rows_from_where_the_text_says() -> None:
    x = placeholder("x", "n")
    function = sg.compile(np.exp(x))
    function(x=np.ones(3))
    found = re.search(r"from ([\d,]+) rows on", function.explain("schedule"))
    assert found is not None
    least = int(found[1].replace(",", ""))
    chunks = [function(x=np.ones(rows)) is not None and function.explain("schedule") for rows in (least - 1, least)]
    assert "chunks1 = ceildiv(n, chunk1) = 1;" in chunks[0]
    assert re.search(r"chunks1 = ceildiv\(n, chunk1\) = (\d+);", chunks[1])[1] != "1"  # type: ignore[index]


def test_rows_that_must_run_in_order_are_one_chunk() -> None:
    x, i = placeholder("x", "n"), placeholder("i", "k", dtype="int64")
    function = sg.compile(np.sum(x[i] * x[i]), wrt=[x])
    function.value_and_grad(x=np.ones(3), i=np.array([0, 0, 2]))
    assert "chunks: one" in function.explain("schedule")


def test_passes_tell_rules_conditions_and_lines() -> None:
    x = placeholder("x", "n", "m")
    y = sg.softmax(x * 1, axis=1) / 4.0
    text = sg.compile(y).explain("passes")
    assert "  typed: " in text and "  lay out: " in text
    assert "    x * 1 -> x\n      x * 1  ->  x   test_explain.py:" in text
    assert "    x / c -> x * (1 / c)   where c a power of two: exact\n" in text
    assert "  schedule: 1 step, 1 region of rows, 0 matrix products, 0 temporary arrays" in text
    assert "    moves 16*m*n bytes, inputs and outputs are 16*m*n; " in text


def test_many_rewrites_of_one_rule_are_counted() -> None:
    x = placeholder("x")
    y = x
    for _ in range(9):
        y = np.sin(y * 1)
    text = sg.compile(y).explain("passes")
    assert "    x * 1 -> x   9 times\n" in text
    assert text.count("  ->  ") == 5 and "      ... and 4 more\n" in text


def test_gradients_and_fused_nodes_tell_their_lines() -> None:
    x = placeholder("x", "n")
    product = np.sin(x) * x
    y = np.sum(product + 2)
    function = sg.compile(y)
    function.value_and_grad(x=np.ones(3))
    text = function.explain("passes")
    assert re.search(r"a \* b \+ c -> fma\(a, b, c\)", text)
    assert re.search(r"   test_explain\.py:\d+, fused with :\d+$", text, re.MULTILINE)
    assert re.search(r"   gradient of test_explain\.py:\d+", function.explain("schedule"))


def test_all_topics_together() -> None:
    function = sg.compile(np.exp(placeholder("x", "n")))
    text = function.explain()
    topics = ("stations", "passes", "schedule", "cost", "cache")
    head = text.split("\n")[0]
    assert text == "\n".join([head, *(function.explain(t).removeprefix(head + "\n") for t in topics)])
    assert re.search(r"^    simplify: \d+ nodes?$", text, re.MULTILINE) and "    machine code: " in text


def test_costs_are_in_numbers_after_a_call_and_measured_after_a_profile() -> None:
    x = placeholder("x", "n")
    function = sg.compile(np.sum(np.exp(x)))
    assert "8*n + 8 bytes" in function.explain("cost") and "in numbers after a call" in function.explain("cost")
    function(x=np.ones(1000))
    text = function.explain("cost")
    assert "  cost for n = 1000\n    step 1, region of n rows: test_explain.py:" in text
    assert "21,000 flops" in text and "flops a byte, estimated" in text and "measured after profile" in text
    found = function.profile(x=np.ones(1000), repeat=3)
    assert len(found.seconds) == len(function.variants()[0][1].program.steps) and found.total > 0
    assert found.moved[0] == 8008 and found.flops[0] == 21_000
    assert "value, 3 calls: " in str(found) and "step 1, region of n rows" in str(found)
    assert ", measured " in function.explain("cost")
    function(x=np.ones(10))
    assert ", measured " not in function.explain("cost")  # those were other sizes


@pytest.mark.parametrize("what", ["value", "grad", "value_and_grad"])
def test_profiles_of_all_kinds_of_steps(what: str) -> None:
    x, w = placeholder("x", "n", 40), placeholder("w", 40, 30)
    function = sg.compile(np.sum(np.tanh(x @ w)), inputs=[x, w])
    values = np.ones((500, 40)), np.ones((40, 30))
    before = function.value_and_grad(*values)
    found = function.profile(*values, what=what, repeat=2)
    assert len(found.titles) == len(found.seconds) > 1
    assert any(title.startswith("matrix product") for title in found.titles)
    after = function.value_and_grad(*values)
    assert before[0] == after[0]


def test_the_cache_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYMGRAPH_CACHE_DIR", str(tmp_path / "kernels"))
    function, again = (sg.compile(placeholder("x", "n") * 17.25) for _ in range(2))
    assert "cache: compiled by this process, and kept in" in function.explain("cache")
    assert "cache: found in" in again.explain("cache")
    monkeypatch.setenv("SYMGRAPH_CACHE_SIZE", "0")
    assert "nothing is kept" in sg.compile(placeholder("x", "n") * 17.5).explain("cache")


def test_printing_a_function_compiles_nothing() -> None:
    x = placeholder("x", "n")
    function = sg.compile([x * 2, np.sum(x)])
    text = str(function)
    assert text.startswith("compiled function (x: float64(n,))\n  x * 2   test_explain.py:")
    assert text.endswith("0 kernels: the first call compiles one")
    function(x=np.ones(3))
    assert "1 kernel\n  value for (x: float64(n,)): 1 step, moves " in str(function)
    assert "\n" not in repr(function)


@pytest.mark.parametrize("topic", ["loops", "", "变量"])
def test_other_topics_are_refused(topic: Any) -> None:
    with pytest.raises(ValueError, match="the topics are stations, passes, schedule, cost, cache"):
        sg.compile(sg.placeholder("x") + 1).explain(topic)


def test_every_kind_of_step_is_told() -> None:
    x, i = placeholder("x", "n", 3), placeholder("i", "k", dtype="int64")
    formulas = [np.argmax(x, axis=1), x[i], np.concatenate([x, x * 2]), x.T @ x, np.sum(x), x[::-1], x + 1, x]
    function = sg.compile(formulas)
    symbolic = function.explain("schedule")
    function(x=np.ones((4, 3)), i=np.array([0, 1]))
    numbers = function.explain("schedule")
    assert symbolic.count("  step ") == numbers.count("  step ")
    assert "matrix product of 3, n, 3" in numbers


# -- costs -------------------------------------------------------------------------------------------------------------


def moved(function: Any) -> str:
    return str(spent(function).moved)


def test_bytes_are_those_that_regions_touch() -> None:
    x, y = placeholder("x", "n", "m"), placeholder("y", "n", dtype="float32")
    assert moved(sg.compile(sg.softmax(x, axis=1))) == "16*m*n"
    assert moved(sg.compile(y * 2)) == "8*n"
    assert moved(sg.compile(y[:1])) == "8*min(n, 1)"
    fixed = placeholder("z", 1000)
    assert moved(sg.compile(fixed[:10] * fixed[5:15])) == str(8 * 30)
    assert moved(sg.compile(x @ x.T)) == "8*m*n + 8*n*n"
    assert moved(sg.compile(np.sum(x, axis=0))) == "8*m*n + 8*m"
    assert moved(sg.compile(x / np.sum(x))) == "24*m*n"  # two regions, and each reads x
    assert moved(sg.compile(x[1:] * x[:-1])) == "8*m*max(n - 1, 0) + 8*min(m*n, 2*m*max(n - 1, 0))"


def test_operations_are_counted_by_their_weights() -> None:
    x, w = placeholder("x", "n"), placeholder("w", "n", "m")
    assert str(spent(sg.compile(x * 2)).flops) == "n"
    assert str(spent(sg.compile(x * 2 + 1)).flops) == "2*n"  # one instruction
    assert str(spent(sg.compile(np.exp(x))).flops) == "20*n"
    assert str(spent(sg.compile(np.sum(x))).flops) == "n"
    assert str(spent(sg.compile(w @ w.T)).flops) == "2*m*n*n"
    assert str(spent(sg.compile(w * np.exp(x)[:, None])).flops) == "m*n + 20*n"  # exp once a row


LARGE = {
    "softmax": {"n": 4096, "m": 512},
    "layer_norm": {"n": 4096, "m": 512},
    "logistic_regression": {"n": 100_000, "m": 100},
}


@pytest.mark.parametrize("threads", [1, 2, 64])
@pytest.mark.parametrize("name", LARGE)
def test_peak_memory_is_that_of_inputs_and_outputs_and_little_more(name: str, threads: int) -> None:
    function, what, arguments = EXAMPLES[name]()
    (function if what == "value" else function.value_and_grad)(**arguments)
    ((_, variant),) = function.variants()
    found, sizes = account(variant.program, variant.copied), LARGE[name]
    ends = dims.evaluate(found.ends, sizes)
    inputs = ends - dims.evaluate(found.outputs, sizes)
    assert inputs + found.peak(sizes, threads) <= 1.2 * ends


def test_temporaries_are_held_from_their_first_use_to_their_last() -> None:
    x = placeholder("x", "n", "n")
    y = x
    for _ in range(6):
        y = np.tanh(y @ x)
    function = sg.compile(y)
    function(x=np.ones((64, 64)))
    found = spent(function)
    assert found.peak({"n": 64}, 1) <= 3 * 8 * 64 * 64 + 65536

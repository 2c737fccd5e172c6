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
    x = placeholder("x", "n")
    text = sg.compile(np.exp(x) * 2).explain("schedule")
    assert re.search(r"exp\(x\)   \[registers\]   test_explain\.py:\d+$", text, re.MULTILINE)


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


def test_passes_are_the_default_and_tell_of_the_schedule() -> None:
    function = sg.compile(sg.softmax(placeholder("x", "n", "m"), axis=1))
    text = function.explain()
    assert text == function.explain("passes")
    assert "  typed: " in text and "  lay out: " in text
    assert "  schedule: 1 step, 1 region of rows, 0 matrix products, 0 temporary arrays" in text
    assert "    moves 16*m*n bytes, inputs and outputs are 16*m*n; " in text


@pytest.mark.parametrize("topic", ["loops", "", "变量", None])
def test_other_topics_are_refused(topic: Any) -> None:
    with pytest.raises(ValueError, match="the topics are passes, schedule"):
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

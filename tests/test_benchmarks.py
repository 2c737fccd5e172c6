"""The benchmark: what it compares is equal, and what it writes is whole. Times are not judged."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import compile_times, faults as line_errors, limits, processes, report
from benchmarks.__main__ import main, problems
from benchmarks.by_numba import FUNCTIONS
from benchmarks.competitors import COMPETITORS, Text, find, text_functions
from benchmarks.compile_times import COMPILERS, WELL
from benchmarks.elementwise import erf
from benchmarks.limits import COSTS, Speeds, limit
from benchmarks.measure import best_times, difference
from benchmarks.memory import TASKS, held
from benchmarks.setting import chosen, install_hint
from benchmarks.workloads import WORKLOADS, Workload, chain_of, names_of

ROWS = r"^Goldstein|^exp·sin\+tanh, v.* 1,000$|softmax"
OWN = ["symgraph compiled", "symgraph eager", "NumPy"]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmarks")
    command = ["--quick", "--peers", "none", "--rows", ROWS, "--out", str(folder), "--json", str(folder / "copy.json")]
    assert main(command) == 0
    return folder


def test_the_numbers_are_whole(out: Path) -> None:
    data = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert json.loads((out / "copy.json").read_text(encoding="utf-8")) == data
    double, single = data["tables"]
    assert [row["title"].split(",")[0] for row in double["rows"]] == [
        "Goldstein-Price of two floats", "exp·sin+tanh", "softmax",
    ]  # fmt: skip
    assert [row["title"] for row in single["rows"]] == [row["title"] for row in double["rows"][1:]]
    assert data["columns"] == OWN
    assert data["versions"]["numpy"] == np.__version__
    for table, tolerance in ((double, 1e-12), (single, 1e-5)):
        for row in table["rows"]:
            for name in OWN:
                result = row["results"][name]
                assert 0 < result["seconds"] < math.inf
                assert result["difference"] <= tolerance
                assert not result["failure"]
            assert row["results"]["symgraph compiled"]["compile_seconds"] > 0
            assert row["results"]["NumPy"]["break_even"] is None
            assert (row["limit"] is None) == ("floats" in row["title"])
    softmax = next(row for row in single["rows"] if row["title"].startswith("softmax"))
    assert (softmax["read"], softmax["written"], softmax["flops"]) == (9 * 17 * 4, 9 * 17 * 4, 9 * 17 * 16)


def test_the_report_has_every_row(out: Path) -> None:
    text = (out / "results.md").read_text(encoding="utf-8")
    data = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert "these times mean nothing" in text
    rows = [row for table in data["tables"] for row in table["rows"]]
    for row in rows:
        assert text.count(f"| {row['title']} ") == (4 if "floats" in row["title"] else 8)
    picture = ElementTree.parse(out / "results.svg").getroot()
    assert len(picture.findall("{http://www.w3.org/2000/svg}rect")) == 1 + 3 * len(rows)


def test_the_readme_has_the_main_rows(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["readme", "--json", str(out / "copy.json")]) == 0
    text = capsys.readouterr().out
    assert [text.count(f"| {name}") for name in ("Goldstein-Price", "exp·sin+tanh", "softmax")] == [1] * 3
    assert "python -m benchmarks --quick" in text
    assert "numba" in text
    with pytest.raises(SystemExit, match="there is no"):
        main(["readme", "--json", str(out / "none.json")])


@pytest.mark.parametrize("workload", [w for w in WORKLOADS if w.wrt], ids=lambda w: w.title)
def test_references_by_hand(workload: Workload) -> None:
    arguments = workload.inputs(True, "float64")
    value, *gradients = workload.reference(arguments)
    names = names_of(np, erf=erf)
    np.testing.assert_allclose(value, workload.formula(names, *arguments.values()), rtol=1e-12)
    rng, h = np.random.default_rng(1), 1e-6
    for name, gradient in zip(workload.wrt, gradients, strict=True):
        direction = rng.normal(size=np.shape(arguments[name]))
        ahead, behind = (
            np.sum(workload.formula(names, *{**arguments, name: arguments[name] + s * h * direction}.values()))
            for s in (1, -1)
        )
        expected = (ahead - behind) / (2 * h)
        assert np.sum(gradient * direction) == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("workload", [w for w in WORKLOADS if w.flops], ids=lambda w: w.title)
def test_operations_are_formulas_of_sizes(workload: Workload) -> None:
    assert workload.flops is not None
    for costs in COSTS.values():
        small, large = (workload.flops(costs, *size) for size in (workload.quick_size, workload.size))
        assert 0 < small < large < 1e10


def test_the_limit_is_the_larger_of_two_times() -> None:
    speeds = Speeds([100, 10_000], [10.0, 10.0], [5.0, 5.0], {"float64": 8.0})
    assert limit(speeds, 400.0, "float64", 950, 50) == (100.0, "memory")
    assert limit(speeds, 400.0, "float64", 700, 300) == (200.0, "memory")
    assert limit(speeds, 8000.0, "float64", 700, 300) == (1000.0, "flops")


def test_speeds_are_measured() -> None:
    told: list[str] = []
    speeds = limits.measure(told.append, quick=True)
    assert told == ["bandwidth", "arithmetic"]
    found = [*speeds.reading, *speeds.triad, *speeds.peak.values()]
    assert len(found) == 2 * len(speeds.sizes) + len(COSTS)
    assert 0 < min(found) < max(found) < 1e15


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("task", ["softmax", "exp·sin+tanh, value and gradient"])
def test_programs_by_hand(task: str, dtype: str) -> None:
    workload = next(w for w in WORKLOADS if w.task == task)
    arguments = workload.inputs(True, dtype)
    found = find("Numba by hand").prepare(workload, arguments)()
    assert difference(found, workload.reference(arguments)) < {"float64": 1e-14, "float32": 1e-5}[dtype]
    assert {np.asarray(x).dtype for x in found} == {np.dtype(dtype)}


def test_titles_and_names_are_unique() -> None:
    assert len({w.title for w in WORKLOADS}) == len(WORKLOADS)
    assert len({c.name for c in COMPETITORS}) == len(COMPETITORS)
    for competitor in COMPETITORS:
        if competitor.eager:
            assert find(competitor.eager).name == competitor.eager
    assert {find(name).name for name in COMPILERS} == set(COMPILERS)
    assert {*TASKS, *FUNCTIONS} <= {w.task for w in WORKLOADS}


@pytest.mark.parametrize("title", ["a·b+1 of two floats", "exp·sin+tanh, 1,000"])
def test_formulas_as_text(title: str) -> None:
    workload = next(w for w in WORKLOADS if w.title == title)
    arguments = workload.inputs(True, "float64")
    text = workload.formula(text_functions(), *map(Text, arguments)).text
    found = eval(text, {"exp": np.exp, "sin": np.sin, "tanh": np.tanh, **arguments})
    np.testing.assert_array_equal(found, workload.formula(np, *arguments.values()))


def test_text_keeps_the_order_of_operands() -> None:
    a = Text("a")
    for formula in (lambda x: 7.0 - x, lambda x: x - 7.0, lambda x: 7.0 / x, lambda x: x**2, lambda x: -x * 2):
        assert eval(formula(a).text, {"a": 3.0}) == formula(3.0)


def test_difference() -> None:
    reference = [np.array([1.0, -4.0]), np.array(0.0)]
    assert difference([[1.0, -4.0], 0.0], reference) == 0
    assert difference([[2.0, -4.0], 0.0], reference) == 0.25
    assert difference([[1.0, -4.0], 0.5], reference) == 0.5
    assert difference([[math.nan, -4.0], 0.0], reference) == math.inf
    assert difference([[1.0, -4.0]], reference) == math.inf
    assert difference([[1.0], 0.0], reference) == math.inf


def test_competitors_take_turns() -> None:
    order: list[str] = []
    best = best_times(
        order.append, {"one": lambda: time.sleep(0.02), "two": lambda: time.sleep(0.02)}, 0.0, 3, 0.0
    )  # fmt: skip
    assert order == ["one", "two"] * 3
    assert set(best) == {"one", "two"}


def result(seconds: float | None = None, compile_seconds: float | None = None, **more: Any) -> dict[str, Any]:
    return {
        "seconds": seconds, "compile_seconds": compile_seconds, "break_even": None, "difference": None, "note": "",
        "failure": "", **more,
    }  # fmt: skip


def test_break_even() -> None:
    results = {"eager": result(3e-3), "fast": result(1e-3, 1.0), "slow": result(5e-3, 1.0), "plain": result(1e-3)}
    assert report.break_even(results, "eager", "fast") == 500
    assert report.break_even(results, "eager", "slow") == math.inf
    assert report.break_even(results, "eager", "plain") is None
    assert report.break_even(results, "", "fast") is None


def made(**results: dict[str, Any]) -> dict[str, Any]:
    return {
        "columns": list(results), "quick": False,
        "tables": [{"dtype": "float64", "rows": [
            {"title": "row", "main": True, "limit": 5e-7, "bound": "memory", "results": results}
        ]}],
        "speeds": {"sizes": [2**20], "reading": [1e10], "triad": [1e10], "peak": {"float64": 1e11}},
        "command": "python -m benchmarks", "machine": "a machine", "versions": {"numpy": "2"}, "load": (0.0, 0.0),
    }  # fmt: skip


def test_wrong_results_and_failures_of_ours_are_problems() -> None:
    good = result(1e-3, difference=1e-15)
    assert problems(made(peer=good)) == []
    assert problems(made(peer=result(1e-3, difference=1e-3))) == [
        "row, float64: peer differs from the reference by 1.0e-03"
    ]
    assert problems(made(peer=result(1e-3, difference=math.nan))) == [
        "row, float64: peer differs from the reference by nan"
    ]
    assert problems(made(peer=result(failure="it broke"))) == []
    assert problems(made(NumPy=result(failure="it broke"))) == ["row, float64: NumPy: it broke"]


def test_the_best_peer_and_failures_are_told() -> None:
    data = made(**{
        "symgraph compiled": result(2e-6), "NumPy": result(1e-6), "JAX": result(8e-6), "torch": result(4e-6),
        "heyoka": result(failure="it broke"),
    })  # fmt: skip
    text = report.markdown(data)
    assert "2.00 (torch)" in text
    assert "**1.00**" in text
    assert "Geometric means over the 1 rows: the best peer / symgraph 2.00, JAX / symgraph 4.00." in text
    assert "| 2.00 (torch) | 0.500 (memory) |" in " ".join(text.split())
    assert (
        " ".join(report.compact(data).splitlines()[2].split()) == "| row | 2.00 | 0.500 | 8.00 | 4.00 (torch) | 2.00 |"
    )
    assert "- row: heyoka: it broke" in text


def hang(say: processes.Say) -> None:
    say("quick one")
    say("slow one")
    time.sleep(60)


def crash(say: processes.Say) -> None:
    say("crasher")
    os._exit(3)


def answer(say: processes.Say, number: int) -> dict[str, Any]:
    return {"number": number, "core type": os.environ.get("OPENBLAS_CORETYPE")}


def test_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    told: list[str] = []
    with processes.fresh_settings():
        assert processes.ask(answer, (7,), 60.0, told.append).result == {"number": 7, "core type": None}
    assert processes.ask(crash, (), 60.0, told.append)[1:] == ("crasher", "the process died")
    late = processes.ask(hang, (), 8.0, told.append)
    assert late[1:] == ("slow one", "more than 8 s")
    assert told == ["crasher", "quick one", "slow one"]
    assert os.environ["OPENBLAS_CORETYPE"] == "Prescott"


def test_compile_times(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_times, "TRIES", 1)
    command = ["compile", "--peers", "none", "--sizes", "2,9", "--elements", "0,3", "--out", str(tmp_path)]
    assert main(command) == 0
    data = json.loads((tmp_path / "compile.json").read_text(encoding="utf-8"))
    assert [table["elements"] for table in data["tables"]] == [0, 3]
    for table in data["tables"]:
        assert list(table["competitors"]) == ["symgraph compiled", WELL]
        for cell in [c for cells in table["competitors"].values() for c in cells.values()]:
            assert cell["seconds"] > 0
            assert cell["peak"] > 0
            assert cell["difference"] <= 1e-12
    text = capsys.readouterr().out
    assert text.count("| symgraph compiled ") == 2
    assert "operations on arrays of 3" in text
    assert (tmp_path / "compile.md").exists()


def test_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["memory", "--peers", "none", "--quick", "--rows", "softmax", "--out", str(tmp_path)]
    assert main(command) == 0
    (row,) = json.loads((tmp_path / "memory.json").read_text(encoding="utf-8"))["rows"]
    assert row["ends"] == 9 * 17 * 8 * 2
    assert {name for name, cell in row["results"].items() if cell["peak"] is not None} == set(OWN)
    assert "inputs and outputs" in capsys.readouterr().out


def test_memory_held_is_at_least_the_results() -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the system does not tell")
    softmax = next(w for w in WORKLOADS if w.task == "softmax")
    found = held(lambda name: None, softmax.title, "NumPy", False, "float64")
    assert found.ends == 2 * 4096 * 512 * 8
    assert found.peak is not None
    assert found.ends < found.peak < 4 * found.ends


def test_who_exceeds_the_limit_is_not_asked_again(tmp_path: Path) -> None:
    command = ["compile", "--peers", "none", "--sizes", "2,9", "--elements", "0", "--limit", "0.01"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    data = json.loads((tmp_path / "compile.json").read_text(encoding="utf-8"))
    cells = data["tables"][0]["competitors"]["symgraph compiled"]
    assert (cells["2"]["note"], cells["9"]["note"]) == ("more than 0.01 s", "–")


def test_chains_of_numbers_and_of_arrays() -> None:
    numbers, arrays = chain_of(6), chain_of(6, 5)
    a, b = numbers.inputs(False, "float64").values()
    assert numbers.formula(np, a, b) == np.sin((np.sin(a * b) + a) * b) + a
    assert {v.shape for v in arrays.inputs(False, "float64").values()} == {(5,)}
    assert {v.dtype for v in arrays.inputs(False, "float32").values()} == {np.dtype("float32")}


def test_unknown_names_are_refused() -> None:
    with pytest.raises(SystemExit, match="no row matches 'nonsense'; there are:\n  a·b"):
        main(["--rows", "nonsense", "--peers", "none"])
    with pytest.raises(SystemExit, match="there is no peer 'nonsense'; there are numba, jax, pytensor"):
        chosen("nonsense")


def test_missing_peers_are_named_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    present, missing = chosen(None)
    assert [c.name for c in present] == OWN
    install_hint(missing)
    expected = "not installed: pip install numba jax pytensor torch heyoka casadi autograd numexpr\n"
    assert capsys.readouterr().err == expected


# -- whether errors name the line --------------------------------------------------------------------------------------


def test_what_came_of_programs_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["lengths that differ", "the logarithm of zero", "bits of floats"]
    announced: list[str] = []
    found = line_errors.outcomes(announced.append, "symgraph, declared", names)
    assert [(name, outcome) for name, outcome, _ in found] == [(name, "line") for name in names]
    assert [text.split("\n")[0] for text in announced] == names
    assert json.loads(announced[-1].split("\n")[1]) == [list(one) for one in found[:2]]

    def elsewhere(fault: Any, program: Any) -> None:
        raise ValueError(fault.name)

    def lacks(fault: Any, program: Any) -> None:
        program(line_errors.Names(object(), {}), **fault.arguments)

    for function, outcomes in (
        (elsewhere, ["error"] * 3),
        (lacks, ["-", "-", "line"]),  # the last program calls no function
        (lambda fault, program: None, ["silent", "silent", "-"]),
    ):
        monkeypatch.setitem(line_errors.LIBRARIES, "symgraph, declared", function)
        found = line_errors.outcomes(announced.append, "symgraph, declared", names)
        assert [outcome for _, outcome, _ in found] == outcomes


def test_the_table_counts_what_is_possible() -> None:
    results = dict.fromkeys(line_errors.BY_NAME, ("line", ""))
    results |= {"lengths that differ": ("-", ""), "a quotient": ("silent", ""), "a power": ("error", "")}
    shapes = len(line_errors.GROUPS["shapes"])
    lines = line_errors.table({"one": results}).split("\n")
    assert lines[0] == "| errors that name the line | one |"
    assert lines[2] == f"| shapes | {shapes - 3} of {shapes - 1} |"
    assert lines[-1] == "| no error at all | 1 |"

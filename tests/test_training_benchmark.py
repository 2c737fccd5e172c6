"""The benchmark of training: libraries take the same steps, and what is written is whole. Times are not judged."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from benchmarks import training
from benchmarks.__main__ import main
from benchmarks.processes import ask
from benchmarks.trained import CONVOLUTIONAL, LINE, NETWORKS, PERCEPTRON, ROSENBROCK, Task
from benchmarks.trainers import KEYS, TRAINERS, Compiled, DefineByRun

TITLES = [row.title for row in training.ROWS]


def silent(text: str) -> None:
    pass


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    assert main(["training", "--quick", "--peers", "none", "--rows", "filters|Rosenbrock", "--out", str(folder)]) == 0
    return folder


def test_the_numbers_are_whole(out: Path) -> None:
    data = json.loads((out / "training.json").read_text(encoding="utf-8"))
    step, inside = data["rows"]
    assert list(step["results"]) == ["symgraph", "symgraph eager"]
    assert list(inside["results"]) == ["symgraph, one call", "symgraph"]
    for row in data["rows"]:
        assert not row["failures"]
        for result in row["results"].values():
            assert result["seconds"] > 0
            assert result["difference"] < 1e-5
            assert np.isfinite(result["losses"]).all()
    assert [len(found["losses"]) for found in step["results"].values()] == [training.CHECKED] * 2
    assert step["results"]["symgraph"]["compile"] > 0
    assert "compile" not in step["results"]["symgraph eager"]
    assert {name: found["epochs"] for name, found in data["accuracy"].items()} == dict.fromkeys(training.OWN, 1)
    (memory,) = data["memory"].values()
    assert all(found["bytes"] >= 0 for found in memory.values())
    assert "scikit-learn" in data["versions"]


def test_the_report_has_every_table(out: Path) -> None:
    text = (out / "training.md").read_text(encoding="utf-8")
    assert "these times mean nothing" in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert sum(line.startswith(f"| {CONVOLUTIONAL.title}: a step ") for line in lines) == 2  # times, compile times
    assert sum(line.startswith(f"| {ROSENBROCK.title}: 100 steps ") for line in lines) == 2
    assert sum(line.startswith("| epochs ") for line in lines) == 1
    assert sum(line.startswith(f"| {CONVOLUTIONAL.title} ") for line in lines) == 1  # memory
    assert "`python -m benchmarks training --quick --peers none" in text


@pytest.mark.parametrize("title", TITLES[:4])  # each network, and many steps of one call
def test_peers_take_the_same_steps(title: str) -> None:
    row = next(row for row in training.ROWS if row.title == title)
    there = {name for name, module in (("JAX", "jax"), ("torch", "torch")) if importlib.util.find_spec(module)}
    names = [way.title for way in row.ways if way.name in ({"symgraph"} | there)]
    if len(names) < 3:
        pytest.skip("neither JAX nor torch is installed")
    answer = ask(training.timed, (title, names, True, 0.0), 120.0, silent)
    assert answer.result is not None, answer
    assert list(answer.result) == names
    assert not training.wrong({"title": title, "failures": {}, "results": answer.result})


@pytest.mark.parametrize("task", [*NETWORKS, ROSENBROCK, LINE], ids=lambda task: task.title)
@pytest.mark.parametrize("trainer", [Compiled, DefineByRun])
def test_training_begins_anew(trainer: Any, task: Task) -> None:
    batches = task.batches(True)
    made = trainer(task, task.start(True), batches[0])
    first, again = [], []
    for losses in (first, again):
        losses += [made.step(made.bring(batches[k % len(batches)])) for k in range(4)]
        made.restart()
    assert first == again
    assert first[0] != first[1]


def test_steps_of_one_call_are_those_of_many() -> None:
    batch = PERCEPTRON.batches(True)[0]
    one, many = (Compiled(PERCEPTRON, PERCEPTRON.start(True), batch) for _ in range(2))
    losses = [one.step(batch) for _ in range(10)]
    assert many.inside(batch, 10) == pytest.approx(losses[-1], rel=1e-5)


def test_a_training_that_does_not_arrive_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert training.to_accuracy(silent, "symgraph", True)["epochs"] == 1
    monkeypatch.setattr(training, "test_images", lambda quick: (CONVOLUTIONAL.batches(True)[0]["x"], np.full(8, -1)))
    monkeypatch.setattr(training, "EPOCHS", 1)
    monkeypatch.setattr(training, "images", lambda quick, epoch: CONVOLUTIONAL.batches(True))
    monkeypatch.setitem(TRAINERS, "symgraph", lambda task, first, batch: Compiled(task, task.start(True), batch))
    assert training.to_accuracy(silent, "symgraph", False) == {"failure": "0.0% after 1 epochs"}


def test_losses_that_differ_and_failures_of_ours_are_wrong() -> None:
    def row(difference: float, **failures: str) -> dict[str, Any]:
        return {"title": TITLES[0], "results": {"JAX": {"difference": difference}}, "failures": failures}

    assert not training.wrong(row(1e-5))
    assert training.wrong(row(1e-2))
    assert training.wrong(row(float("nan")))
    assert not training.wrong(row(0.0, torch="the process died"))
    assert training.wrong(row(0.0, symgraph="the process died"))
    assert training.wrong(row(0.0, **{"symgraph, one call": "more than 60 s"}))


def test_the_fastest_stands_out_and_what_did_not_work_is_told() -> None:
    data = {
        "quick": False, "accuracy": {}, "memory": {}, "command": "python -m benchmarks training",
        "machine": "a machine", "versions": {"numpy": "2"}, "load": (0.0, 0.0),
        "rows": [{
            "title": TITLES[0], "steps": 1, "failures": {"torch": "the process died"},
            "results": {"symgraph": {"seconds": 2e-5, "compile": 0.5}, "JAX": {"seconds": 1e-5, "compile": 1.0}},
        }],
    }  # fmt: skip
    text = training.markdown(data)
    line = next(line for line in text.splitlines() if line.startswith(f"| {TITLES[0]}"))
    assert [cell.strip() for cell in line.split("|")[2:-1]] == ["20.0", "", "**10.0**", "", "", "", "0.500 (JAX)"]
    assert f"- {TITLES[0]}: torch: the process died" in text


def test_every_peer_has_a_column() -> None:
    assert {name for names in KEYS.values() for name in names} | set(training.OWN) == set(TRAINERS)
    assert all(set(task.peers) <= set(TRAINERS) for task in NETWORKS)

"""The command line and the main job: both modes learn the digits from one function."""

from __future__ import annotations

import io
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import symgraph as sg
from symgraph import demo
from symgraph.__main__ import main
from symgraph.op import REGISTRY

ROOT = Path(__file__).resolve().parent.parent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> demo.Outcome:
    return demo.run(300, tmp_path_factory.mktemp("demo"), io.StringIO())


def test_both_modes_learn_the_digits(outcome: demo.Outcome) -> None:
    assert set(outcome.accuracy) == {"compiled", "define-by-run"}
    assert all(share >= 0.95 for share in outcome.accuracy.values())
    for training in outcome.trainings.values():
        assert len(training.losses) == len(training.seconds) == 300
        assert training.losses[-1] < 0.1 * training.losses[0]


def test_both_modes_agree(outcome: demo.Outcome) -> None:
    compiled, by_run = (t.losses for t in outcome.trainings.values())
    np.testing.assert_allclose(compiled[0], by_run[0], rtol=1e-14)
    assert outcome.difference < 1e-9  # rounding, carried along by 300 steps
    one, other = (t.parameters for t in outcome.trainings.values())
    for name in demo.SHAPES:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-7, atol=1e-9)


def test_the_gradient_is_that_of_the_loss() -> None:
    data, rng = demo.load_digits(), np.random.default_rng(1)
    x, y = next(demo.batches(data))
    at = demo.first_parameters()
    direction = {name: rng.normal(size=value.shape) for name, value in at.items()}
    h = 1e-5
    ahead, behind = (demo.loss(x, y, **{k: v + s * direction[k] for k, v in at.items()}) for s in (h, -h))
    expected = (ahead - behind) / (2 * h)
    for gradient in (demo.define_by_run, demo.define_and_run()[1]):
        value, slopes = gradient(x=x, y=y, **at)
        assert value == pytest.approx(demo.loss(x, y, **at), rel=1e-12)
        assert sum(np.sum(slopes[k] * direction[k]) for k in at) == pytest.approx(expected, rel=1e-8)


def test_the_split_is_fixed_and_whole() -> None:
    first, again = demo.load_digits(), demo.load_digits()
    assert len(first.labels) + len(first.test_labels) == 1797
    assert first.images.min() == 0
    assert first.images.max() == 1
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one, other)


def test_the_report_holds_what_was_asked(outcome: demo.Outcome) -> None:
    text = demo.report(outcome)
    for pattern in (
        r"test accuracy +9\d\.\d% +9\d\.\d%",
        r"time per step +[\d,]+ µs +[\d,]+ µs",
        r"\d+ nodes before optimisation, \d+ after",
        r"compile time +\d+\.\d\d s",
        r"compiling has paid +(after [\d,]+ steps|never)",
        r"largest difference +\d\.\de-\d+",
        r"written +\S+\.dot",
    ):
        assert re.search(pattern, text), (pattern, text)
    before, after = outcome.nodes
    assert before > after > 10


def test_when_compiling_has_paid() -> None:
    def outcome(compiled: float, by_run: float) -> demo.Outcome:
        trainings = {"compiled": compiled, "define-by-run": by_run}
        return demo.Outcome(
            steps=1,
            trainings={k: demo.Training(demo.define_by_run, {}, [1.0], [v]) for k, v in trainings.items()},
            accuracy=dict.fromkeys(trainings, 1.0),
            compile_seconds=1.0,
            nodes=(1, 1),
            files=(),
            missing="",
        )

    assert outcome(0.25, 0.75).paid_after == 2
    assert outcome(0.75, 0.25).paid_after is None
    assert "never" in demo.report(outcome(0.75, 0.25))


def test_the_graph_is_written(outcome: demo.Outcome) -> None:
    texts = [path.read_text(encoding="utf-8") for path in outcome.files if path.suffix == ".dot"]
    assert len(texts) == 2
    assert all(text.startswith("digraph") for text in texts)
    assert [path.suffix for path in outcome.files].count(".svg") == 2
    assert outcome.missing == ""


def test_without_a_renderer_the_report_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setenv("PATH", "")
    assert main(["demo", "--steps", "2", "--out", str(tmp_path / "a" / "b")]) == 0
    assert "install" in capsys.readouterr().out.split("\nwritten")[1]
    assert sorted(path.suffix for path in (tmp_path / "a" / "b").iterdir()) == [".dot", ".dot"]


def test_progress_shows_on_a_terminal_only() -> None:
    shown, hidden = Terminal(), io.StringIO()
    for step in (1, 2):
        demo.progress(step, 2, 0.5, shown)
        demo.progress(step, 2, 0.5, hidden)
    assert shown.getvalue().count("\r") == 2
    assert shown.getvalue().endswith("step 2/2  loss 0.5000\n")
    assert hidden.getvalue() == ""


def test_without_scikit_learn_the_error_names_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert main(["demo"]) == 1
    assert "python -m pip install scikit-learn" in capsys.readouterr().err


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["demo", "--steps", "1", "--out", str(tmp_path / "file" / "x")]) == 1
    assert capsys.readouterr().err.startswith("symgraph: ")


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["demo", "--steps", "0"], ["demo", "--steps", "x"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: python -m symgraph" in capsys.readouterr().err


def test_an_interrupt_ends_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(steps: int, out: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "main", interrupted)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "symgraph: interrupted\n"


def test_operations_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["operations"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["operation", "kind", "written", "gradient", "ONNX"]
    assert [row.split()[0] for row in rows] == list(REGISTRY)
    assert "a * b + c" in next(row for row in rows if row.startswith("fma "))


def test_a_reader_that_stops_early_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "symgraph", "operations"]
    with os.fdopen(write, "wb") as closed:
        ended = subprocess.run(command, cwd=ROOT, stdout=closed, stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


# -- examples ----------------------------------------------------------------------------------------------------------


# Those that train for longer are run, for less long, by tests/test_training_examples.py.
SHORT = [
    path for path in sorted((ROOT / "examples").glob("*.py")) if path.stem not in ("characters", "digits", "spiral")
]


@pytest.mark.parametrize("path", SHORT, ids=lambda path: path.stem)
def test_an_example_runs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out


def test_gradient_descent_takes_the_same_path_in_both_modes() -> None:
    example = runpy.run_path(str(ROOT / "examples" / "rosenbrock.py"))
    for mode in ("define_and_run", "define_by_run"):
        assert example[mode]() == pytest.approx((0.6837118569138317, 0.4659526837427042), rel=1e-12)


def test_newton_finds_the_minimum() -> None:
    step = runpy.run_path(str(ROOT / "examples" / "newton.py"))["step"]
    found = [2.0]
    for _ in range(7):
        found.append(float(step(x=found[-1])))
    expected = [2, 1.4545454545454546, 1.1510467893775467, 1.0253259289766978, 1.0009084519430513]
    assert found[:5] == pytest.approx(expected, rel=1e-14)
    assert found[5:] == pytest.approx([1.0000012353089454, 1.000000000002289, 1], rel=1e-13)


def test_the_loss_is_one_text_for_all_kinds_of_values() -> None:
    data = demo.load_digits()
    x, y = next(demo.batches(data))
    at = demo.first_parameters()
    assert isinstance(demo.loss(x, y, **at), np.floating)
    assert isinstance(demo.loss(x, y, **{k: sg.Variable(v) for k, v in at.items()}), sg.Variable)

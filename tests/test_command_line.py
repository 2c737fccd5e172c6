"""The commands that look at a function: inspect, dot, explain; and doctor."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler import doctor
from symgraph.__main__ import main

MODEL = """
import numpy as np
import symgraph as sg

def rosenbrock(x0, x1):
    return 100 * (x1 - x0**2) ** 2 + (x0 - 1) ** 2

def rows(x):
    return np.stack([row * 2 for row in x])

def made():
    return sg.compile({"y": np.exp(formula)})

class Models:
    function = made

formula = sg.placeholder("a") * 2 + 1
number = 3
"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file with functions, in the current folder."""
    (tmp_path / "a_model_of_tests.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return "a_model_of_tests"


@pytest.mark.parametrize("name", ["rosenbrock", "made", "formula", "Models.function"])
@pytest.mark.parametrize("ending", ["", ".py"])
def test_inspect_writes_a_page(model: str, name: str, ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", f"{model}{ending}:{name}"]) == 0
    assert capsys.readouterr().out == "graph.html\n"
    assert Path("graph.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_inspect_writes_where_it_is_told(model: str) -> None:
    assert main(["inspect", f"{model}:formula", "--out", "other.html"]) == 0
    assert Path("other.html").exists()


def test_dot_prints_or_draws(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dot", f"{model}:rosenbrock", "--stage", "after"]) == 0
    assert capsys.readouterr().out.startswith("digraph g {")
    assert main(["dot", f"{model}:rosenbrock", "--preset", "dezero", "--out", "r.svg"]) == 0
    assert "<svg" in Path("r.svg").read_text(encoding="utf-8")


def test_explain_tells_of_declared_types(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    declared = ["--declare", "x=float32[4, 3]"]
    assert main(["explain", f"{model}:rows", *declared, "--topic", "schedule"]) == 0
    assert "x: float32(4, 3)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "{}"], "expected module:function or file.py:function, got"),
        (["inspect", "{}:"], "expected module:function"),
        (["inspect", "{}:nothing"], "there is no 'nothing' in 'a_model_of_tests'"),
        (["inspect", "{}:number"], "gives 3; expected a compiled function or formulas"),
        (["inspect", "no_such_module:f"], "No module named 'no_such_module'"),
        (["inspect", "no/such.py:f"], "there is no file 'no/such.py'"),
        (["inspect", "{}:formula", "--out", "no/such/folder.html"], "No such file or directory"),
        (["inspect", "{}:formula", "--declare", "a=float64[3]"], "has placeholders of its own"),
        (["explain", "{}:rosenbrock", "--declare", "x0=__import__('os')"], "expected a declaration such as"),
        (["explain", "{}:rosenbrock", "--declare", "x0=nonsense[3]"], "there is no dtype 'nonsense'"),
        (["explain", "{}:rosenbrock", "--declare", "z=float64[3]"], "has no parameter 'z'"),
        (["explain", "{}:rows"], "declare"),
        (["explain", "{}:formula", "--topic", "nonsense"], "there is no topic 'nonsense'"),
        (["dot", "{}:formula", "--stage", "middle"], "there is no stage 'middle'"),
        (["dot", "{}:formula", "--preset", "middle"], "middle"),
    ],
)
def test_what_cannot_be_done_is_told(
    model: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([text.format(model) if "{}" in text else text for text in arguments]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("symgraph: ") and message in captured.err and not captured.out


def test_doctor_tells_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for word in ("symgraph", "numpy", "llvmlite", "processors", "threads", "cache", "pictures", "calls"):
        assert f"\n{word}" in f"\n{text}"
    assert text.count(" ok\n") == len(doctor.CHECKS)


def test_doctor_tells_what_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        raise OSError("no such disk")

    monkeypatch.setitem(doctor.CHECKS, "numbers, value and gradient", broken)
    monkeypatch.setattr(doctor, "renderer", lambda form: None)
    monkeypatch.setattr(doctor.kernel, "blas", dict)
    monkeypatch.setenv("SYMGRAPH_CACHE_SIZE", "0")
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "FAILED: OSError: no such disk" in text
    assert "pip install 'symgraph-compiler[pictures]'" in text
    assert "plain loops" in text and "cache        off" in text

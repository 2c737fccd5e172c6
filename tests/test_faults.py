"""Errors name the user's line: a corpus of planted faults, in both modes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import FAULTS, Fault, lines_named, load

import symgraph as sg
from symgraph.errors import SymgraphError

CASES = [(fault, mode) for fault in FAULTS for mode in (("script",) if fault.script else fault.modes)]


def names(case: Any) -> str:
    return case.name if isinstance(case, Fault) else str(case)


def attempt(fault: Fault, mode: str, path: Path) -> Callable[[], Any]:
    """What a user does with the program in a mode."""
    if mode == "script":
        return lambda: exec(compile(path.read_text(), str(path), "exec"), {})
    program = load(path)
    if mode == "eager":
        return lambda: eager(fault, program)
    symbols = {
        name: sg.placeholder(name, np.shape(v), np.asarray(v).dtype) if mode == "declared" else sg.placeholder(name)
        for name, v in fault.arguments.items()
    }

    def compiled() -> Any:
        f = sg.compile(program(np, **symbols))
        return (f.value_and_grad if fault.grad else f)(**fault.arguments)

    return compiled


def eager(fault: Fault, program: Callable[..., Any]) -> Any:
    y = program(np, **{name: sg.Variable(v) for name, v in fault.arguments.items()})
    if fault.grad:
        y.backward()
    return y


def caught(fault: Fault, mode: str, path: Path) -> Exception:
    do = attempt(fault, mode, path)
    with warnings.catch_warnings(), sg.using_config("check_nan", fault.numbers):
        warnings.simplefilter("ignore")
        with pytest.raises(Exception) as info:  # which class is checked by the caller
            do()
    return info.value


def is_right(error: Exception, fault: Fault, mode: str) -> bool:
    """Whether the class is the expected one, or, in the define-by-run mode, what NumPy raises in its place."""
    expected = fault.error
    if mode == "eager" and not fault.numbers and issubclass(expected, SymgraphError):
        return isinstance(error, expected.__mro__[2] if len(expected.__mro__) > 2 else expected)
    return isinstance(error, expected)


@pytest.mark.parametrize(("fault", "mode"), CASES, ids=names)
def test_the_line_to_blame_is_named(fault: Fault, mode: str, tmp_path: Path) -> None:
    path = fault.write(tmp_path)
    error = caught(fault, mode, path)
    assert is_right(error, fault, mode), repr(error)
    assert lines_named(error, path)[:1] == [fault.line], error
    if mode in ("declared", "undeclared") and isinstance(error, SymgraphError) and error.place is not None:
        first = str(error).split("\n")[0]
        assert f"{path.name}:{fault.line}" in first and len(first) < 250, first
        assert error.place.file == str(path) and error.place.expression


def test_the_corpus_is_large_and_its_names_differ() -> None:
    assert len(FAULTS) >= 60
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)

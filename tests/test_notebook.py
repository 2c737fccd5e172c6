"""What notebooks show of formulas, Variables and compiled functions: by executing one, and in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import numpy as np
import pytest

import symgraph as sg
from tests.browser import complaints, open_browser, requests, show

CELLS = (
    "import numpy as np, symgraph as sg\nx = sg.placeholder('x')\nnp.sin(x) / 2",
    "v = sg.Variable(np.arange(3.0), name='<v>')\ny = (v * v).sum()\ny.backward()\nv",
    "y",
    "f = sg.compile(np.exp(x) * 2)\nf",
    "f.value_and_grad(x=1.0)\nf",
    "sg.compile(x + 1)._repr_mimebundle_()['text/plain']",
)


@pytest.fixture(scope="module")
def outputs() -> list[dict[str, str]]:
    """What the cells of a notebook show, by MIME type."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in CELLS])
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    return [cell.outputs[-1].data for cell in notebook.cells]


def test_a_formula_is_mathematics_with_a_picture(outputs: list[dict[str, str]]) -> None:
    shown = outputs[0]
    assert shown["text/plain"] == "sin(x) / 2"
    assert shown["text/latex"] == r"$\displaystyle \frac{\sin\left(x\right)}{2}$"
    assert r"\frac{\sin\left(x\right)}{2}" in shown["text/html"]
    assert "<svg" in shown["text/html"] and "<?xml" not in shown["text/html"]


def test_a_variable_shows_what_it_holds(outputs: list[dict[str, str]]) -> None:
    assert outputs[1]["text/plain"] == "variable([0. 1. 2.])"
    for text in ("&lt;v&gt;", "(3,)", "float64", "[0. 1. 2.]", "[0. 2. 4.]"):
        assert text in outputs[1]["text/html"]
    assert "<v>" not in outputs[1]["text/html"]
    assert "made by" in outputs[2]["text/html"] and "Sum" in outputs[2]["text/html"]


def test_a_function_shows_its_kernels_and_the_inspector(outputs: list[dict[str, str]]) -> None:
    before, after = outputs[3]["text/html"], outputs[4]["text/html"]
    assert "made when it is called" in before and "<table>" not in before
    assert "value + gradient" in after and "kernel 1" in after
    for text in (before, after):
        assert '<iframe sandbox="allow-scripts"' in text
    assert outputs[5]["text/plain"].startswith("'<compiled function")


def test_a_large_formula_has_no_picture() -> None:
    value: Any = sg.placeholder("x")
    for _ in range(100):
        value = sg.sin(value)
    shown = value._repr_mimebundle_()
    assert set(shown) == {"text/plain", "text/latex"}


def test_a_large_function_names_the_page_to_write() -> None:
    value: Any = sg.placeholder("x")
    for _ in range(4000):
        value = sg.sin(value)
    text = sg.compile(value)._repr_mimebundle_()["text/html"]
    assert "<iframe" not in text and 'f.inspect("graph.html")' in text and len(text) < 5000


def test_without_a_renderer_there_is_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("symgraph.notebook.renderer", lambda form: None)
    assert set((sg.placeholder("no_renderer") * 2)._repr_mimebundle_()) == {"text/plain", "text/latex"}


def test_a_traced_array_shows_as_its_text() -> None:
    seen: list[dict[str, str]] = []

    def f(x: Any) -> Any:
        seen.append(x._repr_mimebundle_())
        return x

    sg.symbolic(f)
    assert set(seen[0]) == {"text/plain"}


def test_nothing_is_compiled_to_be_shown() -> None:
    f = sg.compile(sg.placeholder("x") * 3)
    f._repr_mimebundle_()
    assert not f.dispatch.kernels


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser(1000, 900) as opened:
        yield opened


def test_the_outputs_in_a_browser(browser: Any, outputs: list[dict[str, str]], tmp_path: Path) -> None:
    parts = [data.get("text/html", "") for data in outputs]
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><meta charset=utf-8>{''.join(parts)}", encoding="utf-8")
    show(browser, path, width=1000, height=900)
    picture = browser.find_element("css selector", "svg")
    assert picture.size["width"] > 40 and "Sin" in picture.text
    frames = browser.find_elements("css selector", "iframe")
    for frame in frames:
        browser.execute_script("arguments[0].scrollIntoView()", frame)  # they load when they come into sight
        browser.switch_to.frame(frame)
        assert "exp(x)" in browser.execute_async_script(
            "const done = arguments[0];"
            "(function look() { window.inspector ? done(inspector.titles()) : setTimeout(look, 50); })();"
        )
        browser.switch_to.default_content()
    assert len(frames) == 2
    assert complaints(browser) == [] == requests(browser)


def test_a_variable_without_data_is_shown_too() -> None:
    empty = sg.Variable(None)
    assert "Variable" in empty._repr_mimebundle_()["text/html"]
    assert "data" in sg.Variable(np.zeros((0, 3)))._repr_mimebundle_()["text/html"]

"""Formulas in LaTeX and Unicode: brackets, names, numbers, and that every operation can be written."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.notation import LATEX_FORMS, UNICODE_FORMS
from symgraph.op import REGISTRY

x, y, k = sg.placeholder("x"), sg.placeholder("y"), sg.placeholder("k0")
A = sg.placeholder("A", ("n", 3), "float64")


@pytest.mark.parametrize(
    ("formula", "unicode", "latex"),
    [
        (x - (y - 1), "x − (y − 1)", r"x - \left(y - 1\right)"),
        (x - y - 1, "x − y − 1", "x - y - 1"),
        ((x + y) * 2, "(x + y)·2", r"\left(x + y\right) \cdot 2"),
        (x + y * 2, "x + y·2", r"x + y \cdot 2"),
        (-(x * y), "−x·y", r"-x \cdot y"),
        ((-x) * y, "(−x)·y", r"\left(-x\right) \cdot y"),
        (x * -3, "x·(−3)", r"x \cdot \left(-3\right)"),
        (-sg.negative(x), "−(−x)", r"-\left(-x\right)"),
        ((-x) ** 2, "(−x)²", r"{\left(-x\right)}^{2}"),
        (-(x**2), "−x²", "-{x}^{2}"),
        (x**10, "x¹⁰", "{x}^{10}"),
        (x**-0.5, "x^(−0.5)", "{x}^{-0.5}"),
        (x**y**2, "x^(y²)", "{x}^{{y}^{2}}"),
        ((x / y) ** 2, "(x/y)²", r"{\left(\frac{x}{y}\right)}^{2}"),
        (x / (y * 2), "x/(y·2)", r"\frac{x}{y \cdot 2}"),
        (sg.sqrt(x + 1), "√(x + 1)", r"\sqrt{x + 1}"),
        (sg.exp(-x) ** 2, "exp(−x)²", r"{\left(e^{-x}\right)}^{2}"),
        (sg.sin(x) * 2, "sin(x)·2", r"\sin\left(x\right) \cdot 2"),
        (abs(x - y), "|x − y|", r"\left|x - y\right|"),
        (k * 1e-7, "k₀·1e-07", r"k_{0} \cdot 10^{-7}"),
        (x * np.pi, "x·π", r"x \cdot \pi"),
        (x * 2.5e30, "x·2.5e+30", r"x \cdot 2.5 \cdot 10^{30}"),
        (np.sum(A, axis=0), "∑₀ A", r"\sum_{0} A"),
        (np.sum(A), "∑ A", r"\sum A"),
        (A.T, "Aᵀ", r"{A}^{\top}"),
        (A[0], "A[0,:]", r"{A}_{[0,:]}"),
        (
            sg.where(x > 0, x, 0),
            "x if x > 0 else 0",
            r"\begin{cases} x & \text{if } x > 0 \\ 0 & \text{otherwise} \end{cases}",
        ),
        (sg.fma(x, y, 1), "x·y + 1", r"x \cdot y + 1"),
    ],
)  # fmt: skip
def test_brackets_stand_where_they_are_needed(formula: Any, unicode: str, latex: str) -> None:
    assert sg.unicode(formula) == unicode
    assert sg.latex(formula) == latex


@pytest.mark.parametrize(
    ("name", "unicode", "latex"),
    [
        ("alpha", "α", r"\alpha"),
        ("lambda_", "λ", r"\lambda"),
        ("theta1", "θ₁", r"\theta_{1}"),
        ("x_12", "x₁₂", "x_{12}"),
        ("x_hat", "x_hat", r"x_{\mathrm{hat}}"),
        ("rate", "rate", r"\mathrm{rate}"),
        ("learning_rate", "learning_rate", r"\mathrm{learning\_rate}"),
        ("_", "_", r"\mathrm{\_}"),
        ("größe", "größe", r"\mathrm{größe}"),
    ],
)
def test_names(name: str, unicode: str, latex: str) -> None:
    symbol = sg.placeholder(name)
    assert sg.unicode(symbol) == unicode
    assert sg.latex(symbol) == latex


def test_numbers_and_arrays() -> None:
    assert sg.latex(np.inf) == r"\infty" and sg.unicode(-np.inf) == "−∞"
    assert sg.latex(np.nan) == r"\mathrm{nan}" and sg.unicode(np.nan) == "nan"
    assert sg.latex(np.array([[1, 2], [3, 4]])) == r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}"
    assert sg.latex(np.ones((20, 3))) == r"\mathrm{array}_{20 \times 3}"
    assert sg.unicode([1.5, 2]) == "[1.5, 2.0]"
    assert sg.latex(True) == r"\mathrm{True}"


def test_a_list_of_formulas_such_as_gradients() -> None:
    x, y = (sg.placeholder(name, (), "float64") for name in "xy")
    gradients = sg.grad(x * y, [x, y])
    assert sg.unicode(gradients) == sg.latex(gradients) == "[y, x]"
    assert sg.unicode((x, 2)) == "[x, 2]"


def test_every_form_belongs_to_an_operation() -> None:
    assert {*LATEX_FORMS, *UNICODE_FORMS} <= set(REGISTRY)


def balanced(text: str) -> bool:
    """Whether braces, and \\left and \\right, come in pairs."""
    depth = 0
    for sign in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if sign == "{" else -1
        if depth < 0:
            return False
    return depth == 0 and len(re.findall(r"\\left\b", text)) == len(re.findall(r"\\right\b", text))


@pytest.mark.parametrize(
    "row", [row for row in REGISTRY.values() if row.kind == "elementwise"], ids=lambda row: row.name
)
def test_every_elementwise_operation_can_be_written(row: Any) -> None:
    params = {"pow": {"exponent": 3}, "cast": {"dtype": "<f4"}, "unit": {"dtype": "<f8"}}.get(row.name, {})
    integers = row.name.startswith(("bitwise", "left", "right", "invert"))
    dtype = "int64" if integers else "uint64" if row.name in ("threefry", "swap_or_not", "unit") else "float64"
    args = [sg.placeholder(f"a{i}", (), dtype) for i in range(len(row.domain))]
    formula = row(*args, **params)
    text = sg.latex(formula)
    assert balanced(text)
    for i in range(len(args)):
        assert f"a_{{{i}}}" in text
        assert f"a{'₀₁₂₃₄'[i]}" in sg.unicode(formula)


def test_long_formulas_are_cut() -> None:
    value: Any = x
    for _ in range(5000):
        value = sg.sin(value) + value
    assert r"\ldots" in sg.latex(value) and len(sg.latex(value)) < 10_000
    assert "…" in sg.unicode(value)


def test_a_value_without_meaning_is_refused() -> None:
    with pytest.raises(TypeError, match="a constant must hold"):
        sg.latex("x; import os")

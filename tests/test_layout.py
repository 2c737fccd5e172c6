"""Which copies there are: none of a transposed product."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
from compiler import layout
from compiler.graph import Graph
from compiler.program import Product
from symgraph.ops import array as ar


def steps_of(function: Any) -> list[str]:
    return [type(step).__name__ for step in function.variants()[0][1].program.steps]


def test_the_gradient_of_a_transposed_weight_is_one_product() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(70, 30)), rng.normal(size=(20, 30))
    a, b = sg.placeholder("x"), sg.placeholder("w")
    function = sg.compile(np.sum(np.tanh(a @ b.T)), wrt=[b])
    _, slopes = function.value_and_grad(x=x, w=w)
    assert steps_of(function) == ["Product", "Region", "Product"]
    np.testing.assert_allclose(slopes["w"], (1 - np.tanh(x @ w.T) ** 2).T @ x, rtol=1e-12, atol=1e-12)
    product = function.variants()[0][1].program.steps[-1]
    assert isinstance(product, Product) and product.c[0].role == "output"


@pytest.mark.parametrize(
    "shapes", [((7, 5), (5, 4)), ((3, 7, 5), (3, 5, 4)), ((3, 7, 5), (5, 4)), ((1, 5), (5, 4)), ((5,), (3, 5, 4))]
)
def test_transposed_products(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    rng = np.random.default_rng(1)
    given = [rng.normal(size=shape) for shape in shapes]
    x, w = sg.placeholder("x"), sg.placeholder("w")
    wanted = np.swapaxes(given[0] @ given[1], -1, -2)
    function = sg.compile(np.swapaxes(x @ w, -1, -2), verify=True)
    found = function(x=given[0], w=given[1])
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-13)


def test_a_product_wanted_both_ways_is_computed_once() -> None:
    rng = np.random.default_rng(2)
    x, w = rng.normal(size=(7, 5)), rng.normal(size=(5, 4))
    a, b = sg.placeholder("x"), sg.placeholder("w")
    function = sg.compile([(a @ b).T, a @ b])
    turned, product = function(x=x, w=w)
    assert steps_of(function) == ["Product", "Region"]
    np.testing.assert_array_equal(turned, product.T)


def test_what_needs_no_copies_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    x = sg.placeholder("x", shape=("n", 3), dtype="float64")
    looked_at: list[Any] = []
    laid = layout._laid

    def counted(node: Any, *rest: Any) -> Any:
        looked_at.append(node)
        return laid(node, *rest)

    monkeypatch.setattr(layout, "_laid", counted)
    plain = [np.sum(np.exp(x) * 2, axis=1), x]
    first, second = layout.lay_out(Graph(plain))
    assert first is plain[0] and second is ar.contiguous(x)  # a result is no input
    assert not looked_at
    layout.lay_out(Graph([np.sum(x.T @ np.exp(x))]))
    assert looked_at

"""Trees of values: dataclasses among them, placeholders for them, and gradients by them."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph import tree
from symgraph.errors import GradientError, ShapeError


@dataclasses.dataclass(frozen=True)
class Scaled:
    factor: Any
    shift: Any = None
    power: int = dataclasses.field(default=2, metadata=tree.STATIC)

    def __post_init__(self) -> None:
        assert isinstance(self.factor, np.ndarray)  # not a symbol, nor a mark of a place


Pair = namedtuple("Pair", "left right")


def test_dataclasses_are_taken_apart_and_put_together_without_their_init() -> None:
    held = {"a": Scaled(np.ones(2)), "b": Pair(1.0, [Scaled(np.zeros(1), 3.0, 5)])}
    values, structure = tree.flatten(held)
    assert [np.size(v) for v in values] == [2, 1, 1, 1] and len(tree.flatten(structure)[0]) == 4
    again = tree.unflatten(structure, iter("wxyz"))
    assert again["a"].factor == "w" and again["a"].shift is None and again["a"].power == 2
    assert again["b"].left == "x" and again["b"].right[0].power == 5 and type(again["b"]) is Pair


def test_map_goes_over_trees_of_one_structure() -> None:
    one, two = Scaled(np.ones(2), 1.0), Scaled(np.full(2, 3.0), 2.0)
    found = tree.map(lambda a, b: a + b, one, two)
    assert found.factor.tolist() == [4, 4] and found.shift == 3
    for other in (Scaled(np.ones(2)), {"factor": 1}, [1, 2], 3.0):
        with pytest.raises(ShapeError, match="structures differ"):
            tree.map(lambda a, b: a, one, other)


def test_placeholders_are_named_by_their_places() -> None:
    symbols = tree.placeholders("p", {"a b": np.zeros((2, 3), "float32"), "a_b": [1.0, np.int8(3)]})
    found, _ = tree.flatten(symbols)
    assert [s.name for s in found] == ["p_a_b", "p_a_b_0", "p_a_b_1"]
    assert [(str(s.dtype), s.shape) for s in found] == [("float32", (2, 3)), ("float64", ()), ("int8", ())]
    twice, _ = tree.flatten(tree.placeholders("p", {"a b": 1.0, "a_b": 2.0}))
    assert [s.name for s in twice] == ["p_a_b", "p_a_b_"]


def test_gradients_and_results_come_as_trees() -> None:
    params = {"layer": Scaled(np.arange(3.0), np.array(2.0)), "rest": (np.ones(2),)}
    w = tree.placeholders("w", params)
    y = np.sum(w["layer"].factor ** 2) * w["layer"].shift + np.sum(w["rest"][0])
    grads = sg.grad(y, w)
    f = sg.compile({"value": y, "grads": grads})
    found = f(**tree.arguments(w, params))
    assert found["value"] == 12 and found["grads"]["layer"].factor.tolist() == [0, 4, 8]
    assert found["grads"]["layer"].shift == 5 and found["grads"]["rest"][0].tolist() == [1, 1]
    listed = sg.grad(y, {"a": w["layer"].shift, "b": w["rest"][0]}.values())
    assert isinstance(listed, list) and len(listed) == 2
    with pytest.raises(GradientError, match="wrt must be symbols"):
        sg.grad(y, {"a": 3})

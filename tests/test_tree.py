"""Trees of values: dataclasses among them, placeholders for them, and gradients by them."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph import tree
from symgraph.errors import GradientError, InputError, ShapeError, SymbolError


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


def test_parameters_are_named_by_their_places() -> None:
    held = tree.parameters("p", {"layer": Scaled(np.ones(2, "float32")), "rest": [1.0]})
    assert [p.name for p in tree.flatten(held)[0]] == ["p_layer_factor", "p_rest_0"]
    assert held["layer"].factor.dtype == np.float32 and held["layer"].power == 2
    now = tree.values(held)
    assert now["layer"].factor.tolist() == [1, 1] and now["rest"] == [1.0]


def test_a_tree_goes_through_a_vector_in_every_mode() -> None:
    held = {"layer": Scaled(np.arange(6.0).reshape(2, 3), 7.0), "rest": [np.arange(2), np.zeros((0, 3))]}
    vector, unpack = tree.pack(held)
    assert vector.dtype == np.float64 and vector.tolist() == [0, 1, 2, 3, 4, 5, 7, 0, 1]
    again = unpack(vector)
    assert again["layer"].factor.tolist() == held["layer"].factor.tolist() and again["layer"].shift == 7
    assert again["rest"][1].shape == (0, 3)
    symbol = sg.placeholder("v", shape=(9,), dtype="float64")
    compiled = sg.compile(unpack(symbol))(v=vector)
    recorded = unpack(sg.Variable(vector))
    for other in (compiled, tree.map(lambda v: v.data, recorded)):
        tree.map(np.testing.assert_array_equal, again, other)
    with pytest.raises(ShapeError, match="the tree holds 9 elements"):
        unpack(np.zeros(8))
    with pytest.raises(SymbolError, match="must be known numbers"):
        tree.pack([sg.placeholder("x", shape=("n",))])


def test_packed_is_the_function_of_a_vector() -> None:
    a = np.array([[2.0, 0.5], [0.5, 1.0]])
    start = {"x": np.array([1.0, 2.0]), "c": 0.5}

    def bowl(p: Any) -> Any:
        return 0.5 * p["x"] @ a @ p["x"] + p["c"] ** 4 + p["x"][0] * p["c"]

    packed = sg.packed(bowl, start)
    assert packed.start.tolist() == [1, 2, 0.5]
    v = np.array([0.3, -0.2, 0.7])
    slope = np.array([*(a @ v[:2]), 4 * v[2] ** 3]) + np.array([v[2], 0, v[0]])
    hessian = np.array([[2, 0.5, 1], [0.5, 1, 0], [1, 0, 12 * v[2] ** 2]])
    assert packed.fun(v) == pytest.approx(bowl(packed.unpack(v)), rel=1e-14)
    np.testing.assert_allclose(packed.jac(v), slope, rtol=1e-14)
    value, both = packed.fun_and_jac(v)
    assert value == packed.fun(v) and both.tolist() == packed.jac(v).tolist()
    for p in np.eye(3):
        np.testing.assert_allclose(packed.hessp(v, p), hessian @ p, rtol=1e-13)
    with pytest.raises(ShapeError, match="packed: the function must give one number, got float64"):
        sg.packed(lambda p: p["x"], start)
    with pytest.raises(InputError, match="argument 'packed' has shape"):
        packed.fun(v[:2])


def test_packed_takes_data_with_each_call() -> None:
    x = sg.placeholder("x", shape=("n",), dtype="float64")
    packed = sg.packed(lambda p: sg.sum((p["slope"] * x - 1) ** 2), {"slope": 1.0})
    data = np.array([1.0, 2.0])
    assert packed.fun(np.array([2.0]), x=data) == 10
    assert packed.jac(np.array([2.0]), x=data).tolist() == [14]
    assert packed.hessp(np.array([2.0]), np.array([1.0]), x=data).tolist() == [10]

"""Recurrent layers against plain NumPy written out in loops, in every mode; gradients by differences."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from test_nn import data, in_both_modes

import symgraph as sg
from symgraph import nn, random, tree
from symgraph.errors import ShapeError, SymbolError

KEY = random.key(11)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def rnn(layer: nn.RNN, x: np.ndarray, h: np.ndarray) -> Any:
    unit = np.tanh if layer.unit == "tanh" else lambda x: np.maximum(x, 0)
    for row in x:
        h = unit(row @ layer.weight + layer.bias + h @ layer.recurrent)
        yield h, h


def gru(layer: nn.GRU, x: np.ndarray, h: np.ndarray) -> Any:
    (xr, xz, xn), (hr, hz, hn), (br, bz, bn) = (np.split(w, 3, -1) for w in (layer.weight, layer.recurrent, layer.bias))
    for row in x:
        r = sigmoid(row @ xr + h @ hr + br)
        z = sigmoid(row @ xz + h @ hz + bz)
        inner = r * (h @ hn + layer.state_bias) if layer.unit == "after" else (r * h) @ hn + layer.state_bias
        h = (1 - z) * np.tanh(row @ xn + bn + inner) + z * h
        yield h, h


def lstm(layer: nn.LSTM, x: np.ndarray, state: Any) -> Any:
    h, c = state
    for row in x:
        i, f, g, o = np.split(row @ layer.weight + h @ layer.recurrent + layer.bias, 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        yield h, (h, c)


CASES: dict[str, Any] = {
    "RNN, tanh": (nn.RNN.init(KEY, 3, 4), rnn),
    "RNN, relu": (nn.RNN.init(KEY, 3, 4, unit="relu"), rnn),
    "GRU, after": (nn.GRU.init(KEY, 3, 4), gru),
    "GRU, before": (nn.GRU.init(KEY, 3, 4, unit="before"), gru),
    "LSTM": (nn.LSTM.init(KEY, 3, 4), lstm),
}


def shifted(layer: Any) -> Any:
    """The layer with biases that are not zero."""
    return tree.map(lambda p: p + 0.1 * data(*p.shape, seed=3), layer)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_layers_are_their_loops(name: str, reverse: bool) -> None:
    layer, loop = CASES[name]
    layer, x, h = shifted(layer), data(5, 2, 3), data(2, 4, seed=1)
    state = (h, data(2, 4, seed=2)) if name == "LSTM" else h
    rounds = list(loop(layer, x[::-1] if reverse else x, state))
    wanted = np.array([h for h, _ in rounds])
    outputs, last = layer(x, state, reverse=reverse)
    np.testing.assert_allclose(outputs, wanted[::-1] if reverse else wanted, rtol=1e-12)
    for got, expected in zip(tree.flatten(last)[0], tree.flatten(rounds[-1][1])[0], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_both_modes_and_their_gradients(name: str) -> None:
    layer = shifted(CASES[name][0])
    in_both_modes(lambda layer, x: layer(x)[0], layer, data(4, 2, 3))

    def last(layer: Any, x: Any, h: Any) -> Any:
        state = (h, 0.5 * h) if name == "LSTM" else h
        return sg.concatenate(tree.flatten([layer(x, state)[1]])[0])

    in_both_modes(last, layer, data(3, 2, 3), data(2, 4))


def test_one_kernel_serves_every_length_and_batch() -> None:
    layer = CASES["LSTM"][0]
    x = sg.placeholder("x", shape=("time", "batch", 3), dtype="float64")
    w = tree.placeholders("w", layer)
    f = sg.compile(w(x)[0])
    for shape in ((1, 1, 3), (2, 3, 3), (17, 5, 3), (0, 2, 3)):
        given = data(*shape)
        np.testing.assert_allclose(f(x=given, **tree.arguments(w, layer)), layer(given)[0], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("make", [nn.RNN.init, nn.GRU.init, nn.LSTM.init])
def test_settings(make: Any) -> None:
    layer = make(KEY, 3, 4, bias=False, dtype="float32")
    assert layer.bias is None
    assert {p.dtype for p in tree.flatten(layer)[0]} == {np.dtype("float32")}
    assert layer(data(5, 2, 3).astype("float32"))[0].dtype == np.float32
    ones = make(KEY, 3, 4, weights=nn.ones)
    assert np.all(ones.weight == 1) and np.all(ones.recurrent == 1)
    assert dataclasses.replace(ones, bias=None)(np.zeros((2, 1, 3)))[0].shape == (2, 1, 4)


def test_the_gate_that_forgets_starts_open() -> None:
    np.testing.assert_array_equal(nn.LSTM.init(KEY, 1, 2).bias, [0, 0, 1, 1, 0, 0, 0, 0])


def test_errors_say_what_does_not_fit() -> None:
    layer = CASES["GRU, after"][0]
    with pytest.raises(ShapeError, match=r"GRU: values are \(time, batch, features\), got \(5, 3\)"):
        layer(data(5, 3))
    with pytest.raises(SymbolError, match="GRU: declare the shape of x"):
        layer(sg.placeholder("x"))
    with pytest.raises(ValueError, match="RNN: unit is 'tanh' or 'relu', got 'sin'"):
        nn.RNN.init(KEY, 3, 4, unit="sin")
    with pytest.raises(ValueError, match="GRU: unit is 'after' or 'before', got 'tanh'"):
        nn.GRU.init(KEY, 3, 4, unit="tanh")

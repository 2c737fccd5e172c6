"""The examples that train: their figures, in both modes."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "examples"
MODES = ["define_and_run", "define_by_run"]


@pytest.fixture(scope="module")
def example() -> Any:
    held: dict[str, Any] = {}

    def load(name: str) -> Any:
        if name not in held:
            held[name] = runpy.run_path(str(FOLDER / f"{name}.py"))
        return held[name]

    return load


@pytest.mark.parametrize("mode", MODES)
def test_linear_regression(mode: str, example: Any) -> None:
    loss, line = example("linear_regression")[mode]()
    assert loss == pytest.approx(0.07908606512411756, rel=1e-13)
    assert (line["W"].item(), line["b"].item()) == pytest.approx((2.11807369, 5.46608905), abs=5e-9)


def by_hand(steps: int) -> list[float]:
    """The losses of the sine network, with gradients written out."""
    rng = np.random.RandomState(0)
    x = rng.rand(100, 1)
    y = np.sin(2 * np.pi * x) + rng.rand(100, 1)
    w1, b1, w2, b2 = 0.01 * rng.randn(1, 10), np.zeros(10), 0.01 * rng.randn(10, 1), np.zeros(1)
    losses = []
    for _ in range(steps):
        h = 1 / (1 + np.exp(-(x @ w1 + b1)))
        d = h @ w2 + b2 - y
        losses.append(np.sum(d**2) / 100)
        g = 2 * d / 100
        inner = g @ w2.T * h * (1 - h)
        w2, b2 = w2 - 0.2 * h.T @ g, b2 - 0.2 * g.sum(axis=0)
        w1, b1 = w1 - 0.2 * x.T @ inner, b1 - 0.2 * inner.sum(axis=0)
    return losses


@pytest.mark.parametrize("mode", MODES)
def test_sine_network(mode: str, example: Any) -> None:
    found = example("sine_network")[mode](steps=300, every=100)
    assert found == pytest.approx(by_hand(300)[::100], rel=1e-11)


def test_sine_network_to_its_end(example: Any) -> None:
    found = example("sine_network")["define_and_run"]()
    assert found == pytest.approx(by_hand(10_000)[::1000], rel=1e-9)
    assert found[0] > 0.84 and found[-1] < 0.0773


def test_spiral(example: Any) -> None:
    spiral = example("spiral")
    x, t = spiral["data"]()
    assert np.all(np.hypot(*x.T) < 1) and np.bincount(t).tolist() == [100, 100, 100]
    (one, net), (two, other) = (spiral[mode](epochs=3) for mode in MODES)
    assert one == pytest.approx(two, rel=1e-10)
    np.testing.assert_allclose(net["out"].weight, other["out"].weight, rtol=1e-8)
    losses, net = spiral["define_and_run"]()
    assert losses[-1] < 0.13
    assert spiral["accuracy"](net, *spiral["data"]()) > 0.95
    assert spiral["accuracy"](net, *spiral["data"](2020)) > 0.93


@pytest.mark.parametrize("mode", MODES)
def test_logistic_regression_gives_the_coefficients_of_scikit_learn(mode: str, example: Any) -> None:
    cancer = example("breast_cancer")
    wanted, found = cancer["reference"](), cancer[mode]()
    np.testing.assert_allclose(found["w"], wanted["w"], rtol=0, atol=1e-6)
    assert found["b"] == pytest.approx(wanted["b"], abs=1e-6)


def test_digits(example: Any, tmp_path: Path) -> None:
    digits = example("digits")
    (one, net), (two, other) = digits["define_and_run"](1, tmp_path / "digits.npz"), digits["define_by_run"](1)
    assert one == pytest.approx(two, rel=1e-3)  # float32
    for name in net:
        np.testing.assert_allclose(net[name].bias, other[name].bias, atol=2e-3)
    assert digits["accuracy"](net) > 0.7
    again, same = digits["define_and_run"](1, tmp_path / "digits.npz")
    assert again == one and np.array_equal(same["out"].weight, net["out"].weight)


def test_characters(example: Any) -> None:
    characters = example("characters")
    parts = characters["data"]()
    assert parts["x"].shape == parts["t"].shape and np.array_equal(parts["x"][1:], parts["t"][:-1])
    (one, net), (two, other) = (characters[mode](8) for mode in MODES)
    assert one == pytest.approx(two, rel=1e-4)  # float32
    np.testing.assert_allclose(net["memory"].recurrent, other["memory"].recurrent, atol=1e-3)
    assert one[0] == pytest.approx(np.log(len(characters["LETTERS"])), abs=0.2) and one[-1] < one[0] - 0.5
    said = characters["told"](net, "Shall", 5)
    assert said.startswith("Shall") and len(said) == 10

"""Layers, losses and optimisers beside torch's, where torch is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph import nn, optim

torch = pytest.importorskip("torch")
functional: Any = torch.nn.functional


def data(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, *shape)).normal(size=shape)


def compare(ours: Callable[..., Any], theirs: Callable[..., Any], *arrays: np.ndarray) -> None:
    """Values, and the gradients of their sum weighted by what is not constant."""
    given = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    wanted = theirs(*given)
    weights = data(*wanted.shape, seed=5)
    (wanted * torch.tensor(weights)).sum().backward()
    symbols = [sg.placeholder(f"a{k}", shape=a.shape, dtype=a.dtype) for k, a in enumerate(arrays)]
    held = {s.name: a for s, a in zip(symbols, arrays, strict=True)}
    value, grads = sg.compile(ours(*symbols)).value_and_grad(**held, cotangent=weights)
    np.testing.assert_allclose(value, wanted.detach().numpy(), rtol=1e-10, atol=1e-11)
    for s, t in zip(symbols, given, strict=True):
        if t.requires_grad:
            np.testing.assert_allclose(grads[s.name], t.grad.numpy(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("xs", "ws", "settings"),
    [
        ((2, 3, 9, 10), (4, 3, 3, 3), {}),
        ((2, 3, 9, 10), (5, 3, 3, 2), {"stride": 2, "padding": 1}),
        ((2, 4, 12, 13), (8, 2, 3, 3), {"stride": (2, 3), "padding": (1, 2), "dilation": (2, 1), "groups": 2}),
        ((2, 3, 9, 10), (4, 3, 1, 1), {}),
    ],
)
def test_conv2d(xs: Any, ws: Any, settings: dict[str, Any]) -> None:
    compare(
        lambda x, w, b: nn.conv(x, w, b, **settings),
        lambda x, w, b: functional.conv2d(x, w, b, **settings),
        data(*xs),
        data(*ws),
        data(ws[0]),
    )


def test_pooling() -> None:
    x = data(2, 3, 9, 8)
    for size, stride, padding in ((2, 2, 0), (3, 2, 1), (3, 1, 0)):
        settings = {"stride": stride, "padding": padding}
        compare(
            lambda x, k=size, s=settings: nn.max_pool(x, k, **s),
            lambda x, k=size, s=settings: functional.max_pool2d(x, k, **s),
            x,
        )
        compare(
            lambda x, k=size, s=settings: nn.avg_pool(x, k, **s),
            lambda x, k=size, s=settings: functional.avg_pool2d(x, k, **s),
            x,
        )


def test_normalisation_and_attention() -> None:
    x, g, b = data(4, 3, 5), data(5), data(5, seed=1)
    compare(
        lambda x, g, b: nn.layer_norm(x, g, b),
        lambda x, g, b: functional.layer_norm(x, (5,), g, b, 1e-5),
        x,
        g,
        b,
    )
    g, b = data(3), data(3, seed=1)
    start = nn.BatchNorm(np.ones(3), np.zeros(3)).statistics()
    compare(
        lambda x, g, b: nn.BatchNorm(g, b).train(x, start)[0],
        lambda x, g, b: functional.batch_norm(x, None, None, g, b, True),
        x,
        g,
        b,
    )
    for causal in (False, True):
        compare(
            lambda q, k, v, c=causal: nn.attention(q, k, v, causal=c),
            lambda q, k, v, c=causal: functional.scaled_dot_product_attention(q, k, v, is_causal=c),
            data(2, 4, 3),
            data(2, 4, 3, seed=1),
            data(2, 4, 6),
        )


@pytest.mark.parametrize("reverse", [False, True])
def test_recurrent_layers(reverse: bool) -> None:
    x, units = data(6, 2, 3), 4
    for name, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
        weights = [data(gates * units, 3), data(gates * units, units), data(gates * units), data(gates * units, seed=1)]

        def ours(x: Any, w: Any, r: Any, b: Any, s: Any, name: str = name) -> Any:
            if name == "GRU":  # there, the gate r acts on the bias of the state as well
                front = sg.concatenate([s[: 2 * units], sg.zeros_like(s[2 * units :])])
                layer: Any = nn.GRU(w.T, r.T, b + front, s[2 * units :])
            else:
                layer = getattr(nn, name)(w.T, r.T, b + s)
            return layer(x, reverse=reverse)[0]

        def theirs(x: Any, *given: Any, name: str = name) -> Any:
            layer = getattr(torch.nn, name)(3, units, dtype=torch.float64)
            held = dict(zip([n for n, _ in layer.named_parameters()], given, strict=True))
            outputs = torch.func.functional_call(layer, held, (x.flip(0) if reverse else x,))[0]
            return outputs.flip(0) if reverse else outputs

        compare(ours, theirs, x, *weights)


def test_activations_and_losses() -> None:
    x, y, labels = data(4, 5), data(4, 5, seed=1), np.array([0, 4, 2, 2])
    for name in ("relu", "leaky_relu", "elu", "gelu", "silu"):
        compare(getattr(nn, name), getattr(functional, name), x)
    compare(nn.mse, functional.mse_loss, x, y)
    compare(nn.mae, functional.l1_loss, x, y)
    compare(nn.huber, functional.huber_loss, x, y)
    compare(nn.cross_entropy, functional.cross_entropy, x, labels)
    compare(nn.binary_cross_entropy, functional.binary_cross_entropy_with_logits, x, 1 / (1 + np.exp(-y)))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (optim.SGD(0.01, 0.9, weight_decay=0.1), lambda p: torch.optim.SGD(p, 0.01, 0.9, weight_decay=0.1)),
        (optim.SGD(0.01, 0.9, nesterov=True), lambda p: torch.optim.SGD(p, 0.01, 0.9, nesterov=True)),
        (optim.AdaGrad(0.05), lambda p: torch.optim.Adagrad(p, 0.05)),
        (optim.RMSprop(0.01, 0.9), lambda p: torch.optim.RMSprop(p, 0.01, 0.9)),
        (optim.Adam(0.05), lambda p: torch.optim.Adam(p, 0.05)),
        (optim.AdamW(0.05), lambda p: torch.optim.AdamW(p, 0.05)),
    ],
)
def test_optimisers(ours: optim.Optimiser, theirs: Callable[..., Any]) -> None:
    start = data(3, 2)
    p = torch.tensor(start, requires_grad=True)
    rule = theirs([p])
    params, state = start, ours.init(start)
    for _ in range(20):
        rule.zero_grad()
        ((p * p - 1) ** 2).sum().backward()
        rule.step()
        params, state = ours.update(params, 4 * params * (params * params - 1), state)
        np.testing.assert_allclose(params, p.detach().numpy(), rtol=1e-9)

"""Layers, filters and losses against plain NumPy written out in loops, in every mode; gradients by differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import run_text

import symgraph as sg
from compiler import Graph, interpret
from compiler.pictures import optimised
from symgraph import nn, random, tree
from symgraph.errors import DTypeError, ShapeError, SymbolError
from symgraph.ops import array as ar
from symgraph.ops.filters import correlate

KEY = random.key(6)


def data(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, *shape)).normal(size=shape)


def in_both_modes(function: Callable[..., Any], *trees: Any, names: tuple[str, ...] = (), **tolerance: Any) -> Any:
    """The value of function(*trees): on arrays, on Variables, compiled and interpreted, with sizes declared and named;
    and its gradients in both modes against differences. Returns the value on arrays."""
    plain = function(*trees)
    variables = [tree.map(sg.as_variable, t) for t in trees]
    recorded = function(*variables)
    np.testing.assert_allclose(recorded.data, plain, rtol=1e-12, atol=1e-12)
    weights = data(*np.shape(plain), seed=9)
    sg.sum(recorded * weights).backward()
    symbols = [tree.placeholders(f"t{k}", t) for k, t in enumerate(trees)]
    formula = function(*symbols)
    floats = [s for s in tree.flatten(symbols)[0] if s.dtype.kind == "f"]
    given = tree.arguments(symbols, list(trees))
    compiled = sg.compile(formula, wrt=floats, verify=True)
    value, grads = compiled.value_and_grad(**given, cotangent=weights)
    np.testing.assert_allclose(value, plain, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(interpret([formula], given)[0], plain, rtol=1e-11, atol=1e-12)
    by_name = dict(zip([s.name for s in tree.flatten(symbols)[0]], tree.flatten(variables)[0], strict=True))
    rng = np.random.default_rng(4)
    for s in floats:
        g = grads[s.name]
        np.testing.assert_allclose(g, by_name[s.name].grad.data, rtol=1e-9, atol=1e-11, err_msg=s.name)
        direction = rng.normal(size=g.shape)
        h = 1e-5

        def moved(t: float, s: Any = s, direction: Any = direction) -> Any:
            here = {**given, s.name: given[s.name] + t * direction}
            return np.sum(weights * function(*[tree.map(lambda p: here[p.name], part) for part in symbols]))

        slope = (moved(h) - moved(-h)) / (2 * h)
        assert np.sum(g * direction) == pytest.approx(slope, rel=1e-5, abs=1e-6), s.name
    return plain


# -- filters -----------------------------------------------------------------------------------------------------------


def convolved(x: np.ndarray, w: np.ndarray, stride: Any, pads: Any, dilation: Any, groups: int) -> np.ndarray:
    """The definition, one place after the other."""
    x = np.pad(x, ((0, 0), (0, 0), *pads))
    span = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilation, strict=True)]
    places = [(n - s) // t + 1 for n, s, t in zip(x.shape[2:], span, stride, strict=True)]
    out = np.zeros((len(x), len(w), *places))
    channels, filters = w.shape[1], len(w) // groups
    for o in range(len(w)):
        first = o // filters * channels
        for at in np.ndindex(*places):
            window = tuple(slice(i * t, i * t + s, d) for i, t, s, d in zip(at, stride, span, dilation, strict=True))
            part = x[(slice(None), slice(first, first + channels), *window)]
            out[(slice(None), o, *at)] = np.sum(part * w[o], axis=tuple(range(1, part.ndim)))
    return out


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "plain": ((2, 3, 7, 9), (4, 3, 3, 2), {}),
    "odd filters": ((2, 2, 6, 6), (3, 2, 3, 3), {}),
    "one image": ((1, 1, 12, 20), (2, 1, 3, 3), {}),
    "stride": ((2, 2, 9, 10), (4, 2, 3, 2), {"stride": 2}),
    "stride beyond the window": ((2, 2, 9, 11), (3, 2, 2, 2), {"stride": (2, 3)}),
    "padding": ((2, 2, 5, 6), (3, 2, 3, 3), {"padding": 1}),
    "padding, one-sided": ((2, 2, 5, 6), (3, 2, 3, 2), {"padding": ((2, 0), (0, 1))}),
    "same": ((2, 2, 5, 6), (4, 2, 4, 3), {"padding": "same"}),
    "dilation": ((2, 2, 9, 12), (3, 2, 3, 2), {"dilation": (2, 3)}),
    "groups": ((2, 4, 6, 6), (6, 2, 3, 3), {"groups": 2, "padding": 1}),
    "depthwise": ((2, 3, 6, 10), (6, 1, 3, 3), {"groups": 3, "stride": 2, "padding": 1}),
    "all of it": ((2, 4, 11, 13), (8, 2, 3, 3), {"groups": 2, "stride": (3, 2), "padding": (2, 1), "dilation": (1, 2)}),
    "single elements": ((2, 3, 5, 6), (4, 3, 1, 1), {}),
    "single elements, stride": ((2, 3, 5, 6), (4, 3, 1, 1), {"stride": 2}),
    "as large as the image": ((3, 2, 4, 5), (3, 2, 4, 5), {}),
    "one axis": ((2, 3, 20), (4, 3, 5), {"stride": 2, "padding": 2}),
    "three axes": ((2, 2, 4, 5, 6), (2, 2, 2, 3, 2), {"padding": 1}),
    "no image": ((0, 2, 5, 5), (3, 2, 3, 3), {}),
    "many filters, few places": ((2, 3, 6, 6), (16, 3, 3, 3), {"padding": 1}),
    "many filters, few places side by side": ((2, 2, 5, 10), (32, 2, 2, 3), {"dilation": (1, 2)}),
    "many filters, stride": ((2, 2, 9, 14), (16, 2, 3, 2), {"stride": 2}),
    "many filters, groups": ((2, 4, 6, 9), (32, 2, 3, 3), {"groups": 2}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_filters(name: str) -> None:
    xs, ws, settings = CONVOLUTIONS[name]
    n = len(xs) - 2

    def each(value: Any) -> tuple[int, ...]:
        return tuple(value) if isinstance(value, tuple) else (value,) * n

    padding = settings.get("padding", 0)
    pads = [(p, p) if isinstance(p, int) else p for p in (each(padding) if padding != "same" else ())]
    pads = pads or [((k - 1) // 2, k // 2) for k in ws[2:]]
    x, w, b = data(*xs), data(*ws), data(ws[0])
    found = in_both_modes(lambda x, w, b: nn.conv(x, w, b, **settings), x, w, b)
    stride, dilation = each(settings.get("stride", 1)), each(settings.get("dilation", 1))
    wanted = convolved(x, w, stride, pads, dilation, settings.get("groups", 1))
    np.testing.assert_allclose(found, wanted + b.reshape(-1, *[1] * n), rtol=1e-12, atol=1e-12)


def test_one_kernel_serves_every_image_size() -> None:
    x = sg.placeholder("x", shape=("n", 2, "h", "w"), dtype="float64")
    w = sg.placeholder("w", shape=(4, 2, 3, 3), dtype="float64")
    f = sg.compile(nn.conv(x, w, stride=2, padding=1), verify=True)
    for shape in ((2, 2, 7, 8), (3, 2, 20, 9), (2, 2, 6, 6)):
        image, filters = data(*shape), data(4, 2, 3, 3)
        wanted = convolved(image, filters, (2, 2), ((1, 1),) * 2, (1, 1), 1)
        np.testing.assert_allclose(f(x=image, w=filters), wanted, rtol=1e-12, atol=1e-12)
        loss = np.sum(np.sin(nn.conv(x, w, stride=2, padding=1)))
        grads = sg.compile(loss).grad(x=image, w=filters)
        v, u = sg.Variable(image), sg.Variable(filters)
        sg.sum(sg.sin(nn.conv(v, u, stride=2, padding=1))).backward()
        np.testing.assert_allclose(grads["x"], v.grad.data, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(grads["w"], u.grad.data, rtol=1e-10, atol=1e-12)
    with pytest.raises(ShapeError, match="windows that span 3 do not fit into 2 elements"):
        sg.compile(nn.conv(x, w))(x=np.ones((2, 2, 2, 9)), w=np.ones((4, 2, 3, 3)))


def test_no_windows_are_copied() -> None:
    """The memory of a call, and of its gradients, is a few times that of values and results, and not nine times."""
    x = sg.placeholder("x", shape=(2, 4, 32, 32), dtype="float64")
    w = sg.placeholder("w", shape=(4, 4, 3, 3), dtype="float64")
    f = sg.compile(np.sum(nn.conv(x, w, padding=1) ** 2))
    f.value_and_grad(x=data(2, 4, 32, 32), w=data(4, 4, 3, 3))
    windows = 9 * 2 * 4 * 32 * 32
    for _, variant in f.variants():
        sizes = [b.elements for b in variant.program.temporaries]
        assert sizes and max(sizes) < windows / 3 and sum(sizes) < windows


@pytest.mark.parametrize("shape", [(2, 3, 8, 9), ("n", 3, "h", "w")])
@pytest.mark.parametrize("settings", [{"padding": 1}, {"padding": 1, "stride": 2}, {"padding": ((0, 2), (1, 0))}])
def test_gradients_of_margins_are_not_computed(settings: dict[str, Any], shape: Any) -> None:
    x = sg.placeholder("x", shape=shape, dtype="float64")
    w = sg.placeholder("w", shape=(4, 3, 3, 3), dtype="float64")
    y = nn.conv(x, w, **settings)
    (slope,) = sg.grad(np.sum(np.sin(y)), [x])
    f = sg.compile(slope, verify=True)
    image, filters = data(2, 3, 8, 9), data(4, 3, 3, 3)
    v = sg.Variable(image)
    sg.sum(sg.sin(nn.conv(v, filters, **settings))).backward()
    np.testing.assert_allclose(f(x=image, w=filters), v.grad.data, rtol=1e-10, atol=1e-12)
    ((_, variant),) = f.variants()
    (whole,) = optimised(variant)
    found = [node.type.shape for node in Graph([whole]).order if node.op.name == "correlate"]
    assert (whole.type.shape[0], 1, *whole.type.shape[1:]) in found  # and none with margins


PARTS = {
    "of places": (np.s_[:, :, :, 1:4, 2:], True),
    "from the end": (np.s_[:, :, :, -5:-1, :6], True),
    "all": (np.s_[:, :, :, :, 1:], True),
    "every second": (np.s_[:, :, :, ::2, 1:], False),
    "backwards": (np.s_[:, :, :, 1:, ::-1], False),
    "a row": (np.s_[:, :, :, 2, 1:], False),
    "of filters": (np.s_[:, :, 1:, 1:, 1:], False),
    "nothing": (np.s_[:, :, :, 3:3], False),
}


@pytest.mark.parametrize("written", [None, np.s_[:, :, :, 1:, 2:-1], np.s_[:, :, :, 2:6, ::2], np.s_[:, :, :, 1, ::-1]])
@pytest.mark.parametrize("name", PARTS)
def test_parts_of_filters(name: str, written: Any) -> None:
    """Of values, and of values written into zeros."""
    index, expected = PARTS[name]
    room, w = data(2, 1, 3, 8, 9), data(1, 4, 3, 3, 3)
    given = room if written is None else room[written]

    def filtered(x: Any, w: Any) -> Any:
        if written is not None:
            entries = (ar.Slice(e.start, e.stop, e.step) if isinstance(e, slice) else e for e in written)
            x = ar.embed(x, room, index=tuple(entries))
        return correlate(x, w, strides=(1, 1), dilations=(1, 1))[index]

    x, filters = sg.placeholder("x", given.shape, "float64"), sg.placeholder("w", w.shape, "float64")
    f = sg.compile(filtered(x, filters), verify=True)
    np.testing.assert_allclose(f(x=given, w=w), filtered(given, w), rtol=1e-12, atol=1e-12)
    ((_, variant),) = f.variants()
    (whole,) = optimised(variant)
    assert (whole.op is correlate) == expected


def test_a_filter_that_is_wanted_whole_as_well_is_computed_once() -> None:
    x, w = sg.placeholder("x", (2, 1, 3, 8, 9), "float64"), sg.placeholder("w", (1, 4, 3, 3, 3), "float64")
    y = correlate(x, w, strides=(1, 1), dilations=(1, 1))
    f = sg.compile([y[:, :, :, 1:4], np.sum(y)])
    values = {"x": data(2, 1, 3, 8, 9), "w": data(1, 4, 3, 3, 3)}
    part, _ = f(**values)
    np.testing.assert_allclose(part, correlate(*values.values(), strides=(1, 1), dilations=(1, 1))[:, :, :, 1:4])
    ((_, variant),) = f.variants()
    assert sum(node.op is correlate for node in Graph(optimised(variant)).order) == 1


def test_filters_in_float32_and_the_printed_source() -> None:
    x = sg.placeholder("x", shape=(2, 2, 5, 5), dtype="float32")
    w = sg.placeholder("w", shape=(3, 2, 3, 3), dtype="float32")
    f = sg.compile(nn.conv(x, w))
    values = {"x": data(2, 2, 5, 5).astype("float32"), "w": data(3, 2, 3, 3).astype("float32")}
    wanted = convolved(values["x"], values["w"], (1, 1), ((0, 0),) * 2, (1, 1), 1)
    assert f(**values).dtype == np.float32
    np.testing.assert_allclose(f(**values), wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(run_text(f, values), wanted, rtol=1e-4, atol=1e-5)


# -- windows and pooling -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((2, 3, 6, 8), {"size": 2}),
        ((2, 3, 7, 9), {"size": 2}),
        ((2, 2, 7, 9), {"size": 3, "stride": 2}),
        ((2, 2, 7, 9), {"size": (3, 2), "stride": 1, "padding": 1}),
        ((2, 3, 11), {"size": 4, "stride": 3}),
    ],
)
def test_pooling(shape: tuple[int, ...], settings: dict[str, Any]) -> None:
    x = data(*shape)
    n = x.ndim - 2
    size, pad = settings["size"], settings.get("padding", 0)
    sizes = size if isinstance(size, tuple) else (size,) * n
    stride = settings.get("stride", sizes)
    strides = stride if isinstance(stride, tuple) else (stride,) * n
    for function, fill, reduce in ((nn.max_pool, -np.inf, np.max), (nn.avg_pool, 0.0, np.mean)):
        found = in_both_modes(lambda x, function=function: function(x, **settings), x)
        room = np.pad(x, ((0, 0), (0, 0), *[(pad, pad)] * n), constant_values=fill)
        for at in np.ndindex(*found.shape[2:]):
            window = tuple(slice(i * t, i * t + k) for i, t, k in zip(at, strides, sizes, strict=True))
            wanted = reduce(room[(..., *window)], axis=tuple(range(2, x.ndim)))
            np.testing.assert_allclose(found[(..., *at)], wanted, rtol=1e-12)


# -- other layers ------------------------------------------------------------------------------------------------------


def test_linear() -> None:
    layer, x = nn.Linear.init(KEY, 3, 5), data(4, 3)
    layer = nn.Linear(layer.weight, data(5))
    found = in_both_modes(lambda f, x: f(x), layer, x)
    np.testing.assert_allclose(found, x @ layer.weight + layer.bias, rtol=1e-12)
    assert nn.Linear.init(KEY, 3, 5, bias=False)(x).shape == (4, 5)


def test_conv2d_is_a_layer_of_filters() -> None:
    layer = nn.Conv2d.init(KEY, 4, 6, (3, 2), stride=2, padding=1, groups=2)
    assert layer.weight.shape == (6, 2, 3, 2)
    x = data(2, 4, 7, 7)
    found = in_both_modes(lambda f, x: f(x), layer, x)
    np.testing.assert_array_equal(found, nn.conv(x, layer.weight, layer.bias, stride=2, padding=1, groups=2))
    with pytest.raises(ValueError, match="do not make 2 groups"):
        nn.Conv2d.init(KEY, 3, 6, 3, groups=2)


def test_layer_norm() -> None:
    x = data(4, 3, 5)
    layer = nn.LayerNorm(data(3, 5), data(3, 5, seed=1))
    found = in_both_modes(lambda f, x: f(x), layer, x)
    mean, variance = x.mean(axis=(1, 2), keepdims=True), x.var(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found, (x - mean) / np.sqrt(variance + 1e-5) * layer.scale + layer.shift, rtol=1e-11)


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (2, 3, 4, 5)])
def test_batch_norm(shape: tuple[int, ...]) -> None:
    x = data(*shape) * 2 + 1
    layer = nn.BatchNorm(data(3), data(3, seed=1))
    axes = tuple(a for a in range(x.ndim) if a != 1)
    wide = (3, *[1] * (x.ndim - 2))
    scale, shift = (v.reshape(wide) for v in (layer.scale, layer.shift))
    found = in_both_modes(lambda f, x: f.train(x, f.statistics())[0], layer, x)
    mean, variance = x.mean(axes).reshape(wide), x.var(axes).reshape(wide)
    np.testing.assert_allclose(found, (x - mean) / np.sqrt(variance + 1e-5) * scale + shift, rtol=1e-10, atol=1e-12)
    _, seen = layer.train(x, layer.statistics())
    np.testing.assert_allclose(seen["mean"], 0.1 * x.mean(axes), rtol=1e-12)
    np.testing.assert_allclose(seen["variance"], 0.9 + 0.1 * x.var(axes, ddof=1), rtol=1e-12)
    tested = in_both_modes(lambda f, x, s: f(x, s), layer, x, seen)
    held = {k: v.reshape(wide) for k, v in seen.items()}
    np.testing.assert_allclose(
        tested, (x - held["mean"]) / np.sqrt(held["variance"] + 1e-5) * scale + shift, rtol=1e-10, atol=1e-12
    )


def test_batch_norm_keeps_float32() -> None:
    layer = nn.BatchNorm.init(3, dtype="float32")
    x = sg.placeholder("x", shape=("n", 3), dtype="float32")
    out, seen = sg.compile(layer.train(x, layer.statistics()))(x=data(5, 3).astype("float32"))
    eager, kept = layer.train(data(5, 3).astype("float32"), layer.statistics())
    assert {str(v.dtype) for v in (out, eager, *seen.values(), *kept.values())} == {"float32"}
    np.testing.assert_allclose(out, eager, rtol=1e-5, atol=1e-6)


def test_dropout_drops_in_training_alone() -> None:
    drop, x = nn.Dropout(0.25), data(50, 40)
    assert drop(x) is x
    found = drop(x, KEY)
    kept = found != 0
    np.testing.assert_allclose(found[kept], x[kept] / 0.75)
    assert abs(kept.mean() - 0.75) < 0.04
    k, symbol = sg.placeholder("k"), sg.placeholder("x")
    f = sg.compile(drop(symbol, k))
    np.testing.assert_array_equal(f(x=x, k=KEY), found)
    np.testing.assert_array_equal(drop(sg.Variable(x), KEY).data, found)
    np.testing.assert_allclose(f.grad(x=x, k=KEY)["x"], kept / 0.75)
    with pytest.raises(ValueError, match="the rate lies in"):
        nn.dropout(KEY, x, 1.0)
    assert nn.dropout(KEY, x, 0.0) is x


def test_embedding() -> None:
    layer, indices = nn.Embedding.init(KEY, 7, 3), np.array([[1, 6, 1], [0, 2, 2]])
    found = in_both_modes(lambda f, i: f(i), layer, indices)
    np.testing.assert_array_equal(found, layer.table[indices])


@pytest.mark.parametrize("causal", [False, True])
def test_attention(causal: bool) -> None:
    q, k, v = data(2, 4, 3), data(2, 5, 3), data(2, 5, 6)
    mask = np.ones((4, 5), bool)
    mask[2, 1:3] = False
    found = in_both_modes(lambda q, k, v: nn.attention(q, k, v, mask, causal), q, k, v)
    for batch in range(2):
        for i in range(4):
            allowed = [j for j in range(5) if mask[i, j] and (j <= i or not causal)]
            scores = np.array([q[batch, i] @ k[batch, j] / math.sqrt(3) for j in allowed])
            p = np.exp(scores - scores.max())
            np.testing.assert_allclose(found[batch, i], p / p.sum() @ v[batch, allowed], rtol=1e-11)


def test_attention_of_several_heads() -> None:
    layer, x = nn.Attention.init(KEY, 6, heads=2), data(2, 4, 6)
    found = in_both_modes(lambda f, x: f(x, causal=True), layer, x)
    q, k, v = (x @ part.weight + part.bias for part in (layer.query, layer.key, layer.value))
    wanted = [nn.attention(*(a[..., h * 3 : h * 3 + 3] for a in (q, k, v)), causal=True) for h in (0, 1)]
    np.testing.assert_allclose(found, np.concatenate(wanted, -1) @ layer.out.weight, rtol=1e-11)
    named = sg.placeholder("x", shape=("b", "n", 6), dtype="float64")
    np.testing.assert_allclose(sg.compile(layer(named, causal=True))(x=x), found, rtol=1e-11)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "gelu", "silu"])
def test_activations(name: str) -> None:
    x = np.array([-800.0, -2.0, -0.3, 0.4, 1.7, 800.0])
    normal = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])
    wanted = {
        "relu": np.maximum(x, 0),
        "leaky_relu": np.where(x > 0, x, 0.01 * x),
        "elu": np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
        "gelu": x * normal,
        "silu": x / (1 + np.exp(np.minimum(-x, 700))),
    }
    found = in_both_modes(getattr(nn, name), x)
    np.testing.assert_allclose(found, wanted[name], rtol=1e-9, atol=1e-300)
    assert np.isnan(getattr(nn, name)(np.array([np.nan])))


def test_losses() -> None:
    y, t = data(4, 5), data(4, 5, seed=1)
    labels = np.array([0, 4, 2, 2])
    p = np.exp(t) / np.exp(t).sum(axis=1, keepdims=True)
    log_p = y - np.log(np.exp(y).sum(axis=1, keepdims=True))
    d = np.abs(y - t)
    chance = 1 / (1 + np.exp(-t))
    for function, args, wanted in (
        (nn.mse, (y, t), np.mean(d**2)),
        (nn.mae, (y, t), np.mean(d)),
        (nn.huber, (y, t), np.mean(np.where(d < 1, d**2 / 2, d - 0.5))),
        (nn.cross_entropy, (y, labels), -np.mean(log_p[np.arange(4), labels])),
        (nn.cross_entropy, (y, p), -np.mean(np.sum(p * log_p, axis=1))),
        (nn.binary_cross_entropy, (y, chance), np.mean(np.log1p(np.exp(y)) - chance * y)),
    ):
        assert in_both_modes(function, *args) == pytest.approx(wanted, rel=1e-12)
    named = sg.placeholder("y", shape=("n", "c"), dtype="float64")
    f = sg.compile(nn.cross_entropy(named, sg.placeholder("t", shape=("n",), dtype="int64")))
    assert f(y=y, t=labels) == pytest.approx(nn.cross_entropy(y, labels), rel=1e-12)


def test_initialisers() -> None:
    shape = (400, 300)
    for init, variance in (
        (nn.glorot(), 2 / 700),
        (nn.glorot("normal"), 2 / 700),
        (nn.he(), 2 / 400),
        (nn.lecun("uniform"), 1 / 400),
        (nn.normal(0.5), 0.25),
        (nn.uniform(0.5), 1 / 12),
    ):
        w = init(KEY, shape, "float32")
        assert w.dtype == np.float32 and w.shape == shape
        assert np.var(w) == pytest.approx(variance, rel=0.03) and abs(np.mean(w)) < 4 * math.sqrt(variance / w.size)
    assert np.var(nn.he()(KEY, (64, 32, 3, 3))) == pytest.approx(2 / (32 * 9), rel=0.05)
    with pytest.raises(ValueError, match="'normal' or 'uniform'"):
        nn.glorot("even")


# -- errors ------------------------------------------------------------------------------------------------------------


def test_errors_say_what_does_not_fit() -> None:
    x, w = np.ones((1, 3, 5, 5)), np.ones((2, 3, 3, 3))
    with pytest.raises(ShapeError, match="3 channels in 1 group meet filters for 2 each"):
        nn.conv(x, w[:, :2])
    with pytest.raises(ShapeError, match="differ in rank"):
        nn.conv(x, w[..., 0])
    with pytest.raises(ShapeError, match="do not make 2 groups"):
        nn.conv(np.ones((1, 6, 5, 5)), np.ones((3, 3, 3, 3)), groups=2)
    with pytest.raises(ShapeError, match="do not fit into axis"):
        nn.conv(x, np.ones((2, 3, 6, 6)))
    with pytest.raises(ShapeError, match=r"values are \(batch, channels, ...\)"):
        nn.conv(x[0, 0], w)
    with pytest.raises(ValueError, match="stride is an integer of at least 1"):
        nn.conv(x, w, stride=0)
    with pytest.raises(ValueError, match="padding is"):
        nn.conv(x, w, padding="full")
    with pytest.raises(SymbolError, match="declare the shape of x"):
        nn.conv(sg.placeholder("x"), w)
    with pytest.raises(DTypeError, match="floating-point values are filtered"):
        nn.conv(x.astype(int), w.astype(int))
    with pytest.raises(ShapeError, match="does not fit into axis 2"):
        nn.max_pool(x, 6)
    with pytest.raises(DTypeError, match="labels must be integers"):
        nn.cross_entropy(np.ones((2, 3)), np.ones(2))
    norm = nn.BatchNorm.init(3)
    with pytest.raises(ShapeError, match="more than one value per channel"):
        norm.train(np.ones((1, 3)), norm.statistics())
    with pytest.raises(SymbolError, match="declare the shape of x"):
        norm(sg.placeholder("x"), norm.statistics())
    with pytest.raises(ValueError, match="do not make 3 heads"):
        nn.Attention.init(KEY, 4, heads=3)

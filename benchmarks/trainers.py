"""Who trains: each library with its own arrays, layers and optimisers, as it is ordinarily used.

A trainer gives layers that the formulas of :mod:`benchmarks.trained` are written over, takes steps, and begins anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np

import symgraph as sg
from benchmarks.trained import Batch, Task, scores

Scores = Callable[[np.ndarray], np.ndarray]


class Trainer(Protocol):
    """A task in the hands of a library."""

    def bring(self, batch: Batch) -> Any:
        """A batch in arrays of the library."""

    def step(self, batch: Any) -> float:
        """The loss before a step, which is done when it returns."""

    def inside(self, batch: Any, count: int) -> float:
        """As many steps in one call; the loss before the last."""

    def scores(self, x: np.ndarray) -> np.ndarray:
        """Of images, by the network with filters."""

    def restart(self) -> None:
        """Back to the first parameters, and an optimiser that remembers nothing."""


# -- symgraph ----------------------------------------------------------------------------------------------------------

OWN = SimpleNamespace(
    apply=lambda layer, x: layer(x),
    unroll=lambda layer, x: layer(x)[0],
    pool=lambda x: sg.nn.max_pool(x, 2),
    relu=sg.nn.relu,
    tanh=np.tanh,
    cross_entropy=sg.nn.cross_entropy,
)


class Compiled:
    """Loss, gradients and optimiser in one kernel."""

    def __init__(self, task: Task, first: Any, batch: Batch) -> None:
        self.net = sg.tree.parameters("net", first)
        symbols = {name: sg.placeholder(name, part.shape, part.dtype) for name, part in batch.items()}
        loss = task.loss(OWN, self.net, **symbols)
        changed = sg.optim.updates(task.rule, self.net, sg.grad(loss, self.net))
        self.first = [(p, p.value) for p in changed]
        self.compiled = sg.compile(loss, updates=changed)

    def bring(self, batch: Batch) -> Batch:
        return batch

    def step(self, batch: Batch) -> float:
        return float(self.compiled(**batch))

    def inside(self, batch: Batch, count: int) -> float:
        return float(self.compiled(**batch, steps=count))

    def scores(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(scores(OWN, sg.tree.values(self.net), x))

    def restart(self) -> None:
        for p, value in self.first:
            p.value = value


class DefineByRun:
    """Variables, and the rule of the optimiser on arrays."""

    def __init__(self, task: Task, first: Any, batch: Batch) -> None:
        self.task, self.first = task, first
        self.restart()

    def bring(self, batch: Batch) -> Batch:
        return batch

    def step(self, batch: Batch) -> float:
        weights = sg.tree.map(sg.Variable, self.net)
        loss = self.task.loss(OWN, weights, **batch)
        loss.backward()
        slopes = sg.tree.map(lambda p: p.grad.data, weights)
        self.net, self.memory = self.task.rule.update(self.net, slopes, self.memory)
        return float(loss.data)

    def scores(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(scores(OWN, self.net, x))

    def restart(self) -> None:
        self.net, self.memory = self.first, self.task.rule.init(self.first)


# -- JAX ---------------------------------------------------------------------------------------------------------------


@cache
def tell_jax_of_layers() -> None:
    """The layers of symgraph are trees, for JAX as well."""
    import jax

    for kind in (sg.nn.Linear, sg.nn.Conv2d, sg.nn.Embedding, sg.nn.LSTM):
        settings = [f.name for f in fields(kind) if "static" in f.metadata]
        values = [f.name for f in fields(kind) if f.name not in settings]
        jax.tree_util.register_dataclass(kind, values, settings)


def jax_layers() -> SimpleNamespace:
    """Plain functions of JAX; the layers of symgraph hold its arrays, as a tree."""
    import jax
    import jax.numpy as jnp

    def apply(layer: Any, x: Any) -> Any:
        if isinstance(layer, sg.nn.Embedding):
            return layer.table[x]
        if isinstance(layer, sg.nn.Conv2d):
            sides = ("NCHW", "OIHW", "NCHW")
            y = jax.lax.conv_general_dilated(x, layer.weight, (1, 1), "SAME", dimension_numbers=sides)
            return y + layer.bias[:, None, None]
        return x @ layer.weight + layer.bias

    def unroll(layer: Any, x: Any) -> Any:
        def cell(state: Any, seen: Any) -> Any:
            h, c = state
            i, f, g, o = jnp.split(seen + h @ layer.recurrent, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zeros = jnp.zeros((x.shape[1], layer.recurrent.shape[0]), x.dtype)
        return jax.lax.scan(cell, (zeros, zeros), x @ layer.weight + layer.bias)[1]

    def pool(x: Any) -> Any:
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    def cross_entropy(found: Any, labels: Any) -> Any:
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(found), labels[:, None], axis=1))

    return SimpleNamespace(
        apply=apply, unroll=unroll, pool=pool, relu=jax.nn.relu, tanh=jnp.tanh, cross_entropy=cross_entropy
    )


def jax_rule(rule: sg.optim.Optimiser) -> tuple[Callable[[Any], Any], Callable[[Any, Any, Any], tuple[Any, Any]]]:
    """What the optimiser remembers at first, and its step."""
    import jax
    import jax.numpy as jnp

    each = jax.tree.map
    if isinstance(rule, sg.optim.Adam):

        def adam(net: Any, slopes: Any, memory: Any) -> Any:
            count, mean, squares = memory
            count = count + 1
            mean = each(lambda m, g: rule.beta1 * m + (1 - rule.beta1) * g, mean, slopes)
            squares = each(lambda s, g: rule.beta2 * s + (1 - rule.beta2) * g * g, squares, slopes)
            one, two = 1 - rule.beta1**count, 1 - rule.beta2**count

            def move(p: Any, m: Any, s: Any) -> Any:
                return p - (rule.lr * (m / one) / (jnp.sqrt(s / two) + rule.eps)).astype(p.dtype)

            return each(move, net, mean, squares), (count, mean, squares)

        return lambda net: (jnp.zeros(()), each(jnp.zeros_like, net), each(jnp.zeros_like, net)), adam
    assert isinstance(rule, sg.optim.SGD)
    if not rule.momentum:
        return lambda net: (), lambda net, slopes, memory: (each(lambda p, g: p - rule.lr * g, net, slopes), ())

    def sgd(net: Any, slopes: Any, memory: Any) -> Any:
        memory = each(lambda v, g: rule.momentum * v + g, memory, slopes)
        return each(lambda p, v: p - rule.lr * v, net, memory), memory

    return lambda net: each(jnp.zeros_like, net), sgd


class Jax:
    """Functions of trees; under `jit` they are one program each, which takes the arrays of the last step over."""

    def __init__(self, task: Task, first: Any, batch: Batch, jit: bool = True) -> None:
        import jax

        jax.config.update("jax_enable_x64", True)
        tell_jax_of_layers()
        self.first, self.layers = first, jax_layers()
        self.init, move = jax_rule(task.rule)

        def step(net: Any, memory: Any, batch: Any) -> Any:
            value, slopes = jax.value_and_grad(lambda net: task.loss(self.layers, net, **batch))(net)
            return value, *move(net, slopes, memory)

        def steps(net: Any, memory: Any, batch: Any, count: Any) -> Any:
            value, net, memory = step(net, memory, batch)
            return jax.lax.fori_loop(1, count, lambda k, held: step(*held[1:], batch), (value, net, memory))

        self.one = jax.jit(step, donate_argnums=(0, 1)) if jit else step
        self.many = jax.jit(steps, donate_argnums=(0, 1))
        self.restart()

    def bring(self, batch: Batch) -> Any:
        import jax

        return jax.device_put(batch)

    def step(self, batch: Any) -> float:
        loss, self.net, self.memory = self.one(self.net, self.memory, batch)
        return float(loss)

    def inside(self, batch: Any, count: int) -> float:
        loss, self.net, self.memory = self.many(self.net, self.memory, batch, count)
        return float(loss)

    def scores(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(scores(self.layers, self.net, x))

    def restart(self) -> None:
        import jax

        self.net = jax.tree.map(jax.numpy.array, self.first)
        self.memory = self.init(self.net)


# -- torch -------------------------------------------------------------------------------------------------------------


def torch_layer(layer: Any) -> Any:
    """A layer of torch, or a parameter, with values of symgraph's."""
    import torch
    from torch import nn

    if not isinstance(layer, sg.nn.Linear | sg.nn.Conv2d | sg.nn.Embedding | sg.nn.LSTM):
        return nn.Parameter(torch.tensor(layer))
    if isinstance(layer, sg.nn.Linear):
        made: Any = nn.Linear(*layer.weight.shape)
        values = {"weight": layer.weight.T, "bias": layer.bias}
    elif isinstance(layer, sg.nn.Conv2d):
        filters, channels, *window = layer.weight.shape
        made = nn.Conv2d(channels, filters, tuple(window), padding="same")
        values = {"weight": layer.weight, "bias": layer.bias}
    elif isinstance(layer, sg.nn.Embedding):
        made = nn.Embedding(*layer.table.shape)
        values = {"weight": layer.table}
    else:
        made = nn.LSTM(layer.weight.shape[0], layer.recurrent.shape[0])
        values = {
            "weight_ih_l0": layer.weight.T, "weight_hh_l0": layer.recurrent.T, "bias_ih_l0": layer.bias,
            "bias_hh_l0": np.zeros_like(layer.bias),
        }  # fmt: skip
        made.bias_hh_l0.requires_grad_(False)  # a second bias would learn what the first does
    made.load_state_dict({name: torch.tensor(np.ascontiguousarray(value)) for name, value in values.items()})
    return made


def torch_layers() -> SimpleNamespace:
    import torch

    return SimpleNamespace(
        apply=lambda layer, x: layer(x),
        unroll=lambda layer, x: layer(x)[0],
        pool=lambda x: torch.nn.functional.max_pool2d(x, 2),
        relu=torch.relu,
        tanh=torch.tanh,
        cross_entropy=torch.nn.functional.cross_entropy,
    )


class Torch:
    """Layers and optimisers of torch; compiled, those are the loss with its gradient, and the step of the optimiser."""

    def __init__(self, task: Task, first: Any, batch: Batch, compile: bool = False) -> None:  # noqa: A002
        import torch

        self.net = {name: torch_layer(layer) for name, layer in first.items()}
        self.layers, rule = torch_layers(), task.rule
        every = [p for part in self.net.values() for p in ([part] if torch.is_tensor(part) else part.parameters())]
        learned = [p for p in every if p.requires_grad]
        self.first = [(p, p.detach().clone()) for p in learned]
        if isinstance(rule, sg.optim.Adam):
            self.rule: Any = torch.optim.Adam(learned, rule.lr, (rule.beta1, rule.beta2), rule.eps)
        else:
            assert isinstance(rule, sg.optim.SGD)
            self.rule = torch.optim.SGD(learned, rule.lr, rule.momentum)

        def loss(batch: Any) -> Any:
            return task.loss(self.layers, self.net, **batch)

        torch.compiler.reset()
        self.loss, self.move = (
            (torch.compile(loss), torch.compile(self.rule.step)) if compile else (loss, self.rule.step)
        )

    def bring(self, batch: Batch) -> Any:
        import torch

        return {name: torch.from_numpy(np.ascontiguousarray(part)) for name, part in batch.items()}

    def step(self, batch: Any) -> float:
        self.rule.zero_grad()
        loss = self.loss(batch)
        loss.backward()
        self.move()
        return float(loss.detach())

    def scores(self, x: np.ndarray) -> np.ndarray:
        import torch

        with torch.no_grad():
            return np.asarray(scores(self.layers, self.net, torch.from_numpy(x)))

    def restart(self) -> None:
        import torch

        with torch.no_grad():
            for p, value in self.first:
                p.copy_(value)
            for slots in self.rule.state.values():
                for held in filter(torch.is_tensor, slots.values()):
                    held.zero_()


TRAINERS: dict[str, Callable[[Task, Any, Batch], Any]] = {
    "symgraph": Compiled,
    "symgraph eager": DefineByRun,
    "JAX": Jax,
    "JAX eager": lambda *given: Jax(*given, jit=False),
    "torch": Torch,
    "torch.compile": lambda *given: Torch(*given, compile=True),
}
KEYS = {"jax": ("JAX", "JAX eager"), "torch": ("torch",), "torch.compile": ("torch.compile",)}
"""Who takes part for the names that ``--peers`` knows."""

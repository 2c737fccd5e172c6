"""Layers: dataclasses of parameters that are called on values.

A layer is a tree (:mod:`symgraph.tree`): its parameters are arrays, Variables or symbols, its settings belong to the
structure. It is made by ``init`` from a key, and never changes.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from symgraph import functions as fn, random
from symgraph.errors import ShapeError, SymbolError
from symgraph.nn import functional as fl, initialisers as first
from symgraph.nn.images import conv
from symgraph.ops import array as ar, elementwise as ew
from symgraph.tree import STATIC


@dataclasses.dataclass(frozen=True, eq=False)
class Linear:
    """x @ weight + bias, with weight (in, out).

    >>> import numpy as np, symgraph as sg
    >>> f = sg.nn.Linear.init(sg.random.key(0), 3, 2)
    >>> f(np.ones((4, 3))).shape
    (4, 2)
    """

    weight: Any
    bias: Any = None

    @classmethod
    def init(
        cls,
        key: Any,
        inputs: int,
        outputs: int,
        *,
        bias: bool = True,
        weights: first.Initialiser | None = None,
        dtype: Any = "float64",
    ) -> Linear:
        """Weights by Glorot's rule unless another is given, and zeros as bias."""
        weight = (weights or first.glorot())(key, (inputs, outputs), dtype)
        return cls(weight, np.zeros(outputs, dtype) if bias else None)

    def __call__(self, x: Any) -> Any:
        out = ar.matmul(x, self.weight)
        return out if self.bias is None else out + self.bias


@dataclasses.dataclass(frozen=True, eq=False)
class Conv2d:
    """Filters over images (batch, channels, height, width); see :func:`symgraph.nn.conv`.

    >>> import numpy as np, symgraph as sg
    >>> f = sg.nn.Conv2d.init(sg.random.key(0), 1, 8, 3, padding="same")
    >>> f(np.ones((4, 1, 28, 28))).shape
    (4, 8, 28, 28)
    """

    weight: Any
    bias: Any = None
    stride: Any = dataclasses.field(default=1, metadata=STATIC)
    padding: Any = dataclasses.field(default=0, metadata=STATIC)
    dilation: Any = dataclasses.field(default=1, metadata=STATIC)
    groups: int = dataclasses.field(default=1, metadata=STATIC)

    @classmethod
    def init(
        cls,
        key: Any,
        channels: int,
        filters: int,
        size: int | tuple[int, int],
        *,
        bias: bool = True,
        weights: first.Initialiser | None = None,
        dtype: Any = "float64",
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Conv2d:
        """Weights by He's rule unless another is given, and zeros as bias."""
        if channels % groups or filters % groups:
            raise ValueError(f"Conv2d: {channels} channels and {filters} filters do not make {groups} groups")
        window = (size, size) if isinstance(size, int) else tuple(size)
        weight = (weights or first.he())(key, (filters, channels // groups, *window), dtype)
        return cls(weight, np.zeros(filters, dtype) if bias else None, stride, padding, dilation, groups)

    def __call__(self, x: Any) -> Any:
        settings = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}
        return conv(x, self.weight, self.bias, **settings)


@dataclasses.dataclass(frozen=True, eq=False)
class LayerNorm:
    """Normalisation over the last axes, as many as the parameters have; see :func:`symgraph.nn.layer_norm`.

    >>> import numpy as np, symgraph as sg
    >>> sg.nn.LayerNorm.init(2, eps=0.0)(np.array([[1.0, 3.0]]))
    array([[-1.,  1.]])
    """

    scale: Any
    shift: Any
    eps: float = dataclasses.field(default=1e-5, metadata=STATIC)

    @classmethod
    def init(cls, shape: int | tuple[int, ...], eps: float = 1e-5, dtype: Any = "float64") -> LayerNorm:
        """Ones as scale, zeros as shift."""
        return cls(np.ones(shape, dtype), np.zeros(shape, dtype), eps)

    def __call__(self, x: Any) -> Any:
        rank = ar.rank(self.scale) or 1
        return fl.layer_norm(x, self.scale, self.shift, tuple(range(-rank, 0)), self.eps)


@dataclasses.dataclass(frozen=True, eq=False)
class BatchNorm:
    """Normalisation of each channel, the second axis, over all other axes.

    What it has seen so far is no parameter: `statistics` gives a tree to begin with, `train` gives the next one.

    Source: Ioffe and Szegedy, "Batch normalization" (ICML 2015).

    >>> import numpy as np, symgraph as sg
    >>> norm = sg.nn.BatchNorm.init(3)
    >>> y, seen = norm.train(np.ones((8, 3)), norm.statistics())
    >>> norm(np.ones((2, 3)), seen).shape
    (2, 3)
    """

    scale: Any
    shift: Any
    momentum: float = dataclasses.field(default=0.1, metadata=STATIC)
    eps: float = dataclasses.field(default=1e-5, metadata=STATIC)

    @classmethod
    def init(cls, channels: int, momentum: float = 0.1, eps: float = 1e-5, dtype: Any = "float64") -> BatchNorm:
        """Ones as scale, zeros as shift."""
        return cls(np.ones(channels, dtype), np.zeros(channels, dtype), momentum, eps)

    def statistics(self) -> dict[str, Any]:
        """Mean 0 and variance 1 of each channel."""
        return {"mean": ar.full_like(self.scale, fill=0), "variance": ar.full_like(self.scale, fill=1)}

    def train(self, x: Any, statistics: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """x normalised by its own mean and variance, and the statistics moved towards those.

        Raises:
            ShapeError: there is but one value per channel.
            SymbolError: it is not known how many axes x has.
        """
        axes = (0, *range(2, self._rank(x)))
        count = ar.size(x, axis=None) / ar.size(self.scale, axis=None)
        if type(count) is float and count <= 1:
            raise ShapeError("BatchNorm: training needs more than one value per channel")
        mean = fn.mean(x, axes)
        centred = x - self._spread(mean, x)
        variance = fn.mean(centred * centred, axes)
        seen = {"mean": mean, "variance": variance * (count / (count - 1))}
        moved = {name: old + self.momentum * (ew.stop_gradient(seen[name]) - old) for name, old in statistics.items()}
        return self._scaled(centred, variance, x), moved

    def __call__(self, x: Any, statistics: dict[str, Any]) -> Any:
        """x normalised by the statistics."""
        return self._scaled(x - self._spread(statistics["mean"], x), statistics["variance"], x)

    def _scaled(self, centred: Any, variance: Any, x: Any) -> Any:
        factor = self.scale / ew.sqrt(variance + self.eps)
        return centred * self._spread(factor, x) + self._spread(self.shift, x)

    def _spread(self, channel: Any, x: Any) -> Any:
        """A number per channel beside x."""
        behind = self._rank(x) - 2
        return ar.expand_dims(channel, axis=tuple(range(1, behind + 1))) if behind else channel

    @staticmethod
    def _rank(x: Any) -> int:
        found = ar.rank(x)
        if found is None:
            raise SymbolError(f"BatchNorm: declare the shape of {x!r}")
        if found < 2:
            raise ShapeError(f"BatchNorm: values are (batch, channels, ...), got {found} axes")
        return found


@dataclasses.dataclass(frozen=True, eq=False)
class Dropout:
    """Training: ``drop(x, key)`` sets elements to 0; otherwise ``drop(x)`` is x. See :func:`symgraph.nn.dropout`.

    >>> import numpy as np, symgraph as sg
    >>> drop = sg.nn.Dropout(0.5)
    >>> drop(np.ones(4)), drop(np.ones(4), sg.random.key(1))
    (array([1., 1., 1., 1.]), array([0., 2., 0., 0.]))
    """

    rate: float = dataclasses.field(default=0.5, metadata=STATIC)

    def __call__(self, x: Any, key: Any = None) -> Any:
        return x if key is None else fl.dropout(key, x, self.rate)


@dataclasses.dataclass(frozen=True, eq=False)
class Embedding:
    """A row of a table for each integer.

    >>> import numpy as np, symgraph as sg
    >>> sg.nn.Embedding.init(sg.random.key(0), 10, 4)(np.array([[1, 2, 1]])).shape
    (1, 3, 4)
    """

    table: Any

    @classmethod
    def init(
        cls, key: Any, count: int, features: int, *, weights: first.Initialiser | None = None, dtype: Any = "float64"
    ) -> Embedding:
        """Normal numbers of standard deviation 1, unless another rule is given."""
        return cls((weights or first.normal(1.0))(key, (count, features), dtype))

    def __call__(self, indices: Any) -> Any:
        return ar.take(self.table, indices if hasattr(indices, "_mode") else np.asarray(indices), axis=0)


@dataclasses.dataclass(frozen=True, eq=False)
class Attention:
    """Attention of several heads, between (..., n, features) and itself or another; see :func:`symgraph.nn.attention`.

    >>> import numpy as np, symgraph as sg
    >>> layer = sg.nn.Attention.init(sg.random.key(0), 8, heads=2)
    >>> layer(np.ones((3, 5, 8)), causal=True).shape
    (3, 5, 8)
    """

    query: Linear
    key: Linear
    value: Linear
    out: Linear
    heads: int = dataclasses.field(default=1, metadata=STATIC)

    @classmethod
    def init(
        cls,
        key: Any,
        features: int,
        heads: int = 1,
        *,
        bias: bool = True,
        weights: first.Initialiser | None = None,
        dtype: Any = "float64",
    ) -> Attention:
        """Four square layers, with weights by Glorot's rule unless another is given."""
        if features % heads:
            raise ValueError(f"Attention: {features} features do not make {heads} heads")
        q, k, v, out = (
            Linear.init(one, features, features, bias=bias, weights=weights, dtype=dtype)
            for one in random.split(key, 4)
        )
        return cls(q, k, v, out, heads)

    def __call__(self, x: Any, other: Any = None, *, mask: Any = None, causal: bool = False) -> Any:
        other = x if other is None else other
        q, k, v = (
            fl.heads_apart(part(values), self.heads)
            for part, values in ((self.query, x), (self.key, other), (self.value, other))
        )
        return self.out(fl.heads_together(fl.attention(q, k, v, mask, causal)))

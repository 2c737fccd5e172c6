"""Recurrent layers: one cell carried over the first axis of its values by :func:`symgraph.scan`.

What a cell sees of x does not depend on its state, so it is one matrix product for all times, outside of the loop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from symgraph import control as cl, functions as fn, random
from symgraph.errors import ShapeError, SymbolError
from symgraph.nn import initialisers as first
from symgraph.nn.activations import relu
from symgraph.ops import array as ar, elementwise as ew
from symgraph.tree import STATIC
from symgraph.types import Opaque, format_shape

UNITS: dict[str, Callable[[Any], Any]] = {"tanh": ew.tanh, "relu": relu}


def _parts(values: Any, count: int) -> list[Any]:
    """(..., count * units) as count values (..., units)."""
    return list(fn.split(values, count, axis=-1))


def _weights(
    key: Any, inputs: int, units: int, gates: int, weights: first.Initialiser | None, dtype: Any
) -> tuple[Any, Any]:
    """Of x and of the state, for the gates side by side, each drawn as the matrix of one gate."""
    draw = weights or first.glorot()
    keys = random.split(key, 2 * gates)
    x = [draw(k, (inputs, units), dtype) for k in keys[:gates]]
    state = [draw(k, (units, units), dtype) for k in keys[gates:]]
    return np.concatenate(x, axis=1), np.concatenate(state, axis=1)


class _Recurrent:
    """What the layers share: the product before the loop, the first state, and the loop."""

    weight: Any
    recurrent: Any
    bias: Any

    def cell(self, seen: Any, state: Any) -> tuple[Any, Any]:
        """The next state, and what of it the layer gives, from what is seen of x (batch, gates * units)."""
        raise NotImplementedError(f"{type(self).__name__} has no cell")

    def first_state(self, zeros: Any) -> Any:
        """The state of zeros (batch, units)."""
        return zeros

    def __call__(self, x: Any, state: Any = None, *, reverse: bool = False) -> tuple[Any, Any]:
        """The outputs of all times, and the last state.

        Args:
            x: (time, batch, features).
            state: the first one: (batch, units), of an LSTM two of them; zeros by default.
            reverse: from the last time to the first.

        Returns:
            Outputs (time, batch, units), and the last state.

        Raises:
            ShapeError: x has not three axes, or shapes do not go together.
            SymbolError: the shape of a symbol is not declared (sizes may be names).
        """
        kind, units = ar.type_of(x), ar.type_of(self.recurrent).shape
        if isinstance(kind.shape, Opaque) or isinstance(units, Opaque):
            raise SymbolError(f"{type(self).__name__}: declare the shape of {x!r}")
        if len(kind.shape) != 3:
            raise ShapeError(
                f"{type(self).__name__}: values are (time, batch, features), got {format_shape(kind.shape)}"
            )
        seen = ar.matmul(x, self.weight)
        seen = seen if self.bias is None else seen + self.bias
        if state is None:
            dtype = ar.type_of(seen).dtype
            zero: Any = np.zeros((), np.float64 if dtype is None else dtype)
            if getattr(x, "type", None) is not None:
                zero = ar.lift(zero)
            state = self.first_state(ar.broadcast_to(zero, shape=(kind.shape[1], units[0])))
        last, outputs = cl.scan(lambda state, seen: self.cell(seen, state), state, seen, reverse=reverse)
        return outputs, last


@dataclasses.dataclass(frozen=True, eq=False)
class RNN(_Recurrent):
    """h = unit(x @ weight + bias + h @ recurrent), over time.

    Attributes:
        weight: (features, units).
        recurrent: (units, units).
        bias: (units,), or None.
        unit: "tanh" or "relu".

    Source: Elman, "Finding structure in time" (Cognitive Science 14, 1990).

    >>> import numpy as np, symgraph as sg
    >>> layer = sg.nn.RNN.init(sg.random.key(0), 3, 4)
    >>> outputs, state = layer(np.ones((7, 2, 3)))
    >>> outputs.shape, state.shape
    ((7, 2, 4), (2, 4))
    """

    weight: Any
    recurrent: Any
    bias: Any = None
    unit: str = dataclasses.field(default="tanh", metadata=STATIC)

    @classmethod
    def init(
        cls,
        key: Any,
        inputs: int,
        units: int,
        *,
        unit: str = "tanh",
        bias: bool = True,
        weights: first.Initialiser | None = None,
        dtype: Any = "float64",
    ) -> RNN:
        """Weights by Glorot's rule unless another is given, and zeros as bias.

        Raises:
            ValueError: the unit is not known.
        """
        if unit not in UNITS:
            raise ValueError(f"RNN: unit is 'tanh' or 'relu', got {unit!r}")
        weight, recurrent = _weights(key, inputs, units, 1, weights, dtype)
        return cls(weight, recurrent, np.zeros(units, dtype) if bias else None, unit)

    def cell(self, seen: Any, state: Any) -> tuple[Any, Any]:
        h = UNITS[self.unit](seen + ar.matmul(state, self.recurrent))
        return h, h


@dataclasses.dataclass(frozen=True, eq=False)
class GRU(_Recurrent):
    """A state that gates keep or replace: h = (1 - z) * n + z * h, over time.

    The gates r and z are sigmoids of x and h; n is tanh of x and of what r lets through of h: with unit "after",
    ``r * (h @ recurrent + state_bias)``, with unit "before", ``(r * h) @ recurrent + state_bias``.

    Attributes:
        weight: (features, 3 * units), for r, z and n side by side.
        recurrent: (units, 3 * units).
        bias: (3 * units,), or None.
        state_bias: (units,), or None.
        unit: "after" or "before", where the gate r acts.

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder" (EMNLP 2014), as printed with unit
    "before", in its first preprint "after".

    >>> import numpy as np, symgraph as sg
    >>> layer = sg.nn.GRU.init(sg.random.key(0), 3, 4)
    >>> outputs, state = layer(np.ones((7, 2, 3)))
    >>> outputs.shape, state.shape
    ((7, 2, 4), (2, 4))
    """

    weight: Any
    recurrent: Any
    bias: Any = None
    state_bias: Any = None
    unit: str = dataclasses.field(default="after", metadata=STATIC)

    @classmethod
    def init(
        cls,
        key: Any,
        inputs: int,
        units: int,
        *,
        unit: str = "after",
        bias: bool = True,
        weights: first.Initialiser | None = None,
        dtype: Any = "float64",
    ) -> GRU:
        """Weights by Glorot's rule unless another is given, and zeros as biases.

        Raises:
            ValueError: the unit is not known.
        """
        if unit not in ("after", "before"):
            raise ValueError(f"GRU: unit is 'after' or 'before', got {unit!r}")
        weight, recurrent = _weights(key, inputs, units, 3, weights, dtype)
        if not bias:
            return cls(weight, recurrent, unit=unit)
        return cls(weight, recurrent, np.zeros(3 * units, dtype), np.zeros(units, dtype), unit)

    def cell(self, seen: Any, state: Any) -> tuple[Any, Any]:
        seen_r, seen_z, seen_n = _parts(seen, 3)
        if self.unit == "after":
            of_r, of_z, of_n = _parts(ar.matmul(state, self.recurrent), 3)
            r = ew.expit(seen_r + of_r)
            let_through = r * self._shifted(of_n)
        else:
            w_r, w_z, w_n = _parts(self.recurrent, 3)
            r, of_z = ew.expit(seen_r + ar.matmul(state, w_r)), ar.matmul(state, w_z)
            let_through = self._shifted(ar.matmul(r * state, w_n))
        z, n = ew.expit(seen_z + of_z), ew.tanh(seen_n + let_through)
        h = n + z * (state - n)
        return h, h

    def _shifted(self, x: Any) -> Any:
        return x if self.state_bias is None else x + self.state_bias


@dataclasses.dataclass(frozen=True, eq=False)
class LSTM(_Recurrent):
    """A memory that gates write, keep and show: c = f * c + i * g, h = o * tanh(c), over time; the state is (h, c).

    The gates i, f and o are sigmoids of x and h, g is tanh of them.

    Attributes:
        weight: (features, 4 * units), for i, f, g and o side by side.
        recurrent: (units, 4 * units).
        bias: (4 * units,), or None.

    Source: Hochreiter and Schmidhuber, "Long short-term memory" (Neural Computation 9, 1997); the gate f: Gers,
    Schmidhuber and Cummins, "Learning to forget" (Neural Computation 12, 2000).

    >>> import numpy as np, symgraph as sg
    >>> layer = sg.nn.LSTM.init(sg.random.key(0), 3, 4)
    >>> outputs, (h, c) = layer(np.ones((7, 2, 3)))
    >>> outputs.shape, h.shape, c.shape
    ((7, 2, 4), (2, 4), (2, 4))
    """

    weight: Any
    recurrent: Any
    bias: Any = None

    @classmethod
    def init(
        cls,
        key: Any,
        inputs: int,
        units: int,
        *,
        forget: float = 1.0,
        bias: bool = True,
        weights: first.Initialiser | None = None,
        dtype: Any = "float64",
    ) -> LSTM:
        """Weights by Glorot's rule unless another is given; zeros as bias, but `forget` for the gate f, so that the
        memory is kept at first."""
        weight, recurrent = _weights(key, inputs, units, 4, weights, dtype)
        if not bias:
            return cls(weight, recurrent)
        return cls(weight, recurrent, np.repeat(np.array([0.0, forget, 0.0, 0.0], dtype), units))

    def first_state(self, zeros: Any) -> Any:
        return zeros, zeros

    def cell(self, seen: Any, state: Any) -> tuple[Any, Any]:
        h, c = state
        i, f, g, o = _parts(seen + ar.matmul(h, self.recurrent), 4)
        c = ew.expit(f) * c + ew.expit(i) * ew.tanh(g)
        h = ew.expit(o) * ew.tanh(c)
        return (h, c), h

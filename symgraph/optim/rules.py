"""Optimisers of first order: what moves one parameter, and what it remembers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph import functions as fn, tree
from symgraph.errors import SymbolError
from symgraph.ops import array as ar, elementwise as ew, reduction as rd

Slots = dict[str, Any]


def in_dtype(value: Any, like: Any) -> Any:
    """A number in the dtype of `like`, so that parameters keep theirs."""
    if type(value) in (int, float):
        return value
    dtype = ar.type_of(like).dtype
    if dtype is None:
        raise SymbolError(f"optim: declare the dtype of {like!r}, or make placeholders with sg.tree.placeholders")
    return fn.astype(value, dtype)


def total(terms: Any) -> Any:
    """The sum of values."""
    total: Any = None
    for term in terms:
        total = term if total is None else total + term
    return total


def inner(left: Sequence[Any], right: Sequence[Any]) -> Any:
    """The sum of products of the elements of two lists of values."""
    return total(rd.sum(a * b, axis=None, keepdims=False) for a, b in zip(left, right, strict=True))


@dataclasses.dataclass(frozen=True)
class Optimiser:
    """What all rules share; a rule moves one parameter, and its slots are what it remembers of it.

    Attributes:
        lr: the step size: a number, a value of any mode, or a schedule: a function of the number of steps done.
        weight_decay: this times the parameter is added to its gradient; what AdamW and Lion do with it they say.
    """

    lr: Any = 1e-3
    weight_decay: float = dataclasses.field(default=0.0, kw_only=True)

    def slots(self) -> tuple[str, ...]:
        """The names of what is remembered of each parameter, zeros at first."""
        return ()

    def rule(self, p: Any, g: Any, slots: Slots, lr: Any, step: Any) -> tuple[Any, Slots]:
        """A parameter and its slots after the step of this number, counted from 1."""
        raise NotImplementedError(f"{type(self).__name__} has no rule")

    def init(self, params: Any) -> Any:
        """The state before the first step: a tree of arrays, made of the parameters' shapes and dtypes."""
        return {
            "step": np.zeros((), np.int64),
            **{name: tree.map(lambda p: ar.full_like(p, fill=0), params) for name in self.slots()},
        }

    def update(self, params: Any, grads: Any, state: Any) -> tuple[Any, Any]:
        """The parameters and the state after one step.

        Args:
            params: a tree of values (:mod:`symgraph.tree`): arrays, Variables or symbols of declared dtype.
            grads: a tree of the same structure.
            state: what `init` or the last step gave.

        Raises:
            ShapeError: the trees have different structures.
        """
        count = state["step"]
        lr = self.lr(count) if callable(self.lr) else self.lr
        names = self.slots()
        moved: dict[str, list[Any]] = {name: [] for name in names}

        def one(p: Any, g: Any, *held: Any) -> Any:
            p, slots = self.rule(
                p, self._decayed(p, g), dict(zip(names, held, strict=True)), in_dtype(lr, p), count + 1
            )
            for name in names:
                moved[name].append(slots[name])
            return p

        params = tree.map(one, params, grads, *(state[name] for name in names))
        _, structure = tree.flatten(params)
        slots = {name: tree.unflatten(structure, iter(values)) for name, values in moved.items()}
        return params, {"step": count + 1, **slots}

    def _decayed(self, p: Any, g: Any) -> Any:
        return g + self.weight_decay * p if self.weight_decay else g


@dataclasses.dataclass(frozen=True)
class SGD(Optimiser):
    """Gradient descent: v = momentum * v + g; p - lr * v, or, after Nesterov, p - lr * (g + momentum * v).

    Source: Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum in deep learning"
    (ICML 2013), with the step size outside of the velocity.

    >>> import numpy as np, symgraph as sg
    >>> opt = sg.optim.SGD(0.5)
    >>> opt.update(np.array([1.0]), np.array([0.2]), opt.init(np.array([1.0])))[0]
    array([0.9])
    """

    lr: Any = 1e-2
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise ValueError("SGD: nesterov=True needs a momentum above 0")

    def slots(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def rule(self, p: Any, g: Any, slots: Slots, lr: Any, step: Any) -> tuple[Any, Slots]:
        if not self.momentum:
            return p - lr * g, slots
        v = self.momentum * slots["velocity"] + g
        return p - lr * (g + self.momentum * v if self.nesterov else v), {"velocity": v}


@dataclasses.dataclass(frozen=True)
class AdaGrad(Optimiser):
    """Steps divided by the root of all squared gradients so far.

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning" (JMLR 12, 2011).

    >>> import numpy as np, symgraph as sg
    >>> opt, p = sg.optim.AdaGrad(lr=0.1), np.array([1.0, -2.0])
    >>> opt.update(p, 2 * p, opt.init(p))[0]
    array([ 0.9, -1.9])
    """

    lr: Any = 1e-2
    eps: float = 1e-10

    def slots(self) -> tuple[str, ...]:
        return ("squares",)

    def rule(self, p: Any, g: Any, slots: Slots, lr: Any, step: Any) -> tuple[Any, Slots]:
        squares = slots["squares"] + g * g
        return p - lr * g / (ew.sqrt(squares) + self.eps), {"squares": squares}


@dataclasses.dataclass(frozen=True)
class RMSprop(Optimiser):
    """Steps divided by the root of a running mean of squared gradients.

    Source: Tieleman and Hinton, "Neural networks for machine learning", lecture 6.5 (2012).

    >>> import numpy as np, symgraph as sg
    >>> opt, p = sg.optim.RMSprop(lr=0.1), np.array([1.0, -2.0])
    >>> opt.update(p, 2 * p, opt.init(p))[0]
    array([ 0.68377224, -1.68377224])
    """

    lr: Any = 1e-3
    decay: float = 0.9
    eps: float = 1e-8
    momentum: float = 0.0

    def slots(self) -> tuple[str, ...]:
        return ("squares", "velocity") if self.momentum else ("squares",)

    def rule(self, p: Any, g: Any, slots: Slots, lr: Any, step: Any) -> tuple[Any, Slots]:
        squares = self.decay * slots["squares"] + (1 - self.decay) * (g * g)
        move = g / (ew.sqrt(squares) + self.eps)
        if not self.momentum:
            return p - lr * move, {"squares": squares}
        v = self.momentum * slots["velocity"] + move
        return p - lr * v, {"squares": squares, "velocity": v}


@dataclasses.dataclass(frozen=True)
class Adam(Optimiser):
    """Running means of gradients and of their squares, both corrected for their start at zero.

    Source: Kingma and Ba, "Adam: a method for stochastic optimization" (ICLR 2015), algorithm 1.

    >>> import numpy as np, symgraph as sg
    >>> opt = sg.optim.Adam(lr=0.1)
    >>> params, state = opt.update([np.array([1.0])], [np.array([3.0])], opt.init([np.array([1.0])]))
    >>> params
    [array([0.9])]
    """

    lr: Any = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def slots(self) -> tuple[str, ...]:
        return ("mean", "squares")

    def rule(self, p: Any, g: Any, slots: Slots, lr: Any, step: Any) -> tuple[Any, Slots]:
        mean = self.beta1 * slots["mean"] + (1 - self.beta1) * g
        squares = self.beta2 * slots["squares"] + (1 - self.beta2) * (g * g)
        first, second = (in_dtype(1 - ew.power(np.float64(beta), step), p) for beta in (self.beta1, self.beta2))
        move = (mean / first) / (ew.sqrt(squares / second) + self.eps)
        return self._moved(p, move, lr), {"mean": mean, "squares": squares}

    def _moved(self, p: Any, move: Any, lr: Any) -> Any:
        return p - lr * move


@dataclasses.dataclass(frozen=True)
class AdamW(Adam):
    """Adam in which the decay of weights, times lr, acts on the parameter and not through its gradient.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization" (ICLR 2019), algorithm 2.

    >>> import numpy as np, symgraph as sg
    >>> opt, p = sg.optim.AdamW(lr=0.1, weight_decay=0.5), np.array([1.0, -2.0])
    >>> opt.update(p, 2 * p, opt.init(p))[0]
    array([ 0.85, -1.8 ])
    """

    weight_decay: float = dataclasses.field(default=1e-2, kw_only=True)

    def _decayed(self, p: Any, g: Any) -> Any:
        return g

    def _moved(self, p: Any, move: Any, lr: Any) -> Any:
        return p - lr * (move + self.weight_decay * p)


@dataclasses.dataclass(frozen=True)
class Lion(Optimiser):
    """Steps of one size, in the sign of a running mean; the decay of weights acts on the parameter.

    Source: Chen et al., "Symbolic discovery of optimization algorithms" (NeurIPS 2023), algorithm 2.

    >>> import numpy as np, symgraph as sg
    >>> opt, p = sg.optim.Lion(lr=0.1), np.array([1.0, -2.0])
    >>> opt.update(p, 2 * p, opt.init(p))[0]
    array([ 0.9, -1.9])
    """

    lr: Any = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99

    def slots(self) -> tuple[str, ...]:
        return ("mean",)

    def _decayed(self, p: Any, g: Any) -> Any:
        return g

    def rule(self, p: Any, g: Any, slots: Slots, lr: Any, step: Any) -> tuple[Any, Slots]:
        mean = slots["mean"]
        move = ew.sign(self.beta1 * mean + (1 - self.beta1) * g)
        if self.weight_decay:
            move = move + self.weight_decay * p
        return p - lr * move, {"mean": self.beta2 * mean + (1 - self.beta2) * g}

"""Functions of trees as functions of one vector: what optimisers of other libraries take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symgraph import tree
from symgraph.errors import ShapeError
from symgraph.expr import as_expr, placeholder
from symgraph.grad import grad
from symgraph.ops import reduction as rd
from symgraph.types import Opaque

VECTOR, DIRECTION = "packed", "along"
"""The names of the vector, and of what its Hessian is multiplied by; data have other names."""


class Packed:
    """A scalar function of a tree as a compiled function of a vector. Made by :func:`packed`.

    Its methods take the vector first, and values of the function's other placeholders by name.

    Attributes:
        start: the tree that it was made with, as a vector.
        unpack: from a vector to a tree; see :func:`symgraph.tree.pack`.
    """

    def __init__(self, function: Callable[[Any], Any], params: Any) -> None:
        import symgraph as sg  # whose door to the compiler opens when it is used

        start, self.unpack = tree.pack(params)
        self.start = np.asarray(start, np.float64)
        v, along = (placeholder(name, self.start.shape, np.float64) for name in (VECTOR, DIRECTION))
        value = as_expr(function(self.unpack(v)))
        shape = value.type.shape
        if not isinstance(shape, Opaque) and shape != ():
            raise ShapeError(f"packed: the function must give one number, got {value.type}")
        (slope,) = grad(value, [v])
        self._value, self._slope = sg.compile(value), sg.compile(slope)
        self._both = sg.compile((value, slope))
        self._turned = sg.compile(grad(rd.sum(slope * along, axis=None, keepdims=False), [v])[0])

    def fun(self, vector: Any, **data: Any) -> Any:
        """The value."""
        return self._value(**{VECTOR: vector}, **data)

    def jac(self, vector: Any, **data: Any) -> Any:
        """The gradient, a vector."""
        return self._slope(**{VECTOR: vector}, **data)

    def fun_and_jac(self, vector: Any, **data: Any) -> tuple[Any, Any]:
        """Both, by one kernel: for ``scipy.optimize.minimize(..., jac=True)``."""
        value, slope = self._both(**{VECTOR: vector}, **data)
        return value, slope

    def hessp(self, vector: Any, direction: Any, **data: Any) -> Any:
        """The Hessian times a vector, without the Hessian."""
        return self._turned(**{VECTOR: vector, DIRECTION: direction}, **data)


def packed(function: Callable[[Any], Any], params: Any) -> Packed:
    """A function of a tree as a function of one vector, with gradient and Hessian-vector product.

    Args:
        function: from a tree of symbols to a scalar formula; it may use other placeholders.
        params: a tree of arrays, for structure and shapes, and as the place to start from.

    Raises:
        ShapeError: the function gives more than a number.
        SymbolError: the shapes of `params` are not known.

    >>> import numpy as np, symgraph as sg
    >>> bowl = sg.packed(lambda p: (p["x"] - 1) ** 2 + p["x"] * p["y"] ** 2, {"x": 0.0, "y": 2.0})
    >>> bowl.fun_and_jac(bowl.start)
    (np.float64(1.0), array([2., 0.]))
    >>> bowl.hessp(bowl.start, np.array([1.0, 0.0]))
    array([2., 4.])
    >>> bowl.unpack(np.array([1.0, 0.0]))
    {'x': np.float64(1.0), 'y': np.float64(0.0)}
    """
    return Packed(function, params)

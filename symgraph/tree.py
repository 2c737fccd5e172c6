"""Nested tuples, lists, dicts and dataclasses of values: taken apart and put together again."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from symgraph.errors import ShapeError, SymbolError


class Leaf:
    """Marks the place of a value in a structure."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "*"

    def __reduce__(self) -> str:
        return "LEAF"


LEAF = Leaf()


STATIC = {"static": True}
"""The metadata of a dataclass's field that holds a setting, and not values: it belongs to the structure."""


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """The values in order, and the structure they stood in.

    Dicts are in the order of their keys' insertion, dataclasses in that of their fields, without those that are None
    or whose metadata is STATIC.

    >>> flatten({"loss": 1, "parts": (2, 3)})
    ([1, 2, 3], {'loss': *, 'parts': (*, *)})
    >>> @dataclasses.dataclass
    ... class Scaled:
    ...     factor: object
    ...     power: int = dataclasses.field(default=2, metadata=STATIC)
    >>> flatten(Scaled(3.0))
    ([3.0], Scaled(factor=*, power=2))
    """
    parts = _parts(tree)
    if parts is None:
        return [tree], LEAF
    flat = [flatten(part) for part in parts.values()]
    return [v for values, _ in flat for v in values], _like(tree, dict(zip(parts, (s for _, s in flat), strict=True)))


def unflatten(structure: Any, values: Any) -> Any:
    """The structure with values in its places.

    >>> unflatten([LEAF, LEAF], iter([1, 2]))
    [1, 2]
    """
    if structure is LEAF:
        return next(values)
    parts = _parts(structure)
    assert parts is not None
    return _like(structure, {key: unflatten(part, values) for key, part in parts.items()})


def _parts(tree: Any) -> dict[Any, Any] | None:
    """What a node of the structure is made of, by key; None for a value."""
    if isinstance(tree, dict):
        return tree
    if isinstance(tree, list | tuple):
        return dict(enumerate(tree))
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        values = {f.name: getattr(tree, f.name) for f in dataclasses.fields(tree) if "static" not in f.metadata}
        return {name: value for name, value in values.items() if value is not None}
    return None


def _like(tree: Any, parts: dict[Any, Any]) -> Any:
    """The same node with other parts."""
    if isinstance(tree, dict):
        return parts
    if isinstance(tree, list):
        return list(parts.values())
    if isinstance(tree, tuple):
        return type(tree)(*parts.values()) if hasattr(tree, "_fields") else tuple(parts.values())
    made = object.__new__(type(tree))  # __init__ may compute, and a structure holds no values to compute with
    for f in dataclasses.fields(tree):
        object.__setattr__(made, f.name, parts[f.name] if f.name in parts else getattr(tree, f.name))
    return made


def map(function: Callable[..., Any], tree: Any, *others: Any) -> Any:  # noqa: A001
    """The tree with `function` applied to each value, and to those of the other trees in the same places.

    Raises:
        ShapeError: the trees have different structures.

    >>> map(lambda a, b: a + b, {"x": 1, "y": [2]}, {"x": 10, "y": [20]})
    {'x': 11, 'y': [22]}
    """
    values, structure = flatten(tree)
    columns = [values]
    for other in others:
        some, found = flatten(other)
        if not _alike(structure, found):
            raise ShapeError(f"tree.map: structures differ: {structure!r} and {found!r}")
        columns.append(some)
    return unflatten(structure, iter([function(*row) for row in zip(*columns, strict=True)]))


def _alike(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    parts, others = _parts(a), _parts(b)
    if parts is None or others is None:
        return a is b
    return parts.keys() == others.keys() and all(_alike(parts[key], others[key]) for key in parts)


# -- trees of symbols --------------------------------------------------------------------------------------------------


def placeholders(prefix: str, tree: Any) -> Any:
    """A placeholder for each value, declared as the value is, and named by its place in the tree.

    >>> import numpy as np
    >>> placeholders("w", {"bias": np.zeros(3), "more": [1.0]})
    {'bias': w_bias, 'more': [w_more_0]}
    """
    from symgraph.expr import placeholder  # trees are part of what expressions are built with
    from symgraph.ops.array import type_of

    values, structure = flatten(tree)
    types = [type_of(v) for v in values]
    made = [placeholder(n, t.shape, t.dtype) for n, t in zip(_names(prefix, tree), types, strict=True)]
    return unflatten(structure, iter(made))


def parameters(prefix: str, tree: Any) -> Any:
    """A parameter (:func:`symgraph.parameter`) for each value, named by its place in the tree.

    >>> import numpy as np
    >>> net = parameters("net", {"bias": np.zeros(3), "more": [1.0]})
    >>> net
    {'bias': <parameter net_bias: float64(3,)>, 'more': [<parameter net_more_0: float64()>]}
    """
    from symgraph.state import parameter  # trees are part of what expressions are built with

    values, structure = flatten(tree)
    return unflatten(structure, iter([parameter(n, v) for n, v in zip(_names(prefix, tree), values, strict=True)]))


def values(tree: Any) -> Any:
    """The values of a tree of parameters, as they are now.

    >>> values(parameters("net", [1.0, [2.0]]))
    [np.float64(1.0), [np.float64(2.0)]]
    """
    return map(lambda p: p.value, tree)


def _names(prefix: str, tree: Any) -> Iterator[str]:
    """A name for each value, from its place in the tree; no two are alike."""
    taken: set[str] = set()
    for path in _paths(tree):
        name = "_".join([prefix, *(re.sub(r"\W", "_", str(key)) for key in path)])
        while name in taken:
            name += "_"
        taken.add(name)
        yield name


def _paths(tree: Any) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to each value."""
    parts = _parts(tree)
    if parts is None:
        yield ()
        return
    for key, part in parts.items():
        yield from ((key, *path) for path in _paths(part))


def arguments(symbols: Any, values: Any) -> dict[str, Any]:
    """Keywords for a compiled function: a tree of values, by the names of a tree of placeholders.

    Raises:
        ShapeError: the trees have different structures.

    >>> symbols = placeholders("w", (1.0, 2.0))
    >>> arguments(symbols, (3.0, 4.0))
    {'w_0': 3.0, 'w_1': 4.0}
    """
    found: dict[str, Any] = {}
    map(lambda symbol, value: found.update({symbol.name: value}), symbols, values)
    return found


# -- trees as vectors --------------------------------------------------------------------------------------------------


def pack(tree: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The values one after another in a vector, and the function that makes a tree of a vector again.

    That function takes arrays, Variables and symbols. The vector is of the dtype that holds all values.

    Raises:
        SymbolError: a size is not a known number.

    >>> import numpy as np
    >>> vector, unpack = pack({"w": np.ones((2, 2)), "b": 0.5})
    >>> vector
    array([1. , 1. , 1. , 1. , 0.5])
    >>> unpack(vector * 2)
    {'w': array([[2., 2.], [2., 2.]]), 'b': np.float64(1.0)}
    """
    from symgraph import functions as fn  # which are made of trees
    from symgraph.ops.array import type_of

    flat, structure = flatten(tree)
    shapes = [type_of(value).shape for value in flat]
    if not all(isinstance(shape, tuple) and all(isinstance(size, int) for size in shape) for shape in shapes):
        raise SymbolError("tree.pack: the shapes of the values must be known numbers")
    ends = list(itertools.accumulate((math.prod(shape) for shape in shapes), initial=0))  # type: ignore[arg-type]

    def unpack(vector: Any) -> Any:
        """The tree of a vector's elements.

        Raises:
            ShapeError: the vector has another length.
        """
        if type_of(vector).shape not in ((ends[-1],), None):
            raise ShapeError(f"tree.pack: the tree holds {ends[-1]} elements, got {type_of(vector)}")
        parts = [
            fn.reshape(vector[low:high], shape) if shape else vector[low]
            for low, high, shape in zip(ends, ends[1:], shapes, strict=False)
        ]
        return unflatten(structure, iter(parts))

    return fn.concatenate([fn.ravel(value) for value in flat]), unpack

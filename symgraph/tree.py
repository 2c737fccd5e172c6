"""Nested tuples, lists and dicts of values: taken apart and put together again."""

from __future__ import annotations

from typing import Any


class Leaf:
    """Marks the place of a value in a structure."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "*"

    def __reduce__(self) -> str:
        return "LEAF"


LEAF = Leaf()


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """The values in order, and the structure they stood in (dicts in the order of their keys' insertion).

    >>> flatten({"loss": 1, "parts": (2, 3)})
    ([1, 2, 3], {'loss': *, 'parts': (*, *)})
    """
    if isinstance(tree, dict):
        parts = {key: flatten(value) for key, value in tree.items()}
        return [v for values, _ in parts.values() for v in values], {k: s for k, (_, s) in parts.items()}
    if isinstance(tree, list | tuple):
        flat = [flatten(value) for value in tree]
        values = [v for some, _ in flat for v in some]
        shapes = [s for _, s in flat]
        if hasattr(tree, "_fields"):
            return values, type(tree)(*shapes)
        return values, (shapes if isinstance(tree, list) else tuple(shapes))
    return [tree], LEAF


def unflatten(structure: Any, values: Any) -> Any:
    """The structure with values in its places.

    >>> unflatten([LEAF, LEAF], iter([1, 2]))
    [1, 2]
    """
    if structure is LEAF:
        return next(values)
    if isinstance(structure, dict):
        return {key: unflatten(part, values) for key, part in structure.items()}
    parts = [unflatten(part, values) for part in structure]
    if hasattr(structure, "_fields"):
        return type(structure)(*parts)
    return parts if isinstance(structure, list) else tuple(parts)

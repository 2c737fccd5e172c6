"""Small arrays in the bodies of loops become numbers, which live in registers.

An array of a fixed shape with few elements is taken apart: every operation on it becomes operations on its elements.
That is done where it can be done for all that a body computes, so that no array is left but those that it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from symgraph.expr import Expr, as_expr
from symgraph.ops import array as ar, control as ct, elementwise as ew
from symgraph.types import ArrayType, Opaque

SMALL, MOST = 16, 2000
"""Elements of an array that is taken apart, at most; and operations that this may make."""

Elements = np.ndarray[Any, Any]
"""The elements of an array, as an array of symbols."""


class _NotSmallError(Exception):
    """Something that is not taken apart."""


def is_small(kind: ArrayType) -> bool:
    """Whether an array is taken apart."""
    shape = kind.shape
    if isinstance(shape, Opaque) or not shape or not all(isinstance(s, int) for s in shape):
        return False
    return 0 < int(np.prod(shape)) <= SMALL  # type: ignore[arg-type]


def taken_apart(order: Sequence[Expr], given: Mapping[Expr, Elements]) -> dict[Expr, Elements] | None:
    """The elements of every node of a body; None where one cannot be taken apart.

    Args:
        order: the nodes, arguments before users.
        given: the elements of the parameters that are small arrays.
    """
    found: dict[Expr, Elements] = dict(given)
    if not any(node.type.shape != () for node in order if node.op.kind != "control"):
        return None
    count = 0
    try:
        for node in order:
            if node in found:
                continue
            found[node] = _elements(node, found)
            count += found[node].size
            if count > MOST:
                return None
    except _NotSmallError:
        return None
    return found


def whole(elements: Elements, shape: tuple[int, ...]) -> Expr:
    """The array of these elements."""
    parts = [ar.reshape(e, shape=(1,)) for e in elements.flat]
    row = parts[0] if len(parts) == 1 else ar.concatenate(*parts, axis=0)
    return as_expr(row if shape == (len(parts),) else ar.reshape(row, shape=shape))


def of_array(x: Expr) -> Elements:
    """The elements of an array that is in memory."""
    shape: Any = x.type.shape
    return _filled(shape, lambda index: as_expr(ar.getitem(x, index=index)))


def _filled(shape: tuple[int, ...], element: Callable[[tuple[int, ...]], Expr]) -> Elements:
    made = np.empty(shape, object)
    for index in np.ndindex(*shape):
        made[index] = element(index)
    return made


def _elements(node: Expr, found: Mapping[Expr, Elements]) -> Elements:
    shape: Any = node.type.shape
    single = shape == () and all(a.type.shape == () for a in node.args)
    if node.op is not ct.switch and (node.op.kind in ("control", "part") or single):
        if not single:
            raise _NotSmallError
        given = tuple(_number(found[a]) for a in node.args)
        value = node if node.args == given else as_expr(node.op(*given, **node.params))
        return _filled((), lambda index: value)
    if shape and not is_small(node.type):
        if node.op.kind == "source":  # it is read element by element
            return np.empty(0, object)
        raise _NotSmallError
    if node.op is ar.constant:
        values = node.value
        return _filled(shape, lambda index: as_expr(values[index]))
    if node.op.kind == "source":
        if node.op is ar.bound:
            return of_array(node)
        raise _NotSmallError
    args = [_read(a, found) for a in node.args]
    if node.op.kind == "elementwise" or node.op is ct.switch:
        spread = np.broadcast_arrays(*args) if len({a.shape for a in args}) > 1 else args
        return _filled(shape, lambda index: as_expr(node.op(*(a[index] for a in spread), **node.params)))
    if node.op.kind in ("view", "contraction") or node.op is ar.concatenate:
        result = node.op.impl(*args, **node.params)  # NumPy's own, on arrays of symbols
        made = np.empty(shape, object)
        if shape:
            made[...] = np.asarray(result, object).reshape(shape)
        else:
            made[()] = result[()] if isinstance(result, np.ndarray) else result
        return made
    if node.op.kind == "reduction":
        return _reduced(node, args[0])
    if node.op is ar.embed:
        nothing = as_expr(np.zeros((), node.type.dtype)[()])
        made = _filled(shape, lambda index: nothing)
        written = args[0] if args[0].ndim else args[0][()]  # an array without axes would be stored itself
        made[ar.to_numpy_index(node.params["index"])] = written
        return made
    raise _NotSmallError


def _read(node: Expr, found: Mapping[Expr, Elements]) -> Elements:
    elements = found[node]
    if elements.size == 0 and node.type.shape:
        raise _NotSmallError  # all of a large array is wanted
    return elements


def _number(elements: Any) -> Expr:
    value: Expr = elements[()]
    return value


_COMBINE: dict[str, Callable[[Any, Any], Any]] = {
    "add": ew.add,
    "mul": ew.mul,
    "maximum": ew.maximum,
    "minimum": ew.minimum,
    "or": ew.logical_or,
    "and": ew.logical_and,
}


def _reduced(node: Expr, x: Elements) -> Elements:
    reducer, axes = node.op.lower, node.params["axis"]
    if reducer.init == "position" or reducer.combine not in _COMBINE:
        raise _NotSmallError
    dtype = node.type.dtype
    assert dtype is not None
    combine = _COMBINE[reducer.combine]
    kept = [a for a in range(x.ndim) if a not in axes]
    rows = np.transpose(x, (*kept, *axes)).reshape(*(x.shape[a] for a in kept), -1)

    def total(index: tuple[int, ...]) -> Expr:
        values = [e if e.type.dtype == dtype and not e.type.weak else ew.cast(e, dtype=dtype.str) for e in rows[index]]
        result = values[0]
        for value in values[1:]:
            result = combine(result, value)
        return as_expr(result)

    made = _filled(rows.shape[:-1], total)
    return made.reshape(node.type.shape)

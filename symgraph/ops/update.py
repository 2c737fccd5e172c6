"""Writing into an array, as an operation that gives the array after the write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from symgraph.errors import DTypeError, ShapeError
from symgraph.op import Op, register
from symgraph.ops import array as ar, elementwise as ew
from symgraph.types import ArrayType, Opaque, Shape, format_shape

Casting = Literal["unsafe", "same_kind"]


def _check_cast(given: np.dtype[Any], held: np.dtype[Any], casting: Casting) -> None:
    if not np.can_cast(given, held, casting):
        raise DTypeError(f"a result of {given} cannot be written into an array of {held}; write x = x + y, not x += y")


def _run(x: Any, v: Any, *, index: ar.Index, casting: Casting) -> Any:
    out, v = np.array(x), np.asarray(v)
    _check_cast(v.dtype, out.dtype, casting)
    out[ar.to_numpy_index(index)] = v
    return out[()]


def _part_shape(x: ArrayType, params: dict[str, Any]) -> Shape | Opaque:
    return ar.getitem.infer((x,), {"index": params["index"]}).shape


def _spreads(shape: Shape, part: Shape) -> bool:
    """Whether `shape` may broadcast to `part`; sizes that are not known yet are compared at the call."""
    return len(shape) <= len(part) and all(
        size in (1, whole) or not (isinstance(size, int) and isinstance(whole, int))
        for size, whole in zip(reversed(shape), reversed(part), strict=False)
    )


def _infer(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
    x, v = types
    part = _part_shape(x, params)
    if not isinstance(part, Opaque) and not isinstance(v.shape, Opaque) and not _spreads(v.shape, part):
        raise ShapeError(f"cannot write shape {format_shape(v.shape)} into a part of shape {format_shape(part)}")
    if x.dtype is not None and v.dtype is not None and not v.weak:
        _check_cast(v.dtype, x.dtype, params["casting"])
    return ArrayType(x.dtype, x.shape)


def _expand(x: Any, v: Any, *, index: ar.Index, casting: Casting) -> Any:
    """A choice between the old elements and the new ones spread over x; masks choose, and never multiply."""
    tx, tv = ar.type_of(x), ar.type_of(v)
    if not tx.known or not tv.known:
        return None
    _infer((tx, tv), {"index": index, "casting": casting})
    part = ar.getitem(x, index=index)
    shape = ar.type_of(part).shape
    new = ar.broadcast_to(v if tv.dtype == tx.dtype else ew.cast(v, dtype=tx.dtype.str), shape=shape)  # type: ignore[union-attr]
    if all(entry in (Ellipsis, ar.ALL) for entry in index):
        return new
    written = ar.embed(ar.full_like(part, fill=1, dtype=np.bool_), x, index=index)
    return ew.where(written, ar.embed(new, x, index=index), x)


index_update: Op = register(
    Op(
        name="index_update",
        kind="scatter",
        impl=_run,
        onnx="",
        domain=ar.ANY * 2,
        lower="index_update",
        grad=(
            lambda g, out, x, v, *, index, casting: index_update(g, 0.0, index=index, casting="unsafe"),
            lambda g, out, x, v, *, index, casting: ar.getitem(g, index=index),
        ),
        infer=_infer,
        expand=_expand,
    )
)
"""x after ``x[index] = v``: v in the dtype of x, spread over the part. Casting as ``np.copyto`` names it."""

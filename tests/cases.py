"""The rows that work on whole arrays, applied to arrays that show what they do, with their meanings in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from symgraph.value import parse_key


class Case(NamedTuple):
    """A row on arrays (floats, which the tests convert to other dtypes; integers stay), and its meaning in NumPy."""

    row: str
    args: tuple[np.ndarray, ...]
    params: Mapping[str, Any]
    meaning: Callable[..., Any]


def at(key: Any) -> dict[str, Any]:
    return {"index": parse_key(key)[0]}


def small(*shape: int) -> np.ndarray:
    """Distinct small numbers, exact in every dtype but bool."""
    return np.random.default_rng(sum(shape)).permutation(int(np.prod(shape))).reshape(shape).astype(float) + 1


A, B, V, E, ONE = small(2, 3, 4), small(3, 4), small(5), np.zeros((0, 3)), small(1, 4)
KEYS: list[tuple[np.ndarray, Any]] = [
    (A, 1),
    (A, (slice(None), -1)),
    (A, (..., 2)),
    (A, (slice(None, None, -1), None, slice(1, 3))),
    (A, (1, 2, 3)),
    (B, (slice(2, 0, -2), slice(-3, None, 2))),
    (V, slice(4, None)),
    (V, slice(9, 2)),
    (V, slice(None, None, 3)),
    (V, slice(-100, 100, 2)),
    (V, slice(-2, None, -3)),
    (E, (slice(None), 1)),
    (ONE, 0),
    (V, (None, slice(3, None, -1))),
]


def embedded(g: Any, x: Any, key: Any) -> Any:
    out = np.zeros(np.shape(x), g.dtype)
    out[key] = g
    return out


def updated(x: Any, v: Any, key: Any) -> Any:
    out = np.array(x)
    out[key] = v.astype(out.dtype)
    return out


def scattered_sum(g: Any, i: Any, x: Any, axis: int) -> Any:
    out = np.zeros(x.shape, g.dtype)
    np.add.at(np.moveaxis(out, axis, 0), i, np.moveaxis(g, range(axis, axis + i.ndim), range(i.ndim)))
    return out


def put_at(x: Any, i: Any, v: Any, axis: int, combine: str) -> Any:
    out = np.moveaxis(np.array(x), axis, 0)
    if combine == "add":
        np.add.at(out, i, np.moveaxis(v, range(axis, axis + i.ndim), range(i.ndim)))
    else:
        out[i] = v
    return np.moveaxis(out, 0, axis)


def summed_to(g: Any, x: Any) -> Any:
    lead = g.ndim - x.ndim
    axes = (*range(lead), *(lead + a for a, s in enumerate(x.shape) if s == 1))
    summed = g.sum(axes, keepdims=True).reshape(x.shape) if axes else g
    return summed.astype(x.dtype) if x.dtype.kind == "f" else summed


def respread(g: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    axes = range(x.ndim) if axis is None else [a % x.ndim for a in axis]
    g = g if keepdims else np.expand_dims(g, tuple(axes))
    return np.broadcast_to(g, x.shape)


def sliding(axes: Any, sizes: Any, strides: Any, dilations: Any) -> dict[str, Any]:
    return {"axes": axes, "sizes": sizes, "strides": strides, "dilations": dilations}


WINDOWS = [
    (V, sliding((0,), (2,), (1,), (1,))),
    (B, sliding((0, 1), (3, 2), (1, 2), (1, 1))),
    (B, sliding((-1,), (2,), (1,), (3,))),
    (A, sliding((2, 0), (2, 2), (2, 2), (1, 1))),
    (A, sliding((1,), (2,), (2,), (1,))),
]


def window_places(x: Any, axes: Any, sizes: Any, strides: Any, dilations: Any) -> Any:
    """The index of the elements at each position in all windows, with that position."""
    for inside in np.ndindex(*sizes):
        index = [slice(None)] * x.ndim
        for axis, k, size, s, d in zip(axes, inside, sizes, strides, dilations, strict=True):
            index[axis] = slice(k * d, k * d + (x.shape[axis] - (size - 1) * d - 1) // s * s + 1, s)
        yield inside, tuple(index)


def windows_of(x: Any, axes: Any, **p: Any) -> Any:
    found = {inside: x[index] for inside, index in window_places(x, axes, **p)}
    out = np.zeros((*found[(0,) * len(axes)].shape, *p["sizes"]), x.dtype)
    for inside, part in found.items():
        out[(..., *inside)] = part
    return out


def windows_added(g: Any, x: Any, axes: Any, **p: Any) -> Any:
    out = np.zeros(x.shape, g.dtype)
    for inside, index in window_places(x, axes, **p):
        out[index] += g[(..., *inside)]
    return out


I1, I2 = np.array([2, 0, -1, 2]), np.array([[0, -2], [1, 1]])
CASES: list[Case] = [
    *(
        Case("transpose", (a,), {"axes": axes}, lambda x, axes=axes: np.transpose(x, axes))
        for a, axes in ((A, None), (A, (1, 2, 0)), (B, (1, 0)), (V, None), (A, (-1, 0, 1)), (E, None))
    ),
    *(
        Case("swapaxes", (a,), {"axes": axes}, lambda x, axes=axes: np.swapaxes(x, *axes))
        for a, axes in ((A, (0, 2)), (B, (-1, 0)), (A, (1, 1)))
    ),
    *(
        Case("moveaxis", (a,), {"source": s, "destination": d}, lambda x, s=s, d=d: np.moveaxis(x, s, d))
        for a, s, d in ((A, (0,), (-1,)), (A, (2, 0), (0, 1)), (B, (1,), (1,)))
    ),
    *(
        Case("reshape", (a,), {"shape": s}, lambda x, s=s: np.reshape(x, s))
        for a, s in ((A, (6, 4)), (A, (4, -1)), (A, (2, 1, 3, 4)), (B, (12,)), (ONE, (4,)), (E, (3, 0)), (V, (1, 5, 1)))
    ),
    *(
        Case("expand_dims", (a,), {"axis": s}, lambda x, s=s: np.expand_dims(x, s))
        for a, s in ((A, (0,)), (B, (-1, 1)), (V, (0, 2)))
    ),
    *(Case("windows", (a,), p, lambda x, p=p: windows_of(x, **p)) for a, p in WINDOWS),
    *(Case("add_windows", (windows_of(a, **p), a), p, lambda g, x, p=p: windows_added(g, x, **p)) for a, p in WINDOWS),
    *(Case("iota", (a,), {}, lambda x: np.arange(x.size).reshape(x.shape)) for a in (A, B, V, E, ONE)),
    *(Case("squeeze", (a,), {"axis": s}, lambda x, s=s: np.squeeze(x, s)) for a, s in ((ONE, (0,)), (ONE, (-2,)))),
    *(
        Case("flip", (a,), {"axis": s}, lambda x, s=s: np.flip(x, s))
        for a, s in ((A, None), (A, (0, -1)), (V, (0,)), (E, (0,)))
    ),
    *(
        Case("broadcast_to", (a,), {"shape": s}, lambda x, s=s: np.broadcast_to(x, s))
        for a, s in ((V, (3, 5)), (ONE, (2, 3, 4)), (B, (3, 4)), (E, (2, 0, 3)))
    ),
    *(Case("getitem", (a,), at(key), lambda x, key=key: x[key]) for a, key in KEYS),
    *(Case("embed", (a[key], a), at(key), lambda g, x, key=key: embedded(g, x, key)) for a, key in KEYS),
    *(
        Case(
            "index_update", (a, a[key] + 1), {**at(key), "casting": "unsafe"}, lambda x, v, key=key: updated(x, v, key)
        )
        for a, key in KEYS
    ),
    Case("index_update", (A, ONE), {**at((0, ...)), "casting": "same_kind"}, lambda x, v: updated(x, v, (0, ...))),
    *(
        Case("take", (a, i), {"axis": axis}, lambda x, i, axis=axis: np.take(x, i, axis))
        for a, i, axis in ((A, I1, 1), (A, I2, -1), (V, I2, 0), (V, np.array(3), 0), (V, I1[:0], 0))
    ),
    *(
        Case(
            "scatter_add",
            (np.take(a, i, axis), i, a),
            {"axis": axis},
            lambda g, i, x, axis=axis: scattered_sum(g, i, x, axis % x.ndim),
        )
        for a, i, axis in ((A, I1, 1), (A, I2, -1), (V, I2, 0), (V, I1[:0], 0))
    ),
    *(
        Case(
            "put",
            (a, i, np.take(a, i, axis) + 1),
            {"axis": axis, "combine": combine},
            lambda x, i, v, axis=axis, combine=combine: put_at(x, i, v, axis % x.ndim, combine),
        )
        for a, i, axis, combine in (
            (A, np.array(1), 0, "set"),
            (A, np.array(-1), 2, "set"),
            (V, np.array(3), 0, "set"),
            (A, I1, 1, "add"),
            (V, I2, 0, "add"),
        )
    ),
    *(
        Case("concatenate", parts, {"axis": axis}, lambda *xs, axis=axis: np.concatenate(xs, axis))
        for parts, axis in (((B, ONE), 0), ((A, A, A), -1), ((V, V[:0], V[:2]), 0), ((B,), 1))
    ),
    *(
        Case(
            "split_part",
            (np.concatenate(parts, axis), *parts),
            {"part": i, "axis": axis},
            lambda g, *xs, i=i, axis=axis: np.split(g, np.cumsum([x.shape[axis] for x in xs])[:-1], axis)[i],
        )
        for parts, i, axis in (((B, ONE), 1, 0), ((A, A, A), 0, 2), ((V, V[:0], V[:2]), 2, 0))
    ),
    *(
        Case("reshape_like", (a, b), {}, lambda g, x: g.reshape(x.shape))
        for a, b in ((A, small(4, 6)), (ONE, small(4)))
    ),
    *(
        Case("unbroadcast", (a, b), {}, summed_to)
        for a, b in ((A, ONE), (A, small(3, 1)), (B, B), (V, small(1)), (E, small(3)))
    ),
    *(
        Case(
            "broadcast_like",
            (a.sum(axis, keepdims=k), a),
            {"axis": axis, "keepdims": k},
            lambda g, x, axis=axis, k=k: respread(g, x, axis, k),
        )
        for a, axis, k in ((A, (1,), False), (A, (0, 2), True), (B, None, False), (E, (0,), False))
    ),
    *(
        Case("full_like", (a,), {"fill": fill, "dtype": d}, lambda x, fill=fill, d=d: np.full_like(x, fill, dtype=d))
        for a, fill, d in ((A, 1, None), (E, 0, None), (V, 2.5, "<f4"), (V, 1, "|b1"))
    ),
    *(Case("row_matrix", (a,), {}, lambda x: x[None] if x.ndim == 1 else x) for a in (V, B)),
    *(Case("col_matrix", (a,), {}, lambda x: x[:, None] if x.ndim == 1 else x) for a in (V, A)),
    Case("of_rank", (B,), {"low": 1, "high": 2, "what": "dot"}, lambda x: x),
    *(
        Case("size", (a,), {"axis": axis}, lambda x, axis=axis: np.int64(x.size if axis is None else x.shape[axis]))
        for a, axis in ((A, None), (A, 1), (E, -2), (V, 0))
    ),
]
REDUCED: list[tuple[np.ndarray, tuple[int, ...] | None, bool]] = [
    (A, None, False),
    (A, (1,), False),
    (A, (0,), False),
    (A, (0, 2), True),
    (A, (-1,), True),
    (A, (1, 2), False),
    (A, (0, 1, 2), False),
    (V, (0,), False),
    (V, None, True),
    (ONE, (0,), False),
    (ONE, (1,), False),
    (A, (), False),
]
REDUCTIONS = {
    "sum": np.sum,
    "prod": np.prod,
    "max": np.max,
    "min": np.min,
    "any": np.any,
    "all": np.all,
    "argmax": np.argmax,
    "argmin": np.argmin,
}
PRODUCTS = [
    ((3,), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((3,), (5, 3, 4)),
    ((5, 2, 3), (3,)),
    ((2, 1, 4, 3), (5, 3, 2)),
    ((1, 3), (3, 1)),
    ((0, 3), (3, 4)),
    ((2, 0), (0, 4)),
    ((0,), (0,)),
    ((2, 3), (3, 0)),
    ((4, 2, 3), (4, 3, 2)),
]

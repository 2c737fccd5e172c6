"""Constants in the shape of another value, and grids of numbers."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from symgraph.functions.arrays import as_array, astype, fixed_shape, ranked, stack
from symgraph.functions.registry import numpy_function
from symgraph.functions.shapes import broadcast_arrays, moveaxis
from symgraph.op import BY_NUMPY
from symgraph.ops import array as ar
from symgraph.ops.array import ALL, Slice, as_size


@numpy_function(np.zeros_like, np.empty_like)
def zeros_like(a: Any, dtype: Any = None, **rest: Any) -> Any:
    """Zeros in the shape of `a`."""
    return ar.full_like(a, fill=0, dtype=dtype)


@numpy_function(np.ones_like)
def ones_like(a: Any, dtype: Any = None, **rest: Any) -> Any:
    """Ones in the shape of `a`."""
    return ar.full_like(a, fill=1, dtype=dtype)


@numpy_function(np.full_like)
def full_like(a: Any, fill_value: Any, dtype: Any = None, **rest: Any) -> Any:
    """A number in the shape of `a`."""
    if getattr(fill_value, "_mode", None) is not None:
        return fill_value + zeros_like(a, dtype)
    return ar.full_like(a, fill=np.asarray(fill_value).item(), dtype=dtype)


# With like=x, NumPy hands over the making of arrays, and a traced function may write into what it gets.
BY_NUMPY.update({f: f for f in (np.zeros, np.ones, np.eye, np.identity, np.arange)})
BY_NUMPY[np.empty] = np.zeros


@numpy_function(np.full)
def _full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", **rest: Any) -> Any:
    sizes = tuple(as_size(s) for s in (shape if isinstance(shape, tuple | list) else (shape,)))
    if getattr(fill_value, "_mode", None) is None:
        if builtins.all(isinstance(s, int) for s in sizes):
            return np.full(sizes, fill_value, dtype)
        fill_value = ar.lift(np.asarray(fill_value))
    return ar.broadcast_to(fill_value if dtype is None else astype(fill_value, dtype), shape=sizes)


@numpy_function(np.array, np.asarray, np.asanyarray, np.ascontiguousarray)
def _converted(a: Any, dtype: Any = None, **rest: Any) -> Any:
    a = as_array(a)
    return a if dtype is None else astype(a, dtype)


@numpy_function(np.linspace)
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """`num` evenly spaced numbers from start to stop, which may be symbols of declared shape."""
    count = num - 1 if endpoint else num
    ndim_ = builtins.max(ranked(start, "linspace"), ranked(stop, "linspace"))
    step = (stop - start) / count if count > 0 else np.nan * (stop - start)
    ramp = np.arange(builtins.max(count, 0), dtype=np.float64).reshape(-1, *(1,) * ndim_)
    y = ramp * step + start
    if endpoint and num > 0:  # the last is stop itself
        last = broadcast_arrays(stop if num > 1 else start, step)[0]
        y = ar.concatenate(y, ar.expand_dims(last, axis=(0,)), axis=0)
    y = moveaxis(y, 0, axis) if axis else y
    y = y if dtype is None else astype(y, dtype)
    return (y, step) if retstep else y


@numpy_function(np.vander)
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:  # noqa: N803
    """The powers of a vector as columns."""
    x = as_array(x)
    count = N if N is not None else fixed_shape(x, "vander")[0]
    powers = [ones_like(x)]
    for _ in range(count - 1):
        powers.append(powers[-1] * x)
    columns = stack(powers if increasing else powers[::-1], axis=1)
    return columns if count else ar.getitem(columns, index=(ALL, Slice(0, 0, 1)))

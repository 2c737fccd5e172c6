"""Functions over axes: sums, extrema, means, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symgraph.functions.arrays import along_axis, as_array, astype, ranked
from symgraph.functions.registry import axes_of, numpy_function, refuse
from symgraph.functions.shapes import broadcast_to, diff, moveaxis, squeeze
from symgraph.op import Op
from symgraph.ops import array as ar, elementwise as ew, reduction as rd
from symgraph.ops.array import ALL, Slice, rank


@numpy_function(np.sum)
def sum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, **rest: Any) -> Any:  # noqa: A001
    """Sum over axes.

    >>> import symgraph as sg
    >>> sg.compile(sg.sum(sg.placeholder("a"), axis=0))(a=[[1.0, 2.0], [3.0, 4.0]])
    array([4., 6.])
    """
    refuse("sum", out=out, **rest)
    return rd.sum(a if dtype is None else astype(a, dtype), axis=axes_of(axis), keepdims=bool(keepdims))


@numpy_function(np.prod)
def prod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, **rest: Any) -> Any:
    """Product over axes."""
    refuse("prod", out=out, **rest)
    return rd.prod(a if dtype is None else astype(a, dtype), axis=axes_of(axis), keepdims=bool(keepdims))


def _plain_reduction(row: Op, *functions: Any) -> Callable[..., Any]:
    def meaning(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, **rest: Any) -> Any:
        refuse(row.name, out=out, **rest)
        return row(a, axis=axes_of(axis), keepdims=bool(keepdims))

    meaning.__name__ = meaning.__qualname__ = row.name
    meaning.__doc__ = f"NumPy's ``{row.name}`` over axes; raises ShapeError for an axis that does not exist."
    return numpy_function(*functions)(meaning)


max = _plain_reduction(rd.max, np.max, np.amax)  # noqa: A001


min = _plain_reduction(rd.min, np.min, np.amin)  # noqa: A001


any = _plain_reduction(rd.any, np.any)  # noqa: A001


all = _plain_reduction(rd.all, np.all)  # noqa: A001


amax, amin = max, min


def _position(row: Op, *functions: Any) -> Callable[..., Any]:
    def meaning(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
        refuse(row.name, out=out)
        return row(a, axis=axes_of(axis), keepdims=bool(keepdims))

    meaning.__name__ = meaning.__qualname__ = row.name
    meaning.__doc__ = f"NumPy's ``{row.name}``: where the first extremum stands."
    return numpy_function(*functions)(meaning)


argmax = _position(rd.argmax, np.argmax)


argmin = _position(rd.argmin, np.argmin)


def _count(a: Any, axis: Any) -> Any:
    """How many elements a reduction over `axis` takes in."""
    axes = axes_of(axis)
    if axes is None:
        return ar.size(a, axis=None)
    total = 1
    for one in axes:
        total = total * ar.size(a, axis=one)
    return total


@numpy_function(np.mean)
def mean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, **rest: Any) -> Any:
    """Arithmetic mean over axes, in at least float64 for integers."""
    refuse("mean", out=out, **rest)
    return sum(a, axis, dtype, keepdims=keepdims) / _count(a, axis)


@numpy_function(np.var)
def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: Any = False,
    **rest: Any,
) -> Any:
    """Variance over axes, divided by N - ddof."""
    refuse("var", out=out, **rest)
    centred = a - mean(a, axis, dtype, keepdims=True)
    count = _count(a, axis)
    return sum(centred * centred, axis, dtype, keepdims=keepdims) / (count - ddof if ddof else count)


@numpy_function(np.std)
def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: Any = False,
    **rest: Any,
) -> Any:
    """Standard deviation over axes."""
    refuse("std", out=out, **rest)
    return ew.sqrt(var(a, axis, dtype, ddof=ddof, keepdims=keepdims))


@numpy_function(np.ptp)
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    """Largest minus smallest."""
    refuse("ptp", out=out)
    return max(a, axis, keepdims=keepdims) - min(a, axis, keepdims=keepdims)


@numpy_function(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False) -> Any:
    """Weighted mean; the weights have the shape of `a`, or of its one `axis`."""
    refuse("average", returned=returned or None)
    if weights is None:
        return mean(a, axis, keepdims=keepdims)
    if axis is not None and rank(weights) == 1 and rank(a) != 1:
        weights = moveaxis(broadcast_to(weights, (*(1,) * ((rank(a) or 1) - 1), -1)), -1, axis)
    return sum(a * weights, axis, keepdims=keepdims) / sum(weights + 0 * a, axis, keepdims=keepdims)


@numpy_function(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = False) -> Any:
    """How many elements are not zero, over axes."""
    return sum(ew.not_equal(as_array(a), 0), axis, keepdims=keepdims)


@numpy_function(np.nansum)
def nansum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, **rest: Any) -> Any:
    """Sum over axes in which nan counts as zero."""
    refuse("nansum", out=out, **rest)
    a = as_array(a)
    return sum(ew.where(ew.isnan(a), 0, a), axis, dtype, keepdims=keepdims)


@numpy_function(np.nanmean)
def nanmean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, **rest: Any) -> Any:
    """Mean over axes of the elements that are not nan."""
    refuse("nanmean", out=out, **rest)
    a = as_array(a)
    return nansum(a, axis, dtype, keepdims=keepdims) / sum(ew.logical_not(ew.isnan(a)), axis, keepdims=keepdims)


@numpy_function(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The integral of samples by the trapezoid rule; `x` holds their places, else they are `dx` apart.

    >>> import symgraph as sg
    >>> float(sg.trapezoid([1.0, 2.0, 3.0]))
    4.0
    """
    y = as_array(y)
    if x is not None:
        x = as_array(x)
        if rank(x) == 1 and rank(y) != 1:
            behind = axis if axis < 0 else axis - ranked(y, "trapezoid")
            dx = ar.getitem(diff(x), index=(ALL, *(None,) * (-behind - 1)))
        else:
            dx = diff(x, axis=axis)
    later, former = (ar.getitem(y, index=along_axis(axis, s)) for s in (Slice(1, None, 1), Slice(None, -1, 1)))
    return sum(dx * (later + former) / 2.0, axis)


def _finite_max(a: Any, axis: Any) -> Any:
    """The maximum as a constant to shift by, 0 where it is not finite."""
    top = ew.stop_gradient(max(a, axis, keepdims=True))
    return ew.where(ew.isfinite(top), top, 0.0)


def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False) -> Any:
    """log(sum(b * exp(a))) without overflow, as scipy.special.logsumexp.

    >>> import symgraph as sg
    >>> float(sg.logsumexp([1000.0, 1000.0]))
    1000.6931471805599
    """
    a = as_array(a)
    top = _finite_max(a, axis)
    terms = ew.exp(a - top)
    total = ew.log(sum(terms if b is None else b * terms, axis, keepdims=True)) + top
    return total if keepdims else squeeze(total, _all_axes(a) if axis is None else axis)


def _all_axes(a: Any) -> tuple[int, ...] | None:
    ndim = rank(a)
    return None if ndim is None else tuple(range(ndim))


def softmax(x: Any, axis: Any = None) -> Any:
    """exp(x) / sum(exp(x)) without overflow, as scipy.special.softmax."""
    x = as_array(x)
    terms = ew.exp(x - ew.stop_gradient(max(x, axis, keepdims=True)))
    return terms / sum(terms, axis, keepdims=True)


def log_softmax(x: Any, axis: Any = None) -> Any:
    """log(softmax(x)) without overflow, as scipy.special.log_softmax."""
    x = as_array(x)
    shifted = x - _finite_max(x, axis)
    return shifted - ew.log(sum(ew.exp(shifted), axis, keepdims=True))


def xlogy(x: Any, y: Any) -> Any:
    """x * log(y), and 0 where x is 0 (unless y is nan), as scipy.special.xlogy."""
    zero = ew.logical_and(ew.equal(x, 0), ew.logical_not(ew.isnan(y)))
    return ew.where(zero, 0.0, x * ew.log(ew.where(zero, 1.0, y)))

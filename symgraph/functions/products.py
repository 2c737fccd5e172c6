"""Products of arrays: dot, einsum, norms, convolution."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from symgraph.errors import ShapeError, SymbolError
from symgraph.functions.arrays import along_axis, as_array, fixed_shape, ranked, stack
from symgraph.functions.constants import zeros_like
from symgraph.functions.reductions import max, sum
from symgraph.functions.registry import axes_of, numpy_function, refuse
from symgraph.functions.shapes import atleast_1d, diagonal, pad, ravel
from symgraph.ops import array as ar, elementwise as ew, guard as gd
from symgraph.ops.array import rank, type_of


@numpy_function(np.trace)
def trace(
    a: Any,
    offset: int = 0,
    axis1: int = 0,
    axis2: int = 1,
    dtype: Any = None,
    out: Any = None,
) -> Any:
    """The sum of the diagonal."""
    refuse("trace", out=out)
    return sum(diagonal(a, offset, axis1, axis2), -1, dtype)


@numpy_function(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    """Inner product over the last axis of `a` and the last but one of `b`, as NumPy's."""
    refuse("dot", out=out)
    a, b = as_array(a), as_array(b)
    ra, rb = rank(a), rank(b)
    if ra == 0 or rb == 0:
        return a * b
    if ra is not None and rb is not None and rb > 2:
        return tensordot(a, b, ((ra - 1,), (rb - 2,)))
    # Up to two dimensions of b, dot is the matrix product.
    return ar.matmul(a, b if rb is not None and rb <= 2 else gd.of_rank(b, low=1, high=2, what="dot"))


@numpy_function(np.vdot)
def vdot(a: Any, b: Any) -> Any:
    """Inner product of the flattened arrays."""
    return ar.matmul(ravel(a), ravel(b))


@numpy_function(np.inner)
def inner(a: Any, b: Any) -> Any:
    """Sum of products over the last axes."""
    if rank(a) == 0 or rank(b) == 0:
        return a * b
    return tensordot(a, b, ((-1,), (-1,)))


@numpy_function(np.outer, np.linalg.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    """All products of two vectors."""
    refuse("outer", out=out)
    return ar.reshape(a, shape=(-1, 1)) * ar.reshape(b, shape=(1, -1))


@numpy_function(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Sum of products over the given axes of `a` and `b`."""
    ra, rb = rank(a), rank(b)
    if ra is None or rb is None:
        raise SymbolError("tensordot: declare the shapes of the placeholders")
    if isinstance(axes, int):
        left, right = tuple(range(ra - axes, ra)), tuple(range(axes))
    else:
        left, right = (tuple(x % r for x in (axes_of(ax) or ())) for ax, r in zip(axes, (ra, rb), strict=True))
    free_a = [k for k in range(ra) if k not in left]
    free_b = [k for k in range(rb) if k not in right]
    sizes_a, sizes_b = type_of(a).shape, type_of(b).shape
    inner_size: Any = 1
    for k in right:
        inner_size = inner_size * sizes_b[k]  # type: ignore[index]
    rows: Any = 1
    for k in free_a:
        rows = rows * sizes_a[k]  # type: ignore[index]
    columns: Any = 1
    for k in free_b:
        columns = columns * sizes_b[k]  # type: ignore[index]
    matrix_a = ar.reshape(ar.transpose(a, axes=(*free_a, *left)), shape=(rows, inner_size))
    matrix_b = ar.reshape(ar.transpose(b, axes=(*right, *free_b)), shape=(inner_size, columns))
    shape_ = (*(sizes_a[k] for k in free_a), *(sizes_b[k] for k in free_b))  # type: ignore[index]
    return ar.reshape(ar.matmul(matrix_a, matrix_b), shape=shape_)


@numpy_function(np.einsum)
def einsum(subscripts: Any, *operands: Any, out: Any = None, optimize: Any = False, **rest: Any) -> Any:
    """Sums of products by Einstein's notation, as letters; contracted pairwise from the left, by matrix products.

    >>> import symgraph as sg
    >>> a, b = sg.placeholder("a"), sg.placeholder("b")
    >>> sg.einsum("ij,jk->ik", a, b)
    a @ b
    """
    refuse("einsum", out=out, **rest)
    if not isinstance(subscripts, str) or "..." in subscripts:
        raise SymbolError("einsum: on symbols, write the subscripts as one string of letters, without '...'")
    left, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    letters = "".join(terms)
    if not arrow:
        result = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    if (
        len(terms) != len(operands)
        or not (letters + result).isalpha()
        or len(set(result)) != len(result)
        or not (set(result) <= set(letters))
    ):
        raise ValueError(f"einsum: {subscripts!r} does not fit {len(operands)} operands")
    pending = [_labelled(as_array(a), term) for a, term in zip(operands, terms, strict=True)]
    a, mine = pending.pop(0)
    while True:
        wanted = set(result).union(*(term for _, term in pending))
        a, mine = _summed(a, mine, wanted)
        if not pending:
            return a if mine == result else ar.transpose(a, axes=tuple(mine.index(c) for c in result))
        b, other = pending.pop(0)
        b, other = _summed(b, other, set(result).union(mine, *(term for _, term in pending)))
        a, mine = _contracted(a, mine, b, other, set(result).union(*(term for _, term in pending)))


def _labelled(a: Any, term: str) -> tuple[Any, str]:
    """The operand with one axis per letter: a letter that stands twice means a diagonal."""
    found = rank(a)
    if found is not None and found != len(term):
        raise ShapeError(f"einsum: {term!r} has {len(term)} letters, and its operand has {found} dimensions")
    while len(set(term)) != len(term):
        letter = next(c for c in term if term.count(c) > 1)
        first = term.index(letter)
        second = term.index(letter, first + 1)
        a = diagonal(a, 0, first, second)
        term = term[:first] + term[first + 1 : second] + term[second + 1 :] + letter
    return a, term


def _summed(a: Any, mine: str, wanted: set[str]) -> tuple[Any, str]:
    gone = tuple(k for k, c in enumerate(mine) if c not in wanted)
    return (sum(a, gone), "".join(c for c in mine if c in wanted)) if gone else (a, mine)


def _contracted(a: Any, mine: str, b: Any, other: str, wanted: set[str]) -> tuple[Any, str]:
    """The product of two operands, summed over the letters of both that are not wanted any more."""
    batch = [c for c in mine if c in other and c in wanted]
    inner_ = [c for c in mine if c in other and c not in wanted]
    rows, columns = [c for c in mine if c not in other], [c for c in other if c not in mine]
    a = _permuted(a, mine, [*batch, *rows, *inner_])
    b = _permuted(b, other, [*batch, *inner_, *columns])
    found = "".join([*batch, *rows, *columns])
    lead = len(batch)
    if not inner_:
        at = lead + len(rows)
        a = ar.expand_dims(a, axis=tuple(range(at, at + len(columns)))) if columns else a
        return a * (ar.expand_dims(b, axis=tuple(range(lead, at))) if rows else b), found
    height, width = _sizes(a, lead, len(rows)), _sizes(b, lead + len(inner_), len(columns))
    a = _one_axis(_one_axis(a, lead + len(rows), len(inner_)), lead, len(rows))
    b = _one_axis(_one_axis(b, lead + len(inner_), len(columns)), lead, len(inner_))
    product_ = _several_axes(ar.matmul(a, b), lead + 1, width, len(columns))
    return _several_axes(product_, lead, height, len(rows)), found


def _permuted(a: Any, mine: str, order: list[str]) -> Any:
    return a if list(mine) == order else ar.transpose(a, axes=tuple(mine.index(c) for c in order))


def _sizes(a: Any, start: int, count: int) -> tuple[Any, ...]:
    if count < 2:
        return ()
    ranked(a, "einsum")
    return type_of(a).shape[start : start + count]  # type: ignore[index]


def _one_axis(a: Any, start: int, count: int) -> Any:
    """`count` axes merged into one."""
    if count == 1:
        return a
    if count == 0:
        return ar.expand_dims(a, axis=(start,))
    ranked(a, "einsum")
    sizes = type_of(a).shape
    merged: Any = 1
    for size_ in sizes[start : start + count]:  # type: ignore[index]
        merged = merged * size_
    return ar.reshape(a, shape=(*sizes[:start], merged, *sizes[start + count :]))  # type: ignore[index]


def _several_axes(a: Any, start: int, sizes: tuple[Any, ...], count: int) -> Any:
    """The inverse of `_one_axis`."""
    if count == 1:
        return a
    if count == 0:
        return ar.squeeze(a, axis=(start,))
    found = type_of(a).shape
    return ar.reshape(a, shape=(*found[:start], *sizes, *found[start + 1 :]))  # type: ignore[index]


@numpy_function(np.kron)
def kron(a: Any, b: Any) -> Any:
    """Kronecker's product."""
    a, b = as_array(a), as_array(b)
    ndim_ = builtins.max(ranked(a, "kron"), ranked(b, "kron"))
    a, b = (ar.expand_dims(x, axis=tuple(range(ndim_ - (rank(x) or 0)))) if rank(x) != ndim_ else x for x in (a, b))
    sizes = tuple(m * n for m, n in zip(type_of(a).shape, type_of(b).shape, strict=True))  # type: ignore[arg-type]
    rows, columns = tuple(range(1, 2 * ndim_, 2)), tuple(range(0, 2 * ndim_, 2))
    return ar.reshape(ar.expand_dims(a, axis=rows) * ar.expand_dims(b, axis=columns), shape=sizes)


@numpy_function(np.cross, np.linalg.cross)
def cross(
    a: Any,
    b: Any,
    axisa: int = -1,
    axisb: int = -1,
    axisc: int = -1,
    axis: int | None = None,
) -> Any:
    """The vector product of vectors of three components."""
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis, axis, axis)
    (a0, a1, a2), (b0, b1, b2) = (_components(as_array(x), along) for x, along in ((a, axisa), (b, axisb)))
    return stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis=axisc)


def _components(x: Any, axis: int) -> list[Any]:
    ranked(x, "cross")
    if type_of(x).shape[axis] != 3:  # type: ignore[index]
        raise ShapeError(f"cross: axis {axis} must be declared to have size 3, got {type_of(x)}")
    return [ar.getitem(x, index=along_axis(axis, k)) for k in range(3)]


@numpy_function(np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Any:
    """A square matrix multiplied with itself; n is a fixed number that is not negative."""
    if n < 0:
        raise SymbolError("matrix_power: negative powers need an inverse, which is not available on symbols")
    if n == 0:
        return np.eye(fixed_shape(a, "matrix_power")[-1], dtype=type_of(a).dtype) + zeros_like(a)
    result, square = None, a
    while n:
        if n & 1:
            result = square if result is None else ar.matmul(result, square)
        n >>= 1
        square = ar.matmul(square, square) if n else square
    return result


@numpy_function(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """The convolution of two vectors of declared lengths."""
    a, v = atleast_1d(as_array(a), as_array(v))
    (n,), (m,) = fixed_shape(a, "convolve"), fixed_shape(v, "convolve")
    if n < m:
        a, v, n, m = v, a, m, n
    if m == 0:
        raise ValueError("convolve: a vector is empty")
    bounds = {"full": (0, n + m - 1), "same": ((m - 1) // 2, (m - 1) // 2 + n), "valid": (m - 1, n)}
    if mode not in bounds:
        raise ValueError(f"convolve: mode must be full, same or valid, got {mode!r}")
    windows = np.arange(*bounds[mode])[:, None] + np.arange(m)
    a = ar.in_mode_of(v, a)
    return ar.matmul(ar.take(pad(a, m - 1), windows, axis=0), ar.flip(v, axis=(0,)))


@numpy_function(np.vecdot, np.linalg.vecdot)
def vecdot(x1: Any, x2: Any, axis: int = -1) -> Any:
    """The sum of products along an axis."""
    return sum(as_array(x1) * as_array(x2), axis)


@numpy_function(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A002
    """Euclidean norm of a vector, or over `axis`; Frobenius norm of a matrix. Its gradient at 0 is 0."""
    x = as_array(x)
    if ord not in (None, 2, "fro", 1, np.inf) or (ord in (1, 2, np.inf) and axis is None and rank(x) != 1):
        raise SymbolError(f"norm: ord={ord!r} is not available on symbols")
    if ord == 1:
        return sum(ew.abs(x), axis, keepdims=keepdims)
    if ord == np.inf:
        return max(ew.abs(x), axis, keepdims=keepdims)
    squared = sum(x * x, axis, keepdims=keepdims)
    return ew.where(ew.equal(squared, 0), 0.0, ew.sqrt(squared))

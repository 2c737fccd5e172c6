"""Random numbers as functions of explicit keys.

A key is a number (uint64), and a draw is a function of its key and shape alone: no state is kept anywhere. So a
formula that draws gives the same numbers define-by-run, compiled, and for any number of threads; and whoever wants
other numbers takes another key. Use each key once: what two draws of one key give is related.

>>> import numpy as np, symgraph as sg
>>> first, second = sg.random.split(sg.random.key(0))
>>> sg.random.uniform(first, (2,))
array([0.95387504, 0.56490962])
>>> k = sg.placeholder("k", shape=(), dtype="uint64")
>>> f = sg.compile(sg.random.normal(k, (3,)))
>>> bool(np.all(f(k=second) == sg.random.normal(second, (3,))))
True

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), whose Threefry-2x32 with
20 rounds maps a counter to 64 bits; Claessen and Pałka, "Splittable pseudorandom number generators using cryptographic
hashing" (Haskell 2013), for the making of keys from keys.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from symgraph import functions as fn
from symgraph.errors import DTypeError
from symgraph.ops import array as ar, elementwise as ew, random as rows, reduction as rd

SPLIT, FOLD = 1 << 63, 1 << 62
"""The counters of new keys, apart from those of draws."""

_UINT64 = "<u8"


# -- keys --------------------------------------------------------------------------------------------------------------


def key(seed: int) -> Any:
    """The key of a seed.

    Raises:
        ValueError: the seed is not in [0, 2**64).

    >>> import symgraph as sg
    >>> sg.random.key(7)
    np.uint64(7)
    """
    seed = operator.index(seed)
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"random.key: a seed lies in [0, 2**64), got {seed}")
    return np.uint64(seed)


def split(key: Any, num: int = 2) -> Any:
    """`num` new keys, as an array of shape (num,), which can be unpacked.

    >>> import symgraph as sg
    >>> sg.random.split(sg.random.key(0), 3).shape
    (3,)
    """
    if ar.rank(key):
        raise DTypeError(f"random.split: key must be one key, got {key!r}")
    return rows.threefry(key, np.arange(num, dtype=np.uint64) | np.uint64(SPLIT))


def fold_in(key: Any, data: Any) -> Any:
    """A new key from a key and integers in [0, 2**62): the number of a step, say.

    >>> import symgraph as sg
    >>> step = sg.placeholder("step", shape=(), dtype="int64")
    >>> k = sg.random.fold_in(sg.random.key(0), step)
    >>> sg.compile(k)(step=3) == sg.random.fold_in(sg.random.key(0), 3)
    np.True_
    """
    if not hasattr(data, "_mode"):
        data = np.asarray(data)
    found = ar.type_of(data).dtype
    if found is not None and found.kind not in "iu":
        raise DTypeError(f"random.fold_in: data must be integers, got {found}")
    return rows.threefry(key, ew.bitwise_or(fn.astype(data, _UINT64), np.uint64(FOLD)))


# -- draws -------------------------------------------------------------------------------------------------------------


def bits(key: Any, shape: Any = (), *, like: Any = None) -> Any:
    """64 random bits for each element, as uint64.

    Args:
        key: a key, or an array of keys, which broadcasts against the result's shape.
        shape: the sizes: integers, or sizes of symbols such as ``x.shape[0]``.
        like: a value whose shape is taken instead.

    Raises:
        DTypeError: the key is not uint64.

    >>> import symgraph as sg
    >>> sg.random.bits(sg.random.key(0), (2,))
    array([11077253088097075545, 13897614985444391724], dtype=uint64)
    """
    return rows.threefry(key, _counter(key, shape, like))


def _counter(key: Any, shape: Any, like: Any) -> Any:
    """The number of each element."""
    if like is None:
        sizes = tuple(ar.as_size(s) for s in (shape if isinstance(shape, tuple | list) else (shape,)))
        symbolic = getattr(getattr(key, "_mode", None), "name", None) in ("symbol", "traced array")
        zero = ar.lift(0) if symbolic or not all(isinstance(s, int) for s in sizes) else 0
        like = ar.broadcast_to(zero, shape=sizes)
    return ar.iota(like)


def _unit(key: Any, shape: Any, like: Any, dtype: Any) -> tuple[Any, np.dtype[Any]]:
    """Numbers in [0, 1), and their dtype."""
    kind = np.dtype(dtype)
    if kind not in rows.FORMATS:
        raise DTypeError(f"random: dtype must be float64 or float32, got {kind}")
    return rows.unit(bits(key, shape, like=like), dtype=kind.str), kind


def _inner(key: Any, shape: Any, like: Any, dtype: Any) -> tuple[Any, np.dtype[Any]]:
    """Numbers in (0, 1), symmetric about 1/2."""
    drawn, kind = _unit(key, shape, like, dtype)
    return drawn + kind.type(0.5 ** (rows.FORMATS[kind].fraction + 1)), kind


def _moved(x: Any, scale: Any, loc: Any, kind: np.dtype[Any]) -> Any:
    """loc + scale * x, rounded once, so that both modes give the same bits."""
    if _is(scale, 1) and _is(loc, 0):
        return x
    return ew.fma(*(kind.type(v) if type(v) in (int, float) else fn.astype(v, kind) for v in (scale, x, loc)))


def _is(value: Any, number: int) -> bool:
    return type(value) in (int, float) and value == number


def uniform(
    key: Any, shape: Any = (), low: Any = 0.0, high: Any = 1.0, dtype: Any = "float64", *, like: Any = None
) -> Any:
    """Numbers from [low, high): multiples of 2**-52 (float32: of 2**-23) of the interval.

    `low` and `high` may be values of any mode, and are differentiated. Other arguments as in :func:`bits`.

    Raises:
        DTypeError: the dtype is not float64 or float32, or the key is not uint64.

    >>> import symgraph as sg
    >>> sg.random.uniform(sg.random.key(1), (2,), -1.0, 1.0)
    array([ 0.17905134, -0.64438156])
    """
    drawn, kind = _unit(key, shape, like, dtype)
    width = 1.0 if _is(low, 0) and _is(high, 1) else high - low
    return _moved(drawn, width, low, kind)


def normal(
    key: Any, shape: Any = (), loc: Any = 0.0, scale: Any = 1.0, dtype: Any = "float64", *, like: Any = None
) -> Any:
    """Numbers of the normal distribution, by its quantiles; within 8.1 (float32: 5.2) standard deviations.

    `loc` and `scale` may be values of any mode, and are differentiated. Other arguments as in :func:`bits`.

    >>> import symgraph as sg
    >>> sg.random.normal(sg.random.key(1), (2,), loc=10.0)
    array([10.226325  ,  9.07625374])
    """
    p, kind = _inner(key, shape, like, dtype)
    return _moved(rows.ndtri(p), scale, loc, kind)


def exponential(key: Any, shape: Any = (), scale: Any = 1.0, dtype: Any = "float64", *, like: Any = None) -> Any:
    """Numbers of the exponential distribution with mean `scale`; arguments as in :func:`normal`.

    >>> import symgraph as sg
    >>> sg.random.exponential(sg.random.key(0), (2,), 10.0)
    array([5.09994148, 2.8317064 ])
    """
    p, kind = _inner(key, shape, like, dtype)
    return _moved(rows.exponential(p), scale, 0.0, kind)


def gumbel(
    key: Any, shape: Any = (), loc: Any = 0.0, scale: Any = 1.0, dtype: Any = "float64", *, like: Any = None
) -> Any:
    """Numbers of the Gumbel distribution, that of the largest of many; arguments as in :func:`normal`.

    >>> import symgraph as sg
    >>> sg.random.gumbel(sg.random.key(0), (2,))
    array([0.67335603, 1.26170559])
    """
    p, kind = _inner(key, shape, like, dtype)
    return _moved(rows.gumbel(p), scale, loc, kind)


def integers(key: Any, low: Any, high: Any, shape: Any = (), dtype: Any = "int64", *, like: Any = None) -> Any:
    """Integers from [low, high), each with the same probability up to 2**-64 * (high - low).

    Args:
        key: as in :func:`bits`.
        low: the least integer; a Python integer, or integers of any mode.
        high: one above the largest; high - low < 2**63. Where it is not above `low`, `low` comes.
        shape: as in :func:`bits`.
        dtype: an integer dtype that holds them.
        like: as in :func:`bits`.

    Raises:
        ValueError: Python integers of which `high` is not above `low`, or too far.

    >>> import symgraph as sg
    >>> sg.random.integers(sg.random.key(0), 0, 6, (5,))
    array([3, 4, 5, 0, 3])
    """
    kind = np.dtype(dtype)
    if kind.kind not in "iu":
        raise DTypeError(f"random.integers: dtype must be an integer dtype, got {kind}")
    if type(low) is int and type(high) is int:
        if not 0 < high - low < 1 << 63:
            raise ValueError(f"random.integers: need low < high < low + 2**63, got {low} and {high}")
        if low < np.iinfo(kind).min or high - 1 > np.iinfo(kind).max:
            raise ValueError(f"random.integers: {low} to {high - 1} do not fit into {kind}")
        width: Any = np.uint64(high - low)
        start: Any = kind.type(low)
    else:
        width = fn.astype(ew.maximum(high - low, 0), _UINT64)
        start = kind.type(low) if type(low) is int else fn.astype(low, kind)
    above = fn.astype(_high_product(bits(key, shape, like=like), width), kind)
    return above if _is(low, 0) else ew.add(start, above)


def _high_product(a: Any, b: Any) -> Any:
    """The upper 64 of the 128 bits of a product, by halves: no step is larger than 64 bits."""
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    a0, a1, b0, b1 = (part for x in (a, b) for part in (ew.bitwise_and(x, mask), ew.right_shift(x, half)))
    inner = ew.add(ew.mul(a1, b0), ew.right_shift(ew.mul(a0, b0), half))
    outer = ew.add(ew.mul(a0, b1), ew.bitwise_and(inner, mask))
    return ew.add(ew.add(ew.mul(a1, b1), ew.right_shift(inner, half)), ew.right_shift(outer, half))


def bernoulli(key: Any, p: Any = 0.5, shape: Any = None, *, like: Any = None) -> Any:
    """True with probability `p`; in the shape of `p` unless another is given.

    >>> import symgraph as sg
    >>> sg.random.bernoulli(sg.random.key(0), 0.9, (4,))
    array([ True,  True, False,  True])
    """
    if shape is None and like is None:
        like = p
    return ew.less(uniform(key, () if shape is None else shape, like=like), p)


def categorical(key: Any, logits: Any, axis: int = -1) -> Any:
    """Positions along an axis, with probabilities ``softmax(logits, axis)``; the result is without that axis.

    Source: the largest of logits with Gumbel noise (Maddison, Tarlow and Minka, "A* sampling", NIPS 2014).

    >>> import numpy as np, symgraph as sg
    >>> sg.random.categorical(sg.random.key(0), np.log([[0.1, 0.9]] * 4))
    array([1, 0, 1, 1])
    """
    logits = logits if hasattr(logits, "_mode") else np.asarray(logits)
    found = ar.type_of(logits).dtype
    noise = gumbel(key, dtype=np.float32 if found == np.float32 else np.float64, like=logits)
    return rd.argmax(logits + noise, axis=(operator.index(axis),), keepdims=False)


ROUNDS = 64
"""Of a shuffle: each halves what is known of where an element went."""


def permutation(key: Any, x: Any) -> Any:
    """The numbers below an integer in random order; or the rows of an array, along its first axis.

    Args:
        key: one key.
        x: how many numbers, as an integer or as a size of a symbol; or an array.

    >>> import symgraph as sg
    >>> sg.random.permutation(sg.random.key(0), 5)
    array([3, 2, 0, 1, 4])
    """
    if isinstance(x, int | np.integer) or getattr(x, "op", None) is ar.size:
        return permuted(key, _counter(key, (x,), None), x)
    x = x if hasattr(x, "_mode") else np.asarray(x)
    return ar.take(x, permutation(key, fn.size(x, 0)), axis=0)


def permuted(key: Any, places: Any, count: Any) -> Any:
    """Which numbers stand at some places of ``permutation(key, count)``, without making the others.

    Each is computed on its own, with no sorting: so a batch of a shuffled data set costs what the batch costs.

    Args:
        key: one key.
        places: integers from [0, count), of any shape.
        count: how many numbers there are in all; below 2**63.

    Source: Hoang, Morris and Rogaway, "An enciphering scheme based on a card shuffle" (CRYPTO 2012), by 64 rounds.

    >>> import numpy as np, symgraph as sg
    >>> sg.random.permuted(sg.random.key(0), np.arange(2, 4), 5)
    array([0, 1])
    """
    place = fn.astype(places if hasattr(places, "_mode") else np.asarray(places), _UINT64)
    count = fn.astype(count if hasattr(count, "_mode") else np.int64(count), _UINT64)
    drawn = bits(key, (3, ROUNDS))
    turns = _high_product(drawn[0], count)
    for k in range(ROUNDS):
        place = rows.swap_or_not(place, count, turns[k], drawn[1, k], drawn[2, k])
    return fn.astype(place, np.int64)

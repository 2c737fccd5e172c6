"""Sizes: polynomials over sizes that a call tells, against Python's integers."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from symgraph import dims
from symgraph.dims import Dim, Size

N, M, K = (dims.atom(name) for name in "nmk")
ENDS = [None, *range(-7, 8)]
STEPS = [None, -3, -2, -1, 1, 2, 3]


@pytest.mark.parametrize("step", STEPS)
def test_slices(step: int | None) -> None:
    """Start and length of every small slice, as Python's slice.indices gives them."""
    for start, stop in itertools.product(ENDS, ENDS):
        index = slice(start, stop, step)
        symbolic = dims.slice_bounds(index, N)
        for size in range(7):
            first, last, by = index.indices(size)
            length = len(range(first, last, by))
            for bounds in (symbolic, dims.slice_bounds(index, size)):
                got_start, got_length = (dims.evaluate(b, {"n": size}) for b in bounds)
                assert got_length == length, (index, size)
                # where nothing is taken, no element is read, wherever the slice would start
                assert got_start == first or not length, (index, size)


def test_slices_of_computed_sizes() -> None:
    """An axis of size 2 n + m."""
    for ends in ((1, None), (None, -1), (-3, None), (None, None, -1), (None, 4, 2), (5, 1, -2)):
        index = slice(*ends)
        for n, m in itertools.product(range(4), range(3)):
            size = 2 * n + m
            start, length = (dims.evaluate(b, {"n": n, "m": m}) for b in dims.slice_bounds(index, 2 * N + M))
            assert length == len(range(size)[index])
            assert not length or start == range(size)[index][0]


def test_zero_steps_are_refused() -> None:
    for size in (3, N):
        with pytest.raises(ValueError, match="zero"):
            dims.slice_bounds(slice(None, None, 0), size)


# -- arithmetic --------------------------------------------------------------------------------------------------------

small_sizes = st.recursive(
    st.one_of(st.integers(-3, 5), st.sampled_from([N, M, K])),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: p[0] + p[1]),
        st.tuples(inner, inner).map(lambda p: p[0] - p[1]),
        st.tuples(inner, inner).map(lambda p: p[0] * p[1]),
        st.tuples(inner, inner).map(lambda p: dims.maximum(*p)),
        st.tuples(inner, inner).map(lambda p: dims.minimum(*p)),
        st.tuples(inner, st.integers(1, 4)).map(lambda p: dims.floordiv(*p)),
    ),
    max_leaves=6,
)
values = st.fixed_dictionaries({"n": st.integers(0, 6), "m": st.integers(0, 6), "k": st.integers(0, 6)})

LAWS: list[tuple[str, Callable[[Any, Any, Any], tuple[Size, Size]]]] = [
    ("a + b = b + a", lambda a, b, c: (a + b, b + a)),
    ("a b = b a", lambda a, b, c: (a * b, b * a)),
    ("(a + b) + c = a + (b + c)", lambda a, b, c: ((a + b) + c, a + (b + c))),
    ("(a b) c = a (b c)", lambda a, b, c: ((a * b) * c, a * (b * c))),
    ("a (b + c) = a b + a c", lambda a, b, c: (a * (b + c), a * b + a * c)),
    ("a - a = 0", lambda a, b, c: (a - a, 0)),
    ("a - (b - c) = a - b + c", lambda a, b, c: (a - (b - c), a - b + c)),
    ("a + 0 = a", lambda a, b, c: (a + 0, a)),
    ("1 a = a", lambda a, b, c: (1 * a, a)),
    ("0 a = 0", lambda a, b, c: (0 * a, 0)),
    ("2 a - a = a", lambda a, b, c: (2 * a - a, a)),
]


@pytest.mark.parametrize("law", [law for _, law in LAWS], ids=[name for name, _ in LAWS])
@given(a=small_sizes, b=small_sizes, c=small_sizes)
@settings(max_examples=60)
def test_laws_hold_in_normal_form(law: Callable[..., tuple[Size, Size]], a: Size, b: Size, c: Size) -> None:
    """Equal polynomials are the same object of comparison, with the same hash and text."""
    left, right = law(a, b, c)
    assert left == right and hash(left) == hash(right) and str(left) == str(right)


@given(a=small_sizes, b=small_sizes, sizes=values)
def test_evaluation_is_a_homomorphism(a: Size, b: Size, sizes: dict[str, int]) -> None:
    x, y = dims.evaluate(a, sizes), dims.evaluate(b, sizes)
    for size, wanted in (
        (a + b, x + y),
        (a - b, x - y),
        (a * b, x * y),
        (3 - a, 3 - x),
        (dims.maximum(a, b), max(x, y)),
        (dims.minimum(a, b), min(x, y)),
        (dims.product([a, b, 2]), 2 * x * y),
        (dims.floordiv(a, 3), x // 3),
    ):
        assert dims.evaluate(size, sizes) == wanted


@given(a=small_sizes, sizes=values)
def test_substitution_then_evaluation(a: Size, sizes: dict[str, int]) -> None:
    assert dims.substitute(a, sizes) == dims.evaluate(a, sizes)
    renamed = dims.substitute(a, {"n": M + 1})
    assert dims.evaluate(renamed, sizes) == dims.evaluate(a, sizes | {"n": sizes["m"] + 1})
    assert {atom.name for atom in dims.atoms(renamed)} <= {"m", "k"}


@given(a=small_sizes, sizes=values)
def test_lower_bounds(a: Size, sizes: dict[str, int]) -> None:
    low = dims.lower_bound(a)
    assert low is None or low <= dims.evaluate(a, sizes)


def test_exact_division() -> None:
    """Common factors cancel; by 0 NumPy has no answer, and 0 stands in."""
    assert dims.floordiv(6 * N * M, 3 * N) == 2 * M
    assert dims.floordiv(N * M + 2 * N, N) == M + 2
    assert dims.floordiv(N, N) == 1 and dims.floordiv(N, 1) == N and dims.floordiv(7, 2) == 3
    assert dims.floordiv(7, 0) == dims.floordiv(N, 0) == 0
    half = dims.floordiv(N + 1, 2)
    assert isinstance(half, Dim) and [dims.evaluate(half, {"n": n}) for n in range(5)] == [0, 1, 1, 2, 2]


def test_reshape_of_unknown_sizes() -> None:
    """The size that -1 stands for, in reshape(x, (-1, n)) of an (m, n) array."""
    assert dims.floordiv(dims.product((M, N)), N) == M


# -- broadcasting ------------------------------------------------------------------------------------------------------


def test_broadcasting_of_fixed_sizes() -> None:
    for a, b in itertools.product(range(4), range(4)):
        try:
            (wanted,) = np.broadcast_shapes((a,), (b,))
        except ValueError:
            wanted = -1
        assert dims.broadcast(a, b) == wanted


def test_broadcasting_of_sizes_that_are_not_known() -> None:
    assert dims.broadcast(N, N) == N and dims.broadcast(N, 1) == N and dims.broadcast(1, N) == N
    assert dims.broadcast(N, 3) == 3 and dims.broadcast(3, N) == 3
    both = dims.broadcast(N, M)
    assert both == dims.broadcast(M, N)
    for n, m in ((1, 4), (4, 1), (4, 4), (1, 1), (0, 1), (1, 0)):
        assert dims.evaluate(both, {"n": n, "m": m}) == np.broadcast_shapes((n,), (m,))[0]


def test_settled_sizes_merge() -> None:
    """Sizes that a call has shown not to be 1 must be equal, so the simpler stands for both."""
    n, m = (dims.atom(name, not_one=True) for name in "nm")
    assert n.not_one and not N.not_one and not (n + 1).not_one
    assert dims.settled(n * m) and not dims.settled(n * M) and dims.settled(3)
    assert dims.broadcast(n, 2 * m + 1) == n == dims.broadcast(2 * m + 1, n)


# -- as values ---------------------------------------------------------------------------------------------------------


def test_text() -> None:
    assert str(2 * N * M - N + 3) == "2*m*n - n + 3"
    assert str(dims.maximum(N - 2, 0)) == "max(n - 2, 0)"
    assert str(dims.floordiv(N + 1, 2)) == "(n + 1)//2"


def test_copies_and_pickles() -> None:
    for size in (N, 2 * N * M - 1, dims.maximum(N - 2, 0)):
        for again in (copy.deepcopy(size), pickle.loads(pickle.dumps(size))):
            assert again == size and hash(again) == hash(size)


def test_sizes_have_no_truth() -> None:
    with pytest.raises(TypeError, match="before the call"):
        bool(N)
    assert N != 3 and N != "n" and dims.atom("n") == N

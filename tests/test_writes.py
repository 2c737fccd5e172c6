"""Elements written into arrays: in place where nobody else reads the memory, into a copy where somebody does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.traced import index_update
from symgraph.tree import flatten

X, W, K, S = np.arange(12.0).reshape(3, 4), np.array([1.0, 2.0, 4.0, 8.0]), np.array([0, 1, 2]), np.arange(5.0)
CUBE, MATRIX = np.arange(24.0).reshape(2, 3, 4), np.arange(20.0).reshape(4, 5)


def put(a: Any, i: Any, v: Any) -> Any:
    """What `a` is after a[i] = v; NumPy's own assignment where there is no symbol."""
    if not isinstance(a, np.ndarray):
        return index_update(a, i, v)
    a = a.copy()
    a[i] = v
    return a


def loop(count: int, body: Callable[..., Any], *init: Any) -> Any:
    """The last of the states; Python's own loop where there is no symbol."""
    if any(not isinstance(leaf, np.ndarray) for leaf in init):
        return sg.fori_loop(0, count, lambda i, s: body(i, *s), init)
    for i in range(count):
        init = tuple(body(i, *init))
    return init


def either(pred: Any, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
    return (yes() if pred else no()) if isinstance(pred, np.bool_) else sg.cond(pred, yes, no)


def product(x, w, k):
    v = x @ w
    return v, put(v, k[1], 7.0)


def product_read_later(x, w, k):
    v = x @ w
    return put(v, k[1], 7.0), v.sum()


def two_of_one(x, w, k):
    v = x @ w
    return put(v, k[1], 7.0), put(v, k[2], 9.0)


def rows_of_one(x, w, k):
    v = x * 2
    return put(v[0:2], k[0], w), put(v[1:3], k[0], 3 * w)


def seen_from_the_side(x, w, k):
    v = x * 2
    return put(v.T, k[0], 5.0), v


def flat_and_whole(x, w, k):
    v = x * 2 + 1
    return put(v.reshape((12,)), k[1], 7.0), put(v, k[0], 9.0), v[0]


def a_row_and_a_sum(x, w, k):
    v = x * 2 + 1
    t = put(v, k[1], w)
    return t, t.sum(axis=0), v[k[1]]


def one_after_the_other(x, w, k):
    t = put(x * 2 + 1, k[1], w)
    return put(put(t, k[0], w * 2), k[2], t[k[1]])


def two_after_one(x, w, k):
    t = put(x * 2 + 1, k[1], w)
    return put(t, k[0], w * 2), put(t, k[2], w * 3)


def an_argument(x, w, k):
    return (put(x, k[0], w),)


def a_row_of_an_argument(x, w, k):
    return put(x[0], k[1], 7.0), x


def in_a_branch(x, w, k):
    return (either(x[0, 0] < 1, lambda: put(x[0], k[1], 7.0), lambda: x[1]),)


def after_a_branch(x, w, k):
    return (put(either(x[0, 0] < 1, lambda: x * 2, lambda: x * 3), k[0], 5.0),)


def after_a_loop(x, w, k):
    a, b = loop(3, lambda i, a, b: (a + 1, b * 2), x, w)
    return put(a, k[0], 5.0), put(a[1], k[0], 9.0), put(b, k[0], 1.0)


def one_memory_of_two_products(a, b, k):
    return put(a @ b, k[0], 5.0), put(a.reshape((6, 4)) @ b, k[0], 7.0)


def one_memory_read_twice(a, b, k):
    return put(a @ b, k[0], 5.0), a.reshape((6, 4)) @ b


def old_element_at_a_new_place(s):
    def body(i, a, b):
        t = put(a, i, a[i] + 1.0)
        where = np.where(t[(i + 1) % 5] > -1e9, i, 0)
        return t, b + a[where]

    return loop(5, body, s, s)


def old_and_new_elements(s):
    def body(i, s):
        t = put(s, i, -1.0)
        return (put(t, (i + 2) % 5, s[i] + t[i]),)

    return loop(5, body, s)


def sum_of_the_state(s):
    return loop(5, lambda i, s: (put(s, i, s.sum()),), s)


def states_change_places(s):
    return loop(5, lambda i, a, b: (put(b, i, a[i]), put(a, i, b[i] + 1)), s, s * 2)


def state_read_as_it_was(x, w, k):
    return loop(3, lambda i, a, b: (put(a, i, w), a), x, x)


def state_and_its_sum(x, w, k):
    return loop(3, lambda i, a, b: ((t := put(a, i, w)), b + t), x, x)


def thrown_away(x, w, k):
    def body(i, s):
        u = put(put(s, i, w), k[1], s[k[1]] * 2)
        return (put(s, k[0], u[k[1]] + u[i]),)

    return loop(3, body, x)


PROGRAMS: list[tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = [
    *(
        (program, (X, W, K))
        for program in (
            product,
            product_read_later,
            two_of_one,
            rows_of_one,
            seen_from_the_side,
            flat_and_whole,
            a_row_and_a_sum,
            one_after_the_other,
            two_after_one,
            an_argument,
            a_row_of_an_argument,
            in_a_branch,
            after_a_branch,
            after_a_loop,
            state_read_as_it_was,
            state_and_its_sum,
            thrown_away,
        )
    ),
    *((program, (CUBE, MATRIX, K)) for program in (one_memory_of_two_products, one_memory_read_twice)),
    *(
        (program, (S,))
        for program in (
            old_element_at_a_new_place,
            old_and_new_elements,
            sum_of_the_state,
            states_change_places,
        )
    ),
]


@pytest.mark.parametrize(("program", "data"), PROGRAMS, ids=lambda p: getattr(p, "__name__", ""))
def test_writes_show_in_their_result_alone(program: Callable[..., Any], data: tuple[np.ndarray, ...]) -> None:
    symbols = [sg.placeholder(f"p{k}", shape=d.shape, dtype=d.dtype) for k, d in enumerate(data)]
    given = [d.copy() for d in data]
    found = flatten(sg.compile(program(*symbols), inputs=symbols)(*given))[0]
    for one, other in zip(found, flatten(program(*data))[0], strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(given, data, strict=True):
        np.testing.assert_array_equal(one, other, "an argument has changed")

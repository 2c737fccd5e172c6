"""Tracing: plain Python functions become formulas, and writes into arrays mean what they mean in NumPy."""

from __future__ import annotations

import copy
import math
import operator
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import symgraph as sg
from compiler.interpret import interpret
from symgraph.traced import Traced, index_update

ODD = np.array([[np.nan, -0.0, np.inf, 2.0], [1.5, -np.inf, 0.0, -3.0], [4.0, 5.0, -6.0, 7.0]])
"""What a mask that multiplies would spoil."""


def declared(inputs: dict[str, Any], how: str = "ints") -> dict[str, Any]:
    """Declarations: with sizes as ints, with sizes by name, or none."""
    if how == "none":
        return {}
    return {
        name: sg.spec(
            tuple(f"{name}{axis}" if how == "names" else size for axis, size in enumerate(np.shape(v))),
            np.asarray(v).dtype,
        )
        for name, v in inputs.items()
    }


def leaves(value: Any) -> list[Any]:
    return [leaf for inner in value for leaf in leaves(inner)] if isinstance(value, list | tuple) else [value]


def check_bits(got: Any, wanted: Any) -> None:
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
    np.testing.assert_array_equal(got, wanted)
    if got.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(got), np.signbit(wanted))


def check(fn: Callable[..., Any], how: str = "ints", **inputs: Any) -> None:
    """The traced function gives NumPy's bits, and leaves its arguments alone."""
    given_ = {k: np.copy(v) if isinstance(v, np.ndarray) else v for k, v in inputs.items()}
    outputs, placeholders = sg.symbolic(fn, **declared(inputs, how))
    with np.errstate(all="ignore"):
        got = interpret([*leaves(outputs), *placeholders], given_)[: len(leaves(outputs))]
        wanted = leaves(fn(**{k: np.copy(v) if isinstance(v, np.ndarray) else v for k, v in inputs.items()}))
    for mine, numpys in zip(got, wanted, strict=True):
        check_bits(mine, numpys)
    for name, value in inputs.items():
        check_bits(given_[name], value)


# -- tracing -----------------------------------------------------------------------------------------------------------


def test_a_traced_function_is_called_by_name_and_by_position() -> None:
    def energy(x, k=2.0):
        a, b, c = x
        return k * (a * b + np.sin(c))

    f = sg.trace(energy, x=sg.spec(shape=(3,), dtype="float64"))
    x = np.array([2.0, 3.0, 0.5])
    assert f(x=x) == f(x) == energy(x)


@pytest.mark.parametrize("decorate", [sg.trace, sg.trace(), sg.trace(x="float64"), sg.trace(x=((3,), float))])
def test_decorators(decorate: Callable[..., Any]) -> None:
    @decorate
    def doubled(x):
        return 2 * x

    np.testing.assert_array_equal(doubled(np.array([1.0, 2.0, 3.0])), [2.0, 4.0, 6.0])


@pytest.mark.parametrize(
    ("given_", "shape", "dtype"),
    [
        (sg.spec((2, 3), "float32"), (2, 3), "float32"),
        (((2, 3), "float32"), (2, 3), "float32"),
        (([2, 3], np.float32), (2, 3), "float32"),
        ((2, 3), (2, 3), None),
        ((), (), None),
        ("float32", None, "float32"),
        (np.int64, None, "int64"),
        (bool, None, "bool"),
        ((None, "int32"), None, "int32"),
        (sg.spec(), None, None),
    ],
)
def test_declarations(given_: Any, shape: Any, dtype: Any) -> None:
    _, (x,) = sg.symbolic(lambda x: x, x=given_)
    assert x is sg.placeholder("x", shape, dtype)


def test_sizes_may_have_names() -> None:
    out, (x, y) = sg.symbolic(lambda x, y: x @ y, x=(("n", 3), "float64"), y=((3,), "float64"))
    assert str(x.type) == "float64(n, 3)"
    assert str(out.type) == "float64(n,)"
    assert y.shape == (3,)


def test_defaults_are_constants_unless_declared() -> None:
    def scaled(x, k=3.0, *, shift=1.0):
        return k * x + shift

    out, inputs = sg.symbolic(scaled)
    assert [i.name for i in inputs] == ["x"]
    assert interpret([out], {"x": 2.0}) == [7.0]
    out, inputs = sg.symbolic(scaled, shift="float64")
    assert [i.name for i in inputs] == ["x", "shift"]
    assert interpret([out], {"x": 2.0, "shift": 0.5}) == [6.5]


def test_results_keep_their_form() -> None:
    pair = namedtuple("pair", "left right")

    def forms(x):
        return {"a": (x, [x + 1, 2]), "b": pair(x * 2, np.ones(2))}

    out, _ = sg.symbolic(forms)
    assert isinstance(out["a"], tuple) and isinstance(out["a"][1], list) and isinstance(out["b"], pair)
    assert all(isinstance(e, sg.Expr) for e in leaves([out["a"], out["b"]]))
    result = sg.trace(forms, x="float64")(4.0)
    assert result["a"] == (4.0, [5.0, 2])
    assert result["b"].left == 8.0
    np.testing.assert_array_equal(result["b"].right, [1.0, 1.0])


def test_other_symbols_and_gradients_mix_with_traced_arrays() -> None:
    w = sg.placeholder("w", shape=(3,), dtype="float64")

    def slope(x):
        x[0] = 2.0
        return sg.grad(np.sum(x**2 * w), x)[0] * w

    out, inputs = sg.symbolic(slope, x=((3,), float))
    assert [i.name for i in inputs] == ["x"]
    found = interpret([out], {"x": np.array([1.0, 3.0, 4.0]), "w": np.array([1.0, 10.0, 100.0])})[0]
    np.testing.assert_array_equal(found, [4.0, 600.0, 80000.0])


@pytest.mark.parametrize(
    ("fn", "specs", "text"),
    [
        (lambda x, *rest: x, {}, r"takes \*rest.*each input of a formula needs a name; wrap it"),
        (lambda x, **rest: x, {}, r"takes \*\*rest"),
        (lambda weight: weight, {"wieght": "float64"}, "no parameter 'wieght'; it has weight. Did you mean 'weight'"),
        (lambda: 1.0, {"x": "float64"}, "it has none"),
        (lambda x: x, {"x": 3}, r"must be sg.spec\(shape, dtype\).*got 3"),
        (lambda x: x, {"x": "float65"}, "got 'float65'"),
        (max, {}, r"max shows no parameters; wrap it: lambda x: max\(x\)"),
    ],
)
def test_bad_declarations(fn: Callable[..., Any], specs: dict[str, Any], text: str) -> None:
    with pytest.raises(sg.SymgraphError, match=text):
        sg.symbolic(fn, **specs)


def test_a_result_must_be_arrays() -> None:
    def writes(x):
        x[0] = 1.0

    with pytest.raises(sg.SymbolError, match=r"writes returned None.*return the array that was written into"):
        sg.symbolic(writes)
    with pytest.raises(sg.SymbolError, match="returned 'text'"):
        sg.symbolic(lambda x: [x, "text"])


def test_an_error_says_how_to_declare() -> None:
    def first(x):
        a, _b = x
        return a

    with pytest.raises(sg.SymbolError) as caught:
        sg.symbolic(first)
    (note,) = caught.value.__notes__
    assert "first was traced without a shape or dtype for x" in note
    assert "sg.trace(first, x=sg.spec(shape=(3,), dtype='float64'))" in note
    with pytest.raises(sg.SymbolError) as caught:
        sg.symbolic(lambda x: math.sin(x), x=((), float))
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize(
    ("fn", "advice"),
    [
        (lambda x: 1 if x[0] > 0 else 0, "np.where"),
        (lambda x: x if x.any() else -x, "np.where"),
        (lambda x: 2 if x[0] in (1.0, 2.0) else 0, "np.where"),
        (lambda x: float(x[0]), "call the compiled function"),
        (lambda x: int(x[0]), "call the compiled function"),
        (lambda x: complex(x[0]), "call the compiled function"),
        (lambda x: x.item(), "call the compiled function"),
        (lambda x: x.tolist(), "call the compiled function"),
        (lambda x: math.exp(x[0]), "instead of the math module's"),
        (lambda x: np.zeros(3)[x[0].astype(int)], r"sg.constant\(table\)\[i\]"),
        (lambda x: list(range(x[0])), "declare the size as an int"),
        (lambda x: 1.0 in x, "np.equal"),
        (lambda x: np.asarray(x, dtype=float), "leave np.asarray out"),
        (lambda x: np.array([x[0].astype(int), 1]), r"np.stack\(\[x, y\]\)"),
        (lambda x: np.exp(np.array([x[0], 1.0])), r"np.stack\(\[x, y\]\)"),
        (lambda x: np.maximum(np.array([x[0], 1.0]), 0.0), r"np.stack\(\[x, y\]\)"),
        (lambda x: np.linalg.det(np.array([[x[0], x[1]], [1.0, 2.0]])), r"np.stack\(\[x, y\]\)"),
        (lambda x: x.sort(), "not available on symbols"),
        (lambda x: np.modf(x), "not an operation of symgraph"),
    ],
)
def test_what_needs_a_value(fn: Callable[..., Any], advice: str) -> None:
    with pytest.raises((sg.SymbolError, AttributeError, TypeError), match=advice):
        sg.symbolic(fn, x=((3,), float))


def assigned(target: Any, key: Any, value: Any) -> Any:
    target[key] = value
    return target


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: assigned(np.zeros(3), 0, x[0]),
        lambda x: assigned(np.zeros(3), slice(None), x),
        lambda x: assigned(np.zeros((2, 3)), 0, x * 2),
        lambda x: assigned(np.zeros(2), slice(None), [x[0], x[1]]),
        lambda x: np.copyto(np.zeros(3), x),
    ],
)
def test_writing_a_symbol_into_an_ndarray_says_what_to_write(fn: Callable[..., Any]) -> None:
    with pytest.raises(sg.SymbolError, match=r"np\.zeros\(3, like=x\)"):
        sg.symbolic(fn, x=((3,), float))


def test_adding_a_symbol_into_an_ndarray_says_what_to_write() -> None:
    with pytest.raises(sg.SymbolError, match=r"a = a \+ x instead of a \+= x"):
        sg.symbolic(lambda x: operator.iadd(np.zeros(3), x), x=((3,), float))


# -- arrays of symbols -------------------------------------------------------------------------------------------------


def test_np_array_of_scalar_symbols() -> None:
    def rates(s, v):
        a, b, c = s
        k = np.array([a * b, 2.0, np.exp(c)])
        roots = np.sqrt(np.array([b * b, c]))
        return k + 1, s + 0.5 * k, np.array([[a, b], [c, 1.0]]) @ v, roots, np.array([s, k]), np.sum(k), np.full(3, a)

    s, v = np.array([1.0, -2.0, 0.5]), np.array([3.0, 4.0])
    outputs, _ = sg.symbolic(rates, s=((3,), float), v=((2,), float))
    for mine, numpys in zip(interpret(list(outputs), {"s": s, "v": v}), rates(s, v), strict=True):
        np.testing.assert_allclose(mine, numpys, rtol=1e-15)


@pytest.mark.parametrize("shape", [None, ("n",), (2000,)])
def test_np_array_needs_a_small_declared_shape(shape: Any) -> None:
    with pytest.raises(sg.SymbolError, match="cannot become an ndarray"):
        sg.symbolic(lambda x: np.array([x, x]), x=(shape, float))


# -- writes ------------------------------------------------------------------------------------------------------------

WRITES: dict[str, Callable[..., Any]] = {
    "element": lambda x: assigned(x, (0, 1), 7.0),
    "negative element": lambda x: assigned(x, (-1, -2), -0.0),
    "row": lambda x: assigned(x, 1, x[0]),
    "block": lambda x: assigned(x, (slice(1, None), slice(0, 2)), x[:2, 2:]),
    "strided": lambda x: assigned(x, (slice(None, None, 2), slice(None, None, -1)), x[1]),
    "ellipsis": lambda x: assigned(x, (..., 0), -x[..., 3]),
    "everything": lambda x: [assigned(x, ..., x[::-1]), x],
    "scalar into all": lambda x: assigned(x, slice(None), -0.0),
    "int into floats": lambda x: assigned(x, 0, 3),
    "bools into floats": lambda x: assigned(x, 0, x[1] > 0),
    "empty": lambda x: assigned(x, slice(0, 0), 5.0),
    "new axis": lambda x: assigned(x, (None, 0), x[None, 1]),
    "slice in place": lambda x: [operator.iadd(x[1:], x[:-1]), x],
    "a copy": lambda x: [assigned(x.copy(), 0, 1.0), assigned(np.copy(x), 1, 2.0), x],
    "an array like x": lambda x: [assigned(np.zeros_like(x), 0, x[1]), assigned(np.empty_like(x), ..., x[2, 0])],
    "through the transpose": lambda x: [assigned(x.T, (slice(None), 0), -0.0), x],
    "through a flip": lambda x: [assigned(np.flip(x, 0), 0, x[1]), x],
    "mask": lambda x: assigned(x, x < 0, np.nan),
}


@pytest.mark.parametrize("how", ["ints", "names", "none"])
@pytest.mark.parametrize("name", WRITES)
def test_writes(name: str, how: str) -> None:
    check(WRITES[name], how, x=ODD)


DECLARED_WRITES: dict[str, Callable[..., Any]] = {
    "column": lambda x: assigned(x, (slice(None), 1), [1.0, 2.0, 3.0]),
    "leading ones": lambda x: assigned(x, 0, x[1].reshape(1, 1, 4)),
    "augmented": lambda x: [operator.iadd(x, 2.0), x],
    "each operator": lambda x: operator.imul(operator.isub(operator.itruediv(operator.ipow(x, 2), 3.0), x[0]), 0.5),
    "remainders": lambda x: operator.imod(operator.ifloordiv(x, 0.7), 2.0),
    "product": lambda x: operator.imatmul(x, np.arange(16.0).reshape(4, 4)),
    "list": lambda x: assigned(x, [0, -1], x[[1, 1]]),
    "list of columns": lambda x: assigned(x, (slice(None), [3, 0]), x[:, :2]),
    "equal indices": lambda x: assigned(x, [0, 1, 0], np.arange(12.0).reshape(3, 4)),
    "no index": lambda x: [assigned(x, [], 5.0), assigned(x, (slice(None), np.array([], int)), 5.0)],
    "constant mask": lambda x: assigned(x, np.array([True, False, True]), -x[:2]),
    "list of bools": lambda x: assigned(x, (slice(None), [True, False, False, True]), 0.0),
    "mask of two dimensions": lambda x: assigned(x, np.arange(12).reshape(3, 4) % 3 == 0, -0.0),
    "mask of rows": lambda x: assigned(x, x[:, 0] > 0, x[0]),
    "pairs": lambda x: assigned(x, ([0, 2, 0], [1, 3, 1]), [1.0, -0.0, 3.0]),
    "diagonal": lambda x: assigned(x, np.diag_indices(3), x[0, :3]),
    "product of lists": lambda x: assigned(x, np.ix_([0, 2], [3, 1]), [[1.0, 2.0], [3.0, 4.0]]),
    "apart": lambda x: [
        assigned(x.reshape(3, 2, 2).copy(), (0, slice(None), [1, 0]), [[1.0, 2.0], [3.0, 4.0]]),
        assigned(x.reshape(3, 2, 2).copy(), (slice(None), [0, 1], [1, 0]), np.arange(6.0).reshape(3, 2)),
    ],
    "list in place": lambda x: operator.setitem(x, [0, 2], x[[0, 2]] + 1) or x,
    "fill": lambda x: x.fill(2) or x,
    "copyto": lambda x: np.copyto(x, x[0], where=x[1] > 0) or x,
    "fill_diagonal": lambda x: np.fill_diagonal(x, 9.0) or x,
    "out": lambda x: [np.add(x, 1.0, out=x), np.exp(x[0], out=x[1]), x],
    "two outs": lambda x: [*np.divmod(x, 2.0, out=(x, np.zeros_like(x))), x],
    "zero dimensions": lambda x: [assigned(x[0, 1, ...], (), 3.0), assigned(x[1, 1, ...], ..., 4.0), x],
    "view of a view": lambda x: [assigned(x[1:].T[::-1], (0, 0), 5.0), x],
    "expanded": lambda x: [assigned(np.expand_dims(x, 1), (0, 0), 5.0), assigned(x[:, None], (1, 0, 2), 6.0), x],
    "squeezed": lambda x: [assigned(np.squeeze(x[:1], 0), 0, 5.0), assigned(np.swapaxes(x, 0, 1), (3, 0), 1.0), x],
    "rank added by reshape": lambda x: [assigned(x.reshape(3, 1, 4), (0, 0, 0), 5.0), x],
}


@pytest.mark.parametrize("name", DECLARED_WRITES)
def test_writes_of_declared_shape(name: str) -> None:
    check(DECLARED_WRITES[name], x=ODD)


def test_writes_convert_to_the_dtype_of_the_array() -> None:
    def written(i, h, b):
        i[0], h[1], b[0] = 2.7, i[1] * 3.000000001, h[1]
        i[1:] = h[:2]
        h += np.arange(3)
        return i, h, b

    inputs = {"i": np.arange(3), "h": np.ones(3, np.float32), "b": np.array([False, True])}
    check(written, **inputs)
    check(lambda x: assigned(x, x < 2, 7.9), x=np.arange(4))
    check(lambda x: assigned(x, [0, 1], [7.9, -7.9]), x=np.arange(4))
    out, _ = sg.symbolic(lambda i: assigned(i, 0, 2.7))
    check_bits(interpret([out], {"i": np.arange(3)})[0], [2, 1, 2])


def test_calling_the_compiled_function_leaves_the_arguments_alone() -> None:
    def smoothed(u):
        for _ in range(3):
            u[1:-1] += 0.25 * (u[2:] - 2 * u[1:-1] + u[:-2])
            u[0] = u[-1] = 0.0
        return u

    u = np.random.default_rng(0).normal(size=9)
    kept = u.copy()
    wanted = smoothed(u.copy())
    for how in ("ints", "names"):
        found = sg.trace(smoothed, **declared({"u": u}, how))(u)
        np.testing.assert_allclose(found, wanted, rtol=1e-14)
        np.testing.assert_array_equal(u, kept)


@pytest.mark.parametrize(
    ("fn", "kind", "text"),
    [
        (lambda x: assigned(x, 3, 0.0), sg.OutOfBoundsError, "index 3 is out of bounds for axis 0 with size 3"),
        (lambda x: assigned(x, [0, 3], 0.0), sg.OutOfBoundsError, "index 3 is out of bounds"),
        (lambda x: assigned(x, ([0], [4]), 0.0), sg.OutOfBoundsError, "out of bounds"),
        (lambda x: assigned(x, 0, [1.0, 2.0]), sg.ShapeError, r"shape \(2,\) into a part of shape \(4,\)"),
        (lambda x: assigned(x, (0, 0), [1.0, 2.0]), sg.ShapeError, r"shape \(2,\) into a part of shape \(\)"),
        (lambda x: operator.iadd(x[0], np.ones((3, 4))), sg.ShapeError, "cannot write shape"),
        (lambda x: operator.iadd(x.astype(int), 0.5), sg.DTypeError, r"float64 cannot be written .* int64"),
        (lambda x: np.sqrt(x, out=x.astype(int)), sg.DTypeError, "float64 cannot be written"),
        (lambda x: assigned(x, x[0].astype(int), 0.0), sg.SymbolError, "a single index, or constant ones"),
        (lambda x: assigned(x, x > 0, x[0]), sg.SymbolError, r"np.where\(mask, v, x\)"),
        (lambda x: assigned(x, np.ones((2, 4), bool), 0.0), sg.ShapeError, "mask of shape"),
        (lambda x: assigned(x, "text", 0.0), sg.OutOfBoundsError, "an index must be"),
        (lambda x: assigned(np.broadcast_to(x[0], (2, 4)), 0, 1.0), sg.SymbolError, "read-only; use .copy"),
        (lambda x: assigned(x.reshape(-1), 0, 1.0), sg.SymbolError, "may be a view or a copy"),
        (lambda x: np.fill_diagonal(x[0], 0.0), sg.SymbolError, "only a matrix"),
        (lambda x: np.add(x, 1, out=np.zeros((3, 4))), sg.SymbolError, "cannot be written into an array"),
    ],
)
def test_writes_that_are_refused(fn: Callable[..., Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        sg.symbolic(fn, x=((3, 4), float))


def test_an_error_of_a_write_names_the_line() -> None:
    def wrong(x):
        x[0] = [1.0, 2.0]
        return x

    with pytest.raises(sg.ShapeError, match=r"test_trace\.py:\d+: x\[0\] = \[1\.0, 2\.0\]"):
        sg.symbolic(wrong, x=((3, 4), float))


def test_a_write_of_a_wrong_size_is_refused_at_the_call() -> None:
    out, _ = sg.symbolic(lambda x, v: assigned(x, slice(1, None), v), x=(("n",), float), v=(("m",), float))
    f = sg.compile(out)
    check_bits(f(x=np.arange(3.0), v=np.array([5.0, 6.0])), [0.0, 5.0, 6.0])
    check_bits(f(x=np.arange(3.0), v=np.array([5.0])), [0.0, 5.0, 5.0])
    with pytest.raises(sg.ShapeError):
        f(x=np.arange(3.0), v=np.ones(3))


# -- names, views and copies -------------------------------------------------------------------------------------------


def test_elements_are_numbers_and_slices_are_views() -> None:
    def mixed(x):
        element, row, part, turned, backwards = x[0, 0], x[0], x[1:, :2], x.T, x[::-1]
        x[0] = 5.0
        x[1, 1] = 6.0
        element += 1
        row *= 2
        part[0] -= 1
        turned[3] = -0.0
        y = x
        y += 0.5
        return element, row, part, turned, backwards, x, y

    check(mixed, x=ODD)


def test_iteration_gives_views() -> None:
    def rows(x):
        for k, row in enumerate(x):
            row += k
        first, *_ = x
        first[0] = 9.0
        return x

    check(rows, x=ODD)


def test_copies_are_arrays_of_their_own() -> None:
    def copied(x):
        made = [
            x.copy(), np.copy(x), np.array(x, like=x), x[[0, 1, 2]], x + 0, x.astype(float), x.flatten(), np.roll(x, 0),
            copy.copy(x), copy.deepcopy(x), np.tile(x, 1), np.repeat(x, 1, 0), (x > 0).copy(), np.copy(x > 0),
        ]  # fmt: skip
        same = [np.asarray(x, like=x), x.astype(float, copy=False), x.real, x[:], np.atleast_1d(x)]
        for k, array in enumerate(made):
            array[0] = k
        for array in same:
            array[0] += 1
        return x, made, same

    check(copied, x=np.nan_to_num(ODD))


def test_a_number_keeps_its_value_under_another_name() -> None:
    def counted(x):
        total = x.sum()
        before = total
        total += 1
        total *= 2
        return before, total

    check(counted, x=np.arange(3.0))


def test_equality_compares_elements() -> None:
    check(lambda x: [x == 0, x != x, np.where(x == 2.0, 1, 0), x[0] == x[1]], x=ODD)


def test_what_an_undeclared_rank_leaves_open_is_refused() -> None:
    def rebound(x):
        x -= np.max(x)
        x /= np.sum(x)
        return x

    for how in ("ints", "none"):
        check(rebound, how, x=np.array([1.0, 2.0, 4.0]))

    def another_name(x):
        y = x
        y += 1
        return x

    def row_in_place(x):
        row = x[0]
        row += 1
        return x

    def reshaped(x):
        y = x.reshape(4, 3)
        x[0] = 1
        return y

    check(another_name, x=ODD)
    check(row_in_place, x=ODD)
    with pytest.raises(sg.SymbolError, match="has another name"):
        sg.symbolic(another_name)
    with pytest.raises(sg.SymbolError, match="number or a view"):
        sg.symbolic(row_in_place)
    for how in ("ints", "names", "none"):
        with pytest.raises(sg.SymbolError, match="was written into after"):
            sg.symbolic(reshaped, **declared({"x": ODD}, how))
    check(lambda x: assigned((x * 1).reshape(4, 3), 0, 1.0), x=ODD)


def test_doubt_about_a_view_outlives_the_array_it_was_taken_from() -> None:
    def written_before_it_was_dropped(x):
        t = x * 2
        y = t.reshape(4, 3)
        t[0] = 5.0
        del t
        return y + 0

    def through_a_temporary(x):
        y = x.T.reshape(2, 6)
        x[0] = 5.0
        return y.reshape(12)

    def of_a_reshape(x):
        y = x.reshape(4, 3).reshape(12)
        x[0] = 5.0
        return y

    for fn in (written_before_it_was_dropped, through_a_temporary, of_a_reshape):
        with pytest.raises(sg.SymbolError, match="a view or a copy is not known"):
            sg.symbolic(fn, x=((3, 4), float))
    with pytest.raises(sg.SymbolError, match="may be a view or a copy"):
        sg.symbolic(lambda x: assigned(x.T.reshape(2, 6)[1:], 0, 1.0), x=((3, 4), float))


def test_arrays_made_like_another() -> None:
    def padded(x):
        n = x.shape[0]
        out = np.zeros(n + 2, like=x)
        out[1:-1] = x
        return out, np.ones((2, n), int, like=x) * x, np.full(n, x[0], like=x), np.empty(0, like=x)

    check(padded, x=np.array([1.0, 2.0, 4.0]))
    check(lambda x: np.full((2, x.shape[0]), x[0], np.float32, like=x), "names", x=np.array([1.0, 2.0, 4.0]))
    with pytest.raises(sg.SymbolError, match=r"a shape must be made of ints; declare the size"):
        sg.symbolic(padded, x=(("n",), float))


def test_a_traced_array_answers_as_an_ndarray() -> None:
    seen = {}

    def look(x):
        seen.update(shape=x.shape, ndim=x.ndim, size=x.size, dtype=x.dtype, length=len(x), text=repr(x))
        assert isinstance(x, Traced) and hash(x) == hash(x)
        assert not hasattr(x, "__array_interface__")
        return x

    sg.symbolic(look, x=((3, 4), "float32"))
    assert seen == {"shape": (3, 4), "ndim": 2, "size": 12, "dtype": np.dtype("float32"), "length": 3, "text": "x"}


def test_a_chain_of_views_and_of_writes_needs_no_recursion() -> None:
    def chained(x):
        view = x
        for _ in range(2000):
            view = view[::-1]
        view[0] = 5.0
        for k in range(3000):
            x[k % 3] = x[(k + 1) % 3] + 1
        return x, view

    outputs, _ = sg.symbolic(chained, x=((3,), float))
    assert len(outputs) == 2


# -- index_update ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["ints", "names", "none"])
def test_the_gradient_of_a_write(how: str) -> None:
    rng = np.random.default_rng(2)
    inputs = {"x": rng.normal(size=(3, 4)), "v": rng.normal(size=4), "w": rng.normal(size=(3, 4))}

    def loss(x, v, w):
        y = np.sin(x)
        y[1] = v * x[0]
        y[:, ::2] = y[:, 1::2] ** 2
        y[2, 1:3] *= y[0, 1:3]
        if how != "none":
            y[y > 0.5] = 2.0
        return np.sum(y * w)

    total, placeholders = sg.symbolic(loss, **declared(inputs, how))
    found = interpret(sg.grad(total, placeholders[:2]), inputs)
    for name, slopes in zip("xv", found, strict=True):
        for place in np.ndindex(inputs[name].shape):
            step = np.zeros_like(inputs[name])
            step[place] = 1e-6
            up, down = (float(loss(**inputs | {name: inputs[name] + s * step})) for s in (1, -1))
            assert slopes[place] == pytest.approx((up - down) / 2e-6, abs=1e-8)


def test_overwritten_elements_have_no_gradient_even_where_they_are_not_finite() -> None:
    x = sg.placeholder("x", shape=(3,), dtype="float64")
    y = index_update(np.log(x), slice(0, 2), 1.0)
    slopes = interpret(sg.grad(sg.sum(y), x), {"x": np.array([0.0, -1.0, 4.0])})[0]
    assert slopes[2] == 0.25
    second = interpret(sg.grad(sg.grad(sg.sum(index_update(x, 0, x[1]) ** 3), x)[0][1], x), {"x": np.ones(3)})[0]
    np.testing.assert_array_equal(second, [0.0, 12.0, 0.0])


def test_a_row_at_a_symbol_is_a_view_and_what_np_take_gives_is_none() -> None:
    def write(m: Any, k: Any, i: Any) -> Any:
        row, taken, picked = m[k], np.take(m, k, axis=0), m[i]
        m += 1
        row[0] = 100.0
        row += 1
        return m, row, taken, picked

    m, i = np.arange(6.0).reshape(3, 2), np.array([2, 2])
    declared = {"m": sg.spec((3, 2), "float64"), "k": sg.spec((), "int64"), "i": sg.spec((2,), "int64")}
    formulas, inputs = sg.symbolic(write, **declared)
    for one, other in zip(sg.compile(formulas, inputs)(m, 1, i), write(m.copy(), 1, i), strict=True):
        np.testing.assert_array_equal(one, other)


def test_whether_a_row_at_a_symbol_is_a_view_may_be_unknown() -> None:
    def write(m: Any, k: Any) -> Any:
        row = m[k]
        m += 1
        return row

    with pytest.raises(sg.SymbolError, match="whether this is a view or a copy is not known"):
        sg.symbolic(write, m=sg.spec(("n", 2), "float64"), k=sg.spec(None, "int64"))


def test_index_update_leaves_its_argument() -> None:
    x = sg.placeholder("x", shape=(3,), dtype="float64")
    y = index_update(x, 1, 5.0)
    given_ = np.arange(3.0)
    check_bits(interpret([y], {"x": given_})[0], [0.0, 5.0, 2.0])
    check_bits(given_, [0.0, 1.0, 2.0])
    assert index_update(x, slice(None), x * 2) is x * 2
    with pytest.raises(sg.SymbolError, match=r"x\[i\] = v works on its arguments"):
        x[1] = 5.0


# -- any program of views and writes -----------------------------------------------------------------------------------

bounds = st.one_of(st.none(), st.integers(-5, 5))
slices = st.builds(slice, bounds, bounds, st.sampled_from([None, 1, 2, -1, -2]))
entries = st.one_of(slices, slices, st.integers(-2, 2), st.just(Ellipsis), st.none())
keys = st.lists(entries, min_size=1, max_size=3).map(tuple).filter(lambda key: sum(e is ... for e in key) < 2)
names = st.integers(0, 4)
numbers = st.sampled_from([0.0, -0.0, np.nan, np.inf, 1.5, -2.0])
steps = st.one_of(
    st.tuples(st.just("view"), names, keys),
    st.tuples(st.just("turn"), names, st.none()),
    st.tuples(st.just("copy"), names, st.none()),
    st.tuples(st.just("pick"), names, st.lists(st.integers(-2, 1), min_size=1, max_size=3)),
    st.tuples(st.just("write"), names, st.tuples(keys, numbers)),
    st.tuples(st.just("write row"), names, st.tuples(keys, names)),
    st.tuples(st.just("add"), names, numbers),
    st.tuples(st.just("add part"), names, st.tuples(keys, numbers)),
    st.tuples(st.just("mask"), names, numbers),
)


def perform(steps_: list[Any], x: Any) -> list[Any]:
    """A program: each step makes an array or writes into one; a step that NumPy refuses is left out."""
    arrays = [x, np.copy(x) * 2]
    plain = isinstance(x, np.ndarray)
    for what, which, detail in steps_:
        if detail == "skip":
            continue
        a = arrays[which % len(arrays)]
        if what == "view":
            arrays.append(a[detail])
        elif what == "turn":
            arrays.append(a.T)
        elif what == "copy":
            arrays.append(a.copy())
        elif what == "pick":
            arrays.append(a[detail])
        elif what == "write":
            a[detail[0]] = detail[1]
        elif what == "write row":
            a[detail[0]] = arrays[detail[1] % len(arrays)] * 2
        elif what == "add":
            a += detail
            arrays[which % len(arrays)] = a
        elif what == "add part":
            a[detail[0]] += detail[1]
        else:
            a[a > 1.0] = detail
    assert plain or all(isinstance(a, Traced) for a in arrays)
    return arrays


def possible(steps_: list[Any]) -> list[Any]:
    """The steps that NumPy accepts, one after the other."""
    kept: list[Any] = []
    for step in steps_:
        try:
            perform([*kept, step], np.arange(12.0).reshape(3, 4) - 5)
        except (IndexError, ValueError, TypeError, AttributeError):
            continue
        kept.append(step)
    return kept


@settings(max_examples=150)
@given(st.lists(steps, min_size=1, max_size=7))
def test_any_program_of_views_and_writes(steps_: list[Any]) -> None:
    steps_ = possible(steps_)
    x = np.arange(12.0).reshape(3, 4) - 5
    outputs, _ = sg.symbolic(lambda x: perform(steps_, x), x=((3, 4), float))
    with np.errstate(all="ignore"):
        for mine, numpys in zip(interpret(outputs, {"x": x}), perform(steps_, x.copy()), strict=True):
            check_bits(mine, numpys)

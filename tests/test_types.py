"""Promotion: the dtype of every result is NumPy's (NEP 50), for arrays, NumPy scalars and Python's numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import DTYPES, FLOATS, difference, special

import symgraph as sg
from compiler import interpret
from symgraph.errors import DTypeError, InputError, ShapeError
from symgraph.op import REGISTRY
from symgraph.types import Opaque, broadcast_shapes, format_shape

BINARY = {
    name: op.ufunc
    for name, op in REGISTRY.items()
    if op.kind == "elementwise" and op.ufunc is not None and op.ufunc.nin == 2
}
OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    "<": operator.lt,
    ">=": operator.ge,
}
NUMBERS: list[Any] = [2, 0, 2.5, True, 1]


def declared(name: str, dtype: Any) -> Any:
    return sg.placeholder(name, shape=(3,), dtype=dtype)


def dtype_of(function: Callable[..., Any], *args: Any) -> np.dtype | None:
    """The dtype of NumPy's result; None where it refuses."""
    try:
        with np.errstate(all="ignore"):
            return np.asarray(function(*args)).dtype
    except TypeError:
        return None


def inferred(function: Callable[..., Any], *args: Any) -> np.dtype | None:
    """The dtype of the symbol."""
    try:
        return function(*args).dtype
    except DTypeError:
        return None


@pytest.mark.parametrize("row", BINARY)
def test_all_pairs_of_dtypes(row: str) -> None:
    for a in DTYPES:
        for b in DTYPES:
            wanted = dtype_of(BINARY[row], np.ones(3, a), np.ones(3, b))
            assert inferred(REGISTRY[row], declared("a", a), declared("b", b)) == wanted, (a, b)


@pytest.mark.parametrize("symbol", OPERATORS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_python_numbers_are_weak(symbol: str, dtype: str) -> None:
    """On either side of an array; as a constant of the formula."""
    function = OPERATORS[symbol]
    for number in NUMBERS:
        if (symbol, dtype, number) == ("**", "bool", 2):
            continue  # where NumPy's operator gives int8 (it takes the square), and np.power int64
        for flip in (False, True):

            def apply(x: Any, flip: bool = flip, number: Any = number) -> Any:
                return function(number, x) if flip else function(x, number)

            assert inferred(apply, declared("x", dtype)) == dtype_of(apply, np.ones(3, dtype)), (number, flip)


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_numbers_are_not_weak(dtype: str) -> None:
    for other in DTYPES:
        number = np.ones((), dtype)[()]
        wanted = dtype_of(np.multiply, np.ones(3, other), number)
        assert inferred(np.multiply, declared("x", other), number) == wanted
    if dtype != "float32":
        return
    product = sg.compile(sg.placeholder("x") * sg.placeholder("y"))
    assert product(x=np.ones(3, "float32"), y=np.float64(2)).dtype == np.float64
    assert product(x=np.ones(3, "int8"), y=np.float32(2)).dtype == np.float32


ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: b / (a + 1),
    "**2": lambda a, b: b**2 * a,
    "chain": lambda a, b: (a * 2 + 1) * b,
    "power": lambda a, b: b ** (a + 0.5),
    "less": lambda a, b: a < b,
    "divided": lambda a, b: (a / 2) * b,
    "floor": lambda a, b: (a // 2) * b,
    "max": lambda a, b: np.maximum(a, b),
    "where": lambda a, b: np.where(b > 1, b, a),
    "abs": lambda a, b: abs(-a) * b,
    "sum": lambda a, b: np.sum(b * a),
    "equal": lambda a, b: np.equal(a, b),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", [3, 2.5])
def test_numbers_given_to_a_call_are_weak(dtype: str, number: Any) -> None:
    """f(a=2.0, b=array) gives what NumPy gives with the Python number in the place of a: dtype and value."""
    b = np.array([1, 0, 1] if dtype == "bool" else [1, 2, 3], dtype)
    wanted = {}
    for name, function in ARITHMETIC.items():
        if (name, dtype) == ("**2", "bool"):
            continue  # see above
        try:
            wanted[name] = function(number, b)
        except TypeError:
            continue
    symbols = sg.placeholder("a"), sg.placeholder("b")
    compiled = sg.compile({name: ARITHMETIC[name](*symbols) for name in wanted}, fma=False)
    results = compiled(a=number, b=b)
    for name, value in wanted.items():
        assert difference(results[name], value, 1 if name == "power" else 0) is None, name
    given = interpret([ARITHMETIC[name](*symbols) for name in wanted], {"a": number, "b": b})
    for (name, value), got in zip(wanted.items(), given, strict=True):
        assert difference(got, value) is None, name


def test_numbers_alone() -> None:
    """Python's numbers among themselves: int64 and float64, as NumPy's scalars."""
    a, b = sg.placeholder("a"), sg.placeholder("b")
    function = sg.compile([a + b, a / b, a // b, a % b, a**2, a < b])
    for values in ((7, 2), (7.0, 2), (7, 2.0), (-7, 2), (7.5, -2.0)):
        x, y = map(np.asarray, values)
        results = function(a=values[0], b=values[1])
        for got, wanted in zip(results, (x + y, x / y, x // y, x % y, x**2, x < y), strict=True):
            assert difference(got, wanted) is None, values


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "bool" and d not in FLOATS])
def test_integers_that_do_not_fit(dtype: str) -> None:
    """Refused in arithmetic, as by NumPy, in formulas and in calls; compared by their value."""
    data = special(dtype)
    x, y = sg.placeholder("x"), sg.placeholder("y")
    added, compared = sg.compile(x + y), sg.compile([x < y, np.equal(x, y), y >= x])
    limits = np.iinfo(dtype)
    for number in (limits.max + 1, limits.min - 1):
        if not -(2**63) <= number < 2**63:
            continue
        with pytest.raises(OverflowError):
            data + number
        with pytest.raises(InputError, match="does not fit"):
            sg.compile(x + number)(x=data)
        with pytest.raises(InputError, match="does not fit"):
            added(x=data, y=number)
        wanted = [data < number, np.equal(data, number), number >= data]
        for form in (compared(x=data, y=number), sg.compile([x < number, np.equal(x, number), number >= x])(x=data)):
            for got, right in zip(form, wanted, strict=True):
                np.testing.assert_array_equal(got, right)
    assert added(x=data[:1], y=1)[0] == data[0] + 1


def test_declared_dtypes() -> None:
    """What holds every value is converted; what would lose digits is refused."""
    x = sg.placeholder("x", dtype="float32")
    function = sg.compile(x * 2)
    for fits in (1, 1.5, True, np.float32(1.5), np.ones(2, "int16"), np.ones(2, "float32"), [1, 2]):
        assert function(x=fits).dtype == np.float32
    for lost in (np.ones(2), np.float64(1), np.ones(2, "int64")):
        with pytest.raises(InputError, match="expected float32"):
            function(x=lost)
    whole = sg.compile(sg.placeholder("n", dtype="int64") + 1)
    assert whole(n=3) == 4 and whole(n=np.int8(3)).dtype == np.int64
    for lost in (1.5, np.ones(2), np.uint64(1)):
        with pytest.raises(InputError, match="expected int64"):
            whole(n=lost)


def test_declared_and_undeclared_give_the_same() -> None:
    for a in DTYPES:
        for b in ("int8", "float32"):
            left, right = np.ones(3, a), np.full(3, 2, b)
            wanted = left * right
            for x, y in ((declared("x", a), declared("y", b)), (sg.placeholder("x"), declared("y", b))):
                (got,) = interpret([x * y], {"x": left, "y": right})
                assert difference(got, wanted) is None


def test_constants_are_weak_as_pythons_numbers() -> None:
    x = declared("x", "float32")
    assert (x * sg.constant(2.0)).dtype == np.float32
    assert (x * sg.constant(np.float64(2.0))).dtype == np.float64
    assert (x + sg.constant(1) / 3).dtype == np.float32
    assert (x * np.pi).dtype == np.float32
    assert (x * np.ones(3)).dtype == np.float64
    assert (sg.constant(True) + sg.constant(True)).dtype == np.bool_


def test_parameters_equal_to_python_are_told_apart() -> None:
    """2 and 2.0 are one key of a dict, and two powers."""
    n = declared("n", "int32")
    assert (n**2).dtype == np.int32 and (n**2.0).dtype == np.float64 and n**2 is not n**2.0
    x = sg.placeholder("x")
    got = sg.compile([np.full_like(x, 0.0), np.full_like(x, -0.0)])(x=np.ones(3))
    assert not np.signbit(got[0]).any() and np.signbit(got[1]).all()


@pytest.mark.parametrize("row", ["sum", "prod", "max", "argmax", "any"])
def test_reductions(row: str) -> None:
    for dtype in DTYPES:
        wanted = getattr(np, row)(np.ones(3, dtype)).dtype
        assert REGISTRY[row](declared("x", dtype), axis=None, keepdims=False).dtype == wanted


def test_products_and_joins() -> None:
    for a in DTYPES:
        for b in DTYPES:
            x, y = declared("x", a), declared("y", b)
            left, right = np.ones(3, a), np.ones(3, b)
            assert (x @ y).dtype == (left @ right).dtype
            assert np.concatenate([x, y]).dtype == np.concatenate([left, right]).dtype
            assert np.where(x > 0, x, y).dtype == np.where(left > 0, left, right).dtype


SHAPES = [(), (1,), (3,), (0,), (2, 3), (1, 3), (2, 1), (2, 2, 3), (0, 3), (2, 0)]


@pytest.mark.parametrize("left", SHAPES)
@pytest.mark.parametrize("right", SHAPES)
def test_broadcasting_of_shapes(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    try:
        wanted = np.broadcast_shapes(left, right)
    except ValueError:
        assert broadcast_shapes(left, right) is None
        x, y = (sg.placeholder(n, shape=s, dtype="float64") for n, s in (("x", left), ("y", right)))
        with pytest.raises(ShapeError, match="do not broadcast"):
            x + y
    else:
        assert broadcast_shapes(left, right) == wanted


def test_unknown_shapes() -> None:
    """The shape of a sum of things of one unknown shape is that shape; numbers change nothing."""
    x, y = sg.placeholder("x"), sg.placeholder("y")
    assert (x * x + 1).type.shape == x.type.shape
    assert isinstance((x + y).type.shape, Opaque) and (x + y).type.shape == (y * x).type.shape != x.type.shape
    assert np.sum(x).type.shape == ()
    assert [format_shape(s) for s in ((), (3,), (3, 4), x.type.shape)] == ["()", "(3,)", "(3, 4)", "(?)"]


def test_typed_placeholders_keep_the_users_line() -> None:
    x, y = sg.placeholder("lined", shape=("n", 10)), sg.placeholder("ruled", shape=("m", 10))
    function = sg.compile(x + y)
    function(lined=np.ones((3, 10)), ruled=np.ones((3, 10)))
    for node in function.variants()[0][1].typed.inputs:
        assert node.origin is not None and node.origin.file == __file__

"""Every error that users can reach: of which class it is, what it says, and whether it names the user's line."""

from __future__ import annotations

import copy
import decimal
import gc
import math
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import symgraph as sg
from compiler import interpret, variant
from symgraph.errors import (
    ArgumentError,
    CompileError,
    DTypeError,
    GradientError,
    InputError,
    OutOfBoundsError,
    ShapeError,
    SymbolError,
    SymgraphError,
)
from symgraph.expr import from_table

a, b = sg.placeholder("a"), sg.placeholder("b")
u = sg.placeholder("u", shape=(2, 3), dtype="float64")
v = sg.placeholder("v", shape=(4,), dtype="float64")
rows = sg.placeholder("rows", shape=("n", 3), dtype="float64")
weights = sg.placeholder("weights", shape=("n",), dtype="float32")
i = sg.placeholder("i", shape=(3,), dtype="int64")
scores = sg.compile(rows * weights[:, None], inputs=[rows, weights])
total = sg.compile(a + b, inputs=[a, b])


class Case(NamedTuple):
    """What a user does, and what must come of it: the class, and texts that the message holds."""

    do: Callable[[], Any]
    error: type[Exception]
    texts: tuple[str, ...]

    @property
    def line(self) -> str:
        return f"test_errors.py:{self.do.__code__.co_firstlineno}"


def caught(case: Case) -> str:
    """The message of the error."""
    with pytest.raises(case.error) as info:
        case.do()
    message = str(info.value)
    for text in case.texts:
        assert text in message, message
    assert len(message) < 1500
    return message


def names(cases: dict[str, Case]) -> Any:
    return pytest.mark.parametrize("name", cases)


# -- Python asks a symbol for a value ----------------------------------------------------------------------------------


def write() -> None:
    a[0] = 1


def write_into_array() -> None:
    np.zeros(3)[0:1] = a


def add_to_array() -> None:
    z = np.zeros(3)
    z += a


ASKED: dict[str, Case] = {
    "bool": Case(lambda: bool(a > 0), SymbolError, ("the truth of a > 0", "np.where", "if")),
    "if": Case(lambda: 1 if a else 2, SymbolError, ("the truth of a ", "np.where")),
    "and": Case(lambda: a and b, SymbolError, ("& and |",)),
    "chained comparison": Case(lambda: 0 < a < 1, SymbolError, ("& and |",)),
    "not": Case(lambda: not a, SymbolError, ("the truth of a ",)),
    "float": Case(lambda: float(a * 2), SymbolError, ("float() needs a value, and a * 2 has none",)),
    "int": Case(lambda: int(a), SymbolError, ("int() needs a value",)),
    "complex": Case(lambda: complex(a), SymbolError, ("complex() needs a value",)),
    "math": Case(lambda: math.sin(a), SymbolError, ("NumPy's function instead of the math module's",)),
    "index of a list": Case(lambda: [1, 2][a], SymbolError, ("sg.constant(table)[i]",)),
    "range": Case(lambda: range(a), SymbolError, ("declare the size",)),
    "item": Case(lambda: a.item(), SymbolError, ("item() needs a value",)),
    "tolist": Case(lambda: a.tolist(), SymbolError, ("tolist() needs a value",)),
    "value": Case(lambda: (a + 1).value, SymbolError, ("a + 1 has no value",)),
    "len": Case(lambda: len(a), SymbolError, ("the shape of a is not known", "declare it")),
    "len of a named size": Case(lambda: len(rows), SymbolError, ("x.shape[0]", "as an int")),
    "len of a number": Case(lambda: len(u[0, 0]), TypeError, ("0 dimensions",)),
    "iteration": Case(
        lambda: list(a), SymbolError, ("cannot loop over a", "sg.scan(body, init, x)", "declare the length as an int")
    ),
    "iteration over a named size": Case(lambda: list(rows), SymbolError, ("cannot loop over rows",)),
    "iteration over a number": Case(lambda: list(u[0, 0]), TypeError, ("0 dimensions",)),
    "unpacking": Case(lambda: (lambda x, y: x)(*a), SymbolError, ("cannot loop over a",)),
    "in": Case(lambda: 1 in a, SymbolError, ("np.equal",)),
    "write": Case(write, SymbolError, ("cannot be written into", "np.where")),
    "write into an array": Case(write_into_array, SymbolError, ("np.zeros_like(x)",)),
    "add to an array": Case(add_to_array, SymbolError, ("a = a + x instead of a += x",)),
    "array": Case(lambda: np.array([a, b]), SymbolError, ("np.stack([x, y])",)),
    "asarray": Case(lambda: np.asarray(a, float), SymbolError, ("np.asarray(x, like=x)",)),
    "shape": Case(lambda: a.shape, SymbolError, ("the shape of a is not known", "sg.placeholder(name, shape=")),
    "ndim": Case(lambda: a.ndim, SymbolError, ("the shape of a is not known",)),
    "dtype": Case(lambda: a.dtype, SymbolError, ("the dtype of a is not known", "dtype='float64'")),
    "squeeze": Case(lambda: np.squeeze(a), SymbolError, ("name the axis",)),
    "mask": Case(lambda: u[u > 0], SymbolError, ("np.where(mask, x, 0)",)),
    "slice by a symbol": Case(lambda: u[: a.sum()], SymbolError, ("a size must be an integer",)),
}


@names(ASKED)
def test_python_cannot_ask_a_symbol_for_its_value(name: str) -> None:
    caught(ASKED[name])


# -- what the language does not have -----------------------------------------------------------------------------------

MISSING: dict[str, Case] = {
    "NumPy's function": Case(lambda: np.sort(a), SymbolError, ("numpy.sort is not available", "sg.operations()")),
    "of a module": Case(lambda: np.linalg.inv(u), SymbolError, ("numpy.linalg.inv is not available",)),
    "ufunc": Case(lambda: np.gcd(a, b), SymbolError, ("np.gcd is not an operation",)),
    "ufunc's method": Case(lambda: np.add.reduceat(a, [0]), SymbolError, ("np.add.reduceat",)),
    "ndarray's method": Case(lambda: a.sort(), AttributeError, ("sort is not available on symbols",)),
    "attribute": Case(lambda: a.foo, AttributeError, ("has no attribute 'foo'",)),
    "out of a ufunc": Case(lambda: np.sin(a, out=np.zeros(3)), SymbolError, ("out=", "a = a + x")),
    "out of a reduction": Case(lambda: np.sum(a, out=np.zeros(3)), SymbolError, ("sum: out= has no meaning",)),
    "where of a ufunc": Case(lambda: np.sin(a, where=b > 0), SymbolError, ("where= has no meaning", "np.where")),
    "where of one argument": Case(lambda: np.where(a), SymbolError, ("all three arguments",)),
    "both modes": Case(
        lambda: a + sg.Variable(np.array(1.0)), TypeError, ("cannot mix a symbol with a Variable", ".data")
    ),
    "both modes, turned": Case(
        lambda: sg.Variable(np.array(1.0)) * a, TypeError, ("cannot mix a Variable with a symbol",)
    ),
    "complex constant": Case(lambda: a + 1j, DTypeError, ("real numbers or bools, got complex128",)),
    "text": Case(lambda: a + "x", DTypeError, ("real numbers or bools", "str")),
    "None": Case(lambda: a + None, DTypeError, ("real numbers or bools", "NoneType")),
    "an object": Case(lambda: sg.constant(object()), DTypeError, ("real numbers or bools", "object")),
    "axis that is no integer": Case(lambda: u.sum(axis=1.5), TypeError, ("'float'", "integer")),
    "axis that is a symbol": Case(lambda: u.sum(axis=a), SymbolError, ("a is not known as an integer",)),
    "index that is no integer": Case(lambda: u[1.5], IndexError, ("an index must be an int", "1.5")),
    "index that is text": Case(lambda: u["x"], IndexError, ("an index must be an int", "'x'")),
    "two ellipses": Case(lambda: u[..., ...], IndexError, ("a single ellipsis",)),
    "two reshaped sizes": Case(lambda: u.reshape(-1, -1), ShapeError, ("only one size may be -1",)),
}


@names(MISSING)
def test_what_is_not_available_says_what_is(name: str) -> None:
    caught(MISSING[name])


# -- operations that do not fit ----------------------------------------------------------------------------------------

DEFINED: dict[str, Case] = {
    "broadcast": Case(lambda: u + v, ShapeError, ("add", "(2, 3) and (4,)", "u is float64(2, 3)", "v is float64(4,)")),
    "matmul": Case(lambda: u @ v, ShapeError, ("matmul: (2, 3) @ (4,)", "inner sizes 3 and 4", "u is float64(2, 3)")),
    "matmul of a number": Case(lambda: u @ u[0, 0], ShapeError, ("no dimensions", "use *")),
    "concatenate": Case(lambda: np.concatenate([u, v]), ShapeError, ("concatenate", "(2, 3)", "(4,)")),
    "concatenate numbers": Case(lambda: np.concatenate([u[0, 0], u[0, 1]]), ShapeError, ("use stack",)),
    "reshape": Case(lambda: u.reshape(4, 2), ShapeError, ("(2, 3) has 6 elements", "(4, 2) has 8")),
    "reshape with -1": Case(lambda: u.reshape(4, -1), ShapeError, ("(2, 3)", "(4, -1)")),
    "axis": Case(lambda: np.sum(u, axis=2), ShapeError, ("sum: axis 2 is out of range for 2 dimensions", "u is")),
    "axis twice": Case(lambda: u.sum(axis=(0, 0)), ShapeError, ("axis given twice in (0, 0)",)),
    "transpose": Case(lambda: u.transpose(0, 1, 2), ShapeError, ("(0, 1, 2)", "2 dimensions")),
    "squeeze": Case(lambda: np.squeeze(u, 0), ShapeError, ("axis 0 of (2, 3) is not of size 1",)),
    "broadcast_to": Case(lambda: np.broadcast_to(u, (3, 3)), ShapeError, ("(2, 3) does not broadcast to (3, 3)",)),
    "index": Case(lambda: u[5], OutOfBoundsError, ("index 5 is out of bounds for axis 0 with size 2", "u is")),
    "negative index": Case(lambda: u[:, -4], OutOfBoundsError, ("index -4 is out of bounds for axis 1 with size 3",)),
    "too many indices": Case(lambda: u[0, 0, 0], OutOfBoundsError, ("3 indices for 2 dimensions",)),
    "empty maximum": Case(lambda: u[:0].max(), ShapeError, ("max", "(0, 3)", "empty")),
    "empty position": Case(lambda: u[:0].argmax(axis=0), ShapeError, ("argmax", "(0, 3)", "empty")),
    "negative power of integers": Case(lambda: i**-1, DTypeError, ("integers to negative integer powers", "float(-1)")),
    "minus a bool": Case(lambda: -(u > 0), DTypeError, ("neg is not defined for bool", "u > 0 is bool(2, 3)")),
    "difference of bools": Case(lambda: (u > 0) - (u > 1), DTypeError, ("sub is not defined for bool, bool",)),
    "bits of floats": Case(lambda: u & 1, DTypeError, ("bitwise_and is not defined for float64",)),
    "shift of floats": Case(lambda: u << 1, DTypeError, ("left_shift is not defined for float64",)),
    "float indices": Case(lambda: np.take(u, v), DTypeError, ("indices must be integers, got float64",)),
}


@names(DEFINED)
def test_a_declared_misfit_is_found_where_it_is_written(name: str) -> None:
    case = DEFINED[name]
    message = caught(case)
    assert case.line in message
    assert "DEFINED" not in message and "Case(" in message  # the line's own text


CALLED: dict[str, tuple[Case, dict[str, Any]]] = {
    "broadcast": (
        Case(lambda: np.exp(a * 2 + b), ShapeError, ("add: shapes (2,) and (3,)", "a * 2 ", "b ")),
        {"a": np.ones(2), "b": np.ones(3)},
    ),
    "matmul": (
        Case(lambda: a @ b, ShapeError, ("matmul: shapes (2, 3) and (2, 3)", "a.shape[1] is 3", "b.shape[0] is 2")),
        {"a": np.ones((2, 3)), "b": np.ones((2, 3))},
    ),
    "concatenate": (
        Case(lambda: np.concatenate([a, b]), ShapeError, ("(2, 3) and (2, 2)", "b.shape[1] is 2")),
        {"a": np.ones((2, 3)), "b": np.ones((2, 2))},
    ),
    "ranks": (
        Case(lambda: np.concatenate([b, a]), ShapeError, ("concatenate", "a is float64", "b is float64")),
        {"a": np.ones((2, 3)), "b": np.ones(2)},
    ),
    "reshape": (Case(lambda: a.reshape(2, 3), ShapeError, ("reshape", "(5,)", "6")), {"a": np.ones(5)}),
    "reshape with -1": (Case(lambda: a.reshape(2, -1), ShapeError, ("reshape", "(5,)")), {"a": np.ones(5)}),
    "squeeze": (Case(lambda: np.squeeze(a, 0), ShapeError, ("squeeze: axis 0",)), {"a": np.ones(3)}),
    "broadcast_to": (Case(lambda: np.broadcast_to(a, (3,)), ShapeError, ("broadcast_to", "(2,)")), {"a": np.ones(2)}),
    "axis": (Case(lambda: a.sum(axis=2), ShapeError, ("axis 2 is out of range for 1 dimension",)), {"a": np.ones(2)}),
    "index": (Case(lambda: a[3], OutOfBoundsError, ("out of bounds", "size 2", "a ")), {"a": np.ones(2)}),
    "negative index": (Case(lambda: a[-3], OutOfBoundsError, ("out of bounds", "size 2")), {"a": np.ones(2)}),
    "index of a number": (Case(lambda: a[0], OutOfBoundsError, ("1 indices for 0 dimensions",)), {"a": 1.0}),
    "indices": (Case(lambda: a[[0, 5]], OutOfBoundsError, ("out of bounds", "size 2")), {"a": np.ones(2)}),
    "run-time indices": (
        Case(lambda: np.take(a, b, axis=0), OutOfBoundsError, ("take", "index of b", "out of bounds")),
        {"a": np.ones(2), "b": np.array([0, 5])},
    ),
    "negative run-time indices": (
        Case(lambda: np.take(a, b, axis=-1), OutOfBoundsError, ("take", "index of b", "out of bounds")),
        {"a": np.ones(2), "b": np.array([-3])},
    ),
    "float indices": (
        Case(lambda: np.take(a, b * 1.5, axis=0), DTypeError, ("indices must be integers, got float64",)),
        {"a": np.ones(2), "b": np.ones(2)},
    ),
    "empty maximum": (Case(lambda: a.max(), ShapeError, ("max", "(0,)", "empty")), {"a": np.zeros(0)}),
    "empty axis": (Case(lambda: a.argmin(axis=0), ShapeError, ("argmin", "(0, 3)", "empty")), {"a": np.zeros((0, 3))}),
    "difference of bools": (
        Case(lambda: a - b, DTypeError, ("sub is not defined for bool, bool",)),
        {"a": True, "b": True},
    ),
    "bits of floats": (
        Case(lambda: a & b, DTypeError, ("bitwise_and is not defined for float64",)),
        {"a": 1.0, "b": 1},
    ),
    "power": (Case(lambda: a**-1, DTypeError, ("negative integer powers",)), {"a": np.arange(3)}),
    "half of a bool": (
        Case(lambda: np.exp(a), DTypeError, ("exp of bool is float16", "astype('float64')")),
        {"a": np.array([True])},
    ),
    "float16 inside": (Case(lambda: a.astype("float16"), DTypeError, ("float16",)), {"a": np.ones(2)}),
    "longdouble inside": (
        Case(lambda: a.astype(np.longdouble), DTypeError, ("float32 and float64",)),
        {"a": np.ones(2)},
    ),
}


@names(CALLED)  # type: ignore[arg-type]
def test_an_undeclared_misfit_names_its_line_when_it_is_called(name: str) -> None:
    case, values = CALLED[name]
    f = sg.compile(case.do())
    for _ in range(2):  # a call that failed leaves nothing behind
        message = caught(case._replace(do=lambda: f(**values)))
        assert case.line in message, message


def test_the_right_line_of_several_is_named() -> None:
    gc.collect()  # a node that still exists, as in a traceback, keeps the line on which it was first written
    x = a * 2
    y = x + b  # here
    z = np.exp(y).sum()
    with pytest.raises(ShapeError) as info:
        sg.compile(z)(a=np.ones(2), b=np.ones(3))
    assert "y = x + b  # here" in str(info.value)
    assert "a * 2 is float64(2,)" in str(info.value)
    with pytest.raises(ShapeError) as info:
        sg.compile(z).grad(a=np.ones(2), b=np.ones(3))
    assert "y = x + b  # here" in str(info.value)
    with pytest.raises(ValueError, match="# here"):
        interpret([z], {"a": np.ones(2), "b": np.ones(3)})


def test_a_size_that_fits_after_one_that_did_not() -> None:
    f = sg.compile(a + b)
    for size in (3, 4):
        with pytest.raises(ShapeError, match=r"\(2,\) and"):
            f(a=np.ones(2), b=np.ones(size))
    assert f(a=np.ones(3), b=np.ones(3)).tolist() == [2, 2, 2]
    assert f(a=np.ones(3), b=np.ones(1)).tolist() == [2, 2, 2]


# -- arguments ---------------------------------------------------------------------------------------------------------

NAMED: dict[str, Case] = {
    "missing": Case(lambda: total(1), ArgumentError, ("missing argument 'b'", "(a: any, b: any)")),
    "both missing": Case(lambda: total(), ArgumentError, ("missing arguments 'a', 'b'",)),
    "extra": Case(lambda: total(1, 2, c=3), ArgumentError, ("there is no placeholder 'c'", "(a: any, b: any)")),
    "too many": Case(lambda: total(1, 2, 3), ArgumentError, ("3 positional arguments", "at most 2")),
    "twice": Case(lambda: total(1, a=2), ArgumentError, ("'a' is given twice",)),
    "twice among enough": Case(lambda: total(1, 2, a=2), ArgumentError, ("'a' is given twice",)),
    "misspelt": Case(
        lambda: scores(rows=1, weigths=2),
        ArgumentError,
        ("no placeholder 'weigths'; did you mean 'weights'?", "(rows: float64(n, 3), weights: float32(n,))"),
    ),
    "positional": Case(
        lambda: sg.compile(a + b)(1, 2), ArgumentError, ("takes keywords: (a: any, b: any)", "inputs=[a, b]")
    ),
    "no cotangent without gradient": Case(
        lambda: total(1, 2, cotangent=3), ArgumentError, ("there is no placeholder 'cotangent'",)
    ),
    "interpreter": Case(lambda: interpret([a + b], {"a": 1}), ArgumentError, ("missing argument 'b'",)),
}


@names(NAMED)
def test_wrong_names_list_what_is_expected(name: str) -> None:
    caught(NAMED[name])


GOOD = np.ones((2, 3)), np.ones(2, np.float32)

DECLARED: dict[str, Case] = {
    "dtype": Case(
        lambda: scores(GOOD[0], np.ones(2)),
        InputError,
        ("'weights' is float64, expected float32", "np.asarray(weights"),
    ),
    "integers for floats that are too small": Case(
        lambda: scores(GOOD[0], np.ones(2, int)), InputError, ("'weights' is int64, expected float32",)
    ),
    "list of floats for integers": Case(
        lambda: sg.compile(i)(i=[1.0, 2.0, 3.0]), InputError, ("'i' is float64, expected int64",)
    ),
    "float for an integer": Case(
        lambda: sg.compile(sg.placeholder("k", dtype="int64"))(k=2.0),
        InputError,
        ("'k' is the float 2.0, expected int64",),
    ),
    "too large an integer": Case(
        lambda: sg.compile(sg.placeholder("k", dtype="int8"))(k=300), InputError, ("'k': 300 does not fit into int8",)
    ),
    "too large an integer in a list": Case(
        lambda: sg.compile(sg.placeholder("k", dtype="int8"))(k=[1, 300]), InputError, ("'k' is int64, expected int8",)
    ),
    "negative for unsigned": Case(
        lambda: sg.compile(sg.placeholder("k", dtype="uint8"))(k=-1), InputError, ("'k': -1 does not fit into uint8",)
    ),
    "too large for float": Case(
        lambda: sg.compile(sg.placeholder("k", dtype="float64"))(k=10**400), InputError, ("does not fit into float64",)
    ),
    "integer for a bool": Case(
        lambda: sg.compile(sg.placeholder("k", dtype=bool))(k=1), InputError, ("'k' is the int 1, expected bool",)
    ),
    "rank": Case(
        lambda: scores(np.ones(3), GOOD[1]), InputError, ("'rows' has shape (3,): 1 dimension, expected (n, 3): 2",)
    ),
    "number for a matrix": Case(lambda: scores(1.0, GOOD[1]), InputError, ("'rows' has shape (): 0 dimensions",)),
    "size": Case(
        lambda: scores(np.ones((2, 4)), GOOD[1]),
        InputError,
        ("'rows' has shape (2, 4), expected (n, 3)", "axis 1 is 4, not 3"),
    ),
    "two sizes of one name": Case(
        lambda: scores(np.ones((5, 3)), GOOD[1]),
        InputError,
        ("size 'n' is 5 in axis 0 of 'rows' but 2 in axis 0 of 'weights'", "(2,)"),
    ),
    "one name in one placeholder": Case(
        lambda: sg.compile(sg.placeholder("square", shape=("n", "n")))(square=np.ones((2, 3))),
        InputError,
        ("size 'n' is 2 in axis 0 of 'square' but 3 in axis 1 of 'square'",),
    ),
    "a size of 1 is no exception": Case(
        lambda: scores(np.ones((1, 3)), GOOD[1]), InputError, ("size 'n' is 1", "but 2")
    ),
    "a computed size": Case(
        lambda: sg.compile(weights.sum() + sg.placeholder("q", shape=(weights.type.shape[0] + 1,))[0])(
            weights=GOOD[1], q=np.ones(2)
        ),
        InputError,
        ("axis 0 of 'q' is 2, expected n + 1 = 3",),
    ),
    "a size that no argument tells": Case(
        lambda: sg.compile(sg.placeholder("q", shape=(weights.type.shape[0] + 1,)))(q=np.ones(2)),
        InputError,
        ("no argument tells the size 'n'", "'q'"),
    ),
}


@names(DECLARED)
def test_declared_arguments_must_fit(name: str) -> None:
    message = caught(DECLARED[name])
    assert "declared at test_errors.py:" in message, message
    assert 'sg.placeholder("' in message


class Raises:
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise RuntimeError("no array today")


VALUES: dict[str, Case] = {
    "None": Case(lambda: total(None, 1), InputError, ("'a' is None", "expected numbers")),
    "text": Case(lambda: total("1.5", 1), InputError, ("'a' is '1.5'",)),
    "bytes": Case(lambda: total(b"1", 1), InputError, ("'a' is b'1'",)),
    "list of texts": Case(lambda: total(["x"], 1), InputError, ("'a' is ['x'] (list)", "real numbers")),
    "list of None": Case(lambda: total([None, 1], 1), InputError, ("'a' is [None, 1] (list)",)),
    "ragged list": Case(lambda: total([[1], [1, 2]], 1), InputError, ("'a' cannot become an array", "inhomogeneous")),
    "complex": Case(lambda: total(1j, 1), InputError, ("'a' is 1j (complex)", "complex128", "real numbers")),
    "complex array": Case(lambda: total(np.ones(2, complex), 1), InputError, ("'a'", "complex128")),
    "longdouble": Case(lambda: total(np.longdouble(1), 1), InputError, ("'a'", "np.asarray(a, 'float64')")),
    "longdouble array": Case(lambda: total(np.ones(2, np.longdouble), 1), InputError, ("'a'", "'float64'")),
    "float16": Case(lambda: total(np.ones(2, np.float16), 1), InputError, ("'a' is float16", "'float64'")),
    "swapped float16": Case(lambda: total(np.ones(2, ">f2"), 1), InputError, ("'a' is float16", "'float64'")),
    "huge integer": Case(lambda: total(2**63, 1), InputError, ("'a'", str(2**63), "64 bits")),
    "very negative integer": Case(lambda: total(-(2**63) - 1, 1), InputError, ("'a'", "64 bits")),
    "huge integers in a list": Case(lambda: total([2**70], 1), InputError, ("'a'", str(2**70))),
    "objects": Case(lambda: total(np.array([1, 2], object), 1), InputError, ("'a'", "object")),
    "an object": Case(lambda: total(object(), 1), InputError, ("'a'", "(object)")),
    "dict": Case(lambda: total({"a": 1}, 1), InputError, ("'a'", "(dict)")),
    "set": Case(lambda: total({1}, 1), InputError, ("'a'", "(set)")),
    "generator": Case(lambda: total((x for x in (1,)), 1), InputError, ("'a'", "(generator)")),
    "Decimal": Case(lambda: total(decimal.Decimal("1.5"), 1), InputError, ("'a'", "(Decimal)")),
    "dates": Case(lambda: total(np.array(["2020-01-01"], "M8[D]"), 1), InputError, ("'a'", "datetime64")),
    "records": Case(lambda: total(np.zeros(2, [("x", float)]), 1), InputError, ("'a'", "'x'")),
    "masked elements": Case(
        lambda: total(np.ma.array([1.0, 2.0], mask=[0, 1]), 1), InputError, ("'a' is a masked array", "x.filled(...)")
    ),
    "symbol": Case(lambda: total(b * 2, 1), InputError, ("'a' is the symbol b * 2", "takes data")),
    "list of symbols": Case(lambda: total([a, b], 1), InputError, ("'a' cannot become an array",)),
    "Variable": Case(lambda: total(sg.Variable(np.array(1.0)), 1), InputError, ("'a' is a Variable", ".data")),
    "conversion that raises": Case(lambda: total(Raises(), 1), InputError, ("'a'", "no array today")),
    "the second": Case(lambda: total(1, None), InputError, ("'b' is None",)),
    "to the interpreter": Case(lambda: interpret([a], {"a": "x"}), InputError, ("'a' is 'x'",)),
}


@names(VALUES)
def test_values_that_are_not_numbers_are_refused(name: str) -> None:
    caught(VALUES[name])


def test_an_error_is_the_same_after_a_good_call() -> None:
    f = sg.compile(a + 1)
    assert f(a=1) == 2
    for bad in (2**63, None, "x", np.ones(2, complex)):
        with pytest.raises(InputError):
            f(a=bad)
    with pytest.raises(ArgumentError):
        f()
    assert f(a=1) == 2


# -- compiling ---------------------------------------------------------------------------------------------------------

COMPILED: dict[str, Case] = {
    "nothing": Case(lambda: sg.compile([]), ArgumentError, ("nothing to compile",)),
    "nothing in a dict": Case(lambda: sg.compile({"a": ()}), ArgumentError, ("nothing to compile",)),
    "None": Case(lambda: sg.compile([a, None]), ArgumentError, ("expected symbols, got NoneType",)),
    "text": Case(lambda: sg.compile("a"), ArgumentError, ("expected symbols, got str: 'a'",)),
    "a function": Case(lambda: sg.compile(lambda x: x), ArgumentError, ("expected symbols, got function",)),
    "a Variable": Case(lambda: sg.compile(sg.Variable(np.array(1.0))), ArgumentError, ("got Variable",)),
    "inputs that lack one": Case(lambda: sg.compile(a + b, inputs=[b]), ArgumentError, ("lacks 'a'",)),
    "an input twice": Case(lambda: sg.compile(a + b, inputs=[a, b, a]), ArgumentError, ("listed twice",)),
    "an input that is none": Case(
        lambda: sg.compile(a, inputs=[a + b]), ArgumentError, ("must be placeholders", "a + b")
    ),
    "an input that is text": Case(lambda: sg.compile(a, inputs=["a"]), ArgumentError, ("must be placeholders", "'a'")),
    "one input": Case(lambda: sg.compile(a, inputs=a), ArgumentError, ("a list of placeholders", "got a")),
    "wrt another": Case(lambda: sg.compile(a, wrt=[b]), ArgumentError, ("placeholders of the formula, got b",)),
    "wrt a name": Case(lambda: sg.compile(a, wrt="c"), ArgumentError, ("placeholders of the formula, got 'c'",)),
    "wrt a number": Case(lambda: sg.compile(a, wrt=3), ArgumentError, ("placeholders of the formula, got 3",)),
    "wrt an inner node": Case(lambda: sg.compile(a + b, wrt=[a + b]), ArgumentError, ("got a + b",)),
    "wrt integers": Case(lambda: sg.compile(i.sum() * a, wrt=[i]), GradientError, ("i is int64", "no gradient")),
    "two of one name": Case(
        lambda: sg.compile(sg.placeholder("twofold") + sg.placeholder("twofold", dtype="float32")),
        ArgumentError,
        ("two placeholders are named 'twofold'", "any (test_errors.py:", "float32 (test_errors.py:", "another name"),
    ),
    "float16": Case(
        lambda: sg.compile(sg.placeholder("h", dtype="float16") + 1),
        DTypeError,
        ("'h' is declared float16", "float32 and float64", "test_errors.py:"),
    ),
}


@names(COMPILED)
def test_what_cannot_be_compiled(name: str) -> None:
    caught(COMPILED[name])


PLACEHOLDERS: dict[str, Case] = {
    **{
        f"name {name!r}": Case(lambda name=name: sg.placeholder(name), ValueError, ("Python identifier", repr(name)))
        for name in (
            "",
            "1a",
            "a b",
            "a-b",
            "a\n",
            'a"',
            "a'b",
            "a\\",
            "a.b",
            "a[0]",
            "\x00",
            "a\u200b",
            "…",
            "🦊",
            3,
            None,
            b"a",
        )
    },
    "size's name": Case(lambda: sg.placeholder("q", shape=("a b",)), ValueError, ("'q'", "'a b'")),
    "negative size": Case(lambda: sg.placeholder("q", shape=(-1,)), ValueError, ("'q'", "negative", "-1")),
    "size that is no integer": Case(lambda: sg.placeholder("q", shape=(1.5,)), DTypeError, ("'q'", "1.5")),
    "size that is a symbol": Case(lambda: sg.placeholder("q", shape=(a,)), SymbolError, ("not known as an integer",)),
    "complex": Case(lambda: sg.placeholder("q", dtype=complex), DTypeError, ("'q'", "complex128")),
    "object": Case(lambda: sg.placeholder("q", dtype=object), DTypeError, ("'q'", "object")),
    "text": Case(lambda: sg.placeholder("q", dtype="U5"), DTypeError, ("'q'", "<U5")),
    "no dtype": Case(lambda: sg.placeholder("q", dtype="decimal"), DTypeError, ("'q'", "'decimal'")),
}


@names(PLACEHOLDERS)
def test_placeholders_that_cannot_be(name: str) -> None:
    caught(PLACEHOLDERS[name])


# -- gradients ---------------------------------------------------------------------------------------------------------

GRADIENTS: dict[str, Case] = {
    "of integers": Case(lambda: total.grad(1, 2), GradientError, ("'a' is int64", "a=float(...)")),
    "of an integer array": Case(
        lambda: total.grad(np.arange(3), 2), GradientError, ("'a' is int64", ".astype('float64')")
    ),
    "of bools": Case(lambda: total.value_and_grad(True, False), GradientError, ("'a' is bool",)),
    "of one that was asked for": Case(
        lambda: sg.compile(a + b, wrt=["b"]).grad(a=1.0, b=2), GradientError, ("'b' is int64",)
    ),
    "without placeholders": Case(
        lambda: sg.compile(sg.constant(1.0)).grad(), GradientError, ("no placeholder to differentiate",)
    ),
    "of a comparison": Case(lambda: sg.compile(a > b).grad(a=1.0, b=2.0), GradientError, ("the output is bool",)),
    "symbolic, wrt integers": Case(lambda: sg.grad(u.sum(), [i]), GradientError, ("i is int64", "astype('float64')")),
    "symbolic, of integers": Case(lambda: sg.grad(i.sum(), [u]), GradientError, ("is int64", "floating-point")),
    "symbolic, wrt a name": Case(lambda: sg.grad(a, ["a"]), GradientError, ("must be symbols, got str",)),
    "symbolic, wrt a Variable": Case(
        lambda: sg.grad(a, [sg.Variable(np.array(1.0))]), GradientError, ("must be symbols, got Variable",)
    ),
    "cotangent of another shape": Case(
        lambda: sg.grad(u, [u], cotangent=v), ShapeError, ("cotangent", "(4,) and (2, 3)")
    ),
    "cotangent of several": Case(
        lambda: sg.compile([a, b]).grad(a=1.0, b=1.0, cotangent=1.0), GradientError, ("a single output", "has 2")
    ),
    "cotangent that is text": Case(lambda: total.grad(1.0, 1.0, cotangent="x"), InputError, ("'cotangent' is 'x'",)),
    "cotangent of another size": Case(
        lambda: total.grad(np.ones(2), 1.0, cotangent=np.ones(3)), ShapeError, ("(3,)", "(2,)", "cotangent")
    ),
    "cotangent of a higher rank": Case(lambda: total.grad(1.0, 1.0, cotangent=np.ones(3)), ShapeError, ("cotangent",)),
    "a wrong shape": Case(lambda: total.grad(np.ones(2), np.ones(3)), ShapeError, ("(2,) and (3,)", "test_errors.py:")),
}


@names(GRADIENTS)
def test_gradients_that_do_not_exist(name: str) -> None:
    caught(GRADIENTS[name])


# -- the classes, and faults of the compiler itself --------------------------------------------------------------------


def test_errors_are_what_numpys_users_catch() -> None:
    assert issubclass(ShapeError, ValueError)
    assert issubclass(InputError, ValueError)
    assert issubclass(DTypeError, TypeError)
    assert issubclass(ArgumentError, TypeError)
    assert issubclass(SymbolError, TypeError)
    assert issubclass(GradientError, TypeError)
    assert issubclass(OutOfBoundsError, IndexError)
    for kind in (
        ShapeError,
        InputError,
        DTypeError,
        ArgumentError,
        SymbolError,
        GradientError,
        OutOfBoundsError,
        CompileError,
    ):
        assert issubclass(kind, SymgraphError)
        again = pickle.loads(pickle.dumps(kind("text")))
        assert type(again) is kind and str(again) == "text"


def test_a_fault_of_the_compiler_is_an_exception_with_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    f = sg.compile(np.exp(a) * rows.sum(), inputs=[a, rows])

    def fails(*args: Any, **options: Any) -> Any:
        raise AssertionError("a fault")

    with monkeypatch.context() as patched:
        patched.setattr(variant, "build", fails)
        with pytest.raises(CompileError, match="AssertionError: a fault") as info:
            f(1.0, GOOD[0])
    assert "exp(a) * sum(rows" in str(info.value)
    assert "a: float64()" in str(info.value)
    (output,) = from_table(copy.deepcopy(info.value.table))
    assert interpret([output], {"a": 0.0, "rows": GOOD[0]}) == [6.0]
    assert f(0.0, GOOD[0]) == 6.0  # the process lives, and the function works when the fault is gone

"""Every row of the operation table, in every form, against NumPy.

Forms: the row on arrays (`impl`), on Variables (eager), the reference interpreter, the kernel, and the printed source
run by Python. What a row means is NumPy's function; results agree in dtype (NumPy's promotion), shape and value, nan
and the sign of zero included, to the last bit unless TOLERANCES says otherwise.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest
from cases import CASES, PRODUCTS, REDUCED, REDUCTIONS, small
from support import DTYPES, FLOATS, Call, difference, forms, pairs, run_text, scattered, special

import symgraph as sg
from compiler import interpret, kernel
from symgraph.errors import DTypeError, ShapeError, SymgraphError
from symgraph.op import REGISTRY

EXACT = ("impl", "interpreter")
"""The forms that run NumPy's own function, whatever its accuracy."""

ELEMENTARY = (
    "cbrt",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sin",
    "cos",
    "tan",
    "arcsin",
    "arccos",
    "arctan",
    "arctan2",
    "sinh",
    "cosh",
    "tanh",
    "arcsinh",
    "arccosh",
    "arctanh",
    "hypot",
    "power",
    "float_power",
    "pow",
)
TOLERANCES: dict[str, tuple[float, str]] = {
    **dict.fromkeys(ELEMENTARY, (2, "the kernel's own function, or the C library's, against NumPy's")),
    "logaddexp": (4, "exp and log1p of the C library, whose errors add up"),
    "logaddexp2": (4, "exp2 and log1p of the C library, whose errors add up"),
    "softplus": (4, "exp and log1p, whose errors add up"),
    "expit": (4, "exp and a quotient, whose errors add up"),
    "erf": (4, "the C library's function, or SciPy's"),
    "erfc": (200, "SciPy's, which the reference runs, loses digits in the tail; the kernel is at most 4 ulp off"),
}
"""Units in the last place by which the kernel may differ from NumPy, and why."""
CANCELLING = ("logaddexp", "logaddexp2")
"""max(x, y) + log1p(...), whose terms can cancel: units are those of the larger operand."""


SIGN_OPEN = ("maximum", "minimum", "fmax", "fmin", "max", "min")
"""Rows where zeros of both signs tie: NumPy's answer depends on the machine and on the length, so its sign is open."""


NUMPYS_SINGLE = 4
"""Units in the last place by which NumPy's own elementary functions are off for float32: arctan2 by 3."""


def tolerance(row: str, form: str, dtype: Any = None) -> float:
    if form in EXACT and row in UFUNCS:
        return 0
    return NUMPYS_SINGLE if row in ELEMENTARY and dtype == np.float32 else TOLERANCES.get(row, (0, ""))[0]


# -- elementwise rows --------------------------------------------------------------------------------------------------

UFUNCS = {name: op.ufunc for name, op in REGISTRY.items() if op.kind == "elementwise" and op.ufunc is not None}


class Meaning(NamedTuple):
    """What an elementwise row without a ufunc means, and its parameters."""

    function: Callable[..., Any]
    params: Mapping[str, Any] = {}


def exact(function: Callable[[Any], Any]) -> Callable[[np.ndarray], Any]:
    """A function by mpmath, rounded to the dtype that exp gives."""

    def rounded_values(x: np.ndarray) -> Any:
        dtype = np.exp(x[:0]).dtype
        with mpmath.workprec(120):
            found = (float(function(mpmath.mpf(float(v)))) for v in x)
            kept = [v if v == y == 0 else y for y, v in zip(found, x.tolist(), strict=True)]  # -0.0 stays -0.0
            return np.array(kept).astype(dtype)

    return rounded_values


def tail(x: Any) -> Any:
    return mpmath.erfc(x) if not abs(x) > 40 else mpmath.mpf(2 * (x < 0))


OTHERS: dict[str, list[Meaning]] = {
    "duplicate": [Meaning(lambda x: x.copy(), {"number": 1})],
    "expit": [Meaning(exact(lambda x: 1 / (1 + mpmath.exp(-x))))],
    "softplus": [Meaning(exact(lambda x: x if x == mpmath.inf else mpmath.log1p(mpmath.exp(x))))],
    "erf": [Meaning(exact(mpmath.erf))],
    "erfc": [Meaning(exact(tail))],
    "pow": [
        Meaning(functools.partial(lambda x, exponent: np.power(x, exponent), exponent=e), {"exponent": e})
        for e in (0, 1, 2, 3, 4, 5, 2.0, 0.5, -0.5, 1.5, 2.5)
    ],
    "cast": [
        Meaning(functools.partial(lambda x, dtype: np.asarray(x).astype(dtype)[()], dtype=d), {"dtype": d})
        for d in DTYPES
    ],
    "stop_gradient": [Meaning(lambda x: x)],
    "named": [Meaning(lambda x: x, {"label": "h"})],
    "contiguous": [Meaning(lambda x: x)],
}
"""`where` and `fma`, which have three operands, have tests of their own below; `printed` and `stopped_at`, which show
their values, in test_debug.py."""

MEANINGS: dict[str, Callable[..., Any]] = {name: ufunc for name, ufunc in UFUNCS.items() if ufunc.nin == 1}
MEANINGS |= {f"{row} {k}": meaning.function for row, found in OTHERS.items() for k, meaning in enumerate(found)}


def integral(dtype: Any) -> bool:
    return np.dtype(dtype).kind in "biu"


def expected(function: Callable[..., Any], *values: Any) -> Any:
    """NumPy's answer; None where NumPy has none for these dtypes."""
    with np.errstate(all="ignore"):
        try:
            return function(*values)
        except TypeError:
            return None


def unary(dtype: Any, values: np.ndarray) -> tuple[dict[str, Call], dict[str, Any]]:
    """The calls of one operand, and what NumPy gives where it refuses (None) or answers in float16."""
    calls, refused = {}, {}
    for key, meaning in MEANINGS.items():
        row, _, k = key.partition(" ")
        params = OTHERS[row][int(k)].params if k else {}
        name = params["dtype"] if row == "cast" else "nonzero" if row == "reciprocal" and integral(dtype) else "x"
        wanted = expected(meaning, values)
        if wanted is None or wanted.dtype == np.float16:
            refused[key] = wanted
        else:
            calls[key] = Call(row, (name,), params)
    return calls, refused


def compare(
    found: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]],
    wanted: Callable[[str, Mapping[str, Any]], Any],
    calls: Mapping[str, Call],
) -> list[str]:
    """Every difference, as text."""
    wrong = []
    for form, (values, results) in found.items():
        for key, call in calls.items():
            given = [values[a] for a in call.args]
            got, right = results[key], wanted(key, values)
            if call.row in SIGN_OPEN and got.dtype.kind == "f":
                got, right = got + got.dtype.type(0), right + right.dtype.type(0)  # no zero is negative
            scale = np.maximum(abs(given[0]), abs(given[1])) if call.row in CANCELLING else None
            text = difference(got, right, tolerance(call.row, form, np.asarray(got).dtype), given, scale)
            if text:
                wrong.append(f"{key} ({', '.join(str(np.asarray(v).dtype) for v in given)}), {form}: {text}")
    return wrong


def in_range(values: np.ndarray, dtype: Any) -> np.ndarray:
    """The values that C can convert to `dtype`; the others are undefined there, and NumPy warns about them."""
    if values.dtype.kind != "f" or np.dtype(dtype).kind not in "iu":
        return np.ones(values.shape, bool)
    info = np.iinfo(dtype)
    with np.errstate(all="ignore"):
        return (np.trunc(values) >= info.min) & (values.astype(np.float64) < float(info.max)) & np.isfinite(values)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_one_operand(dtype: str) -> None:
    """Special values and values of many magnitudes; the printed source runs on the special ones."""
    few = special(dtype)
    values = np.concatenate([few, scattered(dtype, 300)])
    calls, refused = unary(dtype, few)
    # NumPy warns about what is undefined in C: conversions to integers out of their range, 1 // 0
    domains = {call.args[0]: np.dtype(call.args[0]) for call in calls.values() if call.row == "cast"}
    given, slow = (
        {"x": v, "nonzero": v[v != 0]} | {n: v[in_range(v, d)] for n, d in domains.items()} for v in (values, few)
    )
    found = forms(calls, given, slow)
    wrong = compare(found, lambda key, v: expected(MEANINGS[key], v[calls[key].args[0]]), calls)
    assert not wrong, "\n".join(wrong)
    x = sg.placeholder("x", shape=(None,), dtype=dtype)
    for key, wanted in refused.items():
        row, _, k = key.partition(" ")
        refuses(REGISTRY[row], [x], OTHERS[row][int(k)].params if k else {}, {"x": few}, wanted)


def refuses(op: Any, symbols: list[Any], params: Mapping[str, Any], values: Mapping[str, Any], wanted: Any) -> None:
    """What NumPy has no loop for is a DTypeError while the graph is built; what it answers in float16, for which
    kernels have no arithmetic, is an error that says so."""
    if wanted is None:
        with pytest.raises(DTypeError, match="not defined for"):
            op(*symbols, **params)
        with pytest.raises(TypeError):
            op(*(sg.as_variable(v) for v in values.values()), **params)
        return
    formula = op(*symbols, **params)
    assert formula.dtype == np.float16
    with np.errstate(all="ignore"):
        (result,) = interpret([formula], values)
    assert difference(result, wanted, TOLERANCES.get(op.name, (0, ""))[0]) is None
    with pytest.raises(SymgraphError, match="float16"):
        sg.compile(formula)(**values)


MIXED = [
    ("int64", "uint64"),
    ("uint64", "int64"),
    ("int8", "uint8"),
    ("uint16", "int16"),
    ("int32", "uint32"),
    ("bool", "int8"),
    ("bool", "float64"),
    ("float32", "int32"),
    ("float64", "float32"),
    ("float32", "int64"),
    ("uint8", "float32"),
]


@pytest.mark.parametrize(("left", "right"), [(d, d) for d in DTYPES] + MIXED)
def test_rows_of_two_operands(left: str, right: str) -> None:
    """Every pair of special values, and scattered ones."""
    few = pairs(special(left)[:: 1 if integral(left) else 3], special(right)[:: 1 if integral(right) else 3])
    grid = pairs(special(left), special(right))
    x, y = (np.concatenate([g, scattered(d, 300, seed)]) for g, d, seed in ((grid[0], left, 1), (grid[1], right, 2)))
    calls: dict[str, Call] = {}
    refused = []
    # integers to negative integer powers raise, in NumPy and here; they have a test of their own
    powers = integral(left) and np.dtype(right).kind == "i"
    base = {"x": x, "y": y, "n": np.where(y < 0, ~y, y) if powers else y}
    few_base = {"x": few[0], "y": few[1], "n": np.where(few[1] < 0, ~few[1], few[1]) if powers else few[1]}
    for row, ufunc in UFUNCS.items():
        if ufunc.nin == 2:
            call = Call(row, ("x", "n" if row == "power" else "y"))
            wanted = expected(ufunc, *(base[a][:2] for a in call.args))
            if wanted is None or wanted.dtype == np.float16:
                refused.append((row, wanted))
            else:
                calls[row] = call
    found = forms(calls, base, few_base)
    wrong = compare(found, lambda key, given: expected(UFUNCS[key], *(given[a] for a in calls[key].args)), calls)
    assert not wrong, "\n".join(wrong)
    symbols = [sg.placeholder(n, shape=(None,), dtype=d) for n, d in (("x", left), ("y", right))]
    for row, wanted in refused:
        refuses(REGISTRY[row], symbols, {}, {"x": x[:2], "y": base["n" if row == "power" else "y"][:2]}, wanted)


@pytest.mark.parametrize("dtype", ["int8", "int64"])
def test_negative_integer_powers_are_refused(dtype: str) -> None:
    x, n = sg.placeholder("x"), sg.placeholder("n")
    power = sg.compile(REGISTRY["power"](x, n))
    values = {"x": np.array([2, 3], dtype), "n": np.array([1, -1], dtype)}
    for run in (power, lambda **given: interpret(power.outputs, given), lambda **given: run_text(power, given)):
        with pytest.raises(ValueError, match="negative integer powers"):
            run(**values)
    with pytest.raises(ValueError, match="negative integer powers"):
        sg.Variable(values["x"]) ** values["n"]
    assert power(x=values["x"], n=abs(values["n"])).tolist() == [2, 3]
    with pytest.raises(DTypeError, match="negative integer powers"):
        sg.placeholder("x", dtype=dtype) ** -1


@pytest.mark.parametrize("dtype", DTYPES)
def test_where(dtype: str) -> None:
    """A condition of any dtype is true where it is not 0; nan is."""
    values = {
        "c": np.resize(special(dtype), 24),
        "x": np.resize(special("float64"), 24),
        "y": np.resize(special(dtype)[::-1], 24),
    }
    calls = {"float": Call("where", ("c", "x", "y")), "own": Call("where", ("c", "y", "c"))}
    wrong = compare(forms(calls, values), lambda key, v: np.where(*(v[a] for a in calls[key].args)), calls)
    assert not wrong, "\n".join(wrong)


def rounded(exact: Fraction, dtype: Any) -> float:
    """The nearest floating-point number, ties to even (no overflow)."""
    if exact == 0:
        return 0.0
    info = np.finfo(dtype)
    magnitude = abs(exact)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    exponent -= magnitude < Fraction(2) ** exponent
    step = Fraction(2) ** (max(exponent, int(info.minexp)) - int(info.nmant))
    return float(round(exact / step) * step)  # Fraction rounds ties to even


@pytest.mark.parametrize("dtype", FLOATS)
def test_fma_rounds_once(dtype: str) -> None:
    """Against exact fractions, with cancellation; subnormal and overflowing products in the kernel alone, as the
    reference emulates the instruction with products of ordinary size only."""
    rng = np.random.default_rng(5)
    a, b = scattered(dtype, 400, 3), scattered(dtype, 400, 4)
    c = np.where(
        rng.random(400) < 0.7, -(a * b) * (1 + rng.integers(-2, 3, 400) * np.finfo(dtype).eps), scattered(dtype, 400)
    )
    values = {"a": a, "b": b, "c": c.astype(dtype)}
    calls = {"fma": Call("fma", ("a", "b", "c"))}

    def exact(key: str, given: Mapping[str, Any]) -> Any:
        return np.array(
            [
                rounded(Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)), dtype)
                for x, y, z in zip(given["a"], given["b"], given["c"], strict=True)
            ],
            dtype,
        )

    wrong = compare(forms(calls, values), exact, calls)
    assert not wrong, "\n".join(wrong)
    fused = sg.compile(REGISTRY["fma"](*(sg.placeholder(n) for n in "abc")))
    big = np.finfo(dtype).max
    assert fused(a=np.array([2], dtype), b=np.array([big], dtype), c=np.array([-big], dtype))[0] == big
    tiny = np.finfo(dtype).smallest_subnormal
    assert fused(a=np.array([0.75], dtype), b=np.array([tiny], dtype), c=np.array([tiny], dtype))[0] == 2 * tiny
    integers = sg.compile(REGISTRY["fma"](*(sg.placeholder(n) for n in "abc")))
    assert integers(a=np.array([100], np.int8), b=np.array([3], np.int8), c=np.array([1], np.int8)).tolist() == [45]


# -- shapes ------------------------------------------------------------------------------------------------------------

BROADCASTS = [
    ((3, 1), (1, 4)),
    ((4,), (3, 4)),
    ((3, 4), (4,)),
    ((), (5,)),
    ((5,), ()),
    ((1,), (5,)),
    ((), ()),
    ((2, 1, 3), (4, 1)),
    ((0,), (1,)),
    ((0, 3), (3,)),
    ((2, 0), (1, 0)),
    ((1, 1), (1,)),
]


@pytest.mark.parametrize(("left", "right"), BROADCASTS)
def test_broadcasting(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    """Every row of two operands, both ways, with empty, 0-d and size-1 axes."""
    rng = np.random.default_rng(6)
    values = {"x": rng.uniform(0.5, 2, left), "y": rng.uniform(0.5, 2, right)}
    calls = {
        row: Call(row, ("x", "y"))
        for row, ufunc in UFUNCS.items()
        if ufunc.nin == 2 and expected(ufunc, 1.0, 1.0) is not None
    }
    wrong = compare(forms(calls, values), lambda key, v: UFUNCS[key](v["x"], v["y"]), calls)
    assert not wrong, "\n".join(wrong)


def layouts(x: np.ndarray) -> dict[str, np.ndarray]:
    """The same values in memory of every kind."""
    read_only = x.copy()
    read_only.flags.writeable = False
    spread = np.zeros((2 * x.shape[0], 3 * x.shape[1]), x.dtype)
    spread[::2, ::3] = x
    unaligned = np.frombuffer(b"\0" + x.tobytes(), x.dtype, offset=1).reshape(x.shape)
    return {
        "C": x,
        "Fortran": np.asfortranarray(x),
        "reversed": x[::-1, ::-1].copy()[::-1, ::-1],
        "strided": spread[::2, ::3],
        "read-only": read_only,
        "unaligned": unaligned,
        "byte-swapped": x.astype(x.dtype.newbyteorder()),
        "list": x.tolist(),
        "transposed": x.T.copy().T,
    }


@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", "bool"])
def test_layouts(dtype: str) -> None:
    """Arrays however they lie in memory give the same bits, compile nothing more, and stay as they were."""
    x = sg.placeholder("x")
    data = scattered(dtype, 12).reshape(3, 4)
    rows = [
        REGISTRY[row](x)
        for row, ufunc in UFUNCS.items()
        if ufunc.nin == 1 and (w := expected(ufunc, data)) is not None and w.dtype != np.float16
    ]
    function = sg.compile([*rows, sg.sum(x, axis=0), sg.max(x), x.T, x[::-1, 1:], x @ x.T, sg.concatenate([x, x])])
    reference = function(x=data)
    before = kernel.compilations
    for name, array in layouts(data).items():
        if name == "list" and dtype not in ("float64", "bool"):
            continue  # a list is float64, int64 or bool
        copied = np.array(array)
        for got, wanted in zip(function(x=array), reference, strict=True):
            assert difference(got, wanted) is None, name
            assert isinstance(got, np.generic) == (got.ndim == 0)
            if got.ndim:
                assert got.flags.writeable and not np.shares_memory(got, np.asarray(array))
        np.testing.assert_array_equal(array, copied)
    assert kernel.compilations == before


# -- the rows on whole arrays ------------------------------------------------------------------------------------------


def test_no_row_is_left_out() -> None:
    covered = {*UFUNCS, *OTHERS, *(case.row for case in CASES), *REDUCTIONS}
    covered |= {"where", "fma", "matmul", "placeholder", "constant", "printed", "stopped_at"}
    covered |= {name for name, op in REGISTRY.items() if op.kind in ("control", "part")} | {"bound"}  # test_control.py
    covered |= {"threefry", "swap_or_not", "unit", "gumbel", "exponential", "ndtri"}  # tests/test_random.py
    covered |= {"correlate"}  # tests/test_nn.py
    assert covered == set(REGISTRY)


@pytest.mark.parametrize("dtype", ["float64", "int16", "bool"])
def test_rows_on_whole_arrays(dtype: str) -> None:
    """Views, gathering, scattering: exact, in the dtype that came."""
    values: dict[str, Any] = {}
    names: dict[int, str] = {}
    calls, wanted = {}, {}
    for k, case in enumerate(CASES):
        args = []
        for array in case.args:
            name = names.setdefault(id(array), f"a{len(names)}")
            values[name] = array if array.dtype.kind == "i" else (array % 3 if dtype == "bool" else array).astype(dtype)
            args.append(name)
        if case.row in ("unbroadcast", "scatter_add") and dtype not in FLOATS:
            continue  # what they sum are gradients
        key = f"{case.row} {k}"
        calls[key] = Call(case.row, tuple(args), case.params)
        wanted[key] = case.meaning
    found = forms(calls, values)
    wrong = compare(found, lambda key, v: wanted[key](*(v[a] for a in calls[key].args)), calls)
    assert not wrong, "\n".join(wrong)


def reduced_values(dtype: str, array: np.ndarray) -> np.ndarray:
    """Values whose sums and products are exact in every order, with ties for extrema."""
    if np.dtype(dtype).kind in "bu":
        return (array % 5).astype(dtype)
    return np.where(array % 5 == 0, -1, np.where(array % 3 == 0, 2, 1)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_reductions(dtype: str) -> None:
    """All choices of axes for two dtypes, a few for the others."""
    values: dict[str, Any] = {}
    calls, wanted = {}, {}
    for k, (array, axis, keepdims) in enumerate(REDUCED if dtype in ("float64", "int16") else REDUCED[1:4]):
        name = f"x{array.ndim}{array.shape[0]}"
        values[name] = reduced_values(dtype, array)
        for row, function in REDUCTIONS.items():
            if not row.startswith("arg"):
                wanted[f"{row} {k}"] = functools.partial(function, axis=axis, keepdims=keepdims)
            elif axis is None or len(axis) == 1:
                wanted[f"{row} {k}"] = functools.partial(function, axis=axis and axis[0], keepdims=keepdims)
            else:
                continue
            calls[f"{row} {k}"] = Call(row, (name,), {"axis": axis, "keepdims": keepdims})
    found = forms(calls, values)
    wrong = compare(found, lambda key, v: wanted[key](v[calls[key].args[0]]), calls)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("dtype", DTYPES)
def test_reductions_of_special_values(dtype: str) -> None:
    """nan, infinities, limits of integers, empty axes."""
    rows = np.array([np.roll(special(dtype), k) for k in range(0, len(special(dtype)), 3)])
    rows = np.concatenate([rows, rows[:, ::-1]])
    if dtype in FLOATS:
        rows = np.concatenate([rows, np.where(np.isnan(rows), 1, rows).astype(dtype)])
    empty = rows[:0]
    axes: list[tuple[int, ...] | None] = [(0,), (1,), None]
    calls, wanted = {}, {}
    for row in ("max", "min", "any", "all", "argmax", "argmin", *(("sum", "prod") if dtype not in FLOATS else ())):
        for axis in axes:
            key = f"{row} {axis}"
            calls[key] = Call(row, ("x",), {"axis": axis, "keepdims": False})
            wanted[key] = functools.partial(REDUCTIONS[row], axis=None if axis is None else axis[0])
    found = forms(calls, {"x": rows}, {"x": rows[:4]})
    wrong = compare(found, lambda key, v: wanted[key](v["x"]), calls)
    identities = {k: c for k, c in calls.items() if c.row in ("sum", "prod", "any", "all") or c.params["axis"] == (1,)}
    found = forms({k: c for k, c in identities.items() if c.row not in ("argmax", "argmin")}, {"x": empty})
    wrong += compare(
        found,
        lambda key, v: wanted[key](v["x"]),
        {k: c for k, c in identities.items() if c.row not in ("argmax", "argmin")},
    )
    assert not wrong, "\n".join(wrong)
    for row in ("max", "argmin"):
        formula = REGISTRY[row](sg.placeholder("x"), axis=(0,), keepdims=False)
        with pytest.raises(ShapeError, match="is empty"):
            sg.compile(formula)(x=empty)
        with pytest.raises(ValueError, match=r"zero-size|empty sequence"):  # in NumPy's words
            interpret([formula], {"x": empty})
        with pytest.raises(ShapeError, match="empty"):
            REGISTRY[row](sg.placeholder("x", shape=(0, 3), dtype=dtype), axis=(0,), keepdims=False)


@pytest.mark.parametrize("dtype", FLOATS)
def test_sums_are_accurate(dtype: str) -> None:
    """Within the bound of a sum in any order, n eps sum|x| (Higham, "Accuracy and Stability", section 4.2)."""
    x = scattered(dtype, 6000, 9).reshape(60, 100)
    symbol = sg.placeholder("x")
    axes = [None, 0, 1]
    for axis, got in zip(axes, sg.compile([sg.sum(symbol, axis=a) for a in axes])(x=x), strict=True):
        exact = x.astype(np.longdouble).sum(axis)
        bound = x.size * np.finfo(dtype).eps * np.abs(x).astype(np.longdouble).sum(axis)
        assert np.all(np.abs(got - exact) <= bound)


@pytest.mark.parametrize("dtype", DTYPES)
def test_matrix_products(dtype: str) -> None:
    """Every pair of ranks, with small integers, whose products are exact; integers wrap as NumPy's."""
    calls, values = {}, {}
    for k, shapes in enumerate(PRODUCTS):
        for name, shape in zip("ab", shapes, strict=True):
            base = small(*shape) % 5
            values[f"{name}{k}"] = base.astype(dtype)
        calls[f"matmul {k}"] = Call("matmul", (f"a{k}", f"b{k}"))
    found = forms(calls, values)
    wrong = compare(found, lambda key, v: np.matmul(*(v[a] for a in calls[key].args)), calls)
    assert not wrong, "\n".join(wrong)


def test_sources() -> None:
    """A placeholder gives what came; a constant what it holds; both as new arrays."""
    x = sg.placeholder("x")
    data = np.array([1.0, -0.0, np.nan])
    function = sg.compile([x, sg.constant(data), sg.constant(3), sg.constant(np.float32(2.5)), sg.constant(np.True_)])
    got = function(x=data)
    for result, wanted in zip(got, (data, data, np.int64(3), np.float32(2.5), np.True_), strict=True):
        assert difference(result, wanted) is None
    assert got[0] is not data and got[0] is not got[1]

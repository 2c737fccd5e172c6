"""Gradients of every row to second order, against differences of its values; at kinks; and the values of the book.

Each derivative is projected on random directions: with weights w and directions v and u, the first derivative of
L(x) = sum(w * row(x)) along v, and that of grad L · v along u, are compared with central differences of fourth order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from cases import CASES, PRODUCTS, REDUCED
from support import Call

import symgraph as sg
from compiler import interpret
from symgraph.errors import GradientError
from symgraph.op import NONE, REGISTRY
from symgraph.ops import elementwise as ew
from symgraph.tree import flatten, unflatten

Formulas = dict[str, tuple[Any, list[Any], list[Any]]]
STEP = 1e-3


class Probe:
    """A row on arrays by name, with random weights and directions, which probes share by shape and by name."""

    def __init__(self, key: str, call: Call, values: Mapping[str, np.ndarray]) -> None:
        self.key, self.call = key, call
        self.values = {a: np.asarray(values[a]) for a in call.args}
        valued = (a for i, a in enumerate(call.args) if i not in REGISTRY[call.row].shape_only)
        self.wrt = [a for a in dict.fromkeys(valued) if self.values[a].dtype.kind == "f"]
        self.v, self.u = ({a: random_like(self.values[a], d) for a in self.wrt} for d in (1, 2))
        out = np.asarray(call.on(self.values))
        self.weights = "w" + "x".join(map(str, out.shape))
        self.w = random_like(out, 3)

    def fixed(self) -> dict[str, np.ndarray]:
        return {self.weights: self.w, **{f"{a}_v": v for a, v in self.v.items()}}

    def symbolic(self, declare: bool) -> tuple[Any, list[Any], list[Any]]:
        """The row's value, its gradients, and the gradients of their product with v."""
        symbols = {
            name: sg.placeholder(name, shape=x.shape, dtype=x.dtype) if declare else sg.placeholder(name)
            for name, x in {**self.values, **self.fixed()}.items()
        }
        out = self.call.on(symbols)
        first = sg.grad(out, [symbols[a] for a in self.wrt], cotangent=symbols[self.weights])
        along = total([sg.sum(g * symbols[f"{a}_v"]) for a, g in zip(self.wrt, first, strict=True)])
        return out, first, sg.grad(along, [symbols[a] for a in self.wrt])

    def eager(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The same gradients by Variables."""
        xs = {a: sg.Variable(x) for a, x in self.values.items()}
        out = self.call.on(xs)
        out.grad = self.w
        out.backward(create_graph=True)
        first = [found(xs[a]) for a in self.wrt]
        along = total([sg.sum(xs[a].grad * self.v[a]) for a in self.wrt if xs[a].grad is not None])
        for x in xs.values():
            x.cleargrad()
        if isinstance(along, sg.Variable):
            along.backward()
        return first, [found(xs[a]) for a in self.wrt]


def random_like(x: np.ndarray, seed: int) -> np.ndarray:
    return np.asarray(np.random.default_rng((seed, *x.shape)).uniform(0.5, 1.5, x.shape)).astype(x.dtype)


def total(terms: Sequence[Any]) -> Any:
    result: Any = 0.0
    for term in terms:
        result = result + term
    return result


def found(x: sg.Variable) -> np.ndarray:
    return np.zeros(x.shape, x.dtype) if x.grad is None else x.grad.data


def slope(f: Callable[[float], Any]) -> Any:
    """f'(0) by central differences of fourth order."""
    near, far = (np.subtract(f(h), f(-h)) for h in (STEP, 2 * STEP))
    return (8 * near - far) / (12 * STEP)


def dot(left: Sequence[Any], right: Sequence[Any]) -> float:
    return float(sum(np.sum(np.multiply(a, b)) for a, b in zip(left, right, strict=True)))


def check(probes: Sequence[Probe], *, kernel: bool, declare: bool, tolerance: float = 1e-6) -> None:
    """All probes through one kernel, or through the reference interpreter."""
    formulas: Formulas = {p.key: p.symbolic(declare) for p in probes}
    flat, structure = flatten(formulas)
    fixed = {name: x for p in probes for name, x in p.fixed().items()}
    function = sg.compile(formulas)

    values = {name: x for p in probes for name, x in p.values.items()}

    def run(direction: str, t: float) -> Formulas:
        along = {name: d for p in probes for name, d in getattr(p, direction).items()}
        given = fixed | {name: x + t * along[name] if name in along else x for name, x in values.items()}
        if kernel:
            return function(**{name: given[name] for name in function.signature.names})
        return unflatten(structure, iter(interpret(flat, given)))

    here = run("v", 0.0)
    moved_v, moved_u = ({t: run(d, t) for t in (STEP, -STEP, 2 * STEP, -2 * STEP)} for d in "vu")
    wrong = []
    for p in probes:
        _, first, second = here[p.key]
        v, u = ([getattr(p, d)[a] for a in p.wrt] for d in "vu")
        for a, g, gg in zip(p.wrt, first, second, strict=True):
            for order, one in ((1, g), (2, gg)):
                if np.shape(one) != np.shape(p.values[a]) or one.dtype != p.values[a].dtype:
                    wrong.append(f"{p.key}: gradient {order} for {a} is {one.dtype}{np.shape(one)}")
        one = slope(lambda t, p=p: dot([moved_v[t][p.key][0]], [p.w]))
        two = slope(lambda t, p=p, v=v: dot(moved_u[t][p.key][1], v))
        for order, exact, numeric in ((1, dot(first, v), one), (2, dot(second, u), two)):
            if not abs(exact - numeric) <= tolerance * max(1, abs(exact)):
                wrong.append(f"{p.key}: derivative {order} is {exact!r}, by differences {numeric!r}")
        with np.errstate(all="raise"):
            recorded = p.eager()
        for order, mine, theirs in zip((1, 2), (first, second), recorded, strict=True):
            for a, x, y in zip(p.wrt, mine, theirs, strict=True):
                if x.dtype != y.dtype or x.shape != y.shape or not np.allclose(x, y, rtol=1e-9, atol=1e-12):
                    wrong.append(f"{p.key}: gradient {order} for {a} is {x!r} compiled, {y!r} eager")
    assert not wrong, "\n".join(wrong)


# -- elementwise rows --------------------------------------------------------------------------------------------------

PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "pow": [{"exponent": e} for e in (0, 1, 2, 3, 5, -1, 0.5, 2.5)],
    "named": [{"label": "h"}],
    "cast": [{"dtype": "<f8"}],
    "duplicate": [{"number": 1}],
}
SHOWN = {"printed", "stopped_at"}
"""Rows that are what `named` is, and show their values after a call."""
SMOOTH = [op for op in REGISTRY.values() if op.kind == "elementwise" and op.grad != NONE and op.name not in SHOWN]
DOMAINS = list(dict.fromkeys(interval for op in SMOOTH for interval in op.domain))
SHAPES: dict[str, list[tuple[int, ...]]] = {
    "0-d": [(), (), ()],
    "1-d": [(5,), (5,), (5,)],
    "size 1": [(1,), (1,), (1,)],
    "empty": [(0,), (0,), (0,)],
    "3-d": [(2, 3, 2), (2, 3, 2), (2, 3, 2)],
    "broadcast": [(3, 1), (1, 4), (4,)],
    "number": [(), (3,), ()],
    "empty broadcast": [(0, 1), (1, 3), (3,)],
}


def elementwise(shapes: Sequence[tuple[int, ...]], dtype: Any = np.float64) -> list[Probe]:
    """A probe for every differentiable row, sampled in its domain."""
    probes = []
    for op in SMOOTH:
        for k, params in enumerate(PARAMETERS.get(op.name, [{}])):
            values = {}
            for position, (interval, shape) in enumerate(zip(op.domain, shapes, strict=False)):
                name = f"{'xyz'[position]}{DOMAINS.index(interval)}"
                values[name] = np.asarray(np.random.default_rng(position).uniform(*interval, shape)).astype(dtype)
            probes.append(Probe(f"{op.name} {k}", Call(op.name, tuple(values), params), values))
    return probes


@pytest.mark.parametrize("shapes", SHAPES)
def test_elementwise_rows(shapes: str) -> None:
    check(
        elementwise(SHAPES[shapes]),
        kernel=shapes in ("0-d", "3-d", "broadcast"),
        declare=shapes in ("0-d", "broadcast"),
    )


def test_single_precision() -> None:
    """float32 gradients are float32, and those of float64 to about its precision."""
    formulas, results = {}, {}
    for dtype in ("float32", "float64"):
        probes = elementwise([(5,), (5,), (5,)], dtype)
        formulas = {p.key: p.symbolic(declare=True)[1:] for p in probes if p.call.row not in ("cast", "float_power")}
        given = {name: x for p in probes for name, x in {**p.values, **p.fixed()}.items()}
        if dtype == "float32":
            function = sg.compile(formulas)
            results[dtype] = function(**{name: given[name] for name in function.signature.names})
        else:
            flat, structure = flatten(formulas)
            results[dtype] = unflatten(structure, iter(interpret(flat, given)))
    wrong = []
    for key in formulas:
        for order in (0, 1):
            for one, two in zip(results["float32"][key][order], results["float64"][key][order], strict=True):
                if one.dtype != np.float32 or not np.allclose(
                    one, two, rtol=2e-4, atol=2e-4 * max(1, np.abs(two).max())
                ):
                    wrong.append(f"{key}, order {order + 1}: {one!r}, in float64 {two!r}")
    assert not wrong, "\n".join(wrong)


# -- rows on whole arrays ----------------------------------------------------------------------------------------------


def whole_arrays() -> list[Probe]:
    names: dict[int, str] = {}
    probes = []
    for k, case in enumerate(CASES):
        if REGISTRY[case.row].grad == NONE:
            continue
        args = tuple(names.setdefault(id(a), f"a{len(names)}") for a in case.args)
        values = {name: a / 7 if a.dtype.kind == "f" else a for name, a in zip(args, case.args, strict=True)}
        probes.append(Probe(f"{case.row} {k}", Call(case.row, args, case.params), values))
    return probes


@pytest.mark.parametrize("form", ["kernel", "interpreter"])
def test_rows_on_whole_arrays(form: str) -> None:
    """Views, gathering and scattering; declared in the kernel, from the call in the interpreter."""
    check(whole_arrays(), kernel=form == "kernel", declare=form == "kernel")


def reductions() -> list[Probe]:
    """Distinct elements, so that extrema are smooth there."""
    probes = []
    for k, (array, axis, keepdims) in enumerate(REDUCED):
        for row in ("sum", "prod", "max", "min"):
            name = f"r{array.ndim}{array.shape[0]}"
            values = {name: 0.5 + array / array.size}
            probes.append(Probe(f"{row} {k}", Call(row, (name,), {"axis": axis, "keepdims": keepdims}), values))
    empty = {"e": np.zeros((0, 3))}
    for row in ("sum", "prod"):
        probes.append(Probe(f"{row} empty", Call(row, ("e",), {"axis": (0,), "keepdims": False}), empty))
    return probes


@pytest.mark.parametrize("form", ["kernel", "interpreter"])
def test_reductions(form: str) -> None:
    check(reductions(), kernel=form == "kernel", declare=form == "interpreter")


@pytest.mark.parametrize("form", ["kernel", "interpreter"])
def test_matrix_products(form: str) -> None:
    """All pairs of ranks, with broadcast batches; empty axes in the interpreter."""
    probes = []
    for k, shapes in enumerate(PRODUCTS[:9] if form == "kernel" else PRODUCTS):
        values = {f"{'ab'[i]}{k}": random_like(np.zeros(shape), 5 + i) for i, shape in enumerate(shapes)}
        probes.append(Probe(f"matmul {k}", Call("matmul", tuple(values)), values))
    check(probes, kernel=form == "kernel", declare=form == "interpreter")


def test_no_row_is_left_out() -> None:
    tested = (
        {op.name for op in SMOOTH}
        | SHOWN
        | {p.call.row for p in whole_arrays()}
        | {"sum", "prod", "max", "min", "matmul"}
        | {"correlate"}  # tests/test_nn.py
    )
    control = {"switch", "loop"}  # test_control_gradients.py
    assert tested | control == {op.name for op in REGISTRY.values() if op.grad != NONE}


# -- what is flat ------------------------------------------------------------------------------------------------------

FLAT = {
    "full_like": {"fill": 1, "dtype": None},
    "size": {"axis": None},
    "placeholder": None,
    "constant": None,
    **dict.fromkeys(("bound", "item", "branch"), None),
    **dict.fromkeys(("threefry", "swap_or_not", "unit"), None),
    **{row: {"axis": (0,), "keepdims": False} for row in ("any", "all", "argmax", "argmin")},
    **dict.fromkeys(("bitwise_and", "bitwise_or", "bitwise_xor", "invert", "left_shift", "right_shift"), None),
}
"""Parameters of flat rows; None for those that take no floats."""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_flat_rows_have_zero_gradients(dtype: str) -> None:
    """Zeros of the shape and dtype of the argument, whether the types are declared or not."""
    data = np.array([[0.3, -1.2, 2.0]], dtype)
    rows = [op for op in REGISTRY.values() if op.grad == NONE and FLAT.get(op.name, {}) is not None]
    assert len(rows) > 20
    for declare in (False, True):
        x = sg.placeholder("x", shape=("m", "n"), dtype=dtype) if declare else sg.placeholder("x")
        gradients = {}
        for op in rows:
            out = op(*[x * x] * max(len(op.domain), 1), **FLAT.get(op.name, {}))
            gradients[op.name] = sg.grad(out.astype("float64") * 2.0, [x])[0]
        for name, g in sg.compile(gradients)(x=data).items():
            assert g.dtype == dtype and g.shape == (1, 3) and not g.any(), name


def test_what_does_not_depend_on_a_symbol_has_zero_gradients() -> None:
    x, y = sg.placeholder("x"), sg.placeholder("y")
    function = sg.compile(sg.grad(x * x, [x, y]))
    dx, dy = function(x=np.ones(2), y=np.ones((3, 1), np.float32))
    assert dx.tolist() == [2, 2] and dy.tolist() == [[0], [0], [0]] and dy.dtype == np.float32
    value, grads = sg.compile(x * 2.0, inputs=[x, y]).value_and_grad(1.0, np.ones(3))
    assert value == 2 and grads["x"] == 2 and grads["y"].tolist() == [0, 0, 0]


def test_conversions_to_integers_are_flat() -> None:
    x = sg.placeholder("x")
    function = sg.compile(x * x.astype("int64"))
    assert function.grad(x=np.array([2.5, -1.5]))["x"].tolist() == [2, -1]
    v = sg.Variable(np.array([2.5, -1.5]))
    (v * v.astype("int64")).backward()
    assert v.grad.data.tolist() == [2, -1]


def test_integers_have_no_gradients() -> None:
    n = sg.placeholder("n", dtype="int64")
    with pytest.raises(GradientError, match="integers"):
        sg.grad(n * 2.0, [n])
    with pytest.raises(GradientError, match="integers"):
        sg.compile(sg.placeholder("m") * 2.0).grad(m=3)
    with pytest.raises(GradientError, match="floating"):
        sg.grad(n * n, [sg.placeholder("x")])


# -- kinks -------------------------------------------------------------------------------------------------------------

INF, NAN = math.inf, math.nan
KINKS: list[tuple[str, Callable[..., Any], list[Any], list[Any]]] = [
    ("maximum", np.maximum, [1.0, 1.0], [0.5, 0.5]),
    ("minimum", np.minimum, [1.0, 1.0], [0.5, 0.5]),
    ("minimum of zeros", np.minimum, [0.0, -0.0], [0.5, 0.5]),
    ("fmax", np.fmax, [2.0, 2.0], [0.5, 0.5]),
    ("fmax skips nan", np.fmax, [1.0, NAN], [1.0, 0.0]),
    ("fmin skips nan", np.fmin, [NAN, 1.0], [0.0, 1.0]),
    ("maximum of arrays", np.maximum, [[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]], [[0.5, 0, 1], [0.5, 1, 0]]),
    ("rectifier", lambda x: np.maximum(x, 0.0), [[-1.0, 0.0, 1.0]], [[0, 0.5, 1]]),
    ("clip", lambda x: np.clip(x, -1.0, 1.0), [[-2.0, -1.0, 0.0, 1.0, 2.0]], [[0, 0.5, 1, 0.5, 0]]),
    ("max", np.max, [[1.0, 3.0, 3.0]], [[0, 0.5, 0.5]]),
    ("max of equals", np.max, [[2.0] * 4], [[0.25] * 4]),
    ("min by rows", lambda x: np.min(x, axis=1), [[[1.0, 1.0], [2.0, 0.0]]], [[[0.5, 0.5], [0, 1]]]),
    ("abs", np.abs, [[0.0, -0.0, -2.0]], [[0, 0, -1]]),
    ("fabs", np.fabs, [0.0], [0]),
    ("hypot", np.hypot, [0.0, 0.0], [0, 0]),
    ("hypot of one", np.hypot, [-3.0, 0.0], [-1, 0]),
    ("power", np.power, [[0.0, 0.0, 0.0, -2.0], [0.0, 1.0, 2.0, 3.0]], [[0, 1, 0, 12], [0, 0, 0, 0]]),
    ("square root of zero", np.sqrt, [[0.0, 4.0]], [[INF, 0.25]]),
    ("prod with a zero", np.prod, [[2.0, 0.0, 3.0]], [[0, 6, 0]]),
    ("prod with two zeros", np.prod, [[0.0, 0.0, 3.0]], [[0, 0, 0]]),
    ("copysign", lambda x: np.copysign(x, -1.0), [[0.0, 2.0, -2.0]], [[0, -1, 1]]),
    ("where", lambda x: np.where(x > 0, x * x, -x), [[0.0, 2.0]], [[-1, 4]]),
    ("sorted twice", lambda x: x[[0, 0, 1]] * np.array([1.0, 2.0, 4.0]), [[1.0, 1.0]], [[3, 4]]),
    ("logaddexp", np.logaddexp, [[1.0, -INF, INF], [1.0, 2.0, 0.0]], [[0.5, 0, 1], [0.5, 1, 0]]),
    ("logaddexp2", np.logaddexp2, [[1.0, 2.0], [1.0, -INF]], [[0.5, 1], [0.5, 0]]),
    ("far tails", lambda x: sg.expit(x) + sg.softplus(x), [[-1000.0, 1000.0]], [[0, 1]]),
]


@pytest.mark.parametrize(("function", "at", "wanted"), [k[1:] for k in KINKS], ids=[k[0] for k in KINKS])
def test_kinks(function: Callable[..., Any], at: list[Any], wanted: list[Any]) -> None:
    """Where there is no derivative, a subgradient: those who tie share, abs is flat at 0; in both modes."""
    names = "xy"[: len(at)]
    formula = function(*(sg.placeholder(n) for n in names))
    values = {n: np.array(v) if isinstance(v, list) else v for n, v in zip(names, at, strict=True)}
    grads = sg.compile(formula).grad(**values)
    for name, exact in zip(names, wanted, strict=True):
        np.testing.assert_array_equal(grads[name], exact)
    variables = [sg.Variable(np.asarray(v)) for v in values.values()]
    with np.errstate(all="ignore"):
        function(*variables).backward()
    for variable, exact in zip(variables, wanted, strict=True):
        np.testing.assert_array_equal(variable.grad.data, exact)


@pytest.mark.parametrize("data", [[2.0, 0.0, 3.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0], [2.0, 5.0, 3.0], [0.0, 4.0, 0.0]])
def test_second_derivatives_of_products_with_zeros(data: list[float]) -> None:
    """The Hessian of x y z holds the third factor off its diagonal."""
    x = sg.placeholder("x")
    g = sg.grad(sg.prod(x), [x])[0]
    rows = [sg.grad(g[k], [x])[0] for k in range(3)]
    a, b, c = data
    got = np.array(sg.compile(rows)(x=np.array(data)))
    np.testing.assert_allclose(got, [[0, c, b], [c, 0, a], [b, a, 0]], rtol=1e-15, atol=1e-14)
    if data.count(0.0) < 3:
        third = sg.compile(sg.grad(rows[0][1], [x])[0])(x=np.array(data))
        np.testing.assert_allclose(third, [0, 0, 1], rtol=1e-14, atol=1e-14)


# -- the values of the book, compiled ----------------------------------------------------------------------------------
# Exact digits are those of unfused arithmetic: fma=False.


def compiled(function: Callable[..., Any], count: int, orders: int = 1) -> Any:
    """[f, grads of f], or for one placeholder [f, f', f'', ...], as one function of positional arguments."""
    xs = [sg.placeholder(n, shape=(), dtype="float64") for n in "xy"[:count]]
    results = [function(*xs)]
    if orders == 1:
        results += sg.grad(results[0], xs)
    else:
        for _ in range(orders):
            results.append(sg.grad(results[-1], xs)[0])
    return sg.compile(results, inputs=xs, fma=False)


def goldstein_price(x: Any, y: Any) -> Any:
    return (1 + (x + y + 1) ** 2 * (19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2)) * (
        30 + (2 * x - 3 * y) ** 2 * (18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2)
    )


def rosenbrock(x: Any, y: Any) -> Any:
    return 100 * (y - x**2) ** 2 + (x - 1) ** 2


EXACT: list[tuple[str, Callable[..., Any], list[float], list[float]]] = [
    ("square", lambda x: x**2, [10.0], [100, 20]),
    ("composite", lambda x: np.exp(x**2) ** 2, [0.5], [1.648721270700128, 3.297442541400256]),
    ("sum of squares", lambda x, y: x**2 + y**2, [2.0, 3.0], [13, 4, 6]),
    ("the same twice", lambda x: x + x, [3.0], [6, 2]),
    ("the same thrice", lambda x: (x + x) + x, [3.0], [9, 3]),
    ("generations", lambda x: (x**2) ** 2 + (x**2) ** 2, [2.0], [32, 64]),
    ("binomial", lambda x: (x + 3) ** 2, [1.0], [16, 8]),
    ("product", lambda x, y: x * y + 1.0, [3.0, 2.0], [7, 2, 3]),
    ("quotient", lambda x: 3 / x, [2.0], [1.5, -0.75]),
    ("cube", lambda x: x**3, [2.0], [8, 12]),
    ("sphere", lambda x, y: x**2 + y**2, [1.0, 1.0], [2, 2, 2]),
    (
        "matyas",
        lambda x, y: 0.26 * (x**2 + y**2) - 0.48 * x * y,
        [1.0, 1.0],
        [0.040000000000000036, 0.040000000000000036, 0.040000000000000036],
    ),
    ("Goldstein-Price", goldstein_price, [1.0, 1.0], [1876, -5376, 8064]),
    ("Goldstein-Price at its minimum", goldstein_price, [0.0, -1.0], [3, 0, 0]),
    ("Rosenbrock", rosenbrock, [0.0, 2.0], [401, -2, 400]),
]


@pytest.mark.parametrize(("function", "at", "wanted"), [e[1:] for e in EXACT], ids=[e[0] for e in EXACT])
def test_values_of_the_book(function: Callable[..., Any], at: list[float], wanted: list[float]) -> None:
    assert [float(r) for r in compiled(function, len(at))(*at)] == wanted


def test_descent_on_rosenbrock() -> None:
    """Steps 1 and 2, 1,000 and 50,000 updates."""
    value_and_gradient = compiled(rosenbrock, 2)
    x, y = 0.0, 2.0
    known = {
        1: (0.002, 1.6),
        2: (0.0052759968, 1.2800008),
        1_000: (0.6837118569138317, 0.4659526837427042),
        50_000: (0.9999999993724021, 0.999999998742293),
    }
    for step in range(1, 50_001):
        _, dx, dy = value_and_gradient(x, y)
        x, y = float(x - 0.001 * dx), float(y - 0.001 * dy)
        if step in known:
            assert (x, y) == known[step]


def test_newton_by_differentiating_twice() -> None:
    derivatives = compiled(lambda x: x**4 - 2 * x**2, 1, orders=2)
    x, trace = 2.0, [2.0]
    for _ in range(7):
        _, slope_, curvature = derivatives(x)
        x = float(x - slope_ / curvature)
        trace.append(x)
    assert trace == [
        2,
        1.4545454545454546,
        1.1510467893775467,
        1.0253259289766978,
        1.0009084519430513,
        1.0000012353089454,
        1.000000000002289,
        1,
    ]


def test_sine_and_its_derivatives() -> None:
    derivatives = compiled(np.sin, 1, orders=4)
    wanted = [0.5403023058681398, -0.8414709848078965, -0.5403023058681398, 0.8414709848078965]
    np.testing.assert_array_max_ulp(np.array(derivatives(1.0)[1:]), np.array(wanted), 1)
    value, gradient, *_ = derivatives(np.pi / 4)
    np.testing.assert_array_max_ulp(np.array([value, gradient]), np.array([0.7071067811865476] * 2), 1)


def test_tanh_to_eighth_order() -> None:
    wanted = [
        0.41997434161402614,
        -0.6397000084492246,
        0.6216266807712962,
        0.6650910447505024,
        -5.556893558473722,
        13.624075441312101,
        12.288367894320414,
        -277.062135603,
    ]
    derivatives = compiled(np.tanh, 1, orders=8)
    np.testing.assert_allclose([float(d) for d in derivatives(1.0)[1:]], wanted, rtol=1e-12)


def test_double_backprop() -> None:
    """z = (dy/dx)**3 + y with y = x**2 at 2: 68, and its derivative 100."""
    x = sg.placeholder("x")
    y = x**2
    z = sg.grad(y, [x])[0] ** 3 + y
    value, grads = sg.compile(z).value_and_grad(x=2.0)
    assert (value, grads["x"]) == (68, 100)


@pytest.mark.parametrize(
    ("terms", "value", "gradient"),
    [
        (4, 0.7071064695751781, 0.7071032148228457),
        (47, 0.7071067811865475, 0.7071067811865475),
    ],
)
def test_sine_by_its_series(terms: int, value: float, gradient: float) -> None:
    """A Python loop builds the formula: as many terms as the thresholds 1e-4 and 1e-150 leave."""

    def series(x: Any) -> Any:
        y = 0
        for i in range(terms):
            y = y + (-1) ** i / math.factorial(2 * i + 1) * x ** (2 * i + 1)
        return y

    got = compiled(series, 1)(np.pi / 4)
    np.testing.assert_array_max_ulp(np.array(got), np.array([value, gradient]), 1)


def test_what_sizes_must_satisfy_for_a_gradient_alone() -> None:
    x = sg.placeholder("x")
    before = ew.cos.grad
    object.__setattr__(ew.cos, "grad", (lambda g, out, x: g * x[4],))  # a rule that wants five elements
    try:
        f = sg.compile(np.cos(x))
        assert f.grad(x=np.arange(6.0))["x"].tolist() == [4.0] * 6
        f(x=np.arange(3.0))
        with pytest.raises(sg.OutOfBoundsError, match=r"getitem: an index is out of bounds for an axis of size 3"):
            f.grad(x=np.arange(3.0))
    finally:
        object.__setattr__(ew.cos, "grad", before)

"""Other people's NumPy programs on symbols: as they stand, against plain NumPy."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy_programs import PROGRAMS, REFUSED, Program

import symgraph as sg
from compiler.interpret import interpret

TOTAL = len(PROGRAMS) + len(REFUSED)
DECLARED_AT_LEAST = 106
UNDECLARED_AT_LEAST = 51
"""How many programs run unmodified: with shapes and dtypes declared, and without any declaration."""


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    if isinstance(value, list | tuple):
        return [leaf for inner in value for leaf in leaves(inner)]
    return [value]


def copies(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: np.copy(v) if isinstance(v, np.ndarray) else v for name, v in inputs.items()}


def declarations(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: sg.spec(np.shape(v), np.asarray(v).dtype) for name, v in inputs.items()}


def plainly(fn: Callable[..., Any], inputs: dict[str, Any]) -> list[Any]:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return leaves(fn(**copies(inputs)))


def check_same(got: list[Any], wanted: list[Any]) -> None:
    for mine, numpys in zip(got, wanted, strict=True):
        assert np.shape(mine) == np.shape(numpys)
        assert np.asarray(mine).dtype == np.asarray(numpys).dtype
        np.testing.assert_allclose(mine, numpys, rtol=1e-10, atol=1e-12)


def check_symbolic(p: Program, declared: dict[str, Any]) -> None:
    given = copies(p.inputs)
    outputs, _ = sg.symbolic(p.fn, **declared)
    check_same(interpret(leaves(outputs), given), plainly(p.fn, p.inputs))
    for name, value in p.inputs.items():
        np.testing.assert_array_equal(given[name], value)


def by_name(programs: list[Program]) -> Any:
    return pytest.mark.parametrize("p", programs, ids=lambda p: p.name)


def test_the_corpus_is_as_large_as_it_claims() -> None:
    assert len({p.name for p in (*PROGRAMS, *REFUSED)}) == TOTAL
    assert TOTAL >= 120


@by_name(PROGRAMS)
def test_runs_unmodified(p: Program) -> None:
    check_symbolic(p, declarations(p.inputs))


def test_how_many_run_unmodified(record_property: Callable[[str, Any], None]) -> None:
    counts = {"declared": 0, "undeclared": 0}
    for p in PROGRAMS:
        for how, declared in (("declared", declarations(p.inputs)), ("undeclared", {})):
            try:
                check_symbolic(p, declared)
            except sg.SymbolError:
                assert how == "undeclared", p.name
            else:
                counts[how] += 1
    for how, count in counts.items():
        print(f"{count} of {TOTAL} programs run unmodified, {how}")
        record_property(how, f"{count} of {TOTAL}")
    assert counts["declared"] >= DECLARED_AT_LEAST
    assert counts["undeclared"] >= UNDECLARED_AT_LEAST


@by_name(PROGRAMS)
def test_the_kernel_agrees(p: Program) -> None:
    given = copies(p.inputs)
    check_same(leaves(sg.trace(p.fn, **declarations(p.inputs))(**given)), plainly(p.fn, p.inputs))
    for name, value in p.inputs.items():
        np.testing.assert_array_equal(given[name], value)


@by_name([p for p in PROGRAMS if p.smooth])
def test_gradients_agree_with_differences(p: Program) -> None:
    rng = np.random.default_rng(3)
    outputs, inputs = sg.symbolic(p.fn, **declarations(p.inputs))
    varied = [node for node in inputs if node.dtype.kind == "f"]
    direction = {node.name: rng.normal(size=node.shape) for node in varied}
    weights: list[Any] = []
    total: Any = 0.0
    for output in leaves(outputs):
        weights.append(rng.normal(size=output.shape))
        if output.dtype.kind == "f":
            total = total + sg.sum(output * weights[-1])
    slopes = interpret(sg.grad(total, varied), p.inputs)
    slope = sum(np.sum(g * direction[node.name]) for g, node in zip(slopes, varied, strict=True))
    for g, node in zip(slopes, varied, strict=True):
        assert np.shape(g) == node.shape

    def moved(h: float) -> Any:
        inputs = {k: v + h * direction[k] if k in direction else v for k, v in p.inputs.items()}
        found = plainly(p.fn, inputs)
        return sum(np.sum(v * w) for v, w in zip(found, weights, strict=True) if np.asarray(v).dtype.kind == "f")

    h = 1e-4
    difference = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)
    scale = sum(np.sum(np.abs(g * direction[node.name])) for g, node in zip(slopes, varied, strict=True))
    assert slope == pytest.approx(difference, rel=1e-6, abs=1e-8 + 1e-8 * scale)


@by_name(REFUSED)
def test_a_refusal_says_what_to_write(p: Program) -> None:
    plainly(p.fn, p.inputs)  # it is a program
    with pytest.raises((sg.SymbolError, AttributeError), match=p.error):
        sg.symbolic(p.fn, **declarations(p.inputs))


# -- NumPy's functions, call by call -----------------------------------------------------------------------------------

CALLS: list[tuple[str, Callable[..., Any]]] = [
    ("append", lambda x, m: np.append(x, [1.0, 2.0])),
    ("append axis", lambda x, m: np.append(m, m[:1], axis=0)),
    ("array like", lambda x, m: np.array([x[0], 1.0, x[2]], like=x)),
    ("asarray like", lambda x, m: np.asarray(x, dtype=np.float32, like=x)),
    ("arange like", lambda x, m: np.arange(5, like=x) * x),
    ("atleast", lambda x, m: [np.atleast_1d(x[0]), np.atleast_2d(x), *np.atleast_1d(x, m)]),
    ("block", lambda x, m: np.block([[m, m * 2], [np.zeros((1, 6)), np.ones((1, 2))]])),
    ("block of vectors", lambda x, m: np.block([x, 1.0, x])),
    ("broadcast_arrays", lambda x, m: np.broadcast_arrays(x[:4], m)),
    ("convolve full", lambda x, m: np.convolve(x, m[0])),
    ("convolve same", lambda x, m: np.convolve(m[0], x, "same")),
    ("convolve valid", lambda x, m: np.convolve(m[0], x, "valid")),
    ("count_nonzero", lambda x, m: np.count_nonzero(m > 0, axis=1)),
    ("cross", lambda x, m: np.cross(m[:, :3], x[:3])),
    ("cross axis", lambda x, m: np.cross(m, m[::-1], axis=0)),
    ("diag of vector", lambda x, m: [np.diag(x), np.diag(x, 1), np.diag(x, -2)]),
    ("diag of matrix", lambda x, m: [np.diag(m, k) for k in range(-3, 5)]),
    ("diagflat", lambda x, m: np.diagflat(m)),
    ("diagonal", lambda x, m: np.diagonal(np.stack([m, m + 1]), 1, 2, 1)),
    ("dot of a cube", lambda x, m: np.dot(m, np.stack([m.T, m.T]))),
    ("dstack", lambda x, m: [np.dstack([x, x]), np.dstack([m, m])]),
    ("ediff1d", lambda x, m: np.ediff1d(m)),
    ("einsum implicit", lambda x, m: np.einsum("ij,jk", m, m.T)),
    ("einsum of one", lambda x, m: [np.einsum("ij->ji", m), np.einsum("ij->", m), np.einsum("ij->j", m)]),
    ("einsum diagonal", lambda x, m: [np.einsum("ii->i", m[:, :3]), np.einsum("ii", m[:, :3])]),
    ("einsum outer", lambda x, m: np.einsum("i,jk->kij", x, m)),
    ("einsum of three", lambda x, m: np.einsum("ij,kj,k->i", m, m, m[:, 0])),
    ("einsum merged axes", lambda x, m: np.einsum("abi,abj->ij", np.stack([m, m * 2]), np.stack([m + 1, m]))),
    ("einsum batch", lambda x, m: np.einsum("bij,bkj->bik", np.stack([m, m * 2]), np.stack([m + 1, m]))),
    ("einsum to scalar", lambda x, m: np.einsum("ij,ij->", m, m)),
    ("einsum many free", lambda x, m: np.einsum("abi,ic->abc", np.stack([m, m * 2]), m.T)),
    ("eye like", lambda x, m: np.eye(4, k=1, like=m) @ m.T),
    ("full like", lambda x, m: [np.full((2, 2), x[0], like=x), np.full(3, 7, like=x), np.full_like(m, 2.5)]),
    ("gradient", lambda x, m: [np.gradient(x), np.gradient(x, 0.5, edge_order=2), *np.gradient(m, 2.0, 0.5)]),
    ("gradient axis", lambda x, m: np.gradient(m, axis=1)),
    ("isclose", lambda x, m: np.isclose(x, x + 1e-6 * np.arange(5) ** 3)),
    ("isclose nan", lambda x, m: [np.isclose(np.where(x > 0, x, np.nan), x, equal_nan=e) for e in (True, False)]),
    ("kron", lambda x, m: [np.kron(m, m[:2]), np.kron(x, m), np.kron(x, x)]),
    ("margins", lambda x, m: np.pad(m, ((1, 2), (3, 0)), constant_values=((1.0, 2.0), (3.0, 4.0)))),
    ("linspace", lambda x, m: np.linspace(x[0], x[1], 5)),
    ("linspace of arrays", lambda x, m: np.linspace(x, 1.0, 4, axis=1)),
    ("linspace open", lambda x, m: np.linspace(0, x[0], 4, endpoint=False, retstep=True)),
    ("linspace short", lambda x, m: [np.linspace(x[0], 3, 1), np.linspace(0, x, 0)]),
    ("logaddexp.reduce", lambda x, m: np.logaddexp.reduce(m, axis=1)),
    ("matrix_power", lambda x, m: [np.linalg.matrix_power(m[:, :3], k) for k in (0, 1, 2, 5)]),
    ("meshgrid", lambda x, m: np.meshgrid(x, m[0])),
    ("meshgrid ij", lambda x, m: np.meshgrid(x, m[0], m[1], indexing="ij")),
    ("meshgrid sparse", lambda x, m: np.meshgrid(x, m[0], sparse=True)),
    ("nan", lambda x, m: [np.nansum(np.sqrt(m), axis=0), np.nanmean(np.log(x))]),
    ("outer of ufuncs", lambda x, m: [np.subtract.outer(x, x), np.add.outer(m, m[0])]),
    ("reduce of ufuncs", lambda x, m: [np.maximum.reduce(m, axis=1), np.add.reduce(m)]),
    ("pad", lambda x, m: [np.pad(x, 2), np.pad(m, ((0, 1), (2, 0)), constant_values=3), np.pad(x, (1, 0))]),
    ("pad modes", lambda x, m: [np.pad(m, 2, mode=k) for k in ("edge", "wrap", "reflect", "symmetric")]),
    ("polyval", lambda x, m: [np.polyval([2, 0, 1], x), np.polyval(x, 0.3), np.polyval(m[0], x)]),
    ("radians", lambda x, m: [np.radians(x), np.degrees(x)]),
    ("real", lambda x, m: [np.real(x), x.real, x.conj(), np.conjugate(x), np.iscomplexobj(x) + x, np.isrealobj(x) * x]),
    ("repeat and tile", lambda x, m: [np.repeat(m, 2, 1), np.repeat(x, 1), np.tile(x, 1), np.tile(m, (2, 1, 2))]),
    ("result_type", lambda x, m: np.zeros(3, np.result_type(x, np.float32), like=x)),
    ("rot90", lambda x, m: [np.rot90(m, k) for k in range(-1, 4)]),
    ("select", lambda x, m: np.select([x > 1, x > 0], [x, 2 * x], -1.0)),
    ("sinc", lambda x, m: np.sinc(np.where(x > 0, x, 0.0))),
    ("trace", lambda x, m: [np.trace(m), np.trace(m, 1), np.trace(np.stack([m, m]), axis1=1, axis2=2)]),
    ("trapezoid", lambda x, m: [np.trapezoid(m, dx=0.5), np.trapezoid(m, m**2), np.trapezoid(m, x[:3], axis=0)]),
    ("trapezoid of rows", lambda x, m: np.trapezoid(m, x[:4])),
    ("triangles", lambda x, m: [np.tril(m, 1), np.triu(m, -1), np.triu(m > 0)]),
    ("vander", lambda x, m: [np.vander(x), np.vander(x, 3), np.vander(x, 3, increasing=True), np.vander(x, 0)]),
    ("vecdot", lambda x, m: [np.vecdot(m, m[0]), np.linalg.vecdot(m, m, axis=0)]),
    ("pairs of indices", lambda x, m: [m[[0, 2], [1, -1]], m[np.triu_indices(3, 1)], m[np.ix_([0, 2], [3, 1, 1])]]),
    ("indices apart", lambda x, m: np.stack([m, m])[0, :, [1, 2]]),
    ("indices together", lambda x, m: [np.stack([m, m])[:, [0, 2], [1, 3]], np.stack([m, m])[..., [0, 2], 1]]),
    ("indices around a slice", lambda x, m: np.stack([m, m])[[0, 1, 1], 1:, [1, 2, 0]]),
    ("mask of rows", lambda x, m: [m[np.array([True, False, True])], m[:, [True, False, True, True]]]),
]  # fmt: skip


@pytest.mark.parametrize("call", [c for _, c in CALLS], ids=[name for name, _ in CALLS])
def test_numpy_function(call: Callable[..., Any]) -> None:
    rng = np.random.default_rng(5)
    inputs = {"x": rng.normal(size=5) + 0.1, "m": rng.normal(size=(3, 4))}
    outputs, _ = sg.symbolic(call, **declarations(inputs))
    with np.errstate(all="ignore"):
        wanted = plainly(call, inputs)
        check_same(interpret(leaves(outputs), inputs), wanted)
        check_same(leaves(sg.trace(call, **declarations(inputs))(**inputs)), wanted)
        eager = leaves(call(**{name: sg.Variable(value) for name, value in inputs.items()}))
        check_same([v.data if isinstance(v, sg.Variable) else v for v in eager], wanted)


def test_an_index_outside_one_axis_does_not_reach_another_element() -> None:
    m, i = sg.placeholder("m", shape=(3, 4), dtype="float64"), sg.placeholder("i", shape=(2,), dtype="int64")
    picked = m[[0, 1], i]
    given = np.arange(12.0).reshape(3, 4)
    assert interpret([picked], {"m": given, "i": np.array([3, -4])})[0].tolist() == [3.0, 4.0]
    for outside in ([0, 4], [-5, 0]):
        with pytest.raises(IndexError):
            interpret([picked], {"m": given, "i": np.array(outside)})
    with pytest.raises(sg.OutOfBoundsError, match="out of bounds"):
        m[[0, 1], [0, 4]]


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda a: np.einsum("...i->i", a), "without '...'"),
        (lambda a: np.einsum("ij,jk->il", a, a), "does not fit"),
        (lambda a: np.pad(a, 3, mode="linear_ramp"), "mode is constant"),
        (lambda a: np.pad(a, 9, mode="reflect"), "longer than the margin"),
        (lambda a: np.linalg.matrix_power(a, -1), "inverse"),
        (lambda a: np.cross(a, a), "size 3"),
        (lambda a: np.gradient(a, [0.0, 1.0]), "one number as spacing"),
        (lambda a: np.meshgrid(a[0], a[0], indexing="yx"), "indexing"),
        (lambda a: np.convolve(a[0], a[0], mode="half"), "full, same or valid"),
        (lambda a: a[a > 0], "np.where"),
    ],
)
def test_what_a_function_refuses(call: Callable[..., Any], advice: str) -> None:
    with pytest.raises((sg.SymgraphError, ValueError), match=advice):
        call(sg.placeholder("a", shape=(2, 2), dtype="float64"))


def test_undeclared_ranks_are_checked_at_the_call() -> None:
    a, b = sg.placeholder("a"), sg.placeholder("b")
    product = np.dot(a, b)
    x, y = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(2, 3, 2)
    np.testing.assert_array_equal(interpret([product], {"a": x, "b": x.T})[0], x @ x.T)
    with pytest.raises(sg.ShapeError, match="dot: where the shape is not declared, 1 to 2 dimensions are meant"):
        interpret([product], {"a": x, "b": y})
    for call in (np.atleast_1d, np.atleast_2d, lambda v: np.vstack([v, v]), lambda v: np.column_stack([v, v])):
        with pytest.raises(sg.SymbolError, match="declare its shape"):
            call(a)

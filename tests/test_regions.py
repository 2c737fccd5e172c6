"""Nests joined into regions of tiles: the same values for every width of the tiles."""

import itertools

import numpy as np
import pytest

import symgraph as sg
from compiler import interpret, lower
from compiler.emit_llvm import emit, needed_sizes
from compiler.program import Address, Buffer, Load, Loop, Nest, Region, Store, Tiles, loads_or_stores, walk

ROWS = (0, 1, 2, 3, 7, 8, 9, 31)
x = sg.placeholder("x", shape=("n", "m"), dtype="float64")
w = sg.placeholder("w", shape=("m",), dtype="float64")
y = sg.placeholder("y", shape=("n",), dtype="float64")


def layer_norm(x, g, b):
    d = x - x.mean(axis=1, keepdims=True)
    return d / np.sqrt((d * d).mean(axis=1, keepdims=True) + 1e-5) * g + b


FORMULAS = {
    "softmax": (sg.softmax(x, axis=1), 1),
    "log_softmax": (sg.log_softmax(x, axis=1), 1),
    "layer norm": (np.sum(layer_norm(x, w, w) ** 2), None),
    "logistic regression": (np.sum(np.logaddexp(0, x @ w) - y * (x @ w)), 1),
    "rows and their neighbours": (np.sum(x[1:] * x[:-1], axis=1), None),
    "rows in reverse": (np.sum(np.exp(x), axis=1) * x[::-1].sum(axis=1), None),
    "columns after rows": ((x - np.max(x, axis=1, keepdims=True)).sum(axis=0), 1),
    "total in the middle": (x / np.sum(x * x) * np.sum(x, axis=1, keepdims=True), None),
    "position": (np.argmax(np.exp(x), axis=1) + np.sum(np.exp(x), axis=1), 1),
    "joined": (np.concatenate([x, np.sum(x, axis=1, keepdims=True) * x], axis=1).sum(axis=1), None),
    "across": (np.sum(np.tanh(x), axis=0) * np.sum(np.tanh(x)), None),
}


def data(rows, columns=5):
    rng = np.random.default_rng(rows)
    return {
        "x": rng.standard_normal((rows, columns)),
        "w": rng.standard_normal(columns),
        "y": rng.standard_normal(rows),
    }


def inputs_of(function, rows):
    names = {node.name for node in function.inputs}
    return {k: v for k, v in data(rows).items() if k in names}


def steps(function):
    return function.variants()[0][1].program.steps


@pytest.mark.parametrize("room", [1, 200, 1 << 16])
@pytest.mark.parametrize("name", FORMULAS)
def test_values_and_gradients_for_every_width(name, room, monkeypatch):
    monkeypatch.setattr(lower, "TILE_BYTES", room)
    formula, _ = FORMULAS[name]
    function = sg.compile(formula, verify=True)
    loss = np.sum(formula * 1.0)
    gradients = sg.grad(loss, list(function.inputs))
    joint = sg.compile([loss, *gradients], inputs=function.inputs)
    for rows in ROWS:
        inputs = inputs_of(function, rows)
        (wanted,) = interpret([formula], inputs)
        np.testing.assert_allclose(function(**inputs), wanted, rtol=1e-12, atol=1e-12, err_msg=f"{rows} rows")
        wanted = interpret([loss, *gradients], inputs)
        for a, b in zip(joint(**inputs), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11, err_msg=f"{rows} rows")


@pytest.mark.parametrize("name", [n for n, (_, count) in FORMULAS.items() if count])
def test_rows_are_passed_once(name):
    formula, count = FORMULAS[name]
    function = sg.compile(formula)
    function(**inputs_of(function, 4))
    looped = [s for s in steps(function) if isinstance(s, Region) and any(isinstance(i, Loop) for i in walk(s.items))]
    assert len(looped) == count


def test_values_between_nests_need_room_for_one_tile():
    function = sg.compile(sg.softmax(x, axis=1))
    function(x=np.ones((4, 3)))
    variant = function.variants()[0][1]
    (region,) = variant.program.steps
    assert any(isinstance(i, Tiles) for i in region.items)
    assert region.tiles and all("tile(n" in str(b.elements) for b in region.tiles)
    assert not [b for b in variant.program.temporaries if b.role == "temporary"]


def test_a_value_that_needs_all_rows_ends_the_region():
    function = sg.compile(x / np.sum(x * x))
    function(x=np.ones((4, 3)))
    assert len(steps(function)) == 2


def test_parts_side_by_side_are_written_where_they_belong():
    """The gradient of an array that was cut in pieces: no piece lies anywhere else, and zeros keep their signs."""
    a = sg.placeholder("a", shape=("n", 6), dtype="float64")
    for cuts in ((0, 2, 3, 6), (0, 6), (0, 1, 4), (1, 2, 6)):
        pieces = [a[:, i:j] for i, j in itertools.pairwise(cuts)]
        formula = sum(np.sum(np.sin(p) * (k - 1)) for k, p in enumerate(pieces))
        f = sg.compile(formula)
        values = np.linspace(-9, 9, 30).reshape(5, 6)
        (slope,) = f.grad(a=values).values()
        wanted = np.zeros((5, 6))
        for k, (i, j) in enumerate(itertools.pairwise(cuts)):
            wanted[:, i:j] += np.cos(values[:, i:j]) * (k - 1)
        np.testing.assert_allclose(slope, wanted, rtol=1e-14, atol=0)
        assert np.array_equal(np.signbit(slope), np.signbit(wanted))
        joined = "concatenate" in f.explain("schedule")
        assert joined == (cuts == (0, 2, 3, 6))


ADDED = {
    "sum": np.sum(x, axis=0),
    "largest": np.max(x, axis=0),
    "two at once": np.sum(x, axis=0) * np.sum(x * x, axis=0),
    "weighted": np.sum(x * y[:, None], axis=0),
    "of what each column has": np.sum(np.maximum(x, -w), axis=0),
    "product": np.prod(np.tanh(x), axis=0),
}


@pytest.mark.parametrize("room", [1, 1000, 1 << 16])
@pytest.mark.parametrize("name", ADDED)
def test_rows_are_added_up_while_a_vector_stays_in_registers(name, room, monkeypatch):
    monkeypatch.setattr(lower, "TILE_BYTES", room)
    function = sg.compile(ADDED[name], verify=True)
    for rows, columns in itertools.product((1, 2, 7, 40), (33, 63, 64, 65, 200)):
        inputs = {k: v for k, v in data(rows, columns).items() if k in {n.name for n in function.inputs}}
        (wanted,) = interpret([ADDED[name]], inputs)
        np.testing.assert_allclose(function(**inputs), wanted, rtol=1e-12, atol=1e-13, err_msg=f"{rows}, {columns}")
    (*_, (_, variant)) = function.variants()  # of many rows
    nested = [s for s in walk(variant.program.steps[0].items) if isinstance(s, Loop)]
    assert [loop.lanes > 1 for loop in nested[:2]] == [True, False]
    assert nested[1].tiled
    assert nested[1] in nested[0].body


def test_what_a_row_has_in_common_is_computed_once():
    function = sg.compile(np.sum(x * np.exp(y[:, None]), axis=0))
    function(**{k: v for k, v in data(3, 100).items() if k != "w"})
    (region, *_) = steps(function)
    first = next(s for s in walk(region.items) if isinstance(s, Loop))
    assert first.tiled
    assert any(isinstance(s, Loop) and s.lanes > 1 for s in first.body)


def test_sums_that_meet_in_one_buffer_are_added_in_turn():
    kind = np.dtype(np.float64)
    read, sums = Buffer("a", kind, 100, "input"), Buffer("b", kind, 10, "temporary")
    one = [Load(1, kind, read, Address(0, ((0, 10), (1, 1)))), Store(sums, Address(0, ((1, 1),)), 1, "add")]
    more = [*one, Store(sums, Address(2, ((1, 1),)), 1, "add")]
    assert lower._adds_rows(Nest([10, 8], one, vector=1))
    assert not lower._adds_rows(Nest([10, 8], more, vector=1))
    assert not lower._adds_rows(Nest([10, 8], [Load(2, kind, sums, Address(0, ())), *one], vector=1))


def test_memory_is_asked_for_ahead_where_rows_are_read_first():
    function = sg.compile(FORMULAS["logistic regression"][0])
    function.value_and_grad(**data(50, 100))
    ((_, variant),) = function.variants()
    loads = [s for s in walk(variant.program.steps[0].items) if isinstance(s, Load) and s.buffer.name == "x0"]
    assert [s.ahead > 0 for s in loads] == [True, False]
    assert "@llvm.prefetch" in variant.kernel.llvm_ir
    busy = sg.compile(np.exp(np.sin(y) + np.tanh(y) / np.cosh(y)) / np.sqrt(1 + y * y) * np.log1p(y * y))
    busy(**inputs_of(busy, 50))
    accesses = list(filter(loads_or_stores, walk(busy.variants()[0][1].program.steps[0].items)))
    assert {s.buffer.name: s.ahead > 0 for s in accesses} == {"x0": True, "mul_0": True}
    flat = sg.compile(np.exp(x) * 2 + 1)
    flat(**inputs_of(flat, 50))
    assert "@llvm.prefetch" not in flat.variants()[0][1].kernel.llvm_ir


def test_loops_with_elementary_functions_are_written_once_where_masks_cost_nothing():
    function = sg.compile(np.exp(y))
    function(**inputs_of(function, 50))
    program = function.variants()[0][1].program
    texts = [emit(program, "f", needed_sizes(program), False, masks=masks) for masks in (False, True)]
    assert [text.count("= call <16 x double> @f_exp") for text in texts] == [2, 1]

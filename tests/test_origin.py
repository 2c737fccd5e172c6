"""Where nodes come from: lines and expressions of what was written, and of what was made of it."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import numpy as np

import symgraph as sg
from symgraph import origin
from symgraph.expr import toposort
from symgraph.ops import elementwise as ew


def above() -> int:
    """The line above that of the call."""
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return frame.f_back.f_lineno - 1


def test_a_node_knows_its_line_and_its_expression() -> None:
    a, b = sg.placeholder("origin_a"), sg.placeholder("origin_b")
    y = np.exp(a * 2) - (b + 1) / 3
    here = above()
    places = {repr(n): n.origin for n in toposort([y]) if n.args}
    assert {p.line for p in places.values() if p} == {here}
    assert {str(p.file) for p in places.values() if p} == {__file__}
    texts = {p.expression for p in places.values() if p}
    assert texts == {"a * 2", "np.exp(a * 2)", "b + 1", "(b + 1) / 3", "np.exp(a * 2) - (b + 1) / 3"}


def test_an_expression_of_several_lines_is_one_text() -> None:
    a = sg.placeholder("origin_c")
    y = (
        a * 2
        + np.sin(a)
    )  # fmt: skip
    assert y.origin.expression == "a * 2 + np.sin(a)"


def test_columns_count_bytes() -> None:
    ä = sg.placeholder("origin_d")
    y = (ä * 2) * (ä + 3)
    assert y.args[1].origin.expression == "ä + 3"


def test_every_way_of_writing_a_node_names_this_file() -> None:
    a = sg.placeholder("origin_e")
    written = {
        "operator": a + 1,
        "reversed": 1 / a,
        "negative": -a,
        "power": a**2.5,
        "ufunc": np.exp(a),
        "function": sg.sum(a),
        "NumPy's function": np.mean(a),
        "method": a.max(),
        "composite": sg.softmax(a),
        "row": sg.tanh(a),
        "index": a[1:],
        "constant": sg.constant(7.25),
        "placeholder": sg.placeholder("origin_f"),
        "gradient": sg.grad(np.sin(a) * 3.5, [a])[0],
    }
    for name, node in written.items():
        assert node.origin is not None and node.origin.file == __file__, name


def test_gradients_say_so() -> None:
    a = sg.placeholder("origin_g")
    y = np.sin(a * 5)
    here = above()
    (first,) = sg.grad(y, [a])
    (second,) = sg.grad(first, [a])
    place = f"test_origin.py:{here}"
    assert origin.described(first.origins) == f"gradient of {place}"
    assert origin.described(second.origins) == f"second gradient of {place}"
    assert origin.described(y.origins) == place  # what gradients use stays what was written


def test_fused_nodes_name_all_their_lines() -> None:
    a, b = sg.placeholder("origin_h"), sg.placeholder("origin_i")
    product = a * b
    first = above()
    y = product + 1
    second = above()
    f = sg.compile(y)
    f(origin_h=1.0, origin_i=2.0)
    ((_, variant),) = f.variants()
    (output,) = variant.steps[-1].outputs
    fused = next(n for n in toposort([output]) if n.op is ew.fma)
    assert origin.described(fused.origins) == f"test_origin.py:{second}, fused with :{first}"


def test_a_formula_written_twice_names_both_lines() -> None:
    a = sg.placeholder("origin_j")
    one = a * 9
    first = above()
    two = a * 9
    second = above()
    assert one is two
    assert origin.described(one.origins) == f"test_origin.py:{second}, also :{first}"


def test_the_last_of_many_places_stands_first() -> None:
    a = sg.placeholder("origin_m")
    kept = a * 9
    for k in range(20):
        names: dict[str, Any] = {"a": a}
        exec(compile("\n" * k + "y = a * 9", "many.py", "exec"), names)
        assert names["y"] is kept and kept.origin.where == f"many.py:{k + 1}"
    assert len(kept.origins) == origin.MOST


def test_places_travel_with_a_pickled_formula() -> None:
    a = sg.placeholder("origin_k", shape=(2,), dtype="float64")
    (g,) = sg.grad(np.sum(np.exp(a * 1.25)), [a])
    before = [(o.where, o.expression, o.order, o.fused) for o in g.origins]
    data = pickle.dumps(g)
    del g
    again: Any = pickle.loads(data)
    assert [(o.where, o.expression, o.order, o.fused) for o in again.origins] == before
    assert before[0][1] == "a * 1.25" and before[0][2] == 1


def test_code_without_source_has_lines_and_no_text() -> None:
    names: dict[str, Any] = {"sg": sg}
    exec(compile("\n\ny = sg.placeholder('origin_l') * 2", "nowhere.py", "exec"), names)
    place = names["y"].origin
    assert place.where == "nowhere.py:3" and place.expression == "" and str(place) == "nowhere.py:3"

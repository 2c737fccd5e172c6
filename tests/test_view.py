"""What pictures show, as data: views, name scopes, collapsing and frames."""

from __future__ import annotations

import gc
import json
import math
import pickle
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph import Variable
from symgraph.collapse import collapse
from symgraph.frames import beside, framed
from symgraph.view import Edge, Node, Output, View, as_data, view_of


def symbol(name: str = "x", shape: Any = (4,)) -> Any:
    return sg.placeholder(name, shape, "float64")


def taylor_sine(x: Any, terms: int) -> Any:
    y: Any = 0
    for i in range(terms):
        y = y + (-1) ** i / math.factorial(2 * i + 1) * x ** (2 * i + 1)
    return y


def labels(view: View) -> list[str]:
    return [node.label for node in view.nodes]


def check(view: View) -> View:
    """What holds of every view: numbers lead to what is there."""
    assert [node.id for node in view.nodes] == list(range(len(view.nodes)))
    for edge in view.edges:
        assert 0 <= edge.head < len(view.nodes) and 0 <= edge.port < len(view.nodes[edge.tail].results)
    for node in view.nodes:
        assert node.group is None or 0 <= node.group < len(view.groups)
        assert node.kernel is None or 0 <= node.kernel < len(view.kernels)
    for output in view.outputs:
        assert output.port < len(view.nodes[output.node].results)
    for k, group in enumerate(view.groups):
        seen = {k}
        parent = group.parent
        while parent is not None:
            assert parent not in seen
            seen.add(parent)
            parent = view.groups[parent].parent
    return view


# -- views -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["eager", "symbolic"])
def test_a_view_of_a_formula(mode: str) -> None:
    x = Variable(np.ones(4), "x") if mode == "eager" else symbol()
    view = check(view_of([np.sum(np.exp(x) * x + 2.0)]))
    assert labels(view) == ["x", "Exp", "Mul", "2.0", "Add", "Sum"]
    assert [node.role for node in view.nodes] == ["input", "forward", "forward", "constant", "forward", "forward"]
    assert [node.results[0].type for node in view.nodes][:3] == ["(4,) float64"] * 3
    assert view.nodes[1].results[0].nbytes == 32 and view.nodes[1].results[0].elements == 4
    assert view.nodes[5].kind == "reduction" and "axis" in view.nodes[5].params
    assert [(e.tail, e.head, e.position) for e in view.edges] == [
        *[(0, 1, 0), (1, 2, 0), (0, 2, 1), (2, 4, 0), (3, 4, 1), (4, 5, 0)]
    ]
    assert [(o.label, o.node) for o in view.outputs] == [("", 5)]


def test_lines_are_those_of_the_user() -> None:
    x = symbol()
    view = view_of([np.exp(x)])
    (place,) = view.nodes[1].origins
    assert place.file == __file__ and "np.exp(x)" in place.text


def test_results_of_one_function_are_ports_of_one_node() -> None:
    class Halves(sg.Function):
        def forward(self, x: Any) -> Any:
            return x[:1], x[1:]

    low, high = Halves()(Variable(np.ones(3), "x"))
    view = check(view_of([low * high]))
    assert labels(view) == ["x", "Halves", "Mul"]
    assert [result.shape for result in view.nodes[1].results] == ["(1,)", "(2,)"]
    assert [(e.tail, e.port) for e in view.edges] == [(0, 0), (1, 0), (1, 1)]


def test_gradients_are_the_backward_part() -> None:
    x = symbol()
    y = np.sum(np.tanh(x))
    view = check(view_of([y], sg.grad(y, [x])))
    roles = {node.label: node.role for node in view.nodes}
    assert roles["Tanh"] == "forward" and roles["Mul"] == "backward"
    assert view.outputs[0].node == labels(view).index("Sum")


def test_what_gradients_need_is_found() -> None:
    x, y = symbol("x"), symbol("y")
    for value, needed in (
        (np.tanh(x), (-1,)),
        (x * y, (0, 1)),
        (x + y, ()),
        (np.sin(x), (0,)),
        (np.exp(x), (-1,)),
        (np.sum(x), ()),
    ):
        assert view_of([value], saved=True).nodes[-1].saved == needed, value
    assert view_of([Variable(np.ones(3)) * 2.0], saved=True).nodes[-1].saved in ((0, 1), (1,))
    assert view_of([np.tanh(x)]).nodes[-1].saved == ()


def test_a_view_is_plain_data() -> None:
    view = view_of([np.exp(symbol()) + 1])
    text = json.dumps(as_data(view))
    assert json.loads(text)["nodes"][1]["label"] == "Exp"
    assert pickle.loads(pickle.dumps(view)) == view


def test_a_view_keeps_nothing_alive() -> None:
    y = np.exp(Variable(np.ones(3), "x"))
    held = weakref.ref(y)
    view = view_of([y])
    del y
    gc.collect()
    assert held() is None and len(view.nodes) == 2


# -- name scopes -------------------------------------------------------------------------------------------------------


def test_scopes_are_nested_and_closed() -> None:
    x = symbol()
    with sg.scope("encoder") as outer:
        h = np.tanh(x)
        with sg.scope("layer1") as inner:
            h2 = np.exp(h)
        h3 = np.cos(h2)
    y = np.sin(h3)
    assert (outer, inner) == ("encoder", "encoder/layer1")
    assert [node.scopes for node in (x, h, h2, h3, y)] == [
        ("",), ("encoder",), ("encoder/layer1",), ("encoder",), ("",)
    ]  # fmt: skip


def test_a_scope_is_closed_by_an_error() -> None:
    with pytest.raises(KeyError), sg.scope("a"):
        raise KeyError
    assert np.exp(symbol("closed")).scopes == ("",)


def test_equal_formulas_carry_the_scopes_of_all_places() -> None:
    x = symbol("shared")
    with sg.scope("a"):
        one = np.sinh(x)
    with sg.scope("b"):
        other = np.sinh(x)
    assert one is other and one.scopes == ("b", "a")  # what is worked on is the last


def test_gradients_and_rewritten_nodes_keep_their_scope() -> None:
    x = symbol("kept", ())
    with sg.scope("inner"):
        y = np.tanh(x) * 3 + 1
    (slope,) = sg.grad(y, [x])
    inside = [n for n in view_of([y], [slope]).nodes if n.role == "backward" and "inner" in n.scopes]
    assert inside
    f = sg.compile(y)
    fused = [n for n in f.view("after").nodes if n.label == "MulAdd"]
    assert [n.scopes for n in fused] == [("inner",)]


def test_scopes_survive_pickling() -> None:
    with sg.scope("net"):
        y = np.arctan(symbol("pickled"))
    data = pickle.dumps(y)
    del y
    gc.collect()
    assert pickle.loads(data).scopes == ("net",)


def test_variables_have_scopes() -> None:
    x = Variable(np.ones(2), "x")
    with sg.scope("net"), sg.scope("layer"):
        y = np.exp(x)
    z = y * 2
    assert (y.creator.scope, z.creator.scope) == ("net/layer", "")  # type: ignore[union-attr]
    small = check(collapse(view_of([z]), "scope"))
    assert [(n.label, n.kind) for n in small.nodes][1] == ("net/layer", "scope")


def test_each_thread_has_its_own_scope() -> None:
    seen: list[tuple[str, ...]] = []
    with sg.scope("main"):
        thread = threading.Thread(target=lambda: seen.append(np.expm1(symbol("threaded")).scopes))
        thread.start()
        thread.join()
    assert seen == [("",)]


@pytest.mark.parametrize("name", ["", " ", "a//b", "/", None, 3])
def test_a_scope_needs_a_name(name: Any) -> None:
    with pytest.raises(ValueError, match="scope: the name must be text such as 'encoder'"), sg.scope(name):
        pass


# -- collapsing --------------------------------------------------------------------------------------------------------


def network() -> Any:
    x = symbol("x", ("n", 8))
    for k, units in enumerate((16, 4)):
        with sg.scope("net"), sg.scope(f"layer{k}"):
            w = symbol(f"w{k}", (8 if k == 0 else 16, units))
            x = np.tanh(x @ w)
    with sg.scope("loss"):
        return np.mean(x**2)


def test_collapse_by_scope() -> None:
    view = view_of([network()])
    small = check(collapse(view, "scope"))
    assert labels(small) == ["x", "net/layer0", "net/layer1", "loss"]
    assert sum(node.count for node in small.nodes) == len(view.nodes)
    assert sorted(m for node in small.nodes for m in node.members) == list(range(len(view.nodes)))
    assert [(e.tail, e.head) for e in small.edges] == [(0, 1), (1, 2), (2, 3)]
    assert labels(collapse(view, "scope", depth=1)) == ["x", "net", "loss"]
    assert small.nodes[1].results[0].shape == "(n, 16)"
    assert [o.node for o in small.outputs] == [3]


def test_collapse_leaves_the_view_as_it_is() -> None:
    view = view_of([network()])
    before = pickle.dumps(view)
    for by in ("scope", "line", "repeat"):
        collapse(view, by)
    assert pickle.dumps(view) == before


def test_forward_and_backward_are_not_put_together() -> None:
    loss = network()
    weights = [n for n in view_of([loss]).nodes if n.label.startswith("w")]
    assert len(weights) == 2
    f = sg.compile(loss)
    small = check(collapse(f.view("joint"), "scope"))
    roles = [(n.label, n.role) for n in small.nodes if n.kind == "scope"]
    assert ("net/layer0", "forward") in roles and ("net/layer0", "backward") in roles
    assert not [n for n in small.nodes if not n.leaf and n.kind != "scope"]


def test_collapse_by_line() -> None:
    x = symbol("by_line")
    h = np.tanh(x * 2 + 1)
    y = np.sum(h * h)
    small = check(collapse(view_of([y]), "line"))
    assert [n.kind for n in small.nodes] == ["source", "line", "line"]
    assert small.nodes[1].label.startswith("test_view.py:") and "np.tanh(x * 2 + 1)" in small.nodes[1].label
    assert [n.count for n in small.nodes] == [1, 5, 2]


def test_the_last_step_to_a_gradient_goes_with_what_it_comes_from() -> None:
    x, w = sg.placeholder("free"), sg.placeholder("weights", (3, 3), "float64")
    y = np.sum(np.tanh(x @ w))
    grads = sg.grad(y, [x, w])
    small = check(collapse(view_of([y], grads), "line"))
    assert not [n.label for n in small.nodes if n.role == "backward" and "placeholder" in n.label]


def test_collapse_by_kernel() -> None:
    f = sg.compile(network())
    small = check(collapse(f.view("after"), "kernel"))
    kernels = [n for n in small.nodes if n.kind == "kernel"]
    assert [n.kernel for n in kernels] == sorted(n.kernel for n in kernels if n.kernel is not None)
    assert kernels[0].label == "kernel 1\nproduct of n × 8 × 16"
    assert all(n.leaf or n.kind == "kernel" for n in small.nodes)


@pytest.mark.parametrize(("by", "message"), [("colour", "cannot collapse by 'colour'; write one of scope, line")])
def test_collapse_refuses(by: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        collapse(view_of([symbol()]), by)
    with pytest.raises(ValueError, match="depth must be None or at least 1"):
        collapse(view_of([symbol()]), "scope", depth=0)


# -- repetition --------------------------------------------------------------------------------------------------------


def test_the_taylor_sine_is_one_block() -> None:
    x = Variable(np.array(np.pi / 4), "x")
    view = view_of([taylor_sine(x, 47)])
    assert sum(1 if n.leaf else 2 for n in view.nodes) == 331  # as DeZero draws it
    small = check(collapse(view, "repeat"))
    assert [group.label for group in small.groups] == ["×47"]
    assert sorted(n.label for n in small.nodes if not n.leaf) == ["Add", "Mul", "Pow"]
    assert len(small.nodes) == 6
    assert small.nodes[labels(small).index("Pow")].params == {"exponent": "1 … 93"}
    (carried,) = [e for e in small.edges if e.carried]
    assert carried.tail == carried.head == labels(small).index("Add") and carried.count == 46


def test_the_taylor_sine_as_a_formula_and_its_gradient() -> None:
    x = symbol("x", ())
    y = taylor_sine(x, 47)
    assert len(collapse(view_of([y]), "repeat").nodes) == 6
    both = view_of([y], sg.grad(y, [x]))
    small = check(collapse(both, "repeat"))
    assert len(both.nodes) > 400 and len(small.nodes) < 25
    assert {n.repeated for n in small.nodes if n.role == "backward"} >= {45}


def test_repetitions_inside_repetitions() -> None:
    h = symbol("x", (8,))
    for layer in range(4):
        w = symbol(f"w{layer}", (8, 8))
        for _ in range(5):
            h = np.tanh(h @ w)
        h = np.sqrt(h * h + 1)
    small = check(collapse(view_of([h]), "repeat"))
    assert [(g.label, g.parent) for g in small.groups] == [("×5", 1), ("×4", None)]
    assert [(n.label, n.repeated) for n in small.nodes if not n.leaf] == [
        ("Matmul", 20), ("Tanh", 20), ("Mul", 4), ("Add", 4), ("Sqrt", 4)
    ]  # fmt: skip
    assert "w0 … w3" in labels(small)


def test_parallel_blocks_are_repetitions() -> None:
    x = symbol("x", (3, 8))
    heads = [np.tanh(x @ symbol(f"w{k}", (8, 8))) * 2 for k in range(6)]
    small = check(collapse(view_of([np.concatenate(heads)]), "repeat"))
    assert [(n.label, n.repeated) for n in small.nodes if not n.leaf] == [
        ("Matmul", 6), ("Tanh", 6), ("Mul", 6), ("Concatenate", 1)
    ]  # fmt: skip
    assert "w0 … w5" in labels(small)


def test_what_differs_is_not_folded() -> None:
    x = symbol("x", (4,))
    y = x
    for k in range(12):  # each block takes what another block made, at another distance
        y = np.sin(y) + (x if k % 3 else np.cos(y))
    small = check(collapse(view_of([y]), "repeat"))
    assert sum(n.count for n in small.nodes) == len(view_of([y]).nodes)
    chain = symbol("c")
    for shape in range(2, 9):
        chain = np.concatenate([chain, np.ones(shape)])
    view = view_of([chain])
    assert len(collapse(view, "repeat").nodes) == len(view.nodes)  # no two of the same shape


def test_short_repetitions_are_left() -> None:
    y = np.sin(np.sin(np.sin(symbol())))
    view = view_of([y])
    assert labels(collapse(view, "repeat")) == labels(view)


def test_scopes_that_repeat_are_folded_after_collapsing() -> None:
    h = symbol("x", (8,))
    for k in range(9):
        with sg.scope(f"layer{k}"):
            h = np.tanh(h @ symbol(f"w{k}", (8, 8)))
    small = check(collapse(view_of([np.sum(h)]), ["scope", "repeat"]))
    assert labels(small) == ["x", "layer0 … layer8", "Sum"]


def test_frames_around_repetitions_hold_all_of_them() -> None:
    h = symbol("x", (8,))
    with sg.scope("net"):
        for k in range(9):
            with sg.scope(f"layer{k}"):
                h = np.tanh(h * 2)
    small = check(collapse(framed(view_of([h]), ["scope"]), "repeat"))
    assert [(g.label, g.parent) for g in small.groups] == [("net", None), ("×9", 0)]


def test_what_two_repetitions_take_stands_around_both() -> None:
    x, weights = symbol("x", ("n", 8)), []
    with sg.scope("net"):
        for k in range(9):
            with sg.scope(f"layer{k}"):
                weights.append(symbol(f"w{k}", (8, 8)))
                x = np.tanh(x @ weights[-1]) * 2
    loss = np.sum(x)
    view = framed(view_of([loss], sg.grad(loss, weights)), ["scope"])
    small = check(collapse(view, "repeat"))
    shared = [n for n in small.nodes if n.role == "input" and n.repeated > 5]
    assert shared and all(n.group is not None and small.groups[n.group].label == "net" for n in shared)


def test_results_of_repetitions_are_one() -> None:
    x = symbol("x", ())
    outputs = [np.tanh(np.sin(x * float(k))) for k in range(9)]
    view = view_of(outputs)
    for k, output in enumerate(view.outputs):
        output.label = f"[{k}]"
    assert [o.label for o in collapse(view, "repeat").outputs] == ["[0] … [8]"]


def test_every_node_is_accounted_for() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = [symbol("x"), symbol("y")]
        for _ in range(60):
            a, b = (values[k] for k in rng.integers(max(0, len(values) - 4), len(values), 2))
            values.append([np.add, np.multiply, np.subtract][rng.integers(3)](a, b))
        view = view_of([values[-1]])
        small = check(collapse(view, "repeat"))
        assert sum(n.count for n in small.nodes) == len(view.nodes)
        assert sum(e.count for e in small.edges) == len(view.edges)
        assert sorted(m for n in small.nodes for m in (n.members or (n.id,))) == list(range(len(view.nodes)))


def test_bodies_are_collapsed_too() -> None:
    inner = view_of([taylor_sine(symbol("x", ()), 20)])
    loop = Node(0, "While", "control", "forward", body=(("body", inner),))
    small = collapse(View([loop], outputs=[Output("", 0)]), "repeat")
    (title, folded) = small.nodes[0].body[0]
    assert title == "body" and len(folded.nodes) == 6


# -- frames ------------------------------------------------------------------------------------------------------------


def test_frames_by_scope_lie_in_each_other() -> None:
    view = check(framed(view_of([network()]), ["scope"]))
    assert [(g.label, g.parent) for g in view.groups] == [("net", None), ("layer0", 0), ("layer1", 0), ("loss", None)]
    assert view.nodes[labels(view).index("w1")].group == 2


def test_frames_by_part_and_kernel() -> None:
    f = sg.compile(network())
    view = check(framed(f.view("joint"), ["role", "kernel"]))
    tops = [g.label for g in view.groups if g.parent is None]
    assert tops == ["forward", "backward"]
    assert all(g.kernel is not None for g in view.groups if g.parent is not None)
    with pytest.raises(ValueError, match="no frames by 'size'; write one of role, scope, kernel"):
        framed(view, ["size"])


def test_views_beside_each_other() -> None:
    x = symbol()
    whole = check(beside([("one", view_of([np.exp(x)])), ("two", framed(view_of([network()]), ["scope"]))]))
    assert [(g.label, g.parent) for g in whole.groups][:3] == [("one", None), ("two", None), ("net", 1)]
    assert labels(whole).count("x") == 2
    assert Edge(0, 1) in whole.edges

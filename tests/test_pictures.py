"""Pictures of compiled functions: every stage, the same in every process."""

import math
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import networkx as nx
import numpy as np
import pytest

import symgraph as sg
from compiler.pictures import STAGES
from symgraph.pictures import write
from symgraph.presets import PRESETS
from symgraph.render import picture
from symgraph.view import Edge, Node, Output, View, view_of

PROGRAM = """
import numpy as np, symgraph as sg
x, w = sg.placeholder("x", ("n", 3), "float64"), sg.placeholder("w", (3,), "float64")
with sg.scope("net"):
    y = np.mean(np.tanh(x @ w) ** 2)
f = sg.compile(y)
f(x=np.ones((4, 3)), w=np.ones(3))
f.grad(x=np.ones((4, 3)), w=np.ones(3))
for stage in ("before", "after", "sides", "backward", "joint"):
    for preset in ("dezero", "torchviz", "symgraph"):
        for collapse in ((), "scope", "line", "kernel", "repeat"):
            print(f.to_dot(stage, verbose=True, preset=preset, collapse=collapse))
print(f.to_dot("joint", preset="symgraph", heat="cost"))
v = sg.Variable(np.ones(3))
print(sg.make_dot(np.exp(v) * v, params={"v": v}, show_attrs=True, show_saved=True))
print(f.source)
"""


def labels(text):
    """Of nodes, edges, frames and the whole."""
    return re.findall(r'label="((?:[^"\\]|\\.)*)"', text)


def test_multiply_add_is_one_node_after_fusion():
    a, b = sg.placeholder("a"), sg.placeholder("b")
    f = sg.compile(a * b + 1)
    assert labels(f.to_dot("before")).count("Mul") == 1
    assert "MulAdd" in labels(f.to_dot("after"))
    assert "Mul" not in labels(f.to_dot("after"))


def test_before_and_after_stand_side_by_side():
    a, b = sg.placeholder("a"), sg.placeholder("b")
    text = sg.compile(a * b + 1).to_dot("sides")
    assert text.count("subgraph cluster_") == 2
    assert {"Mul", "Add", "MulAdd"} <= set(labels(text))


def test_forward_and_backward_share_values():
    x = sg.placeholder("x")
    text = sg.compile(np.exp(x) * x).to_dot("joint")
    assert 'label="forward"' in text and 'label="backward"' in text
    assert labels(text).count("Exp") == 1  # the backward part uses the forward value


def test_unknown_stage_is_refused():
    with pytest.raises(ValueError, match="no stage 'middle'; the stages are before, after"):
        sg.compile(sg.placeholder("a") + 1).to_dot("middle")


def test_text_is_the_same_in_every_process():
    texts = set()
    for seed in ("0", "1", "77"):
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        texts.add(run.stdout)
    assert len(texts) == 1 and "cluster_2" in texts.pop()


def test_the_graph_is_a_networkx_dag():
    a = sg.placeholder("a")
    f = sg.compile(a * a + 1)
    assert nx.is_directed_acyclic_graph(f.graph)
    (square,) = [n for n, d in f.graph.nodes(data=True) if d["label"] == "Mul"]
    assert f.graph.edges[a, square]["positions"] == (0, 1)


def test_plot_writes_dot_text(tmp_path):
    path = tmp_path / "f.dot"
    sg.compile(sg.placeholder("a") + 1).plot(str(path))
    assert path.read_text().startswith("digraph g {")


# -- presets -----------------------------------------------------------------------------------------------------------


def neuron():
    w, b = sg.Variable(np.array([[0.6, -0.2]])), sg.Variable(np.array([0.8]))
    x = sg.Variable(np.array([[1.0, 2.0]]), "x")
    y = np.tanh(x @ w.T + b)
    y.name = "y"
    return y, {"w": w, "b": b}


def test_one_neuron_as_torchviz_draws_it():
    y, params = neuron()
    y.backward()
    assert y.data == 0.7615941559557649 and params["b"].grad.data == 0.41997434161402614
    assert sg.make_dot(y, params=params) == (
        "digraph g {\n"
        "ranksep=0.2\n"
        "node [style=filled, shape=box, fillcolor=lightgrey, fontname=monospace, fontsize=10, height=0.2]\n"
        '1 [label="w\\n(1, 2)", fillcolor=lightblue]\n'
        '2 [label="AccumulateGrad"]\n'
        '3 [label="TransposeBackward"]\n'
        '4 [label="MatmulBackward"]\n'
        '5 [label="b\\n(1,)", fillcolor=lightblue]\n'
        '6 [label="AccumulateGrad"]\n'
        '7 [label="AddBackward"]\n'
        '8 [label="TanhBackward"]\n'
        '9 [label="y\\n(1, 1)", fillcolor=darkolivegreen1]\n'
        "1 -> 2\n"
        "5 -> 6\n"
        "8 -> 9\n"
        "2 -> 3\n"
        "3 -> 4\n"
        "4 -> 7\n"
        "6 -> 7\n"
        "7 -> 8\n"
        "}"
    )


def test_torchviz_shows_what_is_saved():
    y, params = neuron()
    text = sg.make_dot(y, params=params, show_attrs=True, show_saved=True)
    assert text.count("fillcolor=orange") == 2  # x, and the transposed w; tanh needs y, which is there
    assert '"x\\n(1, 2)", fillcolor=orange' in text
    assert text.count("dir=none") == 3
    assert "argument 0: saved (1, 2) float64" in text and "result: saved (1, 1) float64" in text


def test_without_params_every_floating_input_needs_a_gradient():
    y, _ = neuron()
    assert sg.make_dot(y).count("lightblue") == 3
    n = sg.placeholder("n", (), "int64")
    text = sg.make_dot(sg.placeholder("x", (), "float64") * n)
    assert text.count("lightblue") == 1 and '"n' not in text


def test_params_must_be_values():
    y, _ = neuron()
    with pytest.raises(TypeError, match="params must be Variables or symbols by name, got 'w': 3"):
        sg.make_dot(y, params={"w": 3})


def test_our_own_writes_numbers_into_operations():
    x = sg.placeholder("x", (3,), "float64")
    text = sg.get_dot_graph(1 - x**2 * 3, preset="symgraph")
    assert {"Pow\\n· ** 2", "Mul\\n· * 3", "Sub\\n1 - ·", "x", "result"} == set(labels(text)[1:])
    assert labels(text)[0] == "all values: (3,) float64"


def test_our_own_shows_types_on_edges():
    x = sg.placeholder("x", ("n", 3), "float32")
    text = sg.get_dot_graph(np.sum(x, axis=0).astype("int64"), preset="symgraph")
    assert 'label="(n, 3)"' in text and 'label="float32 where no dtype is shown"' in text
    assert '"result\\n(3,) int64"' in text


def network():
    x = sg.placeholder("x", ("n", 8), "float64")
    w = sg.placeholder("w", (8, 4), "float64")
    with sg.scope("layer"):
        h = np.tanh(x @ w)
    with sg.scope("loss"):
        return sg.compile({"loss": np.mean(h**2)}, wrt=[w])


def test_our_own_frames_parts_and_kernels():
    text = network().to_dot("joint", preset="symgraph")
    titles = labels(text)
    assert {"forward", "backward", "kernel 1: product of n × 8 × 4"} <= set(titles)
    assert "['loss']\\n()" in titles and "gradient of w\\n(8, 4)" in titles


def test_heat_needs_sizes_or_times():
    f = network()
    with pytest.raises(ValueError, match="heat colours the kernels of a compiled function"):
        f.to_dot("before", preset="symgraph", heat="cost")
    with pytest.raises(ValueError, match="call the function once"):
        f.to_dot("joint", preset="symgraph", heat="cost")
    f.value_and_grad(x=np.ones((5, 8)), w=np.ones((8, 4)))
    text = f.to_dot("joint", preset="symgraph", heat="cost")
    shares = [int(label.rsplit(" ", 1)[1][:-1]) for label in labels(text) if label.endswith("%")]
    kernels = len(f.view("joint").kernels)
    assert len(shares) >= kernels and 0 < max(shares) <= 100
    hot = f.to_dot("joint", preset="symgraph", heat=[1.0] + [0.0] * (kernels - 1))
    assert "kernel 1: product of n × 8 × 4, 100%" in hot
    with pytest.raises(ValueError, match=f"heat holds 1 times, but there are {kernels} kernels"):
        f.to_dot("joint", preset="symgraph", heat=[1.0])
    with pytest.raises(ValueError, match="heat must be 'cost' or 'time', or seconds for each kernel, got 'hot'"):
        f.to_dot("joint", preset="symgraph", heat="hot")


def test_heat_by_time_is_what_was_measured():
    f = network()
    given = {"x": np.ones((5, 8)), "w": np.ones((8, 4))}
    with pytest.raises(ValueError, match=r"heat='time' needs times that were measured: call the function's profile"):
        f.to_dot("joint", preset="symgraph", heat="time")
    seconds = f.profile(**given, what="value_and_grad", repeat=3).seconds
    assert [kernel.seconds for kernel in f.view("joint").kernels] == list(seconds)
    assert f.to_dot("joint", preset="symgraph", heat="time") == f.to_dot("joint", preset="symgraph", heat=seconds)


def test_the_taylor_sine_fits_into_fifteen_boxes():
    def sine(x):
        y = 0
        for i in range(47):
            y = y + (-1) ** i / math.factorial(2 * i + 1) * x ** (2 * i + 1)
        return y

    for x in (sg.placeholder("x", (), "float64"), sg.Variable(np.array(np.pi / 4), "x")):
        for preset in PRESETS:
            text = sg.get_dot_graph(sine(x), preset=preset, collapse="repeat")
            assert len(re.findall(r"^\d+ \[", text, re.M)) <= 15
            assert 'label="×47"' in text


def test_the_gradient_of_a_scope_in_few_boxes():
    text = network().to_dot("joint", preset="symgraph", collapse="scope")
    assert [label for label in labels(text) if "layer" in label] == ["layer\\n2 nodes", "layer\\n5 nodes"]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("collapse", [(), "repeat", "scope", "line", "kernel", ("scope", "repeat")])
def test_every_stage_in_every_form(preset, stage, collapse):
    text = network().to_dot(stage, verbose=True, preset=preset, collapse=collapse)
    numbers = re.findall(r"^(\d+) \[", text, re.M)
    assert numbers and len(set(numbers)) == len(numbers)
    edges = re.findall(r"^(\d+) -> (\d+)", text, re.M)
    assert {end for edge in edges for end in edge} <= set(numbers)
    lines = text.splitlines()
    assert sum(line.endswith("{") for line in lines) == lines.count("}")


def test_options_are_checked():
    x = sg.placeholder("x")
    with pytest.raises(ValueError, match="no preset 'plain'; write one of dezero, torchviz, symgraph"):
        sg.get_dot_graph(x, preset="plain")
    with pytest.raises(TypeError, match="the preset 'dezero' has no option 'heat'; it has none"):
        sg.get_dot_graph(x, heat="cost")
    with pytest.raises(TypeError, match="the preset 'symgraph' has no option 'show_saved'; it has heat, rankdir"):
        sg.get_dot_graph(x, preset="symgraph", show_saved=True)
    with pytest.raises(ValueError, match="rankdir must be one of TB, LR, BT, RL"):
        sg.get_dot_graph(x, preset="symgraph", rankdir="up")


HOSTILE = ['"]; evil [shape=box', "</svg><script>", "a\nb", "{x|y}", "<b>", "&amp;", "\\N", "größe 大", "%s {0}"]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_only_names(preset, name):
    y = sg.Variable(np.ones(3), name) * sg.Variable(np.ones(3), name)
    y.name = name
    text = sg.get_dot_graph(y, preset=preset, verbose=True)
    assert len(re.findall(r"^\d+ \[", text, re.M)) == {"dezero": 4, "torchviz": 6, "symgraph": 4}[preset]
    svg = ElementTree.fromstring(picture(text, "svg"))  # is well-formed
    assert not list(svg.iter("script")) and "evil" not in {node.get("id") for node in svg.iter()}


@pytest.mark.parametrize("preset", PRESETS)
def test_loops_hold_their_bodies(preset):
    inner = view_of([np.exp(sg.placeholder("i"))])
    nodes = [Node(0, "x", "source", "input"), Node(1, "While", "control", "forward", body=(("body", inner),))]
    text = write(View(nodes, [Edge(0, 1)], outputs=[Output("", 1)]), preset)
    assert 'label="body"' in text and {"Exp", "While"} <= {label.removesuffix("Backward") for label in labels(text)}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("form", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_pictures_are_files_of_their_kind(preset, form, start, tmp_path):
    path = tmp_path / f"f.{form}"
    assert network().plot(path, "joint", preset=preset, collapse="scope") == path
    assert path.read_bytes().startswith(start)


def test_many_nodes():
    y = sg.placeholder("x", (8,), "float64")
    for _ in range(50_000):
        y = np.sin(y) * 2.5
    assert sg.get_dot_graph(y).count('"Sin"') == 50_000

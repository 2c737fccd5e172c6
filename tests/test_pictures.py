"""Pictures of compiled functions: every stage, the same in every process."""

import os
import subprocess
import sys

import networkx as nx
import numpy as np
import pytest

import symgraph as sg

PROGRAM = """
import numpy as np, symgraph as sg
x, w = sg.placeholder("x", ("n", 3), "float64"), sg.placeholder("w", (3,), "float64")
f = sg.compile(np.mean(np.tanh(x @ w) ** 2))
for stage in ("before", "after", "sides", "backward", "joint"):
    print(f.to_dot(stage, verbose=True))
print(f.source)
"""


def labels(text):
    return [line.split('label="')[1].split('"')[0] for line in text.splitlines() if "[label=" in line]


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
    text = sg.compile(np.exp(x)).to_dot("joint")
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

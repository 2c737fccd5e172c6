"""Pictures: what the text holds, that it is the same in every process, and how it becomes a file."""

from __future__ import annotations

import math
import os
import re
import stat
import subprocess
import sys
import types
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph import Function, Variable, get_dot_graph, plot_dot_graph
from symgraph.dot_text import Dot, quote
from symgraph.errors import RendererError
from symgraph.presets.dezero import OPERATION, VALUE
from symgraph.render import render

NODE = re.compile(r'(\d+) \[label="(.*)", color=(orange|lightblue), style=filled(, shape=box)?\]')
EDGE = re.compile(r"(\d+) -> (\d+)")


def parse(text: str) -> tuple[dict[int, str], dict[int, str], list[tuple[int, int]]]:
    """Values, operations (label by number) and edges; every line must be one of them."""
    lines = text.split("\n")
    assert lines[0] == "digraph g {" and lines[-1] == "}"
    values: dict[int, str] = {}
    operations: dict[int, str] = {}
    edges = []
    for line in lines[1:-1]:
        node, edge = NODE.fullmatch(line), EDGE.fullmatch(line)
        if node is not None:
            kind = operations if node[3] == "lightblue" else values
            assert (node[4] is not None) == (kind is operations)
            assert int(node[1]) not in values and int(node[1]) not in operations
            kind[int(node[1])] = node[2]
        else:
            assert edge is not None, line
            edges.append((int(edge[1]), int(edge[2])))
    return values, operations, edges


def goldstein_price(x: Any, y: Any) -> Any:
    return (1 + (x + y + 1) ** 2 * (19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2)) * (
        30 + (2 * x - 3 * y) ** 2 * (18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2)
    )


def in_mode(mode: str, f: Callable[..., Any]) -> Any:
    """f(x, y) on Variables or symbols that are called x and y."""
    if mode == "eager":
        return f(Variable(np.array(1.0), "x"), Variable(np.array(2.0), "y"))
    return f(sg.placeholder("x"), sg.placeholder("y"))


# -- the book's form ---------------------------------------------------------------------------------------------------


def test_a_sum_of_two() -> None:
    x0, x1 = Variable(np.array(1.0), "x0"), Variable(np.array(1.0), "x1")
    y = x0 + x1
    y.name = "y"
    assert get_dot_graph(y) == (
        "digraph g {\n"
        '1 [label="x0", color=orange, style=filled]\n'
        '2 [label="x1", color=orange, style=filled]\n'
        '3 [label="Add", color=lightblue, style=filled, shape=box]\n'
        '4 [label="y", color=orange, style=filled]\n'
        "1 -> 3\n"
        "2 -> 3\n"
        "3 -> 4\n"
        "}"
    )


@pytest.mark.parametrize("mode", ["eager", "symbolic"])
def test_a_leaf(mode: str) -> None:
    assert parse(get_dot_graph(in_mode(mode, lambda x, y: x))) == ({1: "x"}, {}, [])


@pytest.mark.parametrize("mode", ["eager", "symbolic"])
def test_an_operand_used_twice_has_two_edges(mode: str) -> None:
    values, operations, edges = parse(get_dot_graph(in_mode(mode, lambda x, y: x * x)))
    assert values == {1: "x", 3: ""} and operations == {2: "Mul"}
    assert edges == [(1, 2), (1, 2), (2, 3)]


@pytest.mark.parametrize(
    ("mode", "functions", "variables", "arrows"),
    [
        ("eager", 38, 57, 108),
        ("symbolic", 36, 51, 104),  # 6 constants and 2 squares are written twice and are one node each
    ],
)
def test_goldstein_price(mode: str, functions: int, variables: int, arrows: int) -> None:
    values, operations, edges = parse(get_dot_graph(in_mode(mode, goldstein_price)))
    assert (len(operations), len(values), len(edges)) == (functions, variables, arrows)
    assert sorted([*values, *operations]) == list(range(1, functions + variables + 1))


def test_the_taylor_sine() -> None:
    x = Variable(np.array(np.pi / 4))
    y: Any = 0
    for i in range(100000):
        t = (-1) ** i / math.factorial(2 * i + 1) * x ** (2 * i + 1)
        y = y + t
        if abs(t.data) < 1e-150:
            break
    values, operations, _ = parse(get_dot_graph(y))
    assert len(values) + len(operations) == 331


def test_verbose_shows_shapes_and_dtypes() -> None:
    x = Variable(np.ones((2, 3)), "x")
    values, _, _ = parse(get_dot_graph(np.exp(x), verbose=True))
    assert list(values.values()) == ["x: (2, 3) float64", "(2, 3) float64"]
    assert parse(get_dot_graph(Variable(None, "w"), verbose=True))[0] == {1: "w"}
    a = sg.placeholder("a", shape=("n", 3), dtype="float32")
    values, operations, _ = parse(get_dot_graph(a * 2 + sg.placeholder("b"), verbose=True))
    assert list(values.values()) == ["a: (n, 3) float32", "2: () int64", "(n, 3) float32", "b: (?) ?", "(?) ?"]
    assert list(operations.values()) == ["Mul", "Add"]


def test_constants_of_a_formula_show_their_value() -> None:
    x = sg.placeholder("x")
    values, _, _ = parse(get_dot_graph(x * np.arange(3.0) + np.zeros((4, 4)).sum() + sg.constant(np.ones((4, 4)))))
    assert {"[0.0, 1.0, 2.0]", "0.0", "array(4, 4)"} <= set(values.values())


def test_functions_of_ones_own() -> None:
    class Halves(Function):
        def forward(self, x: Any) -> Any:
            return x[:1], x[1:]

    low, high = Halves()(Variable(np.ones(2), "x"))
    values, operations, edges = parse(get_dot_graph(low * high))
    assert list(operations.values()) == ["Halves", "Mul"]
    assert len(values) == 4 and len(edges) == 6
    # an output that the result does not depend on is not part of its graph
    assert len(parse(get_dot_graph(low))[0]) == 2


def test_gradients_have_graphs_too() -> None:
    x = Variable(np.array(1.0), "x")
    np.tanh(x).backward(create_graph=True)
    _, operations, _ = parse(get_dot_graph(x.grad))
    assert "Tanh" in operations.values() and "Mul" in operations.values()
    s = sg.placeholder("s", shape=(), dtype="float64")
    assert "Tanh" in parse(get_dot_graph(sg.grad(np.tanh(s), [s])[0]))[1].values()


@pytest.mark.parametrize("value", [1.0, np.ones(3), "x", None])
def test_only_values_have_graphs(value: Any) -> None:
    with pytest.raises(TypeError, match="only the graph of a Variable or a symbol can be drawn, not that of"):
        get_dot_graph(value)


def test_deep_graphs_need_no_recursion() -> None:
    y, s = Variable(np.array(1.0)), sg.placeholder("s")
    for _ in range(5_000):
        y, s = np.sin(y), np.sin(s)
    assert get_dot_graph(y).count("Sin") == get_dot_graph(s).count("Sin") == 5_000


SCRIPT = """
import numpy as np, symgraph as sg
def f(x, y): return np.where(x > y, np.tanh(x @ y.T), sg.softmax(x * y + 1).sum()) * {3.0, 5.0, 7.0}.pop()
x, y = sg.Variable(np.ones((2, 2)), "x"), sg.Variable(np.eye(2), "y")
print(sg.get_dot_graph(f(x, y), verbose=True).replace(".0:", ":"))
a, b = sg.placeholder("x", (2, 2), "float64"), sg.placeholder("y", (2, 2), "float64")
print(sg.get_dot_graph(np.where(a > b, np.tanh(a @ b.T), sg.softmax(a * b + 1).sum()), verbose=True))
"""


def test_the_text_is_the_same_in_every_process() -> None:
    texts = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            cwd=Path(__file__).parent.parent,
            timeout=120,
        ).stdout
        for seed in ("1", "2")
    ]
    assert texts[0] == texts[1]
    assert texts[0].count(b"digraph") == 2


# -- text is data ------------------------------------------------------------------------------------------------------

HOSTILE = [
    'say "hi"',
    "back\\slash",
    "\\",
    'end\\"',
    "\\N \\G \\l \\n",
    "two\nlines",
    "]; evil [shape=box",
    "<b>bold</b>",
    "&lt;&#38;&",
    "\x00\x1b\x7f",
    "\ud800",
    "größe 大 🎈",
    "",
    " ",
    "}",
    "node",
    "x" * 5000,
    "a -> b",
    "%s {0}",
    "\u2028\u202e",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_only_names(name: str) -> None:
    y = Variable(np.array(1.0), name) * 2
    lines = get_dot_graph(y).split("\n")
    assert len(lines) == 9  # two braces, four nodes, three edges
    label = re.fullmatch(r'1 \[label=("(?:[^"\\]|\\.)*"), color=orange, style=filled\]', lines[1])
    assert label is not None and label[1] == quote(name)
    get_dot_graph(y).encode("utf-8")


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ('"', r'"\""'),
        ("\\", r'"\\"'),
        ("\n", r'"\n"'),
        ("\\n", r'"\\n"'),
        ("&lt;", '"&amp;lt;"'),
        ("a & b", '"a & b"'),
        ("\x00", r'"\\x00"'),
        ("\ud800", r'"\\ud800"'),
        ("é", '"é"'),
        (3, '"3"'),
    ],
)
def test_quote(text: object, quoted: str) -> None:
    assert quote(text) == quoted


@pytest.mark.parametrize("name", [n for n in HOSTILE if n.isprintable() and n.strip()])
def test_graphviz_shows_names_as_they_are(name: str, tmp_path: Path) -> None:
    path = render(get_dot_graph(Variable(np.array(1.0), name)), tmp_path / "x.svg")
    texts = [t.text for t in ElementTree.fromstring(path.read_bytes()).iter("{http://www.w3.org/2000/svg}text")]
    assert texts == [name]


# -- the builder -------------------------------------------------------------------------------------------------------


def test_clusters_and_attributes() -> None:
    dot = Dot(rankdir="LR", label='both "sides"')
    before, after = dot.cluster("before"), dot.cluster("after", style="dashed", color="#ff0000")
    a = dot.node("a", before, **VALUE)
    b = dot.node("b", after, **OPERATION)
    c = dot.node("c", fontsize=10, shape="node")
    dot.edge(a, b)
    dot.edge(b, c, style="dashed", label="same")
    assert str(dot) == (
        "digraph g {\n"
        "rankdir=LR\n"
        'label="both \\"sides\\""\n'
        "subgraph cluster_1 {\n"
        'label="before"\n'
        '1 [label="a", color=orange, style=filled]\n'
        "}\n"
        "subgraph cluster_2 {\n"
        'label="after"\n'
        "style=dashed\n"
        'color="#ff0000"\n'
        '2 [label="b", color=lightblue, style=filled, shape=box]\n'
        "}\n"
        '3 [label="c", fontsize=10, shape="node"]\n'
        "1 -> 2\n"
        '2 -> 3 [style=dashed, label="same"]\n'
        "}"
    )


def test_clusters_lie_in_clusters() -> None:
    dot = Dot({"shape": "box"}, {"color": "gray"})
    outer = dot.cluster("outer")
    inner = dot.cluster("inner", outer)
    dot.edge(dot.node("a", inner), dot.node("b", outer))
    assert str(dot) == (
        "digraph g {\n"
        "node [shape=box]\n"
        "edge [color=gray]\n"
        "subgraph cluster_1 {\n"
        'label="outer"\n'
        "subgraph cluster_2 {\n"
        'label="inner"\n'
        '1 [label="a"]\n'
        "}\n"
        '2 [label="b"]\n'
        "}\n"
        "1 -> 2\n"
        "}"
    )


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def fake_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a program called `dot` first on the PATH; it runs a line of Python on `text` and the arguments `args`."""

    def install(body: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "dot"
        program.write_text(
            f"#!{sys.executable}\nimport sys, time\nargs, text = sys.argv[1:], sys.stdin.buffer.read()\n{body}\n",
            "utf-8",
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
        return program

    return install


@pytest.fixture
def value() -> Variable:
    return Variable(np.array(1.0), "größe") * 2


ECHO = "sys.stdout.buffer.write(' '.join(args).encode() + b'|' + text)"


@pytest.mark.parametrize("name", ["a.svg", "with space; rm -rf $HOME.png", "'quoted\".PDF", "-Tpng.svg", "..svg"])
def test_the_extension_picks_the_format(
    name: str,
    value: Variable,
    fake_dot: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_dot(ECHO)
    monkeypatch.chdir(tmp_path)
    assert plot_dot_graph(value, verbose=True, to_file=name) == Path(name)
    form = name.rsplit(".", 1)[1].lower()
    assert Path(name).read_text("utf-8") == f"-T{form}|{get_dot_graph(value, verbose=True)}"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["bin", name])


@pytest.mark.parametrize("mode", ["eager", "symbolic"])
def test_the_default_file(
    mode: str,
    fake_dot: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_dot(ECHO)
    monkeypatch.chdir(tmp_path)
    assert plot_dot_graph(in_mode(mode, goldstein_price)) == Path("graph.png")
    assert Path("graph.png").read_bytes().startswith(b"-Tpng|digraph g {")


@pytest.mark.parametrize("name", ["graph.dot", "graph.GV"])
def test_text_needs_no_renderer(name: str, value: Variable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_renderers(monkeypatch)
    path = plot_dot_graph(value, to_file=tmp_path / name)
    assert path.read_text("utf-8") == get_dot_graph(value) + "\n"


@pytest.mark.parametrize("name", ["graph", "graph.", "graph.s vg", ".svg"])
def test_no_extension(name: str, value: Variable) -> None:
    with pytest.raises(ValueError, match=r"the extension picks the format; write \.png, \.svg, \.pdf or \.dot"):
        plot_dot_graph(value, to_file=name)


def without_renderers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *args, **options: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


def test_no_renderer(value: Variable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_renderers(monkeypatch)
    with pytest.raises(RendererError) as caught:
        plot_dot_graph(value, to_file=tmp_path / "graph.svg")
    assert str(caught.value) == (
        f"no program that draws DOT was found, so {tmp_path / 'graph.svg'} was not written; install one with\n"
        "  pip install pygraphviz\n"
        "or write a .dot file, which needs none"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_renderer_that_fails(value: Variable, fake_dot: Callable[[str], Path], tmp_path: Path) -> None:
    fake_dot("sys.exit('Format: \"xyz\" not recognized')")
    with pytest.raises(RendererError, match=r'dot could not draw .*graph\.xyz as xyz: Format: "xyz" not recognized'):
        plot_dot_graph(value, to_file=tmp_path / "graph.xyz")
    assert not (tmp_path / "graph.xyz").exists()


def test_a_renderer_that_hangs(
    value: Variable,
    fake_dot: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_dot("time.sleep(600)")
    monkeypatch.setattr("symgraph.render.TIMEOUT", 0.5)
    with pytest.raises(RendererError, match=r"took longer than 0\.5 s, so .*graph\.svg was not written; draw less"):
        plot_dot_graph(value, to_file=tmp_path / "graph.svg")


def test_graphviz_from_pip(value: Variable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *args, **options: None)
    for form, start in (("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")):
        path = plot_dot_graph(value, to_file=tmp_path / f"graph.{form}")
        assert path.read_bytes().startswith(start)
    with pytest.raises(RendererError, match="as nosuch: "):
        plot_dot_graph(value, to_file=tmp_path / "graph.nosuch")


def test_the_pure_executable_beside_python(
    value: Variable,
    fake_dot: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_dot(ECHO).rename(tmp_path / "bin" / "graphviz-pure")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("sys.executable", str(tmp_path / "bin" / "python"))
    path = plot_dot_graph(value, to_file=tmp_path / "graph.svg")
    assert path.read_bytes().startswith(b"-Tsvg|digraph g {")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("g.svg", "SVG"),
        ("g.png", "Image"),
        ("g.jpg", "Image"),
        ("g.pdf", None),
        ("g.dot", None),
    ],
)
def test_a_notebook_shows_the_picture(
    name: str,
    shown: str | None,
    value: Variable,
    fake_dot: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_dot(ECHO)
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = object
    for kind in ("SVG", "Image"):
        setattr(display, kind, lambda filename, kind=kind: (kind, filename))
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    path = tmp_path / name
    assert plot_dot_graph(value, to_file=path) == (path if shown is None else (shown, str(path)))
    ipython.get_ipython = lambda: None
    assert plot_dot_graph(value, to_file=path) == path

"""Pictures: graphs as DOT text, in the form of the book behind DeZero, and the way from text to a picture.

A value is an orange ellipse, an operation a light blue box. Nodes are numbered in the order of the computation, so
the text is the same in every process.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

from symgraph.eager import Variable
from symgraph.errors import RendererError
from symgraph.expr import Expr
from symgraph.ops import array as ar
from symgraph.types import format_shape

VALUE = {"color": "orange", "style": "filled"}
OPERATION = {"color": "lightblue", "style": "filled", "shape": "box"}

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z_0-9]*|-?[0-9]+(\.[0-9]+)?")
_KEYWORDS = frozenset({"node", "edge", "graph", "digraph", "subgraph", "strict"})
_ENTITY = re.compile(r"&(?=#?\w+;)")


def quote(text: object) -> str:
    r"""Any text as a DOT string that shows exactly this text: no quote, backslash or entity in it has a meaning.

    >>> from symgraph.dot import quote
    >>> print(quote('say "hi" \\N'))
    "say \"hi\" \\N"
    """
    shown = str(text)
    if not shown.isprintable():
        shown = "".join(
            c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in shown
        )
    shown = shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{_ENTITY.sub("&amp;", shown)}"'


def _attributes(attributes: dict[str, Any]) -> str:
    return ", ".join(
        f"{key}={value if key != 'label' and _is_plain(str(value)) else quote(value)}"
        for key, value in attributes.items()
    )


def _is_plain(text: str) -> bool:
    return _PLAIN.fullmatch(text) is not None and text.lower() not in _KEYWORDS


class Dot:
    """A directed graph as DOT text: nodes get the numbers 1, 2, ..., clusters are drawn as frames around nodes.

    Args:
        attributes: of the whole graph, such as ``rankdir="LR"``.

    >>> from symgraph.dot import OPERATION, VALUE, Dot
    >>> dot = Dot()
    >>> x, f = dot.node("x", **VALUE), dot.node("Exp", **OPERATION)
    >>> dot.edge(x, f)
    >>> print(dot)
    digraph g {
    1 [label="x", color=orange, style=filled]
    2 [label="Exp", color=lightblue, style=filled, shape=box]
    1 -> 2
    }
    """

    def __init__(self, **attributes: Any) -> None:
        self._attributes = attributes
        self._members: dict[int | None, list[str]] = {None: []}  # lines of nodes, by cluster
        self._clusters: list[dict[str, Any]] = []
        self._edges: list[str] = []
        self._nodes = 0

    def node(self, label: object, cluster: int | None = None, **attributes: Any) -> int:
        """Add a node, inside a cluster where one is given; its number."""
        self._nodes += 1
        self._members[cluster].append(f"{self._nodes} [{_attributes({'label': label, **attributes})}]")
        return self._nodes

    def edge(self, tail: int, head: int, **attributes: Any) -> None:
        """Add an arrow between two nodes, given by their numbers."""
        self._edges.append(f"{tail} -> {head}" + (f" [{_attributes(attributes)}]" if attributes else ""))

    def cluster(self, label: object, **attributes: Any) -> int:
        """Add a frame with a title; its number, for :meth:`node`."""
        self._clusters.append({"label": label, **attributes})
        self._members[len(self._clusters)] = []
        return len(self._clusters)

    def __str__(self) -> str:
        lines = ["digraph g {"]
        lines += [_attributes({key: value}) for key, value in self._attributes.items()]
        lines += self._members[None]
        for number, attributes in enumerate(self._clusters, 1):
            lines.append(f"subgraph cluster_{number} {{")
            lines += [_attributes({key: value}) for key, value in attributes.items()]
            lines += self._members[number]
            lines.append("}")
        return "\n".join([*lines, *self._edges, "}"])


# -- graphs of values --------------------------------------------------------------------------------------------------

Drawable = Variable | Expr


def _arguments(value: Drawable) -> Sequence[Drawable]:
    if isinstance(value, Variable):
        return () if value.creator is None else value.creator.inputs
    return value.args


def _in_order(outputs: Iterable[Drawable], drawn: dict[Hashable, int]) -> list[Drawable]:
    """What is not drawn yet of the outputs and all that they depend on, arguments before results. No recursion."""
    order: list[Drawable] = []
    seen: set[Hashable] = set(drawn)
    for output in outputs:
        if output in seen:
            continue
        seen.add(output)
        stack = [(output, iter(_arguments(output)))]
        while stack:
            value, rest = stack[-1]
            following = next((a for a in rest if a not in seen), None)
            if following is None:
                order.append(value)
                stack.pop()
            else:
                seen.add(following)
                stack.append((following, iter(_arguments(following))))
    return order


def _label(value: Drawable, verbose: bool) -> str:
    """The name and, where asked for, shape and dtype: ``x: (2, 3) float64``."""
    if isinstance(value, Variable):
        name = value.name
        kind = None if value.data is None else f"{value.shape} {value.dtype}"
    else:
        name = repr(value.params["value"]) if value.op is ar.constant else value.name
        if name is None and not value.args:
            name = value.op.label
        dtype = value.type.dtype
        kind = f"{format_shape(value.type.shape)} {'?' if dtype is None else dtype}"
    return ": ".join(str(part) for part in (name, kind if verbose else None) if part is not None)


def draw(
    dot: Dot,
    outputs: Iterable[Drawable],
    verbose: bool = False,
    cluster: int | None = None,
    drawn: dict[Hashable, int] | None = None,
) -> dict[Hashable, int]:
    """Add the graph behind some values: the numbers of all values and operations drawn so far.

    Args:
        dot: what to draw into.
        outputs: Variables or symbols.
        verbose: labels also show shapes and dtypes.
        cluster: the frame to draw in.
        drawn: what an earlier call returned; those values are linked to, not drawn again.

    Raises:
        TypeError: an output is neither a Variable nor a symbol.
    """
    numbers: dict[Hashable, int] = {} if drawn is None else dict(drawn)
    wanted = list(outputs)
    for output in wanted:
        if not isinstance(output, Variable | Expr):
            raise TypeError(f"only the graph of a Variable or a symbol can be drawn, not that of {output!r:.60}")
    for value in _in_order(wanted, numbers):
        arguments = _arguments(value)
        operation: Hashable = None
        label = ""
        if isinstance(value, Variable):
            if value.creator is not None:
                operation, label = value.creator, value.creator.label
        elif arguments:
            operation, label = ("operation", value), value.op.label
        if operation is not None and operation not in numbers:
            numbers[operation] = dot.node(label, cluster, **OPERATION)
            for argument in arguments:
                dot.edge(numbers[argument], numbers[operation])
        numbers[value] = dot.node(_label(value, verbose), cluster, **VALUE)
        if operation is not None:
            dot.edge(numbers[operation], numbers[value])
    return numbers


def get_dot_graph(output: Drawable, verbose: bool = False) -> str:
    """The graph behind a Variable or a symbol, as DOT text.

    Args:
        output: the value at the end of the graph.
        verbose: labels also show shapes and dtypes.

    Raises:
        TypeError: `output` is neither a Variable nor a symbol.

    >>> import numpy as np, symgraph as sg
    >>> x0, x1 = sg.Variable(np.array(1.0), "x0"), sg.Variable(np.array(1.0), "x1")
    >>> y = x0 + x1
    >>> y.name = "y"
    >>> print(sg.get_dot_graph(y))
    digraph g {
    1 [label="x0", color=orange, style=filled]
    2 [label="x1", color=orange, style=filled]
    3 [label="Add", color=lightblue, style=filled, shape=box]
    4 [label="y", color=orange, style=filled]
    1 -> 3
    2 -> 3
    3 -> 4
    }
    """
    dot = Dot()
    draw(dot, [output], verbose)
    return str(dot)


def plot_dot_graph(output: Drawable, verbose: bool = False, to_file: str | os.PathLike[str] = "graph.png") -> Any:
    """Draw the graph behind a Variable or a symbol into a file.

    The file's extension picks the format: png, svg, pdf ...; ``.dot`` and ``.gv`` write the text, which needs no
    renderer.

    Returns:
        In a notebook, the picture for display; else the file's path.

    Raises:
        TypeError: `output` is neither a Variable nor a symbol.
        ValueError: the file has no extension.
        RendererError: no program to draw it was found, or it failed or took too long.
    """
    return render(get_dot_graph(output, verbose), to_file)


# -- from text to a picture --------------------------------------------------------------------------------------------

TIMEOUT = 120.0
"""Seconds that a renderer may take."""

# In a process of its own: Graphviz holds the interpreter's lock while it works, and could not be interrupted.
_PYGRAPHVIZ = """
import sys, pygraphviz
text = sys.stdin.buffer.read().decode("utf-8")
sys.stdout.buffer.write(pygraphviz.AGraph(string=text).draw(format=sys.argv[1], prog="dot"))
"""


def _renderer(form: str) -> list[str] | None:
    """A command that reads DOT and writes a picture: the system's Graphviz, or one that pip installed."""
    dot = shutil.which("dot")
    if dot is not None:
        return [dot, f"-T{form}"]
    if importlib.util.find_spec("pygraphviz") is not None:
        return [sys.executable, "-c", _PYGRAPHVIZ, form]
    scripts = os.pathsep.join((os.environ.get("PATH", ""), os.path.dirname(sys.executable)))
    pure = shutil.which("graphviz-pure", path=scripts)
    return None if pure is None else [pure, f"-T{form}"]


def render(text: str, to_file: str | os.PathLike[str]) -> Any:
    """Write DOT text as a picture in the format that the file's extension names (see :func:`plot_dot_graph`)."""
    path = Path(to_file)
    form = path.suffix[1:].lower()
    if not re.fullmatch("[a-z0-9]+", form):
        raise ValueError(f"to_file={str(path)!r}: the extension picks the format; write .png, .svg, .pdf or .dot")
    if form in ("dot", "gv"):
        path.write_text(text + "\n", encoding="utf-8")
        return path
    command = _renderer(form)
    if command is None:
        raise RendererError(
            f"no program that draws DOT was found, so {path} was not written; install one with\n"
            f"  pip install pygraphviz\n"
            f"or write a .dot file, which needs none"
        )
    try:
        done = subprocess.run(command, input=text.encode("utf-8"), capture_output=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise RendererError(
            f"laying out the graph took longer than {TIMEOUT:g} s, so {path} was not written; "
            f"a .dot file needs no layout"
        ) from None
    if done.returncode or not done.stdout:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise RendererError(f"{os.path.basename(command[0])} could not draw {path} as {form}: {said[-500:]}")
    path.write_bytes(done.stdout)
    return _shown(path, form)


def _shown(path: Path, form: str) -> Any:
    """The picture for display where IPython runs, else the path."""
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None or form not in ("svg", "png", "jpg", "jpeg", "gif"):
        return path
    display = importlib.import_module("IPython.display")
    return (display.SVG if form == "svg" else display.Image)(filename=str(path))

"""The form of torchviz: what a backward pass runs through, and what it needs."""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.dot_text import Dot
from symgraph.presets.common import body_frame, carried, clusters, frame_of, plain_frames, times
from symgraph.view import Edge, View

LEAF, GIVEN, SAVED = ({"fillcolor": color} for color in ("lightblue", "darkolivegreen1", "orange"))


def torchviz(view: View, *, verbose: bool = False, show_attrs: bool = False, show_saved: bool = False) -> Dot:
    """The backward functions grey, leaves that need a gradient blue, the output green; saved values orange.

    What needs no gradient, and what it is computed by, is left out.

    Source: S. Zagoruyko, torchviz (https://github.com/szagoruyko/pytorchviz).
    """
    dot = Dot(
        {"style": "filled", "shape": "box", "fillcolor": "lightgrey", "fontname": "monospace", "fontsize": 10,
         "height": 0.2},
        ranksep=0.2,
    )  # fmt: skip
    _torchviz(dot, view, verbose, show_attrs, show_saved, None)
    return dot


def _torchviz(dot: Dot, view: View, verbose: bool, show_attrs: bool, show_saved: bool, parent: int | None) -> None:
    frames = clusters(dot, view, parent, plain_frames(view))
    arguments = view.arguments()
    leads = _differentiable(view, arguments)
    functions: dict[int, int] = {}
    values: dict[tuple[int, int], int] = {}

    def value(node: int, port: int, look: dict[str, str]) -> int:
        """A value's box, drawn once."""
        if (node, port) not in values:
            made, result = view.nodes[node], view.nodes[node].results[port]
            name = (made.label if made.leaf else result.name) + times(made)
            shown = "\n".join(part for part in (name, result.type if verbose else result.shape) if part)
            values[node, port] = dot.node(shown, frame_of(view, frames, made, parent), **look)
        return values[node, port]

    for node in view.nodes:
        if node.id not in leads:
            continue
        frame = frame_of(view, frames, node, parent)
        if node.leaf:
            blue = value(node.id, 0, LEAF)
            functions[node.id] = dot.node("AccumulateGrad", frame)
            dot.edge(blue, functions[node.id])
            continue
        label = f"{node.label}Backward" if node.kind not in ("scope", "line", "kernel") else node.label
        saved = [e for e in arguments[node.id] if e.position in node.saved]
        if show_attrs:
            lines = [f"{key}: {text}" for key, text in node.params.items()]
            lines += [f"argument {e.position}: saved {view.nodes[e.tail].results[e.port].type}" for e in saved]
            lines += [f"result: saved {node.results[0].type}"] if -1 in node.saved else []
            label = "\n".join([label, "-" * max(map(len, [label, *lines])), *lines]) if lines else label
        frame = body_frame(dot, node, frame, {}, lambda v, k: _torchviz(dot, v, verbose, show_attrs, show_saved, k))
        functions[node.id] = dot.node(label, frame)
    for output in view.outputs:
        if output.node in leads and not view.nodes[output.node].leaf:
            green = value(output.node, output.port, GIVEN)
            dot.edge(functions[output.node], green)
    for node in view.nodes:
        if node.id not in functions or node.leaf:
            continue
        for edge in arguments[node.id]:
            if edge.tail in functions:
                dot.edge(functions[edge.tail], functions[node.id], **carried(edge))
        if show_saved:
            needed = {(e.tail, e.port) for e in arguments[node.id] if e.position in node.saved}
            needed |= {(node.id, 0)} if -1 in node.saved else set()
            for tail, port in sorted(needed):
                dot.edge(value(tail, port, SAVED), functions[node.id], dir="none")


def _differentiable(view: View, arguments: Sequence[Sequence[Edge]]) -> set[int]:
    """The inputs of floating dtype, and what depends on them."""
    found = {
        n.id for n in view.nodes if n.role == "input" and not n.results[0].dtype.startswith(("int", "uint", "bool"))
    }
    waiting = list(found)
    users: list[list[int]] = [[] for _ in view.nodes]
    for edges in arguments:
        for edge in edges:
            users[edge.tail].append(edge.head)
    while waiting:
        for user in users[waiting.pop()]:
            if user not in found:
                found.add(user)
                waiting.append(user)
    return found

"""The form of the book behind DeZero: values and operations are nodes of two kinds."""

from __future__ import annotations

from symgraph.dot_text import Dot
from symgraph.presets.common import body_frame, carried, clusters, frame_of, plain_frames, times
from symgraph.view import Edge, Result, View

VALUE = {"color": "orange", "style": "filled"}
OPERATION = {"color": "lightblue", "style": "filled", "shape": "box"}


def dezero(view: View, *, verbose: bool = False) -> Dot:
    """Values are orange ellipses, operations light blue boxes.

    Source: K. Saito, "Deep Learning from Scratch 3" (O'Reilly Japan, 2020), steps 25 and 26.
    """
    dot = Dot()
    _dezero(dot, view, verbose, None)
    return dot


def _dezero(dot: Dot, view: View, verbose: bool, parent: int | None) -> None:
    frames = clusters(dot, view, parent, plain_frames(view))
    arguments = view.arguments()
    values: dict[tuple[int, int], int] = {}
    late: list[tuple[Edge, int]] = []
    for node in view.nodes:
        frame = frame_of(view, frames, node, parent)
        if node.leaf:
            result = node.results[0]
            values[node.id, 0] = dot.node(_value(node.label + times(node), result, verbose), frame, **VALUE)
            continue
        frame = body_frame(dot, node, frame, {}, lambda view, inner: _dezero(dot, view, verbose, inner))
        number = dot.node(node.label, frame, **OPERATION)
        for edge in arguments[node.id]:
            if (edge.tail, edge.port) in values:
                dot.edge(values[edge.tail, edge.port], number)
            else:
                late.append((edge, number))
        for port, result in enumerate(node.results):
            values[node.id, port] = dot.node(_value(result.name, result, verbose), frame, **VALUE)
            dot.edge(number, values[node.id, port])
    for edge, number in late:
        dot.edge(values[edge.tail, edge.port], number, **carried(edge))


def _value(name: str, result: Result, verbose: bool) -> str:
    return ": ".join(part for part in (name, result.type if verbose else "") if part)

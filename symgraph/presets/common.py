"""What the looks share: frames, and nodes that hold views."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from symgraph.dot_text import Dot
from symgraph.view import Edge, Node, View


def clusters(dot: Dot, view: View, parent: int | None, looks: Callable[[int], dict[str, Any]]) -> list[int]:
    """A cluster for each frame of the view, each inside the one that is around it."""
    numbers: dict[int, int] = {}
    for first in range(len(view.groups)):
        waiting = [first]
        while (outer := view.groups[waiting[-1]].parent) is not None and outer not in numbers:
            waiting.append(outer)
        for k in reversed(waiting):
            if k not in numbers:
                outer = view.groups[k].parent
                around = parent if outer is None else numbers[outer]
                numbers[k] = dot.cluster(parent=around, **{"label": view.groups[k].label, **looks(k)})
    return [numbers[k] for k in range(len(view.groups))]


def frame_of(view: View, clusters: Sequence[int], node: Node, parent: int | None) -> int | None:
    """The cluster that a node is drawn in."""
    return parent if node.group is None else clusters[node.group]


def plain_frames(view: View) -> Callable[[int], dict[str, Any]]:
    """The looks of frames in pictures that have few."""
    return lambda k: {"style": "dashed"} if view.groups[k].kind == "repeat" else {}


def times(node: Node) -> str:
    """How often a node is repeated, where no frame says so."""
    return f" ×{node.repeated}" if node.leaf and node.repeated > 1 and node.group is None else ""


def body_frame(
    dot: Dot, node: Node, frame: int | None, look: Mapping[str, Any], write: Callable[[View, int], None]
) -> int | None:
    """The frame of a node: where it holds views, one of its own around it and them."""
    if node.body:
        frame = dot.cluster("", frame, **look)
        for title, view in node.body:
            write(view, dot.cluster(title, frame, **look))
    return frame


CARRIED = {"style": "dashed", "constraint": "false"}
"""How an edge looks that leads from one repetition to the next."""


def carried(edge: Edge) -> dict[str, str]:
    """The look of an edge."""
    return CARRIED if edge.carried else {}

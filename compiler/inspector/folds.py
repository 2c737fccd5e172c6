"""The ways in which the page folds a graph: groups of nodes, and groups of groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.collapse import collapse
from symgraph.view import View


def groups(view: View) -> dict[str, dict[str, list[Any]]]:
    """For each way to fold that leaves fewer nodes, its groups in columns; a group stands after the one around it.

    `of` is each node's innermost group, or -1; `parent` each group's, `note` says how much is in it. Groups of which
    `together` is 1 are opened with their siblings: parts of one block that is repeated.
    """
    found = {"repetition": _repetitions(view), "scope": _scopes(view)}
    found["line"] = _Groups(view).level(collapse(view, "line"))
    found["kernel"] = _Groups(view).level(collapse(view, "kernel")) if view.kernels else _Groups(view)
    return {by: made.columns() for by, made in found.items() if made.title}


class _Groups:
    def __init__(self, view: View) -> None:
        self.of = [-1] * len(view.nodes)
        self.title: list[str] = []
        self.note: list[str] = []
        self.parent: list[int] = []
        self.together: list[int] = []

    def add(self, title: str, note: str, parent: int = -1, together: bool = False) -> int:
        self.title.append(title)
        self.note.append(note)
        self.parent.append(parent)
        self.together.append(int(together))
        return len(self.title) - 1

    def put(self, group: int, members: Sequence[int]) -> None:
        for member in members:
            self.of[member] = group

    def level(self, small: View) -> _Groups:
        """A group inside the present ones for each node of a collapsed view that stands for several."""
        for node in small.nodes:
            title, _, rest = node.label.partition("\n")
            around = self.of[node.members[0]]
            if len(node.members) > 1 and (around < 0 or self.title[around] != title):
                part = ", backward" if node.role == "backward" else ""
                group = self.add(title, rest or _count(len(node.members)) + part, around)
                self.put(group, node.members)
        return self

    def columns(self) -> dict[str, list[Any]]:
        return {"of": self.of, "title": self.title, "note": self.note, "parent": self.parent, "together": self.together}


def _scopes(view: View) -> _Groups:
    """Scopes in scopes: those of one part of a path, then those of two, and so on."""
    made = _Groups(view)
    depth = max((path.count("/") + 1 for node in view.nodes for path in node.scopes if path), default=0)
    for level in range(1, depth + 1):
        made.level(collapse(view, "scope", depth=level))
    return made


def _repetitions(view: View) -> _Groups:
    """A block that is repeated is a group of its operations, and each of those a group of all its repetitions."""
    made = _Groups(view)
    small = collapse(view, "repeat")
    frames: dict[int, int] = {}
    for k, frame in enumerate(small.groups):
        inside = [node for node in small.nodes if node.group == k]
        count = sum(len(node.members) for node in inside)
        around = -1 if frame.parent is None else frames[frame.parent]
        title = f"{frame.label}: {', '.join(node.label for node in inside if not node.leaf)}"
        frames[k] = made.add(title, _count(count), around)
    for node in small.nodes:
        if len(node.members) > 1:
            around = -1 if node.group is None else frames[node.group]
            group = made.add(f"{node.label} ×{len(node.members)}", node.results[0].type, around, together=True)
            made.put(group, node.members)
        elif node.group is not None:
            made.put(frames[node.group], node.members)
    return made


def _count(members: int) -> str:
    return f"{members} nodes"

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
    chains = [_chain(small, k) for k in range(len(small.groups))]
    inside: list[list[str]] = [[] for _ in chains]
    counts = [0] * len(chains)
    for node in small.nodes:
        for k in () if node.group is None else chains[node.group]:
            counts[k] += len(node.members)
            if not node.leaf:
                inside[k].append(node.label)
    frames: dict[int, int] = {}
    for k in sorted(range(len(chains)), key=lambda k: len(chains[k])):  # the outer ones first
        around = frames[chains[k][1]] if len(chains[k]) > 1 else -1
        frames[k] = made.add(f"{small.groups[k].label}: {', '.join(inside[k])}", _count(counts[k]), around)
    for node in small.nodes:
        if len(node.members) > 1:
            around = -1 if node.group is None else frames[node.group]
            group = made.add(f"{node.label} ×{len(node.members)}", node.results[0].type, around, together=True)
            made.put(group, node.members)
        elif node.group is not None:
            made.put(frames[node.group], node.members)
    return made


def _chain(view: View, group: int) -> list[int]:
    """The frame and those around it."""
    chain = [group]
    while (parent := view.groups[chain[-1]].parent) is not None:
        chain.append(parent)
    return chain


def _count(members: int) -> str:
    return f"{members} nodes"

"""DOT texts: nodes, edges and frames, with every name quoted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z_0-9]*|-?[0-9]+(\.[0-9]+)?")
_KEYWORDS = frozenset({"node", "edge", "graph", "digraph", "subgraph", "strict"})
_ENTITY = re.compile(r"&(?=#?\w+;)")


def quote(text: object) -> str:
    r"""Any text as a DOT string that shows exactly this text: no quote, backslash or entity in it has a meaning.

    >>> from symgraph.dot_text import quote
    >>> print(quote('say "hi" \\N'))
    "say \"hi\" \\N"
    """
    shown = str(text)
    if not shown.isprintable():
        shown = "".join(
            c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in shown
        )
    shown = shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    if "&" in shown:
        shown = _ENTITY.sub("&amp;", shown)
    return f'"{shown}"'


def _attributes(attributes: Mapping[str, Any]) -> str:
    return ", ".join(
        [
            f"label={quote(value)}" if key == "label" else _attribute(key, str(value))
            for key, value in attributes.items()
        ]
    )


@lru_cache(maxsize=4096)
def _attribute(key: str, value: str) -> str:
    plain = _PLAIN.fullmatch(value) is not None and value.lower() not in _KEYWORDS
    return f"{key}={value if plain else quote(value)}"


class Dot:
    """A directed graph as DOT text: nodes get the numbers 1, 2, ..., clusters are drawn as frames around nodes.

    Args:
        node: attributes of all nodes.
        edge: attributes of all edges.
        attributes: of the whole graph, such as ``rankdir="LR"``.

    >>> from symgraph.dot_text import Dot
    >>> dot = Dot()
    >>> x, f = dot.node("x", color="orange", style="filled"), dot.node("Exp", shape="box")
    >>> dot.edge(x, f)
    >>> print(dot)
    digraph g {
    1 [label="x", color=orange, style=filled]
    2 [label="Exp", shape=box]
    1 -> 2
    }
    """

    def __init__(
        self, node: Mapping[str, Any] | None = None, edge: Mapping[str, Any] | None = None, **attributes: Any
    ) -> None:
        self._head = [_attributes({key: value}) for key, value in attributes.items()]
        self._head += [f"{what} [{_attributes(given)}]" for what, given in (("node", node), ("edge", edge)) if given]
        self._members: dict[int | None, list[str | int]] = {None: []}  # lines of nodes, and clusters, by cluster
        self._clusters: list[list[str]] = []
        self._edges: list[str] = []
        self._nodes = 0

    def node(self, label: object, cluster: int | None = None, **attributes: Any) -> int:
        """Add a node, inside a cluster where one is given; its number."""
        self._nodes += 1
        self._members[cluster].append(f"{self._nodes} [{_attributes({'label': label, **attributes})}]")
        return self._nodes

    def edge(self, tail: int, head: int, **attributes: Any) -> None:
        """Add an arrow between two nodes, given by their numbers."""
        self._edges.append(f"{tail} -> {head} [{_attributes(attributes)}]" if attributes else f"{tail} -> {head}")

    def cluster(self, label: object, parent: int | None = None, **attributes: Any) -> int:
        """Add a frame with a title, inside another where one is given; its number, for :meth:`node`."""
        self._clusters.append([_attributes({key: value}) for key, value in {"label": label, **attributes}.items()])
        number = len(self._clusters)
        self._members[number] = []
        self._members[parent].append(number)
        return number

    def __str__(self) -> str:
        lines = ["digraph g {", *self._head]
        open_: list[Iterator[str | int]] = [iter(self._members[None])]
        while open_:
            item = next(open_[-1], None)
            if item is None:
                open_.pop()
                lines += "}" if open_ else ""
            elif isinstance(item, str):
                lines.append(item)
            else:
                lines += [f"subgraph cluster_{item} {{", *self._clusters[item - 1]]
                open_.append(iter(self._members[item]))
        return "\n".join([*lines, *self._edges, "}"])

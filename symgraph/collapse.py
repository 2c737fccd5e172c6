"""Big graphs as small pictures: many nodes of a View become one, by name scope, source line, kernel, or repetition."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace

from symgraph.repetition import folded
from symgraph.view import Edge, Node, Output, Result, Role, View


def collapse(view: View, by: str | Sequence[str], depth: int | None = None) -> View:
    """A smaller view, in which what belongs together is one node; `Node.members` are the ids in the view before.

    Args:
        view: is left as it is.
        by: "scope" (the name scopes of :func:`symgraph.scope`), "line" (of the user's source), "kernel" (the steps of
            a compiled schedule; there are none in views of formulas), or "repeat": equal blocks one after the other, as
            unrolled loops leave them, are drawn once, in a frame that says how often ("×47"). Several of them are done
            in their order.
        depth: of scopes, how many parts of their path are told apart; None: all.

    Forward and backward nodes are never put together. Inputs stay, except those that were declared in a scope;
    constants go where their users go. Collapsing by scope or by line may leave cycles: a scope may need what another
    has made of its own results.

    Raises:
        ValueError: there is no such `by`, or `depth` is less than 1.

    >>> import symgraph as sg
    >>> from symgraph.view import view_of
    >>> x = sg.placeholder("x")
    >>> with sg.scope("encoder"):
    ...     h = sg.tanh(2 * x + 1)
    >>> small = collapse(view_of([h * h]), by="scope")
    >>> [(node.label, node.count) for node in small.nodes]
    [('x', 1), ('encoder', 5), ('Mul', 1)]
    """
    if depth is not None and depth < 1:
        raise ValueError(f"depth must be None or at least 1, got {depth!r}")
    for one in (by,) if isinstance(by, str) else by:
        if one == "repeat":
            view = folded(view)
        elif one in _KEYS:
            view = _joined(view, one, depth)
        else:
            raise ValueError(f"cannot collapse by {one!r:.80}; write one of {', '.join((*_KEYS, 'repeat'))}")
        nested = [
            replace(n, body=tuple((title, collapse(v, one, depth)) for title, v in n.body)) if n.body else n
            for n in view.nodes
        ]
        view = replace(view, nodes=nested)
    return view


Key = tuple[Hashable, str]
"""What tells a group from others, and its label."""


def _scope(view: View, node: Node, depth: int | None) -> Key | None:
    path = next(filter(None, node.scopes), None)
    if path is None:
        return None
    path = "/".join(path.split("/")[:depth])
    return path, path


def _line(view: View, node: Node, depth: int | None) -> Key | None:
    if node.role == "input" or not node.origins:
        return None
    place = node.origins[0]
    text = place.text if len(place.text) <= 48 else place.text[:45] + "..."
    return (place.file, place.line), f"{os.path.basename(place.file)}:{place.line}" + (f"\n{text}" if text else "")


def _kernel(view: View, node: Node, depth: int | None) -> Key | None:
    if node.leaf or node.kernel is None:
        return None
    return node.kernel, f"kernel {node.kernel + 1}\n{view.kernels[node.kernel].label}"


_KEYS: Mapping[str, Callable[[View, Node, int | None], Key | None]] = {
    "scope": _scope,
    "line": _line,
    "kernel": _kernel,
}


def _joined(view: View, by: str, depth: int | None) -> View:
    """The view with one node for all that have one key."""
    users: list[list[int]] = [[] for _ in view.nodes]
    for edge in view.edges:
        users[edge.tail].append(edge.head)
    given = {output.node for output in view.outputs}
    first = [edges[0].tail if edges else None for edges in view.arguments()]
    declared = {origin for node in view.nodes if node.role == "input" for origin in node.origins}
    keys: list[tuple[str, Key] | None] = []
    for node in view.nodes:
        key = None if node.role == "constant" else _KEYS[by](view, node, depth)
        part = "backward" if node.role == "backward" and by != "kernel" else "forward"
        keys.append(None if key is None else (part, key))
        before = first[node.id]
        written = [place._replace(order=0, fused=False) for place in node.origins[:1]]
        if part == "backward" and before is not None and declared.issuperset(written):
            # The last step to the gradient of an input carries the input's line: it goes with what it comes from.
            keys[-1] = keys[before] or keys[-1]
    for node in view.nodes:
        if node.role == "constant" and node.id not in given:
            found = {keys[user] for user in users[node.id]}
            if len(found) == 1:
                keys[node.id] = found.pop()
    members: dict[Hashable, list[int]] = {}
    for node in sorted(view.nodes, key=lambda n: n.role == "constant" and keys[n.id] is not None):
        members.setdefault(keys[node.id] or node.id, []).append(node.id)
    return _assembled(view, by, members, keys)


def _assembled(
    view: View, by: str, members: Mapping[Hashable, Sequence[int]], keys: Sequence[tuple[str, Key] | None]
) -> View:
    made: list[Node] = []
    place: dict[int, int] = {}
    for ids in members.values():
        first = view.nodes[ids[0]]
        place.update(dict.fromkeys(ids, len(made)))
        key = keys[ids[0]]
        if key is None:
            made.append(replace(first, id=len(made), members=(first.id,)))
            continue
        inner = [view.nodes[k] for k in ids]
        made.append(
            Node(
                len(made),
                key[1][1],
                by,
                _part(inner),
                (),
                origins=tuple(dict.fromkeys(o for n in inner for o in n.origins)),
                scopes=tuple(dict.fromkeys(s for n in inner for s in n.scopes)),
                kernel=_common([n.kernel for n in inner if not n.leaf]),
                group=_common([n.group for n in inner]),
                count=sum(n.count for n in inner),
                members=tuple(ids),
            )
        )
    ports: dict[tuple[int, int], int] = {}

    def port(node: int, result: int) -> int:
        """The place of a result among those that leave its group."""
        if keys[node] is None:
            return result
        target = made[place[node]]
        if (node, result) not in ports:
            ports[node, result] = len(target.results)
            target.results += (view.nodes[node].results[result],)
        return ports[node, result]

    edges: dict[tuple[int, int, int], Edge] = {}
    for edge in view.edges:
        tail, head = place[edge.tail], place[edge.head]
        if tail == head:
            continue
        at = port(edge.tail, edge.port)
        # What a group takes is one arrow per result, however many of its nodes use it.
        position = edge.position if keys[edge.head] is None else -1 - at
        known = edges.get((tail, head, position))
        if known is None:
            edges[tail, head, position] = replace(edge, tail=tail, head=head, port=at)
        else:
            known.count += edge.count
    outputs = [Output(o.label, place[o.node], port(o.node, o.port)) for o in view.outputs]
    for node in made:
        node.results = node.results or (Result(),)
    return replace(view, nodes=made, edges=list(edges.values()), outputs=outputs)


def _part(nodes: Sequence[Node]) -> Role:
    """Where one node for these belongs: a kernel may compute values of both parts."""
    return "backward" if all(n.leaf or n.role == "backward" for n in nodes) else "forward"


def _common(values: Sequence[int | None]) -> int | None:
    found = set(values)
    return found.pop() if len(found) == 1 else None

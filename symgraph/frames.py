"""Frames around nodes of a View: by part (forward and backward), by name scope, by kernel; and views side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from symgraph.view import Group, Node, View

FRAMES = ("role", "scope", "kernel")


def framed(view: View, by: Sequence[str]) -> View:
    """The view with frames around its operations, those of the first kind outermost. Scopes lie in each other.

    Raises:
        ValueError: there is no such kind of frame.

    >>> import symgraph as sg
    >>> from symgraph.view import view_of
    >>> with sg.scope("net"), sg.scope("layer1"):
    ...     y = sg.tanh(sg.placeholder("x"))
    >>> [(group.label, group.parent) for group in framed(view_of([y]), ["scope"]).groups]
    [('net', None), ('layer1', 0)]
    """
    for one in by:
        if one not in FRAMES:
            raise ValueError(f"there are no frames by {one!r:.80}; write one of {', '.join(FRAMES)}")
    if not by:
        return view
    groups = list(view.groups)
    numbers: dict[tuple[int | None, Group], int] = {}

    parts = any(n.role == "backward" for n in view.nodes)

    def inside(node: Node) -> int | None:
        number = node.group
        for group in (group for one in by if one != "role" or parts for group in _frames(view, node, one)):
            key = number, group
            if key not in numbers:
                numbers[key] = len(groups)
                groups.append(replace(group, parent=number))
            number = numbers[key]
        return number

    # Inputs stand outside, unless they were declared in a scope; constants stand where they are used.
    nodes = [
        n if n.role == "constant" or (n.leaf and not (any(n.scopes) and "scope" in by)) else replace(n, group=inside(n))
        for n in view.nodes
    ]
    users: dict[int, set[int | None]] = {}
    for edge in view.edges:
        users.setdefault(edge.tail, set()).add(nodes[edge.head].group)
    for node in view.nodes:
        if node.role == "constant" and len(around := users.get(node.id, set())) == 1:
            nodes[node.id] = replace(node, group=around.pop())
    return replace(view, nodes=nodes, groups=groups)


def _frames(view: View, node: Node, by: str) -> list[Group]:
    """The frames of one kind that a node lies in, the outermost first."""
    if by == "role":
        return [] if node.leaf else [Group(node.role, "role")]
    if by == "scope":
        path = next(filter(None, node.scopes), "")
        return [Group(part, "scope") for part in path.split("/") if part]
    if node.kernel is None or node.leaf:
        return []
    return [Group(f"kernel {node.kernel + 1}: {view.kernels[node.kernel].label}", "kernel", None, node.kernel)]


def beside(views: Sequence[tuple[str, View]]) -> View:
    """Views in one, each in a frame with its title."""
    whole = View()
    for title, view in views:
        nodes, groups, kernels = len(whole.nodes), len(whole.groups) + 1, len(whole.kernels)
        whole.groups.append(Group(title, "stage"))
        for group in view.groups:
            kernel = None if group.kernel is None else group.kernel + kernels
            parent = groups - 1 if group.parent is None else group.parent + groups
            whole.groups.append(replace(group, parent=parent, kernel=kernel))
        for n in view.nodes:
            group_number = groups - 1 if n.group is None else n.group + groups
            kernel = None if n.kernel is None else n.kernel + kernels
            whole.nodes.append(replace(n, id=n.id + nodes, group=group_number, kernel=kernel))
        whole.edges += [replace(e, tail=e.tail + nodes, head=e.head + nodes) for e in view.edges]
        whole.outputs += [replace(o, node=o.node + nodes) for o in view.outputs]
        whole.kernels += view.kernels
    return whole

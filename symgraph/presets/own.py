"""Our own form: a box per operation, parts and kernels in frames, shapes and dtypes on the edges, heat by time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from symgraph.dot_text import Dot
from symgraph.presets.common import CARRIED, body_frame, clusters, frame_of, times
from symgraph.view import Edge, Node, View

INK, PALE = "#1f2933", "#52606d"
FILLS = {"input": "#e3f1e1", "constant": "#f2f3f5", "forward": "#dcebf9", "backward": "#fbe6d4"}
LINES = {"input": "#5a8a52", "constant": "#9aa5b1", "forward": "#3d77b0", "backward": "#c2743a"}
OUTPUT = {"shape": "box", "style": "rounded,filled,bold", "fillcolor": "#ffffff", "color": INK}
FRAME = {"style": "rounded", "color": "#9aa5b1", "fontcolor": PALE, "labelloc": "t", "labeljust": "l", "margin": 10}
FRAMES = {
    "role": {**FRAME, "fontsize": 12},
    "stage": {**FRAME, "fontsize": 12},
    "scope": {**FRAME, "style": "rounded,filled", "fillcolor": "#f7f9fb"},
    "kernel": {**FRAME, "style": "rounded,filled", "fillcolor": "#f7f9fb"},
    "repeat": {**FRAME, "style": "rounded,dashed", "color": PALE, "fontcolor": INK, "fontsize": 13},
}
HEAT = ("#ffffff", "#fff3d6", "#ffe0a3", "#ffc56b", "#ffa860", "#f78b5c")
"""From cold to hot, in equal steps of the time that the hottest takes."""

DIRECTIONS = ("TB", "LR", "BT", "RL")

COLLAPSED = ("scope", "line", "kernel")
"""Kinds of nodes that stand for many."""

MOST = 4
"""Types that stand on one arrow."""

SHORT = 14
"""Characters of a constant that is written into the operation that uses it."""


def own(view: View, *, verbose: bool = False, heat: str | Sequence[float] | None = None, rankdir: str = "TB") -> Dot:
    """A box per operation: the forward part blue, the backward part orange, inputs green, results with a bold line.

    Numbers are written into the operations that use them. Edges show shape and dtype, of which what all have in common
    is said once, below.

    Args:
        view: what is drawn.
        verbose: boxes also show the lines that wrote them.
        heat: colour kernels by their share of the time: "cost", which is estimated; "time", which was measured; or
            seconds per kernel.
        rankdir: where arrows lead: "TB" (down), "LR" (right), "BT" or "RL".

    Raises:
        ValueError: `heat` or `rankdir` is something else, or there are no kernels, or their sizes are not known, or
            they were not measured.
    """
    if rankdir not in DIRECTIONS:
        raise ValueError(f"rankdir must be one of {', '.join(DIRECTIONS)}, got {rankdir!r:.80}")
    dot = Dot(
        {"style": "rounded,filled", "shape": "box", "fontname": "Helvetica", "fontsize": 11, "fontcolor": INK}
        | {"height": 0.3, "margin": "0.12,0.05"},
        {"color": PALE, "fontname": "Helvetica", "fontsize": 9, "fontcolor": PALE, "arrowsize": 0.6},
        fontname="Helvetica",
        fontsize=10,
        fontcolor=PALE,
        rankdir=rankdir,
        nodesep=0.3,
        ranksep=0.35,
        labelloc="b",
        **_caption(view),
    )
    _Writer(dot, view, verbose, _shares(view, heat)).write(None)
    return dot


def _caption(view: View) -> dict[str, str]:
    dtype, shape = _common(view)
    if shape:
        return {"label": f"all values: {shape} {dtype}"}
    return {"label": f"{dtype} where no dtype is shown"} if dtype else {}


def _common(view: View) -> tuple[str, str]:
    """The dtype of at least half of all values, and the shape where all are of one type; or ""."""
    nodes = view.nodes
    results = [nodes[e.tail].results[e.port] for e in view.edges if nodes[e.tail].role != "constant"]
    results += [nodes[o.node].results[o.port] for o in view.outputs]
    counted = Counter(result.dtype for result in results)
    dtype, count = counted.most_common(1)[0] if counted else ("", 0)
    shapes = {result.shape for result in results}
    alike = len(shapes) == 1 and count == len(results)
    return dtype if 2 * count >= len(results) else "", shapes.pop() if alike else ""


TIMES = {
    "cost": ("picoseconds", "sizes that are known: call the function once, or declare them"),
    "time": ("seconds", "times that were measured: call the function's profile(...) before"),
}
"""What of a kernel is its time, and what that needs."""


def _shares(view: View, heat: str | Sequence[float] | None) -> dict[int, float]:
    """What part of the time each kernel takes."""
    if heat is None:
        return {}
    if not view.kernels:
        raise ValueError(
            "heat colours the kernels of a compiled function; draw its stage 'after', 'backward' or 'joint'"
        )
    if isinstance(heat, str):
        if heat not in TIMES:
            raise ValueError(f"heat must be 'cost' or 'time', or seconds for each kernel, got {heat!r:.80}")
        field, needs = TIMES[heat]
        found = [getattr(kernel, field) for kernel in view.kernels]
        if None in found:
            raise ValueError(f"heat={heat!r} needs {needs}")
        times = [float(time) for time in found]
    else:
        times = [float(seconds) for seconds in heat]
        if len(times) != len(view.kernels):
            raise ValueError(f"heat holds {len(times)} times, but there are {len(view.kernels)} kernels")
    whole = sum(times) or 1.0
    return {k: time / whole for k, time in enumerate(times)}


class _Writer:
    """Writes one view, and those in its nodes."""

    def __init__(self, dot: Dot, view: View, verbose: bool, shares: Mapping[int, float]) -> None:
        self.dot, self.view, self.verbose, self.shares = dot, view, verbose, shares
        self.dtype, self.shape = _common(view)
        self.hottest = max(shares.values(), default=0.0)
        self.kernels_framed = any(group.kernel is not None for group in view.groups)
        self.numbers: dict[int, int] = {}

    def write(self, parent: int | None) -> None:
        """Add everything to the text, inside a frame where one is given."""
        view, dot = self.view, self.dot
        frames = clusters(dot, view, parent, self._frame)
        arguments = view.arguments()
        given = {output.node for output in view.outputs}
        # A position that repetitions fill from the one before shows where it starts.
        single = [e for e in view.edges if view.nodes[e.head].kind not in COLLAPSED]
        filled = {(edge.head, edge.position) for edge in single if edge.carried}
        given |= {edge.tail for edge in single if (edge.head, edge.position) in filled}
        written = {n.id for n in view.nodes if n.id not in given and _in_place(n)}
        for node in view.nodes:
            if node.id in written:
                continue
            frame = frame_of(view, frames, node, parent)
            frame = body_frame(dot, node, frame, FRAME, lambda v, k: _Writer(dot, v, self.verbose, {}).write(k))
            numbers = {e.position: _number(view.nodes[e.tail]) for e in arguments[node.id] if e.tail in written}
            self.numbers[node.id] = dot.node(self._label(node, numbers, arguments[node.id]), frame, **self._look(node))
        self._edges()
        self._outputs(parent)

    def _frame(self, k: int) -> dict[str, Any]:
        group = self.view.groups[k]
        look: dict[str, Any] = FRAMES[group.kind]
        share = None if group.kernel is None else self.shares.get(group.kernel)
        if share is None:
            return look
        heat = {"fillcolor": self._heat(share), "fontcolor": INK}
        return {**look, "label": f"{group.label}, {share:.0%}", **heat}

    def _heat(self, share: float) -> str:
        return HEAT[min(int(share / (self.hottest or 1.0) * len(HEAT)), len(HEAT) - 1)]

    def _look(self, node: Node) -> dict[str, Any]:
        look = {"fillcolor": FILLS[node.role], "color": LINES[node.role]}
        if node.leaf:
            look["style"] = "filled"
        share = None if self.kernels_framed or node.kernel is None else self.shares.get(node.kernel)
        return look if share is None else {**look, "fillcolor": self._heat(share)}

    def _label(self, node: Node, numbers: Mapping[int, str], arguments: Sequence[Edge]) -> str:
        lines = [(node.label or "value") + times(node)]
        if node.kind in COLLAPSED:
            lines.append(f"{node.count} node{'' if node.count == 1 else 's'}")
        elif not node.leaf:
            detail = _detail(node, numbers, 1 + max((e.position for e in arguments), default=-1))
            lines += [detail] if detail else []
        share = None if self.kernels_framed or node.kernel is None else self.shares.get(node.kernel)
        lines += [] if share is None or node.kind != "kernel" else [f"{share:.0%}"]
        if self.verbose and node.origins and node.kind != "line":
            lines.append(str(node.origins[0])[:60])
        return "\n".join(lines)

    def _edges(self) -> None:
        """An arrow for each argument; between boxes that stand for many one for all."""
        joined: dict[tuple[int, int, bool], list[str]] = {}
        for edge in self.view.edges:
            if edge.tail not in self.numbers:
                continue
            label = self._type(edge.tail, edge.port)
            if any(self.view.nodes[k].kind in COLLAPSED for k in (edge.tail, edge.head)):
                joined.setdefault((edge.tail, edge.head, edge.carried), []).append(label)
            else:
                self._edge(edge.tail, edge.head, edge.carried, label)
        for (tail, head, carried), labels in joined.items():
            shown = list(dict.fromkeys(filter(None, labels)))
            more = [f"and {len(shown) - MOST} more"] if len(shown) > MOST else []
            self._edge(tail, head, carried, "\n".join(shown[:MOST] + more))

    def _edge(self, tail: int, head: int, carried: bool, label: str) -> None:
        look = (CARRIED if carried else {}) | ({"label": label} if label else {})
        self.dot.edge(self.numbers[tail], self.numbers[head], **look)

    def _type(self, node: int, port: int) -> str:
        """What is not said below: a value's shape, and its dtype."""
        result = self.view.nodes[node].results[port]
        parts = ["" if self.shape else result.shape, "" if result.dtype == self.dtype else result.dtype]
        return " ".join(part for part in parts if part)

    def _outputs(self, parent: int | None) -> None:
        for output in self.view.outputs:
            label = "\n".join(filter(None, (output.label or "result", self._type(output.node, output.port))))
            self.dot.edge(self.numbers[output.node], self.dot.node(label, parent, **OUTPUT))


def _in_place(node: Node) -> bool:
    """Whether a constant is short enough to stand in the operations that use it."""
    return node.role == "constant" and node.results[0].shape == "()" and len(_number(node)) <= 2 * SHORT


def _number(node: Node) -> str:
    """A constant's value, with four digits where it has many."""
    return " … ".join(map(_rounded, node.label.split(" … ")))


def _rounded(text: str) -> str:
    if len(text) <= SHORT // 2:
        return text
    try:
        return f"{float(text):.4g}"
    except ValueError:
        return text


def _detail(node: Node, numbers: Mapping[int, str], count: int) -> str:
    """What an operation does with its arguments (·), where that is not plain from its name."""
    params = {key: value for key, value in node.params.items() if value not in ("None", "False")}
    if not numbers and not params:
        return ""
    args = [numbers.get(k, "·") for k in range(count)]
    if node.symbol:
        return node.symbol.format(*args, **node.params)
    shown = args if numbers else []
    return ", ".join([*shown, *(f"{key}={value}" for key, value in params.items())])

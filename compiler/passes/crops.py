"""Of filters of which a part alone is wanted, that part is computed: the gradient of padded values is one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from compiler.graph import Graph
from compiler.passes.rewrite import Rewrite
from symgraph import dims, origin
from symgraph.dims import Size
from symgraph.expr import Expr, as_expr, rebuild
from symgraph.ops import array as ar, filters as ft
from symgraph.types import Opaque

LAW = "part of a filter of x -> filter of a part of x"


def crop_filters(graph: Graph, record: Callable[[Rewrite], None]) -> list[Expr]:
    """getitem(correlate(x, w)) -> correlate(getitem(x), w)   (nobody wants the rest)"""
    if ft.correlate not in graph.operations:
        return list(graph.outputs)
    uses = Counter(graph.outputs)
    for node in graph.order:
        uses.update(node.args)
    replace: dict[Expr, Expr] = {}
    for node in graph.order:
        if node.op is ar.getitem and node.args[0].op is ft.correlate and uses[node.args[0]] == 1:
            with origin.derived_from(node.marks):
                found = _cropped(node)
            if found is not None and found.type is node.type:
                replace[node] = found
                record(Rewrite(LAW, node, found))
    return rebuild(graph.outputs, replace) if replace else list(graph.outputs)


def _cropped(node: Expr) -> Expr | None:
    """The filter of the part of x that the places of a slice look at; None where the slice is none of places alone."""
    whole, index = node.args[0], node.params["index"]
    x, w = whole.args
    strides, dilations = whole.params["strides"], whole.params["dilations"]
    sizes, found, part = w.type.shape, whole.type.shape, node.type.shape
    assert not isinstance(sizes, Opaque) and not isinstance(found, Opaque) and not isinstance(part, Opaque)
    if index[:3] != (ar.ALL,) * 3 or set(strides) != {1} or len(part) != len(found) or 0 in part:
        return None
    windows = []
    for k, entry in enumerate(index[3:], 3):
        if not isinstance(entry, ar.Slice) or entry.step not in (None, 1):
            return None
        start, count = dims.slice_bounds(entry.slice, found[k])
        windows.append((start, count + (sizes[k] - 1) * dilations[k - 3]))
    return as_expr(ft.correlate(_window(x, windows), w, strides=strides, dilations=dilations))


def _window(x: Expr, windows: Sequence[tuple[Size, Size]]) -> Expr:
    """The elements of x from a start on, so many along each of the axes behind the first three."""
    smaller = _fewer_zeros(x, windows) if x.op is ar.embed else None
    if smaller is not None:
        return smaller
    index = (*[ar.ALL] * 3, *(ar.Slice(start, start + length, 1) for start, length in windows))
    return as_expr(ar.getitem(x, index=index))


def _fewer_zeros(x: Expr, windows: Sequence[tuple[Size, Size]]) -> Expr | None:
    """A window of what is written into zeros, where it is known to hold all that is written."""
    value, index, room = x.args[0], x.params["index"], x.type.shape
    if index[:3] != (ar.ALL,) * 3 or not all(isinstance(entry, ar.Slice) for entry in index):
        return None
    shape, inside = [*value.type.shape[:3]], [*index[:3]]  # type: ignore[index]
    for (start, length), entry, size in zip(windows, index[3:], room[3:], strict=True):  # type: ignore[index]
        step = entry.step or 1
        first, count = dims.slice_bounds(entry.slice, size)
        first, stop = first - start, first - start + (count - 1) * step + 1
        behind = length - stop
        if step < 0 or not (isinstance(first, int) and isinstance(behind, int)) or min(first, behind) < 0:
            return None
        shape.append(length)
        inside.append(ar.Slice(first, stop, step))
    return as_expr(ar.embed(value, ar.filled(0.0, tuple(shape), value), index=tuple(inside)))

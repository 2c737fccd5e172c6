"""What the inspector's page shows, as plain data: for each kernel the graph before and after optimisation.

A station is one graph, in columns: entry k of `label`, `text`, `type`, ... belongs to node k. Nodes refer to arguments,
places in the source and kernels by their numbers.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import symgraph
from compiler import emit_python
from compiler.account import account
from compiler.dispatch import BOTH, GRAD, VALUE, Way
from compiler.inspector.folds import groups
from compiler.pictures import computed, paths, sizes_of, title_of
from compiler.program import picoseconds
from compiler.threads import get_num_threads
from symgraph import dims
from symgraph.dims import Size
from symgraph.errors import SymgraphError
from symgraph.expr import Body, Expr, format_expr, short_form
from symgraph.ops import array as ar
from symgraph.origin import Origin
from symgraph.types import Opaque
from symgraph.view import Kernel, numbered, titled

if TYPE_CHECKING:
    from compiler.function import Function
    from compiler.variant import Variant

ROLES = ("input", "constant", "forward", "backward")
TITLES = {VALUE: "value", GRAD: "gradient", BOTH: "value + gradient"}

MOST = 6
"""Kernels that one page shows: the last ones."""


class _Indexed:
    """Things by their numbers, each once."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def number(self, key: Any, row: Any = None) -> int:
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.rows)
            self.rows.append(key if row is None else row)
        return found


class _Shared:
    """All stations, and what they refer to."""

    def __init__(self) -> None:
        self.types, self.places = _Indexed(), _Indexed()
        self.stations: list[dict[str, Any]] = []
        self.inside: list[tuple[dict[str, Any], int, str, Body, Mapping[str, int] | None]] = []

    def add(self, station: Mapping[str, Any], nodes: Sequence[Expr], sizes: Mapping[str, int] | None) -> None:
        """One more station; the graphs inside its nodes are kept for later: they are shown after all others."""
        self.stations.append(dict(station, bodies={}))
        self.inside += [
            (self.stations[-1], k, title, body, sizes) for k, node in enumerate(nodes) for title, body in titled(node)
        ]

    def add_inside(self) -> None:
        """The graphs inside of nodes, and those inside of these."""
        for station, k, title, body, sizes in self.inside:  # grows meanwhile
            station["bodies"].setdefault(k, []).append([title, len(self.stations)])
            given = [
                (f"result {i}" if len(body.outputs) > 1 else "result", "forward") for i in range(len(body.outputs))
            ]
            note = f"{title[0].upper()}{title[1:]} of {station['label'][k]}."
            head = {"title": title, "note": note, "kernels": [], "inner": True}
            _add(self, head, body.outputs, given, {}, sizes)

    def place(self, origin: Origin) -> int:
        key = origin.file, origin.line
        row = {"file": origin.file, "name": os.path.basename(origin.file), "line": origin.line, "text": origin.text}
        return self.places.number(key, row)


class _Shown(NamedTuple):
    """A kernel, what it computes, and the names that its gradients belong to."""

    what: str
    names: tuple[str, ...]
    variant: Variant


def inspected(function: Function, *, compiled: bool = True) -> dict[str, Any]:
    """The data of a compiled function's page.

    Args:
        function: what is shown.
        compiled: make a kernel where there is none yet, and one with gradients; else only what is there is shown, and
            without kernels the graph as it was written.
    """
    chosen = _chosen(function, compiled)
    counts = Counter(one.what for one in chosen)
    shared = _Shared()
    for one in chosen:
        kinds = ", ".join(f"{n.name}: {n.type}" for n in one.variant.typed.inputs)
        title = TITLES[one.what] + (f" of ({kinds})" if counts[one.what] > 1 else "")
        _add_stations(shared, one, title, kinds, _given(function, one), sizes_of(function, one.variant))
    if not chosen:
        head = {"title": "value, before", "note": "As written; the kernels are made when it is called.", "kernels": []}
        _add(shared, head, function.outputs, [(path, "forward") for path in _results(function)], {}, None)
    shared.add_inside()
    count = len(function.outputs)
    return {
        "title": f"{', '.join(function.signature.names) or 'no inputs'} → {_count(count, 'output')}",
        "formula": "\n".join(format_expr(o) for o in function.outputs[:20]),
        "about": [
            *([n.name, str(n.type)] for n in function.inputs),
            ["threads", str(get_num_threads())],
            ["written by", f"symgraph {symgraph.__version__}"],
        ],
        "roles": ROLES,
        "types": shared.types.rows,
        "places": shared.places.rows,
        "stations": shared.stations,
    }


def _chosen(function: Function, compiled: bool) -> list[_Shown]:
    """The kernels compiled so far; and one with gradients, for arguments of the same types, where there is none."""
    if compiled:
        function.variants()  # makes one if there is none
    found = [
        (way.what, names, kinds, variant)
        for (way, names), kernels in list(function.dispatch.kernels.items())
        for kinds, variant in list(kernels.variants.items())
    ]
    shown = [_Shown(what, names, variant) for what, names, _, variant in found]
    if compiled and all(what == VALUE for what, *_ in found):
        kinds = found[-1][2]
        wanted = {n.name for n in (function.inputs if function.wrt is None else function.wrt)}
        floating = [n.name or "" for n, kind in zip(function.inputs, kinds, strict=True) if kind.dtype.kind == "f"]
        names = tuple(name for name in floating if name in wanted)
        try:
            variant = function.dispatch.kernels_for(Way(BOTH, False), names).variant(kinds)
        except SymgraphError:
            return shown[-MOST:]  # what has no gradient is shown without
        shown.append(_Shown(BOTH, names, variant))
    return shown[-MOST:]


def _results(function: Function) -> list[str]:
    return [f"result{path}" for path in paths(function.structure)]


def _given(function: Function, shown: _Shown) -> list[tuple[str, str]]:
    """For each output what it is, and its part."""
    values = [(path, "forward") for path in _results(function)]
    gradients = [(f"gradient of {name}", "backward") for name in shown.names]
    return gradients if shown.what == GRAD else values + gradients


def _add_stations(
    shared: _Shared,
    one: _Shown,
    title: str,
    kinds: str,
    given: Sequence[tuple[str, str]],
    sizes: Mapping[str, int] | None,
) -> None:
    variant = one.variant
    count = sum(len(step.rewrites) for step in variant.steps)
    kernels = _kernels(variant, sizes)
    assumed = "" if sizes is not None else " It was not called yet: types are those declared, or assumed."
    did = f"After {_count(count, 'rewrite')}, in {_count(len(kernels), 'kernel')}"
    before = {"title": f"{title}, before", "note": f"As written, for ({kinds}).{assumed}", "kernels": []}
    after = {"title": f"{title}, after", "note": f"{did}, for ({kinds}).{assumed}", "kernels": kernels}
    _add(shared, before, variant.before, given, {}, sizes)
    _add(shared, after, variant.steps[-1].outputs, given, _kernel_of(variant), sizes)


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


# -- kernels -----------------------------------------------------------------------------------------------------------


def _number(size: Size, sizes: Mapping[str, int] | None) -> int | str:
    """A size as a number where that is known, else as a formula."""
    if isinstance(size, int):
        return size
    return str(size) if sizes is None else dims.evaluate(size, sizes)


def _kernels(variant: Variant, sizes: Mapping[str, int] | None) -> list[dict[str, Any]]:
    """What is to be read of each step of a program; `weight` is how long it should take, where sizes are known,
    `seconds` what it took, where it was measured."""
    program = variant.program
    texts = emit_python.write_steps(program, variant.sizes)
    seconds = [None] * len(texts) if variant.measured is None else variant.measured[0]
    made = []
    for k, (step, cost, text) in enumerate(zip(program.steps, account(program).steps, texts, strict=True)):
        weight = _number(picoseconds(step), sizes)
        nodes = len(dict.fromkeys(computed(step)))
        made.append(
            {
                "title": f"kernel {k + 1}",
                "note": title_of(step) + (f", {_count(nodes, 'node')}" if nodes > 1 else ""),
                "code": text,
                "bytes": _number(cost.moved, sizes),
                "flops": _number(cost.flops, sizes),
                "weight": weight if isinstance(weight, int) else None,
                "seconds": seconds[k],
            }
        )
    return made


def _kernel_of(variant: Variant) -> dict[Expr, list[int]]:
    """The numbers of the steps that compute a node."""
    found: dict[Expr, list[int]] = {}
    for k, step in enumerate(variant.program.steps):
        for node in dict.fromkeys(computed(step)):
            found.setdefault(node, []).append(k)
    return found


# -- nodes -------------------------------------------------------------------------------------------------------------


def _add(
    shared: _Shared,
    head: Mapping[str, Any],
    outputs: Sequence[Expr],
    given: Sequence[tuple[str, str]],
    kernel_of: Mapping[Expr, list[int]],
    sizes: Mapping[str, int] | None,
) -> None:
    """A graph by columns, as one more station."""
    parts: dict[str, list[Expr]] = {"forward": [], "backward": []}
    for output, (_, part) in zip(outputs, given, strict=True):
        parts[part].append(output)
    view, places = numbered(parts["forward"], parts["backward"])
    nodes = sorted((n for n in places if isinstance(n, Expr)), key=lambda n: places[n][0])
    for node, shown in zip(nodes, view.nodes, strict=True):
        shown.kernel = kernel_of[node][0] if node in kernel_of else None
    view.kernels = [Kernel("")] * (1 + max((k for numbers in kernel_of.values() for k in numbers), default=-1))
    made: dict[str, Any] = {
        "label": [n.label for n in view.nodes],
        "text": [short_form(n) for n in nodes],
        "type": [shared.types.number(n.results[0].type) for n in view.nodes],
        "shape": [n.results[0].shape for n in view.nodes],
        "dtype": [n.results[0].dtype for n in view.nodes],
        "bytes": [_bytes(n, sizes) for n in nodes],
        "role": [ROLES.index(n.role) for n in view.nodes],
        "inline": [int(n.op is ar.constant and n.type.shape == ()) for n in nodes],
        "args": [[places[a][0] for a in n.args] for n in nodes],
        "places": [list(dict.fromkeys(map(shared.place, n.origins))) for n in view.nodes],
        "scope": [[s for s in n.scopes if s] for n in view.nodes],
        "kernel": [kernel_of.get(n, []) for n in nodes],
        "outputs": [],
        "gives": {},
        "groups": groups(view),
    }
    for output, (label, _) in zip(outputs, given, strict=True):
        k = places[output][0]
        made["outputs"].append(k)
        made["gives"].setdefault(k, []).append(label)
    shared.add({**head, **made}, nodes, sizes)


def _bytes(node: Expr, sizes: Mapping[str, int] | None) -> int | str | None:
    """How much memory a value would take."""
    shape, dtype = node.type.shape, node.type.dtype
    return None if dtype is None or isinstance(shape, Opaque) else _number(dims.product(shape) * dtype.itemsize, sizes)

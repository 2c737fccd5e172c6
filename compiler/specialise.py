"""From a formula to a typed graph: what a call shows (dtypes, ranks, which sizes are 1) enters the types.

Sizes other than 1 stay symbols, so one specialisation serves every size; what the sizes must satisfy is collected as
requirements, checked at the first call with each combination of shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from compiler.graph import Graph
from symgraph import dims, origin
from symgraph.dims import Atom, Dim, Size
from symgraph.errors import OutOfBoundsError, ShapeError, SymgraphError, located
from symgraph.expr import Expr, bodies_of, format_expr, rebuild, toposort, typed_placeholder
from symgraph.ops import array as ar, control as ct, windows
from symgraph.types import ArrayType, Opaque, Shape, format_shape


class ArgumentType(NamedTuple):
    """What a kernel is made for, of one argument: dtype, whether it is a Python number, for each axis 1 where its size
    is 1, the size where exact sizes are wanted, else None; and the axes that are short beside others."""

    dtype: np.dtype[Any]
    weak: bool
    sizes: tuple[int | None, ...]
    short: tuple[int, ...] = ()


@dataclass(frozen=True)
class Requirement:
    """What sizes must satisfy: ``left == right`` or ``left >= right``; `node` is where it comes from."""

    left: Size
    relation: str
    right: Size
    node: Expr

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether it holds for these sizes."""
        left, right = dims.evaluate(self.left, sizes), dims.evaluate(self.right, sizes)
        return left == right if self.relation == "==" else left >= right


@dataclass(frozen=True)
class Typed:
    """A typed graph, and what its sizes must satisfy."""

    graph: Graph
    inputs: tuple[Expr, ...]
    requirements: tuple[Requirement, ...]

    @property
    def outputs(self) -> tuple[Expr, ...]:
        """The outputs of the graph."""
        return self.graph.outputs


def specialise(outputs: Sequence[Expr], inputs: Sequence[Expr], arguments: Mapping[str, ArgumentType]) -> Typed:
    """The graph with the types of the arguments.

    Args:
        outputs: expressions.
        inputs: the placeholders, in the order of the kernel's arguments.
        arguments: a type for each placeholder's name.

    Raises:
        ShapeError, DTypeError, OutOfBoundsError: at the user's line, where no sizes could satisfy the graph.
    """
    sizes = _declared_sizes(inputs, arguments)
    order = toposort(outputs)
    replace: dict[Expr, Expr] = {}
    with origin.derived_from() as derived:
        for node in dict.fromkeys((*inputs, *[n for n in order if n.op is ar.placeholder])):
            given = arguments[node.name or ""]
            shape = _argument_shape(node, given, sizes)
            derived.follow(node.marks)
            replace[node] = typed_placeholder(node.name or "", ArrayType(given.dtype, shape, given.weak))
    graph = Graph(rebuild(outputs, replace, lambda size: dims.substitute(size, sizes), order))
    return settled(Typed(graph, tuple([replace[n] for n in inputs]), ()))


def settled(typed: Typed) -> Typed:
    """The graph with what its sizes must satisfy beside what was known of them; sizes that must be equal are one."""
    graph, inputs, requirements = typed.graph, typed.inputs, list(typed.requirements)
    found = _requirements(graph)
    requirements += found
    # An equality of two plain sizes merges them, so that axes known to be equal can share a loop.
    for _ in range(64):
        merged = _merge(found)  # those of the rounds before hold in this graph by its very sizes
        if not merged:
            break
        again: dict[Expr, Expr] = {}
        with origin.derived_from() as derived:
            for old in dict.fromkeys((*inputs, *[n for n in graph.order if n.op is ar.placeholder])):
                shape = tuple(dims.substitute(s, merged) for s in _shape(old))
                derived.follow(old.marks)
                again[old] = typed_placeholder(old.name or "", ArrayType(old.type.dtype, shape, old.type.weak))

        def rule(size: Size, merged: dict[str, Size] = merged) -> Size:
            return dims.substitute(size, merged)

        graph = Graph(rebuild(graph.outputs, again, rule, graph.order))
        inputs = tuple([again[n] for n in inputs])
        found = _requirements(graph)
        requirements += found
    return Typed(graph, inputs, tuple(dict.fromkeys(requirements)))


def _shape(node: Expr) -> Shape:
    assert not isinstance(node.type.shape, Opaque)
    return node.type.shape


def _declared_sizes(inputs: Sequence[Expr], arguments: Mapping[str, ArgumentType]) -> dict[str, Size]:
    """For each named size of the declarations: 1, its exact size, or a symbol known not to be 1."""
    sizes: dict[str, Size] = {}
    for node in inputs:
        if isinstance(node.type.shape, Opaque):
            continue
        kind = arguments[node.name or ""]
        for axis, (declared, given) in enumerate(zip(node.type.shape, kind.sizes, strict=True)):
            for atom in dims.atoms(declared):
                known = sizes.get(atom.name)  # an argument of one axis does not tell that it is short
                short = axis in kind.short or (isinstance(known, dims.Dim) and dims.is_short(known, 0))
                unknown = dims.atom(atom.name, not_one=True, short=short)
                sizes[atom.name] = unknown if given is None else given
    return sizes


def _argument_shape(node: Expr, given: ArgumentType, sizes: Mapping[str, Size]) -> Shape:
    if not isinstance(node.type.shape, Opaque):
        return tuple(dims.substitute(s, sizes) for s in node.type.shape)
    return tuple(
        dims.atom(axis_name(node.name or "", axis), not_one=True, short=axis in given.short) if size is None else size
        for axis, size in enumerate(given.sizes)
    )


def axis_name(name: str, axis: int) -> str:
    """The name of an undeclared size in messages."""
    return f"{name}.shape[{axis}]"


def _merge(requirements: Sequence[Requirement]) -> dict[str, Size]:
    """One round of substitutions from equalities in which a side is a plain size."""
    merged: dict[str, Size] = {}
    kept: set[str] = set()  # sizes that others became, which must stay
    for r in requirements:
        if r.relation != "==" or r.left == r.right:
            continue
        left, right = dims.substitute(r.left, merged), dims.substitute(r.right, merged)
        if left == right:
            continue
        for a, b in ((left, right), (right, left)):
            name = _plain(a)
            others = {atom.name for atom in dims.atoms(b)}
            if name is None or name in merged or name in kept or name in others or not others.isdisjoint(merged):
                continue
            merged[name] = b
            kept |= others
            break
    return merged


def _plain(size: Size) -> str | None:
    if isinstance(size, Dim) and len(size.terms) == 1:
        monomial, coefficient = size.terms[0]
        if coefficient == 1 and len(monomial) == 1 and isinstance(monomial[0], Atom):
            return monomial[0].name
    return None


def _requirements(graph: Graph) -> list[Requirement]:
    found: dict[tuple[Size, str, Size], Requirement] = {}
    seen: set[Any] = set()
    for node in graph.order:
        if not node.type.shape and node.op.kind == "elementwise":
            continue  # of single values
        for body in bodies_of(node):
            found.update({(r.left, r.relation, r.right): r for r in _requirements(Graph(body.outputs))})
        rule = _RULES.get(node.op.name) or _RULES.get(node.op.kind)
        if rule is None:
            continue
        # Rules read the row, types and parameters, and of indices the values: what was asked once is not asked again.
        asked = node if node.op is ar.take else (node.op, node.type, node.parts, *[a.type for a in node.args])
        if asked in seen:
            continue
        seen.add(asked)
        for left, relation, right in rule(node):
            if isinstance(left, int) and isinstance(right, int):
                continue  # the row has checked it
            if left != right:
                found.setdefault((left, relation, right), Requirement(left, relation, right, node))
    return list(found.values())


def _broadcasts(node: Expr) -> Iterator[tuple[Size, str, Size]]:
    out = _shape(node)
    for arg in node.args:
        shape = _shape(arg)
        for size, whole in zip(shape, out[len(out) - len(shape) :], strict=True):
            if size != 1:
                yield size, "==", whole


def _reductions(node: Expr) -> Iterator[tuple[Size, str, Size]]:
    if node.op.lower.init in ("first", "position"):
        for axis in node.params["axis"]:
            yield _shape(node.args[0])[axis], ">=", 1


def _products(node: Expr) -> Iterator[tuple[Size, str, Size]]:
    a, b = (_shape(x) for x in node.args)
    yield a[-1], "==", b[-2] if len(b) > 1 else b[0]
    batch = _shape(node)[: max(len(a), len(b)) - 2]
    for shape in (a[:-2], b[:-2]):
        for size, whole in zip(shape, batch[len(batch) - len(shape) :], strict=True):
            if size != 1:
                yield size, "==", whole


def _joins(node: Expr) -> Iterator[tuple[Size, str, Size]]:
    for arg in node.args:
        for axis, (size, whole) in enumerate(zip(_shape(arg), _shape(node), strict=True)):
            if axis != node.params["axis"]:
                yield size, "==", whole


def _indices(node: Expr) -> Iterator[tuple[Size, str, Size]]:
    axis = 0
    for entry in node.params["index"]:
        if entry is None:
            continue
        if not isinstance(entry, ar.Slice):
            yield _shape(node.args[-1])[axis], ">=", entry + 1 if entry >= 0 else -entry
        axis += 1


def _takes(node: Expr) -> Iterator[tuple[Size, str, Size]]:
    x, i = node.args[0], node.args[1]
    if i.op is ar.constant and np.size(i.value):
        size = _shape(x)[node.params["axis"]]
        low, high = int(np.min(i.value)), int(np.max(i.value))
        if isinstance(size, int) and (high >= size or low < -size):
            error = OutOfBoundsError(f"take: index {high if high >= size else low} is out of bounds for size {size}")
            raise located(error, node.origins, [(format_expr(x, 60), str(x.type))])
        yield size, ">=", max(high + 1, -low)


def _puts(node: Expr) -> Iterator[tuple[Size, str, Size]]:
    x, i, v = map(_shape, node.args)
    axis = node.params["axis"] % len(x)
    for size, whole in zip(v, (*x[:axis], *i, *x[axis + 1 :]), strict=True):
        yield size, "==", whole


def _fills(node: Expr) -> Iterator[tuple[Size, str, Size]]:
    yield dims.product(_shape(node.args[0])), "==", dims.product(_shape(node))


def _squeezes(node: Expr) -> Iterator[tuple[Size, str, Size]]:
    for axis in node.params["axis"]:
        yield _shape(node.args[0])[axis], "==", 1


def _lengths(node: Expr) -> Iterator[tuple[Size, str, Size]]:
    types = [a.type for a in node.args]
    length = ct.length_of(types, node.params)
    for kind in ct.split(types, node.params).xs:
        if length is not None:
            yield kind.shape[0], "==", length


def _windows(node: Expr) -> Iterator[tuple[Size, str, Size]]:
    params = node.params
    spans = windows.reach(params["sizes"], params["dilations"])
    for axis, span in zip(params["axes"], spans, strict=True):
        yield _shape(node.args[0])[axis], ">=", span


def _filters(node: Expr) -> Iterator[tuple[Size, str, Size]]:
    x, w = (_shape(a) for a in node.args)
    yield x[1], "==", w[0]
    yield x[2], "==", w[2]
    for length, size, dilation in zip(x[3:], w[3:], node.params["dilations"], strict=True):
        yield length, ">=", (size - 1) * dilation + 1


_RULES: dict[str, Callable[[Expr], Iterator[tuple[Size, str, Size]]]] = {
    "elementwise": _broadcasts,
    "reduction": _reductions,
    "matmul": _products,
    "concatenate": _joins,
    "getitem": _indices,
    "take": _takes,
    "put": _puts,
    "reshape": _fills,
    "broadcast_to": _broadcasts,
    "squeeze": _squeezes,
    "loop": _lengths,
    "windows": _windows,
    "correlate": _filters,
}


def requirement_error(r: Requirement, sizes: Mapping[str, int]) -> SymgraphError:
    """The error of a requirement that does not hold, at the user's line."""
    left, right = dims.evaluate(r.left, sizes), dims.evaluate(r.right, sizes)
    shapes = " and ".join(format_shape(tuple(dims.evaluate(s, sizes) for s in _shape(a))) for a in r.node.args)
    kind: type[SymgraphError] = ShapeError
    if r.node.op.name in ("getitem", "take"):
        kind = OutOfBoundsError
        text = f"{r.node.op.name}: an index is out of bounds for an axis of size {left}"
    elif r.relation == ">=" and r.node.op.kind != "reduction":
        text = f"{r.node.op.name}: windows that span {right} do not fit into {left} elements, in shapes {shapes}"
    elif r.relation == ">=":
        text = f"{r.node.op.name}: the reduced axis of {shapes} is empty and {r.node.op.name} has no identity"
    else:
        text = f"{r.node.op.name}: shapes {shapes} do not go together: {r.left} is {left}, {r.right} is {right}"
    operands = []
    for arg in r.node.args:
        shape = tuple(dims.evaluate(s, sizes) for s in _shape(arg))
        operands.append((format_expr(arg, 60), f"{arg.type.dtype}{format_shape(shape)}"))
    return located(kind(text), r.node.origins, operands)

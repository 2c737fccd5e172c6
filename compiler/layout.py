"""Where values live: views as index arithmetic, and the copies needed where an index map is not enough.

`locate` follows views down to what is computed or given; `lay_out` inserts a copy where memory order matters:
under a reshape that merges axes, under a matrix product, at an output that is a view; writes filters as the sums of
products that they are; and what lies in memory in any case, and is a sum of parts side by side, part by part. An output
that is a transposed product is a product of the transposes instead.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from compiler.graph import Graph
from compiler.passes.inside import fresh, name_of, with_bodies
from compiler.passes.rewrite import with_args
from compiler.program import Address, Ref
from symgraph import dims, origin
from symgraph.dims import Size
from symgraph.expr import Body, Expr, as_expr, bodies_of, build, rebuild, toposort, toposort_within
from symgraph.ops import array as ar, control as ct, elementwise as ew, filters as ft, reduction as rd
from symgraph.types import Opaque, Shape

Index = tuple[Address, ...]
"""One address per axis: which element of a value is meant."""

ZERO = Address(0, ())
PARTS = 64
"""Parts that are written side by side, at most."""

AS_THEY_ARE = ("elementwise", "reduction", "source")
"""Kinds of what needs no copies."""

SAME_MEMORY = (ar.reshape, ar.expand_dims, ar.squeeze)


def shape_of(node: Expr) -> Shape:
    """The shape of a typed node."""
    assert not isinstance(node.type.shape, Opaque)
    return node.type.shape


def variable(number: int | Ref) -> Address:
    """The address that is a loop variable."""
    return Address(0, ((number, 1),))


def affine(base: Address, step: Size, offset: Size) -> Address:
    """offset + step * base"""
    if step == 0:
        return Address(offset, ())
    return Address(offset + base.constant * step, tuple((v, s * step) for v, s in base.terms))


def total(addresses: Sequence[Address]) -> Address:
    """The sum of addresses."""
    constant: Size = 0
    terms: dict[int | Ref, Size] = {}
    for address in addresses:
        constant = constant + address.constant
        for v, step in address.terms:
            terms[v] = terms.get(v, 0) + step
    return Address(constant, tuple((v, s) for v, s in terms.items() if s != 0))


@lru_cache(maxsize=1024)
def strides(shape: Shape) -> tuple[Size, ...]:
    """Steps of a C-ordered array, in elements."""
    steps: list[Size] = []
    step: Size = 1
    for size in reversed(shape):
        steps.append(step)
        step = step * size
    return tuple(steps[::-1])


def linear(shape: Shape, index: Index) -> Address:
    """The element's number in C order."""
    if not shape:
        return ZERO
    if len(shape) == 1:
        return index[0] if shape[0] != 1 else ZERO
    return _linear(shape, index)


@lru_cache(maxsize=1024)
def _linear(shape: Shape, index: Index) -> Address:
    return total([affine(i, step, 0) for i, step, size in zip(index, strides(shape), shape, strict=True) if size != 1])


def mapped(maps: ar.IndexMap, index: Index) -> Index:
    """The index of the argument of a view, from the index of the view."""
    return tuple([_read_at(m, index) for m in maps])


def _read_at(m: ar.AxisMap, index: Index) -> Address:
    if m.axis is None:
        return Address(m.offset, ())
    at = affine(index[m.axis], m.step, m.offset)
    if m.also is None:
        return at
    axis, step = m.also
    return total((at, affine(index[axis], step, 0)))


def index_map(node: Expr) -> ar.IndexMap | None:
    """The index map of a view; None where it only exists in memory order."""
    found: ar.IndexMap | None = node.op.lower(node.args[0].type, node.type, node.params)
    return found


class Place(NamedTuple):
    """A value that is not a view, and which of its elements: an index, or its number in memory order."""

    base: Expr
    element: Index | None
    number: Address | None


def locate(node: Expr, index: Index) -> Place:
    """Follow views from an element of `node` to an element of what is computed or given."""
    while node.op.kind == "view":
        maps = index_map(node)
        if maps is None:
            return Place(memory_base(node), None, linear(shape_of(node), index))
        index = mapped(maps, index)
        node = node.args[0]
    return Place(node, index, None)


def memory_base(node: Expr) -> Expr:
    """What a view shares its memory order with."""
    while node.op in SAME_MEMORY:
        node = node.args[0]
    return node


def broadcast_index(shape: Shape, out: Shape, index: Index) -> Index:
    """The index of an operand of shape `shape`, for an element of a result of shape `out`."""
    if shape == out:
        return index
    shift = len(out) - len(shape)
    return tuple(ZERO if size == 1 else index[axis + shift] for axis, size in enumerate(shape))


# -- inserting copies --------------------------------------------------------------------------------------------------


def lay_out(graph: Graph) -> list[Expr]:
    """The outputs with copies where a view is not enough, and operands of products in the product's dtype."""
    results: dict[Expr, None] = {}
    laid: list[Expr] = []
    with origin.derived_from() as derived:
        made = dict(zip(graph.outputs, graph.outputs, strict=True))
        if not all(op.kind in AS_THEY_ARE for op in graph.operations):
            made = _laid_nodes(graph, derived)
        turned = _turned_products(graph)
        for output in graph.outputs:
            derived.follow(output.marks)
            node = made[output]
            if output in turned:
                a, b = (_turned(made[x]) for x in output.args[0].args)
                node = _product(as_expr(ar.matmul(b, a)), (b, a))
            base = memory_base(node)
            direct = base.op.kind not in ("view", "source") and (base is node or base not in results)
            laid.append(node if direct else as_expr(ar.contiguous(node)))
            results[laid[-1]] = None
    return _unshared(laid) if ar.put in graph.operations else laid


def _laid_nodes(graph: Graph, derived: origin.derived_from) -> dict[Expr, Expr]:
    """Each node, laid out."""
    made: dict[Expr, Expr] = {}
    copies = itertools.count()
    whole = {_base(o) for o in graph.outputs}
    whole.update(_base(a) for node in graph.order if node.op is ar.matmul for a in node.args)
    for node in graph.order:
        derived.follow(node.marks)
        made[node] = _laid(node, tuple([made[a] for a in node.args]), copies)
        if node.op is ew.add and node in whole:
            made[node] = _side_by_side(made[node])
    return made


def _laid(node: Expr, args: tuple[Expr, ...], copies: Iterator[int]) -> Expr:
    """The node on arguments that are laid out."""
    if node.op is ar.matmul:
        return _product(node, args)
    if node.op is ft.correlate:
        return _filter(node, args, copies)
    if node.op.kind == "control":
        return _control(node, tuple(map(stored, args)))
    if node.op is ar.take:
        args = (stored(args[0]), *args[1:])
    elif node.op is ar.put:
        args = (as_expr(ar.duplicate(args[0], number=next(copies))), *args[1:])
    elif node.op.kind == "view" and index_map(with_args(node, args)) is None:
        args = (stored(args[0]),)
    return with_args(node, args)


def _base(node: Expr) -> Expr:
    """What a value is a view of."""
    while node.op.kind == "view":
        node = node.args[0]
    return node


def embedding(node: Expr) -> ar.IndexMap:
    """Where each axis of an embedding's result lies in its argument."""
    params = {"index": ar.full_index(node.params["index"], len(shape_of(node.args[1])))}
    found: ar.IndexMap = ar.getitem.lower(node.args[1].type, node.args[0].type, params)
    return found


def _side_by_side(total: Expr) -> Expr:
    """embed(x, 0:k) + embed(y, k:n) -> concatenate(x + 0, y + 0)   (adding zeros makes 0.0 of -0.0)

    The gradient of an array that was cut in pieces is such a sum; other sums stay as they are.
    """
    shape, dtype = shape_of(total), total.type.dtype
    parts: dict[tuple[int, Size], Expr] = {}
    pending = [total]
    while pending:
        part = pending.pop()
        if part.op is ew.add:
            pending.extend(part.args)
            continue
        if part.op is not ar.embed or part.type is not total.type or len(parts) == PARTS:
            return total
        size, maps = shape_of(part.args[0]), embedding(part)
        cut = [axis for axis, m in enumerate(maps) if len(size) != len(shape) or size[axis] != shape[axis]]
        if len(cut) != 1 or any(m.axis != axis or m.step != 1 for axis, m in enumerate(maps)):
            return total
        if parts.setdefault((cut[0], maps[cut[0]].offset), part) is not part:
            return total
    pieces: list[Expr] = []
    axis = next(iter(parts))[0]
    end: Size = 0
    while (axis, end) in parts:
        (piece, _) = parts.pop((axis, end)).args
        pieces.append(as_expr(ew.add(piece, dtype.type(0))))  # type: ignore[union-attr]
        end = end + shape_of(piece)[axis]
    return total if parts or end != shape[axis] else as_expr(ar.concatenate(*pieces, axis=axis))


def _filter(node: Expr, args: tuple[Expr, ...], copies: Iterator[int]) -> Expr:
    """The sums of products that a filter is, laid out down to its arguments."""
    formula = as_expr(node.op.lower(*args, **node.params))
    made: dict[Expr, Expr] = {}
    inner: dict[Expr, None] = {}
    pending = [formula]
    while pending:
        part = pending.pop()
        if part not in inner and part not in args:
            inner[part] = None
            pending.extend(part.args)
    for part in toposort_within(formula, inner):
        made[part] = _laid(part, tuple([made.get(a, a) for a in part.args]), copies)
    return made[formula]


def _control(node: Expr, args: tuple[Expr, ...]) -> Expr:
    """A loop or branch with its arguments in memory and its bodies laid out; arrays in bodies come from outside."""
    arrays: dict[Expr, Expr] = {}
    bodies = list(bodies_of(node))
    parameters = bodies[0].parameters
    taken = {name_of(p) for p in parameters}
    laid = [_apart(lay_out(Graph(body.outputs))) for body in bodies]
    for outputs in laid:
        for inner in toposort(outputs):
            if inner.op is ar.constant and inner.type.shape and inner not in arrays:
                arrays[inner] = fresh(inner.type, "a", taken)
    if node.op is ct.loop:
        laid[0] = _in_place(parameters, node.params["states"], laid)
    changed = iter([Body((*parameters, *arrays.values()), rebuild(outputs, arrays)) for outputs in laid])
    return build(node.op, (*args, *arrays), with_bodies(node, lambda body: next(changed)))


def _unshared(outputs: Sequence[Expr]) -> list[Expr]:
    """The outputs, where a put changes what it is given, if nobody else reads that memory.

    This shows in the laid out graph only: different values may have come to lie in the same memory.
    """
    order = toposort(outputs)
    if not any(node.op is ar.duplicate for node in order):
        return list(outputs)
    readers: dict[Expr, int] = {}
    for read in [*outputs, *(a for node in order if node.op not in SAME_MEMORY for a in node.args)]:
        base = memory_base(read)
        readers[base] = readers.get(base, 0) + 1
    made: dict[Expr, Expr] = {}
    with origin.derived_from() as derived:
        for node in order:
            derived.follow(node.marks)
            args = tuple([made[a] for a in node.args])
            made[node] = args[0] if node.op is ar.duplicate and _ours(node, readers) else with_args(node, args)
    return [made[o] for o in outputs]


def _ours(copy: Expr, readers: Mapping[Expr, int]) -> bool:
    """Whether what is copied is a result that is read for the copy alone."""
    base = memory_base(copy.args[0])
    return readers[base] == 1 and base.op.kind not in ("view", "source")


def in_place(parameter: Expr, after: Expr) -> bool:
    """Whether the next state is the memory of the state, changed."""
    base = memory_base(after)
    if base.op is not ar.put:
        return False
    while base.op is ar.put:
        base = memory_base(base.args[0])
    return base is parameter


def _in_place(parameters: Sequence[Expr], count: int, laid: Sequence[list[Expr]]) -> list[Expr]:
    """The outputs of a loop's body; a state that is a copy of the state with elements written into it is changed where
    it lies, if whoever reads it otherwise takes elements by an index before."""
    outputs = laid[0]
    order = toposort([o for some in laid for o in some])
    readers: dict[Expr, list[Expr]] = {}
    for node in order:
        for arg in dict.fromkeys(node.args):
            readers.setdefault(memory_base(arg), []).append(node)
    replace: dict[Expr, Expr] = {}
    for parameter, after in zip(parameters[1 : 1 + count], outputs, strict=False):
        chain, base = [], memory_base(after)
        while base.op is ar.put:
            chain.append(base)
            base = memory_base(base.args[0])
        if not chain or base.op is not ar.duplicate or memory_base(base.args[0]) is not parameter:
            continue
        others = [n for n in readers[parameter] if n is not base and n.op not in SAME_MEMORY]
        late = set(toposort(others)) & set(chain)
        if not late and all(n.op is ar.take and memory_base(n.args[0]) is parameter for n in others):
            replace[base] = base.args[0]
    return rebuild(outputs, replace) if replace else outputs


def _apart(outputs: Sequence[Expr]) -> list[Expr]:
    """The outputs, each in memory of its own."""
    found: dict[Expr, Expr] = {}
    for node in outputs:
        while memory_base(node) in found:
            node = as_expr(ar.contiguous(node))
        found[memory_base(node)] = node
    return list(found.values())


def in_memory(base: Expr) -> bool:
    """Whether what is no view lies in memory: numbers and sizes are passed by value, and an iota is where loops are."""
    return base.op.kind != "view" and base.op is not ar.iota and not (base.op.kind == "source" and shape_of(base) == ())


def stored(node: Expr) -> Expr:
    """The node if it lies in memory in its own order, else a copy."""
    return node if in_memory(memory_base(node)) else as_expr(ar.contiguous(node))


def _turned_products(graph: Graph) -> set[Expr]:
    """The outputs that are transposes of matrices' products that nobody else wants: (a b)^T = b^T a^T needs no copy.

    So are gradients of weights that a formula transposes.
    """
    found = [o for o in dict.fromkeys(graph.outputs) if _turns_matrices(o) and o.args[0].op is ar.matmul]
    found = [o for o in found if all(len(shape_of(x)) > 1 for x in o.args[0].args)]
    if not found:
        return set()
    uses = Counter(graph.outputs)
    for node in graph.order:
        uses.update(node.args)
    return {o for o in found if uses[o.args[0]] == 1}


def _turns_matrices(node: Expr) -> bool:
    """Whether a node exchanges the last two axes."""
    if node.op is not ar.transpose or len(shape_of(node)) < 2:
        return False
    *batch, rows, columns = range(len(shape_of(node)))
    return bool(node.params["axes"] == (*batch, columns, rows))


def _turned(x: Expr) -> Expr:
    """The matrices' transposes."""
    return x.args[0] if _turns_matrices(x) else as_expr(ar.swapaxes(x, axes=(-1, -2)))


def _product(node: Expr, args: Sequence[Expr]) -> Expr:
    dtype = node.type.dtype
    assert dtype is not None
    if dtype == np.bool_:
        wide = [as_expr(ew.cast(a, dtype="<i8")) for a in args]
        return as_expr(ew.not_equal(_product(as_expr(ar.matmul(*wide)), wide), 0))
    args = [a if a.type.dtype == dtype else as_expr(ew.cast(a, dtype=dtype.str)) for a in args]
    a, b = ar.row_matrix(args[0]), ar.col_matrix(args[1])
    if len(shape_of(a)) > 2 and len(shape_of(b)) == 2 and in_memory(memory_base(a)):  # one product instead of many
        *lead, rows, inner = shape_of(a)
        flat = as_expr(ar.reshape(a, shape=(dims.product(lead) * rows, inner)))
        return as_expr(ar.reshape(_product(as_expr(ar.matmul(flat, b)), [flat, b]), shape=node.type.shape))
    if 1 in (shape_of(a)[-2], shape_of(a)[-1], shape_of(b)[-1]):
        product = _vector_product(a, b)
        product = product if product.type.dtype == dtype else as_expr(ew.cast(product, dtype=dtype.str))
        return product if product.type.shape == node.type.shape else as_expr(ar.reshape(product, shape=node.type.shape))
    return as_expr(ar.matmul(*(_operand(a) for a in args)))


def _vector_product(a: Expr, b: Expr) -> Expr:
    """A product with a vector, or an outer product: nothing is used twice, so it is a loop that fuses with others.

    The loop runs along the matrix as it lies in memory.
    """
    if shape_of(a)[-1] == 1:
        return as_expr(ew.mul(a, b))
    swapped = -1, -2
    if shape_of(b)[-1] == 1:
        if _steps(a)[-1] == 1 or shape_of(a)[-2] == 1:
            return as_expr(rd.sum(ew.mul(a, ar.swapaxes(b, axes=swapped)), axis=(-1,), keepdims=True))
        return as_expr(
            ar.expand_dims(rd.sum(ew.mul(ar.swapaxes(a, axes=swapped), b), axis=(-2,), keepdims=False), axis=(-1,))
        )
    if _steps(b)[-1] == 1:
        return as_expr(rd.sum(ew.mul(ar.swapaxes(a, axes=swapped), b), axis=(-2,), keepdims=True))
    return as_expr(
        ar.expand_dims(rd.sum(ew.mul(a, ar.swapaxes(b, axes=swapped)), axis=(-1,), keepdims=False), axis=(-2,))
    )


def _steps(node: Expr) -> list[Size]:
    """How far apart neighbours along each axis lie in memory; 0 along an axis of size 1."""
    shape = shape_of(node)
    place = locate(node, tuple(variable(k) for k in range(len(shape))))
    address = place.number if place.element is None else linear(shape_of(place.base), place.element)
    assert address is not None
    return [0 if size == 1 else dict(address.terms).get(k, 0) for k, size in enumerate(shape)]


def _operand(node: Expr) -> Expr:
    """A matrix as it is where its rows or its columns lie side by side, else a copy."""
    shape = shape_of(node)
    base = node
    while base.op.kind == "view" and index_map(base) is not None:
        base = base.args[0]
    if not in_memory(memory_base(base)):
        return as_expr(ar.contiguous(node))
    steps = _steps(node)[-2:]
    matrix = list(zip(steps, shape[-2:], strict=True))
    unit = any(step == 1 or size == 1 for step, size in matrix)
    forward = all(size == 1 or not isinstance(step, int) or step > 0 for step, size in matrix)
    return node if unit and forward else as_expr(ar.contiguous(node))


def elements(node: Expr) -> Size:
    """The number of elements."""
    return dims.product(shape_of(node))

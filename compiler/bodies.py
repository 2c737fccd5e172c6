"""The statements of a nest: scalar rules run on recording scalars, accesses as loads, and where results go.

A value that the nest does not compute for this very iteration is loaded if it is stored, and computed again from what
is stored if it is not, at whatever index it is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.layout import (
    ZERO,
    Index,
    Place,
    affine,
    broadcast_index,
    embedding,
    linear,
    locate,
    mapped,
    shape_of,
    variable,
)
from compiler.program import (
    Address,
    Buffer,
    Load,
    Nest,
    Note,
    Recorder,
    Reduce,
    Ref,
    S,
    Store,
    identity,
)
from symgraph import dims
from symgraph.dims import Size
from symgraph.errors import InputError, OutOfBoundsError, located
from symgraph.expr import Expr, format_expr
from symgraph.ops import array as ar
from symgraph.ops.elementwise import operand_dtypes

if TYPE_CHECKING:
    from compiler.schedule import Task

FLOAT64, INT64, UINT64 = np.dtype(np.float64), np.dtype(np.int64), np.dtype(np.uint64)


def base_of(node: Expr) -> Expr:
    """What a view is a view of."""
    while node.op.kind == "view":
        node = node.args[0]
    return node


def dtype_of(node: Expr) -> np.dtype[Any]:
    """The dtype of a typed node."""
    assert node.type.dtype is not None
    return node.type.dtype


def number_of(place: Place) -> Address:
    """Which element is meant, by its number in memory order."""
    if place.number is not None:
        return place.number
    assert place.element is not None
    return linear(shape_of(place.base), place.element)


# -- embedding as gathering --------------------------------------------------------------------------------------------


def is_gathered(node: Expr) -> bool:
    """Whether a node is an embedding of neighbours as neighbours: each element of the result is then one of the
    argument, or 0, and can be computed where it is wanted."""
    return node.op is ar.embed and dtype_of(node).kind == "f" and all(abs(m.step) <= 1 for m in embedding(node))


def _gathered(node: Expr, index: Index) -> tuple[Index, list[tuple[Address, Size]]]:
    """The element of the argument, and what must lie in [0, size) for it to exist."""
    shape = shape_of(node.args[0])
    inner: list[Address] = [ZERO] * len(shape)
    guards: list[tuple[Address, Size]] = []
    for m, i, whole in zip(embedding(node), index, shape_of(node), strict=True):
        if m.axis is None:
            guards.append((affine(i, 1, -1 * m.offset), 1))
            continue
        at = affine(i, m.step, -1 * m.offset * m.step)
        if shape[m.axis] != 1:
            inner[m.axis] = at
        if not (m.step == 1 and m.offset == 0 and shape[m.axis] == whole):
            guards.append((at, shape[m.axis]))
    return tuple(inner), guards


def computed(node: Expr) -> bool:
    """Whether the value is computed in registers, element by element, where the loops are over its own shape."""
    return node.op.kind == "elementwise" or node.op is ar.take or is_gathered(node)


def accesses_of(node: Expr, index: Index) -> list[tuple[Expr, Index]]:
    """What an element of a value computed in registers is computed from."""
    if node.op is ar.embed:
        return [(node.args[0], _gathered(node, index)[0])]
    out = shape_of(node)
    return [(a, broadcast_index(shape_of(a), out, index)) for a in node.args]


def wanted_by(node: Expr) -> tuple[np.dtype[Any], ...]:
    """The dtypes in which an elementwise operation takes its operands."""
    return _operand_dtypes(node.op, tuple([a.type for a in node.args]), node.type, node.parts)


@lru_cache(maxsize=4096)
def _operand_dtypes(op: Any, types: Any, out: Any, parts: Any) -> tuple[np.dtype[Any], ...]:
    return operand_dtypes(op, types, out, dict(parts))


# -- bodies ------------------------------------------------------------------------------------------------------------


class Bodies:
    """Writes the body of one nest.

    Args:
        buffers: where what is stored lies.
        stored: the values that are stored.
        again: which values are computed where they are wanted, be they stored or not: they may be stored later.
        anew: which of what these are made of is then computed as well.
        errors: the program's errors, to which checks add.
    """

    def __init__(
        self,
        buffers: dict[Expr, Buffer],
        stored: set[Expr],
        again: Callable[[Place, bool], bool],
        anew: Callable[[Place], bool],
        errors: list[tuple[type[Exception], str]],
    ) -> None:
        self.buffers, self.stored, self.again, self.anew = buffers, stored, again, anew
        self.m = Recorder(errors)
        self.env: dict[Expr, S] = {}
        self.made_again: dict[tuple[Expr, Index, int | None], S] = {}

    def nest(self, group: Sequence[Task]) -> Nest:
        """The nest of these tasks."""
        m = self.m
        nest = Nest(list(group[0].loops))
        for task in group:
            node = task.node
            m.body.append(Note(node))
            m.node = node
            if node.op is ar.take:
                self.env[node] = self._take(task)
            elif node.op.kind == "elementwise" or is_gathered(node):
                self.env[node] = self._compute(node, task.index, None, task)
            else:
                self._write(nest, task)
                continue
            if node in self.stored:
                address = linear(shape_of(node), task.index)
                m.body.append(Store(self.buffers[node], address, self.env[node].number, "set"))
        nest.body = m.body
        return nest

    # values

    def _compute(self, node: Expr, index: Index, mask: S | None, task: Task | None = None) -> S:
        """An element of a value computed in registers; `mask`: where it is wanted."""
        if node.op is ar.embed:
            return self._gather(node, index, mask, task)
        wanted = wanted_by(node)
        if task is not None:
            args = [self._value(task, k, dtype) for k, dtype in enumerate(wanted)]
        else:
            args = [
                self._at(node, locate(a, i), False, mask, dtype, again=True)
                for (a, i), dtype in zip(accesses_of(node, index), wanted, strict=True)
            ]
        result: S = node.op.lower(self.m, *args, **node.params)
        return self.m.cast(result, dtype_of(node))

    def _gather(self, node: Expr, index: Index, mask: S | None, task: Task | None) -> S:
        m = self.m
        inner, guards = _gathered(node, index)
        inside: S | None = None
        for address, size in guards:
            # 0 <= at < size is one comparison of numbers without sign, and where an axis further out is missed already,
            # nothing is below 0: so the innermost axis, of which vectors are, is asked once
            length = m.cast(m.size(size) if not isinstance(size, int) else m.const(size, INT64), UINT64)
            if inside is not None:
                length = m.select(inside, length, m.const(0, length))
            inside = m.cast(m.position(address), UINT64) < length
        place = locate(node.args[0], inner)
        direct, again = task is not None and task.direct[0], task is None
        if inside is None:
            return self._at(node, place, direct, mask, dtype_of(node), again)
        both = inside if mask is None else inside & mask
        value = self._at(node, place, direct, both, dtype_of(node), again)
        last = m.body[-1]
        if isinstance(last, Load) and last.result == value.number and last.mask == inside.number:
            return value  # which is 0 already where there is nothing to read
        return m.select(inside, value, m.const(0, value))

    def _value(self, task: Task, k: int, dtype: np.dtype[Any] | None = None) -> S:
        """The k-th access of a task, in a dtype."""
        return self._at(task.node, task.places[k], task.direct[k], None, dtype)

    def _at(
        self,
        user: Expr,
        place: Place,
        direct: bool,
        mask: S | None,
        dtype: np.dtype[Any] | None,
        again: bool = False,
    ) -> S:
        """What is at a place, in a dtype.

        Args:
            user: who wants it.
            place: which element of what.
            direct: whether the same iteration computes it.
            mask: where it is wanted.
            dtype: what it is converted to.
            again: whether it is for a value that is computed again.
        """
        m, base = self.m, place.base
        if direct and base in self.env:
            value = self.env[base]
        elif base.op is ar.constant and not shape_of(base):
            try:
                return m.const(base.value, dtype or dtype_of(base))
            except OverflowError:
                raise located(InputError(_misfit(user, dtype)), user.origins) from None
        elif base.op is ar.size:
            axis, shape = base.params["axis"], shape_of(base.args[0])
            value = m.size(dims.product(shape) if axis is None else shape[axis])
        elif base.op is ar.iota:
            value = m.position(number_of(place))
        elif place.element is None or not (self.anew(place) if again else self.again(place, direct)):
            value = self._load(base, number_of(place), mask)
        else:
            key = (base, place.element, None if mask is None else mask.number)
            known = self.made_again.get(key)
            if known is None:
                known = self.made_again[key] = self._compute(base, place.element, mask)
            value = known
        if dtype is None:
            return value
        if base.type.weak and dtype.kind in "iu" and value.kind == "i" and dtype != value.dtype:
            low, high = (
                np.clip(int(limit), -(2**63), 2**63 - 1) for limit in (np.iinfo(dtype).min, np.iinfo(dtype).max)
            )
            m.require((value >= low) & (value <= high), InputError, _misfit(user, dtype))
        return m.cast(value, dtype)

    def _load(self, base: Expr, address: Address, mask: S | None = None) -> S:
        buffer, number = self.buffers[base], None if mask is None else mask.number
        if buffer.role == "scalar":
            number = None
        return self.m.once(
            ("load", buffer.name, address, number),
            buffer.dtype,
            lambda n: Load(n, buffer.dtype, buffer, address, number),
        )

    def _position_of(self, task: Task, k: int, size: Size) -> Ref:
        """A run-time index, counted from the front; one outside the axis fails the call."""
        m = self.m
        raw = self._value(task, k, INT64)
        length = m.size(size)
        wrapped = m.select(raw < 0, raw + length, raw)
        inside = (wrapped >= 0) & (wrapped < length)
        m.require(
            inside,
            OutOfBoundsError,
            (
                f"{task.node.op.name}: an index of {format_expr(task.node.args[1], 40)} is out of bounds "
                f"for an axis of size {size}"
            ),
        )
        return Ref(m.select(inside, wrapped, m.const(0, wrapped)).number)

    def _take(self, task: Task) -> S:
        node = task.node
        x, i = node.args
        axis, count = node.params["axis"], len(shape_of(i))
        position = self._position_of(task, 0, shape_of(x)[axis])
        index = (*task.index[:axis], variable(position), *task.index[axis + count :])
        place = locate(x, index)
        return self._load(place.base, number_of(place))

    # results

    def _write(self, nest: Nest, task: Task) -> None:
        """The tasks that write elsewhere than where they iterate: reductions, scatters, concatenations."""
        node = task.node
        buffer = self.buffers[node]
        out = shape_of(node)
        if node.op.kind == "reduction":
            self._reduce(nest, task)
            return
        value = self._value(task, 0, buffer.dtype)
        combine = "set"
        if node.op is ar.embed:
            nest.fills.append((buffer, 0))
            index = mapped(embedding(node), task.index)
        elif node.op is ar.concatenate:
            axis = node.params["axis"]
            before: Size = 0
            for arg in node.args[: task.piece]:
                before = before + shape_of(arg)[axis]
            index = tuple(affine(i, 1, before) if a == axis else i for a, i in enumerate(task.index))
        else:
            if node.op is ar.put:
                nest.changes = buffer
            else:
                nest.fills.append((buffer, 0))
            axis, count = node.params["axis"], len(shape_of(node.args[1]))
            position = self._position_of(task, 1, out[axis])
            index = (*task.index[:axis], variable(position), *task.index[axis + count :])
            combine = node.params.get("combine", "add")
        self.m.body.append(Store(buffer, linear(out, index), value.number, combine))

    def _reduce(self, nest: Nest, task: Task) -> None:
        node, m = task.node, self.m
        reducer, axes = node.op.lower, node.params["axis"]
        shape, buffer = shape_of(node.args[0]), self.buffers[node]
        kept = [a for a in range(len(shape)) if a not in axes]
        full_out = tuple(1 if a in axes else s for a, s in enumerate(shape))
        address = linear(full_out, tuple(ZERO if a in axes else i for a, i in enumerate(task.index)))
        loops = [a for a in (task.order or range(len(shape))) if shape[a] != 1]
        reduced = [k for k, a in enumerate(loops) if a in axes]
        depth = len(loops) - len(reduced)
        if not reduced:  # one element: it is the result, at place 0
            value = m.const(0, buffer.dtype) if reducer.init == "position" else self._value(task, 0, buffer.dtype)
            m.body.append(Store(buffer, address, value.number, "set"))
            return
        if reducer.init == "position":
            value = self._value(task, 0)
            count = linear(tuple(1 if a in kept else s for a, s in enumerate(shape)), task.index)
            m.body.append(Reduce(buffer, address, value.number, reducer.combine, depth, value.dtype, count))
            return
        value = self._value(task, 0, buffer.dtype)
        if reduced == list(range(depth, len(loops))):
            # Sums over everything are long. Sums along rows run in many lanes, so each adds few numbers.
            whole = depth == 0 and buffer.dtype == np.float32 and reducer.combine == "add"
            wide, run = (FLOAT64, buffer.dtype) if whole else (buffer.dtype, None)
            m.body.append(Reduce(buffer, address, value.number, reducer.combine, depth, wide, None, run))
        else:
            nest.fills.append((buffer, identity(reducer.combine, buffer.dtype)))
            m.body.append(Store(buffer, address, value.number, reducer.combine))


def _misfit(user: Expr, dtype: np.dtype[Any] | None) -> str:
    return f"{user.op.name}: a Python integer does not fit into {dtype}, in {format_expr(user, 60)}"

"""From a typed graph to a Program: which nodes share a loop nest, what is stored, and in which order.

Every computed node is a *task*: "for these loops, combine these accesses". A task's level is the number of stored
values it waits for; tasks of one level over the same loops form one nest, so values between them stay in registers.
An elementwise task that is only needed later moves to where it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from compiler.layout import (
    ZERO,
    Index,
    Place,
    affine,
    broadcast_index,
    elements,
    linear,
    locate,
    mapped,
    memory_base,
    shape_of,
    variable,
)
from compiler.program import (
    Address,
    Buffer,
    Load,
    Nest,
    Note,
    Product,
    Program,
    Recorder,
    Reduce,
    Ref,
    S,
    Store,
    identity,
)
from compiler.regions import form_regions
from symgraph import dims
from symgraph.dims import Size
from symgraph.errors import CompileError, InputError, OutOfBoundsError
from symgraph.expr import Expr, format_expr, toposort
from symgraph.ops import array as ar
from symgraph.ops.elementwise import operand_dtypes
from symgraph.types import Shape

STRAIGHT_LIMIT, NEST_LIMIT = 256, 512
"""Tasks in one nest without and with loops; a longer one is cut, which keeps the time LLVM takes linear."""

FLOAT64 = np.dtype(np.float64)


@dataclass(eq=False)
class Task:
    """One node's work in one nest (a concatenation has a task per piece)."""

    node: Expr
    piece: int
    loops: tuple[Size, ...]
    index: Index  # the element of the iterated shape, in loop variables
    accesses: list[tuple[Expr, Index]]
    order: tuple[int, ...] = ()  # for permuted loops: the axes in loop order
    level: int = 0
    nest: tuple[object, ...] = ()
    places: list[Place] = field(default_factory=list)
    direct: list[bool] = field(default_factory=list)  # whether a place is what the same iteration computes


@lru_cache(maxsize=4096)
def loops_of(shape: Shape, order: tuple[int, ...] | None = None) -> tuple[tuple[Size, ...], Index]:
    """The loops over a shape (axes of size 1 need none), and the element they stand for."""
    axes = [a for a in (range(len(shape)) if order is None else order) if shape[a] != 1]
    index = [ZERO] * len(shape)
    for k, axis in enumerate(axes):
        index[axis] = variable(k)
    return tuple(shape[a] for a in axes), tuple(index)


def in_registers(place: Place, task: Task) -> bool:
    """Whether the element meant is the one that the same iteration computes."""
    base = place.base
    if place.element is None or (base.op.kind != "elementwise" and base.op is not ar.take):
        return False
    loops, index = loops_of(shape_of(base))
    same = place.element is index or place.element == index
    return same and not task.order and (loops is task.loops or loops == task.loops)


class Scheduler:
    """Builds the Program of a typed graph."""

    def __init__(self, inputs: Sequence[Expr], outputs: Sequence[Expr]) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.tasks: list[Task] = []
        self.by_node: dict[Expr, list[Task]] = {}
        self.buffers: dict[Expr, Buffer] = {}
        self.errors: list[tuple[type[Exception], str]] = []

    def run(self) -> Program:
        """The program."""
        order = toposort(self.outputs)
        for node in order:
            if node.op.kind not in ("view", "source"):
                self._add_tasks(node)
        self._sink(order)
        self._group()
        stored = self._stored()
        self._place_buffers(order, stored)
        groups: dict[tuple[object, ...], list[Task]] = {}
        for task in sorted(self.tasks, key=lambda t: t.level):
            groups.setdefault(task.nest, []).append(task)
        steps: list[Nest | Product] = []
        for group in groups.values():
            if group[0].node.op is ar.matmul:
                steps.append(self._product(group[0]))
            else:
                steps.append(self._nest(group, stored))
        input_buffers = [self.buffers[n] for n in self.inputs]
        constants = [(self.buffers[n], n.value) for n in order if n in self.buffers and n.op is ar.constant]
        temporaries = [b for b in self.buffers.values() if b.role in ("temporary", "slot")]
        return Program(
            form_regions(steps, temporaries),
            input_buffers,
            constants,
            [self.buffers[memory_base(o)] for o in self.outputs],
            temporaries,
            self.errors,
        )

    # tasks and levels

    def _add_tasks(self, node: Expr) -> None:
        kind, args = node.op.kind, node.args
        made: list[Task] = []
        if kind == "elementwise":
            out = shape_of(node)
            loops, index = loops_of(out)
            made.append(Task(node, 0, loops, index, [(a, broadcast_index(shape_of(a), out, index)) for a in args]))
        elif kind == "reduction":
            shape = shape_of(args[0])
            axes = node.params["axis"]
            reduced = [a for a in range(len(shape)) if a in axes]
            kept = [a for a in range(len(shape)) if a not in axes]
            natural = [a for a in range(len(shape)) if shape[a] != 1]
            wanted = [a for a in (*kept, *reduced) if shape[a] != 1]
            order = tuple(wanted) if node.op.lower.init == "position" and natural != wanted else ()
            loops, index = loops_of(shape, order or None)
            made.append(Task(node, 0, loops, index, [(args[0], index)], order))
        elif node.op is ar.take:
            out, i = shape_of(node), args[1]
            loops, index = loops_of(out)
            axis, count = node.params["axis"], len(shape_of(i))
            made.append(Task(node, 0, loops, index, [(i, index[axis : axis + count])]))
        elif node.op is ar.scatter_add:
            g, i = args[:2]
            loops, index = loops_of(shape_of(g))
            axis, count = node.params["axis"], len(shape_of(i))
            made.append(Task(node, 0, loops, index, [(g, index), (i, index[axis : axis + count])]))
        elif node.op is ar.embed:
            loops, index = loops_of(shape_of(args[0]))
            made.append(Task(node, 0, loops, index, [(args[0], index)]))
        elif node.op is ar.concatenate:
            for piece, arg in enumerate(args):
                loops, index = loops_of(shape_of(arg))
                made.append(Task(node, piece, loops, index, [(arg, index)]))
        elif node.op is ar.matmul:
            made.append(Task(node, 0, (), (), []))
        else:
            raise CompileError(f"no mechanism lowers {node.op.name} ({kind}): {format_expr(node)}")
        for task in made:
            task.places = [locate(a, index) for a, index in task.accesses]
            levels = [0]
            task.direct = [in_registers(place, task) for place in task.places]
            for place, direct in zip(task.places, task.direct, strict=True):
                levels.append(self._ready(place.base) + (not direct))
            for whole in self._whole_operands(node):
                levels.append(self._ready(whole) + 1)
            task.level = max(levels)
        self.by_node[node] = made
        self.tasks.extend(made)

    def _whole_operands(self, node: Expr) -> list[Expr]:
        """Operands read at computed addresses, or by a library: they must lie in memory."""
        if node.op is ar.matmul:
            return [_base(a) for a in node.args]
        return [_base(node.args[0])] if node.op is ar.take else []

    def _ready(self, base: Expr) -> int:
        """The level after which a value is there; -1 for what comes with the call."""
        if base.op.kind == "source":
            return -1
        tasks = self.by_node[base]
        return tasks[0].level if len(tasks) == 1 else max(t.level for t in tasks)

    def _sink(self, order: Sequence[Expr]) -> None:
        """Move elementwise tasks to the level of their first use, where all uses are in loops like theirs."""
        first_use: dict[Expr, int] = {}
        fixed = {memory_base(o) for o in self.outputs}
        for task in self.tasks:
            fixed.update(self._whole_operands(task.node))
        for node in reversed(order):
            if node.op.kind in ("view", "source"):
                continue
            tasks = self.by_node[node]
            if node.op.kind == "elementwise" and node not in fixed and node in first_use:
                tasks[0].level = max(tasks[0].level, first_use[node])
            for task in tasks:
                for place, direct in zip(task.places, task.direct, strict=True):
                    if place.base.op.kind != "elementwise":
                        continue
                    if direct:
                        first_use[place.base] = min(first_use.get(place.base, task.level), task.level)
                    else:
                        fixed.add(place.base)

    def _group(self) -> None:
        counts: dict[tuple[object, ...], int] = {}
        for task in self.tasks:
            key: tuple[object, ...] = (task.level, task.loops, task.order)
            if task.node.op is ar.matmul:
                task.nest = (task.level, "product", task.node)
                continue
            counts[key] = counts.get(key, 0) + 1
            task.nest = (*key, (counts[key] - 1) // (NEST_LIMIT if task.loops else STRAIGHT_LIMIT))

    def _stored(self) -> set[Expr]:
        stored = {memory_base(o) for o in self.outputs}
        for task in self.tasks:
            node = task.node
            if node.op.kind != "elementwise" and node.op is not ar.take:
                stored.add(node)
            stored.update(self._whole_operands(node))
            for place, direct in zip(task.places, task.direct, strict=True):
                base = place.base
                if base.op.kind != "source" and not (direct and self.by_node[base][0].nest == task.nest):
                    stored.add(base)
        return stored

    # buffers

    def _place_buffers(self, order: Sequence[Expr], stored: set[Expr]) -> None:
        for k, node in enumerate(self.inputs):
            role = "input" if shape_of(node) else "scalar"
            self.buffers[node] = Buffer(f"x{k}", _dtype(node), elements(node), role, node)
        results = {memory_base(o) for o in self.outputs}
        number = 0
        for node in order:
            if node.op is ar.constant and np.ndim(node.value):
                self.buffers[node] = Buffer(f"c{number}", _dtype(node), elements(node), "constant", node)
            elif node.op.kind in ("source", "view") or node not in stored:
                continue
            else:
                size = elements(node)
                role = "output" if node in results else "slot" if size == 1 else "temporary"
                self.buffers[node] = Buffer(f"{node.op.name}_{number}", _dtype(node), size, role, node)
            number += 1

    # bodies

    def _nest(self, group: Sequence[Task], stored: set[Expr]) -> Nest:
        m = Recorder(self.errors)
        nest = Nest(list(group[0].loops))
        env: dict[Expr, S] = {}
        for task in group:
            node = task.node
            m.body.append(Note(node))
            m.place = f"\n  at {node.origin.file}:{node.origin.line}: {node.origin.text}" if node.origin else ""
            if node.op.kind == "elementwise":
                env[node] = self._elementwise(m, task, env)
            elif node.op is ar.take:
                env[node] = self._take(m, task, env)
            else:
                self._write(m, nest, task, env)
                continue
            if node in stored:
                m.body.append(Store(self.buffers[node], linear(shape_of(node), task.index), env[node].number, "set"))
        nest.body = m.body
        return nest

    def _value(self, m: Recorder, task: Task, k: int, env: dict[Expr, S], dtype: np.dtype[Any] | None = None) -> S:
        """The k-th access of a task, in a dtype."""
        place = task.places[k]
        base = place.base
        if task.direct[k] and base in env:
            value = env[base]
        elif base.op is ar.constant and not shape_of(base):
            try:
                return m.const(base.value, dtype or _dtype(base))
            except OverflowError:
                raise InputError(_misfit(task, dtype) + m.place) from None
        elif base.op is ar.size:
            axis, shape = base.params["axis"], shape_of(base.args[0])
            value = m.size(dims.product(shape) if axis is None else shape[axis])
        else:
            value = self._load(m, base, self._number(place))
        if dtype is None:
            return value
        if base.type.weak and dtype.kind in "iu" and value.kind == "i" and dtype != value.dtype:
            low, high = (
                np.clip(int(limit), -(2**63), 2**63 - 1) for limit in (np.iinfo(dtype).min, np.iinfo(dtype).max)
            )
            m.require((value >= low) & (value <= high), InputError, _misfit(task, dtype))
        return m.cast(value, dtype)

    @staticmethod
    def _number(place: Place) -> Address:
        if place.number is not None:
            return place.number
        assert place.element is not None
        return linear(shape_of(place.base), place.element)

    def _load(self, m: Recorder, base: Expr, address: Address) -> S:
        buffer = self.buffers[base]
        return m.once(("load", buffer.name, address), buffer.dtype, lambda n: Load(n, buffer.dtype, buffer, address))

    def _elementwise(self, m: Recorder, task: Task, env: dict[Expr, S]) -> S:
        node = task.node
        types = [a.type for a in node.args]
        wanted = operand_dtypes(node.op, types, node.type, node.params)
        args = [self._value(m, task, k, env, dtype) for k, dtype in enumerate(wanted)]
        result: S = node.op.lower(m, *args, **node.params)
        return m.cast(result, _dtype(node))

    def _position_of(self, m: Recorder, task: Task, k: int, env: dict[Expr, S], size: Size) -> Ref:
        """A run-time index, counted from the front; one outside the axis fails the call."""
        raw = self._value(m, task, k, env, np.dtype(np.int64))
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

    def _take(self, m: Recorder, task: Task, env: dict[Expr, S]) -> S:
        node = task.node
        x, i = node.args
        axis, count = node.params["axis"], len(shape_of(i))
        position = self._position_of(m, task, 0, env, shape_of(x)[axis])
        index = (*task.index[:axis], variable(position), *task.index[axis + count :])
        place = locate(x, index)
        return self._load(m, place.base, self._number(place))

    def _write(self, m: Recorder, nest: Nest, task: Task, env: dict[Expr, S]) -> None:
        """The tasks that write elsewhere than where they iterate: reductions, scatters, concatenations."""
        node = task.node
        buffer = self.buffers[node]
        out = shape_of(node)
        if node.op.kind == "reduction":
            self._reduce(m, nest, task, env)
            return
        value = self._value(m, task, 0, env, buffer.dtype)
        combine = "set"
        if node.op is ar.embed:
            nest.fills.append((buffer, 0))
            maps = ar.getitem.lower(node.args[1].type, node.args[0].type, _full(node))
            index = mapped(maps, task.index)
        elif node.op is ar.concatenate:
            axis = node.params["axis"]
            before: Size = 0
            for arg in node.args[: task.piece]:
                before = before + shape_of(arg)[axis]
            index = tuple(affine(i, 1, before) if a == axis else i for a, i in enumerate(task.index))
        else:
            nest.fills.append((buffer, 0))
            axis, count = node.params["axis"], len(shape_of(node.args[1]))
            position = self._position_of(m, task, 1, env, out[axis])
            index = (*task.index[:axis], variable(position), *task.index[axis + count :])
            combine = "add"
        m.body.append(Store(buffer, linear(out, index), value.number, combine))

    def _reduce(self, m: Recorder, nest: Nest, task: Task, env: dict[Expr, S]) -> None:
        node = task.node
        reducer, axes = node.op.lower, node.params["axis"]
        shape, buffer = shape_of(node.args[0]), self.buffers[node]
        kept = [a for a in range(len(shape)) if a not in axes]
        full_out = tuple(1 if a in axes else s for a, s in enumerate(shape))
        address = linear(full_out, tuple(ZERO if a in axes else i for a, i in enumerate(task.index)))
        loops = [a for a in (task.order or range(len(shape))) if shape[a] != 1]
        reduced = [k for k, a in enumerate(loops) if a in axes]
        depth = len(loops) - len(reduced)
        if reducer.init == "position":
            value = self._value(m, task, 0, env)
            count = linear(tuple(1 if a in kept else s for a, s in enumerate(shape)), task.index)
            m.body.append(Reduce(buffer, address, value.number, reducer.combine, depth, value.dtype, count))
            return
        value = self._value(m, task, 0, env, buffer.dtype)
        if not reduced:
            m.body.append(Store(buffer, address, value.number, "set"))
        elif reduced == list(range(depth, len(loops))):
            wide = FLOAT64 if buffer.dtype == np.float32 and reducer.combine == "add" else buffer.dtype
            value = m.cast(value, wide)
            m.body.append(Reduce(buffer, address, value.number, reducer.combine, depth, wide, None))
        else:
            nest.fills.append((buffer, identity(reducer.combine, buffer.dtype)))
            m.body.append(Store(buffer, address, value.number, reducer.combine))

    # products

    def _product(self, task: Task) -> Product:
        node = task.node
        a, b = node.args
        sa, sb = shape_of(a), shape_of(b)
        out = shape_of(node)
        batch = out[: max(len(sa), len(sb)) - 2] if max(len(sa), len(sb)) > 2 else ()
        nb = len(batch)
        row, inner, column = variable(nb), variable(nb + 1), variable(nb + 2)
        batch_index = tuple(variable(k) if s != 1 else ZERO for k, s in enumerate(batch))

        def operand(x: Expr, matrix: Index) -> Address:
            shape = shape_of(x)
            lead = broadcast_index(shape[: len(shape) - len(matrix)], batch, batch_index)
            place = locate(
                x, (*lead, *(ZERO if s == 1 else i for s, i in zip(shape[-len(matrix) :], matrix, strict=True)))
            )
            return self._number(place)

        def split(address: Address, first: int, second: int) -> tuple[Address, Size, Size]:
            terms = dict(address.terms)
            steps = terms.pop(first, 0), terms.pop(second, 0)
            return Address(address.constant, tuple(terms.items())), *steps

        at_a, a_row, a_inner = split(operand(a, (inner,) if len(sa) == 1 else (row, inner)), nb, nb + 1)
        at_b, b_inner, b_column = split(operand(b, (inner,) if len(sb) == 1 else (inner, column)), nb + 1, nb + 2)
        rows: Size = sa[-2] if len(sa) > 1 else 1
        columns: Size = sb[-1] if len(sb) > 1 else 1
        step = dims.product((rows, columns))
        at_c = linear((*batch, step), (*batch_index, ZERO))
        return Product(
            list(batch),
            rows,
            columns,
            sa[-1],
            (self.buffers[_base(a)], at_a, a_row, a_inner),
            (self.buffers[_base(b)], at_b, b_inner, b_column),
            (self.buffers[node], at_c),
            node,
        )


def _misfit(task: Task, dtype: np.dtype[Any] | None) -> str:
    return f"{task.node.op.name}: a Python integer does not fit into {dtype}, in {format_expr(task.node, 60)}"


def _full(node: Expr) -> dict[str, object]:
    """The parameters of embed with its index written out."""
    return {"index": ar.full_index(node.params["index"], len(shape_of(node.args[1])))}


def _dtype(node: Expr) -> np.dtype[Any]:
    assert node.type.dtype is not None
    return node.type.dtype


def _base(node: Expr) -> Expr:
    """What a view is a view of."""
    while node.op.kind == "view":
        node = node.args[0]
    return node

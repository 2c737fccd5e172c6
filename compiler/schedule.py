"""From a typed graph to a Program: which nodes share a loop nest, what is stored, and in which order.

Every computed node is a *task*: "for these loops, combine these accesses". A task's level is the number of stored
values it waits for; tasks of one level over the same loops form one nest, so values between them stay in registers.
An elementwise task that is only needed later moves to where it is needed. A cheap value that is wanted elsewhere, in
another nest or at a shifted index, is computed there again rather than stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from compiler.blocks import form_blocks
from compiler.bodies import Bodies, accesses_of, base_of, computed, dtype_of, is_gathered, number_of
from compiler.costs import own_cost
from compiler.layout import (
    ZERO,
    Index,
    Place,
    broadcast_index,
    elements,
    in_place,
    linear,
    locate,
    memory_base,
    shape_of,
    variable,
)
from compiler.program import Address, Buffer, Choose, Nest, Product, Program, Repeat
from compiler.regions import form_regions
from symgraph import dims
from symgraph.dims import Size
from symgraph.errors import CompileError, LoopError, OutOfBoundsError, message
from symgraph.expr import Body, Expr, format_expr, toposort
from symgraph.ops import array as ar, control as ct
from symgraph.types import Shape, TupleType

STRAIGHT_LIMIT, NEST_LIMIT = 256, 256
"""Tasks in one nest without and with loops; a longer one is cut, which keeps the time LLVM takes linear."""

NOT_COMPUTED = ("view", "source", "part")
"""Kinds of what no loop computes: it is read where something else lies, or comes with something else."""

CHEAP, CHEAP_ELSEWHERE = 8, 24
"""What a value may cost, in additions, to be computed again instead of stored: in the same loops, where it would lie in
a tile's buffer, and elsewhere, all uses together, where it would go to memory and back."""

REPEATED = 8
"""How many uses it counts for that a value is wanted in every step of a loop outside of its own."""


OVERLAPPING = CHEAP_ELSEWHERE + 1
"""As how many uses it counts to be read in windows, or beside what is: each element is wanted again and again."""


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


def _repeats(element: Index) -> bool:
    """Whether an element is meant again by every step of a loop around its own, so that it would be computed anew."""
    used = {v for part in element for v, _ in part.terms if isinstance(v, int)}
    return bool(used) and len(used) <= max(used)


def in_registers(place: Place, task: Task) -> bool:
    """Whether the element meant of a value computed in registers is the one that the same iteration computes."""
    if place.element is None:
        return False
    loops, index = loops_of(shape_of(place.base))
    same = place.element is index or place.element == index
    return same and not task.order and (loops is task.loops or loops == task.loops)


def _slides(place: Place) -> bool:
    """Whether an axis is read along two loops at once."""
    return place.element is not None and any(len(address.terms) > 1 for address in place.element)


class Scheduler:
    """Builds the Program of a typed graph."""

    def __init__(self, inputs: Sequence[Expr], outputs: Sequence[Expr]) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.tasks: list[Task] = []
        self.by_node: dict[Expr, list[Task]] = {}
        self.computed: set[Expr] = set()  # the values that are computed in registers
        self.anew: set[Expr] = set()  # of these, those that whoever computes from them again computes again too
        self.costs: dict[Expr, float] = {}
        self.elsewhere: dict[Expr, int] = {}  # how many uses a value has outside of its own loops
        self.again_from: dict[Expr, int] = {}  # the level from which it can be computed again from what is stored
        self.not_before: dict[Expr, int] = {}
        self.buffers: dict[Expr, Buffer] = {}
        self.errors: list[tuple[type[Exception], str]] = []

    def run(self) -> Program:
        """The program."""
        program = self._program()
        form_blocks(program)
        return program

    def _program(self) -> Program:
        """The program, step by step."""
        order = toposort(self.outputs)
        for node in order:
            if node.op.kind not in NOT_COMPUTED:
                self._add_tasks(node)
            elif node.op.kind == "part":
                self.by_node[node] = self.by_node[node.args[0]]
        self._levels()
        while self._later():
            self._levels()
        self._sink(order)
        self._group()
        stored = self._stored()
        self._place_buffers(order, stored)
        groups: dict[tuple[object, ...], list[Task]] = {}
        for task in sorted(self.tasks, key=lambda t: t.level):
            groups.setdefault(task.nest, []).append(task)
        steps: list[Nest | Product | Repeat | Choose] = []
        for group in groups.values():
            if group[0].node.op is ar.matmul:
                steps.append(self._product(group[0]))
            elif group[0].node.op is ct.loop:
                steps.append(self._repeat(group[0].node))
            elif group[0].node.op is ct.branch:
                steps.append(self._choose(group[0].node))
            elif wanted := _wanted(group, stored):
                steps.append(Bodies(self.buffers, stored, self._again, self._anew, self.errors).nest(wanted))
        input_buffers = [self.buffers[n] for n in self.inputs]
        constants = [(self.buffers[n], n.value) for n in order if n in self.buffers and n.op is ar.constant]
        temporaries = [b for b in dict.fromkeys(self.buffers.values()) if b.role in ("temporary", "slot")]
        return Program(
            form_regions(steps, temporaries),
            input_buffers,
            constants,
            [self.buffers[memory_base(o)] for o in self.outputs],
            [b for b in temporaries if b.role != "tile"],
            self.errors,
        )

    # tasks and levels

    def _add_tasks(self, node: Expr) -> None:
        kind, args = node.op.kind, node.args
        made: list[Task] = []
        if computed(node):
            self.computed.add(node)
        if kind == "elementwise" or is_gathered(node):
            loops, index = loops_of(shape_of(node))
            made.append(Task(node, 0, loops, index, accesses_of(node, index)))
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
        elif node.op is ar.put:
            i, v = args[1:]
            loops, index = loops_of(shape_of(v))
            axis, count = node.params["axis"], len(shape_of(i))
            made.append(Task(node, 0, loops, index, [(v, index), (i, index[axis : axis + count])]))
        elif node.op is ar.embed:
            loops, index = loops_of(shape_of(args[0]))
            made.append(Task(node, 0, loops, index, [(args[0], index)]))
        elif node.op is ar.concatenate:
            for piece, arg in enumerate(args):
                loops, index = loops_of(shape_of(arg))
                made.append(Task(node, piece, loops, index, [(arg, index)]))
        elif node.op is ar.matmul or kind == "control":
            made.append(Task(node, 0, (), (), []))
        else:
            raise CompileError(f"no mechanism lowers {node.op.name} ({kind}): {format_expr(node)}")
        for task in made:
            own = shape_of(node) if node in self.computed else None
            for arg, index in task.accesses:
                if index is task.index and arg.op.kind != "view" and arg.type.shape == own:
                    place, direct = Place(arg, index, None), arg in self.computed  # as most are
                else:
                    place = locate(arg, index)
                    direct = place.base in self.computed and in_registers(place, task)
                task.places.append(place)
                task.direct.append(direct)
            for place, direct in zip(task.places, task.direct, strict=True):
                if not direct and place.element is not None and place.base in self.computed:
                    slides = any(map(_slides, task.places))
                    uses = OVERLAPPING if slides else REPEATED if _repeats(place.element) else 1
                    self.elsewhere[place.base] = self.elsewhere.get(place.base, 0) + uses
        self.by_node[node] = made
        self.tasks.extend(made)

    def _levels(self) -> None:
        """What each value costs, and how many stored values each task waits for."""
        for task in self.tasks:
            node, level, again, cost = task.node, 0, 0, 0.0
            for place, direct in zip(task.places, task.direct, strict=True):
                base = place.base
                anew, ready = self._anew(place), self._ready(base)
                cost += self.costs[base] if anew else 1  # a load, or the computation from loads
                if direct:
                    level = max(level, ready)
                elif self._again(place, direct):
                    level = max(level, self.again_from[base])
                else:
                    level = max(level, ready + 1)
                again = max(again, self.again_from[base] if anew else ready + 1)
            for whole in self._whole_operands(node):
                level = max(level, self._ready(whole) + 1)
            task.level, self.again_from[node] = max(level, self.not_before.get(node, 0)), again
            if task.piece == 0:
                cost = self.costs[node] = own_cost(node) + cost
                uses = self.elsewhere.get(node)
                if node in self.computed and (uses is None or cost * uses <= CHEAP_ELSEWHERE):
                    self.anew.add(node)

    def _later(self) -> bool:
        """Whether a change of what is given must wait for those who take elements of it as it was."""
        found = False
        for node, tasks in self.by_node.items():
            if node.op is not ar.put or memory_base(node.args[0]).op.kind != "source":
                continue
            base = memory_base(node.args[0])
            reading = [t.level for t in self.tasks if t.node.op is ar.take and base_of(t.node.args[0]) is base]
            least = max(reading, default=-1) + 1
            if tasks[0].level < least:
                self.not_before[node] = least
                found = True
        return found

    def _anew(self, place: Place) -> bool:
        """Whether a value is no input and not stored for its many uses, so that whoever computes from it again computes
        it again too."""
        return place.element is not None and place.base in self.anew

    def _again(self, place: Place, direct: bool) -> bool:
        """Whether a value is better computed where it is wanted than stored and read."""
        if direct:
            return self.costs[place.base] <= CHEAP
        return place.base in self.elsewhere and self._anew(place)

    def _whole_operands(self, node: Expr) -> list[Expr]:
        """Operands read at computed addresses, or by a library: they must lie in memory."""
        if node.op.kind == "control":
            return [memory_base(a) for a in node.args]
        if node.op is ar.matmul:
            return [base_of(a) for a in node.args]
        if node.op is ar.put:
            return [memory_base(node.args[0])]
        return [base_of(node.args[0])] if node.op is ar.take else []

    def _ready(self, base: Expr) -> int:
        """The level after which a value is there; -1 for what comes with the call."""
        if base.op.kind == "source":
            return -1
        tasks = self.by_node[base]
        return tasks[0].level if len(tasks) == 1 else max(t.level for t in tasks)

    def _sink(self, order: Sequence[Expr]) -> None:
        """Move tasks in registers to the level of their first use, where all uses are in loops like theirs."""
        first_use: dict[Expr, int] = {}
        fixed = {memory_base(o) for o in self.outputs}
        for task in self.tasks:
            fixed.update(self._whole_operands(task.node))
        for node in reversed(order):
            if node.op.kind in NOT_COMPUTED:
                continue
            tasks = self.by_node[node]
            if node in first_use and node not in fixed and node in self.computed and node.op is not ar.take:
                tasks[0].level = max(tasks[0].level, first_use[node])
            for task in tasks:
                for place, direct in zip(task.places, task.direct, strict=True):
                    base = place.base
                    if base not in self.computed:
                        continue
                    if direct:
                        first_use[base] = min(first_use.get(base, task.level), task.level)
                    elif not self._again(place, direct):
                        fixed.add(base)

    def _group(self) -> None:
        counts: dict[tuple[object, ...], int] = {}
        for task in self.tasks:
            key: tuple[object, ...] = (task.level, task.loops, task.order)
            if task.node.op is ar.matmul or task.node.op.kind == "control":
                task.nest = (task.level, "alone", task.node)
                continue
            counts[key] = counts.get(key, 0) + 1
            task.nest = (*key, (counts[key] - 1) // (NEST_LIMIT if task.loops else STRAIGHT_LIMIT))

    def _stored(self) -> set[Expr]:
        stored = {memory_base(o) for o in self.outputs}
        for task in self.tasks:
            node = task.node
            if node not in self.computed and node.op.kind != "control":
                stored.add(node)
            stored.update(self._whole_operands(node))
            for place, direct in zip(task.places, task.direct, strict=True):
                base = place.base
                if base.op.kind == "source" or (direct and self.by_node[base][0].nest == task.nest):
                    continue
                if not self._again(place, direct):
                    stored.add(base)
        return stored

    # loops and branches

    def _inner(self, body: Body) -> Program:
        """The program of a body; what can fail in it is counted with what can fail here."""
        scheduler = Scheduler(body.parameters, body.outputs)
        scheduler.errors = self.errors
        return scheduler._program()

    def _failure(self, node: Expr, kind: type[Exception], text: str) -> int:
        """The number of a failure of a node."""
        self.errors.append((kind, message(text, node.origins)))
        return len(self.errors)

    def _items(self, node: Expr) -> list[Buffer | None]:
        """The buffers of a node's items; None for those that nobody wants."""
        kind = node.type
        assert isinstance(kind, TupleType)
        found = [ct.item.nodes.get(((node,), (("index", k),), (int,))) for k in range(len(kind.parts))]
        return [self.buffers.get(item) if item is not None else None for item in found]

    def _repeat(self, node: Expr) -> Repeat:
        params = node.params
        given = ct.split([self.buffers[memory_base(a)] for a in node.args], params)
        items, count = self._items(node), params["states"]
        body: Body = params["body"]
        trips: Size | Buffer | None = given.trips
        if params["trips"] == ct.SIZED:
            trips = ct.length_of([a.type for a in node.args], params)
        error = 0
        if params["limit"] is not None:
            error = self._failure(node, LoopError, f"a loop did not end within max_iterations={params['limit']} rounds")
        return Repeat(
            node,
            self._inner(params["body"]),
            None if params["cond"] is None else self._inner(params["cond"]),
            trips,
            list(given.states),
            items[:count],
            list(given.xs),
            items[count:-1],
            items[-1],
            list(given.outside),
            [in_place(p, o) for p, o in zip(body.parameters[1 : 1 + count], body.outputs, strict=False)],
            params["reverse"],
            params["limit"],
            error,
        )

    def _choose(self, node: Expr) -> Choose:
        index, *values = [self.buffers[memory_base(a)] for a in node.args]
        bodies = [self._inner(body) for body in node.params["bodies"]]
        number = memory_base(node.args[0])
        number = number.args[0] if number.op is ar.contiguous else number
        error = self._failure(
            node,
            OutOfBoundsError,
            f"switch: {format_expr(number, 60)} is not the number of a branch: they are 0 to {len(bodies) - 1}",
        )
        return Choose(node, bodies, index, values, self._items(node), error)

    # buffers

    def _place_buffers(self, order: Sequence[Expr], stored: set[Expr]) -> None:
        for k, node in enumerate(self.inputs):
            role = "input" if shape_of(node) else "scalar"
            self.buffers[node] = Buffer(f"x{k}", dtype_of(node), elements(node), role, node)
        results = {memory_base(o) for o in self.outputs}
        number = 0
        for node in order:
            if node.op is ar.constant and np.ndim(node.value):
                self.buffers[node] = Buffer(f"c{number}", dtype_of(node), elements(node), "constant", node)
            elif node.op.kind in ("source", "view") or node not in stored:
                continue
            else:
                size = elements(node)
                role = "output" if node in results else "slot" if size == 1 else "temporary"
                if ct.RUN in shape_of(node):
                    role = "tape"
                if node.op is ar.put:  # it changes what it was given
                    self.buffers[node] = self.buffers[memory_base(node.args[0])]
                    if role == "output":
                        self.buffers[node].role = "output"
                    number += 1
                    continue
                self.buffers[node] = Buffer(f"{node.op.name}_{number}", dtype_of(node), size, role, node)
            number += 1

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
            return number_of(place)

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
            (self.buffers[base_of(a)], at_a, a_row, a_inner),
            (self.buffers[base_of(b)], at_b, b_inner, b_column),
            (self.buffers[node], at_c),
            node,
        )


def _wanted(group: Sequence[Task], stored: set[Expr]) -> list[Task]:
    """The tasks of a nest whose value is stored, or used by one that is."""
    needed: set[Expr] = set()
    kept: list[Task] = []
    for task in reversed(group):
        if task.node in stored or task.node in needed:
            kept.append(task)
            needed.update(p.base for p, direct in zip(task.places, task.direct, strict=True) if direct)
    return kept[::-1]

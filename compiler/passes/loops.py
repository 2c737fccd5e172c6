"""Loops: neighbours become one, what nobody uses is left out, and what does not change moves out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.graph import Graph
from compiler.passes import numbers
from compiler.passes.inside import fresh, levels, name_of
from compiler.passes.rewrite import Rewrite, with_args
from compiler.passes.simplify import all_rows
from compiler.passes.sums import RowSums, row_sums
from symgraph import origin
from symgraph.contexts import branches_of
from symgraph.errors import CompileError
from symgraph.expr import Body, Expr, as_expr, build, format_expr, rebuild, toposort
from symgraph.ops import array as ar, control as ct, elementwise as ew
from symgraph.types import ArrayType

LIMIT = 1000
"""How often all loops of a graph are gone through; two or three times is usual, once more for each loop in a chain of
loops that lose something because the next one does."""

Key = Expr | int | None
"""An item of a loop: the parameter of a state, the number of what is gathered, or None for the number of rounds."""


@dataclass
class Loop:
    """A loop taken apart."""

    params: dict[str, Any]
    trips: Expr | None
    at: Expr
    states: dict[Expr, Expr]  # parameter -> first value
    xs: dict[Expr, Expr]  # parameter -> array
    outside: dict[Expr, Expr]  # parameter -> value
    after: dict[Expr, Expr]  # parameter of a state -> its value after a round
    gathered: dict[int, Expr]
    holds: Expr | None

    @property
    def parameters(self) -> list[Expr]:
        """The body's parameters."""
        return [self.at, *self.states, *self.xs, *self.outside]

    @property
    def outputs(self) -> list[Expr]:
        """All that the body computes."""
        return [*self.after.values(), *self.gathered.values(), *([] if self.holds is None else [self.holds])]

    @property
    def keys(self) -> list[Key]:
        """Its items in order."""
        return [*self.states, *self.gathered, None]

    def replaced(self, outputs: Sequence[Expr]) -> None:
        """Give it other outputs."""
        rest = iter(outputs)
        self.after = {p: next(rest) for p in self.after}
        self.gathered = {k: next(rest) for k in self.gathered}
        self.holds = None if self.holds is None else next(rest)

    def node(self) -> Expr:
        """The loop as a node."""
        params = self.params | {
            "states": len(self.states),
            "xs": len(self.xs),
            "body": Body(self.parameters, [*self.after.values(), *self.gathered.values()]),
            "cond": None if self.holds is None else Body(self.parameters, [self.holds]),
        }
        lead = [] if self.trips is None else [self.trips]
        args = (*lead, *self.states.values(), *self.xs.values(), *self.outside.values())
        return build(ct.loop, args, params)  # it may take nothing at all


def taken_apart(node: Expr, args: Sequence[Expr]) -> Loop:
    """A loop node with other arguments, in its parts."""
    params = node.params
    body: Body = params["body"]
    given = ct.split(args, params)
    at, *rest = body.parameters
    count, width = params["states"], params["xs"]
    if params["trips"] == ct.SIZED and params["length"] is None:
        params["length"] = ct.length_of([a.type for a in args], params)
    return Loop(
        params,
        given.trips,
        at,
        dict(zip(rest[:count], given.states, strict=True)),
        dict(zip(rest[count : count + width], given.xs, strict=True)),
        dict(zip(rest[count + width :], given.outside, strict=True)),
        dict(zip(rest[:count], body.outputs[:count], strict=True)),
        dict(enumerate(body.outputs[count:])),
        None if params["cond"] is None else params["cond"].outputs[0],
    )


def tidy_loops(graph: Graph, record: Callable[[Rewrite], None]) -> list[Expr]:
    """Join loops that run side by side, drop what is not used, and compute once what does not change."""
    if ct.loop not in graph.operations:
        return list(graph.outputs)
    for _ in range(LIMIT):
        outputs = _sweep(graph, record)
        if tuple(outputs) == graph.outputs:
            return outputs
        graph = Graph(outputs)  # where a loop takes less than before, those that it took from may give less
    raise CompileError(f"tidying the loops of {format_expr(graph.outputs[0])} does not come to an end")


def _sweep(graph: Graph, record: Callable[[Rewrite], None]) -> list[Expr]:
    level = levels(graph.order)
    used: dict[Expr, list[int]] = {}
    for node in graph.order:
        if node.op is ct.item and node.args[0].op is ct.loop:
            used.setdefault(node.args[0], []).append(node.params["index"])
    groups: dict[Any, list[Expr]] = {}
    for node in used:
        params = node.params
        lead = node.args[0] if params["trips"] == ct.GIVEN else None
        length = ct.length_of([a.type for a in node.args], params)
        groups.setdefault((level[node], lead, length, params["trips"], params["reverse"], params["limit"]), []).append(
            node
        )
    group_of = {node: group for group in groups.values() for node in group}
    made: dict[Expr, Expr] = {}
    with origin.derived_from() as derived:
        for node in sorted(graph.order, key=lambda n: level[n]):  # those of a group have all arguments by then
            if node in made:
                continue
            derived.follow(node.marks)
            if node.op is not ct.loop:
                made[node] = with_args(node, tuple([made[a] for a in node.args]))
            elif node in group_of:
                for item, value in _tidied(group_of[node], used, made, record):
                    made[item] = value
    return [made[o] for o in graph.outputs]


def _tidied(
    group: Sequence[Expr],
    used: Mapping[Expr, Sequence[int]],
    made: Mapping[Expr, Expr],
    record: Callable[[Rewrite], None],
) -> list[tuple[Expr, Expr]]:
    """What the nodes of a group, and their items, become."""
    loops: list[tuple[Loop, list[tuple[Expr, list[Key]]]]] = []
    for member in group:
        apart = taken_apart(member, [made[a] for a in member.args])
        for whole, members in loops:
            names = _join(whole, apart)
            if names is not None:
                members.append((member, [names[k] for k in apart.keys]))
                break
        else:
            loops.append((apart, [(member, apart.keys)]))
    found = []
    for whole, members in loops:
        count = len(whole.keys)
        wanted = {keys[k] for member, keys in members for k in used[member]}
        _take_in(whole)
        _add_elements(whole)
        made_of: dict[Key, _Product | _Elements | RowSums] = {**_numbers(whole)}
        made_of |= _products(whole, wanted)
        made_of |= row_sums(whole, wanted)
        wanted = {row for key in wanted for row in (made_of[key].rows if key in made_of else [key])}
        _drop(whole, wanted)
        _move_out(whole)
        result, place = whole.node(), {key: k for k, key in enumerate(whole.keys)}
        for member, keys in members:
            found.append((member, result))
            for k in used[member]:
                parts = made_of.get(keys[k])
                if parts is None:
                    value = ct.item(result, index=place[keys[k]])
                else:
                    value = parts.value([as_expr(ct.item(result, index=place[key])) for key in parts.rows])
                found.append((as_expr(ct.item(member, index=k)), as_expr(value)))
        if len(members) > 1:
            record(Rewrite("loops side by side -> one loop", members[0][0], result))
        elif count > len(whole.keys):
            record(Rewrite("a loop -> the loop without what is not used", members[0][0], result))
    return found


def _join(a: Loop, b: Loop) -> dict[Key, Key] | None:
    """Let a loop do what another does as well; returns the items of the other by those of the first, or None.

    A state of the other that starts as one of the first does, and changes as it does, is that state.
    """
    taken = {name_of(p) for p in a.parameters}
    replace: dict[Expr, Expr] = {b.at: a.at}
    xs, outside = dict(a.xs), dict(a.outside)
    for there, here in ((b.xs, xs), (b.outside, outside)):
        known = {value: p for p, value in here.items()}
        for p, value in there.items():
            found = known.get(value)
            if found is None:
                found = known[value] = fresh(p.type, name_of(p)[0], taken)
                here[found] = value
            replace[p] = found
    same: dict[Expr, Expr] = {}
    free = dict(a.states)
    for p, first in b.states.items():
        match = next((q for q, value in free.items() if value is first and q.type is p.type), None)
        if match is not None:
            same[p] = match
            del free[match]
    own = {p: fresh(p.type, "s", taken) for p in b.states}
    while True:  # states that were taken for the same, and change in another way, are not
        replace.update({p: same.get(p, own[p]) for p in b.states})
        outputs = rebuild(b.outputs, replace)
        after = dict(zip(b.states, outputs, strict=False))
        differ = [p for p, q in same.items() if after[p] is not a.after[q]]
        if not differ:
            break
        for p in differ:
            del same[p]
    if b.holds is not None and outputs[-1] is not a.holds:
        return None
    a.xs, a.outside = xs, outside
    names: dict[Key, Key] = {None: None}
    for p, first in b.states.items():
        q = names[p] = replace[p]
        if p not in same:
            a.states[q] = first
            a.after[q] = after[p]
    known_rows = {value: k for k, value in a.gathered.items()}
    for k, value in zip(b.gathered, outputs[len(b.states) :], strict=False):
        if value not in known_rows:
            known_rows[value] = len(a.gathered)
            a.gathered[len(a.gathered)] = value
        names[k] = known_rows[value]
    return names


@dataclass
class _Elements:
    """A state that was a small array, and is a state for each element."""

    rows: list[Key]
    shape: tuple[int, ...]

    def value(self, items: Sequence[Expr]) -> Expr:
        """What the state is in the end."""
        elements = np.empty(len(items), object)
        for k, item in enumerate(items):
            elements[k] = item
        return numbers.whole(elements, self.shape)


def _numbers(loop: Loop) -> dict[Key, _Elements]:
    """Take small arrays apart, where that can be done for all that the body computes; returns what became of states."""
    small: dict[Expr, Any] = {p: p.type.shape for p in loop.states if numbers.is_small(p.type)}
    taken = {name_of(p) for p in loop.parameters}
    given: dict[Expr, Any] = {}
    for p, shape in small.items():
        kind = ArrayType(p.type.dtype, ())
        given[p] = np.empty(shape, object)
        for index in np.ndindex(*shape):
            given[p][index] = fresh(kind, "s", taken)
    found = numbers.taken_apart(toposort(loop.outputs), given)
    if found is None:
        return {}

    def elements(x: Expr) -> Any:
        return found.get(x, given.get(x))

    if any(elements(o).size == 0 for o in loop.outputs):  # all of a large array is wanted
        return {}
    changing = _changing(toposort(loop.gathered.values()), loop)
    states: dict[Expr, Expr] = {}
    after: dict[Expr, Expr] = {}
    made: dict[Key, _Elements] = {}
    for p, first in loop.states.items():
        if p not in small:
            states[p], after[p] = first, elements(loop.after[p])[()]
            continue
        made[p] = _Elements(list(given[p].flat), small[p])
        for one, value, index in zip(given[p].flat, elements(loop.after[p]).flat, np.ndindex(*small[p]), strict=True):
            states[one], after[one] = as_expr(ar.getitem(first, index=index)), value
    loop.states, loop.after = states, after
    for k, row in loop.gathered.items():
        if row not in changing:  # it moves out whole
            continue
        parts, shape = elements(row), row.type.shape
        loop.gathered[k] = numbers.whole(parts, shape) if isinstance(shape, tuple) and shape else parts[()]
    if loop.holds is not None:
        loop.holds = elements(loop.holds)[()]
    return made


@dataclass
class _Product:
    """A state that adds up products of matrices, as one product of all their rows: first + left^T @ right.

    `rows` are the items that are multiplied; `arrays` stand for those that the loop runs over.
    """

    first: Expr
    rows: list[Key]
    arrays: tuple[Expr | None, Expr | None]

    def value(self, items: Sequence[Expr]) -> Expr:
        """What the state is in the end."""
        rest = iter(items)
        left, right = [array if array is not None else next(rest) for array in self.arrays]
        product = ar.matmul(ar.transpose(all_rows(left), axes=(1, 0)), all_rows(right))
        return as_expr(product if _filled_with_zero(self.first) else ew.add(self.first, product))


def _filled_with_zero(x: Expr) -> bool:
    number = _filling(x)
    return number is not None and number.op is ar.constant and number.value == 0 and not np.signbit(number.value)


def _products(loop: Loop, wanted: set[Key]) -> dict[Key, _Product]:
    """The states that add up x^T @ y in every round, and are used for nothing else."""
    if loop.params["trips"] != ct.SIZED:
        return {}
    found: dict[Key, _Product] = {}
    uses: dict[Expr, int] = {}
    for node in toposort(loop.outputs):
        for arg in node.args:
            uses[arg] = uses.get(arg, 0) + 1
    for p, after in loop.after.items():
        if p not in wanted or after.op is not ew.add or uses.get(p) != 1 or p not in after.args:
            continue
        (product,) = [a for a in after.args if a is not p] or [p]
        if product.op is not ar.matmul or product.type is not p.type or p.type.ndim != 2 or p.type.dtype.kind != "f":  # type: ignore[union-attr]
            continue
        left, right = product.args
        if left.op is not ar.transpose or any(m.type.dtype != p.type.dtype or m.type.ndim != 2 for m in (left, right)):
            continue
        rows: list[Key] = []
        arrays: list[Expr | None] = []
        for matrix in (left.args[0], right):
            arrays.append(loop.xs.get(matrix))
            if arrays[-1] is None:
                known = next((k for k, value in loop.gathered.items() if value is matrix), None)
                if known is None:
                    known = max(loop.gathered, default=-1) + 1
                    loop.gathered[known] = matrix
                rows.append(known)
        found[p] = _Product(loop.states[p], rows, (arrays[0], arrays[1]))
    return found


def _take_in(loop: Loop) -> None:
    """Numbers that fill the arrays a loop runs over, and constants that it takes from outside, are known inside."""
    replace: dict[Expr, Expr] = {}
    taken = {name_of(p) for p in loop.parameters}
    for p, x in list(loop.xs.items()):
        number = _filling(x)
        if number is None or (len(loop.xs) == 1 and loop.params["trips"] == ct.SIZED and loop.params["length"] is None):
            continue
        if number.op is not ar.constant:
            inside = fresh(number.type, "c", taken)
            loop.outside[inside] = number
            number = inside
        shape = p.type.shape
        replace[p] = number if number.type is p.type else as_expr(ar.broadcast_to(number, shape=shape))
    for p, value in loop.outside.items():
        if value.op is ar.constant and not value.type.shape and value.type is p.type:
            replace[p] = value
    if replace:
        loop.replaced(rebuild(loop.outputs, replace))


def _add_elements(loop: Loop) -> None:
    """s + an array of zeros with g at an index -> s with g added there   (but for the sign of zeros)

    Gradients of elements taken by an index are such arrays; a state that adds them up changes in one place.
    """
    replace: dict[Expr, Expr] = {}
    for node in toposort(loop.after.values()):
        if node.op is not ew.add or node.type.shape == ():
            continue
        for whole, part in (node.args, node.args[::-1]):
            if part.op is ar.scatter_add and part.args[1].type.shape == () and part.type is node.type is whole.type:
                g, i, _ = part.args
                replace[node] = as_expr(ar.put(whole, i, g, axis=part.params["axis"], combine="add"))
                break
    while replace:  # from the inside out
        node, value = next(iter(replace.items()))
        del replace[node]
        loop.replaced(rebuild(loop.outputs, {node: value}))
        replace = {rebuild([a], {node: value})[0]: rebuild([b], {node: value})[0] for a, b in replace.items()}


def _filling(x: Expr) -> Expr | None:
    """The number that an array is filled with."""
    while x.op is ar.broadcast_to:
        (x,) = x.args
    return x if x.type.shape == () and not x.type.weak else None


def _drop(loop: Loop, wanted: set[Key]) -> None:
    """Leave out states, and what is gathered, that nothing wanted is computed from."""
    unchanged = {p: first for p, first in loop.states.items() if loop.after[p] is p and p not in wanted}
    loop.outside.update(unchanged)
    loop.states = {p: first for p, first in loop.states.items() if p not in unchanged}
    kept = {key for key in wanted if isinstance(key, Expr)}
    rows = {k: value for k, value in loop.gathered.items() if k in wanted}
    roots = [*rows.values(), *([] if loop.holds is None else [loop.holds])]
    while True:
        needed = set(toposort([*roots, *(loop.after[p] for p in loop.states if p in kept)]))
        more = {p for p in loop.states if p in needed} - kept
        if not more:
            break
        kept |= more
    loop.gathered = rows
    loop.states = {p: first for p, first in loop.states.items() if p in kept}
    loop.after = {p: loop.after[p] for p in loop.states}
    loop.xs = {p: x for p, x in loop.xs.items() if p in needed}
    loop.outside = {p: value for p, value in loop.outside.items() if p in needed}


def _changing(order: Iterable[Expr], loop: Loop, owners: Mapping[Expr, Any] | None = None) -> set[Expr]:
    """What depends on the round, or belongs to a branch."""
    changing: set[Expr] = {loop.at, *loop.states, *loop.xs}
    for node in order:
        if node in loop.outside:
            continue
        if any(a in changing for a in node.args) or (owners is not None and owners.get(node) is not None):
            changing.add(node)
    return changing


def _move_out(loop: Loop) -> None:
    """Compute once, before the loop, what does not depend on the round; but nothing that only one branch needs."""
    order = toposort(loop.outputs)
    owners = branches_of(order, loop.outputs, elementwise=False)
    changing = _changing(order, loop, owners)
    fixed: set[Expr] = set()  # made of constants alone
    for node in order:
        if node not in changing and node not in loop.outside and all(a in fixed for a in node.args):
            fixed.add(node)

    def moves(node: Expr) -> bool:
        return not (node in changing or node in fixed or node in loop.outside)

    out: dict[Expr, None] = {}
    for node in order:
        if node in changing and node.args:
            out.update(dict.fromkeys(a for a in node.args if moves(a)))
    out.update(dict.fromkeys(o for o in loop.outputs if moves(o)))
    chosen = [node for node in out if node.op.kind != "view"]
    chosen += [base for node in out if node.op.kind == "view" for base in [_under_views(node)] if moves(base)]
    if not chosen:
        return
    taken = {name_of(p) for p in loop.parameters}
    values = rebuild(chosen, loop.outside)
    replace: dict[Expr, Expr] = {}
    for node, value in zip(chosen, values, strict=True):
        if node not in replace:
            replace[node] = fresh(node.type, "c", taken)
            loop.outside[replace[node]] = value
    loop.replaced(rebuild(loop.outputs, replace))
    needed = set(toposort(loop.outputs))
    loop.outside = {p: value for p, value in loop.outside.items() if p in needed}


def _under_views(node: Expr) -> Expr:
    while node.op.kind == "view":
        node = node.args[0]
    return node

"""A Program as readable Python: what runs, loop by loop. Executing it gives what the kernel gives, slowly."""

from __future__ import annotations

import math
import os
import re
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.program import (
    LOW,
    RUN,
    Accumulate,
    Address,
    Block,
    Buffer,
    Check,
    Choose,
    Const,
    Fill,
    Finish,
    Fold,
    Item,
    Load,
    Loop,
    Note,
    Position,
    Primitive,
    Product,
    Program,
    Ref,
    Region,
    Repeat,
    SizeOf,
    Start,
    Step,
    Store,
    Tiles,
    grows,
    identity,
    runs,
)
from symgraph.dims import Size
from symgraph.expr import Expr, format_expr
from symgraph.scalar import BINARY_MATH, UNARY_MATH

_WORDS = {"or": "logical_or", "and": "logical_and"}
_INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "and": "&",
    "or": "|",
    "xor": "^",
}


def size_text(size: Size, names: dict[Size, str]) -> str:
    """A size by the name it has in the text."""
    return str(size) if isinstance(size, int) else names[size]


class _Writer:
    def __init__(self, names: dict[Size, str]) -> None:
        self.names = names
        self.lines: list[str] = []
        self.lane: str | None = None  # which lane an iteration of the loop over vectors is
        self.lanes: dict[int, int] = {}  # how many an accumulator has
        self.running: list[int] = []  # accumulators whose steps are added up in runs
        self.wide: dict[str, int] = {}  # how many elements of a partial make one of the result

    def address(self, address: Address) -> str:
        parts = []
        for v, step in address.terms:
            name = f"v{v.number}" if isinstance(v, Ref) else "low" if v == LOW else f"i{v}"
            parts.append(name if step == 1 else f"{name}*{size_text(step, self.names)}")
        if address.constant != 0 or not parts:
            parts.append(size_text(address.constant, self.names))
        return " + ".join(parts)

    def element(self, buffer: Buffer, address: Address) -> str:
        return buffer.name if buffer.role == "scalar" else f"{buffer.name}[{self.address(address)}]"

    def put(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)


def primitive_text(s: Primitive) -> str:
    """A primitive as a Python expression over v1, v2, ..."""
    args = [f"v{a}" for a in s.args]
    if s.name in _INFIX:
        return f"{args[0]} {_INFIX[s.name]} {args[1]}"
    if s.name == "neg":
        return f"-{args[0]}"
    if s.name == "not":
        return f"~{args[0]}"
    if s.name == "select":
        return f"{args[1]} if {args[0]} else {args[2]}"
    if s.name in ("cast", "bitcast"):
        return f"{s.name}({args[0]}, {s.dtype.name})"
    return f"{s.name}({', '.join(args)})"


def _text(node: Expr | None) -> str:
    return "" if node is None else format_expr(node, 60)


def _line(node: Expr) -> str:
    place = node.origin
    return "" if place is None else f"   {os.path.basename(place.file)}:{place.line}"


def write(program: Program, sizes: Sequence[Size], name: str = "kernel") -> str:
    """The text of a function over flat arrays: inputs, constants, outputs, then the sizes of the call."""
    names = {size: f"n{k}" for k, size in enumerate(sizes)}
    w = _Writer(names)
    outputs = list(dict.fromkeys(program.outputs))
    arguments = [
        *(b.name for b in program.inputs),
        *(b.name for b, _ in program.constants),
        *(b.name for b in outputs),
        *names.values(),
    ]
    w.put(0, f"def {name}({', '.join(arguments)}):")
    for b in program.inputs:
        w.put(1, f"# {b.name}: {_text(b.node)}, {b.dtype.name}" + ("" if b.role == "scalar" else f"[{b.elements}]"))
    for size, short in names.items():
        w.put(1, f"# {short} = {size}")
    _steps(w, program, 1)
    return "\n".join(w.lines) + "\n"


def _steps(w: _Writer, program: Program, level: int, prefix: str = "") -> None:
    """The steps of a program, with room for what is between them."""
    for b in program.temporaries:
        room = "0" if grows(b) else size_text(b.elements, w.names)
        w.put(level, f"{b.name} = empty({room}, {b.dtype.name})  # {_text(b.node)}")
    for number, step in enumerate(program.steps):
        _step(w, step, f"{prefix}{number}", level)


def _step(w: _Writer, step: Step, number: str, level: int) -> None:
    if isinstance(step, Region):
        _region(w, step, level)
    elif isinstance(step, Product):
        _product(w, step, level)
    elif isinstance(step, Repeat):
        _repeat(w, step, number, level)
    elif isinstance(step, Block):
        _block(w, step, number, level)
    else:
        _choose(w, step, number, level)


def write_steps(program: Program, sizes: Sequence[Size]) -> list[str]:
    """The text of each step by itself, with the sizes that it names."""
    names = {size: f"n{k}" for k, size in enumerate(sizes)}
    texts = []
    for number, step in enumerate(program.steps):
        w = _Writer(names)
        _step(w, step, str(number), 1)
        body = textwrap.dedent("\n".join(w.lines))
        used = set(re.findall(r"\bn\d+\b", body))
        texts.append("\n".join([*(f"# {short} = {size}" for size, short in names.items() if short in used), body]))
    return texts


def _product(w: _Writer, step: Product, level: int) -> None:
    left, right, result = step.a, step.b, step.c
    w.put(level, f"# {_text(step.node)}")
    for k, size in enumerate(step.batch):
        w.put(level + k, f"for i{k} in range({size_text(size, w.names)}):")
    rest = [size_text(s, w.names) for s in (step.rows, step.columns, step.inner, *left[2:], *right[2:])]
    w.put(
        level + len(step.batch),
        (
            f"matmul({', '.join(rest)}, {left[0].name}, {w.address(left[1])}, "
            f"{right[0].name}, {w.address(right[1])}, "
            f"{result[0].name}, {w.address(result[1])})"
        ),
    )


# -- loops and branches ------------------------------------------------------------------------------------------------


def _function(w: _Writer, program: Program, name: str, level: int) -> None:
    """The function of a program inside a loop or a branch."""
    arguments = [b.name for b in dict.fromkeys((*program.inputs, *program.outputs))]
    w.put(level, f"def {name}({', '.join(arguments)}):")
    _steps(w, program, level + 1)
    if not w.lines[-1].startswith("    " * (level + 1)):
        w.put(level + 1, "pass")


def _given(inside: Buffer, outside: Buffer) -> str:
    """A value from outside as a program inside takes it."""
    return f"{outside.name}[0]" if inside.role == "scalar" and outside.role != "scalar" else outside.name


def _rows(w: _Writer, buffer: Buffer, row: Buffer, at: str) -> str:
    """The elements of a buffer in one round."""
    size = size_text(row.elements, w.names)
    return f"{buffer.name}[{at}*{size}:({at} + 1)*{size}]"


def _block(w: _Writer, step: Block, number: str, level: int) -> None:
    """Its steps one after the other, for all rows at once: none looks at another."""
    rows, chunk = (size_text(s, w.names) for s in (step.rows, step.chunk))
    w.put(level, f"# the kernel does the next {len(step.body.steps)} steps for {chunk} of {rows} rows at a time")
    _steps(w, step.body, level, f"{number}_")


def _repeat(w: _Writer, step: Repeat, number: str, level: int) -> None:
    tag, states = f"{level}_{number}", len(step.firsts)
    w.put(level, f"# {_text(step.node)}{_line(step.node)}")
    _function(w, step.body, f"body{tag}", level)
    if step.holds is not None:
        _function(w, step.holds, f"holds{tag}", level)
    elements = step.body.inputs[1 + states : 1 + states + len(step.xs)]
    outside = step.body.inputs[1 + states + len(step.xs) :]
    rows = step.body.outputs[states:]
    names = [f"s{tag}_{k}" for k in range(states)]
    for name, inside, first in zip(names, step.body.inputs[1:], step.firsts, strict=False):
        w.put(level, f"{name} = {_given(inside, first)}" + (".copy()" if inside.role == "output" else ""))
    w.put(level, f"round{tag} = 0")
    if isinstance(step.trips, Buffer):
        trips: str | None = f"{step.trips.name}[0]"
    else:
        trips = None if step.trips is None else size_text(step.trips, w.names)
    w.put(level, f"while {'True' if trips is None else f'round{tag} < {trips}'}:")
    level += 1
    at = f"at{tag}"
    w.put(level, f"{at} = {f'{trips} - 1 - round{tag}' if step.reverse else f'round{tag}'}")
    given = [at, *names]
    for x, inside in zip(step.xs, elements, strict=True):
        row = _rows(w, x, inside, at)
        given.append(f"{x.name}[{at}]" if inside.role == "scalar" else row)
    given += [_given(inside, value) for inside, value in zip(outside, step.outside, strict=True)]
    if step.holds is not None:
        (flag,) = step.holds.outputs
        w.put(level, f"more{tag} = empty(1, {flag.dtype.name})")
        _call(w, f"holds{tag}", [*given, f"more{tag}"], tag, level)
        w.put(level, f"if not more{tag}[0]: break")
    if step.limit is not None:
        w.put(level, f"if round{tag} >= {step.limit}: return {step.error}")
    results = []
    for k, b in enumerate(step.body.outputs[:states]):
        if b in step.body.inputs:  # it is changed where it lies
            continue
        results.append(f"t{tag}_{k}")
        w.put(level, f"t{tag}_{k} = empty({size_text(b.elements, w.names)}, {b.dtype.name})")
    for k, (target, part) in enumerate(zip(step.gathered, rows, strict=True)):
        if target is not None and not grows(target):
            results.append(_rows(w, target, part, at))
        else:
            results.append(f"y{tag}_{k}")
            w.put(level, f"y{tag}_{k} = empty({size_text(part.elements, w.names)}, {part.dtype.name})")
    _call(w, f"body{tag}", [*given, *results], tag, level)
    for k, target in enumerate(step.gathered):
        if target is not None and grows(target):
            w.put(level, f"{target.name} = joined({target.name}, y{tag}_{k}, {step.reverse})")
    for k, (name, inside) in enumerate(zip(names, step.body.inputs[1:], strict=False)):
        if inside in step.body.outputs:
            continue
        w.put(level, f"{name} = t{tag}_{k}" + ("[0]" if inside.role == "scalar" else ""))
    w.put(level, f"round{tag} += 1")
    level -= 1
    for name, last in zip(names, step.lasts, strict=True):
        if last is not None:
            w.put(level, f"{last.name}[:] = {name}")
    if step.count is not None:
        w.put(level, f"{step.count.name}[:] = round{tag}")


def _choose(w: _Writer, step: Choose, number: str, level: int) -> None:
    tag = f"{level}_{number}"
    w.put(level, f"# {_text(step.node)}{_line(step.node)}")
    for k, body in enumerate(step.bodies):
        _function(w, body, f"case{tag}_{k}", level)
    results = []
    for k, (b, like) in enumerate(zip(step.results, step.bodies[0].outputs, strict=True)):
        results.append(f"y{tag}_{k}" if b is None else b.name)
        if b is None:
            w.put(level, f"y{tag}_{k} = empty({size_text(like.elements, w.names)}, {like.dtype.name})")
    for k, body in enumerate(step.bodies):
        word = "if" if k == 0 else "elif"
        w.put(level, f"{word} {step.index.name}[0] == {k}:")
        given = [_given(inside, value) for inside, value in zip(body.inputs, step.values, strict=True)]
        _call(w, f"case{tag}_{k}", [*given, *results], tag, level + 1)
    w.put(level, f"else: return {step.error}")


def _call(w: _Writer, name: str, given: Sequence[str], tag: str, level: int) -> None:
    w.put(level, f"failed{tag} = {name}({', '.join(given)})")
    w.put(level, f"if failed{tag}: return failed{tag}")


# -- regions -----------------------------------------------------------------------------------------------------------


def _region(w: _Writer, region: Region, level: int) -> None:
    """The function of a chunk's rows, and its calls."""
    for f in region.fills:
        w.put(level, _statement(w, f))
    if region.size is None:
        _items(w, region.items, level)
        return
    size, chunk, chunks = (size_text(s, w.names) for s in (region.size, region.chunk, region.chunks))
    w.wide.update((b.name, lanes) for b, lanes in region.wide.items())
    for p in region.partials:
        if p.lanes > 1:
            w.wide[p.partial.name] = p.lanes
        count = size_text(p.partial.elements, w.names)
        w.put(level, f"{p.partial.name}s = empty(({chunks}, {count}), {p.partial.dtype.name})")
    w.put(level, f"for chunk in range({chunks}):" + ("" if region.chunks == 1 else "  # threads share them"))
    w.put(level + 1, f"first, last = chunk*{chunk}, min(chunk*{chunk} + {chunk}, {size})")
    for p in region.partials:
        w.put(level + 1, f"{p.partial.name} = {p.partial.name}s[chunk]")
    for b in region.tiles:
        w.put(level + 1, f"{b.name} = empty({size_text(b.elements, w.names)}, {b.dtype.name})  # {_text(b.node)}")
    _items(w, region.items, level + 1)
    for p in region.partials:
        target, dtype = p.buffer.name, p.buffer.dtype.name
        first = _number(identity(p.combine, p.partial.dtype), p.partial.dtype)
        given = [_combining(p.combine), first, f"{p.partial.name}s", dtype]
        given += [f"lanes={p.lanes}"] if p.lanes > 1 else []
        given += [f"block={size_text(p.block, w.names)}"] if p.block != 1 else []
        w.put(level, f"{target}[:] = combined({', '.join(given)})")


def _combining(name: str) -> str:
    return _WORDS.get(name, name)


def _items(w: _Writer, items: Sequence[Item], level: int) -> None:
    if not items:
        w.put(level, "pass")
    for s in items:
        if isinstance(s, Loop):
            low, high = "0", size_text(s.size, w.names)
            if s.tiled:
                times = "" if s.factor == 1 else f"*{size_text(s.factor, w.names)}"
                low, high = f"low{times}", f"min(high, {high}){times}"
            note = f"  # {s.lanes} at a time" if s.lanes > 1 else ""
            running = runs(s)
            for a in running:
                assert a.run is not None
                w.put(level, f"run{a.accumulator} = [{_number(identity(a.combine, a.run), a.run)}]*{s.lanes}")
            w.put(level, f"for i{s.variable} in range({high if low == '0' else f'{low}, {high}'}):{note}")
            w.running = [a.accumulator for a in running]
            if s.lanes > 1:
                w.lane = f"(i{s.variable} - {low})%{s.lanes}" if s.tiled else f"i{s.variable}%{s.lanes}"
            _items(w, s.body, level + 1)
            for k in w.running:
                whole = RUN * s.lanes
                ahead = f"(i{s.variable} - {low})" if s.tiled else f"i{s.variable}"
                w.put(level + 1, f"if {ahead}%{whole} == {whole - 1}: acc{k}, run{k} = added(acc{k}, run{k})")
            for k in w.running:
                w.put(level, f"acc{k}, run{k} = added(acc{k}, run{k})")
            w.running = []
            if s.lanes > 1:
                w.lane = None
        elif isinstance(s, Tiles):
            if s.width is None:
                w.put(level, "low, high = first, last")
                _items(w, s.body, level)
                continue
            width = size_text(s.width, w.names)
            w.put(level, f"for low in range(first, last, {width}):")
            w.put(level + 1, f"high = min(low + {width}, last)")
            _items(w, s.body, level + 1)
        else:
            w.put(level, _statement(w, s))


def _number(value: Any, dtype: np.dtype[Any]) -> str:
    value = value.item() if isinstance(value, np.generic) else value
    exact = repr(value) if math.isfinite(value) else f"'{value}'"
    return f"{dtype.name}({exact})"


def _statement(w: _Writer, s: Item) -> str:
    if isinstance(s, Note):
        return f"# {_text(s.node)}{_line(s.node)}"
    if isinstance(s, Load):
        value = w.element(s.buffer, s.address)
        return f"v{s.result} = " + (value if s.mask is None else f"{value} if v{s.mask} else {s.dtype.name}(0)")
    if isinstance(s, Position):
        return f"v{s.result} = int64({w.address(s.address)})"
    if isinstance(s, Const):
        return f"v{s.result} = {_number(s.value, s.dtype)}"
    if isinstance(s, SizeOf):
        return f"v{s.result} = int64({size_text(s.size, w.names)})"
    if isinstance(s, Primitive):
        return f"v{s.result} = {primitive_text(s)}"
    if isinstance(s, Check):
        return f"if not v{s.condition}: return {s.error}"
    if isinstance(s, Fill):
        rows = ""
        if s.row is not None:
            row = size_text(s.row, w.names)
            rows = f"low*{row}:high*{row}"
        return f"{s.buffer.name}[{rows or ':'}] = {_number(s.value, s.buffer.dtype)}"
    if isinstance(s, Start):
        first = _number(identity(s.combine, s.dtype), s.dtype) if s.first is None else f"v{s.first}"
        if s.lanes > 1 and w.lane is None:
            w.lanes[s.accumulator] = s.lanes
            return f"acc{s.accumulator} = [{first}]*{s.lanes}"
        w.lanes.pop(s.accumulator, None)
        return f"acc{s.accumulator} = {first}" + (f"; pos{s.accumulator} = 0" if s.position else "")
    if isinstance(s, Finish):
        value = f"{'pos' if s.position else 'acc'}{s.accumulator}"
        if s.accumulator in w.lanes:
            value = f"folded({_combining(s.combine)}, {value})"
        return f"{s.buffer.name}[{w.address(s.address)}] = {value}"
    if isinstance(s, Fold):
        lanes = f"{s.buffer.name}.reshape(-1, {s.lanes})[{w.address(s.address)}]"
        return f"v{s.result} = folded({_combining(s.combine)}, {lanes})"
    if isinstance(s, Store):
        at = w.address(s.address)
        if s.buffer.name in w.wide:
            at = f"({at})*{w.wide[s.buffer.name]} + {w.lane}"
        target, value = f"{s.buffer.name}[{at}]", f"v{s.value}"
        return f"{target} = {value if s.combine == 'set' else f'{_combining(s.combine)}({target}, {value})'}"
    assert isinstance(s, Accumulate)
    accumulator = f"acc{s.accumulator}"
    if s.accumulator in w.running:
        accumulator = f"run{s.accumulator}"
    if s.accumulator in w.lanes:
        accumulator += f"[{w.lane}]"
    if s.position is None:
        return f"{accumulator} = {_combining(s.combine)}({accumulator}, v{s.value})"
    return (
        f"if better_{s.combine}(v{s.value}, {accumulator}): {accumulator} = v{s.value}; "
        f"pos{s.accumulator} = {w.address(s.position)}"
    )


# -- running the text --------------------------------------------------------------------------------------------------


def namespace() -> dict[str, Any]:
    """What the text needs to run: NumPy's scalar functions under the primitives' names."""
    from symgraph.ops import elementwise as ew

    names: dict[str, Any] = {
        k: getattr(np, k)
        for k in (
            "float32",
            "float64",
            "int8",
            "int16",
            "int32",
            "int64",
            "uint8",
            "uint16",
            "uint32",
            "uint64",
            "empty",
            "maximum",
            "minimum",
        )
    }
    spelled = {
        "asin": "arcsin",
        "acos": "arccos",
        "atan": "arctan",
        "asinh": "arcsinh",
        "acosh": "arccosh",
        "atanh": "arctanh",
        "atan2": "arctan2",
        "pow": "power",
    }
    for name in (*UNARY_MATH, *BINARY_MATH):
        if name in ("erf", "erfc"):
            names[name] = getattr(ew, name).impl
        else:
            names[name] = getattr(np, spelled.get(name, name))
    names.update(
        bool=np.bool_,
        fma=ew.fma.impl,
        cast=lambda x, dtype: dtype(x),
        bitcast=lambda x, dtype: x.view(dtype),
        div=np.true_divide,
        add=np.add,
        mul=np.multiply,
        shl=np.left_shift,
        shr=np.right_shift,
        ipow=np.power,
        idiv=_idiv,
        irem=np.fmod,
        better_maximum=lambda v, best: v > best or (v != v and best == best),
        better_minimum=lambda v, best: v < best or (v != v and best == best),
        matmul=_matmul,
        added=_added,
        folded=_folded,
        joined=lambda tape, row, first: np.concatenate((row, tape) if first else (tape, row)),
        combined=_combined,
    )
    names.update(logical_or=np.logical_or, logical_and=np.logical_and, inf=np.inf)
    return names


def _folded(combine: Any, lanes: Any) -> Any:
    """The lanes combined: the upper half with the lower, until one is left."""
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = [combine(a, b) for a, b in zip(lanes[:half], lanes[half:], strict=True)]
    return lanes[0]


def _added(accumulator: Any, run: Any) -> Any:
    """What a run has added up goes to the accumulator, lane by lane, and the run begins anew."""
    return [a + type(a)(r) for a, r in zip(accumulator, run, strict=True)], [type(r)(0) for r in run]


def _combined(combine: Any, first: Any, partials: Any, dtype: Any, lanes: int = 1, block: int = 1) -> Any:
    """What the chunks accumulated, in their order; elements a block apart are neighbours in what is given."""
    total = np.full(partials.shape[1], first)
    for part in partials:
        total = combine(total, part)
    found = np.array([_folded(combine, total[k : k + lanes]) for k in range(0, len(total), lanes)]).astype(dtype)
    return found.reshape(block, -1).T.ravel() if len(found) else found


def _idiv(x: Any, y: Any) -> Any:
    quotient = np.floor_divide(x, y)
    if y == 0:
        return quotient
    remainder = x - quotient * y
    return quotient + type(x)(1) if remainder != 0 and (x < 0) != (y < 0) else quotient


def _matmul(
    m: int,
    n: int,
    k: int,
    ai: int,
    ak: int,
    bk: int,
    bj: int,
    a: Any,
    a0: int,
    b: Any,
    b0: int,
    c: Any,
    c0: int,
) -> None:
    for i in range(m):
        for j in range(n):
            c[c0 + i * n + j] = sum(
                (a[a0 + i * ai + p * ak] * b[b0 + p * bk + j * bj] for p in range(k)), start=c.dtype.type(0)
            )

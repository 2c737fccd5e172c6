"""A Program as readable Python: what runs, loop by loop. Executing it gives what the kernel gives, slowly."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.program import (
    Address, Buffer, Check, Const, Load, Nest, Note, Primitive, Program, Reduce, Ref, SizeOf, Store, identity,
)
from symgraph.dims import Size
from symgraph.expr import Expr, format_expr
from symgraph.scalar import BINARY_MATH, UNARY_MATH

_WORDS = {"or": "logical_or", "and": "logical_and"}
_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">",
          "ge": ">=", "and": "&", "or": "|", "xor": "^"}


def size_text(size: Size, names: dict[Size, str]) -> str:
    """A size by the name it has in the text."""
    return str(size) if isinstance(size, int) else names[size]


class _Writer:
    def __init__(self, names: dict[Size, str]) -> None:
        self.names = names
        self.lines: list[str] = []

    def address(self, address: Address) -> str:
        parts = []
        for v, step in address.terms:
            name = f"v{v.number}" if isinstance(v, Ref) else f"i{v}"
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
    arguments = [*(b.name for b in program.inputs), *(b.name for b, _ in program.constants),
                 *(b.name for b in outputs), *names.values()]
    w.put(0, f"def {name}({', '.join(arguments)}):")
    for b in program.inputs:
        w.put(1, f"# {b.name}: {_text(b.node)}, {b.dtype.name}" + ("" if b.role == "scalar" else f"[{b.elements}]"))
    for size, short in names.items():
        w.put(1, f"# {short} = {size}")
    for b in program.temporaries:
        w.put(1, f"{b.name} = empty({size_text(b.elements, names)}, {b.dtype.name})  # {_text(b.node)}")
    for number, step in enumerate(program.steps):
        if isinstance(step, Nest):
            _nest(w, step)
        else:
            a, b, c = step.a, step.b, step.c
            w.put(1, f"# {_text(step.node)}")
            for k, size in enumerate(step.batch):
                w.put(1 + k, f"for i{k} in range({size_text(size, names)}):")
            rest = [size_text(s, names) for s in (step.rows, step.columns, step.inner, *a[2:], *b[2:])]
            w.put(1 + len(step.batch), (
                f"matmul({', '.join(rest)}, {a[0].name}, {w.address(a[1])}, {b[0].name}, {w.address(b[1])}, "
                f"{c[0].name}, {w.address(c[1])})"
            ))
    return "\n".join(w.lines) + "\n"


def _nest(w: _Writer, nest: Nest) -> None:
    depth = len(nest.sizes)
    reduces = [s for s in nest.body if isinstance(s, Reduce)]
    for buffer, value in nest.fills:
        w.put(1, f"{buffer.name}[:] = {value!r}" if isinstance(value, int) else f"{buffer.name}[:] = {value.item()!r}")

    def start(level: int) -> None:
        for k, s in enumerate(reduces):
            if s.depth == level:
                first = identity(s.combine, s.dtype).item()
                text = repr(first) if math.isfinite(first) else f"{s.dtype.name}('{first}')"
                w.put(1 + level, f"acc{k} = {s.dtype.name}({text})" + ("" if s.position is None else f"; pos{k} = 0"))

    start(0)
    for k, size in enumerate(nest.sizes):
        w.put(1 + k, f"for i{k} in range({size_text(size, w.names)}):")
        start(k + 1)
    count = 0
    level = 1 + depth
    for s in nest.body:
        if isinstance(s, Note):
            w.put(level, f"# {_text(s.node)}{_line(s.node)}")
        elif isinstance(s, Load):
            w.put(level, f"v{s.result} = {w.element(s.buffer, s.address)}")
        elif isinstance(s, Const):
            value = s.value.item()
            exact = repr(value) if math.isfinite(value) else f"'{value}'"
            w.put(level, f"v{s.result} = {s.dtype.name}({exact})")
        elif isinstance(s, SizeOf):
            w.put(level, f"v{s.result} = int64({size_text(s.size, w.names)})")
        elif isinstance(s, Primitive):
            w.put(level, f"v{s.result} = {primitive_text(s)}")
        elif isinstance(s, Store):
            target = f"{s.buffer.name}[{w.address(s.address)}]"
            text = f"v{s.value}" if s.combine == "set" else f"{_WORDS.get(s.combine, s.combine)}({target}, v{s.value})"
            w.put(level, f"{target} = {text}")
        elif isinstance(s, Check):
            w.put(level, f"if not v{s.condition}: return {s.error}")
        elif s.position is None:
            w.put(level, f"acc{count} = {_WORDS.get(s.combine, s.combine)}(acc{count}, v{s.value})")
            count += 1
        else:
            w.put(level, f"if better_{s.combine}(v{s.value}, acc{count}): acc{count} = v{s.value}; "
                         f"pos{count} = {w.address(s.position)}")
            count += 1
    for k in reversed(range(depth + 1)):
        for number, s in enumerate(reduces):
            if s.depth == k:
                value = f"acc{number}" if s.position is None else f"pos{number}"
                w.put(1 + k, f"{s.buffer.name}[{w.address(s.address)}] = {value}")
    if not depth and not nest.body:
        w.put(1, "pass")


# -- running the text ---------------------------------------------------------------------------------------------------


def namespace() -> dict[str, Any]:
    """What the text needs to run: NumPy's scalar functions under the primitives' names."""
    from symgraph.ops import elementwise as ew

    names: dict[str, Any] = {
        k: getattr(np, k) for k in (
            "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "empty",
            "maximum", "minimum",
        )
    }
    spelled = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh",
               "atanh": "arctanh", "atan2": "arctan2", "pow": "power"}
    for name in (*UNARY_MATH, *BINARY_MATH):
        if name in ("erf", "erfc"):
            names[name] = getattr(ew, name).impl
        else:
            names[name] = getattr(np, spelled.get(name, name))
    names.update(
        bool=np.bool_, fma=ew.fma.impl, cast=lambda x, dtype: dtype(x),
        bitcast=lambda x, dtype: x.view(dtype), div=np.true_divide, add=np.add, mul=np.multiply,
        shl=np.left_shift, shr=np.right_shift, ipow=np.power, idiv=_idiv, irem=np.fmod,
        better_maximum=lambda v, best: v > best or (v != v and best == best),
        better_minimum=lambda v, best: v < best or (v != v and best == best), matmul=_matmul,
    )
    names.update(logical_or=np.logical_or, logical_and=np.logical_and, inf=np.inf)
    return names


def _idiv(x: Any, y: Any) -> Any:
    quotient = np.floor_divide(x, y)
    if y == 0:
        return quotient
    remainder = x - quotient * y
    return quotient + type(x)(1) if remainder != 0 and (x < 0) != (y < 0) else quotient


def _matmul(
    m: int, n: int, k: int, ai: int, ak: int, bk: int, bj: int, a: Any, a0: int, b: Any, b0: int, c: Any, c0: int,
) -> None:
    for i in range(m):
        for j in range(n):
            c[c0 + i * n + j] = sum(
                (a[a0 + i * ai + p * ak] * b[b0 + p * bk + j * bj] for p in range(k)), start=c.dtype.type(0)
            )

"""Products of rows by a matrix that all rounds of a loop share, as LLVM IR text.

The matrix is packed once, before the first round: panels of `PANEL` bytes in every row lie one after the other, so that
a product reads it from its start to its end. A few rows are multiplied at once, as many as fit into registers. Each
element is added up over the inner axis in order, each step rounded once: its bits depend on nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler import machine
from compiler.emit_scalar import Body, Module, code, memory_type, suffix, wide
from compiler.program import Buffer, Product
from symgraph import dims
from symgraph.dims import Size

PANEL = 128
"""Bytes of a row that lie side by side: two of the widest vectors."""

ROWS = 8
"""Rows that are multiplied at once, at most."""


def packed_elements(p: Product) -> Size:
    """The room that a product's right operand takes when it is packed."""
    width = PANEL // p.b[0].dtype.itemsize
    return dims.call("ceildiv", p.columns, width) * width * p.inner


def pack(body: Body, module: Module, p: Product, matrix: str, packed: str) -> None:
    """Pack a product's right operand, whose buffer is at `matrix`, into the memory at `packed`."""
    dtype = p.b[0].dtype
    start = _at(body, matrix, dtype, body.size(p.b[1].constant))
    n, k, row, column = (body.size(size) for size in (p.columns, p.inner, p.b[2], p.b[3]))
    function = _packing(module, dtype)
    body.do(f"call void @{function}(i64 {n}, i64 {k}, ptr {start}, i64 {row}, i64 {column}, ptr {packed})")


def call_packed(body: Body, module: Module, p: Product, packed: Buffer) -> None:
    """c = a * packed, for the rows from `%first` to `%last`."""
    dtype = p.c[0].dtype
    n, k, row, inner = (body.size(size) for size in (p.columns, p.inner, p.a[2], p.a[3]))
    a = _at(body, f"%{p.a[0].name}", dtype, body.size(p.a[1].constant), body.let(f"mul i64 %first, {row}"))
    c = _at(body, f"%{p.c[0].name}", dtype, body.size(p.c[1].constant), body.let(f"mul i64 %first, {n}"))
    m, function = body.let("sub i64 %last, %first"), _multiplying(module, dtype)
    left, right = f"ptr {a}, i64 {row}, i64 {inner}", f"ptr %{packed.name}"
    body.do(f"call void @{function}(i64 {m}, i64 {n}, i64 {k}, {left}, {right}, ptr {c})")


def _packing(module: Module, dtype: np.dtype[Any]) -> str:
    """The function that packs a matrix of `k` rows and `n` columns; returns its name."""
    name, type_ = f"{module.name}_pack_{code(dtype)}", memory_type(dtype)
    body = Body(module)

    def element() -> None:
        source = _at(body, "%b", dtype, body.let("mul i64 %l, %b.k"), body.let("mul i64 %j, %b.j"))
        row = body.let(f"mul i64 %l, {PANEL // dtype.itemsize}")
        place = _at(body, "%packed", dtype, _column(body, dtype), row)
        body.do(f"store {type_} {body.let(f'load {type_}, ptr {source}')}, ptr {place}")

    body.counted("l", "0", "%k", "1", lambda: body.counted("j", "0", "%n", "1", element))
    head = "i64 %n, i64 %k, ptr noalias %b, i64 %b.k, i64 %b.j, ptr noalias %packed"
    return _function(module, name, head, body)


def _multiplying(module: Module, dtype: np.dtype[Any]) -> str:
    """The function that multiplies `m` rows by a packed matrix of `k` rows and `n` columns; returns its name."""
    name, type_ = f"{module.name}_multiply_{code(dtype)}", memory_type(dtype)
    register = machine.vector_bytes()
    rows = ROWS if register == 64 else ROWS // 2  # two vectors of sums for each of them fill half of the registers
    lanes = min(2 * register, PANEL) // dtype.itemsize
    kind, mask = wide(type_, lanes), wide("i1", lanes)
    store = f"@llvm.masked.store.{suffix(type_, lanes)}.p0"
    module.declare(f"void {store}({kind}, ptr, i32, {mask})", pure=False)
    module.declare("i64 @llvm.smin.i64(i64, i64)")
    body = Body(module)

    def columns() -> None:
        panel = _at(body, "%packed", dtype, _column(body, dtype))
        target = _at(body, "%c", dtype, "%j")
        left = body.splat(body.let("sub i64 %n, %j"), "i64", lanes)
        numbers = ", ".join(f"i64 {k}" for k in range(lanes))
        within = body.let(f"icmp slt {wide('i64', lanes)} <{numbers}>, {left}")

        def some(count: int) -> None:
            numbers = [body.let(f"add i64 %i{count}, {r}") for r in range(count)]
            numbers = [body.let(f"call i64 @llvm.smin.i64(i64 {number}, i64 %end)") for number in numbers]
            starts = [_at(body, "%a", dtype, body.let(f"mul i64 {number}, %a.i")) for number in numbers]
            for number, total in zip(numbers, _sums(body, dtype, lanes, starts, panel), strict=True):
                place = _at(body, target, dtype, body.let(f"mul i64 {number}, %n"))
                body.do(f"call void {store}({kind} {total}, ptr {place}, i32 {dtype.itemsize}, {mask} {within})")

        few = rows // 2  # for the last rows, where they are few
        body.counted(f"i{rows}", "0", "%whole", str(rows), lambda: some(rows))
        body.counted(f"i{few}", "%whole", "%m", str(few), lambda: some(few))

    body.do(f"%whole = and i64 %m, {-rows}")
    body.do("%end = sub i64 %m, 1")  # rows beyond the last are the last once more
    body.counted("j", "0", "%n", str(lanes), columns)
    head = "i64 %m, i64 %n, i64 %k, ptr noalias %a, i64 %a.i, i64 %a.k, ptr noalias %packed, ptr noalias %c"
    return _function(module, name, head, body)


def _sums(body: Body, dtype: np.dtype[Any], lanes: int, starts: Sequence[str], panel: str) -> list[str]:
    """Some columns of the products of the rows that begin at `starts`: for each row the register of its vector."""
    type_, width = memory_type(dtype), PANEL // dtype.itemsize
    kind = wide(type_, lanes)
    fma = f"{kind} @llvm.fma.{suffix(type_, lanes)}"
    body.module.declare(f"{fma}({kind}, {kind}, {kind})")
    k = f"k{len(starts)}"
    sums = [f"%{k}.sum{r}" for r in range(len(starts))]
    body.do(f"br label %{k}.pre")
    body.label(f"{k}.pre")
    body.do(f"br label %{k}.head")
    body.label(f"{k}.head")
    body.do(f"%{k} = phi i64 [0, %{k}.pre], [%{k}.next, %{k}.body]")
    body.do(f"%{k}.at = phi i64 [0, %{k}.pre], [%{k}.at.next, %{k}.body]")
    body.do(f"%{k}.row = phi ptr [{panel}, %{k}.pre], [%{k}.row.next, %{k}.body]")
    for total in sums:
        body.do(f"{total} = phi {kind} [zeroinitializer, %{k}.pre], [{total}.next, %{k}.body]")
    body.do(f"br i1 {body.let(f'icmp slt i64 %{k}, %k')}, label %{k}.body, label %{k}.exit")
    body.label(f"{k}.body")
    right = body.let(f"load {kind}, ptr %{k}.row, align {dtype.itemsize}")
    for total, start in zip(sums, starts, strict=True):
        left = body.splat(body.let(f"load {type_}, ptr {_at(body, start, dtype, f'%{k}.at')}"), type_, lanes)
        body.do(f"{total}.next = call {fma}({kind} {left}, {kind} {right}, {kind} {total})")
    body.do(f"%{k}.next = add nuw nsw i64 %{k}, 1")
    body.do(f"%{k}.at.next = add i64 %{k}.at, %a.k")
    body.do(f"%{k}.row.next = {_element(f'%{k}.row', dtype, str(width))}")
    body.do(f"br label %{k}.head")
    body.label(f"{k}.exit")
    return sums


def _column(body: Body, dtype: np.dtype[Any]) -> str:
    """Where column `%j` starts in a packed matrix."""
    width = PANEL // dtype.itemsize
    panel = body.let(f"mul i64 {body.let(f'and i64 %j, {-width}')}, %k")
    return body.let(f"add i64 {panel}, {body.let(f'and i64 %j, {width - 1}')}")


def _element(pointer: str, dtype: np.dtype[Any], step: str) -> str:
    return f"getelementptr inbounds {memory_type(dtype)}, ptr {pointer}, i64 {step}"


def _at(body: Body, pointer: str, dtype: np.dtype[Any], *steps: str) -> str:
    """The register of a pointer so many elements on."""
    for step in steps:
        pointer = body.let(_element(pointer, dtype, step))
    return pointer


def _function(module: Module, name: str, parameters: str, body: Body) -> str:
    """Adds a function to the module, unless it is there; returns its name."""
    if name not in module.helpers:
        module.helpers.add(name)
        head = f"\ndefine internal void @{name}({parameters}) #7 {{"
        module.functions.append("\n".join([head, "entry:", *body.lines, "  ret void", "}"]))
    return name

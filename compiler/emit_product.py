"""Matrix products as LLVM IR text: BLAS where it pays and is there, loops otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.emit_scalar import Body, Module, code, literal, memory_type, register_type
from compiler.program import Address, Buffer, Product, Ref

BLAS_FROM = 8192
"""Multiplications from which a product goes to the library."""

_PARAMETERS = (
    "i64 %m, i64 %n, i64 %k, ptr noalias %a, i64 %a.i, i64 %a.k, ptr noalias %b, i64 %b.k, i64 %b.j, ptr noalias %c"
)


def product_helper(module: Module, dtype: np.dtype[Any], blas: bool) -> str:
    """The function that multiplies two matrices, given steps of rows and columns; returns its name."""
    type_ = register_type(dtype)
    name = f"{module.name}_product_{code(dtype)}"
    if name in module.helpers:
        return name
    module.helpers.add(name)
    add, mul = ("fadd", "fmul") if dtype.kind == "f" else ("add", "mul")
    zero = literal(0, dtype)
    library = ""
    if blas:
        function = f"symgraph_{'d' if dtype.itemsize == 8 else 's'}gemm"
        module.declare(f"void @{function}(ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr)", pure=False)
        one = literal(1.0, dtype)
        order = ("p.tb", "p.ta", "p.n", "p.m", "p.k", "p.alpha", "b", "p.ldb", "a", "p.lda", "p.beta", "c", "p.n")
        operands = ", ".join(f"ptr %{v}" for v in order)
        library = f"""
  %mn = mul i64 %m, %n
  %work = mul i64 %mn, %k
  %large = icmp sge i64 %work, {BLAS_FROM}
  br i1 %large, label %library, label %loops
library:
  ; column-major BLAS computes c' = b' a'; a step of 1 says which way a matrix lies
  %b.side = icmp eq i64 %b.j, 1
  %b.one = icmp eq i64 %n, 1
  %b.apart = icmp ne i64 %b.k, 1
  %b.only = and i1 %b.one, %b.apart
  %b.rows = or i1 %b.side, %b.only
  %a.side = icmp eq i64 %a.k, 1
  %a.one = icmp eq i64 %k, 1
  %a.apart = icmp ne i64 %a.i, 1
  %a.only = and i1 %a.one, %a.apart
  %a.rows = or i1 %a.side, %a.only
  %tb = select i1 %b.rows, i8 78, i8 84
  %ta = select i1 %a.rows, i8 78, i8 84
  %ldb.raw = select i1 %b.rows, i64 %b.k, i64 %b.j
  %lda.raw = select i1 %a.rows, i64 %a.i, i64 %a.k
  %b.least = select i1 %b.rows, i64 %n, i64 %k
  %a.least = select i1 %a.rows, i64 %k, i64 %m
  %ldb64 = call i64 @llvm.smax.i64(i64 %ldb.raw, i64 %b.least)
  %lda64 = call i64 @llvm.smax.i64(i64 %lda.raw, i64 %a.least)
  store i8 %tb, ptr %p.tb
  store i8 %ta, ptr %p.ta
  %m32 = trunc i64 %m to i32
  %n32 = trunc i64 %n to i32
  %k32 = trunc i64 %k to i32
  %lda = trunc i64 %lda64 to i32
  %ldb = trunc i64 %ldb64 to i32
  store i32 %m32, ptr %p.m
  store i32 %n32, ptr %p.n
  store i32 %k32, ptr %p.k
  store i32 %lda, ptr %p.lda
  store i32 %ldb, ptr %p.ldb
  store {type_} {one}, ptr %p.alpha
  store {type_} {zero}, ptr %p.beta
  call void @{function}({operands})
  ret void"""
        module.declare("i64 @llvm.smax.i64(i64, i64)")
    allocas = (
        "".join(
            f"\n  %p.{v} = alloca {t}"
            for v, t in (
                ("tb", "i8"),
                ("ta", "i8"),
                ("m", "i32"),
                ("n", "i32"),
                ("k", "i32"),
                ("lda", "i32"),
                ("ldb", "i32"),
                ("alpha", type_),
                ("beta", type_),
            )
        )
        if blas
        else ""
    )
    start = library or "\n  br label %loops"
    multiply = (
        f"%sum = call {type_} @llvm.fma.{'f64' if dtype.itemsize == 8 else 'f32'}({type_} %x, {type_} %y, {type_} %old)"
        if dtype.kind == "f"
        else f"%prod = {mul} {type_} %x, %y\n  %sum = {add} {type_} %old, %prod"
    )
    if dtype.kind == "f":
        module.declare(f"{type_} @llvm.fma.{'f64' if dtype.itemsize == 8 else 'f32'}({type_}, {type_}, {type_})")
    module.declare("void @llvm.memset.p0.i64(ptr, i8, i64, i1)", pure=False)
    strided = multiply
    for register in ("y", "old", "sum", "prod"):
        strided = strided.replace(f"%{register}", f"%s{register}")
    module.functions.append(f"""
define internal void @{name}({_PARAMETERS}) #1 {{
entry:{allocas}{start}
loops:
  %count = mul i64 %m, %n
  %bytes = mul i64 %count, {dtype.itemsize}
  call void @llvm.memset.p0.i64(ptr %c, i8 0, i64 %bytes, i1 false)
  %vector = icmp eq i64 %n, 1
  br label %i.head
i.head:
  %i = phi i64 [0, %loops], [%i.next, %i.latch]
  %i.more = icmp slt i64 %i, %m
  br i1 %i.more, label %i.body, label %exit
i.body:
  %row.a = mul i64 %i, %a.i
  %row.c = mul i64 %i, %n
  br i1 %vector, label %d.pre, label %k.head
d.pre:
  %at.dot = getelementptr inbounds {type_}, ptr %c, i64 %row.c
  br label %d.head
d.head:
  %dk = phi i64 [0, %d.pre], [%dk.next, %d.body]
  %dsum = phi {type_} [{zero}, %d.pre], [%dnew, %d.body]
  %d.more = icmp slt i64 %dk, %k
  br i1 %d.more, label %d.body, label %d.done
d.body:
  %dka = mul i64 %dk, %a.k
  %dia = add i64 %row.a, %dka
  %dpa = getelementptr inbounds {type_}, ptr %a, i64 %dia
  %dx = load {type_}, ptr %dpa
  %dkb = mul i64 %dk, %b.k
  %dpb = getelementptr inbounds {type_}, ptr %b, i64 %dkb
  %dy = load {type_}, ptr %dpb
  %dprod = {mul} {"contract " if dtype.kind == "f" else ""}{type_} %dx, %dy
  %dnew = {add} {"reassoc contract " if dtype.kind == "f" else ""}{type_} %dsum, %dprod
  %dk.next = add nuw nsw i64 %dk, 1
  br label %d.head
d.done:
  store {type_} %dsum, ptr %at.dot
  br label %i.latch
k.head:
  %l = phi i64 [0, %i.body], [%l.next, %k.latch]
  %k.more = icmp slt i64 %l, %k
  br i1 %k.more, label %k.body, label %i.latch
k.body:
  %ka = mul i64 %l, %a.k
  %ia = add i64 %row.a, %ka
  %pa = getelementptr inbounds {type_}, ptr %a, i64 %ia
  %x = load {type_}, ptr %pa
  %row.b = mul i64 %l, %b.k
  %unit = icmp eq i64 %b.j, 1
  br i1 %unit, label %j.head, label %s.head
j.head:
  %j = phi i64 [0, %k.body], [%j.next, %j.body]
  %j.more = icmp slt i64 %j, %n
  br i1 %j.more, label %j.body, label %k.latch
j.body:
  %ib = add i64 %row.b, %j
  %pb = getelementptr inbounds {type_}, ptr %b, i64 %ib
  %y = load {type_}, ptr %pb
  %ic = add i64 %row.c, %j
  %pc = getelementptr inbounds {type_}, ptr %c, i64 %ic
  %old = load {type_}, ptr %pc
  {multiply}
  store {type_} %sum, ptr %pc
  %j.next = add nuw nsw i64 %j, 1
  br label %j.head
s.head:
  %sj = phi i64 [0, %k.body], [%sj.next, %s.body]
  %s.more = icmp slt i64 %sj, %n
  br i1 %s.more, label %s.body, label %k.latch
s.body:
  %sjb = mul i64 %sj, %b.j
  %sib = add i64 %row.b, %sjb
  %spb = getelementptr inbounds {type_}, ptr %b, i64 %sib
  %sy = load {type_}, ptr %spb
  %sic = add i64 %row.c, %sj
  %spc = getelementptr inbounds {type_}, ptr %c, i64 %sic
  %sold = load {type_}, ptr %spc
  {strided}
  store {type_} %ssum, ptr %spc
  %sj.next = add nuw nsw i64 %sj, 1
  br label %s.head
k.latch:
  %l.next = add nuw nsw i64 %l, 1
  br label %k.head
i.latch:
  %i.next = add nuw nsw i64 %i, 1
  br label %i.head
exit:
  ret void
}}""")
    return name


def call_product(main: Body, module: Module, p: Product, number: int, blas: bool) -> None:
    dtype = p.c[0].dtype
    helper = product_helper(module, dtype, blas and dtype.kind == "f")
    loops = [f"p{number}_{k}" for k in range(len(p.batch))]
    previous = f"p{number}_start"
    main.do(f"br label %{previous}")
    main.label(previous)
    for tag, size in zip(loops, p.batch, strict=True):
        main.do(f"br label %{tag}.head")
        main.label(f"{tag}.head")
        main.do(f"%{tag} = phi i64 [0, %{previous}], [%{tag}.next, %{tag}.latch]")
        test = main.let(f"icmp slt i64 %{tag}, {main.size(size)}")
        main.do(f"br i1 {test}, label %{tag}.body, label %{tag}.exit")
        main.label(f"{tag}.body")
        previous = f"{tag}.body"

    def pointer(buffer: Buffer, address: Address) -> str:
        offset = main.size(address.constant)
        for v, step in address.terms:
            assert not isinstance(v, Ref)
            offset = main.let(f"add i64 {offset}, {main.let(f'mul i64 %{loops[v]}, {main.size(step)}')}")
        return main.let(f"getelementptr inbounds {memory_type(buffer.dtype)}, ptr %{buffer.name}, i64 {offset}")

    a, b, c = pointer(p.a[0], p.a[1]), pointer(p.b[0], p.b[1]), pointer(*p.c)
    numbers = [main.size(s) for s in (p.rows, p.columns, p.inner, p.a[2], p.a[3], p.b[2], p.b[3])]
    m, n, k, ai, ak, bk, bj = (f"i64 {number}" for number in numbers)
    main.do(f"call void @{helper}({m}, {n}, {k}, ptr {a}, {ai}, {ak}, ptr {b}, {bk}, {bj}, ptr {c})")
    for tag in reversed(loops):
        main.do(f"br label %{tag}.latch")
        main.label(f"{tag}.latch")
        main.do(f"%{tag}.next = add nuw nsw i64 %{tag}, 1")
        main.do(f"br label %{tag}.head")
        main.label(f"{tag}.exit")

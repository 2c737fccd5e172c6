"""The pool of memory for large results.

The system hands out large blocks page by page, at the first touch of each, which takes longer than most kernels need
to fill them. So blocks that are given back are kept for a while, by size, and used again. NumPy asks for them through
its own protocol of memory handlers, so arrays own their memory as ever, and may be resized.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

from compiler.runtime import capi
from compiler.runtime.builder import Function, Module, Value
from compiler.runtime.layout import LARGE

KEPT = 64
"""Blocks that are kept at most."""

LIMIT = 512 * 1024 * 1024
"""Bytes that are kept at most."""

PATIENCE = 256
"""Large allocations after which a block that none of them used goes back to the system."""

ALIGNMENT = 64
CAPACITY, RAW = -16, -8  # what stands before a block: its size, and where the system's block begins
COLOUR, COLOURS = 320, 8  # bytes by which blocks are shifted, and how often
HUGE = 4 * 1024 * 1024  # bytes from which Linux is asked for large pages, as NumPy does
ADVICE = 14  # MADV_HUGEPAGE

PROTOCOL = 1
FUNCTIONS = ("pool_malloc", "pool_calloc", "pool_realloc", "pool_free")


def write(m: Module) -> None:
    """The functions of a NumPy memory handler; they may be called without the interpreter's lock."""
    for name, result, *parameters in (
        ("malloc", "ptr", "i64"),
        ("free", "void", "ptr"),
        ("llvm.ctlz.i64", "i64", "i64", "i1"),
        ("llvm.memmove.p0.p0.i64", "void", "ptr", "ptr", "i64", "i1"),
        ("llvm.memcpy.p0.p0.i64", "void", "ptr", "ptr", "i64", "i1"),
        ("llvm.memset.p0.i64", "void", "ptr", "i8", "i64", "i1"),
    ):
        m.declare(result, name, *parameters)
    if os.name == "posix":
        m.declare("i32", "sched_yield")
    if sys.platform == "linux":
        m.declare("i32", "madvise", "ptr", "i64", "i32")
    for name in ("pool_lock", "pool_count", "pool_total", "pool_clock", "pool_colour"):
        m.variable(name, "i64")
    m.variable("pool_blocks", f"[{KEPT} x {{ ptr, i64, i64 }}]")  # a block, its size, when it came back; oldest first
    with m.function("void", "pool_enter") as f:
        lock = f.symbol("pool_lock")
        with f.forever():
            f.leave(lock.swap_if(0, 1))
            f.call("void", "pause")
            if os.name == "posix":
                f.call("i32", "sched_yield")
        f.give()
    with m.function("void", "pool_leave") as f:
        f.symbol("pool_lock").publish(0)
        f.give()
    _write_blocks(m)
    _write_handler(m)
    with m.function("i64", "pool_held") as f:
        f.give(f.symbol("pool_total").load())
    with m.function("void", "pool_drain") as f:
        with f.forever():
            f.call("void", "pool_enter")
            f.leave(f.symbol("pool_count").load().is_(0))
            block = f.call("ptr", "pool_take", 0)
            f.call("void", "pool_leave")
            f.call("void", "pool_return", block)
        f.call("void", "pool_leave")
        f.give()
    with m.function("void", "pool_reset") as f:
        # In a process that was forked while a thread held the lock, the list may be half changed: forget it.
        for name in ("pool_count", "pool_total", "pool_lock"):
            f.symbol(name).store(f.number(0))
        f.give()


def _write_blocks(m: Module) -> None:
    with m.function("i64", "pool_size", ("i64", "size"), attributes="alwaysinline") as f:
        # eight sizes between a power of two and the next: blocks fit many wishes, and waste little
        (size,) = f.parameters
        zeros = f.call("i64", "llvm.ctlz.i64", size | ALIGNMENT * 8, f.number(0, "i1"))
        step = f.number(1) << (f.number(60) - zeros)
        f.give((size + step - 1) & (f.number(0) - step))
    with m.function("ptr", "pool_new", ("i64", "size")) as f:
        (size,) = f.parameters
        raw = f.call("ptr", "malloc", size + (2 * ALIGNMENT + COLOURS * COLOUR))
        with f.when(raw.is_(0)):
            f.give(0)
        # The system's blocks all start alike within a page, and processors take equal places in pages for equal.
        colour = f.symbol("pool_colour").atomic("add", 1) & (COLOURS - 1)
        address = (raw.to("i64", "ptrtoint") + (2 * ALIGNMENT - 1) + colour * COLOUR) & -ALIGNMENT
        block = address.to("ptr", "inttoptr")
        block.store(size, CAPACITY)
        block.store(raw, RAW)
        if sys.platform == "linux":
            with f.when(size >= HUGE):
                page = (address + 4095) & -4096
                f.call("i32", "madvise", page.to("ptr", "inttoptr"), size - 4096, f.number(ADVICE, "i32"))
        f.give(block)
    with m.function("void", "pool_return", ("ptr", "block")) as f:
        (block,) = f.parameters
        with f.when(block.is_not(0)):
            f.call("void", "free", block.load("ptr", RAW))
        f.give()
    with m.function("ptr", "pool_take", ("i64", "index")) as f:
        # out of the list
        (index,) = f.parameters
        count, total = f.symbol("pool_count"), f.symbol("pool_total")
        entry = f.symbol("pool_blocks").at(index * 24)
        block = entry.load("ptr")
        total.store(total.load() - entry.load("i64", 8))
        left = count.load() - 1
        count.store(left)
        f.call("void", "llvm.memmove.p0.p0.i64", entry, entry.at(24), (left - index) * 24, f.number(0, "i1"))
        f.give(block)


def _find(f: Function, size: Value) -> Value:
    """The block of a size that came back last, which caches know best; it leaves the list."""
    found = f.variable("ptr", 0)
    k = f.variable("i64", f.symbol("pool_count").load())
    with f.forever():
        k.set(k.get() - 1)
        f.leave(k.get() < 0)
        entry = f.symbol("pool_blocks").at(k.get() * 24)
        same = entry.load("i64", 8).is_(size)
        with f.when(same):
            found.set(f.call("ptr", "pool_take", k.get()))
        f.leave(same)
    return found.get()


def _write_handler(m: Module) -> None:
    with m.function("ptr", "pool_malloc", ("ptr", "context"), ("i64", "wanted")) as f:
        _, wanted = f.parameters
        with f.when(wanted.to("i64", "bitcast") >= 1 << 62):
            f.give(0)
        size = f.call("i64", "pool_size", wanted)
        with f.when(size < LARGE):
            f.give(f.call("ptr", "pool_new", size))
        f.call("void", "pool_enter")
        clock = f.symbol("pool_clock")
        now = clock.load() + 1
        clock.store(now)
        found = _find(f, size)
        old = f.variable("ptr", 0)
        with f.when(f.symbol("pool_count").load() > 0):
            age = now - f.symbol("pool_blocks").load("i64", 16)
            with f.when(age > PATIENCE):
                old.set(f.call("ptr", "pool_take", 0))
        f.call("void", "pool_leave")
        f.call("void", "pool_return", old.get())
        with f.when(found.is_not(0)):
            f.give(found)
        fresh = f.call("ptr", "pool_new", size)
        with f.when(fresh.is_not(0)):
            f.give(fresh)
        f.call("void", "pool_drain")
        f.give(f.call("ptr", "pool_new", size))
    with m.function("ptr", "pool_calloc", ("ptr", "context"), ("i64", "count"), ("i64", "each")) as f:
        context, count, each = f.parameters
        size = count * each  # NumPy has checked the product
        block = f.call("ptr", "pool_malloc", context, size)
        with f.when(block.is_not(0)):
            f.call("void", "llvm.memset.p0.i64", block, f.number(0, "i8"), size, f.number(0, "i1"))
        f.give(block)
    with m.function("void", "pool_free", ("ptr", "context"), ("ptr", "block"), ("i64", "wanted")) as f:
        _, block, _ = f.parameters
        with f.when(block.is_(0)):
            f.give()
        size = block.load("i64", CAPACITY)
        with f.when(size >= LARGE):
            f.call("void", "pool_enter")
            count, total = f.symbol("pool_count"), f.symbol("pool_total")
            n, sum_ = count.load(), total.load() + size
            with f.when((n < KEPT) & (sum_ < LIMIT + 1)):
                entry = f.symbol("pool_blocks").at(n * 24)
                entry.store(block)
                entry.store(size, 8)
                entry.store(f.symbol("pool_clock").load(), 16)
                count.store(n + 1)
                total.store(sum_)
                f.call("void", "pool_leave")
                f.give()
            f.call("void", "pool_leave")
        f.call("void", "pool_return", block)
        f.give()
    with m.function("ptr", "pool_realloc", ("ptr", "context"), ("ptr", "block"), ("i64", "wanted")) as f:
        context, block, wanted = f.parameters
        with f.when(block.is_(0)):
            f.give(f.call("ptr", "pool_malloc", context, wanted))
        size = block.load("i64", CAPACITY)
        with f.when(size >= wanted):
            f.give(block)
        larger = f.call("ptr", "pool_malloc", context, wanted)
        with f.when(larger.is_not(0)):
            f.call("void", "llvm.memcpy.p0.p0.i64", larger, block, size, f.number(0, "i1"))
            f.call("void", "pool_free", context, block, size)
        f.give(larger)


class _Handler(ctypes.Structure):
    """NumPy's PyDataMem_Handler."""

    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        *((name, ctypes.c_void_p) for name in FUNCTIONS),
    )


def handler(addresses: dict[str, int]) -> Any:
    """The pool as NumPy takes it. Arrays may outlive everything, so it is never given back."""
    struct = capi.keep(_Handler(b"symgraph_pool", PROTOCOL, None, *(addresses[name] for name in FUNCTIONS)))
    name = capi.keep(ctypes.create_string_buffer(b"mem_handler"))
    new = capi.function("PyCapsule_New", ctypes.py_object, *[ctypes.c_void_p] * 3)
    return capi.keep(new(ctypes.addressof(struct), ctypes.addressof(name), None))

"""The pool of threads: ``parallel(body, closure, chunks)`` runs ``body(closure, k)`` for each chunk k.

The caller opens a job and works on it like everybody else; chunks are handed out one by one. Nobody waits for a thread
that has taken no chunk, so a thread that the system does not run costs nothing. Who finds the pool in use, from
another thread of Python or from inside a chunk, does all chunks itself.

Where there are as many threads as processors, each is bound to one of them (where the system lets it), and the one
whose processor the caller is on stays asleep: else the system, when all processors are busy, likes to put a woken
thread in the place of the very thread that woke it, and nothing is done side by side.

The ticket is one word: in its upper half the number of the job, in its lower half how many chunks are left to take.
A thread reads the ticket, then what the job is, and takes a chunk by changing the ticket from what it read. If that
succeeds, the job it read is the one that the chunk belongs to, for a job is only changed while no chunk is left.
"""

from __future__ import annotations

import os
import signal
import sys

from compiler.runtime.builder import Function, Module, Value

POSIX = os.name == "posix"

SPIN = 30_000
"""Nanoseconds for which a thread looks out for the next job before it sleeps."""

PROCESSORS = 1024
"""Processors of a system that threads may be bound to; as many as Linux has room for in its sets."""

BINDS = sys.platform == "linux"

MOST = 1024
"""Threads that may be asked for."""

MANY = 16
"""Chunks from which one of them is little of the whole."""

ROOM, CONDITION = 256, 64
"""Bytes for the system's own types (mutex, attributes, set of signals; condition); each is smaller."""

STACK = 8 * 1024 * 1024

_MONOTONIC = 6 if sys.platform == "darwin" else 1
_HALF = 0xFFFFFFFF


def cores() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processors() -> list[int]:
    """Those that threads may be bound to, one each."""
    return sorted(p for p in os.sched_getaffinity(0) if p < PROCESSORS) if BINDS else []


def default_count() -> int:
    """The number of threads where the user chose none: the processors, or fewer if NUMBA_NUM_THREADS says so."""
    wanted = os.environ.get("NUMBA_NUM_THREADS", "")
    most = cores()
    return min(int(wanted), most) if wanted.isdecimal() and int(wanted) > 0 else most


def write(m: Module) -> None:
    """The functions ``parallel``, ``threads_reset`` and what they need."""
    # Each stands in a cache line of its own: one thread's work on it does not slow the others.
    for name in ("threads_limit", "threads_spin", "ticket", "done", "busy", "started", "home"):
        m.variable(name, "[8 x i64]")
    # the processor that a thread is bound to, and the thread that is bound to a processor; each + 1, or 0 for none
    m.variable("processors", f"[{PROCESSORS} x i64]")
    m.variable("places", f"[{PROCESSORS} x i64]")
    m.variable("job", "{ ptr, ptr, i64, [5 x i64] }")
    _write_take(m)
    if POSIX:
        _write_workers(m)
    _write_parallel(m)


def _write_take(m: Module) -> None:
    with m.function("i64", "take", ("i64", "most")) as f:
        # work on the open job until no chunk is left, or so many are done; how many were
        (most,) = f.parameters
        ticket, job = f.symbol("ticket"), f.symbol("job")
        mine = f.variable("i64", 0)
        with f.forever():
            seen = ticket.look()
            left = seen & _HALF
            f.leave(left.is_(0) | mine.get().is_(most))
            body, closure = job.look("ptr", "acquire"), job.at(8).look("ptr", "acquire")
            chunks = job.at(16).look("i64", "acquire")
            with f.when(ticket.swap_if(seen, seen - 1)):
                f.call("void", body, closure, chunks - left)
                mine.set(mine.get() + 1)
        f.give(mine.get())


def _chosen(f: Function, index: Value) -> Value:
    """Whether the thread of this number works: as many do as are wanted, but for the one on the caller's processor."""
    limit, home = f.symbol("threads_limit").look(), f.symbol("home").look()
    turn = index - (index > home).to("i64", "zext")
    return index.is_not(home) & (turn < limit - 1)


def _may_work(f: Function, index: Value) -> Value:
    """Whether chunks are left for the thread of this number."""
    return (f.symbol("ticket").look() & _HALF).is_not(0) & _chosen(f, index)


def _wake(f: Function, index: Value) -> Value:
    """What the thread of this number waits for."""
    return f.symbol("wake").at(index * CONDITION)


def _write_workers(m: Module) -> None:
    for name, count in {
        "pthread_mutex_init": 2,
        "pthread_mutex_lock": 1,
        "pthread_mutex_unlock": 1,
        "pthread_cond_init": 2,
        "pthread_cond_wait": 2,
        "pthread_cond_signal": 1,
        "pthread_attr_init": 1,
        "pthread_attr_destroy": 1,
        "pthread_create": 4,
        "sigfillset": 1,
        "sched_yield": 0,
    }.items():
        m.declare("i32", name, *["ptr"] * count)
    m.declare("i32", "pthread_attr_setstacksize", "ptr", "i64")
    m.declare("i32", "pthread_attr_setdetachstate", "ptr", "i32")
    m.declare("i32", "pthread_sigmask", "i32", "ptr", "ptr")
    m.declare("i32", "clock_gettime", "i32", "ptr")
    if BINDS:
        m.declare("i32", "sched_getcpu")
        m.declare("i32", "sched_setaffinity", "i32", "i64", "ptr")
    m.variable("mutex", f"[{ROOM} x i8]")
    m.variable("wake", f"[{MOST * CONDITION} x i8]")
    m.variable("asleep", f"[{MOST} x i64]")
    with m.function("i64", "nanoseconds") as f:
        time = f.reserve("[2 x i64]")
        f.call("i32", "clock_gettime", f.number(_MONOTONIC, "i32"), time)
        f.give(time.load() * 1_000_000_000 + time.load("i64", 8))
    with m.function("ptr", "worker", ("ptr", "number")) as f:
        index = f.parameters[0].to("i64", "ptrtoint")
        if BINDS:
            processor = f.symbol("processors").item(index) - 1
            with f.when(processor >= 0):
                only = f.reserve(f"[{PROCESSORS // 8} x i8]")
                f.call("void", "llvm.memset.p0.i64", only, f.number(0, "i8"), PROCESSORS // 8, f.number(0, "i1"))
                only.set_item(processor >> 6, f.number(1) << (processor & 63))
                f.call("i32", "sched_setaffinity", f.number(0, "i32"), PROCESSORS // 8, only)
        mutex = f.symbol("mutex")
        asleep = f.symbol("asleep").at(index * 8)
        with f.forever():
            with f.when(_may_work(f, index)):
                mine = f.call("i64", "take", -1)
                f.symbol("done").atomic("add", mine)
            end = f.call("i64", "nanoseconds") + f.symbol("threads_spin").look()
            with f.forever():
                with f.count(f.number(64)):
                    f.leave(_may_work(f, index))
                    f.call("void", "pause")
                f.leave(_may_work(f, index) | (f.call("i64", "nanoseconds") >= end))
            with f.when(_may_work(f, index).is_(0)):
                # A caller opens its job first and then looks for sleepers, and a sleeper says so first and then
                # looks for a job: one of the two sees the other.
                f.call("i32", "pthread_mutex_lock", mutex)
                asleep.publish(1)
                with f.forever():
                    f.leave(_may_work(f, index))
                    f.call("i32", "pthread_cond_wait", _wake(f, index), mutex)
                asleep.publish(0)
                f.call("i32", "pthread_mutex_unlock", mutex)
    with m.function("void", "enlist", ("i64", "wanted"), attributes="noinline") as f:
        # Threads without signals: Python's handlers run in Python's threads. Where the system gives no more threads,
        # those that exist do the work.
        (wanted,) = f.parameters
        attributes, every, old = (f.reserve(f"[{ROOM} x i8]", 16) for _ in range(3))
        thread = f.reserve("i64")
        f.call("i32", "sigfillset", every)
        f.call("i32", "pthread_sigmask", f.number(int(signal.SIG_BLOCK), "i32"), every, old)
        f.call("i32", "pthread_attr_init", attributes)
        f.call("i32", "pthread_attr_setstacksize", attributes, STACK)
        detached = f.number(2 if sys.platform == "darwin" else 1, "i32")
        f.call("i32", "pthread_attr_setdetachstate", attributes, detached)
        started = f.symbol("started")
        with f.count(wanted, started.load()) as k:
            f.call("i32", "pthread_cond_init", _wake(f, k), f.null)
            f.call("i32", "pthread_create", thread, attributes, f.symbol("worker"), k.to("ptr", "inttoptr"))
        started.store(wanted)
        f.call("i32", "pthread_attr_destroy", attributes)
        f.call("i32", "pthread_sigmask", f.number(int(signal.SIG_SETMASK), "i32"), old, f.null)
        f.give()


def _write_parallel(m: Module) -> None:
    with m.function("void", "threads_set", ("i64", "limit"), ("i64", "spin")) as f:
        limit, spin = f.parameters
        f.symbol("threads_spin").publish(spin)
        f.symbol("threads_limit").publish(limit)
        f.give()
    with m.function("void", "threads_bind", ("i64", "index"), ("i64", "processor"), ("i64", "yes")) as f:
        # a thread that starts later runs on this processor, or on any
        index, processor, yes = f.parameters
        f.symbol("processors").set_item(index, (processor + 1) * yes)
        f.symbol("places").set_item(processor, (index + 1) * yes)
        f.give()
    with m.function("void", "threads_reset") as f:
        # at the start, and in a process that was forked: it has none of the threads
        if POSIX:
            f.call("i32", "pthread_mutex_init", f.symbol("mutex"), f.null)
        for name in ("ticket", "done", "busy", "started"):
            f.symbol(name).publish(0)
        asleep = f.symbol("asleep")
        f.call("void", "llvm.memset.p0.i64", asleep, f.number(0, "i8"), MOST * 8, f.number(0, "i1"))
        f.give()
    with m.function("void", "alone", ("ptr", "body"), ("ptr", "closure"), ("i64", "chunks")) as f:
        body, closure, chunks = f.parameters
        with f.count(chunks) as k:
            f.call("void", body, closure, k)
        f.give()
    with m.function("void", "parallel", ("ptr", "body"), ("ptr", "closure"), ("i64", "chunks")) as f:
        body, closure, chunks = f.parameters
        limit = f.symbol("threads_limit").look()
        busy = f.symbol("busy")
        if not POSIX:
            f.call("void", "alone", body, closure, chunks)
            f.give()
        with f.when((chunks < 2) | (limit < 2) | (chunks > 2**31 - 1)):
            f.call("void", "alone", body, closure, chunks)
            f.give()
        with f.when(busy.swap_if(0, 1).is_(0)):
            f.call("void", "alone", body, closure, chunks)
            f.give()
        if POSIX:
            with f.when(f.symbol("started").load() < limit):
                f.call("void", "enlist", limit)
            home = f.variable("i64", 0)
            if BINDS:
                processor = f.call("i32", "sched_getcpu").to("i64", "sext")
                with f.when((processor >= 0) & (processor < PROCESSORS)):
                    home.set(f.symbol("places").item(processor))
            with f.when(home.get().is_(0)):
                home.set(limit)
            f.symbol("home").publish(home.get() - 1)
            ticket, job, done = f.symbol("ticket"), f.symbol("job"), f.symbol("done")
            job.publish(body, "ptr", "release")
            job.at(8).publish(closure, "ptr", "release")
            job.at(16).publish(chunks, "i64", "release")
            done.publish(0)
            ticket.publish((((ticket.load() >> 32) + 1) << 32) | chunks)
            # To wake threads takes time. So of many chunks one is done first, and the threads are woken only if the
            # others would take longer than they might have looked out for them.
            mine, worth = f.variable("i64", 0), f.variable("i1", 1)
            with f.count(f.symbol("started").load()) as k:
                with f.when(f.symbol("asleep").at(k * 8).look().is_not(0) & _chosen(f, k)):
                    with f.when((chunks >= MANY) & mine.get().is_(0)):
                        start = f.call("i64", "nanoseconds")
                        mine.set(f.call("i64", "take", 1))
                        worth.set((f.call("i64", "nanoseconds") - start) * chunks > SPIN)
                    with f.when(worth.get()):
                        f.call("i32", "pthread_mutex_lock", f.symbol("mutex"))  # so that it waits by now
                        f.call("i32", "pthread_mutex_unlock", f.symbol("mutex"))
                        f.call("i32", "pthread_cond_signal", _wake(f, k))
                f.leave(worth.get().is_(0))
            done.atomic("add", mine.get() + f.call("i64", "take", -1))
            turns = f.variable("i64", 0)
            with f.forever():
                f.leave(done.look().is_(chunks))
                f.call("void", "pause")
                turns.set(turns.get() + 1)
                with f.when(turns.get() > 4000):  # a thread may wait for this core
                    f.call("i32", "sched_yield")
        busy.publish(0)
        f.give()

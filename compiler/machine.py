"""LLVM: from the text of a module to machine code in this process, or from an object kept on disk.

LLVM is used through llvmlite's binding alone, under one lock. Each piece of code is a library of its own, so names of
functions never clash, and it is freed with the last reference to it.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm

import symgraph
from compiler import behind, cache as disk

PIPELINE = 4
"""The version of what is done to a module; another one makes kernels on disk unknown."""

_LIBRARIES = 32
"""How many libraries an instance of the linker takes. It never forgets one (12 kB each), so it is left behind then, and
freed with the last of them."""

lock = threading.RLock()
"""Held while LLVM works. A process is forked while it is free, or the child could never compile."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)

compilations = 0
"""How many modules this process has compiled; those found on disk do not count."""


@cache
def _host() -> tuple[Any, str, str]:
    """The target, the name of this processor, and what it can do."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def processor() -> str:
    """The processor's name as LLVM has it, and which vector instructions it has."""
    _, name, features = _host()
    known = [f for f in ("sse2", "avx", "avx2", "fma", "avx512f", "neon", "sve") if f"+{f}" in features.split(",")]
    return f"{name} ({' '.join(known)})" if known else name


def vector_bytes() -> int:
    """The bytes of the widest vector that this processor computes with.

    >>> vector_bytes() in (16, 32, 64)
    True
    """
    features = set(_host()[2].split(","))
    return 64 if "+avx512f" in features else 32 if "+avx" in features else 16


_ELSEWHERE = os.name == "nt"
"""Whether LLVM's newer linker does not know the platform; the older one wants code that reaches any address."""


@cache
def _target(quick: bool) -> Any:
    target, cpu, features = _host()
    # the newer linker lays code and constants side by side, so they reach each other by short distances
    reloc, model = ("static", "jitdefault") if _ELSEWHERE else ("pic", "small")
    level = 0 if quick else 2
    return target.create_target_machine(cpu, features, opt=level, reloc=reloc, codemodel=model, jit=True)


def _optimise(module: Any, target: Any) -> None:
    """Run the passes. Modules come with vectors written out, common values shared and invariant ones outside of loops,
    so LLVM's own search for these would cost most of the time and find little."""
    builder = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=2))
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, builder)


def _compiled(text: str, quick: bool, emit: str) -> Any:
    """The module, optimised, in the form that the method `emit` of the target machine gives."""
    with lock, llvm.create_context() as context, llvm.parse_assembly(text, context) as module:
        module.verify()
        target = _target(quick)
        module.triple = target.triple
        module.data_layout = str(target.target_data)
        _optimise(module, target)
        return getattr(target, emit)(module)


def compile_object(text: str, *, quick: bool = False) -> bytes:
    """Compile a module.

    Args:
        text: LLVM IR.
        quick: translate instruction by instruction, several times as quick, into code that takes up to twice as long.

    Returns:
        bytes: object code for this machine.

    Raises:
        RuntimeError: the text is no valid LLVM IR.

    >>> len(compile_object("define i64 @seven() { ret i64 7 }")) > 0
    True
    """
    global compilations
    code: bytes = _compiled(text, quick, "emit_object")
    compilations += 1
    return code


def assembly(text: str, *, quick: bool = False) -> str:
    """The machine code of a module as text; arguments and exceptions are those of `compile_object`.

    >>> "seven" in assembly("define i64 @seven() { ret i64 7 }")
    True
    """
    code: str = _compiled(text, quick, "emit_assembly")
    return code


class _Linker:
    """An instance of LLVM's just-in-time linker, which lives as long as what it linked."""

    current: _Linker | None = None

    def __init__(self) -> None:
        self.engine = llvm.create_lljit_compiler(_target(False), use_jit_link=not _ELSEWHERE, suppress_errors=True)
        self.libraries = 0

    @classmethod
    def link(cls, code: bytes, exports: list[str], symbols: Mapping[str, int]) -> tuple[_Linker, Any]:
        """A new library, and the linker that must outlive it."""
        self = cls.current
        if self is None or self.libraries == _LIBRARIES:
            self = cls.current = _Linker()
        self.libraries += 1
        builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process()
        for name, address in symbols.items():
            builder.import_symbol(name, address)
        for name in exports:
            builder.export_symbol(name)
        return self, builder.link(self.engine, f"library{self.libraries}")


_DEFINED = re.compile(r"\ndefine (?!internal |private |linkonce)[^@\n]*@([\w.$-]+)\(")


class Code:
    """Machine code in this process; it is freed with the last reference to this object.

    >>> import ctypes
    >>> code = load("define i64 @seven() { ret i64 7 }")
    >>> ctypes.CFUNCTYPE(ctypes.c_int64)(code.address("seven"))()
    7

    Attributes:
        size: the bytes of its object code.
        found: whether that was found on disk.
    """

    def __init__(self, code: bytes, text: str, symbols: Mapping[str, int], found: bool) -> None:
        self.size, self.found = len(code), found
        with lock:
            self._linker, self._library = _Linker.link(code, _DEFINED.findall(f"\n{text}"), symbols)

    def address(self, name: str) -> int:
        """Where a function starts that the module's text defines and does not keep internal.

        Raises:
            KeyError: there is none of this name.
        """
        address: int = self._library[name]
        return address

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        # at the end of the process a thread that is gone may hold the lock, and all is freed anyway
        if not ending() and hasattr(self, "_library"):
            with lock:
                self._library.close()
                del self._library, self._linker


def _key(text: str, quick: bool) -> bytes:
    """A digest of all that object code depends on."""
    target, cpu, features = _host()
    facts = (PIPELINE, quick, target.triple, sys.maxsize, cpu, features)
    versions = (symgraph.__version__, llvmlite.__version__, llvm.llvm_version_info)
    return hashlib.sha256(f"{facts} {versions}\n{text}".encode()).digest()


def found(text: str, symbols: Mapping[str, int] | None = None, *, quick: bool = False) -> Code | None:
    """The machine code of a module from the cache on disk, if it is there; arguments are those of `load`."""
    code = disk.get(_key(text, quick))
    return None if code is None else Code(code, text, symbols or {}, True)


def made(text: str, symbols: Mapping[str, int] | None = None, *, quick: bool = False, keep: bool = True) -> Code:
    """The machine code of a module, compiled, and kept on disk if wanted; arguments are those of `load`."""
    code = compile_object(text, quick=quick)
    if keep:
        disk.put(_key(text, quick), code)
    return Code(code, text, symbols or {}, False)


def load(text: str, symbols: Mapping[str, int] | None = None, *, quick: bool = False) -> Code:
    """The machine code of a module: from the cache on disk, else compiled and kept there.

    Args:
        text: LLVM IR. It may use the functions of the C library and of the library for mathematics.
        symbols: the addresses of other functions that it uses. They are no part of what is kept on disk.
        quick: translate instruction by instruction, several times as quick, into code that takes up to twice as long.

    Raises:
        RuntimeError: the text is no valid LLVM IR, or it uses a function that is not there.
    """
    return found(text, symbols, quick=quick) or made(text, symbols, quick=quick)


_FIRST = """
define internal double @double(double %x) noinline {
  %high = fcmp ogt double %x, 1.0
  br i1 %high, label %same, label %other
same:
  ret double %x
other:
  %twice = call double @llvm.fma.f64(double %x, double 2.0, double 0.0)
  ret double %twice
}
define void @first(ptr %p, i64 %n) {
  %last = alloca double
  br label %head
head:
  %k = phi i64 [0, %0], [%next, %body]
  %more = icmp slt i64 %k, %n
  br i1 %more, label %body, label %done
body:
  %at = getelementptr inbounds double, ptr %p, i64 %k
  %x = load double, ptr %at
  %y = call double @double(double %x)
  store double %y, ptr %at
  store double %y, ptr %last
  %next = add nsw i64 %k, 1
  br label %head
done:
  ret void
}
declare double @llvm.fma.f64(double, double, double)
"""
"""A module with a bit of everything."""


def _bring_up() -> None:
    """Compile and link something: what LLVM does but once takes as long as a small kernel."""
    with lock:
        for quick in (False, True):
            Code(_compiled(_FIRST, quick, "emit_object"), _FIRST, {}, False)


behind.later(_bring_up)  # while the rest of the compiler is imported

"""Interning: one object for equal parts, so that comparing formulas, types and shapes is comparing addresses.

Nodes, types and unknown shapes are made by the hundred thousand, so the common case, a part that is there already, is
one look into a dict. The dict holds its objects weakly: what no formula uses any more is forgotten.
"""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_lock = threading.RLock()
"""Held while an entry is replaced or removed; reentrant, because any line may drop the last use of something."""

if hasattr(os, "register_at_fork"):  # a child must not inherit a lock that another thread of its parent holds
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class Held(weakref.ref[T]):
    """A weak reference that knows its key."""

    __slots__ = ("key",)
    key: Hashable


class Table(Generic[T]):
    """The objects of one class by the parts they are made of.

    Attributes:
        refs: what is there; ``refs.get(key)`` called gives the object, or None where it was dropped just now.
    """

    __slots__ = ("_forget", "refs")

    def __init__(self) -> None:
        refs: dict[Any, Held[T]] = {}

        def forget(held: Held[T]) -> None:
            with _lock:
                if refs.get(held.key) is held:
                    del refs[held.key]

        self.refs, self._forget = refs, forget

    def __len__(self) -> int:
        return len(self.refs)

    def get(self, key: Hashable) -> T | None:
        """The object with these parts, or None."""
        held = self.refs.get(key)
        return None if held is None else held()

    def add(self, key: Hashable, made: T) -> T:
        """Enter an object; where another thread was quicker, its object is the one."""
        held = Held(made, self._forget)
        held.key = key
        there = self.refs.setdefault(key, held)  # one step, so it needs no lock
        if there is held:
            return made
        with _lock:
            first = self.get(key)
            if first is not None:
                return first
            self.refs[key] = held
        return made


@contextmanager
def collection_paused() -> Iterator[None]:
    """Without the garbage collector: whoever makes many nodes that live would wait for it to look through them over
    and over."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()

"""Loads that may miss: which steps of a loop over vectors lie in all ranges that it asks for, so that they ask no more.

A guard is a comparison that tells whether a step of the loop has a place within a length, as whether an element has a
neighbour. The loop is written for the steps at its ends, where guards are vectors of truths, and for those between,
where all are true.
"""

from __future__ import annotations

import numpy as np

from compiler.emit_access import Access, counting
from compiler.emit_scalar import Body, memory_type, wide
from compiler.program import Address, Const, Load, Loop, Position, Primitive, SizeOf
from compiler.vectors import is_computed, step_of


def guards_of(loop: Loop) -> dict[int, tuple[Address, int]]:
    """The statements of a loop over vectors that tell which steps lie in a range: the place in it, and its length."""
    made = {s.result: s for s in loop.body if isinstance(s, Load | Const | SizeOf | Position | Primitive)}
    found: dict[int, tuple[Address, int]] = {}
    for s in made.values():
        if not isinstance(s, Primitive) or s.name != "lt" or s.args[1] in made:
            continue
        number = made.get(s.args[0])
        if isinstance(number, Primitive) and number.name == "cast" and number.dtype == np.uint64:
            at = made.get(number.args[0])
            if isinstance(at, Position) and step_of(at.address, loop.variable) == 1 and not is_computed(at.address):
                found[s.result] = at.address, s.args[1]
    return found


class Guarded(Access):
    """What a region's function asks of guards."""

    def __init__(self, body: Body, across: bool) -> None:
        super().__init__(body, across)
        self.guards: dict[int, tuple[Address, int]] = {}  # of the loop over vectors
        self.inside = False  # whether all are true where the writer is

    def _smaller(self, a: str, b: str) -> str:
        self.body.module.declare("i64 @llvm.smin.i64(i64, i64)")
        return f"call i64 @llvm.smin.i64(i64 {a}, i64 {b})"

    def _whole(self, low: str, high: str, lanes: int) -> str:
        """Where the steps end that are as many as there are lanes."""
        body = self.body
        self.body.module.declare("i64 @llvm.smax.i64(i64, i64)")
        rows = body.let(f"sub nsw i64 {high}, {low}")
        rows = body.let(f"call i64 @llvm.smax.i64(i64 {rows}, i64 0)")
        return body.let(f"add nsw i64 {low}, {body.let(f'and i64 {rows}, {-lanes}')}")

    def _inner(self, loop: Loop, low: str, high: str) -> tuple[str, str]:
        """Between which steps of a loop over vectors all lanes lie in all ranges; from `low` on in whole vectors."""
        body = self.body
        self.body.module.declare("i64 @llvm.smax.i64(i64, i64)")
        self.index[loop.variable] = "0"
        start, end = low, high
        for address, length in self.guards.values():
            before = self._offset(address)[0]
            first = body.let(f"sub nsw i64 0, {before}")
            start = body.let(f"call i64 @llvm.smax.i64(i64 {start}, i64 {first})")
            end = body.let(self._smaller(end, body.let(f"sub nsw i64 {self.values[length]}, {before}")))
        ahead = body.let(f"add nsw i64 {body.let(f'sub nsw i64 {start}, {low}')}, {loop.lanes - 1}")
        start = body.let(f"add nsw i64 {low}, {body.let(f'and i64 {ahead}, {-loop.lanes}')}")
        start = body.let(self._smaller(start, high))
        return start, self._whole(start, end, loop.lanes)

    def _within(self, number: int) -> None:
        """Which lanes lie in a range: from a lane on, and below another."""
        if self.inside:
            self._set(number, "true", 1)
            return
        assert self.vector is not None
        body, lanes = self.body, self.vector.lanes
        address, length = self.guards[number]
        at = self._offset(address)[0]
        self.body.module.declare("i64 @llvm.smax.i64(i64, i64)")
        truths = []
        for end, order in (("0", "sge"), (self.values[length], "slt")):
            lane = body.let(f"sub nsw i64 {end}, {at}")
            lane = body.let(f"call i64 @llvm.smax.i64(i64 {body.let(self._smaller(lane, str(lanes)))}, i64 0)")
            bound = body.splat(body.let(f"trunc i64 {lane} to i32"), "i32", lanes)
            truths.append(body.let(f"icmp {order} <{lanes} x i32> {counting(lanes, 'i32')}, {bound}"))
        self._set(number, body.let(f"and <{lanes} x i1> {truths[0]}, {truths[1]}"), lanes)

    def _load_lanes(self, s: Load, offset: str, mask: str | None) -> str:
        """Neighbours; of those that a guard tells about, mostly all are there."""
        assert self.vector is not None
        if s.mask is None or s.mask not in self.guards or self.inside or self.vector.mask is not None:
            return super()._load_lanes(s, offset, mask)
        body, lanes = self.body, self.vector.lanes
        address, length = self.guards[s.mask]
        at = self._offset(address)[0]
        last = body.let(f"icmp sle i64 {body.let(f'add nsw i64 {at}, {lanes}')}, {self.values[length]}")
        every = body.let(f"and i1 {body.let(f'icmp sge i64 {at}, 0')}, {last}")
        tag = body.new()[1:]
        body.do(f"br i1 {every}, label %{tag}.all, label %{tag}.some")
        body.label(f"{tag}.all")
        read = super()._load_lanes(s, offset, None)
        body.do(f"br label %{tag}.done")
        body.label(f"{tag}.some")
        part = super()._load_lanes(s, offset, mask)
        body.do(f"br label %{tag}.done")
        body.label(f"{tag}.done")
        return body.let(f"phi {wide(memory_type(s.buffer.dtype), lanes)} [{read}, %{tag}.all], [{part}, %{tag}.some]")

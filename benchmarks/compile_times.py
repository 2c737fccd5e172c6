"""Seconds until a chain of operations and its gradient have been compiled and called, in a new process each time."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import measure, report
from benchmarks.competitors import Competitor
from benchmarks.processes import Answer, ask, fresh_settings
from benchmarks.setting import chosen, install_hint, say, setting, write

SIZES = (10, 100, 1_000, 10_000, 100_000)
TRIES = 3
COMPILERS = ("symgraph compiled", "JAX", "PyTensor", "heyoka", "CasADi")
WELL = "symgraph, made well at once"
"""The row for first answers that do not come from kernels made quickly."""


def run(args: argparse.Namespace, argv: Sequence[str]) -> int:
    """A table for floats and one for arrays."""
    found, missing = chosen(args.peers)
    competitors = [c for c in found if c.name in COMPILERS]
    install_hint([c for c in missing if c.name in COMPILERS])
    load = os.getloadavg()[0]
    data: dict[str, Any] = {"sizes": args.sizes, "tables": []}
    for elements in args.elements:
        table = {"elements": elements, "competitors": {}}
        data["tables"].append(table)
        rows: list[tuple[str, Competitor, dict[str, str]]] = [(c.name, c, {}) for c in competitors]
        rows.insert(1, (WELL, competitors[0], {"SYMGRAPH_QUICK_FIRST": "0"}))
        for name, competitor, settings in rows:
            table["competitors"][name] = chains(competitor, elements, args, settings)
            whole = {**setting(competitors, argv, load), **data}
            write(args, "compile", whole, report.compile_markdown(whole))
    say("")
    print(report.compile_markdown({**setting(competitors, argv, load), **data}))
    return 0


def chains(
    competitor: Competitor, elements: int, args: argparse.Namespace, settings: Mapping[str, str]
) -> dict[str, Any]:
    """A competitor's row; beyond the limit it is not asked for longer chains."""
    cells, reason = {}, ""
    for size in args.sizes:
        cell: dict[str, Any] = {"note": reason and "–", "seconds": None, "peak": None, "grown": None}
        if not reason:
            say(f"{competitor.name}: {size:,} operations")
            answer = quickest(competitor, size, elements, args.limit, settings)
            reason = answer.reason
            cell |= {"note": reason} if reason else answer.result._asdict()
        cells[str(size)] = cell
    return cells


def quickest(competitor: Competitor, size: int, elements: int, limit: float, settings: Mapping[str, str]) -> Answer:
    """The best of some processes, as a busy machine slows each by another amount; of one, if it takes long."""
    best = Answer(None)
    for _ in range(TRIES):
        with fresh_settings(**settings):  # what an earlier process left in a cache would help
            answer = ask(measure.cold, (size, elements, competitor.name), limit, lambda name: None)
        if answer.result is None:
            return answer if best.result is None else best
        if best.result is None or answer.result.seconds < best.result.seconds:
            best = answer
        if best.result.seconds > limit / 10:
            break
    return best

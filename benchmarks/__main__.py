"""The command line: ``python -m benchmarks``; ``compile``, ``memory``, ``loops``, ``training``, ``readme`` after it."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import compile_times, limits, loops, measure, memory, report, training
from benchmarks.competitors import Competitor
from benchmarks.limits import COSTS, Speeds, limit
from benchmarks.processes import ask, fresh_settings
from benchmarks.setting import chosen, install_hint, say, setting, write
from benchmarks.workloads import WORKLOADS, Workload

TOLERANCE = {"float64": 1e-9, "float32": 1e-3}


def one_row(workload: Workload, competitors: list[Competitor], args: argparse.Namespace, dtype: str) -> dict[str, Any]:
    """Measure a row, as often as it takes to get past competitors that hang or crash."""
    title, remaining = workload.title, [c.name for c in competitors]
    failures: dict[str, str] = {}
    found = measure.Row({}, 0, 0)
    while remaining:
        answer = ask(
            measure.row,
            (title, remaining, args.quick, dtype, args.seconds),
            args.limit,
            lambda name: say(f"{title}: {name}"),
        )
        if answer.result is not None:
            found = answer.result
            break
        if answer.at not in remaining:  # it did not come as far as the first
            failures |= dict.fromkeys(remaining, f"{answer.reason}, at {answer.at}")
            break
        failures[answer.at] = answer.reason
        remaining.remove(answer.at)
    results = {}
    for c in competitors:
        result = found.results.get(c.name, measure.Result(failure=failures.get(c.name, "")))
        results[c.name] = asdict(result)
    for c in competitors:
        results[c.name]["break_even"] = report.break_even(results, c.eager, c.name)
    return {"title": title, "main": workload.main == dtype, "results": results, **bound(workload, found, args, dtype)}


def bound(workload: Workload, found: measure.Row, args: argparse.Namespace, dtype: str) -> dict[str, Any]:
    """What a row moves and computes, and what that allows; nothing for rows that are a call in Python."""
    if workload.flops is None:
        return {"limit": None, "bound": "", "flops": None, "read": found.read, "written": found.written}
    flops = workload.flops(COSTS[dtype], *(workload.quick_size if args.quick else workload.size))
    seconds, what = limit(args.speeds, flops, dtype, found.read, found.written)
    return {"limit": seconds, "bound": what, "flops": flops, "read": found.read, "written": found.written}


def rows(args: argparse.Namespace, argv: Sequence[str]) -> int:
    """The tables of workloads; 1 where results disagree."""
    competitors, missing = chosen(args.peers)
    install_hint(missing)
    found = [w for w in WORKLOADS if re.search(args.rows, w.title, re.IGNORECASE) and (w.main or not args.main)]
    if not found:
        every = "\n  ".join(w.title for w in WORKLOADS)
        raise SystemExit(f"benchmarks: no row matches {args.rows!r}; there are:\n  {every}")
    load = os.getloadavg()[0]
    answer = ask(limits.measure, (args.quick,), args.limit, say)
    if answer.result is None:
        raise SystemExit(f"benchmarks: the machine's speeds could not be measured: {answer.reason}, at {answer.at}")
    args.speeds = answer.result
    data: dict[str, Any] = {"columns": [c.name for c in competitors], "quick": args.quick, "tables": []}
    data["speeds"] = Speeds(*args.speeds)._asdict()
    for dtype in args.dtype:
        table: dict[str, Any] = {"dtype": dtype, "rows": []}
        data["tables"].append(table)
        for workload in found:
            if not workload.size and dtype != "float64":
                continue  # Python's floats have one precision
            table["rows"].append(one_row(workload, competitors, args, dtype))
            say("")
            whole = {**setting(competitors, argv, load), **data}
            write(args, "results", whole, report.markdown(whole))
            (args.out / "results.svg").write_text(report.svg(whole), encoding="utf-8")
    print(report.markdown({**setting(competitors, argv, load), **data}))
    wrong = problems(data)
    for problem in wrong:
        print(problem, file=sys.stderr)
    return int(bool(wrong))


def problems(data: dict[str, Any]) -> list[str]:
    """Results that differ from the reference, and failures of our own; a peer's failures are its own."""
    found = []
    for table in data["tables"]:
        for row in table["rows"]:
            for name, result in row["results"].items():
                error = result["difference"]
                if error is not None and not error <= TOLERANCE[table["dtype"]]:
                    found.append(f"{row['title']}, {table['dtype']}: {name} differs from the reference by {error:.1e}")
                elif result["failure"] and name in report.OWN:
                    found.append(f"{row['title']}, {table['dtype']}: {name}: {result['failure']}")
    return found


def readme(args: argparse.Namespace, argv: Sequence[str]) -> int:
    """The README's table, from the numbers of a run."""
    file = args.json or args.out / "results.json"
    if not file.exists():
        raise SystemExit(f"benchmarks: there is no {file}: run `python -m benchmarks --json {file}` first")
    print(report.compact(json.loads(file.read_text(encoding="utf-8"))), end="")
    return 0


def of_dtypes(text: str) -> list[str]:
    """The dtypes of a list with commas."""
    names = text.split(",")
    if unknown := [name for name in names if name not in TOLERANCE]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(TOLERANCE)}")
    return names


def numbers(text: str) -> list[int]:
    """The integers of a list with commas."""
    return [int(n) for n in text.split(",")]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 1 where results disagree."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.set_defaults(run=rows)
    parser.add_argument("--rows", default="", metavar="PATTERN", help="only rows whose title matches")
    parser.add_argument("--main", action="store_true", help="only rows of the README's table")
    parser.add_argument("--quick", action="store_true", help="a trial run on tiny sizes; its times mean nothing")
    parser.add_argument(
        "--dtype", type=of_dtypes, default=list(TOLERANCE), metavar="NAME,...", help="of the arrays (default: both)"
    )
    parser.add_argument(
        "--seconds", type=float, default=0.4, help="that each competitor is timed for, at least; more on a busy machine"
    )
    commands = parser.add_subparsers()
    chains = commands.add_parser("compile", help="seconds to compile chains of operations")
    chains.set_defaults(run=compile_times.run)
    chains.add_argument(
        "--sizes", type=numbers, default=list(compile_times.SIZES), metavar="N,N,...", help="lengths of the chains"
    )
    chains.add_argument(
        "--elements", type=numbers, default=[0, 1000], metavar="N,...", help="of arrays; 0 for Python's floats"
    )
    bytes_held = commands.add_parser("memory", help="the most memory that a call holds")
    bytes_held.set_defaults(run=memory.run)
    bytes_held.add_argument("--rows", default="", metavar="PATTERN", help="only rows whose title matches")
    bytes_held.add_argument("--quick", action="store_true", help="a trial run on tiny sizes")
    in_loops = commands.add_parser("loops", help="loops inside compiled functions")
    in_loops.set_defaults(run=loops.run)
    in_loops.add_argument("--seconds", type=float, default=1.0, help="that each library is timed for, at least")
    trained = commands.add_parser("training", help="steps of networks, and trainings")
    trained.set_defaults(run=training.run)
    trained.add_argument("--rows", default="", metavar="PATTERN", help="only rows whose title matches")
    trained.add_argument("--quick", action="store_true", help="a trial run on tiny sizes; its times mean nothing")
    trained.add_argument("--seconds", type=float, default=0.4, help="that each competitor is timed for, at least")
    printed = commands.add_parser("readme", help="the README's table, from the numbers of a run")
    printed.set_defaults(run=readme)
    for one, seconds in (
        (parser, 120.0),
        (chains, 60.0),
        (bytes_held, 120.0),
        (in_loops, 120.0),
        (trained, 120.0),
        (printed, 0.0),
    ):
        one.add_argument("--out", type=Path, default=Path("build/benchmarks"), metavar="DIR", help="where files go")
        one.add_argument("--json", type=Path, metavar="FILE", help="the numbers: a file to write, or to read")
        if one is not printed:
            one.add_argument("--peers", metavar="NAME,...", help="only these, or none (default: all installed)")
            one.add_argument("--limit", type=float, default=seconds, metavar="SECONDS", help="for each competitor")
    args = parser.parse_args(argv)
    with fresh_settings():
        status: int = args.run(args, argv)
    return status


if __name__ == "__main__":
    sys.exit(main())

"""The command line: ``python -m benchmarks`` and ``python -m benchmarks compile``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks import measure, report
from benchmarks.competitors import COMPETITORS, Competitor
from benchmarks.processes import ask
from benchmarks.workloads import WORKLOADS

TOLERANCE = {"float64": 1e-9, "float32": 1e-3}
SIZES = (10, 100, 1_000, 10_000, 100_000)
COMPILERS = ("symgraph compiled", "JAX", "PyTensor", "heyoka", "CasADi")


def chosen(peers: str | None) -> tuple[list[Competitor], list[Competitor]]:
    """Those that take part, and those asked for that are not installed.

    Raises:
        SystemExit: there is no peer of a name.
    """
    keys = [c.key for c in COMPETITORS if c.key]
    wanted = keys if peers is None else [key for key in peers.split(",") if key not in ("", "none")]
    if unknown := [key for key in wanted if key not in keys]:
        raise SystemExit(f"benchmarks: there is no peer {unknown[0]!r}; there are {', '.join(keys)}, or none")
    found = [c for c in COMPETITORS if not c.key or c.key in wanted]
    return [c for c in found if not c.missing()], [c for c in found if c.missing()]


def say(text: str) -> None:
    """Progress, on one line that is written over."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def processor() -> str:
    """The processor's name where the system tells it, and what Python runs on."""
    name = platform.processor() or platform.machine()
    if (information := Path("/proc/cpuinfo")).exists():
        found = re.search(r"^model name\s*:\s*(.+)$", information.read_text(), re.MULTILINE)
        name = found.group(1) if found else name
    return f"{name}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def versions(competitors: list[Competitor]) -> dict[str, str]:
    """Of the packages that took part."""
    packages = ["numpy", "numba", "llvmlite", "scipy", *(c.install for c in competitors if c.install)]
    found = {}
    for package in dict.fromkeys(packages):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # SciPy is not needed
            continue
    return found


def setting(competitors: list[Competitor], argv: Sequence[str], load: float) -> dict[str, Any]:
    """What every report holds about where its numbers come from."""
    return {
        "command": " ".join(["python -m benchmarks", *argv]),
        "machine": processor(),
        "versions": versions(competitors),
        "load": (load, os.getloadavg()[0]),
    }


def install_hint(missing: list[Competitor]) -> None:
    """One line for all that could take part."""
    if missing:
        print(f"not installed: pip install {' '.join(dict.fromkeys(c.install for c in missing))}", file=sys.stderr)


def one_row(title: str, competitors: list[Competitor], args: argparse.Namespace) -> dict[str, Any]:
    """Measure a row, as often as it takes to get past competitors that hang or crash."""
    remaining = [c.name for c in competitors]
    failures: dict[str, str] = {}
    found: dict[str, measure.Result] = {}
    while remaining:
        answer = ask(
            measure.row, (title, remaining, args.quick, args.dtype), args.limit, lambda name: say(f"{title}: {name}")
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
        result = found.get(c.name, measure.Result(failure=failures.get(c.name, "")))
        results[c.name] = asdict(result)
    for c in competitors:
        results[c.name]["break_even"] = report.break_even(results, c.eager, c.name)
    return {"title": title, "results": results}


def rows(args: argparse.Namespace, argv: Sequence[str]) -> int:
    """The table of workloads; 1 where results disagree."""
    competitors, missing = chosen(args.peers)
    install_hint(missing)
    titles = [w.title for w in WORKLOADS if re.search(args.rows, w.title, re.IGNORECASE)]
    if not titles:
        every = "\n  ".join(w.title for w in WORKLOADS)
        raise SystemExit(f"benchmarks: no row matches {args.rows!r}; there are:\n  {every}")
    load = os.getloadavg()[0]
    names = [c.name for c in competitors]
    data: dict[str, Any] = {"columns": names, "dtype": args.dtype, "quick": args.quick, "rows": []}
    for title in titles:
        data["rows"].append(one_row(title, competitors, args))
        say("")
        write(args.out, "results", {**setting(competitors, argv, load), **data})
    print(report.markdown({**setting(competitors, argv, load), **data}))
    found = problems(data)
    for problem in found:
        print(problem, file=sys.stderr)
    return int(bool(found))


def problems(data: dict[str, Any]) -> list[str]:
    """Results that differ from the reference, and failures of our own; a peer's failures are its own."""
    found = []
    for row in data["rows"]:
        for name, result in row["results"].items():
            error = result["difference"]
            if error is not None and not error <= TOLERANCE[data["dtype"]]:
                found.append(f"{row['title']}: {name} differs from the reference by {error:.1e}")
            elif result["failure"] and name in report.OWN:
                found.append(f"{row['title']}: {name}: {result['failure']}")
    return found


def write(out: Path, name: str, data: dict[str, Any]) -> None:
    """JSON, Markdown, and bars."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / f"{name}.md").write_text(report.markdown(data), encoding="utf-8")
    (out / f"{name}.svg").write_text(report.svg(data), encoding="utf-8")


def compile_times(args: argparse.Namespace, argv: Sequence[str]) -> int:
    """The table of chains; a competitor beyond the limit is not asked for longer ones."""
    found, missing = chosen(args.peers)
    competitors = [c for c in found if c.name in COMPILERS]
    install_hint([c for c in missing if c.name in COMPILERS])
    load = os.getloadavg()[0]
    data: dict[str, Any] = {"sizes": args.sizes, "elements": args.elements, "competitors": {}}
    for competitor in competitors:
        cells = data["competitors"][competitor.name] = {}
        reason = ""
        for size in args.sizes:
            cell: dict[str, Any] = {"note": reason and "–", "seconds": None, "peak": None, "grown": None}
            if not reason:
                say(f"{competitor.name}: {size:,} operations")
                answer = ask(measure.cold, (size, args.elements, competitor.name), args.limit, lambda name: None)
                reason = answer.reason
                cell |= {"note": reason} if reason else answer.result._asdict()
            cells[str(size)] = cell
    say("")
    data = {**setting(competitors, argv, load), **data}
    text = report.compile_markdown(data)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "compile.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (args.out / "compile.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 1 where results disagree."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.set_defaults(run=rows)
    parser.add_argument("--rows", default="", metavar="PATTERN", help="only rows whose title matches")
    parser.add_argument("--quick", action="store_true", help="a trial run on tiny sizes; its times mean nothing")
    parser.add_argument("--dtype", choices=list(TOLERANCE), default="float64", help="of the arrays")
    chains = parser.add_subparsers().add_parser("compile", help="seconds to compile chains of operations")
    chains.set_defaults(run=compile_times)
    chains.add_argument(
        "--sizes", type=lambda text: [int(n) for n in text.split(",")], default=list(SIZES), metavar="N,N,...",
        help="lengths of the chains",
    )  # fmt: skip
    chains.add_argument("--elements", type=int, default=0, metavar="N", help="of arrays, instead of floats")
    for one in (parser, chains):
        one.add_argument("--peers", metavar="NAME,...", help="only these peers; none for none (default: all installed)")
        one.add_argument("--limit", type=float, default=300.0, metavar="SECONDS", help="for each process")
        one.add_argument("--out", type=Path, default=Path("build/benchmarks"), metavar="DIR", help="where the files go")
    args = parser.parse_args(argv)
    status: int = args.run(args, argv)
    return status


if __name__ == "__main__":
    sys.exit(main())

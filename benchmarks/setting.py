"""Where numbers come from: who takes part, on which machine, with which versions, and where reports go."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from benchmarks.competitors import COMPETITORS, Competitor
from benchmarks.limits import processor, vector_bits


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


def machine() -> str:
    """The processor, and what Python runs on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{processor()}, {cores} cores, {vector_bits()}-bit vectors, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


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
        "machine": machine(),
        "versions": versions(competitors),
        "load": (load, os.getloadavg()[0]),
    }


def install_hint(missing: list[Competitor]) -> None:
    """One line for all that could take part."""
    if missing:
        print(f"not installed: pip install {' '.join(dict.fromkeys(c.install for c in missing))}", file=sys.stderr)


def write(args: argparse.Namespace, name: str, data: dict[str, Any], text: str) -> None:
    """JSON and Markdown into the folder for reports, and JSON to where it was asked for."""
    numbers = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"{name}.json").write_text(numbers, encoding="utf-8")
    (args.out / f"{name}.md").write_text(text, encoding="utf-8")
    if args.json:
        args.json.write_text(numbers, encoding="utf-8")

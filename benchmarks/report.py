"""What was measured, as a table in Markdown and as bars in SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

Data = dict[str, Any]
OURS = "symgraph compiled"
OWN = (OURS, "symgraph eager", "NumPy", "Numba by hand")
"""Ours, and programs that someone wrote for a row, gradient and all; the others are peers."""


def significant(number: float) -> str:
    """Three digits.

    >>> significant(0.01234), significant(9.876), significant(1234.5)
    ('0.0123', '9.88', '1,230')
    """
    if not number or not math.isfinite(number):
        return f"{number:g}"
    places = 2 - math.floor(math.log10(abs(number)))
    return f"{round(number, places):,.{max(0, places)}f}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown whose columns line up as text too."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(header))]

    def written(line: Sequence[str]) -> str:
        cells = (c.ljust(w) if not k else c.rjust(w) for k, (c, w) in enumerate(zip(line, widths, strict=True)))
        return f"| {' | '.join(cells)} |"

    rule = "|".join("-" * (w + 2) if not k else "-" * (w + 1) + ":" for k, w in enumerate(widths))
    return "\n".join([written(lines[0]), f"|{rule}|", *map(written, lines[1:])])


def best_peer(results: Data) -> tuple[str, float] | None:
    """The fastest of the others, and its seconds."""
    peers = [(r["seconds"], name) for name, r in results.items() if name not in OWN and r["seconds"] is not None]
    return (min(peers)[1], min(peers)[0]) if peers else None


def _cells(data: Data, table: Data, field: str, write: Callable[[float], str]) -> list[list[str]]:
    return [
        [row["title"], *("" if (x := row["results"][name][field]) is None else write(x) for name in data["columns"])]
        for row in table["rows"]
    ]


def _speed(data: Data, rows: Sequence[Data]) -> list[list[str]]:
    """Microseconds per call, the fastest standing out; how much slower the best peer is; how near the limit we are."""
    lines = []
    for row in rows:
        results = row["results"]
        seconds = {name: results[name]["seconds"] for name in data["columns"]}
        fastest = min((s for s in seconds.values() if s is not None), default=None)
        cells = ["" if s is None else significant(s * 1e6) for s in seconds.values()]
        cells = [f"**{c}**" if s == fastest and c else c for c, s in zip(cells, seconds.values(), strict=True)]
        lines.append([row["title"], *cells, *_standing(row)])
    return lines


def _standing(row: Data) -> list[str]:
    """Best peer / symgraph, the limit, and symgraph / limit."""
    peer, ours, limit = best_peer(row["results"]), row["results"][OURS]["seconds"], row["limit"]
    return [
        f"{significant(peer[1] / ours)} ({peer[0]})" if peer and ours else "",
        f"{significant(limit * 1e6)} ({row['bound']})" if limit else "",
        significant(ours / limit) if limit and ours else "",
    ]


def mean_ratio(rows: Sequence[Data], of: str = "") -> float | None:
    """The geometric mean of a competitor's time over symgraph's, by default of each row's best peer."""
    ratios = []
    for row in rows:
        best, ours = best_peer(row["results"]), row["results"][OURS]["seconds"]
        other = row["results"].get(of, {"seconds": None})["seconds"] if of else best and best[1]
        if other and ours:
            ratios.append(other / ours)
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def means(rows: Sequence[Data]) -> str:
    """A sentence with the geometric means."""
    found = {"the best peer": mean_ratio(rows), "JAX": mean_ratio(rows, "JAX")}
    parts = [f"{name} / symgraph {significant(mean)}" for name, mean in found.items() if mean]
    return f"Geometric means over the {len(rows)} rows: {', '.join(parts)}." if parts else ""


def break_even(results: Data, eager: str, name: str) -> float | None:
    """After how many calls compiling has paid; infinite where a compiled call is no faster; None where nothing was."""
    mine, other = results[name], results.get(eager, {"seconds": None})
    if mine["compile_seconds"] is None or mine["seconds"] is None or other["seconds"] is None:
        return None
    saved = other["seconds"] - mine["seconds"]
    return math.ceil(mine["compile_seconds"] / saved) if saved > 0 else math.inf


def machine(data: Data) -> str:
    """Where and how it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    return (
        f"`{data['command']}` on {data['machine']}, load {data['load'][0]:.1f} before and {data['load'][1]:.1f} after; "
        f"{versions}."
    )


def speeds(data: Data) -> str:
    """What the limits are made of."""
    found = data["speeds"]
    sizes, peak = found["sizes"], found["peak"]
    curve = ", ".join(
        f"{size / 2**20:.3g} MB {read / 1e9:.0f} / {triad / 1e9:.0f}"
        for size, read, triad in zip(sizes, found["reading"], found["triad"], strict=True)
        if size >= 2**21 or size == sizes[0]
    )
    flops = ", ".join(f"{name} {speed / 1e9:.0f}" for name, speed in peak.items())
    return f"Measured on all cores: GB/s reading / triad at {curve}; multiply-adds, GFLOP/s: {flops}."


def markdown(data: Data) -> str:
    """The whole report."""
    names = data["columns"]
    parts = ["A trial run on tiny sizes: these times mean nothing.\n"] if data["quick"] else []
    for one in data["tables"]:
        notes = [
            f"- {row['title']}: {name}: {result['failure']}"
            for row in one["rows"]
            for name, result in row["results"].items()
            if result["failure"]
        ]
        standing = ["best peer / symgraph", "limit, µs", "symgraph / limit"]
        parts += [
            f"# {one['dtype']}\n\n## Time per call, µs\n",
            table(["", *names, *standing], _speed(data, one["rows"])),
            f"\n{means(one['rows'])}\n\n## Compile time, s\n",
            table(["", *names], _cells(data, one, "compile_seconds", significant)),
            "\n## Calls after which compiling has paid\n",
            table(
                ["", *names], _cells(data, one, "break_even", lambda n: f"{n:,.0f}" if math.isfinite(n) else "never")
            ),
            "\n## Largest relative difference from the reference\n",
            table(["", *names], _cells(data, one, "difference", lambda x: f"{x:.0e}")),
            *(["\n## What did not work\n", *notes] if notes else []),
            "",
        ]
    return "\n".join([*parts, speeds(data), "", machine(data), ""])


def compact(data: Data) -> str:
    """The README's table: the main rows, each in its dtype, beside JAX and the best peer."""
    rows = [row for one in data["tables"] for row in one["rows"] if row["main"]]
    dtypes = {id(row): one["dtype"] for one in data["tables"] for row in one["rows"]}
    lines = []
    for row in rows:
        results = row["results"]
        peer, jax, ours = best_peer(results), results.get("JAX", {"seconds": None})["seconds"], results[OURS]["seconds"]
        title = row["title"] if dtypes[id(row)] == "float64" else f"{row['title']}, {dtypes[id(row)]}"
        times = [significant(s * 1e6) if s else "" for s in (ours, row["limit"], jax, peer and peer[1])]
        ratio = significant(peer[1] / ours) if peer and ours else ""
        lines.append([title, *times[:3], f"{times[3]} ({peer[0]})" if peer else "", ratio])
    header = ["µs per call", "symgraph", "limit", "JAX", "best peer", "best peer / symgraph"]
    return "\n".join([table(header, lines), "", means(rows), "", machine(data), ""])


COLOURS = {OURS: "#1b6ca8", "symgraph eager": "#7fb3d5", "NumPy": "#8d8d8d"}
PEER_COLOUR = "#d9a441"


def svg(data: Data) -> str:
    """Bars on a logarithmic scale: one group per row, one bar per competitor, shorter is faster."""
    width, label, bar, gap = 900, 330, 11, 14
    groups = [
        (
            f"{row['title']}, {one['dtype']}",
            [(n, s) for n in data["columns"] if (s := row["results"][n]["seconds"]) is not None],
        )
        for one in data["tables"]
        for row in one["rows"]
    ]
    times = [s for _, bars in groups for _, s in bars] or [1e-6, 1e-3]
    low, high = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
    span = max(1, high - low)

    def position(seconds: float) -> float:
        return label + (width - label - 70) * (math.log10(seconds) - low) / span

    y = 46.0
    lines = []
    for title, bars in groups:
        lines.append(f'<text x="4" y="{y + bar - 2:.0f}" font-weight="bold">{escape(title)}</text>')
        y += bar + 4
        for name, seconds in bars:
            end, colour = position(seconds), COLOURS.get(name, PEER_COLOUR)
            lines.append(
                f'<text x="{label - 6}" y="{y + bar - 2:.0f}" text-anchor="end">{escape(name)}</text>'
                f'<rect x="{label}" y="{y:.0f}" width="{max(1.0, end - label):.1f}" height="{bar - 1}" '
                f'fill="{colour}"/>'
                f'<text x="{max(end, label + 1) + 4:.1f}" y="{y + bar - 2:.0f}">{significant(seconds * 1e6)}</text>'
            )
            y += bar
        y += gap
    ticks = [
        f'<line x1="{position(10.0**k):.1f}" y1="30" x2="{position(10.0**k):.1f}" y2="{y:.0f}" stroke="#ddd"/>'
        f'<text x="{position(10.0**k):.1f}" y="26" text-anchor="middle">{significant(10.0 ** (k + 6))}</text>'
        for k in range(low, high + 1)
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y:.0f}" viewBox="0 0 {width} {y:.0f}" '
            f'font-family="sans-serif" font-size="10">',
            f'<rect width="{width}" height="{y:.0f}" fill="white"/>',
            f'<text x="4" y="12" font-size="12">µs per call, logarithmic; shorter is faster</text>',  # noqa: F541
            *ticks,
            *lines,
            "</svg>\n",
        ]
    )


def compile_markdown(data: Data) -> str:
    """The tables of compile times."""

    def cell(found: Data) -> str:
        return found["note"] or f"{significant(found['seconds'])} s, {found['peak']:,.0f} MB"

    sizes, parts = data["sizes"], []
    for one in data["tables"]:
        what = f"arrays of {one['elements']:,}" if one["elements"] else "floats"
        rows = [[name, *(cell(by_size[str(n)]) for n in sizes)] for name, by_size in one["competitors"].items()]
        parts += [table([f"operations on {what}", *(f"{n:,}" for n in sizes)], rows), ""]
    return "\n".join([*parts, machine(data), ""])


def memory_markdown(data: Data) -> str:
    """The table of memory."""

    def cell(found: Data | None, ends: int) -> str:
        if found is None or found["peak"] is None:
            return found["failure"] if found else ""
        return f"{found['peak'] / 1e6:,.1f} ({found['peak'] / ends:.2f})"

    names = data["columns"]
    rows = [
        [row["title"], f"{row['ends'] / 1e6:,.1f}", *(cell(row["results"].get(n), row["ends"]) for n in names)]
        for row in data["rows"]
    ]
    header = ["MB at the peak (times inputs and outputs)", "inputs and outputs", *names]
    return "\n".join([table(header, rows), "", machine(data), ""])

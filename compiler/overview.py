"""A compiled function at a glance: what became of its formula, what its steps cost, and whether they were on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from compiler import cache
from compiler.account import Cost, account
from compiler.graph import Graph
from compiler.pictures import title_of
from compiler.program import Block, Control, Note, Product, Region, Step, picoseconds, walk
from compiler.threads import get_num_threads
from compiler.words import count, in_bytes, in_time, line_of
from symgraph import dims
from symgraph.dims import Size
from symgraph.expr import format_expr

if TYPE_CHECKING:
    from compiler.function import Function
    from compiler.variant import Variant


def overview(function: Function) -> str:
    """The text that ``print(f)`` shows: arguments, results, and the kernels compiled so far."""
    lines = [f"compiled function {function.signature}"]
    lines += [f"  {format_expr(output, 100)}{line_of(output)}" for output in function.outputs[:10]]
    if len(function.outputs) > 10:
        lines.append(f"  ... and {len(function.outputs) - 10} more")
    made = [
        (way.what, variant)
        for (way, _), kernels in list(function.dispatch.kernels.items())
        for variant in list(kernels.variants.values())
    ]
    lines.append(f"{count(len(made), 'kernel')}" + ("" if made else ": the first call compiles one"))
    for what, variant in made:
        spent = account(variant.program, variant.copied)
        types = ", ".join(f"{n.name}: {n.type}" for n in variant.typed.inputs)
        lines.append(
            f"  {what} for ({types}): {count(len(variant.program.steps), 'step')}, moves {spent.moved} bytes, "
            f"{spent.flops} flops"
        )
    return "\n".join(lines)


def stations(variant: Variant) -> list[str]:
    """What the formula went through."""
    lines = ["  stations"]
    for step in variant.steps:
        changes = f", {count(len(step.rewrites), 'rewrite')}" if step.rewrites else ""
        lines.append(f"    {step.name}: {count(len(Graph(step.outputs)), 'node')}{changes}")
    program, text = variant.program, variant.kernel.llvm_ir
    lines.append(f"    scheduled: {count(len(program.steps), 'step')}, {count(program.statements, 'statement')}")
    lines.append(f"    LLVM IR: {count(text.count(chr(10)), 'line')}")
    lines.append(f"    machine code: {in_bytes(variant.kernel.code.size)}")
    return lines


def kept(variant: Variant) -> list[str]:
    """Whether the machine code was on disk."""
    info = cache.info()
    if info.folder is None or not info.used:
        return ["  cache: compiled by this process; nothing is kept"]
    how = "found" if variant.kernel.code.found else "compiled by this process, and kept"
    return [f"  cache: {how} in {info.folder}: {count(info.kernels, 'kernel')}, {in_bytes(info.size)}"]


# -- costs -------------------------------------------------------------------------------------------------------------


def estimate(step: Step, sizes: Mapping[str, int], threads: int) -> float:
    """About how many picoseconds a step takes, its chunks shared by threads."""
    at_once = min(threads, dims.evaluate(step.chunks, sizes)) if isinstance(step, Region | Block) else 1
    return dims.evaluate(picoseconds(step), sizes) / max(at_once, 1)


def title(step: Step) -> str:
    """What a step is, and what it computes."""
    if isinstance(step, Product):
        return f"matrix product: {format_expr(step.node, 50)}{line_of(step.node)}"
    if isinstance(step, Control):
        return f"{title_of(step)}{line_of(step.node)}"
    return f"{'without loops' if step.size is None else f'region of {step.size} rows'}{_lines(step)}"


def _lines(region: Region) -> str:
    """The lines of what a region computes."""
    places: dict[str, None] = {}
    for item in walk(region.items):
        if isinstance(item, Note) and item.node.origin is not None:
            places.setdefault(item.node.origin.where)
    shown = list(places)
    return f": {', '.join(shown[:4])}{', ...' if len(shown) > 4 else ''}" if shown else ""


def costs(variant: Variant) -> list[str]:
    """Bytes, operations, and the estimated and measured time of each step."""
    sizes = variant.known_sizes
    spent = account(variant.program, variant.copied)
    threads = get_num_threads()
    lines = ["  cost" + ("" if not sizes else f" for {', '.join(f'{k} = {v}' for k, v in sorted(sizes.items()))}")]
    seconds = variant.measured[0] if variant.measured and variant.measured[1] == sizes else None
    for number, (step, cost) in enumerate(zip(variant.program.steps, spent.steps, strict=True)):
        lines.append(f"    step {number + 1}, {title(step)}")
        if sizes is None:
            lines.append(f"      {cost.moved} bytes, {cost.flops} flops")
        else:
            time = None if seconds is None else seconds[number]
            lines.append(f"      {_numbers(cost, estimate(step, sizes, threads), sizes, time)}")
    if sizes is None:
        lines.append("    in numbers after a call")
    elif seconds is None:
        lines.append("    measured after profile(...)")
    return lines


def _numbers(cost: Cost, estimated: float, sizes: Mapping[str, int], seconds: float | None) -> str:
    def value(size: Size) -> int:
        return dims.evaluate(size, sizes)

    moved, flops = value(cost.moved), value(cost.flops)
    parts = [in_bytes(moved), f"{flops:,} flops"]
    if moved:
        parts.append(f"{flops / moved:.3g} flops a byte")
    if estimated:
        parts.append(f"estimated {in_time(estimated)}")
    if seconds is not None:
        parts.append(f"measured {in_time(seconds * 1e12)}")
    return ", ".join(parts)

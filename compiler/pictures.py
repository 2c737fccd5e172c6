"""A compiled function as a View: before and after optimisation, forward and backward, with the kernels it became."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from compiler.account import account
from compiler.dispatch import BOTH, GRAD, VALUE
from compiler.layout import shape_of
from compiler.program import Block, Buffer, Choose, Note, Product, Region, Repeat, Step, picoseconds, walk
from symgraph import dims
from symgraph.dims import Size
from symgraph.expr import Expr
from symgraph.frames import beside
from symgraph.pictures import wants_saved, write
from symgraph.tree import LEAF
from symgraph.view import Kernel, Output, View, numbered

if TYPE_CHECKING:
    from compiler.function import Function
    from compiler.variant import Variant

STAGES = ("before", "after", "sides", "backward", "joint")


def optimised(variant: Variant) -> tuple[Expr, ...]:
    """The outputs after the last rewriting pass, before copies are laid out."""
    return variant.steps[-2].outputs


def view(function: Function, stage: str, saved: bool = False) -> View:
    """What a picture of one stage shows; see :meth:`compiler.function.Function.to_dot`.

    Args:
        function: the compiled function.
        stage: one of `STAGES`.
        saved: find out what each operation's gradient needs.

    Raises:
        ValueError: there is no stage of that name.
    """
    if stage == "before":
        return _before(function, saved)
    if stage in ("after", "sides"):
        variants = function.variants()
        after = _after(function, *next((v for v in variants if v[0] == VALUE), variants[0]), saved)
        return (
            after
            if stage == "after"
            else beside([("before optimisation", _before(function, saved)), ("after optimisation", after)])
        )
    if stage in ("backward", "joint"):
        joint = _after(function, BOTH, function.variant_with_grad(), saved)
        return joint if stage == "joint" else _needed(joint, joint.outputs[len(function.outputs) :])
    raise ValueError(f"there is no stage {stage!r:.80}; the stages are {', '.join(STAGES)}")


def to_dot(function: Function, stage: str, verbose: bool, preset: str, **options: Any) -> str:
    """DOT text of one stage; see :meth:`compiler.function.Function.to_dot`."""
    if stage == "joint" and preset == "dezero":
        options = {"frame": "role", **options}
    return write(view(function, stage, wants_saved(preset, options)), preset, verbose, **options)


def _before(function: Function, saved: bool) -> View:
    found = numbered(function.outputs, saved=saved)[0]
    return replace(found, outputs=_labelled(found.outputs, paths(function.structure)))


def _after(function: Function, what: str, variant: Variant, saved: bool) -> View:
    outputs, labels = optimised(variant), paths(function.structure)
    count = 0 if what == GRAD else len(labels)
    found, places = numbered(outputs[:count], outputs[count:], saved=saved)
    found.kernels = _kernels(variant, sizes_of(function, variant))
    for number, step in enumerate(variant.program.steps):
        for node in computed(step):
            if node in places:
                made = found.nodes[places[node][0]]
                made.kernel = number if made.kernel is None else made.kernel
    # What no step computes, such as a view, belongs to its first user, or to what it shows.
    arguments = found.arguments()
    for made in reversed(found.nodes):
        for edge in arguments[made.id]:
            tail = found.nodes[edge.tail]
            if tail.kernel is None and not tail.leaf:
                tail.kernel = made.kernel
    for made in found.nodes:
        for edge in arguments[made.id]:
            made.kernel = found.nodes[edge.tail].kernel if made.kernel is None else made.kernel
    if what != VALUE:
        floating = {n.name for n in variant.typed.inputs if n.type.dtype is not None and n.type.dtype.kind == "f"}
        wanted = function.inputs if function.wrt is None else function.wrt
        labels[count:] = [f"gradient of {n.name}" for n in wanted if n.name in floating]
    found.outputs = _labelled(found.outputs, labels)
    return found


def paths(structure: Any) -> list[str]:
    """How each result is reached in what the function returns: "" for the only one, else such as ``["loss"][0]``."""
    found: list[str] = []
    stack = [("", structure)]
    while stack:
        path, part = stack.pop()
        if part is LEAF:
            found.append(path)
        elif isinstance(part, dict):
            stack += [(f"{path}[{key!r}]", inner) for key, inner in reversed(part.items())]
        else:
            stack += [(f"{path}[{k}]", inner) for k, inner in reversed(list(enumerate(part)))]
    return found


def _labelled(outputs: list[Output], labels: list[str]) -> list[Output]:
    return [replace(output, label=label) for output, label in zip(outputs, labels, strict=True)]


def computed(step: Step) -> Iterable[Expr]:
    """The nodes that a step computes, some of them more than once."""
    if isinstance(step, Region):
        return [s.node for s in walk(step.items) if isinstance(s, Note)]
    return [node for s in step.body.steps for node in computed(s)] if isinstance(step, Block) else [step.node]


def sizes_of(function: Function, variant: Variant) -> Mapping[str, int] | None:
    """The sizes of the last call with arguments of these types, or those that no call can change."""
    if all(isinstance(size, int) for n in variant.typed.inputs for size in shape_of(n)):
        return {}
    alike = (v for _, v in function.variants() if v.typed.inputs == variant.typed.inputs)
    return next((v.latest for v in (variant, *alike) if v.latest is not None), None)


def _kernels(variant: Variant, sizes: Mapping[str, int] | None) -> list[Kernel]:
    program = variant.program

    def known(size: Size) -> int | None:
        return size if isinstance(size, int) else None if sizes is None else dims.evaluate(size, sizes)

    costs = account(program, variant.copied).steps
    seconds = variant.measured[0] if variant.measured is not None else [None] * len(costs)
    return [
        Kernel(title_of(step), known(cost.flops), known(cost.moved), known(picoseconds(step)), time)
        for step, cost, time in zip(program.steps, costs, seconds, strict=True)
    ]


def title_of(step: Step) -> str:
    """What a step is, in short."""
    if isinstance(step, Product):
        return "product of " + " × ".join(str(size) for size in (step.rows, step.inner, step.columns))
    if isinstance(step, Block):
        return ", ".join(map(title_of, step.body.steps))
    if isinstance(step, Repeat):
        return "loop" if step.trips is None or isinstance(step.trips, Buffer) else f"loop of {step.trips} rounds"
    if isinstance(step, Choose):
        return f"one of {len(step.bodies)} branches"
    return "numbers" if step.size is None else f"loops over {step.size}"


def _needed(whole: View, outputs: list[Output]) -> View:
    """The part of a view that some of its outputs need."""
    arguments = whole.arguments()
    wanted = {output.node for output in outputs}
    for node in reversed(whole.nodes):
        if node.id in wanted:
            wanted.update(edge.tail for edge in arguments[node.id])
    place = {old: new for new, old in enumerate(sorted(wanted))}
    return replace(
        whole,
        nodes=[replace(whole.nodes[old], id=new) for old, new in place.items()],
        edges=[replace(e, tail=place[e.tail], head=place[e.head]) for e in whole.edges if e.head in place],
        outputs=[replace(output, node=place[output.node]) for output in outputs],
    )

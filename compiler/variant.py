"""Variants: what a graph becomes for one combination of dtypes, ranks and axes of size 1, and how that is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from compiler import kernel
from compiler.arguments import SUPPORTED
from compiler.graph import Graph
from compiler.layout import lay_out, memory_base, shape_of
from compiler.passes import Step, optimise
from compiler.program import Buffer, Program
from compiler.schedule import Scheduler
from compiler.specialise import ArgumentType, Requirement, Typed, specialise
from symgraph import dims
from symgraph.dims import Size
from symgraph.errors import CompileError, DTypeError, SymgraphError
from symgraph.expr import Expr, as_expr, format_expr, to_table
from symgraph.interning import collection_paused
from symgraph.ops import elementwise as ew

Run = Callable[[list[Any]], list[Any]]
"""From converted arguments to results."""


class Variant:
    """One kernel, and what it was made from.

    Attributes:
        typed: the graph with the types of the arguments.
        steps: what each pass did.
        program: the loops.
        kernel: machine code.
    """

    def __init__(self, typed: Typed, steps: list[Step], program: Program, built: kernel.Kernel, outputs: list[Expr]):
        self.typed, self.steps, self.program, self.kernel = typed, steps, program, built
        self.sizes = built.sizes
        self._shapes, self._run = _runner(program, built, outputs)

    def failed(self, sizes: Mapping[str, int]) -> Requirement | None:
        """The first requirement that these sizes do not meet."""
        return next((r for r in self.typed.requirements if not r.holds(sizes)), None)

    def bind(self, sizes: Mapping[str, int]) -> Run:
        """The function from arguments to results, for arguments of these sizes."""
        numbers = np.array([dims.evaluate(s, sizes) for s in self.sizes], np.int64)
        shapes = [tuple(dims.evaluate(s, sizes) for s in shape) for shape in self._shapes]
        return partial(self._run, numbers, shapes)


def returned_as_numbers(outputs: Sequence[Expr]) -> list[Expr]:
    """The values in memory, of one element, that the kernel returns instead of writing them into an array."""
    return list(dict.fromkeys(memory_base(o) for o in outputs if shape_of(o) == ()))


def _runner(program: Program, built: kernel.Kernel, outputs: Sequence[Expr]) -> tuple[list[tuple[Size, ...]], Any]:
    """A Python function ``run(sizes, shapes, arguments)`` that makes arrays, calls the kernel and hands out results;
    and the shapes it wants. Its text holds names of its own only.
    """
    numbers = returned_as_numbers(outputs)
    arrays = list(dict.fromkeys(b for b in map(memory_base, outputs) if b not in numbers))
    shapes = [*map(shape_of, arrays), *map(shape_of, outputs)]
    arguments = [f"x{k}" for k in range(len(program.inputs))]
    scope: dict[str, Any] = {
        "empty": np.empty,
        "full": np.full,
        "entry": built.entry,
        "fail": _raise_status,
        "errors": program.errors,
    }
    lines = ["def run(sizes, shapes, arguments):"]
    if arguments:
        lines.append(f"    [{', '.join(arguments)}] = arguments")
    for k, (_, value) in enumerate(program.constants):
        scope[f"c{k}"] = value
        arguments.append(f"c{k}")
    results: dict[Expr, str] = {}
    for k, base in enumerate(arrays):
        scope[f"d{k}"] = base.type.dtype
        lines.append(f"    o{k} = empty(shapes[{k}], d{k})")
        arguments.append(f"o{k}")
        results[base] = f"o{k}"
    lines.append(f"    r = entry({', '.join([*arguments, 'sizes'])})")
    lines.append("    if r[0]: fail(r[0], errors)")
    for k, base in enumerate(numbers):
        assert base.type.dtype is not None
        scope[f"t{k}"] = base.type.dtype.type
        results[base] = f"t{k}(r[{k + 1}])"
    given: set[Expr] = set()
    parts = []
    for k, (output, base) in enumerate(zip(outputs, map(memory_base, outputs), strict=True), len(arrays)):
        text = results[base]
        if base in numbers:
            if shape_of(output):
                text = f"full(shapes[{k}], {text})"
        else:
            if shape_of(output) != shape_of(base):
                text += f".reshape(shapes[{k}])"
            if base in given:  # results never share memory
                text += ".copy()"
        given.add(base)
        parts.append(text)
    lines.append(f"    return [{', '.join(parts)}]")
    exec("\n".join(lines), scope)
    return shapes, scope["run"]


def _raise_status(status: int, errors: Sequence[tuple[type[Exception], str]]) -> None:
    if status < 0:
        raise MemoryError("no memory for the intermediate values of a compiled function")
    kind, text = errors[status - 1]
    raise kind(text)


@collection_paused()
def compile_variant(
    outputs: Sequence[Expr],
    inputs: Sequence[Expr],
    arguments: Mapping[str, ArgumentType],
    targets: Sequence[Expr] = (),
    *,
    values: bool = True,
    fma: bool,
    verify: bool,
) -> Variant:
    """Types, passes, schedule and machine code of a graph.

    Args:
        outputs: expressions; the last of them are gradients, where there are `targets`.
        inputs: the placeholders, in the order of the kernel's arguments.
        arguments: a type for each placeholder's name.
        targets: the inputs that the gradients belong to.
        values: compute also what is no gradient; else it is only checked, so that gradients exist where values do.
        fma: fuse multiplications and additions.
        verify: check the graph after every pass.

    Raises:
        SymgraphError: the graph does not fit the arguments, or needs a dtype that kernels lack; at the user's line.
        CompileError: the compiler failed; its attribute `table` holds the graph.
    """
    typed = specialise(outputs, inputs, arguments)
    count = len(outputs) - len(targets)
    grads = _in_dtypes_of(typed.outputs[count:], [typed.inputs[inputs.index(target)] for target in targets])
    wanted = (*typed.outputs[:count], *grads) if values else tuple(grads)
    if wanted != typed.outputs:
        typed = replace(typed, graph=Graph(wanted))
    nodes = typed.graph.order
    refused = {kind for kind in {node.type for node in nodes} if kind.dtype not in SUPPORTED}
    for node in nodes if refused else ():
        if node.type in refused:
            where = f"\n  at {node.origin.file}:{node.origin.line}: {node.origin.text}" if node.origin else ""
            types = ", ".join(str(a.type.dtype) for a in node.args)
            raise DTypeError(
                f"{node.op.name} of {types} is {node.type.dtype}, as in NumPy; kernels compute in bool, integers, "
                f"float32 and float64: convert with .astype('float64') first{where}"
            )
    try:
        steps: list[Step] = [Step("typed", typed.outputs, ())]
        final = optimise(typed.graph, fma=fma, after=steps.append)
        laid = lay_out(final)
        steps.append(Step("lay out", tuple(laid), ()))
        if verify:
            for step in steps:
                Graph(step.outputs).verify()
        scheduler = Scheduler(typed.inputs, laid)
        program = scheduler.run()
        bases = [*typed.inputs, *map(memory_base, laid)]
        ranks: dict[Buffer, int] = {scheduler.buffers[n]: len(shape_of(n)) for n in bases}
        numbers = [scheduler.buffers[n] for n in returned_as_numbers(laid)]
        return Variant(typed, steps, program, kernel.build(program, ranks, numbers), laid)
    except SymgraphError:
        raise
    except Exception as error:
        raise _failure(error, typed) from error


def _in_dtypes_of(grads: Sequence[Expr], targets: Sequence[Expr]) -> list[Expr]:
    """Gradients in the dtypes of what they belong to, which are known only once types are."""
    cast = []
    for grad, target in zip(grads, targets, strict=True):
        dtype = target.type.dtype
        assert dtype is not None
        cast.append(grad if grad.type.dtype == dtype else as_expr(ew.cast(grad, dtype=dtype.str)))
    return cast


def _failure(error: Exception, typed: Typed) -> CompileError:
    formulas = "\n".join(f"  {format_expr(o)}" for o in typed.outputs[:10])
    types = ", ".join(f"{n.name}: {n.type}" for n in typed.inputs)
    failure = CompileError(
        f"compiling failed with {type(error).__name__}: {error}\n{formulas}\n  for ({types})\n"
        f"this is a fault of the compiler; .table of this exception holds the graph, for symgraph.expr.from_table"
    )
    failure.table = to_table(typed.outputs)
    return failure

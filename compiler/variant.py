"""Variants: what a graph becomes for one combination of dtypes, ranks and axes of size 1, and how that is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NoReturn

import numpy as np

from compiler import machine, runtime
from compiler.arguments import SUPPORTED
from compiler.emit_entry import AGAIN
from compiler.gradients import Gradients
from compiler.graph import Graph
from compiler.kernel import Kernel, build, unbounded
from compiler.layout import lay_out, memory_base, shape_of
from compiler.passes import Step, optimise, roll_values
from compiler.program import Program
from compiler.runtime import layout as at
from compiler.runtime.interrupt import INTERRUPTED
from compiler.runtime.plan import Bound, Result
from compiler.schedule import Scheduler
from compiler.specialise import ArgumentType, Requirement, Typed, settled, specialise
from symgraph import dims
from symgraph.dims import Size
from symgraph.errors import CompileError, DTypeError, SymgraphError, located
from symgraph.expr import Expr, as_expr, format_expr, to_table
from symgraph.interning import collection_paused
from symgraph.ops import elementwise as ew


class Variant:
    """One kernel, and what it was made from.

    Attributes:
        typed: the graph with the types of the arguments.
        steps: what each pass did.
        program: the loops.
        latest: the sizes that it was last prepared for, by name; None before the first call.
        measured: seconds for each step of the program, and the sizes they were measured for, where it was profiled.
    """

    def __init__(self, typed: Typed, steps: list[Step], program: Program, built: Kernel, outputs: list[Expr]):
        self.typed, self.steps, self.program, self._kernel = typed, steps, program, built
        self.sizes = built.sizes
        self.latest: dict[str, int] | None = None
        self.measured: tuple[list[float], dict[str, int]] | None = None
        self.laid_out = outputs
        self._handed = _handed_out(outputs)
        arrays = [base for base, code, _ in self._handed if code == at.NEW]
        self.arrays = len(arrays)
        self._places = {base: k for k, base in enumerate([*arrays, *returned_as_numbers(outputs)])}
        self._singles = [b.dtype for b in program.outputs[self.arrays :]]
        self._constants = [value for _, value in program.constants]

    @property
    def kernel(self) -> Kernel:
        """Machine code, as LLVM makes it if it takes its time."""
        if self._kernel.hasty:
            with machine.lock:
                self._kernel = self._kernel.better()
        return self._kernel

    def failed(self, sizes: Mapping[str, int]) -> Requirement | None:
        """The first requirement that these sizes do not meet."""
        return next((r for r in self.typed.requirements if not r.holds(sizes)), None)

    @property
    def before(self) -> tuple[Expr, ...]:
        """The outputs before optimisation, gradients among them."""
        return next(step.outputs for step in reversed(self.steps) if step.name in (TYPED, GRADIENTS))

    @property
    def known_sizes(self) -> dict[str, int] | None:
        """The sizes that it was last prepared for; none are needed where no call can change them."""
        fixed = all(isinstance(size, int) for n in self.typed.inputs for size in shape_of(n))
        return {} if fixed else self.latest

    @property
    def copied(self) -> Size:
        """The bytes of results that are copies of others, for results never share memory."""
        total: Size = 0
        for base, code, shape in self._handed:
            if code == at.COPY and base.type.dtype is not None:
                total = total + dims.product(shape) * base.type.dtype.itemsize
        return total

    def bind(self, sizes: Mapping[str, int]) -> Bound:
        """The kernel for arguments of these sizes."""
        self.latest = dict(sizes)

        def exact(shape: tuple[Size, ...]) -> tuple[int, ...]:
            return tuple(dims.evaluate(s, sizes) for s in shape)

        work = dims.evaluate(self.program.work, sizes)
        built = (self._kernel if work <= PATIENT else self.kernel).latest
        results = []
        for base, code, shape in self._handed:
            assert base.type.dtype is not None
            results.append(Result(code, base.type.dtype, exact(shape), self._places[base]))
        return Bound(
            address=built.address,
            sizes=np.array([dims.evaluate(s, sizes) for s in self.sizes], np.int64),
            constants=self._constants,
            arrays=self.arrays,
            numbers=self._singles,
            results=results,
            fail=partial(self._failed, self.latest),
            long=work > LONG,
            heavy=work > HEAVY,
            kept=built,
        )

    def complete(self) -> Kernel:
        """The kernel, for far arguments as well."""
        with machine.lock:
            if self._kernel.near:
                self._kernel = build(self.program, self.program.outputs[self.arrays :], far=True)
        return self.kernel

    def _failed(self, sizes: Mapping[str, int], status: int) -> Bound:
        """Raise what a kernel failed with, or give what is to be run instead."""
        if status == AGAIN:
            self.complete()
            return self.bind(sizes)
        _raise_status(self.program.errors, sizes, status)


LONG = 2_000_000
"""Picoseconds of work from which a call lets other threads of Python run."""

HEAVY = 10_000_000_000
"""Picoseconds of work from which several threads save more than it takes to load the runtime."""

PATIENT = 30_000_000_000
"""Picoseconds of work from which a kernel that is made well has answered before one that is made quickly."""


def returned_as_numbers(outputs: Sequence[Expr]) -> list[Expr]:
    """The values in memory, of one element, that the kernel returns instead of writing them into an array."""
    return list(dict.fromkeys(memory_base(o) for o in outputs if shape_of(o) == ()))


def _handed_out(outputs: Sequence[Expr]) -> list[tuple[Expr, int, tuple[Size, ...]]]:
    """For each output the value in memory that it shows, what is handed out of it, and its shape."""
    numbers = set(returned_as_numbers(outputs))
    given: set[Expr] = set()
    handed = []
    for output in outputs:
        base, shape = memory_base(output), shape_of(output)
        if base not in numbers:
            code = at.COPY if base in given else at.NEW  # results never share memory
        elif shape:
            code = at.COPY
        else:
            code = at.SINGLETON if base.type.dtype == np.bool_ else at.NUMBER
        given.add(base)
        handed.append((base, code, shape))
    return handed


def _raise_status(errors: Sequence[tuple[type[Exception], str]], sizes: Mapping[str, int], status: int) -> NoReturn:
    if status < 0:
        raise MemoryError("no memory for the intermediate values of a compiled function")
    if status == INTERRUPTED:
        runtime.load().raise_interrupt()
    kind, text = errors[status - 1]
    named = [f"{name} = {size}" for name, size in sorted(sizes.items()) if name in text]
    raise kind("\n  where ".join([text, ", ".join(named)] if named else [text]))


TYPED, GRADIENTS = "typed", "gradients"
"""Steps that are no passes. Before gradients are made, the outputs are the values, what gradients are taken of, and
cotangents."""


@collection_paused()
def compile_variant(
    outputs: Sequence[Expr],
    inputs: Sequence[Expr],
    arguments: Mapping[str, ArgumentType],
    gradients: Gradients | None = None,
    *,
    sizes: Mapping[str, int] | None = None,
    values: bool = True,
    fma: bool,
    verify: bool,
) -> Variant:
    """Types, gradients, passes, schedule and machine code of a graph.

    Args:
        outputs: expressions.
        inputs: the placeholders, in the order of the kernel's arguments.
        arguments: a type for each placeholder's name.
        gradients: what is differentiated.
        sizes: those of the call that waits for it, by name; None where there is none.
        values: compute also what is no gradient; else it is only checked, so that gradients exist where values do.
        fma: fuse multiplications and additions.
        verify: check the graph after every pass.

    Raises:
        SymgraphError: the graph does not fit the arguments, or needs a dtype that kernels lack; at the user's line.
        CompileError: the compiler failed; its attribute `table` holds the graph.
    """
    ends = () if gradients is None else (*gradients.outputs, *gradients.cotangents)
    typed = specialise((*outputs, *ends), inputs, arguments)
    try:
        steps: list[Step] = [Step(TYPED, typed.outputs, ())]
        if gradients is not None:
            targets = tuple([typed.inputs[inputs.index(target)] for target in gradients.targets])
            rolled = roll_values(typed.graph, after=steps.append)
            typed = settled(replace(typed, graph=_differentiated(rolled, len(outputs), gradients, targets, values)))
            steps.append(Step(GRADIENTS, typed.outputs, ()))
        _check_dtypes(typed.graph)
        final = optimise(typed.graph, fma=fma, after=steps.append)
        laid = lay_out(final)
        steps.append(Step("lay out", tuple(laid), ()))
        if verify:
            for step in steps:
                Graph(step.outputs).verify()
        scheduler = Scheduler(typed.inputs, laid)
        program = scheduler.run()
        numbers = [scheduler.buffers[n] for n in returned_as_numbers(laid)]
        hasty = sizes is not None and _soon(typed, program, sizes)
        return Variant(typed, steps, program, build(program, numbers, hasty=hasty), laid)
    except SymgraphError:
        raise
    except Exception as error:
        raise _failure(error, typed) from error


def _soon(typed: Typed, program: Program, sizes: Mapping[str, int]) -> bool:
    """Whether a call of these sizes gets its answer sooner from a kernel that is made quickly."""
    if unbounded(program) or not all(r.holds(sizes) for r in typed.requirements):
        return False
    return dims.evaluate(program.work, sizes) <= PATIENT


def _differentiated(graph: Graph, count: int, gradients: Gradients, targets: tuple[Expr, ...], values: bool) -> Graph:
    """The graph of `count` values, where they are wanted, and of gradients, from that of values, of what is
    differentiated and of cotangents."""
    ends = len(gradients.outputs) + count
    made = Gradients(graph.outputs[count:ends], graph.outputs[ends:], targets, gradients.weighed).expressions()
    return Graph((*(graph.outputs[:count] if values else ()), *_in_dtypes_of(made, targets)))


def _check_dtypes(graph: Graph) -> None:
    """Raise DTypeError, at the user's line, where kernels lack the dtype of a node."""
    nodes = graph.order
    kinds = {node.type for node in nodes if node.op.kind != "control"}
    refused = {kind for kind in kinds if kind.dtype not in SUPPORTED}
    for node in nodes if refused else ():
        if node.type in refused:
            types = ", ".join(str(a.type.dtype) for a in node.args)
            error = DTypeError(
                f"{node.op.name} of {types} is {node.type.dtype}, as in NumPy; kernels compute in bool, integers, "
                f"float32 and float64: convert with .astype('float64') first"
            )
            raise located(error, node.origins, [(format_expr(a, 60), str(a.type)) for a in node.args])


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

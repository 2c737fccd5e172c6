"""The compiled function: from keywords to answers.

A call is looked up by the exact types and shapes of its arguments. The first call with new ones checks them and finds
the kernel for their dtypes, ranks and axes of size 1; only if there is none yet is one compiled.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import networkx as nx
import numpy as np

from compiler import emit_python, kernel
from compiler.arguments import SUPPORTED, Signature, argument_type, convert, declared, dtype_of, key_of, size_values
from compiler.graph import Graph
from compiler.specialise import ArgumentType, requirement_error
from compiler.variant import Run, Variant, compile_variant
from symgraph import origin
from symgraph.errors import ArgumentError, DTypeError, GradientError, SymgraphError
from symgraph.expr import Expr, as_expr, from_table, placeholder, placeholders, to_table
from symgraph.grad import check_differentiable, pullback
from symgraph.ops import array as ar
from symgraph.tree import LEAF, flatten, unflatten
from symgraph.types import Opaque

_REMEMBERED = 4096
"""Calls of different types and shapes that are remembered, per function and way of calling it."""

_lock = threading.RLock()
"""Held while something is compiled; threads that call what is compiled already never wait for it."""

if hasattr(os, "register_at_fork"):  # a process forked while another thread compiles gets no lock that is held forever
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class Plan:
    """One set of outputs of a Function (its value, its gradients, or both) and its kernels."""

    def __init__(
        self,
        outputs: Sequence[Expr],
        inputs: Sequence[Expr],
        targets: Sequence[Expr],
        values: bool,
        options: Mapping[str, Any],
    ) -> None:
        self.outputs, self.inputs, self.targets = tuple(outputs), tuple(inputs), tuple(targets)
        self.options = {"values": values, **options}
        self.variants: dict[tuple[ArgumentType, ...], Variant] = {}

    def bind(self, values: Sequence[Any]) -> Run:
        """Check converted arguments, and find the kernel for arguments of their types and shapes.

        Raises:
            SymgraphError: they do not fit the placeholders, or do not go together.
        """
        kinds = tuple(argument_type(node, value) for node, value in zip(self.inputs, values, strict=True))
        sizes = size_values(self.inputs, dict(zip((n.name or "" for n in self.inputs), values, strict=True)))
        variant = self.variant(kinds)
        failed = variant.failed(sizes)
        if failed is not None:
            # The sizes may still go together, where a computed size happens to be 1: ask with exact sizes.
            exact = tuple(kind._replace(sizes=np.shape(v)) for kind, v in zip(kinds, values, strict=True))
            if exact == kinds:
                raise requirement_error(failed, sizes)
            try:
                variant = self.variant(exact)
            except SymgraphError:
                raise requirement_error(failed, sizes) from None
        return variant.bind(sizes)

    def variant(self, kinds: tuple[ArgumentType, ...]) -> Variant:
        """The kernel for these argument types, compiled if it is new."""
        found = self.variants.get(kinds)
        if found is None:
            with _lock:
                found = self.variants.get(kinds)
                if found is None:
                    arguments = {n.name or "": k for n, k in zip(self.inputs, kinds, strict=True)}
                    found = compile_variant(self.outputs, self.inputs, arguments, self.targets, **self.options)
                    self.variants[kinds] = found
        return found


class Prepared(NamedTuple):
    """What a call needs that has been seen before: a bound kernel, and the names of the gradients it gives."""

    run: Run
    names: tuple[str, ...]


class Way(NamedTuple):
    """A way of calling a function: "value", "grad" or "value_and_grad", and whether a cotangent is given."""

    what: str
    cotangent: bool


VALUE, GRAD, BOTH = "value", "grad", "value_and_grad"


class Function:
    """A compiled formula. Call it with the placeholders' names as keywords.

    Built by :func:`symgraph.compile`; safe to call from many threads at once.

    >>> import symgraph as sg
    >>> a, b = sg.placeholder("a"), sg.placeholder("b")
    >>> f = sg.compile(a * b + 1)
    >>> f(a=2.0, b=3.0)
    np.float64(7.0)
    >>> f.value_and_grad(a=2.0, b=3.0)
    (np.float64(7.0), {'a': np.float64(3.0), 'b': np.float64(2.0)})
    """

    def __init__(
        self,
        outputs: Any,
        inputs: Sequence[Expr] | None = None,
        wrt: Any = None,
        *,
        fma: bool = True,
        verify: bool = False,
    ) -> None:
        flat, self.structure = flatten(outputs)
        if not flat:
            raise ArgumentError("compile: there is nothing to compile")
        self.outputs = tuple(_as_output(o) for o in flat)
        self.signature = Signature(_checked_inputs(placeholders(self.outputs), inputs), inputs is not None)
        self.inputs = self.signature.inputs
        self.wrt = None if wrt is None else tuple(_checked_wrt(self.inputs, wrt))
        self.options = {"fma": bool(fma), "verify": bool(verify)}
        self.__name__ = "compiled"
        self._single = self.structure is LEAF
        self._plans: dict[tuple[Way, tuple[str, ...]], Plan] = {}
        self._prepared: dict[Way, dict[Any, Prepared]] = {Way(VALUE, False): {}}
        self._values = self._prepared[Way(VALUE, False)]

    # calling

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """The value, in the structure that was compiled: arrays, and NumPy numbers where a result is 0-d.

        Raises:
            ArgumentError: missing, extra or misspelt names.
            InputError: a value of the wrong dtype, rank or size, naming the placeholder.
            ShapeError, OutOfBoundsError: sizes that do not go together, at the line of the operation.
        """
        values = self.signature.bind(args, kwargs)
        found = self._values.get(key_of(values))
        if found is None:
            found, values = self._prepare(Way(VALUE, False), values)
        return self._packed(found.run(values))

    def grad(self, /, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The gradients alone, by name; see :meth:`value_and_grad`.

        >>> import symgraph as sg
        >>> x = sg.placeholder("x")
        >>> sg.compile(x**2).grad(x=3.0)
        {'x': np.float64(6.0)}
        """
        results, names = self._differentiate(GRAD, args, kwargs)
        return dict(zip(names, results, strict=True))

    def value_and_grad(self, /, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """The value, and the gradient for each placeholder of `wrt` (by default each floating-point one) by name.

        One kernel computes both. Gradients of outputs that are not scalars are taken of the sum of their elements;
        ``cotangent=`` gives other weights, in the shape of the output.

        Raises:
            GradientError: an argument that is differentiated holds integers or bools.
        """
        results, names = self._differentiate(BOTH, args, kwargs)
        count = len(self.outputs)
        return self._packed(results[:count]), dict(zip(names, results[count:], strict=True))

    def _differentiate(
        self,
        what: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> tuple[list[Any], tuple[str, ...]]:
        weights = None if "cotangent" in self.signature else kwargs.pop("cotangent", None)
        values = self.signature.bind(args, kwargs)
        if weights is not None:
            values.append(weights)
        way = Way(what, weights is not None)
        found = self._prepared.setdefault(way, {}).get(key_of(values))
        if found is None:
            found, values = self._prepare(way, values)
        return found.run(values), found.names

    def _packed(self, results: list[Any]) -> Any:
        return results[0] if self._single else unflatten(self.structure, iter(results))

    def _prepare(self, way: Way, values: Sequence[Any]) -> tuple[Prepared, list[Any]]:
        """Convert arguments, and find what is to be run for their types and shapes."""
        inputs = (*self.inputs, COTANGENT) if way.cotangent else self.inputs
        values = [convert(node, value) for node, value in zip(inputs, values, strict=True)]
        prepared = self._prepared[way]
        key = key_of(values)
        found = prepared.get(key)
        if found is None:
            names = () if way.what == VALUE else self._differentiated(values)
            found = Prepared(self._plan(way, names).bind(values), names)
            if len(prepared) >= _REMEMBERED:
                prepared.clear()
            prepared[key] = found
        return found, values

    def _differentiated(self, values: Sequence[Any]) -> tuple[str, ...]:
        """The names that gradients are taken for."""
        dtypes = {n.name or "": dtype_of(n, v) for n, v in zip(self.inputs, values, strict=False)}
        wanted = self.signature.names if self.wrt is None else tuple(n.name or "" for n in self.wrt)
        floating = tuple(n for n in wanted if dtypes[n].kind == "f")
        if not wanted:
            raise GradientError("there is no placeholder to differentiate with respect to")
        refused = [n for n in wanted if n not in floating]
        if refused and (self.wrt is not None or not floating):
            raise GradientError(
                f"argument {refused[0]!r} is {dtypes[refused[0]]}; integers and bools have no gradient: pass "
                f"{refused[0]}=float(...) or an array .astype('float64')"
            )
        return floating

    def _plan(self, way: Way, names: tuple[str, ...]) -> Plan:
        """The outputs for a way of calling; gradients share one graph with the value."""
        found = self._plans.get((way, names))
        if found is None:
            with _lock:
                found = self._plans.get((way, names)) or self._planned(way, names)
                self._plans[way, names] = found
        return found

    def _planned(self, way: Way, names: tuple[str, ...]) -> Plan:
        by_name = dict(zip(self.signature.names, self.inputs, strict=True))
        targets = [by_name[name] for name in names]
        grads = [] if way.what == VALUE else self._gradients(targets, way.cotangent)
        inputs = (*self.inputs, COTANGENT) if way.cotangent else self.inputs
        return Plan((*self.outputs, *grads), inputs, targets, way.what != GRAD, self.options)

    def _gradients(self, targets: Sequence[Expr], cotangent: bool) -> list[Expr]:
        """The gradients of the floating-point outputs, in the order of `targets`."""
        for target in targets:
            check_differentiable(target)
        outputs = [o for o in self.outputs if o.type.dtype is None or o.type.dtype.kind == "f"]
        if not outputs:
            kind = self.outputs[0].type.dtype
            raise GradientError(f"the output is {kind}; only floating-point values have gradients")
        seeds = [as_expr(ar.full_like(o, fill=1)) for o in outputs]
        if cotangent:
            if len(outputs) != 1:
                raise GradientError(f"cotangent= needs a single output, this function has {len(outputs)}")
            with origin.derived_from(outputs[0].marks):
                weights = ar.broadcast_like(COTANGENT * seeds[0], outputs[0], axis=(), keepdims=True)
            seeds = [as_expr(weights)]
        return pullback(outputs, seeds, targets)

    # looking inside

    @property
    def graph(self) -> nx.DiGraph:
        """The graph as it was written: a networkx DAG over the expressions."""
        return Graph(self.outputs).dag

    def variants(self) -> list[tuple[str, Variant]]:
        """Every kernel compiled so far, with what it computes; one for float64 numbers is made if there is none."""
        found = [(way.what, v) for (way, _), plan in list(self._plans.items()) for v in list(plan.variants.values())]
        return found or [(VALUE, self._plan(Way(VALUE, False), ()).variant(_assumed(self.inputs)))]

    def variant_with_grad(self) -> Variant:
        """A kernel for value and gradients: one compiled before, or for float64 numbers where types are open."""
        for what, variant in self.variants():
            if what == BOTH:
                return variant
        kinds = _assumed(self.inputs)
        wanted = self.inputs if self.wrt is None else self.wrt
        floating = [n for n, kind in zip(self.inputs, kinds, strict=True) if kind.dtype.kind == "f"]
        names = tuple(n.name or "" for n in wanted if n in floating)
        return self._plan(Way(BOTH, False), names).variant(kinds)

    @property
    def source(self) -> str:
        """The kernels compiled so far as readable Python (for float64 numbers if there is none and types are open)."""
        parts = []
        for what, variant in self.variants():
            kinds = ", ".join(f"{n.name}: {n.type}" for n in variant.typed.inputs)
            text = emit_python.write(variant.program, variant.sizes)
            parts.append(f"# {what} for ({kinds})\n{text}")
        return "\n".join(parts)

    @property
    def llvm(self) -> str:
        """The kernels' LLVM IR, before LLVM's own optimisation."""
        return "\n".join(v.kernel.llvm_ir for _, v in self.variants())

    @property
    def asm(self) -> str:
        """The kernels' machine code."""
        return "\n".join(kernel.assembly(v.kernel) for _, v in self.variants())

    def explain(self) -> str:
        """What the compiler did, per kernel: nodes after each pass, and every rewrite with its rule."""
        lines = []
        for what, variant in self.variants():
            lines.append(f"{what} for ({', '.join(f'{n.name}: {n.type}' for n in variant.typed.inputs)})")
            for step in variant.steps:
                lines.append(f"  {step.name}: {len(Graph(step.outputs))} nodes")
                lines += [f"    {rewrite}" for rewrite in step.rewrites]
            lines.append(
                f"  schedule: {len(variant.program.steps)} steps, "
                f"{sum(b.role == 'temporary' for b in variant.program.temporaries)} temporary arrays"
            )
        return "\n".join(lines)

    def to_dot(self, stage: str = "before", verbose: bool = False) -> str:
        """The graph as DOT text.

        Args:
            stage: "before" (as written), "after" (optimised), "backward" (the gradients), "sides" (before and after
                side by side), "joint" (forward and backward side by side).
            verbose: add shapes and dtypes.

        Raises:
            ValueError: for another stage.
        """
        from compiler.pictures import to_dot

        return to_dot(self, stage, verbose)

    def plot(self, path: str, stage: str = "before", verbose: bool = False) -> Any:
        """Draw :meth:`to_dot` into a file; its extension picks the format."""
        from symgraph.dot import render

        return render(self.to_dot(stage, verbose), path)

    def __repr__(self) -> str:
        return f"<compiled function {self.signature} -> {self.outputs[0]!r:.80}>"

    # as data

    def __copy__(self) -> Function:
        return self

    def __deepcopy__(self, memo: Any) -> Function:
        return self

    def __reduce__(self) -> Any:
        wrt = None if self.wrt is None else [n.name for n in self.wrt]
        table = to_table([*self.outputs, *self.inputs])
        return _restore, (table, self.structure, self.signature.positional, wrt, self.options)


COTANGENT = placeholder("cotangent")
"""The weights of an output's elements, where a caller gives them."""


def _restore(table: Any, structure: Any, positional: bool, wrt: Any, options: Any) -> Function:
    nodes = from_table(table)
    count = len(flatten(structure)[0])
    outputs = unflatten(structure, iter(nodes[:count]))
    return Function(outputs, nodes[count:] if positional else None, wrt, **options)


def _as_output(value: Any) -> Expr:
    try:
        return as_expr(value)
    except (SymgraphError, TypeError, ValueError):
        raise ArgumentError(f"compile: expected symbols, got {type(value).__name__}: {value!r:.80}") from None


def _checked_inputs(found: Sequence[Expr], inputs: Sequence[Expr] | None) -> Sequence[Expr]:
    if inputs is not None and not isinstance(inputs, list | tuple):
        raise ArgumentError(f"compile: inputs must be a list of placeholders, got {inputs!r:.80}")
    by_name: dict[str, Expr] = {}
    for node in (*found, *(inputs or ())):
        if not isinstance(node, Expr) or node.op is not ar.placeholder:
            raise ArgumentError(f"compile: inputs must be placeholders, got {node!r:.80}")
        other = by_name.setdefault(node.name or "", node)
        if other is not node:
            raise ArgumentError(
                f"compile: two placeholders are named {node.name!r}: {declared(other)} ({other.origin}) and "
                f"{declared(node)} ({node.origin}); give one of them another name, or declare both alike"
            )
        if node.type.dtype is not None and node.type.dtype not in SUPPORTED:
            raise DTypeError(
                f"placeholder {node.name!r} is declared {node.type.dtype}; kernels take bool, integers, float32 and "
                f"float64 ({node.origin})"
            )
    if inputs is None:
        return found
    if len(set(inputs)) != len(inputs):
        raise ArgumentError("compile: an input is listed twice")
    missing = [n.name for n in found if n not in set(inputs)]
    if missing:
        raise ArgumentError(f"compile: inputs= lacks {', '.join(map(repr, missing))}, which the formula uses")
    return inputs


def _checked_wrt(inputs: Sequence[Expr], wrt: Any) -> Sequence[Expr]:
    wanted = list(wrt) if isinstance(wrt, list | tuple) else [wrt]
    by_name = {n.name: n for n in inputs}
    found = []
    for one in wanted:
        node = by_name.get(one) if isinstance(one, str) else one
        if node not in inputs:
            raise ArgumentError(f"compile: wrt must be placeholders of the formula, got {one!r:.80}")
        check_differentiable(node)  # type: ignore[arg-type]
        found.append(node)
    return found  # type: ignore[return-value]


def _assumed(inputs: Sequence[Expr]) -> tuple[ArgumentType, ...]:
    """Argument types where none are known: float64, numbers where the rank is open, sizes other than 1."""
    kinds = []
    for node in inputs:
        dtype = node.type.dtype or np.dtype(np.float64)
        shape = () if isinstance(node.type.shape, Opaque) else node.type.shape
        sizes = tuple(s if isinstance(s, int) else None for s in shape)
        kinds.append(ArgumentType(dtype, node.type.dtype is None, sizes))
    return tuple(kinds)


def compile(  # noqa: A001  (the library's name for it)
    outputs: Any,
    inputs: Sequence[Expr] | None = None,
    wrt: Any = None,
    *,
    fma: bool = True,
    verify: bool = False,
) -> Function:
    """Compile expressions into a function of their placeholders.

    Args:
        outputs: an expression, or any nesting of lists, tuples and dicts of them; results come in the same structure.
        inputs: placeholders in the order of positional arguments; may list some that the outputs do not use.
        wrt: the placeholders (or their names) that gradients are taken for; by default every floating-point one.
        fma: compute ``a*b + c`` with one rounding. Without it, + - * / give bitwise what NumPy gives.
        verify: check the graph after every pass.

    Returns:
        Function: nothing is compiled to machine code before its first call.

    Raises:
        ArgumentError: there is nothing to compile, or inputs and wrt do not fit the outputs.

    >>> import symgraph as sg
    >>> x, y = sg.placeholder("x"), sg.placeholder("y")
    >>> f = sg.compile({"sum": x + y, "product": x * y}, inputs=[x, y])
    >>> f(2, 3)
    {'sum': np.int64(5), 'product': np.int64(6)}
    """
    return Function(outputs, inputs, wrt, fma=fma, verify=verify)

"""The compiled function: from keywords to answers.

A call is looked up by the exact types and shapes of its arguments. The first call with new ones checks them and finds
the kernel for their dtypes, ranks and axes of size 1; only if there is none yet is one compiled.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np

from compiler import emit_python, kernel
from compiler.graph import Graph
from compiler.layout import lay_out, memory_base, shape_of
from compiler.passes import Step, optimise
from compiler.program import Buffer, Program
from compiler.schedule import Scheduler
from compiler.specialise import ArgumentType, Typed, requirement_error, specialise
from symgraph import dims
from symgraph.errors import (
    ArgumentError, CompileError, DTypeError, GradientError, InputError, ShapeError, SymbolError, SymgraphError,
)
from symgraph.expr import Expr, as_expr, from_table, placeholder, placeholders, to_table
from symgraph.grad import check_differentiable, pullback
from symgraph.ops import array as ar
from symgraph.tree import LEAF, flatten, unflatten
from symgraph.types import ArrayType, Opaque, format_shape

SUPPORTED = frozenset(np.dtype(c) for c in "?bhilqBHILQfd")
_REMEMBERED = 4096
_NUMBERS = {float: np.dtype(np.float64), int: np.dtype(np.int64), bool: np.dtype(bool)}


class Variant:
    """One kernel: a plan's graph for one combination of dtypes, ranks and axes of size 1."""

    def __init__(self, typed: Typed, steps: list[Step], program: Program, built: kernel.Kernel, outputs: list[Expr]):
        self.typed, self.steps, self.program, self.kernel = typed, steps, program, built
        self.outputs = outputs
        self.sizes = built.sizes
        self.run = _runner(program, built, outputs)


def _runner(program: Program, built: kernel.Kernel, outputs: list[Expr]) -> Callable[..., list[Any]]:
    """A Python function ``run(arguments, sizes, shapes)``: allocate, call the kernel, hand out results.

    Its text holds names of its own only.
    """
    buffers = [memory_base(o) for o in outputs]
    unique = list(dict.fromkeys(buffers))
    arrays = [b for b in unique if not _is_single(outputs[buffers.index(b)])]
    singles = [b for b in unique if b not in arrays]
    names = [f"x{k}" for k in range(len(program.inputs))]
    scope: dict[str, Any] = {"empty": np.empty, "entry": built.entry, "fail": _raise_status, "errors": program.errors}
    lines = [f"def run(arguments, sizes, shapes):"]  # noqa: F541
    if names:
        lines.append(f"    {', '.join(names)}{',' if len(names) == 1 else ''} = arguments")
    constants = []
    for k, (_, value) in enumerate(program.constants):
        scope[f"c{k}"] = value
        constants.append(f"c{k}")
    results: dict[Expr, str] = {}
    for k, b in enumerate(arrays):
        scope[f"d{k}"] = b.type.dtype
        lines.append(f"    o{k} = empty(shapes[{k}], d{k})")
        results[b] = f"o{k}"
    lines.append(f"    r = entry({', '.join([*names, *constants, *results.values(), 'sizes'])})")
    lines.append("    if r[0]: fail(r[0], errors)")
    for k, b in enumerate(singles):
        assert b.type.dtype is not None
        scope[f"t{k}"] = b.type.dtype.type
        results[b] = f"t{k}(r[{k + 1}])"
    given: set[Expr] = set()
    parts = []
    for o, b in zip(outputs, buffers, strict=True):
        text = results[b]
        if b in arrays and o.type.shape != b.type.shape:
            text += f".reshape(shapes[{len(arrays) + len(parts)}])"
        if b in given and b in arrays:
            text += ".copy()"
        given.add(b)
        parts.append(text)
    lines.append(f"    return [{', '.join(parts)}]")
    exec("\n".join(lines), scope)
    run: Callable[..., list[Any]] = scope["run"]
    return run


def _is_single(node: Expr) -> bool:
    return node.type.shape == ()


def _raise_status(status: int, errors: Sequence[tuple[type[Exception], str]]) -> None:
    if status < 0:
        raise MemoryError("no memory for the intermediate values of a compiled function")
    kind, text = errors[status - 1]
    raise kind(text)


def compile_variant(
    outputs: Sequence[Expr], inputs: Sequence[Expr], arguments: Mapping[str, ArgumentType], *, fma: bool, verify: bool,
) -> Variant:
    """Types, passes, schedule and machine code of a graph.

    Raises:
        SymgraphError: the graph does not fit the arguments, at the user's line.
        CompileError: the compiler failed; the message holds the graph.
    """
    typed = specialise(outputs, inputs, arguments)
    for node in typed.inputs:
        if node.type.dtype not in SUPPORTED:
            raise DTypeError(
                f"argument {node.name!r} is {node.type.dtype}; compiled functions take bool, integers, float32 and "
                f"float64: convert with .astype"
            )
    try:
        steps: list[Step] = [Step("typed", typed.outputs, ())]
        final = optimise(typed.outputs, fma=fma, after=steps.append)
        laid = lay_out(final)
        steps.append(Step("lay out", tuple(laid), ()))
        if verify:
            for step in steps:
                Graph(step.outputs).verify()
        scheduler = Scheduler(typed.inputs, laid)
        program = scheduler.run()
        ranks: dict[Buffer, int] = {scheduler.buffers[n]: len(shape_of(n)) for n in typed.inputs}
        singles: list[Buffer] = []
        for output in laid:
            base = memory_base(output)
            buffer = scheduler.buffers[base]
            ranks[buffer] = len(shape_of(base))
            if _is_single(output) and buffer not in singles:
                singles.append(buffer)
        built = kernel.build(program, ranks, singles)
        return Variant(typed, steps, program, built, laid)
    except SymgraphError:
        raise
    except Exception as error:
        raise CompileError(
            f"compiling failed with {type(error).__name__}: {error}\nreproducer:\n"
            f"  from symgraph.expr import from_table; outputs = from_table({to_table(typed.outputs)!r})"
        ) from error


class Plan:
    """One set of outputs of a Function (its value, or its value with gradients) and its kernels."""

    def __init__(self, outputs: Sequence[Expr], inputs: Sequence[Expr], options: Mapping[str, Any]) -> None:
        self.outputs, self.inputs, self.options = tuple(outputs), tuple(inputs), options
        self.variants: dict[tuple[ArgumentType, ...], Variant] = {}
        self.ready: dict[Any, Callable[[list[Any]], list[Any]]] = {}
        self.lock = threading.RLock()

    def prepare(self, key: Any, values: Sequence[Any]) -> Callable[[list[Any]], list[Any]]:
        """Check arguments of new types or shapes, and bind the kernel for them."""
        kinds = [_argument_type(node, value) for node, value in zip(self.inputs, values, strict=True)]
        sizes = _size_values(self.inputs, values)
        variant = self.variant(kinds)
        failed = next((r for r in variant.typed.requirements if not r.holds(sizes)), None)
        if failed is not None:
            # The sizes may still go together, where a computed size happens to be 1: ask with exact sizes.
            exact = [k._replace(sizes=np.shape(v)) for k, v in zip(kinds, values, strict=True)]
            if exact == kinds:
                raise requirement_error(failed, sizes)
            try:
                variant = self.variant(exact)
            except SymgraphError:
                raise requirement_error(failed, sizes) from None
        numbers = np.array([dims.evaluate(s, sizes) for s in variant.sizes], np.int64)
        buffers = dict.fromkeys(memory_base(o) for o in variant.outputs)
        shapes = [
            tuple(dims.evaluate(s, sizes) for s in shape_of(n))
            for n in (*(b for b in buffers if not any(
                _is_single(o) for o in variant.outputs if memory_base(o) is b)), *variant.outputs)
        ]
        run = variant.run
        casts = [
            (k, node.type.dtype) for k, (node, value) in enumerate(zip(self.inputs, values, strict=True))
            if isinstance(value, np.ndarray) and node.type.dtype is not None and value.dtype != node.type.dtype
        ]

        def bound(arguments: list[Any]) -> list[Any]:
            for k, dtype in casts:
                arguments[k] = arguments[k].astype(dtype)
            return run(arguments, numbers, shapes)

        if len(self.ready) >= _REMEMBERED:
            self.ready.clear()
        self.ready[key] = bound
        return bound

    def variant(self, kinds: Sequence[ArgumentType]) -> Variant:
        """The kernel for these argument types, compiled if it is new."""
        signature = tuple(kinds)
        with self.lock:
            found = self.variants.get(signature)
            if found is None:
                arguments = {n.name or "": k for n, k in zip(self.inputs, kinds, strict=True)}
                found = self.variants[signature] = compile_variant(
                    self.outputs, self.inputs, arguments, **self.options
                )
        return found


def _argument_type(node: Expr, value: Any) -> ArgumentType:
    """The type of a checked argument."""
    name, declared = node.name, node.type
    weak = type(value) in _NUMBERS and type(value) is not bool
    dtype: np.dtype[Any] = _NUMBERS.get(type(value)) or value.dtype  # type: ignore[assignment]
    shape: tuple[int, ...] = np.shape(value)
    if not isinstance(declared.shape, Opaque):
        if len(shape) != len(declared.shape):
            raise InputError(
                f"argument {name!r} has shape {shape}: {len(shape)} dimension{'s' * (len(shape) != 1)}, "
                f"expected {len(declared.shape)}: {format_shape(declared.shape)}{_declared_at(node)}"
            )
        for axis, (size, wanted) in enumerate(zip(shape, declared.shape, strict=True)):
            if isinstance(wanted, int) and size != wanted:
                raise InputError(
                    f"argument {name!r} has shape {shape}, expected {format_shape(declared.shape)}: "
                    f"axis {axis} is {size}, not {wanted}{_declared_at(node)}"
                )
    if declared.dtype is not None and dtype != declared.dtype:
        # integers for floats, and wider floats, are converted; what would lose digits is refused
        fits = np.can_cast(dtype, declared.dtype, "same_kind" if weak else "safe")
        if not (fits or (weak and dtype.kind == "i" and declared.dtype.kind == "f")):
            raise InputError(
                f"argument {name!r} is {dtype}, expected {declared.dtype}; convert it: "
                f"{name}.astype({declared.dtype.name!r}){_declared_at(node)}"
            )
        dtype, weak = declared.dtype, False
    sizes = tuple(
        size if size == 1 or (not isinstance(declared.shape, Opaque) and isinstance(declared.shape[axis], int)) else None
        for axis, size in enumerate(shape)
    )
    return ArgumentType(dtype, weak and declared.dtype is None, sizes)


def _declared_at(node: Expr) -> str:
    return f"\n  declared at {node.origin}" if node.origin is not None else ""


def _size_values(inputs: Sequence[Expr], values: Sequence[Any]) -> dict[str, int]:
    """The sizes of the call by name; two axes of one name must agree."""
    sizes: dict[str, int] = {}
    first: dict[str, str] = {}
    for node, value in zip(inputs, values, strict=True):
        shape = np.shape(value)
        declared = (
            tuple(dims.atom(f"{node.name}.shape[{a}]") for a in range(len(shape)))
            if isinstance(node.type.shape, Opaque) else node.type.shape
        )
        for axis, (size, wanted) in enumerate(zip(shape, declared, strict=True)):
            if isinstance(wanted, int):
                continue
            name = str(wanted)
            known = sizes.setdefault(name, size)
            where = f"axis {axis} of {node.name!r}"
            if known != size:
                raise InputError(
                    f"size {name!r} is {known} in {first[name]} but {size} in {where} (shape {shape}); they must be "
                    f"equal{_declared_at(node)}"
                )
            first.setdefault(name, where)
    return sizes


def convert(name: str, value: Any) -> Any:
    """An argument as the kernel takes it: a Python or NumPy number, or an aligned native C-ordered array.

    Raises:
        InputError: the value is not made of real numbers.
    """
    if type(value) in _NUMBERS:
        if type(value) is int and not -(2**63) <= value < 2**63:
            raise InputError(f"argument {name!r}: the integer {value} does not fit into 64 bits")
        return value
    if isinstance(value, Expr):
        raise InputError(f"argument {name!r} is the symbol {value!r}; a compiled function takes data")
    if getattr(value, "_mode", None) is not None:
        raise InputError(f"argument {name!r} is a {type(value).__name__}; pass its .data")
    if value is None or isinstance(value, str | bytes):
        raise InputError(f"argument {name!r} is {value!r}; expected numbers")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise InputError(f"argument {name!r} is a masked array with masked elements; fill them first: x.filled(...)")
    try:
        if not isinstance(value, np.ndarray) and not hasattr(value, "__array__") and hasattr(value, "__dlpack__"):
            array = np.from_dlpack(value)
        else:
            array = np.asarray(value)
    except SymgraphError:
        raise
    except Exception as error:
        raise InputError(f"argument {name!r} cannot become an array: {error}") from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"argument {name!r} is {array.dtype} ({type(value).__name__}); expected real numbers or bools")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype not in SUPPORTED:
        raise InputError(f"argument {name!r} is {array.dtype}; convert it to float32 or float64: .astype('float64')")
    if not array.ndim:
        return array[()]
    flags = array.flags
    if not (flags.c_contiguous and flags.aligned):
        array = np.array(array, order="C")
    return array if type(array) is np.ndarray else array.view(np.ndarray)


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
        self, outputs: Any, inputs: Sequence[Expr] | None = None, wrt: Sequence[Expr] | None = None, *,
        fma: bool = True, verify: bool = False,
    ) -> None:
        flat, self.structure = flatten(outputs)
        if not flat:
            raise ArgumentError("compile: there is nothing to compile")
        self.outputs = tuple(_as_output(o) for o in flat)
        found = placeholders(self.outputs)
        self.positional = inputs is not None
        self.inputs = tuple(_checked_inputs(found, inputs))
        self.names = tuple(n.name or "" for n in self.inputs)
        self.wrt = None if wrt is None else tuple(_checked_wrt(self.inputs, wrt))
        self.options = {"fma": bool(fma), "verify": bool(verify)}
        self._values = Plan(self.outputs, self.inputs, self.options)
        self._plans: dict[Any, Plan] = {}
        self._known = frozenset(self.names)
        self._single = self.structure is LEAF
        self.__name__ = "compiled"

    # calling

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The value, in the structure that was compiled: arrays, and NumPy numbers where a result is 0-d.

        Raises:
            ArgumentError: missing, extra or misspelt names.
            InputError: a value of the wrong dtype, rank or size, naming the placeholder.
            ShapeError, OutOfBoundsError: sizes that do not go together, at the line of the operation.
        """
        return self._packed(self._execute(self._values, self._bind(args, kwargs)))

    def _packed(self, results: list[Any]) -> Any:
        return results[0] if self._single else unflatten(self.structure, iter(results))

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        if not args and len(kwargs) == len(self.names):
            try:
                return [kwargs[name] for name in self.names]
            except KeyError:
                pass
        return self._bind_slowly(args, kwargs)

    def _bind_slowly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        if args and not self.positional:
            raise ArgumentError(
                f"this function takes keywords: {self.signature_text()}; for positional arguments compile with "
                f"inputs=[{', '.join(self.names)}]"
            )
        if len(args) > len(self.names):
            raise ArgumentError(f"{len(args)} positional arguments given, expected at most {len(self.names)}: "
                                f"{self.signature_text()}")
        given = dict(zip(self.names, args, strict=False))
        for name, value in kwargs.items():
            if name in given:
                raise ArgumentError(f"argument {name!r} is given twice, by position and by name")
            if name not in self._known:
                close = difflib.get_close_matches(name, self.names, 1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise ArgumentError(f"there is no placeholder {name!r}{hint}\n  expected {self.signature_text()}")
            given[name] = value
        missing = [name for name in self.names if name not in given]
        if missing:
            listed = ", ".join(map(repr, missing))
            raise ArgumentError(f"missing argument{'s' * (len(missing) != 1)} {listed}\n  expected {self.signature_text()}")
        return [given[name] for name in self.names]

    def signature_text(self) -> str:
        """The placeholders with their declared types."""
        return "(" + ", ".join(f"{n.name}: {_declared(n)}" for n in self.inputs) + ")"

    def _execute(self, plan: Plan, values: list[Any]) -> list[Any]:
        key = []
        for k, value in enumerate(values):
            kind = type(value)
            if kind is float:
                key.append(kind)
                continue
            if kind is np.ndarray and value.shape and value.flags.carray or kind is np.ndarray and value.shape:
                flags = value.flags
                if not (flags.c_contiguous and flags.aligned and value.dtype in SUPPORTED and value.dtype.isnative):
                    value = values[k] = convert(self.names[k], value)
                key.append((value.dtype, value.shape))
                continue
            value = values[k] = convert(self.names[k], value)
            key.append((value.dtype, value.shape) if type(value) is np.ndarray else type(value))  # type: ignore[arg-type]
        found = plan.ready.get(tuple(key))
        if found is None:
            found = plan.prepare(tuple(key), values)
        return found(values)

    # gradients

    def _differentiated(self, values: list[Any]) -> tuple[str, ...]:
        """The names that gradients are taken for."""
        kinds = {}
        for node, value in zip(self.inputs, values, strict=True):
            value = convert(node.name or "", value)
            dtype = node.type.dtype or _NUMBERS.get(type(value)) or value.dtype
            kinds[node.name or ""] = dtype
        wanted = self.names if self.wrt is None else tuple(n.name or "" for n in self.wrt)
        floating = tuple(n for n in wanted if kinds[n].kind == "f")
        if self.wrt is not None and len(floating) < len(wanted) or not floating:
            refused = [n for n in wanted if n not in floating]
            if not wanted:
                raise GradientError("there is no placeholder to differentiate with respect to")
            raise GradientError(
                f"argument {refused[0]!r} is {kinds[refused[0]]}; integers and bools have no gradient: pass "
                f"{refused[0]}=float(...) or an array .astype('float64')"
            )
        return floating

    def _grad_plan(self, mode: str, values: list[Any], cotangent: bool) -> tuple[Plan, tuple[str, ...]]:
        key: Any = (mode, cotangent, tuple(type(v) if not isinstance(v, np.ndarray) else v.dtype for v in values))
        found = self._plans.get(key)
        if found is not None:
            return found
        names = self._differentiated(values)
        shared: Any = (mode, cotangent, names)
        if shared not in self._plans:
            targets = [n for n in self.inputs if n.name in names]
            self._plans[shared] = (self._joint(mode, targets, cotangent), names)
        self._plans[key] = self._plans[shared]
        return self._plans[shared]

    def _joint(self, mode: str, targets: Sequence[Expr], cotangent: bool) -> Plan:
        """One graph of the outputs (mode "value_and_grad") and their gradients: forward values are shared."""
        for target in targets:
            check_differentiable(target)
        outputs = [o for o in self.outputs if o.type.dtype is None or o.type.dtype.kind == "f"]
        if not outputs:
            raise GradientError(f"the output is {self.outputs[0].type.dtype}; only floating-point values have gradients")
        inputs: tuple[Expr, ...] = self.inputs
        if cotangent:
            if len(outputs) != 1 or "cotangent" in self.names:
                raise GradientError("cotangent= needs a single output and no placeholder of that name")
            weights = placeholder("cotangent")
            seeds: list[Expr] = [weights * ar.full_like(outputs[0], fill=1)]
            inputs = (*inputs, weights)
        else:
            seeds = [as_expr(ar.full_like(o, fill=1)) for o in outputs]
        grads = pullback(outputs, seeds, targets)
        return Plan([*(self.outputs if mode == "value_and_grad" else ()), *grads], inputs, self.options)

    def _with_grads(self, mode: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], tuple[str, ...]]:
        given = "cotangent" in kwargs and "cotangent" not in self._known
        weights = kwargs.pop("cotangent") if given else None
        values = self._bind(args, kwargs)
        plan, names = self._grad_plan(mode, values, given)
        return self._execute_grad(plan, [*values, weights] if given else values), names

    def _execute_grad(self, plan: Plan, values: list[Any]) -> list[Any]:
        if len(values) > len(self.names):
            values[-1] = convert("cotangent", values[-1])
        return self._execute(plan, values)

    def value_and_grad(self, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """The value, and the gradient for each placeholder of `wrt` (by default each floating-point one) by name.

        One kernel computes both. Gradients of outputs that are not scalars are taken of the sum of their elements;
        ``cotangent=`` gives other weights.

        Raises:
            GradientError: an argument that is differentiated holds integers or bools.
        """
        results, names = self._with_grads("value_and_grad", args, kwargs)
        count = len(self.outputs)
        return self._packed(results[:count]), dict(zip(names, results[count:], strict=True))

    def grad(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The gradients alone, by name; see :meth:`value_and_grad`.

        >>> import symgraph as sg
        >>> x = sg.placeholder("x")
        >>> sg.compile(x**2).grad(x=3.0)
        {'x': np.float64(6.0)}
        """
        results, names = self._with_grads("grad", args, kwargs)
        return dict(zip(names, results, strict=True))

    # looking inside

    @property
    def graph(self) -> nx.DiGraph:
        """The graph as it was written: a networkx DAG over the expressions."""
        return Graph(self.outputs).dag

    def variants(self) -> list[tuple[str, Variant]]:
        """Every kernel compiled so far, with what it computes; one for float64 numbers is made if there is none."""
        plans = [("value", self._values), *((k[0], p) for k, (p, names) in self._plans.items() if k[2] == names)]
        found = [(what, v) for what, plan in plans for v in plan.variants.values()]
        return found or [("value", self._values.variant(_assumed(self.inputs)))]

    def variant_with_grad(self) -> Variant:
        """A kernel for value and gradients: one compiled before, or for float64 numbers where types are open."""
        for what, variant in self.variants():
            if what == "value_and_grad":
                return variant
        kinds = _assumed(self.inputs)
        targets = [n for n, k in zip(self.inputs, kinds, strict=True) if k.dtype.kind == "f"]
        names = tuple(n.name or "" for n in (self.wrt or targets))
        key = ("value_and_grad", False, names)
        if key not in self._plans:
            self._plans[key] = (self._joint("value_and_grad", [n for n in self.inputs if n.name in names], False), names)
        return self._plans[key][0].variant(kinds)

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
            lines.append(f"  schedule: {len(variant.program.steps)} steps, "
                         f"{sum(b.role == 'temporary' for b in variant.program.temporaries)} temporary arrays")
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
        return f"<compiled function {self.signature_text()} -> {self.outputs[0]!r:.80}>"

    # as data

    def __reduce__(self) -> Any:
        names = list(self.names) if self.positional else None
        wrt = None if self.wrt is None else [n.name for n in self.wrt]
        return _restore, (to_table([*self.outputs, *self.inputs]), self.structure, names, wrt, self.options)


def _restore(table: Any, structure: Any, names: Any, wrt: Any, options: Any) -> Function:
    count = len(flatten(structure)[0])
    nodes = from_table(table)
    outputs, inputs = nodes[:count], nodes[count:]
    by_name = {n.name: n for n in inputs}
    return Function(
        unflatten(structure, iter(outputs)), inputs if names is not None else None,
        None if wrt is None else [by_name[n] for n in wrt], **options,
    )


def _declared(node: Expr) -> str:
    kind = node.type
    if kind.dtype is None and isinstance(kind.shape, Opaque):
        return "any"
    dtype = "any" if kind.dtype is None else kind.dtype.name
    return dtype if isinstance(kind.shape, Opaque) else f"{dtype}{format_shape(kind.shape)}"


def _as_output(value: Any) -> Expr:
    if getattr(value, "_mode", None) is not None and not isinstance(value, Expr):
        value = getattr(value, "expr", value)
    try:
        return as_expr(value)
    except (SymgraphError, TypeError, ValueError):
        raise ArgumentError(f"compile: expected symbols, got {type(value).__name__}: {value!r:.80}") from None


def _checked_inputs(found: Sequence[Expr], inputs: Sequence[Expr] | None) -> Sequence[Expr]:
    by_name: dict[str, Expr] = {}
    for node in (*found, *(inputs or ())):
        if not isinstance(node, Expr) or node.op is not ar.placeholder:
            raise ArgumentError(f"compile: inputs must be placeholders, got {node!r}")
        other = by_name.setdefault(node.name or "", node)
        if other is not node:
            raise ArgumentError(
                f"compile: two placeholders are named {node.name!r}, declared {_declared(other)} and {_declared(node)}"
            )
    if inputs is None:
        return found
    if len(set(inputs)) != len(inputs):
        raise ArgumentError("compile: an input is listed twice")
    missing = [n.name for n in found if n not in set(inputs)]
    if missing:
        raise ArgumentError(f"compile: inputs= lacks {', '.join(map(repr, missing))}, which the formula uses")
    return list(inputs)


def _checked_wrt(inputs: Sequence[Expr], wrt: Any) -> Sequence[Expr]:
    wanted = [wrt] if isinstance(wrt, Expr | str) else list(wrt)
    by_name = {n.name: n for n in inputs}
    found = []
    for one in wanted:
        node = by_name.get(one) if isinstance(one, str) else one
        if node not in inputs:
            raise ArgumentError(f"compile: wrt must be placeholders of the formula, got {one!r}")
        check_differentiable(node)  # type: ignore[arg-type]
        found.append(node)
    return found  # type: ignore[return-value]


def _assumed(inputs: Sequence[Expr]) -> list[ArgumentType]:
    """Argument types where none are known: float64, numbers where the rank is open, sizes other than 1."""
    kinds = []
    for node in inputs:
        dtype = node.type.dtype or np.dtype(np.float64)
        shape = () if isinstance(node.type.shape, Opaque) else node.type.shape
        kinds.append(ArgumentType(dtype, node.type.dtype is None, tuple(s if isinstance(s, int) else None for s in shape)))
    return kinds


def compile(  # noqa: A001  (the library's name for it)
    outputs: Any, inputs: Sequence[Expr] | None = None, wrt: Any = None, *, fma: bool = True, verify: bool = False,
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


__all__ = ["ArrayType", "Function", "ShapeError", "SymbolError", "compile"]

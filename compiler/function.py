"""The compiled function: from keywords to answers.

A call is answered natively (compiler/runtime) where arguments of the same types and shapes were seen before. The first
call with new ones checks them and finds the kernel for their dtypes, ranks and axes of size 1 (compiler/dispatch.py);
only if there is none yet is one compiled.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler import emit_python, kernel, runtime
from compiler.arguments import SUPPORTED, Signature, declared
from compiler.dispatch import BOTH, GRAD, VALUE, Dispatch, Way
from compiler.graph import Graph
from compiler.runtime import Caller
from compiler.specialise import ArgumentType
from compiler.variant import Variant
from symgraph.errors import ArgumentError, DTypeError, SymbolError, SymgraphError
from symgraph.expr import Expr, as_expr, from_table, to_table, toposort
from symgraph.grad import check_differentiable
from symgraph.interning import collection_paused
from symgraph.observe import observed
from symgraph.ops import array as ar
from symgraph.ops.observe import named
from symgraph.tree import flatten, unflatten
from symgraph.types import Opaque

if TYPE_CHECKING:
    import networkx as nx

    from compiler.bisection import Culprit
    from compiler.check_grad import Slope
    from compiler.debug import Replay
    from compiler.profile import Profile
    from symgraph.view import View


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
        order = toposort(self.outputs)
        _check_closed(order)
        found = [node for node in order if node.op is ar.placeholder]
        self.signature = Signature(_checked_inputs(found, inputs), inputs is not None)
        self.inputs = self.signature.inputs
        self.wrt = None if wrt is None else tuple(_checked_wrt(self.inputs, wrt))
        self.options = {"fma": bool(fma), "verify": bool(verify)}
        self.__name__ = "compiled"
        shown = observed(self.outputs, order)
        self.dispatch = Dispatch(self.outputs, self.signature, self.wrt, self.structure, shown, self.options)
        self._callers: dict[str, Caller] = {}
        self._value: Caller = partial(_first_value, weakref.ref(self), self.dispatch)

    # calling

    def _open(self, what: str) -> Caller:
        """With the first call of one kind: what answers it stands before the method of its name from then on."""
        method = getattr(Function, what)
        found = self._callers.get(what)
        if found is None:
            if not runtime.at_hand():
                return partial(self.dispatch.answer, what)
            found = self._callers.setdefault(what, self.dispatch.caller(what, method.__doc__))
        if getattr(type(self), what) is method:  # a derived class may have a method of its own
            setattr(self, what, found)
        return found

    # A property that reads an attribute, all in C, is the shortest way from `f(...)` to the callable.
    __call__ = property(
        attrgetter("_value"),
        doc="""The value, in the structure that was compiled: arrays, and NumPy numbers where a result is 0-d.

        Raises:
            ArgumentError: missing, extra or misspelt names.
            InputError: a value of the wrong dtype, rank or size, naming the placeholder.
            ShapeError, OutOfBoundsError: sizes that do not go together, at the line of the operation.
        """,
    )

    def grad(self, /, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The gradients alone, by name; see :meth:`value_and_grad`.

        >>> import symgraph as sg
        >>> x = sg.placeholder("x")
        >>> sg.compile(x**2).grad(x=3.0)
        {'x': np.float64(6.0)}
        """
        grads: dict[str, Any] = self._open(GRAD)(*args, **kwargs)
        return grads

    def value_and_grad(self, /, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """The value, and the gradient for each placeholder of `wrt` (by default each floating-point one) by name.

        One kernel computes both. Gradients of outputs that are not scalars are taken of the sum of their elements;
        ``cotangent=`` gives other weights, in the shape of the output.

        Raises:
            GradientError: an argument that is differentiated holds integers or bools.
        """
        both: tuple[Any, dict[str, Any]] = self._open(BOTH)(*args, **kwargs)
        return both

    def njit(self, *examples: Any, what: str = "value") -> Any:
        """A function for loops that Numba compiles: the kernel, to be called in ``@numba.njit`` functions.

        Args:
            examples: an argument for each placeholder, in their order (by name, or as in `inputs`); only its dtype, its
                rank, which of its sizes are 1 and which are short beside long ones matter.
            what: "value", "grad" or "value_and_grad".

        Returns:
            a function of as many positional arguments. It returns the value, or a tuple: the values of all outputs
            where there are several, the gradients by the order of the placeholders, or first those and then these.

        Raises:
            ArgumentError: there are more or fewer examples than placeholders, or `what` is something else.
            InputError: an example does not fit its placeholder.

        >>> import numba, symgraph as sg
        >>> x = sg.placeholder("x")
        >>> step = sg.compile(x**2 - 2).njit(1.0, what="value_and_grad")
        >>> @numba.njit
        ... def root(x):
        ...     for _ in range(10):
        ...         value, slope = step(x)
        ...         x -= value / slope
        ...     return x
        >>> round(root(1.0), 6)
        1.414214
        """
        from compiler import numba_door  # which takes Numba's import, a quarter of a second

        if what not in (VALUE, GRAD, BOTH):
            raise ArgumentError(f"njit: what must be 'value', 'grad' or 'value_and_grad', got {what!r:.80}")
        return numba_door.njit(self, examples, what)

    # debugging

    def debug(self, /, *args: Any, **kwargs: Any) -> Replay:
        """Replay a call node by node in the reference interpreter, up to the first value that is wrong.

        Wrong is: nan in an argument; an operation that gives nan of numbers, or inf of finite ones; and a value in
        which the kernel differs from the interpreter. Errors are raised as by the call, at the line of the operation.

        Args:
            args, kwargs: as in a call; beside them, where no placeholder has such a name,
                ``what``: "value" (the default), "grad" or "value_and_grad";
                ``tolerance``: how far kernel and interpreter may be apart, relative to the largest element of a result
                (default: 1e-9, and 1e-4 in float32);
                ``pdb``: whether to open the debugger at the line of what is wrong, with the arguments as Variables.

        Returns:
            Replay: true where all is well. `records` holds every node with its value, `stopped` the one that is wrong,
            ``replay["name"]`` the value of an argument, or of what ``sg.named`` named.

        Raises:
            ArgumentError: `what` is something else.

        >>> import numpy as np, symgraph as sg
        >>> x = sg.placeholder("x")
        >>> y = np.log(x - 1)
        >>> replay = sg.compile(y * 2).debug(x=np.array([2.0, 1.0]))
        >>> replay.stopped.node, replay.stopped.fault
        (log(x - 1), 'inf at [1], 1 of 2 elements')
        """
        from compiler.debug import debug  # it is not needed to call a function

        return debug(self, args, kwargs)

    def tap(self, *names: str) -> Function:
        """A function of the same arguments that gives what ``sg.named`` named in the formula.

        Args:
            names: a name gives the value; several give a tuple of values.

        Raises:
            KeyError: nothing in the formula has that name.

        >>> import numpy as np, symgraph as sg
        >>> x = sg.placeholder("x")
        >>> f = sg.compile(np.sum(np.exp(x).named("h") * 2))
        >>> f.tap("h")(x=np.zeros(2))
        array([1., 1.])
        """
        found = {node.params["label"]: node for node in Graph(self.outputs).order if node.op is named}
        unknown = [name for name in names if name not in found]
        if unknown or not names:
            raise KeyError(
                f"nothing is named {', '.join(map(repr, unknown))}; there are: {', '.join(found) or 'no names'}"
            )
        nodes = tuple(found[name] for name in names)
        outputs = nodes[0] if len(nodes) == 1 else nodes
        tapped = Function(outputs, self.inputs, self.wrt, **self.options)
        tapped.signature.positional = self.signature.positional
        return tapped

    def check_grad(self, /, *args: Any, **kwargs: Any) -> list[Slope]:
        """Compare the gradients with finite differences, along a random direction for each argument.

        Args:
            args, kwargs: as in a call, of floating-point numbers; beside them, where no placeholder has such a name,
                ``order``: 1, or 2 (the default) for the gradients of the gradients too;
                ``tolerance``: the relative error that is allowed (default: 1e-6, and 2e-2 in float32);
                ``seed``: of the random directions.

        Returns:
            list[Slope]: for each order and argument the derivative, its finite differences and the error.

        Raises:
            CheckError: they disagree, as they may at kinks.
            ArgumentError, GradientError: as by `value_and_grad`, or another order is asked for.

        >>> import numpy as np, symgraph as sg
        >>> x = sg.placeholder("x")
        >>> len(sg.compile(np.sum(np.sin(x) * x)).check_grad(x=np.linspace(0, 1, 5)))
        2

        Source: central differences at two steps, combined by Richardson's extrapolation.
        """
        from compiler.check_grad import check_grad

        return check_grad(self, args, kwargs)

    def bisect(self, /, *args: Any, **kwargs: Any) -> Culprit | None:
        """Find the first pass, and in it the first rewrite, that changes a result.

        The graph is run in the reference interpreter after every pass, and compared with the graph before the first.

        Args:
            args, kwargs: as in a call; beside them, where no placeholder has such a name,
                ``what``: "value" (the default), "grad" or "value_and_grad";
                ``tolerance``: the difference that is allowed, relative to the largest element (default: 0).

        Returns:
            Culprit | None: the pass and the rewrite, or "kernel" where all passes agree and machine code does not; None
            where all agree.

        >>> import symgraph as sg
        >>> a, b = sg.placeholder("a"), sg.placeholder("b")
        >>> print(sg.compile(a * b + 0.7).bisect(a=0.1, b=0.8))
        fuse multiply-add: np.float64(0.7799999999999999) instead of np.float64(0.78)
          a * b + c -> fma(a, b, c): a * b + 0.7  ->  a * b + 0.7   ...
        >>> sg.compile(a * b + 0.7).bisect(a=0.1, b=0.8, tolerance=1e-12) is None
        True
        """
        from compiler.bisection import bisect

        return bisect(self, args, kwargs)

    # looking inside

    @property
    def graph(self) -> nx.DiGraph:
        """The graph as it was written: a networkx DAG over the expressions."""
        return Graph(self.outputs).dag

    def variants(self) -> list[tuple[str, Variant]]:
        """Every kernel compiled so far, with what it computes; one for float64 numbers is made if there is none."""
        found = [
            (way.what, v)
            for (way, _), plan in list(self.dispatch.kernels.items())
            for v in list(plan.variants.values())
        ]
        return found or [(VALUE, self.dispatch.kernels_for(Way(VALUE, False), ()).variant(_assumed(self.inputs)))]

    def variant_for(self, what: str, values: Sequence[Any]) -> Variant:
        """The kernel for "value", "grad" or "value_and_grad" of converted arguments."""
        return self.dispatch.find(Way(what, False), values)

    def variant_with_grad(self) -> Variant:
        """A kernel for value and gradients: one compiled before, or for float64 numbers where types are open."""
        for what, variant in self.variants():
            if what == BOTH:
                return variant
        kinds = _assumed(self.inputs)
        wanted = self.inputs if self.wrt is None else self.wrt
        floating = [n for n, kind in zip(self.inputs, kinds, strict=True) if kind.dtype.kind == "f"]
        names = tuple(n.name or "" for n in wanted if n in floating)
        return self.dispatch.kernels_for(Way(BOTH, False), names).variant(kinds)

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

    def explain(self, topic: str | None = None) -> str:
        """What the compiler did, per kernel.

        Args:
            topic: None for all, or
                "stations": what the formula went through, and how large it was there;
                "passes": every rewrite with its rule, where that holds, and your lines;
                "schedule": the loops that run, what they compute, where values are kept, and what a call costs, in
                numbers for the sizes that the kernel was last prepared for;
                "cost": bytes, operations, estimated and measured time of each step (see :meth:`profile`);
                "cache": whether the machine code was found on disk.

        Raises:
            ValueError: for another topic.

        >>> import symgraph as sg
        >>> x = sg.placeholder("x", shape=("n",), dtype="float64")
        >>> print(sg.compile(x * 1 + x).explain("passes"))
        value for (x: float64(n,))
          typed: 4 nodes
          roll: 4 nodes
          simplify: 3 nodes
            x * 1 -> x
              x * 1  ->  x   ...
            x + x -> 2 * x
              x + x  ->  2 * x   ...
        ...
        """
        from compiler.explain import explain

        return explain(self, topic)

    def profile(self, /, *args: Any, **kwargs: Any) -> Profile:
        """Run a call several times, and measure how long each step of its schedule takes.

        The kernel is compiled once more, with calls of a clock between its steps.

        Args:
            args, kwargs: as in a call; beside them, where no placeholder has such a name,
                ``what``: "value" (the default), "grad" or "value_and_grad";
                ``repeat``: how often (default: 20); of each step the median counts.

        Returns:
            Profile: printed, a table of the steps with their times, and the bytes and operations per second.
            ``explain("cost")`` shows the times from then on.

        >>> import numpy as np, symgraph as sg
        >>> x = sg.placeholder("x", shape=("n",), dtype="float64")
        >>> len(sg.compile(np.sum(np.exp(x))).profile(x=np.zeros(1000)).seconds)
        1
        """
        from compiler.profile import profile

        return profile(self, args, kwargs)

    def view(self, stage: str = "before") -> View:
        """What pictures show of a stage, as plain data; see :meth:`to_dot`."""
        from compiler.pictures import view

        return view(self, stage)

    def to_dot(self, stage: str = "before", verbose: bool = False, *, preset: str = "dezero", **options: Any) -> str:
        """The graph as DOT text.

        Args:
            stage: "before" (as written), "after" (optimised), "backward" (the gradients), "sides" (before and after
                side by side), "joint" (forward and backward part).
            verbose: labels also show shapes and dtypes; in the preset "symgraph", the lines that wrote the operations.
            preset: "dezero", "torchviz" or "symgraph", which frames parts and kernels.
            options: ``collapse="repeat"``, ``"scope"``, ``"line"``, ``"kernel"`` or several of them draw less;
                ``heat="cost"`` colours the kernels of the preset "symgraph"; see :func:`symgraph.get_dot_graph`.

        Raises:
            ValueError: for another stage or preset.
            TypeError: for an option that the preset does not have.

        >>> import symgraph as sg
        >>> f = sg.compile(sg.placeholder("x") * 2 + 1)
        >>> "MulAdd" in f.to_dot("after"), "loops" in f.to_dot("after", preset="symgraph")
        (True, False)
        """
        from compiler.pictures import to_dot

        return to_dot(self, stage, verbose, preset, **options)

    def plot(
        self,
        path: str | os.PathLike[str],
        stage: str = "before",
        verbose: bool = False,
        *,
        preset: str = "dezero",
        **options: Any,
    ) -> Any:
        """Draw :meth:`to_dot` into a file; its extension picks the format: svg, png, pdf ...; "dot" for the text.

        Raises:
            RendererError: no program to draw it was found, or it failed or took too long.
        """
        from symgraph.render import render

        return render(self.to_dot(stage, verbose, preset=preset, **options), path)

    def inspect(self, path: str | os.PathLike[str]) -> Path:
        """Write a page that shows the graphs and kernels of this function, for a browser; it needs no network.

        It shows the kernels compiled so far, for the types of the calls, with their times where they were measured;
        where none has gradients, one that has is compiled for it.

        Args:
            path: the file, such as "graph.html".

        Returns:
            the file's path.

        >>> import os, tempfile, symgraph as sg
        >>> x = sg.placeholder("x")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sg.compile(x * x + 1).inspect(os.path.join(folder, "graph.html")).name
        'graph.html'
        """
        from compiler.inspector import write

        return write(self, path)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from compiler.notebook import bundle

        return bundle(self)

    def __str__(self) -> str:
        from compiler.overview import overview

        return overview(self)

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


def _first_value(function: weakref.ref[Function], dispatch: Dispatch, /, *args: Any, **kwargs: Any) -> Any:
    """The first call of a function; its later calls go to a callable of the runtime, once that is there."""
    if not runtime.at_hand():
        return dispatch.answer(VALUE, *args, **kwargs)
    caller, self = dispatch.caller(VALUE, Function.__call__.__doc__), function()
    if self is not None:
        self._value = caller
    return caller(*args, **kwargs)


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


def _check_closed(order: Iterable[Expr]) -> None:
    for node in order:
        if node.op is ar.bound:
            raise SymbolError(
                f"compile: {node!r} stands for a value inside the body of a loop, and has none outside of it; let the "
                f"body return what is wanted of it"
            )


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


@collection_paused()
def compile(  # noqa: A001  (the library's name for it)
    outputs: Any,
    inputs: Sequence[Expr] | None = None,
    wrt: Any = None,
    *,
    updates: Any = None,
    fma: bool = True,
    verify: bool = False,
) -> Any:
    """Compile expressions into a function of their placeholders.

    Args:
        outputs: an expression, or any nesting of lists, tuples and dicts of them; results come in the same structure.
        inputs: placeholders in the order of positional arguments; may list some that the outputs do not use.
        wrt: the placeholders (or their names) that gradients are taken for; by default every floating-point one.
        updates: what parameters become with every call, by parameter; see :class:`compiler.state.Stateful`.
        fma: compute ``a*b + c`` with one rounding. Without it, + - * / give bitwise what NumPy gives.
        verify: check the graph after every pass.

    Returns:
        Function: nothing is compiled to machine code before its first call. Where parameters are used, a
        :class:`compiler.state.Stateful`.

    Raises:
        ArgumentError: there is nothing to compile, or inputs and wrt do not fit the outputs.

    >>> import symgraph as sg
    >>> x, y = sg.placeholder("x"), sg.placeholder("y")
    >>> f = sg.compile({"sum": x + y, "product": x * y}, inputs=[x, y])
    >>> f(2, 3)
    {'sum': np.int64(5), 'product': np.int64(6)}
    """
    from compiler.state import Stateful, parameters_in  # which are made of functions

    parameters = parameters_in(outputs, updates)
    if parameters or updates:
        return Stateful(outputs, inputs, wrt, updates, parameters, fma=fma, verify=verify)
    return Function(outputs, inputs, wrt, fma=fma, verify=verify)

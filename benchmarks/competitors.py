"""Who computes it: one entry of `COMPETITORS` each, with the library's default settings.

An entry's `prepare` brings the workload into the library's form and returns a function without arguments that computes
the results anew: the value, then the gradients. They are complete when it returns. Arguments are converted to the
library's own arrays beforehand, where it has such.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.elementwise import Arguments, erf
from benchmarks.workloads import Workload, names_of

Call = Callable[[], Iterable[Any]]


class UnsupportedError(Exception):
    """The library has no way to state this workload; the message says why."""


@dataclass(frozen=True)
class Competitor:
    """A way to compute a workload.

    Attributes:
        name: of the column.
        prepare: from a workload and its arguments to the function that is timed; raises UnsupportedError.
        module: what it imports; "" where nothing beyond NumPy and symgraph.
        install: the package for pip.
        key: what ``--peers`` selects it by; "" for those that always take part.
        eager: the competitor without compilation that its compile time is weighed against; "" where it compiles
            nothing.
    """

    name: str
    prepare: Callable[[Workload, Arguments], Call]
    module: str = ""
    install: str = ""
    key: str = ""
    eager: str = ""

    def missing(self) -> bool:
        """Whether its package is not installed."""
        return bool(self.module) and importlib.util.find_spec(self.module) is None


# -- symgraph and NumPy ------------------------------------------------------------------------------------------------


def compiled(workload: Workload, arguments: Arguments) -> Call:
    import symgraph as sg

    symbols = [sg.placeholder(name) for name in arguments]
    formula = workload.formula(names_of(np, erf=sg.erf), *symbols)
    f = sg.compile(formula, inputs=symbols, wrt=list(workload.wrt) or None)
    if not workload.wrt:
        return lambda: (f(**arguments),)

    def call() -> Iterable[Any]:
        value, gradients = f.value_and_grad(**arguments)
        return value, *gradients.values()

    return call


def define_by_run(workload: Workload, arguments: Arguments) -> Call:
    import symgraph as sg

    arrays = {name: np.asarray(value) for name, value in arguments.items()}
    names = names_of(np, erf=sg.erf)

    def call() -> Iterable[Any]:
        variables = {name: sg.Variable(value) for name, value in arrays.items()}
        result = workload.formula(names, *variables.values())
        if workload.wrt:
            result.backward()
        return result.data, *(variables[name].grad.data for name in workload.wrt)

    return call


def numpy(workload: Workload, arguments: Arguments) -> Call:
    values = list(arguments.values())
    if workload.by_hand is not None:
        return lambda: workload.by_hand(*values)
    names = names_of(np, erf=erf)
    return lambda: (workload.formula(names, *values),)


def by_numba(workload: Workload, arguments: Arguments) -> Call:
    from benchmarks.by_numba import FUNCTIONS

    if workload.task not in FUNCTIONS:
        raise UnsupportedError("not written")
    values = list(arguments.values())
    return lambda: FUNCTIONS[workload.task](*values)


# -- libraries that take whole arrays ----------------------------------------------------------------------------------


def jax(workload: Workload, arguments: Arguments) -> Call:
    import jax as library
    from jax.scipy.special import erf as function

    library.config.update("jax_enable_x64", True)
    names = names_of(library.numpy, erf=function)
    values = [library.device_put(v) if isinstance(v, np.ndarray) else v for v in arguments.values()]
    places = [list(arguments).index(name) for name in workload.wrt]

    def function(*args: Any) -> Any:
        if not places:
            return (workload.formula(names, *args),)

        def of_some(*some: Any) -> Any:
            every = list(args)
            for place, value in zip(places, some, strict=True):
                every[place] = value
            return workload.formula(names, *every)

        value, pull = library.vjp(of_some, *(args[place] for place in places))
        return value, *pull(library.numpy.ones_like(value))

    f = library.jit(function)
    return lambda: library.block_until_ready(f(*values))


def torch_names() -> SimpleNamespace:
    """torch under NumPy's names, where they differ."""
    import torch as library

    def maximum(a: Any, b: Any) -> Any:
        return library.maximum(a, b) if isinstance(b, library.Tensor) else library.clamp_min(a, b)

    return names_of(library, max=library.amax, min=library.amin, maximum=maximum)


def _torch(workload: Workload, arguments: Arguments, compile: bool) -> Call:  # noqa: A002
    import torch as library

    dtype = getattr(library, next((str(v.dtype) for v in arguments.values() if isinstance(v, np.ndarray)), "float64"))
    values = {name: library.tensor(value, dtype=dtype) for name, value in arguments.items()}
    differentiated = [values[name].requires_grad_() for name in workload.wrt]
    names = torch_names()

    def formula(*args: Any) -> Any:
        return workload.formula(names, *args)

    library.compiler.reset()  # else sizes become variables, because an earlier function had others
    f = library.compile(formula) if compile else formula

    def call() -> Iterable[Any]:
        result = f(*values.values())
        if not differentiated:
            return (result,)
        return result.detach(), *library.autograd.grad(result, differentiated, library.ones_like(result))

    return call


def torch(workload: Workload, arguments: Arguments) -> Call:
    return _torch(workload, arguments, compile=False)


def torch_compile(workload: Workload, arguments: Arguments) -> Call:
    return _torch(workload, arguments, compile=True)


def pytensor(workload: Workload, arguments: Arguments) -> Call:
    import pytensor as library
    import pytensor.tensor as pt

    arrays = [v for v in arguments.values() if isinstance(v, np.ndarray)]
    library.config.floatX = str(arrays[0].dtype) if arrays else "float64"  # what Python's numbers become
    symbols = [
        pt.tensor(name, dtype=str(v.dtype), shape=(None,) * v.ndim)
        for name, v in zip(arguments, map(np.asarray, arguments.values()), strict=True)
    ]
    value = workload.formula(pt, *symbols)
    wrt = [symbols[list(arguments).index(name)] for name in workload.wrt]
    f = library.function(symbols, [value, *(library.grad(value.sum(), wrt) if wrt else [])])
    values = list(arguments.values())
    return lambda: f(*values)


def autograd(workload: Workload, arguments: Arguments) -> Call:
    import autograd.numpy
    from autograd.differential_operators import make_vjp
    from autograd.scipy.special import erf as function

    if not workload.wrt:
        raise UnsupportedError("without a gradient it is NumPy")
    names = names_of(autograd.numpy, erf=function)
    values = list(arguments.values())
    places = tuple(list(arguments).index(name) for name in workload.wrt)
    differentiate = make_vjp(lambda *args: workload.formula(names, *args), argnum=places)

    def call() -> Iterable[Any]:
        pull, value = differentiate(*values)
        return value, *pull(np.ones_like(value))

    return call


# -- libraries for formulas of numbers, or of arrays element by element ------------------------------------------------


def _columns(workload: Workload, arguments: Arguments) -> list[Any]:
    """The arguments, all numbers or all arrays of one length."""
    if not workload.elementwise:
        raise UnsupportedError("it has no arrays: element-by-element formulas only")
    return list(arguments.values())


def heyoka(workload: Workload, arguments: Arguments) -> Call:
    import heyoka as library

    values = np.array(_columns(workload, arguments))
    single = values.dtype == np.float32
    symbols = library.make_vars(*arguments)
    symbols = list(symbols) if isinstance(symbols, (list, tuple)) else [symbols]
    value = workload.formula(library, *symbols)
    outputs = [value]
    if workload.wrt:
        wrt = [symbols[list(arguments).index(name)] for name in workload.wrt]
        outputs += library.diff_tensors([value], diff_args=wrt, diff_order=1).gradient
    f = library.cfunc(outputs, vars=symbols, fp_type=np.float32 if single else float)
    return lambda: f(values)


def casadi(workload: Workload, arguments: Arguments) -> Call:
    import casadi as library

    values = _columns(workload, arguments)
    if any(isinstance(v, np.ndarray) and v.dtype != np.float64 for v in values):
        raise UnsupportedError("float64 only")
    if max(np.size(v) for v in values) > 1_000:
        raise UnsupportedError("made for formulas of numbers: it takes half a second for long arrays")
    symbols = [
        library.MX.sym(name, len(v)) if isinstance(v, np.ndarray) else library.SX.sym(name)
        for name, v in arguments.items()
    ]
    value = workload.formula(library, *symbols)
    wrt = [symbols[list(arguments).index(name)] for name in workload.wrt]
    total = library.sum1(value)
    f = library.Function("f", symbols, [value, *(library.gradient(total, v) for v in wrt)])
    return lambda: f.call(values)


class Text:
    """A formula as text, written by its operators."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __neg__(self) -> Text:
        return Text(f"(-{self.text})")


def _written(pattern: str) -> Callable[..., Text]:
    return lambda *args: Text(pattern.format(*(a.text if isinstance(a, Text) else repr(a) for a in args)))


for _name, _sign in (("add", "+"), ("sub", "-"), ("mul", "*"), ("truediv", "/"), ("pow", "**")):
    setattr(Text, f"__{_name}__", _written(f"({{}} {_sign} {{}})"))
    setattr(Text, f"__r{_name}__", _written(f"({{1}} {_sign} {{0}})"))


def text_functions() -> SimpleNamespace:
    """The functions that formulas as text may use."""
    return SimpleNamespace(**{name: _written(f"{name}({{}})") for name in ("exp", "sin", "tanh")})


def numexpr(workload: Workload, arguments: Arguments) -> Call:
    import numexpr as library

    _columns(workload, arguments)
    if workload.wrt:
        raise UnsupportedError("it has no gradients")
    text = workload.formula(text_functions(), *map(Text, arguments)).text
    return lambda: (library.evaluate(text, local_dict=arguments),)


COMPETITORS: list[Competitor] = [
    Competitor("symgraph compiled", compiled, eager="symgraph eager"),
    Competitor("symgraph eager", define_by_run),
    Competitor("NumPy", numpy),
    Competitor("Numba by hand", by_numba, "numba", "numba", "numba", "NumPy"),
    Competitor("JAX", jax, "jax", "jax", "jax", "symgraph eager"),
    Competitor("PyTensor", pytensor, "pytensor", "pytensor", "pytensor", "symgraph eager"),
    Competitor("torch", torch, "torch", "torch", "torch"),
    Competitor("torch.compile", torch_compile, "torch", "torch", "torch.compile", "torch"),
    Competitor("heyoka", heyoka, "heyoka", "heyoka", "heyoka", "symgraph eager"),
    Competitor("CasADi", casadi, "casadi", "casadi", "casadi", "symgraph eager"),
    Competitor("autograd", autograd, "autograd", "autograd", "autograd"),
    Competitor("numexpr", numexpr, "numexpr", "numexpr", "numexpr"),
]


def find(name: str) -> Competitor:
    """The entry of that name."""
    return next(c for c in COMPETITORS if c.name == name)

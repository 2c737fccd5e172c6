"""What several test files share: special values, comparison in units in the last place, every form of a formula."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

import symgraph as sg
from compiler import emit_python, interpret, passes, runtime
from compiler.arguments import convert, size_values
from compiler.dispatch import VALUE, Way
from compiler.program import Program
from compiler.variant import Variant
from symgraph import dims
from symgraph.dims import Size
from symgraph.op import REGISTRY

DTYPES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
)
FLOATS = ("float32", "float64")


# -- values ------------------------------------------------------------------------------------------------------------


def special(dtype: Any) -> np.ndarray:
    """The values on which implementations differ: zeros, limits, infinities, nan, subnormals, ties of rounding, the
    ends of the ranges of exp, large arguments of sin."""
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return np.array([False, True])
    if kind.kind in "iu":
        info = np.iinfo(kind)
        wanted = (
            info.min,
            info.min + 1,
            -129,
            -128,
            -7,
            -3,
            -2,
            -1,
            0,
            1,
            2,
            3,
            5,
            7,
            8,
            info.bits - 1,
            info.bits,
            info.bits + 1,
            127,
            255,
            info.max // 3,
            info.max // 2 + 1,
            info.max - 1,
            info.max,
        )
        return np.array(sorted({v for v in wanted if info.min <= v <= info.max}), kind)
    info = np.finfo(kind)
    positive = [
        0.0,
        info.smallest_subnormal,
        info.tiny / 3,
        info.tiny,
        1e-30,
        1e-8,
        info.eps,
        1e-3,
        0.1,
        0.5,
        1 - info.epsneg,
        1,
        1 + info.eps,
        1.5,
        2,
        2.5,
        3,
        np.pi,
        10,
        30,
        88.7,
        100,
        104,
        709.7,
        710,
        745,
        1e5,
        1e10,
        1e22,
        2 / info.eps,
        1 / info.eps + 0.5,
        float(info.max) ** 0.5,
        info.max,
        np.inf,
        np.nan,
    ]
    with np.errstate(over="ignore"):
        return np.array(positive + [-x for x in positive], kind)


def scattered(dtype: Any, count: int, seed: int = 0) -> np.ndarray:
    """Values of many magnitudes."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return rng.integers(0, 2, count).astype(bool)
    if kind.kind in "iu":
        info = np.iinfo(kind)
        wide = rng.integers(info.min, info.max, count, dtype=kind, endpoint=True)
        return np.where(rng.random(count) < 0.5, wide, wide % kind.type(11)).astype(kind)
    near, far = rng.uniform(-3, 3, count), rng.normal(size=count) * 10.0 ** rng.uniform(-8, 8, count)
    return np.where(rng.random(count) < 0.5, near, far).astype(kind)


def pairs(left: np.ndarray, right: np.ndarray) -> list[np.ndarray]:
    """Every value of one with every value of the other."""
    return [grid.ravel() for grid in np.meshgrid(left, right, indexing="ij")]


# -- comparison --------------------------------------------------------------------------------------------------------


def ulps(got: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How many floating-point numbers lie between; inf where only one is nan, or two zeros differ in sign."""
    whole = np.dtype(f"i{got.dtype.itemsize}")

    def ranks(x: np.ndarray) -> np.ndarray:
        bits = np.ascontiguousarray(x).view(whole)
        return np.where(bits < 0, np.iinfo(whole).min - bits, bits)

    high, low = np.maximum(ranks(got), ranks(wanted)), np.minimum(ranks(got), ranks(wanted))
    apart = (high.view(f"u{whole.itemsize}") - low.view(f"u{whole.itemsize}")).astype(np.float64)
    apart[np.isnan(got) & np.isnan(wanted)] = 0
    apart[np.isnan(got) != np.isnan(wanted)] = np.inf
    apart[(got == 0) & (wanted == 0) & (np.signbit(got) != np.signbit(wanted))] = np.inf
    return apart


def difference(got: Any, wanted: Any, ulp: float = 0, at: Sequence[Any] = (), scale: Any = None) -> str | None:
    """What is wrong with a result (dtype, shape, or the worst element, where arrays `at` are), or None; where terms as
    large as `scale` cancel, the units are theirs."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    if got.dtype != wanted.dtype or got.shape != wanted.shape:
        return f"is {got.dtype}{got.shape}, NumPy {wanted.dtype}{wanted.shape}"
    if got.dtype.kind != "f":
        wrong = (got != wanted).astype(np.float64)
    elif got.dtype.itemsize == 2:
        wrong = (~((got == wanted) | (np.isnan(got) & np.isnan(wanted)))).astype(np.float64)
    else:
        wrong = ulps(np.atleast_1d(got), np.atleast_1d(wanted)).reshape(got.shape)
        if scale is not None:
            with np.errstate(all="ignore"):
                wrong = np.where(abs(got - wanted) <= ulp * np.spacing(scale), 0.0, wrong)
    if not wrong.size or wrong.max() <= ulp:
        return None
    worst = np.unravel_index(np.argmax(wrong), wrong.shape)
    place = f" at {', '.join(repr(a[worst]) for a in at)}" if at and all(np.shape(a) == wrong.shape for a in at) else ""
    count = np.count_nonzero(wrong > ulp)
    return f"{got[worst]!r}, NumPy {wanted[worst]!r}{place}: {wrong[worst]:g} ulp, {count} wrong"


# -- forms -------------------------------------------------------------------------------------------------------------


class Call(NamedTuple):
    """A row applied to inputs by name."""

    row: str
    args: tuple[str, ...]
    params: Mapping[str, Any] = {}

    def on(self, inputs: Mapping[str, Any]) -> Any:
        """The row on arrays, Variables or symbols."""
        return REGISTRY[self.row](*(inputs[a] for a in self.args), **self.params)


KERNEL = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.POINTER(ctypes.c_int64)] * 2, ctypes.c_void_p)
"""The signature of all kernels: the addresses of their arguments, the sizes, and a function that runs chunks."""


class TextKernel:
    """A program's printed text, run by Python in place of machine code."""

    hasty = False

    def __init__(self, program: Program, sizes: list[Size]) -> None:
        self.program, self.sizes = program, sizes
        self.names = emit_python.namespace()
        exec(emit_python.write(program, sizes), self.names)
        self.values: dict[str, int] = {}
        self.error: BaseException | None = None
        self.function = KERNEL(self.run)

    @property
    def latest(self) -> TextKernel:
        return self

    @property
    def address(self) -> int:
        return ctypes.cast(self.function, ctypes.c_void_p).value or 0

    def run(self, addresses: Any, sizes: Any, _: Any) -> int:
        """What the kernel is called with."""
        program = self.program
        buffers = [*program.inputs, *(b for b, _ in program.constants), *dict.fromkeys(program.outputs)]
        arguments: list[Any] = []
        for address, buffer in zip(addresses[: len(buffers)], buffers, strict=True):
            count = 1 if buffer.role == "scalar" else int(dims.evaluate(buffer.elements, self.values))
            data = (ctypes.c_char * (count * buffer.dtype.itemsize)).from_address(address)
            array: Any = np.ndarray((count,), buffer.dtype, data)
            arguments.append(array[0] if buffer.role == "scalar" else array)
        try:
            with np.errstate(all="ignore"):
                return self.names["kernel"](*arguments, *sizes[: len(self.sizes)]) or 0
        except BaseException as error:  # nothing is raised through machine code
            self.error = error
            return 0


def run_text(function: Any, values: Mapping[str, Any]) -> Any:
    """The answer of a function's printed source, run by Python in place of its last kernel."""
    _, compiled = function.variants()[-1]
    text = TextKernel(compiled.program, compiled.sizes)
    variant = Variant(compiled.typed, compiled.steps, compiled.program, text, list(compiled.steps[-1].outputs))
    arguments = [convert(node, values[node.name]) for node in function.inputs]
    text.values = size_values(function.inputs, values)
    bound = variant.bind(text.values)
    plan = function.dispatch.describe(Way(VALUE, False), (), bound, function.inputs, arguments)
    result = runtime.load().run(plan, arguments, lambda: arguments)
    if text.error is not None:
        raise text.error
    return result


def forms(
    calls: Mapping[str, Call],
    values: Mapping[str, Any],
    few: Mapping[str, Any] | None = None,
    **options: Any,
) -> dict[str, tuple[Mapping[str, Any], dict[str, Any]]]:
    """The results of every form of the calls: {form: (the values it ran on, {call: result})}.

    `few` are the values for the form that is slow: the printed text run by Python.
    """
    symbols = {name: sg.placeholder(name) for name in values}
    formulas = {key: call.on(symbols) for key, call in calls.items()}
    used = {name for call in calls.values() for name in call.args}
    given = {name: value for name, value in values.items() if name in used}
    variables = {name: sg.as_variable(value) for name, value in given.items()}
    function = sg.compile(formulas, verify=True, **options)
    with np.errstate(all="ignore"):
        eager = {key: call.on(variables) for key, call in calls.items()}
        found = {
            "impl": (given, {key: call.on(given) for key, call in calls.items()}),
            "eager": (given, {key: getattr(result, "data", result) for key, result in eager.items()}),
            "interpreter": (given, dict(zip(formulas, interpret(list(formulas.values()), given), strict=True))),
            "kernel": (given, function(**given)),
        }
    few = {n: v for n, v in (given if few is None else few).items() if n in used}
    found["text"] = (few, run_text(function, few))
    return found


@contextmanager
def without_loops() -> Iterator[None]:
    """The optimiser without the pass."""
    before, whole = passes.BEFORE_GRADIENTS, passes.PIPELINE
    try:
        passes.BEFORE_GRADIENTS = ()
        passes.PIPELINE = tuple(step for step in whole if not step[0].startswith("roll"))
        yield
    finally:
        passes.BEFORE_GRADIENTS, passes.PIPELINE = before, whole

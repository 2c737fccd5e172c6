"""Random valid programs in every form: NumPy, Variables, interpreter, every stage of the optimiser, kernels, gradients.

A program is text: lines of NumPy over ``v0, v1, ...``, found by trial, so that each is valid for the sizes it was made
with; other sizes may raise, and then every form must raise. A failure prints a program that can be run by itself, cut
down to what matters. A longer campaign is ``python tests/test_random_programs.py 1000 --first 500``,
or more tests by the environment variable SYMGRAPH_PROGRAMS.
"""

from __future__ import annotations

import os
import random
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from campaigns import run_many

import symgraph as sg
from compiler import Function, interpret
from compiler.arguments import argument_type, convert, size_values
from compiler.passes.simplify import RULES
from compiler.variant import Variant
from symgraph.errors import CompileError, LoopError, SymbolError, SymgraphError

PROGRAMS = int(os.environ.get("SYMGRAPH_PROGRAMS", "60"))

GIVEN, EXACT, ROUGH = 0, 1, 2
"""How a value was computed: selected from inputs; by operations that every form rounds alike; or by sums and
functions, where forms may differ in the last digits. What jumps (comparisons, floor) is asked only of the first two."""

Sizes = Mapping[str, int]
BASE: Sizes = {"n": 4, "m": 5, "k": 6}


@dataclass(frozen=True)
class Input:
    """A placeholder: its axes (a size's name, or 1), its dtype, and whether special values are among its data."""

    name: str
    axes: tuple[str | int, ...]
    dtype: str
    special: bool

    def data(self, sizes: Sizes, seed: int) -> Any:
        """Values of moderate magnitude, the same for the same seed."""
        rng = np.random.default_rng([seed, *self.name.encode()])
        shape = tuple(sizes[a] if isinstance(a, str) else a for a in self.axes)
        if self.dtype == "bool":
            return np.asarray(rng.random(shape) < 0.5)
        if self.dtype == "int64":
            return np.asarray(rng.integers(-5, 6, shape))
        values = rng.uniform(0.5, 2.0, shape) * np.where(rng.random(shape) < 0.5, -1, 1)
        if self.special:
            values = np.where(
                rng.random(shape) < 0.3, rng.choice([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0], shape), values
            )
        return np.asarray(values, self.dtype)


@dataclass(frozen=True)
class Line:
    """``target = text``."""

    target: str
    text: str
    uses: tuple[str, ...]
    level: int
    jumps: bool = False


@dataclass(frozen=True)
class Program:
    """Inputs, lines, and which values are the results."""

    seed: int
    inputs: tuple[Input, ...]
    lines: tuple[Line, ...]
    outputs: tuple[str, ...]
    levels: Mapping[str, int] = field(repr=False)

    def run(self, values: Mapping[str, Any]) -> list[Any]:
        """The results, for arrays, symbols or Variables."""
        scope = {"np": np, "sg": sg, **values}
        for line in self.lines:
            scope[line.target] = eval(compile(line.text, f"<{line.target} = {line.text}>", "eval"), scope)
        return [scope[o] for o in self.outputs]

    def data(self, sizes: Sizes) -> dict[str, Any]:
        """Arrays for the inputs."""
        return {i.name: i.data(sizes, self.seed) for i in self.inputs}

    def cut(self, outputs: Sequence[str]) -> Program:
        """The same program for some of the outputs, without the lines they do not need."""
        needed = set(outputs)
        lines = []
        for line in reversed(self.lines):
            if line.target in needed:
                needed.update(line.uses)
                lines.append(line)
        inputs = tuple(i for i in self.inputs if i.name in needed)
        return replace(self, inputs=inputs, lines=tuple(reversed(lines)), outputs=tuple(outputs))

    @property
    def level(self) -> int:
        """The roughest of its outputs."""
        return max(self.levels[o] for o in self.outputs)

    @property
    def jumps(self) -> bool:
        """Whether something discontinuous is done to computed values, which a fused multiply-add rounds otherwise."""
        return any(line.jumps for line in self.lines)

    @property
    def single(self) -> bool:
        """Whether float32 takes part."""
        return any("float32" in text for text in (*(i.dtype for i in self.inputs), *(line.text for line in self.lines)))

    def text(self, sizes: Sizes, declared: str) -> str:
        """A script that shows the results of NumPy and of the kernel."""
        made = [
            f"{i.name} = np.array({i.data(sizes, self.seed).tolist()}, {i.dtype!r})"
            f".reshape({tuple(sizes.get(str(a), a) for a in i.axes)})"
            for i in self.inputs
        ]
        symbols = [f"{i.name} = {placeholder_text(i, sizes, declared)}" for i in self.inputs]
        body = [f"{line.target} = {line.text}" for line in self.lines]
        names = ", ".join(self.outputs)
        data = ", ".join(f"{i.name!r}: {i.name}" for i in self.inputs)
        return "\n".join(
            [
                "import numpy as np, symgraph as sg",
                "inf, nan = np.inf, np.nan",
                *made,
                f"data = {{{data}}}",
                *body,
                f"expected = [{names}]",
                *symbols,
                *body,
                f"f = sg.compile([{names}], fma=False, verify=True)",
                "print(expected)",
                "print(f(**data))",
            ]
        )


def placeholder_text(i: Input, sizes: Sizes, declared: str) -> str:
    if declared == "open":
        return f"sg.placeholder({i.name!r})"
    axes = i.axes if declared == "named" else tuple(sizes.get(str(a), a) for a in i.axes)
    return f"sg.placeholder({i.name!r}, {axes!r}, {i.dtype!r})"


# -- making programs ---------------------------------------------------------------------------------------------------

UNARY_EXACT = [
    "-{}",
    "abs({})",
    "np.square({})",
    "{} * 2",
    "1 - {}",
    "0.5 + {}",
    "{} / 4",
    "3 / {}",
    "+{}",
    "{} * {}",
    "np.clip({}, -1, 1)",
    "{} - {}",
    "{} ** 2",
    "np.maximum({}, 0)",
    "np.minimum({}, 1.5)",
    "{} * -1",
    "np.where({} > 0, {}, 1)",
    "{} + 0.0",
    "{} / {}",
    "-(-{})",
    "np.reciprocal({} + 0.25)",
    "np.copysign({}, -1.0)",
    "{} + np.array([1.0, 2.0, 3.0])",
    "np.array([[1], [2]]) * {}",
]
UNARY_ROUGH = [
    "np.sin({})",
    "np.tanh({})",
    "np.exp(-abs({}))",
    "np.sqrt(abs({}) + 0.5)",
    "np.log(abs({}) + 0.5)",
    "np.arctan({})",
    "np.cos({})",
    "np.log1p(abs({}))",
    "np.expm1(-abs({}))",
    "np.cbrt(abs({}) + 0.5)",
    "abs({}) ** 1.5",
    "{} ** 3",
    "np.sinh(np.tanh({}))",
]
UNARY_JUMP = [
    "np.floor({})",
    "np.sign({})",
    "{} > 0",
    "{} <= 1",
    "np.isfinite({})",
    "np.rint({})",
    "np.isnan({})",
    "np.not_equal({}, 0)",
    "np.logical_not({})",
    "np.ceil({})",
    "np.trunc({})",
    "{} % 2",
    "{} // 2",
]
INTEGER = [
    "{} // 3",
    "{} % 3",
    "-{}",
    "~{}",
    "{} & 3",
    "{} ^ 5",
    "{} | 1",
    "{} * {}",
    "np.abs({})",
    "{} // -2",
    "{} % -4",
    "{} << 2",
    "{} >> 1",
    "np.sign({})",
    "{} - 7",
    "np.minimum({}, 2)",
    "{} ** 2",
]
BINARY_EXACT = [
    "{} + {}",
    "{} - {}",
    "{} * {}",
    "{} / {}",
    "np.maximum({}, {})",
    "np.minimum({}, {})",
    "np.fmax({}, {})",
    "{} * {} + 1",
    "{} + 2 * {}",
    "np.where(True, {}, {})",
]
BINARY_ROUGH = ["np.arctan2({}, abs({}) + 0.5)", "np.hypot({}, {})", "np.logaddexp({}, {})"]
BINARY_JUMP = [
    "{} < {}",
    "{} >= {}",
    "np.equal({}, {})",
    "np.logical_and({}, {})",
    "np.logical_or({}, {})",
    "{} % {}",
    "{} // {}",
]
VIEWS = [
    "{}.T",
    "{}[::-1]",
    "{}[1:]",
    "{}[:-1]",
    "{}[..., ::2]",
    "{}[None]",
    "{}[0]",
    "{}[-1]",
    "{}[:, 0]",
    "{}[..., None]",
    "{}.reshape(-1)",
    "{}[:2]",
    "{}[..., 1]",
    "np.flip({})",
    "np.swapaxes({}, 0, -1)",
    "np.expand_dims({}, 1)",
    "{}[:, None]",
    "{}[:0]",
    "{}[2:0:-1]",
    "{}[-3:]",
    "{}.reshape(1, -1)",
    "{}[[0, 2, 0]]",
    "np.take({}, [1, -1], axis=-1)",
    "np.roll({}, 1, axis=0)",
    "np.squeeze({}, axis=0)",
    "np.moveaxis({}, 0, -1)",
    "{}[..., -2:]",
    "np.diff({}, axis=0)",
    "{}[::-2]",
    "np.broadcast_to({}, (2, 4, 5))",
    "{}[1:, :-1]",
]
REDUCTIONS_EXACT = [
    "{}.max()",
    "{}.min()",
    "{}.max(axis=0)",
    "{}.min(axis=-1, keepdims=True)",
    "np.max({}, axis=(0, 1))",
]
REDUCTIONS_ROUGH = [
    "{}.sum()",
    "{}.sum(axis=0)",
    "{}.sum(axis=-1, keepdims=True)",
    "{}.mean(axis=0)",
    "{}.sum(axis=(0, -1))",
    "{}.mean()",
    "np.sum({}, axis=1)",
    "{}.var(axis=0)",
    "np.prod(np.tanh({}), axis=0)",
    "{}.prod(axis=-1)",
    "np.std({}, axis=-1)",
]
REDUCTIONS_JUMP = [
    "{}.argmax(axis=0)",
    "{}.argmin()",
    "{}.any()",
    "{}.all(axis=-1)",
    "np.any({} > 1, axis=0)",
    "np.argmax({}, axis=-1)",
    "np.count_nonzero({}, axis=0)",
]
JOINS = [
    "np.concatenate([{}, {}])",
    "np.concatenate([{}, {}], axis=-1)",
    "np.stack([{}, {}])",
    "np.stack([{}, {}], axis=-1)",
    "np.concatenate([{}, {}, {}], axis=0)",
    "np.hstack([{}, {}])",
    "np.vstack([{}, {}])",
]
CONTROL_EXACT = [
    "{0} / 2 + sg.cond({1}.max() > 0, lambda: {0} * 2, lambda: {0} - 1)",
    "sg.cond(np.any({1} > 1), lambda: {0} + {1}, lambda: {0} * {0})",
    "sg.cond({0}.max() > 0, lambda: {0} / 2, lambda: sg.fori_loop(0, 2, lambda i, s: s - 0.5, {0}))",
    "sg.switch(2, [lambda: {0}, lambda: -{0}, lambda: {0} * {1}])",
    "sg.fori_loop(0, 3, lambda i, s: s / 2 + {1}, {0})",
    "sg.fori_loop(0, 3, lambda i, s: (s[1], s[0] * 0.5), ({0}, {0} + {1}))[0]",
    "sg.fori_loop(1, 3, lambda i, s: s * 0.25 + i, {0})",
    "sg.fori_loop(0, 2, lambda i, s: sg.fori_loop(0, i + 1, lambda j, t: t * 0.5 - {1}, s), {0})",
    "sg.fori_loop(0, 3, lambda i, s: sg.cond(i > 1, lambda: s + {1}, lambda: s / 2), {0})",
    "sg.fori_loop(0, 0, lambda i, s: s + 1.5, {0})",
    "sg.while_loop(lambda s: s[1] < 3, lambda s: (s[0] / 2 + {1}, s[1] + 1), ({0}, 0))[0]",
    "sg.while_loop(lambda s: s[0].max() < 4, lambda s: (s[0] + 1, s[1] * 0.5), (abs({1}), {0}), max_iterations=9)[1]",
    "sg.scan(lambda s, x: (x, s - x), {0}[0], {0})[1]",
    "sg.scan(lambda s, x: (s / 2 + x, x * s), {0}[0], {0}, reverse=True)[1]",
    "sg.scan(lambda s, x: (s, x[0] - x[1]), 0, ({0}, {0}[::-1]))[1]",
    "sg.scan(lambda s, x: (s * 0.5 + 1, s), {0}, length=3)[1]",
    "sg.scan(lambda s, x: (s + {1}, s * x), {1}, {0})[1]",
    "sg.map(lambda x: x * 2 + 1, {0})",
    "sg.map(lambda x: (x[0] + x[1]) / 4, ({0}, {0} * 2))",
    "sg.map(lambda x: sg.cond(x.max() > 1, lambda: x / 2, lambda: x - 1), {0})",
]
CONTROL_ROUGH = [
    "sg.fori_loop(0, 3, lambda i, s: np.sin(s) + {1}, {0})",
    "sg.scan(lambda s, x: (np.tanh(s + x), s * x), {0}[0], {0})[1]",
    "sg.map(lambda x: np.exp(-abs(x)).sum(), {0})",
    "sg.while_loop(lambda s: s[1] < 3, lambda s: (np.cos(s[0]) * 0.5, s[1] + 1), ({0}, 0))[0]",
    "sg.fori_loop(0, 2, lambda i, s: s * {0}.sum() / 8, {0})",
]
PRODUCTS = ["{} @ {}", "{} @ {}.T", "np.dot({}, {})", "np.matmul({}, {})", "{}.T @ {}", "{}[None] @ {}"]


class Maker:
    """Grows a program by trying lines on arrays."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        special = self.random.random() < 0.3
        shapes: list[tuple[str | int, ...]] = [
            (),
            ("n",),
            ("m",),
            ("n", "m"),
            ("m", "n"),
            ("n", 1),
            (1, "m"),
            ("m", "k"),
            ("k", "n", "m"),
            ("n", "n"),
            (1,),
            ("n", "m", 1),
            (3,),
            (2, "m"),
        ]
        count = self.random.randint(1, 4)
        self.inputs = tuple(
            Input(
                f"v{k}",
                self.random.choice(shapes),
                self.random.choice(["float64"] * 5 + ["float32"] * 2 + ["int64", "bool"]),
                special,
            )
            for k in range(count)
        )
        self.scope: dict[str, Any] = {i.name: i.data(BASE, seed) for i in self.inputs}
        self.levels = dict.fromkeys(self.scope, GIVEN)
        self.lines: list[Line] = []

    def pick(self) -> str:
        """A value, the newer the likelier."""
        names = list(self.scope)
        return names[-1 - min(int(self.random.expovariate(0.5)), len(names) - 1)]

    def kind(self, *names: str) -> str:
        return np.result_type(*(self.scope[n] for n in names)).kind

    def propose(self) -> tuple[str, tuple[str, ...], int, bool]:
        """The text of a line with its operands, its level, and whether it jumps."""
        choose = self.random.choice
        a, b, c = self.pick(), self.pick(), self.pick()
        one, two = self.levels[a], max(self.levels[a], self.levels[b])
        kind = self.kind(a)
        group = self.random.random()
        if kind == "f" and self.random.random() < 0.15:
            # What a loop changes keeps its type, and conditions are asked of values that every form computes alike.
            number = self.scope[b]
            b = b if np.ndim(number) == 0 and number.dtype == self.scope[a].dtype else a
            if max(one, self.levels[b]) == GIVEN and self.random.random() < 0.8:
                return choose(CONTROL_EXACT), (a, b), EXACT, False
            return choose(CONTROL_ROUGH), (a, b), ROUGH, False
        if group < 0.3:
            if kind == "b":
                return (
                    choose(["~{}", "{} & True", "{}.astype('float64')", "{} * 1.5", "{} + {}", "{}.astype('int64')"]),
                    (a,),
                    one,
                    False,
                )
            if kind == "i" and self.random.random() < 0.6:
                return choose(INTEGER), (a,), one, False
            if self.random.random() < 0.3:
                return choose(UNARY_ROUGH), (a,), ROUGH, False
            if self.random.random() < 0.2:
                return choose(UNARY_JUMP), (a,), one, True
            if self.random.random() < 0.1:
                return choose(["{}.astype('float32')", "{}.astype('float64')"]), (a,), max(one, EXACT), False
            return choose(UNARY_EXACT), (a,), max(one, EXACT), False
        if group < 0.5:
            if self.random.random() < 0.2:
                return choose(BINARY_ROUGH), (a, b), ROUGH, False
            if self.random.random() < 0.2:
                return choose(BINARY_JUMP), (a, b), two, True
            if self.random.random() < 0.15 and self.kind(c) == "b":
                return "np.where({}, {}, {})", (c, a, b), max(two, self.levels[c]), False
            return choose(BINARY_EXACT), (a, b), max(two, EXACT), False
        if group < 0.72:
            return choose(VIEWS), (a,), one, False
        if group < 0.86:
            sort = self.random.random()
            if sort < 0.3 and kind != "b":
                return choose(REDUCTIONS_EXACT), (a,), one, False
            if sort < 0.8 or one == ROUGH:
                return choose(REDUCTIONS_ROUGH), (a,), ROUGH if kind == "f" else one, False
            return choose(REDUCTIONS_JUMP), (a,), one, True
        if group < 0.94:
            return choose(JOINS), (a, b, c), max(two, self.levels[c]), False
        return choose(PRODUCTS), (a, b), ROUGH if self.kind(a, b) == "f" else two, False

    def grow(self) -> None:
        """Try a line; keep it where it is valid, and neither large nor wild."""
        template, operands, level, jumps = self.propose()
        if jumps and level == ROUGH:
            return
        holes = template.count("{}")
        uses = operands if "{0}" in template or (holes > 1 and len(operands) > 1) else operands[:1] * holes
        text = template.format(*uses)
        if "axis" in text and np.ndim(self.scope[uses[0]]) == 0:
            return  # NumPy reduces a number along axis 0
        if "dot" in text and any(np.ndim(self.scope[u]) not in (1, 2) for u in uses):
            return  # that of undeclared values means vectors and matrices
        if "diff" in text and self.kind(*uses) == "b":
            return  # NumPy's means another operation there
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("error")  # NumPy warns of the mean of nothing
                value = eval(text, {"np": np, "sg": sg, **self.scope})
        except (ValueError, TypeError, IndexError, LoopError, RuntimeWarning):
            return
        if not isinstance(value, np.ndarray | np.generic) or value.dtype.str[1:] not in ("f8", "f4", "i8", "b1"):
            return
        magnitude = np.max(np.abs(value), initial=0)
        if (
            value.size > 2000
            or (level == ROUGH and not magnitude < 1e3)
            or (value.dtype.kind == "i" and magnitude > 2**40)
        ):
            return
        if "diff" in text:
            level = max(level, EXACT)
        if template in REDUCTIONS_ROUGH and value.dtype.kind == "f":
            level = ROUGH  # a mean of integers is one as well
        target = f"v{len(self.scope)}"
        # jumps over values that are computed but exact are where a fused multiply-add may differ
        computed = any(self.levels[u] == EXACT for u in uses)
        self.scope[target], self.levels[target] = value, level
        self.lines.append(Line(target, text, tuple(dict.fromkeys(uses)), level, jumps and computed))

    def program(self) -> Program:
        wanted = self.random.randint(2, 14)
        for _ in range(1000):
            if len(self.lines) >= wanted:
                break
            self.grow()
        used = {u for line in self.lines for u in line.uses}
        ends = [n for n in self.scope if n not in used] or [list(self.scope)[-1]]
        some = [n for n in self.scope if self.random.random() < 0.15]
        outputs = list(dict.fromkeys([*ends, *some]))
        if self.random.random() < 0.1:
            outputs.append(outputs[0])
        return Program(self.seed, self.inputs, tuple(self.lines), tuple(outputs), self.levels)


# -- running them in every form ----------------------------------------------------------------------------------------


class DifferenceError(AssertionError):
    """Two forms of a program disagree."""


def agree(
    form: str,
    names: Sequence[str],
    got: Sequence[Any],
    expected: Sequence[Any],
    exact: Callable[[str], bool],
    program: Program,
) -> None:
    """Raise DifferenceError unless all results agree: bit by bit, or to within rounding of the largest value (that
    of float32 where it takes part). Which zero is larger, 0.0 or -0.0, is open."""
    if len(got) != len(expected):
        raise DifferenceError(f"{form}: {len(got)} results, expected {len(expected)}")
    signs = not any(word in line.text for word in ("max", "min", "clip") for line in program.lines)
    for name, a, b in zip(names, got, expected, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        if a.dtype != b.dtype or a.shape != b.shape:
            raise DifferenceError(f"{form}: {name} is {a.dtype}{a.shape}, expected {b.dtype}{b.shape}")
        if a.dtype.kind != "f" or exact(name):
            equal = a == b
            if a.dtype.kind == "f" and signs:
                equal &= np.signbit(a) == np.signbit(b)
            if not np.all(equal | ((a != a) & (b != b))):
                raise DifferenceError(f"{form}: {name} is\n{a!r}\nexpected\n{b!r}")
            continue
        tolerance = 2e-3 if program.single else 1e-9
        finite = np.isfinite(b)
        scale = max(1.0, float(np.max(np.abs(b[finite]), initial=0)))
        with np.errstate(invalid="ignore"):
            close = np.where(finite, np.abs(a - b) <= tolerance * scale, (a == b) | ((a != a) & (b != b)))
        if not np.all(close):
            raise DifferenceError(f"{form}: {name} is\n{a!r}\nexpected\n{b!r}")


def attempt(run: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """The result, or the error of a program that is not valid for its arguments."""
    with np.errstate(all="ignore"):
        try:
            return run(), None
        except CompileError:
            raise
        except (SymgraphError, ValueError, TypeError, IndexError) as error:
            return None, error


def variables(program: Program, data: Mapping[str, Any]) -> dict[str, Any]:
    return {k: sg.Variable(np.asarray(v)) for k, v in data.items()}


def arrays(values: Iterable[Any]) -> list[Any]:
    return [v.data if isinstance(v, sg.Variable) else v for v in values]


def symbols(program: Program, sizes: Sizes, declared: str) -> dict[str, Any]:
    return {i.name: eval(placeholder_text(i, sizes, declared), {"sg": sg}) for i in program.inputs}


def check(program: Program, sizes: Sizes, declared: str, functions: dict[Any, Any]) -> None:
    """One program at one combination of sizes in every form but gradients."""
    data = program.data(sizes)
    before = {k: v.copy() for k, v in data.items()}
    names = program.outputs
    levels = program.levels
    expected, error = attempt(lambda: program.run(data))

    def compare(form: str, run: Callable[[], Any], exact: Callable[[str], bool]) -> None:
        got, trouble = attempt(run)
        if (trouble is None) != (error is None):
            raise DifferenceError(f"{form}: {trouble!r}, expected {error!r}") from trouble
        if error is None:
            agree(form, names, got, expected, exact, program)

    def precise(name: str) -> bool:
        return levels[name] < ROUGH

    compare("Variables", lambda: arrays(program.run(variables(program, data))), precise)
    key = declared if declared != "fixed" else (declared, tuple(sizes.items()))
    if key not in functions:
        built, trouble = attempt(lambda: program.run(symbols(program, sizes, declared)))
        if isinstance(trouble, SymbolError) and declared == "open":
            return check(program, sizes, "named", functions)  # what needs a rank needs a declaration
        if trouble is not None:
            if error is None:
                raise DifferenceError(f"building ({declared}): {trouble!r}") from trouble
            return
        inputs = list(symbols(program, sizes, declared).values())
        functions[key] = built, sg.compile(built, inputs, fma=False, verify=True), sg.compile(built, inputs)
    built, plain, fused = functions[key]
    compare(
        "interpreter",
        lambda: interpret([sg.constant(o) if not isinstance(o, sg.Expr) else o for o in built], data),
        precise,
    )
    compare("kernel", lambda: plain(**data), precise)
    if error is None:
        variant = variant_of(plain, data)
        if variant.failed(size_values(plain.inputs, data)) is None:
            for step in variant.steps:
                compare(f"after {step.name!r}", lambda: interpret(step.outputs, data, others=plain.inputs), precise)  # noqa: B023
    if not program.jumps and program.seed % 3 == 0:
        compare("kernel with fma", lambda: fused(**data), lambda name: levels[name] == GIVEN)
    for name, value in data.items():
        assert value.tobytes() == before[name].tobytes(), f"{name} was changed"


def variant_of(function: Function, data: Mapping[str, Any]) -> Variant:
    """The variant for arguments of these types, with open sizes."""
    kinds = tuple(argument_type(n, convert(n, data[n.name or ""])) for n in function.inputs)
    (plan,) = function.dispatch.kernels.values()
    return plan.variant(kinds)


def check_gradients(program: Program, functions: Mapping[Any, Any]) -> None:
    """Gradients of the sum of all results: one kernel against backward on Variables."""
    data = program.data(BASE)
    wanted = [n for n, v in data.items() if v.dtype.kind == "f"]
    boxes = variables(program, data)
    total = sg.Variable(np.array(0.0))
    with np.errstate(all="ignore"):
        for result in program.run(boxes):
            if isinstance(result, sg.Variable) and result.dtype.kind == "f":
                total = total + np.sum(result)
        if not wanted or total.creator is None:
            return
        total.backward()
    expected = []
    for name in wanted:
        grad = boxes[name].grad
        expected.append(np.zeros_like(data[name]) if grad is None else grad.data)
    if not all(np.all(np.isfinite(e)) and np.max(np.abs(e), initial=0) < 1e6 for e in expected):
        return
    function: Function = next(iter(functions.values()))[1]
    got = function.grad(**data)
    agree("gradient", wanted, [got[n] for n in wanted], expected, lambda name: False, program)


OTHER_SIZES: Sequence[Sizes] = (
    {"n": 2, "m": 3, "k": 7},
    {"n": 1, "m": 5, "k": 6},
    {"n": 4, "m": 1, "k": 1},
    {"n": 0, "m": 5, "k": 2},
    {"n": 3, "m": 0, "k": 6},
    {"n": 7, "m": 7, "k": 7},
    {"n": 1, "m": 1, "k": 1},
    {"n": 2, "m": 2, "k": 0},
)


def campaign(program: Program, gradients: bool = True) -> None:
    """A program in every form, at several sizes."""
    seed = program.seed
    declared = ("open", "named", "fixed")[seed % 3 if seed % 2 else 0]
    functions: dict[Any, Any] = {}
    check(program, BASE, declared, functions)
    other = OTHER_SIZES[seed % len(OTHER_SIZES)]
    if declared != "fixed":
        check(program, other, declared, functions)
        check(program, {"n": 6, "m": 4, "k": 5}, declared, functions)
    if gradients and seed % 2 == 0:
        check_gradients(program, functions)


def reduced(program: Program, error: Exception) -> tuple[Program, Exception]:
    """The first value that fails as the only output, or else the whole program."""
    for name in [line.target for line in program.lines] + list(program.outputs):
        part = program.cut([name])
        try:
            campaign(part)
        except Exception as trouble:
            return part, trouble
    return program, error


def run_seed(seed: int) -> None:
    """Make the program of a seed and run it; a failure carries a script that shows it."""
    program = Maker(seed).program()
    try:
        campaign(program)
    except Exception as error:
        small, trouble = reduced(program, error)
        declared = ("open", "named", "fixed")[seed % 3 if seed % 2 else 0]
        where = "".join(traceback.format_exception(trouble)[-3:])
        raise DifferenceError(
            f"seed {seed} ({declared}): {trouble}\n{where}\n{small.text(BASE, declared)}"
        ) from trouble


@pytest.mark.parametrize("seed", range(PROGRAMS))
def test_all_forms_of_a_program_agree(seed: int) -> None:
    run_seed(seed)


def test_a_wrong_rewrite_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def positive(node: sg.Expr) -> sg.Expr:
        """abs(x) -> x"""
        return node.args[0]

    inputs = (Input("v0", ("n", "m"), "float64", False),)
    lines = (Line("v1", "v0 * 2", ("v0",), EXACT), Line("v2", "abs(v1)", ("v1",), EXACT))
    program = Program(0, inputs, lines, ("v1", "v2"), {"v0": GIVEN, "v1": EXACT, "v2": EXACT})
    campaign(program)
    monkeypatch.setitem(RULES, "abs", (positive,))
    with pytest.raises(DifferenceError, match="kernel: v2 is"):
        campaign(program)
    script = program.cut(["v2"]).text(BASE, "named")
    assert "v0 = sg.placeholder('v0', ('n', 'm'), 'float64')\nv1 = v0 * 2\nv2 = abs(v1)" in script
    exec(script.replace("print(", "str("), {})  # the script that a failure prints can be run


if __name__ == "__main__":
    sys.exit(run_many(run_seed))

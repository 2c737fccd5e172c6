"""Any legal schedule gives the right answer: fused kernels against the interpreter where loops begin and end, and under
schedules that are forced at random.

A failure prints what was forced. A longer campaign is ``python tests/test_schedules.py 1000 --first 500``, or more
schedules by the environment variable SYMGRAPH_SCHEDULES.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from campaigns import run_many
from formulas import FORMULAS, Formula
from test_random_programs import BASE, ROUGH, DifferenceError, Maker, Program, agree, attempt, symbols

import symgraph as sg
from compiler import emit_llvm, emit_region, interpret, lower, regions, schedule
from compiler.program import Loop, Nest, Region, Tiles, walk
from symgraph import dims
from symgraph.errors import SymgraphError
from symgraph.expr import toposort

SCHEDULES = int(os.environ.get("SYMGRAPH_SCHEDULES", "40"))

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of empty arrays

SMALL = {"n": 7, "m": 5, "k": 3}


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Tests may set how many threads there are."""
    before = sg.get_num_threads()
    yield
    sg.set_num_threads(before)


def wrong(got: Sequence[Any], wanted: Sequence[Any], single: bool) -> str | None:
    """What differs by more than rounding; sums and functions are rounded in another order than NumPy's."""
    tolerance = 2e-3 if single else 1e-9
    for k, (a, b) in enumerate(zip(map(np.asarray, got), map(np.asarray, wanted), strict=True)):
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"output {k} is {a.dtype}{a.shape}, not {b.dtype}{b.shape}"
        if a.dtype.kind != "f":
            bad = a != b
        else:
            scale = np.max(np.abs(b), initial=1.0, where=np.isfinite(b))
            with np.errstate(invalid="ignore"):
                near = np.abs(a - b) <= tolerance * scale
            bad = ~(near | (a == b) | (np.isnan(a) & np.isnan(b)))
        if np.any(bad):
            at = tuple(map(int, np.argwhere(bad)[0]))
            return f"output {k}, shape {b.shape}, at {at}: {a[at]!r}, not {b[at]!r}; {np.count_nonzero(bad)} wrong"
    return None


def single(formula: Formula, dtype: str) -> bool:
    return dtype == "float32" or any(i.dtype == "float32" for i in formula.inputs.values())


# -- where loops begin and end -----------------------------------------------------------------------------------------


LARGEST = 1 << 20
"""Elements that the largest value of a formula may have."""


def elements(outputs: Sequence[sg.Expr], sizes: Mapping[str, int]) -> int:
    """Of the largest value."""
    return max(dims.evaluate(dims.product(node.type.shape), sizes) for node in toposort(outputs))


def edges(variant: Any, axis: str) -> set[int]:
    """Sizes of an axis about which a kernel does something else: vectors, tiles and chunks of one more or less."""

    def at(size: Any, length: int) -> int:
        return dims.evaluate(size, {**SMALL, axis: length})

    room = 4096
    while room > 1 and elements(variant.typed.outputs, {**SMALL, axis: room}) > LARGEST // 4:
        room //= 2
    found = {0, 2, 3, room - 1}
    for region in (s for s in variant.program.steps if isinstance(s, Region)):
        for item in walk(region.items):
            if isinstance(item, Loop) and item.lanes > 1:
                found.update((item.lanes - 1, item.lanes, item.lanes + 1))
            elif isinstance(item, Tiles) and item.width is not None:
                width = at(item.width, room)
                found.update((width - 1, width, width + 1))
        low, high = 1, 1 << 20
        if region.size is None or at(region.chunks, high) < 2:
            continue
        while high - low > 1:  # the least size that is cut
            middle = (low + high) // 2
            low, high = (low, middle) if at(region.chunks, middle) > 1 else (middle, high)
        chunk = at(region.chunk, high)
        found.update((high - 1, high, 2 * chunk - 1, 2 * chunk, 2 * chunk + 1, 4 * high + 1))
    return {n for n in found if n != 1 and elements(variant.typed.outputs, {**SMALL, axis: n}) <= LARGEST}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FORMULAS)
def test_sizes_about_vectors_tiles_and_chunks(name: str, dtype: str) -> None:
    formula = FORMULAS[name]
    outputs = formula.build(dtype)
    function = sg.compile(outputs)
    for axis in formula.axes:
        for length in (SMALL[axis], 301):  # the second finds the other axes short
            function(**formula.data({**SMALL, axis: length}, dtype))
        lengths = set().union(*(edges(variant, axis) for _, variant in function.variants()))
        for length in [*sorted(lengths), *([1] if dtype == "float64" else [])]:
            sizes = {**SMALL, axis: length}
            data = formula.data(sizes, dtype)
            wanted, error = attempt(lambda: interpret(outputs, data))  # noqa: B023
            got, refused = attempt(lambda: function(**data))  # noqa: B023
            assert (error is None) == (refused is None), f"{axis} = {length}: {refused!r}, not {error!r}"
            if error is None:
                assert not (text := wrong(got, wanted, single(formula, dtype))), f"{axis} = {length}: {text}"


def test_the_position_of_the_only_element() -> None:
    x = sg.placeholder("x")
    function = sg.compile([np.argmax(x), np.argmin(x, axis=0), np.argmax(x, axis=-1)])
    for shape in ((1,), (1, 1), (1, 3), (3, 1)):
        for _ in range(3):
            got, data = function(x=np.ones(shape)), np.ones(shape)
            wanted = [np.argmax(data), np.argmin(data, axis=0), np.argmax(data, axis=-1)]
            assert not wrong(got, wanted, False)


# -- memory of every kind ----------------------------------------------------------------------------------------------


def layouts(array: np.ndarray) -> dict[str, np.ndarray]:
    """The same values in memory of other kinds."""
    every_other = np.zeros(tuple(2 * s for s in array.shape), array.dtype)[(..., *(slice(None, None, 2),) * array.ndim)]
    every_other[...] = array
    backwards = (..., *(slice(None, None, -1),) * array.ndim)
    inside = np.zeros(tuple(s + 2 for s in array.shape), array.dtype)[(..., *(slice(1, -1),) * array.ndim)]
    inside[...] = array
    fixed = array.copy()
    fixed.flags.writeable = False
    unaligned = np.frombuffer(b"\0" + array.tobytes(), array.dtype, array.size, 1).reshape(array.shape)
    return {
        "every other": every_other,
        "reversed": array[backwards].copy()[backwards],
        "Fortran": np.array(array, order="F"),
        "inside": inside,
        "read-only": fixed,
        "unaligned": unaligned,
    }


@pytest.mark.parametrize("name", FORMULAS)
def test_memory_of_every_kind(name: str) -> None:
    formula = FORMULAS[name]
    function = sg.compile(formula.build("float64"))
    for sizes in (SMALL, {"n": 67, "m": 33, "k": 4}):
        data = formula.data(sizes, "float64")
        plain = [np.asarray(r).tobytes() for r in function(**data)]
        kinds = {k: layouts(np.asarray(v)) for k, v in data.items()}
        for kind in layouts(np.zeros(())):
            given = {k: kinds[k][kind] for k in data}
            before = {k: v.tobytes() for k, v in given.items()}
            assert [np.asarray(r).tobytes() for r in function(**given)] == plain, kind
            assert {k: v.tobytes() for k, v in given.items()} == before, f"{kind}: an input was changed"


# -- forced schedules --------------------------------------------------------------------------------------------------


@contextmanager
def forced(seed: int) -> Iterator[dict[str, Any]]:
    """Any constants of the schedule, chosen by a seed: all give a legal one.

    What a graph looks like decides by itself how many lanes a nest may have at all.
    """
    chosen = random.Random(seed)
    choose = chosen.choice
    constants: dict[str, Any] = {
        "lower.TILE_BYTES": choose([1, 64, 300, 1000, 5000, 1 << 15, 1 << 20]),
        "lower.WIDEST": choose([1, 8, 16, 64, 1024]),
        "lower.SHORT": choose([0, 1, 3, 5, 32, 200]),
        "schedule.CHEAP": choose([0, 1, 3, 8, 50]),
        "schedule.CHEAP_ELSEWHERE": choose([0, 1, 3, 8, 24, 100]),
        "schedule.NEST_LIMIT": choose([1, 2, 5, 20, 256]),
        "schedule.STRAIGHT_LIMIT": choose([1, 2, 5, 256]),
        "regions.NEAR": choose([0, 1, 8]),
        "emit_region.TWICE": choose([0, 10, 150, 10_000]),
        "emit_region.INLINE": choose([0, 200, 1500]),
        "emit_region.STACK_BYTES": choose([0, 500, 1 << 16]),
        "emit_llvm.ON_STACK": choose([0, 3, 32]),
        "lanes": choose([None, 1, 2, 4, 8, 16, 32, 64, "any"]),
        "parts": choose([1, 2, 3, 7, 64, None]),
        "rows of a part": choose([None, None, 1, 3, 8, 13]),
    }
    modules = {m.__name__.rpartition(".")[2]: m for m in (emit_llvm, emit_region, lower, regions, schedule)}
    own_lanes, own_parts, own_chunk = lower.lanes_of, dims.FUNCTIONS["parts"], dims.FUNCTIONS["chunk"]

    def lanes_of(nest: Nest) -> int:
        own, wanted = own_lanes(nest), constants["lanes"]
        if own == 1 or wanted is None:
            return own
        return choose([1, 2, 4, 8, 16, 32, 64]) if wanted == "any" else int(wanted)

    def parts(rows: int, cost: int, moved: int, kept: int) -> int:
        return constants["parts"] or own_parts(rows, cost, moved, kept)

    def chunk(rows: int, count: int) -> int:
        if constants["rows of a part"]:  # kernels have room for so many parts
            return max(constants["rows of a part"], -(-rows // emit_llvm.MOST_CHUNKS))
        return max(1, -(-rows // count)) if constants["parts"] else own_chunk(rows, count)

    with pytest.MonkeyPatch.context() as patch:
        for name, value in constants.items():
            if "." in name:
                module, _, constant = name.partition(".")
                patch.setattr(modules[module], constant, value)
        patch.setattr(lower, "lanes_of", lanes_of)
        patch.setitem(dims.FUNCTIONS, "parts", parts)
        patch.setitem(dims.FUNCTIONS, "chunk", chunk)
        yield constants


def sizes_of(chosen: random.Random, formula: Formula) -> dict[str, int]:
    lengths = {
        "n": [0, 1, 2, 3, 5, 9, 17, 64, 67, 130, 257, 300],
        "m": [0, 1, 2, 5, 8, 16, 33, 65],
        "k": [1, 2, 3, 4, 7, 19],
    }
    return {axis: chosen.choice(lengths[axis]) for axis in "nmk"}


def run_formula(seed: int) -> None:
    """A formula under a forced schedule, at three combinations of sizes and numbers of threads."""
    chosen = random.Random(seed)
    formula = FORMULAS[chosen.choice(list(FORMULAS))]
    dtype = chosen.choice(["float64", "float64", "float32"])
    with forced(seed) as constants:
        outputs = formula.build(dtype)
        function = sg.compile(outputs, fma=chosen.random() < 0.5)
        for sizes in (SMALL, *(sizes_of(chosen, formula) for _ in range(3))):
            data = formula.data(sizes, dtype)
            wanted, error = attempt(lambda: interpret(outputs, data))  # noqa: B023
            bits = set()
            for count in (1, 2, 3):
                sg.set_num_threads(count)
                got, refused = attempt(lambda: function(**data))  # noqa: B023
                text = None
                if (error is None) != (refused is None):
                    text = f"{refused!r}, not {error!r}"
                elif error is None:
                    text = wrong(got, wanted, single(formula, dtype))
                    bits.add(tuple(np.asarray(r).tobytes() for r in got))
                where = f"seed {seed}: {formula.name}, {dtype}, {sizes}, {count} threads, forced {constants}"
                if text:
                    raise DifferenceError(f"{where}: {text}")
                if len(bits) > 1:
                    raise DifferenceError(f"{where}: other bits than with fewer threads")


def run_program(seed: int) -> None:
    """A random program under a forced schedule; a failure carries a script that shows it, and what was forced."""
    program = Maker(seed).program()
    with forced(seed) as constants:
        try:
            check_program(program)
        except Exception as error:
            if not isinstance(error, DifferenceError | SymgraphError):
                raise
            for name in [line.target for line in program.lines]:  # the first value that fails by itself
                part = program.cut([name])
                try:
                    check_program(part)
                except (DifferenceError, SymgraphError):
                    program = part
                    break
            text = program.text(BASE, "named")
            raise DifferenceError(f"seed {seed}: {error}\nforced {constants}\n{text}") from error


def check_program(program: Program) -> None:
    built, trouble = attempt(lambda: program.run(symbols(program, BASE, "named")))
    if trouble is not None:
        return
    built = [sg.constant(o) if not isinstance(o, sg.Expr) else o for o in built]
    inputs = list(symbols(program, BASE, "named").values())
    wrt = [p for p, i in zip(inputs, program.inputs, strict=True) if i.dtype.startswith("float")]
    loss = sum(
        (np.sum(o) for o in built if o.type.dtype is not None and o.type.dtype.kind == "f"), 0.0 * sg.constant(1.0)
    )
    gradients = sg.grad(loss, wrt) if wrt else []
    function = sg.compile([*built, *gradients], inputs, fma=False)
    for sizes in (BASE, {"n": 67, "m": 5, "k": 6}, {"n": 6, "m": 40, "k": 3}, {"n": 1, "m": 5, "k": 6}):
        data = program.data(sizes)
        wanted, error = attempt(lambda: interpret([*built, *gradients], data))  # noqa: B023
        for count in (1, 3):
            sg.set_num_threads(count)
            got, refused = attempt(lambda: function(**data))  # noqa: B023
            if (error is None) != (refused is None):
                raise DifferenceError(f"{sizes}: {refused!r}, not {error!r}")
            if error is not None:
                continue
            values, slopes = got[: len(built)], got[len(built) :]
            known, flat = wanted[: len(built)], wanted[len(built) :]
            agree(f"kernel, {sizes}", program.outputs, values, known, lambda n: program.levels[n] < ROUGH, program)
            if all(np.all(np.isfinite(w)) and np.max(np.abs(w), initial=0) < 1e6 for w in wanted):
                names = [p.name or "" for p in wrt]
                agree(f"gradient, {sizes}", names, slopes, flat, lambda n: False, program)


@pytest.mark.parametrize("seed", range(SCHEDULES))
def test_formulas_under_forced_schedules(seed: int) -> None:
    run_formula(seed)


@pytest.mark.parametrize("seed", range(SCHEDULES))
def test_programs_under_forced_schedules(seed: int) -> None:
    run_program(seed)


if __name__ == "__main__":
    sys.exit(run_many(run_formula, run_program))

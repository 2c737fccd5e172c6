"""The way from formulas to laid-out graphs: its cost, counted in work instead of seconds; and interning."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from support import without_loops

import compiler.graph
import compiler.specialise
import symgraph as sg
from compiler.graph import Graph
from compiler.layout import lay_out
from compiler.passes import Step, optimise
from compiler.specialise import ArgumentType, Typed, specialise
from symgraph import expr
from symgraph.expr import Expr, toposort
from symgraph.op import REGISTRY
from symgraph.ops import elementwise as ew
from symgraph.types import ArrayType, Opaque

DOUBLE = np.dtype(np.float64)
NUMBER = ArgumentType(DOUBLE, True, ())
VECTOR = ArgumentType(DOUBLE, False, (None,))


class Work:
    """How often nodes were made, types inferred, graphs put in order and rebuilt."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = self.inferred = self.sorted = self.rebuilt = 0

        def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **options: Any) -> Any:
                setattr(self, name, getattr(self, name) + 1)
                return function(*args, **options)

            return call

        monkeypatch.setattr(expr, "_made", counted("made", expr._made))
        monkeypatch.setattr(compiler.graph, "toposort", counted("sorted", toposort))
        monkeypatch.setattr(compiler.specialise, "toposort", counted("sorted", toposort))
        monkeypatch.setattr(compiler.specialise, "rebuild", counted("rebuilt", expr.rebuild))
        self.infer = {op: op.infer for op in REGISTRY.values()}
        for op in REGISTRY.values():
            op._results.clear()
            object.__setattr__(op, "infer", counted("inferred", op.infer))

    def close(self) -> None:
        """The rows as they were."""
        for op, infer in self.infer.items():
            object.__setattr__(op, "infer", infer)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    counts = Work(monkeypatch)
    yield counts
    counts.close()


def affine(y: Any, x: Any, k: int) -> Any:
    return y * 1.0001 + 0.3


def wave(y: Any, x: Any, k: int) -> Any:
    return np.sin(y) * x + k


def diamond(y: Any, x: Any, k: int) -> Any:
    return np.sin(y) * y + y


def centred(y: Any, x: Any, k: int) -> Any:
    return (y - np.sum(y) * 0.1)[::-1]


def front(body: Callable[..., Any], length: int, x: Expr, kind: ArgumentType) -> tuple[Typed, list[Expr], list[Step]]:
    """A formula and its gradient on the way to the scheduler."""
    y: Any = x
    for k in range(length):
        y = body(y, x, k)
    typed = specialise([y, *sg.grad(y, [x])], [x], {x.name or "": kind})
    steps: list[Step] = []
    return typed, lay_out(optimise(typed.graph, after=steps.append)), steps


@pytest.mark.parametrize("body", [affine, wave, diamond, centred])
@pytest.mark.parametrize("declared", [True, False])
def test_work_grows_with_the_formula(work: Work, body: Any, declared: bool) -> None:
    made = []
    for length in (50, 100, 200):
        x = sg.placeholder("x", shape=("n",), dtype="float64") if declared else sg.placeholder("x")
        before = work.made
        with without_loops():  # in which long chains cost less
            kept = front(body, length, x, VECTOR)
        made.append(work.made - before)
        del kept
        gc.collect()
    # exactly linear: the second half of a chain costs what the first did
    assert made[2] - made[1] == pytest.approx(2 * (made[1] - made[0]), abs=2, rel=0.02 if body is centred else 0)
    # each operation is made a few times: as written, differentiated, typed, simplified, fused
    assert made[2] - made[1] <= 100 * 30


def test_formulas_are_taken_without_looking_for_garbage() -> None:
    x = sg.placeholder("x")
    y: Any = x
    for k in range(2000):
        y = np.sin(y) * x + k
    seen: list[str] = []

    def look(phase: str, about: dict[str, int]) -> None:
        seen.append(phase)

    before = gc.get_threshold()
    gc.callbacks.append(look)
    try:
        gc.set_threshold(10, 5, 5)
        del seen[:]
        function = sg.compile(y)
        looked = len(seen)
    finally:
        gc.callbacks.remove(look)
        gc.set_threshold(*before)
    assert function.inputs == (x,)
    assert gc.isenabled()
    assert looked <= 4  # what the calls around it allocate


def test_types_are_inferred_once_for_equal_arguments(work: Work) -> None:
    x = sg.placeholder("x", shape=("n",), dtype="float64")
    with without_loops():
        kept = front(wave, 400, x, VECTOR)
    assert len(Graph(kept[1])) > 1500
    assert work.inferred < 60


def test_graphs_are_put_in_order_once(work: Work) -> None:
    kept = front(wave, 50, sg.placeholder("x"), NUMBER)
    assert work.sorted <= 5  # the formula, its typed form, and one after each pass
    assert work.rebuilt == 1
    assert kept[1]


def test_sizes_are_merged_in_few_rounds(work: Work) -> None:
    xs = [sg.placeholder(f"p{k}") for k in range(60)]
    total = sum(np.sum(a * b) for a, b in pairwise(xs))
    typed = specialise([total], xs, {x.name: VECTOR for x in xs})  # type: ignore[misc]
    assert work.rebuilt <= 3
    assert len({x.type for x in typed.inputs}) == 1
    assert len(typed.requirements) == 59


def test_rewrites_are_recorded_without_being_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    def printed(*args: Any) -> str:
        raise AssertionError("a formula was printed")

    monkeypatch.setattr(expr, "format_expr", printed)
    monkeypatch.setattr("compiler.passes.rewrite.format_expr", printed)
    x = sg.placeholder("x")
    *_, steps = front(wave, 20, x, NUMBER)
    assert sum(len(step.rewrites) for step in steps) >= 20


def test_rebuilt_nodes_keep_the_line_they_come_from() -> None:
    x = sg.placeholder("rebuilt")  # equal formulas elsewhere in the process are the same nodes, with lines of their own
    typed, laid, _ = front(wave, 5, x, NUMBER)
    for node in (*typed.graph.order, *Graph(laid).order):
        assert not node.args or (node.origin is not None and node.origin.file == __file__), node


# -- interning ---------------------------------------------------------------------------------------------------------


def test_equal_types_are_one_object() -> None:
    size = sg.placeholder("x", shape=("n",)).type.shape
    for kind in (ArrayType(DOUBLE, (2, 3)), ArrayType(None, size), ArrayType(DOUBLE, (), True)):
        assert ArrayType(kind.dtype, kind.shape, kind.weak) is kind
        assert pickle.loads(pickle.dumps(kind)) is copy.deepcopy(kind) is copy.copy(kind) is kind
    assert ArrayType(None, ()) is not ArrayType(DOUBLE, ())
    shape = Opaque(frozenset({"a", ("sum", 1)}))
    assert Opaque(frozenset({("sum", 1), "a"})) is shape is pickle.loads(pickle.dumps(shape))


def test_numbers_are_constants_by_type_and_bits() -> None:
    values = [1, 1.0, True, np.float64(1.0), np.float32(1.0), np.int64(1), np.array([1.0]), 0.0, -0.0, 1 << 63]
    nodes = [sg.constant(v) for v in values]
    assert len(set(nodes)) == len(nodes)
    assert [sg.constant(v) for v in values] == nodes
    assert sg.constant(float("nan")) is sg.constant(float("nan"))
    assert [n.type.weak for n in nodes] == [True, True, False, False, False, False, False, True, True, True]


def test_what_nothing_uses_is_forgotten() -> None:
    x = sg.placeholder("used_by_nobody_else")
    gc.collect()
    before = len(ew.sin.nodes)
    y: Any = x
    for _ in range(100):
        y = np.sin(y)
    assert len(ew.sin.nodes) == before + 100
    del y
    gc.collect()
    assert len(ew.sin.nodes) == before


def test_threads_get_the_same_nodes() -> None:
    x = sg.placeholder("x")
    barrier = threading.Barrier(4)
    found: list[list[Any]] = []

    def run() -> None:
        barrier.wait()
        made: list[Any] = [x]
        for k in range(2000):
            made.append(np.cos(made[-1]) * float(k % 7))
        found.append(made)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(a is b for other in found[1:] for a, b in zip(found[0], other, strict=True))

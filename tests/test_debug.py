"""Looking for what is wrong: replays, checks for nan and inf, prints, taps, gradient checks, bisection."""

from __future__ import annotations

import pdb
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from compiler import dispatch
from compiler.passes.simplify import RULES
from symgraph.config import checking
from symgraph.errors import ArgumentError, CheckError, GradientError, NumericError, ShapeError, SymbolError
from symgraph.ops import elementwise as ew

THIS = Path(__file__).name
x, w = sg.placeholder("x"), sg.placeholder("w")
ONE_TWO = np.array([1.0, 2.0])


@pytest.fixture
def wrong_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """An optimiser that takes sin for cos."""

    def sin_to_cos(node: Any) -> Any:
        """sin(x) -> cos(x)   (never)"""
        return ew.cos(node.args[0])

    monkeypatch.setitem(RULES, "sin", (sin_to_cos,))


@pytest.fixture
def wrong_gradient() -> Iterator[None]:
    """A row whose gradient has the wrong sign."""
    before = ew.cos.grad
    object.__setattr__(ew.cos, "grad", (lambda g, out, x: g * ew.sin(x),))
    yield
    object.__setattr__(ew.cos, "grad", before)


# -- replays -----------------------------------------------------------------------------------------------------------


def test_a_replay_holds_every_value() -> None:
    h = sg.named(np.exp(x), "h")
    f = sg.compile(np.sum(h * w))
    replay = f.debug(x=np.zeros(2), w=ONE_TWO)
    assert replay and replay.stopped is None
    assert [str(record.node) for record in replay if record.node.args] == ["exp(x)", "h", "h * w", "sum(h * w)"]
    assert replay["h"].tolist() == [1, 1] and replay["w"].tolist() == [1, 2] and replay[h * w].tolist() == [1, 2]
    assert list(replay)[-1].value == 3 and f"({THIS}:" in str(replay.records[-1])
    assert str(replay).endswith("all is well: 6 nodes, and the kernel agrees")
    with pytest.raises(KeyError, match="q"):
        replay["q"]


@pytest.mark.parametrize("what", ["value", "grad", "value_and_grad"])
def test_it_stops_at_the_first_operation_that_gives_nan_or_inf(what: str) -> None:
    h = np.sqrt(x)
    f = sg.compile(np.sum(np.log(h) * w))
    replay = f.debug(x=np.array([4.0, 0.0]), w=ONE_TWO, what=what)
    assert not replay and replay.stopped is not None
    assert (repr(replay.stopped.node), replay.stopped.fault) == ("log(sqrt(x))", "inf at [1], 1 of 2 elements")
    assert replay.stopped.operands[0].tolist() == [2, 0]
    assert replay.stopped.node.origin is not None and "np.log(h)" in str(replay)
    assert "sqrt(x) is float64(2,), 0 to 2" in str(replay)


def test_gradients_are_replayed() -> None:
    f = sg.compile(np.sum(np.sqrt(x)))
    assert f.debug(x=np.array([4.0, 0.0]))
    stopped = f.debug(x=np.array([4.0, 0.0]), what="grad").stopped
    assert stopped is not None and stopped.fault == "inf at [1], 1 of 2 elements"
    assert stopped.where.startswith(f"gradient of {THIS}:")


def test_an_argument_with_nan_is_the_first_fault() -> None:
    replay = sg.compile(x * w).debug(x=np.array([1.0, np.nan]), w=np.inf)
    assert replay.stopped is not None and replay.stopped.node is x
    assert replay.stopped.fault == "the argument holds nan at [1], 1 of 2 elements"


def test_inf_and_nan_that_were_there_are_no_fault() -> None:
    assert sg.compile(np.minimum(x, 1.0)).debug(x=np.array([1.0, np.inf]))
    assert sg.compile(np.where(x > 0, x, -np.inf)).debug(x=np.array([1.0, -1.0]))
    assert sg.compile(np.exp(-x)).debug(x=np.inf)
    stopped = sg.compile(x - x).debug(x=np.inf).stopped
    assert stopped is not None and stopped.fault == "nan"


def test_it_stops_where_the_kernel_differs(wrong_rule: None) -> None:
    h = x * 2
    f = sg.compile(np.sum(np.sin(h) * w))
    stopped = f.debug(x=np.zeros(2), w=ONE_TWO).stopped
    assert stopped is not None and repr(stopped.node) == "sin(x * 2)"
    assert stopped.fault == "the kernel gives np.float64(1.0) instead of np.float64(0.0) at [0]"
    assert f.debug(x=np.zeros(2), w=ONE_TWO, tolerance=10.0)


def test_errors_are_those_of_the_call() -> None:
    f = sg.compile(x + w)
    with pytest.raises(ShapeError, match=THIS):
        f.debug(x=np.ones(2), w=np.ones(3))
    with pytest.raises(IndexError, match=rf"out of bounds.*\({THIS}:"):
        sg.compile(np.take(x, w, 0)).debug(x=ONE_TWO, w=np.array([0, 2]))
    with pytest.raises(ArgumentError, match="missing argument 'w'"):
        f.debug(x=1.0)
    with pytest.raises(ArgumentError, match="what must be 'value'"):
        f.debug(x=1.0, w=1.0, what="all")


def test_placeholders_go_before_options() -> None:
    what = sg.placeholder("what")
    replay = sg.compile(what * 2).debug(what=3.0)
    assert replay["what"] == 3.0
    assert sg.compile([what * 2, x], inputs=[what, x]).debug(3.0, 4.0)["x"] == 4.0


class Stops:
    """What would be shown in the debugger: lines and names of frames."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frames: list[tuple[str, int, dict[str, Any]]] = []
        monkeypatch.setattr(pdb, "post_mortem", self.post_mortem)
        monkeypatch.setattr(pdb.Pdb, "set_trace", lambda debugger, frame: self.add(frame, frame.f_lineno))

    def post_mortem(self, traceback: Any) -> None:
        while traceback.tb_next is not None:
            traceback = traceback.tb_next
        self.add(traceback.tb_frame, traceback.tb_lineno)

    def add(self, frame: Any, line: int) -> None:
        self.frames.append((frame.f_code.co_filename, line, dict(frame.f_locals)))


@pytest.fixture
def stops(monkeypatch: pytest.MonkeyPatch) -> Stops:
    return Stops(monkeypatch)


def here() -> int:
    """The line above that of the call."""
    return sys._getframe(1).f_lineno - 1


def test_the_debugger_opens_at_the_users_line(stops: Stops) -> None:
    y = np.log(x - 1) * w
    line = here()
    f = sg.compile(y)
    assert f.debug(x=ONE_TWO, w=3.0, pdb=True).stopped is not None
    ((file, at, names),) = stops.frames
    assert (file, at) == (__file__, line)
    assert isinstance(names["x"], sg.Variable) and (names["x"] - 1).data.tolist() == [0, 1]
    assert names["operands"][0].data.tolist() == [0, 1]
    f.debug(x=ONE_TWO + 1, w=3.0, pdb=True)
    assert len(stops.frames) == 1  # nothing was wrong


# -- check_nan ---------------------------------------------------------------------------------------------------------


def test_checks_in_both_modes_and_in_both_directions() -> None:
    f = sg.compile(np.sum(np.sqrt(x)))
    at_zero = np.array([1.0, 0.0])
    v = sg.Variable(at_zero, name="v")
    with sg.using_config("check_nan", True):
        assert f(x=at_zero) == 1
        with pytest.raises(NumericError, match=rf"div gave inf at \[1\].*\(gradient of {THIS}:"):
            f.grad(x=at_zero)
        with pytest.raises(NumericError, match=rf"sqrt gave nan at \[1\].*\({THIS}:"):
            f(x=np.array([1.0, -1.0]))
        y = np.sum(np.sqrt(v))
        with pytest.raises(NumericError, match=rf"the gradient of sqrt gave inf at \[1\].*\(gradient of {THIS}:"):
            y.backward()
        with pytest.raises(NumericError, match=rf"log gave inf at \[1\].*\({THIS}:") as info:
            np.log(v)
        assert "v is float64(2,), 0 to 1" in str(info.value)
    assert issubclass(NumericError, FloatingPointError)
    assert np.isinf(f.grad(x=at_zero)["x"][1])
    with np.errstate(divide="ignore"):
        assert np.isinf(np.log(v).data[1])


def test_a_call_that_was_answered_natively_is_checked_too() -> None:
    f = sg.compile(np.log(x))
    for _ in range(3):
        assert np.isnan(f(x=-1.0))
    with sg.using_config("check_nan", True):
        for _ in range(3):
            with pytest.raises(NumericError):
                f(x=-1.0)
            assert f(x=1.0) == 0
    assert np.isnan(f(x=-1.0))


def test_nothing_is_left_of_checks_that_are_over() -> None:
    f = sg.compile(x * 3)
    f(x=1.0)
    state = next(s for s in dispatch._states if len(s) > 1 and s[0].func.__self__ is f.dispatch)
    with pytest.raises(ZeroDivisionError), sg.using_config("check_nan", True):
        assert len(state) == 1
        f(x=1.0)
        assert len(state) == 1  # no plan is at hand while any thread checks
        raise ZeroDivisionError
    assert not checking
    f(x=1.0)
    assert len(state) == 2


def test_the_setting_belongs_to_its_thread() -> None:
    f = sg.compile(np.log(x))
    found: list[Any] = []
    with sg.using_config("check_nan", True):
        thread = threading.Thread(target=lambda: found.append((sg.config.check_nan, f(x=-1.0))))
        thread.start()
        thread.join()
    assert found[0][0] is False and np.isnan(found[0][1])
    sg.config.check_nan = True
    sg.config.check_nan = True
    try:
        with pytest.raises(NumericError):
            f(x=-1.0)
    finally:
        sg.config.check_nan = False
    assert np.isnan(f(x=-1.0))


# -- prints, breakpoints, names ----------------------------------------------------------------------------------------


def both_modes(write: Callable[[Any], Any], capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What a formula prints in the define-by-run mode, and compiled."""
    write(sg.Variable(ONE_TWO))
    eager = capsys.readouterr().out
    sg.compile(write(x))(x=ONE_TWO)
    return eager, capsys.readouterr().out


def test_prints_are_the_same_in_both_modes(capsys: pytest.CaptureFixture[str]) -> None:
    def write(v: Any) -> Any:
        h = sg.print(v * 2, "h")
        return np.sum(sg.print(h + 1, "k") * h)

    eager, compiled = both_modes(write, capsys)
    line = write.__code__.co_firstlineno
    assert eager == compiled == f"{THIS}:{line + 1}: h = [2. 4.]\n{THIS}:{line + 2}: k = [3. 5.]\n"


def test_prints_of_every_way_to_call(capsys: pytest.CaptureFixture[str]) -> None:
    h = sg.print(np.exp(x), "h")
    f = sg.compile({"y": np.sum(h * w)}, inputs=[x, w])
    values = np.zeros(2), ONE_TWO
    text = f"{THIS}:{h.origin.line}: h = [1. 1.]\n"
    assert f(*values) == {"y": 3.0}
    value, grads = f.value_and_grad(*values)
    assert value == {"y": 3.0} and list(grads) == ["x", "w"]
    assert f.grad(*values)["w"].tolist() == [1, 1]
    assert capsys.readouterr().out == 3 * text
    again = pickle.loads(pickle.dumps(f))
    assert again(*values) == {"y": 3.0} and capsys.readouterr().out == text
    assert f.njit(*values)(*values) == 3.0 and f.debug(*values) and not capsys.readouterr().out


def test_labels_and_what_stands_in_their_place(capsys: pytest.CaptureFixture[str]) -> None:
    sg.compile(sg.print(x * 2) + 1)(x=3.0)
    sg.print(sg.Variable(np.array(1.0), name="v"))
    sg.print(np.array([[1, 2], [3, 4]]), "table")
    lines = capsys.readouterr().out.split("\n")
    assert lines[0].endswith(": x * 2 = 6.0") and lines[1].endswith(": v = 1.0")
    assert lines[2].endswith("table = [[1 2]") and lines[3].endswith(" [3 4]]")
    assert lines[3].index("[3") == lines[2].index("[1")


def test_a_breakpoint_opens_the_debugger_at_its_line(stops: Stops) -> None:
    h = sg.breakpoint(x * 2, "h")
    line = here()
    f = sg.compile(h + 1)
    assert f(x=3.0) == 7.0
    v = sg.breakpoint(sg.Variable(np.array(5.0)))
    eager = here()
    (file, at, names), (file_eager, at_eager, names_eager) = stops.frames
    assert (file, at, file_eager, at_eager) == (__file__, line, __file__, eager)
    assert names["value"].data == 6 and names_eager["h"] is h and v.data == 5


def test_names_are_data() -> None:
    hostile = "__import__('os').abort() {0} %s\n\"'"
    h = (x * 2).named(hostile)
    f = sg.compile(h + 1)
    assert f(x=3.0) == 7.0 and f.tap(hostile)(x=3.0) == 6.0
    assert f.debug(x=3.0)[hostile] == 6.0
    assert "abort" in str(f)
    v = sg.Variable(np.array(1.0)).named("v")
    assert v.name == "v"


def test_taps_take_the_arguments_of_the_function() -> None:
    h = sg.named(np.exp(x), "h")
    k = sg.named(h * w, "k")
    f = sg.compile(np.sum(k), inputs=[w, x])
    assert f.tap("h")(ONE_TWO, np.zeros(2)).tolist() == [1, 1]
    assert [v.tolist() for v in f.tap("h", "k")(w=ONE_TWO, x=np.zeros(2))] == [[1, 1], [1, 2]]
    with pytest.raises(KeyError, match="nothing is named 'q'; there are: h, k"):
        f.tap("q")
    with pytest.raises(KeyError, match="no names"):
        sg.compile(x + 1).tap("h")
    for wrong in ("", None, 3):
        with pytest.raises(TypeError, match="the name must be text"):
            sg.named(x, wrong)  # type: ignore[arg-type]


def test_marked_values_cost_nothing_in_the_kernel() -> None:
    plain = sg.compile(np.exp(x) * 2)
    marked = sg.compile(np.exp(x).named("h") * 2)
    assert plain.llvm == marked.llvm


# -- gradients against differences -------------------------------------------------------------------------------------


def test_right_gradients_pass_to_second_order() -> None:
    h = np.tanh(x @ w)
    f = sg.compile([np.sum(h * h), np.sum(np.exp(w)) * 0.1])
    rng = np.random.default_rng(1)
    found = f.check_grad(x=rng.normal(size=(4, 3)), w=rng.normal(size=3))
    assert [(s.order, s.name) for s in found] == [(1, "x"), (1, "w"), (2, "x"), (2, "w")]
    assert all(s.error < 1e-9 for s in found)
    single = rng.normal(size=(4, 3)).astype("f4"), rng.normal(size=3).astype("f4")
    assert all(s.error < 1e-2 for s in f.check_grad(x=single[0], w=single[1]))
    assert len(f.check_grad(x=rng.normal(size=(4, 3)), w=rng.normal(size=3), order=1)) == 2


def test_nothing_is_printed_while_gradients_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    shown = sg.compile(np.sum(sg.print(x * x, "squares") * w))
    assert len(shown.check_grad(x=np.ones((2, 3)), w=np.ones(3))) == 4
    assert capsys.readouterr().out == ""


def test_a_wrong_gradient_is_found(wrong_gradient: None) -> None:
    f = sg.compile(np.sum(np.cos(x) + w * w))
    with pytest.raises(CheckError, match="the gradient for 'x' and finite differences disagree\n  order"):
        f.check_grad(x=ONE_TWO, w=ONE_TWO)
    assert f.check_grad(x=ONE_TWO, w=ONE_TWO, tolerance=1e9)


def test_what_gradient_checks_refuse() -> None:
    f = sg.compile(np.sum(np.abs(x)))
    with pytest.raises(CheckError, match="kink"):
        f.check_grad(x=np.zeros(2), order=2)
    with pytest.raises(ArgumentError, match="order must be 1 or 2"):
        f.check_grad(x=ONE_TWO, order=3)
    with pytest.raises(GradientError, match="'x' is int64"):
        f.check_grad(x=np.arange(3))


# -- bisection ---------------------------------------------------------------------------------------------------------


def test_the_rewrite_that_is_wrong_is_found(wrong_rule: None) -> None:
    f = sg.compile(np.sum(np.sin(x * 1) * 2 + w))
    culprit = f.bisect(x=ONE_TWO, w=ONE_TWO, tolerance=1e-12)
    assert culprit is not None and culprit.stage == "simplify" and culprit.rewrite is not None
    assert culprit.rewrite.law == "sin(x) -> cos(x)" and culprit.rewrite.condition == "never"
    assert THIS in str(culprit) and "instead of" in culprit.difference


def test_a_fused_product_rounds_once() -> None:
    f = sg.compile(x * w + 0.7)
    culprit = f.bisect(x=0.1, w=0.8)
    assert culprit is not None and culprit.stage == "fuse multiply-add"
    assert f.bisect(x=0.1, w=0.8, tolerance=1e-14) is None
    assert sg.compile(x * w + 0.7, fma=False).bisect(x=0.1, w=0.8) is None


def test_a_kernel_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    f = sg.compile(np.exp(x))
    monkeypatch.setattr(dispatch.Kernels, "run", lambda self, values: [np.float64(1.0)])
    culprit = f.bisect(x=1.0, tolerance=1e-9)
    assert culprit is not None and culprit.stage == "kernel" and culprit.rewrite is None


def test_gradients_are_bisected(wrong_rule: None) -> None:
    f = sg.compile(np.cos(x))  # whose gradient holds a sine
    assert f.bisect(x=1.0) is None
    assert f.bisect(x=1.0, what="grad") is not None


# -- loops, branches and parameters ------------------------------------------------------------------------------------


def test_a_replay_goes_through_the_rounds_of_a_loop() -> None:
    def body(i: Any, s: Any) -> Any:
        h = sg.named(s * x[i], "inner")
        return np.log(h)

    f = sg.compile(sg.fori_loop(0, w, body, 3.0))
    replay = f.debug(x=ONE_TWO, w=2)
    assert replay and replay["inner"] == pytest.approx(2 * np.log(3))  # that of the last round
    assert sum(record.node.op is ew.log for record in replay) == 1
    assert "values" in str(replay)
    replay = f.debug(x=np.array([1.0, 0.0, 5.0]), w=3)
    assert replay.stopped is not None and replay.stopped.node.op is ew.log and replay["inner"] == 0.0
    assert replay.stopped.where == f"{THIS}:{body.__code__.co_firstlineno + 2}"


def test_a_replay_runs_the_branch_taken() -> None:
    f = sg.compile(sg.cond(w > 0, lambda: np.log(x), lambda: x * 2))
    assert f.debug(x=0.0, w=0) and not f.debug(x=0.0, w=1)
    with sg.using_config("check_nan", True):
        assert f(x=0.0, w=0) == 0.0
        with pytest.raises(NumericError, match="log gave inf"):
            f(x=0.0, w=1)


def test_a_loop_whose_kernel_is_wrong_is_told_of(wrong_rule: None) -> None:
    replay = sg.compile(sg.fori_loop(0, w, lambda i, s: np.sin(s) + x, 0.5)).debug(x=1.0, w=3)
    assert replay.stopped is not None and (replay.stopped.fault or "").startswith("the kernel gives ")
    assert replay.stopped.where.startswith(THIS)


def test_gradients_of_loops_are_checked_and_loops_are_measured() -> None:
    f = sg.compile(sg.fori_loop(0, w, lambda i, s: np.sin(s * x), 0.5), wrt=[x])
    assert [slope.name for slope in f.check_grad(x=1.1, w=4)] == ["x", "x"]
    assert f.bisect(x=1.1, w=4, tolerance=1e-12) is None
    measured = f.profile(x=1.1, w=4, repeat=3, what="value_and_grad")
    assert sum(title.startswith("loop") for title in measured.titles) == 2
    fixed = sg.compile([sg.fori_loop(0, 1000, lambda i, s: np.sin(s * x), 0.5), sg.cond(w > 0, lambda: x, lambda: -x)])
    titles = " ".join(fixed.profile(x=1.1, w=4, repeat=3).titles)
    assert "loop of 1000 rounds" in titles and "one of 2 branches" in titles
    assert "one of 2 branches" in fixed.explain("cost") and "measured" in fixed.explain("cost")


@pytest.mark.parametrize("show", [sg.print, sg.breakpoint])
def test_what_is_shown_inside_a_loop_or_a_branch_is_refused(show: Callable[..., Any]) -> None:
    inner = sg.fori_loop(0, 3, lambda i, s: show(s + 1), x)
    outer = sg.fori_loop(0, 3, lambda i, s: sg.fori_loop(0, 3, lambda k, t: show(t + k), s), x)
    branch = sg.cond(w > 0, lambda: show(x[5]), lambda: x[0])
    for y in (inner, outer, branch):
        with pytest.raises(SymbolError, match=rf"sg\.{show.__name__} is inside a loop or a branch.*\n  at .*{THIS}"):
            sg.compile(y)
    sg.compile(show(sg.cond(w > 0, lambda: x * 2, lambda: x)) + 1)


def test_functions_with_parameters_are_looked_at_with_their_values() -> None:
    p = sg.parameter("p", ONE_TWO)
    y = np.sum(sg.named(p * x, "product") ** 2)
    step = sg.compile(y, updates={p: p - 0.1 * p * x})
    given = {"x": np.array([3.0, 4.0])}
    assert step.tap("product")(**given).tolist() == [3, 8]
    for what in ("value", "grad", "value_and_grad"):
        replay = step.debug(**given, what=what)
        assert replay and replay["p"].tolist() == [1, 2] and replay["product"].tolist() == [3, 8]
    assert {slope.name for slope in step.check_grad(**given)} == {"p", "x"}
    assert step.bisect(**given, tolerance=1e-12) is None
    assert len(step.profile(**given, repeat=2).seconds) == 1
    assert "measured" in step.explain("cost") and str(step).startswith("compiled function (x")
    assert p.value.tolist() == [1, 2]  # nothing was updated
    with pytest.raises(KeyError, match="there are: product"):
        step.tap("q")
    with pytest.raises(ArgumentError, match="no placeholder 'wat'"):
        step.debug(**given, wat="grad")
    p.value = np.array([1.0, 0.0])
    with sg.using_config("check_nan", True), pytest.raises(NumericError, match=THIS):
        sg.compile(np.log(p) * x)(**given)


def test_a_placeholder_of_a_function_with_parameters_goes_before_an_option() -> None:
    what, p = sg.placeholder("what"), sg.parameter("p", 2.0)
    assert sg.compile(p * what).debug(what=3.0)["what"] == 3.0

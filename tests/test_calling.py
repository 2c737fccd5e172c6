"""Calling compiled functions: what arguments may be, what results are, and when kernels are made."""

from __future__ import annotations

import array
import copy
import ctypes
import pickle
import subprocess
import sys
import textwrap
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
from support import KERNEL

import compiler.kernel
import symgraph as sg
from compiler.variant import Variant

ROOT = Path(__file__).resolve().parent.parent

a, b, x = sg.placeholder("a"), sg.placeholder("b"), sg.placeholder("x")
f = sg.compile(a * b + 1, inputs=[a, b])
twice = sg.compile(2 * x + 1)


def same(got: Any, expected: Any) -> None:
    """Equal in kind, dtype, shape and bits."""
    assert type(got) is type(expected), (got, expected)
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    assert got.tobytes() == expected.tobytes()


class Counter:
    """How many kernels are compiled inside a with block."""

    def __enter__(self) -> Counter:
        self.before = compiler.kernel.compilations
        return self

    def __exit__(self, *error: object) -> None:
        self.count = compiler.kernel.compilations - self.before


# -- names and positions -----------------------------------------------------------------------------------------------


def test_by_name_by_position_and_mixed() -> None:
    assert f(a=2.0, b=3.0) == f(b=3.0, a=2.0) == f(2.0, 3.0) == f(2.0, b=3.0) == 7.0
    assert f.grad(2.0, b=3.0) == f.grad(b=3.0, a=2.0) == {"a": 3.0, "b": 2.0}
    assert f.value_and_grad(2.0, 3.0) == (7.0, {"a": 3.0, "b": 2.0})


def test_inputs_give_the_order_and_may_be_unused() -> None:
    c = sg.placeholder("c")
    g = sg.compile(a - b, inputs=[b, c, a])
    assert g(1.0, 100.0, 3.0) == 2.0
    assert g.grad(1.0, 100.0, 3.0) == {"b": -1.0, "c": 0.0, "a": 1.0}
    value, grads = g.value_and_grad(1.0, np.ones((2, 3)), 3.0)
    assert value == 2.0
    same(grads["c"], np.zeros((2, 3)))
    same(g.grad(1.0, np.ones(2, np.float32), 3.0)["c"], np.zeros(2, np.float32))


def test_a_function_without_placeholders() -> None:
    g = sg.compile([sg.constant(2.5) * 2, sg.constant([1, 2]), sg.constant(True)])
    first, second, third = g()
    same(first, np.float64(5.0))
    same(second, np.array([1, 2]))
    same(third, np.True_)
    second[:] = 0
    same(g()[1], np.array([1, 2]))


# -- arguments ---------------------------------------------------------------------------------------------------------


class WithArray:
    def __init__(self, data: Any) -> None:
        self.data = data

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.data


class WithDLPack:
    """What other libraries' arrays look like to NumPy."""

    def __init__(self, data: Any) -> None:
        self._data = data

    def __dlpack__(self, **options: Any) -> Any:
        return self._data.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._data.__dlpack_device__()


class Plain(np.ndarray):
    """A subclass that changes nothing."""


VALUES: dict[str, tuple[Any, Any]] = {
    "float": (2.5, np.float64(6.0)),
    "int": (2, np.int64(5)),
    "bool": (True, np.int64(3)),
    "negative int": (-(2**40), np.int64(-(2**41) + 1)),
    "nan": (float("nan"), np.float64("nan")),
    "list": ([1, 2], np.array([3, 5])),
    "nested list": ([[1.0, 2.0], [3.0, 4.0]], np.array([[3.0, 5.0], [7.0, 9.0]])),
    "tuple": ((1.5, 2), np.array([4.0, 5.0])),
    "list of arrays": ([np.arange(2.0), np.arange(2.0)], np.array([[1.0, 3.0]] * 2)),
    "empty list": ([], np.array([])),
    "range": (range(3), np.array([1, 3, 5])),
    "float64": (np.float64(2.5), np.float64(6.0)),
    "float32": (np.float32(2.5), np.float32(6.0)),
    "int8": (np.int8(3), np.int8(7)),
    "uint64": (np.uint64(2**63 - 1), np.uint64(2**64 - 1)),
    "bool_": (np.True_, np.int64(3)),
    "0-d": (np.array(2), np.int64(5)),
    "0-d float32": (np.array(2, np.float32), np.float32(5)),
    "object with __array__": (WithArray(np.arange(3)), np.array([1, 3, 5])),
    "object with DLPack": (WithDLPack(np.arange(3.0)), np.array([1.0, 3.0, 5.0])),
    "subclass": (np.arange(3.0).view(Plain), np.array([1.0, 3.0, 5.0])),
    "masked array without masked elements": (np.ma.array([1.0, 2.0]), np.array([3.0, 5.0])),
    "masked array with an empty mask": (np.ma.array([1.0, 2.0], mask=[0, 0]), np.array([3.0, 5.0])),
    "memoryview": (memoryview(np.arange(3.0)), np.array([1.0, 3.0, 5.0])),
    "array.array": (array.array("f", [1, 2]), np.array([3, 5], np.float32)),
    "recarray": (np.arange(2.0).view(np.recarray), np.array([1.0, 3.0])),
}


@pytest.mark.parametrize("kind", VALUES)
def test_what_an_argument_may_be(kind: str) -> None:
    value, expected = VALUES[kind]
    for _ in range(2):  # as a new call, and as one seen before
        same(twice(x=value), expected)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_a_matrix_is_taken_as_an_array() -> None:
    m = np.matrix([[1.0, 2.0], [3.0, 4.0]])
    same(sg.compile(x * x)(x=m), np.array([[1.0, 4.0], [9.0, 16.0]]))


def unaligned() -> Any:
    raw = np.zeros(3 * 4 * 8 + 1, np.uint8)
    found = raw[1:].view(np.float64).reshape(3, 4)
    found[:] = np.arange(12.0).reshape(3, 4)
    assert not found.flags.aligned
    return found


def read_only() -> Any:
    found = np.arange(12.0).reshape(3, 4)
    found.flags.writeable = False
    return found


LAYOUTS: dict[str, Callable[[], Any]] = {
    "C order": lambda: np.arange(12.0).reshape(3, 4),
    "Fortran order": lambda: np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "transposed": lambda: np.arange(12.0).reshape(4, 3).T,
    "every second": lambda: np.arange(48.0).reshape(6, 8)[::2, ::2],
    "reversed": lambda: np.arange(12.0).reshape(3, 4)[::-1, ::-1],
    "stride 0": lambda: np.broadcast_to(np.arange(4.0), (3, 4)),
    "read-only": read_only,
    "byte-swapped": lambda: np.arange(12.0).reshape(3, 4).astype(">f8"),
    "byte-swapped, transposed": lambda: np.arange(12).reshape(4, 3).astype(">i4").T,
    "unaligned": unaligned,
    "packed field": lambda: np.zeros((3, 4), [("pad", "i1"), ("value", "f8")])["value"],
    "empty": lambda: np.zeros((0, 4)),
    "empty inside": lambda: np.zeros((3, 0), np.float32),
    "sizes of 1": lambda: np.ones((1, 1)),
    "float32": lambda: np.arange(12, dtype=np.float32).reshape(3, 4),
    "bool": lambda: np.arange(12).reshape(3, 4) % 2 == 0,
    "uint8": lambda: np.arange(244, 256, dtype=np.uint8).reshape(3, 4),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_numpys_answer(layout: str) -> None:
    value = LAYOUTS[layout]()
    before = value.copy()
    same(twice(x=value), np.ascontiguousarray(2 * value + 1).astype((2 * value + 1).dtype.newbyteorder("=")))
    assert value.dtype == before.dtype
    np.testing.assert_array_equal(value, before)
    g = sg.compile([x.T, x[::-1], x.sum(axis=0)], inputs=[x])
    for got, expected in zip(g(value), [value.T, value[::-1], value.sum(axis=0)], strict=True):
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == expected.dtype.newbyteorder("=")


def test_subnormal_huge_and_signed_zero_pass_through() -> None:
    value = np.array([5e-324, -0.0, 1.7976931348623157e308, np.inf, np.nan, -5e-324])
    same(sg.compile(x.T)(x=value), value)
    same(sg.compile(x * 1.0)(x=value), value)
    assert np.signbit(sg.compile(-x)(x=0.0))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The addresses of the arguments that reach kernels prepared from here on."""
    calls: list[list[int]] = []
    bind = Variant.bind

    def watched(self: Variant, sizes: Any) -> Any:
        bound = bind(self, sizes)
        kernel = KERNEL(bound.address)

        def spy(addresses: Any, *rest: Any) -> int:
            calls.append(addresses[: len(self.program.inputs)])
            return kernel(addresses, *rest)

        watching = KERNEL(spy)
        return replace(bound, address=ctypes.cast(watching, ctypes.c_void_p).value, kept=(bound, watching))

    monkeypatch.setattr(Variant, "bind", watched)
    return calls


def test_arrays_that_fit_are_never_copied(seen: list[list[int]]) -> None:
    g = sg.compile(a * b + 1, inputs=[a, b])
    fitting = [np.ones((3, 4)), np.ones(4, np.float32), read_only(), np.ones((2, 3, 4))[1], np.zeros((0, 4))]
    for value in fitting:
        for call in (g, g.grad, g.value_and_grad):
            for _ in range(2):
                call(value, 2.0)
                assert seen[-1][0] == value.ctypes.data
    declared = sg.placeholder("d", shape=("n", 4), dtype="float64")
    value = np.ones((3, 4))
    sg.compile(declared + 1)(d=value)
    assert seen[-1][0] == value.ctypes.data
    view = np.ones((3, 4)).view(Plain)
    twice_again = sg.compile(x - 1)
    twice_again(x=view)
    assert seen[-1][0] == view.ctypes.data
    shared = np.ones(5)
    twice_again(x=WithDLPack(shared))
    assert seen[-1][0] == shared.ctypes.data


def test_declared_dtypes_take_what_they_hold() -> None:
    def declared(dtype: str, value: Any) -> Any:
        return sg.compile(sg.placeholder("d", dtype=dtype).T)(d=value)

    same(declared("float32", 1), np.float32(1))
    same(declared("float32", 0.1), np.float32(0.1))
    same(declared("float32", [0.1, 2]), np.array([0.1, 2], np.float32))
    same(declared("float32", np.array([1, 2], np.int16)), np.array([1, 2], np.float32))
    same(declared("float64", np.array([1, 2])), np.array([1.0, 2.0]))
    same(declared("float64", np.array([1, 2], np.float32)), np.array([1.0, 2.0]))
    same(declared("float64", 2**70), np.float64(2**70))
    same(declared("float64", True), np.float64(1))
    same(declared("int8", -128), np.int8(-128))
    same(declared("int8", [1, 2]), np.array([1, 2], np.int8))
    same(declared("uint64", 2**64 - 1), np.uint64(2**64 - 1))
    same(declared("int64", np.array([1, 2], np.uint8)), np.array([1, 2]))
    same(declared("bool", True), np.True_)
    same(declared("bool", [True, False]), np.array([True, False]))
    same(declared("int32", np.array([1, 2], ">i4")), np.array([1, 2], np.int32))


def test_python_numbers_are_weak_and_others_are_not() -> None:
    value = np.ones(2, np.float32)
    for number in (2.0, 2, True, np.float32(2), np.float64(2), np.int64(2), np.array(2.0), [2.0, 2.0]):
        expected = value * number
        assert sg.compile(a * b)(a=value, b=number).dtype == expected.dtype
        assert sg.compile(a * b)(a=value, b=number).tobytes() == expected.tobytes()


# -- results -----------------------------------------------------------------------------------------------------------


def outputs_of(value: Any) -> dict[str, Any]:
    return {
        "identity": value,
        "again": value,
        "reshaped": value.reshape(-1),
        "transposed": value.T,
        "part": value[:1],
        "flipped": value[::-1],
        "row": value[0],
        "spread": sg.broadcast_to(value[0], value.shape),
        "sum": value.sum(axis=0),
        "sum again": value.sum(axis=0),
        "sum reshaped": value.sum(axis=0).reshape(1, -1),
        "sum flipped": value.sum(axis=0)[::-1],
        "total": value.sum(),
        "total as array": value.sum().reshape(1, 1),
        "total again": value.sum(),
        "constant": sg.constant(np.arange(3.0)),
        "number": sg.constant(2.0),
        "one number as an array": value.sum(axis=(0, 1), keepdims=True),
        "that number": value.sum(axis=(0, 1), keepdims=True).reshape(()),
        "max": value.max(axis=1),
        "product": value @ value.T,
    }


def test_results_are_new_writable_arrays_of_their_own() -> None:
    declared = sg.placeholder("d", shape=("n", 3), dtype="float64")
    value = np.arange(6.0).reshape(2, 3)
    expected = {k: np.asarray(getattr(v, "value", v)) for k, v in outputs_of(value).items()}
    for given in (declared, sg.placeholder("d", shape=(2, 3), dtype="float64")):
        g = sg.compile(outputs_of(given))
        first, second = g(d=value), g(d=value)
        constants = [c for _, v in g.variants() for _, c in v.program.constants]
        for name, result in first.items():
            np.testing.assert_array_equal(result, expected[name], strict=False, err_msg=name)
            assert isinstance(result, np.ndarray if expected[name].ndim else np.float64), name
        results = [r for run in (first, second) for r in run.values() if isinstance(r, np.ndarray)]
        assert len(results) == 2 * sum(e.ndim > 0 for e in expected.values())
        for k, result in enumerate(results):
            assert type(result) is np.ndarray
            assert result.flags.writeable and result.flags.c_contiguous and result.flags.aligned
            for other in [value, *constants, *results[:k]]:
                assert not np.shares_memory(result, other)
        for result in results:
            result[...] = -1
        for name, result in g(d=value).items():
            np.testing.assert_array_equal(result, expected[name])
        np.testing.assert_array_equal(value, np.arange(6.0).reshape(2, 3))


def test_gradients_are_arrays_of_their_own_too() -> None:
    g = sg.compile((a + b).sum(), inputs=[a, b])
    value = np.arange(3.0)
    _, grads = g.value_and_grad(value, value)
    assert not np.shares_memory(grads["a"], grads["b"])
    grads["a"][:] = 7
    same(g.grad(value, value)["a"], np.ones(3))
    same(g.grad(value, value)["b"], np.ones(3))


def test_a_number_before_and_after_its_reshaping() -> None:
    total = x.sum()
    value = np.array([1.0, 2.0])
    for outputs in (
        [total.reshape(1), total],
        [total, total.reshape(1)],
        [total.reshape(1), total.reshape(1, 1), total],
    ):
        for got, wanted in zip(sg.compile(outputs)(x=value), outputs, strict=True):
            shape = (1,) * (0 if wanted is total else 1 if wanted is outputs[0] or len(outputs) == 2 else 2)
            same(got, np.full(shape, 3.0)[()])


Point = namedtuple("Point", "x y")


def test_results_come_in_the_structure_of_the_outputs() -> None:
    def check(outputs: Any, expected: Any) -> None:
        got = sg.compile(outputs, inputs=[x])(3.0)
        assert got == expected
        assert repr(got).replace("np.float64(", "").replace(")", "") == repr(expected).replace(")", "")

    check(x, 3.0)
    check([x, 2 * x], [3.0, 6.0])
    check((x,), (3.0,))
    check({"b": x, "a": 2 * x}, {"b": 3.0, "a": 6.0})
    check(Point(x, 2 * x), Point(3.0, 6.0))
    check({"p": Point(x, [x, (x, {})]), 7: []}, {"p": Point(3.0, [3.0, (3.0, {})]), 7: []})
    check(OrderedDict(a=x), {"a": 3.0})
    check([x, 5.0], [3.0, 5.0])
    value, grads = sg.compile(Point(x, x * x)).value_and_grad(x=3.0)
    assert value == Point(3.0, 9.0) and type(value) is Point
    assert grads == {"x": 7.0}


# -- gradients ---------------------------------------------------------------------------------------------------------


def test_wrt_chooses_and_orders() -> None:
    for wrt in ([b], b, "b", ["b"], ("b",)):
        g = sg.compile(a * b, wrt=wrt)
        assert g.grad(a=2.0, b=3.0) == {"b": 2.0}
    assert list(sg.compile(a * b, wrt=[b, a]).grad(a=2.0, b=3.0)) == ["b", "a"]
    assert sg.compile(a * b, wrt=[b, a]).grad(a=2.0, b=3.0) == {"a": 3.0, "b": 2.0}
    assert sg.compile(a * b, wrt=[b]).grad(a=2, b=3.0) == {"b": 2.0}


def test_integers_are_left_out_unless_asked_for() -> None:
    g = sg.compile(a * b, inputs=[a, b])
    assert g.value_and_grad(2, 3.0) == (6.0, {"b": 2})
    assert g.value_and_grad(2.0, 3) == (6.0, {"a": 3})
    assert g.value_and_grad(2.0, 3.0) == (6.0, {"a": 3, "b": 2})
    declared = sg.placeholder("k", dtype="int64")
    assert sg.compile(declared * b).grad(k=2, b=3.0) == {"b": 2.0}


def test_cotangents_weigh_the_elements_of_the_output() -> None:
    g = sg.compile(x * x)
    value = np.array([1.0, 2.0, 3.0])
    same(g.grad(x=value)["x"], 2 * value)
    for weights in (np.array([1.0, 0.0, -1.0]), [1, 0, -1], (1.0, 0, -1)):
        same(g.grad(x=value, cotangent=weights)["x"], 2 * value * weights)
        result, grads = g.value_and_grad(x=value, cotangent=weights)
        same(result, value * value)
        same(grads["x"], 2 * value * weights)
    same(g.grad(x=value, cotangent=0.5)["x"], value)
    same(g.grad(x=value, cotangent=None)["x"], 2 * value)
    same(g.grad(x=value.astype(np.float32), cotangent=0.5)["x"], value.astype(np.float32))
    c = sg.placeholder("cotangent")
    assert sg.compile(c * x).grad(x=2.0, cotangent=3.0) == {"cotangent": 2.0, "x": 3.0}


def test_several_outputs_add_up() -> None:
    g = sg.compile([x * x, np.exp(x), x > 0])
    value, grads = g.value_and_grad(x=1.0)
    assert value[2]
    assert grads["x"] == pytest.approx(2 + np.e, rel=1e-15)


# -- when kernels are made ---------------------------------------------------------------------------------------------


def test_one_kernel_serves_all_sizes() -> None:
    g = sg.compile((a * b).sum(axis=0), inputs=[a, b])
    shapes = [(2, 3), (3, 2), (7, 5), (0, 3), (4, 0), (0, 0), (100, 2), (64, 65)]
    with Counter() as counter:
        for shape in shapes:
            for value in (np.random.default_rng(0).normal(size=shape),):
                np.testing.assert_allclose(g(value, value), (value * value).sum(axis=0), rtol=1e-14)
    assert counter.count == 1
    with Counter() as counter:
        for shape in [(1, 3), (5, 1), (1, 1), (1, 9), (6, 1)]:
            value = np.random.default_rng(0).normal(size=shape)
            np.testing.assert_allclose(g(value, value), (value * value).sum(axis=0), rtol=1e-14)
    assert counter.count == 3
    with Counter() as counter:
        for shape in shapes[:3]:
            g.value_and_grad(np.ones(shape), np.ones(shape))
    assert counter.count == 1


def test_a_kernel_for_each_dtype_and_rank() -> None:
    g = sg.compile(x + 1)
    for value in (
        1.0,
        np.float64(1),
        np.float32(1),
        1,
        np.int64(1),
        True,
        np.ones(2),
        np.ones(2, np.float32),
        np.ones((2, 2)),
    ):
        with Counter() as counter:
            g(x=value)
        # a Python number is weak, so it is another type than NumPy's; but bool and numpy.bool are one
        assert counter.count == 1
        with Counter() as counter:
            g(x=value)
            g(x=np.array(value)[()] if isinstance(value, bool | np.generic) else value)
        assert counter.count == 0


def test_nothing_is_compiled_before_the_first_call() -> None:
    with Counter() as counter:
        sg.compile(a * b + 2).graph.number_of_nodes()
    assert counter.count == 0


def test_many_shapes_are_forgotten_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compiler.dispatch._REMEMBERED", 4)
    g = sg.compile(x + 1)
    with Counter() as counter:
        for size in [*range(2, 20), *range(2, 20)]:
            same(g(x=np.ones(size)), np.full(size, 2.0))
    assert counter.count == 1
    assert [len(plans) <= 4 for plans in g.dispatch.plans.values()] == [True]


def test_declared_sizes() -> None:
    u = sg.placeholder("u", shape=("n", 3), dtype="float64")
    v = sg.placeholder("v", shape=("n",), dtype="float64")
    w = sg.placeholder("w", shape=(None, "n"))
    g = sg.compile({"s": (u * v[:, None]).sum(axis=0), "p": w @ u}, inputs=[u, v, w])
    with Counter() as counter:
        for n, m in ((2, 4), (5, 3), (0, 2), (7, 0)):
            uu, vv, ww = np.ones((n, 3)), np.arange(float(n)), np.ones((m, n))
            got = g(uu, vv, ww)
            same(got["s"], (uu * vv[:, None]).sum(axis=0))
            same(got["p"], ww @ uu)
    assert counter.count == 1
    got = g(np.ones((1, 3)), [2.0], np.ones((2, 1)))
    same(got["p"], np.ones((2, 3)))
    longer = sg.placeholder("longer", shape=(v.type.shape[0] + 1,))
    same(sg.compile(longer[1:] - v)(longer=[1.0, 2.0, 4.0], v=[1.0, 2.0]), np.array([1.0, 2.0]))


# -- functions as data -------------------------------------------------------------------------------------------------


def fresh(code: str, **data: bytes) -> str:
    """Run code in a new process that finds `data` in variables."""
    head = "import pickle, sys, numpy as np\n" + "".join(f"{k} = {v!r}\n" for k, v in data.items())
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", head + textwrap.dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_functions_and_expressions_pickle_into_a_fresh_process() -> None:
    n = sg.placeholder("n", shape=("k", 2), dtype="float32")
    pair = namedtuple("pair", "x y", module="__main__")  # cloudpickle takes the class along
    expression = np.exp(n * np.array([1.5, -0.0]))[::-1]
    value = np.array([[0.5, 1.0], [2.0, 3.0]], np.float32)
    code = """
        f, e = pickle.loads(function), pickle.loads(expression)
        value = np.array([[0.5, 1.0], [2.0, 3.0]], np.float32)
        y = f(2.0, value)
        print(y["y"].tobytes().hex(), y["p"][0].tobytes().hex(), float(y["p"][1]), type(y["p"]).__name__)
        print(f.grad(2.0, value)["n"].tobytes().hex(), *f.grad(2.0, value), f.options["fma"])
        print(e, e.type, [o.line for o in e.origins])
    """
    for dumps, make in ((pickle.dumps, lambda *parts: parts), (cloudpickle.dumps, pair)):
        g = sg.compile({"y": expression, "p": make(n.sum(axis=1), a)}, inputs=[a, n], wrt=["n"], fma=False)
        expected = g(2.0, value)
        wanted = [
            f"{expected['y'].tobytes().hex()} {expected['p'][0].tobytes().hex()} 2.0 {type(expected['p']).__name__}",
            f"{g.grad(2.0, value)['n'].tobytes().hex()} n False",
            f"{expression} {expression.type} {[o.line for o in expression.origins]}",
        ]
        assert fresh(code, function=dumps(g), expression=dumps(expression)).splitlines() == wanted
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(expression, protocol)) is expression


def test_cloudpickle_takes_functions_inside_closures() -> None:
    g = sg.compile(a * 3)
    text = fresh("print(float(pickle.loads(closure)(14.0)))", closure=cloudpickle.dumps(lambda v: g(a=v)))
    assert text == "42.0\n"


def test_a_pickled_function_keeps_its_manners() -> None:
    for g in (sg.compile(a - b), sg.compile(a - b, inputs=[b, a]), sg.compile([a - b], wrt=b, verify=True)):
        again = pickle.loads(pickle.dumps(g))
        assert again.outputs == g.outputs  # interned: the very nodes
        assert again.inputs == g.inputs
        assert again.options == g.options
        assert again.wrt == g.wrt
        assert again.signature.positional == g.signature.positional
        assert again(a=5.0, b=3.0) == g(a=5.0, b=3.0)
        assert again.grad(a=5.0, b=3.0) == g.grad(a=5.0, b=3.0)


def test_copies_are_the_function_itself() -> None:
    assert copy.copy(f) is f
    assert copy.deepcopy({"model": [f]})["model"][0] is f
    assert copy.deepcopy(a * b) is a * b
    assert pickle.loads(pickle.dumps(a * b + 1)) is a * b + 1

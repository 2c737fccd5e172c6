"""The define-by-run mode beyond the book's steps: dtypes, broadcasting, memory, threads, messages."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph import Function, Variable, no_grad, numerical_diff, using_config
from symgraph.errors import GradientError, ShapeError


def grad_of(f: Callable[..., Any], *values: Any) -> list[Any]:
    xs = [Variable(np.asarray(v)) for v in values]
    f(*xs).backward()
    return [None if x.grad is None else x.grad.data for x in xs]


# -- settings ----------------------------------------------------------------------------------------------------------


def test_settings_belong_to_the_thread() -> None:
    seen: list[bool] = []
    inside, done = threading.Event(), threading.Event()

    def other() -> None:
        with no_grad():
            inside.set()
            assert done.wait(10)
            seen.append(sg.config.enable_backprop)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    assert sg.config.enable_backprop is True
    with no_grad():
        pass
    done.set()
    thread.join()
    assert seen == [False]


def test_settings_belong_to_the_task() -> None:
    async def off() -> bool:
        with no_grad():
            await asyncio.sleep(0)
            return sg.config.enable_backprop

    async def on() -> bool:
        await asyncio.sleep(0)
        return sg.config.enable_backprop

    async def both() -> list[bool]:
        return list(await asyncio.gather(off(), on()))

    assert asyncio.run(both()) == [False, True]


def test_settings_nest_and_decorate() -> None:
    @no_grad()
    def decorated() -> bool:
        return sg.config.enable_backprop

    with no_grad():
        with using_config("enable_backprop", True):
            assert sg.config.enable_backprop is True
            assert (Variable(np.array(1.0)) * 2).creator is not None
        assert sg.config.enable_backprop is False
    assert decorated() is False
    assert sg.config.enable_backprop is True


def test_settings_as_attributes() -> None:
    assert repr(sg.config) == "config(enable_backprop=True, check_nan=False)"
    assert "enable_backprop" in dir(sg.config)
    sg.config.enable_backprop = False
    try:
        assert (Variable(np.array(1.0)) * 2).creator is None
    finally:
        sg.config.enable_backprop = True


@pytest.mark.parametrize(
    "use",
    [
        lambda: using_config("enable_backprob", False).__enter__(),
        lambda: sg.config.enable_backprob,
        lambda: setattr(sg.config, "enable_backprob", False),
    ],
)
def test_unknown_settings(use: Callable[[], Any]) -> None:
    with pytest.raises(
        AttributeError, match="no setting 'enable_backprob'; the settings are: check_nan, enable_backprop"
    ):
        use()


# -- what a Variable holds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "called"), [(1.0, "float"), (1, "int"), ([1.0], "list"), ("a", "str")])
def test_data_must_be_an_array(data: Any, called: str) -> None:
    with pytest.raises(TypeError, match=rf"holds an ndarray or None, not {called}; write Variable\(np\.array\("):
        Variable(data)
    x = Variable(np.array(1.0))
    with pytest.raises(TypeError, match=called):
        x.data = data
    with pytest.raises(TypeError, match=called):
        x.grad = data


def test_numpy_scalars_become_arrays() -> None:
    x = Variable(np.float32(2.0))
    assert type(x.data) is np.ndarray and x.dtype == np.float32
    x.data = x.data * 2  # NumPy gives a scalar
    assert type(x.data) is np.ndarray and x.data == 4.0


def test_gradients_may_be_assigned_as_arrays() -> None:
    x = Variable(np.array([1.0, 2.0]))
    y = x * 3
    y.grad = np.array([1.0, 10.0])
    assert type(y.grad) is Variable
    y.backward()
    assert x.grad.data.tolist() == [3.0, 30.0]
    y.grad = None
    assert y.grad is None


@pytest.mark.parametrize(
    "use",
    [
        lambda v: v.shape,
        lambda v: v.ndim,
        lambda v: v.dtype,
        len,
        float,
        lambda v: v + 1,
        lambda v: 2 - v,
        np.exp,
        lambda v: np.add(v, np.ones(3)),
        lambda v: v.sum(),
        lambda v: v.backward(),
        lambda v: v[0],
    ],
)
def test_no_data_yet(use: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"the Variable 'w' has no data yet; assign an ndarray to \.data first"):
        use(Variable(None, "w"))


def test_python_may_ask_for_the_value() -> None:
    x = Variable(np.array(2.0))
    assert (float(x), int(x), complex(x), bool(x), x.item()) == (2.0, 2, 2 + 0j, True, 2.0)
    assert Variable(np.arange(3)).tolist() == [0, 1, 2]
    assert "abc"[Variable(np.array(1))] == "b"
    assert max(x, Variable(np.array(3.0))).item() == 3.0
    with pytest.raises(ValueError, match="ambiguous"):
        bool(Variable(np.ones(2)))


def test_iteration_and_unpacking_keep_the_graph() -> None:
    x = Variable(np.array([2.0, 3.0]))
    a, b = x
    (a * b).backward()
    assert x.grad.data.tolist() == [3.0, 2.0]


def test_arrays_of_variables_keep_the_graph() -> None:
    a, b = Variable(np.array(2.0)), Variable(np.array(3.0))
    v = Variable(np.array([10.0, 20.0]))
    held = np.array([a, b])
    assert held.dtype == object and held[0] is a
    (v * held).sum().backward()
    assert (a.grad.data, b.grad.data, v.grad.data.tolist()) == (10.0, 20.0, [2.0, 3.0])
    v.cleargrad()
    np.add(v, [a, 1.0]).sum().backward()
    assert a.grad.data == 11.0
    assert sg.as_variable([a, b]).creator is not None


def test_arrays_of_numbers_where_no_gradient_is_lost() -> None:
    x = Variable(np.array([1.0, 2.0]), "x")
    with no_grad():
        assert np.asarray(x).dtype == np.float64
    assert np.asarray(x, dtype=np.float64).tolist() == [1.0, 2.0]
    assert np.asarray(Variable(np.arange(3))).dtype == np.int64
    with pytest.raises(TypeError, match=r"np\.asarray of the Variable 'x' would lose .* write \.data"):
        np.asarray(Variable(np.ones(2000), "x"))


@pytest.mark.parametrize("value", [None, object()])
def test_as_variable_refuses_what_is_no_array(value: Any) -> None:
    with pytest.raises(TypeError, match="is no array of numbers"):
        sg.as_variable(value)


def test_modes_do_not_mix() -> None:
    a, x = sg.placeholder("a"), Variable(np.array(1.0))
    for use in (lambda: x + a, lambda: a + x, lambda: np.multiply(x, a), lambda: -x * a, lambda: Add()(x, a)):
        with pytest.raises(TypeError, match=r"cannot mix a (Variable with a symbol|symbol with a Variable)"):
            use()
    with pytest.raises(TypeError, match="as_variable: a is a symbol; a Variable holds data"):
        sg.as_variable(a)


def test_what_has_no_meaning_raises_type_error() -> None:
    x = Variable(np.array([1.0, 2.0]))
    for use in (lambda: x + "a", lambda: x * None, lambda: np.linalg.svd(x), lambda: x ** "a"):
        with pytest.raises(TypeError):
            use()
    into = np.ones(2)
    with pytest.raises(TypeError, match="write a = a \\+ x instead of a \\+= x"):
        into += x
    y = x
    y += 1
    assert x.data.tolist() == [1.0, 2.0] and y.data.tolist() == [2.0, 3.0]


def test_copies_and_pickles_are_leaves() -> None:
    x = Variable(np.array([1.0]), "x")
    y = x * 2
    y.name = "y"
    for again in (copy.copy(y), copy.deepcopy(y), pickle.loads(pickle.dumps(y))):
        assert (again.data.tolist(), again.name, again.creator) == ([2.0], "y", None)
    assert copy.deepcopy(y).data is not y.data


# -- dtypes and broadcasting -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_python_numbers_adapt(dtype: str) -> None:
    x = Variable(np.ones(3, dtype))
    for y in (x * 2.0, 2 - x, x / 3, 3.0 / x, x**2, x + 1, np.maximum(x, 0.5), x.mean(), np.where(x > 0, x, 0.0)):
        assert y.dtype == dtype
        x.cleargrad()
        y.backward()
        assert x.grad.dtype == dtype and x.grad.shape == (3,)


def test_promotion_is_numpys_and_gradients_come_back_in_their_own_dtype() -> None:
    x, y = Variable(np.ones(2, np.float32)), Variable(np.ones(3, np.float64)[:2])
    z = x * y
    assert z.dtype == np.float64
    z.backward()
    assert (x.grad.dtype, y.grad.dtype) == (np.float32, np.float64)


@pytest.mark.parametrize("create_graph", [False, True])
def test_scalars_of_two_dtypes(create_graph: bool) -> None:
    x, y = Variable(np.array(2.0, np.float32)), Variable(np.array(3.0, np.float64))
    (x * y).backward(create_graph=create_graph)
    assert (x.grad.dtype, y.grad.dtype) == (np.float32, np.float64)


def test_integers_compute_as_integers() -> None:
    x = Variable(np.array(3))
    y = x * x + 1
    y.backward()
    assert (y.dtype, y.data, x.grad.data) == (np.int64, 10, 6)
    (x / 2).backward()
    assert x.grad.data == 6.5


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((2, 3), (3,)),
        ((2, 1), (1, 3)),
        ((), (2, 3)),
        ((1,), ()),
        ((2, 3), (2, 3)),
        ((0, 3), (3,)),
        ((4, 1, 3), (2, 1)),
    ],
)
def test_gradients_are_summed_where_values_were_broadcast(
    left: tuple[int, ...],
    right: tuple[int, ...],
    create_graph: bool,
) -> None:
    rng = np.random.default_rng(1)
    x, y = Variable(rng.random(left)), Variable(rng.random(right))
    z = x * y
    z.backward(create_graph=create_graph)
    for v, other in ((x, y), (y, x)):
        wide = np.broadcast_to(other.data, z.shape)
        lead = z.ndim - v.ndim
        axes = tuple(range(lead)) + tuple(lead + k for k, s in enumerate(v.shape) if s == 1 and z.shape[lead + k] != 1)
        assert v.grad.shape == v.shape
        np.testing.assert_allclose(v.grad.data, wide.sum(axes).reshape(v.shape), rtol=1e-14)


FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "matmul": (lambda a, b: ((a @ b) ** 2).sum(), ((3, 4), (4, 2))),
    "matmul of a vector": (lambda a, b: np.sin(a @ b).sum(), ((3, 4), (4,))),
    "softmax": (lambda a: (sg.softmax(a, axis=1) * np.arange(4.0)).sum(), ((3, 4),)),
    "logsumexp": (lambda a: sg.logsumexp(a), ((3, 4),)),
    "index": (lambda a: (a[1:, ::-1] ** 2).sum() + a[0, 0], ((3, 4),)),
    "take": (lambda a: (a[[0, 0, 2]] ** 2).sum(), ((3, 4),)),
    "concatenate": (lambda a, b: (np.concatenate([a, b]) ** 3).sum(), ((3,), (2,))),
    "stack": (lambda a, b: (np.stack([a, b * a]) ** 2).prod(), ((2,), (2,))),
    "where": (lambda a: np.where(a > 0.5, a**2, np.exp(a)).sum(), ((7,),)),
    "variance": (lambda a: a.var(axis=0).sum() + np.std(a), ((3, 4),)),
    "shapes": (lambda a: (a.T.reshape(2, -1) * np.expand_dims(a.ravel()[:6], 0)).mean(), ((3, 4),)),
    "extrema": (lambda a: a.max(axis=1).sum() - np.minimum(a, 0.5).sum(), ((3, 4),)),
    "norm": (lambda a: np.linalg.norm(a) + np.tensordot(a, a), ((3, 4),)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_numpy_have_gradients(name: str) -> None:
    f, shapes = FUNCTIONS[name]
    rng = np.random.default_rng(2)
    values = [rng.random(s) for s in shapes]
    found = grad_of(f, *values)
    for k, value in enumerate(values):

        def one(x: Variable, k: int = k) -> Any:
            return f(*[x if j == k else Variable(v) for j, v in enumerate(values)])

        np.testing.assert_allclose(found[k], numerical_diff(one, Variable(value)), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_recorded_gradients_equal_plain_ones(name: str) -> None:
    f, shapes = FUNCTIONS[name]
    rng = np.random.default_rng(2)
    xs = [Variable(rng.random(s)) for s in shapes]
    f(*xs).backward()
    plain: list[Any] = [x.grad for x in xs]
    for x in xs:
        x.cleargrad()
    f(*xs).backward(create_graph=True)
    for x, g in zip(xs, plain, strict=True):
        np.testing.assert_allclose(x.grad.data, g.data, rtol=1e-15)
        x.cleargrad()


def test_sizes_are_plain_numbers() -> None:
    x = Variable(np.ones((2, 3), np.float32))
    assert type(sg.size(x)) is int
    assert x.mean().dtype == np.float32


# -- backward ----------------------------------------------------------------------------------------------------------


def test_gradients_accumulate_until_cleared() -> None:
    x = Variable(np.array(2.0))
    y = x**2
    y.backward()
    y.backward()
    assert x.grad.data == 8.0
    x.cleargrad()
    y.backward()
    assert x.grad.data == 4.0


def test_retained_gradients_do_not_leak_into_a_second_walk() -> None:
    x = Variable(np.array(2.0))
    t = x**2
    y = t * 3
    y.backward(retain_grad=True)
    y.backward(retain_grad=True)
    assert (y.grad.data, t.grad.data, x.grad.data) == (1.0, 6.0, 24.0)


def test_gradients_of_two_variables_never_share_memory() -> None:
    a, b, c = (Variable(np.ones(3)) for _ in range(3))
    y = (a + b) + c.reshape(3, 1).T[0]
    seed = Variable(np.ones(3))
    y.grad = seed
    y.backward(retain_grad=True)
    arrays = [v.grad.data for v in (a, b, c, y.creator.inputs[0])] + [seed.data]
    for k, one in enumerate(arrays):
        one *= k + 2
    assert [one[0] for one in arrays] == [2.0, 3.0, 4.0, 5.0, 6.0]
    x = Variable(np.ones((2, 2)))
    x.sum().backward()
    x.grad.data[0, 0] = 5.0
    assert x.grad.data.tolist() == [[5.0, 1.0], [1.0, 1.0]]


def test_inputs_never_change() -> None:
    data = np.arange(1.0, 4.0)
    data.flags.writeable = False
    x = Variable(data)
    (x * x + np.exp(x) / x).sum().backward()
    assert data.tolist() == [1.0, 2.0, 3.0]


def test_a_leaf_gets_ones() -> None:
    x = Variable(np.zeros((2, 2)))
    x.backward()
    assert x.grad.data.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_unchain_and_no_grad_stop_the_walk() -> None:
    x = Variable(np.array(2.0))
    t = x**2
    t.unchain()
    (t * x).backward()
    assert (x.grad.data, t.grad.data) == (4.0, 2.0)
    x.cleargrad()
    with no_grad():
        u = x**2
    (u * x).backward()
    assert x.grad.data == 4.0
    x.cleargrad()
    (sg.stop_gradient(x**2) * x).backward()
    assert x.grad.data == 4.0


def test_flat_operations_pass_nothing_on() -> None:
    assert grad_of(lambda x: np.floor(x) * x * (x > 1), 1.5) == [1.0]
    assert grad_of(np.floor, 1.5) == [None]


def test_recording_is_forced_by_create_graph_and_put_back() -> None:
    x = Variable(np.array(3.0))
    y = x**3
    with no_grad():
        y.backward(create_graph=True)
        assert sg.config.enable_backprop is False
    assert x.grad.creator is not None
    y = x**3
    x.cleargrad()
    y.backward()
    assert x.grad.creator is None
    assert sg.config.enable_backprop is True


def test_wrong_cotangent() -> None:
    y = Variable(np.ones(3)) * 2
    y.name = "loss"
    y.grad = np.ones(2)
    with pytest.raises(ShapeError, match=r"\.grad of the Variable 'loss' has shape \(2,\), its data \(3,\)"):
        y.backward()


def test_a_failed_walk_leaves_no_gradient_behind() -> None:
    x = Variable(np.array(2.0))
    y = Square()(x) * Broken()(x)
    with pytest.raises(ZeroDivisionError):
        y.backward()
    assert x.grad is None
    assert sg.config.enable_backprop is True


@pytest.mark.parametrize("create_graph", [False, True])
def test_deep_graphs_need_no_recursion(create_graph: bool) -> None:
    x = Variable(np.array(1.0))
    y = x
    for _ in range(20_000):
        y = y * 0.9999
    y.backward(create_graph=create_graph)
    assert x.grad.data == pytest.approx(0.9999**20_000, rel=1e-9)
    gc.disable()  # so that it is the reference counts that free the chain
    try:
        x.cleargrad()
        del y
    finally:
        gc.enable()


def test_work_is_linear_in_nodes_not_in_paths() -> None:
    x = Variable(np.array(1.0))
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert y.data == x.grad.data == 2.0**60


def test_threads_share_leaves() -> None:
    shared = Variable(np.array(3.0))
    results: list[float] = []

    def work(k: int) -> None:
        for _ in range(100):
            own = Variable(np.array(float(k)))
            (own * shared * own).backward()
            results.append(float(own.grad.data) - 6.0 * k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0.0] * 400


# -- functions of one's own --------------------------------------------------------------------------------------------


class Square(Function):
    def forward(self, x: Any) -> Any:
        return x**2

    def backward(self, gy: Variable) -> Any:
        (x,) = self.inputs
        return 2 * x * gy


class Broken(Square):
    def backward(self, gy: Variable) -> Any:
        raise ZeroDivisionError


class Add(Function):
    def forward(self, x0: Any, x1: Any) -> Any:
        return x0 + x1

    def backward(self, gy: Variable) -> Any:
        return gy, gy


class Power(Function):
    def __init__(self, exponent: float) -> None:
        self.exponent = exponent

    def forward(self, x: Any) -> Any:
        return x**self.exponent

    def backward(self, gy: Variable) -> Any:
        (x,) = self.inputs
        return self.exponent * x ** (self.exponent - 1) * gy


class Halves(Function):
    def forward(self, x: Any) -> Any:
        return x[:2], x[2:]

    def backward(self, low: Variable, high: Variable) -> Any:
        assert low.shape == (2,) and high.shape == (1,)
        return np.concatenate([low, high])


@pytest.mark.parametrize("create_graph", [False, True])
def test_outputs_that_lead_nowhere_have_zero_gradients(create_graph: bool) -> None:
    x = Variable(np.array([1.0, 2.0, 3.0]))
    low, high = Halves()(x)
    del high
    (low**2).sum().backward(create_graph=create_graph)
    assert x.grad.data.tolist() == [2.0, 4.0, 0.0]
    x.cleargrad()
    low, high = Halves()(x)
    (low.sum() * high).backward(create_graph=create_graph)
    assert x.grad.data.tolist() == [3.0, 3.0, 3.0]


def test_a_function_called_twice_keeps_both_records() -> None:
    cube = Power(3)
    x, y = Variable(np.array(2.0)), Variable(np.array(5.0))
    a, b = cube(x), cube(y)
    assert a.creator is cube
    assert b.creator is not cube and b.creator.exponent == 3
    a.backward()
    b.backward()
    assert (x.grad.data, y.grad.data) == (12.0, 75.0)


def test_a_functions_gradients_are_summed_to_the_shape_of_its_inputs() -> None:
    x, y = Variable(np.ones((2, 3))), Variable(np.ones(3))
    Add()(x, y).backward()
    assert y.grad.data.tolist() == [2.0, 2.0, 2.0]


def test_a_function_takes_numbers_and_arrays() -> None:
    x = Variable(np.ones(2, np.float32))
    y = Add()(x, 2.0)
    assert y.dtype == np.float32 and y.data.tolist() == [3.0, 3.0]
    y.backward()
    assert x.grad.dtype == np.float32
    assert Add()(np.ones(2), [1.0, 2.0]).data.tolist() == [2.0, 3.0]
    assert type(Add()(1.0, 2.0).data) is np.ndarray


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_function_sees_variables_and_may_return_arrays_or_none(create_graph: bool) -> None:
    seen: list[Any] = []

    class First(Function):
        def forward(self, x: Any, y: Any) -> Any:
            return x * 2

        def backward(self, gy: Variable) -> Any:
            seen.append((type(gy), sg.config.enable_backprop))
            return np.asarray(gy.data * 2), None

    x, y = Variable(np.array(1.0)), Variable(np.array(1.0))
    First()(x, y).backward(create_graph=create_graph)
    assert seen == [(Variable, create_graph)]
    assert x.grad.data == 2.0 and y.grad is None


def test_wrong_gradients_of_a_function() -> None:
    class One(Add):
        def backward(self, gy: Variable) -> Any:
            return gy

    class Shape(Square):
        def backward(self, gy: Variable) -> Any:
            return np.ones(3)

    x = Variable(np.ones(2))
    with pytest.raises(GradientError, match=r"One\.backward returned 1 gradients for 2 inputs"):
        One()(x, x).backward()
    with pytest.raises(ShapeError, match=r"Shape\.backward returned a gradient of shape \(3,\) .* of shape \(2,\)"):
        Shape()(x).backward()


def test_creators_name_themselves() -> None:
    x = Variable(np.array(2.0))
    assert (Square()(x).creator.label, (x * 2).creator.label) == ("Square", "Mul")
    assert repr((x * 2).creator) == "<function Mul>"
    y = x**3
    assert y.creator.op is sg.op.lookup("pow") and y.creator.params == {"exponent": 3}


# -- numerical differences ---------------------------------------------------------------------------------------------


def test_numerical_diff_takes_one_element_at_a_time() -> None:
    x = Variable(np.array([1.0, 2.0, 3.0]))
    found = numerical_diff(lambda v: v[0] * v[1] * v[2], x)
    np.testing.assert_allclose(found, [6.0, 3.0, 2.0], rtol=1e-9)
    assert x.data.tolist() == [1.0, 2.0, 3.0]


def test_numerical_diff_needs_floats() -> None:
    with pytest.raises(TypeError, match="x must hold floating-point numbers, got int64"):
        numerical_diff(lambda v: v, Variable(np.array(1)))

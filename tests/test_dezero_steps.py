"""The steps of the book behind DeZero, with the values it arrives at."""

from __future__ import annotations

import contextlib
import gc
import math
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph import Function, Variable, as_variable, no_grad, numerical_diff, using_config


class Square(Function):
    def forward(self, x: Any) -> Any:
        return x**2

    def backward(self, gy: Variable) -> Any:
        (x,) = self.inputs
        return 2 * x * gy


class Exp(Function):
    def forward(self, x: Any) -> Any:
        return np.exp(x)

    def backward(self, gy: Variable) -> Any:
        (x,) = self.inputs
        return np.exp(x) * gy


class Add(Function):
    def forward(self, x0: Any, x1: Any) -> Any:
        return x0 + x1

    def backward(self, gy: Variable) -> Any:
        return gy, gy


def square(x: Any) -> Any:
    return Square()(x)


def exp(x: Any) -> Any:
    return Exp()(x)


def add(x0: Any, x1: Any) -> Any:
    return Add()(x0, x1)


def var(value: Any, name: str | None = None) -> Variable:
    return Variable(np.array(value), name)


def gradients(f: Callable[..., Any], *values: float) -> tuple[Any, list[Any]]:
    xs = [var(v) for v in values]
    y = f(*xs)
    y.backward()
    return y.data, [x.grad.data for x in xs]


def goldstein_price(x: Any, y: Any) -> Any:
    return (1 + (x + y + 1) ** 2 * (19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2)) * (
        30 + (2 * x - 3 * y) ** 2 * (18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2)
    )


def rosenbrock(x0: Any, x1: Any) -> Any:
    return 100 * (x1 - x0**2) ** 2 + (x0 - 1) ** 2


def my_sin(x: Variable, threshold: float) -> tuple[Variable, int]:
    y: Any = 0
    for i in range(100000):
        c = (-1) ** i / math.factorial(2 * i + 1)
        t = c * x ** (2 * i + 1)
        y = y + t
        if abs(t.data) < threshold:
            break
    return y, i + 1


# -- steps 1 to 10: a box, functions, backward -------------------------------------------------------------------------


def test_step_1_a_variable_is_a_box() -> None:
    x = Variable(np.array(1.0))
    assert x.data == 1.0
    x.data = np.array(2.0)
    assert x.data == 2.0


def test_step_2_a_function_calls_forward() -> None:
    y = square(var(10.0))
    assert type(y) is Variable
    assert y.data == 100
    with pytest.raises(NotImplementedError, match=r"Function does not define forward"):
        Function()(var(1.0))
    with pytest.raises(NotImplementedError, match=r"Function does not define backward"):
        Function().backward(var(1.0))


def test_step_3_functions_in_a_row() -> None:
    assert square(exp(square(var(0.5)))).data == 1.648721270700128
    assert (np.exp(var(0.5) ** 2) ** 2).data == 1.648721270700128


def test_step_4_numerical_differentiation() -> None:
    assert numerical_diff(square, var(2.0)) == 4.000000000004
    assert numerical_diff(lambda x: square(exp(square(x))), var(0.5)) == 3.2974426293330694


def test_steps_6_to_8_backward_walks_the_creators() -> None:
    first, second, third = Square(), Exp(), Square()
    x = var(0.5)
    a = first(x)
    b = second(a)
    y = third(b)
    assert y.creator is third and y.creator.inputs[0] is b
    assert b.creator is second and b.creator.inputs[0] is a
    assert a.creator is first and a.creator.inputs[0] is x
    y.grad = np.array(1.0)
    y.backward()
    assert x.grad.data == 3.297442541400256


def test_steps_6_to_8_backward_by_hand() -> None:
    x = var(0.5)
    y = square(exp(square(x)))
    y.grad = np.array(1.0)
    value = y
    while value.creator is not None:
        f = value.creator
        (argument,) = f.inputs
        argument.grad = f.backward(value.grad)
        value = argument
    assert value is x
    assert x.grad.data == 3.297442541400256


def test_steps_6_to_8_with_operators() -> None:
    x = var(0.5)
    a = x**2
    y = np.exp(a) ** 2
    assert y.creator.inputs[0].creator.inputs[0] is a
    assert a.creator.inputs[0] is x
    y.backward()
    assert x.grad.data == 3.297442541400256


def test_step_9_seed_types_and_arrays_of_no_dimensions() -> None:
    x = var(0.5)
    square(exp(square(x))).backward()
    assert x.grad.data == 3.297442541400256
    assert Variable(None).data is None
    with pytest.raises(TypeError, match="float"):
        Variable(1.0)
    for y in (square(var(3.0)), var(3.0) * var(2.0), var(3.0) ** 2, np.exp(var(3.0)), var([1.0, 2.0]).sum()):
        assert type(y.data) is np.ndarray and y.data.shape == ()
    assert type(x.grad.data) is np.ndarray


def test_step_10_gradient_check() -> None:
    x = Variable(np.random.default_rng(0).random(1))
    square(x).backward()
    assert np.allclose(x.grad.data, numerical_diff(square, x))
    assert square(var(2.0)).data == 4.0
    x = var(3.0)
    square(x).backward()
    assert x.grad.data == 6.0


# -- steps 11 to 19: graphs that branch, memory, use -------------------------------------------------------------------


def test_step_11_lists_of_inputs() -> None:
    assert add(var(2), var(3)).data == 5


def test_step_13_sum_of_squares() -> None:
    x, y = var(2.0), var(3.0)
    z = add(square(x), square(y))
    z.backward()
    assert (z.data, x.grad.data, y.grad.data) == (13.0, 4.0, 6.0)


def test_steps_11_to_13_several_outputs() -> None:
    class Polar(Function):
        def forward(self, r: Any, t: Any) -> Any:
            return r * np.cos(t), r * np.sin(t)

        def backward(self, gx: Variable, gy: Variable) -> Any:
            r, t = self.inputs
            return gx * np.cos(t) + gy * np.sin(t), r * (gy * np.cos(t) - gx * np.sin(t))

    r, t = var(2.0), var(0.5)
    x, y = Polar()(r, t)
    assert [ref() for ref in x.creator.outputs] == [x, y]
    (x * x + y * y).backward()
    assert r.grad.data == pytest.approx(4.0, rel=1e-15)
    assert t.grad.data == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("plus", [add, lambda a, b: a + b])
def test_step_14_the_same_variable_twice(plus: Callable[..., Any]) -> None:
    x = var(3.0)
    plus(x, x).backward()
    assert x.grad.data == 2.0
    x.cleargrad()
    assert x.grad is None
    plus(plus(x, x), x).backward()
    assert x.grad.data == 3.0


@pytest.mark.parametrize("power", [square, lambda x: x**2])
def test_steps_15_and_16_order_by_generation(power: Callable[..., Any]) -> None:
    x = var(2.0)
    a = power(x)
    y = power(a) + power(a)
    assert (x.generation, a.generation, y.generation) == (0, 1, 3)
    assert y.creator.generation == 2
    y.backward()
    assert (y.data, x.grad.data) == (32.0, 64.0)


@pytest.mark.parametrize("power", [square, lambda x: x**2])
def test_step_17_no_reference_cycles(power: Callable[..., Any]) -> None:
    def one_round() -> list[weakref.ref[Any]]:
        x = Variable(np.ones(10_000))
        y = power(power(power(x)))
        y.backward()
        return [weakref.ref(v) for v in (x, y, y.creator, y.creator.inputs[0])]

    one_round()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        left = [ref() for _ in range(10) for ref in one_round()]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert left == [None] * 40
    assert after - before < 20_000  # one array alone has 80,000 bytes


def test_step_18_inner_gradients_are_not_kept() -> None:
    x0, x1 = var(1.0), var(1.0)
    t = add(x0, x1)
    y = add(x0, t)
    y.backward()
    assert y.grad is None and t.grad is None
    assert (x0.grad.data, x1.grad.data) == (2.0, 1.0)

    x0, x1 = var(1.0), var(1.0)
    t = x0 + x1
    y = x0 + t
    y.backward(retain_grad=True)
    assert (y.grad.data, t.grad.data) == (1.0, 1.0)
    assert (x0.grad.data, x1.grad.data) == (2.0, 1.0)


def test_step_18_switching_backprop_off() -> None:
    for off in (lambda: using_config("enable_backprop", False), no_grad):
        with off():
            assert sg.config.enable_backprop is False
            for y in (square(var(2.0)), var(2.0) ** 2):
                assert y.data == 4.0 and y.creator is None and y.generation == 0
        assert sg.config.enable_backprop is True
        assert square(var(2.0)).creator is not None
        with contextlib.suppress(ZeroDivisionError), off():
            raise ZeroDivisionError
        assert sg.config.enable_backprop is True


def test_step_19_easier_to_use() -> None:
    x = Variable(np.array([[1, 2, 3], [4, 5, 6]]), "x")
    assert x.name == "x"
    assert (x.shape, x.ndim, x.size, x.dtype, len(x)) == ((2, 3), 2, 6, np.dtype("int64"), 2)
    assert repr(x) == "variable([[1 2 3]\n          [4 5 6]])"
    assert repr(Variable(None)) == "variable(None)"


# -- steps 20 to 28: operators, functions, optimisation ----------------------------------------------------------------


def test_steps_20_to_22_operators() -> None:
    a, b, c = var(3.0), var(2.0), var(1.0)
    y = a * b + c
    y.backward()
    assert (y.data, a.grad.data, b.grad.data) == (7.0, 2.0, 3.0)
    x = var(2.0)
    assert repr(x + np.array(3.0)) == "variable(5.0)"
    assert repr(x + 3.0) == "variable(5.0)"
    assert repr(3.0 * x + 1.0) == "variable(7.0)"
    assert repr(np.array([2.0]) + x) == "variable([4.])"
    assert repr(-x) == "variable(-2.0)"
    assert repr(2.0 - x) == "variable(0.0)"
    assert repr(x - 1.0) == "variable(1.0)"
    assert repr(3.0 / x) == "variable(1.5)"
    assert repr(x / 2) == "variable(1.0)"
    assert repr(x**3) == "variable(8.0)"
    assert repr(np.float64(3.0) - x) == "variable(1.0)"


@pytest.mark.parametrize("other", [3, 3.0, np.array(3.0), np.float64(3.0), np.array([3.0, 3.0])])
def test_steps_20_to_22_numbers_and_arrays_on_either_side(other: Any) -> None:
    x = var(2.0)
    n = np.size(other)
    cases = [
        (x + other, 5.0, 1.0),
        (other + x, 5.0, 1.0),
        (x - other, -1.0, 1.0),
        (other - x, 1.0, -1.0),
        (x * other, 6.0, 3.0),
        (other * x, 6.0, 3.0),
        (x / other, 2 / 3, 1 / 3),
        (other / x, 1.5, -0.75),
    ]
    for y, value, slope in cases:
        assert type(y) is Variable
        assert y.shape == np.shape(other)
        assert np.all(y.data == value)
        x.cleargrad()
        y.backward()
        assert x.grad.shape == ()
        assert x.grad.data == pytest.approx(n * slope, rel=1e-15)


def test_step_23_the_package() -> None:
    x = var(1.0)
    y = (x + 3) ** 2
    y.backward()
    assert repr(y) == "variable(16.0)"
    assert repr(x.grad) == "variable(8.0)"


def test_step_24_functions_of_two_variables() -> None:
    assert gradients(lambda x, y: x**2 + y**2, 1.0, 1.0)[1] == [2.0, 2.0]
    matyas = gradients(lambda x, y: 0.26 * (x**2 + y**2) - 0.48 * x * y, 1.0, 1.0)
    assert matyas[1] == [0.040000000000000036, 0.040000000000000036]
    assert gradients(goldstein_price, 1.0, 1.0) == (1876.0, [-5376.0, 8064.0])
    assert gradients(goldstein_price, 0.0, -1.0) == (3.0, [0.0, 0.0])


def test_step_27_the_sine() -> None:
    value, (slope,) = gradients(np.sin, np.pi / 4)
    for found in (value, slope):
        assert abs(found - 0.7071067811865476) <= np.spacing(0.7071067811865476)


def test_step_27_the_sine_by_its_series() -> None:
    x = var(np.pi / 4)
    y, terms = my_sin(x, 1e-4)
    y.backward()
    assert (y.data, x.grad.data, terms) == (0.7071064695751781, 0.7071032148228457, 4)
    y, terms = my_sin(x, 1e-150)
    assert terms == 47
    assert abs(y.data - 0.7071067811865476) <= 2 * np.spacing(0.7071067811865476)


def test_step_28_gradient_descent() -> None:
    assert gradients(rosenbrock, 0.0, 2.0) == (401.0, [-2.0, 400.0])
    x0, x1 = var(0.0), var(2.0)
    wanted = {
        1: (0.002, 1.6),
        2: (0.0052759968, 1.2800008),
        1_000: (0.6837118569138317, 0.4659526837427042),
        50_000: (0.9999999993724021, 0.999999998742293),
    }
    for step in range(1, 50_001):
        x0.cleargrad()
        x1.cleargrad()
        rosenbrock(x0, x1).backward()
        x0.data -= 0.001 * x0.grad.data
        x1.data -= 0.001 * x1.grad.data
        if step in wanted:
            assert (x0.data, x1.data) == wanted[step]


# -- steps 29 to 36: higher derivatives --------------------------------------------------------------------------------

NEWTON = [
    2,
    1.4545454545454546,
    1.1510467893775467,
    1.0253259289766978,
    1.0009084519430513,
    1.0000012353089454,
    1.000000000002289,
    1,
]


def quartic(x: Any) -> Any:
    return x**4 - 2 * x**2


def test_step_29_newton_by_hand() -> None:
    x = var(2.0)
    found = []
    for _ in range(8):
        found.append(float(x.data))
        x.cleargrad()
        quartic(x).backward()
        x.data = x.data - x.grad.data / (12 * x.data**2 - 4)
    assert found == NEWTON


def test_step_33_newton_by_differentiating_twice() -> None:
    x = var(2.0)
    found = []
    for _ in range(8):
        found.append(float(x.data))
        x.cleargrad()
        quartic(x).backward(create_graph=True)
        first: Any = x.grad
        x.cleargrad()
        first.backward()
        x.data = x.data - first.data / x.grad.data
    assert found == NEWTON


@pytest.mark.parametrize("power", [square, lambda x: x**2])
def test_steps_30_to_32_gradients_are_variables(power: Callable[..., Any]) -> None:
    x = var(3.0)
    power(x).backward()
    assert type(x.grad) is Variable and x.grad.creator is None
    x.cleargrad()
    power(x).backward(create_graph=True)
    assert type(x.grad) is Variable and x.grad.creator is not None
    first = x.grad
    x.cleargrad()
    first.backward()
    assert x.grad.data == 2.0


def orders(f: Callable[..., Any], at: float, count: int) -> list[float]:
    x = var(at)
    f(x).backward(create_graph=True)
    found = []
    for _ in range(count):
        g: Any = x.grad
        found.append(float(g.data))
        x.cleargrad()
        g.backward(create_graph=True)
    return found


def test_step_34_derivatives_of_the_sine() -> None:
    assert orders(np.sin, 1.0, 4) == [0.5403023058681398, -0.8414709848078965, -0.5403023058681398, 0.8414709848078965]


def test_step_35_derivatives_of_tanh() -> None:
    wanted = [
        0.41997434161402614,
        -0.6397000084492246,
        0.6216266807712962,
        0.6650910447505024,
        -5.556893558473722,
        13.624075441312101,
        12.288367894320414,
        -277.062135603,
    ]
    assert orders(np.tanh, 1.0, 8) == pytest.approx(wanted, rel=1e-12)


def test_step_36_double_backprop() -> None:
    x = var(2.0)
    y = x**2
    y.backward(create_graph=True)
    gx: Any = x.grad
    x.cleargrad()
    z = gx**3 + y
    z.backward()
    assert z.data == 68.0
    assert x.grad.data == 100.0


# -- the column: define-and-run and define-by-run ----------------------------------------------------------------------


def test_column_a_loop_that_looks_at_data() -> None:
    x = var(3.0)
    y: Any = 0
    rounds = 0
    while True:
        y = y + x
        rounds += 1
        if y.data > 100:
            break
    y.backward()
    assert (y.data, rounds, x.grad.data) == (102, 34, 34)


def test_column_the_same_formula_in_both_modes() -> None:
    a, b = Variable(np.ones(10)), Variable(np.ones(10) * 2)
    d = b * a + 1
    assert repr(d) == "variable([3. 3. 3. 3. 3. 3. 3. 3. 3. 3.])"
    compiled = sg.compile(sg.placeholder("b") * sg.placeholder("a") + sg.constant(1))
    assert compiled(a=np.ones(10), b=np.ones(10) * 2).tobytes() == d.data.tobytes()


def test_plain_numbers_become_variables_of_the_graph() -> None:
    x = var(2.0)
    y = x * 3
    left, right = y.creator.inputs
    assert left is x
    assert type(right) is Variable and right.data == 3
    assert y.creator.inputs[1] is right
    assert as_variable(x) is x
    assert as_variable(np.array(1.0)).data == 1.0

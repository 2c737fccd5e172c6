"""Gradient descent on the Rosenbrock function, in both modes: the same formula, the same path."""

import numpy as np

import symgraph as sg

RATE, STEPS = 0.001, 1000


def rosenbrock(x0, x1):
    return 100 * (x1 - x0**2) ** 2 + (x0 - 1) ** 2


def define_and_run():
    f = sg.compile(rosenbrock(sg.placeholder("x0"), sg.placeholder("x1")))
    x0, x1 = 0.0, 2.0
    for _ in range(STEPS):
        slope = f.grad(x0=x0, x1=x1)
        x0 -= RATE * slope["x0"]
        x1 -= RATE * slope["x1"]
    return x0, x1


def define_by_run():
    x0, x1 = sg.Variable(np.array(0.0)), sg.Variable(np.array(2.0))
    for _ in range(STEPS):
        y = rosenbrock(x0, x1)
        x0.cleargrad()
        x1.cleargrad()
        y.backward()
        x0.data = np.asarray(x0.data - RATE * x0.grad.data)
        x1.data = np.asarray(x1.data - RATE * x1.grad.data)
    return x0.data, x1.data


if __name__ == "__main__":
    for mode in (define_and_run, define_by_run):
        x0, x1 = mode()
        print(f"{mode.__name__:15} x0 = {x0:.9f}, x1 = {x1:.9f} after {STEPS} steps")

"""A network of one hidden layer learns a noisy sine, in both modes, with the points and first weights of the book.

Source: Saitoh, "Deep Learning from Scratch 3" (O'Reilly Japan, 2020), step 43.
"""

import numpy as np

import symgraph as sg

RATE, STEPS = 0.2, 10_000


def data():
    """Points, and the first weights, from one stream of random numbers."""
    np.random.seed(0)
    x = np.random.rand(100, 1)
    y = np.sin(2 * np.pi * x) + np.random.rand(100, 1)
    hidden = sg.nn.Linear(0.01 * np.random.randn(1, 10), np.zeros(10))
    return x, y, {"hidden": hidden, "out": sg.nn.Linear(0.01 * np.random.randn(10, 1), np.zeros(1))}


def mean_squared_error(net, x, y):
    return sg.sum((net["out"](sg.sigmoid(net["hidden"](x))) - y) ** 2) / len(x)


def define_and_run(steps=STEPS, every=1000):
    """The losses of the first step and of every so many after it."""
    x, y, net = data()
    net = sg.tree.parameters("net", net)
    loss = mean_squared_error(net, x, y)
    step = sg.compile(loss, updates=sg.optim.updates(sg.optim.SGD(RATE), net, sg.grad(loss, net)))
    return [float(step()), *(float(step(steps=every)) for _ in range(steps // every - 1))]


def define_by_run(steps=STEPS, every=1000):
    x, y, net = data()
    net, seen = sg.tree.map(sg.Variable, net), []
    weights, _ = sg.tree.flatten(net)
    for k in range(steps - every + 1):
        loss = mean_squared_error(net, x, y)
        for p in weights:
            p.cleargrad()
        loss.backward()
        for p in weights:
            p.data = p.data - RATE * p.grad.data
        if k % every == 0:
            seen.append(float(loss.data))
    return seen


if __name__ == "__main__":
    for mode, steps in ((define_and_run, STEPS), (define_by_run, 2000)):
        for k, loss in enumerate(mode(steps)):
            print(f"{mode.__name__:15} {1000 * k:5} {loss!r}")

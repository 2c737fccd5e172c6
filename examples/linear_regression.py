"""A line through points, by gradient descent in both modes, with the points and figures of the book.

Source: Saitoh, "Deep Learning from Scratch 3" (O'Reilly Japan, 2020), step 42.
"""

import numpy as np

import symgraph as sg

RATE, STEPS = 0.1, 100


def data():
    np.random.seed(0)
    x = np.random.rand(100, 1)
    return x, 5 + 2 * x + np.random.rand(100, 1)


def mean_squared_error(line, x, y):
    return sg.sum((x @ line["W"] + line["b"] - y) ** 2) / len(x)


def start():
    return {"W": np.zeros((1, 1)), "b": np.zeros(1)}


def define_and_run(steps=STEPS):
    """The line, and the loss of the last step; all steps are one call of one kernel."""
    x, y = data()
    line = sg.tree.parameters("line", start())
    loss = mean_squared_error(line, x, y)
    step = sg.compile(loss, updates=sg.optim.updates(sg.optim.SGD(RATE), line, sg.grad(loss, line)))
    return step(steps=steps), sg.tree.values(line)


def define_by_run(steps=STEPS):
    x, y = data()
    line = sg.tree.map(sg.Variable, start())
    for _ in range(steps):
        loss = mean_squared_error(line, x, y)
        sg.tree.map(lambda p: p.cleargrad(), line)
        loss.backward()
        for p in line.values():
            p.data = p.data - RATE * p.grad.data
    return loss.data, sg.tree.map(lambda p: p.data, line)


if __name__ == "__main__":
    for mode in (define_and_run, define_by_run):
        loss, line = mode()
        print(f"{mode.__name__:15} W {line['W'].item():.8f}, b {line['b'].item():.8f}, loss {float(loss)!r}")

"""Pictures of one network, of an unrolled loop, and of a neuron, in every form, as DOT."""

import math

import numpy as np

import symgraph as sg

x = sg.placeholder("x", shape=("n", 8), dtype="float64")
with sg.scope("hidden"):
    w1, b1 = sg.placeholder("w1", shape=(8, 16), dtype="float64"), sg.placeholder("b1", shape=(16,), dtype="float64")
    h = np.tanh(x @ w1 + b1)
with sg.scope("output"):
    w2 = sg.placeholder("w2", shape=(16, 4), dtype="float64")
    y = h @ w2
with sg.scope("loss"):
    loss = np.mean(y**2)
f = sg.compile(loss, wrt=[w1, b1, w2])


def sine(x, terms=47):
    """The Taylor series of the sine, as a Python loop unrolls it."""
    y = 0
    for i in range(terms):
        y = y + (-1) ** i / math.factorial(2 * i + 1) * x ** (2 * i + 1)
    return y


def neuron():
    """The torchviz example: tanh(x Wᵀ + b), recorded while it is computed."""
    w, b = sg.Variable(np.array([[0.6, -0.2]])), sg.Variable(np.array([0.8]))
    y = np.tanh(sg.Variable(np.array([[1.0, 2.0]]), "x") @ w.T + b)
    y.name = "y"
    return sg.make_dot(y, params={"w": w, "b": b}, show_saved=True)


def texts():
    """Every picture as DOT text, by name."""
    f.value_and_grad(x=np.ones((1000, 8)), w1=np.ones((8, 16)), b1=np.ones(16), w2=np.ones((16, 4)))
    s = sg.placeholder("x", shape=(), dtype="float64")
    return {
        "formula": f.to_dot(preset="symgraph", frame="scope"),
        "dezero": sg.get_dot_graph(s * s + 1, verbose=True),
        "torchviz": neuron(),
        "kernels": f.to_dot("joint", preset="symgraph", heat="cost"),
        "kernels-collapsed": f.to_dot("joint", preset="symgraph", collapse="kernel", heat="cost", rankdir="LR"),
        "scopes": f.to_dot("joint", preset="symgraph", collapse="scope", rankdir="LR"),
        "sine": sg.get_dot_graph(sine(s), preset="symgraph", collapse="repeat", rankdir="LR"),
    }


if __name__ == "__main__":
    for name, text in texts().items():
        print(f"{name}: {len(text.splitlines())} lines of DOT")

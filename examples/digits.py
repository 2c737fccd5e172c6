"""Handwritten digits told apart by a small convolutional network, in both modes.

``python examples/digits.py [FILE]`` trains; given a file, it goes on where it stopped when it is killed.
"""

import sys

import numpy as np

import symgraph as sg
from symgraph.demo import load_digits

SIZE, EPOCHS = 32, 40
KEY = sg.random.key(0)


def start():
    one, two, three = sg.random.split(sg.random.fold_in(KEY, 1), 3)
    return {
        "first": sg.nn.Conv2d.init(one, 1, 16, 3, padding="same", dtype="float32"),
        "second": sg.nn.Conv2d.init(two, 16, 32, 3, padding="same", dtype="float32"),
        "out": sg.nn.Linear.init(three, 128, 10, dtype="float32"),
    }


def scores(net, x):
    for name in ("first", "second"):
        x = sg.nn.max_pool(sg.nn.relu(net[name](x)), 2)
    return net["out"](x.reshape(-1, 128))


def images(rows):
    return rows.reshape(-1, 1, 8, 8).astype("float32")


def batches():
    data = load_digits()
    return sg.Batches({"x": images(data.images), "t": data.labels}, SIZE, KEY)


def rule(epochs):
    steps = epochs * len(batches())
    return sg.optim.Adam(sg.optim.cosine_decay(3e-3, steps))


def define_and_run(epochs=EPOCHS, checkpoint=None):
    """The mean loss of each epoch, and the network."""
    net = sg.tree.parameters("net", start())
    x = sg.placeholder("x", shape=(SIZE, 1, 8, 8), dtype="float32")
    t = sg.placeholder("t", shape=(SIZE,), dtype="int64")
    loss = sg.nn.cross_entropy(scores(net, x), t)
    step = sg.compile(loss, updates=sg.optim.updates(rule(epochs), net, sg.grad(loss, net)))
    return sg.fit(step, batches(), epochs, checkpoint=checkpoint).loss, sg.tree.values(net)


def define_by_run(epochs=EPOCHS):
    net = start()
    opt = rule(epochs)
    memory = opt.init(net)

    def step(x, t):
        nonlocal net, memory
        weights = sg.tree.map(sg.Variable, net)
        loss = sg.nn.cross_entropy(scores(weights, x), t)
        loss.backward()
        net, memory = opt.update(net, sg.tree.map(lambda p: p.grad.data, weights), memory)
        return loss.data

    return sg.fit(step, batches(), epochs).loss, net


def accuracy(net):
    """The share of the digits held back that are told right."""
    data = load_digits()
    return float(np.mean(np.argmax(scores(net, images(data.test_images)), axis=1) == data.test_labels))


if __name__ == "__main__":
    losses, net = define_and_run(checkpoint=sys.argv[1] if len(sys.argv) > 1 else None)
    print(f"define_and_run  {EPOCHS} epochs, loss {losses[-1]:.5f}, {accuracy(net):.2%} of the digits held back")
    losses, net = define_by_run(epochs=1)
    print(f"define_by_run   1 epoch, loss {losses[-1]:.5f}, {accuracy(net):.2%} of the digits held back")

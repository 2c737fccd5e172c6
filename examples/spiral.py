"""Three arms of a spiral told apart by a small network, in both modes; the points are those of the book.

Source: Saitoh, "Deep Learning from Scratch 3" (O'Reilly Japan, 2020), step 48.
"""

import numpy as np

import symgraph as sg

ARMS, POINTS, SIZE, EPOCHS = 3, 100, 30, 300
KEY = sg.random.key(0)


def data(seed=1984):
    """Points (300, 2) and the arms that they lie on, shuffled."""
    np.random.seed(seed)
    radius = np.tile(np.arange(POINTS) / POINTS, ARMS)
    arm = np.repeat(np.arange(ARMS), POINTS)
    angle = 4.0 * arm + 4.0 * radius + 0.2 * np.random.randn(ARMS * POINTS)
    order = np.random.permutation(ARMS * POINTS)
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)[order], arm[order]


def start():
    one, two = sg.random.split(sg.random.fold_in(KEY, 1))
    lecun = sg.nn.lecun()
    return {
        "hidden": sg.nn.Linear.init(one, 2, 10, weights=lecun),
        "out": sg.nn.Linear.init(two, 10, ARMS, weights=lecun),
    }


def scores(net, x):
    return net["out"](sg.sigmoid(net["hidden"](x)))


def accuracy(net, x, t):
    return float(np.mean(np.argmax(scores(net, x), axis=1) == t))


def batches():
    x, t = data()
    return sg.Batches({"x": x, "t": t}, SIZE, KEY)


def define_and_run(epochs=EPOCHS):
    """The mean loss of each epoch, and the network."""
    net = sg.tree.parameters("net", start())
    x = sg.placeholder("x", shape=(SIZE, 2), dtype="float64")
    t = sg.placeholder("t", shape=(SIZE,), dtype="int64")
    loss = sg.nn.cross_entropy(scores(net, x), t)
    step = sg.compile(loss, updates=sg.optim.updates(sg.optim.SGD(1.0), net, sg.grad(loss, net)))
    return sg.fit(step, batches(), epochs).loss, sg.tree.values(net)


def define_by_run(epochs=EPOCHS):
    net = sg.tree.map(sg.Variable, start())
    weights, _ = sg.tree.flatten(net)

    def step(x, t):
        loss = sg.nn.cross_entropy(scores(net, x), t)
        for p in weights:
            p.cleargrad()
        loss.backward()
        for p in weights:
            p.data = p.data - p.grad.data
        return loss.data

    return sg.fit(step, batches(), epochs).loss, sg.tree.map(lambda p: p.data, net)


if __name__ == "__main__":
    for mode in (define_and_run, define_by_run):
        losses, net = mode()
        shares = [
            f"{accuracy(net, *data(seed)):.1%} of {what}" for seed, what in ((1984, "these"), (2020, "new points"))
        ]
        print(f"{mode.__name__:15} loss {losses[0]:.3f} at first, {losses[-1]:.6f} at last; right: {', '.join(shares)}")

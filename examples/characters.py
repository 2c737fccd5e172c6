"""A recurrent network learns a sonnet by heart, character by character, in both modes.

The text is Shakespeare's eighteenth sonnet (1609).
"""

import numpy as np

import symgraph as sg

TEXT = """\
Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date:
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimm'd;
And every fair from fair sometime declines,
By chance or nature's changing course untrimm'd;
But thy eternal summer shall not fade,
Nor lose possession of that fair thou ow'st;
Nor shall Death brag thou wander'st in his shade,
When in eternal lines to time thou grow'st:
So long as men can breathe or eyes can see,
So long lives this, and this gives life to thee.
"""
LETTERS = sorted(set(TEXT))
CODES = np.array([LETTERS.index(letter) for letter in TEXT])
LENGTH, UNITS, STEPS = 32, 64, 600


def data():
    """Parts of the text, side by side, (time, batch), and what follows each character."""
    count = (len(CODES) - 1) // LENGTH
    parts = [CODES[shift : shift + count * LENGTH].reshape(count, LENGTH).T for shift in (0, 1)]
    return {"x": parts[0], "t": parts[1]}


def start():
    one, two, three = sg.random.split(sg.random.key(0), 3)
    return {
        "letters": sg.nn.Embedding.init(one, len(LETTERS), 16, dtype="float32"),
        "memory": sg.nn.LSTM.init(two, 16, UNITS, dtype="float32"),
        "out": sg.nn.Linear.init(three, UNITS, len(LETTERS), dtype="float32"),
    }


def scores(net, x, state=None):
    """How likely each letter is to follow, (time, batch, letters), and the state after the last."""
    outputs, state = net["memory"](net["letters"](x), state)
    return net["out"](outputs), state


def loss_of(net, x, t):
    return sg.nn.cross_entropy(scores(net, x)[0].reshape(-1, len(LETTERS)), t.reshape(-1))


def rule():
    return sg.optim.Adam(1e-2)


def define_and_run(steps=STEPS):
    """The losses of all steps, and the network."""
    net = sg.tree.parameters("net", start())
    x, t = (sg.placeholder(name, shape=(LENGTH, "parts"), dtype="int64") for name in "xt")
    loss = loss_of(net, x, t)
    step = sg.compile(loss, updates=sg.optim.updates(rule(), net, sg.grad(loss, net)))
    return sg.fit(step, [data()], steps).loss, sg.tree.values(net)


def define_by_run(steps=STEPS):
    net = start()
    opt = rule()
    memory = opt.init(net)

    def step(x, t):
        nonlocal net, memory
        weights = sg.tree.map(sg.Variable, net)
        loss = loss_of(weights, x, t)
        loss.backward()
        net, memory = opt.update(net, sg.tree.map(lambda p: p.grad.data, weights), memory)
        return loss.data

    return sg.fit(step, [data()], steps).loss, net


def told(net, begin, length):
    """What the network says after a beginning, the likeliest letter each time."""
    found, state = scores(net, np.array([[LETTERS.index(letter)] for letter in begin]))
    text = begin
    for _ in range(length):
        code = int(np.argmax(found[-1, 0]))
        text += LETTERS[code]
        found, state = scores(net, np.array([[code]]), state)
    return text


if __name__ == "__main__":
    losses, net = define_and_run()
    print(f"define_and_run  loss {losses[0]:.3f} at first, {losses[-1]:.5f} after {STEPS} steps")
    print(told(net, "Shall I", LENGTH - 7))
    losses, _ = define_by_run(steps=20)
    print(f"define_by_run   loss {losses[0]:.3f} at first, {losses[-1]:.5f} after 20 steps")

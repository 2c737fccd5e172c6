"""Training loops: what they count, when they end, and that a killed one loses and repeats nothing."""

from __future__ import annotations

import multiprocessing
import random as chance
import sys
import time
import types
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.errors import ArgumentError, FileError, ShapeError

X = np.random.default_rng(0).normal(size=(24, 3))
Y = X @ np.array([1.0, -2.0, 0.5]) + 3


def model() -> tuple[Any, Any]:
    """A regression with noise of each batch's own key, by Adam."""
    net = sg.tree.parameters("net", {"w": np.zeros(3), "b": 0.0})
    x = sg.placeholder("x", shape=("n", 3), dtype="float64")
    y = sg.placeholder("y", shape=("n",), dtype="float64")
    noise = sg.random.normal(sg.placeholder("key", shape=(), dtype="uint64"), like=y)
    loss = sg.mean((x @ net["w"] + net["b"] - y - 0.01 * noise) ** 2)
    return net, sg.compile(loss, updates=sg.optim.updates(sg.optim.Adam(0.05), net, sg.grad(loss, net)))


def batches() -> sg.Batches:
    return sg.Batches({"x": X, "y": Y}, 4, sg.random.key(5), draws="key")


def bits(step: Any) -> dict[str, bytes]:
    return {p.name: np.asarray(p.value).tobytes() for p in step.parameters}


def test_batches_shuffle_every_epoch_and_give_each_row_once() -> None:
    parts = sg.Batches({"x": np.arange(10), "y": 2 * np.arange(10)}, 3, sg.random.key(1))
    orders = [[int(v) for batch in parts(epoch) for v in batch["x"]] for epoch in (0, 1, 0)]
    assert orders[0] == orders[2] != orders[1]
    assert all(len(set(order)) == 9 for order in orders) and len(parts) == 3
    assert all(np.array_equal(batch["y"], 2 * batch["x"]) for batch in parts(4))
    late = list(parts(0, 2))
    assert len(late) == 1 and late[0]["x"].tolist() == orders[0][6:]
    assert [b["x"].tolist() for b in sg.Batches({"x": np.arange(4)}, 2)(7)] == [[0, 1], [2, 3]]
    keys = [int(b["key"]) for epoch in (0, 1) for b in batches()(epoch)]
    assert len(set(keys)) == len(keys) == 12


def test_batches_of_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"first axes differ: \{'x': 3, 'y': 4}"):
        sg.Batches({"x": np.ones(3), "y": np.ones(4)}, 1)
    with pytest.raises(ShapeError, match="3 rows do not make a batch of 4"):
        sg.Batches({"x": np.ones(3)}, 4)
    with pytest.raises(ArgumentError, match="give arrays by name"):
        sg.Batches({}, 4)
    with pytest.raises(ArgumentError, match="draws= needs key="):
        sg.Batches({"x": np.ones(3)}, 1, draws="key")


def test_a_run_is_the_loop_that_one_would_write() -> None:
    (_, step), (_, plain) = model(), model()
    history = sg.fit(step, batches(), epochs=3)
    losses = [[float(plain(**batch)) for batch in batches()(epoch)] for epoch in range(3)]
    assert history.loss == [sum(of_epoch) / 6 for of_epoch in losses]
    assert history.steps == 18 and bits(step) == bits(plain)


@pytest.mark.parametrize("make", [lambda x: {"x": x}, lambda x: (x,), lambda x: x])
def test_batches_may_be_anything(make: Any) -> None:
    seen: list[float] = []

    def step(x: float) -> dict[str, float]:
        seen.append(x)
        return {"loss": 2 * x, "other": 0.0}

    listed = sg.fit(step, [make(1.0), make(3.0)], epochs=2)
    assert seen == [1, 3, 1, 3] and listed.loss == [4, 4]
    assert sg.fit(step, lambda epoch: (make(float(k)) for k in range(epoch + 1)), epochs=3).loss == [0, 1, 2]
    with pytest.raises(ArgumentError, match="no batches in epoch 1"):
        sg.fit(step, iter([make(1.0)]), epochs=2)  # type: ignore[arg-type]


def test_a_run_ends_when_nothing_gets_better() -> None:
    scores = iter([5.0, 3.0, 4.0, 3.0, 1.0, 1.0, 1.0, 1.0])
    history = sg.fit(lambda x: x, [1.0], epochs=8, evaluate=lambda: next(scores), patience=2)
    assert history.score == [5, 3, 4, 3] and history.loss == [1] * 4
    assert sg.fit(lambda x: x, [1.0], epochs=8, patience=3).steps == 4
    assert sg.fit(lambda x: float("nan"), [1.0], epochs=8, patience=1).steps == 2
    late = iter([float("nan"), 3.0, float("nan"), 2.0, 4.0, 4.0])
    assert sg.fit(lambda x: next(late), [1.0], epochs=6, patience=2).steps == 6
    with pytest.raises(ArgumentError, match="patience is at least 1"):
        sg.fit(lambda x: x, [1.0], patience=0)


# -- checkpoints -------------------------------------------------------------------------------------------------------


class Power(Exception):  # noqa: N818  (it is cut)
    pass


def interrupted(step: Any, after: int) -> Any:
    left = iter(range(after))

    def some(**batch: Any) -> Any:
        if next(left, None) is None:
            raise Power
        return step(**batch)

    return some


@pytest.mark.parametrize("every", [None, 1, 4])
def test_a_run_goes_on_from_its_checkpoint(every: int | None, tmp_path: Path) -> None:
    _, whole = model()
    wanted = sg.fit(whole, batches(), epochs=4, evaluate=lambda: 1.0)
    file = tmp_path / "run.npz"
    found: Any = None
    for after in (3, 10, 8, 30):
        _, step = model()  # as in a new process
        options = {"checkpoint": file, "every": every, "evaluate": lambda: 1.0}
        held = {p.name: p for p in step.parameters}
        try:
            found = sg.fit(interrupted(step, after), batches(), 4, parameters=held, **options)
        except Power:
            continue
        assert found == wanted and bits(step) == bits(whole)
    assert found is not None
    steps: list[Any] = []
    again = sg.fit(lambda **batch: steps.append(batch) or 0.0, batches(), 4, parameters=held, **options)
    assert again == wanted and not steps
    assert sg.fit(step, batches(), 5, **options).steps == 30


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    _, step = model()
    drafts = [tmp_path / name for name in (".run.npz.12.34.tmp", ".other.npz.12.34.tmp")]
    for draft in drafts:
        draft.write_bytes(b"half")
    sg.fit(step, batches(), checkpoint=tmp_path / "run.npz")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.npz.12.34.tmp", "run.npz"]


def test_what_is_no_checkpoint_of_this_run_is_refused(tmp_path: Path) -> None:
    net, step = model()
    file = tmp_path / "run.npz"
    sg.save_parameters(file, {p.name: p for p in step.parameters})
    with pytest.raises(FileError, match=r"no checkpoint of sg\.fit"):
        sg.fit(step, batches(), checkpoint=file)
    file.unlink()
    sg.fit(step, batches(), checkpoint=file)
    before = bits(step)
    other = sg.tree.parameters("net", {"w": np.zeros(4), "b": 0.0})
    with pytest.raises(ShapeError, match="'net_w' has shape"):
        sg.fit(step, batches(), checkpoint=file, parameters={"net_b": net["b"], "net_w": other["w"]})
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)
    with pytest.raises(FileError):
        sg.fit(step, batches(), checkpoint=file)
    assert bits(step) == before
    with pytest.raises(ArgumentError, match="give parameters="):
        sg.fit(lambda **batch: 0.0, batches(), checkpoint=file)


def train(file: Path, said: Connection) -> None:
    """What a process does that is going to be killed; it says a word after each step."""
    _, step = model()

    def heard(**batch: Any) -> Any:
        value = step(**batch)
        said.send_bytes(b"step")
        return value

    sg.fit(heard, batches(), 60, checkpoint=file, every=1, parameters={p.name: p for p in step.parameters})


def test_a_run_killed_twenty_times_ends_with_the_bits_of_an_undisturbed_one(tmp_path: Path) -> None:
    _, whole = model()
    wanted = sg.fit(whole, batches(), 60)
    file, dice = tmp_path / "run.npz", chance.Random(3)
    way = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    ways = multiprocessing.get_context(way)
    ways.set_forkserver_preload(["pytest", "compiler.function"])  # so that a process starts in no time
    for _ in range(20):
        hear, said = ways.Pipe(duplex=False)
        process = ways.Process(target=train, args=(file, said))
        process.start()
        said.close()
        for _ in range(dice.randrange(1, 15)):
            hear.recv_bytes()
        time.sleep(dice.random() * 5e-3)  # anywhere in a step, or in the writing of the file
        process.kill()
        process.join()
        hear.close()
        assert process.exitcode
    _, step = model()
    assert sg.fit(step, batches(), 60, checkpoint=file) == wanted
    assert bits(step) == bits(whole)
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]


# -- the bar -----------------------------------------------------------------------------------------------------------


class Bar:
    made: list[Bar]

    def __init__(self, **settings: Any) -> None:
        self.settings, self.moved, self.closed = settings, 0, False
        self.made.append(self)

    def update(self) -> None:
        self.moved += 1

    def set_postfix(self, loss: str, refresh: bool) -> None:
        self.loss = loss

    def close(self) -> None:
        self.closed = True


def test_a_bar_shows_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    Bar.made = []
    monkeypatch.setitem(sys.modules, "tqdm", types.SimpleNamespace(tqdm=Bar))
    sg.fit(lambda x: x, [1.0, 2.0], epochs=3)
    (bar,) = Bar.made
    assert bar.settings["total"] == bar.moved == 6 and bar.loss == "2" and bar.closed
    sg.fit(lambda x: x, [1.0], progress=False)
    assert len(Bar.made) == 1
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert sg.fit(lambda x: x, [1.0]).steps == 1

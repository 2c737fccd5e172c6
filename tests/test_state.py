"""Parameters, updates and steps inside the kernel; files of parameters."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph as sg


def descent(fma: bool = True) -> tuple[sg.Parameter, sg.Parameter, Any]:
    x, y = sg.parameter("x", 0.0), sg.parameter("y", 2.0)
    loss = 100 * (y - x**2) ** 2 + (x - 1) ** 2
    gx, gy = sg.grad(loss, [x, y])
    return x, y, sg.compile(loss, updates={x: x - 0.001 * gx, y: y - 0.001 * gy}, fma=fma)


ROSENBROCK = {
    1: (0.002, 1.6),
    2: (0.0052759968, 1.2800008),
    1_000: (0.6837118569138317, 0.4659526837427042),
    50_000: (0.9999999993724021, 0.999999998742293),
}


@pytest.mark.parametrize("updates", ROSENBROCK)
def test_gradient_descent_inside_the_kernel(updates: int) -> None:
    x, y, step = descent()
    step(steps=updates)
    np.testing.assert_allclose((x.value, y.value), ROSENBROCK[updates], rtol=2e-12)


def test_steps_are_calls() -> None:
    x, y, step = descent(fma=False)
    values = [step() for _ in range(20)]
    one_by_one = x.value, y.value
    x.value, y.value = 0.0, 2.0
    assert step(steps=20) == values[-1]
    assert (x.value, y.value) == one_by_one
    assert values[0] == 401.0


def test_newton() -> None:
    x = sg.parameter("x", 2.0)
    (slope,) = sg.grad(x**4 - 2 * x**2, [x])
    (curvature,) = sg.grad(slope, [x])
    step = sg.compile(slope, updates={x: x - slope / curvature})
    found = [float(x.value)]
    for _ in range(7):
        step()
        found.append(float(x.value))
    wanted = [2, 1.4545454545454546, 1.1510467893775467, 1.0253259289766978, 1.0009084519430513]
    np.testing.assert_allclose(found[:5], wanted, rtol=1e-14)
    assert found[-1] == 1


def test_outputs_come_from_the_values_before() -> None:
    w, x = sg.parameter("w", [1.0, 2.0]), sg.placeholder("x", shape=(2,), dtype="float64")
    step = sg.compile({"w": w * 1, "dot": sg.sum(w * x)}, updates={w: w + x})
    first = step(x=[10.0, 20.0])
    assert first["w"].tolist() == [1, 2] and first["dot"] == 50
    assert w.value.tolist() == [11, 22]
    assert first["w"].tolist() == [1, 2], "results belong to the caller"


def test_an_error_leaves_everything_as_it_was() -> None:
    w, v = sg.parameter("w", 1.0), sg.parameter("v", [1.0, 2.0])
    k = sg.placeholder("k", shape=(), dtype="int64")
    step = sg.compile(w, updates={w: w + v[k], v: v * 2})
    step(k=1)
    before = w.value, v.value
    for call in (lambda: step(k=5), lambda: step(k=5, steps=3), lambda: step(), lambda: step(k="one")):
        with pytest.raises((IndexError, sg.SymgraphError)):
            call()
        assert w.value == before[0] and v.value is before[1]


def test_several_steps_stop_at_the_first_error() -> None:
    n = sg.parameter("n", 0)
    v = sg.placeholder("v", shape=("m",), dtype="float64")
    step = sg.compile(v[n], updates={n: n + 1})
    with pytest.raises(IndexError):
        step(v=np.ones(3), steps=10)
    assert n.value == 0
    assert step(v=np.arange(3.0), steps=3) == 2
    assert n.value == 3


def test_gradients_by_name_without_updates() -> None:
    w, x = sg.parameter("w", 3.0), sg.placeholder("x")
    f = sg.compile(w * x)
    assert f.value_and_grad(x=2.0) == (6.0, {"x": 3.0, "w": 2.0})
    assert sg.compile(w * x, wrt=[w]).grad(x=2.0) == {"w": 2.0}
    w.value = 4.0
    assert f(x=2.0) == 8.0


def test_shared_by_two_functions() -> None:
    w = sg.parameter("w", 1.0)
    double, show = sg.compile(w, updates={w: w * 2}), sg.compile(w + 0)
    assert [double(), show(), double(), show()] == [1, 2, 2, 4]


def test_threads_lose_no_update() -> None:
    n = sg.parameter("n", 0)
    step = sg.compile(n, updates={n: n + 1})
    threads = [threading.Thread(target=lambda: [step() for _ in range(200)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert n.value == 1600


def test_dtypes_are_kept() -> None:
    w = sg.parameter("w", np.float32(1.5))
    sg.compile(w, updates={w: w * 2 + 1})()
    assert w.value.dtype == np.float32 and w.value == 4
    n = sg.parameter("n", 1)
    with pytest.raises(sg.ArgumentError, match="update of 'n'"):
        sg.compile(n, updates={n: np.ones(2) * n})


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda w: sg.compile(w, updates={sg.placeholder("x"): w}),
            sg.ArgumentError,
            "updates are given for parameters",
        ),
        (lambda w: sg.compile(w + sg.parameter("w", 2.0)), sg.ArgumentError, "two parameters are named 'w'"),
        (lambda w: sg.compile(w * sg.placeholder("w")), sg.ArgumentError, "'w' is the name of a parameter"),
        (lambda w: sg.compile(w * sg.placeholder("steps"), updates={w: w}), sg.ArgumentError, "'steps'"),
        (lambda w: sg.compile(w, updates={w: w})(steps=0), sg.ArgumentError, "steps must be a positive integer"),
        (lambda w: sg.compile(w, updates={w: w})(x=1.0), sg.ArgumentError, "x"),
        (lambda w: sg.parameter("not a name", 1.0), ValueError, "identifier"),
        (lambda w: sg.parameter("c", 1j), sg.DTypeError, "real numbers"),
        (lambda w: setattr(w, "value", [1.0, 2.0]), sg.ShapeError, "shape"),
        (lambda w: setattr(w, "value", 1j), sg.DTypeError, "real numbers"),
    ],
)
def test_what_is_refused(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make(sg.parameter("w", 1.0))


def test_pickled_it_goes_on_by_itself() -> None:
    w, x = sg.parameter("w", 2.0), sg.placeholder("x")
    step = sg.compile({"y": w * x}, updates={w: w + x}, wrt=[w])
    step(x=1.0)
    again = pickle.loads(pickle.dumps(step))
    assert again(x=2.0) == {"y": 6.0}
    assert again(x=2.0, steps=2) == {"y": 14.0}
    assert again.grad(x=3.0) == {"w": 3.0}
    assert w.value == 3
    assert copy.deepcopy(step) is step


def test_a_value_does_not_change_in_place() -> None:
    data = np.ones(2)
    w = sg.parameter("w", data)
    data[0] = 5
    assert w.value.tolist() == [1, 1]
    with pytest.raises(ValueError, match="read-only"):
        w.value[0] = 3


# -- files -------------------------------------------------------------------------------------------------------------


def saved(tmp_path: Path) -> tuple[Path, dict[str, sg.Parameter]]:
    held = {"w": sg.parameter("w", np.arange(6.0).reshape(2, 3)), "n": sg.parameter("n", 7)}
    sg.save_parameters(tmp_path / "p.npz", held)
    return tmp_path / "p.npz", held


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    path, held = saved(tmp_path)
    held["w"].value, held["n"].value = np.zeros((2, 3)), 0
    sg.load_parameters(path, held)
    assert held["w"].value.tolist() == [[0, 1, 2], [3, 4, 5]] and held["n"].value == 7
    with np.load(path) as archive:
        assert archive["n"] == 7
    assert [p.name for p in tmp_path.iterdir()] == ["p.npz"]


@pytest.mark.skipif(not hasattr(os, "O_DIRECTORY"), reason="the system cannot open folders")
def test_the_content_is_on_the_disk_before_the_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, replace = os.fsync, os.replace

    def synced(opened: int) -> None:
        found = os.fstat(opened)
        done.append("folder" if found.st_ino == tmp_path.stat().st_ino else "content" if found.st_size else "empty")
        sync(opened)

    def replaced(*names: Any) -> None:
        done.append("name")
        replace(*names)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    saved(tmp_path)
    assert done == ["content", "name", "folder"]


def test_a_folder_that_cannot_be_waited_for_takes_files_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Any, flags: int) -> int:
        raise OSError(reason, "refused")

    monkeypatch.setattr(os, "open", refuse)
    reason = errno.EACCES
    path, _ = saved(tmp_path)
    assert list(sg.load_parameters(path))
    if hasattr(os, "O_DIRECTORY"):
        reason = errno.EIO
        with pytest.raises(OSError, match="refused"):
            saved(tmp_path)


def test_a_damaged_file_loads_nothing(tmp_path: Path) -> None:
    path, held = saved(tmp_path)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for trial in range(400):
        bad = bytearray(content)
        if trial % 2:
            bad[int(rng.integers(len(bad)))] ^= 1 << int(rng.integers(8))
        else:
            del bad[int(rng.integers(len(bad))) :]
        path.write_bytes(bytes(bad))
        held["w"].value = np.zeros((2, 3))
        try:
            sg.load_parameters(path, held)
        except sg.FileError:
            refused += 1
            assert not held["w"].value.any()
        else:
            assert held["w"].value.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert refused > 300


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    path, held = saved(tmp_path)
    with pytest.raises(sg.FileError, match="no parameter 'v'"):
        sg.load_parameters(path, {**held, "v": sg.parameter("v", 1.0)})
    with pytest.raises(sg.ShapeError, match="'n'"):
        sg.load_parameters(path, {"w": held["w"], "n": sg.parameter("n", [1, 2])})
    np.savez(path, w=np.ones(2))
    with pytest.raises(sg.FileError, match="manifest"):
        sg.load_parameters(path)

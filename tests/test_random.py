"""Random numbers: the published bits, the same stream in every form, and the distributions they are meant to have.

Seeds are fixed, so a statistic is one number; its bound is far in the tail of its distribution.
"""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from support import run_text, ulps

import symgraph as sg
from compiler import interpret
from symgraph import random
from symgraph.errors import DTypeError
from symgraph.ops import random as rows

KEY = random.key(20_26)


def word(high: int, low: int) -> np.uint64:
    return np.uint64(high << 32 | low)


@pytest.mark.parametrize(
    ("counter", "key", "wanted"),
    [
        (word(0, 0), word(0, 0), word(0x99BA4EFE, 0x6B200159)),
        (word(0xFFFFFFFF, 0xFFFFFFFF), word(0xFFFFFFFF, 0xFFFFFFFF), word(0xBB002BE7, 0x1CB996FC)),
        (word(0x85A308D3, 0x243F6A88), word(0x03707344, 0x13198A2E), word(0x483DF7A0, 0xC4923A9C)),
    ],
)
def test_the_published_bits_of_threefry(counter: np.uint64, key: np.uint64, wanted: np.uint64) -> None:
    """Threefry-2x32 with 20 rounds: the known answers that its authors publish with their library (Random123)."""
    assert rows.threefry(key, counter) == wanted
    k, c = (sg.placeholder(n, shape=(), dtype="uint64") for n in "kc")
    assert sg.compile(rows.threefry(k, c))(k=key, c=counter) == wanted


# -- one stream --------------------------------------------------------------------------------------------------------

DRAWS: dict[str, Callable[[Any], Any]] = {
    "bits": lambda k: random.bits(k, (3, 5)),
    "uniform": lambda k: random.uniform(k, (101,)),
    "uniform, moved": lambda k: random.uniform(k, (7, 5), -1.5, 2.25),
    "uniform, float32": lambda k: random.uniform(k, (33,), 0.1, 0.3, "float32"),
    "normal": lambda k: random.normal(k, (101,)),
    "normal, moved": lambda k: random.normal(k, (7, 5), 0.1, 0.3),
    "normal, float32": lambda k: random.normal(k, (7, 5), 0.1, 0.3, "float32"),
    "number": lambda k: random.normal(k),
    "exponential": lambda k: random.exponential(k, (50,), 3.0),
    "gumbel": lambda k: random.gumbel(k, (50,), -1.0, 2.0),
    "integers": lambda k: random.integers(k, -3, 11, (50,)),
    "integers, wide": lambda k: random.integers(k, -(2**62), 2**61, (50,)),
    "integers, uint8": lambda k: random.integers(k, 0, 256, (50,), "uint8"),
    "bernoulli": lambda k: random.bernoulli(k, np.linspace(0, 1, 20)),
    "categorical": lambda k: random.categorical(k, np.linspace(-1, 1, 24).reshape(4, 6)),
    "permutation": lambda k: random.permutation(k, 37),
    "permutation of rows": lambda k: random.permutation(k, np.arange(10.0).reshape(5, 2)),
    "permuted": lambda k: random.permuted(k, np.array([[3, 0], [9, 36]]), 37),
    "split": lambda k: random.split(k, 5),
    "fold_in": lambda k: random.fold_in(k, np.arange(4)),
    "keys of keys": lambda k: random.normal(random.split(k, 3)[:, None], (3, 4)),
    "empty": lambda k: random.normal(k, (0, 3)),
}


def same(got: Any, wanted: Any) -> bool:
    got, wanted = np.asarray(got), np.asarray(wanted)
    return got.dtype == wanted.dtype and got.shape == wanted.shape and got.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("name", DRAWS)
def test_both_modes_give_the_same_bits(name: str) -> None:
    draw = DRAWS[name]
    wanted = draw(KEY)
    assert same(draw(sg.Variable(np.asarray(KEY))).data, wanted)
    k = sg.placeholder("k")
    formula = draw(k)
    function = sg.compile(formula, verify=True)
    assert same(function(k=KEY), wanted)
    assert same(interpret([formula], {"k": KEY})[0], wanted)
    if name != "permutation of rows":  # the text of 192 rounds takes its time
        assert same(run_text(function, {"k": KEY}), wanted)


def test_a_draw_is_part_of_the_loop_that_uses_it() -> None:
    """Neither the counter nor what is drawn is stored: the program has one loop and no temporary."""
    k = sg.placeholder("k", shape=(), dtype="uint64")
    x = sg.placeholder("x", shape=("n",), dtype="float64")
    function = sg.compile(np.sum(x * random.bernoulli(k, 0.5, like=x)))
    data = np.arange(1000.0)
    assert function(k=KEY, x=data) == np.sum(data * random.bernoulli(KEY, 0.5, (1000,)))
    (variant,) = [compiled for _, compiled in function.variants()]
    assert not variant.program.temporaries and len(variant.program.steps) == 1


def test_the_stream_does_not_depend_on_threads_or_processes() -> None:
    k = sg.placeholder("k", shape=(), dtype="uint64")
    function = sg.compile([random.normal(k, (300_001,)), np.sum(random.uniform(k, (400, 500)), axis=0)])
    before = sg.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            sg.set_num_threads(threads)
            found.append(b"".join(np.asarray(r).tobytes() for r in function(k=KEY)))
    finally:
        sg.set_num_threads(before)
    assert found[0] == found[1] == found[2]
    code = "import symgraph as sg; print(sg.random.normal(sg.random.key(7), (3,)).tobytes().hex())"
    root = Path(__file__).resolve().parent.parent
    there = subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True)
    assert there.stdout.strip() == random.normal(random.key(7), (3,)).tobytes().hex()


def test_shapes_come_from_symbols_and_from_other_values() -> None:
    x = sg.placeholder("x")
    function = sg.compile([random.uniform(KEY, like=x), random.integers(KEY, 0, 9, like=x)])
    n = sg.placeholder("n", shape=("m", 3), dtype="float64")
    sized = sg.compile(random.uniform(KEY, (n.shape[0], 2)) + 0 * n[:, :2])
    for rows_ in (1, 2, 5):
        u, i = function(x=np.zeros((rows_, 2), "int8"))
        assert same(u, random.uniform(KEY, (rows_, 2))) and same(i, random.integers(KEY, 0, 9, (rows_, 2)))
        assert same(sized(n=np.zeros((rows_, 3))), random.uniform(KEY, (rows_, 2)))


# -- keys --------------------------------------------------------------------------------------------------------------


def test_keys_draws_and_new_keys_are_apart() -> None:
    """Within one key the cipher is one to one, and new keys have counters of their own."""
    drawn = [random.bits(KEY, (1000,)), random.split(KEY, 1000), random.fold_in(KEY, np.arange(1000))]
    assert len(np.unique(np.concatenate(drawn))) == 3000
    first, second = random.split(KEY)
    assert first != second and first == random.split(KEY, 9)[0]


def test_what_is_no_key_is_refused() -> None:
    with pytest.raises(ValueError, match="a seed lies in"):
        random.key(-1)
    with pytest.raises(TypeError):
        random.key(0.5)  # type: ignore[arg-type]
    for bad in (3, np.int64(3), 0.5, sg.placeholder("a", dtype="int64")):
        with pytest.raises(DTypeError, match=r"random\.key\(seed\)"):
            random.uniform(bad, (2,))
    with pytest.raises(DTypeError, match=r"random\.key\(seed\)"):
        sg.compile(random.uniform(sg.placeholder("k"), (2,)))(k=3)
    with pytest.raises(DTypeError, match="must be one key"):
        random.split(random.split(KEY))
    with pytest.raises(DTypeError, match="data must be integers"):
        random.fold_in(KEY, 0.5)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(DTypeError, match="float64 or float32"):
        random.uniform(KEY, (2,), dtype="int64")
    with pytest.raises(ValueError, match="need low < high"):
        random.integers(KEY, 3, 3)
    with pytest.raises(ValueError, match="do not fit into uint8"):
        random.integers(KEY, 0, 257, dtype="uint8")
    with pytest.raises(DTypeError, match="must be an integer dtype"):
        random.integers(KEY, 0, 2, dtype="float64")


# -- distributions -----------------------------------------------------------------------------------------------------


def kolmogorov(sample: np.ndarray, distribution: Callable[[np.ndarray], np.ndarray]) -> float:
    """sqrt(n) times the largest distance of the two distribution functions; 1.95 is exceeded once in 1,000."""
    n = sample.size
    cumulative = distribution(np.sort(sample.ravel()).astype(np.float64))
    steps = np.arange(n + 1) / n
    return float(math.sqrt(n) * max(np.max(steps[1:] - cumulative), np.max(cumulative - steps[:-1])))


def chi_square(counts: np.ndarray, expected: np.ndarray | float) -> float:
    """The statistic as standard deviations above its mean, by Wilson and Hilferty's cube root."""
    k = counts.size - 1
    statistic = float(np.sum((counts - expected) ** 2 / expected))
    return ((statistic / k) ** (1 / 3) - (1 - 2 / (9 * k))) / math.sqrt(2 / (9 * k))


def normal_cdf(x: np.ndarray) -> np.ndarray:
    return np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_continuous_distributions(dtype: str) -> None:
    n = 50_000
    k = random.split(KEY, 4)
    assert kolmogorov(random.uniform(k[0], (n,), dtype=dtype), lambda x: x) < 1.95
    assert kolmogorov(random.normal(k[1], (n,), 2.0, 3.0, dtype), lambda x: normal_cdf((x - 2) / 3)) < 1.95
    assert kolmogorov(random.exponential(k[2], (n,), 2.0, dtype), lambda x: -np.expm1(-x / 2)) < 1.95
    assert kolmogorov(random.gumbel(k[3], (n,), dtype=dtype), lambda x: np.exp(-np.exp(-x))) < 1.95


def test_neighbours_and_streams_are_independent() -> None:
    n = 100_000
    x = random.uniform(KEY, (n,))
    others = [
        np.roll(x, 1),
        np.roll(x, 2),
        *(random.uniform(k, (n,)) for k in (KEY + np.uint64(1), random.split(KEY)[0])),
    ]
    for other in others:
        counts = np.histogram2d(x, other, bins=16, range=[[0, 1]] * 2)[0]
        assert abs(chi_square(counts.ravel(), n / 256)) < 4
        assert abs(np.corrcoef(x, other)[0, 1]) * math.sqrt(n) < 4
    ones = np.unpackbits(random.bits(KEY, (n,)).view(np.uint8)).reshape(n, 64).mean(axis=0)
    assert np.max(np.abs(ones - 0.5)) * 2 * math.sqrt(n) < 5


def test_discrete_distributions() -> None:
    n = 60_000
    k = random.split(KEY, 5)
    assert abs(chi_square(np.bincount(random.integers(k[0], -2, 5, (n,)) + 2), n / 7)) < 4
    p = np.array([0.5, 0.25, 0.15, 0.1])
    assert abs(chi_square(np.bincount(random.categorical(k[1], np.broadcast_to(np.log(p), (n, 4)))), n * p)) < 4
    assert abs(random.bernoulli(k[2], 0.3, (n,)).mean() - 0.3) < 4 * math.sqrt(0.21 / n)
    assert not random.bernoulli(k[3], 0.0, (n,)).any() and random.bernoulli(k[3], 1.0, (n,)).all()
    big = random.integers(k[4], 0, 3 * 2**61, (n,)) // 2**61
    assert abs(chi_square(np.bincount(big), n / 3)) < 4


def test_integers_with_bounds_of_the_call() -> None:
    low, high = sg.placeholder("low"), sg.placeholder("high")
    function = sg.compile(random.integers(KEY, low, high, (1000,)))
    found = function(low=5, high=8)
    assert same(found, random.integers(KEY, 5, 8, (1000,))) and set(found.tolist()) == {5, 6, 7}
    assert set(function(low=5, high=5).tolist()) == {5}


@pytest.mark.parametrize("count", [2, 3, 4])
def test_every_permutation_is_as_likely(count: int) -> None:
    draws = 6000
    k = sg.placeholder("k")
    shuffle = sg.compile(random.permutation(k, count))
    rank = {p: r for r, p in enumerate(itertools.permutations(range(count)))}
    counts = np.zeros(len(rank))
    for key in random.split(KEY, draws):
        counts[rank[tuple(shuffle(k=key).tolist())]] += 1
    assert abs(chi_square(counts, draws / len(rank))) < 4


def test_permutations_are_permutations_and_mixed() -> None:
    for count in (0, 1, 2, 7, 64, 1000):
        assert sorted(random.permutation(KEY, count)) == list(range(count))
    n = 10_000
    p = random.permutation(KEY, n)
    assert abs(np.corrcoef(p, np.arange(n))[0, 1]) * math.sqrt(n) < 4
    counts = np.histogram2d(p, np.arange(n), bins=10)[0]
    assert abs(chi_square(counts.ravel(), n / 100)) < 4
    assert abs(np.sum(np.diff(p) > 0) - n / 2) < 4 * math.sqrt(n / 12)
    assert np.sum(p == np.arange(n)) < 8
    rows_ = np.arange(12).reshape(6, 2)
    assert same(random.permutation(KEY, rows_), rows_[random.permutation(KEY, 6)])


# -- gradients and quantiles -------------------------------------------------------------------------------------------


def test_draws_are_differentiated_by_location_and_scale() -> None:
    loc, scale = sg.placeholder("loc"), sg.placeholder("scale")
    for draw, plain in (
        (random.normal(KEY, (20,), loc, scale), random.normal(KEY, (20,))),
        (random.gumbel(KEY, (20,), loc, scale), random.gumbel(KEY, (20,))),
        (random.uniform(KEY, (20,), loc, loc + scale), random.uniform(KEY, (20,))),
    ):
        grads = sg.compile(np.sum(draw)).grad(loc=0.5, scale=2.0)
        assert grads["loc"] == pytest.approx(20) and grads["scale"] == pytest.approx(plain.sum())
    v = sg.Variable(np.array(2.0))
    sg.sum(random.normal(KEY, (20,), 0.5, v)).backward()
    assert v.grad.data == pytest.approx(random.normal(KEY, (20,)).sum())


def test_the_normal_quantile_is_accurate() -> None:
    far = 10.0 ** np.linspace(-307, -1, 100)
    near = np.concatenate([np.linspace(0.001, 0.999, 200), 1 - 2.0 ** -np.arange(2, 53)])
    with mpmath.workdps(50):
        wanted = [float(mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(float(p)) - 1)) for p in near]
        back = [mpmath.ncdf(mpmath.mpf(float(z))) / float(p) - 1 for z, p in zip(sg.ndtri(far), far, strict=True)]
    assert ulps(sg.ndtri(near), np.array(wanted)).max() <= 8
    assert max(abs(b) for b in back) < 1e-11  # the distribution function magnifies errors a thousandfold there
    single = sg.ndtri(near[:200].astype(np.float32))
    assert np.allclose(single, wanted[:200], rtol=1e-5, atol=1e-7) and single.dtype == np.float32
    edge = sg.ndtri(np.array([0.0, 1.0, 0.5, -0.1, 1.1, np.nan]))
    assert edge[:3].tolist() == [-np.inf, np.inf, 0] and np.isnan(edge[3:]).all()

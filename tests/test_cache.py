"""Object code on disk: hits across processes, damaged and foreign files, rights, bounds, and many processes at once."""

from __future__ import annotations

import ctypes
import gc
import hashlib
import os
import random
import stat
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import symgraph as sg
from compiler import cache, machine
from symgraph.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
POSIX = pytest.mark.skipif(os.name == "nt", reason="rights of POSIX")
NOT_ROOT = pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may do everything")

CHILD = """
import sys, numpy as np, symgraph as sg
from compiler import machine, runtime
a, b = sg.placeholder("a"), sg.placeholder("b")
for k in range(int(sys.argv[1])):
    value, grads = sg.compile(a * a * b + k).value_and_grad(a=2.0, b=3.0)
    assert (value, grads["a"], grads["b"]) == (12 + k, 12, 4)
runtime.load()
print(machine.compilations, "numba" in sys.modules, "networkx" in sys.modules)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of the test's own."""
    place = tmp_path / "kernels"
    monkeypatch.setenv("SYMGRAPH_CACHE_DIR", str(place))
    monkeypatch.delenv("SYMGRAPH_CACHE_SIZE", raising=False)
    yield place


def text(number: int) -> str:
    """A module that returns a number."""
    return f"define i64 @number() {{\n  ret i64 {number}\n}}\n"


def number(code: machine.Code) -> int:
    return ctypes.CFUNCTYPE(ctypes.c_int64)(code.address("number"))()


def key(name: object) -> bytes:
    return hashlib.sha256(str(name).encode()).digest()


def path(folder: Path, name: object) -> Path:
    return folder / f"{key(name).hex()}.kernel"


def child(count: int = 1, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(count)]
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def answer(process: subprocess.Popen[str]) -> str:
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    return out.strip()


# -- what it is for ----------------------------------------------------------------------------------------------------


def test_a_second_process_compiles_nothing_and_imports_neither_numba_nor_networkx(folder: Path) -> None:
    assert answer(child()) == "3 False False"  # a kernel, and the two libraries of the runtime
    assert answer(child()) == "0 False False"
    assert len(list(folder.glob("*.kernel"))) == 3


def test_eight_processes_at_once_are_right(folder: Path) -> None:
    for process in [child(5) for _ in range(8)]:
        answer(process)
    assert len(list(folder.iterdir())) == 7  # five kernels, the runtime's two libraries, and no half-written file
    assert answer(child(5)) == "0 False False"


def test_what_is_put_is_got(folder: Path) -> None:
    assert cache.get(key("a")) is None
    for payload in (b"", b"x", os.urandom(100_000)):
        cache.put(key("a"), payload)
        assert cache.get(key("a")) == payload
    assert cache.get(key("b")) is None


def test_kernels_depend_on_text_and_options(folder: Path) -> None:
    before = machine.compilations
    assert number(machine.load(text(1))) == 1
    assert number(machine.load(text(2))) == 2
    assert number(machine.load(text(1), quick=True)) == 1
    assert machine.compilations == before + 3
    assert number(machine.load(text(1))) == 1
    assert machine.compilations == before + 3


def test_addresses_are_no_part_of_what_is_kept(folder: Path) -> None:
    kind = ctypes.CFUNCTYPE(ctypes.c_int64)
    source = "declare i64 @outside()\ndefine i64 @number() {\n  %x = call i64 @outside()\n  ret i64 %x\n}\n"
    for wanted in (5, 6):
        outside = kind(lambda wanted=wanted: wanted)
        address = ctypes.cast(outside, ctypes.c_void_p).value or 0
        assert number(machine.load(source, {"outside": address})) == wanted
    assert len(list(folder.iterdir())) == 1
    with pytest.raises(RuntimeError, match="number"):
        machine.load(source)


# -- damage ------------------------------------------------------------------------------------------------------------


def test_a_thousand_damaged_files_are_misses_and_rebuilt(folder: Path) -> None:
    rng = random.Random(0)
    for which in range(2):
        machine.load(text(which))
    files = sorted(folder.iterdir())
    good = {file: file.read_bytes() for file in files}
    one, two = good.values()
    rebuilt = 0
    for _ in range(1000):
        kind = rng.choice(["cut", "flip", "swap", "foreign", "empty", "longer"])
        at = rng.randrange(len(one))
        damaged = {
            "cut": one[:at],
            "flip": one[:at] + bytes([one[at] ^ (1 << rng.randrange(8))]) + one[at + 1 :],
            "swap": two,
            "foreign": rng.randbytes(rng.randrange(2000)),
            "empty": b"",
            "longer": one + rng.randbytes(1 + rng.randrange(20)),
        }
        files[0].write_bytes(damaged[kind])
        assert cache.get(bytes.fromhex(files[0].stem)) is None, kind
        if rng.random() < 0.05:  # the whole way
            before = machine.compilations
            assert [number(machine.load(text(which))) for which in range(2)] == [0, 1]
            assert machine.compilations == before + 1
            assert files[0].read_bytes() == one
            rebuilt += 1
    assert rebuilt > 20
    assert files[1].read_bytes() == two


def test_a_function_survives_a_damaged_cache(folder: Path) -> None:
    x = sg.placeholder("x")
    for damage in (b"", b"nonsense" * 100):
        assert sg.compile(x * 7 + 1)(x=2.0) == 15
        for file in folder.iterdir():
            file.write_bytes(damage)
    assert sg.compile(x * 7 + 1)(x=2.0) == 15


@POSIX
@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_file_is_a_miss(folder: Path, tmp_path: Path, kind: str) -> None:
    cache.put(key("a"), b"payload")
    place = path(folder, "a")
    if kind == "link":
        place.rename(tmp_path / "elsewhere")
        place.symlink_to(tmp_path / "elsewhere")
    else:
        place.unlink()
        place.mkdir() if kind == "folder" else os.mkfifo(place)
    assert cache.get(key("a")) is None
    cache.put(key("a"), b"payload")
    assert cache.get(key("a")) == (None if kind == "folder" else b"payload")


# -- rights ------------------------------------------------------------------------------------------------------------


@POSIX
def test_folder_and_files_are_private(folder: Path) -> None:
    before = os.umask(0)
    try:
        cache.put(key("a"), b"payload")
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path(folder, "a").stat().st_mode) == 0o600


@POSIX
@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_that_others_may_write_is_neither_read_nor_written(folder: Path, tmp_path: Path, mode: int) -> None:
    cache.put(key("a"), b"payload")
    folder.chmod(mode)
    assert cache.get(key("a")) is None
    cache.put(key("b"), b"payload")
    assert not path(folder, "b").exists()
    assert (cache.info().used, cache.info().kernels, cache.clear()) == (False, 0, 0)
    link = tmp_path / "link"
    link.symlink_to(folder)
    os.environ["SYMGRAPH_CACHE_DIR"] = str(link)
    assert cache.get(key("a")) is None
    folder.chmod(0o700)
    assert cache.get(key("a")) == b"payload"


@POSIX
@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_may_write_is_not_read(folder: Path, mode: int) -> None:
    cache.put(key("a"), b"payload")
    path(folder, "a").chmod(mode)
    assert cache.get(key("a")) is None


@POSIX
def test_what_belongs_to_another_user_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put(key("a"), b"payload")
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    assert cache.get(key("a")) is None
    cache.put(key("b"), b"payload")
    monkeypatch.undo()
    assert not path(folder, "b").exists()


@NOT_ROOT
def test_a_folder_that_may_not_be_written_is_read(folder: Path) -> None:
    cache.put(key("a"), b"payload")
    folder.chmod(0o500)
    try:
        assert cache.get(key("a")) == b"payload"
        cache.put(key("b"), b"payload")
        assert cache.get(key("b")) is None
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize("fails", ["mkdir", "open", "write", "replace"])
def test_errors_of_the_file_system_are_no_errors_of_ours(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if fails == "mkdir":
            patch.setattr(Path, "mkdir", fail)
        elif fails == "write":
            patch.setattr(cache, "_HEADER", type("Full", (), {"size": cache._HEADER.size, "pack": fail}))
        else:
            patch.setattr(os, fails, fail)
        cache.put(key("a"), b"payload")
        assert number(machine.load(text(3))) == 3
    assert not folder.exists() or not list(folder.iterdir())
    cache.put(key("a"), b"payload")
    assert cache.get(key("a")) == b"payload"


def test_a_folder_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("a file is in the way")
    for place in (file, file / "below", "/proc/nowhere", "x" * 5000):
        monkeypatch.setenv("SYMGRAPH_CACHE_DIR", str(place))
        cache.put(key("a"), b"payload")
        assert cache.get(key("a")) is None
        assert cache.info().kernels == cache.clear() == 0
    assert file.read_text() == "a file is in the way"


def test_no_home_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SYMGRAPH_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)

    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    assert cache.folder() is None
    cache.put(key("a"), b"payload")
    assert cache.get(key("a")) is None


def test_the_folders_of_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYMGRAPH_CACHE_DIR")
    monkeypatch.setattr(Path, "home", lambda: Path("home"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.folder() == Path("home/.cache/symgraph")
    monkeypatch.setenv("XDG_CACHE_HOME", os.path.abspath("caches"))
    assert cache.folder() == Path("caches/symgraph").absolute()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache.folder() == Path("home/Library/Caches/symgraph")


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_what_was_used_longest_ago_goes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMGRAPH_CACHE_SIZE", "0.01")
    long_ago = time.time() - 5000
    for k in range(5):
        cache.put(key(k), bytes(1500))
        os.utime(path(folder, k), (long_ago + k, long_ago + k))
    assert cache.get(key(0)) is not None  # used now
    cache.put(key("new"), bytes(1500))
    assert [k for k in range(5) if path(folder, k).exists()] == [0, 2, 3, 4]
    assert cache.get(key("new")) is not None
    assert cache.info().size <= 10_000


def test_many_small_kernels_stay_about_within_the_bound(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMGRAPH_CACHE_SIZE", "0.1")
    for k in range(1000):
        cache.put(key(k), bytes(200))
    assert 50_000 < cache.info().size < 120_000


def test_nothing_larger_than_the_bound_is_kept_and_zero_turns_it_off(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYMGRAPH_CACHE_SIZE", "0.001")
    cache.put(key("a"), bytes(2000))
    assert not folder.exists()
    monkeypatch.setenv("SYMGRAPH_CACHE_SIZE", "0")
    cache.put(key("a"), b"payload")
    assert not folder.exists()
    assert cache.info() == (None, False, 0, 0, 0)
    for nonsense in ("much", "", "nan", "inf"):
        monkeypatch.setenv("SYMGRAPH_CACHE_SIZE", nonsense)
        assert cache.limit() == 256_000_000


@POSIX
def test_writers_that_were_killed_leave_nothing_for_long(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os\nfrom compiler import cache\nos.replace = lambda *names: os._exit(9)\ncache.put(bytes(32), b'')"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 9
    (left,) = folder.iterdir()
    assert cache.get(bytes(32)) is None
    monkeypatch.setenv("SYMGRAPH_CACHE_SIZE", "0.001")
    cache.put(key("a"), bytes(500))
    assert left.exists()  # its writer may be at work
    os.utime(left, (time.time() - 7200,) * 2)
    cache.put(key("b"), bytes(500))
    assert not left.exists()


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_tells_and_clears(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "info"]) == 0
    assert "0 kernels" in capsys.readouterr().out
    for k in range(3):
        cache.put(key(k), bytes(100_000))
    (folder / "notes.txt").write_text("not ours")
    assert main(["cache", "info"]) == 0
    out = capsys.readouterr().out
    assert str(folder) in out
    assert "3 kernels, 0.3 of 256 MB" in out
    assert "not used" not in out
    if os.name != "nt":
        folder.chmod(0o777)
        assert main(["cache", "info"]) == 0
        assert "not used" in capsys.readouterr().out
        folder.chmod(0o700)
    assert main(["cache", "clear"]) == 0
    assert "removed 3 kernels" in capsys.readouterr().out
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]


# -- machine code ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        "nonsense",
        "define i64 @f() { ret i32 0 }",
        "define i64 @f() {\n  %x = add i64 %y, 1\n  %y = add i64 %x, 1\n  ret i64 %x\n}",
        "declare i64 @llvm.sqrt.i64(i64)\ndefine i64 @f(i64 %x) {\n %y = call i64 @llvm.sqrt.i64(i64 %x) ret i64 %y }",
        "define void @f() {\n  br label %nowhere\n}",
    ],
)
def test_invalid_text_is_an_exception(folder: Path, wrong: str) -> None:
    with pytest.raises(RuntimeError):
        machine.load(wrong)
    assert not folder.exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_code_is_freed_with_its_last_reference(folder: Path) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    large = "define i64 @number() {\n" + "  store volatile i64 5, ptr null\n" * 20_000 + "  ret i64 1\n}\n"
    kept = machine.load(text(4))
    for _ in range(40):
        machine.load(large)
    before = resident()
    for _ in range(100):
        machine.load(large)
    assert resident() - before < 4e6  # 100 of them take 24 MB
    assert number(kept) == 4


def test_a_dropped_function_frees_its_kernel(folder: Path) -> None:
    function = sg.compile(sg.placeholder("x") * 3 + 11)
    function(x=1.0)
    code = weakref.ref(function.variants()[0][1].kernel.code)
    assert code() is not None
    del function
    gc.collect()
    assert code() is None


def test_assembly_is_text() -> None:
    assert "number" in machine.assembly(text(1))
    x = sg.placeholder("x")
    assert "symgraph_kernel" in sg.compile(np.sin(x)).asm

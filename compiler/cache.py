"""Object code on disk: one file per kernel, named by a digest of everything that the code depends on.

What is read is believed only if it is ours: the file belongs to this user, nobody else may write it, and its header,
length and checksum fit. All else is a miss, and so is every error of the file system: no call fails for its cache.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_HEADER = struct.Struct("<8sI32sQ32s")  # magic, version of this form, key, length and checksum of what follows
_MAGIC = b"symgraph"
_FORM = 1
_OURS = re.compile(r"[0-9a-f]{64}\.kernel|writing-\w+\.tmp")
_FLAGS = 0
for _flag in ("O_BINARY", "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"):  # no link, and no wait for the other end of a pipe
    _FLAGS |= getattr(os, _flag, 0)
_MEGABYTE = 10**6
_DEFAULT_SIZE = 256
_STALE = 3600.0
"""Seconds after which a half-written file is known to belong to a process that was killed."""
_TOUCH = 600.0
"""Seconds for which a hit need not be noted again."""


class Info(NamedTuple):
    """The folder (None where there is no cache), whether it is used (not where others may write into it), the kernels
    in it, their bytes, and the bytes it may hold."""

    folder: Path | None
    used: bool
    kernels: int
    size: int
    limit: int


def limit() -> int:
    """The bytes that the cache may hold: `SYMGRAPH_CACHE_SIZE` megabytes, 256 by default; 0 turns it off."""
    try:
        return max(int(float(os.environ["SYMGRAPH_CACHE_SIZE"]) * _MEGABYTE), 0)
    except (KeyError, ValueError, OverflowError):
        return _DEFAULT_SIZE * _MEGABYTE


def folder() -> Path | None:
    """Where kernels are kept: `SYMGRAPH_CACHE_DIR`, else the platform's folder for caches; None without a home."""
    chosen = os.environ.get("SYMGRAPH_CACHE_DIR")
    if chosen:
        return Path(chosen)
    try:
        if os.name == "nt":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "symgraph"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "symgraph"
        base = os.environ.get("XDG_CACHE_HOME", "")
        # the standard says that a relative path there is to be ignored
        return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "symgraph"
    except RuntimeError:
        return None


def _private(status: os.stat_result) -> bool:
    """Whether nobody but this user can have written what `status` describes."""
    if os.name == "nt":  # rights are inherited from the user's own folder there, and are not told by stat
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _usable() -> Path | None:
    """The folder, if it is there and only this user may write into it."""
    place = folder()
    try:
        if place is not None and limit():
            status = place.stat()  # of the real folder, where this is a link
            if stat.S_ISDIR(status.st_mode) and _private(status):
                return place
    except (OSError, ValueError):  # the latter for a name that holds a zero
        pass
    return None


def get(key: bytes) -> bytes | None:
    """What was kept under a key of 32 bytes, or None."""
    place = _usable()
    if place is None:
        return None
    try:
        with open(os.open(place / f"{key.hex()}.kernel", os.O_RDONLY | _FLAGS), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or not _private(status):
                return None
            header = file.read(_HEADER.size)
            if len(header) != _HEADER.size:
                return None
            magic, form, named, length, checksum = _HEADER.unpack(header)
            if (magic, form, named, length) != (_MAGIC, _FORM, key, status.st_size - _HEADER.size):
                return None
            payload = file.read(length)
            if hashlib.sha256(payload).digest() != checksum:
                return None
            if time.time() - status.st_mtime > _TOUCH and os.utime in os.supports_fd:
                with suppress(OSError):  # a disk that is read only serves as well
                    os.utime(file.fileno())  # used lately, so evicted late
            return payload
    except (OSError, MemoryError):
        return None


def put(key: bytes, payload: bytes) -> None:
    """Keep `payload` under a key of 32 bytes, if that is possible."""
    place = folder()
    bound = limit()
    size = _HEADER.size + len(payload)
    if place is None or size > bound:
        return
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _usable() is None:
            return
        name = place / f"writing-{os.urandom(8).hex()}.tmp"
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
        try:
            with open(handle, "wb") as file:
                file.write(_HEADER.pack(_MAGIC, _FORM, key, len(payload), hashlib.sha256(payload).digest()))
                file.write(payload)
            os.replace(name, place / f"{key.hex()}.kernel")  # readers see all of it or nothing
        except BaseException:
            os.unlink(name)
            raise
        # Looking through the folder takes longer than writing a file, so one write in many does it: each time that
        # about a 64th of the bound has been written, by whichever processes. Keys are spread as random numbers are.
        if int.from_bytes(key[:4], "big") * bound < 64 * size * 2**32:
            _evict(place, bound)
    except (OSError, ValueError):
        pass


def _evict(place: Path, bound: int) -> None:
    """Remove what was used longest ago until the folder is well within its bound."""
    found = _files(place)
    now = time.time()
    left = 0
    for path, status in sorted(found, key=lambda one: one[1].st_mtime, reverse=True):
        left += status.st_size
        if left > bound - bound // 8 if path.suffix == ".kernel" else now - status.st_mtime > _STALE:
            _remove(path)


def _files(place: Path) -> list[tuple[Path, os.stat_result]]:
    """The files of the cache, and nothing else that may lie there."""
    found = []
    with os.scandir(place) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name):
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:  # another process removed it
                    continue
                if stat.S_ISREG(status.st_mode):
                    found.append((Path(entry.path), status))
    return found


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


def info() -> Info:
    """What the cache holds."""
    place = folder() if limit() else None
    trusted = _usable()
    found = []
    with suppress(OSError):
        found = [status.st_size for path, status in _files(trusted) if path.suffix == ".kernel"] if trusted else []
    missing = place is not None and not os.path.lexists(place)  # it is made when it is needed
    return Info(place, missing or trusted is not None, len(found), sum(found), limit())


def clear() -> int:
    """Remove every kernel and what killed processes left; returns how many kernels there were."""
    place = _usable()
    if place is None:
        return 0
    try:
        removed = [path for path, _ in _files(place) if _remove(path)]
    except OSError:
        return 0
    return sum(path.suffix == ".kernel" for path in removed)

"""Parameters: symbols that have a value of their own, which compiled functions use and update."""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import json
import os
import threading
import weakref
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from symgraph.errors import DTypeError, FileError, ShapeError
from symgraph.expr import Expr, typed_placeholder
from symgraph.op import Mode
from symgraph.types import ArrayType, format_shape
from symgraph.value import Value

MARK = "·"
"""What stands between a parameter's name and what tells it apart from others of that name."""

_numbers = itertools.count(1)


class _Cell:
    """What a parameter holds, an array or a NumPy scalar; it lives as long as a formula with its symbol does."""

    __slots__ = ("array", "lock", "name")

    def __init__(self, name: str, array: Any) -> None:
        self.name, self.array, self.lock = name, array, threading.RLock()


_cells: weakref.WeakKeyDictionary[Expr, _Cell] = weakref.WeakKeyDictionary()


class Parameter(Value):
    """A symbol with a value: a weight that is trained, a state that is carried from call to call.

    Made by :func:`parameter`. In formulas it is a symbol. Compiled functions that use it are not given it; those that
    update it (`updates=` of :func:`symgraph.compile`) replace its value.

    Attributes:
        expr: the symbol. Two Parameters of one symbol are equal.
    """

    __slots__ = ("_cell", "expr")
    _mode: ClassVar[Mode] = Expr._mode

    def __init__(self, expr: Expr, cell: _Cell) -> None:
        self.expr, self._cell = expr, cell

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Parameter) and self.expr is other.expr

    def __hash__(self) -> int:
        return hash(self.expr)

    @property
    def name(self) -> str:
        """What messages, gradients and files call it."""
        return self._cell.name

    @property
    def lock(self) -> Any:
        """Held while a function computes the next value."""
        return self._cell.lock

    @property
    def _array(self) -> Any:
        return self._cell.array

    @property
    def value(self) -> Any:
        """The value now: an array that does not change, or a NumPy scalar. Assigning another one of the same shape
        replaces it; it is copied, and converted to the dtype of the parameter where NumPy would do so safely.

        Raises:
            ShapeError, DTypeError: what is assigned has another shape, or a dtype that does not fit.
        """
        return self._cell.array

    @value.setter
    def value(self, value: Any) -> None:
        array = _data(self.name, value)
        if array.shape != self._array.shape:
            raise ShapeError(
                f"parameter {self.name!r} has shape {format_shape(self._array.shape)}, got {format_shape(array.shape)}"
            )
        if array.dtype != self._array.dtype:
            if not np.can_cast(array.dtype, self._array.dtype, "same_kind"):
                raise DTypeError(f"parameter {self.name!r} is {self._array.dtype}, got {array.dtype}")
            array = _fixed(array.astype(self._array.dtype))
        with self.lock:
            self._cell.array = array

    def replace(self, array: Any) -> None:
        """The next value, as a function has computed it; it is not copied."""
        if type(array) is np.ndarray:
            array.flags.writeable = False
        self._cell.array = array

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value."""
        return self._array.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the value."""
        return self._array.dtype  # type: ignore[no-any-return]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._array.ndim  # type: ignore[no-any-return]

    @property
    def type(self) -> ArrayType:
        """The type of the symbol."""
        return self.expr.type

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Any:
        return iter(self.expr)

    def __bool__(self) -> bool:
        return bool(self.expr)

    def __repr__(self) -> str:
        return f"<parameter {self.name}: {self.expr.type}>"

    def __reduce__(self) -> Any:
        return parameter, (self.name, self._array)


def parameter(name: str, value: Any) -> Parameter:
    """A parameter of that name with a first value.

    Args:
        name: a Python identifier. Parameters are told apart by themselves, not by their names; one function may not use
            two of one name.
        value: a number, an array, or what NumPy makes an array of; it is copied. It fixes shape and dtype.

    Raises:
        ValueError: the name is no identifier.
        DTypeError: the value does not hold real numbers or bools.

    >>> import symgraph as sg
    >>> w = sg.parameter("w", 3.0)
    >>> step = sg.compile(w * w, updates={w: w - 0.25 * (2 * w)})
    >>> step(), w.value
    (np.float64(9.0), np.float64(1.5))
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"a parameter's name must be a Python identifier, got {name!r}")
    array = _data(name, value)
    symbol = typed_placeholder(f"{name}{MARK}{next(_numbers)}", ArrayType(array.dtype, array.shape))
    _cells[symbol] = _Cell(name, array)
    return Parameter(symbol, _cells[symbol])


def parameter_of(symbol: Expr) -> Parameter | None:
    """The parameter that a placeholder is the symbol of."""
    cell = _cells.get(symbol)
    return None if cell is None else Parameter(symbol, cell)


def any_parameters() -> bool:
    """Whether there is any parameter, which formulas then may use."""
    return bool(_cells)


def plain_name(symbol: Expr) -> str:
    """What users call a placeholder: the name of a parameter, without what tells it apart; "" for other nodes."""
    return (symbol.name or "").partition(MARK)[0]


def _data(name: str, value: Any) -> Any:
    array = np.array(value)
    if array.dtype.kind not in "biuf":
        raise DTypeError(f"parameter {name!r} must hold real numbers or bools, got {array.dtype}")
    return _fixed(array.astype(array.dtype.newbyteorder("="), copy=False))


def _fixed(array: Any) -> Any:
    """An array that does not change; a NumPy scalar where it has no axes."""
    array.flags.writeable = False
    return array[()]


# -- files -------------------------------------------------------------------------------------------------------------

_MANIFEST = "manifest.json"
_FORMAT = 1


def save_parameters(path: Any, parameters: Mapping[str, Any]) -> None:
    """Write parameters, or arrays, by name: a zip archive of NumPy's files, which ``numpy.load`` reads as well.

    The file replaces one of that name in a single step, so that it is whole or the old one whatever happens; when this
    returns it is on the disk under its name.

    Args:
        path: of the file.
        parameters: parameters or arrays by name.

    Raises:
        OSError: the file cannot be written.

    >>> import symgraph as sg, tempfile, os
    >>> w = sg.parameter("w", [1.0, 2.0])
    >>> file = os.path.join(tempfile.mkdtemp(), "w.npz")
    >>> sg.save_parameters(file, {"w": w})
    >>> w.value = [0.0, 0.0]
    >>> sg.load_parameters(file, {"w": w})["w"], w.value
    (array([1., 2.]), array([1., 2.]))
    """
    target = Path(path)
    parts: dict[str, bytes] = {}
    for name, held in parameters.items():
        buffer = io.BytesIO()
        np.save(buffer, np.asarray(held.value if isinstance(held, Parameter) else held), allow_pickle=False)
        parts[f"{name}.npy"] = buffer.getvalue()
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}
    manifest = json.dumps({"format": _FORMAT, "sha256": digests}, sort_keys=True).encode()
    draft = target.with_name(f"{_draft(target)}{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with open(draft, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for name, content in {**parts, _MANIFEST: manifest}.items():
                    archive.writestr(zipfile.ZipInfo(name), content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
        _sync_folder(target.parent)
    finally:
        draft.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk: until then, a crash of the system may bring back the file that
    was replaced. Where folders cannot be opened or waited for, that is left to the system."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EINVAL, errno.ENOTSUP):
            raise


def _draft(target: Path) -> str:
    """What the names of files begin with that are being written, to become this one."""
    return f".{target.name}."


def clear_drafts(path: Any) -> None:
    """Remove what writers left behind that were killed while they wrote this file."""
    target = Path(path)
    if target.parent.is_dir():
        for file in target.parent.iterdir():
            if file.name.startswith(_draft(target)) and file.name.endswith(".tmp"):
                file.unlink(missing_ok=True)


def load_parameters(path: Any, into: Mapping[str, Parameter] | None = None) -> dict[str, Any]:
    """Read what :func:`save_parameters` wrote, all of it or nothing.

    Args:
        path: of the file.
        into: parameters by name, which are given the values; the file must hold all of them.

    Returns:
        The arrays by name.

    Raises:
        FileError: the file is damaged, is none of these files, or lacks a parameter.
        ShapeError, DTypeError: a value does not fit its parameter; no parameter changes then.
        OSError: the file cannot be read.
    """
    content = Path(path).read_bytes()
    try:
        found = _read(content)
    except FileError:
        raise
    except Exception as error:  # whatever a damaged archive brings about
        raise FileError(f"{path}: the file is damaged: {type(error).__name__}: {error}") from None
    for name, target in (into or {}).items():
        if name not in found:
            raise FileError(f"{path}: there is no parameter {name!r}; there are {', '.join(found) or 'none'}")
        if found[name].shape != target.shape:
            raise ShapeError(
                f"{path}: {name!r} has shape {format_shape(found[name].shape)}, the parameter "
                f"{format_shape(target.shape)}"
            )
        if not np.can_cast(found[name].dtype, target.dtype, "same_kind"):
            raise DTypeError(f"{path}: {name!r} is {found[name].dtype}, the parameter {target.dtype}")
    for name, target in (into or {}).items():
        target.value = found[name]
    return found


def _read(content: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        if _MANIFEST not in names:
            raise FileError("this is no file of parameters: it has no manifest")
        manifest = json.loads(archive.read(_MANIFEST))
        if manifest.get("format") != _FORMAT:
            raise FileError(f"the file is of format {manifest.get('format')!r:.20}, this version reads {_FORMAT}")
        digests = manifest["sha256"]
        if sorted(digests) != sorted(n for n in names if n != _MANIFEST):
            raise FileError("the file is damaged: its parts are not those of its manifest")
        found = {}
        for name, digest in digests.items():
            part = archive.read(name)
            if hashlib.sha256(part).hexdigest() != digest:
                raise FileError(f"the file is damaged: {name} has another checksum")
            found[name.removesuffix(".npy")] = np.load(io.BytesIO(part), allow_pickle=False)
    return found

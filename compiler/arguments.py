"""Arguments: from what users pass to what kernels take.

`Signature.bind` brings them into the order of the placeholders, `convert` makes them numbers and arrays of the right
dtype, `argument_type` and `size_values` say what they show of types and sizes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from compiler.specialise import ArgumentType, axis_name
from symgraph import dims
from symgraph.dims import Size
from symgraph.errors import ArgumentError, InputError
from symgraph.expr import Expr
from symgraph.types import Opaque, format_shape

SUPPORTED = frozenset(np.dtype(c) for c in "?bhilqBHILQfd")
"""What kernels compute with."""

_NUMBERS = {float: np.dtype(np.float64), int: np.dtype(np.int64), bool: np.dtype(bool)}


class Signature:
    """The placeholders of a function, in the order in which its kernels take them.

    Args:
        inputs: the placeholders.
        positional: whether arguments may be given by position.
    """

    def __init__(self, inputs: Sequence[Expr], positional: bool) -> None:
        self.inputs, self.positional = tuple(inputs), positional
        self.names = tuple(n.name or "" for n in inputs)
        self._known = frozenset(self.names)

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def __str__(self) -> str:
        return "(" + ", ".join(f"{n.name}: {declared(n)}" for n in self.inputs) + ")"

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The arguments in the order of the placeholders.

        Raises:
            ArgumentError: one is missing, unknown, given twice, or may not be positional.
        """
        if len(args) + len(kwargs) == len(self.names) and (self.positional or not args):
            if not kwargs:
                return list(args)
            try:
                return [*args, *map(kwargs.__getitem__, self.names[len(args) :])]
            except KeyError:
                pass
        raise self._misfit(args, kwargs)

    def converted(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The arguments in the order of the placeholders, as kernels take them."""
        return list(map(convert, self.inputs, self.bind(args, kwargs)))

    def _misfit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ArgumentError:
        """What is wrong with arguments that do not fit."""
        if args and not self.positional:
            return ArgumentError(
                f"this function takes keywords: {self}; for positional arguments compile with "
                f"inputs=[{', '.join(self.names)}]"
            )
        if len(args) > len(self.names):
            return ArgumentError(f"{len(args)} positional arguments given, expected at most {len(self.names)}: {self}")
        given = self.names[: len(args)]
        for name in kwargs:
            if name in given:
                return ArgumentError(f"argument {name!r} is given twice, by position and by name")
            if name not in self._known:
                close = difflib.get_close_matches(name, self.names, 1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                return ArgumentError(f"there is no placeholder {name!r}{hint}\n  expected {self}")
        missing = [name for name in self.names if name not in given and name not in kwargs]
        return ArgumentError(
            f"missing argument{'s' * (len(missing) != 1)} {', '.join(map(repr, missing))}\n  expected {self}"
        )


def declared(node: Expr) -> str:
    """The declared type of a placeholder, as messages show it."""
    kind = node.type
    if kind.dtype is None and isinstance(kind.shape, Opaque):
        return "any"
    dtype = "any" if kind.dtype is None else kind.dtype.name
    return dtype if isinstance(kind.shape, Opaque) else f"{dtype}{format_shape(kind.shape)}"


def declared_at(node: Expr) -> str:
    """The line of a placeholder, as the end of a message."""
    return f"\n  declared at {node.origin}" if node.origin is not None else ""


# -- values ------------------------------------------------------------------------------------------------------------


def key_of(values: Iterable[Any]) -> tuple[Any, ...]:
    """What a prepared call is remembered by: dtype and shape of arrays, the types of numbers.

    A value that needs conversion never has the key of one that does not, so a call that is found needs none.
    """
    key: list[Any] = []
    for value in values:
        kind = type(value)
        if kind is float:
            key.append(kind)
        elif kind is np.ndarray:
            flags = value.flags
            fits = flags.carray or (flags.c_contiguous and flags.aligned)  # the first says "and writable", in one step
            key.append((value.dtype, value.shape) if fits else None)
        elif kind is int:
            key.append(kind if -(2**63) <= value < 2**63 else None)
        else:
            key.append(kind)
    return tuple(key)


def convert(node: Expr, value: Any) -> Any:
    """An argument as kernels take it: a Python or NumPy number, or an aligned native C-ordered array.

    Where the placeholder declares a dtype, the result has it: what NumPy calls a safe cast is done, and Python's own
    numbers (also in lists) go into any dtype that can hold them. An array that fits is passed on as it is.

    Raises:
        InputError: the value is not made of real numbers, or does not fit the declared dtype.
    """
    wanted = node.type.dtype
    if type(value) in _NUMBERS:
        return _number(node, value)
    array = _as_array(node, value)
    if wanted is not None and array.dtype != wanted:
        in_list = isinstance(value, list | tuple) and _holds_list(wanted, array)
        if not (in_list or np.can_cast(array.dtype, wanted, "safe")):
            raise InputError(
                f"argument {node.name!r} is {array.dtype}, expected {wanted}; convert it: "
                f"np.asarray({node.name}, {wanted.name!r}){declared_at(node)}"
            )
        array = array.astype(wanted)
    native = array.dtype.newbyteorder("=")
    if native not in SUPPORTED:
        raise InputError(
            f"argument {node.name!r} is {native}; kernels take bool, integers, float32 and float64; convert it: "
            f"np.asarray({node.name}, 'float64')"
        )
    if not array.ndim:
        return array[()]
    if not (array.flags.c_contiguous and array.flags.aligned and array.dtype == native):
        array = np.array(array, native, order="C")
    return array if type(array) is np.ndarray else array.view(np.ndarray)


def _number(node: Expr, value: float) -> Any:
    """A Python number; where the dtype is declared, one that the kernel can hold."""
    wanted = node.type.dtype
    kind = type(value).__name__
    if wanted is None:
        if kind == "int" and not -(2**63) <= value < 2**63:
            raise InputError(f"argument {node.name!r}: the integer {value} does not fit into 64 bits")
        return value
    try:
        if wanted.kind == "f":
            return float(value)
        if kind == "bool" or (kind == "int" and wanted.kind in "iu"):
            return wanted.type(value)
    except OverflowError:
        raise InputError(f"argument {node.name!r}: {value} does not fit into {wanted}{declared_at(node)}") from None
    raise InputError(f"argument {node.name!r} is the {kind} {value!r}, expected {wanted}{declared_at(node)}")


def _holds_list(dtype: np.dtype[Any], array: np.ndarray[Any, Any]) -> bool:
    """Whether a list of numbers may become `dtype`, as the numbers themselves may."""
    if dtype.kind == "f":
        return array.dtype.kind in "iuf"
    return dtype.kind in "iu" and array.dtype.kind in "iu" and bool(np.all(array.astype(dtype) == array))


def _as_array(node: Expr, value: Any) -> Any:
    """Whatever holds real numbers, as an array; of an array the array itself."""
    name = node.name
    if isinstance(value, Expr):
        raise InputError(f"argument {name!r} is the symbol {value!r}; a compiled function takes data")
    if getattr(value, "_mode", None) is not None:
        raise InputError(f"argument {name!r} is a {type(value).__name__}; pass its .data")
    if value is None or isinstance(value, str | bytes):
        raise InputError(f"argument {name!r} is {value!r:.80}; expected numbers")
    # NumPy imports its masked arrays when they are first asked for, so a plain array does not ask
    derived = isinstance(value, np.ndarray) and type(value) is not np.ndarray
    if derived and isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise InputError(f"argument {name!r} is a masked array with masked elements; fill them first: x.filled(...)")
    try:
        if not isinstance(value, np.ndarray) and not hasattr(value, "__array__") and hasattr(value, "__dlpack__"):
            array = np.from_dlpack(value)
        else:
            array = np.asarray(value)
    except Exception as error:  # whatever a foreign object's own conversion raises
        raise InputError(f"argument {name!r} cannot become an array: {error}") from error
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"argument {name!r} is {value!r:.80} ({type(value).__name__}), in NumPy {array.dtype}; "
            f"expected real numbers or bools"
        )
    return array


# -- types and sizes ---------------------------------------------------------------------------------------------------


def dtype_of(node: Expr, value: Any) -> np.dtype[Any]:
    """The dtype of a converted argument."""
    return node.type.dtype or _NUMBERS.get(type(value)) or value.dtype


def argument_type(node: Expr, value: Any) -> ArgumentType:
    """What a kernel is made for, of a converted argument.

    Raises:
        InputError: its rank or a size is not the declared one.
    """
    shape: tuple[int, ...] = np.shape(value)
    wanted: tuple[Size | None, ...] = (None,) * len(shape) if isinstance(node.type.shape, Opaque) else node.type.shape
    expected = f"expected {format_shape(node.type.shape)}"
    if len(shape) != len(wanted):
        raise InputError(
            f"argument {node.name!r} has shape {shape}: {len(shape)} dimension{'s' * (len(shape) != 1)}, "
            f"{expected}: {len(wanted)}{declared_at(node)}"
        )
    for axis, (size, fixed) in enumerate(zip(shape, wanted, strict=True)):
        if isinstance(fixed, int) and size != fixed:
            raise InputError(
                f"argument {node.name!r} has shape {shape}, {expected}: axis {axis} is {size}, not {fixed}"
                f"{declared_at(node)}"
            )
    sizes = tuple(s if s == 1 or isinstance(w, int) else None for s, w in zip(shape, wanted, strict=True))
    return ArgumentType(dtype_of(node, value), node.type.dtype is None and type(value) in (int, float), sizes)


SHORT, LONG = 32, 256
"""An axis up to the first length is short where another axis of some argument has the second."""


def argument_types(inputs: Sequence[Expr], values: Sequence[Any]) -> tuple[ArgumentType, ...]:
    """What a kernel is made for, of converted arguments; which axes are short decides which loops are vectors.

    Raises:
        InputError: the rank or a size of an argument is not the declared one.
    """
    kinds = tuple(argument_type(node, value) for node, value in zip(inputs, values, strict=True))
    shapes = [np.shape(value) for value in values]
    if not any(size >= LONG for shape in shapes if len(shape) > 1 for size in shape):
        return kinds
    short = [
        tuple(a for a, size in enumerate(shape) if 1 < size <= SHORT) if len(shape) > 1 else () for shape in shapes
    ]
    return tuple(kind._replace(short=axes) for kind, axes in zip(kinds, short, strict=True))


def size_values(inputs: Iterable[Expr], values: Mapping[str, Any]) -> dict[str, int]:
    """The sizes of a call, by name, read off the arguments.

    Raises:
        InputError: two axes of one name differ, or one differs from the size that others give it.
    """
    found: dict[str, tuple[int, str]] = {}
    computed: list[tuple[Expr, int, Size]] = []
    for node in inputs:
        shape = np.shape(values[node.name or ""])
        if isinstance(node.type.shape, Opaque):
            found.update((axis_name(node.name or "", a), (size, "")) for a, size in enumerate(shape))
            continue
        for axis, (size, wanted) in enumerate(zip(shape, node.type.shape, strict=True)):
            if isinstance(wanted, int):
                continue
            name = str(wanted)
            if {atom.name for atom in dims.atoms(wanted)} != {name}:
                computed.append((node, axis, wanted))
                continue
            known, where = found.setdefault(name, (size, f"axis {axis} of {node.name!r}"))
            if known != size:
                raise InputError(
                    f"size {name!r} is {known} in {where} but {size} in axis {axis} of {node.name!r} (shape {shape}); "
                    f"they must be equal{declared_at(node)}"
                )
    sizes = {name: size for name, (size, _) in found.items()}
    for node, axis, wanted in computed:
        unknown = sorted({atom.name for atom in dims.atoms(wanted)} - sizes.keys())
        if unknown:
            raise InputError(
                f"no argument tells the size {unknown[0]!r} in the declaration of {node.name!r}{declared_at(node)}"
            )
        size, expected = np.shape(values[node.name or ""])[axis], dims.evaluate(wanted, sizes)
        if size != expected:
            raise InputError(
                f"axis {axis} of {node.name!r} is {size}, expected {wanted} = {expected}{declared_at(node)}"
            )
    return sizes

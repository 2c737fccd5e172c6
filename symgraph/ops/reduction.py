"""Reductions over axes: one row each; `axis` is a tuple (None: all axes), `keepdims` leaves axes of size 1 behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from symgraph import dims
from symgraph.errors import DTypeError, ShapeError
from symgraph.op import NONE, GradRule, Op, fresh_opaque, register
from symgraph.ops import elementwise as ew
from symgraph.ops.array import ANY, broadcast_like, full_like, normalize_axis
from symgraph.types import ArrayType, Opaque, Shape, format_shape


class Reducer(NamedTuple):
    """How a loop reduces: the combining primitive, and the value it starts from ("first": none, the axis must not be
    empty)."""

    combine: str
    init: Any


def _reduced(name: str, types: Sequence[ArrayType], params: dict[str, Any], dtype: Any) -> ArrayType:
    (x,) = types
    if isinstance(x.shape, Opaque):
        if params["axis"] is None and not params["keepdims"]:
            return ArrayType(dtype, ())
        return ArrayType(dtype, fresh_opaque("reduced", x.shape, params["axis"], params["keepdims"]))
    axis = params["axis"]
    ndim = len(x.shape)
    axes = tuple(range(ndim)) if axis is None else tuple(sorted(normalize_axis(a, ndim, name) for a in axis))
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{name}: axis given twice in {axis}")
    params["axis"] = axes
    shape: Shape = tuple(1 if a in axes else s for a, s in enumerate(x.shape) if params["keepdims"] or a not in axes)
    return ArrayType(dtype, shape)


def _not_empty(name: str, x: ArrayType, params: dict[str, Any]) -> None:
    if not isinstance(x.shape, Opaque) and dims.product([x.shape[a] for a in params["axis"]]) == 0:
        raise ShapeError(f"{name}: the reduced axis of {format_shape(x.shape)} is empty and {name} has no identity")


def reduction(
    name: str,
    impl: Callable[..., Any],
    *,
    reducer: Reducer,
    grad: tuple[GradRule] | Literal["flat"],
    onnx: str,
    dtype: Callable[[np.dtype[Any]], np.dtype[Any]],
) -> Op:
    """A row for a reduction with an associative combining operation."""

    def infer(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
        found = types[0].dtype
        result = _reduced(name, types, params, None if found is None else dtype(found))
        if reducer.init == "first":
            _not_empty(name, types[0], params)
        return result

    return register(
        Op(
            name=name,
            kind="reduction",
            impl=lambda x, *, axis, keepdims: impl(x, axis=axis, keepdims=keepdims),
            grad=grad,
            infer=infer,
            lower=reducer,
            onnx=onnx,
            domain=ANY,
        )
    )


def _sum_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.add.reduce(np.empty(0, dtype)).dtype  # type: ignore[no-any-return]


def _same_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype


def _bool_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(bool)


def _spread(g: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    return broadcast_like(g, x, axis=axis, keepdims=keepdims)


def _prod_grad(g: Any, out: Any, x: Any, *, axis: Any, keepdims: bool) -> Any:
    """The product of the others, also where factors are zero.

    The factors that are zero are kept apart: with none among the others their product is 1, with one it is that factor
    itself, which its own derivative needs. (With two or more it is taken as flat, which is so up to second order.)
    """
    zero = ew.equal(x, 0)
    factor = ew.where(zero, 1.0, x)
    null = ew.where(zero, x, 0.0)

    def whole(total: Any) -> Any:
        return _spread(total, x, axis, keepdims)

    others = whole(prod(factor, axis=axis, keepdims=keepdims)) / factor
    zeros = whole(sum(zero, axis=axis, keepdims=keepdims)) - ew.cast(zero, dtype=np.int64)
    one = whole(sum(null, axis=axis, keepdims=keepdims)) - null
    return whole(g) * others * ew.where(ew.equal(zeros, 0), 1.0, ew.where(ew.equal(zeros, 1), one, 0.0))


def _extremum_grad(g: Any, out: Any, x: Any, *, axis: Any, keepdims: bool) -> Any:
    """Elements that tie for the extremum share the gradient equally."""
    hit = ew.equal(x, _spread(out, x, axis, keepdims))
    each = ew.where(hit, full_like(x, fill=1), 0.0)  # in the dtype of x, for a count of bools would widen float32
    share = g / sum(each, axis=axis, keepdims=keepdims)
    return ew.where(hit, _spread(share, x, axis, keepdims), 0.0)


sum: Op = reduction(  # noqa: A001  (NumPy's name)
    "sum",
    np.sum,
    reducer=Reducer("add", 0),
    onnx="ReduceSum",
    dtype=_sum_dtype,
    grad=(lambda g, out, x, *, axis, keepdims: _spread(g, x, axis, keepdims),),
)
prod: Op = reduction(
    "prod",
    np.prod,
    reducer=Reducer("mul", 1),
    onnx="ReduceProd",
    dtype=_sum_dtype,
    grad=(_prod_grad,),
)
max: Op = reduction(  # noqa: A001
    "max",
    np.max,
    reducer=Reducer("maximum", "first"),
    onnx="ReduceMax",
    dtype=_same_dtype,
    grad=(_extremum_grad,),
)
min: Op = reduction(  # noqa: A001
    "min",
    np.min,
    reducer=Reducer("minimum", "first"),
    onnx="ReduceMin",
    dtype=_same_dtype,
    grad=(_extremum_grad,),
)
any: Op = reduction("any", np.any, reducer=Reducer("or", False), onnx="", dtype=_bool_dtype, grad=NONE)  # noqa: A001
all: Op = reduction("all", np.all, reducer=Reducer("and", True), onnx="", dtype=_bool_dtype, grad=NONE)  # noqa: A001


def _position(name: str, impl: Callable[..., Any], combine: str) -> Op:
    """A row for the position of the first extremum; over all axes it counts elements in C order."""

    def infer(types: Sequence[ArrayType], params: dict[str, object]) -> ArrayType:
        axis = params["axis"]
        if axis is not None and len(axis) != 1 and len(axis) != types[0].ndim:  # type: ignore[arg-type]
            raise DTypeError(f"{name}: axis must be an int or None, got {axis}")
        result = _reduced(name, types, params, np.dtype(np.int64))
        _not_empty(name, types[0], params)
        return result

    def run(x: Any, *, axis: Any, keepdims: bool) -> Any:
        x = np.asarray(x)
        whole = axis is None or len(axis) == x.ndim != 1
        return impl(x, axis=None if whole or not x.ndim else axis[0], keepdims=keepdims)

    return register(
        Op(
            name=name,
            kind="reduction",
            impl=run,
            grad=NONE,
            infer=infer,
            lower=Reducer(combine, "position"),
            onnx="ArgMax" if combine == "maximum" else "ArgMin",
            domain=ANY,
        )
    )


argmax: Op = _position("argmax", np.argmax, "maximum")
argmin: Op = _position("argmin", np.argmin, "minimum")

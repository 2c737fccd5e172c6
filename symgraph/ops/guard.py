"""Checks that wait until types are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.errors import ShapeError
from symgraph.op import Op, register
from symgraph.ops import array as ar
from symgraph.types import ArrayType


def _checked(x: Any, rank: int, low: int, high: int, what: str) -> Any:
    if not low <= rank <= high:
        raise ShapeError(
            f"{what}: where the shape is not declared, {low} to {high} dimensions are meant, and {rank} came; "
            f"declare the shape of the placeholder"
        )
    return x


def _infer(types: Sequence[ArrayType], params: dict[str, Any]) -> ArrayType:
    return types[0]


def _expand(x: Any, *, low: int, high: int, what: str) -> Any:
    rank = ar.rank(x)
    return None if rank is None else _checked(x, rank, low, high, what)


of_rank: Op = register(
    Op(
        name="of_rank",
        kind="gather",
        impl=lambda x, **params: _checked(x, np.ndim(x), **params),
        infer=_infer,
        grad=(lambda g, out, x, *, low, high, what: g,),
        lower="of_rank",
        onnx="",
        domain=ar.ANY,
        expand=_expand,
    )
)
"""x itself, of which `what` needs between `low` and `high` dimensions."""

"""nan and inf: whether an operation made them, and what to say of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from symgraph.errors import NumericError, located
from symgraph.origin import Origin


def fault(value: Any, operands: Iterable[Any]) -> str | None:
    """What is wrong with a result: nan where no operand has one, or inf where all operands are finite.

    Returns:
        str | None: in words, with the place of the first such element; None where nothing is wrong.

    >>> import numpy as np
    >>> fault(np.array([0.0, np.inf]), [np.array([1.0, 0.0])])
    'inf at [1], 1 of 2 elements'
    >>> fault(np.nan, [np.nan]) is None
    True
    """
    result = np.asarray(value)
    if result.dtype.kind not in "fc" or np.isfinite(result).all():
        return None
    bad, word = np.isnan(result), "nan"
    given = [x for x in map(np.asarray, operands) if x.dtype.kind in "fc"]
    if not bad.any():
        bad, word = ~np.isfinite(result), "inf"
        if not all(np.isfinite(x).all() for x in given):
            return None
    elif any(np.isnan(x).any() for x in given):
        return None
    if not result.ndim:
        return word
    first = ", ".join(str(k) for k in np.argwhere(bad)[0])
    return f"{word} at [{first}], {np.count_nonzero(bad):,} of {result.size:,} elements"


def summary(value: Any) -> str:
    """dtype, shape and range of a value.

    >>> import numpy as np
    >>> summary(np.array([1.0, np.nan, 3.0]))
    'float64(3,), 1 to 3, 1 nan'
    """
    if isinstance(value, tuple | list):  # of a loop, or of branches with several results
        return f"{len(value)} values"
    array = np.asarray(value)
    kind = f"{array.dtype}{array.shape}"
    if not array.ndim:
        return f"{kind}, {array.item():.6g}" if array.dtype.kind in "iuf" else f"{kind}, {array.item()}"
    if not array.size or array.dtype.kind not in "iuf":
        return kind
    lost = np.count_nonzero(np.isnan(array)) if array.dtype.kind == "f" else 0
    known = array[~np.isnan(array)] if lost else array
    span = f", {known.min():.6g} to {known.max():.6g}" if known.size else ""
    return f"{kind}{span}" + (f", {lost:,} nan" if lost else "")


def error(
    what: str, found: str, places: Iterable[Origin], names: Sequence[str], operands: Sequence[Any]
) -> NumericError:
    """The error of an operation that gave nan or inf."""
    texts = [(name, summary(value)) for name, value in zip(names, operands, strict=True)]
    return located(NumericError(f"{what} gave {found}"), places, texts)

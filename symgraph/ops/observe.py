"""Values that are looked at: identities with a label, whose values compiled functions hand to whoever wants them."""

from __future__ import annotations

from symgraph.op import Op, register
from symgraph.ops.array import ANY


def _row(name: str, symbol: str) -> Op:
    """The identity, with a label."""
    return register(
        Op(
            name=name,
            kind="elementwise",
            onnx="Identity",
            domain=ANY,
            impl=lambda x, *, label: x,
            grad=(lambda g, out, x, *, label: g,),
            infer=lambda types, params: types[0],
            lower=lambda m, x, *, label: x,
            symbol=symbol,
        )
    )


named: Op = _row("named", "{label}")
printed: Op = _row("printed", "{}")
stopped_at: Op = _row("stopped_at", "{}")
OBSERVED = (printed, stopped_at)
"""Rows that show their values after a call."""

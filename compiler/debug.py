"""A compiled formula replayed node by node in the reference interpreter: `Function.debug` and ``config.check_nan``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.dispatch import BOTH, GRAD, VALUE, Kernels, Way
from compiler.interpret import interpret
from symgraph import numeric
from symgraph.eager import as_variable
from symgraph.errors import ArgumentError, SymgraphError
from symgraph.expr import Expr, format_expr, toposort
from symgraph.observe import open_debugger
from symgraph.ops import array as ar
from symgraph.ops.observe import named
from symgraph.origin import described
from symgraph.state import plain_name
from symgraph.types import TupleType

if TYPE_CHECKING:
    from compiler.function import Function

TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
"""How far results may be apart, relative to the largest of them: sums are added in another order, and products are
fused with sums."""


SHOWN = 100
"""Nodes of a replay that its text tells of, the last ones."""


@dataclass(frozen=True, eq=False)
class Record:
    """One node of a replay.

    Attributes:
        node: the symbol.
        value: what the interpreter computed.
        operands: the values of its arguments.
        fault: what is wrong with it, None where nothing is.
    """

    node: Expr
    value: Any
    operands: tuple[Any, ...] = ()
    fault: str | None = None

    @property
    def where(self) -> str:
        """Where it was written."""
        return described(self.node.origins)

    def __str__(self) -> str:
        text = f"{format_expr(self.node, 120)}: {numeric.summary(self.value)}"
        return f"{text}   ({self.where})" if self.node.marks else text


@dataclass(eq=False)
class Replay:
    """What :meth:`compiler.function.Function.debug` found.

    Attributes:
        records: every node that was computed, in the order of computation, up to the first with a fault; of a node
            inside a loop the last round.
        stopped: the record with the fault; None where there is none.
    """

    records: list[Record] = field(default_factory=list)

    @property
    def stopped(self) -> Record | None:
        """The first node with a fault."""
        return self.records[-1] if self.records and self.records[-1].fault is not None else None

    def __bool__(self) -> bool:
        """Whether all is well."""
        return self.stopped is None

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __getitem__(self, what: Expr | str) -> Any:
        """The value of a symbol, or of what a placeholder or ``sg.named`` calls so.

        Raises:
            KeyError: it was not computed.
        """
        for record in reversed(self.records):
            if record.node is what or (isinstance(what, str) and name_of(record.node) == what):
                return record.value
        raise KeyError(what)

    def __str__(self) -> str:
        shown = [record for record in self.records if record.node.args or record.node.op is ar.placeholder]
        lines = [str(record) for record in shown[-SHOWN:]]
        if len(shown) > SHOWN:
            lines.insert(0, f"... {len(shown) - SHOWN:,} nodes before")
        stopped = self.stopped
        if stopped is None:
            return "\n".join([*lines, f"all is well: {len(shown):,} nodes, and the kernel agrees"])
        lines[-1] = f"{format_expr(stopped.node, 120)}: {stopped.fault}   ({stopped.where})"
        if stopped.node.marks and stopped.node.origins[0].text:
            lines.append(f"  at {stopped.node.origins[0].file}:{stopped.node.origins[0].line}: "
                         f"{stopped.node.origins[0].text}")  # fmt: skip
        for arg, value in zip(stopped.node.args, stopped.operands, strict=True):
            lines.append(f"  {format_expr(arg, 60)} is {numeric.summary(value)}")
        return "\n".join(lines)

    __repr__ = __str__


def name_of(node: Expr) -> str | None:
    """What a placeholder or ``sg.named`` calls a node."""
    return node.params["label"] if node.op is named else plain_name(node) or None


class _FaultError(Exception):
    """The replay has found a fault."""


def replay(outputs: Sequence[Expr], inputs: Sequence[Expr], values: Sequence[Any], *, arguments: bool = True) -> Replay:
    """Run outputs node by node, up to the first that gives nan, or inf of finite numbers.

    Of a choice only the branch taken is run; nodes inside loops are checked in every round.

    Args:
        outputs, inputs: expressions, and their placeholders.
        values: converted arguments, in the order of `inputs`.
        arguments: whether nan in an argument is a fault.

    Raises:
        SymgraphError, ValueError, TypeError, IndexError: what an operation raises, with its line.
    """
    made: dict[Expr, Record] = {}

    def tap(node: Expr, value: Any, operands: Sequence[Any]) -> None:
        fault = None
        if node.op is ar.placeholder:
            if arguments and np.asarray(value).dtype.kind == "f" and np.isnan(value).any():
                fault = f"the argument holds {numeric.fault(value, ())}"
        elif node.args and node.op.kind not in ("control", "part"):  # those only hand on what is computed inside
            fault = numeric.fault(value, operands)
        made.pop(node, None)
        made[node] = Record(node, value, tuple(operands), fault)
        if fault is not None:
            raise _FaultError

    with suppress(_FaultError):
        interpret(outputs, dict(zip((n.name or "" for n in inputs), values, strict=True)), tap, inputs)
    return Replay(list(made.values()))


def check_numbers(kernels: Kernels, values: Sequence[Any]) -> None:
    """Raise NumericError at the first operation that gives nan, or inf of finite numbers."""
    stopped = replay(kernels.outputs, kernels.inputs, values, arguments=False).stopped
    if stopped is not None:
        node = stopped.node
        names = [format_expr(a, 60) for a in node.args]
        raise numeric.error(node.op.name, stopped.fault or "", node.origins, names, stopped.operands)


def options(function: Function, kwargs: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """Options among keywords, taken out of them; a placeholder of that name goes before an option."""
    return {
        name: default if name in function.signature else kwargs.pop(name, default) for name, default in defaults.items()
    }


def prepared(function: Function, what: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Kernels, list[Any]]:
    """What is computed for a call, as expressions, and its converted arguments.

    Raises:
        ArgumentError, SymgraphError: as the call itself would.
    """
    if what not in (VALUE, GRAD, BOTH):
        raise ArgumentError(f"what must be 'value', 'grad' or 'value_and_grad', got {what!r:.80}")
    values = function.signature.converted(args, kwargs)
    return function.dispatch.expressions(Way(what, False), values), values


def debug(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Replay:
    """See :meth:`compiler.function.Function.debug`."""
    chosen = options(function, kwargs, what=VALUE, tolerance=None, pdb=False)
    kernels, values = prepared(function, chosen["what"], args, kwargs)
    kernels.find(values)  # what does not go together is told of as by the call
    found = replay(kernels.outputs, kernels.inputs, values)
    if found:
        _compare(function, kernels, values, found, chosen["tolerance"])
    if chosen["pdb"] and found.stopped is not None:
        _open(found.stopped, dict(zip(map(plain_name, function.inputs), values, strict=True)))
    return found


def apart(got: Any, wanted: Any, tolerance: float | None) -> str | None:
    """In words how two results differ by more than a tolerance, relative to the largest element; None: they do not."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    if got.shape != wanted.shape:
        return f"{got.dtype}{got.shape} instead of {wanted.dtype}{wanted.shape}"
    if wanted.dtype.kind != "f":
        wrong = np.asarray(got != wanted, np.float64)
        bound = 0.0
    else:
        kind = got.dtype if got.dtype.kind == "f" else wanted.dtype
        bound = TOLERANCE.get(kind.name, 1e-9) if tolerance is None else tolerance
        finite = wanted[np.isfinite(wanted)]
        scale = float(np.abs(finite).max()) if finite.size else 1.0
        with np.errstate(all="ignore"):
            same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
            wrong = np.where(same, 0.0, np.abs(np.subtract(got, wanted, dtype=np.float64)) / (scale or 1.0))
        wrong = np.where(np.isnan(wrong), np.inf, wrong)
    if not wrong.size or wrong.max() <= bound:
        return None
    worst = np.unravel_index(np.argmax(wrong), wrong.shape)
    place = f" at [{', '.join(map(str, worst))}]" if worst else ""
    return f"{got[worst]!r} instead of {wanted[worst]!r}{place}"


def _compare(
    function: Function, kernels: Kernels, values: Sequence[Any], found: Replay, tolerance: float | None
) -> None:
    """Compare the kernel's results with the replayed ones; where they differ, stop at the first node that does."""
    results = {record.node: record.value for record in found}
    differing = [
        (node, text)
        for node, got in zip(kernels.results, kernels.run(values), strict=True)
        if (text := apart(got, results[node], tolerance)) is not None
    ]
    if not differing:
        return
    # A kernel that returns every value is another kernel, so where all its values agree, the output itself is named.
    node, text = _first_apart(function, kernels, values, results, tolerance) or differing[0]
    place = next(k for k, record in enumerate(found.records) if record.node is node)
    record = found.records[place]
    del found.records[place:]
    found.records.append(Record(node, record.value, record.operands, f"the kernel gives {text}"))


def _first_apart(
    function: Function,
    kernels: Kernels,
    values: Sequence[Any],
    results: dict[Expr, Any],
    tolerance: float | None,
) -> tuple[Expr, str] | None:
    nodes = [n for n in toposort(kernels.outputs) if n.args and n in results and not isinstance(n.type, TupleType)]
    whole = type(function)(nodes, list(kernels.inputs), **function.options)
    try:
        answer = whole(*values)
    except SymgraphError:  # some value is of a dtype that kernels lack
        return None
    for node, got in zip(nodes, answer, strict=True):
        text = apart(got, results[node], tolerance)
        if text is not None:
            return node, text
    return None


def _open(record: Record, arguments: dict[str, Any]) -> None:
    """Open pdb at the line of a node. The arguments are there by their names, as Variables, so that expressions run at
    once; `operands` and `value` are those of the node."""
    names: dict[str, Any] = {name: as_variable(value) for name, value in arguments.items()}
    names |= {"operands": [as_variable(v) for v in record.operands], "value": record.value}
    open_debugger(record.node.origin, names, f"{format_expr(record.node, 60)}: {record.fault}")

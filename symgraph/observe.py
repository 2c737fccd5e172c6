"""Looking at values inside a formula: names, prints and breakpoints, in both modes."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from symgraph import origin
from symgraph.contexts import branches_of
from symgraph.eager import Variable, as_variable
from symgraph.errors import SymbolError, located
from symgraph.expr import Expr, bodies_of, format_expr, intern, toposort
from symgraph.ops import observe as rows
from symgraph.origin import Origin, described
from symgraph.value import Value

T = TypeVar("T")


def _label(what: str, label: Any, needed: bool) -> str | None:
    if (isinstance(label, str) and label) or (label is None and not needed):
        return label
    raise TypeError(f"{what}: the name must be text such as 'h', got {label!r:.80}")


def named(x: T, name: str) -> T:
    """The value itself, under a name by which ``f.tap(name)`` and ``f.debug(...)[name]`` find it.

    Args:
        x: a symbol; a Variable is given the name, an array is left as it is.
        name: any text.

    Raises:
        TypeError: the name is no text, or empty.

    >>> import symgraph as sg
    >>> x = sg.placeholder("x")
    >>> h = sg.named(x * 2, "h")
    >>> sg.compile(h + 1).tap("h")(x=3.0)
    np.float64(6.0)
    """
    _label("named", name, True)
    if isinstance(x, Variable):
        x.name = name
        return x
    return rows.named(x, label=name) if isinstance(x, Value) else x


def print(x: T, label: str | None = None) -> T:  # noqa: A001  (the language's name for it)
    """The value itself, which is printed with its line: at once in the define-by-run mode, after each call of a
    compiled function that computes it, in the order of the formula.

    In a formula the result must be used, as in ``h = sg.print(h, "h")``: what nothing depends on is not computed.
    Loops and branches show nothing of what is inside them: to compile such a formula is refused.
    Functions made by ``njit`` print nothing.

    Args:
        x: a symbol, a Variable, an array or a number.
        label: what stands before the value; by default its formula or name.

    Raises:
        TypeError: the label is no text.

    >>> import numpy as np, symgraph as sg
    >>> h = sg.print(sg.Variable(np.array([1.0, 2.0])), "h")
    <doctest ...>:1: h = [1. 2.]
    """
    _label("print", label, False)
    if isinstance(x, Value) and not isinstance(x, Variable):
        return rows.printed(x, label=label)  # type: ignore[no-any-return]
    name = label or getattr(x, "name", None) or "value"
    show(name, getattr(x, "data", x) if isinstance(x, Variable) else x, _here())
    return x


def breakpoint(x: T, label: str | None = None) -> T:  # noqa: A001
    """The value itself, at which pdb opens on this line: at once in the define-by-run mode, after each call of a
    compiled function that computes it, with the value as `value`.

    In a formula the result must be used, as in ``h = sg.breakpoint(h)``.

    Args:
        x: a symbol, a Variable, an array or a number.
        label: what the debugger calls it.

    Raises:
        TypeError: the label is no text.
    """
    _label("breakpoint", label, False)
    if isinstance(x, Value) and not isinstance(x, Variable):
        return rows.stopped_at(x, label=label)  # type: ignore[no-any-return]
    import pdb  # takes longer to import than symgraph itself

    pdb.Pdb().set_trace(sys._getframe(1))
    return x


def _here() -> tuple[Origin, ...]:
    return tuple(map(origin.resolve, origin.marks(2)))


def show(name: str, value: Any, places: Sequence[Origin]) -> None:
    """Print a value with its line."""
    where = f"{described(places)}: " if places else ""
    start = f"{where}{name} = "
    text = str(np.asarray(value)) if isinstance(value, np.ndarray) else str(value)
    builtins.print(start + text.replace("\n", "\n" + " " * len(start)), flush=True)


def observed(outputs: Sequence[Expr], order: Sequence[Expr]) -> list[Expr]:
    """The nodes whose values are to be shown, in the order of the formula, which is the toposort of the outputs.

    Raises:
        SymbolError: one of them is inside a loop or a branch, which hand out nothing but what they return.
    """
    found = [node for node in order if node.op in rows.OBSERVED]
    branches = branches_of(order, outputs, elementwise=False) if found else {}
    inside = [node for node in found if branches.get(node) is not None]
    for hidden in (*inside, *_inside_loops(order)):
        what = "print" if hidden.op is rows.printed else "breakpoint"
        raise located(
            SymbolError(
                f"sg.{what} is inside a loop or a branch, where nothing is shown: return the value, and show what the "
                f"loop or the choice gives; or see debug(...) of the compiled function"
            ),
            hidden.origins,
        )
    return found


def _inside_loops(order: Sequence[Expr]) -> Iterator[Expr]:
    for node in order:
        if node.op.kind != "control":
            continue
        for body in bodies_of(node):
            inner = toposort(body.outputs)
            yield from (n for n in inner if n.op in rows.OBSERVED)
            yield from _inside_loops(inner)


def silenced(outputs: Sequence[Expr]) -> list[Expr]:
    """The outputs without what shows values."""
    made: dict[Expr, Expr] = {}
    with origin.derived_from() as derived:
        for node in toposort(outputs):
            derived.follow(node.marks)
            args = tuple([made[a] for a in node.args])
            if node.op in rows.OBSERVED:
                made[node] = args[0]
            else:
                made[node] = node if args == node.args else intern(node.op, args, node.parts, node.type)
    return [made[o] for o in outputs]


def show_observed(nodes: Sequence[Expr], values: Sequence[Any]) -> None:
    """Print the values of a call, or open pdb at them."""
    for node, value in zip(nodes, values, strict=True):
        label = node.params["label"] or format_expr(node.args[0], 80)
        if node.op is rows.printed:
            show(label, value, node.origins)
        else:
            open_debugger(node.origin, {"value": as_variable(value)}, label)


def open_debugger(place: Origin | None, names: Mapping[str, Any], what: str) -> None:
    """Open pdb at a place of the user's source, in a frame with the given names.

    The frame is made for it: only its file and its line are the user's, so that pdb shows them.
    """
    import pdb

    file, line = ("<formula>", 1) if place is None else (place.file, place.line)
    code = compile("raise stopped", file, "exec").replace(co_firstlineno=min(line, 2**31 - 1))
    try:
        exec(code, {**names, "stopped": _StoppedError(what)})
    except _StoppedError as stopped:
        assert stopped.__traceback__ is not None
        pdb.post_mortem(stopped.__traceback__.tb_next)


class _StoppedError(Exception):
    """What the debugger shows: the value it stopped at."""

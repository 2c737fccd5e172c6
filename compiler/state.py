"""Compiled functions with parameters: the value of each goes in without being passed, and updates replace it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from compiler.dispatch import VALUE
from compiler.function import Function
from symgraph import control as cl
from symgraph.errors import ArgumentError
from symgraph.expr import Expr, as_expr, from_table, placeholder, placeholders, rebuild, to_table
from symgraph.ops import array as ar, control as ct
from symgraph.state import MARK, Parameter, any_parameters, parameter, parameter_of
from symgraph.tree import LEAF, flatten, unflatten

STEPS = placeholder("steps", (), np.int64)

_LOOKS = {
    "debug": ("what", "tolerance", "pdb"),
    "check_grad": ("order", "tolerance", "seed"),
    "bisect": ("what", "tolerance"),
    "profile": ("what", "repeat"),
}
"""The methods of a function that look at a call, and their options."""


def parameters_in(outputs: Any, updates: Mapping[Any, Any] | None) -> list[Parameter]:
    """The parameters that expressions use, and those that are updated."""
    given = (*flatten(outputs)[0], *(updates or {}).values())
    values = [as_expr(v) for v in given if isinstance(getattr(v, "expr", v), Expr | np.ndarray)]
    found = [parameter_of(node) for node in (placeholders(values) if any_parameters() else ())]
    return list(dict.fromkeys([*(p for p in found if p is not None), *(updates or {})]))


class Stateful:
    """A compiled function that knows the values of its parameters, and may update them.

    Built by :func:`symgraph.compile` where a formula holds parameters, or `updates` are given. It is called as a
    :class:`compiler.Function` is, with the placeholders alone. With updates, one call computes the outputs from the
    values before, then replaces them all; where it raises an error, they stay. ``steps=n`` runs n rounds inside the
    kernel and returns the outputs of the last.

    >>> import symgraph as sg
    >>> w, x = sg.parameter("w", 1.0), sg.placeholder("x")
    >>> step = sg.compile(w * x, updates={w: w * 2})
    >>> step(x=3.0), step(x=3.0), step(x=3.0, steps=3)
    (np.float64(3.0), np.float64(6.0), np.float64(48.0))
    >>> w.value
    np.float64(32.0)
    """

    def __init__(
        self,
        outputs: Any,
        inputs: Sequence[Expr] | None,
        wrt: Any,
        updates: Mapping[Parameter, Any] | None,
        parameters: Sequence[Parameter],
        **options: Any,
    ) -> None:
        self.parameters, self.updates = tuple(parameters), _checked(updates or {})
        names = [p.name for p in parameters]
        if len(set(names)) != len(names):
            raise ArgumentError(f"compile: two parameters are named {next(n for n in names if names.count(n) > 1)!r}")
        flat, self.structure = flatten(outputs)
        self._values = [as_expr(o) for o in flat]
        self._next = [_fitted(p, as_expr(v)) for p, v in self.updates.items()]
        symbols = {p.expr for p in parameters}
        given = [n for n in placeholders([*self._values, *self._next]) if n not in symbols]
        clash = {n.name for n in (*given, *(inputs or ()))} & {*names, *(["steps"] if self.updates else [])}
        if clash:
            raise ArgumentError(
                f"compile: {min(map(str, clash))!r} is the name of a parameter, or of the number of steps"
            )
        self.inputs = tuple(given if inputs is None else inputs)
        self.positional = inputs is not None
        self._symbols = tuple(p.expr for p in parameters)
        self._options = options
        self._names = [n.name or "" for n in self.inputs]
        self._cells = [p._cell for p in parameters]
        wanted = None if wrt is None else [_symbol(w) for w in (wrt if isinstance(wrt, list | tuple) else [wrt])]
        self._wrt = wanted
        everything = [*self.inputs, *self._symbols]
        self.function = Function(unflatten(self.structure, iter(self._values)), everything, wanted, **options)
        self._whole = Function([*self._values, *self._next], everything, **options) if self.updates else self.function
        self._many: Function | None = None
        self._locks = [p.lock for p in sorted(self.updates, key=lambda p: str(p.expr.name))]
        self.__name__ = "compiled"

    # calling

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """The outputs; with updates, of the values before they are updated.

        Raises:
            ArgumentError, InputError, ShapeError, OutOfBoundsError: as for other compiled functions; the parameters
                stay as they are then.
        """
        if not self.updates:
            return self.function(*self._arguments(args, kwargs))
        steps = kwargs.pop("steps", None)
        for lock in self._locks:  # in one order for all functions
            lock.acquire()
        try:
            given = self._arguments(args, kwargs)
            if steps is None:
                results = self._whole(*given)
            else:
                if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
                    raise ArgumentError(f"steps must be a positive integer, got {steps!r:.40}")
                results = self._loop()(*given, int(steps))
            count = len(self._values)
            for p, value in zip(self.updates, results[count:], strict=True):
                p.replace(value)
        finally:
            for lock in reversed(self._locks):
                lock.release()
        values = results[:count]
        return values[0] if self.structure is LEAF else unflatten(self.structure, iter(values))

    def value_and_grad(self, /, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """The value, and the gradients by name, of parameters as of placeholders; nothing is updated."""
        value, grads = self.function.value_and_grad(*self._arguments(args, kwargs))
        return value, self._named(grads)

    def grad(self, /, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The gradients alone, by name; nothing is updated."""
        return self._named(self.function.grad(*self._arguments(args, kwargs)))

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        names = self._names
        if len(kwargs) == len(names) and not args and all(name in kwargs for name in names):
            return [*[kwargs[name] for name in names], *[cell.array for cell in self._cells]]
        if args and not self.positional:
            raise ArgumentError(f"this function takes keywords: {', '.join(names)}; see inputs= of sg.compile")
        given = dict(zip(names, args, strict=False))
        if len(args) > len(names) or given.keys() & kwargs.keys() or {*given, *kwargs} != {*names}:
            self.function.signature.bind(args, {**kwargs, **{s.name or "": 0 for s in self._symbols}})
            raise ArgumentError(f"this function takes {', '.join(names) or 'no arguments'}")
        given.update(kwargs)
        return [*(given[name] for name in names), *(p.value for p in self.parameters)]

    def _named(self, grads: dict[str, Any]) -> dict[str, Any]:
        return {name.partition(MARK)[0]: g for name, g in grads.items()}

    def _loop(self) -> Function:
        """The function of several steps: the parameters, and the outputs of a step, are the state of a loop."""
        if self._many is None:
            changed = [p.expr for p in self.updates]

            def body(i: Any, states: list[Expr], _: Any) -> tuple[list[Expr], list[Expr]]:
                here = dict(zip(changed, states, strict=False))
                return rebuild([*self._next, *self._values], here), []

            nothing = [ar.full_like(o, fill=0) for o in self._values]
            items = cl.loop(
                trips=ct.GIVEN, count=STEPS, cond=None, body=body, init=[*changed, *nothing], xs=(), length=None
            )
            values = [*items[len(changed) : -1], *items[: len(changed)]]
            self._many = Function(values, [*self.inputs, *self._symbols, STEPS], **self._options)
        return self._many

    # looking inside

    def tap(self, *names: str) -> Stateful:
        """A function of the same arguments that gives what ``sg.named`` named in the formula; it updates nothing.

        Raises:
            KeyError: nothing in the formula has that name.
        """
        found = self._whole.tap(*names)
        values = unflatten(found.structure, iter(found.outputs))
        tapped = Stateful(values, self.inputs, None, None, self.parameters, **self._options)
        tapped.positional = self.positional
        return tapped

    def _looked_at(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        """A method of :class:`compiler.Function` that looks at a call: the parameters have their values, and keep them.
        Of values, those of a step are looked at; of gradients, those of the outputs."""
        names = {n.name for n in self.inputs}
        chosen = {name: kwargs.pop(name) for name in _LOOKS[method] if name in kwargs and name not in names}
        values_alone = method != "check_grad" and chosen.get("what", VALUE) == VALUE
        function = self._whole if values_alone else self.function
        return getattr(function, method)(*self._arguments(args, kwargs), **chosen)

    def functions(self) -> Iterator[Function]:
        """The functions behind it: of the outputs, of a step, and of several steps."""
        yield from dict.fromkeys(f for f in (self.function, self._whole, self._many) if f is not None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "function" not in self.__dict__:
            raise AttributeError(name)
        if name in _LOOKS:
            return partial(self._looked_at, name)
        return getattr(self._whole, name)

    def __copy__(self) -> Stateful:
        return self

    def __deepcopy__(self, memo: Any) -> Stateful:
        return self

    def __reduce__(self) -> Any:
        # What comes out of it has parameters of its own, with the values of now.
        nodes = [*self._values, *self._next, *self.inputs, *self._symbols]
        counts = len(self._values), len(self._next), len(self.inputs)
        held = [(p.name, p.value) for p in self.parameters]
        updated = [self.parameters.index(p) for p in self.updates]
        wrt = None if self._wrt is None else [getattr(w, "name", w) for w in self._wrt]
        given = to_table(nodes), counts, held, updated, self.structure, self.positional, wrt, self._options
        return _restore, given

    def __str__(self) -> str:
        return str(self._whole)

    def __repr__(self) -> str:
        changed = f", updates {', '.join(p.name for p in self.updates)}" if self.updates else ""
        return f"<{self.function!r} with {', '.join(p.name for p in self.parameters)}{changed}>"


def _restore(
    table: Any,
    counts: tuple[int, int, int],
    held: Sequence[tuple[str, Any]],
    updated: Sequence[int],
    structure: Any,
    positional: bool,
    wrt: Sequence[str] | None,
    options: Mapping[str, Any],
) -> Stateful:
    nodes = from_table(table)
    values, following, inputs = counts
    parameters = [parameter(name, value) for name, value in held]
    symbols = dict(zip(nodes[values + following + inputs :], [p.expr for p in parameters], strict=True))
    made = rebuild(nodes[: values + following], symbols)
    updates = {parameters[k]: value for k, value in zip(updated, made[values:], strict=True)}
    given = nodes[values + following : values + following + inputs]
    names = {n.name: n for n in given} | {old.name: new for old, new in symbols.items()}
    wanted = None if wrt is None else [names[name] for name in wrt]
    outputs = unflatten(structure, iter(made[:values]))
    return Stateful(outputs, given if positional else None, wanted, updates, parameters, **options)


def _checked(updates: Mapping[Any, Any]) -> dict[Parameter, Any]:
    for p in updates:
        if not isinstance(p, Parameter):
            raise ArgumentError(f"compile: updates are given for parameters, got {p!r:.80}")
    return dict(updates)


def _symbol(wanted: Any) -> Any:
    return wanted.expr if isinstance(wanted, Parameter) else wanted


def _fitted(p: Parameter, value: Expr) -> Expr:
    """The next value in the type of the parameter."""
    kind = p.expr.type
    if value.type is kind:
        return value
    found = ct.common_type((kind, value.type)) if value.type.known else kind
    if found is None or found.shape != kind.shape:
        raise ArgumentError(f"compile: the update of {p.name!r} is {value.type}, the parameter {kind}")
    return as_expr(ct.fit(value, kind)) if value.type.known else as_expr(_cast(value, kind))


def _cast(value: Expr, kind: Any) -> Any:
    from symgraph.ops import elementwise as ew

    return ew.cast(value, dtype=kind.dtype.str)

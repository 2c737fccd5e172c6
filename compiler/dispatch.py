"""From a call to the plan that answers it: conversion, types, gradients, and the kernels for them.

What has been prepared once is answered by the runtime without any of this.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from compiler import runtime
from compiler.arguments import Signature, argument_types, convert, dtype_of, key_of, size_values
from compiler.gradients import COTANGENT, Gradients, gradients_of
from compiler.runtime.plan import Bound, Call, argument, readable
from compiler.specialise import ArgumentType, requirement_error
from compiler.variant import Variant, compile_variant
from symgraph.config import check_nan, checking, on_checking
from symgraph.errors import GradientError, SymgraphError
from symgraph.expr import Expr
from symgraph.observe import show_observed
from symgraph.tree import LEAF, unflatten

_REMEMBERED = 4096
"""Calls of different types and shapes that are remembered, per function and way of calling it."""

_AT_HAND = 16
"""Plans that the native call tries, most recent first, before it asks for another."""

_lock = threading.RLock()
"""Held while something is compiled; threads that call what is compiled already never wait for it."""

if hasattr(os, "register_at_fork"):  # a process forked while another thread compiles gets no lock that is held forever
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class Kernels:
    """The kernels for one set of values, of their gradients, or of both.

    Attributes:
        values: what is computed beside gradients.
        gradients: what is differentiated, or None.
        inputs: the placeholders.
        options: how to compile; and whether the values are wanted.
    """

    def __init__(
        self,
        values: Sequence[Expr],
        gradients: Gradients | None,
        inputs: Sequence[Expr],
        options: Mapping[str, Any],
    ) -> None:
        self.values, self.gradients, self.inputs, self.options = tuple(values), gradients, tuple(inputs), options
        self.variants: dict[tuple[ArgumentType, ...], Variant] = {}

    @property
    def targets(self) -> tuple[Expr, ...]:
        """The placeholders that gradients are taken for."""
        return () if self.gradients is None else self.gradients.targets

    @cached_property
    def outputs(self) -> tuple[Expr, ...]:
        """The values and the gradients as expressions, before types are known. Kernels do without."""
        return self.values if self.gradients is None else (*self.values, *self.gradients.expressions())

    def bind(self, values: Sequence[Any]) -> Bound:
        """Check converted arguments, and bind the kernel for their types and shapes to their sizes."""
        variant, sizes = self.find(values)
        return variant.bind(sizes)

    @property
    def results(self) -> tuple[Expr, ...]:
        """The outputs that a call computes."""
        return self.outputs if self.options["values"] else self.outputs[len(self.values) :]

    def run(self, values: Sequence[Any], bound: Bound | None = None) -> list[Any]:
        """The results for converted arguments, as the kernel for them gives them, or another one."""
        arguments = [argument(n.name or "", v, n.type.dtype) for n, v in zip(self.inputs, values, strict=True)]
        bound = self.bind(values) if bound is None else bound
        plan = runtime.load().plan(Call(bound, arguments, 0, len(bound.results), list, None))
        found: list[Any] = runtime.load().run(plan, values, lambda: list(values))
        return found

    def find(self, values: Sequence[Any]) -> tuple[Variant, dict[str, int]]:
        """Check converted arguments, and find the kernel for their types and shapes; and their sizes.

        Raises:
            SymgraphError: they do not fit the placeholders, or do not go together.
        """
        kinds = argument_types(self.inputs, values)
        sizes = size_values(self.inputs, dict(zip((n.name or "" for n in self.inputs), values, strict=True)))
        variant = self.variant(kinds, sizes)
        failed = variant.failed(sizes)
        if failed is not None:
            # The sizes may still go together, where a computed size happens to be 1: ask with exact sizes.
            exact = tuple(kind._replace(sizes=np.shape(v)) for kind, v in zip(kinds, values, strict=True))
            if exact == kinds:
                raise requirement_error(failed, sizes)
            try:
                variant = self.variant(exact, sizes)
            except SymgraphError:
                raise requirement_error(failed, sizes) from None
        return variant, sizes

    def variant(self, kinds: tuple[ArgumentType, ...], sizes: Mapping[str, int] | None = None) -> Variant:
        """The kernel for these argument types, compiled if it is new; for a call of some sizes, so that it is answered
        soon."""
        found = self.variants.get(kinds)
        if found is None:
            with _lock:
                found = self.variants.get(kinds)
                if found is None:
                    arguments = {n.name or "": k for n, k in zip(self.inputs, kinds, strict=True)}
                    found = compile_variant(
                        self.values, self.inputs, arguments, self.gradients, sizes=sizes, **self.options
                    )
                    self.variants[kinds] = found
        return found


class Way(NamedTuple):
    """A way of calling a function: "value", "grad" or "value_and_grad", whether a cotangent is given, and whether what
    the formula shows is computed as well."""

    what: str
    cotangent: bool
    shown: bool = False


VALUE, GRAD, BOTH = "value", "grad", "value_and_grad"


class State(list[Any]):
    """What a callable of the runtime tries: first whom to ask where no plan fits, then plans."""

    __slots__ = ("__weakref__",)
    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__  # one is another only where it is the same


_states: weakref.WeakSet[State] = weakref.WeakSet()


def _drop_plans() -> None:
    """No native call knows a plan from here on, so that every call is seen by Python."""
    for state in list(_states):
        del state[1:]


on_checking.append(_drop_plans)


class Dispatch:
    """Answers the calls of a function.

    It knows nothing of the function itself, nor of the callables that ask it, so that all of it is freed with the
    last reference to the function.

    Args:
        outputs: expressions.
        signature: the placeholders.
        wrt: the placeholders that gradients are taken for; None: all that hold floating-point numbers.
        structure: the structure in which the outputs' values are returned.
        observed: the nodes whose values are shown after each call.
        options: how to compile.
    """

    def __init__(
        self,
        outputs: Sequence[Expr],
        signature: Signature,
        wrt: Sequence[Expr] | None,
        structure: Any,
        observed: Sequence[Expr],
        options: Mapping[str, Any],
    ) -> None:
        self.outputs, self.signature, self.wrt, self.options = tuple(outputs), signature, wrt, options
        self.inputs = signature.inputs
        self.kernels: dict[tuple[Way, tuple[str, ...]], Kernels] = {}
        self.plans: dict[Way, dict[Any, runtime.Plan]] = {}
        self._pack = _packer(structure)
        self.observed = observed

    def caller(self, what: str, doc: str | None) -> runtime.Caller:
        """A callable that answers one kind of calls, natively what it has seen before; with a docstring."""
        if what == GRAD and self.observed:  # what it shows are values
            both = self.caller(BOTH, doc)
            return lambda *args, **kwargs: both(*args, **kwargs)[1]
        state = State()
        state.append(partial(self._call, what, weakref.ref(state)))
        _states.add(state)
        return runtime.load().caller(state, "__call__" if what == VALUE else what, doc or "")

    def answer(self, what: str, /, *args: Any, **kwargs: Any) -> Any:
        """A call of one kind while the runtime is not there yet."""
        return self._call(what, _nowhere, *args, **kwargs)

    def find(self, way: Way, values: Sequence[Any]) -> Variant:
        """The kernel for converted arguments."""
        return self.expressions(way, values).find(values)[0]

    def expressions(self, way: Way, values: Sequence[Any]) -> Kernels:
        """What is computed for converted arguments."""
        return self.kernels_for(way, () if way.what == VALUE else self._differentiated(values))

    def _call(self, what: str, place: Callable[[], State | None], /, *args: Any, **kwargs: Any) -> Any:
        """A call for which there is no plan at hand, or whose arguments are to be converted."""
        weights = None
        if what != VALUE and "cotangent" not in self.signature:
            weights = kwargs.pop("cotangent", None)
        values = self.signature.bind(args, kwargs)
        if weights is not None:
            values.append(weights)
        way = Way(what, weights is not None, bool(self.observed))
        inputs = (*self.inputs, COTANGENT) if way.cotangent else self.inputs
        plans = self.plans.setdefault(way, {})
        plan = plans.get(key_of(values))
        if plan is None:
            plan, values = self._prepare(way, inputs, values, plans)
        if checking and check_nan():
            self._check(way, inputs, values)
        state = None if checking else place()
        if state is not None and plan[1].native and not (len(state) > 1 and state[1] is plan):
            state[1:] = [plan, *[p for p in state[1:] if p is not plan][: _AT_HAND - 1]]
        return runtime.answer(plan, values, lambda: list(map(convert, inputs, values)))

    def _check(self, way: Way, inputs: Sequence[Expr], values: Sequence[Any]) -> None:
        """Raise NumericError at the first operation that gives nan or inf."""
        from compiler.debug import check_numbers  # which calls without checks never need

        converted = list(map(convert, inputs, values))
        check_numbers(self.expressions(way, converted), converted)

    def _prepare(
        self, way: Way, inputs: Sequence[Expr], values: list[Any], plans: dict[Any, runtime.Plan]
    ) -> tuple[runtime.Plan, list[Any]]:
        """Convert arguments where they need it, and find what is to be done for their types and shapes."""
        converted = list(map(convert, inputs, values))
        if not all(readable(v, n.type.dtype) for n, v in zip(inputs, values, strict=True)):
            values = converted
        key = key_of(values)
        found = plans.get(key)
        if found is None:
            kernels = self.expressions(way, converted)
            names = tuple(target.name or "" for target in kernels.targets)
            found = self.describe(way, names, kernels.bind(converted), inputs, values)
            if len(plans) >= _REMEMBERED:
                plans.clear()
            plans[key] = found
        return found, values

    def describe(
        self, way: Way, names: tuple[str, ...], bound: Bound, inputs: Sequence[Expr], values: Sequence[Any]
    ) -> runtime.Plan:
        """A plan: a kernel, the arguments that it is for, and what is made of its results."""
        arguments = [argument(n.name or "", v, n.type.dtype) for n, v in zip(inputs, values, strict=True)]
        return runtime.plan(
            Call(
                bound,
                arguments,
                positional=len(self.inputs) if self.signature.positional else 0,
                values=0 if way.what == GRAD else len(self.outputs) + way.shown * len(self.observed),
                pack=None
                if way.what == GRAD
                else partial(_shown, self.observed, self._pack)
                if way.shown
                else self._pack,
                names=None if way.what == VALUE else names,
            )
        )

    def _differentiated(self, values: Sequence[Any]) -> tuple[str, ...]:
        """The names that gradients are taken for."""
        dtypes = {n.name or "": dtype_of(n, v) for n, v in zip(self.inputs, values, strict=False)}
        wanted = self.signature.names if self.wrt is None else tuple(n.name or "" for n in self.wrt)
        floating = tuple(n for n in wanted if dtypes[n].kind == "f")
        if not wanted:
            raise GradientError("there is no placeholder to differentiate with respect to")
        refused = [n for n in wanted if n not in floating]
        if refused and (self.wrt is not None or not floating):
            raise GradientError(
                f"argument {refused[0]!r} is {dtypes[refused[0]]}; integers and bools have no gradient: pass "
                f"{refused[0]}=float(...) or an array .astype('float64')"
            )
        return floating

    def kernels_for(self, way: Way, names: tuple[str, ...]) -> Kernels:
        """What is computed for a way of calling; gradients share one graph with the value."""
        found = self.kernels.get((way, names))
        if found is None:
            with _lock:
                found = self.kernels.get((way, names)) or self._kernels(way, names)
                self.kernels[way, names] = found
        return found

    def _kernels(self, way: Way, names: tuple[str, ...]) -> Kernels:
        by_name = dict(zip(self.signature.names, self.inputs, strict=True))
        targets = [by_name[name] for name in names]
        gradients = None if way.what == VALUE else gradients_of(self.outputs, targets, way.cotangent)
        inputs = (*self.inputs, COTANGENT) if way.cotangent else self.inputs
        shown = [node.args[0] for node in self.observed] if way.shown else []
        return Kernels((*self.outputs, *shown), gradients, inputs, {"values": way.what != GRAD, **self.options})


def _nowhere() -> None:
    """Where a plan is put that no callable will try."""


def _packer(structure: Any) -> Callable[[list[Any]], Any] | None:
    """What makes the value of a list of results; None where the only result is the value."""
    if structure is LEAF:
        return None
    if type(structure) is list and all(part is LEAF for part in structure):
        return list
    if type(structure) is tuple and all(part is LEAF for part in structure):
        return tuple
    return partial(_structured, structure)


def _shown(observed: Sequence[Expr], pack: Callable[[list[Any]], Any] | None, results: list[Any]) -> Any:
    """The value of a list of results, the last of which are shown."""
    count = len(results) - len(observed)
    show_observed(observed, results[count:])
    return results[0] if pack is None else pack(results[:count])


def _structured(structure: Any, results: list[Any]) -> Any:
    return unflatten(structure, iter(results))

"""The define-by-run mode: Variables that compute at once and record where they came from.

The same rows as in the define-and-run mode do the work: `impl` computes, and in ``backward`` the same gradient rules
run, on plain arrays, or, with ``create_graph=True``, on Variables, so that gradients can be differentiated again.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from operator import attrgetter
from typing import Any, ClassVar

import numpy as np

from symgraph import functions as fn, numeric, origin
from symgraph.config import check_nan, checking, recording, using_config
from symgraph.contexts import Branch, Parts, branches_of
from symgraph.errors import GradientError, ShapeError
from symgraph.op import Mode, Op
from symgraph.ops import array as ar, elementwise as ew
from symgraph.types import format_shape
from symgraph.value import Value

_ndarray = np.ndarray
_new = object.__new__
_ref = weakref.ref
_generation = attrgetter("generation")


class Variable(Value):
    """An array together with where it came from.

    Operators and NumPy's functions on Variables compute at once, and record their operation as the result's
    `creator`; :meth:`backward` walks the creators. ``==`` compares identity; ``np.equal(a, b)`` compares elements.

    Args:
        data: an ndarray, a NumPy scalar (kept as an array of no dimensions), or None (data comes later).
        name: what messages and pictures call it.

    Raises:
        TypeError: the data is anything else, such as a float.

    Attributes:
        name: None, or what pictures call it.
        creator: the Function that computed it; None for a leaf.
        generation: 0 for a leaf, else one more than the largest generation among the creator's inputs.

    >>> import numpy as np, symgraph as sg
    >>> x = sg.Variable(np.array(3.0))
    >>> y = x * x + 1
    >>> y.backward()
    >>> y, x.grad
    (variable(10.0), variable(6.0))
    """

    __slots__ = ("__weakref__", "_data", "_grad", "creator", "generation", "name")
    _mode: ClassVar[Mode]

    _data: Any
    _grad: Variable | None
    creator: Function | None
    generation: int
    name: str | None

    def __init__(self, data: Any, name: str | None = None) -> None:
        self._data = data if type(data) is _ndarray else _checked(data)
        self.name = name
        self._grad = None
        self.creator = None
        self.generation = 0

    @property
    def data(self) -> Any:
        """The ndarray (or None). Assigning another array does not change what was computed from the old one."""
        return self._data

    @data.setter
    def data(self, data: Any) -> None:
        self._data = _checked(data)

    @property
    def grad(self) -> Variable | None:
        """The gradient that ``backward`` left: a Variable of this shape, or None. An ndarray may be assigned."""
        return self._grad

    @grad.setter
    def grad(self, grad: Any) -> None:
        self._grad = grad if grad is None or isinstance(grad, Variable) else Variable(grad)

    def _array(self) -> Any:
        if self._data is None:
            raise TypeError(f"{_called(self)} has no data yet; assign an ndarray to .data first")
        return self._data

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the data."""
        return self._array().shape  # type: ignore[no-any-return]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._array().ndim  # type: ignore[no-any-return]

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._array().size  # type: ignore[no-any-return]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the data."""
        return self._array().dtype  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return len(self._array())

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(len(self)))

    def __repr__(self) -> str:
        text = str(self._data).replace("\n", "\n" + " " * len("variable("))
        return f"variable({text})"

    # A Variable has a value, so Python may ask for it; the answer is no longer part of the graph.

    def __bool__(self) -> bool:
        return bool(self._array())

    def __float__(self) -> float:
        return float(self._array())

    def __int__(self) -> int:
        return int(self._array())

    def __complex__(self) -> complex:
        return complex(self._array())

    def __index__(self) -> int:
        return self._array().__index__()  # type: ignore[no-any-return]

    def item(self) -> Any:
        """The one element as a Python number."""
        return self._array().item()

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return self._array().tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """What ``np.array([a, b])`` and ``np.asarray(v)`` take.

        Where a gradient could be lost, an ndarray of objects, one Variable per element: ``np.array([a, b])`` holds
        Variables. Plain numbers under ``no_grad()``, where a numeric dtype is asked for, and for integers and bools.

        Raises:
            TypeError: there are too many elements for that.
        """
        data = self._array()
        if not recording() or dtype not in (None, np.object_) or data.dtype.kind not in "fc":
            return np.array(data, dtype, copy=copy)
        if data.size > _MOST_OBJECTS or copy is False:
            raise TypeError(
                f"np.asarray of {_called(self)} would lose what it was computed from; for its numbers write .data, to "
                f"join Variables np.stack or np.concatenate"
            )
        held = np.empty(data.shape, np.object_)
        for position in np.ndindex(data.shape):
            held[position] = self[position] if position else self
        return held

    def __reduce__(self) -> Any:
        # A copy is a leaf: what a Variable was computed from does not travel with it.
        return type(self), (self._data, self.name)

    # The operators of formulas go straight to the point: dispatching by mode is a third of their time.

    def __add__(self, other: Any) -> Any:
        return _apply(ew.add, (self, other), _NO_PARAMS)

    def __radd__(self, other: Any) -> Any:
        return _apply(ew.add, (other, self), _NO_PARAMS)

    def __sub__(self, other: Any) -> Any:
        return _apply(ew.sub, (self, other), _NO_PARAMS)

    def __rsub__(self, other: Any) -> Any:
        return _apply(ew.sub, (other, self), _NO_PARAMS)

    def __mul__(self, other: Any) -> Any:
        return _apply(ew.mul, (self, other), _NO_PARAMS)

    def __rmul__(self, other: Any) -> Any:
        return _apply(ew.mul, (other, self), _NO_PARAMS)

    def __truediv__(self, other: Any) -> Any:
        return _apply(ew.div, (self, other), _NO_PARAMS)

    def __rtruediv__(self, other: Any) -> Any:
        return _apply(ew.div, (other, self), _NO_PARAMS)

    def __neg__(self) -> Any:
        return _apply(ew.neg, (self,), _NO_PARAMS)

    # the graph behind it

    def set_creator(self, creator: Function) -> None:
        """Record which Function computed this Variable."""
        self.creator = creator
        self.generation = creator.generation + 1

    def unchain(self) -> None:
        """Forget the creator: the Variable becomes a leaf, and backward stops here."""
        self.creator = None

    def cleargrad(self) -> None:
        """Forget the gradient; without this, backward adds to it."""
        self._grad = None

    def backward(self, retain_grad: bool = False, create_graph: bool = False) -> None:
        """Leave the gradients of this Variable in `.grad` of every leaf that it depends on.

        Where `.grad` of this Variable is set, it is the cotangent to start from; else ones are. Gradients add to
        what the leaves' `.grad` already hold. Operations that are flat everywhere (comparisons, rounding, argmax)
        pass nothing on: a leaf that only they lead to keeps its `.grad`.

        Args:
            retain_grad: keep the gradients of inner Variables too.
            create_graph: record the gradients' own computation, so that they can be differentiated.

        Raises:
            TypeError: there is no data.
            ShapeError: a cotangent has the wrong shape.
            GradientError: a Function's ``backward`` returns the wrong number of gradients.

        >>> import numpy as np, symgraph as sg
        >>> x = sg.Variable(np.array(2.0))
        >>> y = x ** 2
        >>> y.backward(create_graph=True)
        >>> gx = x.grad
        >>> x.cleargrad()
        >>> z = gx ** 3 + y
        >>> z.backward()
        >>> x.grad
        variable(100.0)

        Source: Griewank and Walther, "Evaluating Derivatives", 2nd ed., chapter 3 (reverse mode).
        """
        seed = self._grad if self._grad is not None else Variable(np.ones(self.shape, self.dtype))
        if seed.shape != self.shape:
            raise ShapeError(
                f"backward: .grad of {_called(self)} has shape {format_shape(seed.shape)}, "
                f"its data {format_shape(self.shape)}"
            )
        self._grad = seed
        if self.creator is None:
            return
        bars: dict[Variable, Any] = {self: _operand_of(seed, create_graph)}
        inner: dict[Variable, Any] = {}
        quiet = np.errstate(all="ignore") if checking and check_nan() else nullcontext()
        with using_config("enable_backprop", create_graph), quiet:
            order = _ancestors(self)
            branches = _branches(order)
            for y in order:
                bar = bars.pop(y, None)
                if bar is None:
                    continue
                if retain_grad and y is not self:
                    inner[y] = bar
                creator: Any = y.creator
                gradients = creator._pull(y, bar, bars, create_graph, branches)
                for x, gx in zip(creator._inputs, gradients):  # noqa: B905  (equally long, and hot)
                    if gx is not None:
                        known = bars.get(x)
                        bars[x] = gx if known is None else known + gx
            _store({**inner, **bars}, seed)
        if not retain_grad:
            self._grad = None


def _checked(data: Any) -> Any:
    if data is None or isinstance(data, _ndarray):
        return data
    if isinstance(data, np.generic):
        return np.asarray(data)
    raise TypeError(
        f"a Variable holds an ndarray or None, not {type(data).__name__}; write Variable(np.array({data!r:.40}))"
    )


def _called(variable: Variable) -> str:
    return "the Variable" if variable.name is None else f"the Variable {variable.name!r}"


def as_variable(value: Any) -> Variable:
    """A Variable as it is; an array, a number or a list of numbers in a new one; Variables in a list stacked.

    Raises:
        TypeError: the value is a symbol, or no array.

    >>> import symgraph as sg
    >>> sg.as_variable(2.0)
    variable(2.0)
    """
    if isinstance(value, Variable):
        return value
    if getattr(value, "_mode", None) is not None:
        raise TypeError(f"as_variable: {value!r} is a {value._mode.name}; a Variable holds data")
    found = _stacked(value)
    if found.dtype == np.object_:
        raise TypeError(f"as_variable: {value!r:.40} ({type(value).__name__}) is no array of numbers")
    return found if isinstance(found, Variable) else Variable(found)


def _stacked(value: Any) -> Any:
    """Lists and the like as an ndarray; as a Variable where they hold Variables."""
    array = np.asarray(value)
    if array.dtype == np.object_ and any(isinstance(v, Variable) for v in array.flat):  # np.array([a, b])
        return fn.reshape(fn.stack(array.ravel().tolist()), array.shape)
    return array


# -- functions: what a Variable was computed by ------------------------------------------------------------------------


class Function:
    """An operation of one's own: subclass it, and write ``forward`` on ndarrays and ``backward`` on Variables.

    Calling it computes, and makes it the creator of its outputs. A Function that is called again records a copy of
    itself, so that the first result keeps its own inputs. The outputs are held weakly: without reference cycles,
    memory is freed as soon as the last Variable goes.

    Attributes:
        inputs: the Variables it was called on.
        outputs: weak references to the Variables it returned.
        generation: the largest generation among the inputs.

    >>> import numpy as np, symgraph as sg
    >>> class Square(sg.Function):
    ...     def forward(self, x):
    ...         return x ** 2
    ...     def backward(self, gy):
    ...         (x,) = self.inputs
    ...         return 2 * x * gy
    >>> x = sg.Variable(np.array(10.0))
    >>> y = Square()(x)
    >>> y.backward()
    >>> y, x.grad
    (variable(100.0), variable(20.0))
    """

    __slots__ = ("__weakref__", "_forms", "_inputs", "_scope", "generation", "outputs")

    _inputs: tuple[Any, ...]
    _forms: tuple[tuple[tuple[int, ...], np.dtype[Any]], ...]
    outputs: tuple[weakref.ref[Variable], ...]
    generation: int

    @property
    def inputs(self) -> tuple[Variable, ...]:
        """The Variables it was called on."""
        return self._inputs

    @property
    def label(self) -> str:
        """What pictures call it."""
        return type(self).__name__

    @property
    def scope(self) -> str:
        """The name scope (:func:`symgraph.scope`) that it was called in, or ""."""
        return getattr(self, "_scope", "")

    def __repr__(self) -> str:
        return f"<function {self.label}>"

    def forward(self, *xs: Any) -> Any:
        """The results for ndarrays: an array, or a tuple of arrays."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward(self, x)")

    def backward(self, *gys: Any) -> Any:
        """The gradients of the inputs, a Variable (None: zero) or a tuple of them, from those of the outputs."""
        raise NotImplementedError(f"{type(self).__name__} does not define backward(self, gy)")

    def __call__(self, *inputs: Any) -> Any:
        """Apply ``forward`` to Variables, arrays and numbers; one Variable, or a list of several."""
        if hasattr(self, "_inputs"):
            again = copy.copy(self)
            del again._inputs
            return again(*inputs)
        variables = _same_precision(inputs)
        results = self.forward(*(x._array() for x in variables))
        outputs = [
            Variable(y if isinstance(y, _ndarray) else np.asarray(y))
            for y in (results if isinstance(results, tuple) else (results,))
        ]
        if recording():
            self._inputs = variables
            self._scope = origin.context.scope
            self.generation = max((x.generation for x in variables), default=0)
            self.outputs = tuple(_ref(y) for y in outputs)
            self._forms = tuple((y.shape, y.dtype) for y in outputs)
            for y in outputs:
                y.set_creator(self)
        return outputs if len(outputs) > 1 else outputs[0]

    def _pull(
        self, y: Variable, bar: Any, bars: dict[Variable, Any], graph: bool, branches: Mapping[Variable, Branch | None]
    ) -> list[Any]:
        """The cotangents of the inputs (None: zero, or not a Variable), given that of one output, `y`; those of the
        other outputs are taken out of `bars`."""
        cotangents = []
        for output, (shape, dtype) in zip([ref() for ref in self.outputs], self._forms, strict=True):
            found = bar if output is y else None if output is None else bars.pop(output, None)
            cotangents.append(as_variable(np.zeros(shape, dtype) if found is None else found))
        returned = self.backward(*cotangents)
        gradients = returned if isinstance(returned, tuple | list) else (returned,)
        if len(gradients) != len(self._inputs):
            raise GradientError(
                f"{self.label}.backward returned {len(gradients)} gradients for {len(self._inputs)} inputs"
            )
        return [
            None if gx is None else _fitted(_operand_of(as_variable(gx), graph), x, self)
            for x, gx in zip(self._inputs, gradients, strict=True)
        ]


class OpFunction(Function):
    """A row of the operation table that computed a Variable.

    Attributes:
        op: the row.
        params: its parameters.
        marks: where it was written; known while ``config.check_nan`` is set.
    """

    __slots__ = ("_lifted", "marks", "op", "params")

    op: Op
    params: Mapping[str, Any]
    marks: origin.Marks
    _lifted: tuple[Variable, ...] | None

    @property
    def inputs(self) -> tuple[Variable, ...]:
        """The Variables it was called on; numbers and arrays among the operands appear as Variables too."""
        if self._lifted is None:
            self._lifted = tuple(as_variable(x) for x in self._inputs)
        return self._lifted

    @property
    def label(self) -> str:
        """What pictures call it."""
        return self.op.label

    def _pull(
        self, y: Variable, bar: Any, bars: dict[Variable, Any], graph: bool, branches: Mapping[Variable, Branch | None]
    ) -> list[Any]:
        op, params, inputs = self.op, self.params, self._inputs
        args = [_operand_of(x, graph) if isinstance(x, Variable) else x for x in inputs]
        out = _operand_of(y, graph)
        if out.dtype.kind == "b":  # truth values are flat in everything
            return [None] * len(args)
        gradients = []
        for i, x in enumerate(args):
            if branches:
                at = branches.get(y)
                at = Branch(at, self, i, _sides) if op is ew.where and i else at
                gx = self._leaving(i, bar, out, args, graph, at, branches)
            else:
                gx = op.vjp(i, bar, out, args, params) if isinstance(inputs[i], Variable) else None
            # NumPy scalars of one type fit; it is arrays and Variables that may have been broadcast or promoted.
            if gx is not None and (type(gx) in _ARRAYS or type(gx) is not type(x)) and not _alike(gx, x):
                gx = ar.unbroadcast(gx, x)
            gradients.append(gx)
        if checking and check_nan():
            self._check(out, bar, args, gradients)
        return gradients

    def _leaving(
        self,
        i: int,
        bar: Any,
        out: Any,
        args: Sequence[Any],
        graph: bool,
        at: Branch | None,
        branches: Mapping[Variable, Branch | None],
    ) -> Any:
        """The cotangent of an input where there are choices: 0 where a side is not taken that it leaves."""
        x = self._inputs[i]
        if not isinstance(x, Variable) or (i == 0 and self.op is ew.where):
            return None
        if self.op is ew.where:
            gx = bar
        else:
            with np.errstate(all=None if at is None else "ignore"):  # what is not taken is nobody's fault
                gx = self.op.vjp(i, bar, out, args, self.params)
        inner = branches.get(x)
        while gx is not None and at is not None and at.depth > (0 if inner is None else inner.depth):
            gx = at.masked(gx, x)
            at = at.parent
        return gx if graph or not isinstance(gx, Variable) else gx._data[()]

    def _check(self, out: Any, bar: Any, args: Sequence[Any], gradients: Sequence[Any]) -> None:
        """Raise NumericError where a gradient is nan or inf, and what it was computed from is not."""
        operands = [getattr(v, "data", v) if isinstance(v, Variable) else v for v in (bar, out, *args)]
        for gx in gradients:
            found = None if gx is None else numeric.fault(gx.data if isinstance(gx, Variable) else gx, operands)
            if found is not None:
                places = [origin.resolve(m)._replace(order=1) for m in getattr(self, "marks", ())]
                names = ["the gradient of the result", "the result", *_names(self._inputs)]
                raise numeric.error(f"the gradient of {self.op.name}", found, places, names, operands)


_NO_PARAMS: dict[str, Any] = {}
_ARRAYS = (Variable, _ndarray)
_USUAL = frozenset({Variable, float, int})
_MOST_OBJECTS = 1000


def _operand(value: Any, op: Op) -> Any:
    """Anything that can take part in an operation on Variables, as a Variable, an array or a Python number."""
    if isinstance(value, Variable) or type(value) in (int, float, complex):
        return value
    mode = getattr(value, "_mode", None)
    if mode is not None:
        Variable._mode.joined(mode, op)
    return _stacked(value)


def _apply(op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """Compute, and record. Numbers stay as they are, so that float32 * 2.0 is float32 (NumPy's NEP 50)."""
    if not _USUAL.issuperset(map(type, args)):
        args = tuple([_operand(a, op) for a in args])
    values = []
    generation = 0
    for a in args:
        if isinstance(a, Variable):
            values.append(a._data if a._data is not None else a._array())
            if a.generation > generation:
                generation = a.generation
        else:
            values.append(a)
    watched = checking and check_nan()
    result = _checked_result(op, args, values, params) if watched else op.impl(*values, **params)
    if type(result) is not _ndarray:
        if type(result) is int:  # a size, which depends on no data
            return result
        result = np.asarray(result)
    y = _new(Variable)
    y._data = result
    y.name = y._grad = None
    if recording():
        f = _new(OpFunction)
        f.op = op
        f.params = params
        f._inputs = args
        f._lifted = None
        if origin.scoped:
            f._scope = origin.context.scope
        f.generation = generation
        f.outputs = (_ref(y),)
        if watched:
            f.marks = origin.marks(2)
        y.creator = f
        y.generation = generation + 1
    else:
        y.creator = None
        y.generation = 0
    return y


Variable._mode = Mode("Variable", rank=2, apply=_apply)


def _names(args: Sequence[Any]) -> list[str]:
    """What messages call operands."""
    return [getattr(a, "name", None) or f"operand {k}" for k, a in enumerate(args, 1)]


def _checked_result(op: Op, args: Sequence[Any], values: Sequence[Any], params: dict[str, Any]) -> Any:
    """What an operation gives; NumericError where that is nan or inf, and what it was computed from is not."""
    with np.errstate(all="ignore"):
        result = op.impl(*values, **params)
    found = numeric.fault(result, values)
    if found is not None:
        raise numeric.error(op.name, found, map(origin.resolve, origin.marks(2)), _names(args), values)
    return result


def _same_precision(inputs: Sequence[Any]) -> tuple[Variable, ...]:
    """The inputs of a Function as Variables; Python's numbers adapt to the dtype of the others, as in NumPy."""
    values = [_operand(x, ew.pos) for x in inputs]
    numbers = [type(x) in (int, float, complex) for x in values]
    others = [x.dtype for x, number in zip(values, numbers, strict=True) if not number]
    return tuple(
        Variable(np.asarray(x, np.result_type(x, *others))) if number else as_variable(x)
        for x, number in zip(values, numbers, strict=True)
    )


# -- the backward walk -------------------------------------------------------------------------------------------------


def _operand_of(variable: Variable, graph: bool) -> Any:
    """What gradient rules run on: the Variable, or its array (NumPy's scalar, ten times as fast, where it is 0-d)."""
    return variable if graph else variable._data[()]


def _sides(function: OpFunction) -> Parts:
    return function.op, function._inputs, None


class _Plain:
    """An operand that is no Variable, told apart by identity."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _branches(order: Sequence[Variable]) -> Mapping[Variable, Branch | None]:
    """The side of a `where` that each Variable belongs to, of those that only one side needs; {} where none chooses."""
    if not any(getattr(y.creator, "op", None) is ew.where for y in order):
        return {}
    plain: dict[int, _Plain] = {}

    def parts(variable: Variable) -> Parts:
        creator: Any = variable.creator
        op = creator.op if isinstance(creator, OpFunction) else None
        args = [x if isinstance(x, Variable) else plain.setdefault(id(x), _Plain(x)) for x in creator._inputs]
        return op, args, variable.shape

    creators: list[Any] = [y.creator for y in order]
    leaves = {x for c in creators for x in c._inputs if isinstance(x, Variable) and x.creator is None}
    found = branches_of(order[::-1], [order[0], *leaves], parts=parts)
    for branch in found.values():
        while branch is not None:
            if isinstance(branch.condition, _Plain):
                branch.condition = branch.condition.value
            branch = branch.parent
    return found


def _ancestors(root: Variable) -> list[Variable]:
    """Every Variable with a creator that `root` depends on, itself included, the last generation first."""
    found: list[Variable] = []
    seen = {root}
    stack = [root]
    while stack:
        variable = stack.pop()
        creator = variable.creator
        if creator is None:
            continue
        found.append(variable)
        for x in creator._inputs:
            if isinstance(x, Variable) and x not in seen:
                seen.add(x)
                stack.append(x)
    found.sort(key=_generation, reverse=True)
    return found


def _fitted(g: Any, x: Any, function: Function) -> Any:
    """A Function's gradient in the shape of its input, summed where it was broadcast.

    Raises:
        ShapeError: the shapes do not go together.
    """
    try:
        fits = np.broadcast_shapes(g.shape, x.shape) == g.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"{function.label}.backward returned a gradient of shape {format_shape(g.shape)} "
            f"for an input of shape {format_shape(x.shape)}"
        )
    return g if _alike(g, x) else ar.unbroadcast(g, x)


def _alike(g: Any, x: Any) -> bool:
    return g.shape == x.shape and g.dtype == x.dtype  # type: ignore[no-any-return]


def _store(gradients: Mapping[Variable, Any], seed: Variable) -> None:
    """Add the gradients to `.grad`. No two Variables share the memory of one, so each may be changed in place."""
    owners = {id(_owner(seed._data))}
    for variable, g in gradients.items():
        if not isinstance(g, Variable):
            data = np.asarray(g)
            owner = _owner(data)
            if id(owner) in owners or owner.size != data.size or not data.flags.writeable:
                data = owner = data.copy()
            owners.add(id(owner))
            g = Variable(data)
        variable._grad = g if variable._grad is None else variable._grad + g


def _owner(data: Any) -> Any:
    return data.base if isinstance(data.base, _ndarray) else data  # memory of other kinds is no array


def numerical_diff(f: Callable[[Variable], Any], x: Variable, eps: float = 1e-4) -> Any:
    """The gradient of the sum of f(x) by central differences, one element of `x` at a time; an ndarray.

    The error is of order eps squared, plus rounding of order 1e-16 / eps.

    Raises:
        TypeError: `x` does not hold floating-point numbers.

    >>> import numpy as np, symgraph as sg
    >>> sg.numerical_diff(lambda x: x ** 2, sg.Variable(np.array(2.0)))
    array(4.)
    """
    data = x._array()
    if data.dtype.kind not in "fc":
        raise TypeError(f"numerical_diff: x must hold floating-point numbers, got {data.dtype}")
    result = np.empty_like(data)
    for position in np.ndindex(data.shape):
        low, high = data.copy(), data.copy()
        low[position] -= eps
        high[position] += eps
        difference = as_variable(f(Variable(high)))._array() - as_variable(f(Variable(low)))._array()
        result[position] = np.sum(difference) / (2 * eps)
    return result

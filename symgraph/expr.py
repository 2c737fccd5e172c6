"""Symbols: placeholders, constants, and the nodes that operations build from them.

A node is immutable and interned: building the same operation on the same arguments gives the same object, so common
subexpressions are shared from the start and ``is`` compares formulas.
"""

from __future__ import annotations

import operator
import re
import struct
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from symgraph import dims, origin
from symgraph.dims import Dim, Size
from symgraph.errors import DTypeError, ShapeError, SymbolError, SymgraphError, located
from symgraph.op import REGISTRY, Mode, Op, Parts, exact
from symgraph.ops import array as ar, control as ct, elementwise as ew
from symgraph.types import ArrayType, Opaque, Shape, format_shape, weak_scalar
from symgraph.value import Value


class ConstantValue:
    """Data inside a graph, compared by dtype, shape and bytes: 1, 1.0 and True differ, nan equals itself."""

    __slots__ = ("_hash", "_key", "type", "value")

    def __init__(self, data: Any) -> None:
        kind: Any = type(data)
        self._key: Any
        if kind is float:  # Python's own numbers without a detour by way of NumPy: most constants are such
            self.type, self.value, self._key = _FLOAT, data, (float, _bytes(data))
        elif kind is np.float64:
            self.type, self.value, self._key = _FLOAT64, data, (np.float64, _bytes(data))
        elif kind is int and -(1 << 63) <= data < 1 << 63:
            self.type, self.value, self._key = _INT, data, (int, data)
        else:
            self.type, self.value, self._key = self._array(data)
        self._hash = hash(self._key)

    @staticmethod
    def _array(data: Any) -> tuple[ArrayType, Any, Any]:
        weak = isinstance(data, int | float) and not isinstance(data, bool | np.generic)
        array = np.asarray(data)
        if array.dtype.kind not in "biuf":
            raise DTypeError(f"a constant must hold real numbers or bools, got {array.dtype} ({type(data).__name__})")
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        value = data
        if not weak and array.ndim:
            value = array = np.array(array, order="C")
            array.flags.writeable = False
        elif not weak:
            value = array[()]
        key = (array.dtype.str, array.shape, weak, array.tobytes())
        return ArrayType(array.dtype, array.shape, weak), value, key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConstantValue) and self._key == other._key

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        value = self.value
        if isinstance(value, np.ndarray):
            return f"array{format_shape(value.shape)}" if value.size > 6 else str(value.tolist())
        return repr(value) if self.type.weak else repr(value.item())


_bytes = struct.Struct("d").pack
_FLOAT, _INT = weak_scalar(np.float64), weak_scalar(np.int64)
_FLOAT64 = ArrayType(np.dtype(np.float64), ())


class Expr(Value):
    """A node of a graph: an operation, its arguments, its parameters; and what is known of its type.

    Arithmetic on it builds further nodes. ``==`` compares identity (write ``np.equal(a, b)`` for elementwise
    equality); asking for its truth, its value, or its unknown length raises SymbolError.

    >>> import symgraph as sg
    >>> a, b = sg.placeholder("a"), sg.placeholder("b")
    >>> a * b + 1
    a * b + 1
    >>> (a * b) is (a * b)
    True
    """

    __slots__ = ("__weakref__", "_params", "args", "marks", "op", "type")
    op: Op
    args: tuple[Expr, ...]
    _params: tuple[tuple[str, Any], ...]
    type: ArrayType
    marks: origin.Marks

    # The operators of formulas go straight to the point: a third of a node's time is finding out who takes part.

    def __add__(self, other: Any) -> Any:
        return build(ew.add, (self, other), _NO_PARAMS) if type(other) in _PLAIN else ew.add(self, other)

    def __radd__(self, other: Any) -> Any:
        return build(ew.add, (other, self), _NO_PARAMS) if type(other) in _PLAIN else ew.add(other, self)

    def __sub__(self, other: Any) -> Any:
        return build(ew.sub, (self, other), _NO_PARAMS) if type(other) in _PLAIN else ew.sub(self, other)

    def __rsub__(self, other: Any) -> Any:
        return build(ew.sub, (other, self), _NO_PARAMS) if type(other) in _PLAIN else ew.sub(other, self)

    def __mul__(self, other: Any) -> Any:
        return build(ew.mul, (self, other), _NO_PARAMS) if type(other) in _PLAIN else ew.mul(self, other)

    def __rmul__(self, other: Any) -> Any:
        return build(ew.mul, (other, self), _NO_PARAMS) if type(other) in _PLAIN else ew.mul(other, self)

    def __truediv__(self, other: Any) -> Any:
        return build(ew.div, (self, other), _NO_PARAMS) if type(other) in _PLAIN else ew.div(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return build(ew.div, (other, self), _NO_PARAMS) if type(other) in _PLAIN else ew.div(other, self)

    def __neg__(self) -> Any:
        return build(ew.neg, (self,), _NO_PARAMS)

    @property
    def params(self) -> dict[str, Any]:
        """The operation's parameters, by name."""
        return dict(self._params)

    @property
    def parts(self) -> tuple[tuple[str, Any], ...]:
        """The operation's parameters as they are stored: pairs of name and value."""
        return self._params

    @property
    def origins(self) -> tuple[origin.Origin, ...]:
        """The places in the user's source that wrote this node."""
        return tuple(dict.fromkeys(map(origin.resolve, self.marks)))

    @property
    def origin(self) -> origin.Origin | None:
        """The first place in the user's source that wrote this node."""
        return origin.resolve(self.marks[0]) if self.marks else None

    @property
    def scopes(self) -> tuple[str, ...]:
        """The name scopes (:func:`symgraph.scope`) that it was written in, the last first; "" where outside of any."""
        return tuple(dict.fromkeys(origin.resolve(mark).scope for mark in self.marks))

    @property
    def name(self) -> str | None:
        """The placeholder's name; None for other nodes."""
        return self._params[0][1] if self.op is ar.placeholder else None

    @property
    def value(self) -> Any:
        """The data of a constant."""
        if self.op is not ar.constant:
            raise SymbolError(f"{self!r} has no value before the compiled function is called: sg.compile(...)(...)")
        held: ConstantValue = self._params[0][1]
        return held.value

    # what is known of the type

    def _known_shape(self) -> Shape:
        if isinstance(self.type.shape, Opaque):
            raise SymbolError(
                f"the shape of {self!r} is not known before the call; declare it: "
                f"sg.placeholder(name, shape=(3, None), dtype='float64')"
            )
        return self.type.shape

    @property
    def shape(self) -> tuple[Any, ...]:
        """The declared shape; sizes that are not known before the call are symbols."""
        return tuple(
            s if isinstance(s, int) else ar.size(self, axis=axis) for axis, s in enumerate(self._known_shape())
        )

    @property
    def ndim(self) -> int:
        """The number of axes; SymbolError where it is not declared."""
        return len(self._known_shape())

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype; SymbolError where it is not declared."""
        if self.type.dtype is None:
            raise SymbolError(f"the dtype of {self!r} is not known before the call; declare it: dtype='float64'")
        return self.type.dtype

    @property
    def size(self) -> Any:
        """The number of elements; a symbol where it is not known before the call."""
        if not isinstance(self.type.shape, Opaque):
            total = dims.product(self.type.shape)
            if isinstance(total, int):
                return total
        return ar.size(self, axis=None)

    def __len__(self) -> int:
        shape = self._known_shape()
        if not shape:
            raise TypeError("len() of a symbol with 0 dimensions")
        if not isinstance(shape[0], int):
            raise SymbolError(
                f"the length of {self!r} is not known before the call; use x.shape[0] in formulas, "
                f"or declare the size as an int to loop over it"
            )
        return shape[0]

    def __iter__(self) -> Iterator[Any]:
        shape = self.type.shape
        if isinstance(shape, Opaque) or (shape and not isinstance(shape[0], int)):
            raise SymbolError(
                f"cannot loop over {self!r}: its length is not known before the call; write sg.scan(body, init, x) or "
                f"sg.map(body, x) instead of for, array operations, or declare the length as an int"
            )
        if not shape:
            raise TypeError("iteration over a symbol with 0 dimensions")
        return (self[k] for k in range(len(self)))

    def __contains__(self, item: Any) -> bool:
        raise SymbolError("'in' needs values; write (x == item).any() with np.equal instead")

    # what Python may not ask before the call

    def __bool__(self) -> bool:
        raise SymbolError(
            f"the truth of {self!r} is not known before the call: if, while, and, or cannot branch on a symbol. "
            f"Write np.where(condition, x, y) or sg.cond(condition, on_true, on_false), sg.while_loop(cond, body, "
            f"init) instead of while, and & and | instead of and, or. "
            f"Where np.maximum or the like asked, on an array made by np.array([x, y]), make the array "
            f"with np.stack([x, y])"
        )

    def _no_value(self, wanted: str) -> SymbolError:
        return SymbolError(
            f"{wanted}() needs a value, and {self!r} has none before the call: call the compiled function and convert "
            f"its result; use NumPy's function instead of the math module's; write into np.zeros(3, like=x) instead of "
            f"np.zeros(3); leave np.asarray out, or write np.asarray(x, like=x)"
        )

    def __float__(self) -> float:
        raise self._no_value("float")

    def __int__(self) -> int:
        raise self._no_value("int")

    def __complex__(self) -> complex:
        raise self._no_value("complex")

    def __index__(self) -> int:
        raise SymbolError(
            f"{self!r} is not known as an integer before the call: write sg.fori_loop(0, n, body, init) instead of for "
            f"i in range(n), or declare the size as an int to loop over it, or to make arrays of it; index "
            f"sg.constant(table)[i] instead of table[i]"
        )

    def item(self) -> Any:
        """Always raises: a symbol has no value."""
        raise self._no_value("item")

    def tolist(self) -> Any:
        """Always raises: a symbol has no value."""
        raise self._no_value("tolist")

    def __setitem__(self, key: Any, value: Any) -> None:
        raise SymbolError(
            "a symbol cannot be written into; inside a function passed to sg.trace, x[i] = v works on its arguments; "
            "elsewhere build the result with np.where or np.concatenate"
        )

    # as an immutable value

    def __copy__(self) -> Expr:
        return self

    def __deepcopy__(self, memo: Any) -> Expr:
        return self

    def __reduce__(self) -> Any:
        return _unpickle, (to_table([self]), 0)

    def __repr__(self) -> str:
        return format_expr(self)


_PLAIN = frozenset({Expr, float, int})
"""What stands beside a symbol in most formulas."""

_NO_PARAMS: dict[str, Any] = {}

# -- building nodes ----------------------------------------------------------------------------------------------------


def _fail(error: SymgraphError, op: Op, args: Sequence[Expr]) -> SymgraphError:
    """The error with the user's line and the operands."""
    shown = [a for a in args if a.op is not ar.constant or a.type.shape]
    return located(error, map(origin.resolve, origin.marks()), [(format_expr(a, 60), str(a.type)) for a in shown])


def build(op: Op, args: Iterable[Any], params: Mapping[str, Any]) -> Expr:
    """The node for `op` on `args`: an existing one where there is one."""
    nodes = tuple([a if type(a) is Expr else as_expr(a) for a in args])
    plain = not params and op.expand is None  # most nodes: what is there already needs no inference
    if plain:
        held = op.nodes.refs.get(nodes)
        node = None if held is None else held()
        if node is not None:
            return _marked(node)
    try:
        if op.expand is not None:
            expanded = op.expand(*nodes, **params)
            if expanded is not None:
                return as_expr(expanded)
        kind, parts = op.result(tuple([n.type for n in nodes]), params)
    except SymgraphError as error:
        if error.place is not None:
            raise
        raise _fail(error, op, nodes) from None
    return _made(nodes, op, nodes, (), kind) if plain else intern(op, nodes, parts, kind)


def intern(op: Op, args: tuple[Expr, ...], parts: Parts, kind: ArrayType) -> Expr:
    """The one node with these parts."""
    key = (args, parts, exact(parts)) if parts else args
    node = op.nodes.get(key)
    return _made(key, op, args, parts, kind) if node is None else _marked(node)


def _made(key: Any, op: Op, args: tuple[Expr, ...], parts: Parts, kind: ArrayType, depth: int = 4) -> Expr:
    """A new node."""
    node = object.__new__(Expr)
    node.op, node.args, node._params, node.type = op, args, parts, kind
    node.marks = origin.marks(depth)
    return op.nodes.add(key, node)  # type: ignore[no-any-return]


def _marked(node: Expr, depth: int = 4) -> Expr:
    """The node, which is also written here."""
    here = origin.marks(depth)
    if here is not node.marks:
        node.marks = origin.joined(node.marks, here)
    return node


Expr._mode = Mode("symbol", rank=1, apply=build)


def as_expr(value: Any) -> Expr:
    """A symbol as it is; data as a constant."""
    kind = type(value)
    if kind is Expr:
        return value  # type: ignore[no-any-return]
    if kind is float or kind is int:
        return constant(value)
    held = getattr(value, "expr", None)  # a traced array holds a symbol
    return held if isinstance(held, Expr) else constant(value)


def constant(value: Any) -> Expr:
    """A constant of the graph: a number (as weak as Python's own), or an array, which is copied.

    Raises:
        DTypeError: the value does not hold real numbers or bools.

    >>> import symgraph as sg
    >>> sg.constant(1) + sg.placeholder("a")
    1 + a
    """
    node: Expr | None
    if type(value) is float:  # most constants; most of them are there already
        node = ar.constant.nodes.get((float, _bytes(value)))
    else:
        if type(value) is not int:
            value = _plain_data(value)
            if isinstance(value, Value) and hasattr(value, "type"):
                return as_expr(value)
        node = None
    if node is None:
        held = ConstantValue(value)
        node = ar.constant.nodes.get(held._key)
        if node is None:
            return _made(held._key, ar.constant, (), (("value", held),), held.type, 3)
    return node if len(node.marks) >= origin.MOST else _marked(node, 3)  # nobody asks where all the ones stand


def _plain_data(value: Any) -> Any:
    """Lists, and arrays of objects, as arrays; those that hold symbols are stacked."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.tolist()
    if isinstance(value, list | tuple):
        from symgraph.functions.arrays import as_array

        return as_array(value)
    return value


ar._lift.append(constant)

_NAME = re.compile(r"[^\W\d]\w*\Z")


def placeholder(name: str, shape: Any = None, dtype: Any = None) -> Expr:
    """A named input of a formula, given as a keyword when the compiled function is called.

    Args:
        name: the keyword; a Python identifier. Equal names with equal declarations are one symbol.
        shape: None (taken from the call), or a tuple of sizes: an int, None (any), or a name; axes with equal names
            have equal sizes.
        dtype: None (taken from the call), or a dtype.

    Raises:
        ValueError: the name is not an identifier.
        ShapeError: a size is negative, or its name no identifier.
        DTypeError: the dtype is not bool, integer or floating point; or a size is not of these kinds.

    >>> import symgraph as sg
    >>> sg.placeholder("x", shape=("n", 3), dtype="float32").type
    ArrayType(dtype=dtype('float32'), shape=(n, 3), weak=False)
    """
    if not isinstance(name, str) or not _NAME.match(name):
        raise ValueError(f"a placeholder's name must be a Python identifier, got {name!r}")
    kind: np.dtype[Any] | None = None
    if dtype is not None:
        try:
            kind = np.dtype(dtype)
        except TypeError:
            raise DTypeError(f"placeholder {name!r}: there is no dtype {dtype!r:.80}") from None
        if kind.kind not in "biuf":
            raise DTypeError(f"placeholder {name!r}: dtype must be bool, integer or floating point, got {kind}")
        kind = kind.newbyteorder("=")
    known: Shape | Opaque = Opaque(frozenset({name}))
    if shape is not None:
        sizes = shape if isinstance(shape, tuple | list) else (shape,)
        known = tuple(_declared_size(name, axis, size) for axis, size in enumerate(sizes))
    return typed_placeholder(name, ArrayType(kind, known))


def typed_placeholder(name: str, kind: ArrayType) -> Expr:
    """A placeholder of a given type."""
    key = name, kind
    node: Expr | None = ar.placeholder.nodes.get(key)
    return _made(key, ar.placeholder, (), (("name", name),), kind) if node is None else _marked(node)


def bound(name: str, kind: ArrayType) -> Expr:
    """A parameter of a body, of a given type."""
    key = name, kind
    node: Expr | None = ar.bound.nodes.get(key)
    return _made(key, ar.bound, (), (("name", name),), kind) if node is None else _marked(node)


def _declared_size(name: str, axis: int, size: Any) -> Size:
    if size is None:
        return dims.atom(f"{name}.shape[{axis}]")
    if isinstance(size, str):
        if not _NAME.match(size):
            raise ShapeError(f"placeholder {name!r}: a size's name must be an identifier, got {size!r}")
        return dims.atom(size)
    if isinstance(size, Dim):
        return size
    try:
        fixed = operator.index(size)
    except SymbolError:
        raise
    except TypeError:
        raise DTypeError(
            f"placeholder {name!r}: a size is an integer, None for any, or a name such as 'n'; got {size!r:.80}"
        ) from None
    if fixed < 0:
        raise ShapeError(f"placeholder {name!r}: sizes cannot be negative, got {fixed}")
    return fixed


# -- walking and rebuilding --------------------------------------------------------------------------------------------


def toposort(outputs: Iterable[Expr]) -> list[Expr]:
    """Every node that the outputs need, arguments before users, in one fixed order. No recursion."""
    order: list[Expr] = []
    done: set[Expr] = set()
    for output in outputs:
        if output in done:
            continue
        done.add(output)
        open_, waiting = [output], [iter(output.args)]
        while open_:
            for arg in waiting[-1]:
                if arg not in done:
                    done.add(arg)
                    if arg.args:
                        open_.append(arg)
                        waiting.append(iter(arg.args))
                        break
                    order.append(arg)
            else:
                order.append(open_.pop())
                waiting.pop()
    return order


def map_dims(value: Any, rule: Callable[[Size], Size]) -> Any:
    """A parameter with every size in it replaced."""
    if isinstance(value, Dim):
        return rule(value)
    if isinstance(value, tuple):
        mapped = [map_dims(v, rule) for v in value]
        return type(value)(*mapped) if hasattr(value, "_fields") else tuple(mapped)
    if isinstance(value, Body):
        return value.mapped(rule)
    return value


def rebuild(
    outputs: Sequence[Expr],
    replace: Mapping[Expr, Expr],
    rule: Callable[[Size], Size] | None = None,
    order: Iterable[Expr] | None = None,
) -> list[Expr]:
    """The outputs built anew with some nodes replaced, and sizes in parameters mapped; types are inferred again.

    `order` is the outputs' toposort, where the caller has it.
    """
    made: dict[Expr, Expr] = dict(replace)
    with origin.derived_from() as derived:
        for node in toposort(outputs) if order is None else order:
            if node in made:
                continue
            if not node.args:
                made[node] = node
                continue
            args = tuple([made[a] for a in node.args])
            parts = node._params
            if rule is not None and parts:
                parts = tuple([(k, map_dims(v, rule)) for k, v in parts])
            if args == node.args and parts == node._params:
                made[node] = node
                continue
            derived.follow(node.marks)
            made[node] = build(node.op, args, dict(parts))
    return [made[o] for o in outputs]


def placeholders(outputs: Iterable[Expr]) -> list[Expr]:
    """The placeholders that the outputs depend on, in the order in which they are met."""
    return [n for n in toposort(outputs) if n.op is ar.placeholder]


# -- graphs inside nodes -----------------------------------------------------------------------------------------------


class Body:
    """A graph of its own inside a node: outputs over its parameters and constants, and over nothing else.

    Attributes:
        parameters: bound symbols, with the types that they are given.
        outputs: what it computes from them.
    """

    __slots__ = ("_latest", "outputs", "parameters")

    def __init__(self, parameters: Iterable[Expr], outputs: Iterable[Expr]) -> None:
        self.parameters, self.outputs = tuple(parameters), tuple(outputs)
        self._latest: tuple[tuple[ArrayType, ...], Body] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Body) and self.parameters == other.parameters and self.outputs == other.outputs

    def __hash__(self) -> int:
        return hash((self.parameters, self.outputs))

    def __repr__(self) -> str:
        given = ", ".join(map(repr, self.parameters))
        return f"({given}) -> ({', '.join(format_expr(o, 80) for o in self.outputs)})"

    def __reduce__(self) -> Any:
        return _unpickle_body, (to_table([*self.parameters, *self.outputs]), len(self.parameters))

    def of(self, *args: Expr) -> list[Expr]:
        """The outputs with arguments in place of the parameters."""
        return rebuild(self.outputs, dict(zip(self.parameters, args, strict=True)))

    def typed(self, types: Sequence[ArrayType]) -> Body:
        """The body for parameters of these types; what it computes is typed anew."""
        if all(p.type is t for p, t in zip(self.parameters, types, strict=True)):
            return self
        key, latest = tuple(types), self._latest
        if latest is None or latest[0] != key:
            # Who types a loop asks more than once: of loops in loops, each would double the work.
            parameters = self._parameters(types)
            self._latest = latest = key, Body(parameters, self.of(*parameters))
        return latest[1]

    def _parameters(self, types: Sequence[ArrayType]) -> list[Expr]:
        """Parameters of the same names, of other types."""
        parameters = []
        with origin.derived_from() as derived:
            for old, kind in zip(self.parameters, types, strict=True):
                derived.follow(old.marks)
                parameters.append(bound(old._params[0][1], kind))
        return parameters

    def mapped(self, rule: Callable[[Size], Size]) -> Body:
        """The body with every size replaced, in its parameters' types and in what it computes."""
        kinds = [p.type for p in self.parameters]
        types = [
            k if isinstance(k.shape, Opaque) else ArrayType(k.dtype, tuple(map(rule, k.shape)), k.weak) for k in kinds
        ]
        parameters = self._parameters(types)
        return Body(parameters, rebuild(self.outputs, dict(zip(self.parameters, parameters, strict=True)), rule))


def _mapped_type(kind: ArrayType, rule: Callable[[Size], Size]) -> ArrayType:
    return kind if isinstance(kind.shape, Opaque) else ArrayType(kind.dtype, tuple(map(rule, kind.shape)), kind.weak)


def bodies_of(node: Expr) -> Iterator[Body]:
    """The graphs inside a node."""
    if node.op.kind != "control":
        return
    for _, value in node.parts:
        if isinstance(value, Body):
            yield value
        elif isinstance(value, tuple):
            yield from (v for v in value if isinstance(v, Body))


def _unpickle_body(table: list[tuple[Any, ...]], count: int) -> Body:
    nodes = from_table(table)
    return Body(nodes[:count], nodes[count:])


# -- as a table: how graphs are pickled and saved ----------------------------------------------------------------------


def to_table(outputs: Sequence[Expr]) -> list[tuple[Any, ...]]:
    """The graph as rows (operation, argument rows, parameters, type of a placeholder, origins); no recursion."""
    order = toposort(outputs)
    row = {node: k for k, node in enumerate(order)}
    table: list[tuple[Any, ...]] = [tuple(row[o] for o in outputs)]
    for node in order:
        params = tuple((k, v.value if isinstance(v, ConstantValue) else v) for k, v in node._params)
        kind = node.type if node.op in ar.NAMED else None
        table.append((node.op.name, tuple(row[a] for a in node.args), params, kind, tuple(map(tuple, node.origins))))
    return table


def from_table(table: list[tuple[Any, ...]]) -> list[Expr]:
    """The outputs of a graph made by :func:`to_table`."""
    nodes: list[Expr] = []
    for name, args, params, kind, places in table[1:]:
        op = REGISTRY[name]
        marks = tuple(origin.Origin(*p) for p in places)
        with origin.derived_from(marks):
            if op is ar.constant:
                nodes.append(constant(dict(params)["value"]))
            elif op in ar.NAMED:
                nodes.append((bound if op is ar.bound else typed_placeholder)(dict(params)["name"], kind))
            else:
                nodes.append(build(op, [nodes[a] for a in args], dict(params)))
    return [nodes[k] for k in table[0]]


def _unpickle(table: list[tuple[Any, ...]], k: int) -> Expr:
    return from_table(table)[k]


# -- as text -----------------------------------------------------------------------------------------------------------

_ATOM = 20
_PRECEDENCE = {
    "named": _ATOM,
    "printed": _ATOM,
    "stopped_at": _ATOM,
    "where": 0,
    "bitwise_or": 3,
    "bitwise_xor": 4,
    "bitwise_and": 5,
    "less": 2,
    "less_equal": 2,
    "greater": 2,
    "greater_equal": 2,
    "equal": 2,
    "not_equal": 2,
    "left_shift": 6,
    "right_shift": 6,
    "add": 7,
    "sub": 7,
    "fma": 7,
    "mul": 8,
    "div": 8,
    "floordiv": 8,
    "mod": 8,
    "matmul": 8,
    "neg": 9,
    "pos": 9,
    "invert": 9,
    "pow": 10,
    "power": 10,
}


def format_expr(root: Expr, limit: int = 400, names: Mapping[Expr, str] | None = None) -> str:
    """The formula in Python's notation; parts beyond about `limit` characters are left out as "..."; what has a name
    among `names` stands there by it."""
    named = names or {}

    def write(node: Expr, texts: Mapping[Expr, tuple[str, float]]) -> tuple[str, float]:
        return (named[node], _ATOM) if node in named and node is not root else _format_node(node, texts)

    text = spelled(root, limit, write, ("...", _ATOM), named)
    return text if text != "..." else f"{root.op.name}(...)"


Spell = Callable[["Expr", Mapping["Expr", tuple[str, float]]], tuple[str, float]]
"""Writes one node, given its arguments' texts and how strongly each binds, where they are known."""


def spelled(root: Expr, limit: int, write: Spell, dots: tuple[str, float], closed: Container[Expr] = ()) -> str:
    """The formula as `write` writes its nodes; `dots` stand for what exceeds about `limit` characters. Nodes that are
    `closed` are not looked into."""
    # The size of a formula is that of its tree, which may be exponential in its graph: stop opening nodes when the
    # text is long enough. Built bottom-up over the nodes opened, breadth first.
    opened: dict[Expr, None] = {root: None}
    frontier = [root]
    budget = limit // 3
    while frontier and budget > 0:
        following: list[Expr] = []
        for node in frontier:
            for arg in node.args if node is root or node not in closed else ():
                if arg not in opened and budget > 0:
                    opened[arg] = None
                    following.append(arg)
                    budget -= 1
        frontier = following
    texts: dict[Expr, tuple[str, float]] = {}
    for node in toposort_within(root, opened):
        text, level = write(node, texts)
        texts[node] = (text, level) if len(text) <= limit else dots
    return texts[root][0]


HOLE = "∙"
"""Stands for an argument in :func:`short_form`; no name can hold it."""


def short_form(node: Expr) -> str:
    """The last step of a formula: what was computed before it stands as HOLE.

    >>> import symgraph as sg
    >>> x = sg.placeholder("x")
    >>> short_form(sg.exp(x) * 2)
    '∙ * 2'
    """
    texts = {a: (HOLE, _ATOM) if a.args else _format_node(a, {}) for a in node.args}
    return _format_node(node, texts)[0]


def toposort_within(root: Expr, allowed: Mapping[Expr, None]) -> list[Expr]:
    """The nodes of `allowed`, arguments before users."""
    order: list[Expr] = []
    seen: set[Expr] = {root}
    stack: list[tuple[Expr, int]] = [(root, 0)]
    while stack:
        node, position = stack.pop()
        args = node.args
        while position < len(args) and (args[position] in seen or args[position] not in allowed):
            position += 1
        if position < len(args):
            stack.append((node, position + 1))
            seen.add(args[position])
            stack.append((args[position], 0))
        else:
            order.append(node)
    return order


def _format_node(node: Expr, texts: Mapping[Expr, tuple[str, float]]) -> tuple[str, float]:
    if node.op in ar.NAMED:  # what follows the mark tells parameters of one name apart
        return str(node._params[0][1]).partition("·")[0], _ATOM
    if node.op is ar.constant:
        text = repr(dict(node._params)["value"])
        return (text, 9) if text.startswith("-") else (text, _ATOM)
    args = [texts.get(a, ("...", _ATOM)) for a in node.args]
    params = node.params
    if node.op.kind in ("control", "part"):
        return _format_control(node, [text for text, _ in args], params), _ATOM
    level = _PRECEDENCE.get(node.op.name)
    if node.op.symbol and level is not None:
        spaced = [
            f"({text})" if inner < level or (inner == level and k > 0) or (inner == level == 10) else text
            for k, (text, inner) in enumerate(args)
        ]
        if node.op.name == "fma":
            spaced = [f"({t})" if i < (8 if k < 2 else 7) else t for k, (t, i) in enumerate(args)]
        return node.op.symbol.format(*spaced, **params), level
    if node.op is ar.getitem:
        entries = ", ".join("..." if e is Ellipsis else str(e) for e in params["index"])
        text, inner = args[0]
        return (f"{text}[{entries}]" if inner >= _ATOM else f"({text})[{entries}]"), _ATOM
    shown = [text for k, (text, _) in enumerate(args)]
    shown += [f"{k}={v}" for k, v in params.items() if v is not None and v is not False]
    return f"{node.op.name}({', '.join(shown)})", _ATOM


def _format_control(node: Expr, args: Sequence[str], params: Mapping[str, Any]) -> str:
    """A choice, a loop, or one of its values, as the functions that make them are written."""
    if node.op is ct.item:
        return f"{args[0]}[{params['index']}]"
    if node.op is ct.switch:
        if node.args[0].type.dtype == np.bool_ and len(args) == 3:
            return f"cond({args[0]}, {args[2]}, {args[1]})"
        return f"switch({', '.join(args)})"
    if node.op is ct.branch:
        bodies = [
            _format_body(b, dict(zip(b.parameters, map(_enclosed, args[1:]), strict=True)), 0) for b in params["bodies"]
        ]
        return f"branch({', '.join([args[0], *bodies])})"
    body: Body = params["body"]
    given = ct.split(args, dict(params))
    inner = body.parameters[1 + params["states"] + params["xs"] :]
    names = {p: _enclosed(text) for p, text in zip(inner, given.outside, strict=True)}
    shown = [_format_body(body, names, len(body.parameters) - len(inner))]
    if params["cond"] is not None:
        shown.insert(0, _format_body(params["cond"], names, len(body.parameters) - len(inner)))
    count = given.trips if given.trips is not None else params["length"]
    lead = [] if count is None else [str(count)]
    first = f"({', '.join(given.states)})"
    if params["trips"] == ct.WHILE:
        return f"while_loop({', '.join([*shown, first])})"
    if not given.xs and len(body.outputs) == params["states"]:
        return f"fori_loop({', '.join([*lead, *shown, first])})"
    backwards = ["reverse=True"] if params["reverse"] else []
    return f"scan({', '.join([*shown, first, *(given.xs or lead), *backwards])})"


def _enclosed(text: str) -> str:
    """A text that can stand where a name can."""
    return f"({text})" if " " in text and not text.endswith("]") else text


def _format_body(body: Body, names: Mapping[Expr, str], count: int) -> str:
    """A body as a function of its first `count` parameters."""
    results = ", ".join(format_expr(o, 60, names) if o not in names else names[o] for o in body.outputs)
    results = results if len(body.outputs) == 1 else f"({results})"
    given = ", ".join(str(p._params[0][1]) for p in body.parameters[:count])
    return f"({given}) -> {results}" if count else results


def check_same_shape(what: str, a: ArrayType, b: ArrayType) -> None:
    """Raise ShapeError where two known shapes differ."""
    if not isinstance(a.shape, Opaque) and not isinstance(b.shape, Opaque) and a.shape != b.shape:
        raise ShapeError(f"{what}: shapes {format_shape(a.shape)} and {format_shape(b.shape)} differ")

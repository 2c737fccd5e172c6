"""What a picture shows of a graph, as plain data: the DOT writer and the inspector's page both start from a View.

A view has

- `nodes`: a node is an operation together with the values it gives (its `results`), or a value that comes from outside.
  `View.nodes[i].id == i`; until something is collapsed, arguments stand before users.
  A node knows its part (`role`), the lines that wrote it (`origins`), the name scopes it was written in (`scopes`,
  "encoder/layer1"), the kernel that computes it (`kernel`, a number in `View.kernels`), the frame it is drawn in
  (`group`, a number in `View.groups`), and what it holds inside (`body`: titled views, for loops and branches).
- `edges`: from a result (`tail`, `port`) to an argument (`head`, `position`), in the order of heads and positions.
- `groups`: frames, which may lie in frames.
- `outputs`: which results the graph gives.

Nothing in it refers to the graph it was made from, so a view can be written as JSON (:func:`as_data`), kept, and
compared. `symgraph.collapse.collapse` makes one node of many; `Node.members` tells of which.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

from symgraph import dims
from symgraph.eager import OpFunction, Variable
from symgraph.expr import Body, Expr, format_expr
from symgraph.grad import needed
from symgraph.interning import collection_paused
from symgraph.ops import array as ar
from symgraph.origin import Origin
from symgraph.types import ArrayType, Opaque, format_shape

Role = Literal["input", "constant", "forward", "backward"]
Drawable = Variable | Expr


@dataclass(slots=True, frozen=True)
class Result:
    """A value that a node gives.

    Attributes:
        name: what the user calls it, or "".
        shape: as NumPy prints it, with names for sizes that are not known; "(?)" where nothing is; "" without data.
        dtype: its name; "?" where it is not known, "" without data.
        elements: how many, where that is fixed.
        nbytes: its bytes, where they are fixed.
    """

    name: str = ""
    shape: str = ""
    dtype: str = ""
    elements: int | None = None
    nbytes: int | None = None

    @property
    def type(self) -> str:
        """Shape and dtype: ``(2, 3) float64``."""
        return f"{self.shape} {self.dtype}".strip()


@dataclass(slots=True)
class Node:
    """An operation with its results, or a value from outside; after a collapse, one of these for many.

    Attributes:
        id: its place in `View.nodes`.
        label: the operation's name, the input's name, the constant's value, or what the collapsed ones have in common.
        kind: the row's kind ("elementwise", "reduction", ...), "source" for values from outside, "function" for a
            user's own Function; "scope", "line" or "kernel" where a collapse put different nodes into one.
        role: "input", "constant", "forward" or "backward".
        results: what it gives; an edge's `port` is a place in it.
        params: the operation's parameters as text, by name.
        symbol: how formulas write it, with {} for arguments: "{} * {}"; "" where they write its name.
        saved: the positions of the arguments that its gradient needs, -1 for its result; where asked for.
        origins: the lines of the user's source that wrote it, the last of them first.
        scopes: the name scopes that it was written in; "" among them where it was written outside of any as well.
        kernel: the number of the kernel that computes it, where there is one.
        group: the number of the frame that it is drawn in.
        count: how many nodes of the graph it stands for.
        repeated: how often what it stands for is repeated.
        members: the ids, in the view that was collapsed, of what it stands for; empty for itself.
        body: titled views inside of it, as ("body", View) of a loop.
    """

    id: int
    label: str
    kind: str
    role: Role
    results: tuple[Result, ...] = (Result(),)
    params: dict[str, str] = field(default_factory=dict)
    symbol: str = ""
    saved: tuple[int, ...] = ()
    origins: tuple[Origin, ...] = ()
    scopes: tuple[str, ...] = ()
    kernel: int | None = None
    group: int | None = None
    count: int = 1
    repeated: int = 1
    members: tuple[int, ...] = ()
    body: tuple[tuple[str, View], ...] = ()

    @property
    def leaf(self) -> bool:
        """Whether its value comes from outside."""
        return self.role in ("input", "constant")


@dataclass(slots=True)
class Edge:
    """Result `port` of node `tail` is argument `position` of node `head`.

    Attributes:
        count: how many edges of the graph it stands for.
        carried: it leads from one repetition to the next.
    """

    tail: int
    head: int
    position: int = 0
    port: int = 0
    count: int = 1
    carried: bool = False


@dataclass(slots=True, frozen=True)
class Group:
    """A frame around nodes.

    Attributes:
        label: its title.
        kind: "repeat", "scope", "kernel", "role" or "stage".
        parent: the number of the frame around it.
        kernel: the number of the kernel whose frame it is.
    """

    label: str
    kind: str
    parent: int | None = None
    kernel: int | None = None


@dataclass(slots=True)
class Kernel:
    """A step of a compiled schedule: loops that run as one, or a matrix product.

    Attributes:
        label: what it is, in short.
        flops, nbytes, picoseconds: estimates, where sizes are known.
        seconds: measured, where it was.
    """

    label: str
    flops: int | None = None
    nbytes: int | None = None
    picoseconds: int | None = None
    seconds: float | None = None


@dataclass(slots=True)
class Output:
    """Result `port` of `node` is given out, under this label."""

    label: str
    node: int
    port: int = 0


@dataclass(slots=True)
class View:
    """A graph as a picture shows it; see the module.

    >>> import symgraph as sg
    >>> from symgraph.view import view_of
    >>> x = sg.placeholder("x")
    >>> view = view_of([x * x + 1])
    >>> [(node.label, node.role) for node in view.nodes]
    [('x', 'input'), ('Mul', 'forward'), ('1', 'constant'), ('Add', 'forward')]
    >>> [(e.tail, e.head, e.position) for e in view.edges]
    [(0, 1, 0), (0, 1, 1), (1, 3, 0), (2, 3, 1)]
    """

    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    kernels: list[Kernel] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)

    def arguments(self) -> list[list[Edge]]:
        """For each node, the edges that lead to it."""
        found: list[list[Edge]] = [[] for _ in self.nodes]
        for edge in self.edges:
            found[edge.head].append(edge)
        return found


def as_data(view: View) -> dict[str, Any]:
    """The view as dicts, lists, numbers and strings, for :mod:`json`."""
    return asdict(view)


# -- from values -------------------------------------------------------------------------------------------------------


def view_of(outputs: Iterable[Drawable], gradients: Iterable[Drawable] = (), *, saved: bool = False) -> View:
    """The graph behind Variables or symbols.

    Args:
        outputs: values at the end of the graph.
        gradients: values whose graph, where it is not that of the outputs, is the backward part.
        saved: find out what each operation's gradient needs.

    Raises:
        TypeError: a value is neither a Variable nor a symbol.
    """
    return numbered(outputs, gradients, saved=saved)[0]


@collection_paused()
def numbered(
    outputs: Iterable[Drawable], gradients: Iterable[Drawable] = (), *, saved: bool = False
) -> tuple[View, dict[Hashable, tuple[int, int]]]:
    """The same, and where each value is: the node, and the place among its results."""
    builder = _Builder(saved)
    builder.add(outputs, "forward")
    builder.add(gradients, "backward")
    return builder.view, builder.places


class _Builder:
    """Makes a view of values; those of an earlier call are there already."""

    def __init__(self, saved: bool) -> None:
        self.view = View()
        self.places: dict[Hashable, tuple[int, int]] = {}
        self.creators: dict[Hashable, int] = {}  # of Functions, which may have several results
        self.saved = saved

    def add(self, outputs: Iterable[Drawable], role: Role) -> None:
        wanted = list(outputs)
        for output in wanted:
            if not isinstance(output, Variable | Expr):
                raise TypeError(f"only the graph of a Variable or a symbol can be drawn, not that of {output!r:.60}")
        for value in in_order(wanted, self.places):
            if isinstance(value, Expr):
                self._symbol(value, role)
            else:
                self._variable(value, role)
        for output in wanted:
            self.view.outputs.append(Output(_name(output), *self.places[output]))

    def _node(self, label: str, kind: str, role: Role, result: Result, *known: Any, **more: Any) -> Node:
        node = Node(len(self.view.nodes), label, kind, role, (result,), *known, **more)
        self.view.nodes.append(node)
        return node

    def _edges(self, head: int, arguments: Sequence[Drawable]) -> None:
        for position, argument in enumerate(arguments):
            tail, port = self.places[argument]
            self.view.edges.append(Edge(tail, head, position, port))

    def _symbol(self, value: Expr, role: Role) -> None:
        op, kind = value.op, value.op.kind
        places = value.origins
        scopes = tuple(dict.fromkeys([place.scope for place in places]))
        if kind == "source":
            label = op.label
            if op is ar.constant:
                label, role = repr(value.parts[0][1]), "constant"
            elif op in ar.NAMED:
                label, role = format_expr(value), "input"
            node = self._node(label, kind, role, _result_of(value), origins=places, scopes=scopes)
        else:
            params = {key: _short(v) for key, v in value.parts if not _bodies(v)} if value.parts else {}
            node = self._node(op.label, kind, role, _result_of(value), params, op.symbol, origins=places, scopes=scopes)
            if self.saved:
                node.saved = needed(op, [a.type for a in value.args], value.type, value.params)
            if kind == "control":
                node.body = tuple((title, view_of(body.outputs)) for title, body in titled(value))
            self._edges(node.id, value.args)
        self.places[value] = node.id, 0

    def _variable(self, value: Variable, role: Role) -> None:
        creator = value.creator
        if creator is None:
            self.places[value] = self._node(value.name or "", "source", "input", _result_of(value)).id, 0
            return
        if creator in self.creators:
            node = self.view.nodes[self.creators[creator]]
            self.places[value] = node.id, len(node.results)
            node.results += (_result_of(value),)
            return
        node = self._node(creator.label, "function", role, _result_of(value), scopes=(creator.scope,))
        if isinstance(creator, OpFunction):
            op = creator.op
            node.kind, node.symbol = op.kind, op.symbol
            node.params = {key: _short(v) for key, v in creator.params.items()}
            for x, given in zip(creator.inputs, creator._inputs, strict=True):
                if not isinstance(given, Variable):
                    leaf = self.view.nodes[self.places[x][0]]
                    leaf.label, leaf.role = _data(x.data), "constant"
            if self.saved:
                kinds = [ArrayType(x.dtype, x.shape) for x in creator.inputs]
                node.saved = needed(op, kinds, ArrayType(value.dtype, value.shape), creator.params)
        self.creators[creator] = node.id
        self._edges(node.id, creator.inputs)
        self.places[value] = node.id, 0


def _bodies(value: Any) -> bool:
    return isinstance(value, Body) or (isinstance(value, tuple) and any(isinstance(v, Body) for v in value))


def titled(node: Expr) -> Iterator[tuple[str, Body]]:
    """The graphs inside a node, with titles."""
    if node.op.kind != "control":
        return
    for key, value in node.parts:
        if isinstance(value, Body):
            yield {"body": "each round", "cond": "as long as"}.get(key, key), value
        elif _bodies(value):
            yield from ((f"branch {k}", body) for k, body in enumerate(value))


def _arguments(value: Drawable) -> Sequence[Drawable]:
    if isinstance(value, Variable):
        return () if value.creator is None else value.creator.inputs
    return value.args


def in_order(outputs: Iterable[Drawable], known: Iterable[Hashable]) -> Iterator[Drawable]:
    """The outputs and all that they depend on, arguments before results, without what is known. No recursion."""
    seen: set[Hashable] = set(known)
    for output in outputs:
        if output in seen:
            continue
        seen.add(output)
        stack = [(output, iter(_arguments(output)))]
        while stack:
            value, rest = stack[-1]
            following = next((a for a in rest if a not in seen), None)
            if following is None:
                yield value
                stack.pop()
            else:
                seen.add(following)
                stack.append((following, iter(_arguments(following))))


def _name(value: Drawable) -> str:
    return value.name or ""


def _text(value: Any) -> str:
    if type(value) is tuple:  # not one of the named tuples, which have a text of their own
        return f"({', '.join(map(_text, value))}{',' * (len(value) == 1)})"
    return "..." if value is Ellipsis else str(value)


def _short(value: Any) -> str:
    text = _text(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _data(array: Any) -> str:
    return str(array.tolist()) if array.size <= 6 else f"array{format_shape(array.shape)}"


def _result_of(value: Drawable) -> Result:
    if isinstance(value, Expr):
        found = _result_of_type(value.type)
    elif value.data is None:
        found = Result()
    else:
        found = _result_of_type(ArrayType(value.dtype, value.shape))
    return found if value.name is None else replace(found, name=value.name)


@lru_cache(maxsize=4096)
def _result_of_type(kind: ArrayType) -> Result:
    elements: int | None = None
    if not isinstance(kind.shape, Opaque):
        total = dims.product(kind.shape)
        elements = total if isinstance(total, int) else None
    dtype = kind.dtype
    nbytes = None if elements is None or dtype is None else elements * dtype.itemsize
    return Result("", format_shape(kind.shape), "?" if dtype is None else dtype.name, elements, nbytes)

"""Program: a graph as straight-line loop nests over scalars and buffers, which every code writer reads.

Scalar statements are recorded by running the rows' scalar rules on recording scalars (symgraph.scalar), so the meaning
of an operation is written once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from symgraph import dims
from symgraph.dims import Size
from symgraph.errors import CompileError, message
from symgraph.expr import Expr, format_expr
from symgraph.ops import control as ct
from symgraph.scalar import BINARY_MATH, UNARY_MATH

# -- buffers and addresses ---------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Buffer:
    """Memory for one value, in C order.

    `role`: "input", "constant" (given with the call), "output" (given, written), "temporary", "slot" (one element on
    the stack), "scalar" (an input passed by value), "tile" (room for the rows of one tile, each chunk its own),
    "partial" (what one chunk accumulates: `elements` for each chunk), "tape" (what a loop gathers in a number of rounds
    that it finds out), "block" (of its rows, those that run at a time are held, each thread its own).
    """

    name: str
    dtype: np.dtype[Any]
    elements: Size
    role: str
    node: Expr | None = None


def grows(buffer: Buffer) -> bool:
    """Whether it has as many rows as a loop finds out."""
    return dims.atoms(ct.RUN) <= dims.atoms(buffer.elements)


class Address(NamedTuple):
    """An element of a buffer: ``constant + sum(step * variable)``; a variable is a loop (its number) or a statement
    that computes an index."""

    constant: Size
    terms: tuple[tuple[int | Ref, Size], ...]


class Ref(NamedTuple):
    """The result of a statement of the same nest."""

    number: int


# -- statements --------------------------------------------------------------------------------------------------------


class Load(NamedTuple):
    """result = buffer[address]; with a mask: 0 where that statement is false, and nothing is read there

    Memory so many bytes `ahead` is asked for, where that is not 0.
    """

    result: int
    dtype: np.dtype[Any]
    buffer: Buffer
    address: Address
    mask: int | None = None
    ahead: int = 0


class Const(NamedTuple):
    """result = a literal"""

    result: int
    dtype: np.dtype[Any]
    value: Any


class SizeOf(NamedTuple):
    """result = a size of the call, as an integer"""

    result: int
    dtype: np.dtype[Any]
    size: Size


class Position(NamedTuple):
    """result = an address as a number: where the loops are"""

    result: int
    dtype: np.dtype[Any]
    address: Address


class Primitive(NamedTuple):
    """result = primitive(arguments)"""

    result: int
    dtype: np.dtype[Any]
    name: str
    args: tuple[int, ...]


class Store(NamedTuple):
    """buffer[address] = value, or combined with what is there

    Memory so many bytes `ahead` is asked for, where that is not 0.
    """

    buffer: Buffer
    address: Address
    value: int
    combine: str  # "set", "add", "mul", "maximum", "minimum", "and", "or"
    ahead: int = 0


class Reduce(NamedTuple):
    """accumulator = combine(accumulator, value); kept in a register while the trailing loops run, then stored"""

    buffer: Buffer
    address: Address
    value: int
    combine: str
    depth: int  # the loops from this one on are reduced
    dtype: np.dtype[Any]  # of the accumulator
    position: Address | None  # for argmax and argmin: the number of the element
    run: np.dtype[Any] | None = None  # of the sums of some steps, which are then added to it


class Check(NamedTuple):
    """where the condition is false, the call fails with this error"""

    condition: int
    error: int


LOW = -1
"""The variable that is the first row of the tile."""


class Fill(NamedTuple):
    """Every element of a buffer is set to a value; with a `row`, the elements of the tile's rows alone."""

    buffer: Buffer
    value: Any
    row: Size | None = None


class Start(NamedTuple):
    """An accumulator is set to the identity of its combining operation, or to the `first` value: one in each of `lanes`
    lanes."""

    accumulator: int
    dtype: np.dtype[Any]
    combine: str
    position: bool
    lanes: int
    run: np.dtype[Any] | None = None
    first: int | None = None


class Accumulate(NamedTuple):
    """accumulator = combine(accumulator, value); with the position of the extremum, where that is wanted

    Where there is a `run`, values of this dtype are added up in it for `RUN` steps of a loop over vectors, or to its
    end, and then added to the accumulator, which is wider.
    """

    accumulator: int
    dtype: np.dtype[Any]
    value: int
    combine: str
    position: Address | None
    run: np.dtype[Any] | None = None


class Finish(NamedTuple):
    """buffer[address] = accumulator, its lanes combined in halves; or the position it stands at"""

    accumulator: int
    dtype: np.dtype[Any]
    buffer: Buffer
    address: Address
    combine: str
    position: bool


class Fold(NamedTuple):
    """result = an element of a buffer in which each of `lanes` lanes has its own, these combined in halves"""

    result: int
    dtype: np.dtype[Any]
    buffer: Buffer
    address: Address
    combine: str
    lanes: int


Statement = Load | Const | SizeOf | Position | Primitive | Store | Reduce | Check | Fold


class Note(NamedTuple):
    """Which node the following statements compute, for readers."""

    node: Expr


@dataclass(eq=False)
class Nest:
    """What the scheduler makes: loops over `sizes`, outermost first, around a body; `fills` are set before they start.

    `factor`: how many steps of the first loop make one of its `rows`. `group`: the nests it runs with. `vector`: the
    loop whose steps are taken `lanes` at a time. `rows_last`: the first loop runs inside of the others. `changes`: what
    it changes of what others have written before.
    """

    sizes: list[Size]
    body: list[Item] = field(default_factory=list)
    fills: list[tuple[Buffer, Any]] = field(default_factory=list)
    factor: Size = 1
    rows: Size | None = None
    vector: int = 0
    lanes: int = 1
    rows_last: bool = False
    group: Any = None
    changes: Buffer | None = None

    def rewrite(self, body: list[Item]) -> None:
        """Give it another body."""
        self.body = body
        for known in ("accesses", "loaded", "written"):
            self.__dict__.pop(known, None)

    @cached_property
    def accesses(self) -> dict[Buffer, list[Load | Store | Reduce]]:
        """The statements that read or write each buffer."""
        found: dict[Buffer, list[Load | Store | Reduce]] = {}
        for s in self.body:
            if is_access(s):
                found.setdefault(s.buffer, []).append(s)
        return found

    @cached_property
    def loaded(self) -> set[Buffer]:
        """The buffers that it reads."""
        return {s.buffer for s in self.body if isinstance(s, Load)}

    @cached_property
    def written(self) -> set[Buffer]:
        """The buffers that it writes."""
        return {s.buffer for s in self.body if writes(s)}


@dataclass(eq=False)
class Loop:
    """A loop over a variable from 0 to `size`; `tiled`: over the rows of the tile below `size`, `factor` steps each.

    With `lanes`, so many steps are taken at once, and the last ones, where they are fewer, under a mask.
    """

    variable: int
    size: Size
    body: list[Item]
    tiled: bool = False
    factor: Size = 1
    lanes: int = 1


@dataclass(eq=False)
class Tiles:
    """The rows of a chunk in tiles of `width` rows; None: all at once."""

    width: Size | None
    body: list[Item]


Item = Statement | Note | Fill | Start | Accumulate | Finish | Loop | Tiles

# What kind a statement is, is asked of each one many times; isinstance with several classes takes ten times as long.
_ACCESSES, _LOADS_AND_STORES, _WRITES = map(frozenset, ((Load, Store, Reduce), (Load, Store), (Store, Reduce)))
_ADDRESSED = _ACCESSES | {Position}
_VALUES = frozenset((Load, Const, SizeOf, Position, Primitive, Fold))
_COUNTED = _LOADS_AND_STORES | {Primitive}
_NESTED = frozenset((Loop, Tiles))


def is_access(s: Item) -> TypeGuard[Load | Store | Reduce]:
    """Whether a statement of a nest reads or writes a buffer."""
    return type(s) in _ACCESSES


def loads_or_stores(s: Item) -> TypeGuard[Load | Store]:
    """Whether a statement moves one value between a buffer and a register."""
    return type(s) in _LOADS_AND_STORES


def writes(s: Item) -> TypeGuard[Store | Reduce]:
    """Whether a statement of a nest writes into a buffer."""
    return type(s) in _WRITES


def has_address(s: Item) -> TypeGuard[Load | Store | Reduce | Position]:
    """Whether a statement of a nest has an address."""
    return type(s) in _ADDRESSED


def makes_value(s: Item) -> TypeGuard[Load | Const | SizeOf | Position | Primitive | Fold]:
    """Whether a statement has a result that others take."""
    return type(s) in _VALUES


class Partial(NamedTuple):
    """Each chunk accumulates into a `partial` of its own; they are combined in order into `buffer` afterwards.

    `lanes`: how many numbers of the partial make one element. `block`: so many neighbours of the buffer lie apart in
    the partial, where elements that are a block apart are neighbours.
    """

    buffer: Buffer
    partial: Buffer
    combine: str
    lanes: int
    block: Size = 1

    @property
    def across(self) -> Size:
        """How many neighbours there are in the partial."""
        return dims.floordiv(self.buffer.elements, self.block)


@dataclass(eq=False)
class Region:
    """Loops and statements that run as one function, for chunks of `chunk` rows out of `size`, in any order and number
    of threads; `size` is None where nothing is cut into chunks.

    `cost` is about how many picoseconds a row takes, `moved` how many bytes of memory it reads and writes. `fills` are
    done before. `tiles` are the buffers that each chunk has for itself, most with room for one tile; `across` tells
    that in them rows are neighbours, so that vectors run across rows. `wide` are those in which lanes have elements of
    their own, and how many. Of the buffers in `by_rows` each row of the region touches a row of its own alone. Where
    `in_order`, the rows run one after the other.
    """

    items: list[Item]
    size: Size | None = None
    chunk: Size = 1
    chunks: Size = 1
    cost: Size = 0
    moved: Size = 0
    fills: list[Fill] = field(default_factory=list)
    partials: list[Partial] = field(default_factory=list)
    tiles: list[Buffer] = field(default_factory=list)
    across: bool = False
    wide: dict[Buffer, int] = field(default_factory=dict)
    by_rows: frozenset[Buffer] = frozenset()
    in_order: bool = False


@dataclass(eq=False)
class Product:
    """c[b, i, j] = sum over k of a[b, i, k] * b[b, k, j], for every point of the batch."""

    batch: list[Size]
    rows: Size
    columns: Size
    inner: Size
    a: tuple[Buffer, Address, Size, Size]  # buffer, batch address, step of i, step of k
    b: tuple[Buffer, Address, Size, Size]  # buffer, batch address, step of k, step of j
    c: tuple[Buffer, Address]
    node: Expr


@dataclass(eq=False)
class Repeat:
    """A loop around a program.

    The program's inputs are the round, the state, the elements of `xs` and `outside`; its outputs are the next state
    and what is gathered. `holds` is the program of the condition, over the same inputs; `trips` says how often it runs:
    a size, a buffer, or None where only the condition does.

    `firsts` are the first values of the state, `lasts` its last ones, `gathered` the arrays whose rows the rounds
    write, `count` how many rounds were run; None for what nobody wants. A state `in_place` is changed where it lies.
    `limit` is how many rounds may be run, and `error` the number of the failure if that is not enough.
    """

    node: Expr
    body: Program
    holds: Program | None
    trips: Size | Buffer | None
    firsts: list[Buffer]
    lasts: list[Buffer | None]
    xs: list[Buffer]
    gathered: list[Buffer | None]
    count: Buffer | None
    outside: list[Buffer]
    in_place: list[bool]
    reverse: bool
    limit: int | None
    error: int

    @property
    def reads(self) -> list[Buffer]:
        """The buffers that it reads."""
        trips = [self.trips] if isinstance(self.trips, Buffer) else []
        return list(dict.fromkeys([*trips, *self.firsts, *self.xs, *self.outside]))

    @property
    def writes(self) -> list[Buffer]:
        """The buffers that it writes."""
        found = [*self.lasts, *self.gathered, self.count]
        return list(dict.fromkeys(b for b in found if b is not None))

    @property
    def inner(self) -> list[Program]:
        """The programs inside."""
        return [self.body] if self.holds is None else [self.holds, self.body]

    @property
    def rounds(self) -> list[tuple[Buffer, Buffer]]:
        """The arrays that have a row for each round, each with the buffer that this is inside."""
        states = len(self.firsts)
        read = zip(self.xs, self.body.inputs[1 + states :], strict=False)
        written = zip(self.gathered, self.body.outputs[states:], strict=True)
        return [*read, *((b, row) for b, row in written if b is not None)]

    @property
    def taken(self) -> dict[Buffer, Buffer]:
        """What the body takes from outside, by the buffers inside."""
        return dict(zip(self.body.inputs[1 + len(self.firsts) + len(self.xs) :], self.outside, strict=True))


@dataclass(eq=False)
class Choose:
    """One of several programs, by the number in `index`; `values` are their inputs, `results` their outputs. `error` is
    the number of the failure where there is no such program."""

    node: Expr
    bodies: list[Program]
    index: Buffer
    values: list[Buffer]
    results: list[Buffer | None]
    error: int

    @property
    def reads(self) -> list[Buffer]:
        """The buffers that it reads."""
        return list(dict.fromkeys([self.index, *self.values]))

    @property
    def writes(self) -> list[Buffer]:
        """The buffers that it writes."""
        return list(dict.fromkeys(b for b in self.results if b is not None))

    @property
    def inner(self) -> list[Program]:
        """The programs inside."""
        return self.bodies


@dataclass(eq=False)
class Block:
    """Loops and regions that run for `chunk` of `rows` rows at a time, all of them before the next rows, in any order
    and number of threads: no row looks at another.

    The program's inputs are the buffers that it is given, its temporaries are held for the rows of a chunk alone.
    """

    body: Program
    rows: Size
    chunk: Size
    chunks: Size
    reads: list[Buffer]
    writes: list[Buffer]

    @property
    def repeats(self) -> list[Repeat]:
        """Its loops."""
        return [step for step in self.body.steps if isinstance(step, Repeat)]

    @property
    def regions(self) -> list[Region]:
        """Its regions beside the loops."""
        return [step for step in self.body.steps if isinstance(step, Region)]

    @property
    def partials(self) -> list[Partial]:
        """What its chunks accumulate."""
        return [p for region in self.regions for p in region.partials]

    @property
    def node(self) -> Expr:
        """The node of its first loop."""
        return self.repeats[0].node

    @property
    def inner(self) -> list[Program]:
        """The programs inside."""
        return [self.body]


Control = Repeat | Choose | Block
Step = Region | Product | Control


OVERHEAD, UNKNOWN_ROUNDS = 2_000, 10_000
"""What a round of a loop costs beside its loops, in picoseconds; how many rounds are expected where nothing tells."""


@dataclass(eq=False)
class Program:
    """The steps of a kernel in order, and its buffers.

    `arguments` come with the call: inputs, then constants, then outputs; `slots` are outputs of one element, returned.
    """

    steps: list[Step]
    inputs: list[Buffer]
    constants: list[tuple[Buffer, np.ndarray[Any, Any]]]
    outputs: list[Buffer]
    temporaries: list[Buffer]
    errors: list[tuple[type[Exception], str]]

    def all_steps(self) -> Iterator[Step]:
        """Every step, those of programs inside included."""
        for step in self.steps:
            yield step
            if isinstance(step, Control):
                for inner in step.inner:
                    yield from inner.all_steps()

    @cached_property
    def statements(self) -> int:
        """How many statements there are."""
        regions = [step for step in self.all_steps() if isinstance(step, Region)]
        return sum(type(s) in _COUNTED for r in regions for s in walk(r.items))

    @cached_property
    def work(self) -> Size:
        """About how many picoseconds a call takes, on one thread."""
        total: Size = 0
        for step in self.steps:
            total = total + picoseconds(step)
        return total


def reads_of(step: Step) -> list[Buffer]:
    """The buffers that a step reads."""
    if isinstance(step, Product):
        return [step.a[0], step.b[0]]
    if isinstance(step, Control):
        return step.reads
    items = list(walk(step.items))
    read = [s.buffer for s in items if isinstance(s, Load | Fold) or (isinstance(s, Store) and s.combine != "set")]
    return list(dict.fromkeys(read))


def writes_of(step: Step) -> list[Buffer]:
    """The buffers that a step writes."""
    if isinstance(step, Product):
        return [step.c[0]]
    if isinstance(step, Control):
        return step.writes
    found = [f.buffer for f in step.fills]
    found += [s.buffer for s in walk(step.items) if isinstance(s, Store | Finish | Fill) and s.buffer.role != "partial"]
    return list(dict.fromkeys([*found, *(p.buffer for p in step.partials)]))


def picoseconds(step: Step) -> Size:
    """About how long a step takes, on one thread; 0 where it has no loops."""
    if isinstance(step, Product):
        return dims.product([*step.batch, step.rows, step.columns, step.inner]) * 100
    if isinstance(step, Repeat):
        rounds = step.trips if isinstance(step.trips, int | dims.Dim) else UNKNOWN_ROUNDS
        return rounds * (step.body.work + OVERHEAD)
    if isinstance(step, Choose):
        total: Size = 0
        for body in step.bodies:
            total = total + body.work
        return total
    if isinstance(step, Block):
        return step.body.work
    return 0 if step.size is None else step.size * step.cost


# -- recording scalar rules --------------------------------------------------------------------------------------------

BOOL = np.dtype(bool)


class S:
    """A recorded scalar: the number of the statement that made it, and its dtype."""

    __slots__ = ("bits", "dtype", "kind", "m", "number")

    def __init__(self, m: Recorder, number: int, dtype: np.dtype[Any]) -> None:
        self.m, self.number, self.dtype = m, number, dtype
        self.kind, self.bits = dtype.kind, dtype.itemsize * 8

    def _two(self, name: str, other: Any, dtype: np.dtype[Any] | None = None) -> S:
        other = self.m.const(other, self) if not isinstance(other, S) else other
        return self.m.emit(name, (self, other), dtype or self.dtype)

    def __add__(self, other: Any) -> S:
        return self._two("add", other)

    def __sub__(self, other: Any) -> S:
        return self._two("sub", other)

    def __mul__(self, other: Any) -> S:
        return self._two("mul", other)

    def __truediv__(self, other: Any) -> S:
        return self._two("div", other)

    def __and__(self, other: Any) -> S:
        return self._two("and", other)

    def __or__(self, other: Any) -> S:
        return self._two("or", other)

    def __xor__(self, other: Any) -> S:
        return self._two("xor", other)

    def __lt__(self, other: Any) -> S:
        return self._two("lt", other, BOOL)

    def __le__(self, other: Any) -> S:
        return self._two("le", other, BOOL)

    def __gt__(self, other: Any) -> S:
        return self._two("gt", other, BOOL)

    def __ge__(self, other: Any) -> S:
        return self._two("ge", other, BOOL)

    def eq(self, other: Any) -> S:
        return self._two("eq", other, BOOL)

    def ne(self, other: Any) -> S:
        return self._two("ne", other, BOOL)

    def __neg__(self) -> S:
        return self.m.emit("neg", (self,), self.dtype)

    def __invert__(self) -> S:
        return self.m.emit("not", (self,), self.dtype)


class Recorder:
    """What scalar rules are run against: every primitive becomes a statement; equal ones are recorded once.

    Args:
        errors: the program's errors, to which `require` adds.
    """

    def __init__(self, errors: list[tuple[type[Exception], str]]) -> None:
        self.errors = errors
        self.node: Expr | None = None  # what is recorded
        self.body: list[Item] = []
        self._count = 0
        self._known: dict[Any, S] = {}

    def new(self) -> int:
        """The number of the next statement."""
        self._count += 1
        return self._count

    def once(self, key: Any, dtype: np.dtype[Any], make: Callable[[int], Statement]) -> S:
        """The scalar of this key, recorded at the first use."""
        known = self._known.get(key)
        if known is None:
            number = self.new()
            self.body.append(make(number))
            known = self._known[key] = S(self, number, dtype)
        return known

    def emit(self, name: str, args: Sequence[S], dtype: np.dtype[Any]) -> S:
        """The scalar of a primitive."""
        numbers = tuple(a.number for a in args)
        return self.once((name, numbers, dtype), dtype, lambda n: Primitive(n, dtype, name, numbers))

    def const(self, value: Any, like: S | np.dtype[Any]) -> S:
        """A literal in the dtype of `like`."""
        dtype = like.dtype if isinstance(like, S) else like
        exact = dtype.type(value)
        return self.once(("const", dtype, exact.tobytes()), dtype, lambda n: Const(n, dtype, exact))

    def select(self, condition: S, x: Any, y: Any) -> S:
        """x where the condition holds, else y."""
        x = self.const(x, y) if not isinstance(x, S) else x
        y = self.const(y, x) if not isinstance(y, S) else y
        return self.emit("select", (condition, x, y), x.dtype)

    def cast(self, x: S, dtype: np.dtype[Any]) -> S:
        """x converted; a number that is not 0 is true."""
        if x.dtype == dtype:
            return x
        return x.ne(0) if dtype == BOOL else self.emit("cast", (x,), dtype)

    def bitcast(self, x: S, dtype: np.dtype[Any]) -> S:
        """The same bits, read as a dtype of the same width."""
        return self.emit("bitcast", (x,), dtype)

    def fma(self, a: S, b: S, c: S) -> S:
        """a * b + c, rounded once."""
        return self.emit("fma", (a, b, c), a.dtype) if a.kind == "f" else a * b + c

    def require(self, condition: S, kind: type[Exception], text: str) -> None:
        """Where the condition does not hold, the call fails with this error."""
        if self.node is not None:
            text = message(text, self.node.origins, [(format_expr(a, 60), str(a.type)) for a in self.node.args])
        self.errors.append((kind, text))
        self.body.append(Check(condition.number, len(self.errors)))

    def position(self, address: Address) -> S:
        """Where the loops are, as a number."""
        kind = np.dtype(np.int64)
        return self.once(("position", address), kind, lambda n: Position(n, kind, address))

    def size(self, size: Size) -> S:
        """A size of the call."""
        return self.once(("size", size), np.dtype(np.int64), lambda n: SizeOf(n, np.dtype(np.int64), size))

    def __getattr__(self, name: str) -> Callable[..., S]:
        if name in UNARY_MATH:
            return lambda x: self.emit(name, (x,), x.dtype)
        if name in BINARY_MATH or name in ("idiv", "irem", "ipow", "shl", "shr"):
            return lambda x, y: self.emit(name, (x, y if isinstance(y, S) else self.const(y, x)), x.dtype)
        raise AttributeError(name)


RUN = 16
"""How many steps of a loop over vectors are added up in a narrow accumulator: as few as NumPy adds up one by one."""


def runs(loop: Loop) -> list[Accumulate]:
    """The accumulations of a loop over vectors that are added up in runs of its steps."""
    return [s for s in loop.body if isinstance(s, Accumulate) and s.run is not None] if loop.lanes > 1 else []


def walk(items: Sequence[Item]) -> Iterator[Item]:
    """Every item, those inside loops included, in the order of the text."""
    stack = [iter(items)]
    while stack:
        for item in stack[-1]:
            yield item
            if type(item) in _NESTED:
                stack.append(iter(item.body))  # type: ignore[union-attr]
                break
        else:
            stack.pop()


def identity(combine: str, dtype: np.dtype[Any]) -> Any:
    """What a reduction starts from.

    Raises:
        CompileError: for a combining operation that does not exist.
    """
    if combine in ("add", "or"):
        return dtype.type(0)
    if combine in ("mul", "and"):
        return dtype.type(1)
    if combine not in ("maximum", "minimum"):
        raise CompileError(f"no reduction combines by {combine!r}")
    low = combine == "maximum"
    if dtype.kind == "f":
        return dtype.type(-math.inf if low else math.inf)
    if dtype.kind == "b":
        return dtype.type(not low)
    info = np.iinfo(dtype)
    return dtype.type(info.min if low else info.max)

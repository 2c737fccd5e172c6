"""Programs with a fault each: what a user wrote, what must be raised, and which line is to blame.

A program is a function of NumPy's namespace and of its arguments, so that it runs on symbols, on Variables, and in
other libraries under their own namespace; or a script that uses symgraph itself. The line to blame ends in ``# here``.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from symgraph.errors import (
    ArgumentError,
    DTypeError,
    GradientError,
    InputError,
    LoopError,
    NumericError,
    OutOfBoundsError,
    ShapeError,
    SymbolError,
)

SYMBOLIC = ("declared", "undeclared")
BOTH = (*SYMBOLIC, "eager")


@dataclass(frozen=True)
class Fault:
    """A program with a fault.

    Attributes:
        name: what is wrong.
        body: the lines of the function, or of the script.
        error: what is raised; in the define-by-run mode an error that NumPy's users would catch likewise.
        arguments: by name; of a script there are none.
        modes: where it is a fault: symbols with declared types, symbols without, Variables.
        grad: whether it is the gradient that has the fault.
        numbers: whether it is nan or inf that is to be found.
    """

    name: str
    body: str
    error: type[Exception]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    modes: tuple[str, ...] = BOTH
    grad: bool = False
    numbers: bool = False

    @property
    def script(self) -> bool:
        """Whether it uses symgraph itself."""
        return not self.arguments

    @property
    def text(self) -> str:
        """The whole program."""
        lines = self.body.strip("\n").split("\n")
        if self.script:
            return "\n".join(["import numpy as np", "import symgraph as sg", "", *lines, ""])
        head = f"def program({', '.join(['np', *self.arguments])}):"
        return "\n".join(["import math", "", "", head, *(f"    {line}" for line in lines), ""])

    @property
    def line(self) -> int:
        """The line to blame."""
        (found,) = [k for k, line in enumerate(self.text.split("\n"), 1) if line.endswith("# here")]
        return found

    def write(self, folder: Path) -> Path:
        """The program as a file."""
        path = folder / f"{re.sub(r'[^a-z0-9]+', '_', self.name.lower())}.py"
        path.write_text(self.text, encoding="utf-8")
        return path


def load(path: Path) -> Callable[..., Any]:
    """The function of a program's file."""
    names: dict[str, Any] = {}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
    program: Callable[..., Any] = names["program"]
    return program


def lines_named(error: BaseException, path: Path) -> list[int]:
    """The lines of a file that an error names: those of its message, or else the innermost one of its traceback."""
    text = "\n".join([str(error), *getattr(error, "__notes__", ())])
    told = re.findall(rf"{re.escape(path.name)}(?::|\", line |, line )(\d+)", text)
    if told:
        return list(map(int, told))
    frames = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return [line for line in frames[-1:] if line is not None]


ONES = np.ones
V2, V3, V4, M23, M32 = ONES(2), ONES(3), ONES(4), ONES((2, 3)), ONES((3, 2))
SIGNS = np.array([1.0, -1.0, 4.0])
ZEROS = np.array([1.0, 0.0, 4.0])

SHAPES = [
    Fault("lengths that differ", "h = np.exp(a)\nreturn h + b  # here", ShapeError, {"a": V2, "b": V3}),
    Fault("a row and a column", "h = a * 2\ng = h - b  # here\nreturn np.sum(g)", ShapeError, {"a": M23, "b": V2}),
    Fault(
        "a product far from the end",
        "h = np.tanh(a)\nh = h * b  # here\nh = np.sin(h)\nh = h + 1\nreturn np.sum(h)",
        ShapeError,
        {"a": V4, "b": V3},
    ),
    Fault("a quotient", "return (a - 1) / (b + 1)  # here", ShapeError, {"a": V4, "b": V3}),
    Fault("a power", "h = b * 1\nreturn a**h  # here", ShapeError, {"a": V4, "b": V3}),
    Fault("a comparison", "m = a < b  # here\nreturn np.where(m, 1.0, 2.0)", ShapeError, {"a": V4, "b": V3}),
    Fault("a maximum", "return np.maximum(a, 2 * b)  # here", ShapeError, {"a": V4, "b": V3}),
    Fault("a choice", "m = a > 0\nreturn np.where(m, a, b)  # here", ShapeError, {"a": V4, "b": V3}),
    Fault("inner sizes", "w = b * 0.5\nreturn a @ w  # here", ShapeError, {"a": M23, "b": M23}),
    Fault("a matrix and a vector", "return np.tanh(a @ b)  # here", ShapeError, {"a": M23, "b": V2}),
    Fault("a product of batches", "return np.matmul(a, b)  # here", ShapeError, {"a": ONES((2, 3, 4)), "b": M23}),
    Fault("a dot product", "h = np.dot(a, b)  # here\nreturn h * 2", ShapeError, {"a": V3, "b": V4}),
    Fault("an outer step of einsum", "return np.einsum('ij,jk->ik', a, b)  # here", ShapeError, {"a": M23, "b": M23},
          ("declared", "eager")),
    Fault("a contraction", "return np.tensordot(a, b, 1)  # here", ShapeError, {"a": M23, "b": M23},
          ("declared", "eager")),
    Fault("parts to join", "return np.concatenate([a, b])  # here", ShapeError, {"a": M23, "b": ONES((2, 2))}),
    Fault("parts to stack", "h = np.stack([a, b])  # here\nreturn h.sum()", ShapeError, {"a": V2, "b": V3}),
    Fault("rows to stack", "return np.vstack([a, b])  # here", ShapeError, {"a": M23, "b": M32}, ("declared", "eager")),
    Fault("a reshape", "h = a + 1\nreturn np.reshape(h, (4, 2))  # here", ShapeError, {"a": M23}),
    Fault("a reshape with an open size", "return np.reshape(a, (4, -1))  # here", ShapeError, {"a": M23}),
    Fault("axes of a transpose", "return np.transpose(a, (0, 1, 2))  # here", ShapeError, {"a": M23}),
    Fault("axes to swap", "return np.swapaxes(a, 0, 2)  # here", ShapeError, {"a": M23}),
    Fault("the axis of a sum", "h = np.exp(a)\nreturn np.sum(h, axis=2)  # here", ShapeError, {"a": M23}),
    Fault("the axis of a mean", "return a - np.mean(a, axis=3)  # here", ShapeError, {"a": M23}),
    Fault("an axis twice", "return np.sum(a, axis=(0, 0))  # here", ShapeError, {"a": M23}),
    Fault("the maximum of nothing", "return np.max(a) + 1  # here", ShapeError, {"a": np.zeros(0)}),
    Fault("the place of the least of nothing", "return np.argmin(a, axis=0)  # here", ShapeError,
          {"a": np.zeros((0, 3))}),
    Fault("an axis that is not 1", "return np.squeeze(a, 0)  # here", ShapeError, {"a": M23}),
    Fault("a shape to spread to", "return np.broadcast_to(a, (3, 3))  # here", ShapeError, {"a": M23}),
    Fault("a new axis", "return np.expand_dims(a, 4)  # here", ShapeError, {"a": M23}),
    Fault("uneven parts", "return np.split(a, 2)[0]  # here", ShapeError, {"a": V3}, ("declared", "eager")),
    Fault(
        "in a function that is called twice",
        "def mixed(x, y):\n    return x * y  # here\nh = mixed(a, a)\nreturn mixed(h, b)",
        ShapeError,
        {"a": V4, "b": V3},
    ),
    Fault(
        "in a loop", "h = a\nfor w in (a, a, b):\n    h = np.sin(h) + w  # here\nreturn h", ShapeError,
        {"a": V4, "b": V3},
    ),
    Fault(
        "in an expression of several lines",
        "h = np.exp(a)\nreturn np.sum(\n    h  # here\n    + b\n)",
        ShapeError,
        {"a": V4, "b": V3},
    ),
    Fault("in a lambda", "f = lambda x: x + b  # here\nreturn f(a) * 2", ShapeError, {"a": V4, "b": V3}),
    Fault(
        "in a comprehension", "parts = [x * b for x in (b, a)]  # here\nreturn parts[1] * 2", ShapeError,
        {"a": V4, "b": V3},
    ),
    Fault("in what a gradient needs", "h = a * a\nreturn np.sum(h * b)  # here", ShapeError, {"a": V4, "b": V3},
          grad=True),
]  # fmt: skip

TYPES = [
    Fault("bits of floats", "h = a * 2\nreturn h & b  # here", DTypeError, {"a": V3, "b": np.arange(3)}),
    Fault("bits of one float", "return ~a  # here", DTypeError, {"a": V3}),
    Fault("a shifted float", "return a << 1  # here", DTypeError, {"a": V3}),
    Fault("minus a truth value", "m = a > 0\nreturn -m  # here", DTypeError, {"a": V3}),
    Fault("a difference of truth values", "m = a > 0\nreturn m - (a > 1)  # here", DTypeError, {"a": V3}),
    Fault("a negative power of integers", "return a**-1 + 1  # here", DTypeError, {"a": np.arange(1, 4)}, SYMBOLIC),
    Fault("a negative power of integers, at once", "return a**-1 + 1  # here", ValueError, {"a": np.arange(1, 4)},
          ("eager",)),
    Fault("indices that are floats", "return np.take(a, b)  # here", DTypeError, {"a": V3, "b": V2}, SYMBOLIC),
    Fault("text", "h = a * 2\nreturn h + 'x'  # here", DTypeError, {"a": V3}, SYMBOLIC),
    Fault("None", "return a + None  # here", DTypeError, {"a": V3}, SYMBOLIC),
    Fault("complex numbers", "return a * 1j  # here", DTypeError, {"a": V3}, SYMBOLIC),
    Fault("halves of bytes", "return a.astype('float16')  # here", DTypeError, {"a": V3}, SYMBOLIC),
]  # fmt: skip

INDICES = [
    Fault("an index", "h = a * 2\nreturn h[5]  # here", OutOfBoundsError, {"a": V3}),
    Fault("a negative index", "return a[-4] + 1  # here", OutOfBoundsError, {"a": V3}),
    Fault("an index in the second axis", "return a[:, 3]  # here", OutOfBoundsError, {"a": M23}),
    Fault("too many indices", "return a[0, 0]  # here", OutOfBoundsError, {"a": V3}),
    Fault("a list of indices", "return a[[0, 5]]  # here", OutOfBoundsError, {"a": V3}),
    Fault("indices of the call", "h = np.exp(a)\nreturn np.take(h, i, 0)  # here", OutOfBoundsError,
          {"a": V3, "i": np.array([0, 3])}),
    Fault("negative indices of the call", "return np.sum(np.take(a, i, 0))  # here", OutOfBoundsError,
          {"a": V3, "i": np.array([0, -4])}),
    Fault("computed indices", "k = i + 2\nreturn np.take(a, k, 0)  # here", OutOfBoundsError,
          {"a": V3, "i": np.array([0, 1])}),
    Fault("indices in pairs", "return a[i, i + 1]  # here", OutOfBoundsError,
          {"a": ONES((3, 3)), "i": np.array([0, 2])}, ("declared", "eager")),
    Fault("indices in a loss", "h = np.log(a)\npicked = np.take(h, i, 0)  # here\nreturn -np.sum(picked)",
          OutOfBoundsError, {"a": V3, "i": np.array([0, 7])}, grad=True),
    Fault("a text as an index", "return a['x']  # here", OutOfBoundsError, {"a": V3}),
    Fault("a float as an index", "return a[1.5]  # here", OutOfBoundsError, {"a": V3}),
]  # fmt: skip

NUMBERS = [
    Fault("the logarithm of zero", "h = a * 1\nh = np.log(h)  # here\nreturn np.sum(h)", NumericError, {"a": ZEROS}),
    Fault("the logarithm of less", "h = a - 2\nreturn np.sum(np.log(h))  # here", NumericError, {"a": SIGNS}),
    Fault("a square root", "return np.sqrt(a) + 1  # here", NumericError, {"a": SIGNS}),
    Fault("one over zero", "h = 1 / a  # here\nreturn h * 2", NumericError, {"a": ZEROS}),
    Fault("zero over zero", "h = a - a\nreturn np.sum(h / h)  # here", NumericError, {"a": SIGNS}),
    Fault("an exponential", "e = np.exp(a)  # here\nreturn e / np.sum(e)", NumericError,
          {"a": np.array([1.0, 800.0])}),
    Fault("an overflow that vanishes", "h = np.exp(a)  # here\nreturn np.sum(1 / h)", NumericError,
          {"a": np.array([1.0, 800.0])}),
    Fault("a product", "h = a * a  # here\nreturn h + 1", NumericError, {"a": np.array([1.0, 1e200])}),
    Fault("a fraction as the exponent", "return np.sum(a**1.5)  # here", NumericError, {"a": SIGNS}),
    Fault("an arc", "h = a * 2\nreturn np.arccos(h)  # here", NumericError, {"a": np.array([0.1, 0.6])}),
    Fault("an inverse tangent", "return np.arctanh(a)  # here", NumericError, {"a": np.array([0.5, 1.0])}),
    Fault("a hidden branch", "r = np.sqrt(a)  # here\nreturn np.sum(np.where(a > 0, r, 0))", NumericError,
          {"a": SIGNS}),
    Fault("the slope of a square root", "h = np.sqrt(a)  # here\nreturn np.sum(h * 3)", NumericError, {"a": ZEROS},
          grad=True),
    Fault("the slope of a length", "s = np.sum(a * a)\nreturn np.sqrt(s)  # here", NumericError, {"a": np.zeros(3)},
          grad=True),
    Fault("the slope of an arc", "return np.sum(np.arcsin(a) * 2)  # here", NumericError, {"a": np.array([0.5, 1.0])},
          grad=True),
    Fault("the slope of a logarithm", "h = np.log(a)  # here\nreturn np.sum(h)", NumericError,
          {"a": np.array([1.0, 1e-310])}, grad=True),
    Fault("the slope of a fraction as the exponent", "return np.sum(a**0.5)  # here", NumericError, {"a": ZEROS},
          grad=True),
    Fault("the slope of a quotient", "h = 1 / a  # here\nreturn np.sum(h)", NumericError,
          {"a": np.array([1.0, 1e-160])}, grad=True),
]  # fmt: skip
NUMBERS = [Fault(**{**vars(f), "numbers": True}) for f in NUMBERS]

QUESTIONS = [
    Fault("if", "if np.sum(a) > 0:  # here\n    return a\nreturn -a", SymbolError, {"a": V3}, SYMBOLIC),
    Fault("while", "while np.sum(a) < 10:  # here\n    a = a * 2\nreturn a", SymbolError, {"a": V3}, SYMBOLIC),
    Fault("and", "m = a > 0\nreturn m and a < 1  # here", SymbolError, {"a": V3}, SYMBOLIC),
    Fault("a chain of comparisons", "return 0 < a < 1  # here", SymbolError, {"a": V3}, SYMBOLIC),
    Fault("float", "s = np.sum(a)\nreturn a * float(s)  # here", SymbolError, {"a": V3}, SYMBOLIC),
    Fault("range", "k = np.sum(i)\nreturn [a for _ in range(k)][0]  # here", SymbolError, {"a": V3, "i": np.arange(3)},
          SYMBOLIC),
    Fault("the module math", "return math.sin(np.sum(a))  # here", SymbolError, {"a": V3}, SYMBOLIC),
    Fault("a write", "h = a * 2\nh[0] = 1  # here\nreturn h", SymbolError, {"a": V3}, SYMBOLIC),
    Fault("a function that is not there", "return np.sort(a)  # here", SymbolError, {"a": V3}, SYMBOLIC),
    Fault("a method that is not there", "h = a + 1\nreturn h.tobytes()  # here", AttributeError, {"a": V3}),
    Fault("membership", "return a if 1.0 in a else -a  # here", SymbolError, {"a": V3}, SYMBOLIC),
    Fault("a length that is open", "return a / len(a)  # here", SymbolError, {"a": V3}, ("undeclared",)),
    Fault("a loop over what is open", "s = 0\nfor x in a:  # here\n    s = s + x\nreturn s", SymbolError, {"a": V3},
          ("undeclared",)),
    Fault("a mask", "return np.sum(a[a > 0])  # here", SymbolError, {"a": V3}, SYMBOLIC),
]  # fmt: skip

F = "a, b = sg.placeholder('a'), sg.placeholder('b')\nf = sg.compile(np.exp(a) * b, inputs=[a, b])\n"
D = (
    "x = sg.placeholder('x', shape=('n', 3), dtype='float64')\ny = sg.placeholder('y', shape=('n',), dtype='float32')\n"
    "f = sg.compile(x * y[:, None])\n"
)
CALLS = [
    Fault("a missing argument", F + "f(a=1.0)  # here", ArgumentError),
    Fault("a misspelt argument", D + "f(x=np.ones((2, 3)), yy=np.ones(2, 'f4'))  # here", ArgumentError),
    Fault("an argument too many", F + "f(a=1.0, b=2.0, c=3.0)  # here", ArgumentError),
    Fault("an argument twice", F + "f(1.0, a=2.0)  # here", ArgumentError),
    Fault("arguments without names", D + "f(np.ones((2, 3)), np.ones(2))  # here", ArgumentError),
    Fault("None for numbers", F + "f(a=None, b=1.0)  # here", InputError),
    Fault("text for numbers", F + "f(a='1.5', b=1.0)  # here", InputError),
    Fault("a symbol for numbers", F + "f(a=b, b=1.0)  # here", InputError),
    Fault("the gradient of integers", F + "f.grad(a=2, b=1)  # here", GradientError),
    Fault("a cotangent of another shape", F + "f.grad(a=np.ones(2), b=1.0, cotangent=np.ones(3))  # here", ShapeError),
    Fault("nothing to compile", "f = sg.compile([])  # here", ArgumentError),
    Fault("inputs that lack one", F + "g = sg.compile(a + b, inputs=[a])  # here", ArgumentError),
    Fault("a gradient for another symbol", F + "g = sg.compile(a + 1, wrt=[b])  # here", ArgumentError),
    Fault("a name that is none", "x = sg.placeholder('a b')  # here", ValueError),
    Fault("both modes at once", F + "v = sg.Variable(np.ones(3))\ny = a + v  # here", TypeError),
    Fault("a Variable of a number", "v = sg.Variable(1.0)  # here", TypeError),
]
DECLARED = [
    Fault("another dtype than declared",
          "y = sg.placeholder('y', shape=(2,), dtype='float32')  # here\nsg.compile(y * 2)(y=np.ones(2))", InputError),
    Fault("another rank than declared",
          "x = sg.placeholder('x', shape=('n', 3), dtype='float64')  # here\nsg.compile(x * 2)(x=np.ones(3))",
          InputError),
    Fault("another size than declared",
          "x = sg.placeholder('x', shape=('n', 3), dtype='float64')  # here\nsg.compile(x * 2)(x=np.ones((2, 4)))",
          InputError),
    Fault("two sizes of one name",
          "x = sg.placeholder('x', shape=('n',), dtype='float64')\n"
          "y = sg.placeholder('y', shape=('n',), dtype='float64')  # here\n"
          "sg.compile(x * y)(x=np.ones(2), y=np.ones(3))", InputError),
    Fault("too large an integer",
          "k = sg.placeholder('k', shape=(), dtype='int8')  # here\nsg.compile(k + 1)(k=300)", InputError),
]  # fmt: skip

X = "x, k = sg.placeholder('x'), sg.placeholder('k')\n"
CONTROL = [
    Fault("an endless loop",
          X + "y = sg.while_loop(lambda s: s > 0, lambda s: s * 2, x, max_iterations=9)  # here\n"
          "sg.compile(y + 1)(x=1.0)", LoopError),
    Fault("branches of two structures", X + "y = sg.cond(k > 0, lambda: (x, x), lambda: x)  # here", ArgumentError),
    Fault("branches of two shapes",
          X + "a, b = sg.placeholder('a', (3,), float), sg.placeholder('b', (4,), float)\n"
          "y = sg.cond(k > 0, lambda: a, lambda: b)  # here", ShapeError),
    Fault("branches of two shapes at the call",
          X + "y = sg.cond(k > 0, lambda: x * 2, lambda: x[0])  # here\nsg.compile(y)(x=np.ones((3, 3)), k=1)",
          ShapeError),
    Fault("a choice by a float", X + "y = sg.switch(x, [lambda: k, lambda: -k])  # here\nsg.compile(y)(x=1.0, k=1.0)",
          DTypeError),
    Fault("a state that shrinks",
          X + "a = sg.placeholder('a', (3,), float)\ny = sg.fori_loop(0, 2, lambda i, s: s[1:], a)  # here",
          ShapeError),
    Fault("a state that grows at the call",
          X + "y = sg.fori_loop(0, 2, lambda i, s: s * k, x)  # here\nsg.compile(y)(x=np.ones(1), k=np.ones(4))",
          ShapeError),
    Fault("a state that loses a part", X + "y = sg.fori_loop(0, 2, lambda i, s: (s[0],), (x, x))  # here",
          ArgumentError),
    Fault("operands in a body",
          X + "def body(i, s):\n    h = x * i + k  # here\n    return s + np.sum(h)\n"
          "sg.compile(sg.fori_loop(0, 2, body, 0.0))(x=np.ones(3), k=np.ones(4))", ShapeError),
    Fault("an index in a body",
          X + "def body(i, s):\n    h = s * 2\n    return h + x[i]  # here\n"
          "sg.compile(sg.fori_loop(0, k, body, 0.0))(x=np.ones(3), k=4)", OutOfBoundsError),
    Fault("an index in a branch",
          X + "def far():\n    return x[k] + 1  # here\n"
          "sg.compile(sg.cond(k > 1, far, lambda: x[0]))(x=np.ones(3), k=7)", OutOfBoundsError),
    Fault("if in a body",
          X + "def body(i, s):\n    if s > 0:  # here\n        return s + 1\n    return s\n"
          "sg.fori_loop(0, 3, body, x)", SymbolError),
    Fault("rounds by a symbol", X + "for _ in range(k):  # here\n    x = x * 2", SymbolError),
    Fault("a print in a body",
          X + "def body(i, s):\n    return sg.print(s * 2)  # here\nsg.compile(sg.fori_loop(0, 3, body, x))",
          SymbolError),
    Fault("a print in a branch",
          X + "def far():\n    return sg.print(x + 1)  # here\nsg.compile(sg.cond(k, far, lambda: x))",
          SymbolError),
    Fault("a logarithm in a body",
          X + "def body(i, s):\n    h = s - 1\n    return np.log(h)  # here\n"
          "sg.compile(sg.fori_loop(0, 2, body, x))(x=1.0)", NumericError, numbers=True),
    Fault("a quotient in a branch",
          X + "def far():\n    return 1 / x  # here\nsg.compile(sg.cond(k > 0, far, lambda: x))(x=0.0, k=1)",
          NumericError, numbers=True),
]  # fmt: skip

FAULTS = [*SHAPES, *TYPES, *INDICES, *NUMBERS, *QUESTIONS, *CALLS, *DECLARED, *CONTROL]

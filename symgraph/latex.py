"""Formulas as LaTeX and as Unicode text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgraph.expr import Expr, as_expr, spelled
from symgraph.notation import ATOM, FRACTION, GREEK, LATEX_FORMS, POWER, SIGN, TRANSPARENT, UNICODE_FORMS, Form
from symgraph.ops import array as ar
from symgraph.value import Value

_FUNCTIONS = {"sin", "cos", "tan", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan", "log"}  # as LaTeX has them
_RAISED = str.maketrans("0123456789-+.", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺·")
_LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_SUBSCRIPTED = re.compile(r"([^\W\d_]+)(?:_(?=.)|(?=\d))(\w+)\Z")


@dataclass(frozen=True)
class Notation:
    """A way to write formulas: forms of operations, and how names, numbers, calls and indices are written."""

    forms: Mapping[str, Form]
    name: Callable[[str], str]
    number: Callable[[Any], tuple[str, float]]
    call: Callable[[str, list[str]], str]
    parameter: Callable[[str], str]
    axes: Callable[[tuple[int, ...]], str]
    brackets: str
    index: str
    dots: str

    def bracketed(self, text: str) -> str:
        return self.brackets.replace("#", text)

    def write(self, node: Expr, texts: Mapping[Expr, tuple[str, float]]) -> tuple[str, float]:
        """One node, given its arguments."""
        if node.op is ar.placeholder:
            return self.name(node.name or ""), ATOM
        if node.op is ar.constant:
            return self.number(node.value)
        args = [texts.get(a, (self.dots, ATOM)) for a in node.args]
        if node.op is ar.getitem:
            entries = ",".join("…" if e is Ellipsis else str(e) for e in node.params["index"])
            text, level = args[0]
            indexed = text if level > POWER else self.bracketed(text)
            return self.index.replace("#2", entries).replace("#1", indexed), ATOM
        form = self.forms.get(node.op.name)
        if form is TRANSPARENT:
            return args[0]
        params = node.params
        if form is None or (node.op is ar.transpose and not _swaps(params["axes"])):
            shown = [text for text, _ in args]
            shown += [self.parameter(f"{k}={v}") for k, v in params.items() if v is not None and v is not False]
            return self.call(node.op.name, shown), ATOM
        return _FIELD.sub(lambda match: self._field(match[1], form, args, params, node), form.template), form.level

    def _field(
        self, field: str, form: Form, args: list[tuple[str, float]], params: Mapping[str, Any], node: Expr
    ) -> str:
        if field.isdigit():
            text, level = args[int(field) - 1]
            return text if level >= form.needs[int(field) - 1] else self.bracketed(text)
        if field == "axis":
            axes, shape = params["axis"], node.args[0].type.shape
            whole = axes is None or (isinstance(shape, tuple) and len(axes) == len(shape))
            return "" if whole else self.axes(axes)
        value, _ = self.number(params["exponent"])
        if field == "exponent":
            return value
        raised = value.replace("−", "-")
        return raised.translate(_RAISED) if re.fullmatch(r"-?\d+", raised) else f"^{self.bracketed(value)}"


_FIELD = re.compile(r"#(\d|axis|exponent|raised)")


def _swaps(axes: Any) -> bool:
    """Whether a transposition is that of a matrix."""
    return axes is None or tuple(axes) == (1, 0)


def _letters(name: str) -> tuple[str, str]:
    """A name's letter, and what stands below it: x0, x_0, beta_hat; other names are words."""
    found = _SUBSCRIPTED.match(name)
    if found is None or (len(found[1]) > 1 and found[1] not in GREEK):
        return name, ""
    return found[1], found[2]


def _latex_name(name: str) -> str:
    stem, below = _letters(name)
    text = _latex_word(stem)
    if not below:
        return text
    return f"{text}_{{{below if below.isdigit() else _latex_word(below)}}}"


def _latex_word(word: str) -> str:
    if len(word) == 1 and word != "_":
        return word
    if word in GREEK and word.isascii():
        return rf"\{word.rstrip('_')}"
    return rf"\mathrm{{{_escaped(word)}}}"


def _unicode_name(name: str) -> str:
    stem, below = _letters(name)
    short = GREEK.get(stem, stem)
    return short + below.translate(_LOWERED) if below.isdigit() else name if below else short


def _latex_number(value: Any) -> tuple[str, float]:
    array = np.asarray(value)
    if array.ndim:
        return _latex_array(array), ATOM
    if array.dtype.kind == "b":
        return rf"\mathrm{{{bool(array)}}}", ATOM
    number = array.item()
    if math.isnan(number):
        return r"\mathrm{nan}", ATOM
    if math.isinf(number):
        return (r"\infty", ATOM) if number > 0 else (r"-\infty", SIGN)
    if number in (math.pi, -math.pi):
        return (r"\pi", ATOM) if number > 0 else (r"-\pi", SIGN)
    text = repr(number)
    mantissa, e, exponent = text.partition("e")
    if e:
        power = f"10^{{{int(exponent)}}}"
        text = power if mantissa == "1" else rf"{mantissa} \cdot {power}"
        return text, SIGN if number < 0 else POWER if text == power else FRACTION
    return text.removesuffix(".0"), ATOM if not text.startswith("-") else SIGN


def _latex_array(array: np.ndarray[Any, Any]) -> str:
    if array.ndim > 2 or array.size > 12 or not array.size:
        return r"\mathrm{array}_{" + r" \times ".join(map(str, array.shape)) + "}"
    rows = [" & ".join(_latex_number(v)[0] for v in np.atleast_1d(row)) for row in array]
    return r"\begin{pmatrix} " + r" \\ ".join(rows) + r" \end{pmatrix}"


def _unicode_number(value: Any) -> tuple[str, float]:
    array = np.asarray(value)
    if array.ndim:
        return (str(array.tolist()) if array.size <= 6 else f"array{array.shape}"), ATOM
    number = array.item()
    if isinstance(number, float) and math.isinf(number):
        text = "∞" if number > 0 else "−∞"
    elif number in (math.pi, -math.pi):
        text = "π" if number > 0 else "−π"
    else:
        text = re.sub("^-", "−", repr(number).removesuffix(".0"))
    return text, SIGN if text.startswith("−") else ATOM


def _latex_call(name: str, args: list[str]) -> str:
    head = rf"\{name}" if name in _FUNCTIONS else rf"\operatorname{{{_escaped(name)}}}"
    return rf"{head}\left({', '.join(args)}\right)"


def _escaped(text: str) -> str:
    return re.sub(r"[_#$%&{}]", lambda sign: rf"\{sign[0]}", text)


LATEX = Notation(
    LATEX_FORMS, _latex_name, _latex_number, _latex_call, lambda text: rf"\mathtt{{{_escaped(text)}}}",
    lambda axes: f"_{{{','.join(map(str, axes))}}}",
    r"\left(#\right)", r"{#1}_{[#2]}", r"\ldots",
)  # fmt: skip
UNICODE = Notation(
    UNICODE_FORMS, _unicode_name, _unicode_number, lambda name, args: f"{name}({', '.join(args)})", str,
    lambda axes: "".join(map(str, axes)).translate(_LOWERED), "(#)", "#1[#2]", "…",
)  # fmt: skip


def latex(value: Any, limit: int = 2000) -> str:
    r"""A formula in LaTeX's mathematics, for MathJax or a paper.

    Args:
        value: a symbol, a number, or a list of them.
        limit: about how many characters are written; ``\ldots`` stands for the rest.

    Raises:
        DTypeError: the value is neither a symbol nor data that a constant may hold.

    >>> import symgraph as sg
    >>> x, alpha = sg.placeholder("x0"), sg.placeholder("alpha")
    >>> print(sg.latex(alpha * sg.sqrt(x**2 + 1) / 2))
    \frac{\alpha \cdot \sqrt{{x_{0}}^{2} + 1}}{2}
    """
    return _written(value, LATEX, limit)


def unicode(value: Any, limit: int = 400) -> str:
    """A formula as one line of Unicode text.

    Args:
        value: a symbol, a number, or a list of them.
        limit: about how many characters are written; "…" stands for the rest.

    Raises:
        DTypeError: the value is neither a symbol nor data that a constant may hold.

    >>> import symgraph as sg
    >>> x, alpha = sg.placeholder("x0"), sg.placeholder("alpha")
    >>> print(sg.unicode(alpha * sg.sqrt(x**2 + 1) / 2))
    α·√(x₀² + 1)/2
    """
    return _written(value, UNICODE, limit)


def _written(value: Any, notation: Notation, limit: int) -> str:
    if isinstance(value, list | tuple) and any(isinstance(v, Value) for v in value):  # such as gradients
        return f"[{', '.join(_written(v, notation, limit) for v in value)}]"
    return spelled(as_expr(value), limit, notation.write, (notation.dots, ATOM))

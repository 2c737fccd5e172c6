"""How values show in a notebook: formulas as mathematics with a small picture, Variables as what they hold."""

from __future__ import annotations

import html
import re
from functools import lru_cache
from typing import Any

from symgraph.eager import Variable
from symgraph.errors import RendererError
from symgraph.expr import Expr, toposort
from symgraph.latex import latex
from symgraph.pictures import get_dot_graph
from symgraph.render import picture, renderer

MOST = 40
"""Nodes of a formula that is drawn: a picture of more is not small."""

FORMULA = 1200
"""Characters of LaTeX, about."""


def bundle(value: Any) -> dict[str, str]:
    """The forms in which a value may be shown, by MIME type, of which a notebook takes the richest that it can show.

    Args:
        value: a symbol, a Variable, or another value, which shows as its text.

    >>> import symgraph as sg
    >>> bundle(sg.placeholder("x") / 2)["text/latex"]
    '$\\\\displaystyle \\\\frac{x}{2}$'
    """
    shown = {"text/plain": repr(value)}
    if isinstance(value, Expr):
        formula = rf"$\displaystyle {latex(value, FORMULA)}$"
        shown["text/latex"] = formula
        drawn = _drawn(value)
        if drawn:
            shown["text/html"] = f'<div>{html.escape(formula)}</div><div style="overflow:auto">{drawn}</div>'
    elif isinstance(value, Variable):
        shown["text/html"] = _table(value)
    return shown


@lru_cache(maxsize=64)
def _drawn(value: Expr) -> str:
    """The graph as SVG; nothing where it is large, or no program to draw it is installed."""
    if not value.args or len(toposort([value])) > MOST or renderer("svg") is None:
        return ""
    try:
        drawn = picture(get_dot_graph(value, preset="symgraph"), "svg").decode("utf-8")
    except RendererError:
        return ""  # the formula is shown without
    return re.sub(r"^.*?(?=<svg)", "", drawn, count=1, flags=re.DOTALL)


def _table(value: Variable) -> str:
    """What a Variable holds, its gradient, and what made it."""
    rows = [("name", value.name)] if value.name else []
    if value.data is not None:
        rows += [("shape", str(value.shape)), ("dtype", value.dtype.name), ("data", str(value.data))]
    if value.grad is not None:
        rows.append(("grad", str(value.grad.data)))
    if value.creator is not None:
        rows.append(("made by", value.creator.label))
    cells = "".join(
        f'<tr><th style="text-align:left">{name}</th><td style="text-align:left"><pre style="margin:0">'
        f"{html.escape(text)}</pre></td></tr>"
        for name, text in rows
    )
    return f"<table><caption>Variable</caption>{cells}</table>"

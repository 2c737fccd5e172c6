"""How a compiled function shows in a notebook: its kernels as a table, and its graphs in the inspector."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from compiler.inspector.data import inspected
from compiler.inspector.page import page
from symgraph.latex import latex

if TYPE_CHECKING:
    from compiler.function import Function

MOST = 3000
"""Nodes, in all graphs together, that a notebook should hold; more are better put into a file."""

FRAME = (
    '<iframe sandbox="allow-scripts" loading="lazy" title="Graphs and kernels" '
    'style="width:100%;height:520px;border:1px solid #8885;border-radius:6px" srcdoc="{}"></iframe>'
)


def bundle(function: Function) -> dict[str, str]:
    """The forms in which a function may be shown, by MIME type. Nothing is compiled for it."""
    data = inspected(function, compiled=False)
    parts = [f"<p><b>compiled function</b> of {html.escape(str(function.signature))}</p>"]
    parts += [f"<p>${html.escape(latex(o, 400))}$</p>" for o in function.outputs[:4]]
    parts.append(_kernels(data))
    if sum(len(station["label"]) for station in data["stations"]) <= MOST:
        parts.append(FRAME.format(html.escape(page(data))))
    else:
        parts.append('<p>The graph is large: <code>f.inspect("graph.html")</code> writes a page that shows it.</p>')
    return {"text/plain": repr(function), "text/html": "".join(parts)}


def _kernels(data: dict[str, Any]) -> str:
    """A row for each kernel that was made."""
    rows = [
        f"<tr><td>{html.escape(station['title'].removesuffix(', after'))}</td><td>{kernel['title']}</td>"
        f"<td>{html.escape(kernel['note'])}</td><td>{_shown(kernel['bytes'])}</td><td>{_shown(kernel['flops'])}</td></tr>"
        for station in data["stations"]
        for kernel in station["kernels"]
    ]
    if not rows:
        return "<p>Its kernels are made when it is called.</p>"
    head = "".join(f"<th>{name}</th>" for name in ("computes", "kernel", "what", "bytes moved", "flops"))
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _shown(size: int | str) -> str:
    return f"{size:,}" if isinstance(size, int) else html.escape(size)

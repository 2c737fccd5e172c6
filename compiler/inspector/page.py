"""One HTML file of its own: the page's parts and the data put together, so that no name can become markup or code.

The data is JSON in a block that browsers do not run, with every "<" escaped. A Content-Security-Policy lets the page
run its own script and style alone, which it knows by their digests, and forbids every request.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

SCRIPTS = (
    "graph.js",
    "layout.js",
    "canvas.js",
    "pointer.js",
    "panel.js",
    "page.js",
    "search.js",
    "controls.js",
)
"""In the order in which they need each other."""

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def page(data: Mapping[str, Any]) -> str:
    """The page that shows `data`; see `compiler.inspector.data`."""
    style = _part("page.css")
    script = '"use strict";\n(() => {\n' + "\n".join(_part(name) for name in SCRIPTS) + "})();\n"
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        f"base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy,
        "title": html.escape(str(data["title"])),
        "style": style,
        "script": script,
        "data": as_json(data),
    }
    text = _part("page.html")
    pieces = text.split("@")
    # The template has @names@ at every other place; what is put in is never looked at again.
    return "".join(parts[piece] if k % 2 else piece for k, piece in enumerate(pieces))


def as_json(data: Any) -> str:
    """JSON that may stand inside a script element: it cannot end it, nor open a comment."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign, escape in _ESCAPES.items():
        text = text.replace(sign, escape)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # lone surrogates have no UTF-8


def _part(name: str) -> str:
    return resources.files("compiler.inspector").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")

"""How Sphinx builds these pages: ``python -m sphinx -W docs build/docs``."""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

import symgraph as sg
from symgraph.op import Op

ROOT = Path(__file__).resolve().parent.parent

project = "symgraph"
author = "symgraph developers"
release = version = sg.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
default_role = "code"  # `name` in docstrings
myst_heading_anchors = 3
napoleon_use_ivar = True  # an attribute that is described is not described again as a member
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["page.css"]
html_title = "symgraph"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False

FROM_ROOT = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Texts that stand in the folder above, as readers of the repository expect, and the pages that show them."""


def link(target: str, folder: str) -> str:
    """What a link from a text in `folder` leads to, seen from here."""
    path, mark, anchor = target.partition("#")
    found = (ROOT / folder / path).resolve()
    if re.match(r"[a-z]+:", target) or not path or not found.exists():
        return target
    inside = found.is_relative_to(ROOT / "docs")
    name = str(found.relative_to(ROOT / "docs" if inside else ROOT))
    return (name if inside else FROM_ROOT.get(name, f"../{name}")) + mark + anchor


def with_links(text: str, folder: str) -> str:
    """A text whose relative links lead to pages."""
    return re.sub(r"\]\(([^)\s]+)\)", lambda m: f"]({link(m[1], folder)})", text)


def operations() -> str:
    """The elementwise operations under all of their names, as a table."""
    names: dict[Op, list[str]] = {}
    for name in dir(sg):
        if isinstance(row := getattr(sg, name), Op) and not name.startswith("_"):
            names.setdefault(row, []).append(name)
    lines = ["| name | formula |", "|---|---|"]
    for row, found in sorted(names.items(), key=lambda item: item[1]):
        symbols = [sg.placeholder(letter) for letter, _ in zip("xyz", row.domain, strict=False)]
        formula = sg.unicode(row(*symbols)).replace("|", "\\|")
        lines.append(f"| {', '.join(f'`{name}`' for name in found)} | {formula} |")
    return "\n".join(lines)


def on_read(app: Sphinx, page: str, source: list[str]) -> None:
    """Texts from above in place of the comments that name them, links as they are from here, the table."""
    text = with_links(source[0], "docs")
    text = re.sub(
        r"^<!-- the text of \.\./(\S+) -->$",
        lambda m: with_links((ROOT / m[1]).read_text(encoding="utf-8"), "."),
        text,
        flags=re.MULTILINE,
    )
    source[0] = text.replace("<!-- the table of operations -->", operations())


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", on_read)

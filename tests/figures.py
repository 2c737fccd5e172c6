"""``python -m tests.figures`` draws the figures of the documentation: of examples/pictures.py, and of the tutorial."""

from __future__ import annotations

import contextlib
import runpy
import shutil
import tempfile
from pathlib import Path

from symgraph.render import picture
from tests.pages import ROOT, run_page

FOLDER = ROOT / "docs" / "pictures"


def main() -> None:
    """Draw every figure."""
    for name, text in runpy.run_path(str(ROOT / "examples" / "pictures.py"))["texts"]().items():
        (FOLDER / f"{name}.svg").write_bytes(picture(text, "svg"))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        run_page("docs/tutorial.md")
        for drawn in Path(folder).glob("*.svg"):
            shutil.copy(drawn, FOLDER)


if __name__ == "__main__":
    main()

"""The figures of the documentation: ``python -m tests.figures`` draws those of examples/pictures.py anew."""

from __future__ import annotations

import runpy
from pathlib import Path

from symgraph.render import picture

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "pictures"


def main() -> None:
    """Draw every figure."""
    for name, text in runpy.run_path(str(ROOT / "examples" / "pictures.py"))["texts"]().items():
        (FOLDER / f"{name}.svg").write_bytes(picture(text, "svg"))


if __name__ == "__main__":
    main()

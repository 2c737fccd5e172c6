"""The looks of a picture: a View written as DOT, in the form of the book behind DeZero, of torchviz, or in our own."""

from __future__ import annotations

from collections.abc import Callable

from symgraph.dot_text import Dot
from symgraph.presets.dezero import dezero
from symgraph.presets.own import own
from symgraph.presets.torchviz import torchviz

PRESETS: dict[str, Callable[..., Dot]] = {"dezero": dezero, "torchviz": torchviz, "symgraph": own}
"""A look by its name: ``look(view, verbose=False, **options)``."""

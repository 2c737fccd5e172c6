"""Pictures of formulas and of what Variables were computed by: as DOT text, and drawn into a file."""

from __future__ import annotations

import inspect
import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from symgraph.collapse import collapse as collapsed
from symgraph.frames import framed
from symgraph.interning import collection_paused
from symgraph.presets import PRESETS
from symgraph.render import render
from symgraph.view import Drawable, View, numbered


@collection_paused()
def write(
    view: View,
    preset: str = "dezero",
    verbose: bool = False,
    *,
    collapse: str | Sequence[str] = (),
    depth: int | None = None,
    frame: str | Sequence[str] | None = None,
    **options: Any,
) -> str:
    """A view as DOT text; see :func:`get_dot_graph`.

    Args:
        view: what is drawn.
        preset: "dezero", "torchviz" or "symgraph".
        verbose: show more.
        collapse, depth: see :func:`symgraph.collapse.collapse`.
        frame: what frames are drawn by, of "role" (forward and backward), "scope" and "kernel", the outermost first;
            None: the preset "symgraph" frames by role, and by kernel or else by scope, where the nodes in them are
            not collapsed; the others do not.
        options: the preset's own.

    Raises:
        ValueError: there is no such preset, collapse or frame.
        TypeError: the preset has no such option.
    """
    look = PRESETS.get(preset)
    if look is None:
        raise ValueError(f"there is no preset {preset!r:.80}; write one of {', '.join(PRESETS)}")
    known = [name for name in inspect.signature(look).parameters if name not in ("view", "verbose")]
    for name in options:
        if name not in known:
            raise TypeError(f"the preset {preset!r} has no option {name!r}; it has {', '.join(known) or 'none'}")
    collapse = (collapse,) if isinstance(collapse, str) else collapse
    if frame is None:
        whole = preset == "symgraph" and set(collapse) <= {"repeat"}
        frame = ("role", "kernel" if view.kernels else "scope") if whole else ()
    view = framed(view, (frame,) if isinstance(frame, str) else frame)
    return str(look(collapsed(view, collapse, depth), verbose=verbose, **options))


def wants_saved(preset: str, options: Mapping[str, Any]) -> bool:
    """Whether a picture shows what gradients need, which takes time to find out."""
    return preset == "torchviz" and bool(options.get("show_saved") or options.get("show_attrs"))


def get_dot_graph(
    output: Drawable | Sequence[Drawable],
    verbose: bool = False,
    *,
    preset: str = "dezero",
    params: Mapping[str, Drawable] | None = None,
    **options: Any,
) -> str:
    """The graph behind a Variable or a symbol, as DOT text.

    Args:
        output: the value at the end of the graph, or a list of several.
        verbose: labels also show shapes and dtypes; in the preset "symgraph", which has them on its edges, the lines.
        preset: "dezero": values orange, operations light blue; "torchviz": see :func:`make_dot`; "symgraph": a box per
            operation, with frames, shapes and dtypes on the edges.
        params: names for values; in the preset "torchviz" only these need gradients.
        options: ``collapse="repeat"``, ``"scope"``, ``"line"`` or several of them draw less
            (:func:`symgraph.collapse.collapse`), with ``depth=`` for scopes; ``frame="scope"`` frames scopes. The
            preset "symgraph" has ``rankdir="LR"`` and, for compiled functions, `heat`.

    Raises:
        TypeError: `output` is neither a Variable nor a symbol, or there is no such option.
        ValueError: there is no such preset, collapse or frame.

    >>> import numpy as np, symgraph as sg
    >>> x0, x1 = sg.Variable(np.array(1.0), "x0"), sg.Variable(np.array(1.0), "x1")
    >>> y = x0 + x1
    >>> y.name = "y"
    >>> print(sg.get_dot_graph(y))
    digraph g {
    1 [label="x0", color=orange, style=filled]
    2 [label="x1", color=orange, style=filled]
    3 [label="Add", color=lightblue, style=filled, shape=box]
    4 [label="y", color=orange, style=filled]
    1 -> 3
    2 -> 3
    3 -> 4
    }
    """
    outputs: Sequence[Drawable] = output if isinstance(output, list | tuple) else [output]  # type: ignore[list-item]
    view, places = numbered(outputs, saved=wants_saved(preset, options))
    if params is not None:
        _name(view, places, params, only=preset == "torchviz")
    return write(view, preset, verbose, **options)


def _name(view: View, places: Mapping[Hashable, tuple[int, int]], params: Mapping[str, Drawable], only: bool) -> None:
    """Call values what the user calls them; where `only` they need gradients, the other inputs are constants."""
    named = {}
    for name, value in params.items():
        if not isinstance(value, Drawable):
            raise TypeError(f"params must be Variables or symbols by name, got {name!r}: {value!r:.60}")
        named[places.get(value)] = str(name)
    for node in view.nodes:
        if (node.id, 0) in named and node.leaf:
            node.label = named[node.id, 0]
        elif only and node.role == "input":
            node.role = "constant"


def make_dot(
    output: Drawable | Sequence[Drawable],
    params: Mapping[str, Drawable] | None = None,
    show_attrs: bool = False,
    show_saved: bool = False,
    **options: Any,
) -> str:
    """What a backward pass runs through, as DOT text in the form of torchviz.

    Backward functions are grey, values that need a gradient blue, the output green.

    Args:
        output: a Variable, a symbol, or several.
        params: what gradients are wanted of, by name; None: of every input of floating dtype, called by its own name.
        show_attrs: add each operation's parameters, and what its gradient needs.
        show_saved: draw the values that gradients need, in orange.
        options: see :func:`get_dot_graph`.

    Raises:
        TypeError: a value is neither a Variable nor a symbol.

    >>> import numpy as np, symgraph as sg
    >>> w, b = sg.Variable(np.array([[0.6, -0.2]])), sg.Variable(np.array([0.8]))
    >>> y = np.tanh(np.array([[1.0, 2.0]]) @ w.T + b)
    >>> text = sg.make_dot(y, params={"w": w, "b": b})
    >>> [name in text for name in ("TanhBackward", "AddBackward", "MatmulBackward", "w", "b")]
    [True, True, True, True, True]
    """
    return get_dot_graph(
        output, preset="torchviz", params=params, show_attrs=show_attrs, show_saved=show_saved, **options
    )


def plot_dot_graph(
    output: Drawable | Sequence[Drawable],
    verbose: bool = False,
    to_file: str | os.PathLike[str] = "graph.png",
    **options: Any,
) -> Any:
    """Draw the graph behind a Variable or a symbol into a file.

    The file's extension picks the format: png, svg, pdf ...; ``.dot`` and ``.gv`` write the text, which needs no
    renderer. Options are those of :func:`get_dot_graph`.

    Returns:
        In a notebook, the picture for display; else the file's path.

    Raises:
        TypeError: `output` is neither a Variable nor a symbol.
        ValueError: the file has no extension.
        RendererError: no program to draw it was found, or it failed or took too long.
    """
    return render(get_dot_graph(output, verbose, **options), to_file)

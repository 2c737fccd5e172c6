"""The command line: ``python -m symgraph COMMAND``; the commands stand in `_parser`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from symgraph.errors import SymgraphError


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


_positive.__name__ = "positive number"  # as argparse names it in its message


def _demo(args: argparse.Namespace) -> None:
    from symgraph import demo

    demo.main(steps=args.steps, out=args.out)


def _operations(args: argparse.Namespace) -> None:
    from symgraph.op import NONE, REGISTRY

    def written(symbol: str) -> str:
        for letter in "abc":
            symbol = symbol.replace("{}", letter, 1)
        return symbol

    header = ("operation", "kind", "written", "gradient", "ONNX")
    rows = [
        (
            op.name,
            op.kind,
            written(op.symbol or f"{op.name}(...)"),
            "flat" if op.grad == NONE else "yes",
            op.onnx or "-",
        )
        for op in REGISTRY.values()
    ]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _inspect(args: argparse.Namespace) -> None:
    from compiler.target import function_of

    print(function_of(args.target, args.declare).inspect(args.out))


def _dot(args: argparse.Namespace) -> None:
    from compiler.target import function_of

    function = function_of(args.target, args.declare)
    options = {"collapse": args.collapse} if args.collapse else {}
    if args.out is None:
        print(function.to_dot(args.stage, args.verbose, preset=args.preset, **options))
    else:
        function.plot(args.out, args.stage, args.verbose, preset=args.preset, **options)
        print(args.out)


def _explain(args: argparse.Namespace) -> None:
    from compiler.target import function_of

    function = function_of(args.target, args.declare)
    print("\n".join(map(function.explain, args.topic)) if args.topic else function.explain())


def _doctor(args: argparse.Namespace) -> int:
    from compiler import doctor

    text, fine = doctor.report()
    print(text)
    return 0 if fine else 1


def _cache_info(args: argparse.Namespace) -> None:
    from compiler import cache

    info = cache.info()
    if info.folder is None:
        print("no kernels are kept: SYMGRAPH_CACHE_SIZE is 0, or there is no home folder")
        return
    kernels = f"{info.kernels} kernel{'' if info.kernels == 1 else 's'}"
    print(f"{info.folder}: {kernels}, {info.size / 1e6:.1f} of {info.limit / 1e6:g} MB")
    if not info.used:
        print("it is not used: it is no folder, belongs to another user, or others may write into it")


def _cache_clear(args: argparse.Namespace) -> None:
    from compiler import cache

    count = cache.clear()
    print(f"removed {count} kernel{'' if count == 1 else 's'}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m symgraph", description="Symbolic graphs over NumPy, compiled.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo", help="learn handwritten digits in both modes", description="Learn handwritten digits in both modes."
    )
    demo.add_argument("--steps", type=_positive, default=400, metavar="N", help="steps of training (default: 400)")
    demo.add_argument(
        "--out", type=Path, default=Path("symgraph-demo"), metavar="DIR",
        help="where the graph's pictures go (default: symgraph-demo)",
    )  # fmt: skip
    demo.set_defaults(run=_demo)

    _add_looking(commands)
    doctor = commands.add_parser(
        "doctor",
        help="what was found on this machine, and whether it works",
        description="Versions, processor, threads, cache, renderers. Each part is tried; exits with 1 if one fails.",
    )
    doctor.set_defaults(run=_doctor)

    operations = commands.add_parser(
        "operations", help="list the operations", description="List the operations: one row each."
    )
    operations.set_defaults(run=_operations)

    kept = commands.add_parser("cache", help="kernels kept on disk", description="Kernels kept on disk.")
    actions = kept.add_subparsers(title="commands", required=True, metavar="COMMAND")
    actions.add_parser("info", help="where they are, and how many").set_defaults(run=_cache_info)
    actions.add_parser("clear", help="remove them").set_defaults(run=_cache_clear)
    return parser


def _add_looking(commands: Any) -> None:
    """The commands that look at a function which the command line names."""

    def command(name: str, run: Callable[[argparse.Namespace], None], what: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = commands.add_parser(
            name, help=what, description=f"{what[0].upper()}{what[1:]}. The module is imported."
        )
        parser.add_argument(
            "target", metavar="MODULE:FUNCTION",
            help="or FILE.py:FUNCTION: a compiled function, formulas, or a plain function over NumPy names",
        )  # fmt: skip
        parser.add_argument(
            "--declare", action="append", default=[], metavar="NAME=DTYPE[SIZES]",
            help="of a plain function's parameter, such as x=float64[n,3]; may be repeated",
        )  # fmt: skip
        parser.set_defaults(run=run)
        return parser

    inspect = command("inspect", _inspect, "write a page that shows a function's graphs and kernels")
    inspect.add_argument("--out", default="graph.html", metavar="FILE", help="(default: graph.html)")
    dot = command("dot", _dot, "draw a function's graph, or print it as DOT text")
    dot.add_argument(
        "--out", metavar="FILE", help="the extension picks the format: svg, png, pdf, dot (default: print)"
    )
    dot.add_argument("--stage", default="before", help="before, after, sides, backward or joint (default: before)")
    dot.add_argument("--preset", default="symgraph", help="symgraph, dezero or torchviz (default: symgraph)")
    dot.add_argument("--collapse", action="append", metavar="BY", help="repeat, scope, line or kernel; may be repeated")
    dot.add_argument("--verbose", action="store_true", help="more on each label")
    explain = command("explain", _explain, "tell what the compiler did")
    explain.add_argument("--topic", action="append", default=[], help="such as passes or schedule; may be repeated")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0, 1 for an error, 130 when interrupted. Wrong usage exits with 2."""
    args = _parser().parse_args(argv)
    try:
        status: int | None = args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("symgraph: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has seen enough; nothing may be flushed into it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (SymgraphError, ImportError, OSError, ValueError) as error:
        print(f"symgraph: {error}", file=sys.stderr)
        return 1
    return status or 0


if __name__ == "__main__":
    sys.exit(main())

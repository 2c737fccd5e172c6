"""The command line: ``python -m symgraph demo``, ``operations``, ``cache``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

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

    operations = commands.add_parser(
        "operations", help="list the operations", description="List the operations: one row each."
    )
    operations.set_defaults(run=_operations)

    kept = commands.add_parser("cache", help="kernels kept on disk", description="Kernels kept on disk.")
    actions = kept.add_subparsers(title="commands", required=True, metavar="COMMAND")
    actions.add_parser("info", help="where they are, and how many").set_defaults(run=_cache_info)
    actions.add_parser("clear", help="remove them").set_defaults(run=_cache_clear)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0, 1 for an error, 130 when interrupted. Wrong usage exits with 2."""
    args = _parser().parse_args(argv)
    try:
        args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("symgraph: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has seen enough; nothing may be flushed into it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (SymgraphError, ImportError, OSError) as error:
        print(f"symgraph: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Which errors name the user's line: the programs of tests/faults.py in symgraph and in other libraries.

    python -m benchmarks.faults [--peers jax,pytensor,torch.compile,casadi] [--limit SECONDS] [--out DIR]

Each program runs as a user would run it: defined or traced, compiled, called; with the library's own check for nan and
inf switched on where that is what is to be found. An error names the line if its message does, or if the innermost
frame of the traceback in the user's file stands there.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import Say, ask, fresh_settings
from benchmarks.setting import say
from tests import faults
from tests.faults import Fault, lines_named, load

GROUPS: dict[str, list[Fault]] = {
    "shapes": faults.SHAPES,
    "dtypes": faults.TYPES,
    "indices": faults.INDICES,
    "nan and inf": faults.NUMBERS,
    "Python asks a symbol": faults.QUESTIONS,
}
BY_NAME = {fault.name: fault for group in GROUPS.values() for fault in group}
OWN_RULES = ("dtypes", "Python asks a symbol")
"""Groups in which a program that runs is no fault: the library defines what it means."""

LINE, ERROR, SILENT, ABSENT = "line", "error", "silent", "-"


class NotThereError(Exception):
    """The library has no such function, so that the program cannot be written in it."""


class Names:
    """A library's functions under NumPy's names."""

    def __init__(self, module: Any, others: Mapping[str, Callable[..., Any]], only: Sequence[str] = ()) -> None:
        self._module, self._others, self._only = module, others, only

    def __getattr__(self, name: str) -> Any:
        if name in self._others:
            return self._others[name]
        if (self._only and name not in self._only) or not hasattr(self._module, name):
            raise NotThereError(name)
        return getattr(self._module, name)


def _not_there(*args: Any) -> Any:
    """A function that means something else in a library."""
    raise NotThereError


# -- the libraries: each runs a program's function ---------------------------------------------------------------------


def _symgraph(fault: Fault, program: Callable[..., Any], declared: bool) -> None:
    import symgraph as sg

    symbols = {
        name: sg.placeholder(name, np.shape(v), np.asarray(v).dtype) if declared else sg.placeholder(name)
        for name, v in fault.arguments.items()
    }
    with sg.using_config("check_nan", fault.numbers):
        f = sg.compile(program(np, **symbols))
        (f.value_and_grad if fault.grad else f)(**fault.arguments)


def symgraph_declared(fault: Fault, program: Callable[..., Any]) -> None:
    """symgraph, with the shapes and dtypes of the placeholders declared."""
    _symgraph(fault, program, True)


def symgraph_undeclared(fault: Fault, program: Callable[..., Any]) -> None:
    """symgraph, with types known at the call."""
    _symgraph(fault, program, False)


def symgraph_eager(fault: Fault, program: Callable[..., Any]) -> None:
    """symgraph's define-by-run mode."""
    import symgraph as sg

    with sg.using_config("check_nan", fault.numbers):
        y = program(np, **{name: sg.Variable(v) for name, v in fault.arguments.items()})
        if fault.grad:
            y.backward()


def jax(fault: Fault, program: Callable[..., Any]) -> None:
    """jax.jit, with jax_debug_nans and jax_debug_infs."""
    import jax as library
    import jax.numpy as jnp

    library.config.update("jax_enable_x64", True)
    library.config.update("jax_debug_nans", fault.numbers)
    library.config.update("jax_debug_infs", fault.numbers)

    def function(**arguments: Any) -> Any:
        return program(jnp, **arguments)

    if fault.grad:
        first = next(iter(fault.arguments))

        def slope(x: Any, rest: Any) -> Any:
            return library.grad(lambda v: jnp.sum(function(**{first: v, **rest})))(x)

        rest = {k: jnp.asarray(v) for k, v in fault.arguments.items() if k != first}
        library.block_until_ready(library.jit(slope)(jnp.asarray(fault.arguments[first]), rest))
    else:
        arguments = {name: jnp.asarray(v) for name, v in fault.arguments.items()}
        library.block_until_ready(library.jit(function)(**arguments))


def pytensor(fault: Fault, program: Callable[..., Any]) -> None:
    """pytensor.function with typed inputs, in the mode FAST_COMPILE, which knows best where nodes come from."""
    import pytensor as library
    import pytensor.tensor as pt
    from pytensor.compile.debug.nanguardmode import NanGuardMode

    names = Names(pt, {"concatenate": pt.concatenate, "take": pt.take})
    symbols = {
        name: pt.tensor(name, dtype=np.asarray(v).dtype.name, shape=(None,) * np.ndim(v))
        for name, v in fault.arguments.items()
    }
    y = program(names, **symbols)
    outputs = [y] if not fault.grad else [y, pt.grad(pt.sum(y), next(iter(symbols.values())))]
    mode: Any = "FAST_COMPILE"
    if fault.numbers:
        mode = NanGuardMode(nan_is_error=True, inf_is_error=True, big_is_error=False, optimizer="fast_compile")
    library.function(list(symbols.values()), outputs, mode=mode)(*fault.arguments.values())


def torch_compile(fault: Fault, program: Callable[..., Any]) -> None:
    """torch.compile with its default settings; detect_anomaly for gradients."""
    import torch

    torch._dynamo.reset()
    names = Names(
        torch,
        {
            "concatenate": torch.cat,
            "expand_dims": torch.unsqueeze,
            "transpose": torch.permute,
            "take": lambda x, i, axis=None: torch.take(x, i) if axis is None else torch.index_select(x, axis, i),
            "split": _not_there,  # its parts may be uneven
            "squeeze": _not_there,  # other axes stay as they are
        },
    )
    first = next(iter(fault.arguments))
    tensors = {name: torch.tensor(v, requires_grad=fault.grad and name == first) for name, v in fault.arguments.items()}

    def function(**arguments: Any) -> Any:
        return program(names, **arguments)

    if fault.grad:
        with torch.autograd.detect_anomaly(check_nan=True):
            torch.compile(function)(**tensors).sum().backward()
    else:
        torch.compile(function)(**tensors)


def casadi(fault: Fault, program: Callable[..., Any]) -> None:
    """casadi.Function of MX symbols; columns for arrays of one axis."""
    import casadi as ca

    names = Names(
        ca,
        {
            "sum": lambda x, axis=None: ca.sum1(ca.vec(x)) if axis is None else (ca.sum1, ca.sum2)[axis](x),
            "concatenate": lambda parts: ca.vertcat(*parts),
            "vstack": lambda parts: ca.vertcat(*parts),
            "where": ca.if_else,
            "maximum": ca.fmax,
            "matmul": ca.mtimes,
            "arccos": ca.acos,
            "arcsin": ca.asin,
            "arctanh": ca.atanh,
            "reshape": lambda x, shape: ca.reshape(x, *shape),
        },
        ("exp", "log", "sqrt", "sin", "tanh", "dot"),
    )
    symbols = {}
    for name, v in fault.arguments.items():
        if np.ndim(v) > 2 or np.asarray(v).dtype.kind != "f":
            raise NotThereError(name)
        symbols[name] = ca.MX.sym(name, *np.shape(v))
    y = program(names, **symbols)
    outputs = [y] if not fault.grad else [y, ca.gradient(ca.sum1(ca.vec(y)), next(iter(symbols.values())))]
    ca.Function("f", list(symbols.values()), outputs)(*fault.arguments.values())


LIBRARIES: dict[str, Callable[[Fault, Callable[..., Any]], None]] = {
    "symgraph, declared": symgraph_declared,
    "symgraph, undeclared": symgraph_undeclared,
    "symgraph, by run": symgraph_eager,
    "jax": jax,
    "pytensor": pytensor,
    "torch.compile": torch_compile,
    "casadi": casadi,
}
MODES = {"symgraph, declared": "declared", "symgraph, undeclared": "undeclared", "symgraph, by run": "eager"}
MODULES = {"torch.compile": "torch"}


def outcomes(announce: Say, library: str, names: Sequence[str]) -> list[tuple[str, str, str]]:
    """For each program its name, what came of it, and the first line of the error; announced one by one."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            announce(f"{name}\n{json.dumps(found)}")
            outcome, text = one(library, BY_NAME[name], Path(folder))
            found.append((name, outcome, text))
    return found


def one(library: str, fault: Fault, folder: Path) -> tuple[str, str]:
    """What came of a program."""
    if library in MODES and MODES[library] not in fault.modes:
        return ABSENT, ""
    path = fault.write(folder)
    program = load(path)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            LIBRARIES[library](fault, program)
    except ImportError:  # the library is not what this file takes it for
        raise
    except NotThereError:
        return ABSENT, ""
    except Exception as error:  # whatever a library raises
        if (isinstance(error, AttributeError) and not issubclass(fault.error, AttributeError)) or _absent(error):
            return ABSENT, ""
        lines = lines_named(error, path)
        # detect_anomaly prints where the forward operation stood as a warning
        told = [int(k) for w in caught for k in lines_named(Exception(str(w.message)), path)]
        return LINE if fault.line in (*lines, *told) else ERROR, f"{type(error).__name__}: {error}".split("\n")[0][:200]
    group = next(title for title, members in GROUPS.items() if fault in members)
    return ABSENT if group in OWN_RULES else SILENT, ""


def _absent(error: BaseException | None) -> bool:
    """Whether an error comes from a function that the library lacks."""
    while error is not None:
        if isinstance(error, NotThereError) or "NotThereError" in str(error):
            return True
        error = error.__cause__
    return False


def measured(library: str, limit: float) -> dict[str, tuple[str, str]]:
    """What came of every program in a library; what hangs or dies is started anew behind it."""
    remaining, found = list(BY_NAME), {}
    while remaining:
        answer = ask(outcomes, (library, remaining), limit, lambda at: say(f"{library}: {at.partition(chr(10))[0]}"))
        done, lost = answer.result, ""
        if done is None:
            lost, _, text = answer.at.partition("\n")
            done = json.loads(text) if text else []
        found |= {name: (outcome, text) for name, outcome, text in done}
        if lost in BY_NAME:
            found[lost] = (ERROR, answer.reason)
        elif lost:
            raise SystemExit(f"benchmarks: {library} could not be started: {answer.reason}, at {lost}")
        remaining = [name for name in remaining if name not in found]
    return found


def table(results: Mapping[str, Mapping[str, tuple[str, str]]]) -> str:
    """For each group and library how many errors name the line, of how many programs."""
    head = ["errors that name the line", *results]
    rows = [[title, *(_share(found, members) for found in results.values())] for title, members in GROUPS.items()]
    every = list(BY_NAME.values())
    rows.append(["**all**", *(f"**{_share(found, every)}**" for found in results.values())])
    rows.append(["no error at all", *(str(_count(found, every, SILENT)) for found in results.values())])
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---", *["---:"] * len(results)], *rows]]
    return "\n".join(lines)


def _count(found: Mapping[str, tuple[str, str]], members: Sequence[Fault], outcome: str) -> int:
    return sum(found[fault.name][0] == outcome for fault in members)


def _share(found: Mapping[str, tuple[str, str]], members: Sequence[Fault]) -> str:
    possible = len(members) - _count(found, members, ABSENT)
    return f"{_count(found, members, LINE)} of {possible}" if possible else "-"


def main(argv: Sequence[str] | None = None) -> int:
    """Run all programs in all libraries that are installed, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__.split("\n")[0])
    parser.add_argument("--peers", metavar="NAME,...", help="only these, or none (default: all installed)")
    parser.add_argument("--limit", type=float, default=120.0, metavar="SECONDS", help="for each program")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"), metavar="DIR", help="where numbers go")
    args = parser.parse_args(argv)
    peers = [name for name in LIBRARIES if name not in MODES]
    wanted = peers if args.peers is None else [name for name in args.peers.split(",") if name != "none"]
    unknown = [name for name in wanted if name not in peers]
    if unknown:
        raise SystemExit(f"benchmarks: {unknown[0]!r} is none of {', '.join(peers)}")
    found = [name for name in wanted if importlib.util.find_spec(MODULES.get(name, name)) is not None]
    with fresh_settings():
        results = {library: measured(library, args.limit) for library in (*MODES, *found)}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "faults.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    say("")
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())

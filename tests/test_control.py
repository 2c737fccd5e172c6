"""Loops and branches in every form: NumPy, Variables, interpreter, every stage of the optimiser, the kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from control_cases import BRANCHES, DECLARED, LOOPS, Flow, plain, symbols
from support import difference, run_text

import symgraph as sg
from compiler import interpret

FLOWS = BRANCHES | LOOPS


def results(flow: Flow, *, declare: str) -> dict[str, list[Any]]:
    """What every form of a program gives."""
    values = flow.values
    given = symbols(values, declare=declare)
    built = plain(flow.program(**given))
    inputs = list(given.values())
    function = sg.compile(built, inputs, fma=False, verify=True)
    boxes = {n: sg.as_variable(x) if np.asarray(x).dtype.kind == "f" else x for n, x in values.items()}
    found = {
        "NumPy": plain(flow.program(**values)),
        "Variables": plain(flow.program(**boxes)),
        "kernel": function(**values),
        "kernel again": function(**values),
        "interpreter": interpret([sg.expr.as_expr(o) for o in built], values),
    }
    found["text"] = run_text(function, values)
    ((_, variant),) = function.variants()
    for step in variant.steps:
        found[f"after {step.name!r}"] = interpret(step.outputs, values, others=function.inputs)
    return found


@pytest.mark.parametrize("declare", DECLARED)
@pytest.mark.parametrize("name", FLOWS)
def test_all_forms_of_a_program_agree(name: str, declare: str) -> None:
    """Bit by bit, with what plain Python gives."""
    flow = FLOWS[name]
    wanted = plain(flow.meaning(**flow.values))
    wrong = []
    for form, got in results(flow, declare=declare).items():
        assert len(got) == len(wanted), form
        wrong += [
            f"{form}, {k}: {d}" for k, (a, b) in enumerate(zip(got, wanted, strict=True)) if (d := difference(a, b))
        ]
    assert not wrong, "\n".join(wrong)

"""Random tests as commands: ``python tests/test_random_loops.py 500 --first 1000`` runs many, and prints what fails."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def run_many(*checks: Callable[[int], Any], text: Callable[[int], str] = lambda seed: "") -> int:
    """Run checks for the seeds that the command line names; prints each that fails, with the `text` of its seed.

    Returns:
        1 if one has failed, else 0.
    """
    parser = argparse.ArgumentParser(description="Run many seeds, and count those that fail.")
    parser.add_argument("count", type=int)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    failed = 0
    for seed in range(options.first, options.first + options.count):
        for check in checks:
            try:
                check(seed)
            except Exception as error:
                failed += 1
                name = f"{check.__name__}({seed})"
                print(f"{name}: {type(error).__name__}: {error}\n{text(seed)}\n{'-' * 80}", flush=True)
    print(f"{failed} of {options.count * len(checks)} failed")
    return min(failed, 1)

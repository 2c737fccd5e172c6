"""How many threads work on one call."""

from __future__ import annotations

import operator

from compiler import runtime
from compiler.runtime.threads import MOST


def set_num_threads(count: int) -> None:
    """Choose how many threads work on one call of a compiled function, in this process.

    Results are the same for every number. Calls that run meanwhile go on with as many threads as they have.

    Args:
        count: at least 1; more than there are processors is allowed, and slow.

    Raises:
        ValueError: it is less than 1.

    >>> import symgraph as sg
    >>> before = sg.get_num_threads()
    >>> sg.set_num_threads(1)
    >>> sg.get_num_threads()
    1
    >>> sg.set_num_threads(before)
    """
    try:
        wanted = operator.index(count)
    except TypeError:
        raise TypeError(f"set_num_threads: expected an integer, got {count!r:.80}") from None
    if not 1 <= wanted <= MOST:
        raise ValueError(f"set_num_threads: expected a number from 1 to {MOST}, got {wanted}")
    runtime.load().set_threads(wanted)


def get_num_threads() -> int:
    """How many threads work on one call of a compiled function.

    Returns:
        int: what `set_num_threads` was given; else the number of processors that this process may use, or
        NUMBA_NUM_THREADS if that is less.

    >>> import symgraph as sg
    >>> sg.get_num_threads() >= 1
    True
    """
    return runtime.load().threads

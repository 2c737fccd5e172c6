"""Where a sequence repeats itself: the longest stretches in which every element equals the one a period before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

WINDOWS = (1, 4, 16, 64, 256)
"""Lengths of the pieces whose recurrence tells what the period may be."""

GUESSES = 3
"""How many periods are tried for each length."""

Tokens = npt.NDArray[np.int64]


class Stretch(NamedTuple):
    """Elements from `start` on that repeat after `period`, that many times."""

    start: int
    period: int
    times: int

    def joined(self, times: int) -> Stretch:
        """With that many periods as one; what is left over comes first."""
        return Stretch(self.start + self.times % times * self.period, self.period * times, self.times // times)


def stretches(sequence: Sequence[int], least: int) -> list[Stretch]:
    """Disjoint stretches of at least `least` periods, in order; the longest are found first.

    >>> stretches([7, 1, 2, 1, 2, 1, 2, 1, 2, 9], 3)
    [Stretch(start=1, period=2, times=4)]
    """
    whole = np.asarray(sequence, np.int64)
    found, open_ = [], [(0, len(whole))]
    while open_:
        low, high = open_.pop()
        best = _longest(whole[low:high], least)
        if best is not None:
            begin, end = low + best.start, low + best.start + best.period * best.times
            found.append(best._replace(start=begin))
            open_ += [(low, begin), (end, high)]
    return sorted(found)


def _longest(tokens: Tokens, least: int) -> Stretch | None:
    """The stretch that covers most; of equals the one with the shortest period."""
    best, most = None, 0
    longest = len(tokens) // least
    if not longest:
        return None
    for period in sorted({guess for guess in _guesses(tokens, longest) if guess <= longest}):
        differ = np.flatnonzero(tokens[period:] != tokens[:-period])
        edges = np.concatenate([[-1], differ, [len(tokens) - period]])
        lengths = np.diff(edges) - 1 + period
        at = int(np.argmax(lengths))
        count = int(lengths[at]) // period
        if count >= least and lengths[at] > most:
            start = int(edges[at]) + 1 + int(lengths[at]) % period  # what is left over comes first: steps end whole
            best, most = Stretch(start, period, count), int(lengths[at])
    return best


def _guesses(tokens: Tokens, longest: int) -> Iterator[int]:
    """How far apart equal pieces lie, most often. Pieces as long as the longest period tell all that longer ones do."""
    pieces, width = tokens.astype(np.uint64), 1
    for window in WINDOWS:
        while width < window:
            if len(pieces) <= width:
                return
            # One number for a piece of twice the length, wrapping around: a clash costs a guess and nothing else.
            later = pieces[width:]
            pieces = pieces[:-width] * np.uint64(0x9E3779B97F4A7C15) + (later ^ (later >> np.uint64(29)))
            width *= 2
        order = np.argsort(pieces, kind="stable")
        again = pieces[order][1:] == pieces[order][:-1]
        apart = np.bincount(np.diff(order)[again])
        yield from (int(d) for d in np.argsort(-apart, kind="stable")[:GUESSES] if apart[d] > 1 and d > 0)
        if window >= longest:
            return

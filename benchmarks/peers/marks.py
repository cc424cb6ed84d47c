"""What the tasks said of themselves, held against the instants that were due. Pure, but for reading the file."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

# As apps/marking.py writes them.
LENGTH = 25


def read(path: Path) -> list[tuple[float, int]]:
    """When each start was, in seconds since 1970, and of which schedule; in the order of the file."""
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    return [(float(line[:17]), int(line[18:])) for line in lines if len(line) == LENGTH - 1]


def counted(path: Path) -> int:
    """How many lines there are, without reading them."""
    return path.stat().st_size // LENGTH if path.exists() else 0


def instants(first: float, every: float, count: int, counts_from: float | None = None) -> list[float]:
    """`count` instants from `first` on; where the peer counts from a moment of its own, those that follow from it."""
    if counts_from is not None:
        first = counts_from + math.ceil(max(0.0, first - counts_from) / every) * every
    return [first + number * every for number in range(count)]


def lags(starts: Iterable[tuple[float, int]], due: Sequence[float], until: float) -> list[float]:
    """Seconds from an instant to the start that it is credited with, one for each pair of instant and schedule.

    Which instant a start was for is not known where a peer leaves some out. So the last start has the last instant that
    it can be for, and so on backwards: where none is missing that is the order of time, and else the reading that is
    best for the peer. Starts after `until` do not count.
    """
    of_schedule: dict[int, list[float]] = defaultdict(list)
    for moment, number in starts:
        if moment <= until:
            of_schedule[number].append(moment)
    found = []
    for moments in of_schedule.values():
        free = list(due)
        for moment in sorted(moments, reverse=True):
            while free and free[-1] > moment:
                free.pop()
            if not free:
                break
            found.append(moment - free.pop())
    return found

"""The instants of a schedule in order, computed in runs and kept: what comes after, what came before, how many.

Time is cut into pieces of equal length from 1970 on in UTC, so what a piece holds never depends on where one began to
ask. Instants are whole seconds from 1970-01-01T00:00Z. Bounds of a schedule are not known here.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from reconciler.schedule.cron import Cron
from reconciler.schedule.crondays import EPOCH_ORDINAL
from reconciler.schedule.instants import FIRST, LAST, CronRule, IntervalRule, Rule
from reconciler.schedule.zone import DAY, HOUR, Changes, Fold, Gap, load_zone

SPANS = (HOUR, 6 * HOUR, DAY, 8 * DAY, 32 * DAY, 256 * DAY, 2048 * DAY, 16_384 * DAY)
# How much one piece may hold: hours visited decide the cost of a first question, instants that of memory.
MOST_HOURS = 16
MOST_INSTANTS = 4000
# Over all schedules of the process: at most some 8 MB of instants.
MOST_KEPT = 1_000_000


class Timeline:
    """All instants of some rules together; equal schedules share one, and its runs."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        self._span = _span(rules)
        self.runs: dict[int, array[int]] = {}

    def after(self, second: int) -> int | None:
        """The first instant later than `second`; None when no calendar day is left for one."""
        if second >= LAST:
            return None
        index = (second + 1) // self._span
        run = self.runs.get(index) or self._run(index)
        place = bisect_right(run, second)
        if place < len(run):
            return run[place]
        for run in self._onward(index + 1):
            if run:
                return run[0]
        return None

    def onward(self, second: int) -> Iterator[int]:
        """All that are later than `second`, one after the other, at a fraction of what asking for each costs."""
        if second < LAST:
            for run in self._onward((second + 1) // self._span):
                yield from run[bisect_right(run, second) :] if run and run[0] <= second else run

    def until(self, second: int, after: int) -> int | None:
        """The last instant that is not later than `second`, yet later than `after`."""
        for run in self._back(min(second, LAST) // self._span, after):
            place = bisect_right(run, second)
            if place:
                return run[place - 1] if run[place - 1] > after else None
        return None

    def count(self, after: int, until: int, limit: int) -> int | None:
        """How many instants lie in (after, until]; None when more than `limit`."""
        total = 0
        for run in self._onward((after + 1) // self._span):
            total += max(0, bisect_right(run, until) - bisect_right(run, after))
            if total > limit:
                return None
            if run and run[-1] > until:
                break
        return total

    def _onward(self, index: int) -> Iterator[array[int]]:
        """Runs from `index` on; stretches in which no rule has a day are passed over."""
        while index * self._span < LAST:
            run = self._run(index)
            yield run
            index += 1
            if not run and index * self._span < LAST:
                days = [next(rule.onward(index * self._span // DAY - 1), None) for rule in self._rules]
                nearest = min((day for day in days if day is not None), default=LAST // DAY + 1)
                index = max(index, (nearest - 1) * DAY // self._span)

    def _back(self, index: int, after: int) -> Iterator[array[int]]:
        floor = max(after, FIRST)
        while (index + 1) * self._span > floor:
            run = self._run(index)
            yield run
            index -= 1
            if not run and (index + 1) * self._span > floor:
                days = [next(rule.back((index + 1) * self._span // DAY + 1), None) for rule in self._rules]
                nearest = max((day for day in days if day is not None), default=FIRST // DAY - 3)
                index = min(index, (nearest + 2) * DAY // self._span)

    def _run(self, index: int) -> array[int]:
        run = self.runs.get(index)
        if run is None:
            start, end = max(FIRST, index * self._span), min(LAST, (index + 1) * self._span)
            found = sorted({instant for rule in self._rules for instant in rule.between(start, end)})
            run = array("q", found[bisect_left(found, start) : bisect_left(found, end)])
            _kept.keep(self, index, run)
        return run


def _span(rules: tuple[Rule, ...]) -> int:
    hours = instants = 1e-9
    for rule in rules:
        more_hours, more_instants = rule.density()
        hours, instants = hours + more_hours, instants + more_instants
    most = min(MOST_HOURS / hours, MOST_INSTANTS / instants) * DAY
    return SPANS[max(0, bisect_right(SPANS, most) - 1)]


class Kept:
    """The runs that all timelines keep, the oldest of which goes when there are too many instants."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._order: deque[tuple[Timeline, int]] = deque()
        self._size = 0
        self._lock = threading.Lock()

    def keep(self, timeline: Timeline, index: int, run: array[int]) -> None:
        with self._lock:
            if index in timeline.runs:
                return
            timeline.runs[index] = run
            self._order.append((timeline, index))
            self._size += _weight(run)
            while self._size > self._most and len(self._order) > 1:
                old, place = self._order.popleft()
                self._size -= _weight(old.runs.pop(place))


def _weight(run: array[int]) -> int:
    return len(run) + 32


_kept = Kept(MOST_KEPT)


class Meaning(NamedTuple):
    """All that decides the instants of a schedule, and nothing else."""

    crons: tuple[Cron, ...]
    intervals: tuple[tuple[int, int], ...]
    zone: str
    gap: Gap
    fold: Fold
    skip_on: frozenset[date]


@lru_cache(maxsize=16_384)
def timeline(meaning: Meaning) -> Timeline:
    """The one timeline of that meaning, also of specs whose `H` came to the same; InvalidSchedule as in `load_zone`."""
    zone = load_zone(meaning.zone)
    skipped = frozenset(day.toordinal() - EPOCH_ORDINAL for day in meaning.skip_on)
    rules: list[Rule] = [IntervalRule(step, anchor, zone, skipped) for step, anchor in meaning.intervals]
    for cron in meaning.crons:
        rules.append(CronRule(cron, zone, Changes(cron.is_wildcard, meaning.gap, meaning.fold), skipped))
    return Timeline(tuple(rules))

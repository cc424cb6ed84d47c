"""Which instants a cron expression or an interval names between two others, in a zone.

Instants are whole seconds from 1970-01-01T00:00Z; days are those of the wall clock, counted from 1970-01-01.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

from reconciler.schedule.cron import Cron
from reconciler.schedule.zone import DAY, EPOCH, HOUR, Changes, Zone

# A few days within what datetime holds, so that no zone can push a neighbouring time over the edge.
FIRST = int((datetime(1, 1, 6, tzinfo=UTC) - EPOCH).total_seconds())
LAST = int((datetime(9999, 12, 26, tzinfo=UTC) - EPOCH).total_seconds())


class Rule(Protocol):
    """One source of instants, such as one cron expression."""

    def between(self, start: int, end: int) -> list[int]:
        """The instants in [start, end), in no certain order, perhaps some outside of it too."""

    def onward(self, day: int) -> Iterator[int]:
        """Days of the wall clock from `day` on that may hold an instant."""

    def back(self, day: int) -> Iterator[int]:
        """The same backwards."""

    def density(self) -> tuple[float, float]:
        """About how many hours of a day have to be visited, and how many instants they hold."""


@dataclass(frozen=True)
class CronRule:
    """The instants of one cron expression in one zone."""

    cron: Cron
    zone: Zone
    changes: Changes
    skip_on: frozenset[int]

    def between(self, start: int, end: int) -> list[int]:
        first, last = self._window(start, end)
        times = _within_hour(self.cron.minutes, self.cron.seconds)
        found: list[int] = []
        for day in self.cron.days.onward(first // DAY):
            if day * DAY >= last:
                break
            if day not in self.skip_on:
                for hour in self.cron.hours:
                    time = day * DAY + hour * HOUR
                    if first - HOUR < time < last:
                        found += self.zone.instants(time, times, self.changes)
        return found

    def _window(self, start: int, end: int) -> tuple[int, int]:
        """The wall-clock times whose instants can lie in [start, end)."""
        if self.zone.is_utc:
            return start, end
        if end - start > DAY:
            return start - DAY, end + DAY
        # No zone has changed its clock twice within three days. A gap may end exactly at `start`.
        offsets = self.zone.offset(start - 1), self.zone.offset(end)
        return start + min(offsets), end + max(offsets)

    def onward(self, day: int) -> Iterator[int]:
        return (day for day in self.cron.days.onward(day) if day not in self.skip_on)

    def back(self, day: int) -> Iterator[int]:
        return (day for day in self.cron.days.back(day) if day not in self.skip_on)

    def density(self) -> tuple[float, float]:
        hours = len(self.cron.hours) * self.cron.days.share()
        return hours, hours * len(self.cron.minutes) * len(self.cron.seconds)


@lru_cache(maxsize=4096)
def _within_hour(minutes: tuple[int, ...], seconds: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(minute * 60 + second for minute in minutes for second in seconds)


@dataclass(frozen=True)
class IntervalRule:
    """Instants every `step` seconds of elapsed time, through `anchor`, except on days skipped in a zone."""

    step: int
    anchor: int
    zone: Zone
    skip_on: frozenset[int]

    def between(self, start: int, end: int) -> list[int]:
        found = range(start + (self.anchor - start) % self.step, end, self.step)
        days = range(start // DAY - 1, end // DAY + 2)
        if self.skip_on.isdisjoint(days):
            return list(found)
        if self.skip_on.issuperset(days):
            return []
        return [instant for instant in found if self._day(instant) not in self.skip_on]

    def _day(self, instant: int) -> int:
        return (instant + self.zone.offset(instant)) // DAY

    def onward(self, day: int) -> Iterator[int]:
        last = LAST // DAY
        while day <= last:
            # The last instant at which some zone still has the day before, so none is passed over.
            instant = (day - 1) * DAY + (self.anchor - (day - 1) * DAY) % self.step
            day = max(day, instant // DAY - 1)
            if day not in self.skip_on:
                yield day
            day += 1

    def back(self, day: int) -> Iterator[int]:
        first = FIRST // DAY
        while day >= first:
            instant = (day + 2) * DAY - ((day + 2) * DAY - self.anchor) % self.step
            day = min(day, instant // DAY + 1)
            if day not in self.skip_on:
                yield day
            day -= 1

    def density(self) -> tuple[float, float]:
        return 0.0, DAY / self.step

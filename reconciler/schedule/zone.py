"""From wall-clock time in a zone to instants: what a clock that jumps forward or back does to a time of day.

Instants and wall-clock times are whole seconds from 1970-01-01T00:00, in UTC and in the zone. All knowledge of clock
changes comes from `zoneinfo`; the rule for them is that of Debian's cron(8).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from reconciler.nearest import nearest
from reconciler.schedule.cron import InvalidSchedule
from reconciler.schedule.cronfield import shown

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = 3600
DAY = 86_400
# cron(8): "Clock changes of more than 3 hours are considered to be corrections to the clock, and the new time is
# used immediately."
CORRECTION = 3 * HOUR
REMEMBERED_HOURS = 50_000

Gap = Literal["default", "after", "skip"]
Fold = Literal["default", "first", "second", "both"]


class Changes(NamedTuple):
    """What becomes of a time that a clock change skips (gap) or repeats (fold).

    `default` is cron(8)'s rule for the kind of schedule, which `is_wildcard` tells.
    """

    is_wildcard: bool
    gap: Gap
    fold: Fold

    def in_gap(self, size: int) -> str:
        if self.gap == "default":
            return "skip" if self.is_wildcard or size > CORRECTION else "after"
        return self.gap

    def in_fold(self, size: int) -> str:
        if self.fold == "default":
            return "both" if self.is_wildcard or size > CORRECTION else "first"
        return self.fold


class Zone:
    """One time zone; it remembers which hours have no clock change in them."""

    def __init__(self, key: str, info: ZoneInfo) -> None:
        self.key = key
        self.info = info
        self.is_utc = key in ("UTC", "Etc/UTC")
        self._origin = datetime(1970, 1, 1, tzinfo=info)
        self._hours: dict[int, int | None] = {}

    def offset(self, instant: int) -> int:
        """Seconds that the zone's clock is ahead of UTC at an instant."""
        if self.is_utc:
            return 0
        return _seconds((EPOCH + timedelta(seconds=instant)).astimezone(self.info).utcoffset())

    def instants(self, hour: int, times: tuple[int, ...], changes: Changes) -> list[int]:
        """The instants of wall-clock times `hour` + each of `times` (seconds below 3600), in no certain order."""
        offset = self._steady(hour)
        if offset is not None:
            start = hour - offset
            return [start + time for time in times]
        return [found for time in times for found in self._changing(hour + time, changes)]

    def _steady(self, hour: int) -> int | None:
        """The offset during an hour on the wall clock; None when a change touches the hour."""
        if self.is_utc:
            return 0
        try:
            return self._hours[hour]
        except KeyError:
            pass
        first = self._offsets(hour)
        offset = first[0] if first == self._offsets(hour + HOUR - 1) and first[0] == first[1] else None
        if len(self._hours) >= REMEMBERED_HOURS:
            self._hours.clear()
        self._hours[hour] = offset
        return offset

    def _offsets(self, time: int) -> tuple[int, int]:
        """The offsets before and after the clock change that `time` is touched by; the same twice if by none."""
        local = self._origin + timedelta(seconds=time)
        return _seconds(local.utcoffset()), _seconds(local.replace(fold=1).utcoffset())

    def _changing(self, time: int, changes: Changes) -> tuple[int, ...]:
        before, after = self._offsets(time)
        if before == after:
            return (time - before,)
        if before < after:
            is_skipped = changes.in_gap(after - before) == "skip"
            return () if is_skipped else (self._end_of_gap(time, before, after),)
        kept = {"first": (before,), "second": (after,), "both": (before, after)}
        return tuple(time - offset for offset in kept[changes.in_fold(before - after)])

    def _end_of_gap(self, time: int, before: int, after: int) -> int:
        """The instant at which the clock jumped over `time`."""
        low, high = time - after, time - before
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if middle + self.offset(middle) >= time else (middle, high)
        return high


@lru_cache(maxsize=1024)
def load_zone(key: str) -> Zone:
    """The zone of that name in the tz database; InvalidSchedule with the nearest name."""
    # zoneinfo also opens what is no place: 'localtime' differs by machine, 'right/…' counts leap seconds.
    if len(key) <= 64 and key not in ("localtime", "posixrules") and not key.startswith(("right/", "posix/")):
        try:
            return Zone(key, ZoneInfo(key))
        except (LookupError, ValueError, OSError):
            pass
    raise InvalidSchedule(_unknown(key), field="timezone")


def _unknown(key: str) -> str:
    what = f"no time zone is named {shown(key, 40)}"
    if key.isupper() and len(key) <= 5:
        return f"{what}; an abbreviation does not say where, use a name like 'Europe/Berlin'"
    near = nearest(key[:40].replace(" ", "_"), _spellings())
    return (
        f"{what}; did you mean '{_spellings()[near]}'?"
        if near
        else f"{what}; use a name like 'Europe/Berlin', or 'UTC'"
    )


@lru_cache(maxsize=1)
def _spellings() -> dict[str, str]:
    """Every zone's name, by itself and by its last part."""
    names = sorted(available_timezones() - {"localtime", "posixrules", "Factory"}, reverse=True)
    return {name.rpartition("/")[2]: name for name in names} | {name: name for name in names}


def _seconds(offset: timedelta | None) -> int:
    assert offset is not None
    return offset.days * DAY + offset.seconds

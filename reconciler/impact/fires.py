"""How often a task fires between two moments: counted by the calendar, not one instant after the other.

A day without a clock change has as many instants as the expressions have times; only the days on which a clock changes
are looked at second by second. So a task that fires each second costs no more than one that fires once a year.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from reconciler.impact.timing import Times, Timing, interval_of, is_interval, times_of
from reconciler.schedule import Schedule
from reconciler.schedule.crondays import EPOCH_ORDINAL, Days
from reconciler.schedule.instants import CronRule
from reconciler.schedule.zone import DAY, EPOCH, HOUR, Changes, Zone, load_zone

# What is neither only crons nor one interval is counted one by one up to this, and beyond it by one day.
MOST_COUNTED = 20_000
SECOND = timedelta(seconds=1)
Clock = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


class Count(NamedTuple):
    """`is_exact` False: one day was counted, and stands for all."""

    fires: float
    is_exact: bool = True


class Stretch(NamedTuple):
    """The instants [begin, end) of a zone; `offset` None: its clock changes there."""

    begin: int
    end: int
    offset: int | None


def seconds(moment: datetime) -> int:
    """Whole seconds since 1970, rounded down."""
    since = moment - EPOCH
    return since.days * DAY + since.seconds


def fires_between(timing: Timing | None, begin: int, end: int) -> Count:
    """How many instants of it lie in [begin, end), seconds since 1970; none where nothing fires by itself."""
    if timing is None or not timing.fires:
        return Count(0)
    schedule, anchor = None, 0
    if timing.starts_at or timing.ends_at:
        schedule = timing.when()
        begin, end, anchor = _bounded(schedule, begin, end)
    if begin >= end:
        return Count(0)
    if not any(map(is_interval, timing.schedule)):
        return Count(_by_calendar(timing, begin, end))
    if len(timing.schedule) == 1 and not timing.skip_on:
        step = interval_of(timing.schedule[0])
        return Count((end - 1 - anchor) // step - (begin - 1 - anchor) // step)
    return _one_by_one(schedule or timing.when(), begin, end)


@lru_cache(maxsize=4096)
def stretches(timezone: str, begin: int, end: int) -> tuple[Stretch, ...]:
    """[begin, end) cut into what has one offset, and the whole days of the wall clock on which the clock changes."""
    return tuple(_stretches(timezone, begin, end))


def _stretches(timezone: str, begin: int, end: int) -> Iterator[Stretch]:
    zone = load_zone(timezone)
    at = begin
    for jump, before, after in _jumps(timezone, begin // DAY, -(-end // DAY)):
        days = sorted(((jump + before) // DAY, (jump + after) // DAY))
        first, last = days[0] * DAY - before, (days[1] + 1) * DAY - after
        if last <= at or first >= end:
            continue
        if first > at:
            yield Stretch(at, first, before)
        yield Stretch(max(at, first), min(last, end), None)
        at = min(last, end)
    if at < end:
        yield Stretch(at, end, zone.offset(at))


def instants_on(timing: Timing, crons: Sequence[Times], begin: int, end: int) -> set[int]:
    """The instants of its cron expressions in [begin, end), each looked at by itself."""
    zone, skipped = load_zone(timing.timezone), skipped_days(timing)
    found: set[int] = set()
    for times in crons:
        found.update(_rule(times, timing, zone, skipped).between(begin, end))
    return {instant for instant in found if begin <= instant < end}


@lru_cache(maxsize=65_536)
def days_between(days: Days, first: int, last: int) -> tuple[int, ...]:
    """The matching days from `first` to `last`, both included, counted from 1970-01-01."""
    found = []
    for day in days.onward(first):
        if day > last:
            break
        found.append(day)
    return tuple(found)


def skipped_days(timing: Timing) -> frozenset[int]:
    return frozenset(day.toordinal() - EPOCH_ORDINAL for day in timing.skip_on)


def _bounded(schedule: Schedule | None, begin: int, end: int) -> tuple[int, int, int]:
    """The part within the schedule's bounds, and from when its intervals count."""
    anchor = 0
    if schedule and schedule.starts_at:
        anchor = seconds(schedule.starts_at) + bool(schedule.starts_at.microsecond)
        begin = max(begin, anchor)
    if schedule and schedule.ends_at:
        end = min(end, seconds(schedule.ends_at) + 1)
    return begin, end, anchor


def _by_calendar(timing: Timing, begin: int, end: int) -> int:
    crons, skipped = times_of(timing), skipped_days(timing)
    total = 0
    for part in stretches(timing.timezone, begin, end):
        if part.offset is None:
            total += len(instants_on(timing, crons, part.begin, part.end))
        else:
            total += _steady(crons, skipped, part.begin + part.offset, part.end + part.offset)
    return total


def _steady(crons: Sequence[Times], skipped: frozenset[int], begin: int, end: int) -> int:
    """How many times of the wall clock lie in [begin, end), where it does not change."""
    first, last = begin // DAY, (end - 1) // DAY
    if len(crons) == 1:
        days, clock = days_between(crons[0].days, first, last), crons[0].clock
        kept = [day for day in days if day not in skipped] if skipped else days
        a_day = len(clock[0]) * len(clock[1]) * len(clock[2])
        early = _before(clock, begin - first * DAY) if kept and kept[0] == first else 0
        late = a_day - _before(clock, end - last * DAY) if kept and kept[-1] == last else 0
        return a_day * len(kept) - early - late
    clocks: dict[int, list[Clock]] = {}
    for times in crons:
        for day in days_between(times.days, first, last):
            clocks.setdefault(day, []).append(times.clock)
    total = 0
    for day, those in clocks.items():
        if day not in skipped:
            union = _union(tuple(those))
            total += bisect_left(union, end - day * DAY) - bisect_left(union, begin - day * DAY)
    return total


@lru_cache(maxsize=16_384)
def _before(clock: Clock, time: int) -> int:
    """How many times of the day lie before `time`, in seconds since midnight."""
    hours, minutes, second = clock
    hour, rest = divmod(time, HOUR)
    place = bisect_left(hours, hour)
    found = place * len(minutes) * len(second)
    if place < len(hours) and hours[place] == hour:
        minute, rest = divmod(rest, 60)
        within = bisect_left(minutes, minute)
        found += within * len(second)
        if within < len(minutes) and minutes[within] == minute:
            found += bisect_left(second, rest)
    return found


@lru_cache(maxsize=256)
def _union(clocks: tuple[Clock, ...]) -> tuple[int, ...]:
    """The times of the day that any of them names, in order."""
    return tuple(
        sorted(
            {
                hour * HOUR + minute * 60 + second
                for hours, minutes, seconds_ in clocks
                for hour in hours
                for minute in minutes
                for second in seconds_
            }
        )
    )


def _rule(times: Times, timing: Timing, zone: Zone, skipped: frozenset[int]) -> CronRule:
    return CronRule(times, zone, Changes(times.is_wildcard, timing.gap, timing.fold), skipped)  # type: ignore[arg-type]


def _one_by_one(schedule: Schedule | None, begin: int, end: int) -> Count:
    if schedule is None:
        return Count(0)
    after, until = _moment(begin) - SECOND, _moment(end) - SECOND
    found = schedule.count(after, until, MOST_COUNTED)
    if found is not None:
        return Count(found)
    a_day = schedule.count(after, after + timedelta(days=1), 10 * DAY) or 0
    return Count(a_day * (end - begin) / DAY, is_exact=False)


def _moment(second: int) -> datetime:
    return EPOCH + timedelta(seconds=second)


@lru_cache(maxsize=1024)
def _jumps(timezone: str, first: int, last: int) -> tuple[tuple[int, int, int], ...]:
    """Each instant from the day before `first` to the day after `last` at which the clock jumps, and both offsets."""
    if load_zone(timezone).is_utc:
        return ()
    from reconciler.simulate.clockchanges import transitions

    found = transitions(timezone, _moment((first - 2) * DAY), _moment((last + 2) * DAY))
    return tuple((seconds(at), before // SECOND, after // SECOND) for at, before, after in found)

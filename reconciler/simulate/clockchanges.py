"""What a clock change does to the instants of a schedule: which move, come twice, or do not come.

A cron expression is asked twice: on the clock of its zone, and on one that never changes. What differs is told. One
whose hours are all of them follows elapsed time, and nobody is surprised; neither is anybody by an interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal

from reconciler.occurrences import TICK
from reconciler.schedule import Schedule
from reconciler.schedule.cron import parse_cron
from reconciler.schedule.zone import DAY, EPOCH, load_zone
from reconciler.spec import TaskSpec
from reconciler.spec.spec import schedule_of

Effect = Literal["moved", "doubled", "dropped"]


@dataclass(frozen=True, slots=True)
class ClockChange:
    """What became of the times `first` to `last` (`times` of them) of a name's expression on the wall clock.

    `at` is the instant of the change; `clock` says it in words. `moved`: they run at `at`, once.
    """

    name: str
    expression: str
    timezone: str
    at: datetime
    clock: str
    effect: Effect
    first: datetime
    last: datetime
    times: int

    @property
    def became(self) -> str:
        """`02:30 runs twice`."""
        times = f"{self.first:%H:%M}" + (f" to {self.last:%H:%M}, {self.times} times," if self.times > 1 else "")
        verb = "do" if self.times > 1 else "does"
        what = {
            "moved": f"{'run' if self.times > 1 else 'runs'} once, at {self.at:%H:%M} UTC",
            "doubled": f"{'run' if self.times > 1 else 'runs'} twice",
            "dropped": f"{verb} not run",
        }[self.effect]
        return f"{times} {what}"

    def __str__(self) -> str:
        return f"{self.first:%Y-%m-%d} {self.timezone}: {self.clock}: {self.became}"


def clock_changes(specs: Iterable[TaskSpec], begin: datetime, end: datetime) -> list[ClockChange]:
    """What the clock changes in [begin, end) do to these schedules, by instant and name."""
    found = [
        change
        for spec in specs
        if spec.is_scheduled
        for at, before, after in transitions(spec.timezone, begin, end)
        for change in _of_spec(spec, at, before, after)
    ]
    return sorted(found, key=lambda change: (change.at, change.name, change.expression))


@lru_cache(maxsize=256)
def transitions(timezone: str, begin: datetime, end: datetime) -> tuple[tuple[datetime, timedelta, timedelta], ...]:
    """Each instant in [begin, end) at which the zone's clock jumps, with its offset before and after."""
    zone = load_zone(timezone)
    if zone.is_utc:
        return ()
    found = []
    first, last = (int((moment - EPOCH).total_seconds()) for moment in (begin, end))
    for day in range(first, last, DAY):
        low, high = day - 1, min(day + DAY, last) - 1
        if zone.offset(low) == zone.offset(high):
            continue
        before, after = zone.offset(low), zone.offset(high)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if zone.offset(middle) == before else (low, middle)
        found.append((EPOCH + timedelta(seconds=high), timedelta(seconds=before), timedelta(seconds=after)))
    return tuple(found)


def _of_spec(spec: TaskSpec, at: datetime, before: timedelta, after: timedelta) -> Iterator[ClockChange]:
    whole = spec.when()
    if whole is None or not (whole.starts_at or at) <= at <= (whole.ends_at or at):
        return
    fields = dict(spec.__dict__)
    for text in spec.schedule:
        if text.lstrip().startswith("@every") or len(parse_cron(text, spec.seconds, spec.name).hours) == 24:
            continue
        real = schedule_of((text,), fields)
        steady = schedule_of((text,), {**fields, "timezone": "UTC", "starts_at": None, "ends_at": None})
        # On the wall clock, as if it were UTC: the times that do not come, or that come twice.
        low, high = sorted((at + before, at + after))
        times = _between(steady, low, high)
        if times and (effect := _effect(real, steady, at, before, after)):
            clock = _words(at + before, at + after)
            yield ClockChange(spec.name, text, spec.timezone, at, clock, effect, times[0], times[-1], len(times))


def _effect(real: Schedule, steady: Schedule, at: datetime, before: timedelta, after: timedelta) -> Effect | None:
    if after > before:
        runs = real.next_after(at - TICK) == at
        is_due_anyway = steady.next_after(at + after - TICK) == at + after
        return "moved" if runs and not is_due_anyway else "dropped"
    size = before - after
    twice = [len(_between(real, start, start + size)) for start in (at - size, at)]
    if not any(twice):
        return "dropped"
    return "doubled" if all(twice) else None


def _between(schedule: Schedule, begin: datetime, end: datetime) -> list[datetime]:
    """The instants in [begin, end)."""
    found = []
    for instant in schedule.upcoming(begin - TICK):
        if instant >= end:
            break
        found.append(instant)
    return found


def _words(old: datetime, new: datetime) -> str:
    way = "forward" if new > old else "back"
    return f"clocks go {way} from {old.astimezone(UTC):%H:%M} to {new.astimezone(UTC):%H:%M}"

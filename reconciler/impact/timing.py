"""What of a spec decides when it fires: a small hashable value, so that thousands of tasks that say the same are one.

It knows neither plans nor the clock, and it is made from a spec or straight from the document that a store keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from reconciler.durations import parse_duration
from reconciler.schedule import Schedule
from reconciler.schedule.cron import SecondsField, hashes, parse_cron
from reconciler.schedule.crondays import Days
from reconciler.schedule.zone import Fold, Gap
from reconciler.spec import TaskSpec
from reconciler.spec.fields import parse_day, parse_moment
from reconciler.spec.spec import schedule_of

MINUTE = timedelta(minutes=1)


class Timing(NamedTuple):
    """When one task fires. `name` is empty unless an `H` in the schedule asks for it.

    `is_spread`: its jitter is longer than a minute, so that no minute can be said in which it starts.
    """

    schedule: tuple[str, ...]
    timezone: str = "UTC"
    seconds: Literal["first", "last"] | None = None
    gap: Gap = "default"
    fold: Fold = "default"
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    skip_on: tuple[date, ...] = ()
    is_suspended: bool = False
    is_spread: bool = False
    name: str = ""

    @property
    def fires(self) -> bool:
        return bool(self.schedule) and not self.is_suspended

    def when(self) -> Schedule | None:
        """None where nothing fires by itself."""
        if not self.fires:
            return None
        fields = {
            "timezone": self.timezone,
            "name": self.name,
            "dst": self,
            "seconds": self.seconds,
            "starts_at": self.starts_at,
            "ends_at": self.ends_at,
            "skip_on": self.skip_on,
        }
        return schedule_of(self.schedule, fields)


class Times(NamedTuple):
    """One cron expression: on which days, at which times of the day."""

    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...]
    days: Days
    is_wildcard: bool

    @property
    def clock(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        return self.hours, self.minutes, self.seconds


def timing_of(spec: TaskSpec | None) -> Timing | None:
    """None for no spec."""
    if spec is None:
        return None
    return Timing(
        spec.schedule,
        spec.timezone,
        spec.seconds,
        spec.dst.gap,
        spec.dst.fold,
        spec.starts_at,
        spec.ends_at,
        spec.skip_on,
        spec.suspend is True,
        spec.jitter > MINUTE,
        _named(spec.name, spec.schedule),
    )


def timing_of_document(document: Mapping[str, Any]) -> Timing:
    """The same of a spec's document, for a small part of what reading all of it costs; ValueError if it is none."""
    schedule = tuple(document.get("schedule") or ())
    dst = document.get("dst") or {}
    starts_at, ends_at = document.get("starts_at"), document.get("ends_at")
    return Timing(
        schedule,
        document.get("timezone") or "UTC",
        document.get("seconds"),
        dst.get("gap") or "default",
        dst.get("fold") or "default",
        parse_moment(starts_at) if starts_at else None,
        parse_moment(ends_at) if ends_at else None,
        tuple(parse_day(day) for day in document.get("skip_on") or ()),
        document.get("suspend") is True,
        _is_long(document.get("jitter") or "0s"),
        _named(document.get("name"), schedule),
    )


def _named(name: str | None, schedule: tuple[str, ...]) -> str:
    return name if name and any(hashes(text) for text in schedule) else ""


@lru_cache(maxsize=1024)
def _is_long(jitter: str) -> bool:
    return parse_duration(jitter) > MINUTE


def is_interval(text: str) -> bool:
    return "@" in text and text.lstrip()[:6].lower() == "@every"


def interval_of(text: str) -> int:
    """Seconds."""
    return parse_duration(text.split()[1]) // timedelta(seconds=1)


def times_of(timing: Timing) -> tuple[Times, ...]:
    """Its cron expressions, read; intervals are not among them."""
    return _times_of(timing.schedule, timing.seconds, timing.name)


@lru_cache(maxsize=16_384)
def _times_of(schedule: tuple[str, ...], seconds: SecondsField, name: str) -> tuple[Times, ...]:
    return tuple(_times(text, seconds, name) for text in schedule if not is_interval(text))


def _times(text: str, seconds: SecondsField, name: str) -> Times:
    fields = text.split()
    if len(fields) == 5 and not name:
        # Thousands of tasks share few minutes, hours and kinds of days: each is read once.
        minute, hour, days = _part(f"{fields[0]} * * * *"), _part(f"0 {fields[1]} * * *"), " ".join(fields[2:])
        is_wildcard = fields[0][0] in "*?" or fields[1][0] in "*?"
        return Times(hour.hours, minute.minutes, (0,), _part(f"0 0 {days}").days, is_wildcard)
    cron = parse_cron(text, seconds, name if hashes(text) else "")
    return Times(cron.hours, cron.minutes, cron.seconds, cron.days, cron.is_wildcard)


_part = lru_cache(maxsize=4096)(parse_cron)

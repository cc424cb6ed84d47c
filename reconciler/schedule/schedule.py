"""When a schedule is due: a pure value that, given a moment, knows the next instant.

Every function takes the moment it reasons about. None of them asks the clock. Instants are whole seconds, and UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

from reconciler.durations import parse_duration
from reconciler.schedule.cron import Cron, InvalidSchedule, SecondsField, hashes, parse_cron
from reconciler.schedule.cronfield import shown
from reconciler.schedule.instants import FIRST, LAST
from reconciler.schedule.timeline import Meaning, Timeline, timeline
from reconciler.schedule.zone import DAY, EPOCH, Fold, Gap, load_zone

__all__ = ["Dst", "InvalidSchedule", "Schedule"]

MOST_EXPRESSIONS = 100
MOST_COUNTED = 10_000
SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Dst:
    """What a clock change does to a time that it skips (gap) or repeats (fold).

    `default` is Debian's cron(8): a schedule with fixed hours and minutes runs once, right after the gap, or the first
    of two times; one with a `*` in hour or minute takes the clock as it is, and so does any after a change of more than
    three hours. Any other value holds for every cron expression of the schedule. Intervals know no clock changes.
    """

    gap: Gap = "default"
    fold: Fold = "default"


@dataclass(frozen=True)
class Schedule:
    """When a task is due: cron expressions and `@every` intervals, in one zone, within bounds.

    Both bounds are inclusive, and without a zone of their own they are in the schedule's. `skip_on` holds dates of the
    wall clock there. `@every` counts from `starts_at`, else from 1970. `name` decides what `H` stands for.
    Raises InvalidSchedule.
    """

    expressions: Sequence[str]
    timezone: str = "UTC"
    _: KW_ONLY
    name: str = ""
    dst: Dst = Dst()
    seconds: SecondsField = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    skip_on: frozenset[date] = frozenset()
    crons: tuple[Cron, ...] = field(init=False, compare=False, repr=False)
    intervals: tuple[timedelta, ...] = field(init=False, compare=False, repr=False)
    _before: int = field(init=False, compare=False, repr=False)
    _last: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        expressions = (self.expressions,) if isinstance(self.expressions, str) else tuple(self.expressions)
        if not 1 <= len(expressions) <= MOST_EXPRESSIONS:
            raise InvalidSchedule(f"a schedule has 1 to {MOST_EXPRESSIONS} expressions; this has {len(expressions)}")
        name = self.name if any(hashes(text) for text in expressions) else ""
        self._settle(expressions=expressions, name=name, skip_on=frozenset(self.skip_on))
        load_zone(self.timezone)
        self._bound()
        self._settle(crons=tuple(self._read()), intervals=tuple(self._lengths()))

    def _read(self) -> Iterator[Cron]:
        for text in self.expressions:
            if not _is_interval(text):
                yield parse_cron(text, self.seconds, self.name if hashes(text) else "")

    def _lengths(self) -> Iterator[timedelta]:
        return (_interval(text) for text in self.expressions if _is_interval(text))

    @cached_property
    def _timeline(self) -> Timeline:
        anchor = self._before + 1 if self.starts_at else 0
        steps = [length // SECOND for length in self.intervals]
        meaning = Meaning(
            crons=self.crons,
            intervals=tuple((step, anchor % step) for step in steps),
            zone=self.timezone,
            gap=self.dst.gap,
            fold=self.dst.fold,
            skip_on=self.skip_on,
        )
        return timeline(meaning)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed and may still not be meant, a line each."""
        return tuple(cron.warning for cron in self.crons if cron.warning)

    def _settle(self, **values: object) -> None:
        for key, value in values.items():
            object.__setattr__(self, key, value)

    def _bound(self) -> None:
        starts_at, ends_at = self._placed(self.starts_at, "starts_at"), self._placed(self.ends_at, "ends_at")
        if starts_at and ends_at and ends_at < starts_at:
            raise InvalidSchedule(f"'{self.ends_at}' is before starts_at, '{self.starts_at}'", field="ends_at")
        self._settle(
            starts_at=starts_at,
            ends_at=ends_at,
            _before=max(FIRST, _second(starts_at) - (not starts_at.microsecond)) if starts_at else FIRST,
            _last=min(LAST, _second(ends_at)) if ends_at else LAST,
        )

    def _placed(self, moment: datetime | None, bound: str) -> datetime | None:
        """The same instant in UTC, so that two of them compare as instants."""
        if moment is None:
            return None
        placed = moment if moment.tzinfo else moment.replace(tzinfo=load_zone(self.timezone).info)
        try:
            return EPOCH + (placed - EPOCH)
        except OverflowError:
            raise InvalidSchedule(f"'{moment}' is at the edge of the calendar", field=bound) from None

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, ({part.name: getattr(self, part.name) for part in fields(self) if part.init},)

    def next_after(self, moment: datetime) -> datetime | None:
        """The first instant strictly after `moment`, in UTC; None when it never comes again.

        Clock changes follow cron(8) of Debian unless `dst` says otherwise.
        """
        found = self._timeline.after(max(_second(moment), self._before))
        return None if found is None or found > self._last else EPOCH + timedelta(seconds=found)

    def upcoming(self, moment: datetime) -> Iterator[datetime]:
        """The instants strictly after `moment`, one after the other."""
        for found in self._timeline.onward(max(_second(moment), self._before)):
            if found > self._last:
                return
            yield EPOCH + timedelta(seconds=found)

    def last_until(self, moment: datetime, after: datetime) -> datetime | None:
        """The latest instant in (after, moment], at a cost that does not depend on how long that is."""
        since = max(_second(after), self._before)
        found = self._timeline.until(min(_second(moment), self._last), since)
        return None if found is None else EPOCH + timedelta(seconds=found)

    def count(self, after: datetime, until: datetime, limit: int = MOST_COUNTED) -> int | None:
        """How many instants lie in (after, until]; None when more than `limit`, found without counting them all."""
        since = max(_second(after), self._before)
        return self._timeline.count(since, min(_second(until), self._last), limit)


def _rebuilt(values: dict[str, Any]) -> Schedule:
    return Schedule(**values)


def _second(moment: datetime) -> int:
    """Whole seconds since 1970, rounded down; exact where a float would not be."""
    since = moment - EPOCH
    return since.days * DAY + since.seconds


def _is_interval(text: str) -> bool:
    return text.lstrip()[:6].lower() == "@every"


def _interval(text: str) -> timedelta:
    words = text.split(maxsplit=2)
    if len(words) != 2 or words[0].lower() != "@every":
        raise InvalidSchedule(f"{shown(text, 60)} needs one length of time; examples: '@every 30s', '@every 1h30m'")
    try:
        length = parse_duration(words[1] if len(words[1]) <= 100 else "…")
    except ValueError as error:
        raise InvalidSchedule(f"{shown(text, 60)} has no length of time: {error}") from None
    if not length:
        raise InvalidSchedule(f"{shown(text, 60)} has {words[1][:20]}, which is no interval; from 1s up")
    if length < SECOND or length % SECOND:
        raise InvalidSchedule(f"{shown(text, 60)} is not in whole seconds; the shortest is '@every 1s'")
    return length

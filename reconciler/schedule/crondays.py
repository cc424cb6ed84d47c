"""Which days a cron expression matches: month, day of month and weekday, on the calendar and nothing else.

croniter says which days of a month a field names, one field at a time; how fields go together is ours (asked for
`1 * 5L` or `* 2 5#1` at once, it gives some days too few or finds none). Days are counted from 1970-01-01, on the
proleptic Gregorian calendar, within the years that `datetime` has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache

EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
LAST_YEAR = 9999


@dataclass(frozen=True)
class Days:
    """The day part of an expression; weekdays run 0-6 from Sunday.

    `is_both`: a day has to match both day fields (one of them begins with `*`), as in Vixie and Debian cron;
    otherwise either is enough.
    """

    months: tuple[int, ...]
    days: frozenset[int]
    has_last: bool
    weekdays: frozenset[int]
    nth: frozenset[tuple[int, int]]
    last_weekdays: frozenset[int]
    is_both: bool
    _shapes: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)

    def ever_comes(self) -> bool:
        """Whether any month has such a day. Every month begins on every weekday some time, leap Februaries too."""
        lengths = {length for month in self.months for length in (LENGTHS[month - 1], 29 if month == 2 else 0)}
        return any(self._in_shape(first, length) for length in lengths - {0} for first in range(7))

    def share(self) -> float:
        """About which part of all days matches; only for choosing how far to look at a time."""
        by_day = (len(self.days) + self.has_last) / 31
        by_weekday = (len(self.weekdays) + (len(self.nth) + len(self.last_weekdays)) / 4.4) / 7
        day = by_day * by_weekday if self.is_both else by_day + by_weekday
        return min(1.0, day) * len(self.months) / 12

    def onward(self, day: int) -> Iterator[int]:
        """Matching days from `day` on, ascending, to the end of the calendar."""
        start = date.fromordinal(day + EPOCH_ORDINAL)
        for year in range(start.year, LAST_YEAR + 1):
            for month in self.months:
                if year > start.year or month >= start.month:
                    yield from (found for found in self._in_month(year, month) if found >= day)

    def back(self, day: int) -> Iterator[int]:
        """Matching days from `day` back, descending, to the beginning of the calendar."""
        start = date.fromordinal(day + EPOCH_ORDINAL)
        for year in range(start.year, 0, -1):
            for month in reversed(self.months):
                if year < start.year or month <= start.month:
                    yield from (found for found in reversed(self._in_month(year, month)) if found <= day)

    def _in_month(self, year: int, month: int) -> list[int]:
        ordinal = date(year, month, 1).toordinal()
        base = ordinal - EPOCH_ORDINAL - 1
        return [base + day for day in self._in_shape(ordinal % 7, _length(year, month))]

    def _in_shape(self, first: int, length: int) -> tuple[int, ...]:
        """The matching days of a month that begins on weekday `first`; there are only 28 such shapes."""
        found = self._shapes.get((first, length))
        if found is None:
            by_day, by_weekday = self._by_day(first, length), self._by_weekday(first, length)
            found = tuple(sorted(by_day & by_weekday if self.is_both else by_day | by_weekday))
            self._shapes[first, length] = found
        return found

    def _by_day(self, first: int, length: int) -> frozenset[int]:
        words = [str(day) for day in sorted(self.days)] + ["l"] * self.has_last
        return days_of(",".join(words) if len(self.days) < 31 else "*", "*", first, length) if words else frozenset()

    def _by_weekday(self, first: int, length: int) -> frozenset[int]:
        plain = ",".join(map(str, sorted(self.weekdays))) if len(self.weekdays) < 7 else "*"
        words = [plain, *(f"{day}#{nth}" for day, nth in self.nth), *(f"L{day}" for day in self.last_weekdays)]
        return frozenset().union(*(days_of("*", word, first, length) for word in words if word))


@lru_cache(maxsize=65_536)
def days_of(days: str, weekdays: str, first: int, length: int) -> frozenset[int]:
    """Which days of a month these two fields name, one of which is `*`; by croniter, in a month of that shape."""
    if days == weekdays:
        return frozenset(range(1, length + 1))
    from croniter import croniter  # half of the time that this module would take to import

    start = _month_like(first, length)
    walk = croniter(f"0 0 {days} * {weekdays}", start - timedelta(seconds=1), ret_type=datetime)
    found, end = set(), start + timedelta(days=length)
    while (day := walk.get_next()) < end:
        found.add(day.day)
    return frozenset(found)


@lru_cache(maxsize=28)
def _month_like(first: int, length: int) -> datetime:
    months = (datetime(year, month, 1) for year in range(2000, 2028) for month in range(1, 13))
    return next(m for m in months if m.toordinal() % 7 == first and _length(m.year, m.month) == length)


def _length(year: int, month: int) -> int:
    is_leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return LENGTHS[month - 1] + is_leap

"""What a cron expression says: its fields as numbers, or one line on what is wrong with it.

Nothing in this file knows a date, a zone or the clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from reconciler.nearest import did_you_mean
from reconciler.schedule.crondays import Days
from reconciler.schedule.cronfield import FIELDS, FieldFault, Values, read_field, shown

LONGEST = 1000
ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
# str.split also takes no-break spaces and control characters for blanks; cron does not.
WORD = re.compile(r"[^ \t\r\n]+")
HASH = re.compile(r"(?:^|[\s,])H(?:[(/,\s]|$)", re.IGNORECASE)

SecondsField = Literal["first", "last"] | None


class InvalidSchedule(ValueError):
    """A schedule that cannot be; `field` is the key of the spec that has to change."""

    def __init__(self, what: str, field: str = "schedule") -> None:
        super().__init__(what)
        self.field = field

    def __reduce__(self) -> tuple[type[InvalidSchedule], tuple[str, str]]:
        return type(self), (str(self), self.field)


@dataclass(frozen=True)
class Cron:
    """One expression, read. Numbers ascend. Two that name the same instants are equal, whatever their text."""

    text: str = field(compare=False)
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: Days
    is_wildcard: bool
    warning: str | None = field(compare=False)


def hashes(text: str) -> bool:
    """Whether the expression has an `H`, so that what it means depends on the name."""
    return "h" in text[:LONGEST].lower() and HASH.search(text[:LONGEST]) is not None


@lru_cache(maxsize=8192)
def parse_cron(text: str, seconds: SecondsField = None, name: str = "") -> Cron:
    """The expression's numbers; InvalidSchedule with the field and what is allowed there.

    `name` decides what `H` stands for; `seconds` says where a sixth field stands.
    """
    if len(text) > LONGEST:
        raise InvalidSchedule(f"{shown(text)} has {len(text)} characters; a cron expression has at most {LONGEST}")
    try:
        parts = _split(text, seconds)
        # With the name only where it counts: what others say too is not read again.
        names = (name if "h" in part.lower() else "" for part in parts)
        values = [read_field(*one) for one in zip(FIELDS, parts, names, strict=True)]
    except FieldFault as fault:
        raise InvalidSchedule(f"{shown(text, 60)} {fault}") from None
    second, minute, hour, day, month, weekday = values
    days = _days(day, month, weekday)
    if days is None:
        raise InvalidSchedule(f"{shown(text, 60)} never comes; for a task that is not to run by itself: suspend: true")
    return Cron(
        text=text,
        seconds=second.numbers,
        minutes=minute.numbers,
        hours=hour.numbers,
        days=days,
        is_wildcard=minute.is_open or hour.is_open,
        warning=None if days.is_both else _either(text, day, weekday),
    )


@lru_cache(maxsize=4096)
def _days(day: Values, month: Values, weekday: Values) -> Days | None:
    """The days that three fields name together; None where there is none, in any year."""
    days = Days(
        months=month.numbers,
        days=frozenset(day.numbers),
        has_last=day.has_last,
        weekdays=frozenset(weekday.numbers),
        nth=weekday.nth,
        last_weekdays=weekday.last_weekdays,
        is_both=day.is_open or weekday.is_open,
    )
    return days if days.ever_comes() else None


def _split(text: str, seconds: SecondsField) -> list[str]:
    """The six fields, seconds first."""
    parts = WORD.findall(text)
    if parts and parts[0].startswith("@"):
        parts = _alias(*parts).split()
    if len(parts) == 6 and seconds is None:
        raise FieldFault(
            "has six fields; add 'seconds: first' or 'seconds: last' to the spec if one of them is for seconds, "
            "else write five: minute hour day month weekday"
        )
    if len(parts) == 6:
        return parts if seconds == "first" else [parts[5], *parts[:5]]
    if len(parts) == 5:
        return ["0", *parts]
    count = f"{len(parts)} field{'' if len(parts) == 1 else 's'}"
    raise FieldFault(f"has {count}; a cron expression has five: minute hour day month weekday")


def _alias(given: str, *more: str) -> str:
    word = given.lower()
    if word in ALIASES and more:
        raise FieldFault(f"has more after {word}, which is all of a schedule; write '{word}' or five fields")
    if word in ALIASES:
        return ALIASES[word]
    if word == "@reboot":
        raise FieldFault("is no time; use a time or '@every 1h', or leave out 'schedule' and trigger the task")
    raise FieldFault(f"is unknown; {did_you_mean(word[:20], [*ALIASES, '@every' if more else '@every 30s'])}")


def _either(text: str, day: Values, weekday: Values) -> str:
    return (
        f"{shown(text, 60)} comes on day of month {shown(day.text)} *or* weekday {shown(weekday.text)}, whichever "
        "matches, as in cron; for a weekday within the month write '1#1' (the first Monday) or '5L' (the last Friday)"
    )

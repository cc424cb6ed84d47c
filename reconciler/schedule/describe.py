"""A schedule in words: "at 02:00, Monday to Friday, Europe/Berlin".

It says in English what a person would say, and where words would be longer or less exact than the cron expression, it
says the expression. It knows no clock and no calendar, and costs the same for every schedule.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from reconciler.schedule.cron import Cron
from reconciler.schedule.crondays import Days
from reconciler.schedule.cronfield import shown
from reconciler.schedule.schedule import Schedule

WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
NTH = ("first", "second", "third", "fourth", "fifth")
EVERY_DAY = frozenset(range(1, 32))
EVERY_WEEKDAY = frozenset(range(7))
MOST_LISTED = 6
MOST_SAID = 3


class Said(NamedTuple):
    """Words, and whether they depend on the zone."""

    words: str
    is_local: bool


def describe(schedule: Schedule) -> str:
    """The schedule as a person would say it, the zone at the end where it matters; UTC only where hours are named."""
    said = [Said(_every(length), False) for length in schedule.intervals]
    said += [_cron(cron, schedule.timezone) for cron in schedule.crons]
    words = [part.words for part in said[:MOST_SAID]]
    if len(said) > MOST_SAID:
        words.append(f"{len(said) - MOST_SAID} more")
    is_local = any(part.is_local for part in said)
    return " and ".join(words) + (f", {schedule.timezone}" if is_local else "")


def _every(length: timedelta) -> str:
    seconds = length // timedelta(seconds=1)
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds % size == 0:
            return f"every {unit}" if seconds == size else f"every {seconds // size:,} {unit}s"
    return f"every {seconds} seconds"


def _cron(cron: Cron, zone: str) -> Said:
    time, days = _time(cron), _days(cron.days)
    is_local = len(cron.hours) < 24 or bool(days) or zone != "UTC"
    if time is None or days is None:
        return Said(shown(" ".join(cron.text.split()), 60)[1:-1], is_local)
    is_beat = not days and len(cron.hours) == 24 and not time.startswith("hourly")
    return Said(time + days, is_local and not is_beat)


def _time(cron: Cron) -> str | None:
    """The time of day, or None where the expression says it better."""
    if cron.seconds != (0,):
        return _time_in_seconds(cron)
    times = len(cron.hours) * len(cron.minutes)
    if times <= MOST_SAID or (times <= MOST_LISTED and not _step(cron.hours, 24)):
        return "at " + _list([f"{hour:02}:{minute:02}" for hour in cron.hours for minute in cron.minutes])
    if len(cron.minutes) == 1:
        return _once_an_hour(cron.hours, cron.minutes[0])
    beat = _beat(cron.minutes, "minute")
    if len(cron.hours) == 24:
        short = "hourly at " + _list([f":{minute:02}" for minute in cron.minutes])
        return beat or (short if len(cron.minutes) <= MOST_LISTED else None)
    if beat and _is_run(cron.hours):
        return f"{beat} from {cron.hours[0]:02}:{cron.minutes[0]:02} to {cron.hours[-1]:02}:{cron.minutes[-1]:02}"
    return None


def _time_in_seconds(cron: Cron) -> str | None:
    if len(cron.minutes) == 60 and len(cron.hours) == 24:
        beat = _beat(cron.seconds, "second")
        return beat or (f"every minute at :{cron.seconds[0]:02} seconds" if len(cron.seconds) == 1 else None)
    if len(cron.hours) * len(cron.minutes) * len(cron.seconds) > MOST_LISTED:
        return None
    times = [(hour, minute, second) for hour in cron.hours for minute in cron.minutes for second in cron.seconds]
    return "at " + _list([f"{hour:02}:{minute:02}:{second:02}" for hour, minute, second in times])


def _once_an_hour(hours: tuple[int, ...], minute: int) -> str | None:
    at = f" at :{minute:02}" if minute else ""
    if len(hours) == 24:
        return f"hourly{at}" if minute else "every hour"
    if step := _step(hours, 24):
        return f"every {step} hours" + (f" from {hours[0]:02}:{minute:02}" if hours[0] else at)
    if _is_run(hours):
        return f"hourly from {hours[0]:02}:{minute:02} to {hours[-1]:02}:{minute:02}"
    return None


def _beat(numbers: tuple[int, ...], unit: str) -> str | None:
    """The beat that numbers below 60 keep; None if it is broken at the turn of the hour."""
    step = _step(numbers, 60)
    if step == 1:
        return f"every {unit}"
    start = f" from :{numbers[0]:02}" if numbers[0] else ""
    return f"every {step} {unit}s{start}" if step else None


def _step(numbers: tuple[int, ...], size: int) -> int:
    """The even distance between numbers all around a circle of that size, or 0."""
    step = size // len(numbers)
    is_even = len(numbers) > 1 and size % step == 0 and numbers == tuple(range(numbers[0], size, step))
    return step if is_even and numbers[0] < step else 0


def _days(days: Days) -> str | None:
    """The days, with the word that joins them to a time; empty for every day, None where words fail."""
    by_day = "" if days.days == EVERY_DAY else _days_of_month(days)
    by_weekday = "" if days.weekdays == EVERY_WEEKDAY else _weekdays(days)
    if by_day is None or by_weekday is None or (days.is_both and by_day and by_weekday):
        return None
    if by_day and not by_weekday and days.is_both and len(days.months) <= MOST_SAID:
        return by_day.replace("the month", _months(days.months))
    return _either(days, by_day, by_weekday) + _season(days.months)


def _either(days: Days, by_day: str, by_weekday: str) -> str:
    if days.is_both:
        return by_day + by_weekday
    return f"{by_day} or{by_weekday.replace(',', ' on', 1)}" if by_day and by_weekday else ""


def _season(months: tuple[int, ...]) -> str:
    if len(months) == 12:
        return ""
    return f", {_months(months)}" if len(months) > 2 and _is_run(months) else f" in {_months(months)}"


def _days_of_month(days: Days) -> str | None:
    numbers = sorted(days.days)
    words = [_ordinal(number) for number in numbers]
    if len(numbers) > 2 and _is_run(numbers):
        words = [f"{words[0]} to {words[-1]}"]
    words += ["last day"] if days.has_last else []
    return f" on the {_list(words)} of the month" if len(words) <= MOST_LISTED else None


def _weekdays(days: Days) -> str | None:
    of_month = [f"{NTH[nth - 1]} {WEEKDAYS[weekday]}" for weekday, nth in sorted(days.nth)]
    of_month += [f"last {WEEKDAYS[weekday]}" for weekday in sorted(days.last_weekdays)]
    if of_month:
        return None if days.weekdays or len(of_month) > MOST_LISTED else f" on the {_list(of_month)} of the month"
    # A week begins on Monday here, so that a weekend is a run.
    numbers = sorted((weekday - 1) % 7 for weekday in days.weekdays)
    names = [WEEKDAYS[(number + 1) % 7] for number in numbers]
    if len(numbers) > 2 and _is_run(numbers):
        return f", {names[0]} to {names[-1]}"
    return f" on {_list([name + 's' for name in names])}"


def _months(months: tuple[int, ...]) -> str:
    names = [MONTHS[month - 1] for month in months]
    return f"{names[0]} to {names[-1]}" if len(names) > 2 and _is_run(months) else _list(names)


def _is_run(numbers: Sequence[int]) -> bool:
    return numbers[-1] - numbers[0] == len(numbers) - 1


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _ordinal(number: int) -> str:
    ending = "th" if 10 < number < 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"

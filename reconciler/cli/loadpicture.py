"""How many fires each hour has, as a picture in plain characters: bars for a day, day by hour for a month.

Values in, lines out. It knows neither what fires nor where the lines go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta

SHADES = " .:-=+*#%@"
HOURS = 24
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
# A table of so many days is still one look; more are put together by the day of the week.
MOST_DAYS = 35


def picture(hours: Mapping[datetime, int], begin: datetime, end: datetime, room: int) -> Iterator[str]:
    """Lines of at most `room` cells; `hours` are those of the clock in the zone of `begin` and `end`."""
    if not hours:
        return
    if end - begin <= timedelta(hours=HOURS + 1):
        yield from _bars(hours, begin, end, room)
    else:
        yield from _map(hours, begin, end, room)


def _bars(hours: Mapping[datetime, int], begin: datetime, end: datetime, room: int) -> Iterator[str]:
    most = max(hours.values())
    longest = max(10, room - len("Mon 00:00  ") - len(f"{most:,} "))
    hour = begin.replace(minute=0, second=0, microsecond=0)
    while hour < end:
        count = hours.get(hour, 0)
        bar = "#" * -(-count * longest // most)
        yield f"{DAYS[hour.weekday()]} {hour:%H:%M}  {bar}{' ' if count else ''}{count:,}".rstrip()
        hour += timedelta(hours=1)


def _map(hours: Mapping[datetime, int], begin: datetime, end: datetime, room: int) -> Iterator[str]:
    rows: dict[str, list[int]] = {}
    for label in _labels(begin.date(), end):
        rows.setdefault(label, [0] * HOURS)
    is_long = (end.date() - begin.date()).days >= MOST_DAYS
    for hour, count in hours.items():
        rows[_label(hour.date(), is_long)][hour.hour] += count
    most = max(max(row) for row in rows.values())
    lead = max(map(len, rows))
    cell = 2 if room >= lead + 2 * HOURS + 12 else 1
    ticks = "".join(f"{hour:02}".ljust(6 * cell) for hour in range(0, HOURS, 6))
    yield f"{' ' * lead}  {ticks}".rstrip()
    for label, row in rows.items():
        shades = "".join(SHADES[_shade(count, most)] * cell for count in row)
        yield f"{label.ljust(lead)}  {shades}  {sum(row):,}"
    yield f"{' ' * lead}  '@' is {most:,} an hour, '.' up to {max(1, most // (len(SHADES) - 1)):,}, ' ' none"


def _shade(count: int, most: int) -> int:
    return -(-count * (len(SHADES) - 1) // most)


def _labels(day: date, end: datetime) -> Iterator[str]:
    last = (end - timedelta(microseconds=1)).date()
    is_long = (end.date() - day).days >= MOST_DAYS
    if is_long:
        yield from DAYS
        return
    while day <= last:
        yield _label(day, is_long)
        day += timedelta(days=1)


def _label(day: date, is_long: bool) -> str:
    return DAYS[day.weekday()] if is_long else f"{DAYS[day.weekday()]} {day:%m-%d}"

"""How many tasks start in the same minute, before and after: only the minutes that gain are looked at.

What fires nearly all the time is in every minute alike and makes no minute a busy one; what has a jitter of more than
a minute has none. Neither is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache

from reconciler.impact.fires import days_between, fires_between, instants_on, seconds, stretches
from reconciler.impact.model import Minute
from reconciler.impact.timing import Times, Timing, is_interval, times_of
from reconciler.schedule.zone import DAY, EPOCH, HOUR

WEEK = 7 * DAY
MOST_SHOWN = 5
# More than twice an hour is background; and of many thousands of changes the rarest fire in the fewest minutes.
MOST_A_DAY = 720
MOST_STARTS = 300_000
# From where on a minute is worth a word: so many tasks, so many more of them, and that share more.
PEAK = 10
GAIN = 5
SHARE = 4

Counted = Mapping[Timing, int]


def busiest(before: Counted, after: Counted, held: Counted, begin: int) -> tuple[Minute, ...]:
    """The minutes of the seven days from `begin`, in seconds since 1970, that gain most starts, in order of time.

    `before` and `after`: how many tasks with which timing change; `held`: those that do not.
    """
    gains = _gains(before, after, begin)
    zone = _zone(after)
    found: dict[int, int] = {}
    for minute, gain in sorted(gains.items(), key=lambda item: (-item[1], item[0])):
        if gain <= 0 or len(found) == MOST_SHOWN:
            break
        # The same time on other days of the week has nothing more to say.
        found.setdefault(minute % DAY, minute)
    minutes = sorted(found.values())
    rows = zip(minutes, *(starting(counted, minutes) for counted in (before, after, held)), strict=True)
    return tuple(_minute(minute, zone, there + old, there + new, after) for minute, old, new, there in rows)


def _minute(minute: int, zone: str, old: int, new: int, after: Counted) -> Minute:
    is_peak = new >= PEAK and new - old >= max(GAIN, old // SHARE)
    advice = _advice(after, minute) if is_peak else None
    return Minute(EPOCH + timedelta(seconds=minute), zone, old, new, is_peak, advice)


def starting(counted: Counted, minutes: Sequence[int]) -> list[int]:
    """How many of them have an instant in each of the minutes."""
    found = [0] * len(minutes)
    for timing, count in counted.items():
        for place, has_one in enumerate(_starts(timing, minutes)):
            found[place] += count if has_one else 0
    return found


def _starts(timing: Timing, minutes: Sequence[int]) -> list[bool]:
    if not timing.fires or timing.is_spread:
        return []
    is_plain = len(timing.schedule) == 1 and not (timing.starts_at or timing.ends_at or timing.skip_on)
    if not is_plain or is_interval(timing.schedule[0]):
        return [fires_between(timing, minute, minute + 60).fires > 0 for minute in minutes]
    [times] = times_of(timing)
    return [_is_time(timing, times, minute) for minute in minutes]


def _is_time(timing: Timing, times: Times, minute: int) -> bool:
    offset = _offset(timing.timezone, minute)
    if offset is None:
        return fires_between(timing, minute, minute + 60).fires > 0
    hour, place = divmod(minute + offset, HOUR)
    if place // 60 not in times.minutes or hour % 24 not in times.hours:
        return False
    return bool(days_between(times.days, hour // 24, hour // 24))


@lru_cache(maxsize=4096)
def _offset(timezone: str, minute: int) -> int | None:
    """The zone's offset during that minute; None on a day on which its clock changes."""
    [part, *more] = stretches(timezone, minute, minute + 60)
    return None if more else part.offset


def _gains(before: Counted, after: Counted, begin: int) -> Counter[int]:
    """How many more tasks start in each minute."""
    changed = Counter(after)
    changed.subtract(before)
    kept = [(timing, count) for timing, count in changed.items() if count and timing.fires and not timing.is_spread]
    rare = sorted(
        ((fires_between(timing, begin, begin + WEEK).fires, timing, count) for timing, count in kept), key=_rate
    )
    gains: Counter[int] = Counter()
    left = float(MOST_STARTS)
    for fires, timing, count in rare:
        left -= fires
        if left < 0 or fires > 7 * MOST_A_DAY:
            break
        for minute in set(_minutes(timing, begin, begin + WEEK)):
            gains[minute] += count
    return gains


def _rate(one: tuple[float, Timing, int]) -> float:
    return one[0]


def _minutes(timing: Timing, begin: int, end: int) -> Iterator[int]:
    """The minutes in which it starts."""
    if timing.starts_at or timing.ends_at or any(map(is_interval, timing.schedule)):
        schedule = timing.when()
        for instant in schedule.upcoming(EPOCH + timedelta(seconds=begin - 1)) if schedule else ():
            second = seconds(instant)
            if second >= end:
                return
            yield second - second % 60
    else:
        for second in instants_on(timing, times_of(timing), begin, end):
            yield second - second % 60


def _zone(after: Counted) -> str:
    """The zone in which the minutes are said: that of all of them, else UTC."""
    zones = {timing.timezone for timing in after if timing.fires}
    return zones.pop() if len(zones) == 1 else "UTC"


def _advice(after: Counted, minute: int) -> str | None:
    """How what most of those of that minute say could be written so that they spread."""
    texts: Counter[str] = Counter()
    for timing, count in after.items():
        if any(_starts(timing, [minute])):
            texts.update({spread(text) or "": count for text in timing.schedule})
    advice, _ = max(texts.items(), key=lambda item: (item[1], item[0]), default=("", 0))
    return f"`{advice}` would spread them" if advice else None


def spread(text: str) -> str | None:
    """The same expression with `H` for its minutes; None where it has one already, or is no such expression."""
    if is_interval(text):
        return None
    words = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0"}
    fields = words.get(text.strip().lower(), text).split()
    minute, *others = fields if len(fields) == 5 else ["H"]
    if minute.isdigit():
        return " ".join(["H", *others])
    return " ".join([f"H/{minute[2:]}", *others]) if minute.startswith("*/") else None

"""How a length of time is written: `90s`, `1h30m`, `250ms`, `30d`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

UNITS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
SHAPE = r"(?:\d{1,9}(?:w|d|h|ms|m|s))+"
LONGEST = timedelta(days=36_525)


def parse_duration(text: object) -> timedelta:
    """A length of time, to the millisecond; ValueError for anything that is not digits with units."""
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str) or not re.fullmatch(SHAPE, text):
        unit = f"; write '{text}s' for seconds" if isinstance(text, int) and not isinstance(text, bool) else ""
        raise ValueError(f"{text!r} is not a duration{unit}; examples: '90s', '1h30m', '250ms', '30d'")
    parts = re.findall(r"(\d+)(ms|[wdhms])", text)
    length = timedelta(milliseconds=sum(int(count) * UNITS[unit] for count, unit in parts))
    if length > LONGEST:
        raise ValueError(f"{text!r} is longer than a hundred years")
    return length


def format_duration(length: timedelta) -> str:
    """The shortest text that `parse_duration` reads back: whole units from days down, `0s` for nothing."""
    rest = round(length / timedelta(milliseconds=1))
    text = ""
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, UNITS[unit])
        text += f"{count}{unit}" if count else ""
    return text or "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{SHAPE}$", "examples": ["30s", "10m", "1h30m", "30d"]}),
]


def span(length: timedelta) -> str:
    """How it is told: `<1 ms`, `350 ms`, `65 s`, `3 min`, `2 h 5 min`, `4 d 2 h`; as fine as it makes interesting."""
    seconds = length.total_seconds()
    if seconds < 1:
        return f"{round(seconds * 1000)} ms" if seconds >= 0.0005 else "<1 ms"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7_200:
        return f"{whole // 60} min"
    big, small, unit, part = (3_600, 60, "h", "min") if whole < 172_800 else (86_400, 3_600, "d", "h")
    rest = whole % big // small
    return f"{whole // big} {unit}" + (f" {rest} {part}" if rest else "")

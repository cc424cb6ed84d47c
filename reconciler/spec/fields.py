"""The small types of a spec's fields, each with the line it refuses with: names, zones, days, moments, text.

Nothing here knows which field it is used for, or that specs are written in YAML.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainSerializer,
    PlainValidator,
    Strict,
    ValidationInfo,
    WithJsonSchema,
)

from reconciler.durations import SHAPE, format_duration, parse_duration
from reconciler.schedule.zone import load_zone
from reconciler.typewords import shown

NAME_SHAPE = r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?"
NAME_RULE = "names have a-z, 0-9 and '.', '_', '-' inside, up to 128 characters"
_NAME = re.compile(NAME_SHAPE).fullmatch
_ERROR_NAME = re.compile(r"(?:[^\W\d]\w*\.)*[^\W\d]\w{0,127}").fullmatch
DAY_SHAPE = r"\d{4}-\d{2}-\d{2}"
YEARS = range(1970, 2201)

# Given to validation as its context where a day may be a calendar's name (see `Day`).
# It answers a name and a zone, which is what the days of an event at a time of day depend on.
Calendars = Callable[[str, str], tuple[date, ...]]


def is_name(text: str) -> bool:
    """Whether `text` can name a spec, a queue or a label."""
    return len(text) <= 128 and _NAME(text) is not None


def _name(text: str) -> str:
    if is_name(text):
        return text
    slug = re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-._") if len(text) <= 128 else ""
    hint = f"; for example '{slug}'" if slug else ""
    raise ValueError(f"{shown(text)} is not a name: {NAME_RULE}{hint}")


def _printable(limit: int, several_lines: bool = False) -> Callable[[str], str]:
    allowed = "\t\n" if several_lines else ""

    def check(text: str) -> str:
        if len(text) > limit:
            raise ValueError(f"is {len(text)} characters long; up to {limit} are allowed")
        if not text.isprintable():
            odd = next((char for char in text if not char.isprintable() and char not in allowed), None)
            if odd is not None:
                raise ValueError(f"has the character {odd!a}, which cannot be shown; leave it out")
        return text

    return check


def _zone(key: str) -> str:
    return load_zone(key).key


def parse_day(text: str) -> date:
    """The day written as `2026-12-24`; ValueError for anything else."""
    try:
        if not re.fullmatch(DAY_SHAPE, text):
            raise ValueError(text)
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is not a day; write it as '2026-12-24'") from None


def _days(value: object, info: ValidationInfo) -> tuple[date, ...]:
    if isinstance(value, date) and not isinstance(value, datetime):
        return (value,)
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not a day or a calendar's name; write '2026-12-24'")
    calendars: Calendars | None = info.context
    if calendars is None or re.match(r"[\d-]+$", value):
        return (parse_day(value),)
    return calendars(value, info.data.get("timezone", "UTC"))


def _flattened(days: tuple[tuple[date, ...], ...]) -> tuple[date, ...]:
    return tuple(sorted({day for some in days for day in some}))


def parse_moment(value: object) -> datetime:
    """An ISO date and time: in UTC where it has an offset, else naive (the schedule's own zone)."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(_text(value))
        if moment.year not in YEARS:
            raise ValueError(value)
    except ValueError:
        raise ValueError(
            f"{shown(value)} is not a date and time of the years {YEARS[0]} to {YEARS[-1]};"
            " write '2026-12-24T18:00:00Z', or without Z for the spec's own timezone"
        ) from None
    return moment if moment.tzinfo is None else moment.astimezone(UTC)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(value)
    return value


def _moment_text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


# Specs say the same few lengths again and again, so both ways are remembered.
_parsed = lru_cache(maxsize=4096)(parse_duration)
_length_text = lru_cache(maxsize=4096)(format_duration)


def _length(value: object) -> timedelta:
    return _parsed(value) if isinstance(value, str) else parse_duration(value)


def _positive(length: timedelta) -> timedelta:
    if not length:
        raise ValueError("must be longer than nothing; examples: '30s', '10m', '1h30m'")
    return length


LEAST_MEMORY = 16 * 1024**2
SIZES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def _size(value: object) -> int:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    found = re.fullmatch(r"([1-9]\d{0,15})([KMGT]?)i?B?", text) if isinstance(text, str) else None
    if not found:
        raise ValueError(f"{shown(value)} is not an amount of memory; examples: '512M', '2G'")
    return int(found[1]) * SIZES[found[2]]


def _for_a_process(size: int) -> int:
    if size < LEAST_MEMORY:
        least = _size_text(LEAST_MEMORY)
        raise ValueError(f"'{_size_text(size)}' is less than a process needs; the least is '{least}'")
    return size


def _size_text(size: int) -> str:
    unit = next(unit for unit, bytes_ in reversed(SIZES.items()) if size % bytes_ == 0)
    return f"{size // SIZES[unit]}{unit}"


def _error_name(text: str) -> str:
    if not _ERROR_NAME(text):
        raise ValueError(
            f"{shown(text)} is not the name of an exception; examples: 'TimeoutError', 'requests.ConnectionError'"
        )
    return text


def _url_or_reference(value: object) -> object:
    is_reference = isinstance(value, dict) and value.keys() == {"from_env"} and isinstance(value["from_env"], str)
    is_url = isinstance(value, str) and re.match(r"https?://[^\s/]", value)
    if not is_reference and not is_url and not hasattr(value, "from_env"):
        raise ValueError(f"{shown(value)} is not a URL; write 'https://…', or {{from_env: NAME}} for a secret one")
    return value


def _filled(entries: tuple[object, ...]) -> tuple[object, ...]:
    if not entries:
        raise ValueError("is empty; list at least one")
    return entries


def in_order(value: Any) -> Any:
    """The same, with the keys of all mappings sorted: PostgreSQL does not keep the order they were written in."""
    if isinstance(value, dict):
        return {key: in_order(part) if isinstance(part := value[key], dict | list) else part for key in sorted(value)}
    return [in_order(part) for part in value] if isinstance(value, list) else value


Name = Annotated[str, Strict(), AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME_SHAPE}$"})]
Zone = Annotated[str, Strict(), AfterValidator(_zone)]
Line = Annotated[str, Strict(), AfterValidator(_printable(256))]
Prose = Annotated[str, Strict(), AfterValidator(_printable(10_000, several_lines=True))]
Length = Annotated[
    timedelta,
    BeforeValidator(_length),
    PlainSerializer(_length_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{SHAPE}$", "examples": ["30s", "10m", "1h30m", "30d"]}),
]
# A length that is not nothing.
Span = Annotated[Length, AfterValidator(_positive)]
Whole = Annotated[int, Strict()]
YesNo = Annotated[bool, Strict()]
Moment = Annotated[
    datetime,
    PlainValidator(parse_moment),
    PlainSerializer(_moment_text, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["2026-12-24T18:00:00Z", "2026-12-24"]}),
]
# Bytes for a process, written as `512M` or `2G` (powers of 1024), or as a plain number of bytes.
Memory = Annotated[
    int,
    BeforeValidator(_size),
    AfterValidator(_for_a_process),
    PlainSerializer(_size_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^[1-9][0-9]*[KMGT]?$", "examples": ["512M", "2G"]}),
]
# An entry of `skip_on`. Validated, it is several days where it names a calendar; `Days` makes one list of all.
Day = Annotated[
    date,
    PlainValidator(_days),
    PlainSerializer(date.isoformat, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["2026-12-24"]}),
]
Days = Annotated[tuple[Day, ...], AfterValidator(_flattened)]
# As Python shows it in a traceback, with as much of its module as one likes.
ErrorName = Annotated[str, Strict(), AfterValidator(_error_name)]
UrlOrReference = BeforeValidator(_url_or_reference)
Filled = AfterValidator(_filled)

"""What one field of a cron expression says: a set of numbers, or what is wrong with it and what is allowed.

The dialect is the common one of cron(8), with names, `L`, `#` and `H` (hashed by name), read strictly: what other
readers guess at is refused here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256


@dataclass(frozen=True, eq=False)
class Field:
    """One of the places of an expression, and the numbers that may stand there."""

    name: str
    low: int
    high: int
    allowed: str
    names: tuple[str, ...] = ()


MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
SECOND = Field("second", 0, 59, "seconds run 0-59")
MINUTE = Field("minute", 0, 59, "minutes run 0-59")
HOUR = Field("hour", 0, 23, "hours run 0-23")
DAY = Field("day of month", 1, 31, "days run 1-31, and L is the last")
MONTH = Field("month", 1, 12, "months run 1-12 or jan-dec", MONTHS)
WEEKDAY = Field("weekday", 0, 7, "weekdays run 0-7 (0 and 7 are Sunday) or sun-sat", WEEKDAYS)
FIELDS = (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY)
# `H` for a day of the month keeps to those that every month has.
HASHED_DAYS = 28

ELEMENT = re.compile(
    r"(?:\*|(?P<hash>H)(?:\((?P<from>\w+)-(?P<to>\w+)\))?|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>\w+))?",
    re.IGNORECASE,
)
NTH = re.compile(r"(\w+)#(\w+)")
LAST = re.compile(rf"L(\d+|{'|'.join(WEEKDAYS)})|(\d+|{'|'.join(WEEKDAYS)})L", re.IGNORECASE)
RANDOM = re.compile(r"R(?:\([^)]*\))?(?:/.*)?", re.IGNORECASE)


class FieldFault(ValueError):
    """What is wrong with a field, as the end of a sentence that begins with the expression."""


@dataclass(frozen=True)
class Values:
    """What a field names: plain numbers, `L`, `5#2` as (weekday, nth), `5L` as a weekday. Sunday is 0."""

    text: str
    numbers: tuple[int, ...]
    has_last: bool = False
    nth: frozenset[tuple[int, int]] = frozenset()
    last_weekdays: frozenset[int] = frozenset()

    @property
    def is_open(self) -> bool:
        """Whether the field begins with a star, which is what cron(8) asks of it in three places."""
        return self.text[0] in "*?"


@lru_cache(maxsize=4096)
def read_field(field: Field, text: str, name: str) -> Values:
    """What a field, a list of elements with commas between, names; FieldFault. `name` decides what `H` stands for."""
    if text == "?" and field in (DAY, WEEKDAY):
        return Values(text, _numbers(field, range(field.low, field.high + 1)))
    numbers: set[int] = set()
    nth, last_weekdays, has_last = set(), set(), False
    for element in text.split(","):
        if field is DAY and element in ("L", "l"):
            has_last = True
        elif field is WEEKDAY and (found := NTH.fullmatch(element)):
            nth.add((_number(field, found[1]) % 7, _nth(found[2])))
        elif field is WEEKDAY and (found := LAST.fullmatch(element)):
            last_weekdays.add(_number(field, found[1] or found[2]) % 7)
        elif found := ELEMENT.fullmatch(element):
            numbers.update(_range(field, element, found, name))
        else:
            raise _unreadable(field, element)
    return Values(text, _numbers(field, numbers), has_last, frozenset(nth), frozenset(last_weekdays))


def shown(text: str, longest: int = 20) -> str:
    """The text in quotes, on one line and no longer than it has to be."""
    return repr(text if len(text) <= longest else text[: longest - 1] + "…")


def _numbers(field: Field, numbers: set[int] | range) -> tuple[int, ...]:
    return tuple(sorted({number % 7 for number in numbers} if field is WEEKDAY else numbers))


def _range(field: Field, element: str, found: re.Match[str], name: str) -> range:
    low, high = field.low, 6 if field is WEEKDAY else field.high
    if found["hash"] and field is DAY:
        high = HASHED_DAYS
    ends = [_number(field, found[end]) for end in ("low", "high", "from", "to") if found[end]]
    if len(ends) == 2:
        low, high = ends
    elif ends:
        low, high = ends[0], max(high, ends[0]) if found["step"] else ends[0]
    if low > high:
        raise _backwards(field, element, found)
    step = _step(field, found["step"]) if found["step"] else 0
    if found["hash"]:
        low += _hashed(name, field) % min(step or 60, high - low + 1)
        high = high if step else low
    return range(low, high + 1, step or 1)


def _hashed(name: str, field: Field) -> int:
    """The number behind `H`: the first eight bytes, big-endian, of the sha256 of "field name" in UTF-8."""
    return int.from_bytes(sha256(f"{field.name} {name}".encode("utf-8", "surrogatepass")).digest()[:8], "big")


def _number(field: Field, text: str) -> int:
    if (word := text.lower()) in field.names:
        return field.names.index(word) + field.low
    if not (text.isascii() and text.isdigit()):
        raise _unreadable(field, text)
    number = int(text)
    if not field.low <= number <= field.high:
        raise FieldFault(f"has {field.name} {number if len(text) <= 12 else shown(text, 12)}; {field.allowed}")
    return number


def _step(field: Field, text: str) -> int:
    step = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= step <= field.high:
        raise FieldFault(f"has step {shown(text, 12)} for the {field.name}; its steps run 1-{field.high}")
    return step


def _nth(text: str) -> int:
    if text not in ("1", "2", "3", "4", "5"):
        raise FieldFault(f"has weekday number {shown(text, 12)} after '#'; it runs 1-5")
    return int(text)


def _backwards(field: Field, element: str, found: re.Match[str]) -> FieldFault:
    start, end = found["low"], found["high"]
    if found["hash"]:
        advice = "put the lower number first"
    elif field is WEEKDAY:
        advice = f"write '{start}-7'" if end.lower() in ("0", "sun") else f"write '{start}-7,1-{end}'"
    else:
        advice = f"write '{start}-{field.high},{field.low}-{end}'"
    return FieldFault(f"has {field.name} {shown(element)}, which runs backwards; {advice}")


def _unreadable(field: Field, element: str) -> FieldFault:
    what = f"has {field.name} {shown(element)}"
    if RANDOM.fullmatch(element):
        return FieldFault(f"{what}, which changes whenever it is read; use 'H', which stays the same for a name")
    if element == "?":
        return FieldFault(f"{what}, which stands alone, in a day field only; write '*'")
    return FieldFault(f"{what}; {field.allowed}")

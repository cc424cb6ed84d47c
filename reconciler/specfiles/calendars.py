"""Calendar files: the days that a spec's `skip_on` names by a file's path below the specs' directory.

A text file has one ISO date a line; `#` begins a comment. An iCalendar file (`.ics`) has events, and each day that
one of them touches counts. A calendar is read once a pass, however many specs name it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from reconciler.spec.fields import parse_day
from reconciler.specfiles.walk import Unreadable, content
from reconciler.specfiles.yamlgate import FILE_BYTES, too_large
from reconciler.typewords import shown

Days = tuple[date, ...]
Spans = Sequence[Sequence[str]]

SUFFIXES = ("", ".txt", ".ics")
MOST_DAYS = 10_000
# Seconds on the wall for what `icsdays` bounds in its own time on a processor.
PATIENCE = 60
TICK = timedelta(microseconds=1)
ICS_DAYS = Path(__file__).with_name("icsdays.py")


@dataclass(frozen=True, slots=True)
class _Content:
    """A calendar's bytes as they are now, or why it has none; `state` tells two contents apart."""

    state: str
    data: bytes | ValueError
    is_ics: bool = False


class Calendars:
    """The calendars below one root, as they are during one pass."""

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)
        self._read: dict[str, _Content] = {}
        self._days: dict[tuple[str, str], Days | ValueError] = {}

    def lender(self, borrowed: dict[str, str]) -> Callable[[str, str], Days]:
        """Answers a calendar's name and a zone with its days (ValueError if it has none), noting it in `borrowed`."""

        def lend(name: str, zone: str) -> Days:
            borrowed[name] = self.state(name)
            if (name, zone) not in self._days:
                self._days[name, zone] = self._worked_out(name, zone)
            found = self._days[name, zone]
            if isinstance(found, ValueError):
                raise found
            return found

        return lend

    def are(self, borrowed: Mapping[str, str]) -> bool:
        """Whether all these calendars still say what they said when they were lent."""
        return all(self.state(name) == state for name, state in borrowed.items())

    def state(self, name: str) -> str:
        """What tells two contents of a calendar apart."""
        if name not in self._read:
            self._read[name] = self._open(name)
        return self._read[name].state

    def _open(self, name: str) -> _Content:
        try:
            data, is_ics = self._bytes(name)
            return _Content(hashlib.sha256(data).hexdigest(), data, is_ics)
        except ValueError as error:
            return _Content(str(error), error)

    def _bytes(self, name: str) -> tuple[bytes, bool]:
        if not name.isprintable() or name.startswith("/") or not 0 < len(name) <= 255:
            raise ValueError(f"{shown(name)} is no calendar; name a file below the specs' directory")
        for path in (f"{name}{suffix}" for suffix in SUFFIXES):
            place = os.path.realpath(f"{self.root}/{path}")
            if not place.startswith(f"{self.root.rstrip('/')}/"):
                raise ValueError(f"calendar {shown(name)} is outside the specs' directory; put it inside")
            # Looked at before it is opened, and not a directory: `de` may stand beside `de.txt`.
            if os.path.isfile(place):  # noqa: PTH113
                return _content(name, place), path.lower().endswith(".ics")
        raise ValueError(
            f"no calendar {shown(name)}; a file of that name, or with .txt or .ics, below the specs' directory"
        )

    def _worked_out(self, name: str, zone: str) -> Days | ValueError:
        found = self._read[name]
        if isinstance(found.data, ValueError):
            return found.data
        try:
            return _days_of_events(name, found.data, zone) if found.is_ics else _days(name, found.data)
        except ValueError as error:
            return error


def _content(name: str, place: str) -> bytes:
    try:
        data = content(place, FILE_BYTES)
    except Unreadable as error:
        raise ValueError(f"calendar {shown(name)} {error}") from None
    if len(data) > FILE_BYTES:
        raise ValueError(f"calendar {shown(name)} {too_large(len(data))}")
    return data


def _days(name: str, data: bytes) -> Days:
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"calendar {shown(name)} is not UTF-8; save it as UTF-8") from None
    days = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        try:
            days += [parse_day(text)] if text else []
        except ValueError as error:
            raise ValueError(f"calendar {shown(name)}, line {number}: {error}") from None
    return tuple(days)


def _days_of_events(name: str, data: bytes, zone: str) -> Days:
    try:
        spans = _spans(data)
    except TimeoutError:
        spans = "takes too long to work out; make its rules simpler"
    if isinstance(spans, str):
        raise ValueError(f"calendar {shown(name)} {spans}")
    days: set[date] = set()
    for kind, start, end in spans:
        days.update(_touched(kind, start, end, ZoneInfo(zone)))
        if len(days) > MOST_DAYS:
            raise ValueError(f"calendar {shown(name)} has more than {MOST_DAYS} days; give its rules an end")
    return tuple(sorted(days))


def _touched(kind: str, start: str, end: str, zone: ZoneInfo) -> Iterator[date]:
    """Every day that has some of (start, end) in it, at most one more than there may be."""
    if kind == "days":
        first, last = date.fromisoformat(start), date.fromisoformat(end) - timedelta(days=1)
    else:
        begins, ends = datetime.fromisoformat(start), datetime.fromisoformat(end)
        if kind == "utc":
            begins, ends = begins.astimezone(zone), ends.astimezone(zone)
        first, last = begins.date(), max(begins, ends - TICK).date()
    for number in range(min((last - first).days, MOST_DAYS) + 1):
        yield first + timedelta(days=number)


@lru_cache(maxsize=64)
def _spans(data: bytes) -> Spans | str:
    """What `icsdays` makes of an iCalendar file: its spans, or a line that says why there are none.

    TimeoutError where this machine is too busy to tell; that is not remembered.
    """
    try:
        # Without `-P` this folder's modules would stand before everybody else's.
        asked = subprocess.run(
            [sys.executable, "-P", str(ICS_DAYS)], input=data, capture_output=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    if asked.returncode < 0:
        return "takes too long to work out; make its rules simpler"
    try:
        answer = json.loads(asked.stdout)
    except ValueError:
        last = asked.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {asked.returncode}"]
        return f"cannot be read: {last[0][:200]}"
    found: Spans | str = answer.get("error") or answer["spans"]
    return found

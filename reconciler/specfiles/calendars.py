"""Calendar files: the days that a spec's `skip_on` names by a file's path below the specs' directory.

One ISO date a line; `#` begins a comment. A calendar is read once a pass, however many specs name it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from datetime import date

from reconciler.spec.fields import parse_day
from reconciler.specfiles.walk import Unreadable, content
from reconciler.specfiles.yamlgate import FILE_BYTES, too_large
from reconciler.typewords import shown

Days = tuple[date, ...]


class Calendars:
    """The calendars below one root, as they are during one pass."""

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)
        self._read: dict[str, tuple[str, Days | ValueError]] = {}

    def lender(self, borrowed: dict[str, str]) -> Callable[[str], Days]:
        """Answers a calendar's name with its days (ValueError if it has none), and notes it in `borrowed`."""

        def lend(name: str) -> Days:
            borrowed[name] = self.state(name)
            found = self._read[name][1]
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
        return self._read[name][0]

    def _open(self, name: str) -> tuple[str, Days | ValueError]:
        try:
            data = self._bytes(name)
            return hashlib.sha256(data).hexdigest(), _days(name, data)
        except ValueError as error:
            return str(error), error

    def _bytes(self, name: str) -> bytes:
        if not name.isprintable() or name.startswith("/") or not 0 < len(name) <= 255:
            raise ValueError(f"{shown(name)} is no calendar; name a file below the specs' directory")
        for path in (name, f"{name}.txt"):
            place = os.path.realpath(f"{self.root}/{path}")
            if not place.startswith(f"{self.root.rstrip('/')}/"):
                raise ValueError(f"calendar {shown(name)} is outside the specs' directory; put it inside")
            # Looked at before it is opened, and not a directory: `de` may stand beside `de.txt`.
            if os.path.isfile(place):  # noqa: PTH113
                return _content(name, place)
        raise ValueError(f"no calendar {shown(name)}; a file of that name, or with .txt, below the specs' directory")


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

"""What was due, by another reader of cron than the program's: cronsim, and arithmetic for intervals.

Nothing of `reconciler.schedule` is used. A schedule with fixed hours and minutes follows Debian cron across clock
changes: once right after a gap that held it, and the first time where its time comes twice. cronsim has that rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DEBIAN = {("gap", "default"), ("gap", "after"), ("fold", "default"), ("fold", "first")}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}


def due(document: Mapping[str, Any], after: datetime, until: datetime) -> list[datetime]:
    """The instants in (after, until] that a spec names, in UTC; `suspend` names none.

    The document is what is kept of a spec, or its YAML. Only Debian's DST rule and no calendar.
    """
    if document.get("skip_on") or set((document.get("dst") or {}).items()) - DEBIAN:
        raise NotImplementedError("the oracle knows neither calendars nor other rules for clock changes")
    if document.get("suspend"):
        return []
    start, end = _moment(document.get("starts_at")), _moment(document.get("ends_at"))
    low = max(after, start - timedelta(microseconds=1)) if start else after
    high = min(until, end) if end else until
    given = document.get("schedule") or []
    found: set[datetime] = set()
    for one in [given] if isinstance(given, str) else given:
        found.update(_due_by(str(one), document, start, low, high))
    return sorted(found)


def seconds_of(text: str) -> float:
    """`1h30m` in seconds."""
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|[smhd])", text))


def _due_by(
    text: str, document: Mapping[str, Any], start: datetime | None, after: datetime, until: datetime
) -> Iterator[datetime]:
    if text.startswith("@every"):
        return _every(seconds_of(text.removeprefix("@every")), start or EPOCH, after, until)
    fields = NICKNAMES.get(text, text).split()
    if len(fields) == 6 and document.get("seconds") == "last":
        fields = [fields[-1], *fields[:-1]]
    zone = str(document.get("timezone") or "UTC")
    if len(fields) == 6 and zone != "UTC" and "*" not in fields[1] + fields[2]:
        raise NotImplementedError("cronsim has Debian's rule for clock changes only for five fields")
    return _cron(" ".join(fields), zone, after, until)


def _every(seconds: float, origin: datetime, after: datetime, until: datetime) -> Iterator[datetime]:
    step = timedelta(seconds=seconds)
    instant = origin + max((after - origin) // step, -1) * step
    while instant <= until:
        if instant > after:
            yield instant
        instant += step


def _cron(expression: str, zone: str, after: datetime, until: datetime) -> Iterator[datetime]:
    place = UTC if zone == "UTC" else ZoneInfo(zone)
    # A little earlier: just after a fold cronsim would not know what has been.
    begin = after - timedelta(hours=3)
    for instant in CronSim(expression, begin.astimezone(place)):
        moment = instant.astimezone(UTC)
        if moment > until:
            return
        if moment > after:
            yield moment


def _moment(value: Any) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value.astimezone(UTC) if value else None
    return datetime.fromisoformat(str(value).replace("Z", "+00:00")).astimezone(UTC)

"""Which days do the events of an iCalendar file touch? A program of its own: the file on stdin, JSON on stdout.

It may take long or much memory over what it is given, so whoever asks bounds its time, and no other process is harmed.
It stands alone and imports nothing of this package, to start quickly.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

# Rules without an end are followed as far as this, however late it is by now: a digest must not change by itself.
FIRST, LAST = date(2000, 1, 1), date(2100, 12, 31)
MOST_SPANS = 10_000
CPU_SECONDS = 10
MEMORY = 1 << 30
RARE_ENOUGH = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")


class Unusable(Exception):
    """What is wrong with the file, in words."""


def main() -> None:
    """Answer `{"spans": [[kind, from, to], …]}`, or `{"error": …}`; see `spans_of`."""
    for limit, most in ((resource.RLIMIT_CPU, CPU_SECONDS), (resource.RLIMIT_DATA, MEMORY), (resource.RLIMIT_CORE, 0)):
        allowed = resource.getrlimit(limit)[1]
        most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(limit, (most, most))
    try:
        answer: dict[str, Any] = {"spans": list(spans_of(sys.stdin.buffer.read()))}
    except Unusable as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": "needs too much memory; make it smaller"}
    except Exception as error:  # its libraries raise many kinds for what a file may hold
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        answer = {"error": f"cannot be read as iCalendar: {what}"}
    json.dump(answer, sys.stdout)


def spans_of(data: bytes) -> Iterator[tuple[str, str, str]]:
    """Each event as (kind, from, to), `to` not included: `days` are dates, `local` times are as clocks show them
    wherever one is, `utc` times are moments; Unusable where the file cannot be used.
    """
    import icalendar
    import recurring_ical_events

    text = data.decode("utf-8-sig")
    calendars = icalendar.Calendar.from_ical(text, multiple=True)
    if not calendars:
        raise Unusable("has no calendar in it")
    count = 0
    for calendar in calendars:
        _refuse(calendar)
        query = recurring_ical_events.of(calendar, components=["VEVENT"])
        for event in query.between(FIRST, LAST + timedelta(days=1)):
            if str(event.get("STATUS", "")).upper() == "CANCELLED":
                continue
            count += 1
            if count > MOST_SPANS:
                raise Unusable(f"has more than {MOST_SPANS} events until {LAST.year}; give its rules an end")
            yield _span(event.start, event.end)


def _refuse(calendar: Any) -> None:
    """Rules that are no days: told before anybody begins to count them."""
    for event in calendar.walk("VEVENT"):
        rules = event.get("RRULE", [])
        for rule in rules if isinstance(rules, list) else [rules]:
            often = {str(word).upper() for word in rule.get("FREQ", [])} - set(RARE_ENOUGH)
            often |= {key for key in ("BYHOUR", "BYMINUTE", "BYSECOND") if len(rule.get(key, [])) > 1}
            title = " ".join(str(event.get("SUMMARY", "an event")).split())[:60]
            if often:
                raise Unusable(f"has '{title}', which comes several times a day ({min(often)}); days come once")
            if min(map(int, rule.get("INTERVAL", [1]))) < 1:
                raise Unusable(f"has '{title}' with an INTERVAL below 1")


def _span(start: date, end: date) -> tuple[str, str, str]:
    if isinstance(start, datetime) and isinstance(end, datetime):
        if start.tzinfo is None:
            return "local", start.isoformat(), end.isoformat()
        return "utc", start.astimezone(UTC).isoformat(), end.astimezone(UTC).isoformat()
    first, last = (moment.date() if isinstance(moment, datetime) else moment for moment in (start, end))
    return "days", first.isoformat(), max(last, first + timedelta(days=1)).isoformat()


if __name__ == "__main__":
    main()

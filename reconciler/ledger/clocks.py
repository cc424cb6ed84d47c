"""What a change of the clocks does to a schedule on the day of an instant, in words."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from reconciler.simulate.clockchanges import clock_changes
from reconciler.spec import TaskSpec

# Of a local day no instant is further away than this, whatever the clocks do meanwhile.
A_DAY = timedelta(hours=48)


def clock_words(spec: TaskSpec, instant: datetime) -> str:
    """`; clocks go forward from 02:00 to 03:00 that day: 02:30 does not run`; empty where that changes nothing."""
    zone = ZoneInfo(spec.timezone)
    day = instant.astimezone(zone).date()
    found = clock_changes([spec], instant - A_DAY, instant + A_DAY)
    said = [
        f"; {change.clock} that day: {change.became}" for change in found if change.at.astimezone(zone).date() == day
    ]
    return "".join(said)

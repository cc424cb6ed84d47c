"""When a task that waits for others is due: the `after` rule as one pure function.

PostgreSQL applies the same rule to the rows that runs have left (`reconciler.db.followers`), so that any number of
runners makes it happen once; a simulation asks here. Which runs succeeded is told, never looked up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Meeting:
    """All have succeeded: the task runs for `instant`, and what they did up to `until` is used up."""

    instant: datetime
    until: datetime


def meeting(successes: Sequence[Sequence[datetime]], seen: datetime) -> Meeting | None:
    """The first time that all had succeeded for an instant after `seen`; None: one of them has not yet.

    `successes` has the instants of each one's, in order. The last of them to succeed makes the meeting, and each
    counts with its newest instant up to there: what came later is left for the next one.
    """
    firsts: list[datetime] = []
    for instants in successes:
        place = bisect_right(instants, seen)
        if place == len(instants):
            return None
        firsts.append(instants[place])
    until = max(firsts)
    return Meeting(min(instants[bisect_right(instants, until) - 1] for instants in successes), until)

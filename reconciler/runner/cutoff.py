"""When was this runner cut off from its stores, and why? Remembered until it can be written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from reconciler.db import outages
from reconciler.db.link import Statements
from reconciler.runner.clock import Clock

# Seconds; what was over sooner delayed nobody.
SHORTEST = 1.0
# More than one wait to be written only where PostgreSQL answers and goes away again and again.
MOST = 100


@dataclass(frozen=True, slots=True)
class Outage:
    """From when to when, PostgreSQL's time as far as it was known, and what was said first."""

    what: str
    began_at: datetime
    ended_at: datetime


class Outages:
    """One outage at a time: it begins with the first part that fails, and ends when every part works again.

    Parts are named; each tells how it goes. Moments are of the monotonic clock.
    """

    def __init__(self, clock: Clock, monotonic: Callable[[], float]) -> None:
        self.over: list[Outage] = []
        self.times: Counter[tuple[str, bool]] = Counter()  # how often each part worked (True) and failed
        self._clock = clock
        self._monotonic = monotonic
        self._worked: dict[str, float] = {}
        self._failing: set[str] = set()
        self._began: float | None = None
        self._what = ""

    def worked(self, part: str) -> None:
        """A part did what it does; where it was the last that failed, the outage is over."""
        now = self._monotonic()
        self._worked[part] = now
        self.times[part, True] += 1
        self._failing.discard(part)
        if self._began is None or self._failing:
            return
        began, self._began = self._began, None
        if now - began > SHORTEST:
            self.over.append(Outage(self._what, self._clock.at(began), self._clock.at(now)))
            del self.over[:-MOST]

    def failed(self, part: str, what: str) -> None:
        """A part could not do it; since it last could, nobody knows."""
        self._failing.add(part)
        self.times[part, False] += 1
        if self._began is None:
            self._began = self._worked.get(part, self._monotonic())
            self._what = what

    def worked_at(self, part: str) -> float | None:
        """When that part last worked; None: never yet."""
        return self._worked.get(part)

    async def write(self, link: Statements, runner: str) -> None:
        """Write down what is over; an error (StoreUnavailable, psycopg's) keeps what is not written."""
        while self.over:
            one = self.over[0]
            await outages.record(link, runner, one.what, one.began_at, one.ended_at)
            self.over.remove(one)

"""When was no runner there? What is between their presences, found once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.ledger.evidence import Presence


@dataclass(frozen=True, slots=True)
class Gap:
    """From when to when nobody was there (None: ever before, ever since), and who was before and after."""

    since: datetime | None
    until: datetime | None
    before: Presence | None
    after: Presence | None

    def within(self, start: datetime, end: datetime) -> timedelta:
        """How much of [start, end] it covers."""
        since = start if self.since is None else max(start, self.since)
        until = end if self.until is None else min(end, self.until)
        return max(until - since, timedelta(0))


def gaps(presences: Sequence[Presence]) -> Iterator[Gap]:
    """The gaps in order, the one before the first presence and the one after the last among them."""
    before: Presence | None = None
    covered: datetime | None = None
    for one in sorted(presences, key=lambda one: one.since):
        if covered is None or one.since > covered:
            yield Gap(covered, one.since, before, one)
        if one.until is None:
            return
        if covered is None or one.until > covered:
            before, covered = one, one.until
    yield Gap(covered, None, before, None)

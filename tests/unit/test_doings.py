"""What differs in Redis is somebody's doing only where no runner, no pause and no clock can have brought it about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.scheduler import Entry
from reconciler.scheduler.differences import Kept, kept_as
from reconciler.scheduler.doings import Sides, by_hand
from reconciler.scheduler.entries import milliseconds

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def at(moment: datetime) -> str:
    return milliseconds(moment)


def entry(next_run: datetime | None = NOON + HOUR, **changes: Any) -> Entry:
    return replace(Entry(1, "default", "active", "d", next_run, next_run), **changes)


ENTRY = entry()
KEPT = kept_as(ENTRY)
PAUSED = entry(state="paused", wake_at=NOON + HOUR, until=NOON + HOUR, reason="why")


def kept(**changes: str) -> Kept:
    return replace(KEPT, **changes)


# what is found; what should be before and after the look; the cursor; which fields are somebody's doing
CASES: dict[str, tuple[Kept, Entry, Entry, datetime | None, set[str]]] = {
    "nothing": (KEPT, ENTRY, ENTRY, NOON, set()),
    # a runner
    "taken and held": (kept(score=at(NOON + 10 * SECOND)), ENTRY, ENTRY, NOON, set()),
    "decided, not moved on": (
        kept(next_run=at(NOON), score=at(NOON + 10 * SECOND)),
        ENTRY,
        ENTRY,
        NOON,
        set(),
    ),
    "decided by one that died": (kept(next_run=at(NOON), score=at(NOON - SECOND)), ENTRY, ENTRY, NOON, set()),
    "moved on between the looks": (KEPT, entry(NOON), ENTRY, NOON, set()),
    "moved on twice between the looks": (
        kept(next_run=at(NOON + SECOND), score=at(NOON + SECOND)),
        entry(NOON),
        entry(NOON + 2 * SECOND),
        NOON + SECOND,
        set(),
    ),
    "its last instant": (kept(next_run=at(NOON), score=at(NOON)), entry(None), entry(None), NOON, set()),
    # a pause that ends by the clock
    "a pause is over, here not yet": (kept_as(replace(PAUSED, until=NOON)), ENTRY, ENTRY, NOON, set()),
    "a pause is over, there not yet": (KEPT, *2 * (replace(PAUSED, until=NOON + SECOND),), NOON, set()),
    # by hand
    "gone": (Kept(score=KEPT.score), ENTRY, ENTRY, NOON, {"entry"}),
    "another state": (kept(state="suspended"), ENTRY, ENTRY, NOON, {"state"}),
    "another digest": (kept(digest="e"), ENTRY, ENTRY, NOON, {"digest"}),
    "another queue": (kept(queue="slow"), ENTRY, ENTRY, NOON, {"queue"}),
    "a pause of nobody": (kept_as(PAUSED), ENTRY, ENTRY, NOON, {"state", "reason", "until"}),
    "a pause taken away": (KEPT, PAUSED, PAUSED, NOON, {"state", "reason", "until"}),
    "an instant ahead": (kept(next_run=at(NOON + 2 * HOUR)), ENTRY, ENTRY, NOON, {"next_run"}),
    "an instant of long ago": (kept(next_run="17"), ENTRY, ENTRY, NOON, {"next_run"}),
    "no instant": (kept(next_run="soon"), ENTRY, ENTRY, NOON, {"next_run"}),
    "an instant that is no number": (kept(next_run="nan"), ENTRY, ENTRY, NOON, {"next_run"}),
    "an instant beyond the calendar": (kept(next_run="inf"), ENTRY, ENTRY, NOON, {"next_run"}),
    "a state that no store can hold": (kept(state="a\0b" * 999), ENTRY, ENTRY, NOON, {"state"}),
    "an instant gone": (kept(next_run=""), ENTRY, ENTRY, NOON, {"next_run"}),
    "not queued": (kept(score=""), ENTRY, ENTRY, NOON, {"score"}),
    "queued far too late": (kept(score=at(NOON + 5 * HOUR)), ENTRY, ENTRY, NOON, {"score"}),
    "queued and suspended": (
        replace(kept_as(entry(None, state="suspended")), score=at(NOON)),
        *2 * (entry(None, state="suspended"),),
        NOON,
        {"score"},
    ),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_only_what_nothing_else_explains_is_by_hand(case: str) -> None:
    found, before, after, through, expected = CASES[case]
    fields = by_hand(Sides(found, before, after, through), NOON + SECOND)
    assert set(fields) == expected
    assert all("\0" not in (there or "") and len(there or "") <= 200 for _, there in fields.values())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_pause_since_the_last_alignment_explains_everything(case: str) -> None:
    found, before, after, through, _ = CASES[case]
    assert by_hand(Sides(found, before, after, through, is_touched=True), NOON) == {}


def test_both_sides_are_told_as_a_person_reads_them() -> None:
    found = kept(next_run=at(NOON + 2 * HOUR), state="suspended", score="")
    assert by_hand(Sides(found, ENTRY, ENTRY, NOON), NOON) == {
        "state": ("active", "suspended"),
        "next_run": ("2026-03-01T13:00:00+00:00", "2026-03-01T14:00:00+00:00"),
        "score": ("2026-03-01T13:00:00+00:00", None),
    }

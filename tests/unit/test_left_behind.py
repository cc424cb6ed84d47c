"""What an edit leaves behind of the schedule before it: each undecided instant once, the paused ones as paused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.occurrences import Pause
from reconciler.plan import Change
from reconciler.spec import TaskSpec
from reconciler.sync.apply import _undecided

EDIT = Change("update", "a", "a.yaml", "another schedule", moves_cursor=True)
TICK = timedelta(microseconds=1)
Row = tuple[str, str, int | None, str]


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-10T{text}").replace(tzinfo=UTC)


def pause(since: str, until: str | None) -> Pause:
    return Pause(at(since), at(until) if until else None, "works", "ada")


@pytest.mark.parametrize(
    ("why", "pauses", "now", "expected"),
    [
        ("without a pause all is one row", [], "06:00", [("01:00", "06:00", 6, "edited")]),
        ("up to just before now", [], "05:59:59.999999", [("01:00", "05:00", 5, "edited")]),
        (
            "a pause has the instant at which it begins, and not the one at which it ends",
            [pause("02:00", "04:00")],
            "06:00",
            [("01:00", "01:00", 1, "edited"), ("02:00", "03:00", 2, "paused"), ("04:00", "06:00", 3, "edited")],
        ),
        (
            "one that begins just after an instant and ends just after another",
            [pause("02:00:00.000001", "04:00:00.000001")],
            "06:00",
            [("01:00", "02:00", 2, "edited"), ("03:00", "04:00", 2, "paused"), ("05:00", "06:00", 2, "edited")],
        ),
        (
            "one that began long before what is undecided",
            [pause("00:00", "02:00")],
            "03:00",
            [("01:00", "01:00", 1, "paused"), ("02:00", "03:00", 2, "edited")],
        ),
        (
            "one that has not ended, and begins at the last instant",
            [pause("03:00", None)],
            "03:00",
            [("01:00", "02:00", 2, "edited"), ("03:00", "03:00", 1, "paused")],
        ),
        (
            "one that outlasts the edit",
            [pause("02:00", "09:00")],
            "03:00",
            [("01:00", "01:00", 1, "edited"), ("02:00", "03:00", 2, "paused")],
        ),
        (
            "one inside another",
            [pause("02:00", "05:00"), pause("03:00", "04:00")],
            "06:00",
            [("01:00", "01:00", 1, "edited"), ("02:00", "04:00", 3, "paused"), ("05:00", "06:00", 2, "edited")],
        ),
        (
            "one that follows another at once",
            [pause("02:00", "03:00"), pause("03:00", "04:00")],
            "04:00",
            [
                ("01:00", "01:00", 1, "edited"),
                ("02:00", "02:00", 1, "paused"),
                ("03:00", "03:00", 1, "paused"),
                ("04:00", "04:00", 1, "edited"),
            ],
        ),
    ],
)
def test_what_was_not_decided_before_an_edit(why: str, pauses: list[Pause], now: str, expected: list[Row]) -> None:
    spec = TaskSpec.from_document({"name": "a", "task": "t", "schedule": ["0 * * * *"]})
    found = _undecided(spec, EDIT, at("00:00"), at(now), pauses)
    assert [(one.first, one.last, one.count, one.reason) for one in found] == [
        (at(first), at(last), count, reason) for first, last, count, reason in expected
    ], why


def test_an_instant_that_is_decided_is_not_left_behind_and_the_one_after_is() -> None:
    spec = TaskSpec.from_document({"name": "a", "task": "t", "schedule": ["0 * * * *"]})
    assert list(_undecided(spec, EDIT, at("03:00"), at("03:59"), ())) == []
    [one] = _undecided(spec, EDIT, at("03:00") - TICK, at("03:59"), ())
    assert (one.first, one.last) == (at("03:00"), at("03:00"))

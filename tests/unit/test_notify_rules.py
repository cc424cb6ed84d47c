"""When a silence deserves a word: what was missed, and what has been silent for too long."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.db.watched import Success, Watched
from reconciler.notify.rules import BUSY, GRACE, missed, overdue_at, silence, silent_at
from reconciler.occurrences import Pause, Skip
from reconciler.spec import TaskSpec


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-02 {text}").replace(tzinfo=UTC)


def spec(**fields: Any) -> TaskSpec:
    given = {"name": "sales", "task": "t", "schedule": "0 2 * * *", "notify": {"on": ["missed"], "to": ["ops"]}}
    return TaskSpec.model_validate(given | fields)


CALM = Watched(1, "sales", at("00:00") - timedelta(days=30), None, None, False, None, None, True, None, frozenset())
NOTHING = Success(None, None, None, None)


@pytest.mark.parametrize(
    ("fields", "through", "pauses", "expected"),
    [
        # The first instant that nobody has decided, and a minute of grace.
        ({}, "01:00", [], ("02:00", at("02:00") + GRACE)),
        ({"schedule": "*/5 * * * *"}, "01:00", [], ("01:05", at("01:05") + GRACE)),
        # Nothing is to come.
        ({"schedule": []}, "01:00", [], None),
        ({"suspend": True}, "01:00", [], None),
        ({"ends_at": "2026-03-01"}, "01:00", [], None),
        # A pause that is over: what it covered is not missed, what came after it is, once it had a chance.
        ({"schedule": "*/30 * * * *"}, "01:00", [("01:10", "02:10")], ("02:30", at("02:30") + GRACE)),
        (
            {"schedule": "*/30 * * * *"},
            "01:00",
            [("01:10", "01:50"), ("01:50", "02:10")],
            ("02:30", at("02:30") + GRACE),
        ),
        ({"schedule": "*/30 * * * *"}, "01:00", [("01:10", None)], None),
        # One that began after the instant does not excuse it.
        ({}, "01:00", [("02:30", "03:00")], ("02:00", at("02:00") + GRACE)),
    ],
)
def test_an_instant_is_overdue_a_minute_after_somebody_should_have_decided_it(
    fields: dict[str, Any], through: str, pauses: list[tuple[str, str | None]], expected: tuple[str, datetime] | None
) -> None:
    held = [Pause(at(since), at(until) if until else None) for since, until in pauses]
    found = overdue_at(spec(**fields), at(through), held)
    assert found == (None if expected is None else (at(expected[0]), expected[1]))


def test_jitter_is_no_lateness() -> None:
    first, late = overdue_at(spec(jitter="30m"), at("01:00")) or (None, None)
    assert first == at("02:00")
    assert late is not None
    assert at("02:00") + GRACE < late < at("02:31")


@pytest.mark.parametrize(
    ("now", "row", "expected"),
    [
        ("02:00:59", {}, None),
        ("02:01:00", {}, "was due at 2026-03-02 02:00:00 UTC, and no runner has decided it"),
        # A runner that had it and was not seen since; a lease alone is no reason.
        ("01:30", {"lost": at("01:00"), "lost_seen": at("01:29:30"), "is_running": True}, None),
        (
            "01:31",
            {"lost": at("01:00"), "lost_seen": at("01:29:30"), "is_running": True},
            "the run of 2026-03-02 01:00:00",
        ),
        ("01:31", {"lost": at("01:00"), "is_running": True}, "its runner is gone, and none took it over"),
        # Waiting: nobody can run it, or all are busy, or its own run goes on.
        ("01:00:59", {"waiting": at("01:00"), "since": at("01:00"), "is_served": False}, None),
        (
            "01:01",
            {"waiting": at("01:00"), "since": at("01:00"), "is_served": False},
            "no runner takes queue 'default'",
        ),
        ("01:09", {"waiting": at("01:00"), "since": at("01:00")}, None),
        ("01:10", {"waiting": at("01:00"), "since": at("01:00")}, "has waited 10m for a free slot"),
        ("01:30", {"waiting": at("01:00"), "since": at("01:00"), "is_running": True}, None),
        # Decided against.
        ("01:30", {"skip": Skip("sales", at("01:00"), at("01:00"), 1, "missed", None)}, "UTC: no runner was there"),
        (
            "01:30",
            {"skip": Skip("sales", at("00:10"), at("01:00"), 6, "missed", None)},
            "6 times from 2026-03-02 00:10:00 UTC",
        ),
        (
            "01:30",
            {"skip": Skip("sales", at("01:00"), at("01:00"), 1, "deadline", "not started within 10m")},
            "within 10m",
        ),
    ],
)
def test_what_was_missed_is_told_with_its_reason(now: str, row: dict[str, Any], expected: str | None) -> None:
    task = spec()
    found = missed(replace(CALM, **row), task, overdue_at(task, at("01:00")), at(now))
    assert (found is None) == (expected is None)
    if found and expected:
        assert expected in found.detail
        assert (found.name, found.kind) == ("sales", "missed")


def test_a_task_without_a_schedule_is_missed_only_while_it_waits() -> None:
    task = spec(schedule=[], after=["load"])
    row = replace(CALM, waiting=at("01:00"), since=at("01:00"), is_served=False)
    assert missed(CALM, task, None, at("05:00")) is None
    assert missed(row, task, None, at("05:00")) is not None
    assert BUSY > GRACE


@pytest.mark.parametrize(
    ("fields", "success", "now", "expected"),
    [
        ({}, NOTHING, "23:00", None),
        # Since there is the config, the last success, the end of what held it: whatever was last.
        ({"no_success_for": "2h"}, NOTHING, "01:59", None),
        ({"no_success_for": "2h"}, NOTHING, "02:00", "has not succeeded for 2h: it never did"),
        ({"no_success_for": "2h"}, Success(at("01:00"), at("01:10"), None, None), "03:09", None),
        (
            {"no_success_for": "2h"},
            Success(at("01:00"), at("01:10"), None, None),
            "03:10",
            "has not succeeded for 2h: the last was at 2026-03-02 01:10:00 UTC",
        ),
        ({"no_success_for": "2h"}, Success(at("01:00"), at("01:10"), at("09:00"), None), "10:59", None),
        ({"no_success_for": "2h"}, Success(at("01:00"), at("01:10"), None, at("09:00")), "10:59", None),
        (
            {"no_success_for": "2h"},
            Success(at("01:00"), at("01:10"), at("04:00"), at("09:00")),
            "11:00",
            "the last was",
        ),
    ],
)
def test_a_silence_counts_from_the_last_thing_that_excuses_it(
    fields: dict[str, Any], success: Success, now: str, expected: str | None
) -> None:
    task = spec(notify={"to": ["ops"], **fields})
    row = replace(CALM, created_at=at("00:00"))
    found = silence(row, task, success, at(now))
    assert (found is None) == (expected is None)
    if found and expected:
        assert expected in found.detail
        assert found.scheduled_for == success.scheduled_for


def test_what_is_suspended_may_be_silent() -> None:
    task = spec(suspend=True, notify={"to": ["ops"], "no_success_for": "1h"})
    assert silent_at(CALM, task, NOTHING) is None

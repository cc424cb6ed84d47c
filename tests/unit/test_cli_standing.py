"""How a task stands, in words, at a moment that the test chooses."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.cli.standing import (
    ALONE,
    Around,
    as_json,
    last_words,
    next_words,
    now_words,
    standing,
    why_waiting,
)
from reconciler.db.configs import TaskConfig
from reconciler.db.overview import LastRun, Overview, Paused, Running
from reconciler.db.pending import Pending
from reconciler.spec import TaskSpec

NOW = datetime(2026, 1, 2, 0, 57, tzinfo=UTC)


def found(**fields: Any) -> Overview:
    spec = TaskSpec.from_document({"name": "nightly", "task": "reports.build", "timezone": "Europe/Berlin", **fields})
    config = TaskConfig(1, "nightly", "default", spec.document(), spec.digest, "nightly.yaml", None, NOW, NOW)
    return Overview(config, NOW - timedelta(hours=1), None, None, 0, None, None, True)


NIGHTLY = found(schedule=["0 2 * * *"])


@pytest.mark.parametrize(
    ("overview", "state", "text"),
    [
        (NIGHTLY, "active", "in 3 min · 2026-01-02 02:00:00 Europe/Berlin"),
        (replace(NIGHTLY, through=None), "active", "in 3 min · 2026-01-02 02:00:00 Europe/Berlin"),
        (
            replace(NIGHTLY, through=NOW + timedelta(hours=2)),
            "active",
            "in 24 h 3 min · 2026-01-03 02:00:00 Europe/Berlin",
        ),
        (replace(NIGHTLY, pause=Paused(None, "ana@desk", NOW, None)), "paused", "-"),
        (
            replace(NIGHTLY, pause=Paused(None, "ana@desk", NOW, NOW + timedelta(hours=2))),
            "paused",
            "in 24 h 3 min · 2026-01-03 02:00:00 Europe/Berlin",
        ),
        (found(schedule=["0 2 * * *"], suspend=True), "suspended", "-"),
        (found(), "manual", "-"),
        (found(schedule=["0 2 * * *"], ends_at="2026-01-02T00:00:00Z"), "active", "-"),
    ],
)
def test_the_next_run_is_the_next_one_that_is_going_to_fire(overview: Overview, state: str, text: str) -> None:
    row = standing(overview, NOW)
    assert (row.state, next_words(row, NOW)) == (state, text)


def test_a_spec_of_another_version_is_shown_as_unreadable_and_hides_nobody() -> None:
    strange = replace(NIGHTLY, config=replace(NIGHTLY.config, spec={"name": "nightly", "colour": "red"}))
    row = standing(strange, NOW)
    assert (row.state, row.next_run) == ("unreadable", None)
    assert "of another version" in row.schedule


def test_the_last_result_has_its_age_its_length_and_the_first_line_of_its_error() -> None:
    at = NOW - timedelta(minutes=3, seconds=2)
    good = LastRun(at, at, at + timedelta(milliseconds=12), True, None, "schedule")
    bad = replace(good, finished_at=at + timedelta(milliseconds=900), is_success=False, error="ValueError: no\nmore")
    assert last_words(standing(replace(NIGHTLY, last=good), NOW), NOW) == "✓ 3 min ago, in 12 ms"
    assert last_words(standing(replace(NIGHTLY, last=bad), NOW), NOW) == "✗ 3 min ago, in 900 ms: ValueError: no"
    assert last_words(standing(NIGHTLY, NOW), NOW) == "-"


@pytest.mark.parametrize(
    ("overview", "has_runner", "text"),
    [
        (NIGHTLY, True, "-"),
        (replace(NIGHTLY, running=Running(NOW, NOW - timedelta(seconds=3), "host:1")), True, "running for 3 s"),
        (
            replace(
                NIGHTLY,
                running=Running(
                    NOW, NOW - timedelta(minutes=3), "h:1", attempt=2, progress={"fraction": 0.4, "text": "loading"}
                ),
            ),
            True,
            'running for 3 min, 40 % "loading", attempt 2',
        ),
        (
            replace(NIGHTLY, running=Running(NOW, NOW - timedelta(seconds=3), None, cancel_requested="by ana")),
            True,
            "running for 3 s, being cancelled",
        ),
        (replace(NIGHTLY, waiting=2), True, "2 waiting"),
        (replace(NIGHTLY, known_task=False), True, "waiting for a runner that has the task 'reports.build'"),
        (replace(NIGHTLY, known_task=False), False, "-"),
        (replace(NIGHTLY, is_served=False), True, "no runner looks at the queue 'default'"),
        (
            replace(NIGHTLY, known_task=False, is_served=False),
            True,
            "waiting for a runner that has the task 'reports.build'",
        ),
        (replace(NIGHTLY, is_served=False), False, "-"),
        (found(schedule=["0 2 * * *"], suspend=True), True, "suspended in its spec"),
        (
            replace(NIGHTLY, pause=Paused("the warehouse moves", "ana@desk", NOW, NOW + timedelta(hours=2))),
            True,
            "paused by ana@desk until 2026-01-02 03:57:00 Europe/Berlin (in 2 h): the warehouse moves",
        ),
        (
            replace(NIGHTLY, pause=Paused("moving", "ana@desk", NOW, None, {"team": "data", "tier": "gold"})),
            True,
            "paused with team=data, tier=gold by ana@desk until resumed: moving",
        ),
        (
            replace(NIGHTLY, pause=Paused(None, "ana@desk", NOW, None), waiting=1),
            True,
            "1 waiting; paused by ana@desk until resumed",
        ),
    ],
)
def test_what_holds_a_task_or_happens_to_it_is_said(overview: Overview, has_runner: bool, text: str) -> None:
    assert now_words(standing(overview, NOW), NOW, has_runner=has_runner) == text


WAITS = Pending("nightly", NOW, "schedule", None, None, False, None, NOW, True, [], None, None, None)
RETRY = replace(WAITS, not_before=NOW + timedelta(minutes=3), attempts=[{"error": "OSError"}])
RUNS = Running(NOW - timedelta(minutes=57), NOW, "host:1")
FULL = Around(busy={"default": 2}, limits={"default": 2})


@pytest.mark.parametrize(
    ("overview", "waiting", "around", "why"),
    [
        (NIGHTLY, WAITS, ALONE, "for a free place on a runner"),
        (NIGHTLY, WAITS, Around(has_runner=False), "no runner is there"),
        (replace(NIGHTLY, known_task=False, is_served=False), WAITS, ALONE, "no runner has the task"),
        (replace(NIGHTLY, is_served=False), WAITS, ALONE, "no runner looks at the queue 'default'"),
        (NIGHTLY, RETRY, ALONE, "retry in 3 min, after a failed attempt"),
        (NIGHTLY, replace(RETRY, attempts=[{}, {}]), ALONE, "retry in 3 min, after 2 failed attempts"),
        (NIGHTLY, replace(RETRY, cancel_requested="by ana"), ALONE, "being cancelled"),
        (replace(NIGHTLY, running=RUNS), WAITS, ALONE, "behind the run of 00:00:00 UTC"),
        (replace(NIGHTLY, running=RUNS), replace(WAITS, exclusive=False), ALONE, "for a free place on a runner"),
        (replace(NIGHTLY, running=replace(RUNS, exclusive=False)), WAITS, ALONE, "for a free place on a runner"),
        (NIGHTLY, WAITS, FULL, "the queue 'default' is full, 2 of 2 run"),
        (NIGHTLY, WAITS, replace(FULL, limits={"default": 3}), "for a free place on a runner"),
        (NIGHTLY, replace(WAITS, not_before=NOW + timedelta(minutes=2)), ALONE, "to start in 2 min"),
    ],
)
def test_waiting_work_says_why_it_waits(overview: Overview, waiting: Pending, around: Around, why: str) -> None:
    assert why_waiting(overview, waiting, NOW, around) == why
    row = standing(replace(overview, waiting=1), NOW, waiting, around)
    assert row.waits == why
    if around.has_runner:
        assert f"1 waiting: {why}" in now_words(row, NOW)


@pytest.mark.parametrize(
    ("fields", "state", "words"),
    [
        ({"after": ["load"]}, "active", "after load"),
        ({"after": ["load", "clean"], "suspend": True}, "suspended", "after load, clean"),
        ({"after": ["load"], "schedule": ["0 2 * * *"]}, "active", "at 02:00, Europe/Berlin, and after load"),
    ],
)
def test_what_comes_after_others_says_so(fields: dict[str, Any], state: str, words: str) -> None:
    row = standing(found(**fields), NOW)
    assert (row.state, row.schedule) == (state, words)
    assert as_json(row)["after"] == fields["after"]

"""Where each source stands, as `status` says it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.cli.sourcelines import SourceState, source_lines
from reconciler.db.sources import Source
from reconciler.db.syncs import Sync

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
OLD, NEW = "9f8e7d6c" * 5, "a1b2c3d4" * 5


def sync(revision: str, minutes: int, **more: Any) -> Sync:
    at = NOW - timedelta(minutes=minutes)
    fields = {"is_success": True, "created": 2, "subject": "more reports", **more}
    return Sync(source="default", revision=revision, actor="ci", started_at=at, finished_at=at, **fields)


GOOD = sync(OLD, 60)
BAD = sync(NEW, 2, is_success=False, error="a.yaml:1:1: task: is missing\nand more", created=0)
IN_FORCE = "✓ 2 created, 60 min ago at 9f8e7d6 “more reports” by ci"


def test_a_success_is_one_line_and_says_when_it_was_looked_at_since() -> None:
    assert source_lines([SourceState("default", GOOD, GOOD)], NOW) == [f"specs: {IN_FORCE}"]
    row = Source(name="default", tried_at=NOW - timedelta(seconds=10))
    assert source_lines([SourceState("default", GOOD, GOOD, row)], NOW) == [f"specs: {IN_FORCE}; looked at 10 s ago"]


def test_a_failure_shows_what_is_in_force_instead() -> None:
    failure = "specs: ✗ 2 min ago at a1b2c3d: a.yaml:1:1: task: is missing"
    attempt, in_force = source_lines([SourceState("default", BAD, GOOD)], NOW)
    assert attempt.startswith(failure)
    assert in_force == f"  in force: {IN_FORCE}"
    assert source_lines([SourceState("default", BAD)], NOW)[1] == "  in force: nothing of it yet"


def test_a_failure_that_is_over_is_not_told() -> None:
    row = Source(name="default", tried_at=NOW - timedelta(minutes=1))
    assert source_lines([SourceState("default", BAD, GOOD, row)], NOW) == [f"specs: {IN_FORCE}; looked at 60 s ago"]
    still = Source(name="default", tried_at=NOW - timedelta(minutes=1), error="a.yaml:1:1: task: is missing")
    assert source_lines([SourceState("default", BAD, GOOD, still)], NOW)[0].startswith("specs: ✗ 2 min ago")


def test_a_success_without_a_change_says_so() -> None:
    idle = sync(OLD, 60, created=0)
    (text,) = source_lines([SourceState("default", idle, idle)], NOW)
    assert text == "specs: ✓ no change, 60 min ago at 9f8e7d6 “more reports” by ci"


def test_a_reason_held_files_and_a_pin_are_said() -> None:
    rewound = sync(OLD, 60, reason="amended a typo", plan={"held": ["a", "b"]})
    pinned = Source(name="default", pinned_at=NOW, pinned_by="ada", pinned_revision=OLD, pin_reason="wrong totals")
    lines = source_lines([SourceState("default", rewound, rewound, pinned)], NOW)
    assert lines == [
        f"specs: {IN_FORCE} (amended a typo)",
        "  held, in their last good state: a, b",
        "  pinned at 9f8e7d6 by ada since 2026-11-24 12:00 UTC: wrong totals; end it: reconciler rollback --release",
    ]


def test_with_several_sources_each_says_whose_line_it_is() -> None:
    tried = Source(name="far", tried_at=NOW - timedelta(minutes=1), error="source 'far': no route")
    lines = source_lines([SourceState("near", GOOD, GOOD), SourceState("far", row=tried)], NOW)
    assert lines == [f"specs (near): {IN_FORCE}", "specs (far): ✗ 60 s ago: no route"]

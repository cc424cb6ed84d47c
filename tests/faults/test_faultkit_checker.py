"""The checker finds what is wrong, and nothing where nothing is: each fault is planted by hand, in true tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from faultkit import Entry, Journal, check
from psycopg.types.json import Jsonb

from reconciler.spec import TaskSpec

pytestmark = pytest.mark.faults

NAME, RUNNER = "n", uuid4()
BEGIN = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
INSTANTS = [BEGIN + timedelta(seconds=n) for n in range(1, 7)]
SPEC = {"task": "j.async", "schedule": "@every 1s", "retries": {"attempts": 2}}


class Story:
    """Six instants of one name, each of which ran once and well."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url, self.journal = url, Journal(directory / "journal")
        self.entries: list[Entry] = []
        self.tokens = {instant: uuid4() for instant in INSTANTS}
        self.sql("insert into task_cursors (name, through) values (%s, %s)", NAME, INSTANTS[-1])
        document = TaskSpec.from_document({"name": NAME, **SPEC, "ends_at": INSTANTS[-1].isoformat()})
        self.sql(
            "insert into task_revisions (name, source, path, digest, spec, sync_id, applied_at)"
            " values (%s, 'default', 'a.yaml', %s, %s, 1, %s)",
            NAME,
            document.digest,
            Jsonb(document.document()),
            BEGIN,
        )
        for instant in INSTANTS:
            self.ran(instant)

    def sql(self, statement: str, *params: object) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode(), params)

    def ran(self, instant: datetime, *, tried: int = 0, is_success: bool = True, trigger: str = "schedule") -> None:
        self.sql(
            "insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, attempts,"
            " trigger, token, digest) values (%s, %s, 'j.async', %s, %s, %s, %s, %s, %s, 'd')",
            *(NAME, instant, instant, instant + timedelta(seconds=0.1), is_success),
            *(Jsonb([{"error": "x"}] * tried), trigger, self.tokens[instant]),
        )
        for what in ("start", "end"):
            self.note(instant, what, attempt=tried + 1)

    def note(self, instant: datetime, what: str, *, attempt: int = 1, token: object = None) -> None:
        key, token = f"{NAME}@{instant.isoformat()}", str(token or self.tokens[instant])
        self.entries.append(Entry(NAME, instant, attempt, token, 1, what, instant, 1.0, "schedule", key))

    def claim(self, instant: datetime, runner: object = None, attempts: int = 0) -> None:
        self.sql(
            "insert into task_claims (name, scheduled_for, task, token, runner_id, not_before, queue, trigger, digest,"
            " exclusive, attempts) values (%s, %s, 'j.async', %s, %s, %s, 'default', 'schedule', 'd', true, %s)",
            *(NAME, instant, uuid4(), runner, instant, Jsonb([{"error": "x"}] * attempts)),
        )

    def skip(self, first: datetime, last: datetime, reason: str, detail: str = "") -> None:
        count = (last - first) // timedelta(seconds=1) + 1
        self.sql("insert into task_skips values (%s, %s, %s, %s, %s, %s)", NAME, first, last, count, reason, detail)

    def forget(self, instant: datetime, *, journal: bool = True) -> None:
        self.sql("delete from task_executions where name = %s and scheduled_for = %s", NAME, instant)
        if journal:
            self.entries = [one for one in self.entries if one.scheduled_for != instant]

    def pause(self, since: datetime, until: datetime) -> None:
        self.sql(
            "insert into task_overrides (name, kind, actor, created_at, ended_at) values (%s, 'pause', 'a', %s, %s)",
            *(NAME, since, until),
        )

    def findings(self, *, is_drained: bool = True, faults: list[tuple[datetime, datetime]] | None = None) -> list[str]:
        for entry in self.entries:
            self.journal.write(entry)
        return check(self.url, self.journal, is_drained=is_drained, faults=faults or [])


@pytest.fixture
def story(database: str, tmp_path: Path) -> Story:
    return Story(database, tmp_path)


def test_nothing_is_found_where_nothing_is_wrong(story: Story) -> None:
    assert story.findings() == []


THIRD = INSTANTS[2]


def second_start(story: Story) -> None:
    story.note(THIRD, "start", token=uuid4())


def start_elsewhere(story: Story) -> None:
    story.entries = [replace(one, token=str(uuid4())) if one.scheduled_for == THIRD else one for one in story.entries]


def lost_row(story: Story) -> None:
    story.forget(THIRD, journal=False)


def lost_row_and_run(story: Story) -> None:
    story.forget(THIRD)


def undecided(story: Story) -> None:
    for instant in INSTANTS[3:]:
        story.forget(instant)
    story.sql("update task_cursors set through = %s", THIRD)


def fired_inside_a_pause(story: Story) -> None:
    story.pause(THIRD - timedelta(seconds=0.5), THIRD + timedelta(seconds=0.5))


def two_verdicts(story: Story) -> None:
    story.skip(THIRD, THIRD, "overlap", "another run was under way")


def unlawful_skip(story: Story) -> None:
    story.forget(THIRD)
    story.skip(THIRD, THIRD, "missed", "only the latest is made up for")


def skipped_without_a_pause(story: Story) -> None:
    story.forget(THIRD)
    story.skip(THIRD, THIRD, "paused", "paused by a")


def not_due(story: Story) -> None:
    instant = THIRD + timedelta(seconds=0.5)
    story.tokens[instant] = uuid4()
    story.ran(instant)


def left_claim(story: Story) -> None:
    story.forget(THIRD, journal=False)
    story.claim(THIRD)


def claim_beside_a_row(story: Story) -> None:
    story.claim(THIRD)


def never_ended(story: Story) -> None:
    story.entries = [one for one in story.entries if (one.scheduled_for, one.what) != (THIRD, "end")]


def too_many_attempts(story: Story) -> None:
    for attempt in (2, 3):
        story.note(THIRD, "start", attempt=attempt)


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (second_start, "attempt 1 started 2 times"),
        (start_elsewhere, "which never started it"),
        (lost_row, "started 1 times, and has no row"),
        (lost_row_and_run, "decided, and no row says how"),
        (lost_row_and_run, "the ledger says: did not run: it was passed over, and nothing recorded says why"),
        (undecided, "nobody decided it"),
        (fired_inside_a_pause, "started, though it came due inside a pause"),
        (two_verdicts, "2 verdicts"),
        (unlawful_skip, "missed, and nothing was wrong then"),
        (skipped_without_a_pause, "skipped as paused, and no pause covers it"),
        (not_due, "has a verdict, and was not due"),
        (left_claim, "still has a claim"),
        (claim_beside_a_row, "has a row and a claim"),
        (never_ended, "which never ended it"),
        (too_many_attempts, "3 attempts, and its task has 2"),
        (too_many_attempts, "attempt 3 started, and its row tells of 1"),
    ],
)
def test_a_planted_fault_is_found(story: Story, plant: Callable[[Story], None], said: str) -> None:
    plant(story)
    assert said in "\n".join(story.findings())


def test_a_skip_is_lawful_where_a_fault_was(story: Story) -> None:
    for instant in INSTANTS[1:3]:
        story.forget(instant)
    story.skip(INSTANTS[1], THIRD, "missed", "only the latest is made up for")
    assert story.findings(faults=[(INSTANTS[0], INSTANTS[3])]) == []


def test_the_newest_of_what_was_missed_is_made_up_for(story: Story) -> None:
    for instant in INSTANTS[3:]:
        story.forget(instant)
    story.skip(INSTANTS[3], INSTANTS[5], "missed", "only the latest is made up for")
    assert "missed, and it is the newest" in "\n".join(story.findings(faults=[(INSTANTS[0], INSTANTS[5])]))


def test_a_claim_of_a_runner_that_is_gone_is_found_before_all_is_over(story: Story) -> None:
    story.forget(THIRD, journal=False)
    story.claim(THIRD, RUNNER)
    assert "held by a runner that is gone" in "\n".join(story.findings(is_drained=False))

"""One row a config, with everything around it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from reconciler.db import configs, overrides
from reconciler.db.configs import ConfigRow
from reconciler.db.link import Link
from reconciler.db.overview import OVERVIEW, LastRun, busy_queues, next_waiting, overview

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)

EXECUTION = """
insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, error, trigger, digest)
values (%(name)s, %(at)s, 't', %(at)s, %(at)s, %(ok)s, %(error)s, 'schedule', 'd')
"""

CLAIM = """
insert into task_claims (name, scheduled_for, task, runner_id, started_at, queue, trigger, digest, exclusive)
values (%(name)s, %(at)s, 't', %(runner)s, %(started)s, 'default', 'schedule', 'd', false)
"""

RUNNER = """
insert into runners (id, host, pid, queues, tasks) values (%(id)s, 'h1', 42, '[]', %(tasks)s)
"""


@pytest.fixture
async def two(link: Link) -> Link:
    rows = [ConfigRow(name, "default", {"name": name, "task": f"demo.{name}"}, "d", "p") for name in ("a", "b")]
    await configs.upsert(link, rows, None)
    return link


async def test_a_config_that_nothing_has_happened_to(two: Link) -> None:
    first, second = await overview(two)
    assert (first.config.name, second.config.name) == ("a", "b")
    assert (first.through, first.last, first.running, first.pause) == (None, None, None, None)
    assert (first.waiting, first.waiting_since, first.known_task) == (0, None, False)


async def test_only_the_names_asked_for(two: Link) -> None:
    assert [row.config.name for row in await overview(two, ["b", "nobody"])] == ["b"]
    assert await overview(two, []) == []


async def test_everything_around_a_config(two: Link) -> None:
    runner = uuid4()
    await two.run(RUNNER, {"id": runner, "tasks": {"demo.a": {}, "demo.c": {}}})
    await two.run("insert into task_cursors values ('a', %(at)s)", {"at": START})
    for hours, ok, error in ((0, True, None), (1, False, "x" * 600)):
        await two.run(EXECUTION, {"name": "a", "at": START + hours * HOUR, "ok": ok, "error": error})
    for hours, owner in ((4, runner), (3, runner), (6, None), (5, None)):
        at = START + hours * HOUR
        await two.run(CLAIM, {"name": "a", "at": at, "runner": owner, "started": at if owner else None})
    pause = await overrides.pause(two, "a", "why", "ada", None)
    row, other = await overview(two)
    assert row.through == START
    at = START + HOUR
    assert row.last == LastRun(at, at, at, False, "x" * 500, "schedule")
    assert row.running is not None
    assert (row.running.scheduled_for, row.running.started_at, row.running.runner) == (
        at + 2 * HOUR,
        at + 2 * HOUR,
        "h1:42",
    )
    assert (row.waiting, row.waiting_since) == (2, START + 5 * HOUR)
    assert row.pause is not None
    assert (row.pause.reason, row.pause.actor, row.pause.since, row.pause.until) == (
        "why",
        "ada",
        pause.created_at,
        None,
    )
    assert row.known_task
    assert (other.last, other.running, other.waiting, other.pause, other.known_task) == (None, None, 0, None, False)


async def test_an_expired_pause_is_none(two: Link) -> None:
    await overrides.pause(two, "a", None, "ada", START)
    assert (await overview(two))[0].pause is None


async def test_a_task_that_several_runners_have_is_one_row(two: Link) -> None:
    for _ in range(3):
        await two.run(RUNNER, {"id": uuid4(), "tasks": {"demo.a": {}}})
    assert [row.known_task for row in await overview(two)] == [True, False]


async def test_a_long_history_and_much_waiting_work_are_not_scanned(two: Link) -> None:
    await two.run(
        """insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, trigger, digest)
           select 'n' || n %% 100, s, 't', s, s, true, 'schedule', 'd'
           from generate_series(1, 20000) n, lateral (select %(start)s + n * interval '1 second' as s) x""",
        {"start": START},
    )
    await two.run(
        """insert into task_claims (name, scheduled_for, task, queue, trigger, digest, exclusive)
           select 'n' || n, %(start)s, 't', 'default', 'schedule', 'd', true from generate_series(1, 5000) n""",
        {"start": START},
    )
    await two.run("analyze")
    plan = "\n".join(line for (line,) in await two.run(f"explain {OVERVIEW}", {"names": None}))
    assert "Seq Scan on task_executions" not in plan, plan
    assert "Seq Scan on task_claims" not in plan, plan
    assert "task_claims_waiting" not in plan, plan


async def test_a_pause_by_label_is_shown_where_the_labels_are_and_the_one_that_ends_last_wins(link: Link) -> None:
    labels = {"a": {"team": "data"}, "b": {"team": "data"}, "c": {}}
    rows = [ConfigRow(name, "default", {"name": name, "labels": found}, "d", "p") for name, found in labels.items()]
    await configs.upsert(link, rows, None)
    await overrides.pause(link, {"team": "data"}, "by label", "ada", datetime(2099, 1, 1, tzinfo=UTC))
    await overrides.pause(link, "b", "by name", "bob", None)
    found = {row.config.name: row.pause for row in await overview(link)}
    assert found["c"] is None
    assert found["a"] is not None
    assert (found["a"].reason, found["a"].selector) == ("by label", {"team": "data"})
    assert found["b"] is not None
    assert (found["b"].reason, found["b"].selector) == ("by name", None)


async def test_a_runner_that_has_ended_serves_nothing_and_one_of_another_queue_not_this_one(link: Link) -> None:
    spec = {"name": "a", "task": "demo.a", "queue": "default"}
    await configs.upsert(link, [ConfigRow("a", "default", spec, "d", "p")], None)

    async def served() -> tuple[bool, bool]:
        (row,) = await overview(link)
        return row.known_task, row.is_served

    runner = "insert into runners (id, host, pid, queues, tasks, ended_at) values (%s, 'h', 1, %s::jsonb, %s, %s)"
    await link.run(runner, [uuid4(), '["default"]', {"demo.a": {}}, START])
    assert await served() == (False, False)
    await link.run(runner, [uuid4(), '["heavy"]', {"demo.a": {}}, None])
    assert await served() == (True, False)
    await link.run(runner, [uuid4(), '["heavy", "default"]', {"demo.a": {}, "demo.b": {}}, None])
    assert await served() == (True, True)


async def test_the_waiting_work_that_comes_first_and_how_full_its_queue_is(two: Link) -> None:
    for hours, owner in ((1, uuid4()), (3, None), (2, None)):
        at = START + hours * HOUR
        await two.run(CLAIM, {"name": "a", "at": at, "runner": owner, "started": None})
    assert (await next_waiting(two, ["a", "b"]))["a"].scheduled_for == START + 2 * HOUR
    await two.run("update task_claims set priority = 5 where scheduled_for = %s", [START + 3 * HOUR])
    first = (await next_waiting(two, ["a", "b"]))["a"]
    assert (first.scheduled_for, first.is_owned, first.attempts) == (START + 3 * HOUR, False, [])
    assert await next_waiting(two, []) == {}
    assert await busy_queues(two, ["default", "other"]) == {"default": 1}

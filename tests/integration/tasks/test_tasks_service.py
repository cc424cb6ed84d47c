"""`service.check`: the service's own database, as the runner tells where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

CallTask = Callable[..., Any]

RAN = """
insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, trigger, digest)
select name, s, 'demo', s, s, is_success, 'schedule', 'd'
from (values (%s::text, clock_timestamp() - %s::interval, %s::bool)) as r(name, s, is_success)
"""
WAITS = """
insert into task_claims (name, scheduled_for, task, not_before, queue, trigger, digest, exclusive)
values ('late', now(), 'demo', clock_timestamp() - %s::interval, 'default', 'manual', 'd', true)
"""
RUNNER = """
insert into runners (id, host, pid, queues, tasks, started_at)
values (gen_random_uuid(), 'here', 1, '[]', '{}', clock_timestamp() - %s::interval)
"""


@pytest.fixture
def own(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RECONCILER_DATABASE_URL", database_url)
    return database_url


def run(url: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        cursor = connection.execute(statement, values)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


def test_a_service_that_does_its_work_is_healthy(call_task: CallTask, own: str) -> None:
    run(own, RUNNER, "1 hour")
    run(own, RAN, "a", "1 minute", True)
    run(own, RAN, "b", "1 second", False)
    run(own, WAITS, "1 minute")
    outcome = call_task("service.check", within="5m")
    assert (outcome.error, outcome.result) == (None, {"overdue": 0, "runners": 1})


def test_a_service_that_was_only_just_started_is_not_judged(call_task: CallTask, own: str) -> None:
    run(own, RUNNER, "1 second")
    run(own, RAN, "a", "3 days", True)
    assert call_task("service.check", within="5m").is_success


def test_nothing_but_failures_is_unhealthy(call_task: CallTask, own: str) -> None:
    run(own, RUNNER, "1 hour")
    run(own, RAN, "a", "10 minutes", True)
    run(own, RAN, "a", "1 second", False)
    outcome = call_task("service.check", within="5m")
    assert outcome.error == "UnhealthyError: nothing has succeeded for longer than it should take"
    assert outcome.log == "last success none, 0 overdue, 1 runners\n"


def test_work_that_waits_for_too_long_is_unhealthy(call_task: CallTask, own: str) -> None:
    run(own, RUNNER, "1 second")
    run(own, RAN, "a", "1 second", True)
    run(own, WAITS, "6 minutes")
    outcome = call_task("service.check", within="5m")
    assert outcome.error == "UnhealthyError: 1 occurrences have waited longer than they should"


def test_without_a_runner_that_tells_where_it_is_one_clear_line(
    call_task: CallTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECONCILER_DATABASE_URL", raising=False)
    error = call_task("service.check").error
    assert error == "UnhealthyError: RECONCILER_DATABASE_URL is not set; a runner sets it for its tasks"

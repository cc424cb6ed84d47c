"""A whole runner at its edges: clocks that jump, stores that go away, people who interfere, and its end."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from reconciler.db import byhand, runners
from reconciler.errors import StoreUnavailable
from reconciler.runner import clock, presence, upkeep
from reconciler.scheduler import SchedulerService

House = Any  # of conftest

MORE = """
from reconciler.registry import RetryAfter

@task("t.steps")
async def steps(ctx: TaskContext, seconds: float = 60) -> None:
    ctx.progress(0.25, "a quarter")
    for n in range(int(seconds * 10)):
        print("step", n, flush=True)
        await asyncio.sleep(0.1)

@task("t.since")
async def since(ctx: TaskContext) -> list:
    before = ctx.last_success and ctx.last_success.isoformat()
    return [before, ctx.last_result and ctx.last_result[0]]

class Refused(ConnectionError):
    pass

@task("t.refused")
def refused() -> None:
    raise Refused("no")

@task("t.later")
def later(ctx: TaskContext) -> int:
    if ctx.attempt == 1:
        raise RetryAfter(0.05, "not yet")
    return ctx.attempt
"""


@pytest.fixture
def more(house: House) -> House:
    path = house.directory / "mytasks.py"
    path.write_text(path.read_text() + MORE)
    return house


async def _running(house: House, name: str) -> Any:
    rows = await house.link.run(
        "select scheduled_for, progress from task_claims where name = %s and runner_id is not null", [name]
    )
    return rows[0] if rows else None


# ── people ──


@pytest.mark.parametrize("task", ["t.sleep", "t.block", "t.steps"])
async def test_a_cancelled_run_ends_at_once_for_good_and_says_who(more: House, task: str) -> None:
    await more.config("a", task, retries={"attempts": 3})
    await byhand.trigger(more.link, "a")
    async with more.running():
        await more.until(lambda: _running(more, "a"))
        await more.link.run("update task_claims set cancel_requested = 'cancelled by ada: wrong day'")
        await SchedulerService(more.redis).wake()
        [row] = await more.at_least("a", 1)
    assert (row[1], row[2], row[6]) == (False, "cancelled by ada: wrong day", [])
    assert await more.link.run("select 1 from task_claims") == []


async def test_a_run_that_was_cancelled_while_it_waited_for_a_retry_is_not_called_again(more: House) -> None:
    retries = {"attempts": 3, "backoff": "1h", "max_backoff": "1h"}
    await more.config("a", "t.fail", retries=retries)
    await byhand.trigger(more.link, "a")

    async def in_back_off() -> Any:
        return await more.link.run("select 1 from task_claims where runner_id is null and attempts <> '[]'")

    async with more.running():
        await more.until(in_back_off)
        await more.link.run("update task_claims set cancel_requested = 'cancelled by ada'")
        await SchedulerService(more.redis).wake()
        [row] = await more.at_least("a", 1)
    assert (row[1], row[2]) == (False, "cancelled by ada")
    assert [attempt["error"] for attempt in row[6]] == ["ValueError: attempt 1"]


async def test_how_far_a_run_is_and_what_it_prints_can_be_seen_meanwhile(more: House) -> None:
    await more.config("a", "t.steps")
    instant = await byhand.trigger(more.link, "a")
    await more.link.run("update task_claims set follow = true")
    heard: list[tuple[int, str]] = []

    async def listen() -> None:
        async for piece in SchedulerService(more.redis).logs("a", instant):
            heard.append(piece)

    async def progress() -> Any:
        row = await _running(more, "a")
        return row and row[1]

    async def has_heard() -> bool:
        return len(heard) >= 2

    listening = asyncio.create_task(listen())
    async with more.running():
        found = await more.until(progress)
        await more.until(has_heard)
    listening.cancel()
    assert (found["fraction"], found["text"]) == (0.25, "a quarter")
    [row] = await more.rows("a")
    for offset, text in heard:
        assert row[4][offset : offset + len(text)] == text
    assert row[2] == "the runner was stopped before it finished"


async def test_a_task_sees_what_its_last_success_was_and_returned(more: House) -> None:
    await more.config("a", "t.since")
    async with more.running():
        await byhand.trigger(more.link, "a")
        await more.at_least("a", 1)
        await byhand.trigger(more.link, "a")
        first, second = await more.at_least("a", 2)
    assert first[3] == [None, None]
    assert second[3] == [first[0].isoformat(), None]


# ── attempts ──


async def test_an_exception_is_known_by_its_bases_when_it_comes_from_another_process(more: House) -> None:
    for name, rule in {"retried": {"retry_on": ["OSError"]}, "given-up": {"give_up_on": ["ConnectionError"]}}.items():
        await more.config(name, "t.refused", retries={"attempts": 2, "backoff": "10ms", "max_backoff": "10ms", **rule})
        await byhand.trigger(more.link, name)
    async with more.running():
        [retried] = await more.at_least("retried", 1)
        [given_up] = await more.at_least("given-up", 1)
    assert [attempt["error"] for attempt in retried[6]] == ["Refused: no"]
    assert given_up[6] == []


async def test_a_task_says_itself_when_it_is_to_be_tried_again(more: House) -> None:
    await more.config("a", "t.later", retries={"attempts": 2, "backoff": "1h", "max_backoff": "1h"})
    await byhand.trigger(more.link, "a")
    async with more.running():
        [row] = await more.at_least("a", 1)
    assert (row[1], row[3], len(row[6])) == (True, 2, 1)
    assert "not yet" in row[6][0]["error"]


@pytest.mark.parametrize("task", ["t.sleep", "t.block"])
async def test_a_run_is_cut_short_at_its_deadline_and_says_so(more: House, task: str) -> None:
    deadline = {"finish": "1500ms"}
    await more.config("a", task, schedule=["@every 3s"], deadline=deadline, timeout="1m", retries={"attempts": 5})
    async with more.running():
        [row, *_] = await more.at_least("a", 1)
    assert row[1] is False
    assert row[2].startswith("had to finish within 1s500ms of its instant")
    assert row[4] == "begun\n"


# ── the end ──


async def test_a_stop_takes_nothing_more_and_what_it_cuts_short_goes_on_elsewhere(house: House) -> None:
    await house.config("often", "t.quick", schedule=["@every 1s"])
    await house.config("long", "t.sleep", retries={"attempts": 2, "backoff": "0s", "max_backoff": "0s"})
    await byhand.trigger(house.link, "long")
    async with house.running(shutdown_grace="2500ms"):
        await house.until(lambda: _running(house, "long"))
        await house.at_least("often", 1)
        await byhand.trigger(house.link, "often")  # and nobody is woken
        stopped_at = datetime.now(UTC)
    late = [row for row in await house.rows("often") if row[0] > stopped_at + timedelta(seconds=0.5)]
    assert late == []
    rows = await house.link.run("select name, runner_id, attempts from task_claims where name = 'long'")
    [(_, owner, [attempt])] = rows
    assert (owner, attempt["error"]) == (None, "the runner was stopped before it finished")
    assert await house.rows("long") == []


async def test_what_waits_for_its_turn_at_a_stop_is_handed_back_without_an_attempt(
    more: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> Any:
        raise StoreUnavailable("postgresql: away")

    from reconciler.runner import contexts

    monkeypatch.setattr(contexts.underway, "last_successes", away)
    await more.config("a", "t.since")
    await byhand.trigger(more.link, "a")
    async with more.running():
        await more.until(lambda: _running(more, "a"))
    assert await more.link.run("select runner_id, attempts from task_claims") == [(None, [])]
    assert await more.rows("a") == []


# ── stores and clocks ──


async def test_an_outage_is_noted_once_it_is_over(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.config("a", "t.quick", schedule=["@every 1s"])

    async def away(*_: Any) -> Any:
        raise StoreUnavailable("redis: unix:///r.sock: it is gone")

    async def noted() -> Any:
        return await house.link.run("select runner, what, ended_at - began_at from outages")

    async with house.running() as runner:
        await house.at_least("a", 1)
        with monkeypatch.context() as patch:
            patch.setattr(runner._scheduler, "take", away)
            await asyncio.sleep(1.5)
        [(place, what, length)] = await house.until(noted)
    assert place == runner.running.runner
    assert what == "redis: unix:///r.sock: it is gone"
    assert length > timedelta(seconds=1)


async def test_redis_is_put_right_by_a_runner_that_has_no_sync_loop_beside_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "ALIGN_EVERY", 0.1)
    async with house.running():
        await house.config("a", "t.quick", schedule=["@every 1s"])  # and nobody tells Redis

        async def is_run() -> bool:
            # Again and again: an alignment that began before the config was there says that it was done.
            await house.redis.client.delete(f"{house.redis.prefix}schedule:aligned")
            return bool(await house.rows("a"))

        await house.until(is_run)


class Steps(datetime):
    """A host clock that is off, by as much as a test says."""

    off = timedelta(0)

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + cls.off


def _step(monkeypatch: pytest.MonkeyPatch, real: Any, hours: float) -> None:
    Steps.off = timedelta(hours=hours)
    monkeypatch.setattr(time, "time", lambda: real() + hours * 3600)


async def test_a_host_clock_that_jumps_fires_nothing_early_or_twice_and_stops_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    monkeypatch.setattr(clock, "datetime", Steps)
    _step(monkeypatch, real, 1)  # off already when it starts
    await house.config("a", "t.quick", schedule=["@every 1s"])
    await house.config("hourly", "t.quick", schedule=["@every 1h"])
    async with house.running():
        for hours in (1, -1, 0, 1, -1):
            _step(monkeypatch, real, hours)
            seen = len(await house.rows("a"))
            await house.at_least("a", seen + 2)
    rows = await house.link.run("select scheduled_for, started_at from task_executions where name = 'a' order by 1")
    assert all(timedelta(0) <= started - instant < timedelta(minutes=1) for instant, started in rows)
    assert len({instant for instant, _ in rows}) == len(rows)
    within = await house.link.run("select count(*) from task_executions where name = 'hourly'")
    assert within[0][0] <= 1  # where the test itself went over the hour


async def test_where_postgresqls_clock_goes_back_nothing_fires_again_until_it_has_caught_up(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from dataclasses import replace

    real, off = runners.beat, [timedelta(0)]

    async def beat(*args: Any, **named: Any) -> Any:
        told = await real(*args, **named)
        return replace(told, server_now=told.server_now + off[0])

    monkeypatch.setattr(presence.runners, "beat", beat)

    async def is_behind() -> bool:
        return runner.clock.now() < datetime.now(UTC) - timedelta(minutes=30)

    async def is_not() -> bool:
        return not await is_behind()

    await house.config("a", "t.quick", schedule=["@every 1s"])
    async with house.running() as runner:
        await house.at_least("a", 2)
        through = "select through from task_cursors"
        off[0] = timedelta(hours=-1)
        await house.until(is_behind)
        await asyncio.sleep(0.2)
        before = await house.rows("a"), await house.link.run(through)
        await asyncio.sleep(2.2)
        assert (await house.rows("a"), await house.link.run(through)) == before
        off[0] = timedelta(0)
        await house.until(is_not)
        await house.at_least("a", len(before[0]) + 2)
    instants = [row[0] for row in await house.rows("a")]
    assert len(set(instants)) == len(instants)
    assert sum("clock went back" in record.message for record in caplog.records) == 1


async def test_a_runner_that_cannot_beat_cancels_what_it_runs_and_that_time_is_an_outage(
    house: House, database_url: str
) -> None:
    await house.config("a", "t.sleep", retries={"attempts": 2, "backoff": "1h", "max_backoff": "1h"})
    await byhand.trigger(house.link, "a")

    async def cut_short() -> Any:
        rows = await house.link.run("select attempts from task_claims where runner_id is null")
        return rows and rows[0][0]

    async def noted() -> Any:
        return await house.link.run("select ended_at - began_at from outages")

    async with house.running():
        await house.until(lambda: _running(house, "a"))
        async with await psycopg.AsyncConnection.connect(database_url) as other:
            await other.execute("lock table runners in exclusive mode")
            [attempt] = await house.until(cut_short)
        [(length,)] = await house.until(noted)
    assert attempt["error"] == "cancelled: PostgreSQL could not be reached for a whole lease"
    assert length > timedelta(seconds=1)

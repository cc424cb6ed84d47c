"""Runs under way and who looks at them: cancelling, reading along, progress, what came before, Redis kept whole."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from reconciler.align import align
from reconciler.db import byhand, claims, underway
from reconciler.db.link import Link
from reconciler.errors import StoreUnavailable
from reconciler.execute import Call, Outcome
from reconciler.runner import contexts
from reconciler.runner.attending import Attendant
from reconciler.runner.clock import Clock
from reconciler.runner.contexts import Contexts
from reconciler.runner.running import Run, Running
from reconciler.runner.upkeep import align_if_nobody_does
from reconciler.scheduler import RedisServiceManager, SchedulerService
from reconciler.spec import TaskSpec

ME = UUID(int=7)


@dataclass
class Desk:
    """An attendant, whose children only note what they are told."""

    link: Link
    scheduler: SchedulerService
    is_asking: bool = False
    stopped: list[tuple[str, str]] = field(default_factory=list)
    followed: list[str] = field(default_factory=list)
    submitted: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        slots = {True: 10, False: 10}
        self.running = Running(Clock(), "here:1", slots, asyncio.Event(), lambda task: self.is_asking)
        self.attendant = Attendant(
            ME,
            self.link,
            self.scheduler,
            self.running,
            cancel=lambda call_id, why: self.stopped.append((call_id, why)),
            follow=lambda call_id, on: self.followed.append(call_id),
        )
        self.contexts = Contexts(self.link, self.running, self.submitted.extend)

    async def begun(self, name: str = "a", **fields: Any) -> Run:
        spec = TaskSpec.from_document({"name": name, "task": "t.a", "overlap": "allow", **fields})
        values = [name, Jsonb(spec.document()), spec.digest]
        await self.link.run(
            "insert into task_configs (name, source, spec, digest, path) values (%s, 'default', %s, %s, 'a')"
            " on conflict do nothing",
            values,
        )
        await self.link.run("insert into task_cursors (name) values (%s) on conflict do nothing", [name])
        await byhand.trigger(self.link, name)
        [claim] = await claims.pick_up(self.link, ME, ["default"], ["t.a"], 1)
        run = Run(claim, spec, True)
        self.submitted += self.running.begin([run])
        return run

    async def ask(self, run: Run, what: str) -> None:
        await self.link.run(f"update task_claims set {what} where token = %s", [run.claim.token])
        self.attendant.woken.set()

    def ends(self, run: Run, error: str | None = None) -> None:
        now = time.monotonic()
        self.running.settle([(str(run.claim.token), Outcome(error is None, now, now, error))])


@pytest.fixture
async def desk(link: Link, scheduler: SchedulerService) -> AsyncIterator[Desk]:
    desk = Desk(link, scheduler)
    tasks = [
        asyncio.create_task(part) for part in (desk.attendant.attend(), desk.attendant.publish(), desk.contexts.run())
    ]
    yield desk
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], Any | Awaitable[Any]], seconds: float = 20) -> Any:
    async with asyncio.timeout(seconds):
        while True:
            value = condition()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return value
            await asyncio.sleep(0.02)


async def test_what_somebody_wants_ended_is_told_so_once_and_not_tried_again(desk: Desk) -> None:
    run = await desk.begun(retries={"attempts": 9})
    other = await desk.begun()
    await desk.ask(run, "cancel_requested = 'cancelled by ada'")
    await until(lambda: desk.stopped)
    for _ in range(3):
        desk.attendant.woken.set()
        await until(lambda: not desk.attendant.woken.is_set())
    assert desk.stopped == [(str(run.claim.token), "cancelled by ada")]
    desk.ends(run, "cancelled by ada")
    desk.ends(other)
    await desk.running.flush(desk.link, 5)
    rows = await desk.link.run("select is_success, error from task_executions order by 1")
    assert rows == [(False, "cancelled by ada"), (True, None)]


async def test_it_is_heard_without_a_wake_too(desk: Desk) -> None:
    run = await desk.begun()
    await desk.link.run("update task_claims set cancel_requested = 'why not' where token = %s", [run.claim.token])
    await until(lambda: desk.stopped)


async def test_who_reads_along_gets_what_is_printed_with_its_place(desk: Desk) -> None:
    run = await desk.begun()
    call_id = str(run.claim.token)
    heard: list[tuple[int, str]] = []

    async def listen() -> None:
        async for piece in desk.scheduler.logs("a", run.claim.scheduled_for):
            heard.append(piece)

    listening = asyncio.create_task(listen())
    await desk.ask(run, "follow = true")
    await until(lambda: desk.followed == [call_id])
    while not heard:  # until the listener is there
        desk.attendant.on_output(call_id, 0, "one ü\n")
        await asyncio.sleep(0.02)
    desk.attendant.on_output(call_id, 6, "two\n")
    desk.attendant.on_output("somebody else's", 0, "no")
    await until(lambda: (6, "two\n") in heard)
    assert set(heard) == {(0, "one ü\n"), (6, "two\n")}
    desk.attendant.woken.set()
    await until(lambda: not desk.attendant.woken.is_set())
    assert desk.followed == [call_id]
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening


async def test_output_that_redis_cannot_take_costs_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await desk.begun()

    async def away(*_: Any) -> None:
        raise StoreUnavailable("redis: away")

    monkeypatch.setattr(desk.scheduler, "publish_log", away)
    for n in range(10_000):
        desk.attendant.on_output(str(run.claim.token), n, "x")
    await until(lambda: not desk.attendant._pieces)


async def test_progress_is_written_the_newest_only(desk: Desk) -> None:
    run = await desk.begun()
    for n in range(1000):
        desk.attendant.on_progress(str(run.claim.token), n / 1000, f"{n} rows")
    desk.attendant.on_progress("somebody else's", 0.5, "")

    async def progress() -> Any:
        return (await desk.link.run("select progress from task_claims"))[0][0]

    found = await until(progress)
    assert (found["fraction"], found["text"]) == (0.999, "999 rows")
    assert found["at"].endswith("Z")


async def test_progress_that_could_not_be_written_is_written_later(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tries = underway.progress, []

    async def away_at_first(*args: Any) -> None:
        tries.append(args)
        if len(tries) == 1:
            raise StoreUnavailable("postgresql: away")
        await real(*args)

    monkeypatch.setattr(underway, "progress", away_at_first)
    run = await desk.begun()
    desk.attendant.on_progress(str(run.claim.token), 0.4, "")

    async def is_written() -> bool:
        return (await desk.link.run("select progress from task_claims"))[0][0] is not None

    await until(is_written)
    assert len(tries) == 2


# ── what came before ──


async def test_a_task_that_asks_what_came_before_is_told_and_the_others_do_not_wait(desk: Desk) -> None:
    first = await desk.begun()
    now = time.monotonic()
    desk.running.settle([(str(first.claim.token), Outcome(True, now, now, result={"rows": 3}))])
    await desk.running.flush(desk.link, 5)
    assert [call.last_success for call in desk.submitted] == [None]
    desk.submitted.clear()
    desk.is_asking = True
    run = await desk.begun()
    await until(lambda: desk.submitted)
    [call] = desk.submitted
    assert (call.id, call.last_success, call.last_result) == (
        str(run.claim.token),
        first.claim.scheduled_for,
        {"rows": 3},
    )


async def test_while_it_cannot_be_read_the_call_waits_and_can_be_ended(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> Any:
        raise StoreUnavailable("postgresql: away")

    desk.is_asking = True
    with monkeypatch.context() as patch:
        patch.setattr(contexts.underway, "last_successes", away)
        ended, lost, kept = [await desk.begun() for _ in range(3)]
        assert desk.running.free(True) == 7
        desk.attendant.cancel(str(ended.claim.token), "cancelled by ada", is_asked=True)
        desk.attendant.cancel(str(lost.claim.token), "out of touch")
    await until(lambda: desk.submitted)
    assert [call.id for call in desk.submitted] == [str(kept.claim.token)]
    assert desk.stopped == []
    await desk.running.flush(desk.link, 5)
    assert await desk.link.run("select error from task_executions") == [("cancelled by ada",)]
    rows = await desk.link.run("select token, attempts from task_claims order by token nulls last")
    assert rows == [(kept.claim.token, []), (None, [])]


# ── Redis kept whole ──


async def test_redis_is_aligned_only_where_nobody_did_within_the_last_minute(
    desk: Desk, redis: RedisServiceManager
) -> None:
    assert await align_if_nobody_does(desk.link, desk.scheduler, desk.running)
    assert not await align_if_nobody_does(desk.link, desk.scheduler, desk.running)
    assert 0 < await redis.client.pttl(f"{redis.prefix}schedule:aligned") <= 60_000
    await redis.client.delete(f"{redis.prefix}schedule:aligned")
    await align(desk.link, desk.scheduler, now=desk.running.clock.now(), names=["a"])  # not all of it
    assert await align_if_nobody_does(desk.link, desk.scheduler, desk.running)


async def test_a_server_clock_that_went_back_is_said_once_and_that_it_caught_up(
    link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    from datetime import UTC, datetime, timedelta

    from reconciler.runner.beating import Beats

    beats, noon = Beats(ME, link, Clock(), 30), datetime(2026, 1, 1, 12, tzinfo=UTC)
    caplog.set_level(logging.INFO, "reconciler.runner")
    for minutes in (0, -60, -59, -30, 0, 1):
        beats._tell_if_behind(noon + timedelta(minutes=minutes))
    assert [record.message for record in caplog.records] == [
        "PostgreSQL's clock went back by 3600 s: nothing fires until it has caught up, at 12:00:00 UTC",
        "PostgreSQL's clock has caught up with what it was before it went back",
    ]

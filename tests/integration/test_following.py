"""A follower on real stores: what follows from results comes soon, wakes the runners, and survives an outage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from reconciler.db import overrides
from reconciler.db.link import Link, Params, Row
from reconciler.errors import Refused, StoreUnavailable
from reconciler.gitrepo import Revision
from reconciler.plan.guards import Options
from reconciler.runner import following
from reconciler.runner.clock import Clock
from reconciler.runner.following import Follower
from reconciler.scheduler import RedisServiceManager, SchedulerService
from reconciler.spec import TaskSpec
from reconciler.spec.by_digest import spec_of
from reconciler.spec.specset import LocatedSpec, SpecSet
from reconciler.sync.reconcile import Request, reconcile

WAIT = 20.0
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def located(name: str, **fields: Any) -> LocatedSpec:
    spec = TaskSpec.model_validate({"name": name, "task": "t", **fields})
    return LocatedSpec(spec, f"{name}.yaml", 1, spec.digest)


async def apply(link: Link, scheduler: SchedulerService, *specs: LocatedSpec, adopt: bool = False) -> None:
    request = Request(Options(adopt=adopt), "ada", Revision("a" * 40, False, "Ada", "s"))
    outcome = await reconcile(SpecSet(specs, files=len(specs)), link, scheduler, request)
    assert not outcome.faults


async def ran(link: Link, name: str, when: datetime, error: str | None = None) -> dict[str, Any]:
    """The final row of a run, written; and its values."""
    row = {"name": name, "scheduled_for": when, "is_success": error is None, "error": error, "digest": ""}
    [(row["digest"],)] = await link.run(
        "select coalesce((select digest from task_configs where name = %s), '')", [name]
    )
    await link.run(
        "insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, error, trigger,"
        " digest) values (%s, %s, 't', clock_timestamp(), clock_timestamp(), %s, %s, 'schedule', %s)",
        list(row.values()),
    )
    return row


async def now(link: Link) -> datetime:
    [(moment,)] = await link.run("select clock_timestamp()")
    return moment


async def through(link: Link, name: str) -> datetime | None:
    [(moment,)] = await link.run("select after_through from task_cursors where name = %s", [name])
    return moment


async def waiting(link: Link) -> list[str]:
    return [name for (name,) in await link.run("select name from task_claims where trigger = 'after' order by name")]


async def until(condition: Callable[[], Awaitable[Any]]) -> None:
    async with asyncio.timeout(WAIT):
        while not await condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(follower: Follower) -> AsyncIterator[None]:
    task = asyncio.create_task(follower.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def follower(database_url: str, scheduler: SchedulerService) -> AsyncIterator[Follower]:
    link = Link(database_url)
    yield Follower(link, scheduler, Clock())
    await link.close()


async def test_a_success_is_followed_at_a_hint_and_the_runners_are_woken(
    link: Link, scheduler: SchedulerService, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "SWEEP", 600.0)
    woken = asyncio.Event()

    async def listen() -> None:
        async for _ in scheduler.wakes():
            woken.set()

    listening = asyncio.create_task(listen())
    await apply(link, scheduler, located("a"), located("c", after=["a"]), located("d", after=["b"]))
    async with running(follower):
        await until(lambda: _is_known(follower, "a"))
        async with asyncio.timeout(WAIT):
            await woken.wait()  # it says so once when it listens
        woken.clear()
        follower.finished([await ran(link, "a", await now(link))])
        await until(lambda: waiting(link))
        async with asyncio.timeout(WAIT):
            await woken.wait()
    assert await waiting(link) == ["c"]
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def _is_known(follower: Follower, upstream: str) -> bool:
    return upstream in follower._followers


async def test_what_another_runner_wrote_is_followed_without_a_hint(
    link: Link, scheduler: SchedulerService, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "SWEEP", 0.05)
    monkeypatch.setattr(following, "SHARE", 0)
    await apply(link, scheduler, located("a"), located("c", after=["a"]))
    async with running(follower):
        await ran(link, "a", await now(link))
        await until(lambda: waiting(link))


async def test_a_chain_is_followed_to_its_end(link: Link, scheduler: SchedulerService, follower: Follower) -> None:
    await apply(link, scheduler, located("a"), located("b", after=["a"]), located("c", after=["b"]))
    await ran(link, "a", await now(link))
    await follower.sweep()
    assert await waiting(link) == ["b"]
    [(instant,)] = await link.run("delete from task_claims returning scheduled_for")
    await ran(link, "b", instant)
    await follower.sweep()
    assert await link.run("select name, scheduled_for from task_claims") == [("c", instant)]


async def test_too_many_failures_pause_a_task_in_both_stores(
    link: Link, scheduler: SchedulerService, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "SWEEP", 600.0)
    spec = located("a", schedule="@every 1h", pause_after_failures=2)
    await apply(link, scheduler, spec)
    [(config_id,)] = await link.run("select id from task_configs")

    async def state() -> bool:
        return (await scheduler.status([config_id]))[config_id]["state"] == "paused"

    spec_of(spec.digest, spec.spec.document())
    async with running(follower):
        for _ in range(2):
            assert not await state()
            follower.finished([await ran(link, "a", await now(link), error="boom")])
        await until(state)
    [pause] = await overrides.active(link)
    assert (pause.name, pause.reason) == ("a", "2 failures in a row, the last: boom")
    assert (await scheduler.status([config_id]))[config_id]["reason"] == pause.reason


async def test_redis_hears_of_a_pause_later_where_it_was_away(
    link: Link, scheduler: SchedulerService, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    await apply(link, scheduler, located("a", schedule="@every 1h", pause_after_failures=1))
    await ran(link, "a", await now(link), error="boom")
    away = SchedulerService(RedisServiceManager("redis://127.0.0.1:1/0"))
    monkeypatch.setattr(follower, "_scheduler", away)
    with pytest.raises(StoreUnavailable):
        await follower.sweep()
    monkeypatch.setattr(follower, "_scheduler", scheduler)
    await follower.sweep()
    [(config_id,)] = await link.run("select id from task_configs")
    assert (await scheduler.status([config_id]))[config_id]["state"] == "paused"
    assert len(await overrides.active(link)) == 1


class Flaky(Link):
    """Away for its first statements."""

    failures = 2

    async def run(self, statement: str, params: Params = None) -> list[Row]:
        if self.failures > 0:
            self.failures -= 1
            raise StoreUnavailable("postgresql: away")
        return await super().run(statement, params)


async def test_an_outage_makes_it_wait_and_never_ends_it(
    link: Link, database_url: str, scheduler: SchedulerService
) -> None:
    await apply(link, scheduler, located("a"), located("c", after=["a"]))
    await ran(link, "a", await now(link))
    flaky = Flaky(database_url)
    async with running(Follower(flaky, scheduler, Clock())):
        await until(lambda: waiting(link))
    await flaky.close()


async def set_through(link: Link, moment: datetime) -> None:
    await link.run("update task_cursors set after_through = %s where name = 'c'", [moment])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"after": ["a"]}, {"after": ["b"]}),
        ({"after": []}, {"after": ["a"]}),
        ({"after": ["a"], "suspend": True}, {"after": ["a"]}),
    ],
)
async def test_who_begins_to_wait_follows_nothing_of_the_past(
    link: Link, scheduler: SchedulerService, follower: Follower, before: dict[str, Any], after: dict[str, Any]
) -> None:
    await apply(link, scheduler, located("a"), located("b"), located("c", **before))
    await set_through(link, LONG_AGO)
    for name in ("a", "b"):
        await ran(link, name, await now(link))
    await apply(link, scheduler, located("a"), located("b"), located("c", **after))
    await follower.sweep()
    assert await waiting(link) == []
    for name in ("a", "b"):
        await ran(link, name, await now(link))
    await follower.sweep()
    assert await waiting(link) == ["c"]


async def test_other_edits_do_not_disturb_the_waiting(link: Link, scheduler: SchedulerService) -> None:
    await apply(link, scheduler, located("a"), located("c", after=["a"]))
    await set_through(link, LONG_AGO)
    await apply(link, scheduler, located("a"), located("c", after=["a"], timeout="1m", schedule="@hourly"))
    assert await through(link, "c") == LONG_AGO


async def test_an_adopted_and_a_new_name_wait_from_now_on(link: Link, scheduler: SchedulerService) -> None:
    began = await now(link)
    await apply(link, scheduler, located("c", after=["a"]))
    first = await through(link, "c")
    assert first and first >= began
    await link.run("update task_configs set source = 'other'")
    await set_through(link, LONG_AGO)
    await apply(link, scheduler, located("c", after=["a"]), adopt=True)
    second = await through(link, "c")
    assert second and second > first


async def test_a_name_that_comes_back_does_not_follow_what_was_meanwhile(
    link: Link, scheduler: SchedulerService, follower: Follower
) -> None:
    await apply(link, scheduler, located("a"), located("c", after=["a"]))
    await apply(link, scheduler, located("a"))
    await set_through(link, await now(link) - timedelta(hours=1))
    await ran(link, "a", await now(link))
    await apply(link, scheduler, located("a"), located("c", after=["a"]))
    await follower.sweep()
    assert await waiting(link) == []


async def test_a_config_that_says_nothing_of_waiting_is_no_trouble(link: Link, follower: Follower) -> None:
    await link.run(
        "insert into task_configs (name, source, spec, digest, path) values ('old', 'default', %s, 'd', 'a.yaml')",
        [Jsonb({"name": "old", "task": "t"})],
    )
    await follower.sweep()


async def test_a_circle_that_leads_through_what_is_in_force_is_refused(link: Link, scheduler: SchedulerService) -> None:
    await apply(link, scheduler, located("a", after=["b"]), located("b"))
    with pytest.raises(Refused, match=r"^after: a -> b -> a goes round in a circle; remove one of these: nothing is"):
        await apply(link, scheduler, located("a", after=["b"]), located("b", after=["a"]))
    assert await link.run("select count(*) from task_configs where spec -> 'after' <> '[]'") == [(1,)]

"""What is changed by hand in a store is found in one pass, put right or reported, and nothing of the past fires."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from reconciler.align import align, look
from reconciler.db import configs, drifts, overrides
from reconciler.db.drifts import Drift
from reconciler.db.link import Link
from reconciler.db.tampered import tampered
from reconciler.gitrepo import Revision
from reconciler.plan.guards import Options
from reconciler.scheduler import RedisServiceManager, SchedulerService
from reconciler.spec import TaskSpec
from reconciler.spec.specset import LocatedSpec, SpecSet
from reconciler.sync.reconcile import Pass, Request, reconcile

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
REVISION = Revision("a1b2c3d4" * 5, False, "Ada", "nightly at three")


def located(name: str, **fields: Any) -> LocatedSpec:
    spec = TaskSpec.model_validate({"name": name, "task": "t.quick", "schedule": "0 2 * * *"} | fields)
    return LocatedSpec(spec, f"{name}.yaml", 1, spec.digest)


READ = SpecSet((located("a"), located("b", suspend=True), located("c", schedule=[])), files=3)


async def passed(link: Link, scheduler: SchedulerService, drift: Any = "correct", read: SpecSet = READ) -> Pass:
    scheduler.modes = {"default": drift}
    outcome = await reconcile(read, link, scheduler, Request(Options(drift=drift), "ada", REVISION))
    assert outcome.trouble is None
    return outcome


async def everything(link: Link) -> list[Any]:
    """Both tables that a pass puts right, without what only says when."""
    found = await link.run("select name, source, spec, digest, path from task_configs order by name")
    return [*found, *await link.run("select name from task_cursors order by name")]


async def noted(link: Link, *, ended: bool = True) -> list[Drift]:
    return await drifts.listing(link, ended=ended)


# ── PostgreSQL ──

BY_HAND: list[tuple[str, str, set[str]]] = [
    ("update task_configs set spec = jsonb_set(spec, '{timeout}', '\"9m\"') where name = 'a'", "a", {"spec.timeout"}),
    ("update task_configs set spec = spec - 'description' where name = 'a'", "a", set()),
    (
        "update task_configs set spec = jsonb_set(spec, '{schedule}', '[\"* * * * *\"]') where name = 'a'",
        "a",
        {"spec.schedule"},
    ),
    ("update task_configs set spec = jsonb_set(spec, '{suspend}', 'false') where name = 'b'", "b", {"spec.suspend"}),
    ("update task_configs set digest = 'x' where name = 'a'", "a", {"digest"}),
    ("update task_configs set path = 'other.yaml' where name = 'a'", "a", {"path"}),
    ("update task_configs set source = 'other' where name = 'a'", "a", {"source"}),
    ("delete from task_configs where name = 'a'", "a", {"config"}),
    ("delete from task_cursors where name = 'a'", "a", {"cursor"}),
    (
        "insert into task_configs (name, source, spec, digest, path)"
        " select 'mine', source, spec, digest, path from task_configs where name = 'a'",
        "mine",
        {"config", "cursor"},
    ),
]


@pytest.mark.parametrize(("statement", "name", "fields"), BY_HAND, ids=[each[0] for each in BY_HAND])
async def test_what_was_changed_in_postgresql_is_put_right_in_one_pass(
    link: Link, scheduler: SchedulerService, statement: str, name: str, fields: set[str]
) -> None:
    await passed(link, scheduler)
    before = await everything(link)
    await link.run(statement)
    await passed(link, scheduler)
    assert await everything(link) == before
    found = [one for one in await noted(link) if one.side == "postgresql"]
    assert [(one.name, one.ending, fields <= set(one.detail)) for one in found] == [(name, "corrected", True)]
    again = await passed(link, scheduler)
    assert again.plan and not again.plan.has_changes and again.aligned == 0
    assert len([one for one in await noted(link) if one.side == "postgresql"]) == 1


@pytest.mark.parametrize(("statement", "name", "fields"), BY_HAND, ids=[each[0] for each in BY_HAND])
async def test_it_is_only_reported_where_the_source_says_so(
    link: Link, scheduler: SchedulerService, statement: str, name: str, fields: set[str]
) -> None:
    await passed(link, scheduler)
    await link.run(statement)
    changed = await everything(link)
    for _ in range(2):
        outcome = await passed(link, scheduler, "detect")
        assert outcome.plan and not outcome.plan.has_changes
        assert await everything(link) == changed
        [one] = [one for one in await noted(link) if one.side == "postgresql"]
        assert (one.name, one.ended_at) == (name, None)
        assert fields <= set(one.detail)
    await passed(link, scheduler)
    [one] = [one for one in await noted(link) if one.side == "postgresql"]
    assert one.ending == "corrected"


@pytest.mark.parametrize(("statement", "name", "fields"), BY_HAND, ids=[each[0] for each in BY_HAND])
async def test_it_is_left_and_not_mentioned_where_the_source_says_so(
    link: Link, scheduler: SchedulerService, statement: str, name: str, fields: set[str]
) -> None:
    await passed(link, scheduler)
    await link.run(statement)
    changed = await everything(link)
    await passed(link, scheduler, "ignore")
    assert await everything(link) == changed
    assert [one for one in await noted(link) if one.side == "postgresql"] == []


async def test_what_comes_back_fires_nothing_of_the_past(link: Link, scheduler: SchedulerService) -> None:
    await passed(link, scheduler)
    for statement in (
        "delete from task_cursors where name = 'a'",
        "delete from task_configs where name = 'a'",
        "update task_configs set spec = jsonb_set(spec, '{schedule}', '[\"* * * * *\"]') where name = 'a'",
    ):
        await link.run("update task_cursors set through = %s where name = 'a'", [LONG_AGO])
        await link.run(statement)
        [(before,)] = await link.run("select clock_timestamp()")
        await passed(link, scheduler)
        [(through,)] = await link.run("select through from task_cursors where name = 'a'")
        assert through >= before
        [config] = await configs.load(link, ["a"])
        kept = await scheduler.status([config.id])
        assert kept[config.id]["next_run"] > before


async def test_what_somebody_puts_back_himself_has_its_end(link: Link, scheduler: SchedulerService) -> None:
    await passed(link, scheduler)
    await link.run("update task_configs set path = 'other.yaml' where name = 'a'")
    await passed(link, scheduler, "detect")
    await link.run("update task_configs set path = 'a.yaml' where name = 'a'")
    await passed(link, scheduler, "detect")
    assert [(one.name, one.ending) for one in await noted(link)] == [("a", "gone")]


async def test_a_moved_file_and_an_adoption_are_nobodys_drift(link: Link, scheduler: SchedulerService) -> None:
    await passed(link, scheduler)
    moved = SpecSet((LocatedSpec(READ.specs[0].spec, "new/a.yaml", 1, READ.specs[0].digest), *READ.specs[1:]), files=3)
    await passed(link, scheduler, read=moved)
    await reconcile(moved, link, scheduler, Request(Options(source="two", adopt=True), "ada", REVISION))
    async with link.transaction() as tx:
        assert await tampered(tx) == []
    assert await noted(link) == []


async def test_a_look_after_a_good_one_holds_only_what_is_new_against_the_revisions(
    link: Link, scheduler: SchedulerService
) -> None:
    await passed(link, scheduler)
    await passed(link, scheduler)
    # Whoever changes the revisions themselves is not found: this shows that nobody looked.
    await link.run("update task_revisions set path = 'elsewhere.yaml'")
    async with link.transaction() as tx:
        assert await tampered(tx) == []
    await link.run("update task_configs set updated_at = updated_at where name = 'a'")
    async with link.transaction() as tx:
        assert [one.name for one in await tampered(tx)] == ["a"]
    await link.close()
    async with link.transaction() as tx:
        assert [one.name for one in await tampered(tx)] == ["a", "b", "c"]


# ── Redis ──

IN_REDIS: list[tuple[str, set[str]]] = [
    ("DEL schedule:status:{a}", {"entry"}),
    ("HSET schedule:status:{a} state suspended", {"state"}),
    ("HSET schedule:status:{a} digest other", {"digest"}),
    ("HSET schedule:status:{a} next_run 9999999999999", {"next_run"}),
    ("HSET schedule:status:{a} next_run 17", {"next_run"}),
    ("HSET schedule:status:{a} next_run soon", {"next_run"}),
    ("HDEL schedule:status:{a} next_run", {"next_run"}),
    ("HDEL schedule:status:{a} digest", {"digest"}),
    ("HSET schedule:status:{a} queue other", {"queue"}),
    ("HSET schedule:status:{a} state paused reason mine", {"state", "reason"}),
    ("HSET schedule:status:{b} state active", {"state"}),
    ("ZREM schedule:due:default {a}", {"score"}),
    ("ZADD schedule:due:default 9999999999999 {a}", {"score"}),
    ("ZADD schedule:due:default 17 {b}", {"score"}),
    ("DEL schedule:due:default", {"score"}),
]


async def tamper(client: Redis, prefix: str, command: str, ids: dict[str, int]) -> None:
    verb, key, *rest = command.format(**ids).split()
    await client.execute_command(verb, prefix + key, *rest)


async def kept(link: Link, scheduler: SchedulerService) -> dict[int, Any]:
    return await scheduler.status([key.id for key in await configs.keys(link)])


@pytest.mark.parametrize(("command", "fields"), IN_REDIS, ids=[each[0] for each in IN_REDIS])
@pytest.mark.parametrize("mode", ["correct", "detect", "ignore"])
async def test_what_was_changed_in_redis_is_found_in_one_pass(
    link: Link, redis: RedisServiceManager, scheduler: SchedulerService, command: str, fields: set[str], mode: Any
) -> None:
    await passed(link, scheduler)
    ids = {key.name: key.id for key in await configs.keys(link)}
    before = await kept(link, scheduler)
    await tamper(redis.client, redis.prefix, command, ids)
    changed = await kept(link, scheduler)
    assert changed != before
    [now] = (await link.run("select clock_timestamp()"))[0]
    [live] = await look(link, scheduler, now)
    assert fields <= set(live.fields)
    for _ in range(2):
        await passed(link, scheduler, mode)
    assert await kept(link, scheduler) == (before if mode == "correct" else changed)
    found = [(one.name, one.side, one.ending, fields <= set(one.detail)) for one in await noted(link)]
    name = "b" if "{b}" in command else "a"
    ending = "corrected" if mode == "correct" else None
    assert found == ([] if mode == "ignore" else [(name, "redis", ending, True)])
    json.dumps([one.detail for one in await noted(link)])


async def test_of_very_many_only_the_number_is_kept(
    link: Link, redis: RedisServiceManager, scheduler: SchedulerService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.sync.drift.MOST", 2)
    await passed(link, scheduler)
    keys = [key async for key in redis.client.scan_iter(f"{redis.prefix}schedule:status:*")]
    await redis.client.delete(*keys)
    await passed(link, scheduler)
    assert [(one.name, one.ending, list(one.detail)) for one in await noted(link)] == [("", "corrected", ["entries"])]


async def test_an_id_that_no_config_has_is_removed_and_mentioned(
    link: Link, redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    await passed(link, scheduler)
    await redis.client.sadd(f"{redis.prefix}schedule:configs", "999999")
    await passed(link, scheduler)
    assert [(one.name, one.side, one.ending) for one in await noted(link)] == [("#999999", "redis", "corrected")]


@pytest.mark.parametrize("keys", [("epoch",), ("seen",), ("configs",), ("aligned",), ("epoch", "seen")])
async def test_redis_is_whole_again_whatever_key_was_deleted(
    link: Link, redis: RedisServiceManager, scheduler: SchedulerService, keys: tuple[str, ...]
) -> None:
    await passed(link, scheduler)
    before = await kept(link, scheduler)
    await redis.client.delete(*(f"{redis.prefix}schedule:{key}" for key in keys))
    await passed(link, scheduler)
    assert await kept(link, scheduler) == before
    assert await scheduler.epoch()
    assert [one.name for one in await noted(link)] == ([""] if keys == ("epoch",) else [])


@pytest.mark.parametrize("mode", ["correct", "detect", "ignore"])
async def test_an_emptied_redis_is_rebuilt_in_every_mode_and_is_no_drift_of_each_config(
    link: Link, redis: RedisServiceManager, scheduler: SchedulerService, mode: Any
) -> None:
    await passed(link, scheduler)
    before = await kept(link, scheduler)
    async for key in redis.client.scan_iter(f"{redis.prefix}*"):
        await redis.client.delete(key)
    await passed(link, scheduler, mode)
    assert await kept(link, scheduler) == before
    assert {one.name for one in await noted(link)} <= {""}


async def test_what_changed_in_postgresql_meanwhile_is_nobodys_drift_in_redis(
    link: Link, redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    await passed(link, scheduler, "detect")
    await overrides.pause(link, "a", "the warehouse moves", "ada", None)
    await passed(link, scheduler, "detect")
    [config] = await configs.load(link, ["a"])
    assert (await kept(link, scheduler))[config.id]["state"] == "paused"
    await overrides.resume(link, "a")
    await overrides.pause(link, {"team": "data"}, None, "ada", None)
    edited = SpecSet((located("a", queue="slow", labels={"team": "data"}), *READ.specs[1:]), files=3)
    await passed(link, scheduler, "detect", edited)
    assert (await kept(link, scheduler))[config.id]["state"] == "paused"
    await overrides.resume(link, {"team": "data"})
    await passed(link, scheduler, "detect", edited)
    assert (await kept(link, scheduler))[config.id]["state"] == "active"
    await passed(link, scheduler, "detect", SpecSet(READ.specs[1:], files=2))
    assert len(await kept(link, scheduler)) == 2
    assert await noted(link) == []


async def test_a_runner_at_work_is_no_drift(house: Any) -> None:
    for number in range(20):
        fields = {"schedule": ["* * * * * *"], "seconds": "first"} if number % 2 else {"schedule": ["@hourly"]}
        await house.config(f"task-{number}", "t.quick", **fields)
    scheduler = SchedulerService(house.redis)
    await house.align()
    async with house.running():
        await house.at_least("task-1", 1)
        looks = 0
        while len(await house.rows("task-1")) < 5:
            [(now,)] = await house.link.run("select clock_timestamp()")
            assert await look(house.link, scheduler, now) == []
            if looks % 3 == 0:
                assert (await align(house.link, scheduler, now=now)).found == ()
            looks += 1
            await asyncio.sleep(0)
    assert looks > 10

"""One pass, against a real PostgreSQL and a real Redis."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.db import configs, overrides, syncs
from reconciler.db.applylock import applying
from reconciler.db.link import Link
from reconciler.errors import StoreUnavailable
from reconciler.gitrepo import Revision
from reconciler.plan.guards import Options
from reconciler.scheduler import RedisServiceManager, SchedulerService
from reconciler.spec import TaskSpec
from reconciler.spec.specset import Fault, LocatedSpec, SpecSet
from reconciler.sync.reconcile import Pass, Request, preview, reconcile, record_failure

REVISION = Revision("a1b2c3d4" * 5, False, "Ada", "nightly at three")
FAULT = Fault("specs/bad.yaml", 4, 12, "schedule", "'60 * * * *' has minute 60; minutes run 0-59")
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def located(name: str, path: str | None = None, **fields: Any) -> LocatedSpec:
    spec = TaskSpec.model_validate({"name": name, "task": "reports.build", "schedule": "0 2 * * *"} | fields)
    return LocatedSpec(spec, path or f"{name}.yaml", 1, spec.digest)


def specs(*found: LocatedSpec) -> SpecSet:
    return SpecSet(found, files=len(found))


def request(**options: Any) -> Request:
    return Request(Options(**options), "ada", REVISION)


async def rows(link: Link, query: str) -> list[tuple[Any, ...]]:
    return await link.run(query)


async def through(link: Link, name: str) -> datetime:
    [(moment,)] = await link.run("select through from task_cursors where name = %(name)s", {"name": name})
    return moment


async def set_through(link: Link, name: str, moment: datetime) -> None:
    params = {"name": name, "moment": moment}
    await link.run("update task_cursors set through = %(moment)s where name = %(name)s", params)


async def snapshot(link: Link, scheduler: SchedulerService) -> list[Any]:
    """Everything in either store, with the row versions that any write would change."""
    tables = ["task_configs", "task_cursors", "task_revisions", "task_skips", "syncs", "sources", "drifts"]
    kept: list[Any] = [await rows(link, f"select t.xmin::text, t::text from {table} t order by 2") for table in tables]
    ids = [key.id for key in await configs.keys(link)]
    return [*kept, await scheduler.status(ids), await scheduler.epoch()]


async def test_new_specs_are_in_both_stores_and_nothing_past_is_due(link: Link, scheduler: SchedulerService) -> None:
    [(before,)] = await rows(link, "select clock_timestamp()")
    outcome = await reconcile(specs(located("a"), located("b")), link, scheduler, request())
    assert (outcome.aligned, outcome.trouble) == (2, None)
    loaded = await configs.load(link)
    assert [(config.name, config.source, config.path, config.revision) for config in loaded] == [
        ("a", "default", "a.yaml", REVISION.commit),
        ("b", "default", "b.yaml", REVISION.commit),
    ]
    assert await through(link, "a") >= before
    status = await scheduler.status([config.id for config in loaded])
    assert [one["state"] for one in status.values()] == ["active", "active"]
    assert all(one["next_run"] > before for one in status.values())


async def test_the_sync_row_says_who_applied_what(link: Link, scheduler: SchedulerService) -> None:
    outcome = await reconcile(specs(located("a")), link, scheduler, request())
    last = await syncs.latest(link, "default")
    assert last is not None
    assert (last.id, last.revision, last.author, last.subject) == (
        outcome.sync_id,
        REVISION.commit,
        "Ada",
        "nightly at three",
    )
    assert (last.created, last.updated, last.is_success, last.actor) == (1, 0, True, "ada")
    assert last.plan and last.plan["changes"][0]["name"] == "a"


async def test_a_second_pass_writes_nothing_in_either_store(link: Link, scheduler: SchedulerService) -> None:
    read = specs(located("a"), located("b", suspend=True))
    await reconcile(read, link, scheduler, request())
    before = await snapshot(link, scheduler)
    outcome = await reconcile(read, link, scheduler, request())
    assert (outcome.sync_id, outcome.aligned) == (None, 0)
    assert outcome.plan and not outcome.plan.has_changes
    assert await snapshot(link, scheduler) == before


async def test_an_edit_never_fires_a_past_instant(link: Link, scheduler: SchedulerService) -> None:
    await reconcile(specs(located("a")), link, scheduler, request())
    await set_through(link, "a", LONG_AGO)
    [(before,)] = await rows(link, "select clock_timestamp()")
    await reconcile(specs(located("a", schedule="*/5 * * * *")), link, scheduler, request())
    assert await through(link, "a") >= before
    [(first, last, count, reason)] = await rows(link, "select first, last, count, reason from task_skips")
    assert (first, reason) == (LONG_AGO.replace(hour=2), "edited")
    assert timedelta(0) <= before - last < timedelta(days=1, hours=1)
    assert count == (last - first) // timedelta(days=1) + 1


@pytest.mark.parametrize(
    "edit", [{"timeout": "10m"}, {"description": "why"}, {"params": {"region": "eu"}}, {"path": "moved/a.yaml"}]
)
async def test_an_unrelated_edit_leaves_what_is_due_alone(
    link: Link, scheduler: SchedulerService, edit: dict[str, Any]
) -> None:
    await reconcile(specs(located("a")), link, scheduler, request())
    await set_through(link, "a", LONG_AGO)
    outcome = await reconcile(specs(located("a", **edit)), link, scheduler, request())
    assert outcome.plan and outcome.plan.counts()["update"] == 1
    assert await through(link, "a") == LONG_AGO
    assert await rows(link, "select * from task_skips") == []
    [config] = await configs.load(link)
    status = await scheduler.status([config.id])
    assert status[config.id]["next_run"] == LONG_AGO.replace(hour=2)


async def test_a_moved_file_is_a_revision_of_the_same_spec(link: Link, scheduler: SchedulerService) -> None:
    await reconcile(specs(located("a")), link, scheduler, request())
    await reconcile(specs(located("a", "moved/a.yaml")), link, scheduler, request())
    [config] = await configs.load(link)
    assert config.path == "moved/a.yaml"
    found = await rows(
        link, "select path, digest = %(now)s from task_revisions order by id".replace("%(now)s", f"'{config.digest}'")
    )
    assert found == [("a.yaml", True), ("moved/a.yaml", True)]


async def test_instants_inside_a_pause_stay_paused_when_the_schedule_is_edited(
    link: Link, scheduler: SchedulerService
) -> None:
    await reconcile(specs(located("a")), link, scheduler, request())
    await overrides.pause(link, "a", "migration", "ada", None)
    await set_through(link, "a", LONG_AGO)
    start = LONG_AGO + timedelta(days=3)
    await link.run("update task_overrides set created_at = %(at)s", {"at": start})
    await reconcile(specs(located("a", schedule="*/5 * * * *")), link, scheduler, request())
    found = await rows(link, "select reason, first, last, detail from task_skips order by first")
    assert [row[0] for row in found] == ["edited", "paused"]
    assert found[0][2] == LONG_AGO + timedelta(days=2, hours=2)
    assert found[1][1] == start + timedelta(hours=2)
    assert found[1][3] == "paused by ada: migration"


async def test_what_was_suspended_was_never_due(link: Link, scheduler: SchedulerService) -> None:
    await reconcile(specs(located("a", suspend=True)), link, scheduler, request())
    await set_through(link, "a", LONG_AGO)
    await reconcile(specs(located("a", suspend=False)), link, scheduler, request())
    assert await through(link, "a") > LONG_AGO
    assert await rows(link, "select * from task_skips") == []


async def test_a_name_that_is_gone_leaves_its_history_and_comes_back_from_now(
    link: Link, scheduler: SchedulerService
) -> None:
    await reconcile(specs(located("a"), located("b")), link, scheduler, request())
    await set_through(link, "a", datetime.now(UTC) - timedelta(days=3))
    [config, _] = await configs.load(link)
    outcome = await reconcile(specs(located("b")), link, scheduler, request())
    assert outcome.plan and outcome.plan.counts()["delete"] == 1
    assert await scheduler.status([config.id]) == {}
    assert (await rows(link, "select reason, count from task_skips")) == [("removed", 3)]
    [(removed_at,)] = await rows(link, "select removed_at from task_revisions where name = 'a'")
    assert removed_at is not None
    left_at = await through(link, "a")
    await reconcile(specs(located("a"), located("b")), link, scheduler, request())
    assert await through(link, "a") > left_at
    assert len(await rows(link, "select * from task_revisions where name = 'a'")) == 2


async def test_a_refused_prune_applies_the_rest_and_is_noted_once(link: Link, scheduler: SchedulerService) -> None:
    everything = [located(f"c{n}") for n in range(5)]
    await reconcile(specs(*everything), link, scheduler, request())
    read = specs(everything[0], located("new"))
    outcome = await reconcile(read, link, scheduler, request())
    assert outcome.plan and [change.name for change in outcome.plan.changes] == ["new"]
    assert "--max-prune 4" in outcome.plan.refusals[0].text
    assert len(await configs.keys(link)) == 6
    last = await syncs.latest(link, "default")
    assert last is not None
    assert (last.is_success, last.created) == (False, 1)
    for _ in range(3):
        await reconcile(read, link, scheduler, request())
    # Now it is 4 of 6 that would go: news, once.
    assert len(await syncs.listing(link)) == 3
    await reconcile(read, link, scheduler, request(max_prune="4"))
    assert [key.name for key in await configs.keys(link)] == ["c0", "new"]


async def test_with_a_fault_nothing_is_applied_and_the_failure_is_noted_once(
    link: Link, scheduler: SchedulerService
) -> None:
    await reconcile(specs(located("a")), link, scheduler, request())
    broken = replace(specs(located("b")), faults=(FAULT,))
    for _ in range(3):
        outcome = await reconcile(broken, link, scheduler, request())
        assert (outcome.plan, outcome.faults) == (None, (FAULT,))
    assert [key.name for key in await configs.keys(link)] == ["a"]
    assert [(sync.is_success, sync.error) for sync in await syncs.listing(link)] == [(False, str(FAULT)), (True, None)]


async def test_a_fault_does_not_keep_redis_from_healing(link: Link, scheduler: SchedulerService) -> None:
    read = specs(located("a"))
    await reconcile(read, link, scheduler, request())
    [key] = await configs.keys(link)
    await scheduler.unregister(key.id)
    outcome = await reconcile(replace(read, faults=(FAULT,)), link, scheduler, request())
    assert outcome.aligned == 1
    assert (await scheduler.status([key.id]))[key.id]["state"] == "active"


async def test_a_source_that_is_good_again_says_so_though_nothing_changed(
    link: Link, scheduler: SchedulerService
) -> None:
    read = specs(located("a"))
    await reconcile(read, link, scheduler, request())
    await reconcile(replace(read, faults=(FAULT,)), link, scheduler, request())
    await reconcile(read, link, scheduler, request())
    await reconcile(read, link, scheduler, request())
    assert [sync.is_success for sync in await syncs.listing(link)] == [True, False, True]


async def test_a_fault_in_a_file_of_any_name_can_be_noted(link: Link, scheduler: SchedulerService) -> None:
    fault = replace(FAULT, path="specs/\udcff\x00.yaml")
    outcome = await reconcile(SpecSet(faults=(fault,)), link, scheduler, request())
    assert outcome.sync_id is not None


async def test_an_unreadable_source_is_noted_once_and_deletes_nothing(link: Link, scheduler: SchedulerService) -> None:
    await reconcile(specs(located("a")), link, scheduler, request())
    assert await record_failure(link, request(), "specs: no such directory") is not None
    assert await record_failure(link, request(), "specs: no such directory") is None
    assert [key.name for key in await configs.keys(link)] == ["a"]


async def test_another_source_keeps_its_names_until_they_are_adopted(link: Link, scheduler: SchedulerService) -> None:
    await reconcile(specs(located("a")), link, scheduler, request(source="one"))
    await set_through(link, "a", LONG_AGO)
    outcome = await reconcile(specs(located("a")), link, scheduler, request(source="two"))
    assert outcome.plan and outcome.plan.refusals[0].what == "owner"
    assert await through(link, "a") == LONG_AGO
    await reconcile(specs(located("a")), link, scheduler, request(source="two", adopt=True))
    [config] = await configs.load(link)
    assert config.source == "two"
    assert (await rows(link, "select reason from task_skips")) == [("adopted",)]
    # The first source has lost the name, and its own pass does not delete what is no longer its own.
    outcome = await reconcile(specs(), link, scheduler, request(source="one"))
    assert outcome.plan and not outcome.plan.has_changes


async def test_a_preview_writes_nothing(link: Link, scheduler: SchedulerService) -> None:
    before = await snapshot(link, scheduler)
    plan = await preview(specs(located("a")), link, request())
    assert plan.has_changes
    assert await snapshot(link, scheduler) == before


async def test_a_pass_that_does_not_wait_leaves_the_work_to_the_one_under_way(
    link: Link, database_url: str, scheduler: SchedulerService
) -> None:
    other = Link(database_url)
    async with applying(other, waits=True):
        outcome = await reconcile(specs(located("a")), link, scheduler, replace(request(), waits=False))
    await other.close()
    assert outcome == Pass(is_busy=True)
    assert await configs.keys(link) == []


async def test_two_appliers_at_once_apply_one_after_the_other(
    link: Link, database_url: str, scheduler: SchedulerService
) -> None:
    other = Link(database_url)
    read = specs(*(located(f"c{n}") for n in range(50)))
    passes = await asyncio.gather(*(reconcile(read, one, scheduler, request()) for one in (link, other)))
    await other.close()
    assert sorted(len(one.plan.changes) for one in passes if one.plan) == [0, 50]
    assert len(await syncs.listing(link)) == 1


async def test_redis_out_of_reach_leaves_the_commit_standing_and_the_next_pass_heals(
    link: Link, scheduler: SchedulerService, redis_prefix: str
) -> None:
    nowhere = RedisServiceManager("redis://127.0.0.1:1", redis_prefix)
    outcome = await reconcile(specs(located("a")), link, SchedulerService(nowhere), request())
    await nowhere.close()
    assert outcome.trouble and "\n" not in outcome.trouble
    [config] = await configs.load(link)
    assert await scheduler.status([config.id]) == {}
    healed = await reconcile(specs(located("a")), link, scheduler, request())
    assert (healed.aligned, healed.sync_id) == (1, None)
    assert (await scheduler.status([config.id]))[config.id]["state"] == "active"


async def test_postgresql_out_of_reach_is_one_line(scheduler: SchedulerService) -> None:
    away = Link("postgresql://postgres:secret@127.0.0.1:1/postgres")
    with pytest.raises(StoreUnavailable) as raised:
        await reconcile(specs(located("a")), away, scheduler, request())
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


async def test_thousands_of_specs_are_compared_and_written_in_bulk(link: Link, scheduler: SchedulerService) -> None:
    count = 2_000
    read = specs(*(located(f"task-{n:05}", schedule=f"{n % 60} {n % 24} * * *") for n in range(count)))
    outcome = await reconcile(read, link, scheduler, request())
    assert outcome.plan and len(outcome.plan.changes) == count
    assert outcome.aligned == count
    again = await reconcile(read, link, scheduler, request())
    assert again.plan and (again.plan.unchanged, again.aligned) == (count, 0)

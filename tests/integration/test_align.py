"""Redis says what PostgreSQL says: computed from configs, cursors and pauses, whole again after anything."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from reconciler.align import align, desired_entry
from reconciler.db.desired import Wanted
from reconciler.db.link import Link
from reconciler.occurrences import wake_at
from reconciler.scheduler import Entry, RedisServiceManager, SchedulerService
from reconciler.spec import TaskSpec

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
numbers = count()


def spec(name: str, **fields: Any) -> TaskSpec:
    return TaskSpec.from_document({"name": name, "task": "library.nothing", "schedule": ["@hourly"], **fields})


async def keep(link: Link, made: TaskSpec, through: datetime | None = NOON) -> int:
    """Store a spec, new or edited, and its cursor; the config's id."""
    rows = await link.run(
        """
        insert into task_configs (name, source, spec, digest, path) values (%s, 'default', %s::jsonb, %s, 'x.yaml')
        on conflict (name) do update set spec = excluded.spec, digest = excluded.digest
        returning id
        """,
        [made.name, json.dumps(made.document()), made.digest],
    )
    if through is not None:
        await link.run(
            "insert into task_cursors values (%s, %s) on conflict (name) do update set through = excluded.through",
            [made.name, through],
        )
    return int(rows[0][0])


async def pause(link: Link, name: str, until: datetime | None = None, reason: str | None = None) -> None:
    await link.run(
        "insert into task_overrides (name, kind, reason, actor, expires_at) values (%s, 'pause', %s, 'me', %s)",
        [name, reason, until],
    )


async def state(scheduler: SchedulerService, config_id: int) -> dict[str, Any]:
    return (await scheduler.status([config_id]))[config_id]


# ── the rule ──


@pytest.mark.parametrize(
    ("fields", "changes", "expected"),
    [
        ({}, {}, ("active", NOON + HOUR, NOON + HOUR, None, None)),
        ({}, {"through": NOON - 9 * HOUR}, ("active", NOON - 8 * HOUR, NOON - 8 * HOUR, None, None)),
        ({}, {"through": None}, ("active", None, None, None, None)),
        ({"schedule": []}, {}, ("active", None, None, None, None)),
        ({"ends_at": "2026-03-01T12:30:00Z"}, {}, ("active", None, None, None, None)),
        ({"suspend": True}, {}, ("suspended", None, None, None, None)),
        ({"suspend": False}, {}, ("active", NOON + HOUR, NOON + HOUR, None, None)),
        ({"suspend": True}, {"is_paused": True}, ("suspended", None, None, None, None)),
        ({}, {"is_paused": True, "reason": "disk"}, ("paused", NOON + HOUR, None, "disk", None)),
        (
            {},
            {"is_paused": True, "until": NOON + 3 * HOUR},
            ("paused", NOON + HOUR, NOON + 3 * HOUR, None, NOON + 3 * HOUR),
        ),
        (
            {},
            {"is_paused": True, "until": NOON + MINUTE},
            ("paused", NOON + HOUR, NOON + HOUR, None, NOON + MINUTE),
        ),
        ({"schedule": []}, {"is_paused": True, "until": NOON + HOUR}, ("paused", None, None, None, NOON + HOUR)),
    ],
)
def test_what_redis_should_say(fields: dict[str, Any], changes: dict[str, Any], expected: tuple[object, ...]) -> None:
    row = Wanted(7, "digest", NOON, False, None, None)._replace(**changes)
    entry = desired_entry(row, spec("report", queue="slow", **fields))
    assert (entry.config_id, entry.queue, entry.digest) == (7, "slow", "digest")
    assert (entry.state, entry.next_run, entry.wake_at, entry.reason, entry.until) == expected


def test_jitter_puts_off_the_look_and_not_the_instant() -> None:
    made = spec("report", jitter="10m")
    entry = desired_entry(Wanted(7, "digest", NOON, False, None, None), made)
    assert entry.next_run == NOON + HOUR
    assert entry.wake_at == wake_at(made, NOON + HOUR)
    assert NOON + HOUR <= entry.wake_at < NOON + HOUR + 10 * MINUTE


# ── from one store to the other ──


async def test_every_config_is_there_after_one_pass_and_nothing_differs_after_another(
    link: Link, scheduler: SchedulerService
) -> None:
    ids = [await keep(link, spec(f"task-{n}", jitter="1m")) for n in range(30)]
    first = await align(link, scheduler, now=NOON)
    assert (first.changed, first.epoch) == (30, await scheduler.epoch())
    assert await align(link, scheduler, now=NOON) == type(first)(0, first.epoch)
    assert set(await scheduler.status(ids)) == set(ids)


async def test_an_edit_a_moved_cursor_and_a_removal_are_all_that_differs(
    link: Link, scheduler: SchedulerService
) -> None:
    edited, moved, removed, same = [await keep(link, spec(name)) for name in ("edited", "moved", "removed", "same")]
    await align(link, scheduler, now=NOON)
    await keep(link, spec("edited", schedule=["30 * * * *"]))
    await keep(link, spec("moved"), NOON + HOUR)
    await link.run("delete from task_configs where name = 'removed'")
    assert (await align(link, scheduler, now=NOON)).changed == 3
    assert set(await scheduler.status([edited, moved, removed, same])) == {edited, moved, same}
    assert (await state(scheduler, edited))["next_run"] == NOON + 30 * MINUTE
    assert (await state(scheduler, moved))["next_run"] == NOON + 2 * HOUR


async def test_the_named_alone_are_looked_at(link: Link, scheduler: SchedulerService) -> None:
    one, other = [await keep(link, spec(name)) for name in ("one", "other")]
    aligned = await align(link, scheduler, now=NOON, names=["one", "nobody"])
    assert (aligned.changed, aligned.epoch) == (1, "")
    assert set(await scheduler.status([one, other])) == {one}


async def test_after_a_loss_of_everything_a_pause_is_still_a_pause(
    link: Link, redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    held, brief, free = [await keep(link, spec(name)) for name in ("held", "brief", "free")]
    await pause(link, "held", reason="maintenance")
    await pause(link, "brief", until=NOON + 3 * HOUR)
    await align(link, scheduler, now=NOON)
    before = await scheduler.status([held, brief, free])
    async for key in redis.client.scan_iter(match=f"{redis.prefix}*"):
        await redis.client.delete(key)
    assert (await align(link, scheduler, now=NOON)).changed == 3
    assert await scheduler.status([held, brief, free]) == before
    assert (before[held]["state"], before[held]["reason"], before[held]["wake_at"]) == ("paused", "maintenance", None)
    assert (before[brief]["state"], before[brief]["until"]) == ("paused", NOON + 3 * HOUR)
    assert before[free]["state"] == "active"


async def test_a_pause_that_has_ended_holds_nothing_however_it_ended(link: Link, scheduler: SchedulerService) -> None:
    expired, resumed = [await keep(link, spec(name)) for name in ("expired", "resumed")]
    await pause(link, "expired", until=NOON)
    await pause(link, "resumed")
    await align(link, scheduler, now=NOON - MINUTE)
    assert {(await state(scheduler, i))["state"] for i in (expired, resumed)} == {"paused"}
    await link.run("update task_overrides set ended_at = now() where name = 'resumed'")
    await align(link, scheduler, now=NOON)
    assert {(await state(scheduler, i))["state"] for i in (expired, resumed)} == {"active"}


async def test_of_several_pauses_the_one_that_ends_last_counts(link: Link, scheduler: SchedulerService) -> None:
    brief, endless = [await keep(link, spec(name)) for name in ("brief", "endless")]
    for name in ("brief", "endless"):
        await pause(link, name, until=NOON + HOUR, reason="short")
        await pause(link, name, until=NOON + 2 * HOUR, reason="long")
    await pause(link, "endless", reason="for good")
    await align(link, scheduler, now=NOON)
    assert (await state(scheduler, brief))["until"] == NOON + 2 * HOUR
    assert (await state(scheduler, endless))["reason"] == "for good"
    assert (await state(scheduler, endless))["until"] is None


async def test_a_config_without_a_cursor_fires_nothing(link: Link, scheduler: SchedulerService) -> None:
    config_id = await keep(link, spec("report"), through=None)
    await align(link, scheduler, now=NOON)
    assert (await state(scheduler, config_id))["wake_at"] is None


async def test_a_spec_of_a_later_version_is_held_back_and_hides_no_other(
    link: Link, scheduler: SchedulerService, caplog: pytest.LogCaptureFixture
) -> None:
    good, strange = [await keep(link, spec(name)) for name in ("good", "strange")]
    digest = f"later-{next(numbers)}-{random.random()}"
    await link.run(
        "update task_configs set spec = spec || '{\"warp\": 9}', digest = %s where name = 'strange'", [digest]
    )
    for _ in range(2):
        await align(link, scheduler, now=NOON)
    kept = await state(scheduler, strange)
    assert (kept["state"], kept["wake_at"]) == ("suspended", None)
    assert "warp" in kept["reason"]
    assert "strange: warp" in caplog.text
    assert (await state(scheduler, good))["state"] == "active"
    assert (await align(link, scheduler, now=NOON)).changed == 0


async def test_a_config_that_comes_while_a_pass_is_under_way_is_not_removed_by_it(
    link: Link, database_url: str, scheduler: SchedulerService
) -> None:
    await keep(link, spec("first"))
    second = Link(database_url)

    class Slow(SchedulerService):
        """Between the reading and the writing of a pass, another one comes and goes."""

        async def align(self, entries: Any, **options: Any) -> int:
            self.late = await keep(second, spec("second"))
            await align(second, scheduler, now=NOON)
            return await super().align(entries, **options)

    slow = Slow(scheduler._redis)
    assert (await align(link, slow, now=NOON)).changed == 0
    assert set(await scheduler.status([slow.late])) == {slow.late}
    await second.close()


async def test_any_state_of_redis_ends_as_what_postgresql_says(
    link: Link, redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    """A cheap model check: whatever was there before, one pass gives what a pass on an empty Redis gives."""
    dice = random.Random(5)
    ids = [await keep(link, spec(f"task-{n}", queue=dice.choice(["default", "slow"]))) for n in range(12)]
    await align(link, scheduler, now=NOON)
    expected = await scheduler.status(ids)
    for _ in range(15):
        for config_id in dice.sample([*ids, 10_000, 10_001], 6):
            moment = NOON + dice.randint(-99, 99) * MINUTE
            queue = dice.choice(["default", "slow", "third"])
            match dice.randint(0, 4):
                case 0:
                    await scheduler.register(Entry(config_id, queue, "active", "another", moment, moment))
                case 1:
                    await scheduler.pause(config_id, "why", dice.choice([None, moment]))
                case 2:
                    await scheduler.stop(config_id)
                case 3:
                    await scheduler.unregister(config_id)
                case 4:
                    await redis.client.delete(f"{redis.prefix}schedule:{dice.choice(['configs', f'due:{queue}'])}")
        await align(link, scheduler, now=NOON)
        assert await scheduler.status([*ids, 10_000, 10_001]) == expected
        queued = [
            int(i)
            for queue in ("default", "slow", "third")
            for i in await redis.client.zrange(f"{redis.prefix}schedule:due:{queue}", 0, -1)
        ]
        assert sorted(queued) == sorted(ids)


@pytest.fixture
def nothing_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has just started: no spec is in memory."""
    monkeypatch.setattr("reconciler.align.known_spec", lambda digest: None)


async def test_a_pass_that_believes_redis_reads_no_spec_where_nothing_differs(
    link: Link, scheduler: SchedulerService, nothing_read: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(5):
        await keep(link, spec(f"task-{n}", suspend=n == 3))
    await pause(link, "task-4", until=NOON + HOUR)
    await align(link, scheduler, now=NOON)

    async def documents(*_: object) -> dict[str, Any]:
        raise AssertionError("a document was read")

    monkeypatch.setattr("reconciler.db.desired.documents", documents)
    again = await align(link, scheduler, now=NOON, believing=True)
    assert (again.changed, again.epoch) == (0, await scheduler.epoch())


async def test_a_pass_that_believes_redis_still_mends_what_it_can_see(
    link: Link, redis: RedisServiceManager, scheduler: SchedulerService, nothing_read: None
) -> None:
    names = ("edited", "lost", "unqueued", "paused", "resumed", "removed", "same")
    ids = {name: await keep(link, spec(name)) for name in names}
    await pause(link, "resumed")
    await align(link, scheduler, now=NOON)
    before = await scheduler.status(list(ids.values()))
    await keep(link, spec("edited", description="another"))
    await redis.client.delete(f"{redis.prefix}schedule:status:{ids['lost']}")
    await redis.client.zrem(f"{redis.prefix}schedule:due:default", ids["unqueued"])
    await pause(link, "paused")
    await link.run("update task_overrides set ended_at = now() where name = 'resumed'")
    await link.run("delete from task_configs where name = 'removed'")
    assert (await align(link, scheduler, now=NOON, believing=True)).changed == 6
    after = await scheduler.status(list(ids.values()))
    assert ids["removed"] not in after
    for name in ("lost", "unqueued", "same"):
        assert after[ids[name]] == before[ids[name]]
    assert after[ids["edited"]]["digest"] != before[ids["edited"]]["digest"]
    assert [after[ids[name]]["state"] for name in ("paused", "resumed")] == ["paused", "active"]
    assert (await align(link, scheduler, now=NOON)).changed == 0


async def test_a_pause_by_label_holds_what_has_the_label_whenever_it_came(
    link: Link, scheduler: SchedulerService
) -> None:
    before = await keep(link, spec("before", labels={"team": "data", "tier": "gold"}))
    other = await keep(link, spec("other", labels={"team": "web"}))
    await link.run(
        "insert into task_overrides (selector, kind, reason, actor, expires_at) values (%s, 'pause', 'move', 'me', %s)",
        [{"team": "data"}, NOON + 3 * HOUR],
    )
    await align(link, scheduler, now=NOON)
    later = await keep(link, spec("later", labels={"team": "data"}))
    await align(link, scheduler, now=NOON, names=["later"])
    for config_id in (before, later):
        found = await state(scheduler, config_id)
        assert (found["state"], found["reason"], found["until"]) == ("paused", "move", NOON + 3 * HOUR)
    assert (await state(scheduler, other))["state"] == "active"
    # Of a pause of the name and one of its labels the one that ends last holds.
    await pause(link, "later", NOON + 5 * HOUR, "own")
    await align(link, scheduler, now=NOON)
    assert (await state(scheduler, later))["reason"] == "own"
    await align(link, scheduler, now=NOON + 4 * HOUR)
    assert (await state(scheduler, before))["state"] == "active"
    assert (await state(scheduler, later))["state"] == "paused"

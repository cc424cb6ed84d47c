"""Whatever Redis says, `align` makes it say what it should, writes only what differs, and never loses a due instant."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.scheduler import Entry, RedisServiceManager, SchedulerService
from reconciler.scheduler.differences import Kept

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOLD = timedelta(seconds=10)
HOUR = timedelta(hours=1)


def entry(config_id: int, next_run: datetime | None = NOON, **changes: object) -> Entry:
    made = Entry(config_id, "default", "active", f"digest-{config_id}", next_run, next_run)
    return replace(made, **changes)  # type: ignore[arg-type]


WANTED = (
    entry(1),
    entry(2, NOON + HOUR, queue="slow"),
    entry(3, state="paused", wake_at=None, reason="a \"quoted\" reason\nwith more, and 'ü'"),
    entry(4, state="paused", wake_at=NOON + HOUR, reason="for an hour", until=NOON + HOUR),
    entry(5, None, state="suspended"),
    entry(6, None),
    entry(7, None, state="suspended", reason="stored by another version"),
)


async def everything(redis: RedisServiceManager) -> dict[str, object]:
    """All keys with their content, in words that can be compared."""
    found: dict[str, object] = {}
    async for key in redis.client.scan_iter(match=f"{redis.prefix}*"):
        name = key.removeprefix(redis.prefix)
        match await redis.client.type(key):
            case "hash":
                found[name] = await redis.client.hgetall(key)
            case "zset":
                found[name] = dict(await redis.client.zrange(key, 0, -1, withscores=True))
            case "set":
                found[name] = set(await redis.client.smembers(key))
            case _:
                found[name] = await redis.client.get(key)
    return found


async def test_what_is_written_is_what_was_said(redis: RedisServiceManager, scheduler: SchedulerService) -> None:
    assert await scheduler.align(WANTED, complete=True) == len(WANTED)
    kept = await scheduler.status([entry.config_id for entry in WANTED])
    assert kept == {
        e.config_id: {
            "state": e.state,
            "digest": e.digest,
            "queue": e.queue,
            "reason": e.reason,
            "until": e.until,
            "next_run": e.next_run,
            "wake_at": e.wake_at,
        }
        for e in WANTED
    }


async def test_the_second_time_nothing_differs(redis: RedisServiceManager, scheduler: SchedulerService) -> None:
    await scheduler.align(WANTED, complete=True)
    before = await everything(redis)
    assert await scheduler.align(WANTED, complete=True) == 0
    assert await everything(redis) == before


DAMAGE: list[tuple[tuple[str, ...], int]] = [
    (("DEL", "schedule:status:1"), 1),
    (("DEL", "schedule:status:5"), 1),
    (("HSET", "schedule:status:1", "state", "suspended"), 1),
    (("HSET", "schedule:status:1", "digest", "other"), 1),
    (("HSET", "schedule:status:1", "next_run", "17"), 1),
    (("HDEL", "schedule:status:1", "next_run"), 1),
    (("HSET", "schedule:status:6", "next_run", "17"), 1),
    (("HSET", "schedule:status:2", "queue", "default"), 1),
    (("HSET", "schedule:status:4", "until", "17"), 1),
    (("HDEL", "schedule:status:3", "reason"), 1),
    (("ZREM", "schedule:due:default", "1"), 1),
    (("DEL", "schedule:due:default"), 2),
    (("ZADD", "schedule:due:default", "17", "3"), 1),
    (("ZADD", "schedule:due:default", "17", "5"), 1),
    (("DEL", "schedule:configs"), 0),
    (("SREM", "schedule:configs", "1"), 0),
    (("SADD", "schedule:configs", "99"), 0),
    (("SADD", "schedule:configs", "nonsense"), 0),
    (("HSET", "schedule:status:99", "queue", "default", "state", "active"), 0),
]


@pytest.mark.parametrize(
    ("damage", "differ"), DAMAGE, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
async def test_whatever_was_damaged_is_mended_and_only_that(
    redis: RedisServiceManager, scheduler: SchedulerService, damage: tuple[str, ...], differ: int
) -> None:
    await scheduler.align(WANTED, complete=True)
    before = await everything(redis)
    await redis.client.execute_command(damage[0], redis.prefix + damage[1], *damage[2:])
    assert await scheduler.align(WANTED, complete=True) == differ
    after = await everything(redis)
    if "nonsense" in damage:
        before["schedule:configs"] = after["schedule:configs"]
    if damage[1] == "schedule:status:99":
        # No set names it and no queue holds it: it can do nothing until one of them does.
        await redis.client.delete(f"{redis.prefix}schedule:configs")
        assert await scheduler.align(WANTED, complete=True) == 1
        after = await everything(redis)
    assert after == before


async def test_what_differs_is_written_over_what_was_there(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    rounds = [replace(e, config_id=i) for i, e in enumerate(WANTED)]
    for turn in range(len(WANTED)):
        turned = [replace(e, config_id=1 + (e.config_id + turn) % len(WANTED)) for e in rounds]
        await scheduler.align(turned, complete=True)
        mended = await everything(redis)
        await redis.client.delete(*[redis.prefix + name for name in mended])
        await scheduler.align(turned, complete=True)
        fresh = await everything(redis)
        assert mended | {"schedule:epoch": ""} == fresh | {"schedule:epoch": ""}


async def test_a_config_that_moves_to_another_queue_is_in_that_one_only(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    await scheduler.align([entry(1)], complete=True)
    await scheduler.align([entry(1, queue="slow")], complete=True)
    assert "schedule:due:default" not in await everything(redis)
    taken = await scheduler.take(["default", "slow"], NOON, 10, HOLD, await scheduler.epoch() or "")
    assert [(due.config_id, due.queue) for due in taken.due] == [(1, "slow")]


async def test_a_hold_survives_a_pass_that_finds_nothing_changed(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    await scheduler.align([entry(1)], complete=True)
    await scheduler.take(["default"], NOON, 10, HOLD, await scheduler.epoch() or "")
    held = await everything(redis)
    assert await scheduler.align([entry(1)], complete=True) == 0
    assert await everything(redis) == held


async def test_a_pass_computed_before_a_runner_moved_on_leaves_the_config_due(scheduler: SchedulerService) -> None:
    await scheduler.align([entry(1, NOON + HOUR)], complete=True)
    await scheduler.align([entry(1, NOON)], complete=True)
    taken = await scheduler.take(["default"], NOON, 10, HOLD, await scheduler.epoch() or "")
    assert [due.next_run for due in taken.due] == [NOON]


async def test_only_a_whole_pass_removes_and_declares_redis_whole(scheduler: SchedulerService) -> None:
    await scheduler.align([entry(1), entry(2)], complete=False)
    assert await scheduler.epoch() is None
    await scheduler.align([entry(2)], complete=False)
    assert set(await scheduler.status([1, 2])) == {1, 2}
    assert await scheduler.align([entry(2)], complete=True) == 1
    assert set(await scheduler.status([1, 2])) == {2}
    assert await scheduler.epoch()


async def test_the_epoch_stays_while_redis_does(scheduler: SchedulerService) -> None:
    await scheduler.align([entry(1)], complete=True)
    first = await scheduler.epoch()
    await scheduler.align([entry(2)], complete=True)
    assert await scheduler.epoch() == first


async def test_nothing_left_leaves_nothing_but_the_epoch(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    await scheduler.align(WANTED, complete=True)
    assert await scheduler.align([], complete=True) == len(WANTED)
    assert set(await everything(redis)) == {"schedule:aligned", "schedule:configs", "schedule:epoch"}


async def test_a_config_that_came_after_the_entries_were_read_is_not_removed(scheduler: SchedulerService) -> None:
    asked: list[Collection[int]] = []

    async def gone(config_ids: Collection[int]) -> set[int]:
        asked.append(config_ids)
        return {2}

    await scheduler.align([entry(1), entry(2), entry(3)], complete=True)
    assert await scheduler.align([entry(1)], complete=True, gone=gone) == 1
    assert asked == [{2, 3}]
    assert set(await scheduler.status([1, 2, 3])) == {1, 3}


async def test_passes_at_the_same_time_end_as_one(redis_url: str, redis_prefix: str) -> None:
    many = [entry(n, NOON + n * HOUR) for n in range(1200)]
    managers = [RedisServiceManager(redis_url, redis_prefix) for _ in range(3)]
    services = [SchedulerService(redis) for redis in managers]
    changed = await asyncio.gather(*(service.align(many, complete=True) for service in services))
    assert sum(changed) == len(many)
    assert len({await service.epoch() for service in services}) == 1
    assert await services[0].align(many, complete=True) == 0
    for redis in managers:
        await redis.close()


async def test_a_hundred_times_a_chunk_is_one_pass(redis: RedisServiceManager, scheduler: SchedulerService) -> None:
    many = [entry(n, NOON + n * HOUR, queue=f"q{n % 7}") for n in range(5003)]
    assert await scheduler.align(many, complete=True) == len(many)
    assert await scheduler.align(many[::-1], complete=True) == 0
    assert await scheduler.align(many[:-1501], complete=True) == 1501


class Nobody:
    """A judge who leaves nothing as it is, and remembers of which ids it heard."""

    def __init__(self) -> None:
        self.now, self.seen = NOON - HOUR, "700:700:"
        self.heard: list[int] = []

    async def differing(self, found: Mapping[int, Kept], seen: str, *, has_epoch: bool) -> Collection[int]:
        self.heard = sorted(found)
        return ()

    async def strays(self, config_ids: Collection[int]) -> None: ...


async def test_what_was_asked_ahead_is_not_asked_again_and_good_for_one_alignment(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    judge = Nobody()
    await scheduler.align(WANTED, complete=True, judge=judge)
    await scheduler.differences.look_ahead(WANTED)
    await redis.client.hset(f"{redis.prefix}schedule:status:1", "digest", "by hand")
    assert await scheduler.align(WANTED, complete=True, judge=judge) == 0
    assert await scheduler.align(WANTED, complete=True, judge=judge) == 1
    assert judge.heard == [1]


@pytest.mark.parametrize("harm", ["one changed", "emptied", "entry made anew", "too old"])
async def test_an_answer_that_was_asked_ahead_hides_nothing(
    redis: RedisServiceManager, scheduler: SchedulerService, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, entries = Nobody(), list(WANTED)
    await scheduler.align(entries, complete=True, judge=judge)
    whole = await everything(redis)
    key = f"{redis.prefix}schedule:status:1"
    if harm == "one changed":
        await redis.client.hset(key, "digest", "by hand")
    await scheduler.differences.look_ahead(entries)
    if harm == "emptied":
        await redis.client.delete(*[key async for key in redis.client.scan_iter(match=f"{redis.prefix}*")])
    elif harm == "entry made anew":
        entries[0] = replace(entries[0], digest="another")
    elif harm == "too old":
        monkeypatch.setattr("reconciler.scheduler.differences.AHEAD_FOR", -1.0)
        await redis.client.hset(key, "digest", "by hand")
    assert await scheduler.align(entries, complete=True, judge=judge)
    after = await everything(redis)
    if harm == "entry made anew":
        assert after["schedule:status:1"]["digest"] == "another"  # type: ignore[index]
    else:
        ours = {name for name in whole if "status" in name or "due" in name}
        assert {name: after[name] for name in ours} == {name: whole[name] for name in ours}


async def test_a_set_of_ids_that_lost_one_gets_it_back_though_nothing_else_differs(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    judge = Nobody()
    await scheduler.align(WANTED, complete=True, judge=judge)
    await redis.client.srem(f"{redis.prefix}schedule:configs", "1")
    assert await scheduler.align(WANTED, complete=True, judge=judge) == 0
    assert await redis.client.sismember(f"{redis.prefix}schedule:configs", "1")

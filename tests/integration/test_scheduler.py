"""The clockwork on a real Redis: what `take`, `advance`, `give_back` and the single acts promise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.scheduler import Advance, Due, Entry, EpochChanged, RedisServiceManager, SchedulerService

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOLD = timedelta(seconds=10)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def entry(config_id: int, next_run: datetime | None = NOON, **changes: object) -> Entry:
    made = Entry(config_id, "default", "active", f"digest-{config_id}", next_run, next_run)
    return replace(made, **changes)  # type: ignore[arg-type]


def advance(due: Due, **changes: object) -> Advance:
    after = due.next_run + HOUR
    made = Advance(due.config_id, due.queue, due.digest, due.next_run, after, after)
    return made._replace(**changes)


async def fill(scheduler: SchedulerService, *entries: Entry) -> str:
    await scheduler.align(entries, complete=True)
    epoch = await scheduler.epoch()
    assert epoch
    return epoch


async def ids(scheduler: SchedulerService, now: datetime = NOON, queues: tuple[str, ...] = ("default",)) -> list[int]:
    """What a runner would be given at `now`."""
    taken = await scheduler.take(queues, now, 100, HOLD, await scheduler.epoch() or "")
    return [due.config_id for due in taken.due]


async def scores(redis: RedisServiceManager, queue: str = "default") -> dict[int, datetime]:
    found = await redis.client.zrange(f"{redis.prefix}schedule:due:{queue}", 0, -1, withscores=True)
    return {int(i): datetime.fromtimestamp(score / 1000, UTC) for i, score in found}


async def everything(redis: RedisServiceManager) -> dict[str, object]:
    found: dict[str, object] = {}
    async for key in redis.client.scan_iter(match=f"{redis.prefix}*"):
        found[key] = await redis.client.dump(key) if "epoch" not in key else None
    return found


# ── take ──


async def test_what_is_due_comes_earliest_first_and_no_more_than_asked(scheduler: SchedulerService) -> None:
    epoch = await fill(scheduler, *(entry(n, NOON - n * SECOND) for n in range(1, 6)), entry(6, NOON + HOUR))
    taken = await scheduler.take(["default"], NOON, 3, HOLD, epoch)
    assert taken.due == [Due(n, "default", NOON - n * SECOND, f"digest-{n}", NOON - n * SECOND) for n in (5, 4, 3)]
    assert taken.next_at == NOON - 2 * SECOND


async def test_the_limit_is_shared_by_all_queues_and_the_earliest_of_any_goes_first(
    scheduler: SchedulerService,
) -> None:
    epoch = await fill(
        scheduler,
        entry(1, NOON - 3 * SECOND, queue="slow"),
        entry(2, NOON - 2 * SECOND),
        entry(3, NOON - SECOND, queue="slow"),
        entry(4, NOON, queue="other"),
    )
    taken = await scheduler.take(["default", "slow"], NOON, 2, HOLD, epoch)
    assert [(due.config_id, due.queue) for due in taken.due] == [(1, "slow"), (2, "default")]
    assert taken.next_at == NOON - SECOND


async def test_what_was_taken_is_hidden_for_the_hold_and_no_longer(scheduler: SchedulerService) -> None:
    await fill(scheduler, entry(1))
    assert await ids(scheduler) == [1]
    assert await ids(scheduler, NOON + HOLD - SECOND) == []
    assert await ids(scheduler, NOON + HOLD) == [1]


async def test_nothing_is_taken_before_its_millisecond(scheduler: SchedulerService) -> None:
    late = NOON + timedelta(microseconds=500)
    await fill(scheduler, entry(1, wake_at=late))
    assert await ids(scheduler, NOON) == []
    assert await ids(scheduler, NOON + timedelta(milliseconds=1)) == [1]


async def test_a_limit_of_nothing_only_tells_when_to_look(scheduler: SchedulerService) -> None:
    epoch = await fill(scheduler, entry(1))
    taken = await scheduler.take(["default"], NOON, 0, HOLD, epoch)
    assert (taken.due, taken.next_at) == ([], NOON)


async def test_an_empty_queue_has_no_next_moment(scheduler: SchedulerService) -> None:
    epoch = await fill(scheduler)
    assert (await scheduler.take(["default"], NOON, 10, HOLD, epoch)).next_at is None


async def test_runners_that_take_at_once_get_different_ids(redis_url: str, redis_prefix: str) -> None:
    runners = [RedisServiceManager(redis_url, redis_prefix) for _ in range(4)]
    services = [SchedulerService(redis) for redis in runners]
    epoch = await fill(services[0], *(entry(n) for n in range(200)))
    takes = [service.take(["default"], NOON, 20, HOLD, epoch) for service in services for _ in range(3)]
    found = [due.config_id for taken in await asyncio.gather(*takes) for due in taken.due]
    assert sorted(found) == list(range(200))
    for redis in runners:
        await redis.close()


@pytest.mark.parametrize("epoch", ["", "another"])
async def test_another_epoch_is_told_and_hides_nothing(scheduler: SchedulerService, epoch: str) -> None:
    await fill(scheduler, entry(1))
    with pytest.raises(EpochChanged):
        await scheduler.take(["default"], NOON, 10, HOLD, epoch)
    assert await ids(scheduler) == [1]


async def test_an_empty_redis_is_never_nothing_due(scheduler: SchedulerService) -> None:
    for epoch in ("", "the one before"):
        with pytest.raises(EpochChanged):
            await scheduler.take(["default"], NOON, 10, HOLD, epoch)


@pytest.mark.parametrize(
    "damage",
    [
        ("del", "schedule:status:1"),
        ("hset", "schedule:status:1", "state", "suspended"),
        ("hdel", "schedule:status:1", "next_run"),
        ("hset", "schedule:status:1", "next_run", "soon"),
        ("hset", "schedule:status:1", "queue", "other"),
        ("hset", "schedule:status:1", "state", "paused"),
    ],
    ids=lambda command: " ".join(command),
)
async def test_an_id_that_should_not_be_queued_is_dropped(
    redis: RedisServiceManager, scheduler: SchedulerService, damage: tuple[str, ...]
) -> None:
    await fill(scheduler, entry(1), entry(2))
    await redis.client.execute_command(damage[0], redis.prefix + damage[1], *damage[2:])
    assert await ids(scheduler) == [2]
    assert list(await scores(redis)) == [2]


@pytest.mark.parametrize("score", ["-inf", "0", "inf"])
@pytest.mark.parametrize("next_run", ["nan", "-1", "1e3", "99999999999999999999", "1"])
@pytest.mark.parametrize("member", ["1", "strange"])
async def test_nothing_written_by_another_hand_breaks_a_take(
    redis: RedisServiceManager, scheduler: SchedulerService, score: str, next_run: str, member: str
) -> None:
    epoch = await fill(scheduler, entry(2))
    await redis.client.zadd(f"{redis.prefix}schedule:due:default", {member: score})
    fields = {"state": "active", "digest": "d", "queue": "default", "next_run": next_run, "until": "soon"}
    await redis.client.hset(f"{redis.prefix}schedule:status:{member}", mapping=fields)
    taken = await scheduler.take(["default"], NOON, 10, HOLD, epoch)
    is_due = (member, next_run) == ("1", "1") and score != "inf"
    assert {due.config_id for due in taken.due} == ({1, 2} if is_due else {2})
    await scheduler.give_back(taken.due)
    assert set(await scheduler.status([1, 2])) == ({1, 2} if member == "1" else {2})
    await scheduler.unregister(1)  # as a runner does that finds no such config
    await scheduler.align([entry(2)], complete=True)
    assert await ids(scheduler, NOON + HOUR) == [2]


async def test_an_id_that_is_looked_at_before_its_instant_waits_for_it(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    await fill(scheduler, entry(1, NOON + HOUR))
    await redis.client.zadd(f"{redis.prefix}schedule:due:default", {"1": 5})
    assert await ids(scheduler) == []
    assert await scores(redis) == {1: NOON + HOUR}


# ── pauses ──


async def test_a_pause_without_an_end_is_never_taken(scheduler: SchedulerService) -> None:
    await fill(scheduler, entry(1), entry(2, state="paused", wake_at=None, reason="disk"))
    await scheduler.pause(1, "maintenance", None)
    assert await ids(scheduler, NOON + 1000 * HOUR) == []


async def test_a_pause_is_lifted_at_its_end_and_not_before(scheduler: SchedulerService) -> None:
    await fill(scheduler, entry(1))
    assert await scheduler.pause(1, "maintenance", NOON + HOUR)
    kept = (await scheduler.status([1]))[1]
    assert (kept["state"], kept["reason"], kept["until"]) == ("paused", "maintenance", NOON + HOUR)
    assert await ids(scheduler, NOON + HOUR - SECOND) == []
    assert await ids(scheduler, NOON + HOUR) == [1]
    kept = (await scheduler.status([1]))[1]
    assert (kept["state"], kept["reason"], kept["until"]) == ("active", None, None)


async def test_the_end_of_a_pause_brings_no_instant_forward(scheduler: SchedulerService) -> None:
    await fill(scheduler, entry(1, NOON + 3 * HOUR))
    await scheduler.pause(1, None, NOON + HOUR)
    assert await ids(scheduler, NOON + 2 * HOUR) == []
    assert await ids(scheduler, NOON + 3 * HOUR) == [1]


async def test_a_pause_whose_score_was_lost_forward_waits_for_its_end(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    await fill(scheduler, entry(1))
    await scheduler.pause(1, None, NOON + HOUR)
    await redis.client.zadd(f"{redis.prefix}schedule:due:default", {"1": 5})
    assert await ids(scheduler) == []
    assert await scores(redis) == {1: NOON + HOUR}


# ── advance ──


async def test_an_advance_sets_the_instant_and_when_to_look(scheduler: SchedulerService) -> None:
    epoch = await fill(scheduler, entry(1), entry(2))
    first, second = (await scheduler.take(["default"], NOON, 10, HOLD, epoch)).due
    put_off = NOON + HOUR + 20 * SECOND
    await scheduler.advance([advance(first, wake_at=put_off), advance(second)])
    kept = await scheduler.status([1, 2])
    assert (kept[1]["next_run"], kept[1]["wake_at"]) == (NOON + HOUR, put_off)
    assert (kept[2]["next_run"], kept[2]["wake_at"]) == (NOON + HOUR, NOON + HOUR)


async def test_an_advance_to_nothing_takes_the_config_from_the_queue(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    epoch = await fill(scheduler, entry(1))
    taken = await scheduler.take(["default"], NOON, 10, HOLD, epoch)
    await scheduler.advance([advance(taken.due[0], next_run=None, wake_at=None)])
    assert await scores(redis) == {}
    assert (await scheduler.status([1]))[1]["next_run"] is None


@pytest.mark.parametrize(
    "meanwhile",
    [
        entry(1, digest="edited"),
        entry(1, NOON + 2 * HOUR),
        entry(1, state="paused", wake_at=None),
        entry(1, state="suspended", next_run=None, wake_at=None),
        entry(1, queue="other"),
    ],
    ids=["edited", "moved on", "paused", "suspended", "other queue"],
)
async def test_an_advance_of_what_has_changed_meanwhile_does_nothing(
    redis: RedisServiceManager, scheduler: SchedulerService, meanwhile: Entry
) -> None:
    epoch = await fill(scheduler, entry(1))
    taken = await scheduler.take(["default"], NOON, 10, HOLD, epoch)
    await scheduler.register(meanwhile)
    before = await everything(redis)
    await scheduler.advance([advance(taken.due[0])])
    assert await everything(redis) == before


async def test_an_advance_of_a_config_that_is_gone_does_not_bring_it_back(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    epoch = await fill(scheduler, entry(1))
    taken = await scheduler.take(["default"], NOON, 10, HOLD, epoch)
    await scheduler.unregister(1)
    await scheduler.advance([advance(taken.due[0])])
    assert await scores(redis) == {}
    assert await scheduler.status([1]) == {}


# ── give back ──


async def test_what_is_given_back_is_there_for_others_at_once(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    epoch = await fill(scheduler, entry(1), entry(2, NOON - SECOND))
    taken = await scheduler.take(["default"], NOON, 10, HOLD, epoch)
    await scheduler.give_back(taken.due)
    assert await scores(redis) == {1: NOON, 2: NOON - SECOND}
    await scheduler.give_back(taken.due, NOON + SECOND)
    assert await scores(redis) == {1: NOON + SECOND, 2: NOON + SECOND}


@pytest.mark.parametrize("meanwhile", [entry(1, NOON + HOUR), entry(1, wake_at=None), None])
async def test_what_changed_meanwhile_is_not_given_back(
    redis: RedisServiceManager, scheduler: SchedulerService, meanwhile: Entry | None
) -> None:
    epoch = await fill(scheduler, entry(1))
    taken = await scheduler.take(["default"], NOON, 10, HOLD, epoch)
    if meanwhile:
        await redis.client.zrem(f"{redis.prefix}schedule:due:default", 1)
        await scheduler.register(meanwhile)
    else:
        await scheduler.unregister(1)
    before = await scores(redis)
    await scheduler.give_back(taken.due)
    assert await scores(redis) == before


async def test_nothing_to_move_asks_nobody(scheduler: SchedulerService) -> None:
    await scheduler.advance([])
    await scheduler.give_back([])
    assert await scheduler.status([]) == {}
    assert await scheduler.unregister() == 0


# ── single acts ──


async def test_a_stopped_config_is_kept_and_not_queued_until_it_is_started(scheduler: SchedulerService) -> None:
    await fill(scheduler, entry(1))
    assert await scheduler.stop(1)
    assert await ids(scheduler, NOON + HOUR) == []
    kept = (await scheduler.status([1]))[1]
    assert (kept["state"], kept["next_run"], kept["wake_at"]) == ("suspended", None, None)
    await scheduler.start(entry(1))
    assert await ids(scheduler) == [1]


async def test_a_resumed_config_loses_reason_and_end(scheduler: SchedulerService) -> None:
    await fill(scheduler, entry(1))
    await scheduler.pause(1, "maintenance", NOON + HOUR)
    await scheduler.resume(entry(1))
    assert (await scheduler.status([1]))[1] == {
        "state": "active",
        "digest": "digest-1",
        "queue": "default",
        "reason": None,
        "until": None,
        "next_run": NOON,
        "wake_at": NOON,
    }


async def test_a_config_that_is_not_known_cannot_be_stopped_or_paused(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    assert not await scheduler.stop(7)
    assert not await scheduler.pause(7, "why", NOON)
    assert await everything(redis) == {}


async def test_a_forgotten_config_leaves_nothing_behind(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    await scheduler.register(entry(1, queue="slow"))
    assert await scheduler.unregister(1, 2) == 1
    assert await everything(redis) == {}


async def test_status_tells_only_what_is_known(scheduler: SchedulerService) -> None:
    await fill(scheduler, entry(1))
    assert set(await scheduler.status([1, 2])) == {1}


# ── waking ──


async def heard(wakes: AsyncIterator[None], within: float = 5.0) -> None:
    async with asyncio.timeout(within):
        await anext(wakes)


async def test_a_wake_is_heard_by_every_runner(redis_url: str, redis_prefix: str) -> None:
    runners = [RedisServiceManager(redis_url, redis_prefix) for _ in range(3)]
    listening = [SchedulerService(redis).wakes() for redis in runners]
    for wakes in listening:
        await heard(wakes)  # connected: whatever was said before is made up for by looking
    await SchedulerService(runners[0]).wake()
    for wakes in listening:
        await heard(wakes)
    for wakes, redis in zip(listening, runners, strict=True):
        await wakes.aclose()  # type: ignore[attr-defined]
        await redis.close()


async def test_a_change_wakes_and_an_idle_pass_does_not(scheduler: SchedulerService) -> None:
    wakes = scheduler.wakes()
    await heard(wakes)
    await scheduler.align([entry(1)], complete=True)
    await heard(wakes)
    await scheduler.align([entry(1)], complete=True)
    await scheduler.wake()
    await heard(wakes)
    with pytest.raises(TimeoutError):
        await heard(wakes, within=0.2)


# ── keys ──


async def test_every_key_carries_the_prefix_and_prefixes_do_not_meet(redis_url: str, redis_prefix: str) -> None:
    one, other = (RedisServiceManager(redis_url, f"{redis_prefix}{name}") for name in ("[a-z]*:", "b:"))
    first, second = SchedulerService(one), SchedulerService(other)
    await fill(second, entry(1), entry(2))
    theirs = await everything(other)
    await fill(first, entry(1))
    await scheduler_acts(first)
    assert await everything(other) == theirs
    for redis in (one, other):
        await redis.close()


async def scheduler_acts(scheduler: SchedulerService) -> None:
    epoch = await scheduler.epoch() or ""
    taken = await scheduler.take(["default"], NOON, 10, HOLD, epoch)
    await scheduler.give_back(taken.due)
    await scheduler.advance([advance(due) for due in taken.due])
    await scheduler.pause(1, "why", None)
    await scheduler.align([], complete=True)

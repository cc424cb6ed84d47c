"""The overlap rule as PostgreSQL applies it, with one runner and with several at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from reconciler.db import byhand, claims, finishing, waiting
from reconciler.db.claims import Claim, Decided, Move, Returned, Wanted
from reconciler.db.link import Link
from reconciler.occurrences import Skip, turn_of
from reconciler.overlap import Held, Policy, overlap_verdict

START = datetime(2026, 3, 10, 1, tzinfo=UTC)
ME, OTHER = uuid4(), uuid4()
POLICIES: tuple[Policy, ...] = ("skip", "allow", "queue", "replace")


def hour(n: int) -> datetime:
    return START + timedelta(hours=n)


def written(n: int) -> str:
    return f"{hour(n):%Y-%m-%dT%H:%M:%SZ}"


class Names:
    """Names in one database, and what runners decide of them."""

    def __init__(self, link: Link) -> None:
        self.link = link

    async def add(self, name: str, overlap: str = "skip", **fields: Any) -> None:
        spec = {
            "name": name,
            "task": "t",
            "queue": "default",
            "priority": 0,
            "overlap": overlap,
            "labels": {},
            **fields,
        }
        values = [name, Jsonb(spec)]
        await self.link.run(
            "insert into task_configs (name, source, spec, digest, path) values (%s, 'd', %s, 'd', 'a')", values
        )
        await self.link.run(
            "insert into task_revisions (source, path, name, spec, digest, sync_id)"
            " values ('default', 'a.yaml', %s, %s, 'd', 1)",
            values,
        )
        await self.link.run("insert into task_cursors (name, through) values (%s, %s)", [name, START])

    async def seen(self, name: str) -> datetime:
        [(through,)] = await self.link.run("select through from task_cursors where name = %s", [name])
        return through  # type: ignore[no-any-return]

    async def decide(
        self, name: str, *instants: int, overlap: str = "skip", waits: bool = False, by: UUID = ME, **fields: Any
    ) -> Decided:
        fires = [fire(name, hour(n), overlap, waits=waits, is_backlog=len(instants) > 1, **fields) for n in instants]
        move = Move(name, "d", await self.seen(name), hour(instants[-1]))
        return await claims.decide(self.link, by, [move], fires, [])

    async def skips(self, name: str = "a") -> list[tuple[Any, ...]]:
        sql = "select first, reason, detail from task_skips where name = %s order by first"
        return await self.link.run(sql, [name])

    async def held(self, name: str = "a") -> list[tuple[datetime, bool]]:
        """Each claim's instant, and whether it is owned."""
        sql = "select scheduled_for, runner_id is not null from task_claims where name = %s order by scheduled_for"
        return await self.link.run(sql, [name])

    async def back_off(self, name: str = "a", error: str = "no") -> None:
        """The owned run of the name failed, and comes again in an hour."""
        [claim] = [one for one in await finishing.of_runner(self.link, ME) if one.name == name]
        later = datetime.now(UTC) + timedelta(hours=1)
        back = Returned(name, claim.scheduled_for, claim.token, later, [{"error": error}])
        assert await finishing.hand_back(self.link, [back]) == {claim.token}

    async def pick_up(self, by: UUID = ME, limit: int = 9) -> list[Claim]:
        return await claims.pick_up(self.link, by, ["default"], ["t"], limit)


def fire(
    name: str, when: datetime, overlap: str, *, waits: bool = False, is_backlog: bool = False, **fields: Any
) -> Wanted:
    values = {"turn": turn_of(when), "trigger": "schedule", **fields}
    trigger = values.pop("trigger")
    return Wanted(
        name,
        when,
        "t",
        uuid4(),
        "default",
        0,
        trigger,
        overlap != "allow",
        overlap=overlap,
        waits=waits or is_backlog,
        is_backlog=is_backlog,
        **values,
    )


@pytest.fixture
async def names(link: Link) -> Names:
    return Names(link)


@pytest.fixture
async def second(database_url: str) -> AsyncIterator[Link]:
    link = Link(database_url)
    yield link
    await link.close()


# What is there when the instant of 04:00 comes due.
STATES: tuple[tuple[Held, ...], ...] = (
    (),
    (Held(hour(1), "owned"),),
    (Held(hour(1), "back-off"),),
    (Held(hour(2), "waiting"),),
    (Held(hour(1), "owned"), Held(hour(2), "waiting")),
    (Held(hour(1), "back-off"), Held(hour(2), "waiting")),
)


@pytest.mark.parametrize("is_backlog", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
async def test_postgresql_says_what_the_pure_rule_says(names: Names, policy: Policy, is_backlog: bool) -> None:
    for number, held in enumerate(STATES):
        name = f"n{number}"
        await names.add(name, policy)
        for one in held:
            await names.link.run(
                "insert into task_claims (name, scheduled_for, task, token, runner_id, queue, trigger, digest,"
                " exclusive, attempts) values (%s, %s, 't', %s, %s, 'default', 'schedule', 'd', %s, %s)",
                [
                    name,
                    one.scheduled_for,
                    uuid4(),
                    ME if one.state == "owned" else None,
                    policy != "allow",
                    Jsonb([{"error": "no"}] if one.state == "back-off" else []),
                ],
            )
        instants = (3, 4) if is_backlog else (4,)
        decided = await names.decide(name, *instants, overlap=policy, waits=False)
        verdict = overlap_verdict(policy, hour(instants[0]), held, is_backlog=is_backlog)
        there = dict(await names.held(name))
        skipped = {first: detail for first, _, detail in await names.skips(name)}
        for n in instants:
            expected = {"start": True, "wait": False, "skip": None, "replace": False}[verdict.verdict]
            assert there.get(hour(n)) == expected, (held, verdict)
            assert skipped.get(hour(n)) == (verdict.detail if verdict.verdict == "skip" else None), (held, verdict)
        assert bool(decided.won) == (verdict.verdict == "start")
        if verdict.verdict == "replace":
            gone = {one.scheduled_for for one in held if one.state == "waiting"}
            assert gone.isdisjoint(there)
            assert {first for first, detail in skipped.items() if detail == verdict.detail} == gone
            asked = await names.link.run(
                "select scheduled_for from task_claims where name = %s and cancel_requested = %s",
                [name, verdict.detail],
            )
            assert {when for (when,) in asked} == {one.scheduled_for for one in held} - gone
            assert decided.is_asked == (len(held) > len(gone))


async def test_of_many_instants_during_one_run_the_first_waits_and_the_others_are_skips_that_name_it(
    names: Names,
) -> None:
    await names.add("a", "queue")
    assert (await names.decide("a", 1, overlap="queue")).won
    first = await names.decide("a", 2, overlap="queue")
    assert (first.won, first.is_waiting) == (set(), True)
    for n in (3, 4):
        later = await names.decide("a", n, overlap="queue")
        assert (later.is_waiting, later.skipped) == (False, {"overlap": 1})
    assert await names.held() == [(hour(1), True), (hour(2), False)]
    detail = f"the run of {written(2)} was still waiting"
    assert await names.skips() == [(hour(3), "overlap", detail), (hour(4), "overlap", detail)]

    assert await names.pick_up() == [], "not beside the run that it waits for"
    await names.link.run("delete from task_claims where runner_id is not null")
    assert [one.scheduled_for for one in await names.pick_up()] == [hour(2)]
    assert (await names.decide("a", 5, overlap="queue")).is_waiting


async def test_what_replaces_waits_until_the_other_has_ended(names: Names) -> None:
    await names.add("a", "replace")
    await names.decide("a", 1, overlap="replace")
    assert (await names.decide("a", 2, overlap="replace")).is_asked
    assert await names.pick_up() == []
    # A third one: the running one has been asked already, and the second never began.
    again = await names.decide("a", 3, overlap="replace")
    assert (again.is_asked, again.skipped) == (False, {"overlap": 1})
    assert await names.skips() == [(hour(2), "overlap", f"replaced by the run of {written(3)}")]
    [running] = await finishing.of_runner(names.link, ME)
    assert running.cancel_requested == f"replaced by the run of {written(2)}"
    await names.link.run("delete from task_claims where runner_id is not null")
    assert [one.scheduled_for for one in await names.pick_up()] == [hour(3)]


async def test_what_a_person_asked_for_is_not_replaced(names: Names) -> None:
    await names.add("a", "replace")
    await byhand.trigger(names.link, "a")
    assert (await names.decide("a", 1, overlap="replace")).won
    assert await names.skips() == []
    assert len(await names.held()) == 2


async def test_a_replaced_retry_is_handed_to_any_runner_at_once_to_be_failed(names: Names) -> None:
    await names.add("a", "replace")
    await names.decide("a", 1, overlap="replace")
    await names.back_off()
    await names.decide("a", 2, overlap="replace")
    assert [one.scheduled_for for one in await names.pick_up()] == [], "it still holds up the new one"
    [asked] = await waiting.cancelled(names.link, OTHER)
    assert (asked.scheduled_for, asked.attempts) == (hour(1), [{"error": "no"}])
    assert asked.cancel_requested == f"replaced by the run of {written(2)}"
    assert await waiting.cancelled(names.link, ME) == []


async def test_of_two_runners_at_once_one_writes_the_verdict(names: Names, second: Link) -> None:
    for n in range(40):
        await names.add(f"n{n}", POLICIES[n % 4])
        if n % 3:
            await names.decide(f"n{n}", 1, overlap=POLICIES[n % 4])
    seen = {f"n{n}": await names.seen(f"n{n}") for n in range(40)}

    async def all_of(link: Link, by: UUID, order: Sequence[str]) -> Decided:
        fires = [fire(name, hour(2), POLICIES[int(name[1:]) % 4]) for name in order]
        return await claims.decide(link, by, [Move(one.name, "d", seen[one.name], hour(2)) for one in fires], fires, [])

    rounds = await asyncio.gather(all_of(names.link, ME, list(seen)), all_of(second, OTHER, list(seen)[::-1]))
    assert not rounds[0].moved & rounds[1].moved
    for name in seen:
        if await names.seen(name) != hour(2):
            continue  # neither had it: each passed over what the other had locked
        there = [when for when, _ in await names.held(name)].count(hour(2))
        skipped = [first for first, _, _ in await names.skips(name)].count(hour(2))
        assert there + skipped == 1, name
    owned = await names.link.run(
        "select name from task_claims where exclusive and runner_id is not null group by name having count(*) > 1"
    )
    assert owned == []


async def test_a_replacement_sees_what_another_runner_has_just_picked_up(names: Names, second: Link) -> None:
    """`replaced` waits for whoever has its claims, and sees them as they are then."""
    await names.add("a", "replace")
    await names.decide("a", 1, overlap="replace", waits=True)
    async with second.transaction() as tx:
        await tx.run("update task_claims set runner_id = %s, token = %s", [OTHER, uuid4()])
        deciding = asyncio.create_task(names.decide("a", 2, overlap="replace"))
        async with asyncio.timeout(20):
            while not await _is_blocked(tx):
                await asyncio.sleep(0.01)
    decided = await deciding
    assert decided.is_asked
    assert decided.is_waiting
    assert await names.held() == [(hour(1), True), (hour(2), False)]
    assert await names.skips() == []


async def test_an_instant_that_was_to_start_and_lost_to_a_pick_up_of_this_moment_waits(
    names: Names, second: Link
) -> None:
    """The snapshot has a manual run waiting, which is in nobody's way; by the time of the insert it is owned."""
    await names.add("a", "replace")
    await names.decide("a", 1, overlap="replace", waits=True)
    manual = await byhand.trigger(names.link, "a")
    async with second.transaction() as tx:
        await tx.run("delete from task_claims where trigger = 'schedule'")
        await tx.run("update task_claims set runner_id = %s, token = %s where trigger = 'manual'", [OTHER, uuid4()])
        deciding = asyncio.create_task(names.decide("a", 2, overlap="replace"))
        async with asyncio.timeout(20):
            while not await _is_blocked(tx):
                await asyncio.sleep(0.01)
    decided = await deciding
    assert (decided.won, decided.is_waiting) == (set(), True)
    assert await names.held() == [(hour(2), False), (manual, True)]
    assert await names.skips() == []


async def _is_blocked(tx: Any) -> bool:
    [(count,)] = await tx.run(
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    )
    return bool(count)


async def test_what_is_skipped_is_counted_by_reason_and_by_instants(names: Names) -> None:
    await names.add("a")
    assert (await names.decide("a", 1)).skipped == {}
    down = Skip("a", hour(2), hour(6), 5, "missed", "only the latest is made up for")
    fires = [fire("a", hour(7), "skip")]
    decided = await claims.decide(names.link, ME, [Move("a", "d", hour(1), hour(7))], fires, [down])
    assert decided.skipped == {"missed": 5, "overlap": 1}


async def test_an_instant_that_has_its_run_already_gets_no_second_verdict(names: Names) -> None:
    await names.add("a", "queue")
    await names.link.run(
        "insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, trigger, digest)"
        " values ('a', %(at)s, 't', %(at)s, %(at)s, true, 'after', 'd')",
        {"at": hour(1)},
    )
    await names.decide("a", 1, overlap="queue")
    await names.link.run("update task_cursors set through = %s", [START])
    assert (await names.decide("a", 1, overlap="skip")).skipped == {}
    assert await names.skips() == []
    assert await names.held() == []


async def test_a_pause_by_label_holds_whatever_redis_says(names: Names) -> None:
    await names.add("a", labels={"team": "data", "tier": "1"})
    await names.add("b", labels={"team": "web"})
    await names.link.run(
        "insert into task_overrides (name, selector, kind, actor) values (null, %s, 'pause', 'ada')",
        [Jsonb({"team": "data"})],
    )
    for overlap in ("skip", "queue"):
        assert not (await names.decide("a", 1, overlap=overlap)).moved
    assert (await names.decide("b", 1)).won
    await names.link.run("update task_overrides set ended_at = clock_timestamp()")
    assert (await names.decide("a", 1)).won

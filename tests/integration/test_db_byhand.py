"""What a person asks for, as rows: once more, an instant of the past, none of it any more."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from reconciler.db import byhand, claims, filling, pending
from reconciler.db.link import Link

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

EXECUTION = """
insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, trigger, replays, digest)
values ('a', %(at)s, 't', %(at)s, %(at)s, %(ok)s, %(trigger)s, %(replays)s, 'd')
"""


@pytest.fixture
async def a(link: Link) -> Link:
    """A database with the task `a`."""
    await config(link, "a")
    return link


async def config(link: Link, name: str, **fields: Any) -> None:
    spec = {"name": name, "task": "t", "queue": "default", "priority": 3, "overlap": "skip", **fields}
    await link.run(
        "insert into task_configs (name, source, spec, digest, path) values (%s, 's', %s, 'd', 'p')", [name, spec]
    )


async def ran(link: Link, at: datetime, *, ok: bool = True, replays: datetime | None = None) -> None:
    trigger = "rerun" if replays else "schedule"
    await link.run(EXECUTION, {"at": at, "ok": ok, "trigger": trigger, "replays": replays})


async def own(link: Link, at: datetime) -> None:
    await link.run("update task_claims set runner_id = %s, token = %s where scheduled_for = %s", [uuid4(), uuid4(), at])


# ── once more ──


async def test_a_trigger_is_waiting_work_that_says_who_asked(a: Link) -> None:
    at = await byhand.trigger(a, "a", {"x": 1}, actor="ana@desk", follow=True)
    assert at is not None
    (claim,) = await pending.claims_of(a, "a")
    assert (claim.scheduled_for, claim.trigger, claim.actor, claim.exclusive) == (at, "manual", "ana@desk", True)
    assert not claim.is_owned
    [(params, follow, priority, turn)] = await a.run("select params, follow, priority, turn from task_claims")
    assert (params, follow, priority) == ({"x": 1}, True, 3)
    assert turn == -((at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1))


async def test_many_triggers_at_once_are_one_claim_each_and_none_on_a_scheduled_instant(
    a: Link, database_url: str
) -> None:
    links = [Link(database_url) for _ in range(4)]
    found = await asyncio.gather(*(byhand.trigger(each, "a") for each in links for _ in range(5)))
    assert len(set(found)) == 20
    assert all(at is not None and at.microsecond for at in found)
    await asyncio.gather(*(each.close() for each in links))


@pytest.mark.parametrize(
    ("overlap", "beside", "exclusive"), [("skip", False, True), ("skip", True, False), ("allow", False, False)]
)
async def test_beside_another_run_it_is_not_exclusive(link: Link, overlap: str, beside: bool, exclusive: bool) -> None:
    await config(link, "a", overlap=overlap)
    await byhand.trigger(link, "a", beside=beside)
    assert [claim.exclusive for claim in await pending.claims_of(link, "a")] == [exclusive]


async def test_of_one_name_what_was_asked_for_first_runs_first_and_between_names_the_newest(a: Link) -> None:
    await config(a, "b")
    await a.run("insert into task_cursors (name) values ('a'), ('b')")
    asked = [await byhand.trigger(a, name, {"n": n}) for n, name in enumerate("aab")]
    had = []
    for _ in range(3):
        [claim] = await claims.pick_up(a, uuid4(), ["default"], ["t"], 1)
        had.append(claim.scheduled_for)
        await a.run("delete from task_claims where token = %s", [claim.token])
    assert had == [asked[2], asked[0], asked[1]]


async def test_a_whole_second_is_left_to_the_schedule(a: Link) -> None:
    statement = byhand.TRIGGER.replace("clock_timestamp()", "'2026-01-01 12:00:00'::timestamptz")
    values = dict.fromkeys(("params", "replays", "actor")) | {
        "name": "a", "trigger": "manual", "beside": False, "follow": False
    }  # fmt: skip
    assert await a.run(statement, values) == [(NOON + timedelta(milliseconds=1),)]
    assert await a.run(statement, values) == []  # this millisecond is taken


# ── instants of the past ──


async def test_an_instant_is_filled_once_whoever_asks(a: Link, database_url: str) -> None:
    other = Link(database_url)
    asked = await asyncio.gather(*(filling.fill(each, "a", NOON, beside=False, actor="ana") for each in (a, other)))
    assert sorted(asked) == [False, True]
    (claim,) = await pending.claims_of(a, "a")
    assert (claim.scheduled_for, claim.trigger, claim.exclusive) == (NOON, "backfill", True)
    await ran(a, NOON + HOUR)
    assert not await filling.fill(a, "a", NOON + HOUR, beside=False, actor="ana")
    assert not await filling.fill(a, "nobody", NOON, beside=False, actor="ana")
    assert await filling.taken(a, "a", NOON, NOON + HOUR) == {NOON, NOON + HOUR}
    assert await filling.taken(a, "a", NOON + timedelta(seconds=1), NOON + timedelta(seconds=2)) == set()
    await other.close()


async def test_what_is_filled_in_goes_oldest_first_though_the_newest_name_goes_first(a: Link) -> None:
    await a.run("insert into task_cursors (name) values ('a')")
    for hours in range(3):
        assert await filling.fill(a, "a", NOON + hours * HOUR, beside=True, actor="ana")
    picked = []
    for _ in range(3):
        [claim] = await claims.pick_up(a, uuid4(), ["default"], ["t"], 1)
        picked.append(claim.scheduled_for)
        await a.run("delete from task_claims where token = %s", [claim.token])
    assert picked == [NOON, NOON + HOUR, NOON + 2 * HOUR]


async def test_what_failed_is_judged_with_its_last_rerun(a: Link) -> None:
    days = [NOON + day * 24 * HOUR for day in range(5)]
    for day in days:
        await ran(a, day, ok=day == days[0])
    later = days[-1] + HOUR
    await ran(a, later, ok=True, replays=days[1])
    await ran(a, later + HOUR, ok=True, replays=days[2])
    await ran(a, later + 2 * HOUR, ok=False, replays=days[2])
    everything = ("a", NOON, later + 9 * HOUR, 100)
    assert await filling.failed(a, *everything) == [days[2], days[3], days[4]]
    await byhand.trigger(a, "a", trigger="rerun", replays=days[3])
    assert await filling.failed(a, *everything) == [days[2], days[4]]
    assert await filling.failed(a, "a", days[3], days[4], 1) == [days[4]]


async def test_the_nearest_instants_with_a_row_are_told(a: Link) -> None:
    for hours in range(6):
        await ran(a, NOON + hours * HOUR)
    near = await filling.nearest(a, "a", NOON + HOUR * 2.5)
    assert near == [NOON + hours * HOUR for hours in (1, 2, 3, 4)]


async def test_a_name_was_born_with_its_first_revision_or_else_when_it_was_stored(a: Link) -> None:
    assert await filling.born(a, "a", NOON) == NOON
    for hours in (3, 2):
        await a.run(
            "insert into task_revisions (source, path, name, digest, spec, sync_id, applied_at)"
            " values ('default', 'a.yaml', 'a', 'd', '{}', 1, %s)",
            [NOON + hours * HOUR],
        )
    assert await filling.born(a, "a", NOON) == NOON + 2 * HOUR


# ── none of it any more ──


async def test_what_has_not_begun_goes_and_what_has_is_told(a: Link) -> None:
    waits, runs, retries = [await byhand.trigger(a, "a") for _ in range(3)]
    assert waits and runs and retries
    await own(a, runs)
    await a.run("update task_claims set attempts = '[{}]' where scheduled_for = %s", [retries])
    told = await byhand.cancel(a, "a", None, "cancelled by ana: why")
    assert told == {waits: True, runs: False, retries: False}
    left = {claim.scheduled_for: claim.cancel_requested for claim in await pending.claims_of(a, "a")}
    assert left == {runs: "cancelled by ana: why", retries: "cancelled by ana: why"}
    assert await pending.skipped(a, "a", waits) == ("cancelled", "cancelled by ana: why")
    assert await pending.skipped(a, "a", runs) is None
    assert await byhand.cancel(a, "a", runs, "cancelled by bob") == {runs: False}
    assert (await pending.claim(a, "a", runs)).cancel_requested == "cancelled by ana: why"  # type: ignore[union-attr]
    assert await byhand.cancel(a, "nobody", None, "x") == {}


async def test_a_rerun_is_cancelled_by_its_own_instant_or_by_the_one_it_replays(a: Link) -> None:
    first = await byhand.trigger(a, "a", trigger="rerun", replays=NOON)
    second = await byhand.trigger(a, "a", trigger="rerun", replays=NOON + HOUR)
    assert await byhand.cancel(a, "a", NOON, "x") == {first: True}
    assert await byhand.cancel(a, "a", second, "x") == {second: True}


async def test_two_who_cancel_at_once_do_not_block_each_other(a: Link, database_url: str) -> None:
    for _ in range(20):
        await byhand.trigger(a, "a")
    links = [Link(database_url) for _ in range(4)]
    told = await asyncio.gather(*(byhand.cancel(each, "a", None, f"by {n}") for n, each in enumerate(links)))
    assert sorted(map(len, told)) == [0, 0, 0, 20]
    await asyncio.gather(*(each.close() for each in links))

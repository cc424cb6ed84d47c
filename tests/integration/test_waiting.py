"""Waiting work on a real PostgreSQL: in which order it is had, what it waits for, and what never starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

from reconciler.db import claims, overrides, waiting
from reconciler.db.claims import Claim
from reconciler.db.link import Link
from reconciler.occurrences import turn_of

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
ME, OTHER, THIRD = uuid4(), uuid4(), uuid4()


def minute(n: int) -> datetime:
    return NOON + timedelta(minutes=n)


class Work:
    """Claims that wait, written as whoever decided or asked would have."""

    def __init__(self, link: Link) -> None:
        self.link = link

    async def add(self, name: str, when: datetime, turn: int | None = None, **fields: Any) -> None:
        await self.link.run("insert into task_cursors (name) values (%s) on conflict do nothing", [name])
        values = {
            "name": name,
            "scheduled_for": when,
            "turn": turn_of(when) if turn is None else turn,
            "task": "t",
            "not_before": when,
            "queue": "default",
            "trigger": "schedule",
            "digest": "d",
            "exclusive": True,
            **fields,
        }
        columns, places = ", ".join(values), ", ".join(f"%({key})s" for key in values)
        await self.link.run(f"insert into task_claims ({columns}) values ({places})", values)

    async def backlog(self, name: str, first: int, last: int, **fields: Any) -> None:
        for place, n in enumerate(range(first, last + 1)):
            await self.add(name, minute(n), turn_of(minute(last), place), trigger="catch_up", **fields)

    async def pick_up(self, limit: int = 99, tasks: tuple[str, ...] = ("t",)) -> list[tuple[str, datetime]]:
        """What is had now, in order of turn."""
        picked = await claims.pick_up(self.link, ME, ["default", "other"], tasks, limit)
        return [(claim.name, claim.scheduled_for) for claim in sorted(picked, key=lambda one: one.scheduled_for)]

    async def finish(self) -> None:
        await self.link.run("delete from task_claims where runner_id is not null")


@pytest.fixture
async def work(link: Link) -> Work:
    return Work(link)


@pytest.fixture
async def links(link: Link, database_url: str) -> AsyncIterator[list[Link]]:
    others = [Link(database_url), Link(database_url)]
    yield [link, *others]
    for other in others:
        await other.close()


async def test_a_backlog_goes_oldest_first_within_a_name_and_newest_first_between_names(work: Work) -> None:
    await work.backlog("early", 0, 2)
    await work.backlog("late", 10, 12)
    had = []
    for _ in range(6):
        had += await work.pick_up(1)
        await work.finish()
    assert had == [
        (name, minute(n)) for name, n in [*(("late", n) for n in (10, 11, 12)), *(("early", n) for n in (0, 1, 2))]
    ]


async def test_of_long_backlogs_as_many_names_run_as_there_are_slots(work: Work) -> None:
    for n in range(5):
        await work.backlog(f"n{n}", 100 * n, 100 * n + 40)
    assert await work.pick_up(5) == [(f"n{n}", minute(100 * n)) for n in range(5)]
    assert await work.pick_up(5) == [], "one of a name at a time"


async def test_priority_goes_before_turn_and_any_queue_before_none(work: Work) -> None:
    await work.add("old", minute(0), priority=5)
    await work.add("new", minute(9))
    await work.add("urgent", minute(1), priority=9, queue="other")
    for expected in (("urgent", minute(1)), ("old", minute(0)), ("new", minute(9))):
        assert await work.pick_up(1) == [expected]


async def test_a_retry_in_back_off_holds_up_what_is_new_of_its_name_and_no_other_retry(work: Work) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    await work.add("a", minute(0), attempts=Jsonb([{"error": "no"}]), not_before=later)
    await work.add("a", minute(1), attempts=Jsonb([{"error": "no"}]))
    await work.add("a", minute(2), trigger="manual")
    await work.add("beside", minute(0), attempts=Jsonb([{"error": "no"}]), not_before=later, exclusive=False)
    await work.add("beside", minute(1))
    assert await work.pick_up() == [("a", minute(1)), ("beside", minute(1))]
    await work.finish()
    assert await work.pick_up() == []
    await work.link.run("update task_claims set not_before = %s", [NOON])
    assert await work.pick_up() == [("a", minute(0)), ("beside", minute(0))]
    await work.finish()
    assert await work.pick_up() == [("a", minute(2))]


async def test_the_oldest_of_a_backlog_stands_in_nobodys_way_where_it_cannot_run(work: Work) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    await work.add("a", minute(0), task="unknown here", turn=0)
    await work.add("a", minute(1), turn=1, not_before=soon)
    await work.add("a", minute(2), turn=2, start_by=NOON)
    await work.add("a", minute(3), turn=3, cancel_requested="no")
    await work.add("a", minute(4), turn=4)
    assert await work.pick_up() == [("a", minute(4))]


async def test_what_may_run_beside_others_is_had_all_at_once(work: Work) -> None:
    await work.backlog("a", 0, 3, exclusive=False)
    assert len(await work.pick_up()) == 4


async def test_what_is_too_late_to_start_is_never_had_and_becomes_a_skip(work: Work) -> None:
    spec = Jsonb({"deadline": {"start": "10m", "finish": None}})
    await work.link.run(
        "insert into task_revisions (source, path, name, digest, spec, sync_id)"
        " values ('default', 'a.yaml', 'a', 'd', %s, 1), ('default', 'a.yaml', 'a', 'd', %s, 2)",
        [spec, spec],
    )
    later = datetime.now(UTC) + timedelta(hours=1)
    await work.add("a", minute(0), start_by=minute(10))
    await work.add("a", minute(1), start_by=later, not_before=later)
    await work.add("a", minute(2), start_by=minute(10), attempts=Jsonb([{"error": "it began in time"}]))
    await work.add("of no known spec", minute(3), start_by=minute(10))
    assert await work.pick_up() == [("a", minute(2))]
    assert await waiting.skip(work.link) == {"deadline": 2}
    assert await waiting.skip(work.link) == {}
    rows = await work.link.run("select name, first, last, count, reason, detail from task_skips order by name")
    assert rows == [
        ("a", minute(0), minute(0), 1, "deadline", "not started within 10m"),
        ("of no known spec", minute(3), minute(3), 1, "deadline", "not started in time"),
    ]
    assert await work.link.run("select scheduled_for from task_claims order by 1") == [(minute(1),), (minute(2),)]


async def test_what_waits_when_a_pause_begins_is_skipped_and_what_was_asked_for_is_not(work: Work) -> None:
    await work.link.run(
        "insert into task_configs (name, source, spec, digest, path) values ('labelled', 's', %s, 'd', 'p')",
        [Jsonb({"labels": {"team": "data"}})],
    )
    for name in ("a", "b", "labelled"):
        await work.backlog(name, 0, 1)
        await work.add(name, minute(2), trigger="manual")
        await work.add(name, minute(3), attempts=Jsonb([{"error": "no"}]))
        await work.add(name, minute(4), trigger="after", exclusive=False)
    assert await waiting.skip(work.link) == {}
    await overrides.pause(work.link, "a", "the warehouse moves", "ada", None)
    await overrides.pause(work.link, {"team": "data"}, None, "bob", datetime.now(UTC) + timedelta(hours=1))
    await overrides.pause(work.link, "b", "over", "bob", datetime.now(UTC) - timedelta(hours=1))
    assert await waiting.skip(work.link) == {"paused": 6}
    assert await waiting.skip(work.link) == {}
    rows = await work.link.run("select distinct name, reason, detail from task_skips order by name")
    assert rows == [
        ("a", "paused", "paused by ada: the warehouse moves, while it waited"),
        ("labelled", "paused", "paused by bob, while it waited"),
    ]
    left = await work.link.run(
        "select name, array_agg(scheduled_for order by scheduled_for) from task_claims group by 1"
    )
    asked = [minute(2), minute(3)]
    assert dict(left) == {"a": asked, "b": [minute(0), minute(1), *asked, minute(4)], "labelled": asked}


async def test_what_is_too_late_and_paused_twice_over_is_one_skip_that_says_it_was_too_late(work: Work) -> None:
    await overrides.pause(work.link, "a", "the warehouse moves", "ada", None)
    await work.link.run(
        "insert into task_configs (name, source, spec, digest, path) values ('a', 's', %s, 'd', 'p')",
        [Jsonb({"labels": {"team": "data"}})],
    )
    await overrides.pause(work.link, {"team": "data"}, None, "bob", None)
    await work.add("a", minute(0), start_by=minute(10))
    await work.add("a", minute(1))
    assert await waiting.skip(work.link) == {"deadline": 1, "paused": 1}
    rows = await work.link.run("select first, reason from task_skips order by first")
    assert rows == [(minute(0), "deadline"), (minute(1), "paused")]
    assert await work.link.run("select * from task_claims") == []


async def test_what_was_asked_to_end_is_given_out_to_be_ended_and_to_nothing_else(work: Work) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    await work.add("a", minute(0), runner_id=OTHER, token=uuid4())
    await work.add("a", minute(1), attempts=Jsonb([{"error": "no"}]), not_before=later, cancel_requested="by ada")
    await work.add("a", minute(2), queue="nobody's", task="unknown", cancel_requested="by ada")
    assert await work.pick_up() == []
    asked = await waiting.cancelled(work.link, ME)
    assert sorted((one.scheduled_for, one.cancel_requested) for one in asked) == [
        (minute(1), "by ada"),
        (minute(2), "by ada"),
    ]
    assert await waiting.cancelled(work.link, ME) == []


async def test_a_queue_with_a_limit_is_never_over_it_whoever_picks_up(work: Work, links: list[Link]) -> None:
    for n in range(30):
        await work.add(f"n{n}", minute(n), queue="narrow")
        await work.add(f"m{n}", minute(n), queue="wide")
    runners = list(zip(links, (ME, OTHER, THIRD), strict=True))

    async def pick_up(link: Link, runner: Any) -> list[Claim]:
        return await claims.pick_up_limited(link, runner, {"narrow": 4, "wide": 7}, ["t"], 5)

    async def owned() -> dict[str, int]:
        sql = "select queue, count(*) from task_claims where runner_id is not null group by queue"
        return dict(await work.link.run(sql))

    had: list[Claim] = []
    most: dict[str, int] = {"narrow": 0, "wide": 0}
    async with asyncio.timeout(60):
        while len(had) < 60:
            picked = await asyncio.gather(*(pick_up(link, runner) for link, runner in runners))
            had += [claim for one in picked for claim in one]
            counts = await owned()
            most = {queue: max(count, counts.get(queue, 0)) for queue, count in most.items()}
            if not any(picked):
                await work.finish()
    assert most == {"narrow": 4, "wide": 7}
    assert len({claim.token for claim in had}) == 60


async def test_a_retry_of_a_queue_with_a_limit_counts_too(work: Work) -> None:
    await work.add("a", minute(0), queue="narrow", attempts=Jsonb([{"error": "no"}]))
    await work.add("b", minute(1), queue="narrow")
    assert len(await claims.pick_up_limited(work.link, ME, {"narrow": 1}, ["t"], 9)) == 1
    assert await claims.pick_up_limited(work.link, OTHER, {"narrow": 1}, ["t"], 9) == []


async def test_a_runner_that_stops_in_the_middle_of_counting_holds_up_a_queue_for_two_seconds(
    work: Work, links: list[Link]
) -> None:
    await work.add("a", minute(0), queue="narrow")
    stopped = links[1]
    async with asyncio.timeout(30):
        with pytest.raises(Exception, match=r"idle|broke|terminat"):
            async with stopped.transaction() as tx:
                await tx.run(claims.LOCK, {"queue": "narrow"})
                assert await claims.pick_up_limited(links[0], ME, {"narrow": 1}, ["t"], 9) == []
                while not await claims.pick_up_limited(links[0], ME, {"narrow": 1}, ["t"], 9):
                    await asyncio.sleep(0.05)
                await tx.run("select 1")

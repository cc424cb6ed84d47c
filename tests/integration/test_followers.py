"""What follows from how runs ended, on a real PostgreSQL: once, at the right instant, whoever asks."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from reconciler.after import meeting
from reconciler.db import followers, overrides
from reconciler.db.followers import Failing, Followed
from reconciler.db.link import Link
from reconciler.spec import TaskSpec

# Instants before this are used up; none lies before what PostgreSQL's clock says when a config is made.
START = datetime(2026, 3, 10, 1, tzinfo=UTC)
SOON = datetime(2100, 1, 1, tzinfo=UTC)


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


async def config(link: Link, name: str, through: datetime | None = START, **fields: Any) -> None:
    spec = TaskSpec(name=name, task="t", **fields)
    await link.run(
        "insert into task_configs (name, source, spec, digest, path, created_at)"
        " values (%s, 'default', %s, %s, 'a.yaml', %s)",
        [name, Jsonb(spec.document()), spec.digest, START],
    )
    await link.run(
        "insert into task_cursors (name, through, after_through) values (%s, %s, %s)", [name, START, through]
    )


async def ran(link: Link, name: str, minute: float, error: str | None = None, trigger: str = "schedule") -> None:
    await link.run(
        "insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, error, trigger,"
        " digest) values (%s, %s, 't', %s, %s, %s, %s, %s, 'd')",
        [name, at(minute), at(minute), at(minute + 0.5), error is None, error, trigger],
    )


async def fired(link: Link) -> list[tuple[str, float]]:
    """Everything that comes, asked until nothing does, with its minute."""
    found: list[Followed] = []
    while more := await followers.follow(link):
        found += more
    return [(one.name, round((one.scheduled_for - START).total_seconds() / 60, 6)) for one in found if one.is_fired]


async def claims(link: Link, name: str = "c") -> list[tuple[Any, ...]]:
    return await link.run(
        "select scheduled_for, trigger, queue, priority, exclusive, digest, task, runner_id, start_by, turn"
        " from task_claims where name = %s order by turn",
        [name],
    )


WHO = pytest.mark.parametrize(
    ("a", "b", "instants"),
    [
        # both at the same instant
        ([1], [1], [1]),
        # one is missing
        ([1], [], []),
        ([1, 2, 3], [], []),
        # with a schedule in common, each instant comes, however late anybody looks
        ([1, 2, 3], [1, 2, 3], [1, 2, 3]),
        ([1, 2], [1], [1]),
        # the second comes later: its newest success up to then counts for the first
        ([1, 2, 3], [3], [3]),
        ([1, 2, 4], [3], [2]),
        # one after the other, day after day: what was used up does not count for the next day
        ([10, 1010], [20], [10]),
        ([10, 1010], [20, 1020], [10, 1010]),
        # one of them often, the other seldom
        ([1, 2, 3, 4, 5, 6, 7, 8], [4, 8], [4, 8]),
        # what was before is used up
        ([-1, 0], [-1, 0], []),
    ],
)


@WHO
async def test_a_task_follows_when_all_that_it_waits_for_have_succeeded(
    link: Link, a: list[float], b: list[float], instants: list[float]
) -> None:
    await config(link, "c", after=("a", "b"))
    for name, minutes in (("a", a), ("b", b)):
        for minute in minutes:
            await ran(link, name, minute)
    assert await fired(link) == [("c", minute) for minute in instants]


async def test_postgresql_says_what_the_pure_rule_says(link: Link) -> None:
    chance = random.Random(7)
    expected: list[tuple[str, float]] = []
    for number in range(30):
        names = [f"u{number}-{place}" for place in range(chance.randint(1, 4))]
        await config(link, f"c{number}", after=tuple(names))
        successes = []
        for name in names:
            minutes = sorted(chance.sample(range(-3, 12), chance.randint(2, 8)))
            for minute in minutes:
                await ran(link, name, minute)
            successes.append([at(minute) for minute in minutes])
        seen = START
        while met := meeting(successes, seen):
            expected.append((f"c{number}", (met.instant - START) / timedelta(minutes=1)))
            seen = met.until
    assert len(expected) > 30
    assert sorted(await fired(link)) == sorted(expected)


async def test_a_success_that_comes_late_is_followed_when_it_comes(link: Link) -> None:
    await config(link, "c", after=("a", "b"))
    await ran(link, "a", 1)
    await ran(link, "a", 2)
    await ran(link, "b", 1)
    assert await fired(link) == [("c", 1)]
    await ran(link, "b", 2)
    assert await fired(link) == [("c", 2)]
    assert await fired(link) == []


async def test_a_failure_is_followed_by_nothing(link: Link) -> None:
    await config(link, "c", after=("a",))
    await ran(link, "a", 1, error="no")
    assert await fired(link) == []
    await ran(link, "a", 2)
    assert await fired(link) == [("c", 2)]


async def test_what_follows_waits_like_any_other_work_and_has_its_spec(link: Link) -> None:
    fields: dict[str, Any] = {"queue": "slow", "priority": 7, "deadline": {"start": "1w2d3h"}}
    await config(link, "c", after=("a",), **fields)
    await ran(link, "a", 1)
    await ran(link, "a", 2)
    assert await fired(link) == [("c", 1), ("c", 2)]
    [(when, trigger, queue, priority, exclusive, digest, task, runner, start_by, turn), second] = await claims(link)
    assert (when, trigger, queue, priority, exclusive, task, runner) == (at(1), "after", "slow", 7, True, "t", None)
    assert digest == TaskSpec(name="c", task="t", after=("a",), **fields).digest
    [(now,)] = await link.run("select clock_timestamp()")
    assert timedelta(0) <= now + timedelta(days=9, hours=3) - start_by < timedelta(minutes=1)
    assert turn == -int(at(1).timestamp()) * 1_000_000
    assert (second[0], second[-1]) == (at(2), turn + 1)  # the oldest of a name first


async def test_an_instant_that_is_taken_moves_on_by_milliseconds(link: Link) -> None:
    await config(link, "c", after=("a",), overlap="allow")
    await ran(link, "c", 1)
    await ran(link, "a", 1)
    assert await fired(link) == [("c", pytest.approx(1 + 0.001 / 60, abs=1e-6))]
    [claim] = await claims(link)
    assert (claim[0], claim[4]) == (at(1) + timedelta(milliseconds=1), False)


async def test_a_paused_task_skips_what_it_would_have_followed(link: Link) -> None:
    await config(link, "c", after=("a",), labels={"team": "data"})
    await overrides.pause(link, {"team": "data"}, "maintenance", "kim", None)
    await ran(link, "a", 1)
    assert await followers.follow(link) == [Followed("c", at(1), False)]
    skips = await link.run("select name, first, last, count, reason, detail from task_skips")
    assert skips == [("c", at(1), at(1), 1, "paused", "paused by kim: maintenance")]
    await overrides.resume(link, {"team": "data"})
    assert await fired(link) == []  # used up


async def test_a_suspended_task_follows_nothing(link: Link) -> None:
    await config(link, "c", after=("a",), suspend=True)
    await ran(link, "a", 1)
    assert await followers.follow(link) == []


async def test_successes_from_before_anybody_counted_are_not_followed(link: Link) -> None:
    await config(link, "c", None, after=("a",))
    await ran(link, "a", 1)
    assert await fired(link) == []
    await followers.begin(link)
    assert await fired(link) == []


async def test_only_the_names_that_are_asked_about_are_looked_at(link: Link) -> None:
    await config(link, "c", after=("a",))
    await config(link, "d", after=("a",))
    await ran(link, "a", 1)
    assert [one.name for one in await followers.follow(link, ["d"])] == ["d"]
    assert await followers.upstreams(link) == {"c": ("a",), "d": ("a",)}


async def test_work_that_nobody_does_does_not_pile_up_and_is_not_lost(link: Link) -> None:
    await config(link, "c", after=("a",))
    for minute in range(1, 6):
        await ran(link, "a", minute)
    for _ in range(4):
        await followers.follow(link, most=2)
    assert [claim[0] for claim in await claims(link)] == [at(1), at(2)]
    await link.run("delete from task_claims where scheduled_for = %s", [at(1)])
    await followers.follow(link, most=2)
    assert [claim[0] for claim in await claims(link)] == [at(2), at(3)]


async def test_many_who_ask_at_once_make_it_happen_once(link: Link, database_url: str) -> None:
    for number in range(20):
        await config(link, f"c{number}", after=("a", "b"))
    for minute in (1, 2):
        await ran(link, "a", minute)
        await ran(link, "b", minute)
    links = [Link(database_url) for _ in range(4)]
    try:
        results = await asyncio.gather(*(fired(one) for one in links))
    finally:
        for one in links:
            await one.close()
    rest = await fired(link)
    assert sorted([*rest, *(one for found in results for one in found)]) == sorted(
        (f"c{number}", float(minute)) for number in range(20) for minute in (1, 2)
    )


async def failing(link: Link) -> list[str]:
    return [one.name for one in await followers.failing(link)]


async def test_a_task_that_fails_so_often_in_a_row_is_paused_once(link: Link) -> None:
    await config(link, "a", pause_after_failures=3)
    for minute in (1, 2):
        await ran(link, "a", minute, error="no")
    assert await failing(link) == []
    await ran(link, "a", 3, error="boom: no\nmore")
    assert await followers.failing(link) == [Failing("a", 3, "boom: no\nmore")]
    assert await followers.pause_failing(link, "a") is not None
    assert await followers.pause_failing(link, "a") is None
    [pause] = await overrides.active(link)
    assert (pause.name, pause.actor, pause.expires_at) == ("a", "reconciler", None)
    assert pause.reason == "3 failures in a row, the last: boom: no"
    assert await failing(link) == []


@pytest.mark.parametrize(
    ("rows", "is_failing"),
    [
        ([(1, "x", "schedule"), (2, "x", "schedule")], True),
        ([(1, "x", "schedule"), (2, None, "schedule")], False),
        ([(1, None, "schedule"), (2, "x", "schedule"), (3, "x", "manual")], True),
        ([(1, "x", "schedule"), (2, "x", "backfill")], False),
        ([(1, "x", "schedule"), (2, "x", "schedule"), (3, None, "backfill")], True),
        ([(-2, "x", "schedule"), (1, "x", "schedule")], False),  # of the name's former life
        ([(1, "x", "schedule"), (2, "x", "schedule"), (3, None, "manual")], False),
        # what was ended for another, or by a person, has neither failed nor succeeded
        ([(1, "x", "schedule"), (2, "replaced by the run of 2026-03-10T01:03:00Z", "schedule")], False),
        ([(1, "x", "schedule"), (2, "cancelled by ada", "schedule"), (3, "x", "schedule")], True),
        ([(1, "x", "schedule"), (2, "cancelled by ada: wrong file; it did not stop", "schedule")], False),
    ],
)
async def test_what_counts_as_failures_in_a_row(
    link: Link, rows: list[tuple[float, str | None, str]], is_failing: bool
) -> None:
    await config(link, "a", pause_after_failures=2)
    for minute, error, trigger in rows:
        await ran(link, "a", minute, error, trigger)
    assert await failing(link) == (["a"] if is_failing else [])


async def test_a_resume_begins_the_count_anew(link: Link) -> None:
    await config(link, "a", pause_after_failures=2)
    await ran(link, "a", 1, error="x")
    await ran(link, "a", 2, error="x")
    assert await followers.pause_failing(link, "a")
    await overrides.resume(link, "a")
    assert await failing(link) == []
    later = (datetime.now(UTC) - START).total_seconds() / 60 + 5
    await ran(link, "a", later, error="x")
    assert await failing(link) == []
    await ran(link, "a", later + 1, error="x")
    assert await failing(link) == ["a"]


async def test_a_task_without_the_rule_is_never_paused(link: Link) -> None:
    await config(link, "a")
    for minute in range(20):
        await ran(link, "a", minute, error="x")
    assert await failing(link) == []


@pytest.mark.parametrize(
    ("failures", "error", "reason"),
    [
        (1, "x", "1 failure: x"),
        (5, None, "5 failures in a row"),
        (5, "y\nz", "5 failures in a row, the last: y"),
        (2, "", "2 failures in a row"),
    ],
)
def test_the_reason_of_a_pause(failures: int, error: str | None, reason: str) -> None:
    assert Failing("a", failures, error).reason == reason


async def test_whom_a_task_still_waits_for_can_be_asked(link: Link) -> None:
    await config(link, "c", after=["b", "a"])
    await ran(link, "a", 1)
    await ran(link, "a", 2)
    await ran(link, "b", 1, error="no")
    assert await followers.awaited(link, "c") == [("b", None), ("a", at(1))]
    await ran(link, "b", 3)
    assert await fired(link) == [("c", 2)]
    assert await followers.awaited(link, "c") == [("b", None), ("a", None)]
    assert await followers.awaited(link, "a") == []

"""Reading what ran, page by page and by an index each time; and letting go of what is old."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from reconciler.db import configs, executions
from reconciler.db.configs import ConfigRow
from reconciler.db.link import Link, Params
from reconciler.db.retention import Pruned, prune

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)

INSERT = """
insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, trigger, digest)
select name, s, 'demo.task', s, s + took, is_success, 'schedule', 'd'
from unnest(%(names)s::text[], %(instants)s::timestamptz[], %(tooks)s::interval[], %(successes)s::bool[])
    as r(name, s, took, is_success)
"""

Ran = tuple[str, datetime, timedelta, bool]


async def ran(link: Link, rows: Sequence[Ran]) -> None:
    names, instants, tooks, successes = (list(column) for column in zip(*rows, strict=True))
    await link.run(INSERT, {"names": names, "instants": instants, "tooks": tooks, "successes": successes})


async def kept(link: Link, table: str = "task_executions", column: str = "scheduled_for") -> list[tuple[str, int]]:
    """Name and day since START of every row."""
    rows = await link.run(f"select name, {column} from {table} order by 1, 2")
    return [(name, (instant - START) // DAY) for name, instant in rows]


async def config(link: Link, name: str, **history: object) -> None:
    await configs.upsert(link, [ConfigRow(name, "default", {"history": history}, "d", "p")], None)


async def test_history_of_all_is_in_the_order_in_which_they_finished(link: Link) -> None:
    long = 30 * MINUTE
    await ran(link, [("a", START, long, True), ("b", START + MINUTE, MINUTE, False), ("c", START, MINUTE, True)])
    assert [run.name for run in await executions.history(link)] == ["a", "b", "c"]
    assert [run.name for run in await executions.history(link, failed=True)] == ["b"]
    assert [run.name for run in await executions.history(link, since=START + 2 * MINUTE)] == ["a", "b"]
    assert [run.name for run in await executions.history(link, limit=1)] == ["a"]


async def test_history_of_one_name_is_in_the_order_of_its_instants(link: Link) -> None:
    rows = [("a", START + n * MINUTE, (10 - 2 * n) * MINUTE, n % 2 == 0) for n in range(4)]
    await ran(link, [*rows, ("b", START + DAY, MINUTE, True)])

    async def minutes(**filters: Any) -> list[int]:
        found = await executions.history(link, name="a", **filters)
        return [(run.scheduled_for - START) // MINUTE for run in found]

    assert await minutes() == [3, 2, 1, 0]
    assert await minutes(limit=2, failed=True) == [3, 1]
    assert await minutes(since=START + 2 * MINUTE) == [3, 2]


@pytest.mark.parametrize("name", [None, "a"])
async def test_pages_join_without_a_gap_or_a_double_even_among_equal_moments(link: Link, name: str | None) -> None:
    rows = [(n, START + s * MINUTE, (3 - s) * MINUTE, True) for n in ("a", "b") for s in range(3)]
    await ran(link, rows)
    whole = await executions.history(link, name=name)
    pages, before = [], None
    while page := await executions.history(link, name=name, limit=2, before=before):
        pages += page
        before = executions.mark(page[-1])
    assert pages == whole
    assert len(whole) == (3 if name else 6)


async def test_one_occurrence_and_the_latest_of_a_name(link: Link) -> None:
    await ran(link, [("a", START, MINUTE, True), ("a", START + DAY, MINUTE, False)])
    found = await executions.one(link, "a", START)
    assert found is not None
    assert (found.is_success, found.finished_at, found.attempts) == (True, START + MINUTE, [])
    latest = await executions.latest(link, "a")
    assert latest is not None
    assert latest.scheduled_for == START + DAY
    assert await executions.one(link, "a", START + MINUTE) is None
    assert await executions.latest(link, "nobody") is None


class Explained:
    """Explains each statement instead of running it."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.plan = ""

    async def run(self, statement: str, params: Params = None) -> list[tuple[Any, ...]]:
        self.plan = "\n".join(line for (line,) in await self._link.run(f"explain {statement}", params))
        return []


@pytest.mark.parametrize("before", [None, (START + DAY, "rare", START)])
@pytest.mark.parametrize("failed", [False, True])
@pytest.mark.parametrize("since", [None, START])
@pytest.mark.parametrize("name", [None, "common", "rare"])
async def test_history_goes_by_an_index_whatever_is_asked(
    link: Link, name: str | None, since: datetime | None, failed: bool, before: executions.Mark | None
) -> None:
    await link.run(
        """
        insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, trigger, digest)
        select case when n %% 100 = 0 then 'rare' else 'common' end, s, 't', s, s + interval '1 second', n %% 1000 > 0,
               'schedule', 'd'
        from generate_series(1, 20000) n, lateral (select %(start)s + n * interval '10 seconds' as s) x
        """,
        {"start": START},
    )
    await link.run("analyze task_executions")
    explained = Explained(link)
    await executions.history(explained, name=name, since=since, failed=failed, before=before)
    assert "Index Scan" in explained.plan, explained.plan
    assert "Seq Scan" not in explained.plan, explained.plan
    if not failed:
        assert ("task_executions_pkey" if name else "task_executions_finished") in explained.plan


async def test_each_name_is_kept_as_its_own_spec_says(link: Link) -> None:
    for name in ("default", "short", "few", "gone", "old"):
        await ran(link, [(name, START + day * DAY, MINUTE, True) for day in (0, 20, 38, 39)])
    await config(link, "default", keep="30d", keep_last=None)
    await config(link, "short", keep="1d12h", keep_last=None)
    await config(link, "few", keep="30d", keep_last=2)
    await config(link, "old", keep="1ms", keep_last=None)
    now = START + 40 * DAY
    assert (await prune(link, now)).executions == 1 + 3 + 2 + 1 + 3
    assert await kept(link) == [
        *[("default", day) for day in (20, 38, 39)],
        *[("few", day) for day in (38, 39)],
        *[("gone", day) for day in (20, 38, 39)],
        ("old", 39),
        ("short", 39),
    ]
    assert await prune(link, now) == Pruned(0, 0, 0, 0)


async def test_an_old_instant_that_ran_lately_is_kept_for_its_time(link: Link) -> None:
    await ran(
        link, [("a", START, 39 * DAY, True), ("a", START + DAY, MINUTE, True), ("a", START + 2 * DAY, MINUTE, True)]
    )
    await prune(link, START + 40 * DAY)
    assert await kept(link) == [("a", 0), ("a", 2)]


async def test_a_long_history_goes_in_small_transactions(link: Link) -> None:
    await ran(link, [("many", START + n * MINUTE, MINUTE, True) for n in range(101)])
    await ran(link, [(f"other-{n}", START + day * DAY, MINUTE, True) for n in range(5) for day in (0, 1)])
    counts: list[int] = []

    class Counting:
        async def run(self, statement: str, params: Params = None) -> list[tuple[Any, ...]]:
            rows = await link.run(statement, params)
            if "delete from task_executions" in statement:
                counts.append(sum(count for _, count in rows))
            return rows

    pruned = await prune(Counting(), START + 365 * DAY, batch=12)
    assert pruned.executions == 100 + 5
    assert sum(counts) == 105
    assert max(counts) <= 12
    assert len(await kept(link)) == 6


async def test_more_names_than_a_step_takes_are_all_seen(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.db.retention.NAMES_AT_ONCE", 2)
    await ran(link, [(f"n{n}", START + day * DAY, MINUTE, True) for n in range(7) for day in (0, 1)])
    assert (await prune(link, START + 365 * DAY)).executions == 7
    assert await kept(link) == [(f"n{n}", 1) for n in range(7)]


async def test_skips_go_when_their_last_instant_is_old(link: Link) -> None:
    await config(link, "long", keep="99d")
    for name in ("a", "long"):
        for first, last in ((0, 1), (2, 35), (36, 36)):
            values = {"name": name, "first": START + first * DAY, "last": START + last * DAY}
            await link.run(
                "insert into task_skips (name, first, last, reason) values (%(name)s, %(first)s, %(last)s, 'down')",
                values,
            )
    assert (await prune(link, START + 40 * DAY)).skips == 1
    assert await kept(link, "task_skips", "first") == [("a", 2), ("a", 36), ("long", 0), ("long", 2), ("long", 36)]


async def test_syncs_go_but_for_the_last_of_a_source_and_those_that_a_revision_names(link: Link) -> None:
    for source, day in (("a", 0), ("a", 1), ("b", 0), ("a", 2), ("a", 50)):
        await link.run(
            """insert into syncs (source, is_success, actor, started_at, finished_at)
               values (%(source)s, true, 'ada', %(at)s, %(at)s)""",
            {"source": source, "at": START + day * DAY},
        )
    await link.run("insert into task_revisions (name, digest, spec, sync_id) values ('x', 'd', '{}', 2)")
    assert (await prune(link, START + 60 * DAY, batch=1)).syncs == 2
    assert await link.run("select id from syncs order by id") == [(2,), (3,), (5,)]


async def test_runners_go_only_when_an_age_is_given_and_they_own_nothing(link: Link) -> None:
    idle, busy, young = uuid4(), uuid4(), uuid4()
    for runner, day in ((idle, 0), (busy, 0), (young, 9)):
        await link.run(
            """insert into runners (id, host, pid, queues, tasks, started_at)
               values (%(id)s, 'h', 1, '[]', '{}', %(at)s)""",
            {"id": runner, "at": START + day * DAY},
        )
    await link.run(
        """insert into task_claims (name, scheduled_for, runner_id, queue, trigger, digest, exclusive)
           values ('a', %(at)s, %(id)s, 'default', 'schedule', 'd', true)""",
        {"id": busy, "at": START},
    )
    assert (await prune(link, START + 10 * DAY)).runners == 0
    assert (await prune(link, START + 10 * DAY, runners_before=START + DAY)).runners == 1
    assert await link.run("select count(*) from runners where id <> %(id)s", {"id": idle}) == [(2,)]


async def test_two_prunes_at_once_share_the_work(link: Link, database_url: str) -> None:
    import asyncio

    await ran(link, [("a", START + n * MINUTE, MINUTE, True) for n in range(301)])
    other = Link(database_url)
    done = await asyncio.gather(*(prune(each, START + 365 * DAY, batch=10) for each in (link, other)))
    assert sum(pruned.executions for pruned in done) <= 300
    assert (await prune(link, START + 365 * DAY)).executions + sum(pruned.executions for pruned in done) == 300
    await other.close()

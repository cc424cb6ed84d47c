"""Reading what ran, page by page and by an index each time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.db import executions
from reconciler.db.link import Link, Params

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

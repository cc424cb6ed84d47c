"""Letting go of what is old: what goes, what stays, and in how small steps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from reconciler.db import configs
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
    assert await prune(link, now) == Pruned()


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
                counts.append(sum(count or 0 for _, _, count in rows))
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
    await link.run(
        "insert into task_revisions (source, path, name, digest, spec, sync_id)"
        " values ('default', 'a.yaml', 'x', 'd', '{}', 2)"
    )
    assert (await prune(link, START + 60 * DAY, batch=1)).syncs == 2
    assert await link.run("select id from syncs order by id") == [(2,), (3,), (5,)]


RUNNER = """
insert into runners (id, host, pid, queues, tasks, started_at, ended_at)
values (%(id)s, 'h', 1, '[]', '{}', %(at)s, %(ended)s)
"""


async def test_runners_go_when_their_end_is_old_and_they_own_nothing(link: Link) -> None:
    gone, busy, recent, alive = uuid4(), uuid4(), uuid4(), uuid4()
    for runner, ended in ((gone, 1), (busy, 1), (recent, 39), (alive, None)):
        ended_at = None if ended is None else START + ended * DAY
        await link.run(RUNNER, {"id": runner, "at": START, "ended": ended_at})
    await link.run(
        """insert into task_claims (name, scheduled_for, runner_id, task, queue, trigger, digest, exclusive)
           values ('a', %(at)s, %(id)s, 't', 'default', 'schedule', 'd', true)""",
        {"id": busy, "at": START},
    )
    assert (await prune(link, START + 40 * DAY)).runners == 1
    assert await link.run("select count(*) from runners where id <> %(id)s", {"id": gone}) == [(3,)]


async def printed(link: Link) -> list[tuple[Any, ...]]:
    return await link.run("select name, log, traceback from task_executions order by name, scheduled_for")


async def test_what_runs_printed_may_go_before_their_rows(link: Link) -> None:
    await ran(link, [(name, START + day * DAY, MINUTE, False) for name in ("brief", "whole") for day in (0, 30, 39)])
    await link.run("update task_executions set log = 'said' where scheduled_for > %(start)s", {"start": START})
    await link.run("update task_executions set traceback = 'line 1'")
    await config(link, "brief", keep="99d", keep_logs="7d")
    await config(link, "whole", keep="99d")
    assert await prune(link, START + 40 * DAY) == Pruned(logs=2)
    assert await printed(link) == [
        ("brief", None, None),
        ("brief", None, None),
        ("brief", "said", "line 1"),
        ("whole", None, "line 1"),
        ("whole", "said", "line 1"),
        ("whole", "said", "line 1"),
    ]
    assert await prune(link, START + 40 * DAY) == Pruned()


PAUSE = """
insert into task_overrides (name, selector, kind, actor, created_at, expires_at, ended_at)
values (%(name)s, %(selector)s, 'pause', 'ada', %(at)s, %(expires)s, %(ended)s)
"""


async def test_pauses_go_with_the_skips_that_they_explain(link: Link) -> None:
    await config(link, "short", keep="5d")
    await config(link, "long", keep="99d")
    await link.run("insert into task_cursors (name, through) values ('behind', %(at)s)", {"at": START})
    data: tuple[tuple[str | None, int | None, int | None], ...] = (
        ("short", 30, None), ("short", None, 39), ("short", None, None), ("short", 39, 1),
        ("long", 1, None), ("behind", 1, None), (None, 1, None),
    )  # fmt: skip
    for name, expires, ended in data:
        values = {"name": name, "selector": None if name else {"team": "data"}, "at": START}
        ends = {"expires": expires and START + expires * DAY, "ended": ended and START + ended * DAY}
        await link.run(PAUSE, values | ends)
    assert await prune(link, START + 40 * DAY) == Pruned(pauses=2)
    assert await link.run("select id from task_overrides order by id") == [(2,), (3,), (5,), (6,), (7,)]
    assert await prune(link, START + 101 * DAY) == Pruned(pauses=3)


async def test_outages_and_what_was_told_of_closed_incidents_go(link: Link) -> None:
    for day in (0, 30):
        await link.run(
            "insert into outages (runner, what, began_at, ended_at) values ('h:1', 'redis', %(at)s, %(at)s)",
            {"at": START + day * DAY},
        )
    for name, closed, due in (("told", 1, None), ("untold", 1, 2), ("open", None, None), ("late", 30, None)):
        await link.run(
            """insert into incidents (name, kind, opened_at, closed_at, due_at)
               values (%(name)s, 'failure', %(at)s, %(closed)s, %(due)s)""",
            {"name": name, "at": START, "closed": closed and START + closed * DAY, "due": due and START + due * DAY},
        )
    for name, ended in (("put right", 1), ("open", None), ("late", 30)):
        await link.run(
            """insert into drifts (source, name, side, detail, seen_at, ended_at)
               values ('default', %(name)s, 'redis', '{}', %(at)s, %(ended)s)""",
            {"name": name, "at": START, "ended": ended and START + ended * DAY},
        )
    assert await prune(link, START + 40 * DAY) == Pruned(outages=1, incidents=1, drifts=1)
    assert await link.run("select name from drifts order by id") == [("open",), ("late",)]
    assert await link.run("select name from incidents order by id") == [("untold",), ("open",), ("late",)]


async def test_a_trial_says_what_would_go_and_removes_nothing(link: Link) -> None:
    await ran(link, [("a", START + day * DAY, MINUTE, True) for day in range(20)])
    await link.run(
        "insert into task_skips (name, first, last, reason) values ('a', %(at)s, %(at)s, 'missed')", {"at": START}
    )
    would = await prune(link, START + 40 * DAY, batch=3, is_trial=True)
    assert would == Pruned(executions=10, skips=1)
    assert len(await kept(link)) == 20
    assert await prune(link, START + 40 * DAY, batch=3) == would


async def test_a_trial_counts_of_the_logs_those_whose_rows_stay(link: Link) -> None:
    await ran(link, [("a", START + day * DAY, MINUTE, True) for day in range(20)])
    await link.run("update task_executions set log = 'said'")
    await config(link, "a", keep="30d", keep_last=None, keep_logs="25d")
    now = START + 40 * DAY
    would = await prune(link, now, batch=3, is_trial=True)
    assert would == Pruned(executions=10, logs=5)
    assert await prune(link, now, batch=3) == would


async def test_whoever_meets_another_prune_leaves_the_rest_to_it(link: Link, database_url: str) -> None:
    await ran(link, [("a", START + day * DAY, MINUTE, True) for day in range(9)])
    other = Link(database_url)
    async with other.transaction() as tx:
        await tx.run("select pg_advisory_xact_lock(7216)")
        assert await prune(link, START + 99 * DAY) == Pruned()
    await other.close()
    assert await prune(link, START + 99 * DAY) == Pruned(executions=8)


async def test_a_row_that_somebody_holds_is_left_for_the_next_turn(link: Link, database_url: str) -> None:
    await ran(link, [("a", START + day * DAY, MINUTE, True) for day in range(9)])
    other = Link(database_url)
    async with other.transaction() as tx:
        await tx.run("select from task_executions where scheduled_for = %(at)s for update", {"at": START})
        assert await prune(link, START + 99 * DAY) == Pruned(executions=7)
    await other.close()
    assert await prune(link, START + 99 * DAY) == Pruned(executions=1)


async def test_two_prunes_at_once_remove_each_row_once(link: Link, database_url: str) -> None:
    await ran(link, [("a", START + n * MINUTE, MINUTE, True) for n in range(301)])
    other = Link(database_url)
    done = await asyncio.gather(*(prune(each, START + 365 * DAY, batch=10) for each in (link, other)))
    rest = await prune(link, START + 365 * DAY)
    assert sum(pruned.executions for pruned in done) + rest.executions == 300
    await other.close()


def test_a_turn_says_what_went() -> None:
    assert str(Pruned(executions=1203, skips=4)) == "1,203 executions, 4 skips"
    assert str(Pruned()) == "nothing"
    assert Pruned(*range(8)).total == sum(asdict(Pruned(*range(8))).values()) == 28

"""The statements of the hot path: they reach tables by index whatever is in them, and miss nothing that was touched."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

from reconciler.db import claims, finishing, waiting
from reconciler.db.claimrows import Move, Wanted, fire_columns, move_columns, record_columns, skip_columns
from reconciler.db.decision import PLAIN
from reconciler.db.link import Link, Transaction
from reconciler.occurrences import Skip

START = datetime(2026, 3, 10, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
ME = uuid4()
FIRE = Wanted("a", START + HOUR, "t", uuid4(), "default", 0, "schedule", True)
MOVE = Move("a", "d", START, START + HOUR, "r1")


def record(fire: Wanted, **values: Any) -> dict[str, Any]:
    known = {"name": fire.name, "scheduled_for": fire.scheduled_for, "token": fire.token, "task": fire.task}
    return known | {"started_at": START, "finished_at": START, "is_success": True, "runner": "h:1", **values}


async def until_it_waits(tx: Transaction) -> None:
    """Until somebody waits for what this transaction has touched."""
    async with asyncio.timeout(30):
        waiting_for_it = "select count(*) from pg_stat_activity where pg_backend_pid() = any(pg_blocking_pids(pid))"
        while await tx.run(waiting_for_it) == [(0,)]:
            await asyncio.sleep(0.01)


@pytest.fixture
async def ready(link: Link) -> Link:
    document = {"name": "a", "task": "t", "labels": {"team": "data"}}
    await link.run(
        "insert into task_configs (name, source, spec, digest, path, revision) values ('a', 's', %s, 'd', 'p', 'r1')",
        [Jsonb(document)],
    )
    await link.run("insert into task_cursors (name, through) values ('a', %s)", [START])
    return link


DECIDING = {"runner": ME, **move_columns([MOVE]), **fire_columns([FIRE], {"a": "d"}), **skip_columns([])}


@pytest.mark.parametrize(
    ("statement", "params"),
    [
        (PLAIN, DECIDING),
        (finishing.FINISH, record_columns([record(FIRE)])),
        (waiting.ANY, {}),
    ],
    ids=["plain", "finish", "any"],
)
async def test_a_plan_that_is_made_while_the_tables_are_empty_holds_when_they_are_full(
    link: Link, statement: str, params: dict[str, Any]
) -> None:
    for table in ("task_claims", "task_executions", "task_cursors", "task_configs"):
        await link.run(f"analyze {table}")
    plan = [line for (line,) in await link.run(f"explain (costs off) {statement}", params, by_index=True)]
    assert [line for line in plan if "Seq Scan" in line or "Bitmap" in line] == []
    # Nothing that is read whole, by an index that has no condition.
    for above, below in pairwise(plan):
        if "Index" in above and "Scan using" in above and "task_claims_waiting" not in above:
            assert "Cond:" in below, "\n".join(plan)


@pytest.mark.parametrize("lasts", [timedelta(minutes=30), None], ids=["over", "not over"])
@pytest.mark.parametrize("by_label", [False, True], ids=["by name", "by label"])
async def test_what_is_remembered_does_not_pass_a_pause_that_was_not_seen(
    ready: Link, lasts: timedelta | None, by_label: bool
) -> None:
    name, selector = (None, Jsonb({"team": "data"})) if by_label else ("a", None)
    await ready.run(
        "insert into task_overrides (name, selector, kind, actor, created_at, ended_at)"
        " values (%s, %s, 'pause', 'ada', %s, %s)",
        [name, selector, START, START + lasts if lasts else None],
    )
    decided = await claims.decide(ready, ME, [MOVE._replace(is_remembered=True)], [FIRE], [])
    assert (decided.moved, decided.won) == (set(), set())
    # Who has seen the pause knows what to do about one that is over.
    decided = await claims.decide(ready, ME, [MOVE], [FIRE], [])
    assert decided.won == ({FIRE.token} if lasts else set())


@pytest.mark.parametrize(
    ("move", "is_won"),
    [
        (MOVE._replace(is_remembered=True), True),
        (MOVE._replace(is_remembered=True, revision="r2"), False),
        (MOVE._replace(is_remembered=True, revision=None), False),
        (MOVE._replace(revision="r2"), True),
    ],
)
async def test_what_is_remembered_is_of_the_revision_in_force(ready: Link, move: Move, is_won: bool) -> None:
    decided = await claims.decide(ready, ME, [move], [FIRE], [])
    assert decided.won == ({FIRE.token} if is_won else set())
    assert decided.moved == ({"a"} if is_won else set())


async def test_a_pause_that_ended_before_the_cursor_is_in_nobodys_way(ready: Link) -> None:
    await ready.run(
        "insert into task_overrides (name, kind, actor, created_at, ended_at) values ('a', 'pause', 'ada', %s, %s)",
        [START - HOUR, START],
    )
    assert (await claims.decide(ready, ME, [MOVE._replace(is_remembered=True)], [FIRE], [])).won == {FIRE.token}


async def test_a_result_is_written_though_its_claim_is_touched_at_that_moment(ready: Link, database_url: str) -> None:
    await claims.decide(ready, ME, [MOVE], [FIRE], [])
    other = Link(database_url)
    async with other.transaction() as tx:
        await tx.run("update task_claims set progress = '{}' where name = 'a'")
        finish = asyncio.create_task(finishing.finish(ready, [record(FIRE)]))
        await until_it_waits(tx)
    assert await finish == {FIRE.token}
    await other.close()
    assert await ready.run("select name from task_executions") == [("a",)]
    assert await ready.run("select name from task_claims") == []


async def test_a_result_whose_claim_is_taken_over_at_that_moment_is_dropped(ready: Link, database_url: str) -> None:
    await claims.decide(ready, ME, [MOVE], [FIRE], [])
    other = Link(database_url)
    async with other.transaction() as tx:
        await tx.run("update task_claims set token = gen_random_uuid() where name = 'a'")
        finish = asyncio.create_task(finishing.finish(ready, [record(FIRE)]))
        await until_it_waits(tx)
    assert await finish == set()
    await other.close()
    assert await ready.run("select count(*) from task_executions") == [(0,)]
    assert await ready.run("select count(*) from task_claims") == [(1,)]


async def test_what_only_some_of_a_batch_say_is_kept_with_its_row(ready: Link) -> None:
    fires = [FIRE._replace(scheduled_for=START + n * HOUR, token=uuid4(), exclusive=False) for n in (1, 2, 3)]
    await claims.decide(ready, ME, [MOVE._replace(through=START + 3 * HOUR)], fires, [])
    records = [
        record(fires[2]),
        record(fires[0], is_success=False, error="no", traceback="T", attempts=[{"attempt": 1}]),
        record(fires[1], result=[1, None], log="read 3\n", revision="r1"),
    ]
    assert await finishing.finish(ready, records) == {fire.token for fire in fires}
    rows = await ready.run(
        "select is_success, error, traceback, result, log, attempts, revision from task_executions order by 1, 2, 5"
    )
    assert rows == [
        (False, "no", "T", None, None, [{"attempt": 1}], None),
        (True, None, None, [1, None], "read 3\n", [], "r1"),
        (True, None, None, None, None, [], None),
    ]


async def test_skips_without_fires_and_fires_without_skips_are_one_statement_each(ready: Link) -> None:
    skip = Skip("a", START, START + HOUR, None, "missed")
    decided = await claims.decide(ready, ME, [MOVE], [], [skip])
    assert (decided.moved, decided.won, decided.skipped) == ({"a"}, set(), {"missed": 1})
    assert await ready.run("select name, count, reason, detail from task_skips") == [("a", None, "missed", None)]
    decided = await claims.decide(ready, ME, [MOVE], [], [skip])
    assert (decided.moved, decided.skipped) == (set(), {})

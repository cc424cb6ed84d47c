"""A whole runner on real stores, with real child processes: what is due runs once, and what goes wrong is recorded."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from reconciler.db import byhand, claims, overrides, runners
from reconciler.runner import Runner
from reconciler.scheduler import SchedulerService

House = Any  # of conftest

VERSIONED = """
@task("t.version")
async def version(wait: float = 0) -> str:
    await asyncio.sleep(wait)
    return "VERSION"
"""


async def test_what_is_due_runs_once_an_instant_and_leaves_one_row(house: House) -> None:
    await house.config("a", "t.quick", schedule=["@every 1s"])
    async with house.running():
        rows = await house.at_least("a", 3)
    assert all(row[1] for row in rows)
    instants = [row[0] for row in rows]
    assert instants == [instants[0] + timedelta(seconds=n) for n in range(len(rows))]
    assert rows[0][4] == f"ran {instants[0].isoformat()}\n"
    assert rows[0][3] == f"a@{instants[0].isoformat()}"
    assert rows[0][5] == "schedule"


async def test_sync_and_async_tasks_and_their_parameters(house: House) -> None:
    await house.config("a", "t.sync", params={"x": 41})
    await byhand.trigger(house.link, "a")
    await byhand.trigger(house.link, "a", {"x": 1})
    async with house.running():
        rows = await house.at_least("a", 2)
    assert [row[3] for row in rows] == [42, 2]
    assert [row[4] for row in rows] == ["sync here\n"] * 2
    assert {row[5] for row in rows} == {"manual"}


async def test_three_runners_share_the_work_and_double_nothing(house: House) -> None:
    for n in range(20):
        await house.config(f"n{n}", "t.quick", schedule=["@every 1s"])
    async with house.running(), house.running(), house.running():
        await house.at_least("n0", 4)
    doubled = await house.link.run("select name, scheduled_for from task_executions group by 1, 2 having count(*) > 1")
    assert doubled == []
    gaps = await house.link.run(
        "select count(*) from (select scheduled_for - lag(scheduled_for) over (partition by name order by"
        " scheduled_for) as gap from task_executions) g where gap > interval '1 second'"
    )
    skipped = await house.link.run("select coalesce(sum(count), 0) from task_skips")
    assert gaps[0][0] <= skipped[0][0]


async def test_a_failure_is_tried_again_and_every_attempt_is_kept(house: House) -> None:
    retries = {"attempts": 3, "backoff": "10ms", "max_backoff": "10ms"}
    await house.config("good", "t.fail", params={"until": 3}, retries=retries)
    await house.config("bad", "t.fail", retries=retries)
    await byhand.trigger(house.link, "good")
    await byhand.trigger(house.link, "bad")
    async with house.running():
        [good] = await house.at_least("good", 1)
        [bad] = await house.at_least("bad", 1)
    assert good[1] is True
    assert good[3] == 3
    assert [attempt["error"] for attempt in good[6]] == ["ValueError: attempt 1", "ValueError: attempt 2"]
    assert (bad[1], bad[2], len(bad[6])) == (False, "ValueError: attempt 3", 2)


async def test_timeouts_kill_async_and_sync_alike_with_the_log_so_far(house: House) -> None:
    await house.config("a", "t.sleep", timeout="200ms")
    await house.config("b", "t.block", timeout="200ms")
    await byhand.trigger(house.link, "a")
    await byhand.trigger(house.link, "b")
    async with house.running():
        for name in ("a", "b"):
            [row] = await house.at_least(name, 1)
            assert row[1] is False
            assert row[2].startswith("timed out after 200ms")
            assert row[4] == "begun\n"


async def test_a_function_that_ends_its_process_costs_only_its_own_row(house: House) -> None:
    await house.config("a", "t.exit")
    await house.config("b", "t.quick", schedule=["@every 1s"])
    await byhand.trigger(house.link, "a")
    async with house.running():
        [row] = await house.at_least("a", 1)
        await house.at_least("b", 2)
    assert row[1] is False
    assert "exit code 3" in row[2]


async def test_a_nul_in_a_result_costs_no_batch(house: House) -> None:
    await house.config("a", "t.nul")
    await house.config("b", "t.quick")
    await byhand.trigger(house.link, "a")
    await byhand.trigger(house.link, "b")
    async with house.running():
        await house.at_least("a", 1)
        await house.at_least("b", 1)


async def test_overlap_skip_records_the_run_that_it_collided_with(house: House) -> None:
    await house.config("a", "t.sleep", params={"seconds": 2.5}, schedule=["@every 1s"])
    async with house.running():
        await house.at_least("a", 1)
    skips = await house.link.run("select reason, detail from task_skips where name = 'a'")
    assert skips
    assert {reason for reason, _ in skips} == {"overlap"}
    assert "the run of" in skips[0][1]


async def test_after_downtime_the_latest_is_made_up_for_and_the_rest_is_one_skip(house: House) -> None:
    now = datetime.now(UTC)
    await house.config("a", "t.quick", schedule=["@every 1h"], through=now - timedelta(hours=10))
    async with house.running():
        await house.at_least("a", 1)
    rows = await house.rows("a")
    assert len(rows) == 1
    assert rows[0][5] in {"catch_up", "schedule"}
    assert now - rows[0][0] < timedelta(hours=1)
    [skip] = await house.link.run("select count, reason from task_skips where name = 'a'")
    assert skip[0] in (9, 8)
    assert skip[1] == "missed"


async def test_redis_emptied_while_running_is_rebuilt_and_nothing_fires_twice(house: House, redis_prefix: str) -> None:
    # Overlaps are allowed: on a busy machine a result may not be written yet when the next instant comes.
    await house.config("a", "t.quick", schedule=["@every 1s"], overlap="allow")
    async with house.running():
        await house.at_least("a", 2)
        for _ in range(3):
            keys = [key async for key in house.redis.client.scan_iter(f"{redis_prefix}*")]
            await house.redis.client.delete(*keys)
            seen = len(await house.rows("a"))
            await house.at_least("a", seen + 2)
    instants = [row[0] for row in await house.rows("a")]
    assert len(set(instants)) == len(instants)
    skipped = await house.link.run("select coalesce(sum(count), 0) from task_skips where reason <> 'missed'")
    assert skipped == [(0,)]


async def test_a_pause_holds_and_its_instants_are_skips(house: House) -> None:
    await house.config("a", "t.quick", schedule=["@every 1s"])
    async with house.running():
        await house.at_least("a", 1)
        await overrides.pause(house.link, "a", "maintenance", "ops", None)
        await house.align()
        await asyncio.sleep(1.2)
        held = len(await house.rows("a"))
        await asyncio.sleep(2.2)
        assert len(await house.rows("a")) == held
        await byhand.trigger(house.link, "a")
        await house.at_least("a", held + 1)
        await overrides.resume(house.link, "a")
        await house.align()
        await house.at_least("a", held + 3)
    reasons = await house.link.run("select distinct reason, detail from task_skips where name = 'a'")
    assert reasons == [("paused", "paused by ops: maintenance")]


async def test_a_stop_gives_what_runs_its_grace_and_records_what_it_cut_short(house: House) -> None:
    await house.config("short", "t.sleep", params={"seconds": 0.5})
    await house.config("long", "t.sleep")
    await byhand.trigger(house.link, "short")
    await byhand.trigger(house.link, "long")
    async with house.running(shutdown_grace="1500ms") as runner:
        await house.until(lambda: _begun(runner, 2))
    [short] = await house.rows("short")
    [long] = await house.rows("long")
    assert short[1] is True
    assert (long[1], long[2]) == (False, "the runner was stopped before it finished")
    assert await house.link.run("select 1 from task_claims") == []
    assert await runners.listing(house.link) == []


async def _begun(runner: Runner, count: int) -> bool:
    return len(runner.running) >= count


async def test_a_dead_runners_work_is_taken_over_as_failed_attempts(house: House) -> None:
    dead = uuid4()
    await runners.register(house.link, dead, host="gone", pid=1, queues=["default"], tasks={}, lease=2)
    for name, attempts in (("again", 2), ("never", 1)):
        await house.config(name, "t.fail", params={"until": 2}, retries={"attempts": attempts, "backoff": "10ms"})
        await byhand.trigger(house.link, name)
    assert len(await claims.pick_up(house.link, dead, ["default"], ["t.fail"], 9)) == 2
    async with house.running():
        [again] = await house.at_least("again", 1)
        [never] = await house.at_least("never", 1)
        await house.until(lambda: _only(house, dead))
    assert again[1] is True
    assert [attempt["error"] for attempt in again[6]] == ["the runner died"]
    assert (never[1], never[2]) == (False, "the runner died")
    assert again[6][0]["runner"] == "gone:1"
    assert await house.link.run("select runner from task_executions where name = 'never'") == [("gone:1",)]


async def _only(house: House, dead: Any) -> bool:
    return dead not in {row.id for row in await runners.listing(house.link)}


async def test_new_task_code_is_used_by_the_next_run_and_what_runs_finishes_with_the_old(house: House) -> None:
    code = house.directory / "mytasks.py"
    others = code.read_text()
    code.write_text(others + VERSIONED.replace("VERSION", "old"))
    await house.config("slow", "t.version", params={"wait": 1.5})
    await house.config("fast", "t.version")
    await byhand.trigger(house.link, "slow")
    async with house.running() as runner:
        await house.until(lambda: _begun(runner, 1))
        code.write_text(others + VERSIONED.replace("VERSION", "new"))
        await runner.reload()
        await byhand.trigger(house.link, "fast")
        await SchedulerService(house.redis).wake()
        [fast] = await house.at_least("fast", 1)
        [slow] = await house.at_least("slow", 1)
    assert (fast[3], slow[3]) == ("new", "old")


async def test_work_for_a_task_that_is_not_here_waits(house: House) -> None:
    await house.config("a", "elsewhere.only", schedule=["@every 1s"])
    await house.config("b", "t.quick", schedule=["@every 1s"])
    async with house.running():
        await house.at_least("b", 2)
    assert await house.rows("a") == []
    assert await house.link.run("select 1 from task_claims") == []


async def test_more_due_than_slots_is_worked_off(house: House) -> None:
    for n in range(12):
        await house.config(f"n{n}", "t.block", params={"seconds": 0.1}, schedule=["@every 1h"])
    await house.link.run("update task_cursors set through = through - interval '1 hour'")
    async with house.running(worker_processes=2):
        for n in range(12):
            await house.at_least(f"n{n}", 1)
    assert await house.link.run("select count(*) from task_executions") == [(12,)]


async def test_an_unreachable_postgresql_is_said_at_the_start(house: House, tmp_path: Path) -> None:
    from reconciler.errors import StoreUnavailable

    house.database_url = f"postgresql:///reconciler?host={tmp_path}&user=nobody"
    with pytest.raises(StoreUnavailable, match="postgresql"):
        await house.runner().run(asyncio.Event())

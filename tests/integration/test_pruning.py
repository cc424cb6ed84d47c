"""Every service prunes by itself, and goes on after a turn that failed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.db.link import Link
from reconciler.pruning import keep_pruning
from reconciler.settings.model import HistorySettings

DEADLINE = 30.0
RAN = """
insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, trigger, digest)
select 'old', s, 'demo', s, s, true, 'schedule', 'd' from unnest(%(at)s::timestamptz[]) s
"""


async def test_history_goes_by_itself_also_after_a_turn_that_failed(
    link: Link, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    history = HistorySettings.model_construct(keep=timedelta(days=30), prune_every=timedelta(milliseconds=20))
    caplog.set_level("INFO", "reconciler.history")
    await link.run(RAN, {"at": [datetime.now(UTC) - timedelta(days=days) for days in (40, 41)]})
    await link.run("alter table task_executions rename to elsewhere")
    pruning = asyncio.create_task(keep_pruning(database_url, history))
    try:
        async with asyncio.timeout(DEADLINE):
            while "nothing pruned this time" not in caplog.text:
                await asyncio.sleep(0.01)
            await link.run("alter table elsewhere rename to task_executions")
            while await link.run("select count(*) from task_executions") != [(1,)]:
                await asyncio.sleep(0.01)
            while "pruned 1 executions" not in caplog.text:
                await asyncio.sleep(0.01)
    finally:
        pruning.cancel()
        await asyncio.gather(pruning, return_exceptions=True)

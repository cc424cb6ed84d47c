"""A pass that dies at each of its steps, and the pass after it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.db import configs, syncs
from reconciler.db.link import Link
from reconciler.failpoints import EXIT_CODE
from reconciler.plan.guards import Options
from reconciler.scheduler import RedisServiceManager, SchedulerService
from reconciler.spec import TaskSpec
from reconciler.spec.specset import LocatedSpec, SpecSet
from reconciler.sync.reconcile import Request, reconcile

SPEC = TaskSpec.model_validate({"name": "nightly", "task": "reports.build", "schedule": "0 2 * * *"})
READ = SpecSet((LocatedSpec(SPEC, "nightly.yaml", 1, SPEC.digest),), files=1)
REQUEST = Request(Options(), "ada")

PASS = f"""
import asyncio, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_reconcile_killed import one_pass
asyncio.run(one_pass(*sys.argv[1:]))
"""


async def one_pass(database_url: str, redis_url: str, prefix: str) -> None:
    link, redis = Link(database_url), RedisServiceManager(redis_url, prefix)
    await reconcile(READ, link, SchedulerService(redis), REQUEST)
    await link.close()
    await redis.close()


@pytest.mark.parametrize(
    ("step", "is_committed", "is_aligned"),
    [
        ("after-lock", False, False),
        ("after-apply", False, False),
        ("after-commit", True, False),
        ("after-align", True, True),
    ],
)
async def test_the_next_pass_heals_what_a_killed_one_left(
    link: Link, database_url: str, redis_url: str, redis_prefix: str, step: str, is_committed: bool, is_aligned: bool
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PASS, database_url, redis_url, redis_prefix],
        env=os.environ | {"RECONCILER_FAILPOINT": step},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == EXIT_CODE, done.stderr.decode()
    assert (len(await configs.keys(link)), len(await syncs.listing(link))) == (is_committed, is_committed)

    redis = RedisServiceManager(redis_url, redis_prefix)
    scheduler = SchedulerService(redis)
    outcome = await reconcile(READ, link, scheduler, REQUEST)
    assert (outcome.sync_id is None, outcome.aligned) == (is_committed, not is_aligned)
    [key] = await configs.keys(link)
    assert (await scheduler.status([key.id]))[key.id]["state"] == "active"
    assert len(await syncs.listing(link)) == 1
    await redis.close()


async def test_a_killed_pass_leaves_no_lock_behind(
    link: Link, database_url: str, redis_url: str, redis_prefix: str
) -> None:
    subprocess.run(
        [sys.executable, "-c", PASS, database_url, redis_url, redis_prefix],
        env=os.environ | {"RECONCILER_FAILPOINT": "after-lock"},
        timeout=60,
        check=False,
    )
    redis = RedisServiceManager(redis_url, redis_prefix)
    request = Request(Options(), "ada", waits=True)
    outcome = await reconcile(READ, link, SchedulerService(redis), request)
    assert outcome.plan and outcome.plan.has_changes
    await redis.close()

"""The sync loop dies at each of its steps while a runner is at work: what runs goes on, and one pass makes it whole."""

from __future__ import annotations

from typing import Any

import pytest
from faultkit import Project, RedisServer, now
from faultkit.crowd import CROWD, all_ran, crowd_in, follow, holds, some
from faultkit.waiting import rows

from reconciler.failpoints import EXIT_CODE

pytestmark = pytest.mark.faults

STEPS = some(
    ["export-written", "after-plan", "after-commit", "after-align"],
    ["after-fetch", "after-read", "after-lock", "after-apply"],
)


@pytest.mark.parametrize("step", STEPS)
def test_a_service_that_dies_at_any_step_of_a_sync_is_made_up_for_in_one_pass(
    house: Project, redis_server: RedisServer, repository: Any, step: str
) -> None:
    follow(house, repository)
    crowd_in(repository)
    assert house.run("sync").returncode == 0
    runner = house.start("runner")
    all_ran(house)
    changed = {"cron": CROWD["cron"].replace("*/2", "*/3"), "fresh": None, "late": CROWD["often"]}
    second = repository.commit("second", **changed)
    dying = house.start("serve", "--no-runner", env={"RECONCILER_FAILPOINT": step})
    assert dying.wait(60) == EXIT_CODE, dying.text
    healing = house.start("serve", "--no-runner")
    healing.says("in force", 60)
    assert rows(house.database_url, "select revision from sources") == [(second,)]
    assert rows(house.database_url, "select count(*) from syncs where revision = %s", [second]) == [(1,)]
    digests = {digest for (digest,) in rows(house.database_url, "select digest from task_configs")}
    with redis_server.client() as client:
        statuses = [client.hgetall(key) for key in client.scan_iter(f"{house.prefix}schedule:status:*")]
    assert {status["digest"] for status in statuses} == digests
    all_ran(house, now(house.database_url), {*CROWD, "late"} - {"fresh"})
    assert runner.is_alive
    holds(house, repository=repository)

"""Several of each at once on the same stores: appliers, runners, whole services. Each thing is decided once."""

from __future__ import annotations

from typing import Any

import pytest
from faultkit import Project, RedisServer, now, until
from faultkit.crowd import CROWD, all_ran, crowd, crowd_in, follow, holds
from faultkit.waiting import rows

pytestmark = pytest.mark.faults

MANY = [f"m{n:03}" for n in range(120)]


def test_of_two_appliers_at_once_one_applies_and_no_instant_is_decided_twice(house: Project) -> None:
    crowd(house)
    runners = [house.start("runner") for _ in range(2)]
    all_ran(house)
    for turn in range(3):
        house.spec("cron", CROWD["cron"].replace("*/2", f"*/{3 + turn}"))
        house.spec(f"new{turn}", CROWD["often"])
        before = rows(house.database_url, "select count(*) from syncs")[0][0]
        appliers = [house.start("apply") for _ in range(3)]
        assert [applier.wait(60) for applier in appliers] == [0, 0, 0], [applier.text for applier in appliers]
        assert rows(house.database_url, "select count(*) from syncs") == [(before + 1,)]
    all_ran(house, names=["new0", "new1", "new2"])
    assert all(runner.is_alive for runner in runners)
    holds(house)


def test_three_runners_share_what_is_due_and_none_of_it_is_run_twice(house: Project) -> None:
    crowd(house)
    for name in MANY:
        house.spec(name, CROWD["often"])
    house.apply()
    began = now(house.database_url)
    runners = [house.start("runner") for _ in range(3)]
    all_ran(house, names=[*CROWD, *MANY])
    workers = "select count(distinct runner) from task_executions"
    until(lambda: rows(house.database_url, workers) == [(3,)], what="each of them does some of it")
    assert all(runner.is_alive for runner in runners)
    holds(house, faults=[(began, now(house.database_url))])


def test_two_services_that_follow_one_repository_apply_each_commit_once(
    house: Project, redis_server: RedisServer, repository: Any
) -> None:
    follow(house, repository)
    commits = [crowd_in(repository)]
    beside = house.directory / "beside"
    beside.mkdir()
    with Project(beside, house.database_url, redis_server.url, prefix=house.prefix) as other:
        follow(other, repository)
        (beside / "tasks" / "j.py").write_text((house.directory / "tasks" / "j.py").read_text())
        services = [house.start("serve"), other.start("serve")]
        all_ran(house)
        for turn in range(3):
            spec = {"cron": CROWD["cron"].replace("*/2", f"*/{3 + turn}"), f"new{turn}": CROWD["often"]}
            commits.append(repository.commit(f"turn {turn}", **spec))
            until(lambda: rows(house.database_url, "select revision from sources") == [(commits[-1],)], 30, "in force")
        all_ran(house, names=["new0", "new1", "new2"])
        assert all(service.is_alive for service in services)
        workers = "select count(distinct runner) from task_executions"
        until(lambda: rows(house.database_url, workers) == [(2,)], what="both do some of it")
        assert rows(house.database_url, "select revision from syncs order by id") == [(commit,) for commit in commits]
        holds(house, repository=repository)

"""A runner, its worker processes, or the one that async tasks share, is killed at each step of a run: at most one row
an occurrence, nothing lost, and another goes on within the lease and two seconds.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from datetime import timedelta

import pytest
from faultkit import Project, now, until
from faultkit.crowd import CROWD, LASTING, LONG, all_ran, chance, crowd, holds
from faultkit.processes import children
from faultkit.waiting import rows

from reconciler.failpoints import EXIT_CODE

pytestmark = pytest.mark.faults

LEASE = timedelta(seconds=2)
# What a slow machine may need beyond what is promised, for a process to notice and to begin.
SLACK = timedelta(seconds=3)


@pytest.mark.parametrize(
    "step", ["after-take", "after-claim", "after-pick-up", "after-start", "before-finish", "after-finish"]
)
def test_a_runner_that_dies_at_any_step_is_made_up_for_by_another_within_its_lease(house: Project, step: str) -> None:
    crowd(house)
    other = house.start("runner")
    all_ran(house)
    dying = house.start("runner", env={"RECONCILER_FAILPOINT": f"{step}@{chance(step).randint(2, 6)}"})
    assert dying.wait(60) == EXIT_CODE, dying.text
    died = now(house.database_url)
    until(lambda: rows(house.database_url, "select 1 from runners where ending = 'died'"), what="its death is noted")
    all_ran(house)
    assert other.is_alive
    holds(house, faults=[(died - timedelta(seconds=1), died + LEASE + timedelta(seconds=2) + SLACK)])


@pytest.mark.parametrize("step", ["in-child", "after-call"])
def test_a_process_of_tasks_that_dies_again_and_again_costs_attempts_and_no_instant(house: Project, step: str) -> None:
    crowd(house)
    began = now(house.database_url)
    runner = house.start("runner", env={"RECONCILER_FAILPOINT": f"{step}@{chance(step).randint(6, 12)}"})
    lost = """
        select count(*) from (
            select error from task_executions where not is_success
            union all
            select attempt ->> 'error' from task_executions, jsonb_array_elements(attempts) as a(attempt)
        ) as failures where error like '%process%exit code 70'"""
    until(lambda: rows(house.database_url, lost)[0][0] >= 8, what="processes end")
    all_ran(house, began, CROWD.keys() - LONG)  # no process lives long enough for those
    assert runner.is_alive
    holds(house)


def test_processes_of_a_runner_are_killed_at_random_and_it_goes_on(house: Project) -> None:
    crowd(house)
    runner, random = house.start("runner"), chance("processes")
    all_ran(house)
    killed, end = 0, time.monotonic() + LASTING
    while time.monotonic() < end or killed < 6:
        if pids := children(runner.pid):
            with suppress(ProcessLookupError):
                os.kill(random.choice(pids), signal.SIGKILL)
            killed += 1
        time.sleep(random.uniform(0.1, 0.6))
    assert runner.is_alive
    all_ran(house)
    holds(house)


def test_kill_9_of_runners_at_any_moment(house: Project) -> None:
    crowd(house)
    random = chance("runners")
    runners = [house.start("runner") for _ in range(2)]
    began = now(house.database_url)
    all_ran(house)
    end = time.monotonic() + LASTING
    while time.monotonic() < end:
        place = random.randrange(2)
        runners[place].kill()
        runners[place] = house.start("runner")
        time.sleep(random.uniform(0.5, 2.5))
    all_ran(house)
    holds(house, faults=[(began, now(house.database_url) + LEASE)])

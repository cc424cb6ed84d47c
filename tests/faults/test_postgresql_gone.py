"""PostgreSQL restarts, hangs up, stands still or is gone: what ran is written later, past the lease it is cancelled and
says so, nothing is decided meanwhile, and every name goes on afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from faultkit import PostgreSQLServer, Project, now, until
from faultkit.crowd import LASTING, all_ran, chance, crowd, holds
from faultkit.waiting import rows

pytestmark = pytest.mark.faults

LEASE = 2.0
# What was handed to a child before may still start after.
ON_ITS_WAY = 1.0
OUT_OF_TOUCH = "cancelled: PostgreSQL could not be reached for a whole lease"


def restarted(server: PostgreSQLServer) -> None:
    server.restart("fast")


def restarted_at_once(server: PostgreSQLServer) -> None:
    server.restart("immediate")


def killed(server: PostgreSQLServer) -> None:
    server.restart("kill")


def frozen_for_a_moment(server: PostgreSQLServer) -> None:
    server.suspend()
    time.sleep(LEASE / 2)
    server.resume()


def frozen_for_longer(server: PostgreSQLServer) -> None:
    server.suspend()
    time.sleep(max(LASTING, 2 * LEASE))
    server.resume()


def hanging_up(server: PostgreSQLServer) -> None:
    """Again and again, on every connection to every database."""
    random, end = chance("hanging up"), time.monotonic() + LASTING
    while time.monotonic() < end:
        server.execute(
            "postgres", "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
        )
        time.sleep(random.uniform(0.02, 0.4))


@pytest.mark.parametrize(
    "faults",
    [[restarted, restarted_at_once, killed], [frozen_for_a_moment, frozen_for_longer, hanging_up]],
    ids=["ends", "stays and does not answer"],
)
def test_nothing_is_lost_and_nothing_doubles(
    house: Project, postgresql: PostgreSQLServer, faults: list[Callable[[PostgreSQLServer], None]]
) -> None:
    house.configure(settings='[[sources]]\nname = "default"\npath = "specs"\ninterval = "1s"\n')
    began = now(house.database_url)
    crowd(house, with_held=True)
    programs = [house.start("serve"), house.start("runner")]
    all_ran(house)
    for fault in faults:
        fault(postgresql)
        until(lambda: rows(house.database_url, "select 1"), what="PostgreSQL answers")
        all_ran(house)
    assert all(program.is_alive for program in programs)
    holds(house, faults=[(began, now(house.database_url))])


def gone_for(postgresql: PostgreSQLServer, seconds: float) -> tuple[float, float]:
    """From when to when, by the monotonic clock that the journal has too."""
    postgresql.stop("immediate")
    since = time.monotonic()
    time.sleep(seconds)
    until_ = time.monotonic()
    postgresql.start()
    return since, until_


def started_between(house: Project, since: float, end: float) -> list[str]:
    return [one.name for one in house.journal.starts() if since + ON_ITS_WAY < one.monotonic < end]


def test_gone_for_less_than_a_lease_costs_no_run(house: Project, postgresql: PostgreSQLServer) -> None:
    house.configure(lease="20s")
    began = now(house.database_url)
    house.spec("steady", 'task: j.async\nschedule: "@every 1s"\noverlap: allow\nparams: {seconds: 1.5}')
    crowd(house)
    runner = house.start("runner")
    all_ran(house, names=["steady"])
    before = len(house.journal.ends("steady"))
    since, end = gone_for(postgresql, 3)
    all_ran(house, names=["steady"])
    assert started_between(house, since, end) == []
    kept = [one for one in house.journal.ends("steady")[before:] if since < one.monotonic < end]
    assert kept, "some ended while it was gone"
    for one in kept:
        [row] = rows(
            house.database_url,
            "select is_success, attempts, token::text from task_executions where name = %s and scheduled_for = %s",
            list(one.occurrence),
        )
        assert row == (True, [], one.token)
    runner.says(r"results? (is|are) kept")
    holds(house, faults=[(began, now(house.database_url))])


def test_gone_for_longer_than_a_lease_cancels_what_runs_and_says_so(
    house: Project, postgresql: PostgreSQLServer
) -> None:
    began = now(house.database_url)
    house.spec("again", "task: j.slow_at_first\nretries: {attempts: 2, backoff: 100ms}")
    house.spec("once", "task: j.slow_at_first")
    house.spec("process", "task: j.sync\nparams: {seconds: 60}")
    house.spec("often", 'task: j.async\nschedule: "@every 1s"\nmissed: all\noverlap: allow')
    house.apply()
    runners = [house.start("runner") for _ in range(2)]
    for name in ("again", "once", "process"):
        assert house.run("trigger", name).returncode == 0
    until(lambda: {one.name for one in house.journal.starts()} == {"again", "once", "process", "often"})
    since, end = gone_for(postgresql, max(LASTING, 2 * LEASE))
    all_ran(house, names=["often"])
    assert started_between(house, since, end) == []
    by_force = f"{OUT_OF_TOUCH}; it did not stop and its process was killed"
    expected = {
        "again": (True, None, [OUT_OF_TOUCH]),
        "once": (False, OUT_OF_TOUCH, []),
        "process": (False, by_force, []),
    }
    query = "select name, is_success, error, attempts from task_executions where name <> 'often'"

    def found() -> dict[str, tuple[bool, str | None, list[str]]]:
        return {
            name: (is_success, error, [one["error"] for one in attempts])
            for name, is_success, error, attempts in rows(house.database_url, query)
        }

    until(lambda: found() == expected, what=f"each has its row: {found()}")
    assert all("is dead" not in runner.text for runner in runners), "an outage expires nobody"
    holds(house, faults=[(began, now(house.database_url))])

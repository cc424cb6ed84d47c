"""PostgreSQL answers, but not as it should: slowly, with no connection or no room on its disk left, with a deadlock.

Nothing is lost, nothing is done twice, and no name stays blocked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg
import pytest
from faultkit import PostgreSQLServer, Project, Proxy, RedisServer, now, until
from faultkit.crowd import LASTING, all_ran, crowd, holds
from faultkit.fulldisk import small_disk
from faultkit.waiting import rows

pytestmark = pytest.mark.faults


def test_a_slow_one_makes_all_late_and_nothing_else(house: Project, proxied: Callable[[str], Proxy]) -> None:
    house.configure(lease="10s")
    began, proxy = now(house.database_url), proxied("postgresql")
    crowd(house, with_held=True)
    runner = house.start("runner", database_url=proxy.url(house.database_url))
    all_ran(house)
    proxy.slow(0.15)
    all_ran(house)
    time.sleep(LASTING)
    all_ran(house)
    proxy.heal()
    assert runner.is_alive
    holds(house, faults=[(began, now(house.database_url))])


def test_while_no_connection_is_left_nothing_fires_and_all_goes_on_after(
    house: Project, postgresql: PostgreSQLServer
) -> None:
    postgresql.configure(restart=True, max_connections="30")
    began = now(house.database_url)
    crowd(house, with_held=True)
    runners = [house.start("runner") for _ in range(2)]
    all_ran(house)
    with ExitStack() as stack:
        mine = stack.enter_context(psycopg.connect(postgresql.url(), autocommit=True))

        def is_full() -> bool:
            """Take what is free, and what the runners have; whether both have noticed."""
            mine.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname like 'test_%'")
            with suppress(psycopg.OperationalError):
                while True:
                    stack.enter_context(psycopg.connect(postgresql.url()))
            return all("no connection left" in runner.text for runner in runners)

        until(is_full, what="no connection is left")
        time.sleep(LASTING)
    all_ran(house)
    assert all(runner.is_alive for runner in runners)
    holds(house, faults=[(began, now(house.database_url))])
    postgresql.configure(max_connections=None)


NAMES = [f"n{number:02}" for number in range(20)]


def test_a_deadlock_with_somebody_s_transaction_costs_no_result(house: Project, postgresql: PostgreSQLServer) -> None:
    """By hand the claims are locked in the other order than the runner takes them when it writes results."""
    house.configure(lease="30s")
    began = now(house.database_url)
    postgresql.configure(deadlock_timeout="2s")
    for name in NAMES:
        house.spec(name, 'task: j.async\nschedule: "@every 4s"\nparams: {seconds: 1}')
    house.apply()
    runner = house.start("runner")
    until(lambda: len(house.journal.starts()) >= len(NAMES))
    with psycopg.connect(house.database_url) as by_hand, by_hand.transaction():
        by_hand.execute("set local deadlock_timeout = '60s'")
        lock = "select from task_claims where name = %s for update"
        until(lambda: by_hand.execute(lock, [NAMES[-1]]).rowcount, what="its claim is there")
        waiting = """
            select count(*) from pg_stat_activity
            where wait_event_type = 'Lock' and query like '%%insert into task_executions%%'
            and datname = current_database() and pid <> pg_backend_pid()"""
        until(lambda: rows(house.database_url, waiting.replace("%%", "%"))[0][0], what="the runner waits for it")
        for name in reversed(NAMES[:-1]):
            by_hand.execute(lock, [name])
    logged = postgresql.log.read_text()
    assert "deadlock detected" in logged
    all_ran(house, names=NAMES)
    postgresql.configure(deadlock_timeout=None)
    assert runner.is_alive
    holds(house, faults=[(began, now(house.database_url))])


def test_while_its_disk_is_full_results_are_kept_and_written_later(
    tmp_path: Path, make_short_directory: Callable[[], Path], redis_server: RedisServer
) -> None:
    with (
        small_disk(make_short_directory()) as disk,
        PostgreSQLServer(disk.directory, {"max_wal_size": "32MB"}, disk.environment) as server,
        Project(tmp_path, server.database(), redis_server.url, lease="10s") as project,
    ):
        began = now(project.database_url)
        crowd(project, with_held=True)
        project.spec("large", 'task: j.returns\nschedule: "@every 1s"\noverlap: allow\nparams: {size: 50000}')
        project.apply()
        runner = project.start("runner")
        all_ran(project)
        disk.fill()
        runner.says("(?i)no space left on device|cannot connect|the connection broke", 30)
        time.sleep(LASTING)
        disk.free()
        if not server.is_running:  # PostgreSQL ends where it cannot write its log
            server.start()
        until(lambda: rows(project.database_url, "select 1"), 40, "PostgreSQL answers")
        all_ran(project)
        assert runner.is_alive
        holds(project, faults=[(began, now(project.database_url))])

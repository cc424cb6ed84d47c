"""A clock is set forward or back by an hour, of a runner or of PostgreSQL: only PostgreSQL's counts, nothing fires
early, nothing twice, nobody is taken for dead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from faultkit import PostgreSQLServer, Project, RedisServer, check, due, now, until
from faultkit.clock import WallClock
from faultkit.crowd import LASTING, all_ran, crowd, holds
from faultkit.waiting import rows

pytestmark = pytest.mark.faults

HOUR, MINUTE, STEP = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=4)
DECIDED_AHEAD = "select count(*) from task_cursors where through > clock_timestamp()"


@pytest.fixture
def server(make_short_directory: Callable[[], Path]) -> Iterator[tuple[PostgreSQLServer, WallClock]]:
    """A PostgreSQL whose clock can be set, and that clock."""
    directory = make_short_directory()
    directory.chmod(0o755)
    clock = WallClock(directory)
    with PostgreSQLServer(directory, environment=clock.environment) as server:
        yield server, clock


@pytest.fixture
def home(tmp_path: Path, server: tuple[PostgreSQLServer, WallClock], redis_server: RedisServer) -> Iterator[Project]:
    """A project on that PostgreSQL."""
    with Project(tmp_path, server[0].database(), redis_server.url) as project:
        yield project


@pytest.mark.parametrize("steps", [[HOUR, -HOUR], [-HOUR, HOUR]], ids=["forward and back", "back and forward"])
def test_a_runner_does_not_heed_its_own_clock(house: Project, short_directory: Path, steps: list[timedelta]) -> None:
    began, clock = now(house.database_url), WallClock(short_directory)
    crowd(house, with_held=True)
    clock.set(steps[0])  # wrong from the start
    wrong = house.start("runner", env=clock.environment)
    all_ran(house)
    right = house.start("runner")
    for step in (timedelta(0), *steps, timedelta(0)):
        clock.set(step)
        time.sleep(LASTING / 4)
        assert rows(house.database_url, DECIDED_AHEAD) == [(0,)]
    all_ran(house)
    assert all("is dead" not in runner.text for runner in (wrong, right))
    assert right.terminate() == 0
    all_ran(house)
    holds(house, faults=[(began, now(house.database_url))])


def test_after_postgresql_s_clock_went_back_nothing_fires_twice_and_all_goes_on_once_it_has_caught_up(
    home: Project, server: tuple[PostgreSQLServer, WallClock]
) -> None:
    began, clock = now(home.database_url), server[1]
    crowd(home, with_held=True)
    runners = [home.start("runner") for _ in range(2)]
    all_ran(home)
    clock.set(-HOUR)
    for runner in runners:
        runner.says(r"PostgreSQL's clock went back by \d+ s: nothing fires until it has caught up")
    time.sleep(0.5)
    before = {(one.occurrence, one.attempt) for one in home.journal.starts()}
    time.sleep(LASTING)
    later = [one for one in home.journal.starts() if (one.occurrence, one.attempt) not in before]
    assert [one for one in later if one.attempt == 1 and one.trigger == "schedule"] == []
    clock.set(timedelta(0))
    for runner in runners:
        runner.says("PostgreSQL's clock has caught up")
    all_ran(home)
    assert all("is dead" not in runner.text for runner in runners)
    holds(home, faults=[(began, now(home.database_url))])


def test_after_postgresql_s_clock_went_forward_an_hour_is_missed_by_each_task_s_own_rule(
    home: Project, server: tuple[PostgreSQLServer, WallClock]
) -> None:
    began, clock = now(home.database_url), server[1]
    crowd(home, with_held=True)
    runners = [home.start("runner") for _ in range(2)]
    all_ran(home)
    clock.set(HOUR)
    all_ran(home)
    made_up = "select count(*) from task_executions where name = 'backlog' and trigger = 'catch_up'"
    until(lambda: rows(home.database_url, made_up)[0][0] >= 90, what="what `missed: all` makes up for has run")
    assert all("is dead" not in runner.text for runner in runners)
    holds(home, faults=[(began, now(home.database_url))])


DAYS = {
    # Just before 02:00 becomes 03:00; then well past it.
    "spring": (datetime(2026, 3, 29, 0, 59, 57, tzinfo=UTC), datetime(2026, 3, 29, 1, 29, 57, tzinfo=UTC)),
    # Just before 02:59, after which 03:00 becomes 02:00; then the same time on the clock again.
    "autumn": (datetime(2026, 10, 25, 0, 58, 57, tzinfo=UTC), datetime(2026, 10, 25, 1, 58, 57, tzinfo=UTC)),
}
IN_BERLIN = {
    "skipped": "15 2 * * *",
    "doubled": "59 2 * * *",
    "after-gap": "30 3 * * *",
    "hourly": "59 * * * *",
    "minutely": "* * * * *",
}


@pytest.mark.parametrize("day", DAYS.keys())
def test_a_day_on_which_clocks_change_passes_while_a_runner_runs(
    home: Project, server: tuple[PostgreSQLServer, WallClock], day: str
) -> None:
    clock, (first, second) = server[1], DAYS[day]
    specs = {name: {"schedule": cron, "timezone": "Europe/Berlin"} for name, cron in IN_BERLIN.items()}
    specs["often"] = {"schedule": "@every 1s"}
    for name, spec in specs.items():
        home.spec(name, "task: j.async\n" + "".join(f'{key}: "{text}"\n' for key, text in spec.items()))
    clock.set_to(first - timedelta(minutes=10))
    began = now(home.database_url)
    home.apply()
    home.start("runner")
    until(lambda: home.journal.ends("often"))
    for start in (first, second):
        clock.set_to(start)
        end = start + STEP
        until(lambda end=end: now(home.database_url) > end)  # type: ignore[misc]
    newest = {(name, instants[-1]) for name, spec in specs.items() if (instants := due(spec, began, second + STEP))}
    until(lambda: newest <= {one.occurrence for one in home.journal.ends()}, what=f"the newest of each ran: {newest}")
    assert check(home.database_url, home.journal, faults=[(began, now(home.database_url))], is_drained=False) == []
    ran = {name: [one.scheduled_for for one in home.journal.starts(name)] for name in specs}
    at_one = datetime(first.year, first.month, first.day, 1, tzinfo=UTC)
    if day == "spring":
        assert ran["skipped"] == ran["doubled"] == [at_one], "right after the gap"
        assert ran["after-gap"] == [at_one + HOUR / 2]
    else:
        assert ran["doubled"] == [at_one - MINUTE], "the first time only"
        assert ran["hourly"] == [at_one - MINUTE, at_one + HOUR - MINUTE]

"""A network is cut between one program and one store, or swallows what is sent: that program does nothing it cannot
record, the others go on, and all catch up afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from faultkit import Project, Proxy, now, until
from faultkit.crowd import LASTING, all_ran, crowd, holds
from faultkit.waiting import rows

pytestmark = pytest.mark.faults

LEASE = 2.0
# What was decided before, or was asked and not answered, may still start.
ON_ITS_WAY = 1.5
# Due by their schedule alone, with one attempt and no queue: nothing else may start them.
PLAIN = ["often", "cron", "fresh"]
LOOP = '[[sources]]\nname = "default"\npath = "specs"\ninterval = "500ms"\n'
HARMS = (Proxy.cut, Proxy.stall)


def last_for(proxy: Proxy, harm: Callable[[Proxy], None]) -> tuple[float, float]:
    """The harm, and its end; from when to when nothing may begin, on the journal's clock."""
    harm(proxy)
    since = time.monotonic() + ON_ITS_WAY
    time.sleep(max(LASTING, 2 * LEASE))
    end = time.monotonic()
    proxy.heal()
    return since, end


def started(house: Project, between: tuple[float, float], names: list[str]) -> list[str]:
    since, end = between
    return [one.name for one in house.journal.starts() if since < one.monotonic < end and one.name in names]


@pytest.mark.parametrize("store", ["postgresql", "redis"])
def test_a_runner_without_a_store_begins_nothing_and_catches_up(
    house: Project, proxied: Callable[[str], Proxy], store: str
) -> None:
    began, proxy = now(house.database_url), proxied(store)
    crowd(house, with_held=True)
    url = proxy.url(house.database_url if store == "postgresql" else house.redis_url)
    runner = house.start("runner", **{"database_url" if store == "postgresql" else "redis_url": url})
    all_ran(house)
    for harm in HARMS:
        mark = runner.mark()
        between = last_for(proxy, harm)
        runner.says("nothing fires until it answers", since=mark)
        all_ran(house)
        assert started(house, between, PLAIN) == []
    holds(house, faults=[(began, now(house.database_url))])


@pytest.mark.parametrize("store", ["postgresql", "redis"])
def test_one_of_two_runners_without_a_store_leaves_the_work_to_the_other(
    house: Project, proxied: Callable[[str], Proxy], store: str
) -> None:
    began, proxy = now(house.database_url), proxied(store)
    crowd(house)
    url = proxy.url(house.database_url if store == "postgresql" else house.redis_url)
    lonely = house.start("runner", **{"database_url" if store == "postgresql" else "redis_url": url})
    all_ran(house)
    other = house.start("runner")
    until(lambda: rows(house.database_url, "select count(*) from runners where ended_at is null") == [(2,)])
    for harm in HARMS:
        mark, since = lonely.mark(), time.monotonic() + ON_ITS_WAY
        harm(proxy)
        time.sleep(max(LASTING, 2 * LEASE))
        until(
            lambda since=since: set(started(house, (since, time.monotonic()), PLAIN)) == set(PLAIN),  # type: ignore[misc]
            what="the other goes on meanwhile",
        )
        proxy.heal()
        if store == "postgresql":
            lonely.says("had counted this one as dead; it goes on anew", since=mark)
        all_ran(house)
    assert lonely.is_alive
    assert other.is_alive
    holds(house, faults=[(began, now(house.database_url))])


@pytest.mark.parametrize("store", ["postgresql", "redis"])
def test_a_sync_loop_without_a_store_applies_later_and_what_runs_goes_on(
    house: Project, proxied: Callable[[str], Proxy], store: str
) -> None:
    house.configure(settings=LOOP)
    began, proxy = now(house.database_url), proxied(store)
    crowd(house)
    url = proxy.url(house.database_url if store == "postgresql" else house.redis_url)
    loop = house.start("serve", "--no-runner", **{"database_url" if store == "postgresql" else "redis_url": url})
    house.start("runner")
    all_ran(house)
    until(lambda: proxy.connections, what="the loop is connected")
    for number, harm in enumerate(HARMS):
        new, since = f"new{number}", time.monotonic()
        harm(proxy)
        house.spec(new, 'task: j.async\nschedule: "@every 1s"')
        time.sleep(max(LASTING, LEASE))
        if store == "postgresql":
            assert rows(house.database_url, "select name from task_configs where name = %s", [new]) == []
        assert started(house, (since, time.monotonic()), PLAIN), "what runs goes on"
        proxy.heal()
        all_ran(house, names=[new, *PLAIN])
    assert loop.is_alive
    holds(house, faults=[(began, now(house.database_url))])

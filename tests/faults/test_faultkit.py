"""The kit does to servers and connections what it says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import redis
from faultkit import PostgreSQLServer, Project, Proxy, RedisServer, check, drain, due, now, until
from faultkit.waiting import rows

pytestmark = pytest.mark.faults


def test_a_proxy_cuts_and_heals(database: str, proxied: Callable[[str], Proxy]) -> None:
    proxy = proxied("postgresql")
    url = proxy.url(database)
    assert rows(url, "select 1") == [(1,)]
    with psycopg.connect(url, autocommit=True) as connection:
        proxy.reset()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    proxy.cut()
    with pytest.raises(psycopg.OperationalError):
        rows(url, "select 1")
    proxy.heal()
    assert rows(url, "select 1") == [(1,)]


def test_a_proxy_loses_the_answer_of_the_commit_that_is_meant(database: str, proxied: Callable[[str], Proxy]) -> None:
    proxy = proxied("postgresql")
    with psycopg.connect(proxy.url(database)) as connection:
        connection.execute("create table marks (n int)")
        connection.commit()
        proxy.lose_commits(1, of="INTO marks")
        connection.execute("select 1")
        connection.commit()
        connection.execute("insert into marks values (%s)", [1], prepare=True)
        with pytest.raises(psycopg.OperationalError):
            connection.commit()
    assert proxy.lost == 1
    assert rows(database, "select n from marks") == [(1,)]


def test_redis_forgets_and_is_set_back(redis_server: RedisServer, proxied: Callable[[str], Proxy]) -> None:
    proxy = proxied("redis")
    with redis.Redis.from_url(proxy.url(redis_server.url), decode_responses=True) as client:
        client.set("k", "old")
        before = redis_server.snapshot()
        client.set("k", "new")
        redis_server.restore(before)
        assert until(lambda: redis_server.client().get("k")) == "old"
        redis_server.restart(empty=True)
        assert redis_server.client().get("k") is None


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
def test_postgresql_comes_back(postgresql: PostgreSQLServer, mode: str) -> None:
    postgresql.restart(mode)
    assert postgresql.execute("postgres", "select 1") == [(1,)]


def test_what_nothing_goes_wrong_with_has_no_findings(house: Project) -> None:
    house.spec("often", 'task: j.async\nschedule: "@every 1s"')
    house.spec("sync", 'task: j.sync\nschedule: "*/2 * * * * *"\nseconds: first\nparams: {seconds: 0.1}')
    house.spec("flaky", 'task: j.flaky\nschedule: "@every 1s"\nretries: {attempts: 3, backoff: 100ms}')
    began = now(house.database_url)
    house.apply()
    runner = house.start("runner")
    until(lambda: len(house.journal.ends("often")) >= 4 and len(house.journal.ends("sync")) >= 2)
    # On a busy machine some may come too late.
    missed = [(began, began + timedelta(minutes=2))]
    assert check(house.database_url, house.journal, is_drained=False, faults=missed) == []
    drain(house)
    assert runner.terminate() == 0
    assert check(house.database_url, house.journal, faults=missed) == []


def test_the_oracle_knows_clock_changes() -> None:
    spec = {"schedule": "30 2 * * *", "timezone": "Europe/Berlin"}
    spring = due(spec, datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 3, 30, 12, tzinfo=UTC))
    assert spring == [datetime(2026, 3, 29, 1, 0, tzinfo=UTC), datetime(2026, 3, 30, 0, 30, tzinfo=UTC)]
    autumn = due(spec, datetime(2026, 10, 24, 12, tzinfo=UTC), datetime(2026, 10, 26, 12, tzinfo=UTC))
    assert autumn == [datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 26, 1, 30, tzinfo=UTC)]
    hourly = due(
        {**spec, "schedule": "0 * * * *"}, datetime(2026, 10, 25, 0, tzinfo=UTC), datetime(2026, 10, 25, 3, tzinfo=UTC)
    )
    assert hourly == [datetime(2026, 10, 25, hour, tzinfo=UTC) for hour in (1, 2, 3)]

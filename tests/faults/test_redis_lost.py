"""Redis is emptied, restarted with nothing or with an old copy, evicts, or is gone: nothing doubles, nothing is lost
beyond each task's own `missed` rule, and a pause holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest
import redis
from faultkit import Project, RedisServer, now
from faultkit.crowd import LASTING, all_ran, are_there, chance, crowd, holds, lasts, some

pytestmark = pytest.mark.faults


def emptied(server: RedisServer) -> None:
    random, end = chance("emptied"), time.monotonic() + LASTING
    while time.monotonic() < end:
        server.command("flushall")
        time.sleep(random.uniform(0.05, 0.9))


def restarted_empty(server: RedisServer) -> None:
    server.kill()
    server.restart(empty=True)
    lasts(1)
    server.restart(empty=True)


def restarted_with_an_old_copy(server: RedisServer) -> None:
    snapshot = server.snapshot()
    lasts()
    server.restore(snapshot)


def gone(server: RedisServer) -> None:
    server.kill()
    lasts()
    server.start()


def evicting(server: RedisServer) -> None:
    """So little room that keys go at each write; then enough of it."""
    end = time.monotonic() + LASTING
    with server.client() as client:
        server.configure(
            maxmemory_policy="allkeys-random", maxmemory=str(client.info("memory")["used_memory"] + 500_000)
        )
        while time.monotonic() < end:
            for n in range(200):
                with suppress(redis.ResponseError):  # nothing is left that could go
                    client.set(f"of-others:{n}", "x" * 10_000)
            time.sleep(0.2)
        server.configure(maxmemory="0", maxmemory_policy="noeviction")
        client.delete(*(f"of-others:{n}" for n in range(200)))


WITH_A_LOOP = some([emptied, restarted_with_an_old_copy, evicting], [restarted_empty, gone])
ALONE = some([restarted_empty, gone], [emptied, restarted_with_an_old_copy])


@pytest.mark.parametrize("fault", WITH_A_LOOP, ids=lambda fault: fault.__name__)
def test_with_a_sync_loop_running(house: Project, redis_server: RedisServer, fault: Callable[..., None]) -> None:
    house.configure(settings='[[sources]]\nname = "default"\npath = "specs"\ninterval = "1s"\n')
    crowd(house, with_held=True)
    service = house.start("serve")
    endure(house, redis_server, fault)
    assert service.is_alive


@pytest.mark.parametrize("fault", ALONE, ids=lambda fault: fault.__name__)
def test_with_runners_alone(house: Project, redis_server: RedisServer, fault: Callable[..., None]) -> None:
    crowd(house, with_held=True)
    runners = [house.start("runner") for _ in range(2)]
    are_there(house, 2)
    endure(house, redis_server, fault)
    assert all(runner.is_alive for runner in runners)


# Until runners, which ask again after half a second, have caught up; more where the machine is busy.
CATCHING_UP = timedelta(seconds=3)


def endure(house: Project, redis_server: RedisServer, fault: Callable[..., None]) -> None:
    all_ran(house)
    began = now(house.database_url)
    fault(redis_server)
    ended = now(house.database_url)
    all_ran(house)
    holds(house, faults=[(began, ended + CATCHING_UP)])

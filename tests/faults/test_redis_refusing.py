"""Redis is there and does not do its part: full, read-only, locked by a password, slow. Nothing fires meanwhile, that
is said in one line and once, and all goes on by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from faultkit import Process, Project, Proxy, RedisServer, now
from faultkit.crowd import all_ran, are_there, crowd, holds, lasts

pytestmark = pytest.mark.faults

CATCHING_UP = timedelta(seconds=3)


def full(server: RedisServer) -> None:
    server.configure(maxmemory="1")
    lasts()
    server.configure(maxmemory="0")


def read_only(server: RedisServer) -> None:
    server.command("REPLICAOF", "127.0.0.1", "1")
    lasts()
    server.command("REPLICAOF", "NO", "ONE")


def locked(server: RedisServer) -> None:
    with server.client() as client:
        client.config_set("requirepass", "another")
        for kind in ("normal", "pubsub"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        lasts()
        client.config_set("requirepass", "")


FAULTS = [(full, "it is full"), (read_only, "it is a replica"), (locked, "it asks for a password")]


@pytest.mark.parametrize(("fault", "words"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_what_it_refuses_is_said_once_and_made_up_for(
    house: Project, redis_server: RedisServer, fault: Callable[..., None], words: str
) -> None:
    crowd(house, with_held=True)
    runner = house.start("runner")
    all_ran(house)
    began = now(house.database_url)
    fault(redis_server)
    ended = now(house.database_url)
    all_ran(house)
    said_once(runner, words)
    holds(house, faults=[(began, ended + CATCHING_UP)])


def test_a_slow_one_delays_and_a_deaf_one_is_given_up_and_nothing_doubles(
    house: Project, proxied: Callable[[str], Proxy]
) -> None:
    crowd(house, with_held=True)
    proxy = proxied("redis")
    runners = [house.start("runner", redis_url=proxy.url(house.redis_url)) for _ in range(2)]
    are_there(house, 2)
    all_ran(house)
    began = now(house.database_url)
    proxy.slow(0.3)
    lasts()
    proxy.heal()
    proxy.stall()
    lasts(4.0)
    proxy.heal()
    ended = now(house.database_url)
    all_ran(house)
    for runner in runners:
        said_once(runner, "no answer within")
    holds(house, faults=[(began, ended + CATCHING_UP)])


def said_once(runner: Process, words: str) -> None:
    """In one line, and that it is over in another."""
    lines = [line for line in runner.text.splitlines() if words in line]
    assert len(lines) == 1, runner.text
    assert lines[0].endswith("nothing fires until it answers")
    runner.says("answer again; what was missed follows each task's own rule")

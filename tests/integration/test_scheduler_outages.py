"""A Redis that is emptied, restarted, full, read-only, locked or away: said in one line, and made up for."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis as redis_library

from reconciler.embedded.binaries import redis_server
from reconciler.errors import ReconcilerError, StoreUnavailable
from reconciler.scheduler import Advance, Due, Entry, EpochChanged, RedisServiceManager, SchedulerService

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOLD = timedelta(seconds=10)
ENTRIES = [Entry(n, "default", "active", f"digest-{n}", NOON, NOON) for n in range(1, 4)]
DUE = Due(1, "default", NOON, "digest-1", NOON)
MOVE = Advance(1, "default", "digest-1", NOON, NOON + HOLD, NOON + HOLD)


class Server:
    """A redis-server of the test's own, on a socket."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        command = [str(redis_server()), "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.directory)]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen([*command, "--save", "", *options], stdout=log, stderr=log)
        with redis_library.Redis(unix_socket_path=str(self.socket)) as client:
            for _ in range(1000):
                try:
                    client.ping()
                    return
                except redis_library.AuthenticationError:
                    return
                except redis_library.ConnectionError:
                    self._process.poll()
                    assert self._process.returncode is None, (self.directory / "log").read_text()
                    threading.Event().wait(0.01)
        raise AssertionError("redis-server did not start")

    def suspend(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def carry_on(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self.socket.unlink(missing_ok=True)


@pytest.fixture
def server(short_directory: Path) -> Iterator[Server]:
    server = Server(short_directory)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def redis(server: Server) -> AsyncIterator[RedisServiceManager]:
    redis = RedisServiceManager(server.url)
    yield redis
    await redis.close()


@pytest.fixture
async def scheduler(redis: RedisServiceManager) -> SchedulerService:
    scheduler = SchedulerService(redis)
    await scheduler.align(ENTRIES, complete=True)
    return scheduler


async def take(scheduler: SchedulerService, epoch: str | None) -> list[int]:
    taken = await scheduler.take(["default"], NOON, 10, HOLD, epoch or "")
    return [due.config_id for due in taken.due]


# ── emptied and restarted ──


async def test_after_a_flush_the_runner_is_told_and_one_pass_rebuilds_all(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    before = await scheduler.status([1, 2, 3])
    epoch = await scheduler.epoch()
    await redis.client.flushall()
    with pytest.raises(EpochChanged):
        await take(scheduler, epoch)
    assert await scheduler.align(ENTRIES, complete=True) == 3
    assert await scheduler.status([1, 2, 3]) == before
    assert await scheduler.epoch() not in (None, epoch)
    with pytest.raises(EpochChanged):
        await take(scheduler, epoch)
    assert await take(scheduler, await scheduler.epoch()) == [1, 2, 3]


async def test_a_flush_in_the_middle_of_a_rebuild_never_leaves_half_a_redis_declared_whole(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    flushes = 0

    async def flush_once(config_ids: Collection[int]) -> Collection[int]:
        nonlocal flushes
        flushes += 1
        await redis.client.flushall()
        return config_ids

    await scheduler.align(ENTRIES[:2], complete=True, gone=flush_once)
    assert flushes == 1
    assert await take(scheduler, await scheduler.epoch()) == [1, 2]


async def test_a_redis_that_is_emptied_at_each_rebuild_is_given_up_and_not_declared_whole(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    async def flush(config_ids: Collection[int]) -> Collection[int]:
        await redis.client.flushall()
        await scheduler.register(ENTRIES[2])  # so that there is something to ask about the next time
        return ()

    with pytest.raises(StoreUnavailable, match="emptied again and again"):
        await scheduler.align(ENTRIES[:2], complete=True, gone=flush)
    assert await scheduler.epoch() is None


async def test_a_restart_with_nothing_on_disk_is_told(server: Server, scheduler: SchedulerService) -> None:
    epoch = await scheduler.epoch()
    server.stop()
    server.start()
    with pytest.raises(EpochChanged):
        await take(scheduler, epoch)
    await scheduler.align(ENTRIES, complete=True)
    assert await take(scheduler, await scheduler.epoch()) == [1, 2, 3]


async def test_a_restart_with_an_old_copy_on_disk_is_told_although_the_epoch_is_the_same(
    server: Server, redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    epoch = await scheduler.epoch()
    await redis.client.execute_command("SAVE")
    later = [replace(entry, next_run=NOON + HOLD, wake_at=NOON + HOLD) for entry in ENTRIES]
    await scheduler.align(later, complete=True)
    server.stop()
    server.start()
    for _ in range(2):  # until it was aligned, however often it is asked
        with pytest.raises(EpochChanged):
            await take(scheduler, epoch)
    assert await scheduler.epoch() == epoch
    assert await scheduler.align(later, complete=True) == 3
    assert await take(scheduler, epoch) == []


async def test_what_an_old_copy_gave_out_while_the_restart_was_noticed_is_not_held(
    server: Server, redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    epoch = await scheduler.epoch()
    await redis.client.execute_command("SAVE")
    server.stop()
    server.start()
    with pytest.raises(EpochChanged):
        await take(scheduler, epoch)
    await scheduler.align(ENTRIES, complete=True)
    assert await take(scheduler, epoch) == [1, 2, 3]


async def test_a_part_of_a_rebuild_settles_no_restart(server: Server, scheduler: SchedulerService) -> None:
    epoch = await scheduler.epoch()
    server.stop()
    server.start()
    await scheduler.align(ENTRIES, complete=False)
    with pytest.raises(EpochChanged):
        await take(scheduler, epoch)


async def test_scripts_that_the_server_forgot_are_sent_again(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    async def forget() -> None:
        await redis.client.script_flush()

    await forget()
    taken = await scheduler.take(["default"], NOON, 10, HOLD, await scheduler.epoch() or "")
    await forget()
    await scheduler.give_back(taken.due)
    await forget()
    await scheduler.advance([MOVE])
    await forget()
    assert await scheduler.pause(1, None, None)
    await forget()
    assert await scheduler.unregister(2) == 1
    await forget()
    assert await scheduler.align(ENTRIES, complete=True) == 2


async def test_a_wake_is_heard_again_after_a_restart(server: Server, scheduler: SchedulerService) -> None:
    wakes = scheduler.wakes()
    async with asyncio.timeout(20):
        await anext(wakes)
        await scheduler.wake()
        await anext(wakes)
        server.stop()
        waiting = asyncio.ensure_future(anext(wakes))
        await asyncio.wait([waiting], timeout=0.3)
        assert not waiting.done()
        server.start()
        await waiting  # connected again: something may have been said meanwhile
        await scheduler.wake()
        await anext(wakes)
    await wakes.aclose()  # type: ignore[attr-defined]


async def test_a_wake_is_waited_for_while_redis_is_not_there_yet(server: Server) -> None:
    server.stop()
    redis = RedisServiceManager(server.url)
    wakes = SchedulerService(redis).wakes()
    waiting = asyncio.ensure_future(anext(wakes))
    await asyncio.wait([waiting], timeout=0.3)
    server.start()
    async with asyncio.timeout(20):
        await waiting
    await wakes.aclose()  # type: ignore[attr-defined]
    await redis.close()


async def test_a_server_that_falls_silent_is_left_and_found_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.scheduler.wakes.SILENCE", 0.05)
    redis = RedisServiceManager(server.url, patience=0.2)
    wakes = SchedulerService(redis).wakes()
    async with asyncio.timeout(20):
        await anext(wakes)
        waiting = asyncio.ensure_future(anext(wakes))
        await asyncio.wait([waiting], timeout=0.3)
        assert not waiting.done(), "an answer to the question whether anybody is there is not a wake"
        server.suspend()
        await asyncio.wait([waiting], timeout=0.5)
        server.carry_on()
        await waiting
    await wakes.aclose()  # type: ignore[attr-defined]
    await redis.close()


async def test_a_call_that_is_cancelled_halfway_leaves_no_answer_for_the_next(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    for n in range(60):
        call = asyncio.ensure_future(scheduler.status([1, 2, 3]))
        for _ in range(n % 20):
            await asyncio.sleep(0)
        is_under_way = call.cancel()
        await asyncio.wait([call])
        assert call.cancelled() == is_under_way
        assert await scheduler.epoch() == await redis.client.get("schedule:epoch")
    assert await take(scheduler, await scheduler.epoch()) == [1, 2, 3]


@pytest.mark.parametrize("swallowing", [lambda: 1, lambda: 1 / 0], ids=["an answer", "an error"])
async def test_a_cancellation_that_is_swallowed_on_the_way_is_heard(
    redis: RedisServiceManager,
    scheduler: SchedulerService,
    monkeypatch: pytest.MonkeyPatch,
    swallowing: Callable[[], int],
) -> None:
    asked = asyncio.Event()

    async def publish(*_: object) -> int:
        asked.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return swallowing()

    monkeypatch.setattr(redis.client, "publish", publish)
    call = asyncio.ensure_future(scheduler.wake())
    await asked.wait()
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()


async def test_time_that_is_up_while_redis_answers_is_up(
    redis: RedisServiceManager, scheduler: SchedulerService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def publish(*_: object) -> int:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return 1

    monkeypatch.setattr(redis.client, "publish", publish)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await scheduler.wake()
    assert await scheduler.epoch()


# ── away, full, locked ──


async def refusals(redis: RedisServiceManager, scheduler: SchedulerService) -> list[str]:
    """What each method says when Redis does not do its part."""
    acts = {
        "connect": lambda: redis.connect(),
        "policy": lambda: redis.policy(),
        "take": lambda: scheduler.take(["default"], NOON, 10, HOLD, "epoch"),
        "advance": lambda: scheduler.advance([MOVE]),
        "give_back": lambda: scheduler.give_back([DUE]),
        "epoch": lambda: scheduler.epoch(),
        "align": lambda: scheduler.align(ENTRIES, complete=True),
        "register": lambda: scheduler.register(ENTRIES[0]),
        "unregister": lambda: scheduler.unregister(1),
        "stop": lambda: scheduler.stop(1),
        "pause": lambda: scheduler.pause(1, None, None),
        "status": lambda: scheduler.status([1]),
        "wake": lambda: scheduler.wake(),
    }
    said = []
    for act in acts.values():
        with pytest.raises(StoreUnavailable) as refused:
            await act()
        said.append(str(refused.value))
    return said


async def test_a_server_that_is_away_is_one_line_from_every_method(server: Server) -> None:
    server.stop()
    redis = RedisServiceManager(server.url)
    for text in await refusals(redis, SchedulerService(redis)):
        assert text == f"redis: {server.url}: cannot connect: No such file or directory: check redis_url"
    await redis.close()


async def test_a_server_that_goes_away_in_between_is_one_line(
    server: Server, redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    server.stop()
    for text in await refusals(redis, scheduler):
        assert text.startswith(f"redis: {server.url}: cannot connect: ")
        assert "\n" not in text


async def test_a_password_is_never_told(server: Server) -> None:
    server.stop()
    server.start("--requirepass", "correct")
    for given in ("", ":wrong-secret@", "someone:wrong-secret@"):
        url = f"unix://{given}{server.socket}"
        redis = RedisServiceManager(url)
        for text in await refusals(redis, SchedulerService(redis)):
            assert "secret" not in text
            assert text.startswith("redis: unix://")
            assert "password" in text
            assert "\n" not in text
        await redis.close()
    redis = RedisServiceManager(f"unix://:correct@{server.socket}")
    await redis.connect()
    await redis.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "http://localhost",
        "redis://:se/cret@localhost:6379",
        "redis://localhost:se",
        "redis://localhost:99999",
        "redis://[::1",
    ],
)
def test_what_is_no_url_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ReconcilerError) as refused:
        RedisServiceManager(url)
    assert str(refused.value).startswith("redis_url: ")
    assert "cret" not in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_a_full_redis_fails_closed_and_works_again_with_room(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    epoch = await scheduler.epoch()
    await redis.client.config_set("maxmemory", "1")
    for act in (
        lambda: take(scheduler, epoch),
        lambda: scheduler.advance([MOVE]),
        lambda: scheduler.align(ENTRIES, complete=True),
    ):
        with pytest.raises(StoreUnavailable, match=r"^redis: unix://\S+: it is full: raise its maxmemory"):
            await act()
    await redis.client.config_set("maxmemory", "0")
    assert await take(scheduler, epoch) == [1, 2, 3]


async def test_a_replica_that_may_not_be_written_is_one_line(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    epoch = await scheduler.epoch()
    await redis.client.execute_command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StoreUnavailable, match=r"^redis: unix://\S+: it is a replica"):
        await take(scheduler, epoch)


async def test_a_key_of_another_kind_is_as_good_as_none(
    redis: RedisServiceManager, scheduler: SchedulerService
) -> None:
    epoch = await scheduler.epoch()
    await redis.client.set("schedule:due:default", "somebody else's")
    with pytest.raises(EpochChanged):  # so that whoever takes aligns first
        await take(scheduler, epoch)


async def test_a_cluster_is_refused(server: Server) -> None:
    server.stop()
    server.start("--port", str(cluster_port()), "--cluster-enabled", "yes")
    redis = RedisServiceManager(server.url)
    with pytest.raises(ReconcilerError, match="Redis Cluster is not supported: "):
        await redis.connect()
    await redis.close()


async def test_a_server_that_never_answers_is_given_up(short_directory: Path) -> None:
    path = short_directory / "deaf.sock"
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(path))
        deaf.listen()
        redis = RedisServiceManager(f"unix://{path}", patience=0.1)
        for text in await refusals(redis, SchedulerService(redis)):
            assert text == f"redis: unix://{path}: no answer within 0.1 s: check redis_url"
        await redis.close()


# ── policy and identity ──


async def test_an_evicting_policy_is_warned_of_in_one_line(redis: RedisServiceManager) -> None:
    assert (await redis.policy(), await redis.policy_warning()) == ("noeviction", None)
    await redis.client.config_set("maxmemory-policy", "allkeys-lru")
    assert await redis.policy() == "allkeys-lru"
    warning = await redis.policy_warning()
    assert warning
    assert "'allkeys-lru'" in warning
    assert warning.endswith("set it to 'noeviction'")


async def test_where_config_is_forbidden_the_policy_comes_from_info(redis: RedisServiceManager) -> None:
    await redis.client.config_set("maxmemory-policy", "volatile-ttl")
    await redis.client.execute_command("ACL", "SETUSER", "default", "-config")
    assert await redis.policy() == "volatile-ttl"
    await redis.client.execute_command("ACL", "SETUSER", "default", "-info")
    assert (await redis.policy(), await redis.policy_warning()) == (None, None)


async def test_a_server_that_tells_nothing_of_itself_still_serves(server: Server, redis: RedisServiceManager) -> None:
    await redis.client.execute_command("ACL", "SETUSER", "default", "-info")
    other = RedisServiceManager(server.url)
    assert (await other.server_run_id(), await other.version()) == (None, None)
    scheduler = SchedulerService(other)
    await scheduler.align(ENTRIES, complete=True)
    assert await take(scheduler, await scheduler.epoch()) == [1, 2, 3]
    await other.close()


async def test_a_restart_has_another_run_id(server: Server, redis: RedisServiceManager) -> None:
    before = await redis.server_run_id()
    assert before
    assert await redis.server_run_id() == before
    server.stop()
    server.start()
    assert await redis.server_run_id() not in (None, before)


def cluster_port() -> int:
    """A free port whose ten-thousandth follower, where a cluster talks to itself, is a port too."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            if (port := int(probe.getsockname()[1])) <= 55_535:
                return port

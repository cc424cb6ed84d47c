"""The one way to PostgreSQL: a transaction in a round trip, in UTC, and what is left when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from reconciler.db.link import Link
from reconciler.errors import StoreUnavailable


class Gate:
    """A server in front of the server: counts what passes, and withholds or cuts it."""

    def __init__(self, directory: Path, url: str) -> None:
        self._parts = {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
        self._socket = directory / ".s.PGSQL.5432"
        self._directory = directory
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.syncs = 0
        self.answers_wait_for_sync = False
        self.cuts_at_sync = False
        self.is_silent = False
        self._synced = asyncio.Event()

    @property
    def url(self) -> str:
        user, password = quote(self._parts.get("user", "")), quote(self._parts.get("password", ""))
        return f"postgresql://{user}:{password}@/{self._parts['dbname']}?host={quote(str(self._directory))}"

    async def __aenter__(self) -> Gate:
        self._server = await asyncio.start_unix_server(self._accept, self._socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._parts.get("host", "localhost"), self._parts.get("port", "5432")
        if host.startswith("/"):
            server = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            server = await asyncio.open_connection(host, int(port))
        self._writers += [writer, server[1]]
        for work in (self._to_server(reader, server[1]), self._to_client(server[0], writer)):
            task = asyncio.create_task(work)
            self._tasks.add(task)

    async def _to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            kind = b""
            while True:
                size = await reader.readexactly(4)
                body = await reader.readexactly(int.from_bytes(size, "big") - 4)
                if kind == b"S":
                    self.syncs += 1
                    self._synced.set()
                    if self.cuts_at_sync:
                        self.cut()
                        return
                writer.write(kind + size + body)
                kind = await reader.readexactly(1)

    async def _to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if self.answers_wait_for_sync:
                    await self._synced.wait()
                    self._synced.clear()
                if not self.is_silent:
                    writer.write(data)
            writer.close()


@pytest.fixture
async def gate(short_directory: Path, database_url: str) -> AsyncIterator[Gate]:
    async with Gate(short_directory, database_url) as gate:
        yield gate


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_a_statement_is_one_transaction_in_one_round_trip(gate: Gate) -> None:
    link = Link(gate.url)
    await link.run("select 1")
    gate.answers_wait_for_sync = True
    for expected in (2, 3):
        async with asyncio.timeout(10):
            rows = await link.run("select current_setting('lock_timeout'), %(n)s::int", {"n": expected})
        assert rows == [("5s", expected)]
        assert gate.syncs == expected
    await link.close()


async def test_a_limit_on_locks_holds_for_the_statement_and_not_after_it(link: Link, database_url: str) -> None:
    short = Link(database_url, lock_timeout=timedelta(milliseconds=20))
    async with link.transaction() as tx:
        await tx.run("lock table syncs")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            await short.run("select from syncs")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            async with short.transaction(lock_timeout=timedelta(milliseconds=30)) as other:
                assert await other.run("show lock_timeout") == [("30ms",)]
                await other.run("select from syncs")
    assert await short.run("select from syncs") == []
    await short.close()


async def test_instants_are_utc_whatever_the_server_thinks(link: Link, database_url: str) -> None:
    [(name,)] = await link.run("select current_database()")
    await link.run(f"alter database {name} set timezone = 'Asia/Kathmandu'")
    await link.run(f"alter database {name} set datestyle = 'German, DMY'")
    moment = datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    other = Link(database_url)
    assert await other.run("show timezone") == [("Asia/Kathmandu",)]
    rows = await other.run("select %(m)s::timestamptz, array[%(m)s::timestamptz]", {"m": moment})
    assert rows == [(moment, [moment])]
    assert rows[0][0].tzinfo is UTC
    await other.close()


async def test_values_come_back_as_they_went(link: Link) -> None:
    value = {"text": "ä\n'\"\\", "list": [1, 2.5, None, True], "nested": {"deep": []}}
    rows = await link.run("select %(v)s, %(b)s, %(n)s::text", {"v": value, "b": 2**40, "n": None})
    assert rows == [(value, 2**40, None)]


@pytest.mark.parametrize("value", ["a\0b", "\ud800", {"a": "\0"}, {"a": "\ud800"}, {"a": float("nan")}])
async def test_a_value_that_postgresql_cannot_hold_costs_only_its_statement(link: Link, value: object) -> None:
    for _ in range(2):
        with pytest.raises(psycopg.DataError):
            await link.run("insert into task_cursors select %(v)s::text", {"v": value})
        assert await link.run("select pg_current_xact_id_if_assigned() is null") == [(True,)]


@pytest.mark.parametrize("params", [{"v": object()}, {"v": {"a": object()}}, {"other": 1}, {"v": 2**70}])
async def test_a_value_that_cannot_be_sent_leaves_no_open_transaction(link: Link, params: dict[str, object]) -> None:
    await link.run("select 1")
    with pytest.raises((psycopg.Error, TypeError)):
        await link.run("insert into task_cursors select %(v)s::text", params)
    [(first,)] = await link.run("select transaction_timestamp()")
    [(second,)] = await link.run("select transaction_timestamp()")
    assert second > first


async def test_an_error_of_a_statement_passes_through_and_the_next_one_works(link: Link) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        await link.run("select 1/0")
    with pytest.raises(psycopg.errors.SyntaxError):
        await link.run("selekt")
    assert await link.run("select 1") == [(1,)]


async def test_a_refused_commit_is_an_error_and_the_next_statement_works(link: Link) -> None:
    await link.run("create table late (i int unique deferrable initially deferred)")
    for _ in range(3):
        with pytest.raises(psycopg.errors.UniqueViolation):
            await link.run("insert into late values (1), (1)")
        assert await link.run("select count(*) from late") == [(0,)]


async def test_a_transaction_is_all_or_nothing(link: Link) -> None:
    async with link.transaction() as tx:
        await tx.run("insert into task_cursors (name) values ('kept')")
    with pytest.raises(KeyError):
        async with link.transaction() as tx:
            await tx.run("insert into task_cursors (name) values ('dropped')")
            raise KeyError
    assert await link.run("select name from task_cursors") == [("kept",)]


async def test_a_transaction_whose_error_was_passed_over_is_not_taken_for_committed(link: Link) -> None:
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        async with link.transaction() as tx:
            with suppress(psycopg.Error):
                await tx.run("select 1/0")
    assert await link.run("select 1") == [(1,)]


async def test_many_callers_take_turns(link: Link) -> None:
    async def transacted(n: int) -> int:
        async with link.transaction() as tx:
            await asyncio.sleep(0)
            return int((await tx.run("select %(n)s::int", {"n": n}))[0][0])

    async def ran(n: int) -> int:
        return int((await link.run("select %(n)s::int", {"n": n}))[0][0])

    assert await asyncio.gather(*((transacted if n % 3 else ran)(n) for n in range(30))) == list(range(30))


async def test_a_connection_that_broke_on_the_way_is_ambiguous_and_the_next_call_reconnects(gate: Gate) -> None:
    link = Link(gate.url)
    await link.run("select 1")
    gate.cuts_at_sync = True
    with pytest.raises(StoreUnavailable, match="the connection broke, and what it was doing may or may not be done"):
        await link.run("select 1")
    gate.cuts_at_sync = False
    assert await link.run("select 1") == [(1,)]
    await link.close()


async def test_a_transaction_whose_connection_broke_is_unavailable(gate: Gate) -> None:
    link = Link(gate.url)
    with pytest.raises(StoreUnavailable):
        async with link.transaction() as tx:
            gate.cut()
            await tx.run("select 1")
    assert await link.run("select 1") == [(1,)]
    await link.close()


async def test_a_backend_that_was_ended_in_between_costs_no_statement(link: Link, database_url: str) -> None:
    [(pid,)] = await link.run("select pg_backend_pid()")
    killer = Link(database_url)
    await killer.run("select pg_terminate_backend(%(pid)s::int, 5000)", {"pid": pid})
    [(other,)] = await link.run("select pg_backend_pid()")
    assert other != pid
    await killer.close()


async def test_a_cancelled_statement_ends_on_the_server_too(link: Link, database_url: str) -> None:
    sleeping = asyncio.create_task(link.run("select pg_sleep(60)"))
    watcher = Link(database_url)
    count = "select count(*) from pg_stat_activity where query like 'select pg_sleep%%' and state = 'active'"

    async def is_running() -> bool:
        return await watcher.run(f"{count} and datname = current_database()", {}) == [(1,)]

    async def is_over() -> bool:
        return not await is_running()

    await until(is_running)
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    await until(is_over)
    assert await link.run("select 1") == [(1,)]
    await watcher.close()


async def test_a_cancelled_transaction_is_rolled_back(link: Link) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with link.transaction() as tx:
            await tx.run("insert into task_cursors (name) values ('x')")
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await link.run("select name from task_cursors") == []


async def test_a_server_that_fell_silent_does_not_hold_a_cancelled_caller(gate: Gate) -> None:
    link = Link(gate.url)
    await link.run("select 1")
    gate.is_silent = True
    async with asyncio.timeout(10):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await link.run("select 1")
    gate.is_silent = False
    assert await link.run("select 1") == [(1,)]
    await link.close()


async def test_a_server_that_never_answers_is_given_up_in_time(gate: Gate) -> None:
    gate.is_silent = True
    with pytest.raises(StoreUnavailable, match="cannot connect: no answer within 2 s: check database_url"):
        await Link(gate.url, connect_timeout=2).run("select 1")


async def test_a_pooler_that_loses_prepared_statements_is_gone_along_with(link: Link) -> None:
    assert await link.run("select %(n)s::int", {"n": 1}) == [(1,)]
    await link.run("do $$ begin execute 'deallocate all'; end $$")
    assert await link.run("select %(n)s::int", {"n": 2}) == [(2,)]
    assert await link.run("select count(*) from pg_prepared_statements") == [(0,)]


async def test_a_prepared_statement_is_never_taken_for_that_of_another_link(link: Link, database_url: str) -> None:
    other = Link(database_url)
    names = "select array_agg(name) from pg_prepared_statements"
    [(mine,)], [(theirs,)] = await link.run(names), await other.run(names)
    assert mine
    assert not set(mine) & set(theirs)
    await other.close()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://ada:hunter2@127.0.0.1:1/name", "nothing listens there"),
        ("postgresql://ada:hunter2@nowhere.invalid/name", "the host name 'nowhere.invalid' is not known"),
        ("postgresql://ada:hunter2@/name?host=/nonexistent", "there is no socket '/nonexistent/.s.PGSQL.5432'"),
    ],
)
async def test_an_unreachable_server_is_one_line_without_the_password(url: str, why: str) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        await Link(url).run("select 1")
    assert str(caught.value).startswith("postgresql: postgresql://ada:***@")
    assert str(caught.value).endswith(f": cannot connect: {why}: check database_url")


async def test_a_missing_database_is_named(database_url: str) -> None:
    [(name,)] = await (link := Link(database_url)).run("select current_database()")
    await link.close()
    with pytest.raises(StoreUnavailable, match="cannot connect: there is no database 'missing': check database_url"):
        await Link(database_url.replace(name, "missing")).run("select 1")

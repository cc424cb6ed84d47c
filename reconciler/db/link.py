"""How does one statement reach PostgreSQL? As one transaction in one round trip, or not at all.

It knows nothing of the tables. It keeps nothing in the session (no `set`, no session lock, no temporary table),
so PgBouncer in transaction mode may stand in between; prepared statements go by the protocol, which PgBouncer
carries from 1.21 on. A pooler that loses them is noticed, and this link goes on without.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import select
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import psycopg
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.pq import TransactionStatus as Status
from psycopg.types.json import JsonbDumper
from psycopg.types.numeric import Int8Dumper

from reconciler.db import columns
from reconciler.db.address import connection_options, reason
from reconciler.errors import StoreUnavailable
from reconciler.urls import redacted

Params = Mapping[str, Any] | Sequence[Any] | None
Row = tuple[Any, ...]
Connection = psycopg.AsyncConnection[Row]
T = TypeVar("T")

LIMITS = "select set_config('lock_timeout', $1, true)"
# For a statement that is planned once, and may be when its tables are empty.
BY_INDEX = """select set_config('lock_timeout', $1, true), set_config('plan_cache_mode', 'force_generic_plan', true),
set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true), set_config('jit', 'off', true)
"""
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
UNWIND = 1.0  # seconds that a cancelled statement has to let go of its connection
LOST_PREPARED = (psycopg.errors.InvalidSqlStatementName, psycopg.errors.DuplicatePreparedStatement)


class InstantLoader(Loader):
    """`timestamptz` in UTC, whatever the server's TimeZone and DateStyle are."""

    format = Format.BINARY

    def load(self, data: Buffer) -> datetime:
        return EPOCH + timedelta(microseconds=int.from_bytes(data, "big", signed=True))


class MappingDumper(JsonbDumper):
    """A dict is JSONB, without a wrapper."""


class Statements(Protocol):
    """What runs a statement: a `Link` (each in its own transaction) or an open `Transaction`."""

    async def run(self, statement: str, params: Params = None) -> list[Row]: ...


class Transaction:
    """An open transaction; it ends with the block that opened it."""

    def __init__(self, link: Link, connection: Connection) -> None:
        self._link = link
        self._connection = connection

    @property
    def session(self) -> object:
        """The same for every transaction over one connection, and another after it was opened anew."""
        return self._connection

    async def run(self, statement: str, params: Params = None) -> list[Row]:
        """The rows of one statement inside this transaction; errors as in `Link.run`."""
        return await self._link.watched(_execute(self._connection, statement, params))


class Link:
    """One connection, opened at the first need and again after it broke; statements take turns on it."""

    def __init__(self, url: str, *, connect_timeout: float = 3.0, lock_timeout: timedelta = timedelta(seconds=5)):
        self.place = redacted(url)
        self._options = connection_options(url, connect_timeout)
        self._lock_timeout = lock_timeout
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._prepare = True

    async def run(self, statement: str, params: Params = None, *, by_index: bool = False) -> list[Row]:
        """The rows of one statement in its own transaction, committed when this returns.

        `by_index`: it is planned once for this connection, and reaches its tables through indexes whatever is in them.

        Values arrive in binary: cast what psycopg has no binary form for (`regclass`, `xid8`) to text. A dict is
        sent as JSONB, an int as int8. StoreUnavailable: no connection, or it broke on the way, and then whether
        the statement was committed is not known. What the server says against the statement itself passes
        through as `psycopg.Error`; a text that UTF-8 or PostgreSQL cannot hold is `psycopg.DataError`.
        """
        async with self._turn:
            try:
                return await self._alone(statement, params, by_index)
            except LOST_PREPARED:
                self._prepare = False  # nothing was executed: the transaction fell with the missing statement
                return await self._alone(statement, params, by_index)

    @asynccontextmanager
    async def transaction(self, *, lock_timeout: timedelta | None = None) -> AsyncIterator[Transaction]:
        """Several statements in one transaction, committed at the end of the block, rolled back by any exception.

        Every lock inside is waited for at most `lock_timeout` (by default the link's), an advisory one too.
        """
        async with self._turn:
            connection = await self._open()
            await self.watched(_begin(connection, self._limit(lock_timeout)))
            try:
                yield Transaction(self, connection)
            except BaseException:
                with suppress(psycopg.Error, StoreUnavailable):
                    await self.watched(connection.execute("rollback", prepare=False))
                raise
            await self.watched(_commit(connection))

    async def close(self) -> None:
        """Let go of the connection; the next statement opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _alone(self, statement: str, params: Params, by_index: bool) -> list[Row]:
        connection = await self._open()
        limits = (BY_INDEX if by_index else LIMITS, [self._limit(None)])
        return await self.watched(_pipelined(connection, limits, statement, params, self._prepare))

    def _limit(self, lock_timeout: timedelta | None) -> str:
        return f"{(lock_timeout or self._lock_timeout) / timedelta(milliseconds=1):.0f}ms"

    async def _open(self) -> Connection:
        if self._connection is not None and not _is_alive(self._connection):
            await self.close()
        if self._connection is None:
            self._connection = await self._connect()
        return self._connection

    async def _connect(self) -> Connection:
        options = self._options
        try:
            async with asyncio.timeout(options.patience):
                connection = await psycopg.AsyncConnection.connect(
                    **options.arguments, autocommit=True, cursor_factory=psycopg.AsyncRawCursor
                )
        except (psycopg.Error, OSError, TimeoutError, UnicodeError) as error:
            what = reason(error, options)
            raise StoreUnavailable(f"postgresql: {self.place}: cannot connect: {what}: check database_url") from error
        # A pooler that knows nothing of prepared statements may hand us a server connection on which another client
        # has one of the same name: it must be missing there, never be somebody else's statement.
        connection._prepared._prepared_idx = secrets.randbits(62)
        connection.adapters.register_loader("timestamptz", InstantLoader)
        connection.adapters.register_dumper(dict, MappingDumper)
        connection.adapters.register_dumper(int, Int8Dumper)
        columns.register(connection)
        return connection

    async def watched(self, work: Awaitable[T]) -> T:
        """`work` on the connection, which is closed when it broke or was cancelled in the middle."""
        task = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(task)
        except UnicodeEncodeError as error:
            raise psycopg.DataError(f"text that UTF-8 cannot hold: {error.reason}") from error
        except psycopg.Error as error:
            if self._connection is None or not _is_whole(self._connection):
                await self.close()
                what = "the connection broke, and what it was doing may or may not be done"
                raise StoreUnavailable(f"postgresql: {self.place}: {what}: {reason(error)}") from error
            raise
        finally:
            if not task.done():
                await self._abandon(task)

    async def _abandon(self, task: asyncio.Future[T]) -> None:
        # psycopg asks the server to cancel, and at a second cancellation gives up and closes.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            for _ in range(2):
                task.cancel()
                await asyncio.wait([task], timeout=UNWIND)
                if task.done():
                    break
        finally:
            await self.close()


async def _pipelined(
    connection: Connection, limits: tuple[str, list[str]], statement: str, params: Params, prepare: bool
) -> list[Row]:
    text, values = _numbered(statement, params)
    cursor, others = connection.cursor(), connection.cursor()
    steps = ((others, "begin", None), (others, *limits), (cursor, text, values), (others, "commit", None))
    failure: Exception | None = None
    try:
        async with connection.pipeline():
            try:
                await connection.wait(_sent(steps, prepare))
            except Exception as error:
                failure = error  # the block is left in peace: it would raise the same again as "pipeline aborted"
    except psycopg.Error as error:
        failure = failure or _first(error)
    if failure is None:
        return await cursor.fetchall() if cursor.description else []
    # A value that could not be sent leaves the transaction open, too.
    if connection.info.transaction_status in (Status.INERROR, Status.INTRANS):
        await connection.execute("rollback", prepare=False)
    elif connection.info.transaction_status != Status.IDLE:
        await connection.close()
    raise failure


def _sent(steps: Sequence[tuple[Any, str, Any]], prepare: bool) -> PQGen[None]:
    """What `cursor.execute` does for each, without waiting for the socket after each."""
    for cursor, statement, params in steps:
        yield from cursor._start_query(statement)
        query = cursor._convert_query(statement, params)
        yield from cursor._maybe_prepare_gen(query, prepare=prepare, binary=True)


def _first(error: psycopg.Error) -> psycopg.Error:
    """The error of the statement, and not that of what followed it in the pipeline."""
    while isinstance(error, psycopg.errors.PipelineAborted) and isinstance(error.__context__, psycopg.Error):
        error = error.__context__
    return error


def _numbered(statement: str, params: Params) -> tuple[str, Sequence[Any] | None]:
    """The statement with $1 for the first of its values, and those in that order."""
    if params is None:
        return statement, None
    text, names = _placed(statement)
    if not isinstance(params, Mapping):
        return text, params
    if missing := [name for name in names if name not in params]:
        raise psycopg.ProgrammingError(f"no value for {', '.join(missing)}")
    return text, [params[name] for name in names]


@lru_cache(1000)
def _placed(statement: str) -> tuple[str, tuple[str, ...]]:
    # psycopg would look for the places anew at each call, which takes longer than all else that it does.
    numbers: dict[str, int] = {}

    def number(place: re.Match[str]) -> str:
        if place[0] == "%%":
            return "%"
        return f"${numbers.setdefault(place[1] or str(len(numbers)), len(numbers) + 1)}"

    return re.sub(r"%(?:\((\w+)\))?s|%%", number, statement), tuple(numbers)


async def _begin(connection: Connection, limit: str) -> None:
    async with connection.pipeline():
        await connection.execute("begin", prepare=False)
        await connection.execute(LIMITS, [limit], prepare=False, binary=True)


async def _execute(connection: Connection, statement: str, params: Params) -> list[Row]:
    # Nothing in a transaction is prepared: where a pooler has lost a statement, it cannot be tried again from here.
    cursor = await connection.execute(*_numbered(statement, params), prepare=False, binary=True)
    return await cursor.fetchall() if cursor.description else []


async def _commit(connection: Connection) -> None:
    cursor = await connection.execute("commit", prepare=False)
    if cursor.statusmessage != "COMMIT":
        raise psycopg.errors.InFailedSqlTransaction("rolled back: a statement had failed and its error was passed over")


def _is_whole(connection: Connection) -> bool:
    status = connection.info.transaction_status
    return not connection.closed and status != Status.UNKNOWN


def _is_alive(connection: Connection) -> bool:
    """False when the server has gone while nobody was looking: found out before a statement is sent."""
    try:
        waiting = select.poll()
        waiting.register(connection.fileno(), select.POLLIN)
        while waiting.poll(0) and _is_whole(connection):
            connection.pgconn.consume_input()
    except (psycopg.Error, OSError, ValueError):
        return False
    return _is_whole(connection)

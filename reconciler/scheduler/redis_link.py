"""How is Redis reached, is it the one we knew, and may we rely on it? Nothing here knows what is kept in it.

A single server, or whatever stands for one (a cloud's primary, a proxy to one). Redis Cluster is refused.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as NoAnswer

from reconciler.errors import ReconcilerError, StoreUnavailable
from reconciler.urls import redacted

EXAMPLE = "redis://user:password@host:6379/0"
PATIENCE = 3.0  # seconds, for a connection and for an answer

CLUSTER = "Redis Cluster is not supported: point redis_url at a single server or a primary"
REASONS = (
    (r"\bWRONGPASS\b|invalid (username-)?password", "the password was refused: check redis_url"),
    (r"\bNOAUTH\b|Authentication required", "it asks for a password and none is given: check redis_url"),
    (r"AUTH.* without any password", "it has no password and one is given: check redis_url"),
    (r"Connect call failed|Connection refused", "cannot connect: nothing listens there: check redis_url"),
    (r"Connection (closed|lost|reset)|reset by peer|Broken pipe", "it closed the connection: see its log"),
    (r"^Protocol Error", "what answers there is no Redis: check redis_url"),
    (r"DB index is out of range", "it has no database of that number: check redis_url"),
    (r"command not allowed when used memory", "it is full: raise its maxmemory, or find out what fills it"),
    (r"\bREADONLY\b|against a read only", "it is a replica and may not be written: point redis_url at the primary"),
    (r"\bMISCONF\b|configured to report errors", "it cannot save to its disk and takes no writes: see its log"),
    (r"\bLOADING\b|is loading the dataset", "it is still loading its data: wait for it"),
    (r"\b(MOVED|ASK|CLUSTERDOWN|CROSSSLOT)\b", CLUSTER),
)


class RedisServiceManager:
    """The connections to one Redis; `client` is open to whoever needs a plain command (text in, text out)."""

    def __init__(self, url: str, prefix: str = "", *, patience: float = PATIENCE) -> None:
        """ReconcilerError when `url` is none. Nothing is connected yet."""
        self.place = redacted(url)
        self.prefix = prefix
        # By source: what becomes of what was changed by hand, where that is not simply put right.
        self.modes: Mapping[str, str] = {}
        self.restarts = 0
        self._about: dict[str, str] = {}
        self._patience = patience
        self._pool = _pool(url, self.place, patience, self._greet)
        self.client: Redis = Redis(connection_pool=self._pool)

    async def connect(self) -> None:
        """Make sure that a server answers and will do; StoreUnavailable or ReconcilerError if not."""
        with self.answering():
            await self.client.ping()
        if self._about.get("redis_mode") == "cluster":
            raise ReconcilerError(f"redis: {self.place}: {CLUSTER}")

    async def server_run_id(self) -> str | None:
        """What the server calls itself, new at each of its starts; None where it does not tell."""
        await self.connect()
        return self._about.get("run_id")

    async def version(self) -> str | None:
        """The server's version; None where it does not tell."""
        await self.connect()
        return self._about.get("redis_version")

    async def policy(self) -> str | None:
        """The `maxmemory-policy`; None where the server does not tell (managed ones often forbid to ask)."""
        with self.answering():
            try:
                found = await self.client.config_get("maxmemory-policy")
                return found.get("maxmemory-policy") or await self._policy_by_info()
            except ResponseError:
                return await self._policy_by_info()

    async def policy_warning(self) -> str | None:
        """One line, unless nothing is ever evicted (or the server does not tell)."""
        policy = await self.policy()
        if policy in (None, "noeviction"):
            return None
        what = f"maxmemory-policy is '{policy}', which may drop what wakes the tasks: set it to 'noeviction'"
        return f"redis: {self.place}: {what}"

    async def close(self) -> None:
        await self.client.aclose()
        await self._pool.disconnect()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Whatever goes wrong with Redis inside is a StoreUnavailable of one line; a cancellation is always heard."""
        try:
            with heeding_cancellation():
                yield
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(f"redis: {self.place}: {_reason(error, self._patience)}") from error

    async def _policy_by_info(self) -> str | None:
        try:
            return (await self.client.info("memory")).get("maxmemory_policy")
        except ResponseError:
            return None

    async def _greet(self, connection: Any) -> None:
        """Run on each new connection: which server is this? Another than before is counted in `restarts`."""
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        try:
            answer = await connection.read_response()
        except ResponseError:
            return
        before = self._about.get("run_id")
        text = answer.decode() if isinstance(answer, bytes) else str(answer)
        self._about = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        if before is not None and self._about.get("run_id") != before:
            self.restarts += 1


@contextmanager
def heeding_cancellation() -> Iterator[None]:
    """CancelledError for a task that was cancelled inside, whatever became of what it waited for: `asyncio.wait_for` of
    Python 3.11, through which redis-py sends, can swallow it (bpo-42130).
    """
    before = _cancellations()
    try:
        yield
    except Exception as error:
        if _cancellations() > before:
            raise asyncio.CancelledError from error
        raise
    if _cancellations() > before:
        raise asyncio.CancelledError


def _cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0


class OnceMore(Retry):
    """A second try for a connection that the server closed while it was idle (every script may run twice), and none
    for silence, which redis-py takes for a lost connection where it is on a socket and during the greeting.
    """

    async def call_with_retry(self, do: Any, fail: Any, *args: Any, **options: Any) -> Any:
        async def told_apart() -> Any:
            try:
                return await do()
            except LostConnection as error:
                if str(error).startswith("Timeout"):
                    raise NoAnswer(str(error)) from error
                raise

        return await super().call_with_retry(told_apart, fail, *args, **options)


def _pool(url: str, place: str, patience: float, greet: Any) -> ConnectionPool:
    try:
        return ConnectionPool.from_url(
            url,
            decode_responses=True,
            encoding_errors="replace",
            protocol=2,
            socket_connect_timeout=patience,
            socket_timeout=patience,
            retry=OnceMore(NoBackoff(), 1, supported_errors=(LostConnection,)),
            retry_on_error=[LostConnection],  # redis-py 5 asks both
            redis_connect_func=greet,
        )
    except (ValueError, UnicodeError) as error:
        # The library quotes what it could not read, and that may be the password.
        raise ReconcilerError(f"redis_url: '{place}' is not the url of a Redis: write {EXAMPLE!r}") from error


def _reason(error: BaseException, patience: float) -> str:
    """Why, and what to do: in plain words where the answer is a well-known one, else in the server's."""
    text = " ".join(str(error).split()).rstrip(".")
    if isinstance(error, NoAnswer | TimeoutError) or text.startswith("Timeout"):
        return f"no answer within {patience:g} s: check redis_url"
    for pattern, words in REASONS:
        if re.search(pattern, text):
            return words
    if isinstance(error, LostConnection | OSError):
        text = re.sub(r"^Error (-?\d+ )?(while )?connecting to \S+\.? ", "", text)
        return f"cannot connect: {text or type(error).__name__}: check redis_url"
    # A script's error comes wrapped in the script's hash and line number.
    return re.sub(r"^(ERR )?Error running script \(call to \w+\): (@user_script: ?\d+: )*-?", "", text)

"""How a command reaches the two stores: open for as long as it needs them, with the schema that this version knows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from reconciler.cli.command import given

if TYPE_CHECKING:
    from reconciler.db.link import Link
    from reconciler.embedded import Stores
    from reconciler.scheduler import RedisServiceManager

T = TypeVar("T")
REDIS_PATIENCE = 0.5


def with_link(act: Callable[[Link], Awaitable[T]]) -> T:
    """What `act` returns, given a link to a database whose schema is current."""
    return with_stores(lambda link, stores: act(link))


def with_stores(act: Callable[[Link, Stores], Awaitable[T]]) -> T:
    """The same, with where both stores are; embedded ones are started, or shared with whoever has them running."""
    from reconciler.embedded import open_stores

    found: list[T] = []
    with open_stores(given().settings) as stores:
        asyncio.run(_linked(stores, act, found))
    return found[0]


async def _linked(stores: Stores, act: Callable[[Link, Stores], Awaitable[T]], found: list[T]) -> None:
    """What `act` returns goes into `found`: of a result, asyncio.run makes a text at its end that nobody reads."""
    from reconciler.db.link import Link

    link = Link(stores.database_url)
    try:
        await make_current(link, stores)
        found.append(await act(link, stores))
    finally:
        await link.close()


async def make_current(link: Link, stores: Stores) -> None:
    """Migrate an embedded database; ReconcilerError naming the command when one's own server is outdated."""
    from reconciler.db import schema

    if stores.is_embedded and await schema.current_revision(link) != schema.head_revision():
        await asyncio.to_thread(schema.upgrade, stores.database_url, "head")
    await schema.require_current(link)


def redis_of(stores: Stores) -> RedisServiceManager:
    """Redis under the prefix of the settings; nothing is connected yet."""
    from reconciler.scheduler import RedisServiceManager

    redis = RedisServiceManager(stores.redis_url, given().settings.redis_prefix)
    redis.modes = given().settings.drift_modes
    return redis


def redis_answers(address: str) -> bool:
    """Whether anything listens there; False after half a second. What it is, and what it says, is not asked."""
    import socket
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(address)
    try:
        if parts.scheme == "unix":
            with socket.socket(socket.AF_UNIX) as bare:
                bare.settimeout(REDIS_PATIENCE)
                bare.connect(unquote(parts.path))
        else:
            socket.create_connection((parts.hostname or "localhost", parts.port or 6379), REDIS_PATIENCE).close()
    except (OSError, ValueError):
        return False
    return True

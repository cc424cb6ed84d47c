"""When does somebody call, and what is said? Listening to a channel of Redis, for as long as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from reconciler.scheduler.redis_link import heeding_cancellation

# Seconds between attempts to listen, doubling from the first to the longest.
FIRST_DELAY, LONGEST_DELAY = 0.1, 2.0
# Seconds without a word before the listener asks whether anybody is there, and again until it gives up.
SILENCE = 10.0


async def calls(client: Redis, channel: str) -> AsyncIterator[None]:
    """One item a message, and one each time the connection was made, for what was missed meanwhile.

    Never ends and never raises: while Redis is away it keeps trying.
    """
    async for _ in heard(client, channel):
        yield


async def heard(client: Redis, channel: str) -> AsyncIterator[str | None]:
    """The text of each message, and None each time the connection was made; otherwise like `calls`."""
    delay = FIRST_DELAY
    while True:
        listener = client.pubsub()
        try:
            with heeding_cancellation():
                await listener.subscribe(channel)
            async for text in _words(listener):
                delay = FIRST_DELAY
                yield text
        except (RedisError, OSError, TimeoutError):
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)
        finally:
            with suppress(RedisError, OSError, TimeoutError):
                await listener.aclose()  # type: ignore[no-untyped-call]


async def _words(listener: PubSub) -> AsyncIterator[str | None]:
    """One item for whatever is heard; TimeoutError when nobody answers any more."""
    is_asked = False
    while True:
        with heeding_cancellation():
            message = await listener.get_message(timeout=SILENCE)
            if message is None and is_asked:
                raise TimeoutError
            is_asked = message is None
            if is_asked:
                await listener.ping()
        if message is not None and message["type"] != "pong":
            yield str(message["data"]) if message["type"] == "message" else None

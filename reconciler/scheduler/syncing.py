"""Who wants a source looked at now, and what came of it: two channels in Redis. Nothing is kept of either.

`sync:wake`: a source's name, "" for all of them, and after a space the token of whoever waits for the answer.
`sync:done`: the answer of one service about one source, as JSON. A message that nobody heard is lost: the interval of
the source makes up for it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Final

from reconciler.scheduler import wakes
from reconciler.scheduler.redis_link import RedisServiceManager

LONGEST: Final = 8192


@dataclass(frozen=True, slots=True)
class Wish:
    """Look at `source`, "" for every one. `token`: whoever asked waits for an answer with it, unless it is ""."""

    source: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a pass came to that somebody asked for. `code`: as the exit codes are, 0 good, 1 failed, 3 refused."""

    source: str
    tokens: tuple[str, ...]
    code: int
    said: str
    revision: str | None = None


class Syncing:
    """Both channels; asking raises StoreUnavailable when Redis is away, listening keeps trying."""

    def __init__(self, redis: RedisServiceManager) -> None:
        self._redis = redis
        self._wake = f"{redis.prefix}sync:wake"
        self._done = f"{redis.prefix}sync:done"

    async def ask(self, source: str = "", token: str = "") -> int:
        """Have every service look at that source at once; the number of those that heard it."""
        with self._redis.answering():
            return int(await self._redis.client.publish(self._wake, f"{source} {token}".rstrip(" ")))

    async def wishes(self) -> AsyncIterator[Wish | None]:
        """Each wish, and None each time the connection was made, for what was missed meanwhile."""
        async for text in wakes.heard(self._redis.client, self._wake):
            source, _, token = (text or "").partition(" ")
            yield None if text is None else Wish(source, token)

    async def answer(self, answer: Answer) -> None:
        """Tell those who wait."""
        with self._redis.answering():
            await self._redis.client.publish(self._done, json.dumps(asdict(answer) | {"said": answer.said[:LONGEST]}))

    async def answers(self) -> AsyncIterator[Answer | None]:
        """Each answer, and None each time the connection was made."""
        async for text in wakes.heard(self._redis.client, self._done):
            yield None if text is None else _answer(text)


def _answer(text: str) -> Answer | None:
    try:
        found = json.loads(text)
        return Answer(**found | {"tokens": tuple(found["tokens"])})
    except (ValueError, TypeError, KeyError):  # somebody else's, or of another version
        return None

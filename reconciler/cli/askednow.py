"""Asking the services that run to look at a source, and hearing what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from reconciler.cli.command import given
from reconciler.durations import span
from reconciler.errors import StoreUnavailable
from reconciler.lines import first_line

if TYPE_CHECKING:
    from reconciler.embedded import Stores
    from reconciler.scheduler.syncing import Answer, Syncing

# Answers are lost with a connection: whoever has heard nothing asks again.
AGAIN = 10.0
NOBODY = (
    "reconciler: sync-now: no service listens: start one with reconciler serve, or make a pass here: reconciler sync"
)
Said = tuple[int, list[str]]


def asked(sources: Sequence[str], waits: bool, timeout: timedelta, *, for_all: bool) -> Said:
    """The exit code, and the lines to show. StoreUnavailable: Redis cannot be reached."""
    from reconciler.embedded import open_stores

    with open_stores(given().settings) as stores:
        return asyncio.run(_asked(stores, sources, timeout if waits else None, for_all))


async def _asked(stores: Stores, sources: Sequence[str], timeout: timedelta | None, for_all: bool) -> Said:
    from reconciler.scheduler import RedisServiceManager
    from reconciler.scheduler.syncing import Syncing

    redis = RedisServiceManager(stores.redis_url, given().settings.redis_prefix)
    try:
        syncing = Syncing(redis)
        if timeout is None:
            heard = await syncing.ask("" if for_all else sources[0])
            services = "1 service" if heard == 1 else f"{heard} services"
            return (0, [f"asked {services} to look at {', '.join(sources)}"]) if heard else (1, [NOBODY])
        return await _Waiting(syncing, sources, for_all).answered(timeout)
    finally:
        await redis.close()


class _Waiting:
    """For the first answer about each source, of a pass that began after it was asked for."""

    def __init__(self, syncing: Syncing, sources: Sequence[str], for_all: bool) -> None:
        self._syncing, self._sources = syncing, sources
        self._source = "" if for_all else sources[0]
        self._token = uuid4().hex
        self._is_listening, self._is_over = asyncio.Event(), asyncio.Event()
        self._answers: dict[str, Answer] = {}

    async def answered(self, timeout: timedelta) -> Said:
        listening = asyncio.create_task(self._listen())
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                await self._is_listening.wait()
                if not await self._ask():
                    return 1, [NOBODY]
                await self._until_over()
        except TimeoutError:
            missing = [source for source in self._sources if source not in self._answers]
            how = "it may be a long fetch: see the service's log, or reconciler status"
            return 1, [f"reconciler: sync-now: no answer about {', '.join(missing)} after {span(timeout)}: {how}"]
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
        return self._upshot()

    async def _ask(self) -> int:
        return await self._syncing.ask(self._source, self._token)

    async def _until_over(self) -> None:
        while not self._is_over.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN):
                    await self._is_over.wait()
                return
            with suppress(StoreUnavailable):
                await self._ask()

    async def _listen(self) -> None:
        async for answer in self._syncing.answers():
            self._is_listening.set()
            if answer and self._token in answer.tokens and answer.source in self._sources:
                self._answers.setdefault(answer.source, answer)
                if len(self._answers) == len(self._sources):
                    self._is_over.set()

    def _upshot(self) -> Said:
        code = max((answer.code for answer in self._answers.values()), default=1)
        lines = []
        for source in self._sources:
            answer = self._answers[source]
            prefix = f"{source}: " if len(self._sources) > 1 else ""
            lines += [f"{prefix}{first_line(text, 1000)}" for text in answer.said.splitlines()]
        return code, lines

"""What a service does beside syncing and running: watch for what is missed, tell, ping, prune, answer over HTTP.

None of it may cost a run anything: what fails here is one line, and is begun again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from reconciler.api.door import Door, open_door
from reconciler.api.vitals import Vitals
from reconciler.db.link import Link
from reconciler.embedded import Stores
from reconciler.notify.delivering import Notifier
from reconciler.notify.pinging import Pings, keep_pinging
from reconciler.notify.watching import Watcher
from reconciler.pruning import keep_pruning
from reconciler.runner import Runner
from reconciler.scheduler import RedisServiceManager, SchedulerService
from reconciler.settings import Settings

log = logging.getLogger("reconciler.serve")

FIRST_REST = 1.0
LONGEST_REST = 60.0
# For the last news to go out when the service stops.
LAST_PINGS = 0.5
# What is not needed for the first runs waits until the specs are in force, or so long.
FIRST_PASS = 5.0


class Beside:
    """Everything but the sync loop and the runner; `door` None: no HTTP."""

    def __init__(
        self, settings: Settings, stores: Stores, redis: RedisServiceManager, door: Door | None, *, syncs: bool
    ) -> None:
        self.pings = Pings()
        self.door = door
        self._pinging: asyncio.Task[None] | None = None
        self._settings, self._stores, self._redis = settings, stores, redis
        self._watch_link, self._tell_link, self._ask_link = (Link(stores.database_url) for _ in range(3))
        self.vitals = Vitals(settings, self._ask_link, redis, None, syncs=syncs)

    def heard(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Final rows that the runner has just written."""
        self.pings.finished(records)

    async def run(self, runner: Runner | None, ready: asyncio.Event, stop: asyncio.Event) -> None:
        """Until `stop`, and then for as long as the last pings take. `ready`: the specs are in force."""
        self.vitals.runner = runner
        tasks = [asyncio.create_task(self._after(ready, name, part)) for name, part in self._parts().items()]
        self._pinging = asyncio.create_task(_kept("the pings of tasks", self.pings.run))
        try:
            await stop.wait()
        finally:
            await _ended(tasks)

    async def close(self) -> None:
        """After the runner has written its last rows: the last pings, then let go of everything."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_PINGS):
                await self.pings.drained()
        if self._pinging:
            await _ended([self._pinging])
        if self.door:
            self.door.close()
        for link in (self._watch_link, self._tell_link, self._ask_link):
            await link.close()

    def _parts(self) -> dict[str, Callable[[], Awaitable[None]]]:
        settings, door = self._settings, self.door
        parts: dict[str, Callable[[], Awaitable[None]]] = {
            "the watcher of missed runs": Watcher(self._watch_link).run,
            "the notifier": Notifier(self._tell_link, settings.notify.targets).run,
            "the pruning of history": lambda: keep_pruning(self._stores.database_url, settings.history),
        }
        if door is not None:
            parts["the api"] = lambda: door.serve(self.vitals, SchedulerService(self._redis).syncing)
        if (ping := settings.notify.ping) is not None:
            every = settings.notify.ping_every.total_seconds()
            parts["the ping of the service"] = lambda: keep_pinging(ping, every, self.vitals.is_well)
        return parts

    async def _after(self, ready: asyncio.Event, name: str, part: Callable[[], Awaitable[None]]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_PASS):
                await ready.wait()
        await _kept(name, part)


def door_of(settings: Settings) -> Door | None:
    """Take the address of the API. None where it is off, or the default one is taken, with a warning; an address
    that was asked for and is taken is a ReconcilerError.
    """
    if not settings.api.enabled:
        return None
    return open_door(settings.api, is_asked_for=settings.origins.get("api.port", "default") != "default")


async def _kept(name: str, part: Callable[[], Awaitable[None]]) -> None:
    """Run a part again and again until cancelled, after ever longer rests."""
    rest = FIRST_REST
    while True:
        try:
            await part()
            log.error("%s ended; begun again in %.0f s", name, rest)
        except Exception as error:
            log.error("%s failed; begun again in %.0f s: %s: %s", name, rest, type(error).__name__, error)
            log.debug("%s failed", name, exc_info=error)
        await asyncio.sleep(rest)
        rest = min(2 * rest, LONGEST_REST)


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

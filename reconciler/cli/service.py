"""The sync loop and the runner in one process: started together, and stopped within five seconds in all."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler import __version__
from reconciler.children.children import Stopping
from reconciler.cli.arguments import actor
from reconciler.cli.beside import Beside
from reconciler.cli.output import note
from reconciler.cli.stores import make_current
from reconciler.db import configs
from reconciler.db.link import Link
from reconciler.embedded import Stores
from reconciler.errors import ReconcilerError
from reconciler.runner import Runner
from reconciler.scheduler import RedisServiceManager, SchedulerService
from reconciler.settings import Settings, SourceSettings

if TYPE_CHECKING:
    from reconciler.api.door import Door
    from reconciler.sync.reconcile import Pass

log = logging.getLogger("reconciler.serve")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# After the grace that the settings give to what runs: for its rows to be written. With the default grace, five seconds
# are enough for all of it.
LAST_CALL = 1.5
FIRST_PASS = 10.0


@dataclass(frozen=True, slots=True)
class Parts:
    """Which parts of the service run in this process; `watch` is about files, for the sync loop."""

    sync: bool
    runner: bool
    watch: bool
    beside: bool = True  # watch for missed runs, tell, prune, answer over HTTP
    allow_rewind: bool = False


async def serve_until_stopped(settings: Settings, stores: Stores, parts: Parts, door: Door | None = None) -> None:
    """Run the parts until a signal; `door` is where it answers. StoreUnavailable: a store is not there at the start."""
    link = Link(stores.database_url)
    redis = RedisServiceManager(stores.redis_url, settings.redis_prefix)
    redis.modes = settings.drift_modes
    beside = Beside(settings, stores, redis, door, syncs=parts.sync) if parts.beside else None
    try:
        await make_current(link, stores)
        await redis.connect()
        if warning := await redis.policy_warning():
            log.warning("%s", warning)
        await _Service(settings, stores, parts, link, redis, beside).run()
    finally:
        if beside:
            await beside.close()
        await link.close()
        await redis.close()


class _Service:
    """What is held while the service runs."""

    def __init__(
        self,
        settings: Settings,
        stores: Stores,
        parts: Parts,
        link: Link,
        redis: RedisServiceManager,
        beside: Beside | None,
    ) -> None:
        self.settings, self.stores, self.parts = settings, stores, parts
        self.link, self.redis = link, redis
        self.stop = asyncio.Event()
        self.passed = asyncio.Event()
        self.beside = beside
        self.runner = self._runner() if parts.runner else None
        self.signals = 0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            # `nohup` asks to ignore a hang-up. That a shell has `serve &` ignore Ctrl-C is no wish: kill -INT is meant.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._signalled)
        work = {asyncio.create_task(part, name=name) for name, part in self._parts().items()}
        banner = asyncio.create_task(self._tell_where())
        stopped = asyncio.create_task(self.stop.wait())
        try:
            done, _ = await asyncio.wait({*work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
                if not self.stop.is_set():
                    raise ReconcilerError(f"serve: {task.get_name()} ended by itself, so the service ends: see the log")
        finally:
            self.stop.set()
            for task in (banner, stopped):
                task.cancel()
            await self._end(work)

    def _parts(self) -> dict[str, Coroutine[Any, Any, None]]:
        parts: dict[str, Coroutine[Any, Any, None]] = {}
        if self.parts.sync:
            parts["the sync loop"] = self._synced()
        if self.runner:
            parts["the runner"] = self._run(self.runner)
        if self.beside:
            if not self.parts.sync:
                self.passed.set()
            parts["what watches and tells"] = self.beside.run(self.runner, self.passed, self.stop)
        return parts

    async def _run(self, runner: Runner) -> None:
        with suppress(Stopping):
            await runner.run(self.stop)

    async def _synced(self) -> None:
        """The sync loop, until the stop; a pass that is under way then is rolled back."""
        from reconciler.sync.loop import Loop, sync_loop

        loop = Loop(
            settings=self.settings,
            link=self.link,
            scheduler=SchedulerService(self.redis),
            watch=self.parts.watch,
            actor=actor(),
            allow_rewind=self.parts.allow_rewind,
            on_code_change=self._reload if self.runner else None,
            on_pass=self._seen,
            on_turn=self.beside.vitals.passed if self.beside else None,
        )
        syncing = asyncio.create_task(sync_loop(loop))
        stopped = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait({syncing, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            syncing.cancel()
            with suppress(asyncio.CancelledError):
                await syncing

    def _runner(self) -> Runner:
        return Runner(
            self.stores.database_url,
            self.redis,
            self.settings.runner,
            directory=self.settings.directory,
            modules=self.settings.task_modules,
            environ=task_environment(self.stores),
            limits={name: one.concurrency for name, one in self.settings.queues.items() if one.concurrency},
            on_finished=self.beside.heard if self.beside else None,
        )

    async def _reload(self) -> None:
        if self.runner:
            await self.runner.reload()
            but = ", except for what is broken" if self.runner.children.faults else ""
            log.info("task modules were saved: what starts from now on uses the new code%s", but)

    def _seen(self, source: SourceSettings, outcome: Pass) -> None:
        self.passed.set()

    async def _tell_where(self) -> None:
        """The banner, once the specs are in force: where they are, which stores, how many tasks."""
        if self.parts.sync:
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_PASS):
                    await self.passed.wait()
        try:
            count = len(await configs.keys(self.link))
        except ReconcilerError:
            return  # the log says so already
        if self.settings.log.format == "json":
            where = f", health and figures at {self.beside.door.url}" if self.beside and self.beside.door else ""
            log.info("serving %d tasks%s", count, where)
            return
        note(_banner(self.settings, self.stores, self.parts, count, self.beside.door if self.beside else None))

    def _signalled(self) -> None:
        self.signals += 1
        if self.signals == 1:
            busy = len(self.runner.running.runs) if self.runner else 0
            grace = self.settings.runner.shutdown_grace.total_seconds()
            runs = "1 run has" if busy == 1 else f"{busy} runs have"
            wait = f": {runs} {grace:g} s to finish; once more ends them now" if busy else ""
            log.info("stopping%s", wait)
            self.stop.set()
        elif self.runner:
            self._hurry = asyncio.ensure_future(self.runner.children.stop(0, "stopped in a hurry"))

    async def _end(self, work: set[asyncio.Task[None]]) -> None:
        """Wait for the parts, but not for ever."""
        grace = self.settings.runner.shutdown_grace.total_seconds() if self.runner else 0.0
        _, late = await asyncio.wait(work, timeout=grace + LAST_CALL)
        for task in late:
            task.cancel()
        results = await asyncio.gather(*work, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        log.info("stopped")


def task_environment(stores: Stores) -> dict[str, str]:
    """What tasks find in their environment: ours, where the stores are, and an embedded PostgreSQL's tools."""
    environment = {
        **os.environ,
        "RECONCILER_DATABASE_URL": stores.database_url,
        "RECONCILER_REDIS_URL": stores.redis_url,
    }
    if stores.bin_path:
        # First: an older pg_dump refuses a newer server.
        environment["PATH"] = os.pathsep.join([str(stores.bin_path), os.environ.get("PATH", os.defpath)])
    return environment


def _banner(settings: Settings, stores: Stores, parts: Parts, count: int, door: Door | None) -> str:
    specs = ", ".join(source.place for source in settings.sources)
    saves = ["at each save"] if parts.watch and any(source.repo is None for source in settings.sources) else []
    fetches = ["every " + _intervals(settings)] if not saves or any(source.repo for source in settings.sources) else []
    lines = [f"reconciler {__version__}"]
    if parts.sync:
        lines.append(f"  specs     {specs}, read {', '.join([*saves, *fetches])}")
    lines.append(f"  tasks     {count} in force" + ("" if parts.runner else ", no runner in this process"))
    lines.append(f"  stores    {_place(stores, settings)}")
    if door:
        lines.append(f"  health    {door.url}/readyz, figures: {door.url}/metrics")
    lines.append("  history   in another terminal: reconciler history")
    return "\n".join(lines)


def _intervals(settings: Settings) -> str:
    from reconciler.durations import format_duration

    return ", ".join(dict.fromkeys(format_duration(source.interval) for source in settings.sources))


def _place(stores: Stores, settings: Settings) -> str:
    from reconciler.urls import redacted

    database = "embedded PostgreSQL" if stores.is_embedded else redacted(stores.database_url)
    redis = redacted(stores.redis_url) if settings.redis_url else "embedded Redis"
    return f"{database}, {redis}"

"""Who runs what is due: one runner, from its start to its graceful end.

It holds the loops together: control (look, decide, pick up), being woken, and those of its parts. What is decided and
how is in `deciding`; what becomes of an outcome in `running`; how it gets to PostgreSQL in `results`; being one of
several in `presence`; whoever looks at what runs in `attending`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import psycopg

from reconciler.children.children import Children
from reconciler.db.link import Link
from reconciler.errors import StoreUnavailable
from reconciler.execute import failed
from reconciler.runner.attending import Attendant
from reconciler.runner.beating import Watchdog
from reconciler.runner.clock import Clock
from reconciler.runner.contexts import Contexts
from reconciler.runner.cutoff import Outages
from reconciler.runner.deciding import Decider
from reconciler.runner.figures import Figures
from reconciler.runner.following import Follower
from reconciler.runner.patience import within
from reconciler.runner.presence import Presence
from reconciler.runner.results import Hearer
from reconciler.runner.running import Running
from reconciler.runner.upkeep import upkeep
from reconciler.scheduler import RedisServiceManager, SchedulerService
from reconciler.settings import RunnerSettings

log = logging.getLogger("reconciler.runner")

IDLE = 1.0
# Seconds: where nothing is known to wait, a result is no reason to ask for waiting work again at once.
BETWEEN_PICK_UPS = 0.02
RETRY = 0.5
FLUSH = 2.0
STOPPED = "the runner was stopped before it finished"
# Seconds in which a cancelled statement lets go of its connection: so much longer than its patience a step may take.
UNWINDING = 3.0
NO_LIMITS: Mapping[str, int] = MappingProxyType({})


class Runner:
    """One runner on one pair of stores; `run` serves until it is told to stop."""

    def __init__(
        self,
        database_url: str,
        redis: RedisServiceManager,
        settings: RunnerSettings,
        *,
        directory: Path,
        modules: Sequence[str],
        environ: Mapping[str, str] = os.environ,
        limits: Mapping[str, int] = NO_LIMITS,
        on_finished: Hearer | None = None,
    ) -> None:
        """`limits`: how many runs of a queue may be under way on all runners together. `on_finished` is called with
        the rows of each batch that was written, as column values; it must not wait.
        """
        self.id = uuid4()
        self.settings = settings
        self.clock = Clock()
        self._lease = settings.lease.total_seconds()
        self._stir = asyncio.Event()
        self._ticked = 0.0
        self._outages = Outages(self.clock, time.monotonic)
        slots = {True: settings.concurrency, False: settings.worker_processes}
        name = f"{socket.gethostname()}:{os.getpid()}"
        self.running = Running(self.clock, name, slots, self._stir, self._wants_context)
        self.figures = Figures(self._outages, lambda: self._ticked)
        self._scheduler = SchedulerService(redis)
        self._links = [Link(database_url) for _ in range(5)]
        self._control_link, self._write_link, self._beat_link, self._side_link, follow_link = self._links
        self._follower = Follower(follow_link, self._scheduler, self.clock)
        hearers = (self._follower.finished, self.figures.finished, on_finished)
        self.running.results.hearers += [hearer for hearer in hearers if hearer]
        self._attendant = self._made_attendant()
        self.children = self._made_children(directory, modules, environ)
        self._contexts = Contexts(self._side_link, self.running, self.children.submit)
        self._presence = Presence(
            self.id, self._beat_link, settings, self.running, self.children, outages=self._outages, cancel=self._cancel
        )
        self._watchdog = Watchdog(lambda: self._ticked, max(self._lease, self._lease / 2 + 2 * UNWINDING))
        self._decider = Decider(
            self.id,
            self._control_link,
            self._scheduler,
            self.clock,
            self.running,
            self.children,
            settings.queues,
            limits,
            self.figures,
        )

    def _made_attendant(self) -> Attendant:
        return Attendant(
            self.id,
            self._side_link,
            self._scheduler,
            self.running,
            cancel=lambda call_id, why: self.children.cancel(call_id, why),
            follow=lambda call_id, on: self.children.follow(call_id, on),
        )

    def _made_children(self, directory: Path, modules: Sequence[str], environ: Mapping[str, str]) -> Children:
        return Children(
            directory=directory,
            modules=modules,
            worker_processes=self.settings.worker_processes,
            environ=environ,
            on_done=self.running.settle,
            cancel_grace=self.settings.cancel_grace.total_seconds(),
            on_progress=self._attendant.on_progress,
            on_output=self._attendant.on_output,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set; then take nothing more, give what runs its grace, and record what became of it.

        StoreUnavailable if a store cannot be reached at the start; later outages are waited out.
        """
        await self._begin()
        taking = [asyncio.create_task(part) for part in self._taking()]
        keeping = [asyncio.create_task(part) for part in self._keeping()]
        stopped = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait([*taking, *keeping, stopped], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._watchdog.stop()
            await _cancelled([*taking, stopped])
            await self._decider.let_go()
            self.running.settle([(call_id, failed(STOPPED, is_started=False)) for call_id in self.running.wanting])
            await self.children.stop(self.settings.shutdown_grace.total_seconds(), STOPPED)
            await _cancelled(keeping)
            await self._let_go()
            await self._close_links()

    async def reload(self) -> None:
        """Use new task code for what starts from now on; what runs finishes with the old."""
        await self.children.reload()
        self._tell_faults()
        self._presence.is_registered = False  # the next beat does it, when PostgreSQL answers
        self._stir.set()

    async def _begin(self) -> None:
        await self.children.start()
        self._tell_faults()
        try:
            await self._presence.enter()
            await self._decider.align()
        except BaseException:
            await self.children.stop(0, STOPPED)
            await self._close_links()
            raise
        self._ticked = time.monotonic()
        gc.freeze()  # what has been read stays: a full collection among so many specs takes longer than a start may
        self._watchdog.start()

    def _taking(self) -> list[Coroutine[Any, Any, None]]:
        """What begins runs, and ends first."""
        return [
            self._control(),
            self._listen(),
            self._contexts.run(),
            self._follower.run(),
            upkeep(self._side_link, self._scheduler, self.running, self._outages),
        ]

    def _keeping(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on for as long as anything runs."""
        return [
            self.running.write_out(self._write_link, self._lease / 2),
            self._presence.keep(self._decider, lambda: self._ticked),
            self._attendant.attend(),
            self._attendant.publish(),
        ]

    async def _control(self) -> None:
        """Look after look; a store that is away makes it wait, and nothing fires meanwhile."""
        away, back, pick_up_at, picked_up_at = "", "", 0.0, 0.0
        while True:
            try:
                async with self._step():
                    await self._decider.settle_uncertain()
                if time.monotonic() >= pick_up_at:
                    async with self._step():
                        has_more = await self._decider.pick_up()
                    picked_up_at = time.monotonic()
                    pick_up_at = 0.0 if has_more else picked_up_at + IDLE
                async with self._step():
                    look_at = await self._decider.look()
                if not pick_up_at:
                    look_at = self.clock.now()
                self._outages.worked("control")
                if away:
                    log.info("%s again; what was missed follows each task's own rule", back)
                    away = ""
            except (StoreUnavailable, psycopg.Error) as error:
                self._outages.failed("control", str(error))
                if str(error) != away:
                    away, back = str(error), "the stores answer"
                    log.warning("%s; nothing fires until it answers", away)
                await self._decider.let_go(self._lease / 4)  # PostgreSQL may answer other runners
                look_at, pick_up_at = self.clock.now() + timedelta(seconds=RETRY), time.monotonic() + RETRY
            except Exception as error:  # a fault of ours, perhaps with one config: the others go on
                self._outages.failed("control", f"a look failed: {error!r}")
                if repr(error) != away:
                    away, back = repr(error), "looking works"
                    log.error("a look failed, and is tried again", exc_info=error)
                look_at, pick_up_at = self.clock.now() + timedelta(seconds=RETRY), time.monotonic() + RETRY
            if await self._sleep_until(min(look_at, self.clock.at(pick_up_at))):
                pause = 0.0 if self._decider.is_short_of_slots else BETWEEN_PICK_UPS
                pick_up_at = min(pick_up_at, picked_up_at + pause)

    @asynccontextmanager
    async def _step(self) -> AsyncIterator[None]:
        """A step of the control loop: a tick for the watchdog, and an end to its patience.

        StoreUnavailable for a runner that has not beaten for a whole lease, as after SIGSTOP: what it took on now,
        another would rightly take over in the same moment.
        """
        self._ticked = time.monotonic()
        if self._presence.is_out_of_touch:
            raise StoreUnavailable("postgresql: this runner has not beaten for a whole lease")
        async with within(self._lease / 4):
            yield

    async def _sleep_until(self, moment: datetime) -> bool:
        """Rest until `moment`, never so long that the watchdog barks; True when something stirred before."""
        self._ticked = time.monotonic()
        seconds = min((moment - self.clock.now()).total_seconds(), IDLE, self._lease / 8)
        if seconds <= 0:
            await asyncio.sleep(0)
            return False
        try:
            async with asyncio.timeout(seconds):
                await self._stir.wait()
        except TimeoutError:
            return False
        self._stir.clear()
        return True

    async def _listen(self) -> None:
        async for _ in self._scheduler.wakes():
            self._attendant.woken.set()
            self._stir.set()

    def _wants_context(self, task: str) -> bool:
        info = self.children.catalogue.get(task)
        return info is not None and info.wants_context

    def _cancel(self, calls: AbstractSet[str], why: str) -> None:
        """Stop these runs; those with attempts left go on elsewhere, or here once this runner is in touch again."""
        for call_id in calls & self.running.runs.keys():
            self._attendant.cancel(call_id, why)

    def _tell_faults(self) -> None:
        for fault in self.children.faults:
            log.error("%s", fault)

    async def _let_go(self) -> None:
        """Write the last results and leave; what cannot be written is handed back by another runner's count."""
        try:
            await self.running.flush(self._write_link, FLUSH)
            await self._presence.leave(self._write_link, FLUSH)
        except (StoreUnavailable, psycopg.Error) as error:
            log.error("%s; what ended last will be counted as cut short by the next runner", error)

    async def _close_links(self) -> None:
        for link in self._links:
            await link.close()


async def _cancelled(tasks: Sequence[asyncio.Task[object]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

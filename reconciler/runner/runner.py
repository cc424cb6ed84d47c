"""Who runs what is due: one runner, from its start to its graceful end.

It holds the loops together: control (look, decide, pick up), beats, the writing of results, and being woken. What is
decided and how is in `deciding`; what becomes of an outcome is in `running`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg

from reconciler.children.children import Children
from reconciler.db import finishing, runners
from reconciler.db.link import Link
from reconciler.errors import StoreUnavailable
from reconciler.runner.beating import Beats, Watchdog
from reconciler.runner.clock import Clock
from reconciler.runner.deciding import Decider, load_specs
from reconciler.runner.patience import within
from reconciler.runner.running import Run, Running
from reconciler.scheduler import RedisServiceManager, SchedulerService
from reconciler.settings import RunnerSettings

log = logging.getLogger("reconciler.runner")

IDLE = 1.0
RETRY = 0.5
FLUSH = 2.0
DIED = "the runner died"
STOPPED = "the runner was stopped before it finished"
# Seconds in which a cancelled statement lets go of its connection: so much longer than its patience a step may take.
UNWINDING = 3.0
OUT_OF_TOUCH = "cancelled: PostgreSQL could not be reached for a whole lease"
TAKEN_OVER = "cancelled: another runner has taken it over"


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
    ) -> None:
        self.id = uuid4()
        self.settings = settings
        self.clock = Clock()
        self._lease = settings.lease.total_seconds()
        self._stir = asyncio.Event()
        self._ticked = 0.0
        slots = {True: settings.concurrency, False: settings.worker_processes}
        self.running = Running(self.clock, f"{socket.gethostname()}:{os.getpid()}", slots, self._stir)
        self.children = Children(
            directory=directory,
            modules=modules,
            worker_processes=settings.worker_processes,
            environ=environ,
            on_done=self.running.settle,
            cancel_grace=settings.cancel_grace.total_seconds(),
        )
        self._scheduler = SchedulerService(redis)
        self._control_link, self._write_link, self._beat_link = (Link(database_url) for _ in range(3))
        self._beats = Beats(self.id, self._beat_link, self.clock, self._lease)
        self._watchdog = Watchdog(lambda: self._ticked, max(self._lease, self._lease / 2 + 2 * UNWINDING))
        self._cancelled: set[str] = set()
        self._is_registered = False
        self._decider = Decider(
            self.id,
            self._control_link,
            self._scheduler,
            self.clock,
            self.running,
            self.children,
            settings.queues,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set; then take nothing more, give what runs its grace, and record what became of it.

        StoreUnavailable if a store cannot be reached at the start; later outages are waited out.
        """
        await self._begin()
        control = asyncio.create_task(self._control())
        listen = asyncio.create_task(self._listen())
        write = asyncio.create_task(self.running.write_out(self._write_link, self._lease / 2))
        beat = asyncio.create_task(self._keep_beating())
        stopped = asyncio.create_task(stop.wait())
        tasks = [control, listen, write, beat, stopped]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._watchdog.stop()
            await _cancelled([control, listen, stopped])
            await self.children.stop(self.settings.shutdown_grace.total_seconds(), STOPPED)
            await _cancelled([write, beat])
            await self._let_go()
            await self._close_links()

    async def reload(self) -> None:
        """Use new task code for what starts from now on; what runs finishes with the old."""
        await self.children.reload()
        self._tell_faults()
        self._is_registered = False  # the next beat does it, when PostgreSQL answers
        self._stir.set()

    async def _begin(self) -> None:
        await self.children.start()
        self._tell_faults()
        try:
            await self._register()
            await self._beats.beat(set(), is_all=True)
            await self._decider.align()
        except BaseException:
            await self.children.stop(0, STOPPED)
            await self._close_links()
            raise
        self._ticked = time.monotonic()
        self._watchdog.start()

    async def _register(self) -> None:
        tasks = {name: info.schema for name, info in self.children.catalogue.items()}
        await runners.register(
            self._beat_link,
            self.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=self.settings.queues,
            tasks=tasks,
            lease=self._lease,
        )
        self._is_registered = True

    async def _control(self) -> None:
        """Look after look; a store that is away makes it wait, and nothing fires meanwhile."""
        away, pick_up_at = "", 0.0
        while True:
            try:
                async with self._step():
                    await self._decider.settle_uncertain()
                if time.monotonic() >= pick_up_at:
                    async with self._step():
                        has_more = await self._decider.pick_up()
                    pick_up_at = 0.0 if has_more else time.monotonic() + IDLE
                async with self._step():
                    look_at = await self._decider.look()
                if not pick_up_at:
                    look_at = self.clock.now()
                if away:
                    log.info("looking works again; what was missed follows each task's own rule")
                    away = ""
            except (StoreUnavailable, psycopg.Error) as error:
                if str(error) != away:
                    away = str(error)
                    log.warning("%s; nothing fires until it answers", away)
                look_at = self.clock.now() + timedelta(seconds=RETRY)
            except Exception as error:  # a fault of ours, perhaps with one config: the others go on
                if repr(error) != away:
                    away = repr(error)
                    log.error("a look failed, and is tried again", exc_info=error)
                look_at = self.clock.now() + timedelta(seconds=RETRY)
            if await self._sleep_until(look_at):
                pick_up_at = 0.0

    @asynccontextmanager
    async def _step(self) -> AsyncIterator[None]:
        """A step of the control loop: a tick for the watchdog, and an end to its patience."""
        self._ticked = time.monotonic()
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
            self._stir.set()

    async def _keep_beating(self) -> None:
        while True:
            await self._beats.pause()
            try:
                if time.monotonic() - self._ticked <= self._lease / 2:
                    await self._beat()
            except (StoreUnavailable, psycopg.Error) as error:
                log.debug("no beat: %s", error)
            except Exception as error:  # whatever it was, this runner must not look dead for it
                log.error("something around a beat failed", exc_info=error)
            if self._beats.is_out_of_touch:
                self._cancel(self.running.runs.keys(), OUT_OF_TOUCH)

    async def _beat(self) -> None:
        begun, held = set(self.running.runs), self.running.held() | self._decider.uncertain
        beat, dead = await self._beats.beat(held, is_all=not self._decider.is_picking_up)
        # Only what had begun before it asked: another may be its own by now.
        if lost := begun & set(map(str, beat.lost)) & self.running.runs.keys():
            log.warning("another runner has taken over %d runs of this one, which are cancelled here", len(lost))
            self._cancel(lost, TAKEN_OVER)
        if beat.mine is None:
            log.warning("another runner had counted this one as dead; it goes on anew")
        if beat.mine is None or not self._is_registered:
            await self._register()
        for runner_id in dead:
            async with within(self._lease / 4):
                await self._take_over(runner_id)

    async def _take_over(self, dead: UUID) -> None:
        """Count what a dead runner held as failed attempts, and forget it once nothing is left of it."""
        held = self.running.held()
        left = await finishing.of_runner(self._beat_link, dead)
        if not left:
            await runners.remove(self._beat_link, dead)
            return
        specs = await load_specs(self._beat_link, [(claim.name, claim.digest) for claim in left])
        place = await runners.place(self._beat_link, dead)
        fresh = [claim for claim in left if claim.token not in held]
        if fresh:
            log.warning("runner %s is dead; %d occurrences of it are handed back", place, len(fresh))
        for claim in fresh:
            if spec := specs.get((claim.name, claim.digest)):
                self.running.lose(Run(claim, spec, is_async=True), DIED, place)

    def _cancel(self, calls: AbstractSet[str], why: str) -> None:
        """Stop these runs; each is told once, for a second time would only give it more time."""
        self._cancelled &= self.running.runs.keys()
        for call_id in (calls & self.running.runs.keys()) - self._cancelled:
            self._cancelled.add(call_id)
            self.children.cancel(call_id, why)

    def _tell_faults(self) -> None:
        for fault in self.children.faults:
            log.error("%s", fault)

    async def _let_go(self) -> None:
        """Write the last results and leave; what cannot be written is handed back by another runner's count."""
        try:
            await self.running.flush(self._write_link, FLUSH)
            async with within(FLUSH):
                await runners.leave(self._write_link, self.id)
        except (StoreUnavailable, psycopg.Error) as error:
            log.error("%s; what ended last will be counted as cut short by the next runner", error)

    async def _close_links(self) -> None:
        for link in (self._control_link, self._write_link, self._beat_link):
            await link.close()


async def _cancelled(tasks: Sequence[asyncio.Task[object]]) -> None:
    """Cancel until it is heard: redis-py can swallow a cancellation that comes while it sends."""
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=0.2)
    await asyncio.gather(*tasks, return_exceptions=True)

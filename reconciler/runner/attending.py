"""Runs under way and the people who look at them: who wants one to end, who reads along, and how far each is.

All of it is extra: whatever fails here costs no run anything. Cancelling is asked for in PostgreSQL and looked up
there; what a run prints goes out through Redis as it comes, and where it is lost the final row has it all the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg

from reconciler.db import underway
from reconciler.db.link import Statements
from reconciler.errors import StoreUnavailable
from reconciler.execute import failed
from reconciler.runner.patience import within
from reconciler.runner.running import Run, Running
from reconciler.scheduler import SchedulerService

log = logging.getLogger("reconciler.runner")

EVERY = 1.0
PATIENCE = 5.0
# Pieces of output that wait for Redis; beyond, the oldest are dropped, and the reader takes them from the final row.
MOST_PIECES = 2_000


class Attendant:
    """Carries wishes to this runner's children, and news of them to whoever asked.

    `cancel(call_id, why)` and `follow(call_id, True)` are the children's own.
    """

    def __init__(
        self,
        runner_id: UUID,
        link: Statements,
        scheduler: SchedulerService,
        running: Running,
        *,
        cancel: Callable[[str, str], None],
        follow: Callable[[str, bool], None],
    ) -> None:
        self._runner_id = runner_id
        self._link = link
        self._scheduler = scheduler
        self._running = running
        self._stop_call, self._follow = cancel, follow
        self._told: set[str] = set()
        self._followed: set[str] = set()
        self._progress: dict[str, dict[str, Any]] = {}
        self._pieces: deque[tuple[Run, int, str]] = deque(maxlen=MOST_PIECES)
        self._printed = asyncio.Event()
        self.woken = asyncio.Event()

    # ── what the children call ──

    def on_progress(self, call_id: str, fraction: float, text: str) -> None:
        """Remember how far a run is; written at the next turn, the newest only."""
        if call_id in self._running.runs:
            at = self._running.clock.now().isoformat().replace("+00:00", "Z")
            self._progress[call_id] = {"fraction": fraction, "text": text, "at": at}

    def on_output(self, call_id: str, offset: int, text: str) -> None:
        """Pass on what a followed run printed; `offset` is in characters."""
        if run := self._running.runs.get(call_id):
            self._pieces.append((run, offset, text))
            self._printed.set()

    # ── what it does by itself ──

    async def attend(self) -> None:
        """Each second, and when woken: what is asked, and how far all are. Until cancelled."""
        while True:
            try:
                async with within(PATIENCE):
                    await self._look()
                    await self._write_progress()
            except (StoreUnavailable, psycopg.Error) as error:
                log.debug("nobody could be asked about runs under way: %s", error)
            except Exception as error:
                log.error("something about runs under way failed", exc_info=error)
            try:
                async with asyncio.timeout(EVERY):
                    await self.woken.wait()
            except TimeoutError:
                continue
            self.woken.clear()

    async def publish(self) -> None:
        """What followed runs print, as it comes. Until cancelled."""
        while True:
            await self._printed.wait()
            self._printed.clear()
            while self._pieces:
                run, offset, text = self._pieces.popleft()
                try:
                    await self._scheduler.publish_log(run.claim.name, run.claim.scheduled_for, offset, text)
                except StoreUnavailable as error:
                    log.debug("output that somebody follows is left to the final row: %s", error)
                    self._pieces.clear()
                except Exception as error:
                    log.error("output could not be passed on", exc_info=error)

    def cancel(self, call_id: str, why: str, *, is_asked: bool = False) -> None:
        """Stop a run, once: a second time would only give it more time. `is_asked`: for good, without a retry."""
        running = self._running
        if call_id not in running.runs:
            return
        if is_asked:
            running.end(call_id)
        if call_id in running.wanting:
            running.settle([(call_id, failed(why, is_started=is_asked))])
        elif call_id not in self._told:
            self._told.add(call_id)
            self._stop_call(call_id, why)

    async def _look(self) -> None:
        self._told &= self._running.runs.keys()
        self._followed &= self._running.runs.keys()
        if not self._running.runs:
            return
        for one in await underway.asked(self._link, self._runner_id):
            call_id = str(one.token)
            if one.cancel_requested is not None:
                if call_id in self._running.runs and call_id not in self._told:
                    log.info("%s: cancelled: %s", one.name, one.cancel_requested)
                self.cancel(call_id, one.cancel_requested, is_asked=True)
            elif one.follow and call_id in self._running.runs and call_id not in self._followed:
                self._followed.add(call_id)
                self._follow(call_id, True)

    async def _write_progress(self) -> None:
        news, self._progress = self._progress, {}
        rows = [
            {
                "name": run.claim.name,
                "scheduled_for": run.claim.scheduled_for.isoformat(),
                "token": str(run.claim.token),
                "progress": progress,
            }
            for call_id, progress in news.items()
            if (run := self._running.runs.get(call_id))
        ]
        if not rows:
            return
        try:
            await underway.progress(self._link, rows)
        except BaseException:
            self._progress = {**news, **self._progress}
            raise

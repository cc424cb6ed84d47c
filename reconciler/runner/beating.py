"""Staying alive in the others' eyes, and taking over from those who did not.

A runner that cannot reach PostgreSQL for its whole lease cancels what it runs: by then another may have begun it
again. One whose control loop stands still ends its own process, so that it does not look alive and do nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg

from reconciler.db import runners
from reconciler.db.link import Link
from reconciler.db.runners import Beat
from reconciler.errors import StoreUnavailable
from reconciler.runner.clock import Clock
from reconciler.runner.liveness import Witness
from reconciler.runner.patience import within

log = logging.getLogger("reconciler.runner")

# A server whose clock is this far behind what it told before has had it set back.
STEP = timedelta(seconds=1)
# Looks in a row, each an eighth of a lease apart, that find the control loop where it was.
STANDSTILL = 4


class Beats:
    """Beats for one runner, a few times a lease, and watches the beats of all others."""

    def __init__(self, runner_id: UUID, link: Link, clock: Clock, lease: float) -> None:
        self._runner_id = runner_id
        self._link = link
        self._clock = clock
        self._lease = lease
        self._witness = Witness()
        self._last = time.monotonic()
        self._newest = datetime.min.replace(tzinfo=UTC)
        self._is_behind = False

    async def beat(self, held: set[UUID], *, is_all: bool) -> tuple[Beat, list[UUID]]:
        """One beat, which also sets the clock; returns what it told, and who is dead.

        `held` and `is_all` are those of `runners.beat`. StoreUnavailable or a psycopg error: nobody was seen, so
        nobody's standstill counts. Nor does it where this process itself has not looked for a whole lease: what
        stopped it may have stopped them.
        """
        if self.is_out_of_touch:
            self._witness.look_failed()
        asked = time.monotonic()
        try:
            async with within(self._not_beyond_the_lease(self._lease / 4)):
                beat = await runners.beat(self._link, self._runner_id, held, is_all=is_all)
        except (StoreUnavailable, psycopg.Error):
            self._witness.look_failed()
            raise
        answered = time.monotonic()
        self._clock.set(beat.server_now, asked, answered)
        self._tell_if_behind(beat.server_now)
        self._last = asked
        if beat.returned:
            log.warning("%d claims of this runner had been won without its knowing; handed back", beat.returned)
        return beat, self._witness.see(beat.others, asked, answered)

    def _tell_if_behind(self, server_now: datetime) -> None:
        """Say so, once, when the server's clock was set back: what is decided by then stays decided."""
        behind, self._newest = self._newest - server_now, max(self._newest, server_now)
        if behind > STEP and not self._is_behind:
            log.warning(
                "PostgreSQL's clock went back by %.0f s: nothing fires until it has caught up, at %s UTC",
                behind.total_seconds(),
                f"{self._newest:%H:%M:%S}",
            )
        elif behind <= timedelta(0) and self._is_behind:
            log.info("PostgreSQL's clock has caught up with what it was before it went back")
        self._is_behind = behind > STEP or (self._is_behind and behind > timedelta(0))

    @property
    def is_out_of_touch(self) -> bool:
        """For a whole lease no beat has come through: others may have taken over what runs here."""
        return time.monotonic() - self._last >= self._lease

    async def pause(self) -> None:
        """Until the next beat is due."""
        await asyncio.sleep(self._not_beyond_the_lease(min(self._lease / 4, 5.0)))

    def _not_beyond_the_lease(self, seconds: float) -> float:
        """So long at most that the end of the lease is noticed when it comes."""
        left = self._last + self._lease - time.monotonic()
        return min(seconds, left) if left > 0 else seconds


class Watchdog:
    """Ends this process when `ticks` shows the same value for half a lease; a thread, which nothing else blocks.

    Looks are counted, not time, and only those that came when they should: a process that was stopped and goes on
    (SIGSTOP, a suspended or overloaded machine) is given the chance to tick again.
    """

    def __init__(self, ticks: Callable[[], float], lease: float) -> None:
        self._ticks = ticks
        self._every = lease / 8
        self._stop = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def _watch(self) -> None:
        seen, standing = self._ticks(), 0
        while standing < STANDSTILL:
            before = time.monotonic()
            if self._stop.wait(self._every):
                return
            is_late = time.monotonic() - before > 1.5 * self._every
            standing = standing + 1 if self._ticks() == seen and not is_late else 0
            seen = self._ticks()
        os.write(2, b"reconciler: runner: its control loop stands still: the process ends, start it again\n")
        os._exit(70)

"""What follows from results: those who wait for a success, and those who are paused after too many failures.

It asks of the tables, never of what it remembers: hints only make it ask sooner. So what another runner wrote, or one
that died right after it wrote, is followed too, and no number of runners makes it happen twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import psycopg

from reconciler.align import align
from reconciler.db import followers
from reconciler.db.link import Link
from reconciler.errors import StoreUnavailable
from reconciler.runner.clock import Clock
from reconciler.runner.patience import is_passing
from reconciler.scheduler import SchedulerService
from reconciler.spec.by_digest import known_spec

log = logging.getLogger("reconciler.runner")

# Seconds: between looks at everything, and for which results are gathered before a look at what they concern.
SWEEP = 5.0
GATHER = 0.1
# Looks at everything take up to this share of the time, however long one takes.
SHARE = 20
# Rows one name after the other, as where it was long not looked at; the next look goes on.
ROUNDS = 1000


class Follower:
    """Watches the results that all runners write, through a link of its own."""

    def __init__(self, link: Link, scheduler: SchedulerService, clock: Clock) -> None:
        self._link = link
        self._scheduler = scheduler
        self._clock = clock
        self._followers: dict[str, set[str]] = {}
        self._hinted: set[str] = set()
        self._failed: set[str] = set()
        self._unaligned: set[str] = set()
        self._hint = asyncio.Event()

    def finished(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Results that were just written, as `finishing.finish` takes them: what follows from them follows shortly."""
        for record in records:
            if record["is_success"]:
                self._hinted |= self._followers.get(record["name"], set())
            elif _may_pause(record.get("digest")):
                self._failed.add(record["name"])
        if self._hinted or self._failed:
            self._hint.set()

    async def run(self) -> None:
        """Follow until cancelled; a store that is away makes it wait."""
        away, sweep_at = "", 0.0
        while True:
            try:
                if time.monotonic() >= sweep_at:
                    began = time.monotonic()
                    await self.sweep()
                    now = time.monotonic()
                    sweep_at = now + max(SWEEP, SHARE * (now - began))
                else:
                    await self._look_at_hinted()
                away = ""
            except (StoreUnavailable, psycopg.Error) as error:
                if str(error) != away:
                    away = str(error)
                    # Of a store that is away the control loop speaks; a refusal of these statements it may not meet.
                    is_away = isinstance(error, StoreUnavailable) or is_passing(error)
                    level = logging.DEBUG if is_away else logging.WARNING
                    log.log(level, "%s; what waits for others waits until it answers", away)
                sweep_at = 0.0
                await asyncio.sleep(1.0)
            except Exception as error:  # a fault of ours must not end it
                if repr(error) != away:
                    away = repr(error)
                    log.error("following failed, and is tried again", exc_info=error)
                await asyncio.sleep(1.0)
            await self._rest_until(sweep_at)

    async def sweep(self) -> None:
        """Look at everything once."""
        await followers.begin(self._link)
        found: dict[str, set[str]] = {}
        for name, named in (await followers.upstreams(self._link)).items():
            for upstream in named:
                found.setdefault(upstream, set()).add(name)
        self._followers = found
        self._hinted.clear()
        self._failed.clear()
        if found:
            await self._follow(None)
        await self._pause(None)

    async def _look_at_hinted(self) -> None:
        hinted, self._hinted = self._hinted, set()
        failed, self._failed = self._failed, set()
        if hinted:
            await self._follow(sorted(hinted))
        if failed or self._unaligned:
            await self._pause(sorted(failed))

    async def _follow(self, names: list[str] | None) -> None:
        for _ in range(ROUNDS):
            found = await followers.follow(self._link, names)
            if any(one.is_fired for one in found):
                await self._scheduler.wake()
            if not found:
                return
            names = [one.name for one in found]

    async def _pause(self, names: list[str] | None) -> None:
        """Pause what fails again and again; Redis is told last, and again where that did not work."""
        if names != []:
            for one in await followers.failing(self._link, names):
                if paused := await followers.pause_failing(self._link, one.name):
                    self._unaligned.add(paused.name)
                    log.warning("%s: paused: %s: reconciler resume %s", paused.name, paused.reason, paused.name)
        if self._unaligned:
            await align(self._link, self._scheduler, now=self._clock.now(), names=sorted(self._unaligned))
            self._unaligned.clear()

    async def _rest_until(self, moment: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, moment - time.monotonic())):
                await self._hint.wait()
                await asyncio.sleep(GATHER)
        self._hint.clear()


def _may_pause(digest: str | None) -> bool:
    spec = known_spec(digest) if digest else None
    return spec is not None and spec.pause_after_failures is not None

"""What a runner sees to in the background: Redis kept whole where nobody else does, outages written down, and what
waits in vain brought to its end.
"""

from __future__ import annotations

import asyncio
import logging
import time

import psycopg

from reconciler.align import align
from reconciler.db import waiting
from reconciler.db.link import Link
from reconciler.errors import StoreUnavailable
from reconciler.runner.cutoff import Outages
from reconciler.runner.patience import within
from reconciler.runner.running import Running
from reconciler.scheduler import SchedulerService
from reconciler.sync.drift import record_aligned

log = logging.getLogger("reconciler.runner")

EVERY = 1.0
# Seconds until a store counts as away: for one statement, and for an alignment of very many configs.
PATIENCE, LONGEST = 5.0, 60.0
# How often it is asked whether anybody has aligned Redis; a sync loop beside this runner does it at each pass.
ALIGN_EVERY = 10.0
# And whether something waits that no runner can take any more.
GIVE_UP_EVERY = 60.0


async def upkeep(link: Link, scheduler: SchedulerService, running: Running, outages: Outages) -> None:
    """Until cancelled; what fails is tried again at the next turn."""
    align_at, give_up_at = time.monotonic() + ALIGN_EVERY, time.monotonic() + GIVE_UP_EVERY
    while True:
        try:
            async with within(PATIENCE):
                await outages.write(link, running.runner)
            if time.monotonic() >= align_at:
                align_at = time.monotonic() + ALIGN_EVERY
                await align_if_nobody_does(link, scheduler, running)
            if time.monotonic() >= give_up_at:
                give_up_at = time.monotonic() + GIVE_UP_EVERY
                async with within(PATIENCE):
                    for name, why in await waiting.give_up(link):
                        log.warning("%s: %s", name, why)
        except (StoreUnavailable, psycopg.Error) as error:
            log.debug("upkeep waits: %s", error)
        except Exception as error:
            log.error("upkeep failed", exc_info=error)
        await asyncio.sleep(EVERY)


async def align_if_nobody_does(link: Link, scheduler: SchedulerService, running: Running) -> bool:
    """Make Redis say what PostgreSQL says, unless that was done within the last minute; True if it was done here."""
    if await scheduler.is_aligned_lately():
        return False
    async with within(LONGEST):
        now = running.clock.now()
        aligned = await align(link, scheduler, now=now)
        await record_aligned(link, aligned, scheduler.modes, now)
    return True

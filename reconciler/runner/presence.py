"""One runner among others: registered, beating, taking over from those who died, and leaving.

How beats are judged is in `beating` and `liveness`; what a lost run is counted as, in `running`.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from uuid import UUID

import psycopg

from reconciler.children.children import Children
from reconciler.db import finishing, runners
from reconciler.db.link import Link
from reconciler.errors import StoreUnavailable
from reconciler.runner.beating import Beats
from reconciler.runner.cutoff import Outages
from reconciler.runner.deciding import Decider, load_specs
from reconciler.runner.patience import within
from reconciler.runner.picking import spec_to_end
from reconciler.runner.running import Run, Running
from reconciler.settings import RunnerSettings

log = logging.getLogger("reconciler.runner")

DIED = "the runner died"
OUT_OF_TOUCH = "cancelled: PostgreSQL could not be reached for a whole lease"
TAKEN_OVER = "cancelled: another runner has taken it over"


class Presence:
    """Keeps this runner known to the others, on a link of its own that nothing else makes wait.

    `cancel(call ids, why)` stops runs of this one that are not its own any more.
    """

    def __init__(
        self,
        runner_id: UUID,
        link: Link,
        settings: RunnerSettings,
        running: Running,
        children: Children,
        *,
        outages: Outages,
        cancel: Callable[[AbstractSet[str], str], None],
    ) -> None:
        self.is_registered = False
        self._id = runner_id
        self._link = link
        self._settings = settings
        self._running = running
        self._children = children
        self._outages = outages
        self._cancel = cancel
        self._lease = settings.lease.total_seconds()
        self._beats = Beats(runner_id, link, running.clock, self._lease)

    @property
    def is_out_of_touch(self) -> bool:
        """`Beats.is_out_of_touch`."""
        return self._beats.is_out_of_touch

    async def enter(self) -> None:
        """Register and beat for the first time, which sets the clock."""
        await self._register()
        await self._beats.beat(set(), is_all=True)
        self._outages.worked("beats")

    async def keep(self, decider: Decider, ticked: Callable[[], float]) -> None:
        """Beat until cancelled, as long as the control loop, which `ticked` at a moment, does not stand still."""
        while True:
            await self._beats.pause()
            try:
                if time.monotonic() - ticked() <= self._lease / 2:
                    await self._beat(decider)
                    self._outages.worked("beats")
            except (StoreUnavailable, psycopg.Error) as error:
                self._outages.failed("beats", str(error))
                log.debug("no beat: %s", error)
            except Exception as error:  # whatever it was, this runner must not look dead for it
                log.error("something around a beat failed", exc_info=error)
            if self._beats.is_out_of_touch:
                self._cancel(self._running.runs.keys(), OUT_OF_TOUCH)

    async def leave(self, link: Link, patience: float) -> None:
        """Say that this runner has ended; StoreUnavailable or psycopg's errors."""
        async with within(patience):
            await runners.leave(link, self._id)

    async def _register(self) -> None:
        tasks = {name: info.schema for name, info in self._children.catalogue.items()}
        await runners.register(
            self._link,
            self._id,
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=self._settings.queues,
            tasks=tasks,
            lease=self._lease,
        )
        self.is_registered = True

    async def _beat(self, decider: Decider) -> None:
        if self._beats.is_out_of_touch:
            self._outages.failed("beats", "this runner did not beat for a whole lease")
        begun, held = set(self._running.runs), self._running.held() | decider.uncertain
        beat, dead = await self._beats.beat(held, is_all=not decider.is_picking_up)
        # Only what had begun before it asked: another may be its own by now.
        if lost := begun & set(map(str, beat.lost)) & self._running.runs.keys():
            log.warning("another runner has taken over %d runs of this one, which are cancelled here", len(lost))
            self._cancel(lost, TAKEN_OVER)
        if beat.mine is None:
            log.warning("another runner had counted this one as dead; it goes on anew")
        if beat.mine is None or not self.is_registered:
            await self._register()
        for runner_id in dead:
            async with within(self._lease / 4):
                await self._take_over(runner_id, beat.others[runner_id][0])
                with suppress(StoreUnavailable):  # whoever brings Redis back brings it back whole
                    await decider.show(await runners.queues(self._link, runner_id))

    async def _take_over(self, dead: UUID, seen: int) -> None:
        """Count what a dead runner held as failed attempts, and note its death once nothing is left of it.

        `seen` is the beat that stood still: should it have moved since, as when this process was stopped in between,
        the other one lives, and nothing is done.
        """
        held = self._running.held()
        left = await finishing.of_runner(self._link, dead, seen)
        if not left:
            await runners.note_death(self._link, dead, seen)
            return
        specs = await load_specs(self._link, [(claim.name, claim.digest) for claim in left])
        place = await runners.place(self._link, dead)
        if self._beats.is_out_of_touch:  # stopped meanwhile, as by SIGSTOP: what was dead may be back
            return
        fresh = [claim for claim in left if claim.token not in held]
        if fresh:
            log.warning("runner %s is dead; %d occurrences of it are handed back", place, len(fresh))
        for claim in fresh:
            spec = specs.get((claim.name, claim.digest)) or spec_to_end(claim)
            self._running.lose(Run(claim, spec, is_async=True), DIED, place)

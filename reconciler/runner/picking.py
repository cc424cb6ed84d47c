"""Waiting work that this runner takes on: what is picked up, as far as it has slots, and what it can only end.

Which claims may be had is PostgreSQL's answer. What a claim needs here is known only once it is owned: what does not
fit goes back, without an attempt.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from reconciler.children.catalogue import TaskInfo
from reconciler.children.children import Children
from reconciler.db import claims, finishing, revisions, waiting
from reconciler.db.claims import Claim, Returned
from reconciler.db.link import Link
from reconciler.errors import ReconcilerError
from reconciler.failpoints import failpoint
from reconciler.runner.clock import Clock
from reconciler.runner.figures import Figures
from reconciler.runner.running import Run, Running
from reconciler.spec import TaskSpec
from reconciler.spec.by_digest import known_spec, spec_of

log = logging.getLogger("reconciler.runner")

# What cannot run here is offered to the others again after this; its old score would bring it straight back here.
NO_SLOT = timedelta(milliseconds=200)
# Waiting work that turned out not to be for this runner: long enough for another one to come first.
UNFIT = timedelta(seconds=10)
BATCH = 1000


class Picker:
    """Owns and starts waiting work; `limits` holds the queues in which only so many runs may be under way at once."""

    def __init__(
        self,
        runner_id: UUID,
        link: Link,
        clock: Clock,
        running: Running,
        children: Children,
        queues: Sequence[str],
        limits: Mapping[str, int],
        figures: Figures | None,
    ) -> None:
        self._runner_id = runner_id
        self._link = link
        self._clock = clock
        self._running = running
        self._children = children
        self._figures = figures
        self._limits = {queue: limits[queue] for queue in queues if queue in limits}
        self._unlimited = [queue for queue in queues if queue not in limits]
        # Tasks whose last claim needed a process: of an async one only its spec tells, once the claim is owned.
        self._heavy: set[str] = set()
        self.is_short_of_slots = False  # something may wait that there was no slot for
        self.is_picking_up = False  # meanwhile PostgreSQL gives out tokens that nobody here knows yet

    async def pick_up(self) -> bool:
        """Own and start waiting work that is due; True if there may be more than there were slots for."""
        if not await waiting.is_any(self._link):
            self.is_short_of_slots = False
            return False
        skipped = await waiting.skip(self._link)
        if self._figures:
            self._figures.looked(0, skipped)
        self.is_picking_up = True
        try:
            await self._refuse()
            return await self._take()
        finally:
            self.is_picking_up = False

    async def _refuse(self) -> None:
        """End what waits and was asked to end, whatever it waits for: nothing is called."""
        if asked := await waiting.cancelled(self._link, self._runner_id):
            specs = await load_specs(self._link, [(claim.name, claim.digest) for claim in asked])
            for claim in asked:
                spec = specs.get((claim.name, claim.digest)) or spec_to_end(claim)
                self._running.refuse(Run(claim, spec, is_async=True), claim.cancel_requested or "")

    async def _take(self) -> bool:
        """What runs beside others and what needs a process, each as far as there are slots for it."""
        has_more = self.is_short_of_slots = False
        for is_async in (True, False):
            free = {kind: self._running.free(kind) for kind in (True, False)}
            known = self._children.catalogue.items()
            tasks = [name for name, info in known if is_async == (info.is_async and name not in self._heavy)]
            limit = min(BATCH, free[is_async])
            if tasks and limit <= 0:
                self.is_short_of_slots = True
            elif tasks:
                picked = await self._own(tasks, limit)
                has_more = has_more or len(picked) == limit
                self.is_short_of_slots = self.is_short_of_slots or has_more
                if picked:
                    failpoint("after-pick-up")
                    await self._begin(picked, free)
        return has_more

    async def _own(self, tasks: Sequence[str], limit: int) -> list[Claim]:
        picked: list[Claim] = []
        if self._unlimited:
            picked += await claims.pick_up(self._link, self._runner_id, self._unlimited, tasks, limit)
        if self._limits and len(picked) < limit:
            rest = limit - len(picked)
            picked += await claims.pick_up_limited(self._link, self._runner_id, self._limits, tasks, rest)
        return picked

    async def _begin(self, picked: Sequence[Claim], free: dict[bool, int]) -> None:
        specs = await load_specs(self._link, [(claim.name, claim.digest) for claim in picked])
        runs: list[Run] = []
        unfit: list[Claim] = []
        crowded: list[Claim] = []
        for claim in picked:
            run = self._run(claim, specs.get((claim.name, claim.digest)))
            if run is None:
                unfit.append(claim)
                continue
            (self._heavy.discard if run.is_async else self._heavy.add)(claim.task)
            if free[run.is_async] > 0:
                free[run.is_async] -= 1
                runs.append(run)
            else:
                crowded.append(claim)
        if calls := self._running.begin(runs):
            self._children.submit(calls)
        await self._hand_back(unfit, UNFIT)
        await self._hand_back(crowded, NO_SLOT)

    def _run(self, claim: Claim, spec: TaskSpec | None) -> Run | None:
        """None where the spec cannot be read here, or a reload has just taken the task away."""
        info = self._children.catalogue.get(spec.task) if spec else None
        return Run(claim, spec, is_async_call(spec, info)) if spec and info else None

    async def _hand_back(self, unused: Sequence[Claim], delay: timedelta) -> None:
        if unused:
            later = self._clock.now() + delay
            back = [Returned(one.name, one.scheduled_for, one.token, later, one.attempts) for one in unused]
            await finishing.hand_back(self._link, back)


def is_async_call(spec: TaskSpec, info: TaskInfo) -> bool:
    """Whether it runs beside others in one process: with a memory limit it has a process of its own meanwhile."""
    return info.is_async and spec.memory_limit is None


def spec_to_end(claim: Claim) -> TaskSpec:
    """For a claim whose spec cannot be read here, enough of one to end it: there is no further attempt."""
    return TaskSpec.from_document({"name": claim.name, "task": claim.task})


async def load_specs(link: Link, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], TaskSpec]:
    """The specs of these (name, digest), from memory where they were seen before; one that cannot be read is absent."""
    missing = [key for key in keys if known_spec(key[1]) is None]
    documents = await revisions.specs(link, missing) if missing else {}
    for (name, digest), document in documents.items():
        try:
            spec_of(digest, document)
        except ReconcilerError as error:
            log.error("%s: %s", name, error)
    return {key: spec for key in keys if (spec := known_spec(key[1])) is not None}

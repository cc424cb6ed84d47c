"""One look at what is due: decide it in PostgreSQL, start what was won, and set in Redis when each is due next.

Redis only says where to look. Where it and PostgreSQL disagree (another runner was first, a commit changed the spec,
a pause began), PostgreSQL is right and Redis is aligned to it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg

from reconciler.align import align
from reconciler.children.children import Children
from reconciler.db import claims, cursors, finishing, revisions
from reconciler.db.claims import Claim, Move, Returned, Wanted
from reconciler.db.cursors import Sighted
from reconciler.db.link import Link
from reconciler.errors import ReconcilerError
from reconciler.occurrences import Decision, Fire, Skip, decide, wake_at
from reconciler.runner.clock import Clock
from reconciler.runner.patience import is_passing
from reconciler.runner.running import Run, Running
from reconciler.scheduler import Advance, Due, EpochChanged, SchedulerService
from reconciler.spec import TaskSpec
from reconciler.spec.by_digest import known_spec, spec_of

log = logging.getLogger("reconciler.runner")

# How long a taken id stays hidden from the other runners: longer than a decision takes, short enough to miss nobody.
HOLD = timedelta(seconds=10)
# What cannot run here is offered to the others again after this; its old score would bring it straight back here.
NO_SLOT = timedelta(milliseconds=200)
# And so far apart: thousands that wait for a slot of their kind are looked at in turn, not all again and again.
SPACING = timedelta(milliseconds=1)
NO_TASK = timedelta(seconds=1)
IDLE = timedelta(seconds=1)
# Waiting work that turned out not to be for this runner: long enough for another one to come first.
UNFIT = timedelta(seconds=10)
BATCH = 1000


@dataclass(slots=True)
class Batch:
    """What a look comes to, before anything is written; `free` is the slots it has left, by kind.

    What finds none of them free is offered again at `no_slot_until`.
    """

    free: dict[bool, int]
    no_slot_until: datetime
    moves: list[Move] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    items: dict[str, Due] = field(default_factory=dict)
    advances: dict[str, Advance] = field(default_factory=dict)
    returns: dict[datetime, list[Due]] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)


class Decider:
    """Turns due ids and waiting work into runs of this runner, as far as it has slots for them."""

    def __init__(
        self,
        runner_id: UUID,
        link: Link,
        scheduler: SchedulerService,
        clock: Clock,
        running: Running,
        children: Children,
        queues: Sequence[str],
    ) -> None:
        self._runner_id = runner_id
        self._link = link
        self._scheduler = scheduler
        self._clock = clock
        self._running = running
        self._children = children
        self._queues = queues
        self._epoch = ""
        self._uncertain: dict[UUID, Run] = {}
        self._undecided: Sequence[Due] = ()
        self._no_slot_until = datetime.min.replace(tzinfo=UTC)
        self.is_picking_up = False  # meanwhile PostgreSQL gives out tokens that nobody here knows yet
        self._faulty: set[str] = set()

    @property
    def uncertain(self) -> set[UUID]:
        """Tokens of decisions whose answer has not come."""
        return set(self._uncertain)

    async def look(self) -> datetime:
        """Decide what is due now; returns when to look again."""
        free = self._running.free(True) + self._running.free(False)
        if free <= 0:
            return self._clock.now() + IDLE
        await self._scheduler.give_back(self._undecided)
        self._undecided = ()
        now = self._clock.now()
        try:
            taken = await self._scheduler.take(self._queues, now, min(free, BATCH), HOLD, self._epoch)
        except EpochChanged:
            await self.align()
            return now
        if taken.due:
            self._undecided = taken.due  # a store that goes away now must not cost them the whole hold
            try:
                await self._decide(taken.due)
            except psycopg.Error as error:
                if not is_passing(error):
                    self._undecided = ()  # refused: for as long as these are held it is the others' turn
                raise
            self._undecided = ()
            return now
        return taken.next_at or now + IDLE

    async def pick_up(self) -> bool:
        """Own and start waiting work that is due; True if there may be more than there were slots for."""
        free = {is_async: self._running.free(is_async) for is_async in (True, False)}
        tasks = [name for name, info in self._children.catalogue.items() if free[info.is_async] > 0]
        if not tasks:
            return False
        # The kind of a claim is known only once it is owned, so no kind may be given more than its own slots.
        limit = min(BATCH, *(slots for slots in free.values() if slots > 0))
        self.is_picking_up = True
        try:
            picked = await claims.pick_up(self._link, self._runner_id, self._queues, tasks, limit)
            specs = await load_specs(self._link, [(claim.name, claim.digest) for claim in picked])
            runs = [run for claim in picked if (run := self._run(claim, specs.get((claim.name, claim.digest))))]
            self._start(runs)
        finally:
            self.is_picking_up = False
        if len(runs) < len(picked):
            fit, later = {run.claim.token for run in runs}, self._clock.now() + UNFIT
            unfit = [one for one in picked if one.token not in fit]
            back = [Returned(one.name, one.scheduled_for, one.token, later, one.attempts) for one in unfit]
            await finishing.hand_back(self._link, back)
        return len(picked) == limit

    async def settle_uncertain(self) -> None:
        """A decision whose answer was lost may stand or not: PostgreSQL knows by token."""
        if self._uncertain:
            held = await finishing.owned(self._link, self._runner_id, self._uncertain)
            runs, self._uncertain = self._uncertain, {}
            self._start([run for token, run in runs.items() if token in held])

    async def align(self, names: Sequence[str] | None = None) -> None:
        """Put Redis right from PostgreSQL: all of it, or what concerns these names."""
        aligned = await align(self._link, self._scheduler, now=self._clock.now(), names=names)
        self._epoch = aligned.epoch

    async def _decide(self, due: Sequence[Due]) -> None:
        now = self._clock.now()
        seen = {row.config_id: row for row in await cursors.sight(self._link, [item.config_id for item in due])}
        for config_id in {item.config_id for item in due} - seen.keys():
            await self._scheduler.unregister(config_id)
        specs = await load_specs(self._link, [(row.name, row.digest) for row in seen.values()])
        again_at = min(max(now + NO_SLOT, self._no_slot_until), now + HOLD)
        batch = Batch({is_async: self._running.free(is_async) for is_async in (True, False)}, again_at)
        for item in due:
            if row := seen.get(item.config_id):
                try:
                    self._consider(batch, item, row, specs.get((row.name, row.digest)), now)
                except Exception as error:  # one that cannot be decided is held, and the others go on
                    self._tell_fault(f"{row.name}: cannot be decided: {type(error).__name__}: {error}", error)
        self._no_slot_until = again_at + SPACING * len(batch.returns.get(again_at, ()))
        await self._carry_out(batch)

    def _consider(self, batch: Batch, item: Due, row: Sighted, spec: TaskSpec | None, now: datetime) -> None:
        """Sort one due id into the batch: decided, given back, or to be aligned."""
        is_paused = any(pause.until is None or pause.until > now for pause in row.pauses)
        if spec is None or row.digest != item.digest or is_paused or not spec.is_scheduled:
            batch.stale.add(row.name)
            return
        info = self._children.catalogue.get(spec.task)
        if info is None:
            batch.returns.setdefault(now + NO_TASK, []).append(item)
            return
        decision = decide(spec, row.through, now, row.pauses)
        advance = _advance(item, spec, decision)
        if len(decision.fires) > batch.free[info.is_async]:
            batch.returns.setdefault(batch.no_slot_until, []).append(item)
            return
        batch.advances[row.name] = advance
        if not decision.is_empty:
            batch.items[row.name] = item
            batch.free[info.is_async] -= len(decision.fires)
            batch.moves.append(Move(row.name, row.digest, row.through, decision.through))
            batch.skips += decision.skips
            batch.runs += [Run(_claim(row, spec, fire), spec, info.is_async) for fire in decision.fires]

    async def _carry_out(self, batch: Batch) -> None:
        if batch.moves:
            moved = await self._own(batch)
            lost = {move.name for move in batch.moves} - moved
            batch.stale |= lost
            for name in lost:
                del batch.advances[name]
            # Perhaps only its cursor was locked for a moment, and then there is nothing to align.
            batch.returns.setdefault(self._clock.now() + NO_SLOT, []).extend(batch.items[name] for name in lost)
        if batch.advances:
            await self._scheduler.advance(list(batch.advances.values()))
        for score, items in batch.returns.items():
            await self._scheduler.give_back(items, score)
        if batch.stale:
            await self.align(sorted(batch.stale))

    async def _own(self, batch: Batch) -> set[str]:
        """Write the decision and start what it won; returns the names whose cursor moved."""
        self._uncertain = {run.claim.token: run for run in batch.runs}
        wanted = [_wanted(run.claim) for run in batch.runs]
        moved, won = await claims.decide(self._link, self._runner_id, batch.moves, wanted, batch.skips)
        self._uncertain = {}
        self._start([run for run in batch.runs if run.claim.token in won])
        return moved

    def _run(self, claim: Claim, spec: TaskSpec | None) -> Run | None:
        """None where the spec cannot be read here, or a reload has just taken the task away."""
        info = self._children.catalogue.get(spec.task) if spec else None
        return Run(claim, spec, info.is_async) if spec and info else None

    def _tell_fault(self, text: str, error: Exception) -> None:
        if text not in self._faulty:
            self._faulty.add(text)
            log.error("%s", text, exc_info=error)

    def _start(self, runs: Iterable[Run]) -> None:
        if calls := self._running.begin(runs):
            self._children.submit(calls)


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


def _advance(item: Due, spec: TaskSpec, decision: Decision) -> Advance:
    following = decision.next_run
    wake = wake_at(spec, following) if following else None
    return Advance(item.config_id, item.queue, item.digest, item.next_run, following, wake)


def _claim(row: Sighted, spec: TaskSpec, fire: Fire) -> Claim:
    return Claim(
        name=row.name,
        scheduled_for=fire.scheduled_for,
        task=spec.task,
        token=uuid4(),
        queue=spec.queue,
        priority=spec.priority,
        attempts=[],
        params=None,
        trigger=fire.trigger,
        replays=None,
        digest=row.digest,
        exclusive=spec.overlap != "allow",
        started_at=None,
        revision=row.revision,
    )


def _wanted(claim: Claim) -> Wanted:
    return Wanted(
        name=claim.name,
        scheduled_for=claim.scheduled_for,
        task=claim.task,
        token=claim.token,
        queue=claim.queue,
        priority=claim.priority,
        trigger=claim.trigger,
        exclusive=claim.exclusive,
    )

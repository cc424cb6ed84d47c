"""One look at what is due: decide it in PostgreSQL, start what was won, and set in Redis when each is due next.

Redis only says where to look. Where it and PostgreSQL disagree (another runner was first, a commit changed the spec,
a pause began), PostgreSQL is right and Redis is aligned to it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from uuid import UUID

import psycopg

from reconciler.align import align
from reconciler.children.children import Children
from reconciler.db import claims, cursors, finishing
from reconciler.db.claims import Move
from reconciler.db.cursors import Sighted
from reconciler.db.link import Link
from reconciler.errors import StoreUnavailable
from reconciler.failpoints import failpoint
from reconciler.occurrences import decide
from reconciler.runner.batch import Batch, advance_of, claim_of, wanted_of
from reconciler.runner.busy import busy_names, due_of_busy
from reconciler.runner.clock import Clock
from reconciler.runner.figures import Figures
from reconciler.runner.patience import is_passing, within
from reconciler.runner.picking import BATCH, NO_SLOT, Picker, is_async_call, load_specs
from reconciler.runner.remembering import Remembered
from reconciler.runner.running import Run, Running
from reconciler.scheduler import Due, EpochChanged, SchedulerService
from reconciler.spec import TaskSpec

__all__ = ["Decider", "load_specs"]

log = logging.getLogger("reconciler.runner")

# How long a taken id stays hidden from the other runners: longer than a decision takes, short enough to miss nobody.
HOLD = timedelta(seconds=10)
# What found no slot is offered again so far apart: thousands that wait for one are looked at in turn, not all again
# and again.
SPACING = timedelta(milliseconds=1)
NO_TASK = timedelta(seconds=1)
LETTING_GO = 2.0
IDLE = timedelta(seconds=1)
# Occurrences a statement: a name makes up for as many at once as its spec allows, and a thousand names may do so.
MOST_FIRES = 2000
NO_LIMITS: Mapping[str, int] = MappingProxyType({})


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
        limits: Mapping[str, int] = NO_LIMITS,
        figures: Figures | None = None,
    ) -> None:
        """`limits`: how many runs of a queue may be under way at once, on all runners together."""
        self._runner_id = runner_id
        self._link = link
        self._scheduler = scheduler
        self._clock = clock
        self._running = running
        self._children = children
        self._queues = queues
        self._limits = limits
        self._figures = figures
        self._picker = Picker(runner_id, link, clock, running, children, queues, limits, figures)
        self._epoch = ""
        self._uncertain: dict[UUID, Run] = {}
        self._undecided: Sequence[Due] = ()
        self._no_slot_until = datetime.min.replace(tzinfo=UTC)
        self._full_until = datetime.min.replace(tzinfo=UTC)
        self._faulty: set[str] = set()
        self._remembered = Remembered()

    @property
    def uncertain(self) -> set[UUID]:
        """Tokens of decisions whose answer has not come."""
        return set(self._uncertain)

    @property
    def is_picking_up(self) -> bool:
        """Whether PostgreSQL is giving out tokens that nobody here knows yet."""
        return self._picker.is_picking_up

    @property
    def is_short_of_slots(self) -> bool:
        """Whether something waits, as far as is known, for nothing but a slot here."""
        return self._picker.is_short_of_slots

    async def look(self) -> datetime:
        """Decide what is due now; returns when to look again."""
        now, free = self._clock.now(), self._running.free(True)
        is_full = now < self._full_until
        if not is_full:
            free += self._running.free(False)
        if free <= 0:
            if due := await due_of_busy(self._link, self._scheduler, self._running, now):
                await self._tell(await self._decide(due))
            return self._full_until if is_full else now + IDLE
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
            failpoint("after-take")
            try:
                batch = await self._decide(taken.due)
            except psycopg.Error as error:
                if not is_passing(error):
                    self._undecided = ()  # refused: for as long as these are held it is the others' turn
                raise
            self._undecided = ()
            await self._tell(batch)
            return now
        return taken.next_at or now + IDLE

    async def pick_up(self) -> bool:
        """Own and start waiting work that is due; True if there may be more than there were slots for."""
        return await self._picker.pick_up()

    async def settle_uncertain(self) -> None:
        """A decision whose answer was lost may stand or not: PostgreSQL knows by token."""
        if self._uncertain:
            held = await finishing.owned(self._link, self._runner_id, self._uncertain)
            runs, self._uncertain = self._uncertain, {}
            self._start([run for token, run in runs.items() if token in held])

    async def show(self, queues: Sequence[str]) -> None:
        """What a runner had taken that is gone is looked at again, by all that are left."""
        if await self._scheduler.hidden.show(queues, self._clock.now(), HOLD):
            await self._scheduler.wake()

    async def let_go(self, seconds: float = LETTING_GO) -> None:
        """Give back, where Redis answers within `seconds`, what a look had taken that was cut short."""
        with suppress(StoreUnavailable):
            async with within(seconds):
                await self._scheduler.give_back(self._undecided)
                self._undecided = ()

    async def align(self, names: Sequence[str] | None = None) -> None:
        """Put Redis right from PostgreSQL: all of it, or what concerns these names."""
        aligned = await align(self._link, self._scheduler, now=self._clock.now(), names=names)
        self._epoch = aligned.epoch

    async def _decide(self, due: Sequence[Due]) -> Batch:
        now = self._clock.now()
        seen = {item.config_id: row for item in due if (row := self._remembered.recall(item))}
        remembered = set(seen)
        if len(seen) < len(due):
            seen |= await self._sight([item for item in due if item.config_id not in seen])
        specs = await load_specs(self._link, {(row.name, row.digest) for row in seen.values()})
        again_at = min(max(now + NO_SLOT, self._no_slot_until), now + HOLD)
        free = {is_async: self._running.free(is_async) for is_async in (True, False)}
        batch = Batch(free, again_at, busy_names(self._running), remembered)
        for item in due:
            if row := seen.get(item.config_id):
                try:
                    self._consider(batch, item, row, specs.get((row.name, row.digest)), now)
                except Exception as error:  # one that cannot be decided is held, and the others go on
                    self._tell_fault(f"{row.name}: cannot be decided: {type(error).__name__}: {error}", error)
        if returned := batch.returns.get(again_at):
            self._full_until = now + NO_SLOT
            self._no_slot_until = again_at + SPACING * len(returned)
        overtaken = await self._carry_out(batch)
        if overtaken:
            self._remembered.forget(overtaken)
            again = await self._decide(overtaken)
            batch.is_waiting, batch.is_asked = batch.is_waiting or again.is_waiting, batch.is_asked or again.is_asked
        return batch

    async def _sight(self, due: Sequence[Due]) -> dict[int, Sighted]:
        """What PostgreSQL says of these; ids that no config has any more are forgotten in Redis."""
        rows = {row.config_id: row for row in await cursors.sight(self._link, [item.config_id for item in due])}
        for config_id in {item.config_id for item in due} - rows.keys():
            await self._scheduler.unregister(config_id)
        return rows

    async def _tell(self, batch: Batch) -> None:
        """Have what a decision left waiting picked up, here as far as there are slots, and what it ends heard of."""
        if batch.is_waiting or batch.is_asked:
            await self._scheduler.wake()
        if batch.is_waiting:
            await self.pick_up()

    def _consider(self, batch: Batch, item: Due, row: Sighted, spec: TaskSpec | None, now: datetime) -> None:
        """Sort one due id into the batch: decided, given back, or to be aligned."""
        is_paused = bool(row.pauses) and any(pause.until is None or pause.until > now for pause in row.pauses)
        if spec is None or row.digest != item.digest or is_paused or not spec.is_scheduled:
            batch.stale.add(row.name)
            return
        info = self._children.catalogue.get(spec.task)
        if info is None:
            batch.returns.setdefault(now + NO_TASK, []).append(item)
            return
        if len(batch.fires) >= MOST_FIRES:
            batch.crowded.append(item)
            return
        decision = decide(spec, row.through, now, row.pauses)
        advance = advance_of(item, spec, decision)
        is_limited, is_async = spec.queue in self._limits, is_async_call(spec, info)
        starting = 0 if is_limited else sum([not fire.waits for fire in decision.fires])
        has_slot = starting <= batch.free[is_async]
        # What needs a process waits its turn in PostgreSQL: of thousands that are due, only a few ever find one free.
        if not has_slot and is_async and row.name not in batch.busy:
            batch.returns.setdefault(batch.no_slot_until, []).append(item)
            return
        batch.advances[row.name] = advance
        if not decision.is_empty:
            batch.items[row.name], batch.rows[row.name] = item, row
            batch.free[is_async] -= starting if has_slot else 0
            is_remembered = item.config_id in batch.remembered
            move = Move(row.name, row.digest, row.through, decision.through, row.revision, is_remembered)
            batch.moves.append(move)
            batch.skips += decision.skips
            for fire in decision.fires:
                wanted = wanted_of(row, spec, fire, is_limited or not has_slot)
                batch.fires.append(wanted)
                if not wanted.waits:
                    batch.runs.append(Run(claim_of(row, wanted), spec, is_async))

    async def _carry_out(self, batch: Batch) -> list[Due]:
        """Write it, in PostgreSQL and then in Redis; returns what was decided from memory and has been overtaken."""
        overtaken: list[Due] = []
        if batch.moves:
            moved = await self._own(batch)
            back: list[Due] = []
            for move in batch.moves:
                item = batch.items[move.name]
                if move.name in moved:
                    following = batch.advances[move.name].next_run
                    self._remembered.keep(batch.rows[move.name], move.through, following)
                    continue
                del batch.advances[move.name]
                if move.is_remembered:
                    overtaken.append(item)
                    continue
                # Perhaps only its cursor was locked for a moment, and then there is nothing to align.
                batch.stale.add(move.name)
                back.append(item)
            if back:
                batch.returns.setdefault(self._clock.now() + NO_SLOT, []).extend(back)
        if batch.advances:
            await self._scheduler.advance(list(batch.advances.values()))
        for score, items in batch.returns.items():
            await self._scheduler.give_back(items, score)
        await self._scheduler.give_back(batch.crowded)
        if batch.stale:
            await self.align(sorted(batch.stale))
        return overtaken

    async def _own(self, batch: Batch) -> set[str]:
        """Write the decision and start what it won; returns the names whose cursor moved."""
        self._uncertain = {run.claim.token: run for run in batch.runs}
        decided = await claims.decide(self._link, self._runner_id, batch.moves, batch.fires, batch.skips)
        self._uncertain = {}
        failpoint("after-claim")
        self._start([run for run in batch.runs if run.claim.token in decided.won])
        batch.is_waiting, batch.is_asked = decided.is_waiting, decided.is_asked
        if self._figures:
            self._figures.looked(len(decided.won), decided.skipped)
        return decided.moved

    def _tell_fault(self, text: str, error: Exception) -> None:
        if text not in self._faulty:
            self._faulty.add(text)
            log.error("%s", text, exc_info=error)

    def _start(self, runs: Iterable[Run]) -> None:
        if calls := self._running.begin(runs):
            self._children.submit(calls)

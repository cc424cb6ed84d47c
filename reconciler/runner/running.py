"""The runs under way in this runner, and what becomes of their outcomes: a row, or a claim handed back for a retry.

Results wait here, in memory, until PostgreSQL has them; a claim that another runner has taken over writes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from reconciler.db import finishing
from reconciler.db.claimrows import Claim, Returned
from reconciler.db.link import Link
from reconciler.errors import StoreUnavailable
from reconciler.execute import Call, Outcome, create_execution_record
from reconciler.occurrences import again_at
from reconciler.runner.clock import Clock
from reconciler.runner.patience import is_passing, within
from reconciler.spec import TaskSpec

log = logging.getLogger("reconciler.runner")

BATCH = 1000
# Results unwritten for each slot before nothing more is taken: memory stays bounded through an outage.
BACKLOG = 4
# More lines than this at once say less than their sum.
LINES = 20


@dataclass(frozen=True, slots=True)
class Run:
    """One owned occurrence with the spec it was decided by."""

    claim: Claim
    spec: TaskSpec
    is_async: bool

    @property
    def attempt(self) -> int:
        return len(self.claim.attempts) + 1

    def call(self) -> Call:
        claim, spec = self.claim, self.spec
        return Call(
            id=str(claim.token),
            name=claim.name,
            task=spec.task,
            params={**spec.params, **(claim.params or {})},
            scheduled_for=claim.replays or claim.scheduled_for,
            attempt=self.attempt,
            trigger=claim.trigger,
            idempotency_key=f"{claim.name}@{claim.scheduled_for.isoformat()}",
            revision=claim.revision,
            timeout=spec.timeout.total_seconds() if spec.timeout else None,
        )


@dataclass(frozen=True, slots=True)
class Finished:
    """A final row on its way to PostgreSQL."""

    token: UUID
    record: dict[str, Any]


class Running:
    """What this runner holds: runs under way by token, and results that are not written yet.

    `slots` says how many async and how many sync runs may be under way; `stir` is set when one became free.
    """

    def __init__(self, clock: Clock, runner: str, slots: Mapping[bool, int], stir: asyncio.Event) -> None:
        self.clock = clock
        self.runner = runner
        self.runs: dict[str, Run] = {}
        self._slots = slots
        self._used = {True: 0, False: 0}
        self._stir = stir
        self._results: list[Finished | Returned] = []
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self.runs)

    def free(self, is_async: bool) -> int:
        """How many more runs of this kind may start; none while results pile up unwritten."""
        if len(self._results) > BACKLOG * sum(self._slots.values()):
            return 0
        return self._slots[is_async] - self._used[is_async]

    def held(self) -> set[UUID]:
        """Every token that is not yet let go of."""
        return {run.claim.token for run in self.runs.values()} | {result.token for result in self._results}

    def begin(self, runs: Iterable[Run]) -> list[Call]:
        """Take these on; returns the calls to make."""
        started = {str(run.claim.token): run for run in runs}
        for run in started.values():
            self._used[run.is_async] += 1
        self.runs.update(started)
        return [run.call() for run in started.values()]

    def settle(self, outcomes: Sequence[tuple[str, Outcome]]) -> None:
        """Take outcomes in: a final row each, or waiting work where attempts are left or nothing was started."""
        lines = len(outcomes) <= LINES
        for call_id, outcome in outcomes:
            run = self.runs.pop(call_id, None)
            if run is not None:
                self._used[run.is_async] -= 1
                self._results.append(self._honest(run, outcome, lines))
        if not lines:
            good = sum(outcome.is_success for _, outcome in outcomes)
            log.info("%d runs succeeded, %d failed", good, len(outcomes) - good)
        self._arrived.set()
        self._stir.set()

    def lose(self, run: Run, why: str, runner: str) -> None:
        """Count a run that the death of another runner cut short as a failed attempt of that runner's."""
        now = time.monotonic()
        started = self.clock.monotonic(run.claim.started_at) if run.claim.started_at else now
        self._results.append(self._result(run, Outcome(False, started, now, why), True, runner))
        self._arrived.set()

    async def write_out(self, link: Link, patience: float) -> None:
        """Write results as they come, for as long as this is not cancelled; an outage only makes them wait."""
        away = ""
        while True:
            await self._arrived.wait()
            try:
                await self.flush(link, patience)
                away = ""
            except (StoreUnavailable, psycopg.Error) as error:
                if str(error) != away:
                    away = str(error)
                    log.warning("%s; %d results are kept until they can be written", away, len(self._results))
                await asyncio.sleep(min(1.0, patience))

    async def flush(self, link: Link, patience: float) -> None:
        """Write everything that has arrived; an error (StoreUnavailable, psycopg's) leaves what is not written."""
        while self._results:
            batch = self._results[:BATCH]
            async with within(patience):
                await self._write(link, batch)
            del self._results[: len(batch)]
        self._arrived.clear()
        self._stir.set()

    async def _write(self, link: Link, batch: list[Finished | Returned]) -> None:
        finished = [result for result in batch if isinstance(result, Finished)]
        returned = [result for result in batch if isinstance(result, Returned)]
        if finished:
            await self._finish(link, finished)
        if returned:
            await finishing.hand_back(link, returned)

    async def _finish(self, link: Link, batch: list[Finished]) -> None:
        """One statement for the batch; where the server refuses it, halves, until the bad row stands alone."""
        try:
            written = await finishing.finish(link, [result.record for result in batch])
        except psycopg.Error as error:
            if is_passing(error):
                raise
            if len(batch) > 1:
                await self._finish(link, batch[: len(batch) // 2])
                await self._finish(link, batch[len(batch) // 2 :])
            elif "could not be stored" not in (batch[0].record["error"] or ""):
                await self._finish(link, [_unstorable(batch[0], error)])
            else:
                raise
            return
        for result in batch:
            if result.token not in written:
                log.warning("%s: result dropped: another runner has taken it over", result.record["name"])

    def _honest(self, run: Run, outcome: Outcome, say: bool) -> Finished | Returned:
        """The result; an outcome that makes none is a failed one, and never costs what came with it."""
        try:
            return self._result(run, outcome, say)
        except Exception as error:
            log.error("%s: its outcome makes no row", run.claim.name, exc_info=error)
            what, now = f"its outcome could not be recorded: {type(error).__name__}", time.monotonic()
            return self._result(run, Outcome(False, now, now, what), say)

    def _result(self, run: Run, outcome: Outcome, say: bool, runner: str | None = None) -> Finished | Returned:
        """What becomes of an outcome; `runner` is who ran it, if it was not this one."""
        claim, now, runner = run.claim, self.clock.now(), runner or self.runner
        if not outcome.is_started:
            return Returned(claim.name, claim.scheduled_for, claim.token, now, claim.attempts)
        again = None
        if not outcome.is_success:
            again = again_at(run.spec.retries, claim.name, claim.scheduled_for, run.attempt, now)
        if say:
            _say(run, outcome, again)
        if again is not None:
            attempts = [*claim.attempts, self._attempt(run, outcome, runner)]
            return Returned(claim.name, claim.scheduled_for, claim.token, again, attempts)
        record = create_execution_record(
            run.call(),
            outcome,
            at=self.clock.at,
            digest=claim.digest,
            attempts=claim.attempts,
            replays=claim.replays,
            runner=runner,
            token=claim.token,
        )
        return Finished(claim.token, {**record, "scheduled_for": claim.scheduled_for})

    def _attempt(self, run: Run, outcome: Outcome, runner: str) -> dict[str, Any]:
        return {
            "attempt": run.attempt,
            "started_at": _utc(self.clock.at(outcome.started_at)),
            "finished_at": _utc(self.clock.at(outcome.finished_at)),
            "error": outcome.error,
            "runner": runner,
        }


def _utc(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _say(run: Run, outcome: Outcome, again: datetime | None) -> None:
    seconds = outcome.finished_at - outcome.started_at
    took = "<1 ms" if seconds < 0.0005 else f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
    if outcome.is_success:
        log.info("%s: succeeded in %s", run.claim.name, took)
        return
    tries = run.spec.retries.attempts
    which = f" (attempt {run.attempt} of {tries})" if tries > 1 else ""
    then = f"; again at {again:%H:%M:%S} UTC" if again else ""
    log.warning("%s: failed in %s%s: %s%s", run.claim.name, took, which, outcome.error, then)


def _unstorable(result: Finished, error: psycopg.Error) -> Finished:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    dropped: dict[str, Any] = {"result": None, "log": None, "traceback": None, "attempts": []}
    text = f"its result could not be stored: {reason}".encode("ascii", "replace").decode().replace("\x00", "")
    return Finished(result.token, {**result.record, **dropped, "is_success": False, "error": text})

"""The runs under way in this runner, and what becomes of their outcomes: a row, or a claim handed back for a retry.

What is decided here waits in `results` until PostgreSQL has it. Who calls the functions is no affair of this module:
it says which calls are to be made, and takes in what came of them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from reconciler.attempts import Attempt, Limit, after_failure, begun_at, limit_of
from reconciler.db.claimrows import Claim, Returned
from reconciler.db.link import Link
from reconciler.execute import Call, Outcome, create_execution_record, failed
from reconciler.execute.calling import timed_out
from reconciler.runner.clock import Clock
from reconciler.runner.results import Finished, Results
from reconciler.spec import TaskSpec

log = logging.getLogger("reconciler.runner")

# Results unwritten for each slot before nothing more is taken: memory stays bounded through an outage.
BACKLOG = 4
# More lines than this at once say less than their sum.
LINES = 20
NO_LIMIT = Limit(None)


class Run(NamedTuple):
    """One owned occurrence with the spec it was decided by."""

    claim: Claim
    spec: TaskSpec
    is_async: bool

    @property
    def attempt(self) -> int:
        return len(self.claim.attempts) + 1

    def attempt_at(self, now: datetime) -> Attempt:
        """The same for the rules; `now` is when it started."""
        claim = self.claim
        begun = begun_at(claim.attempts, claim.started_at or now)
        return Attempt(claim.name, claim.scheduled_for, self.attempt, claim.trigger, begun)

    def limit(self, now: datetime) -> Limit:
        """How long this attempt may take, begun at `now`."""
        spec = self.spec
        if spec.deadline.finish is None:  # nearly all of them, and this is asked for each run
            return NO_LIMIT if spec.timeout is None else Limit(spec.timeout.total_seconds())
        return limit_of(spec, self.attempt_at(now), now)

    def call(self, timeout: float | None = None) -> Call:
        claim, spec = self.claim, self.spec
        return Call(
            str(claim.token),
            claim.name,
            spec.task,
            {**spec.params, **claim.params} if claim.params else spec.params,
            claim.replays or claim.scheduled_for,
            len(claim.attempts) + 1,
            claim.trigger,
            f"{claim.name}@{claim.scheduled_for.isoformat()}",
            claim.revision,
            timeout,
            spec.memory_limit,
            follow=claim.follow,
        )


class Running:
    """What this runner holds: runs under way by token, and results that are not written yet.

    `slots` says how many async and how many sync runs may be under way; `stir` is set when one became free.
    `wants_context` says of a task whether its calls need to know what ran before: such runs wait in `wanting` until
    whoever reads that submits them, and `wanted` is set when there are any.
    """

    def __init__(
        self,
        clock: Clock,
        runner: str,
        slots: Mapping[bool, int],
        stir: asyncio.Event,
        wants_context: Callable[[str], bool] = lambda task: False,
    ) -> None:
        self.clock = clock
        self.runner = runner
        self.runs: dict[str, Run] = {}
        self.results = Results(stir)
        self.wanting: dict[str, Call] = {}
        self.wanted = asyncio.Event()
        self._wants_context = wants_context
        self._slots = slots
        self._used = {True: 0, False: 0}
        self._stir = stir
        self._bounds: dict[str, Limit] = {}  # of calls that `deadline.finish` leaves less time than `timeout`
        self._ended: set[str] = set()

    def __len__(self) -> int:
        return len(self.runs)

    def free(self, is_async: bool) -> int:
        """How many more runs of this kind may start; none while results pile up unwritten."""
        if len(self.results) > BACKLOG * sum(self._slots.values()):
            return 0
        return self._slots[is_async] - self._used[is_async]

    def held(self) -> set[UUID]:
        """Every token that is not yet let go of."""
        return {run.claim.token for run in self.runs.values()} | self.results.tokens()

    def begin(self, runs: Iterable[Run]) -> list[Call]:
        """Take these on; returns the calls to make at once. What is too late to begin has failed instead."""
        calls, now = [], self.clock.now()
        for run in runs:
            limit = run.limit(now)
            if limit.because and (limit.seconds or 0) <= 0:
                self.results.add(self._honest(run, failed(limit.because), True, False))
                continue
            call = run.call(limit.seconds)
            self.runs[call.id] = run
            self._used[run.is_async] += 1
            if limit.because:
                self._bounds[call.id] = limit
            if self._wants_context(run.spec.task):
                self.wanting[call.id] = call
                self.wanted.set()
            else:
                calls.append(call)
        return calls

    def settle(self, outcomes: Sequence[tuple[str, Outcome]]) -> None:
        """Take outcomes in: a final row each, or waiting work where attempts are left or nothing was started."""
        lines = len(outcomes) <= LINES
        for call_id, outcome in outcomes:
            run = self.runs.pop(call_id, None)
            if run is None:
                continue
            self._used[run.is_async] -= 1
            self.wanting.pop(call_id, None)
            is_ended = call_id in self._ended
            self._ended.discard(call_id)
            if bound := self._bounds.pop(call_id, None):
                outcome = _explained(outcome, bound)
            self.results.add(self._honest(run, outcome, lines, is_ended))
        if not lines:
            good = sum(outcome.is_success for _, outcome in outcomes)
            log.info("%d runs succeeded, %d failed", good, len(outcomes) - good)
        self._stir.set()

    def end(self, call_id: str) -> None:
        """Somebody wants this run to be over: should it fail, it is not tried again."""
        if call_id in self.runs:
            self._ended.add(call_id)

    def refuse(self, run: Run, why: str) -> None:
        """Fail an owned claim that is not to be called: its final row says `why`, earlier attempts are kept."""
        self.results.add(self._honest(run, failed(why), True, True))
        self._stir.set()

    def lose(self, run: Run, why: str, runner: str) -> None:
        """Count a run that the death of another runner cut short as a failed attempt of that runner's."""
        now, asked = time.monotonic(), run.claim.cancel_requested
        started = self.clock.monotonic(run.claim.started_at) if run.claim.started_at else now
        outcome = Outcome(False, started, now, asked or why)
        self.results.add(self._result(run, outcome, True, bool(asked), runner))

    async def write_out(self, link: Link, patience: float) -> None:
        """`Results.write_out`."""
        await self.results.write_out(link, patience)

    async def flush(self, link: Link, patience: float) -> None:
        """`Results.flush`."""
        await self.results.flush(link, patience)

    def _honest(self, run: Run, outcome: Outcome, say: bool, is_ended: bool) -> Finished | Returned:
        """The result; an outcome that makes none is a failed one, and never costs what came with it."""
        try:
            return self._result(run, outcome, say, is_ended)
        except Exception as error:
            log.error("%s: its outcome makes no row", run.claim.name, exc_info=error)
            what, now = f"its outcome could not be recorded: {type(error).__name__}", time.monotonic()
            return self._result(run, Outcome(False, now, now, what), say, is_ended)

    def _result(
        self, run: Run, outcome: Outcome, say: bool, is_ended: bool, runner: str | None = None
    ) -> Finished | Returned:
        """What becomes of an outcome; `is_ended`: for good. `runner` is who ran it, if it was not this one."""
        claim, runner = run.claim, runner or self.runner
        if not outcome.is_started:
            return Returned(claim.name, claim.scheduled_for, claim.token, self.clock.now(), claim.attempts)
        again = None
        if not outcome.is_success and not is_ended:
            attempt = run.attempt_at(self.clock.at(outcome.started_at))
            again = after_failure(
                run.spec, attempt, self.clock.now(), kinds=outcome.kinds, retry_after=outcome.retry_after
            )
        if say:
            _say(run, outcome, again)
        if again is not None:
            attempts = [*claim.attempts, self._attempt(run, outcome, runner)]
            return Returned(claim.name, claim.scheduled_for, claim.token, again, attempts)
        record = create_execution_record(
            claim,
            outcome,
            at=self.clock.at,
            digest=claim.digest,
            attempts=claim.attempts,
            replays=claim.replays,
            runner=runner,
            token=claim.token,
        )
        return Finished(claim.token, record, _is_told(run, outcome, is_ended))

    def _attempt(self, run: Run, outcome: Outcome, runner: str) -> dict[str, Any]:
        return {
            "attempt": run.attempt,
            "started_at": _utc(self.clock.at(outcome.started_at)),
            "finished_at": _utc(self.clock.at(outcome.finished_at)),
            "error": outcome.error,
            "runner": runner,
        }


def _is_told(run: Run, outcome: Outcome, is_ended: bool) -> bool:
    """Whether incidents are opened or closed by this: not for what a person ended, nor for old instants made up."""
    if run.spec.notify is None:
        return False
    return outcome.is_success or not (is_ended or run.claim.trigger == "backfill")


def _explained(outcome: Outcome, bound: Limit) -> Outcome:
    """A time-out that came of the deadline says so."""
    usual = timed_out(bound.seconds) if bound.seconds is not None else None
    if usual is None or outcome.is_success or not (outcome.error or "").startswith(usual):
        return outcome
    return outcome._replace(error=f"{bound.because}{(outcome.error or '').removeprefix(usual)}")


def _utc(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _say(run: Run, outcome: Outcome, again: datetime | None) -> None:
    if outcome.is_success and not log.isEnabledFor(logging.INFO):
        return
    seconds = outcome.finished_at - outcome.started_at
    took = "<1 ms" if seconds < 0.0005 else f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
    if outcome.is_success:
        log.info("%s: succeeded in %s", run.claim.name, took)
        return
    tries = run.spec.retries.attempts
    which = f" (attempt {run.attempt} of {tries})" if tries > 1 else ""
    then = f"; again at {again:%H:%M:%S} UTC" if again else ""
    log.warning("%s: failed in %s%s: %s%s", run.claim.name, took, which, outcome.error, then)

"""Is this service well? Each part that matters is asked, and says yes or why not.

It looks at the process itself (its loops tick, its children live) and at the two stores. It mends nothing. A broken
spec is a warning and no reason to turn away from the service: what is in force goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import psycopg

from reconciler.db import schema
from reconciler.db.link import Link
from reconciler.errors import ReconcilerError
from reconciler.scheduler import RedisServiceManager
from reconciler.settings import Settings, SourceSettings

if TYPE_CHECKING:
    from reconciler.runner import Runner
    from reconciler.sync.reconcile import Pass

PATIENCE = 2.0
# A pass may take its time; three intervals and this without one is no longer slow.
PASS_GRACE = 30.0

State = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Check:
    """What one part says of itself; `reason` in one line where it is not all well."""

    state: State
    reason: str = ""


OK = Check("ok")


@dataclass(frozen=True, slots=True)
class LastPass:
    """The last pass over a source: when it ended (monotonic), how long it took, and what was wrong with it."""

    at: float
    seconds: float
    problem: str = ""


class Vitals:
    """What is known of the service in this process; `runner` None: it has none. Holds a connection of its own."""

    def __init__(
        self, settings: Settings, link: Link, redis: RedisServiceManager, runner: Runner | None, *, syncs: bool
    ) -> None:
        self.settings = settings
        self.runner = runner
        self.link = link
        self.began = time.monotonic()
        self.passes: dict[str, LastPass] = {}
        self.sources = settings.sources if syncs else ()
        self._redis = redis

    def passed(self, source: SourceSettings, outcome: Pass | None, seconds: float) -> None:
        """A pass has ended; None: it came to nothing, and the log says why."""
        self.passes[source.name] = LastPass(time.monotonic(), seconds, _problem(outcome))

    async def checks(self) -> dict[str, Check]:
        """Every part by name."""
        postgresql, redis = await asyncio.gather(_asked(self._postgresql()), _asked(self._answers()))
        found = {"postgresql": postgresql, "redis": redis}
        for source in self.sources:
            found["sync" if len(self.sources) == 1 else f"sync:{source.name}"] = self._sync(source)
        if self.runner is not None:
            found |= _runner_checks(self.runner)
        return found

    async def is_well(self) -> bool:
        """Whether nothing failed."""
        return all(check.state != "failed" for check in (await self.checks()).values())

    async def _postgresql(self) -> Check:
        difference = schema.difference_of(await schema.current_revision(self.link))
        return Check("failed", f"postgresql: {difference}") if difference else OK

    async def _answers(self) -> Check:
        await self._redis.connect()
        return OK

    def _sync(self, source: SourceSettings) -> Check:
        last = self.passes.get(source.name)
        longest = 3 * source.interval.total_seconds() + PASS_GRACE
        if last is None:
            waited = time.monotonic() - self.began
            return Check("failed", f"no pass has ended yet, {waited:.0f} s after the start")
        if (age := time.monotonic() - last.at) > longest:
            return Check("failed", f"no pass has ended for {age:.0f} s, at an interval of {longest:.0f} s at most")
        return Check("warning", last.problem) if last.problem else OK


def _runner_checks(runner: Runner) -> dict[str, Check]:
    lease, figures = runner.settings.lease.total_seconds(), runner.figures
    ticked, beaten = figures.control_age, figures.beat_age
    found = {"control": OK, "beat": OK, "children": OK}
    if ticked is None:
        found["control"] = Check("failed", "the runner has not begun yet")
    elif ticked > lease / 2:
        found["control"] = Check("failed", f"the control loop has not ticked for {ticked:.1f} s")
    if beaten is not None and beaten > lease:
        found["beat"] = Check("failed", f"no beat has come through for {beaten:.0f} s, longer than the lease")
    if not runner.children.is_there:
        found["children"] = Check("failed", "no process for tasks is there, or one is just starting")
    elif runner.children.faults:
        found["children"] = Check("warning", runner.children.faults[0])
    return found


async def _asked(work: Awaitable[Check]) -> Check:
    try:
        async with asyncio.timeout(PATIENCE):
            return await work
    except TimeoutError:
        return Check("failed", f"no answer within {PATIENCE:g} s")
    except ReconcilerError as error:
        return Check("failed", str(error))
    except psycopg.Error as error:
        return Check("failed", " ".join(str(error).split()))


def _problem(outcome: Pass | None) -> str:
    if outcome is None:
        return "the last pass came to nothing: see the log"
    if outcome.faults:
        more = f" (and {len(outcome.faults) - 1} more)" if len(outcome.faults) > 1 else ""
        return f"{outcome.faults[0]}{more}; what was in force stays"
    refusals = outcome.plan.refusals if outcome.plan else ()
    return outcome.trouble or (refusals[0].text if refusals else "")

"""One source, pass after pass: when it is looked at again, and what is said about it.

One pass at a time, each comparing everything afresh; what changes meanwhile leads to one more. Whatever fails leaves
the last good state in force, and a fresh edit is never kept waiting by it.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import uniform
from typing import Final

from reconciler.align import look_ahead
from reconciler.db.link import Link
from reconciler.errors import ReconcilerError, StoreUnavailable
from reconciler.scheduler import SchedulerService
from reconciler.settings import Settings, SourceSettings
from reconciler.specfiles.reader import ReaderProcess
from reconciler.sync.answering import Came, answer_of
from reconciler.sync.backoff import Backoff
from reconciler.sync.notices import Notices
from reconciler.sync.options import options_of
from reconciler.sync.reading import Reading, Shared, SourceReader
from reconciler.sync.reconcile import Pass, Request, reconcile, record_failure

MANY: Final = 1000
# Passes of several services drift apart, so that they do not always meet at the lock.
SPREAD: Final = (0.9, 1.1)


@dataclass(frozen=True, slots=True)
class Loop:
    """What the passes work with. `on_code_change` is awaited when task code was saved, with `watch` only.

    `on_turn` hears of every pass, with the seconds that it took, also where it came to nothing (None).
    `allow_rewind`: directories may stand at any commit; repositories follow their own setting.
    """

    settings: Settings
    link: Link
    scheduler: SchedulerService
    watch: bool = False
    actor: str = "service"
    allow_rewind: bool = False
    on_code_change: Callable[[], Awaitable[None]] | None = None
    on_pass: Callable[[SourceSettings, Pass], None] | None = None
    on_turn: Callable[[SourceSettings, Pass | None, float], None] | None = None


class FollowedSource:
    """A source of a running loop. `process` reads its specs, `shared` says whose turn it is."""

    def __init__(self, loop: Loop, source: SourceSettings, process: ReaderProcess, shared: Shared) -> None:
        self.name = source.name
        self.reader = SourceReader(source, loop.settings, process, shared, loop.link)
        self._loop, self._source, self._shared = loop, source, shared
        allowed = loop.allow_rewind and source.repo is None and source.rewind != "allow"
        self._options = options_of(source, **_by_flag() if allowed else {})
        self._wanted = asyncio.Event()
        self._is_fresh = False
        self._tokens: list[str] = []
        self._backoff = Backoff()
        self._is_frozen = False
        self._notices = Notices(source.name if len(loop.settings.sources) > 1 else "")

    def want(self, token: str = "") -> None:
        """Make a pass at once, or one more after that under way; whoever gave a token hears what it came to."""
        if token:
            self._tokens.append(token)
        self._wanted.set()

    async def run(self) -> None:
        """Until cancelled; nothing that fails ends it."""
        while True:
            self._is_fresh = self._wanted.is_set()
            self._wanted.clear()
            tokens, self._tokens = self._tokens, []
            began = time.monotonic()
            came = await self._came()
            if self._loop.on_turn:
                self._loop.on_turn(self._source, came.outcome, time.monotonic() - began)
            if came.is_busy:
                self._tokens = tokens + self._tokens
            else:
                await self._answer(tokens, came)
            rest = self._rest(came) * uniform(*SPREAD)
            with suppress(TimeoutError):
                async with asyncio.timeout(rest.total_seconds()):
                    await self._wanted.wait()

    def _rest(self, came: Came) -> timedelta:
        """The interval, or less after what may go better by itself."""
        if not came.passing:
            self._backoff.succeeded(came.revision.label)
            return self._source.interval
        return self._backoff.failed(came.revision.label, came.passing, datetime.now(UTC), self._source.interval)

    async def _came(self) -> Came:
        reading = Reading()
        try:
            reading = await self._read()
            async with self._shared.applying.taken(self._is_urgent):
                outcome = await self._passed(reading)
        except StoreUnavailable as error:
            self._notices.postgresql_away(str(error))
            return Came(reading.revision, error=str(error))
        except ReconcilerError as error:
            self._notices.faults([str(error)])
            return Came(reading.revision, error=str(error))
        except Exception as error:
            self._notices.failed(error)
            return Came(reading.revision, error=f"{type(error).__name__}: {error}")
        self._keep_from_collector(outcome)
        if outcome and self._loop.on_pass:
            self._loop.on_pass(self._source, outcome)
        return Came(reading.revision, outcome, reading.error)

    async def _read(self) -> Reading:
        """What the source says. Redis is compared meanwhile, unless it is to be written as soon as can be."""
        if self._is_fresh:
            return await self.reader.read(self._is_urgent)
        ahead = asyncio.ensure_future(look_ahead(self._loop.scheduler))
        try:
            reading = await self.reader.read(self._is_urgent)
            await ahead
            return reading
        finally:
            ahead.cancel()

    def _is_urgent(self) -> bool:
        return self._is_fresh or self._wanted.is_set()

    async def _passed(self, reading: Reading) -> Pass | None:
        """None: the source could not be read, which is noted and never taken for an empty one."""
        loop = self._loop
        request = Request(self._options, loop.actor, reading.revision, self.reader.origin, waits=False)
        self._notices.source([reading.error] if reading.is_away else [])
        if reading.specs is None:
            if not reading.is_away:
                self._notices.faults([reading.error])
            await record_failure(loop.link, request, reading.error)
            return None
        self._notices.warnings(map(str, reading.specs.warnings))
        outcome = await reconcile(reading.specs, loop.link, loop.scheduler, request)
        self._notices.passed(outcome, reading.revision)
        return outcome

    async def _answer(self, tokens: list[str], came: Came) -> None:
        if tokens:
            with suppress(StoreUnavailable):  # whoever waits looks in PostgreSQL, too
                await self._loop.scheduler.syncing.answer(answer_of(self.name, tokens, came))

    def _keep_from_collector(self, outcome: Pass | None) -> None:
        # Specs live long. Walked by the collector again and again they would hold up whatever runs beside this, a
        # tenth of a second with 10,000 of them; what is garbage by now is kept for it, so this is done seldom.
        if outcome and outcome.plan and (not self._is_frozen or len(outcome.plan.changes) >= MANY):
            gc.freeze()
            self._is_frozen = True


def _by_flag() -> dict[str, object]:
    return {"allow_rewind": True, "reason": "by --allow-rewind"}

"""Pass after pass: when is a source looked at again, and what is said about it?

One pass of a source at a time, each comparing everything afresh; what changes meanwhile leads to one more. It knows no
rule of its own: `reconcile` applies, and whatever fails leaves the last good state in force.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import uniform
from typing import Final

from reconciler.db.link import Link
from reconciler.errors import ReconcilerError, StoreUnavailable
from reconciler.gitrepo import revision_of
from reconciler.plan.guards import Options
from reconciler.scheduler import SchedulerService
from reconciler.settings import Settings, SourceSettings
from reconciler.spec.specset import SpecSet
from reconciler.specfiles import Outside
from reconciler.specfiles.reader import ReaderProcess
from reconciler.sync.notices import Notices
from reconciler.sync.reconcile import Pass, Request, reconcile, record_failure
from reconciler.sync.watching import changes

log = logging.getLogger("reconciler.loop")
FIRST_RETRY: Final = timedelta(milliseconds=500)
MANY: Final = 1000
# Passes of several services drift apart, so that they do not always meet at the lock.
SPREAD: Final = (0.9, 1.1)


@dataclass(frozen=True, slots=True)
class Loop:
    """What the passes work with. `on_code_change` is awaited when task code was saved, with `watch` only.

    `on_turn` hears of every pass, with the seconds that it took, also where it came to nothing (None).
    """

    settings: Settings
    link: Link
    scheduler: SchedulerService
    watch: bool = False
    actor: str = "service"
    on_code_change: Callable[[], Awaitable[None]] | None = None
    on_pass: Callable[[SourceSettings, Pass], None] | None = None
    on_turn: Callable[[SourceSettings, Pass | None, float], None] | None = None


async def sync_loop(loop: Loop) -> None:
    """Keep both stores at what every source says, until cancelled. Nothing that fails on the way ends it."""
    sources = [_Source(loop, source) for source in loop.settings.sources]
    try:
        async with asyncio.TaskGroup() as tasks:
            for source in sources:
                tasks.create_task(source.run())
                if loop.watch:
                    tasks.create_task(_look_at_once(source))
            if loop.watch:
                _watch_code(tasks, loop, sources)
    finally:
        await asyncio.gather(*(source.reader.close() for source in sources))


class _Source:
    """One source: its reader, and what was last said about it."""

    def __init__(self, loop: Loop, source: SourceSettings) -> None:
        self.reader = ReaderProcess()
        self.root = loop.settings.directory / source.path
        self.is_wanted = asyncio.Event()
        self._loop = loop
        self._source = source
        self._failures = 0
        self._is_frozen = False
        self._outcome: Pass | None = None
        self._notices = Notices(source.name if len(loop.settings.sources) > 1 else "")

    async def run(self) -> None:
        while True:
            self.is_wanted.clear()
            began, self._outcome = time.monotonic(), None
            self._failures = 0 if await self._pass() else self._failures + 1
            if self._loop.on_turn:
                self._loop.on_turn(self._source, self._outcome, time.monotonic() - began)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rest().total_seconds()):
                    await self.is_wanted.wait()

    def _rest(self) -> timedelta:
        rest = self._source.interval
        if self._failures:
            rest = min(rest, FIRST_RETRY * 2 ** min(self._failures - 1, 16))
        return rest * uniform(*SPREAD)

    async def _pass(self) -> bool:
        """One pass; False where it is to be tried again sooner than at the interval."""
        try:
            outcome = self._outcome = await self._reconciled()
        except StoreUnavailable as error:
            self._notices.postgresql_away(str(error))
            return False
        except ReconcilerError as error:
            self._notices.faults([str(error)])
            return False
        except Exception as error:
            self._notices.failed(error)
            return False
        self._keep_from_collector(outcome)
        if outcome and self._loop.on_pass:
            self._loop.on_pass(self._source, outcome)
        return outcome is None or outcome.trouble is None

    def _keep_from_collector(self, outcome: Pass | None) -> None:
        # Specs live long. Walked by the collector again and again they would hold up whatever runs beside this, a
        # tenth of a second with 10,000 of them; what is garbage by now is kept for it, so this is done seldom.
        if outcome and outcome.plan and (not self._is_frozen or len(outcome.plan.changes) >= MANY):
            gc.freeze()
            self._is_frozen = True

    async def _reconciled(self) -> Pass | None:
        """None: the source could not be read, which is noted and never taken for an empty one."""
        loop, settings = self._loop, self._loop.settings
        asking = asyncio.create_task(asyncio.to_thread(revision_of, self.root))
        read: SpecSet | str
        try:
            outside = Outside(frozenset(settings.notify.targets), len(settings.sources) > 1)
            read = await self.reader.read(
                self.root, settings.environment, settings.task_modules, settings.directory, outside
            )
        except ReconcilerError as error:
            read = str(error)
        options = Options(self._source.name, self._source.prune, self._source.max_prune)
        request = Request(options, loop.actor, await asking, waits=False)
        if isinstance(read, str):
            self._notices.faults([read])
            await record_failure(loop.link, request, read)
            return None
        self._notices.warnings(map(str, read.warnings))
        outcome = await reconcile(read, loop.link, loop.scheduler, request)
        self._notices.passed(outcome, request.revision)
        return outcome


async def _look_at_once(source: _Source) -> None:
    async for _ in changes(source.root):
        source.is_wanted.set()


def _watch_code(tasks: asyncio.TaskGroup, loop: Loop, sources: list[_Source]) -> None:
    is_changed = asyncio.Event()

    async def notice(path: Path) -> None:
        async for _ in changes(path):
            is_changed.set()

    async def follow() -> None:
        while True:
            await is_changed.wait()
            is_changed.clear()
            for source in sources:
                await source.reader.restart()
                source.is_wanted.set()
            if loop.on_code_change:
                try:
                    await loop.on_code_change()
                except ReconcilerError as error:
                    log.error("%s; what starts goes on with the code of before", error)
                except Exception as error:
                    log.error("task modules were saved and could not be taken over", exc_info=error)

    for path in code_paths(loop.settings):
        tasks.create_task(notice(path))
    tasks.create_task(follow())


def code_paths(settings: Settings) -> list[Path]:
    """Where the task modules of this directory are, or will be: packages and single files."""
    return sorted(
        {
            package if package.is_dir() or not package.with_suffix(".py").is_file() else package.with_suffix(".py")
            for module in settings.task_modules
            for package in [settings.directory.joinpath(*module.split("."))]
        }
    )

"""What does a source say now: at which revision, and which specs? Both of one moment, or the reason why not.

A directory is read while git leaves it alone; a repository is read from what git has written out as a whole. An error
is an error and never an empty source.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from reconciler.db.link import Link
from reconciler.errors import ReconcilerError, StoreUnavailable
from reconciler.gitrepo import NO_REVISION, Origin, Revision, origin_of
from reconciler.settings import Settings, SourceSettings
from reconciler.spec.specset import SpecSet
from reconciler.specfiles import Outside
from reconciler.specfiles.reader import ReaderProcess
from reconciler.sync.aside import aside, held
from reconciler.sync.borrowing import Borrowing
from reconciler.sync.shown import as_in_repository
from reconciler.sync.stillness import Mark, mark_of
from reconciler.sync.turns import Turns

ROUNDS: Final = 20
REST: Final = 0.25


@dataclass(frozen=True, slots=True)
class Reading:
    """`specs` None: it could not be read, and `error` says why in one line; `is_away`: not even the revision."""

    revision: Revision = NO_REVISION
    specs: SpecSet | None = None
    error: str = ""
    is_away: bool = False


@dataclass(frozen=True, slots=True)
class Shared:
    """What the sources of one service share: so many fetch at once, so many read, and one applies."""

    looking: Turns = field(default_factory=lambda: Turns(8))
    reading: Turns = field(default_factory=lambda: Turns(4))
    applying: Turns = field(default_factory=lambda: Turns(1))


class SourceReader:
    """One source, and how it is read; `root`: what there is to watch, None where it is a repository."""

    def __init__(
        self,
        source: SourceSettings,
        settings: Settings,
        process: ReaderProcess,
        shared: Shared,
        link: Link | None = None,
    ) -> None:
        self.process = process
        self.origin: Origin = origin_of(source, settings.directory)
        self.root = None if source.repo else settings.directory / source.path
        self._settings, self._shared = settings, shared
        self._borrowing = Borrowing(settings, link)
        self._source, self._is_signed = source, source.require_signed is not None
        self._outside = Outside(frozenset(settings.notify.targets), len(settings.sources) > 1)

    async def read(self, is_wanted: Callable[[], bool]) -> Reading:
        """The same specs, as one object, for as long as nothing has changed."""
        return await (self._directory(self.root, is_wanted) if self.root else self._repository(is_wanted))

    async def _repository(self, is_wanted: Callable[[], bool]) -> Reading:
        revision = NO_REVISION
        try:
            async with self._shared.looking.taken(is_wanted):
                revision = await aside(self.origin.look)
            async with self._shared.reading.taken(is_wanted), held(self.origin.opened(revision)) as root:
                return await self._specs(root, revision)
        except ReconcilerError as error:
            return Reading(revision, error=str(error), is_away=True)

    async def _directory(self, root: Path, is_wanted: Callable[[], bool]) -> Reading:
        mark = Mark()
        for _ in range(ROUNDS):
            mark = mark_of(root)
            if mark.lock is None:
                async with self._shared.reading.taken(is_wanted):
                    found = await (self._one_by_one() if self._is_signed else self._both(root))
                if mark_of(root) == mark:
                    return found
            await asyncio.sleep(REST)
        how = f"; if no git runs there, remove {mark.lock}" if mark.lock else ""
        return Reading(error=f"{root}: git is at work there: nothing is applied until it is done{how}", is_away=True)

    async def _one_by_one(self) -> Reading:
        revision = NO_REVISION
        try:
            revision = await aside(self.origin.look)
            async with held(self.origin.opened(revision)) as root:
                return await self._specs(root, revision)
        except ReconcilerError as error:
            return Reading(revision, error=str(error), is_away=True)

    async def _both(self, root: Path) -> Reading:
        """At once: what they say belongs together if git did nothing meanwhile."""
        looking = asyncio.ensure_future(aside(self.origin.look))
        try:
            found = await self._specs(root, NO_REVISION)
        except BaseException:
            looking.cancel()
            raise
        try:
            revision = await looking
        except ReconcilerError as error:
            return Reading(error=str(error), is_away=True)
        return Reading(revision, found.specs, found.error)

    async def _specs(self, root: Path, revision: Revision) -> Reading:
        settings = self._settings
        try:
            catalogue = await self._borrowing.catalogue()
            specs = await self.process.read(
                root, settings.environment, settings.task_modules, settings.directory, self._outside, catalogue
            )
        except StoreUnavailable:
            raise
        except ReconcilerError as error:
            return Reading(revision, error=str(error))
        return Reading(revision, as_in_repository(specs, self._source, root, settings.directory))

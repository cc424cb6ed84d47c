"""Pass after pass over every source, until cancelled: who wants which of them looked at, and when.

Each source goes its own way (`source`); here is what they share: the files that are watched, the calls of `sync-now`,
task code that was saved. It knows no rule of its own: `reconcile` applies.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from reconciler.errors import ReconcilerError
from reconciler.settings import Settings
from reconciler.specfiles.reader import ReaderProcess
from reconciler.sync.reading import Shared
from reconciler.sync.source import FollowedSource, Loop
from reconciler.sync.watching import changes

__all__ = ["Loop", "code_paths", "sync_loop"]

log = logging.getLogger("reconciler.loop")
# Each is a process with the task modules in it; more sources than that share them.
MOST_READERS: Final = 4


async def sync_loop(loop: Loop) -> None:
    """Keep both stores at what every source says, until cancelled. Nothing that fails on the way ends it."""
    settings, shared = loop.settings, Shared()
    readers = [ReaderProcess() for _ in settings.sources[:MOST_READERS]]
    sources = [
        FollowedSource(loop, source, readers[number % len(readers)], shared)
        for number, source in enumerate(settings.sources)
    ]
    try:
        async with asyncio.TaskGroup() as tasks:
            for source in sources:
                tasks.create_task(source.run())
                if loop.watch and source.reader.root:
                    tasks.create_task(_look_at_once(source, source.reader.root))
            tasks.create_task(_heed(loop, sources))
            if loop.watch:
                _watch_code(tasks, loop, sources, readers)
    finally:
        await asyncio.gather(*(reader.close() for reader in readers))


async def _look_at_once(source: FollowedSource, root: Path) -> None:
    async for _ in changes(root):
        source.want()


async def _heed(loop: Loop, sources: Sequence[FollowedSource]) -> None:
    """`sync-now` and hooks, on every service alike; one that is told of a source which it has not got does nothing."""
    is_first = True
    async for wish in loop.scheduler.syncing.wishes():
        if wish is None and not is_first:
            log.debug("redis is back: every source is looked at, for what was asked meanwhile")
        for source in sources:
            if (wish is None and not is_first) or (wish is not None and wish.source in ("", source.name)):
                source.want(wish.token if wish else "")
        is_first = False


def _watch_code(
    tasks: asyncio.TaskGroup, loop: Loop, sources: Sequence[FollowedSource], readers: Sequence[ReaderProcess]
) -> None:
    is_changed = asyncio.Event()

    async def notice(path: Path) -> None:
        async for _ in changes(path):
            is_changed.set()

    async def follow() -> None:
        while True:
            await is_changed.wait()
            is_changed.clear()
            for reader in readers:
                await reader.restart()
            for source in sources:
                source.want()
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

"""The processes of a story: runners as they are, and a loop that applies what is in a pretended git."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from reconciler.align import align
from reconciler.db import configs
from reconciler.errors import StoreUnavailable
from reconciler.plan import edited, gone, make_plan
from reconciler.plan.guards import Options
from reconciler.runner import Runner
from reconciler.scheduler import SchedulerService
from reconciler.settings import RunnerSettings
from reconciler.spec.specset import LocatedSpec
from reconciler.sync.apply import Work, apply
from simulated.database import Database, Link, Transaction
from simulated.redis import Manager, Server

OPTIONS = Options(max_prune="100%", allow_empty=True)
INTERVAL = 4.0


@dataclass(slots=True)
class Git:
    """What is committed: documents by name; `changed` is set at each commit."""

    specs: dict[str, LocatedSpec] = field(default_factory=dict)
    revision: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def commit(self, name: str, spec: LocatedSpec | None) -> None:
        self.specs = {key: value for key, value in self.specs.items() if key != name}
        if spec is not None:
            self.specs[name] = spec
        self.revision += 1
        self.changed.set()


async def run_runner(server: Server, lease: float, concurrency: int, stop: asyncio.Event) -> None:
    """A runner until it is told to stop; one that finds no store at its start is started again."""
    settings = RunnerSettings(
        concurrency=concurrency,
        worker_processes=max(2, concurrency // 3),
        lease=timedelta(seconds=lease),
        shutdown_grace=timedelta(seconds=1),
        cancel_grace=timedelta(seconds=1),
    )
    while not stop.is_set():
        runner = Runner("model", _manager(server), settings, directory=Path(), modules=())
        try:
            await runner.run(stop)
        except StoreUnavailable:
            await asyncio.sleep(0.5)


async def run_applier(database: Database, server: Server, git: Git) -> None:
    """Pass after pass."""
    link, scheduler = Link(database), SchedulerService(_manager(server))
    while True:
        git.changed.clear()
        wait = INTERVAL
        try:
            await one_pass(link, scheduler, git)
        except StoreUnavailable:
            wait = 0.5
        try:
            async with asyncio.timeout(wait):
                await git.changed.wait()
        except TimeoutError:
            continue


async def one_pass(link: Link, scheduler: SchedulerService, git: Git) -> None:
    """The real plan, its guards, what it writes and the alignment; what was read is older than the lock, as there."""
    specs, revision = list(git.specs.values()), git.revision
    async with link.transaction() as tx:
        now = await tx.turn()
        changed = await _apply(tx, specs, revision, now)
    if 0 < len(changed) <= 100:
        await align(link, scheduler, now=now, names=changed)
    await align(link, scheduler, now=now)


async def _apply(tx: Transaction, specs: Sequence[LocatedSpec], revision: int, now: datetime) -> list[str]:
    """The names that were written; nothing where a newer revision was applied before."""
    if revision < tx.newest_revision():
        return []
    held = await configs.keys(tx)
    names = {*edited(specs, held), *gone(specs, held, OPTIONS.source)}
    documents = {config.name: config.spec for config in await configs.load(tx, sorted(names))} if names else {}
    plan = make_plan(specs, held, documents, OPTIONS)
    if plan.has_changes:
        await apply(tx, Work(plan, specs, held, documents, OPTIONS.source, f"r{revision}", revision, now))
    tx.revision = revision
    return [change.name for change in plan.changes if change.verb != "delete"]


def _manager(server: Server) -> Any:
    return Manager(server)

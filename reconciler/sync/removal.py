"""A source that is no more: what was known of it is forgotten, and its tasks stay, or go with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reconciler.db import configs, sources, syncs
from reconciler.db.applylock import applying
from reconciler.db.link import Link, Transaction
from reconciler.db.syncs import Sync
from reconciler.errors import ReconcilerError
from reconciler.nearest import nearest
from reconciler.plan import Plan
from reconciler.plan.guards import Options
from reconciler.plan.text import as_json
from reconciler.scheduler import SchedulerService
from reconciler.spec import SpecSet
from reconciler.sync import drift
from reconciler.sync.apply import Work, apply
from reconciler.sync.compared import Compared, compared
from reconciler.sync.descent import Standing
from reconciler.sync.reconcile import follow
from reconciler.sync.request import Pass, Request


@dataclass(frozen=True, slots=True)
class Removed:
    """What became of it; `orphans`: the names that go on, owned by a source that no settings have."""

    outcome: Pass
    orphans: tuple[str, ...] = ()


async def tasks_of(link: Link, name: str) -> list[str]:
    """The names that a source owns; ReconcilerError where there is neither such a source nor a task of it."""
    async with link.transaction() as tx:
        return await _owned(tx, name)


async def remove_source(
    link: Link, scheduler: SchedulerService, name: str, actor: str, *, prune: bool = False
) -> Removed:
    """Forget a source. With `prune` its tasks are deleted, and where `protect` refuses one, the source stays, too."""
    async with applying(link, waits=True) as (tx, now):
        names = await _owned(tx, name)
        if now is None:
            return Removed(Pass(is_busy=True))
        request = Request(Options(name, allow_empty=True, prune=prune), actor)
        found = await compared(SpecSet(), tx, request, Standing())
        sync_id = await _carry_out(tx, request, found, now)
        if not found.plan.refusals:
            await sources.remove(tx, name)
            await drift.record(tx, name, [], now, mode="ignore")  # no pass of it comes to end them
    outcome = await follow(Pass(found.plan, sync_id=sync_id), link, scheduler, now, True)
    gone = {change.name for change in found.plan.changes}
    return Removed(outcome, tuple(one for one in names if one not in gone))


async def _owned(tx: Transaction, name: str) -> list[str]:
    keys = await configs.keys(tx)
    names = [key.name for key in keys if key.source == name]
    if not names and await sources.one(tx, name) is None:
        known = {key.source for key in keys} | {source.name for source in await sources.every(tx)}
        near = nearest(name, known)
        hint = f"; did you mean '{near}'?" if near else ""
        raise ReconcilerError(f"sources: no source named '{name}'{hint}")
    return names


async def _carry_out(tx: Transaction, request: Request, found: Compared, now: datetime) -> int:
    plan, source = found.plan, request.options.source
    error = "\n".join(refusal.text for refusal in plan.refusals) or None
    sync_id = await syncs.record(tx, _row(request, plan, error, now))
    if plan.has_changes:
        await apply(tx, Work(plan, (), found.keys, found.documents, source, None, sync_id, now))
    return sync_id


def _row(request: Request, plan: Plan, error: str | None, now: datetime) -> Sync:
    return Sync(
        source=request.options.source,
        deleted=plan.counts()["delete"],
        plan=as_json(plan),
        is_success=error is None,
        error=error,
        actor=request.actor,
        started_at=now,
        finished_at=now,
        reason="the source was removed" if error is None else None,
    )

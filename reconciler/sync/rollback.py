"""Back to a state that was in force: the specs that PostgreSQL keeps of it, applied and pinned. Git is not asked.

The guards of `apply` hold here, too. The pin ends by itself with a commit that comes after the one left behind, or by
hand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

from reconciler.db import revisions, sources, syncs
from reconciler.db.applylock import applying
from reconciler.db.configs import ConfigRow
from reconciler.db.link import Link, Transaction
from reconciler.db.sources import Pin, Source
from reconciler.db.syncs import Sync
from reconciler.errors import ReconcilerError
from reconciler.plan import Change, Plan
from reconciler.plan.guards import Options, Refusal
from reconciler.plan.text import as_json
from reconciler.scheduler import SchedulerService
from reconciler.spec import LocatedSpec, SpecSet, TaskSpec
from reconciler.sync.apply import Work, apply
from reconciler.sync.compared import Compared, compared
from reconciler.sync.descent import Standing
from reconciler.sync.reconcile import follow
from reconciler.sync.recording import storable
from reconciler.sync.request import Pass, Request

PREVIOUS: Final = "previous"
SHORTEST: Final = 4


@dataclass(frozen=True, slots=True)
class Rollback:
    """Where to: a commit, the beginning of one, the id of a sync, or `previous`; who wants it, and why."""

    to: str
    options: Options
    actor: str
    reason: str | None = None


async def rollback(link: Link, scheduler: SchedulerService, wish: Rollback) -> Pass:
    """Put the state back and pin the source there. ReconcilerError where no such state is known.

    With everything refused nothing is written; with a part of it, the rest is in force and pinned.
    """
    async with applying(link, waits=True) as (tx, now):
        if now is None:  # it has waited for its turn
            return Pass(is_busy=True)
        source, target, found = await _planned(tx, wish)
        if found.plan.refusals and not found.plan.has_changes:
            return Pass(found.plan, pin=source.pin)
        outcome = await _put_back(tx, wish, source, target, found, now)
    return await follow(outcome, link, scheduler, now, True)


async def rollback_preview(link: Link, wish: Rollback) -> tuple[Sync, Plan]:
    """The sync whose state is meant, and what going back there would change; nothing is written."""
    async with link.transaction() as tx:
        _, target, found = await _planned(tx, wish)
        return target, found.plan


async def release(link: Link, name: str, actor: str, reason: str | None = None) -> Pin | None:
    """Let a source follow its commits again, from its next pass on; the pin that was, None where it had none."""
    async with applying(link, waits=True) as (tx, now):
        source = await _source(tx, name)
        if source.pin is None or now is None:
            return None
        await sources.unpin(tx, name)
        why = "released" + (f": {reason}" if reason else "")
        row = Sync(source=name, actor=actor, revision=source.pin.revision, is_success=True, reason=storable(why),
                   started_at=now, finished_at=now)  # fmt: skip
        await syncs.record(tx, row)
        return source.pin


async def _source(tx: Transaction, name: str) -> Source:
    source = await sources.one(tx, name)
    if source is None or source.applied_at is None:
        raise ReconcilerError(f"rollback: source '{name}': nothing of it was ever applied: reconciler sources")
    return source


async def _planned(tx: Transaction, wish: Rollback) -> tuple[Source, Sync, Compared]:
    source = await _source(tx, wish.options.source)
    target = await _target(tx, source, wish.to)
    rows = await revisions.as_of(tx, source.name, int(target.id or 0))
    request = Request(replace(wish.options, prune=True), wish.actor)
    read = SpecSet(tuple(map(_located, rows)))
    found = await compared(read, tx, request, Standing(source))
    return source, target, replace(found, plan=_worded(found.plan, wish, target))


def _located(row: ConfigRow) -> LocatedSpec:
    return LocatedSpec(partial(TaskSpec.from_document, row.spec), row.path, 1, row.digest, row.name)


async def _put_back(
    tx: Transaction, wish: Rollback, source: Source, target: Sync, found: Compared, now: datetime
) -> Pass:
    plan = found.plan
    sync_id = await syncs.record(tx, _row(wish, target, plan, now))
    if plan.has_changes:
        rows = await revisions.as_of(tx, source.name, int(target.id or 0))
        specs = list(map(_located, rows))
        work = Work(plan, specs, found.keys, found.documents, source.name, target.revision, sync_id, now)
        await apply(tx, work)
    left = source.pinned_while if source.pin else source.revision
    pin = Pin(target.revision, wish.actor, now, storable(wish.reason), left, target.id)
    await sources.pin(tx, source.name, pin)
    return Pass(plan, sync_id=sync_id, pin=pin)


async def _target(tx: Transaction, source: Source, wanted: str) -> Sync:
    """The sync that `wanted` means, as the newest that brought that state into force."""
    where = f"rollback: source '{source.name}'"
    if wanted == PREVIOUS:
        return await _previous(tx, source, where)
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 19:
        sync = await syncs.one(tx, int(wanted))
        if sync is not None and sync.source == source.name and (sync.is_success or sync.counts):
            return sync
    known = [sync for sync in await syncs.standing(tx, source.name) if sync.revision]
    matching = [sync for sync in known if len(wanted) >= SHORTEST and str(sync.revision).startswith(wanted)]
    commits = sorted({str(sync.revision).partition("-")[0] for sync in matching})
    if not matching:
        raise ReconcilerError(f"{where}: no applied revision '{wanted}': reconciler syncs lists them")
    if len(commits) > 1:
        raise ReconcilerError(
            f"{where}: '{wanted}' is one of several ({', '.join(one[:12] for one in commits)}): write more"
        )
    return matching[0]


async def _previous(tx: Transaction, source: Source, where: str) -> Sync:
    """The state before the last sync that changed anything; while pinned, the one before that of the pin."""
    newest = source.pinned_sync_id + 1 if source.pinned_sync_id is not None else None
    known = await syncs.standing(tx, source.name, newest)
    repairs = await syncs.repairs(tx, source.name)
    last = next((sync for sync in known if sync.counts and sync.id not in repairs), None)
    before = await syncs.standing(tx, source.name, last.id) if last else []
    if not before:
        raise ReconcilerError(f"{where}: there is no state before this one: reconciler syncs")
    return before[0]


def _worded(plan: Plan, wish: Rollback, target: Sync) -> Plan:
    """With reasons and remedies that speak of where it goes back to."""
    state = label_of(target)
    said = {"create": f"was there at {state}", "delete": f"was not there at {state}"}
    changes = tuple(_said(change, said) for change in plan.changes)
    command = f"reconciler rollback {wish.to}"
    refusals = tuple(replace(one, text=_remedied(one, command)) for one in plan.refusals)
    return replace(plan, changes=changes, refusals=refusals)


def _remedied(refusal: Refusal, command: str) -> str:
    if refusal.what == "owner":  # to take a name over is for a commit to say
        return f"{refusal.text.partition(';')[0]}, and {'stays' if len(refusal.names) == 1 else 'stay'} there"
    return refusal.text.replace("reconciler apply", command)


def _said(change: Change, said: dict[str, str]) -> Change:
    return change if change.is_drift else replace(change, reason=said.get(change.verb, change.reason))


def label_of(sync: Sync) -> str:
    """`1a2b3c4`, `1a2b3c4-dirty`, or `sync 12` of a directory without git."""
    if sync.revision is None:
        return f"sync {sync.id}"
    commit, dirty, _ = sync.revision.partition("-dirty")
    return commit[:7] + dirty


def _row(wish: Rollback, target: Sync, plan: Plan, now: datetime) -> Sync:
    counts = plan.counts()
    error = "\n".join(refusal.text for refusal in plan.refusals) or None
    why = f"rollback to {label_of(target)}" + (f": {wish.reason}" if wish.reason else "")
    return Sync(
        source=target.source,
        revision=target.revision,
        author=target.author,
        subject=target.subject,
        created=counts["create"],
        updated=counts["update"],
        deleted=counts["delete"],
        adopted=counts["adopt"],
        plan=as_json(plan),
        is_success=error is None,
        error=storable(error),
        actor=wish.actor,
        started_at=now,
        finished_at=now,
        reason=storable(why),
    )

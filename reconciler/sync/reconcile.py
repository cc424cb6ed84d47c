"""One pass: what was read is compared with what is in force, guarded, applied and handed to Redis.

The order is the safety (design §6): the lock comes first and everything else is read after it; what is decided is
one transaction; Redis comes after the commit and only ever follows it, so that a crash in between heals by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from reconciler.align import align
from reconciler.db import configs, syncs
from reconciler.db.applylock import applying
from reconciler.db.configs import ConfigKey
from reconciler.db.link import Link, Transaction
from reconciler.db.standing import fingerprint, fingerprint_of
from reconciler.db.syncs import Sync
from reconciler.errors import StoreUnavailable
from reconciler.failpoints import failpoint
from reconciler.gitrepo import NO_REVISION, Revision
from reconciler.plan import VERBS, Documents, Plan, edited, make_plan
from reconciler.plan.guards import Options
from reconciler.plan.text import as_json
from reconciler.scheduler import SchedulerService
from reconciler.spec.specset import Fault, LocatedSpec, SpecSet
from reconciler.sync.apply import Work, apply

LONGEST_ERROR: Final = 8192
AHEAD: Final = 100  # up to so many changes do not wait until all configs are compared
_fingerprints: dict[str, tuple[tuple[LocatedSpec, ...], str | None]] = {}


@dataclass(frozen=True, slots=True)
class Request:
    """Who wants which source brought up to which revision.

    `waits`: for another pass under way, else it is left to that one. `believing`: as in `align`.
    """

    options: Options
    actor: str
    revision: Revision = NO_REVISION
    waits: bool = True
    believing: bool = False


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass came to. `plan` None: nothing was compared, for there are `faults`, or somebody `is_busy`."""

    plan: Plan | None = None
    faults: tuple[Fault, ...] = ()
    is_busy: bool = False
    sync_id: int | None = None  # the row that was written about it, if any
    aligned: int | None = None  # entries put right in Redis; None: not reached, and `trouble` says why in one line
    trouble: str | None = None


async def preview(read: SpecSet, link: Link, options: Options) -> Plan:
    """The plan that `reconcile` would apply now; nothing is written, nothing is locked. Faults are the caller's."""
    async with link.transaction() as tx:
        return (await _compared(read, tx, options))[0]


async def reconcile(read: SpecSet, link: Link, scheduler: SchedulerService, request: Request) -> Pass:
    """Apply what was read, as far as the guards let it, to PostgreSQL and then to Redis.

    With faults nothing is applied, and what is in force stays. Called again with the same specs it writes nothing.
    StoreUnavailable: PostgreSQL did not answer, and the same call later finds out what is left to do. Redis out of
    reach after the commit is no error: the commit stands, `trouble` says so, and the next pass makes up for it.
    """
    async with applying(link, waits=request.waits) as (tx, now):
        if now is None:
            return Pass(is_busy=True)
        failpoint("after-lock")
        outcome = await _decide(read, tx, request, now)
        failpoint("after-apply")
    failpoint("after-commit")
    return await _follow(outcome, link, scheduler, now, request.believing)


async def record_failure(link: Link, request: Request, error: str) -> int | None:
    """Note that the source could not be read at all; once for each revision and error, not at each pass."""
    async with link.transaction() as tx:
        [(now,)] = await tx.run("select clock_timestamp()")
        return await _record(tx, request, now, None, error)


async def _decide(read: SpecSet, tx: Transaction, request: Request, now: datetime) -> Pass:
    """Everything that one transaction does, from the first read after the lock to the last write."""
    if read.faults:
        lines = "\n".join(map(str, read.faults))
        return Pass(faults=read.faults, sync_id=await _record(tx, request, now, None, lines))
    source = request.options.source
    expected = _fingerprint_of(read, source)
    if expected and await fingerprint(tx, source) == expected:
        return Pass(Plan((), len(read.specs)), sync_id=await _record(tx, request, now, None, None))
    plan, keys, documents = await _compared(read, tx, request.options)
    error = "\n".join(refusal.text for refusal in plan.refusals) or None
    sync_id = await _record(tx, request, now, plan, error)
    if plan.has_changes and sync_id is not None:
        work = Work(plan, read.specs, keys, documents, source, request.revision.label, sync_id, now)
        await apply(tx, work)
    return Pass(plan, sync_id=sync_id)


async def _compared(read: SpecSet, tx: Transaction, options: Options) -> tuple[Plan, list[ConfigKey], Documents]:
    keys = await configs.keys(tx)
    names = edited(read.specs, keys)
    documents = {config.name: config.spec for config in await configs.load(tx, names)} if names else {}
    return make_plan(read.specs, keys, documents, options), keys, documents


def _fingerprint_of(read: SpecSet, source: str) -> str | None:
    """Kept for as long as the reader gives the same specs; None for others than the last time.

    Those will differ from the configs, and a fingerprint costs as much as finding out in what.
    """
    specs, found = _fingerprints.get(source, (read.specs, None))
    if specs is not read.specs:
        found = None
    elif found is None:
        found = fingerprint_of((one.name, one.digest, one.path) for one in specs)
    _fingerprints[source] = read.specs, found
    return found


async def _record(tx: Transaction, request: Request, now: datetime, plan: Plan | None, error: str | None) -> int | None:
    """The id of the row about this pass; None where nothing changed and the last row says the same already."""
    revision, error = request.revision, _storable(error)
    if plan is None or not plan.has_changes:
        last = await syncs.latest(tx, request.options.source)
        said = (last.revision, last.error) if last and not last.is_success else None
        if said == ((revision.label, error) if error else None):
            return None
    counts = plan.counts() if plan else dict.fromkeys(VERBS, 0)
    sync = Sync(
        source=request.options.source,
        revision=revision.label,
        author=_storable(revision.author),
        subject=_storable(revision.subject),
        created=counts["create"],
        updated=counts["update"],
        deleted=counts["delete"],
        adopted=counts["adopt"],
        plan=as_json(plan) if plan else None,
        is_success=error is None,
        error=error,
        actor=request.actor,
        started_at=now,
        finished_at=now,
    )
    return await syncs.record(tx, sync)


def _storable(text: str | None) -> str | None:
    """As PostgreSQL can hold it: a file's name, and so a fault, may be made of any bytes."""
    return text and text[:LONGEST_ERROR].encode(errors="replace").decode().replace("\0", "\ufffd")


async def _follow(outcome: Pass, link: Link, scheduler: SchedulerService, now: datetime, believing: bool) -> Pass:
    """Redis after the commit, and under faults too; a store out of reach costs nothing that is decided."""
    changes = outcome.plan.changes if outcome.plan else ()
    written = [change.name for change in changes if change.verb != "delete"]
    changed = 0
    try:
        if 0 < len(written) <= AHEAD:
            changed = (await align(link, scheduler, now=now, names=written)).changed
        changed += (await align(link, scheduler, now=now, believing=believing)).changed
        failpoint("after-align")
    except StoreUnavailable as error:
        return replace(outcome, trouble=f"{error}; what was applied stands, the next pass brings Redis up to it")
    return replace(outcome, aligned=changed)

"""One pass: what was read is compared with what is in force, guarded, applied and handed to Redis.

The order is the safety (design §6): the lock comes first and everything else is read after it; what is decided is
one transaction; Redis comes after the commit and only ever follows it, so that a crash in between heals by itself.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from reconciler.align import align
from reconciler.db import sources
from reconciler.db.applylock import applying
from reconciler.db.link import Link, Transaction
from reconciler.db.standing import fingerprint, fingerprint_of
from reconciler.db.tampered import news, tampered
from reconciler.errors import StoreUnavailable
from reconciler.failpoints import failpoint
from reconciler.plan import Plan
from reconciler.scheduler import SchedulerService
from reconciler.spec.specset import LocatedSpec, SpecSet
from reconciler.sync import drift
from reconciler.sync.apply import Work, apply
from reconciler.sync.compared import Compared, compared, readable
from reconciler.sync.descent import Foreseen, Standing, foreseen, standing
from reconciler.sync.narrowed import is_kept, keep
from reconciler.sync.recording import Attempt, record, record_idle
from reconciler.sync.request import Pass, Request

__all__ = ["Pass", "Request", "follow", "preview", "reconcile", "record_failure"]

AHEAD: Final = 100  # up to so many changes do not wait until all configs are compared
_fingerprints: dict[str, tuple[tuple[LocatedSpec, ...], str | None]] = {}


async def preview(read: SpecSet, link: Link, request: Request) -> Plan:
    """The plan that `reconcile` would apply now; nothing is written, nothing is locked. Faults are the caller's."""
    part = readable(read, request) or read
    ahead = await foreseen(link, request)
    async with link.transaction() as tx:
        return (await compared(part, tx, request, await standing(tx, request, ahead))).plan


async def reconcile(read: SpecSet, link: Link, scheduler: SchedulerService, request: Request) -> Pass:
    """Apply what was read, as far as the guards let it, to PostgreSQL and then to Redis.

    With faults nothing is applied, or only what is in good files; nor is anything of a revision that does not descend
    from the one applied before, or while the source is pinned. Called again with the same specs it writes nothing.
    StoreUnavailable: PostgreSQL did not answer, and the same call later finds out what is left to do. Redis out of
    reach after the commit is no error: the commit stands, `trouble` says so, and the next pass makes up for it.
    """
    failpoint("after-read")
    ahead = await foreseen(link, request)
    async with applying(link, waits=request.waits) as (tx, now):
        if now is None:
            return Pass(is_busy=True)
        failpoint("after-lock")
        outcome = await _decide(read, tx, request, now, ahead)
        failpoint("after-apply")
    failpoint("after-commit")
    return await follow(outcome, link, scheduler, now, request.believing)


async def record_failure(link: Link, request: Request, error: str) -> int | None:
    """Note that the source could not be read at all; once for each revision and error, not at each pass."""
    async with link.transaction() as tx:
        [(now,)] = await tx.run("select clock_timestamp()")
        source = await sources.one(tx, request.options.source)
        return await record(tx, Attempt(request, source, now), None, error)


async def _decide(read: SpecSet, tx: Transaction, request: Request, now: datetime, ahead: Foreseen) -> Pass:
    """Everything that one transaction does, from the first read after the lock to the last write."""
    stands = await standing(tx, request, ahead)
    attempt = Attempt(request, stands.source, now)
    part = readable(read, request)
    if part is None:
        lines = "\n".join(map(str, read.faults))
        return Pass(faults=read.faults, sync_id=await record(tx, attempt, None, lines), pin=stands.pin)
    if stands.is_free and not read.faults and await _stands_as_read(read, tx, attempt):
        return Pass(Plan((), len(read.specs)), sync_id=await _recorded(tx, attempt, stands, None, None))
    found = await compared(part, tx, request, stands)
    failpoint("after-plan")
    errors = [*map(str, read.faults), *(refusal.text for refusal in found.plan.refusals)]
    sync_id = await _recorded(tx, attempt, stands, found.plan, "\n".join(errors) or None)
    await _carry_out(part, tx, attempt, found, sync_id)
    return Pass(found.plan, read.faults, sync_id=sync_id, held=part.held if read.faults else (), pin=stands.pin)


async def _stands_as_read(read: SpecSet, tx: Transaction, attempt: Attempt) -> bool:
    """Whether there is nothing to do: no config differs from its spec, and nobody changed one inside."""
    source = attempt.name
    if is_kept(tx, source):  # then the comparison itself is about next to nothing
        return False
    expected = _fingerprint_of(read, source)
    if not expected:
        return False
    found = await tampered(tx)
    news(tx, source)
    if await fingerprint(tx, source) != expected or any(one.source == source for one in found):
        return False
    keep(tx, source, read.specs, {one.name for one in found})
    await drift.record(tx, source, [], attempt.now, mode=attempt.request.options.drift)
    return True


async def _recorded(
    tx: Transaction, attempt: Attempt, stands: Standing, plan: Plan | None, error: str | None
) -> int | None:
    """The row about this pass, if there is news; a revision that ends the pin, and is applied, has ended it by then."""
    if stands.pin is not None:
        await record_idle(tx, attempt)
        return None
    if stands.ends_pin and (plan is None or plan.has_changes or error is None):
        await sources.unpin(tx, attempt.name)
    return await record(tx, attempt, plan, error, reason=attempt.request.options.reason if stands.is_rewound else None)


async def _carry_out(read: SpecSet, tx: Transaction, attempt: Attempt, found: Compared, sync_id: int | None) -> None:
    plan, source, options = found.plan, attempt.name, attempt.request.options
    if plan.has_changes and sync_id is not None:
        work = Work(plan, read.specs, found.keys, found.documents, source, attempt.label, sync_id, attempt.now)
        await apply(tx, work)
    own = [one for one in found.tampered if one.source == source]
    # What is withheld puts nothing right, which does not make it less of a drift.
    mode = "detect" if plan.withheld and options.drift == "correct" else options.drift
    corrected = {change.name for change in plan.changes}
    # Of a held file nobody knows which names it has, and so which of them were deleted by hand.
    await drift.record(tx, source, own, attempt.now, mode=mode, corrected=corrected, is_complete=not read.held)


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


async def follow(outcome: Pass, link: Link, scheduler: SchedulerService, now: datetime, believing: bool) -> Pass:
    """Redis after the commit, and under faults too; a store out of reach costs nothing that is decided."""
    changes = outcome.plan.changes if outcome.plan else ()
    written = [change.name for change in changes if change.verb != "delete"]
    changed = 0
    try:
        if 0 < len(written) <= AHEAD:
            changed = (await align(link, scheduler, now=now, names=written)).changed
        aligned = await align(link, scheduler, now=now, believing=believing)
        changed += aligned.changed
        await drift.record_aligned(link, aligned, scheduler.modes, now)
        failpoint("after-align")
    except StoreUnavailable as error:
        return replace(outcome, trouble=f"{error}; what was applied stands, the next pass brings Redis up to it")
    return replace(outcome, aligned=changed)

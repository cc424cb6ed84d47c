"""What does a pass read under the lock, and which plan comes of it? Nothing is written here.

`plan` and `apply` share it, so that what is shown is what would be done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from reconciler.db import configs
from reconciler.db.configs import ConfigKey
from reconciler.db.link import Transaction
from reconciler.db.tampered import Tampered, lost, tampered
from reconciler.errors import ReconcilerError
from reconciler.gitrepo import Revision
from reconciler.plan import Documents, Facts, Plan, edited, gone, make_plan
from reconciler.plan.drift import Drift
from reconciler.plan.evidence import removed_paths, with_evidence
from reconciler.spec.specset import SpecSet, good
from reconciler.sync.aside import aside
from reconciler.sync.descent import Standing
from reconciler.sync.narrowed import Narrowed, differing, keep, narrowed
from reconciler.sync.request import Request


@dataclass(frozen=True, slots=True)
class Compared:
    """A plan with what it was made from. `tampered`: what was changed by hand, of every source."""

    plan: Plan
    keys: Sequence[ConfigKey]
    documents: Documents
    tampered: Sequence[Tampered] = ()


def readable(read: SpecSet, request: Request) -> SpecSet | None:
    """The specs that may be applied: all of them, or those of good files; None where the faults hold everything."""
    if not read.faults:
        return read
    if request.options.on_fault != "hold_file":
        return None
    part = good(read)
    return None if part.faults or not read.held else part


async def compared(read: SpecSet, tx: Transaction, request: Request, standing: Standing) -> Compared:
    """The plan for what was read and may be applied, guarded; under a rewind or a pin it says what it withholds."""
    options, source = request.options, request.options.source
    found = await tampered(tx)
    is_whole = not (read.faults or read.held)
    part = await narrowed(tx, source, read.specs, found) if is_whole else None
    part = part or Narrowed(read.specs, await configs.keys(tx))
    specs, keys = part.specs, part.keys
    held = {key.name for key in keys}
    found += await lost(tx, [one.name for one in specs if one.name not in held])
    names = {*edited(specs, keys), *gone(specs, keys, source), *(one.name for one in found)}
    documents = {config.name: config.spec for config in await configs.load(tx, sorted(names))} if names else {}
    facts = Facts(Drift({one.name: one for one in found}), read.held, part.settled)
    plan = make_plan(specs, keys, documents, options, facts)
    if is_whole:
        keep(tx, source, read.specs, differing(specs, keys, source, found))
    plan = await _with_evidence(plan, request, standing.last)
    return Compared(_withheld(plan, standing, request.revision), keys, documents, found)


def _withheld(plan: Plan, standing: Standing, revision: Revision) -> Plan:
    if standing.is_free:
        return plan
    pin = standing.pin.text if standing.pin else None
    # Of a plan that is not carried out, one refusal is the news.
    refusals = (standing.refusal,) if standing.refusal else ()
    return replace(plan, changes=(), withheld=plan.changes, drifted=(), refusals=refusals, pin=pin)


async def _with_evidence(plan: Plan, request: Request, last: str | None) -> Plan:
    """Git is asked only where something is deleted; where it cannot tell, the plan says less."""
    paths = removed_paths(plan)
    if not paths or request.origin is None:
        return plan
    try:
        removals = await aside(partial(request.origin.removals, last, request.revision, paths))
    except ReconcilerError:
        return plan
    return with_evidence(plan, removals)

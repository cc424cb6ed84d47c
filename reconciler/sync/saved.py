"""A saved plan carried out: exactly what it says, or nothing where what it touches has moved since.

The plan is made once more under the lock, of the names that it touches and no others; only when that comes to the
same is it applied. So unrelated changes do not matter, and no word of the file is believed that can be found out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from reconciler.db import configs
from reconciler.db.applylock import applying
from reconciler.db.configs import ConfigKey, TaskConfig
from reconciler.db.link import Link, Transaction
from reconciler.db.tampered import Tampered, tampered
from reconciler.errors import Refused
from reconciler.failpoints import failpoint
from reconciler.lines import of_source
from reconciler.plan import Plan, make_plan
from reconciler.plan.drift import Drift
from reconciler.plan.guards import Refusal
from reconciler.plan.making import Facts
from reconciler.plan.saved import SavedPlan, differing, is_done, moved, moved_text, options_for
from reconciler.scheduler import SchedulerService
from reconciler.spec.specset import LocatedSpec
from reconciler.sync import drift
from reconciler.sync.apply import Work, apply
from reconciler.sync.descent import Standing, foreseen, standing
from reconciler.sync.reconcile import Pass, Request, follow
from reconciler.sync.recording import Attempt, record


@dataclass(frozen=True, slots=True)
class _Judged:
    """What is to be done of a plan that still holds, with what that was found out from."""

    plan: Plan
    keys: Sequence[ConfigKey]
    touched: Mapping[str, TaskConfig]
    found: Sequence[Tampered]
    stands: Standing


async def preview_saved(saved: SavedPlan, specs: Sequence[LocatedSpec], link: Link, request: Request) -> Plan:
    """What `apply_saved` would do now; Refused where it would do nothing."""
    ahead = await foreseen(link, request)
    async with link.transaction() as tx:
        return (await _judged(saved, specs, tx, await standing(tx, request, ahead))).plan


async def apply_saved(
    saved: SavedPlan, specs: Sequence[LocatedSpec], link: Link, scheduler: SchedulerService, request: Request
) -> Pass:
    """Carry it out; `specs` are those that `written` gave. Where it was applied before, nothing is left to do.

    Refused, and nothing is written: what it touches has moved, the source is pinned, or has come to a revision that
    the plan's does not descend from.
    """
    ahead = await foreseen(link, request)
    async with applying(link, waits=True) as (tx, now):
        assert now is not None
        failpoint("after-lock")
        stands = await standing(tx, request, ahead)
        judged = await _judged(saved, specs, tx, stands)
        failpoint("after-plan")
        outcome = Pass(judged.plan)
        if judged.plan.has_changes:
            outcome = await _carry_out(saved, specs, tx, judged, Attempt(request, stands.source, now))
        failpoint("after-apply")
    failpoint("after-commit")
    return await follow(outcome, link, scheduler, now, request.believing)


async def _carry_out(
    saved: SavedPlan, specs: Sequence[LocatedSpec], tx: Transaction, judged: _Judged, attempt: Attempt
) -> Pass:
    plan, source, now = judged.plan, saved.source, attempt.now
    error = "\n".join(refusal.text for refusal in plan.refusals) or None
    # Meant when the plan was made, or here.
    reason = attempt.request.options.reason if judged.stands.is_rewound or judged.stands.refusal else None
    sync_id = await record(tx, attempt, plan, error, reason=reason)
    if sync_id is not None:
        documents = {name: config.spec for name, config in judged.touched.items()}
        await apply(tx, Work(plan, specs, judged.keys, documents, source, attempt.label, sync_id, now))
    own = [one for one in judged.found if one.source == source]
    corrected = {change.name for change in plan.changes}
    mode = attempt.request.options.drift
    await drift.record(tx, source, own, now, mode=mode, corrected=corrected, is_complete=False)
    return Pass(plan, sync_id=sync_id)


async def _judged(saved: SavedPlan, specs: Sequence[LocatedSpec], tx: Transaction, stands: Standing) -> _Judged:
    """The plan made again of the names that it touches; Refused where it is not the same, or may not be applied."""
    _refuse_pinned(saved, stands)
    keys = await configs.keys(tx)
    names = set(saved.names)
    touched = {config.name: config for config in await configs.load(tx, sorted(names))}
    found = await tampered(tx, sorted(names - touched.keys()))
    facts = Facts(Drift({one.name: one for one in found if one.name in names}))
    documents = {name: config.spec for name, config in touched.items()}
    own = [key for key in keys if key.name in names]
    plan = make_plan(specs, own, documents, options_for(saved), facts)
    untouched = sum(key.source == saved.source and key.name not in names for key in keys)
    refusals = tuple(Refusal(one.what, one.text, one.names) for one in saved.refusals)
    if is_done(saved, touched) and not plan.has_changes:
        return _Judged(Plan((), untouched + len(specs), refusals), keys, touched, found, stands)
    _refuse_moved(saved, plan, touched)
    _refuse_overtaken(saved, stands)
    # Who removed a file was asked of git where the plan was made; here there may be no git.
    said = {change.name: change.reason for change in saved.changes if change.verb == "delete"}
    changes = tuple(replace(change, reason=said.get(change.name, change.reason)) for change in plan.changes)
    return _Judged(Plan(changes, untouched, refusals), keys, touched, found, stands)


def _refuse_pinned(saved: SavedPlan, stands: Standing) -> None:
    if stands.source and stands.source.pin:
        pin = stands.source.pin.text
        release = of_source("reconciler rollback --release", saved.source)
        raise Refused(f"saved plan refused: source '{saved.source}' is {pin}: {release}")


def _refuse_overtaken(saved: SavedPlan, stands: Standing) -> None:
    # Where the source stands as the plan saw it, the plan has judged that already, and git need not be here.
    if stands.refusal and stands.last != saved.last_revision:
        raise Refused(stands.refusal.text)


def _refuse_moved(saved: SavedPlan, plan: Plan, touched: Mapping[str, TaskConfig]) -> None:
    if gone := moved(saved, touched):
        raise Refused(moved_text(saved, list(_by_whom(gone, touched))))
    for refusal in plan.refusals:
        raise Refused(refusal.text)
    if others := list(differing(saved, plan)):
        raise Refused(moved_text(saved, [f"{name} would become something else" for name in others]))


def _by_whom(gone: Sequence[str], touched: Mapping[str, TaskConfig]) -> Iterator[str]:
    """With the commit that it comes from now, where there is one: `a was edited (1a2b3c4)`."""
    for text in gone:
        config = touched.get(text.partition(" ")[0])
        commit, dirty, _ = (config.revision if config and config.revision else "").partition("-dirty")
        yield f"{text} ({commit[:7]}{dirty})" if commit else text

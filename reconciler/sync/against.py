"""A plan against an exported state instead of a store: the same comparison and the same guards, with nothing opened.

What only a store knows is left out: pauses, and what was changed by hand since the last sync.
"""

from __future__ import annotations

from dataclasses import replace

from reconciler.gitrepo import Descended
from reconciler.plan import Plan, edited, make_plan
from reconciler.plan.evidence import removed_paths, with_evidence
from reconciler.plan.guards import Reached, Refusal, rewind_refusal
from reconciler.plan.making import Facts, gone
from reconciler.plan.state import State, StateSource
from reconciler.spec.specset import SpecSet, good
from reconciler.sync.request import Request


def plan_against(read: SpecSet, state: State, request: Request) -> tuple[Plan, str | None]:
    """The plan, and the commit that the source stood at. Blocks for as long as git takes; faults are the caller's."""
    source = next((one for one in state.sources if one.name == request.options.source), None)
    last = source.revision if source else None
    specs, name = good(read).specs, request.options.source
    wanted = {*edited(specs, state.configs), *gone(specs, state.configs, name)}
    documents = {config.name: config.spec for config in state.configs if config.name in wanted}
    facts = Facts(held=read.held)
    plan = make_plan(specs, state.configs, documents, request.options, facts)
    if request.origin and (paths := removed_paths(plan)):
        plan = with_evidence(plan, request.origin.removals(last, request.revision, paths))
    refusal = _refusal(source, request) if source else None
    if refusal:
        return replace(plan, changes=(), withheld=plan.changes, refusals=(refusal, *plan.refusals)), last
    return plan, last


def _refusal(source: StateSource, request: Request) -> Refusal | None:
    commit = request.revision.commit
    if source.revision is None or commit == source.revision or request.options.allow_rewind:
        return None
    if commit is None or request.origin is None:
        found = Descended("unknown", request.revision.reason or "no git was asked")
    else:
        found = request.origin.descent(source.revision, request.revision, deepen=True)
    reached = Reached(source.revision, source.applied_at)
    return rewind_refusal(commit, reached, found.kind, found.why, source.name)

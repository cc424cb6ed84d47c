"""What differs between the specs that were read and the configs in force?

Values in, a plan out: no file, no store, no clock. `plan`, `diff`, `apply` and the loop all ask this one
comparison. Configs are compared by digest; documents only where the digests differ, to name the fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from reconciler.plan.drift import NOT_ASKED, REASONS, Drift, sorted_out
from reconciler.plan.fields import field_changes, names_other_instants, waits_anew
from reconciler.plan.guards import Held, Options, Refusal, owner_refusals, protect_refusal, prune_budget, prune_refusal
from reconciler.plan.plan import VERBS, Change, Documents, FieldChange, Plan, Verb, Wanted
from reconciler.plan.renames import MOST, hinted, likely_renames
from reconciler.spec.specset import below


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known beside specs and configs: what was changed by hand, and where the faults are (`SpecSet.held`).

    `settled`: so many further configs of the source are as their specs want them, and neither is given.
    """

    drift: Drift = NOT_ASKED
    held: tuple[str, ...] = ()
    settled: int = 0


NO_FACTS: Final = Facts()


@dataclass(slots=True)
class _Pruned:
    """What becomes of configs that no spec has. `wanted`: all that would go, the refused ones too."""

    deletions: list[Change] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    wanted: list[str] = field(default_factory=list)
    drifted: list[Change] = field(default_factory=list)


def edited(specs: Iterable[Wanted], configs: Iterable[Held]) -> list[str]:
    """Names whose digest is not the config's: `make_plan` needs their documents."""
    digests = {config.name: config.digest for config in configs}
    names = ((wanted.name, wanted.digest) for wanted in specs)
    return sorted(name for name, digest in names if digests.get(name, digest) != digest)


def gone(specs: Iterable[Wanted], configs: Iterable[Held], source: str) -> list[str]:
    """Names of this source's configs that no spec has: their documents say whether they are protected."""
    names = {wanted.name for wanted in specs}
    return sorted(config.name for config in configs if config.source == source and config.name not in names)


def make_plan(
    specs: Sequence[Wanted], configs: Sequence[Held], documents: Documents, options: Options, facts: Facts = NO_FACTS
) -> Plan:
    """The changes that make `configs` say what `specs` say, within the guards; same inputs, same plan.

    `documents`: those in force, of the names that `edited` and `gone` gave, and of those tampered with. UsageError
    for a `max_prune` without sense.
    """
    found: list[Change] = []
    foreign: list[Held] = []
    known = {config.name: config for config in configs}
    drift, source = facts.drift, options.source
    for wanted in specs:
        config = known.get(wanted.name)
        if config and (config.digest, config.path, config.source) == (wanted.digest, wanted.path, source):
            if drift.found and drift.is_inside(wanted.name):
                found.append(_restored(wanted, documents))
            continue  # nearly all of them, so this is looked at first
        if config and config.source != source and not options.adopt and not drift.is_taken_away(config, source):
            foreign.append(config)
        elif change := _change(wanted, config, documents, source):
            found.append(drift.judged(change, source))
    changes, drifted = sorted_out(found, options.drift)
    pruned = _prune(specs, configs, documents, options, facts)
    pairs = _pairs(changes, specs, pruned.wanted, documents)
    ordered = sorted([*changes, *pruned.deletions], key=lambda change: (VERBS.index(change.verb), change.name))
    reported = [*drifted, *pruned.drifted] if options.drift == "detect" else []
    left = len(changes) + len(foreign) + len([one for one in reported if one.verb != "delete"])
    return Plan(
        changes=tuple(hinted(ordered, pairs)),
        unchanged=len(specs) + facts.settled - left + len(pruned.held),
        refusals=(*owner_refusals(foreign, options.source), *pruned.refusals),
        kept=tuple(pruned.kept),
        held=tuple(pruned.held),
        drifted=tuple(reported),
    )


def _change(wanted: Wanted, config: Held | None, documents: Documents, source: str) -> Change | None:
    name, path, after = wanted.name, wanted.path, wanted.digest
    if config is None:
        return Change("create", name, path, "new", moves_cursor=True, waits_anew=True, after_digest=after)
    is_edited = after != config.digest
    fields = field_changes(documents[name], wanted.spec.document()) if is_edited else []
    moves, anew = names_other_instants(fields), waits_anew(fields)
    if config.path != path:
        fields.append(FieldChange("path", config.path, path))
    verb: Verb = "update"
    if config.source != source:
        verb, moves, anew = "adopt", True, True
        reason = f"taken over from source '{config.source}'"
    elif is_edited:
        reason = f"edited, its instants {'count from now on' if moves else 'stay as they are'}"
    elif fields:
        reason = "moved, the spec is the same"
    else:
        return None
    return Change(verb, name, path, reason, tuple(fields), moves, anew, config.digest, after)


def _restored(wanted: Wanted, documents: Documents) -> Change:
    """Back to what its digest stands for."""
    fields = field_changes(documents.get(wanted.name, {}), wanted.spec.document())
    moves, anew = names_other_instants(fields), waits_anew(fields)
    digest = wanted.digest
    change = Change("update", wanted.name, wanted.path, REASONS["update"], tuple(fields), moves, anew, digest, digest)
    return replace(change, is_drift=True)


def _pairs(
    changes: Iterable[Change], specs: Iterable[Wanted], gone: Sequence[str], documents: Documents
) -> Mapping[str, str]:
    created = {change.name for change in changes if change.verb == "create" and not change.is_drift} if gone else set()
    if not created or len(created) > MOST:
        return {}
    bodies = {one.name: one.spec.document() for one in specs if one.name in created}
    return likely_renames(bodies, gone, documents)


def _prune(
    specs: Sequence[Wanted], configs: Sequence[Held], documents: Documents, options: Options, facts: Facts
) -> _Pruned:
    """What to delete, or why none of it is, or with prune off the names that stay."""
    names = {wanted.name for wanted in specs}
    own = [config for config in configs if config.source == options.source]
    total = len(own) + facts.settled
    budget = prune_budget(options.max_prune, total)
    is_held = below(facts.held)
    result = _Pruned()
    going: list[Held] = []
    for config in sorted((config for config in own if config.name not in names), key=lambda config: config.name):
        if is_held(config.path) or (options.prune and facts.held):
            # What has no file any more may have moved into one that cannot be read.
            result.held.append(config.name)
        elif not options.prune:
            result.kept.append(config.name)
        elif not facts.drift.is_foreign(config, options.source):
            going.append(config)
    deletions = [facts.drift.judged(_deletion(config, options.source), options.source) for config in going]
    deletions, result.drifted = sorted_out(deletions, options.drift)
    result.wanted = [change.name for change in deletions]
    protected = {name for name in result.wanted if documents.get(name, {}).get("protect") is True}
    going = [config for config in going if config.name in result.wanted and config.name not in protected]
    found = [protect_refusal(sorted(protected), options.source)] if protected else []
    is_empty = not specs and not facts.held and not facts.settled
    may_empty = options.allow_empty if is_empty else None
    if refusal := prune_refusal(going, total, budget, may_empty, options.source):
        result.refusals = [*found, refusal]
        return result
    result.refusals = found
    result.deletions = [change for change in deletions if change.name not in protected]
    return result


def _deletion(config: Held, source: str) -> Change:
    reason = f"no longer in source '{source}'"
    return Change("delete", config.name, config.path, reason, before_digest=config.digest)

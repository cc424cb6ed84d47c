"""What differs between the specs that were read and the configs in force.

Values in, a plan out: no file, no store, no clock. `plan`, `diff`, `apply` and the loop all ask this one
comparison. Configs are compared by digest; documents only where the digests differ, to name the fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from reconciler.plan.guards import Held, Options, Refusal, owner_refusals, prune_budget, prune_refusal

Verb = Literal["create", "adopt", "update", "delete"]
VERBS: Final[tuple[Verb, ...]] = ("create", "adopt", "update", "delete")
Documents = Mapping[str, Mapping[str, Any]]

# A change in one of these, or in what lies below it, names other instants (design §6.5).
NAMES_INSTANTS: Final = frozenset(
    {"schedule", "seconds", "timezone", "dst", "starts_at", "ends_at", "skip_on"},
)


class _Absent:
    """A field that one side does not have at all, which is not the same as null."""

    def __repr__(self) -> str:
        return "(absent)"


ABSENT: Final = _Absent()


class Spec(Protocol):
    """The part of a TaskSpec that a plan reads."""

    def document(self) -> dict[str, Any]: ...


class Wanted(Protocol):
    """One spec as it was read: `LocatedSpec` is one."""

    @property
    def name(self) -> str: ...
    @property
    def spec(self) -> Spec: ...
    @property
    def path(self) -> str: ...
    @property
    def digest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class FieldChange:
    """`field` is a dotted path, `retries.attempts`; a side that lacks it is ABSENT."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Change:
    verb: Verb
    name: str
    path: str
    reason: str
    fields: tuple[FieldChange, ...] = ()
    moves_cursor: bool = False
    # Of those that it waits for, only successes from now on count.
    waits_anew: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """`changes` holds nothing that `refusals` name. `kept`: configs that are not in PATH, with prune off."""

    changes: tuple[Change, ...]
    unchanged: int
    refusals: tuple[Refusal, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def has_changes(self) -> bool:
        return bool(self.changes)

    def counts(self) -> dict[Verb, int]:
        verbs = [change.verb for change in self.changes]
        return {verb: verbs.count(verb) for verb in VERBS}


def edited(specs: Iterable[Wanted], configs: Iterable[Held]) -> list[str]:
    """Names whose digest is not the config's: `make_plan` needs their documents, and no others."""
    digests = {config.name: config.digest for config in configs}
    names = ((wanted.name, wanted.digest) for wanted in specs)
    return sorted(name for name, digest in names if digests.get(name, digest) != digest)


def make_plan(specs: Sequence[Wanted], configs: Sequence[Held], documents: Documents, options: Options) -> Plan:
    """The changes that make `configs` say what `specs` say, within the guards; same inputs, same plan.

    `documents`: those in force, of the names that `edited` gave. UsageError for a `max_prune` without sense.
    """
    changes: list[Change] = []
    foreign: list[Held] = []
    held = {config.name: config for config in configs}
    for wanted in specs:
        config = held.get(wanted.name)
        if config and (config.digest, config.path, config.source) == (wanted.digest, wanted.path, options.source):
            continue  # nearly all of them, so this is looked at first
        if config is not None and config.source != options.source and not options.adopt:
            foreign.append(config)
        elif change := _change(wanted, config, documents, options.source):
            changes.append(change)
    unchanged = len(specs) - len(changes) - len(foreign)
    deletions, refusal, kept = _prune(specs, configs, options)
    refusals = [*owner_refusals(foreign), *([refusal] if refusal else [])]
    ordered = sorted([*changes, *deletions], key=lambda change: (VERBS.index(change.verb), change.name))
    return Plan(tuple(ordered), unchanged, tuple(refusals), tuple(kept))


def field_changes(before: Mapping[str, Any], after: Mapping[str, Any], within: str = "") -> list[FieldChange]:
    """Every field that differs, mappings field by field, lists as a whole; ordered by name."""
    changes: list[FieldChange] = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key, ABSENT), after.get(key, ABSENT)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            changes += field_changes(old, new, f"{within}{key}.")
        elif not _is_same(old, new):
            changes.append(FieldChange(f"{within}{key}", old, new))
    return changes


def _is_same(old: Any, new: Any) -> bool:
    # In Python 1 == True == 1.0, while in the JSON that is digested they are three values.
    if type(old) is not type(new):
        return False
    if isinstance(old, list):
        return len(old) == len(new) and all(map(_is_same, old, new))
    if isinstance(old, dict):
        return old.keys() == new.keys() and all(_is_same(old[key], new[key]) for key in old)
    return bool(old == new)


def _change(wanted: Wanted, config: Held | None, documents: Documents, source: str) -> Change | None:
    name, path = wanted.name, wanted.path
    if config is None:
        return Change("create", name, path, "new", moves_cursor=True, waits_anew=True)
    is_edited = wanted.digest != config.digest
    fields = field_changes(documents[name], wanted.spec.document()) if is_edited else []
    moves = _names_other_instants(fields)
    if config.path != path:
        fields.append(FieldChange("path", config.path, path))
    if config.source != source:
        reason = f"taken over from source '{config.source}'"
        return Change("adopt", name, path, reason, tuple(fields), moves_cursor=True, waits_anew=True)
    if is_edited:
        reason = f"edited, its instants {'count from now on' if moves else 'stay as they are'}"
        return Change("update", name, path, reason, tuple(fields), moves, _waits_anew(fields))
    return Change("update", name, path, "moved, the spec is the same", tuple(fields)) if fields else None


def _names_other_instants(fields: Iterable[FieldChange]) -> bool:
    return any(
        change.before is True if change.field == "suspend" else change.field.split(".")[0] in NAMES_INSTANTS
        for change in fields
    )


def _waits_anew(fields: Iterable[FieldChange]) -> bool:
    return any(change.field == "after" or (change.field == "suspend" and change.before is True) for change in fields)


def _prune(
    specs: Sequence[Wanted], configs: Sequence[Held], options: Options
) -> tuple[list[Change], Refusal | None, list[str]]:
    """What to delete, or why none of it is, or with prune off the names that stay."""
    names = {wanted.name for wanted in specs}
    own = [config for config in configs if config.source == options.source]
    gone = sorted((config for config in own if config.name not in names), key=lambda config: config.name)
    budget = prune_budget(options.max_prune, len(own))
    if not options.prune:
        return [], None, [config.name for config in gone]
    if refusal := prune_refusal(gone, len(own), budget, None if specs else options.allow_empty):
        return [], refusal, []
    reason = f"no longer in source '{options.source}'"
    return [Change("delete", config.name, config.path, reason) for config in gone], None, []

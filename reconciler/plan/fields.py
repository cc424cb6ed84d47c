"""Which fields differ between two documents, and what follows from that for what has not run yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from reconciler.plan.plan import ABSENT, FieldChange

# A change in one of these, or in what lies below it, names other instants (design §6.5).
NAMES_INSTANTS: Final = frozenset(
    {"schedule", "seconds", "timezone", "dst", "starts_at", "ends_at", "skip_on"},
)


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


def names_other_instants(fields: Iterable[FieldChange]) -> bool:
    """Whether what is due from now on is not what was due: the cursor moves to now, so that no past instant fires."""
    return any(
        change.before is True if change.field == "suspend" else change.field.split(".")[0] in NAMES_INSTANTS
        for change in fields
    )


def waits_anew(fields: Iterable[FieldChange]) -> bool:
    """Whether, of those that it waits for, only successes from now on count."""
    return any(change.field == "after" or (change.field == "suspend" and change.before is True) for change in fields)


def _is_same(old: Any, new: Any) -> bool:
    # In Python 1 == True == 1.0, while in the JSON that is digested they are three values.
    if type(old) is not type(new):
        return False
    if isinstance(old, list):
        return len(old) == len(new) and all(map(_is_same, old, new))
    if isinstance(old, dict):
        return old.keys() == new.keys() and all(_is_same(old[key], new[key]) for key in old)
    return bool(old == new)

"""Why does a plan delete this? The commit that removed its file says it, where git can tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reconciler.plan.plan import Change, Plan, Removed


def removed_paths(plan: Plan) -> list[str]:
    """The files about which git is to be asked; none where nothing is deleted."""
    return sorted({change.path for change in plan.changes if change.verb == "delete" and not change.is_drift})


def with_evidence(plan: Plan, removals: Mapping[str, Removed]) -> Plan:
    """The plan, whose deletions name who removed the file; those of which nothing is known stay as they are."""
    if not removals:
        return plan
    return replace(plan, changes=tuple(_with_evidence(change, removals) for change in plan.changes))


def _with_evidence(change: Change, removals: Mapping[str, Removed]) -> Change:
    removal = removals.get(change.path)
    if change.verb != "delete" or change.is_drift or removal is None:
        return change
    return replace(change, removal=removal, reason=words(removal))


def words(removal: Removed) -> str:
    """`removed by 1a2b3c4 (Ada: drop old reports)`, `deleted here, not committed`."""
    if not removal.commit:
        return "deleted here, not committed" if removal.is_whole_file else "taken out of its file here, not committed"
    what = "removed" if removal.is_whole_file else "taken out of its file"
    return f"{what} by {removal.commit[:7]} ({removal.author}: {removal.subject})"

"""Which of the names that a plan changes are paused: what it brings will not run before the pause ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reconciler.cli.standing import pause_words

if TYPE_CHECKING:
    from reconciler.db.overrides import Override
    from reconciler.plan import Plan
    from reconciler.spec.specset import SpecSet


def paused(plan: Plan, specs: SpecSet, pauses: Sequence[Override]) -> dict[str, Override]:
    """The pause that holds each name that is created or changed, by the labels it is going to have; the longest."""
    if not pauses:
        return {}
    names = {change.name for change in plan.changes if change.verb != "delete"}
    # The specs of others are perhaps not parsed yet, and need not be.
    labels = {one.name: one.spec.labels for one in specs.specs if one.name in names}
    longest = sorted(pauses, key=_end)
    return {name: one for name, own in sorted(labels.items()) for one in longest if one.covers(name, own)}


def words(found: Mapping[str, Override], now: datetime) -> dict[str, str]:
    """`paused by ana@desk until …: the warehouse moves`, by name."""
    return {name: pause_words(one, "UTC", now) for name, one in found.items()}


def as_json(found: Mapping[str, Override]) -> list[dict[str, Any]]:
    return [
        {"name": name, "reason": one.reason, "actor": one.actor, "until": one.expires_at, "selector": one.selector}
        for name, one in found.items()
    ]


def _end(pause: Override) -> tuple[bool, float]:
    return pause.expires_at is None, pause.expires_at.timestamp() if pause.expires_at else 0.0

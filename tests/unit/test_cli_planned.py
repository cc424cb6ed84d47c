"""What a plan changes and a pause holds is said, with the labels that it is going to have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.cli.planned import as_json, paused, words
from reconciler.db.overrides import Override
from reconciler.plan import Change, Plan
from reconciler.plan.text import as_text
from reconciler.spec import LocatedSpec, SpecSet, TaskSpec

NOW = datetime(2026, 1, 2, 3, tzinfo=UTC)
LATER = NOW + timedelta(hours=2)

OWN = Override(1, "a", "pause", "moving", "ana@desk", NOW, LATER, None)
DATA = Override(2, None, "pause", None, "bob@desk", NOW, None, None, {"team": "data"})
GOLD = Override(3, None, "pause", None, "bob@desk", NOW, LATER, None, {"team": "data", "tier": "gold"})


def specs(**labels: dict[str, str]) -> SpecSet:
    found = []
    for name, own in labels.items():
        spec = TaskSpec.from_document({"name": name, "task": "t", "labels": own})
        found.append(LocatedSpec(spec, f"{name}.yaml", 1, spec.digest))
    return SpecSet(specs=tuple(found), faults=(), warnings=(), files=len(found))


def plan(**verbs: Any) -> Plan:
    return Plan(tuple(Change(verb, name, f"{name}.yaml", "new") for name, verb in verbs.items()), 0)


@pytest.mark.parametrize(
    ("changes", "labels", "pauses", "found"),
    [
        ({"a": "create"}, {"a": {}}, [], {}),
        ({"a": "create", "b": "update"}, {"a": {}, "b": {}}, [OWN], {"a": OWN}),
        ({"a": "create", "b": "adopt"}, {"a": {"team": "web"}, "b": {"team": "data"}}, [DATA], {"b": DATA}),
        ({"a": "create"}, {"a": {"team": "data"}}, [DATA, OWN], {"a": DATA}),  # the one that ends last
        ({"a": "create"}, {"a": {"team": "data"}}, [GOLD], {}),
        ({"a": "create"}, {"a": {"team": "data", "tier": "gold"}}, [GOLD], {"a": GOLD}),
        ({"a": "delete"}, {}, [OWN, DATA], {}),
        ({}, {"a": {"team": "data"}}, [OWN, DATA], {}),
    ],
)
def test_what_is_created_or_changed_and_paused(
    changes: dict[str, str], labels: dict[str, dict[str, str]], pauses: list[Override], found: dict[str, Override]
) -> None:
    assert paused(plan(**changes), specs(**labels), pauses) == found


def test_the_pause_stands_below_its_change() -> None:
    text = as_text(plan(a="create", b="create"), words({"a": OWN, "b": DATA}, NOW))
    assert text.splitlines() == [
        "+ a  new (a.yaml)",
        "    paused by ana@desk until 2026-01-02 05:00:00 UTC (in 2 h): moving",
        "+ b  new (b.yaml)",
        "    paused with team=data by bob@desk until resumed",
        "2 to create; 0 unchanged",
    ]
    assert as_json({"b": DATA}) == [
        {"name": "b", "reason": None, "actor": "bob@desk", "until": None, "selector": {"team": "data"}}
    ]

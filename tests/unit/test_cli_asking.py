"""What a command says before it asks for a run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.cli.asking import faults_by_schema, refuse_beside
from reconciler.db.pending import Pending
from reconciler.errors import Refused
from reconciler.spec import TaskSpec

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUNS = Pending("a", NOW, "manual", None, "ana", True, NOW - timedelta(minutes=3), NOW, True, [], None, None, "host:1")
RETRY = replace(
    RUNS, is_owned=False, started_at=None, not_before=NOW + timedelta(seconds=30), attempts=[{"error": "OSError: no"}]
)
WAITS = replace(RUNS, is_owned=False, started_at=None)

SCHEMA = {"properties": {"name": {}, "times": {}}, "required": ["name"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "params", "faults"),
    [
        (SCHEMA, {"name": "ana", "times": 3}, []),
        (SCHEMA, {"times": 3}, ["name: is missing; greet cannot be called without it"]),
        (
            SCHEMA,
            {"name": 1, "tims": 3},
            ["tims: greet has no such parameter; did you mean 'times'?"],
        ),
        (SCHEMA | {"additionalProperties": True}, {"name": 1, "tims": 3}, []),
        ({}, {}, []),
    ],
)
def test_names_of_parameters_are_checked_by_what_runners_publish(
    schema: dict[str, Any], params: dict[str, Any], faults: list[str]
) -> None:
    assert [str(fault) for fault in faults_by_schema("greet", schema, params)] == faults


@pytest.mark.parametrize(
    ("overlap", "pending", "said"),
    [
        ("skip", [], None),
        ("skip", [WAITS], None),
        ("allow", [RUNS], None),
        ("skip", [replace(RUNS, exclusive=False)], None),
        ("skip", [WAITS, RUNS], "it runs since 2026-01-02 03:01:05 UTC (3 min ago) on host:1"),
        ("queue", [RETRY], "attempt 1 failed (OSError: no), the next one comes in 30 s"),
    ],
)
def test_a_run_under_way_refuses_another_and_says_what_to_type(
    overlap: str, pending: list[Pending], said: str | None
) -> None:
    spec = TaskSpec.from_document({"name": "a", "task": "t", "overlap": overlap})
    if said is None:
        refuse_beside("trigger", spec, pending, NOW)
        return
    with pytest.raises(Refused) as refused:
        refuse_beside("trigger", spec, pending, NOW)
    assert str(refused.value) == (
        f"trigger: a: {said}: beside it: --overlap; after it: --queue; instead of it: reconciler cancel a"
    )

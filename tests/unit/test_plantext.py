"""How a plan reads."""

from __future__ import annotations

import json

from reconciler.plan import ABSENT, Change, FieldChange, Plan
from reconciler.plan.guards import Refusal
from reconciler.plan.text import as_json, as_text, field_line

PLAN = Plan(
    (
        Change("create", "disk-space", "disk-space.yaml", "new", moves_cursor=True),
        Change(
            "update",
            "nightly-sales",
            "nightly-sales.yaml",
            "edited, its instants count from now on",
            (FieldChange("schedule", ["0 2 * * *"], ["0 3 * * *"]),),
            moves_cursor=True,
        ),
        Change(
            "update",
            "report",
            "report.yaml",
            "edited, its instants stay as they are",
            (FieldChange("params.region", ABSENT, "eu"), FieldChange("retries.attempts", 1, 3)),
        ),
        Change("delete", "old", "old.yaml", "no longer in source 'default'"),
    ),
    unchanged=1234,
    refusals=(Refusal("owner", "owner refused: x belongs to source 'other'", ("x",)),),
    kept=("spare",),
)


def test_a_plan_is_one_line_a_change_with_its_fields() -> None:
    assert as_text(PLAN).splitlines() == [
        "+ disk-space  new (disk-space.yaml)",
        '~ nightly-sales  schedule: ["0 2 * * *"] -> ["0 3 * * *"]',
        "~ report  edited, its instants stay as they are (report.yaml)",
        '    params.region: (absent) -> "eu"',
        "    retries.attempts: 1 -> 3",
        "- old  no longer in source 'default' (old.yaml)",
        "owner refused: x belongs to source 'other'",
        "    x",
        "  spare  kept: not in PATH",
        "1 to create, 2 to update, 1 to delete; 1,234 unchanged",
    ]


def test_an_empty_plan_says_so() -> None:
    assert as_text(Plan((), 3)) == "nothing to change; 3 unchanged"


def test_the_json_form_is_complete_and_serialisable() -> None:
    document = json.loads(json.dumps(as_json(PLAN)))
    assert document["format_version"] == 1
    assert document["has_changes"] is True
    assert document["unchanged"] == 1234
    assert document["kept"] == ["spare"]
    assert document["refusals"][0]["what"] == "owner"
    assert document["changes"][1] == {
        "verb": "update",
        "name": "nightly-sales",
        "path": "nightly-sales.yaml",
        "reason": "edited, its instants count from now on",
        "fields": [{"field": "schedule", "before": ["0 2 * * *"], "after": ["0 3 * * *"]}],
        "moves_cursor": True,
    }
    assert document["changes"][2]["fields"][0] == {"field": "params.region", "after": "eu"}


def test_a_value_cannot_steer_the_terminal_or_flood_it() -> None:
    line = field_line(FieldChange("description", "\x1b[2J\x9b2J‮", "x" * 1000))
    assert line.isprintable()
    assert len(line) < 300

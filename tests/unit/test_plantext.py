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


def test_of_thousands_of_changes_the_first_are_shown_and_all_are_counted() -> None:
    names = tuple(f"task-{number}" for number in range(10_000))
    changes = tuple(Change("create", name, "", "new") for name in names)
    refusals = (Refusal("prune", "prune refused: 10000 of 10000 configs would be deleted", names),)
    *lines, last = as_text(Plan(changes, 7, refusals, kept=names)).splitlines()
    assert lines[199:202] == ["+ task-199  new", "… and 9,800 more; -o json lists all", refusals[0].text]
    assert [line for line in lines if line.startswith("…")] == ["… and 9,800 more; -o json lists all"] * 3
    assert len(lines) == 3 * 201 + 1
    assert last == "10,000 to create; 7 unchanged"
    assert len(as_json(Plan(changes, 7))["changes"]) == 10_000


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

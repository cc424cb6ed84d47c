"""How a plan reads."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from reconciler.impact import Changed, impact_of
from reconciler.plan import ABSENT, Change, FieldChange, Plan
from reconciler.plan.guards import Refusal
from reconciler.plan.text import as_json, as_text, field_line
from reconciler.spec import TaskSpec

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)

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
        "before_digest": None,
        "after_digest": None,
        "removal": None,
        "looks_like": None,
        "is_drift": False,
    }
    assert document["changes"][2]["fields"][0] == {"field": "params.region", "after": "eu"}


def test_a_value_cannot_steer_the_terminal_or_flood_it() -> None:
    line = field_line(FieldChange("description", "\x1b[2J\x9b2J‮", "x" * 1000))
    assert line.isprintable()
    assert len(line) < 300


@dataclass(frozen=True)
class Removal:
    commit: str
    author: str = "Ada"
    subject: str = "drop old reports"
    is_whole_file: bool = True


DELETED = Change("delete", "old", "old.yaml", "no longer in source 'default'", before_digest="d1")
COMMIT = "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d"


@pytest.mark.parametrize(
    ("removal", "line"),
    [
        (None, "- old  no longer in source 'default' (old.yaml)"),
        (Removal(COMMIT), "- old  removed by 1a2b3c4 (Ada: drop old reports) (old.yaml)"),
        (Removal(""), "- old  deleted here, not committed (old.yaml)"),
        (
            Removal(COMMIT, is_whole_file=False),
            "- old  no longer in its file, which was last changed by 1a2b3c4 (Ada: drop old reports) (old.yaml)",
        ),
        (Removal(COMMIT, "\x1b[2J", "\x07"), "- old  removed by 1a2b3c4 (\\x1b[2J: \\x07) (old.yaml)"),
    ],
)
def test_a_deletion_names_who_removed_the_file(removal: Removal | None, line: str) -> None:
    assert as_text(Plan((replace(DELETED, removal=removal),), 3)).splitlines()[0] == line


def test_a_likely_rename_says_on_both_lines_how_to_keep_the_history() -> None:
    created = Change("create", "new", "new.yaml", "new", moves_cursor=True, looks_like="old")
    assert as_text(Plan((created, replace(DELETED, looks_like="new")), 3)).splitlines() == [
        "+ new  new (new.yaml)",
        '    looks like a rename of old; add "name: old" to keep its history',
        "- old  no longer in source 'default' (old.yaml)",
        '    looks like a rename to new; add "name: old" there to keep its history',
        "1 to create, 1 to delete; 3 unchanged",
    ]


FIELD = FieldChange("timeout", "5m", "1h")
BY_HAND = Change("update", "a", "a.yaml", "was changed in PostgreSQL by hand", (FIELD,), is_drift=True)


def test_what_was_changed_by_hand_is_said_to_be_so_corrected_or_left() -> None:
    assert as_text(Plan((BY_HAND,), 3)).splitlines() == [
        "~ a  was changed in PostgreSQL by hand (a.yaml)",
        '    timeout: "5m" -> "1h"',
        "1 to update; 3 unchanged",
    ]
    assert as_text(Plan((), 3, drifted=(BY_HAND,))).splitlines() == [
        "! a  was changed in PostgreSQL by hand; reported and left as it is",
        '    timeout: "5m" -> "1h"',
        "nothing to change; 3 unchanged",
    ]


def test_what_keeps_its_last_good_state_is_listed() -> None:
    assert as_text(Plan((), 3, held=("a", "b"))).splitlines()[:2] == [
        "  a  held: a file has a fault, and its last good state stays",
        "  b  held: a file has a fault, and its last good state stays",
    ]


def test_a_refused_pass_shows_what_it_would_have_done() -> None:
    refusal = Refusal("rewind", "rewind refused: a1b2c3d does not descend from 9f8e7d6", ())
    assert as_text(Plan((), 3, (refusal,), withheld=(DELETED,))).splitlines() == [
        "- old  no longer in source 'default' (old.yaml)",
        "rewind refused: a1b2c3d does not descend from 9f8e7d6",
        "withheld: 1 to delete; 3 unchanged",
    ]


def test_a_pinned_source_says_where_it_is_pinned() -> None:
    lines = as_text(Plan((), 3, withheld=(DELETED,), pin="pinned at 9f8e7d6 by ana@desk: it broke")).splitlines()
    assert lines[1:] == ["pinned at 9f8e7d6 by ana@desk: it broke", "withheld: 1 to delete; 3 unchanged"]


def test_the_fires_of_a_change_stand_below_it_and_those_of_all_at_the_end() -> None:
    spec = TaskSpec.from_document({"name": "disk-space", "task": "t", "schedule": ["0 2 * * *"]})
    impact = impact_of([Changed("disk-space", "create", None, spec)], (), NOW)
    plan = Plan((Change("create", "disk-space", "d.yaml", "new", moves_cursor=True),), 3)
    assert as_text(plan, {"disk-space": "paused by ana@desk"}, impact).splitlines() == [
        "+ disk-space  new (d.yaml)",
        "    next: 2026-03-21 02:00, 2026-03-22 02:00, 2026-03-23 02:00 UTC",
        "    fires per day: 1; 0 fire at once",
        "    paused by ana@desk",
        "fires per day: 0 -> 1 over the next 28 days; 0 fire at once",
        "1 to create; 3 unchanged",
    ]
    assert json.loads(json.dumps(as_json(plan, impact)))["impact"]["fires_per_day"] == {"before": 0, "after": 1}


def test_the_json_form_has_the_evidence() -> None:
    plan = Plan(
        (replace(DELETED, removal=Removal(COMMIT), looks_like="new"),),
        3,
        held=("a",),
        drifted=(BY_HAND,),
        withheld=(DELETED,),
        pin="pinned",
    )
    document = json.loads(json.dumps(as_json(plan)))
    [change] = document["changes"]
    assert change["removal"] == {
        "commit": COMMIT,
        "author": "Ada",
        "subject": "drop old reports",
        "is_whole_file": True,
    }
    assert (change["before_digest"], change["after_digest"], change["looks_like"]) == ("d1", None, "new")
    assert (document["held"], document["pin"]) == (["a"], "pinned")
    assert [one["is_drift"] for one in document["drifted"]] == [True]
    assert [one["name"] for one in document["withheld"]] == ["old"]

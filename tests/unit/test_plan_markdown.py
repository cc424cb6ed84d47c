"""How a plan reads in a pull request."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reconciler.impact import Changed, impact_of
from reconciler.plan import Change, FieldChange, Plan
from reconciler.plan.guards import Refusal
from reconciler.plan.markdown import LONGEST, as_markdown, code
from reconciler.spec import Fault, TaskSpec

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
LIMIT = 65_536


def spec(name: str, schedule: str, **fields: object) -> TaskSpec:
    return TaskSpec.from_document({"name": name, "task": "t", "schedule": [schedule], **fields})


GOLDEN = """\
<!-- reconciler plan -->

### reconciler: 1 to create, 1 to update, 1 to delete; 1,234 unchanged

> [!CAUTION]
> `prune refused: 14 of 20 configs would be deleted (budget 2); if that is meant: reconciler apply --max-prune 14`
> - `a`
> - `b`

> [!WARNING]
> - `new` `looks like a rename of old; add "name: old" to keep its history`

| | task | what | fires per day |
|:-:|---|---|---|
| `+` | `new` | `new` | 1 |
| `~` | `sales` | `schedule`: `["0 2 * * *"]` → `["0 2 * * 1-5"]`<br>`params.sep`: `(absent)` → `"\\|"` | 1 → 0.71 |
| `-` | `old` | `no longer in source 'default'` | 1 → 0 |

Fires per day, all tasks: **3 → 2.71 over the next 28 days**; 0 fire at once.

<details><summary>1 kept: not in the specs, and nothing is deleted</summary>

- `spare`

</details>

<details><summary>When they run</summary>

`new`
- `next: 2026-03-21 03:00, 2026-03-22 03:00, 2026-03-23 03:00 UTC`
- `fires per day: 1; 0 fire at once`
- `paused by ana@desk`

`sales`
- `next before: 2026-03-21 02:00, 2026-03-22 02:00, 2026-03-23 02:00 Europe/Berlin`
- `next after: 2026-03-23 02:00, 2026-03-24 02:00, 2026-03-25 02:00 Europe/Berlin`
- `fires per day: 1 -> 0.71; 0 fire at once`

`old`
- `no longer: 2026-03-21 03:00, 2026-03-22 03:00, 2026-03-23 03:00 UTC`
- `fires per day: 1 -> 0`

</details>
"""


def test_refusals_and_warnings_stand_on_top_and_the_rest_is_a_table() -> None:
    before, after = (spec("sales", text, timezone="Europe/Berlin") for text in ("0 2 * * *", "0 2 * * 1-5"))
    fields = (
        FieldChange("schedule", ["0 2 * * *"], ["0 2 * * 1-5"]),
        FieldChange("params.sep", *_absent_and("|")),
    )
    text = (
        "prune refused: 14 of 20 configs would be deleted (budget 2); if that is meant: reconciler apply --max-prune 14"
    )
    plan = Plan(
        (
            Change("create", "new", "new.yaml", "new", moves_cursor=True, looks_like="old"),
            Change("update", "sales", "sales.yaml", "edited, its instants count from now on", fields, True),
            Change("delete", "old", "old.yaml", "no longer in source 'default'"),
        ),
        1234,
        (Refusal("prune", text, ("a", "b")),),
        kept=("spare",),
    )
    impact = impact_of(
        [
            Changed("new", "create", None, spec("new", "0 3 * * *")),
            Changed("sales", "update", before, after),
            Changed("old", "delete", spec("old", "0 3 * * *"), None),
        ],
        [spec("other", "0 5 * * *")],
        NOW,
    )
    assert as_markdown(plan, impact, pauses={"new": "paused by ana@desk"}) == GOLDEN


def _absent_and(value: object) -> tuple[object, object]:
    from reconciler.plan import ABSENT

    return ABSENT, value


def test_specs_with_faults_are_told_without_a_plan() -> None:
    faults = [Fault("specs/a.yaml", 4, 12, "schedule", "'60 * * * *' has minute 60; minutes run 0-59")]
    warnings = [Fault("specs/b.yaml", 1, 1, "schedule", "both *or*")]
    assert as_markdown(None, None, faults, warnings) == (
        "<!-- reconciler plan -->\n\n"
        "### reconciler: 1 fault in the specs; no plan is made\n\n"
        "- :x: `specs/a.yaml:4:12: schedule: '60 * * * *' has minute 60; minutes run 0-59`\n\n"
        "<details><summary>1 warning</summary>\n\n- `specs/b.yaml:1:1: schedule: both *or*`\n\n</details>\n"
    )


def test_no_change_is_one_line() -> None:
    assert as_markdown(Plan((), 7)) == "<!-- reconciler plan -->\n\n### reconciler: nothing to change; 7 unchanged\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "`plain`"),
        ("a`b", "``a`b``"),
        ("``", "``` `` ```"),
        ("two\nlines\x1b[2J", "`two lines [2J`"),
        ("", "` `"),
        ("@team <img src=x>", "`@team <img src=x>`"),
    ],
)
def test_what_others_wrote_is_shown_and_does_nothing(text: str, shown: str) -> None:
    assert code(text) == shown


def test_a_bar_does_not_end_a_cell() -> None:
    assert code("a|b", is_cell=True) == "`a\\|b`"


@pytest.mark.parametrize("count", [1, 200, 10_000])
def test_it_fits_into_a_comment_whatever_it_holds(count: int) -> None:
    long = "x" * 120
    names = [f"{number}-{long}" for number in range(count)]
    fields = tuple(FieldChange(f"params.{key}", long * 4, long * 5) for key in "abcdefgh")
    plan = Plan(
        tuple(Change("update", name, f"{name}.yaml", "edited", fields) for name in names),
        7,
        tuple(Refusal("owner", long * 8, tuple(names)) for _ in range(5)),
        kept=tuple(names),
        held=tuple(names),
        drifted=tuple(Change("update", name, "", "was changed by hand", fields, is_drift=True) for name in names),
    )
    before, after = (spec("a", text, timeout="2d") for text in ("0 2 * * 5", "0 3 1 * 5"))
    impact = impact_of([Changed(name, "update", before, after) for name in names], (), NOW)
    faults = [Fault(f"specs/{name}.yaml", 4, 12, "schedule", long) for name in names]
    for given in ([], faults):
        text = as_markdown(plan, impact, given, given, pauses=dict.fromkeys(names, long))
        assert len(text) < LIMIT
        assert text.count("<details>") == text.count("</details>")
        assert ("more" in text) == (count > 1 or len(fields) > 5)
    assert len(as_markdown(None, None, faults * 3, faults * 3)) < LIMIT
    assert LONGEST < LIMIT

"""What a plan changes and a pause holds is said, with the labels that it is going to have."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from reconciler.cli.planned import as_json, coloured, outputs, paused, show, show_faults, words, write_github
from reconciler.db.overrides import Override
from reconciler.impact import Changed, impact_of
from reconciler.plan import Change, Plan
from reconciler.plan.guards import Refusal
from reconciler.plan.text import as_text
from reconciler.spec import Fault, LocatedSpec, SpecSet, TaskSpec

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


REFUSED = Plan(
    (Change("create", "a", "a.yaml", "new", moves_cursor=True),),
    3,
    (Refusal("prune", "prune refused: 14 of 20 would be deleted\nif meant: 100%", ("b",)),),
)
FAULTY = SpecSet(
    faults=(Fault("specs/a,b.yaml", 4, 12, "schedule", "'60 * * * *' has minute 60"),),
    warnings=(Fault("specs/c.yaml", 2, 1, "", "odd"),),
    files=2,
)


def busy() -> list[Changed]:
    document = {"task": "t", "schedule": ["0 3 * * *"]}
    specs = [TaskSpec.from_document({"name": f"n{number}", **document}) for number in range(12)]
    return [Changed(one.name, "create", None, one) for one in specs]


def test_a_workflow_gets_annotations_a_summary_and_outputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    summary, output = tmp_path / "summary", tmp_path / "output"
    output.write_text("earlier=1\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_OUTPUT", str(output))
    show(REFUSED, impact_of(busy(), (), NOW), "github", now=NOW)
    assert capsys.readouterr().out.splitlines() == [
        "::error title=prune refused::prune refused: 14 of 20 would be deleted%0Aif meant: 100%25",
        "::warning title=load::Sat 03:00 UTC goes from 0 to 12 tasks; `H 3 * * *` would spread them",
    ]
    assert summary.read_text().startswith("<!-- reconciler plan -->\n\n### reconciler: 1 to create; 3 unchanged\n")
    assert output.read_text().splitlines() == [
        "earlier=1",
        "has_changes=true",
        "created=1",
        "updated=0",
        "deleted=0",
        "adopted=0",
        "unchanged=3",
        "refusals=1",
        "faults=0",
    ]


def test_outside_of_a_workflow_the_summary_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    write_github(REFUSED, None, environ={})
    assert "### reconciler: 1 to create; 3 unchanged" in capsys.readouterr().out


def test_faults_are_annotated_at_their_line_and_in_the_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = tmp_path / "summary"
    write_github(None, None, FAULTY, environ={"GITHUB_STEP_SUMMARY": str(summary)})
    assert capsys.readouterr().out.splitlines() == [
        "::error file=specs/a%2Cb.yaml,line=4,col=12::schedule: '60 * * * *' has minute 60",
        "::warning file=specs/c.yaml,line=2,col=1::odd",
    ]
    assert "### reconciler: 1 fault in the specs; no plan is made" in summary.read_text()
    assert outputs(None, FAULTY)["faults"] == "1"
    assert outputs(None, FAULTY)["has_changes"] == "false"


def test_faults_are_told_in_the_shape_that_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    show_faults(FAULTY, "markdown")
    assert "- :x: `specs/a,b.yaml:4:12: schedule: '60 * * * *' has minute 60`" in capsys.readouterr().out
    show_faults(FAULTY, "json")
    document = json.loads(capsys.readouterr().out)
    assert (document["has_changes"], document["is_valid"], len(document["faults"])) == (False, False, 1)
    show_faults(FAULTY, "text")  # those are on stderr already
    assert capsys.readouterr().out == ""


def test_a_plan_as_json_has_its_impact_and_the_pauses(capsys: pytest.CaptureFixture[str]) -> None:
    show(REFUSED, impact_of(busy(), (), NOW), "json", now=NOW, paused={"a": OWN})
    document = json.loads(capsys.readouterr().out)
    assert document["impact"]["fires_per_day"] == {"before": 0, "after": 12}
    assert document["paused"][0]["name"] == "a"


LINES = [
    "+ a  new",
    "    fires per day: 1; 0 fire at once",
    "- b  gone",
    "~ c  edited",
    "@ d  taken over",
    "! e  by hand",
    "prune refused: 14 of 20",
    "    warning: may overlap",
    "1 to create; 3 unchanged",
]


def test_in_a_terminal_the_marks_have_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.cli.planned.is_terminal", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    found = coloured(LINES)
    assert [click.unstyle(line) for line in found] == LINES
    expected = ["\x1b[32m", "", "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[35m", "\x1b[31m\x1b[1m", "\x1b[33m", ""]
    assert [line[: -len(click.unstyle(line)) - 4] if "\x1b" in line else "" for line in found] == expected


@pytest.mark.parametrize(("terminal", "wish"), [(False, ""), (True, "1")])
def test_through_a_pipe_or_when_nobody_wants_colour_there_is_none(
    terminal: bool, wish: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.cli.planned.is_terminal", lambda: terminal)
    monkeypatch.setenv("NO_COLOR", wish)
    assert coloured(LINES) == LINES

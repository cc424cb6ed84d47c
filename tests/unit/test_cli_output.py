"""What a program reads from a listing, and what goes through a pipe."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest
import yaml

from reconciler.cli.output import Column, Format, plain, show, width

ROWS = [
    {"name": "nightly", "at": datetime(2026, 1, 2, 3, tzinfo=UTC), "error": "a\nb"},
    {"name": "日本", "at": datetime(2026, 1, 2, 3, 0, 0, 250_000, tzinfo=UTC), "error": None},
]
COLUMNS = [Column("name", lambda row: row["name"]), Column("error", lambda row: row["error"] or "-")]


def test_json_has_its_format_version_first_and_instants_in_utc(capsys: pytest.CaptureFixture[str]) -> None:
    show("json", "things", ROWS, COLUMNS, empty="none", extra={"more": 1})
    answer = json.loads(capsys.readouterr().out)
    assert list(answer) == ["format_version", "things", "more"]
    assert answer["format_version"] == 1
    assert [row["at"] for row in answer["things"]] == ["2026-01-02T03:00:00Z", "2026-01-02T03:00:00.250000Z"]


def test_yaml_says_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    show("json", "things", ROWS, COLUMNS, empty="none")
    as_json = json.loads(capsys.readouterr().out)
    show("yaml", "things", ROWS, COLUMNS, empty="none")
    assert yaml.safe_load(capsys.readouterr().out) == as_json


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_a_program_gets_an_empty_list_where_a_person_gets_a_sentence(
    output: Format, capsys: pytest.CaptureFixture[str]
) -> None:
    show(output, "things", [], COLUMNS, empty="nothing yet")
    assert yaml.safe_load(capsys.readouterr().out) == {"format_version": 1, "things": []}
    show("table", "things", [], COLUMNS, empty="nothing yet")
    assert capsys.readouterr().out == "nothing yet\n"


def test_a_piped_table_is_aligned_columns_without_colour_one_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    show("table", "things", ROWS, COLUMNS, empty="none")
    out = capsys.readouterr().out
    assert out.splitlines() == ["name     error", "nightly  a b", "日本     -"]
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (timedelta(minutes=90), "1h30m"),
        (date(2026, 12, 24), "2026-12-24"),
        ({1: (True, None)}, {"1": [True, None]}),
    ],
)
def test_values_become_what_json_can_hold(value: object, expected: object) -> None:
    assert plain(value) == expected


def test_a_terminal_cell_is_counted_as_a_terminal_does() -> None:
    assert [width(text) for text in ("abc", "日本", "é", "e\N{COMBINING ACUTE ACCENT}")] == [3, 4, 1, 1]

"""A table on a terminal: one line a row, and what goes first where there is no room."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.cli import output
from reconciler.cli.detail import fact_lines
from reconciler.cli.fitting import cut, fitted
from reconciler.cli.history import columns
from reconciler.cli.output import width

NOW = datetime(2026, 1, 2, 8, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def without_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


def run(name: str, hours: int, error: str | None = None, attempts: int = 1) -> dict[str, Any]:
    at = NOW - timedelta(hours=hours)
    return {
        "name": name,
        "scheduled_for": at,
        "started_at": at,
        "finished_at": at + timedelta(microseconds=80),
        "is_success": error is None,
        "trigger": "schedule",
        "attempts": [{}] * (attempts - 1),
        "error": error,
    }


ROWS = [run("deliberate-failure", 1, "ValueError: " + "a long story " * 9), run("another-name-as-long", 20)]


def shown(room: int, rows: list[dict[str, Any]] = ROWS) -> list[str]:
    return list(fitted(rows, columns(NOW), room))


@pytest.mark.parametrize("room", [80, 100])
def test_a_row_of_history_is_one_line_that_fits_with_its_name_whole(room: int) -> None:
    lines = shown(room)
    assert len(lines) == 1 + len(ROWS)
    assert max(map(width, lines)) <= room
    assert lines[1].startswith("deliberate-failure ")
    assert lines[1].endswith("…")
    assert lines[2].startswith("another-name-as-long ")


def test_a_short_time_has_its_date_where_that_is_not_today() -> None:
    _, today, yesterday = shown(80)
    assert " 07:00:00 " in today
    assert "2026-01-02" not in today
    assert " 2026-01-01 12:00:00 " in yesterday


def test_what_says_nothing_goes_first_and_only_where_there_is_no_room() -> None:
    assert "attempt" not in shown(80)[0]
    assert "trigger" not in shown(80)[0]
    assert "attempt" in shown(300)[0]
    assert "attempt" in shown(80, [run("x", 1, "e" * 90, attempts=2)])[0]


def test_where_there_is_room_nothing_is_cut_and_times_are_whole() -> None:
    lines = shown(300)
    assert "…" not in "".join(lines)
    assert "2026-01-02 07:00:00" in lines[1]


@pytest.mark.parametrize(("text", "room", "expected"), [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("日本語", 5, "日本…")])
def test_a_cut_text_ends_with_an_ellipsis_within_its_room(text: str, room: int, expected: str) -> None:
    assert cut(text, room) == expected


def test_parameters_have_a_line_each_and_break_between_words_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.cli.detail.is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    assert output.columns_of_terminal() == 60
    lines = fact_lines("params", {"why": "many words " * 8, "n": 3})
    assert lines[0].startswith('params       why: "many words')
    assert lines[1].startswith(" " * 15)
    assert lines[1].strip().split()[0] in {"many", "words"}
    assert lines[-1] == " " * 13 + "n: 3"
    assert max(map(len, lines)) <= 60

"""The load as a picture: within the room there is, in characters that every terminal has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.cli.loadpicture import picture

BEGIN = datetime(2026, 6, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def drawn(hours: dict[int, int], length: timedelta, room: int = 80) -> list[str]:
    return list(picture({BEGIN + at * HOUR: count for at, count in hours.items()}, BEGIN, BEGIN + length, room))


def test_a_few_hours_are_bars() -> None:
    assert drawn({0: 1, 2: 10}, 3 * HOUR, room=30) == [
        "Mon 00:00  ## 1",
        "Mon 01:00  0",
        "Mon 02:00  " + "#" * 16 + " 10",
    ]


def test_days_are_rows_and_hours_are_columns() -> None:
    lines = drawn({0: 90, 23: 1, 30: 50}, 2 * DAY)
    assert lines == [
        "           00          06          12          18",
        "Mon 06-01  @@" + " " * 44 + "..  91",
        "Tue 06-02  " + " " * 12 + "++" + " " * 34 + "  50",
        "           '@' is 90 an hour, '.' up to 10, ' ' none",
    ]


def test_where_there_is_little_room_an_hour_is_one_character() -> None:
    lines = drawn({0: 9}, 2 * DAY, room=50)
    assert lines[1] == "Mon 06-01  @" + " " * 23 + "  9"


def test_a_long_time_is_put_together_by_the_day_of_the_week() -> None:
    lines = drawn(dict.fromkeys(range(0, 24 * 364, 24), 2), 364 * DAY)
    assert [line.split()[0] for line in lines[1:-1]] == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    assert lines[1].endswith("  104")


@pytest.mark.parametrize("length", [HOUR, 5 * HOUR, 2 * DAY, 34 * DAY, 40 * DAY])
@pytest.mark.parametrize("room", [60, 80, 200])
def test_no_line_is_wider_than_the_room(length: timedelta, room: int) -> None:
    assert all(len(line) <= room for line in drawn({0: 12_345}, length, room))


def test_nothing_is_drawn_of_nothing() -> None:
    assert drawn({}, DAY) == []

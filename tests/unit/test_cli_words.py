"""How moments and lengths are said to a person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.cli.words import exact, when
from reconciler.durations import span

NOW = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(0), "<1 ms"),
        (timedelta(microseconds=600), "1 ms"),
        (timedelta(milliseconds=12), "12 ms"),
        (timedelta(seconds=1), "1 s"),
        (timedelta(seconds=65), "65 s"),
        (timedelta(seconds=119), "119 s"),
        (timedelta(minutes=3, seconds=20), "3 min"),
        (timedelta(minutes=119), "119 min"),
        (timedelta(minutes=119, seconds=59, milliseconds=999), "2 h"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=2, minutes=5), "2 h 5 min"),
        (timedelta(days=2), "2 d"),
        (timedelta(days=4, hours=2, minutes=9), "4 d 2 h"),
    ],
)
def test_a_length_is_as_fine_as_it_is_short(length: timedelta, text: str) -> None:
    assert span(length) == text


@pytest.mark.parametrize(
    ("away", "text"),
    [
        (timedelta(minutes=3), "in 3 min"),
        (timedelta(seconds=-12), "12 s ago"),
        (timedelta(milliseconds=300), "now"),
        (timedelta(milliseconds=-300), "now"),
    ],
)
def test_a_moment_is_near_or_far_from_now(away: timedelta, text: str) -> None:
    assert when(NOW + away, NOW) == text


@pytest.mark.parametrize(
    ("moment", "zone", "text"),
    [
        (NOW, "Europe/Berlin", "2026-01-02 04:00:00 Europe/Berlin"),
        (NOW, "UTC", "2026-01-02 03:00:00 UTC"),
        (NOW + timedelta(milliseconds=250), "UTC", "2026-01-02 03:00:00.250 UTC"),
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "Europe/Berlin", "2026-10-25 02:30:00+0200 Europe/Berlin"),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "Europe/Berlin", "2026-10-25 02:30:00+0100 Europe/Berlin"),
    ],
)
def test_an_exact_time_names_its_zone_and_its_offset_where_the_time_comes_twice(
    moment: datetime, zone: str, text: str
) -> None:
    assert exact(moment, zone) == text

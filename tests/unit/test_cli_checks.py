"""The checks of `doctor` that are rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.cli.checks import clock_went_back

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize("ahead", [None, timedelta(hours=-1), timedelta(0), timedelta(seconds=1)])
def test_a_beat_of_the_past_says_nothing_about_the_clock(ahead: timedelta | None) -> None:
    assert list(clock_went_back(None if ahead is None else NOON + ahead, NOON)) == []


def test_a_beat_of_the_future_says_that_the_clock_went_back() -> None:
    [check] = clock_went_back(NOON + timedelta(minutes=30), NOON)
    assert (check.what, check.state) == ("clock of postgresql", "warning")
    assert check.text == (
        "it went back: a runner was seen 30 min from now: nothing fires again until it is there; check its NTP"
    )

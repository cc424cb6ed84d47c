"""Jitter is the same for the same occurrence, stays inside its bounds, and spreads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.schedule.jitter import fraction_of, jitter_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOTHING = timedelta(0)
spans = st.timedeltas(NOTHING, timedelta(days=400))
moments = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))


@given(name=st.text(), moment=moments, jitter=spans, bound=st.none() | spans)
def test_it_is_never_negative_and_stays_below_the_jitter_and_the_next_instant(
    name: str, moment: datetime, jitter: timedelta, bound: timedelta | None
) -> None:
    put_off = jitter_of(name, moment, jitter, bound)
    span = jitter if bound is None else min(jitter, bound)
    assert put_off >= NOTHING
    assert put_off < span or put_off == span == NOTHING


@given(name=st.text(), moment=moments, jitter=spans)
def test_it_is_the_same_whenever_it_is_asked(name: str, moment: datetime, jitter: timedelta) -> None:
    assert jitter_of(name, moment, jitter) == jitter_of(name, moment, jitter)


@pytest.mark.parametrize(
    ("jitter", "bound"),
    [(NOTHING, None), (NOTHING, timedelta(hours=1)), (timedelta(hours=1), NOTHING), (-NOON.resolution, None)],
)
def test_without_room_there_is_none(jitter: timedelta, bound: timedelta | None) -> None:
    assert jitter_of("report", NOON, jitter, bound) == NOTHING


def test_it_is_known_in_advance() -> None:
    # Another value for the same occurrence would make an upgrade fire what is held back, or hold back what is due.
    assert jitter_of("nightly", NOON, timedelta(seconds=30)) == timedelta(milliseconds=7354)


def test_names_and_instants_are_spread_evenly() -> None:
    minute = timedelta(minutes=1)
    by_name = [jitter_of(f"task-{n}", NOON, minute) for n in range(1000)]
    by_instant = [jitter_of("task", NOON + n * minute, minute) for n in range(1000)]
    for spread in (by_name, by_instant):
        quarters = [sum(minute / 4 * q <= put_off < minute / 4 * (q + 1) for put_off in spread) for q in range(4)]
        assert all(200 <= quarter <= 300 for quarter in quarters)


def test_it_is_whole_milliseconds() -> None:
    assert all(
        jitter_of("task", NOON + timedelta(seconds=n), timedelta(seconds=1)).microseconds % 1000 == 0 for n in range(50)
    )


@given(st.text())
def test_a_fraction_is_from_nothing_to_below_one(text: str) -> None:
    assert 0 <= fraction_of(text) < 1

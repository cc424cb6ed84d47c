"""How often a task fires is counted by the calendar, and agrees with looking at every instant."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.impact.fires import fires_between, seconds
from reconciler.impact.load import starting
from reconciler.impact.timing import Timing, timing_of, timing_of_document
from reconciler.schedule.zone import DAY, EPOCH
from reconciler.spec import TaskSpec

BERLIN, LORD_HOWE, APIA, CASABLANCA = "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca"
SPRING = datetime(2026, 3, 29, tzinfo=UTC)
AUTUMN = datetime(2026, 10, 25, tzinfo=UTC)


def counted(timing: Timing, begin: int, end: int) -> int:
    schedule = timing.when()
    if schedule is None:
        return 0
    after, until = (EPOCH + timedelta(seconds=moment - 1) for moment in (begin, end))
    found = schedule.count(after, until, limit=10_000_000)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("timing", "start", "days", "fires"),
    [
        (Timing(("0 2 * * *",)), SPRING, 28, 28),
        (Timing(("0 2 * * 1-5",)), SPRING, 28, 20),
        (Timing(("@daily",)), SPRING, 28, 28),
        (Timing(("@every 1s",)), SPRING, 28, 28 * DAY),
        (Timing(("@every 7h",)), SPRING, 28, 96),
        (Timing(("*/5 * * * *",)), SPRING, 1, 288),
        (Timing(("* * * * * *",), seconds="first"), SPRING, 28, 28 * DAY),
        # One hour is not there on this day, and one comes twice on that.
        (Timing(("*/5 * * * *",), BERLIN), SPRING - timedelta(hours=1), 1, 288),
        (Timing(("30 2 * * *",), BERLIN), SPRING, 1, 1),
        (Timing(("30 2 * * *",), BERLIN, gap="skip"), SPRING, 1, 0),
        (Timing(("30 2 * * *",), BERLIN, fold="both"), AUTUMN - timedelta(hours=2), 1, 2),
        (Timing(("0,30 2,3 * * *",), BERLIN, gap="after"), SPRING, 1, 2),  # both skipped ones at 03:00, which is due
        # Times that two expressions share are one.
        (Timing(("0 9 * * *", "0 9 * * 1-5", "30 9 * * 6")), SPRING, 28, 28 + 4),
        (Timing(("0 0 13 * 5",)), datetime(2026, 3, 1, tzinfo=UTC), 28, 1 + 4 - 1),
        (Timing(("0 2 * * *",), skip_on=(date(2026, 3, 30), date(2026, 3, 31))), SPRING, 28, 26),
        (Timing(("@every 1h",), skip_on=(date(2026, 3, 30),)), SPRING, 28, 27 * 24),
        (Timing(("0 2 * * *",), starts_at=SPRING + timedelta(days=20)), SPRING, 28, 8),
        (Timing(("0 2 * * *",), ends_at=SPRING + timedelta(days=1, hours=2)), SPRING, 28, 2),
        (Timing(("0 2 * * *",), BERLIN, ends_at=datetime(2026, 3, 30, 2, 0)), SPRING, 28, 2),
        (Timing(("@every 1d",), starts_at=SPRING + timedelta(hours=5)), SPRING, 2, 2),
        (Timing(("0 2 * * *",), is_suspended=True), SPRING, 28, 0),
        (Timing(()), SPRING, 28, 0),
        (Timing(("0 2 * * *", "@every 12h")), SPRING, 1, 3),
    ],
)
def test_fires_in_so_many_days(timing: Timing, start: datetime, days: int, fires: int) -> None:
    begin = seconds(start)
    assert fires_between(timing, begin, begin + days * DAY) == (fires, True)
    assert counted(timing, begin, begin + days * DAY) == fires


def test_what_is_too_much_to_count_is_told_from_one_day() -> None:
    timing = Timing(("@every 2s", "0 0 1 1 *"))
    begin = seconds(SPRING)
    fires, is_exact = fires_between(timing, begin, begin + 28 * DAY)
    assert not is_exact
    assert fires == pytest.approx(28 * DAY / 2)


fields = st.sampled_from(["*", "0", "30", "59", "*/7", "1-4", "2,3", "H"])
hours = st.sampled_from(["*", "0", "1", "2", "2,3", "23", "*/5", "0-6"])
day_parts = st.sampled_from(["* * *", "* * 1-5", "1 * *", "L * *", "13 * 5", "* 3,4,10 *", "* * 7#1", "31 * *"])
crons = st.builds(lambda minute, hour, day: f"{minute} {hour} {day}", fields, hours, day_parts)
bounds = st.none() | st.integers(-20, 40).map(lambda days: SPRING + timedelta(days=days, hours=5, minutes=3))
timings = st.builds(
    Timing,
    schedule=st.lists(crons, min_size=1, max_size=3).map(tuple)
    | st.sampled_from(["@every 7m", "@every 36h"]).map(lambda one: (one,)),
    timezone=st.sampled_from(["UTC", BERLIN, LORD_HOWE, APIA, CASABLANCA, "America/New_York", "Africa/Cairo"]),
    gap=st.sampled_from(["default", "after", "skip"]),
    fold=st.sampled_from(["default", "first", "second", "both"]),
    starts_at=bounds,
    ends_at=st.none(),
    skip_on=st.sampled_from([(), (date(2026, 3, 29), date(2026, 10, 25), date(2011, 12, 31))]),
    seconds=st.none(),
    is_suspended=st.just(False),
    is_spread=st.just(False),
    name=st.just("some-task"),
)
starts = st.one_of(
    st.integers(0, 400 * DAY).map(lambda more: seconds(datetime(2026, 1, 1, tzinfo=UTC)) + more),
    st.integers(0, 40 * DAY).map(lambda more: seconds(datetime(2011, 12, 5, tzinfo=UTC)) + more),  # Apia leaps a day
)


@settings(max_examples=150, deadline=None)
@given(timings, starts, st.sampled_from([60, 3600, DAY, 3 * DAY + 77, 28 * DAY]))
def test_counting_by_the_calendar_agrees_with_counting_every_instant(timing: Timing, begin: int, length: int) -> None:
    fires, is_exact = fires_between(timing, begin, begin + length)
    assert is_exact
    assert fires == counted(timing, begin, begin + length)


DOCUMENTS = [
    {"schedule": ["0 2 * * *"]},
    {"schedule": ["H 2 * * *", "@every 3h"], "timezone": BERLIN, "jitter": "2m"},
    {"schedule": ["0 0 2 * * *"], "seconds": "first", "dst": {"gap": "skip", "fold": "both"}, "suspend": True},
    {"schedule": ["0 2 * * *"], "starts_at": "2026-01-02T03:00:00Z", "ends_at": "2027-01-02T03:00:00"},
    {"schedule": ["0 2 * * *"], "skip_on": ["2026-12-24", "2026-12-25"], "jitter": "30s"},
    {"after": ["b"]},
]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_says_the_same_as_its_spec(document: dict[str, object]) -> None:
    spec = TaskSpec.from_document({"name": "a", "task": "t", **document})
    assert timing_of_document(spec.document()) == timing_of(spec)
    assert hash(timing_of(spec)) == hash(timing_of_document(spec.document()))


def test_tasks_that_say_the_same_have_one_timing_unless_their_names_decide() -> None:
    def timing(name: str, text: str) -> Timing | None:
        return timing_of(TaskSpec.from_document({"name": name, "task": "t", "schedule": [text]}))

    assert timing("a", "0 3 * * *") == timing("b", "0 3 * * *")
    assert timing("a", "H 3 * * *") != timing("b", "H 3 * * *")


@settings(max_examples=150, deadline=None)
@given(timings, starts, st.lists(st.integers(0, 20_000), min_size=1, max_size=5))
def test_the_tasks_of_a_minute_are_those_with_an_instant_in_it(timing: Timing, begin: int, later: list[int]) -> None:
    minutes = [(begin - begin % 60) + 60 * more for more in later]
    found = [bool(count) for count in starting({timing: 1}, minutes)]
    assert found == [counted(timing, minute, minute + 60) > 0 for minute in minutes]

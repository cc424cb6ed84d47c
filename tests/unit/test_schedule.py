"""When a schedule is due: aliases, the day fields, `H`, intervals, bounds. Clock changes have a file of their own."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest

from reconciler.schedule import Dst, InvalidSchedule, Schedule


def at(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def first(schedule: Schedule, moment: str, count: int) -> list[str]:
    return [found.strftime("%Y-%m-%d %H:%M") for found in islice(schedule.upcoming(at(moment)), count)]


# (expression, asked at, expected), all in UTC. 2026-01-01 is a Thursday.
CALENDAR = [
    # Plain times, lists, ranges and steps.
    ("0 2 * * *", "2026-01-01 02:00", ["2026-01-02 02:00", "2026-01-03 02:00"]),
    ("0 2 * * *", "2026-01-01 01:59:59.999999", ["2026-01-01 02:00"]),
    ("*/20 4 * * *", "2026-01-01", ["2026-01-01 04:00", "2026-01-01 04:20", "2026-01-01 04:40", "2026-01-02 04:00"]),
    ("5/20 4 * * *", "2026-01-01", ["2026-01-01 04:05", "2026-01-01 04:25", "2026-01-01 04:45", "2026-01-02 04:05"]),
    (
        "10-20/5,50 0 * * *",
        "2026-01-01",
        ["2026-01-01 00:10", "2026-01-01 00:15", "2026-01-01 00:20", "2026-01-01 00:50"],
    ),
    ("00 08 01 01 *", "2026-01-01 09:00", ["2027-01-01 08:00"]),
    # Names, in any case; 7 is Sunday like 0; a range of one.
    ("0 0 * JAN,feb Mon", "2026-02-20", ["2026-02-23 00:00", "2027-01-04 00:00"]),
    ("0 0 * * 7", "2026-01-01", ["2026-01-04 00:00"]),
    ("0 0 * * 5-7", "2026-01-01", ["2026-01-02 00:00", "2026-01-03 00:00", "2026-01-04 00:00", "2026-01-09 00:00"]),
    ("0 0 5-5 * *", "2026-01-01", ["2026-01-05 00:00", "2026-02-05 00:00"]),
    # Aliases.
    ("@hourly", "2026-01-01 00:30", ["2026-01-01 01:00"]),
    ("@daily", "2026-01-01", ["2026-01-02 00:00"]),
    ("@midnight", "2026-01-01", ["2026-01-02 00:00"]),
    ("@weekly", "2026-01-01", ["2026-01-04 00:00"]),
    ("@monthly", "2026-01-01", ["2026-02-01 00:00"]),
    ("@yearly", "2026-01-01", ["2027-01-01 00:00"]),
    (" @ANNUALLY\n", "2026-01-01", ["2027-01-01 00:00"]),
    # L, the last day; 5L, the last Friday; #, the nth.
    ("0 0 L * *", "2028-01-31", ["2028-02-29 00:00", "2028-03-31 00:00", "2028-04-30 00:00"]),
    ("0 0 1,l 2 *", "2026-01-01", ["2026-02-01 00:00", "2026-02-28 00:00"]),
    ("0 0 * * 5L", "2026-01-01", ["2026-01-30 00:00", "2026-02-27 00:00"]),
    ("0 0 * * Lfri", "2026-01-01", ["2026-01-30 00:00", "2026-02-27 00:00"]),
    ("0 0 * * mon#1,3#2", "2026-01-01", ["2026-01-05 00:00", "2026-01-14 00:00", "2026-02-02 00:00"]),
    ("0 0 * * 4#5", "2026-01-01 00:00", ["2026-01-29 00:00", "2026-04-30 00:00"]),
    # Both day fields: either is enough (cron(8)), unless one begins with a star.
    ("0 0 13 * 5", "2026-01-08", ["2026-01-09 00:00", "2026-01-13 00:00", "2026-01-16 00:00"]),
    ("0 0 */2 * 5", "2026-01-01", ["2026-01-09 00:00", "2026-01-23 00:00", "2026-02-13 00:00"]),
    ("0 0 13 * */5", "2026-01-01", ["2026-02-13 00:00", "2026-03-13 00:00", "2026-09-13 00:00"]),
    ("0 0 ? * 5", "2026-01-01", ["2026-01-02 00:00"]),
    ("0 0 1-31 * 5", "2026-01-01", ["2026-01-02 00:00", "2026-01-03 00:00"]),
    # What comes seldom, over the leap year that 2100 is not.
    ("0 0 29 2 *", "2093-01-01", ["2096-02-29 00:00", "2104-02-29 00:00"]),
    ("0 0 */28 2 mon", "2026-01-01", ["2027-02-01 00:00", "2038-02-01 00:00", "2044-02-01 00:00", "2044-02-29 00:00"]),
]


@pytest.mark.parametrize(("expression", "moment", "expected"), CALENDAR)
def test_the_calendar_is_cron_s(expression: str, moment: str, expected: list[str]) -> None:
    assert first(Schedule([expression]), moment, len(expected)) == expected


@pytest.mark.parametrize(
    ("where", "expression"), [("first", "30 0 12 * * *"), ("last", "0 12 * * * 30"), ("last", "0 12 * * * 30/40")]
)
def test_a_sixth_field_is_for_seconds_where_the_spec_says(where: str, expression: str) -> None:
    schedule = Schedule([expression], seconds=where)  # type: ignore[arg-type]
    assert schedule.next_after(at("2026-01-01")) == at("2026-01-01 12:00:30")


def test_five_fields_still_do_where_six_are_allowed() -> None:
    assert Schedule(["0 12 * * *"], seconds="first").next_after(at("2026-01-01")) == at("2026-01-01 12:00")


def test_several_expressions_come_in_one_order_and_once_where_they_meet() -> None:
    schedule = Schedule(["0 3 * * *", "0 1,3 * * *", "@every 12h"])
    assert first(schedule, "2026-01-01 00:00", 4) == [
        "2026-01-01 01:00", "2026-01-01 03:00", "2026-01-01 12:00", "2026-01-02 00:00"
    ]  # fmt: skip


def test_day_of_month_with_day_of_week_is_warned_about() -> None:
    assert Schedule(["0 0 */2 * 5", "0 0 1 * *"]).warnings == ()
    assert Schedule(["0 0 1 * 5"]).warnings == (
        "'0 0 1 * 5' comes on day of month '1' *or* weekday '5', whichever matches, as in cron; "
        "for a weekday within the month write '1#1' (the first Monday) or '5L' (the last Friday)",
    )


def test_the_hash_of_a_name_is_the_documented_one_and_never_changes() -> None:
    # The first eight bytes of sha256("minute nightly-sales") leave 4 by 60, those of "hour nightly-sales" 15 by 24.
    assert first(Schedule(["H H * * *"], name="nightly-sales"), "2026-01-01", 1) == ["2026-01-01 15:04"]


@pytest.mark.parametrize(
    ("expression", "low", "high", "count"),
    [
        ("H * * * *", 0, 59, 1),
        ("H(0-30) * * * *", 0, 30, 1),
        ("H/15 * * * *", 0, 59, 4),
        ("H(30-59)/10 * * * *", 30, 59, 3),
    ],
)
def test_a_hash_stays_in_its_range_and_keeps_its_step(expression: str, low: int, high: int, count: int) -> None:
    seen = set()
    for name in ("a", "b", "c", "d", "e", "f", "g", "h"):
        (cron,) = Schedule([expression], name=name).crons
        assert len(cron.minutes) == count
        assert all(low <= minute <= high for minute in cron.minutes)
        seen.add(cron.minutes)
    assert len(seen) > 1


def test_a_hashed_day_of_the_month_is_one_that_every_month_has() -> None:
    days = {day for n in range(400) for day in Schedule(["0 0 H * *"], name=str(n)).crons[0].days.days}
    assert (min(days), max(days)) == (1, 28)


@pytest.mark.parametrize(
    ("expression", "starts_at", "expected"),
    [
        ("@every 30s", None, ["2026-01-01T00:00:30", "2026-01-01T00:01:00"]),
        ("@every 7h", None, ["2026-01-01T07:00:00", "2026-01-01T14:00:00"]),
        ("@every 1h30m", "2025-12-31T23:50:00", ["2026-01-01T01:20:00", "2026-01-01T02:50:00"]),
        ("@every 10m", "2026-02-01T00:00:05.5", ["2026-02-01T00:00:06", "2026-02-01T00:10:06"]),
        ("@EVERY 36525d", None, ["2070-01-01T00:00:00", "2170-01-02T00:00:00"]),
    ],
)
def test_an_interval_counts_elapsed_time_from_its_start_or_1970(
    expression: str, starts_at: str | None, expected: list[str]
) -> None:
    schedule = Schedule([expression], starts_at=at(starts_at) if starts_at else None)
    assert list(islice(schedule.upcoming(at("2026-01-01")), 2)) == [at(moment) for moment in expected]


def test_an_interval_takes_no_notice_of_clock_changes() -> None:
    schedule = Schedule(["@every 30m"], "Europe/Berlin", dst=Dst(gap="skip", fold="first"))
    for night in ("2026-03-28", "2026-10-24"):
        found = list(islice(schedule.upcoming(at(night)), 96))
        assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(minutes=30)}


def test_both_bounds_belong_to_the_schedule() -> None:
    schedule = Schedule(["0 0 * * *"], starts_at=at("2026-03-02"), ends_at=at("2026-03-04"))
    assert first(schedule, "2020-01-01", 9) == ["2026-03-02 00:00", "2026-03-03 00:00", "2026-03-04 00:00"]
    assert schedule.next_after(at("2026-03-04")) is None
    assert schedule.last_until(at("2030-01-01"), at("2020-01-01")) == at("2026-03-04")
    assert schedule.last_until(at("2026-03-01"), at("2020-01-01")) is None
    assert schedule.count(at("2020-01-01"), at("2030-01-01")) == 3


def test_a_bound_without_a_zone_is_on_the_schedule_s_own_clock() -> None:
    schedule = Schedule(["0 * * * *"], "Asia/Kathmandu", starts_at=datetime(2026, 3, 1, 12))
    assert schedule.next_after(at("2020-01-01")) == at("2026-03-01T06:15")
    assert schedule.starts_at == at("2026-03-01T06:15")


def test_skipped_dates_are_those_of_the_wall_clock() -> None:
    # 2026-12-25 in Auckland ends at 11:00 UTC.
    schedule = Schedule(["0 */6 * * *", "@every 6h"], "Pacific/Auckland", skip_on=frozenset({date(2026, 12, 25)}))
    assert first(schedule, "2026-12-24 06:00", 3) == ["2026-12-25 11:00", "2026-12-25 12:00", "2026-12-25 17:00"]
    assert schedule.last_until(at("2026-12-25 10:59"), at("2020-01-01")) == at("2026-12-24 06:00")


def test_years_of_skipped_dates_are_passed_over_at_once() -> None:
    years = frozenset(date(2026, 1, 1) + timedelta(days=day) for day in range(1096))
    for schedule in (Schedule(["* * * * * *"], seconds="last", skip_on=years), Schedule(["@every 1s"], skip_on=years)):
        assert schedule.next_after(at("2026-01-01")) == at("2029-01-01")
        assert schedule.last_until(at("2028-12-31 12:00"), at("2020-01-01")) == at("2025-12-31 23:59:59")
        assert schedule.count(at("2025-12-31 23:59:50"), at("2029-01-01 00:00:09")) == 19


def test_a_schedule_whose_days_are_all_skipped_never_comes() -> None:
    schedule = Schedule(
        ["0 0 1 1 *"], ends_at=at("2028-01-01"), skip_on=frozenset(date(y, 1, 1) for y in range(2026, 2029))
    )
    assert schedule.next_after(at("2025-06-01")) is None


@pytest.mark.parametrize("expression", ["* * * * *", "0 0 29 2 *", "@every 1s", "@every 36525d", "0 0 1 1 *"])
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/New_York"])
def test_the_ends_of_the_calendar_are_none_and_no_error(expression: str, zone: str) -> None:
    schedule = Schedule([expression], zone)
    lowest, highest = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert schedule.next_after(highest) is None
    assert schedule.last_until(lowest, lowest) is None
    assert schedule.count(highest, highest) == 0
    assert schedule.next_after(lowest) is not None
    last = schedule.last_until(highest, lowest)
    assert last is not None
    assert schedule.next_after(last) is None
    assert list(schedule.upcoming(last)) == []


def test_a_bound_at_the_edge_of_the_calendar_is_an_error_with_its_field() -> None:
    with pytest.raises(InvalidSchedule) as caught:
        Schedule(["@daily"], "Asia/Tokyo", starts_at=datetime.min)
    assert caught.value.field == "starts_at"


def test_a_moment_may_be_given_in_any_zone_and_comes_back_in_utc() -> None:
    schedule = Schedule(["30 2 * * *"], "Europe/Berlin")
    # In the repeated hour two zones are never equal, so what comes back has to be UTC.
    second_time = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))
    found = schedule.next_after(second_time)
    assert found == at("2026-10-26T01:30")
    assert found is not None
    assert found.tzinfo is UTC


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(TypeError):
        Schedule(["@daily"]).next_after(datetime(2026, 1, 1))


def test_schedules_are_values() -> None:
    def made(name: str) -> Schedule:
        return Schedule(["0 2 * * *"], "Europe/Berlin", name=name, skip_on=frozenset({date(2026, 1, 1)}))

    one, other = made("one"), made("other")
    assert one == other
    assert hash(one) == hash(other)
    assert Schedule(["H 2 * * *"], name="one") != Schedule(["H 2 * * *"], name="other")
    assert one.next_after(at("2026-01-01")) == pickle.loads(pickle.dumps(one)).next_after(at("2026-01-01"))
    assert pickle.loads(pickle.dumps(one)) == one
    assert len(pickle.dumps(one)) < 1000

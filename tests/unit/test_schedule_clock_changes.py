"""What clock changes do: cron(8) of Debian on daylight saving time, in zones that hurt.

Each row of a table is (expression, asked at, expected), as the wall clock with its offset from UTC, so that a reader
can check it against any printed list of clock changes. The rule is that of the manual page: a time that was skipped
runs right after the change and one that comes twice runs once, for jobs with fixed times; jobs with a `*` in hour or
minute take the clock as it is; and so do all where the clock changed by more than three hours.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest

from reconciler.schedule import Dst, Schedule

Table = list[tuple[str, str, list[str]]]


def check(zone: str, expression: str, asked: str, expected: list[str], dst: Dst = Dst()) -> None:  # noqa: B008
    schedule = Schedule([expression], zone, dst=dst)
    moments = [datetime.fromisoformat(text) for text in expected]
    # The table itself may not name a time that the zone's clock never shows.
    assert [moment.astimezone(ZoneInfo(zone)).utcoffset() for moment in moments] == [m.utcoffset() for m in moments]
    found = list(islice(schedule.upcoming(datetime.fromisoformat(asked)), len(expected)))
    assert found == [moment.astimezone(UTC) for moment in moments]
    backwards = schedule.last_until(found[-1], found[0] - timedelta(seconds=1))
    assert backwards == found[-1]
    assert schedule.count(datetime.fromisoformat(asked), found[-1]) == len(found)


# 02:00 -> 03:00 on 2026-03-29; 03:00 -> 02:00 on 2026-10-25.
BERLIN: Table = [
    ("30 2 * * *", "2026-03-28T12:00+01:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]),
    ("30 2 * * *", "2026-10-24T12:00+02:00", ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]),
    ("0 2 * * *", "2026-03-28T12:00+01:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]),
    ("0 2 * * *", "2026-10-24T12:00+02:00", ["2026-10-25T02:00+02:00", "2026-10-26T02:00+01:00"]),
    # The edges of the gap and of the fold are ordinary times.
    ("59 1 * * *", "2026-03-29T00:00+01:00", ["2026-03-29T01:59+01:00", "2026-03-30T01:59+02:00"]),
    ("0 3 * * *", "2026-03-29T00:00+01:00", ["2026-03-29T03:00+02:00", "2026-03-30T03:00+02:00"]),
    ("59 2 * * *", "2026-10-25T00:00+02:00", ["2026-10-25T02:59+02:00", "2026-10-26T02:59+01:00"]),
    ("0 3 * * *", "2026-10-25T00:00+02:00", ["2026-10-25T03:00+01:00", "2026-10-26T03:00+01:00"]),
    # Several skipped times are one run after the gap, also where one stands there anyway.
    ("0,20,40 2 * * *", "2026-03-28T23:00+01:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]),
    ("0 2,3 * * *", "2026-03-28T23:00+01:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]),
    # A day that is asked for by its date or weekday.
    ("30 2 29 3 *", "2026-01-01T00:00+01:00", ["2026-03-29T03:00+02:00", "2027-03-29T02:30+02:00"]),
    ("30 2 * * 0", "2026-10-24T00:00+02:00", ["2026-10-25T02:30+02:00", "2026-11-01T02:30+01:00"]),
    # A star in hour or minute takes the clock as it is.
    ("*/30 * * * *", "2026-03-29T01:15+01:00", ["2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00"]),
    ("@hourly", "2026-03-29T00:30+01:00", ["2026-03-29T01:00+01:00", "2026-03-29T03:00+02:00"]),
    ("*/30 2 * * *", "2026-03-28T12:00+01:00", ["2026-03-30T02:00+02:00", "2026-03-30T02:30+02:00"]),
    ("0 */2 * * *", "2026-03-28T23:00+01:00", ["2026-03-29T00:00+01:00", "2026-03-29T04:00+02:00"]),
    (
        "30 * * * *",
        "2026-10-25T01:45+02:00",
        ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00", "2026-10-25T03:30+01:00"],
    ),
    (
        "* 2 * * *",
        "2026-10-25T02:58+02:00",
        ["2026-10-25T02:59+02:00", "2026-10-25T02:00+01:00", "2026-10-25T02:01+01:00"],
    ),
    # `0-59` and `0-23` are lists, not stars, as for cron(8).
    ("0-59 2 * * *", "2026-03-28T12:00+01:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]),
    ("0 0-23 * * *", "2026-10-25T01:30+02:00", ["2026-10-25T02:00+02:00", "2026-10-25T03:00+01:00"]),
]
# 02:00 -> 03:00 on 2026-03-08; 02:00 -> 01:00 on 2026-11-01.
NEW_YORK: Table = [
    ("30 2 * * *", "2026-03-07T12:00-05:00", ["2026-03-08T03:00-04:00", "2026-03-09T02:30-04:00"]),
    ("30 1 * * *", "2026-10-31T12:00-04:00", ["2026-11-01T01:30-04:00", "2026-11-02T01:30-05:00"]),
    (
        "0 * * * *",
        "2026-11-01T00:30-04:00",
        ["2026-11-01T01:00-04:00", "2026-11-01T01:00-05:00", "2026-11-01T02:00-05:00"],
    ),
    # Asked within the fold: in its first hour, and in its second.
    ("45 1 * * *", "2026-11-01T01:30-04:00", ["2026-11-01T01:45-04:00", "2026-11-02T01:45-05:00"]),
    ("45 1 * * *", "2026-11-01T01:30-05:00", ["2026-11-02T01:45-05:00"]),
]
# Half an hour: 02:00 -> 02:30 on 2026-10-04; 02:00 -> 01:30 on 2026-04-05.
LORD_HOWE: Table = [
    ("15 2 * * *", "2026-10-03T12:00+10:30", ["2026-10-04T02:30+11:00", "2026-10-05T02:15+11:00"]),
    ("30 2 * * *", "2026-10-03T12:00+10:30", ["2026-10-04T02:30+11:00", "2026-10-05T02:30+11:00"]),
    ("45 1 * * *", "2026-04-04T12:00+11:00", ["2026-04-05T01:45+11:00", "2026-04-06T01:45+10:30"]),
    ("0 2 * * *", "2026-04-04T12:00+11:00", ["2026-04-05T02:00+10:30", "2026-04-06T02:00+10:30"]),
    ("*/15 * * * *", "2026-10-04T01:44+10:30", ["2026-10-04T01:45+10:30", "2026-10-04T02:30+11:00"]),
    (
        "*/15 * * * *",
        "2026-04-05T01:44+11:00",
        ["2026-04-05T01:45+11:00", "2026-04-05T01:30+10:30", "2026-04-05T01:45+10:30", "2026-04-05T02:00+10:30"],
    ),
    ("0 * * * *", "2026-10-04T00:30+10:30", ["2026-10-04T01:00+10:30", "2026-10-04T03:00+11:00"]),
]
# The gap is at midnight: 00:00 -> 01:00 on 2018-11-04; 00:00 -> 23:00 on 2018-02-17.
SAO_PAULO: Table = [
    ("@daily", "2018-11-03T12:00-03:00", ["2018-11-04T01:00-02:00", "2018-11-05T00:00-02:00"]),
    ("30 0 * * *", "2018-11-03T12:00-03:00", ["2018-11-04T01:00-02:00", "2018-11-05T00:30-02:00"]),
    ("0 0 4 11 *", "2018-01-01T00:00-02:00", ["2018-11-04T01:00-02:00", "2019-11-04T00:00-03:00"]),
    ("30 23 * * *", "2018-02-17T12:00-02:00", ["2018-02-17T23:30-02:00", "2018-02-18T23:30-03:00"]),
    ("30 23 17 2 *", "2018-01-01T12:00-02:00", ["2018-02-17T23:30-02:00", "2019-02-17T23:30-03:00"]),
    (
        "*/30 23 * * *",
        "2018-02-17T23:15-02:00",
        ["2018-02-17T23:30-02:00", "2018-02-17T23:00-03:00", "2018-02-17T23:30-03:00", "2018-02-18T23:00-03:00"],
    ),
]
# 2011-12-30 never was: a change of a whole day is a correction, and what is lost stays lost.
APIA: Table = [
    ("0 12 * * *", "2011-12-29T00:00-10:00", ["2011-12-29T12:00-10:00", "2011-12-31T12:00+14:00"]),
    ("0 0 * * *", "2011-12-29T00:00-10:00", ["2011-12-31T00:00+14:00", "2012-01-01T00:00+14:00"]),
    ("0 12 30 * *", "2011-12-01T00:00-10:00", ["2012-01-30T12:00+14:00"]),
    ("0 */12 * * *", "2011-12-29T06:00-10:00", ["2011-12-29T12:00-10:00", "2011-12-31T00:00+14:00"]),
]
# Winter time for Ramadan: 03:00 -> 02:00 on 2026-02-15, 02:00 -> 03:00 on 2026-03-22.
CASABLANCA: Table = [
    ("30 2 * * *", "2026-02-14T12:00+01:00", ["2026-02-15T02:30+01:00", "2026-02-16T02:30+00:00"]),
    ("30 2 * * *", "2026-03-21T12:00+00:00", ["2026-03-22T03:00+01:00", "2026-03-23T02:30+01:00"]),
    ("30 * * * *", "2026-02-15T02:15+01:00", ["2026-02-15T02:30+01:00", "2026-02-15T02:30+00:00"]),
]
# Quarter hours from UTC all year; a gap of 15 minutes on 1986-01-01.
KATHMANDU: Table = [
    ("0 6 * * *", "2026-01-01T12:00+05:45", ["2026-01-02T06:00+05:45"]),
    ("5 0 1 1 *", "1985-06-01T00:00+05:30", ["1986-01-01T00:15+05:45", "1987-01-01T00:05+05:45"]),
    ("*/10 * * * *", "1985-12-31T23:45+05:30", ["1985-12-31T23:50+05:30", "1986-01-01T00:20+05:45"]),
]
# Three hours, at one minute past midnight, are still cron(8)'s clock change: 00:01 -> 03:01 on 2020-10-04.
CASEY: Table = [("30 1 * * *", "2020-10-03T12:00+08:00", ["2020-10-04T03:01+11:00", "2020-10-05T01:30+11:00"])]
ZONES = {
    "Europe/Berlin": BERLIN,
    "America/New_York": NEW_YORK,
    "Australia/Lord_Howe": LORD_HOWE,
    "America/Sao_Paulo": SAO_PAULO,
    "Pacific/Apia": APIA,
    "Africa/Casablanca": CASABLANCA,
    "Asia/Kathmandu": KATHMANDU,
    "Antarctica/Casey": CASEY,
}


@pytest.mark.parametrize(
    ("zone", "expression", "asked", "expected"), [(zone, *row) for zone, table in ZONES.items() for row in table]
)
def test_by_default_the_clock_changes_as_in_debian_s_cron(
    zone: str, expression: str, asked: str, expected: list[str]
) -> None:
    check(zone, expression, asked, expected)


# (zone, override, expression, asked at, expected)
OVERRIDES = [
    ("Europe/Berlin", Dst(gap="skip"), "30 2 * * *", "2026-03-28T12:00+01:00", ["2026-03-30T02:30+02:00"]),
    (
        "Europe/Berlin",
        Dst(gap="after"),
        "*/30 2 * * *",
        "2026-03-28T12:00+01:00",
        ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"],
    ),
    (
        "Europe/Berlin",
        Dst(fold="second"),
        "30 2 * * *",
        "2026-10-24T12:00+02:00",
        ["2026-10-25T02:30+01:00", "2026-10-26T02:30+01:00"],
    ),
    (
        "Europe/Berlin",
        Dst(fold="both"),
        "30 2 * * *",
        "2026-10-24T12:00+02:00",
        ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00"],
    ),
    (
        "Europe/Berlin",
        Dst(fold="first"),
        "30 * * * *",
        "2026-10-25T01:45+02:00",
        ["2026-10-25T02:30+02:00", "2026-10-25T03:30+01:00"],
    ),
    (
        "Europe/Berlin",
        Dst(fold="second"),
        "30 * * * *",
        "2026-10-25T01:15+02:00",
        ["2026-10-25T01:30+02:00", "2026-10-25T02:30+01:00"],
    ),
    # What is said outright holds for a change of any size.
    (
        "Pacific/Apia",
        Dst(gap="after"),
        "0 12 * * *",
        "2011-12-29T13:00-10:00",
        ["2011-12-31T00:00+14:00", "2011-12-31T12:00+14:00"],
    ),
    ("Antarctica/Casey", Dst(gap="skip"), "30 1 * * *", "2020-10-03T12:00+08:00", ["2020-10-05T01:30+11:00"]),
]


@pytest.mark.parametrize(("zone", "dst", "expression", "asked", "expected"), OVERRIDES)
def test_a_spec_may_say_otherwise(zone: str, dst: Dst, expression: str, asked: str, expected: list[str]) -> None:
    check(zone, expression, asked, expected, dst)


def test_each_expression_of_a_schedule_follows_the_rule_of_its_own_kind() -> None:
    schedule = Schedule(["15 2 * * *", "45 * * * *"], "Europe/Berlin")
    found = islice(schedule.upcoming(datetime(2026, 10, 25, 0, 0, tzinfo=UTC)), 4)
    assert [f"{moment:%H:%M}" for moment in found] == ["00:15", "00:45", "01:45", "02:45"]


@pytest.mark.parametrize("zone", [*ZONES, "America/St_Johns", "Asia/Gaza", "Europe/Dublin", "Pacific/Chatham"])
def test_a_daily_time_comes_once_a_day_through_three_years(zone: str) -> None:
    clock = ZoneInfo(zone)
    for time in ("30 0", "30 1", "30 2", "45 23"):
        found = list(islice(Schedule([f"{time} * * *"], zone).upcoming(datetime(2016, 6, 1, tzinfo=UTC)), 1096))
        days = [moment.astimezone(clock).date() for moment in found]
        assert {later - earlier for earlier, later in pairwise(days)} == {timedelta(days=1)}

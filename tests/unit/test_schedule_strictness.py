"""What a schedule may not say, and that each refusal is one line that names the field and what is allowed there."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import pytest

from reconciler.schedule import InvalidSchedule, Schedule
from reconciler.schedule.cron import LONGEST

RANDOM = "which changes whenever it is read; use 'H', which stays the same for a name"
BACKWARDS = "which runs backwards; "
FIVE = "a cron expression has five: minute hour day month weekday"
MINUTES = "minutes run 0-59"
WEEKDAYS = "weekdays run 0-7 (0 and 7 are Sunday) or sun-sat"
NEVER = "never comes; for a task that is not to run by itself: suspend: true"

# (expression, what is said after it)
REFUSED = [
    # Numbers that a field does not have.
    ("60 * * * *", f"has minute 60; {MINUTES}"),
    ("0 24 * * *", "has hour 24; hours run 0-23"),
    ("0 0 0 * *", "has day of month 0; days run 1-31, and L is the last"),
    ("0 0 1-32 * *", "has day of month 32; days run 1-31, and L is the last"),
    ("0 0 1 13 *", "has month 13; months run 1-12 or jan-dec"),
    ("0 0 * * 8", f"has weekday 8; {WEEKDAYS}"),
    ("H(50-70) * * * *", f"has minute 70; {MINUTES}"),
    # Words that are none.
    ("0 0 1 january *", "has month 'january'; months run 1-12 or jan-dec"),
    ("0 0 * * lundi", f"has weekday 'lundi'; {WEEKDAYS}"),
    ("0 0 * * L", f"has weekday 'L'; {WEEKDAYS}"),
    ("0 0 15W * *", "has day of month '15W'; days run 1-31, and L is the last"),
    ("mon * * * *", f"has minute 'mon'; {MINUTES}"),
    ("0,,5 * * * *", f"has minute ''; {MINUTES}"),
    ("-5 * * * *", f"has minute '-5'; {MINUTES}"),
    ("+5 * * * *", f"has minute '+5'; {MINUTES}"),
    ("1.5 * * * *", f"has minute '1.5'; {MINUTES}"),
    ("0x5 * * * *", f"has minute '0x5'; {MINUTES}"),
    ("1_0 * * * *", f"has minute '1_0'; {MINUTES}"),
    ("1-2-3 * * * *", f"has minute '1-2-3'; {MINUTES}"),
    ("*/5/5 * * * *", f"has minute '*/5/5'; {MINUTES}"),
    ("** * * * *", f"has minute '**'; {MINUTES}"),
    ("? * * * *", "has minute '?', which stands alone, in a day field only; write '*'"),
    ("0 0 1,? * *", "has day of month '?', which stands alone, in a day field only; write '*'"),
    # Digits of other scripts, and what only looks like a blank.
    ("１ * * * *", f"has minute '１'; {MINUTES}"),
    ("٣ * * * *", f"has minute '٣'; {MINUTES}"),
    ("² * * * *", f"has minute '²'; {MINUTES}"),
    ("0\u00a02 * * *", f"has 4 fields; {FIVE}"),
    ("1\x00 * * * *", f"has minute '1\\x00'; {MINUTES}"),
    ("1\u2028 * * * *", f"has minute '1\\u2028'; {MINUTES}"),
    # Random, wrapping, steps.
    ("R * * * *", f"has minute 'R', {RANDOM}"),
    ("0 R(1-5)/2 * * *", f"has hour 'R(1-5)/2', {RANDOM}"),
    ("5-1 * * * *", f"has minute '5-1', {BACKWARDS}write '5-59,0-1'"),
    ("0 0 * nov-feb *", f"has month 'nov-feb', {BACKWARDS}write 'nov-12,1-feb'"),
    ("0 0 * * fri-sun", f"has weekday 'fri-sun', {BACKWARDS}write 'fri-7'"),
    ("0 0 * * sat-mon", f"has weekday 'sat-mon', {BACKWARDS}write 'sat-7,1-mon'"),
    ("H(9-5) * * * *", f"has minute 'H(9-5)', {BACKWARDS}put the lower number first"),
    ("*/0 * * * *", "has step '0' for the minute; its steps run 1-59"),
    ("*/60 * * * *", "has step '60' for the minute; its steps run 1-59"),
    ("0 */24 * * *", "has step '24' for the hour; its steps run 1-23"),
    ("H/99999999999999 * * * *", "has step '99999999999…' for the minute; its steps run 1-59"),
    ("0 0 * * 1#6", "has weekday number '6' after '#'; it runs 1-5"),
    ("0 0 * * 1#0", "has weekday number '0' after '#'; it runs 1-5"),
    # The number of fields.
    ("", f"has 0 fields; {FIVE}"),
    ("* * * *", f"has 4 fields; {FIVE}"),
    ("* * * * * * *", f"has 7 fields; {FIVE}"),
    (
        "* * * * * *",
        "has six fields; add 'seconds: first' or 'seconds: last' to the spec if one of them is for seconds, "
        "else write five: minute hour day month weekday",
    ),
    # Words with an @.
    ("@reboot", "is no time; use a time or '@every 1h', or leave out 'schedule' and trigger the task"),
    ("@dayly", "is unknown; did you mean '@daily'?"),
    ("@evry 7s", "is unknown; did you mean '@every'?"),
    ("@daily 7s", "has more after @daily, which is all of a schedule; write '@daily' or five fields"),
    ("@every_day", "needs one length of time; examples: '@every 30s', '@every 1h30m'"),
    ("@every", "needs one length of time; examples: '@every 30s', '@every 1h30m'"),
    ("@every 1h 30m", "needs one length of time; examples: '@every 30s', '@every 1h30m'"),
    ("@every 250ms", "is not in whole seconds; the shortest is '@every 1s'"),
    ("@every 1500ms", "is not in whole seconds; the shortest is '@every 1s'"),
    ("@every 0s", "has 0s, which is no interval; from 1s up"),
    ("@every 0h0ms", "has 0h0ms, which is no interval; from 1s up"),
    # Days that no calendar has.
    ("0 0 31 2 *", NEVER),
    ("0 0 30,31 feb *", NEVER),
    ("0 0 31 4,6,9,11 *", NEVER),
    ("0 0 */30 2 1#2", NEVER),
]


@pytest.mark.parametrize(("expression", "what"), REFUSED)
def test_a_refusal_names_the_field_and_what_is_allowed(expression: str, what: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        Schedule([expression])
    assert str(caught.value) == f"{expression!r} {what}"
    assert caught.value.field == "schedule"


@pytest.mark.parametrize(
    "expression",
    [
        "1-100000000 * * * *",
        "*/100000000 * * * *",
        "9" * 900 + " * * * *",
        "x" * 1_000_000,
        "0 " * 500_000,
        "0," * 400 + "0 * * * *",
        "@" + "e" * 1_000_000,
        "@every " + "9" * 1_000_000,
        "@every " + "1s" * 1000,
        "@every 99999999999999999999s",
        "(" * 990,
        "H(" * 300 + " * * * *",
        "0 0 * * " + "#" * 900,
        "\ud800 * * * *",
        "\r\n" * 100,
    ],
)
def test_hostile_text_is_one_short_line(expression: str) -> None:
    if expression == "0," * 400 + "0 * * * *":
        assert Schedule([expression]).crons[0].minutes == (0,)
        return
    with pytest.raises(InvalidSchedule) as caught:
        Schedule([expression])
    line = str(caught.value)
    assert len(line) < 300
    assert line.isprintable()


def test_the_longest_expression_that_means_something_fits() -> None:
    numbers = [",".join(str(number) for number in numbers) for numbers in (range(60), range(60), range(24))]
    days = ",".join(str(day) for day in range(1, 32)) + " jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec *"
    expression = " ".join([*numbers, days])
    assert len(expression) < LONGEST
    assert len(Schedule([expression], seconds="first").crons[0].seconds) == 60


@pytest.mark.parametrize("expressions", [[], ["* * * * *"] * 101])
def test_a_schedule_has_a_sensible_number_of_expressions(expressions: list[str]) -> None:
    with pytest.raises(InvalidSchedule, match="has 1 to 100 expressions"):
        Schedule(expressions)


@pytest.mark.parametrize(
    ("zone", "hint"),
    [
        ("Europe/Berlim", "did you mean 'Europe/Berlin'?"),
        ("europe/berlin", "did you mean 'Europe/Berlin'?"),
        ("Berlin", "did you mean 'Europe/Berlin'?"),
        ("America/New York", "did you mean 'America/New_York'?"),
        ("kolkatta", "did you mean 'Asia/Kolkata'?"),
        ("CEST", "an abbreviation does not say where, use a name like 'Europe/Berlin'"),
        ("", "use a name like 'Europe/Berlin', or 'UTC'"),
        ("../../../etc/passwd", "use a name like 'Europe/Berlin', or 'UTC'"),
    ],
)
def test_an_unknown_zone_suggests_the_nearest(zone: str, hint: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        Schedule(["@daily"], zone)
    assert str(caught.value) == f"no time zone is named {zone!r}; {hint}"
    assert caught.value.field == "timezone"


NO_ZONES = ["localtime", "right/Europe/Berlin", "posix/UTC", "posixrules", "Europe", "zone.tab", "/etc/localtime"]


@pytest.mark.parametrize("zone", [*NO_ZONES, "a\x00b", "\ud800", "x" * 1_000_000])
def test_what_zoneinfo_would_open_and_is_no_zone_is_refused(zone: str) -> None:
    with pytest.raises(InvalidSchedule, match="no time zone is named") as caught:
        Schedule(["@daily"], zone)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


def test_an_end_before_the_start_is_refused() -> None:
    with pytest.raises(InvalidSchedule, match="is before starts_at") as caught:
        Schedule(["@daily"], starts_at=datetime(2026, 2, 1, tzinfo=UTC), ends_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert caught.value.field == "ends_at"


def test_a_refusal_survives_a_pipe_between_processes() -> None:
    error = pickle.loads(pickle.dumps(InvalidSchedule("no time zone", field="timezone")))
    assert (str(error), error.field) == ("no time zone", "timezone")

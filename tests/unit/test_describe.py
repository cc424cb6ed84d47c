"""A schedule in words, as a person would say it."""

from __future__ import annotations

import pytest

from reconciler.schedule import Schedule
from reconciler.schedule.describe import describe

# What is said in Europe/Berlin.
WORDS = [
    ("0 2 * * 1-5", "at 02:00, Monday to Friday, Europe/Berlin"),
    ("30 2 * * *", "at 02:30, Europe/Berlin"),
    ("0,30 9 * * *", "at 09:00 and 09:30, Europe/Berlin"),
    ("0 7,15,23 * * *", "at 07:00, 15:00 and 23:00, Europe/Berlin"),
    ("@daily", "at 00:00, Europe/Berlin"),
    ("@weekly", "at 00:00 on Sundays, Europe/Berlin"),
    ("@yearly", "at 00:00 on the 1st of January, Europe/Berlin"),
    ("0 9 * * 1,4", "at 09:00 on Mondays and Thursdays, Europe/Berlin"),
    ("0 9 * * sat,sun", "at 09:00 on Saturdays and Sundays, Europe/Berlin"),
    ("0 9 * * 5-7", "at 09:00, Friday to Sunday, Europe/Berlin"),
    ("0 3 1 * *", "at 03:00 on the 1st of the month, Europe/Berlin"),
    ("0 3 1,15 * *", "at 03:00 on the 1st and 15th of the month, Europe/Berlin"),
    ("0 3 2,3,11,22 * *", "at 03:00 on the 2nd, 3rd, 11th and 22nd of the month, Europe/Berlin"),
    ("0 3 L * *", "at 03:00 on the last day of the month, Europe/Berlin"),
    ("0 3 29 2 *", "at 03:00 on the 29th of February, Europe/Berlin"),
    ("0 3 1 1,7 *", "at 03:00 on the 1st of January and July, Europe/Berlin"),
    ("0 3 1 1-5 *", "at 03:00 on the 1st of the month, January to May, Europe/Berlin"),
    ("0 3 * 6-8 *", "at 03:00, June to August, Europe/Berlin"),
    ("0 3 * 12 *", "at 03:00 in December, Europe/Berlin"),
    ("0 3 * * 1#1", "at 03:00 on the first Monday of the month, Europe/Berlin"),
    ("0 3 * * 5L", "at 03:00 on the last Friday of the month, Europe/Berlin"),
    ("0 3 1 * 1", "at 03:00 on the 1st of the month or on Mondays, Europe/Berlin"),
    ("0 3 1-7 * 1-5", "at 03:00 on the 1st to 7th of the month or on Monday to Friday, Europe/Berlin"),
    ("0 3 1-31 * 1", "at 03:00, Europe/Berlin"),
    ("* * * * *", "every minute"),
    ("*/5 * * * *", "every 5 minutes"),
    ("3-59/15 * * * *", "every 15 minutes from :03"),
    ("*/5 * * * 1-5", "every 5 minutes, Monday to Friday, Europe/Berlin"),
    ("*/15 9-17 * * 1-5", "every 15 minutes from 09:00 to 17:45, Monday to Friday, Europe/Berlin"),
    ("* 2 * * *", "every minute from 02:00 to 02:59, Europe/Berlin"),
    ("@hourly", "every hour"),
    ("15 * * * *", "hourly at :15, Europe/Berlin"),
    ("5,25,47 * * * *", "hourly at :05, :25 and :47, Europe/Berlin"),
    ("0 9-17 * * *", "hourly from 09:00 to 17:00, Europe/Berlin"),
    ("0 */2 * * *", "every 2 hours, Europe/Berlin"),
    ("15 */6 * * *", "every 6 hours at :15, Europe/Berlin"),
    ("15 1-23/2 * * *", "every 2 hours from 01:15, Europe/Berlin"),
    ("@every 30s", "every 30 seconds"),
    ("@every 60s", "every minute"),
    ("@every 1h30m", "every 90 minutes"),
    ("@every 7d", "every 7 days"),
    # Where the expression says it better.
    ("*/7 * * * *", "*/7 * * * *, Europe/Berlin"),
    ("0  3 */2 * *", "0 3 */2 * *, Europe/Berlin"),
    ("0 3 */2 * 1", "0 3 */2 * 1, Europe/Berlin"),
    ("*/10 2,4 * * *", "*/10 2,4 * * *, Europe/Berlin"),
]


@pytest.mark.parametrize(("expression", "words"), WORDS)
def test_a_schedule_reads_as_a_person_would_say_it(expression: str, words: str) -> None:
    assert describe(Schedule([expression], "Europe/Berlin")) == words


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("* * * * * *", "every second"),
        ("*/10 * * * * *", "every 10 seconds"),
        ("5 * * * * *", "every minute at :05 seconds"),
        ("30 0 2 * * *", "at 02:00:30, UTC"),
        ("0 0 2 * * *", "at 02:00, UTC"),
        ("* 30 2 * * *", "* 30 2 * * *, UTC"),
    ],
)
def test_seconds_are_said_where_they_matter(expression: str, words: str) -> None:
    assert describe(Schedule([expression], seconds="first")) == words


@pytest.mark.parametrize(
    ("expression", "words"),
    [("@daily", "at 00:00, UTC"), ("15 * * * *", "hourly at :15"), ("*/7 * * * *", "*/7 * * * *")],
)
def test_utc_is_said_only_where_a_time_of_day_is(expression: str, words: str) -> None:
    assert describe(Schedule([expression])) == words


def test_a_hash_is_said_as_the_time_it_stands_for() -> None:
    assert describe(Schedule(["H H * * *"], name="nightly-sales")) == "at 15:04, UTC"


def test_several_expressions_are_joined_and_many_are_counted() -> None:
    assert describe(Schedule(["0 7 * * *", "@every 1h"], "Asia/Tokyo")) == "every hour and at 07:00, Asia/Tokyo"
    assert (
        describe(Schedule([f"{n} 0 * * *" for n in range(9)])) == "at 00:00 and at 00:01 and at 00:02 and 6 more, UTC"
    )


def test_the_longest_schedule_stays_a_line() -> None:
    numbers = ",".join(str(number) for number in range(1, 60))
    said = describe(Schedule([f"{numbers} 1,2,4,8 1,2,4,8,16,17,18,31 * *"]))
    assert len(said) <= 70

"""iCalendar files as calendars of days off: what a day is, and that a hostile file costs little and is one line."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from reconciler.specfiles import SpecReader, calendars
from reconciler.specfiles.calendars import Calendars, Days

HEAD = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//somebody//holidays//EN\r\n"


def event(*lines: str) -> str:
    return "\r\n".join(["BEGIN:VEVENT", f"UID:{abs(hash(lines))}", *lines, "END:VEVENT", ""])


def ics(*events: str) -> str:
    return f"{HEAD}{''.join(events)}END:VCALENDAR\r\n"


def days(root: Path, text: str | bytes, zone: str = "UTC", name: str = "c") -> Days:
    (root / "c.ics").write_bytes(text if isinstance(text, bytes) else text.encode())
    return Calendars(str(root)).lender({})(name, zone)


def day(text: str) -> date:
    return date.fromisoformat(text)


TABLE = [
    ("all day", event("DTSTART;VALUE=DATE:20261225", "DTEND;VALUE=DATE:20261226"), ["2026-12-25"]),
    ("without an end", event("DTSTART;VALUE=DATE:20261225"), ["2026-12-25"]),
    (
        "several days",
        event("DTSTART;VALUE=DATE:20261224", "DTEND;VALUE=DATE:20261227"),
        ["2026-12-24", "2026-12-25", "2026-12-26"],
    ),
    (
        "a rule with an end and an exception",
        event(
            "DTSTART;VALUE=DATE:20260501",
            "RRULE:FREQ=YEARLY;UNTIL=20290501",
            "EXDATE;VALUE=DATE:20270501",
        ),
        ["2026-05-01", "2028-05-01", "2029-05-01"],
    ),
    (
        "the last Monday of May, three times",
        event("DTSTART;VALUE=DATE:20260525", "RRULE:FREQ=YEARLY;BYMONTH=5;BYDAY=-1MO;COUNT=3"),
        ["2026-05-25", "2027-05-31", "2028-05-29"],
    ),
    (
        "more dates by hand",
        event("DTSTART;VALUE=DATE:20260110", "RDATE;VALUE=DATE:20260210"),
        ["2026-01-10", "2026-02-10"],
    ),
    ("at times of day", event("DTSTART:20260310T090000", "DTEND:20260310T170000"), ["2026-03-10"]),
    ("until midnight", event("DTSTART:20260310T090000", "DTEND:20260311T000000"), ["2026-03-10"]),
    ("over midnight", event("DTSTART:20260310T230000", "DTEND:20260311T010000"), ["2026-03-10", "2026-03-11"]),
    ("called off", event("DTSTART;VALUE=DATE:20261225", "STATUS:CANCELLED"), []),
    ("nothing", "", []),
]


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_each_day_that_an_event_touches_counts(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert days(tmp_path, ics(text)) == tuple(map(day, expected))


@pytest.mark.parametrize(
    ("zone", "expected"),
    [("UTC", ["2026-12-24"]), ("Europe/Berlin", ["2026-12-25"]), ("America/New_York", ["2026-12-24"])],
)
def test_moments_are_days_of_the_spec_s_own_zone(tmp_path: Path, zone: str, expected: list[str]) -> None:
    text = ics(event("DTSTART:20261224T230000Z", "DTEND:20261224T233000Z"))
    assert days(tmp_path, text, zone) == tuple(map(day, expected))


def test_a_rule_without_an_end_is_followed_to_a_fixed_year_whatever_today_is(tmp_path: Path) -> None:
    found = days(tmp_path, ics(event("DTSTART;VALUE=DATE:19951225", "RRULE:FREQ=YEARLY")))
    assert found == tuple(date(year, 12, 25) for year in range(2000, 2101))


def test_a_spec_names_it_with_or_without_its_ending(tmp_path: Path) -> None:
    root = tmp_path / "specs"
    (root / "holidays").mkdir(parents=True)
    text = ics(event("DTSTART;VALUE=DATE:20261225"), event("DTSTART:20261230T233000Z", "DTEND:20261230T234500Z"))
    (root / "holidays" / "de.ics").write_text(text)
    (root / "a.yaml").write_text("task: t\nskip_on: [holidays/de, 2026-01-01]\n")
    (root / "b.yaml").write_text("task: t\ntimezone: Europe/Berlin\nskip_on: [holidays/de.ics]\n")
    reader = SpecReader(root)
    found = reader.read()
    assert found.faults == ()
    skipped = {one.name: one.spec.skip_on for one in found.specs}
    assert skipped["a"] == (day("2026-01-01"), day("2026-12-25"), day("2026-12-30"))
    assert skipped["b"] == (day("2026-12-25"), day("2026-12-31"))
    assert reader.read() is found
    (root / "holidays" / "de.ics").write_text(ics(event("DTSTART;VALUE=DATE:20261226")))
    assert {one.name: one.spec.skip_on for one in reader.read().specs} == {
        "a": (day("2026-01-01"), day("2026-12-26")),
        "b": (day("2026-12-26"),),
    }


HOSTILE = [
    (b"\xff\xfe\x00", "calendar 'c' cannot be read as iCalendar: UnicodeDecodeError: "),
    (b"not a calendar\n", "calendar 'c' "),
    (b"", "calendar 'c' has no calendar in it"),
    (
        ics(event("SUMMARY:tick", "DTSTART:20260101T000000", "RRULE:FREQ=SECONDLY")),
        "calendar 'c' has 'tick', which comes",
    ),
    (
        ics(event("DTSTART:20260101T000000", "RRULE:FREQ=DAILY;BYHOUR=1,2,3")),
        "calendar 'c' has 'an event', which comes several times a day (BYHOUR); days come once",
    ),
    (
        ics(event("DTSTART;VALUE=DATE:20260101", "RRULE:FREQ=DAILY")),
        "calendar 'c' has more than 10000 events until 2100; give its rules an end",
    ),
    (ics(event("DTSTART;VALUE=DATE:20260101", "RRULE:FREQ=DAILY;INTERVAL=0")), "calendar 'c' "),
    (
        ics(event("DTSTART;VALUE=DATE:20000101", "DTEND;VALUE=DATE:20991231")),
        "calendar 'c' has more than 10000 days; give its rules an end",
    ),
    (b"BEGIN:VCALENDAR\r\n" * 50_000, "calendar 'c' "),
    (HEAD.encode() + b"X" * 2**20, "calendar 'c' is 10"),
]


@pytest.mark.parametrize(("text", "what"), HOSTILE, ids=[what[:40] for _, what in HOSTILE])
def test_what_is_no_calendar_of_days_is_one_line(tmp_path: Path, text: str | bytes, what: str) -> None:
    with pytest.raises(ValueError) as error:
        days(tmp_path, text)
    assert str(error.value).startswith(what)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_what_takes_too_long_is_cut_short_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text("import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 1))\nwhile True: pass\n")
    monkeypatch.setattr(calendars, "ICS_DAYS", slow)
    with pytest.raises(ValueError, match=r"^calendar 'c' takes too long to work out; make its rules simpler$"):
        days(tmp_path, ics(event("SUMMARY:slow")))


def test_what_breaks_that_process_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise ImportError('no icalendar')\n")
    monkeypatch.setattr(calendars, "ICS_DAYS", broken)
    with pytest.raises(ValueError, match=r"^calendar 'c' cannot be read: ImportError: no icalendar$"):
        days(tmp_path, ics(event("SUMMARY:broken")))


def test_an_unchanged_calendar_is_not_worked_out_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = ics(event("DTSTART;VALUE=DATE:20261225", f"SUMMARY:{tmp_path}"))
    first = days(tmp_path, text)
    monkeypatch.setattr(calendars, "ICS_DAYS", tmp_path / "nowhere.py")
    assert days(tmp_path, text) == first == (date(2026, 12, 24) + timedelta(days=1),)

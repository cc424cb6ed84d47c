"""A plan in fires: when each changed task runs before and after, and what it does to the load."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.impact import (
    Changed,
    Impact,
    changed_of,
    impact_of,
    needs_before,
    needs_held,
    timing_of,
    timing_of_document,
)
from reconciler.impact.words import as_json, change_words, total_words
from reconciler.plan import Change, Plan
from reconciler.spec import TaskSpec

NOW = datetime(2026, 3, 20, 12, 0, 30, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def spec(name: str = "a", schedule: Any = "0 2 * * *", **fields: Any) -> TaskSpec:
    timed = {} if schedule is None else {"schedule": [schedule] if isinstance(schedule, str) else schedule}
    return TaskSpec.from_document({"name": name, "task": "t", **timed, **fields})


def one(before: TaskSpec | None, after: TaskSpec | None, moves: bool = True) -> list[str]:
    verb = "update" if before and after else "create" if after else "delete"
    impact = impact_of([Changed("a", verb, before, after, moves)], (), NOW)  # type: ignore[arg-type]
    return change_words(impact.changes["a"])


WORDS: list[tuple[TaskSpec | None, TaskSpec | None, list[str]]] = [
    (
        None,
        spec(),
        ["next: 2026-03-21 02:00, 2026-03-22 02:00, 2026-03-23 02:00 UTC", "fires per day: 1; 0 fire at once"],
    ),
    (
        spec(),
        None,
        ["no longer: 2026-03-21 02:00, 2026-03-22 02:00, 2026-03-23 02:00 UTC", "fires per day: 1 -> 0"],
    ),
    (
        spec(schedule="0 2 * * *", timezone=BERLIN),
        spec(schedule="30 2 * * *", timezone=BERLIN),
        [
            f"next before: 2026-03-21 02:00, 2026-03-22 02:00, 2026-03-23 02:00 {BERLIN}",
            f"next after:  2026-03-21 02:30, 2026-03-22 02:30, 2026-03-23 02:30 {BERLIN}",
            "fires per day: 1 -> 1; 0 fire at once",
            f"clock change: 2026-03-29 {BERLIN}: clocks go forward from 02:00 to 03:00: 02:30 runs once, at 01:00 UTC",
        ],
    ),
    (
        None,
        spec(schedule="30 2 * * *", timezone="America/New_York", dst={"fold": "both"}),
        [
            "next: 2026-03-21 02:30, 2026-03-22 02:30, 2026-03-23 02:30 America/New_York",
            "fires per day: 1; 0 fire at once",
            "clock change: 2027-03-14 America/New_York: clocks go forward from 02:00 to 03:00: "
            "02:30 runs once, at 07:00 UTC",
        ],
    ),
    (
        None,
        spec(schedule="15 1 * * *", timezone="America/New_York", dst={"fold": "both"}, starts_at="2026-10-31T00:00:00"),
        [
            "next: 2026-10-31 01:15, 2026-11-01 01:15-0400, 2026-11-01 01:15-0500 America/New_York",
            "fires per day: 0; 0 fire at once",
            "clock change: 2026-11-01 America/New_York: clocks go back from 02:00 to 01:00: 01:15 runs twice",
        ],
    ),
    (
        spec(schedule="@every 1m"),
        spec(schedule="@every 1s"),
        [
            "next before: 2026-03-20 12:01, 2026-03-20 12:02, 2026-03-20 12:03 UTC",
            "next after:  2026-03-20 12:00:31, 2026-03-20 12:00:32, 2026-03-20 12:00:33 UTC",
            "fires per day: 1,440 -> 86,400; 0 fire at once",
        ],
    ),
    (
        None,
        spec(schedule=["0 9 * * 1-5", "0 10 * * 6"]),
        ["next: 2026-03-21 10:00, 2026-03-23 09:00, 2026-03-24 09:00 UTC", "fires per day: 0.86; 0 fire at once"],
    ),
    (
        None,
        spec(starts_at="2026-04-06T00:00:00Z", ends_at="2026-04-07T12:00:00Z"),
        ["next: 2026-04-06 02:00, 2026-04-07 02:00 UTC", "fires per day: 0.07; 0 fire at once"],
    ),
    (
        spec(),
        spec(ends_at="2026-01-01T00:00:00Z"),
        [
            "next before: 2026-03-21 02:00, 2026-03-22 02:00, 2026-03-23 02:00 UTC",
            "next after:  never",
            "fires per day: 1 -> 0; 0 fire at once",
            "warning: never fires: ends_at is past",
        ],
    ),
    (
        spec(),
        spec(skip_on=["2026-03-21", "2026-03-23"]),
        [
            "next before: 2026-03-21 02:00, 2026-03-22 02:00, 2026-03-23 02:00 UTC",
            "next after:  2026-03-22 02:00, 2026-03-24 02:00, 2026-03-25 02:00 UTC",
            "fires per day: 1 -> 0.93; 0 fire at once",
        ],
    ),
    (
        spec(),
        spec(suspend=True),
        [
            "next before: 2026-03-21 02:00, 2026-03-22 02:00, 2026-03-23 02:00 UTC",
            "next after:  suspended, does not fire",
            "fires per day: 1 -> 0; 0 fire at once",
        ],
    ),
    (None, spec(suspend=True), ["suspended, does not fire"]),
    (None, spec(schedule=None), ["has no schedule, runs when triggered"]),
    (None, spec(schedule=None, after=["b", "c"]), ["runs after b, c"]),
    (spec(schedule=None, after=["b"]), None, ["runs after b"]),
    (spec(), spec(jitter="10m"), []),
    (spec(), spec(params={"x": 1}), []),
    (
        None,
        spec(schedule="0 0 1 * 5"),
        [
            "next: 2026-03-27 00:00, 2026-04-01 00:00, 2026-04-03 00:00 UTC",
            "fires per day: 0.18; 0 fire at once",
            "warning: '0 0 1 * 5' comes on day of month '1' *or* weekday '5', whichever matches, as in cron; for a "
            "weekday within the month write '1#1' (the first Monday) or '5L' (the last Friday)",
        ],
    ),
    (
        spec(schedule="@every 1h"),
        spec(schedule="@every 1h", timeout="2h"),
        ["warning: may overlap: comes every 1h and may take 2h; overlap: skip decides"],
    ),
    (spec(schedule="@every 1h"), spec(schedule="@every 1h", timeout="2h", overlap="allow"), []),
]


@pytest.mark.parametrize(("before", "after", "lines"), WORDS)
def test_what_a_change_comes_to(before: TaskSpec | None, after: TaskSpec | None, lines: list[str]) -> None:
    assert one(before, after) == lines


@pytest.mark.parametrize(
    ("before", "after", "moves", "at_once"),
    [
        (None, spec(schedule="* * * * *"), True, 0),
        (spec(), spec(schedule="* * * * *"), True, 0),
        (spec(suspend=True), spec(schedule="* * * * *"), True, 0),
        (spec(schedule="* * * * *"), spec(schedule="* * * * *", missed="all", params={"x": 1}), False, 0),
        (spec(schedule="* * * * *"), spec(suspend=True), False, 0),
        (spec(), None, False, 0),
        # What the rule forbids would be seen: a cursor that stays behind while the instants are others.
        (spec(), spec(schedule="*/10 * * * *", missed_within="1h"), False, 6),
        (spec(schedule="*/20 * * * *"), spec(schedule="*/10 * * * *", missed_within="1h"), False, 3),
    ],
)
def test_nothing_fires_at_once_when_the_cursor_moves(
    before: TaskSpec | None, after: TaskSpec | None, moves: bool, at_once: int
) -> None:
    assert impact_of([Changed("a", "update", before, after, moves)], (), NOW).at_once == at_once


def test_the_whole_source_is_counted_before_and_after() -> None:
    held = [spec(f"t{number}", "@every 6h") for number in range(10)]
    changes = [Changed("a", "update", spec(), spec(schedule="0 * * * *")), Changed("b", "create", None, spec("b"))]
    impact = impact_of(changes, held, NOW)
    assert impact.per_day == (41, 65)
    assert total_words(impact)[-1] == "fires per day: 41 -> 65 over the next 28 days; 0 fire at once"


def test_a_minute_that_grows_is_drawn_with_what_would_spread_it() -> None:
    held = [spec(f"t{number}", "0 3 * * *", timezone=BERLIN) for number in range(12)]
    changes = [
        Changed(f"n{number}", "create", None, spec(f"n{number}", "0 3 * * *", timezone=BERLIN)) for number in range(45)
    ]
    assert total_words(impact_of(changes, held, NOW)) == [
        "tasks that start in the same minute, # before and + more:",
        "  Sat 03:00  #########+++++++++++++++++++++++++++++++  12 -> 57",
        f"Sat 03:00 {BERLIN} goes from 12 to 57 tasks; `H 3 * * *` would spread them",
        "fires per day: 12 -> 57 over the next 28 days; 0 fire at once",
    ]


@pytest.mark.parametrize(
    ("schedule", "advice"),
    [
        ("0 3 * * *", "`H 3 * * *` would spread them"),
        ("*/30 * * * 1-5", "`H/30 * * * 1-5` would spread them"),
        ("@hourly", "`H * * * *` would spread them"),
        ("0,30 4 * * *", None),
        ("@every 12h", None),
    ],
)
def test_the_advice_keeps_all_but_the_minute(schedule: str, advice: str | None) -> None:
    changes = [Changed(f"n{number}", "create", None, spec(f"n{number}", schedule)) for number in range(20)]
    [minute, *_] = [minute for minute in impact_of(changes, (), NOW).load if minute.is_peak]
    assert (minute.before, minute.after, minute.advice) == (0, 20, advice)


@pytest.mark.parametrize(
    ("held", "more", "is_peak"),
    [(0, 9, False), (0, 10, True), (12, 4, False), (12, 5, True), (100, 24, False), (100, 25, True)],
)
def test_only_a_growth_worth_a_word_is_a_peak(held: int, more: int, is_peak: bool) -> None:
    there = [spec(f"t{number}", "0 3 * * *") for number in range(held)]
    changes = [Changed(f"n{number}", "create", None, spec(f"n{number}", "0 3 * * *")) for number in range(more)]
    [minute] = impact_of(changes, there, NOW).load
    assert (minute.before, minute.after, minute.is_peak) == (held, held + more, is_peak)


def test_what_has_a_jitter_or_fires_all_the_time_makes_no_minute_a_busy_one() -> None:
    fields: list[dict[str, Any]] = [{"schedule": "0 3 * * *", "jitter": "30m"}, {"schedule": "* * * * *"}]
    for each in fields:
        changes = [Changed(f"n{number}", "create", None, spec(f"n{number}", **each)) for number in range(50)]
        assert impact_of(changes, (), NOW).load == ()


def test_tasks_that_leave_a_minute_are_taken_off_it() -> None:
    changes = [Changed(f"n{n}", "update", spec(f"n{n}", "0 3 * * *"), spec(f"n{n}", "0 4 * * *")) for n in range(20)]
    changes += [Changed(f"o{n}", "update", spec(f"o{n}", "0 4 * * *"), spec(f"o{n}", "0 5 * * *")) for n in range(8)]
    load = impact_of(changes, (), NOW).load
    assert [(f"{minute.at:%H:%M}", minute.before, minute.after) for minute in load] == [
        ("04:00", 8, 20),
        ("05:00", 0, 8),
    ]


def test_the_load_follows_the_clock_of_the_zone_over_a_clock_change() -> None:
    now = datetime(2026, 3, 28, 12, tzinfo=UTC)
    held = [spec(f"t{number}", "0 2 * * *", timezone=BERLIN) for number in range(3)]
    changes = [Changed("a", "create", None, spec("a", "30 2 * * *", timezone=BERLIN, ends_at="2026-03-29T12:00:00"))]
    [minute] = impact_of(changes, held, now).load
    # At 02:00 the clock leaps to 03:00, and all that it skips runs then.
    assert (minute.at, minute.before, minute.after) == (datetime(2026, 3, 29, 1, tzinfo=UTC), 3, 4)


def test_the_other_tasks_are_needed_only_where_an_instant_changes() -> None:
    assert not needs_held([])
    assert not needs_held([Changed("a", "update", spec(), spec(params={"x": 1}), moves_cursor=False)])
    assert not needs_held([Changed("a", "create", None, spec(suspend=True))])
    assert needs_held([Changed("a", "update", spec(), spec(timezone=BERLIN))])
    assert needs_held([Changed("a", "delete", spec(), None, moves_cursor=False)])
    quiet = impact_of([Changed("a", "update", spec(), spec(params={"x": 1}), moves_cursor=False)], (), NOW)
    assert quiet.per_day is None
    assert total_words(quiet) == []


def test_of_thousands_of_changes_all_are_counted_and_the_first_are_looked_at() -> None:
    changes = [Changed(f"n{number}", "create", None, spec(f"n{number}", "@every 1s")) for number in range(3000)]
    impact = impact_of(changes, (), NOW)
    assert (len(impact.changes), impact.more) == (200, 2800)
    assert impact.per_day == (0, 3000 * 86_400)
    assert "when they run was looked up for the first 200 changes" in total_words(impact)


def test_tasks_may_be_given_by_their_timing_alone() -> None:
    changes = [Changed("a", "create", None, spec())]
    timing = timing_of(spec(schedule="0 * * * *"))
    assert timing is not None
    assert impact_of(changes, {timing: 100}, NOW).per_day == (2400, 2401)


@pytest.mark.parametrize(
    "document",
    [
        {"schedule": ["garbage"]},
        {"schedule": ["0 3 * * *"], "timezone": "Nowhere/Atall"},
        {"schedule": ["@every never"]},
        {"schedule": "0 3 * * *"},
        {"schedule": ["0 3 * * *"], "starts_at": "2027-01-01T00:00:00", "timezone": "Nowhere/Atall"},
    ],
)
def test_a_document_that_was_tampered_with_counts_as_not_there(document: dict[str, Any]) -> None:
    impact = impact_of([Changed("a", "create", None, spec())], {timing_of_document(document): 5}, NOW)
    assert impact.per_day == (0, 1)


def test_the_specs_of_a_plan_are_put_to_its_changes() -> None:
    plan = Plan(
        (
            Change("create", "a", "a.yaml", "new", moves_cursor=True),
            Change("update", "b", "b.yaml", "edited"),
            Change("delete", "c", "c.yaml", "gone"),
        ),
        0,
        withheld=(Change("adopt", "d", "d.yaml", "taken over", moves_cursor=True),),
    )
    assert needs_before(plan) == ["b", "c", "d"]
    before = {name: spec(name) for name in "bcd"}
    after = {name: spec(name, "0 3 * * *") for name in "abcd"}
    found = changed_of(plan, before, after)
    assert [(one.name, one.before is None, one.after is None, one.moves_cursor) for one in found] == [
        ("a", True, False, True),
        ("b", False, False, False),
        ("c", False, True, False),
        ("d", False, False, True),
    ]


def test_as_json_it_is_whole() -> None:
    impact = impact_of([Changed("a", "update", spec(), spec(schedule="0 4 * * *", timezone=BERLIN))], (), NOW)
    assert as_json(impact) == {
        "fires_per_day": {"before": 1, "after": 1},
        "is_exact": True,
        "at_once": 0,
        "load": [
            {
                "minute": "2026-03-21T03:00:00Z",
                "timezone": BERLIN,
                "before": 0,
                "after": 1,
                "is_peak": False,
                "advice": None,
            }
        ],
        "changes": [
            {
                "name": "a",
                "is_retimed": True,
                "before": {
                    "next": ["2026-03-21T02:00:00Z", "2026-03-22T02:00:00Z", "2026-03-23T02:00:00Z"],
                    "timezone": "UTC",
                    "fires_per_day": 1,
                    "is_exact": True,
                    "how": None,
                },
                "after": {
                    "next": ["2026-03-21T03:00:00Z", "2026-03-22T03:00:00Z", "2026-03-23T03:00:00Z"],
                    "timezone": BERLIN,
                    "fires_per_day": 1,
                    "is_exact": True,
                    "how": None,
                },
                "at_once": 0,
                "clock_changes": [],
                "warnings": [],
            }
        ],
        "left_out": 0,
    }


def test_the_impact_of_nothing_is_nothing() -> None:
    assert impact_of([], (), NOW + timedelta(days=1)) == Impact({}, 0)

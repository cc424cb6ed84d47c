"""What is made up for after a stop: `missed: all` with its limits, the deadline, and where a backlog stands in turn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.occurrences import Decision, Pause, Skip, decide, turn_of, wake_at
from reconciler.schedule import Schedule
from reconciler.spec import TaskSpec


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-10T{text}").replace(tzinfo=UTC)


def spec(**fields: Any) -> TaskSpec:
    return TaskSpec.from_document({"name": "a", "task": "t", "schedule": ["0 * * * *"], "missed": "all", **fields})


def told(decision: Decision) -> tuple[list[str], list[tuple[str, str, int | None, str, str | None]]]:
    """What fires and what is skipped, as short as a table has it."""
    fires = [f"{fire.scheduled_for:%H:%M} {fire.trigger}{' waits' * fire.waits}" for fire in decision.fires]
    return fires, [(f"{s.first:%H:%M}", f"{s.last:%H:%M}", s.count, s.reason, s.detail) for s in decision.skips]


FOUR = {"missed_within": "4h"}


@pytest.mark.parametrize(
    ("why", "fields", "through", "now", "fires", "skips"),
    [
        ("one that is on time starts now", {}, "01:00", "02:00:10", ["02:00 schedule"], []),
        ("one that is late starts now", {}, "01:00", "02:10", ["02:00 catch_up"], []),
        (
            "several wait for each other, oldest first",
            FOUR,
            "01:00",
            "04:10",
            ["02:00 catch_up waits", "03:00 catch_up waits", "04:00 catch_up waits"],
            [],
        ),
        (
            "the newest may be on time",
            FOUR,
            "02:00",
            "04:00:10",
            ["03:00 catch_up waits", "04:00 schedule waits"],
            [],
        ),
        (
            "what is too old is one range",
            {"missed_within": "90m"},
            "00:00",
            "05:10",
            ["04:00 catch_up waits", "05:00 catch_up waits"],
            [("01:00", "03:00", 3, "missed", "more than 1h30m late")],
        ),
        (
            "as many as the limit, the newest kept",
            {**FOUR, "missed_limit": 2},
            "01:00",
            "05:10",
            ["04:00 catch_up waits", "05:00 catch_up waits"],
            [("02:00", "03:00", 2, "missed", "only the newest 2 are made up for")],
        ),
        (
            "a limit of one is the latest",
            {**FOUR, "missed_limit": 1},
            "03:00",
            "05:10",
            ["05:00 catch_up"],
            [("04:00", "04:00", 1, "missed", "only the newest 1 are made up for")],
        ),
        (
            "nothing is young enough",
            {"missed_within": "5m"},
            "03:00",
            "05:10",
            [],
            [("04:00", "05:00", 2, "missed", "more than 5m late")],
        ),
        (
            "on time is not too old, however strict the rule",
            {"missed_within": "1s"},
            "03:00",
            "05:00:10",
            ["05:00 schedule"],
            [("04:00", "04:00", 1, "missed", "more than 1s late")],
        ),
        (
            "what is past its deadline is a skip of its own",
            {**FOUR, "deadline": {"start": "90m"}},
            "00:00",
            "05:10",
            ["04:00 catch_up waits", "05:00 catch_up waits"],
            [
                ("01:00", "01:00", 1, "missed", "more than 4h late"),
                ("02:00", "03:00", 2, "deadline", "not started within 1h30m"),
            ],
        ),
        (
            "`latest` has a deadline too",
            {"missed": "latest", "deadline": {"start": "5m"}},
            "02:00",
            "04:10",
            [],
            [
                ("03:00", "03:00", 1, "missed", "only the latest is made up for"),
                ("04:00", "04:00", 1, "deadline", "not started within 5m"),
            ],
        ),
        (
            "with `skip` what is on time runs, and nothing is made up for",
            {"missed": "skip"},
            "02:00",
            "05:00:10",
            ["05:00 schedule"],
            [("03:00", "04:00", 2, "missed", "nothing is made up for")],
        ),
        (
            "even what is on time may be past it",
            {"missed": "skip", "deadline": {"start": "5s"}},
            "03:00",
            "04:00:06",
            [],
            [("04:00", "04:00", 1, "deadline", "not started within 5s")],
        ),
        (
            "the deadline itself is not past it",
            {"deadline": {"start": "5s"}},
            "03:00",
            "04:00:05",
            ["04:00 schedule"],
            [],
        ),
    ],
)
def test_what_is_made_up_for(
    why: str, fields: dict[str, Any], through: str, now: str, fires: list[str], skips: list[tuple[Any, ...]]
) -> None:
    decision = decide(spec(**fields), at(through), at(now))
    assert told(decision) == (fires, skips), why
    assert decision.through == hour_of(now)


def hour_of(now: str) -> datetime:
    return at(now).replace(minute=0, second=0)


def test_a_pause_inside_a_backlog_is_neither_made_up_for_nor_missed() -> None:
    pause = Pause(at("02:30"), at("04:30"), "db maintenance", "ada")
    decision = decide(spec(missed_within="9h", missed_limit=3), at("00:00"), at("06:10"), [pause])
    assert told(decision) == (
        ["02:00 catch_up waits", "05:00 catch_up waits", "06:00 catch_up waits"],
        [
            ("01:00", "01:00", 1, "missed", "only the newest 3 are made up for"),
            ("03:00", "04:00", 2, "paused", "paused by ada: db maintenance"),
        ],
    )


def test_a_pause_over_what_is_missed_and_what_fires_is_told_as_a_pause_on_both_sides() -> None:
    pause = Pause(at("02:30"), at("05:30"))
    decision = decide(spec(missed_within="2h"), at("00:00"), at("06:10"), [pause])
    fires, skips = told(decision)
    assert fires == ["06:00 catch_up"]
    assert [(first, last, reason) for first, last, _, reason, _ in skips] == [
        ("01:00", "02:00", "missed"),
        ("03:00", "05:00", "paused"),
    ]


class Counted:
    """A schedule that counts what it is asked."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule, self.asked = schedule, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.schedule, name)

        def ask(*args: Any) -> Any:
            self.asked += 1
            return found(*args)

        return ask


def questions(rule: TaskSpec, down: timedelta, pauses: Sequence[Pause] = ()) -> int:
    now = at("12:00:01")
    schedule = rule.when()
    assert schedule is not None
    counted = Counted(schedule)
    rule.__dict__["_when"] = counted
    decide(rule, now - down, now, pauses)
    return counted.asked


@pytest.mark.parametrize("missed", ["latest", "all", "skip"])
@pytest.mark.parametrize("fields", [{}, {"jitter": "20s"}, {"missed_within": "365d"}, {"deadline": {"start": "1m"}}])
def test_a_year_down_asks_no_more_of_the_schedule_than_an_hour(missed: str, fields: dict[str, Any]) -> None:
    hour, year = (
        questions(spec(schedule=["@every 1s"], missed=missed, **fields), timedelta(days=days)) for days in (1 / 24, 365)
    )
    assert year <= hour + 1


def test_a_long_pause_is_stepped_over_and_not_walked_through() -> None:
    rule = spec(schedule=["@every 1s"], missed_within="365d", missed_limit=5)
    pause = Pause(at("12:00") - timedelta(days=300), at("12:00"))
    assert questions(rule, timedelta(days=360), [pause]) < 40


def test_a_backlog_is_oldest_first_within_a_name_and_newest_first_between_names() -> None:
    early = decide(spec(missed_within="9h"), at("00:00"), at("03:10")).fires
    late = decide(spec(missed_within="9h", schedule=["30 * * * *"]), at("00:00"), at("03:40")).fires
    in_turn = sorted([*early, *late], key=lambda fire: fire.turn)
    assert [f"{fire.scheduled_for:%H:%M}" for fire in in_turn] == [
        *["00:30", "01:30", "02:30", "03:30"],
        *["01:00", "02:00", "03:00"],
    ]


def test_a_single_instant_stands_where_its_own_time_puts_it() -> None:
    [fire] = decide(spec(), at("01:00"), at("02:00")).fires
    assert fire.turn == turn_of(at("02:00")) < turn_of(at("01:00")) < 0


def test_jitter_does_not_count_against_the_deadline() -> None:
    rule = spec(jitter="20m", deadline={"start": "1m"})
    wake = wake_at(rule, at("02:00"))
    [fire] = decide(rule, at("01:00"), wake + timedelta(seconds=59)).fires
    assert fire.start_by == wake + timedelta(minutes=1)
    assert decide(rule, at("01:00"), wake + timedelta(seconds=61)).skips == (
        Skip("a", at("02:00"), at("02:00"), 1, "deadline", "not started within 1m"),
    )

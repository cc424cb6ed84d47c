"""What is due, what is skipped and why: the rules on a pretended clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.occurrences import Fire, Pause, Skip, decide, turn_of, wake_at
from reconciler.spec import TaskSpec

HOURLY = "0 * * * *"
ONLY_LATEST = "only the latest is made up for"


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-10T{text}").replace(tzinfo=UTC)


def spec(**fields: Any) -> TaskSpec:
    return TaskSpec.from_document({"name": "a", "task": "t", "schedule": [HOURLY], **fields})


def fired(*instants: str, trigger: str = "schedule") -> tuple[Fire, ...]:
    return tuple(Fire(at(instant), trigger, turn=turn_of(at(instant))) for instant in instants)


@pytest.mark.parametrize(
    ("why", "through", "now", "fires", "skips", "next_run"),
    [
        ("nothing is due between two instants", "01:00", "01:59:59", (), (), "02:00"),
        ("an instant fires at its very moment", "01:00", "02:00", fired("02:00"), (), "03:00"),
        ("a moment late is on time", "01:00", "02:00:30", fired("02:00"), (), "03:00"),
        ("later it is made up for", "01:00", "02:00:31", fired("02:00", trigger="catch_up"), (), "03:00"),
        (
            "of several only the latest is still good",
            "01:00",
            "05:10",
            fired("05:00", trigger="catch_up"),
            (Skip("a", at("02:00"), at("04:00"), 3, "missed", ONLY_LATEST),),
            "06:00",
        ),
    ],
)
def test_missed_latest(
    why: str, through: str, now: str, fires: tuple[Fire, ...], skips: tuple[Skip, ...], next_run: str
) -> None:
    decision = decide(spec(), at(through), at(now))
    assert (decision.fires, decision.skips, decision.next_run) == (fires, skips, at(next_run)), why


def test_missed_latest_makes_up_for_nothing_older_than_a_day() -> None:
    weekly = spec(schedule=["0 0 * * 0"])
    decision = decide(weekly, datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 9, 0, 0, 1, tzinfo=UTC))
    assert decision.fires == ()
    assert decision.skips == (
        Skip("a", datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 3, 8, tzinfo=UTC), 1, "missed", "more than 1d late"),
    )


def test_missed_skip_fires_on_time_and_makes_up_for_nothing() -> None:
    rule = spec(missed="skip")
    assert decide(rule, at("01:00"), at("02:00:01")).fires == fired("02:00")
    late = decide(rule, at("01:00"), at("04:30"))
    assert late.fires == ()
    assert late.skips == (Skip("a", at("02:00"), at("04:00"), 3, "missed", "nothing is made up for"),)
    assert late.through == at("04:00")


def test_a_year_down_is_one_row() -> None:
    every_second = spec(schedule=["@every 1s"])
    now = datetime(2026, 3, 10, tzinfo=UTC)
    decision = decide(every_second, now - timedelta(days=365), now)
    assert len(decision.skips) == 1
    assert decision.skips[0].last == now - timedelta(seconds=1)
    assert decision.skips[0].count in (None, 365 * 86_400 - 1)
    assert decision.fires == (Fire(now, "schedule", turn=turn_of(now)),)


def test_a_spec_without_a_schedule_decides_nothing() -> None:
    decision = decide(spec(schedule=[]), at("01:00"), at("05:00"))
    assert decision.is_empty
    assert decision.next_run is None
    assert decision.through == at("01:00")


def test_the_instants_of_a_pause_are_skipped_as_paused_however_it_ended() -> None:
    pause = Pause(at("01:30"), at("03:30"), "db maintenance", "ops")
    decision = decide(spec(), at("01:00"), at("04:00"), [pause])
    assert decision.fires == fired("04:00")
    assert decision.skips == (Skip("a", at("02:00"), at("03:00"), 2, "paused", "paused by ops: db maintenance"),)


def test_an_instant_inside_a_pause_that_has_ended_is_not_made_up_for() -> None:
    decision = decide(spec(), at("01:00"), at("02:10"), [Pause(at("01:50"), at("02:05"))])
    assert decision.fires == ()
    assert [skip.reason for skip in decision.skips] == ["paused"]


def test_a_pause_begins_at_its_first_moment_and_ends_before_its_last() -> None:
    pause = Pause(at("02:00"), at("03:00"))
    decision = decide(spec(), at("01:00"), at("03:00"), [pause])
    assert decision.skips == (Skip("a", at("02:00"), at("02:00"), 1, "paused", "paused"),)
    assert decision.fires == fired("03:00")


@pytest.mark.parametrize("missed", ["latest", "all", "skip"])
def test_a_pause_that_began_at_the_newest_instant_and_is_over_keeps_it_from_being_made_up_for(missed: str) -> None:
    decision = decide(spec(missed=missed), at("01:00"), at("02:00:10"), [Pause(at("02:00"), at("02:00:05"))])
    assert decision.fires == ()
    assert decision.skips == (Skip("a", at("02:00"), at("02:00"), 1, "paused", "paused"),)


def test_a_pause_between_two_instants_takes_neither_what_is_before_its_first_nor_what_is_at_its_end() -> None:
    decision = decide(spec(), at("00:00"), at("06:00"), [Pause(at("02:00"), at("04:00"))])
    assert [(s.first, s.last, s.reason) for s in decision.skips] == [
        (at("01:00"), at("01:00"), "missed"),
        (at("02:00"), at("03:00"), "paused"),
        (at("04:00"), at("05:00"), "missed"),
    ]
    assert decision.fires == fired("06:00")


def test_a_backlog_goes_on_before_and_after_a_pause_and_not_in_it() -> None:
    rule = spec(missed="all", missed_within="1d")
    decision = decide(rule, at("00:00"), at("05:00"), [Pause(at("02:00"), at("04:00"))])
    assert [fire.scheduled_for for fire in decision.fires] == [at("01:00"), at("04:00"), at("05:00")]
    assert decision.skips == (Skip("a", at("02:00"), at("03:00"), 2, "paused", "paused"),)
    later = decide(rule, at("00:00"), at("05:00"), [Pause(at("02:00") + timedelta(microseconds=1), at("04:00"))])
    assert [fire.scheduled_for for fire in later.fires] == [at("01:00"), at("02:00"), at("04:00"), at("05:00")]


def test_missed_and_paused_instants_are_told_apart() -> None:
    pause = Pause(at("02:30"), at("03:30"))
    decision = decide(spec(), at("00:00"), at("05:10"), [pause])
    assert [(s.first, s.last, s.reason) for s in decision.skips] == [
        (at("01:00"), at("02:00"), "missed"),
        (at("03:00"), at("03:00"), "paused"),
        (at("04:00"), at("04:00"), "missed"),
    ]


def test_jitter_delays_the_look_and_never_the_instant() -> None:
    shaky = spec(jitter="10m")
    wake = wake_at(shaky, at("02:00"))
    assert at("02:00") <= wake < at("02:10")
    assert wake == wake_at(shaky, at("02:00"))
    assert decide(shaky, at("01:00"), wake).fires == fired("02:00")
    if wake > at("02:00"):
        assert decide(shaky, at("01:00"), wake - timedelta(milliseconds=1)).is_empty


def test_jitter_stays_below_the_next_instant() -> None:
    wild = spec(schedule=["@every 10s"], jitter="1h")
    assert all(wake_at(wild, at(f"01:00:{s}0")) - at(f"01:00:{s}0") < timedelta(seconds=10) for s in range(6))


@given(
    through=st.integers(0, 10**6),
    gap=st.integers(0, 10**6),
    pauses=st.lists(st.tuples(st.integers(0, 2 * 10**6), st.integers(0, 10**5)), max_size=4),
    missed=st.sampled_from(["latest", "all", "skip"]),
    limit=st.integers(1, 20),
    within=st.sampled_from(["1s", "20m", "1h", "9h", "30d"]),
    start=st.sampled_from([None, "1s", "15m", "3h"]),
    jitter=st.sampled_from(["0s", "5m", "1h"]),
)
def test_every_instant_gets_exactly_one_verdict(
    through: int,
    gap: int,
    pauses: list[tuple[int, int]],
    missed: str,
    limit: int,
    within: str,
    start: str | None,
    jitter: str,
) -> None:
    new_year = datetime(2026, 1, 1, tzinfo=UTC)
    rule = spec(
        schedule=["@every 17m"],
        missed=missed,
        missed_limit=limit,
        missed_within=within,
        deadline={"start": start},
        jitter=jitter,
    )
    spans = [Pause(new_year + timedelta(seconds=s), new_year + timedelta(seconds=s + n)) for s, n in pauses]
    seen, now = new_year + timedelta(seconds=through), new_year + timedelta(seconds=through + gap)
    decision = decide(rule, seen, now, spans)

    schedule = rule.when()
    assert schedule is not None
    due, moment = [], schedule.next_after(seen)
    while moment is not None and wake_at(rule, moment) <= now:
        due.append(moment)
        moment = schedule.next_after(moment)
    verdicts = [
        (instant in {fire.scheduled_for for fire in decision.fires})
        + sum(skip.first <= instant <= skip.last for skip in decision.skips)
        for instant in due
    ]
    assert verdicts == [1] * len(due)
    assert all(fire.scheduled_for > seen for fire in decision.fires)
    assert not any(
        p.since <= fire.scheduled_for and (p.until is None or fire.scheduled_for < p.until)
        for fire in decision.fires
        for p in spans
    )
    assert len(decision.fires) <= (limit if missed == "all" else 1)
    assert [fire.turn for fire in decision.fires] == sorted(fire.turn for fire in decision.fires)
    assert all(fire.start_by is None or fire.start_by >= now for fire in decision.fires)
    assert sum(skip.count or 0 for skip in decision.skips) + len(decision.fires) == len(due)
    assert decision.through == (due[-1] if due else seen)
    assert decide(rule, decision.through, now, spans).is_empty

"""What a schedule keeps between questions: shared between equal ones, bounded, and no more than an answer needs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.schedule import Schedule, timeline

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)
YEAR = timedelta(days=365)
KINDS = ["* * * * *", "*/5 * * * *", "0 * * * *", "0 2 * * *", "0 2 * * 1", "0 0 L * *", "0 0 29 2 *", "@every 30s"]


def runs(schedule: Schedule) -> dict[int, int]:
    """How many instants each run that the schedule keeps has."""
    return {index: len(run) for index, run in schedule._timeline.runs.items()}


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    timeline.timeline.cache_clear()
    monkeypatch.setattr(timeline, "_kept", timeline.Kept(timeline.MOST_KEPT))


def test_equal_schedules_of_different_tasks_share_their_runs() -> None:
    schedules = [Schedule(["0 2 * * 1-5"], "Europe/Berlin", name=f"task-{n}") for n in range(100)]
    assert len({schedule.next_after(NOON) for schedule in schedules}) == 1
    assert len({id(schedule._timeline) for schedule in schedules}) == 1
    bounded = Schedule(["0 2 * * 1-5"], "Europe/Berlin", ends_at=NOON)
    assert bounded._timeline is schedules[0]._timeline
    assert bounded.next_after(NOON) is None


def test_what_decides_the_instants_is_not_shared() -> None:
    schedules = [
        Schedule(["0 2 * * *"]),
        Schedule(["0 2 * * *"], "Europe/Berlin"),
        Schedule(["@every 7m"]),
        Schedule(["@every 7m"], starts_at=NOON),
        Schedule(["H 2 * * *"], name="one"),
        Schedule(["H 2 * * *"], name="other"),
    ]
    assert len({id(schedule._timeline) for schedule in schedules}) == len(schedules)


@pytest.mark.parametrize("expression", KINDS)
def test_one_question_computes_one_run_or_two(expression: str) -> None:
    schedule = Schedule([expression], "Europe/Berlin")
    for _ in range(3):
        assert schedule.next_after(NOON) is not None
    assert len(runs(schedule)) <= 2


@pytest.mark.parametrize("expression", [*KINDS, "* * * * * *"])
def test_no_run_is_large(expression: str) -> None:
    schedule = Schedule([expression], "Europe/Berlin", seconds="last")
    assert schedule.next_after(NOON) is not None
    assert schedule.last_until(NOON, NOON - YEAR) is not None or expression == "0 0 29 2 *"
    assert max(runs(schedule).values()) <= timeline.MOST_INSTANTS


@pytest.mark.parametrize("expression", KINDS)
@pytest.mark.parametrize("down", [timedelta(minutes=1), YEAR, 2000 * YEAR])
def test_looking_back_costs_the_same_after_a_minute_and_after_two_thousand_years(
    expression: str, down: timedelta
) -> None:
    schedule = Schedule([expression], "America/New_York")
    schedule.last_until(NOON, NOON - down)
    assert len(runs(schedule)) <= 2


@pytest.mark.parametrize("down", [timedelta(days=20), YEAR, 2000 * YEAR])
def test_counting_stops_at_its_limit(down: timedelta) -> None:
    schedule = Schedule(["* * * * *"], "America/New_York")
    assert schedule.count(NOON - down, NOON, limit=1000) is None
    assert sum(runs(schedule).values()) <= 1000 + 2 * timeline.MOST_INSTANTS


def test_what_all_schedules_keep_together_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "_kept", timeline.Kept(5000))
    schedules = [Schedule([f"{minute} * * * *"]) for minute in range(60)]
    for schedule in schedules:
        before = [found for found, _ in zip(schedule.upcoming(NOON), range(200), strict=False)]
        assert before == [found for found, _ in zip(schedule.upcoming(NOON), range(200), strict=False)]
    assert sum(sum(runs(schedule).values()) for schedule in schedules) <= 5000
    assert len(runs(schedules[0])) == 0
    assert schedules[0].next_after(NOON) == NOON + timedelta(hours=1)

"""The `after` rule as a table: for which instants a task runs, given when those that it waits for succeeded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.after import Meeting, meeting

START = datetime(2026, 3, 10, tzinfo=UTC)


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


@pytest.mark.parametrize(
    ("successes", "instants"),
    [
        ([[1]], [1]),
        ([[1, 2]], [1, 2]),
        ([[1], [1]], [1]),
        ([[1, 2, 3], []], []),
        # with a schedule in common each instant comes, however late anybody looks
        ([[1, 2, 3], [1, 2, 3]], [1, 2, 3]),
        ([[1, 2, 3], [1]], [1]),
        # one comes later: the other's newest success up to then counts
        ([[1, 2, 3], [3]], [3]),
        ([[1, 2, 4], [3]], [2]),
        ([[10, 1010], [20, 1020]], [10, 1010]),
        ([[1, 2, 3, 4, 5, 6, 7, 8], [4, 8]], [4, 8]),
        ([[1, 2, 3], [2, 3], [3]], [3]),
        # what was before is used up
        ([[-1, 0], [-1, 0]], []),
        ([[0, 5], [-1, 5]], [5]),
    ],
)
def test_it_runs_once_each_time_that_all_have_succeeded_anew(
    successes: list[list[float]], instants: list[float]
) -> None:
    known, seen, found = [[at(minute) for minute in one] for one in successes], at(0), []
    while met := meeting(known, seen):
        assert seen < met.instant <= met.until
        found.append(met.instant)
        seen = met.until
    assert found == [at(minute) for minute in instants]


def test_a_success_that_comes_late_still_finds_the_one_that_it_belongs_to() -> None:
    first = meeting([[at(1), at(2)], [at(1)]], at(0))
    assert first == Meeting(at(1), at(1))
    assert meeting([[at(1), at(2)], [at(1), at(2)]], first.until) == Meeting(at(2), at(2))

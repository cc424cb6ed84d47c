"""What a clock change does to a schedule, told before it happens.

In Europe/Berlin clocks go forward on 2026-03-29 and back on 2026-10-25.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.simulate import Job, Setup, clock_changes, simulate
from reconciler.spec import TaskSpec

SPRING = (datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 4, 3, tzinfo=UTC))
AUTUMN = (datetime(2026, 10, 24, tzinfo=UTC), datetime(2026, 10, 31, tzinfo=UTC))


def spec(schedule: object, **fields: Any) -> TaskSpec:
    return TaskSpec(name="a", task="t", **{"schedule": schedule, "timezone": "Europe/Berlin"} | fields)


FORWARD = "2026-03-29 Europe/Berlin: clocks go forward from 02:00 to 03:00: "
BACK = "2026-10-25 Europe/Berlin: clocks go back from 03:00 to 02:00: "

# what the spec says, when, what is told
TABLE: list[tuple[str, dict[str, Any], tuple[datetime, datetime], list[str]]] = [
    ("30 2 * * *", {}, SPRING, [FORWARD + "02:30 runs once, at 01:00 UTC"]),
    ("30 2 * * *", {"dst": {"gap": "skip"}}, SPRING, [FORWARD + "02:30 does not run"]),
    ("0 2,3 * * *", {}, SPRING, [FORWARD + "02:00 does not run"]),
    ("*/20 2 * * *", {}, SPRING, [FORWARD + "02:00 to 02:40, 3 times, do not run"]),
    ("0,20,40 2 * * *", {}, SPRING, [FORWARD + "02:00 to 02:40, 3 times, run once, at 01:00 UTC"]),
    ("30 2 * * *", {}, AUTUMN, []),
    ("30 2 * * *", {"dst": {"fold": "both"}}, AUTUMN, [BACK + "02:30 runs twice"]),
    ("*/30 2 * * *", {}, AUTUMN, [BACK + "02:00 to 02:30, 2 times, run twice"]),
    # Nobody is surprised by these.
    ("0 * * * *", {}, SPRING, []),
    ("0 * * * *", {}, AUTUMN, []),
    ("@every 1h", {}, SPRING, []),
    ("30 4 * * *", {}, SPRING, []),
    ("30 2 * * 1-5", {}, SPRING, []),
    ("30 2 * * *", {"timezone": "UTC"}, SPRING, []),
    ("30 2 * * *", {"skip_on": ["2026-03-29"]}, SPRING, []),
    ("30 2 * * *", {"suspend": True}, SPRING, []),
    ("30 2 * * *", {"ends_at": "2026-03-28T00:00:00Z"}, SPRING, []),
    ("30 2 * * *", {}, (SPRING[0], SPRING[0] + timedelta(days=1)), []),
    # Lord Howe's clocks move by half an hour.
    ("45 1 * * *", {"timezone": "Australia/Lord_Howe", "dst": {"fold": "both"}},
     (datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 4, 8, tzinfo=UTC)),
     ["2026-04-05 Australia/Lord_Howe: clocks go back from 02:00 to 01:30: 01:45 runs twice"]),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "fields", "window", "told"), TABLE)
def test_what_a_clock_change_does_is_told(
    schedule: str, fields: dict[str, Any], window: tuple[datetime, datetime], told: list[str]
) -> None:
    assert [str(change) for change in clock_changes([spec(schedule, **fields)], *window)] == told


def test_each_expression_of_a_list_is_told_by_itself() -> None:
    found = clock_changes([spec(["30 2 * * *", "0 * * * *", "15 2 * * *"])], *SPRING)
    assert [(change.expression, change.effect) for change in found] == [
        ("15 2 * * *", "moved"),
        ("30 2 * * *", "moved"),
    ]


@pytest.mark.parametrize(
    ("window", "fields", "expected"),
    [
        (SPRING, {}, ["03-28T01:30", "03-29T01:00", "03-30T00:30"]),
        (SPRING, {"dst": {"gap": "skip"}}, ["03-28T01:30", "03-30T00:30"]),
        (AUTUMN, {}, ["10-24T00:30", "10-25T00:30", "10-26T01:30"]),
        (AUTUMN, {"dst": {"fold": "both"}}, ["10-24T00:30", "10-25T00:30", "10-25T01:30", "10-26T01:30"]),
    ],
)
def test_the_simulation_fires_as_the_change_says(
    window: tuple[datetime, datetime], fields: dict[str, Any], expected: list[str]
) -> None:
    jobs = [Job(spec("30 2 * * *", **fields), timedelta(seconds=1))]
    outcome = simulate(jobs, Setup(*window))
    fires = [f"{run.started_at:%m-%dT%H:%M}" for run in outcome.ran]
    assert [fire for fire in fires if fire in expected] == expected
    assert len(fires) == 7 + len(expected) - 3

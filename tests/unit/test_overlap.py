"""The overlap rule as a table: what becomes of an instant that comes due while its name is busy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler.overlap import Held, Overlap, overlap_verdict


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-10T{text}").replace(tzinfo=UTC)


OWNED = Held(at("01:00"), "owned")
RETRY = Held(at("02:00"), "back-off")
WAITING = Held(at("03:00"), "waiting")
OTHER_WAITING = Held(at("03:30"), "waiting")
GOING = "the run of 2026-03-10T01:00:00Z was still going"
GOING_AGAIN = "the run of 2026-03-10T02:00:00Z was still going"
STILL_WAITING = "the run of 2026-03-10T03:00:00Z was still waiting"
REPLACED = "replaced by the run of 2026-03-10T04:00:00Z"


@pytest.mark.parametrize(
    ("policy", "held", "verdict", "detail"),
    [
        ("skip", (), "start", None),
        ("queue", (), "start", None),
        ("replace", (), "start", None),
        ("allow", (), "start", None),
        ("skip", (OWNED,), "skip", GOING),
        ("skip", (RETRY,), "skip", GOING_AGAIN),
        ("skip", (RETRY, OWNED), "skip", GOING),
        ("skip", (WAITING,), "skip", STILL_WAITING),
        ("queue", (OWNED,), "wait", None),
        ("queue", (RETRY,), "wait", None),
        ("queue", (OWNED, WAITING), "skip", STILL_WAITING),
        ("queue", (OTHER_WAITING, WAITING), "skip", STILL_WAITING),
        ("replace", (OWNED,), "replace", REPLACED),
        ("replace", (RETRY,), "replace", REPLACED),
        ("replace", (WAITING,), "replace", REPLACED),
        ("allow", (OWNED, RETRY, WAITING), "start", None),
    ],
)
def test_one_instant(policy: Any, held: tuple[Held, ...], verdict: Any, detail: str | None) -> None:
    assert overlap_verdict(policy, at("04:00"), held) == Overlap(verdict, detail)


@pytest.mark.parametrize(
    ("policy", "held", "verdict"),
    [
        ("skip", (), "wait"),
        ("skip", (OWNED,), "wait"),
        ("skip", (RETRY,), "wait"),
        ("skip", (WAITING,), "skip"),
        ("queue", (OWNED,), "wait"),
        ("queue", (WAITING,), "skip"),
        ("replace", (), "wait"),
        ("replace", (OWNED,), "replace"),
        ("allow", (OWNED, WAITING), "wait"),
    ],
)
def test_a_backlog_waits_behind_a_run_and_not_behind_another_backlog(
    policy: Any, held: tuple[Held, ...], verdict: Any
) -> None:
    assert overlap_verdict(policy, at("04:00"), held, is_backlog=True).verdict == verdict

"""What a notice says, and which one is due."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.db.incidents import About, Incident
from reconciler.notify.pinging import failing
from reconciler.notify.targets import _masked
from reconciler.notify.wording import message, phase_of

T = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
LATER = T + timedelta(minutes=5)
FAILURE = Incident(
    1, "nightly-sales", "failure", T, "ConnectionError: no route", LATER, None, None, None, None, LATER, 1, []
)
OVER = replace(FAILURE, closed_at=T + timedelta(hours=1), closing="succeeded at 2026-03-02T03:00:00Z")
ABOUT = About({"to": ["ops"]}, [{"attempt": 1}], "ConnectionError: no route", "abc123", "host:7", T, LATER)
BOTH = ("failure", "recovery")


@pytest.mark.parametrize(
    ("incident", "on", "phase"),
    [
        (FAILURE, BOTH, "opening"),
        (FAILURE, ("missed",), None),
        (replace(FAILURE, opening_told_at=LATER), BOTH, None),
        (replace(FAILURE, kind="missed"), BOTH, None),
        (replace(FAILURE, kind="missed"), ("missed",), "opening"),
        (replace(FAILURE, kind="silence"), ("recovery",), "opening"),
        # What was over before it was told is one message.
        (OVER, BOTH, "both"),
        (OVER, ("failure",), "both"),
        (replace(OVER, opening_told_at=LATER), BOTH, "closing"),
        (replace(OVER, opening_told_at=LATER), ("failure",), None),
        (replace(OVER, opening_told_at=LATER, closing_told_at=LATER), BOTH, None),
        (OVER, ("recovery",), "closing"),
    ],
)
def test_each_notice_is_due_once_and_only_where_it_is_wanted(
    incident: Incident, on: tuple[str, ...], phase: str | None
) -> None:
    assert phase_of(incident, on) == phase


@pytest.mark.parametrize(
    ("incident", "phase", "subject", "mood"),
    [
        (FAILURE, "opening", "nightly-sales failed: ConnectionError: no route", "failure"),
        (replace(FAILURE, detail="\n\n no route\nto host"), "opening", "nightly-sales failed: no route", "failure"),
        (OVER, "both", "nightly-sales failed and has recovered: ConnectionError: no route", "success"),
        (OVER, "closing", "nightly-sales has recovered: succeeded at 2026-03-02T03:00:00Z", "success"),
        (
            replace(OVER, kind="missed", closing="the task was paused"),
            "closing",
            "nightly-sales: no longer watched: the task was paused",
            "info",
        ),
        (replace(FAILURE, kind="missed", detail="was due"), "opening", "nightly-sales was due", "warning"),
        (
            replace(FAILURE, kind="silence", detail="has not succeeded for 2h"),
            "opening",
            "nightly-sales has not succeeded for 2h",
            "warning",
        ),
    ],
)
def test_the_subject_says_it_all(incident: Incident, phase: Any, subject: str, mood: str) -> None:
    said = message(incident, ABOUT, phase)
    assert (said.subject, said.mood) == (subject, mood)


def test_the_body_says_what_to_type() -> None:
    body = message(FAILURE, ABOUT, "opening").body
    for line in (
        "instant       2026-03-02T02:00:00Z",
        "attempts      2",
        "revision      abc123",
        "last success  that of 2026-03-02T02:00:00Z, finished 2026-03-02T02:05:00Z",
        "  reconciler why nightly-sales 2026-03-02T02:00:00Z",
        "  reconciler logs nightly-sales 2026-03-02T02:00:00Z",
    ):
        assert line in body.splitlines()


def test_a_long_error_makes_a_short_subject_of_one_line() -> None:
    said = message(replace(FAILURE, detail="ValueError: " + "x" * 5000 + "\nmore"), ABOUT, "opening")
    assert len(said.subject) <= 140
    assert "\n" not in said.subject
    assert len(said.body) < 2000


def test_what_a_library_says_of_an_address_shows_none_of_it() -> None:
    url = "json://ana:geheim99@hooks.example/T0KEN/B0X?token=s3cr3t"
    said = _masked(
        "no answer of json://ana:geheim99@hooks.example/T0KEN/B0X?token=s3cr3t (geheim99, T0KEN, s3cr3t)", url
    )
    assert not any(word in said for word in ("geheim99", "T0KEN", "s3cr3t"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://hc.example/uuid", "https://hc.example/uuid/fail"),
        ("https://hc.example/uuid/", "https://hc.example/uuid/fail"),
        ("https://hc.example/uuid?rid=1", "https://hc.example/uuid/fail?rid=1"),
    ],
)
def test_a_failure_is_pinged_at_fail(url: str, expected: str) -> None:
    assert failing(url) == expected

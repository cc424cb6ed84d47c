"""How long a source rests after a failure: a table of attempts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.sync.backoff import FIRST, MOST, Backoff

NOW = datetime(2026, 3, 1, tzinfo=UTC)
INTERVAL = timedelta(seconds=3)


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [
        # the same revision, the same error: doubled, up to the interval
        ([("a", "x")], [0.5]),
        ([("a", "x")] * 5, [0.5, 1, 2, 3, 3]),
        # a new revision begins anew, and so does the old one when it is back
        ([("a", "x"), ("a", "x"), ("b", "x"), ("b", "x"), ("a", "x")], [0.5, 1, 0.5, 1, 0.5]),
        # another error begins anew
        ([("a", "x"), ("a", "x"), ("a", "y"), ("a", "y")], [0.5, 1, 0.5, 1]),
        # two that take turns do not reset each other
        ([("a", "x"), ("a", "y")] * 3, [0.5, 0.5, 1, 1, 2, 2]),
        # figures do not make another error
        ([("a", "took 1.25 s (pid 71)"), ("a", "took 10 s (pid 9999)")], [0.5, 1]),
        # good in between
        ([("a", "x"), ("a", "x"), ("a", None), ("a", "x")], [0.5, 1, 0, 0.5]),
        # a revision that could not be told is one, too
        ([(None, "x"), (None, "x"), ("a", "x")], [0.5, 1, 0.5]),
    ],
)
def test_the_same_error_at_the_same_revision_doubles_the_rest(
    attempts: list[tuple[str | None, str | None]], seconds: list[float]
) -> None:
    backoff, found = Backoff(), []
    for revision, error in attempts:
        if error is None:
            backoff.succeeded(revision)
            found.append(0.0)
        else:
            found.append(backoff.failed(revision, error, NOW, INTERVAL).total_seconds())
    assert found == seconds


def test_what_is_left_of_a_rest_is_told_for_any_moment() -> None:
    backoff = Backoff()
    assert backoff.rest(NOW) == timedelta()
    backoff.failed("a", "x", NOW, INTERVAL)
    assert backoff.rest(NOW) == FIRST
    assert backoff.rest(NOW + FIRST / 2) == FIRST / 2
    assert backoff.rest(NOW + 2 * FIRST) == timedelta()
    backoff.succeeded("a")
    assert backoff.rest(NOW) == timedelta()


def test_it_never_rests_longer_than_the_interval_nor_forgets_to_rest() -> None:
    backoff = Backoff()
    rests = [backoff.failed("a", "x", NOW, timedelta(days=1)) for _ in range(200)]
    assert rests[-1] == timedelta(days=1)
    assert rests == sorted(rests)
    short = timedelta(milliseconds=100)
    assert Backoff().failed("a", "x", NOW, short) == short


def test_errors_without_end_are_not_all_remembered() -> None:
    backoff = Backoff()
    for number in range(1000):
        backoff.failed("a", f"error {chr(97 + number % 26) * (number // 26 + 1)}", NOW, INTERVAL)
    assert len(backoff._counts) == MOST

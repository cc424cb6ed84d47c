"""How long an attempt may take, and what follows a failed one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.attempts import Attempt, after_failure, again_at, begun_at, finish_by, is_named, limit_of
from reconciler.durations import parse_duration
from reconciler.spec import Retries, TaskSpec

CONNECTION = ("requests.exceptions.ConnectionError", "requests.exceptions.RequestException", "builtins.OSError")
TIMEOUT = ("builtins.TimeoutError", "builtins.OSError")
CANCELLED = ("asyncio.exceptions.CancelledError",)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-10T{text}").replace(tzinfo=UTC)


def spec(**fields: Any) -> TaskSpec:
    return TaskSpec.from_document({"name": "a", "task": "t", **fields})


def attempt(number: int = 1, trigger: str = "schedule", begun: str = "01:00") -> Attempt:
    return Attempt("a", at("01:00"), number, trigger, at(begun))


@pytest.mark.parametrize(("number", "low", "high"), [(1, 24, 36), (2, 48, 72), (3, 80, 120), (4, 80, 120)])
def test_the_back_off_doubles_up_to_its_maximum(number: int, low: int, high: int) -> None:
    retries = Retries(attempts=9, backoff=parse_duration("30s"), max_backoff=parse_duration("100s"))
    again = again_at(retries, "a", at("01:00"), number, at("01:00"))
    assert timedelta(seconds=low) <= again - at("01:00") <= timedelta(seconds=high)


def test_many_failures_at_once_do_not_return_at_once() -> None:
    retries = Retries(attempts=9)
    assert len({again_at(retries, f"n{n}", at("01:00"), 1, at("01:00")) for n in range(100)}) > 90


@pytest.mark.parametrize(("number", "attempts", "goes_on"), [(1, 1, False), (1, 2, True), (2, 2, False), (2, 3, True)])
def test_there_are_as_many_attempts_as_the_spec_says(number: int, attempts: int, goes_on: bool) -> None:
    again = after_failure(spec(retries={"attempts": attempts}), attempt(number), at("01:01"))
    assert (again is not None) is goes_on


@pytest.mark.parametrize(
    ("retry_on", "give_up_on", "kinds", "goes_on"),
    [
        ([], [], CONNECTION, True),
        (["ConnectionError"], [], CONNECTION, True),
        (["OSError"], [], CONNECTION, True),
        (["requests.ConnectionError"], [], CONNECTION, True),
        (["ValueError"], [], CONNECTION, False),
        (["http.ConnectionError"], [], CONNECTION, False),
        (["TimeoutError"], [], TIMEOUT, True),
        ([], ["TimeoutError"], TIMEOUT, False),
        ([], ["OSError"], CONNECTION, False),
        (["OSError"], ["ConnectionError"], CONNECTION, False),
        (["ConnectionError"], ["ValueError"], CONNECTION, True),
        (["ValueError"], ["KeyError"], (), True),  # a process or a runner died
        (["ValueError"], ["CancelledError"], CANCELLED, True),  # cut short from outside
    ],
)
def test_exceptions_are_chosen_by_name(
    retry_on: list[str], give_up_on: list[str], kinds: tuple[str, ...], goes_on: bool
) -> None:
    chosen = spec(retries={"attempts": 2, "retry_on": retry_on, "give_up_on": give_up_on})
    assert (after_failure(chosen, attempt(), at("01:01"), kinds=kinds) is not None) is goes_on


@pytest.mark.parametrize(
    ("name", "is_it"),
    [
        ("ConnectionError", True),
        ("exceptions.ConnectionError", True),
        ("requests.exceptions.ConnectionError", True),
        ("requests.ConnectionError", True),
        ("Error", False),
        ("exceptions.requests.ConnectionError", False),
        ("other.requests.exceptions.ConnectionError", False),
        ("requests", False),
    ],
)
def test_a_name_is_bare_or_dotted_with_inner_parts_left_out(name: str, is_it: bool) -> None:
    assert is_named("requests.exceptions.ConnectionError", [name]) is is_it


@pytest.mark.parametrize(
    ("asked", "wait"),
    [
        (90.0, timedelta(seconds=90)),
        (0.0, timedelta(0)),
        (-5.0, timedelta(0)),
        (1e300, timedelta(days=366)),
        (float("inf"), timedelta(days=366)),
        (float("nan"), timedelta(days=366)),
    ],
)
def test_what_a_task_asks_for_itself_is_its_wait_whatever_the_rules_by_name_say(asked: float, wait: timedelta) -> None:
    chosen = spec(retries={"attempts": 2, "retry_on": ["ValueError"]})
    kinds = ("reconciler.registry.RetryAfter",)
    assert after_failure(chosen, attempt(), at("01:01"), kinds=kinds, retry_after=asked) == at("01:01") + wait


def test_what_a_task_asks_for_is_no_further_attempt_than_the_spec_allows() -> None:
    assert after_failure(spec(retries={"attempts": 2}), attempt(2), at("01:01"), retry_after=1.0) is None


DEADLINE = {"deadline": {"finish": "1h"}, "retries": {"attempts": 9, "backoff": "10m", "max_backoff": "10m"}}


@pytest.mark.parametrize(
    ("now", "trigger", "goes_on"),
    [
        ("01:10", "schedule", True),
        ("01:55", "schedule", False),
        ("01:55", "catch_up", False),
        ("02:30", "schedule", False),
        ("02:30", "manual", True),
        ("02:30", "rerun", True),
        ("02:30", "backfill", True),
    ],
)
def test_no_attempt_begins_after_the_deadline(now: str, trigger: str, goes_on: bool) -> None:
    assert (after_failure(spec(**DEADLINE), attempt(trigger=trigger), at(now)) is not None) is goes_on


@pytest.mark.parametrize(
    ("timeout", "finish", "now", "trigger", "seconds", "because"),
    [
        (None, None, "01:00", "schedule", None, None),
        ("10m", None, "01:00", "schedule", 600, None),
        ("10m", "1h", "01:00", "schedule", 600, None),
        ("10m", "1h", "01:55", "schedule", 300, "had to finish within 1h of its instant"),
        (None, "1h", "01:30", "catch_up", 1800, "had to finish within 1h of its instant"),
        (None, "1h", "03:00", "schedule", -3600, "had to finish within 1h of its instant"),
        (None, "1h", "03:00", "manual", None, None),
        ("10m", "1h", "03:00", "backfill", 600, None),
    ],
)
def test_an_attempt_takes_no_longer_than_its_timeout_and_the_deadline_allow(
    timeout: str | None, finish: str | None, now: str, trigger: str, seconds: float | None, because: str | None
) -> None:
    chosen = spec(timeout=timeout, deadline={"finish": finish})
    limit = limit_of(chosen, attempt(trigger=trigger), at(now))
    assert (limit.seconds, limit.because) == (seconds, because)


def test_what_runs_after_others_counts_from_when_it_began() -> None:
    late = attempt(trigger="after", begun="05:00")
    assert finish_by(spec(**DEADLINE), late) == at("06:00")
    assert limit_of(spec(**DEADLINE), late, at("05:30")).because == (
        "had to finish within 1h of the start of its first attempt"
    )


def test_the_beginning_is_that_of_the_first_attempt() -> None:
    assert begun_at([], at("05:00")) == at("05:00")
    assert begun_at([{"error": "the runner died"}], at("05:00")) == at("05:00")
    assert begun_at([{"started_at": "2026-03-10T01:00:00Z"}, {"started_at": "x"}], at("05:00")) == at("01:00")

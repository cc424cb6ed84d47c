"""The runner's rules on a pretended clock: small scenarios as tables, and that every instant gets one verdict."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.occurrences import decide
from reconciler.simulate import Job, Outcome, Setup, pile_ups, simulate, summaries, totals
from reconciler.simulate.engine import decided_alone
from reconciler.spec import TaskSpec

BEGIN = datetime(2026, 6, 1, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def spec(name: str = "a", **fields: Any) -> TaskSpec:
    return TaskSpec(name=name, task="t", **{"schedule": "0 * * * *"} | fields)


def job(name: str = "a", minutes: float = 1, is_async: bool = True, **fields: Any) -> Job:
    return Job(spec(name, **fields), minutes * MINUTE, is_async)


def setup(hours: float = 4, **fields: Any) -> Setup:
    return Setup(BEGIN, BEGIN + hours * HOUR, **fields)


def minute(moment: datetime) -> float:
    return (moment - BEGIN) / MINUTE


def runs(outcome: Outcome, name: str = "a") -> list[tuple[float, float, float, str]]:
    """Of each run its instant, its start and its end in minutes, and how it ended."""
    found = [run for run in outcome.ran if run.name == name]
    return [(minute(r.scheduled_for), minute(r.started_at), minute(r.ended_at), r.ending) for r in found]


def skips(outcome: Outcome) -> list[tuple[float, float, str, str | None]]:
    return [(minute(skip.first), minute(skip.last), skip.reason, skip.detail) for skip in outcome.skips]


def test_what_is_due_runs_at_its_instant_and_the_end_is_not_inside() -> None:
    outcome = simulate([job()], setup(hours=3))
    assert runs(outcome) == [(at, at, at + 1, "succeeded") for at in (0, 60, 120)]
    assert (outcome.skips, outcome.unstarted, outcome.most_async) == ((), (), 1)


# Every hour, and each run takes 90 minutes.
OVERLAPS: dict[str, tuple[list[tuple[float, float, float, str]], list[tuple[float, str | None]]]] = {
    "skip": (
        [(0, 0, 90, "succeeded"), (120, 120, 210, "succeeded")],
        [
            (60, "the run of 2026-06-01T00:00:00Z was still going"),
            (180, "the run of 2026-06-01T02:00:00Z was still going"),
        ],
    ),
    "allow": ([(at, at, at + 90, "succeeded") for at in (0, 60, 120, 180)], []),
    "queue": (
        [(0, 0, 90, "succeeded"), (60, 90, 180, "succeeded"), (120, 180, 270, "succeeded")],
        [],
    ),
    "replace": (
        [(0, 0, 60, "replaced"), (60, 60, 120, "replaced"), (120, 120, 180, "replaced"), (180, 180, 270, "succeeded")],
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("policy", OVERLAPS)
def test_a_run_that_outlasts_its_interval(policy: str) -> None:
    outcome = simulate([job(minutes=90, overlap=policy)], setup())
    ran, skipped = OVERLAPS[policy]
    assert runs(outcome) == ran
    assert skips(outcome) == [(at, at, "overlap", detail) for at, detail in skipped]


def test_with_queue_one_waits_and_the_next_ones_are_skipped() -> None:
    outcome = simulate([job(minutes=150, overlap="queue")], setup(hours=5))
    assert runs(outcome) == [(0, 0, 150, "succeeded"), (60, 150, 300, "succeeded")]
    assert [skip[:1] + skip[2:] for skip in skips(outcome)] == [
        (120, "overlap", "the run of 2026-06-01T01:00:00Z was still waiting"),
        (240, "overlap", "the run of 2026-06-01T03:00:00Z was still waiting"),
    ]
    assert [(minute(one.scheduled_for), one.cause) for one in outcome.unstarted] == [(180, "overlap")]


def test_without_a_slot_what_is_due_waits_in_the_order_in_which_it_was_due() -> None:
    jobs = [job(name, minutes=10, is_async=False) for name in "abcde"] + [job("async", minutes=10)]
    outcome = simulate(jobs, setup(hours=1, worker_slots=2))
    assert [(run.name, minute(run.started_at)) for run in outcome.ran] == [
        ("a", 0), ("async", 0), ("b", 0), ("c", 10), ("d", 10), ("e", 20),
    ]  # fmt: skip
    [pile] = pile_ups(outcome.ran, outcome.unstarted, {}, BEGIN + HOUR)
    assert (pile.cause, pile.what, pile.runs, pile.most) == ("slots", "worker processes", 3, 3)
    assert (pile.worst, pile.name, minute(pile.begin), minute(pile.end)) == (20 * MINUTE, "e", 0, 20)
    assert outcome.most_worker == 2


def test_a_pile_up_that_never_ends_is_told_with_what_never_starts() -> None:
    jobs = [job(name, minutes=50, is_async=False) for name in "abc"]
    outcome = simulate(jobs, setup(hours=2, worker_slots=1))
    assert [(run.name, minute(run.started_at)) for run in outcome.ran] == [("a", 0), ("b", 50), ("c", 100)]
    # The instants that nobody had decided when the next one came are none of their own any more.
    assert [(one.name, minute(one.due_at)) for one in outcome.unstarted] == [("a", 60), ("b", 60)]
    assert [skip.name for skip in outcome.skips] == ["c"]
    later, first = pile_ups(outcome.ran, outcome.unstarted, {}, BEGIN + 2 * HOUR)
    assert (later.worst, later.most, minute(later.begin), minute(later.end)) == (60 * MINUTE, 3, 60, 120)
    assert (first.worst, first.most, minute(first.begin), minute(first.end)) == (50 * MINUTE, 1, 0, 50)


def test_a_queue_runs_no_more_than_its_limit_and_the_urgent_first() -> None:
    jobs = [job(name, minutes=10, queue="slow", priority=priority) for name, priority in (("a", 0), ("b", 0), ("c", 5))]
    outcome = simulate([*jobs, job("other", minutes=10)], setup(hours=1, limits={"slow": 1}))
    assert sorted((minute(run.started_at), run.name) for run in outcome.ran) == [
        (0, "a"), (0, "other"), (10, "c"), (20, "b"),
    ]  # fmt: skip
    [pile] = pile_ups(outcome.ran, outcome.unstarted, {"b": "slow", "c": "slow"}, BEGIN + HOUR)
    assert (pile.cause, pile.what, pile.most) == ("queue", "slow", 2)


def test_what_waits_beyond_its_deadline_is_skipped_then() -> None:
    jobs = [job(name, minutes=10, queue="slow", deadline={"start": "15m"}) for name in "abc"]
    outcome = simulate(jobs, setup(hours=1, limits={"slow": 1}))
    assert [(run.name, minute(run.started_at)) for run in outcome.ran] == [("a", 0), ("b", 10)]
    assert skips(outcome) == [(0, 0, "deadline", "not started within 15m")]


@pytest.mark.parametrize("fields", [{"timeout": "20m"}, {"deadline": {"finish": "20m"}}])
def test_a_run_that_takes_too_long_is_cut_short(fields: dict[str, Any]) -> None:
    outcome = simulate([job(minutes=90, **fields)], setup(hours=1))
    assert runs(outcome) == [(0, 0, 20, "cut short")]


# Down from 02:30 to 05:10; the schedule is hourly.
OUTAGES: dict[str, tuple[dict[str, Any], list[tuple[float, float]], list[tuple[float, float, str]]]] = {
    "latest": ({"missed": "latest"}, [(300, 310)], [(180, 240, "missed")]),
    "skip": ({"missed": "skip"}, [], [(180, 300, "missed")]),
    "all": ({"missed": "all", "missed_within": "3h"}, [(180, 310), (240, 311), (300, 312)], []),
    "all, but for an hour": ({"missed": "all"}, [(300, 310)], [(180, 240, "missed")]),
    "all, but not many": ({"missed": "all", "missed_within": "3h", "missed_limit": 2},
                          [(240, 310), (300, 311)], [(180, 180, "missed")]),
    "with a deadline": ({"deadline": {"start": "5m"}}, [], [(180, 240, "missed"), (300, 300, "deadline")]),
}  # fmt: skip


@pytest.mark.parametrize("rule", OUTAGES)
def test_after_an_outage_each_makes_up_by_its_own_rule(rule: str) -> None:
    fields, made_up, skipped = OUTAGES[rule]
    down = (BEGIN + 150 * MINUTE, BEGIN + 310 * MINUTE)
    outcome = simulate([job(**fields)], setup(hours=7, outages=[down]))
    usual = [(0, 0), (60, 60), (120, 120), (360, 360)]
    assert [run[:2] for run in runs(outcome)] == sorted(usual + made_up)
    assert [(first, last, reason) for first, last, reason, _ in skips(outcome)] == skipped


def test_what_comes_after_others_runs_when_all_of_them_have_succeeded() -> None:
    jobs = [
        job("load", minutes=10),
        job("clean", minutes=20, schedule="30 * * * *"),
        Job(spec("report", schedule=(), after=["load", "clean"]), MINUTE),
        Job(spec("late", schedule=(), after=["nobody"]), MINUTE),
    ]
    outcome = simulate(jobs, setup(hours=2))
    assert runs(outcome, "report") == [(0, 50, 51, "succeeded"), (60, 110, 111, "succeeded")]
    assert [run.trigger for run in outcome.ran if run.name == "report"] == ["after", "after"]
    assert runs(outcome, "late") == []


def test_what_comes_after_a_slow_one_runs_for_each_of_its_instants_oldest_first() -> None:
    # `slow` is an instant behind: by then `load` has succeeded for the next one, which is not used up.
    jobs = [
        Job(spec("load"), MINUTE),
        Job(spec("slow", overlap="queue"), 70 * MINUTE),
        Job(spec("report", schedule=(), after=["load", "slow"]), 75 * MINUTE),
    ]
    outcome = simulate(jobs, setup(hours=6))
    assert [(at, start) for at, start, _, _ in runs(outcome, "report")] == [(0, 70), (60, 145), (120, 220), (180, 295)]


def test_what_was_cut_short_starts_nothing_after_it() -> None:
    jobs = [job("load", minutes=10, timeout="5m"), Job(spec("report", schedule=(), after=["load"]), MINUTE)]
    assert runs(simulate(jobs, setup()), "report") == []


def test_jitter_spreads_starts_and_is_the_same_each_time() -> None:
    jobs = [job(f"n{number}", jitter="30m") for number in range(20)]
    first, second = simulate(jobs, setup(hours=2)), simulate(list(reversed(jobs)), setup(hours=2))
    assert first == second
    starts = [minute(run.started_at) for run in first.ran]
    assert len(set(starts)) == 40
    assert all(0 <= minute(run.started_at - (run.scheduled_for - BEGIN)) < 30 for run in first.ran)
    assert all(run.started_at == run.due_at for run in first.ran)


def test_what_is_suspended_or_only_triggered_does_not_run() -> None:
    outcome = simulate([job("a", suspend=True), Job(spec("b", schedule=()), MINUTE)], setup())
    assert outcome == Outcome((), (), ())


def test_days_without_a_run_and_bounds_hold() -> None:
    jobs = [job(schedule="0 12 * * *", skip_on=["2026-06-02"], ends_at="2026-06-04T00:00:00Z")]
    outcome = simulate(jobs, setup(hours=24 * 7))
    assert [run.scheduled_for.day for run in outcome.ran] == [1, 3]


def test_a_summary_says_what_did_not_go_as_the_schedule_says() -> None:
    jobs = [job("busy", minutes=90), job("many", minutes=90, overlap="allow"), job("good")]
    outcome = simulate(jobs, setup())
    busy, many, good = summed = summaries(["busy", "many", "good"], outcome, BEGIN + 4 * HOUR)
    assert (busy.fires, busy.skipped, busy.is_smooth) == (2, {"overlap": 2}, False)
    assert (many.fires, many.beside) == (4, 3)
    assert (good.fires, good.is_smooth) == (4, True)
    whole = totals(outcome, summed)
    assert (whole.fires, whole.skipped, whole.busiest) == (10, {"overlap": 2}, (BEGIN, 3))


jobs_of_any_kind = st.builds(
    job,
    minutes=st.sampled_from([0, 1, 7, 45, 61, 200]),
    is_async=st.booleans(),
    schedule=st.sampled_from(["0 * * * *", "*/20 * * * *", "H H(0-3) * * *", "@every 25m"]),
    overlap=st.sampled_from(["skip", "allow", "queue", "replace"]),
    missed=st.sampled_from(["latest", "all", "skip"]),
    jitter=st.sampled_from(["0s", "10m"]),
    deadline=st.sampled_from([{}, {"start": "30m"}, {"finish": "2h"}]),
    queue=st.sampled_from(["default", "slow"]),
    priority=st.integers(-1, 1),
    timeout=st.sampled_from([None, "50m"]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(jobs_of_any_kind, min_size=1, max_size=6),
    st.integers(1, 3),
    st.sampled_from([{}, {"slow": 1}]),
    st.sampled_from([(), ((BEGIN + HOUR, BEGIN + 4 * HOUR),)]),
)
def test_every_instant_has_one_verdict_and_no_limit_is_passed(
    jobs: list[Job], slots: int, limits: dict[str, int], outages: tuple[tuple[datetime, datetime], ...]
) -> None:
    jobs = [replace(one, spec=one.spec.model_copy(update={"name": f"n{i}"})) for i, one in enumerate(jobs)]
    setup_ = setup(hours=9, async_slots=slots, worker_slots=slots, limits=limits, outages=outages)
    outcome = simulate(jobs, setup_)
    assert outcome == simulate(jobs, setup_)
    for one in jobs:
        verdicts: Counter[datetime] = Counter()
        verdicts.update(run.scheduled_for for run in outcome.ran if run.name == one.spec.name)
        undecided = [left.scheduled_for for left in outcome.unstarted if left.name == one.spec.name]
        verdicts.update(undecided)
        for skip in (skip for skip in outcome.skips if skip.name == one.spec.name):
            verdicts.update(_between(one.spec, skip.first, skip.last))
        assert not verdicts or max(verdicts.values()) == 1
        expected = set(_between(one.spec, BEGIN, setup_.end - timedelta(microseconds=1)))
        # What is not due yet by its jitter, or stands behind an instant that waits to be decided, has none yet.
        missing = expected - set(verdicts)
        assert all(at >= min(undecided, default=setup_.end - 10 * MINUTE) for at in missing)
    for is_async, most in ((True, outcome.most_async), (False, outcome.most_worker)):
        spans = [(run.started_at, run.ended_at) for run in outcome.ran if run.is_async is is_async]
        assert most <= slots
        assert max((_at_once(spans, start) for start, _ in spans), default=0) <= slots
    if limits:
        slow = {one.spec.name for one in jobs if one.spec.queue == "slow"}
        spans = [(run.started_at, run.ended_at) for run in outcome.ran if run.name in slow]
        assert max((_at_once(spans, start) for start, _ in spans), default=0) <= 1
    for begin, end in outages:
        assert not [run for run in outcome.ran if begin <= run.started_at < end]


def _between(spec: TaskSpec, first: datetime, last: datetime) -> list[datetime]:
    found = []
    schedule = spec.when()
    assert schedule is not None
    for instant in schedule.upcoming(first - timedelta(microseconds=1)):
        if instant > last:
            break
        found.append(instant)
    return found


def _at_once(spans: list[tuple[datetime, datetime]], moment: datetime) -> int:
    return sum(begin <= moment < end for begin, end in spans)


@given(
    st.sampled_from(["latest", "all", "skip"]),
    st.sampled_from([{}, {"start": "1m"}]),
    st.integers(0, 3599),
)
def test_the_short_cut_says_what_the_rule_says(missed: str, deadline: dict[str, str], late: int) -> None:
    of = spec(missed=missed, deadline=deadline)
    now = BEGIN + timedelta(seconds=late)
    alone = decided_alone(of, BEGIN, now - BEGIN)
    if alone is not None:
        decision = decide(of, BEGIN - MINUTE, now)
        [fire] = decision.fires
        assert (fire._replace(turn=0), decision.skips, decision.through) == (alone, (), BEGIN)

"""What must hold of the small rules for every value: durations, attempts, meetings, budgets, rests, addresses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from reconciler.after import meeting
from reconciler.attempts import LONGEST_WAIT, Attempt, after_failure, limit_of
from reconciler.durations import LONGEST, format_duration, parse_duration
from reconciler.plan.guards import prune_budget
from reconciler.pushes import place_of
from reconciler.spec import TaskSpec
from reconciler.sync.backoff import FIRST, Backoff

T = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
lengths = st.integers(0, LONGEST // MILLISECOND).map(lambda count: count * MILLISECOND)
moments = st.integers(-100_000, 100_000).map(lambda seconds: T + timedelta(seconds=seconds))
instants = st.lists(moments, max_size=8, unique=True).map(sorted)
written = st.sampled_from(["100ms", "1s", "30s", "10m", "2h"])


@given(lengths)
def test_a_duration_is_read_back_as_it_was_written(length: timedelta) -> None:
    assert parse_duration(format_duration(length)) == length


@given(
    attempts=st.integers(1, 20),
    number=st.integers(1, 25),
    backoff=written,
    most=written,
    finish=st.none() | written,
    late=st.integers(0, 10_000),
    trigger=st.sampled_from(["schedule", "catch_up", "manual", "rerun", "backfill", "after"]),
    retry_after=st.none() | st.floats(),
)
def test_what_follows_a_failure_is_later_within_its_bounds_and_before_the_deadline(
    attempts: int,
    number: int,
    backoff: str,
    most: str,
    finish: str | None,
    late: int,
    trigger: str,
    retry_after: float | None,
) -> None:
    longest = max(backoff, most, key=parse_duration)
    document = {
        "name": "job",
        "task": "t",
        "retries": {"attempts": attempts, "backoff": backoff, "max_backoff": longest},
        **({"deadline": {"finish": finish}} if finish else {}),
    }
    spec = TaskSpec.from_document(document)
    attempt, now = Attempt("job", T, number, trigger, T), T + timedelta(seconds=late)
    again = after_failure(spec, attempt, now, retry_after=retry_after)
    if number >= attempts:
        assert again is None
    if again is None:
        return
    assert now <= again <= now + (1.2 * parse_duration(longest) if retry_after is None else LONGEST_WAIT)
    left = limit_of(spec, attempt, again).seconds
    assert left is None or left > 0  # it is not begun only to be too late
    assert after_failure(spec, attempt, now, retry_after=retry_after) == again


@given(st.lists(instants, min_size=1, max_size=4), moments)
def test_whoever_waits_for_others_meets_them_in_order_and_uses_each_success_up_once(
    successes: list[list[datetime]], seen: datetime
) -> None:
    met = []
    while found := meeting(successes, seen):
        assert found.instant > seen
        assert found.until >= found.instant
        assert all(any(seen < instant <= found.until for instant in one) for one in successes)
        assert any(found.instant in one for one in successes)
        met.append(found.instant)
        seen = found.until
    assert met == sorted(set(met))
    assert any(not [instant for instant in one if instant > seen] for one in successes)


@given(st.integers(0, 100_000), st.none() | st.integers(0, 10**9 - 1).map(str) | st.integers(0, 100).map("{}%".format))
def test_a_share_never_lets_more_go_than_there_are_and_no_budget_is_negative(total: int, most: str | None) -> None:
    budget = prune_budget(most, total)
    assert budget >= 0
    if most is None:
        assert budget == max(2, total // 10)
    elif most.endswith("%"):
        assert budget <= total


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["port 1", "port 2", "gone"])), max_size=30),
    st.integers(100, 60_000),
)
def test_a_rest_doubles_for_the_same_failure_and_is_the_first_for_any_other(
    failures: list[tuple[str, str]], interval: int
) -> None:
    longest = interval * MILLISECOND
    backoff, counts, before = Backoff(), dict[str, int](), None
    for revision, error in failures:
        counts = counts if revision == before else {}
        kind, before = error[:4], revision
        counts[kind] = counts.get(kind, 0) + 1
        rest = backoff.failed(revision, error, T, longest)
        assert rest == min(longest, FIRST * 2 ** (counts[kind] - 1))
        assert backoff.rest(T) == rest
        assert backoff.rest(T + rest) == timedelta()
    backoff.succeeded("c")
    assert backoff.rest(T) == timedelta()


@given(
    st.from_regex(r"[a-z]{1,8}\.example", fullmatch=True),
    st.from_regex(r"[a-z0-9-]{1,8}/[a-z0-9.-]{0,8}[a-z]", fullmatch=True),
)
def test_a_repository_is_at_one_place_however_it_is_addressed(host: str, path: str) -> None:
    path = path.removesuffix(".git")
    addresses = [
        f"https://{host}/{path}.git",
        f"https://user@{host}:8443/{path}",
        f"ssh://git@{host}:22/{path}.git",
        f"git@{host.upper()}:{path}.git",
        f"git@{host}:/{path}/",
    ]
    assert {place_of(address) for address in addresses} == {f"{host}/{path}"}

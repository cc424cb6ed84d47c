"""What puts itself right: rows and keys that somebody changed, a pass that died at any step, a rollback without git."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis

from reconciler.failpoints import EXIT_CODE

Team = Any
SPEC = 'task: tick\nschedule: "{} 2 * * *"\n'
STEPS = (
    "after-fetch",
    "export-written",
    "after-read",
    "after-lock",
    "after-plan",
    "after-apply",
    "after-commit",
    "after-align",
)


def at(minute: int) -> str:
    return SPEC.format(minute)


@pytest.fixture
def redis(redis_url: str) -> Any:
    """What somebody types in redis-cli."""
    with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def drifts(team: Team, *more: str) -> dict[tuple[str, str], dict[str, Any]]:
    """What `drift` shows, by name and side."""
    done = team.run_cli("drift", "-o", "json", *more)
    found = json.loads(done.stdout)["drifts"]
    assert (done.returncode == 1) is any(row["ended_at"] is None for row in found), done.stderr
    return {(row["name"], row["side"]): row for row in found}


# ── changed by hand ──


@pytest.fixture
def followed(team: Team) -> Team:
    """A service that looks when it is told to, at five tasks that are in force."""
    team.follow()
    team.remote.commit("five", **{name: at(number) for number, name in enumerate("abcde")})
    team.serve("--no-runner")
    return team


def test_rows_that_somebody_changed_are_put_right_in_one_pass_and_seen_in_drift(followed: Team) -> None:
    team = followed
    wanted = team.in_force
    team.ask("update task_configs set spec = jsonb_set(spec, '{schedule}', '[\"* * * * *\"]') where name = 'a'")
    team.ask("update task_configs set digest = 'none' where name = 'b'")
    team.ask("delete from task_configs where name = 'c'")
    team.ask("update task_configs set source = 'nobody' where name = 'd'")
    assert {name for name, side in drifts(team) if side == "postgresql"} == {"a", "b", "c", "d"}
    assert team.run_cli("sync-now", "--wait").returncode == 0
    assert team.in_force == wanted
    assert drifts(team) == {}
    past = drifts(team, "--all")
    assert {key for key, row in past.items() if row["will"].startswith("corrected ")} >= {
        (name, "postgresql") for name in "abcd"
    }


def test_keys_that_somebody_changed_are_put_right_in_one_pass_and_seen_in_drift(
    followed: Team, redis: Redis, redis_prefix: str
) -> None:
    team = followed
    ids = dict(team.ask("select name, id::text from task_configs"))
    status = {name: f"{redis_prefix}schedule:status:{number}" for name, number in ids.items()}
    before = {name: redis.hgetall(key) for name, key in status.items()}
    due = redis.zrange(f"{redis_prefix}schedule:due:default", 0, -1, withscores=True)
    redis.hset(status["a"], "state", "suspended")
    redis.hset(status["b"], "next_run", "0")
    redis.delete(status["c"])
    redis.zrem(f"{redis_prefix}schedule:due:default", ids["d"])
    redis.zadd(f"{redis_prefix}schedule:due:default", {ids["e"]: 4e12})
    assert set(drifts(team)) == {(name, "redis") for name in "abcde"}
    assert team.run_cli("sync-now", "--wait").returncode == 0
    assert {name: redis.hgetall(key) for name, key in status.items()} == before
    assert redis.zrange(f"{redis_prefix}schedule:due:default", 0, -1, withscores=True) == due
    assert drifts(team) == {}
    assert set(drifts(team, "--all")) == {(name, "redis") for name in "abcde"}
    assert team.ask("select count(*) from task_executions") == [(0,)]


def test_a_source_that_only_detects_reports_and_leaves_it(team: Team) -> None:
    team.follow(drift="detect")
    team.remote.commit("one", a=at(1))
    assert team.sync().returncode == 0
    team.ask("update task_configs set spec = jsonb_set(spec, '{schedule}', '[\"9 9 * * *\"]')")
    assert team.sync().returncode == 0
    assert team.in_force == {"a": "9 9 * * *"}
    row = drifts(team)["a", "postgresql"]
    assert (row["will"], row["since"] is not None) == ("reported only", True)


# ── killed ──


@pytest.mark.parametrize("step", STEPS)
def test_what_a_pass_that_died_left_is_made_whole_by_the_next(
    step: str, team: Team, redis: Redis, redis_prefix: str
) -> None:
    team.follow()
    team.remote.commit("first", a=at(1), b=at(1))
    assert team.sync().returncode == 0
    second = team.remote.commit("second", a=at(2), b=None, c=at(2))
    assert team.sync(env={"RECONCILER_FAILPOINT": step}).returncode == EXIT_CODE
    is_committed = STEPS.index(step) >= STEPS.index("after-commit")
    assert team.in_force == (
        {"a": "2 2 * * *", "c": "2 2 * * *"} if is_committed else {"a": "1 2 * * *", "b": "1 2 * * *"}
    )
    again = team.sync()
    assert (again.returncode, again.stderr) == (0, "")
    assert team.in_force == {"a": "2 2 * * *", "c": "2 2 * * *"}
    assert team.ask(f"select count(*) from syncs where revision = '{second}'") == [(1,)]
    statuses = [redis.hgetall(key) for key in redis.scan_iter(f"{redis_prefix}schedule:status:*")]
    assert sorted(status["digest"] for status in statuses) == sorted(
        digest for (digest,) in team.ask("select digest from task_configs")
    )
    assert {status["state"] for status in statuses} == {"active"}


def test_a_service_that_died_is_made_up_for_by_another(team: Team, redis: Redis, redis_prefix: str) -> None:
    team.follow(interval="300ms")
    team.remote.commit("first", a=at(1))
    team.serve("--no-runner", RECONCILER_FAILPOINT="after-commit")
    assert team.services[0].wait(60) == EXIT_CODE
    [(number,)] = team.ask("select id from task_configs")
    assert not redis.exists(f"{redis_prefix}schedule:status:{number}")
    said = team.serve("--no-runner")
    team.until(lambda: redis.exists(f"{redis_prefix}schedule:status:{number}"), said)
    assert team.ask("select count(*) from syncs") == [(1,)]


# ── back, and forward again ──


@pytest.fixture
def pinned(team: Team) -> Team:
    """Rolled back to the first of two commits while the remote was away; it is there again now."""
    team.follow()
    first = team.remote.commit("first", a=at(1), b=at(1))
    assert team.sync().returncode == 0
    team.remote.commit("second", a=at(2), b=None)
    assert team.sync().returncode == 0
    away = team.remote.bare.rename(team.remote.bare.with_name("away.git"))
    done = team.run_cli("rollback", first[:7], "--reason", "two is broken")
    assert done.returncode == 0, done.stderr
    assert f"source 'default' is pinned at {first[:7]} by " in done.stderr
    away.rename(team.remote.bare)
    return team


def test_a_rollback_needs_no_git_and_the_next_pass_does_not_undo_it(pinned: Team) -> None:
    assert pinned.in_force == {"a": "1 2 * * *", "b": "1 2 * * *"}
    done = pinned.sync()
    assert done.returncode == 0
    assert "two is broken" in done.stdout + done.stderr
    assert pinned.in_force == {"a": "1 2 * * *", "b": "1 2 * * *"}


def test_a_newer_commit_ends_the_rollback_by_itself(pinned: Team) -> None:
    third = pinned.remote.commit("third", a=at(3))
    assert pinned.sync().returncode == 0
    assert pinned.in_force == {"a": "3 2 * * *"}
    assert pinned.ask("select revision, pinned_revision from sources") == [(third, None)]


def test_whoever_waits_for_a_commit_hears_when_a_service_has_brought_it(team: Team) -> None:
    team.follow()
    team.remote.commit("first", a=at(1))
    team.serve("--no-runner")
    second = team.remote.commit("second", a=at(2))
    waiting = team.begin(team.place, "wait", "--revision", second, "--timeout", "60s")
    asked = team.run_cli("sync-now", "--wait")
    assert (asked.returncode, asked.stdout) == (0, f"applied {second[:7]}: 1 updated (a)\n"), asked.stderr
    out, err = waiting.communicate(timeout=60)
    assert (waiting.returncode, out) == (0, f"✓ {second[:7]} is applied\n"), err

"""`drift`: what differs between git, PostgreSQL and Redis is named with both sides, and an apply puts it right."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from redis import Redis

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def applied(stocked: Path, run_cli: Cli) -> Path:
    assert run_cli("apply").returncode == 0
    return stocked


def change(database_url: str, statement: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(statement)


def test_nothing_differs_right_after_an_apply(applied: Path, run_cli: Cli) -> None:
    done = run_cli("drift")
    assert (done.returncode, done.stdout) == (0, "nothing differs: git, PostgreSQL and Redis say the same\n"), (
        done.stderr
    )


def test_each_side_is_named_and_the_next_apply_puts_it_right(
    applied: Path, run_cli: Cli, database_url: str, redis_url: str, redis_prefix: str
) -> None:
    change(database_url, "update task_configs set spec = jsonb_set(spec, '{timeout}', '\"9m\"') where name = 'greet'")
    with psycopg.connect(database_url) as connection:
        [(often,)] = connection.execute("select id from task_configs where name = 'often'").fetchall()
    with Redis.from_url(redis_url) as client:
        client.hset(f"{redis_prefix}schedule:status:{often}", "state", "suspended")
    done = run_cli("drift", "-o", "json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert found["has_drift"] is True
    rows = {(row["name"], row["side"]): row for row in found["drifts"]}
    assert rows["greet", "postgresql"]["fields"]["spec.timeout"]["found"] == "9m"
    assert rows["often", "redis"]["fields"]["state"] == {"expected": "active", "found": "suspended"}
    table = run_cli("drift", "greet")
    assert (table.returncode, len(table.stdout.splitlines())) == (1, 2)
    assert 'changed by hand: spec.timeout: null -> "9m"' in table.stdout
    assert table.stdout.rstrip().endswith("put right at the next pass")
    applying = run_cli("apply")
    assert applying.returncode == 0, applying.stderr
    assert "greet  was changed in PostgreSQL by hand" in applying.stdout
    assert run_cli("drift").returncode == 0
    past = json.loads(run_cli("drift", "--all", "-o", "json").stdout)["drifts"]
    assert {(row["name"], row["side"]) for row in past} == {("greet", "postgresql"), ("often", "redis")}
    assert all(row["will"].startswith("corrected ") for row in past)


def test_what_git_says_and_nobody_applied_is_a_side_too(applied: Path, run_cli: Cli) -> None:
    path = applied / "specs" / "new.yaml"
    path.write_text("name: fresh\ntask: tick\n")
    done = run_cli("drift", "fresh")
    assert done.returncode == 1, done.stderr
    assert "git" in done.stdout and "to create: new" in done.stdout and "applied at the next pass" in done.stdout


def test_a_pause_is_no_drift_and_is_named(applied: Path, run_cli: Cli) -> None:
    assert run_cli("pause", "greet", "--reason", "the warehouse moves").returncode == 0
    done = run_cli("drift")
    assert done.returncode == 0
    assert "no drift: greet paused by" in done.stderr
    assert "the warehouse moves" in done.stderr


def test_a_source_that_only_reports_keeps_what_was_found_and_since_when(
    applied: Path, run_cli: Cli, database_url: str
) -> None:
    settings = applied / "reconciler.toml"
    settings.write_text(settings.read_text() + '\n[[sources]]\ndrift = "detect"\n')
    change(database_url, "delete from task_configs where name = 'often'")
    assert run_cli("apply").returncode == 0
    done = run_cli("drift", "-o", "json")
    assert done.returncode == 1, done.stderr
    [row] = [row for row in json.loads(done.stdout)["drifts"] if row["side"] == "postgresql"]
    assert (row["name"], row["reason"], row["will"]) == ("often", "deleted by hand", "reported only")
    assert row["since"] is not None
    put_right = run_cli("apply", "--drift", "correct")
    assert (put_right.returncode, "1 created" in put_right.stdout) == (0, True), put_right.stderr
    assert run_cli("drift").returncode == 0


def test_a_source_that_is_not_there_is_an_error_of_the_line(applied: Path, run_cli: Cli) -> None:
    done = run_cli("drift", "--source", "nobody")
    assert done.returncode == 64
    assert "no source named 'nobody'" in done.stderr

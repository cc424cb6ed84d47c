"""`doctor`, as an operator reads it."""

from __future__ import annotations

from typing import Any

import psycopg


def test_doctor_says_that_postgresqls_clock_went_back(run_cli: Any, project: Any, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "insert into runners (id, host, pid, queues, tasks, seen_at, ended_at, ending)"
            " values (gen_random_uuid(), 'h', 1, '[]', '{}', now() + interval '30 minutes', now(), 'stopped')"
        )
    done = run_cli("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "it went back: a runner was seen" in " ".join(done.stdout.split())
    assert "none: nothing fires until one runs" in " ".join(done.stdout.split())

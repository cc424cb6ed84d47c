"""`db prune`: counted first, then gone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import psycopg

RunCli = Callable[..., "subprocess.CompletedProcess[str]"]

RAN = """
insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, trigger, digest)
select 'old', s, 'demo', s, s, true, 'schedule', 'd'
from generate_series(now() - interval '40 days', now() - interval '36 days', interval '1 day') s
"""


def test_a_prune_by_hand_says_what_would_go_and_what_went(run_cli: RunCli, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(RAN)
    assert run_cli("db", "prune", "--dry-run").stdout == "would prune 4 executions\n"
    answer = json.loads(run_cli("db", "prune", "-o", "json").stdout)
    assert answer["is_dry_run"] is False
    assert answer["pruned"]["executions"] == 4
    assert run_cli("db", "prune").stdout == "pruned nothing\n"

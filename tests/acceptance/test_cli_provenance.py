"""Who set this, and since when does it fail: `blame`, `history`, `why` and `status`, in a repository with commits."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
HOUR = timedelta(hours=1)
IDENTITY = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]

RUN = """
insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, error, trigger, digest)
select 'sales', %(at)s, 'tick', %(at)s, %(at)s, %(error)s::text is null, %(error)s, 'schedule', r.digest
from task_revisions r where r.name = 'sales' order by r.id offset %(revision)s limit 1
"""


def commit(project: Path, subject: str) -> str:
    subprocess.run(["git", *IDENTITY, "add", "specs"], cwd=project, check=True, capture_output=True)
    subprocess.run(["git", *IDENTITY, "commit", "-qm", subject], cwd=project, check=True, capture_output=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project, check=True, capture_output=True, text=True)
    return head.stdout.strip()


@pytest.fixture
def commits(stocked: Path, run_cli: Cli) -> list[str]:
    """`sales` came with the first commit, got a timeout with the second, a zone with the third."""
    subprocess.run(["git", "init", "-q"], cwd=stocked, check=True)
    file, text, made = stocked / "specs" / "sales.yaml", 'task: tick\nschedule: "0 * * * *"\n', []
    for subject, more in (
        ("first sales", ""),
        ("five minutes", "timeout: 5m\n"),
        ("in Berlin", "timezone: Europe/Berlin\n"),
    ):
        text += more
        file.write_text(text)
        made.append(commit(stocked, subject))
        assert run_cli("apply").returncode == 0
    return made


def test_blame_names_the_commit_that_set_each_field_and_the_sync_that_brought_it(
    commits: list[str], run_cli: Cli
) -> None:
    done = run_cli("blame", "sales")
    rows = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    assert rows.keys() == {"name", "task", "timezone", "schedule", "timeout"}
    for field, number in (("task", 0), ("schedule", 0), ("timeout", 1), ("timezone", 2)):
        assert commits[number][:7] in rows[field] and "Ada" in rows[field], field
    assert "five minutes" in rows["timeout"]

    everything = json.loads(run_cli("blame", "sales", "-o", "json").stdout)
    assert (everything["path"], everything["is_removed"]) == ("sales.yaml", False)
    by_field = {row["field"]: row for row in everything["fields"]}
    assert by_field["timeout"]["value"] == "5m"
    assert (by_field["timeout"]["revision"], by_field["timeout"]["sync_id"]) == (commits[1], 2)
    assert by_field["retries.attempts"]["is_default"] and "by default" in run_cli("blame", "sales", "--all").stdout


def test_blame_of_one_field_or_of_what_is_below_it(commits: list[str], run_cli: Cli) -> None:
    assert run_cli("blame", "sales", "timeout").stdout.count("\n") == 2
    assert "by default" in run_cli("blame", "sales", "retries").stdout
    done = run_cli("blame", "sales", "timout")
    assert (done.returncode, done.stderr) == (
        1,
        "reconciler: sales: has no field 'timout'; did you mean 'timeout'?\n",
    )
    done = run_cli("blame", "saels")
    assert done.returncode == 1 and "did you mean 'sales'?" in done.stderr


def test_blame_of_a_removed_task_tells_its_last_state_and_what_removed_it(
    commits: list[str], stocked: Path, run_cli: Cli
) -> None:
    (stocked / "specs" / "sales.yaml").unlink()
    gone = commit(stocked, "no more sales")
    assert run_cli("apply").returncode == 0
    text = run_cli("blame", "sales").stdout
    assert f"with {gone[:7]} (Ada: no more sales), sync 4 by " in text.splitlines()[0]
    assert commits[1][:7] in text
    answer = json.loads(run_cli("blame", "sales", "-o", "json").stdout)
    assert (answer["is_removed"], answer["removed"]["revision"]) == (True, gone)


def test_blame_does_not_put_on_a_commit_what_was_changed_by_hand(
    commits: list[str], database_url: str, run_cli: Cli
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("""update task_configs set spec = spec || '{"timeout": "9m"}' where name = 'sales'""")
    text = run_cli("blame", "sales", "timeout").stdout
    assert "changed in PostgreSQL by hand" in text.splitlines()[-1] and commits[1][:7] not in text


def test_the_first_failure_after_a_commit_is_marked(commits: list[str], database_url: str, run_cli: Cli) -> None:
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - 5 * HOUR
    runs = [(0, None, 0), (1, "ValueError: no", 1), (2, "ValueError: no", 1), (3, None, 2)]
    with psycopg.connect(database_url) as connection:
        connection.execute("update task_revisions set applied_at = %s", [start - HOUR])
        for hours, error, revision in runs:
            connection.execute(RUN, {"at": start + hours * HOUR, "error": error, "revision": revision})
    said = f"first failure after {commits[1][:7]} (Ada: five minutes)"
    lines = run_cli("history", "sales").stdout.splitlines()
    assert [line for line in lines if said in line] == [lines[3]]  # newest first, below the titles
    rows = json.loads(run_cli("history", "sales", "-o", "json").stdout)["executions"]
    assert [row["first_failure_after"] and row["first_failure_after"]["revision"] for row in rows] == [
        None,
        None,
        commits[1],
        None,
    ]
    instant = (start + HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert said in run_cli("why", "sales", instant).stdout
    verdict = json.loads(run_cli("why", "sales", instant, "-o", "json").stdout)["verdicts"][0]
    assert verdict["first_failure_after"]["subject"] == "five minutes"


def test_status_of_one_task_tells_the_commit_and_its_author(commits: list[str], run_cli: Cli) -> None:
    text = run_cli("status", "sales").stdout
    assert f"{commits[2][:7]}, Ada: in Berlin, applied by " in text
    answer = json.loads(run_cli("status", "sales", "-o", "json").stdout)
    assert (answer["commit"]["revision"], answer["commit"]["author"]) == (commits[2], "Ada")

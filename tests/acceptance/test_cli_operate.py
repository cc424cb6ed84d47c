"""What an operator sees and says: status, history, logs, pause, resume, trigger, db, doctor. No runner runs here."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]

EXECUTION = """
insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, error, traceback, log,
                             trigger, digest)
values (%s, %s, 'greet', %s, %s, %s, %s, %s, %s, 'schedule', 'x')
"""


@pytest.fixture
def applied(stocked: Path, run_cli: Cli) -> Path:
    assert run_cli("apply").returncode == 0
    return stocked


@pytest.fixture
def ran(applied: Path, database_url: str) -> datetime:
    """`greet` has run twice: well three hours ago, badly one hour ago. Returns the later instant."""
    now = datetime.now(UTC).replace(microsecond=0)
    with psycopg.connect(database_url) as connection:
        for hours, error in ((3, None), (1, "ValueError: no such region\nmore")):
            at = now - timedelta(hours=hours)
            trace = error and f"Traceback (most recent call last):\n{error}"
            row = ("greet", at, at, at + timedelta(milliseconds=12), error is None, error, trace, "hello ana\n")
            connection.execute(EXECUTION, row)
    return now - timedelta(hours=1)


def test_status_shows_each_task_on_one_line(ran: datetime, run_cli: Cli) -> None:
    done = run_cli("status")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].startswith("specs: ✓ 3 created, ")
    assert lines[1].startswith("runners: none")
    rows = {line.split()[0]: line for line in lines[3:]}
    assert list(rows) == ["name", "broken", "greet", "often"]
    assert "Europe/Berlin" in rows["greet"]
    assert "in " in rows["greet"]
    assert "✗ 60 min ago, in 12 ms: ValueError: no such region" in rows["greet"]
    assert "only when triggered" in rows["broken"]
    assert "every second" in rows["often"] or "every 1 second" in rows["often"]


def test_status_of_one_task_tells_everything_about_it(ran: datetime, run_cli: Cli) -> None:
    done = run_cli("status", "greet")
    assert done.returncode == 0
    for text in (
        "greet",
        "0 2 * * 1-5",
        'params       name: "ana"',
        "greet.yaml",
        "ValueError: no such region",
        "✓ in 12 ms",
    ):
        assert text in done.stdout
    unknown = run_cli("status", "gret")
    assert unknown.returncode == 1
    assert "did you mean 'greet'?" in unknown.stderr


@pytest.mark.parametrize(
    ("line", "unneeded"),
    [
        (["--help"], {"pydantic", "psycopg", "redis", "sqlalchemy", "asyncio", "yaml"}),
        (["validate"], {"psycopg", "redis", "sqlalchemy"}),
        (["status"], {"redis", "sqlalchemy", "alembic", "yaml"}),
        (["history"], {"redis", "sqlalchemy", "alembic", "yaml"}),
    ],
)
def test_a_command_loads_no_library_that_it_does_not_need(
    line: list[str], unneeded: set[str], applied: Path, command_environment: dict[str, str]
) -> None:
    code = (
        "import sys; from reconciler.cli import code_of; code = code_of(sys.argv[1:]); sys.stdout.flush();"
        "print(code, *sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *line]
    done = subprocess.run(command, cwd=applied, env=command_environment, capture_output=True, text=True, check=True)
    exit_code, *loaded = done.stderr.splitlines()[-1].split()
    assert (exit_code, sorted(unneeded & set(loaded))) == ("0", [])


def test_history_has_the_rows_newest_first_and_can_be_narrowed(ran: datetime, run_cli: Cli) -> None:
    def rows(*options: str) -> list[dict[str, object]]:
        answer = json.loads(run_cli("history", "-o", "json", *options).stdout)
        assert answer["format_version"] == 1
        return answer["executions"]  # type: ignore[no-any-return]

    both = rows()
    assert [row["is_success"] for row in both] == [False, True]
    assert both[0].keys() >= {"name", "scheduled_for", "started_at", "finished_at", "error", "attempts", "trigger"}
    assert both[0]["scheduled_for"] == ran.isoformat().replace("+00:00", "Z")
    assert [row["is_success"] for row in rows("--since", "2h")] == [False]
    assert [row["is_success"] for row in rows("greet", "--failed")] == [False]
    assert len(rows("--limit", "1")) == 1
    assert run_cli("history", "gret").returncode == 1
    assert run_cli("history", "often").stdout == "nothing ran yet, as far as asked\n"


def test_logs_show_the_latest_run_or_the_one_asked_for(ran: datetime, run_cli: Cli) -> None:
    latest = run_cli("logs", "greet")
    assert latest.returncode == 0
    assert latest.stdout.startswith("hello ana\nTraceback")
    assert "failed" in latest.stderr
    assert "ValueError: no such region" in latest.stderr
    earlier = run_cli("logs", "greet", (ran - timedelta(hours=2)).isoformat(), "-o", "json")
    assert json.loads(earlier.stdout)["log"] == "hello ana\n"
    none = run_cli("logs", "often")
    assert (none.returncode, len(none.stderr.splitlines())) == (1, 1)
    assert "no result yet" in none.stderr


def test_logs_name_the_errors_of_earlier_attempts(ran: datetime, run_cli: Cli, database_url: str) -> None:
    attempts = json.dumps([{"attempt": 1, "error": "ConnectionError: refused\nat once"}])
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("update task_executions set attempts = %s::jsonb where scheduled_for = %s", [attempts, ran])
    told = run_cli("logs", "greet").stderr.splitlines()
    assert told[0].endswith(", attempt 2")
    assert told[1] == "attempt 1 failed: ConnectionError: refused"


def test_a_pause_shows_who_why_and_until_when_and_ends_with_resume(applied: Path, run_cli: Cli) -> None:
    done = run_cli("pause", "greet", "--for", "2h", "--reason", "the warehouse moves")
    assert done.returncode == 0
    assert done.stdout.startswith("paused greet until ")
    assert "(in 2 h)" in done.stdout or "(in 119 min)" in done.stdout
    rows = {row["name"]: row for row in json.loads(run_cli("status", "-o", "json").stdout)["tasks"]}
    assert rows["greet"]["state"] == "paused"
    assert rows["greet"]["paused"]["reason"] == "the warehouse moves"
    assert "paused by " in run_cli("status").stdout
    assert "instead of" not in done.stderr
    second = run_cli("pause", "greet", "--for", "1h")
    assert re.fullmatch(r"instead of: paused by \S+ until .*: the warehouse moves\n", second.stderr)
    assert run_cli("resume", "greet").stdout == "resumed greet\n"
    again = run_cli("resume", "greet")
    assert (again.returncode, again.stdout) == (0, "greet is not paused: nothing to resume\n")
    assert "did you mean 'greet'?" in run_cli("pause", "gret").stderr


def test_a_trigger_is_queued_and_says_that_nobody_runs_it(applied: Path, run_cli: Cli) -> None:
    done = run_cli("trigger", "greet", "-p", "times=3", "-o", "json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["name"] == "greet"
    assert "queued: greet at 2" in done.stderr
    assert "no live runner knows the task 'greet'" in done.stderr
    assert "1 waiting" in run_cli("status").stdout


@pytest.mark.parametrize(("param", "said"), [("tims=3", "tims"), ("times=many", "times")])
def test_a_trigger_with_params_that_the_function_lacks_queues_nothing(
    param: str, said: str, applied: Path, run_cli: Cli
) -> None:
    done = run_cli("trigger", "greet", "-p", param)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "waiting" not in run_cli("status").stdout


def test_the_database_goes_down_and_up_again(applied: Path, run_cli: Cli) -> None:
    current = json.loads(run_cli("db", "current", "-o", "json").stdout)
    assert current["is_current"] is True
    refused = run_cli("db", "downgrade", "base")
    assert refused.returncode == 3
    assert "would lose 3 tasks" in refused.stderr
    assert "reconciler db downgrade base --yes" in refused.stderr
    assert run_cli("status").returncode == 0
    assert run_cli("db", "downgrade", "base", "--yes").returncode == 0
    assert run_cli("db", "downgrade", "base").returncode == 0  # nothing is left to lose
    empty = run_cli("db", "current")
    assert (empty.returncode, empty.stdout) == (0, "the database is empty: run 'reconciler db upgrade'\n")
    outdated = run_cli("status")
    assert outdated.returncode == 1
    assert "reconciler db upgrade" in outdated.stderr
    assert len(outdated.stderr.splitlines()) == 1
    assert run_cli("db", "upgrade").returncode == 0
    assert run_cli("db", "upgrade").stderr.startswith("nothing to do")
    assert run_cli("status").returncode == 0


def test_the_password_in_the_url_shows_only_when_asked_for(project: Path, run_cli: Cli) -> None:
    url = {"RECONCILER_DATABASE_URL": "postgresql://ana:hunter2secret@127.0.0.1:1/sales"}
    hidden = run_cli("db", "url", env=url)
    assert hidden.stdout == "postgresql://ana:***@127.0.0.1:1/sales\n"
    assert run_cli("db", "url", "--reveal", env=url).stdout.strip() == url["RECONCILER_DATABASE_URL"]
    for line in (["status"], ["history"], ["doctor"], ["apply"]):
        done = run_cli(*line, env=url)
        assert done.returncode == 1
        assert "hunter2" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_an_unreachable_redis_leaves_what_was_applied_and_says_so(stocked: Path, run_cli: Cli) -> None:
    done = run_cli("apply", env={"RECONCILER_REDIS_URL": "redis://127.0.0.1:1"})
    assert done.returncode == 1
    assert "redis: redis://127.0.0.1:1: cannot connect" in done.stderr
    assert len(json.loads(run_cli("status", "-o", "json").stdout)["tasks"]) == 3
    healed = run_cli("apply")
    assert (healed.returncode, healed.stdout) == (0, "nothing to change; 3 unchanged; 3 brought up to date in Redis\n")


def test_doctor_names_what_is_broken_and_where_each_setting_comes_from(stocked: Path, run_cli: Cli) -> None:
    healthy = run_cli("doctor")
    assert healthy.returncode == 0, healthy.stdout
    for text in ("✓  postgresql", "✓  schema", "✓  redis", "✓  tasks", "✓  time zones", "RECONCILER_DATABASE_URL"):
        assert text in healthy.stdout
    (stocked / "tasks" / "halves.py").write_text("import no_such_thing\n")
    broken = run_cli("doctor", "-o", "json", env={"RECONCILER_REDIS_URL": "redis://127.0.0.1:1"})
    assert broken.returncode == 1
    answer = json.loads(broken.stdout)
    bad = {check["what"] for check in answer["checks"] if check["state"] == "bad"}
    assert bad == {"task module", "redis"}


def test_a_traceback_is_shown_with_debug_only(project: Path, run_cli: Cli) -> None:
    gone = {"RECONCILER_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    assert "Traceback" not in run_cli("status", env=gone).stderr
    assert "Traceback" in run_cli("status", "--debug", env=gone).stderr
    assert "Traceback" in run_cli("--debug", "status", env=gone).stderr


def test_a_reader_that_goes_away_is_no_error(stocked: Path, command_environment: dict[str, str]) -> None:
    line = f"{sys.executable} -m reconciler next '* * * * *' -n 10000 | head -n 1"
    done = subprocess.run(
        ["sh", "-c", line], cwd=stocked, env=command_environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


def test_a_shell_completes_commands_and_names(stocked: Path, run_cli: Cli) -> None:
    assert "_RECONCILER_COMPLETE" in run_cli("completion", "bash").stdout

    def completed(words: str, count: int) -> list[str]:
        env = {"_RECONCILER_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(count)}
        return [line.partition(",")[2] for line in run_cli(env=env).stdout.splitlines()]

    assert completed("reconciler pa", 1) == ["pause"]
    assert completed("reconciler pause gr", 2) == ["greet"]


def test_a_downgrade_under_a_living_runner_names_it(applied: Path, run_cli: Cli, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "insert into runners (id, host, pid, queues, tasks)"
            " values (gen_random_uuid(), 'elsewhere', 7, '[\"default\"]', '{}')"
        )
    refused = run_cli("db", "downgrade", "base")
    assert refused.returncode == 3
    assert "stop the runners first (elsewhere:7)" in refused.stderr


def test_a_database_of_a_newer_version_is_told_alike_by_status_and_db_current(
    applied: Path, run_cli: Cli, database_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    current = run_cli("db", "current").stdout.strip()
    assert current.endswith("install a newer reconciler")
    assert current in run_cli("status").stderr


def test_status_says_that_redis_is_away_and_goes_on(applied: Path, run_cli: Cli, tmp_path: Path) -> None:
    away = {"RECONCILER_REDIS_URL": f"unix://{tmp_path}/none.sock"}
    said = "redis: does not answer: nothing fires until it does"
    done = run_cli("status", env=away)
    assert done.returncode == 0
    assert said in done.stdout.splitlines()[:3]
    assert said not in run_cli("status").stdout
    assert json.loads(run_cli("status", "-o", "json", env=away).stdout)["redis_answers"] is False


def test_a_shell_on_a_server_that_never_answers_ends_soon_with_one_line(project: Path, run_cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"postgresql://ana@127.0.0.1:{server.getsockname()[1]}/x?connect_timeout=60"
        done = run_cli("db", "shell", env={"RECONCILER_DATABASE_URL": url})
    assert done.returncode == 1
    assert done.stderr.startswith("reconciler: postgresql: ")
    assert "no answer within 4 s" in done.stderr
    assert len(done.stderr.splitlines()) == 1

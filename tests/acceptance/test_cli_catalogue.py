"""A pipeline that has the specs and not the code: by what `validate`, `plan` and `apply` check there."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

Cli = Callable[..., subprocess.CompletedProcess[str]]
OFFLINE = {"RECONCILER_DATABASE_URL": "", "RECONCILER_REDIS_URL": ""}
RUNNER = """
insert into runners (id, host, pid, queues, tasks, started_at, seen_at)
values (gen_random_uuid(), 'alpha', 41, '["default"]', %s, now(), now())
"""
WRONG = "task: greet\nparams: {nmae: ana, times: often}\n"
FAULTS = [
    "specs/wrong.yaml:2:9: params.name: is missing; greet cannot be called without it",
    "specs/wrong.yaml:2:10: params.nmae: greet has no such parameter; did you mean 'name'?",
    "specs/wrong.yaml:2:28: params.times: 'often' is not a whole number",
]


@pytest.fixture
def bare(stocked: Path, run_cli: Cli) -> Path:
    """The project without its code, one more spec with wrong parameters, and `tasks.json` beside it."""
    (stocked / "specs" / "wrong.yaml").write_text(WRONG)
    assert run_cli("validate", env=OFFLINE).stdout.splitlines() == FAULTS
    done = run_cli("schema", "--catalogue", "tasks.json")
    assert (done.returncode, done.stderr) == (0, "written to tasks.json\n")
    shutil.rmtree(stocked / "tasks")
    return stocked


def publish(project: Path, database_url: str, **tasks: object) -> None:
    catalogue = json.loads((project / "tasks.json").read_text())["tasks"] | tasks
    with psycopg.connect(database_url) as connection:
        connection.execute(RUNNER, [Jsonb(catalogue)])


def test_a_file_finds_what_the_code_finds_in_the_same_lines(bare: Path, run_cli: Cli) -> None:
    done = run_cli("validate", "--catalogue", "tasks.json", env=OFFLINE)
    assert (done.returncode, done.stdout.splitlines()) == (1, FAULTS)
    assert "checked against tasks.json, " in done.stderr
    (bare / "reconciler.toml").write_text('catalogue = "tasks.json"\ntask_modules = ["jobs"]\n')
    assert run_cli("validate", env=OFFLINE).stdout.splitlines() == FAULTS


def test_the_table_of_runners_finds_it_too(bare: Path, database_url: str, run_cli: Cli) -> None:
    publish(bare, database_url)
    done = run_cli("validate")
    assert (done.returncode, done.stdout.splitlines()) == (1, FAULTS)
    assert "checked against what the runners published, " in done.stderr


@pytest.mark.parametrize("env", [OFFLINE, {}, {"RECONCILER_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}])
def test_with_neither_there_is_one_warning_and_the_runner_decides(
    env: dict[str, str], bare: Path, run_cli: Cli
) -> None:
    done = run_cli("validate", env=env)
    assert (done.returncode, done.stdout) == (0, "4 specs in 4 files are good\n")
    [warning] = done.stderr.splitlines()
    assert "no task modules here and no catalogue" in warning
    assert "not checked and the runner decides: fail, greet, tick" in warning
    assert ("cannot be read" in warning) is ("nobody" in env.get("RECONCILER_DATABASE_URL", ""))


def test_what_only_uses_the_library_is_checked_without_a_word(project: Path, run_cli: Cli) -> None:
    shutil.rmtree(project / "tasks")
    (project / "specs" / "a.yaml").write_text("task: shell.run\nparams: {comand: ls}\n")
    done = run_cli("validate", env=OFFLINE)
    assert done.returncode == 1 and "shell.run has no such parameter; did you mean" in done.stdout
    assert "warning" not in done.stderr


def test_the_code_that_is_here_goes_before_any_catalogue(stocked: Path, run_cli: Cli) -> None:
    (stocked / "tasks.json").write_text("{}")
    done = run_cli("validate", "--catalogue", "tasks.json", env=OFFLINE)
    assert done.returncode == 0
    assert "checked against the task modules, " in done.stderr
    assert "; tasks.json is for where they are absent" in done.stderr


def test_a_misspelt_module_is_a_fault_and_not_an_absence(stocked: Path, run_cli: Cli) -> None:
    (stocked / "tasks").rename(stocked / "jobs")
    (stocked / "reconciler.toml").write_text('task_modules = ["jbos"]\n')
    done = run_cli("validate", env=OFFLINE)
    assert done.returncode == 1 and "no module named 'jbos'" in done.stdout


def test_what_is_no_catalogue_is_one_line(bare: Path, run_cli: Cli) -> None:
    (bare / "tasks.json").write_text("{}")
    done = run_cli("validate", "--catalogue", "tasks.json", env=OFFLINE)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "reconciler: tasks.json: is no catalogue of tasks: write one with reconciler schema --catalogue tasks.json\n"
    )


def test_plan_and_apply_go_the_same_way(bare: Path, database_url: str, run_cli: Cli) -> None:
    publish(bare, database_url)
    for verb in ("plan", "apply"):
        done = run_cli(verb)
        assert done.returncode == 1
        assert all(fault in done.stdout + done.stderr for fault in FAULTS), verb
        assert "checked against what the runners published, " in done.stderr


def test_a_spec_whose_task_no_live_runner_has_waits_for_one(bare: Path, database_url: str, run_cli: Cli) -> None:
    (bare / "specs" / "wrong.yaml").write_text("task: reports.build\n")
    assert run_cli("apply").returncode == 0  # nobody knew any better
    publish(bare, database_url)
    waits = "waiting for a runner that has the task 'reports.build'"
    assert waits in run_cli("status").stdout
    assert waits in run_cli("status", "wrong").stdout
    assert f"wrong is {waits}" in run_cli("why", "wrong").stdout
    assert "wrong: waiting for a runner that has 'reports.build'" in run_cli("doctor").stdout


def test_a_trigger_is_checked_by_what_runners_published(bare: Path, database_url: str, run_cli: Cli) -> None:
    (bare / "specs" / "wrong.yaml").unlink()
    assert run_cli("apply").returncode == 0
    publish(bare, database_url)
    done = run_cli("trigger", "greet", "-p", "times=often")
    assert done.returncode == 1 and "times: 'often' is not a whole number" in done.stderr

"""`kill -9` of the whole service in the middle of long runs: nothing goes on, nothing is lost, nothing doubles."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

pytestmark = pytest.mark.faults

TASKS = """
import asyncio, os, pathlib, subprocess, time
from reconciler.registry import TaskContext, task

def note(ctx):
    helper = subprocess.Popen(["sleep", "300"])
    path = pathlib.Path("pids") / f"{ctx.name}-{ctx.attempt}"
    path.with_suffix(".tmp").write_text(f"{os.getpid()} {helper.pid}")
    path.with_suffix(".tmp").rename(path)

@task("t.async")
async def run_async(ctx: TaskContext) -> str:
    if ctx.attempt == 1:
        note(ctx)
        await asyncio.sleep(300)
    return "done"

@task("t.sync")
def run_sync(ctx: TaskContext) -> str:
    if ctx.attempt == 1:
        note(ctx)
        time.sleep(300)
    return "done"
"""


def spec(name: str, task: str, retries: int) -> str:
    return f"name: {name}\ntask: {task}\nretries: {{attempts: {retries}, backoff: 500ms}}\n"


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("it did not come to pass")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def service(project: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with (project / "serve.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "serve"],
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def test_after_kill_9_of_the_service_no_run_goes_on_and_each_occurrence_has_one_row(
    project: Path, command_environment: dict[str, str], database_url: str, run_cli: Any
) -> None:
    (project / "pids").mkdir()
    (project / "tasks" / "long.py").write_text(textwrap.dedent(TASKS))
    names = [f"n{n}" for n in range(10)]
    for n, name in enumerate(names):
        task = "t.async" if n % 2 else "t.sync"
        (project / "specs" / f"{name}.yaml").write_text(spec(name, task, retries=2 if n < 5 else 1))
    with (project / "reconciler.toml").open("a") as settings:
        settings.write('[runner]\nlease = "2s"\nworker_processes = 5\n')

    with service(project, command_environment) as first, psycopg.connect(database_url, autocommit=True) as connection:
        until(lambda: connection.execute("select count(*) from task_configs").fetchone() == (10,))
        for name in names:
            assert run_cli("trigger", name).returncode == 0
        until(lambda: len(list((project / "pids").glob("n?-1"))) == 10)
        pids = [int(pid) for path in (project / "pids").iterdir() for pid in path.read_text().split()]
        assert all(is_alive(pid) for pid in pids)
        os.kill(first.pid, signal.SIGKILL)
        first.wait(10)
        until(lambda: not any(is_alive(pid) for pid in pids), 5)

        with service(project, command_environment):
            until(lambda: connection.execute("select count(*) from task_executions").fetchone() == (10,))
            rows = connection.execute(
                "select name, is_success, error, jsonb_array_length(attempts), attempts -> 0 ->> 'error'"
                " from task_executions order by name"
            ).fetchall()
        left = connection.execute("select count(*) from task_claims").fetchone()
    assert rows[:5] == [(name, True, None, 1, "the runner died") for name in names[:5]]
    assert rows[5:] == [(name, False, "the runner died", 0, None) for name in names[5:]]
    assert left == (0,)

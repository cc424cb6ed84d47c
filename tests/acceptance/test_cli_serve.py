"""The service as a person starts, uses and stops it, on real stores."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
DEADLINE = 60.0


class Service:
    """A command that goes on; what it says is in a file, so that it never waits for a reader."""

    def __init__(self, line: list[str], directory: Path, environment: Mapping[str, str]) -> None:
        self.said = directory / ".said"
        with self.said.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reconciler", *line],
                cwd=directory,
                env=dict(environment),
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.said.read_text()

    def wait_for(self, condition: Callable[[], Any], what: str) -> Any:
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            if found := condition():
                return found
            assert self.process.poll() is None, f"the service ended while waiting for {what}: {self.text}"
            time.sleep(0.05)
        raise AssertionError(f"no {what} within {DEADLINE:.0f} s; it said: {self.text}")

    def says(self, text: str) -> None:
        self.wait_for(lambda: text in self.text, repr(text))

    def stop(self, *signals: signal.Signals) -> int:
        for number in signals or (signal.SIGINT,):
            self.process.send_signal(number)
        return self.process.wait(DEADLINE)


Start = Callable[..., Service]


@pytest.fixture
def start(stocked: Path, command_environment: dict[str, str]) -> Iterator[Start]:
    """`start("serve", "--watch", env={…})` in the stocked project; whatever still runs in the end is killed."""
    running: list[Service] = []

    def begin(*line: str, env: Mapping[str, str] | None = None) -> Service:
        running.append(Service(list(line), stocked, command_environment | dict(env or {})))
        return running[-1]

    yield begin
    for service in running:
        if service.process.poll() is None:
            os.killpg(service.process.pid, signal.SIGKILL)
            service.process.wait()


def rows(run_cli: Cli, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run_cli("history", "-o", "json", *options).stdout)["executions"]
    return found


def tasks(run_cli: Cli) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(run_cli("status", "-o", "json").stdout)["tasks"]}


def test_serve_runs_what_is_due_and_stops_cleanly(start: Start, run_cli: Cli) -> None:
    service = start("serve")
    service.says("reconciler history")
    assert "tasks     3 in force" in service.text
    service.wait_for(lambda: rows(run_cli, "often"), "row of 'often'")
    assert "runners: " in run_cli("status").stdout
    assert "runners: none" not in run_cli("status").stdout
    good = run_cli("trigger", "greet", "-p", "times=2", "--wait", "-o", "json")
    assert good.returncode == 0, good.stderr
    assert json.loads(good.stdout)["result"] == {"greeted": "ana"}
    assert run_cli("logs", "greet").stdout == "hello ana\nhello ana\n"
    bad = run_cli("trigger", "broken", "--wait")
    assert (bad.returncode, "ValueError: on purpose" in bad.stdout) == (1, True)
    assert service.stop() == 0
    assert "Traceback" not in service.text
    assert "runners: none" in run_cli("status").stdout
    assert {row["is_success"] for row in rows(run_cli, "often", "--limit", "1000")} == {True}


def test_a_saved_file_is_in_force_and_a_broken_one_is_told_and_changes_nothing(
    start: Start, run_cli: Cli, stocked: Path
) -> None:
    service = start("serve", "--watch")
    service.says("tasks     3 in force")
    spec = stocked / "specs" / "greet.yaml"
    good = spec.read_text()
    spec.write_text(good.replace("0 2 * * 1-5", "30 4 * * *"))
    service.wait_for(lambda: tasks(run_cli)["greet"]["schedule"] == ["30 4 * * *"], "changed schedule")
    spec.write_text("task: gret\n")
    service.says("no task named 'gret'")
    assert tasks(run_cli)["greet"]["schedule"] == ["30 4 * * *"]
    before = len(rows(run_cli, "often", "--limit", "1000"))
    service.wait_for(lambda: len(rows(run_cli, "often", "--limit", "1000")) > before, "further runs")
    spec.write_text(good)
    service.wait_for(lambda: tasks(run_cli)["greet"]["schedule"] == ["0 2 * * 1-5"], "mended schedule")
    assert service.stop(signal.SIGTERM) == 0


def test_an_interrupt_is_heard_where_a_shell_started_it_in_the_background(start: Start) -> None:
    """A shell without job control has what it starts with `&` ignore SIGINT; so do the children of who ignores it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        service = start("serve")
    finally:
        signal.signal(signal.SIGINT, before)
    service.says("reconciler history")
    assert service.stop(signal.SIGINT) == 0


def test_new_task_code_is_used_by_the_next_run(start: Start, run_cli: Cli, stocked: Path) -> None:
    service = start("serve", "--watch")
    service.says("tasks     3 in force")
    code = stocked / "tasks" / "__init__.py"
    code.write_text(code.read_text().replace('print(f"hello {name}")', 'print(f"goodbye {name}")'))
    service.says("new code")
    assert run_cli("trigger", "greet", "--wait").returncode == 0
    assert run_cli("logs", "greet").stdout == "goodbye ana\n"
    assert service.stop() == 0


def test_a_second_signal_ends_what_runs_and_records_it(start: Start, run_cli: Cli, stocked: Path) -> None:
    (stocked / "specs" / "long.yaml").write_text("task: doze\nparams: {seconds: 600}\n")
    toml = stocked / "reconciler.toml"
    toml.write_text(toml.read_text() + '[runner]\nshutdown_grace = "1h"\n')
    service = start("serve")
    service.says("tasks     4 in force")
    assert run_cli("trigger", "long").returncode == 0
    service.wait_for(lambda: tasks(run_cli)["long"]["running"], "running 'long'")
    service.process.send_signal(signal.SIGINT)
    service.says("stopping")
    assert service.stop() == 0
    (row,) = rows(run_cli, "long")
    assert row["is_success"] is False
    assert "stopped" in row["error"]


def test_watch_applies_without_running_anything(start: Start, run_cli: Cli, stocked: Path) -> None:
    service = start("watch", "specs")
    service.says("tasks     3 in force, no runner in this process")
    (stocked / "specs" / "more.yaml").write_text("task: tick\n")
    service.wait_for(lambda: "more" in tasks(run_cli), "new task")
    assert rows(run_cli) == []
    assert service.stop() == 0


def test_a_runner_alone_reads_no_specs(start: Start, run_cli: Cli, stocked: Path) -> None:
    assert run_cli("apply").returncode == 0
    (stocked / "specs" / "more.yaml").write_text("task: tick\n")
    service = start("runner", env={"RECONCILER_LOG_FORMAT": "json"})
    service.wait_for(lambda: rows(run_cli, "often"), "row of 'often'")
    assert "more" not in tasks(run_cli)
    assert service.stop() == 0
    lines = [json.loads(line) for line in service.text.splitlines()]
    assert {"time", "level", "logger", "message"} <= lines[0].keys()


def test_without_any_server_of_ones_own_the_embedded_ones_serve_and_leave_nothing_behind(
    short_directory: Path, command_environment: dict[str, str], run_cli: Cli
) -> None:
    (short_directory / "tasks").mkdir()
    (short_directory / "tasks" / "__init__.py").write_text(
        "import os, shutil\n"
        "from reconciler.registry import task\n"
        "@task\n"
        "def look() -> dict:\n"
        "    return {'url': os.environ['RECONCILER_DATABASE_URL'], 'dump': shutil.which('pg_dump')}\n"
    )
    (short_directory / "specs").mkdir()
    (short_directory / "specs" / "look.yaml").write_text('task: look\nschedule: "@every 1s"\n')
    own = {name: text for name, text in command_environment.items() if not name.startswith("RECONCILER_")}
    nothing = {"RECONCILER_DATABASE_URL": "", "RECONCILER_REDIS_URL": ""}

    def embedded(*line: str) -> subprocess.CompletedProcess[str]:
        return run_cli(*line, cwd=short_directory, env=nothing)

    service = Service(["serve"], short_directory, own)
    try:
        service.says("embedded PostgreSQL, embedded Redis")
        row = service.wait_for(lambda: rows(embedded, "look"), "row of 'look'")[0]
        assert row["is_success"], row["error"]
        assert row["result"]["url"] == embedded("db", "url").stdout.strip()
        assert embedded("db", "shell", "--", "-Atc", "select count(*) from task_configs").stdout == "1\n"
        assert service.stop() == 0
        assert list((short_directory / ".reconciler" / "run").iterdir()) == []
    finally:
        if service.process.poll() is None:
            os.killpg(service.process.pid, signal.SIGKILL)
            service.process.wait()


@pytest.mark.parametrize("line", [["serve"], ["runner"], ["watch"]])
def test_a_store_that_is_not_there_is_one_line(line: list[str], stocked: Path, run_cli: Cli) -> None:
    for env, place in (
        ({"RECONCILER_DATABASE_URL": "postgresql://ana:hunter2@127.0.0.1:1/x"}, "postgresql: postgresql://ana:***@"),
        ({"RECONCILER_REDIS_URL": "redis://:hunter2@127.0.0.1:1"}, "redis: redis://:***@"),
    ):
        done = run_cli(*line, env=env)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert place in done.stderr
        assert "hunter2" not in done.stderr


def test_a_stop_in_a_hurry_while_it_starts_is_no_error(start: Start, stocked: Path) -> None:
    (stocked / "tasks" / "slow.py").write_text("import time\ntime.sleep(5)\n")
    service = start("serve", "--no-sync")
    service.says("health")
    service.process.send_signal(signal.SIGINT)
    service.says("stopping")
    assert service.stop(signal.SIGINT) == 0, service.text
    assert "the runner is stopping" not in service.text

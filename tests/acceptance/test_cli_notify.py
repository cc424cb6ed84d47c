"""Who is told, and what is answered, as a person sets it up and sees it, with a real service."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
DEADLINE = 60.0


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"no {what} within {DEADLINE:.0f} s")


class Service:
    """A command that goes on; what it says is in a file."""

    def __init__(self, line: list[str], directory: Path, environment: dict[str, str]) -> None:
        self.said = directory / ".said"
        with self.said.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reconciler", *line],
                cwd=directory,
                env=environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.said.read_text()

    @property
    def url(self) -> str:
        """Where it answers, as its banner says."""
        line = wait_for(lambda: [line for line in self.text.splitlines() if "/readyz" in line], f"address: {self.text}")
        return str(line[0].split()[1].removesuffix("/readyz,"))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)


@pytest.fixture
def start(stocked: Path, command_environment: dict[str, str]) -> Iterator[Callable[..., Service]]:
    running: list[Service] = []

    def begin(*line: str, **env: str) -> Service:
        running.append(Service(list(line), stocked, command_environment | env))
        return running[-1]

    yield begin
    for service in running:
        if service.process.poll() is None:
            os.killpg(service.process.pid, signal.SIGKILL)
            service.process.wait()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def told(stocked: Path, listener: Any) -> Any:
    """The stocked project whose `broken` tells the listener what becomes of it."""
    toml = stocked / "reconciler.toml"
    toml.write_text(f'{toml.read_text()}[notify.targets]\nops = "{listener.target}"\n')
    (stocked / "specs" / "broken.yaml").write_text(
        "task: fail\nparams: {why: on purpose}\n"
        f"notify: {{on: [failure, recovery], to: [ops], ping: '{listener.url}/ping'}}\n"
    )
    return listener


def test_a_failure_and_its_recovery_are_told_once_each(
    start: Callable[..., Service], run_cli: Cli, told: Any, stocked: Path
) -> None:
    service = start("serve", "--watch")
    assert service.url
    for _ in range(2):
        assert run_cli("trigger", "broken", "--wait").returncode == 1
    wait_for(lambda: told.titles, "message")
    wait_for(lambda: "/ping/fail" in told.paths, "ping of the failure")
    (listed,) = json.loads(run_cli("incidents", "--open", "-o", "json").stdout)["incidents"]
    assert (listed["name"], listed["kind"], listed["detail"]) == ("broken", "failure", "ValueError: on purpose")
    code = stocked / "tasks" / "__init__.py"
    code.write_text(code.read_text().replace("raise ValueError(why)", "return None"))
    wait_for(lambda: "new code" in service.text, "new code")
    assert run_cli("trigger", "broken", "--wait").returncode == 0
    wait_for(lambda: len(told.titles) > 1, "second message")
    wait_for(lambda: "/ping" in told.paths, "ping of the success")
    assert told.titles[0] == "broken failed: ValueError: on purpose"
    assert told.titles[1].startswith("broken has recovered: succeeded at ")
    assert len(told.titles) == 2
    assert "nothing to tell now" in run_cli("incidents", "--open").stdout
    assert "both" in run_cli("incidents", "broken").stdout
    assert service.stop() == 0
    assert "geheim99" not in service.text


def test_what_nobody_runs_is_told_by_a_service_without_a_runner(
    start: Callable[..., Service], run_cli: Cli, told: Any, stocked: Path
) -> None:
    (stocked / "specs" / "late.yaml").write_text(
        'task: tick\nschedule: "* * * * *"\nnotify: {on: [missed], to: [ops]}\n'
    )
    assert run_cli("apply").returncode == 0
    back = "update task_cursors set through = through - interval '5 minutes' where name = 'late'"
    assert run_cli("db", "shell", "--", "-c", back).returncode == 0
    service = start("serve", "--no-runner")
    wait_for(lambda: told.titles, "message")
    assert told.titles[0].startswith("late was due at ")
    assert service.stop() == 0


def test_a_target_can_be_tried(run_cli: Cli, told: Any) -> None:
    done = run_cli("notify", "test", "ops")
    assert (done.returncode, done.stdout) == (0, "told: ops\n")
    assert told.titles == ["reconciler: a test"]
    wrong = run_cli("notify", "test", "opps")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == "reconciler: notify: no target named 'opps': did you mean 'ops'?\n"
    told.status = 500
    refused = run_cli("notify", "test", "ops")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
    assert refused.stderr.startswith("reconciler: notify.targets.ops: not told: ")
    assert "geheim99" not in refused.stderr + run_cli("doctor").stdout


@pytest.mark.parametrize("command", [["serve"], ["runner"]])
def test_it_says_where_it_answers_and_is_soon_ready(
    start: Callable[..., Service], run_cli: Cli, command: list[str]
) -> None:
    assert run_cli("apply").returncode == 0
    service = start(*command)
    status, text = wait_for(lambda: (found := get(f"{service.url}/readyz"))[0] == 200 and found, "ready service")
    parts = {"postgresql", "redis", "control", "beat", "children", *(["sync"] if command == ["serve"] else [])}
    assert (status, json.loads(text)["checks"].keys()) == (200, parts)
    wait_for(
        lambda: 'runs_total{outcome="succeeded",queue="default",task="tick"}' in get(f"{service.url}/metrics")[1], "run"
    )
    assert service.stop() == 0


def test_a_port_that_is_taken_is_an_error_only_where_it_was_asked_for(
    start: Callable[..., Service], run_cli: Cli
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run_cli("serve", "--port", str(port))
        assert done.returncode == 1
        assert done.stderr == f"reconciler: api: 127.0.0.1:{port} is taken: choose another with api.port or --port\n"
        service = start("serve", "--no-api", "--port", str(port))
        wait_for(lambda: "tasks     3 in force" in service.text, "banner")
        assert "/readyz" not in service.text
        assert service.stop() == 0

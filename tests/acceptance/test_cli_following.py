"""Tasks that wait for others, and those that pause by themselves, as a person sees them with the service running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
DEADLINE = 60.0

ICS = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//a//b//EN\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART;VALUE=DATE:20261224\r\n"
    "DTEND;VALUE=DATE:20261227\r\nRRULE:FREQ=YEARLY\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)


@pytest.fixture
def service(stocked: Path, command_environment: dict[str, str]) -> Iterator[Callable[[], None]]:
    """Starts `serve --watch` in the stocked project, without its HTTP port; killed in the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        with (stocked / ".said").open("wb") as said:
            line = [sys.executable, "-m", "reconciler", "serve", "--watch"]
            environment = command_environment | {"RECONCILER_API_ENABLED": "false"}
            started.append(
                subprocess.Popen(line, cwd=stocked, env=environment, stdout=said, stderr=said, start_new_session=True)
            )

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"no {what} within {DEADLINE:.0f} s")


def runs(run_cli: Cli, name: str) -> list[dict[str, Any]]:
    """The runs of a name; none where it is not there yet."""
    told = run_cli("history", name, "-o", "json", "--limit", "1000")
    found: list[dict[str, Any]] = json.loads(told.stdout)["executions"] if told.returncode == 0 else []
    return found


def instants(run_cli: Cli, name: str) -> list[str]:
    return [run["scheduled_for"] for run in runs(run_cli, name)]


def test_a_task_runs_once_for_each_success_of_what_it_waits_for(
    service: Callable[[], None], run_cli: Cli, stocked: Path
) -> None:
    (stocked / "specs" / "next-one.yaml").write_text("task: tick\nafter: [often]\n")
    (stocked / "specs" / "last-one.yaml").write_text("task: tick\nafter: [next-one]\n")
    service()
    until(lambda: len(instants(run_cli, "last-one")) >= 3, "third run at the end of the chain")
    run_cli("pause", "often", "--reason", "enough")
    until(lambda: instants(run_cli, "last-one") == instants(run_cli, "often"), "end of the chain")
    assert instants(run_cli, "next-one") == instants(run_cli, "often")
    assert {run["trigger"] for run in runs(run_cli, "last-one")} == {"after"}


def test_a_task_that_fails_again_and_again_is_paused_until_somebody_resumes_it(
    service: Callable[[], None], run_cli: Cli, stocked: Path
) -> None:
    (stocked / "specs" / "broken.yaml").write_text(
        'task: fail\nparams: {why: on purpose}\nschedule: "@every 1s"\npause_after_failures: 2\n'
    )
    service()
    text = until(lambda: "2 failures in a row" in (found := run_cli("status", "broken").stdout) and found, "pause")
    assert "reconciler" in text
    assert "2 failures in a row, the last: ValueError: on purpose" in " ".join(text.split())
    before = len(runs(run_cli, "broken"))
    assert run_cli("resume", "broken").returncode == 0
    until(lambda: len(runs(run_cli, "broken")) > before, "run after the resume")


def test_circles_and_unknown_names_are_faults_and_nothing_is_applied(run_cli: Cli, stocked: Path) -> None:
    (stocked / "specs" / "a.yaml").write_text("task: tick\nafter: [c]\n")
    (stocked / "specs" / "b.yaml").write_text("task: tick\nafter: [a]\n")
    (stocked / "specs" / "c.yaml").write_text("task: tick\nafter: [b, ofen]\nnotify: {to: [ops]}\n")
    for command in ("validate", "apply"):
        done = run_cli(command)
        assert done.returncode == 1
        assert (done.stdout + done.stderr).splitlines()[:3] == [
            "specs/a.yaml:2:9: after[0]: a -> c -> b -> a goes round in a circle; remove one of these",
            "specs/c.yaml:2:12: after[1]: no spec 'ofen'; did you mean 'often'?",
            "specs/c.yaml:3:15: notify.to[0]: no target 'ops' in the settings; add it to notify.targets",
        ]
    assert json.loads(run_cli("status", "-o", "json").stdout)["tasks"] == []


def test_the_days_of_an_icalendar_file_are_left_out(run_cli: Cli, stocked: Path) -> None:
    (stocked / "specs" / "holidays.ics").write_text(ICS)
    (stocked / "specs" / "greet.yaml").write_text('task: tick\nschedule: "0 12 * * *"\nskip_on: [holidays]\n')
    shown = run_cli("next", "greet", "--from", "2027-12-23T00:00:00Z", "-n", "2", "-o", "json")
    assert shown.returncode == 0, shown.stderr
    assert [text in shown.stdout for text in ("2027-12-23T12:00", "2027-12-24", "2027-12-26", "2027-12-27T12:00")] == [
        True,
        False,
        False,
        True,
    ]


def test_next_says_what_else_makes_a_task_run_and_when_it_really_starts(run_cli: Cli, stocked: Path) -> None:
    (stocked / "specs" / "then.yaml").write_text("task: tick\nafter: [greet, often]\n")
    (stocked / "specs" / "greet.yaml").write_text('task: tick\nschedule: "@hourly"\nafter: [often]\njitter: 10m\n')
    assert run_cli("next", "then").stdout == "no schedule: it runs after greet, often\n"
    line = ("next", "greet", "--from", "2026-01-01T00:30:00Z", "-n", "2")
    assert run_cli(*line).stdout.splitlines()[0] == "greet (from greet.yaml): every hour, and after often"
    shown = [json.loads(run_cli(*line, "-o", "json").stdout)["occurrences"] for _ in range(2)]
    assert shown[0] == shown[1]  # the same for the same occurrence, in every process
    for one in shown[0]:
        late = datetime.fromisoformat(one["starts"]) - datetime.fromisoformat(one["scheduled_for"])
        assert timedelta(0) <= late <= timedelta(minutes=10)

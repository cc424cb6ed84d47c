"""`shell.run`: what is started, with what, and what an exit code becomes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CallTask = Callable[..., Any]


def test_the_output_of_a_command_is_the_log(call_task: CallTask) -> None:
    outcome = call_task("shell.run", command="sh -c 'echo said; echo and complained >&2'")
    assert (outcome.is_success, outcome.result, outcome.error) == (True, {"exit_code": 0}, None)
    assert outcome.log == "said\nand complained\n"


@pytest.mark.parametrize(
    ("expect", "code", "is_success"),
    [(None, 0, True), (None, 3, False), (3, 3, True), ([0, 3], 3, True), ([0, 3], 4, False), (1, 0, False)],
)
def test_the_exit_code_decides(call_task: CallTask, expect: object, code: int, is_success: bool) -> None:
    given = {} if expect is None else {"expect_exit": expect}
    outcome = call_task("shell.run", command=["sh", "-c", f"exit {code}"], **given)
    assert outcome.is_success is is_success
    if not is_success:
        assert outcome.error == f"CommandFailedError: \"sh -c 'exit {code}'\" exited with {code}"


def test_a_signal_is_named(call_task: CallTask) -> None:
    outcome = call_task("shell.run", command=["sh", "-c", "kill -9 $$"])
    assert outcome.error == "CommandFailedError: \"sh -c 'kill -9 $$'\" was killed by signal 9"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("echo $HOME ; ls *", "$HOME ; ls *\n"),
        (["echo", "$HOME | wc"], "$HOME | wc\n"),
        ("echo 'two words'", "two words\n"),
    ],
)
def test_no_shell_sees_a_command_unless_asked(call_task: CallTask, command: object, said: str) -> None:
    assert call_task("shell.run", command=command).log == said


def test_a_shell_sees_it_when_asked(call_task: CallTask) -> None:
    assert call_task("shell.run", command="echo one two | wc -w", shell=True).log.strip() == "2"
    assert call_task("shell.run", command=["echo", "$HOME | wc"], shell=True).log == "$HOME | wc\n"


def test_environment_directory_and_input_reach_the_command(call_task: CallTask, tmp_path: Path) -> None:
    outcome = call_task(
        "shell.run",
        command='echo "$GREETING in $PWD, $(cat)"',
        shell=True,
        env={"GREETING": "hello"},
        directory=str(tmp_path),
        stdin="from stdin",
    )
    assert outcome.log == f"hello in {tmp_path}, from stdin\n"


def test_a_command_that_is_given_no_input_reads_none(call_task: CallTask) -> None:
    assert call_task("shell.run", command="cat").log == ""


def test_a_lot_of_input_and_output_at_once_is_no_deadlock(call_task: CallTask) -> None:
    outcome = call_task("shell.run", command="cat", stdin="x" * 2_000_000)
    assert outcome.is_success
    assert outcome.log.endswith("xxx")


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"command": "no-such-program -v"}, "CommandFailedError: program 'no-such-program' is not on the PATH"),
        ({"command": ["/no/such/program"]}, "CommandFailedError: program '/no/such/program' is not there"),
        ({"command": "true", "directory": "/no/such"}, "CommandFailedError: directory '/no/such' is not there"),
        ({"command": "/"}, "CommandFailedError: '/' cannot be started: Permission denied"),
        ({"command": ""}, "ValueError: command is empty; name a program"),
        ({"command": []}, "ValueError: command is empty; name a program"),
        ({"command": "  ", "shell": True}, "ValueError: command is empty; name a program"),
        ({"command": "echo 'unfinished"}, "ValueError: No closing quotation"),
    ],
)
def test_what_cannot_be_started_is_one_clear_line(call_task: CallTask, params: dict[str, Any], error: str) -> None:
    assert call_task("shell.run", **params).error == error


def test_a_secret_is_masked_in_the_output_the_error_and_the_traceback(
    call_task: CallTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_TOKEN", "s3cr3t-t0k3n")
    outcome = call_task(
        "shell.run",
        command=["sh", "-c", 'printf "%s" "$TOKEN" | fold -w 1 | tr -d "\n"; exit 2', {"from_env": "A_TOKEN"}],
        env={"TOKEN": {"from_env": "A_TOKEN"}},
    )
    assert outcome.log == "***"
    assert outcome.error.endswith("' ***\" exited with 2") or outcome.error.endswith("exited with 2")
    assert "s3cr3t" not in f"{outcome.log}{outcome.error}{outcome.traceback}"


def test_bytes_that_are_no_text_do_not_fail_a_run(call_task: CallTask) -> None:
    outcome = call_task("shell.run", command=["printf", r"\377\000ok"])
    assert outcome.is_success
    assert outcome.log.endswith("ok")


def test_what_is_left_in_the_background_is_not_waited_for(call_task: CallTask, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    began = time.monotonic()
    outcome = call_task("shell.run", command=f"sleep 600 & echo $! > {pid_file}; echo started", shell=True)
    os.kill(int(pid_file.read_text()), 9)
    assert (outcome.is_success, outcome.log) == (True, "started\n")
    assert time.monotonic() - began < 300


def test_a_command_sees_the_environment_of_the_service(call_task: CallTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_THE_SERVICE", "yes")
    command = [sys.executable, "-c", "import os; print(os.environ['FROM_THE_SERVICE'])"]
    assert call_task("shell.run", command=command, env={"MORE": "x"}).log == "yes\n"


def test_parameters_are_checked_before_anything_runs(faults_of: Callable[..., list[str]]) -> None:
    assert faults_of("shell.run", command="ls", shel=True) == [
        "shel: shell.run has no such parameter; did you mean 'shell'?"
    ]
    assert faults_of("shell.run") == ["command: is missing; shell.run cannot be called without it"]
    assert len(faults_of("shell.run", command="ls", env={"A": 1})) == 1

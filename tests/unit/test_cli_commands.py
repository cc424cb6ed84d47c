"""The commands as a set: their help, their exit codes, what a wrong line is answered with."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from reconciler.cli import code_of
from reconciler.cli.command import Command, command
from reconciler.cli.group import COMMANDS, app
from reconciler.errors import ReconcilerError, Refused, StoreUnavailable, UsageError


def commands() -> Iterator[tuple[str, click.Command]]:
    for name in COMMANDS:
        command = app.get_command(click.Context(app), name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {below}", found) for below, found in command.commands.items())


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=[name for name, _ in commands()])
def test_help_ends_with_an_example_of_that_command(name: str, command: click.Command) -> None:
    with click.Context(command, info_name=f"reconciler {name}", **command.context_settings) as context:
        text = command.get_help(context)
    _, heading, example = text.partition("Example:\n")
    assert heading
    assert f"reconciler {name}" in example
    assert len(example.strip().splitlines()) <= 3
    if isinstance(command, Command):
        assert command.help


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_command_says_of_itself(name: str) -> None:
    command = app.get_command(click.Context(app), name)
    assert command is not None
    assert command.help is not None
    assert command.help.split("\n\n")[0].replace("\n", " ") == COMMANDS[name][1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "a command is missing"),
        ("plam", "no command named 'plam'; did you mean 'plan'?"),
        ("db", "a command is missing"),
        ("db upgrad", "no command named 'db upgrad'; did you mean 'upgrade'?"),
        ("plan --detaled-exitcode", "--detailed-exitcode"),
        ("history --limit many", "--limit"),
        ("history --since yesterday", "'yesterday' is not an instant"),
        ("logs", "missing argument 'NAME'"),
        ("pause x --for 2", "is not a duration"),
        ("trigger x -p region", "is not 'key=value'"),
        ("-C /no/such/directory status", "does not exist"),
        ("validate /no/such/directory", "does not exist"),
        ("status -o xml", "xml"),
        ("--log-level loud serve", "loud"),
    ],
)
def test_a_usage_error_is_one_line_and_exits_64(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(line.split()) == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("reconciler: ")
    assert said.lower() in err.lower()


@pytest.mark.parametrize("line", ["--help", "-h", "--version", "plan --help", "db --help", "db url -h"])
def test_help_and_version_exit_0(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(line.split()) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ReconcilerError("specs: no such directory: make it"), 1, "reconciler: specs: no such directory: make it\n"),
        (Refused("prune refused: 3 of 3"), 3, "reconciler: prune refused: 3 of 3\n"),
        (UsageError("serve: nothing to do"), 64, "reconciler: serve: nothing to do\n"),
        (ExceptionGroup("of a group", [StoreUnavailable("redis: gone")]), 1, "reconciler: redis: gone\n"),
        (PermissionError(13, "Permission denied", "specs"), 1, "reconciler: specs: Permission denied\n"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_whatever_ends_a_command_is_one_line_and_a_code(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @command("fails", example="reconciler fails")
    def fails() -> int:
        raise error

    monkeypatch.setattr("reconciler.cli.silence_stdout", lambda: None)
    monkeypatch.setattr(type(app), "get_command", lambda self, ctx, name: fails)
    assert code_of(["plan"]) == code
    assert capsys.readouterr() == ("", said)


def test_a_fault_of_ours_is_one_line_too_and_asks_for_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @command("fails", example="reconciler fails")
    def fails() -> int:
        raise KeyError("x")

    monkeypatch.setattr(type(app), "get_command", lambda self, ctx, name: fails)
    assert code_of(["plan"]) == 1
    assert capsys.readouterr().err.startswith("reconciler: unexpected KeyError: 'x': run it again with --debug")
    assert code_of(["plan", "--debug"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(("faults", "end"), [([], "new code"), (["tasks/x.py:1: broken"], "except for what is broken")])
async def test_saved_task_modules_are_in_use_but_for_what_is_broken(
    faults: list[str], end: str, caplog: pytest.LogCaptureFixture
) -> None:
    from types import SimpleNamespace

    from reconciler.cli.service import _Service

    async def reload() -> None: ...

    service = SimpleNamespace(runner=SimpleNamespace(reload=reload, children=SimpleNamespace(faults=faults)))
    with caplog.at_level("INFO", "reconciler.serve"):
        await _Service._reload(service)  # type: ignore[arg-type]
    assert caplog.messages[-1].endswith(end)

"""Run a command."""

from __future__ import annotations

import codecs
import os
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from reconciler.registry import task

AT_ONCE = 64 * 1024
LOOK_EVERY = 0.2


class CommandFailedError(Exception):
    """The command could not be started, or ended with an exit code that was not expected."""


@task("shell.run")
def run(
    command: str | list[str],
    *,
    shell: bool = False,
    directory: Path | None = None,
    env: dict[str, str] | None = None,
    stdin: str | None = None,
    expect_exit: int | list[int] = 0,
) -> dict[str, int]:
    """Run `command`, its output in the log; fail unless it exits with `expect_exit`.

    A list is taken as it is. A text is split into words as a shell would, but no shell sees it: variables, pipes and
    wildcards mean nothing unless `shell: true`. `env` is added to the environment of the service. Others on the host
    can read a command line, so a secret belongs into `env` or `stdin`. What the command leaves in the background
    is not waited for.
    """
    arguments = _arguments(command, shell)
    with tempfile.TemporaryFile() as given, _started(arguments, shell, directory, env, stdin, given) as process:
        code = _followed(process)
    if code not in ([expect_exit] if isinstance(expect_exit, int) else expect_exit):
        raise CommandFailedError(f"{_shown(command)} {_ended(code)}")
    return {"exit_code": code}


def _arguments(command: str | list[str], shell: bool) -> str | list[str]:
    if shell:
        words: str | list[str] = command if isinstance(command, str) else shlex.join(command)
    else:
        words = shlex.split(command) if isinstance(command, str) else command
    if not words or (isinstance(words, str) and not words.strip()):
        raise ValueError("command is empty; name a program")
    return words


def _started(
    arguments: str | list[str],
    shell: bool,
    directory: Path | None,
    env: dict[str, str] | None,
    stdin: str | None,
    given: IO[bytes],
) -> subprocess.Popen[bytes]:
    if directory is not None and not directory.is_dir():
        raise CommandFailedError(f"directory {str(directory)!r} is not there")
    given.write((stdin or "").encode())
    given.seek(0)
    environment = {**os.environ, **(env or {})}
    try:
        return subprocess.Popen(
            arguments,
            shell=shell,
            cwd=directory,
            env=environment,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except FileNotFoundError:
        where = "there" if os.sep in arguments[0] else "on the PATH"
        raise CommandFailedError(f"program {arguments[0]!r} is not {where}") from None
    except OSError as error:
        # A directory on the PATH that may not be searched hides that the program is in none of them.
        if os.sep not in arguments[0] and shutil.which(arguments[0], path=environment.get("PATH")) is None:
            raise CommandFailedError(f"program {arguments[0]!r} is not on the PATH") from None
        raise CommandFailedError(f"{arguments[0]!r} cannot be started: {error.strerror}") from None


def _followed(process: subprocess.Popen[bytes]) -> int:
    """Print what the process says until it has ended; its exit code.

    Printed by us rather than by the process itself, so that secrets are masked wherever a task's output goes. A
    process that it left behind may hold the pipe open for ever, so the end of the output is not what counts.
    """
    assert process.stdout
    pipe, output = process.stdout.fileno(), _Lines()
    readable = select.poll()
    readable.register(pipe, select.POLLIN | select.POLLHUP)
    while True:
        code = process.poll()
        while readable.poll(0 if code is not None else LOOK_EVERY * 1000):
            chunk = os.read(pipe, AT_ONCE)
            if not chunk:
                output.write(b"", is_last=True)
                return process.wait()
            output.write(chunk)
        if code is not None:
            output.write(b"", is_last=True)
            return code


class _Lines:
    """Bytes onto standard output as whole lines: half a secret could not be masked."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def write(self, chunk: bytes, *, is_last: bool = False) -> None:
        text = self._rest + self._decoder.decode(chunk, is_last)
        end = len(text) if is_last or len(text) > AT_ONCE else text.rfind("\n") + 1
        self._rest = text[end:]
        sys.stdout.write(text[:end])
        sys.stdout.flush()


def _shown(command: str | list[str]) -> str:
    text = command if isinstance(command, str) else shlex.join(command)
    return repr(text if len(text) <= 200 else text[:199] + "…")


def _ended(code: int) -> str:
    return f"exited with {code}" if code >= 0 else f"was killed by signal {-code}"

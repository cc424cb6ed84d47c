"""Starting one child process, talking to it, and being sure of its end and of the end of all that it started."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from reconciler.children.frames import Channel
from reconciler.children.warden import end_strays
from reconciler.errors import ReconcilerError
from reconciler.registry.references import Mask

POLL = 0.05
STOP_WITHIN = 0.05
CUT_OFF_AFTER = 0.2
CUT_OFF = "had broken the line to the runner and was killed"
# Not `RECONCILER_…`, which are settings: a task may run this program. Each child has its own value.
MARK = "_RECONCILER_CHILD"
log = logging.getLogger(__name__)
# A thread of its own: those of the event loop may all be waiting for a name server.
_ENDING = ThreadPoolExecutor(1, "strays")


@dataclass(frozen=True)
class Setting:
    """What every child of a generation is started with. `skip`: modules that end a process when imported."""

    directory: Path
    modules: tuple[str, ...]
    environ: Mapping[str, str]
    cancel_grace: float
    skip: Mapping[str, str]

    @cached_property
    def mask(self) -> Mask:
        """What is a secret in the output of every task."""
        return Mask.of_stores(self.environ)


class Warden:
    """The process that kills the children, with all that they started, should this process be gone."""

    def __init__(self) -> None:
        self._groups: dict[int, str] = {}
        self._is_closed = self._is_missing = False
        self._process = self._started()

    def add(self, group: int, mark: str) -> None:
        self._groups[group] = mark
        self._tell(f"+{group} {mark}\n")

    def remove(self, group: int) -> None:
        self._groups.pop(group, None)
        self._tell(f"-{group}\n")

    def close(self) -> None:
        self._is_closed = True
        self._hang_up()

    def _hang_up(self) -> None:
        with suppress(OSError):
            self._input.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def _input(self) -> IO[bytes]:
        assert self._process.stdin
        return self._process.stdin

    def _tell(self, line: str) -> None:
        if self._is_closed:  # a process whose end was long in coming, after the stop
            return
        try:
            self._input.write(line.encode())
        except (OSError, ValueError):  # somebody killed it, and there may have been no room for another until now
            self._renew()

    def _renew(self) -> None:
        self._hang_up()
        try:
            self._process = self._started()
            self._input.write("".join(f"+{group} {mark}\n" for group, mark in self._groups.items()).encode())
            self._is_missing = False
        except OSError as error:
            if not self._is_missing:
                log.error("what ends runs should this process be killed cannot be started: %s: tried again", error)
            self._is_missing = True

    @staticmethod
    def _started() -> subprocess.Popen[bytes]:
        path = Path(__file__).with_name("warden.py")
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(path)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env={},
        )


class Process:
    """A child, leader of its own session and process group. `on_exit` hears once how it ended: "was killed by…"."""

    def __init__(
        self,
        arguments: Sequence[str | int],
        setting: Setting,
        warden: Warden,
        *,
        fds: Sequence[int],
        stdout: int,
        stderr: int | None,
        on_message: Callable[[list[Any]], None],
        on_exit: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._warden, self._on_exit = warden, on_exit
        value = os.urandom(16).hex()
        self._mark = f"{MARK}={value}"
        self._popen, ours = _popen(arguments, setting, {**setting.environ, MARK: value}, fds, stdout, stderr)
        self.pid = self._popen.pid
        self.is_running = True
        warden.add(self.pid, self._mark)
        self._is_cut_off = False
        self._channel = Channel(self._loop, ours, on_message, self._line_ended)
        self._watch_exit()
        self.send(
            [
                "start",
                {
                    "directory": str(setting.directory),
                    "modules": setting.modules,
                    "skip": dict(setting.skip),
                },
            ]
        )

    def send(self, message: list[Any]) -> None:
        self._channel.send(message)

    def kill(self) -> None:
        """The whole process group, at once; what has left it when the child has ended, and `on_exit` follows."""
        if self.is_running:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def freeze(self) -> bool:
        """Whether the process now stands still until `thaw`."""
        os.kill(self.pid, signal.SIGSTOP)
        until = time.monotonic() + STOP_WITHIN
        while time.monotonic() < until:
            if os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT | os.WNOHANG):
                return True
            time.sleep(0.0005)
        return False

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _line_ended(self) -> None:
        """It is ending; or a task has closed or garbled the line, and then nothing can come of it any more."""
        self._loop.call_later(CUT_OFF_AFTER, self._cut_off)

    def _cut_off(self) -> None:
        self._is_cut_off = self.is_running
        self.kill()

    def _watch_exit(self) -> None:
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # another system, or no file descriptor is left
            self._poll()
        else:
            self._loop.add_reader(self._pidfd, self._pidfd_readable)

    def _pidfd_readable(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._exited()

    def _poll(self) -> None:
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
            self._exited()
        else:
            self._loop.call_later(POLL, self._poll)

    def _exited(self) -> None:
        # What it said before its end counts. And as long as it is not reaped, nobody else can have its number.
        self._channel.drain()
        self._channel.close()
        self.kill()
        self.is_running = False
        marks = [self._mark.encode()]
        try:
            self._loop.run_in_executor(_ENDING, end_strays, marks).add_done_callback(self._all_ended)
        except RuntimeError:  # the machine has no thread left for us
            end_strays(marks)
            self._all_ended()

    def _all_ended(self, _: asyncio.Future[None] | None = None) -> None:
        code = self._popen.wait()
        self._warden.remove(self.pid)
        self._on_exit(CUT_OFF if self._is_cut_off else how_it_ended(code))


def how_it_ended(code: int) -> str:
    """`ended with exit code 3`, `was killed by signal 11 (SIGSEGV)`."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = "; perhaps the memory ran out" if -code == signal.SIGKILL else ""
    return f"was killed by signal {-code} ({name}){hint}"


def not_started(setting: Setting, error: Exception) -> str:
    """Why there is no process for tasks, in a line."""
    if isinstance(error, ReconcilerError):
        return str(error)
    return f"{setting.directory}: cannot start a process for tasks: {error}"


def did_not_stop(what: str) -> str:
    return f"{what}; it did not stop and its process was killed"


def _popen(
    arguments: Sequence[str | int],
    setting: Setting,
    environ: Mapping[str, str],
    fds: Sequence[int],
    stdout: int,
    stderr: int | None,
) -> tuple[subprocess.Popen[bytes], Any]:
    import socket

    ours, theirs = socket.socketpair()
    kind, *rest = arguments
    control = theirs.fileno()
    try:
        # -P: a directory called `reconciler` where the user works must not be taken for this package.
        popen = subprocess.Popen(
            [sys.executable, "-P", "-m", "reconciler.children.child", *map(str, (kind, control, *rest, os.getpid()))],
            pass_fds=(control, *fds),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            cwd=setting.directory,
            env=environ,
        )
    except OSError as error:
        ours.close()
        raise ReconcilerError(not_started(setting, error)) from error
    finally:
        theirs.close()
    return popen, ours

"""One process's share in one server: held from when it is needed until it is not, or until the process dies."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import reconciler
from reconciler.embedded.locks import PAUSE, Lock, is_locked
from reconciler.embedded.servers import Server, command_of
from reconciler.errors import ReconcilerError

READY_WITHIN = 90.0
GONE_WITHIN = 10.0
# Where reconciler itself is goes last: what lies beside it must not stand in for a standard module.
PROGRAM = "import sys; sys.path.append(sys.argv[2]); from reconciler.embedded.supervisor import main; main()"


class Use:
    """`program` finds the server's executable; it is asked only when the server has to be started."""

    def __init__(self, server: Server, program: Callable[[], Path]) -> None:
        self.server = server
        self.program = program
        self.share: Lock | None = None
        self.answers = -1
        self.ending = 0

    def begin(self) -> None:
        """Have the server started if it is not there; `settle` waits for it."""
        self.share = self._take_share()
        if not self.is_served():
            self._summon()

    def settle(self) -> None:
        """Until the server works. ReconcilerError when it cannot be started."""
        until = time.monotonic() + READY_WITHIN
        while not self.is_served():
            if self.answers < 0:
                self._summon()
            self._heed(self._answer())
            if self.share is None or not self.share.is_current():
                self.release()
                self.share = self._take_share()
            if time.monotonic() > until:
                raise ReconcilerError(
                    f"{self.server.name}: not ready after {READY_WITHIN:.0f} s: see {self.server.log}"
                )
        self._close_answers()

    def is_served(self) -> bool:
        """Whether the server answers and somebody looks after it."""
        return is_locked(self.server.supervisor_lock) and self.server.is_ready()

    def resummon(self) -> None:
        """Start another supervisor where one was killed, and wait for nothing."""
        if self.share and self.share.is_current() and not is_locked(self.server.supervisor_lock):
            self._summon()
            self._close_answers()

    def release(self) -> None:
        """End the share. The server goes on for others, and for a moment for whoever comes next."""
        self._close_answers()
        if self.share:
            # Nobody is left to remove the file where the server never started.
            if not is_locked(self.server.supervisor_lock) and self.share.become_exclusive():
                self.share.remove()
            self.share.release()
            self.share = None

    def ask_for_end(self) -> None:
        """If nobody else has a share, have the server stopped; `await_end` waits for it and ends the share."""
        supervisor = self._supervisor() if self.share else None
        if self.share and supervisor and self.share.is_current() and self.share.become_exclusive():
            # Exclusive until all is gone, so that nobody comes in between and finds a server that is stopping.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(supervisor, signal.SIGUSR1)
                self.ending = supervisor

    def await_end(self) -> None:
        """Until nothing is left of the server that was asked to end."""
        until = time.monotonic() + GONE_WITHIN
        while self.ending and is_locked(self.server.supervisor_lock) and time.monotonic() < until:
            time.sleep(PAUSE)
        # The lock goes a moment before the process does.
        while self.ending and command_of(self.ending) and time.monotonic() < until:
            time.sleep(PAUSE)
        self.release()

    def _take_share(self) -> Lock:
        share = Lock.take(self.server.users_lock, exclusive=False, wait=GONE_WITHIN)
        if share is None:
            raise ReconcilerError(
                f"{self.server.name}: still stopping after {GONE_WITHIN:.0f} s: see {self.server.log}"
            )
        return share

    def _summon(self) -> None:
        """Start the supervisor, unless there is one. It inherits the lock that makes it the only one."""
        lock = Lock.take(self.server.supervisor_lock, exclusive=True)
        if lock is None:
            return
        reads, writes = os.pipe()
        try:
            order = {
                "server": self.server.name,
                "root": str(self.server.root),
                "program": str(self.program()),
                "lock": lock.descriptor,
            }
            place = str(Path(reconciler.__file__).parents[1])
            # A task may start servers that others share: what marks its own processes must not mark them.
            environment = {name: text for name, text in os.environ.items() if not name.startswith("_RECONCILER_")}
            with (self.server.log.parent / "supervisor.log").open("ab") as log:
                subprocess.run(
                    [sys.executable, "-I", "-S", "-c", PROGRAM, json.dumps(order), place],
                    stdin=subprocess.DEVNULL,
                    stdout=writes,
                    stderr=log,
                    cwd="/",
                    env=environment,
                    pass_fds=(lock.descriptor,),
                    # Away from this terminal and process group: Ctrl-C is for us, not for the servers.
                    start_new_session=True,
                    check=False,
                )
        except BaseException:
            os.close(reads)
            lock.remove()
            raise
        finally:
            os.close(writes)
            lock.release()
        self.answers = reads

    def _answer(self) -> str | None:
        """The supervisor's line, '' when it ended without one, None while there is none."""
        if self.answers < 0:
            time.sleep(PAUSE)
            return None
        if not select.select([self.answers], [], [], 0.02)[0]:
            return None
        line = os.fsdecode(os.read(self.answers, 8192)).strip()
        self._close_answers()
        return line

    def _heed(self, line: str | None) -> None:
        if line is not None and line.startswith("failed "):
            raise ReconcilerError(line.removeprefix("failed "))
        if line == "":
            log = self.server.log.parent / "supervisor.log"
            raise ReconcilerError(f"{self.server.name}: its supervisor ended: try again, or see {log}")

    def _close_answers(self) -> None:
        if self.answers >= 0:
            os.close(self.answers)
            self.answers = -1

    def _supervisor(self) -> int | None:
        """Its process id, which a new one writes down within moments; None when there is none."""
        until = time.monotonic() + GONE_WITHIN
        while is_locked(self.server.supervisor_lock) and time.monotonic() < until:
            with contextlib.suppress(OSError, ValueError):
                return int(self.server.supervisor_lock.read_text())
            time.sleep(PAUSE)
        return None

"""How a server is made ready, started, restarted after a crash, and stopped; used by its supervisor alone."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from reconciler.embedded.servers import MAJOR, PostgreSQL, Redis, Server, connects
from reconciler.embedded.unprivileged import Account, account_for, become, die_with
from reconciler.embedded.words import OWN_SERVERS, in_words

START_WITHIN = 60.0
STOP_WITHIN = 3.0
ORPHAN_WITHIN = 15.0
STEADY = 10.0
LOG_LIMIT = 1 << 20
# An empty database takes about this much.
SMALLEST_DISK = 64 << 20
# Processes of a killed PostgreSQL need a moment to notice, and hold its memory until then.
PASSING = ("still in use", "Is another postmaster", "Is another postgres")
COMPLAINTS = ("FATAL", "PANIC", "error:", "# ")
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "HOME", "USER", "TMPDIR")


class StartError(Exception):
    """The server cannot run here; the text is one line for the person who asked for it."""


class Launcher:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.process: subprocess.Popen[bytes] | None = None
        self.account: Account | None = None
        self.log_start = 0
        self.started_at = 0.0
        self.retry_at = 0.0
        self.pause = 0.1

    def prepare(self) -> None:
        """Directories, a data directory, and no leftovers of a killed supervisor. StartError, with the reason."""
        _turn_over(self.server.log)
        self.log_start = self.server.log.stat().st_size if self.server.log.exists() else 0
        try:
            data = self.server.data if isinstance(self.server, PostgreSQL) else self.server.run
            self.account = account_for(data, self.server.run)
        except LookupError as error:
            raise StartError(f"{self.server.name}: {error}: create one, or set RECONCILER_DATABASE_URL") from None
        self._hand_over(self.server.run)
        if isinstance(self.server, PostgreSQL):
            self._end_orphan(self.server)
            # PostgreSQL would believe the id in its socket's lock file too.
            self._forget_socket()
            self._prepare_data(self.server)
        if isinstance(self.server, Redis):
            _wait_for(lambda: not connects(self.server.socket, b"SHUTDOWN NOSAVE\r\n"), ORPHAN_WITHIN)

    def start(self) -> None:
        """The server, answering. StartError when it ends before that, or takes too long."""
        until = time.monotonic() + START_WITHIN
        self._launch()
        while not self.server.is_ready():
            if not self.is_running:
                last = self._last_line()
                if not any(text in last for text in PASSING) or time.monotonic() > until:
                    raise StartError(self._failure(last))
                time.sleep(0.1)
                self._launch()
            if time.monotonic() > until:
                self.stop()
                raise StartError(self._failure(f"did not answer within {START_WITHIN:.0f} s"))
            time.sleep(0.01)

    def revive(self) -> None:
        """Start it again if it ended by itself; later and later if it keeps doing so."""
        now = time.monotonic()
        if self.is_running:
            self.pause = 0.1 if now - self.started_at > STEADY else self.pause
            return
        if not self.retry_at:
            self.retry_at = now + (self.pause if now - self.started_at < STEADY else 0.0)
            self.pause = min(self.pause * 2, 5.0)
        if now >= self.retry_at:
            self.retry_at = 0.0
            self._launch()

    def stop(self, *, is_quick: bool = False) -> None:
        """The server's own clean end, harder when it takes too long; `is_quick`: without saving anything."""
        if self.process is None:
            return
        clean = () if is_quick else (self.server.stop_signal,)
        for number in (*clean, self.server.abort_signal, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_WITHIN)
                break
        if not is_quick:
            self._forget_socket()

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _launch(self) -> None:
        self.started_at = time.monotonic()
        with self.server.log.open("ab") as log:
            self.process = self._popen(self.server.command, self.server.orphan_signal, log=log.fileno())

    def _popen(
        self, command: list[str], orphan_signal: signal.Signals, *, log: int, reads: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        parent = os.getpid()

        def in_child() -> None:
            if self.account:
                become(self.account)
            # A change of account clears it, so it comes last.
            die_with(parent, orphan_signal)

        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ} | {"LC_ALL": "C"}
        try:
            # One thread runs here, so that Python code between fork and exec is safe.
            return subprocess.Popen(
                command, cwd=self.server.run, stdin=reads, stdout=log, stderr=log, env=environment, preexec_fn=in_child
            )
        except PermissionError:
            raise StartError(self._out_of_reach(Path(command[0]))) from None
        except subprocess.SubprocessError:
            raise StartError(
                f"{self.server.name}: this root may not become user id {self.account.uid if self.account else 0}: "
                f"run as a plain user, or {OWN_SERVERS}"
            ) from None

    def _out_of_reach(self, path: Path) -> str:
        return (
            f"{path}: user id {self.account.uid if self.account else os.geteuid()}, which {self.server.name} runs "
            "as, cannot reach it: have every directory above passable for all (chmod o+x), run as a plain user, "
            f"or {OWN_SERVERS}"
        )

    def _hand_over(self, directory: Path) -> None:
        """Give a directory to the server's account, unless that passes directories of root anyway."""
        if self.account and not self.account.keeps_reach:
            os.chown(directory, self.account.uid, self.account.gid)

    def _forget_socket(self) -> None:
        """What a killed server did not remove itself."""
        for name in (self.server.socket.name, f"{self.server.socket.name}.lock"):
            with contextlib.suppress(OSError):
                (self.server.run / name).unlink(missing_ok=True)

    def _end_orphan(self, server: PostgreSQL) -> None:
        """Stop a server that a killed supervisor left, and forget an id that is another program's by now."""
        until = time.monotonic() + ORPHAN_WITHIN
        while (pid := server.recorded_pid()) is not None and server.is_ours(pid):
            late = time.monotonic() > until
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, server.abort_signal if late else server.stop_signal)
            _wait_for(lambda: server.recorded_pid() is None, 1.0)
        # PostgreSQL only looks whether the id is alive, and would take any program for itself. An id that is
        # dead stays: what it says about shared memory keeps PostgreSQL from starting beside its own remains.
        if pid is not None:
            (server.data / "postmaster.pid").unlink(missing_ok=True)

    def _prepare_data(self, server: PostgreSQL) -> None:
        server.home.mkdir(mode=0o700, exist_ok=True)
        self._hand_over(server.home)
        for leftover in server.home.glob("new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        if not server.data.exists():
            self._make_data(server)
        try:
            found = (server.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            raise StartError(f"{server.data}: not a PostgreSQL data directory: move it away") from None
        if found != str(MAJOR):
            raise StartError(
                f"{server.data}: written by PostgreSQL {found}, and this is {MAJOR}: dump it with {found} and load it "
                "here, or move it away to start empty"
            )

    def _make_data(self, server: PostgreSQL) -> None:
        """Whole or not at all: made under another name, and renamed when complete."""
        new = Path(tempfile.mkdtemp(prefix="new-", dir=server.home))
        if self.account:
            os.chown(new, self.account.uid, self.account.gid)
        self._run(server.initdb(new), b"")
        self._run(server.single(new), b"create database reconciler\n")
        new.rename(server.data)

    def _run(self, command: list[str], text: bytes) -> None:
        reads, writes = os.pipe()
        os.write(writes, text)
        os.close(writes)
        try:
            with self.server.log.open("ab") as log:
                process = self._popen(command, signal.SIGKILL, log=log.fileno(), reads=reads)
        finally:
            os.close(reads)
        if process.wait():
            raise StartError(self._failure(self._last_line()))

    def _last_line(self) -> str:
        """What this start said last: its last complaint, else its last line."""
        with self.server.log.open("rb") as log:
            log.seek(max(self.log_start, self.server.log.stat().st_size - 8192))
            lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        complaints = [line for line in lines if any(word in line for word in COMPLAINTS)]
        return (complaints or lines or ["it said nothing"])[-1].rstrip(".")

    def _failure(self, last: str) -> str:
        if os.strerror(errno.EACCES) in last and self.account and not self.account.keeps_reach:
            return self._out_of_reach(self.server.root)
        # Its log is on the same disk and may lack the reason.
        if os.strerror(errno.ENOSPC) in last or shutil.disk_usage(self.server.root).free < SMALLEST_DISK:
            return in_words(OSError(errno.ENOSPC, "", str(self.server.root)), self.server.root)
        return f"{self.server.name}: cannot start: {last}: see {self.server.log}"


def _wait_for(condition: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)


def _turn_over(log: Path) -> None:
    """Keep one earlier log once it has grown; a log that nobody reads must not fill the disk."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))

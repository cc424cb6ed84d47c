"""What a PostgreSQL and a Redis are under `.reconciler/`: their files, their commands, when they are ready.

Starts nothing and stops nothing.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

MAJOR = 18
DURABLE = ("fsync=on", "full_page_writes=on", "synchronous_commit=on")
LOCALE = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")


@dataclass(frozen=True)
class Server:
    """One server of a directory. `program` is its executable, or None where it only has to be reached."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    abort_signal: ClassVar[signal.Signals]
    # What a server gets when its supervisor is killed.
    orphan_signal: ClassVar[signal.Signals]

    root: Path
    program: Path | None = None

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def log(self) -> Path:
        return self.root / "log" / f"{self.name}.log"

    @property
    def users_lock(self) -> Path:
        """Shared by every user for as long as it uses the server."""
        return self.run / f"{self.name}.users"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the one supervisor, for its life; holds its process id."""
        return self.run / f"{self.name}.lock"

    @property
    def socket(self) -> Path:
        raise NotImplementedError

    @property
    def url(self) -> str:
        raise NotImplementedError

    @property
    def command(self) -> list[str]:
        """Run in `run`, in the foreground."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether a client can work with it now."""
        return connects(self.socket)


@dataclass(frozen=True)
class PostgreSQL(Server):
    name = "postgresql"
    stop_signal = signal.SIGINT
    abort_signal = signal.SIGQUIT
    orphan_signal = signal.SIGINT

    @property
    def home(self) -> Path:
        """Around the data directory, so that one can be made beside it and moved into place whole."""
        return self.root / "postgresql"

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def socket(self) -> Path:
        return self.run / ".s.PGSQL.5432"

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/reconciler?host={quote(os.fsencode(self.run), safe='')}"

    @property
    def command(self) -> list[str]:
        directories = str(self.run).replace('"', '""')
        settings = (
            "listen_addresses=",
            f'unix_socket_directories="{directories}"',
            "log_checkpoints=off",
            *DURABLE,
        )
        flags = [flag for setting in settings for flag in ("-c", setting)]
        return [str(self.program), "-D", str(self.data), *flags]

    def initdb(self, new: Path) -> list[str]:
        assert self.program is not None
        binary = self.program.parent / "initdb"
        return [str(binary), "-D", str(new), "-U", "postgres", "-A", "trust", "--no-instructions", *LOCALE]

    def single(self, new: Path) -> list[str]:
        """Reads statements for a data directory that no server runs on."""
        return [str(self.program), "--single", "-D", str(new), "-c", "exit_on_error=on", "postgres"]

    def is_ready(self) -> bool:
        # The socket is there before recovery is over; the pid file's last line tells them apart.
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready" and super().is_ready()

    def recorded_pid(self) -> int | None:
        """The living process that the data directory is locked by, or was before its id was given away again."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
            os.kill(pid, 0)
        except PermissionError:
            return pid
        except (OSError, ValueError, IndexError):
            return None
        return pid

    def is_ours(self, pid: int) -> bool:
        """Whether that process is a PostgreSQL on these data."""
        command = command_of(pid)
        return b"postgres" in command and os.fsencode(self.data) in command


@dataclass(frozen=True)
class Redis(Server):
    name = "redis"
    stop_signal = signal.SIGTERM
    abort_signal = signal.SIGKILL
    # It has nothing to save, and a late ordinary end would remove the socket of the next one.
    orphan_signal = signal.SIGKILL

    @property
    def socket(self) -> Path:
        return self.run / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{quote(os.fsencode(self.socket))}"

    @property
    def command(self) -> list[str]:
        # The socket relative to the working directory: no character of the path can break redis's parsing.
        flags = {"--port": "0", "--unixsocket": self.socket.name, "--save": "", "--appendonly": "no"}
        flags |= {"--maxmemory-policy": "noeviction", "--daemonize": "no", "--always-show-logo": "no"}
        return [str(self.program), *(word for flag in flags.items() for word in flag)]


SERVERS: dict[str, type[PostgreSQL] | type[Redis]] = {"postgresql": PostgreSQL, "redis": Redis}


def connects(path: Path, message: bytes = b"") -> bool:
    """Whether somebody listens on the socket; `message` is sent to whoever does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(2.0)
        try:
            client.connect(os.fsencode(path))
            client.sendall(message)
        except OSError:
            return False
    return True


def command_of(pid: int) -> bytes:
    """The command line of a process, nothing when there is none. `ps` is for systems without /proc."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        if Path("/proc/self").exists():
            return b""
    found = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)
    return found.stdout

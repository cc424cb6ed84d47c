"""A PostgreSQL and a Redis of a test's own, which it may stop, kill, starve and set back.

Both listen on a socket in a directory with a short path, so no port can be taken. They end with the process that
started them.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import psycopg
import redis

from faultkit.waiting import rows, until
from reconciler.db import schema
from reconciler.embedded.binaries import postgresql_bin, redis_server
from reconciler.embedded.unprivileged import account_for

START_WITHIN = 60.0
LOCALE = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
# Turns into the account that the server runs under, with its limits, and into the server.
BECOME = """
import json, os, resource, signal, sys
from reconciler.embedded.unprivileged import Account, become, die_with
parent, account, limits, command = json.loads(sys.argv[1])
if account:
    become(Account(*account))
die_with(parent, signal.SIGQUIT)
for number, limit in limits:
    resource.setrlimit(number, (limit, resource.getrlimit(number)[1]))
os.execv(command[0], command)
"""
T = TypeVar("T", bound="_Server")


class _Server:
    """A server process of ours, its log, and the signals it gets."""

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        limits: Mapping[int, int] | None = None,
    ) -> None:
        """`limits`: soft limits of its processes, by the numbers in `resource`."""
        self.directory = directory
        self.settings = dict(settings or {})
        self.environment = dict(environment or {})
        self.limits = dict(limits or {})
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self: T) -> T:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        raise NotImplementedError

    def pids(self) -> list[int]:
        """The server's process and all that it started."""
        found, new = [self.pid], [self.pid]
        while new:
            new = [child for parent in new for child in _children(parent)]
            found += new
        return found

    def kill(self) -> None:
        """kill -9, of all of it."""
        if self.is_running:
            _signal(self.pids(), signal.SIGKILL)
            self._wait()

    def suspend(self) -> None:
        """SIGSTOP: it answers nobody, and its connections stay."""
        _signal(self.pids(), signal.SIGSTOP)

    def resume(self) -> None:
        if self.is_running:
            _signal(self.pids(), signal.SIGCONT)

    def _launch(self, command: list[str], log: Path, account: tuple[int, int, bool] | None) -> None:
        order = json.dumps([os.getpid(), account, list(self.limits.items()), command])
        environment = {name: text for name, text in os.environ.items() if not name.startswith("RECONCILER_")}
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", BECOME, order],
                cwd=self.directory,
                env={**environment, "LC_ALL": "C", **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def _wait(self, seconds: float = 20) -> None:
        assert self.process is not None
        self.process.wait(seconds)

    def _refuse_dead(self, log: Path) -> None:
        if not self.is_running:
            raise RuntimeError(f"the server ended: {log.read_text(errors='replace')[-2000:]}")


class PostgreSQLServer(_Server):
    """PostgreSQL 18; as root it runs under another account, as the embedded one does."""

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> Path:
        return self.directory / "postgresql.log"

    @property
    def socket(self) -> Path:
        return self.directory / ".s.PGSQL.5432"

    def start(self) -> None:
        """Answering when this returns."""
        self._own()
        if not self.data.exists():
            self._make_data()
        settings = {"listen_addresses": "", "unix_socket_directories": str(self.directory), **DURABLE, **self.settings}
        flags = [word for key, text in settings.items() for word in ("-c", f"{key}={text}")]
        self._launch([str(postgresql_bin() / "postgres"), "-D", str(self.data), *flags], self.log, self._account())
        until(self._answers, START_WITHIN, f"PostgreSQL answers: {self.log.read_text(errors='replace')[-500:]}")

    def stop(self, mode: str = "fast") -> None:
        """Its own end: smart waits for clients, fast hangs up on them, immediate writes nothing more."""
        numbers = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
        if self.is_running:
            self.resume()
            os.kill(self.pid, numbers[mode])
            self._wait()

    def restart(self, mode: str = "fast") -> None:
        self.kill() if mode == "kill" else self.stop(mode)
        self.start()

    def configure(self, *, restart: bool = False, **settings: str | None) -> None:
        """Change settings for good (None: back to the default), by a reload or a restart."""
        for key, text in settings.items():
            to = "reset" if text is None else "set"
            rest = "" if text is None else f" = '{text}'"
            self.execute("postgres", f"alter system {to} {key}{rest}")
        self.restart() if restart else self.execute("postgres", "select pg_reload_conf()")

    def url(self, name: str = "postgres") -> str:
        return f"postgresql://postgres@/{name}?host={quote(str(self.directory), safe='')}"

    def database(self) -> str:
        """The URL of a new, migrated, empty database."""
        if not self.execute("postgres", "select 1 from pg_database where datname = 'migrated'"):
            self.execute("postgres", "create database migrated")
            schema.upgrade(self.url("migrated"))
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.execute("postgres", f"create database {name} template migrated")
        return self.url(name)

    def execute(self, place: str, statement: str, params: Any = None) -> list[tuple[Any, ...]]:
        """The rows of one statement, past any proxy; `place` is a database's name or URL."""
        return rows(place if "://" in place else self.url(place), statement, params)

    def terminate(self, place: str) -> int:
        """Hang up on every client of a database; returns how many there were."""
        return len(
            self.execute(
                place,
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()",
            )
        )

    def _answers(self) -> bool:
        self._refuse_dead(self.log)
        with suppress(psycopg.OperationalError):
            return bool(self.execute("postgres", "select 1"))
        return False

    def _account(self) -> tuple[int, int, bool] | None:
        found = account_for(self.data, self.directory)
        return (found.uid, found.gid, found.keeps_reach) if found else None

    def _own(self) -> None:
        """Leftovers of a killed server go, and the directory is the account's where that has no other way in."""
        self.log.touch()
        for name in (self.socket.name, f"{self.socket.name}.lock"):
            (self.directory / name).unlink(missing_ok=True)
        account = self._account()
        if account and not account[2]:
            os.chown(self.directory, account[0], account[1])

    def _make_data(self) -> None:
        self.data.mkdir(mode=0o700)
        if account := self._account():
            os.chown(self.data, account[0], account[1])
        command = [str(postgresql_bin() / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust"]
        limits, self.limits = self.limits, {}
        self._launch([*command, "--no-instructions", "--no-sync", *LOCALE], self.log, self._account())
        self.limits = limits
        self._wait(START_WITHIN)
        assert self.process is not None
        if self.process.returncode:
            raise RuntimeError(f"initdb failed: {self.log.read_text(errors='replace')[-2000:]}")


class RedisServer(_Server):
    """Redis; what it is told to keep it keeps in its directory."""

    @property
    def log(self) -> Path:
        return self.directory / "redis.log"

    @property
    def socket(self) -> Path:
        return self.directory / "redis.sock"

    @property
    def dump(self) -> Path:
        return self.directory / "dump.rdb"

    @property
    def url(self) -> str:
        password = self.settings.get("requirepass")
        return f"unix://{f':{quote(password)}@' if password else ''}{self.socket}"

    def start(self) -> None:
        """Answering when this returns."""
        settings = {"port": "0", "unixsocket": self.socket.name, "save": "", "appendonly": "no", "daemonize": "no"}
        settings |= {"maxmemory-policy": "noeviction", **self.settings}
        flags = [word for key, text in settings.items() for word in (f"--{key}", text)]
        self.socket.unlink(missing_ok=True)
        self._launch([str(redis_server()), *flags], self.log, None)
        until(self._answers, START_WITHIN, "Redis answers")

    def stop(self, *, save: bool = False) -> None:
        if self.is_running:
            self.resume()
            with suppress(redis.ConnectionError):
                self.command("shutdown", "save" if save else "nosave")
            self._wait()

    def restart(self, *, empty: bool = True) -> None:
        """With nothing, or with what it holds now."""
        self.stop(save=not empty)
        if empty:
            self.dump.unlink(missing_ok=True)
        self.start()

    def snapshot(self) -> bytes:
        """All that it holds now, for `restore`."""
        self.command("save")
        return self.dump.read_bytes()

    def restore(self, snapshot: bytes) -> None:
        """Killed, and started anew with what it held then."""
        self.kill()
        self.dump.write_bytes(snapshot)
        self.start()

    def configure(self, **settings: str) -> None:
        """CONFIG SET; an underscore stands for a hyphen."""
        for key, text in settings.items():
            self.command("config", "set", key.replace("_", "-"), text)

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, decode_responses=True)

    def command(self, *words: str) -> Any:
        """The answer to one command."""
        with self.client() as client:
            return client.execute_command(*words)

    def _answers(self) -> bool:
        self._refuse_dead(self.log)
        with suppress(redis.ConnectionError):
            return bool(self.command("ping"))
        return False


def can_mount() -> bool:
    """Whether this process may mount a small file system for a test."""
    return os.geteuid() == 0 and shutil.which("mount") is not None


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in glob.glob(f"/proc/{pid}/task/*/children"):  # noqa: PTH207 (a process may end meanwhile)
        with suppress(OSError):
            found += [int(word) for word in Path(path).read_text().split()]
    return found


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

"""The program as a user runs it: a project directory, and real processes in it against given stores."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import yaml

from faultkit.journal import Journal, source
from faultkit.waiting import EVERY

SETTINGS = """redis_prefix = "{prefix}"
[runner]
lease = "{lease}"
worker_processes = 2
{runner}
[api]
enabled = false
"""


class Process:
    """A running command, and what it said so far."""

    def __init__(self, popen: subprocess.Popen[bytes], log: Path) -> None:
        self._popen, self._log = popen, log

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def text(self) -> str:
        """Standard output and error, from the beginning."""
        return self._log.read_text(errors="replace")

    @property
    def is_alive(self) -> bool:
        return self._popen.poll() is None

    def mark(self) -> int:
        """Where it is now, for `since`."""
        return len(self.text)

    def says(self, pattern: str, seconds: float = 20, since: int = 0) -> re.Match[str]:
        """Wait until it says something that matches."""
        end = time.monotonic() + seconds
        while True:
            if found := re.search(pattern, self.text[since:]):
                return found
            if time.monotonic() > end or not self.is_alive:
                raise AssertionError(f"it never said {pattern!r}:\n{self.text[since:][-3000:]}")
            time.sleep(EVERY)

    def kill(self) -> None:
        """kill -9, of this process alone: what becomes of its children is the program's affair."""
        self._popen.kill()
        self._popen.wait(10)

    def stop(self) -> None:
        """SIGSTOP."""
        self._popen.send_signal(signal.SIGSTOP)

    def cont(self) -> None:
        self._popen.send_signal(signal.SIGCONT)

    def terminate(self, seconds: float = 20) -> int:
        """SIGTERM; the exit code."""
        self._popen.send_signal(signal.SIGTERM)
        return self._popen.wait(seconds)

    def wait(self, seconds: float = 20) -> int:
        return self._popen.wait(seconds)

    def ask_to_end(self) -> None:
        """SIGTERM, without waiting."""
        self._popen.terminate()

    def end(self) -> None:
        """However it stands: gone, soon after it was asked to end."""
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(10)
        if self.is_alive:
            self.kill()


class Project:
    """A directory with specs, tasks and settings; what was started in it ends with it."""

    def __init__(
        self,
        directory: Path,
        database_url: str,
        redis_url: str,
        *,
        prefix: str = "",
        settings: str = "",
        runner: str = "",
        lease: str = "2s",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`runner` is more of `[runner]`, `settings` more tables of reconciler.toml."""
        self.directory, self.database_url, self.redis_url = directory, database_url, redis_url
        self.environment = dict(environment or {})
        self.prefix = prefix or f"fault:{uuid.uuid4().hex}:"
        self.journal = Journal(directory / "journal")
        self.processes: list[Process] = []
        for folder in ("specs", "tasks", "logs"):
            (directory / folder).mkdir(exist_ok=True)
        (directory / "tasks" / "__init__.py").touch()
        (directory / "tasks" / "j.py").write_text(source(self.journal.path))
        self.configure(settings, runner, lease)

    def __enter__(self) -> Project:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self.processes:
            if process.is_alive:
                process.cont()
                process.ask_to_end()
        for process in self.processes:
            process.end()

    def configure(self, settings: str = "", runner: str = "", lease: str = "2s") -> None:
        """Write reconciler.toml anew; the arguments are those of `Project`."""
        text = SETTINGS.format(prefix=self.prefix, runner=runner, lease=lease) + settings
        (self.directory / "reconciler.toml").write_text(text)

    def spec(self, name: str, text: str) -> None:
        """`specs/NAME.yaml`; the name is put before the text."""
        (self.directory / "specs" / f"{name}.yaml").write_text(f"name: {name}\n{text.strip()}\n")

    def run(
        self,
        *args: str,
        seconds: float = 60,
        database_url: str | None = None,
        redis_url: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """A command, until it ends."""
        return subprocess.run(
            self._command(args),
            cwd=self.directory,
            env=self.surroundings(database_url, redis_url, env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def apply(self, *more: str) -> None:
        done = self.run("apply", *more)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(
        self,
        *args: str,
        database_url: str | None = None,
        redis_url: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Process:
        """A command that goes on."""
        log = self.directory / "logs" / f"{len(self.processes)}-{args[0]}.log"
        with log.open("wb") as out:
            popen = subprocess.Popen(
                self._command(args),
                cwd=self.directory,
                env=self.surroundings(database_url, redis_url, env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        process = Process(popen, log)
        self.processes.append(process)
        return process

    def suspend_all(self) -> None:
        """Every spec is suspended, and that applied: nothing comes due any more, what waits is run."""
        for path in (self.directory / "specs").glob("*.yaml"):
            document = yaml.safe_load(path.read_text())
            path.write_text(yaml.safe_dump({**document, "suspend": True}))
        self.apply()

    @staticmethod
    def _command(args: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "reconciler", *args]

    def surroundings(
        self,
        database_url: str | None = None,
        redis_url: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """The environment of its commands."""
        outer = {name: text for name, text in os.environ.items() if not name.startswith("RECONCILER_")}
        urls = {
            "RECONCILER_DATABASE_URL": database_url or self.database_url,
            "RECONCILER_REDIS_URL": redis_url or self.redis_url,
        }
        return {**outer, **urls, "RECONCILER_API_PORT": "0", **self.environment, **(env or {})}

"""What a person would have in a small repository: some tasks, some specs; and the command to run on it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

DEADLINE = 60.0

TASKS = """
import asyncio
import time

from reconciler.registry import task


@task
def greet(name: str, times: int = 1) -> dict:
    for _ in range(times):
        print(f"hello {name}")
    return {"greeted": name}


@task
async def tick() -> None:
    await asyncio.sleep(0)


@task
def fail(why: str) -> None:
    print("about to fail")
    raise ValueError(why)


@task
def doze(seconds: float) -> None:
    time.sleep(seconds)
"""

SPECS = {
    "greet.yaml": 'task: greet\nschedule: "0 2 * * 1-5"\ntimezone: Europe/Berlin\nparams: {name: ana}\n',
    "often.yaml": 'task: tick\nschedule: "@every 1s"\n',
    "broken.yaml": "task: fail\nparams: {why: on purpose}\n",
}


@pytest.fixture
def stocked(project: Path) -> Path:
    """The project with three specs: `greet` on weekdays, `often` each second, `broken` only when triggered."""
    (project / "tasks" / "__init__.py").write_text(TASKS)
    for name, text in SPECS.items():
        (project / "specs" / name).write_text(text)
    return project


@dataclass
class Team:
    """A bare remote with settings, a task and specs in it; jobs that clone it, and a place from which it is followed.

    `remote` is a `Repository`: its `commit` writes specs, commits and pushes.
    """

    remote: Any
    place: Path
    run_cli: Callable[..., subprocess.CompletedProcess[str]]
    environment: Mapping[str, str]
    services: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def configure(self, place: Path, text: str) -> None:
        """Add to the settings of that place."""
        with (place / "reconciler.toml").open("a") as file:
            file.write(f"\n{text}\n")

    def follow(self, **more: Any) -> None:
        """Make the remote the source of the place from which it is followed."""
        lines = {"repo": self.remote.url, "allow_file": True, "interval": "1h"} | more
        text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in lines.items())
        self.configure(self.place, f"[[sources]]\n{text}")

    def clone(self, commit: str = "main", *, depth: int | None = None) -> Path:
        """What a job gets of the remote: its own clone, with that commit checked out."""
        directory = self.place / "elsewhere" / f"job{len(list((self.place / 'elsewhere').iterdir()))}"
        shallow = [f"--depth={depth}"] if depth else []
        self.remote.git("clone", "-q", *shallow, self.remote.url, str(directory), cwd=self.place)
        if commit != "main":
            self.remote.git("checkout", "-q", commit, cwd=directory)
        return directory

    def job(self, clone: Path, *line: str, **how: Any) -> subprocess.CompletedProcess[str]:
        """The command in a clone."""
        return self.run_cli(*line, cwd=clone, **how)

    def sync(self, *line: str, **how: Any) -> subprocess.CompletedProcess[str]:
        """One pass from the remote, which is followed."""
        return self.run_cli("sync", *line, **how)

    def begin(self, cwd: Path, *line: str) -> subprocess.Popen[str]:
        """The command in a clone, beside whatever else is done."""
        command = [sys.executable, "-m", "reconciler", *line]
        return subprocess.Popen(
            command, cwd=cwd, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def serve(self, *line: str, cwd: Path | None = None, **environment: str) -> Callable[[], str]:
        """A service there, from its first pass on; what it has said so far."""
        said = self.place / f".said{len(self.services)}"
        command = [sys.executable, "-m", "reconciler", "serve", "--no-api", *line]
        with said.open("wb") as file:
            service = subprocess.Popen(
                command,
                cwd=cwd or self.place,
                env={**self.environment, **environment},
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.services.append(service)
        self.until(lambda: "in force" in said.read_text() or service.poll() is not None, said.read_text)
        return said.read_text

    def until(self, condition: Callable[[], Any], what: Callable[[], str] = lambda: "") -> None:
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, what()
            time.sleep(0.05)

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """What somebody types in psql."""
        with psycopg.connect(self.environment["RECONCILER_DATABASE_URL"], autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @property
    def in_force(self) -> dict[str, str]:
        """The schedule of each task, as PostgreSQL has it."""
        return dict(self.ask("select name, spec -> 'schedule' ->> 0 from task_configs order by name"))

    @property
    def newest(self) -> dict[str, Any]:
        """The newest row of `syncs`."""
        rows: list[dict[str, Any]] = json.loads(self.run_cli("syncs", "-o", "json").stdout)["syncs"]
        return rows[0]


@pytest.fixture
def team(
    project: Path,
    repository: Any,
    run_cli: Callable[..., subprocess.CompletedProcess[str]],
    command_environment: dict[str, str],
) -> Iterator[Team]:
    """Before anything is committed; the task is `tick`, and the settings of all share their stores."""
    (project / "tasks" / "__init__.py").write_text(TASKS)
    (repository.tree / "tasks").mkdir()
    (repository.tree / "tasks" / "__init__.py").write_text(TASKS)
    (repository.tree / "reconciler.toml").write_text((project / "reconciler.toml").read_text())
    (repository.tree / ".gitignore").write_text(".reconciler/\n__pycache__/\nplan.json\nstate.json\n")
    found = Team(repository, project, run_cli, command_environment)
    yield found
    for service in found.services:
        with suppress(ProcessLookupError):
            os.killpg(service.pid, signal.SIGKILL)
        service.wait()

"""What really ran: tasks that write a line at their start and end, to a file that neither store can lose."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

SOURCE = """
import asyncio, json, os, time
from reconciler.registry import TaskContext, task

PATH = {path!r}

def note(ctx, what):
    line = {{"name": ctx.name, "scheduled_for": ctx.scheduled_for.isoformat(), "attempt": ctx.attempt,
            "token": ctx.token, "pid": os.getpid(), "what": what, "wall": time.time(), "monotonic": time.monotonic(),
            "trigger": ctx.trigger, "key": ctx.idempotency_key}}
    fd = os.open(PATH, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, (json.dumps(line) + "\\n").encode())
    os.close(fd)

@task("j.async")
async def run_async(ctx: TaskContext, seconds: float = 0) -> None:
    note(ctx, "start")
    await asyncio.sleep(seconds)
    note(ctx, "end")

@task("j.sync")
def run_sync(ctx: TaskContext, seconds: float = 0) -> None:
    note(ctx, "start")
    time.sleep(seconds)
    note(ctx, "end")

@task("j.fails")
async def fail(ctx: TaskContext) -> None:
    note(ctx, "start")
    raise ValueError("as always")

@task("j.flaky")
async def flaky(ctx: TaskContext, until: int = 2) -> int:
    note(ctx, "start")
    if ctx.attempt < until:
        raise ValueError(f"attempt {{ctx.attempt}}")
    note(ctx, "end")
    return ctx.attempt

@task("j.slow_at_first")
async def slow_at_first(ctx: TaskContext, seconds: float = 60) -> None:
    note(ctx, "start")
    if ctx.attempt == 1:
        await asyncio.sleep(seconds)
    note(ctx, "end")

@task("j.returns")
async def give(ctx: TaskContext, size: int = 10) -> str:
    note(ctx, "start")
    note(ctx, "end")
    return os.urandom(size).hex()[:size]
"""


def source(path: Path) -> str:
    """The text of a module whose tasks append to that file."""
    return SOURCE.format(path=str(path))


@dataclass(frozen=True, slots=True)
class Entry:
    """A start or an end of one attempt, as the task itself wrote it; `wall` is its host's clock."""

    name: str
    scheduled_for: datetime
    attempt: int
    token: str
    pid: int
    what: str
    wall: datetime
    monotonic: float
    trigger: str
    key: str

    @property
    def occurrence(self) -> tuple[str, datetime]:
        """What its rows are found by; for a rerun that is not the instant it is told."""
        name, _, instant = self.key.rpartition("@")
        return name, datetime.fromisoformat(instant).astimezone(UTC)


class Journal:
    """The file, read as often as one likes while tasks write to it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self, name: str | None = None, what: str | None = None) -> list[Entry]:
        """In the order in which they were written; a line that is not whole yet is left for later."""
        lines = self.path.read_bytes().split(b"\n")[:-1] if self.path.exists() else []
        found = [_entry(json.loads(line)) for line in lines]
        return [one for one in found if name in (None, one.name) and what in (None, one.what)]

    def starts(self, name: str | None = None) -> list[Entry]:
        return self.entries(name, "start")

    def ends(self, name: str | None = None) -> list[Entry]:
        return self.entries(name, "end")

    def write(self, entry: Entry) -> None:
        """As a task would: for who plants a fault."""
        line = {
            **{key: getattr(entry, key) for key in ("name", "attempt", "token", "pid", "what", "monotonic", "trigger")},
            "key": entry.key,
            "scheduled_for": entry.scheduled_for.isoformat(),
            "wall": entry.wall.timestamp(),
        }
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _entry(line: dict[str, object]) -> Entry:
    scheduled_for = datetime.fromisoformat(str(line.pop("scheduled_for"))).astimezone(UTC)
    wall = datetime.fromtimestamp(float(str(line.pop("wall"))), UTC)
    return Entry(scheduled_for=scheduled_for, wall=wall, **line)  # type: ignore[arg-type]

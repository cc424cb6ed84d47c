"""Three runners are killed, stopped, robbed of Redis and cut off from PostgreSQL at random: one verdict an instant,
one start an attempt.

RECONCILER_TEST_FAULTS_SECONDS makes it longer, RECONCILER_TEST_FAULTS_SEED another run.
"""

from __future__ import annotations

import collections
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis as redis_library

pytestmark = pytest.mark.faults

SEED = int(os.environ.get("RECONCILER_TEST_FAULTS_SEED", "20261124"))
SECONDS = float(os.environ.get("RECONCILER_TEST_FAULTS_SECONDS", "100"))
NAMES = [f"n{n:03}" for n in range(300)]

TASKS = """
import asyncio, os, time
from reconciler.registry import TaskContext, task

def note(ctx):
    line = f"{ctx.name} {ctx.scheduled_for.isoformat()} {ctx.attempt}\\n"
    fd = os.open("started", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line.encode())
    os.close(fd)

@task("t.async")
async def run_async(ctx: TaskContext, seconds: float = 0) -> None:
    note(ctx)
    await asyncio.sleep(seconds)

@task("t.sync")
def run_sync(ctx: TaskContext, seconds: float = 0) -> None:
    note(ctx)
    time.sleep(seconds)

@task("t.fails")
async def fail(ctx: TaskContext) -> None:
    note(ctx)
    raise ValueError("as always")
"""

KINDS = (
    "task: t.async",
    "task: t.async\nparams: {seconds: 0.7}\nretries: {attempts: 3, backoff: 100ms}",
    "task: t.async\nparams: {seconds: 2.5}",
    "task: t.async\noverlap: allow\nparams: {seconds: 1.5}\nretries: {attempts: 2, backoff: 100ms}",
    "task: t.fails\nretries: {attempts: 2, backoff: 100ms}",
    "task: t.async\nmissed: all\noverlap: allow",
    "task: t.async\nparams: {seconds: 1.2}\noverlap: queue",
    "task: t.async\nparams: {seconds: 1.7}\noverlap: replace",
    "task: t.async\nparams: {seconds: 0.3}\nmissed: all\nmissed_limit: 3\nqueue: narrow",
    "task: t.async\nmissed: skip\ndeadline: {start: 1s}",
)
SYNC = "task: t.sync\nparams: {seconds: 0.1}\nretries: {attempts: 2, backoff: 100ms}"


def spec(n: int) -> str:
    kind = SYNC if n % 30 == 29 else KINDS[n % len(KINDS)]
    return f'name: {NAMES[n]}\n{kind}\nschedule: "@every {every(NAMES[n]).seconds}s"\n'


def every(name: str) -> timedelta:
    return timedelta(seconds=1 + int(name[1:]) % 2)


class Runners:
    """Runner processes of one project, three at any time."""

    def __init__(self, project: Path, environment: dict[str, str]) -> None:
        self._project, self._environment = project, environment
        self.processes = [self._started() for _ in range(3)]
        self.stopped: dict[int, float] = {}

    def kill(self, place: int) -> None:
        self.processes[place].kill()
        self.processes[place].wait()
        self.stopped.pop(place, None)
        self.processes[place] = self._started()

    def suspend(self, place: int, until: float) -> None:
        self.processes[place].send_signal(signal.SIGSTOP)
        self.stopped[place] = until

    def carry_on(self, now: float) -> None:
        for place, until in list(self.stopped.items()):
            if until <= now:
                del self.stopped[place]
                self.processes[place].send_signal(signal.SIGCONT)

    def end(self) -> None:
        self.carry_on(float("inf"))
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(30)

    def _started(self) -> subprocess.Popen[bytes]:
        with (self._project / "runners.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "reconciler", "runner"],
                cwd=self._project,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


@contextmanager
def three_runners(project: Path, environment: dict[str, str]) -> Iterator[Runners]:
    runners = Runners(project, environment)
    try:
        yield runners
    finally:
        runners.end()


def cut_off(connection: psycopg.Connection[Any]) -> None:
    """PostgreSQL ends every connection to this database but ours."""
    connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> %s",
        [connection.info.backend_pid],
    )


def crash(database_url: str) -> None:
    """PostgreSQL loses a process and starts anew from its log, as after `kill -9`; no connection survives it."""
    with suppress(psycopg.Error), psycopg.connect(database_url, autocommit=True) as connection:
        os.kill(connection.info.backend_pid, signal.SIGKILL)
        connection.execute("select 1")


def harm(
    runners: Runners, chance: random.Random, client: Any, prefix: str, database_url: str
) -> collections.Counter[str]:
    """One thing goes wrong each second or so; returns what did, how often."""
    # A PostgreSQL that others use as well is only made to hang up.
    is_own = "RECONCILER_TEST_DATABASE_URL" not in os.environ
    done: collections.Counter[str] = collections.Counter()
    end = time.monotonic() + SECONDS
    while (now := time.monotonic()) < end:
        runners.carry_on(now)
        what, place = chance.choice(["kill", "suspend", "suspend", "empty", "cut off", "crash"]), chance.randrange(3)
        if what == "kill":
            runners.kill(place)
        elif what == "empty":
            client.delete(*(list(client.scan_iter(f"{prefix}*", count=1000)) or ["-"]))
        elif what == "crash" and is_own:
            crash(database_url)
        elif what in ("crash", "cut off"):
            with suppress(psycopg.Error), psycopg.connect(database_url, autocommit=True) as connection:
                cut_off(connection)
        elif place not in runners.stopped:
            runners.suspend(place, now + chance.uniform(0.3, 5))
        done[what] += 1
        rest = now + chance.uniform(0.6, 1.6)
        while time.monotonic() < rest:
            runners.carry_on(time.monotonic())
            time.sleep(0.05)
    runners.carry_on(float("inf"))
    return done


def test_every_instant_has_one_verdict_and_no_attempt_starts_twice_whatever_happens_to_three_runners(
    project: Path,
    command_environment: dict[str, str],
    database_url: str,
    redis_url: str,
    redis_prefix: str,
    run_cli: Any,
) -> None:
    (project / "tasks" / "own.py").write_text(TASKS)
    for n, name in enumerate(NAMES):
        (project / "specs" / f"{name}.yaml").write_text(spec(n))
    with (project / "reconciler.toml").open("a") as settings:
        settings.write('[runner]\nlease = "2s"\nworker_processes = 5\nqueues = ["default", "narrow"]\n')
        settings.write("[queues.narrow]\nconcurrency = 4\n[api]\nenabled = false\n")
    assert run_cli("apply").returncode == 0
    chance = random.Random(SEED)
    with psycopg.connect(database_url, autocommit=True) as connection:
        begin = dict(connection.execute("select name, through from task_cursors").fetchall())
    with redis_library.Redis.from_url(redis_url) as client, three_runners(project, command_environment) as runners:
        done = harm(runners, chance, client, redis_prefix, database_url)
        assert min(done.values()) >= 2, done
        settle(database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        check(connection, begin, (project / "started").read_text().splitlines())


def settle(database_url: str) -> None:
    """Until the dead are forgotten, and every cursor has moved since."""
    end = time.monotonic() + 60
    with connected(database_url) as connection:
        [now] = connection.execute("select clock_timestamp()").fetchone() or [None]
        while time.monotonic() < end:
            runners = connection.execute("select count(*) from runners where ended_at is null").fetchone()
            behind = connection.execute("select count(*) from task_cursors where through < %s", [now]).fetchone()
            if (runners, behind) == ((3,), (0,)):
                return
            time.sleep(0.1)
    raise AssertionError(f"{runners} runners, {behind} cursors that stand still")


def connected(database_url: str) -> psycopg.Connection[Any]:
    """A connection, as soon as PostgreSQL is up again."""
    end = time.monotonic() + 30
    while True:
        try:
            return psycopg.connect(database_url, autocommit=True)
        except psycopg.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def check(connection: psycopg.Connection[Any], begin: dict[str, datetime], started: list[str]) -> None:
    cursors = dict(connection.execute("select name, through from task_cursors").fetchall())
    verdicts: dict[str, collections.Counter[datetime]] = {name: collections.Counter() for name in NAMES}
    ran = connection.execute("select name, scheduled_for, jsonb_array_length(attempts) + 1 from task_executions")
    rows = {(name, instant): attempts for name, instant, attempts in ran}
    for name, instant in rows:
        verdicts[name][instant] += 1
    for name, instant in connection.execute("select name, scheduled_for from task_claims").fetchall():
        verdicts[name][instant] += 1
    for name, first, last, count in connection.execute("select name, first, last, count from task_skips").fetchall():
        instants = list(due(name, first - every(name), last))
        assert len(instants) == count
        verdicts[name].update(instants)
    for name in NAMES:
        assert verdicts[name] == collections.Counter(due(name, begin[name], cursors[name])), name

    starts = collections.Counter(started)
    assert [line for line, times in starts.items() if times > 1] == []
    attempts: dict[tuple[str, datetime], int] = {}
    for line in starts:
        name, instant, attempt = line.split()
        key = name, datetime.fromisoformat(instant)
        attempts[key] = max(attempts.get(key, 0), int(attempt))
    assert {key: (tried, rows[key]) for key, tried in attempts.items() if key in rows and tried > rows[key]} == {}
    assert len(rows) > 3 * len(NAMES)


def due(name: str, after: datetime, until: datetime) -> Iterator[datetime]:
    """Every instant of a name in (after, until], counted from the epoch."""
    step = every(name).seconds
    seconds = int(after.timestamp()) // step * step + step
    while seconds <= until.timestamp():
        yield datetime.fromtimestamp(seconds, UTC)
        seconds += step

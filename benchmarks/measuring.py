"""What every benchmark stands on: stores of its own, a project, the program under test, what it used, a line of JSON.

Scripts beside it are run as `python benchmarks/x.py` and import it as `from measuring import …`. It measures nothing
by itself. Durations are in seconds inside and in milliseconds in a line, where the name says so.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import redis

from reconciler.db import schema
from reconciler.embedded import EmbeddedServers
from reconciler.errors import ReconcilerError

# Taken out of the environment: to `reconciler` it would be a setting that does not exist.
OUT = os.environ.pop("RECONCILER_BENCH_OUT", None)
CONNECTIONS = 300
TICKS = os.sysconf("SC_CLK_TCK")
READY_WITHIN = 60.0
# As `reconciler init` would have them: an async task, and a sync one, which runs in a worker process.
TASKS = """import asyncio

from reconciler.registry import task


@task
async def nothing() -> None: ...


@task
def nothing_sync() -> None: ...


@task
async def sleep(seconds: float = 0.1) -> None:
    await asyncio.sleep(seconds)
"""


@dataclass(frozen=True, slots=True)
class Stores:
    """A PostgreSQL and a Redis of our own, over sockets in `directory`; the database is migrated and empty."""

    database_url: str
    redis_url: str
    postgres_pid: int
    redis_pid: int
    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        """For a command that works on these stores, with no other setting from outside."""
        own = {"RECONCILER_DATABASE_URL": self.database_url, "RECONCILER_REDIS_URL": self.redis_url}
        return {name: text for name, text in os.environ.items() if not name.startswith("RECONCILER_")} | own

    def ask(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of one statement, in a connection of its own."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            found = connection.execute(statement, values or None)
            return found.fetchall() if found.description else []


@contextmanager
def stores() -> Iterator[Stores]:
    """New and empty ones in a temporary directory until it is left: the embedded ones, durable as they come.

    All settings are those that every user of the embedded servers has, but for `max_connections`.
    """
    usual = tempfile.gettempdir()  # Where its path is short enough for sockets.
    place = usual if len(usual) < 30 else "/tmp"
    with tempfile.TemporaryDirectory(prefix="b-", dir=place, ignore_cleanup_errors=True) as name:
        directory = Path(name)
        with _served(directory) as found, psycopg.connect(found.database_url, autocommit=True) as connection:
            connection.execute(f"alter system set max_connections = {CONNECTIONS}")
        with _served(directory) as found:
            schema.upgrade(found.database_url)
            postmaster = (directory / ".reconciler/postgresql/data/postmaster.pid").read_text().split()[0]
            with redis.from_url(found.redis_url) as cache:
                pid = int(cache.info("server")["process_id"])
            yield Stores(found.database_url, found.redis_url, int(postmaster), pid, directory)


@contextmanager
def _served(directory: Path) -> Iterator[Any]:
    servers = EmbeddedServers(directory)
    try:
        yield servers.start()
    finally:
        servers.stop()


def report(case: str, n: int, **figures: object) -> None:
    """One line of JSON, on the terminal and at the end of the file that RECONCILER_BENCH_OUT names."""
    rounded = {name: _rounded(value) for name, value in figures.items() if value is not None}
    line = json.dumps({"case": case, "n": n, **rounded})
    print(line, flush=True)
    if OUT:
        with Path(OUT).open("a") as file:
            file.write(line + "\n")


def _rounded(value: object) -> object:
    """Three digits that count, and all of a whole number."""
    if not isinstance(value, float) or not math.isfinite(value) or value == 0:
        return value
    digits = 2 - math.floor(math.log10(abs(value)))
    return round(value, digits) if digits > 0 else round(value)


def percentiles(values: Iterable[float]) -> dict[str, float]:
    """Seconds as `p50_ms`, `p99_ms`, `p999_ms` and `max_ms`: each the smallest value that so many do not exceed."""
    ordered = sorted(values)
    if not ordered:
        return {}
    shares = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999, "max_ms": 1.0}
    return {name: ordered[math.ceil(share * len(ordered)) - 1] * 1000 for name, share in shares.items()}


class Usage:
    """What process trees use from its making on; PostgreSQL's backends, which come and go, count with the postmaster.

    A process that ends counts with whoever waits for it; one that outlives its parent is lost.
    """

    def __init__(self, *pids: int) -> None:
        self.pids = pids
        self._before = _cpu(pids)

    def cpu(self) -> float:
        """CPU seconds, user and system, since it was made."""
        return _cpu(self.pids) - self._before

    def rss_mb(self) -> float:
        """MiB that those alive have held at most, each at its own time. Shared pages count with every one."""
        return sum(_peak(pid) for pid in trees(self.pids))


def trees(pids: Sequence[int]) -> set[int]:
    """These and all that descend from them, as far as they are alive."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, ahead = set[int](), list(pids)
    while ahead:
        pid = ahead.pop()
        found.add(pid)
        ahead += children.get(pid, ())
    return found


def _cpu(pids: Sequence[int]) -> float:
    """User and system time, and that of children that were waited for."""
    return sum(sum(map(int, fields[11:15])) for pid in trees(pids) if (fields := _stat(pid))) / TICKS


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; none when there is no such process any more."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _peak(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def write_project(directory: Path, specs: Callable[[int], str], size: int, settings: str = "") -> Path:
    """A repository of `size` specs, named `job-000000` and on, with the tasks of TASKS as `own.NAME`."""
    (directory / "tasks").mkdir(parents=True, exist_ok=True)
    (directory / "tasks" / "__init__.py").touch()
    (directory / "tasks" / "own.py").write_text(TASKS)
    (directory / "reconciler.toml").write_text(settings)
    shutil.rmtree(directory / "specs", ignore_errors=True)
    for number in range(size):
        folder = directory / "specs" / f"team-{number % 50:02}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"job-{number:06}.yaml").write_text(specs(number))
    return directory


def command(project: Path, stores: Stores, *words: str) -> None:
    """Run `reconciler WORDS` in the project, to its end. SystemExit when it fails, with what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "reconciler", *words],
        cwd=project,
        env=stores.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout)[-2000:]
        raise SystemExit(f"reconciler {' '.join(words)}: exit {done.returncode}: {said}")


@contextmanager
def runner(project: Path, stores: Stores, *words: str) -> Iterator[int]:
    """`reconciler runner WORDS` in the project, from when it serves until this is left; its process id.

    With `"serve"` as the first word it is the whole service. SystemExit when it ends before that, with its last lines.
    """
    words = words if words[:1] == ("serve",) else ("runner", *words)
    said = project / "runner.log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "reconciler", *words, "--port", "0"],
            cwd=project,
            env=stores.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _await_ready(process, stores, said)
        yield process.pid
        if process.poll() is not None:
            raise SystemExit(f"the runner ended with {process.returncode}: {said.read_text()[-2000:]}")
    finally:
        _end(process)


def _await_ready(process: subprocess.Popen[bytes], stores: Stores, said: Path) -> None:
    """Until it has told the database what it can run: then it takes what is due."""
    until = time.monotonic() + READY_WITHIN
    with psycopg.connect(stores.database_url, autocommit=True) as connection:
        ready = "select 1 from runners where pid = %s and tasks <> '{}'"
        while not connection.execute(ready, (process.pid,)).fetchall():
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"the runner did not come up: {said.read_text()[-2000:]}")
            time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(15)
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def now(stores: Stores) -> datetime:
    """What time PostgreSQL has."""
    [(moment,)] = stores.ask("select clock_timestamp()")
    return moment.astimezone(UTC)


def soon(stores: Stores, seconds: float) -> datetime:
    """The first whole second that is at least so far ahead on PostgreSQL's clock."""
    return (now(stores) + timedelta(seconds=seconds + 1)).replace(microsecond=0)


def each(*cases: Callable[[], None]) -> None:
    """One after the other, whatever becomes of those before; SystemExit at the end where one failed."""
    faults = []
    for case in cases:
        try:
            case()
        except (SystemExit, psycopg.Error, ReconcilerError) as error:
            faults.append(error)
            print(error, file=sys.stderr, flush=True)
    if faults:
        sys.exit(1)


def sleep_until(stores: Stores, moment: datetime) -> None:
    """Until that moment of PostgreSQL's clock."""
    time.sleep(max(0.0, (moment - now(stores)).total_seconds()))


def await_rows(stores: Stores, count: int, within: float) -> datetime:
    """When, on PostgreSQL's clock, `count` executions were seen committed; late by some 20 ms.

    SystemExit when they are not there within so many seconds. It looks more often the nearer the end is, so as to
    cost next to nothing.
    """
    started = time.monotonic()
    seen, since = 0, started
    with psycopg.connect(stores.database_url, autocommit=True) as connection:
        while True:
            [(found, moment)] = connection.execute("select count(*), clock_timestamp() from task_executions").fetchall()
            at = time.monotonic()
            if found >= count:
                return moment
            if at - started > within:
                raise SystemExit(f"{found} of {count} executions after {within:.0f} s")
            since = since if seen else at
            seen = seen or found
            pace = (found - seen) / (at - since) if found > seen else 0.0
            time.sleep(min(max((count - found) / pace / 8, 0.02), 0.5) if pace else 0.05)


LAGS = """
select extract(epoch from started_at - scheduled_for)::float8, name, scheduled_for
from task_executions where scheduled_for >= %s and scheduled_for < %s
"""


def lags(stores: Stores, first: datetime, until: datetime) -> list[tuple[float, str, datetime]]:
    """Of each execution of an instant from `first` on and before `until`: seconds from instant to start, name, instant.

    Both moments are on PostgreSQL's clock: a runner keeps the offset of its own to it.
    """
    return [(lag, name, at.astimezone(UTC)) for lag, name, at in stores.ask(LAGS, first, until)]

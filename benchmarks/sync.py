"""How long reading and applying specs takes, as whole commands and in a service: `python benchmarks/sync.py [N ...]`.

Seconds (the median where there are several runs) and peak memory, of a service with its reader. `--full`, or the sizes
1000 10000 100000, is the whole of what is promised. The first word is that to a terminal: through a pipe a command says
nothing until it is done.
"""

from __future__ import annotations

import math
import os
import pty
import re
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psycopg
import redis
from measuring import Stores, Usage, each, report, stores, write_project

SIZES, FULL = (1000, 10_000), (1000, 10_000, 100_000)
SCHEDULES = ("0 2 * * 1-5", "*/5 * * * *", "@hourly", "@every 30s", "15 3 * * *", "0 0 1 * *", "H * * * *", "H 3 * * *")
ZONES = ("UTC", "Europe/Berlin", "America/New_York")
SPEC = """task: shell.run
schedule: "{schedule}"
timezone: {zone}
params: {{command: [echo, "job {number}"]}}
timeout: {timeout}
retries: {{attempts: 3, backoff: 30s}}
labels: {{team: team-{team:02}}}
"""
SETTINGS = '[[sources]]\nname = "default"\npath = "specs"\ninterval = "3s"\n'
PASSES = 5


class Run(NamedTuple):
    seconds: float
    rss_mb: float
    cpu: float
    first: float | None = None  # seconds until it said anything


def main(sizes: Sequence[int]) -> None:
    each(*(lambda size=size: _sized(size) for size in sizes))


def _sized(size: int) -> None:
    """All cases of one size, in a repository and with stores of its own."""
    with stores() as own:
        project = write_project(own.directory, spec, size, SETTINGS)
        tell("sync: validate", size, [timed(project, own, "validate", fresh=True)])
        tell("sync: apply, all new", size, [timed(project, own, "apply", fresh=True)])
        tell("sync: apply, nothing changed", size, [timed(project, own, "apply") for _ in range(3)])
        (project / "specs/team-00/job-000000.yaml").write_text(spec(0, "11m"))
        tell("sync: apply, one changed", size, [timed(project, own, "apply")])
        tell("sync: status", size, [timed(project, own, "status") for _ in range(3)])
        first = watched(project, own, "plan", fresh=True)
        report("sync: plan, first word on a terminal", size, p50_ms=(first.first or math.nan) * 1000)
        serve(project, size, own)


def serve(project: Path, size: int, own: Stores) -> None:
    """The same inside a service: passes that find nothing, and a file that is saved."""
    with _service(project, own) as (pid, port):
        used = Usage(pid)
        first = took(port)
        tell("sync: in the service, first pass", size, [Run(first, used.rss_mb(), used.cpu())])
        passes = [_pass(port, pid, own) for _ in range(PASSES)]
        tell("sync: in the service, nothing changed", size, passes)
        saves = [Run(saved(project, own, number), used.rss_mb(), math.nan) for number in range(PASSES)]
        tell("sync: in the service, saved until in both stores", size, saves)


def _pass(port: int, pid: int, own: Stores) -> Run:
    used = Usage(pid, own.postgres_pid, own.redis_pid)
    return Run(took(port, later=True), Usage(pid).rss_mb(), used.cpu())


@contextmanager
def _service(project: Path, own: Stores) -> Iterator[tuple[int, int]]:
    """A service without a runner: its process, and the port that it says itself."""
    log = project / "service.log"
    words = [sys.executable, "-m", "reconciler", "serve", "--watch", "--no-runner", "--port", "0"]
    with log.open("wb") as out:
        process = subprocess.Popen(words, cwd=project, env=own.environment, stdout=out, stderr=out)
    try:
        while not (found := re.search(r"figures: http://[^/]*:(\d+)/", log.read_text())):
            if process.poll() is not None:
                raise SystemExit(f"sync: the service ended: {log.read_text()[-2000:]}")
            time.sleep(0.02)
        yield process.pid, int(found[1])
    finally:
        process.terminate()
        process.wait()


def took(port: int, *, later: bool = False) -> float:
    """Seconds that the last pass took, once there was one; `later`: once there is another."""
    last = math.inf
    while True:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            found = dict(
                re.findall(r"^reconciler_sync_(age|duration)_seconds{.*} (\S+)$", answer.read().decode(), re.MULTILINE)
            )
            if found and (not later or float(found["age"]) < last < math.inf):
                return float(found["duration"])
            last = float(found["age"]) if found else last
        time.sleep(0.2)


def saved(project: Path, own: Stores, number: int) -> float:
    """Seconds from a spec's saving until PostgreSQL and Redis have its new digest."""
    file = project / "specs/team-01/job-000001.yaml"
    time.sleep(0.7)  # not always at the same moment between two passes
    sql = "select id, digest from task_configs where name = 'job-000001'"
    with (
        psycopg.connect(own.database_url, autocommit=True) as database,
        redis.from_url(own.redis_url, decode_responses=True) as cache,
    ):
        [(config_id, before)] = database.execute(sql).fetchall()
        [key] = cache.scan_iter(match=f"*schedule:status:{config_id}", count=10_000)
        started = time.perf_counter()
        file.write_text(spec(1, f"{20 + number}m"))
        while (digest := database.execute(sql).fetchall()[0][1]) == before or cache.hget(key, "digest") != digest:
            time.sleep(0.002)
        return time.perf_counter() - started


def spec(number: int, timeout: str = "10m") -> str:
    return SPEC.format(
        schedule=SCHEDULES[number % len(SCHEDULES)],
        zone=ZONES[number % len(ZONES)],
        number=number,
        team=number % 50,
        timeout=timeout,
    )


def timed(project: Path, own: Stores, word: str, *, fresh: bool = False) -> Run:
    """One command, through a pipe; `fresh`: with nothing kept from an earlier read."""
    if fresh:
        shutil.rmtree(project / ".reconciler/cache", ignore_errors=True)
    return _run(project, own, word, subprocess.DEVNULL)


def watched(project: Path, own: Stores, word: str, *, fresh: bool) -> Run:
    """The same on a terminal, with how long it said nothing."""
    if fresh:
        shutil.rmtree(project / ".reconciler/cache", ignore_errors=True)
    ours, its = pty.openpty()
    try:
        return _run(project, own, word, its, ours)
    finally:
        os.close(ours)


def _run(project: Path, own: Stores, word: str, out: int, ours: int | None = None) -> Run:
    words = [sys.executable, "-m", "reconciler", word]
    used = Usage(own.postgres_pid, own.redis_pid)
    started = time.perf_counter()
    process = subprocess.Popen(words, cwd=project, env=own.environment, stdout=out, stderr=out if ours else None)
    first = None
    if ours is not None:
        os.close(out)
        with suppress(OSError):  # the end of what a terminal gives
            while os.read(ours, 65_536):
                first = first or time.perf_counter() - started
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"reconciler {word}: exit {process.returncode}")
    return Run(seconds, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime + used.cpu(), first)


def tell(case: str, size: int, runs: Sequence[Run]) -> None:
    """The median, the highest peak, and CPU seconds of all processes, those of the servers among them."""
    cpu = statistics.median(run.cpu for run in runs)
    report(
        case,
        size,
        seconds=statistics.median(run.seconds for run in runs),
        rss_mb=max(run.rss_mb for run in runs),
        cpu_s_per_1000=None if math.isnan(cpu) else cpu * 1000 / size,
    )


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdecimal()]
    main(numbers or (FULL if "--full" in sys.argv else SIZES))

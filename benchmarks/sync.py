"""How long reading and applying specs takes, as whole commands: `python benchmarks/sync.py [N ...]`.

One JSON line a case: seconds (the median where there are several runs) and peak memory, of a service with its reader.
The stores are the embedded ones of a new directory, kept running meanwhile. `benchmarks/sync.py 10000 100000` is the
whole of what is promised.
"""

from __future__ import annotations

import json
import math
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import psycopg
import redis

from reconciler.embedded import Stores, open_stores
from reconciler.settings import load_settings

SCHEDULES = ("0 2 * * 1-5", "*/5 * * * *", "@hourly", "@every 30s", "15 3 * * *", "0 0 1 * *", "H * * * *", "H 3 * * *")
ZONES = ("UTC", "Europe/Berlin", "America/New_York")
SPEC = """task: shell.run
schedule: "{schedule}"
timezone: {zone}
params: {{command: [echo, "job {number}"]}}
timeout: 10m
retries: {{attempts: 3, backoff: 30s}}
labels: {{team: team-{team:02}}}
"""


def main(sizes: list[int]) -> None:
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="b-", dir="/tmp") as name:
            project = Path(name)
            generate(project, size)
            with open_stores(load_settings(project, {})) as stores:
                report("validate", size, [timed(project, "validate", fresh=True)])
                report("apply, all new", size, [timed(project, "apply", fresh=True)])
                report("apply, nothing changed", size, [timed(project, "apply") for _ in range(3)])
                (project / "specs/team-00/job-000000.yaml").write_text(spec(0).replace("10m", "11m"))
                report("apply, one changed", size, [timed(project, "apply")])
                report("status", size, [timed(project, "status") for _ in range(3)])
                serve(project, size, stores)


def serve(project: Path, size: int, stores: Stores) -> None:
    """The same inside a service: passes that find nothing, and a file that is saved."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (project / "reconciler.toml").write_text('[[sources]]\nname = "default"\npath = "specs"\ninterval = "3s"\n')
    command = [sys.executable, "-m", "reconciler", "serve", "--watch", "--no-runner", "--port", str(port)]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        first = took(port)
        passes = [took(port, later=True) for _ in range(5)]
        report("in the service, first pass", size, [(first, peak(process.pid))])
        report("in the service, nothing changed", size, [(seconds, peak(process.pid)) for seconds in passes])
        saves = [saved(project, stores, number) for number in range(5)]
        report("in the service, saved until in both stores", size, [(seconds, peak(process.pid)) for seconds in saves])
    finally:
        process.terminate()
        process.wait()


def took(port: int, *, later: bool = False) -> float:
    """Seconds that the last pass took, once there was one; `later`: once there is another."""
    last = math.inf
    while True:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            found = dict(
                re.findall(r"^reconciler_sync_(age|duration)_seconds{.*} (\S+)$", answer.read().decode(), re.M)
            )
            if found and (not later or float(found["age"]) < last < math.inf):
                return float(found["duration"])
            last = float(found["age"]) if found else last
        time.sleep(0.2)


def saved(project: Path, stores: Stores, number: int) -> float:
    """Seconds from a spec's saving until PostgreSQL and Redis have its new digest."""
    file = project / "specs/team-01/job-000001.yaml"
    time.sleep(0.7)  # not always at the same moment between two passes
    sql = "select id, digest from task_configs where name = 'job-000001'"
    with (
        psycopg.connect(stores.database_url, autocommit=True) as database,
        redis.from_url(stores.redis_url, decode_responses=True) as cache,
    ):
        [(config_id, before)] = database.execute(sql).fetchall()
        [key] = cache.scan_iter(match=f"*schedule:status:{config_id}", count=10_000)
        started = time.perf_counter()
        file.write_text(spec(1).replace("10m", f"{20 + number}m"))
        while (digest := database.execute(sql).fetchall()[0][1]) == before or cache.hget(key, "digest") != digest:
            time.sleep(0.002)
        return time.perf_counter() - started


def peak(pid: int) -> float:
    """MiB that a process and its children have held at most, each at its own time."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    status = Path(f"/proc/{pid}/status").read_text()
    own = re.search(r"^VmHWM:\s+(\d+) kB", status, re.M)
    return (int(own[1]) / 1024 if own else 0) + sum(peak(int(child)) for child in children)


def generate(project: Path, size: int) -> None:
    (project / "reconciler.toml").touch()
    for number in range(size):
        folder = project / "specs" / f"team-{number % 50:02}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"job-{number:06}.yaml").write_text(spec(number))


def spec(number: int) -> str:
    return SPEC.format(
        schedule=SCHEDULES[number % len(SCHEDULES)], zone=ZONES[number % len(ZONES)], number=number, team=number % 50
    )


def timed(project: Path, command: str, *, fresh: bool = False) -> tuple[float, float]:
    """Seconds and MiB of one command; `fresh`: with nothing kept from an earlier read."""
    if fresh:
        subprocess.run(["rm", "-rf", project / ".reconciler/cache"], check=True)
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "reconciler", command], cwd=project, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} failed with {process.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def report(case: str, size: int, runs: list[tuple[float, float]]) -> None:
    seconds, memory = statistics.median(run[0] for run in runs), max(run[1] for run in runs)
    print(json.dumps({"case": case, "n": size, "seconds": round(seconds, 2), "rss_mb": round(memory)}), flush=True)


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]] or [1000, 10_000])

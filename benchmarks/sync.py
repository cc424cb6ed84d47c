"""How long reading and applying specs takes, as whole commands: `python benchmarks/sync.py [N ...]`.

One JSON line a case: seconds (median of three where nothing changes between runs) and the process's peak memory. The
stores are the embedded ones of a new directory, kept running meanwhile.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reconciler.embedded import open_stores
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
            with open_stores(load_settings(project, {})):
                report("validate", size, [timed(project, "validate", fresh=True)])
                report("apply, all new", size, [timed(project, "apply", fresh=True)])
                report("apply, nothing changed", size, [timed(project, "apply") for _ in range(3)])
                (project / "specs/team-00/job-000000.yaml").write_text(spec(0).replace("10m", "11m"))
                report("apply, one changed", size, [timed(project, "apply")])
                report("status", size, [timed(project, "status") for _ in range(3)])


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

"""How long a week of many tasks takes to simulate, as a whole command: `python benchmarks/simulate.py [N ...]`.

One JSON line a case: seconds of the process, of three the median, and its peak memory. Each of N tasks (by default
1,000) is due every hour: spread by `H`, all at the same minute, and so with two worker processes for all of them.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import report

ASYNC = "from reconciler.registry import task\n\n\n@task\nasync def work() -> None: ...\n"
SYNC = ASYNC.replace("async ", "")
CASES = {
    "spread over the hour": ("H * * * *", ASYNC),
    "all at the same minute": ("0 * * * *", ASYNC),
    "all at the same minute, worker processes": ("0 * * * *", SYNC),
}


def main(sizes: list[int]) -> None:
    for size in sizes:
        for case, (schedule, tasks) in CASES.items():
            with tempfile.TemporaryDirectory(prefix="b-", dir="/tmp") as name:
                generate(Path(name), size, schedule, tasks)
                runs = [timed(Path(name)) for _ in range(3)]
            seconds, memory = statistics.median(run[0] for run in runs), max(run[1] for run in runs)
            report(f"simulate: {case}", size, fires=size * 168, seconds=seconds, rss_mb=memory)


def generate(project: Path, size: int, schedule: str, tasks: str) -> None:
    (project / "tasks").mkdir()
    (project / "specs").mkdir()
    (project / "reconciler.toml").write_text("[runner]\nworker_processes = 2\n")
    (project / "tasks" / "__init__.py").touch()
    (project / "tasks" / "own.py").write_text(tasks)
    for number in range(size):
        (project / "specs" / f"job-{number:06}.yaml").write_text(f'task: own.work\nschedule: "{schedule}"\n')


def timed(project: Path) -> tuple[float, float]:
    """Seconds and MiB of one command, with nothing kept from an earlier read."""
    subprocess.run(["rm", "-rf", project / ".reconciler"], check=True)
    started = time.perf_counter()
    command = [sys.executable, "-m", "reconciler", "simulate", "--from", "2026-06-01", "--for", "7d"]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"simulate failed with {process.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:] if word.isdecimal()] or [1000])

"""What the other figures were measured on, as one line: `python benchmarks/machine.py`."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from measuring import report

import reconciler
from reconciler.embedded.binaries import postgresql_bin, redis_server


def main() -> None:
    report(
        "machine",
        len(os.sched_getaffinity(0)),
        cpu=field("/proc/cpuinfo", "model name") or platform.machine(),
        memory_gb=round(int(field("/proc/meminfo", "MemTotal").split()[0]) / 1024**2),
        system=f"{platform.system()} {platform.release().partition('-')[0]}",
        python=platform.python_version(),
        postgresql=version(postgresql_bin() / "postgres"),
        redis=version(redis_server()),
        reconciler=reconciler.__version__,
        day=f"{datetime.now(UTC):%Y-%m-%d}",
    )


def field(file: str, name: str) -> str:
    found = [line.partition(":")[2].strip() for line in Path(file).read_text().splitlines() if line.startswith(name)]
    return found[0] if found else ""


def version(program: Path) -> str:
    """`postgres (PostgreSQL) 18.1 …`, `Redis server v=7.0.15 …`"""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return next(word.removeprefix("v=") for word in said.split() if word.removeprefix("v=")[0].isdecimal())


if __name__ == "__main__":
    main()

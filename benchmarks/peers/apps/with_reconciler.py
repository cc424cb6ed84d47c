"""Reconciler itself, with the settings that every user has: `python with_reconciler.py once N | every N`.

Writes a repository into the working directory and applies it. `once`: N names due at the first instant; `every`: from
then on again and again. Its tasks are in `tasks/`, as with anybody.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import told

TASK = """from marking import mark
from reconciler.registry import task


@task
async def noop(number: int) -> None:
    mark(number)
"""
ONCE = "@every 30d"


def main(verb: str, count: int) -> None:
    schedule = ONCE if verb == "once" else f"@every {told.EVERY}s"
    Path("tasks").mkdir(exist_ok=True)
    Path("tasks/__init__.py").touch()
    Path("tasks/own.py").write_text(TASK)
    Path("reconciler.toml").write_text("[runner]\nconcurrency = 1000\n")
    fields = f'task: own.noop\nschedule: "{schedule}"\nstarts_at: {told.FIRST.isoformat()}\n'
    for number in range(count):
        folder = Path("specs") / f"team-{number % 50:02}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"job-{number:06}.yaml").write_text(f"{fields}params: {{number: {number}}}\n")
    subprocess.run([sys.executable, "-m", "reconciler", "apply"], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

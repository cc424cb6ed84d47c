"""Which processes a process has started, and commands that are refused something from their beginning."""

from __future__ import annotations

import glob
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from faultkit.program import Project

BEGIN = """
import os, resource, sys
number, limit = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(number, (limit, limit))
os.execv(sys.argv[3], sys.argv[3:])
"""


def children(pid: int) -> list[int]:
    """Those that have not ended."""
    found: list[int] = []
    for path in glob.glob(f"/proc/{pid}/task/*/children"):  # noqa: PTH207 (a process may end meanwhile)
        with suppress(OSError):
            found += map(int, Path(path).read_text().split())
    return found


def run_limited(project: Project, number: int, limit: int, *args: str) -> subprocess.CompletedProcess[str]:
    """A command in that project, under a limit (`resource.RLIMIT_…`)."""
    return subprocess.run(
        [sys.executable, "-c", BEGIN, str(number), str(limit), sys.executable, "-m", "reconciler", *args],
        cwd=project.directory,
        env=project.surroundings(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

"""How long a command takes that has next to nothing to do: `python benchmarks/startup.py [REPEATS]`.

Whole processes, one after the other, with the stores running already; medians. The import time of each module is what
`-X importtime` says, which by itself takes longer than the import does without it: it tells where the time goes.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from measuring import Stores, command, report, stores, write_project

FILES = 10
REPEATS = 11
TOP = 8
SPEC = """task: own.nothing
schedule: "{minute} 2 * * 1-5"
timezone: Europe/Berlin
timeout: 10m
retries: {{attempts: 3, backoff: 30s}}
labels: {{team: data}}
"""
IMPORTED = re.compile(r"^import time: +(\d+) \| +(\d+) \| ( *)(\S+)$", re.MULTILINE)
CASES = {
    "startup: --help": ("--help",),
    "startup: validate of ten files": ("validate",),
    "startup: status": ("status",),
}


def main(repeats: int) -> None:
    with stores() as own:
        project = write_project(own.directory, lambda number: SPEC.format(minute=number), FILES)
        command(project, own, "apply")
        for case, words in CASES.items():
            runs = sorted(seconds(project, own, words) for _ in range(repeats))
            report(case, FILES, p50_ms=statistics.median(runs) * 1000, max_ms=runs[-1] * 1000)
        for case, words in CASES.items():
            for name, spent in imports(project, own, words):
                report(f"{case}: imports: {name}", FILES, self_ms=spent)


def seconds(project: Path, own: Stores, words: Sequence[str]) -> float:
    """From the start of one command to its end."""
    began = time.perf_counter()
    command(project, own, *words)
    return time.perf_counter() - began


def imports(project: Path, own: Stores, words: Sequence[str]) -> list[tuple[str, float]]:
    """All of it in ms, and the packages that take the longest, each without those that it imports in its turn."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "reconciler", *words],
        cwd=project,
        env=own.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    spent: dict[str, int] = {}
    for own_time, _, _, module in IMPORTED.findall(done.stderr):
        package = module.partition(".")[0]
        spent[package] = spent.get(package, 0) + int(own_time)
    longest = sorted(spent.items(), key=lambda one: -one[1])[:TOP]
    return [("all", sum(spent.values()) / 1000), *((package, time / 1000) for package, time in longest)]


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdecimal()]
    main(numbers[0] if numbers else REPEATS)

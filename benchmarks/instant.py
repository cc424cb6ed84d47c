"""How late runs start that are due at the same second: `python benchmarks/instant.py [N ...]`.

N schedules, by default 1,000 and 10,000, are all due every 5 s, for 30 s. One JSON line a tick and one for all six
of them: how many never started, and how late the median, the 99th of 100 and the last one were, from the instant to the
start of the function. What is not over when the next tick comes is skipped then: a miss of that tick. The runner has
`concurrency` = 1000.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from functools import partial

from measuring import (
    Stores,
    Usage,
    command,
    each,
    lags,
    now,
    percentiles,
    report,
    runner,
    sleep_until,
    stores,
    write_project,
)

SIZES = (1000, 10_000)
EVERY = timedelta(seconds=5)
TICKS = 6
SETTINGS = "[runner]\nconcurrency = 1000\n"


def main(sizes: list[int], ticks: int = TICKS) -> None:
    each(*(partial(measure, size, ticks) for size in sizes))


def measure(size: int, ticks: int) -> None:
    spec = f'task: own.nothing\nschedule: "@every {EVERY.seconds}s"\n'
    with stores() as own:
        project = write_project(own.directory, lambda number: spec, size, SETTINGS)
        command(project, own, "apply")
        with runner(project, own) as pid:
            watch(own, size, ticks, pid)


def watch(own: Stores, size: int, ticks: int, pid: int) -> None:
    """From the second tick on that this runner sees: the first makes good for those before it, too."""
    first = next_tick(now(own)) + EVERY
    until = first + ticks * EVERY
    sleep_until(own, first - EVERY / 5)
    used = Usage(pid, own.postgres_pid, own.redis_pid)
    sleep_until(own, until - EVERY / 5)
    cpu = used.cpu()
    # What the last tick started after the next one came would be seen, too.
    sleep_until(own, until + EVERY)
    found = lags(own, first, until)
    for number in range(ticks):
        tick = first + number * EVERY
        tell(f"instant: tick {number + 1}", size, size, [lag for lag, _, at in found if at == tick])
    figures = {"cpu_s_per_1000": cpu * 1000 / max(1, len(found)), "rss_mb": Usage(pid).rss_mb()}
    tell("instant: all ticks", size, size * ticks, [lag for lag, _, _ in found], **figures)


def tell(case: str, size: int, due: int, lags: list[float], **figures: float) -> None:
    found = {name: value for name, value in percentiles(lags).items() if name != "p999_ms"}
    report(case, size, due=due, missed=due - len(lags), **found, **figures)


def next_tick(moment: datetime) -> datetime:
    seconds = EVERY.total_seconds()
    return moment + EVERY - timedelta(seconds=moment.timestamp() % seconds)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:] if word.isdecimal()] or list(SIZES))

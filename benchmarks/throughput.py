"""How many runs a second there are, each decided and its row committed: `python benchmarks/throughput.py [--full] [N]`.

One JSON line a case. `per_s` counts from the instant at which all N names are due until PostgreSQL has committed the
last row; in the backlog, which is there before the runner is, from the first start. CPU seconds are per 1,000 runs: of
the runner with its children, of PostgreSQL with its backends, of Redis. Async no-ops have `runner.concurrency` = 1000,
and once its default of 100; all other settings are the default ones.
"""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta
from functools import partial

from measuring import (
    Stores,
    Usage,
    await_rows,
    command,
    each,
    now,
    report,
    runner,
    sleep_until,
    soon,
    stores,
    write_project,
)

SIZE, LARGE = 10_000, 100_000
# Async runs at once: the default, and what suits very short ones.
DEFAULT, MANY = 100, 1000
SLEEP = 0.1
CATCH_UP = 100
# How long getting ready takes: starting a runner, and applying so many specs a second.
AHEAD, PER_SECOND = 8.0, 1500


def main(size: int, is_full: bool) -> None:
    each(
        partial(due_at_once, "throughput: async no-op", "own.nothing", size, MANY),
        partial(due_at_once, "throughput: async no-op, 100 at once", "own.nothing", size),
        partial(backlog, "throughput: async no-op, backlog of few names", size),
        partial(due_at_once, "throughput: sync no-op in worker processes", "own.nothing_sync", size // 5),
        partial(due_at_once, "throughput: async, sleeps 100 ms", "own.sleep", size // 2),
        *([partial(due_at_once, "throughput: async no-op", "own.nothing", LARGE, MANY)] if is_full else []),
    )


def due_at_once(case: str, task: str, count: int, concurrency: int = DEFAULT) -> None:
    """`count` names that are due at one instant, applied before with the real command."""
    ahead = AHEAD + count / PER_SECOND
    with stores() as own:
        began = time.monotonic()
        while not try_at(own, soon(own, ahead), case, task, count, concurrency):
            ahead, began = 2 * (time.monotonic() - began), time.monotonic()


def try_at(own: Stores, instant: datetime, case: str, task: str, count: int, concurrency: int) -> bool:
    """Whether all was ready before the instant came, and so was measured."""
    spec = f'task: {task}\nschedule: "@every 30d"\nstarts_at: {instant.isoformat()}\n'
    project = write_project(own.directory, lambda number: spec, count, slots(concurrency))
    command(project, own, "apply")
    with runner(project, own) as pid:
        if now(own) > instant - timedelta(seconds=1):
            return False
        sleep_until(own, instant - timedelta(seconds=0.3))
        measure(own, case, count, pid, instant)
        return True


def slots(concurrency: int) -> str:
    return f"[runner]\nconcurrency = {concurrency}\n"


def backlog(case: str, count: int) -> None:
    """Few names with 100 missed instants each. That the runner was down for that long is written into the cursors."""
    with stores() as own:
        instant = now(own).replace(microsecond=0)
        spec = (
            f'task: own.nothing\nschedule: "@every 1s"\nends_at: {instant.isoformat()}\n'
            f"missed: all\nmissed_limit: {CATCH_UP}\noverlap: allow\n"
        )
        names = max(1, count // CATCH_UP)
        project = write_project(own.directory, lambda number: spec, names, slots(MANY))
        command(project, own, "apply")
        own.ask("update task_cursors set through = %s", instant - timedelta(seconds=CATCH_UP))
        with runner(project, own) as pid:
            measure(own, case, names * CATCH_UP, pid, None)


def measure(own: Stores, case: str, count: int, pid: int, start: datetime | None) -> None:
    """Wait for the end and tell what it took, from `start` or else from the first start."""
    used = Usage(pid), Usage(own.postgres_pid), Usage(own.redis_pid)
    end = await_rows(own, count, within=60 + count / 20)
    runner_cpu, postgres_cpu, redis_cpu = (one.cpu() * 1000 / count for one in used)
    [(first, failed)] = own.ask("select min(started_at), count(*) filter (where not is_success) from task_executions")
    seconds = (end - (start or first)).total_seconds()
    report(
        case,
        count,
        per_s=count / seconds,
        seconds=seconds,
        share_of_ceiling=count / seconds / (DEFAULT / SLEEP) if "sleep" in case else None,
        cpu_s_per_1000=runner_cpu + postgres_cpu + redis_cpu,
        runner_cpu_s_per_1000=runner_cpu,
        postgresql_cpu_s_per_1000=postgres_cpu,
        redis_cpu_s_per_1000=redis_cpu,
        rss_mb=used[0].rss_mb(),
        failed=failed or None,
    )


if __name__ == "__main__":
    sizes = [int(word) for word in sys.argv[1:] if word.isdecimal()]
    main(sizes[0] if sizes else SIZE, "--full" in sys.argv)

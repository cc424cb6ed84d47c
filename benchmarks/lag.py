"""How late runs start when many schedules are held and few are due: `python benchmarks/lag.py [--full]`.

N schedules, 10,000, with `--full` 100,000 too, come due at 100 and at 1,000 a second, for 20 s. One JSON line
a case: how late starts were, and the memory of the runner with its children. A schedule names whole seconds, so what is
due in a second is due at its beginning: that is the case `at each second`. In `spread` a jitter of 1 s, which is known
beforehand, puts each one off to a moment of its own, and late is what starts after that.
What has not started ten seconds after the last instant is missed.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product

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

from reconciler.schedule.jitter import jitter_of

SIZES = (10_000,)
LARGE = (100_000,)
RATES = (100, 1000)
SECONDS = 20
JITTER = timedelta(seconds=1)
GRACE = timedelta(seconds=10)
WARM = timedelta(seconds=4)
START = datetime(2026, 1, 1, tzinfo=UTC)


def main(sizes: list[int], rates: tuple[int, ...] = RATES, seconds: int = SECONDS) -> None:
    cases = product(sizes, rates, (JITTER, timedelta()))
    each(*(partial(measure, size, rate, seconds, jitter) for size, rate, jitter in cases))


def measure(size: int, rate: int, seconds: int, jitter: timedelta) -> None:
    period = size // rate
    due = size // period * seconds
    with stores() as own:
        project = write_project(own.directory, lambda number: spec(number, period, jitter), size)
        command(project, own, "apply")
        with runner(project, own) as pid:
            first = (now(own) + WARM).replace(microsecond=0)
            until = first + timedelta(seconds=seconds)
            sleep_until(own, first)
            used = Usage(pid, own.postgres_pid, own.redis_pid)
            sleep_until(own, until)
            cpu = used.cpu()
            found = stragglers(own, first, until, due)
            memory = Usage(pid).rss_mb()
    late = [lag - jitter_of(name, at, jitter).total_seconds() for lag, name, at in found]
    figures = {**percentiles(late), "cpu_s_per_1000": cpu * 1000 / max(1, len(found)), "rss_mb": memory}
    case = f"lag: {rate} a second, {'spread' if jitter else 'at each second'}"
    report(case, size, due=due, missed=due - len(found), **figures)


def stragglers(own: Stores, first: datetime, until: datetime, due: int) -> list[tuple[float, str, datetime]]:
    """All starts as soon as they are there, or those of ten seconds after the last instant."""
    while True:
        found = lags(own, first, until)
        if len(found) >= due or now(own) > until + GRACE:
            return found
        time.sleep(0.5)


def spec(number: int, period: int, jitter: timedelta) -> str:
    """Due every `period` seconds, as many in each of them."""
    start = (START + timedelta(seconds=number % period)).isoformat()
    put_off = f"jitter: {jitter.total_seconds():.0f}s\n" if jitter else ""
    return f'task: own.nothing\nschedule: "@every {period}s"\nstarts_at: {start}\n{put_off}'


if __name__ == "__main__":
    main([*SIZES, *(LARGE if "--full" in sys.argv else ())])

"""How many times a second a schedule says what comes next, beside croniter: `python benchmarks/schedule.py`.

One JSON line an expression. Both are asked again and again of an object that is already built, and walk from instant
to instant; croniter is given naive local times, and so knows no clock changes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

from croniter import croniter
from measuring import report

from reconciler.schedule import Schedule

START = datetime(2026, 3, 28, tzinfo=UTC)
EXPRESSIONS = ("*/5 * * * *", "0 2 * * 1-5", "30 6 1 * *", "* * * * *")
COUNT = 20_000
ROUNDS = 5


def main() -> None:
    for expression in EXPRESSIONS:
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(rate(of_schedule(expression), COUNT))
            theirs.append(rate(of_croniter(expression), COUNT // 10))
        mine, other = statistics.median(ours), statistics.median(theirs)
        report(f"schedule: next_after {expression}", COUNT, per_s=mine, croniter_per_s=other, ratio=mine / other)


def of_schedule(expression: str) -> Callable[[], object]:
    schedule, moment = Schedule([expression], "Europe/Berlin"), START

    def step() -> object:
        nonlocal moment
        moment = schedule.next_after(moment) or START
        return moment

    return step


def of_croniter(expression: str) -> Callable[[], object]:
    return croniter(expression, START.replace(tzinfo=None), ret_type=datetime).get_next


def rate(step: Callable[[], object], count: int) -> float:
    """Calls a second."""
    step()
    started = time.perf_counter()
    for _ in range(count):
        step()
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    main()

"""How late each peer starts what is due at the same second, every five seconds, and what it leaves out."""

from __future__ import annotations

import math
import time
from pathlib import Path

from contents import Setup
from marks import counted, instants, lags, read
from measured import emptied, environment, marks_of, reported
from measuring import Stores, Usage, percentiles
from processes import Memory, check, command, run, running
from venvs import programs

CASE = "peers: many at one instant"
EVERY = 5
PREPARE_WITHIN = 120.0
GRACE = 10.0
# Who has not started so many in a hundred breaks down at this size.
BREAKS_DOWN = 10


def together(own: Stores, setup: Setup, count: int, times: int) -> None:
    ahead = 8.0 + count / 700

    def measure() -> dict[str, object]:
        nonlocal ahead
        while True:
            with emptied(own, setup) as stores:
                figures = _measured(stores, setup, count, 1 if setup.is_once else times, ahead)
            if figures is not None:
                return figures
            ahead = 2 * ahead + 5

    reported(CASE, setup, count, measure)


def _measured(own: Stores, setup: Setup, count: int, times: int, ahead: float) -> dict[str, object] | None:
    """The figures; None where the first instant had passed before all was ready for it."""
    first = math.ceil((time.time() + ahead) / EVERY) * EVERY
    told = environment(own, setup, schedules=count, first=first)
    where, marks = programs(setup.peer), marks_of(own)
    values = {"count": count, "directory": own.directory}
    if setup.before:
        run(command(setup.before, where, **values), own.directory, told, PREPARE_WITHIN)
    if time.time() > first - 3 - count / 2500:
        return None
    commands = [command(words, where, **values) for words in setup.processes]
    first = 0 if setup.is_once else first
    with running(commands, own.directory, told) as processes:
        time.sleep(max(0.0, first - 0.5 - time.time()))
        earlier = 0 if setup.is_once else counted(marks)
        memory = Memory(processes)
        used = Usage(*(process.pid for process in processes), own.postgres_pid, own.redis_pid)
        until = (first or time.time() + ahead) + EVERY * times + GRACE
        while time.time() < until and not _is_done(setup, marks, first, times, count, earlier):
            check(processes, own.directory)
            time.sleep(0.1)
        cpu, held = used.cpu(), memory.end()
    starts = read(marks)
    return _figures(starts, _due(setup, marks, first, times, starts), count * times, cpu, held)


def _is_done(setup: Setup, marks: Path, first: float, times: int, count: int, earlier: int) -> bool:
    """Whether all have started. Late starts of instants before the first may be among them: so count, then look."""
    if counted(marks) - earlier < count * times:
        return False
    starts = read(marks)
    due = _due(setup, marks, first, times, starts)
    return len(lags(starts, due, due[-1] + GRACE)) >= count * times


def _due(setup: Setup, marks: Path, first: float, times: int, starts: list[tuple[float, int]]) -> list[float]:
    return instants(first, EVERY, times, _began(marks, starts) if setup.counts_from == "start" else None)


def _began(marks: Path, starts: list[tuple[float, int]]) -> float:
    """From when on the peer counts: as its app has told, else its first start."""
    said = marks.with_suffix(".from")
    return float(said.read_text()) if said.exists() else starts[0][0] if starts else 0.0


def _figures(
    starts: list[tuple[float, int]], due: list[float], expected: int, cpu: float, held: float
) -> dict[str, object]:
    found = lags(starts, due, due[-1] + GRACE)
    missed = expected - len(found)
    late = percentiles(found)
    late.pop("p999_ms", None)
    return {
        "instants": len(due),
        "missed": missed,
        **late,
        "rss_mb": held,
        "cpu_s_per_1000": cpu * 1000 / len(found) if found else None,
        "failed": f"{missed * 100 / expected:.0f} % not started {GRACE:.0f} s after the last instant"
        if missed * 100 > expected * BREAKS_DOWN
        else None,
    }

"""How many no-ops a second each peer does that are there to be done before its workers start."""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Callable
from functools import partial

import psycopg
from contents import Setup
from marks import counted, read
from measured import emptied, environment, marks_of, reported
from measuring import Stores, Usage
from processes import Memory, PeerFailed, check, command, run, running
from venvs import programs

CASE = "peers: throughput"
PREPARE_WITHIN = 90.0
START_WITHIN = 40.0
DONE_WITHIN = 45.0
ROWS_WITHIN = 15.0


def enqueued(own: Stores, setup: Setup, count: int, case: str = CASE) -> None:
    ahead = 6.0 + count / 1000

    def measure() -> dict[str, object]:
        nonlocal ahead
        while True:
            with emptied(own, setup) as stores:
                figures = _measured(stores, setup, count, ahead)
            if figures is not None:
                return figures
            ahead = 2 * ahead + 5

    reported(case, setup, count, measure)


def _measured(own: Stores, setup: Setup, count: int, ahead: float) -> dict[str, object] | None:
    """The figures; None where the instant had passed before the processes were up."""
    first = math.ceil(time.time() + ahead)
    told = environment(own, setup, first=first if setup.waits_for_instant else None)
    where, marks = programs(setup.peer), marks_of(own)
    values = {"count": count, "directory": own.directory}
    if setup.before:
        run(command(setup.before, where, **values), own.directory, told, PREPARE_WITHIN)
    commands = [command(words, where, **values) for words in setup.processes]
    with running(commands, own.directory, told) as processes:
        if setup.waits_for_instant and time.time() > first - 2.5:
            return None
        began = _began(own, first if setup.waits_for_instant else None, processes, START_WITHIN + ahead)
        memory = Memory(processes)
        used = Usage(*(process.pid for process in processes)), Usage(own.postgres_pid), Usage(own.redis_pid)
        try:
            _await(lambda: counted(marks) >= count, DONE_WITHIN, processes, own, f"not all of {count} have started")
            _await_rows(own, setup, count, processes)
            ended = time.time() if setup.rows else max(moment for moment, _ in read(marks))
        except PeerFailed as failure:
            return {"failed": str(failure), "per_s": len(read(marks)) / DONE_WITHIN, "rss_mb": memory.end()}
        cpu = [one.cpu() * 1000 / count for one in used]
        seconds = ended - (began or min(moment for moment, _ in read(marks)))
        return {
            "per_s": count / seconds,
            "seconds": seconds,
            "rss_mb": memory.end(),
            "cpu_s_per_1000": sum(cpu),
            "own_cpu_s_per_1000": cpu[0],
        }


def _began(own: Stores, instant: float | None, processes: list[subprocess.Popen[bytes]], within: float) -> float | None:
    """From when on it counts, and not before that; None: from the first start.

    A queue's worker takes a message or a few, and starts them. Where many are decided about before the first of them is
    started, that is work too: there it counts from the instant, or from when the app says.
    """
    marks, said = marks_of(own), marks_of(own).with_suffix(".from")
    _await(
        lambda: said.exists() or counted(marks) or time.time() > (instant or math.inf),
        within,
        processes,
        own,
        "no task has started",
    )
    return instant or (float(said.read_text()) if said.exists() else None)


def _await_rows(own: Stores, setup: Setup, count: int, processes: list[subprocess.Popen[bytes]]) -> None:
    if setup.rows:
        with psycopg.connect(own.database_url, autocommit=True) as connection:
            there = partial(_rows, connection, setup.rows)
            _await(lambda: there() >= count, ROWS_WITHIN, processes, own, f"not all of {count} rows are there")


def _rows(connection: psycopg.Connection, statement: str) -> int:
    try:
        return connection.execute(statement).fetchall()[0][0]
    except psycopg.errors.UndefinedTable:
        # Some make it with the first result.
        return 0


def _await(
    condition: Callable[[], object],
    within: float,
    processes: list[subprocess.Popen[bytes]],
    own: Stores,
    otherwise: str,
) -> None:
    """PeerFailed with `otherwise` when it takes too long, or when a process has ended."""
    until = time.monotonic() + within
    while not condition():
        check(processes, own.directory)
        if time.monotonic() > until:
            raise PeerFailed(f"{otherwise} within {within:.0f} s: {counted(marks_of(own))} have")
        time.sleep(0.02)

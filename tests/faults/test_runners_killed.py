"""Three runners are killed, stopped, robbed of Redis and cut off from PostgreSQL at random: one verdict an instant,
one start an attempt, and the ledger tells what the tables hold.

RECONCILER_TEST_FAULTS_SECONDS makes it longer, RECONCILER_TEST_FAULTS_SEED another run.
"""

from __future__ import annotations

import asyncio
import collections
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis as redis_library
from cronsim import CronSim

from reconciler.db import evidence
from reconciler.db.link import Link
from reconciler.ledger import Evidence, Verdict, ledger

pytestmark = pytest.mark.faults

SEED = int(os.environ.get("RECONCILER_TEST_FAULTS_SEED", "20261124"))
SECONDS = float(os.environ.get("RECONCILER_TEST_FAULTS_SECONDS", "60"))
NAMES = [f"n{n:03}" for n in range(300)]
# Some are due by cron, in UTC; the others every one or two seconds, counted from the epoch. By the number, modulo 8.
CRONS = {1: "*/2 * * * * *", 5: "1-59/2,30,0 * * * * *"}
FOLLOWERS = {"follows-one": ["n000"], "follows-two": ["n001", "n010"]}
GIVES_UP, FAILURES = "gives-up", 3
TRIGGERED, CANCELLED = "n000", "n002"
SCHEDULED = [*NAMES, GIVES_UP]
BY_SCHEDULE = """
select name, scheduled_for from task_executions where trigger in ('schedule', 'catch_up')
union all
select name, scheduled_for from task_claims where trigger in ('schedule', 'catch_up')
"""
TICK = timedelta(microseconds=1)
BY_HAND = (["trigger", TRIGGERED, "--queue"], ["cancel", CANCELLED, "--timeout", "5s"])

TASKS = """
import asyncio, os, time
from reconciler.registry import TaskContext, task

def note(ctx):
    line = f"{ctx.name} {ctx.scheduled_for.isoformat()} {ctx.attempt}\\n"
    fd = os.open("started", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line.encode())
    os.close(fd)

@task("t.async")
async def run_async(ctx: TaskContext, seconds: float = 0) -> None:
    note(ctx)
    await asyncio.sleep(seconds)

@task("t.sync")
def run_sync(ctx: TaskContext, seconds: float = 0) -> None:
    note(ctx)
    time.sleep(seconds)

@task("t.fails")
async def fail(ctx: TaskContext) -> None:
    note(ctx)
    raise ValueError("as always")
"""

KINDS = (
    "task: t.async",
    "task: t.async\nparams: {seconds: 0.7}\nretries: {attempts: 3, backoff: 100ms}",
    "task: t.async\nparams: {seconds: 2.5}",
    "task: t.async\noverlap: allow\nparams: {seconds: 1.5}\nretries: {attempts: 2, backoff: 100ms}",
    "task: t.fails\nretries: {attempts: 2, backoff: 100ms}",
    "task: t.async\nmissed: all\noverlap: allow",
    "task: t.async\nparams: {seconds: 1.2}\noverlap: queue",
    "task: t.async\nparams: {seconds: 1.7}\noverlap: replace",
    "task: t.async\nparams: {seconds: 0.3}\nmissed: all\nmissed_limit: 3\nqueue: narrow",
    "task: t.async\nmissed: skip\ndeadline: {start: 1s}",
)
SYNC = "task: t.sync\nparams: {seconds: 0.1}\nretries: {attempts: 2, backoff: 100ms}"


def spec(n: int) -> str:
    kind = SYNC if n % 30 == 29 else KINDS[n % len(KINDS)]
    cron = CRONS.get(n % 8)
    schedule = f'"{cron}"\nseconds: first' if cron else f'"@every {seconds_between(n)}s"'
    return f"name: {NAMES[n]}\n{kind}\nschedule: {schedule}\n"


def seconds_between(n: int) -> int:
    return 1 + n % 2


def others() -> Iterator[tuple[str, str]]:
    """The names that are not due by a schedule alone, with their specs."""
    for name, upstreams in FOLLOWERS.items():
        yield name, f"name: {name}\ntask: t.async\nafter: [{', '.join(upstreams)}]\n"
    yield GIVES_UP, f'name: {GIVES_UP}\ntask: t.fails\nschedule: "@every 1s"\npause_after_failures: {FAILURES}\n'


class Runners:
    """Runner processes of one project, three at any time."""

    def __init__(self, project: Path, environment: dict[str, str]) -> None:
        self._project, self._environment = project, environment
        self.processes = [self._started() for _ in range(3)]
        self.stopped: dict[int, float] = {}

    def kill(self, place: int) -> None:
        self.processes[place].kill()
        self.processes[place].wait()
        self.stopped.pop(place, None)
        self.processes[place] = self._started()

    def suspend(self, place: int, until: float) -> None:
        self.processes[place].send_signal(signal.SIGSTOP)
        self.stopped[place] = until

    def carry_on(self, now: float) -> None:
        for place, until in list(self.stopped.items()):
            if until <= now:
                del self.stopped[place]
                self.processes[place].send_signal(signal.SIGCONT)

    def end(self) -> None:
        self.carry_on(float("inf"))
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(30)

    def _started(self) -> subprocess.Popen[bytes]:
        with (self._project / "runners.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "reconciler", "runner"],
                cwd=self._project,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


@contextmanager
def three_runners(project: Path, environment: dict[str, str]) -> Iterator[Runners]:
    runners = Runners(project, environment)
    try:
        yield runners
    finally:
        runners.end()


def cut_off(connection: psycopg.Connection[Any]) -> None:
    """PostgreSQL ends every connection to this database but ours."""
    connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> %s",
        [connection.info.backend_pid],
    )


def crash(database_url: str) -> None:
    """PostgreSQL loses a process and starts anew from its log, as after `kill -9`; no connection survives it."""
    with suppress(psycopg.Error), psycopg.connect(database_url, autocommit=True) as connection:
        os.kill(connection.info.backend_pid, signal.SIGKILL)
        connection.execute("select 1")


def harm(
    runners: Runners, chance: random.Random, client: Any, prefix: str, database_url: str, run_cli: Any
) -> collections.Counter[str]:
    """One thing goes wrong each second or so, and a person does something in between; returns what did, how often."""
    # A PostgreSQL that others use as well is only made to hang up.
    is_own = "RECONCILER_TEST_DATABASE_URL" not in os.environ
    done: collections.Counter[str] = collections.Counter()
    by_hand = list(BY_HAND)
    end = time.monotonic() + SECONDS
    while (now := time.monotonic()) < end:
        runners.carry_on(now)
        what, place = chance.choice(["kill", "suspend", "suspend", "empty", "cut off", "crash"]), chance.randrange(3)
        if what == "kill":
            runners.kill(place)
        elif what == "empty":
            client.delete(*(list(client.scan_iter(f"{prefix}*", count=1000)) or ["-"]))
        elif what == "crash" and is_own:
            crash(database_url)
        elif what in ("crash", "cut off"):
            with suppress(psycopg.Error), psycopg.connect(database_url, autocommit=True) as connection:
                cut_off(connection)
        elif place not in runners.stopped:
            runners.suspend(place, now + chance.uniform(0.3, 5))
        done[what] += 1
        # From half-time on, until PostgreSQL was there to be asked.
        if by_hand and now > end - SECONDS / 2 and run_cli(*by_hand[0]).returncode == 0:
            done[by_hand.pop(0)[0]] += 1
        now = time.monotonic()
        rest = now + chance.uniform(0.6, 1.6)
        while time.monotonic() < rest:
            runners.carry_on(time.monotonic())
            time.sleep(0.05)
    runners.carry_on(float("inf"))
    assert by_hand == []
    return done


def test_every_instant_has_one_verdict_and_no_attempt_starts_twice_whatever_happens_to_three_runners(
    project: Path,
    command_environment: dict[str, str],
    database_url: str,
    redis_url: str,
    redis_prefix: str,
    run_cli: Any,
) -> None:
    (project / "tasks" / "own.py").write_text(TASKS)
    for n, name in enumerate(NAMES):
        (project / "specs" / f"{name}.yaml").write_text(spec(n))
    for name, text in others():
        (project / "specs" / f"{name}.yaml").write_text(text)
    with (project / "reconciler.toml").open("a") as settings:
        settings.write('[runner]\nlease = "2s"\nworker_processes = 5\nqueues = ["default", "narrow"]\n')
        settings.write("[queues.narrow]\nconcurrency = 4\n[api]\nenabled = false\n")
    assert run_cli("apply").returncode == 0
    chance = random.Random(SEED)
    with psycopg.connect(database_url, autocommit=True) as connection:
        begin: dict[str, datetime] = dict(connection.execute("select name, through from task_cursors").fetchall())
    with redis_library.Redis.from_url(redis_url) as client, three_runners(project, command_environment) as runners:
        done = harm(runners, chance, client, redis_prefix, database_url, run_cli)
        assert min(times for what, times in done.items() if what not in ("trigger", "cancel")) >= 2, done
        settle(database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        check(connection, begin, (project / "started").read_text().splitlines())
        check_what_follows(connection)
        check_what_was_done_by_hand(connection)
        asyncio.run(check_the_ledger(connection, database_url, begin))


def settle(database_url: str) -> None:
    """Until the dead are forgotten, and every cursor has moved since."""
    end = time.monotonic() + 60
    with connected(database_url) as connection:
        [now] = connection.execute("select clock_timestamp()").fetchone() or [None]
        while time.monotonic() < end:
            runners = connection.execute("select count(*) from runners where ended_at is null").fetchone()
            behind = connection.execute(
                "select count(*) from task_cursors where through < %s and name = any(%s)", [now, NAMES]
            ).fetchone()
            if (runners, behind) == ((3,), (0,)):
                return
            time.sleep(0.1)
    raise AssertionError(f"{runners} runners, {behind} cursors that stand still")


def connected(database_url: str) -> psycopg.Connection[Any]:
    """A connection, as soon as PostgreSQL is up again."""
    end = time.monotonic() + 30
    while True:
        try:
            return psycopg.connect(database_url, autocommit=True)
        except psycopg.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def check(connection: psycopg.Connection[Any], begin: dict[str, datetime], started: list[str]) -> None:
    cursors = dict(connection.execute("select name, through from task_cursors").fetchall())
    verdicts: dict[str, collections.Counter[datetime]] = {name: collections.Counter() for name in SCHEDULED}
    ran = connection.execute("select name, scheduled_for, jsonb_array_length(attempts) + 1 from task_executions")
    rows = {(name, instant): attempts for name, instant, attempts in ran}
    for name, instant in connection.execute(BY_SCHEDULE).fetchall():
        verdicts[name][instant] += 1
    for name, first, last, count in connection.execute("select name, first, last, count from task_skips").fetchall():
        if name in verdicts:
            instants = list(due(name, first - TICK, last))
            assert len(instants) == count
            verdicts[name].update(instants)
    for name in SCHEDULED:
        assert verdicts[name] == collections.Counter(due(name, begin[name], cursors[name])), name

    starts = collections.Counter(started)
    assert [line for line, times in starts.items() if times > 1] == []
    attempts: dict[tuple[str, datetime], int] = {}
    for line in starts:
        name, instant, attempt = line.split()
        key = name, datetime.fromisoformat(instant)
        attempts[key] = max(attempts.get(key, 0), int(attempt))
    assert {key: (tried, rows[key]) for key, tried in attempts.items() if key in rows and tried > rows[key]} == {}
    assert len(rows) > 3 * len(NAMES)


def check_what_follows(connection: psycopg.Connection[Any]) -> None:
    """Each follower ran, and at instants at which one of its upstreams succeeded; one gave up, and said so once."""
    succeeded: dict[str, set[datetime]] = collections.defaultdict(set)
    for name, instant in connection.execute("select name, scheduled_for from task_executions where is_success"):
        succeeded[name].add(instant)
    for name, upstreams in FOLLOWERS.items():
        ran = connection.execute("select trigger, scheduled_for from task_executions where name = %s", [name])
        rows = ran.fetchall()
        assert {trigger for trigger, _ in rows} == {"after"}
        moments = set().union(*(succeeded[upstream] for upstream in upstreams))
        for _, instant in rows:  # a millisecond or two later, where that key was taken
            assert moments & {instant - timedelta(milliseconds=later) for later in range(5)}, (name, instant)
    query = "select actor, ended_at, expires_at from task_overrides where name = %s"
    assert connection.execute(query, [GIVES_UP]).fetchall() == [("reconciler", None, None)]
    newest = connection.execute(
        "select is_success from task_executions where name = %s order by finished_at desc limit %s",
        [GIVES_UP, FAILURES],
    ).fetchall()
    assert newest == [(False,)] * FAILURES


def check_what_was_done_by_hand(connection: psycopg.Connection[Any]) -> None:
    asked = "select count(*) from task_executions where name = %s and trigger = 'manual'"
    ended = """
        select (select count(*) from task_executions where name = %(name)s and error like 'cancelled%%')
               + (select count(*) from task_skips where name = %(name)s and reason = 'cancelled')"""
    assert connection.execute(asked, [TRIGGERED]).fetchone() != (0,)
    assert connection.execute(ended, {"name": CANCELLED}).fetchone() != (0,)


async def check_the_ledger(connection: psycopg.Connection[Any], database_url: str, begin: dict[str, datetime]) -> None:
    """The program's own account: each due instant once, each as its row has it, nothing left open, nothing else."""
    cursors = dict(connection.execute("select name, through from task_cursors").fetchall())
    link = Link(database_url)
    try:
        for name in [*NAMES, *(name for name, _ in others())]:
            until = cursors[name] if name in SCHEDULED else None
            known = await evidence.between(link, name, begin[name], until)
            assert known.floor is not None
            assert known.floor <= begin[name], "no row is beyond what is read"
            found = ledger(known, begin[name], until or known.now)
            scheduled = [one for one in found if one.is_scheduled]
            instants = [instant for one in scheduled for instant in expanded(name, one)]
            expected = list(due(name, begin[name], cursors[name])) if name in SCHEDULED else []
            assert instants == expected, name
            assert kinds_of(name, found) == kinds_in(connection, name), name
            assert [one for one in found if "nothing recorded says why" in one.sentence] == []
        await check_what_gave_up(link, cursors[GIVES_UP])
    finally:
        await link.close()


async def check_what_gave_up(link: Link, through: datetime) -> None:
    known: Evidence = await evidence.between(link, GIVES_UP, through, None)
    [[began]] = await link.run("select created_at from task_overrides where name = %s", [GIVES_UP])
    found = ledger(known, through, known.now)
    assert {one.kind for one in found if one.first >= began} == {"paused"}
    # What came due before, and nobody had decided, is decided when the pause is over.
    assert {one.kind for one in found if one.first < began} <= {"due"}


def expanded(name: str, one: Verdict) -> list[datetime]:
    instants = list(due(name, one.first - TICK, one.last))
    assert len(instants) == one.count, one
    return instants


def kinds_of(name: str, found: list[Verdict]) -> dict[datetime, str]:
    kinds: dict[datetime, str] = {}
    for one in found:
        for instant in expanded(name, one) if one.is_scheduled else [one.first]:
            assert instant not in kinds, f"{name} has two verdicts on {instant}"
            kinds[instant] = one.kind
    return kinds


def kinds_in(connection: psycopg.Connection[Any], name: str) -> dict[datetime, str]:
    """What the tables say of each instant that they know, by themselves."""
    kinds = {
        instant: {"missed": "missed", "paused": "paused"}.get(reason, "skipped")
        for first, last, reason in connection.execute(
            "select first, last, reason from task_skips where name = %s", [name]
        )
        for instant in ([first] if first == last else due(name, first - TICK, last))
    }
    for instant, is_running in connection.execute(
        "select scheduled_for, started_at is not null from task_claims where name = %s", [name]
    ):
        kinds[instant] = "running" if is_running else "waiting"
    for instant, is_success in connection.execute(
        "select scheduled_for, is_success from task_executions where name = %s", [name]
    ):
        kinds[instant] = "ran" if is_success else "failed"
    return kinds


def due(name: str, after: datetime, until: datetime) -> Iterator[datetime]:
    """Every instant of a name in (after, until], by the epoch, or by another reader of cron."""
    n = int(name[1:]) if name in NAMES else 0
    if name in NAMES and (cron := CRONS.get(n % 8)):
        for instant in CronSim(cron, after.astimezone(UTC)):
            if instant > until:
                return
            yield instant
    step = seconds_between(n)
    seconds = int(after.timestamp()) // step * step + step
    while seconds <= until.timestamp():
        yield datetime.fromtimestamp(seconds, UTC)
        seconds += step

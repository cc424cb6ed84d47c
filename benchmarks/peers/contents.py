"""Who the peers are: what is installed for each, and which processes make it do which job.

Data alone; nothing here runs anything. Words of a command: `python`, `celery` and the like are taken from the peer's
own environment, {count} is how many, {directory} is a new and empty one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

HERE = Path(__file__).parent
# The peer that needs no environment of its own: it is what this repository holds.
OWN = "reconciler"


@dataclass(frozen=True, slots=True)
class Setup:
    """One way to do one job. `before` runs to its end first; `processes` run meanwhile.

    `rows` is a statement: how many results are kept in PostgreSQL, for good; none where the peer keeps none.
    `counts_from`: `instant` where its schedules can be due at whole five seconds, `start` where they count from when
    its scheduler was started, or where its app says. `is_once`: it cannot repeat within the minute: one instant.
    `waits_for_instant`: it has no queue, and its work falls due at an instant instead.
    """

    label: str
    peer: str
    processes: tuple[str, ...]
    before: str = ""
    rows: str = ""
    counts_from: str = "instant"
    is_once: bool = False
    waits_for_instant: bool = False
    note: str = ""


CELERY_WORKER = (
    "celery -A with_celery worker --pool prefork --concurrency 2 --without-gossip --without-mingle --loglevel WARNING"
)
TASKIQ_WORKER = "taskiq worker with_taskiq:broker --workers 2 --log-level WARNING"
HUEY_CONSUMER = "huey_consumer with_huey.huey --workers 2 --worker-type process --quiet"
DRAMATIQ_WORKER = "dramatiq with_dramatiq --processes 2 --threads 8"
PROCRASTINATE = "procrastinate --app with_procrastinate.app worker --concurrency 50"
RUNNER = "python -m reconciler runner --port 0"
EXECUTIONS = "select count(*) from task_executions"
JOBS = "select count(*) from procrastinate_jobs where status = 'succeeded'"

# 10,000 no-ops that are there to be done.
ENQUEUED = (
    Setup(
        "reconciler",
        OWN,
        (RUNNER,),
        before="python with_reconciler.py once {count}",
        rows=EXECUTIONS,
        waits_for_instant=True,
        note="N names due at one instant, each decided once, each row committed; one runner, concurrency 1000",
    ),
    Setup(
        "celery",
        "celery",
        (CELERY_WORKER,),
        before="python with_celery.py enqueue {count}",
        note="2 prefork processes, prefetch 64, results ignored",
    ),
    Setup(
        "celery, rows",
        "celery",
        (CELERY_WORKER,),
        before="python with_celery.py enqueue {count}",
        rows="select count(*) from celery_taskmeta where status = 'SUCCESS'",
        note="the same with its database result backend",
    ),
    Setup(
        "taskiq",
        "taskiq",
        (TASKIQ_WORKER,),
        before="python with_taskiq.py enqueue {count}",
        note="2 workers of 100 async tasks, Redis stream broker with acknowledgement, no result kept",
    ),
    Setup(
        "taskiq, rows",
        "taskiq",
        (TASKIQ_WORKER,),
        before="python with_taskiq.py enqueue {count}",
        rows="select count(*) from taskiq_results",
        note="the same with the result backend of taskiq-postgres",
    ),
    Setup(
        "huey",
        "huey",
        (f"{HUEY_CONSUMER} --no-periodic",),
        before="python with_huey.py enqueue {count}",
        note="2 processes; a message is gone once it is taken: what runs when a worker dies is lost",
    ),
    Setup(
        "huey, rows",
        "huey",
        (f"{HUEY_CONSUMER} --no-periodic",),
        before="python with_huey.py enqueue {count}",
        rows="select count(*) from kv",
        note="queue and results in PostgreSQL by SqlHuey",
    ),
    Setup(
        "dramatiq",
        "dramatiq",
        (DRAMATIQ_WORKER,),
        before="python with_dramatiq.py enqueue {count}",
        note="2 processes of 8 threads; keeps results in Redis or Memcached only, here none",
    ),
    Setup(
        "apscheduler, memory",
        "apscheduler",
        ("python with_apscheduler.py memory asyncio add-and-run {count}",),
        note="no queue: N jobs with the date of now, in one process; gone when it ends",
    ),
    Setup(
        "apscheduler, postgresql",
        "apscheduler",
        ("python with_apscheduler.py postgresql asyncio run 0",),
        before="python with_apscheduler.py postgresql asyncio add {count}",
        note="no queue: N jobs with the date of now; the job's row is deleted when it starts, no result kept",
    ),
    Setup(
        "procrastinate",
        "procrastinate",
        (PROCRASTINATE,),
        before="python with_procrastinate.py prepare {count}",
        rows=JOBS,
        note="1 worker of 50 async jobs; PostgreSQL is the queue, each job stays as a row",
    ),
)

# Schedules that are due at the same second, every five seconds.
TOGETHER = (
    Setup(
        "reconciler",
        OWN,
        (RUNNER,),
        before="python with_reconciler.py every {count}",
        rows=EXECUTIONS,
        note="one row a run and one for each that is missed, each decided once",
    ),
    Setup(
        "celery + beat",
        "celery",
        (CELERY_WORKER, "celery -A with_celery beat --schedule {directory}/beat --loglevel WARNING"),
        note="static entries; no row, a missed instant leaves no trace",
    ),
    Setup(
        "celery + redbeat",
        "celery",
        (CELERY_WORKER, "celery -A with_celery beat --scheduler redbeat.RedBeatScheduler --loglevel WARNING"),
        before="python with_celery.py redbeat",
        note="rrule entries in Redis; no row, a missed instant leaves no trace",
    ),
    Setup(
        "taskiq + scheduler",
        "taskiq",
        (TASKIQ_WORKER, "taskiq scheduler with_taskiq:scheduler --log-level WARNING"),
        # It declares the consumer group, before which messages would be nobody's.
        before="python with_taskiq.py enqueue 0",
        counts_from="start",
        note="labels with an interval; no row, a missed instant leaves no trace",
    ),
    Setup(
        "huey",
        "huey",
        (HUEY_CONSUMER,),
        counts_from="start",
        is_once=True,
        note="looks at periodic tasks once a minute, so one instant was measured; no row",
    ),
    Setup(
        "dramatiq + apscheduler",
        "dramatiq",
        (DRAMATIQ_WORKER, "python with_dramatiq.py schedule"),
        note="the scheduler its cookbook recommends, in memory; no row, a missed instant leaves no trace",
    ),
    Setup(
        "apscheduler, memory",
        "apscheduler",
        ("python with_apscheduler.py memory threads add-and-run 0",),
        note="one process with 20 threads, schedules and runs in it; no row; its grace of 1 s was lifted",
    ),
    Setup(
        "apscheduler, postgresql",
        "apscheduler",
        ("python with_apscheduler.py postgresql threads run 0",),
        before="python with_apscheduler.py postgresql threads add 0",
        note="one process with 20 threads; a row a schedule, none a run; its grace of 1 s was lifted",
    ),
    Setup(
        "procrastinate",
        "procrastinate",
        (PROCRASTINATE,),
        before="python with_procrastinate.py prepare 0",
        rows=JOBS,
        note="periodic tasks, 1 worker; each job is deferred once however many workers, and is a row",
    ),
)

# What else was tried for the throughput, by the part of a command that was replaced: `run.py --settings`.
ALTERNATIVES = {
    "celery": (
        ("prefork --concurrency 2", "prefork --concurrency 3"),
        ("prefork --concurrency 2", "threads --concurrency 10"),
        ("prefork --concurrency 2", "solo"),
    ),
    "taskiq": (
        ("--workers 2", "--workers 1"),
        ("--workers 2", "--workers 2 --max-prefetch 100"),
        ("--workers 2", "--workers 2 --max-async-tasks 1000"),
    ),
    "huey": (
        ("--workers 2 --worker-type process", "--workers 3 --worker-type process"),
        ("--workers 2 --worker-type process", "--workers 2 --worker-type thread"),
    ),
    "dramatiq": (
        ("--processes 2 --threads 8", "--processes 2 --threads 1"),
        ("--processes 2 --threads 8", "--processes 2 --threads 4"),
        ("--processes 2 --threads 8", "--processes 2 --threads 16"),
    ),
    "apscheduler": (("asyncio", "threads"),),
    "procrastinate": (("--concurrency 50", "--concurrency 1"), ("--concurrency 50", "--concurrency 10")),
}

PEERS = tuple(dict.fromkeys(setup.peer for setup in (*ENQUEUED, *TOGETHER)))


def alternatives(setup: Setup) -> list[Setup]:
    """The setup itself and with each other setting that was tried, which its label names then."""
    found = [setup]
    for part, other in ALTERNATIVES.get(setup.peer, ()):
        before, *processes = (words.replace(part, other) for words in (setup.before, *setup.processes))
        label = f"{setup.label} ({other})"
        found.append(replace(setup, label=label, before=before, processes=tuple(processes), note=""))
    return found


def requirements(peer: str) -> Path:
    """The file of pinned releases that the peer's environment is made from."""
    return HERE / "requirements" / f"{peer}.txt"


def version(peer: str) -> str:
    """The pinned release of the peer itself. LookupError where its file has none."""
    for line in requirements(peer).read_text(encoding="utf-8").splitlines():
        name, _, release = line.partition("==")
        if name.lower() == peer:
            return release
    raise LookupError(f"{requirements(peer)}: no line {peer}==…")

"""Ten minutes at load, after which nothing has grown: `python benchmarks/soak.py [--seconds N]`.

A whole service on stores of its own: some hundred runs a second of every kind, and meanwhile edits, new and removed
specs, pauses and triggers. Each few seconds it is counted what the service and its stores hold. The last quarter is
held against the first after a warm-up: memory, threads, file descriptors, Redis keys and memory, PostgreSQL
connections, claims. Exit 1 where one has grown, or where a run that should succeed failed. Instants that were missed
are only told: a machine that is busy with other things misses some.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import psycopg
import redis
from drawing import lines
from measuring import Stores, report, runner, stores, trees, write_project

EVERY = 3.0
MOST_TOLD = 5
WARM_UP = 0.25  # of the time: caches fill, pools open, PostgreSQL plans
# What may be gained from the first quarter after it to the last: a share, and beyond that so much.
SHARE = 0.05
# Claims come and go within each second: at whatever moment they are counted, there may be one for every slot.
SLACK = {"rss_mb": 12.0, "threads": 2, "files": 4, "redis_keys": 4, "redis_mb": 1.0, "connections": 2, "claims": 100}
SHOWN = {
    "rss_mb": "memory, MiB",
    "threads": "threads",
    "files": "file descriptors",
    "connections": "PostgreSQL connections",
    "redis_keys": "Redis keys",
    "redis_mb": "Redis memory, MiB",
    "claims": "claims at that moment",
    "runs": "runs so far",
}
KINDS = (
    (400, "task: own.nothing\nschedule: '@every 2s'\n"),
    (60, "task: own.says\nschedule: '@every 1s'\nparams: {lines: 20}\n"),
    (60, "task: own.nothing\nschedule: '*/2 * * * * *'\nseconds: first\ntimezone: Europe/Berlin\njitter: 1s\n"),
    (20, "task: own.nothing_sync\nschedule: '@every 5s'\n"),
    (20, "task: own.fails\nschedule: '@every 5s'\nretries: {attempts: 2, backoff: 500ms}\n"),
    (10, "task: own.sleep\nschedule: '@every 1s'\nparams: {seconds: 2.5}\n"),
    (10, "task: own.sleep\nschedule: '@every 2s'\noverlap: queue\nparams: {seconds: 1.5}\n"),
    (5, "task: own.sleep\nschedule: '@every 3s'\ntimeout: 1s\nparams: {seconds: 60}\n"),
    (2, "task: own.hangs\nschedule: '@every 20s'\ntimeout: 1s\n"),
)
COMMON = "history: {keep_last: 30}\n"
SETTINGS = '[[sources]]\nname = "default"\npath = "specs"\ninterval = "5s"\n[history]\nprune_every = "10s"\n'
TASKS = """
import time

from reconciler.registry import task


@task
async def says(lines: int) -> dict:
    for number in range(lines):
        print(f"line {number} of what a task says")
    return {"lines": lines}


@task
async def fails() -> None:
    raise ValueError("as it always does")


@task
def hangs() -> None:
    time.sleep(60)
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """What is held at `at` seconds from the start; memory in MiB, of all processes of the service together."""

    at: float
    rss_mb: float
    threads: int
    files: int
    processes: int
    redis_keys: int
    redis_mb: float
    connections: int
    claims: int
    runs: int


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the service at load and see that nothing grows.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--samples", type=Path, help="append each count to this file, a line of JSON each")
    parser.add_argument("--picture", type=Path, help="draw them all, as SVG")
    asked = parser.parse_args()
    with stores() as own:
        size = sum(count for count, _ in KINDS)
        project = write_project(own.directory, spec, size, SETTINGS)
        (project / "tasks" / "own.py").write_text((project / "tasks" / "own.py").read_text() + TASKS)
        with runner(project, own, "serve", "--watch") as pid:
            samples = list(sampled(project, own, pid, asked.seconds))
        wrong = [*grown(samples), *failed(own)]
        told(size, samples, own, wrong)
    if asked.samples:
        with asked.samples.open("a") as file:
            file.writelines(json.dumps(asdict(sample)) + "\n" for sample in samples)
    if asked.picture:
        asked.picture.write_text(picture(samples))
    for line in wrong:
        print(f"soak: {line}", file=sys.stderr)
    return 1 if wrong else 0


def spec(number: int) -> str:
    for count, text in KINDS:
        if number < count:
            return f"{text}{COMMON}description: as it was\n"
        number -= count
    raise IndexError(number)


def sampled(project: Path, own: Stores, pid: int, seconds: float) -> Iterator[Sample]:
    """Count, and in between do what people do."""
    started, turn = time.monotonic(), 0
    with (
        psycopg.connect(own.database_url, autocommit=True) as database,
        redis.from_url(own.redis_url) as cache,
    ):
        while (at := time.monotonic() - started) < seconds:
            yield sample(at, pid, database, cache)
            turn += 1
            meddle(project, own, turn)
            time.sleep(max(0.0, started + turn * EVERY - time.monotonic()))
        yield sample(at, pid, database, cache)


def sample(at: float, pid: int, database: psycopg.Connection[tuple[int, ...]], cache: redis.Redis) -> Sample:
    family = [one for process in trees([pid]) if (one := held_by(process))]
    statement = """
        select (select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()),
               (select count(*) from task_claims),
               (select coalesce(sum(n_tup_ins), 0)::int8 from pg_stat_user_tables where relname = 'task_executions')"""
    [(connections, claims, runs)] = database.execute(statement).fetchall()
    return Sample(
        at=round(at, 1),
        rss_mb=sum(memory for memory, _, _ in family),
        threads=sum(threads for _, threads, _ in family),
        files=sum(files for _, _, files in family),
        processes=len(family),
        redis_keys=cache.dbsize(),
        redis_mb=cache.info("memory")["used_memory"] / 1024**2,
        connections=connections,
        claims=claims,
        runs=runs,
    )


def held_by(pid: int) -> tuple[float, int, int] | None:
    """MiB, threads and file descriptors of a process; None when it has just ended."""
    try:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return (
            int(status["VmRSS"].split()[0]) / 1024,
            int(status["Threads"]),
            len(list(Path(f"/proc/{pid}/fd").iterdir())),
        )
    except (OSError, KeyError):  # ended, or a zombie
        return None


def meddle(project: Path, own: Stores, turn: int) -> None:
    """An edit each time; now and then a spec that comes and goes, a pause, and runs asked for by hand."""
    edited = project / "specs" / "team-00" / "job-000000.yaml"
    edited.write_text(spec(0).replace("as it was", f"as it is in turn {turn}"))
    guest = project / "specs" / f"guest-{(turn - 1) // 2 % 5}.yaml"
    if turn % 2:
        guest.write_text(f"task: own.nothing\nschedule: '@every 1s'\nparams: {{}}\ndescription: turn {turn}\n")
    else:
        guest.unlink()
    if turn % 5 == 0:
        by_hand(project, own, "pause", "job-000001", "--for", "5s", "--reason", f"turn {turn}")
    if turn % 5 == 3:
        by_hand(project, own, "trigger", "job-000002", "--queue")


def by_hand(project: Path, own: Stores, *words: str) -> None:
    command = [sys.executable, "-m", "reconciler", *words]
    subprocess.run(command, cwd=project, env=own.environment, check=True, capture_output=True)


def grown(samples: Sequence[Sample]) -> Iterator[str]:
    """What the last quarter after the warm-up holds more of than the first."""
    for name, slack in SLACK.items():
        first, last = quarters(samples, name)
        if last > first * (1 + SHARE) + slack:
            yield f"{name} grew from {first:.1f} to {last:.1f} (medians of the first and the last quarter)"


def quarters(samples: Sequence[Sample], name: str) -> tuple[float, float]:
    settled = [float(getattr(one, name)) for one in samples if one.at >= WARM_UP * samples[-1].at]
    part = max(1, len(settled) // 4)
    return statistics.median(settled[:part]), statistics.median(settled[-part:])


def failed(own: Stores) -> Iterator[str]:
    """What the service should have done and did not."""
    unexpected = "select name, error from task_executions where not is_success and task = any(%s)"
    for name, error in own.ask(unexpected, ["own.nothing", "own.nothing_sync", "own.says"])[:MOST_TOLD]:
        yield f"{name} failed: {error}"


def picture(samples: Sequence[Sample]) -> str:
    rows = [(words, [(one.at, float(getattr(one, name))) for one in samples]) for name, words in SHOWN.items()]
    return lines(f"{samples[-1].at:.0f} seconds at load: what the service and its stores hold", "seconds", rows)


def told(size: int, samples: Sequence[Sample], own: Stores, wrong: Sequence[str]) -> None:
    last = samples[-1]
    growth = {
        f"{field.name}_{when}": value
        for field in fields(Sample)
        if field.name in SLACK
        for when, value in zip(("first", "last"), quarters(samples, field.name), strict=True)
    }
    [(missed,)] = own.ask("select coalesce(sum(count), 0)::int8 from task_skips where reason = 'missed'")
    report("soak", size, seconds=last.at, runs_per_s=last.runs / last.at, missed=missed, **growth, is_flat=not wrong)


if __name__ == "__main__":
    sys.exit(main())

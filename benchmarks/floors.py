"""What PostgreSQL, Redis and Python alone allow here, whatever is built on them: `python benchmarks/floors.py [N]`.

One JSON line a case; nothing of a runner is in it. `n` is how many go into one statement. CPU seconds are per 1,000:
of all, of this process (`client_`), of PostgreSQL with its backends (`postgresql_`), of Redis (`redis_`).
The statements are the program's own, with the values that a runner gives them, over N runs (by default 20,000).
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID, uuid4

from croniter import croniter
from measuring import Stores, Usage, each, percentiles, report, stores
from psycopg.types.json import Jsonb

from reconciler.db import claims, finishing
from reconciler.db.claimrows import Move, Wanted, record_columns
from reconciler.db.link import Link
from reconciler.scheduler import Advance, Entry, RedisServiceManager, SchedulerService
from reconciler.spec import TaskSpec

RUNS, NAMES, BATCHES = 20_000, 10_000, (100, 1000)
STEP = timedelta(minutes=1)
START = datetime(2030, 1, 1, tzinfo=UTC)
HOLD = timedelta(seconds=10)
WARM = 5

CONFIGS = """
insert into task_configs (name, source, spec, digest, path, revision)
select 'job-' || lpad(n::text, 6, '0'), 'bench', %(spec)s::jsonb || jsonb_build_object('name', 'job-' || n),
       encode(sha256(n::text::bytea), 'hex'), 'specs/job.yaml', %(revision)s
from generate_series(0, %(names)s - 1) n
"""
CURSORS = "insert into task_cursors (name, through) select name, %(start)s from task_configs order by name"
INSERT = """
insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, trigger, runner, token,
                             digest, revision)
select d.name, d.scheduled_for, d.task, d.started_at, d.finished_at, d.is_success, 'schedule', d.runner, d.token, 'd',
       d.revision
from unnest(
    %(names)s::text[], %(instants)s::timestamptz[], %(tokens)s::uuid[], %(tasks)s::text[],
    %(started_at)s::timestamptz[], %(finished_at)s::timestamptz[], %(is_success)s::bool[], %(runners)s::text[],
    %(revisions)s::text[]
) as d(name, scheduled_for, token, task, started_at, finished_at, is_success, runner, revision)
"""
TINY = "insert into outages (runner, what, began_at) values ('h:1', 'floor', clock_timestamp())"


@dataclass(slots=True)
class Names:
    """The schedules, each with where its cursor stands."""

    digests: dict[str, str]
    cursors: dict[str, datetime] = field(default_factory=dict)
    revision: str = "a" * 40

    def batches(self, size: int) -> Iterator[tuple[list[Move], list[Wanted]]]:
        """The next instant of so many names, again and again."""
        while True:
            names = iter(self.digests.items())
            while batch := list(islice(names, size)):
                yield self._batch(batch)

    def _batch(self, batch: Sequence[tuple[str, str]]) -> tuple[list[Move], list[Wanted]]:
        moves, fires = [], []
        for name, digest in batch:
            seen = self.cursors.get(name, START)
            at = self.cursors[name] = seen + STEP
            moves.append(Move(name, digest, seen, at, self.revision, True))
            turn = -int(at.timestamp()) * 1_000_000
            fires.append(Wanted(name, at, "own.nothing", uuid4(), "default", 0, "schedule", True, turn))
        return moves, fires


def main(runs: int) -> None:
    with stores() as own:
        each(
            partial(loop_alone, runs),
            partial(cron_alone, runs),
            *(partial(run, own, act, runs, size) for act in (decide_and_finish, inserted) for size in BATCHES),
            partial(run, own, committed, 500, 1),
            *(partial(run, own, taken, runs, size) for size in BATCHES),
        )


def run(own: Stores, act: Callable[..., Awaitable[None]], runs: int, size: int) -> None:
    asyncio.run(act(own, runs, size))


def loop_alone(runs: int) -> None:
    """A task a run on an event loop, in groups of a thousand."""

    async def all_of_them() -> None:
        for _ in range(runs // 1000):
            await asyncio.gather(*[nothing() for _ in range(1000)])

    started, used = time.perf_counter(), time.process_time()
    asyncio.run(all_of_them())
    said("floor: asyncio no-op", 1000, runs, started, used)


def cron_alone(runs: int) -> None:
    """One step of one kept croniter a run."""
    steps = croniter("*/5 * * * *", START, ret_type=datetime)
    started, used = time.perf_counter(), time.process_time()
    for _ in range(runs):
        steps.get_next()
    said("floor: croniter step", 1, runs, started, used)


async def nothing() -> None: ...


async def decide_and_finish(own: Stores, runs: int, size: int) -> None:
    """Each alone over one connection; and both over two, the next batch decided while the last one is finished."""
    names, runner = await fresh(own), uuid4()
    first, second = Link(own.database_url), Link(own.database_url)
    batches = names.batches(size)
    for _ in range(WARM):
        await finish(second, names, await decide(first, runner, *next(batches)))
    alone = min(runs, NAMES)  # a name whose run is not finished has its next instant skipped
    server, started, used, decided = Usage(own.postgres_pid), time.perf_counter(), time.process_time(), []
    for _ in range(alone // size):
        decided.append(await decide(first, runner, *next(batches)))
    said("floor: decide", size, alone, started, used, server)
    server, started, used = Usage(own.postgres_pid), time.perf_counter(), time.process_time()
    for fires in decided:
        await finish(second, names, fires)
    said("floor: finish", size, alone, started, used, server)
    server, started, used = Usage(own.postgres_pid), time.perf_counter(), time.process_time()
    ended: list[Wanted] = []
    for _ in range(runs // size):
        fires, _ = await asyncio.gather(decide(first, runner, *next(batches)), finish(second, names, ended))
        await asyncio.gather(*[nothing() for _ in fires])
        ended = fires
    await finish(second, names, ended)
    said("floor: decide and finish around an asyncio no-op", size, runs, started, used, server)
    await first.close()
    await second.close()


async def decide(link: Link, runner: UUID, moves: Sequence[Move], fires: list[Wanted]) -> list[Wanted]:
    decided = await claims.decide(link, runner, moves, fires, [])
    assert len(decided.won) == len(fires), "something else is deciding here"
    return fires


async def finish(link: Link, names: Names, fires: Sequence[Wanted]) -> None:
    if fires:
        assert len(await finishing.finish(link, records(names, fires))) == len(fires)


def records(names: Names, fires: Sequence[Wanted]) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    return [
        {
            "name": fire.name,
            "scheduled_for": fire.scheduled_for,
            "task": fire.task,
            "started_at": now,
            "finished_at": now,
            "is_success": True,
            "runner": "host.example:12345",
            "token": fire.token,
            "revision": names.revision,
        }
        for fire in fires
    ]


async def inserted(own: Stores, runs: int, size: int) -> None:
    """One row a run and nothing decided; and the same with a croniter step for each."""
    names, link = await fresh(own), Link(own.database_url)
    batches = names.batches(size)
    for case, steps in (("", 0), (", a croniter step each", 1)):
        cron = croniter("* * * * *", START, ret_type=datetime)
        server, started, used = Usage(own.postgres_pid), time.perf_counter(), time.process_time()
        for _ in range(runs // size):
            _, fires = next(batches)
            for _ in range(steps * len(fires)):
                cron.get_next()
            await link.run(INSERT, record_columns(records(names, fires)), by_index=True)
        said(f"floor: rows inserted{case}", size, runs, started, used, server)
    await link.close()


async def committed(own: Stores, runs: int, size: int) -> None:
    """How long one small row takes until it is durable."""
    link, times = Link(own.database_url), []
    for _ in range(runs):
        started = time.perf_counter()
        await link.run(TINY)
        times.append(time.perf_counter() - started)
    report("floor: commit", size, **percentiles(times))
    await link.close()


async def taken(own: Stores, runs: int, size: int) -> None:
    """The script that takes what is due and the one that sets what comes next."""
    redis = RedisServiceManager(own.redis_url)
    scheduler, digest = SchedulerService(redis), "d" * 64
    entries = [Entry(n, "default", "active", digest, START, START) for n in range(1, NAMES + 1)]
    await scheduler.align(entries, complete=True)
    epoch, now = await scheduler.epoch() or "", START
    server, started, used, done = Usage(own.redis_pid), time.perf_counter(), time.process_time(), 0
    while done < runs:
        found = await scheduler.take(["default"], now, size, HOLD, epoch)
        moves = [
            Advance(due.config_id, due.queue, due.digest, due.next_run, due.next_run + STEP, due.next_run + STEP)
            for due in found.due
        ]
        await scheduler.advance(moves)
        done += len(moves)
        now = now if moves else now + STEP
    said("floor: take script", size, done, started, used, server, "redis")
    await redis.close()


async def fresh(own: Stores) -> Names:
    """Tables with nothing in them but the schedules."""
    spec = TaskSpec.from_document({"name": "job", "task": "own.nothing", "schedule": "* * * * *"})
    link = Link(own.database_url, lock_timeout=timedelta(minutes=1))
    await link.run("truncate task_configs, task_cursors, task_claims, task_executions")
    await link.run(CONFIGS, {"spec": Jsonb(spec.document()), "names": NAMES, "revision": "a" * 40})
    await link.run(CURSORS, {"start": START})
    for table in ("task_configs", "task_cursors", "task_claims", "task_executions"):
        await link.run(f"analyze {table}")
    names = Names(dict(await link.run("select name, digest from task_configs order by name")))
    await link.close()
    return names


def said(
    case: str, n: int, runs: int, started: float, used: float, server: Usage | None = None, kind: str = "postgresql"
) -> None:
    """One line: `runs` in the time since `started`, with the CPU time since `used` and that of the server."""
    seconds = time.perf_counter() - started
    client, other = (time.process_time() - used) / runs * 1000, server.cpu() / runs * 1000 if server else None
    spent = {} if other is None else {"client_cpu_s_per_1000": client, f"{kind}_cpu_s_per_1000": other}
    report(case, n, per_s=runs / seconds, cpu_s_per_1000=client + (other or 0.0), **spent)


if __name__ == "__main__":
    main(next((int(word) for word in sys.argv[1:] if word.isdecimal()), RUNS))

"""How fast what looks at history is with a short and with a long one: `python benchmarks/history.py [--plans] [N ...]`.

One JSON line a statement and size: milliseconds, the median of many. N executions (by default 1,000 and 1,000,000) of
1,000 names lie in a new database of an embedded server; one in 997 failed. `--plans` shows EXPLAIN ANALYZE as well.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from reconciler.db import claims, executions, finishing, overview, schema
from reconciler.db.claimrows import Move, Wanted
from reconciler.db.link import Link, Params
from reconciler.db.retention import prune
from reconciler.embedded import open_stores
from reconciler.settings import load_settings

NAMES = 1000
BATCH = 100
REPEAT = 15
KEEP = timedelta(days=3650)
NEWEST = datetime(2026, 11, 1, tzinfo=UTC)
RUNNER = UUID(int=1)

CONFIGS = """
insert into task_configs (name, source, spec, digest, path)
select 'job-' || lpad(n::text, 4, '0'), 'bench',
       jsonb_build_object('task', 'demo.task', 'schedule', jsonb_build_array('* * * * *'), 'overlap', 'allow',
                          'labels', '{}'::jsonb, 'after', '[]'::jsonb,
                          'history', jsonb_build_object('keep', '3650d')), 'd', 'p'
from generate_series(0, %(names)s - 1) n
"""
CURSORS = "insert into task_cursors (name, through) select name, %(newest)s from task_configs"
EXECUTIONS = """
insert into task_executions (name, scheduled_for, task, started_at, finished_at, is_success, error, log, trigger,
                             digest)
select 'job-' || lpad((n %% %(names)s)::text, 4, '0'), s, 'demo.task', s, s + interval '2 seconds', n %% 997 > 0,
       case when n %% 997 = 0 then 'ValueError: no such region' end, 'read 120 rows of sales' || n, 'schedule', 'd'
from generate_series(%(first)s::bigint, %(last)s::bigint) n,
     lateral (select %(newest)s - (n / %(names)s) * interval '1 minute' as s) x
on conflict do nothing
"""
WAIT = """
insert into task_claims (name, scheduled_for, not_before, queue, task, trigger, digest, exclusive)
select name, %(at)s, now(), 'default', 'demo.task', 'manual', 'd', true
from task_configs order by name limit %(batch)s
"""
OWNED = "select name, scheduled_for, token from task_claims where runner_id is not null and trigger = %(trigger)s"
SIZE = "select pg_size_pretty(pg_total_relation_size('task_executions'))"

WRITES = re.compile(r"\b(insert into|delete from|update task_)")
Act = Callable[[Any], Awaitable[object]]


class Explaining:
    """A link that says how each statement was carried out, after carrying it out."""

    def __init__(self, link: Link) -> None:
        self.link = link

    async def run(self, statement: str, params: Params = None, *, by_index: bool = False) -> list[tuple[Any, ...]]:
        explained = f"explain (analyze, costs off, timing off, summary on) {statement}"
        lines = await self.link.run(explained, params, by_index=by_index)
        print("\n".join(line for (line,) in lines), "\n", flush=True)
        return [] if WRITES.search(statement) else await self.link.run(statement, params, by_index=by_index)

    @asynccontextmanager
    async def transaction(self, **options: Any) -> AsyncIterator[Explaining]:
        yield self


def main(sizes: list[int], plans: bool) -> None:
    directory = tempfile.TemporaryDirectory(prefix="b-", dir="/tmp")
    with directory as name, open_stores(load_settings(Path(name), {})) as stores:
        schema.upgrade(stores.database_url)
        asyncio.run(measure(stores.database_url, sizes, plans))


async def measure(url: str, sizes: list[int], plans: bool) -> None:
    link = Link(url, lock_timeout=timedelta(minutes=10))
    await link.run(CONFIGS, {"names": NAMES})
    await link.run(CURSORS, {"newest": NEWEST})
    there = 0
    for size in sorted(sizes):
        await fill(link, there, size)
        there = size
        for case, act in cases().items():
            await report(link, case, size, act, plans)
        await claim_path(link, size, plans)
        await removal(link, size)
    await link.close()


async def fill(link: Link, there: int, size: int) -> None:
    started = time.perf_counter()
    for first in range(there, size, 500_000):
        last = min(first + 500_000, size) - 1
        await link.run(EXECUTIONS, {"first": first, "last": last, "names": NAMES, "newest": NEWEST})
    for table in ("task_executions", "task_configs", "task_cursors", "task_claims"):
        await link.run(f"analyze {table}")
    [(on_disk,)] = await link.run(SIZE)
    seconds = round(time.perf_counter() - started, 1)
    print(json.dumps({"case": "fill", "n": size, "seconds": seconds, "table": on_disk}), flush=True)


def cases() -> dict[str, Act]:
    name, day = "job-0000", NEWEST - timedelta(minutes=7)
    return {
        "status, all names": lambda link: overview.overview(link),
        "status, one name": lambda link: overview.overview(link, [name]),
        "history, all names": lambda link: executions.history(link),
        "history, one name": lambda link: executions.history(link, name=name),
        "history, only failed": lambda link: executions.history(link, failed=True),
        "history, one name, only failed": lambda link: executions.history(link, name=name, failed=True),
        "history, one name, since": lambda link: executions.history(link, name=name, since=day),
        "why: one instant": lambda link: executions.one(link, name, day),
        "prune, nothing to do": lambda link: prune(link, NEWEST, keep=timedelta(days=9999)),
    }


async def claim_path(link: Link, size: int, plans: bool) -> None:
    """Decide, finish, pick up and finish again, batch after batch; the last one explained."""
    times: dict[str, list[float]] = {}
    for turn in range(REPEAT + plans):
        through = NEWEST + turn * BATCH * timedelta(seconds=1)
        used: Any = Explaining(link) if turn == REPEAT else link

        async def timed(what: str, work: Callable[[Any], Awaitable[Any]], used: Any = used) -> Any:
            started = time.perf_counter()
            done = await work(used)
            times.setdefault(what, []).append(time.perf_counter() - started)
            return done

        names = [f"job-{number:04}" for number in range(BATCH)]
        [(seen,)] = await link.run("select through from task_cursors where name = 'job-0000'")
        through = max(through, seen + timedelta(seconds=1))
        await link.run(WAIT, {"at": through + timedelta(milliseconds=1), "batch": BATCH})
        moves = [Move(name, "d", seen, through) for name in names]
        fires = [Wanted(name, through, "demo.task", uuid4(), "default", 0, "schedule", True) for name in names]
        await timed("decide 100", lambda link: claims.decide(link, RUNNER, moves, fires, []))  # noqa: B023
        await timed("finish 100", lambda link: finish(link, "schedule"))
        await timed("pick up 100", lambda link: claims.pick_up(link, RUNNER, ["default"], ["demo.task"], BATCH))
        await finish(link, "manual")
        await link.run("delete from task_claims")
    for what, taken in times.items():
        tell(what, size, taken[:REPEAT])


class Timing:
    """A link that notes how long each statement that removes took, and how many rows."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.times: list[float] = []

    async def run(self, statement: str, params: Params = None) -> list[tuple[Any, ...]]:
        started = time.perf_counter()
        rows = await self.link.run(statement, params)
        if any(count for *_, count in rows if "delete from" in statement):
            self.times.append(time.perf_counter() - started)
        return rows


async def removal(link: Link, size: int) -> None:
    """A hundredth of the history goes, in transactions of at most 1,000 rows, without the rests between."""
    oldest = NEWEST - size // NAMES * timedelta(minutes=1)
    timing = Timing(link)
    gone = await prune(timing, oldest + (NEWEST - oldest) / 100 + KEEP, rest=0)
    if timing.times:
        tell("prune, one transaction of 1,000", size, timing.times)
        line = {
            "case": "prune, a hundredth",
            "n": size,
            "rows": gone.executions,
            "slowest_ms": max(timing.times) * 1000,
        }
        print(json.dumps(line), flush=True)


async def finish(link: Any, trigger: str) -> None:
    rows = await (link.link if isinstance(link, Explaining) else link).run(OWNED, {"trigger": trigger})
    now = NEWEST
    known = {"task": "demo.task", "started_at": now, "finished_at": now, "is_success": True, "attempts": []}
    empty = dict.fromkeys(("error", "traceback", "result", "log", "revision"))
    records = [
        {"name": name, "scheduled_for": at, "token": token, "runner": "here:1"} | known | empty
        for name, at, token in rows
    ]
    await finishing.finish(link, records)


async def report(link: Link, case: str, size: int, act: Act, plans: bool) -> None:
    times = []
    for _ in range(REPEAT):
        started = time.perf_counter()
        await act(link)
        times.append(time.perf_counter() - started)
    tell(case, size, times)
    if plans:
        print(f"-- {case}, {size:,}")
        await act(Explaining(link))


def tell(case: str, size: int, times: list[float]) -> None:
    print(json.dumps({"case": case, "n": size, "ms": round(statistics.median(times) * 1000, 2)}), flush=True)


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--plans"]
    main([int(word) for word in words] or [1000, 1_000_000], "--plans" in sys.argv)

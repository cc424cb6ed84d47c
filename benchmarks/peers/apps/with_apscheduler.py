"""APScheduler 3 as its guide sets it up, in one process: it has no workers elsewhere.

`python with_apscheduler.py STORE KIND add N | add-and-run N | run 0`. STORE is `memory` or `postgresql`; KIND is
`asyncio`, where the tasks are coroutines, or `threads`, where they run in a pool of twenty. With schedules those are
added instead of N jobs that run once. Nothing is ever too late to run: by default it is after a second.
"""

from __future__ import annotations

import asyncio
import sys
import time

import told
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

DEFAULTS = {"misfire_grace_time": None, "coalesce": False, "max_instances": 6}
# By name, as a store that outlives the process needs it.
TASKS = {"asyncio": "with_apscheduler:noop", "threads": "with_apscheduler:noop_in_thread"}


async def noop(number: int) -> None:
    noop_in_thread(number)


def noop_in_thread(number: int) -> None:
    from marking import mark

    mark(number)


def scheduler_on(store: str, kind: str) -> BaseScheduler:
    if kind == "asyncio":
        scheduler = AsyncIOScheduler(job_defaults=DEFAULTS)
    else:
        scheduler = BackgroundScheduler(job_defaults=DEFAULTS, executors={"default": ThreadPoolExecutor(20)})
    if store == "postgresql":
        scheduler.add_jobstore(SQLAlchemyJobStore(told.DATABASE.replace("postgresql:", "postgresql+psycopg2:")))
    return scheduler


async def main(store: str, kind: str, verb: str, count: int) -> None:
    scheduler = scheduler_on(store, kind)
    scheduler.start(paused=True)
    for number in range(told.SCHEDULES or count) if verb.startswith("add") else ():
        trigger = IntervalTrigger(seconds=told.EVERY, start_date=told.FIRST) if told.SCHEDULES else DateTrigger()
        scheduler.add_job(TASKS[kind], trigger, args=[number])
    if verb.endswith("run"):
        # It decides about many jobs before the first begins, so that the first start is not the beginning.
        told.counts_from(time.time())
        scheduler.resume()
        await asyncio.Event().wait()
    scheduler.shutdown()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))

"""Celery as its user guide sets it up for many short tasks: Redis as the broker, prefork, a large prefetch.

With rows each result is one, in PostgreSQL; else results are ignored. Schedules are static entries for beat, and
entries of their own for RedBeat: `python with_celery.py enqueue N | redbeat`.
"""

from __future__ import annotations

import sys
from datetime import timedelta

import told
from celery import Celery
from marking import mark

app = Celery("with_celery", broker=told.REDIS.replace("unix://", "redis+socket://"))
app.conf.update(
    broker_connection_retry_on_startup=True,
    # "Say 64, or 128": Optimizing, Prefetch Limits.
    worker_prefetch_multiplier=64,
    task_ignore_result=not told.ROWS,
    redbeat_redis_url=told.REDIS,
)
if told.ROWS:
    app.conf.result_backend = "db+" + told.DATABASE.replace("postgresql:", "postgresql+psycopg2:")


@app.task(name="noop")
def noop(number: int) -> None:
    mark(number)


# As if each had run one interval before the first instant, so that all are due at it.
LAST = told.FIRST - timedelta(seconds=told.EVERY)
if "redbeat" not in " ".join(sys.argv):
    app.conf.beat_schedule = {
        f"noop-{number}": {"task": "noop", "schedule": told.EVERY, "args": (number,), "last_run_at": LAST}
        for number in range(told.SCHEDULES)
    }


def enqueue(count: int) -> None:
    with app.producer_pool.acquire() as producer:
        for number in range(count):
            noop.apply_async((number,), producer=producer)


def redbeat() -> None:
    from redbeat import RedBeatSchedulerEntry
    from redbeat.schedules import rrule

    # An interval would count from when each entry was saved.
    every = rrule("SECONDLY", interval=told.EVERY, dtstart=told.FIRST, app=app)
    for number in range(told.SCHEDULES):
        RedBeatSchedulerEntry(f"noop-{number}", "noop", every, args=[number], app=app).save()


if __name__ == "__main__":
    if sys.argv[1] == "enqueue":
        enqueue(int(sys.argv[2]))
    else:
        redbeat()

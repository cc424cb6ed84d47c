"""Dramatiq as its guide sets it up: the Redis broker with its own middleware, worker processes with threads.

Its cookbook recommends APScheduler for schedules, in a process of its own that sends the messages:
`python with_dramatiq.py enqueue N | schedule`.
"""

from __future__ import annotations

import sys

import dramatiq
import told
from dramatiq.brokers.redis import RedisBroker
from marking import mark

dramatiq.set_broker(RedisBroker(url=told.REDIS))


@dramatiq.actor
def noop(number: int) -> None:
    mark(number)


def schedule() -> None:
    from apscheduler.schedulers.blocking import BlockingScheduler
    from apscheduler.triggers.interval import IntervalTrigger

    scheduler = BlockingScheduler(job_defaults={"misfire_grace_time": None, "coalesce": False, "max_instances": 6})
    for number in range(told.SCHEDULES):
        trigger = IntervalTrigger(seconds=told.EVERY, start_date=told.FIRST)
        scheduler.add_job(noop.send, trigger, args=[number])
    scheduler.start()


if __name__ == "__main__":
    if sys.argv[1] == "enqueue":
        for _number in range(int(sys.argv[2])):
            noop.send(_number)
    else:
        schedule()

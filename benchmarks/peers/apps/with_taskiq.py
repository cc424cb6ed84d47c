"""TaskIQ as its guide sets it up: the Redis stream broker, which acknowledges, two workers, async tasks.

With rows results are kept in PostgreSQL, by taskiq-postgres; else by nobody. Schedules are labels of the task, which
its scheduler reads: `python with_taskiq.py enqueue N`.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time

import told
from marking import mark
from taskiq import ScheduledTask, TaskiqScheduler
from taskiq.schedule_sources import LabelScheduleSource
from taskiq_redis import RedisStreamBroker

# By default a message that waits longer than 20 s for one of the pool's 50 connections is dropped: thousands that are
# due at once do wait.
broker = RedisStreamBroker(told.REDIS, timeout=None, socket_connect_timeout=60)
if told.ROWS:
    from taskiq_pg.asyncpg import AsyncpgResultBackend

    broker = broker.with_result_backend(AsyncpgResultBackend(told.DATABASE))


class Labels(LabelScheduleSource):
    """Says when its scheduler first asked: from the whole second after that on, it counts."""

    is_asked = False

    async def get_schedules(self) -> list[ScheduledTask]:
        if not self.is_asked:
            self.is_asked = True
            told.counts_from(math.ceil(time.time()))
        return await super().get_schedules()


scheduler = TaskiqScheduler(broker, [Labels(broker)])


LABELS = {"schedule": [{"interval": told.EVERY, "args": [number]} for number in range(told.SCHEDULES)]}


@broker.task(task_name="noop", **(LABELS if told.SCHEDULES else {}))
async def noop(number: int) -> None:
    mark(number)


async def enqueue(count: int) -> None:
    await broker.startup()
    for number in range(count):
        await noop.kiq(number)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(enqueue(int(sys.argv[2])))

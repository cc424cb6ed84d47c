"""Huey as its guide sets it up: Redis, and its consumer with processes.

With rows both the queue and the results are in PostgreSQL, by its own SqlHuey. Schedules are periodic tasks, which the
consumer looks at once a minute: `python with_huey.py enqueue N`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import told
from huey import RedisHuey, crontab
from marking import mark

if told.ROWS:
    from huey.contrib.sql_huey import SqlHuey

    # A result that nobody has read stays; without store_none a task that returns nothing would leave none.
    huey = SqlHuey("peers", database=told.DATABASE, store_none=True)
else:
    huey = RedisHuey("peers", url=told.REDIS, results=False)


@huey.task()
def noop(number: int) -> None:
    mark(number)


def periodic(number: int) -> Callable[[], None]:
    def run() -> None:
        mark(number)

    return run


for _number in range(told.SCHEDULES):
    huey.periodic_task(crontab(minute="*"), name=f"noop_{_number}")(periodic(_number))

if __name__ == "__main__":
    # Of the module, not of this script: a message names where its task is.
    from with_huey import noop as known

    for _number in range(int(sys.argv[2])):
        known(_number)

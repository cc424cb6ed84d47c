"""Procrastinate as its guide sets it up: PostgreSQL is the queue, and each job stays as a row with its end.

Schedules are periodic tasks, with cron's sixth column for seconds: `python with_procrastinate.py prepare N`, which
makes the tables first.
"""

from __future__ import annotations

import asyncio
import sys

import told
from marking import mark
from procrastinate import App, PsycopgConnector

app = App(connector=PsycopgConnector(conninfo=told.DATABASE))


@app.task(name="noop")
async def noop(number: int) -> None:
    mark(number)


@app.task(name="due")
async def due(timestamp: int, number: int) -> None:
    mark(number)


for _number in range(told.SCHEDULES):
    app.periodic(cron=f"* * * * * */{told.EVERY}", periodic_id=f"noop-{_number}", task_kwargs={"number": _number})(due)


async def prepare(count: int) -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await noop.batch_defer_async(*({"number": number} for number in range(count)))


if __name__ == "__main__":
    asyncio.run(prepare(int(sys.argv[2])))

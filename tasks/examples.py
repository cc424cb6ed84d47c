"""Small tasks to watch, and to copy from."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from reconciler.registry import TaskContext, task


@task("examples.heartbeat")
async def heartbeat(ctx: TaskContext, message: str = "alive") -> dict[str, str]:
    """Say so. An async function: many of them share one process."""
    ctx.logger.info("%s at %s", message, f"{ctx.scheduled_for:%H:%M:%S}")
    return {"message": message}


@task("examples.wait")
async def wait(duration: timedelta = timedelta(seconds=1)) -> None:
    """Take some time, without keeping others from theirs."""
    await asyncio.sleep(duration.total_seconds())


@task("examples.count_words")
def count_words(text: str) -> int:
    """Count words. A sync function: it has a process of its own while it runs."""
    words = len(text.split())
    print(f"{words} words")
    return words


@task("examples.fail")
def fail(reason: str = "on purpose") -> None:
    """Print a line, then fail: how a failure looks in `status`, `history` and `logs`."""
    print("about to fail, as asked")
    raise RuntimeError(reason)

"""That work which cannot say how much there is still goes on: how long it has taken, for a person at a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from reconciler.cli.progress import FIRST_AFTER, Progress, progress


@asynccontextmanager
async def ticking(what: str) -> AsyncIterator[None]:
    """While it is open, `what` and the seconds so far."""
    with progress(what) as shown:
        if shown is None:
            yield
            return
        task = asyncio.create_task(_tick(shown))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _tick(shown: Progress) -> None:
    while True:
        await asyncio.sleep(FIRST_AFTER)
        shown.passed()

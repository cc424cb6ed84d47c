"""What came before: told to the calls of those tasks that ask for it, before they are made.

Most tasks do not, and their calls never come here. While PostgreSQL is away these wait, owned and not begun.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import psycopg

from reconciler.db import underway
from reconciler.db.link import Statements
from reconciler.errors import StoreUnavailable
from reconciler.execute import Call
from reconciler.runner.patience import within
from reconciler.runner.running import Running

log = logging.getLogger("reconciler.runner")

PATIENCE = 5.0
RETRY = 0.5


class Contexts:
    """Fills in the calls in `running.wanting` and gives them to `submit`."""

    def __init__(self, link: Statements, running: Running, submit: Callable[[Sequence[Call]], None]) -> None:
        self._link = link
        self._running = running
        self._submit = submit

    async def run(self) -> None:
        """Until cancelled; what is still wanting then has not begun."""
        while True:
            await self._running.wanted.wait()
            self._running.wanted.clear()
            try:
                await self._fill()
            except (StoreUnavailable, psycopg.Error) as error:
                log.debug("what ran before could not be read: %s", error)
                self._running.wanted.set()
                await asyncio.sleep(RETRY)
            except Exception as error:
                log.error("what ran before could not be told", exc_info=error)
                self._running.wanted.set()
                await asyncio.sleep(RETRY)

    async def _fill(self) -> None:
        calls = list(self._running.wanting.values())
        names = sorted({call.name for call in calls})
        async with within(PATIENCE):
            found = await underway.last_successes(self._link, names)
        ready = []
        for call in calls:
            # One that was cancelled meanwhile is settled, and not there any more.
            if self._running.wanting.pop(call.id, None) is not None:
                last, result = found.get(call.name, (None, None))
                ready.append(call._replace(last_success=last, last_result=result))
        if ready:
            self._submit(ready)

"""Child processes for the tests that need them, with tasks written for the test."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reconciler.children.children import Children
from reconciler.execute import Call, Outcome
from reconciler.scheduler import RedisServiceManager, SchedulerService

DEADLINE = 60.0
STORE = "postgresql://app:s%40me-word@db/app"
HEADER = """
import asyncio, os, sys, time, subprocess
from reconciler.registry import TaskContext, task
"""


class Family:
    """Children that run the tasks of a `tasks/` folder, and what became of each call."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.outcomes: dict[str, list[Outcome]] = {}
        self._numbers = itertools.count(1)
        self._changed = asyncio.Event()
        self.children = Children(
            directory=directory,
            modules=["tasks"],
            worker_processes=2,
            environ={**os.environ, "TOKEN": "hunter22", "RECONCILER_DATABASE_URL": STORE},
            on_done=self._take,
            cancel_grace=0.5,
        )

    def write(self, source: str, module: str = "own") -> None:
        path = self.directory / "tasks" / f"{module}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(HEADER + source)

    def submit(self, task: str, timeout: float | None = None, **params: Any) -> str:
        """Returns the call's id."""
        number = next(self._numbers)
        call = Call(f"c{number}", task, task, params, datetime.now(UTC), 1, "manual", f"k{number}", None, timeout)
        self.children.submit([call])
        return call.id

    async def outcome(self, call_id: str) -> Outcome:
        await self.until(lambda: call_id in self.outcomes)
        assert len(self.outcomes[call_id]) == 1
        return self.outcomes[call_id][0]

    async def run(self, task: str, timeout: float | None = None, **params: Any) -> Outcome:
        return await self.outcome(self.submit(task, timeout, **params))

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so; fail after a minute."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                await asyncio.sleep(0.01)

    async def until_said(self, path: Path) -> str:
        """The text that a task writes to a file, once it has."""
        await self.until(lambda: path.exists() and path.read_text())
        return path.read_text()

    def _take(self, outcomes: list[tuple[str, Outcome]]) -> None:
        for call_id, outcome in outcomes:
            self.outcomes.setdefault(call_id, []).append(outcome)


@pytest.fixture
async def redis(redis_url: str, redis_prefix: str) -> AsyncIterator[RedisServiceManager]:
    """A connection whose keys are this test's own."""
    redis = RedisServiceManager(redis_url, redis_prefix)
    yield redis
    await redis.close()


@pytest.fixture
async def scheduler(redis: RedisServiceManager) -> SchedulerService:
    return SchedulerService(redis)


@pytest.fixture
async def family(tmp_path: Path) -> AsyncIterator[Callable[[str], Awaitable[Family]]]:
    """`await family(source)`: children running the tasks in that source text, as `own.NAME`."""
    started: list[Family] = []

    async def start(source: str) -> Family:
        one = Family(tmp_path)
        one.write(source)
        started.append(one)
        await one.children.start()
        return one

    yield start
    for one in started:
        await one.children.stop(0, "the test is over")
        assert one.children.running == 0

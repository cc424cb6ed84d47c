"""Child processes, and whole runners, for the tests that need them, with tasks written for the test."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from reconciler.align import align
from reconciler.children.children import Children
from reconciler.db import configs, runners
from reconciler.db.link import Link
from reconciler.execute import Call, Outcome
from reconciler.runner import Runner
from reconciler.scheduler import RedisServiceManager, SchedulerService
from reconciler.settings import RunnerSettings, Settings, SourceSettings
from reconciler.spec import TaskSpec
from reconciler.sync.loop import Loop, sync_loop
from reconciler.sync.reconcile import Pass

DEADLINE = 60.0
STORE = "postgresql://app:s%40me-word@db/app"
HEADER = """
import asyncio, os, sys, time, subprocess
from reconciler.registry import TaskContext, task
"""


class Family:
    """Children that run the tasks of a `tasks/` folder, and what became of each call."""

    def __init__(self, directory: Path, cancel_grace: float = 0.5) -> None:
        self.directory = directory
        self.outcomes: dict[str, list[Outcome]] = {}
        self.progress: list[tuple[str, float, str]] = []
        self.pieces: dict[str, list[tuple[int, str]]] = {}
        self._numbers = itertools.count(1)
        self._changed = asyncio.Event()
        self.children = Children(
            directory=directory,
            modules=["tasks"],
            worker_processes=2,
            environ={**os.environ, "TOKEN": "hunter22", "RECONCILER_DATABASE_URL": STORE},
            on_done=self._take,
            cancel_grace=cancel_grace,
            on_progress=lambda *progress: self.progress.append(progress),
            on_output=lambda call_id, *piece: self.pieces.setdefault(call_id, []).append(piece),
        )

    def write(self, source: str, module: str = "own") -> None:
        path = self.directory / "tasks" / f"{module}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(HEADER + source)

    def submit(self, task: str, timeout: float | None = None, **params: Any) -> str:
        """Returns the call's id."""
        return self.submit_with(task, params, timeout=timeout)

    def submit_with(self, task: str, params: dict[str, Any], timeout: float | None = None, **more: Any) -> str:
        """The same with further fields of the call."""
        call = self.call(task, params, timeout, **more)
        self.children.submit([call])
        return call.id

    def call(self, task: str, params: dict[str, Any] | None = None, timeout: float | None = None, **more: Any) -> Call:
        number, due = next(self._numbers), datetime.now(UTC)
        return Call(f"c{number}", task, task, params or {}, due, 1, "manual", f"k{number}", None, timeout, **more)

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

    async def until_gone(self, pids: Iterable[int]) -> None:
        await self.until(lambda: not _living(pids))

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
async def family(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Family]]]:
    """`await family(source)`: children running the tasks in that source text, as `own.NAME`."""
    started: list[Family] = []

    async def start(source: str, cancel_grace: float = 0.5) -> Family:
        one = Family(tmp_path, cancel_grace)
        one.write(source)
        started.append(one)
        await one.children.start()
        return one

    yield start
    for one in started:
        await one.children.stop(0, "the test is over")
        assert one.children.running == 0


PARENT = """
import asyncio, os, sys
from datetime import datetime, UTC
from pathlib import Path
from reconciler.children.children import Children
from reconciler.execute import Call

async def main():
    children = Children(directory=Path(sys.argv[1]), modules=["tasks"], worker_processes=2, environ=os.environ,
                        on_done=lambda outcomes: print(outcomes, flush=True), cancel_grace=5)
    await children.start()
    calls = [Call(name, name, name, {"path": sys.argv[1] + "/" + name}, datetime.now(UTC), 1, "manual", "", None, None)
             for name in sys.argv[2:]]
    children.submit(calls)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """`parent("own.a")`: a process with children that run these tasks of `tasks/`, each with a `path` named like it."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*tasks: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), *tasks]))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def living() -> Callable[[Iterable[int]], list[int]]:
    """Which of these processes run; one that waits to be reaped does not."""
    return _living


def _living(pids: Iterable[int]) -> list[int]:
    return [pid for pid in pids if _is_alive(pid)]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


RUNNER_TASKS = """
import asyncio, os, pathlib, time
from reconciler.registry import TaskContext, task

@task("t.quick")
async def quick(ctx: TaskContext) -> str:
    print("ran", ctx.scheduled_for.isoformat())
    return ctx.idempotency_key

@task("t.sync")
def sync(x: int = 1) -> int:
    print("sync here")
    return x + 1

@task("t.fail")
async def fail(ctx: TaskContext, until: int = 99) -> int:
    if ctx.attempt < until:
        raise ValueError(f"attempt {ctx.attempt}")
    return ctx.attempt

@task("t.sleep")
async def sleep(seconds: float = 60) -> None:
    print("begun")
    await asyncio.sleep(seconds)

@task("t.block")
def block(seconds: float = 60) -> None:
    print("begun", flush=True)
    time.sleep(seconds)

@task("t.exit")
def leave() -> None:
    os._exit(3)

@task("t.nul")
async def nul() -> str:
    return "a\\x00b"
"""


@dataclass
class House:
    """Two stores and a directory of tasks with whole runners on them, and what a test wants to do to them."""

    link: Link
    redis: RedisServiceManager
    database_url: str
    directory: Path

    async def config(self, name: str, task: str, *, through: datetime | None = None, **fields: Any) -> None:
        spec = TaskSpec.from_document({"name": name, "task": task, **fields})
        document = Jsonb(spec.document())
        await self.link.run(
            "insert into task_configs (name, source, spec, digest, path, revision)"
            " values (%s, 'default', %s, %s, 'a.yaml', 'abc')",
            [name, document, spec.digest],
        )
        await self.link.run(
            "insert into task_revisions (source, path, name, digest, spec, sync_id, revision)"
            " values ('default', 'a.yaml', %s, %s, %s, 1, 'abc')",
            [name, spec.digest, document],
        )
        await self.link.run(
            "insert into task_cursors (name, through) values (%s, coalesce(%s, clock_timestamp()))", [name, through]
        )

    def runner(self, **settings: Any) -> Runner:
        values = {"lease": "2s", "concurrency": 50, "worker_processes": 3, "shutdown_grace": "1s", **settings}
        return Runner(
            self.database_url,
            self.redis,
            RunnerSettings(**values),
            directory=self.directory,
            modules=["mytasks"],
            environ=os.environ,
        )

    @asynccontextmanager
    async def running(self, **settings: Any) -> AsyncIterator[Runner]:
        """A runner that serves until the block is left, and ends by the rules then."""
        runner, stop = self.runner(**settings), asyncio.Event()
        task = asyncio.create_task(runner.run(stop))
        try:
            await self.until(lambda: self._is_listed(runner), task)
            yield runner
        finally:
            stop.set()
            await task

    async def rows(self, name: str) -> list[tuple[Any, ...]]:
        return await self.link.run(
            "select scheduled_for, is_success, error, result, log, trigger, attempts from task_executions"
            " where name = %s order by scheduled_for",
            [name],
        )

    async def at_least(self, name: str, count: int) -> list[tuple[Any, ...]]:
        """Its rows, once there are so many."""

        async def enough() -> list[tuple[Any, ...]]:
            rows = await self.rows(name)
            return rows if len(rows) >= count else []

        return await self.until(enough)  # type: ignore[no-any-return]

    async def align(self) -> None:
        await align(self.link, SchedulerService(self.redis), now=datetime.now(UTC))
        await SchedulerService(self.redis).wake()

    async def until(
        self,
        condition: Callable[[], Awaitable[Any]],
        task: asyncio.Task[None] | None = None,
        seconds: float = DEADLINE / 2,
    ) -> Any:
        """Wait for a condition to hold; its value. Fails with the task that it depends on."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if task is not None and task.done():
                task.result()
            if value := await condition():
                return value
            await asyncio.sleep(0.02)
        raise AssertionError("it did not come to pass")

    async def _is_listed(self, runner: Runner) -> bool:
        return runner.id in {row.id for row in await runners.listing(self.link)}


@pytest.fixture
async def house(
    link: Link, database_url: str, redis_url: str, redis_prefix: str, tmp_path: Path
) -> AsyncIterator[House]:
    (tmp_path / "mytasks.py").write_text(RUNNER_TASKS)
    redis = RedisServiceManager(redis_url, redis_prefix)
    yield House(link, redis, database_url, tmp_path)
    await redis.close()


class Running:
    """A loop under way, with what it did so far."""

    def __init__(self, project: Path, link: Link, scheduler: SchedulerService) -> None:
        self.project, self.link, self.scheduler = project, link, scheduler
        self.passes: list[Pass] = []
        self.order: list[str] = []  # the sources of those passes
        self.turns: list[str] = []  # the same, with passes that came to nothing
        self.reloads = 0
        self.trouble: Exception | None = None

    def heard(self, source: SourceSettings, outcome: Pass) -> None:
        self.passes.append(outcome)
        self.order.append(source.name)

    async def reloaded(self) -> None:
        self.reloads += 1
        if self.trouble:
            raise self.trouble

    async def until(self, condition: Callable[[], bool | Awaitable[bool]]) -> None:
        async with asyncio.timeout(DEADLINE):
            while True:
                found = condition()
                if found if isinstance(found, bool) else await found:
                    return
                await asyncio.sleep(0.01)

    async def passed(self, more: int = 1) -> None:
        """Until so many further passes are over."""
        wanted = len(self.passes) + more
        await self.until(lambda: len(self.passes) >= wanted)

    async def names(self) -> list[str]:
        return [key.name for key in await configs.keys(self.link)]

    async def has(self, *names: str) -> bool:
        return await self.names() == sorted(names)


@pytest.fixture
def running(
    project: Path, database_url: str, scheduler: SchedulerService, caplog: pytest.LogCaptureFixture
) -> Callable[..., Any]:
    """`async with running(watch=True, interval=…, sources=…) as loop`."""
    caplog.set_level(logging.INFO, logger="reconciler")
    (project / "tasks" / "__init__.py").write_text(
        "from reconciler.registry import task\n\n\n@task(name='report')\ndef report(region: str = 'eu'):\n    pass\n"
    )

    @asynccontextmanager
    async def run(
        *,
        watch: bool = False,
        interval: timedelta = timedelta(hours=1),
        sources: Sequence[SourceSettings] = (),
        allow_rewind: bool = False,
    ) -> AsyncIterator[Running]:
        link, own = Link(database_url), Link(database_url)
        found = Running(project, own, scheduler)
        loop = Loop(
            settings=Settings(directory=project, sources=tuple(sources) or (SourceSettings(interval=interval),)),
            link=link,
            scheduler=scheduler,
            watch=watch,
            actor="test",
            allow_rewind=allow_rewind,
            on_code_change=found.reloaded,
            on_pass=lambda source, outcome: found.heard(source, outcome),
            on_turn=lambda source, outcome, seconds: found.turns.append(source.name),
        )
        task = asyncio.create_task(sync_loop(loop))
        try:
            yield found
            assert not task.done(), task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await link.close()
            await own.close()

    return run

"""The processes that tasks run in, never the runner's own: async ones share one, sync ones have workers.

Knows calls and outcomes, not occurrences or stores. Whatever a task does to its process, each call gets exactly
one outcome, and the others go on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reconciler.children.catalogue import OnOutput, OnProgress, TaskInfo
from reconciler.children.process import Setting, Warden, not_started
from reconciler.children.shared import AsyncChild, Listener
from reconciler.children.workers import Workers
from reconciler.errors import ReconcilerError
from reconciler.execute import Call, Outcome, failed
from reconciler.failpoints import failpoint
from reconciler.nearest import did_you_mean

CHECK = 0.25
GIVE_UP_AFTER = 3
END_WITHIN = 5.0
log = logging.getLogger(__name__)


class Stopping(ReconcilerError):
    """A stop came while the processes for tasks were being started: nobody's fault."""


class Children:
    """Every call submitted is answered once through `on_done`, also when its process dies.

    `catalogue` and `faults` are what the newest process found in the modules. Use it from one event loop.
    `on_progress` hears of calls that say how far they are, at most once a second each; `on_output` what followed calls
    print, in pieces of at most 64 KiB, four or five a second.
    """

    def __init__(
        self,
        *,
        directory: Path,
        modules: Sequence[str],
        worker_processes: int,
        environ: Mapping[str, str],
        on_done: Callable[[list[tuple[str, Outcome]]], None],
        cancel_grace: float,
        on_progress: OnProgress = lambda call_id, fraction, text: None,
        on_output: OnOutput = lambda call_id, offset, text: None,
    ) -> None:
        self.catalogue: dict[str, TaskInfo] = {}
        self.faults: list[str] = []
        self._setting = Setting(directory, tuple(modules), environ, cancel_grace, {})
        self._worker_processes, self._on_done = worker_processes, on_done
        self._on_reports = on_progress, on_output
        self._listener = Listener(self._hello, self._done, self._lost, self._left, on_progress, on_output)
        self._pending: dict[str, bool] = {}  # by call id: whether it shares a process with others
        self._waiting: list[Call] = []  # async calls while there is no process to take them
        self._all: list[AsyncChild] = []
        self._current: AsyncChild | None = None
        self._coming: AsyncChild | None = None
        self._arrived: asyncio.Future[None] | None = None
        self._failures = 0
        self._suspects: set[str] = set()  # modules at whose import a process ended once
        self._is_stopping = False
        self._checked_at = 0.0

    @property
    def running(self) -> int:
        """The number of calls without an outcome yet."""
        return len(self._pending)

    @property
    def is_there(self) -> bool:
        """Whether a process that has loaded the task modules takes calls."""
        return self._current is not None

    async def start(self) -> None:
        """Start the first process and learn the catalogue from it; ReconcilerError when none can be started."""
        self._loop = asyncio.get_running_loop()
        self._warden = Warden()
        self._workers = Workers(self._worker_processes, self._warden, self._done, *self._on_reports)
        self._check_later()
        try:
            await self.reload()
        except BaseException:
            await self.stop(0, "the runner could not start")
            raise

    async def reload(self) -> None:
        """New code for new calls: a new generation of processes. What runs finishes in the old one.

        ReconcilerError, and all stays as it was, when no process can be started.
        """
        while self._arrived is not None and not self._arrived.done():
            await asyncio.wait([self._arrived])
        self._setting, self._failures = replace(self._setting, skip={}), 0
        self._arrived = self._loop.create_future()
        self._launch()
        await self._arrived

    def submit(self, calls: Sequence[Call]) -> None:
        """Run these; never waits. Calls of an unknown task, or after `stop`, have failed by the next turn."""
        together, refused = [], []
        for call in calls:
            info = self.catalogue.get(call.task)
            self._pending[call.id] = is_shared = info is not None and info.is_async and call.memory_limit is None
            if info is None or self._is_stopping:
                refused.append((call.id, failed(self._refusal(call, info), is_started=False)))
            elif is_shared:
                together.append(call)
            else:
                self._workers.submit(call, info)
        if together:
            self._place(together)
        if refused:
            self._loop.call_soon(self._done, refused)
        failpoint("after-start")

    def cancel(self, call_id: str, why: str) -> None:
        """Stop a call; its outcome follows, failed with `why` unless it had finished."""
        if call_id not in self._pending:
            return
        if not self._pending[call_id]:
            self._workers.cancel(call_id, why)
        elif any(call.id == call_id for call in self._waiting):
            self._waiting = [call for call in self._waiting if call.id != call_id]
            self._done([(call_id, failed(why, is_started=False))])
        else:
            for child in self._all:
                child.cancel(call_id, why)

    def follow(self, call_id: str, is_wanted: bool = True) -> None:
        """Hand what a call prints to `on_output`, what is kept of it so far first; or no more."""
        if not self._pending.get(call_id, True):
            self._workers.follow(call_id, is_wanted)
        elif call_id in self._pending:
            for child in self._all:
                child.follow(call_id, is_wanted)
            self._waiting = [c._replace(follow=is_wanted) if c.id == call_id else c for c in self._waiting]

    async def stop(self, grace: float, why: str) -> None:
        """Let what runs finish within `grace` seconds, then kill it: failed with `why`. All processes end."""
        self._is_stopping = True
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_exception(Stopping("the runner is stopping"))
        waiting, self._waiting = self._waiting, []
        self._done([(call.id, failed(why, is_started=False)) for call in waiting])
        self._workers.retire(why)
        for child in self._all:
            child.retire()
        await self._ended(grace)
        self._workers.stop(why)
        for child in self._all:
            child.stop(why)
        await self._ended(END_WITHIN)
        self._timer.cancel()
        self._warden.close()

    async def _ended(self, within: float) -> None:
        until = time.monotonic() + within
        while (self._all or self._workers.alive) and (rest := until - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(rest, 0.02))

    def _refusal(self, call: Call, info: TaskInfo | None) -> str:
        if self._is_stopping:
            return "the runner is stopping"
        return f"no task named {call.task!r}; {did_you_mean(call.task, self.catalogue)}" if info is None else ""

    def _place(self, calls: list[Call]) -> None:
        if self._is_stopping:
            self._done([(call.id, failed("the runner is stopping", is_started=False)) for call in calls])
        elif self._current is None:
            self._waiting += calls
        else:
            self._current.submit(calls)

    def _launch(self) -> None:
        if self._is_stopping:
            return
        try:
            self._coming = AsyncChild(self._setting, self._warden, self._listener)
        except (OSError, ReconcilerError) as error:
            self._failed_to_start(not_started(self._setting, error))
        else:
            self._all.append(self._coming)

    def _hello(self, child: AsyncChild, catalogue: dict[str, Any], faults: list[str]) -> None:
        if child is not self._coming:  # a reload has overtaken it
            child.retire()
            return
        self.catalogue = {name: TaskInfo(name, *known) for name, known in catalogue.items()}
        self.faults = faults
        self._coming, self._failures = None, 0
        self._suspects.clear()
        old, self._current = self._current, child
        if old is not None:
            old.retire()
        if self._arrived is not None and not self._arrived.done():
            self._workers.renew(self._setting)
            self._arrived.set_result(None)
        waiting, self._waiting = self._waiting, []
        if waiting:
            child.submit(waiting)

    def _done(self, outcomes: list[tuple[str, Outcome]]) -> None:
        if outcomes:
            for call_id, _ in outcomes:
                self._pending.pop(call_id, None)
            self._on_done(outcomes)

    def _lost(self, child: AsyncChild, back: list[Call], how: str) -> None:
        self._all.remove(child)
        if child is self._coming:
            self._coming = None
            self._died_at_start(child, how)
        elif child is self._current:
            self._current = None
            if self._coming is None:
                self._launch()
        if back:
            self._place(back)

    def _left(self, child: AsyncChild, name: str) -> None:
        """What was stopped goes on in a thread: the process can only be left to it, and ends with the last other."""
        if child is self._current and self._coming is None:
            log.warning("%s was stopped and goes on in a thread of its process; new runs go to a new one", name)
            self._launch()

    def _died_at_start(self, child: AsyncChild, how: str) -> None:
        """A module that ends the process that imports it, twice, costs only itself."""
        module = child.importing
        if module is None or module in self._setting.skip:
            self._failed_to_start(f"{self._setting.directory}: a process for tasks {how} at its start")
            return
        if module not in self._suspects:  # somebody may have killed the process just then
            self._suspects.add(module)
            self._launch()
            return
        fault = f"{module}: the process that imported it {how}; its tasks are absent until this is mended"
        self._setting = replace(self._setting, skip={**self._setting.skip, module: fault})
        self._launch()

    def _failed_to_start(self, what: str) -> None:
        self._failures += 1
        if self._failures < GIVE_UP_AFTER:
            self._loop.call_later(0.1 * self._failures, self._launch)
            return
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_exception(ReconcilerError(what))
        if self._current is None:
            log.error(what)
            waiting, self._waiting = self._waiting, []
            self._done([(call.id, failed(what)) for call in waiting])
            self._loop.call_later(END_WITHIN, self._launch)

    def _check_later(self) -> None:
        self._checked_at = self._loop.time()
        self._timer = self._loop.call_later(CHECK, self._check)

    def _check(self) -> None:
        # A pause of our own, or of the whole machine, says nothing about the children.
        elapsed = min(self._loop.time() - self._checked_at, 2 * CHECK)
        self._check_later()
        self._workers.report()
        for child in list(self._all):
            child.check(elapsed)
            if child.is_blocked and child is self._current:
                self._replace_blocked(child)
            elif child is self._current and self._coming is None and (name := child.stubborn):
                log.warning("%s was told to stop and goes on; new runs go to a new process", name)
                self._launch()

    def _replace_blocked(self, child: AsyncChild) -> None:
        """Others must not wait for a loop that stands still: what it has not begun goes to a new process."""
        if child.blocker:
            log.warning("%s blocks the event loop that all async tasks share", child.blocker)
        else:
            log.warning("the event loop that all async tasks share stands still")
        self._current = None
        child.retire()
        self._place(child.reclaim())
        if self._coming is None:
            self._launch()

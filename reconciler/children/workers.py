"""The worker processes of a runner: one call at a time each, a sync one or one with a limit of its memory."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from reconciler.children.catalogue import OnOutput, OnProgress, TaskInfo
from reconciler.children.process import Setting, Warden, not_started
from reconciler.children.worker import Job, Watcher, Worker
from reconciler.errors import ReconcilerError
from reconciler.execute import Call, Outcome, failed

# Where no process can be started: seconds until it is tried again, and how often.
AGAIN, GIVE_UP_AFTER = 0.2, 3
log = logging.getLogger(__name__)
OnDone = Callable[[list[tuple[str, Outcome]]], None]


class Workers:
    """At most `limit` processes; what comes beyond that waits here, in order."""

    def __init__(
        self, limit: int, warden: Warden, on_done: OnDone, on_progress: OnProgress, on_output: OnOutput
    ) -> None:
        self._limit, self._warden, self._on_done = limit, warden, on_done
        self._watcher = Watcher(self._done, self._ended, on_progress, on_output)
        self._setting: Setting | None = None
        self._workers: list[Worker] = []
        self._queue: deque[Job] = deque()
        self._is_stopping = False
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None
        self._failures, self._told = 0, ""

    @property
    def alive(self) -> int:
        return len(self._workers)

    def renew(self, setting: Setting) -> None:
        """From now on calls run in processes started with `setting`; older ones end after what they run."""
        self._setting = setting
        for worker in list(self._workers):
            worker.retire()
        self._feed()

    def submit(self, call: Call, info: TaskInfo) -> None:
        self._queue.append(Job(call, info.is_async, heeds=info.is_async or info.wants_context))
        self._feed()

    def cancel(self, call_id: str, why: str) -> None:
        for job in self._queue:
            if job.call.id == call_id:
                self._queue.remove(job)
                self._on_done([(call_id, failed(why, is_started=False))])
                return
        for worker in self._running(call_id):
            worker.cancel(why)

    def follow(self, call_id: str, is_wanted: bool) -> None:
        for job in self._queue:
            if job.call.id == call_id:
                job.call = job.call._replace(follow=is_wanted)
        for worker in self._running(call_id):
            worker.follow(is_wanted)

    def report(self) -> None:
        """Tell how far the calls are and what those that are followed have printed since."""
        for worker in self._workers:
            worker.report()

    def retire(self, why: str) -> None:
        """Start nothing more; what waits has failed with `why`, what runs may finish."""
        self._is_stopping = True
        waiting = [(job.call.id, failed(why, is_started=False)) for job in self._queue]
        self._queue.clear()
        if waiting:
            self._on_done(waiting)
        for worker in list(self._workers):
            worker.retire()

    def stop(self, why: str) -> None:
        for worker in list(self._workers):
            worker.end_call(why)

    def _running(self, call_id: str) -> list[Worker]:
        return [worker for worker in self._workers if worker.job is not None and worker.job.call.id == call_id]

    def _feed(self) -> None:
        while self._queue and self._setting is not None and not self._is_stopping:
            try:
                worker = self._free(self._queue[0].call, self._setting)
            except (OSError, ReconcilerError) as error:  # no room for another process
                if self._again is None:
                    self._again = self._loop.call_later(AGAIN, self._feed_again, not_started(self._setting, error))
                return
            self._failures, self._told = 0, ""
            if worker is None:
                return
            worker.give(self._queue.popleft())

    def _feed_again(self, what: str) -> None:
        """What no process could be started for, several times, has failed, unless there is one that will take it."""
        self._again, self._failures = None, self._failures + 1
        if self._failures < GIVE_UP_AFTER or self._workers or not self._queue:
            self._feed()
            return
        self._failures, waiting = 0, [(job.call.id, failed(what)) for job in self._queue]
        self._queue.clear()
        if what != self._told:
            log.error("%s", what)
        self._told = what
        self._on_done(waiting)

    def _free(self, call: Call, setting: Setting) -> Worker | None:
        """One that can run this call now; None: there will be one later."""
        idle = [worker for worker in self._workers if worker.is_idle]
        fitting = next((worker for worker in idle if worker.has_room(call)), None)
        if fitting is None and len(self._workers) < self._limit:
            fitting = Worker(setting, self._warden, self._watcher)
            self._workers.append(fitting)
        elif fitting is None and idle:
            idle[0].retire()
        return fitting

    def _done(self, call_id: str, outcome: Outcome) -> None:
        self._on_done([(call_id, outcome)])
        self._feed()

    def _ended(self, worker: Worker) -> None:
        self._workers.remove(worker)
        self._feed()

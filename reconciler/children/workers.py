"""The runner's end of the worker processes: one sync call at a time each, kept warm between calls."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reconciler.children.frames import call_row
from reconciler.children.process import Process, Setting, Warden
from reconciler.execute import Call, Outcome, failed, timed_out
from reconciler.execute.output import LOG_LIMIT, log_text

START_WITHIN = 60.0
READ = 64 * 1024
OnDone = Callable[[list[tuple[str, Outcome]]], None]


class Workers:
    """At most `limit` processes; what comes beyond that waits here, in order."""

    def __init__(self, limit: int, warden: Warden, on_done: OnDone) -> None:
        self._limit, self._warden, self._on_done = limit, warden, on_done
        self._setting: Setting | None = None
        self._workers: list[_Worker] = []
        self._queue: deque[Call] = deque()
        self._is_stopping = False

    @property
    def alive(self) -> int:
        return len(self._workers)

    def renew(self, setting: Setting) -> None:
        """From now on calls run in processes started with `setting`; older ones end after what they run."""
        self._setting = setting
        for worker in list(self._workers):
            worker.retire()
        self._feed()

    def submit(self, call: Call) -> None:
        self._queue.append(call)
        self._feed()

    def cancel(self, call_id: str, why: str) -> None:
        for call in self._queue:
            if call.id == call_id:
                self._queue.remove(call)
                self._on_done([(call_id, failed(why, is_started=False))])
                return
        for worker in self._workers:
            if worker.call is not None and worker.call.id == call_id:
                worker.end_call(why)

    def retire(self, why: str) -> None:
        """Start nothing more; what waits has failed with `why`, what runs may finish."""
        self._is_stopping = True
        waiting = [(call.id, failed(why, is_started=False)) for call in self._queue]
        self._queue.clear()
        if waiting:
            self._on_done(waiting)
        for worker in list(self._workers):
            worker.retire()

    def stop(self, why: str) -> None:
        for worker in list(self._workers):
            worker.end_call(why)

    def _feed(self) -> None:
        while self._queue and self._setting is not None and not self._is_stopping:
            worker = next((one for one in self._workers if one.is_idle), None)
            if worker is None:
                if len(self._workers) >= self._limit:
                    return
                worker = _Worker(self._setting, self._warden, self._done, self._ended)
                self._workers.append(worker)
            worker.give(self._queue.popleft())

    def _done(self, call_id: str, outcome: Outcome) -> None:
        self._on_done([(call_id, outcome)])
        self._feed()

    def _ended(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        self._feed()


class _Worker:
    def __init__(
        self,
        setting: Setting,
        warden: Warden,
        on_done: Callable[[str, Outcome], None],
        on_ended: Callable[[_Worker], None],
    ) -> None:
        self.call: Call | None = None
        self._setting, self._on_done, self._on_ended = setting, on_done, on_ended
        self._loop = asyncio.get_running_loop()
        self._number, self._since = 0, 0.0
        self._is_ready, self._is_retired, self._verdict = False, False, ""
        self._mask, self._log, self._is_cut = setting.mask, bytearray(), False
        self._output, theirs = os.pipe()
        os.set_blocking(self._output, False)
        self._loop.add_reader(self._output, self._read)
        try:
            self._process = Process(
                ["sync"],
                setting,
                warden,
                fds=(),
                stdout=theirs,
                stderr=subprocess.STDOUT,
                on_message=self._take,
                on_exit=self._exited,
            )
        finally:
            os.close(theirs)
        self._timer = self._loop.call_later(START_WITHIN, self.end_call, "its process did not start within 1m")

    @property
    def is_idle(self) -> bool:
        # One that is being killed may still say that it is done: the next call must not go to it.
        return self.call is None and not self._is_retired and not self._verdict and self._process.is_running

    def give(self, call: Call) -> None:
        self.call, self._since = call, self._loop.time()
        if self._is_ready:
            self._send(call)

    def retire(self) -> None:
        """Let it end after the call that it runs."""
        if not self._is_retired:
            self._is_retired = True
            self._process.send(["end"])
            if self.call is None:
                self._kill_later()

    def end_call(self, why: str) -> None:
        """Kill it; what it runs has failed with `why`."""
        self._verdict = self._verdict or why
        self._process.kill()

    def _take(self, message: list[Any]) -> None:
        if message[0] == "hello":
            self._timer.cancel()
            self._is_ready = True
            if self.call is not None:
                self._send(self.call)
        elif message[0] == "begun" and self.call is not None:
            self._begin(message[2])
        elif message[0] == "done" and self.call is not None and message[1][0][0] == self._number:
            self._finish(Outcome(*message[1][0][1:]))

    def _send(self, call: Call) -> None:
        # Only now: what the modules print when they are imported is nobody's log.
        self._drain()
        self._log.clear()
        self._is_cut = False
        self._number += 1
        self._process.send(["call", call_row(self._number, call)])

    def _begin(self, secrets: list[str]) -> None:
        self._mask = self._setting.mask.also(secrets)
        self._since = self._loop.time()
        if self.call is not None and self.call.timeout is not None:
            self._timer = self._loop.call_later(self.call.timeout, self.end_call, timed_out(self.call.timeout))

    def _finish(self, outcome: Outcome) -> None:
        call, self.call = self.call, None
        self._timer.cancel()
        self._drain()
        log = log_text(self._text() + outcome.log, self._mask, is_cut=self._is_cut)
        if self._is_retired:
            self._kill_later()
        if call is not None:
            self._on_done(call.id, replace(outcome, log=log))

    def _exited(self, how: str) -> None:
        self._timer.cancel()
        if self.call is not None:
            self._finish(failed(self._verdict or f"its process {how}", since=self._since))
            self._timer.cancel()
        self._loop.remove_reader(self._output)
        os.close(self._output)
        self._on_ended(self)

    def _kill_later(self) -> None:
        self._timer = self._loop.call_later(self._setting.cancel_grace, self._process.kill)

    def _read(self) -> bool:
        try:
            data = os.read(self._output, READ)
        except (BlockingIOError, InterruptedError):
            return False
        if not data:
            self._loop.remove_reader(self._output)
            return False
        self._log += data
        if len(self._log) > 4 * LOG_LIMIT:
            del self._log[: -2 * LOG_LIMIT]
            self._is_cut = True
        return True

    def _drain(self) -> None:
        """Take in what was written until now: a pipe holds 64 KiB. What a process left behind writes may go on."""
        for _ in range(4):
            if not self._read():
                return

    def _text(self) -> str:
        return self._log.decode("utf-8", "replace")

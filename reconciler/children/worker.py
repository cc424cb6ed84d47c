"""The runner's end of one worker process: the call that it runs, what that prints, and how it ends."""

from __future__ import annotations

import asyncio
import codecs
import os
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from reconciler.children import board
from reconciler.children.board import ASKED
from reconciler.children.catalogue import OnOutput, OnProgress
from reconciler.children.frames import call_row, outcome_from
from reconciler.children.process import Process, Setting, Warden, did_not_stop
from reconciler.execute import Call, Outcome, failed, stopped, timed_out
from reconciler.execute.calling import BEYOND_MEMORY, LATE
from reconciler.execute.memory import LAST_WORDS, went_beyond
from reconciler.execute.output import LOG_LIMIT, log_text
from reconciler.execute.pieces import Pieces

START_WITHIN = 60.0
READ = 64 * 1024
SLACK = 0.2
PROGRESS_EVERY = 1.0


@dataclass
class Job:
    """A call for a worker. `heeds`: it can be asked to stop, and is killed only if it does not."""

    call: Call
    is_async: bool
    heeds: bool


@dataclass(frozen=True)
class Watcher:
    """Who hears of what a worker does."""

    on_done: Callable[[str, Outcome], None]
    on_ended: Callable[[Worker], None]
    on_progress: OnProgress
    on_output: OnOutput


class Worker:
    def __init__(self, setting: Setting, warden: Warden, watcher: Watcher) -> None:
        self.job: Job | None = None
        self._setting, self._watcher = setting, watcher
        self._loop = asyncio.get_running_loop()
        self._number, self._since, self._told_at = 0, 0.0, 0.0
        self._is_ready, self._is_begun, self._is_retired = False, False, False
        self._asked = self._verdict = ""
        self._kinds: tuple[str, ...] = ()
        self._in_use = self._in_use_at_first = 0
        self._mask, self._log, self._dropped = setting.mask, bytearray(), 0
        self._pieces: Pieces | None = None
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        with ExitStack() as ours, ExitStack() as theirs:
            shared = board.create()
            theirs.callback(os.close, shared)
            self._board = board.view(shared)
            self._progress = board.Progress(self._board)
            self._output, output = os.pipe()
            theirs.callback(os.close, output)
            os.set_blocking(self._output, False)
            self._loop.add_reader(self._output, self._read)
            ours.callback(self._close_output)
            self._process = Process(
                ["sync", shared],
                setting,
                warden,
                fds=(shared,),
                stdout=output,
                stderr=subprocess.STDOUT,
                on_message=self._take,
                on_exit=self._exited,
            )
            ours.pop_all()
        self._timer = self._loop.call_later(START_WITHIN, self.end_call, "its process did not start within 1m")

    @property
    def is_idle(self) -> bool:
        # One that is being killed may still say that it is done: the next call must not go to it.
        return self.job is None and not self._is_retired and not self._verdict and self._process.is_running

    def has_room(self, call: Call) -> bool:
        """Whether what earlier calls left in its memory is little beside what this one may take."""
        return call.memory_limit is None or self._in_use - self._in_use_at_first <= call.memory_limit // 8

    def give(self, job: Job) -> None:
        self.job, self._since = job, self._loop.time()
        if self._is_ready:
            self._send(job.call)

    def retire(self) -> None:
        """Let it end after the call that it runs."""
        if not self._is_retired:
            self._is_retired = True
            if self.job is None or self._is_ready:  # else after the call that it was given before it could take it
                self._process.send(["end"])
            if self.job is None:
                self._kill_later()

    def cancel(self, why: str) -> None:
        """End its call: where that can be asked, it has `cancel_grace` to stop by itself."""
        if self.job is None or not self.job.heeds or not self._is_ready:
            self.end_call(why)
        elif not self._asked:
            self._asked = why
            self._board[ASKED] = self._number
            if self.job.is_async:
                self._process.send(["cancel", self._number, why])
            self._timer.cancel()
            self._timer = self._loop.call_later(self._setting.cancel_grace, self.end_call, did_not_stop(why))

    def end_call(self, why: str, kinds: tuple[str, ...] = ()) -> None:
        """Kill it; what it runs has failed with `why`."""
        if not self._verdict:
            self._verdict, self._kinds = why, kinds
        self._process.kill()

    def follow(self, is_wanted: bool) -> None:
        if self.job is not None and self.job.call.follow != is_wanted:
            self.job.call = self.job.call._replace(follow=is_wanted)
            if self._number and self._is_ready:
                self._pieces = Pieces(self._dropped, self._decode(bytes(self._log))) if is_wanted else None

    def report(self) -> None:
        """Tell how far its call is and what it has printed since; asked again and again."""
        if self.job is None or not self._is_begun:
            return
        now = self._loop.time()
        if now - self._told_at >= PROGRESS_EVERY and (progress := self._progress.read(self._number)):
            self._told_at = now
            self._watcher.on_progress(self.job.call.id, *progress)
        self._hand_on(self.job.call)

    def _take(self, message: list[Any]) -> None:
        if message[0] == "hello":
            self._timer.cancel()
            self._is_ready = True
            self._in_use = self._in_use_at_first = message[1]
            if self.job is not None:
                self._send(self.job.call)
                if self._is_retired:
                    self._process.send(["end"])
        elif message[0] == "begun" and self.job is not None:
            self._begin(self.job, message[2])
        elif message[0] == "done" and self.job is not None and message[1][0] == self._number:
            self._in_use = message[2]
            outcome = outcome_from(message[1])
            # One that never asked, and comes to its end meanwhile, has finished.
            self._finish(stopped(outcome, self._asked) if self._asked and not outcome.is_success else outcome)

    def _send(self, call: Call) -> None:
        # Only now: what the modules print when they are imported is nobody's log.
        self._drain()
        self._log.clear()
        self._dropped, self._asked, self._is_begun, self._told_at = 0, "", False, 0.0
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._pieces = Pieces() if call.follow else None
        self._number += 1
        self._process.send(["call", call_row(self._number, call)])

    def _begin(self, job: Job, secrets: list[str]) -> None:
        self._mask = self._setting.mask.also(secrets)
        self._since, self._is_begun = self._loop.time(), True
        if job.call.timeout is not None and not self._asked:
            late, after = timed_out(job.call.timeout), job.call.timeout
            if job.is_async:  # it is cancelled where it runs, and killed where that does not help
                late, after = did_not_stop(late), after + self._setting.cancel_grace + SLACK
            self._timer = self._loop.call_later(after, self.end_call, late, LATE)

    def _finish(self, outcome: Outcome) -> None:
        job, self.job = self.job, None
        self._timer.cancel()
        self._drain()
        if job is not None:
            self._hand_on(job.call, is_last=True)
        log = log_text(self._text() + outcome.log, self._mask, is_cut=self._dropped > 0)
        if job is not None and job.call.memory_limit is not None and outcome.kinds and is_beyond(job.call, outcome):
            self.retire()  # what broke off for want of memory may have left anything half done
        if self._is_retired:
            self._kill_later()
        if job is not None:
            self._watcher.on_done(job.call.id, outcome._replace(log=log))

    def _exited(self, how: str) -> None:
        self._timer.cancel()
        if self.job is not None:
            self._drain()
            self._finish(self._lost(self.job.call, how))
            self._timer.cancel()
        self._close_output()
        self._progress.release()
        self._watcher.on_ended(self)

    def _close_output(self) -> None:
        self._loop.remove_reader(self._output)
        os.close(self._output)

    def _lost(self, call: Call, how: str) -> Outcome:
        """The failure of a call whose process ended with it."""
        error, kinds = self._verdict or f"its process {how}", self._kinds
        if call.memory_limit is not None and not self._verdict:
            beyond = went_beyond(call.memory_limit)
            if any(words in self._text() for words in LAST_WORDS):
                error, kinds = f"{beyond}: {error}", BEYOND_MEMORY
            elif how.startswith("was killed"):
                error = f"{error.partition(';')[0]}; perhaps it {beyond}"
        return failed(error, since=self._since, kinds=kinds)

    def _kill_later(self) -> None:
        self._timer.cancel()
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
        if self._pieces is not None:
            self._pieces.feed(self._decode(data))
        if len(self._log) > 4 * LOG_LIMIT:
            self._dropped += len(self._log[: -2 * LOG_LIMIT].decode("utf-8", "replace"))
            del self._log[: -2 * LOG_LIMIT]
        return True

    def _drain(self) -> None:
        """Take in what was written until now: a pipe holds 64 KiB. What a process left behind writes may go on."""
        for _ in range(4):
            if not self._read():
                return

    def _hand_on(self, call: Call, *, is_last: bool = False) -> None:
        if self._pieces is not None:
            for offset, text in self._pieces.take(self._mask, is_last=is_last):
                self._watcher.on_output(call.id, offset, text)

    def _text(self) -> str:
        return self._log.decode("utf-8", "replace")


def is_beyond(call: Call, outcome: Outcome) -> bool:
    """Whether it failed because there was no more memory for it."""
    return call.memory_limit is not None and (outcome.error or "").startswith(went_beyond(call.memory_limit))

"""The child in which all async tasks take turns: one event loop, fed in batches.

Whose code runs is written to a board that the parent can read at any time: so it can name the one that blocks the
loop or ended the process, and knows which calls never started.
"""

from __future__ import annotations

import asyncio
import gc
import io
import os
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from reconciler.children import board
from reconciler.children.board import CURRENT, REVOKED, STARTED, TICKS
from reconciler.children.frames import Channel, call_from, dumps, outcome_row
from reconciler.children.reports import TICK, Reports
from reconciler.execute import Call, failed, stopped, with_execution_tracking
from reconciler.execute.output import Output, Recording, log_to_output, recording
from reconciler.execute.pieces import Pieces
from reconciler.failpoints import failpoint
from reconciler.registry import TASKS
from reconciler.registry.references import Mask

# Of the pool that all async tasks share, as asyncio.to_thread does: more than some that are stuck.
THREADS = 64
LEFT_AFTER = 2.0
# What has finished in the same turn of the loop as another call crashes is lost with it, as far as it is not sent.
MOST_UNSENT = 100
NOT_SENDABLE = "its outcome could not be sent to the runner"


def serve(sock: socket.socket, early: list[list[Any]], on_end: Callable[[], None], side: int, shared: int) -> None:
    """Run calls until told to end; `on_end` when the parent is gone. `early`: messages that came already."""
    if isinstance(sys.__stdout__, io.TextIOWrapper):
        sys.__stdout__.reconfigure(line_buffering=True)
    sys.stdout, sys.stderr = Output(sys.__stdout__ or sys.stdout), Output(sys.__stderr__ or sys.stderr)
    log_to_output()
    loop = _Loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, "task"))
    asyncio.set_event_loop(loop)
    leave, pid = os._exit, os.getpid()

    def last_words(status: int) -> None:
        if os.getpid() == pid:  # not where a task has forked
            child.tell()
        leave(status)

    os._exit = last_words  # type: ignore[assignment]
    child = _AsyncChild(loop, sock, on_end, board.view(shared), socket.socket(fileno=side))
    loop.set_task_factory(child.numbered)
    for message in early:
        child.take(message)
    gc.freeze()  # what was imported stays: no need to look through it at every collection
    while not child.is_over:
        # A task that calls exit() in an asyncio.Task of its own, or loop.stop(), must not end the others.
        with suppress(SystemExit, KeyboardInterrupt):
            loop.run_forever()


class _Loop(asyncio.SelectorEventLoop):
    """Knows for whom the threads of a pool work: one cannot be killed, and may go on after its call was."""

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        own = recording.get()
        if own is not None and (executor is None or isinstance(executor, ThreadPoolExecutor)):
            return super().run_in_executor(executor, own.counted, func, *args)
        return super().run_in_executor(executor, func, *args)


class _Stepped(Coroutine[Any, Any, Any]):
    """A coroutine that writes its call's number to the board for as long as its code runs."""

    __slots__ = ("_board", "_coroutine", "_number")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], number: int, view: memoryview) -> None:
        self._coroutine, self._number, self._board = coroutine, number, view

    def send(self, value: Any) -> Any:
        self._board[CURRENT] = self._number
        try:
            return self._coroutine.send(value)
        finally:
            self._board[CURRENT] = 0

    def throw(self, *raised: Any) -> Any:
        self._board[CURRENT] = self._number
        try:
            return self._coroutine.throw(*raised)
        finally:
            self._board[CURRENT] = 0

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine.__await__()

    def __getattr__(self, name: str) -> Any:  # cr_frame and its kin, for asyncio's own messages
        return getattr(self._coroutine, name)


class _AsyncChild:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_end: Callable[[], None],
        view: memoryview,
        side: socket.socket,
    ) -> None:
        self._loop, self._board = loop, view
        self._running: dict[int, tuple[asyncio.Task[None], Recording]] = {}
        self._reports = Reports(side, self._recordings, lambda: sendable(self._outcomes()))
        threading.Thread(target=self._reports.run, daemon=True).start()
        self._cancelled: dict[int, str] = {}
        self._done: deque[list[Any]] = deque()
        self._mask = Mask.of_stores(os.environ)
        self._is_ending = self.is_over = False
        self._channel = Channel(loop, sock, self.take, on_end)
        self._tick()

    def take(self, message: list[Any]) -> None:
        if message[0] == "calls":
            for row in message[1]:
                self._start(row[0], call_from(row))
        elif message[0] == "cancel":
            self._cancel(message[1], message[2])
        elif message[0] == "follow":
            self._follow(message[1], message[2])
        elif message[0] == "end":
            self._is_ending = True
            self._end_when_idle()

    def tell(self) -> None:
        """Send at once what the runner does not know yet."""
        self._reports.tell()

    def numbered(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        """The task factory: what a task starts on the loop counts as its own."""
        own = recording.get()
        if own is not None:
            coroutine = _Stepped(coroutine, own.number, self._board)
        return asyncio.Task(coroutine, loop=loop, **options)

    def _start(self, number: int, call: Call) -> None:
        own = Recording(None, self._mask)
        own.number = number
        if call.follow:
            own.pieces = Pieces()
        tracked = _Stepped(self._run(number, call, own), number, self._board)
        self._running[number] = asyncio.Task(tracked, loop=self._loop), own

    async def _run(self, number: int, call: Call, own: Recording) -> None:
        self._board[STARTED] = number
        if 0 < self._board[REVOKED] <= number:  # it waited behind a blocked loop and was moved elsewhere
            self._forget(number)
            return
        task, why = TASKS.get(call.task), self._cancelled.get(number)
        if task is None or why is not None:
            outcome = failed(why or f"no task named {call.task!r} in the modules as they are now")
        else:
            failpoint("in-child")
            outcome = await with_execution_tracking(task, call, record=own)
            failpoint("after-call")
            why = self._cancelled.get(number)
            if why is not None:  # also where it caught that and returned
                outcome = stopped(outcome, why)
            if own.threads and not outcome.is_success:
                self._loop.call_later(LEFT_AFTER, self._look_for_threads, call.name, own)
        if own.pieces is not None:
            self._reports.hand_on(number, own, is_last=True)
        row = outcome_row(number, outcome)
        if not self._done:
            self._loop.call_soon(self._flush)
        self._done.append(row)
        if len(self._done) >= MOST_UNSENT:
            self._flush()
        self._forget(number)

    def _forget(self, number: int) -> None:
        self._running.pop(number, None)
        self._cancelled.pop(number, None)
        if self._is_ending:
            self._loop.call_soon(self._end_when_idle)

    def _cancel(self, number: int, why: str) -> None:
        if number in self._running:
            self._cancelled[number] = why
            signs = self._running[number][1].signs
            if signs is not None:
                signs.ask_to_stop()
            if number <= self._board[STARTED]:  # before, there is no code yet that could notice
                self._running[number][0].cancel(why)

    def _follow(self, number: int, is_wanted: bool) -> None:
        if number in self._running:
            own = self._running[number][1]
            if is_wanted:
                own.follow(Pieces)
            else:
                own.pieces = None

    def _recordings(self) -> list[tuple[int, Recording]]:
        return [(number, own) for number, (_, own) in list(self._running.items())]

    def _look_for_threads(self, name: str, own: Recording) -> None:
        if own.threads:
            self._channel.send(["left", name])

    def _flush(self) -> None:
        if done := self._outcomes():
            try:
                self._channel.send(["done", done])
            except Exception:  # one of them: nothing was sent
                self._channel.send(["done", sendable(done)])

    def _outcomes(self) -> list[list[Any]]:
        """Those that are not sent yet, each given once: to the loop, or to the thread where that is blocked."""
        done: list[list[Any]] = []
        with suppress(IndexError):
            while True:
                done.append(self._done.popleft())
        return done

    def _tick(self) -> None:
        self._board[TICKS] += 1
        self._loop.call_later(TICK, self._tick)

    def _end_when_idle(self) -> None:
        if self._running or self._done or not self._channel.is_flushed:
            if not self._running:
                self._loop.call_later(0.01, self._end_when_idle)
            return
        self.is_over = True
        self._loop.stop()


def sendable(rows: list[list[Any]]) -> list[list[Any]]:
    """These rows, with a failure in the place of each that cannot be written as JSON."""
    return [row if _is_sendable(row) else [*row[:3], False, NOT_SENDABLE] for row in rows]


def _is_sendable(row: list[Any]) -> bool:
    try:
        dumps(row)
    except Exception:
        return False
    return True

"""A worker process: one call at a time, in its main thread. Its output is a pipe that the parent reads."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler.children import board
from reconciler.children.board import ASKED, Progress
from reconciler.children.frames import call_from, outcome_row
from reconciler.execute import Call, Outcome, execute, failed, stopped, with_execution_tracking
from reconciler.execute.memory import in_use
from reconciler.execute.output import FORMAT, Recording, progress_text
from reconciler.execute.results import error_line, kinds_of
from reconciler.failpoints import failpoint
from reconciler.registry import TASKS, Task
from reconciler.registry.context import Signs
from reconciler.registry.references import Mask, resolve

if TYPE_CHECKING:
    from reconciler.children.child import Line

ASKED_TO_STOP = "was asked to stop"


def work(line: Line, shared: int) -> None:
    """Run calls until told to end, or until the parent is gone."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    logging.basicConfig(format=FORMAT, level=logging.INFO, stream=sys.stderr)
    mask, numbers = Mask.of_stores(os.environ), board.view(shared)
    progress = Progress(numbers)
    while (message := line.receive())[0] != "end":
        if message[0] != "call":  # it was meant for one that is over
            continue
        row = message[1]
        call, own = call_from(row), Recording(mask=mask)
        own.number, own.signs = row[0], _Signs(numbers, progress, own)
        line.send(["begun", row[0], _secrets(call)])
        failpoint("in-child")
        outcome = _run(call, own, line)
        failpoint("after-call")
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        line.send(["done", outcome_row(row[0], outcome), in_use()])


class _Signs(Signs):
    """Written to and read from memory that the parent shares: no thread, and no message for each word."""

    __slots__ = ("_numbers", "_own", "_shown")

    def __init__(self, numbers: memoryview, shown: Progress, own: Recording) -> None:
        super().__init__()
        self._numbers, self._shown, self._own = numbers, shown, own

    def should_stop(self) -> bool:
        return self._numbers[ASKED] == self._own.number or super().should_stop()

    def report(self, fraction: float, text: str) -> None:
        self._shown.write(self._own.number, fraction, progress_text(text, self._own.mask))


def _run(call: Call, own: Recording, line: Line) -> Outcome:
    task = TASKS.get(call.task)
    if task is None:
        return failed(f"no task named {call.task!r} in the modules as they are now")
    outcome = _run_alone(task, call, own, line) if task.is_async else execute(task, call, record=own)
    # Who has read that it should stop and returns has not done what it was called for.
    return stopped(outcome, ASKED_TO_STOP) if own.signs and own.signs.was_told else outcome


def _run_alone(task: Task, call: Call, own: Recording, line: Line) -> Outcome:
    started_at = time.monotonic()
    try:
        return asyncio.run(_heeding(task, call, own, line))
    except BaseException as raised:  # exit() in a task that it has started ends the loop
        return failed(error_line(raised, own.mask), since=started_at, log=own.text(), kinds=kinds_of(raised))


async def _heeding(task: Task, call: Call, own: Recording, line: Line) -> Outcome:
    """An async function by itself: the parent can still cancel it, by a message that the loop hears."""
    loop, running = asyncio.get_running_loop(), asyncio.current_task()

    def hear() -> None:
        for number, why in line.cancellations():
            if number == own.number and own.signs and running:
                own.signs.was_told = True
                running.cancel(why)

    hear()
    loop.add_reader(line.sock.fileno(), hear)
    try:
        return await with_execution_tracking(task, call, record=own)
    finally:
        loop.remove_reader(line.sock.fileno())


def _secrets(call: Call) -> list[str]:
    """What the parent must mask in the output. Whatever is wrong with the references is the call's own failure."""
    with suppress(Exception):
        return resolve(call.params, os.environ)[1]
    return []

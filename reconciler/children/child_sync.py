"""A worker process: one sync call at a time, in its main thread. Its output is a pipe that the parent reads."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler.children.frames import call_from, outcome_row
from reconciler.execute import Call, Outcome, execute, failed
from reconciler.execute.output import FORMAT, Recording
from reconciler.registry import TASKS
from reconciler.registry.references import Mask, resolve

if TYPE_CHECKING:
    from reconciler.children.child import Line


def work(line: Line) -> None:
    """Run calls until told to end, or until the parent is gone."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    logging.basicConfig(format=FORMAT, level=logging.INFO, stream=sys.stderr)
    mask = Mask.of_stores(os.environ)
    while (message := line.receive())[0] == "call":
        row = message[1]
        call = call_from(row)
        line.send(["begun", row[0], _secrets(call)])
        outcome = _run(call, mask)
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        line.send(["done", [outcome_row(row[0], outcome)]])


def _run(call: Call, mask: Mask) -> Outcome:
    task = TASKS.get(call.task)
    if task is None:
        return failed(f"no task named {call.task!r} in the modules as they are now")
    return execute(task, call, record=Recording(mask=mask))


def _secrets(call: Call) -> list[str]:
    """What the parent must mask in the output. Whatever is wrong with the references is the call's own failure."""
    with suppress(Exception):
        return resolve(call.params, os.environ)[1]
    return []

"""`run`: one task function, here and now, for whoever writes it. No store is touched and nothing is recorded."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from reconciler.cli.arguments import complete_name_or_task, params_option, told_to_quote
from reconciler.cli.command import command, given, hint
from reconciler.cli.output import line, note
from reconciler.cli.specs import discover, read_all
from reconciler.durations import span
from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from reconciler.execute import Call, Outcome
    from reconciler.execute.output import Recording
    from reconciler.registry import Task

INTERRUPTED = 130


@command("run", example="reconciler run reports.build -p region=eu")
@click.argument("what", metavar="NAME|TASK", shell_complete=complete_name_or_task)
@params_option
def run(what: str, params: tuple[tuple[str, Any], ...]) -> int:
    """Call one function here and now: no store, no record.

    NAME is a spec, whose parameters are used, with yours over them; TASK is a registered function. What it prints is
    shown as it comes, and on a terminal how far it says it is; its result last, on stdout. Exit code 1 when it fails.
    """
    settings = given().settings
    if settings.database_url:
        # As a runner tells its tasks.
        os.environ.setdefault("RECONCILER_DATABASE_URL", settings.database_url.get_secret_value())
    faults = discover(settings)
    for fault in faults:
        note(f"reconciler: {fault}")
    task, call = _call(what, dict(params))
    _check(task, call, dict(params))
    with _interruptible() as interrupted:
        try:
            outcome = _execute(task, call)
        except KeyboardInterrupt:
            note("✗ interrupted")
            return INTERRUPTED
    if interrupted.is_set() and not outcome.is_success:
        note(f"✗ interrupted after {_took(outcome)}")
        return INTERRUPTED
    return _tell(outcome)


@contextmanager
def _interruptible() -> Iterator[Event]:
    """Notes a Ctrl-C, which ends as an outcome like others where the function had the say.

    asyncio leaves a handler that is not Python's own alone; it cancels the function all the same, so it can clean up.
    """
    noted = Event()

    def note_it(number: int, frame: FrameType | None) -> None:
        noted.set()
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield noted  # ignored, as in the background of a script
        return
    signal.signal(signal.SIGINT, note_it)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _call(what: str, params: dict[str, Any]) -> tuple[Task, Call]:
    from reconciler.execute import Call
    from reconciler.registry import TASKS, get_task_function

    name, task, given_params, timeout, memory_limit = _meant(what)
    get_task_function(task)  # for its error
    now = datetime.now(UTC)
    call = Call(
        id=str(uuid4()),
        name=name,
        task=task,
        params={**given_params, **params},
        scheduled_for=now,
        attempt=1,
        trigger="manual",
        idempotency_key=f"{name}@{now.isoformat()}",
        revision=None,
        timeout=timeout,
        memory_limit=memory_limit,
    )
    return TASKS[task], call


def _meant(what: str) -> tuple[str, str, dict[str, Any], float | None, int | None]:
    """The name, the task, its parameters, its time and memory: of the spec so named, else of the bare function."""
    from reconciler.registry import TASKS

    names = []
    for specs in read_all():
        for located in specs.specs:
            if located.name == what:
                spec = located.spec
                limit = spec.timeout.total_seconds() if spec.timeout else None
                return spec.name, spec.task, dict(spec.params), limit, spec.memory_limit
            names.append(located.name)
        for fault in specs.faults:
            # The spec that is meant may be the broken one.
            note(str(fault))
    if what in TASKS:
        return what, what, {}, None, None
    raise ReconcilerError(f"run: no spec and no task named '{what}'{hint(what, [*names, *TASKS])}")


def _check(task: Task, call: Call, params: dict[str, Any]) -> None:
    from reconciler.registry import check_params

    if faults := check_params(task, call.params):
        raise ReconcilerError(f"run: {call.task}: {'; '.join(told_to_quote(fault, params) for fault in faults)}")


def _execute(task: Task, call: Call) -> Outcome:
    from reconciler.execute import execute
    from reconciler.execute.output import Recording, captured
    from reconciler.registry.references import Mask

    # What it prints is its log, on stderr, so that stdout holds the result alone.
    record = Recording(echo=sys.stderr, mask=Mask.of_stores(os.environ))
    with _shown(record) if sys.stderr.isatty() else nullcontext(), captured():
        return execute(task, call, record=record)


@contextmanager
def _shown(record: Recording) -> Iterator[None]:
    """Tell on the terminal how far the task says it is."""
    from reconciler.cli.screen import Screen, Shown

    screen = Screen(sys.stderr)
    record.echo, record.signs = screen, Shown(screen, record)
    try:
        yield
    finally:
        screen.clear()


def _took(outcome: Outcome) -> str:
    return span(timedelta(seconds=outcome.finished_at - outcome.started_at))


def _tell(outcome: Outcome) -> int:
    took = _took(outcome)
    if outcome.is_success:
        if outcome.result is not None:
            line(json.dumps(outcome.result, indent=2, ensure_ascii=False))
        note(f"✓ succeeded in {took}")
        return 0
    if outcome.traceback:
        note(outcome.traceback.rstrip("\n"))
    note(f"✗ failed after {took}: {outcome.error}")
    return INTERRUPTED if (outcome.error or "").startswith("KeyboardInterrupt") else 1


COMMANDS = {"run": run}

"""Calling one task function: its arguments, its time, what it printed, returned or raised, as one honest outcome.

Runs wherever the function runs: in a child process of a runner, or in `reconciler run`. Knows no store.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from reconciler.execute.memory import is_of_memory, limited, went_beyond
from reconciler.execute.output import Recording, recording
from reconciler.execute.results import (
    NotJSONError,
    TooLargeError,
    error_line,
    kinds_of,
    only_cause,
    to_json,
    traceback_text,
)
from reconciler.registry import RetryAfter, Task, TaskContext
from reconciler.registry.context import Signs
from reconciler.registry.references import Mask, UnresolvedError, resolve

# A time-out is to a retry rule what it would be to the function: a TimeoutError.
LATE = kinds_of(TimeoutError())
BEYOND_MEMORY = kinds_of(MemoryError())
UNLIMITED = nullcontext()


class Occurrence(Protocol):
    """What of an occurrence is kept in its row: a call knows it, and so does whoever owns the occurrence."""

    @property
    def name(self) -> str: ...
    @property
    def scheduled_for(self) -> datetime: ...
    @property
    def task(self) -> str: ...
    @property
    def trigger(self) -> str: ...
    @property
    def revision(self) -> str | None: ...


class Call(NamedTuple):
    """One attempt of one occurrence. `timeout` is in seconds, `memory_limit` in bytes; None: no limit.

    `last_success` and `last_result` are for who takes a TaskContext. `follow`: somebody reads along from the start.
    """

    id: str
    name: str
    task: str
    params: dict[str, Any]
    scheduled_for: datetime
    attempt: int
    trigger: str
    idempotency_key: str
    revision: str | None
    timeout: float | None
    memory_limit: int | None = None
    last_success: datetime | None = None
    last_result: Any = None
    follow: bool = False


class Outcome(NamedTuple):
    """What became of a call. Times are `time.monotonic()`, which all processes of a Linux host share.

    `is_started` is false where the function was never called, as for what still queued at a stop. `kinds`: the class
    of what was raised and its bases, dotted; none where nothing was, as when a process died. `retry_after`: in how
    many seconds the task itself asked to be tried again.
    """

    is_success: bool
    started_at: float
    finished_at: float
    error: str | None = None
    traceback: str | None = None
    result: Any = None
    log: str = ""
    is_started: bool = True
    kinds: tuple[str, ...] = ()
    retry_after: float | None = None


async def with_execution_tracking(task: Task, call: Call, *, record: Recording | None = None) -> Outcome:
    """Call the function; never raises for what it does.

    A sync function is called right here, and its timeout is the caller's affair: only a process can be killed.
    """
    own = Recording() if record is None else record
    token = recording.set(own)
    started_at = time.monotonic()
    try:
        outcome = await _called(task, call, own, started_at)
    finally:
        recording.reset(token)
    return _masked(outcome, own.mask) if own.mask.needles else outcome


def execute(task: Task, call: Call, *, record: Recording | None = None) -> Outcome:
    """The same from where no event loop runs: a sync function may start its own."""
    tracked = with_execution_tracking(task, call, record=record)
    if task.is_async:
        return asyncio.run(tracked)
    try:
        tracked.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    raise AssertionError("a sync function has nothing to wait for")


def create_execution_record(
    occurrence: Occurrence,
    outcome: Outcome,
    *,
    at: Callable[[float], datetime],
    digest: str,
    attempts: Sequence[Mapping[str, object]] = (),
    replays: datetime | None = None,
    runner: str | None = None,
    token: object = None,
) -> dict[str, Any]:
    """The column values of the one `task_executions` row. `at` turns monotonic time into a UTC moment."""
    return {
        "name": occurrence.name,
        "scheduled_for": occurrence.scheduled_for,
        "task": occurrence.task,
        "started_at": at(outcome.started_at),
        "finished_at": at(outcome.finished_at),
        "is_success": outcome.is_success,
        "error": outcome.error,
        "traceback": outcome.traceback,
        "result": outcome.result,
        "log": outcome.log or None,
        "attempts": attempts,
        "trigger": occurrence.trigger,
        "replays": replays,
        "runner": runner,
        "token": token,
        "digest": digest,
        "revision": occurrence.revision,
    }


def failed(
    error: str, *, since: float | None = None, log: str = "", is_started: bool = True, kinds: tuple[str, ...] = ()
) -> Outcome:
    """A failure that the function itself did not report. `since` is monotonic; default: now."""
    now = time.monotonic()
    return Outcome(False, now if since is None else since, now, error, None, None, log, is_started, kinds)


def stopped(outcome: Outcome, why: str) -> Outcome:
    """What became of a call that was told to stop: failed with `why`, whatever it made of that."""
    return outcome._replace(is_success=False, error=why, result=None, kinds=(), retry_after=None)


def timed_out(seconds: float) -> str:
    from reconciler.durations import format_duration  # imports pydantic: only where it is needed

    return f"timed out after {format_duration(timedelta(seconds=seconds))}"


async def _called(task: Task, call: Call, own: Recording, started_at: float) -> Outcome:
    limit = asyncio.timeout(call.timeout) if task.is_async and call.timeout is not None else None
    try:
        positional, named = _arguments(task, call, own)
        with UNLIMITED if call.memory_limit is None else limited(call.memory_limit):
            value = task.function(*positional, **named)
            if limit is not None:
                async with limit:
                    value = await value
            elif task.is_async:
                value = await value
            elif inspect.isawaitable(value):
                value = await value if _is_in_loop() else asyncio.run(_waited(value))
        if limit is None or not limit.expired():
            return _succeeded(value, own, started_at)
        return failed(timed_out(call.timeout or 0), since=started_at, log=own.text(), kinds=LATE)
    except BaseException as raised:  # SystemExit and KeyboardInterrupt are the task's own doing as well
        if limit is not None and limit.expired():
            # What the time limit itself raises tells nothing: its cause is where the function was.
            trace = traceback_text(raised.__cause__ or raised, own.mask)
            error, kinds, cause = timed_out(call.timeout or 0), LATE, None
        else:
            trace, cause = traceback_text(raised, own.mask), only_cause(raised)
            error, kinds = _error_of(raised, call, own.mask), kinds_of(cause)
        later = cause.seconds(datetime.now(UTC)) if isinstance(cause, RetryAfter) else None
        return Outcome(False, started_at, time.monotonic(), error, trace, None, own.text(), True, kinds, later)


def _arguments(task: Task, call: Call, own: Recording) -> tuple[list[Any], dict[str, Any]]:
    params: dict[str, Any] = call.params
    if params:
        params, secrets = resolve(params, os.environ)
        own.mask = own.mask.also(secrets)
    context = {task.context_parameter: _context(task, call, params, own)} if task.context_parameter else {}
    if not params and not task.needs_params:
        return [], context
    from reconciler.registry.params import bind  # imports pydantic

    positional, named = bind(task, params, own.mask)
    return positional, named | context


def _context(task: Task, call: Call, params: dict[str, Any], own: Recording) -> TaskContext:
    if own.signs is None:
        own.signs = Signs()
    if task.is_async and call.timeout is not None:
        own.signs.ends_at = time.monotonic() + call.timeout
    return TaskContext(
        name=call.name,
        scheduled_for=call.scheduled_for,
        started_at=datetime.now(UTC),
        attempt=call.attempt,
        trigger=call.trigger,
        idempotency_key=call.idempotency_key,
        token=call.id,
        revision=call.revision,
        logger=logging.getLogger(f"task.{call.name}"),
        params=params,
        last_success=call.last_success,
        last_result=call.last_result,
        signs=own.signs,
    )


def _succeeded(value: Any, own: Recording, started_at: float) -> Outcome:
    if value is None:
        return Outcome(True, started_at, time.monotonic(), None, None, None, own.text())
    try:
        result = to_json(value)
    except NotJSONError as error:
        what = f"returned {type(value).__name__}, which {error}; a task returns what JSON can hold, or nothing"
        return failed(what, since=started_at, log=own.text(), kinds=kinds_of(error))
    except TooLargeError as error:
        # The work is done, and running it again for its answer's size would do it twice.
        own.write(f"reconciler: {error}, so it was dropped\n")
        result = None
    return Outcome(True, started_at, time.monotonic(), None, None, result, own.text())


def _error_of(raised: BaseException, call: Call, mask: Mask) -> str:
    if call.memory_limit is not None and is_of_memory(only_cause(raised)):
        return went_beyond(call.memory_limit)
    if isinstance(raised, UnresolvedError):
        return f"params: {raised}"
    if type(raised).__module__ == "reconciler.registry.params":
        return f"params: {raised}"
    if isinstance(raised, asyncio.CancelledError) and raised.args:
        return str(raised.args[0])
    return error_line(raised, mask)


def _masked(outcome: Outcome, mask: Mask) -> Outcome:
    return outcome._replace(
        error=outcome.error and mask(outcome.error),
        traceback=outcome.traceback and mask(outcome.traceback),
        result=mask.inside(outcome.result),
        log=mask(outcome.log),
    )


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _waited(awaitable: Any) -> Any:
    return await awaitable

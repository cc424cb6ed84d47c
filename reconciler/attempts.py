"""How long an attempt may take, and what follows one that failed: another, when, or none.

Values in, values out. What an exception is called and whose wish it was that a run ends come in as arguments; nothing
here knows a process, a claim or a store.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from reconciler.durations import format_duration
from reconciler.schedule.jitter import fraction_of
from reconciler.spec import Retries, TaskSpec

# A person who asks for a run, or for one again, asks for it now: the instant that it stands for is long gone.
WITHOUT_DEADLINE = frozenset({"manual", "rerun", "backfill"})
# What a run is told that is ended from outside. No exception of the task's own, so no rule by name is about it.
CUT_SHORT = "CancelledError"
LONGEST_WAIT = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Number `number`, from 1, of one occurrence; `begun_at` is when its first attempt started."""

    name: str
    scheduled_for: datetime
    number: int
    trigger: str
    begun_at: datetime


@dataclass(frozen=True, slots=True)
class Limit:
    """How long an attempt may take, in seconds, and why where that is not the spec's own `timeout`."""

    seconds: float | None
    because: str | None = None


def limit_of(spec: TaskSpec, attempt: Attempt, now: datetime) -> Limit:
    """The shorter of `timeout` and what is left until `deadline.finish`; 0 or less: it is too late to begin."""
    timeout = spec.timeout.total_seconds() if spec.timeout else None
    finish, end = spec.deadline.finish, finish_by(spec, attempt)
    if finish is None or end is None:
        return Limit(timeout)
    left = (end - now).total_seconds()
    if timeout is not None and timeout <= left:
        return Limit(timeout)
    since = "the start of its first attempt" if attempt.trigger == "after" else "its instant"
    return Limit(left, f"had to finish within {format_duration(finish)} of {since}")


def finish_by(spec: TaskSpec, attempt: Attempt) -> datetime | None:
    """When it has to be over, retries included; None: whenever it is.

    What runs after others counts from when it began: its instant is theirs, and may be long past by then.
    """
    finish: timedelta | None = spec.deadline.finish
    if finish is None or attempt.trigger in WITHOUT_DEADLINE:
        return None
    return (attempt.begun_at if attempt.trigger == "after" else attempt.scheduled_for) + finish


def after_failure(
    spec: TaskSpec,
    attempt: Attempt,
    now: datetime,
    *,
    kinds: Sequence[str] = (),
    retry_after: float | None = None,
) -> datetime | None:
    """When the next attempt may start after this one failed at `now`; None: that was the last.

    `kinds`: the exception's class and its bases, dotted; none where no exception was raised, as when a process died:
    then attempts are all that counts. `retry_after`: in how many seconds the task itself asked to be tried again.
    """
    if attempt.number >= spec.retries.attempts:
        return None
    if retry_after is not None:
        again = now + _asked(retry_after)
    elif _is_retried(spec.retries, kinds):
        again = again_at(spec.retries, attempt.name, attempt.scheduled_for, attempt.number, now)
    else:
        return None
    end = finish_by(spec, attempt)
    return None if end is not None and again >= end else again


def again_at(retries: Retries, name: str, scheduled_for: datetime, attempt: int, now: datetime) -> datetime:
    """When the attempt after failed number `attempt` may start.

    The back-off doubles up to its maximum, spread by a fifth either way so that many failures do not return at once.
    """
    doubled: timedelta = retries.backoff * (1 << min(attempt - 1, 20))
    backoff = min(doubled, retries.max_backoff)
    return now + backoff * (0.8 + 0.4 * fraction_of(f"{name}@{scheduled_for.isoformat()}#{attempt}"))


def is_named(kind: str, names: Collection[str]) -> bool:
    """Whether a dotted class is one of these names: bare, dotted in full, or with inner parts left out.

    `requests.exceptions.ConnectionError` is also `requests.ConnectionError`, as one imports it.
    """
    *path, last = kind.split(".")
    return any(_leads_to(name.split("."), path, last) for name in names)


def begun_at(attempts: Sequence[Mapping[str, Any]], otherwise: datetime) -> datetime:
    """When the first of these earlier attempts started; `otherwise` where there is none that says so."""
    text = attempts[0].get("started_at") if attempts else None
    return datetime.fromisoformat(text) if text else otherwise


def _is_retried(retries: Retries, kinds: Sequence[str]) -> bool:
    if not kinds or kinds[0].rpartition(".")[2] == CUT_SHORT:
        return True
    if any(is_named(kind, retries.give_up_on) for kind in kinds):
        return False
    return not retries.retry_on or any(is_named(kind, retries.retry_on) for kind in kinds)


def _leads_to(name: Sequence[str], path: Sequence[str], last: str) -> bool:
    *wanted, wanted_last = name
    rest = iter(path)
    return wanted_last == last and all(part in rest for part in wanted)


def _asked(seconds: float) -> timedelta:
    if not math.isfinite(seconds):
        return LONGEST_WAIT
    return timedelta(seconds=min(max(seconds, 0.0), LONGEST_WAIT.total_seconds()))

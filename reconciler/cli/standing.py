"""How one task stands, in words: when it runs next, how it went last, and what holds it.

Values in, words out; the moment it reasons about is handed in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from reconciler.cli.words import brief, exact, when
from reconciler.durations import span
from reconciler.errors import ReconcilerError
from reconciler.lines import first_line
from reconciler.schedule import Schedule
from reconciler.schedule.describe import describe
from reconciler.spec import TaskSpec

if TYPE_CHECKING:
    from reconciler.db.overrides import Override
    from reconciler.db.overview import Overview, Paused, Running
    from reconciler.db.pending import Pending

State = Literal["active", "paused", "suspended", "manual", "unreadable"]


@dataclass(frozen=True, slots=True)
class Standing:
    """One task at one moment. `next_run` None: no instant of its schedule is going to fire.

    `waits` says why the waiting work that comes first does not run yet.
    """

    found: Overview
    state: State
    schedule: str
    timezone: str
    next_run: datetime | None
    waiting: Pending | None = None
    waits: str | None = None

    @property
    def name(self) -> str:
        return self.found.config.name


@dataclass(frozen=True, slots=True)
class Around:
    """What else decides whether waiting work may start: by queue, how many run, and how many may."""

    has_runner: bool = True
    busy: Mapping[str, int] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)


ALONE = Around()


def standing(found: Overview, now: datetime, waiting: Pending | None = None, around: Around = ALONE) -> Standing:
    """How the task stands at `now`, with the waiting work that comes first."""
    waits = why_waiting(found, waiting, now, around) if waiting else None
    try:
        spec = TaskSpec.from_document(found.config.spec)
    except ReconcilerError as error:
        return Standing(found, "unreadable", first_line(str(error)), "UTC", None, waiting, waits)
    schedule = spec.when()
    state: State = "suspended" if spec.suspend is True else "paused" if found.pause else "active"
    if schedule is None and not spec.after:
        return Standing(found, "manual", "only when triggered", spec.timezone, None, waiting, waits)
    next_run = _next(schedule, state, found, now) if schedule else None
    return Standing(found, state, _words(schedule, spec), spec.timezone, next_run, waiting, waits)


def why_waiting(found: Overview, waiting: Pending, now: datetime, around: Around = ALONE) -> str:
    """Why a waiting claim does not run at this moment: `behind the run of 02:00:00`, `retry in 3 min`."""
    queue = str(found.config.spec.get("queue"))
    limit = around.limits.get(queue)
    if waiting.cancel_requested:
        return "being cancelled"
    if not around.has_runner:
        return "no runner is there"
    if not found.known_task:
        return "no runner has the task"
    if not found.is_served:
        return f"no runner looks at the queue '{queue}'"
    if waiting.attempts and waiting.not_before > now:
        return f"retry {when(waiting.not_before, now)}, after {_attempts(len(waiting.attempts))}"
    if waiting.exclusive and found.running and found.running.exclusive:
        return f"behind the run of {brief(found.running.scheduled_for, now)} UTC"
    if limit is not None and around.busy.get(queue, 0) >= limit:
        return f"the queue '{queue}' is full, {around.busy[queue]} of {limit} run"
    if waiting.not_before > now:
        return f"to start {when(waiting.not_before, now)}"
    return "for a free place on a runner"


def _attempts(count: int) -> str:
    return "a failed attempt" if count == 1 else f"{count} failed attempts"


def _words(schedule: Schedule | None, spec: TaskSpec) -> str:
    after = f"after {', '.join(spec.after)}" if spec.after else ""
    if schedule is None:
        return after
    text = describe(schedule)
    return ", and ".join(filter(None, (text[:1].lower() + text[1:], after)))


def _next(schedule: Schedule, state: State, found: Overview, now: datetime) -> datetime | None:
    """The next instant that is going to fire; a pause with an end skips those before its end."""
    if state == "suspended" or (found.pause and found.pause.until is None):
        return None
    until = found.pause.until if found.pause else None
    return schedule.next_after(max(moment for moment in (found.through, until, now) if moment))


def next_words(row: Standing, now: datetime) -> str:
    """`in 3 min · 2026-01-02 03:00:00 Europe/Berlin`, `-`."""
    return f"{when(row.next_run, now)} · {exact(row.next_run, row.timezone)}" if row.next_run else "-"


def last_words(row: Standing, now: datetime) -> str:
    """`✓ 12 s ago, in 12 ms`; `✗ 3 min ago, in 1 s: ValueError: no such region`; `-`."""
    last = row.found.last
    if last is None:
        return "-"
    text = f"{when(last.finished_at, now)}, in {span(last.finished_at - last.started_at)}"
    return f"✓ {text}" if last.is_success else f"✗ {text}: {first_line(last.error, 60)}"


def now_words(row: Standing, now: datetime, *, has_runner: bool = True) -> str:
    """What holds or happens right now: `running for 3 s`, `paused by ana@desk until …: the warehouse moves`."""
    return "; ".join(_now(row, now, has_runner)) or "-"


def _now(row: Standing, now: datetime, has_runner: bool) -> Iterator[str]:
    found = row.found
    if found.running:
        yield running_words(found.running, now)
    if found.waiting:
        yield f"{found.waiting} waiting" + (f": {row.waits}" if row.waits and has_runner else "")
    if row.state == "suspended":
        yield "suspended in its spec"
    if found.pause:
        yield pause_words(found.pause, row.timezone, now)
    # Without any runner the line at the top says it for all of them, and waiting work has said why it waits.
    if has_runner and not found.known_task and not (found.waiting and row.waits):
        yield f"waiting for a runner that has the task '{found.config.spec.get('task')}'"
    elif has_runner and not found.is_served and not (found.waiting and row.waits):
        yield f"no runner looks at the queue '{found.config.spec.get('queue')}'"


def running_words(running: Running, now: datetime) -> str:
    """`running for 3 s, 40 % "loading", attempt 2, being cancelled`."""
    parts = [f"running for {span(now - (running.started_at or running.scheduled_for))}"]
    if running.progress:
        parts.append(progress_words(running.progress))
    if running.attempt > 1:
        parts.append(f"attempt {running.attempt}")
    if running.cancel_requested:
        parts.append("being cancelled")
    return ", ".join(parts)


def progress_words(progress: Mapping[str, Any]) -> str:
    """`40 % "loading"`."""
    fraction, text = progress.get("fraction"), progress.get("text")
    share = f"{round(fraction * 100)} %" if isinstance(fraction, int | float) else ""
    said = f'"{first_line(text)}"' if isinstance(text, str) and text else ""
    return " ".join(filter(None, (share, said))) or "-"


def pause_words(pause: Paused | Override, timezone: str, now: datetime) -> str:
    """`paused with team=data by ana@desk until …: the warehouse moves`."""
    end = f"until {exact(pause.until, timezone)} ({when(pause.until, now)})" if pause.until else "until resumed"
    group = f" with {labels_words(pause.selector)}" if pause.selector else ""
    return f"paused{group} by {pause.actor} {end}" + (f": {first_line(pause.reason)}" if pause.reason else "")


def labels_words(labels: Mapping[str, str]) -> str:
    """`team=data, tier=gold`."""
    return ", ".join(f"{key}={value}" for key, value in labels.items())


def as_json(row: Standing) -> dict[str, Any]:
    """The same for a program."""
    found, config = row.found, row.found.config
    return {
        "name": config.name,
        "task": config.spec.get("task"),
        "state": row.state,
        "schedule": config.spec.get("schedule"),
        "schedule_in_words": row.schedule,
        "timezone": row.timezone,
        "next_run": row.next_run,
        "decided_through": found.through,
        "last": asdict(found.last) if found.last else None,
        "running": asdict(found.running) if found.running else None,
        "waiting": found.waiting,
        "waits": row.waits,
        "waiting_since": found.waiting_since,
        "paused": asdict(found.pause) if found.pause else None,
        "has_runner": found.known_task and found.is_served,
        "after": config.spec.get("after", []),
        "source": config.source,
        "path": config.path,
        "revision": config.revision,
        "digest": config.digest,
        "labels": config.spec.get("labels", {}),
        "description": config.spec.get("description", ""),
    }

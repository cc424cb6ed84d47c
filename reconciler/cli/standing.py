"""How one task stands, in words: when it runs next, how it went last, and what holds it.

Values in, words out; the moment it reasons about is handed in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from reconciler.cli.words import exact, first_line, span, when
from reconciler.errors import ReconcilerError
from reconciler.schedule import Schedule
from reconciler.schedule.describe import describe
from reconciler.spec import TaskSpec

if TYPE_CHECKING:
    from reconciler.db.overview import Overview

State = Literal["active", "paused", "suspended", "manual", "unreadable"]


@dataclass(frozen=True, slots=True)
class Standing:
    """One task at one moment. `next_run` None: it is not going to run by itself."""

    found: Overview
    state: State
    schedule: str
    timezone: str
    next_run: datetime | None

    @property
    def name(self) -> str:
        return self.found.config.name


def standing(found: Overview, now: datetime) -> Standing:
    """How the task stands at `now`."""
    try:
        spec = TaskSpec.from_document(found.config.spec)
    except ReconcilerError as error:
        return Standing(found, "unreadable", first_line(str(error)), "UTC", None)
    schedule = spec.when()
    if schedule is None:
        return Standing(found, "manual", "only when triggered", spec.timezone, None)
    state: State = "suspended" if spec.suspend is True else "paused" if found.pause else "active"
    return Standing(found, state, _words(schedule), spec.timezone, _next(schedule, state, found, now))


def _words(schedule: Schedule) -> str:
    text = describe(schedule)
    return text[:1].lower() + text[1:]


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
        yield f"running for {span(now - (found.running.started_at or found.running.scheduled_for))}"
    if found.waiting:
        yield f"{found.waiting} waiting"
    if row.state == "suspended":
        yield "suspended in its spec"
    if found.pause:
        yield pause_words(row, now)
    # Without any runner the line at the top says it for all of them.
    if has_runner and not found.known_task:
        yield f"no runner knows the task '{found.config.spec.get('task')}'"


def pause_words(row: Standing, now: datetime) -> str:
    pause = row.found.pause
    if pause is None:
        return "not paused"
    end = f"until {exact(pause.until, row.timezone)} ({when(pause.until, now)})" if pause.until else "until resumed"
    return f"paused by {pause.actor} {end}" + (f": {first_line(pause.reason)}" if pause.reason else "")


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
        "waiting_since": found.waiting_since,
        "paused": asdict(found.pause) if found.pause else None,
        "has_runner": found.known_task,
        "source": config.source,
        "path": config.path,
        "revision": config.revision,
        "digest": config.digest,
        "labels": config.spec.get("labels", {}),
        "description": config.spec.get("description", ""),
    }

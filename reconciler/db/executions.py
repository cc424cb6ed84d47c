"""What has run: one final row an occurrence, read by whoever looks. Rows are written where claims are finished."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from reconciler.db.link import Statements


@dataclass(frozen=True, slots=True)
class TaskExecution:
    """How one occurrence ended. `attempts` is what its earlier tries said; `replays` the instant that a rerun names."""

    name: str
    scheduled_for: datetime
    task: str
    started_at: datetime
    finished_at: datetime
    is_success: bool
    error: str | None
    traceback: str | None
    result: Any
    log: str | None
    attempts: list[dict[str, Any]]
    trigger: str
    replays: datetime | None
    runner: str | None
    token: UUID | None
    digest: str
    revision: str | None


Mark = tuple[datetime, str, datetime]

COLUMNS = ", ".join(field.name for field in fields(TaskExecution))

# Both orders are total, so a page begins exactly where the one before it ended, and an index gives each of them. A
# condition that stands there only when it is asked for lets the planner see which one.
OF_ALL = {
    "since": "finished_at >= %(since)s",
    "failed": "not is_success",
    "before": "(finished_at, name, scheduled_for) < (%(at)s, %(at_name)s, %(at_instant)s)",
    "order": "finished_at desc, name desc, scheduled_for desc",
}
OF_ONE = {
    "name": "name = %(name)s",
    "since": "scheduled_for >= %(since)s",
    "failed": "not is_success",
    "before": "scheduled_for < %(at_instant)s",
    "order": "scheduled_for desc",
}

ONE = f"select {COLUMNS} from task_executions where name = %(name)s and scheduled_for = %(scheduled_for)s"


async def history(
    link: Statements,
    *,
    name: str | None = None,
    limit: int = 20,
    since: datetime | None = None,
    failed: bool = False,
    before: Mark | None = None,
) -> list[TaskExecution]:
    """At most `limit` executions, newest first, from just after the mark `before` (`mark` of a page's last row).

    Of all names, by when they finished; of one name, by the instant that was due. `since` counts the same way.
    """
    asked = {"name": name is not None, "since": since is not None, "failed": failed, "before": before is not None}
    words = OF_ALL if name is None else OF_ONE
    where = " and ".join(words[key] for key, is_asked in asked.items() if is_asked) or "true"
    at, at_name, at_instant = before or (None, None, None)
    params = {"name": name, "since": since, "limit": limit, "at": at, "at_name": at_name, "at_instant": at_instant}
    statement = f"select {COLUMNS} from task_executions where {where} order by {words['order']} limit %(limit)s"
    rows = await link.run(statement, params)
    return [TaskExecution(*row) for row in rows]


def mark(execution: TaskExecution) -> Mark:
    """Where a page that ended with this row ended."""
    return execution.finished_at, execution.name, execution.scheduled_for


async def latest(link: Statements, name: str) -> TaskExecution | None:
    """The execution of a name's newest instant; None when there is none."""
    rows = await history(link, name=name, limit=1)
    return rows[0] if rows else None


async def one(link: Statements, name: str, scheduled_for: datetime) -> TaskExecution | None:
    """The execution of one occurrence; None when it has none (yet, or no longer)."""
    rows = await link.run(ONE, {"name": name, "scheduled_for": scheduled_for})
    return TaskExecution(*rows[0]) if rows else None

"""What runs or waits under one name, as a person sees it, and why an instant is not there any more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reconciler.db.link import Statements

COLUMNS = """c.name, c.scheduled_for, c.trigger, c.replays, c.actor, c.runner_id is not null, c.started_at,
       c.not_before, c.exclusive, c.attempts, c.progress, c.cancel_requested, n.host || ':' || n.pid"""

CLAIMS = f"""
select {COLUMNS}
from task_claims c left join runners n on n.id = c.runner_id
where c.name = %(name)s
order by c.runner_id is null, c.attempts = '[]', c.turn, c.scheduled_for
limit %(limit)s
"""

CLAIM = f"""
select {COLUMNS}
from task_claims c left join runners n on n.id = c.runner_id
where c.name = %(name)s and c.scheduled_for = %(at)s
"""

SKIPPED = """
select reason, detail from (
    select last, reason, detail from task_skips
    where name = %(name)s and first <= %(at)s
    order by first desc limit 1) as nearest
where last >= %(at)s
"""


@dataclass(frozen=True, slots=True)
class Pending:
    """One claim as a person sees it. `runner` is host and pid; None while nobody owns it, or it is not known any more.

    `attempts` is what earlier tries said, `progress` what the task said of itself.
    """

    name: str
    scheduled_for: datetime
    trigger: str
    replays: datetime | None
    actor: str | None
    is_owned: bool
    started_at: datetime | None
    not_before: datetime
    exclusive: bool
    attempts: list[dict[str, Any]]
    progress: dict[str, Any] | None
    cancel_requested: str | None
    runner: str | None

    @property
    def holds(self) -> bool:
        """Whether another exclusive occurrence of the name has to wait for it: it runs, or will be tried again."""
        return self.exclusive and (self.is_owned or bool(self.attempts))


async def claims_of(link: Statements, name: str, limit: int = 100) -> list[Pending]:
    """What runs or waits under a name: what runs first, then retries, then in the order in which they are taken."""
    return [Pending(*row) for row in await link.run(CLAIMS, {"name": name, "limit": limit})]


async def claim(link: Statements, name: str, at: datetime) -> Pending | None:
    """One claim; None where that occurrence neither runs nor waits."""
    rows = await link.run(CLAIM, {"name": name, "at": at})
    return Pending(*rows[0]) if rows else None


async def skipped(link: Statements, name: str, at: datetime) -> tuple[str, str | None] | None:
    """Why an instant was decided against: reason and detail; None where it was not."""
    rows = await link.run(SKIPPED, {"name": name, "at": at})
    return (rows[0][0], rows[0][1]) if rows else None

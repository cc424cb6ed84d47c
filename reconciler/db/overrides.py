"""What an operator said by hand, over git: a pause with its reason and its end.

An override is over at `ended_at` or at `expires_at`, whichever comes first: nobody has to tidy it up. Whether the
name exists is the caller's question, and what a pause means for an instant is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from reconciler.db.link import Link, Statements

COLUMNS = "id, name, kind, reason, actor, created_at, expires_at, ended_at"
IS_ACTIVE = "kind = 'pause' and ended_at is null and (expires_at is null or expires_at > clock_timestamp())"

# Two operators at once: the second finds the first one's pause, and replaces it.
TURN = "select pg_advisory_xact_lock(hashtextextended(%(name)s, 7215))"

# The same moment ends one pause and begins the next: no instant falls between the two.
REPLACE = f"""
with moment as materialized (select clock_timestamp() as at),
ended as (
    update task_overrides set ended_at = least(expires_at, (select at from moment))
    where name = %(name)s and kind = 'pause' and ended_at is null
)
insert into task_overrides (name, kind, reason, actor, created_at, expires_at)
select %(name)s, 'pause', %(reason)s, %(actor)s, at, %(until)s from moment
returning {COLUMNS}
"""

RESUME = f"""
with open as materialized (
    select id, {IS_ACTIVE} as is_active
    from task_overrides
    where name = %(name)s and kind = 'pause' and ended_at is null
    order by id
    for update
)
update task_overrides o set ended_at = least(o.expires_at, clock_timestamp())
from open where o.id = open.id
returning open.is_active
"""

ACTIVE = f"select {COLUMNS} from task_overrides where {IS_ACTIVE} order by name, id"

SINCE = f"""
select {COLUMNS} from task_overrides
where name = any(%(names)s::text[]) and kind = 'pause'
  and coalesce(least(ended_at, expires_at), 'infinity') > %(moment)s
order by name, id
"""


@dataclass(frozen=True, slots=True)
class Override:
    """One thing said about one name. Without `expires_at` it lasts until somebody ends it."""

    id: int
    name: str
    kind: str
    reason: str | None
    actor: str
    created_at: datetime
    expires_at: datetime | None
    ended_at: datetime | None


async def pause(link: Link, name: str, reason: str | None, actor: str, until: datetime | None) -> Override:
    """Pause a name from now to `until`, or for good; a pause that is in force ends as this one begins."""
    params = {"name": name, "reason": reason, "actor": actor, "until": until}
    async with link.transaction() as tx:
        await tx.run(TURN, {"name": name})
        [row] = await tx.run(REPLACE, params)
    return Override(*row)


async def resume(link: Link, name: str) -> int:
    """End every pause of a name now; returns how many were in force."""
    async with link.transaction() as tx:
        await tx.run(TURN, {"name": name})
        rows = await tx.run(RESUME, {"name": name})
    return sum(is_active for (is_active,) in rows)


async def active(link: Statements) -> list[Override]:
    """Every pause in force at this moment of the database's clock, by name."""
    return [Override(*row) for row in await link.run(ACTIVE)]


async def since(link: Statements, names: Sequence[str], moment: datetime) -> list[Override]:
    """The pauses of these names that reach past `moment`, ended ones too, by name and age."""
    return [Override(*row) for row in await link.run(SINCE, {"names": list(names), "moment": moment})]
